"""Tests of value at risk and expected shortfall on arrays: the count of hits, and their pattern.

A *hit* is a return below minus the value at risk.  Under a correct model hits are independent draws
of the probability `level`.  The statistics are those of the literature.  Their chi-squared limits
are poor where few hits are expected (2.5 in a year of days at 1 %), so that the p-values are those
of Monte Carlo tests, which are exact in samples of any size: the statistic is ranked among those of
simulated hits (Dufour 2006, Monte Carlo tests with nuisance parameters; Christoffersen and
Pelletier 2004, Backtesting value-at-risk: a duration-based approach).  Equal ranks are told apart
by a second look where there is one, else at random.  All is seeded by `random_state` and the hits,
so that a p-value can be had again; series of one length share their simulated samples, and series
with the same hits, such as none, the lot that breaks their ties.  So the p-value of hits is exact
over `random_state`; of one series it is conditional on the seed, and of many series with one seed
too many or too few are rejected.  Give each a `random_state` of its own, as `risk_table` does.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from tsforecast._checks import bad_parameter, positive_int
from tsforecast.metrics import pinball_loss

__all__ = [
    "RiskTest",
    "acerbi_szekely",
    "check_level",
    "christoffersen",
    "christoffersen_independence",
    "dynamic_quantile",
    "kupiec",
    "tick_loss",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_DRAWS = 1999  # simulated samples; (draws + 1) * .05 is whole
_SHAPE = 0.2  # of the losses beyond the value at risk
_RANK = 1e-10  # relative size of an eigenvalue that is none
_SMALL = 1e-9  # relative size of what is left of a column that others explain
_DIGITS = 9  # statistics that agree so far are ties


@dataclass(frozen=True)
class RiskTest:
    """The outcome of a test of value at risk or expected shortfall.

    Attributes
    ----------
    statistic : float
        Finite for any sample.
    p : float
        P-value in the sample at hand, see the module.
    p_asymptotic : float
        By the limit of the statistic in long samples, which textbooks give; NaN where there is
        none. It misleads where few hits are expected.
    n : int
        Rows tested: those with everything known.
    hits : int
        Hits among them.
    """

    statistic: float
    p: float
    p_asymptotic: float
    n: int
    hits: int


def tick_loss(actual: npt.ArrayLike, quantile: npt.ArrayLike, level: float) -> Floats:
    """Loss of a quantile forecast per row: smallest in expectation at the true quantile.

    `tsforecast.metrics.pinball_loss` by the name that it has in finance; see there how it misleads.

    Parameters
    ----------
    actual, quantile : array-like
        Returns, and their forecast quantile: *minus* the value at risk.
    level : float
        In (0, 1).

    Returns
    -------
    numpy.ndarray
        In the unit of the return.

    Examples
    --------
    >>> tick_loss([-3.0, 1.0], [-2.0, -2.0], 0.05).round(2).tolist()
    [0.95, 0.15]
    """
    return pinball_loss(actual, quantile, check_level(level))


def kupiec(hits: npt.ArrayLike, level: float, *, random_state: int = 0) -> RiskTest:
    r"""Test whether hits are as frequent as they should be.

    .. math:: LR = 2 \log \frac{\hat\pi^k (1 - \hat\pi)^{n - k}}{\alpha^k (1 - \alpha)^{n - k}},
        \quad \hat\pi = k / n

    (Kupiec 1995, Techniques for verifying the accuracy of risk measurement models.) Its
    distribution is that of a function of a binomial number, and `p` comes from there.

    To read: a small p says that so wrong a count is rare under the level claimed; whether hits are
    too many or too few, the count tells. It misleads in short samples, where it finds little: a
    year of days at 1 % cannot tell 1 % from 2 %. It says nothing of clusters.

    Parameters
    ----------
    hits : array-like of bool, shape (n,)
        Whether the return fell below minus the value at risk; NaN where unknown, left out.
    level : float
        Probability of a hit that is claimed, in (0, 1).
    random_state : int
        Of the ties; over it, `p` is exact. See the notes.

    Returns
    -------
    RiskTest
        `p_asymptotic` by chi-squared with one degree of freedom.

    Raises
    ------
    ValueError
        If hits are no 0 and 1 in one axis, none is known, or the level is not in (0, 1).

    Notes
    -----
    Samples with the same count have the same statistic, and that count may be likely: with 250 rows
    at 1 %, no hit at all has a probability of 8 %. Such ties are broken at random, else the test of
    5 % would reject in 1 % of samples, and by chi-squared it does in 9.5 %. Where the answer hangs
    on it, another `random_state` tells.

    So the size is exact over `random_state`, and conditional on it for one series: the same hits
    get the same p under one seed, and of many series without a hit either all are rejected or none.
    Give each series a seed of its own; `risk_table` takes it from the returns.

    Examples
    --------
    >>> import numpy as np
    >>> year = np.arange(252) < 20  # J.P. Morgan in 1998: 20 hits at 5 %
    >>> test = kupiec(year, 0.05)
    >>> round(test.statistic, 2), round(test.p_asymptotic, 3)
    (3.91, 0.048)
    """
    from scipy.stats import binom, chi2

    known, level = _hits(hits), check_level(level)
    n, count = len(known), int(known.sum())
    ratios = _coverage_ratio(np.arange(n + 1), n, level)
    chances = binom.pmf(np.arange(n + 1), n, level)
    own = ratios[count]
    above, same = chances[ratios > own].sum(), chances[ratios == own].sum()
    p = float(above + same * _generator(random_state, known).random())
    return RiskTest(float(own), min(p, 1.0), float(chi2.sf(own, 1)), n, count)


def christoffersen_independence(hits: npt.ArrayLike, *, random_state: int = 0) -> RiskTest:
    """Test whether a hit makes another one in the next row more, or less, likely.

    The likelihood ratio of a Markov chain of first order against independent hits (Christoffersen
    1998, Evaluating interval forecasts, section 3.2). `p` ranks it among samples with as many hits
    in random places, and is right whatever the probability of a hit. Ties, which abound where hits
    are few, are broken by how close hits lie (the sum of one over the distances of neighbours).

    To read: a small p says that hits cluster (or, rarely, avoid each other): the forecast reacts
    too slowly to a storm. It misleads where hits are few: two neighbours among five decide.

    Parameters
    ----------
    hits : array-like of bool, shape (n,)
        In order of time; NaN where unknown, left out.
    random_state : int
        Of the ties that are left; over it, `p` is exact, and conditional on it for one series, as
        of `kupiec`.

    Returns
    -------
    RiskTest
        `p` is 1 with fewer than two hits, or fewer than two rows without one: nothing can be said.
        `p_asymptotic` by chi-squared with one degree of freedom.

    Raises
    ------
    ValueError
        If hits are no 0 and 1 in one axis, or none is known.

    Examples
    --------
    >>> import numpy as np
    >>> year = np.zeros(252, dtype=bool)
    >>> year[10:241:10] = True
    >>> round(christoffersen_independence(year).statistic, 2)  # never one after the other
    5.08
    """
    from scipy.stats import chi2

    known = _hits(hits)
    n, count = len(known), int(known.sum())
    own = _keys(_chain_ratio(known[None]), known[None])
    statistic = float(own[0, 0])
    p = 1.0
    if min(count, n - count) > 1:
        p = _rank(own[0], _permuted(n, count), _generator(random_state, known))
    return RiskTest(statistic, p, float(chi2.sf(statistic, 1)), n, count)


def christoffersen(hits: npt.ArrayLike, level: float, *, random_state: int = 0) -> RiskTest:
    """Test frequency and independence of hits together: conditional coverage.

    The sum of the statistics of `kupiec` and `christoffersen_independence` (Christoffersen 1998,
    section 3.3). `p` ranks it among samples of independent hits of probability `level`, ties broken
    as there.

    To read: a small p says that hits are not independent draws of this probability; the two parts
    tell which half is wrong. It misleads where only one half matters: the other costs power.

    Parameters
    ----------
    hits : array-like of bool, shape (n,)
        In order of time; NaN where unknown, left out.
    level : float
        Probability of a hit that is claimed, in (0, 1).
    random_state : int
        Of the ties that are left; over it, `p` is exact, and conditional on it for one series, as
        of `kupiec`.

    Returns
    -------
    RiskTest
        `p_asymptotic` by chi-squared with two degrees of freedom.

    Raises
    ------
    ValueError
        As for `kupiec`.

    Examples
    --------
    >>> import numpy as np
    >>> test = christoffersen(np.arange(250) % 100 == 99, 0.01)
    >>> test.hits, round(test.statistic, 2), test.p > 0.3
    (2, 0.14, True)
    """
    from scipy.stats import chi2

    known, level = _hits(hits), check_level(level)
    n, count = len(known), int(known.sum())
    own = _joint_keys(known[None], level)
    p = _rank(own[0], _independent(n, level), _generator(random_state, known))
    return RiskTest(float(own[0, 0]), p, float(chi2.sf(own[0, 0], 2)), n, count)


def dynamic_quantile(
    hits: npt.ArrayLike,
    var: npt.ArrayLike,
    level: float,
    *,
    lags: int = 4,
    random_state: int = 0,
) -> RiskTest:
    r"""Test whether hits can be foreseen from the hits before or from the value at risk itself.

    Hits less their level are regressed on a constant, the last `lags` hits and the value at risk;
    under a correct model all coefficients are zero:

    .. math:: DQ = \frac{h' X (X' X)^+ X' h}{\alpha (1 - \alpha)}

    (Engle and Manganelli 2004, CAViaR: Conditional autoregressive value at risk by regression
    quantiles, the out-of-sample test.) `p` ranks it among samples of independent hits of
    probability `level` beside the same values at risk.

    To read: the sharpest of the tests here; a small p says that some day could have been known to
    be more dangerous than was said, or that the count is wrong. It misleads in short samples, where
    one pair of close hits may decide.

    Parameters
    ----------
    hits : array-like of bool, shape (n,)
        In order of time; rows with a NaN here or there are left out.
    var : array-like, shape (n,)
        Value at risk, known before the return.
    level : float
        Probability of a hit that is claimed, in (0, 1).
    lags : int
        Hits before that are looked at.
    random_state : int
        Of the samples drawn.

    Returns
    -------
    RiskTest
        `p_asymptotic` by chi-squared with as many degrees of freedom as `X` has independent
        columns: ``lags + 2``, less where a column does not move (no hits at all, a constant value
        at risk).

    Raises
    ------
    ValueError
        If the arrays do not fit together, or hold fewer than ``4 * (lags + 2)`` known rows.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> var = np.exp(rng.normal(size=500))
    >>> hits = rng.random(500) < 0.05
    >>> dynamic_quantile(hits, var, 0.05).p > 0.05
    True
    >>> dynamic_quantile(var > np.quantile(var, 0.95), var, 0.05).p < 0.01
    True
    """
    from scipy.stats import chi2

    level, lags = check_level(level), positive_int("lags", lags)
    values = _floats("var", var)
    given = _marks(hits)
    if given.shape != values.shape:
        raise bad_parameter(
            "var", expected=f"one number for each of {len(given)} hits", found=values.shape
        )
    known = np.isfinite(values) & ~np.isnan(given)
    marks, values = given[known] > 0, values[known]
    if len(marks) < least_rows(lags):
        raise bad_parameter(
            "hits",
            expected=f"at least {least_rows(lags)} known rows for {lags} lags",
            found=f"{len(marks)}",
        )
    spread = values.std()
    moves = spread > 1e-9 * np.abs(values).max(initial=0.0)
    values = (values - values.mean()) / spread if moves else np.zeros(len(values))
    seed = positive_int("random_state", random_state, least=0)
    own, rank = _foreseen(_hit_sums(marks[None], level, lags), values)
    null, _ = _foreseen(_drawn_sums(len(marks), level, lags, seed), values)
    p = _rank(own, null[:, None], _generator(seed, marks))
    asymptotic = float(chi2.sf(own[0], rank[0]))
    return RiskTest(float(own[0]), p, asymptotic, len(marks), int(marks.sum()))


def acerbi_szekely(
    returns: npt.ArrayLike,
    var: npt.ArrayLike,
    es: npt.ArrayLike,
    level: float,
    *,
    random_state: int = 0,
) -> RiskTest:
    r"""Test whether losses beyond the value at risk exceed what the expected shortfall says.

    .. math:: Z_2 = 1 + \sum_t \frac{r_t \, 1(r_t < -VaR_t)}{n \alpha \, ES_t}

    (Acerbi and Szekely 2014, Back-testing expected shortfall, test 2.) Its expectation is 0 for a
    correct model, and negative where risk is understated, be it by too many hits or by too large
    ones. One-sided: a small p says that risk is understated.

    `p` ranks it among samples of a correct model: hits are independent and lie beyond the value
    at risk by amounts of mean ``es - var``. Their distribution is the only assumption: generalised
    Pareto of shape 0.2, between the tails of a normal distribution (0) and of Student's t with 3
    degrees of freedom (1/3). The statistic hardly depends on it, as the paper finds: the true size
    of 5 % is 4 to 6.5 % from the one to the other.

    To read: -0.7 in a year of days at 2.5 % is about the limit of 5 %, whatever the distribution.
    It misleads when read as a test of the size of losses alone: it counts hits as well.

    Parameters
    ----------
    returns : array-like, shape (n,)
        What happened.
    var, es : array-like, shape (n,)
        Value at risk and expected shortfall at `level`, as losses. Rows with a NaN in any of
        the three are left out.
    level : float
        In (0, 1).
    random_state : int
        Of the samples drawn.

    Returns
    -------
    RiskTest
        `statistic` is 1 without any hit, and `p` then 1; no `p_asymptotic`.

    Raises
    ------
    ValueError
        If the arrays do not fit together, no row is known, or a shortfall is not positive or below
        its value at risk.

    Examples
    --------
    >>> import numpy as np
    >>> returns = np.random.default_rng(0).normal(size=1000)
    >>> test = acerbi_szekely(returns, np.full(1000, 1.96), np.full(1000, 2.338), 0.025)
    >>> test.p > 0.05
    True
    >>> acerbi_szekely(1.3 * returns, np.full(1000, 1.96), np.full(1000, 2.338), 0.025).p < 0.01
    True
    """
    level = check_level(level)
    arrays = [_floats(*pair) for pair in (("returns", returns), ("var", var), ("es", es))]
    if len({array.shape for array in arrays}) > 1:
        raise bad_parameter(
            "es", expected="three arrays of one length", found=[a.shape for a in arrays]
        )
    known = np.isfinite(arrays).all(axis=0)
    if not known.any():
        raise bad_parameter("returns", expected="at least one row without NaN", found="none")
    given, risk, shortfall = (array[known] for array in arrays)
    slack = 1e-9 * np.abs(shortfall)
    wrong = ~((shortfall > 0) & (shortfall >= risk - slack))
    if wrong.any():
        raise bad_parameter(
            "es",
            expected="positive losses, each at least the value at risk",
            found=f"{int(wrong.sum())} rows that are not",
            advice="Losses are positive numbers: minus the mean of the returns in the tail.",
        )
    n, hit = len(given), given < -risk
    own = 1 + float((given[hit] / shortfall[hit]).sum()) / (n * level)
    rng = _generator(random_state, hit)
    # the share of the shortfall that is lost at the edge of the tail, at the rows of random hits
    edge = np.minimum(risk / shortfall, 1.0)
    counts = rng.binomial(n, level, size=_DRAWS)
    edges = edge[rng.integers(n, size=counts.sum())]
    beyond = (1 - _SHAPE) / _SHAPE * np.expm1(_SHAPE * rng.exponential(size=len(edges)))
    lost = edges + beyond * (1 - edges)
    sample = np.repeat(np.arange(_DRAWS), counts)
    null = 1 - np.bincount(sample, weights=lost, minlength=_DRAWS) / (n * level)
    p = _rank(np.array([-own]), -null[:, None], rng) if hit.any() else 1.0
    return RiskTest(own, p, math.nan, n, int(hit.sum()))


def check_level(level: float, *, name: str = "level") -> float:
    """Return a level as a float, or raise unless it lies in (0, 1)."""
    number = isinstance(level, int | float | np.floating) and not isinstance(level, bool)
    if not number or not 0 < level < 1:
        raise bad_parameter(
            name,
            expected="the probability of a hit, a number in (0, 1)",
            found=level,
            advice="A value at risk of 99 % has the level 0.01.",
        )
    return float(level)


def least_rows(lags: int) -> int:
    """Rows that `dynamic_quantile` wants."""
    return 4 * (lags + 2)


# -------------------------------------------------------------------------------------- input


def _marks(hits: npt.ArrayLike) -> Floats:
    """0, 1 and NaN, (n,)."""
    given = np.asarray(hits, dtype=float)
    if given.ndim != 1 or not np.isin(given[~np.isnan(given)], (0.0, 1.0)).all():
        raise bad_parameter(
            "hits",
            expected="one axis of True and False (or 1 and 0), NaN where unknown",
            found=hits,
            advice="Hits are `returns < -value_at_risk`.",
        )
    return given


def _hits(hits: npt.ArrayLike) -> Bools:
    """Those that are known; at least one."""
    given = _marks(hits)
    known = given[~np.isnan(given)] > 0
    if len(known) == 0:
        raise bad_parameter("hits", expected="at least one known row", found="none")
    return known


def _floats(name: str, values: npt.ArrayLike) -> Floats:
    given = np.asarray(values, dtype=float)
    if given.ndim != 1:
        raise bad_parameter(name, expected="one axis of numbers", found=given.shape)
    return given


def _generator(random_state: int, hits: Bools) -> np.random.Generator:
    """Random numbers of these hits."""
    seed = positive_int("random_state", random_state, least=0)
    return np.random.default_rng([seed, len(hits), zlib.crc32(np.packbits(hits).tobytes())])


# --------------------------------------------------------------------------------- statistics


def _coverage_ratio(count: npt.ArrayLike, n: int, level: float) -> Floats:
    """Kupiec's likelihood ratio of counts (B,) of hits among n."""
    k = np.asarray(count, dtype=float)
    free = xlogy(k, k / n) + xlogy(n - k, (n - k) / n)
    bound = k * math.log(level) + (n - k) * math.log1p(-level)
    return np.asarray(np.round(np.maximum(2 * (free - bound), 0.0), _DIGITS))


def _chain_ratio(hits: Bools) -> Floats:
    """Christoffersen's likelihood ratio of samples (B, n), (B,)."""
    both = (hits[:, 1:] & hits[:, :-1]).sum(axis=1).astype(float)
    after = hits[:, 1:].sum(axis=1) - both  # a hit after none
    before = hits[:, :-1].sum(axis=1) - both  # none after a hit
    neither = hits.shape[1] - 1 - both - after - before

    def entropy(one: Floats, other: Floats) -> Floats:
        total = np.maximum(one + other, 1.0)
        return np.asarray(xlogy(one, one / total) + xlogy(other, other / total))

    ratio = entropy(neither, after) + entropy(before, both)
    ratio -= entropy(neither + before, after + both)
    return np.asarray(np.round(np.maximum(2 * ratio, 0.0), _DIGITS))


def _closeness(hits: Bools) -> Floats:
    """Sum of one over the distances of neighbouring hits, of samples (B, n), (B,)."""
    sample, at = np.nonzero(hits)
    within = sample[1:] == sample[:-1]
    near = 1.0 / np.diff(at)[within]
    return np.round(np.bincount(sample[1:][within], weights=near, minlength=len(hits)), _DIGITS)


def _keys(ratio: Floats, hits: Bools) -> Floats:
    """What samples are ranked by, the statistic first, (B, 2)."""
    return np.stack([ratio, _closeness(hits)], axis=1)


def _joint_keys(hits: Bools, level: float) -> Floats:
    coverage = _coverage_ratio(hits.sum(axis=1), hits.shape[1], level)
    return _keys(np.round(coverage + _chain_ratio(hits), _DIGITS), hits)


@dataclass(frozen=True, eq=False)
class _HitSums:
    """What the regression of samples (B, N) of hits needs of them: a constant and Q - 1 lags."""

    sample: npt.NDArray[np.int32]  # of each hit, and its row
    at: npt.NDArray[np.int32]
    inverse: Floats  # of X'X, (B, Q, Q), without the value at risk, and X'h, (B, Q)
    cross: Floats
    rank: npt.NDArray[np.intp]  # (B,)
    n: int
    level: float


def _hit_sums(hits: Bools, level: float, lags: int) -> _HitSums:
    """Sums over a constant and the hits before; hits are few: all run over them alone."""
    n_samples, n = hits.shape
    sample, at = np.nonzero(hits)
    rows = n - lags

    def total(which: Any, lag: int) -> Floats:
        """Number of rows in which these hits stand `lag` rows before, (B,)."""
        row = at[which] + lag
        inside = (row >= lags) & (row < n)
        return np.bincount(sample[which][inside], minlength=n_samples).astype(float)

    # hits that have another one `apart` rows before them
    place = sample * (n + lags) + at
    pairs = {
        apart: np.concatenate(
            [k + np.flatnonzero(place[k:] - place[:-k] == apart) for k in range(1, apart + 1)]
        )
        for apart in range(1, lags + 1)
    }
    gram = np.empty((n_samples, lags + 1, lags + 1))
    cross = np.empty((n_samples, lags + 1))
    every = slice(None)
    gram[:, 0, 0] = rows
    cross[:, 0] = total(every, 0) - level * rows
    for i in range(1, lags + 1):
        gram[:, 0, i] = gram[:, i, i] = total(every, i)
        cross[:, i] = total(pairs[i], 0) - level * gram[:, 0, i]
        for j in range(i + 1, lags + 1):
            gram[:, i, j] = total(pairs[j - i], i)
    low = np.tril_indices(lags + 1, -1)
    gram[:, low[0], low[1]] = gram[:, low[1], low[0]]
    inverse = np.asarray(np.linalg.pinv(gram, rcond=_RANK, hermitian=True), dtype=np.float64)
    traces = np.trace(gram, axis1=1, axis2=2)
    rank = np.linalg.matrix_rank(gram, tol=_RANK * traces, hermitian=True)
    places = sample.astype(np.int32), at.astype(np.int32)
    return _HitSums(*places, inverse, cross, rank, n, level)


def _foreseen(sums: _HitSums, values: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Statistic of the regression with a value (N,) added to it, and number of columns, (B,)."""
    n_samples, width = sums.cross.shape
    lags = width - 1
    used = np.concatenate([np.zeros(lags), values[lags:], np.zeros(lags)])  # 0 outside the rows
    size = float(used @ used)
    beside = np.empty((n_samples, width))  # the value times the other columns
    beside[:, 0] = used.sum()
    for i in range(1, width):
        beside[:, i] = np.bincount(sums.sample, used[sums.at + i], n_samples)
    cross = np.bincount(sums.sample, used[sums.at], n_samples) - sums.level * used.sum()
    explained = np.einsum("bij,bj->bi", sums.inverse, beside)
    # by blocks: what the value adds is the part of it that the others do not explain
    own = size - (explained * beside).sum(axis=1)
    cross -= (explained * sums.cross).sum(axis=1)
    adds = own > _SMALL * max(size, 1.0)
    total = np.einsum("bi,bij,bj->b", sums.cross, sums.inverse, sums.cross)
    total += np.divide(cross**2, own, out=np.zeros(n_samples), where=adds)
    statistic = total / (sums.level * (1 - sums.level))
    return np.round(np.maximum(statistic, 0.0), 6), sums.rank + adds


# ----------------------------------------------------------------------------- the null, drawn


@lru_cache(maxsize=4)  # large where rows are many
def _drawn_sums(n: int, level: float, lags: int, seed: int) -> _HitSums:
    """Of samples of independent hits."""
    rng = np.random.default_rng([seed, n])
    return _hit_sums(rng.random((_DRAWS // 2, n), dtype=np.float32) < level, level, lags)


@lru_cache(maxsize=64)
def _independent(n: int, level: float) -> Floats:
    """Ranks of samples of independent hits, (B, 2)."""
    rng = np.random.default_rng(n)
    parts = [rng.random((200, n), dtype=np.float32) < level for _ in range(_DRAWS // 200 + 1)]
    return np.concatenate([_joint_keys(part, level) for part in parts])[:_DRAWS]


@lru_cache(maxsize=1024)
def _permuted(n: int, count: int) -> Floats:
    """Ranks of samples with so many hits in random places, (B, 2)."""
    rng = np.random.default_rng([n, count])
    parts = []
    for _ in range(_DRAWS // 200 + 1):
        order = np.argpartition(rng.random((200, n), dtype=np.float32), count, axis=1)
        hits = np.zeros((200, n), dtype=bool)
        np.put_along_axis(hits, order[:, :count], True, axis=1)
        parts.append(_keys(_chain_ratio(hits), hits))
    return np.concatenate(parts)[:_DRAWS]


def _rank(own: Floats, null: Floats, rng: np.random.Generator) -> float:
    """P-value of a sample with keys (C,) among drawn ones (B, C), the first key first."""
    above = np.zeros(len(null), dtype=bool)
    same = np.ones(len(null), dtype=bool)
    for value, drawn in zip(own, null.T):
        above |= same & (drawn > value)
        same &= drawn == value
    ties = int(same.sum())
    return (int(above.sum()) + int(rng.integers(ties + 1)) + 1) / (len(null) + 1)
