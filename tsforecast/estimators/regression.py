"""Any regressor of scikit-learn on lags: what people try first, with the verbs of a forecaster."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone, is_regressor
from sklearn.linear_model import Ridge
from sklearn.utils import get_tags

from tsforecast._checks import bad_parameter, fail, positive_int
from tsforecast.data.frames import DECILES
from tsforecast.data.panel import Floats, Ints, Layout, forward_fill
from tsforecast.data.pipeline import TargetTransform
from tsforecast.estimators.baselines import Baseline, KnownRows, following

__all__ = ["LagRegressor"]

_CELLS_AT_ONCE = 4_000_000
_HELD_OUT = 0.2  # of each series, for the quantiles
_ENOUGH_HELD_OUT = 100  # errors per step


class LagRegressor(Baseline):
    r"""Forecast each step with a regressor of scikit-learn on the rows up to now.

    .. math::
        y_{t+k} - y_t = f_k(y_{t+1-l} - y_t, x_{t+1-l}; \; l \in lags)

    for :math:`k = 1..H`, one set of functions for all series (direct forecasts: Hyndman &
    Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 13.8, discusses the
    alternative, one step at a time). Taking the newest known value off makes series of any level
    alike, and :math:`f = 0` the naive forecast. Series of different *scale* need a `transform`:
    ``Log()`` or ``SeriesScaler()``.

    Inputs are standardised with training statistics and outputs divided by their spread, so that
    the ``alpha`` of a ridge means the same in every unit.

    Parameters
    ----------
    target : str or list of str, optional
        The column, or several (each with regressors of its own); default: the only one.
    horizon : int
        Rows ahead.
    estimator : regressor, optional
        Cloned. Default: ``Ridge()``. If it can have several outputs, and no target value is
        missing between others, one fit serves all steps, on the rows with all `horizon` rows
        after them; otherwise each step has its own, on the rows that know it.
    lags : int or sequence of int
        The last rows, or increasing numbers of rows: lag 1 is the newest row, the one at the
        forecast's cutoff, lag 24 the 24th newest. With ``relative=True`` the target's lag 1 is
        always 0.
    columns : sequence of str, optional
        Further columns whose same lags enter, as they are (not relative).
    relative : bool
        Take the newest known value off the target's lags and steps. False: plain values, for
        series that return to a common level.
    transform : transformer or Pipeline, optional
        Fitted on target and `columns`, undone on forecasts, as for `RecurrentForecaster`.
    levels : tuple of float
        Quantile levels: of errors per step around the forecast, per series where it has at least
        100. Errors of the last fifth of each series, of regressors fitted on the rows before it,
        since training errors of trees say nothing; if the fifths hold fewer than 100 errors, or
        there is too little before them, training errors stand in. ``()`` gives the point alone,
        and fits once.

    Attributes
    ----------
    regressors_ : list of regressor
        One for all steps, or one per step; on standardised numbers. Absent with several targets,
        where each of `estimators_` has them.

    Notes
    -----
    Where a value is missing the last known one stands in; before the first one (at the start of
    a series) the training mean, or NaN for regressors that say they take it (scikit-learn's tag
    ``allow_nan``). Rows with fewer rows before them than the largest lag are not trained on.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> panel = pd.DataFrame({"y": np.sin(np.arange(200) / 5)})
    >>> model = LagRegressor(horizon=3, estimator=LinearRegression(), lags=3).fit(panel)
    >>> model.predict()["forecast"].round(3).tolist()  # sin(40), sin(40.2), sin(40.4)
    [0.745, 0.598, 0.427]
    """

    few_parameters = False

    def __init__(
        self,
        *,
        target: Any = None,
        horizon: int = 1,
        estimator: Any = None,
        lags: int | Sequence[int] = 32,
        columns: Sequence[Hashable] | None = None,
        relative: bool = True,
        transform: Any = None,
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, levels=levels)
        self.estimator = estimator
        self.lags = lags
        self.columns = columns
        self.relative = relative
        self.transform = transform

    @property
    def _memory(self) -> int:
        return int(_lags(self.lags)[-1])

    def _columns(self) -> list[Hashable]:
        if isinstance(self.columns, str):
            raise bad_parameter("columns", expected="a list of names", found=self.columns)
        return list(dict.fromkeys([*self.targets_, *(self.columns or ())]))

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> Any:
        self._memory  # noqa: B018  # refuses wrong lags before anything is learned
        if self.estimator is not None and not _is_regressor(self.estimator):
            raise bad_parameter(
                "estimator",
                expected="a regressor of scikit-learn, or None",
                found=self.estimator,
                advice="For example estimator=Ridge().",
            )
        if len(self.targets_) == 1:
            self._chain = TargetTransform(self.transform, panel)
        return super()._fit(panel, layout)

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> Any:
        if len(self.targets_) > 1:
            return super()._prepare(panel, layout)
        values = self._chain(panel[self._columns()]).to_numpy(dtype=np.float64)
        value, source = forward_fill(values[:, 0], layout)
        state = np.empty((len(values), values.shape[1] - 1))
        for j in range(state.shape[1]):
            state[:, j], _ = forward_fill(values[:, j + 1], layout)
        return KnownRows(layout, value, np.arange(len(value)) - source, state)

    def _forecast(self, rows: Any, origins: Ints) -> tuple[Floats, Floats]:
        point, quantiles = super()._forecast(rows, origins)
        if len(self.targets_) > 1:
            return point, quantiles
        both = np.concatenate([point[..., None], quantiles], axis=-1)
        both = self._chain.push(both, origins, rows.layout, inverse=True)
        return both[..., 0], both[..., 1:]

    def _learn_errors(self, rows: KnownRows, actual: Floats) -> None:
        """Train the regressors too: here the rows have their columns and their unit."""
        z = np.where(rows.age == 0, rows.value, np.nan)
        actual = following(z, rows.layout, self.horizon)
        before, after = self._held_out(rows, actual)
        if self._levels and before is not None:
            self._train(rows, before)
            super()._learn_errors(rows, after)
            self._train(rows, actual)
        else:
            self._train(rows, actual)
            super()._learn_errors(rows, actual)

    def _held_out(self, rows: KnownRows, actual: Floats) -> tuple[Floats | None, Floats]:
        """Outputs (N, H) known before the last fifth of each series, and those forecast from it."""
        counts = np.diff(rows.layout.offsets)
        position = _positions(rows.layout)[:, None]
        cut = np.repeat(np.ceil((1 - _HELD_OUT) * counts), counts)[:, None]
        before = np.where(position + self._steps() < cut, actual, np.nan)
        after = np.where(position >= cut - 1, actual, np.nan)
        trained = self._usable(rows, before).any(axis=0).all()
        tested = self._usable(rows, after).sum(axis=0).min()
        return (before if trained and tested >= _ENOUGH_HELD_OUT else None), after

    def _usable(self, rows: KnownRows, actual: Floats) -> NDArray[np.bool_]:
        """Whether an output can be trained on, (N, H)."""
        ready = (_positions(rows.layout) >= self._memory - 1) & np.isfinite(rows.value)
        return np.isfinite(actual) & ready[:, None]

    def _train(self, rows: KnownRows, actual: Floats) -> None:
        """Fit regressors and standardisation to the outputs (N, H) that are known."""
        usable = self._usable(rows, actual)
        if not usable.any(axis=0).all():
            step = 1 + int(np.argmin(usable.any(axis=0)))
            raise fail(
                "too few known rows",
                expected=f"a value {step} rows after {self._memory} rows of the same series",
                found="none",
                advice="Give more rows, put them on a grid without so many gaps, or ask for "
                "fewer lags or a shorter horizon.",
                column=self.targets_[0],
            )
        used = np.flatnonzero(usable.any(axis=1))
        inputs, outputs, usable = self._inputs(rows, used), actual[used], usable[used]
        if self.relative:
            outputs = outputs - rows.value[used, None]
        self._location, self._scale = _location_and_scale(inputs)
        self._unit = float(outputs[usable].std()) or 1.0
        self._offset = 0.0 if self.relative else float(outputs[usable].mean())
        inputs = self._standardised(inputs)
        outputs = (outputs - self._offset) / self._unit
        estimator = Ridge() if self.estimator is None else self.estimator
        several = self.horizon > 1 and get_tags(estimator).target_tags.multi_output
        if several and not (usable[:, 1:] & ~usable[:, :-1]).any():  # no gaps, only ends
            whole = usable.all(axis=1)
            self.regressors_ = [clone(estimator).fit(inputs[whole], outputs[whole])]
        else:
            self.regressors_ = [
                clone(estimator).fit(inputs[known], step[known])
                for step, known in zip(outputs.T, usable.T)
            ]

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        point = np.empty((len(origins), self.horizon))
        at_once = max(1, _CELLS_AT_ONCE // len(self._location))
        for at in range(0, len(origins), at_once):
            part = slice(at, at + at_once)
            inputs = self._standardised(self._inputs(rows, origins[part]))
            said = [np.asarray(each.predict(inputs)) for each in self.regressors_]
            point[part] = said[0] if said[0].ndim == 2 else np.stack(said, axis=1)
        last = rows.value[origins, None]
        base = last if self.relative else np.where(np.isnan(last), np.nan, self._offset)
        return base + self._unit * point

    def _inputs(self, rows: KnownRows, origins: Ints) -> Floats:
        """Lags of the target, then of each row of columns; (n, L * (1 + C)), NaN where unknown."""
        start = np.repeat(rows.layout.starts, np.diff(rows.layout.offsets))[origins, None]
        source = origins[:, None] + 1 - _lags(self.lags)  # (n, L)
        inside = source >= start
        source = np.maximum(source, start)
        own = np.where(inside, rows.value[source], np.nan)
        if self.relative:
            own -= rows.value[origins, None]
        others = np.where(inside[..., None], rows.state[source], np.nan)  # (n, L, C)
        return np.concatenate([own, others.reshape(len(origins), -1)], axis=1)

    def _standardised(self, inputs: Floats) -> Floats:
        result = (inputs - self._location) / self._scale
        estimator = Ridge() if self.estimator is None else self.estimator
        return result if get_tags(estimator).input_tags.allow_nan else np.nan_to_num(result)


def _lags(lags: Any) -> Ints:
    """Lag numbers, increasing."""
    if isinstance(lags, str) or not np.iterable(lags):
        return np.arange(1, positive_int("lags", lags) + 1)
    numbers = [positive_int("lags", lag) for lag in lags]
    if not numbers or any(a >= b for a, b in pairwise(numbers)):
        raise bad_parameter("lags", expected="increasing whole numbers from 1 on", found=lags)
    return np.array(numbers)


def _is_regressor(estimator: Any) -> bool:
    usable = hasattr(estimator, "fit") and hasattr(estimator, "predict")
    return usable and not isinstance(estimator, type) and bool(is_regressor(estimator))


def _positions(layout: Layout) -> Ints:
    """Number of each row in its series, from 0."""
    return np.arange(layout.n_rows) - np.repeat(layout.starts, np.diff(layout.offsets))


def _location_and_scale(inputs: Floats) -> tuple[Floats, Floats]:
    """Mean and spread of the known values of each column; 0 and 1 where there is none."""
    known = np.isfinite(inputs)
    counts = np.maximum(known.sum(axis=0), 1)
    location = np.where(known, inputs, 0.0).sum(axis=0) / counts
    squares = np.where(known, inputs - location, 0.0) ** 2
    scale = np.sqrt(squares.sum(axis=0) / counts)
    return location, np.where(scale > 1e-12 * np.abs(location), scale, 1.0)
