"""What the inputs of a fit looked like: shares of bins, missing values, ranges; no rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast.data.panel import Floats, Layout, layout_of

__all__ = ["bin_shares", "psi", "training_profile"]

_BINS = 10
_PARTS = 5  # of the training in order of time, for what is usual
_MOST = 1_000_000  # values that quantiles are taken of, evenly spread


def training_profile(panel: pd.DataFrame) -> dict[str, Any]:
    """Describe the columns of numbers of a panel, so that later rows can be compared with them.

    Parameters
    ----------
    panel : DataFrame
        The rows of a fit.

    Returns
    -------
    dict
        For each column of numbers, by its name: ``rows``, ``missing`` (share of rows without a
        value), ``min``, ``max``, ``edges`` (inner edges of at most ten bins that hold about as
        many values each, none of them empty; fewer where values repeat) and ``shares`` (of the
        values in these bins, one more than edges). Plain numbers; `None` where a column has no
        value. How far its rows are from independent say ``series`` (how many have a value),
        ``persistence`` (correlation of the bin of a row with that of the row before it in its
        series) and ``common`` (the same of two series at one time), both from 0 to 1. ``usual``
        says how far values drift within the training: it is cut into fifths of its time, and
        ``psi`` and ``outside`` (share outside the range) are the largest of the last three fifths
        against all rows before them.

    Examples
    --------
    >>> import pandas as pd
    >>> found = training_profile(pd.DataFrame({"close": [1.0, 2.0, None, 2.0]}))
    >>> found["close"]["missing"], found["close"]["edges"], found["close"]["max"]
    (0.25, [2.0], 2.0)
    """
    layout = layout_of(panel)
    return {
        str(name): _column(panel[name].to_numpy(dtype=np.float64), layout)
        for name, dtype in zip(panel.columns, panel.dtypes)
        if isinstance(dtype, np.dtype) and dtype.kind in "biuf"
    }


def bin_shares(values: npt.ArrayLike, edges: npt.ArrayLike) -> Floats:
    """Give the share of values in each bin; an edge belongs to the bin above it.

    Parameters
    ----------
    values : array-like, shape (n,)
        Values that are missing do not count.
    edges : array-like, shape (B - 1,)
        Inner edges, rising.

    Returns
    -------
    ndarray, shape (B,)
        NaN where there is no value.

    Examples
    --------
    >>> bin_shares([0.0, 1.0, 5.0, 9.0], [1.0, 6.0]).tolist()
    [0.25, 0.5, 0.25]
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    inner = np.asarray(edges, dtype=np.float64)
    counts = np.bincount(np.searchsorted(inner, known, side="right"), minlength=len(inner) + 1)
    return counts / len(known) if len(known) else np.full(len(counts), np.nan)


def psi(now: npt.ArrayLike, then: Sequence[float] | Floats, n: int) -> float:
    r"""Population stability index of shares of bins.

    .. math:: \sum_{b=1}^{B} (q_b - p_b) \ln (q_b / p_b), \qquad
              q_b = \frac{n \hat q_b + p_b B / 2}{n + B / 2}

    with the shares p of the training, and :math:`\hat q` of the n new values. It is the symmetrised
    Kullback-Leibler divergence (Jeffreys 1946), known under this name from credit scoring (Siddiqi
    2006, Credit Risk Scorecards), where 0.1 is taken for a change and 0.25 for a large one. An
    empty bin would make it infinite, so half a value per bin is added to the new ones, shared out
    as those of the training: few values seem closer to it than they are, never farther.

    To read: it does not see where within a bin values lie, nor the order of rows, nor whether
    columns still go together. It misleads in small samples: see `psi_by_chance`.

    Parameters
    ----------
    now, then : array-like, shape (B,)
        Shares, summing to 1; those of `then` above 0.
    n : int
        New values.

    Examples
    --------
    >>> psi([0.5, 0.5], [0.5, 0.5], 100)
    0.0
    >>> round(psi([0.9, 0.1], [0.5, 0.5], 100), 3)
    0.853
    """
    p = np.asarray(then, dtype=np.float64)
    added = len(p) / 2
    q = (np.asarray(now, dtype=np.float64) * n + p * added) / (n + added)
    return float(((q - p) * np.log(q / p)).sum())


def _column(values: Floats, layout: Layout) -> Mapping[str, Any]:
    there = ~np.isnan(values)
    known = values[there]
    missing = 1.0 - len(known) / len(values) if len(values) else 1.0
    if not len(known):
        return {
            "rows": len(values), "missing": missing, "min": None, "max": None,
            "edges": [], "shares": [], "series": 0, "persistence": 0.0, "common": 0.0,
            "usual": {"psi": 0.0, "outside": 0.0},
        }  # fmt: skip
    drawn = known[:: max(1, len(known) // _MOST)]
    # edges are values that occur: no bin is empty, of a flag or a count neither
    levels = np.arange(1, _BINS) / _BINS
    edges = np.unique(np.quantile(drawn, levels, method="inverted_cdf"))
    edges = edges[edges > known.min()]
    return {
        "rows": len(values),
        "missing": missing,
        "min": float(known.min()),
        "max": float(known.max()),
        "edges": edges.tolist(),
        "shares": bin_shares(known, edges).tolist(),
        "series": int(np.logical_or.reduceat(there, layout.starts).sum()),
        **_dependence(values, edges, layout),
        "usual": _usual(values, edges, layout),
    }


def _dependence(values: Floats, edges: Floats, layout: Layout) -> Mapping[str, float]:
    """Correlation of bins from row to row of a series, and between series at one time."""
    there = ~np.isnan(values)
    bins = np.searchsorted(edges, values, side="right").astype(np.float32)
    bins = np.where(there, bins - bins[there].mean(dtype=np.float64), 0.0)
    variance = float(np.square(bins).sum() / there.sum())
    if variance == 0.0:
        return {"persistence": 0.0, "common": 0.0}
    both = there[1:] & there[:-1]
    both[layout.starts[1:] - 1] = False  # the last row of a series and the first of the next
    after = float((bins[1:] * bins[:-1])[both].sum() / max(both.sum(), 1))
    beside = 0.0
    if layout.at is not None:
        counts = np.bincount(layout.at, there)
        sums = np.bincount(layout.at, bins)
        pairs = float((counts * (counts - 1)).sum())
        beside = float(np.square(sums).sum() - variance * there.sum()) / max(pairs, 1.0)
    found = {"persistence": after / variance, "common": beside / variance}
    return {name: min(max(value, 0.0), 1.0) for name, value in found.items()}


def _usual(values: Floats, edges: Floats, layout: Layout) -> Mapping[str, float]:
    """How far the later parts of the training lie from the parts before them."""
    at = np.arange(len(values)) if layout.at is None else layout.at.astype(np.int64)
    at = (at - at.min()) * _PARTS // (int(at.max() - at.min()) + 1)
    n_bins = len(edges) + 1
    parts = [values[(at == part) & ~np.isnan(values)] for part in range(_PARTS)]
    counts = np.array([len(part) * np.nan_to_num(bin_shares(part, edges)) for part in parts])
    most = {"psi": 0.0, "outside": 0.0}
    for part in range(2, _PARTS):
        now, before = parts[part], [each for each in parts[:part] if len(each)]
        if not len(now) or not before:
            continue
        then = counts[:part].sum(axis=0) + 0.5  # a bin may be empty here
        shares = counts[part] / len(now)
        low, high = min(each.min() for each in before), max(each.max() for each in before)
        found = {
            "psi": psi(shares, then / then.sum(), len(now)) if n_bins > 1 else 0.0,
            "outside": float(((now < low) | (now > high)).mean()),
        }
        most = {name: max(most[name], value) for name, value in found.items()}
    return most
