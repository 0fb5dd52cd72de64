"""Causal features: what is known of every variable at a row, as a table for any classifier."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, choice, fail, first
from tsforecast.data.panel import Floats, Ints, Layout, as_panel, layout_of
from tsforecast.data.spans import is_whole, moments, span
from tsforecast.data.tables import side_by_side
from tsforecast.estimators._rows import in_order

__all__ = ["CausalFeatures"]

_NOW = ("last", "hours_since", "count")
_WINDOW = ("min", "max", "sd", "delta")
_HISTORY = ("first", "min", "max", "mean", "sd", "slope")


class CausalFeatures(  # type: ignore[call-arg]
    TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    r"""Describe every row of irregular series by what was known up to it.

    For each variable, of its values measured so far:

    - ``x_last``, ``x_hours_since`` and ``x_count``: the last value, the hours since it was
      measured, and how many there are,
    - ``x_min_6h``, ``x_max_6h``, ``x_sd_6h`` and ``x_delta_6h``: the least and largest value,
      standard deviation, and newest minus oldest value of those in the last 6 hours,
      :math:`(t - 6h, t]`,
    - ``x_first``, ``x_min``, ``x_max``, ``x_mean``, ``x_sd`` and ``x_slope``: the first value and
      summaries of all values so far; the slope of the least squares line is per hour.

    Behind them stand the constants of a series as they are, and ``hours``, those since its first
    row. A row's features depend on the rows of its own series up to it alone, whatever other
    series or later rows there are.

    Parameters
    ----------
    columns : sequence of str, optional
        The variables. Default: all columns of numbers but those in `static`.
    window : str, Timedelta or int
        Span of time of the recent values; a number of steps where time is a whole number.
    history : bool
        Whether the summaries of all values so far are among the features.
    static : sequence of str, optional
        Columns of numbers that are constant within a series (age, sex).

    Attributes
    ----------
    columns_ : list of str
        The variables.
    feature_names_in_, n_features_in_
        Columns of the panel in `fit`.

    Raises
    ------
    DataError
        If a column is missing, or not numeric, or two features would have the same name.
    ValueError
        If `window` is not what the panel's time asks for.

    Notes
    -----
    Features are NaN where there is nothing to tell: before the first value, in a window without
    values, standard deviations (with n - 1) and slopes of fewer than two values. Counts are never
    NaN. Hours are steps where time is a whole number. Nothing is learned in `fit` but names.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> time = pd.to_timedelta([0, 1, 2.5, 9], unit="h")
    >>> panel = pd.DataFrame({"map": [80.0, np.nan, 65.0, np.nan]}, index=time)
    >>> known = CausalFeatures().fit_transform(panel)
    >>> for name in ("map_last", "map_hours_since", "map_min_6h", "map_slope"):
    ...     print(name, known[name].tolist())
    map_last [80.0, 80.0, 65.0, 65.0]
    map_hours_since [0.0, 1.0, 0.0, 6.5]
    map_min_6h [80.0, 80.0, 65.0, nan]
    map_slope [nan, nan, -6.0, -6.0]
    """

    def __init__(
        self,
        columns: Sequence[Hashable] | None = None,
        *,
        window: Any = "6h",
        history: bool = True,
        static: Sequence[Hashable] | None = None,
    ) -> None:
        self.columns = columns
        self.window = window
        self.history = history
        self.static = static

    def set_output(self, *, transform: str | None = None) -> Any:
        """Accept what a Pipeline asks for: the output is a DataFrame anyway."""
        choice("transform", transform, (None, "default", "pandas"))
        return self

    def fit(self, panel: pd.DataFrame, y: object = None) -> CausalFeatures:
        """Learn the names of the columns.

        Parameters
        ----------
        panel : DataFrame
            A panel, or anything that `as_panel` takes without further names.
        y : object
            Ignored.

        Returns
        -------
        self
        """
        panel = as_panel(panel)
        choice("history", self.history, (True, False))
        span("window", self.window, layout_of(panel))
        static = _named("static", self.static)
        columns = _named("columns", self.columns)
        if self.columns is None:
            kinds = zip(panel.columns, panel.dtypes)
            columns = [
                name for name, kind in kinds if isinstance(kind, np.dtype) and name not in static
            ]
        _require_numbers(panel, [*columns, *static])
        names = pd.Index(self._names(columns, static), dtype=object)
        if len(twice := names[names.duplicated()]):
            raise fail(
                "repeated names of features",
                expected="each name once",
                found=f"{first(map(repr, twice))} more than once",
                advice="Rename the columns that these come from, or leave one of them out.",
            )
        self.columns_, self._static = columns, static
        self.feature_names_in_ = np.asarray(panel.columns, dtype=object)
        self.n_features_in_ = len(panel.columns)
        return self

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the features, in the order of the columns that `transform` gives."""
        check_is_fitted(self, "columns_")
        return np.asarray(self._names(self.columns_, self._static), dtype=object)

    def transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Give the features of every row.

        Parameters
        ----------
        panel : DataFrame
            Rows of any series.

        Returns
        -------
        DataFrame
            float32, a row for each row of `panel`, in its order.
        """
        check_is_fitted(self, "columns_")
        known, order = in_order(panel)
        _require_numbers(known, [*self.columns_, *self._static])
        layout = layout_of(known)
        rows = _Rows.of(layout, span("window", self.window, layout))
        names = self._names(self.columns_, self._static)
        # a feature is contiguous, as columns of a frame are
        table = np.empty((len(names), layout.n_rows), dtype=np.float32)
        per = len(_NOW) + len(_WINDOW) + (len(_HISTORY) if self.history else 0)
        for j, name in enumerate(self.columns_):
            values = known[name].to_numpy(dtype=np.float64)
            _describe(values, rows, table[j * per : (j + 1) * per])
        for name, out in zip(self._static, table[len(self.columns_) * per :]):
            out[:] = known[name].to_numpy()
        table[-1] = rows.hours
        frame = pd.DataFrame(table.T, index=known.index, columns=names, copy=False)
        return frame if order is None else frame.iloc[order]

    def _names(self, columns: list[Hashable], static: list[Hashable]) -> list[Any]:
        span = _span_name(self.window)
        kinds = [
            *_NOW,
            *(f"{kind}_{span}" for kind in _WINDOW),
            *(_HISTORY if self.history else ()),
        ]
        return [*(f"{name}_{kind}" for name in columns for kind in kinds), *static, "hours"]


@dataclass(frozen=True)
class _Rows:
    """What the features of all columns need to know of the rows."""

    layout: Layout
    hours: Floats  # (N,) since the first row of the series
    start: Ints  # (N,) first row of the series
    since: Ints  # (N,) first row of the window that ends with the row

    @classmethod
    def of(cls, layout: Layout, window: int) -> _Rows:
        start = np.repeat(layout.starts, np.diff(layout.offsets))
        return cls(layout, layout.hours(), start, _window_starts(layout, start, window))


def _window_starts(layout: Layout, start: Ints, window: int) -> Ints:
    """First row of the series less than `window`, as `moments` counts it, before each row, (N,).

    All rows are bisected side by side.
    """
    when = moments(layout)
    low, high = start, np.arange(layout.n_rows)
    for _ in range(int(np.diff(layout.offsets).max()).bit_length()):
        middle = (low + high) // 2
        inside = when - when[middle] < window
        low, high = np.where(inside, low, middle + 1), np.where(inside, middle, high)
    return high


def _describe(values: Floats, rows: _Rows, out: npt.NDArray[np.float32]) -> None:
    """Write the features of one column (N,) to `out` (features, N)."""
    known = ~np.isnan(values)
    measured = np.flatnonzero(known)  # (n,) rows, the places below count these
    before = np.concatenate([[0], np.cumsum(known)])  # (N + 1,) measured before each row
    end = before[1:]
    count = end - before[rows.start]
    some = np.flatnonzero(count)  # rows with a value so far
    newest = end[some] - 1
    out[:] = np.nan
    out[2] = count
    if not len(some):
        return
    x = values[measured]
    out[0, some] = x[newest]
    out[1, some] = rows.hours[some] - rows.hours[measured[newest]]
    begins = before[rows.layout.starts]
    counts = before[rows.layout.stops] - begins
    alone = Layout(None, pd.RangeIndex(len(x)), np.append(begins[counts > 0], len(x)))
    origin = np.repeat(alone.starts, np.diff(alone.offsets))  # (n,) first place of the series
    sums = _Sums.of(x - x[origin], rows.hours[measured] - rows.hours[measured[origin]], alone)

    oldest = before[rows.since[some]]
    recent = np.flatnonzero(oldest <= newest)  # of those rows, the ones with a value in the window
    at, low, high = some[recent], oldest[recent], newest[recent]
    least = _extremes(x, low, high, np.minimum)
    largest = _extremes(x, low, high, np.maximum)
    out[3, at], out[4, at] = least, largest
    # differences of sums leave traces of rounding where nothing moves
    out[5, at] = np.where(least == largest, 0.0, 1.0) * sums.sd(low, high, origin)
    out[6, at] = x[high] - x[low]

    if len(out) > len(_NOW) + len(_WINDOW):
        low, high = origin[newest], newest
        out[7, some] = x[low]
        for row, running in ((8, np.minimum), (9, np.maximum)):
            out[row, some] = _running(x, alone, running)[high]
        out[10, some] = x[low] + sums.mean(high, origin)
        out[11, some] = sums.sd(low, high, origin)
        out[12, some] = sums.slope(high, origin)


@dataclass(frozen=True)
class _Sums:
    """Sums so far of n values d (less the first of their series) and hours t since that first one.

    Each series is summed by itself, so that none leaves a trace of rounding in another.
    """

    d: Floats
    dd: Floats
    t: Floats
    tt: Floats
    td: Floats

    @classmethod
    def of(cls, d: Floats, t: Floats, layout: Layout) -> _Sums:
        sums = np.empty((5, layout.n_rows + 1))  # one place more, for the cells beyond an end
        d, t = np.append(d, 0.0), np.append(t, 0.0)
        for _, at in side_by_side(layout):
            x, h = d[at], t[at]
            for out, table in zip(sums, (x, x * x, h, h * h, h * x)):
                out[at] = table.cumsum(axis=1)
        return cls(*sums[:, :-1])

    def mean(self, high: Ints, origin: Ints) -> Floats:
        """Mean of d of all values of a series up to each place."""
        return self.d[high] / (high - origin[high] + 1)

    def sd(self, low: Ints, high: Ints, origin: Ints) -> Floats:
        """Standard deviation of the values from `low` to `high`, NaN where they are one."""
        n = high - low + 1
        first = low == origin[high]
        one, two = (
            total[high] - np.where(first, 0.0, total[low - 1]) for total in (self.d, self.dd)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(np.maximum(two - one * one / n, 0.0) / np.where(n > 1, n - 1, np.nan))

    def slope(self, high: Ints, origin: Ints) -> Floats:
        """Slope of the least squares line through all values up to each place, NaN for one."""
        n = high - origin[high] + 1
        d, t, tt, td = (total[high] for total in (self.d, self.t, self.tt, self.td))
        spread = n * tt - t * t
        with np.errstate(invalid="ignore", divide="ignore"):
            return (n * td - t * d) / np.where(n > 1, spread, np.nan)


def _running(x: Floats, layout: Layout, extreme: np.ufunc) -> Floats:
    """Least or largest value so far of each series, (n,)."""
    result = np.empty(len(x) + 1)
    padded = np.append(x, np.nan)
    for _, at in side_by_side(layout):
        result[at] = extreme.accumulate(padded[at], axis=1)
    return result[:-1]


def _extremes(x: Floats, low: Ints, high: Ints, extreme: np.ufunc) -> Floats:
    """Least or largest of ``x[low:high + 1]``: of two stretches of 2 ** k that cover them, (m,)."""
    level = np.frexp((high - low + 1).astype(np.float64))[1] - 1  # k, exact
    result = np.empty(len(low))
    stretch = x  # of 2 ** k values from each place on
    for k in range(int(level.max(initial=-1)) + 1):
        if k:
            half = 1 << (k - 1)
            stretch = extreme(stretch[:-half], stretch[half:])
        own = np.flatnonzero(level == k)
        result[own] = extreme(stretch[low[own]], stretch[high[own] + 1 - (1 << k)])
    return result


def _span_name(window: Any) -> str:
    """Write a window into the names of features: 6h, 90min, 2D; a whole number as it is."""
    if isinstance(window, str) or is_whole(window):
        return str(window)
    return f"{pd.Timedelta(window) / pd.Timedelta(hours=1):g}h"


def _named(parameter: str, columns: Any) -> list[Hashable]:
    if isinstance(columns, str):
        raise bad_parameter(parameter, expected="a list of names", found=columns)
    return [] if columns is None else list(columns)


def _require_numbers(panel: pd.DataFrame, columns: Sequence[Hashable]) -> None:
    missing = [name for name in columns if name not in panel.columns]
    if missing:
        raise fail(
            "CausalFeatures misses columns",
            expected=f"columns {list(columns)}",
            found=f"{list(panel.columns)}",
            advice=f"Missing: {missing}.",
            column=missing[0],
        )
    for name in columns:
        if not isinstance(panel[name].dtype, np.dtype):
            raise fail(
                "column of categories",
                expected="numbers",
                found=f"dtype {panel[name].dtype}",
                advice="Turn it into numbers, e.g. with pd.get_dummies, or leave it out.",
                column=name,
            )
