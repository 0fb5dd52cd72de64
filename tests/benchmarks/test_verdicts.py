"""Does the verdict 'skill' come when it should, and only then: simulated prices, default model.

2,000 rows of training, 1,000 one-step origins.  A network with default settings stands beside
naive, drift, EWMA and random walk; 'skill' is a Holm-adjusted p below .05 against the best of
them.  Run with ``make slow``; figures in RESULTS.md.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed

import tsforecast as tsf

TRAINING, ORIGINS = 2000, 1000


def verdict(seed: int, phi: float) -> bool:
    """Simulate a log price with AR(1) returns and ask whether the network has skill."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    noise = 0.01 * rng.standard_normal(TRAINING + ORIGINS + 1)
    returns = np.zeros_like(noise)
    for t in range(1, len(noise)):
        returns[t] = phi * returns[t - 1] + noise[t]
    days = pd.bdate_range("2010-01-01", periods=len(noise))
    panel = pd.DataFrame({"log_price": returns.cumsum()}, index=days)
    models = {
        "lstm": tsf.RecurrentForecaster(random_state=seed),
        "naive": tsf.Naive(),
        "drift": tsf.Drift(),
        "ewma": tsf.EWMA(),
        "random walk": tsf.RandomWalk(),
    }
    result = tsf.backtest(models, panel, tsf.RollingOrigin(1, ORIGINS))
    text = result.verdicts()[0]
    return text.startswith("lstm: skill over")


def share_of_skill(n: int, phi: float) -> float:
    found = Parallel(n_jobs=2)(delayed(verdict)(seed, phi) for seed in range(n))
    return float(np.mean(found))


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "n", "low", "high"), [(0.0, 200, 0.0, 0.08), (0.3, 200, 0.9, 1.0)])
def test_share_of_verdicts_that_find_skill(phi, n, low, high):
    share = share_of_skill(n, phi)
    print(f"\nphi = {phi:g}: 'skill' in {100 * share:.1f} % of {n} simulations")
    assert low <= share <= high
