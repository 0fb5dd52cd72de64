"""Prices through splits and dividends: one back-adjustment, and a note of what was done.

``attrs["adjusted"]`` of a panel says what its prices are adjusted for: ``"splits"``,
``"dividends"``, ``"splits+dividends"``; ``"none"`` if they are raw; ``"close"`` if the close alone
is, beside raw opens, highs and lows; nothing if that is not known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_cutoffs,
    as_panel,
    forward_fill,
    layout_of,
    time_to_ints,
)

__all__ = ["PRICES", "RAW", "adjust", "events_by_row", "splits_in_prices"]

PRICES = ("open", "high", "low", "close")
RAW = "none"
_TELLING = 0.2  # log of a ratio that a day's return can be told from
_PLAIN = 0.4  # log of a day's return that hardly occurs, where the other reading is below _TELLING


def adjust(
    panel: pd.DataFrame,
    *,
    splits: pd.Series | pd.DataFrame | None = None,
    dividends: pd.Series | pd.DataFrame | None = None,
    as_of: Any = None,
) -> pd.DataFrame:
    """Adjust raw prices backwards for splits and dividends, so that returns go through them.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names, with ``close``; ``open``,
        ``high`` and ``low`` are adjusted with it, ``volume`` for splits; other columns stay.
    splits : Series or DataFrame of one column, optional
        Shares after for one share before (4.0; 0.1 for a reverse split), indexed as the panel is,
        by the first day on which the new shares trade. Zeros and NaN are no splits.
    dividends : Series or DataFrame of one column, optional
        Cash per share, in the unit of the prices, indexed likewise by the ex-date: per share of
        that day, after a split of the same day.
    as_of : time, optional
        Events after this time count as unknown. Default: all up to a series' last row.

    Returns
    -------
    DataFrame
        The panel with the prices before each event times 1 / ratio and 1 - dividend / last close
        (CRSP's factors), the last row as it is; ``attrs["adjusted"]`` says for what.

    Raises
    ------
    DataError
        If the panel is adjusted for the same already, by its `attrs` or because its close does not
        move at splits (see Notes); if there is no close; if events are given and none is of its
        series; if a ratio or a dividend is negative or infinite, or a dividend not below the last
        close.
    ValueError
        If neither splits nor dividends are given.

    Notes
    -----
    An event enters at its first row on or after its date; those before a series' first row or
    after its last one change nothing.

    Whether prices are raw is told from the splits of more than 1.22 for one (or less than 0.82), by
    the last close before each and the next one known. Where one of the two readings wants a log
    return of 0.4 or more, and the other one below 0.2, that settles it for this split. For the
    others all splits of the series speak together: prices count as adjusted if the moves are in sum
    no nearer to the ratios than to none. A large move on the day of a small split may mislead
    still: ``panel.attrs["adjusted"] = "none"`` says that prices are raw, and nothing is guessed.

    Returns of adjusted prices look at no later row: a factor is the same on both sides of a day.
    Their *levels* do look ahead, because a price of ten years ago is divided by the splits since:
    a low adjusted price says that the stock was split later, that is, that it rose. Use returns or
    ranges as inputs, not levels, or give `as_of`.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.bdate_range("2024-06-05", periods=4, name="date")
    >>> raw = pd.DataFrame({"close": [1200.0, 1210.0, 121.0, 122.0], "volume": 1.0}, index=days)
    >>> adjust(raw, splits=pd.Series({pd.Timestamp("2024-06-07"): 10.0}))
                close  volume
    date
    2024-06-05  120.0    10.0
    2024-06-06  121.0    10.0
    2024-06-07  121.0     1.0
    2024-06-10  122.0     1.0
    """
    panel = as_panel(panel)
    if splits is None and dividends is None:
        raise bad_parameter("splits", expected="splits, dividends or both", found=None)
    if "close" not in panel:
        raise _lost(["close"], panel)
    layout = layout_of(panel)
    asked = [n for n, given in (("splits", splits), ("dividends", dividends)) if given is not None]
    done = _done(panel, asked)
    if as_of is not None:
        as_of = int(time_to_ints(as_cutoffs(as_of, layout.labels))[0])
    known, _ = forward_fill(panel["close"].to_numpy(), layout)
    ratio = events_by_row("splits", splits, layout, as_of, product=True)
    cash = events_by_row("dividends", dividends, layout, as_of)
    before = np.concatenate([[np.nan], known[:-1]])
    before[layout.starts] = np.nan
    _, hidden = splits_in_prices(panel["close"].to_numpy(), ratio, layout)
    if len(hidden) and panel.attrs.get("adjusted") != RAW:
        raise fail(
            "prices are adjusted for these splits already",
            expected="a close that moves by the ratio at splits",
            found=f"{len(hidden)} splits at which it does not",
            advice="Leave these out; if that is all, set panel.attrs['adjusted'] = 'splits'. If "
            "the prices are raw, and moved so on the day, set panel.attrs['adjusted'] = 'none'.",
            column="close",
            rows=[str(label) for label in panel.index[hidden]],
        )
    rest = 1.0 - cash / (before / ratio)
    if (wrong := (cash > 0) & ~np.isnan(before) & ~(rest > 0)).any():
        raise fail(
            "dividends are not below the last close",
            expected="cash per share, in the unit of the prices",
            found=f"{int(wrong.sum())} as high as the price",
            advice="Look for a dividend in another currency, or one for shares before a split.",
            rows=[str(label) for label in panel.index[wrong][:5]],
        )
    rest = np.where((cash > 0) & ~np.isnan(before), rest, 1.0)
    shares = _after(ratio, layout)
    factor = _after(rest, layout) / shares
    result = panel.assign(**{name: panel[name] * factor for name in PRICES if name in panel})
    if "volume" in panel:
        result["volume"] = panel["volume"] * shares
    result.attrs = {**panel.attrs, "adjusted": done}
    return result


def events_by_row(
    name: str,
    events: pd.Series | pd.DataFrame | None,
    layout: Layout,
    as_of: int | None = None,
    *,
    product: bool = False,
) -> Floats:
    """Lay splits (their product) or dividends (their sum) on the rows at which they count, (N,).

    Raises
    ------
    DataError
        If they are not indexed as the panel is, are no numbers, negative or infinite, or concern
        none of its series.
    """
    found = np.full(layout.n_rows, 1.0 if product else 0.0)
    if events is None:
        return found
    if isinstance(events, pd.DataFrame) and events.shape[1] != 1:
        raise bad_parameter(name, expected="a Series, or a frame of one column", found=events)
    table = events.iloc[:, 0] if isinstance(events, pd.DataFrame) else events
    if not isinstance(table, pd.Series):
        raise bad_parameter(name, expected="a Series indexed as the panel", found=events)
    table = table[table.notna()]
    numbers = pd.to_numeric(table, errors="coerce").astype(np.float64)
    if (wrong := ~((numbers >= 0) & np.isfinite(numbers))).any():
        raise fail(
            f"{name} are not numbers above zero",
            expected="a ratio such as 4.0 for each" if product else "cash per share for each",
            found=first(table[wrong]),
            advice="Zeros and NaN count as none; a reverse split has a ratio below 1."
            if product
            else "Zeros and NaN count as none.",
            rows=[str(label) for label in table.index[wrong]],
        )
    table = numbers[numbers != 0]
    rows, values = _rows_of(name, table, layout, as_of)
    (np.multiply if product else np.add).at(found, rows, values)
    return found


def splits_in_prices(close: Floats, ratio: Floats, layout: Layout) -> tuple[Ints, Ints]:
    """Tell splits that the close shows raw from those it is adjusted for (see `adjust`).

    Parameters
    ----------
    close, ratio : ndarray, shape (N,)
        Closes, NaN where missing, and ratios of splits, 1 elsewhere.
    layout : Layout
        Of the panel.

    Returns
    -------
    raw, adjusted : ndarray of int64
        Rows of the splits. One that is small, or that no known close lies on both sides of, is
        neither.
    """
    rows = np.flatnonzero(ratio != 1)
    known = np.flatnonzero(close > 0)
    after = np.searchsorted(known, rows)
    codes = layout.codes()
    inside = (after > 0) & (after < len(known))
    rows, after = rows[inside], after[inside]
    same = (codes[known[after - 1]] == codes[rows]) & (codes[known[after]] == codes[rows])
    # splits between the same two closes are one jump
    spans, place = np.unique(after[same], return_inverse=True)
    rows = rows[same]
    jump = -np.bincount(place, np.log(ratio[rows]), minlength=len(spans))
    move = np.log(close[known[spans]] / close[known[spans - 1]])
    series = codes[known[spans]]
    telling = np.abs(jump) > _TELLING
    if_raw, if_adjusted = np.abs(move - jump), np.abs(move)
    nearer = np.bincount(series, np.where(telling, if_raw - if_adjusted, 0.0))[series]
    settled = (np.maximum(if_raw, if_adjusted) >= _PLAIN) & (
        np.minimum(if_raw, if_adjusted) < _TELLING
    )
    raw = np.where(settled, if_raw < if_adjusted, nearer < 0)
    return rows[(telling & raw)[place]], rows[(telling & ~raw)[place]]


def _rows_of(name: str, table: pd.Series, layout: Layout, as_of: int | None) -> tuple[Ints, Floats]:
    """First row at or after each event within its series; those outside its rows are left out."""
    if len(table) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    levels = 1 if layout.ids is None else 2
    if table.index.nlevels != levels:
        expected = "(series, time)" if levels == 2 else "time"
        raise fail(
            f"{name} do not fit the panel",
            expected=f"an index of {expected}, as the panel's",
            found=f"levels {list(table.index.names)}",
            advice="Index them like the panel.",
        )
    stamps = table.index.get_level_values(-1)
    try:
        when = time_to_ints(as_cutoffs(stamps, layout.labels))
    except ValueError:
        raise fail(
            f"{name} do not fit the panel",
            expected=f"times like the panel's, {layout.labels.dtype}",
            found=f"{stamps.dtype}",
            advice="Convert them, e.g. with pd.to_datetime and tz_localize.",
        ) from None
    series = np.zeros(len(table), dtype=np.int64)
    if layout.ids is not None:
        series = layout.ids.get_indexer(table.index.get_level_values(0)).astype(np.int64)
        if (series < 0).all():
            strange = table.index.get_level_values(0).unique()
            raise fail(
                f"{name} do not fit the panel",
                expected=f"some for its series, {first(map(repr, layout.ids))}",
                found=f"{first(map(repr, strange))}",
                advice="Check the names of the series.",
            )
    time = layout.when()
    rows, values = [], []
    for s in np.unique(series[series >= 0]):
        begin, end = layout.offsets[s : s + 2]
        own = series == s
        at = begin + np.searchsorted(time[begin:end], when[own])
        inside = (at > begin) & (at < end)  # before or on the first row there is nothing to adjust
        if as_of is not None:
            inside &= when[own] <= as_of
        rows.append(at[inside])
        values.append(table.to_numpy()[own][inside])
    return np.concatenate([*rows, np.empty(0, dtype=np.int64)]), np.concatenate(
        [*values, np.empty(0)]
    )


def _after(factor: Floats, layout: Layout) -> Floats:
    """Product of the factors of all later rows of the series, (N,)."""
    total = np.cumsum(np.log(factor))
    last = np.repeat(total[layout.stops - 1], np.diff(layout.offsets))
    found: Floats = np.exp(last - total)
    return found


def _done(panel: pd.DataFrame, asked: list[str]) -> str:
    """What the panel is adjusted for afterwards."""
    before = str(panel.attrs.get("adjusted", RAW))
    if before == "close" or set(asked) & set(before.split("+")):
        raise fail(
            "prices are adjusted already",
            expected="raw prices",
            found=f"panel.attrs['adjusted'] = {before!r}",
            advice="Start from raw prices; if the note is wrong, panel.attrs['adjusted'] = 'none'.",
        )
    return "+".join(n for n in ("splits", "dividends") if n in asked or n in before.split("+"))


def _lost(names: list[Any], panel: pd.DataFrame) -> ValueError:
    return fail(
        "prices not found",
        expected=f"columns {names}",
        found=f"{list(panel.columns)}",
        advice='Rename them, e.g. panel.rename(columns={"price": "close"}).',
    )
