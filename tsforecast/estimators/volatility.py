"""Volatility of daily prices: an estimate from open, high, low, close, and the HAR model of it."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail, positive_int
from tsforecast.data.frames import DECILES
from tsforecast.data.panel import Floats, Ints, Layout, as_panel, forward_fill
from tsforecast.estimators.baselines import Baseline, KnownRows, following

__all__ = ["HAR", "garman_klass"]

_CELLS_AT_ONCE = 1 << 18


def garman_klass(
    panel: pd.DataFrame,
    *,
    open: Hashable = "open",
    high: Hashable = "high",
    low: Hashable = "low",
    close: Hashable = "close",
) -> pd.Series:
    r"""Estimate each day's volatility from its open, high, low and close.

    .. math::
        \sigma^2 = \tfrac{1}{2} (\ln H / L)^2 - (2 \ln 2 - 1) (\ln C / O)^2

    (Garman & Klass 1980, On the estimation of security price volatilities from historical data,
    the simple form of their best estimator.) It covers the session, not the gap overnight.

    Parameters
    ----------
    panel : DataFrame
        A panel of prices, of one series or many.
    open, high, low, close : hashable
        Names of the columns.

    Returns
    -------
    Series
        Named ``volatility``: standard deviation per day as a fraction (0.01 = 1 %), on the
        panel's index. NaN where a price is missing, and where the range is zero (a day without
        trade tells nothing, and has no logarithm).

    Raises
    ------
    DataError
        If a price is zero or negative, or a low is above its high.

    Notes
    -----
    An open or close outside of [low, high], as data vendors now and then give, widens the range
    to include it; the estimate is then never negative.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.DataFrame({"open": [100.0], "high": [102.0], "low": [99.0], "close": [101.0]})
    >>> garman_klass(day).round(4).tolist()
    [0.0202]
    """
    panel = as_panel(panel, columns=[open, high, low, close])
    opens, highs, lows, closes = panel.to_numpy().T
    for name in panel.columns:
        _refuse(
            panel,
            panel[name].to_numpy() <= 0,
            problem="prices that are not positive",
            expected="prices above 0, or NaN where missing",
            advice="Mend these rows, or set the prices to NaN.",
            column=name,
        )
    _refuse(
        panel,
        lows > highs,
        problem="low above high",
        expected=f"{low!r} at most {high!r}",
        advice="Mend these rows, or check that the columns are not swapped.",
        column=low,
    )
    top = np.maximum(highs, np.maximum(opens, closes))
    bottom = np.minimum(lows, np.minimum(opens, closes))
    variance = 0.5 * np.log(top / bottom) ** 2
    variance -= (2 * np.log(2) - 1) * np.log(closes / opens) ** 2
    variance[~(variance > 0)] = np.nan
    return pd.Series(np.sqrt(variance), index=panel.index, name="volatility")


def _refuse(
    panel: pd.DataFrame,
    bad: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    *,
    problem: str,
    expected: str,
    advice: str,
    column: Hashable,
) -> None:
    if bad.any():
        labels = [
            f"({', '.join(map(str, label))})" if isinstance(label, tuple) else str(label)
            for label in panel.index[bad][:5]
        ]
        raise fail(
            problem,
            expected=expected,
            found=f"{int(bad.sum())} rows that break this",
            advice=advice,
            column=column,
            rows=labels,
        )


class HAR(Baseline):
    r"""Forecast volatility from its means over a day, a week and a month.

    For each step k a least squares line of its own, over all training rows of all series together,
    with one intercept for all:

    .. math::
        y_{t+k} = c_k + b_{k1}\, y_t + b_{k2}\, \bar y_{t-4..t} + b_{k3}\, \bar y_{t-21..t} + e

    (Corsi 2009, A simple approximate long-memory model of realized volatility, eq. 9, direct per
    step.) On the logarithm of volatility, as from ``np.log(garman_klass(panel))``, it is the
    log-HAR, which series of different level share best.

    Parameters
    ----------
    target : str or list of str, optional
        Column of volatility (or its logarithm, or variance), or several; default: the only one.
    horizon : int
        Rows ahead.
    lags : tuple of int
        Rows of each mean, increasing.
    levels : tuple of float
        Quantile levels: of the training residuals per step, around the forecast, per series where
        it has at least 100 of them.

    Attributes
    ----------
    coef_ : ndarray, shape (H, L)
        Coefficient of each mean, per step.
    intercept_ : ndarray, shape (H,)

    Notes
    -----
    Where a value is missing the last known one stands in; at the start of a series, where rows
    are fewer than a lag, the mean is over those that are there (such rows are not trained on).

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
        levels: tuple[float, ...] = DECILES,
    ) -> None:
        super().__init__(target=target, horizon=horizon, levels=levels)
        self.lags = lags

    @property
    def _memory(self) -> int:
        lags = [positive_int("lags", lag) for lag in self.lags]
        if not lags or any(a >= b for a, b in pairwise(lags)):
            raise bad_parameter("lags", expected="increasing whole numbers", found=self.lags)
        return lags[-1]

    def _learn(self, y: Floats, layout: Layout) -> None:
        means = self._state(y, layout)
        actual = following(y, layout, self.horizon)
        row = np.arange(layout.n_rows) - np.repeat(layout.starts, np.diff(layout.offsets))
        ready = (row >= self._memory - 1) & np.isfinite(means).all(axis=1)
        design = np.column_stack([np.ones(len(y)), means])
        lines = []
        for step in actual.T:
            used = ready & np.isfinite(step)
            lines.append(np.linalg.lstsq(design[used], step[used], rcond=None)[0])
        self.intercept_, self.coef_ = np.array(lines)[:, 0], np.array(lines)[:, 1:]

    def _state(self, y: Floats, layout: Layout) -> Floats:
        """Means over the last rows of each lag, (N,) -> (N, L)."""
        value, _ = forward_fill(y, layout)
        start = np.repeat(layout.starts, np.diff(layout.offsets))
        means = np.empty((len(y), len(self.lags)))
        per_chunk = max(1, _CELLS_AT_ONCE // self._memory)
        for at in range(0, len(y), per_chunk):
            rows = np.arange(at, min(at + per_chunk, len(y)))
            means[rows] = self._means(_last(value, rows, start[rows], self._memory))
        return means

    def _next_state(self, before: KnownRows, y: Floats) -> Floats:
        layout = before.layout
        last = layout.stops - 1
        newest = np.where(np.isnan(y), before.value[last], y)[:, None]
        older = _last(before.value, last, layout.starts, self._memory - 1)
        return self._means(np.concatenate([newest, older], axis=1))

    def _means(self, window: Floats) -> Floats:
        """Means over the first columns of each lag, of those that are known, (n, M) -> (n, L)."""
        # sums of the window alone, not differences of running sums: equal to the last bit
        # wherever the series starts
        known = np.isfinite(window)
        columns = np.asarray(self.lags) - 1
        total = np.where(known, window, 0.0).cumsum(axis=1)[:, columns]
        count = known.cumsum(axis=1)[:, columns]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def _point(self, rows: KnownRows, origins: Ints) -> Floats:
        means = rows.state[origins]
        # a sum by hand: a matrix product rounds differently for one origin and for many
        point = np.repeat(self.intercept_[None], len(origins), axis=0)
        for j in range(means.shape[1]):
            point += means[:, j, None] * self.coef_[:, j]
        return point


def _last(values: Floats, rows: Ints, starts: Ints, n: int) -> Floats:
    """Give the n values up to each row, newest first, NaN before its series' start, (R, n)."""
    at = rows[:, None] - np.arange(n)
    return np.where(at >= starts[:, None], values[np.maximum(at, 0)], np.nan)
