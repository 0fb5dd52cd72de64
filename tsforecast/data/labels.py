"""Labels of events: what will have happened within the horizon, and what counts in evaluation.

An *event* is a column of 0 and 1, or a rule on vital signs (`Event`).  Its state at a row is the
last known one: where the column is missing nothing has changed, and before its first value the
event is off.  `EventTask` says what is predicted, and reads off a panel for every row when the
next event comes, whether the patient is still at risk, and how far the record goes on.

Labels look ahead: that is what they are for.  They are read by training and evaluation alone and
never stand among the inputs of an estimator.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first, positive_int
from tsforecast.data.covariates import constants
from tsforecast.data.early_warning import numbers_of
from tsforecast.data.event_rules import Event, no_column
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    as_time,
    forward_fill,
    layout_of,
)
from tsforecast.data.spans import is_whole, moments, nanoseconds, span

__all__ = ["Event", "EventTask", "Labels", "event_within", "mark_events"]

Bools = npt.NDArray[np.bool_]
LabelKind = Literal["onset", "recurrent", "outcome"]
AfterEvent = Literal["drop", "keep"]

_CLOCKS = (pd.DatetimeIndex, pd.TimedeltaIndex)
# why rows do not count, in the order in which they are asked: a row has the first that holds
_REASONS = (
    "unknown outcome",
    "event on at the first row",
    "after the competing exit",
    "after the event",
    "too little history",
    "exit within the gap",
    "horizon not observed",
)


@dataclass(frozen=True)
class Labels:
    """What followed each of the N rows of a panel, in its order.

    Attributes
    ----------
    step : ndarray of int64, shape (N,)
        In which step after the row the next event or competing exit falls, counted from 1
        whatever the gap; 0 where none follows in the record.
    cause : ndarray of int64, shape (N,)
        Of that same next exit: 1 the event, 2 the competing one; 0 none.
    observed : ndarray of int64, shape (N,)
        Whole steps from the row to the end of the record; at least `step` where that is not 0.
    at_risk : ndarray of bool, shape (N,)
        Neither in the event nor after it, nor after a competing exit.
    event : ndarray of float64, shape (N,)
        Whether the event falls within the horizon (behind the gap): 1.0, 0.0, or NaN where that
        is not known or the patient is not at risk. For an outcome that of the stay.
    eligible : ndarray of bool, shape (N,)
        Counts in evaluation.
    hours_to_event : ndarray of float64, shape (N,)
        Hours (steps, where time is a whole number) until the next event; NaN where the next exit
        is none or a competing one.
    excluded : dict of str to (int, int)
        Why rows do not count: the number of rows, and of series that have such rows. Every row
        counts under one reason.
    left_censored : list
        Names of the series whose event is on in the first row.
    """

    step: Ints
    cause: Ints
    observed: Ints
    at_risk: Bools
    event: Floats
    eligible: Bools
    hours_to_event: Floats
    excluded: dict[str, tuple[int, int]]
    left_censored: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class EventTask:
    """What is predicted of an event. The parameters are those of `event_within`."""

    event: Hashable | Event
    label: str = "onset"
    horizon: Any = None
    step: Any = None
    gap: Any = 0
    min_history: int = 0
    after_event: str = "drop"
    clear: Any = None
    competing: Hashable | None = None

    def check(self) -> None:
        """Check the parameters as far as that goes without a panel.

        Raises
        ------
        ValueError
            Naming the parameter.
        """
        choice("label", self.label, get_args(LabelKind))
        choice("after_event", self.after_event, get_args(AfterEvent))
        positive_int("min_history", self.min_history, least=0)
        if self.event is None:
            raise bad_parameter("event", expected="a column's name, or Event(...)", found=None)
        if self.competing is not None and self.competing == self.event:
            raise bad_parameter(
                "competing", expected="another column than that of the event", found=self.competing
            )
        if self.clear is not None and self.label != "recurrent":
            raise bad_parameter("clear", expected="None unless label='recurrent'", found=self.clear)
        if self.after_event != "drop" and self.label != "onset":
            raise bad_parameter(
                "after_event", expected=f"'drop' with label={self.label!r}", found=self.after_event
            )
        if self.label == "outcome":
            for name in ("horizon", "step", "competing"):
                if getattr(self, name) is not None:
                    raise bad_parameter(
                        name,
                        expected="None, as an outcome of the stay has no horizon",
                        found=getattr(self, name),
                    )
            if not _is_zero(self.gap):
                raise bad_parameter("gap", expected="0 for an outcome", found=self.gap)
            return
        if self.horizon is None:
            raise bad_parameter(
                "horizon",
                expected="a whole number of rows, or a span of time such as '6h'",
                found=None,
            )
        if is_whole(self.horizon):
            positive_int("horizon", self.horizon)
            if self.step is not None:
                raise bad_parameter(
                    "step",
                    expected=f"None, as horizon={self.horizon} counts rows",
                    found=self.step,
                    advice="Give the horizon as a span of time, such as '6h', or leave step= out.",
                )
            positive_int("gap", self.gap, least=0)
            return
        horizon = nanoseconds("horizon", self.horizon)
        if not _is_zero(self.gap):
            nanoseconds("gap", self.gap)
        if self.step is not None and horizon % nanoseconds("step", self.step):
            raise bad_parameter(
                "horizon",
                expected=f"a multiple of step={self.step!r}",
                found=self.horizon,
            )

    def n_steps(self, layout: Layout) -> int:
        """K, the number of steps of the horizon; 1 for an outcome.

        Raises
        ------
        ValueError
            If the horizon does not suit the panel's time.
        """
        self.check()
        return 1 if self.label == "outcome" else self._grid(layout)[2]

    def columns(self) -> list[Hashable]:
        """Columns of the panel that labels are read from: the event's and `competing`.

        The names of an `Event` are among them; they may be inputs of an estimator all the same,
        which those in `hidden` are not.
        """
        names = self.event.columns() if isinstance(self.event, Event) else [self.event]
        return names if self.competing is None else [*names, self.competing]

    def hidden(self) -> list[Hashable]:
        """Columns that no estimator may see: the event's own, unless it is a rule, and `competing`.

        They need not be there to predict.
        """
        names = [] if isinstance(self.event, Event) else [self.event]
        return names if self.competing is None else [*names, self.competing]

    def labels(self, panel: pd.DataFrame) -> Labels:
        """Read the labels of every row off a panel.

        Parameters
        ----------
        panel : DataFrame
            As made by `as_panel`.

        Raises
        ------
        DataError
            If a column is missing, holds other values than 0 and 1, or an outcome varies within
            a series.
        ValueError
            If a parameter does not suit the panel's time.
        """
        self.check()
        layout = layout_of(panel)
        rows = np.arange(layout.n_rows)
        begin = _per_row(layout.starts, layout)
        short = rows - begin + 1 < self.min_history
        if self.label == "outcome":
            return self._outcome(panel, layout, short)
        position, width, n_steps = self._grid(layout)
        gap = 0 if _is_zero(self.gap) else self._width("gap", self.gap)
        on = _state(self._values(panel), layout)
        onset, at_risk, censored = self._courses(on, layout)
        leaves = _per_row(self._exits(panel, layout), layout)  # N where a stay has no such exit
        gone = rows >= leaves
        after = ~at_risk & ~censored & ~gone
        at_risk &= ~gone
        onset &= rows <= leaves  # where both stand in one row the event counts
        following, some = _next_row(onset | (rows == leaves), layout)
        cause = np.where(some, np.where(onset[following], 1, 2), 0)
        away = np.where(some, position[following] - position, 0)
        left = position[_per_row(layout.stops - 1, layout)] - position
        step = -(-away // width)

        end = gap + n_steps * width
        early = some & (away <= gap)
        inside = some & ~early & (away <= end)
        known = inside | (~early & (left >= end))
        event = np.where(known & at_risk, inside & (cause == 1), np.nan)
        kept = after & (self.after_event == "keep")
        event[kept] = 1.0
        reasons = {
            "event on at the first row": censored,
            "after the competing exit": gone,
            "after the event": after & ~kept,
            "too little history": short,
            "exit within the gap": early & ~kept,
            "horizon not observed": np.isnan(event),
        }
        hours = layout.hours()
        eligible, excluded = _exclude(reasons, layout)
        return Labels(
            step=step,
            cause=cause,
            observed=np.maximum(left // width, step),
            at_risk=at_risk,
            event=event,
            eligible=eligible,
            hours_to_event=np.where(cause == 1, hours[following] - hours, np.nan),
            excluded=excluded,
            left_censored=_names(layout, on[layout.starts]),
        )

    def _courses(self, on: Bools, layout: Layout) -> tuple[Bools, Bools, Bools]:
        """Rows of onsets, rows at risk, rows of an event that is on from the start, (N,) each."""
        if self.label == "onset":
            return _first_onset(on, layout)
        clear = 0 if self.clear is None else span("clear", self.clear, layout)
        return _onsets(on, layout, clear)

    def _exits(self, panel: pd.DataFrame, layout: Layout) -> Ints:
        """Row of the first competing exit of each series, (S,); N where none is."""
        if self.competing is None:
            return np.full(layout.n_series, layout.n_rows)
        return _first_true(_flags(panel, self.competing) == 1, layout)

    def _outcome(self, panel: pd.DataFrame, layout: Layout, short: Bools) -> Labels:
        """One label per stay, as an event in the one step that there is."""
        values = self._values(panel)
        table = pd.DataFrame({self._name(): values}, index=panel.index)
        event = _per_row(constants(table, layout, list(table)).to_numpy()[:, 0], layout)
        known = ~np.isnan(event)
        happens = (event == 1).astype(np.int64)
        reasons = {"unknown outcome": ~known, "too little history": short}
        eligible, excluded = _exclude(reasons, layout)
        return Labels(
            step=happens,
            cause=happens.copy(),
            observed=known.astype(np.int64),
            at_risk=known,
            event=event,
            eligible=eligible,
            hours_to_event=np.full(layout.n_rows, np.nan),
            excluded=excluded,
        )

    def _name(self) -> Hashable:
        return self.event.rule if isinstance(self.event, Event) else self.event

    def _values(self, panel: pd.DataFrame) -> Floats:
        """1, 0 or NaN per row, (N,)."""
        if isinstance(self.event, Event):
            return self.event.on(panel).to_numpy()
        return _flags(panel, self.event)

    def _grid(self, layout: Layout) -> tuple[Ints, int, int]:
        """Where each row stands (N,), the width of a step in the same unit, and K."""
        if is_whole(self.horizon):
            return np.arange(layout.n_rows), 1, int(self.horizon)
        if not isinstance(layout.labels, _CLOCKS):
            raise bad_parameter(
                "horizon",
                expected="a whole number of rows, as the panel's time is a whole number",
                found=self.horizon,
            )
        horizon = nanoseconds("horizon", self.horizon)
        width = horizon if self.step is None else nanoseconds("step", self.step)
        return moments(layout), width, horizon // width

    def _width(self, name: str, value: Any) -> int:
        """A span in rows or in nanoseconds, as the horizon is."""
        return int(value) if is_whole(self.horizon) else nanoseconds(name, value)


def event_within(
    panel: pd.DataFrame,
    event: Hashable | Event,
    horizon: Any = None,
    *,
    label: LabelKind = "onset",
    step: Any = None,
    gap: Any = 0,
    min_history: int = 0,
    after_event: AfterEvent = "drop",
    clear: Any = None,
    competing: Hashable | None = None,
) -> pd.DataFrame:
    """Label every row by whether an event follows within the horizon.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    event : hashable or Event
        A column of 0 and 1, the state of the event, or a rule on vital signs. A missing value
        means that nothing has changed; before its first value the event is off.
    horizon : int, Timedelta or str
        How far a label looks: a number of rows, or a span of time such as '6h'. None for an
        outcome.
    label : {"onset", "recurrent", "outcome"}
        "onset": the first time that the event is on. Rows from the onset on are out; a stay whose
        event is on in its first row is left-censored, and all of it is out. "recurrent": every
        time that the event comes on after it has been off for `clear`; the patient is at risk
        again from then on. "outcome": the column is constant within the stay, such as death in
        hospital, and is the label of every row; stays without it are out.
    step : Timedelta or str, optional
        Width of the steps that a horizon of time is cut into; the horizon is a multiple of it.
        An event belongs to a step by its end: one that comes at time o is in step
        ceil((o - t) / step) of a row at t. Default: one step. Rows are steps of their own.
    gap : int, Timedelta or str
        What comes so soon is too late to foresee: the horizon begins behind the gap, and rows
        with an event or an exit in the gap are out. In rows or time, as the horizon.
    min_history : int
        Rows that a row must have up to itself to count.
    after_event : {"drop", "keep"}
        "keep", of an onset: rows in the event and after it count in evaluation, with label 1. They
        are not at risk all the same.
    clear : Timedelta, str or int, optional
        How long the event must have been off, from the first row at which it is known to be,
        until it can come anew; steps where time is a whole number. Shorter interruptions belong to
        one event. Default: at once.
    competing : hashable, optional
        Column that is 1 in the row of an exit after which the event can no longer come, such as
        discharge or death. An exit within the horizon makes the label 0; rows from the exit on are
        out. Where both stand in one row the event counts.

    Returns
    -------
    DataFrame
        On the index of ``as_panel(panel)``: `event` (1.0, 0.0, or NaN where that is not known or
        the row is out), `eligible` (counts in evaluation: at risk, with `min_history`, and the
        horizon lies within the record or an event or exit falls in it), `at_risk` and
        `hours_to_event` (steps, where time is a whole number; NaN where the next exit is not the
        event). ``attrs["excluded"]`` counts rows and series that are out, by reason;
        ``attrs["left_censored"]`` names the series that had the event from the first row on.

    Raises
    ------
    DataError
        If a column is missing, holds other values than 0 and 1, or an outcome varies within a
        stay.
    ValueError
        If a parameter is wrong or does not suit the panel's time, such as a horizon of time
        where time is a whole number, or one that is no multiple of `step`.

    Notes
    -----
    An event between two rows is known at the second: its time is that of the first row at which
    it is on. A row whose record ends within the horizon, without event or exit, is not eligible;
    a model of hazards may still learn from the steps that were observed.

    Examples
    --------
    >>> import pandas as pd
    >>> hours = pd.to_timedelta(range(6), unit="h")
    >>> stay = pd.DataFrame({"sepsis": [0, 0, 0, 0, 1, 1]}, index=hours)
    >>> labels = event_within(stay, "sepsis", "2h")
    >>> labels["event"].tolist()
    [0.0, 0.0, 1.0, 1.0, nan, nan]
    >>> labels["hours_to_event"].tolist()
    [4.0, 3.0, 2.0, 1.0, nan, nan]
    >>> labels.attrs["excluded"]["after the event"]
    (2, 1)
    """
    task = EventTask(event, label, horizon, step, gap, min_history, after_event, clear, competing)
    task.check()
    panel = as_panel(panel)
    found = task.labels(panel)
    table = pd.DataFrame(
        {
            "event": found.event,
            "eligible": found.eligible,
            "at_risk": found.at_risk,
            "hours_to_event": found.hours_to_event,
        },
        index=panel.index,
    )
    table.attrs = {"excluded": found.excluded, "left_censored": found.left_censored}
    return table


def mark_events(panel: pd.DataFrame, times: Any, name: Hashable = "event") -> pd.DataFrame:
    """Add the column of an event whose times are known per series.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    times : Series
        When the event came on, of the panel's kind of time, by the name of the series. Series
        that are missing or have no time had no event. For a panel of one series without a name:
        the time itself, or None.
    name : hashable
        The new column.

    Returns
    -------
    DataFrame
        The panel with the column at its end: 1.0 in the first row at or after the event and in
        all rows after it, else 0.0.

    Raises
    ------
    DataError
        If `times` names a series that the panel does not have or one twice, is of another kind
        of time, or an event lies before the first row of its series.

    Warns
    -----
    UserWarning
        If an event lies after the last row of its series: no row of it is marked.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.MultiIndex.from_product([["A", "B"], pd.to_timedelta([0, 1, 2], unit="h")])
    >>> panel = pd.DataFrame({"MAP": [80.0, 60.0, 70.0, 90.0, 85.0, 88.0]}, index=index)
    >>> mark_events(panel, pd.Series({"A": pd.Timedelta("30min")}))["event"].tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    panel = as_panel(panel)
    layout = layout_of(panel)
    if name in panel.columns:
        raise fail(
            "column is there already",
            expected="a new name",
            found=f"columns {list(panel.columns)}",
            advice="Choose another name=, or drop the column first.",
            column=name,
        )
    if layout.ids is None and not isinstance(times, pd.Series):
        times = pd.Series([times], index=[0], dtype=object if times is None else None)
    names = pd.Index([0]) if layout.ids is None else layout.ids
    known = _event_times(times, names, layout)
    which = names.get_indexer(known.index)
    stamps: Any = as_time(pd.Index(known.array)) if len(known) else layout.labels[:0]
    _require_kind(stamps, layout.labels)
    begins, ends = (layout.time.take(edge[which]) for edge in (layout.starts, layout.stops - 1))
    if (before := np.flatnonzero(np.asarray(stamps < begins))).size:
        at = int(before[0])
        raise fail(
            "event before the first row",
            expected=f"events from the first row of their series on, {begins[at]}",
            found=f"{len(before)} events before it, the first at {stamps[at]}",
            advice="Leave these series out, or move the event to the first row: labels then "
            "count them as on from the start.",
            series=known.index[at],
        )
    late = np.asarray(stamps > ends)
    if late.any():
        example = known.index[int(np.argmax(late))]
        warnings.warn(
            f"{int(late.sum())} events lie after the last row of their series, such as that of "
            f"{example!r}: no row is marked. Expected rows up to the event; add one, or drop the "
            "time if the record does not reach it.",
            stacklevel=callers_level(),
        )
    event = np.zeros(layout.n_rows)
    has = np.full(layout.n_series, -1)
    has[which] = np.arange(len(which))
    rows = np.flatnonzero(_per_row(has, layout) >= 0)
    if len(rows):
        event[rows] = layout.time.take(rows) >= stamps.take(_per_row(has, layout)[rows])
    marked = panel.copy(deep=False)
    marked[name] = event
    return marked


def _event_times(times: Any, names: pd.Index, layout: Layout) -> pd.Series:
    """Times of the events that there are, by series."""
    if not isinstance(times, pd.Series):
        raise fail(
            "times of events cannot be read",
            expected="a Series of times by the name of the series",
            found=type(times).__name__,
            advice="Give pd.Series({name: time, ...}).",
        )
    known: pd.Series = times.dropna().infer_objects()
    unknown = known.index[names.get_indexer_for(known.index) < 0]
    if len(unknown):
        raise fail(
            "events of unknown series",
            expected=f"some of the panel's {len(names)} series, {first(map(repr, names))}",
            found=f"{len(unknown)} others: {first(map(repr, unknown))}",
            advice="Spell them alike, and mind their type; or leave these events out.",
            series=unknown[0],
        )
    if not known.index.is_unique:
        twice = known.index[known.index.duplicated()].unique()
        raise fail(
            "several events of one series",
            expected="one time per series",
            found=f"more for {len(twice)} series",
            advice="Keep the first, e.g. times.groupby(level=0).min(); for events that come "
            'again make a column of 0 and 1 and use label="recurrent".',
            series=twice[0],
        )
    return known


def _require_kind(stamps: pd.Index, time: pd.Index) -> None:
    zones = [getattr(index, "tz", None) is None for index in (stamps, time)]
    if stamps.dtype.kind != time.dtype.kind or zones[0] != zones[1]:
        raise fail(
            "events and panel have different kinds of time",
            expected=f"{time.dtype}, as the time of the panel",
            found=f"{stamps.dtype}",
            advice="Convert the events, e.g. by subtracting the admission, or with dt.tz_localize.",
        )


# ---------------------------------------------------------------------------------- small helpers


def _first_onset(on: Bools, layout: Layout) -> tuple[Bools, Bools, Bools]:
    """Rows of the first onset, rows at risk, rows of series that have the event from the start."""
    begins = _first_true(on, layout)
    onset = np.zeros(layout.n_rows, dtype=bool)
    onset[begins[begins < layout.n_rows]] = True  # one in a first row follows no row
    at_risk = np.arange(layout.n_rows) < _per_row(begins, layout)
    return onset, at_risk, _per_row(begins == layout.starts, layout)


def _onsets(on: Bools, layout: Layout, clear: int) -> tuple[Bools, Bools, Bools]:
    """Rows of every onset, rows at risk, rows of an event that is on from the start.

    Parameters
    ----------
    on : ndarray of bool, shape (N,)
        The state.
    clear : int
        How long the event must have been off, in nanoseconds or steps.
    """
    rows, when = np.arange(layout.n_rows), moments(layout)
    begin = _per_row(layout.starts, layout)
    before = np.maximum(rows - 1, begin)
    off_from = np.maximum.accumulate(np.where(~on & (on[before] | (rows == begin)), rows, 0))
    # a series that has not had the event is at risk from its first row on
    never = off_from == begin
    at_risk = ~on & (never | (when - when[off_from] >= clear))
    long_off = never[before] | (when - when[off_from[before]] >= clear)
    onset = on & ~on[before] & long_off
    from_start = _per_row(on[layout.starts], layout) & (
        rows < _per_row(_first_true(at_risk, layout), layout)
    )
    return onset, at_risk, from_start


def _state(values: Floats, layout: Layout) -> Bools:
    """Whether the event is on: the last known state, off before the first."""
    on: Bools = forward_fill(values, layout)[0] == 1
    return on


def _first_true(flags: Bools, layout: Layout) -> Ints:
    """First row of each series that is true, (S,); N where none is."""
    rows = np.where(flags, np.arange(layout.n_rows), layout.n_rows)
    found: Ints = np.minimum.reduceat(rows, layout.starts)
    return found


def _next_row(flags: Bools, layout: Layout) -> tuple[Ints, Bools]:
    """For each row the next one of its series behind it that is true, or itself, and whether."""
    n = layout.n_rows
    rows = np.where(flags, np.arange(n), n)
    behind = np.append(np.minimum.accumulate(rows[::-1])[::-1][1:], n)
    some = behind < _per_row(layout.stops, layout)
    return np.where(some, behind, np.arange(n)), some


def _per_row(values: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    """What is true of the series, one each, for every row."""
    return np.repeat(values, np.diff(layout.offsets))


def _names(layout: Layout, chosen: Bools) -> list[Any]:
    names = layout.names()
    return [names[s] for s in np.flatnonzero(chosen)]


def _exclude(reasons: dict[str, Bools], layout: Layout) -> tuple[Bools, dict[str, tuple[int, int]]]:
    """Rows that count, and how many others there are for each reason, every row once."""
    left = np.ones(layout.n_rows, dtype=bool)
    excluded = {}
    for reason in _REASONS:
        out = left & reasons[reason] if reason in reasons else np.zeros_like(left)
        series = np.logical_or.reduceat(out, layout.starts)
        excluded[reason] = (int(out.sum()), int(series.sum()))
        left = left & ~out
    return left, excluded


def _is_zero(gap: Any) -> bool:
    return is_whole(gap) and gap == 0


def _flags(panel: pd.DataFrame, name: Hashable) -> Floats:
    """A column of 0, 1 and NaN."""
    if name not in panel.columns:
        raise no_column(panel, name)
    values = numbers_of(panel[name])
    wrong = np.flatnonzero(~((values == 0) | (values == 1) | np.isnan(values)))
    if len(wrong):
        raise fail(
            "event column holds other values than 0 and 1",
            expected="1 where the event is on, 0 where it is off, NaN where that is not known",
            found=f"{first(np.unique(values[wrong]).tolist(), shown=3)} in {len(wrong)} rows",
            advice="Compare first, e.g. (panel[column] > limit).astype(float), or give a rule, "
            f"Event('{name} > 0.5').",
            column=name,
            rows=[str(label) for label in panel.index[wrong[:5]]],
        )
    return values
