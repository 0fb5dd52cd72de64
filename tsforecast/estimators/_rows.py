"""Rows of a panel beside the rows of what a user holds, which may stand in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsforecast.data.panel import Ints, as_panel, pandas_frame

__all__ = ["in_order"]


def in_order(data: Any) -> tuple[pd.DataFrame, Ints | None]:
    """Make a panel, and tell which of its rows each row of `data` is, (N,); None: the same order.

    Tables whose columns have two levels have no rows of their own: those of the panel count.
    """
    frame = data.to_frame() if isinstance(data, pd.Series) else pandas_frame(data)
    panel = as_panel(frame)
    if panel.index.equals(frame.index) or frame.columns.nlevels > 1:
        return panel, None
    mark = "_".join(["row", *map(str, frame.columns)])  # no name that is there
    marked = as_panel(frame.assign(**{mark: np.arange(len(frame))}))
    source = marked[mark].to_numpy().astype(np.int64)  # of each row of the panel
    order = np.empty_like(source)
    order[source] = np.arange(len(source))
    return panel, order
