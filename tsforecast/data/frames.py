"""Forecast frames: arrays of forecasts at many origins laid out as pandas rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from tsforecast.data.calendars import TimeStep
from tsforecast.data.panel import Floats, Ints, Layout, time_from_ints, time_to_ints
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
    when = time_to_ints(layout.time)
    which = np.searchsorted(layout.offsets, origins, side="right") - 1
    stop = layout.offsets[which + 1]
    steps = np.arange(1, horizon + 1)
    rows = origins[:, None] + steps  # (n, H)
    times = when[np.minimum(rows, layout.n_rows - 1)]
    beyond = rows >= stop[:, None]
    ends = np.unique(which[beyond.any(axis=1)])  # series whose times go on after the panel
    if len(ends):
        last = when[layout.offsets[ends + 1] - 1]
        after = time_step.after(last, horizon, like=layout.time, required=named)
        at, k = np.nonzero(beyond)
        times[at, k] = after[np.searchsorted(ends, which[at]), rows[at, k] - stop[at]]
    time_index = time_from_ints(np.repeat(times, n_targets, axis=0).ravel(), layout.time)
    per_origin = n_targets * horizon
    index: pd.Index = time_index
    if layout.ids is not None:
        names = [layout.ids.name or "series", layout.time.name or "time"]
        index = pd.MultiIndex.from_arrays(
            [layout.ids.take(np.repeat(which, per_origin)), time_index], names=names
        )
    names_of_targets = np.array([str(name) for name in targets], dtype=object)
    columns = {
        "target": np.tile(np.repeat(names_of_targets, horizon), n),
        "cutoff": time_from_ints(np.repeat(cutoffs, per_origin), layout.time).rename(None),
        "step": np.tile(steps, n * n_targets),
        "forecast": forecast.ravel(),
    }
    for j, level in enumerate(levels):
        columns[quantile_column(level)] = quantiles[..., j].ravel()
    frame = pd.DataFrame(columns, index=index)
    frame["target"] = frame["target"].astype("str")
    return frame
