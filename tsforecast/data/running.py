"""The running scale: location and scale of a series so far, row by row.

A forecaster whose series drift or differ by orders of magnitude measures each of them as it goes.
The measure at a row knows the rows up to it and nothing else, so that it is the same in a
training window, in a forecast, and in a live stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

from tsforecast._checks import bad_parameter, fail
from tsforecast.data.panel import Floats, Layout
from tsforecast.data.tables import filled, side_by_side, weighted_mean

__all__ = ["RunningScale"]

_PRIOR_ROWS = 8  # the prior counts as so many rows
_FLOOR = 0.03  # of the prior, least scale: a pause is not the end of all movement


@dataclass(frozen=True)
class RunningScale:
    r"""Exponentially weighted location and scale, with the usual scale of all series as prior.

    With :math:`a_k = \max(1 - 2^{-1/\text{half life}}, 1/(8 + k))` at the k-th change seen
    (at the k-th value, for the location),

    .. math::
        s_t = s_{t-1} + a_k (|x_t - x_{t-m}| - s_{t-1}), \quad
        l_t = l_{t-1} + a_k (x_t - l_{t-1})

    from the prior scale, the median over training series of their mean absolute change, and the
    first value. m is the season where the baseline is seasonal, else 1. A missing row leaves both
    as they are; a scale below 3 percent of the prior is given as that.

    Parameters
    ----------
    half_life : float, optional
        Rows after which a row's weight has halved. Default: three quarters of the lookback.
    loss_power : float
        A forecast's loss counts by (running scale / prior) to this power: 0 gives all series the
        same say, 1 as much as they move.

    Examples
    --------
    >>> RunningScale(half_life=20).loss_power
    0.5
    """

    half_life: float | None = None
    loss_power: float = 0.5

    def __post_init__(self) -> None:
        if self.half_life is not None and not (
            isinstance(self.half_life, Real) and self.half_life > 0
        ):
            raise bad_parameter("half_life", expected="a number above 0", found=self.half_life)
        if not (isinstance(self.loss_power, Real) and 0 <= self.loss_power <= 1):
            raise bad_parameter("loss_power", expected="a number in [0, 1]", found=self.loss_power)

    def prior(self, values: Floats, layout: Layout, *, lag: int) -> float:
        """Usual scale of the training rows (N,): the median over series of their mean change.

        Raises
        ------
        DataError
            If no series ever changes.
        """
        means = np.full(layout.n_series, np.nan)
        padded = np.append(values, np.nan)
        for series, rows in side_by_side(layout):
            change = _changes(padded[rows], lag)
            known = np.isfinite(change)
            total = np.where(known, change, 0.0).sum(axis=1)
            count = known.sum(axis=1)
            means[series] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        if not (means > 0).any():
            raise fail(
                "no scale to learn",
                expected=f"a series that changes over {lag} rows",
                found="none in the training rows",
                advice="Leave normalize out, or use Naive.",
            )
        return float(np.median(means[means > 0]))

    def run(
        self, values: Floats, layout: Layout, *, prior: float, lag: int
    ) -> tuple[Floats, Floats, Floats]:
        """Location and scale at every row, and the state after the last row of each series.

        Parameters
        ----------
        values : ndarray, shape (N,)
            NaN where missing.
        layout : Layout
            The series.
        prior : float
            From `prior`.
        lag : int
            m: rows over which a change is measured.

        Returns
        -------
        location, scale : ndarray, shape (N,)
            Before the first known value of a series the location is NaN, the scale the prior.
        state : ndarray, shape (S, 4)
            For `step`: the location, the scale before its floor, values and changes seen.
        """
        least = self._least_weight
        padded = np.append(values, np.nan)
        # one place more, for the cells beyond the end of a series
        location, scale = np.empty(len(padded)), np.empty(len(padded))
        state = np.empty((layout.n_series, 4))
        for series, rows in side_by_side(layout):
            x = padded[rows]
            first = np.take_along_axis(x, np.argmax(~np.isnan(x), axis=1)[:, None], axis=1)
            # from the first value on: a high level would leave few digits to a sum
            way, seen = weighted_mean(
                x - first, least, start=np.zeros_like(first), prior_rows=_PRIOR_ROWS
            )
            centre = np.where(seen > 0, first + way, np.nan)
            s, moved = weighted_mean(
                _changes(x, lag), least, start=np.full_like(first, prior), prior_rows=_PRIOR_ROWS
            )
            location[rows], scale[rows] = centre, s
            state[series] = np.stack([part[:, -1] for part in (centre, s, seen, moved)], axis=1)
        return location[:-1], np.maximum(scale[:-1], _FLOOR * prior), state

    def step(
        self, state: Floats, x: Floats, ago: Floats, *, prior: float
    ) -> tuple[Floats, Floats, Floats]:
        """Take one row more of each of n series: what `run` gives with these rows at the end.

        Parameters
        ----------
        state : ndarray, shape (n, 4)
            From `run` or `step`; NaN for a series without rows yet.
        x : ndarray, shape (n,)
            The new values, NaN where missing.
        ago : ndarray, shape (n,)
            The last value known `lag` rows before the new row, NaN where there is none.
        prior : float
            As for `run`.

        Returns
        -------
        state : ndarray, shape (n, 4)
        location, scale : ndarray, shape (n,)
        """
        least = self._least_weight
        change = np.abs(x - ago)
        seen, moved = ~np.isnan(x), ~np.isnan(change)
        centre = state[:, 0]
        s = np.where(np.isnan(state[:, 1]), prior, state[:, 1])
        n, k = np.nan_to_num(state[:, 2:]).T + np.stack([seen, moved])
        towards = centre + np.maximum(least, 1 / (_PRIOR_ROWS + n)) * (x - centre)
        centre = np.where(seen, np.where(np.isnan(centre), x, towards), centre)
        s = np.where(moved, s + np.maximum(least, 1 / (_PRIOR_ROWS + k)) * (change - s), s)
        return np.stack([centre, s, n, k], axis=1), centre, np.maximum(s, _FLOOR * prior)

    @property
    def _least_weight(self) -> float:
        if self.half_life is None:
            raise ValueError("half_life is not given")
        return float(1.0 - 2.0 ** (-1.0 / self.half_life))


def _changes(table: Floats, lag: int) -> Floats:
    """Size of the change from the last value known `lag` rows before, NaN where unknown, (n, L)."""
    changes = np.full_like(table, np.nan)
    changes[:, lag:] = np.abs(table[:, lag:] - filled(table)[:, :-lag])
    return changes
