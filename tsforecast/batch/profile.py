"""What the inputs of a fit looked like: shares of bins, missing values, ranges; no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast.data.panel import Floats, Layout, layout_of

__all__ = ["bin_shares", "training_profile"]

_BINS = 10
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
        series) and ``common`` (the same of two series at one time), both from 0 to 1.

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


def _column(values: Floats, layout: Layout) -> Mapping[str, Any]:
    there = ~np.isnan(values)
    known = values[there]
    missing = 1.0 - len(known) / len(values) if len(values) else 1.0
    if not len(known):
        return {
            "rows": len(values), "missing": missing, "min": None, "max": None,
            "edges": [], "shares": [], "series": 0, "persistence": 0.0, "common": 0.0,
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
