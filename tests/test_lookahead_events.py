"""Honest event estimators pass the look-ahead check; planted leaks of records are caught."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator

import tsforecast as tsf
from tsforecast.backtesting.lookahead import LookaheadError, check_no_lookahead

TASK = {"event": "deterioration", "horizon": "6h"}
FEATURES = tsf.CausalFeatures(["heart_rate", "sbp"], history=False)
PANEL = tsf.make_vitals(20, 40, deterioration=0.5, missing=0.2, random_state=0)
HONEST = {
    "boosted": tsf.BoostedBaseline(**TASK, step="1h", max_iter=5, random_state=0),
    "logistic": tsf.LogisticBaseline(**TASK, features=FEATURES),
    "news2": tsf.NEWS2(**TASK),
    "last value": tsf.LastValue(["heart_rate", "sbp"], **TASK),
    "outcome": tsf.LogisticBaseline(event="severe", label="outcome", features=FEATURES),
}


class LeakyRisk(BaseEstimator):
    """Gives a function of the panel as the risk."""

    def __init__(self, risk: Any) -> None:
        self.risk = risk

    def fit(self, panel: pd.DataFrame, y: None = None) -> Any:
        self.fitted_ = True
        return self

    def predict_risk(self, panel: pd.DataFrame) -> pd.DataFrame:
        return self.risk(panel).rename("risk").to_frame()


def so_far(panel: pd.DataFrame) -> pd.Series:
    return panel["sbp"].groupby(level=0).cummin()


def hours_left(panel: pd.DataFrame) -> pd.Series:
    time = panel.index.get_level_values(1).to_series(index=panel.index)
    return (time.groupby(level=0).transform("max") - time) / pd.Timedelta("1h")


def rows_in_all(panel: pd.DataFrame) -> pd.Series:
    return panel["sbp"].groupby(level=0).transform("size").astype(float)


def scaled_by_record(panel: pd.DataFrame) -> pd.Series:
    by_stay = panel["sbp"].groupby(level=0)
    return (panel["sbp"] - by_stay.transform("mean")) / by_stay.transform("std")


def backwards(panel: pd.DataFrame) -> pd.Series:
    return panel["sbp"][::-1].groupby(level=0).cummax()[::-1]


def measured_in_all(panel: pd.DataFrame) -> pd.Series:
    return panel["spo2"].groupby(level=0).transform("count").astype(float)


def told_by_the_event(panel: pd.DataFrame) -> pd.Series:
    return panel["deterioration"][::-1].groupby(level=0).cummax()[::-1]


@pytest.mark.filterwarnings("ignore:NEWS2 has no column")
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_event_estimator_passes(name: str) -> None:
    severe = PANEL["deterioration"].groupby(level=0).transform("max")
    report = check_no_lookahead(HONEST[name], PANEL.assign(severe=severe))
    assert (report["compared"].drop("alone") > 300).all()
    assert report["compared"]["alone"] > 50
    assert report["largest_change"]["alone"] <= 1e-6
    assert (report["largest_change"][["values", "missing"]] == 0).all()
    columns = 7 if name == "boosted" else 1
    assert report["compared"].iloc[0] % columns == 0


def test_what_was_known_so_far_passes() -> None:
    check_no_lookahead(LeakyRisk(so_far), PANEL)


@pytest.mark.parametrize(
    ("risk", "mode", "source"),
    [
        (hours_left, "truncate", "the number of rows"),
        (rows_in_all, "truncate", "the number of rows"),
        (scaled_by_record, "values", "column 'sbp'"),
        (backwards, "values", "column 'sbp'"),
        (measured_in_all, "missing", "the missing pattern of column 'spo2'"),
        (told_by_the_event, "values", "column 'deterioration'"),
    ],
)
def test_a_leak_of_the_record_is_caught(risk: Any, mode: str, source: str) -> None:
    with pytest.raises(LookaheadError, match=f"the estimator looks ahead .mode '{mode}'") as caught:
        check_no_lookahead(LeakyRisk(risk), PANEL)
    assert f"found that {source}" in str(caught.value)


def test_a_fitted_estimator_is_checked_as_it_is() -> None:
    model = tsf.LastValue("sbp", **TASK).fit(PANEL)
    report = check_no_lookahead(FrozenEstimator(model), PANEL, cutoff="10h")
    early = PANEL.index.get_level_values(1) <= pd.Timedelta("10h")
    assert (report["compared"].drop("alone") == early.sum()).all()
    some = early[np.isin(PANEL.index.codes[0], [0, 4, 9, 14, 19])]
    assert report["compared"]["alone"] == some.sum()


def test_features_that_look_ahead_are_caught_behind_a_classifier() -> None:
    class WholeRecord(tsf.CausalFeatures):
        def transform(self, panel: pd.DataFrame) -> pd.DataFrame:
            known = super().transform(panel)
            return known.groupby(level=0).transform("max")

    model = tsf.LogisticBaseline(**TASK, features=WholeRecord(["sbp"], history=False))
    with pytest.raises(LookaheadError, match="'sbp'"):
        check_no_lookahead(model, PANEL)


def mean_of_others(panel: pd.DataFrame) -> pd.Series:
    """Mean over the other stays at the same hour since admission; all of them up to the cutoff."""
    at_hour = panel["sbp"].groupby(level=1)
    total, known = at_hour.transform("sum"), at_hour.transform("count")
    own, mine = panel["sbp"].fillna(0.0), panel["sbp"].notna()
    return ((total - own) / (known - mine).clip(lower=1)).fillna(0.0)


def test_a_leak_between_patients_is_caught() -> None:
    with pytest.raises(LookaheadError, match="looks at other series .mode 'alone'") as caught:
        check_no_lookahead(LeakyRisk(mean_of_others), PANEL)
    assert "the other series move" in str(caught.value)
    with pytest.raises(LookaheadError, match="mode 'alone'"):  # a fitted one as well
        check_no_lookahead(FrozenEstimator(LeakyRisk(mean_of_others).fit(PANEL)), PANEL)


def test_where_there_is_one_stay_nothing_is_said_of_others() -> None:
    one = PANEL.droplevel(0).iloc[:20]
    own = LeakyRisk(lambda panel: panel["sbp"].fillna(0.0))
    for panel in (one, PANEL.loc[PANEL.index.unique(0)[:1]]):
        report = check_no_lookahead(own, panel)
        assert report["note"]["alone"] == "there is one series only"
        assert report["compared"]["alone"] == 0 and report["compared"]["append"] > 0


def test_every_row_up_to_the_cutoff_is_compared() -> None:
    """A leak in one early row alone: estimators are not asked at a few cutoffs only."""

    def one_row(panel: pd.DataFrame) -> pd.Series:
        risk = pd.Series(0.0, index=panel.index)
        last = panel["sbp"].groupby(level=0).last()
        risk.iloc[3] = np.nan_to_num(last.iloc[0])
        return risk

    with pytest.raises(LookaheadError, match=r"moves 1 of \d+ numbers"):
        check_no_lookahead(LeakyRisk(one_row), PANEL)
