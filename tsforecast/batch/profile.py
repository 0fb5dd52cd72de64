"""What the inputs of a fit looked like: shares of bins, missing values, ranges; no rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast.data.panel import Floats

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
        many values each; fewer where values repeat) and ``shares`` (of the values in these bins,
        one more than edges). Plain numbers; `None` where a column has no value.

    Examples
    --------
    >>> import pandas as pd
    >>> found = training_profile(pd.DataFrame({"close": [1.0, 2.0, None, 2.0]}))
    >>> found["close"]["missing"], found["close"]["edges"], found["close"]["max"]
    (0.25, [2.0], 2.0)
    """
    return {
        str(name): _column(panel[name].to_numpy(dtype=np.float64))
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


def _column(values: Floats) -> Mapping[str, Any]:
    known = values[~np.isnan(values)]
    missing = 1.0 - len(known) / len(values) if len(values) else 1.0
    if not len(known):
        return {
            "rows": len(values), "missing": missing, "min": None, "max": None,
            "edges": [], "shares": [],
        }  # fmt: skip
    drawn = known[:: max(1, len(known) // _MOST)]
    edges = np.unique(np.quantile(drawn, np.arange(1, _BINS) / _BINS))
    edges = edges[edges > known.min()]  # else the bin below it would be empty
    return {
        "rows": len(values),
        "missing": missing,
        "min": float(known.min()),
        "max": float(known.max()),
        "edges": edges.tolist(),
        "shares": bin_shares(known, edges).tolist(),
    }
