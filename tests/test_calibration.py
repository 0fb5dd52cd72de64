"""Calibrated event estimators: patients stand on one side, risks stay in order, nothing leaks."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from simulated_stays import simulate_stays
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.backtesting.patients import event_frame
from tsforecast.backtesting.risk_maps import RiskMap, fit_map
from tsforecast.data.labels import Labels
from tsforecast.data.panel import Floats, Layout
from tsforecast.estimators._events import PanelClassifier, even_risk
from tsforecast.estimators.calibration import CalibratedEvents, recalibrate

SEEN: list[set[Any]] = []  # stays of every fit


class Overstating(PanelClassifier):
    """The true risk of a simulated stay, made wrong by a line on its log odds."""

    def __init__(
        self, *, event="event", horizon=6, competing="exit", group=None, intercept=0.5, slope=1.8
    ):
        self.event = event
        self.horizon = horizon
        self.competing = competing
        self.group = group
        self.intercept = intercept
        self.slope = slope
        self.label, self.step, self.clear, self.min_history = "onset", "1h", None, 0

    def _inputs(self, panel: pd.DataFrame) -> list:
        return ["risk_6"]

    def _fit(self, panel: pd.DataFrame, layout: Layout, labels: Labels) -> None:
        SEEN.append(set(layout.ids))

    def _risk(self, panel: pd.DataFrame, layout: Layout) -> Floats:
        odds = logit(panel["risk_6"].to_numpy())
        return even_risk(expit(self.intercept + self.slope * odds), self.n_steps_)


def panel_of(n: int = 400, seed: int = 0, first: int = 0) -> pd.DataFrame:
    """Stays with the true risk beside the rows; two stays to each patient."""
    stays = simulate_stays(n, seed=seed)
    panel = stays.panel.assign(risk_6=stays.incidence["risk_6"])
    panel.index = panel.index.set_levels(panel.index.levels[0] + first, level=0)
    return panel.assign(subject=(panel.index.get_level_values(0) // 2).astype(float))


def wrong(**changed: Any) -> Overstating:
    return Overstating(**({"horizon": "6h", "group": "subject"} | changed))


PANEL = panel_of()
CASES = {
    f"{method} {cv}": CalibratedEvents(wrong(), method=method, cv=cv, random_state=0)
    for method in ("platt", "temperature", "isotonic", "intercept")
    for cv in (None, 3)
}
every_case = pytest.mark.parametrize("name", CASES)


# -------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("cv", [None, 4])
def test_platt_brings_slope_and_intercept_back(cv):
    model = CalibratedEvents(wrong(), cv=cv, size=0.5, random_state=0).fit(panel_of(5000, 1))
    fresh = panel_of(5000, 2, first=9000)
    frames = [
        event_frame(each, fresh, name=name)
        for name, each in {"before": model.estimator_, "after": model}.items()
    ]
    table = tsf.calibration_summary(pd.concat(frames), n_boot=100)
    assert not 0.9 < table.loc["before", "slope"] < 1.1
    assert 0.9 < table.loc["after", "slope"] < 1.1
    assert abs(table.loc["after", "intercept"]) < 0.15
    assert table.loc["after", "ece"] < 0.5 * table.loc["before", "ece"]
    assert table.loc["after", "ece"] < table.loc["after", "ece_perfect_high"]


@every_case
def test_risks_never_fall_over_the_steps_and_lie_between_0_and_1(name):
    risk = clone(CASES[name]).fit(PANEL).predict_risk(PANEL)
    steps = risk.drop(columns="risk").to_numpy()
    assert list(risk.columns) == ["risk", *(f"risk_{k}" for k in range(1, 7))]
    assert (np.diff(steps, axis=1) >= 0).all()
    assert (steps >= 0).all() and (steps <= 1).all()
    np.testing.assert_array_equal(risk["risk"], risk["risk_6"])


@pytest.mark.parametrize("name", ["platt None", "intercept 3", "temperature None"])
def test_patients_are_told_apart_as_before(name):
    model = clone(CASES[name]).fit(PANEL)
    assert model.score(PANEL) == pytest.approx(model.estimator_.score(PANEL))


def test_a_model_of_one_step_has_one_risk():
    model = CalibratedEvents(wrong(horizon="1h"), random_state=0).fit(PANEL)
    assert list(model.predict_risk(PANEL).columns) == ["risk"]
    proba = model.predict_proba(PANEL)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(proba[:, 1], model.predict_risk(PANEL)["risk"])


# --------------------------------------------------------------------------------- who stands where


def line_of(found: RiskMap) -> tuple[float, float]:
    return found.intercept, found.slope


def patients(stays: set[Any]) -> set[int]:
    return {stay // 2 for stay in stays}


def test_a_held_out_patient_is_never_on_both_sides():
    every = set(PANEL.index.get_level_values(0))
    for seed in range(5):
        SEEN.clear()
        CalibratedEvents(wrong(), size=0.3, random_state=seed).fit(PANEL)
        (fitted,) = SEEN
        held = every - fitted
        assert not patients(fitted) & patients(held)
        assert 0.25 < len(held) / len(every) < 0.35


def test_the_map_is_fitted_on_the_held_out_patients_alone():
    SEEN.clear()
    model = CalibratedEvents(wrong(), random_state=1).fit(PANEL)
    held = PANEL[~PANEL.index.get_level_values(0).isin(SEEN[0])]
    frame = event_frame(model.estimator_, held).query("eligible")
    expected = fit_map("platt", frame["risk"].to_numpy(), frame["event"].to_numpy())
    assert line_of(model.map_) == line_of(expected)
    # what comes of those it was fitted on does not reach the map
    altered = PANEL.copy()
    fitted = altered.index.get_level_values(0).isin(SEEN[0])
    altered.loc[fitted, "risk_6"] = 0.5
    again = CalibratedEvents(wrong(), random_state=1).fit(altered).map_
    assert line_of(again) == line_of(model.map_)


@pytest.mark.parametrize(("at", "own"), [("4h", "every"), (None, "4h")])
def test_the_map_belongs_to_the_rows_that_are_asked_for_or_learned_from(at, own):
    estimator = wrong()
    estimator.at = own
    local = panel_of(600, seed=3, first=10_000)
    fitted = FrozenEstimator(estimator.fit(PANEL))
    model = CalibratedEvents(fitted, at=at).fit(local)
    frame = event_frame(fitted.estimator, local).query("eligible")
    newest = frame[frame["time"] <= pd.Timedelta("4h")].groupby("series").tail(1)
    expected = fit_map("platt", newest["risk"].to_numpy(), newest["event"].to_numpy())
    assert line_of(model.map_) == line_of(expected)
    with pytest.raises(ValueError, match="'at'"):
        CalibratedEvents(fitted, at="soon").fit(local)


def test_cross_fitting_forecasts_every_patient_once_and_refits_on_all():
    every = set(PANEL.index.get_level_values(0))
    SEEN.clear()
    CalibratedEvents(wrong(), cv=4, random_state=0).fit(PANEL)
    assert len(SEEN) == 5 and SEEN[-1] == every
    held = [every - fitted for fitted in SEEN[:-1]]
    assert sum(map(len, held)) == len(every) and set.union(*held) == every
    for fitted, out in zip(SEEN, held):
        assert not patients(fitted) & patients(out)
    ill = PANEL.groupby("subject")["event"].max()
    shares = [ill[sorted(patients(out))].mean() for out in held]
    assert max(shares) - min(shares) < 0.05  # stratified, by patient


def test_without_group_a_stay_is_a_patient():
    SEEN.clear()
    panel = PANEL.drop(columns="subject")
    CalibratedEvents(wrong(group=None), random_state=0).fit(panel)
    every = set(panel.index.get_level_values(0))
    assert patients(SEEN[0]) & patients(every - SEEN[0])


def test_the_same_seed_draws_the_same_patients():
    one, two, other = (
        line_of(CalibratedEvents(wrong(), random_state=seed).fit(PANEL).map_) for seed in (3, 3, 4)
    )
    assert one == two != other


def test_two_stays_are_not_split_when_folds_are_few():
    few = panel_of(60, seed=4)
    with pytest.raises(DataError, match=r"too few patients to cross-fit.*at least 40 with the"):
        CalibratedEvents(wrong(), cv=40).fit(few)


# ------------------------------------------------------------------------------------- another site


@pytest.mark.parametrize("method", ["platt", "isotonic", "intercept"])
def test_a_fitted_model_is_recalibrated_to_another_site_and_left_as_it_is(method):
    model = wrong(intercept=0.0, slope=1.0).fit(PANEL)
    # elsewhere the event is rarer than the model has learned
    local = panel_of(1500, seed=5, first=10_000)
    local["risk_6"] = expit(logit(local["risk_6"]) + 1.0)
    before = model.predict_risk(local)
    SEEN.clear()
    again = recalibrate(model, local, method)
    assert not SEEN  # nothing was fitted anew
    pd.testing.assert_frame_equal(model.predict_risk(local), before)
    fresh = panel_of(1500, seed=6, first=20_000)
    fresh["risk_6"] = expit(logit(fresh["risk_6"]) + 1.0)
    old, new = (
        tsf.calibration_summary(event_frame(each, fresh), n_boot=50).iloc[0]
        for each in (model, again)
    )
    assert old["intercept"] < -0.8 and abs(new["intercept"]) < 0.15
    assert isinstance(again.estimator, FrozenEstimator) and again.horizon == "6h"
    assert clone(again).estimator is again.estimator


def test_patients_whom_the_model_has_seen_are_counted_in_a_warning():
    model = wrong().fit(PANEL)
    with pytest.warns(UserWarning, match="400 of 400 series have the names of some that the"):
        recalibrate(model, PANEL)


def test_patients_whom_the_model_has_seen_are_counted_where_it_is_judged_by_them():
    model = wrong().fit(PANEL)
    some = pd.concat([PANEL.loc[:9], panel_of(20, 9, first=10_000)])
    with pytest.warns(UserWarning, match="10 of 30 series have the names of some that the"):
        event_frame(model, some)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        event_frame(model, panel_of(20, 9, first=10_000))


def test_a_local_panel_needs_no_column_for_the_group():
    model = wrong().fit(PANEL)
    local = panel_of(300, seed=7, first=10_000).drop(columns="subject")
    assert recalibrate(model, local).predict_risk(local).notna().all(axis=None)


def test_an_unfitted_model_cannot_be_recalibrated():
    with pytest.raises(NotFittedError):
        recalibrate(wrong(), PANEL)
    with pytest.raises(NotFittedError):
        CalibratedEvents(FrozenEstimator(wrong())).fit(PANEL)


def test_the_curve_of_local_patients_takes_a_model_and_a_panel():
    model = wrong().fit(PANEL)
    local = panel_of(300, seed=8, first=10_000)
    curve = tsf.local_patients_curve(model, local, sizes=[20, 60], n_draws=10)
    again = tsf.local_patients_curve(event_frame(model, local), sizes=[20, 60], n_draws=10)
    pd.testing.assert_frame_equal(pd.DataFrame(curve), pd.DataFrame(again))
    assert list(curve["n"]) == [0, 20, 60]  # of 150 patients


# ------------------------------------------------------------------------------------------ manners


@every_case
def test_a_row_depends_on_rows_of_its_series_up_to_it_alone(name):
    model = clone(CASES[name]).fit(PANEL)
    expected = model.predict_risk(PANEL)
    hour = PANEL.index.get_level_values("hour")
    late = np.asarray(hour > pd.Timedelta("5h"))
    altered = PANEL.copy()
    altered.loc[late, ["risk_6", "event", "exit"]] = [0.9, 1.0, 0.0]
    known = model.predict_risk(altered)[~late]
    pd.testing.assert_frame_equal(known, expected[~late], check_exact=True)
    short = model.predict_risk(PANEL[~late].drop(columns=["event", "exit"]))
    pd.testing.assert_frame_equal(short, expected[~late], check_exact=True)
    one = PANEL.loc[[17]]
    pd.testing.assert_frame_equal(model.predict_risk(one), expected.loc[[17]], check_exact=True)


def test_rows_come_back_in_the_order_in_which_they_came():
    model = clone(CASES["platt None"]).fit(PANEL)
    expected = model.predict_risk(PANEL)
    turned = PANEL.sort_index(level="hour", kind="stable")
    found = model.predict_risk(turned)
    pd.testing.assert_index_equal(found.index, turned.index)
    pd.testing.assert_frame_equal(found.sort_index(), expected)


def test_it_is_a_classifier_whose_task_is_the_estimators():
    model = CalibratedEvents(wrong(), cv=3)
    assert is_classifier(model)
    for name in ("event", "label", "horizon", "step", "competing", "clear", "min_history", "group"):
        assert getattr(model, name) == getattr(model.estimator, name)
    assert model.set_params(estimator__horizon="2h", cv=2).horizon == "2h"
    assert set(model.get_params(deep=False)) == {
        "estimator", "method", "cv", "size", "at", "random_state",
    }  # fmt: skip
    with pytest.raises(AttributeError, match="'CalibratedEvents' object has no attribute 'map_'"):
        model.map_  # noqa: B018
    with pytest.raises(NotFittedError):
        model.predict_risk(PANEL)
    fitted = clone(CASES["isotonic None"]).fit(PANEL)
    again = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(again.predict_risk(PANEL), fitted.predict_risk(PANEL))
    expected = fitted.event_labels(PANEL)
    pd.testing.assert_frame_equal(fitted.estimator_.event_labels(PANEL), expected)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"method": "beta"}, "'method': expected one of"),
        ({"cv": 1}, "'cv': expected a whole number of at least 2"),
        ({"cv": "5"}, "'cv': expected a whole number"),
        ({"size": 1.0}, r"'size': expected a share in \(0, 1\)"),
        ({"size": True}, "'size'"),
        ({"estimator": 3}, "'estimator': expected an event estimator"),
        ({"estimator": Overstating}, "'estimator': expected an event estimator"),
        ({"estimator": None}, "'estimator'"),
    ],
)
def test_parameters_are_checked_in_fit(changed, words):
    with pytest.raises(ValueError, match=words):
        CalibratedEvents(wrong()).set_params(**changed).fit(PANEL)


def test_a_panel_without_events_or_without_the_group_is_refused():
    with pytest.raises(DataError, match="no event in the training rows"):
        CalibratedEvents(wrong()).fit(PANEL.assign(event=0.0))
    with pytest.raises(DataError, match="group is not a column"):
        CalibratedEvents(wrong()).fit(PANEL.drop(columns="subject"))
    model = CalibratedEvents(wrong(), random_state=0).fit(PANEL)
    with pytest.raises(DataError, match="columns are missing.*'risk_6'"):
        model.predict_risk(PANEL.drop(columns="risk_6"))


def test_it_stands_in_a_backtest_beside_its_estimator():
    models = {"plain": wrong(), "calibrated": CalibratedEvents(wrong(), cv=3, random_state=0)}
    panel = panel_of(600, seed=9)
    split = tsf.SeriesSplit(3, group="subject", random_state=0)
    frame = tsf.backtest_events(models, panel, split).frame
    table = tsf.calibration_summary(frame, n_boot=50)
    assert table.loc["calibrated", "ece"] < table.loc["plain", "ece"]
    across = tsf.calibration_summary(tsf.cross_calibrate(frame), n_boot=50)
    assert 0.85 < across.loc["plain", "slope"] < 1.15


def test_a_boosted_baseline_is_calibrated_on_patients_it_has_not_seen():
    panel = panel_of(300, seed=10).drop(columns="risk_6")
    model = CalibratedEvents(
        tsf.BoostedBaseline(
            event="event", horizon="6h", step="1h", competing="exit", group="subject",
            learning_rate=0.3, max_iter=60, l2_regularization=0.0, random_state=0,
        ),
        random_state=0,
    ).fit(panel)  # fmt: skip
    assert model.map_.slope < 0.9  # it was too sure
    assert model.predict_risk(panel).notna().all(axis=None)
