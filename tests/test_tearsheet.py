"""Tear sheets: measures against plain numpy, drawdowns by hand, and what the words claim."""

import builtins
import math
import re

import empyrical
import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.backtesting import tearsheet as sheets
from tsforecast.backtesting._sheet import MEASURES, printed
from tsforecast.backtesting.sharpe import expected_maximum, sharpe_difference, sharpe_ratio
from tsforecast.backtesting.tearsheet import periods_per_year


def prices_of(returns, start="2019-06-03"):
    """A panel of closes whose returns are these, (n, names)."""
    names = [f"s{i}" for i in range(returns.shape[1])]
    days = pd.bdate_range(start, periods=len(returns) + 1, name="date")
    levels = 100 * np.cumprod(np.vstack([np.ones(returns.shape[1]), 1 + returns]), axis=0)
    wide = pd.DataFrame(levels, index=days, columns=pd.Index(names, name="ticker"))
    return wide.stack().swaplevel().sort_index().to_frame("close")


def traded(returns, signs, *, bps=5.0, start="2019-06-03", **options):
    """A strategy whose weights, signs over the number of series, earn these returns.

    The row i of signs is decided after the session before the fill, so as to earn row i.
    """
    panel = prices_of(np.vstack([np.zeros(returns.shape[1]), returns]), start)
    days = panel.index.get_level_values("date").unique()
    names = panel.index.get_level_values("ticker").unique()
    weights = pd.DataFrame(signs / returns.shape[1], index=days[: len(signs)], columns=names)
    return tsf.backtest_strategy(weights, panel, costs=tsf.Costs(bps, 0, 0), **options)


def noise(n=500, k=3, *, seed=0, drift=0.0):
    return drift + 0.01 * np.random.default_rng(seed).standard_normal((n, k))


def informed(edge, *, seed=0, n=500, k=3, bps=5.0, **options):
    """Signs that know a share of what comes: none at 0, less than nothing below."""
    returns = noise(n, k, seed=seed)
    guess = np.random.default_rng(seed + 1000).standard_normal((n, k))
    return traded(returns, np.sign(guess + edge * returns / 0.01), bps=bps, **options)


@pytest.fixture(scope="module")
def coin():
    return informed(0.0, seed=3)


@pytest.fixture(scope="module")
def sheet(coin):
    return tsf.tearsheet({"coin": coin}, trials=50)


def test_what_is_traded_here_is_what_is_meant():
    returns = noise(20, 2)
    signs = np.sign(noise(20, 2, seed=1))
    strategy = traded(returns, signs, bps=0)
    np.testing.assert_allclose(strategy.returns["gross"], (signs / 2 * returns).sum(axis=1))


# Measures


def test_measures_are_plain_ones(coin, sheet):
    net = coin.returns["net"].to_numpy()
    found = sheet.table["coin"]
    year = math.sqrt(252)
    expected = {
        "annual_return": np.prod(1 + net) ** (252 / len(net)) - 1,
        "annual_return_gross": np.prod(1 + coin.returns["gross"]) ** (252 / len(net)) - 1,
        "volatility": net.std(ddof=1) * year,
        "sharpe": net.mean() / net.std(ddof=1) * year,
        "sortino": net.mean() / np.sqrt(np.mean(np.minimum(net, 0) ** 2)) * year,
        "max_drawdown": np.min(np.cumprod(1 + net) / np.maximum.accumulate(np.cumprod(1 + net)))
        - 1,
        "value_at_risk": -np.percentile(net, 5),
        "expected_shortfall": -np.sort(net)[: int((len(net) - 1) * 0.05) + 1].mean(),
        "tail_ratio": abs(np.percentile(net, 95) / np.percentile(net, 5)),
        "hit_rate_periods": np.mean(net > 0),
        "hit_rate_positions": np.mean(coin.weights.to_numpy() * coin.asset_returns.to_numpy() > 0),
        "turnover": coin.returns["turnover"].mean(),
        "annual_cost": coin.returns["turnover"].mean() * 5e-4 * 252,
        "breakeven_bps": 1e4 * coin.returns["gross"].sum() / coin.returns["turnover"].sum(),
        "gross_exposure": 1.0,
        "held": 3.0,
        "cost_bps": 5.0,
        "n_periods": len(net),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    assert found["calmar"] == pytest.approx(found["annual_return"] / -found["max_drawdown"])
    assert found["sharpe_se"] == sharpe_ratio(net).se
    assert found["sharpe_gross_se"] == sharpe_ratio(coin.returns["gross"]).se
    assert found["psr"] == tsf.probabilistic_sharpe(net)
    assert list(sheet.table.index) == [name for name, _, _ in MEASURES]


def test_largest_drawdown_is_that_of_empyrical_whose_dates_are_ours():
    rng = np.random.default_rng(0)
    for _ in range(30):
        net = rng.normal(0, 0.02, 60)
        peak, trough, recovered, length = sheets._drawdown(net)
        capital = np.r_[1.0, np.cumprod(1 + net)]
        assert capital[trough + 1] / capital[peak + 1] - 1 == pytest.approx(
            empyrical.max_drawdown(net)
        )
        if recovered is not None:
            assert capital[recovered + 1] >= capital[peak + 1]
        assert length == (len(net) - 1 if recovered is None else recovered) - peak


def test_length_of_a_drawdown_by_hand():
    # 1.1, .99, .95, 1.045, 1.15: under the first peak for three periods, above it in the fourth
    net = np.array([0.1, -0.1, -0.04, 0.1, 0.1])
    assert sheets._drawdown(net) == (0, 2, 4, 4)
    assert sheets._drawdown(np.array([-0.1, 0.05, 0.2])) == (-1, 0, 2, 3)  # from the beginning
    assert sheets._drawdown(np.array([0.1, -0.2, 0.1])) == (0, 1, None, 2)  # not made good
    assert sheets._drawdown(np.array([0.1, 0.0, 0.2]))[3] == 0


def test_an_unchanged_price_is_no_rise():
    panel = prices_of(np.array([[0.1], [0.1], [0.0], [0.0], [0.1]]))
    days = panel.index.get_level_values("date")
    weights = pd.DataFrame({"s0": [1.0, 1.0, -1.0, 1.0]}, index=days[:4])
    found = tsf.tearsheet(tsf.backtest_strategy(weights, panel), benchmark=False).table["weights"]
    assert found["base_rate"] == 0.5 and found["accuracy"] == 0.75


def test_rest_at_the_peak_is_no_part_of_a_drawdown():
    net = np.array([0.0, 0.0, 0.1, 0.0, 0.0, -0.1, 0.05])
    assert sheets._drawdown(net) == (4, 5, None, 2)
    assert sheets._drawdown(np.array([0.0, 0.0, -0.1, 0.2])) == (1, 2, 3, 2)


def test_drawdowns_have_dates():
    returns = np.array([[0.1], [-0.1], [-0.04], [0.1], [0.1]])
    strategy = traded(returns, np.ones((5, 1)), bps=0)
    found = tsf.tearsheet(strategy, benchmark=False)
    row = found.drawdowns.loc["weights"]
    days = strategy.returns.index
    assert (row["peak"], row["trough"], row["recovered"]) == (days[0], days[2], days[4])
    assert row["length"] == found.table.loc["drawdown_length", "weights"] == 4
    assert f"from {days[0].date()} to {days[2].date()}, made good on {days[4].date()}" in str(found)
    falling = tsf.tearsheet(traded(-np.abs(returns), np.ones((5, 1))), benchmark=False)
    assert pd.isna(falling.drawdowns.loc["weights", "peak"])
    assert pd.isna(falling.drawdowns.loc["weights", "recovered"])
    assert "from the beginning to" in str(falling) and "not made good by the end" in str(falling)


def test_accuracy_stands_beside_base_rate_and_shares():
    panel = prices_of(np.array([[0.1], [0.1], [-0.1], [0.1], [-0.1], [0.1]]))
    days = panel.index.get_level_values("date")
    weights = pd.DataFrame({"s0": [1.0, 1.0, -1.0, 0.0]}, index=days[:4])
    found = tsf.tearsheet(tsf.backtest_strategy(weights, panel), benchmark=False).table["weights"]
    # filled a session later: outcomes up, down, up, down
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert (found["base_rate"], found["calls"]) == (0.5, 3)
    assert (found["share_long"], found["share_flat"], found["share_short"]) == (0.5, 0.25, 0.25)


def test_hits_of_what_is_filled_at_the_open_are_of_what_was_earned():
    days = pd.bdate_range("2024-01-01", periods=5, name="date")
    # held from the open of the second day to that of the fourth: a gain, a loss, a gain by night
    panel = pd.DataFrame({"open": [10.0, 8, 9, 10, 9], "close": [10.0, 9, 8, 8, 9]}, index=days)
    weights = pd.Series([1.0, 1.0, 0.0], index=days[:3])
    held = tsf.backtest_strategy(weights, panel, fill="open", costs=tsf.Costs(0, 0, 0))
    np.testing.assert_allclose(held.returns["gross"], [1 / 8, -1 / 9, 1 / 4, 0])
    found = tsf.tearsheet(held, benchmark=False).table["weights"]
    assert found["hit_rate_positions"] == found["hit_rate_periods"] == pytest.approx(2 / 3)


def test_buy_and_hold_stands_beside_at_the_same_costs(coin, sheet):
    hold = coin.buy_and_hold().returns
    found = sheet.table["buy and hold"]
    assert found["annual_cost"] == pytest.approx(5e-4 * 252 / len(hold))
    growth = (1 + hold["gross"]).prod()
    levels = (1 + coin.asset_returns).prod()
    assert growth == pytest.approx(levels.mean())  # equal parts, then left alone
    assert (
        sheet.table.loc["benchmark_p", "coin"]
        == sharpe_difference(coin.returns["net"], hold["net"]).p
    )
    assert found[["dsr", "trials", "scored", "accuracy"]].isna().all()
    assert "buy and hold" not in tsf.tearsheet(coin, benchmark=False).table


# Trials


def test_trials_are_those_given_or_shown_or_scored():
    returns = noise(100, 2, seed=77)
    signs = [np.sign(noise(100, 2, seed=seed)) for seed in range(4)]
    runs = [traded(returns, sign) for sign in signs]
    assert [run.scored for run in runs] == [1, 2, 3, 4]
    assert tsf.tearsheet(runs[0]).table.loc["trials", "weights"] == 1
    shown = tsf.tearsheet({"a": runs[0], "b": runs[1]}).table
    assert (shown.loc["trials", ["a", "b"]] == 2).all() and (
        shown.loc["scored", ["a", "b"]] == 2
    ).all()
    assert tsf.tearsheet(runs[3]).table.loc["trials", "weights"] == 4
    given = tsf.tearsheet(runs[3], trials=30).table["weights"]
    assert given["trials"] == 30 and given["scored"] == 4
    assert given["expected_maximum"] == pytest.approx(expected_maximum(30, 252 / 99))
    assert given["dsr"] == tsf.deflated_sharpe(runs[3].returns["net"], 30).probability
    tuning = tsf.Tuning(pd.DataFrame(), {}, 0.0, None, 9)
    assert tsf.tearsheet(runs[0], trials=tuning).table.loc["trials", "weights"] == 9
    with pytest.raises(ValueError, match="'trials': expected a whole number of at least 1"):
        tsf.tearsheet(runs[0], trials=0)
    apart = {name: informed(0.0, seed=78 + i, n=100) for i, name in enumerate("abc")}
    assert all(run.scored == 1 for run in apart.values())  # on prices of their own
    assert (tsf.tearsheet(apart).table.loc["trials", list("abc")] == 3).all()


def test_returns_of_trials_give_their_number_variance_and_overfitting(coin):
    trials = pd.DataFrame(noise(320, 12, seed=9))
    found = tsf.tearsheet(coin, trial_returns=trials)
    ratios = trials.mean() / trials.std() * math.sqrt(252)
    row = found.table["weights"]
    assert row["trials"] == 12
    assert row["expected_maximum"] == pytest.approx(expected_maximum(12, ratios.var()))
    overfitting = tsf.backtest_overfitting(trials)
    assert found.overfitting.probability == overfitting.probability
    assert "Of 12 trials, the best on half of the time was in the lower half" in str(found)
    assert "of 12,870 splits (the probability of backtest overfitting)" in str(found)
    more = tsf.tearsheet(coin, trials=40, trial_returns=trials.assign(rest=0.0))
    assert more.table.loc["trials", "weights"] == 40
    assert tsf.tearsheet(coin).overfitting is None


# Verdicts


def test_a_profit_is_called_one():
    said = tsf.tearsheet({"lstm": informed(0.5)}, trials=20).verdicts()[0]
    assert said.startswith("lstm: profit after costs (net Sharpe ")
    assert "p < 0.001; PSR above 0.999; deflated for 20 trials above 0.999; breaks even at" in said
    assert "Better than buy and hold" in said


def test_no_evidence_is_called_so(sheet):
    said = sheet.verdicts()[0]
    row = sheet.table["coin"]
    assert said.startswith(
        f"coin: no evidence of profit after costs (net Sharpe {row['sharpe']:.2f} with a HAC error "
        f"of {row['sharpe_se']:.2f}, p = "
    )
    assert f"PSR {row['psr']:.2g}; deflated for 50 trials " in said
    long = row["share_long"] / (row["share_long"] + row["share_short"])
    assert (
        f"Direction right in {100 * row['accuracy']:.0f} % of its calls, {100 * long:.0f} % of "
        f"them long; {100 * row['base_rate']:.0f} % of all outcomes are rises."
    ) in said


def test_of_a_few_calls_no_share_is_said():
    signs = np.zeros((60, 1))
    signs[20:50] = 1.0  # held for long, but decided once
    panel = prices_of(noise(60, 1))
    days = panel.index.get_level_values("date").unique()
    weights = pd.DataFrame({"s0": [1.0]}, index=days[[20]])
    for found, words in (
        (weights, "1 call of a direction is too few"),
        (pd.DataFrame({"s0": np.tile([1.0, -1.0], 3)}, days[20:26]), "6 calls of a direction are"),
    ):
        said = tsf.tearsheet(tsf.backtest_strategy(found, panel)).verdicts()[0]
        assert words in said and "rises" not in said and "% of its calls" not in said


def test_a_loss_is_called_one():
    said = tsf.tearsheet({"lstm": informed(-0.5)}).verdicts()[0]
    assert said.startswith("lstm: a loss after costs (net Sharpe -")
    assert "p < 0.001; PSR below 0.001" in said and "no gain before costs either" in said
    assert "Worse than buy and hold" in said


def test_what_the_best_of_many_shows_is_no_evidence():
    returns = noise(500, 1, seed=5)
    returns += 0.12 * returns.std(ddof=1) - returns.mean()
    strategy = traded(returns, np.ones((500, 1)), bps=0.1)
    alone = tsf.tearsheet(strategy).verdicts()[0]
    assert alone.startswith("weights: profit after costs")
    assert "Not told apart from buy and hold" in alone  # it is just that
    many = tsf.tearsheet(strategy, trials=1000).verdicts()[0]
    assert "no evidence of profit after costs beyond the luck of the best of 1,000 trials" in many


def test_what_dependence_can_show_is_no_evidence():
    returns = np.repeat(noise(250, 1, seed=5), 2, axis=0)  # every return comes twice
    returns += 0.085 * returns.std(ddof=1) - returns.mean()
    sheet = tsf.tearsheet(traded(returns, np.ones((500, 1)), bps=0.1))
    found = sheet.table["weights"]
    assert found["psr"] > 0.95 and found["sharpe_p"] > 0.05
    assert sheet.verdicts()[0].startswith("weights: no evidence of profit after costs (net Sharpe")


def test_costs_that_are_not_counted_are_named():
    said = tsf.tearsheet(informed(0.5, bps=0)).verdicts()[0]
    assert "profit before costs (none are counted)" in said


def test_the_level_is_that_of_the_claim():
    strategy = informed(0.0, seed=3, bps=0)
    p = tsf.tearsheet(strategy).table.loc["sharpe_p", "weights"]
    loose = tsf.tearsheet(strategy, alpha=min(0.99, max(p, 1 - p) + 0.01)).verdicts()[0]
    assert "no evidence" not in loose
    with pytest.raises(ValueError, match="'alpha': expected a number between 0 and 1"):
        tsf.tearsheet(strategy, alpha=0)


def test_no_position_leaves_nothing_to_judge():
    sheet = tsf.tearsheet(traded(noise(50, 2), np.zeros((50, 2))))
    assert sheet.verdicts() == ["weights: holds no position, so that there is nothing to judge."]
    found = sheet.table["weights"]
    for name in ("sharpe", "sharpe_p", "psr", "dsr", "sortino", "calmar", "value_at_risk"):
        assert math.isnan(found[name]), name
    assert (found["annual_return"], found["max_drawdown"], found["drawdown_length"]) == (0, 0, 0)
    assert "nothing to judge" in str(sheet)


def test_a_few_periods_are_too_few():
    sheet = tsf.tearsheet(traded(noise(5, 2), np.ones((5, 2))))
    assert sheet.verdicts() == ["weights: 5 periods of returns are too few to judge."]
    assert math.isfinite(sheet.table.loc["sharpe", "weights"])
    one = tsf.tearsheet(traded(noise(1, 2), np.ones((1, 2))))
    assert one.verdicts() == ["weights: 1 period of returns is too little to judge."]


def test_returns_that_never_move_are_said():
    sheet = tsf.tearsheet(traded(np.zeros((30, 1)), np.ones((30, 1)), bps=0))
    assert "net returns that never move leave nothing to judge" in sheet.verdicts()[0]


def test_a_resting_price_in_the_last_part_is_no_error():
    returns = np.vstack([noise(200, 1), np.zeros((100, 1))])
    sheet = tsf.tearsheet(traded(returns, np.ones((300, 1)), start="2020-04-01"), sub_periods="QE")
    assert math.isnan(sheet.sub_periods.iloc[-1]["sharpe"]) and str(sheet)


# Parts, costs, years


def test_parts_are_calendar_years_and_sum_to_the_whole(coin, sheet):
    parts = sheet.sub_periods[sheet.sub_periods["strategy"] == "coin"]
    net = coin.returns["net"]
    assert parts["n_periods"].tolist() == net.groupby(net.index.year).size().tolist()
    for _, part in parts.iterrows():
        cut = net.loc[part["start"] : part["end"]]
        assert part["sharpe"] == pytest.approx(cut.mean() / cut.std() * math.sqrt(252))
        assert part["annual_return"] == pytest.approx((1 + cut).prod() ** (252 / len(cut)) - 1)
    assert parts["start"].iloc[0] == net.index[0] and parts["end"].iloc[-1] == net.index[-1]


def test_parts_may_begin_at_dates(coin):
    cut = ["2020-03-01", "2020-09-01", "2030-01-01"]
    found = tsf.tearsheet(coin, sub_periods=cut, benchmark=False).sub_periods
    assert len(found) == 3
    assert found["start"].iloc[1] == coin.returns.loc["2020-03-01":].index[0]
    assert found["n_periods"].sum() == len(coin.returns)
    quarters = tsf.tearsheet(coin, sub_periods="QE", benchmark=False).sub_periods
    assert quarters["n_periods"].sum() == len(coin.returns) and len(quarters) > 6


def test_parts_that_cannot_be_made(coin):
    with pytest.raises(ValueError, match="'sub_periods': expected a pandas frequency"):
        tsf.tearsheet(coin, sub_periods="years")
    with pytest.raises(ValueError, match="'sub_periods': expected a time between those of the"):
        tsf.tearsheet(coin, sub_periods=["2030-01-01"])
    with pytest.raises(ValueError, match="'sub_periods': expected times like"):
        tsf.tearsheet(coin, sub_periods=["soon"])
    with pytest.raises(ValueError, match="'sub_periods': expected a pandas frequency, or a list"):
        tsf.tearsheet(coin, sub_periods=3)


def test_one_year_is_not_cut():
    one = tsf.tearsheet(traded(noise(40, 1), np.ones((40, 1))))
    assert len(one.sub_periods) == 0 and "Parts of the time" not in str(one)


def test_cost_curve_crosses_zero_at_the_break_even(coin):
    curve = tsf.tearsheet(informed(0.12, seed=3), benchmark=False).cost_curve
    assert curve["cost_bps"].tolist() == list(range(11))
    assert (
        curve["annual_return"].is_monotonic_decreasing and curve["sharpe"].is_monotonic_decreasing
    )
    at = informed(0.12, seed=3).breakeven_bps
    assert 0 < at < 10
    assert (curve["sharpe"] > 0).tolist() == [bps < at for bps in range(11)]
    five = curve.set_index("cost_bps").loc[5, "sharpe"]
    net = informed(0.12, seed=3, bps=5).returns["net"]
    assert five == pytest.approx(sharpe_ratio(net).value)


@pytest.mark.parametrize(
    "index, periods",
    [
        (pd.bdate_range("2024-01-01", periods=300), 252),
        (pd.bdate_range("2024-01-01", periods=300).delete([3, 60, 61, 200]), 252),
        (pd.bdate_range("2024-01-01", periods=300, tz="America/New_York"), 252),
        (pd.date_range("2024-01-01", periods=300), 365),
        (pd.date_range("2024-01-01", periods=60, freq="W-FRI"), 52),
        (pd.date_range("2024-01-01", periods=30, freq="ME"), 12),
        (pd.date_range("2010-01-01", periods=30, freq="QE"), 4),
        (pd.date_range("1990-01-01", periods=30, freq="YE"), 1),
        (pd.date_range("2024-01-01", periods=8766, freq="h"), 8766),
        (pd.RangeIndex(100), 252),
    ],
)
def test_periods_of_a_year_are_told_by_the_times(index, periods):
    found, how = periods_per_year(index)
    assert found == pytest.approx(periods, rel=0.01)
    assert f"{periods:,}" in how


def test_periods_given_scale_what_is_annual(coin, sheet):
    monthly = tsf.tearsheet(coin, periods=12)
    ratio = monthly.table.loc["sharpe", "weights"] / sheet.table.loc["sharpe", "coin"]
    assert ratio == pytest.approx(math.sqrt(12 / 252))
    assert monthly.notes[0] == "A year is taken as 12 periods, as given."
    with pytest.raises(ValueError, match="'periods': expected a number above 0"):
        tsf.tearsheet(coin, periods=0)


def test_times_that_are_no_dates_have_a_tear_sheet():
    panel = tsf.make_prices(2, 120, random_state=0).droplevel(1)
    panel.index = pd.MultiIndex.from_arrays(
        [panel.index, np.tile(np.arange(120), 2)], names=["ticker", "step"]
    )
    weights = pd.DataFrame(0.5, index=range(100), columns=panel.index.levels[0])
    found = tsf.tearsheet(tsf.backtest_strategy(weights, panel))
    assert found.periods == 252 and "the times are no dates" in found.notes[0]
    assert len(found.sub_periods) == 0 and str(found)
    with pytest.raises(ValueError, match="'sub_periods': expected the times at which parts begin"):
        tsf.tearsheet(tsf.backtest_strategy(weights, panel), sub_periods="YE")
    two = tsf.tearsheet(tsf.backtest_strategy(weights, panel), sub_periods=[50], benchmark=False)
    assert two.sub_periods["start"].tolist() == [2, 50]


# Notes, seeds, errors


def test_notes_say_how_orders_are_filled():
    returns, signs = noise(60, 2), np.sign(noise(60, 2, seed=1))
    late, same = traded(returns, signs), traded(returns, signs, lag="same close", bps=1)
    found = tsf.tearsheet(late)
    assert "orders are filled at the close, lag 1." in found.notes[1]
    assert "Costs per side: 5 bps (commission 5, half spread 0, slippage 0)" in str(found)
    alone = tsf.tearsheet(same)
    assert any("upper bound" in note for note in alone.notes)
    costly = tsf.tearsheet({"cheap": traded(returns, signs, bps=1), "dear": late})
    assert any(note.startswith("cheap: Costs per side: 1 bps") for note in costly.notes)
    assert any(note.startswith("buy and hold: Costs per side: 1 bps") for note in costly.notes)


def test_strategies_of_other_periods_are_refused(coin):
    with pytest.raises(
        DataError, match="stand on different periods: expected the 500 of 'a', .* found 400 of 'b'"
    ):
        tsf.tearsheet({"a": coin, "b": informed(0.0, n=400)})


def test_what_is_no_strategy_is_refused(coin):
    for wrong in (coin.returns, {}, {"a": coin.returns["net"]}):
        with pytest.raises(ValueError, match="'strategies': expected a Strategy that backtest_str"):
            tsf.tearsheet(wrong)
    with pytest.raises(ValueError, match="'strategies': expected other names than 'buy and hold'"):
        tsf.tearsheet({"buy and hold": coin})
    with pytest.raises(ValueError, match="other names than 'buy and hold'.*Give it one"):
        tsf.tearsheet(coin.buy_and_hold())


def test_missing_returns_are_refused(coin):
    from dataclasses import replace

    broken = replace(coin, returns=coin.returns.assign(net=coin.returns["net"].shift()))
    with pytest.raises(DataError, match="returns are missing or infinite .*found 1 of 'weights'"):
        tsf.tearsheet(broken)


def test_without_empyrical_the_error_says_what_to_install(coin, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "empyrical":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r'pip install "tsforecast\[finance\]"'):
        tsf.tearsheet(coin)


def test_seeds_have_a_mean_and_a_spread():
    runs = [informed(0.0, seed=3), informed(0.0, seed=4), informed(0.0, seed=5)]
    found = tsf.seed_table({"coin": runs, "two": {0: runs[0], 1: runs[1]}})
    each = np.array([sharpe_ratio(run.returns["net"]).value for run in runs])
    row = found.loc["sharpe", "coin"]
    assert row.tolist() == pytest.approx([each.mean(), each.std(ddof=1), each.min(), each.max()])
    assert found.loc["sharpe", ("two", "mean")] == pytest.approx(each[:2].mean())
    assert found.attrs["seeds"] == {"coin": 3, "two": 2}
    assert "trials" not in found.index


def test_seeds_that_cannot_be_compared(coin):
    with pytest.raises(DataError, match="no spread over seeds: .* found 1 of 'lstm'"):
        tsf.seed_table({"lstm": [coin]})
    with pytest.raises(ValueError, match="'strategies': expected a dict of lists"):
        tsf.seed_table([coin])
    for wrong in (coin.returns, [coin, coin.returns], 3):
        with pytest.raises(ValueError, match="'strategies': expected lists of what backtest_strat"):
            tsf.seed_table({"lstm": wrong})
    with pytest.raises(DataError, match="stand on different periods"):
        tsf.seed_table({"lstm": [coin, informed(0.0, n=400)]})


def test_every_measure_is_printed_with_its_own_figure():
    sheet = tsf.tearsheet(informed(0.2, bps=40), benchmark=False)
    column = sheet.table["weights"]
    lines = printed(sheet.table).splitlines()[1:]
    known = [measure for measure in MEASURES if not math.isnan(column[measure[0]])]
    assert len(lines) == len(known)
    for line, (name, words, kind) in zip(lines, known):
        assert line.startswith(words)
        figure = float(re.sub("[ %,<]", "", line.removeprefix(words)))
        expected = 100 * column[name] if kind == "%" else column[name]
        assert figure == pytest.approx(expected, abs=0.501 if kind == "n" else 0.0051), name


def test_a_sheet_is_short_to_see_and_long_to_print(sheet):
    assert repr(sheet) == "TearSheet(coin; 500 periods)"
    text = str(sheet)
    for part in ("Sharpe ratio, net", "Largest drawdowns", "Parts of the time", "Costs per side"):
        assert part in text
    assert "nan" not in text.lower().replace("finance", "")
