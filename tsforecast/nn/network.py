"""Networks of a panel's rows: features -> cell stack, and the forecasts decoded from it.

`Encoder` is what all of them begin with; `ForecastNetwork` decodes forecasts from its states.
Torch only; whatever is needed to forecast from feature rows (location and gain of the features,
spread of the baseline's errors, start of the head) is a buffer, so that weights alone are the
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from tsforecast.data.features import ArrayFeatures, Features
from tsforecast.data.panel import Floats
from tsforecast.data.windows import Origins, Windows
from tsforecast.nn.cells import Cell, CellStack, Init, State, layer_parts
from tsforecast.nn.heads import Head

__all__ = ["Encoder", "ForecastNetwork", "InputScale", "Noise", "input_scale"]

Noise: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True)
class InputScale:
    """Location and gain of features, pooled over training rows.

    Attributes
    ----------
    location, gain : ndarray, shape (F,)
        A feature enters as ``(x - location) * gain``; the gain of a constant feature is 0.
    """

    location: Floats
    gain: Floats


def input_scale(features: Tensor) -> InputScale:
    """Measure training rows, shape (n, F)."""
    x = features.numpy().astype(np.float64)
    location, spread = x.mean(axis=0), x.std(axis=0)
    alive = (spread > 1e-6 * np.abs(location)) & (spread > 1e-30)
    return InputScale(location, np.where(alive, 1.0 / np.where(alive, spread, 1.0), 0.0))


class Encoder(nn.Module):
    """Feature rows and constants of a series, run through stacked recurrent cells.

    Features are standardised and squashed by asinh: linear in the middle, logarithmic in the
    tails, so that a level or a crash beyond the training range stays in reach.  (Those of arrays
    are standardised alone.)  At its first row a window knows of no row before: hours and changes
    since then are 0 there.

    Parameters
    ----------
    features : Features or ArrayFeatures
        Which of the F features are what.
    scale : InputScale
        Of the F features.
    static : InputScale
        Of the D static numbers.
    n_codes : sequence of int
        Known values of each static category, without the code 0 for unknown ones.
    cell, hidden_sizes, dropout, layer_norm, init, max_steps
        See `CellStack`.
    """

    features: Any
    location: Tensor
    gain: Tensor
    static_location: Tensor
    static_gain: Tensor

    def __init__(
        self,
        *,
        features: Features | ArrayFeatures,
        scale: InputScale,
        static: InputScale,
        n_codes: Sequence[int],
        cell: Cell,
        hidden_sizes: Sequence[int],
        dropout: float,
        layer_norm: bool,
        init: Init,
        max_steps: int,
    ) -> None:
        super().__init__()
        self.features = features
        for name, values in {
            "location": scale.location,
            "gain": scale.gain,
            "static_location": static.location,
            "static_gain": static.gain,
        }.items():
            self.register_buffer(name, torch.from_numpy(values).float())
        self.embeddings = nn.ModuleList(_embedding(n) for n in n_codes)
        n_static = len(static.location) + sum(e.embedding_dim for e in self.embeddings)  # type: ignore[misc]
        self.cells = CellStack(
            features.size + n_static,
            hidden_sizes,
            cell=cell,
            dropout=dropout,
            layer_norm=layer_norm,
            init=init,
            max_steps=max_steps,
        )

    def encode(
        self,
        x: Tensor,
        static: Tensor,
        codes: Tensor,
        state: State | None = None,
        noise: Noise = (),
    ) -> tuple[Tensor, State]:
        """Run the cells over feature rows (B, T, F), from `state` on, or from none.

        Returns
        -------
        states : Tensor, shape (B, T, hidden)
            What a decoder reads of each row.
        state : State
            After the last row; see `CellStack`.
        """
        x = (x - self.location) * self.gain
        if state is None:
            x[:, 0, self.features.from_row_before] = 0.0
        parts = [torch.asinh((static - self.static_location) * self.static_gain)]
        parts += [embed(codes[:, j]) for j, embed in enumerate(self.embeddings)]  # (B, ...) each
        beside = torch.cat(parts, dim=-1)[:, None].expand(-1, x.shape[1], -1)
        shown = torch.asinh(x) if self.features.squashed else x
        states, state = self.cells(torch.cat([shown, beside], dim=-1), state, noise)
        return states, state

    @property
    def side_by_side(self) -> int:
        """Windows that a call should have, at least; see `CellStack`."""
        return self.cells.side_by_side

    @property
    def width(self) -> int:
        """Numbers that a decoder reads of a row."""
        return self.cells.hidden_sizes[-1]

    def no_state(self, n: int) -> State:
        """State of `n` sequences before their first row."""

        def zeros(size: int) -> Tensor:
            return torch.zeros(1, n, size, device=self.location.device)

        if self.cells.cell == "lstm":
            return tuple((zeros(size), zeros(size)) for size in self.cells.hidden_sizes)
        return tuple(zeros(size) for size in self.cells.hidden_sizes)

    def told(self, state: State) -> Tensor:
        """What a decoder reads of the rows after which the state of n sequences is: (n, width)."""
        return layer_parts(state[-1])[0][0]


class ForecastNetwork(Encoder):
    """Stacked recurrent cells and a decoder that starts at zero over the baseline.

    What is decoded at an origin with state s, for all targets and steps at once:

        raw = W s  (+ V tanh(A s + B_h + G f_h), where columns are known ahead; f_h at step h)

    and, with a season of L rows, a line of its own from the last season's values to the location
    of every step.  W, V and that line start at zero.

    Parameters
    ----------
    features, scale, static, n_codes, cell, hidden_sizes, dropout, layer_norm, init, max_steps
        See `Encoder`.
    season : int
        L, 0 without the seasonal line.
    head : Head
        Meaning of the Q numbers per step.
    error_scale : ndarray, shape (K, H)
        Spread of the baseline's training errors per target and step, in units of the running
        scale: the unit of z.
    start : Tensor, shape (K, H, ...)
        ``head.start`` of the training errors.
    """

    error_scale: Tensor
    start: Tensor

    def __init__(
        self,
        *,
        features: Features | ArrayFeatures,
        scale: InputScale,
        static: InputScale,
        n_codes: Sequence[int],
        season: int,
        cell: Cell,
        hidden_sizes: Sequence[int],
        dropout: float,
        layer_norm: bool,
        init: Init,
        max_steps: int,
        head: Head,
        error_scale: Floats,
        start: Tensor,
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
        n_targets, self.horizon = error_scale.shape
        self.register_buffer("error_scale", torch.from_numpy(error_scale).float())
        self.register_buffer("start", start)
        width = self.width
        self.decoder = _zero(nn.Linear(width, n_targets * self.horizon * head.size))
        self.ahead: _Ahead | None = None
        if features.n_future:
            self.ahead = _Ahead(width, features.n_future, self.horizon, n_targets * head.size)
        self.season = season
        if season:
            self.seasonal = nn.Parameter(torch.zeros(n_targets, season, self.horizon))

    def forward(self, windows: Windows, noise: Noise = ()) -> Tensor:
        """Decode all steps at each origin, from the state of that row, shape (B, O, K, H, Q)."""
        states, _ = self.encode(windows.x, windows.static, windows.codes, noise=noise)
        at = windows.at[:, None] + torch.arange(windows.origins.unit.shape[1], device=states.device)
        picked = states.gather(1, at[:, :, None].expand(-1, -1, states.shape[2]))
        return self.decode(picked, windows.origins)

    def decode(self, states: Tensor, origins: Origins) -> Tensor:
        """Give the raw numbers at origins whose states are (B, O, hidden): (B, O, K, H, Q)."""
        n_targets = origins.unit.shape[2]
        raw: Tensor = self.decoder(states).reshape(
            *states.shape[:2], n_targets, self.horizon, self.head.size
        )
        if self.ahead is not None:
            future = self.features.future
            known = torch.asinh((origins.ahead - self.location[future]) * self.gain[future])
            more = self.ahead(states, known)  # (B, O, H, K Q)
            raw = raw + more.unflatten(-1, (n_targets, -1)).transpose(2, 3)
        if self.season:
            # in units of z the change over a season is about 1
            shape = torch.nan_to_num(origins.shape) / self.error_scale.mean(1)[:, None]
            line = torch.einsum("bokl,klh->bokh", shape, self.seasonal)
            at = self.head.location
            raw = torch.cat(
                [raw[..., :at], raw[..., at : at + 1] + line[..., None], raw[..., at + 1 :]], -1
            )
        return raw

    def noise(self, batch: tuple[Windows, Tensor, Tensor]) -> Noise:
        """Draw what `loss` of a batch takes as noise; empty outside of training."""
        return self.cells.noise(batch[0].x)

    def loss(
        self, windows: Windows, z: Tensor, weight: Tensor, noise: Noise = ()
    ) -> tuple[Tensor, Tensor]:
        """Loss per origin and target, a mean over its known steps, and its weight.

        Parameters
        ----------
        windows : Windows
        z : Tensor, shape (B, O, K, H)
            Errors of the baseline in units of `error_scale` times the running scale, NaN where
            unknown.
        weight : Tensor, shape (B, O, K)
        noise : tuple of Tensor, optional
            From `noise`.

        Returns
        -------
        loss, weight : Tensor, shape (B, O, K)
            Zero where no step is known.
        """
        return self.losses(self(windows, noise), windows.origins, z, weight)

    def losses(
        self, raw: Tensor, origins: Origins, z: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and weight as of `loss`, of numbers decoded already."""
        known = torch.isfinite(z)
        base, unit = self._base_and_unit(origins)
        # cleaned before the loss: the gradient of 0 * NaN is NaN
        clean = torch.where(known, z, 0.0)
        steps = self.head.loss(raw, self.start, clean, base, unit)
        count = known.sum(-1)
        return (steps * known).sum(-1) / count.clamp(min=1), weight * (count > 0)

    def _base_and_unit(self, origins: Origins) -> tuple[Tensor, Tensor]:
        """Baseline and unit of z, (B, O, K, H); rows that are no origins get harmless ones."""
        unit = torch.nan_to_num(origins.unit, nan=1.0)[..., None] * self.error_scale
        return torch.nan_to_num(origins.base), unit

    def forecast(self, windows: Windows) -> tuple[Tensor, Tensor]:
        """Forecast z (B, K, H) and its quantiles (B, K, H, J) at the last origin, float64."""
        base, unit = self._base_and_unit(windows.origins)
        return self.head.forecast(
            self(windows)[:, -1].double(),
            self.start.double(),
            base[:, -1].double(),
            unit[:, -1].double(),
        )

    def quantile(self, windows: Windows, u: Tensor) -> Tensor:
        """Give z at probabilities u (n,) or (B, K, H, n): (B, K, H, n), float64."""
        base, unit = self._base_and_unit(windows.origins)
        return self.head.quantile(
            self(windows)[:, -1].double(),
            self.start.double(),
            base[:, -1].double(),
            unit[:, -1].double(),
            u,
        )


class _Ahead(nn.Module):
    """A layer that joins the state with what is known of each step ahead."""

    def __init__(self, width: int, n_future: int, horizon: int, size: int) -> None:
        super().__init__()
        self.state = nn.Linear(width, width)
        self.step = nn.Parameter(torch.zeros(horizon, width))
        self.known = nn.Linear(n_future, width, bias=False)
        self.out = _zero(nn.Linear(width, size, bias=False))

    def forward(self, states: Tensor, known: Tensor) -> Tensor:
        """States (B, O, width) and known rows (B, O + H - 1, n) -> (B, O, H, size)."""
        horizon = len(self.step)
        rows = self.known(known).unfold(1, horizon, 1).transpose(2, 3)  # (B, O, H, width)
        result: Tensor = self.out(torch.tanh(self.state(states)[:, :, None] + self.step + rows))
        return result


def _zero(layer: nn.Linear) -> nn.Linear:
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def _embedding(n_known: int) -> nn.Embedding:
    """Vectors of the known values; that of unknown ones, 0, is the zero vector for good."""
    width = min(8, 1 + n_known // 2)
    layer = nn.Embedding(n_known + 1, width, padding_idx=0)
    with torch.no_grad():
        layer.weight[1:].mul_(0.3)
    return layer
