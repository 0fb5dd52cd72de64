"""Windows: training examples cut lazily from one flat tensor, with many origins in each.

The letters of every tensor shape in this package:

===  ==========================================================================
N    rows of the panel, all series one after the other
S    series
B    windows of a batch
T    time steps of a window
O    origins at the end of a window; each decodes all H steps
H    horizon, rows ahead
F    features that a step shows to the network (see `Rows`)
Q    numbers that a head wants per step; J of them levels of quantiles
===  ==========================================================================

A training window has ``lookback + O - 1`` rows and its loss stands at its last O rows.
**An epoch visits every training origin exactly once**: the origins of each series are cut, with
a random phase that changes from epoch to epoch, into runs of O consecutive ones (the first and
the last run may be shorter), and the runs are shuffled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tsforecast.data.panel import Floats, Ints, Layout, forward_fill, previous_rows

__all__ = ["Rows", "TrainingWindows", "eligible_origins", "feature_rows", "plan_windows"]

_MIN_STEPS = 8  # gradient steps in an epoch, where there is data for them


@dataclass(frozen=True)
class Rows:
    """All rows of a panel as a network sees them, one series after the other.

    Attributes
    ----------
    layout : Layout
        Where the series lie.
    inputs : Tensor of float32, shape (N, F)
        Values of the C input columns (the last known one where missing), whether each was
        observed (1 or 0), the hours since it was, and the hours since the row before:
        F = 3 C + 1.
    target : ndarray of float64, shape (N,)
        The transformed target, NaN where missing.
    base : ndarray of float64, shape (N, 1) or (N, H)
        What the baseline says at each row, in the target's transformed unit.
    first : ndarray of int64, shape (S,)
        First row of each series behind the warm-up rows of its transforms.
    """

    layout: Layout
    inputs: Tensor
    target: Floats
    base: Floats
    first: Ints

    def tail(self, n_rows: int) -> Rows:
        """Keep the last `n_rows` rows of each series."""
        layout, kept = self.layout.tail(n_rows)
        dropped = np.diff(self.layout.offsets) - np.diff(layout.offsets)
        return self._take(layout, kept, np.maximum(self.first - self.layout.starts - dropped, 0))

    def head(self, counts: Ints) -> Rows:
        """Keep the first rows of each series, `counts` (S,) of them; see `Layout.head`."""
        layout, kept = self.layout.head(counts)
        return self._take(layout, kept, (self.first - self.layout.starts)[counts > 0])

    def _take(self, layout: Layout, kept: Ints, warm_up: Ints) -> Rows:
        return replace(
            self,
            layout=layout,
            inputs=self.inputs[torch.from_numpy(kept)],
            target=self.target[kept],
            base=self.base[kept],
            first=np.minimum(layout.starts + warm_up, layout.stops),
        )

    def gather(self, starts: Ints, n_steps: int) -> Tensor:
        """Cut windows of `n_steps` rows from `starts` on: one gather, shape (B, T, F).

        Rows beyond the end of the tensor repeat its last row; callers give such steps no weight,
        and no earlier step of a causal network sees them.
        """
        index = torch.from_numpy(starts)[:, None] + torch.arange(n_steps)
        return self.inputs[index.clamp_(max=len(self.inputs) - 1)]

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
        ndarray, shape (..., H)
            NaN where the target is missing or its row is beyond the end of the tensor.
        """
        ahead = origins[..., None] + np.arange(1, horizon + 1)
        target = self.target[np.minimum(ahead, len(self.target) - 1)]
        base = self.base[np.minimum(origins, len(self.base) - 1)]
        return np.where(ahead < len(self.target), target - base, np.nan)


def feature_rows(values: Floats, layout: Layout, fill: Floats) -> npt.NDArray[np.float32]:
    """Build the features of all rows, causally: values, observed, ages, time since last row.

    Parameters
    ----------
    values : ndarray, shape (N, C)
        NaN where missing.
    layout : Layout
        The series.
    fill : ndarray, shape (C,)
        Used before the first known value of a series.

    Returns
    -------
    ndarray of float32, shape (N, 3 C + 1)
    """
    n_rows, n_columns = values.shape
    hours = layout.hours()
    features = np.empty((n_rows, 3 * n_columns + 1), dtype=np.float32)
    for c in range(n_columns):
        known, source = forward_fill(values[:, c], layout)
        features[:, c] = np.where(np.isnan(known), fill[c], known)
        features[:, n_columns + c] = ~np.isnan(values[:, c])
        features[:, 2 * n_columns + c] = hours - hours[source]
    features[:, -1] = hours - hours[previous_rows(layout)]
    return features


def eligible_origins(rows: Rows, lookback: int) -> npt.NDArray[np.bool_]:
    """Origins with `lookback` rows of context and a baseline, shape (N,)."""
    counts = np.diff(rows.layout.offsets)
    context = np.arange(rows.layout.n_rows) - np.repeat(rows.first, counts) + 1
    return (context >= lookback) & np.isfinite(rows.base).all(axis=1)


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
    return per_window, max(1, min(batch_size, n_windows // _MIN_STEPS))


class TrainingWindows:
    """The batches of an epoch; iterate once per epoch.

    Parameters
    ----------
    rows : Rows
        Training rows only: nothing after the end of training is in there.
    eligible : ndarray of bool, shape (N,)
        Origins that may carry a loss.
    lookback, horizon, origins : int
        Rows of context of the first origin of a window, H, and O.
    batch_size : int
        Windows per batch.
    scale : ndarray, shape (H,)
        Unit of the errors, per step.
    rng : numpy Generator
        Phases and order.
    """

    def __init__(
        self,
        rows: Rows,
        eligible: npt.NDArray[np.bool_],
        *,
        lookback: int,
        horizon: int,
        origins: int,
        batch_size: int,
        scale: Floats,
        rng: np.random.Generator,
    ) -> None:
        self.rows = rows
        self.eligible = eligible
        self.lookback = lookback
        self.horizon = horizon
        self.origins = origins
        self.batch_size = batch_size
        self.scale = scale
        self.rng = rng
        # origins of a series lie between its first and its last eligible one
        stretches = [
            start + np.flatnonzero(eligible[start:stop])[[0, -1]]
            for start, stop in zip(rows.layout.starts, rows.layout.stops)
            if eligible[start:stop].any()
        ]
        self._stretches = np.array(stretches, dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        """Upper bound of the number of batches."""
        spans = self._stretches[:, 1] - self._stretches[:, 0] + 1
        windows = int((-(-spans // self.origins) + (self.origins > 1)).sum())
        return -(-windows // self.batch_size)

    def runs(self) -> tuple[Ints, Ints]:
        """Cut all origins into runs with fresh phases: first origin and length of each."""
        first, last = self._stretches.T
        phase = self.rng.integers(0, self.origins, size=len(first))
        counts = (last - first + phase) // self.origins + 1
        which = np.repeat(np.arange(len(first)), counts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = first[which] - phase[which] + number * self.origins
        stop = np.minimum(start + self.origins, last[which] + 1)
        start = np.maximum(start, first[which])
        return start, stop - start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give batches of inputs (B, T, F) and errors in units of `scale` (B, O, H).

        Errors are NaN where there is nothing to learn.
        """
        start, length = self.runs()
        order = self.rng.permutation(len(start))
        for at in range(0, len(order), self.batch_size):
            batch = order[at : at + self.batch_size]
            yield self.batch(start[batch], length[batch])

    def batch(self, start: Ints, length: Ints) -> tuple[Tensor, Tensor]:
        """Inputs and scaled errors of the windows whose origins begin at `start`."""
        n_steps = self.lookback + self.origins - 1
        inputs = self.rows.gather(start - (self.lookback - 1), n_steps)
        origins = start[:, None] + np.arange(self.origins)  # (B, O)
        errors = self.rows.errors(origins, self.horizon) / self.scale  # (B, O, H)
        mine = np.arange(self.origins) < length[:, None]
        mine &= self.eligible[np.minimum(origins, len(self.eligible) - 1)]
        errors[~mine] = np.nan
        return inputs, torch.from_numpy(errors.astype(np.float32))
