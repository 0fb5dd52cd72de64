"""Prices that trend, for positions to find, and what is earned by plain pandas."""

import numpy as np
import pandas as pd


def simulate_trends(n_series=20, n_rows=3000, *, drift=0.15, phi=0.99, seed=0):
    """Daily closes of independent series whose drift moves slowly, on weekdays.

    In units of the series' daily volatility v(t), the return of a day is m(t) + e(t), with e
    standard normal and m an AR(1) with coefficient `phi` and standard deviation `drift`; v(t) is
    1 % times the exponential of an AR(1) with coefficient .97 and standard deviation .41. With
    drift 0 these are random walks.

    With the defaults a return's drift explains 2.2 % of its variance, had one known it.
    """
    rng = np.random.default_rng(seed)
    mean, log_scale = drift * rng.standard_normal(n_series), np.zeros(n_series)
    returns = np.empty((n_rows, n_series))
    for t in range(n_rows):
        mean = phi * mean + np.sqrt(1 - phi**2) * drift * rng.standard_normal(n_series)
        log_scale = 0.97 * log_scale + 0.1 * rng.standard_normal(n_series)
        returns[t] = 0.01 * np.exp(log_scale) * (mean + rng.standard_normal(n_series))
    index = pd.MultiIndex.from_product(
        [[f"s{i:02}" for i in range(n_series)], pd.bdate_range("2010-01-01", periods=n_rows)],
        names=["series", "time"],
    )
    return pd.DataFrame({"close": 100 * np.exp(returns.cumsum(axis=0)).T.ravel()}, index=index)


def sign_rule(close, span, *, vol_target=0.15, half_life=60.0):
    """The sign of the past return of every series, scaled as `PositionEstimator` scales."""
    change = np.log(close).diff()
    volatility = np.sqrt((change**2).ewm(halflife=half_life).mean() * 252)
    return np.sign(close / close.shift(span) - 1) * np.minimum(1, vol_target / volatility)


def net_returns(weights, close, *, cost=0.0005, lag=1):
    """What weights (time x series) earn after costs, all series in equal parts."""
    held = weights.shift(lag + 1).fillna(0.0)
    traded = held.diff().abs().fillna(0.0)
    return (held * close.pct_change() - cost * traded).mean(axis=1)


def annual_sharpe(returns):
    return returns.mean() / returns.std() * np.sqrt(252)
