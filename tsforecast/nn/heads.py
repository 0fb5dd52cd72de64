"""Heads: what the numbers mean that a network gives per origin and step.

A head reads a target as base + unit * z: the baseline's forecast and its error z in units of the
baseline's training spread.  It holds no weights.  Its raw numbers at zero mean the baseline:
a point head then forecasts z = 0, a distribution head the baseline with the spread of its training
errors (its *start*, per step).  Whatever the raw numbers and the data (finite, |z| up to 1e12),
losses and their gradients stay finite: scales, shapes and rates are bounded by construction.

Shapes: leading dimensions are free, H steps, Q raw numbers, P numbers of the start, J levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.nn import functional as F

from tsforecast._checks import bad_parameter, choice
from tsforecast.data.frames import DECILES
from tsforecast.data.panel import Floats

__all__ = [
    "DECILES",
    "Bernoulli",
    "Classes",
    "Gaussian",
    "Head",
    "NegativeBinomial",
    "Point",
    "Poisson",
    "Quantiles",
    "StudentT",
    "as_head",
]

# Scales may shrink or grow by at most exp(3), about 20 times, against their start ...
MAX_LOG_STRETCH = 3.0
# ... and rates and odds by exp(8), about 3,000 times, against the baseline: a quiet series can
# burst.
MAX_LOG_RATE = 8.0
# Narrowest start of a scale, in units of the baseline's training error.
_NARROWEST = 1e-4
# QLIKE goes on as a straight line where the variance is exp(10), 22,000 times, the forecast.
_QLIKE_LINEAR = 10.0
# From this many scales on, a normal density goes on as a power.
_NORMAL_RANGE = 30.0
DEGREES = (2.1, 100.0)
_DISPERSIONS = (0.05, 1000.0)
# Least share of a class that a start takes it to have, and least probability of an event that a
# baseline is taken to mean.
RAREST = 1e-6
# Floor of a rate as a share of the step's mean training count, and its bounds: where series of
# very different size are pooled it must leave a baseline of 1 alone.
_FLOOR_SHARE, _FLOORS = 0.1, (1e-4, 0.5)
# From here on quantiles of counts are those of a gamma distribution of the same two moments.
_MANY = 2**17
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@runtime_checkable
class Head(Protocol):
    """What a network and its training need of a head."""

    @property
    def size(self) -> int:
        """Q, the raw numbers per step."""

    @property
    def location(self) -> int:
        """Which raw number moves the forecast as a whole."""

    @property
    def levels(self) -> tuple[float, ...]:
        """The J quantile levels that it gives; none for a point."""

    @property
    def mean(self) -> bool:
        """Whether the forecast is a mean, rather than a median."""

    @property
    def counts(self) -> bool:
        """Whether the target must be counts: whole, not negative, not transformed."""

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Learn the start (H, P) from training rows (n, H); NaN where unknown."""

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Loss of every step, (..., H, Q) and (..., H) -> (..., H); z, base, unit hold no NaN."""

    def forecast(
        self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Forecast (..., H) and quantiles (..., H, J) of z: float64, on the CPU, no gradient."""

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        """Give z (..., H, n) at probabilities u, (n,) or (..., H, n): float64, on the CPU."""


def _bounded(raw: Tensor, limit: float = MAX_LOG_STRETCH) -> Tensor:
    return limit * torch.tanh(raw / limit)


def _exact(*tensors: Tensor) -> list[Tensor]:
    """Detach for reading: in float64, which not every device has."""
    return [tensor.detach().cpu().double() for tensor in tensors]


def _inside(u: Tensor) -> Tensor:
    """Move probabilities off 0 and 1: uniform random numbers may be 0, where tails are infinite."""
    tiny = torch.finfo(torch.float64).eps
    return u.clamp(tiny, 1 - tiny)


def _increasing(levels: Sequence[float]) -> tuple[float, ...] | None:
    """Give levels as increasing floats in (0, 1), or None if they are not."""
    try:
        values = tuple(float(level) for level in levels)
    except (TypeError, ValueError):
        return None
    inside = all(0 < value < 1 for value in values)
    return values if inside and all(a < b for a, b in zip(values, values[1:])) else None


@dataclass(frozen=True)
class Point:
    """One number per step.

    Parameters
    ----------
    error : {"absolute", "squared", "huber", "qlike"}
        The forecast is the median, the mean, or something between, of the transformed target:
        back through a transform that is not linear, such as a logarithm, a mean does not stay a
        mean. "qlike" is for variances: the target column is a variance (not a volatility) and the
        transform ``tsf.Log()``, without a scaler after it. With u the logarithm of variance /
        forecast the loss is exp(u) - u - 1 (Patton 2011, "Volatility forecast comparison using
        imperfect volatility proxies", https://doi.org/10.1016/j.jeconom.2010.03.034, eq. 24,
        up to a constant), a straight line from u = 10 on; it is least where the forecast, back
        through the exponential, is the mean of the variance.
    delta : float
        Where Huber's loss turns from squared to absolute, in units of the baseline's training
        error.

    Examples
    --------
    >>> Point("squared").size
    1
    """

    error: Literal["absolute", "squared", "huber", "qlike"] = "absolute"
    delta: float = 1.0

    size: ClassVar[int] = 1
    location: ClassVar[int] = 0
    levels: ClassVar[tuple[float, ...]] = ()
    counts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        choice("error", self.error, ("absolute", "squared", "huber", "qlike"))
        if not self.delta > 0:
            raise bad_parameter("delta", expected="a number above 0", found=self.delta)

    @property
    def mean(self) -> bool:
        """Whether the forecast is a mean: for squared error and QLIKE."""
        return self.error in ("squared", "qlike")

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Nothing to learn: shape (H, 0)."""
        return torch.zeros(z.shape[1], 0)

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Loss of every step, (..., H, 1) and (..., H) -> (..., H)."""
        error = z - raw[..., 0]
        if self.error == "absolute":
            return error.abs()
        if self.error == "squared":
            return error.square()
        if self.error == "huber":
            return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.delta)
        u = unit * error
        curved = u.clamp(max=_QLIKE_LINEAR)
        return torch.expm1(curved) - curved + math.expm1(_QLIKE_LINEAR) * (u - curved)

    def forecast(
        self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The number itself (..., H), and no quantiles (..., H, 0)."""
        (raw,) = _exact(raw)
        return raw[..., 0], raw[..., :0]

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        """Refuse: a point has no quantiles and cannot be sampled.

        Raises
        ------
        ValueError
            Always; the message names heads that have a distribution.
        """
        raise bad_parameter(
            "head",
            expected="a distribution, to take samples or quantiles from",
            found=self,
            advice='A point has no spread; use head="studentt", or "poisson" for counts, and fit.',
        )


@dataclass(frozen=True)
class _Distribution:
    """Levels of a distribution, and its forecast in terms of `_centre` and `quantile`."""

    levels: tuple[float, ...] = DECILES

    counts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        levels = _increasing(self.levels)
        if levels is None:
            raise bad_parameter(
                "levels", expected="increasing numbers in (0, 1)", found=self.levels
            )
        object.__setattr__(self, "levels", levels)

    def _centre(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Mean or median of z (..., H)."""
        raise NotImplementedError

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        raise NotImplementedError

    def forecast(
        self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Forecast (..., H) and quantiles (..., H, J) of z."""
        raw, start, base, unit = _exact(raw, start, base, unit)
        levels = torch.tensor(self.levels, dtype=torch.float64)
        centre = self._centre(raw, start, base, unit)
        return centre, self.quantile(raw, start, base, unit, levels)


@dataclass(frozen=True)
class Quantiles(_Distribution):
    """Quantiles that never cross; the forecast is the median.

    The raw numbers are the median and the logarithm of a stretch for each distance between
    neighbouring quantiles, whose start is the distance in the baseline's training errors:

        q_j - q_(j-1) = d_j exp(3 tanh(raw_j / 3)),  d_j > 0,

    so that quantiles are ordered by construction.  Loss: twice the pinball loss, mean over levels
    (in the limit of many levels, the continuous ranked probability score).  Between trained levels
    quantiles are interpolated on the scale of normal scores, and the outermost pair goes on as
    the tails of a normal distribution.

    Parameters
    ----------
    levels : tuple of float
        In increasing order, in (0, 1), 0.5 among them. Default: the nine deciles.

    Examples
    --------
    >>> Quantiles((0.05, 0.5, 0.95)).size
    3
    """

    mean: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if 0.5 not in (_increasing(self.levels) or ()):
            raise bad_parameter(
                "levels",
                expected="increasing numbers in (0, 1) with 0.5, the forecast, among them",
                found=self.levels,
            )
        super().__post_init__()

    @property
    def size(self) -> int:
        """One number per level."""
        return len(self.levels)

    @property
    def location(self) -> int:
        """Place of the median among the levels."""
        return self.levels.index(0.5)

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Logarithms of the distances between quantiles of training errors, (H, J - 1)."""
        quantiles = np.nanquantile(z, self.levels, axis=0).T  # (H, J)
        # equal neighbours occur in data with many unchanged values
        distances = np.maximum(np.diff(quantiles, axis=1), _NARROWEST)
        return torch.from_numpy(np.log(distances)).float()

    def _quantiles(self, raw: Tensor, start: Tensor) -> Tensor:
        """Quantiles of z (..., H, J)."""
        m = self.location
        median = raw[..., m : m + 1]
        stretch = torch.cat([raw[..., :m], raw[..., m + 1 :]], dim=-1)  # (..., H, J - 1)
        distances = torch.exp(start + _bounded(stretch))
        below = median - distances[..., :m].flip(-1).cumsum(-1).flip(-1)
        above = median + distances[..., m:].cumsum(-1)
        return torch.cat([below, median, above], dim=-1)

    def _centre(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        return raw[..., self.location]

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Loss of every step, (..., H, Q) and (..., H) -> (..., H)."""
        error = z[..., None] - self._quantiles(raw, start)
        level = torch.tensor(self.levels, dtype=raw.dtype, device=raw.device)
        return 2 * torch.maximum(level * error, (level - 1) * error).mean(-1)

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        """Interpolate between trained quantiles, (n,) or (..., H, n) -> (..., H, n)."""
        raw, start, u = _exact(raw, start, u)
        known = self._quantiles(raw, start)  # (..., H, J)
        shape = (*known.shape[:-1], u.shape[-1])
        if len(self.levels) == 1:
            return known.expand(shape)
        at = torch.special.ndtri(torch.tensor(self.levels, dtype=torch.float64))
        score = torch.special.ndtri(_inside(u)).contiguous()
        right = torch.searchsorted(at, score).clamp(1, len(at) - 1)
        weight = (score - at[right - 1]) / (at[right] - at[right - 1])
        right = right.expand(shape)
        low, high = known.gather(-1, right - 1), known.gather(-1, right)
        return torch.lerp(low, high, weight.expand(shape))


@dataclass(frozen=True)
class _LocationScale(_Distribution):
    """Raw number 0 is the location, raw number 1 the log-change of the scale."""

    moves: bool = True
    location: ClassVar[int] = 0

    def _centre(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        return raw[..., 0] if self.moves else torch.zeros_like(raw[..., 0])

    def _scale(self, raw: Tensor, start: Tensor) -> Tensor:
        return torch.exp(start[..., 0] + _bounded(raw[..., 1]))

    def _score(self, raw: Tensor, start: Tensor, u: Tensor) -> Tensor:
        """Quantiles (..., H, n) at location 0 and scale 1."""
        raise NotImplementedError

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        """Exact quantiles of z, (n,) or (..., H, n) -> (..., H, n)."""
        raw, start, u = _exact(raw, start, u)
        score = self._score(raw, start, _inside(u))
        centre = self._centre(raw, start, base, unit)[..., None]
        return centre + self._scale(raw, start)[..., None] * score


@dataclass(frozen=True)
class Gaussian(_LocationScale):
    """Normal distribution; the forecast is its mean.

    The raw numbers are location and log-change of the scale, whose start is the root mean square of
    the baseline's training errors: scale = s exp(3 tanh(raw / 3)).  Loss: minus the logarithm of
    the density of z; from 30 scales on the density falls as a power, so that no spike and no
    jump of the level can break a batch.

    Parameters
    ----------
    levels : tuple of float
        Quantiles to give: in increasing order, in (0, 1), or none. Default: the nine deciles.
    moves : bool
        Whether the centre is learned. False leaves it where the baseline puts it, and learns the
        spread alone: for prices, whose next step nobody knows.

    Examples
    --------
    >>> Gaussian((0.1, 0.9)).size
    2
    """

    size: ClassVar[int] = 2
    mean: ClassVar[bool] = True

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Logarithm of the root mean square of training errors, (H, 1)."""
        scale = np.maximum(np.sqrt(np.nanmean(np.square(z), axis=0)), _NARROWEST)
        return torch.from_numpy(np.log(scale)).float()[:, None]

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Minus log-density of every step, (..., H, 2) and (..., H) -> (..., H)."""
        scale = self._scale(raw, start)
        size = (z - self._centre(raw, start, base, unit)).abs() / scale
        core = size.clamp(max=_NORMAL_RANGE).square() / 2
        tail = _NORMAL_RANGE**2 * (size.clamp(min=_NORMAL_RANGE) / _NORMAL_RANGE).log()
        return core + tail + scale.log() + _HALF_LOG_2PI

    def _score(self, raw: Tensor, start: Tensor, u: Tensor) -> Tensor:
        score: Tensor = torch.special.ndtri(u)
        return score


@dataclass(frozen=True)
class StudentT(_LocationScale):
    """Student's t distribution, for heavy tails; the forecast is its median.

    The raw numbers are location, log-change of the scale, s exp(3 tanh(raw / 3)), and change of
    the degrees of freedom, which stay between 2.1 and 100.  Scale and degrees start at their
    most likely values for the baseline's training errors.  Loss: minus the logarithm of the
    density of z.  The forecast is the median because behind a logarithm a Student-t has no mean.

    Parameters
    ----------
    levels : tuple of float
        Quantiles to give: in increasing order, in (0, 1), or none. Default: the nine deciles.
    moves : bool
        Whether the centre is learned. False leaves it where the baseline puts it, and learns the
        spread alone: for prices, whose next step nobody knows.

    Examples
    --------
    >>> StudentT((0.1, 0.9)).size
    3
    """

    size: ClassVar[int] = 3
    mean: ClassVar[bool] = False

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Log-scale and place of the degrees of freedom, fitted per step, (H, 2).

        The likelihood sees 200 quantiles of |z|, which makes its cost independent of n.
        """
        size = np.nanquantile(np.abs(z), (np.arange(200) + 0.5) / 200, axis=0)  # (200, H)
        place = np.linspace(0.02, 0.98, 25)[:, None]  # (25, 1), one row per candidate
        low, high = DEGREES
        df = low * (high / low) ** place
        scale = np.maximum(np.sqrt(np.mean(np.square(size), axis=0)), _NARROWEST)  # (H,)
        scale = np.repeat(scale[None], len(df), axis=0)  # (25, H)

        def squared(scale: Floats) -> Floats:
            return np.square(size / scale[:, None])  # (25, 200, H)

        for _ in range(50):  # expectation-maximisation of the scale at given degrees
            e2 = squared(scale)
            share = (df[..., None] + 1) * e2 / (df[..., None] + e2)
            scale = np.maximum(scale * np.sqrt(share.mean(axis=1)), _NARROWEST)
        likely = special.gammaln((df + 1) / 2) - special.gammaln(df / 2)
        likely = likely - np.log(df) / 2 - np.log(scale)
        likely = likely - (df + 1) / 2 * np.log1p(squared(scale) / df[..., None]).mean(axis=1)
        best = likely.argmax(axis=0)  # (H,)
        chosen = np.log(scale[best, np.arange(len(best))]), special.logit(place[best, 0])
        return torch.from_numpy(np.stack(chosen, axis=-1)).float()

    def _degrees(self, raw: Tensor, start: Tensor) -> Tensor:
        low, high = DEGREES
        return low * torch.exp(math.log(high / low) * torch.sigmoid(start[..., 1] + raw[..., 2]))

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Minus log-density of every step, (..., H, 3) and (..., H) -> (..., H)."""
        scale, df = self._scale(raw, start), self._degrees(raw, start)
        e2 = ((z - self._centre(raw, start, base, unit)) / scale).square()
        constant = torch.lgamma(df / 2) - torch.lgamma((df + 1) / 2) + (math.pi * df).log() / 2
        return constant + scale.log() + (df + 1) / 2 * torch.log1p(e2 / df)

    def _score(self, raw: Tensor, start: Tensor, u: Tensor) -> Tensor:
        df = self._degrees(raw, start)[..., None]
        return torch.from_numpy(special.stdtrit(df.numpy(), u.numpy()))


def _log_ratio(a: Tensor, b: Tensor) -> Tensor:
    """log(a / b) of positive numbers, exact also where they are nearly equal."""
    change = (a - b) / b
    near = change.abs() < 0.5
    return torch.where(near, torch.log1p(torch.where(near, change, 0.0)), (a / b).log())


def _stirling(x: Tensor) -> Tensor:
    """Logarithm of x! less Stirling's formula for it: what is left when large terms cancel."""
    few, many = x.clamp(max=10.0), x.clamp(min=10.0)
    direct = torch.lgamma(few + 1) - (few + 0.5) * few.log() + few - _HALF_LOG_2PI
    series = (1 / 12 - 1 / (360 * many.square())) / many
    return torch.where(x < 10, direct, series)


def _whole_quantiles(
    cdf: Callable[[Floats, Floats, Floats], Floats], u: Floats, mean: Floats, dispersion: Floats
) -> Floats:
    """Least whole numbers whose cumulative probability is at least u, block by block.

    Bisection below `_MANY`; searches without end in sight go wrong where a small dispersion meets
    a large mean. Above it a gamma distribution of the same mean and variance is as good.
    """
    with np.nditer(
        [u, mean, dispersion, None],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly"], ["readonly"], ["readonly"], ["writeonly", "allocate"]],
        buffersize=2**16,
    ) as blocks:
        for p, m, r, out in blocks:
            shape = 1 / (1 / m + 1 / r)
            out[...] = np.rint(special.gammaincinv(shape, p) * (m / shape))
            few = out < _MANY
            p, m, r = p[few], m[few], r[few]
            low, high = np.full_like(p, -1.0), np.full_like(p, _MANY - 1.0)
            for _ in range(_MANY.bit_length() - 1):  # the answer is in (low, high]
                middle = np.floor((low + high) / 2)
                enough = cdf(middle, m, r) >= p
                low, high = np.where(enough, low, middle), np.where(enough, middle, high)
            out[few] = high
        result: Floats = blocks.operands[3]
    return result


@dataclass(frozen=True)
class _Counts(_Distribution):
    """Distributions of counts with a rate that starts at the baseline; its loss is `_minus_log`."""

    location: ClassVar[int] = 0
    counts: ClassVar[bool] = True
    mean: ClassVar[bool] = True

    def _rate(self, raw: Tensor, start: Tensor, base: Tensor) -> Tensor:
        """Mean of the count (..., H)."""
        return torch.maximum(base, start[..., 0].exp()) * _bounded(raw[..., 0], MAX_LOG_RATE).exp()

    def _dispersion(self, raw: Tensor, start: Tensor) -> Tensor:
        """The r of variance = mean + mean^2 / r (..., H)."""
        return torch.full_like(start[..., 0], math.inf)

    def _minus_log(self, count: Tensor, rate: Tensor, dispersion: Tensor) -> Tensor:
        raise NotImplementedError

    def _cdf(self, count: Floats, mean: Floats, dispersion: Floats) -> Floats:
        raise NotImplementedError

    def _centre(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        return (self._rate(raw, start, base) - base) / unit

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Minus log-probability of every step's count, (..., H, Q) and (..., H) -> (..., H)."""
        # whole again after the trip through z in float32
        count = (base + unit * z).round().clamp(min=0.0)
        rate = self._rate(raw, start, base)
        return self._minus_log(count, rate, self._dispersion(raw, start))

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        """Whole numbers, as z: (n,) or (..., H, n) -> (..., H, n)."""
        raw, start, base, unit, u = _exact(raw, start, base, unit, u)
        rate = self._rate(raw, start, base)[..., None].numpy()
        dispersion = self._dispersion(raw, start)[..., None].numpy()
        whole = _whole_quantiles(self._cdf, _inside(u).numpy(), rate, dispersion)
        return (torch.from_numpy(whole) - base[..., None]) / unit[..., None]


def _counts_and_floor(z: Floats, base: Floats, unit: Floats) -> tuple[Floats, Floats]:
    """Training counts (n, H) and the least rate per step (H,)."""
    count = np.maximum(base + unit * z, 0.0)
    return count, np.clip(_FLOOR_SHARE * np.nanmean(count, axis=0), *_FLOORS)


@dataclass(frozen=True)
class Poisson(_Counts):
    """Poisson distribution of counts; the forecast is its mean.

    The target must be counts, without a transform.  rate = max(baseline, floor) exp(8 tanh(raw/8)),
    where the floor is a tenth of the step's mean training count, at most a half.  Loss: minus the
    logarithm of the probability of the count.  Quantiles are whole numbers; from 131,072 on they
    are those of a gamma distribution with the same mean and variance, rounded.

    Parameters
    ----------
    levels : tuple of float
        Quantiles to give: in increasing order, in (0, 1), or none. Default: the nine deciles.

    Examples
    --------
    >>> Poisson().counts
    True
    """

    size: ClassVar[int] = 1

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Logarithm of the least rate, (H, 1)."""
        _, floor = _counts_and_floor(z, base, unit)
        return torch.from_numpy(np.log(floor)).float()[:, None]

    def _minus_log(self, count: Tensor, rate: Tensor, dispersion: Tensor) -> Tensor:
        # deviance and remainder (Loader 2000): log-factorials of large counts would cancel
        some = count.clamp(min=1.0)
        rest = _stirling(some) + some.log() / 2 + _HALF_LOG_2PI
        deviance = rate - count - count * _log_ratio(rate, some)
        return deviance + torch.where(count > 0, rest, 0.0)

    def _cdf(self, count: Floats, mean: Floats, dispersion: Floats) -> Floats:
        result: Floats = special.gammaincc(count + 1, mean)
        return result


@dataclass(frozen=True)
class NegativeBinomial(_Counts):
    """Negative binomial distribution of counts; the forecast is its mean.

    The target must be counts, without a transform.  The mean is as the rate of `Poisson`, the
    variance mean + mean^2 / r; r starts at the moments of the training rows around the baseline
    and can move by a factor exp(3) either way.  Loss: minus the logarithm of the probability of
    the count.  Quantiles are whole numbers; from 131,072 on they are those of a gamma
    distribution with the same mean and variance, rounded.

    Parameters
    ----------
    levels : tuple of float
        Quantiles to give: in increasing order, in (0, 1), or none. Default: the nine deciles.

    Examples
    --------
    >>> NegativeBinomial((0.5, 0.95)).size
    2
    """

    size: ClassVar[int] = 2

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Logarithms of the least rate and of r, (H, 2)."""
        count, floor = _counts_and_floor(z, base, unit)
        rate = np.maximum(base, floor)
        weight = np.where(np.isnan(count), 0.0, 1 / np.square(1 + rate))  # large series do not rule
        excess = np.nansum(weight * (np.square(count - rate) - rate), axis=0)
        inverse = excess / np.nansum(weight * np.square(rate), axis=0)
        few, many = _DISPERSIONS
        dispersion = 1 / np.clip(inverse, 1 / many, 1 / few)
        return torch.from_numpy(np.log(np.stack([floor, dispersion], axis=-1))).float()

    def _dispersion(self, raw: Tensor, start: Tensor) -> Tensor:
        return torch.exp(start[..., 1] + _bounded(raw[..., 1]))

    def _minus_log(self, count: Tensor, rate: Tensor, dispersion: Tensor) -> Tensor:
        # deviance and remainder (Loader 2000): log-factorials of large counts would cancel
        r, some = dispersion, count.clamp(min=1.0)
        both = some + r
        rest = _stirling(r) + _stirling(some) - _stirling(both) + _HALF_LOG_2PI
        rest = rest + (both.log() - r.log() + some.log()) / 2
        ratio = torch.log1p((some - rate) / rate * (r / both))  # y (m + r) / (m (y + r))
        deviance = r * _log_ratio(rate + r, count + r) + count * ratio
        return deviance + torch.where(count > 0, rest, 0.0)

    def _cdf(self, count: Floats, mean: Floats, dispersion: Floats) -> Floats:
        result: Floats = special.betainc(dispersion, count + 1, dispersion / (dispersion + mean))
        return result


@dataclass(frozen=True)
class Bernoulli:
    """Probability of an event; the target is 1 where it happened and 0 where not.

    The forecast is the probability that the target is 1 at the step.  Its log-odds are

        log p / (1 - p) = log b / (1 - b) + 8 tanh(raw / 8)

    with b what the baseline says, kept within [1e-6, 1 - 1e-6].  With ``baseline=None`` that is
    the share of ones in the training rows, the base rate; a forecaster of probabilities, such as
    ``EWMA()``, will do as well, but "last" and "seasonal" say 0 or 1, which are no probabilities.
    Loss: cross-entropy.  There are no quantiles; sample paths are of zeros and ones.

    Notes
    -----
    Judge probabilities by the Brier score, which is the square of the column ``rmse`` of
    `evaluate`, and beside a forecast of the base rate: where events do not hang together in time,
    the last value, a forecast of 0 or 1, has twice its score.  A base rate is
    ``LagRegressor(estimator=DummyRegressor(), lags=1, relative=False, levels=())``, of
    scikit-learn's regressor that always says the mean.

    The absolute error is least at 0 or 1 and misleads, and so does ``score`` of a forecaster, which
    counts it: search with ``scoring=make_scorer("rmse")``.

    Examples
    --------
    >>> Bernoulli().levels
    ()
    """

    size: ClassVar[int] = 1
    location: ClassVar[int] = 0
    levels: ClassVar[tuple[float, ...]] = ()
    mean: ClassVar[bool] = True
    counts: ClassVar[bool] = True

    def start(self, z: Floats, base: Floats, unit: Floats) -> Tensor:
        """Nothing to learn beyond the baseline: shape (H, 0)."""
        return torch.zeros(z.shape[1], 0)

    def _logit(self, raw: Tensor, base: Tensor) -> Tensor:
        """Log-odds of the event (..., H)."""
        prior = torch.logit(base.clamp(RAREST, 1 - RAREST))
        return prior + _bounded(raw[..., 0], MAX_LOG_RATE)

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Cross-entropy of every step, (..., H, 1) and (..., H) -> (..., H)."""
        # 0 or 1 again after the trip through z in float32
        event = (base + unit * z).round().clamp(0.0, 1.0)
        logit = self._logit(raw, base)
        return F.binary_cross_entropy_with_logits(logit, event, reduction="none")

    def forecast(
        self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Probability as z (..., H), and no quantiles (..., H, 0)."""
        raw, base, unit = _exact(raw, base, unit)
        return (torch.sigmoid(self._logit(raw, base)) - base) / unit, raw[..., :0]

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        """Zeros and ones, as z: (n,) or (..., H, n) -> (..., H, n)."""
        raw, base, unit, u = _exact(raw, base, unit, u)
        event = (u > torch.sigmoid(-self._logit(raw, base))[..., None]).double()
        return (event - base[..., None]) / unit[..., None]


@dataclass(frozen=True)
class Classes:
    """Probabilities of classes, for `RecurrentClassifier`; z holds the code of the class.

    Two classes have one raw number, the change of the log-odds of code 1 (a sigmoid unit); more
    have one each, the change of their log-probability before the softmax.  It starts at the
    frequencies of the training samples, so that raw numbers of zero forecast these.  Loss:
    cross-entropy.

    Parameters
    ----------
    n_classes : int
        Codes are 0, 1, ..., n_classes - 1.

    Examples
    --------
    >>> Classes(2).size, Classes(3).size
    (1, 3)
    """

    n_classes: int = 2

    location: ClassVar[int] = 0
    levels: ClassVar[tuple[float, ...]] = ()
    mean: ClassVar[bool] = False
    counts: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """One number for two classes, else one per class."""
        return 1 if self.n_classes == 2 else self.n_classes

    def start(
        self, z: Floats, base: Floats, unit: Floats, *, weight: Floats | None = None
    ) -> Tensor:
        """Log-odds of code 1, or log-probabilities of all codes, in samples z (n, H): (H, size).

        Parameters
        ----------
        z : ndarray, shape (n, H)
            Codes.
        base, unit : ndarray, shape (n, H)
            Not used.
        weight : ndarray, shape (n,), optional
            Of the samples.
        """
        shares = np.stack(
            [np.average(z == code, axis=0, weights=weight) for code in range(self.n_classes)], -1
        )
        shares = np.clip(shares, RAREST, 1 - RAREST)
        logits = special.logit(shares[:, 1:]) if self.size == 1 else np.log(shares)
        return torch.from_numpy(logits).float()

    def loss(self, raw: Tensor, start: Tensor, z: Tensor, base: Tensor, unit: Tensor) -> Tensor:
        """Cross-entropy of every step, (..., H, size) and (..., H) -> (..., H)."""
        logits = raw + start
        if self.size == 1:
            return F.binary_cross_entropy_with_logits(logits[..., 0], z, reduction="none")
        log_probability = F.log_softmax(logits, dim=-1)
        return -log_probability.gather(-1, z[..., None].long())[..., 0]

    def logits(self, raw: Tensor, start: Tensor) -> Tensor:
        """Give what comes before sigmoid or softmax (..., H, size): float64, on the CPU."""
        raw, start = _exact(raw, start)
        return raw + start

    def probabilities(self, raw: Tensor, start: Tensor) -> Tensor:
        """Give those of all classes (..., H, n_classes): float64, on the CPU, no gradient."""
        logits = self.logits(raw, start)
        if self.size == 1:  # each tail from its own side: 1 - p would lose small ones
            return torch.sigmoid(torch.cat([-logits, logits], dim=-1))
        return torch.softmax(logits, dim=-1)

    def forecast(
        self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Code of the most likely class (..., H), and no quantiles (..., H, 0)."""
        likely = self.probabilities(raw, start).argmax(dim=-1).double()
        return likely, likely[..., None][..., :0]

    def quantile(self, raw: Tensor, start: Tensor, base: Tensor, unit: Tensor, u: Tensor) -> Tensor:
        """Refuse: classes have no order.

        Raises
        ------
        ValueError
            Always.
        """
        raise bad_parameter(
            "head",
            expected="a distribution of numbers, to take samples or quantiles from",
            found=self,
            advice="Ask for probabilities of classes.",
        )


def as_head(head: str | Head) -> Head:
    """Give the head of a forecaster that a name stands for, or the head itself."""
    named: dict[str, Callable[[], Head]] = {
        "quantiles": Quantiles,
        "point": Point,
        "gaussian": Gaussian,
        "studentt": StudentT,
        "poisson": Poisson,
        "negbinomial": NegativeBinomial,
        "bernoulli": Bernoulli,
    }
    if isinstance(head, str):
        choice("head", head, tuple(named))
        return named[head]()
    if isinstance(head, type | Classes) or not isinstance(head, Head):
        classes = isinstance(head, Classes)
        raise bad_parameter(
            "head",
            expected=f"one of {list(named)} or a head object",
            found=head,
            advice="Classes are learned by RecurrentClassifier." if classes else None,
        )
    return head
