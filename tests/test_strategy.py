"""Strategies against a loop over days in money, worked cases, identities, and every bad input."""

from __future__ import annotations

import math
import pickle
import re

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.backtesting.lookahead import LookaheadError
from tsforecast.backtesting.strategy import Costs, backtest_strategy

FREE = Costs(0, 0, 0)
NAMES = ["A", "B", "C", "D"]


def make_prices(n=60, names=NAMES, seed=0):
    """Closes and opens, time x series."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2024-01-01", periods=n, name="date")
    close = 50 * np.exp(0.02 * rng.normal(size=(n, len(names))).cumsum(axis=0))
    opens = close * np.exp(0.01 * rng.normal(size=close.shape))
    return (pd.DataFrame(values, index=days, columns=names) for values in (close, opens))


def panel_of(close, opens=None, **columns):
    """A panel of wide tables."""
    tables = {"close": close, **({} if opens is None else {"open": opens}), **columns}
    wide = pd.concat(tables, axis=1)
    panel = wide.stack(level=1, future_stack=True).swaplevel().sort_index()
    return panel.rename_axis(["ticker", "date"]).dropna(how="all")


def frame_of(forecasts, **columns):
    """A frame of forecasts of time x series."""
    rows = forecasts.rename_axis(index="cutoff", columns="series").stack(future_stack=True)
    rows = rows.rename("forecast").reset_index()
    return rows.assign(**({"model": "m", "target": "close", "step": 1} | columns))


def by_hand(weights, close, opens, *, lag, fill, per_side):
    """The same in money, a loop over days in pandas; equity starts each day at 1."""
    held, rows, days = pd.Series(0.0, close.columns), {}, list(close.index)
    for i in range(1, len(days)):
        turn = opens.iloc[i] if fill == "open" else close.iloc[i - 1]
        night, day = turn / close.iloc[i - 1] - 1, close.iloc[i] / turn - 1
        decided = i - lag - (fill == "close")
        value, equity, turnover = held * (1 + night), 1 + (held * night).sum(), 0.0
        if decided >= 0 and days[decided] in weights.index:
            target = equity * weights.loc[days[decided]]
            turnover, value = (target - value).abs().sum(), target
        end = equity + (value * day).sum()
        rows[days[i]] = {"gross": end - 1, "net": end - 1 - per_side * turnover}
        held = value * (1 + day) / end
    return pd.DataFrame.from_dict(rows, orient="index")


def weights_like(what, close):
    rng = np.random.default_rng(1)
    if what == "buy and hold":
        return pd.DataFrame(0.25, index=close.index[:1], columns=close.columns)
    if what == "foresight":
        return np.sign(close.shift(-2) / close.shift(-1) - 1).fillna(0) / close.shape[1]
    some = close.index[np.sort(rng.choice(len(close), len(close) // 2, replace=False))]
    drawn = rng.uniform(-0.3, 0.3, (len(some), close.shape[1]))
    return pd.DataFrame(drawn, index=some, columns=close.columns)


# what a loop in money gives


@pytest.mark.parametrize("what", ["buy and hold", "foresight", "random"])
@pytest.mark.parametrize(
    ("lag", "fill"), [("same close", "close"), (1, "close"), (2, "close"), (1, "open"), (3, "open")]
)
def test_returns_equal_those_of_a_loop_in_money(what, lag, fill):
    close, opens = make_prices()
    weights = weights_like(what, close)
    costs = Costs(1.5, 2, 4)
    found = backtest_strategy(weights, panel_of(close, opens), lag=lag, fill=fill, costs=costs)
    sessions = 0 if lag == "same close" else lag
    expected = by_hand(weights, close, opens, lag=sessions, fill=fill, per_side=7.5e-4)
    expected = expected.loc[found.returns.index]
    assert len(expected) >= len(close) - 8 - sessions
    for column in ("gross", "net"):
        np.testing.assert_allclose(found.returns[column], expected[column], rtol=0, atol=1e-12)
    assert (found.returns["cost"] >= 0).all() and found.returns["cost"].sum() > 0


def test_rows_begin_at_the_first_fill():
    close, opens = make_prices(10)
    weights = weights_like("buy and hold", close)
    panel = panel_of(close, opens)
    for lag, fill, first in ((1, "close", 2), (1, "open", 1), (2, "close", 3)):
        found = backtest_strategy(weights, panel, lag=lag, fill=fill)
        assert list(found.returns.index) == list(close.index[first:])
        assert found.weights.index.equals(found.returns.index)
        assert found.asset_returns.shape == found.weights.shape == (10 - first, 4)


def test_what_is_bought_and_held_grows_with_its_prices():
    close, opens = make_prices()
    shares = pd.DataFrame([[0.4, 0.3, 0.0, -0.2]], index=close.index[:1], columns=NAMES)
    for fill, start in (("close", close.iloc[1]), ("open", opens.iloc[1])):
        found = backtest_strategy(shares, panel_of(close, opens), fill=fill, costs=FREE)
        growth = (1 + found.returns["gross"]).prod()
        gains = shares.iloc[0] * (close.iloc[-1] / start - 1)
        assert growth == pytest.approx(1 + gains.sum(), abs=1e-12)
        assert (found.returns["turnover"].iloc[1:] == 0).all()
        assert found.returns["turnover"].iloc[0] == pytest.approx(0.9)


def test_foresight_without_costs_earns_every_move():
    close, _ = make_prices(30, ["A"])
    moves = close["A"].pct_change().iloc[1:]
    sides = np.sign(close.shift(-1) / close - 1).iloc[:-1]
    found = backtest_strategy(sides, panel_of(close), lag="same close", costs=FREE)
    np.testing.assert_allclose(found.returns["gross"], moves.abs(), atol=1e-12)


def test_weights_drift_and_turnover_is_what_is_missing_to_the_target():
    days = pd.RangeIndex(4)
    close = pd.DataFrame({"A": [10.0, 10, 20, 20], "B": [10.0, 10, 10, 10]}, index=days)
    weights = pd.DataFrame(0.5, index=[0, 1], columns=["A", "B"])
    found = backtest_strategy(weights, panel_of(close), costs=Costs(100, 0, 0))
    # bought at 10; A doubles, so that it is 2/3; a sixth of A is sold, a sixth of B bought
    np.testing.assert_allclose(found.returns["gross"], [0.5, 0.0])
    np.testing.assert_allclose(found.returns["turnover"], [1.0, 1 / 3])
    np.testing.assert_allclose(found.returns["cost"], [0.01, 0.01 / 3])
    np.testing.assert_allclose(found.trades, [[0.5, 0.5], [-1 / 6, 1 / 6]])
    held = backtest_strategy(weights.iloc[:1], panel_of(close))
    np.testing.assert_allclose(held.weights, [[0.5, 0.5], [2 / 3, 1 / 3]])


def test_the_night_belongs_to_the_old_weights_and_the_day_to_the_new_ones():
    close = pd.DataFrame({"A": [100.0, 100.0, 100.0]})
    opens = pd.DataFrame({"A": [100.0, 50.0, 200.0]})
    weights = pd.DataFrame({"A": [0.5, 0.0, 0.0]})
    found = backtest_strategy(weights, panel_of(close, opens), fill="open", costs=Costs(100, 0, 0))
    # bought at 50, sold at 200: half of the capital doubles, two thirds of the rest double again
    np.testing.assert_allclose(found.returns["gross"], [0.5, 2 / 3])
    np.testing.assert_allclose(found.returns["turnover"], [0.5, 4 / 3])
    np.testing.assert_allclose(found.returns["cost"], [0.005, 0.04 / 3])


def test_a_lag_more_is_a_decision_a_session_later():
    close, opens = make_prices()
    panel = panel_of(close, opens)
    weights = weights_like("foresight", close).iloc[:-5]
    later = weights.set_axis(close.index[1 : len(weights) + 1])
    for fill in ("close", "open"):
        one = backtest_strategy(weights, panel, lag=3, fill=fill)
        two = backtest_strategy(later, panel, lag=2, fill=fill)
        pd.testing.assert_frame_equal(one.returns, two.returns, check_exact=True)


def test_foresight_does_not_survive_the_lag():
    close, _ = make_prices(400)
    sides = (np.sign(close.shift(-1) / close - 1).fillna(0) / 4).iloc[:-1]
    same = backtest_strategy(sides, panel_of(close), lag="same close", costs=FREE)
    late = backtest_strategy(sides, panel_of(close), lag=1, costs=FREE)
    assert same.returns["gross"].mean() > 10 * abs(late.returns["gross"].mean())


# sums and invariances


def test_costs_are_zero_net_at_the_break_even():
    close, opens = make_prices()
    for fill in ("close", "open"):
        found = backtest_strategy(
            weights_like("foresight", close), panel_of(close, opens), fill=fill
        )
        assert found.breakeven_bps > 10
        even = found.with_costs(Costs(found.breakeven_bps, 0, 0))
        assert even.returns["net"].sum() == pytest.approx(0, abs=1e-14)


def test_nothing_traded_has_no_break_even():
    close, _ = make_prices(8)
    nothing = pd.DataFrame(0.0, index=close.index, columns=NAMES)
    found = backtest_strategy(nothing, panel_of(close))
    assert math.isnan(found.breakeven_bps) and found.attribution()["share"].isna().all()
    assert (found.returns == 0).all(axis=None)


def test_other_costs_give_what_a_run_with_them_gives():
    close, _ = make_prices()
    weights, panel = weights_like("random", close), panel_of(close)
    one = backtest_strategy(weights, panel).with_costs(Costs(3, 4, 5))
    two = backtest_strategy(weights, panel, costs=Costs(3, 4, 5))
    pd.testing.assert_frame_equal(one.returns, two.returns, check_exact=True)
    assert one.costs.bps == 12 and one.costs.per_side == pytest.approx(12e-4)
    with pytest.raises(ValueError, match=r"parameter 'costs': expected tsf.Costs"):
        one.with_costs(5)


@pytest.mark.parametrize("fill", ["close", "open"])
def test_attribution_sums_to_the_total(fill):
    close, opens = make_prices()
    found = backtest_strategy(weights_like("random", close), panel_of(close, opens), fill=fill)
    table = found.attribution()
    for column in ("gross", "cost", "net"):
        assert table[column].sum() == pytest.approx(found.returns[column].sum(), abs=1e-14)
    assert table["share"].sum() == pytest.approx(1)
    assert list(table.index) == NAMES and (table["days"] == (found.weights != 0).sum()).all()


def test_contributions_are_weight_times_return_where_trades_are_at_the_close():
    close, _ = make_prices()
    found = backtest_strategy(weights_like("random", close), panel_of(close))
    np.testing.assert_allclose(found.contributions, found.weights * found.asset_returns, atol=1e-15)


def test_the_order_of_series_does_not_matter():
    close, opens = make_prices()
    weights = weights_like("random", close)
    panel = panel_of(close, opens)
    turned = pd.concat([panel.loc[[name]] for name in NAMES[::-1]])
    one = backtest_strategy(weights, panel, fill="open")
    two = backtest_strategy(weights[NAMES[::-1]].iloc[::-1], turned, fill="open")
    pd.testing.assert_frame_equal(one.returns, two.returns, check_exact=True)
    pd.testing.assert_frame_equal(one.weights, two.weights, check_exact=True)


def test_a_strategy_survives_pickling_and_says_what_it_is():
    close, _ = make_prices()
    found = backtest_strategy(weights_like("random", close), panel_of(close), lag="same close")
    again = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(found.returns, again.returns)
    assert repr(again) == repr(found)
    for part in ("lag='same close'", "5 bps per side", "2024-03-22:", "upper bound"):
        assert part in repr(found)


def test_buy_and_hold_is_equal_weights_from_the_same_fill():
    close, opens = make_prices()
    panel = panel_of(close, opens)
    found = backtest_strategy(weights_like("random", close), panel, fill="open", lag=2)
    hold = found.buy_and_hold()
    equal = pd.DataFrame(0.25, index=found.decisions["time"].iloc[:1], columns=NAMES)
    expected = backtest_strategy(equal, panel, fill="open", lag=2)
    pd.testing.assert_frame_equal(hold.returns, expected.returns, check_exact=True)
    assert hold.name == "buy and hold" and hold.returns.index.equals(found.returns.index)


def test_what_is_not_spoken_of_is_neither_decided_nor_in_buy_and_hold():
    close, _ = make_prices()
    panel = panel_of(close)
    alone = backtest_strategy(pd.DataFrame(0.5, close.index, ["B"]), panel)
    assert set(alone.decisions["series"]) == {"B"}
    for given in (pd.DataFrame(0.5, close.index, ["A", "C"]), frame_of(1.1 * close[["A", "C"]])):
        found = backtest_strategy(given, panel)
        assert set(found.decisions["series"]) == {"A", "C"}
        assert set(found.buy_and_hold().attribution().query("days > 0").index) == {"A", "C"}
        mask = pd.DataFrame(True, index=close.index, columns=NAMES).assign(C=False)
        held = backtest_strategy(given, panel, universe=mask).buy_and_hold().weights
        assert (held.iloc[0] == [1, 0, 0, 0]).all()


def test_buy_and_hold_holds_what_ends_or_lacks_a_price():
    close, _ = make_prices(30)
    close.iloc[10, 1] = np.nan
    close.iloc[20:, 2] = np.nan
    weights = pd.DataFrame(0.25, index=close.index, columns=NAMES).assign(B=0.0, C=0.0)
    mask = pd.DataFrame(True, index=close.index, columns=NAMES).assign(D=close.index > "2024-01-20")
    leaving = pd.Series({"C": -0.5})
    found = backtest_strategy(
        weights, panel_of(close), universe=mask, delisting=leaving, costs=FREE
    )
    hold = found.buy_and_hold()  # D was no member on the first day
    last = close[["A", "B"]].iloc[-1] / close[["A", "B"]].iloc[1]
    expected = (last.sum() + 0.5 * close["C"].iloc[19] / close["C"].iloc[1]) / 3
    assert (1 + hold.returns["gross"]).prod() == pytest.approx(expected)
    assert any("Delisted while held" in note for note in hold.notes)


# nothing looks ahead


def test_weights_ignore_later_prices():
    close, opens = make_prices(90)
    frame = frame_of(close * 1.001, step=1)

    def weights(panel):
        return backtest_strategy(frame, panel, fill="open", vol_target=0.1, missing="hold").weights

    report = tsf.check_no_lookahead(weights, panel_of(close, opens))
    assert (report["compared"] > 0).all() and (report["note"] == "").all()


def test_returns_ignore_later_rows():
    close, _ = make_prices(90)
    weights = weights_like("random", close).abs() / 2  # no short is ruined by what is altered

    def returns(panel):
        return backtest_strategy(weights, panel, missing="hold").returns

    report = tsf.check_no_lookahead(returns, panel_of(close))
    assert (report["compared"] > 0).all()


def trend(rows, panel):
    """An honest rule: the sign of the move over five sessions."""
    wide = panel["close"].unstack(level=0)
    return np.sign(wide.pct_change(5).fillna(0)) / 4


def by_rank(rows, panel):
    """Honest, too: ranks within a cutoff."""
    rank = rows.groupby("cutoff")["forecast"].rank(pct=True)
    return (rank - 0.625) / 4


def test_functions_of_what_is_known_are_rules():
    close, _ = make_prices()
    panel, frame = panel_of(close), frame_of(close.rolling(3, min_periods=1).mean())
    found = backtest_strategy(frame, panel, rule=trend)
    expected = backtest_strategy(trend(None, panel), panel)
    pd.testing.assert_frame_equal(found.returns, expected.returns, check_exact=True)
    assert found.rule == "function trend"
    ranked = backtest_strategy(frame, panel, rule=by_rank)
    assert ranked.returns["net_exposure"].iloc[0] == pytest.approx(0)


def next_return(rows, panel):
    wide = panel["close"].unstack(level=0)
    return np.sign(wide.shift(-1) / wide - 1).fillna(0) / 4


def over_all_time(rows, panel):
    return rows["forecast"].rank(pct=True) / 4


def against_the_mean(rows, panel):
    return np.sign(rows["forecast"] - rows["forecast"].mean()) / 4


def by_last_cutoff(rows, panel):
    return (rows["cutoff"] < rows["cutoff"].max()) / 4.0


@pytest.mark.parametrize("rule", [next_return, over_all_time, against_the_mean, by_last_cutoff])
def test_a_rule_that_looks_ahead_is_caught_by_name(rule):
    close, _ = make_prices()
    frame = frame_of(close.rolling(3, min_periods=1).mean())
    with pytest.raises(
        LookaheadError,
        match=rf"the rule looks ahead \(function {rule.__name__}\): .* without the rows after "
        r"2024-0.* move, the first of series '[A-D]' at 2024-0",
    ):
        backtest_strategy(frame, panel_of(close), rule=rule)


def test_a_function_is_not_shown_what_happened():
    close, _ = make_prices()
    seen = []

    def rule(rows, panel):
        seen.append((set(rows), rows["cutoff"].max(), panel.index.get_level_values(1).max()))
        return np.zeros(len(rows))

    frame = frame_of(close.iloc[:40], actual=1.0, in_sample=False)
    backtest_strategy(frame, panel_of(close), rule=rule)
    assert all("actual" not in columns and "in_sample" not in columns for columns, _, _ in seen)
    assert all(cutoff == last for _, cutoff, last in seen) and len(seen) == 6
    assert seen[0][1] == close.index[39]


def test_what_a_function_gives_must_be_weights():
    close, _ = make_prices()
    frame, panel = frame_of(close), panel_of(close)
    with pytest.raises(ValueError, match="a weight for each of the 240 rows"):
        backtest_strategy(frame, panel, rule=lambda rows, panel: np.zeros(3))
    with pytest.raises(ValueError, match="a weight for each"):
        backtest_strategy(frame, panel, rule=lambda rows, panel: pd.Series(0.0, rows.index + 1))
    with pytest.raises(ValueError, match="weights at each of the 60 cutoffs"):
        backtest_strategy(frame, panel, rule=lambda rows, panel: trend(rows, panel).iloc[3:])
    with pytest.raises(DataError, match=r"weights of the rule are NaN .*series 'A'"):
        backtest_strategy(frame, panel, rule=lambda rows, panel: rows["forecast"] * np.nan)
    with pytest.raises(DataError, match="weights above the limit"):
        backtest_strategy(frame, panel, rule=lambda rows, panel: rows["forecast"])


# rules


def test_sign_gives_each_series_an_equal_part():
    close, _ = make_prices(10)
    forecasts = close * [1.1, 0.9, 1.0, np.nan]
    found = backtest_strategy(frame_of(forecasts), panel_of(close))
    np.testing.assert_allclose(found.weights.iloc[0], [1 / 3, -1 / 3, 0, 0])
    assert "Forecasts that are NaN, and so no positions: 10." in found.notes


def test_a_threshold_leaves_the_middle_flat():
    close, _ = make_prices(10)
    returns = pd.DataFrame(
        np.tile([0.02, 0.005, -0.005, -0.02], (10, 1)), index=close.index, columns=NAMES
    )
    frame, panel = frame_of(returns, target="return"), panel_of(close)
    for rule, expected in (
        (tsf.Threshold(0.01), [1, 0, 0, -1]),
        (tsf.Threshold(0.0, -0.01), [1, 1, 0, -1]),
        (tsf.Threshold(0.005, -0.005), [1, 0, 0, -1]),  # at the threshold there is nothing
        (tsf.Threshold(0.0, float("-inf")), [1, 1, 0, 0]),
    ):
        found = backtest_strategy(frame, panel, rule=rule, reference=0)
        np.testing.assert_allclose(found.weights.iloc[0], np.array(expected) / 4)
    for rule in (tsf.Threshold(-0.01), tsf.Threshold(0.0, 0.1), tsf.Threshold(np.nan)):
        with pytest.raises(ValueError, match="parameter 'down': expected a number up to up="):
            backtest_strategy(frame, panel, rule=rule, reference=0)


def test_top_and_bottom_break_ties_by_name():
    close, _ = make_prices(10)
    scores = pd.DataFrame([[0.1, 0.3, 0.1, 0.1]] * 10, index=close.index, columns=NAMES)
    frame, panel = frame_of(scores, target="return"), panel_of(close)
    for rule, expected in (
        (tsf.TopBottom(1), [0, 1, 0, -1]),
        (tsf.TopBottom(2), [0.5, 0.5, -0.5, -0.5]),
        (tsf.TopBottom(2, short=False), [0.5, 0.5, 0, 0]),
        (tsf.TopBottom(2, exposure=0.5), [0.25, 0.25, -0.25, -0.25]),
    ):
        found = backtest_strategy(frame, panel, rule=rule, reference=0)
        np.testing.assert_allclose(found.weights.iloc[0], expected)
    turned = frame.iloc[::-1]
    again = backtest_strategy(turned, panel, rule=tsf.TopBottom(2), reference=0)
    np.testing.assert_allclose(again.weights.iloc[0], [0.5, 0.5, -0.5, -0.5])
    many = [f"s{i:02d}" for i in range(40)]
    close, _ = make_prices(5, many)
    scores = pd.DataFrame(0.5, index=close.index, columns=many).assign(s39=0.7, s00=0.3)
    wide = frame_of(scores, target="return")
    found = backtest_strategy(wide, panel_of(close), rule=tsf.TopBottom(3), reference=0)
    held = found.weights.iloc[0]
    assert list(held.index[held > 0]) == ["s01", "s02", "s39"]
    assert list(held.index[held < 0]) == ["s00", "s37", "s38"]
    with pytest.raises(ValueError, match="parameter 'k': expected a whole number of at least 1"):
        backtest_strategy(frame, panel, rule=tsf.TopBottom(0), reference=0)
    with pytest.raises(ValueError, match="parameter 'exposure': expected a number above 0"):
        backtest_strategy(frame, panel, rule=tsf.TopBottom(1, exposure=0), reference=0)


def test_top_and_bottom_is_that_of_sorting_each_day():
    close, _ = make_prices(50, [f"s{i:02d}" for i in range(20)])
    rng = np.random.default_rng(3)
    scores = pd.DataFrame(rng.normal(size=close.shape), close.index, close.columns)
    scores = scores.mask(rng.random(close.shape) < 0.6)
    found = backtest_strategy(
        frame_of(scores, target="return"), panel_of(close), rule=tsf.TopBottom(4), reference=0
    )
    few = 0
    for at in range(48):
        known = scores.iloc[at].dropna().sort_values()
        few += len(known) < 8
        expected = pd.Series(0.0, close.columns)
        if len(known) >= 8:
            expected[known.index[-4:]], expected[known.index[:4]] = 0.25, -0.25
        np.testing.assert_allclose(found.weights.iloc[at], expected, atol=1e-15)
    few += (scores.iloc[48:].notna().sum(axis=1) < 8).sum()
    assert few > 3
    note = f"Decisions with fewer than 8 forecasts, and so without positions: {few}."
    assert note in found.notes


def test_equal_scores_are_not_ranked():
    close, _ = make_prices(10)
    scores = pd.DataFrame(0.5, index=close.index, columns=NAMES)
    scores.iloc[6:, 0] = 0.6
    frame = frame_of(scores, target="return")
    for rule in (tsf.TopBottom(2), tsf.TopBottom(2, short=False)):
        found = backtest_strategy(frame, panel_of(close), rule=rule, reference=0)
        assert (found.returns["held"].iloc[:6] == 0).all()
        assert (found.returns["held"].iloc[6:] > 0).all()
        note = "Decisions with forecasts that are all equal, and so without positions: 6."
        assert note in found.notes


def test_a_position_is_a_share_of_an_equal_part_and_a_weight_is_itself():
    close, _ = make_prices(10)
    forecasts = pd.DataFrame([[0.4, -0.8, 0.0, 1.0]] * 10, index=close.index, columns=NAMES)
    frame, panel = frame_of(forecasts, target="position"), panel_of(close)
    found = backtest_strategy(frame, panel, rule="position")
    np.testing.assert_allclose(found.weights.iloc[0], [0.1, -0.2, 0, 0.25])
    found = backtest_strategy(frame, panel, rule="weight")
    np.testing.assert_allclose(found.weights.iloc[0], [0.4, -0.8, 0, 1])


def test_weights_are_scaled_by_the_volatility_known_at_the_decision():
    close, _ = make_prices()
    ones = pd.DataFrame(0.25, index=close.index, columns=NAMES)
    target = tsf.VolTarget(0.10, half_life=10, cap=2, periods=250)
    found = backtest_strategy(ones, panel_of(close), vol_target=target)
    at = 40
    moves = close.pct_change().iloc[1 : at + 1]
    decay = 0.5 ** (np.arange(at)[::-1] / 10)
    variance = (decay[:, None] * moves**2).sum() / decay.sum()
    expected = 0.25 * np.minimum(2, 0.10 / np.sqrt(250 * variance))
    decided = found.decisions["time"] == close.index[at]
    np.testing.assert_allclose(found.decisions.loc[decided, "weight"], expected, rtol=1e-12)
    np.testing.assert_allclose(found.weights.loc[close.index[at + 2]], expected, rtol=1e-12)
    assert "Weights without 20 returns before them, set to 0: 80." in found.notes
    default = backtest_strategy(ones, panel_of(close), vol_target=0.10)
    named = backtest_strategy(ones, panel_of(close), vol_target=tsf.VolTarget(0.10))
    pd.testing.assert_frame_equal(default.returns, named.returns)
    assert (default.weights.abs() <= 0.2501).all(axis=None)
    for wrong in (True, "10 %"):
        with pytest.raises(ValueError, match="parameter 'vol_target': expected a fraction"):
            backtest_strategy(ones, panel_of(close), vol_target=wrong)
    with pytest.raises(ValueError, match="expected annual above 0"):
        backtest_strategy(ones, panel_of(close), vol_target=-0.1)


def test_volatility_weighs_by_the_returns_that_are_known():
    close, _ = make_prices()
    close.iloc[20:30, 1] = np.nan
    ones = pd.DataFrame(0.25, index=close.index[40:], columns=NAMES)
    target = tsf.VolTarget(0.10, half_life=10)
    found = backtest_strategy(ones, panel_of(close), vol_target=target)
    moves = close["B"].ffill().pct_change()[close["B"].notna()].iloc[1:]
    moves = moves[moves.index <= close.index[40]].to_numpy()
    decay = 0.5 ** (np.arange(len(moves))[::-1] / 10)
    expected = 0.25 * 0.10 / np.sqrt(252 * (decay * moves**2).sum() / decay.sum())
    assert found.weights["B"].iloc[0] == pytest.approx(expected)


def test_an_unknown_rule_is_refused():
    close, _ = make_prices(10)
    with pytest.raises(ValueError, match=r"parameter 'rule': expected 'sign', .*TopBottom"):
        backtest_strategy(frame_of(close), panel_of(close), rule="momentum")
    with pytest.raises(ValueError, match=r"parameter 'rule': expected an instance, TopBottom\("):
        backtest_strategy(frame_of(close), panel_of(close), rule=tsf.TopBottom)
    for wrong, message in (
        (np.ones(3), "parameter 'rule': expected 'sign'"),
        (tsf.Threshold(None), "parameter 'up': expected a number, found None"),
        (tsf.TopBottom(1, exposure="1"), "parameter 'exposure': expected a number above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            backtest_strategy(frame_of(close), panel_of(close), rule=wrong)


def test_prices_are_held_against_the_last_known_one():
    close, _ = make_prices(10)
    gone = close.copy()
    gone.iloc[4, 0] = np.nan
    forecasts = close.copy()
    forecasts.iloc[4, 0] = close.iloc[3, 0] * 1.01  # above the last known price
    found = backtest_strategy(
        frame_of(forecasts), panel_of(gone), rule=tsf.Threshold(0.005), missing="hold"
    )
    signal = found.decisions.set_index(["time", "series"])["signal"].unstack()
    assert signal.iloc[4].to_list() == [1, 0, 0, 0] and (signal.drop(close.index[4]) == 0).all(
        axis=None
    )


def test_the_reference_follows_from_the_target_or_must_be_said():
    close, _ = make_prices(10)
    returns, up = close.pct_change().fillna(0), (close.pct_change() > 0).astype(float)
    panel = panel_of(close, change=returns, up=up, adj_close=2 * close)
    centre = pd.DataFrame([[0.6, 0.4, 0.5, 0.7]] * 10, index=close.index, columns=NAMES)
    signs = {
        "change": [1, 1, 1, 1],
        "up": [1, -1, 0, 1],
    }
    for target, expected in signs.items():
        found = backtest_strategy(frame_of(centre, target=target), panel)
        np.testing.assert_allclose(np.sign(found.weights.iloc[0]), expected)
    levels = frame_of(2.2 * close, target="adj_close")
    with pytest.raises(ValueError, match=r"parameter 'reference': expected what forecasts of 'adj"):
        backtest_strategy(levels, panel)
    found = backtest_strategy(levels, panel, reference="last")
    assert (found.decisions["signal"] == 1).all()
    with pytest.raises(ValueError, match="as the panel has no 'x'"):
        backtest_strategy(frame_of(centre, target="x"), panel, reference="last")
    with pytest.raises(ValueError, match='expected "last" or a number'):
        backtest_strategy(frame_of(centre, target="x"), panel, reference="first")
    with pytest.raises(ValueError, match='expected "last" or a number'):
        backtest_strategy(frame_of(centre, target="x"), panel, reference=[0.0])
    with pytest.raises(ValueError, match="as 'change' is not above zero"):
        backtest_strategy(frame_of(centre, target="change"), panel, reference="last")
    given = frame_of(centre, target="x", actual=np.tile([0.0, 1.0], 20))
    np.testing.assert_allclose(
        np.sign(backtest_strategy(given, panel).weights.iloc[0]), signs["up"]
    )


# frames


def test_a_backtest_is_traded_without_naming_the_naive_model():
    close, _ = make_prices(80)
    panel = panel_of(close)
    result = tsf.backtest(
        {"drift": tsf.Drift(target="close", horizon=3)}, panel, tsf.RollingOrigin(2, 10)
    )
    found = backtest_strategy(result.frame, panel)
    ours = result.frame[(result.frame["model"] == "drift") & (result.frame["step"] == 1)]
    forecast = ours.pivot(index="cutoff", columns="series", values="forecast")
    sides = np.sign(forecast - close.loc[forecast.index]) / 4
    expected = backtest_strategy(sides, panel)
    pd.testing.assert_frame_equal(found.returns, expected.returns, check_names=False)
    assert found.name == "drift" and found.rule == "sign"
    naive = backtest_strategy(result.frame, panel, model="naive")
    assert (naive.returns["turnover"] == 0).all()
    last = backtest_strategy(result.frame, panel, step=3)
    assert last.decisions["forecast"].iloc[0] != found.decisions["forecast"].iloc[0]


def test_what_predict_gives_is_traded_once_its_prices_are_known():
    close, _ = make_prices(40)
    panel = panel_of(close)
    forecast = tsf.Drift(target="close", horizon=2).fit(panel_of(close.iloc[:30])).predict()
    found = backtest_strategy(forecast, panel)
    assert len(found.decisions) == 4 and found.returns.index[0] == close.index[31]
    one = panel.loc["A"]
    single = tsf.Drift(target="close", horizon=2).fit(one.iloc[:30]).predict()
    alone = backtest_strategy(single, one)
    assert alone.weights.columns.to_list() == [0]
    with pytest.raises(DataError, match="nothing can be traded: expected sessions in the panel"):
        backtest_strategy(forecast, panel_of(close.iloc[:31]))


def test_one_model_one_target_one_step():
    close, _ = make_prices(10)
    frame, panel = frame_of(close), panel_of(close)
    two = pd.concat([frame, frame.assign(model="n")])
    with pytest.raises(DataError, match=r"several models: expected one .* 'm', 'n'.* model="):
        backtest_strategy(two, panel)
    assert backtest_strategy(two, panel, model="n").name == "n"
    with pytest.raises(ValueError, match=r"parameter 'model': expected one of \['m', 'n'\]"):
        backtest_strategy(two, panel, model="o")
    with pytest.raises(DataError, match="several targets"):
        backtest_strategy(pd.concat([frame, frame.assign(target="open")]), panel)
    with pytest.raises(ValueError, match=r"parameter 'step': expected one of \[1\], found 2"):
        backtest_strategy(frame, panel, step=2)
    with pytest.raises(DataError, match=r"forecasts are repeated.*\('A', Timestamp"):
        backtest_strategy(pd.concat([frame, frame.iloc[:1]]), panel)
    with pytest.raises(ValueError, match="a frame with a column 'model'"):
        backtest_strategy(frame.drop(columns="model"), panel, model="m")
    with pytest.raises(DataError, match="no frame of forecasts: .* no column 'cutoff'"):
        backtest_strategy(frame.drop(columns="cutoff"), panel)
    with pytest.raises(DataError, match="infinite forecasts"):
        backtest_strategy(frame.assign(forecast=np.inf), panel)
    with pytest.raises(DataError, match="forecasts are no numbers .*dtype object"):
        backtest_strategy(frame.astype({"forecast": object}), panel)
    with pytest.raises(DataError, match="forecasts without a cutoff .* found 1 without"):
        backtest_strategy(frame.assign(cutoff=frame["cutoff"].where(frame.index > 0)), panel)
    with pytest.raises(DataError, match="no forecasts: expected a frame with rows"):
        backtest_strategy(frame.iloc[:0], panel)
    with pytest.raises(DataError, match=r"forecasts of unknown series: .* found 'E'"):
        backtest_strategy(frame.replace({"series": {"A": "E"}}), panel)


def test_in_sample_rows_are_not_traded():
    close, _ = make_prices(10)
    rows = frame_of(close * 1.01)
    both = pd.concat([rows.assign(in_sample=False), rows.assign(in_sample=True, forecast=0.0)])
    one, two = (backtest_strategy(frame, panel_of(close)) for frame in (rows, both))
    pd.testing.assert_frame_equal(one.returns, two.returns)


def test_decisions_hold_forecast_signal_and_the_return_that_followed():
    close, opens = make_prices(10)
    forecasts = close * [1.1, 0.9, 1.0, np.nan]
    panel = panel_of(close, opens)
    rows = backtest_strategy(frame_of(forecasts), panel).decisions
    assert list(rows) == ["series", "time", "forecast", "weight", "signal", "return"]
    assert len(rows) == 3 * 8  # the last two decisions have no session to earn in
    assert rows["signal"].iloc[:3].to_list() == [1, -1, 0]
    moves = (close.shift(-2) / close.shift(-1) - 1).iloc[:8, :3]
    np.testing.assert_allclose(rows["return"], moves.to_numpy().ravel(), atol=1e-12)
    night = backtest_strategy(frame_of(forecasts), panel, fill="open").decisions
    moves = (opens.shift(-2) / opens.shift(-1) - 1).iloc[:9, :3]
    np.testing.assert_allclose(night["return"], moves.to_numpy().ravel(), atol=1e-12)


# missing prices, delistings, membership


def gap(at=10, n=30):
    close, opens = make_prices(n)
    close.loc[close.index[at], "B"] = np.nan
    weights = pd.DataFrame(0.25, index=close.index[:n:2], columns=NAMES)  # even sessions
    return close, opens, weights


def test_a_missing_price_while_held_is_named():
    close, _, weights = gap()
    with pytest.raises(
        DataError,
        match=r"missing prices while held or traded \(column 'close'; series 'B'; first rows: "
        r"2024-01-15 .*found 1 without \('B': 1\).*missing='hold'",
    ):
        backtest_strategy(weights, panel_of(close))


def test_a_missing_price_of_what_is_not_held_is_no_matter():
    close, _, weights = gap()
    found = backtest_strategy(weights.assign(B=0.0), panel_of(close))
    assert not found.notes


def test_a_position_without_a_price_is_held_at_the_last_one():
    close, _, weights = gap()
    found = backtest_strategy(weights, panel_of(close), missing="hold")
    filled = close.ffill()
    expected = by_hand(weights, filled, filled, lag=1, fill="close", per_side=5e-4)
    np.testing.assert_allclose(
        found.returns["net"], expected.loc[found.returns.index, "net"], atol=1e-12
    )
    assert found.asset_returns.loc[close.index[10], "B"] == 0
    assert found.notes == ("Missing prices: 1 day of B held at the last price.",)


def test_an_order_without_a_price_lapses():
    close, _, weights = gap(at=11)  # the decision of session 10 would be filled there
    found = backtest_strategy(weights, panel_of(close), missing="hold")
    assert found.trades.loc[close.index[12], "B"] == 0
    assert found.trades.loc[close.index[12], "A"] != 0
    # it is held as it was, drifting against the others
    before, after = found.weights.loc[close.index[11]], found.weights.loc[close.index[12]]
    growth = 1 + found.returns.loc[close.index[11], "gross"]
    assert after["B"] == pytest.approx(before["B"] / growth)
    assert "Orders without a price lapsed: 1 day of B." in found.notes


def test_a_missing_open_matters_only_where_something_is_traded():
    close, opens = make_prices(30)
    weights = pd.DataFrame(0.25, index=close.index[::2], columns=NAMES)  # filled at odd sessions
    held = opens.copy()
    held.loc[close.index[10], "B"] = np.nan
    one = backtest_strategy(weights, panel_of(close, held), fill="open")
    two = backtest_strategy(weights, panel_of(close, opens), fill="open")
    np.testing.assert_allclose(one.returns["gross"], two.returns["gross"], atol=1e-12)
    traded = opens.copy()
    traded.loc[close.index[11], "B"] = np.nan
    with pytest.raises(DataError, match=r"column 'open'; series 'B'; first rows: 2024-01-16"):
        backtest_strategy(weights, panel_of(close, traded), fill="open")
    kept = backtest_strategy(weights, panel_of(close, traded), fill="open", missing="hold")
    assert "Orders without a price lapsed: 1 day of B." in kept.notes


def test_what_is_not_listed_yet_cannot_be_bought():
    close, _ = make_prices(20)
    close.iloc[:8, 1] = np.nan
    weights = pd.DataFrame(0.25, index=close.index, columns=NAMES)
    with pytest.raises(DataError, match=r"series 'B'; first rows: 2024-01-02"):
        backtest_strategy(weights, panel_of(close))
    found = backtest_strategy(weights, panel_of(close), missing="hold")
    assert (found.weights.loc[: close.index[8], "B"] == 0).all()
    assert found.weights.loc[close.index[9], "B"] == pytest.approx(0.25)
    assert found.asset_returns.loc[: close.index[8], "B"].isna().all()


def test_what_never_has_a_price_cannot_be_bought():
    close, opens = make_prices(20)
    panel = panel_of(close.assign(B=np.nan), volume=opens)
    weights = pd.DataFrame(0.25, index=close.index, columns=NAMES)
    with pytest.raises(DataError, match=r"series 'B'; first rows: 2024-01-02.* \('B': 18\)"):
        backtest_strategy(weights, panel)
    found = backtest_strategy(weights, panel, missing="hold")
    assert found.notes == ("Orders without a price lapsed: 18 days of B.",)


def test_nothing_is_filled_at_an_open_without_a_close():
    close, opens = make_prices(20)
    close.iloc[8, 1] = np.nan
    weights = pd.DataFrame(0.25, index=close.index, columns=NAMES)
    found = backtest_strategy(weights, panel_of(close, opens), fill="open", missing="hold")
    assert found.trades.loc[close.index[8], "B"] == 0
    assert found.asset_returns.loc[close.index[8], "B"] == 0


def test_the_first_day_of_a_series_is_earned_from_its_open():
    close, opens = make_prices(20)
    close.iloc[:8, 1] = opens.iloc[:8, 1] = np.nan
    weights = pd.DataFrame(0.25, index=close.index, columns=NAMES)
    found = backtest_strategy(weights, panel_of(close, opens), fill="open", missing="hold")
    day = close.index[8]
    assert found.weights["B"].ne(0).idxmax() == day
    move = close.loc[day, "B"] / opens.loc[day, "B"] - 1
    assert found.asset_returns.loc[day, "B"] == pytest.approx(move)


def delisted(side=0.25):
    close, opens = make_prices(20)
    close.loc[close.index[12:], "B"] = np.nan
    opens.loc[close.index[12:], "B"] = np.nan
    weights = pd.DataFrame(0.25, index=close.index[:1], columns=NAMES).assign(B=side)
    return close, opens, weights


@pytest.mark.parametrize("fill", ["close", "open"])
@pytest.mark.parametrize("side", [0.25, -0.25])
def test_a_return_on_leaving_is_earned_and_the_rest_is_cash(fill, side):
    close, opens, weights = delisted(side)
    found = backtest_strategy(
        weights, panel_of(close, opens), fill=fill, delisting=pd.Series({"B": -0.4}), costs=FREE
    )
    start = (close if fill == "close" else opens).iloc[1]
    last = close.iloc[-1].fillna(0.6 * close["B"].iloc[11])
    expected = 1 + (weights.iloc[0] * (last / start - 1)).sum()
    assert (1 + found.returns["gross"]).prod() == pytest.approx(expected, abs=1e-12)
    assert found.asset_returns.loc[close.index[12], "B"] == pytest.approx(-0.4)
    assert found.asset_returns.loc[close.index[13] :, "B"].isna().all()
    assert (found.weights.loc[close.index[13] :, "B"] == 0).all()
    assert (found.returns["turnover"].iloc[1:] == 0).all()  # leaving is no trade
    assert any("Delisted while held, with the return given: B" in note for note in found.notes)


def test_an_end_without_a_return_is_refused_or_said():
    close, _, weights = delisted()
    with pytest.raises(
        DataError,
        match=r"series end while they are held \(series 'B'; first rows: 2024-01-16 .*delisting=",
    ):
        backtest_strategy(weights, panel_of(close))
    found = backtest_strategy(weights, panel_of(close), missing="hold", costs=FREE)
    assert found.contributions.loc[close.index[12], "B"] == 0
    assert any("Ended while held, without a return" in note for note in found.notes)


def test_orders_behind_the_end_lapse():
    close, _, _ = delisted()
    weights = pd.DataFrame(0.25, index=close.index, columns=NAMES)
    found = backtest_strategy(weights, panel_of(close), delisting=pd.Series({"B": 0.1}))
    assert "Orders behind a series' end lapsed: 7 days of B." in found.notes
    assert (found.weights.loc[close.index[13] :, "B"] == 0).all()


def test_a_return_on_leaving_after_the_last_session_is_not_earned_and_said():
    close, _, weights = delisted()
    found = backtest_strategy(
        weights, panel_of(close.iloc[:12]), delisting=pd.Series({"B": -0.4, "C": np.nan})
    )
    assert found.notes == ("Returns on leaving after the last session, not earned: B.",)


def test_a_series_sold_before_its_end_needs_no_return():
    close, _, _ = delisted()
    weights = pd.DataFrame(0.25, index=close.index[[0, 10]], columns=NAMES)
    weights.iloc[1, 1] = 0
    assert not backtest_strategy(weights, panel_of(close)).notes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (-0.3, "parameter 'delisting': expected a Series"),
        (pd.Series({"E": 0.1}), r"expected names of the panel, each once, found 'E'"),
        (pd.Series({"B": -1.5}), r"expected returns from -1 on .*'B': -1.5"),
        (pd.Series({"B": "all"}), r"'B': all"),
        (pd.Series([0.1, 0.2], index=["B", "B"]), "found 'B'"),
    ],
)
def test_returns_on_leaving_are_checked(given, message):
    close, _, weights = delisted()
    with pytest.raises(ValueError, match=message):
        backtest_strategy(weights, panel_of(close), delisting=given)


def membership_masks(close, panel):
    """B from session 5 to 9, all others always: as a table, a Series and a column."""
    table = pd.DataFrame(True, index=close.index, columns=NAMES)
    table.loc[(close.index < close.index[5]) | (close.index > close.index[9]), "B"] = False
    flat = table.stack().swaplevel().reindex(panel.index)
    return table, flat, panel.assign(member=flat.astype(float))


def test_only_members_are_held():
    close, _ = make_prices(20)
    panel = panel_of(close)
    table, flat, with_column = membership_masks(close, panel)
    weights = pd.DataFrame(0.25, index=close.index, columns=NAMES)
    expected = backtest_strategy(weights.where(table, 0.0), panel)
    sparse = table[table.ne(table.shift()).any(axis=1)]  # only the rows where it changes
    for mask, prices in (
        (table, panel),
        (sparse, panel),
        (flat, panel),
        (flat.sample(frac=1, random_state=0), panel),
        ("member", with_column),
    ):
        found = backtest_strategy(weights, prices, universe=mask)
        pd.testing.assert_frame_equal(found.returns, expected.returns)
        assert "Weights outside the universe, set to 0: 15." in found.notes


def test_ranks_and_parts_are_those_of_members():
    close, _ = make_prices(20)
    panel = panel_of(close)
    table, _, _ = membership_masks(close, panel)
    forecasts = pd.DataFrame([[0.1, 0.9, 0.3, 0.2]] * 20, index=close.index, columns=NAMES)
    frame = frame_of(forecasts, target="return")
    top = backtest_strategy(frame, panel, rule=tsf.TopBottom(1), universe=table, reference=0)
    assert top.weights.loc[close.index[4]].to_list() == [-1, 0, 1, 0]
    assert top.weights.loc[close.index[8]].to_list() == [-1, 1, 0, 0]
    sign = backtest_strategy(frame, panel, universe=table, reference=0)
    assert sign.weights.loc[close.index[4]].to_list() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    assert not any("outside" in note for note in sign.notes)
    assert set(sign.decisions.loc[sign.decisions["time"] == close.index[3], "series"]) == set("ACD")


def test_an_empty_universe_means_no_position_and_is_counted():
    close, _ = make_prices(20)
    mask = pd.DataFrame(True, index=close.index, columns=NAMES)
    mask.iloc[5:8] = False
    found = backtest_strategy(frame_of(1.01 * close), panel_of(close), universe=mask)
    assert (found.returns.loc[close.index[7:10], "held"] == 0).all()
    assert (found.returns["held"].drop(close.index[7:10]) == 4).all()
    assert "Decisions with an empty universe, and so without positions: 3." in found.notes
    late = mask.iloc[15:]
    found = backtest_strategy(frame_of(1.01 * close), panel_of(close), universe=late)
    assert "Decisions with an empty universe, and so without positions: 15." in found.notes
    with pytest.raises(DataError, match="the universe is empty: .* none at all 20 of them"):
        backtest_strategy(frame_of(close), panel_of(close), universe=mask & False)


def test_masks_must_fit_the_panel():
    close, _ = make_prices(20)
    panel, frame = panel_of(close), frame_of(close)
    mask = pd.DataFrame(True, index=close.index, columns=NAMES)
    for wrong, message in (
        (mask.drop(columns="C"), "the universe lacks series: .* none for 'C'"),
        (mask.iloc[::-1], "times of the universe are not in order"),
        (mask.astype(float) * 0.5, "the universe is no mask"),
        (mask.astype(object).replace(True, "yes"), "the universe is no mask"),
        (pd.Series(True, index=panel.index[:5]), "does not fit the panel: expected a value for ev"),
        ("member", "parameter 'universe': expected a boolean table"),
        (mask.set_axis(close.index.tz_localize("UTC")), "time zones differ"),
    ):
        with pytest.raises(ValueError, match=message):
            backtest_strategy(frame, panel, universe=wrong)


# how often a block has been scored


def test_different_weights_on_the_same_prices_are_counted():
    close, opens = make_prices(40, seed=11)
    panel, weights = panel_of(close, opens), weights_like("random", close)
    first_one = backtest_strategy(weights, panel)
    assert first_one.scored == 1
    assert backtest_strategy(weights, panel, costs=FREE).scored == 1  # nothing new was tried
    second = backtest_strategy(0.5 * weights, panel)
    assert second.scored == 2 and second.with_costs(FREE).scored == 2
    assert second.buy_and_hold().scored == 2
    assert backtest_strategy(weights, panel).scored == 2
    assert backtest_strategy(weights, panel, fill="open").scored == 3
    other = close.copy()
    other.iloc[-1, 0] *= 1.01
    assert backtest_strategy(weights, panel_of(other)).scored == 1


# bad input


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, "1", True, None, np.ones(2)])
def test_costs_that_are_none_are_refused(value):
    with pytest.raises(
        ValueError, match="parameter 'slippage_bps': expected basis points, 0 or more"
    ):
        Costs(1, 1, value)


def test_the_same_close_is_asked_for_by_name_and_said():
    close, opens = make_prices(10)
    weights, panel = weights_like("buy and hold", close), panel_of(close, opens)
    with pytest.raises(ValueError, match=r"expected 1 or more sessions, found 0. .*'same close'"):
        backtest_strategy(weights, panel, lag=0)
    with pytest.raises(ValueError, match="found 0. It would look into the past: the open"):
        backtest_strategy(weights, panel, lag=0, fill="open")
    with pytest.raises(ValueError, match="parameter 'fill': expected 'close' beside lag='same cl"):
        backtest_strategy(weights, panel, lag="same close", fill="open")
    for wrong in (-1, 1.5, True, False, "next"):
        with pytest.raises(ValueError, match="parameter 'lag': expected a whole number"):
            backtest_strategy(weights, panel, lag=wrong)
    found = backtest_strategy(weights, panel, lag="same close")
    assert found.lag == "same close" and "cannot be done" in found.notes[0]


def test_parameters_are_checked():
    close, _ = make_prices(10)
    weights, panel = weights_like("buy and hold", close), panel_of(close)
    for given, message in (
        ({"fill": "noon"}, r"parameter 'fill': expected one of \['close', 'open'\]"),
        ({"missing": "drop"}, r"parameter 'missing': expected one of \['raise', 'hold'\]"),
        ({"limit": 0}, "parameter 'limit': expected a number above 0"),
        ({"limit": None}, "parameter 'limit': expected a number above 0"),
        ({"vol_target": tsf.VolTarget("a")}, "'vol_target': expected annual above 0"),
        ({"universe": np.ones((10, 4))}, "parameter 'universe': expected a boolean table"),
        ({"model": "m"}, "parameter 'model': expected none beside weights: it is of forecasts"),
        ({"target": "close"}, "parameter 'target': expected none beside weights"),
        ({"reference": 0.0}, "parameter 'reference': expected none beside weights"),
        ({"step": 2}, "parameter 'step': expected none beside weights"),
        ({"costs": 0.001}, "parameter 'costs': expected tsf.Costs"),
        ({"step": 0}, "parameter 'step': expected a whole number of at least 1"),
        ({"rule": tsf.TopBottom(1)}, "parameter 'rule': expected none beside weights"),
        ({"price": "last"}, r"prices not found: expected a column 'last' of numbers"),
        ({"fill": "open"}, "prices not found: expected a column 'open' of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            backtest_strategy(weights, panel, **given)


def test_weights_above_the_limit_are_named():
    close, _ = make_prices(10)
    weights = pd.DataFrame(0.1, index=close.index[:4], columns=NAMES)
    weights.iloc[2, 1], weights.iloc[3, 2] = -1.5, 1.2
    with pytest.raises(
        DataError,
        match=r"weights above the limit \(series 'B'; first rows: 2024-01-03 .*found 2 above it, "
        r"the largest -1.5",
    ):
        backtest_strategy(weights, panel_of(close))
    backtest_strategy(weights, panel_of(close), limit=1.5)


def test_weights_that_are_none_are_named():
    close, _ = make_prices(10)
    weights = pd.DataFrame(0.1, index=close.index[:4], columns=NAMES)
    panel = panel_of(close)
    for value in (np.nan, np.inf):
        wrong = weights.copy()
        wrong.iloc[2, 1] = value
        with pytest.raises(
            DataError, match=r"NaN or infinite \(series 'B'; first rows: 2024-01-03 .*Write 0"
        ):
            backtest_strategy(wrong, panel)
    for wrong, message in (
        (weights.rename(columns={"A": "E"}), r"weights of unknown series: .* found 'E'"),
        (weights[["A", "A"]], "weights of a series are given twice"),
        (weights.astype(object).replace(0.1, "long"), "weights are no numbers"),
        (
            pd.concat([weights, weights.iloc[:1]]),
            r"decisions are repeated \(first rows: 2024-01-01",
        ),
        (weights.iloc[:0], "expected at least one decision"),
        (weights.iloc[:, :0], "expected at least one decision of one series"),
        (weights.stack(), "expected weights as a table, time of the decision x series"),
        (weights.to_numpy(), "expected the frame of a backtest"),
    ):
        with pytest.raises(ValueError, match=message):
            backtest_strategy(wrong, panel)


def test_times_must_be_those_of_the_panel():
    close, _ = make_prices(10)
    panel = panel_of(close)
    weights = pd.DataFrame(0.1, index=close.index[:4], columns=NAMES)
    with pytest.raises(ValueError, match="parameter 'cutoff': expected times like those"):
        backtest_strategy(weights.set_axis(range(4)), panel)
    with pytest.raises(DataError, match="time zones differ"):
        backtest_strategy(weights.tz_localize("UTC"), panel)
    with pytest.raises(DataError, match="decisions before the first session"):
        backtest_strategy(weights.set_axis(close.index[:4] - pd.Timedelta("2D")), panel)
    weekend = pd.DatetimeIndex(["2024-01-05", "2024-01-06", "2024-01-08", "2024-01-09"])
    with pytest.raises(DataError, match=r"several decisions in one session.*2024-01-06"):
        backtest_strategy(weights.set_axis(weekend), panel)
    with pytest.raises(DataError, match="nothing can be traded: expected decisions up to the last"):
        backtest_strategy(weights.set_axis(close.index[:4] + pd.Timedelta("60D")), panel)
    some = weights.set_axis(close.index[-4:] + pd.Timedelta("2D"))
    with pytest.raises(DataError, match="several decisions in one session|nothing can be traded"):
        backtest_strategy(some, panel)


def test_a_decision_on_a_day_without_a_session_is_that_of_the_session_before():
    close, _ = make_prices(10)
    panel = panel_of(close)
    one = pd.DataFrame(0.1, index=pd.DatetimeIndex(["2024-01-05"]), columns=NAMES)  # a Friday
    two = one.set_axis(pd.DatetimeIndex(["2024-01-07"]))
    pd.testing.assert_frame_equal(
        backtest_strategy(one, panel).returns, backtest_strategy(two, panel).returns
    )


def test_prices_must_be_above_zero():
    close, _ = make_prices(10)
    close.iloc[3, 2] = 0.0
    weights = pd.DataFrame(0.1, index=close.index[:4], columns=NAMES)
    with pytest.raises(
        DataError,
        match=r"prices are not above zero \(column 'close'; series 'C'; first rows: 2024-01-04",
    ):
        backtest_strategy(weights, panel_of(close))
    close.iloc[3, 2] = np.inf
    with pytest.raises(DataError, match="infinite values"):
        backtest_strategy(weights, panel_of(close))


def test_opens_and_closes_must_be_adjusted_alike():
    close, opens = make_prices(10)
    panel = panel_of(close, opens, adj_close=close)
    weights = weights_like("buy and hold", close)
    with pytest.raises(ValueError, match="parameter 'price': expected 'close' beside fill='open'"):
        backtest_strategy(weights, panel, fill="open", price="adj_close")
    panel.attrs["adjusted"] = "close"
    with pytest.raises(DataError, match="opens and closes are on different scales"):
        backtest_strategy(weights, panel, fill="open")
    backtest_strategy(weights, panel, price="adj_close")


def test_losing_everything_is_an_error():
    close = pd.DataFrame({"A": [10.0, 10, 25, 25]})
    with pytest.raises(DataError, match=r"all is lost \(first rows: 2\).* a loss of 150 %"):
        backtest_strategy(pd.DataFrame({"A": [-1.0]}), panel_of(close))
    night = pd.DataFrame({"A": [10.0, 10, 20, 25]})
    with pytest.raises(DataError, match=r"all is lost \(first rows: 2\).* a loss of 100 %"):
        backtest_strategy(pd.DataFrame({"A": [-1.0]}), panel_of(close, night), fill="open")


def test_notes_say_what_the_panel_knows():
    close, _ = make_prices(60)
    panel = panel_of(close)
    weights = pd.DataFrame(0.1, index=close.index[:10], columns=NAMES)
    panel.attrs |= {"adjusted": "splits", "survivorship": "Survivorship: the living."}
    found = backtest_strategy(weights, panel)
    assert found.notes[:2] == (
        "Prices are adjusted for splits alone: dividends are not earned.",
        "Survivorship: the living.",
    )
    assert re.search("The last decision, of 2024-01-12, is held for 49 sessions", found.notes[2])
    panel.attrs |= {"adjusted": "none"}
    assert "splits and dividends count as losses" in backtest_strategy(weights, panel).notes[0]
    late = pd.DataFrame(0.1, index=close.index + pd.Timedelta("7D"), columns=NAMES)
    found = backtest_strategy(late, panel)
    assert any("not traded: 5." in note for note in found.notes)


def test_one_series_without_a_name_takes_a_series_of_weights():
    close, _ = make_prices(20, ["A"])
    panel = panel_of(close)
    sides = pd.Series(0.5, index=close.index)
    one = backtest_strategy(sides, panel.loc["A"])
    two = backtest_strategy(sides.to_frame("A"), panel)
    np.testing.assert_array_equal(one.returns, two.returns)
    with pytest.raises(DataError, match="weights of unknown series"):
        backtest_strategy(sides, panel)
