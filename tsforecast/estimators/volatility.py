"""The HAR model of volatility and of variance, with leverage and what else is known beside it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, positive_int
from tsforecast.data.frames import DECILES
from tsforecast.data.keys import Keys
from tsforecast.data.panel import Floats, Ints, Layout, forward_fill
from tsforecast.data.ranges import refuse_rows
from tsforecast.estimators._base import series_key
from tsforecast.estimators.baselines import Baseline, KnownRows, following

__all__ = ["HAR", "LogHAR", "means_per_series"]

_CELLS_AT_ONCE = 1 << 18
_ENOUGH_ROWS = 100  # of one series, to have a line (and a spread) of its own
_ROWS_PER_TERM = 10


class HAR(Baseline):
    r"""Forecast volatility from its means over a day, a week and a month.

    For each step k a least squares line of its own:

    .. math::
        y_{t+k} = c_k + b_{k1}\, y_t + b_{k2}\, \bar y_{t-4..t} + b_{k3}\, \bar y_{t-21..t} + e

    (Corsi 2009, A simple approximate long-memory model of realized volatility, eq. 9, direct per
    step.) Of a variance as it is, the forecast may come out negative: `LogHAR` cannot, and is the
    better one for variances. On the logarithm of volatility, as from
    ``np.log(garman_klass(panel))``, this is the log-HAR, which series of different level share
    best.

    Parameters
    ----------
    target : str or list of str, optional
        Column of volatility (or its logarithm, or variance), or several; default: the only one.
    horizon : int
        Rows ahead.
    lags : tuple of int
        Rows of each mean, increasing.
    past : sequence of str, optional
        Further columns, whose means over the same lags enter the line.
    by : {"all", "series"}
        One line from the rows of all series together, with one intercept; or one for each series.
        A series has its own where at least 100 of its rows, and ten for each coefficient, can be
        trained on; all others, and those not seen in `fit`, have the one of all together.
    levels : tuple of float
        Quantile levels: of the training residuals per step, around the forecast, per series where
        it has at least 100 of them.

    Attributes
    ----------
    terms_ : list of str
        What each coefficient belongs to, P of them.
    coef_ : ndarray, shape (H, P)
        Coefficient of each term, per step, of the line of all series together.
    intercept_ : ndarray, shape (H,)

    Notes
    -----
    Where a value of the target is missing the last known one stands in; at the start of a series,
    where rows are fewer than a lag, the mean is over those that are there (such rows are not
    trained on). Of a further column a mean is over what is known in its rows; where that is
    nothing, the term's training mean stands in. Rows before which nothing of a further column is
    known over the longest lag are not trained on.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> noise = np.random.default_rng(0).normal(size=300)
    >>> panel = pd.DataFrame({"log_volatility": noise})
    >>> HAR(horizon=2).fit(panel).coef_.shape
    (2, 3)
    """

    def __init__(
        self,
        *,
        target: Any = None,
        horizon: int = 1,
        lags: tuple[int, ...] = (1, 5, 22),
        past: Sequence[Hashable] | None = None,
        by: Literal["all", "series"] = "all",
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, levels=levels)
        self.lags = lags
        self.past = past
        self.by = by

    @property
    def _memory(self) -> int:
        lags = [positive_int("lags", lag) for lag in self.lags]
        if not lags or any(a >= b for a, b in pairwise(lags)):
            raise bad_parameter("lags", expected="increasing whole numbers", found=self.lags)
        return lags[-1]

    def _further(self) -> list[Hashable]:
        past = () if self.past is None else self.past
        if isinstance(past, str) or not isinstance(past, Iterable):
            raise bad_parameter("past", expected="a list of columns", found=past)
        return list(past)

    def coefficients(self, series: Hashable = None) -> pd.DataFrame:
        """Give intercept and coefficients as a table; with several targets, of `estimators_`.

        Parameters
        ----------
        series : hashable, optional
            The line with which this series is forecast. Default: the one of all together.

        Returns
        -------
        DataFrame
            A row for each step from 1, columns ``intercept`` and `terms_`.

        Raises
        ------
        KeyError
            If `fit` has not seen the series.
        """
        number = self._number_of(series)
        lines = self._lines[number if len(self._lines) > 1 else -1]
        steps = pd.Index(self._steps(), name="step")
        return pd.DataFrame(lines, index=steps, columns=["intercept", *self.terms_])

    # ------------------------------------------------------------------------------------- terms

    def _names(self) -> list[str]:
        """Name the P terms."""
        return [f"{name} {lag}" for name in self._own_columns() for lag in self.lags]

    def _features(self, windows: list[Floats]) -> Floats:
        """Terms (n, P) from the last rows of each column, newest first, (n, M) each."""
        return np.concatenate([self._means(window) for window in windows], axis=1)

    def _state(self, y: Floats, layout: Layout) -> Floats:
        """Terms, then the values of the further columns, (N,) -> (N, P + C)."""
        target, *beside = np.atleast_2d(y.T)
        known = [forward_fill(target, layout)[0], *beside]
        start = np.repeat(layout.starts, np.diff(layout.offsets))
        parts = []
        per_chunk = max(1, _CELLS_AT_ONCE // self._memory)
        for at in range(0, len(y), per_chunk):
            rows = np.arange(at, min(at + per_chunk, len(y)))
            windows = [_last(value, rows, start[rows], self._memory) for value in known]
            parts.append(self._features(windows))
        return np.column_stack([np.concatenate(parts), *beside])

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        layout = before.layout
        last, further = layout.stops - 1, len(self._further())
        held = before.state.T[before.state.shape[1] - further :]
        target, *beside = np.atleast_2d(y.T)
        known = [np.where(np.isnan(target), before.value[last], target), *beside]
        windows = []
        for newest, values in zip(known, [before.value, *held]):
            older = _last(values, last, layout.starts, self._memory - 1)
            windows.append(np.concatenate([newest[:, None], older], axis=1))
        return np.column_stack([self._features(windows), *beside])

    def _means(self, window: Floats) -> Floats:
        """Means over the first columns of each lag, of those that are known, (n, M) -> (n, L)."""
        # sums of the window alone, not differences of running sums: equal to the last bit
        # wherever the series starts
        known = np.isfinite(window)
        columns = np.asarray(self.lags) - 1
        total = np.where(known, window, 0.0).cumsum(axis=1)[:, columns]
        count = known.cumsum(axis=1)[:, columns]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def _terms(self, state: Floats) -> Floats:
        """Terms with which the line is taken, (n, P)."""
        terms = state[:, : len(self.terms_)].copy()
        further = slice(len(self.lags), None)
        terms[:, further] = np.where(
            np.isnan(terms[:, further]), self._usual[further], terms[:, further]
        )
        return terms

    # ------------------------------------------------------------------------------------- lines

    def _on_line(self, y: Floats) -> Floats:
        """Take the target to the scale of the line."""
        return y

    def _learn(self, y: Floats, layout: Layout) -> None:
        choice("by", self.by, ("all", "series"))
        self.terms_ = self._names()
        target = y if y.ndim == 1 else y[:, 0]
        state = self._state(y, layout)
        terms = state[:, : len(self.terms_)]
        row = np.arange(layout.n_rows) - np.repeat(layout.starts, np.diff(layout.offsets))
        ready = (row >= self._memory - 1) & np.isfinite(terms[:, : len(self.lags)]).all(axis=1)
        for column in y.T[1:] if y.ndim > 1 else ():
            source = forward_fill(column, layout)[1]  # the row itself where nothing is known yet
            ready &= np.isfinite(column[source]) & (np.arange(len(row)) - source < self._memory)
        actual = self._on_line(following(target, layout, self.horizon))
        used = ready[:, None] & np.isfinite(actual)  # (N, H)
        n_terms = terms.shape[1]
        # of each step, the rows to train on, if there is any in which each term is known
        found = used.sum(axis=0) * np.isfinite(terms[ready]).any(axis=0).all()
        if found.min() < 2 * (1 + n_terms):
            raise fail(
                "too few known rows",
                expected=f"at least {2 * (1 + n_terms)} rows, two for each coefficient of "
                f"P = {n_terms} terms and the intercept: {self._memory} or more into their series, "
                f"with a value up to {self.horizon} rows later, and where over the longest lag "
                f"all of {self._own_columns()} are known",
                found=f"{found.min()} at step {1 + int(found.argmin())}",
                advice="Give more rows, fewer terms, leave out columns that are hardly ever known, "
                "or ask for a shorter horizon.",
                column=self.targets_[0],
            )
        self._usual = np.nanmean(terms[ready], axis=0)
        terms = self._terms(state)
        self._lines = _lines(terms, actual, used)[None]  # (1, H, 1 + P)
        if self.by == "series":
            # the errors of this very fit are of these lines
            self._series = None if layout.ids is None else Keys.of(layout.ids)
            self._lines = np.repeat(self._lines, layout.n_series + 1, axis=0)
            enough = max(_ENOUGH_ROWS, _ROWS_PER_TERM * (1 + terms.shape[1]))
            counts = np.add.reduceat(used, layout.starts, axis=0, dtype=np.int64).min(axis=1)
            for number in np.flatnonzero(counts >= enough):
                own = slice(layout.starts[number], layout.stops[number])
                self._lines[number] = _lines(terms[own], actual[own], used[own])
        self.intercept_, self.coef_ = self._lines[-1, :, 0], self._lines[-1, :, 1:]

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        terms = self._terms(rows.state[origins])
        which = np.zeros(len(origins), dtype=np.int64)
        if len(self._lines) > 1:
            which = series_key(rows.layout, self._series)[rows.layout.codes()[origins]]
        point = self._lines[which, :, 0]
        # a sum by hand: a matrix product rounds differently for one origin and for many
        for j in range(terms.shape[1]):
            point += terms[:, j, None] * self._lines[which, :, 1 + j]
        return point


class LogHAR(HAR):
    r"""Forecast a variance by a line of its logarithm, and say its mean.

    For each step k, with :math:`\bar y_n` the mean over the last n rows,

    .. math::
        \ln y_{t+k} = c_k + b_{k1} \ln y_t + b_{k2} \ln \bar y_5 + b_{k3} \ln \bar y_{22}
        + \dots + e_k, \qquad
        \hat y_{t+k} = e^{\widehat{\ln y}_{t+k}} \cdot \overline{e^{\,e_k}}

    (Corsi 2009; Patton & Sheppard 2015 in logarithms.) The last factor, the mean of the
    exponentials of the training residuals, makes the forecast the mean of the variance and not its
    median (the smearing estimate: Duan 1983); it is that of a series where it has at least 100
    residuals. Quantiles are :math:`\exp` of the line plus quantiles of those residuals. A forecast
    is always positive, and in the target's own unit.

    Parameters
    ----------
    target : str or list of str, optional
        Column of a variance (or of any quantity above zero), or several; default: the only one.
    horizon : int
        Rows ahead.
    lags : tuple of int
        Rows of each mean, increasing.
    returns : str, optional
        Column of returns. Adds leverage: for each lag the mean return where it is negative, else 0
        (Corsi & Reno 2012, Discrete-time volatility forecasting with persistent leverage effect).
    semivariance : tuple of two str, optional
        Columns of the negative and the positive semivariance. Adds for each lag the share of the
        negative one in both: bad news, measured within the day (Patton & Sheppard 2015).
    quarticity : str, optional
        Column of the realised quarticity, if the target is the realised variance. Adds
        :math:`\sqrt{RQ}/RV` of the newest row, less its training mean, times
        :math:`\ln y_t - \ln \bar y_{22}`, the logarithm of the mean over the first lag less that
        over the last: a variance that was measured badly moves the forecast less from the level
        of the month (Bollerslev, Patton & Quaedvlieg 2016). Needs two lags or more.
    past : sequence of str, optional
        Further columns, whose means over the same lags enter as they are.
    by : {"all", "series"}
        As for `HAR`.
    levels : tuple of float
        Quantile levels; ``()`` gives the mean alone.

    Attributes
    ----------
    terms_, coef_, intercept_
        As of `HAR`, of the line of the logarithm.

    Raises
    ------
    DataError
        In `fit` and on rows to forecast from: if target or quarticity is zero or negative, or a
        semivariance negative. In `fit` also if rows are fewer than two for each coefficient.

    Notes
    -----
    Missing values are treated as in `HAR`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> noise = np.random.default_rng(0).normal(size=5000)
    >>> panel = pd.DataFrame({"variance": np.exp(noise)})
    >>> model = LogHAR(levels=(0.5,)).fit(panel)
    >>> model.terms_
    ['log variance 1', 'log variance 5', 'log variance 22']
    >>> forecast = model.predict()
    >>> (forecast["forecast"] / forecast["q0.5"]).round(1).tolist()  # about e^(1/2)
    [1.7]
    """

    def __init__(
        self,
        *,
        target: Any = None,
        horizon: int = 1,
        lags: tuple[int, ...] = (1, 5, 22),
        returns: Hashable = None,
        semivariance: tuple[Hashable, Hashable] | None = None,
        quarticity: Hashable = None,
        past: Sequence[Hashable] | None = None,
        by: Literal["all", "series"] = "all",
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, lags=lags, past=past, by=by, levels=levels)
        self.returns = returns
        self.semivariance = semivariance
        self.quarticity = quarticity

    def _further(self) -> list[Hashable]:
        halves = self.semivariance
        if halves is not None and not (isinstance(halves, list | tuple) and len(halves) == 2):
            raise bad_parameter(
                "semivariance", expected="two columns (negative, positive)", found=halves
            )
        named = [self.returns, *(halves or ()), self.quarticity]
        for key, name in zip(
            ["returns", *["semivariance"] * (len(named) - 2), "quarticity"], named
        ):
            if not isinstance(name, Hashable):
                raise bad_parameter(
                    key,
                    expected="the name of a column",
                    found=name,
                    advice="Further columns can be named in past=[...].",
                )
        return [*(name for name in named if name is not None), *super()._further()]

    def _names(self) -> list[str]:
        names = [f"log {self.targets_[0]} {lag}" for lag in self.lags]
        if self.returns is not None:
            names += [f"negative {self.returns} {lag}" for lag in self.lags]
        if self.semivariance is not None:
            names += [f"share of {self.semivariance[0]} {lag}" for lag in self.lags]
        if self.quarticity is not None:
            names += [f"{self.quarticity} times log {self.targets_[0]}"]
        return names + [f"{name} {lag}" for name in super()._further() for lag in self.lags]

    def _features(self, windows: list[Floats]) -> Floats:
        own, *others = windows
        beside = iter(others)
        parts = [np.log(self._means(own))]
        if self.returns is not None:
            parts.append(np.minimum(self._means(next(beside)), 0.0))
        if self.semivariance is not None:
            negative, positive = self._means(next(beside)), self._means(next(beside))
            total = negative + positive
            share = np.divide(negative, total, out=np.full(total.shape, 0.5), where=total != 0)
            parts.append(share)
        if self.quarticity is not None:
            parts.append(np.sqrt(next(beside)[:, :1]) / own[:, :1])  # the rest: in `_terms`
        return np.concatenate([*parts, *(self._means(window) for window in beside)], axis=1)

    def _terms(self, state: Floats) -> Floats:
        terms = super()._terms(state)
        if self.quarticity is not None:
            j = self.terms_.index(f"{self.quarticity} times log {self.targets_[0]}")
            longest = terms[:, len(self.lags) - 1]
            terms[:, j] = (terms[:, j] - self._usual[j]) * (terms[:, 0] - longest)
        return terms

    def _values(self, panel: pd.DataFrame) -> Floats:
        halves = list(self.semivariance or ())
        for name in self._own_columns():
            above = name in (self.targets_[0], self.quarticity)
            if above or name in halves:
                values = panel[name].to_numpy()
                refuse_rows(
                    panel,
                    values <= 0 if above else values < 0,
                    problem=f"values that are {'not positive' if above else 'negative'}",
                    expected=f"numbers {'above 0' if above else 'from 0 on'}, or NaN where missing",
                    advice="Set to NaN what was not measured, or use HAR.",
                    column=name,
                )
        return super()._values(panel)

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        own = self._own_columns()
        # rows to be named in an error are the series: one new row of each
        layout = before.layout
        names = layout.time.take(layout.stops - 1) if layout.ids is None else layout.ids
        row = pd.DataFrame(np.atleast_2d(y.T).T, index=names)
        self._values(row.set_axis(own, axis=1).loc[:, ~pd.Index(own).duplicated()])
        return super()._next_state(before, y)

    # --------------------------------------------------------------------------------- and back

    def _learn(self, y: Floats, layout: Layout) -> None:
        if self.returns == self.targets_[0]:
            raise bad_parameter(
                "returns",
                expected="another column than the target, which is a variance",
                found=self.returns,
                advice="GARCH(target=...) forecasts returns themselves.",
            )
        if self.quarticity is not None and len(self.lags) < 2:
            raise bad_parameter(
                "quarticity",
                expected="None where `lags` has one number",
                found=self.quarticity,
                advice="It weighs the newest rows against the level of the longest lag: give two "
                "lags or more.",
            )
        super()._learn(y, layout)

    def _on_line(self, y: Floats) -> Floats:
        return np.log(y)

    def _learn_errors(self, rows: KnownRows, actual: Floats) -> None:
        super()._learn_errors(rows, np.log(actual))

    def _keep_errors(self, errors: Floats, layout: Layout) -> None:
        super()._keep_errors(errors, layout)
        self._smearing = means_per_series(np.exp(errors), layout)

    def _forecast(self, rows: Any, origins: Ints) -> tuple[Floats, Floats]:
        point, quantiles = super()._forecast(rows, origins)
        if len(self.targets_) > 1:
            return point, quantiles
        key = series_key(rows.layout, self._series)  # -1, unseen, is the pooled one: the last
        smearing = self._smearing[key][rows.layout.codes()[origins]]  # (n, H)
        return np.exp(point) * smearing[:, None], np.exp(quantiles)


def _lines(terms: Floats, actual: Floats, used: Any) -> Floats:
    """Least squares lines of each step, the intercept first, (N, P) and (N, H) -> (H, 1 + P)."""
    lines = []
    for step, known in zip(actual.T, used.T):
        x, y = terms[known], step[known]
        # in units of their spread: columns of very different size would be taken for dependent
        location, scale = x.mean(axis=0), x.std(axis=0)
        scale[scale <= 1e-12 * np.abs(location)] = np.inf  # tells nothing beside the intercept
        slope = np.linalg.lstsq((x - location) / scale, y - y.mean(), rcond=None)[0] / scale
        lines.append(np.concatenate([[y.mean() - location @ slope], slope]))
    return np.array(lines)


def means_per_series(values: Floats, layout: Layout) -> Floats:
    """Mean of each step, per series where enough are known, then of all, (N, H) -> (S + 1, H)."""
    known = np.isfinite(values)
    totals = np.add.reduceat(np.where(known, values, 0.0), layout.starts, axis=0)
    counts = np.add.reduceat(known, layout.starts, axis=0, dtype=np.int64)
    pooled = totals.sum(axis=0) / counts.sum(axis=0)
    enough = counts.min(axis=1, keepdims=True) >= _ENOUGH_ROWS
    return np.vstack([np.where(enough, totals / np.maximum(counts, 1), pooled), pooled])


def _last(values: Floats, rows: Ints, starts: Ints, n: int) -> Floats:
    """Give the n values up to each row, newest first, NaN before its series' start, (R, n)."""
    at = rows[:, None] - np.arange(n)
    return np.where(at >= starts[:, None], values[np.maximum(at, 0)], np.nan)
