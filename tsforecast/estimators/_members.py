"""What the members of an ensemble say, in the targets' own units.

One network, or several from different seeds, and the chain of transforms that leads back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from torch import Tensor

from tsforecast.data.panel import Floats, Ints
from tsforecast.data.pipeline import TargetTransform
from tsforecast.data.windows import Rows, eligible_origins
from tsforecast.nn.heads import Point, Quantiles
from tsforecast.nn.network import ForecastNetwork

__all__ = ["CHUNK", "Members"]

CHUNK = 1024  # windows per call of a network outside training
_MOST_NUMBERS = 4_000_000  # that a call may give
_MOST_RESIDUALS = 512  # origins behind the dependence of steps on each other
# probabilities that stand for a distribution: where it is mixed, and where its mean is taken
_GRID = (np.arange(99) + 0.5) / 99
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()


@dataclass
class Members:
    """The networks of a fitted forecaster.

    Attributes
    ----------
    networks : list of ForecastNetwork
        They differ in their weights alone.
    chain : TargetTransform
        The way back to the targets' own units.
    least_history : int
        Rows of context that an origin must have.
    shape : dict
        How windows are cut; see `Rows.windows`.
    """

    networks: list[ForecastNetwork]
    chain: TargetTransform
    least_history: int
    shape: dict[str, int]

    def learn(self, rows: Rows, origins: Ints) -> None:
        """Learn from residuals how steps hang together, and what a mean behind a transform needs.

        Parameters
        ----------
        rows : Rows
        origins : ndarray of int64, shape (n,)
            Of the validation part, or of training where there is none; some of them are used.
        """
        origins = origins[:: -(-len(origins) // _MOST_RESIDUALS)]
        _, unit = self._base_and_unit(rows, origins)
        said = torch.cat(
            [self._points(rows, origins[c], told)[0] for c, told in self._told(rows, origins)]
        )
        errors = rows.errors(origins, self.shape["horizon"]) / unit.numpy()
        residuals = errors - said.numpy()  # z, (n, K, H)
        residuals[0, ~np.isfinite(residuals).any(axis=0)] = 0.0
        smear = np.nanquantile(residuals, _GRID[2::5], axis=0)  # (G, K, H)
        # centred: where the way back is linear, the mean stays where it is
        self._smear = smear - smear.mean(axis=0)
        ranks = rankdata(residuals, axis=0, nan_policy="omit")
        count = np.isfinite(residuals).sum(axis=0)
        scores = np.nan_to_num(ndtri((ranks - 0.5) / count)).reshape(len(residuals), -1)
        # a step with one residual goes its own way
        scores[:, np.square(scores).sum(axis=0) == 0] = 1e-9
        _, size, axes = np.linalg.svd(scores, full_matrices=False)
        factor = size[:, None] * axes  # (R, K H)
        self._dependence = factor / np.sqrt(np.square(factor).sum(axis=0))

    def ready(self, rows: Rows, origins: Ints) -> npt.NDArray[np.bool_]:
        """Which origins have enough context and a baseline, (n,)."""
        return eligible_origins(rows, self.least_history)[origins]

    def forecast(self, rows: Rows, origins: Ints) -> tuple[Floats, Floats]:
        """Forecast and quantiles of all members, (n, K, H) and (n, K, H, J)."""
        head, n_targets = self.networks[0].head, rows.target.shape[1]
        shape = (len(origins), n_targets, self.shape["horizon"])
        forecast, quantiles = np.empty(shape), np.empty((*shape, len(head.levels)))
        for chunk, told in self._told(rows, origins):
            forecast[chunk], quantiles[chunk] = self._combined(rows, origins[chunk], told)
        return forecast, quantiles

    def spread(self, rows: Rows, origins: Ints) -> Floats:
        """Standard deviation of the members' forecasts, (n, K, H)."""
        parts = []
        for chunk, told in self._told(rows, origins):
            here = origins[chunk]
            each = [self._one(rows, here, member, raw) for member, raw in enumerate(told)]
            parts.append(np.std(each, axis=0))
        return np.concatenate(parts)

    def sample(self, rows: Rows, origins: Ints, n: int, rng: np.random.Generator) -> Floats:
        """Draw `n` paths from each origin, the members taking turns: (n_origins, K, H, n)."""
        n_targets, horizon = rows.target.shape[1], self.shape["horizon"]
        turn = np.arange(n) % len(self.networks)
        values = np.empty((len(origins), n_targets, horizon, n))
        for chunk, told in self._told(rows, origins, per_origin=n * n_targets * horizon):
            here = origins[chunk]
            base, unit = self._base_and_unit(rows, here)
            scores = rng.standard_normal((len(here), n, len(self._dependence))) @ self._dependence
            u = np.clip(ndtr(scores), 1e-12, 1 - 1e-12).transpose(0, 2, 1)  # (m, K H, n)
            u = u.reshape(len(here), n_targets, horizon, n)
            for member, (network, raw) in enumerate(zip(self.networks, told)):
                mine = turn == member
                z = network.head.quantile(
                    raw, network.start.double(), base, unit, torch.from_numpy(u[..., mine])
                )
                values[chunk][..., mine] = self._whole(self._in_own_units(rows, here, z))
        return values

    def _told(
        self, rows: Rows, origins: Ints, *, per_origin: int = 1
    ) -> Iterator[tuple[slice, list[Tensor]]]:
        """Give, chunk by chunk, what each network says: raw numbers (n, K, H, Q), float64.

        Zeros, which mean the baseline, where an origin has too little context.
        """
        ready = self.ready(rows, origins)
        shape = (rows.target.shape[1], self.shape["horizon"], self.networks[0].head.size)
        step = int(np.clip(_MOST_NUMBERS // max(math.prod(shape), per_origin), 1, CHUNK))
        for at in range(0, len(origins), step):
            chunk = slice(at, min(at + step, len(origins)))
            may = ready[chunk]
            told = [torch.zeros(len(may), *shape, dtype=torch.float64) for _ in self.networks]
            if may.any():
                windows = rows.windows(origins[chunk][may], origins=1, **self.shape)
                with torch.inference_mode():
                    for raw, network in zip(told, self.networks):
                        raw[torch.from_numpy(may)] = network(windows)[:, 0].double()
            yield chunk, told

    def _base_and_unit(self, rows: Rows, origins: Ints) -> tuple[Tensor, Tensor]:
        """Baseline and unit of z at origins, (n, K, H) each, float64."""
        scale = self.networks[0].error_scale.double().numpy()
        unit = rows.unit[origins][:, :, None] * scale
        base = np.broadcast_to(rows.base[origins], unit.shape)
        return torch.from_numpy(base.copy()), torch.from_numpy(unit)

    def _in_own_units(self, rows: Rows, origins: Ints, z: Tensor) -> Floats:
        """Take z (n, K, H, ...) back to the targets' own units."""
        base, unit = (part.numpy()[..., None] for part in self._base_and_unit(rows, origins))
        return self.chain.push(base + unit * z.numpy(), origins, rows.layout, inverse=True)

    def _whole(self, values: Floats) -> Floats:
        """Counts are whole again after the way through z."""
        return np.rint(values) if self.networks[0].head.counts else values

    def _points(self, rows: Rows, origins: Ints, told: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Forecast z and its quantiles, means over the members."""
        base, unit = self._base_and_unit(rows, origins)
        said = [
            network.head.forecast(raw, network.start.double(), base, unit)
            for network, raw in zip(self.networks, told)
        ]
        return (
            torch.stack([point for point, _ in said]).mean(0),
            torch.stack([levels for _, levels in said]).mean(0),
        )

    def _combined(self, rows: Rows, origins: Ints, told: Sequence[Tensor]) -> tuple[Floats, Floats]:
        head = self.networks[0].head
        if len(told) > 1 and not isinstance(head, Point | Quantiles):
            both = self._mixed(rows, origins, told, (0.5, *head.levels))
        else:
            point, levels = self._points(rows, origins, told)
            both = self._in_own_units(rows, origins, torch.cat([point[..., None], levels], -1))
        forecast, quantiles = both[..., 0], self._whole(both[..., 1:])
        if head.mean:
            each = [self._one(rows, origins, member, raw) for member, raw in enumerate(told)]
            forecast = np.mean(each, axis=0)
        return forecast, quantiles

    def _mixed(
        self, rows: Rows, origins: Ints, told: Sequence[Tensor], levels: tuple[float, ...]
    ) -> Floats:
        """Quantiles of the mixture of the members' distributions, (n, K, H, J)."""
        base, unit = self._base_and_unit(rows, origins)
        u = torch.from_numpy(_GRID)
        parts = [
            network.head.quantile(raw, network.start.double(), base, unit, u)
            for network, raw in zip(self.networks, told)
        ]
        pooled = self._whole(self._in_own_units(rows, origins, torch.cat(parts, dim=-1)))
        whole = self.networks[0].head.counts
        quantiles = np.quantile(
            pooled, np.array(levels), axis=-1, method="inverted_cdf" if whole else "linear"
        )
        return np.moveaxis(np.asarray(quantiles), 0, -1)

    def _one(self, rows: Rows, origins: Ints, member: int, raw: Tensor) -> Floats:
        """Forecast of one member in the targets' own units, (n, K, H): its median or mean."""
        network = self.networks[member]
        head, start = network.head, network.start.double()
        base, unit = self._base_and_unit(rows, origins)
        z = head.forecast(raw, start, base, unit)[0][..., None]
        weights = np.ones(1)
        if head.mean and self.chain.fitted is not None:
            # behind a transform a mean is a mean over what comes back
            if not isinstance(head, Point):
                z = head.quantile(raw, start, base, unit, torch.from_numpy(ndtr(_NODES)))
                weights = _NODE_WEIGHTS
            elif head.error == "squared":  # over the residuals: Duan (1983)
                z = z + torch.from_numpy(np.moveaxis(self._smear, 0, -1))
                weights = np.full(len(self._smear), 1 / len(self._smear))
            # QLIKE is least at the logarithm of the mean
        return np.asarray(self._in_own_units(rows, origins, z) @ weights)
