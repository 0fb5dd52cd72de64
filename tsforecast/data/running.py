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
from tsforecast.data.panel import Floats, Layout, forward_fill

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
        change = np.abs(_changes(values, layout, lag))
        known = np.isfinite(change)
        total = np.add.reduceat(np.where(known, change, 0.0), layout.starts)
        count = np.add.reduceat(known.astype(np.int64), layout.starts)
        means = total[count > 0] / count[count > 0]
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
    ) -> tuple[Floats, Floats]:
        """Location and scale at every row, (N,) -> (N,) and (N,).

        Before the first known value of a series the location is NaN, the scale the prior.
        """
        change = np.abs(_changes(values, layout, lag))
        if self.half_life is None:
            raise ValueError("half_life is not given")
        least = 1.0 - 2.0 ** (-1.0 / self.half_life)
        location, scale = np.empty(len(values)), np.empty(len(values))
        # position by position, all series that are that long side by side
        lengths = np.diff(layout.offsets)
        order = np.argsort(-lengths, kind="stable")
        starts = layout.starts[order]
        centre, s = np.full(len(order), np.nan), np.full(len(order), prior)
        k = np.full(len(order), float(_PRIOR_ROWS))
        n = k.copy()
        alive = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
        for position, count in enumerate(alive):
            rows = starts[:count] + position
            x, d = values[rows], change[rows]
            seen, moved = ~np.isnan(x), ~np.isnan(d)
            n[:count] += seen
            k[:count] += moved
            step = np.where(seen, np.maximum(least, 1.0 / n[:count]) * (x - centre[:count]), 0.0)
            centre[:count] = np.where(np.isnan(centre[:count]), x, centre[:count] + step)
            s[:count] += np.where(moved, np.maximum(least, 1.0 / k[:count]) * (d - s[:count]), 0.0)
            location[rows], scale[rows] = centre[:count], s[:count]
        return location, np.maximum(scale, _FLOOR * prior)


def _changes(values: Floats, layout: Layout, lag: int) -> Floats:
    """Value less the last one known `lag` rows before, NaN where either is unknown, (N,)."""
    known, _ = forward_fill(values, layout)
    rows = np.arange(len(values)) - lag
    inside = rows >= np.repeat(layout.starts, np.diff(layout.offsets))
    ago = np.where(inside, known[np.maximum(rows, 0)], np.nan)
    return np.asarray(values - ago)
