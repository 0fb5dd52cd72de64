"""The backtest between patients: who is fitted on, who is judged, and that nothing else leaks."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from simulated_stays import simulate_stays
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from tsforecast import (
    AlarmPolicy,
    EventBacktest,
    LastValue,
    RollingOrigin,
    SeriesSplit,
    alarm_report,
    backtest_events,
    by_subgroup,
    compare_events,
    event_frame,
    event_metrics,
    event_within,
)
from tsforecast._checks import DataError

LABELS = ["event", "eligible", "at_risk", "hours_to_event"]


class Logit(BaseEstimator):
    """Logistic regression on the columns of a row; remembers which rows it was fitted on."""

    def __init__(self, inputs=("x",), event="event", horizon=4, label="onset", group=None):
        self.inputs = inputs
        self.event = event
        self.horizon = horizon
        self.label = label
        self.group = group

    def fit(self, panel):
        labels = self.event_labels(panel)
        rows = labels["eligible"].to_numpy()
        self.model_ = LogisticRegression().fit(
            panel[list(self.inputs)][rows], labels["event"][rows]
        )
        self.seen_ = panel.index
        return self

    def predict_risk(self, panel):
        self.shown_ = list(panel.columns)
        risk = self.model_.predict_proba(panel[list(self.inputs)])[:, 1]
        return pd.DataFrame({"risk": risk}, index=panel.index)

    def event_labels(self, panel):
        return event_within(panel, self.event, self.horizon, label=self.label)


def make_panel(n_stays=60, *, seed=0, stays_per_patient=1, kind="hours"):
    rng = np.random.default_rng(seed)
    stays = {}
    for stay in range(n_stays):
        n_rows = int(rng.integers(8, 30))
        onset = int(rng.integers(2, n_rows)) if rng.random() < 0.5 else 99
        hours = np.arange(n_rows)
        near = (onset - hours <= 4) & (hours < onset)
        time = pd.to_timedelta(hours, unit="h")
        time = hours if kind == "steps" else time
        if kind == "dates":
            time = pd.Timestamp("2020-01-01") + pd.to_timedelta(hours + 6 * stay, unit="h")
        stays[f"s{stay:02d}"] = pd.DataFrame(
            {
                "x": rng.normal(size=n_rows) + near,
                "noise": rng.normal(size=n_rows),
                "event": (hours >= onset) * 1.0,
                "patient_no": float(stay // stays_per_patient),
                "site": float(stay % 3),
            },
            index=time,
        )
    return pd.concat(stays, names=["stay", "time"])


MODELS = {"logit": Logit(), "noise": Logit(("noise",))}


def test_every_stay_is_judged_once_by_a_model_that_has_not_seen_its_patient():
    panel = make_panel(stays_per_patient=2)
    result = backtest_events(
        MODELS, panel, SeriesSplit(5, group="patient_no", random_state=0), group="patient_no"
    )
    frame = result.frame
    assert len(frame) == 2 * len(panel)
    assert frame.groupby("group")["fold"].nunique().max() == 1
    for name, model in MODELS.items():
        for fold, rows in frame[frame["model"] == name].groupby("fold"):
            tested = panel.index.get_level_values("stay").isin(rows["series"])
            fitted = model.__class__(model.inputs).fit(panel[~tested])
            expected = fitted.predict_risk(panel[tested])["risk"]
            np.testing.assert_array_equal(rows["risk"], expected)
            labels = event_within(panel[tested], "event", 4)
            found = rows[LABELS].reset_index(drop=True)
            pd.testing.assert_frame_equal(found, labels.reset_index(drop=True))
            assert fold in range(5)


def test_the_event_is_taken_away_before_predicting():
    shown = []

    class Watching(Logit):
        def predict_risk(self, panel):
            shown.append(list(panel.columns))
            return super().predict_risk(panel)

    backtest_events({"m": Watching()}, make_panel(20), SeriesSplit(2, random_state=0))
    assert shown == [["x", "noise", "patient_no", "site"]] * 2


def test_results_come_with_metrics_comparisons_and_subgroups():
    panel = make_panel(80)
    result = backtest_events(MODELS, panel, SeriesSplit(4, random_state=0), keep=["site"])
    table = result.metrics(n_boot=20)
    np.testing.assert_array_equal(table, event_metrics(result.frame, n_boot=20))
    assert table.loc["logit", "auroc"] > table.loc["noise", "auroc"] + 0.1
    compared = result.compare("noise", n_boot=20)
    np.testing.assert_array_equal(compared, compare_events(result.frame, "noise", n_boot=20))
    sites = by_subgroup(result.frame, "site", lambda part: event_metrics(part, n_boot=0))
    assert list(sites.index.unique(0)) == [0.0, 1.0, 2.0]
    assert repr(result).startswith("EventBacktest(models=['logit', 'noise'], folds=4, patients=80")


def test_metrics_print_what_the_shape_of_the_records_gives_away():
    panel = make_panel(80)
    result = backtest_events({"logit": Logit()}, panel, SeriesSplit(4, random_state=0))
    line = result.metrics(n_boot=0).attrs["header"][-1]
    assert line.startswith("nuisance: without a single value, AUROC from causal: ")
    assert "; whole record: " in line
    assert line in repr(result.metrics(n_boot=0))
    assert result.metrics("8h", n_boot=0).attrs["header"][-1] != line
    without = EventBacktest(result.frame).metrics(n_boot=0)
    assert not any("nuisance" in words for words in without.attrs["header"])


def test_one_site_is_left_out_at_a_time():
    panel = make_panel(60)
    result = backtest_events(MODELS, panel, SeriesSplit(None, group="site"), keep=["site"])
    assert result.frame.groupby("fold")["site"].nunique().tolist() == [1, 1, 1]
    assert "group" not in result.frame


def test_a_patient_on_both_sides_is_an_error_that_names_him():
    panel = make_panel(20, stays_per_patient=2)
    with pytest.raises(DataError, match=r"patient is on both sides.*on both: \d+\.0"):
        backtest_events(MODELS, panel, SeriesSplit(4, random_state=0), group="patient_no")
    with pytest.raises(DataError, match=r"patient is on both sides.*1 on both: 's06'"):
        backtest_events(MODELS, panel, KFold(3))
    own = {"m": Logit(group="patient_no")}
    with pytest.raises(DataError, match="patient is on both sides"):
        backtest_events(own, panel, SeriesSplit(4, random_state=0))


class Repeated:
    def split(self, panel):
        for _ in range(2):
            yield from SeriesSplit(2, random_state=0).split(panel)


def test_a_series_that_is_tested_twice_is_an_error():
    with pytest.raises(DataError, match="a series is tested twice"):
        backtest_events(MODELS, make_panel(20), Repeated())


def test_stays_admitted_after_a_date_are_judged_by_a_fit_up_to_it():
    panel = make_panel(60, kind="dates")
    date = pd.Timestamp("2020-01-11 10:00")
    result = backtest_events({"m": Logit()}, panel, date)
    time = panel.index.get_level_values("time")
    admitted = pd.Series(time, index=panel.index).groupby("stay").transform("min")
    judged = panel[(admitted > date).to_numpy()]
    assert sorted(result.frame["series"].unique()) == list(judged.index.unique("stay"))
    expected = Logit().fit(panel[time <= date]).predict_risk(judged)["risk"]
    np.testing.assert_array_equal(result.frame["risk"], expected)
    text = backtest_events({"m": Logit()}, panel, "2020-01-11 10:00")
    pd.testing.assert_frame_equal(text.frame, result.frame)


def test_what_comes_after_the_date_does_not_reach_the_fit():
    panel = make_panel(60, kind="dates")
    date = pd.Timestamp("2020-01-11 10:00")
    time = panel.index.get_level_values("time")
    admitted = pd.Series(time, index=panel.index).groupby("stay").transform("min")
    torn = ((admitted <= date) & (time > date)).to_numpy()
    changed = panel.copy()
    changed.loc[torn, ["x", "event"]] = 1.0
    one, other = (backtest_events({"m": Logit()}, p, date).frame for p in (panel, changed))
    assert torn.any()
    np.testing.assert_array_equal(one["risk"], other["risk"])


def test_rolling_origin_judges_each_admission_once_and_leaves_out_known_patients():
    panel = make_panel(60, kind="dates", stays_per_patient=2)
    cv = RollingOrigin(3, 60)
    result = backtest_events({"m": Logit(group="patient_no")}, panel, cv)
    frame = result.frame
    splits = cv.splits(panel, horizon=1)
    starts = panel.reset_index().groupby("stay").agg({"time": "min", "patient_no": "first"})
    for fold, split in enumerate(splits):
        judged = frame[frame["fold"] == fold]
        assert judged.groupby("series")["time"].min().min() > split.cutoffs[0]
        seen = panel[panel.index.get_level_values("time") <= split.fit_until]
        assert not set(judged["group"]) & set(seen["patient_no"])
    later = starts[starts["time"] > splits[0].cutoffs[0]]
    assert len(later) == frame["series"].nunique() + frame.attrs["known_before"]
    assert frame.attrs["known_before"] > 0


def test_stays_without_an_outcome_yet_are_not_fitted_on():
    fitted_on = []

    class Watching(Logit):
        def fit(self, panel):
            fitted_on.append(panel.index.unique(0))
            return super().fit(panel)

    panel = make_panel(60, kind="dates")
    died = panel.groupby("stay")["event"].transform("max")
    date = pd.Timestamp("2020-01-11 10:00")
    backtest_events({"m": Watching(label="outcome", horizon=None)}, panel.assign(event=died), date)
    ends = panel.reset_index().groupby("stay")["time"].max()
    assert list(fitted_on[0]) == list(ends.index[ends <= date])


def test_time_since_admission_cannot_be_cut_at_a_date():
    with pytest.raises(ValueError, match=r"'cv': expected a SeriesSplit, as time is counted"):
        backtest_events(MODELS, make_panel(20), RollingOrigin(2))
    with pytest.raises(ValueError, match=r"'cv': expected a splitter, or a date"):
        backtest_events(MODELS, make_panel(20, kind="dates"), "yesterday evening")


def test_labels_must_agree_between_models():
    other = {"a": Logit(), "b": Logit(horizon=6)}
    with pytest.raises(DataError, match=r"different labels.*'a' and 'b'.*`event` differs in \d+"):
        backtest_events(other, make_panel(20), SeriesSplit(2, random_state=0))


def test_alarms_take_the_threshold_of_each_fold_from_the_other_folds():
    panel = make_panel(80)
    result = backtest_events(MODELS, panel, SeriesSplit(4, random_state=0))
    policy = AlarmPolicy(silence="2h")
    table = result.alarms(policy, alarms_per_patient_day=2, n_boot=0)
    frame, flags, levels = result.frame, [], []
    for fold in range(4):
        own = frame["fold"] == fold
        fitted = policy.fit(frame[~own], alarms_per_patient_day=2)
        flags.append(fitted.apply(frame[own]))
        levels.append(fitted.threshold["logit"])
    expected = alarm_report(frame, pd.concat(flags).loc[frame.index], n_boot=0)
    pd.testing.assert_frame_equal(
        pd.DataFrame(table.drop(columns="threshold")),
        pd.DataFrame(expected.drop(columns="threshold")),
    )
    assert table.loc["logit", "threshold"] == pytest.approx(np.mean(levels))
    assert "chosen on the other folds" in repr(table)
    fixed = result.alarms(AlarmPolicy(0.4), n_boot=0)
    assert (fixed["threshold"] == 0.4).all()
    with pytest.raises(ValueError, match="a budget, or else a policy with a threshold"):
        result.alarms()
    one = EventBacktest(frame[frame["fold"] == 0])
    with pytest.raises(DataError, match="two folds or more"):
        one.alarms(alarms_per_patient_day=2)


def test_thresholds_of_folds_in_order_of_time_come_from_earlier_folds_alone():
    panel = make_panel(90, kind="dates")
    result = backtest_events(MODELS, panel, RollingOrigin(3, 120))
    assert result.in_time_order
    policy, frame = AlarmPolicy(silence="2h"), result.frame
    table = result.alarms(policy, alarms_per_patient_day=2, n_boot=0)
    flags, levels = [], []
    for fold in (1, 2):
        own = frame["fold"] == fold
        known = frame[(frame["fold"] < fold) & (frame["time"] < frame["time"][own].min())]
        fitted = policy.fit(known, alarms_per_patient_day=2)
        flags.append(fitted.apply(frame[own]))
        levels.append(fitted.threshold["logit"])
    judged = frame[frame["fold"] > 0]
    expected = alarm_report(judged, pd.concat(flags).loc[judged.index], n_boot=0)
    pd.testing.assert_frame_equal(
        pd.DataFrame(table.drop(columns="threshold")),
        pd.DataFrame(expected.drop(columns="threshold")),
    )
    assert table.loc["logit", "threshold"] == pytest.approx(np.mean(levels))
    out = frame[(frame["fold"] == 0) & (frame["model"] == "logit")]
    stays = out["series"].nunique()
    assert f"first fold has none and is left out: {stays} stays, {len(out)} rows" in repr(table)
    # what the last fold holds does not reach the thresholds
    altered = frame.assign(risk=frame["risk"].where(frame["fold"] < 2, frame["risk"] / 2))
    again = EventBacktest(altered, in_time_order=True)
    other = again.alarms(policy, alarms_per_patient_day=2, n_boot=0)
    np.testing.assert_array_equal(other["threshold"], table["threshold"])
    one = EventBacktest(frame[frame["fold"] == 0], in_time_order=True)
    with pytest.raises(DataError, match="two folds or more"):
        one.alarms(alarms_per_patient_day=2)


def test_exclusions_are_told_where_they_count_the_tested_rows_alone():
    panel = make_panel(60, kind="dates")
    stays = panel.index.get_level_values("stay")
    for stay in ("s00", "s59"):  # on from the first row: one stay before the date, one after it
        panel.loc[stays == stay, "event"] = 1.0
    model = {"m": Logit()}
    whole = backtest_events(model, panel, SeriesSplit(3, random_state=0)).frame
    assert whole.attrs["excluded"] == event_within(panel, "event", 4).attrs["excluded"]
    assert {"s00", "s59"} <= set(whole.attrs["left_censored"])
    part = backtest_events(model, panel, "2020-01-11 10:00").frame
    assert "excluded" not in part.attrs
    assert "s59" in part.attrs["left_censored"]
    assert set(part.attrs["left_censored"]) <= set(part["series"])


def test_a_fitted_model_is_judged_on_new_patients():
    train, new = make_panel(40), make_panel(30, seed=1).rename(index=lambda s: f"n{s}", level=0)
    model = Logit().fit(train)
    frame = event_frame(model, new, name="here", keep=["site"])
    assert frame["model"].unique() == ["here"]
    np.testing.assert_array_equal(frame["risk"], model.predict_risk(new)["risk"])
    assert frame.attrs["excluded"] == event_within(new, "event", 4).attrs["excluded"]
    both = pd.concat([frame, event_frame(Logit(("noise",)).fit(train), new, keep=["site"])])
    assert list(event_metrics(both, n_boot=0).index) == ["here", "Logit"]
    with pytest.raises(ValueError, match="unfitted"):
        backtest_events({"m": FrozenEstimator(model)}, new, SeriesSplit(2))


def test_stays_that_were_fitted_on_are_counted_and_a_backtest_is_silent():
    panel = simulate_stays(80, competing=0.3, seed=0).panel
    some = panel[panel.index.get_level_values(0) < 30]
    model = LastValue("x", event="event", competing="exit", horizon=6)
    fitted = clone(model).fit(some)
    with pytest.warns(UserWarning, match="30 of 80 series have the names of some that the est"):
        event_frame(fitted, panel)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        event_frame(fitted, panel.drop(some.index))
        backtest_events({"x": model}, panel, SeriesSplit(2, random_state=0))


def test_one_series_without_a_name_is_series_0():
    panel = make_panel(1).droplevel("stay")
    frame = event_frame(Logit().fit(make_panel(20)), panel)
    assert (frame["series"] == 0).all() and len(frame) == len(panel)


def test_risks_of_every_step_come_along():
    class Steps(Logit):
        def predict_risk(self, panel):
            risk = super().predict_risk(panel)
            return risk.assign(risk_1=risk["risk"] / 2, risk_2=risk["risk"])

    frame = event_frame(Steps().fit(make_panel(20)), make_panel(20))
    assert list(frame.columns)[:6] == ["model", "series", "time", "risk", "risk_1", "risk_2"]


def test_models_and_panels_that_cannot_be_used_are_refused():
    panel, cv = make_panel(20), SeriesSplit(2, random_state=0)

    class Nan(Logit):
        def predict_risk(self, panel):
            return super().predict_risk(panel) * np.nan

    class Short(Logit):
        def predict_risk(self, panel):
            return super().predict_risk(panel).iloc[1:]

    with pytest.raises(DataError, match=r"no probability.*from 'm'"):
        backtest_events({"m": Nan()}, panel, cv)
    with pytest.raises(DataError, match=r"risks cannot be used.*on the index of the panel"):
        backtest_events({"m": Short()}, panel, cv)
    with pytest.raises(ValueError, match="It has no predict_risk, event_labels"):
        backtest_events({"m": LogisticRegression()}, panel, cv)
    with pytest.raises(ValueError, match="a dict of names"):
        backtest_events([Logit()], panel, cv)
    with pytest.raises(DataError, match="expected a column 'ward'"):
        backtest_events(MODELS, panel, cv, keep=["ward"])
    with pytest.raises(DataError, match="a name of the event frame"):
        backtest_events(MODELS, panel, cv, keep=["event"])
    with pytest.raises(ValueError, match="a list of column names"):
        backtest_events(MODELS, panel, cv, keep="site")
    with pytest.raises(ValueError, match="one group for all"):
        backtest_events({"a": Logit(group="site"), "b": Logit(group="patient_no")}, panel, cv)


def test_a_column_that_looks_like_patients_draws_a_warning():
    panel = make_panel(20).rename(columns={"patient_no": "subject_id"})
    with pytest.warns(UserWarning, match="'subject_id' looks as if it named groups"):
        backtest_events({"m": Logit()}, panel, SeriesSplit(2, group="site", random_state=0))


def test_estimators_of_our_own_are_judged_with_competing_exits():
    stays = simulate_stays(80, competing=0.3, seed=0)
    models = {
        name: LastValue(name, event="event", competing="exit", horizon=6) for name in ("x", "noise")
    }
    result = backtest_events(models, stays.panel, SeriesSplit(2, random_state=0))
    table = event_metrics(result.frame, n_boot=0)
    assert table.loc["x", "auroc"] > table.loc["noise", "auroc"] + 0.1
    assert [name for name in result.frame if str(name).startswith("risk_")] == [
        f"risk_{k}" for k in range(1, 7)
    ]
