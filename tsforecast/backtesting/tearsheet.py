"""A strategy on one page: return, risk, costs, and the sentence that the evidence allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first
from tsforecast._html import html_form, html_list, html_table
from tsforecast.backtesting._shared import check_alpha
from tsforecast.backtesting._sheet import (
    BUY_AND_HOLD,
    CURVE,
    MEASURES,
    OF_A_PART,
    day,
    printed,
    printed_curve,
    printed_parts,
    told,
    told_overfitting,
    verdict,
    worded,
)
from tsforecast.backtesting.search import Tuning
from tsforecast.backtesting.sharpe import (
    Overfitting,
    backtest_overfitting,
    count_trials,
    deflated_sharpe,
    probabilistic_sharpe,
    sharpe_difference,
    sharpe_ratio,
)
from tsforecast.backtesting.strategy import Costs, Strategy

__all__ = ["TearSheet", "periods_per_year", "seed_table", "tearsheet"]

Floats = npt.NDArray[np.float64]

_TAIL = 0.05
_NAMES = [name for name, _, _ in MEASURES]
_DIRECTIONS = ("accuracy", "base_rate", "calls", "share_long", "share_flat", "share_short")
_OF_TRIALS = ("dsr", "trials", "expected_maximum", "scored")


@dataclass(frozen=True, eq=False)
class TearSheet:
    """What strategies have earned, at what risk, and how likely it is luck; see `tearsheet`.

    ``print`` it to read it.

    Attributes
    ----------
    table : DataFrame
        A row for each measure, a column for each strategy and for buy and hold. Returns,
        drawdowns, exposures and shares are fractions.

        - ``annual_return`` (net), ``annual_return_gross``: compounded; ``volatility``, of net
          returns, as all that follows;
        - ``sharpe, sharpe_se, sharpe_p``: with the error for dependent returns and the one-sided
          p-value of "above zero" (see `sharpe_ratio`); ``sharpe_gross, sharpe_gross_se``: before
          costs;
        - ``psr``, ``dsr, trials, expected_maximum``: see `probabilistic_sharpe` and
          `deflated_sharpe`; ``scored``: how often strategies were scored on these prices in this
          process;
        - ``benchmark_p``: one-sided p-value of "its Sharpe ratio is above that of buy and hold";
        - ``sortino, calmar, max_drawdown``, ``drawdown_length`` in periods from the peak to the
          return to it, or to the end;
        - ``value_at_risk, expected_shortfall``: the loss of a period that 5 % of them
          reach or exceed, and the mean of those losses, both positive (as `value_at_risk` has
          them); ``tail_ratio``: the size of the 95 % quantile of the returns over that of the 5 %
          quantile;
        - ``hit_rate_periods``: share of periods with a net gain among those with a position;
          ``hit_rate_positions``: share of positions, one asset over one period, that gained
          before costs;
        - ``accuracy``: share of decisions, other than flat ones, whose direction was right over
          the session after their fill (which is not the one that was forecast where orders are
          filled later), beside ``base_rate``, the share of rises among all such outcomes (who
          always says "up" is right that often; no change is no rise), ``calls``, how many were
          judged so, and ``share_long, share_flat, share_short``;
        - ``gross_exposure, net_exposure, held`` (assets), ``turnover``: means over periods;
          ``annual_cost``, ``cost_bps`` per side, ``breakeven_bps``: the cost per side at which
          the net total is zero; ``n_periods``.
    sub_periods : DataFrame
        The same of each part of the time: columns ``strategy, start, end`` (its first and last
        period), ``n_periods, annual_return, volatility, sharpe, sharpe_se, sharpe_gross,
        max_drawdown, turnover``.
    cost_curve : DataFrame
        For 0 to 10 basis points per side, all else equal: columns ``strategy, cost_bps,
        annual_return, sharpe``.
    drawdowns : DataFrame
        The largest drawdown, a row for each strategy: ``depth``, ``peak``, ``trough``,
        ``recovered`` (times; missing where it has not been made good), ``length`` in periods.
        A peak before the first period is missing.
    overfitting : Overfitting or None
        Of the returns of the trials, if they were given; see `backtest_overfitting`.
    periods : float
        Periods in a year, by which figures are annual.
    alpha : float
        Level of the verdicts.
    notes : tuple of str
        What one should know: how a year was counted, how orders are filled, and what the
        strategies note.
    """

    table: pd.DataFrame
    sub_periods: pd.DataFrame
    cost_curve: pd.DataFrame
    drawdowns: pd.DataFrame
    overfitting: Overfitting | None
    periods: float
    alpha: float
    notes: tuple[str, ...]

    def verdicts(self) -> list[str]:
        """Say in a sentence or two for each strategy what the evidence allows.

        "Profit" needs both a one-sided p-value of the net Sharpe ratio below `alpha` (of
        dependent returns) and a deflated Sharpe ratio above ``1 - alpha`` (of the best of as many
        trials).
        """
        judged = [name for name in self.table if name != BUY_AND_HOLD]
        beside = self.table.get(BUY_AND_HOLD)
        return [verdict(str(name), self.table[name], beside, self.alpha) for name in judged]

    def __repr__(self) -> str:
        judged = [name for name in self.table if name != BUY_AND_HOLD]
        counted = int(self.table.loc["n_periods"].to_numpy().max())
        return f"TearSheet({first(map(str, judged))}; {counted:,} periods)"

    def report(
        self, path: Any, *others: Any, title: str | None = None, names: bool | None = None
    ) -> Path:
        """Write all of it to one page of HTML; see `tsforecast.insight.report.report`."""
        from tsforecast.insight.report import report

        return report(path, self, *others, title=title, names=names)

    def _repr_html_(self) -> str:
        parts = html_list(self.verdicts()), html_table(worded(self.table), rows=None)
        return html_form(repr(self), *parts, notes=self.notes)

    def __str__(self) -> str:
        parts = [*self.verdicts(), "", printed(self.table)]
        if self.overfitting is not None:
            parts += ["", told_overfitting(self.overfitting)]
        if len(self.drawdowns):
            parts += ["", "Largest drawdowns", *told(self.drawdowns)]
        if len(self.sub_periods):
            parts += ["", "Parts of the time", printed_parts(self.sub_periods)]
        if len(self.cost_curve):
            parts += ["", "Costs per side, in basis points", printed_curve(self.cost_curve)]
        if self.notes:
            parts += ["", *self.notes]
        return "\n".join(parts)


def tearsheet(
    strategies: Strategy | Mapping[str, Strategy],
    *,
    trials: int | Tuning | pd.DataFrame | None = None,
    trial_returns: pd.DataFrame | None = None,
    benchmark: bool = True,
    periods: float | None = None,
    sub_periods: str | Sequence[Any] | None = None,
    alpha: float = 0.05,
) -> TearSheet:
    """Sum up what strategies have earned after costs, at what risk, and how likely it is luck.

    Needs empyrical-reloaded: ``pip install tsforecast[finance]``.

    Parameters
    ----------
    strategies : Strategy or mapping of str to Strategy
        What `backtest_strategy` has made, over the same periods.
    trials : int, Tuning or DataFrame, optional
        How many strategies were tried before these were shown, or what `tune` has found: for the
        deflated Sharpe ratio. At least as many are counted as are shown, or as were scored on
        these prices in this process; what was tried elsewhere is yours to add.
    trial_returns : DataFrame, optional
        Returns per period of the strategies that were tried, a column each, where they were chosen
        from: their number counts, the variance of their ratios deflates (of fewer than are
        counted, no less than by chance, see `deflated_sharpe`), and the probability of backtest
        overfitting is of them (see `backtest_overfitting`).
    benchmark : bool
        Whether to hold all assets beside: bought in equal parts with the first decision, at the
        same costs, and left alone. Of several strategies the first one says which assets, costs
        and fills these are.
    periods : float, optional
        Periods in a year. Default: told by the times, 252 for sessions; the notes say which.
    sub_periods : str or list of times, optional
        Parts to be judged by themselves: a pandas frequency (``"YE"``, ``"QE"``), or the times
        at which a new part begins. Default: calendar years, where times are dates.
    alpha : float
        Level of the verdicts.

    Returns
    -------
    TearSheet

    Raises
    ------
    DataError
        If strategies stand on different periods, or a return is missing.
    ValueError
        If a parameter cannot be used.
    ImportError
        If empyrical-reloaded is not installed.

    Notes
    -----
    How it misleads. A Sharpe ratio of a year has an error of about one. Costs are those that were
    given; large orders move prices, and shorts are borrowed at a price. Series that are in the
    panel because they still exist flatter every strategy that holds them, buy and hold too. What
    was chosen after a look at these periods is no longer out of sample: count it in `trials`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(3, 300, random_state=0)
    >>> walk = tsf.backtest({"drift": tsf.Drift(target="close")}, panel,
    ...                     tsf.RollingOrigin(200), refit=False)
    >>> strategy = tsf.backtest_strategy(walk.frame, panel, model="drift")
    >>> sheet = tsf.tearsheet(strategy, trials=10)
    >>> sheet.table.loc[["sharpe", "max_drawdown"]].shape
    (2, 2)
    >>> print(*sheet.verdicts())
    drift: no evidence of profit after costs beyond the luck of the best of 10 trials (net Sharpe
    2.49 with a HAC error of 1.25, p = 0.024; PSR 0.99; deflated for 10 trials 0.74; breaks even
    above 100 bps per side). Better than buy and hold (net Sharpe -1.23, p = 0.011). Direction
    right in 52 % of its calls, 73 % of them long; 48 % of all outcomes are rises.
    """
    check_alpha(alpha)
    named = _named(strategies)
    index = _common_index(named)
    scored = max(int(strategy.scored) for strategy in named.values())
    counted = max(1 if trials is None else count_trials(trials), len(named), scored)
    periods, how = _year(index, periods)
    overfitting = None if trial_returns is None else backtest_overfitting(trial_returns)
    ratios = None if trial_returns is None else _ratios_of(trial_returns, periods)
    counted = counted if ratios is None else max(counted, len(ratios))
    parts = _parts(index, sub_periods)
    hold = next(iter(named.values())).buy_and_hold() if benchmark else None
    beside = None if hold is None else _net(hold)

    columns = {}
    for name, strategy in named.items():
        found = _measures(strategy, periods=periods, trials=counted, ratios=ratios, beside=beside)
        columns[name] = {**found, "scored": float(scored)}
    shown = dict(named)
    if hold is not None:
        # nobody has chosen to buy and hold for its past, and it calls no direction
        nothing = dict.fromkeys((*_OF_TRIALS, *_DIRECTIONS), nan)
        columns[BUY_AND_HOLD] = {**_measures(hold, periods=periods), **nothing}
        shown[BUY_AND_HOLD] = hold
    return TearSheet(
        table=pd.DataFrame(columns, index=pd.Index(_NAMES, name="measure")),
        sub_periods=_by_part(shown, parts, periods),
        cost_curve=_cost_curve(shown, periods),
        drawdowns=_drawdowns(shown),
        overfitting=overfitting,
        periods=periods,
        alpha=alpha,
        notes=(how, *_notes(named, hold)),
    )


def seed_table(
    strategies: Mapping[str, Sequence[Strategy] | Mapping[Any, Strategy]],
    *,
    periods: float | None = None,
) -> pd.DataFrame:
    """Give every measure of a tear sheet as mean and spread over seeds.

    A network fitted with another seed is another strategy: where the spread over seeds is as
    large as the mean, one run says nothing of the method.

    Parameters
    ----------
    strategies : mapping of str to sequence or mapping of Strategy
        For each method, what `backtest_strategy` has made of each seed; at least two.
    periods : float, optional
        Periods in a year. Default: told by the times, 252 for sessions.

    Returns
    -------
    DataFrame
        Index ``measure`` as in `TearSheet.table`, but for what belongs to one strategy alone
        (trials, and ratios deflated by them); columns ``(method, mean | sd | min | max)``. NaN
        where a measure is not known of every seed. ``attrs["seeds"]`` counts them by method.

    Raises
    ------
    DataError
        If a method has fewer than two seeds, or strategies stand on different periods.
    ValueError
        If a parameter cannot be used.
    ImportError
        If empyrical-reloaded is not installed.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(3, 300, random_state=0)
    >>> runs = []
    >>> for seed in range(3):
    ...     noise = np.random.default_rng(seed).choice([-1.0, 1.0], len(panel)) / 3
    ...     weights = pd.Series(noise, panel.index).unstack(0)
    ...     runs.append(tsf.backtest_strategy(weights, panel))
    >>> tsf.seed_table({"coin": runs}).loc["sharpe"].index.get_level_values(1).tolist()
    ['mean', 'sd', 'min', 'max']
    """
    if not isinstance(strategies, Mapping) or not strategies:
        raise bad_parameter(
            "strategies", expected="a dict of lists of strategies", found=strategies
        )
    tables = {}
    for name, runs in strategies.items():
        listed = _runs(runs)
        if len(listed) < 2:
            raise fail(
                "no spread over seeds",
                expected="at least two strategies of each method",
                found=f"{len(listed)} of {name!r}",
                advice="Fit with more values of random_state.",
            )
        index = _common_index({f"{name} {number}": run for number, run in enumerate(listed)})
        year, _ = _year(index, periods)
        measured = pd.DataFrame([_measures(run, periods=year) for run in listed])
        measured = measured.drop(columns=[*_OF_TRIALS, "benchmark_p"])
        spread = measured.agg(["mean", "std", "min", "max"]).T
        spread[measured.isna().any()] = nan
        tables[name] = spread.rename(columns={"std": "sd"})
    result = pd.concat(tables, axis=1)
    result.index.name = "measure"
    result.attrs["seeds"] = {name: len(runs) for name, runs in strategies.items()}
    return result


def periods_per_year(index: pd.Index) -> tuple[float, str]:
    """Tell how many of these periods make a year, and say how it is known.

    Parameters
    ----------
    index : Index
        Ends of the periods, rising.

    Returns
    -------
    periods : float
    how : str
        A sentence.

    Examples
    --------
    >>> periods_per_year(pd.bdate_range("2024-01-01", periods=100))
    (252.0, 'A year is taken as 252 sessions.')
    >>> periods_per_year(pd.date_range("2024-01-01", periods=100))[0]
    365.0
    """
    if not isinstance(index, pd.DatetimeIndex) or len(index) < 2:
        return 252.0, "A year is taken as 252 periods: the times are no dates. periods= sets it."
    gaps = np.diff(index.as_unit("s").asi8) / 86_400  # days
    gap = float(np.median(gaps))
    if 0.8 <= gap <= 1.2:
        weekend = float(np.mean(index.day_of_week.to_numpy() >= 5))
        if weekend > 0.1:
            return 365.0, "A year is taken as 365 days: there are rows at weekends."
        return 252.0, "A year is taken as 252 sessions."
    for count, unit, low, high in (
        (52.0, "weeks", 6, 8),
        (12.0, "months", 27, 32),
        (4.0, "quarters", 88, 93),
        (1.0, "year", 360, 370),
    ):
        if low <= gap <= high:
            return count, f"A year is taken as {count:.0f} {unit}."
    count = (len(index) - 1) * 365.25 / float(gaps.sum())
    return count, f"A year is taken as {count:,.0f} periods, as many as the rows have in a year."


def _named(strategies: Any) -> dict[str, Strategy]:
    """Give strategies by name, or raise where there is none."""
    if isinstance(strategies, Strategy):
        strategies = {strategies.name: strategies}
    wrong = not isinstance(strategies, Mapping) or not strategies
    if wrong or not all(isinstance(one, Strategy) for one in strategies.values()):
        raise bad_parameter(
            "strategies",
            expected="a Strategy that backtest_strategy has made, or a dict of them",
            found=strategies,
        )
    if BUY_AND_HOLD in strategies:
        raise bad_parameter(
            "strategies",
            expected=f"other names than {BUY_AND_HOLD!r}, which stands beside them",
            found=list(strategies),
            advice="Give it one: {'held': strategy}.",
        )
    return dict(strategies)


def _runs(runs: Any) -> list[Strategy]:
    """List the strategies of one method."""
    if isinstance(runs, Mapping):
        runs = runs.values()
    listed = list(runs) if isinstance(runs, Iterable) else [runs]
    if not all(isinstance(run, Strategy) for run in listed):
        raise bad_parameter(
            "strategies", expected="lists of what backtest_strategy has made", found=listed
        )
    return listed


def _common_index(named: Mapping[str, Strategy]) -> pd.Index:
    """Give the periods of all strategies, or raise where they differ or returns are missing."""
    spans = {name: strategy.returns.index for name, strategy in named.items()}
    (name, index), *others = spans.items()
    for other, span in others:
        if not index.equals(span):
            raise fail(
                "strategies stand on different periods",
                expected=f"the {len(index):,} of {name!r}, {_span(index)}",
                found=f"{len(span):,} of {other!r}, {_span(span)}",
                advice="Give them decisions at the same times, and the same lag; or make a tear "
                "sheet of each.",
            )
    for name, strategy in named.items():
        unknown = ~np.isfinite(strategy.returns[["gross", "net"]].to_numpy(dtype=float)).all(axis=1)
        if unknown.any():
            raise fail(
                "returns are missing or infinite",
                expected="a return in every period, 0 without a position",
                found=f"{int(unknown.sum()):,} of {name!r} that are not",
                advice="Look at the prices of these days.",
                rows=list(strategy.returns.index[unknown]),
            )
    return index


def _span(index: pd.Index) -> str:
    return f"{day(index[0])} to {day(index[-1])}" if len(index) else "none"


def _year(index: pd.Index, periods: float | None) -> tuple[float, str]:
    if periods is None:
        return periods_per_year(index)
    if not (np.isfinite(periods) and periods > 0):
        raise bad_parameter("periods", expected="a number above 0", found=periods)
    return float(periods), f"A year is taken as {periods:g} periods, as given."


def _net(strategy: Strategy) -> Floats:
    return strategy.returns["net"].to_numpy(dtype=np.float64)


# Measures


def _measures(
    strategy: Strategy,
    *,
    periods: float,
    trials: int = 1,
    ratios: Floats | None = None,
    beside: Floats | None = None,
) -> dict[str, float]:
    """Every measure of one strategy, by name; NaN for those that say nothing of it."""
    returns = strategy.returns
    net, gross = _net(strategy), returns["gross"].to_numpy(dtype=np.float64)
    ratio, before_costs = sharpe_ratio(net, periods=periods), sharpe_ratio(gross, periods=periods)
    deflated = deflated_sharpe(net, trials, trial_sharpes=ratios, periods=periods)
    found = {
        **_return_and_risk(net, periods),
        "annual_return_gross": _compounded(gross, periods),
        "sharpe": ratio.value,
        "sharpe_se": ratio.se,
        "sharpe_p": ratio.p,
        "sharpe_gross": before_costs.value,
        "sharpe_gross_se": before_costs.se,
        "psr": probabilistic_sharpe(net, periods=periods),
        "dsr": deflated.probability,
        "trials": float(deflated.n_trials),
        "expected_maximum": deflated.expected_maximum,
        "scored": float(strategy.scored),
        "benchmark_p": nan if beside is None else sharpe_difference(net, beside, periods=periods).p,
        **_hits(strategy),
        **_directions(strategy.decisions),
        **{
            name: float(returns[name].mean())
            for name in ("gross_exposure", "net_exposure", "held", "turnover")
        },
        "annual_cost": float(returns["cost"].mean()) * periods,
        "cost_bps": 1e4 * strategy.costs.per_side,
        "breakeven_bps": float(strategy.breakeven_bps),
        "n_periods": float(len(net)),
    }
    return {name: found[name] for name in _NAMES}


def _ratios_of(trial_returns: pd.DataFrame, periods: float) -> Floats:
    """Annual Sharpe ratio of each trial, (n_trials,); 0 for one that never moves."""
    values = trial_returns.to_numpy(dtype=np.float64)
    ratios: Floats = np.array([sharpe_ratio(one, periods=periods).value for one in values.T])
    return np.where(np.isnan(ratios), 0.0, ratios)


def _return_and_risk(net: Floats, periods: float) -> dict[str, float]:
    """Measures of net returns that need no more than them."""
    empyrical = _empyrical()
    moves = len(net) > 1 and bool(np.ptp(net) > 0)
    depth, length = nan, nan
    if len(net):
        depth = float(empyrical.max_drawdown(net))
        length = float(_drawdown(net)[3])
    return {
        "annual_return": _compounded(net, periods),
        "volatility": _volatility(net, periods),
        "sortino": float(empyrical.sortino_ratio(net, annualization=periods)) if moves else nan,
        "calmar": float(empyrical.calmar_ratio(net, annualization=periods)) if moves else nan,
        "max_drawdown": depth,
        "drawdown_length": length,
        "value_at_risk": -float(empyrical.value_at_risk(net, _TAIL)) if moves else nan,
        "expected_shortfall": -float(empyrical.conditional_value_at_risk(net, _TAIL))
        if moves
        else nan,
        "tail_ratio": _tail_ratio(net) if moves else nan,
    }


def _volatility(net: Floats, periods: float) -> float:
    return float(net.std(ddof=1)) * math.sqrt(periods) if len(net) > 1 else nan


def _compounded(returns: Floats, periods: float) -> float:
    """Return of a year at which capital grows as it did; -1 where it was lost."""
    if not len(returns):
        return nan
    growth = 1.0 + returns
    if (growth <= 0).any():
        return -1.0
    return math.expm1(float(np.log(growth).mean()) * periods)


def _tail_ratio(net: Floats) -> float:
    low = float(np.percentile(net, 5))
    return abs(float(np.percentile(net, 95)) / low) if low else nan


def _drawdown(net: Floats) -> tuple[int, int, int | None, int]:
    """Rows of peak (-1: before the first), trough and recovery of the largest loss; its length."""
    capital = np.concatenate([[1.0], np.cumprod(1.0 + net)])
    highest = np.maximum.accumulate(capital)
    trough = int(np.argmin(capital / highest))
    peak = trough - int(np.argmax(capital[trough::-1]))  # the last row at it: rest is no drawdown
    if trough == peak:
        return peak - 1, trough - 1, peak - 1, 0
    back = np.flatnonzero(capital[trough:] >= capital[peak])
    recovered = trough + int(back[0]) if len(back) else None
    end = len(capital) - 1 if recovered is None else recovered
    return peak - 1, trough - 1, None if recovered is None else recovered - 1, end - peak


def _hits(strategy: Strategy) -> dict[str, float]:
    """Shares of periods and of positions with a gain."""
    gains = strategy.contributions.to_numpy(dtype=float)
    # what is sold at an open has earned the night, and has no weight behind it
    held = (strategy.weights.to_numpy(dtype=float) != 0) | (gains != 0)
    return {
        "hit_rate_periods": _share(_net(strategy)[held.any(axis=1)] > 0),
        "hit_rate_positions": _share(gains[held] > 0),
    }


def _directions(decisions: pd.DataFrame) -> dict[str, float]:
    """How often a direction was right, beside what makes that easy."""
    signal = decisions["signal"].to_numpy(dtype=float)
    outcome = decisions["return"].to_numpy(dtype=float)
    known = ~np.isnan(outcome) & ~np.isnan(signal)
    signal, outcome = signal[known], outcome[known]
    called = signal != 0
    return {
        "accuracy": _share((signal[called] > 0) == (outcome[called] > 0)),
        "base_rate": _share(outcome > 0),
        "calls": float(called.sum()),
        "share_long": _share(signal > 0),
        "share_flat": _share(signal == 0),
        "share_short": _share(signal < 0),
    }


def _share(which: npt.NDArray[np.bool_]) -> float:
    return float(which.mean()) if len(which) else nan


def _empyrical() -> Any:
    try:
        import empyrical
    except ImportError:
        raise ImportError(
            "a tear sheet needs empyrical-reloaded: expected it to be installed, found it "
            'missing. Run pip install "tsforecast[finance]".'
        ) from None
    return empyrical


# Parts of the time, other costs, drawdowns


def _parts(index: pd.Index, sub_periods: str | Sequence[Any] | None) -> list[slice]:
    """Rows of each part of the time; none where there is only one year."""
    dates = isinstance(index, pd.DatetimeIndex)
    if sub_periods is None:
        if not dates or len(index) == 0 or index[0].year == index[-1].year:
            return []
        sub_periods = "YE"
    if isinstance(sub_periods, str):
        if not dates:
            raise bad_parameter(
                "sub_periods",
                expected="the times at which parts begin, as these are no dates",
                found=sub_periods,
            )
        try:
            sizes = pd.Series(1, index=index).resample(sub_periods).sum().to_numpy()
        except ValueError:
            raise bad_parameter(
                "sub_periods",
                expected="a pandas frequency, such as 'YE' or 'QE'",
                found=sub_periods,
            ) from None
        edges = np.concatenate([[0], np.cumsum(sizes)])
    else:
        edges = _edges(index, sub_periods)
    return [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:]) if b > a]


def _edges(index: pd.Index, begins: Iterable[Any]) -> npt.NDArray[np.int64]:
    if not isinstance(begins, Iterable):
        raise bad_parameter(
            "sub_periods", expected="a pandas frequency, or a list of times", found=begins
        )
    begins = list(begins)
    try:
        times = (
            pd.DatetimeIndex(begins) if isinstance(index, pd.DatetimeIndex) else pd.Index(begins)
        )
        if isinstance(index, pd.DatetimeIndex) and index.tz is not None and times.tz is None:
            times = times.tz_localize(index.tz)
        at = index.searchsorted(times.sort_values())
    except (TypeError, ValueError):
        raise bad_parameter(
            "sub_periods", expected=f"times like {index[0]!r}", found=begins
        ) from None
    if not ((at > 0) & (at < len(index))).any():
        raise bad_parameter(
            "sub_periods",
            expected=f"a time between those of the periods, {_span(index)}",
            found=begins,
        )
    return np.unique(np.concatenate([[0], at, [len(index)]])).astype(np.int64)


def _by_part(
    strategies: Mapping[str, Strategy], parts: list[slice], periods: float
) -> pd.DataFrame:
    """One row for each strategy and part of the time."""
    empyrical = _empyrical()
    rows = []
    for name, strategy in strategies.items():
        for part in parts:
            returns = strategy.returns.iloc[part]
            net = returns["net"].to_numpy(dtype=np.float64)
            ratio = sharpe_ratio(net, periods=periods)
            rows.append(
                {
                    "strategy": name,
                    "start": returns.index[0],
                    "end": returns.index[-1],
                    "n_periods": len(net),
                    "annual_return": _compounded(net, periods),
                    "volatility": _volatility(net, periods),
                    "sharpe": ratio.value,
                    "sharpe_se": ratio.se,
                    "sharpe_gross": sharpe_ratio(returns["gross"], periods=periods).value,
                    "max_drawdown": float(empyrical.max_drawdown(net)),
                    "turnover": float(returns["turnover"].mean()),
                }
            )
    return pd.DataFrame(rows, columns=["strategy", "start", "end", *OF_A_PART])


def _cost_curve(strategies: Mapping[str, Strategy], periods: float) -> pd.DataFrame:
    rows = []
    for name, strategy in strategies.items():
        for bps in CURVE:
            costs = Costs(commission_bps=float(bps), half_spread_bps=0.0, slippage_bps=0.0)
            net = _net(strategy.with_costs(costs))
            rows.append(
                (name, bps, _compounded(net, periods), sharpe_ratio(net, periods=periods).value)
            )
    return pd.DataFrame(rows, columns=["strategy", "cost_bps", "annual_return", "sharpe"])


def _drawdowns(strategies: Mapping[str, Strategy]) -> pd.DataFrame:
    """The largest drawdown of each strategy, with its dates."""
    rows = {}
    for name, strategy in strategies.items():
        net, times = _net(strategy), strategy.returns.index
        if not len(net):
            continue
        peak, trough, recovered, length = _drawdown(net)
        fell = length > 0
        rows[name] = {
            "depth": float(_empyrical().max_drawdown(net)),
            "peak": times[peak] if fell and peak >= 0 else None,
            "trough": times[trough] if fell else None,
            "recovered": times[recovered] if fell and recovered is not None else None,
            "length": length,
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "strategy"
    return table


def _notes(named: Mapping[str, Strategy], hold: Strategy | None) -> tuple[str, ...]:
    """How orders are filled, and what strategies note: once where all say the same."""
    said: dict[str, list[str]] = {}
    for name, strategy in named.items():
        for note in (_terms(strategy), *strategy.notes):
            said.setdefault(str(note), []).append(name)
    notes = [
        note if len(names) == len(named) else f"{first(names)}: {note}"
        for note, names in said.items()
    ]
    if hold is not None:
        beside = [note for note in (_terms(hold), *hold.notes) if note not in notes]
        notes += [f"{BUY_AND_HOLD}: {note}" for note in beside]
    return tuple(notes)


def _terms(strategy: Strategy) -> str:
    costs = strategy.costs
    return (
        f"Costs per side: {1e4 * costs.per_side:g} bps (commission {costs.commission_bps:g}, half "
        f"spread {costs.half_spread_bps:g}, slippage {costs.slippage_bps:g}); orders are filled at "
        f"the {strategy.fill}, lag {strategy.lag}."
    )
