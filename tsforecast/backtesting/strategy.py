"""Strategies: what forecasts or weights would have earned, after costs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, first, positive_int
from tsforecast._html import html_form, html_table
from tsforecast.backtesting._decisions import (
    against,
    allowed,
    chosen_rows,
    known_at,
    laid_out,
    leaving,
    reference_of,
    scored,
    sessions,
    tabled,
)
from tsforecast.backtesting._execution import Fill, Ledger, Market, Missing, execute, market_of
from tsforecast.backtesting.rules import (
    Rule,
    VolTarget,
    by_function,
    describe,
    is_number,
    unranked,
    weigh,
)
from tsforecast.data.panel import Floats, Ints, as_cutoffs, as_panel, layout_of, time_to_ints

__all__ = ["Costs", "Strategy", "backtest_strategy"]

Lag = int | Literal["same close"]

_SAME_CLOSE = (
    "Filled at the very close that decisions are made from (lag='same close'), which cannot be "
    "done: read the result as an upper bound."
)
# blocks of prices, and the weights that were tried on each
_TRIED: dict[bytes, set[bytes]] = {}


@dataclass(frozen=True)
class Costs:
    """Costs of trading, in basis points of the notional traded, for each side.

    A position that is opened and closed pays twice. Financing, borrowing of shares and taxes are
    not in it.

    Attributes
    ----------
    commission_bps : float
        Paid to the broker.
    half_spread_bps : float
        From the middle to the price that one buys or sells at.
    slippage_bps : float
        What the own order moves the price by.

    Raises
    ------
    ValueError
        If one is negative or no number.

    Examples
    --------
    >>> Costs(commission_bps=1.0, half_spread_bps=2.0, slippage_bps=2.0).per_side
    0.0005
    """

    commission_bps: float = 1.0
    half_spread_bps: float = 2.0
    slippage_bps: float = 2.0

    def __post_init__(self) -> None:
        for name in ("commission_bps", "half_spread_bps", "slippage_bps"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < math.inf:
                raise bad_parameter(name, expected="basis points, 0 or more", found=value)

    @property
    def bps(self) -> float:
        """All of it, in basis points per side."""
        return self.commission_bps + self.half_spread_bps + self.slippage_bps

    @property
    def per_side(self) -> float:
        """All of it, as a share of the notional."""
        return self.bps / 1e4


@dataclass(frozen=True)
class _Terms:
    """All that an execution needs but the weights."""

    market: Market
    decided: Ints
    may_hold: npt.NDArray[np.bool_]  # (S,), at the first decision
    lag: int
    fill: Fill
    missing: Missing
    delisting: Floats


@dataclass(frozen=True, eq=False)
class Strategy:
    """What a strategy held, traded and earned, one row a session.

    Returns and trades are fractions of the equity at the beginning of the row, weights of that at
    its trades.

    Attributes
    ----------
    returns : DataFrame
        Indexed by the end of each period: ``gross``; ``cost``; ``net``, gross less cost;
        ``turnover``, the sum of |target - drifted weight| over the assets; ``gross_exposure`` and
        ``net_exposure``, the sums of |weight| and of weight; ``held``, the number of assets.
    weights : DataFrame, time x series
        Held over the period that ends at that time, behind its trades.
    asset_returns : DataFrame, time x series
        Of the assets over that period; 0 where a price is missing, NaN before the first price and
        after the last one and the return on leaving. `weights` times these are the contributions
        where orders are filled at the close.
    contributions : DataFrame, time x series
        What each asset added to the gross return.
    trades : DataFrame, time x series
        What was bought, negative where sold.
    decisions : DataFrame
        The rows traded on: ``series``; ``time``, the cutoff; ``forecast`` (or the weight given);
        ``weight``; ``signal``, its sign; ``return``, of the asset from the fill to the same point
        of the next session.
    costs : Costs
    lag : int or "same close"
    fill : str
    rule : str
        In words.
    name : str
        Of the model, or ``"weights"``.
    notes : tuple of str
        What is to be said beside any result.
    scored : int
        Different weights that this process has tried on these very prices, this one included: the
        least number of trials for a deflated Sharpe ratio. Trials of `tune`, of other sessions, of
        other spans or sets of series of the same data are not in it: add them.

    Examples
    --------
    >>> import pandas as pd
    >>> prices = pd.DataFrame({"close": [10.0, 10.0, 10.2, 10.1]})
    >>> held = backtest_strategy(pd.Series([0.5]), prices)      # bought at the close of row 1
    >>> round(held.breakeven_bps, 2)
    100.99
    >>> held.with_costs(Costs(2, 0, 0)).returns["cost"].tolist()
    [0.0001, 0.0]
    """

    returns: pd.DataFrame
    weights: pd.DataFrame
    asset_returns: pd.DataFrame
    contributions: pd.DataFrame
    trades: pd.DataFrame
    decisions: pd.DataFrame
    costs: Costs
    lag: Lag
    fill: Fill
    rule: str
    name: str
    notes: tuple[str, ...]
    scored: int
    _terms: _Terms = field(repr=False)

    @property
    def breakeven_bps(self) -> float:
        """Costs per side, in basis points, at which the sum of net returns is zero.

        Negative where gross returns are; NaN where nothing was traded.
        """
        turnover = float(self.returns["turnover"].sum())
        gross = float(self.returns["gross"].sum())
        return 1e4 * gross / turnover if turnover > 0 else math.nan

    def with_costs(self, costs: Costs) -> Strategy:
        """Give the same strategy at other costs.

        Weights do not depend on costs, so nothing is run again.
        """
        if not isinstance(costs, Costs):
            raise bad_parameter("costs", expected="tsf.Costs(...)", found=costs)
        cost = costs.per_side * self.returns["turnover"]
        returns = self.returns.assign(cost=cost, net=self.returns["gross"] - cost)
        return replace(self, returns=returns, costs=costs)

    def attribution(self) -> pd.DataFrame:
        """Give what each asset added, summed over time.

        Returns
        -------
        DataFrame
            One row per asset: ``gross``, ``cost`` and ``net``, which sum to those of `returns`
            (sums, not compounded); ``days`` on which it was held; ``share`` of the net sum, NaN
            where that is zero.
        """
        gross = self.contributions.sum()
        cost = self.costs.per_side * self.trades.abs().sum()
        net = gross - cost
        total = float(net.sum())
        share = net / total if total != 0 else net * math.nan
        days = (self.weights != 0).sum()
        return pd.DataFrame(
            {"gross": gross, "cost": cost, "net": net, "days": days, "share": share}
        )

    def buy_and_hold(self) -> Strategy:
        """Give equal weights bought at this strategy's first fill, and held, at the same costs.

        All assets that the forecasts or weights speak of, that may be held at the first decision
        and can be bought at the first fill, with the same lag, fill and prices. What ends becomes
        cash, with its return on leaving if that is known. It is not counted as `scored`.
        """
        terms = self._terms
        at = int(terms.decided[0]) + terms.lag
        prices = terms.market.close[at]
        prices = prices if terms.market.opens is None else prices + terms.market.opens[at]
        chosen = terms.may_hold & ~np.isnan(prices)
        weights = chosen / max(1, int(chosen.sum()))
        one = replace(terms, decided=terms.decided[:1], missing="hold")
        made = _strategy(
            one,
            weights[None, :],
            forecasts=np.where(chosen, weights, np.nan)[None, :],
            settings={"costs": self.costs, "lag": self.lag, "fill": self.fill},
            words=("equal weights, held", "buy and hold", ()),
            count=False,
        )
        return replace(made, scored=self.scored)

    def report(
        self, path: Any, *others: Any, title: str | None = None, names: bool | None = None
    ) -> Path:
        """Write all of it to one page of HTML; see `tsforecast.insight.report.report`."""
        from tsforecast.insight.report import report

        return report(path, self, *others, title=title, names=names)

    def _repr_html_(self) -> str:
        returns = self.returns
        lag = self.lag if isinstance(self.lag, str) else f"lag {self.lag}"
        words = (
            f"Strategy {self.name}: {self.rule}; filled at the {self.fill}, {lag}; "
            f"{self.costs.bps:g} bps per side"
        )
        totals = {
            "first": returns.index[0],
            "last": returns.index[-1],
            "sessions": len(returns),
            "series": self.weights.shape[1],
            "gross": f"{100 * returns['gross'].sum():.2f} %",
            "net": f"{100 * returns['net'].sum():.2f} %",
            "turnover a session": float(returns["turnover"].mean()),
            "breaks even at, bps": self.breakeven_bps,
        }
        totals_table = html_table(pd.DataFrame(totals, index=[self.name]))
        return html_form(words, totals_table, notes=self.notes)

    def __repr__(self) -> str:
        returns = self.returns
        lag = repr(self.lag) if isinstance(self.lag, str) else self.lag
        return (
            f"Strategy({self.name}, rule={self.rule}, lag={lag}, fill={self.fill!r}, "
            f"costs={self.costs.bps:g} bps per side, series={self.weights.shape[1]}, "
            f"sessions={len(returns)}, {_day(returns.index[0])} to {_day(returns.index[-1])}: "
            f"gross {100 * returns['gross'].sum():.2f} %, net {100 * returns['net'].sum():.2f} %, "
            f"turnover {returns['turnover'].mean():.3g} a session, "
            f"breaks even at {self.breakeven_bps:.3g} bps)" + "".join(f"\n{n}" for n in self.notes)
        )


def backtest_strategy(
    frame_or_weights: pd.DataFrame | pd.Series,
    panel: pd.DataFrame,
    *,
    rule: Rule = "sign",
    costs: Costs = Costs(),
    lag: Lag = 1,
    fill: Fill = "close",
    price: Hashable = "close",
    limit: float = 1.0,
    vol_target: float | VolTarget | None = None,
    universe: pd.DataFrame | pd.Series | Hashable | None = None,
    delisting: pd.Series | None = None,
    missing: Missing = "raise",
    reference: float | Literal["last"] | None = None,
    step: int = 1,
    model: Hashable | None = None,
    target: Hashable | None = None,
) -> Strategy:
    r"""Trade forecasts or weights at the prices of a panel, with costs and a lag.

    A decision is made at its cutoff, after that session's close, and filled `lag` sessions later.
    Sessions are the times of all series of the panel together.

    Parameters
    ----------
    frame_or_weights : DataFrame or Series
        The frame of a backtest or of ``predict``; or weights, time of the decision x series (a
        Series for the only series of a panel), 0 for no position. A row without a decision is
        left out: positions are then held. A single row is bought and held.
    panel : DataFrame
        A panel of prices, or anything that `as_panel` takes without further names. The last
        positions are held to its last session.
    rule : {"sign", "position", "weight"}, Threshold, TopBottom or callable
        From forecasts to weights. ``"sign"``: the sign of the score, over n, the number of series
        with a forecast at that decision. ``"position"``: each series has the n-th part of the
        capital, and the forecast is the share of it that is invested. ``"weight"``: the forecast
        is the weight. A function takes the forecasts (the chosen rows of the frame in order of
        ``cutoff`` and ``series``, without what happened) and the panel up to the last cutoff, and
        gives a weight for each row, or a table of weights, cutoffs x series. It is asked again
        with less, at up to five cutoffs, and must say the same.
    costs : Costs
        Default: 5 basis points per side.
    lag : int or "same close"
        Sessions from the decision to the fill, from 1. ``"same close"`` fills at the close that the
        decision is made from; that is said in the notes.
    fill : {"close", "open"}
        Where in its session an order is filled. At the open, the old weights earn the night and
        the new ones the day; needs a column ``open``.
    price : hashable
        Column of the closes.
    limit : float
        Largest |weight| of an asset, an error above.
    vol_target : float or VolTarget, optional
        Scale the weights by the volatility expected at the decision (0.10 = 10 % a year).
    universe : DataFrame, Series or hashable, optional
        When a series may be held: a boolean table, time x series, whose last row at or before the
        decision counts; a boolean Series with the index of the panel, or the name of one of its
        columns, whose row of the decision's session counts. Decisions alone look at it.
    delisting : Series, optional
        Returns on leaving, by series (-0.3 = -30 %): earned in the session after the last price.
    missing : {"raise", "hold"}
        Where a price is lacking while a series is held or traded, or a held series ends without a
        return on leaving: an error, or the position is held at the last price with return 0, orders
        lapse, and a series that ends becomes cash. The notes count these.
    reference : float or "last", optional
        What the score is against: the forecast less this number, or over the last known value of
        its target, less one. Default: ``"last"`` if the target is the `price`; 0 if the target is
        negative somewhere, as returns are; 0.5 if it is but 0 and 1; an error otherwise.
    step : int
        Step of the horizon whose forecast is traded.
    model, target : hashable, optional
        Which of several. The model ``"naive"`` of a backtest need not be named to be left out.

    Returns
    -------
    Strategy

    Raises
    ------
    DataError
        For prices, weights, forecasts or masks that cannot be used; for missing prices, see
        `missing`; if a session loses everything.
    ValueError
        For parameters that cannot be used.
    LookaheadError
        If a function as rule looks at rows after the cutoff.

    Notes
    -----
    Between fills weights drift with prices: :math:`w_i (1 + r_i) / (1 + \sum_j w_j r_j)`. At a
    fill, :math:`\text{turnover} = \sum_i |\text{target}_i - \text{drifted}_i|`, and its cost is
    taken from the return of the row that holds the fill; a fill at the close is the beginning of
    the next row, and turnover at an open is times the growth of the night, so as to be of the
    equity at the beginning of the row, as all returns are. Costs are paid out of all positions and
    cash alike, so that weights do not depend on them. Cash earns nothing, shorts pay nothing for
    what they borrow, and nothing is sold at the end.

    A forecast that is NaN, or a series without a row at a cutoff where others have one, means no
    position. Orders for a series whose prices have ended lapse.

    What it cannot see: a function that looks ahead past its arguments; weights or forecasts that do
    (use `check_no_lookahead` on what makes them); and that the panel holds only survivors.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.bdate_range("2024-01-01", periods=4, name="date")
    >>> prices = pd.DataFrame({"close": [100.0, 100.0, 110.0, 99.0]}, index=days)
    >>> weights = pd.Series([1.0, 0.5], index=days[:2])
    >>> held = backtest_strategy(weights, prices, costs=Costs(5, 0, 0))
    >>> held.returns[["gross", "cost", "net", "turnover"]].round(5)
                gross     cost      net  turnover
    date
    2024-01-03   0.10  0.00050  0.09950       1.0
    2024-01-04  -0.05  0.00025 -0.05025       0.5
    >>> held.weights.iloc[:, 0].tolist()
    [1.0, 0.5]
    """
    if not isinstance(costs, Costs):
        raise bad_parameter("costs", expected="tsf.Costs(...)", found=costs)
    if isinstance(rule, type):
        raise bad_parameter("rule", expected=f"an instance, {rule.__name__}(...)", found=rule)
    choice("fill", fill, ["close", "open"])
    choice("missing", missing, ["raise", "hold"])
    sessions_late = _lag(lag, fill)
    step = positive_int("step", step)
    if not is_number(limit) or not 0 < limit < math.inf:
        raise bad_parameter("limit", expected="a number above 0", found=limit)
    panel = as_panel(panel)
    market = market_of(panel, price, fill)
    notes = [_SAME_CLOSE] if lag == "same close" else []
    notes += _facts(panel, price, fill)

    table = _weights_of(frame_or_weights, rule)
    if table is not None:
        _refuse_beside_weights(model=model, target=target, reference=reference, step=step)
        name, words = "weights", "weights as given"
        kept, decided = sessions(table.index, market)
        notes += _behind(len(table.index) - len(kept), market)
        mask = allowed(universe, panel, market, decided)
        weights = laid_out(table, market, "weights")[kept]
        one = len(market.names) == 1  # its column may have any name
        considered = np.asarray(market.names.isin(table.columns) | one)
        priced = ~np.isnan(market.close[decided])
        forecasts = np.where(priced & considered, weights, np.nan)
    else:
        rows = chosen_rows(cast(pd.DataFrame, frame_or_weights), model, target, step)
        name = str(rows["model"].iloc[0]) if "model" in rows else "forecasts"
        words = describe(rule)
        forecasts, there, cutoffs = scored(rows, market)
        considered = np.asarray(there.any(axis=0))
        kept, decided = sessions(cutoffs, market)
        notes += _behind(len(cutoffs) - len(kept), market)
        mask = allowed(universe, panel, market, decided)
        forecasts = forecasts[kept]
        if lost := int((there[kept] & np.isnan(forecasts)).sum()):
            notes.append(f"Forecasts that are NaN, and so no positions: {lost:,}.")
        if mask is not None:
            forecasts = np.where(mask, forecasts, np.nan)
        if callable(rule):
            known = rows[rows["cutoff"].isin(cutoffs[kept])]
            weights = _by_function(rule, known_at(known), panel, market, cutoffs[kept])
        else:
            scores = forecasts
            if not (isinstance(rule, str) and rule in ("position", "weight")):
                what = rows["target"].iloc[0] if "target" in rows else price
                level = reference_of(reference, what, panel, rows, price)
                scores = against(forecasts, level, what, panel, decided)
            weights = weigh(rule, scores)
            notes += unranked(rule, scores)
    if mask is not None:
        notes += _outside(weights, mask)
        weights = np.where(mask, weights, 0.0)
        forecasts = np.where(mask, forecasts, np.nan)
    if vol_target is not None:
        weights, unknown = _scaled(weights, vol_target, market, decided)
        if unknown:
            least = VolTarget.least
            notes.append(f"Weights without {least} returns before them, set to 0: {unknown:,}.")
    _refuse_above(weights, limit, market, decided)
    terms = _Terms(
        market=market,
        decided=decided,
        may_hold=considered if mask is None else considered & mask[0],
        lag=sessions_late,
        fill=fill,
        missing=missing,
        delisting=leaving(delisting, market),
    )
    return _strategy(
        terms,
        weights,
        forecasts=forecasts,
        settings={"costs": costs, "lag": lag, "fill": fill},
        words=(words, name, tuple(notes)),
        count=True,
    )


def _strategy(
    terms: _Terms,
    weights: Floats,
    *,
    forecasts: Floats,
    settings: dict[str, Any],
    words: tuple[str, str, tuple[str, ...]],
    count: bool,
) -> Strategy:
    """Execute, and put the result in frames."""
    market = terms.market
    ledger = execute(
        market,
        terms.decided,
        weights,
        lag=terms.lag,
        fill=terms.fill,
        missing=terms.missing,
        delisting=terms.delisting,
    )
    index = market.times[ledger.rows]

    def wide(values: Floats) -> pd.DataFrame:
        return pd.DataFrame(values, index=index, columns=market.names)

    rule, name, notes = words
    turnover = np.abs(ledger.trades).sum(axis=1)
    gross = ledger.contributions.sum(axis=1)
    cost = settings["costs"].per_side * turnover
    returns = pd.DataFrame(
        {
            "gross": gross,
            "cost": cost,
            "net": gross - cost,
            "turnover": turnover,
            "gross_exposure": np.abs(ledger.weights).sum(axis=1),
            "net_exposure": ledger.weights.sum(axis=1),
            "held": (ledger.weights != 0).sum(axis=1),
        },
        index=index,
    )
    return Strategy(
        returns=returns,
        weights=wide(ledger.weights),
        asset_returns=wide(ledger.returns),
        contributions=wide(ledger.contributions),
        trades=wide(ledger.trades),
        decisions=_decision_rows(terms, forecasts, weights, ledger),
        **settings,
        rule=rule,
        name=name,
        notes=(*notes, *ledger.notes, *_stale(terms, index)),
        scored=_times_scored(terms, ledger) if count else 0,
        _terms=terms,
    )


def _lag(lag: Lag, fill: Fill) -> int:
    """Sessions from the decision to the fill."""
    if lag == "same close":
        if fill == "open":
            raise bad_parameter("fill", expected="'close' beside lag='same close'", found=fill)
        return 0
    if lag == 0 and not isinstance(lag, bool):
        past = "the open of the session lies before the close that the decision is made from"
        by_name = "write lag='same close' to fill at the very close that the decision is made from"
        raise bad_parameter(
            "lag",
            expected="1 or more sessions",
            found=lag,
            advice=f"It would look into the past: {past}." if fill == "open" else f"Or {by_name}.",
        )
    return positive_int("lag", lag)


def _weights_of(given: Any, rule: Rule) -> pd.DataFrame | None:
    """Table of weights, or None where it is a frame of forecasts."""
    if isinstance(given, pd.Series):
        given = given.to_frame()
    if not isinstance(given, pd.DataFrame):
        raise bad_parameter(
            "frame_or_weights",
            expected="the frame of a backtest (result.frame) or of predict, or a table of weights, "
            "time x series",
            found=given,
        )
    if "forecast" in given:
        return None
    if isinstance(given.index, pd.MultiIndex) or given.columns.nlevels > 1:
        raise bad_parameter(
            "frame_or_weights",
            expected="weights as a table, time of the decision x series",
            found=f"an index of {given.index.nlevels} levels",
            advice="Unstack the series: weights.unstack(level=0).",
        )
    if given.empty:
        raise bad_parameter(
            "frame_or_weights", expected="at least one decision of one series", found=given.shape
        )
    if not isinstance(rule, str) or rule != "sign":
        raise bad_parameter("rule", expected="none beside weights, which need no rule", found=rule)
    if not given.index.is_unique:
        twice = given.index[given.index.duplicated()]
        raise fail(
            "decisions are repeated",
            expected="one row of weights for each time",
            found=f"{len(twice)} more",
            advice="Keep one of each.",
            rows=list(twice),
        )
    return given


def _refuse_beside_weights(*, step: int, **chosen: Any) -> None:
    """Raise where something is said of forecasts and weights are given."""
    chosen["step"] = None if step == 1 else step
    for name, value in chosen.items():
        if value is not None:
            raise bad_parameter(
                name, expected="none beside weights: it is of forecasts", found=value
            )


def _by_function(
    rule: Any, rows: pd.DataFrame, panel: pd.DataFrame, market: Market, cutoffs: pd.Index
) -> Floats:
    """Weights of a function at each cutoff, (D, S)."""
    until: Any = layout_of(panel).time <= as_cutoffs(cutoffs[-1:], market.times)[0]
    table = by_function(rule, rows, panel[np.asarray(until)], tabled)
    return laid_out(table, market, "weights of the rule")


def _facts(panel: pd.DataFrame, price: Any, fill: Fill) -> list[str]:
    """What is known of the prices and must be said, or makes them useless."""
    if fill == "open" and price != "close":
        raise bad_parameter(
            "price",
            expected="'close' beside fill='open', as opens are on the scale of the close",
            found=price,
            advice="Adjust them together (tsf.adjust), or make open = open * adj_close / close.",
        )
    adjusted = panel.attrs.get("adjusted")
    notes = []
    if adjusted == "close" and fill == "open":
        raise fail(
            "opens and closes are on different scales",
            expected="prices that are adjusted alike",
            found="panel.attrs['adjusted'] = 'close'",
            advice="Adjust raw prices with tsf.adjust, or use fill='close'.",
        )
    if price == "close" and adjusted == "none":
        notes.append("Prices are not adjusted: splits and dividends count as losses.")
    elif price == "close" and adjusted == "splits":
        notes.append("Prices are adjusted for splits alone: dividends are not earned.")
    if panel.attrs.get("survivorship"):
        notes.append(str(panel.attrs["survivorship"]))
    return notes


def _behind(count: int, market: Market) -> list[str]:
    if not count:
        return []
    return [f"Decisions after the last session, {_day(market.times[-1])}, not traded: {count:,}."]


def _outside(weights: Floats, mask: npt.NDArray[np.bool_]) -> list[str]:
    """Count what the universe takes away."""
    notes = []
    if empty := int((~mask.any(axis=1)).sum()):
        notes.append(f"Decisions with an empty universe, and so without positions: {empty:,}.")
    if lost := int((~mask & (weights != 0)).sum()):
        notes.append(f"Weights outside the universe, set to 0: {lost:,}.")
    return notes


def _scaled(
    weights: Floats, vol_target: float | VolTarget, market: Market, decided: Ints
) -> tuple[Floats, int]:
    """Weights times the factors known at each decision, and how many have no factor."""
    if not is_number(vol_target) and not isinstance(vol_target, VolTarget):
        raise bad_parameter(
            "vol_target",
            expected="a fraction such as 0.10, or tsf.VolTarget(...)",
            found=vol_target,
        )
    if not isinstance(vol_target, VolTarget):
        vol_target = VolTarget(float(vol_target))
    factors = vol_target.factors(market.returns())[decided]
    unknown = np.isnan(factors) & (weights != 0)
    return weights * np.nan_to_num(factors), int(unknown.sum())


def _refuse_above(weights: Floats, limit: float, market: Market, decided: Ints) -> None:
    wrong = np.abs(weights) > limit * (1 + 1e-12)
    if not wrong.any():
        return
    d, s = map(int, np.unravel_index(np.argmax(np.abs(weights)), weights.shape))
    raise fail(
        "weights above the limit",
        expected=f"|weight| up to limit={limit:g} (1 = all of the capital)",
        found=f"{int(wrong.sum())} above it, the largest {weights[d, s]:g}",
        advice="Scale the weights, or raise limit=.",
        series=market.names[s],
        rows=[market.times[decided[d]]],
    )


def _decision_rows(
    terms: _Terms, forecasts: Floats, weights: Floats, ledger: Ledger
) -> pd.DataFrame:
    """Decisions that were filled, flat, in order of time and series."""
    market = terms.market
    filled = terms.decided + terms.lag + (terms.fill == "close") < len(market.times)
    which, series = np.nonzero(~np.isnan(forecasts) & filled[:, None])
    chosen = weights[which, series]
    return pd.DataFrame(
        {
            "series": market.names.take(series),
            "time": market.times.take(terms.decided[which]),
            "forecast": forecasts[which, series],
            "weight": chosen,
            "signal": np.sign(chosen),
            "return": ledger.outcomes[which, series],
        }
    )


def _stale(terms: _Terms, index: pd.Index) -> list[str]:
    """Say where the last decision is held for longer than any before."""
    if len(terms.decided) < 2:
        return []
    longest = int(np.diff(terms.decided).max())
    rest = len(terms.market.times) - 1 - int(terms.decided[-1]) - terms.lag
    if rest <= longest + terms.lag:
        return []
    last = _day(terms.market.times[int(terms.decided[-1])])
    return [f"The last decision, of {last}, is held for {rest:,} sessions, to {_day(index[-1])}."]


def _day(time: Any) -> str:
    """Say a time, without the hour where it is midnight."""
    return str(time).removesuffix(" 00:00:00")


def _times_scored(terms: _Terms, ledger: Ledger) -> int:
    """Count the different weights tried on the prices from the first decision on."""
    market, begin = terms.market, int(terms.decided[0])
    block = hashlib.blake2b(digest_size=16)
    block.update(first(market.names, shown=len(market.names)).encode())
    block.update(time_to_ints(market.times[begin:]).tobytes())
    block.update(np.ascontiguousarray(market.close[begin:]).tobytes())
    tried = _TRIED.setdefault(block.digest(), set())
    held = np.ascontiguousarray(ledger.weights + 0.0)  # one zero, not two
    tried.add(hashlib.blake2b(held.tobytes(), digest_size=16).digest())
    return len(tried)
