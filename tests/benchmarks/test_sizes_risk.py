"""Do tests of risk reject a right model in 5 % of samples, and wrong ones more often?

Returns are simulated from a GARCH(1, 1) with Student-t or normal noise, so that the value at risk
moves with the hits before it, as it does in use.  Run with ``make slow``, or with fewer samples as
``TSFORECAST_SAMPLES=200 pytest -m slow -s tests/benchmarks/test_sizes_risk.py``; figures in
RESULTS.md.
"""

import os
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

import tsforecast as tsf

SAMPLES = int(os.environ.get("TSFORECAST_SAMPLES", 2000))
LENGTHS, LEVELS = (250, 1000, 2500), (0.01, 0.05)
NOISES = {"normal": (norm(), 1.0), "t4": (t(4), np.sqrt(0.5)), "t3": (t(3), np.sqrt(1 / 3))}
OF_HITS = ("kupiec", "independence", "coverage", "dq")


@cache
def simulate(n, noise="t4", samples=1, seed=0):
    """Returns and their standard deviations, (samples, n) each."""
    rng = np.random.default_rng([seed, n])
    law, unit = NOISES[noise]
    z = unit * law.rvs(size=(200 + n, samples), random_state=rng)
    r, variance = np.zeros_like(z), np.ones_like(z)
    for i in range(1, len(z)):
        variance[i] = 0.03 + 0.09 * r[i - 1] ** 2 + 0.88 * variance[i - 1]
        r[i] = np.sqrt(variance[i]) * z[i]
    return r[200:].T.copy(), np.sqrt(variance[200:]).T.copy()


def risk_of(noise, level):
    """Value at risk and expected shortfall at unit variance."""
    law, unit = NOISES[noise]
    u = (np.arange(20000) + 0.5) / 20000 * level
    return -unit * law.ppf(level), -unit * law.ppf(u).mean()


def run(which, r, var, es, level, seed):
    hits = r < -var
    return {
        "kupiec": lambda: tsf.kupiec(hits, level, random_state=seed),
        "independence": lambda: tsf.christoffersen_independence(hits, random_state=seed),
        "coverage": lambda: tsf.christoffersen(hits, level, random_state=seed),
        "dq": lambda: tsf.dynamic_quantile(hits, var, level, random_state=seed),
        "es": lambda: tsf.acerbi_szekely(r, var, es, level, random_state=seed),
    }[which]()


def rejections(which, n, level, truth, model, samples):
    """Share of samples in which the exact and the asymptotic p are below .05.

    `model`: a factor on the right value at risk and shortfall, or "flat", their unconditional
    quantile, or the noise that it takes for the truth.
    """
    returns, sds = simulate(n, truth, samples)
    var, es = risk_of(model if model in NOISES else truth, level)
    factor = model if isinstance(model, float) else 1.0
    if model == "flat":
        far, _ = simulate(20000, truth, 20, seed=1)
        var, es, sds = -np.quantile(far, level), 1.0, np.ones_like(returns)
    found = [
        run(which, r, factor * var * sd, factor * es * sd, level, seed)
        for seed, (r, sd) in enumerate(zip(returns, sds))
    ]
    return tuple(
        np.mean([getattr(test, name) < 0.05 for test in found]) for name in ("p", "p_asymptotic")
    )


def table(rows, columns):
    print("\n" + pd.DataFrame(rows, columns=columns).round(3).to_string(index=False))


@pytest.mark.slow
@pytest.mark.parametrize("which", OF_HITS)
def test_size_of_the_tests_of_hits(which):
    samples = SAMPLES if which != "dq" else SAMPLES // 2
    rows = [
        (which, n, level, *rejections(which, n, level, "t4", 1.0, samples))
        for n in LENGTHS
        for level in LEVELS
    ]
    table(rows, ["test", "n", "level", "size", "size by chi-squared"])
    # with fewer than two hits (29 % of samples of 250 at 1 %) nothing is said of independence
    error = 2.5 * np.sqrt(0.05 * 0.95 / samples)
    assert all(abs(size - 0.05) < 0.015 + error for *_, size, _ in rows)


@pytest.mark.slow
def test_size_of_the_test_of_expected_shortfall():
    rows = [
        (noise, n, level, rejections("es", n, level, noise, 1.0, SAMPLES)[0])
        for noise in NOISES
        for n in LENGTHS
        for level in (*LEVELS, 0.025)
    ]
    table(rows, ["noise", "n", "level", "size"])
    error = 2.5 * np.sqrt(0.05 * 0.95 / SAMPLES)
    assert all(abs(size - 0.05) < 0.015 + error for *_, size in rows)


@pytest.mark.slow
@pytest.mark.parametrize("which", (*OF_HITS, "es"))
def test_power_grows_with_the_sample(which):
    samples = SAMPLES // 8
    models = {"kupiec": (0.9, 0.8, 0.7), "es": (0.9, 0.8, 0.7, "normal")}.get(
        which, (0.9, 0.8, 0.7, "flat")
    )
    rows = []
    for model in models:
        for level in LEVELS:
            power = [rejections(which, n, level, "t4", model, samples)[0] for n in LENGTHS]
            rows.append((which, str(model), level, *power))
            if which != "independence" or model == "flat":
                assert power[0] - 0.05 < power[-1]
    table(rows, ["test", "model", "level", *(f"n = {n}" for n in LENGTHS)])
