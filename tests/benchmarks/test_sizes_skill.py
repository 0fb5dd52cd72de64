"""Do the tests of skill reject equals 5 times in 100, and find what is there: simulation.

Size at a nominal 5 % and power over an effect, for 250 and 1,000 origins, horizons 1 and 5
(size alone: 20 and 60, too).  Losses
are those of two forecasts of the sum of the next `horizon` shocks, with errors of equal variance;
'ma' are loss differentials that are themselves sums of `horizon` shocks, the strongest overlap.
Run with ``make slow`` or ``pytest -m slow -s tests/benchmarks/test_sizes_skill.py``; figures in
RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.signal import lfilter

from tsforecast.backtesting.forecast_tests import (
    giacomini_white,
    mincer_zarnowitz,
    model_confidence_set,
    pesaran_timmermann,
    spa,
)
from tsforecast.backtesting.skill import diebold_mariano

Floats = npt.NDArray[np.float64]

NOMINAL = 0.05
EFFECTS = (0.0, 0.1, 0.2, 0.4)


def sums(noise: Floats, horizon: int) -> Floats:
    """Sums of the next `horizon` shocks at every origin."""
    return np.convolve(noise, np.ones(horizon), mode="valid")


def outcomes(rng: np.random.Generator, n: int, horizon: int) -> Floats:
    return sums(rng.normal(size=n + horizon - 1), horizon)


def two_losses(
    rng: np.random.Generator, n: int, horizon: int, effect: float
) -> tuple[Floats, Floats]:
    """Squared errors of forecasts with errors of their own; the first knows `effect` more."""
    signal = rng.normal(size=n)  # known at the origin
    y = outcomes(rng, n, horizon) + effect * signal
    a, b = 0.3 * rng.normal(size=(2, n))
    return (y - effect * signal - a) ** 2, (y - b) ** 2


def sums_of_shocks(
    rng: np.random.Generator, n: int, horizon: int, effect: float
) -> tuple[Floats, Floats]:
    """Loss differentials with the strongest overlap, lower by `effect` of their deviation."""
    return outcomes(rng, n, horizon) - effect * np.sqrt(horizon), np.zeros(n)


def one_sided(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    return diebold_mariano(*two_losses(rng, n, horizon, effect), horizon=horizon).p_less


def one_sided_ma(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    return diebold_mariano(*sums_of_shocks(rng, n, horizon, effect), horizon=horizon).p_less


def conditional(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    return giacomini_white(*two_losses(rng, n, horizon, effect), horizon=horizon).p


def conditional_ma(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    return giacomini_white(*sums_of_shocks(rng, n, horizon, effect), horizon=horizon).p


def at_times(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    """A difference that an instrument knows and the mean does not."""
    a, b = two_losses(rng, n, horizon, 0.0)
    state = rng.normal(size=n)
    return giacomini_white(a - effect * state, b, horizon=horizon, instruments=state).p


def bias(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    """The forecast moves too much by the share `effect`."""
    signal = rng.normal(size=n)
    y = outcomes(rng, n, horizon) + signal
    return mincer_zarnowitz(y, (1 + effect) * signal, horizon=horizon).p


def direction(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    """Signals that do not persist, in a market that rises on 6 of 10 days."""
    signal = rng.normal(size=n)
    y = outcomes(rng, n, horizon) + 0.25 * np.sqrt(horizon) + effect * signal
    return pesaran_timmermann(y, 0.25 + signal, horizon=horizon).p


def persistent_direction(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    """Signals that overlap as the outcomes do."""
    signal = outcomes(rng, n, horizon)
    y = outcomes(rng, n, horizon) + 0.25 * np.sqrt(horizon) + effect * signal
    return pesaran_timmermann(y, 0.25 + signal, horizon=horizon).p


def long_memory_direction(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    """Signs of series that follow their own past, without overlap."""
    signal, y = lfilter([1], [1, -0.8], rng.normal(size=(2, n + 100)))[:, 100:]
    y = sums(np.concatenate([y, np.zeros(horizon - 1)]), horizon)
    return pesaran_timmermann(y + effect * horizon * signal, signal, horizon=horizon).p


def panel_direction(rng: np.random.Generator, n: int, horizon: int, effect: float) -> float:
    """Ten series that share most of their moves, and a signal that is the same for all."""
    signal = rng.normal(size=n)
    own = np.stack([outcomes(rng, n, horizon) for _ in range(10)])
    y = 2 * outcomes(rng, n, horizon) + own + effect * signal
    cutoff = np.tile(np.arange(n), 10)
    return pesaran_timmermann(
        y.ravel(),
        np.tile(signal, 10),
        horizon=horizon,
        cutoff=cutoff,
        series=np.repeat(np.arange(10), n),
    ).p


Simulation = Callable[[np.random.Generator, int, int, float], float]
# the least and largest size that is asserted, of 2,000 samples of 1,000 origins
TESTS: dict[str, tuple[Simulation, float, float]] = {
    "diebold_mariano": (one_sided, 0.035, 0.065),
    "diebold_mariano, ma": (one_sided_ma, 0.035, 0.065),
    "giacomini_white": (conditional, 0.035, 0.065),
    "giacomini_white, ma": (conditional_ma, 0.035, 0.065),
    "giacomini_white, at times": (at_times, 0.035, 0.065),
    "mincer_zarnowitz": (bias, 0.035, 0.065),
    "pesaran_timmermann": (direction, 0.035, 0.065),
    "pesaran_timmermann, ma": (persistent_direction, 0.035, 0.065),
    "pesaran_timmermann, memory": (long_memory_direction, 0.035, 0.1),
    "pesaran_timmermann, panel": (panel_direction, 0.035, 0.065),
}
# at long horizons, of 1,000 origins: with the strongest overlap few independent ones are left
LONG: dict[str, tuple[float, float]] = {
    "giacomini_white": (0.025, 0.065),
    "giacomini_white, ma": (0.035, 0.125),
    "giacomini_white, at times": (0.025, 0.065),
    "mincer_zarnowitz": (0.035, 0.07),
}


def share_rejected(
    test: Simulation, n: int, horizon: int, effect: float, *, repeats: int, seed: int = 0
) -> float:
    rng = np.random.default_rng(seed)
    p = np.array([test(rng, n, horizon, effect) for _ in range(repeats)])
    assert np.isfinite(p).all()
    return float(np.mean(p < NOMINAL))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TESTS))
def test_size_and_power(name: str) -> None:
    test, low, high = TESTS[name]
    print(f"\n{name}: share rejected at 5 % by effect {EFFECTS}")
    for horizon in (1, 5):
        for n in (250, 1000):
            shares = [
                share_rejected(test, n, horizon, effect, repeats=400 if effect else 2000)
                for effect in EFFECTS
            ]
            row = "  ".join(f"{100 * share:5.1f}" for share in shares)
            print(f"  horizon {horizon}, n {n:5d}: {row}")
            if n == 1000:
                assert low <= shares[0] <= high
                assert shares[-1] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LONG))
def test_size_of_long_horizons(name: str) -> None:
    low, high = LONG[name]
    print(f"\n{name}: share of equals rejected at 5 %")
    for horizon in (20, 60):
        for n in (250, 1000):
            share = share_rejected(TESTS[name][0], n, horizon, 0.0, repeats=2000)
            print(f"  horizon {horizon}, n {n:5d}: {100 * share:5.1f}")
            if n == 1000:
                assert low <= share <= high


def equal_models(rng: np.random.Generator, n: int, horizon: int, k: int) -> pd.DataFrame:
    """Losses of k equal models that share the outcome."""
    y = outcomes(rng, n, horizon)
    return pd.DataFrame((y[:, None] - 0.5 * rng.normal(size=(n, k))) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [1, 5])
def test_the_confidence_set_and_spa_hold_their_level(horizon: int) -> None:
    rng = np.random.default_rng(1)
    n, k, repeats = 500, 5, 300
    whole, best_in, found = [], [], []
    for _ in range(repeats):
        losses = equal_models(rng, n, horizon, k)
        chosen = model_confidence_set(losses, horizon=horizon, n_bootstrap=300)
        whole.append(bool(chosen["included"].all()))
        best_in.append(bool(chosen.loc[0, "included"]))
        found.append(spa(losses, 0, horizon=horizon, n_bootstrap=300).p < NOMINAL)
    print(
        f"\nhorizon {horizon}, {k} equal models, n {n}: the 90 % set holds a given best one in "
        f"{100 * np.mean(best_in):.1f} %, all of them in {100 * np.mean(whole):.1f} %; spa rejects "
        f"{100 * np.mean(found):.1f} %"
    )
    assert np.mean(best_in) > 0.9
    assert np.mean(whole) > 0.85  # 90 % in large samples
    assert np.mean(found) < 0.075
