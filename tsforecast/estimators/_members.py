"""What the members of an ensemble say, in the targets' own units.

One network, or several from different seeds, and the chain of transforms that leads back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sklearn
import torch
from scipy.special import ndtr, ndtri, stdtr
from scipy.stats import rankdata
from torch import Tensor

from tsforecast._checks import bad_parameter
from tsforecast.data.panel import Floats, Ints
from tsforecast.data.pipeline import TargetTransform
from tsforecast.data.splits import spread_evenly
from tsforecast.data.windows import Rows, Shape, eligible_origins
from tsforecast.nn.heads import (
    Gaussian,
    Head,
    NegativeBinomial,
    Point,
    Poisson,
    Quantiles,
    StudentT,
)
from tsforecast.nn.inference import Known, remembered
from tsforecast.nn.network import ForecastNetwork
from tsforecast.nn.threads import FEW, at_once, in_order

__all__ = ["Members"]

_BLOCK = 512  # origins decoded in one go: what is computed of them stays in the cache
_COPIES = 8  # of each number that are there for a while, on the way to a forecast
_MOST_RESIDUALS = 512  # origins behind the dependence of steps on each other
_ENOUGH_RESIDUALS = 10
# normal scores of the quantiles that stand for a distribution of unknown form where it is mixed
_SCORES = np.linspace(-8.0, 8.0, 401)
_HALVINGS = 24  # of the distance between members, to a quantile of their mixture
# probabilities at which a mean is taken
_FEW = (np.arange(20) + 0.5) / 20
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()


@dataclass(frozen=True)
class _Block:
    """Some origins, and what the networks remember there.

    Attributes
    ----------
    at, origins : ndarray of int64, shape (n,)
        Positions among all origins, and rows.
    ready : ndarray of bool, shape (n,)
        Which of them have enough context.
    states : list of Tensor, shape (m, hidden)
        For each network, of those that are ready.
    """

    at: Ints
    origins: Ints
    ready: npt.NDArray[np.bool_]
    states: list[Tensor]


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
    shape : Shape
        How windows are cut.
    known : Known or None
        What they remember of the rows of `fit`, where their context is the whole history.
    """

    networks: list[ForecastNetwork]
    chain: TargetTransform
    least_history: int
    shape: Shape
    known: Known | None = None

    def learn(self, rows: Rows, origins: Ints) -> None:
        """Learn from residuals how steps hang together, and what a mean behind a transform needs.

        Parameters
        ----------
        rows : Rows
        origins : ndarray of int64, shape (n,)
            Of the validation part, or of training where there is none; some of them are used.
        """
        stamps = rows.layout.when(origins)
        origins = origins[spread_evenly(stamps, _MOST_RESIDUALS)]
        _, unit = self._base_and_unit(rows, origins)
        residuals = rows.errors(origins, self.shape.horizon) / unit.numpy()  # z, (n, K, H)
        for block in self._blocks(rows, origins):
            said, _ = self._points(rows, block.origins, self._told(rows, block))
            residuals[block.at] -= said.numpy()
        residuals[0, ~np.isfinite(residuals).any(axis=0)] = 0.0
        smear = np.nanquantile(residuals, _FEW, axis=0)  # (G, K, H)
        # centred: where the way back is linear, the mean stays where it is
        self._smear = np.ascontiguousarray(smear - smear.mean(axis=0))
        ranks = rankdata(residuals, axis=0, nan_policy="omit")
        count = np.isfinite(residuals).sum(axis=0)
        scores = np.nan_to_num(ndtri((ranks - 0.5) / count)).reshape(len(residuals), -1)
        if len(scores) < _ENOUGH_RESIDUALS or count.min() < _ENOUGH_RESIDUALS:
            self._dependence = np.eye(scores.shape[1])  # too few to learn it from
            return
        _, size, axes = np.linalg.svd(scores, full_matrices=False)
        factor = size[:, None] * axes  # (R, K H)
        length = np.sqrt(np.square(factor).sum(axis=0))
        flat = length < 1e-9  # a step that never errs goes its own way
        own = np.eye(len(flat))[flat]
        self._dependence = np.vstack([factor * ~flat / np.where(flat, 1.0, length), own])

    @property
    def _is_mixed(self) -> bool:
        """Whether distributions are mixed; points and quantiles are averaged."""
        return len(self.networks) > 1 and not isinstance(self.networks[0].head, Point | Quantiles)

    def ready(self, rows: Rows, origins: Ints) -> npt.NDArray[np.bool_]:
        """Which origins have enough context and a baseline, (n,)."""
        return eligible_origins(rows, self.least_history, origins)

    def forecast(self, rows: Rows, origins: Ints) -> tuple[Floats, Floats]:
        """Forecast and quantiles of all members, (n, K, H) and (n, K, H, J)."""
        head, n_targets = self.networks[0].head, rows.target.shape[1]
        shape = (len(origins), n_targets, self.shape.horizon)
        forecast, quantiles = np.empty(shape), np.empty((*shape, len(head.levels)))
        per_origin = len(_SCORES) * len(self.networks) * math.prod(shape[1:])  # at most

        def say(block: _Block) -> None:
            told = self._told(rows, block)
            forecast[block.at], quantiles[block.at] = self._combined(rows, block.origins, told)

        blocks = self._blocks(rows, origins, per_origin=per_origin if self._is_mixed else 1)
        # transforms that are not ours need not be safe to call from several threads
        alone = len(origins) <= FEW or not self.chain.all_ours
        for _ in (at_once if alone else in_order)(say, blocks):
            pass
        return forecast, quantiles

    def spread(self, rows: Rows, origins: Ints) -> Floats:
        """Standard deviation of the members' forecasts, (n, K, H)."""
        result = np.full((len(origins), rows.target.shape[1], self.shape.horizon), np.nan)
        if len(self.networks) > 1:
            for block in self._blocks(rows, origins):
                told = enumerate(self._told(rows, block))
                each = [self._one(rows, block.origins, member, raw) for member, raw in told]
                result[block.at] = np.std(each, axis=0)
        return result

    def sample(self, rows: Rows, origins: Ints, n: int, rng: np.random.Generator) -> Floats:
        """Draw `n` paths from each origin, (n_origins, K, H, n).

        The members of a mixture take turns, and it is drawn who begins.
        """
        n_targets, horizon = rows.target.shape[1], self.shape.horizon
        begins = rng.integers(len(self.networks)) if self._is_mixed else 0
        turn = (begins + np.arange(n)) % len(self.networks)
        values = np.empty((len(origins), n_targets, horizon, n))
        for block in self._blocks(rows, origins, per_origin=n * n_targets * horizon):
            here, told = block.origins, self._told(rows, block)
            base, unit = self._base_and_unit(rows, here)
            scores = rng.standard_normal((len(here), n, len(self._dependence))) @ self._dependence
            u = np.clip(ndtr(scores), 1e-12, 1 - 1e-12).transpose(0, 2, 1)  # (m, K H, n)
            u = u.reshape(len(here), n_targets, horizon, n)
            z = torch.zeros(u.shape, dtype=torch.float64)
            for member, (network, raw) in enumerate(zip(self.networks, told)):
                mine = torch.from_numpy(turn == member if self._is_mixed else turn >= 0)
                z[..., mine] += network.head.quantile(
                    raw, network.start.double(), base, unit, torch.from_numpy(u)[..., mine]
                )
            if not self._is_mixed:
                z /= len(self.networks)
            values[block.at] = self._whole(self._in_own_units(rows, here, z))
        return values

    def _blocks(self, rows: Rows, origins: Ints, *, per_origin: int = 1) -> Iterator[_Block]:
        """Cut origins into blocks, and run the networks up to them."""
        ready = self.ready(rows, origins)
        numbers = rows.target.shape[1] * self.shape.horizon * self.networks[0].head.size
        size = max(numbers, per_origin) * 8 * _COPIES
        step = int(min(_BLOCK, max(1, self._allowed(size, "one forecast") // size)))
        known = None
        if self.known is not None and rows.ends is None:
            known = self.known.found(self.networks, rows)
        for group in self._groups(rows, origins):
            may = ready[group]
            states = remembered(self.networks, rows, origins[group[may]], self.shape, known)
            done = np.concatenate([[0], np.cumsum(may)])
            for start in range(0, len(group), step):
                stop = min(start + step, len(group))
                at = group[start:stop]
                mine = slice(done[start], done[stop])
                yield _Block(at, origins[at], may[start:stop], [state[mine] for state in states])

    def _told(self, rows: Rows, block: _Block) -> list[Tensor]:
        """What each network says at a block of origins: raw numbers (n, K, H, Q), float64.

        Zeros, which mean the baseline, where an origin has too little context.
        """
        shape = (rows.target.shape[1], self.shape.horizon, self.networks[0].head.size)
        beside = rows.origins(block.origins[block.ready], self.shape)
        told = []
        for network, state in zip(self.networks, block.states):
            with torch.inference_mode():
                raw = network.decode(state[:, None], beside)[:, 0].double()
            if not block.ready.all():
                whole = torch.zeros(len(block.at), *shape, dtype=torch.float64)
                whole[torch.from_numpy(block.ready)] = raw
                raw = whole
            told.append(raw)
        return told

    def _groups(self, rows: Rows, origins: Ints) -> Iterator[Ints]:
        """Cut the positions of origins into groups of whole series that memory has room for."""
        size = 4 * sum(network.cells.hidden_sizes[-1] for network in self.networks)
        series = rows.series_of(origins)
        order = np.argsort(series, kind="stable")
        ends = np.flatnonzero(np.diff(series[order], append=-1)) + 1
        longest = int(np.diff(ends, prepend=0).max(initial=1))
        most = self._allowed(size * longest, f"{longest} origins of one series") // size
        start = 0
        while start < len(order):
            stop = int(ends[np.searchsorted(ends, start + most, side="right") - 1])
            yield order[start:stop]
            start = stop

    def _allowed(self, needed: int, what: str) -> int:
        """Bytes of scikit-learn's working memory; refuse one that is too small."""
        allowed = int(sklearn.get_config()["working_memory"] * 2**20)
        if needed > allowed:
            raise bad_parameter(
                "working_memory",
                expected=f"at least {-(-needed // 2**20)} MiB, the need of {what}",
                found=f"{allowed / 2**20:g} MiB",
                advice="Raise it with sklearn.set_config(working_memory=...).",
            )
        return allowed

    def _base_and_unit(self, rows: Rows, origins: Ints) -> tuple[Tensor, Tensor]:
        """Baseline (0 where there is none) and unit of z at origins, (n, K, H) each, float64."""
        scale = self.networks[0].error_scale.double().numpy()
        unit = rows.unit[origins][:, :, None] * scale
        base = np.broadcast_to(np.nan_to_num(rows.base[origins]), unit.shape)
        return torch.from_numpy(base.copy()), torch.from_numpy(np.nan_to_num(unit, nan=1.0))

    def _in_own_units(self, rows: Rows, origins: Ints, z: Tensor) -> Floats:
        """Take z (n, K, H, ...) back to the targets' own units."""
        _, unit = self._base_and_unit(rows, origins)
        base = np.broadcast_to(rows.base[origins], unit.shape)  # NaN where there is none
        values = base[..., None] + unit.numpy()[..., None] * z.numpy()
        return self.chain.push(values, origins, rows.layout, inverse=True)

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
        mean = None
        if head.mean:
            each = [self._one(rows, origins, member, raw) for member, raw in enumerate(told)]
            mean = np.mean(each, axis=0)
            if not head.levels:
                return mean, np.empty((*mean.shape, 0))
        if self._is_mixed:
            both = self._mixed(rows, origins, told, (0.5, *head.levels))
        else:
            point, levels = self._points(rows, origins, told)
            both = self._in_own_units(rows, origins, torch.cat([point[..., None], levels], -1))
        return both[..., 0] if mean is None else mean, self._whole(both[..., 1:])

    def _mixed(
        self, rows: Rows, origins: Ints, told: Sequence[Tensor], levels: tuple[float, ...]
    ) -> Floats:
        """Quantiles of the mixture of the members' distributions, (n, K, H, J).

        Each lies between those of the members, and is found there by bisection.
        """
        head = self.networks[0].head
        base, unit = (part[..., None] for part in self._base_and_unit(rows, origins))
        u = torch.tensor(levels, dtype=torch.float64)
        own, shares = [], []
        for network, raw in zip(self.networks, told):
            given = raw, network.start.double(), base[..., 0], unit[..., 0]
            z = head.quantile(*given, u)
            own.append(torch.round(base + unit * z) if head.counts else z)
            shares.append(_share_up_to(head, *given))
        each = torch.stack(own)
        low, high = each.amin(0), each.amax(0)  # the answer is in [low, high]
        step = int(head.counts)
        halvings = _HALVINGS
        if step:
            apart = (high - low).nan_to_num().flatten().tolist()
            halvings = int(max(apart, default=0)).bit_length()
        for _ in range(halvings):
            middle = torch.floor((low + high) / 2) if step else (low + high) / 2
            enough = sum(share(middle) for share in shares) / len(shares) >= u
            low, high = torch.where(enough, low, middle + step), torch.where(enough, middle, high)
        z = (high - base) / unit if head.counts else high
        return self._whole(self._in_own_units(rows, origins, z))

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


def _share_up_to(
    head: Head, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor
) -> Callable[[Tensor], Tensor]:
    """Distribution function of one member: values (n, K, H, J), of z or counts, to probabilities.

    Exact for the heads of this package; of another head interpolated between quantiles on the
    scale of normal scores.
    """
    if isinstance(head, Gaussian | StudentT):
        centre = head._centre(raw, start, base, unit)[..., None]
        scale = head._scale(raw, start)[..., None]
        if isinstance(head, Gaussian):
            return lambda z: torch.from_numpy(ndtr(((z - centre) / scale).numpy()))
        degrees = head._degrees(raw, start)[..., None].numpy()
        return lambda z: torch.from_numpy(stdtr(degrees, ((z - centre) / scale).numpy()))
    if isinstance(head, Poisson | NegativeBinomial):
        rate = head._rate(raw, start, base)[..., None].numpy()
        dispersion = head._dispersion(raw, start)[..., None].numpy()
        return lambda count: torch.from_numpy(head._cdf(count.numpy(), rate, dispersion))
    scores = torch.from_numpy(_SCORES)
    known = head.quantile(raw, start, base, unit, torch.from_numpy(ndtr(_SCORES))).contiguous()
    if head.counts:
        known = torch.round(base[..., None] + unit[..., None] * known)

    def share(value: Tensor) -> Tensor:
        right = torch.searchsorted(known, value, right=True).clamp(1, len(scores) - 1)
        low, high = known.gather(-1, right - 1), known.gather(-1, right)
        weight = ((value - low) / (high - low)).nan_to_num().clamp(0, 1)
        score = torch.lerp(scores[right - 1], scores[right], weight)
        return torch.from_numpy(ndtr(score.numpy()))

    return share
