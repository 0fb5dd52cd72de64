"""Labels across a cross-section, and the protocol of Fischer and Krauss on simulated stocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor

import tsforecast as tsf

NAN = np.nan


def stocks(n: int = 15, days: int = 120, *, reversal: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Closes and opens of n stocks; of every return the share `reversal` is taken back next day."""
    rng = np.random.default_rng(seed)
    shock = 0.02 * rng.standard_normal((days, n))
    returns = shock - reversal * np.vstack([np.zeros(n), shock[:-1]])
    close = 50 * np.cumprod(1 + returns, axis=0)
    index = pd.MultiIndex.from_product(
        [[f"S{i:02d}" for i in range(n)], pd.bdate_range("2020-01-01", periods=days)],
        names=["ticker", "date"],
    )
    close = close.T.ravel()
    night = 1 + 0.002 * rng.standard_normal(close.size)
    return pd.DataFrame({"close": close, "open": close * night}, index=index)


def long(wide: dict[str, list[float]], name: str = "close") -> pd.DataFrame:
    """A small panel, a list of values for each series."""
    frames = {series: pd.DataFrame({name: values}) for series, values in wide.items()}
    return pd.concat(frames, names=["series", "time"])


# ----------------------------------------------------------------------------------------- labels


def test_labels_and_returns_are_those_of_a_plain_loop():
    prices = stocks(11, 40)
    holes = np.random.default_rng(1).random(len(prices)) < 0.1
    prices["close"] = prices["close"].mask(holes)
    prices = prices.drop(prices.index[[3, 50, 51]])
    panel = tsf.above_median(prices, least=6)

    returns = {}
    for ticker, part in prices["close"].groupby(level=0):
        values = part.droplevel(0)
        for before, day in zip(values.index[:-1], values.index[1:]):
            returns[ticker, day] = values[day] / values[before] - 1
    labelled = 0
    for (ticker, day), row in panel.iterrows():
        mine = returns.get((ticker, day), NAN)
        assert row["return"] == pytest.approx(mine, nan_ok=True)
        others = [r for (_, d), r in returns.items() if d == day and not np.isnan(r)]
        if np.isnan(mine) or len(others) < 6:
            assert np.isnan(row["above"])
        else:
            assert row["above"] == float(mine > np.median(others))
            labelled += 1
    assert labelled > 300


def test_half_of_an_even_cross_section_is_above():
    panel = tsf.above_median(stocks(20))
    share = panel["above"].groupby(level=1).mean().dropna()
    assert (share == 0.5).all() and len(share) == 119


def test_of_a_tie_nobody_is_above():
    flat = long({"A": [1.0, 1.0], "B": [2.0, 2.0], "C": [4.0, 5.0], "D": [4.0, 4.0]})
    assert tsf.above_median(flat, least=4)["above"].dropna().tolist() == [0.0, 0.0, 1.0, 0.0]


def test_few_returns_give_no_label():
    panel = long({"A": [1.0, 2.0, 3.0], "B": [1.0, 1.0, 1.0], "C": [1.0, NAN, 2.0]})
    labels = tsf.above_median(panel, least=2)["above"].unstack(0)
    assert labels.loc[1].tolist()[:2] == [1.0, 0.0] and np.isnan(labels.loc[1, "C"])
    assert labels.loc[2].tolist()[:2] == [1.0, 0.0]  # C: the price before is missing
    with pytest.raises(tsf.DataError, match="no time has enough series: .*at least 3.*at most 2"):
        tsf.above_median(panel, least=3)


def test_returns_of_the_users_own_stand_in_for_prices():
    returns = long({"A": [0.01, -0.5], "B": [0.02, NAN], "C": [0.03, 0.1]}, "ret")
    panel = tsf.above_median(returns, returns="ret", least=2)
    assert panel["above"].tolist()[:2] == [0.0, 0.0]
    assert panel["return"].equals(returns["ret"].rename("return"))
    again = tsf.above_median(returns.rename(columns={"ret": "return"}), returns="return", least=2)
    assert again["above"].equals(panel["above"]) and list(again.columns) == ["return", "above"]


@pytest.mark.parametrize("kind", ["column", "series", "more rows", "missing values"])
def test_the_universe_alone_makes_the_median_and_has_labels(kind):
    prices = stocks(9, 30)
    member = pd.Series(np.random.default_rng(0).random(len(prices)) < 0.7, index=prices.index)
    expected = tsf.above_median(prices, least=3)["return"]
    shown = expected.where(member)
    median = shown.groupby(level=1).transform("median")
    enough = shown.groupby(level=1).transform("count") >= 3
    label = (shown > median).astype(float).where(shown.notna() & enough)
    if kind == "column":
        panel = tsf.above_median(prices.assign(member=member), universe="member", least=3)
    else:
        given = member
        if kind == "more rows":
            given = pd.concat([member, pd.Series(True, index=stocks(10, 31).index[-31:])])
        if kind == "missing values":
            given = member.astype(object).where(member, None)
        panel = tsf.above_median(prices, universe=given, least=3)
    pd.testing.assert_series_equal(panel["above"], label, check_names=False)
    pd.testing.assert_series_equal(panel["return"], expected)


def test_labels_know_nothing_of_later_rows():
    prices = stocks(12, 60)
    tsf.check_no_lookahead(lambda p: tsf.above_median(p)[["return", "above"]], prices)


def test_what_is_known_of_the_panel_stays():
    prices = stocks()
    prices.attrs = {"survivorship": "The dead are missing.", "available": ["close", "open"]}
    panel = tsf.above_median(prices)
    assert panel.attrs["survivorship"] == "The dead are missing."
    assert panel.attrs["available"] == ["close", "open", "return", "above"]
    assert prices.attrs["available"] == ["close", "open"]
    assert list(prices.columns) == ["close", "open"]


def test_series_may_stand_in_any_order():
    prices = stocks(12, 30)
    turned = pd.concat([prices.loc[[name]] for name in prices.index.unique(level=0)[::-1]])
    labels = tsf.above_median(turned)["above"]
    pd.testing.assert_series_equal(labels.sort_index(), tsf.above_median(prices)["above"])


@pytest.mark.parametrize(
    "change, options, message",
    [
        ({"close": 0.0}, {}, r"prices that are not positive \(column 'close'; first rows: \(S00,"),
        ({}, {"column": "price"}, r"columns not found: expected a column 'price', found \['close'"),
        ({}, {"returns": "ret"}, r"columns not found: expected a column 'ret'.*Name the price by"),
        ({"ret": -3.0}, {"returns": "ret"}, "returns below -1 .column 'ret'.*Divide percentages"),
        ({"above": 1.0}, {}, "columns are there already: .*found 'above'. Drop or rename"),
    ],
)
def test_panels_that_cannot_be_labelled_are_refused(change, options, message):
    with pytest.raises(tsf.DataError, match=message):
        tsf.above_median(stocks().assign(**change), **options)


def test_a_single_series_is_no_cross_section():
    with pytest.raises(tsf.DataError, match="no cross-section: expected a panel of several series"):
        tsf.above_median(stocks(1).droplevel(0))


@pytest.mark.parametrize(
    "universe, message",
    [
        ("member", "'universe': expected a column of the panel, or a Series on its index"),
        ([True], "'universe': expected a column of the panel, or a Series on its index"),
        ("open", "'universe': expected true and false .or 1 and 0. alone, found "),
        (stocks()["close"].gt(0).map({True: "yes"}), "true and false .or 1 and 0. alone, found 'y"),
        (pd.Series([True]), "one value for every row.*Its index is another one"),
        (stocks(14)["close"] > 0, "one value for every row.*120 of 1800 rows are not in it"),
    ],
    ids=["no column", "list", "numbers", "words", "other index", "fewer rows"],
)
def test_universes_that_cannot_be_read_are_refused(universe, message):
    with pytest.raises(ValueError, match=message):
        tsf.above_median(stocks(), universe=universe)


def test_a_universe_with_a_row_twice_is_refused():
    prices = stocks()
    twice = pd.Series(True, index=prices.index.append(prices.index[:1]))
    with pytest.raises(ValueError, match="'universe': .*Its index has duplicates"):
        tsf.above_median(prices, universe=twice)


@pytest.mark.parametrize("least", [1, 2.5, "ten"])
def test_a_median_needs_at_least_two(least):
    with pytest.raises(ValueError, match="parameter 'least': expected a whole number of at least"):
        tsf.above_median(stocks(), least=least)


# --------------------------------------------------------------------------------------- protocol

SPLITTER = tsf.RollingOrigin(2, 30, train_size=90)
K = 3


def network(**options):
    given = {
        "target": "above",
        "past": ["return"],
        "autoregressive": False,
        "lookback": 10,
        "head": "bernoulli",
        "baseline": None,
        "hidden_sizes": (8,),
        "training": tsf.Training(max_epochs=8, validation=None, learning_rate=0.02),
        "random_state": 0,
    }
    return tsf.RecurrentForecaster(**(given | options))


def run(prices, model=None):
    panel = tsf.above_median(prices)[["return", "above"]]
    frame = tsf.backtest(network() if model is None else model, panel, SPLITTER).frame
    return frame[frame["model"] == "RecurrentForecaster"]


PRICES = stocks(20, 170, reversal=0.6)


@pytest.fixture(scope="module")
def frame():
    return run(PRICES)


def by_hand(frame, prices, cost, lag):
    """Net returns of long the K highest and short the K lowest of every day, with drift: a loop."""
    close = prices["close"].unstack(0)
    held = pd.Series(0.0, close.columns)
    wide = frame.pivot(index="cutoff", columns="series", values="forecast")
    wanted = {}
    for cutoff, row in wide.iterrows():
        order = row.sort_values(ascending=False, kind="stable").index
        weights = pd.Series(0.0, close.columns)
        weights[order[:K]], weights[order[-K:]] = 1 / K, -1 / K
        wanted[close.index[close.index.get_loc(cutoff) + lag]] = weights
    net = {}
    days = close.index[close.index.get_loc(min(wanted)) :]
    for today, tomorrow in zip(days[:-1], days[1:]):
        target = wanted.get(today, held)
        paid = cost * (target - held).abs().sum()
        moved = target * (close.loc[tomorrow] / close.loc[today] - 1)
        net[tomorrow] = moved.sum() - paid
        held = (target + moved) / (1 + moved.sum())
    return pd.Series(net)


@pytest.mark.parametrize("lag", [1, "same close"])
def test_the_strategy_earns_what_a_plain_loop_earns(frame, lag):
    costs = tsf.Costs(commission_bps=5.0, half_spread_bps=0.0, slippage_bps=0.0)
    strategy = tsf.backtest_strategy(frame, PRICES, rule=tsf.TopBottom(K), costs=costs, lag=lag)
    expected = by_hand(frame, PRICES, 5e-4, 1 if lag == 1 else 0)
    net = strategy.returns["net"]
    assert net.index.equals(pd.DatetimeIndex(expected.index))
    np.testing.assert_allclose(net, expected, rtol=0, atol=1e-12)


def test_study_periods_are_blocks_that_roll_and_do_not_grow():
    panel = tsf.above_median(PRICES)
    days = PRICES.index.unique(level=1)
    first, second = SPLITTER.splits(panel)
    for split, begin in ((first, 20), (second, 50)):
        assert split.fit_from == days[begin]
        assert split.fit_until == split.cutoffs[0] == days[begin + 89]
        assert len(split.cutoffs) == 30
    assert days.get_loc(second.cutoffs[0]) == days.get_loc(first.cutoffs[-1]) + 1


def test_returns_are_standardised_by_the_training_days_of_all_stocks():
    panel = tsf.above_median(PRICES)[["return", "above"]]
    split = SPLITTER.splits(panel)[0]
    day = panel.index.get_level_values(1)
    train = panel[(split.fit_from <= day) & (day <= split.fit_until)]
    model = network().fit(train)
    preparation = model._preparation
    names = preparation.features.names(preparation.inputs)
    (scale,) = model.networks_
    at = names.index("return: value")
    # the first row of a series has none before it, and is not measured
    known = train["return"].groupby(level=0).tail(-1)
    assert 1 / scale.gain[at].item() == pytest.approx(known.std(ddof=0), rel=1e-5)
    level = scale.location[at].item() + preparation.fill[preparation.inputs.index("return")]
    assert level == pytest.approx(known.mean(), abs=1e-7)
    seen = {name for name, gain in zip(names, scale.gain.tolist()) if gain}
    assert seen == {"return: value", "elapsed"}


def test_a_reversal_is_found_and_pays_before_costs(frame):
    panel = tsf.above_median(PRICES)[["return", "above"]]
    last = panel["return"].rename_axis(["series", "cutoff"]).rename("last").reset_index()
    joined = frame.merge(last, on=["series", "cutoff"])
    assert joined["forecast"].corr(joined["last"]) < -0.7
    right = (joined["forecast"] > 0.5) == (joined["actual"] > 0.5)
    assert right.mean() > joined["actual"].mean() + 0.08
    strategy = tsf.backtest_strategy(frame, PRICES, rule=tsf.TopBottom(K), lag="same close")
    assert tsf.sharpe_ratio(strategy.returns["gross"]).value > 3
    assert "cannot be done" in " ".join(strategy.notes)
    late = tsf.backtest_strategy(frame, PRICES, rule=tsf.TopBottom(K))
    gross = strategy.returns["gross"].mean()
    assert late.returns["gross"].mean() < 0.3 * gross  # a session later it is gone


def test_verdicts_are_against_the_base_rate():
    panel = tsf.above_median(PRICES)[["return", "above"]]
    rate = tsf.LagRegressor(
        target="above", estimator=DummyRegressor(), lags=1, relative=False, levels=()
    )
    result = tsf.backtest({"lstm": network(), "base rate": rate}, panel, SPLITTER)
    said = result.frame[result.frame["model"] == "base rate"]["forecast"]
    assert (said == 0.5).all()  # of twenty stocks
    table = result.skill()
    assert table.attrs["loss"] == "squared" and table.loc["lstm", "baseline"] == "base rate"
    assert table.loc["lstm", "p"] < 0.05


def test_without_a_signal_early_stopping_gives_the_base_rate_and_nothing_to_rank():
    model = network(training=tsf.Training(max_epochs=5))
    frame = run(stocks(20, 170, seed=3), model)
    assert frame.groupby("cutoff")["forecast"].nunique().eq(1).all()


def test_the_protocol_does_not_look_ahead():
    prices = stocks(12, 80)
    days = prices.index.unique(level=1)

    def study(prices):
        """One study period at fixed dates."""
        panel = tsf.above_median(prices)[["return", "above"]]
        day = panel.index.get_level_values(1)
        model = network(training=tsf.Training(max_epochs=1, validation=None))
        model.fit(panel[day <= days[39]])
        return model.forecast_origins(panel, days[39:60].intersection(day))

    shown = tsf.check_no_lookahead(study, prices, cutoff=days[50])
    assert (shown["compared"] > 100).all()
