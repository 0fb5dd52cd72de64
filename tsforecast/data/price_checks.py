"""A linter for price panels: every finding names series, row, column and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import fail
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    forward_fill,
    layout_of,
    previous_rows,
    time_from_ints,
)
from tsforecast.data.prices import PRICES, RAW, events_by_row, splits_in_prices
from tsforecast.data.sessions import dates_of, exchange_sessions

__all__ = ["check_prices"]

Bools = npt.NDArray[np.bool_]
Found = tuple[Ints, str, Any, Any, str]  # rows, problem, column, value, advice

_COLUMNS = ["series", "time", "problem", "column", "value", "advice"]
_CENT = 1e-6  # relative: prices may have been float32
_JUMP = np.log(1 / 0.7)  # -30 % or +43 %
_UNUSUAL = 15  # and so many times the series' median move
_BACK_WITHIN = 3  # rows that a wrong price may last
_BACK = 0.25  # of the jump may be left
_FORWARD = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50)
_REVERSE = tuple(1 / k for k in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100))
_NEAR = 0.05  # log distance from the ratio of a split, overnight
_STALE = 3  # rows with the same prices; of a close alone:
_STALE_CLOSE = 5
_MOST = 0.5  # share of a series' rows (or of the series) that makes a finding one of all
_SOME = 0.1
_COPIED = 0.2  # cheap stocks open at the last close on every tenth day
_ENOUGH = 20  # rows (or series) to speak of shares
_SEVERAL = 5  # series to speak of most of them, or of a market


def check_prices(
    panel: pd.DataFrame,
    *,
    splits: pd.Series | pd.DataFrame | None = None,
    calendar: str | None = None,
) -> pd.DataFrame:
    """Look for the usual dirt in prices.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names, with one or more of the
        columns ``open, high, low, close, adj_close, volume``; others are not looked at.
    splits : Series or DataFrame of one column, optional
        Known splits, as for `adjust`. Whether the close shows them raw is told as there; or by
        ``attrs["adjusted"]``, where ``"none"`` makes a finding of each and ``"splits"`` of none.
    calendar : str, optional
        Name of an exchange's calendar (see `with_calendar`). Default: the panel's own, if it has
        one; else weekends and what most of the series do tell sessions.

    Returns
    -------
    DataFrame
        Sorted by series and time, without rows where nothing is found; columns ``series`` (0 in a
        panel of one series), ``time``, ``problem``, ``column``, ``value`` and ``advice``. Count
        them with ``report["problem"].value_counts()``. ``attrs["adjusted"]`` is ``"close"`` if a
        close beside raw highs and lows was found. The problems, and what `value` is:

        - ``missing cell``, ``not positive`` (a price of zero or below, a negative volume: itself);
        - ``low above open``, ``low above close``, ``high below open``, ``high below close``,
          ``low above high``: the price that is wrong on the wrong side;
        - ``tick 10x``, ``half price``, ``double price``, ``spike``: 30 % or more away for three
          rows at most, and back; the factor (10, 100, 0.1, ... are all called ``tick 10x``);
        - ``split inside the window``: one of `splits` that the close shows raw; its ratio;
        - ``unadjusted split?``: a jump overnight by the ratio of a split that is not given; the
          factor;
        - ``large move``: a lasting jump of another size, beyond that of the market; the factor;
        - ``stale quote``: the same prices in three rows or more (five, of a close alone): how many;
          or no range and no volume: 1;
        - ``zero volume``: 0, or the share of rows if they are half of a series or more;
        - ``open copied from the last close``: in a fifth of the rows or more; the share;
        - ``adj_close repeats close``: 1;
        - ``close outside low to high by a constant ratio``: the median ratio to the middle;
        - ``non-session``, ``missing session``: rows of daily prices on days without trading, and
          days without a row; NaN, and for runs of missing sessions how many.

    Raises
    ------
    DataError
        If there is no column of these names, or time does not fit the calendar.

    Notes
    -----
    A finding is a question. Stocks do fall by half on a day; a spin-off does it to the price alone.
    Rows to the end of the panel decide what comes back, so do not use findings as features.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.bdate_range("2024-01-01", periods=6, name="day")
    >>> prices = pd.DataFrame({"close": [10.0, 10.1, 101.0, 10.2, 0.0, 10.1]}, index=days)
    >>> check_prices(prices)[["time", "problem", "column", "value"]]
            time       problem column    value
    0 2024-01-03      tick 10x  close  9.95086
    1 2024-01-05  not positive  close  0.00000
    """
    panel = as_panel(panel)
    prices = _Prices.of(panel)
    calendar = prices.layout.calendar if calendar is None else calendar
    found = [
        *_cells(prices),
        *_bars(prices),
        *_jumps(prices, splits, str(panel.attrs.get("adjusted", ""))),
        *_stale(prices),
        *_copies(prices),
    ]
    tables = [_table(prices.layout, *each) for each in found if len(each[0])]
    tables += _sessions(prices.layout, calendar)
    report = pd.concat(tables) if tables else pd.DataFrame(columns=[*_COLUMNS, "order"])
    report = report.sort_values(["order", "time", "problem"], kind="stable", ignore_index=True)
    report = report[_COLUMNS]
    adjusted = report["problem"].eq("close outside low to high by a constant ratio").any()
    report.attrs = {"adjusted": "close"} if adjusted else {}
    return report


@dataclass(frozen=True, eq=False)
class _Prices:
    """Columns of a price panel as arrays, (N,) each."""

    layout: Layout
    prices: dict[str, Floats]
    volume: Floats | None

    @classmethod
    def of(cls, panel: pd.DataFrame) -> _Prices:
        names = [name for name in (*PRICES, "adj_close") if name in panel]
        if not names:
            lower = [name for name in panel if str(name).lower() in PRICES]
            raise fail(
                "prices not found",
                expected=f"some of the columns {[*PRICES, 'adj_close']}",
                found=f"{list(panel.columns)}",
                advice="Write them small: panel.rename(columns=str.lower)."
                if lower
                else 'Rename them, e.g. panel.rename(columns={"price": "close"}).',
            )
        volume = panel["volume"].to_numpy() if "volume" in panel else None
        return cls(layout_of(panel), {name: panel[name].to_numpy() for name in names}, volume)

    @cached_property
    def codes(self) -> Ints:
        return self.layout.codes()

    @cached_property
    def before(self) -> Ints:
        return previous_rows(self.layout)

    @cached_property
    def inner(self) -> Bools:
        """Rows that have one before them in their series."""
        found: Bools = self.before != np.arange(self.layout.n_rows)
        return found

    def log(self, name: str) -> Floats:
        """Logs of a price, the last known positive one carried forward."""
        values = self.prices[name]
        known = np.log(np.where(values > 0, values, np.nan))
        return forward_fill(known, self.layout)[0]

    @property
    def main(self) -> str:
        return "close" if "close" in self.prices else next(iter(self.prices))

    def share(self, which: Bools, of: Bools | None = None) -> Floats:
        """Share of each series' rows, (S,)."""
        size = self.layout.n_series
        total = np.bincount(self.codes if of is None else self.codes[of], minlength=size)
        found: Floats = np.bincount(self.codes[which], minlength=size) / np.maximum(total, 1)
        return found


def _cells(x: _Prices) -> Iterator[Found]:
    for name, values in x.prices.items():
        lost = np.flatnonzero(np.isnan(values))
        yield lost, "missing cell", name, np.nan, "Leave the row out, or mask it; do not fill it."
        low = np.flatnonzero(values <= 0)
        advice = "No return can be taken of it: set it to NaN, or correct it from another source."
        yield low, "not positive", name, values[low], advice
    if x.volume is None:
        return
    lost = np.flatnonzero(np.isnan(x.volume))
    yield lost, "missing cell", "volume", np.nan, "Leave the row out, or mask it; do not fill it."
    low = np.flatnonzero(x.volume < 0)
    yield low, "not positive", "volume", x.volume[low], "Set it to NaN."
    zero = x.volume == 0
    most = x.share(zero) >= _MOST
    rows = np.flatnonzero(zero & ~most[x.codes])
    advice = "Nothing was traded, or the row is no session: its price is that of an earlier one."
    yield rows, "zero volume", "volume", 0.0, advice
    whole = np.flatnonzero(most)
    advice = "This column does not tell volume; leave it out."
    yield x.layout.starts[whole], "zero volume", "volume", x.share(zero)[whole], advice


def _bars(x: _Prices) -> Iterator[Found]:
    """Order of the prices within a row."""
    high, low = (x.prices.get(name) for name in ("high", "low"))
    apart = np.zeros(x.layout.n_series, dtype=bool)
    if high is not None and low is not None and "close" in x.prices:
        ratio = _constant_ratio(x)
        apart = ~np.isnan(ratio)
        which = np.flatnonzero(apart)
        advice = (
            "An adjusted close beside raw highs and lows: range estimators (Garman-Klass) are "
            "wrong. Scale open, high and low by adjusted / raw close, or note it with "
            "panel.attrs['adjusted'] = 'close'."
        )
        name = "close outside low to high by a constant ratio"
        yield x.layout.starts[which], name, "close", ratio[which], advice
    advice = "One of the prices of this row is wrong: set the row's prices to NaN, or correct it."
    pairs: list[tuple[str, Floats, str]] = [
        (side, extreme, name)
        for side, extreme in (("low above", low), ("high below", high))
        for name in ("open", "close")
        if name in x.prices and extreme is not None
    ]
    if high is not None and low is not None:
        pairs.append(("low above", low, "high"))
    for side, extreme, name in pairs:
        other = x.prices[name]
        sign = 1.0 if side == "low above" else -1.0
        wrong = sign * (extreme - other) > _CENT * np.abs(other)
        if name == "close":
            wrong &= ~apart[x.codes]
        rows = np.flatnonzero(wrong)
        yield rows, f"{side} {name}", name, other[rows], advice


def _constant_ratio(x: _Prices) -> Floats:
    """Ratio of the close to the middle of the range where it is off it for long, (S,), else NaN."""
    high, low, close = (x.prices[name] for name in ("high", "low", "close"))
    found = np.full(x.layout.n_series, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(close < low, close / low, np.where(close > high, close / high, 1.0)) - 1.0
    off = np.where(np.abs(off) > _CENT, off, 0.0)
    for s in np.flatnonzero(x.share(off != 0) >= _SOME):
        own = slice(*x.layout.offsets[s : s + 2])
        out = off[own] != 0
        middle = np.log(close[own] / np.sqrt(high[own] * low[own]))
        pairs = out[1:] & out[:-1]
        if out.sum() < 5 or not pairs.any():
            continue
        one_side = np.abs(np.sign(off[own][out]).sum()) >= 0.9 * out.sum()
        width = np.median(np.log(high[own][out] / low[own][out]))
        if one_side and np.median(np.abs(np.diff(middle)[pairs])) <= width:
            found[s] = float(np.exp(np.median(middle[out])))
    return found


def _jumps(x: _Prices, splits: pd.Series | pd.DataFrame | None, adjusted: str) -> Iterator[Found]:
    """Spikes that come back in any price, and jumps of the close that last."""
    lasting = np.empty(0, dtype=np.int64)
    log = {name: x.log(name) for name in x.prices}
    for name in x.prices:
        rows = _unusual(x, log[name])
        spikes, factors, stay = _come_back(x, log[name], rows)
        for problem, which in _spike_names(factors).items():
            advice = "Compare with another source; set it to NaN, or correct it."
            yield spikes[which], problem, name, factors[which], advice
        if name == x.main:
            lasting = stay
    moves = log[x.main]
    step = np.where(x.inner, moves - moves[x.before], 0.0)
    ratio = events_by_row("splits", splits, x.layout, product=True)
    if adjusted == RAW:
        raw = np.flatnonzero(ratio != 1)
    elif {"splits", "close"} & set(adjusted.split("+")):
        raw = lasting[:0]
    else:
        raw, _ = splits_in_prices(x.prices[x.main], ratio, x.layout)
    yield (
        raw,
        "split inside the window",
        x.main,
        ratio[raw],
        "Returns and ranges jump here: adjust(panel, splits=splits) first.",
    )
    lasting = lasting[~np.isin(lasting, _next_known(x, raw))]
    split = np.array([_is_split(x, log, step, int(row)) for row in lasting], dtype=np.bool_)
    yield (
        lasting[split],
        "unadjusted split?",
        x.main,
        np.exp(step[lasting[split]]),
        "If it was a split, or shares handed out, adjust(panel, splits=...).",
    )
    yield (
        lasting[~split],
        "large move",
        x.main,
        np.exp(step[lasting[~split]]),
        "News, or a spin-off? If shares of another firm were handed out, give their worth in "
        "adjust(panel, dividends=...).",
    )


def _next_known(x: _Prices, rows: Ints) -> Ints:
    """Rows at which a jump of these rows shows: the next ones with a price."""
    known = np.flatnonzero(x.prices[x.main] > 0)
    at = np.searchsorted(known, rows)
    rows, after = rows[at < len(known)], known[at[at < len(known)]]
    found: Ints = after[x.codes[after] == x.codes[rows]]
    return found


def _unusual(x: _Prices, log: Floats) -> Ints:
    """Rows where a price jumps, beyond the market and the series' own habit."""
    step = np.where(x.inner, log - log[x.before], np.nan)
    rows = np.flatnonzero(np.abs(step) >= _JUMP)
    if not len(rows):
        return rows
    when = x.layout.when()
    here = np.isin(when, when[rows])
    moves = pd.Series(step[here]).groupby(when[here])
    several = moves.count() >= _SEVERAL
    market = moves.median().where(several, 0.0)
    beyond = step[rows] - market.reindex(when[rows]).to_numpy()
    usual = {
        s: np.nanmedian(np.abs(step[slice(*x.layout.offsets[s : s + 2])]))
        for s in np.unique(x.codes[rows])
    }
    least = np.maximum(_JUMP, _UNUSUAL * np.array([usual[s] for s in x.codes[rows]]))
    found: Ints = rows[np.abs(beyond) >= least]
    return found


def _come_back(x: _Prices, log: Floats, rows: Ints) -> tuple[Ints, Floats, Ints]:
    """Tell jumps that come back (their rows and factors) from those that stay."""
    spikes: dict[int, float] = {}
    ends: set[int] = set()
    stay = []
    for row in rows:
        if row in ends or row in spikes:
            continue
        base, size = log[row - 1], log[row] - log[row - 1]
        stop = min(row + 1 + _BACK_WITHIN, int(x.layout.stops[x.codes[row]]))
        back = np.flatnonzero(np.abs(log[row + 1 : stop] - base) <= _BACK * abs(size))
        if not len(back):
            stay.append(row)
            continue
        end = row + 1 + int(back[0])
        ends.add(end)
        middle = (base + log[end]) / 2
        spikes |= {at: float(np.exp(log[at] - middle)) for at in range(row, end)}
    at = np.array(list(spikes), dtype=np.int64)
    return at, np.array(list(spikes.values())), np.array(stay, dtype=np.int64)


def _spike_names(factors: Floats) -> dict[str, Bools]:
    size = np.log(np.maximum(factors, 1e-300))
    tens = size / np.log(10)
    tick = (np.abs(tens - np.rint(tens)) <= 0.06) & (np.rint(tens) != 0)
    half = np.abs(size + np.log(2)) <= 0.06
    double = np.abs(size - np.log(2)) <= 0.06
    return {
        "tick 10x": tick,
        "half price": half,
        "double price": double,
        "spike": ~(tick | half | double),
    }


def _is_split(x: _Prices, log: dict[str, Floats], step: Floats, row: int) -> bool:
    """Whether the close, and the open already, stand at a split's ratio of the last close."""
    moves = [step[row]]
    if "open" in log and x.main == "close" and not np.isnan(x.prices["open"][row]):
        moves.append(log["open"][row] - log["close"][row - 1])
    sizes = -np.log(np.array(_FORWARD + _REVERSE))
    near = np.abs(np.array(moves)[:, None] - sizes) <= _NEAR
    return bool(near.all(axis=0).any())


def _stale(x: _Prices) -> Iterator[Found]:
    names = [name for name in PRICES if name in x.prices] or list(x.prices)
    same = x.inner.copy()
    for name in names:
        same &= x.prices[name] == x.prices[name][x.before]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    first, stop = edges[::2], edges[1::2]
    lengths = stop - first + 1  # with the row that is repeated
    long = lengths >= (_STALE if len(names) > 1 else _STALE_CLOSE)
    advice = "A price carried forward is no trade: set the repeats to NaN, or drop the rows."
    yield first[long], "stale quote", None, lengths[long].astype(np.float64), advice
    if x.volume is None or not {"high", "low"} <= set(names):
        return
    still = (x.prices["high"] == x.prices["low"]) & (x.volume == 0) & ~same
    yield np.flatnonzero(still), "stale quote", None, 1.0, advice


def _copies(x: _Prices) -> Iterator[Found]:
    """Columns filled in from others."""
    prices = x.prices
    lengths = np.diff(x.layout.offsets)
    if {"open", "close"} <= set(prices):
        copied = x.inner & (prices["open"] == prices["close"][x.before])
        share = x.share(copied, x.inner)
        for s in np.flatnonzero((share >= _COPIED) & (lengths >= _ENOUGH)):
            rows = x.layout.offsets[s] + np.flatnonzero(copied[slice(*x.layout.offsets[s : s + 2])])
            yield (
                rows[:1],
                "open copied from the last close",
                "open",
                share[s],
                f"{_when_copied(x, int(s), rows)} Overnight returns and ranges that use the open "
                "(Garman-Klass) mean two things in turn: take the close before as the open on "
                "every day, or use parkinson.",
            )
    if {"adj_close", "close"} <= set(prices):
        alike = x.share(prices["adj_close"] == prices["close"]) == 1
        which = np.flatnonzero(alike & (lengths >= 250))
        advice = "No dividend or split is in it: do not take it for a total return."
        yield x.layout.starts[which], "adj_close repeats close", "adj_close", 1.0, advice


def _when_copied(x: _Prices, s: int, rows: Ints) -> str:
    """Say how many rows of a series are copied, and when: by the year, and at its end."""
    begin, end = x.layout.offsets[s : s + 2]
    text = f"{len(rows):,} of {end - begin - 1:,} rows, the last {_day(x.layout, rows[-1])}"
    if not isinstance(x.layout.labels, pd.DatetimeIndex):
        return f"{text}."
    own = slice(int(begin) + 1, int(end))
    time = pd.DatetimeIndex(time_from_ints(x.layout.when(own), x.layout.labels))
    copied = pd.Series(np.isin(np.arange(own.start, own.stop), rows), index=time)
    share = copied.groupby(time.year).mean()
    most = share.index[share > _MOST]
    if len(most):
        text += f"; years above one half: {len(most)}, from {most[0]} to {most[-1]}"
    recent = copied[time > time[-1] - pd.DateOffset(years=2)].mean()
    return f"{text}; {recent:.0%} of the last two years."


def _sessions(layout: Layout, calendar: str | None) -> list[pd.DataFrame]:
    """Days that should not be there, and days that should."""
    labels = layout.labels
    if calendar is None:
        daily = isinstance(labels, pd.DatetimeIndex) and bool((labels == labels.normalize()).all())
        if not daily or layout.n_rows < 2:
            return []
        dates = pd.DatetimeIndex(labels).tz_localize(None)
    else:
        dates = dates_of(layout, calendar)
    when = dates.to_numpy().astype("M8[D]").astype(np.int64)
    days, place = np.unique(layout.per_row(when), return_inverse=True)
    there = np.zeros((layout.n_series, len(days)), dtype=bool)
    there[layout.codes(), place] = True
    alive = np.zeros_like(there)
    for s in range(layout.n_series):
        alive[s, place[layout.offsets[s]] : place[layout.offsets[s + 1] - 1] + 1] = True
    known = _known_sessions(days, calendar)
    trades = _trading(there, alive, days) if known is None else np.isin(days, known)
    found = []
    strange = np.flatnonzero(~trades[place])
    if len(strange):
        advice = "Drop the row: a price carried over a day without trading is a return of zero."
        found.append(_table(layout, strange, "non-session", None, np.nan, advice))
    if known is None:  # what most series have, all should
        share = there.sum(axis=0) / np.maximum(alive.sum(axis=0), 1)
        known = days[trades & (alive.sum(axis=0) >= _SEVERAL) & (share >= _MOST)]
    return found + _absent(layout, there, days, known)


def _known_sessions(days: Ints, calendar: str | None) -> Ints | None:
    """Sessions of a calendar from the first to the last of these days, as days since 1970."""
    if calendar is None:
        return None
    begin, end = (pd.Timestamp(days[i], unit="D") for i in (0, -1))
    found = exchange_sessions(calendar, begin, end).index.to_numpy()
    return np.asarray(found.astype("M8[D]").astype(np.int64))


def _trading(there: Bools, alive: Bools, days: Ints) -> Bools:
    """Which of the days are sessions, as weekends and most of the series tell."""
    share = there.sum(axis=0) / np.maximum(alive.sum(axis=0), 1)
    several = alive.sum(axis=0) >= _ENOUGH
    weekend = (days + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    trades = ~(several & (share < _SOME))
    rows = there.sum(axis=0)
    if rows[weekend].sum() < _SOME * rows.sum():  # else it trades on weekends
        trades &= ~weekend
    found: Bools = trades
    return found


def _absent(layout: Layout, there: Bools, days: Ints, known: Ints) -> list[pd.DataFrame]:
    """One finding for each run of sessions that a series lacks."""
    at = np.searchsorted(days, known)
    seen = (at < len(days)) & (days[np.minimum(at, len(days) - 1)] == known)
    alike = np.minimum(at, len(days) - 1)
    spans = [np.flatnonzero(row)[[0, -1]] for row in there]
    rows: list[tuple[int, int, int]] = []
    for s, (begin, end) in enumerate(spans):
        within = (known > days[begin]) & (known < days[end])
        lack = within & ~(seen & there[s, alike])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], lack, [False]]).astype(np.int8)))
        rows += [(s, known[i], j - i) for i, j in zip(edges[::2], edges[1::2])]
    if not rows:
        return []
    names = layout.names()
    zone = getattr(layout.labels, "tz", None)
    time = pd.DatetimeIndex(np.array([day for _, day, _ in rows], dtype="M8[D]")).tz_localize(zone)
    return [
        pd.DataFrame(
            {
                "series": pd.Series([names[s] for s, _, _ in rows], dtype=object),
                "time": time,
                "problem": "missing session",
                "column": None,
                "value": [float(n) for _, _, n in rows],
                "advice": "The next row's return covers several sessions. Do not fill it.",
                "order": [s for s, _, _ in rows],
            }
        )
    ]


def _table(
    layout: Layout, rows: Ints, problem: str, column: Any, value: Any, advice: str
) -> pd.DataFrame:
    order = np.searchsorted(layout.offsets, rows, side="right") - 1
    names = np.asarray(layout.names(), dtype=object)
    labels = layout.labels
    return pd.DataFrame(
        {
            "series": names[order],
            "time": labels.take(rows if layout.at is None else layout.at[rows]),
            "problem": problem,
            "column": column,
            "value": np.broadcast_to(np.asarray(value, dtype=np.float64), rows.shape),
            "advice": advice,
            "order": order,
        }
    )


def _day(layout: Layout, row: int) -> str:
    stamp = layout.time_at(row)
    return str(stamp.date()) if isinstance(stamp, pd.Timestamp) else str(stamp)
