"""The network of a trader: a position at every row, learned by what it earns after costs.

Letters of shapes are those of `tsforecast.data.windows`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tsforecast.data.features import Features
from tsforecast.data.panel import Floats
from tsforecast.data.windows import Windows
from tsforecast.nn.cells import Cell, Init
from tsforecast.nn.network import Encoder, InputScale, Noise

__all__ = ["Holdings", "PositionNetwork", "sharpe_values"]

# Spread of the returns below which a Sharpe ratio stops rewarding small positions, in units of
# what full positions have: those that lose shrink towards nothing.
_LEAST_SPREAD = 0.1


class Holdings(NamedTuple):
    """What positions at the origins of a batch of windows are worth.

    Attributes
    ----------
    scale : Tensor, shape (B, O + 1)
        Largest weight at the row before the first origin, and at each of the O origins: 0 where
        nothing can be held.
    returns : Tensor, shape (B, O)
        Return that the position decided at each origin earns, as a fraction.
    weight : Tensor, shape (B, O)
        1 where it is known and counts, else 0.
    """

    scale: Tensor
    returns: Tensor
    weight: Tensor


class PositionNetwork(Encoder):
    """Stacked recurrent cells and a position in [-1, 1] that starts at zero.

    From the state s of a row:

        x = tanh(w s + b),    w and b zero at the start

    The loss of a batch is minus the annualised Sharpe ratio of all returns in it, of all series
    and times together, after costs (the Sharpe loss and the turnover regularisation of Lim, Zohren
    and Roberts 2019), where position x of largest weight v earns

        v x r - c |v x - v' x'|,    with v' x' one row before.

    It is no mean over rows, so that pieces of a batch give `sums`, and `pooled` makes the loss of
    their total. Small positions count by the spread that full ones would have: the spread below
    the line is sqrt(variance + (s / 10)^2), with s that of full positions.

    Parameters
    ----------
    features, scale, static, n_codes, cell, hidden_sizes, dropout, layer_norm, init, max_steps
        See `Encoder`.
    unit : float
        s, the root mean square return of full positions in the training rows.
    cost : float
        c, of the weight traded, as a fraction.
    periods : float
        Rows of a year.
    """

    unit: Tensor

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
        unit: float,
        cost: float,
        periods: float,
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
        self.register_buffer("unit", torch.tensor([unit], dtype=torch.float32))
        self.cost = cost
        self.periods = periods
        self.decoder = nn.Linear(self.width, 1)
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def decode(self, states: Tensor) -> Tensor:
        """Positions x of states (..., hidden): (...)."""
        position: Tensor = torch.tanh(self.decoder(states))[..., 0]
        return position

    def noise(self, batch: tuple[Any, ...]) -> Noise:
        """Draw what `sums` of a batch take as noise; empty outside of training."""
        return self.cells.noise(batch[0].x)

    def net_returns(self, windows: Windows, holdings: Holdings, noise: Noise = ()) -> Tensor:
        """Give what the positions at the origins earn after costs, in units of s: (B, O)."""
        states, _ = self.encode(windows.x, windows.static, windows.codes, noise=noise)
        n_origins = holdings.returns.shape[1]
        steps = torch.arange(-1, n_origins, device=states.device)
        # where a window begins with its first origin nothing was held before: its scale is 0
        at = (windows.at[:, None] + steps).clamp(min=0)
        picked = states.gather(1, at[:, :, None].expand(-1, -1, states.shape[2]))
        held = holdings.scale * self.decode(picked)  # (B, O + 1)
        traded = held.diff(dim=1).abs()
        return (held[:, 1:] * holdings.returns - self.cost * traded) / self.unit

    def sums(self, windows: Windows, holdings: Holdings, noise: Noise = ()) -> Tensor:
        """Sums over a batch, or a piece of one: returns, their squares, how many, (3,)."""
        net = self.net_returns(windows, holdings, noise)
        weight = holdings.weight
        return torch.stack([(weight * net).sum(), (weight * net.square()).sum(), weight.sum()])

    def pooled(self, sums: Tensor) -> Tensor:
        """Minus the annualised Sharpe ratio, of sums over a whole batch."""
        mean, square = sums[:2] / sums[2].clamp(min=1e-12)
        variance = (square - mean.square()).clamp(min=0.0)
        ratio: Tensor = mean / (variance + _LEAST_SPREAD**2).sqrt()
        return -math.sqrt(self.periods) * ratio


def sharpe_values(returns: Floats) -> Floats:
    r"""Numbers whose mean is the Sharpe ratio of returns, and whose errors are its errors, (n,).

    .. math::
        \text{SR} + \frac{r_i - m}{s} - \frac{\text{SR}}{2}
        \left(\frac{(r_i - m)^2}{s^2} - 1\right)

    the ratio and its influence function, by which a standard error of their mean, over blocks of
    time, is one of the ratio. All zero where the returns do not vary.

    Parameters
    ----------
    returns : ndarray, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> sharpe_values(np.array([1.0, 3.0])).mean()
    np.float64(2.0)
    """
    mean, spread = returns.mean(), returns.std()
    if not spread > 0:
        return np.zeros_like(returns)
    score, ratio = (returns - mean) / spread, mean / spread
    result: Floats = ratio + score - ratio / 2 * (score**2 - 1)
    return result
