"""Baselines: the forecasts that a model must beat, each with quantiles of its own errors.

Every baseline turns a row into a point forecast from what is known there: the last known value,
how long ago that was, and a few causal numbers (a level, a slope).  The quantiles are the point
plus quantiles of the training errors ``actual - forecast`` per step, so ``forecast`` is the plain
point, not the median, and need not equal ``q0.5``.  `RandomWalk` is the exception: its quantiles
follow a running volatility.

A missing row leaves the last known value in force; an origin before the first known value of its
series is forecast as NaN.
"""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import ndtri
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, fail, positive_int
from tsforecast.data.frames import DECILES
from tsforecast.data.panel import Floats, Ints, Layout, forward_fill, previous_rows
from tsforecast.data.tables import packed, side_by_side, weighted_mean
from tsforecast.estimators._base import PanelForecaster, series_key

__all__ = [
    "EWMA",
    "Baseline",
    "Drift",
    "KnownRows",
    "Naive",
    "RandomWalk",
    "SeasonalNaive",
    "following",
]

_ENOUGH_ERRORS = 100  # of one series, to have error quantiles of its own


@dataclass(frozen=True)
class KnownRows:
    """What is known at every row of a panel, N of them.

    Attributes
    ----------
    layout : Layout
        Where the series lie.
    value : ndarray, shape (N,)
        Last known value of the target; NaN before the first.
    age : ndarray of int64, shape (N,)
        Rows since it was known: 0 where the row itself has a value.
    state : ndarray, shape (N, C)
        The C causal numbers of the baseline; they hold the past, so that a tail forecasts the
        same as the whole.
    """

    layout: Layout
    value: Floats
    age: Ints
    state: Floats

    def tail(self, n_rows: int) -> KnownRows:
        """Keep the last rows of each series."""
        layout, kept = self.layout.tail(n_rows)
        return KnownRows(layout, self.value[kept], self.age[kept], self.state[kept])

    def followed_by(self, value: Floats, age: Ints, state: Floats) -> KnownRows:
        """Add one row to the end of each series; its time is that of the row before."""
        layout = self.layout
        old = np.arange(layout.n_rows) + layout.codes()
        new = layout.stops + np.arange(layout.n_series)

        def joined(before: Any, after: Any) -> Any:
            both = np.empty((len(before) + len(after), *before.shape[1:]), dtype=before.dtype)
            both[old], both[new] = before, after
            return both

        source = joined(np.arange(layout.n_rows), layout.stops - 1)
        longer = layout.offsets + np.arange(layout.n_series + 1)
        return KnownRows(
            Layout(layout.ids, layout.time.take(source), longer),
            joined(self.value, value),
            joined(self.age, age),
            joined(self.state, state),
        )


@dataclass(frozen=True)
class _Beside:
    """The rows of several targets."""

    parts: tuple[KnownRows, ...]

    @property
    def layout(self) -> Layout:
        return self.parts[0].layout

    def tail(self, n_rows: int) -> _Beside:
        return _Beside(tuple(part.tail(n_rows) for part in self.parts))


class Baseline(PanelForecaster):
    """Base of the baselines; not used alone.

    A subclass gives `_point`, and where it needs them `_learn` (parameters), `_state` (causal
    numbers per row) and `_memory` (rows that a full forecast looks back on), for one target. With
    `_next_state` it can go on row by row, in `advance`. Where `_further` names C columns, these
    three get them beside the target, as (N, 1 + C) in place of (N,).

    Attributes
    ----------
    estimators_ : list of estimator
        Only with several targets: what is fitted to each.
    """

    is_baseline = True
    few_parameters = True  # so few that errors on the training rows are errors as of any rows

    levels: tuple[float, ...]

    def __init__(
        self,
        *,
        target: Any = None,
        horizon: int = 1,
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        self.target = target
        self.horizon = horizon
        self.levels = levels

    @abstractmethod
    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        """Forecast from each origin, (n,) -> (n, H)."""

    def _learn(self, y: Floats, layout: Layout) -> None:
        """Learn the parameters of the point forecast from the target (N,)."""

    def _state(self, y: Floats, layout: Layout) -> Floats:
        """Causal numbers of every row, (N,) -> (N, C)."""
        return np.empty((len(y), 0))

    def _further(self) -> list[Hashable]:
        """Columns read beside the target."""
        return []

    def _columns(self) -> list[Hashable]:
        return list(dict.fromkeys([*self.targets_, *self._further()]))

    def _own_columns(self) -> list[Hashable]:
        """Name the columns that a fitted baseline of one target reads, the target first."""
        return [self.targets_[0], *self._further()]

    def _values(self, panel: pd.DataFrame) -> Floats:
        """Target (N,), or with further columns (N, 1 + C)."""
        columns = self._own_columns()
        return panel[columns if len(columns) > 1 else columns[0]].to_numpy()

    def _number_of(self, series: Hashable) -> int:
        """Place of a series among those of `fit`, -1 for None."""
        check_is_fitted(self)
        if len(self.targets_) > 1:
            raise AttributeError("with several targets ask each of estimators_")
        if series is None:
            return -1
        place = -1 if self._series is None else int(self._series.find(pd.Index([series]))[0])
        if place < 0:
            names = "one series without a name" if self._series is None else "others by name"
            raise KeyError(f"series {series!r}: expected one of those of fit, which had {names}")
        return place

    @property
    def _state_size(self) -> int:
        """How many numbers of a fitted baseline of one target stand at every row."""
        one = Layout(None, pd.RangeIndex(1), np.array([0, 1]))
        row = pd.DataFrame(np.nan, index=one.labels, columns=self._columns())
        return int(self._state(self._values(row), one).shape[1])

    @property
    def _memory(self) -> int:
        return 1

    @property
    def _levels(self) -> tuple[float, ...]:
        return tuple(float(level) for level in self.levels)

    def _steps(self) -> Ints:
        return np.arange(1, self.horizon + 1)

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> Any:
        _check_levels(self.levels)
        if len(self.targets_) > 1:
            self.estimators_ = [
                clone(self).set_params(target=name).fit(panel) for name in self.targets_
            ]
            return self._prepare(panel, layout)
        y = panel[self.targets_[0]].to_numpy()
        self._check_enough(y, layout)
        self._learn(self._values(panel), layout)
        rows = self._prepare(panel, layout)
        self._learn_errors(rows, following(y, layout, self.horizon))
        return rows

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> Any:
        if len(self.targets_) > 1:
            return _Beside(tuple(each._prepare(panel, layout) for each in self.estimators_))
        y = panel[self.targets_[0]].to_numpy()
        value, source = forward_fill(y, layout)
        state = self._state(self._values(panel), layout)
        return KnownRows(layout, value, np.arange(len(y)) - source, state)

    @available_if(lambda self: hasattr(self, "_next_state"))  # type: ignore[untyped-decorator]
    def advance(self, before: Any, y: Floats) -> Any:
        """Take one row more of each of n series: what all rows would give, from the last ones.

        Parameters
        ----------
        before : KnownRows
            The last rows of n series, at least `_memory` of each or the whole series; for several
            targets, those of each.
        y : ndarray, shape (n,) or (n, C)
            The new values, NaN where missing: of the targets, and of the further columns that the
            baseline reads, each once.

        Returns
        -------
        KnownRows
            The same rows and the new one of each series. Its time is that of the row before: no
            baseline looks at it.
        """
        if isinstance(before, _Beside):
            at = {name: number for number, name in enumerate(self._columns())}
            return _Beside(
                tuple(
                    each.advance(part, y[:, [at[name] for name in each._own_columns()]])
                    for each, part in zip(self.estimators_, before.parts)
                )
            )
        target = y if y.ndim == 1 else y[:, 0]
        last, known = before.layout.stops - 1, ~np.isnan(target)
        value = np.where(known, target, before.value[last])
        age = np.where(known, 0, before.age[last] + 1)
        state = self._next_state(before, y if self._further() else target)
        return before.followed_by(value, age, state)

    def _forecast(self, rows: Any, origins: Ints) -> tuple[Floats, Floats]:
        if isinstance(rows, _Beside):
            said = [
                each._forecast(part, origins) for each, part in zip(self.estimators_, rows.parts)
            ]
            points, quantiles = zip(*said)
            return np.concatenate(points, axis=1), np.concatenate(quantiles, axis=1)
        point = self._point(rows, origins)
        if not self._levels:
            return point[:, None], np.empty((len(point), 1, self.horizon, 0))
        return point[:, None], (point[:, :, None] + self._spread(rows, origins))[:, None]

    def _spread(self, rows: KnownRows, origins: Ints) -> Floats:
        """Quantiles less the point, (n, H, J) or what broadcasts to it."""
        key = series_key(rows.layout, self._series)  # -1, unseen, is the pooled one: the last
        return self._error_quantiles[key][rows.layout.codes()[origins]]

    def _learn_errors(self, rows: KnownRows, actual: Floats) -> None:
        """Quantiles of the training errors, per series where it has enough of them."""
        self._learn_from(actual - self._point(rows, np.arange(rows.layout.n_rows)), rows.layout)

    def _learn_from(self, errors: Floats, layout: Layout) -> None:
        """Check that training errors (N, H) are known, and keep what a forecast needs of them."""
        ages = np.arange(layout.n_rows) - np.repeat(layout.starts, np.diff(layout.offsets))
        errors[ages < self._memory - 1] = np.nan
        known = np.isfinite(errors)
        if not known.any(axis=0).all():
            step = 1 + int(np.argmin(known.any(axis=0)))
            raise fail(
                "too few known rows",
                expected=f"rows with a known value {step} rows before another one",
                found=f"{known[:, 0].sum()} pairs at step 1, none at step {step}",
                advice="Give more rows, put them on a grid without so many gaps, or ask for a "
                "shorter horizon.",
                column=self.targets_[0],
            )
        self._keep_errors(errors, layout)

    def _keep_errors(self, errors: Floats, layout: Layout) -> None:
        """Keep of the training errors (N, H), NaN where unknown, what a forecast needs."""
        levels = np.array(self._levels)
        pooled = np.stack([np.quantile(step[np.isfinite(step)], levels) for step in errors.T])
        self._error_quantiles = np.repeat(pooled[None], layout.n_series + 1, axis=0)  # (S+1, H, J)
        for series, cells in side_by_side(layout):
            if cells.shape[1] < _ENOUGH_ERRORS or not len(levels):
                return  # so are all that follow
            table = errors[np.minimum(cells, layout.n_rows - 1)]  # (n, L, H)
            table[cells == layout.n_rows] = np.nan
            enough = np.isfinite(table).sum(axis=1).min(axis=1) >= _ENOUGH_ERRORS
            self._error_quantiles[series[enough]] = _known_quantiles(table[enough], levels)

    def _check_enough(self, y: Floats, layout: Layout) -> None:
        needed = self._memory + self.horizon
        longest = int(np.diff(layout.offsets).max())
        if longest < needed:
            raise fail(
                "too few rows",
                expected=f"at least {needed} rows in one series, {self._memory} up to an origin "
                f"and {self.horizon} after it",
                found=f"{longest} in the longest",
                advice="Give more rows or ask for a shorter horizon.",
                column=self.targets_[0],
            )
        known = int(np.add.reduceat(np.isfinite(y), layout.starts, dtype=np.int64).max())
        if known < 2:
            raise fail(
                "too few known rows",
                expected="at least 2 known values in one series",
                found=f"{known}",
                advice="Mend the source, or choose another target.",
                column=self.targets_[0],
            )


class Naive(Baseline):
    """Forecast the last known value.

    Parameters
    ----------
    target : str or list of str, optional
        The column, or several; default: the only one.
    horizon : int
        Rows ahead.
    levels : tuple of float
        Quantile levels, of the training errors around the last value (see the module); ``()``
        gives the point alone.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"close": [1.0, 2.0, 4.0, 3.0]})
    >>> frame = Naive(horizon=2, levels=(0.5,)).fit(panel).predict()
    >>> frame[["step", "forecast", "q0.5"]].to_numpy().tolist()
    [[1.0, 3.0, 4.0], [2.0, 3.0, 5.0]]
    """

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        return np.repeat(rows.value[origins, None], self.horizon, axis=1)

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        return np.empty((len(y), 0))


class SeasonalNaive(Baseline):
    """Forecast the value one season ago: 24 for hourly rows with a daily cycle.

    Step k repeats the row ``k - season * ceil(k / season)`` after the origin. Where that row is
    before the start of the series or before its first known value, the last known value stands in.

    Parameters
    ----------
    season : int
        Rows of a season.
    target, horizon, levels
        As for `Naive`.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"rate": [1.0, 5.0, 1.0, 5.0, 1.0]})
    >>> SeasonalNaive(season=2, horizon=3).fit(panel).predict()["forecast"].tolist()
    [5.0, 1.0, 5.0]
    """

    def __init__(
        self,
        *,
        season: int,
        target: Any = None,
        horizon: int = 1,
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, levels=levels)
        self.season = season

    @property
    def _memory(self) -> int:
        return positive_int("season", self.season)

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        back = (self._steps() - 1) % self.season + 1 - self.season  # (H,), none above 0
        source = origins[:, None] + back
        start = rows.layout.starts[rows.layout.codes()[origins], None]
        ago = rows.value[np.maximum(source, start)]
        return np.where((source < start) | np.isnan(ago), rows.value[origins, None], ago)

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        return np.empty((len(y), 0))


class Drift(Baseline):
    """Forecast the last known value plus the mean change per row so far.

    The line through the first and the last known value of the series, extended (Hyndman &
    Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.2). After one known
    value it is flat.

    Parameters
    ----------
    target, horizon, levels
        As for `Naive`.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"close": [1.0, 4.0, 5.0]})
    >>> Drift(horizon=2).fit(panel).predict()["forecast"].tolist()
    [7.0, 9.0]
    """

    def _state(self, y: Floats, layout: Layout) -> Floats:
        """Slope, first known value, and rows since it (NaN before it), (N,) -> (N, 3)."""
        value, source = forward_fill(y, layout)
        known = np.where(np.isnan(y), layout.n_rows - 1, np.arange(layout.n_rows))
        first = np.minimum.reduceat(known, layout.starts)[layout.codes()]
        begun = ~np.isnan(value)
        start = np.where(begun, y[first], np.nan)
        since = np.where(begun, np.arange(layout.n_rows) - first, np.nan)
        slope = _slope(value, start, source - first)
        return np.stack([slope, start, since], axis=1)

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        slope, start, since = before.state[before.layout.stops - 1].T
        known = ~np.isnan(y)
        start = np.where(np.isnan(start), y, start)
        since = np.where(np.isnan(since), np.where(known, 0.0, np.nan), since + 1)
        slope = np.where(known, _slope(y, start, since), slope)
        return np.stack([slope, start, since], axis=1)

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        ahead = rows.age[origins, None] + self._steps()
        return rows.value[origins, None] + rows.state[origins, :1] * ahead


class EWMA(Baseline):
    """Forecast the exponentially weighted mean of the target, the same for all steps.

    ``level_t = alpha y_t + (1 - alpha) level_(t-1)``, starting at the first known value of each
    series; a missing row leaves the level as it is. Also known as simple exponential smoothing.

    Parameters
    ----------
    alpha : float, optional
        Weight of the newest value, in (0, 1]; 1 is the naive forecast. Default: the one with the
        least squared one-step error over the training rows of all series together, which weighs
        series of large numbers most.
    target, horizon, levels
        As for `Naive`.

    Attributes
    ----------
    alpha_ : float
        The weight used.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"volatility": [1.0, 3.0, 5.0]})
    >>> EWMA(alpha=0.5).fit(panel).predict()["forecast"].tolist()
    [3.5]
    """

    def __init__(
        self,
        *,
        target: Any = None,
        horizon: int = 1,
        alpha: float | None = None,
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, levels=levels)
        self.alpha = alpha

    def _learn(self, y: Floats, layout: Layout) -> None:
        if self.alpha is None:
            self.alpha_ = _best_alpha(y, layout)
        else:
            self.alpha_ = _fraction("alpha", self.alpha, one_allowed=True)

    def _state(self, y: Floats, layout: Layout) -> Floats:
        return _weighted_mean(y, layout, self.alpha_)[:, None]

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        return _weighted_on(before.state[before.layout.stops - 1, 0], y, self.alpha_)[:, None]

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        return np.repeat(rows.state[origins], self.horizon, axis=1)


class RandomWalk(Baseline):
    r"""Forecast the last known value, with normal quantiles that widen by the square root of k.

    .. math::
        q_p(t + k) = y_t + \Phi^{-1}(p) \, \sigma_t \sqrt{k}, \quad
        \sigma_t^2 = \lambda \sigma_{t-1}^2 + (1 - \lambda) (y_t - y_{t-1})^2

    (RiskMetrics Technical Document, J.P. Morgan 1996, section 5.2.) At a series' first row the
    variance is the mean squared difference of all training rows together. After missing rows the
    steps are counted from the last known value, and a difference over g rows enters as its g-th
    part.

    Parameters
    ----------
    decay : float
        :math:`\lambda`, in (0, 1): 0.94 is the choice of RiskMetrics for days.
    target, horizon, levels
        As for `Naive`. Log prices make it a walk of returns.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"log_close": [0.0, 1.0, 0.0, 1.0, 0.0]})
    >>> model = RandomWalk(horizon=4, levels=(0.5, 0.8413)).fit(panel)
    >>> model.predict()["q0.8413"].round(3).tolist()
    [1.0, 1.414, 1.732, 2.0]
    """

    def __init__(
        self,
        *,
        target: Any = None,
        horizon: int = 1,
        decay: float = 0.94,
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, levels=levels)
        self.decay = decay

    def _learn(self, y: Floats, layout: Layout) -> None:
        _fraction("decay", self.decay, one_allowed=False)
        self._variance = float(np.nanmean(_squared_differences(y, layout)))

    def _learn_errors(self, rows: KnownRows, actual: Floats) -> None:
        """Nothing: the spread comes from the running variance."""

    def _state(self, y: Floats, layout: Layout) -> Floats:
        squares = _squared_differences(y, layout)
        squares[layout.starts] = self._variance
        return np.sqrt(_weighted_mean(squares, layout, 1 - self.decay))[:, None]

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        last = before.layout.stops - 1
        squares = (y - before.value[last]) ** 2 / (before.age[last] + 1)
        variance = _weighted_on(before.state[last, 0] ** 2, squares, 1 - self.decay)
        return np.sqrt(variance)[:, None]

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        return np.repeat(rows.value[origins, None], self.horizon, axis=1)

    def _spread(self, rows: KnownRows, origins: Ints) -> Floats:
        ahead = rows.age[origins, None] + self._steps()
        scale = rows.state[origins] * np.sqrt(ahead)  # (n, H)
        quantiles: Floats = scale[:, :, None] * ndtri(np.array(self._levels))
        return quantiles


def following(values: Floats, layout: Layout, horizon: int) -> Floats:
    """Value at each of the next rows of the series, (N,) -> (N, H); NaN after its end."""
    rows = np.arange(layout.n_rows)[:, None] + np.arange(1, horizon + 1)
    stop = np.repeat(layout.stops, np.diff(layout.offsets))[:, None]
    return np.where(rows < stop, values[np.minimum(rows, layout.n_rows - 1)], np.nan)


def _known_quantiles(values: Floats, levels: Floats) -> Floats:
    """Quantiles along the second axis of what is known, (n, L, H) -> (n, H, J).

    `np.quantile` of each, to the last bit; `np.nanquantile` would loop over n and H.
    """
    count = np.isfinite(values).sum(axis=1)  # (n, H)
    values = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)  # NaN come last
    place = (count[:, None] - 1) * levels[:, None]  # (n, J, H)
    below = place.astype(np.int64)
    above = np.minimum(below + 1, count[:, None] - 1)
    low, high = (np.take_along_axis(values, at, axis=1) for at in (below, above))
    share = place - below
    step = high - low
    result = np.where(share >= 0.5, high - step * (1 - share), low + step * share)
    return np.moveaxis(result, 1, 2)


def _weighted_mean(values: Floats, layout: Layout, alpha: float) -> Floats:
    """Exponentially weighted mean of the known values so far in each series, (N,) -> (N,)."""
    padded = np.append(values, np.nan)
    result = np.empty_like(padded)
    for _, rows in side_by_side(layout):
        table = padded[rows]
        first = np.take_along_axis(table, np.argmax(~np.isnan(table), axis=1)[:, None], axis=1)
        mean, count = weighted_mean(table, alpha, start=first)
        result[rows] = np.where(count > 0, mean, np.nan)
    return result[:-1]


def _weighted_on(mean: Floats, values: Floats, alpha: float) -> Floats:
    """Such a mean one row on, (n,)."""
    new = np.where(np.isnan(mean), values, alpha * values + (1 - alpha) * mean)
    return np.where(np.isnan(values), mean, new)


def _slope(value: Floats, start: Floats, passed: Any) -> Floats:
    """Mean change per row from the first known value, 0 where it is the only one."""
    return np.where(passed > 0, (value - start) / np.maximum(passed, 1), 0.0)


def _best_alpha(y: Floats, layout: Layout) -> float:
    padded = np.append(y, np.nan)
    tables = [packed(padded[rows]) for _, rows in side_by_side(layout)]

    def loss(alpha: float) -> float:
        total, n = 0.0, 0
        for values, count in tables:  # the known values of each series, side by side
            mean, _ = weighted_mean(values, alpha, start=values[:, :1])
            error = values[:, 1:] - mean[:, :-1]
            known = np.arange(1, values.shape[1]) < count
            total += float(np.square(error, where=known, out=np.zeros_like(error)).sum())
            n += int(known.sum())
        return total / n

    found = float(minimize_scalar(loss, bounds=(1e-3, 1.0), method="bounded").x)
    return min((1.0, found), key=loss)  # the search never reaches its bounds


def _squared_differences(y: Floats, layout: Layout) -> Floats:
    """Squared change since the last known value, per row of the way; NaN where there is none."""
    value, source = forward_fill(y, layout)
    previous = previous_rows(layout)
    way = np.maximum(np.arange(layout.n_rows) - source[previous], 1)
    squares = (y - value[previous]) ** 2 / way
    squares[layout.starts] = np.nan
    return np.asarray(squares, dtype=np.float64)


def _fraction(name: str, value: object, *, one_allowed: bool) -> float:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    fraction = float(value) if number else np.nan  # type: ignore[arg-type]
    if not (0 < fraction < 1 or (one_allowed and fraction == 1)):
        span = "(0, 1]" if one_allowed else "(0, 1)"
        raise bad_parameter(name, expected=f"a number in {span}", found=value)
    return fraction


def _check_levels(levels: Any) -> None:
    try:
        values = [] if isinstance(levels, str | bytes) else [float(level) for level in levels]
        sound = not isinstance(levels, str | bytes) and all(0 < value < 1 for value in values)
    except (TypeError, ValueError):
        values, sound = [], False
    if not sound or any(a >= b for a, b in pairwise(values)):
        raise bad_parameter(
            "levels",
            expected="increasing numbers in (0, 1), such as (0.01, 0.05)",
            found=levels,
        )
