"""Labels of events, held equal to a plain loop over rows."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulated_stays import simulate_stays

import tsforecast as tsf
from tsforecast.data.labels import EventTask, Labels
from tsforecast.data.panel import as_panel, layout_of

NAN = np.nan
STEP = 60  # minutes

# --------------------------------------------------------------------------------- the plain loop


def known_states(values: list[float]) -> list[bool]:
    states, state = [], False
    for value in values:
        state = state if math.isnan(value) else value == 1
        states.append(state)
    return states


def at_risk_and_onsets(
    states: list[bool], minutes: list[int], label: str, clear: int
) -> tuple[list[bool], list[int]]:
    """Walk through a stay: is the patient at risk at the row, and which rows are onsets?"""
    at_risk, onsets = [], []
    had, cleared = False, True
    off_since = minutes[0]
    for i, (now, on) in enumerate(zip(minutes, states)):
        if on:
            anew = now - off_since >= clear and label == "recurrent"
            if i and not states[i - 1] and (anew or not had):
                onsets.append(i)
            had, cleared = True, False
        else:
            if i and states[i - 1]:
                off_since = now
            if had and label == "recurrent" and now - off_since >= clear:
                cleared = True
        at_risk.append(not on and cleared)
    return at_risk, onsets


def label_stay(
    minutes: list[int],
    values: list[float],
    exits: list[float],
    *,
    label: str,
    clear: int,
    by_rows: bool,
    n_steps: int,
    gap: int,
    min_history: int,
) -> list[dict[str, Any]]:
    """The labels of one stay, row by row, as the documentation says them."""
    at_risk, onsets = at_risk_and_onsets(known_states(values), minutes, label, clear)
    gone = exits.index(1.0) if 1.0 in exits else None
    ways_out = {o: 1 for o in onsets if gone is None or o <= gone}
    if gone is not None:
        ways_out.setdefault(gone, 2)
    rows = []
    for i in range(len(minutes)):

        def away(j: int, i: int = i) -> int:
            return j - i if by_rows else minutes[j] - minutes[i]

        width = 1 if by_rows else STEP
        behind = sorted(j for j in ways_out if j > i)
        step = cause = 0
        event, hours = NAN, NAN
        last = away(len(minutes) - 1)
        observed = last // width
        if behind:
            step, cause = math.ceil(away(behind[0]) / width), ways_out[behind[0]]
            observed = max(observed, step)
            if cause == 1:
                hours = (minutes[behind[0]] - minutes[i]) / 60
        risk = at_risk[i] and (gone is None or i < gone)
        end = gap + n_steps * width
        too_early = behind and away(behind[0]) <= gap
        if risk and not too_early:
            if behind and away(behind[0]) <= end:
                event = float(cause == 1)
            elif last >= end:
                event = 0.0
        rows.append(
            {
                "step": step,
                "cause": cause,
                "observed": observed,
                "at_risk": risk,
                "event": event,
                "eligible": risk and not math.isnan(event) and i + 1 >= min_history,
                "hours_to_event": hours,
            }
        )
    return rows


def random_panel(rng: np.random.Generator, *, competing: bool) -> pd.DataFrame:
    parts = {}
    for s in range(12):
        n = int(rng.integers(1, 30))
        gaps = rng.choice([10, 30, 60, 90, 200], n)
        when = pd.to_timedelta(gaps.cumsum(), unit="min")
        # on in runs, now and then not known
        event = (rng.random(n) < 0.25).astype(float)
        event[rng.random(n) < 0.2] = NAN
        leaves = np.zeros(n)
        if competing and rng.random() < 0.5:
            leaves[rng.integers(0, n)] = 1
        parts[f"s{s:02}"] = pd.DataFrame({"event": event, "exit": leaves}, index=when)
    return pd.concat(parts, names=["stay", "time"])


def as_frame(labels: Labels) -> pd.DataFrame:
    names = ["step", "cause", "observed", "at_risk", "event", "eligible", "hours_to_event"]
    return pd.DataFrame({name: getattr(labels, name) for name in names})


@pytest.mark.parametrize("label", ["onset", "recurrent"])
@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("competing", [True, False])
def test_labels_equal_a_loop_over_rows(label: str, by_rows: bool, competing: bool):
    rng = np.random.default_rng(7)
    for trial in range(25):
        panel = random_panel(rng, competing=competing)
        n_steps, gap = int(rng.integers(1, 5)), int(rng.choice([0, 0, 1, 2]))
        clear = int(rng.choice([0, 60, 120])) if label == "recurrent" else 0
        min_history = int(rng.integers(0, 4))
        span = f"{gap * STEP}min"
        task = EventTask(
            "event",
            label,
            horizon=n_steps if by_rows else f"{n_steps}h",
            step=None if by_rows else "1h",
            gap=gap if by_rows or not gap else span,
            min_history=min_history,
            clear=f"{clear}min" if clear else None,
            competing="exit" if competing else None,
        )
        wanted = [
            row
            for _, stay in panel.groupby(level=0)
            for row in label_stay(
                [int(t / pd.Timedelta("1min")) for t in stay.index.get_level_values(1)],
                stay["event"].tolist(),
                stay["exit"].tolist(),
                label=label,
                clear=clear,
                by_rows=by_rows,
                n_steps=n_steps,
                gap=gap if by_rows else gap * STEP,
                min_history=min_history,
            )
        ]
        labels = task.labels(as_panel(panel))
        assert task.n_steps(layout_of(as_panel(panel))) == n_steps
        pd.testing.assert_frame_equal(as_frame(labels), pd.DataFrame(wanted), check_exact=False)
        out = sum(rows for rows, _ in labels.excluded.values())
        assert out == (~labels.eligible).sum(), trial


def test_labels_do_not_depend_on_the_unit_of_time():
    panel = random_panel(np.random.default_rng(1), competing=True)
    task = EventTask("event", horizon="3h", step="1h", competing="exit")
    wanted = as_frame(task.labels(as_panel(panel)))
    for unit in ("s", "ms", "ns"):
        other = panel.copy()
        other.index = other.index.set_levels(other.index.levels[1].as_unit(unit), level=1)
        pd.testing.assert_frame_equal(as_frame(task.labels(as_panel(other))), wanted)
    dates = panel.copy()
    admission = pd.Timestamp("2500-01-01").as_unit("s")  # nanoseconds since 1970 end in 2262
    days = admission + dates.index.levels[1].as_unit("s")
    dates.index = dates.index.set_levels(days, level=1)
    pd.testing.assert_frame_equal(as_frame(task.labels(as_panel(dates))), wanted)


def test_an_event_belongs_to_a_step_by_its_end():
    minutes = pd.to_timedelta([0, 59, 60, 61, 120], unit="min")
    stay = pd.DataFrame({"event": [0.0, 0, 0, 0, 1]}, index=minutes)
    labels = EventTask("event", horizon="2h", step="1h").labels(as_panel(stay))
    assert labels.step.tolist() == [2, 2, 1, 1, 0]
    assert labels.observed.tolist() == [2, 2, 1, 1, 0]  # never less than the step


# --------------------------------------------------------------------------------- what counts


def stay(values: list[float], **more: list[float]) -> pd.DataFrame:
    hours = pd.to_timedelta(range(len(values)), unit="h")
    return pd.DataFrame({"event": np.array(values, dtype=float), **more}, index=hours)


def stays(**parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(parts, names=["stay", "time"])


def test_left_censored_stays_are_out_counted_and_named():
    panel = stays(a=stay([1, 0, 0, 0]), b=stay([0, 0, 1, 1]), c=stay([1]))
    labels = tsf.event_within(panel, "event", 2)
    assert labels.attrs["left_censored"] == ["a", "c"]
    assert labels.attrs["excluded"]["event on at the first row"] == (5, 2)
    assert labels.attrs["excluded"]["after the event"] == (2, 1)
    assert labels["eligible"].tolist() == [False] * 4 + [True, True, False, False, False]
    assert not labels["at_risk"]["a"].any()


def test_after_a_first_episode_from_the_start_a_recurrent_event_can_come():
    panel = stays(a=stay([1, 1, 0, 0, 0, 1, 0]))
    labels = tsf.event_within(panel, "event", 2, label="recurrent", clear="2h")
    assert labels.attrs["left_censored"] == ["a"]
    assert labels["at_risk"].tolist() == [False] * 4 + [True, False, False]
    assert labels["event"].tolist()[4] == 1
    assert labels.attrs["excluded"]["event on at the first row"] == (4, 1)
    assert labels.attrs["excluded"]["after the event"] == (2, 1)


def test_a_short_interruption_belongs_to_the_same_event():
    panel = stays(a=stay([0, 1, 0, 1, 0, 0, 0, 1]))
    short = EventTask("event", "recurrent", horizon=8, clear="2h").labels(as_panel(panel))
    assert short.step.tolist() == [1, 6, 5, 4, 3, 2, 1, 0]
    plain = EventTask("event", "recurrent", horizon=8).labels(as_panel(panel))
    assert plain.step.tolist() == [1, 2, 1, 4, 3, 2, 1, 0]


def test_a_missing_state_is_the_state_before():
    panel = stays(a=stay([NAN, 0, NAN, 1, NAN, 0, NAN]))
    labels = tsf.event_within(panel, "event", 1, label="recurrent")
    assert labels["at_risk"].tolist() == [True, True, True, False, False, True, True]


def test_a_gap_moves_the_horizon_and_drops_what_comes_too_soon():
    labels = tsf.event_within(stay([0, 0, 0, 0, 0, 1]), "event", 2, gap=1)
    assert labels["event"].tolist()[:5] == [0, 0, 1, 1] + [pytest.approx(NAN, nan_ok=True)]
    assert labels.attrs["excluded"]["exit within the gap"] == (1, 1)


def test_rows_after_the_event_may_be_kept_for_evaluation_only():
    panel = stays(a=stay([0, 0, 1, 1]), b=stay([1, 1]), c=stay([0, 0, 0, 0]))
    labels = tsf.event_within(panel, "event", 1, after_event="keep")
    assert labels["event"]["a"].tolist() == [0, 1, 1, 1]
    assert labels["eligible"]["a"].all() and not labels["at_risk"]["a"].iloc[2:].any()
    assert not labels["eligible"]["b"].any()
    assert labels.attrs["excluded"]["after the event"] == (0, 0)


def test_a_competing_exit_within_the_horizon_is_a_negative_and_ends_the_risk():
    panel = stay([0, 0, 0, 0], exit=[0, 0, 1, 0])
    free = tsf.event_within(panel, "event", 3)
    assert free["event"].isna().tolist() == [False, True, True, True]
    known = tsf.event_within(panel, "event", 3, competing="exit")
    assert known["event"].tolist()[:2] == [0, 0] and known["eligible"].tolist()[:2] == [True] * 2
    assert known["at_risk"].tolist() == [True, True, False, False]
    assert known.attrs["excluded"]["after the competing exit"] == (2, 1)
    assert known["hours_to_event"].isna().all()


def test_of_event_and_exit_in_one_row_the_event_counts():
    labels = EventTask("event", horizon=1, competing="exit").labels(
        as_panel(stay([0, 0, 1], exit=[0, 0, 1]))
    )
    assert labels.cause.tolist() == [1, 1, 0]


def test_an_event_after_the_exit_is_none():
    labels = EventTask("event", horizon=5, competing="exit").labels(
        as_panel(stay([0, 0, 0, 1], exit=[0, 1, 0, 0]))
    )
    assert labels.cause.tolist()[0] == 2 and np.isnan(labels.hours_to_event).all()


def test_a_stay_of_one_row_has_no_horizon():
    labels = tsf.event_within(stays(a=stay([0]), b=stay([0, 1])), "event", 1)
    assert labels["eligible"].tolist() == [False, True, False]
    assert labels.attrs["excluded"]["horizon not observed"] == (1, 1)


def test_a_panel_without_any_event_has_only_negatives():
    labels = tsf.event_within(stays(a=stay([0, 0, 0]), b=stay([0, 0])), "event", 1)
    assert labels["event"].sum() == 0 and labels["eligible"].sum() == 3


def test_the_label_of_a_row_does_not_change_when_the_record_grows_beyond_the_horizon():
    rng = np.random.default_rng(3)
    panel = random_panel(rng, competing=False).loc[["s00"]]
    whole = tsf.event_within(panel, "event", 2, label="recurrent")
    for n in range(1, len(panel)):
        part = tsf.event_within(panel.iloc[:n], "event", 2, label="recurrent")
        known = part["event"].notna()
        assert (part["event"][known] == whole["event"].iloc[:n][known]).all()
        assert part["at_risk"].equals(whole["at_risk"].iloc[:n])


# ----------------------------------------------------------------------------------------- outcome


def test_an_outcome_is_the_label_of_every_row_of_the_stay():
    panel = stays(a=stay([1, 1, 1]), b=stay([0, 0]), c=stay([NAN, NAN]))
    labels = tsf.event_within(panel, "event", label="outcome", min_history=2)
    assert labels["event"].tolist()[:5] == [1, 1, 1, 0, 0]
    assert labels["at_risk"].tolist() == [True] * 5 + [False] * 2
    assert labels["eligible"].tolist() == [False, True, True, False, True, False, False]
    assert labels.attrs["excluded"]["unknown outcome"] == (2, 1)
    assert labels.attrs["excluded"]["too little history"] == (2, 2)


def test_an_outcome_is_an_event_in_the_one_step_that_there_is():
    panel = as_panel(stays(a=stay([1, 1]), b=stay([0, 0]), c=stay([NAN, NAN])))
    task = EventTask("event", "outcome")
    labels = task.labels(panel)
    assert task.n_steps(layout_of(panel)) == 1
    assert labels.step.tolist() == labels.cause.tolist() == [1, 1, 0, 0, 0, 0]
    assert labels.observed.tolist() == [1, 1, 1, 1, 0, 0]


def test_an_outcome_that_varies_within_the_stay_is_refused():
    with pytest.raises(tsf.DataError, match=r"static column varies .*'event'; series 'a'"):
        tsf.event_within(stays(a=stay([0, 1])), "event", label="outcome")


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "change, message",
    [
        ({"event": None}, "parameter 'event': expected a column's name"),
        ({"label": "first"}, "parameter 'label': expected one of"),
        ({"horizon": None}, "parameter 'horizon': expected a whole number of rows, or a span"),
        ({"horizon": 0}, "parameter 'horizon': expected a whole number of at least 1"),
        ({"horizon": "six hours"}, "'horizon': expected a whole number of rows, or a span .* '6h'"),
        ({"horizon": "6"}, "'horizon': expected a whole number of rows, or a span"),
        ({"horizon": 2.5}, "'horizon': expected a whole number of rows, or a span"),
        ({"horizon": "-6h"}, "'horizon': expected a whole number of rows, or a span"),
        (
            {"horizon": "5h", "step": "2h"},
            r"'horizon': expected a multiple of step='2h', found",
        ),
        ({"horizon": 6, "step": "1h"}, "'step': expected None, as horizon=6 counts rows"),
        ({"horizon": "6h", "step": 2}, "'step': expected a span of time above 0"),
        ({"horizon": "6h", "gap": 2}, "'gap': expected a span of time above 0"),
        ({"horizon": 6, "gap": "2h"}, "'gap': expected a whole number of at least 0"),
        ({"min_history": -1}, "'min_history': expected a whole number of at least 0"),
        ({"after_event": "use"}, "'after_event': expected one of"),
        ({"after_event": "keep", "label": "recurrent"}, "'after_event': expected 'drop' with"),
        ({"clear": "1h"}, "'clear': expected None unless label='recurrent'"),
        ({"clear": 2, "label": "recurrent"}, "'clear': expected a span of time above 0"),
        (
            {"label": "outcome"},
            "'horizon': expected None, as an outcome of the stay has",
        ),
        ({"label": "outcome", "horizon": None, "gap": 1}, "'gap': expected 0 for an outcome"),
        ({"competing": "event"}, "'competing': expected another column than that of the event"),
        ({"event": "evnt"}, r"column 'evnt'\): expected .* Did you mean 'event'\?"),
        ({"competing": "discharge"}, r"column 'discharge'\): expected a column 'discharge'"),
    ],
)
def test_bad_parameters_are_named(change: dict[str, Any], message: str):
    given = {"event": "event", "horizon": 2} | change
    with pytest.raises(ValueError, match=message):
        tsf.event_within(stay([0, 0, 1]), **given)


def test_a_horizon_of_time_wants_a_clock():
    panel = pd.DataFrame({"event": [0.0, 1.0]}, index=pd.Index([1, 2]))
    with pytest.raises(ValueError, match="'horizon': expected a whole number of rows, as the"):
        tsf.event_within(panel, "event", "6h")
    with pytest.raises(ValueError, match="'clear': expected a whole number of steps"):
        tsf.event_within(panel, "event", 1, label="recurrent", clear="1h")
    assert tsf.event_within(panel, "event", 1, label="recurrent", clear=2)["event"][1] == 1


def test_values_other_than_0_and_1_are_refused_with_their_rows():
    with pytest.raises(tsf.DataError, match=r"other values than 0 and 1 .*first rows: .*found 2.0"):
        tsf.event_within(stay([0, 2, 1]), "event", 1)
    panel = stay([0, 0, 1], exit=[0, 0.5, 1])
    with pytest.raises(tsf.DataError, match=r"other values than 0 and 1 \(column 'exit'"):
        tsf.event_within(panel, "event", 1, competing="exit")


def test_an_event_column_of_categories_is_refused():
    panel = stay([0, 0, 1]).assign(event=pd.Categorical(["a", "a", "b"]))
    with pytest.raises(tsf.DataError, match=r"holds categories \(column 'event'"):
        tsf.event_within(panel, "event", 1)


def test_columns_of_a_task():
    assert EventTask("event", horizon=1, competing="exit").columns() == ["event", "exit"]
    assert EventTask("event", horizon=1, competing="exit").hidden() == ["event", "exit"]
    rule = EventTask(tsf.Event("MAP < 65 and HR > 120"), horizon=1, competing="exit")
    assert rule.columns() == ["MAP", "HR", "exit"]
    assert rule.hidden() == ["exit"]


# ------------------------------------------------------------------------------------------- rules


def truth_of(rule: str, row: dict[str, float]) -> float:
    """A rule by hand, with three values: 1, 0 and NaN."""

    def condition(text: str) -> float:
        name, operator, number = text.split()
        value, number = row[name], float(number)
        if math.isnan(value):
            return NAN
        return float(
            {"<": value < number, "<=": value <= number, ">": value > number}.get(
                operator, value >= number if operator == ">=" else value == number
            )
        )

    def both(parts: list[float]) -> float:
        return 0.0 if 0.0 in parts else NAN if any(map(math.isnan, parts)) else 1.0

    groups = [both([condition(c) for c in g.split(" and ")]) for g in rule.split(" or ")]
    return 1.0 if 1.0 in groups else NAN if any(map(math.isnan, groups)) else 0.0


def event_by_hand(
    rule: str, minutes: list[int], values: pd.DataFrame, lasting: int, max_age: int
) -> list[float]:
    """The state of a rule in one stay, walking through its rows."""
    found: list[float] = []
    last: dict[str, tuple[float, int]] = {}
    state, state_at, since, known_at = NAN, 0, None, 0
    for now, (_, row) in zip(minutes, values.iterrows()):
        for name, value in row.items():
            if not math.isnan(value):
                last[str(name)] = (value, now)
        current = {
            str(name): last[str(name)][0]
            if str(name) in last and now - last[str(name)][1] <= max_age
            else NAN
            for name in values
        }
        holds = truth_of(rule, current)
        if row.notna().any() and not math.isnan(holds):
            if holds == 0:
                since = None
            elif since is None or now - known_at > max_age:
                since = now
            known_at = now
            state = float(holds == 1 and since is not None and now - since >= lasting)
            state_at = now
        found.append(state if not math.isnan(state) and now - state_at <= max_age else NAN)
    return found


@pytest.mark.parametrize(
    "rule", ["a < 1", "a >= 0 and b < 1", "a > 1 or b == 0", "a < 0 or a > 1 and b <= 1"]
)
@pytest.mark.parametrize("lasting", [0, 60, 150])
def test_rules_equal_a_walk_through_the_rows(rule: str, lasting: int):
    rng = np.random.default_rng(5)
    parts = {}
    for s in range(25):
        n = int(rng.integers(1, 40))
        when = pd.to_timedelta(rng.choice([10, 30, 60, 240], n).cumsum(), unit="min")
        values = rng.integers(-1, 3, (n, 2)).astype(float)
        values[rng.random((n, 2)) < 0.4] = NAN
        parts[s] = pd.DataFrame(values, columns=["a", "b"], index=when)
    panel = pd.concat(parts, names=["stay", "time"])
    used = [name for name in ("a", "b") if name in rule.replace("and", "")]
    wanted = [
        state
        for _, part in panel.groupby(level=0)
        for state in event_by_hand(
            rule,
            [int(t / pd.Timedelta("1min")) for t in part.index.get_level_values(1)],
            part[used],
            lasting,
            180,
        )
    ]
    event = tsf.Event(rule, for_=f"{lasting}min" if lasting else None, max_age="3h")
    np.testing.assert_array_equal(event.on(panel).to_numpy(), wanted)


def test_a_rule_looks_at_no_later_row():
    rng = np.random.default_rng(2)
    hours = pd.to_timedelta(range(60), unit="h")
    panel = pd.DataFrame({"MAP": rng.normal(66, 4, 60).round()}, index=hours)
    event = tsf.Event("MAP < 65", for_="2h")
    whole = event.on(panel)
    for n in (1, 7, 30, 59):
        assert event.on(panel.iloc[:n]).equals(whole.iloc[:n])


def test_a_value_counts_for_a_day_unless_told_otherwise():
    when = pd.to_timedelta([0, 24, 25], unit="h")
    panel = pd.DataFrame({"GCS": [8.0, NAN, NAN]}, index=when)
    assert tsf.Event("GCS < 9").on(panel).fillna(-1).tolist() == [1, 1, -1]
    assert tsf.Event("GCS < 9", max_age="2D").on(panel).tolist() == [1, 1, 1]
    steps = panel.set_axis(pd.Index([0, 24, 25]))
    assert tsf.Event("GCS < 9").on(steps).fillna(-1).tolist() == [1, 1, -1]


def test_a_rule_may_name_the_news2_score():
    panel = pd.DataFrame(
        {"HR": [80.0, 135, NAN, 80], "Resp": [16.0, NAN, 26, NAN], "SBP": [120.0, NAN, 95, NAN]},
        index=pd.to_timedelta(range(4), unit="h"),
    )
    assert tsf.news2(panel).tolist() == [0, 3, 8, 5]
    assert tsf.Event("NEWS2 >= 7").on(panel).tolist() == [0, 0, 1, 0]
    own = panel.assign(NEWS2=[9.0, 0, 0, 0])  # a column of that name goes first
    assert tsf.Event("NEWS2 >= 7").on(own).tolist() == [1, 0, 0, 0]


def test_a_rule_serves_as_event():
    hours = pd.to_timedelta(range(5), unit="h")
    panel = pd.DataFrame({"MAP": [80.0, 70, NAN, 60, 62]}, index=hours)
    by_rule = tsf.event_within(panel, tsf.Event("MAP < 65"), 2)
    by_column = tsf.event_within(panel.assign(low=[0.0, 0, 0, 1, 1]), "low", 2)
    pd.testing.assert_frame_equal(by_rule, by_column)


@pytest.mark.parametrize(
    "rule", ["MAP", "MAP < ", "< 65", "MAP < HR", "50 < MAP < 65", "MAP < 65 and", "MAP = 3", 5, ""]
)
def test_a_rule_that_cannot_be_read_is_refused_when_it_is_written(rule: Any):
    with pytest.raises(ValueError, match="'rule': expected comparisons such as 'MAP < 65'"):
        tsf.Event(rule)


def test_unknown_names_in_a_rule_are_named_with_the_nearest():
    panel = pd.DataFrame({"MAP": [60.0], "HR": [80.0]}, index=pd.to_timedelta([0], unit="h"))
    with pytest.raises(tsf.DataError, match=r"column 'MPA'\): .*Did you mean 'MAP'\?"):
        tsf.Event("MPA < 65").on(panel)
    with pytest.raises(tsf.DataError, match=r"Did you mean 'NEWS2'\?"):
        tsf.Event("NEWS >= 7").on(panel)
    with pytest.raises(ValueError, match="'for_': expected a span of time above 0"):
        tsf.Event("MAP < 65", for_=30).on(panel)
    with pytest.raises(ValueError, match="'max_age': expected a time span such as '2h'"):
        tsf.Event("MAP < 65", max_age=30).on(panel)
    with pytest.raises(tsf.DataError, match=r"no input of NEWS2"):
        tsf.Event("NEWS2 >= 7").on(panel[["MAP"]])


# ------------------------------------------------------------------------------------ mark_events


def test_an_event_is_marked_from_the_first_row_at_or_after_its_time():
    panel = stays(a=stay([0, 0, 0]), b=stay([0, 0, 0]), c=stay([0, 0, 0])).rename(
        columns={"event": "x"}
    )
    hours = pd.Timedelta("1h")
    times = pd.Series({"c": 0 * hours, "a": 0.5 * hours, "b": pd.NaT})
    marked = tsf.mark_events(panel, times, "sepsis")
    assert marked["sepsis"].tolist() == [0, 1, 1, 0, 0, 0, 1, 1, 1]
    assert "sepsis" not in panel
    assert tsf.event_within(marked, "sepsis", 1).attrs["left_censored"] == ["c"]
    on_the_row = tsf.mark_events(panel, pd.Series({"a": 1 * hours}))
    assert on_the_row["event"]["a"].tolist() == [0, 1, 1]
    assert tsf.mark_events(panel, pd.Series(dtype="timedelta64[s]"))["event"].sum() == 0
    assert tsf.mark_events(panel, pd.Series({"a": None}, dtype=object))["event"].sum() == 0


def test_events_are_compared_in_the_finer_unit_of_time():
    days = pd.date_range("2024-05-01", periods=3, unit="s", tz="Europe/London")
    panel = pd.DataFrame({"x": [1.0, 2, 3]}, index=days)
    soon_after = days[1].as_unit("ns") + pd.Timedelta(1, unit="ns")
    assert tsf.mark_events(panel, soon_after)["event"].tolist() == [0, 0, 1]
    assert tsf.mark_events(panel, days[1])["event"].tolist() == [0, 1, 1]
    assert tsf.mark_events(panel, None)["event"].tolist() == [0, 0, 0]


def test_events_of_whole_numbers():
    index = pd.MultiIndex.from_product([[7, 8], [1, 2, 3]])
    panel = pd.DataFrame({"x": np.arange(6.0)}, index=index)
    assert tsf.mark_events(panel, pd.Series({8: 2}))["event"].tolist() == [0, 0, 0, 0, 1, 1]
    with pytest.raises(tsf.DataError, match="different kinds of time: expected int64"):
        tsf.mark_events(panel, pd.Series({8: pd.Timedelta("2h")}))


def test_events_that_fit_no_row_are_refused_or_warned_of():
    panel = stays(a=stay([0, 0, 0]), b=stay([0, 0, 0])).rename(columns={"event": "x"})
    hours = pd.Timedelta("1h")
    with pytest.raises(tsf.DataError, match=r"event before the first row \(series 'b'\)"):
        tsf.mark_events(panel, pd.Series({"b": -1 * hours}))
    with pytest.raises(tsf.DataError, match=r"events of unknown series .*found 1 others: 'z'"):
        tsf.mark_events(panel, pd.Series({"z": hours, "a": hours}))
    with pytest.raises(tsf.DataError, match=r"several events of one series \(series 'a'\)"):
        tsf.mark_events(panel, pd.Series([hours, hours], index=["a", "a"]))
    with pytest.raises(tsf.DataError, match=r"column is there already \(column 'x'\)"):
        tsf.mark_events(panel, pd.Series({"a": hours}), "x")
    with pytest.raises(tsf.DataError, match="expected a Series of times by the name of the series"):
        tsf.mark_events(panel, {"a": hours})
    with pytest.raises(tsf.DataError, match="different kinds of time"):
        tsf.mark_events(panel, pd.Series({"a": pd.Timestamp("2024-01-01")}))
    with pytest.warns(UserWarning, match="1 events lie after the last row .* that of 'a'"):
        assert tsf.mark_events(panel, pd.Series({"a": 9 * hours}))["event"].sum() == 0


# -------------------------------------------------------------------------------- competing exits


def cumulative_incidence(labels: Labels, n_steps: int) -> np.ndarray:
    """Aalen and Johansen's estimate over rows: the share with the event within 1 ... K steps."""
    here, found, staying = labels.at_risk, [], 1.0
    total = 0.0
    for k in range(1, n_steps + 1):
        seen = here & (labels.observed >= k) & ((labels.step == 0) | (labels.step >= k))
        leave = seen & (labels.step == k)
        by_event, by_other = ((leave & (labels.cause == c)).sum() for c in (1, 2))
        total += staying * by_event / seen.sum()
        staying *= 1 - (by_event + by_other) / seen.sum()
        found.append(total)
    return np.array(found)


def test_counts_with_competing_exits_agree_with_the_truth_and_censoring_them_does_not():
    n_steps = 6
    panel, incidence = simulate_stays(40_000, competing=0.3, seed=1, n_steps=n_steps)
    assert panel["exit"].groupby(level=0).max().mean() == pytest.approx(0.3, abs=0.01)
    # rows of stays that are alike: the truth is one curve, whichever rows are cut off when
    alike = panel[(panel["x"] > -0.2) & (panel["x"] < 0.2)]
    task = EventTask("event", horizon=n_steps, competing="exit")
    labels = task.labels(as_panel(alike))
    truth = incidence.loc[alike.index][labels.at_risk].mean().to_numpy()
    error = np.sqrt(truth * (1 - truth) / labels.at_risk.sum())
    competing = cumulative_incidence(labels, n_steps)
    np.testing.assert_allclose(competing, truth, atol=6 * error.max())  # rows of a stay overlap
    censored = cumulative_incidence(
        EventTask("event", horizon=n_steps).labels(as_panel(alike)), n_steps
    )
    assert censored[-1] - truth[-1] > 6 * error[-1]
    assert abs(competing[-1] - truth[-1]) < (censored[-1] - truth[-1]) / 3


def test_the_share_of_eligible_rows_with_the_event_is_the_truth_where_exits_compete():
    panel, incidence = simulate_stays(20_000, competing=0.3, seed=2)
    early = panel.index.get_level_values(1) < pd.Timedelta("5h")  # their horizon is in the record
    labels = tsf.event_within(panel, "event", 6, competing="exit")[early]
    at_risk = labels["at_risk"]
    assert labels["eligible"].equals(at_risk)
    wanted = incidence["risk_6"][early][at_risk].mean()
    assert labels["event"][at_risk].mean() == pytest.approx(wanted, abs=0.005)


# ------------------------------------------------------------------------------------------- speed


def test_labels_of_many_stays_take_little_time():
    rng = np.random.default_rng(0)
    n_stays, n_hours = 20_000, 40
    index = pd.MultiIndex.from_product(
        [range(n_stays), pd.to_timedelta(range(n_hours), unit="h")], names=["stay", "time"]
    )
    panel = as_panel(pd.DataFrame({"event": (rng.random(len(index)) < 0.01) * 1.0}, index=index))
    begin = time.perf_counter()
    EventTask("event", horizon="12h", step="1h").labels(panel)
    assert time.perf_counter() - begin < 3  # .15 s on a quiet core


def test_rules_are_values_that_scikit_learn_can_clone_and_pickle_can_keep():
    import copy
    import pickle

    event = tsf.Event("MAP < 65", for_="30min")
    for other in (copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert other == event and hash(other) == hash(event)
    assert event != tsf.Event("MAP < 65")
