"""Tests of forecasts on arrays: conditional skill, the best of many, bias and direction.

Every function takes losses or forecasts in order of time, one per origin; `loss_table` makes them
of a backtest frame. `diebold_mariano`, the test behind the verdicts, stands in `skill`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first, positive_int
from tsforecast.backtesting._shared import chance
from tsforecast.backtesting.skill import constant_difference, diebold_mariano, least_origins

__all__ = [
    "GiacominiWhite",
    "MincerZarnowitz",
    "PesaranTimmermann",
    "SuperiorAbility",
    "giacomini_white",
    "mincer_zarnowitz",
    "model_confidence_set",
    "pesaran_timmermann",
    "spa",
]

Floats = npt.NDArray[np.float64]

_SAME = 1e-9  # relative size of a difference that is rounding


@dataclass(frozen=True)
class GiacominiWhite:
    """The outcome of a test of equal conditional predictive ability.

    Attributes
    ----------
    statistic : float
        The Wald statistic, not negative. NaN when there are too few origins, infinite when one
        loss is lower by the same amount at every origin.
    p : float
        Two-sided p-value. Exactly 1 when the losses are identical, NaN when there are too few
        origins.
    prefers_first : float
        Share of the origins at which the instruments predict a lower loss of the first.
    n_origins : int
        Number of origins.
    identical : bool
        Whether the two losses agree at every origin, up to rounding.
    """

    statistic: float
    p: float
    prefers_first: float
    n_origins: int
    identical: bool


@dataclass(frozen=True)
class MincerZarnowitz:
    """The outcome of a regression of what happened on its forecast.

    Attributes
    ----------
    intercept, slope : float
        0 and 1 for a forecast that cannot be improved by shifting and stretching it.
    statistic : float
        Wald statistic of both at once.
    p : float
        Its p-value; NaN when there are too few origins.
    r2 : float
        Share of the variance of what happened that the line explains.
    n_origins : int
        Number of origins.
    """

    intercept: float
    slope: float
    statistic: float
    p: float
    r2: float
    n_origins: int


@dataclass(frozen=True)
class PesaranTimmermann:
    """The outcome of a test of direction.

    Attributes
    ----------
    statistic : float
        Positive when directions agree more often than independent ones would.
    p : float
        One-sided p-value of "the forecast knows something of the direction". Exactly 1 when
        either always goes the same way (in each series), NaN when there are too few origins.
    hit_rate, expected : float
        Share of forecasts with the right direction, and that of independent ones with the same
        shares of ups (in each series).
    up_actual, up_forecast : float
        Shares of ups.
    n_origins : int
        Number of origins.
    """

    statistic: float
    p: float
    hit_rate: float
    expected: float
    up_actual: float
    up_forecast: float
    n_origins: int


@dataclass(frozen=True)
class SuperiorAbility:
    """The outcome of a test whether any of many models beats a benchmark.

    Attributes
    ----------
    best : Hashable
        The model with the largest mean advantage, in units of that advantage's deviation.
    advantage : float
        How much lower its mean loss is, in the unit of the loss; negative if higher.
    p : float
        P-value of "some model is better" ("consistent" in Hansen's words). Exactly 1 when no
        model has a lower mean loss, NaN when there are too few origins.
    p_lower, p_upper : float
        Bounds of it: models far behind the benchmark count not at all, or in full (the reality
        check of White 2000).
    n_origins : int
        Number of origins.
    """

    best: Hashable
    advantage: float
    p: float
    p_lower: float
    p_upper: float
    n_origins: int


def giacomini_white(
    loss_a: npt.ArrayLike,
    loss_b: npt.ArrayLike,
    *,
    horizon: int,
    instruments: npt.ArrayLike | None = None,
) -> GiacominiWhite:
    """Test whether what is known at the origin tells which of two forecasts will lose less.

    Giacomini and White (2006), conditional predictive ability: the loss differential times
    instruments known at the origin has mean zero. For one step the statistic is theirs, against
    chi-squared. Beyond, where forecasts overlap, the variance is the mean of the first
    0.41 n^(2/3) cosine transforms, of no more than n / (2 `horizon`), and the statistic is taken
    against F (Lazarus, Lewis, Stock and Watson 2018): with a Newey-West variance the test rejects
    equals far too often.

    To read: a small p says that one forecast is better *at some times*, which the instruments
    know beforehand, or at all times; `prefers_first` says how often it is the first, and near 0 or
    1 that the choice is always the same. It misleads when read as "a is better than b", for which
    there is `diebold_mariano`; when instruments were searched for; and with the strongest
    overlap: a nominal 5 % was, in simulation, 4 to 5 % for one step, 4 to 5 % for five, twenty and
    sixty steps of ordinary forecasts, at 250 and at 1,000 origins, and 6 to 10 % where losses are
    sums of the same `horizon` shocks. Of many steps few transforms are left, at a price in power.
    It does not find a difference that the instruments do not know.

    Parameters
    ----------
    loss_a, loss_b : array-like, shape (n,)
        Mean losses per origin, in time order, on the same rows.
    horizon : int
        How many consecutive origins share forecast rows: the forecast horizon when there is an
        origin at every row, 1 when no two forecasts overlap.
    instruments : array-like, shape (n,) or (n, k), optional
        Values known at each origin, e.g. a volatility; a constant is always added. Default: the
        newest loss differential known at the origin, that of `horizon` origins before; the first
        `horizon` origins have none and are left out.

    Returns
    -------
    GiacominiWhite
        With NaN for fewer than ``max(10, 2 * horizon, 2 * k + 4)`` usable origins.

    Raises
    ------
    ValueError
        If losses or instruments differ in length, are not finite, or instruments say the same.

    Examples
    --------
    >>> loss = [1.0, 3.0, 2.0, 4.0, 1.0, 2.0, 5.0, 1.0, 2.0, 2.0]
    >>> giacomini_white(loss, loss, horizon=1).p
    1.0
    """
    horizon = positive_int("horizon", horizon)
    a, b = _paired("loss_a", loss_a, "loss_b", loss_b)
    difference = a - b
    if instruments is None:
        known = difference[: max(0, len(a) - horizon), None]
        used = difference[horizon:]
    else:
        known, used = _instruments(instruments, len(a)), difference
    n = len(used)
    size = float(np.abs(b).mean()) if len(b) else 0.0
    if constant_difference(difference, size) == 0.0:
        return GiacominiWhite(0.0, 1.0, 0.0, n, True)
    if n < max(least_origins(horizon), 2 * known.shape[1] + 4):
        return GiacominiWhite(nan, nan, nan, n, False)
    if (constant := constant_difference(used, size)) is not None:
        certain = constant != 0
        return GiacominiWhite(
            math.inf if certain else 0.0, float(not certain), float(constant < 0), n, False
        )
    centred = known - known.mean(axis=0)  # beside a constant their level says nothing
    centred[:, np.ptp(known, axis=0) <= _SAME * np.abs(known).max(axis=0)] = 0.0
    terms = np.column_stack([np.ones(n), centred / _size(centred)])
    moments = terms * used[:, None]  # (n, q)
    q = terms.shape[1]
    if min(np.linalg.matrix_rank(terms), np.linalg.matrix_rank(moments / _size(moments))) < q:
        if instruments is not None:
            raise bad_parameter(
                "instruments",
                expected="columns that vary, none of them a sum of others",
                found=f"{q - 1} columns of which some say the same as others or as a constant",
                advice="A constant is added by itself.",
            )
        terms, moments, q = terms[:, :1], moments[:, :1], 1

    if horizon == 1:
        from scipy.stats import chi2

        mean = moments.mean(axis=0)
        statistic = float(n * mean @ np.linalg.solve(moments.T @ moments / n, mean))
        p = float(chi2.sf(statistic, q))
    else:
        statistic, p = _mean_zero(moments, horizon)
    predicted = terms @ np.linalg.lstsq(terms, used, rcond=None)[0]
    return GiacominiWhite(statistic, p, float(np.mean(predicted < 0)), n, False)


def mincer_zarnowitz(
    actual: npt.ArrayLike,
    forecast: npt.ArrayLike,
    *,
    horizon: int,
    cutoff: npt.ArrayLike | None = None,
) -> MincerZarnowitz:
    """Regress what happened on its forecast: intercept 0 and slope 1 if it is not biased.

    Mincer and Zarnowitz (1969). The line is that of least squares; both hypotheses are tested at
    once on the errors and their products with the forecast, which have mean zero then, with the
    variance and the F distribution of `giacomini_white`: a Newey-West variance would reject ten in
    a hundred fair forecasts of five steps at 250 origins, this one six, and five of twenty and
    sixty steps.

    To read: a slope below 1 says that the forecast moves too much, above 1 too little. A small p
    says that shifting and stretching it would have helped. It misleads when p is large because
    the forecast explains nothing (look at `r2`), on price levels, where any forecast near the last
    price passes, and on variances, where a few storms decide: of their logarithms the line is
    steadier, but its intercept is below 0, by about half the variance of the error, for a perfect
    forecast of the mean, too.

    Parameters
    ----------
    actual, forecast : array-like, shape (n,)
        Of one step, in time order.
    horizon : int
        How many consecutive origins share forecast rows.
    cutoff : array-like, shape (n,), optional
        The origin of each row, if several rows (series) have the same one. They have one line, and
        their errors are one observation together, as series move together.

    Returns
    -------
    MincerZarnowitz
        With NaN for fewer than ``max(10, 2 * horizon)`` origins. A forecast that the outcome
        follows exactly has p 1, or p 0 where shifted or stretched.

    Raises
    ------
    ValueError
        If lengths differ or values are not finite.
    DataError
        If the forecast is constant, so that there is no slope.

    Examples
    --------
    >>> forecast = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    >>> round(mincer_zarnowitz([2 * f for f in forecast], forecast, horizon=1).slope, 6)
    2.0
    """
    horizon = positive_int("horizon", horizon)
    y, x = _paired("actual", actual, "forecast", forecast)
    origin = _numbered("cutoff", cutoff, len(y))
    n = int(origin.max(initial=-1)) + 1
    if n < least_origins(horizon):
        return MincerZarnowitz(nan, nan, nan, nan, nan, n)
    if np.ptp(x) <= _SAME * np.abs(x).max():
        raise fail(
            "the forecast is constant",
            expected="forecasts that vary, for a slope",
            found=f"{x[0]:g} in all {len(x):,} rows",
            advice="Test its mean error instead, e.g. with diebold_mariano.",
        )
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    intercept = float(y.mean() - slope * x.mean())
    left = y - intercept - slope * x
    r2 = 1 - float(np.mean(left**2) / y.var()) if np.ptp(y) > 0 else nan
    size = max(float(np.abs(y).max()), float(np.abs(x).max()))
    if float(np.abs(left).max()) <= _SAME * size:  # an exact line: no noise to compare with
        exact = float(np.abs(y - x).max()) <= _SAME * size
        if exact:
            return MincerZarnowitz(0.0, 1.0, 0.0, 1.0, r2, n)
        return MincerZarnowitz(intercept, slope, math.inf, 0.0, r2, n)
    moments = [
        _means((y - x) * factor, origin) for factor in (1.0, centred / np.abs(centred).max())
    ]
    statistic, p = _mean_zero(np.column_stack(moments), horizon)
    return MincerZarnowitz(intercept, slope, statistic, p, r2, n)


def pesaran_timmermann(
    actual: npt.ArrayLike,
    forecast: npt.ArrayLike,
    *,
    horizon: int,
    cutoff: npt.ArrayLike | None = None,
    series: npt.ArrayLike | None = None,
) -> PesaranTimmermann:
    """Test whether the sign of a forecast tells the sign of what happens.

    Pesaran and Timmermann (1992) against signs that are independent of each other: a forecast that
    always says "up" in a rising market is right often and proves nothing. The covariance of the two
    signs is tested, one mean per cutoff, with the variance of `diebold_mariano`, as signs that
    follow their own past agree for a while without any skill (in the manner of Pesaran and
    Timmermann 2009; Blaskowitz and Herwartz 2014).

    To read: a small p says that the directions agree more often than chance explains. It misleads
    when read as profit (it counts moves, not their size), when many models were tried, and when
    both signs hardly turn: a nominal 5 % was, in simulation of independent series, 5 % at 1,000
    origins and 6 % at 250 where they have no memory, 8 and 9 % where their autocorrelation is .8,
    13 and 16 % where it is .95.

    Parameters
    ----------
    actual, forecast : array-like, shape (n,)
        Moves and their forecasts, in time order; up is above 0. For prices, less the last price.
    horizon : int
        How many consecutive origins share forecast rows.
    cutoff : array-like, shape (n,), optional
        The origin of each row, if several rows (series) have the same one. They are one
        observation together, as series move together.
    series : array-like, shape (n,), optional
        The series of each row. Shares of ups are then those of each series, so that to know which
        series rise more often is no skill.

    Returns
    -------
    PesaranTimmermann
        With NaN for fewer than ``max(10, 2 * horizon)`` origins.

    Raises
    ------
    ValueError
        If lengths differ or values are not finite.

    Examples
    --------
    >>> moves = [1.0, -1.0, 2.0, -2.0, 1.0, 1.0, -1.0, 3.0, -1.0, 2.0]
    >>> test = pesaran_timmermann(moves, moves, horizon=1)
    >>> test.hit_rate, round(test.expected, 2), test.p < 0.001
    (1.0, 0.52, True)
    """
    horizon = positive_int("horizon", horizon)
    y, x = _paired("actual", actual, "forecast", forecast)
    up, up_forecast = y > 0, x > 0
    origin = _numbered("cutoff", cutoff, len(y))
    n = int(origin.max(initial=-1)) + 1
    if n < least_origins(horizon):
        return PesaranTimmermann(nan, nan, nan, nan, nan, nan, n)
    unit = (
        np.zeros(len(y), dtype=np.intp) if series is None else _numbered("series", series, len(y))
    )
    p_up, p_forecast = (_means(signs, unit)[unit] for signs in (up, up_forecast))
    rates = (
        float((up == up_forecast).mean()),
        float((p_up * p_forecast + (1 - p_up) * (1 - p_forecast)).mean()),
        float(up.mean()),
        float(up_forecast.mean()),
        n,
    )
    products = (up - p_up) * (up_forecast - p_forecast)
    if not products.any():  # of each series one of the two always goes the same way
        return PesaranTimmermann(0.0, 1.0, *rates)
    covariance = diebold_mariano(-_means(products, origin), np.zeros(n), horizon=horizon)
    return PesaranTimmermann(0.0 - covariance.statistic, covariance.p_less, *rates)


def model_confidence_set(
    losses: pd.DataFrame,
    *,
    size: float = 0.1,
    horizon: int | None = None,
    n_bootstrap: int = 1000,
    random_state: int = 0,
) -> pd.DataFrame:
    """Find the models among which the best one is, with a given confidence.

    The model confidence set of Hansen, Lunde and Nason (2011), through arch: models are dropped,
    the one furthest above the mean loss first, until those left are not told apart. (The largest
    distance from the mean keeps its level better than the largest one between two models.) The
    stationary bootstrap has a mean block of ``max(2 * horizon, n ** (1 / 3))`` origins.

    To read: the set holds the best model with probability ``1 - size``; one outside was beaten. A
    set of all models says that the data cannot tell, not that all are good. It misleads when
    models are in it that nobody would use (they widen what chance explains), it says nothing of
    models that were tried and are not in the table, and at few origins it is too small: five equal
    models were all in a set of 90 % in 93 of 100 simulations of 1,000 origins, and in 86 of 250.
    With the strongest overlap (losses that are sums of the same 20 shocks) it lost one of equal
    models in 38 to 45 % of simulations of 250 origins, and in 19 % of 1,000, where 10 % are meant.

    Parameters
    ----------
    losses : pandas.DataFrame
        One row per origin, in time order, one column per model, as `loss_table` gives them.
    size : float
        One minus the confidence, in (0, 1).
    horizon : int, optional
        How many consecutive origins share forecast rows; default: what `loss_table` has noted.
    n_bootstrap : int
        Bootstrap samples.
    random_state : int
        Seed: the same table gives the same answer.

    Returns
    -------
    pandas.DataFrame
        Index ``model``, sorted by mean loss; columns ``loss``, ``p``, ``included`` (p above `size`)
        and ``verdict``, a sentence. Models with identical losses share their p; one that another
        beats by the same amount at every origin has p 0. With fewer than ``max(10, 2 * horizon)``
        origins p is NaN and all models are included. ``attrs["block"]`` is the mean block.

    Raises
    ------
    DataError
        If losses are not finite.
    ImportError
        Without arch.
    ValueError
        If a parameter cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(200, 3))
    >>> losses = pd.DataFrame(noise + [1.0, 1.0, 3.0], columns=["a", "b", "c"])
    >>> model_confidence_set(losses, horizon=1)["included"].sort_index().to_dict()
    {'a': True, 'b': True, 'c': False}
    """
    table, horizon = _loss_frame(losses, horizon)
    random_state = positive_int("random_state", random_state, least=0)
    if not 0 < size < 1:
        raise bad_parameter("size", expected="a number between 0 and 1", found=size)
    n_bootstrap = positive_int("n_bootstrap", n_bootstrap)
    names = list(table.columns)
    values, n = table.to_numpy(), len(table)
    block = _block(n, horizon)
    p = np.full(len(names), np.nan)
    if n >= least_origins(horizon):
        alike, beaten = _exact_relations(values)
        p[beaten] = 0.0
        chosen = [i for i, same in enumerate(alike) if same == i and not beaten[i]]
        p[chosen] = _confidence_set(values[:, chosen], size, block, n_bootstrap, random_state)
        p = p[alike]
    included = ~(p <= size)
    share = f"{100 * (1 - size):g} %"
    verdicts = [
        f"{name}: {n:,} origins are too few to tell models apart."
        if math.isnan(each)
        else f"{name}: {'may be the best' if inside else 'not the best'} of {len(names)} models "
        f"({'in' if inside else 'outside'} the {share} confidence set, {chance(each)})."
        for name, each, inside in zip(names, p, included)
    ]
    result = pd.DataFrame(
        {"loss": values.mean(axis=0), "p": p, "included": included, "verdict": verdicts},
        index=pd.Index(names, name="model"),
    ).sort_values("loss", kind="stable")
    result.attrs = {"block": block, "size": size}
    return result


def spa(
    losses: pd.DataFrame,
    benchmark: Hashable,
    *,
    horizon: int | None = None,
    n_bootstrap: int = 1000,
    random_state: int = 0,
) -> SuperiorAbility:
    """Test whether the best of many models beats a benchmark, allowing for the search.

    Superior predictive ability (Hansen 2005), through arch, with every differential in units of
    its standard deviation; the stationary bootstrap as in `model_confidence_set`.

    To read: a small p says that the best model's advantage is more than the best of so many equals
    would have by luck. It misleads when models that were tried are not in the table, and where
    steps are many and origins few: with the strongest overlap (losses that are sums of the same 20
    shocks) a nominal 5 % was 23 % in simulations of 250 origins, and 10 % in those of 1,000. It
    names no model as skilful but the best.

    Parameters
    ----------
    losses : pandas.DataFrame
        One row per origin, in time order, one column per model, as `loss_table` gives them.
    benchmark : hashable
        The column that the others must beat.
    horizon : int, optional
        How many consecutive origins share forecast rows; default: what `loss_table` has noted.
    n_bootstrap : int
        Bootstrap samples.
    random_state : int
        Seed: the same table gives the same answer.

    Returns
    -------
    SuperiorAbility
        With NaN for fewer than ``max(10, 2 * horizon)`` origins.

    Raises
    ------
    DataError
        If losses are not finite.
    ImportError
        Without arch.
    ValueError
        If a parameter cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(200, 3))
    >>> losses = pd.DataFrame(noise + [2.0, 1.0, 3.0], columns=["naive", "b", "c"])
    >>> test = spa(losses, "naive", horizon=1)
    >>> test.best, round(test.p, 4)
    ('b', 0.001)
    """
    table, horizon = _loss_frame(losses, horizon)
    random_state = positive_int("random_state", random_state, least=0)
    n_bootstrap = positive_int("n_bootstrap", n_bootstrap)
    if benchmark not in table or table.shape[1] < 2:
        raise bad_parameter(
            "benchmark",
            expected=f"one of at least two models: {first(table.columns)}",
            found=benchmark,
        )
    base = table[benchmark].to_numpy()
    rivals = table.drop(columns=benchmark)
    ahead = base[:, None] - rivals.to_numpy()  # (n, k)
    n = len(table)
    scale = float(np.abs(base).mean())
    constant = [constant_difference(column, scale) for column in ahead.T]
    ahead[:, [c == 0.0 for c in constant]] = 0.0
    mean, spread = ahead.mean(axis=0), ahead.std(axis=0)
    spread[[c is not None for c in constant]] = 0.0
    lead = np.divide(mean, spread, out=np.copysign(np.inf, mean), where=spread > 0)
    lead[mean == 0] = 0.0
    best = int(np.argmax(lead))
    found = rivals.columns[best], float(mean[best])
    if n < least_origins(horizon):
        return SuperiorAbility(*found, nan, nan, nan, n)
    if lead[best] <= 0:
        return SuperiorAbility(*found, 1.0, 1.0, 1.0, n)
    if np.isinf(lead[best]):
        return SuperiorAbility(*found, 0.0, 0.0, 0.0, n)
    noisy = spread > 0
    units = ahead[:, noisy] / spread[noisy]
    test = _bootstrap().SPA(
        np.zeros(n), -units, block_size=_block(n, horizon), reps=n_bootstrap, seed=random_state
    )
    test.compute()
    p, lower, upper = (
        float(_counting_itself(test.pvalues[name], n_bootstrap))
        for name in ("consistent", "lower", "upper")
    )
    return SuperiorAbility(*found, p, lower, upper, n)


def _paired(name_a: str, a: npt.ArrayLike, name_b: str, b: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Two arrays of one shape, one axis and finite values."""
    one, two = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if one.ndim != 1 or one.shape != two.shape:
        raise bad_parameter(
            name_b, expected=f"values of shape {one.shape}, one axis", found=two.shape
        )
    for name, values in ((name_a, one), (name_b, two)):
        if bad := int((~np.isfinite(values)).sum()):
            raise bad_parameter(name, expected="finite values", found=f"{bad} that are not")
    return one, two


def _numbered(name: str, given: Any, n: int) -> npt.NDArray[np.intp]:
    """Number the labels of n rows in their order; one each without labels."""
    if given is None:
        return np.arange(n)
    labels = pd.Index(given)
    if len(labels) != n:
        raise bad_parameter(name, expected=f"{n} labels", found=len(labels))
    if labels.hasnans:
        raise bad_parameter(name, expected="a label in every row", found="some that are missing")
    return np.asarray(pd.factorize(labels, sort=True)[0], dtype=np.intp)


def _means(values: npt.NDArray[Any], origin: npt.NDArray[np.intp]) -> Floats:
    """Mean over the rows of each origin."""
    return np.asarray(np.bincount(origin, weights=values) / np.bincount(origin))


def _instruments(instruments: npt.ArrayLike, n: int) -> Floats:
    values = np.asarray(instruments, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != n or not values.shape[1]:
        raise bad_parameter(
            "instruments", expected=f"a row for each of the {n} origins", found=values.shape
        )
    if bad := int((~np.isfinite(values)).sum()):
        raise bad_parameter("instruments", expected="finite values", found=f"{bad} that are not")
    return values


def _size(columns: Floats) -> Floats:
    """Largest absolute value of each column; 1 for a column of zeros."""
    largest = np.abs(columns).max(axis=0)
    return np.where(largest > 0, largest, 1.0)


def _mean_zero(moments: Floats, horizon: int) -> tuple[float, float]:
    """Test that autocorrelated moments (n, q) have mean zero: Wald statistic and p-value.

    The long-run covariance is the mean over the first 0.41 n^(2/3) cosine transforms (type II),
    which ignore the mean, and not over those whose waves are shorter than four horizons: sums of
    `horizon` shocks have less of them. So few make the statistic one of Hotelling.
    """
    from scipy.stats import f

    n, q = moments.shape
    degrees = max(q + 1, min(int(0.41 * n ** (2 / 3)), n // (2 * horizon)))
    phase = np.pi * np.outer(np.arange(1, degrees + 1), np.arange(n) + 0.5) / n
    transforms = np.sqrt(2 / n) * np.cos(phase) @ moments  # (degrees, q)
    if np.linalg.matrix_rank(transforms / _size(moments)) < q:
        return math.inf, 0.0  # some combination never moves, and is not zero
    mean = moments.mean(axis=0)
    statistic = float(n * mean @ np.linalg.solve(transforms.T @ transforms / degrees, mean))
    left = degrees - q + 1
    return statistic, float(f.sf(statistic * left / (degrees * q), q, left))


def _loss_frame(losses: Any, horizon: int | None) -> tuple[pd.DataFrame, int]:
    """Check a table of losses; the horizon given, or that noted in it."""
    if not isinstance(losses, pd.DataFrame) or not losses.shape[1]:
        raise bad_parameter(
            "losses",
            expected="a DataFrame of losses, one row per origin and one column per model",
            found=losses,
            advice="loss_table(result.frame) makes it.",
        )
    noted = losses.attrs.get("overlap") if horizon is None else horizon
    if noted is None:
        raise bad_parameter(
            "horizon",
            expected="how many consecutive origins share forecast rows",
            found=horizon,
            advice="1 if no two forecasts overlap; tables of loss_table have it noted.",
        )
    table = losses.astype(float)
    bad = ~np.isfinite(table.to_numpy())
    if bad.any():
        raise fail(
            "losses are missing",
            expected="finite losses of every model at every origin",
            found=f"{int(bad.sum())} that are not ({first(table.columns[bad.any(axis=0)])})",
            advice="Compare models on the origins that all have, as loss_table does.",
            rows=list(table.index[bad.any(axis=1)]),
        )
    return table, positive_int("horizon", noted)


def _block(n: int, horizon: int) -> int:
    return max(2 * horizon, math.ceil(math.pow(n, 1 / 3)))


def _exact_relations(values: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Of each model the first one with the same losses, and whether another always beats it.

    Such pairs have a differential without variance, by which the bootstrap would divide.
    """
    k = values.shape[1]
    size = float(np.abs(values).mean())
    alike, beaten = np.arange(k), np.zeros(k, dtype=bool)
    for i in range(k):
        for j in range(i):
            constant = constant_difference(values[:, i] - values[:, j], size)
            if constant == 0.0:
                alike[i] = min(alike[i], alike[j])
            elif constant is not None:
                beaten[i if constant > 0 else j] = True
    return alike, beaten


def _confidence_set(
    values: Floats, size: float, block: int, n_bootstrap: int, random_state: int
) -> Floats:
    """P-values of models of which no two have a constant differential."""
    k = values.shape[1]
    if k < 2:
        return np.ones(k)
    test = _bootstrap().MCS(
        values,
        size=size,
        reps=n_bootstrap,
        block_size=block,
        method="max",
        seed=random_state,
    )
    test.compute()
    return _counting_itself(test.pvalues["Pvalue"].reindex(range(k)), n_bootstrap)


def _counting_itself(p: npt.ArrayLike, n_bootstrap: int) -> Floats:
    """P-values with the sample at hand as one more draw, so that none is 0."""
    return np.asarray((np.asarray(p, dtype=np.float64) * n_bootstrap + 1) / (n_bootstrap + 1))


def _bootstrap() -> Any:
    try:
        import arch.bootstrap
    except ImportError:
        raise ImportError(
            "this test needs arch: expected it to be installed, found it missing. Run "
            'pip install "tsforecast[finance]".'
        ) from None
    return arch.bootstrap
