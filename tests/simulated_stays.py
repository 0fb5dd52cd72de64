"""Simulated stays with a competing exit, of which the true risk is known at every row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

LONGEST, SHORTEST = 40, 12  # rows
_EVENT = (-3.6, 0.9)  # log-odds of the hazard per step: at x = 0, and per unit of x
_EXIT_SLOPE = -0.6


class Stays(NamedTuple):
    """What `simulate_stays` gives.

    Attributes
    ----------
    panel : DataFrame
        Index ``(stay, hour)``, hour a Timedelta; columns ``x`` (constant within the stay),
        ``noise`` (tells nothing), ``event`` and ``exit`` (0 or 1; the stay's record ends in the
        row in which one of them is 1, or where it is cut off).
    incidence : DataFrame
        On the same index, columns ``risk_1 ... risk_K``: the true probability that the event comes
        within k steps of the row, given that the stay is still there; exits compete with it.
    """

    panel: pd.DataFrame
    incidence: pd.DataFrame


def simulate_stays(n: int, *, competing: float = 0.3, seed: int = 0, n_steps: int = 6) -> Stays:
    r"""Simulate stays in which an event and another exit compete.

    With x standard normal, one value per stay, in every step the event comes with probability
    :math:`h_1 = \mathrm{expit}(-3.6 + 0.9 x)`, else the other exit with probability
    :math:`h_2 / (1 - h_1)`, where :math:`h_2 = \mathrm{expit}(c - 0.6 x)`: patients at low risk
    leave earlier. So :math:`P(\text{event within } k) = h_1 (1 - (1 - h_1 - h_2)^k) / (h_1 + h_2)`.
    Records are cut off at 12 to 40 rows, whatever x.

    Parameters
    ----------
    n : int
        Number of stays.
    competing : float
        Share of stays that end by the competing exit, on average, in [0, 0.8]; sets c.
    seed : int
        Seed.
    n_steps : int
        K.

    Returns
    -------
    Stays
    """
    rng = np.random.default_rng(seed)
    x, last = rng.normal(size=n), rng.integers(SHORTEST, LONGEST, n, endpoint=True) - 1
    h1, h2 = _hazards(x, competing)

    # the step in which each stay ends, and by what
    when = rng.geometric(h1 + h2)
    by_event = rng.random(n) < h1 / (h1 + h2)
    ended = when <= last
    length = np.where(ended, when, last) + 1

    stay = np.repeat(np.arange(n), length)
    row = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    final = row == np.repeat(length - 1, length)
    index = pd.MultiIndex.from_arrays(
        [stay, pd.to_timedelta(row, unit="h")], names=["stay", "hour"]
    )
    panel = pd.DataFrame(
        {
            "x": x[stay],
            "noise": rng.normal(size=len(stay)),
            "event": (final & ended[stay] & by_event[stay]).astype(float),
            "exit": (final & ended[stay] & ~by_event[stay]).astype(float),
        },
        index=index,
    )
    steps = np.arange(1, n_steps + 1)
    total = (h1 + h2)[:, None]
    risk = h1[:, None] / total * (1 - (1 - total) ** steps)
    columns = [f"risk_{k}" for k in steps]
    return Stays(panel, pd.DataFrame(risk[stay], index=index, columns=columns))


def _hazards(x: np.ndarray, competing: float) -> tuple[np.ndarray, np.ndarray]:
    """Hazards per step of event and exit, with c such that a share `competing` exits."""
    h1 = expit(_EVENT[0] + _EVENT[1] * x)
    if competing == 0:
        return h1, np.zeros_like(h1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    at_nodes = expit(_EVENT[0] + _EVENT[1] * nodes)
    lasts = np.arange(SHORTEST, LONGEST + 1) - 1

    def share(c: float) -> float:
        other = expit(c + _EXIT_SLOPE * nodes)
        gone = 1 - np.mean((1 - at_nodes - other)[:, None] ** lasts, axis=1)
        return float((weights * other / (at_nodes + other) * gone).sum() / weights.sum())

    c = brentq(lambda c: share(c) - competing, -12, -0.5)
    return h1, expit(c + _EXIT_SLOPE * x)
