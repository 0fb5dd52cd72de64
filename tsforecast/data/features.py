"""What a network sees of a row: the features, made causally from transformed columns.

Letters of shapes are those of `tsforecast.data.windows`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tsforecast.data.panel import Floats, Ints, Layout, forward_fill, previous_rows

__all__ = ["Features", "feature_rows", "stretches"]


@dataclass(frozen=True)
class Features:
    """Which of the F features are what.

    ===================  =======  ==========================================================
    block                columns  what
    ===================  =======  ==========================================================
    values               C        the last known value (of a target: see `feature_rows`)
    observed             C        whether the row had a value, 1 or 0
    age                  C        hours since it had one, 0 before the first
    elapsed              1        hours since the row before
    change               K        change of each target from the row before
    seasonal             K each   its change over each season
    scale                K or 0   logarithm of its running scale over the usual one
    ===================  =======  ==========================================================

    Attributes
    ----------
    n_columns, n_targets, n_seasons : int
        C, K and the number of seasons.
    scaled : bool
        Whether there is a running scale.
    n_future : int
        The last of the C columns that are known ahead.
    """

    n_columns: int
    n_targets: int
    n_seasons: int = 0
    scaled: bool = False
    n_future: int = 0

    @property
    def size(self) -> int:
        """F."""
        per_target = 1 + self.n_seasons + self.scaled
        return 3 * self.n_columns + 1 + self.n_targets * per_target

    @property
    def from_row_before(self) -> slice:
        """Features that a window's first row cannot know: time and change since the row before."""
        return slice(3 * self.n_columns, 3 * self.n_columns + 1 + self.n_targets)

    @property
    def future(self) -> slice:
        """Values of the columns that are known ahead."""
        return slice(self.n_columns - self.n_future, self.n_columns)


def stretches(layout: Layout, warm_up: Ints, max_gap: float | None) -> Ints:
    """First row of the stretch that each row lies in, shape (N,).

    Parameters
    ----------
    layout : Layout
        The series.
    warm_up : ndarray of int64, shape (S,)
        First row of each series behind its warm-up rows.
    max_gap : float or None
        Hours (steps, where time is a whole number) from one row to the next that cut a series.
    """
    rows = np.arange(layout.n_rows)
    begins = np.repeat(warm_up, np.diff(layout.offsets))
    if max_gap is None:
        return begins
    hours = layout.hours()
    cut = np.where(hours - hours[previous_rows(layout)] > max_gap, rows, 0)
    cut[layout.starts] = layout.starts
    return np.maximum(np.maximum.accumulate(cut), begins)


def feature_rows(
    values: Floats,
    layout: Layout,
    fill: Floats,
    first: Ints,
    features: Features,
    *,
    location: Floats | None = None,
    unit: Floats | None = None,
    prior: Floats | None = None,
    seasons: tuple[int, ...] = (),
) -> Tensor:
    """Turn transformed columns into feature rows, causally.

    Parameters
    ----------
    values : ndarray, shape (N, C)
        Transformed columns, the targets first, NaN where missing.
    layout : Layout
        The series.
    fill : ndarray, shape (C,)
        Stands before the first known value of a series, and is taken off all values.
    first : ndarray of int64, shape (N,)
        See `Rows`: changes do not reach across the beginning of a stretch.
    features : Features
        What goes where.
    location, unit : ndarray, shape (N, K), optional
        Running location and scale of the targets: values enter as ``(x - location) / unit``,
        changes as ``change / unit``.
    prior : ndarray, shape (K,), optional
        The usual scale of each target.
    seasons : tuple of int
        Rows of each season.

    Returns
    -------
    Tensor of float32, shape (N, F)
    """
    n_rows, n_columns = values.shape
    hours = layout.hours()
    rows = np.arange(n_rows)
    previous = np.where(rows == first, rows, previous_rows(layout))
    table = np.empty((n_rows, features.size), dtype=np.float32)
    extra = 3 * n_columns
    table[:, extra] = hours - hours[previous]
    at = extra + 1
    for c in range(n_columns):
        known, source = forward_fill(values[:, c], layout)
        age = np.where(np.isnan(known), 0.0, hours - hours[source])
        known = np.where(np.isnan(known), fill[c], known)
        shown = known - fill[c]  # in float64: a high level leaves few digits to float32
        if c < features.n_targets:
            scale = np.ones(n_rows) if unit is None else unit[:, c]
            if location is not None:
                shown = (known - location[:, c]) / scale
            table[:, at + c] = (known - known[previous]) / scale
            for number, season in enumerate(seasons, start=1):
                ago = np.minimum(np.maximum(rows - season, first), rows)
                column = at + number * features.n_targets + c
                table[:, column] = (known - known[ago]) / scale
            if features.scaled and prior is not None:
                column = at + (1 + features.n_seasons) * features.n_targets + c
                table[:, column] = np.log(scale / prior[c])
        table[:, c] = shown
        table[:, n_columns + c] = ~np.isnan(values[:, c])
        table[:, 2 * n_columns + c] = age
    return torch.from_numpy(table)
