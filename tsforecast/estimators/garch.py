"""GARCH models of returns, fitted by arch, with the verbs of a forecaster."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import gammaln, ndtri, stdtrit
from sklearn.exceptions import ConvergenceWarning

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first, positive_int
from tsforecast.data.frames import DECILES
from tsforecast.data.keys import Keys
from tsforecast.data.panel import Floats, Ints, Layout
from tsforecast.data.tables import side_by_side
from tsforecast.estimators._base import series_key
from tsforecast.estimators.baselines import Baseline, KnownRows
from tsforecast.estimators.volatility import means_per_series

__all__ = ["GARCH"]

_SHAPES = {"normal": [], "t": ["nu"], "skewt": ["eta", "lambda"]}
_ENOUGH_RETURNS = 100  # of one series, to have parameters of its own
_FEWEST_RETURNS = 10
_ENOUGH_SIGNS = 30  # returns that are not all positive by chance


class GARCH(Baseline):
    r"""Forecast returns by a GARCH or GJR-GARCH model, or a variance by that of the returns.

    .. math::
        r_t = \mu + \sigma_t z_t, \qquad
        \sigma_t^2 = \omega + \sum_{i=1}^p \alpha_i e_{t-i}^2
        + \sum_{j=1}^o \gamma_j e_{t-j}^2 [e_{t-j} < 0] + \sum_{k=1}^q \beta_k \sigma_{t-k}^2

    with :math:`e_t = r_t - \mu` (Bollerslev 1986; Glosten, Jagannathan & Runkle 1993), fitted by
    maximum likelihood to each series with arch. Further ahead than one row, the squares not yet
    known are replaced by their expectation.

    Without `returns` the target is the return: the forecast is :math:`\mu`, and its quantiles are
    :math:`\mu + \sigma_{t+k} F^{-1}(p)`. With `returns` the target is a measure of the variance of
    these returns (realised, Garman-Klass, squared returns), in any unit. The forecast is

    .. math:: \hat y_{t+k} = f_k \, \sigma_{t+k}^2, \qquad
        f_k = \overline{y_{t+k} / \sigma_{t+k}^2}

    with the mean over the training rows: what the target leaves out, as a measure of the session
    leaves out the night, is left out of the forecast, too. For squared returns f is about 1. Its
    quantiles are :math:`\sigma_{t+k}^2` times the training quantiles of the same ratio. Mean and
    quantiles are those of a series where it has at least 100 such rows, else of all together.

    Parameters
    ----------
    target : str or list of str, optional
        Column of returns, or of a variance, or several; default: the only one.
    returns : str, optional
        Column of returns, where the target is a variance.
    horizon : int
        Rows ahead.
    p, o, q : int
        Number of squares, of squares of negative shocks, and of variances before. ``o=1`` makes
        GARCH(1, 1) the GJR model: bad news raise the variance more.
    distribution : {"normal", "t", "skewt"}
        Of :math:`z`: standard normal, Student's t with variance 1, or Hansen's (1994) skewed t.
    mean : {"constant", "zero"}
        Whether :math:`\mu` is estimated or 0.
    levels : tuple of float
        Quantile levels; ``()`` gives the point alone.

    Attributes
    ----------
    converged_ : list of bool
        Whether the optimiser found the parameters, of each fit: of the series with parameters of
        their own, in the order of the panel (the warning names those where it did not), or of the
        one fit that all share.

    Raises
    ------
    ImportError
        In `fit`, without arch.
    DataError
        In `fit`, if there are too few returns, or those of a series are all positive, as prices
        are (at least 100 of them; 30, if those of all series are).

    Warns
    -----
    ConvergenceWarning
        If the optimiser of a series did not converge; its last parameters are used.

    See Also
    --------
    LogHAR : of realised variance; with prices within the day it is the better forecast.

    Notes
    -----
    A series has parameters of its own where at least 100 of its returns are known. All others, and
    those not seen in `fit`, have the mean of these parameters (the median of those of the
    distribution), with returns measured in units of their training spread, at the median spread.
    If no series has as many, one fit to all of them, laid end to end in these units, serves all.

    The variance before the first row of a series is the mean square of its training shocks. A
    missing return leaves the variance to go on by its expectation; the fit leaves it out.
    Quantiles beyond step 1 use the distribution of one step, scaled: an approximation, as the
    variance is then not known.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> returns = 0.01 * np.random.default_rng(0).standard_t(5, size=500)
    >>> model = GARCH(o=1, distribution="t", levels=(0.01, 0.5))
    >>> frame = model.fit(pd.DataFrame({"return": returns})).predict()
    >>> frame.columns.tolist()
    ['target', 'cutoff', 'step', 'forecast', 'q0.01', 'q0.5']
    >>> model.coefficients().index.tolist()
    ['mu', 'omega', 'alpha[1]', 'gamma[1]', 'beta[1]', 'nu']
    """

    def __init__(
        self,
        *,
        target: Any = None,
        returns: Hashable = None,
        horizon: int = 1,
        p: int = 1,
        o: int = 0,
        q: int = 1,
        distribution: Literal["normal", "t", "skewt"] = "normal",
        mean: Literal["constant", "zero"] = "constant",
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, levels=levels)
        self.returns = returns
        self.p = p
        self.o = o
        self.q = q
        self.distribution = distribution
        self.mean = mean

    def _further(self) -> list[Hashable]:
        if not isinstance(self.returns, Hashable):
            raise bad_parameter("returns", expected="the name of one column", found=self.returns)
        return [] if self.returns is None else [self.returns]

    def coefficients(self, series: Hashable = None) -> pd.Series:
        """Give the parameters by their names in arch; with several targets, of `estimators_`.

        Parameters
        ----------
        series : hashable, optional
            Those of this series. Default: those of the only series, or of series not seen.

        Returns
        -------
        Series
            For returns in the unit in which they were given.

        Raises
        ------
        KeyError
            If `fit` has not seen the series.
        """
        number = self._number_of(series)  # first: it says what is wrong where there is no law
        return pd.Series(self._law[number], index=self._names())

    @property
    def _memory(self) -> int:
        choice("distribution", self.distribution, tuple(_SHAPES))
        choice("mean", self.mean, ("constant", "zero"))
        for name, least in (("p", 0), ("o", 0), ("q", 0)):
            positive_int(name, getattr(self, name), least=least)
        if not self.p + self.o:
            raise bad_parameter("p", expected="at least 1, where o is 0", found=self.p)
        return 1

    def _names(self) -> list[str]:
        lags = (("alpha", self.p), ("gamma", self.o), ("beta", self.q))
        weights = [f"{name}[{lag}]" for name, n in lags for lag in range(1, n + 1)]
        return ["mu", "omega", *weights, *_SHAPES[self.distribution]]

    # ------------------------------------------------------------------------------------- learn

    def _learn(self, y: Floats, layout: Layout) -> None:
        if self.returns == self.targets_[0]:
            raise bad_parameter(
                "returns",
                expected="another column than the target, which is then a variance",
                found=self.returns,
                advice="To forecast the returns themselves leave it out.",
            )
        returns = y if y.ndim == 1 else y[:, 1]
        self._series = None if layout.ids is None else Keys.of(layout.ids)
        parts = [
            part[np.isfinite(part)] for part in np.split(returns, layout.offsets[1:-1].tolist())
        ]
        spread = np.array([part.std() if len(part) > 1 else 0.0 for part in parts])  # (S,)
        counts = np.array([len(part) for part in parts])
        moves = spread > 1e-12 * np.array([np.abs(part).max(initial=0.0) for part in parts])
        if counts[moves].sum() < _FEWEST_RETURNS:
            raise fail(
                "too few returns",
                expected=f"at least {_FEWEST_RETURNS} known returns that are not all the same",
                found=f"{int(counts[moves].sum())}",
                advice="Give more rows, or returns in place of prices.",
                column=self._own_columns()[-1],
            )
        self._refuse_prices(parts, layout)
        enough = np.flatnonzero(moves & (counts >= _ENOUGH_RETURNS))
        usual = float(np.median(spread[moves]))
        laws: list[Floats] = []
        variances: list[float] = []
        if len(enough):
            found = [self._fitted(parts[number] / spread[number]) for number in enough]
            laws, variances, converged = (list(part) for part in zip(*found))
            self._warn_of(enough, np.array(converged), layout)
            pooled = np.mean(laws, axis=0)
            pooled[self._n_linear :] = np.median(laws, axis=0)[self._n_linear :]
            variance = float(np.mean(variances))
        else:
            ends = [parts[number] / spread[number] for number in np.flatnonzero(moves)]
            pooled, variance, converged_all = self._fitted(np.concatenate(ends))
            self._warn_of(np.array([-1]), np.array([converged_all]), layout)
        table = np.repeat(self._scaled(pooled, usual)[None], layout.n_series + 1, axis=0)
        self._start = np.full(layout.n_series + 1, variance * usual**2)
        for number, law, own in zip(enough, laws, variances):
            table[number] = self._scaled(law, spread[number])
            self._start[number] = own * spread[number] ** 2
        if layout.n_series == 1:
            table[-1], self._start[-1] = table[0], self._start[0]
        self._law = table
        self._falls = np.array([self._share_of_falls(law) for law in table])

    def _refuse_prices(self, parts: list[Floats], layout: Layout) -> None:
        """Raise if the returns of a series are all positive; of a short one, if of all."""
        positive = [bool((part > 0).all()) for part in parts]
        fewest = _ENOUGH_SIGNS if all(positive) else _ENOUGH_RETURNS
        for series, part in enumerate(parts):
            if positive[series] and len(part) >= fewest:
                raise fail(
                    "returns that are all positive",
                    expected="returns, some of which are negative",
                    found=f"{len(part)} from {part.min():.4g} to {part.max():.4g}",
                    advice="Prices have returns in np.log(price).groupby(level=0).diff() (of one "
                    "series: without the groupby); a variance is the target, beside its returns.",
                    column=self._own_columns()[-1],
                    series=None if layout.ids is None else layout.ids[series],
                )

    @property
    def _n_linear(self) -> int:
        """Parameters before those of the distribution."""
        return 2 + self.p + self.o + self.q

    def _scaled(self, law: Floats, unit: float) -> Floats:
        """Parameters for returns times `unit`."""
        law = law.copy()
        law[0] *= unit
        law[1] *= unit**2
        return law

    def _fitted(self, returns: Floats) -> tuple[Floats, float, bool]:
        """Parameters, the mean square of the shocks, and whether the optimiser converged."""
        try:
            from arch import arch_model
        except ImportError:
            raise ImportError(
                "GARCH needs arch, which is not installed: pip install 'tsforecast[finance]', or "
                "pip install arch."
            ) from None
        centre = returns.mean() if self.mean == "constant" else 0.0
        start = float(np.mean((returns - centre) ** 2))
        model = arch_model(
            returns,
            mean="Constant" if self.mean == "constant" else "Zero",
            vol="GARCH",
            p=self.p,
            o=self.o,
            q=self.q,
            dist=self.distribution,
            rescale=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what counts is whether it converged
            result = model.fit(disp="off", show_warning=False, backcast=start)
        law = np.asarray(result.params, dtype=np.float64)
        if self.mean == "zero":
            law = np.concatenate([[0.0], law])
        return law, start, result.convergence_flag == 0

    def _warn_of(self, numbers: Ints, converged: Any, layout: Layout) -> None:
        self.converged_ = converged.tolist()
        if converged.all():
            return
        whose = ""
        if layout.ids is not None and numbers[0] >= 0:
            names = (repr(name) for name in layout.ids[numbers[~converged]])
            whose = f" for {int((~converged).sum())} of {len(numbers)} series, {first(names)}"
        warnings.warn(
            f"The optimiser of GARCH did not converge{whose}: its last parameters are used. Give "
            "more rows, or a simpler model.",
            ConvergenceWarning,
            stacklevel=callers_level(),
        )

    def _share_of_falls(self, law: Floats) -> float:
        """Expectation of z^2 [z < 0]."""
        if self.distribution != "skewt":
            return 0.5
        from arch.univariate import SkewStudent

        return float(SkewStudent().partial_moment(2, 0.0, law[-2:]))

    def _learn_errors(self, rows: KnownRows, actual: Floats) -> None:
        if self.returns is None:
            return  # the spread is that of the distribution
        self._learn_from(actual / self._of_returns(rows, np.arange(len(actual))), rows.layout)

    def _keep_errors(self, errors: Floats, layout: Layout) -> None:
        super()._keep_errors(errors, layout)
        self._smearing = means_per_series(errors, layout)

    # ------------------------------------------------------------------------------------- apply

    def _state(self, y: Floats, layout: Layout) -> Floats:
        """What the next variance depends on, (N,) -> (N, p + o + q)."""
        returns = np.append(y if y.ndim == 1 else y[:, 1], np.nan)
        law = self._law_of(series_key(layout, self._series))
        state = np.empty((len(returns), self.p + self.o + self.q))
        for series, rows in side_by_side(layout):
            own = law.take(series)
            lags = self._before_the_first(own)
            for at in rows.T:  # a row of each series
                lags = self._after(lags, returns[at], own)
                state[at] = lags
        return state[:-1]

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        law = self._law_of(series_key(before.layout, self._series))
        lags = before.state[before.layout.stops - 1]
        return self._after(lags, y if y.ndim == 1 else y[:, 1], law)

    def _law_of(self, numbers: Ints) -> _Law:
        law = self._law[numbers]
        split = self._n_linear
        return _Law(
            law[:, 0],
            law[:, 1],
            law[:, 2:split],
            law[:, split:],
            self._start[numbers],
            self._falls[numbers],
        )

    def _before_the_first(self, law: _Law) -> Floats:
        lags = np.repeat(law.start[:, None], self.p + self.o + self.q, axis=1)
        lags[:, self.p : self.p + self.o] *= 0.5  # as arch has it
        return lags

    def _after(self, lags: Floats, returns: Floats, law: _Law) -> Floats:
        """Take one row more."""
        variance = _variance(lags, law)
        shock = returns - law.mu
        missing = np.isnan(shock)
        square = np.where(missing, variance, shock**2)
        fall = np.where(missing, variance * law.falls, square * (shock < 0))
        return self._pushed(lags, square, fall, variance)

    def _pushed(self, lags: Floats, square: Floats, fall: Floats, variance: Floats) -> Floats:
        """Shift the lags by one row, (n, p + o + q)."""
        after = np.empty_like(lags)
        after[:, 1:] = lags[:, :-1]
        at = 0
        for n, newest in ((self.p, square), (self.o, fall), (self.q, variance)):
            if n:
                after[:, at] = newest
            at += n
        return after

    def _variances(self, rows: KnownRows, origins: Ints) -> tuple[Floats, _Law]:
        """Variance of the return of each step, (n, H), and the law of each origin."""
        key = series_key(rows.layout, self._series)
        law = self._law_of(key[rows.layout.codes()[origins]])
        lags = rows.state[origins]
        result = np.empty((len(origins), self.horizon))
        for k in range(self.horizon):
            result[:, k] = variance = _variance(lags, law)
            lags = self._pushed(lags, variance, variance * law.falls, variance)
        return result, law

    def _of_returns(self, rows: KnownRows, origins: Ints) -> Floats:
        """Variance of the return of each step, NaN before the target begins, (n, H)."""
        begun = ~np.isnan(rows.value[origins])
        return np.where(begun[:, None], self._variances(rows, origins)[0], np.nan)

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        if self.returns is not None:
            return self._of_returns(rows, origins) * self._of_series(self._smearing, rows, origins)
        law = self._law_of(series_key(rows.layout, self._series)[rows.layout.codes()[origins]])
        point = np.where(np.isnan(rows.value[origins]), np.nan, law.mu)
        return np.repeat(point[:, None], self.horizon, axis=1)

    def _forecast(self, rows: Any, origins: Ints) -> tuple[Floats, Floats]:
        if self.returns is None or len(self.targets_) > 1:
            return super()._forecast(rows, origins)
        ratios = self._of_series(self._error_quantiles, rows, origins)  # (n, H, J)
        quantiles = self._of_returns(rows, origins)[:, :, None] * ratios
        return self._point(rows, origins)[:, None], quantiles[:, None]

    def _spread(self, rows: KnownRows, origins: Ints) -> Floats:
        variances, law = self._variances(rows, origins)
        quantiles = _standard_quantiles(self.distribution, law.shape, np.array(self._levels))
        return np.sqrt(variances)[:, :, None] * quantiles[:, None]

    def _of_series(self, table: Floats, rows: KnownRows, origins: Ints) -> Floats:
        """Rows of a table of all series, the pooled one last, for each origin."""
        found: Floats = table[series_key(rows.layout, self._series)][rows.layout.codes()[origins]]
        return found


class _Law(NamedTuple):
    """Parameters of n series, or of n origins."""

    mu: Floats  # (n,)
    omega: Floats  # (n,)
    weights: Floats  # (n, p + o + q)
    shape: Floats  # (n, 0 to 2) of the distribution
    start: Floats  # (n,) the variance before the first row
    falls: Floats  # (n,) expectation of z^2 [z < 0]

    def take(self, numbers: Ints) -> _Law:
        return _Law(*(part[numbers] for part in self))


def _variance(lags: Floats, law: _Law) -> Floats:
    """Variance of the next row, (n,)."""
    result = law.omega.copy()
    for j in range(lags.shape[1]):  # a sum by hand: the same for one series and for many
        result += law.weights[:, j] * lags[:, j]
    return result


def _standard_quantiles(distribution: str, shape: Floats, levels: Floats) -> Floats:
    """Quantiles of a distribution with mean 0 and variance 1, (n, J)."""
    if distribution == "normal":
        return np.broadcast_to(ndtri(levels), (len(shape), len(levels)))
    nu = shape[:, :1]
    unit = np.sqrt((nu - 2) / nu)
    if distribution == "t":
        return np.asarray(stdtrit(nu, levels) * unit)
    skew = shape[:, 1:]  # Hansen (1994), Autoregressive conditional density estimation, eq. 10-13
    c = np.exp(gammaln((nu + 1) / 2) - gammaln(nu / 2)) / np.sqrt(np.pi * (nu - 2))
    a = 4 * skew * c * (nu - 2) / (nu - 1)
    b = np.sqrt(1 + 3 * skew**2 - a**2)
    turn = (1 - skew) / 2
    left = (1 - skew) * stdtrit(nu, np.minimum(levels, turn) / (1 - skew))
    right = (1 + skew) * stdtrit(nu, 0.5 + np.maximum(levels - turn, 0) / (1 + skew))
    return np.asarray((np.where(levels < turn, left, right) * unit - a) / b)
