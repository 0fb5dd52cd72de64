"""How far intervals reach in a stream: what a `ConformalForecaster` makes of rows as they come.

It is carried beside what a `Stepper` carries, for each series: ``bounds`` (n, H, 3, K, H), what the
forecaster within said at the last H rows, and ``reach`` (n, H, C), the thresholds given there;
NaN where a series has fewer rows.  The scores are one record for all series.  Letters of shapes
are those of `tsforecast.estimators._intervals`, with n of the S series at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter
from tsforecast.data.panel import Floats, Ints, Layout
from tsforecast.data.scored import short_origins_unsaid
from tsforecast.data.windows import Rows
from tsforecast.estimators._base import series_key
from tsforecast.estimators._intervals import Scores
from tsforecast.estimators._stepping import Carried
from tsforecast.estimators.conformal import ConformalForecaster, ConformalRows

__all__ = ["NewRows", "Reach"]


@dataclass(frozen=True)
class NewRows:
    """Some rows that a stream takes, N of n series.

    Attributes
    ----------
    panel : DataFrame
    layout : Layout
    bounds : ndarray, shape (3, N, K, H)
        What the forecaster within says at each.
    before : dict of ndarray
        What is carried of the series; empty for those that begin.
    """

    panel: pd.DataFrame
    layout: Layout
    bounds: Floats
    before: Carried


class Reach:
    """Intervals of many series, row by row.

    Parameters
    ----------
    model : ConformalForecaster
        Fitted, around a `RecurrentForecaster`.

    Raises
    ------
    ValueError
        If it is around another one. If it adapts and has future-known columns: rows to come are
        not known to a stream when a row comes, so that nothing could be scored.
    """

    def __init__(self, model: ConformalForecaster) -> None:
        if isinstance(model.estimator_, ConformalForecaster):
            raise bad_parameter(
                "model",
                expected="one ConformalForecaster around a RecurrentForecaster",
                found=model,
                advice="Use its own update and predict().",
            )
        self.model = model
        self.scores: Scores = model._scores
        self.adapts = self.scores.rate is not None
        if self.adapts and model.future is not None and len(model.future):
            raise bad_parameter(
                "model",
                expected="method='split' where the estimator has future-known columns",
                found=model,
                advice="Use its own update and predict(future=...).",
            )

    @property
    def _shape(self) -> tuple[int, int]:
        """K and H."""
        return len(self.model.targets_), int(self.model.horizon)

    def nothing(self, n: int) -> Carried:
        """What is carried before the first row of each of n series."""
        if not self.adapts:
            return {}
        k, h = self._shape
        return {
            "bounds": np.full((n, h, 3, k, h), np.nan),
            "reach": np.full((n, h, self.model._n_channels), np.nan),
        }

    def at_all(self, panel: pd.DataFrame, layout: Layout) -> Floats:
        """Bounds at the rows of a panel that matter, else NaN, (3, N, K, H)."""
        model = self.model
        if not self.adapts:
            return np.empty((3, 0, *self._shape))
        late = layout.per_row(np.asarray(layout.labels > model.cutoff_))
        early = np.add.reduceat(~late, layout.starts, dtype=np.int64)
        first = layout.starts + np.maximum(early - model.horizon, 0)
        return model._bounds_from(model.estimator_._prepare(panel, layout), layout, first)

    def at_ends(self, rows: Rows) -> Floats:
        """Bounds at the last row of each of n series, (3, n, K, H)."""
        with short_origins_unsaid():
            said = self.model.estimator_._forecast(rows, rows.layout.stops - 1)
        series = series_key(rows.layout, self.model._series)
        return np.stack(self.model._bounds(*said, series=series))

    def after(self, parts: Sequence[NewRows]) -> tuple[list[Carried], Scores]:
        """What is carried of the series of each part after their rows, and the scores."""
        if not self.adapts:
            return [{} for _ in parts], self.scores
        pieces = [self._behind(part) for part in parts]
        layouts, bounds, actual, new, given = (list(column) for column in zip(*pieces))
        threshold, scores = self.model._followed(
            self.scores,
            np.concatenate(bounds, axis=1),
            np.concatenate(actual),
            _joined(layouts),
            np.concatenate(new),
            np.concatenate(given),
        )
        carried, start = [], 0
        for layout, own in zip(layouts, bounds):
            stop = start + layout.n_rows
            carried.append(self._kept(layout, own, threshold[start:stop]))
            start = stop
        return carried, scores

    def rows(self, rows: Rows, origins: Ints, carried: Carried, layout: Layout) -> ConformalRows:
        """Rows of the networks with the thresholds at the origins, one of each series."""
        if self.adapts:
            found = carried["reach"][:, -1]
        else:
            groups = self.scores.groups(series_key(layout, self.model._series))
            found = self.scores.threshold[groups]
        threshold = np.full((rows.layout.n_rows, found.shape[1]), np.nan)
        threshold[origins] = found
        return ConformalRows(rows, threshold)

    def _behind(self, part: NewRows) -> tuple[Layout, Floats, Floats, Floats, Floats]:
        """Put new rows behind the last ones that are kept of their series."""
        k, h = self._shape
        layout, n = part.layout, part.layout.n_series
        kept = np.zeros((n, h), dtype=bool)
        if part.before:  # right-aligned
            kept = np.arange(h)[::-1] < np.minimum(part.before["total"], h)[:, None]
        counts = np.diff(layout.offsets)
        offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1) + counts)])
        old = np.ones(offsets[-1], dtype=bool)
        old[np.arange(layout.n_rows) + np.cumsum(kept.sum(axis=1))[layout.codes()]] = False
        # the time of the old ones does not matter: they are through
        source = np.repeat(layout.starts, kept.sum(axis=1) + counts)
        source[~old] = np.arange(layout.n_rows)
        longer = Layout(layout.ids, layout.time.take(source), offsets)
        bounds = np.empty((3, len(old), k, h))
        actual, given = (
            np.full((len(old), k), np.nan),
            np.full((len(old), self.model._n_channels), np.nan),
        )
        bounds[:, ~old] = part.bounds
        actual[~old] = part.panel[self.model.targets_].to_numpy(dtype=np.float64)
        if part.before:
            bounds[:, old] = part.before["bounds"][kept].swapaxes(0, 1)
            given[old] = part.before["reach"][kept]
        return longer, bounds, actual, ~old, given

    def _kept(self, layout: Layout, bounds: Floats, threshold: Floats) -> Carried:
        """The last H rows of each series, right-aligned."""
        carried, h = self.nothing(layout.n_series), self._shape[1]
        short, rows = layout.tail(h)
        place = h - (short.stops[short.codes()] - np.arange(short.n_rows))
        carried["bounds"][short.codes(), place] = bounds[:, rows].swapaxes(0, 1)
        carried["reach"][short.codes(), place] = threshold[rows]
        return carried


def _joined(layouts: Sequence[Layout]) -> Layout:
    """Series of several layouts, one behind the other."""
    if len(layouts) == 1:
        return layouts[0]
    ids, time, offsets = layouts[0].ids, layouts[0].time, layouts[0].offsets
    for more in layouts[1:]:
        assert ids is not None
        assert more.ids is not None
        ids, time = ids.append(more.ids), time.append(more.time)
        offsets = np.concatenate([offsets, offsets[-1] + more.offsets[1:]])
    return Layout(ids, time, offsets)
