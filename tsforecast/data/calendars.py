"""The calendar of a panel: what its next time stamps are called, and what a date tells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    add_available,
    as_panel,
    layout_of,
    time_from_ints,
    time_to_ints,
)
from tsforecast.data.sessions import ExchangeSessions, session_hours, session_numbers

__all__ = ["Feature", "Sessions", "TimeStep", "calendar_features", "infer_time_step"]

Feature = Literal["hour", "weekday", "month_end", "month", "session", "session_hours"]

_WEEKDAYS = pd.offsets.BDay()
_A_DAY = pd.Timedelta(days=1)
_SHORTEST_DAY = pd.Timedelta(hours=23)
_BLOCK = 1 << 18  # rows looked at together
_RESAMPLED = 5  # so many steps, none to the next session, are no accident such as a halt
_NIGHTLY = 6  # so many rows absent at times of day that are never seen are no accident


@dataclass(frozen=True)
class Sessions:
    """The same times on every day, or on Monday to Friday: the hours of a market or a clinic.

    Attributes
    ----------
    times : tuple of Timedelta
        Times of day, in order, by the clock on the wall.
    days : pandas offset
        From one day to the next.
    """

    times: tuple[pd.Timedelta, ...]
    days: pd.offsets.BaseOffset

    def __radd__(self, stamp: pd.Timestamp) -> pd.Timestamp:
        """Give the next time after a time stamp without a zone."""
        day = stamp.normalize()
        later = [day + time for time in self.times if day + time > stamp]
        return later[0] if later else day + self.days + self.times[0]


@dataclass(frozen=True)
class TimeStep:
    """How far it is from one row to the next.

    Attributes
    ----------
    delta : Timedelta, int or None
        A constant spacing; an int where time is a whole number.
    offset : pandas offset, Sessions, ExchangeSessions or None
        A calendar: Monday to Friday, month ends, times of day, the sessions of an exchange, or the
        `freq` that the index carries.
    seen : str
        What was found instead, where neither is known: for the error message.
    """

    delta: pd.Timedelta | int | None = None
    offset: pd.offsets.BaseOffset | Sessions | ExchangeSessions | None = None
    seen: str = ""

    def suits(self, time: pd.Index) -> bool:
        """Tell whether this is a known step of a time of this type."""
        if self.offset is not None:
            return isinstance(time, pd.DatetimeIndex)
        if self.delta is None:
            return False
        return isinstance(self.delta, int) == (not _is_clock(time))

    def after(self, last: Ints, horizon: int, *, like: pd.Index, required: bool = True) -> Ints:
        """Labels of the next `horizon` rows after each time.

        Parameters
        ----------
        last : ndarray of int64, shape (n,)
            Times of the last rows, as by `time_to_ints`.
        horizon : int
            Number of steps.
        like : Index
            The panel's time, for type and unit.
        required : bool
            Whether names are needed. Else, if the spacing is not known, times are NaT, and whole
            numbers count on.

        Returns
        -------
        ndarray of int64, shape (n, horizon)

        Raises
        ------
        DataError
            If names are required and the spacing is not known.
        """
        if not required and self.delta is None and self.offset is None:
            ahead = last[:, None] + np.arange(1, horizon + 1)
            return np.full_like(ahead, pd.NaT.value) if _is_clock(like) else ahead
        if self.delta is not None:
            delta = self.delta
            if isinstance(delta, pd.Timedelta):
                delta = delta // _as_span(1, like)
            return last[:, None] + delta * np.arange(1, horizon + 1)
        if self.offset is None:
            raise fail(
                "cannot name the next time stamps",
                expected="a calendar (index.freq), a constant spacing, weekdays, or daily sessions",
                found=self.seen,
                advice="Put the rows on a grid first, e.g. panel.resample('1h').last(), or give "
                "the time index a freq.",
            )
        zone = getattr(like, "tz", None)
        if isinstance(self.offset, pd.offsets.Tick) or (
            isinstance(self.offset, pd.offsets.Day) and zone is None
        ):
            return TimeStep(delta=_span_of(self.offset)).after(last, horizon, like=like)
        unit = pd.DatetimeIndex(like).unit
        ends, which = np.unique(last, return_inverse=True)
        stamps = pd.DatetimeIndex(time_from_ints(ends, like))
        # calendars go by the clock on the wall, whole hours and less by the time that passes
        stamps = stamps if zone is None else stamps.tz_localize(None)
        steps = []
        for _ in range(horizon):
            # one by one: holiday calendars cannot be added to an index at once
            stamps = pd.DatetimeIndex([stamp + self.offset for stamp in stamps]).as_unit(unit)
            steps.append(time_to_ints(stamps if zone is None else _localized(stamps, zone)))
        return np.stack(steps, axis=1)[which]


def infer_time_step(layout: Layout, *, learned: TimeStep | None = None) -> TimeStep:
    """Find the spacing of a panel: its calendar, else a constant, else Monday to Friday.

    The calendar is the exchange named in ``attrs["calendar"]`` (see `with_calendar`), else the
    `freq` of the index.

    Rows may be missing from the grid (an hour without a reading, a holiday): the spacing is then
    the smallest one if it is also the most frequent and divides all others. Where a part of the
    day is never seen, night after night, rows go on with the next session (Monday to Friday, if
    no other day is seen). Month, quarter and year marks are recognised in the longest series.

    Parameters
    ----------
    layout : Layout
        Of the panel.
    learned : TimeStep, optional
        What is known from a longer panel, such as that of `fit`: it goes before anything but a
        calendar, because a few rows can mislead (five days of one week show no weekend). The
        sessions of an exchange go before a `freq`, too.

    Returns
    -------
    TimeStep

    Raises
    ------
    DataError
        If the panel has a calendar, and its rows are not the days of that, or are six or more of
        which no two follow each other.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsforecast.data.panel import layout_of
    >>> days = pd.bdate_range("2024-01-01", periods=9)
    >>> infer_time_step(layout_of(pd.DataFrame({"x": range(9)}, index=days))).offset
    <BusinessDay>
    """
    if layout.calendar is not None:
        return _exchange_step(layout, layout.calendar)
    freq = getattr(layout.labels, "freq", None)
    if learned is not None and isinstance(learned.offset, ExchangeSessions):
        freq = None
    if freq is not None and layout.ids is None and isinstance(layout.labels, pd.DatetimeIndex):
        return TimeStep(offset=freq)
    if learned is not None and learned.suits(layout.labels):
        return learned
    found = _spacing(layout)
    return learned if learned is not None and learned.seen and found.seen else found


def _exchange_step(layout: Layout, name: str) -> TimeStep:
    """Go by the calendar, unless the rows show that they are, say, every fifth of its days."""
    steps = np.diff(np.unique(layout.per_row(session_numbers(layout, name))))
    if len(steps) >= _RESAMPLED and steps.min() > 1:
        raise fail(
            "rows do not go by the calendar",
            expected=f"days of {name} that follow each other",
            found=f"steps of {first(np.unique(steps))} sessions",
            advice='Take the calendar off what was resampled: panel.attrs.pop("calendar").',
        )
    return TimeStep(offset=ExchangeSessions(name))


def _spacing(layout: Layout) -> TimeStep:
    sizes, counts = _spacings(layout)
    if len(sizes) == 0:
        return TimeStep(seen="no series with two rows")
    like = layout.labels
    smallest = _as_span(sizes[0], like)
    seen = layout.stamps() if isinstance(like, pd.DatetimeIndex) and len(sizes) > 1 else sizes[:0]
    stamps: Any = time_from_ints(seen, like)
    if isinstance(like, pd.DatetimeIndex):
        if like.tz is not None and smallest >= _SHORTEST_DAY:
            return _spacing_by_wall_clock(layout)
        if len(sizes) > 1 and smallest == _A_DAY and (stamps.day_of_week < 5).all():
            return TimeStep(offset=_WEEKDAYS)
    if counts[0] == counts.max() and (sizes % sizes[0] == 0).all():
        sessions = None
        if len(sizes) > 1 and isinstance(like, pd.DatetimeIndex):
            sessions = _sessions(stamps, int(sizes[0]))
        return sessions or TimeStep(delta=smallest)
    if isinstance(like, pd.DatetimeIndex):
        longest = int(np.argmax(np.diff(layout.offsets)))
        own = layout.when(slice(*layout.offsets[longest : longest + 2]))
        if (offset := _calendar_of(time_from_ints(own, like))) is not None:
            return TimeStep(offset=offset)
    unit = " apart" if _is_clock(like) else ""
    spans = [_as_span(size, like) for size in sizes]
    return TimeStep(seen=f"rows {first(spans)}{unit}")


def _spacings(layout: Layout) -> tuple[Ints, Ints]:
    """Distinct steps from one row of a series to the next, in order, and how often they occur."""
    found: list[tuple[Ints, Ints]] = []
    for begin in range(0, layout.n_rows - 1, _BLOCK):
        steps = np.diff(layout.when(slice(begin, begin + _BLOCK + 1)))
        inner = np.searchsorted(layout.starts, [begin + 1, begin + len(steps)], side="left")
        starts = layout.starts[inner[0] : inner[1] + 1] - begin - 1
        steps = np.delete(steps, starts[starts < len(steps)])
        found.append(np.unique(steps, return_counts=True))
    if not found:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    sizes, which = np.unique(np.concatenate([each[0] for each in found]), return_inverse=True)
    counts = np.bincount(which, weights=np.concatenate([each[1] for each in found]))
    return sizes, counts.astype(np.int64)


def _spacing_by_wall_clock(layout: Layout) -> TimeStep:
    """Days are 23 or 25 hours long where daylight saving begins or ends: count them by date."""
    wall = pd.DatetimeIndex(layout.labels).tz_localize(None)
    found = _spacing(replace(layout, labels=wall))
    if isinstance(found.delta, pd.Timedelta) and found.delta % _A_DAY == pd.Timedelta(0):
        return TimeStep(offset=pd.DateOffset(days=found.delta.days))
    return found


def _sessions(time: pd.DatetimeIndex, step: int) -> TimeStep | None:
    """Find the times of day that recur, if there is a night: times of day that never are seen."""
    wall = time.tz_localize(None).unique()
    ints, day = time_to_ints(wall), _A_DAY // _as_span(1, wall)
    times = np.unique(ints % day)
    breaks = np.diff(times, append=times[0] + day)
    night = int(np.argmax(breaks))
    opening = times[(night + 1) % len(times)]
    nights = len(np.unique((ints - opening) // day)) - 1
    absent = (breaks[night] // step - 1) * nights
    if absent < _NIGHTLY or len(ints) < 2 * len(times):
        return None
    if night < len(times) - 1:
        spans = [_as_span(times[at], wall) for at in (night + 1, night)]
        return TimeStep(seen=f"sessions across midnight, {spans[0]} to {spans[1]} of the day")
    days = _WEEKDAYS if (wall.day_of_week < 5).all() else pd.offsets.Day()
    return TimeStep(offset=Sessions(tuple(_as_span(time, wall) for time in times), days))


def _calendar_of(time: Any) -> pd.offsets.BaseOffset | None:
    if len(time) < 4:
        return None
    with warnings.catch_warnings():
        # pandas 3.1 announces an offset instead of its name; both serve here
        warnings.simplefilter("ignore")
        return pd.tseries.frequencies.to_offset(pd.infer_freq(time))


def _localized(wall: pd.DatetimeIndex, zone: Any) -> pd.DatetimeIndex:
    """Times by the clock on the wall: a time skipped in spring is the first one after it."""
    summer = np.zeros(len(wall), dtype=bool)
    return wall.tz_localize(zone, ambiguous=summer, nonexistent="shift_forward")


def _span_of(offset: Any) -> pd.Timedelta:
    """Length of an offset of so many days, or of hours and less."""
    return (
        pd.Timedelta(days=offset.n) if isinstance(offset, pd.offsets.Day) else pd.Timedelta(offset)
    )


def _is_clock(time: pd.Index) -> bool:
    return isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex))


def _as_span(size: int, time: pd.Index) -> Any:
    if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        return pd.Timedelta(int(size), unit=time.unit)
    return int(size)


def calendar_features(
    panel: pd.DataFrame, features: Sequence[Feature] | None = None
) -> pd.DataFrame:
    """Add what the calendar says of each row: columns known for any future row.

    Name them in an estimator's ``future=``; the rows for ``predict(future=...)`` are made in the
    same way from a frame of the coming times.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names, in datetimes; a frame
        of times without any column, ``pd.DataFrame(index=...)``, will do.
    features : sequence of str, optional
        Some of the following, each from the time of the row alone, by the clock on the wall.

        - ``"hour"``: time of day, as ``hour_sin`` and ``hour_cos``.
        - ``"weekday"``: day of the week, as ``weekday_sin`` and ``weekday_cos``.
        - ``"month_end"``: 1 from the last Monday-to-Friday day of the month on, else 0.
        - ``"month"``: month of the year, as ``month_sin`` and ``month_cos``.
        - ``"session"``: Monday-to-Friday days since 1 January, as a part of all such days of the
          year: ``session_sin`` and ``session_cos``.
        - ``"session_hours"``: hours of trading of the exchange in ``attrs["calendar"]`` (see
          `with_calendar`): 6.5 in New York, 3.5 there on a half day.

        Default: those that tell rows apart. Time of day where rows are less than a day apart,
        weekday and end of month where they are less than a week apart, the session where they
        are less than four weeks apart, else the month.

    Returns
    -------
    DataFrame
        The panel with these columns at its end, also named in ``attrs["available"]``.

    Raises
    ------
    DataError
        If time is not datetime, or a column is there already.
    ValueError
        If `features` holds anything else, or is needed because the spacing cannot be told; if
        ``"session_hours"`` are wanted of a panel without a calendar.

    Notes
    -----
    Nothing but the calendar enters: the session is not counted from the rows, and holidays are
    not known, but for ``"session_hours"``. Name the features where the frame of the coming times
    is so short that its spacing, and with it the default, may differ from the panel's.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.DataFrame(index=pd.date_range("2024-05-30", periods=3, name="day"))
    >>> calendar_features(days, ["weekday", "month_end"]).round(2)
                weekday_sin  weekday_cos  month_end
    day
    2024-05-30         0.43        -0.90        0.0
    2024-05-31        -0.43        -0.90        1.0
    2024-06-01        -0.97        -0.22        0.0
    """
    # as_panel wants a column
    bare = isinstance(panel, pd.DataFrame) and panel.shape[1] == 0
    panel = as_panel(panel.assign(any=0.0))[[]] if bare else as_panel(panel)
    layout = layout_of(panel)
    if not isinstance(layout.labels, pd.DatetimeIndex):
        raise fail(
            "time has no calendar",
            expected="datetimes",
            found=f"{layout.labels.dtype}",
            advice="Give the rows datetimes, if they are known; elapsed time and steps have "
            "neither hours nor weekdays.",
        )
    known = get_args(Feature)
    if features is None:
        features = _default_features(layout)
    elif isinstance(features, str) or not set(features) <= set(known):
        raise bad_parameter("features", expected=f"a list of some of {known}", found=features)
    columns: dict[str, Floats] = {}
    wall = layout.labels.tz_localize(None)
    for feature in dict.fromkeys(features):
        told = (
            {feature: _session_hours(layout)}
            if feature == "session_hours"
            else _feature(feature, wall)
        )
        columns |= {name: layout.per_row(x) for name, x in told.items()}
    if twice := [name for name in columns if name in panel]:
        raise fail(
            "columns are in the panel already",
            expected="new names",
            found=f"{twice}",
            advice="Drop or rename them, or choose others with features=[...].",
            column=twice[0],
        )
    return add_available(panel.assign(**columns), list(columns))


def _session_hours(layout: Layout) -> Floats:
    if layout.calendar is None:
        raise bad_parameter(
            "features",
            expected="none of 'session_hours' for a panel without a calendar",
            found=["session_hours"],
            advice="Name the exchange first, e.g. with_calendar(panel, 'XNYS').",
        )
    return session_hours(layout, layout.calendar)


def _default_features(layout: Layout) -> list[Feature]:
    gaps, _ = _spacings(layout)
    if len(gaps) == 0:
        raise bad_parameter(
            "features",
            expected="a list, because no series has two rows to tell the spacing from",
            found=None,
        )
    step = _as_span(gaps[0], layout.labels)
    if step >= pd.Timedelta(days=28):
        return ["month"]
    if step >= pd.Timedelta(days=7):
        return ["session"]
    daily: list[Feature] = ["weekday", "month_end", "session"]
    return daily if step >= _SHORTEST_DAY else ["hour", *daily]


def _feature(feature: Feature, wall: pd.DatetimeIndex) -> dict[str, Floats]:
    days = wall.to_numpy().astype("M8[D]")
    if feature == "month_end":
        following = days.astype("M8[M]") + np.timedelta64(1, "M")
        left = np.busday_count(days + 1, following.astype("M8[D]"))
        return {feature: (left <= 0).astype(np.float64)}
    turn: Any  # once around the circle
    if feature == "hour":
        turn = (wall - wall.normalize()) / _A_DAY
    elif feature == "weekday":
        turn = wall.day_of_week / 7
    elif feature == "month":
        turn = (wall.month - 1) / 12
    else:
        year = days.astype("M8[Y]")
        first_day, next_year = (y.astype("M8[D]") for y in (year, year + 1))
        turn = np.busday_count(first_day, days) / np.busday_count(first_day, next_year)
    angle = 2 * np.pi * np.asarray(turn, dtype=np.float64)
    return {f"{feature}_sin": np.sin(angle), f"{feature}_cos": np.cos(angle)}
