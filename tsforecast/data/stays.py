"""Training windows that learn at every row: whole stays, or runs of rows of long ones.

Letters of shapes are those of `tsforecast.data.windows`; here O is the most rows that a window
learns from, and T is as long as the longest window of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsforecast.data.panel import Ints
from tsforecast.data.windows import Rows, Shape

__all__ = ["Runs", "StayWindows"]


@dataclass(frozen=True)
class Runs:
    """Rows of the windows of a batch.

    Attributes
    ----------
    rows : ndarray of int64, shape (B, T)
        Rows of the panel; those behind the end of a window repeat its last one.
    learn : ndarray of bool, shape (B, T)
        Which of them the window learns from.
    """

    rows: Ints
    learn: npt.NDArray[np.bool_]


class StayWindows:
    """The windows of an epoch; iterate once per epoch.

    Every row to learn from is in one window.  With ``context="history"`` a stretch of at most
    ``lookback + O - 1`` rows is one window; longer ones are cut into runs of O with random phase,
    each behind `lookback` - 1 rows of context or all there are.  With ``context="window"`` the
    first row of a stretch is repeated where they are fewer.

    Batches are drawn without regard to length, which may tell the outcome: a batch of short stays
    would be one of events.  Within a batch windows are sorted, so that pieces of it can be cut to
    the rows that they need.

    Parameters
    ----------
    rows : Rows
    learn : ndarray of bool, shape (N,)
        Rows to learn from, none behind the end of training.
    shape : Shape
    origins : int
        O.
    batch_size : int
        Windows per batch.
    rng : numpy Generator
        Phases and order.

    Attributes
    ----------
    n_windows : int
        Upper bound of the number of windows.
    """

    def __init__(
        self,
        rows: Rows,
        learn: npt.NDArray[np.bool_],
        *,
        shape: Shape,
        origins: int,
        batch_size: int,
        rng: np.random.Generator,
    ) -> None:
        self.rows = rows
        self.learn = learn
        self.shape = shape
        self.origins = origins
        self.batch_size = batch_size
        self.rng = rng
        which = np.flatnonzero(learn)
        begin, start = np.unique(rows.first[which], return_index=True)
        self._begin = begin.astype(np.int64)  # of each stretch that has rows to learn from
        self._start = which[start]
        self._stop = which[np.append(start, len(which))[1:] - 1] + 1
        self.n_windows = int(
            np.where(self._whole(), 1, -(-(self._stop - self._start) // origins) + 1).sum()
        )

    def __len__(self) -> int:
        """Upper bound of the number of batches."""
        return -(-self.n_windows // self.batch_size)

    def _whole(self) -> npt.NDArray[np.bool_]:
        """Which stretches are one window."""
        spans, most = self._stop - self._start, self.origins
        if self.shape.context == "history":
            spans, most = self._stop - self._begin, self.shape.lookback + self.origins - 1
        result: npt.NDArray[np.bool_] = spans <= most
        return result

    def runs(self) -> tuple[Ints, Ints, Ints]:
        """Cut the rows into windows with fresh phases: stretch, first row learned from, stop."""
        whole, spans = self._whole(), self._stop - self._start
        phase = np.where(whole, 0, self.rng.integers(0, self.origins, size=len(whole)))
        counts = np.where(whole, 1, -(-(spans + phase) // self.origins))
        which = np.repeat(np.arange(len(whole)), counts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = self._start[which] - phase[which] + number * self.origins
        stop = np.where(whole[which], self._stop[which], start + self.origins)
        start = np.maximum(start, self._start[which])
        stop = np.minimum(stop, self._stop[which])
        so_far = np.append(0, np.cumsum(self.learn))
        some = so_far[stop] > so_far[start]  # a long event leaves runs with nothing to learn from
        return which[some], start[some], stop[some]

    def __iter__(self) -> Iterator[Runs]:
        """Give batches of windows in random order, the longest of each batch first."""
        which, start, stop = self.runs()
        begin = start - self.shape.lookback + 1
        if self.shape.context == "history":
            begin = np.where(self._whole()[which], self._begin[which], begin)
            begin = np.maximum(begin, self._begin[which])
        length = stop - begin
        order = self.rng.permutation(len(which))
        for at in range(0, len(order), self.batch_size):
            batch = order[at : at + self.batch_size]
            batch = batch[np.argsort(-length[batch], kind="stable")]
            steps = np.arange(length[batch].max())
            at_rows = np.maximum(begin[batch, None] + steps, self._begin[which[batch], None])
            mine = (at_rows >= start[batch, None]) & (at_rows < stop[batch, None])
            mine &= begin[batch, None] + steps >= start[batch, None]  # not a repeated first row
            at_rows = np.minimum(at_rows, stop[batch, None] - 1)
            yield Runs(at_rows, mine & self.learn[at_rows])
