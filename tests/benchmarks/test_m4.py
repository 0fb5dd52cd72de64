"""M4 weekly and hourly: one global network each, no settings of single series.

Settings were chosen on the last horizon of the training part (the 13 weeks, the 48 hours before
the test stretch); the test stretch is scored once per seed.  Figures in RESULTS.md.
"""

import time
import warnings

import numpy as np
import pytest

import tsforecast as tsf
from tests.benchmarks import m4

COMMON = {
    "target": "value",
    "transform": tsf.Log(),
    "normalize": "ewm",
    "min_history": 1,
    "head": "point",
    "hidden_sizes": (64, 64),
}
SETTINGS = {
    "Weekly": {"horizon": 13, "lookback": 52, "season": 52},
    "Hourly": {"horizon": 48, "lookback": 48, "season": (24, 168), "baseline": "seasonal"},
}
EPOCHS = {"Weekly": 10, "Hourly": 30}
GOAL = {"Weekly": 0.80, "Hourly": 0.46}


@pytest.mark.slow
@pytest.mark.parametrize("group", SETTINGS)
def test_one_network_for_all_series_reaches_the_goal(group):
    try:
        train, test = tsf.load_m4(group)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    season = m4.SEASONS[group]
    alike = m4.resembled(train, test) if group == "Weekly" else []
    reached = []
    for seed in range(3):
        model = tsf.RecurrentForecaster(
            **COMMON,
            **SETTINGS[group],
            training=tsf.Training(
                max_epochs=EPOCHS[group], validation=None, learning_rate=3e-3, averaging=0.99
            ),
            random_state=seed,
        )
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = model.fit(train).predict()
        seconds = time.perf_counter() - start
        scores = m4.owa(train, test, frame, season)
        text = f"{group}, seed {seed}: OWA {scores.owa:.4f}, sMAPE {scores.smape:.3f}, "
        text += f"MASE {scores.mase:.3f}, {seconds:.0f} s"
        if len(alike):
            rest = [part.drop(index=alike, level=0) for part in (train, test, frame)]
            text += f"; without {len(alike)} look-alikes OWA {m4.owa(*rest, season).owa:.4f}"
        print(f"\n{text}", end="")
        reached.append(scores.owa)
    print(f"\n{group}: mean {np.mean(reached):.4f}")
    assert np.mean(reached) <= GOAL[group]
