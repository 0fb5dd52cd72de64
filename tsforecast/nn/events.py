"""The network of event classifiers: hazards at every row, from rows up to it alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tsforecast.data.features import Features
from tsforecast.data.panel import Floats
from tsforecast.nn.cells import Cell, Init, State
from tsforecast.nn.hazard import Hazards
from tsforecast.nn.network import Encoder, InputScale, Noise

__all__ = ["EventNetwork", "Exits"]


class Exits(NamedTuple):
    """What follows each row of a batch of windows; see `tsforecast.data.labels.Labels`.

    Attributes
    ----------
    step, cause, observed : Tensor of int64, shape (B, T)
    beside : Tensor, shape (B, T)
        What the logits of the event begin with, from a classifier beside the network; or 0.
    vitals : Tensor, shape (B, T, C)
        Values of the next row, standardised, NaN where missing; (B, T, 0) where they are not
        learned.
    weight : Tensor, shape (B, T)
        0 where a row is not learned from; over an epoch about 1 per window.
    """

    step: Tensor
    cause: Tensor
    observed: Tensor
    beside: Tensor
    vitals: Tensor
    weight: Tensor


class EventNetwork(Encoder):
    """Stacked recurrent cells, read by their last state and its running mean.

    At row t of a stay with top states h_1 ... h_t, all hazards at once:

        logits = start + W [h_t, mean(h_1 ... h_t)]

    W starts at zero, so that the untrained network gives every row the mean hazards of the training
    rows.  The running mean is part of the recurrent state: it looks back only, and a stream goes on
    from it.

    Parameters
    ----------
    features : Features
    scale, static : InputScale
    n_codes : sequence of int
    cell, hidden_sizes, dropout, layer_norm, init, max_steps
        See `Encoder`. Dropout also stands before W.
    head : Hazards
    start : Tensor, shape (K, C)
        ``head.start`` of the training rows.
    decay : bool
        Whether a value that was not measured in a row decays towards the usual one, at a rate
        that is learned per column (GRU-D's input decay: Che et al., "Recurrent neural networks
        for multivariate time series with missing values", Scientific Reports 8, 2018, eq. 10-11).
    channel_dropout : float
        Share of columns that a training window is shown as if they had never been measured.
    vitals : float
        Weight of the second task in the loss: the values of the next row; 0 is none.
    """

    features: Features
    start: Tensor

    def __init__(
        self,
        *,
        features: Features,
        scale: InputScale,
        static: InputScale,
        n_codes: Sequence[int],
        cell: Cell,
        hidden_sizes: Sequence[int],
        dropout: float,
        layer_norm: bool,
        init: Init,
        max_steps: int,
        head: Hazards,
        start: Tensor,
        decay: bool,
        channel_dropout: float,
        vitals: float,
    ) -> None:
        super().__init__(
            features=features,
            scale=scale,
            static=static,
            n_codes=n_codes,
            cell=cell,
            hidden_sizes=hidden_sizes,
            dropout=dropout,
            layer_norm=layer_norm,
            init=init,
            max_steps=max_steps,
        )
        self.head = head
        self.dropout = dropout
        self.channel_dropout = channel_dropout
        self.vitals_weight = vitals
        self.register_buffer("start", start)
        self.rate = nn.Parameter(torch.full((features.n_columns,), -4.0)) if decay else None
        self.decoder = nn.Linear(self.width, head.size)
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)
        self.next_values = nn.Linear(self.width, features.n_columns) if vitals > 0 else None

    @property
    def width(self) -> int:
        """Twice the units of the top layer: its state, and the running mean."""
        return 2 * self.cells.hidden_sizes[-1]

    def noise(self, batch: tuple[Any, ...]) -> Noise:
        """Draw dropout for a batch; empty outside of training. See `CellStack.noise`."""
        if not self.training:
            return ()
        x = batch[0]  # (B, T, F)
        kept, channels = 1.0 - self.dropout, 1.0 - self.channel_dropout
        before = x.new_empty(*x.shape[:2], self.width).uniform_().lt_(kept).div_(kept)
        shown = x.new_empty(len(x), self.features.n_columns).uniform_().lt_(channels)
        return before, shown, *self.cells.noise(x)

    def encode(
        self,
        x: Tensor,
        static: Tensor,
        codes: Tensor,
        state: State | None = None,
        noise: Noise = (),
    ) -> tuple[Tensor, State]:
        """Run the cells over feature rows; see `Encoder.encode`.

        Returns
        -------
        states : Tensor, shape (B, T, 2 hidden)
        state : State
            With the sum of the top states and their number as the last entry.
        """
        n = self.features.n_columns
        if noise and self.channel_dropout:  # a column never measured has the usual value, age 0
            shown = noise[1][:, None]
            x = torch.cat([x[..., : 3 * n] * shown.repeat(1, 1, 3), x[..., 3 * n :]], dim=-1)
        if self.rate is not None:
            observed, age = x[..., n : 2 * n], x[..., 2 * n : 3 * n]
            # of a value that was measured in its row the age is 0
            left = torch.exp(-nn.functional.softplus(self.rate) * age)
            x = torch.cat([x[..., :n] * torch.where(observed > 0, 1.0, left), x[..., n:]], dim=-1)
        cells = None if state is None else state[:-1]
        told, ends = super().encode(x, static, codes, cells, noise[2:])
        total, count = self._before(len(x), told) if state is None else state[-1]
        sums = total[0][:, None] + told.cumsum(dim=1)  # (B, T, hidden)
        counts = count[0][:, None] + torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        both = torch.cat([told, sums / counts], dim=-1)
        if noise:
            both = both * noise[0]
        return both, (*ends, (sums[:, -1][None], counts[:, -1][None].expand(1, len(x), 1)))

    @staticmethod
    def _before(n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_zeros(1, n, like.shape[-1]), like.new_zeros(1, n, 1)

    def no_state(self, n: int) -> State:
        """State of `n` stays before their first row."""
        cells = super().no_state(n)
        return (*cells, self._before(n, self.location.new_empty(0, self.cells.hidden_sizes[-1])))

    def told(self, state: State) -> Tensor:
        """What the head reads after the last rows, (n, 2 hidden)."""
        total, count = state[-1]
        return torch.cat([super().told(state[:-1]), total[0] / count[0].clamp(min=1.0)], dim=-1)

    def decode(self, told: Tensor, beside: Tensor | None = None) -> Tensor:
        """Logits of the hazards, (..., 2 hidden) -> (..., K, C), with the weight of the event."""
        raw: Tensor = self.decoder(told).unflatten(-1, (self.head.n_steps, self.head.n_causes))
        raw = raw + self.start
        if beside is None:
            return raw
        return torch.cat([raw[..., :1] + beside[..., None, None], raw[..., 1:]], dim=-1)

    def next_row(self, told: Tensor) -> Tensor:
        """Values of the next row as features have them, (n, 2 hidden) -> (n, C), float64."""
        assert self.next_values is not None
        n = self.features.n_columns
        gain = self.gain[:n].double()
        shown = torch.sinh(self.next_values(told).double())
        return torch.where(gain > 0, shown / gain.clamp(min=1e-300), 0.0) + self.location[:n]

    def loss(
        self, x: Tensor, static: Tensor, codes: Tensor, exits: Exits, noise: Noise = ()
    ) -> tuple[Tensor, Tensor]:
        """Loss and weight of every window, (B,) each.

        A row counts by its weight over the epoch, whatever batch or piece of one it is in: the
        weight of each window is 1, and its loss the weighted sum over its rows.
        """
        used = int((exits.weight > 0).any(dim=0).nonzero().max()) + 1 if len(x) else 0
        x, exits = x[:, :used], Exits(*(part[:, :used] for part in exits))
        noise = (noise[0][:, :used], noise[1], *(n[:, :used] for n in noise[2:])) if noise else ()
        told, _ = self.encode(x, static, codes, noise=noise)
        loss = self.losses(told, exits)
        if self.next_values is not None:
            known = torch.isfinite(exits.vitals)
            error = nn.functional.smooth_l1_loss(
                self.next_values(told), torch.where(known, exits.vitals, 0.0), reduction="none"
            )
            second = (error * known).sum(-1) / known.sum(-1).clamp(min=1)
            loss = loss + self.vitals_weight * second
        whole = (loss * exits.weight).sum(dim=1)
        return whole, torch.ones_like(whole)

    def losses(self, told: Tensor, exits: Exits) -> Tensor:
        """Loss of the first task at rows whose states are told, (..., 2 hidden) -> (...)."""
        logits = self.decode(told, exits.beside)
        return self.head.loss(logits, exits.step, exits.cause, exits.observed)


def mean_logits(networks: Sequence[EventNetwork], told: Sequence[Tensor], beside: Any) -> Tensor:
    """Logits of hazards, a mean over the networks, without the weight of the event: float64.

    Parameters
    ----------
    networks : sequence of EventNetwork
    told : sequence of Tensor, shape (n, 2 hidden)
    beside : Tensor, shape (n,), or None

    Returns
    -------
    Tensor, shape (n, K, C)
    """
    each = [
        network.head.logits(network.decode(state, beside).double())
        for network, state in zip(networks, told)
    ]
    return torch.stack(each).mean(0)


def incidence(networks: Sequence[EventNetwork], logits: Tensor) -> Floats:
    """Probability of the event within 1 ... K steps, (n, K, C) -> (n, K)."""
    return np.asarray(networks[0].head.incidence(logits).numpy())
