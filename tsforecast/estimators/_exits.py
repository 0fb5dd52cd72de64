"""Batches of windows beside what follows their rows, and the validation of event networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tsforecast.data.panel import Floats, Ints
from tsforecast.data.stays import StayWindows
from tsforecast.data.windows import Rows, Shape
from tsforecast.nn.events import EventNetwork, Exits
from tsforecast.nn.inference import remembered
from tsforecast.nn.network import InputScale

__all__ = ["EventBatches", "EventValidation", "RowExits"]


@dataclass(frozen=True)
class RowExits:
    """What follows every row of a panel, and how much it counts.

    Attributes
    ----------
    step, cause, observed : ndarray of int64, shape (N,)
        See `tsforecast.data.labels.Labels`.
    weight : ndarray, shape (N,)
        0 where a row is not learned from.
    beside : ndarray of float32, shape (N,)
        See `Exits`.
    """

    step: Ints
    cause: Ints
    observed: Ints
    weight: Floats
    beside: Floats

    def at(self, rows: Ints, weight: Floats, vitals: Tensor) -> Exits:
        """Take some rows, of any shape; their weight and vitals are given."""
        whole = (self.step, self.cause, self.observed)
        step, cause, observed = (torch.from_numpy(values[rows]) for values in whole)
        beside = torch.from_numpy(self.beside[rows].astype(np.float32))
        counted = torch.from_numpy(np.asarray(weight, dtype=np.float32))
        return Exits(step, cause, observed, beside, vitals, counted)


class EventBatches:
    """The batches of an epoch, as `tsforecast.nn.training.train` takes them.

    Parameters
    ----------
    windows : StayWindows
    exits : RowExits
    vitals : InputScale or None
        How the values of the next row are standardised, where they are learned too.
    n_columns : int
        C.
    """

    def __init__(
        self, windows: StayWindows, exits: RowExits, vitals: InputScale | None, n_columns: int
    ) -> None:
        self.windows = windows
        self.exits = exits
        self.vitals = vitals
        self.n_columns = n_columns
        # of all rows: a window weighs about 1, and the learning rate means what it says
        self._unit = exits.weight[windows.learn].sum() / windows.n_windows

    def __len__(self) -> int:
        """Upper bound of the number of batches."""
        return len(self.windows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Give batches: features (B, T, F), static (B, D), codes (B, M), `Exits`."""
        rows = self.windows.rows
        for runs in self.windows:
            which = torch.from_numpy(rows.series_of(runs.rows[:, 0]))
            weight = self.exits.weight[runs.rows] * runs.learn / self._unit
            yield (
                rows.inputs[torch.from_numpy(runs.rows)],
                rows.static[which],
                rows.codes[which],
                self.exits.at(runs.rows, weight, self._next_values(rows, runs.rows)),
            )

    def _next_values(self, rows: Rows, at: Ints) -> Tensor:
        """Values of the row behind each, standardised, NaN where not measured, (B, T, C)."""
        if self.vitals is None:
            return torch.empty(*at.shape, 0)
        n = self.n_columns
        after = np.minimum(at + 1, rows.layout.n_rows - 1)
        x = rows.inputs[torch.from_numpy(after)]
        value = (x[..., :n].double().numpy() - self.vitals.location[:n]) * self.vitals.gain[:n]
        same = (rows.first[after] == rows.first[at]) & (after > at)
        seen = (x[..., n : 2 * n].numpy() > 0) & same[..., None]
        return torch.from_numpy(np.where(seen, np.arcsinh(value), np.nan).astype(np.float32))


class EventValidation:
    """Losses of the rows of the validation series, in the context that inference uses.

    Parameters
    ----------
    rows : Rows
    exits : RowExits
    at : ndarray of int64, shape (n,)
        Rows that count.
    shape : Shape
    """

    def __init__(self, rows: Rows, exits: RowExits, at: Ints, shape: Shape) -> None:
        self.rows = rows
        self.at = at
        self.shape = shape
        self.weight = exits.weight[at] / exits.weight[at].mean()
        self._exits = exits.at(at, self.weight, torch.empty(len(at), 0))

    def told(self, networks: list[EventNetwork]) -> list[Tensor]:
        """What the head of each network reads at these rows."""
        return remembered(networks, self.rows, self.at, self.shape)

    def __call__(self, network: nn.Module) -> Floats:
        assert isinstance(network, EventNetwork)
        (told,) = self.told([network])
        exits = Exits(*(tensor.to(told.device) for tensor in self._exits))
        loss = network.losses(told, exits) * exits.weight
        return loss.cpu().numpy().astype(np.float64)
