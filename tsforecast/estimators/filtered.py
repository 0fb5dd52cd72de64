"""Filtered historical simulation: the distribution of a return from a forecast of its variance."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import DataError, bad_parameter, choice, fail
from tsforecast.backtesting.risk import tail_levels
from tsforecast.data.calendars import infer_time_step
from tsforecast.data.frames import forecast_frame
from tsforecast.data.panel import Floats, Ints, Layout, layout_of
from tsforecast.data.scored import short_origins_unsaid
from tsforecast.estimators._base import (
    PanelForecaster,
    PreparedRows,
    series_key,
    targets_of,
)
from tsforecast.estimators.baselines import following

__all__ = ["FilteredHistorical"]

_FOLDS = 5
_ENOUGH = 100  # standardised returns of one series, at least, to have quantiles of its own
_WARM_UP = 50  # rows in which a recursion forgets how it began, but for short series


class FilteredHistorical(PanelForecaster):
    r"""Forecast the distribution of a return from its variance and the returns of the past.

    Past returns are divided by the standard deviation that was forecast for them; what is left has
    one distribution, and its quantiles are scaled back by the forecast of the day:

    .. math::
        z_{t,k} = \frac{r_{t+k} - m}{\sqrt{v_{t,k}}}, \qquad
        q_{t,k}(p) = m + \sqrt{v_{t,k}} \; Q_k(p)

    with :math:`v_{t,k}` the variance forecast from row t for k rows later, and :math:`Q_k` the
    empirical quantiles of :math:`z_{\cdot,k}` in the training rows (Barone-Adesi, Giannopoulos and
    Vosper 1999, VaR without correlations for portfolios of derivative securities; Hull and White
    1998, Incorporating volatility updating into the historical simulation method). No shape is
    assumed: skew and heavy tails are those of the past. A constant factor in the variance (a
    realised variance that leaves out the night) does not matter: :math:`Q_k` holds it.

    Parameters
    ----------
    volatility : forecaster
        Of this package, with one target: a *variance* column of the same panel, such as squared
        returns, a realised variance or `garman_klass` squared; a standard deviation or a logarithm
        would be taken for a variance. Cloned; its `horizon` is replaced, and its `levels` are not
        used. It may know nothing ahead (`future`).
    target : str, optional
        The column of returns; default: the only one.
    horizon : int
        Rows ahead. Step k is the return of the k-th row, not the sum up to there, and each step
        has a distribution of its own.
    centre : {"mean", "zero"}
        The m above, which is also the ``forecast``: the mean of the training returns, or 0.
    levels : tuple of float
        Quantile levels. Default: `tail_levels`, good for risk from 1 % on.
    by : {"series", "all"}
        "series": each series with at least 100 standardised returns, and at least one expected
        beyond its outermost levels (1,000 for `tail_levels`), has m and Q of its own, others share
        the pooled ones. "all": all share them.

    Attributes
    ----------
    volatility_ : forecaster
        The fitted one.

    Raises
    ------
    ValueError
        In `fit`, if a parameter cannot be used.
    DataError
        In `fit`, if no return can be set beside a positive variance forecast.

    See Also
    --------
    value_at_risk, expected_shortfall : From the forecasts.
    risk_table : Whether they were right.
    ConformalForecaster : Around it, moves two of the quantiles as hits come in; with
        ``sides="each"`` either is a value at risk.

    Notes
    -----
    A flexible forecaster (one that is not said to have `few_parameters`, such as a network) knows
    its training rows too well: the time of the training rows is cut in five, and the variance
    forecasts behind z come from fits on the parts before. Forecasts of others on the training rows
    are taken as they are. The first 50 rows of a series (a fifth of a short one) are left out.

    A variance forecast at or below 0, which linear models give now and then, is taken to the least
    positive one behind z; all others are taken as they are.

    :math:`Q_k(p)` of n values is the one at place (n + 1) p (`numpy.quantile`, ``"weibull"``),
    beyond which a new value of the same distribution falls with probability p. Quantiles of
    training errors, as of `LogHAR`, of `GARCH` with `returns` and of the baselines, are at place
    1 + (n - 1) p, which lies further in: of 155 values the one at 1 % is passed by 1.6 % of the new
    ones. For the tails this class is the better choice.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from tsforecast.estimators.baselines import EWMA
    >>> r = np.random.default_rng(0).normal(size=1000)
    >>> panel = pd.DataFrame({"r": r, "squared": r**2})
    >>> model = FilteredHistorical(EWMA(target="squared", alpha=0.06), target="r").fit(panel)
    >>> frame = model.predict()
    >>> bool(frame["q0.01"].item() < frame["q0.5"].item() < frame["q0.99"].item())
    True
    """

    volatility_: Any
    _centre: Floats  # (S + 1,), the pooled one last
    _spread: Floats  # (S + 1, H): mean square of z
    _quantiles: Floats  # (S + 1, H, J)
    _least: float

    def __init__(
        self,
        volatility: Any,
        *,
        target: Any = None,
        horizon: int = 1,
        centre: Literal["mean", "zero"] = "mean",
        levels: tuple[float, ...] = tail_levels(),
        by: Literal["series", "all"] = "series",
    ) -> None:
        self.volatility = volatility
        self.target = target
        self.horizon = horizon
        self.centre = centre
        self.levels = levels
        self.by = by

    @property
    def few_parameters(self) -> bool:
        """Whether errors on the training rows are as of any rows: as of the volatility."""
        return bool(getattr(self.volatility, "few_parameters", False))

    @property
    def _levels(self) -> tuple[float, ...]:
        return tuple(float(level) for level in self.levels)

    @property
    def _memory(self) -> int:
        return int(self.volatility_._memory)

    @property
    def _sweeps(self) -> bool:
        return bool(self.volatility_._sweeps)

    def _columns(self) -> list[Hashable]:
        fitted = hasattr(self, "_time_step")
        read = self.volatility_._columns() if fitted else []  # it chooses its own in fit
        return list(dict.fromkeys([*self.targets_, *read]))

    def _may_be_categories(self) -> Collection[Hashable]:
        fitted = hasattr(self, "_time_step")
        may: Collection[Hashable] = self.volatility_._may_be_categories() if fitted else ()
        return may

    def _select(self, panel: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        selected = super()._select(panel, fitting=fitting)
        return panel if fitting else selected

    # -------------------------------------------------------------------------------------- fit

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> PreparedRows:
        self._check_parameters()
        self._check_variance(targets_of(panel, self.volatility.target))
        returns = panel[self.targets_[0]].to_numpy(dtype=np.float64)
        fitted = self._unfitted().fit(panel)
        self.volatility_ = fitted
        rows: PreparedRows = fitted._prepared(panel)
        with short_origins_unsaid():
            if self.few_parameters:
                variance = _variances(fitted, rows, np.arange(layout.n_rows))
            else:
                variance = self._honest(panel, layout)
        self._learn(returns, variance, layout)
        return rows

    def _check_parameters(self) -> None:
        choice("centre", self.centre, ("mean", "zero"))
        choice("by", self.by, ("series", "all"))
        if (
            isinstance(self.levels, str | bytes)
            or not isinstance(self.levels, Iterable)
            or any(a >= b for a, b in pairwise(self._levels))
            or any(not 0 < level < 1 for level in self._levels)
        ):
            raise bad_parameter(
                "levels",
                expected="increasing numbers in (0, 1), such as (0.01, 0.05)",
                found=self.levels,
            )
        if len(self.targets_) != 1:
            raise bad_parameter("target", expected="one column of returns", found=self.target)
        if not isinstance(self.volatility, PanelForecaster):
            raise bad_parameter(
                "volatility",
                expected="a forecaster of a variance column, such as EWMA(target='squared')",
                found=self.volatility,
            )
        if "horizon" not in self.volatility.get_params(deep=False):
            raise bad_parameter(
                "volatility",
                expected="a forecaster with a horizon of its own",
                found=self.volatility,
                advice="Put intervals around the returns instead: "
                "ConformalForecaster(FilteredHistorical(...)).",
            )
        ahead = getattr(self.volatility, "future", None)
        if ahead is not None and len(ahead):
            raise bad_parameter(
                "volatility", expected="a forecaster without `future`", found=self.volatility
            )

    def _check_variance(self, names: list[Hashable]) -> None:
        """Refuse a forecaster of several columns, or of the returns themselves."""
        if len(names) != 1:
            raise bad_parameter("volatility", expected="a forecaster of one column", found=names)
        if names == self.targets_:
            raise bad_parameter(
                "volatility",
                expected="a forecaster of a variance, in another column than the returns",
                found=self.volatility,
                advice="Square the returns into a column, such as 'squared', and give "
                f"GARCH(target='squared', returns={names[0]!r}) or EWMA(target='squared').",
            )

    def _unfitted(self) -> Any:
        options: dict[str, Any] = {"horizon": self.horizon}
        if "levels" in self.volatility.get_params(deep=False):
            options["levels"] = ()
        return clone(self.volatility).set_params(**options)

    def _honest(self, panel: pd.DataFrame, layout: Layout) -> Floats:
        """Variances forecast by fits on earlier parts of the rows, (N, H); NaN in the first."""
        when = layout.when()
        edges = np.quantile(np.unique(when), np.arange(1, _FOLDS) / _FOLDS, method="lower")
        variance = np.full((layout.n_rows, self.horizon), np.nan)
        for edge, end in pairwise([*edges, when.max()]):
            try:
                before = self._unfitted().fit(panel[when <= edge])
            except DataError:  # too few rows so early
                if edge == edges[-1]:
                    raise
                continue
            upto = panel[when <= end]
            late = np.flatnonzero(layout_of(upto).when() > edge)
            variance[(when > edge) & (when <= end)] = _variances(
                before, before._prepared(upto), late
            )
        return variance

    def _learn(self, returns: Floats, variance: Floats, layout: Layout) -> None:
        """Learn centre, spread and quantiles from returns (N,) and their variances (N, H)."""
        counts = np.diff(layout.offsets)
        warm_up = np.maximum(np.minimum(_WARM_UP, counts // 5), self.volatility_._memory - 1)
        position = np.arange(layout.n_rows) - np.repeat(layout.starts, counts)
        actual = following(returns, layout, self.horizon)
        used = np.isfinite(actual) & (variance > 0)
        used &= (position >= np.repeat(warm_up, counts))[:, None]
        if not used.any(axis=0).all():
            raise fail(
                "no standardised returns",
                expected="returns that follow rows with a positive variance forecast",
                found=f"none at step {1 + int(np.argmin(used.any(axis=0)))}",
                advice="Give more rows, or look at the variance column.",
                column=self.targets_[0],
            )
        self._least = float(variance[used].min())
        own = self._own_series(used, layout)
        n_levels = len(self._levels)
        self._centre = np.empty(layout.n_series + 1)
        self._spread = np.empty((layout.n_series + 1, self.horizon))
        self._quantiles = np.empty((layout.n_series + 1, self.horizon, n_levels))
        scale = np.sqrt(np.where(used, variance, np.nan))

        def learn(series: Any, rows: slice) -> None:
            centre = self._mean(returns[rows])
            self._centre[series] = centre
            for step, column in enumerate(((actual[rows] - centre) / scale[rows]).T):
                known = column[np.isfinite(column)]
                self._spread[series, step] = np.square(known).mean()
                self._quantiles[series, step] = np.quantile(known, self._levels, method="weibull")

        learn(slice(None), slice(None))
        for series in own:
            learn(series, slice(layout.starts[series], layout.stops[series]))

    def _mean(self, returns: Floats) -> float:
        return float(np.nanmean(returns)) if self.centre == "mean" else 0.0

    def _own_series(self, used: Any, layout: Layout) -> Ints:
        """Series with enough standardised returns at every step; none with ``by="all"``."""
        if self.by == "all":
            return np.empty(0, dtype=np.int64)
        counts = np.add.reduceat(used, layout.starts, axis=0, dtype=np.int64).min(axis=1)
        outermost = min((min(level, 1 - level) for level in self._levels), default=1.0)
        beyond = counts * outermost >= 1 - 1e-9  # as many as the outermost level speaks of
        return np.flatnonzero((counts >= _ENOUGH) & beyond)

    def _remember(self, rows: PreparedRows) -> None:
        super()._remember(rows)
        self._tail = self.volatility_._tail  # may hold more than rows: where a sweep goes on

    # -------------------------------------------------------------------------------- forecasts

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> PreparedRows:
        rows: PreparedRows = self.volatility_._prepared(panel)
        return rows

    def _variance(self, rows: PreparedRows, origins: Ints) -> tuple[Floats, Ints]:
        """Positive variance forecasts (n, H) and the number of each series; NaN stays NaN."""
        variance = _variances(self.volatility_, rows, origins)
        variance = np.where(variance <= 0, self._least, variance)
        series = series_key(rows.layout, self._series)  # -1, unseen, is the pooled one: the last
        return variance, series[rows.layout.codes()[origins]]

    def _forecast(self, rows: Any, origins: Ints) -> tuple[Floats, Floats]:
        variance, series = self._variance(rows, origins)
        scale = np.sqrt(variance)
        centre = np.where(np.isnan(scale), np.nan, self._centre[series, None])
        quantiles = centre[:, :, None] + scale[:, :, None] * self._quantiles[series]
        return centre[:, None], quantiles[:, None]

    def variance_origins(
        self, panel: pd.DataFrame, cutoffs: pd.Index | None = None
    ) -> pd.DataFrame:
        r"""Forecast the variance of the return from many cutoffs.

        .. math:: h_{t,k} = c_k \, v_{t,k}

        with :math:`c_k` the mean square of z: whatever the variance column measures, this is the
        variance of the return around its centre. To be judged by :math:`\log h + r^2 / h`.

        Parameters
        ----------
        panel : DataFrame
            All rows.
        cutoffs : Index, optional
            As for `forecast_origins`.

        Returns
        -------
        DataFrame
            As from `forecast_origins`, without quantiles; ``forecast`` is the variance.
        """
        check_is_fitted(self)
        rows = self._prepared(panel)
        origins, marks = rows.layout.origins_at(cutoffs)
        variance, series = self._variance(rows, origins)
        return forecast_frame(
            rows.layout,
            origins,
            marks,
            targets=self.targets_,
            forecast=(variance * self._spread[series])[:, None],
            quantiles=np.empty((len(origins), 1, self.horizon, 0)),
            levels=(),
            time_step=infer_time_step(rows.layout, learned=self._time_step),
            named=False,
        )


def _variances(fitted: Any, rows: Any, origins: Ints) -> Floats:
    """Forecasts of the one target of a fitted forecaster, (n, H)."""
    forecast: Floats = fitted._forecast(rows, origins)[0]
    return forecast[:, 0]
