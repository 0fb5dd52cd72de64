"""Sharpe ratios with their uncertainty, and what is left of them when many strategies were tried.

Every function takes returns per period (one row a day, say) as fractions, after costs where costs
are to count, and knows nothing of how they were earned. Ratios are annual, of returns without a
riskless rate: subtract it before, if there is one to count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kurtosis, norm, rankdata, skew
from scipy.stats import t as student

from tsforecast._checks import bad_parameter, fail, first, positive_int
from tsforecast.backtesting.search import Tuning

__all__ = [
    "LEAST",
    "DeflatedSharpe",
    "Overfitting",
    "SharpeRatio",
    "backtest_overfitting",
    "count_trials",
    "deflated_sharpe",
    "expected_maximum",
    "minimum_track_record",
    "probabilistic_sharpe",
    "sharpe_difference",
    "sharpe_ratio",
]

Floats = npt.NDArray[np.float64]

LEAST = 10  # periods below which no standard error is given
_SAME = 1e-12  # spread, relative to size, that is rounding
_MOST_BLOCKS = 20  # 184,756 splits


@dataclass(frozen=True)
class SharpeRatio:
    """A Sharpe ratio, or the difference of two, and how well it is known.

    Attributes
    ----------
    value : float
        Annual. NaN for returns that never move, and for fewer than two periods.
    se : float
        Its standard error; NaN for fewer than ten periods.
    p : float
        One-sided p-value of "it is above zero"; ``1 - p`` is that of "below".
    n_periods : int
        Number of returns.
    """

    value: float
    se: float
    p: float
    n_periods: int


@dataclass(frozen=True)
class DeflatedSharpe:
    """A Sharpe ratio beside the best that as many worthless trials are expected to show.

    Attributes
    ----------
    probability : float
        That the true Sharpe ratio is above zero, knowing that the best of `n_trials` was taken:
        the deflated Sharpe ratio.
    sharpe : float
        Annual Sharpe ratio of the returns.
    expected_maximum : float
        Annual Sharpe ratio that the best of `n_trials` worthless strategies is expected to show.
    n_trials : int
        Strategies tried.
    """

    probability: float
    sharpe: float
    expected_maximum: float
    n_trials: int


@dataclass(frozen=True, eq=False)
class Overfitting:
    """What becomes of the best of many strategies on periods that did not choose it.

    Attributes
    ----------
    probability : float
        Share of the splits in which the strategy that is best in sample lies in the lower half
        out of sample: the probability of backtest overfitting.
    probability_of_loss : float
        Share of the splits in which its Sharpe ratio out of sample is below zero.
    slope : float
        Of its Sharpe ratio out of sample on that in sample; negative: the better it looked, the
        worse it was. NaN where it always looked equally good.
    splits : DataFrame
        One row for each split: ``chosen`` (the trial that is best in sample), ``in_sample`` and
        ``out_of_sample`` (its Sharpe ratios, per period), ``logit`` (of its relative rank out of
        sample: 0 is the middle).
    n_trials : int
        Strategies tried.
    """

    probability: float
    probability_of_loss: float
    slope: float
    splits: pd.DataFrame
    n_trials: int

    def __repr__(self) -> str:
        return (
            f"Overfitting(probability={self.probability:.3g}, "
            f"probability_of_loss={self.probability_of_loss:.3g}, slope={self.slope:.3g}, "
            f"n_trials={self.n_trials}, n_splits={len(self.splits)})"
        )


def sharpe_ratio(
    returns: npt.ArrayLike, *, periods: float = 252.0, lags: int | None = None
) -> SharpeRatio:
    """Give the annual Sharpe ratio of returns, with a standard error for dependent ones.

    The error is that of Lo (2002): the delta method on mean and variance, here with a Newey-West
    estimate, so that neither fat tails nor autocorrelation nor changing volatility is assumed
    away. The p-value is of Student's t with n - 1 degrees of freedom.

    To read: about two standard errors from zero are needed before a ratio is more than luck: an
    annual ratio of 1 over one year has an error of about 1. A nominal 5 % was, in simulations with
    fat tails, GARCH, skewness or an autocorrelation of .2, 5 to 7 % for 250 and 1,000 periods and
    6 to 8 % for 60. It misleads when the strategy was chosen among many (see `deflated_sharpe`),
    and where returns have rare large losses that have not happened yet.

    Parameters
    ----------
    returns : array-like, shape (n,)
        Returns per period, in order of time, as fractions.
    periods : float
        Periods in a year: 252 for sessions. Mean and variance are multiplied by it, which takes
        returns of different days for uncorrelated (Lo 2002 shows how far off it is if they are
        not).
    lags : int, optional
        Of the Newey-West estimate. Default: the cube root of n, rounded up.

    Returns
    -------
    SharpeRatio

    Raises
    ------
    ValueError
        If returns are missing or infinite or have more than one axis, or a parameter cannot be
        used.

    Examples
    --------
    >>> import numpy as np
    >>> daily = 0.0005 + 0.01 * np.random.default_rng(0).standard_normal(1000)
    >>> ratio = sharpe_ratio(daily)
    >>> round(ratio.value, 2), round(ratio.se, 2), round(ratio.p, 2)
    (0.03, 0.5, 0.47)
    """
    values = _returns(returns)
    n = len(values)
    annual = math.sqrt(_per_year(periods))
    lags = _lags(lags, n)
    mean, sd = _mean_and_sd(values)
    if not sd > 0:
        return SharpeRatio(math.nan, math.nan, math.nan, n)
    ratio = mean / sd
    se = _error_of_mean(_influence(values), lags)
    return SharpeRatio(ratio * annual, se * annual, _p_above(ratio, se, n), n)


def sharpe_difference(
    returns: npt.ArrayLike,
    benchmark: npt.ArrayLike,
    *,
    periods: float = 252.0,
    lags: int | None = None,
) -> SharpeRatio:
    """Give the annual Sharpe ratio of returns less that of others over the same periods.

    The standard error is that of Ledoit and Wolf (2008), the delta method with a Newey-West
    estimate: the two series may move together.

    Parameters
    ----------
    returns, benchmark : array-like, shape (n,)
        Returns per period, in order of time, as fractions.
    periods, lags
        As for `sharpe_ratio`.

    Returns
    -------
    SharpeRatio
        ``p`` is that of "the first ratio is higher": .5 for the same returns, or multiples of
        them. NaN where either series never moves.

    Raises
    ------
    ValueError
        As `sharpe_ratio`, and if the two differ in length.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(1000)
    >>> difference = sharpe_difference(0.1 + noise, noise)
    >>> round(difference.value, 2), difference.p < 0.001
    (1.62, True)
    """
    first_, second = _returns(returns), _returns(benchmark)
    n = len(first_)
    if len(second) != n:
        raise bad_parameter("benchmark", expected=f"{n:,} returns", found=len(second))
    annual = math.sqrt(_per_year(periods))
    lags = _lags(lags, n)
    moments = [_mean_and_sd(values) for values in (first_, second)]
    if not all(sd > 0 for _, sd in moments):
        return SharpeRatio(math.nan, math.nan, math.nan, n)
    ratios = [mean / sd for mean, sd in moments]
    difference = ratios[0] - ratios[1]
    influence = _influence(first_) - _influence(second)
    if np.abs(influence).max() <= _SAME * max(1.0, np.abs(_influence(first_)).max()):
        return SharpeRatio(0.0, 0.0, 0.5, n)  # the same returns, or multiples of them
    se = _error_of_mean(influence, lags)
    return SharpeRatio(difference * annual, se * annual, _p_above(difference, se, n), n)


def probabilistic_sharpe(
    returns: npt.ArrayLike, benchmark: float = 0.0, *, periods: float = 252.0
) -> float:
    """Give the probability that the true Sharpe ratio lies above a benchmark.

    Bailey and Lopez de Prado (2012), eq. 11: the error of the ratio allows for skewness and fat
    tails, and takes returns for independent.

    To read: .95 is the usual mark, a short record seldom reaches it. It misleads where returns
    hang together in time (an autocorrelation of .2 took it above .95 in 9 % of worthless records,
    not 5 %; `sharpe_ratio` allows for it), and where the strategy is the best of many: then
    `deflated_sharpe` is the one to read.

    Parameters
    ----------
    returns : array-like, shape (n,)
        Returns per period, as fractions.
    benchmark : float
        Annual Sharpe ratio to be above.
    periods : float
        Periods in a year.

    Returns
    -------
    float
        NaN for fewer than ten periods, or returns that never move.

    Raises
    ------
    ValueError
        If returns are missing or infinite or have more than one axis, or a parameter cannot be
        used.

    Examples
    --------
    >>> daily = 0.001 + 0.01 * np.random.default_rng(0).standard_normal(500)
    >>> round(probabilistic_sharpe(daily), 2), round(probabilistic_sharpe(daily, 2.0), 2)
    (0.94, 0.12)
    """
    values = _returns(returns)
    annual = math.sqrt(_per_year(periods))
    moments = _moments(values)
    return _probability_above(_finite(benchmark) / annual, *moments)


def minimum_track_record(
    returns: npt.ArrayLike,
    benchmark: float = 0.0,
    *,
    confidence: float = 0.95,
    periods: float = 252.0,
) -> float:
    """Give the number of periods after which the record would tell a ratio from a benchmark.

    Bailey and Lopez de Prado (2012), eq. 13: the length at which the probabilistic Sharpe ratio
    reaches `confidence`, if ratio, skewness and kurtosis stay what they are.

    Parameters
    ----------
    returns : array-like, shape (n,)
        Returns per period, as fractions.
    benchmark : float
        Annual Sharpe ratio to be above.
    confidence : float
        Probability to be reached, between .5 and 1.
    periods : float
        Periods in a year.

    Returns
    -------
    float
        Periods (divide by `periods` for years); infinite where the ratio is not above the
        benchmark, NaN for fewer than ten periods or returns that never move.

    Raises
    ------
    ValueError
        If returns are missing or infinite or have more than one axis, or a parameter cannot be
        used.

    Examples
    --------
    >>> daily = 0.001 + 0.01 * np.random.default_rng(0).standard_normal(500)
    >>> round(minimum_track_record(daily) / 252, 1)
    2.1
    """
    values = _returns(returns)
    if not 0.5 < confidence < 1:
        raise bad_parameter("confidence", expected="a number between 0.5 and 1", found=confidence)
    annual = math.sqrt(_per_year(periods))
    ratio, _, skewness, kurt = _moments(values)
    return _least_periods(_finite(benchmark) / annual, ratio, skewness, kurt, confidence=confidence)


def deflated_sharpe(
    returns: npt.ArrayLike,
    trials: int | Tuning | pd.DataFrame | None = None,
    *,
    trial_sharpes: npt.ArrayLike | None = None,
    variance: float | None = None,
    periods: float = 252.0,
) -> DeflatedSharpe:
    """Give the probability that a Sharpe ratio is not just the best of many worthless ones.

    Bailey and Lopez de Prado (2014): the probabilistic Sharpe ratio whose benchmark is the
    largest ratio that `trials` strategies without any skill are expected to show.

    To read: above .95, the best of so many trials is hardly luck. It misleads when trials are
    left out of the count: every variant that was looked at is one, also last month's, also
    another person's on the same prices. Trials that resemble each other count for fewer than
    their number, so that the result errs on the side of caution.

    Parameters
    ----------
    returns : array-like, shape (n,)
        Returns per period of the strategy that was chosen, as fractions.
    trials : int, Tuning or DataFrame, optional
        How many were tried; or what `tune` has found, or its ``trials``: failed and pruned ones
        count, for they were looked at. Default: as many as `trial_sharpes`.
    trial_sharpes : array-like, optional
        Annual Sharpe ratios of the trials, whose variance is taken: all of them, or the number
        that is known. Where that is fewer than were tried, the variance is no less than by chance:
        the known ones may resemble each other, as seeds of one network do.
    variance : float, optional
        That variance itself, of annual ratios. Default, without `trial_sharpes` too: what ratios
        of worthless strategies vary by chance over a record of this length,
        ``periods / (n - 1)``, as if the trials were independent.
    periods : float
        Periods in a year.

    Returns
    -------
    DeflatedSharpe
        The probability is NaN for fewer than ten periods, or returns that never move.

    Raises
    ------
    ValueError
        If returns are missing or infinite or have more than one axis, a parameter cannot be
        used, neither `trials` nor `trial_sharpes` is given, or both of `trial_sharpes` and
        `variance`; if there are more ratios than trials.

    Examples
    --------
    >>> daily = 0.001 + 0.01 * np.random.default_rng(0).standard_normal(1000)
    >>> found = deflated_sharpe(daily, trials=20)
    >>> round(found.sharpe, 2), round(found.expected_maximum, 2), round(found.probability, 2)
    (0.84, 0.95, 0.41)
    """
    values = _returns(returns)
    annual = math.sqrt(_per_year(periods))
    known = None if trial_sharpes is None else _returns(trial_sharpes, "trial_sharpes")
    by_chance = annual**2 / max(len(values) - 1, 1)
    if known is not None and variance is not None:
        raise bad_parameter(
            "variance",
            expected="None beside trial_sharpes, whose variance is taken",
            found=variance,
        )
    if trials is None and known is None:
        raise bad_parameter(
            "trials",
            expected="the number of strategies tried, or what tune has found",
            found=None,
            advice="A strategy that was the only one ever looked at has 1.",
        )
    n_trials = len(known) if trials is None and known is not None else count_trials(trials)
    if known is not None:
        if len(known) > n_trials:
            raise bad_parameter(
                "trial_sharpes",
                expected=f"at most {n_trials:,} ratios, as trials",
                found=len(known),
            )
        if len(known) < 2 <= n_trials:
            raise bad_parameter(
                "trial_sharpes", expected="at least two ratios, for a variance", found=len(known)
            )
        variance = float(known.var(ddof=1)) if n_trials > 1 else 0.0
        if len(known) < n_trials:
            variance = max(variance, by_chance)
    elif variance is None:
        variance = by_chance
    elif not (np.isfinite(variance) and variance >= 0):
        raise bad_parameter("variance", expected="a number of at least 0", found=variance)
    best = expected_maximum(n_trials, variance)
    moments = _moments(values)
    probability = _probability_above(best / annual, *moments)
    return DeflatedSharpe(probability, moments[0] * annual, best, n_trials)


def count_trials(trials: object) -> int:
    """Return the number of trials: a number, what `tune` has found, or its table of trials."""
    if isinstance(trials, Tuning):
        return int(trials.n_trials)
    if isinstance(trials, pd.DataFrame):
        if not {"number", "state"} <= set(trials.columns):
            raise bad_parameter(
                "trials",
                expected="a number, a Tuning, or its table of trials",
                found=trials,
                advice="Of a frame of returns, give its number of columns.",
            )
        return positive_int("trials", len(trials))
    return positive_int("trials", trials)


def expected_maximum(n_trials: int, variance: float) -> float:
    """Give the largest of so many Sharpe ratios that is expected if none has skill.

    Bailey and Lopez de Prado (2014), eq. 1: of independent normal ratios around zero.

    Parameters
    ----------
    n_trials : int
        Number of ratios.
    variance : float
        Their variance; the result is in its unit.

    Returns
    -------
    float
        0 for one trial.

    Examples
    --------
    >>> round(expected_maximum(100, 1.0), 2)
    2.53
    """
    if n_trials == 1:
        return 0.0
    high = norm.isf(1.0 / n_trials)
    higher = norm.isf(1.0 / (n_trials * math.e))
    return math.sqrt(variance) * float((1 - np.euler_gamma) * high + np.euler_gamma * higher)


def backtest_overfitting(trial_returns: pd.DataFrame, *, n_blocks: int = 16) -> Overfitting:
    """Estimate how often choosing the best of many strategies chooses a poor one.

    Combinatorially symmetric cross-validation (Bailey, Borwein, Lopez de Prado and Zhu 2015):
    time is cut into blocks; for every choice of half of them, the strategy with the best Sharpe
    ratio there is looked up on the other half.

    To read: near 0, what is best stays good; near .5, choosing was no better than drawing lots;
    above, the choice picks what then turns. It is a statement about the way of choosing
    among these trials, and about no strategy by itself. It misleads where only the better trials
    are given, and where returns in different blocks hang together (models fitted on some of the
    blocks were chosen by them already).

    Parameters
    ----------
    trial_returns : DataFrame, shape (n, n_trials)
        Returns per period of every strategy tried, in order of time, after costs; one column
        each, none missing.
    n_blocks : int
        An even number of blocks from 2 to 20; 16 make 12,870 splits.

    Returns
    -------
    Overfitting

    Raises
    ------
    ValueError
        If a parameter cannot be used.
    DataError
        If there is one trial only, a return is missing or infinite, no trial ever moves, or there
        are fewer than two rows to a block.

    Examples
    --------
    >>> noise = pd.DataFrame(np.random.default_rng(0).standard_normal((1000, 20)))
    >>> 0.1 < backtest_overfitting(noise, n_blocks=8).probability < 0.9
    True
    >>> backtest_overfitting(noise.assign(good=noise[0] + 0.3), n_blocks=8).probability
    0.0
    """
    if positive_int("n_blocks", n_blocks, least=2) % 2 or n_blocks > _MOST_BLOCKS:
        raise bad_parameter(
            "n_blocks", expected=f"an even number from 2 to {_MOST_BLOCKS}", found=n_blocks
        )
    values = _trial_values(trial_returns, n_blocks)
    inside = _halves(n_blocks)
    sums = _block_sums(values, n_blocks)
    in_sample = _ratios(inside, sums)
    out_of_sample = _ratios(~inside, sums)
    chosen = in_sample.argmax(axis=1)
    at = np.arange(len(chosen)), chosen
    rank = rankdata(out_of_sample, axis=1)[at] / (values.shape[1] + 1)
    logit = np.log(rank / (1 - rank))
    splits = pd.DataFrame(
        {
            "chosen": trial_returns.columns[chosen],
            "in_sample": in_sample[at],
            "out_of_sample": out_of_sample[at],
            "logit": logit,
        }
    )
    return Overfitting(
        probability=float((logit <= 0).mean()),
        probability_of_loss=float((splits["out_of_sample"] < 0).mean()),
        slope=_slope(in_sample[at], out_of_sample[at]),
        splits=splits,
        n_trials=values.shape[1],
    )


def _finite(benchmark: float) -> float:
    if not np.isfinite(benchmark):
        raise bad_parameter("benchmark", expected="a finite annual ratio", found=benchmark)
    return float(benchmark)


def _returns(returns: npt.ArrayLike, name: str = "returns") -> Floats:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1:
        raise bad_parameter(name, expected="one axis", found=values.shape)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise fail(
            f"{name} are missing or infinite",
            expected="finite numbers",
            found=f"{bad:,} of {len(values):,} that are not",
            advice="A period without a position has the return 0; drop what is unknown.",
        )
    return values


def _per_year(periods: float) -> float:
    if not (np.isfinite(periods) and periods > 0):
        raise bad_parameter("periods", expected="a number above 0", found=periods)
    return float(periods)


def _lags(lags: int | None, n: int) -> int:
    wanted = math.ceil(n ** (1 / 3)) if lags is None else positive_int("lags", lags, least=0)
    return max(0, min(wanted, n - 2))


def _mean_and_sd(values: Floats) -> tuple[float, float]:
    """Give mean and spread; a spread that is rounding is 0, that of one value NaN."""
    if len(values) < 2:
        return math.nan, math.nan
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    return mean, sd if sd > _SAME * float(np.abs(values).max()) else 0.0


def _influence(values: Floats) -> Floats:
    """What every return moves the ratio by: the gradient of mean / sd on its moments, (n,)."""
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    z = (values - mean) / sd
    gradient: Floats = z - 0.5 * mean / sd * (z**2 - 1)
    return gradient


def _error_of_mean(values: Floats, lags: int) -> float:
    """Newey-West standard error of a mean; NaN below ten values."""
    if len(values) < LEAST:
        return math.nan
    from statsmodels.regression.linear_model import OLS

    fit = OLS(values, np.ones_like(values)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}
    )
    return float(fit.bse[0])


def _p_above(value: float, se: float, n: int) -> float:
    return float(student.sf(value / se, df=n - 1)) if se > 0 else math.nan


def _moments(values: Floats) -> tuple[float, int, float, float]:
    """Give ratio per period, number, skewness and kurtosis (3 for a normal one)."""
    n = len(values)
    mean, sd = _mean_and_sd(values)
    if n < LEAST or not sd > 0:
        return mean / sd if sd > 0 else math.nan, n, math.nan, math.nan
    return mean / sd, n, float(skew(values)), float(kurtosis(values, fisher=False))


def _probability_above(
    benchmark: float, ratio: float, n: int, skewness: float, kurt: float
) -> float:
    """Bailey and Lopez de Prado (2012), eq. 11; ratios per period."""
    scale = math.sqrt(_variance_of_ratio(ratio, skewness, kurt))
    if math.isnan(scale) or n < LEAST:
        return math.nan
    if scale == 0:
        return float(ratio > benchmark)
    return float(norm.cdf((ratio - benchmark) * math.sqrt(n - 1) / scale))


def _least_periods(
    benchmark: float, ratio: float, skewness: float, kurt: float, *, confidence: float
) -> float:
    """Bailey and Lopez de Prado (2012), eq. 13; ratios per period."""
    variance = _variance_of_ratio(ratio, skewness, kurt)
    if math.isnan(variance):
        return math.nan
    if not ratio > benchmark:
        return math.inf
    return 1.0 + variance * (float(norm.ppf(confidence)) / (ratio - benchmark)) ** 2


def _variance_of_ratio(ratio: float, skewness: float, kurt: float) -> float:
    """(n - 1) times the variance of a ratio of independent returns (Mertens 2002)."""
    # kurt >= 1 + skewness**2 keeps it from falling below zero, but for rounding
    variance = 1.0 - skewness * ratio + (kurt - 1.0) / 4.0 * ratio**2
    return variance if math.isnan(variance) else max(variance, 0.0)


def _trial_values(trial_returns: pd.DataFrame, n_blocks: int) -> Floats:
    """Give the returns of all trials, (n, n_trials), or raise where they cannot be compared."""
    if not isinstance(trial_returns, pd.DataFrame):
        raise bad_parameter(
            "trial_returns", expected="a DataFrame, a column for each trial", found=trial_returns
        )
    values = trial_returns.to_numpy(dtype=np.float64)
    if values.shape[1] < 2:
        raise fail(
            "nothing to choose from",
            expected="at least two trials",
            found=f"{values.shape[1]}",
            advice="Give the returns of every strategy that was tried.",
        )
    unknown = ~np.isfinite(values)
    if unknown.any():
        raise fail(
            "returns are missing or infinite",
            expected="a finite return of every trial in every period",
            found=f"{int(unknown.sum()):,} that are not, in the columns "
            f"{first(trial_returns.columns[unknown.any(axis=0)])}",
            advice="A period without a position has the return 0.",
            rows=list(trial_returns.index[unknown.any(axis=1)]),
        )
    if len(values) < 2 * n_blocks:
        raise fail(
            "too few rows",
            expected=f"at least two in each of {n_blocks} blocks",
            found=f"{len(values):,}",
            advice="Choose fewer blocks, backtest_overfitting(..., n_blocks=).",
        )
    if not (np.ptp(values, axis=0) > 0).any():
        raise fail(
            "no trial ever moves",
            expected="returns that differ over time",
            found="constants",
            advice="Look at the weights: no position was ever held.",
        )
    return values


def _halves(n_blocks: int) -> npt.NDArray[np.bool_]:
    """Every choice of half of the blocks, (n_splits, n_blocks)."""
    chosen = np.array(list(combinations(range(n_blocks), n_blocks // 2)))
    inside: npt.NDArray[np.bool_] = np.zeros((len(chosen), n_blocks), dtype=np.bool_)
    np.put_along_axis(inside, chosen, True, axis=1)
    return inside


def _block_sums(values: Floats, n_blocks: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Rows in each block, (B,); sums and sums of squares around the means, (B, N); means, (N,)."""
    centre = values.mean(axis=0)
    starts = np.linspace(0, len(values), n_blocks + 1).astype(int)
    apart = values - centre
    sums = np.add.reduceat(apart, starts[:-1], axis=0)
    squares = np.add.reduceat(apart**2, starts[:-1], axis=0)
    rows = np.diff(starts).astype(np.float64)
    return rows, sums, squares, centre


def _ratios(inside: npt.NDArray[np.bool_], sums: tuple[Floats, Floats, Floats, Floats]) -> Floats:
    """Sharpe ratios per period of every trial in every split, (n_splits, N); at rest, 0."""
    # Around means of the whole, so that squares of a level do not drown the spread.
    rows, total, squares, centre = sums
    pick = inside.astype(np.float64)
    n = (pick @ rows)[:, None]
    apart = pick @ total / n
    variance = (pick @ squares / n - apart**2) * n / (n - 1)
    mean = apart + centre
    # Of the variance, what the sums it is made of can round to: a ratio of 1e6 a period is none.
    still = variance <= _SAME * (pick @ squares / n + centre**2)
    # a trial without a position has neither mean nor spread: no ratio either way
    ratios: Floats = np.where(still, 0.0, mean / np.sqrt(np.where(still, 1.0, variance)))
    return ratios


def _slope(x: Floats, y: Floats) -> float:
    apart = x - x.mean()
    spread = float(apart @ apart)
    return float(apart @ (y - y.mean())) / spread if spread > 0 else math.nan
