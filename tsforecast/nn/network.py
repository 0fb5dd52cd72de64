"""The forecasting network: features -> cell stack -> dense decoder at the origins.

Torch only; whatever is needed to forecast from raw rows (location and gain of the features, spread
of the baseline's errors, start of the head) is a buffer, so that weights alone are the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tsforecast.data.panel import Floats
from tsforecast.nn.cells import Cell, CellStack, Init
from tsforecast.nn.heads import Head

__all__ = ["ForecastNetwork", "InputScale", "input_scale"]


@dataclass(frozen=True)
class InputScale:
    """Location and gain of features, pooled over training rows.

    Attributes
    ----------
    location, gain : ndarray, shape (F,)
        A feature enters as ``(x - location) * gain``; the gain of a constant feature is 0.
    change_gain : float
        1 / spread of the target's change from row to row (0 where it never changes).
    """

    location: Floats
    gain: Floats
    change_gain: float


def input_scale(features: Tensor, change: Floats) -> InputScale:
    """Measure training rows.

    Parameters
    ----------
    features : Tensor, shape (N, F)
        Training rows that have a row before them in their series.
    change : ndarray, shape (N,)
        The target's change from the row before.

    Returns
    -------
    InputScale
    """
    x = features.numpy().astype(np.float64)
    location, spread = x.mean(axis=0), x.std(axis=0)
    spread_of_change = float(np.sqrt(np.mean(np.square(change))))
    alive = spread > 1e-6 * np.maximum(1e-6, np.abs(location))
    return InputScale(
        location,
        np.where(alive, 1.0 / np.where(alive, spread, 1.0), 0.0),
        1.0 / spread_of_change if spread_of_change > 0 else 0.0,
    )


class ForecastNetwork(nn.Module):
    """Stacked recurrent cells and a dense decoder that starts at zero over the baseline.

    Feature 0 is the target, the last one the hours since the row before.  Besides every feature
    the cells see the target's change from the row before, all squashed by asinh: linear in the
    middle, logarithmic in the tails, so that a level or a crash beyond the training range stays in
    reach.  At its first row a window knows of no row before: hours and change are 0 there.

    Parameters
    ----------
    scale : InputScale
        Of the F features.
    cell, hidden_sizes, dropout, layer_norm, init, max_steps
        See `CellStack`.
    head : Head
        Meaning of the Q numbers per step.
    error_scale : ndarray, shape (H,)
        Spread of the baseline's training errors per step: the unit of z.
    start : Tensor, shape (H, ...)
        ``head.start`` of the training errors.
    """

    location: Tensor
    gain: Tensor
    change_gain: Tensor
    error_scale: Tensor
    start: Tensor

    def __init__(
        self,
        *,
        scale: InputScale,
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
        super().__init__()
        self.head = head
        self.horizon = len(error_scale)
        self.register_buffer("location", torch.from_numpy(scale.location).float())
        self.register_buffer("gain", torch.from_numpy(scale.gain).float())
        self.register_buffer("change_gain", torch.tensor(scale.change_gain).float())
        self.register_buffer("error_scale", torch.from_numpy(error_scale).float())
        self.register_buffer("start", start)
        self.cells = CellStack(
            len(scale.location) + 1,
            hidden_sizes,
            cell=cell,
            dropout=dropout,
            layer_norm=layer_norm,
            init=init,
            max_steps=max_steps,
        )
        self.decoder = nn.Linear(self.cells.hidden_sizes[-1], self.horizon * head.size)
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, x: Tensor, n_origins: int = 1) -> Tensor:
        """Decode all steps at each of the last `n_origins` rows, from the state of that row.

        Parameters
        ----------
        x : Tensor, shape (B, T, F)
            Feature rows (see `tsforecast.data.windows.Rows`).
        n_origins : int
            O.

        Returns
        -------
        Tensor, shape (B, O, H, Q)
        """
        states, _ = self.cells(self._inputs(x))  # (B, T, hidden)
        raw: Tensor = self.decoder(states[:, -n_origins:])  # (B, O, H Q)
        return raw.reshape(*raw.shape[:2], self.horizon, self.head.size)

    def _inputs(self, x: Tensor) -> Tensor:
        change = torch.diff(x[..., :1], dim=1, prepend=x[:, :1, :1]) * self.change_gain
        scaled = (x - self.location) * self.gain
        scaled[:, 0, -1] = 0.0
        return torch.asinh(torch.cat([scaled, change], dim=-1))

    def loss(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Loss per origin, a mean over its known steps, and how many steps are known.

        Parameters
        ----------
        x : Tensor, shape (B, T, F)
            Feature rows.
        z : Tensor, shape (B, O, H)
            Errors of the baseline in units of `error_scale`, NaN where unknown.

        Returns
        -------
        loss : Tensor, shape (B, O)
            Zero where no step is known.
        known : Tensor, shape (B, O)
            Number of known steps.
        """
        known = torch.isfinite(z)
        # cleaned before the loss: the gradient of 0 * NaN is NaN
        steps = self.head.loss(self(x, z.shape[1]), self.start, torch.where(known, z, 0.0))
        count = known.sum(-1)
        return (steps * known).sum(-1) / count.clamp(min=1), count

    def forecast(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Forecast at the last row, in the target's transformed unit, relative to the baseline.

        Parameters
        ----------
        x : Tensor, shape (B, T, F)
            Feature rows.

        Returns
        -------
        forecast : Tensor, shape (B, H)
        quantiles : Tensor, shape (B, H, J)
        """
        return self.in_units(self(x)[:, 0])

    def in_units(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Read raw numbers (B, H, Q) as forecast (B, H) and quantiles (B, H, J) in the unit."""
        forecast, quantiles = self.head.forecast(raw, self.start)
        return forecast * self.error_scale, quantiles * self.error_scale[:, None]
