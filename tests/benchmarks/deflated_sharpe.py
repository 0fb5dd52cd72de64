"""The best of many worthless strategies: how often is it believed?

Usage: deflated_sharpe.py [--panels 200] [--trials 20] [--series 5] [--days 500]

On every panel of simulated random walks, without drift and without costs, momentum rules with
different lookbacks are traded; the one with the highest Sharpe ratio is shown, as people do.
Printed is the share of panels on which it passes .95: by its probabilistic Sharpe ratio, as if
it were the only one, and by its deflated one, with the variance of worthless ratios by chance
(the default) or that of the trials at hand. Nobody has skill here: 5 % is what a test may believe.
"""

import argparse
import time

import numpy as np
import pandas as pd

import tsforecast as tsf

FREE = tsf.Costs(0.0, 0.0, 0.0)


def random_walks(rng, n_series, n_days):
    """A panel of closes, log random walks with fat tails."""
    steps = 0.01 * rng.standard_t(5, (n_days, n_series))
    days = pd.bdate_range("2015-01-01", periods=n_days, name="date")
    names = pd.Index([f"s{i}" for i in range(n_series)], name="ticker")
    return pd.DataFrame(100 * np.exp(steps.cumsum(axis=0)), days, names)


def momentum(closes, lookback, begin):
    """Weights of equal size, the sign of the change over the lookback, from one day on for all."""
    signs = np.sign(closes / closes.shift(lookback) - 1)
    return signs.iloc[begin:-2] / closes.shape[1]


def one_panel(rng, lookbacks, n_series, n_days):
    """Probabilities that the best rule of a panel is worth something."""
    closes = random_walks(rng, n_series, n_days)
    panel = closes.stack().swaplevel().sort_index().to_frame("close")
    begin = max(lookbacks)
    returns = pd.DataFrame(
        {
            lookback: tsf.backtest_strategy(
                momentum(closes, lookback, begin), panel, costs=FREE
            ).returns["net"]
            for lookback in lookbacks
        }
    )
    ratios = returns.mean() / returns.std() * np.sqrt(252)
    best = returns[ratios.idxmax()]
    return {
        "probabilistic": tsf.probabilistic_sharpe(best),
        "deflated": tsf.deflated_sharpe(best, len(lookbacks)).probability,
        "deflated, variance of trials": tsf.deflated_sharpe(best, trial_sharpes=ratios).probability,
        "overfitting": tsf.backtest_overfitting(returns, n_blocks=8).probability,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panels", type=int, default=200)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--series", type=int, default=5)
    parser.add_argument("--days", type=int, default=500)
    options = parser.parse_args()
    began = time.perf_counter()
    rng = np.random.default_rng(0)
    longest = 5 * options.trials
    lookbacks = np.unique(np.geomspace(1, longest, 4 * options.trials).astype(int))
    evenly = np.linspace(0, len(lookbacks) - 1, options.trials).astype(int)
    lookbacks = lookbacks[evenly].tolist()
    found = pd.DataFrame(
        [one_panel(rng, lookbacks, options.series, options.days) for _ in range(options.panels)]
    )
    print(
        f"{options.panels} panels of {options.series} random walks, {options.days} days; "
        f"{len(lookbacks)} momentum rules with lookbacks of {lookbacks[0]} to {lookbacks[-1]} days"
    )
    for name in list(found)[:-1]:
        print(f"  best rule above .95, {name}: {100 * (found[name] > 0.95).mean():.1f} %")
    print(f"  probability of backtest overfitting, mean: {found['overfitting'].mean():.2f}")
    print(f"  {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
