"""Signals of a trend follower against plain recursions."""

import numpy as np
import pandas as pd
import pytest

from tsforecast.data.momentum import Momentum, captured_returns
from tsforecast.data.panel import layout_of

LENGTHS = (300, 41, 2, 120)
SMALL = Momentum(spans=(1, 5, 21), macd=((4, 12), (8, 24)), half_life=10.0)


def make_prices(lengths=LENGTHS, missing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    frames = []
    for number, length in enumerate(lengths):
        price = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal(length)))
        index = pd.MultiIndex.from_product(
            [[f"s{number}"], pd.bdate_range("2020-01-01", periods=length)], names=["id", "day"]
        )
        frames.append(pd.DataFrame({"close": price}, index=index))
    panel = pd.concat(frames)
    return panel.mask(rng.random(panel.shape) < missing)


def measured(panel, momentum=SMALL):
    layout = layout_of(panel)
    return momentum.measure(panel["close"].to_numpy(), layout), layout


def plain_volatility(log_price, half_life):
    """Of one series, row by row."""
    least, variance, count, last = 1 - 2 ** (-1 / half_life), 0.0, 0, np.nan
    result = []
    for p in log_price:
        if np.isfinite(p):
            if np.isfinite(last):
                count += 1
                variance += max(least, 1 / count) * ((p - last) ** 2 - variance)
            last = p
        result.append(np.sqrt(variance) if count else np.nan)
    return np.array(result)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_volatility_is_the_exponentially_weighted_mean_of_squared_returns(missing):
    panel = make_prices(missing=missing)
    (_, volatility), layout = measured(panel)
    for start, stop in zip(layout.starts, layout.stops):
        p = np.log(panel["close"].to_numpy()[start:stop])
        np.testing.assert_allclose(volatility[start:stop], plain_volatility(p, 10.0), rtol=1e-9)


def test_past_returns_are_in_standard_deviations_of_their_span():
    panel = make_prices()
    (signals, volatility), layout = measured(panel)
    for start, stop in zip(layout.starts, layout.stops):
        p = np.log(panel["close"].to_numpy()[start:stop])
        for j, span in enumerate(SMALL.spans):
            for t in range(1, stop - start):
                back = min(span, t)  # near the beginning, since the first row
                wanted = (p[t] - p[t - back]) / (volatility[start + t] * np.sqrt(back))
                assert signals[start + t, j] == pytest.approx(np.clip(wanted, -10, 10), rel=1e-9)
        assert np.isnan(signals[start, :3]).all()


def test_crossings_are_those_of_pandas_averages():
    panel = make_prices((400,))
    (signals, _), _ = measured(panel)
    p = np.log(panel["close"]).reset_index(drop=True)
    for j, (short, long) in enumerate(SMALL.macd):
        means = [p.sub(p[0]).ewm(alpha=1 / scale, adjust=False).mean() for scale in (short, long)]
        # pandas starts from the first value, which is 0 here, too
        q = (means[0] - means[1]) / p.rolling(63, min_periods=2).std()
        wanted = (q / q.rolling(252, min_periods=2).std()).clip(-10, 10)
        np.testing.assert_allclose(signals[3:, 3 + j], wanted[3:], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_signals_ignore_later_rows_and_other_series(missing):
    panel = make_prices(missing=missing)
    (signals, volatility), layout = measured(panel)
    alone = panel.iloc[layout.starts[3] : layout.starts[3] + 60]
    (early, sigma), _ = measured(alone)
    at = slice(int(layout.starts[3]), int(layout.starts[3]) + 60)
    np.testing.assert_allclose(early, signals[at], rtol=1e-9)
    np.testing.assert_allclose(sigma, volatility[at], rtol=1e-12)


def test_a_price_that_never_moves_has_no_signal():
    panel = make_prices((40,)) * 0 + 5.0
    (signals, volatility), _ = measured(panel)
    assert np.isnan(signals).all()
    assert (volatility[1:] == 0).all()


def test_signals_do_not_know_the_unit_of_the_price():
    panel = make_prices()
    (signals, _), _ = measured(panel)
    (scaled, _), _ = measured(panel * 1024.0)
    np.testing.assert_allclose(scaled, signals, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_a_return_is_captured_lag_rows_after_the_decision(lag):
    panel = make_prices((9, 3, 6))
    price, layout = panel["close"].to_numpy(), layout_of(panel)
    captured = captured_returns(price, layout, lag)
    for start, stop in zip(layout.starts, layout.stops):
        for t in range(start, stop):
            if t + lag + 1 < stop:
                assert captured[t] == price[t + lag + 1] / price[t + lag] - 1
            else:
                assert np.isnan(captured[t])
