"""What records give away by their shape: found where it is, and not where it is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsforecast import nuisance_report
from tsforecast._checks import DataError
from tsforecast.backtesting import nuisance


def simulate(n=200, *, stops=True, seed=0, ordered=False, kind="hours"):
    """Stays with an event at a constant hazard; records stop there, or go on for long after it.

    `ordered`: a value is measured more often in the hours before the event.
    """
    rng = np.random.default_rng(seed)
    stays = {}
    for stay in range(n):
        ends, onset = 3 + rng.geometric(0.03), 3 + rng.geometric(0.02)
        ill = onset < ends
        n_rows = onset + (1 if stops else rng.geometric(0.02)) if ill else ends + 12
        hours = np.arange(n_rows)
        often = 0.9 if ordered else 0.3
        near = ill & (hours >= onset - 6)
        seen = rng.random(n_rows) < np.where(near, often, 0.3)
        stays[stay] = pd.DataFrame(
            {
                "age": 60.0,
                "lactate": np.where(seen, rng.normal(size=n_rows), np.nan),
                "event": ill * (hours >= onset) * 1.0,
            },
            index=pd.to_timedelta(hours, unit="h") if kind == "hours" else hours,
        )
    return pd.concat(stays, names=["stay", "time"])


@pytest.mark.parametrize("kind", ["hours", "steps"])
def test_hours_left_give_the_event_away_where_records_stop_at_it(kind):
    report = nuisance_report(simulate(kind=kind), "event", 6)
    figures = report["auroc"]
    assert figures["whole record", "record length"] > 0.95
    assert figures["whole record", "row count"] > 0.95
    assert figures["causal"].max() < 0.6
    assert report.loc[("whole record", "record length"), "looks_at"] == "hours left, hours in all"
    assert "may have seen where records end" in report.attrs["sentence"]
    assert report.attrs["sentence"] in repr(report)


def test_some_rows_are_enough_to_learn_from_where_events_are_rare(monkeypatch):
    monkeypatch.setattr(nuisance, "_MOST_ROWS", 100)
    report = nuisance_report(simulate(), "event", 6)
    assert report["auroc"]["whole record", "record length"] > 0.95


def test_records_that_go_on_give_less_away():
    report = nuisance_report(simulate(stops=False), "event", 6)
    assert report.loc["causal", "auroc"].max() < 0.6
    stops = nuisance_report(simulate(), "event", 6)["auroc"]["whole record", "record length"]
    assert report["auroc"]["whole record", "record length"] < stops - 0.05


def test_what_is_measured_more_often_before_the_event_is_found_in_the_causal_version():
    report = nuisance_report(simulate(stops=False, ordered=True), "event", 6)
    pattern = report["auroc"]["causal", "missing pattern"]
    assert pattern > 0.65
    assert pattern > report["auroc"]["causal", "record length"] + 0.1


def test_values_are_not_looked_at():
    panel = simulate(100)
    shuffled = panel.copy()
    shuffled["lactate"] = panel["lactate"].where(panel["lactate"].isna(), 7.0)
    shuffled["age"] = 1e3 * panel["event"]  # a column that is always measured says nothing
    one, other = (nuisance_report(p, "event", 6) for p in (panel, shuffled))
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))


def test_stays_of_a_patient_are_on_one_side():
    # every patient has the same stay twice: torn apart, counts so far would know him again
    rng = np.random.default_rng(0)
    stays = {}
    for patient in range(60):
        rows, ill = 12, rng.random() < 0.5
        pattern = rng.random((rows, 8)) < rng.random(8)
        for copy in "ab":
            columns = {f"v{k}": np.where(pattern[:, k], 1.0, np.nan) for k in range(8)}
            stays[f"{patient}{copy}"] = pd.DataFrame(
                {**columns, "event": ill * 1.0, "patient_no": float(patient)}
            )
    panel = pd.concat(stays, names=["stay", "time"])
    torn = nuisance_report(panel, "event", label="outcome")
    whole = nuisance_report(panel, "event", label="outcome", group="patient_no")
    source = ("whole record", "missing pattern")
    assert torn["auroc"][source] > 0.8 > 0.7 > whole["auroc"][source]


def test_other_regimes_judge_a_row_of_each_stay():
    report = nuisance_report(simulate(200), "event", 6, at="10h")
    assert report.attrs["regime"].startswith("10 h after admission")
    assert "10 h after admission" in repr(report)


def test_a_complete_panel_has_no_pattern():
    complete = simulate(60).drop(columns="lactate")
    report = nuisance_report(complete, "event", 6)
    assert set(report.index.unique("source")) == {"record length", "row count", "last time"}


def test_too_few_events_are_named():
    panel = simulate(40)
    well = panel.assign(event=0.0)
    with pytest.raises(DataError, match=r"too few events.*at least two patients.*found 0 of 40"):
        nuisance_report(well, "event", 6)
    with pytest.raises(ValueError, match="'n_splits'"):
        nuisance_report(panel, "event", 6, n_splits=1)
