"""What networks remember at many origins: windows flattened into large calls, or one sweep.

With ``context="window"`` every origin has a window of its own, cut in chunks.  With
``context="history"`` one sweep over a stretch of rows passes all of its origins, so that an origin
costs one recurrent step; stretches are sorted by length and swept side by side.  How rows are cut
into chunks depends on their numbers alone: the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tsforecast.data.panel import Ints
from tsforecast.data.windows import Rows, Shape
from tsforecast.nn.cells import LayerState, State
from tsforecast.nn.network import ForecastNetwork
from tsforecast.nn.threads import in_order

__all__ = ["remembered", "remembered_at_ends"]

_ROWS = 4096  # in one call: what a layer gives for more does not stay in the cache
_STRETCHES = 32  # swept side by side
_LEAST_STEPS, _MOST_STEPS = 16, _ROWS // _STRETCHES  # of a sweep in one call


def remembered(
    networks: Sequence[ForecastNetwork], rows: Rows, origins: Ints, shape: Shape
) -> list[Tensor]:
    """What each network's decoder reads at the origins.

    Parameters
    ----------
    networks : sequence of ForecastNetwork
    rows : Rows
        Where they have `ends`, origins are the last known rows of their series.
    origins : ndarray of int64, shape (n,)
        Rows, in any order.
    shape : Shape

    Returns
    -------
    list of Tensor, shape (n, hidden)
        On the device of the networks.
    """
    if rows.ends is not None:
        series = torch.from_numpy(rows.series_of(origins))
        return [_top(state)[0, series] for state in rows.ends]
    device = next(networks[0].parameters()).device
    widths = [network.cells.hidden_sizes[-1] for network in networks]
    results = [torch.empty(len(origins), width, device=device) for width in widths]

    if shape.context == "window":

        size = max(1, _ROWS // shape.lookback)

        def encode(at: int) -> None:
            part = slice(at, at + size)
            with torch.inference_mode():
                windows = rows.windows(origins[part], shape, origins=1)
                x, static, codes = (t.to(device) for t in windows[:3])
                for result, network in zip(results, networks):
                    result[part] = network.encode(x, static, codes)[0][:, -1]

        jobs: Sequence[int] = range(0, len(origins), size)
        for _ in in_order(encode, jobs):
            pass
        return results

    def sweep(batch: _Batch) -> None:
        with torch.inference_mode():
            for result, network in zip(results, networks):
                _sweep(network, rows, batch, result)

    for _ in in_order(sweep, _batches(rows.first[origins], origins)):
        pass
    return results


def remembered_at_ends(networks: Sequence[ForecastNetwork], rows: Rows) -> tuple[State, ...]:
    """State of each network after the last row of each series, S side by side.

    Zeros for a series of which nothing is left behind its warm-up rows.
    """
    ends = rows.layout.stops - 1
    some = np.flatnonzero(rows.first[ends] <= ends)
    ends = ends[some]
    states = [_zeros(network, rows.layout.n_series) for network in networks]

    def sweep(batch: _Batch) -> None:
        with torch.inference_mode():
            for state, network in zip(states, networks):
                _sweep(network, rows, batch, None, ends=(state, some))

    for _ in in_order(sweep, _batches(rows.first[ends], ends)):
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


def _batches(first: Ints, origins: Ints) -> list[_Batch]:
    """Cut the stretches that begin at `first` (n,), one for each origin, into batches."""
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
        which = order[b * size : (b + 1) * size]
        mine = by_batch[start:stop]
        batches.append(
            _Batch(begin[which], length[which], mine, place[mine] - b * size, step[mine])
        )
    return batches


def _sweep(
    network: ForecastNetwork,
    rows: Rows,
    batch: _Batch,
    result: Tensor | None,
    *,
    ends: tuple[State, Ints] | None = None,
) -> None:
    """Run over stretches side by side, and write what is remembered at their origins.

    A few rows behind the end of a stretch are run over too, where it is shorter than others of
    the batch; nothing reads them.

    Parameters
    ----------
    result : Tensor, shape (n, hidden), optional
    ends : (State, ndarray), optional
        Where to write the whole state after the last row, and the place of each origin there.
    """
    device = network.location.device
    series = torch.from_numpy(rows.series_of(batch.begin))
    static, codes = rows.static[series].to(device), rows.codes[series].to(device)
    state: State | None = None
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
                for target, values in zip(_parts(whole), _parts(layer)):
                    target[:, where] = values[:, stretch[done]]


def _zeros(network: ForecastNetwork, n: int) -> State:
    cells = network.cells
    device = network.location.device

    def zeros(size: int) -> Tensor:
        return torch.zeros(1, n, size, device=device)

    if cells.cell == "lstm":
        return tuple((zeros(size), zeros(size)) for size in cells.hidden_sizes)
    return tuple(zeros(size) for size in cells.hidden_sizes)


def _parts(layer: LayerState) -> tuple[Tensor, ...]:
    return layer if isinstance(layer, tuple) else (layer,)


def _of_layer(layer: LayerState, which: slice) -> LayerState:
    if isinstance(layer, tuple):
        return layer[0][:, which].contiguous(), layer[1][:, which].contiguous()
    return layer[:, which].contiguous()


def _top(state: State) -> Tensor:
    """Hidden state of the top layer, (1, S, hidden)."""
    return _parts(state[-1])[0]
