"""Problems that only a memory solves: what is asked at the end was shown long before.

Sources
-------
- S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997, section 5.4
  (the adding problem, here as of the second source: values in (0, 1), a mark in either half).
- M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural networks", ICML 2016,
  section 5.2.
"""

from __future__ import annotations

import numpy as np

from tsforecast._checks import positive_int
from tsforecast.data.panel import Floats, Ints

__all__ = ["make_adding", "make_recall"]


def make_adding(
    n_samples: int, n_steps: int, *, random_state: int | None = None
) -> tuple[Floats, Floats]:
    """Draw samples of the adding problem: the sum of the two values that are marked.

    Parameters
    ----------
    n_samples : int
    n_steps : int
        Steps of a sample, at least 2. One mark is in the first half, one in the second.
    random_state : int, optional

    Returns
    -------
    X : ndarray of float64, shape (n_samples, n_steps, 2)
        Values, uniform in (0, 1), and marks, 0 or 1.
    y : ndarray of float64, shape (n_samples,)
        The sum. Its variance, the squared error of whoever always says 1, is 1 / 6.

    Examples
    --------
    >>> X, y = make_adding(3, 50, random_state=0)
    >>> bool(np.allclose((X[:, :, 0] * X[:, :, 1]).sum(axis=1), y))
    True
    """
    positive_int("n_samples", n_samples)
    positive_int("n_steps", n_steps, least=2)
    rng = np.random.default_rng(random_state)
    half, each = n_steps // 2, np.arange(n_samples)
    values, marks = rng.random((n_samples, n_steps)), np.zeros((n_samples, n_steps))
    for begin, stop in ((0, half), (half, n_steps)):
        marks[each, rng.integers(begin, stop, n_samples)] = 1.0
    return np.stack([values, marks], axis=2), (values * marks).sum(axis=1)


def make_recall(
    n_samples: int, n_steps: int, *, n_symbols: int = 8, random_state: int | None = None
) -> tuple[Floats, Ints]:
    """Draw samples of the recall problem: which symbol was shown at the first step.

    Parameters
    ----------
    n_samples : int
    n_steps : int
        Steps of a sample, at least 2; all but the first show noise alone.
    n_symbols : int
        At least 2.
    random_state : int, optional

    Returns
    -------
    X : ndarray of float64, shape (n_samples, n_steps, n_symbols + 1)
        The symbol as 0 and 1, at the first step alone; and standard normal noise.
    y : ndarray of int64, shape (n_samples,)
        The symbol. Chance is right once in `n_symbols`.

    Examples
    --------
    >>> X, y = make_recall(3, 50, random_state=0)
    >>> bool((X[:, 0, :-1].argmax(axis=1) == y).all()), bool((X[:, 1:, :-1] == 0).all())
    (True, True)
    """
    positive_int("n_samples", n_samples)
    positive_int("n_steps", n_steps, least=2)
    positive_int("n_symbols", n_symbols, least=2)
    rng = np.random.default_rng(random_state)
    y = rng.integers(0, n_symbols, n_samples)
    X = np.zeros((n_samples, n_steps, n_symbols + 1))
    X[np.arange(n_samples), 0, y] = 1.0
    X[:, :, n_symbols] = rng.normal(size=(n_samples, n_steps))
    return X, y
