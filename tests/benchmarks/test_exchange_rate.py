"""exchange_rate, 5 rolling windows of 30 days: weighted quantile loss over nine deciles.

The usual split: rows up to 6,071 to train on, then five windows; the models are fitted once.
The half-life of the running scale is that of RiskMetrics (decay .94); lookback, learning rate and
members were chosen on five stretches of 150 days before row 6,071.  Figures in RESULTS.md.
"""

import warnings

import numpy as np
import pytest

import tsforecast as tsf

TRAIN_UNTIL, WINDOWS, HORIZON = 6071, 5, 30


@pytest.mark.slow
def test_network_is_at_most_two_percent_behind_the_random_walk():
    try:
        panel = tsf.load_exchange_rate()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    day = panel.index.get_level_values("day")
    panel = panel[day < TRAIN_UNTIL + WINDOWS * HORIZON]
    models = {
        "random walk": tsf.RandomWalk(target="rate", horizon=HORIZON),
        "naive": tsf.Naive(target="rate", horizon=HORIZON),
    }
    for seed in range(3):
        models[f"lstm, seed {seed}"] = tsf.RecurrentForecaster(
            target="rate",
            horizon=HORIZON,
            lookback=32,
            transform=tsf.Log(),
            normalize=tsf.RunningScale(half_life=11),
            head="studentt",
            hidden_sizes=(32, 32),
            n_members=5,
            training=tsf.Training(learning_rate=2e-3),
            random_state=seed,
        )
    splitter = tsf.RollingOrigin(1, WINDOWS, step=HORIZON)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = tsf.backtest(models, panel, splitter)
    cutoffs = np.unique(result.frame["cutoff"])
    assert list(cutoffs) == [TRAIN_UNTIL - 1 + HORIZON * i for i in range(WINDOWS)]
    table = result.metrics()[["wql", "coverage"]]
    table["ratio"] = table["wql"] / table.loc["random walk", "wql"]
    print(f"\n{table.to_string(float_format=lambda v: f'{v:.5f}')}")
    ours = table.filter(like="lstm", axis=0)
    assert (ours["ratio"] <= 1.02).all()
    assert (ours["coverage"] - 0.8).abs().max() <= 0.03
