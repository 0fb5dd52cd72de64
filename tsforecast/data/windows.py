"""Windows: training examples cut lazily from one flat tensor, with many origins in each.

The letters of every tensor shape in this package:

===  ==========================================================================
N    rows of the panel, all series one after the other
S    series
B    windows of a batch
T    time steps of a window
O    origins at the end of a window; each decodes all H steps
H    horizon, rows ahead
K    targets
C    input columns: the targets first, then past, then future-known ones
F    features that a step shows to the network (see `tsforecast.data.features`)
D    static numbers of a series
M    static categories of a series
E    features of the columns that are known ahead
L    rows of the last season, for the seasonal skip (0 without)
Q    numbers that a head wants per step; J of them levels of quantiles
===  ==========================================================================

A training window has ``lookback + O - 1`` rows and its loss stands at its last O rows (where it
begins with its stretch and memory is the whole history: at any O of them).
**An epoch visits every training origin exactly once**: the origins of each stretch are cut, with
a random phase that changes from epoch to epoch, into runs of O consecutive ones (the first and
the last run may be shorter), and the runs are shuffled.

A *stretch* is a run of rows that a window may lie in: a series behind its warm-up rows, cut where
time jumps too far.  Where a window would begin before its stretch, see `Shape.context`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tsforecast.data.panel import Floats, Ints, Layout

__all__ = [
    "Origins",
    "Rows",
    "Shape",
    "TrainingWindows",
    "Windows",
    "eligible_origins",
    "plan_windows",
    "windows_per_step",
]

_MIN_STEPS = 8  # gradient steps in an epoch, where there is data for them


class Origins(NamedTuple):
    """What a forecast is decoded from, beside the state of the network.

    Attributes
    ----------
    ahead : Tensor, shape (B, O + H - 1, E)
        Features of the rows behind the first origin that are known ahead; empty where there are
        none.
    shape : Tensor, shape (B, O, K, L)
        The last season's values less the last one, in units of `unit`.
    base : Tensor, shape (B, O, K, H)
        What the baseline says.
    unit : Tensor, shape (B, O, K)
        Running scale of the target.
    """

    ahead: Tensor
    shape: Tensor
    base: Tensor
    unit: Tensor


class Windows(NamedTuple):
    """A batch of windows as the network takes it.

    Attributes
    ----------
    x : Tensor, shape (B, T, F)
        Feature rows.
    static : Tensor, shape (B, D)
    codes : Tensor of int64, shape (B, M)
        Codes of the static categories, 0 where unknown.
    at : Tensor of int64, shape (B,)
        Which of the T rows is the first origin; the others follow it.
    origins : Origins
    """

    x: Tensor
    static: Tensor
    codes: Tensor
    at: Tensor
    origins: Origins


@dataclass(frozen=True)
class Shape:
    """How windows are cut.

    Attributes
    ----------
    context : {"window", "history"}
        In "window" an origin sees `lookback` rows, and the first row of a stretch is repeated where
        they are fewer. In "history" a window near the beginning of its stretch begins there.
    lookback, horizon : int
        Rows of context, and H.
    season : int
        L.
    future : slice
        Features that are known ahead.
    """

    context: Literal["window", "history"]
    lookback: int
    horizon: int
    season: int = 0
    future: slice = field(default_factory=lambda: slice(0, 0))


@dataclass(frozen=True)
class Rows:
    """All rows of a panel as a network sees them, one series after the other.

    Attributes
    ----------
    layout : Layout
        Where the series lie.
    inputs : Tensor of float32, shape (N, F)
        See `tsforecast.data.features`.
    target : ndarray of float64, shape (N, K)
        The transformed targets, NaN where missing.
    level : ndarray of float64, shape (N, K)
        Their last known values.
    base : ndarray of float64, shape (N, K, 1) or (N, K, H)
        What the baseline says at each row, in the targets' transformed unit.
    unit : ndarray of float64, shape (N, K)
        Running scale of the targets; 1 where there is none.
    first : ndarray of int64, shape (N,)
        First row of the stretch that each row lies in.
    static : Tensor of float32, shape (S, D)
    codes : Tensor of int64, shape (S, M)
    ends : tuple of State, optional
        What each network remembers after the last row of each series. Where it is given, forecasts
        are asked for from these rows alone.
    """

    layout: Layout
    inputs: Tensor
    target: Floats
    level: Floats
    base: Floats
    unit: Floats
    first: Ints
    static: Tensor
    codes: Tensor
    ends: Any = None

    def tail(self, n_rows: int) -> Rows:
        """Keep the last `n_rows` rows of each series."""
        layout, kept = self.layout.tail(n_rows)
        return self._take(layout, kept, np.ones(self.layout.n_series, dtype=bool))

    def head(self, counts: Ints) -> Rows:
        """Keep the first rows of each series, `counts` (S,) of them; see `Layout.head`."""
        layout, kept = self.layout.head(counts)
        return self._take(layout, kept, counts > 0)

    def _take(self, layout: Layout, kept: Ints, series: npt.NDArray[np.bool_]) -> Rows:
        return replace(
            self,
            layout=layout,
            inputs=self.inputs[torch.from_numpy(kept)],
            target=self.target[kept],
            level=self.level[kept],
            base=self.base[kept],
            unit=self.unit[kept],
            first=np.searchsorted(kept, self.first[kept]),
            static=self.static[torch.from_numpy(series)],
            codes=self.codes[torch.from_numpy(series)],
            ends=None,
        )

    def extended(self, layout: Layout, ahead: Tensor) -> Rows:
        """Add rows to the end of each series of which only future-known features are known.

        Parameters
        ----------
        layout : Layout
            With `H` rows more in every series.
        ahead : Tensor, shape (S H, F)
            Features of the new rows.
        """
        more = len(ahead) // self.layout.n_series
        new = np.ones(layout.n_rows, dtype=bool)
        old = np.arange(self.layout.n_rows) + more * self.layout.codes()
        new[old] = False

        def spread(values: Floats) -> Floats:
            result = np.full((layout.n_rows, *values.shape[1:]), np.nan)
            result[old] = values
            return result

        inputs = torch.empty(layout.n_rows, self.inputs.shape[1])
        inputs[torch.from_numpy(old)] = self.inputs
        inputs[torch.from_numpy(new)] = ahead
        first = np.empty(layout.n_rows, dtype=np.int64)
        first[old] = self.first + more * self.layout.codes()
        first[new] = np.repeat(first[old][self.layout.stops - 1], more)
        return replace(
            self,
            layout=layout,
            inputs=inputs,
            target=spread(self.target),
            level=spread(self.level),
            base=spread(self.base),
            unit=spread(self.unit),
            first=first,
        )

    def windows(self, starts: Ints, shape: Shape, *, origins: int) -> Windows:
        """Cut windows whose first origins are `starts`: a few gathers.

        Rows beyond the end of the tensor repeat its last row; callers give such origins no
        weight, and no earlier step of a causal network sees them.

        Parameters
        ----------
        starts : ndarray of int64, shape (B,)
            First origin of each window.
        shape : Shape
        origins : int
            O.
        """
        first, before = self.first[starts], starts - shape.lookback + 1
        steps = np.arange(shape.lookback + origins - 1)
        if shape.context == "history":
            begin = np.maximum(before, first)
            at = begin[:, None] + steps
        else:
            begin = before
            at = np.maximum(begin[:, None] + steps, first[:, None])
        which = torch.from_numpy(self.series_of(starts))
        return Windows(
            self.inputs[torch.from_numpy(np.minimum(at, self.layout.n_rows - 1))],
            self.static[which],
            self.codes[which],
            torch.from_numpy(starts - begin),
            self.origins(starts, shape, origins=origins),
        )

    def origins(self, starts: Ints, shape: Shape, *, origins: int = 1) -> Origins:
        """Give what is decoded beside the state, at `origins` rows from each of `starts` on."""
        last = self.layout.n_rows - 1
        origin = np.minimum(starts[:, None] + np.arange(origins), last)  # (B, O)
        unit = self.unit[origin]  # (B, O, K)
        back = origin[:, :, None] + np.arange(1 - shape.season, 1)  # (B, O, L)
        begin = np.minimum(self.first[origin], origin)[:, :, None]
        season = self.level[np.maximum(back, begin)] - self.level[origin][:, :, None]
        season = season / unit[:, :, None]
        ahead = torch.empty(len(starts), 0, 0)
        if shape.future.stop > shape.future.start:
            rows = np.minimum(starts[:, None] + np.arange(1, origins + shape.horizon), last)
            ahead = self.inputs[:, shape.future][torch.from_numpy(rows)]
        return Origins(
            ahead,
            _float32(season.transpose(0, 1, 3, 2)),
            _float32(np.broadcast_to(self.base[origin], (*unit.shape, shape.horizon))),
            _float32(unit),
        )

    def series_of(self, rows: Ints) -> Ints:
        """Number of the series that each row lies in."""
        return np.searchsorted(self.layout.offsets, rows, side="right") - 1

    def errors(self, origins: Ints, horizon: int) -> Floats:
        """Target minus baseline at the next `horizon` rows of each origin.

        Parameters
        ----------
        origins : ndarray of int64, shape (...,)
            Rows of the panel.
        horizon : int
            H.

        Returns
        -------
        ndarray, shape (..., K, H)
            NaN where the target is missing or its row is not in the origin's stretch.
        """
        last = self.layout.n_rows - 1
        origins = np.minimum(origins, last)
        ahead = np.minimum(origins[..., None] + np.arange(1, horizon + 1), last)  # (..., H)
        inside = (self.first[ahead] == self.first[origins][..., None]) & (
            ahead > origins[..., None]
        )
        inside[..., 1:] &= ahead[..., 1:] > ahead[..., :-1]
        error = np.moveaxis(self.target[ahead], -1, -2) - self.base[origins]
        return np.where(inside[..., None, :], error, np.nan)


def _float32(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def eligible_origins(
    rows: Rows, min_history: int, origins: Ints | None = None
) -> npt.NDArray[np.bool_]:
    """Whether origins (all rows by default) have enough context and a baseline of any target.

    Parameters
    ----------
    rows : Rows
    min_history : int
        Rows of context that they must have.
    origins : ndarray of int64, shape (n,), optional

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    at: Any = slice(None) if origins is None else origins
    context = np.arange(rows.layout.n_rows)[at] - rows.first[at] + 1
    based = np.isfinite(rows.base[at]).all(axis=2) & np.isfinite(rows.unit[at])  # (n, K)
    result: npt.NDArray[np.bool_] = (context >= min_history) & based.any(axis=1)
    return result


def plan_windows(
    n_origins: int, *, origins: int | Literal["auto"], lookback: int, batch_size: int
) -> tuple[int, int]:
    """Choose origins per window and windows per batch.

    Parameters
    ----------
    n_origins : int
        Training origins, all series together.
    origins : "auto" or int
        "auto" takes as many as the context is long, so that a row is read about twice an epoch:
        a power of two of at most 64.
    lookback, batch_size : int
        Rows of context; most windows per batch.

    Returns
    -------
    origins : int
    batch_size : int
        Smaller than asked for where an epoch would have under eight steps.
    """
    per_window = (1 << (min(64, lookback).bit_length() - 1)) if origins == "auto" else origins
    n_windows = -(-n_origins // per_window)
    return per_window, windows_per_step(n_windows, batch_size)


def windows_per_step(n_windows: int, batch_size: int) -> int:
    """Give the batch size: smaller than asked for where an epoch would have under eight steps."""
    return max(1, min(batch_size, n_windows // _MIN_STEPS))


class TrainingWindows:
    """The batches of an epoch; iterate once per epoch.

    Parameters
    ----------
    rows : Rows
        Training rows only: nothing after the end of training is in there.
    eligible : ndarray of bool, shape (N,)
        Origins that may carry a loss.
    weight : ndarray, shape (N, K)
        Weight of each origin and target in the loss.
    shape : Shape
        How windows are cut.
    origins : int
        O.
    batch_size : int
        Windows per batch.
    scale : ndarray, shape (K, H)
        Unit of the errors, per target and step, in running units.
    rng : numpy Generator
        Phases and order.
    """

    def __init__(
        self,
        rows: Rows,
        eligible: npt.NDArray[np.bool_],
        *,
        weight: Floats,
        shape: Shape,
        origins: int,
        batch_size: int,
        scale: Floats,
        rng: np.random.Generator,
    ) -> None:
        self.rows = rows
        self.eligible = eligible
        self.weight = weight
        self.shape = shape
        self.origins = origins
        self.batch_size = batch_size
        self.scale = scale
        self.rng = rng
        # origins of a stretch lie between its first and its last eligible one
        which = np.flatnonzero(eligible)
        _, begin = np.unique(rows.first[which], return_index=True)
        end = np.append(begin, len(which))[1:] - 1
        self._first, self._last = which[begin], which[end]

    def __len__(self) -> int:
        """Upper bound of the number of batches."""
        spans = self._last - self._first + 1
        windows = int((-(-spans // self.origins) + (self.origins > 1)).sum())
        return -(-windows // self.batch_size)

    def runs(self) -> tuple[Ints, Ints]:
        """Cut all origins into runs with fresh phases: first origin and length of each."""
        first, last = self._first, self._last
        phase = self.rng.integers(0, self.origins, size=len(first))
        counts = (last - first + phase) // self.origins + 1
        which = np.repeat(np.arange(len(first)), counts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = first[which] - phase[which] + number * self.origins
        stop = np.minimum(start + self.origins, last[which] + 1)
        start = np.maximum(start, first[which])
        return start, stop - start

    def __iter__(self) -> Iterator[tuple[Windows, Tensor, Tensor]]:
        """Give batches of windows, errors z (B, O, K, H) and weights (B, O, K).

        Errors are in units of the running scale times `scale`, and NaN where there is nothing to
        learn.
        """
        start, length = self.runs()
        order = self.rng.permutation(len(start))
        for at in range(0, len(order), self.batch_size):
            batch = order[at : at + self.batch_size]
            yield self.batch(start[batch], length[batch])

    def batch(self, start: Ints, length: Ints) -> tuple[Windows, Tensor, Tensor]:
        """Windows, scaled errors and weights of the windows whose origins begin at `start`."""
        windows = self.rows.windows(start, self.shape, origins=self.origins)
        origins = start[:, None] + np.arange(self.origins)  # (B, O)
        here = np.minimum(origins, len(self.eligible) - 1)
        z = self.rows.errors(origins, self.shape.horizon) / self.rows.unit[here][..., None]
        z /= self.scale
        mine = np.arange(self.origins) < length[:, None]
        z[~(mine & self.eligible[here])] = np.nan
        return windows, _float32(z), _float32(self.weight[here])
