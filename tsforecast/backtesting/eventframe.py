"""The event frame: risks at many rows beside what happened, read as arrays.

Every evaluation of event estimators is a function of one flat frame: `model, series, time, risk,
event, eligible, at_risk, hours_to_event`, and optionally `group` (the patient), `fold` and columns
for subgroups.  Where time is a whole number, a step is read as an hour.

Letters of shapes: N rows, M models, S series (stays), P patients, n rows that are judged,
B bootstrap replicates, b of them at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, bad_parameter, fail, first
from tsforecast.data.panel import Floats, Ints, time_to_ints

__all__ = [
    "At",
    "Bools",
    "EventRows",
    "EventTable",
    "Selection",
    "duration_hours",
    "event_rows",
    "interval",
    "replicates",
    "select",
]

Bools = npt.NDArray[np.bool_]
At = str | float | pd.Timedelta

_NEEDED = ("model", "series", "time", "risk", "event", "eligible", "at_risk", "hours_to_event")
_NOT_AT_RISK = "not at risk (in or after an event, or outcome unknown)"
_NOT_COUNTED = "at risk that do not count (horizon not observed, or too little history)"
_STALE = 12.0  # hours: an older row says little of the patient at a landmark
_ALPHA = 0.05


class EventTable(pd.DataFrame):
    """A table of figures, shown with the lines that must be read beside them.

    ``attrs["header"]`` holds the lines; what is cut from the table is a plain DataFrame.

    Examples
    --------
    >>> table = EventTable({"auroc": [0.8]}, index=["news2"])
    >>> table.attrs["header"] = ["every row that counts: 10 rows of 3 patients"]
    >>> table
    every row that counts: 10 rows of 3 patients
           auroc
    news2    0.8
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        shown = self.to_string(max_rows=60, float_format="{:.4g}".format)
        return "\n".join([*self.attrs.get("header", ()), shown])

    def _repr_html_(self) -> str | None:  # of pandas, for notebooks
        from html import escape

        lines = "".join(f"<div>{escape(line)}</div>" for line in self.attrs.get("header", ()))
        return lines + pd.DataFrame(self).to_html(max_rows=60, float_format="{:.4g}".format)


@dataclass(frozen=True, eq=False)
class EventRows:
    """An event frame as arrays: rows sorted by series and time, the same for all models.

    Attributes
    ----------
    models : list of str
        M names, in the order of the frame.
    risk : ndarray, shape (M, N)
    event, hours_to_event : ndarray, shape (N,)
    eligible, at_risk : ndarray of bool, shape (N,)
    when : ndarray of int64, shape (N,)
        Time in ticks.
    tick : float
        Hours of a tick.
    since : ndarray, shape (N,)
        Hours since admission: the time itself, or, of dates, since the first row of the series.
    offsets : ndarray of int64, shape (S + 1,)
        Series s has rows ``offsets[s]:offsets[s + 1]``.
    series : Index
        Names of the series, (S,).
    patient : ndarray of int64, shape (N,)
        Number of the patient: of the `group` where the frame has one, else of the series.
    place : ndarray of int64, shape (M, N)
        Where each row stands in the frame.
    """

    models: list[str]
    risk: Floats
    event: Floats
    eligible: Bools
    at_risk: Bools
    hours_to_event: Floats
    when: Ints
    tick: float
    since: Floats
    offsets: Ints
    series: pd.Index
    patient: Ints
    place: Ints

    @cached_property
    def stay(self) -> Ints:
        """Number of the series of each row, (N,)."""
        return np.repeat(np.arange(len(self.series)), np.diff(self.offsets))

    @property
    def n_patients(self) -> int:
        """P, the number of patients."""
        return int(self.patient.max()) + 1

    @cached_property
    def hours_at_risk(self) -> Floats:
        """Hours that each row at risk stands for, else 0, (N,).

        The time since the row before; for the first row of a series the usual time between rows.
        """
        gaps = np.diff(self.when, prepend=self.when[:1]) * self.tick
        begins = self.offsets[:-1]
        inner = np.ones(len(gaps), dtype=bool)
        inner[begins] = False
        gaps[begins] = np.median(gaps[inner]) if inner.any() else 1.0
        return np.where(self.at_risk, gaps, 0.0)


def event_rows(frame: pd.DataFrame) -> EventRows:
    """Check an event frame and read it as arrays.

    Raises
    ------
    DataError
        If columns are missing, a risk is missing or no probability, rows are repeated, models
        have other rows or other labels, or a patient's name changes within a series.
    """
    if not isinstance(frame, pd.DataFrame):
        raise bad_parameter("frame", expected="an event frame", found=frame)
    if lacking := [name for name in _NEEDED if name not in frame]:
        raise fail(
            "not an event frame",
            expected=f"columns {', '.join(_NEEDED)}",
            found=f"no {first(lacking)} among {first(frame.columns, shown=12)}",
            advice="Make it by event_frame(model, panel) or backtest_events(...).",
        )
    if len(frame) == 0:
        raise fail(
            "empty event frame",
            expected="at least one row",
            found="none",
            advice="Look at the filter that it came through.",
        )
    model, found = pd.factorize(frame["model"])
    names = list(found)
    stay, series = pd.factorize(frame["series"])
    time = pd.Index(frame["time"])
    if not isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)) and time.dtype.kind not in "iu":
        raise fail(
            "time is of no known kind",
            expected="dates, timedeltas since admission or whole numbers of steps",
            found=f"dtype {time.dtype}",
            advice="Convert it, e.g. pd.to_timedelta(frame['time'], unit='h').",
            column="time",
        )
    if (model < 0).any() or (stay < 0).any() or time.hasnans:
        raise fail(
            "a key is missing",
            expected="model, series and time in every row",
            found="rows without",
            advice="Drop those rows, or mend the source.",
        )
    when = time_to_ints(time)
    place = _sorted_places(model, stay, when)
    n_rows = len(frame) // len(names)
    _refuse_repeated(frame, model, stay, when, place)
    if (np.bincount(model) != n_rows).any():
        raise _differ("rows", names, np.bincount(model))
    place = place.reshape(len(names), n_rows)
    for row, name in enumerate(names):
        if (stay[place[row]] != stay[place[0]]).any() or (when[place[row]] != when[place[0]]).any():
            raise _differ("rows", [names[0], name], [f"{n_rows} of {name!r}"])
    one = place[0]
    when, stay = when[one], stay[one]
    values = {name: _column(frame, name)[place] for name in ("event", "hours_to_event")}
    flags = {name: _flags(frame, name)[place] for name in ("eligible", "at_risk")}
    for name, of_models in (values | flags).items():
        differs = ~np.isclose(of_models, of_models[0], rtol=0, atol=1e-9, equal_nan=True)
        if name == "hours_to_event":  # of no meaning elsewhere
            differs &= flags["at_risk"]
        if differs.any():
            raise _differ(f"`{name}`", names, [f"{int(differs.sum())} rows that differ"])
    event, eligible = values["event"][0], flags["eligible"][0]
    known = ~np.isnan(event)
    if not np.isin(event[known], (0.0, 1.0)).all() or not known[eligible].all():
        raise fail(
            "event is no label",
            expected="0 or 1, and a value wherever `eligible` is true",
            found=f"{int((~known & eligible).sum())} eligible rows without one, values "
            f"{first(np.unique(event[known])[:5])}",
            advice="Take the labels from event_within or the model's event_labels.",
            column="event",
        )
    bounds = np.flatnonzero(np.diff(stay)) + 1
    offsets = np.concatenate([[0], bounds, [n_rows]]).astype(np.int64)
    tick = 1.0
    if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        tick = pd.Timedelta(1, unit=time.unit) / pd.Timedelta(hours=1)
    zero = np.repeat(when[offsets[:-1]], np.diff(offsets))
    since = (when - zero if isinstance(time, pd.DatetimeIndex) else when) * tick
    return EventRows(
        models=[str(name) for name in names],
        risk=_risks(frame, names, place),
        event=event,
        eligible=eligible,
        at_risk=flags["at_risk"][0],
        hours_to_event=values["hours_to_event"][0],
        when=when,
        tick=tick,
        since=since,
        offsets=offsets,
        series=pd.Index(series).take(stay[offsets[:-1]]),
        patient=_patients(frame, one, stay, offsets),
        place=place,
    )


def _sorted_places(model: Ints, stay: Ints, when: Ints) -> Ints:
    """Where the rows sorted by model, series and time stand in the frame."""
    same_model, same_stay = np.diff(model) == 0, np.diff(stay) == 0
    rising = (np.diff(model) > 0) | (same_model & ((np.diff(stay) > 0) | same_stay))
    rising &= ~(same_model & same_stay & (np.diff(when) < 0))
    return np.arange(len(model)) if rising.all() else np.lexsort((when, stay, model))


def _refuse_repeated(frame: pd.DataFrame, model: Ints, stay: Ints, when: Ints, place: Ints) -> None:
    keys = [values[place] for values in (model, stay, when)]
    twice = np.flatnonzero(np.logical_and.reduce([np.diff(values) == 0 for values in keys]))
    if len(twice):
        at = place[twice[0]]
        raise fail(
            "rows are repeated",
            expected="one row for each model, series and time",
            found=f"{len(twice)} more",
            advice="Keep one risk of each; a patient is tested once.",
            series=frame["series"].iloc[at],
            rows=[str(frame["time"].iloc[at])],
        )


def _differ(what: str, names: Sequence[Any], found: Any) -> DataError:
    return fail(
        f"the models have different {what}",
        expected=f"the same {what} of {first(names)}",
        found=first(found),
        advice="Models are compared on the same rows and labels: give all the same event, horizon, "
        "step and min_history.",
    )


def _column(frame: pd.DataFrame, name: str) -> Floats:
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _flags(frame: pd.DataFrame, name: str) -> Bools:
    values = _column(frame, name)
    if not np.isin(values, (0.0, 1.0)).all():
        raise fail(
            "a flag is missing",
            expected="true or false in every row",
            found=f"{first(np.unique(values)[:5])}",
            advice="Take it from event_within or the model's event_labels.",
            column=name,
        )
    flags: Bools = values == 1.0
    return flags


def _risks(frame: pd.DataFrame, names: Sequence[Any], place: Ints) -> Floats:
    risk = _column(frame, "risk")[place]
    bad = ~((risk >= 0) & (risk <= 1))  # NaN too
    if bad.any():
        row, column = np.argwhere(bad)[0]
        at = place[row, column]
        raise fail(
            "a risk is no probability",
            expected=f"numbers from 0 to 1 of model {names[row]!r}",
            found=f"{int(bad[row].sum())} others, the first {risk[row, column]}",
            advice="Mend the model, or map its score to a probability.",
            column="risk",
            series=frame["series"].iloc[at],
            rows=[str(frame["time"].iloc[at])],
        )
    return risk


def _patients(frame: pd.DataFrame, rows: Ints, stay: Ints, offsets: Ints) -> Ints:
    """Number of the patient of each row; a series without a `group` is one of its own."""
    if "group" not in frame:
        return pd.factorize(stay)[0].astype(np.int64)
    code = pd.factorize(frame["group"].iloc[rows])[0]
    varies = np.flatnonzero(code != np.repeat(code[offsets[:-1]], np.diff(offsets)))
    if len(varies):
        raise fail(
            "the patient changes within a series",
            expected="one `group` in all rows of a series",
            found=f"{len(varies)} rows of another",
            advice="Mend the source.",
            column="group",
            series=frame["series"].iloc[rows[varies[0]]],
        )
    return pd.factorize(np.where(code < 0, -1 - stay, code))[0].astype(np.int64)


def duration_hours(name: str, value: Any, *, least: float = 0.0) -> float:
    """Give a span of time in hours; a plain number is one of hours, or of steps."""
    try:
        if isinstance(value, bool):
            raise TypeError
        plain = isinstance(value, (int, float, np.integer, np.floating))
        hours = float(value) if plain else pd.Timedelta(value) / pd.Timedelta(hours=1)
    except (TypeError, ValueError):
        hours = np.nan
    if not (np.isfinite(hours) and hours >= least):
        raise bad_parameter(
            name, expected="a span of time such as '6h', or a number of hours", found=value
        )
    return hours


@dataclass(frozen=True, eq=False)
class Selection:
    """The rows that are judged, one set for all models.

    Attributes
    ----------
    words : str
        The regime, in words.
    risk : ndarray, shape (M, n)
    event : ndarray, shape (n,)
    patient : ndarray of int64, shape (n,)
        Numbers from 0 to P - 1, of the patients with such rows.
    row : ndarray of int64, shape (n,)
        Which of the N rows each is; of a peak the last of its stay.
    excluded : dict of str to int
        How many rows, stays or patients are out, by reason.
    """

    words: str
    risk: Floats
    event: Floats
    patient: Ints
    row: Ints
    excluded: dict[str, int]

    @property
    def n_patients(self) -> int:
        """P, the number of patients."""
        return int(self.patient.max()) + 1

    def header(self) -> list[str]:
        """Say what is judged: regime, prevalence, and what is out."""
        events = int(self.event.sum())
        sick = len(np.unique(self.patient[self.event == 1]))
        lines = [
            f"{self.words}: {len(self.event):,} rows of {self.n_patients:,} patients, {events:,} "
            f"with the event ({events / len(self.event):.2%}), of {sick:,} patients"
        ]
        out = [f"{count:,} {reason}" for reason, count in self.excluded.items() if count]
        return [*lines, f"out: {', '.join(out)}"] if out else lines


def select(rows: EventRows, at: At = "every") -> Selection:
    """Choose the rows that are judged.

    Raises
    ------
    DataError
        If there is none, or all or none of them have the event.
    ValueError
        If `at` cannot be read.
    """
    counted = rows.eligible
    stays = rows.offsets[:-1]
    excluded = {
        f"rows {_NOT_AT_RISK}": int((~(rows.at_risk | counted)).sum()),
        f"rows {_NOT_COUNTED}": int((rows.at_risk & ~counted).sum()),
    }
    if isinstance(at, str) and at == "every":
        words, chosen = "every row that counts", np.flatnonzero(counted)
    elif isinstance(at, str) and at in ("peak", "last"):
        newest = np.maximum.reduceat(np.where(counted, np.arange(len(counted)), -1), stays)
        chosen = newest[newest >= 0]
        words = "the last row that counts of each stay, chosen with hindsight: optimistic"
        excluded["stays without a row that counts"] = int((newest < 0).sum())
    else:
        words, chosen, excluded = _landmark(rows, at)
    risk, event = rows.risk[:, chosen], rows.event[chosen]
    if isinstance(at, str) and at == "peak":
        words = "the highest risk of each stay, known only when it has ended: optimistic"
        some = newest >= 0
        risk = np.maximum.reduceat(np.where(counted, rows.risk, -1.0), stays, axis=1)[:, some]
        event = np.maximum.reduceat(np.where(counted, rows.event, -1.0), stays)[some]
    excluded["patients without a row that counts"] = rows.n_patients - len(
        np.unique(rows.patient[chosen])
    )
    _require_both(event, words)
    patient = pd.factorize(rows.patient[chosen])[0].astype(np.int64)
    return Selection(words, risk, event, patient, chosen, excluded)


def _landmark(rows: EventRows, at: At) -> tuple[str, Ints, dict[str, int]]:
    """The newest row of each stay at a time since admission, where it counts."""
    try:
        hours = duration_hours("at", at)
    except ValueError:
        raise bad_parameter(
            "at", expected="'every', 'peak', 'last' or a time such as '24h'", found=at
        ) from None
    known = np.where(rows.since <= hours, np.arange(len(rows.since)), -1)
    newest = np.maximum.reduceat(known, rows.offsets[:-1])
    fresh = (newest >= 0) & (rows.since[newest] > hours - _STALE)
    at_risk = fresh & rows.at_risk[newest]
    counted = at_risk & rows.eligible[newest]
    excluded = {
        f"stays without a row in the {_STALE:g} h before": int((~fresh).sum()),
        f"stays {_NOT_AT_RISK}": int((fresh & ~at_risk).sum()),
        f"stays {_NOT_COUNTED}": int((at_risk & ~counted).sum()),
    }
    return f"{hours:g} h after admission, a row of each stay", newest[counted], excluded


def _require_both(event: Floats, words: str) -> None:
    n, with_event = len(event), int(event.sum())
    if with_event in (0, n):
        raise fail(
            "no event to tell from others" if with_event == 0 else "only events",
            expected=f"rows with and without the event ({words})",
            found=f"{with_event} of {n} with it",
            advice="Judge more patients, or at another time (at=).",
        )


def replicates(n_patients: int, n_boot: int, seed: int, chunk: int) -> Iterator[Floats]:
    """Draw patients with replacement: how often each one counts, (P, b) at a time.

    The same for every model, whatever the chunk.
    """
    rng = np.random.default_rng(seed)
    for begin in range(0, n_boot, chunk):
        size = min(chunk, n_boot - begin)
        weights = np.empty((size, n_patients))
        for row in weights:
            row[:] = np.bincount(rng.integers(n_patients, size=n_patients), minlength=n_patients)
        yield np.ascontiguousarray(weights.T)


def interval(replicated: Floats) -> tuple[Floats, Floats]:
    """The central 95 % of bootstrap replicates, over the last axis; NaN where there is none."""
    if replicated.shape[-1] == 0:
        empty = np.full(replicated.shape[:-1], np.nan)
        return empty, empty
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all of them NaN
        low, high = np.nanquantile(replicated, [_ALPHA / 2, 1 - _ALPHA / 2], axis=-1)
    return low, high
