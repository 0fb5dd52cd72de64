"""Alarms against a plain loop over rows, their figures against counts made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from event_frames import random_frame

from tsforecast import AlarmPolicy, alarm_report, recall_curve
from tsforecast._checks import DataError

POLICIES = [
    AlarmPolicy(0.3, silence=0),
    AlarmPolicy(0.3, silence="6h"),
    AlarmPolicy(0.25, silence="90min", rearm=0.15),
    AlarmPolicy(0.2, silence="1h", max_per_day=2),
    AlarmPolicy(0.2, silence="2h", rearm=0.2, max_per_day=1),
    AlarmPolicy(0.0, silence="6h", max_per_day=3),
]


def plain_alarms(stay, policy):
    """Row after row, as the policy is described."""
    silence = pd.Timedelta(hours=policy.silence) if policy.silence == 0 else policy.silence
    silence = pd.Timedelta(silence)
    times, low, alarms = [], True, []
    for time, risk, at_risk in zip(stay["time"], stay["risk"], stay["at_risk"]):
        if isinstance(time, (int, np.integer)):
            time = pd.Timedelta(hours=time)
        alarm = False
        if at_risk:
            low = low or policy.rearm is None or risk < policy.rearm
            in_day = [t for t in times if time - t < pd.Timedelta("24h")]
            alarm = (
                risk >= policy.threshold
                and low
                and (not times or time - times[-1] >= silence)
                and (policy.max_per_day is None or len(in_day) < policy.max_per_day)
            )
        if alarm:
            times.append(time)
            low = False
        alarms.append(alarm)
    return alarms


@pytest.mark.parametrize("kind", ["hours", "steps", "dates"])
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_alarms_are_those_of_a_plain_loop_and_of_live_steps(policy, kind):
    frame = random_frame(40, irregular=kind != "steps", kind=kind, digits=2)
    found = policy.apply(frame)
    expected, live = [], []
    for _, stay in frame.groupby(["model", "series"], sort=False):
        expected += plain_alarms(stay, policy)
        state = None
        for time, risk, at_risk in zip(stay["time"], stay["risk"], stay["at_risk"]):
            alarm = False
            if at_risk:
                alarm, state = policy.step(state, risk, time)
            live.append(alarm)
    assert found.tolist() == expected == live
    assert found.index.equals(frame.index) and 0 < found.sum() < len(found)


def test_an_alarm_depends_on_rows_of_its_stay_up_to_it_alone():
    frame = random_frame(20, models=("a",))
    policy = AlarmPolicy(0.25, silence="3h", rearm=0.2, max_per_day=2)
    later = frame["time"] > pd.Timedelta("8h")
    changed = frame.assign(risk=np.where(later, 1 - frame["risk"], frame["risk"]))
    before, after = policy.apply(frame), policy.apply(changed)
    assert before[~later].equals(after[~later]) and not before.equals(after)
    one = frame[frame["series"] == "s3"]
    assert policy.apply(one).equals(before[one.index])


def test_a_long_stay_may_have_many_alarms():
    hours = 10_000
    frame = random_frame(1, models=("a",)).iloc[:1]
    frame = pd.concat([frame] * hours, ignore_index=True)
    frame = frame.assign(time=pd.to_timedelta(range(hours), unit="h"), at_risk=True, risk=0.9)
    assert AlarmPolicy(0.5, silence="6h").apply(frame).sum() == -(-hours // 6)
    assert AlarmPolicy(0.5, silence=0, max_per_day=3).apply(frame).sum() == 3 * (hours // 24) + 3


@pytest.mark.parametrize("budget", [0.5, 1.0, 2.5])
@pytest.mark.parametrize(
    "policy", [AlarmPolicy(), AlarmPolicy(silence="2h", rearm=0.1), AlarmPolicy(max_per_day=3)]
)
def test_the_threshold_is_the_smallest_that_keeps_to_the_budget(policy, budget):
    frame = random_frame(60, models=("a",), digits=2)
    fitted = policy.fit(frame, alarms_per_patient_day=budget)
    rates = {}
    for level in np.unique(frame["risk"][frame["at_risk"]]):
        if policy.rearm is None or level >= policy.rearm:
            table = alarm_report(frame, replace(policy, threshold=float(level)), n_boot=0)
            rates[level] = table.loc["a", "alarms_per_day"]
    assert fitted.threshold == min(level for level, rate in rates.items() if rate <= budget)
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    assert policy.threshold is None


def test_every_model_has_a_threshold_of_its_own():
    frame = random_frame(60)
    doubled = frame["risk"].where(frame["model"] == "a", frame["risk"] / 2)
    policy = AlarmPolicy().fit(frame.assign(risk=doubled), alarms_per_patient_day=1)
    assert set(policy.threshold) == {"a", "b"}
    assert policy.threshold["a"] > policy.threshold["b"]
    table = alarm_report(frame.assign(risk=doubled), policy, n_boot=0)
    assert (table["alarms_per_day"] <= 1).all() and (table["alarms_per_day"] > 0.9).all()
    assert table["threshold"].to_dict() == policy.threshold
    with pytest.raises(ValueError, match="one for model 'c'"):
        policy.apply(frame.assign(model="c").iloc[: len(frame) // 2])
    with pytest.raises(ValueError, match=r"replace\(policy, threshold"):
        policy.step(None, 0.5, 0)


def two_stays():
    """A stay with an event at 10 h and one without, of 12 h at risk each."""
    hours = np.arange(10)
    ill = pd.DataFrame(
        {
            "series": "ill",
            "time": pd.to_timedelta(hours, unit="h"),
            "risk": [0.6, 0.1, 0.1, 0.1, 0.7, 0.1, 0.8, 0.1, 0.1, 0.1],
            "event": (hours >= 4).astype(float),
            "eligible": True,
            "hours_to_event": 10.0 - hours,
        }
    )
    well = ill.assign(
        series="well",
        risk=[0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9],
        event=[0.0] * 4 + [np.nan] * 6,
        eligible=[True] * 4 + [False] * 6,
        hours_to_event=np.nan,
    )
    return pd.concat([ill, well], ignore_index=True).assign(model="m", at_risk=True)


def test_the_report_counts_what_can_be_counted_by_hand():
    frame = two_stays()
    row = alarm_report(frame, AlarmPolicy(0.5, silence="1h"), n_boot=0).loc["m"]
    # alarms: ill at 0 (false), 4 and 6 (true); well at 1 (false) and 9 (horizon not observed)
    assert row["n_alarms"] == 5 and row["n_unjudged"] == 1
    assert row["n_events"] == row["n_caught"] == 1
    assert row["patient_days"] == pytest.approx(20 / 24)
    assert row["alarms_per_day"] == pytest.approx(5 / (20 / 24))
    assert row["false_per_day"] == pytest.approx(2 / (20 / 24))
    assert row["recall"] == 1 and row["precision"] == 0.5 and row["workup"] == 4
    assert row["lead_median"] == row["lead_q10"] == 6


def test_an_alarm_before_the_horizon_does_not_catch_the_event():
    frame = two_stays()
    early = pd.Series(frame["time"].eq(pd.Timedelta("3h")) & frame["series"].eq("ill"))
    row = alarm_report(frame, early, n_boot=0).loc["m"]
    assert row["n_alarms"] == 1 and row["recall"] == 0 and row["precision"] == 0
    assert np.isnan(row["lead_median"]) and np.isinf(row["workup"]) and np.isnan(row["threshold"])


def test_alarms_of_another_rule_can_be_judged():
    frame = random_frame(40)
    policy = AlarmPolicy(0.3)
    own = alarm_report(frame, policy, n_boot=50)
    other = alarm_report(frame, policy.apply(frame), n_boot=50)
    pd.testing.assert_frame_equal(
        pd.DataFrame(own.drop(columns="threshold")), pd.DataFrame(other.drop(columns="threshold"))
    )
    shuffled = frame.sample(frac=1, random_state=0)
    again = alarm_report(shuffled, policy.apply(shuffled), n_boot=0).loc[["a", "b"]]
    np.testing.assert_allclose(again["recall"], own["recall"])
    with pytest.raises(ValueError, match="an AlarmPolicy, or a Series of bool"):
        alarm_report(frame, policy.apply(frame).astype(float))


def test_events_that_come_again_are_counted_each():
    frame = two_stays().iloc[:10]
    away = np.array([4, 3, 2, 1, np.nan, 4, 3, 2, 1, np.nan])
    frame = frame.assign(
        at_risk=~np.isnan(away),
        eligible=~np.isnan(away),
        event=np.where(np.isnan(away), np.nan, 1.0),
        hours_to_event=away,
        risk=[0.1, 0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1],
    )
    row = alarm_report(frame, AlarmPolicy(0.5, silence=0), n_boot=0).loc["m"]
    assert (row["n_events"], row["n_caught"], row["n_alarms"]) == (2, 1, 1)
    assert row["lead_median"] == 3


def test_an_outcome_is_one_event_of_the_stay_without_lead_time():
    frame = random_frame(40, models=("a",))
    died = frame.groupby("series")["event"].transform("max").to_numpy() == 1
    frame = frame.assign(event=died * 1.0, at_risk=True, eligible=True, hours_to_event=np.nan)
    row = alarm_report(frame, AlarmPolicy(0.3), n_boot=0).loc["a"]
    assert row["n_events"] == frame["series"][died].nunique()
    flagged = AlarmPolicy(0.3).apply(frame)
    assert row["n_caught"] == frame["series"][died & flagged].nunique()
    assert np.isnan(row["lead_median"])


def test_intervals_come_from_drawing_patients():
    frame = random_frame(80, models=("a",), stays_per_patient=2)
    policy = AlarmPolicy(0.3)
    row = alarm_report(frame, policy, n_boot=400).loc["a"]
    for name in ("recall", "precision", "false_per_day"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    patients = dict(iter(frame.groupby("group")))
    rng = np.random.default_rng(1)
    recalls = []
    for _ in range(60):
        drawn = rng.choice(sorted(patients), len(patients))
        parts = [
            patients[name].assign(series=lambda p, k=k: p["series"] + f"_{k}", group=k)
            for k, name in enumerate(drawn)
        ]
        recalls.append(alarm_report(pd.concat(parts), policy, n_boot=0).loc["a", "recall"])
    assert np.std(recalls) * 3.92 == pytest.approx(row["recall_high"] - row["recall_low"], rel=0.35)


def test_the_curve_meets_each_budget_and_leaves_out_those_beyond_reach():
    frame = random_frame(80)
    curve = recall_curve(frame, AlarmPolicy(), budgets=[0.5, 1, 2, 50], n_boot=50)
    for name in ("a", "b"):
        part = curve.loc[name]
        assert part["recall"][:3].is_monotonic_increasing
        assert part.loc[50].isna().all()
        for budget in (0.5, 1, 2):
            own = frame[frame["model"] == name]
            fitted = AlarmPolicy().fit(own, alarms_per_patient_day=budget)
            row = alarm_report(own, fitted, n_boot=50).loc[name]
            assert part.loc[budget, "threshold"] == fitted.threshold
            for column in ("recall", "recall_low", "precision_high", "lead_median"):
                assert part.loc[budget, column] == pytest.approx(row[column], nan_ok=True)
    assert "on these patients" in repr(curve)


def test_budgets_out_of_reach_are_refused():
    frame = random_frame(30, models=("a",))
    with pytest.raises(DataError, match=r"out of reach.*at most .* at the lowest threshold"):
        AlarmPolicy(silence="6h").fit(frame, alarms_per_patient_day=10)
    with pytest.raises(DataError, match=r"out of reach.*at least .* at the highest threshold"):
        AlarmPolicy().fit(frame.assign(risk=0.5), alarms_per_patient_day=0.1)
    with pytest.raises(DataError, match=r"no risk of at least rearm=1"):
        AlarmPolicy(rearm=1.0).fit(frame, alarms_per_patient_day=1)
    with pytest.raises(ValueError, match="a number of alarms above 0"):
        AlarmPolicy().fit(frame, alarms_per_patient_day=0)


def test_bad_input_is_named():
    frame = random_frame(20)
    with pytest.raises(ValueError, match="policy.fit"):
        AlarmPolicy().apply(frame)
    with pytest.raises(ValueError, match="'threshold': expected a risk from 0 to 1, found 7"):
        AlarmPolicy(7)
    with pytest.raises(ValueError, match="'rearm': expected at most the threshold, 0.3"):
        AlarmPolicy(0.3, rearm=0.4)
    with pytest.raises(ValueError, match="'silence'"):
        AlarmPolicy(0.3, silence="often")
    with pytest.raises(ValueError, match="'silence'"):
        AlarmPolicy(0.3, silence="-1h")
    with pytest.raises(ValueError, match="'max_per_day'"):
        AlarmPolicy(0.3, max_per_day=0)
    with pytest.raises(ValueError, match="'risk': expected a probability"):
        AlarmPolicy(0.3).step(None, float("nan"), 0)
    with pytest.raises(DataError, match="nobody at risk"):
        AlarmPolicy(0.3).apply(frame.assign(at_risk=False, eligible=False))
    well = frame.assign(event=0.0, hours_to_event=np.nan)
    with pytest.raises(DataError, match="no event to catch"):
        alarm_report(well, AlarmPolicy(0.3))
    with pytest.raises(DataError, match="no probability"):
        AlarmPolicy(0.3).apply(frame.assign(risk=np.nan))
