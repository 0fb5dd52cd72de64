"""Heads: what the numbers mean that a network gives per origin and step.

A head works on errors of the baseline in units of their training spread, z, and holds no
weights.  Its raw numbers at zero mean exactly the baseline: a point head then forecasts z = 0,
a distribution head the spread of the baseline's training errors (its *start*, per step).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsforecast._checks import bad_parameter, choice
from tsforecast.data.frames import DECILES
from tsforecast.data.panel import Floats

__all__ = ["DECILES", "Head", "Point", "Quantiles", "as_head"]

# Distances between quantiles may shrink or grow by at most exp(3), about 20 times.
_MAX_LOG_STRETCH = 3.0


@runtime_checkable
class Head(Protocol):
    """What a network and its training need of a head."""

    @property
    def size(self) -> int:
        """Q, the raw numbers per step."""

    @property
    def levels(self) -> tuple[float, ...]:
        """The J quantile levels that it gives; none for a point."""

    def start(self, errors: Floats) -> Tensor:
        """Learn the start from training errors z of the baseline, (n, H) -> (H, ...)."""

    def loss(self, raw: Tensor, start: Tensor, z: Tensor) -> Tensor:
        """Loss of every step, (..., H, Q) and (..., H) -> (..., H); z holds no NaN."""

    def forecast(self, raw: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Forecast (..., H) and quantiles (..., H, J) of z."""


@dataclass(frozen=True)
class Point:
    """One number per step.

    Parameters
    ----------
    error : {"absolute", "squared", "huber"}
        The forecast is then the median, the mean, or something between, of the transformed
        target: back through a transform that is not linear, such as a logarithm, a mean does not
        stay a mean.
    delta : float
        Where Huber's loss turns from squared to absolute, in units of the baseline's training
        error.

    Examples
    --------
    >>> Point("squared").size
    1
    """

    error: Literal["absolute", "squared", "huber"] = "absolute"
    delta: float = 1.0

    def __post_init__(self) -> None:
        choice("error", self.error, ("absolute", "squared", "huber"))
        if not self.delta > 0:
            raise bad_parameter("delta", expected="a number above 0", found=self.delta)

    @property
    def size(self) -> int:
        """One number per step."""
        return 1

    @property
    def levels(self) -> tuple[float, ...]:
        """A point has no quantiles."""
        return ()

    def start(self, errors: Floats) -> Tensor:
        """Nothing to learn: shape (H, 0)."""
        return torch.zeros(errors.shape[1], 0)

    def loss(self, raw: Tensor, start: Tensor, z: Tensor) -> Tensor:
        """Loss of every step, (..., H, 1) and (..., H) -> (..., H)."""
        point = raw[..., 0]
        if self.error == "absolute":
            return (z - point).abs()
        if self.error == "squared":
            return (z - point).square()
        return F.huber_loss(point, z, reduction="none", delta=self.delta)

    def forecast(self, raw: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """The number itself (..., H), and no quantiles (..., H, 0)."""
        return raw[..., 0], raw[..., :0]


@dataclass(frozen=True)
class Quantiles:
    """Quantiles that never cross; the forecast is the median.

    The raw numbers are the median and the logarithm of a stretch for each distance between
    neighbouring quantiles, whose start is the distance in the baseline's training errors:

        q_j - q_(j-1) = d_j exp(3 tanh(raw_j / 3)),  d_j > 0,

    so that quantiles are ordered by construction.  Loss: twice the pinball loss, mean over levels
    (in the limit of many levels, the continuous ranked probability score).

    Parameters
    ----------
    levels : tuple of float
        In increasing order, in (0, 1), 0.5 among them. Default: the nine deciles.

    Examples
    --------
    >>> Quantiles((0.05, 0.5, 0.95)).size
    3
    """

    levels: tuple[float, ...] = DECILES

    def __post_init__(self) -> None:
        levels = tuple(float(level) for level in self.levels)
        increasing = all(a < b for a, b in zip(levels, levels[1:]))
        if not (levels and increasing and levels[0] > 0 and levels[-1] < 1 and 0.5 in levels):
            raise bad_parameter(
                "levels",
                expected="increasing numbers in (0, 1) with 0.5, the forecast, among them",
                found=self.levels,
            )
        object.__setattr__(self, "levels", levels)

    @property
    def size(self) -> int:
        """One number per level."""
        return len(self.levels)

    @property
    def _middle(self) -> int:
        return self.levels.index(0.5)

    def start(self, errors: Floats) -> Tensor:
        """Logarithms of the distances between quantiles of training errors, (H, J - 1)."""
        quantiles = np.nanquantile(errors, self.levels, axis=0).T  # (H, J)
        # equal neighbours occur in data with many unchanged values
        distances = np.maximum(np.diff(quantiles, axis=1), 1e-4)
        return torch.from_numpy(np.log(distances)).float()

    def _quantiles(self, raw: Tensor, start: Tensor) -> Tensor:
        """Quantiles of z (..., H, J)."""
        m = self._middle
        median = raw[..., m : m + 1]
        stretch = torch.cat([raw[..., :m], raw[..., m + 1 :]], dim=-1)  # (..., H, J - 1)
        stretch = _MAX_LOG_STRETCH * torch.tanh(stretch / _MAX_LOG_STRETCH)
        distances = torch.exp(start + stretch)
        below = median - distances[..., :m].flip(-1).cumsum(-1).flip(-1)
        above = median + distances[..., m:].cumsum(-1)
        return torch.cat([below, median, above], dim=-1)

    def loss(self, raw: Tensor, start: Tensor, z: Tensor) -> Tensor:
        """Loss of every step, (..., H, Q) and (..., H) -> (..., H)."""
        error = z[..., None] - self._quantiles(raw, start)
        level = torch.tensor(self.levels, dtype=raw.dtype, device=raw.device)
        return 2 * torch.maximum(level * error, (level - 1) * error).mean(-1)

    def forecast(self, raw: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Median (..., H) and quantiles (..., H, J) of z."""
        quantiles = self._quantiles(raw, start)
        return quantiles[..., self._middle], quantiles


def as_head(head: str | Head) -> Head:
    """Give the head that a name stands for, or the head itself."""
    named: dict[str, Head] = {"quantiles": Quantiles(), "point": Point()}
    if isinstance(head, str):
        choice("head", head, tuple(named))
        return named[head]
    if isinstance(head, type) or not isinstance(head, Head):
        raise bad_parameter("head", expected=f"one of {list(named)} or a head object", found=head)
    return head
