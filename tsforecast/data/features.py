"""What a network sees of a row: the features, made causally from transformed columns.

Letters of shapes are those of `tsforecast.data.windows`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tsforecast.data.panel import Floats, Ints, Layout, forward_fill

__all__ = ["ArrayFeatures", "Features", "feature_rows"]

_BLOCK = 1 << 15  # rows that are worked on together
_FEW_BLOCKS = 8  # for which threads do not pay


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

    squashed: ClassVar[bool] = True  # once standardised, by asinh

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
    def of_targets(self) -> list[int]:
        """Places of what the targets' own past makes: value, observed, age, and all changes."""
        beside = [
            c + k for c in (0, self.n_columns, 2 * self.n_columns) for k in range(self.n_targets)
        ]
        return [*beside, *range(3 * self.n_columns + 1, self.size)]

    def names(self, columns: Sequence[Hashable], seasons: Sequence[int] = ()) -> list[str]:
        """Name the F features, as ``column: what``.

        Parameters
        ----------
        columns : sequence of str
            The C input columns, the targets first.
        seasons : sequence of int
            Rows of each season.
        """
        targets = columns[: self.n_targets]
        blocks = [(columns, what) for what in ("value", "observed", "age")]
        more = ["change", *(f"change over {rows} rows" for rows in seasons)]
        more += ["log of scale"] if self.scaled else []
        named = [f"{name}: {what}" for names, what in blocks for name in names]
        return [*named, "elapsed", *(f"{name}: {what}" for what in more for name in targets)]

    @property
    def future(self) -> slice:
        """Values of the columns that are known ahead."""
        return slice(self.n_columns - self.n_future, self.n_columns)


@dataclass(frozen=True)
class ArrayFeatures:
    """Features that are columns of an array, taken as they are.

    Standardised they are not squashed, so that a network on them is the function that courses
    teach: a normalisation layer, recurrent layers, a dense one.

    Attributes
    ----------
    size : int
        F.
    """

    size: int

    n_future: ClassVar[int] = 0
    future: ClassVar[slice] = slice(0, 0)
    from_row_before: ClassVar[slice] = slice(0, 0)
    squashed: ClassVar[bool] = False


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
    table = np.empty((len(values), features.size), dtype=np.float32)
    # a block of series at a time: what is computed of it stays in the cache
    cuts = np.searchsorted(layout.offsets, np.arange(0, layout.n_rows, _BLOCK))
    edges = np.unique(np.append(cuts, layout.n_series))
    blocks = [slice(int(begin), int(end)) for begin, end in pairwise(edges)]

    def fill_in(series: slice) -> None:
        rows = slice(layout.offsets[series.start], layout.offsets[series.stop])
        _fill_in(
            table[rows],
            values[rows],
            layout,
            series,
            fill,
            first[rows],
            features,
            location=None if location is None else location[rows],
            unit=None if unit is None else unit[rows],
            prior=prior,
            seasons=seasons,
        )

    if len(blocks) < _FEW_BLOCKS or torch.get_num_threads() == 1:
        for block in blocks:
            fill_in(block)
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for _ in pool.map(fill_in, blocks):
                pass
    return torch.from_numpy(table)


def _fill_in(
    table: npt.NDArray[np.float32],
    values: Floats,
    layout: Layout,
    series: slice,
    fill: Floats,
    first: Ints,
    features: Features,
    *,
    location: Floats | None,
    unit: Floats | None,
    prior: Floats | None,
    seasons: tuple[int, ...],
) -> None:
    """Write the features of the rows of some series that stand one after the other."""
    n_columns = features.n_columns
    offsets = layout.offsets[series.start : series.stop + 1]
    hours = layout.hours_of(series)
    rows = np.arange(offsets[0], offsets[-1], dtype=first.dtype)
    # rows that do not look at the row before
    alone = np.concatenate([offsets[:-1] - offsets[0], np.flatnonzero(rows == first)])
    extra = 3 * n_columns
    table[:, extra] = _change(hours, alone)
    at = extra + 1
    for c in range(n_columns):
        known = values[:, c]
        missing = np.isnan(known)
        table[:, n_columns + c] = ~missing
        table[:, 2 * n_columns + c] = 0.0
        if missing.any():
            local = Layout(None, layout.labels, offsets - offsets[0])
            known, source = forward_fill(known, local)
            unknown = np.isnan(known)
            table[:, 2 * n_columns + c] = np.where(unknown, 0.0, hours - hours[source])
            known = np.where(unknown, fill[c], known)
        shown = known - fill[c]  # in float64: a high level leaves few digits to float32
        if c < features.n_targets:
            scale = None if unit is None else unit[:, c]
            if location is not None:
                shown = _over(known - location[:, c], scale)
            table[:, at + c] = _over(_change(known, alone), scale)
            for number, season in enumerate(seasons, start=1):
                ago = np.minimum(np.maximum(rows - season, first), rows) - offsets[0]
                column = at + number * features.n_targets + c
                table[:, column] = _over(known - known[ago], scale)
            if features.scaled and prior is not None:
                column = at + (1 + features.n_seasons) * features.n_targets + c
                table[:, column] = 0.0 if scale is None else np.log(scale / prior[c])
        table[:, c] = shown


def _change(values: Floats, alone: Ints) -> Floats:
    """Value less the one in the row before, 0 in the rows that stand alone, (n,) -> (n,)."""
    change = np.empty_like(values)
    np.subtract(values[1:], values[:-1], out=change[1:])
    change[alone] = 0.0
    return change


def _over(values: Floats, scale: Floats | None) -> Floats:
    return values if scale is None else values / scale
