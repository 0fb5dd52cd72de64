"""Transforms: scikit-learn transformers that take a panel and give a panel.

Contract.  ``columns=None`` means the target columns, that is the columns of the `y` that the
estimator passes to `fit` (every column where no `y` is given).  `transform` keeps rows and
columns.  The row of one series never depends on a later row nor on another series' rows.  On a
target the inverse is monotone in every step, so that it may be applied to quantiles.

A live stream steps a transform over one row of each of n series.  It wants either the class
attribute ``row_local = True`` (a row's result depends on that row and its series' name alone) or

- ``state_of(panel) -> ndarray (S, P)``: what each series of the panel leaves behind, and
- ``step(state (n, P), panel) -> (panel, state (n, P))``: transform the next row of each of n
  series, in the order of `state`; a series without rows before has a state of NaN.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import DataError, bad_parameter, choice, fail
from tsforecast.data.keys import Keys
from tsforecast.data.panel import Floats, Ints

__all__ = ["Bounded", "Clip", "Log", "LogReturn", "PanelTransform", "RowNames", "SeriesScaler"]

_EPS = float(np.finfo(np.float64).eps)

Columns = Sequence[Hashable] | None


@dataclass(frozen=True)
class RowNames:
    """Series and time of n rows: an index in parts, cheap to make.

    Attributes
    ----------
    ids : Index or None
        Names of S series; None for one without a name.
    codes : ndarray of int64, shape (n,)
        The series' number of every row.
    time : Index
        The time of every row, n of them.
    """

    ids: pd.Index | None
    codes: Ints
    time: pd.Index

    @classmethod
    def of(cls, index: pd.Index) -> RowNames:
        """Take the index of a panel apart."""
        if not isinstance(index, pd.MultiIndex):
            return cls(None, np.zeros(len(index), dtype=np.int64), index)
        ids, codes = index.levels[0], np.asarray(index.codes[0], dtype=np.int64)
        if 4 * len(ids) > len(codes):  # a few rows of a large panel hold the names of all of it
            used, codes = np.unique(codes, return_inverse=True)
            ids = ids.take(used)
        return cls(ids, codes, index.get_level_values(1))

    def index(self) -> pd.Index:
        """Put the index together."""
        if self.ids is None:
            return self.time
        return pd.MultiIndex.from_arrays([self.ids.take(self.codes), self.time])

    def take(self, rows: Ints) -> RowNames:
        """Keep some rows."""
        return RowNames(self.ids, self.codes[rows], self.time.take(rows))


class PanelTransform(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Base of the transforms: column choice, checks, and one formula for frames and arrays.

    A subclass gives `_forward` and `_backward` of the values of one column; see `column`.

    scikit-learn's own wrapping of the output is off: it would write the names of `fit` over the
    columns of a panel in which they stand in another order.
    """

    row_local = False

    columns: Columns

    def set_output(self, *, transform: str | None = None) -> Any:
        """Accept what a Pipeline asks for: the output is a DataFrame anyway."""
        choice("transform", transform, (None, "default", "pandas"))
        return self

    def fit(self, panel: pd.DataFrame, y: pd.DataFrame | None = None) -> Any:
        """Learn from the rows of `panel`; `y` only names the target columns.

        Parameters
        ----------
        panel : DataFrame
            A panel (see `as_panel`).
        y : DataFrame, optional
            The target columns, untransformed.

        Returns
        -------
        self
        """
        targets = panel if y is None else y
        self._require(targets, [])
        chosen = list(targets.columns) if self.columns is None else self.columns
        if isinstance(chosen, str):
            raise bad_parameter("columns", expected="a list of names", found=chosen)
        self._require(panel, chosen)
        self.columns_ = list(chosen)
        self.feature_names_in_ = np.asarray(panel.columns, dtype=object)
        self._learn(panel, y)
        return self

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns that `transform` gives: those of `fit`."""
        check_is_fitted(self)
        return self.feature_names_in_

    def transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Give a new panel with the chosen columns transformed."""
        return self._apply(panel, inverse=False)

    def inverse_transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Undo `transform`; rows may be forecasts, repeated per series and time."""
        return self._apply(panel, inverse=True)

    def column(
        self, values: Floats, name: Hashable, rows: RowNames, *, inverse: bool = False
    ) -> Floats:
        """Transform values of one column, without a frame; the fitted transform is not checked.

        Parameters
        ----------
        values : ndarray, shape (n,) or (n, m)
            One or several values of each row, such as the quantiles of a forecast.
        name : hashable
            The column; values of one that is not among the chosen ones stay as they are.
        rows : RowNames
            Series and time of the n rows.
        inverse : bool
            Whether to go back.
        """
        if name not in self.columns_:
            return values
        return (self._backward if inverse else self._forward)(values, name, rows)

    def _apply(self, panel: pd.DataFrame, *, inverse: bool) -> pd.DataFrame:
        check_is_fitted(self)
        self._require(panel, self.columns_)
        result, rows = panel.copy(), RowNames.of(panel.index)
        for name in self.columns_:
            result[name] = self.column(panel[name].to_numpy(), name, rows, inverse=inverse)
        return result

    def _require(self, panel: pd.DataFrame, columns: Sequence[Hashable]) -> None:
        if not isinstance(panel, pd.DataFrame):
            raise fail(
                f"{type(self).__name__} needs a panel",
                expected="a DataFrame with a column for each quantity",
                found=type(panel).__name__,
                advice="Pass as_panel(data).",
            )
        missing = [name for name in columns if name not in panel.columns]
        if missing:
            raise fail(
                f"{type(self).__name__} misses columns",
                expected=f"columns {list(columns)}",
                found=f"{list(panel.columns)}",
                advice=f"Missing: {missing}.",
            )
        for name in columns:
            dtype = panel[name].dtype
            if not isinstance(dtype, np.dtype) or dtype.kind not in "fiu":
                raise fail(
                    f"{type(self).__name__} of a column that is not numeric",
                    expected="floats",
                    found=f"dtype {dtype}",
                    advice="Pass as_panel(data).",
                    column=name,
                )

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        pass

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        raise NotImplementedError

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        raise NotImplementedError


class Log(PanelTransform):
    """Natural logarithm of positive columns; the inverse is the exponential.

    Parameters
    ----------
    columns : sequence of str, optional
        Default: the target columns.

    Raises
    ------
    DataError
        If a value is zero or negative.

    Examples
    --------
    >>> import pandas as pd
    >>> Log().fit_transform(pd.DataFrame({"close": [1.0, 10.0]})).round(2)["close"].tolist()
    [0.0, 2.3]
    """

    row_local = True

    def __init__(self, columns: Columns = None) -> None:
        self.columns = columns

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return _logarithm(values, column, rows, "Log")

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return np.asarray(np.exp(values))


class LogReturn(PanelTransform):
    """Logarithm of the ratio to the row before; for inputs, not for targets.

    The first row of each series has no return: it is NaN, a warm-up row.

    Parameters
    ----------
    columns : sequence of str, optional
        Default: all columns, as it may not stand on a target.

    Raises
    ------
    DataError
        If a value is zero or negative.
    ValueError
        In `fit`, if a target column is among the columns: the quantiles of a sum of returns are
        not the sums of their quantiles.

    Examples
    --------
    >>> import pandas as pd
    >>> LogReturn().fit_transform(pd.DataFrame({"x": [1.0, 2.0]})).round(3)["x"].tolist()
    [nan, 0.693]
    """

    def __init__(self, columns: Columns = None) -> None:
        self.columns = columns

    def state_of(self, panel: pd.DataFrame) -> Floats:
        """Logarithms of the last row of each series, (S, P) with P the chosen columns."""
        check_is_fitted(self)
        self._require(panel, self.columns_)
        codes = RowNames.of(panel.index).codes
        ends = panel[self.columns_].iloc[np.flatnonzero(np.append(codes[1:] != codes[:-1], True))]
        rows = RowNames.of(ends.index)
        return np.stack(
            [_logarithm(ends[name].to_numpy(), name, rows, "LogReturn") for name in self.columns_],
            axis=1,
        )

    def step(self, state: Floats, panel: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
        """Returns of the next row of each of n series, and the new state (n, P)."""
        check_is_fitted(self)
        self._require(panel, self.columns_)
        result = panel.copy()
        table, state = self.step_columns(
            state, panel[self.columns_].to_numpy(), self.columns_, RowNames.of(panel.index)
        )
        for name, values in zip(self.columns_, table.T):
            result[name] = values
        return result, state

    def step_columns(
        self, state: Floats, table: Floats, columns: Sequence[Hashable], rows: RowNames
    ) -> tuple[Floats, Floats]:
        """Do `step` on an array: columns (n, C) by their names, without a frame."""
        table, after = table.copy(), np.empty_like(state)
        for j, name in enumerate(self.columns_):
            at = columns.index(name)
            after[:, j] = _logarithm(table[:, at], name, rows, "LogReturn")
            table[:, at] = after[:, j] - state[:, j]
        return table, after

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        targets = [] if y is None else [name for name in y.columns if name in self.columns_]
        if targets:
            raise bad_parameter(
                "columns",
                expected="input columns only",
                found=targets,
                advice="A target's returns cannot be summed to price quantiles: use "
                "Log(...) on it with baseline='last'.",
            )

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        logs = _logarithm(values, column, rows, "LogReturn")
        returns = np.full_like(logs, np.nan)
        returns[1:] = logs[1:] - logs[:-1]
        returns[1:][rows.codes[1:] != rows.codes[:-1]] = np.nan
        return returns

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return values  # returns stay returns


class Clip(PanelTransform):
    """Limit values to a range; the inverse leaves values as they are.

    Parameters
    ----------
    lower, upper : float, optional
        Limits in the column's own unit; None: no limit on that side.
    columns : sequence of str, optional
        Default: the target columns.

    Examples
    --------
    >>> import pandas as pd
    >>> Clip(30, 250).fit_transform(pd.DataFrame({"hr": [0.0, 71.0]}))["hr"].tolist()
    [30.0, 71.0]
    """

    row_local = True

    def __init__(
        self, lower: float | None = None, upper: float | None = None, *, columns: Columns = None
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.columns = columns

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        for name, limit in (("lower", self.lower), ("upper", self.upper)):
            if limit is not None and not isinstance(limit, Real):
                raise bad_parameter(name, expected="a number or None", found=limit)
        if self.lower is not None and self.upper is not None and not self.lower < self.upper:
            raise bad_parameter(
                "lower", expected=f"a number below upper={self.upper}", found=self.lower
            )

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return np.asarray(np.clip(values, self.lower, self.upper))

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return values


class Bounded(PanelTransform):
    r"""Logit of the place between two bounds; the inverse never leaves them.

    .. math::
        z = \log \frac{v}{1 - v}, \quad v = \epsilon + (1 - 2 \epsilon)\, u, \quad
        u = \frac{x - low}{high - low}

    With :math:`\epsilon = 0` this is :math:`\log((x - low) / (high - x))`, which is infinite at a
    bound. The small :math:`\epsilon` moves both bounds to finite numbers, so that values at a bound
    (a saturation of 100 %) can be learned from, and come back as they were. The inverse takes
    everything beyond them to the bound: a fan that reaches 100 % stays there.

    Parameters
    ----------
    low, high : float
        Bounds in the column's own unit, both possible values.
    eps : float
        :math:`\epsilon`, in [0, 0.5): the smaller, the farther a value at a bound lies from its
        neighbours. 0 is for values that never touch a bound.
    columns : sequence of str, optional
        Default: the target columns.

    Raises
    ------
    DataError
        If a value lies outside the bounds (or, with ``eps=0``, at one).
    ValueError
        In `fit`, if `low` is not below `high`, or `eps` is out of its range.

    Examples
    --------
    >>> import pandas as pd
    >>> spo2 = Bounded(50, 100).fit(pd.DataFrame({"spo2": [100.0, 96.0]}))
    >>> z = spo2.transform(pd.DataFrame({"spo2": [100.0, 96.0, 75.0]}))
    >>> z["spo2"].round(2).tolist()
    [4.6, 2.33, 0.0]
    >>> spo2.inverse_transform(z + 1)["spo2"].round(2).tolist()
    [100.0, 98.75, 86.79]
    """

    row_local = True

    def __init__(
        self, low: float, high: float, *, eps: float = 0.01, columns: Columns = None
    ) -> None:
        self.low = low
        self.high = high
        self.eps = eps
        self.columns = columns

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        for name, limit in (("low", self.low), ("high", self.high)):
            if not _is_number(limit) or not np.isfinite(limit):
                raise bad_parameter(name, expected="a finite number", found=limit)
        if not self.low < self.high:
            raise bad_parameter("low", expected=f"a number below high={self.high}", found=self.low)
        if not _is_number(self.eps) or not 0 <= self.eps < 0.5:
            raise bad_parameter("eps", expected="a number in [0, 0.5)", found=self.eps)

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        place = (values - self.low) / (self.high - self.low)
        at_bound = (place == 0) | (place == 1)
        bad = (place < 0) | (place > 1) | (at_bound & (self.eps == 0))
        if bad.any():
            limits = f"({self.low:g}, {self.high:g})"
            closed = self.eps > 0
            raise _in_rows(
                rows,
                column,
                bad,
                problem="Bounded of values out of bounds",
                expected=f"numbers in {f'[{limits[1:-1]}]' if closed else limits}, or NaN",
                found=f"{bad.sum()} that are not, e.g. {values[bad][0]:g}",
                advice="Mark them as missing if they are wrong, choose wider bounds, or put "
                f"Clip{limits} before{'.' if closed else ' and take eps=0.01.'}",
            )
        z: Floats = logit(self.eps + (1 - 2 * self.eps) * place)
        return z

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        place = (expit(values) - self.eps) / (1 - 2 * self.eps)
        # rounding alone may leave the bounds, too
        return np.asarray(np.clip(self.low + (self.high - self.low) * place, self.low, self.high))


class SeriesScaler(PanelTransform):
    """Subtract a location and divide by a scale, learned per series or over all.

    A series of which `fit` has seen no value gets the mean location of all rows and the typical
    spread within series.  Where there is no spread, but for rounding (1e-12 of the location,
    2e-16 at least), the scale is 1.

    Parameters
    ----------
    method : {"standard", "robust"}
        Mean and standard deviation, or median and interquartile range (over 1.349, which makes
        it the standard deviation of a normal).
    by : {"series", "all"}
        Learn per series or once over all rows.
    columns : sequence of str, optional
        Default: the target columns.

    Examples
    --------
    >>> import pandas as pd
    >>> SeriesScaler().fit_transform(pd.DataFrame({"x": [1.0, 3.0]}))["x"].tolist()
    [-1.0, 1.0]
    """

    row_local = True

    def __init__(
        self,
        method: Literal["standard", "robust"] = "standard",
        *,
        by: Literal["series", "all"] = "series",
        columns: Columns = None,
    ) -> None:
        self.method = method
        self.by = by
        self.columns = columns

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        choice("method", self.method, ("standard", "robust"))
        choice("by", self.by, ("series", "all"))
        values = panel[self.columns_]
        location, spread = self._location_and_spread(values)
        per_series = self.by == "series" and isinstance(panel.index, pd.MultiIndex)
        self._series: Keys | None = None
        if per_series:
            groups = values.groupby(level=0, sort=False)
            locations, spreads = self._location_and_spread(groups)
            self._series = Keys.of(pd.Index(locations.index))
            spread = np.sqrt((spreads**2).mean())  # typical spread within a series
            # the last row serves series that were not seen
            table_of_locations = np.vstack([locations.to_numpy(), location.to_numpy()])
            table_of_spreads = np.vstack([spreads.to_numpy(), spread.to_numpy()])
        else:
            table_of_locations = location.to_numpy()[None]
            table_of_spreads = spread.to_numpy()[None]
        # a series without values counts as not seen
        pooled, typical = np.nan_to_num(location.to_numpy()), np.nan_to_num(spread.to_numpy())
        self._location = np.where(np.isnan(table_of_locations), pooled, table_of_locations)
        table_of_spreads = np.where(np.isnan(table_of_spreads), typical, table_of_spreads)
        # one row, or a constant
        self._scale = np.where(table_of_spreads > 0, table_of_spreads, 1.0)

    def _location_and_spread(self, values: Any) -> tuple[Any, Any]:
        if self.method == "standard":
            location, spread = values.mean(), values.std(ddof=0)
        else:
            location = values.median()
            spread = (values.quantile(0.75) - values.quantile(0.25)) / 1.349
        rounding = np.maximum(1e-12 * location.abs(), _EPS)  # of what may have cancelled around 1
        return location, spread.mask(spread <= rounding, 0.0)

    def _parameters(
        self, values: Floats, column: Hashable, rows: RowNames
    ) -> tuple[Floats, Floats]:
        j = self.columns_.index(column)
        if self._series is None:
            return self._location[:, j], self._scale[:, j]
        unknown = len(self._series)  # the last row of the tables
        which = np.array([unknown]) if rows.ids is None else self._series.find(rows.ids)
        which = which[rows.codes].reshape(-1, *[1] * (values.ndim - 1))
        return self._location[which, j], self._scale[which, j]

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        location, scale = self._parameters(values, column, rows)
        return (values - location) / scale

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        location, scale = self._parameters(values, column, rows)
        return values * scale + location


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _logarithm(values: Floats, column: Hashable, rows: RowNames, what: str) -> Floats:
    bad = values <= 0
    if bad.any():
        raise _in_rows(
            rows,
            column,
            bad,
            problem=f"{what} of values that are not positive",
            expected="numbers above zero, or NaN where missing",
            found=f"{bad.sum()} that are not, e.g. {values[bad][0]:g}",
            advice="Mark them as missing if they are wrong, or leave the logarithm out.",
        )
    return np.asarray(np.log(values))


def _in_rows(
    rows: RowNames,
    column: Hashable,
    bad: NDArray[np.bool_],
    *,
    problem: str,
    expected: str,
    found: str,
    advice: str,
) -> DataError:
    """Build the error for the values of a column, (n,) or (n, m), that are bad."""
    labels = rows.take(np.nonzero(bad)[0][:5]).index()
    return fail(
        problem,
        expected=expected,
        found=found,
        advice=advice,
        column=column,
        series=labels[0][0] if isinstance(labels, pd.MultiIndex) else None,
        rows=[str(label) for label in labels],
    )
