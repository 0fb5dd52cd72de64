"""Pictures of strategies: capital, drawdown, and what costs leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail
from tsforecast.backtesting._sheet import BUY_AND_HOLD
from tsforecast.backtesting.strategy import Strategy
from tsforecast.insight._drawing import (
    GREY,
    axes_of,
    coordinates,
    legend,
    marked,
    model_styles,
    percent_axis,
    table_of,
    tidy,
    time_axis,
    told_apart,
)

__all__ = ["equity_curve", "plot_cost_curve", "plot_drawdown", "plot_equity"]

_LEVELS = ["strategy", "curve"]
_CURVES = ("gross", "net", "drawdown")
_VALUES = {"annual_return": "annual return, net of costs", "sharpe": "Sharpe ratio, net of costs"}


def equity_curve(
    strategies: Strategy | Mapping[str, Strategy], *, benchmark: bool = True
) -> pd.DataFrame:
    """Give the capital of strategies over time, before and after costs, and its drawdown.

    Parameters
    ----------
    strategies : Strategy or mapping of str to Strategy
        What `backtest_strategy` has made.
    benchmark : bool
        Whether buy and hold of the first one's assets stands beside, at the same costs.

    Returns
    -------
    DataFrame
        Index: ends of periods; columns ``(strategy, curve)``: ``gross`` and ``net`` are the
        capital, returns compounded from 1; ``drawdown`` is what net capital has lost since its
        highest, 0 or negative. NaN at times at which a strategy has no period.

    Raises
    ------
    ValueError
        If these are no strategies.

    Notes
    -----
    A curve is one path. `tearsheet` says what its end is worth as evidence.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> prices = pd.DataFrame({"close": [10.0, 10.0, 11.0, 9.9]})
    >>> held = tsf.backtest_strategy(pd.Series([1.0]), prices, costs=tsf.Costs(0, 0, 0))
    >>> equity_curve({"held": held}, benchmark=False)["held"].round(2)
    curve  gross   net  drawdown
    time
    2       1.10  1.10       0.0
    3       0.99  0.99      -0.1
    """
    if isinstance(strategies, Strategy):
        strategies = {strategies.name: strategies}
    named = dict(strategies) if isinstance(strategies, Mapping) else {}
    if not named or not all(isinstance(one, Strategy) for one in named.values()):
        raise bad_parameter(
            "strategies",
            expected="a Strategy that backtest_strategy has made, or a dict of them",
            found=strategies,
        )
    if benchmark and BUY_AND_HOLD not in named:
        named[BUY_AND_HOLD] = next(iter(named.values())).buy_and_hold()
    parts = {}
    for name, strategy in named.items():
        gross, net = ((1.0 + strategy.returns[column]).cumprod() for column in ("gross", "net"))
        highest = net.cummax().clip(lower=1.0)  # it began at 1
        curves = {"gross": gross, "net": net, "drawdown": net / highest - 1.0}
        parts[name] = pd.DataFrame(curves)
    return pd.concat(parts, axis=1, names=_LEVELS).sort_index()


def plot_equity(table: pd.DataFrame, *, ax: Any = None) -> Any:
    """Draw the capital of `equity_curve`: net of costs, and faint before them.

    Parameters
    ----------
    table : DataFrame
        From `equity_curve`.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes
        Logarithmic, so that equal gains have equal heights.

    Raises
    ------
    DataError
        If the table is none of `equity_curve`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(3, 200, random_state=0)
    >>> walk = tsf.backtest({"drift": tsf.Drift(target="close")}, panel,
    ...                     tsf.RollingOrigin(100), refit=False)
    >>> axes = plot_equity(equity_curve(tsf.backtest_strategy(walk.frame, panel, model="drift")))
    >>> axes.get_legend_handles_labels()[1]
    ['drift', 'before costs (thin)', 'buy and hold']
    """
    table = _equity(table)
    axes = axes_of(ax)
    tidy(axes)
    names = list(table.columns.get_level_values(0).unique())
    thin, called = None, told_apart(names)
    for name, style in model_styles(names).items():
        own = table[name].dropna()  # each has periods of its own
        at, net, gross = coordinates(own.index), own["net"], own["gross"]
        line = marked(style, len(own), few=12)
        axes.plot(at, net, label=called[name], linewidth=1.5, **line)
        if name != BUY_AND_HOLD and not np.allclose(net, gross):
            (thin,) = axes.plot(at, gross, alpha=0.6, linewidth=0.7, **marked(style, 1, few=0))
    if thin is not None:
        thin.set_label("before costs (thin)")
    axes.axhline(1.0, color=GREY, linewidth=0.8)
    _logarithmic(axes)
    time_axis(axes, table.index)
    axes.set_ylabel("capital (1 at the start)")
    legend(axes)
    return axes


def plot_drawdown(table: pd.DataFrame, *, ax: Any = None) -> Any:
    """Draw the drawdown of `equity_curve`: what has been lost since the highest capital.

    Parameters
    ----------
    table : DataFrame
        From `equity_curve`.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none of `equity_curve`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(3, 200, random_state=0)
    >>> walk = tsf.backtest({"drift": tsf.Drift(target="close")}, panel,
    ...                     tsf.RollingOrigin(100), refit=False)
    >>> strategy = tsf.backtest_strategy(walk.frame, panel, model="drift")
    >>> plot_drawdown(equity_curve(strategy)).get_ylabel()
    'drawdown, net of costs'
    """
    table = _equity(table)
    axes = axes_of(ax, size=(8.0, 3.0))
    tidy(axes)
    names = list(table.columns.get_level_values(0).unique())
    called = told_apart(names)
    for name, style in model_styles(names).items():
        values = table[name, "drawdown"].dropna()
        at = coordinates(values.index)
        line = marked(style, len(values), few=12)
        axes.plot(at, values, label=called[name], linewidth=1.2, **line)
        if name == names[0]:
            axes.fill_between(at, values, 0.0, color=style["color"], alpha=0.15, linewidth=0)
    axes.set_ylim(top=0.0)
    percent_axis(axes.yaxis)
    time_axis(axes, table.index)
    axes.set_ylabel("drawdown, net of costs")
    legend(axes)
    return axes


def plot_cost_curve(
    sheet: Any, *, value: Literal["annual_return", "sharpe"] = "annual_return", ax: Any = None
) -> Any:
    """Draw what is left of strategies at higher costs.

    Parameters
    ----------
    sheet : TearSheet or DataFrame
        A tear sheet, or its `cost_curve`. Of a tear sheet the costs that were counted are marked.
    value : {"annual_return", "sharpe"}
        What is drawn.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none.
    ValueError
        If `value` is none of both.

    Notes
    -----
    Where a line crosses zero, costs have eaten the whole gain.

    Examples
    --------
    >>> curve = pd.DataFrame({
    ...     "strategy": "drift", "cost_bps": [0, 5, 10], "annual_return": [0.05, 0.01, -0.03],
    ...     "sharpe": [0.5, 0.1, -0.3]})
    >>> plot_cost_curve(curve).get_xlabel()
    'costs per side (basis points)'
    """
    choice("value", value, tuple(_VALUES))
    table = getattr(sheet, "cost_curve", sheet)
    table = table_of(table, ["strategy", "cost_bps", value], "tearsheet(strategy)")
    axes = axes_of(ax)
    tidy(axes)
    names = list(table["strategy"].unique())
    called = told_apart(names)
    for name, style in model_styles(names).items():
        part = table[table["strategy"] == name].sort_values("cost_bps")
        line = marked(style, len(part))
        axes.plot(part["cost_bps"], part[value], label=called[name], linewidth=1.4, **line)
    axes.axhline(0.0, color="0.2", linewidth=0.9)
    measures = getattr(sheet, "table", None)
    if measures is not None:
        counted = measures.loc["cost_bps"].dropna().unique()
        for bps in counted:
            axes.axvline(bps, color=GREY, linewidth=0.9, linestyle=(0, (1, 1.5)))
            axes.annotate(
                " costs counted",
                (bps, 1.0),
                xycoords=("data", "axes fraction"),
                va="top",
                fontsize="small",
                color=GREY,
            )
    if value == "annual_return":
        percent_axis(axes.yaxis)
    axes.set_xlabel("costs per side (basis points)")
    axes.set_ylabel(_VALUES[value])
    legend(axes)
    return axes


def _equity(table: Any) -> pd.DataFrame:
    levels = list(table.columns.names) if isinstance(table, pd.DataFrame) else []
    if levels != _LEVELS or not set(_CURVES) <= set(table.columns.get_level_values(1)):
        raise fail(
            "this table cannot be drawn",
            expected=f"one with columns {_LEVELS}",
            found=f"{levels or type(table).__name__}",
            advice="Make it by equity_curve(strategies).",
        )
    if len(table) == 0:
        raise fail(
            "nothing to draw",
            expected="periods with a return",
            found="none",
            advice="Look at what selected them.",
        )
    checked: pd.DataFrame = table
    return checked


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis whose marks are plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high > 3 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=[1, 2, 5], numticks=12))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.3g}"))
