"""Thresholds of scores that come in with time: split conformal, and adaptive.

A score says how far an outcome lay outside what was forecast of it; an interval is as wide as a
quantile of the scores known at its origin.  Letters of shapes: N rows, S series, K targets, H
steps, D sides (2 where the two of an interval have scores of their own, else 1), C = D K H of them
together, G series with scores of their own, W times that count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tsforecast.data.panel import Floats, Ints, Layout
from tsforecast.data.scored import Bools
from tsforecast.data.tables import side_by_side

__all__ = ["Scores", "fewest_scores", "follow", "least_units", "scores_at", "start"]

_LEAST = 0.1  # of the median unit: none is taken for smaller
_EPS = 1e-9  # against the rounding of (n + 1) level, which is often meant to be whole


@dataclass(frozen=True, eq=False)
class Scores:
    """What is known of the scores at some time.

    Attributes
    ----------
    level : float
        Share of outcomes that intervals, or each side of them, are to hold.
    rate : float, optional
        How fast alpha moves (gamma of Gibbs and Candes): with 0 the window alone moves. None
        leaves everything as it was calibrated.
    window : int
        W, times whose scores count.
    group : ndarray of int64, shape (S,)
        Of each series of fit: its number among those with scores of their own, or G, the pooled
        ones.
    alpha : ndarray, shape (G + 1, C)
        The share of outcomes outside that is aimed at now.
    threshold : ndarray, shape (G + 1, C)
        The quantile of the scores that goes with it.
    each : ndarray, shape (G, W, C)
        The last scores of each series of its own, NaN where there is none.
    pool : ndarray, shape (n, C)
        The last scores of the others together, by time.
    sizes : ndarray of int64, shape (at most W,)
        How many rows of `pool` belong to each time.
    tracked : bool
        Whether the threshold moves by itself (quantile tracking), whatever the scores were; alpha
        then stands still.
    """

    level: float
    rate: float | None
    window: int
    group: Ints
    alpha: Floats
    threshold: Floats
    each: Floats
    pool: Floats
    sizes: Ints
    tracked: bool = False

    @property
    def n_own(self) -> int:
        """G, the series with scores of their own."""
        return len(self.each)

    def groups(self, key: Ints) -> Ints:
        """Group of each series from its position among those of fit, -1 where unseen, (n,)."""
        return np.append(self.group, self.n_own)[key]


def fewest_scores(level: float) -> int:
    """Give the least n for which the ceil((n + 1) level)-th smallest of n scores is there."""
    # (n + 1) level - eps <= n; the division rounds where level is near 1, the rank decides
    n = max(1, math.ceil((level - _EPS) / (1.0 - level)))
    while _rank(np.array(n), np.array(1.0 - level)) > n:
        n += 1
    while n > 1 and _rank(np.array(n - 1), np.array(1.0 - level)) <= n - 1:
        n -= 1
    return n


def least_units(unit: Floats, layout: Layout) -> Floats:
    """Give the least unit of each target and step, so that no score is out of all proportion.

    In a halt of trading the quantiles of an estimator meet. Scores in units of what lies between
    them would say nothing of the days after.

    Parameters
    ----------
    unit : ndarray, shape (N, K, H)
        In the calibration part; NaN elsewhere.
    layout : Layout
        Of the rows.

    Returns
    -------
    ndarray, shape (S + 1, K, H)
        A tenth of the median of each series, then of the series not seen: the smallest above 0
        there is. So it is for series whose own is none; 0 where no series has one.
    """
    median = pd.DataFrame(unit.reshape(len(unit), -1)).groupby(layout.codes()).median().to_numpy()
    median = np.where(median > 0, median, np.inf)  # NaN, too
    smallest = median.min(axis=0)
    least = np.vstack([np.where(np.isinf(median), smallest, median), smallest])
    return _LEAST * np.where(np.isinf(least), 0.0, least).reshape(-1, *unit.shape[1:])


def scores_at(
    bounds: Floats, actual: Floats, layout: Layout, *, first: Ints, n_sides: int
) -> Floats:
    """Score, at every row, the forecasts whose outcome it is.

    Parameters
    ----------
    bounds : ndarray, shape (3, N, K, H)
        Lower bound, upper bound and unit, forecast at each row; NaN where nothing was.
    actual : ndarray, shape (N, K)
        Outcomes.
    layout : Layout
        Of the rows.
    first : ndarray of int64, shape (S,)
        First row of each series whose forecasts count.
    n_sides : int
        D: 1 for the farther one of the two sides, 2 for the lower and the upper one.

    Returns
    -------
    ndarray, shape (N, D K H)
        Of target k and step h: how far the row lies outside of what was forecast h rows before, in
        units; NaN where nothing was forecast or has come.
    """
    low, high, unit = bounds
    n, n_targets, horizon = low.shape
    result = np.full((n, n_sides, n_targets, horizon), np.nan)
    first = np.repeat(first, np.diff(layout.offsets))
    rows = np.arange(n)
    for step in range(1, horizon + 1):
        at = np.flatnonzero(rows - step >= first)
        origin = at - step
        below = low[origin, :, step - 1] - actual[at]
        above = actual[at] - high[origin, :, step - 1]
        both = np.stack([below, above], axis=1)  # (n, 2, K)
        outside = both if n_sides == 2 else both.max(axis=1, keepdims=True)
        scale = unit[origin, None, :, step - 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            # where quantiles meet there is no unit to measure by
            result[at, :, :, step - 1] = np.where(scale > 0, outside / scale, np.nan)
    return result.reshape(n, n_sides * n_targets * horizon)


def start(
    scores: Floats,
    layout: Layout,
    late: Bools,
    *,
    level: float,
    rate: float | None,
    window: int | None,
    by_series: bool,
    tracked: bool = False,
    horizon: int = 1,
) -> Scores:
    """Calibrate: what is known after the last row.

    Parameters
    ----------
    scores : ndarray, shape (N, C)
        From `scores_at`.
    layout : Layout
        Of the rows.
    late : ndarray of bool, shape (N,)
        The rows of the calibration part, the last ones of each series.
    level, rate
        See `Scores`.
    window : int, optional
        Default: all times of the calibration part.
    by_series : bool
        Whether series with enough scores stand alone.
    tracked : bool
        See `Scores`: the thresholds begin at 0, which is what the estimator itself says, and go
        through the calibration part.
    horizon : int
        H.
    """
    rows, sizes = _by_time(layout, late)
    if window is None:
        window = len(sizes)
    n_channels = scores.shape[1]
    codes = layout.codes()
    found = np.zeros((layout.n_series, n_channels), dtype=np.int64)
    back = layout.stops[codes] - np.arange(layout.n_rows)  # 1 at the last row
    counted = late & (back <= window)
    np.add.at(found, codes[counted], np.isfinite(scores[counted]))
    own = by_series & (found.min(axis=1) >= fewest_scores(level))
    group = np.where(own, np.cumsum(own) - 1, own.sum())
    each = np.full((int(own.sum()), window, n_channels), np.nan)
    mine = counted & own[codes]
    each[group[codes[mine]], window - back[mine]] = scores[mine]
    sizes = sizes[-window:]
    pool = scores[rows[len(rows) - int(sizes.sum()) :]]
    alpha = np.full((len(each) + 1, n_channels), 1.0 - level)
    threshold = np.empty_like(alpha)
    nothing = np.full(n_channels, np.nan)
    known = np.isfinite(pool)
    threshold[-1] = _of_pool(_by_channel(pool, known), known.sum(axis=0), alpha[-1], nothing)
    if len(each):
        ordered = np.sort(each.transpose(0, 2, 1), axis=2)
        count = np.isfinite(each).sum(axis=1)
        threshold[:-1] = _of_each(ordered, count, alpha[:-1], np.full_like(alpha[:-1], np.nan))
    made = Scores(level, rate, window, group, alpha, threshold, each, pool, sizes)
    if not tracked:
        return made
    begun = replace(
        made,
        threshold=np.zeros_like(threshold),
        each=np.full_like(each, np.nan),
        pool=pool[:0],
        sizes=sizes[:0],
        tracked=True,
    )
    # those of all series first, which is where a series begins that fit has not seen
    pooled = follow(begun, np.full_like(group, begun.n_own), scores, layout, late, horizon)[1]
    return follow(pooled, group, scores, layout, late & own[codes], horizon)[1]


def follow(
    before: Scores,
    groups: Ints,
    scores: Floats,
    layout: Layout,
    late: Bools,
    horizon: int,
    given: Floats | None = None,
) -> tuple[Floats, Scores]:
    r"""Go on through rows in order of time, a step of alpha for each score that comes in.

    .. math:: \alpha_{t+1} = \alpha_t + \gamma (\alpha - \mathrm{err}_t)

    (Gibbs and Candes 2021), where err is 1 for an outcome outside of the interval that was given
    at its origin; of pooled series, the share of them. With `tracked` scores it is a step of the
    threshold itself, by gamma (err - alpha) (Angelopoulos, Candes and Tibshirani 2023).

    Parameters
    ----------
    before : Scores
        What is known before the late rows.
    groups : ndarray of int64, shape (S,)
        From `Scores.groups`.
    scores : ndarray, shape (N, C)
        From `scores_at`.
    layout : Layout
        Of the rows.
    late : ndarray of bool, shape (N,)
        Rows that are not counted in `before`: the last ones of each series.
    horizon : int
        H.
    given : ndarray, shape (N, C), optional
        Thresholds of the rows that are not late, as they were given. Default: the ones of `before`.

    Returns
    -------
    threshold : ndarray, shape (N, C)
        At every row as an origin.
    after : Scores
        What is known after the last rows.
    """
    codes = layout.codes()
    threshold = np.array(before.threshold[groups[codes]] if given is None else given)
    if before.rate is None:
        threshold[late] = before.threshold[groups[codes[late]]]
    if before.rate is None or not late.any():
        return threshold, before
    lag = 1 + np.arange(scores.shape[1]) % horizon  # (C,)
    pooled = groups == before.n_own
    after = _follow_pool(before, scores, layout, late & pooled[codes], lag, threshold)
    if not pooled.all():
        after = _follow_each(after, groups, scores, layout, late & ~pooled[codes], lag, threshold)
    return threshold, after


def _follow_pool(
    before: Scores, scores: Floats, layout: Layout, late: Bools, lag: Ints, threshold: Floats
) -> Scores:
    """Go on with the pooled series; fills in their thresholds."""
    rows, counts = _by_time(layout, late)
    if len(rows) == 0:
        return before
    values = np.concatenate([before.pool, scores[rows]])
    sizes = np.concatenate([before.sizes, counts])
    edges = np.concatenate([[0], np.cumsum(sizes)])
    finite = np.isfinite(values)
    columns = _by_channel(values, finite)
    so_far = np.concatenate([np.zeros((1, len(lag)), np.int64), finite.cumsum(axis=0)])
    alpha, now = before.alpha.copy(), before.threshold.copy()
    channel, old = np.arange(len(lag)), len(before.sizes)
    for tick in range(old, len(sizes)):
        new = slice(edges[tick], edges[tick + 1])
        at, known = rows[new.start - len(before.pool) : new.stop - len(before.pool)], finite[new]
        then = threshold[np.maximum(at[:, None] - lag, 0), channel]
        missed = ((values[new] > then) & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        if before.tracked:
            now[-1] = _tracked(before, now[-1], missed, known.any(axis=0))
            threshold[at] = now[-1]
            continue
        alpha[-1] = _moved(before, alpha[-1], missed, known.any(axis=0))
        since = edges[max(0, tick + 1 - before.window)]
        n = so_far[new.stop] - so_far[since]
        now[-1] = _of_pool(columns[:, since : new.stop], n, alpha[-1], now[-1])
        threshold[at] = now[-1]
    sizes = sizes[-before.window :]
    pool = values[len(values) - int(sizes.sum()) :]
    return replace(before, alpha=alpha, threshold=now, pool=pool, sizes=sizes)


def _follow_each(
    before: Scores,
    groups: Ints,
    scores: Floats,
    layout: Layout,
    late: Bools,
    lag: Ints,
    threshold: Floats,
) -> Scores:
    """Go on with the series that have scores of their own; fills in their thresholds."""
    rows = np.flatnonzero(late)
    if len(rows) == 0:
        return before
    which, counts = np.unique(layout.codes()[rows], return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    padded = np.append(rows, layout.n_rows)  # one past the last, beyond the end of a series
    came = np.concatenate([scores, np.full((1, len(lag)), np.nan)])
    given = np.concatenate([threshold, threshold[:1]])
    channel, window = np.arange(len(lag)), before.window
    alpha, now, each = before.alpha.copy(), before.threshold.copy(), before.each.copy()
    for series, cells in side_by_side(Layout(None, pd.RangeIndex(len(rows)), offsets)):
        at, group = padded[cells], groups[which[series]]  # (n, L), (n,)
        old = each[group]
        values = np.concatenate([old, came[at]], axis=1).transpose(0, 2, 1).copy()
        known = np.isfinite(values)
        count = known[:, :, :window].sum(axis=2)  # (n, C), of the window
        for step in range(at.shape[1]):
            fresh = known[:, :, window + step]
            then = given[np.maximum(at[:, step, None] - lag, 0), channel]
            missed = fresh & (values[:, :, window + step] > then)
            if before.tracked:
                now[group] = _tracked(before, now[group], missed, fresh)
                given[at[:, step]] = now[group]
                continue
            alpha[group] = _moved(before, alpha[group], missed, fresh)
            count = count + fresh - known[:, :, step]
            ordered = np.sort(values[:, :, step + 1 : step + 1 + window], axis=2)
            inside = step < counts[series]
            moved = _of_each(ordered, count, alpha[group], now[group])
            now[group] = np.where(inside[:, None], moved, now[group])
            given[at[:, step]] = now[group]
        last = counts[series, None] + np.arange(window)
        each[group] = np.take_along_axis(values, last[:, None], axis=2).transpose(0, 2, 1)
    threshold[rows] = given[rows]
    return replace(before, alpha=alpha, threshold=now, each=each)


def _by_time(layout: Layout, chosen: Bools) -> tuple[Ints, Ints]:
    """Some rows in order of time, and how many of them each time has."""
    rows = np.flatnonzero(chosen)
    when = layout.when(rows)
    order = np.argsort(when, kind="stable")
    return rows[order], np.unique(when, return_counts=True)[1]


def _moved(scores: Scores, alpha: Floats, missed: Floats, known: Bools) -> Floats:
    """Take a step of alpha where an outcome is known.

    With infinite and empty intervals alpha would stay within a step of [0, 1] by itself
    (Gibbs and Candes 2021, Lemma 4.1); these here are finite, so that it is kept there.
    """
    rate = scores.rate or 0.0
    moved = np.clip(alpha + rate * (1 - scores.level - missed), -rate, 1 + rate)
    return np.where(known, moved, alpha)


def _tracked(scores: Scores, threshold: Floats, missed: Floats, known: Bools) -> Floats:
    """Take a step of the threshold where an outcome is known."""
    step = (scores.rate or 0.0) * (missed - (1 - scores.level))
    return np.where(known, threshold + step, threshold)


def _rank(n: Ints, alpha: Floats) -> Ints:
    """Which of n scores in order bounds a new one with probability 1 - alpha, from 1 on."""
    return np.ceil((n + 1) * (1 - alpha) - _EPS).astype(np.int64)


def _by_channel(values: Floats, known: Bools) -> Floats:
    """Scores (n, C) as (C, n), those that are not known behind all others."""
    return np.where(known.T, values.T, np.inf)


def _of_pool(columns: Floats, n: Ints, alpha: Floats, before: Floats) -> Floats:
    """Quantile of scores (C, m), of which n (C,) are known, (C,); as before where none is.

    Where it asks for more than the largest, as for an infinite interval, it is the largest; where
    for an empty one, the smallest.
    """
    result = before.copy()
    place = np.minimum(np.maximum(_rank(n, alpha), 1), n) - 1
    for c in np.flatnonzero(n > 0):
        result[c] = np.partition(columns[c], place[c])[place[c]]
    return result


def _of_each(ordered: Floats, n: Ints, alpha: Floats, before: Floats) -> Floats:
    """The same of scores in order (g, C, W), of which n (g, C) are known, (g, C)."""
    place = np.minimum(np.maximum(_rank(n, alpha), 1), np.maximum(n, 1)) - 1
    found = np.take_along_axis(ordered, place[:, :, None], axis=2)[:, :, 0]
    return np.where(n > 0, found, before)
