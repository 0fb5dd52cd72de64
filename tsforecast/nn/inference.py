"""What networks remember at many origins: windows flattened into large calls, or one sweep.

With ``context="window"`` every origin has a window of its own, cut in chunks.  With
``context="history"`` one sweep over a stretch of rows passes all of its origins, so that an origin
costs one recurrent step; stretches are sorted by length and swept side by side.  Where a series
begins with the very rows of `fit`, the sweep goes on from what was remembered there (`Known`).  How
rows are cut into chunks depends on their numbers alone: the result does not depend on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from tsforecast.data.panel import Ints
from tsforecast.data.windows import Rows, Shape
from tsforecast.nn.cells import LayerState, State, layer_parts
from tsforecast.nn.network import Encoder
from tsforecast.nn.threads import FEW, at_once, in_order

__all__ = ["Found", "Known", "remembered", "remembered_at_ends"]

_BLOCK = 1 << 16  # rows summed at a time
_GOLDEN = 0x9E3779B97F4A7C15
_ROWS = 4096  # in one call: what a layer gives for more does not stay in the cache
_STRETCHES = 32  # swept side by side
_LEAST_STEPS, _MOST_STEPS = 16, _ROWS // _STRETCHES  # of a sweep in one call


@dataclass(frozen=True)
class Known:
    """What networks remember after rows that they have seen before.

    Attributes
    ----------
    ids : Index or None
        Names of the S series, as of `Layout`.
    counts : ndarray of int64, shape (S,)
        Rows of each.
    marks : ndarray of uint64, shape (S,)
        Check sums of their features, by which they are known again.
    states : tuple of State
        Of each network, S side by side.
    weights : tuple of float
        Sums of the weights that have remembered it.
    """

    ids: pd.Index | None
    counts: Ints
    marks: npt.NDArray[np.uint64]
    states: tuple[State, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, networks: Sequence[Encoder], rows: Rows) -> Known:
        """Run over all rows."""
        counts = np.diff(rows.layout.offsets)
        states = remembered_at_ends(networks, rows)
        marks = _check_sums(rows, counts)
        return cls(rows.layout.ids, counts, marks, states, _sums_of_weights(networks))

    def found(self, networks: Sequence[Encoder], rows: Rows) -> Found:
        """Look for the series of `rows` that begin with rows known here, to the same networks."""
        if _sums_of_weights(networks) != self.weights:
            return Found(self, np.full(rows.layout.n_series, -1))
        return Found(self, self._places(rows))

    def _places(self, rows: Rows) -> Ints:
        ids = rows.layout.ids
        if (ids is None) != (self.ids is None):
            return np.full(rows.layout.n_series, -1)
        place = np.zeros(1, dtype=np.int64)
        if ids is not None and self.ids is not None:
            place = np.asarray(self.ids.get_indexer(ids), dtype=np.int64)
        counts = np.where(place >= 0, self.counts[place], 0)
        counts[counts > np.diff(rows.layout.offsets)] = 0
        same = (counts > 0) & (_check_sums(rows, counts) == self.marks[place])
        return np.where(same, place, -1)


@dataclass(frozen=True)
class Found:
    """Which series of some rows begin with rows known.

    Attributes
    ----------
    known : Known
    place : ndarray of int64, shape (s,)
        Their place there, -1 for others.
    """

    known: Known
    place: Ints

    def at(self, rows: Rows, origins: Ints) -> tuple[Ints, Ints]:
        """Place of the series of each origin that a sweep may go on to, else -1, (n,).

        And the first row of its series that is not known, (n,).
        """
        series = rows.series_of(origins)
        place = self.place[series]
        new = rows.layout.starts[series] + self.known.counts[place]
        # within the stretch that the last row known lies in, and not before that row
        goes_on = (origins >= new - 1) & (rows.first[origins] < new)
        return np.where(goes_on, place, -1), new


def remembered(
    networks: Sequence[Encoder],
    rows: Rows,
    origins: Ints,
    shape: Shape,
    found: Found | None = None,
) -> list[Tensor]:
    """What each network's decoder reads at the origins.

    Parameters
    ----------
    networks : sequence of Encoder
    rows : Rows
        Where they have `ends`, origins are the last known rows of their series.
    origins : ndarray of int64, shape (n,)
        Rows, in any order.
    shape : Shape
    found : Found, optional
        Where a sweep may go on from what is known.

    Returns
    -------
    list of Tensor, shape (n, hidden)
        On the device of the networks.
    """
    if rows.ends is not None:
        series = torch.from_numpy(rows.series_of(origins))
        return [network.told(state)[series] for network, state in zip(networks, rows.ends)]
    device = next(networks[0].parameters()).device
    results = [torch.empty(len(origins), network.width, device=device) for network in networks]

    if shape.context == "window":
        size = max(1, _ROWS // shape.lookback, *(network.side_by_side for network in networks))

        def encode(at: int) -> None:
            part = slice(at, at + size)
            with torch.inference_mode():
                windows = rows.windows(origins[part], shape, origins=1)
                x, static, codes = (t.to(device) for t in windows[:3])
                for result, network in zip(results, networks):
                    result[part] = network.encode(x, static, codes)[0][:, -1]

        run = at_once if len(origins) <= FEW else in_order
        for _ in run(encode, range(0, len(origins), size)):
            pass
        return results

    rest = np.arange(len(origins))
    jobs: list[tuple[_Batch, tuple[State, ...] | None]] = []
    if found is not None:
        place, new = found.at(rows, origins)
        known = found.known
        at_end = np.flatnonzero((place >= 0) & (origins == new - 1))
        for result, network, state in zip(results, networks, known.states):
            result[torch.from_numpy(at_end)] = network.told(state)[torch.from_numpy(place[at_end])]
        for batch in _batches(new, origins, np.flatnonzero((place >= 0) & (origins >= new))):
            begun = torch.from_numpy(place[batch.origin[batch.any_origin()]])
            starts = [tuple(_of_layer(layer, begun) for layer in state) for state in known.states]
            jobs.append((batch, tuple(starts)))
        rest = np.flatnonzero(place < 0)
    first = rows.first[origins].astype(np.int64)
    jobs += [(batch, None) for batch in _batches(first, origins, rest)]

    def sweep(job: tuple[_Batch, tuple[State, ...] | None]) -> None:
        batch, starts = job
        with torch.inference_mode():
            for number, (result, network) in enumerate(zip(results, networks)):
                state = None if starts is None else starts[number]
                _sweep(network, rows, batch, result, state=state)

    for _ in in_order(sweep, jobs):
        pass
    return results


def remembered_at_ends(networks: Sequence[Encoder], rows: Rows) -> tuple[State, ...]:
    """State of each network after the last row of each series, S side by side.

    Zeros for a series of which nothing is left behind its warm-up rows.
    """
    ends = rows.layout.stops - 1
    some = np.flatnonzero(rows.first[ends] <= ends)
    ends = ends[some]
    states = [network.no_state(rows.layout.n_series) for network in networks]

    def sweep(batch: _Batch) -> None:
        with torch.inference_mode():
            for state, network in zip(states, networks):
                _sweep(network, rows, batch, None, ends=(state, some))

    for _ in in_order(sweep, _batches(rows.first[ends], ends, np.arange(len(ends)))):
        pass
    return tuple(states)


@dataclass(frozen=True)
class _Batch:
    """Stretches of about the same length, the longest first, and the origins in them.

    Attributes
    ----------
    begin, length : ndarray of int64, shape (b,)
        First row of each stretch, and rows up to its last origin.
    origin, stretch, step : ndarray of int64, shape (m,)
        Position of each origin among all, its stretch of the b, and its row in the stretch; in
        order of `step`.
    """

    begin: Ints
    length: Ints
    origin: Ints
    stretch: Ints
    step: Ints

    def any_origin(self) -> Ints:
        """One of the m origins in each stretch, (b,)."""
        return np.unique(self.stretch, return_index=True)[1]


def _batches(first: Ints, origins: Ints, which: Ints) -> list[_Batch]:
    """Cut stretches that begin at `first`, one for each origin, into batches.

    Parameters
    ----------
    first, origins : ndarray of int64, shape (n,)
    which : ndarray of int64, shape (m,)
        Positions of the origins to be taken.
    """
    first, origins = first[which], origins[which]
    begin, number = np.unique(first, return_inverse=True)
    step = origins - first
    length = np.zeros(len(begin), dtype=np.int64)
    np.maximum.at(length, number, step + 1)
    order = np.argsort(-length, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    size = int(np.clip(-(-len(begin) // 2), 1, _STRETCHES))  # two threads are common
    place = place[number]  # of each origin's stretch in order of length
    by_batch = np.lexsort((step, place // size))
    bounds = np.searchsorted(place[by_batch] // size, np.arange(-(-len(begin) // size) + 1))
    batches = []
    for b, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:])):
        stretches = order[b * size : (b + 1) * size]
        mine = by_batch[start:stop]
        batches.append(
            _Batch(
                begin[stretches],
                length[stretches],
                which[mine],
                place[mine] - b * size,
                step[mine],
            )
        )
    return batches


def _sweep(
    network: Encoder,
    rows: Rows,
    batch: _Batch,
    result: Tensor | None,
    *,
    state: State | None = None,
    ends: tuple[State, Ints] | None = None,
) -> None:
    """Run over stretches side by side, and write what is remembered at their origins.

    A few rows behind the end of a stretch are run over too, where it is shorter than others of
    the batch; nothing reads them.

    Parameters
    ----------
    result : Tensor, shape (n, hidden), optional
    state : State, optional
        What is remembered before the first rows; b side by side.
    ends : (State, ndarray), optional
        Where to write the whole state after the last row, and the place of each origin there.
    """
    device = network.location.device
    series = torch.from_numpy(rows.series_of(batch.begin))
    static, codes = rows.static[series].to(device), rows.codes[series].to(device)
    passed = 0
    longest = int(batch.length[0])
    while passed < longest:
        alive = int(np.searchsorted(-batch.length, -passed, side="left"))
        left = int(batch.length[alive - 1]) - passed  # of the shortest
        least = 1 if ends is not None else _LEAST_STEPS
        steps = min(max(left, least), longest - passed, _MOST_STEPS)
        at = batch.begin[:alive, None] + np.arange(passed, passed + steps)
        x = rows.inputs[torch.from_numpy(np.minimum(at, rows.layout.n_rows - 1))].to(device)
        if state is not None:
            state = tuple(_of_layer(layer, slice(alive)) for layer in state)
        told, state = network.encode(x, static[:alive], codes[:alive], state)
        lo, hi = np.searchsorted(batch.step, [passed, passed + steps])
        origin = torch.from_numpy(batch.origin[lo:hi])
        stretch = torch.from_numpy(batch.stretch[lo:hi])
        if result is not None:
            result[origin] = told[stretch, torch.from_numpy(batch.step[lo:hi] - passed)]
        passed += steps
        if ends is not None:
            done = torch.from_numpy(batch.step[lo:hi] == passed - 1)
            where = torch.from_numpy(ends[1])[origin[done]]
            for whole, layer in zip(ends[0], state):
                for target, values in zip(layer_parts(whole), layer_parts(layer)):
                    target[:, where] = values[:, stretch[done]]


def _of_layer(layer: LayerState, which: Any) -> LayerState:
    if isinstance(layer, tuple):
        return layer[0][:, which].contiguous(), layer[1][:, which].contiguous()
    return layer[:, which].contiguous()


def _check_sums(rows: Rows, counts: Ints) -> npt.NDArray[np.uint64]:
    """Sums over the features of the first rows of each series, `counts` (S,) of them.

    Every number has a factor of its own; that two different beginnings agree is as good as
    impossible by chance (one in 2^33 at most).
    """
    layout, bits = rows.layout, rows.inputs.numpy().view(np.uint32)
    n, width = int(counts.max(initial=0)), bits.shape[1]
    factors = _factors(n * width).reshape(n, width)
    beside = np.concatenate(
        [rows.static.numpy().view(np.uint32), rows.codes.numpy().astype(np.uint32)], axis=1
    )
    totals = (beside * _factors(beside.shape[1] + 1)[1:]).sum(axis=1, dtype=np.uint64)
    some = np.flatnonzero(counts)
    # a block of series at a time: products take twice the room of the features
    for block in np.split(some, np.flatnonzero(np.diff(np.cumsum(counts[some]) // _BLOCK)) + 1):
        if len(block) == 0:
            continue
        begins = np.cumsum(counts[block]) - counts[block]
        place = np.arange(counts[block].sum()) - np.repeat(begins, counts[block])
        at = np.repeat(layout.starts[block], counts[block]) + place
        sums = (bits[at] * factors[place]).sum(axis=1, dtype=np.uint64)
        last = layout.starts[block] + counts[block] - 1
        begun = (rows.first[last] - layout.starts[block]).astype(np.uint64)
        totals[block] += np.add.reduceat(sums, begins) + begun * np.uint64(_GOLDEN)
    return np.asarray(totals)


def _sums_of_weights(networks: Sequence[Encoder]) -> tuple[float, ...]:
    with torch.inference_mode():
        return tuple(float(w.sum()) for network in networks for w in network.parameters())


def _factors(n: int) -> npt.NDArray[np.uint64]:
    """Odd numbers that look random (splitmix64 of Steele, Lea & Flood 2014)."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ (z >> np.uint64(31))) | np.uint64(1))
