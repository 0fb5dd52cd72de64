"""Capital, drawdown and costs are those of the strategies."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from tsforecast._checks import DataError
from tsforecast.backtesting.strategy import Costs, backtest_strategy
from tsforecast.data.datasets import make_prices
from tsforecast.insight.strategy_plots import (
    equity_curve,
    plot_cost_curve,
    plot_drawdown,
    plot_equity,
)

PRICES = make_prices(2, 120, random_state=0)


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


@pytest.fixture(scope="module")
def strategy():
    rng = np.random.default_rng(0)
    days, names = PRICES.index.unique(1)[:-1], PRICES.index.unique(0)
    weights = pd.DataFrame(rng.choice([-0.5, 0.5], (len(days), 2)), days, names)
    return backtest_strategy(weights, PRICES, costs=Costs(1, 2, 2))


def test_capital_compounds_returns(strategy):
    curve = equity_curve({"coin": strategy})["coin"]
    for kind in ("gross", "net"):
        np.testing.assert_allclose(curve[kind], np.cumprod(1 + strategy.returns[kind]))
    capital = np.append(1.0, curve["net"])
    lost = capital / np.maximum.accumulate(capital) - 1
    np.testing.assert_allclose(curve["drawdown"], lost[1:], atol=1e-15)


def test_largest_drawdown_is_that_of_the_tear_sheet(strategy):
    pytest.importorskip("empyrical")
    from tsforecast.backtesting.tearsheet import tearsheet

    sheet = tearsheet({"coin": strategy})
    curve = equity_curve({"coin": strategy})
    for name in ("coin", "buy and hold"):
        assert curve[name, "drawdown"].min() == pytest.approx(sheet.table.loc["max_drawdown", name])


def test_buy_and_hold_stands_beside_unless_it_is_not_wanted(strategy):
    assert list(equity_curve(strategy).columns.unique(0)) == [strategy.name, "buy and hold"]
    assert list(equity_curve(strategy, benchmark=False).columns.unique(0)) == [strategy.name]


def test_what_is_drawn_is_the_curve(strategy, ax):
    table = equity_curve({"coin": strategy})
    net, gross, held, _ = plot_equity(table, ax=ax).get_lines()
    np.testing.assert_array_equal(net.get_ydata(), table["coin", "net"])
    np.testing.assert_array_equal(gross.get_ydata(), table["coin", "gross"])
    np.testing.assert_array_equal(held.get_ydata(), table["buy and hold", "net"])
    assert ax.get_yscale() == "log"
    ax.clear()
    lost, *_ = plot_drawdown(table, ax=ax).get_lines()
    np.testing.assert_array_equal(lost.get_ydata(), table["coin", "drawdown"])
    assert ax.get_ylim()[1] == 0


def test_strategies_of_other_periods_are_lines_all_the_same(strategy, ax):
    ends = pd.DatetimeIndex(PRICES.index.unique(1))
    weekly = PRICES[PRICES.index.get_level_values(1).isin(ends[::5])]
    weights = pd.DataFrame(0.5, weekly.index.unique(1)[:-1], weekly.index.unique(0))
    rare = backtest_strategy(weights, weekly, costs=Costs(1, 2, 2))
    table = equity_curve({"coin": strategy, "rare": rare})
    assert table["rare"].isna().any(axis=None)
    for draw, curve in ((plot_equity, "net"), (plot_drawdown, "drawdown")):
        drawn = {line.get_label(): line for line in draw(table, ax=ax).get_lines()}
        np.testing.assert_array_equal(drawn["rare"].get_ydata(), table["rare", curve].dropna())
        ax.clear()


def test_without_costs_gross_and_net_are_one_line(strategy, ax):
    free = equity_curve({"coin": strategy.with_costs(Costs(0, 0, 0))}, benchmark=False)
    assert len(plot_equity(free, ax=ax).get_lines()) == 2  # and the one at 1


def test_capital_that_has_doubled_many_times_has_marks_to_read(strategy, ax):
    table = equity_curve({"coin": strategy}, benchmark=False)
    table[("coin", "net")] = np.geomspace(0.2, 9.0, len(table))
    low, high = plot_equity(table, ax=ax).get_ylim()
    ticks = [tick for tick in ax.yaxis.get_major_locator()() if low <= tick <= high]
    assert {0.5, 1.0, 2.0, 5.0} <= {round(tick, 6) for tick in ticks}


def test_cost_curve_is_drawn_from_a_sheet_or_its_table(strategy, ax):
    pytest.importorskip("empyrical")
    from tsforecast.backtesting.tearsheet import tearsheet

    sheet = tearsheet({"coin": strategy})
    for value in ("annual_return", "sharpe"):
        ax.clear()
        lines = plot_cost_curve(sheet, value=value, ax=ax).get_lines()
        for line, (_, part) in zip(lines, sheet.cost_curve.groupby("strategy", sort=False)):
            np.testing.assert_array_equal(line.get_xdata(), part["cost_bps"])
            np.testing.assert_array_equal(line.get_ydata(), part[value])
        assert lines[-1].get_xdata() == [5, 5]  # the costs that were counted
    ax.clear()
    assert len(plot_cost_curve(sheet.cost_curve, ax=ax).get_lines()) == len(lines) - 1


def test_what_is_no_strategy_is_refused(strategy, ax):
    with pytest.raises(ValueError, match=r"'strategies'.*a Strategy.*or a dict"):
        equity_curve(strategy.returns)
    with pytest.raises(DataError, match=r"cannot be drawn.*found \[None\].*equity_curve"):
        plot_equity(strategy.returns.rename_axis(columns=None), ax=ax)
    with pytest.raises(DataError, match=r"found Strategy.*equity_curve"):
        plot_drawdown(strategy, ax=ax)
    with pytest.raises(DataError, match=r"nothing to draw.*periods with a return"):
        plot_drawdown(equity_curve(strategy).iloc[:0], ax=ax)
    with pytest.raises(DataError, match=r"cannot be drawn.*tearsheet\(strategy\)"):
        plot_cost_curve(strategy.returns, ax=ax)
    with pytest.raises(ValueError, match=r"'value'.*found 'profit'"):
        plot_cost_curve(strategy, value="profit", ax=ax)
    assert not ax.get_lines()


def test_a_loss_from_the_first_day_on_is_a_drawdown():
    falling = pd.DataFrame({"close": [10.0, 10.0, 9.0, 8.1]})
    held = backtest_strategy(pd.Series([1.0]), falling, costs=Costs(0, 0, 0))
    lost = equity_curve({"held": held}, benchmark=False)["held", "drawdown"]
    np.testing.assert_allclose(lost, [-0.1, -0.19])
