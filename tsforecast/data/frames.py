"""Forecast frames: arrays of forecasts at many origins laid out as pandas rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from tsforecast.data.calendars import TimeStep
from tsforecast.data.panel import Floats, Ints, Layout, time_from_ints
from tsforecast.metrics import quantile_column

__all__ = ["DECILES", "forecast_frame"]

# the quantile levels that forecasters give unless told otherwise
DECILES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def forecast_frame(
    layout: Layout,
    origins: Ints,
    cutoffs: Ints,
    *,
    targets: Sequence[Hashable],
    forecast: Floats,
    quantiles: Floats,
    levels: tuple[float, ...],
    time_step: TimeStep,
    named: bool = True,
) -> pd.DataFrame:
    """Lay forecasts out as rows, one per origin, target and step.

    Parameters
    ----------
    layout : Layout
        Of the panel.
    origins, cutoffs : ndarray of int64, shape (n,)
        Rows of the panel and their cutoffs (see `Layout.origins_at`).
    targets : sequence of str
        Names of the K target columns.
    forecast : ndarray, shape (n, K, H)
        In the targets' own units.
    quantiles : ndarray, shape (n, K, H, J)
        Likewise.
    levels : tuple of float
        The J levels.
    time_step : TimeStep
        Names the times after the panel's end.
    named : bool
        Whether these names are required (see `TimeStep.after`).

    Returns
    -------
    DataFrame
        Index as the panel's, columns ``target, cutoff, step, forecast, q...``.
    """
    n, n_targets, horizon = forecast.shape
    which = np.searchsorted(layout.offsets, origins, side="right") - 1
    stop = layout.stops[which]
    steps = np.arange(1, horizon + 1)
    rows = origins[:, None] + steps  # (n, H)
    beyond = rows >= stop[:, None]
    times = layout.when(np.where(beyond, stop[:, None] - 1, rows))
    if beyond.any():  # series whose times go on after the panel
        ends = np.unique(which[beyond[:, -1]])
        last = layout.when(layout.stops[ends] - 1)
        after = time_step.after(last, horizon, like=layout.labels, required=named)
        at, k = np.nonzero(beyond)
        times[at, k] = after[np.searchsorted(ends, which[at]), rows[at, k] - stop[at]]
    per_origin = n_targets * horizon
    if layout.ids is None:
        index = time_from_ints(np.repeat(times, n_targets, axis=0).ravel(), layout.labels)
    else:
        if layout.at is not None and not beyond.any():
            stamps, codes = layout.labels, layout.at[rows]
        else:
            found, stamps = pd.factorize(time_from_ints(times.ravel(), layout.labels), sort=True)
            codes = found.reshape(n, horizon)
        index = pd.MultiIndex(
            levels=cast(Any, [layout.ids, stamps]),
            codes=cast(
                Any, [np.repeat(which, per_origin), np.repeat(codes, n_targets, axis=0).ravel()]
            ),
            names=[layout.ids.name or "series", layout.labels.name or "time"],
            verify_integrity=False,
        )
    columns: dict[str, Any] = {
        "target": _repeated(targets, np.tile(np.repeat(np.arange(n_targets), horizon), n)),
        "cutoff": time_from_ints(np.repeat(cutoffs, per_origin), layout.labels).rename(None),
        "step": np.tile(steps, n * n_targets),
        "forecast": forecast.ravel(),
    }
    for j, level in enumerate(levels):
        columns[quantile_column(level)] = quantiles[..., j].reshape(-1)  # a view
    return pd.DataFrame(columns, index=index, copy=False)


def _repeated(names: Sequence[Hashable], which: Ints) -> Any:
    """Names as text, taken by their number: no object for every row."""
    return pd.array([str(name) for name in names], dtype="str").take(which)
