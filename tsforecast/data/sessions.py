"""Sessions of an exchange: which days it trades, how long, and which one comes next.

The days come from the package exchange-calendars, which is imported when a calendar is asked for
and not before. A panel carries no more than the calendar's name, in ``attrs["calendar"]``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, callers_level, fail, first, positive_int
from tsforecast.data.panel import Floats, Ints, Layout, as_panel, layout_of

__all__ = ["ExchangeSessions", "exchange_sessions", "session_numbers", "with_calendar"]

# Before 1970 the package's rules are wrong (they have New York trade on 22 February and on election
# days, and never on Saturdays); from then on they hold, for as long as nobody changes them.
_FROM, _UNTIL = pd.Timestamp("1970-01-01"), pd.Timestamp("2049-12-31")


@dataclass(frozen=True)
class ExchangeSessions:
    """From one session of an exchange to the next: an offset that knows its holidays.

    Attributes
    ----------
    name : str
        Of the calendar, such as ``"XNYS"``.
    """

    name: str

    def __radd__(self, stamp: pd.Timestamp) -> pd.Timestamp:
        """Give the first session after a date without a zone."""
        days = _calendar(self.name).index
        at = int(days.searchsorted(stamp, side="right"))
        if stamp < days[0] or at == len(days):
            raise _beyond(self.name, stamp)
        following: pd.Timestamp = days[at]
        return following


def with_calendar(panel: pd.DataFrame, calendar: str) -> pd.DataFrame:
    """Say of whose sessions the rows of a daily panel are: forecasts then name the next ones.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names, whose time is dates; a
        frame of dates without any column will do. Dates have no zone, or one whose clocks show the
        exchange's time.
    calendar : str
        Name of a calendar of the package exchange-calendars: ``"XNYS"`` (New York), ``"XLON"``,
        ``"XTKS"``, ... All series of a panel have the same one.

    Returns
    -------
    DataFrame
        The panel, with the name in ``attrs["calendar"]``. It stays there through `as_panel`,
        slices and estimators; a fitted model remembers it. ``attrs.pop("calendar")`` ends it. What
        pandas builds anew from columns, as by ``pd.DataFrame({"close": panel["close"]})``, has no
        attrs: call this last.

    Raises
    ------
    DataError
        If a row is no session (a weekend, a holiday), if time is not dates, or is in the zone of
        another place.
    ValueError
        If there is no such calendar.
    ImportError
        If exchange-calendars is not installed.

    Warns
    -----
    UserWarning
        If a series has no row in some sessions between its first and its last: they are named.
        No row is made up: a horizon counts the rows there are.

    Notes
    -----
    Half days are sessions like others; `calendar_features` gives their hours. What was closed at
    short notice is known for the past alone. Calendars begin in 1970, before which the package's
    rules miss holidays, or later where it has none (Tokyo: 1997).

    Examples
    --------
    >>> import pandas as pd
    >>> import tsforecast as tsf
    >>> days = pd.DatetimeIndex(["2024-11-25", "2024-11-26", "2024-11-27"], name="date")
    >>> panel = tsf.with_calendar(pd.DataFrame({"close": [1.0, 2.0, 3.0]}, index=days), "XNYS")
    >>> tsf.Naive(target="close", horizon=2).fit(panel).predict().index.strftime("%a %d").tolist()
    ['Fri 29', 'Mon 02']
    """
    # as_panel wants a column
    bare = isinstance(panel, pd.DataFrame) and panel.shape[1] == 0
    panel = as_panel(panel.assign(any=0.0))[[]] if bare else as_panel(panel)
    layout = layout_of(panel)
    name = str(_calendar(calendar).attrs["calendar"])
    numbers = layout.per_row(session_numbers(layout, name))
    steps = np.diff(numbers)
    steps[layout.starts[1:] - 1] = 1
    if (gaps := np.flatnonzero(steps > 1)).size:
        days = _calendar(name).index
        absent = np.unique(
            np.concatenate([np.arange(numbers[i] + 1, numbers[i + 1]) for i in gaps])
        )
        n_series = len(np.unique(np.searchsorted(layout.offsets, gaps, side="right")))
        warnings.warn(
            f"{int((steps - 1)[gaps].sum())} sessions of {name} have no row, in {n_series} of "
            f"{layout.n_series} series: {first(days[i].date() for i in absent)}. They are not "
            "filled: a horizon counts rows. check_prices lists them.",
            stacklevel=callers_level(),
        )
    panel.attrs["calendar"] = name
    return panel


def exchange_sessions(
    calendar: str, start: Any, end: Any = None, *, periods: int | None = None
) -> pd.DataFrame:
    """List the sessions of an exchange with their opening, close and length.

    Parameters
    ----------
    calendar : str
        Name of a calendar of the package exchange-calendars, such as ``"XNYS"``.
    start, end : date
        The first and the last day, both included.
    periods : int, optional
        So many sessions from `start` on, in place of `end`.

    Returns
    -------
    DataFrame
        Indexed by ``date`` (without a zone): ``open`` and ``close``, times in the exchange's zone,
        for `align_asof` where markets close at different hours; ``hours`` of trading, lunch breaks
        left out; ``half_day``, whether it closes early.

    Raises
    ------
    ValueError
        If there is no such calendar, or not just one of `end` and `periods`; if `end` is before
        `start`.
    DataError
        If the days lie beyond the calendar's first or last one.
    ImportError
        If exchange-calendars is not installed.

    Examples
    --------
    >>> exchange_sessions("XNYS", "2024-11-27", periods=2)[["hours", "half_day"]]
                hours  half_day
    date
    2024-11-27    6.5     False
    2024-11-29    3.5      True
    """
    table = _calendar(calendar)
    begin = _date("start", start)
    if (end is None) == (periods is None):
        raise bad_parameter("periods", expected="either this or end=", found=periods)
    stop = begin if end is None else _date("end", end)
    if stop < begin:
        raise bad_parameter("end", expected=f"a day from start={str(start)!r} on", found=end)
    for day in (begin, stop):
        if not table.index[0] <= day <= table.index[-1]:
            raise _beyond(table.attrs["calendar"], day)
    if periods is None:
        return table.loc[begin:stop].copy()
    found = table.loc[begin:].head(positive_int("periods", periods))
    if len(found) < periods:
        raise _beyond(table.attrs["calendar"], "so many sessions")
    return found.copy()


def session_hours(layout: Layout, name: str) -> Floats:
    """Hours of trading of every label of a layout."""
    hours = _calendar(name)["hours"].to_numpy()
    found: Floats = hours[session_numbers(layout, name)]
    return found


def session_numbers(layout: Layout, name: str) -> Ints:
    """Position of every label of a layout among the sessions of a calendar.

    Raises
    ------
    DataError
        If one is none of them; the message names rows.
    """
    days = _calendar(name).index
    dates = dates_of(layout, name)
    numbers: Ints = days.get_indexer(dates).astype(np.int64)
    used = np.zeros(len(numbers), dtype=bool)
    used[slice(None) if layout.at is None else np.unique(layout.at)] = True
    if (strange := used & (numbers < 0)).any():
        if outside := [d for d in dates[strange] if not days[0] <= d <= days[-1]]:
            raise _beyond(name, outside[0])
        raise fail(
            "rows are not sessions",
            expected=f"dates on which {name} trades",
            found=f"{int(strange.sum())} others",
            advice="Drop these rows, or choose the calendar of the exchange that the prices come "
            "from; a panel of several exchanges is one panel for each.",
            rows=[day.strftime("%a %Y-%m-%d") for day in dates[strange]],
        )
    return numbers


def dates_of(layout: Layout, name: str) -> pd.DatetimeIndex:
    """Labels of a daily layout as dates without a zone.

    Raises
    ------
    DataError
        If they are no dates, or in the zone of another place than the exchange.
    """
    labels = layout.labels
    zone = _calendar(name).attrs["zone"]
    if not isinstance(labels, pd.DatetimeIndex):
        raise fail(
            "time has no calendar",
            expected=f"dates, for the sessions of {name}",
            found=f"{labels.dtype}",
            advice="Give the rows dates, or leave the calendar out.",
        )
    there = labels if labels.tz is None else labels.tz_convert(zone)
    if (labels.tz_localize(None) != there.tz_localize(None)).any():  # zones have several names
        raise fail(
            "time zones differ",
            expected=f"dates without a zone, or in that of {name}, {zone}",
            found=f"{labels.tz}",
            advice="If the stamps are dates, take the zone off with tz_localize(None); if they are "
            f"moments, tz_convert({str(zone)!r}) and normalize().",
        )
    dates = labels.tz_localize(None)
    if len(clock := dates[dates != dates.normalize()]):
        raise fail(
            "rows are not days",
            expected=f"a date for each session of {name}",
            found="times of day",
            advice="Calendars are for daily rows: index.normalize() makes dates of the time of "
            "the close; rows within the day do without a calendar.",
            rows=[str(stamp) for stamp in clock[:5]],
        )
    return dates


def _date(name: str, value: Any) -> pd.Timestamp:
    try:
        stamp = pd.Timestamp(value)
        if pd.isna(stamp) or stamp.tz is not None:
            raise ValueError
    except (TypeError, ValueError):
        raise bad_parameter(name, expected="a date without a zone", found=value) from None
    return stamp.normalize()


def _beyond(name: str, what: Any) -> ValueError:
    days = _calendar(name).index
    early = isinstance(what, pd.Timestamp) and what < days[0]
    return fail(
        "the calendar does not reach that far",
        expected=f"days of {name}, {days[0].date()} to {days[-1].date()}",
        found=str(what.date() if isinstance(what, pd.Timestamp) else what),
        advice="Earlier holidays are not known well enough: take later rows, or do without."
        if early
        else "A newer exchange-calendars may know more: pip install -U exchange-calendars.",
    )


def _calendar(name: str) -> pd.DataFrame:
    """All sessions of an exchange, as `exchange_sessions` gives them; name and zone in attrs."""
    if not isinstance(name, str):
        raise bad_parameter("calendar", expected="one name, such as 'XNYS'", found=name)
    return _made(name)


@lru_cache(maxsize=16)
def _made(name: str) -> pd.DataFrame:
    """Make the table of `_calendar`, once."""
    try:
        import exchange_calendars
    except ImportError as error:
        raise ImportError(
            f"the calendar {name!r} comes from the package exchange-calendars, which could not be "
            f'imported ({error}). Install it with: pip install "tsforecast[finance]"; or do '
            'without: panel.attrs.pop("calendar").'
        ) from error
    names = exchange_calendars.get_calendar_names()
    if name not in names:
        raise bad_parameter(
            "calendar",
            expected="a name of exchange_calendars.get_calendar_names(), such as 'XNYS', 'XLON'",
            found=name,
        )
    try:
        with warnings.catch_warnings():
            # it uses what pandas 3.1 announces to change; times are read from its table alone
            warnings.simplefilter("ignore")
            whole = _widest(exchange_calendars, name)
            schedule, early = whole.schedule, whole.early_closes
    except Exception as error:  # those of a few places do not go with pandas 3.1
        raise bad_parameter(
            "calendar",
            expected="one that exchange-calendars can make with this pandas",
            found=name,
            advice=f"It fails with {type(error).__name__}: {str(error)[:80]}",
        ) from error
    length = schedule["close"] - schedule["open"]
    pause = (schedule["break_end"] - schedule["break_start"]).fillna(pd.Timedelta(0))
    table = pd.DataFrame(
        {
            "open": schedule["open"].dt.tz_convert(whole.tz),
            "close": schedule["close"].dt.tz_convert(whole.tz),
            "hours": (length - pause) / pd.Timedelta(hours=1),
            "half_day": schedule.index.isin(early),
        }
    )
    table.index = pd.DatetimeIndex(schedule.index.to_numpy(), name="date").as_unit("s")
    table.attrs = {"calendar": whole.name, "zone": whole.tz}
    return table


def _widest(exchange_calendars: Any, name: str) -> Any:
    """Make a calendar as wide as its rules go."""
    try:
        return exchange_calendars.get_calendar(name, start=_FROM, end=_UNTIL)
    except ValueError:  # it has bounds of its own
        short = exchange_calendars.get_calendar(name)
        begin = max(_FROM, short.bound_min() or _FROM)
        end = min(_UNTIL, short.bound_max() or _UNTIL)
        return exchange_calendars.get_calendar(name, start=begin, end=end)
