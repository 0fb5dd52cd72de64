"""Trades and what they earn: from target weights at decisions to one row a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, fail, first
from tsforecast.data.panel import Floats, Ints, layout_of, time_from_ints

__all__ = [
    "Fill",
    "Ledger",
    "Market",
    "Missing",
    "execute",
    "filled_down",
    "market_of",
    "side_by_side",
]

Fill = Literal["open", "close"]
Missing = Literal["raise", "hold"]
Cells = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Market:
    """Prices side by side: T sessions, the times of all series together, and S series.

    Attributes
    ----------
    times : Index
        T of them.
    names : Index
        S of them; 0 for a series without a name.
    column : str
        Where the closes come from, for the errors.
    close, opens : ndarray, shape (T, S)
        NaN where there is no price; `opens` is None where nothing is filled there.
    """

    times: pd.Index
    names: pd.Index
    column: Any
    close: Floats
    opens: Floats | None

    def returns(self) -> Floats:
        """From the last known close to this one, (T, S); NaN where there is none."""
        known = filled_down(self.close)
        before = np.concatenate([np.full((1, len(self.names)), np.nan), known[:-1]])
        found: Floats = self.close / before - 1
        return found


def market_of(panel: pd.DataFrame, price: Any, fill: Fill) -> Market:
    """Lay the prices of a panel side by side, and refuse those that are none.

    Raises
    ------
    DataError
        If a column is not there, or a price is not above zero.
    """
    layout = layout_of(panel)
    for column in (price, *(["open"] if fill == "open" else [])):
        if column not in panel or panel[column].dtype != np.float64:
            raise fail(
                "prices not found",
                expected=f"a column {column!r} of numbers",
                found=f"{list(panel.columns)}",
                advice="Name the column of closes in price=; fill='open' needs a column 'open' "
                "beside it (else fill='close').",
            )
        if (wrong := panel[column].to_numpy() <= 0).any():
            row = int(np.argmax(wrong))
            raise fail(
                "prices are not above zero",
                expected="prices above zero, NaN where there is none",
                found=f"{int(wrong.sum())} that are zero or below",
                advice="Set them to NaN, or look at tsf.check_prices. Returns need levels, not "
                "changes.",
                column=column,
                series=None if layout.ids is None else layout.ids[layout.codes()[row]],
                rows=list(layout.time[wrong]),
            )
    return Market(
        time_from_ints(layout.stamps(), layout.labels),
        pd.Index([0], name="series") if layout.ids is None else layout.ids,
        price,
        side_by_side(panel, panel[price].to_numpy()),
        side_by_side(panel, panel["open"].to_numpy()) if fill == "open" else None,
    )


def side_by_side(panel: pd.DataFrame, values: npt.NDArray[Any]) -> Floats:
    """Lay values of the rows of a panel (N,) out as sessions x series, NaN elsewhere, (T, S)."""
    layout = layout_of(panel)
    stamps = layout.stamps()
    wide = np.full((len(stamps), layout.n_series), np.nan)
    wide[np.searchsorted(stamps, layout.when()), layout.codes()] = values
    return wide


@dataclass(frozen=True)
class Ledger:
    """What was held, traded and earned in R rows, one a session.

    Attributes
    ----------
    rows : ndarray of int64, shape (R,)
        The sessions at whose close the rows end.
    weights, returns, contributions, trades : ndarray, shape (R, S)
        Weights behind the row's trades; returns of the assets, NaN where there is none; what each
        asset added to the gross return, and what was bought (sold, where negative), as shares of
        the equity at the beginning of the row.
    outcomes : ndarray, shape (D, S)
        Return from the fill of each decision to the same point of the next session.
    notes : tuple of str
    """

    rows: Ints
    weights: Floats
    returns: Floats
    contributions: Floats
    trades: Floats
    outcomes: Floats
    notes: tuple[str, ...]


def execute(
    market: Market,
    decided: Ints,
    targets: Floats,
    *,
    lag: int,
    fill: Fill,
    missing: Missing,
    delisting: Floats,
) -> Ledger:
    """Trade target weights, and let them drift with prices between the trades.

    Parameters
    ----------
    market : Market
        T sessions, S series.
    decided : ndarray of int64, shape (D,)
        Session of each decision, rising.
    targets : ndarray, shape (D, S)
        Weights wanted at each.
    lag : int
        Sessions from the decision to the fill.
    fill : {"open", "close"}
        Where in that session.
    missing : {"raise", "hold"}
        What happens where a price is lacking.
    delisting : ndarray, shape (S,)
        Return on leaving; NaN where none is given.
    """
    begin, n_sessions = int(decided[0]), len(market.times)
    # a fill at the close is the beginning of the row of the next session
    order_row = decided + lag + (fill == "close")
    traded = np.flatnonzero(order_row < n_sessions)
    if not len(traded):
        raise fail(
            "nothing can be traded",
            expected="sessions in the panel behind the first decision",
            found=f"the first decision at {market.times[begin]}, the last session "
            f"{market.times[-1]}",
            advice="Give the panel with the prices that came later.",
        )
    rows = np.arange(order_row[0], n_sessions)
    ends = _ends(market.close)
    before, after, tradable = _legs(market, fill, delisting, ends)
    decision_of = np.full(n_sessions, -1)
    decision_of[order_row[traded]] = traded

    shape = (len(rows), len(market.names))
    weights, contributions, trades = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    lapsed = np.zeros(shape, dtype=bool)
    held = np.zeros(shape[1])
    for i, row in enumerate(rows):
        early = held * before[row]
        grown = 1 + early.sum()
        if grown <= 0:
            raise _lost(1 - grown, market.times[row])
        drifted = (held + early) / grown
        decision = decision_of[row]
        if decision >= 0:
            wanted = targets[decision] - drifted
            trades[i] = np.where(tradable[row], wanted, 0.0)
            lapsed[i] = ~tradable[row] & (wanted != 0)
            drifted = drifted + trades[i]
            trades[i] *= grown
        late = drifted * after[row]
        growth = 1 + late.sum()
        if growth <= 0:
            raise _lost(1 - grown * growth, market.times[row])
        weights[i], contributions[i] = drifted, early + grown * late
        held = np.where(ends < row, 0.0, (drifted + late) / growth)
    notes = _lacking(market, rows, weights, lapsed, ends, delisting, missing)
    returns = (1 + before[rows]) * (1 + after[rows]) - 1
    started = np.logical_or.accumulate(~np.isnan(market.close))
    if fill == "close":  # else the first day may be earned from its open
        started = np.concatenate([np.zeros((1, shape[1]), dtype=bool), started[:-1]])
    returns = np.where(started[rows] & (rows[:, None] <= ends + 1), returns, np.nan)
    outcomes = np.full(targets.shape, np.nan)
    at = order_row[traded]
    following = np.concatenate([before[1:], np.full((1, shape[1]), np.nan)])
    if fill == "close":
        following = np.zeros_like(following)
    outcomes[traded] = np.where(tradable[at], (1 + after[at]) * (1 + following[at]) - 1, np.nan)
    return Ledger(rows, weights, returns, contributions, trades, outcomes, tuple(notes))


def _lost(share: float, time: Any) -> DataError:
    return fail(
        "all is lost",
        expected="weights that no session can lose everything with",
        found=f"a loss of {100 * share:.0f} % in one session",
        advice="Lower the weights (limit=, vol_target=), or mend the price.",
        rows=[time],
    )


def _legs(
    market: Market, fill: Fill, delisting: Floats, ends: Ints
) -> tuple[Floats, Floats, Cells]:
    """Returns of each session before and after its trades, and which series can be traded, (T, S).

    Where a price is lacking the return is 0. A series' last price is followed by its return on
    leaving.
    """
    close = filled_down(market.close)
    known = ~np.isnan(market.close)
    last = np.concatenate([np.full((1, close.shape[1]), np.nan), close[:-1]])
    whole = np.nan_to_num(close / last - 1)  # 0 before the first price
    leaving = ends + 1
    leaves = np.flatnonzero((ends >= 0) & (leaving < len(close)))
    payment = np.nan_to_num(delisting[leaves])
    if market.opens is None:
        whole[leaving[leaves], leaves] = payment
        tradable = np.concatenate([np.zeros((1, close.shape[1]), dtype=bool), known[:-1]])
        return np.zeros_like(whole), whole, tradable
    tradable = known & ~np.isnan(market.opens)
    at = np.where(tradable, market.opens, last)  # without an open, all of the day comes after
    before = np.nan_to_num(at / last - 1)
    after = np.nan_to_num(close / at - 1)
    before[leaving[leaves], leaves] = payment
    return before, after, tradable


def _lacking(
    market: Market,
    rows: Ints,
    weights: Floats,
    lapsed: Cells,
    ends: Ints,
    delisting: Floats,
    missing: Missing,
) -> list[str]:
    """Say, or refuse, what was held without a price, could not be traded, or left."""
    held = weights != 0
    alive = (rows[:, None] <= ends) | (ends < 0)  # what never had a price has not ended
    unpriced = held & alive & np.isnan(market.close[rows])
    left = held & (rows[:, None] == ends + 1)
    unfilled = lapsed & alive
    late = lapsed & ~alive
    unpaid = left & np.isnan(delisting)
    if missing == "raise":
        if unpriced.any() or unfilled.any():
            raise _missing_error(market, rows, unpriced, unfilled)
        if unpaid.any():
            which = np.flatnonzero(unpaid.any(axis=0))
            raise fail(
                "series end while they are held",
                expected="prices up to the last session, or a return on leaving",
                found=f"{len(which)} that end before ({first(map(repr, market.names[which]))})",
                advice="Give delisting=, a Series of the returns by name; or missing='hold': they "
                "then leave at the last price.",
                series=market.names[int(which[0])],
                rows=list(market.times[ends[which]]),
            )
    notes = []
    if unpriced.any():
        notes.append(f"Missing prices: {_counted(unpriced, market.names)} held at the last price.")
    if unfilled.any():
        notes.append(f"Orders without a price lapsed: {_counted(unfilled, market.names)}.")
    if late.any():
        notes.append(f"Orders behind a series' end lapsed: {_counted(late, market.names)}.")
    paid = left & ~unpaid
    if paid.any():
        notes.append(
            f"Delisted while held, with the return given: {_named(paid, market.names)}; what was "
            "left became cash, without costs."
        )
    if unpaid.any():
        notes.append(
            f"Ended while held, without a return on leaving: {_named(unpaid, market.names)} "
            "became cash at the last price, which is too kind where a firm has failed."
        )
    later = held[-1:] & (ends == rows[-1]) & ~np.isnan(delisting)
    if later.any():
        notes.append(
            f"Returns on leaving after the last session, not earned: {_named(later, market.names)}."
        )
    return notes


def _missing_error(market: Market, rows: Ints, unpriced: Cells, unfilled: Cells) -> DataError:
    cells = unpriced | unfilled
    count = cells.sum(axis=0)
    which = np.flatnonzero(count)
    one = int(which[0])
    days = np.flatnonzero(cells[:, one])
    # a fill at the close belongs to the session before its row
    shift = 1 if market.opens is None else 0
    priced = unpriced[days, one]
    at = np.where(priced, rows[days], rows[days] - shift)
    each = [f"{name!r}: {n}" for name, n in zip(market.names[which], count[which])]
    return fail(
        "missing prices while held or traded",
        expected="a price in every session in which a series is held or traded",
        found=f"{int(count.sum())} without ({first(each)})",
        advice="Mend them, hold nothing there (universe=), or missing='hold': the position stays "
        "at the last price, and orders lapse.",
        column=market.column if priced.any() or shift else "open",
        series=market.names[one],
        rows=list(market.times[np.unique(at)]),
    )


def _counted(cells: Cells, names: pd.Index) -> str:
    n = int(cells.sum())
    return f"{n} day{'s' if n != 1 else ''} of {_named(cells, names)}"


def _named(cells: Cells, names: Sequence[Any] | pd.Index) -> str:
    return first(map(str, np.asarray(names)[cells.any(axis=0)]))


def filled_down(table: Floats) -> Floats:
    """Carry the last known price forward down each column, (T, S)."""
    missing = np.isnan(table)
    if not missing.any():
        return table
    source = np.where(missing, 0, np.arange(len(table))[:, None])
    return np.take_along_axis(table, np.maximum.accumulate(source, axis=0), axis=0)


def _ends(table: Floats) -> Ints:
    known = ~np.isnan(table)
    last = len(table) - 1 - np.argmax(known[::-1], axis=0)
    return np.where(known.any(axis=0), last, -1).astype(np.int64)
