"""Conformal intervals: as wide as past errors of the forecasts themselves say they must be."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, callers_level, choice, fail, positive_int
from tsforecast.data.calendars import infer_time_step
from tsforecast.data.keys import Keys
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    layout_of,
    time_from_ints,
    time_to_ints,
)
from tsforecast.data.scored import Bools, gives_positions, short_origins_unsaid
from tsforecast.data.splits import validation_start
from tsforecast.estimators._base import PanelForecaster, series_key
from tsforecast.estimators._further import can_advance, further, places
from tsforecast.estimators._intervals import (
    Scores,
    fewest_scores,
    follow,
    least_units,
    scores_at,
    start,
)
from tsforecast.metrics import quantile_column

__all__ = ["ConformalForecaster", "ConformalRows"]

_SAME = 1e-9  # levels closer than this are one
# what the estimator within says for itself
_WITHIN = frozenset({"target", "horizon", "future", "static", "group"})


@dataclass(frozen=True)
class ConformalRows:
    """A panel's rows as the forecaster within wants them, each with its thresholds.

    Attributes
    ----------
    rows : PreparedRows
        Of the forecaster within; N rows.
    threshold : ndarray, shape (N, C)
        How far the interval of each target and step reaches from an origin there; see `Scores`.
    """

    rows: Any
    threshold: Floats

    @property
    def layout(self) -> Layout:
        """Where the series lie."""
        layout: Layout = self.rows.layout
        return layout

    def tail(self, n_rows: int) -> ConformalRows:
        """Keep the last rows of each series."""
        _, kept = self.layout.tail(n_rows)
        return ConformalRows(self.rows.tail(n_rows), self.threshold[kept])


class ConformalForecaster(PanelForecaster):
    r"""Put an interval around the forecasts of any forecaster that holds what it promises.

    The last part of the time is held out of the fit. There every forecast is scored by how far
    the outcome lay outside of it, and an interval reaches as far as a quantile of the scores: with
    n of them the :math:`\lceil (n + 1) \, \text{level} \rceil`-th smallest, which covers `level`
    of the outcomes on average over draws if scores are exchangeable, whatever their distribution
    and however wrong the forecaster (split conformal prediction; Vovk et al. 2005). Scores of
    time series are not: ``method="adaptive"`` goes on learning from what comes in.

    Parameters
    ----------
    estimator : forecaster
        Any of this package; cloned and fitted on the rows before the calibration part. It says
        what is forecast (`target`, `horizon`). As ``FrozenEstimator(model)`` it is taken as it is
        fitted, and the calibration part is all after its ``cutoff_``.
    method : {"adaptive", "split", "tracking"}
        - ``"split"``: what was calibrated stays.
        - ``"adaptive"``: adaptive conformal inference (Gibbs & Candes 2021). The share of outcomes
          outside that is aimed at moves with every outcome, by
          :math:`\alpha_{t+1} = \alpha_t + \text{rate} \, (1 - \text{level} - \text{err}_t)`, and
          the quantile is that of the last `window` scores.
        - ``"tracking"``: quantile tracking (Angelopoulos, Candes & Tibshirani 2023). A bound begins
          at the quantile that the estimator itself forecasts and moves with every outcome: out by
          rate times level after one outside, in by rate times (1 - level) after one inside (with
          ``sides="each"`` the level is that of a side). No quantile of scores has to be
          estimated, so that it is the better one far out in the tails, where few scores tell.
    level : float
        Share of outcomes that the intervals are to hold, in (0, 1).
    by : {"all", "series"}
        Whether scores of all series are taken together, err being the share of series outside, or
        each series stands alone. Series that `fit` has not seen, or that have too few scores of
        their own, share the pooled ones. Absolute scores of series that differ in scale want
        "series": taken together they make one width for all, too wide for one and too narrow for
        the other.
    size : float
        Share of the rows in the calibration part, in (0, 1).
    rate : float
        Step of alpha in the adaptive method, at least 0; large steps follow faster, and the width
        swings more. With 0 alpha stands still, and the window of scores alone moves on. In
        ``"tracking"`` the step of a bound, above 0, in units of the distance between the two
        quantiles.
    window : int, optional
        Times (with ``by="series"``: rows of the series) whose scores count in the adaptive method.
        Default: as many as the calibration part has.
    scores : {"auto", "quantile", "absolute"}
        - ``"quantile"``: from the lower and upper quantile that the estimator forecasts, in units
          of the distance between them (conformalised quantile regression: Romano et al. 2019;
          scaled, CQR-r: Sesia & Candes 2020): wide where the estimator says so. It takes those of
          `level`, interpolated, or the outermost ones that there are. A unit is at least a tenth
          of the series' median one in the calibration part, as quantiles may meet, for example in
          a halt of trading.
        - ``"absolute"``: the absolute error of the forecast, the same width at all times. Of a
          variance the lower bound may come out negative: forecast its logarithm.
        - ``"auto"``: quantiles where the estimator has them on both sides of the median.
    sides : {"both", "each"}
        - ``"both"``: one score tells how far an outcome lies outside, whichever the side, and both
          sides reach as far. The interval holds `level`, but more outcomes may lie below it than
          above.
        - ``"each"``: the two sides have scores (and an alpha) of their own, and half of what may
          lie outside lies on each: either bound is a calibrated quantile by itself, as a value at
          risk must be (Romano et al. 2019, theorem 2). Intervals are a little wider. Where the
          bounds would cross they meet in the middle.
    refit : bool
        Whether the estimator is fitted again after calibration, on all rows. Scores are then those
        of a fit on fewer rows, which is a little worse: intervals of ``"split"`` come out a little
        too wide, the other methods correct themselves.

    Attributes
    ----------
    estimator_ : forecaster
        The fitted one.
    n_scores_ : ndarray of int64, shape (K, H)
        Scores of all series that were calibrated on, for each target and step.

    Raises
    ------
    ValueError
        In `fit`, if a parameter cannot be used.
    DataError
        In `fit`, if there are too few scores for the level; the message says how many it needs.

    See Also
    --------
    coverage_monitor : Coverage and width over time, from a backtest.
    FilteredHistorical : Quantiles of returns. For a value at risk at p put this around it, with
        ``method="tracking"``, ``sides="each"`` and a `level` of 1 - 2p.
    Combination : Of several forecasters, to put this around.

    Warns
    -----
    UserWarning
        In `fit`, if ``scores="auto"`` takes absolute scores of several series together.

    Notes
    -----
    **What is known when.** The score of a forecast made at t for t + h counts from t + h on. The
    interval at an origin is a function of the fit and of the panel's rows up to the origin:
    rows after the end of `fit` are gone through in order, whichever of them are asked for as
    cutoffs. Thus a backtest adapts from origin to origin without being told to, and
    ``refit=False`` costs one fit. A panel that begins later than `fit` ended is gone through
    from its first row on, beginning with the state of `fit`. Origins up to the end of `fit` have
    the intervals of its end.

    **Steps, targets and series** have thresholds and an alpha each; series unless ``by="all"``.
    An interval covers each step by itself, not the path.

    **Always finite.** Where alpha asks for more than the largest score, as it does after a run of
    misses, the theory has an infinite interval, and where it asks for less than none, an empty
    one. Here they are those of the largest and the smallest score of the window. Alpha is kept
    within ``[-rate, 1 + rate]``, where it stays in the theory, too. The bound of the theory on the
    coverage over long times thereby holds as long as no outcome lies beyond the largest score
    while alpha is below 0. Tracked bounds have no such end: where scores stay below b in size, of
    the first T outcomes of step h from the calibration part on, the share outside is within
    (b + h rate) / (rate T) of the one aimed at, whatever they are.

    The forecast itself is left as it is. It may lie outside of an interval that was made from
    quantiles.

    **What is kept** for `update`: the last rows, where the estimator is a baseline that can go on
    row by row (all but `LagRegressor`); else all rows of `fit` and of updates, which `predict()`
    goes through where a network within reads its series from the beginning. `Stream` goes on
    with a fixed amount for each series around a `RecurrentForecaster`.

    References
    ----------
    Gibbs & Candes, Adaptive conformal inference under distribution shift, NeurIPS 2021.
    Romano, Patterson & Candes, Conformalized quantile regression, NeurIPS 2019.
    Sesia & Candes, A comparison of some conformal quantile regression methods, Stat 9 (2020).
    Angelopoulos, Candes & Tibshirani, Conformal PID control for time series prediction, NeurIPS
    2023, section 2.1.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(3, 300, random_state=0)
    >>> model = tsf.ConformalForecaster(tsf.RandomWalk(target="close"), level=0.9).fit(panel)
    >>> model.predict().columns.tolist()
    ['target', 'cutoff', 'step', 'forecast', 'q0.05', 'q0.95']
    """

    def __init__(
        self,
        estimator: Any,
        *,
        method: Literal["adaptive", "split", "tracking"] = "adaptive",
        level: float = 0.8,
        by: Literal["all", "series"] = "all",
        size: float = 0.25,
        rate: float = 0.02,
        window: int | None = None,
        scores: Literal["auto", "quantile", "absolute"] = "auto",
        sides: Literal["both", "each"] = "both",
        refit: bool = False,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.level = level
        self.by = by
        self.size = size
        self.rate = rate
        self.window = window
        self.scores = scores
        self.sides = sides
        self.refit = refit

    estimator_: Any
    n_scores_: Ints
    _scores: Scores
    _least: Floats  # (S + 1, K, H), units of scores are no smaller
    _rows: pd.DataFrame | None  # those of fit and of update, raw; None where tails will do
    _newest: ConformalRows | None  # the tail after update, and the scores
    _now: Scores

    def __getattr__(self, name: str) -> Any:
        # said once: by the estimator
        if name in _WITHIN and "estimator" in vars(self):
            return getattr(self.estimator, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ------------------------------------------------------------------------------------ verbs

    def fit(self, panel: pd.DataFrame, y: None = None) -> ConformalForecaster:
        """Fit the estimator on the first part of the time, and calibrate on the rest.

        Parameters
        ----------
        panel : DataFrame
            A panel, or anything that `as_panel` takes without further names.
        y : None
            Ignored: the targets are columns of the panel.

        Returns
        -------
        self
        """
        self._check_parameters()
        super().fit(panel, y)
        return self

    def predict_quantiles(
        self,
        panel: pd.DataFrame | None = None,
        *,
        levels: Sequence[float],
        future: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Forecast the two quantile levels that are calibrated, or either.

        Parameters
        ----------
        panel, future : DataFrame, optional
            As for `predict`.
        levels : sequence of float
            ``(1 - level) / 2`` and ``(1 + level) / 2``, or one of them.

        Returns
        -------
        DataFrame
            As from `predict`, with these quantile columns.

        Raises
        ------
        ValueError
            If another level is asked for: between the two nothing is calibrated.
        """
        check_is_fitted(self)
        wanted = [min(self._levels, key=lambda own: abs(own - level)) for level in levels]
        if any(not abs(own - level) <= _SAME for own, level in zip(wanted, levels)):
            raise bad_parameter(
                "levels",
                expected=f"levels of the two bounds, {list(self._levels)}",
                found=list(levels),
                advice="Nothing else is calibrated. estimator_.predict_quantiles gives what the "
                "estimator itself says, another level= another interval.",
            )
        frame = self.predict(panel, future=future)
        others = frame.drop(columns=[quantile_column(level) for level in self._levels])
        names = [quantile_column(level) for level in wanted]
        return others.assign(**{name: frame[name] for name in names})

    def update(
        self, actuals: pd.DataFrame, *, gaps: Literal["raise", "allow"] = "raise"
    ) -> ConformalForecaster:
        """Take new rows: the intervals move on, and `predict()` goes from the newest row.

        Afterwards ``predict()`` gives what ``predict(panel)`` would with all rows so far. Methods
        that are given a panel look at its rows alone, as before. Pooled scores count in the order
        in which they are given: give all series of a time together.

        Parameters
        ----------
        actuals : DataFrame
            A panel with the columns that the estimator needs: of any of the series, and new ones,
            the rows that follow the newest one.
        gaps : {"raise", "allow"}
            What to do where a row that the spacing of time lets expect is not there. Step h is
            the h-th row after the origin, whatever the time between, so that a row that is lost
            would shift the scores; a holiday is no loss.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If a row is not later than the newest one of its series, or the rows between are
            missing; the message names them, and nothing has changed. Also if the model was saved
            without its rows.
        """
        check_is_fitted(self)
        choice("gaps", gaps, ("raise", "allow"))
        newest = self._own_rows().layout
        panel, layout = self._checked(actuals)
        if (layout.ids is None) != (newest.ids is None):
            both = ["one series without a name", "an index (series, time)"]
            raise fail(
                "index is of another kind than in fit",
                expected=both[newest.ids is not None],
                found=both[layout.ids is not None],
                advice="Give the rows the index of the panel that the model was fitted on.",
            )
        self._check_follows(newest, layout, gaps=gaps)
        old, known = self._own_rows(), None
        if can_advance(self.estimator_):
            rows = further(self.estimator_, old.rows, panel)
            parts = getattr(rows, "parts", (rows,))
            actual = np.stack([np.where(p.age == 0, p.value, np.nan) for p in parts], axis=1)
        else:
            known = pd.concat([self._rows, panel])
            known.attrs = dict(getattr(self._rows, "attrs", {}))
            known = as_panel(known)
            rows = self.estimator_._prepare(known, layout_of(known))
            actual = known[self.targets_].to_numpy(dtype=np.float64)
        self._newest, self._now = self._moved_on(rows, actual, old)
        self._rows = known
        return self

    def _moved_on(
        self, rows: Any, actual: Floats, old: ConformalRows
    ) -> tuple[ConformalRows, Scores]:
        """The tail and the scores after rows that follow those of `old`, which are among them."""
        layout: Layout = rows.layout
        place = places(old.layout, layout)
        ends = np.full(layout.n_series, np.iinfo(np.int64).min)  # the newest times so far
        newest = time_to_ints(old.layout.time.astype(layout.labels.dtype))
        ends[place >= 0] = newest[old.layout.stops[place[place >= 0]] - 1]
        new = layout.when() > ends[layout.codes()]
        early = np.add.reduceat(~new, layout.starts, dtype=np.int64)
        first = layout.starts + np.maximum(early - self.horizon, 0)
        bounds = self._bounds_from(rows, layout, first)
        given = np.full((layout.n_rows, old.threshold.shape[1]), np.nan)
        for series, at in enumerate(place):
            if at >= 0:
                kept = old.threshold[old.layout.offsets[at] : old.layout.offsets[at + 1]]
                stop = layout.starts[series] + early[series]
                n = min(len(kept), early[series])
                given[stop - n : stop] = kept[len(kept) - n :]
        threshold, now = self._followed(self._now, bounds, actual, layout, new, given)
        return ConformalRows(rows, threshold).tail(self._memory), now

    def _followed(
        self,
        before: Scores,
        bounds: Floats,
        actual: Floats,
        layout: Layout,
        new: Bools,
        given: Floats,
    ) -> tuple[Floats, Scores]:
        """Go on from some scores through new rows (N,), behind those of which `given` tells."""
        scores = scores_at(bounds, actual, layout, first=layout.starts, n_sides=self._n_sides)
        groups = before.groups(series_key(layout, self._series))
        late = new & layout.per_row(np.asarray(layout.labels > self.cutoff_))
        through = new & ~late  # of times that fit has ended with
        given = given.copy()
        given[through] = before.threshold[groups[layout.codes()[through]]]
        return follow(before, groups, scores, layout, late, self.horizon, given)

    # ------------------------------------------------------------------------------- parameters

    def _check_parameters(self) -> None:
        choice("method", self.method, ("adaptive", "split", "tracking"))
        choice("by", self.by, ("all", "series"))
        choice("scores", self.scores, ("auto", "quantile", "absolute"))
        choice("sides", self.sides, ("both", "each"))
        for name in ("level", "size"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
                raise bad_parameter(name, expected="a share in (0, 1)", found=share)
        rate = self.rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise bad_parameter("rate", expected="a number in [0, 1)", found=rate)
        if self.method == "tracking" and rate == 0:
            raise bad_parameter(
                "rate", expected="a number above 0, with method='tracking'", found=rate
            )
        if self.window is not None:
            least = fewest_scores(self._held) if self.by == "series" else 1
            positive_int("window", self.window, least=least)
        within = self._unfrozen(self.estimator)
        if isinstance(within, type) or not isinstance(within, PanelForecaster):
            raise bad_parameter(
                "estimator",
                expected="a forecaster of panels with forecast_origins, or FrozenEstimator of one",
                found=self.estimator,
                advice="For example RandomWalk(); LagRegressor(estimator=...) makes one of any "
                "regressor, CalibratedEvents is for the risks of events.",
            )
        if gives_positions(within):
            raise bad_parameter(
                "estimator",
                expected="a forecaster of what will be observed",
                found=self.estimator,
                advice="What an estimator of positions says can be no hit or miss.",
            )
        if self._frozen:
            check_is_fitted(within)
            if self.refit:
                raise bad_parameter(
                    "refit", expected="False, as a frozen estimator is not fitted", found=self.refit
                )

    @property
    def _frozen(self) -> bool:
        return isinstance(self.estimator, FrozenEstimator)

    @staticmethod
    def _unfrozen(estimator: Any) -> Any:
        return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator

    @property
    def _n_sides(self) -> int:
        """D, how many sides have scores of their own."""
        return 2 if self.sides == "each" else 1

    @property
    def _n_channels(self) -> int:
        """C, how many thresholds a forecast has."""
        return self._n_sides * len(self.targets_) * int(self.horizon)

    @property
    def _held(self) -> float:
        """Share of outcomes within one side, or within both."""
        return 1.0 - (1.0 - float(self.level)) / self._n_sides

    @property
    def _levels(self) -> tuple[float, ...]:
        outside = (1.0 - float(self.level)) / 2.0
        # 0.05, not 0.04999999999999999
        return round(outside, 12), round(1.0 - outside, 12)

    @property
    def _memory(self) -> int:
        # scores of the forecasts from the last rows are still to come
        return int(self.estimator_._memory) + int(self.horizon) - 1

    @property
    def _sweeps(self) -> bool:
        return bool(self.estimator_._sweeps)

    def _columns(self) -> list[Hashable]:
        columns: list[Hashable] = self.estimator_._columns()
        return columns

    def _select(self, panel: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        if fitting:
            return panel  # the estimator chooses when it is fitted
        selected: pd.DataFrame = self.estimator_._select(panel, fitting=False)
        return selected

    # -------------------------------------------------------------------------------------- fit

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> ConformalRows:
        late = self._calibration_rows(panel, layout)
        if self._frozen:
            self.estimator_ = self._unfrozen(self.estimator)
        else:
            self.estimator_ = clone(self.estimator).fit(panel[~late])
        if self.targets_ != self.estimator_.targets_:
            self.targets_ = list(self.estimator_.targets_)  # of a frozen one
        known = self.estimator_._select(panel, fitting=False)
        layout = layout_of(known)
        self._series = None if layout.ids is None else Keys.of(layout.ids)
        self._warn_of_scales(layout)
        rows = self.estimator_._prepare(known, layout)
        early = np.add.reduceat(~late, layout.starts, dtype=np.int64)
        first = layout.starts + np.maximum(early - 1, 0)  # the last rows before are origins, too
        # units as they come, but for those that are too small beside the others
        self._least = np.zeros((layout.n_series + 1, len(self.targets_), int(self.horizon)))
        if self.method == "tracking" and not self._takes_quantiles:
            raise bad_parameter(
                "method",
                expected="'adaptive' or 'split', where scores are not of quantiles on both sides "
                "of the median",
                found=self.method,
                advice="Quantile tracking begins at them, and measures its steps by them.",
            )
        if self._takes_quantiles:
            self._least = least_units(self._bounds_from(rows, layout, first)[2], layout)
        scores = self._score_rows(rows, known, layout, first)
        # as many on either side
        count = np.isfinite(scores[:, : len(self.targets_) * self.horizon]).sum(axis=0)
        self.n_scores_ = count.reshape(len(self.targets_), self.horizon)
        self._check_enough()
        self._scores = start(
            scores,
            layout,
            late,
            level=self._held,
            rate=None if self.method == "split" else float(self.rate),
            window=self.window if self.method == "adaptive" else None,
            by_series=self.by == "series",
            tracked=self.method == "tracking",
            horizon=int(self.horizon),
        )
        few = np.isfinite(self._scores.pool).sum(axis=0) < fewest_scores(self._held)
        if self.method != "tracking" and few.any():
            raise bad_parameter(
                "window",
                expected=f"times with at least {fewest_scores(self._held)} scores, for "
                f"level={self.level:g}",
                found=self.window,
            )
        self._rows = None if can_advance(self.estimator_) else known.copy()
        self._newest, self._now = None, self._scores
        if self.refit:
            self.estimator_ = clone(self.estimator).fit(panel)
            rows = self.estimator_._prepare(known, layout)
        groups = self._scores.groups(np.arange(layout.n_series))
        return ConformalRows(rows, self._scores.threshold[groups[layout.codes()]])

    def _calibration_rows(self, panel: pd.DataFrame, layout: Layout) -> Bools:
        """Which rows are for calibration, (N,): the last ones of all series."""
        if self._frozen:
            self._unfrozen(self.estimator)._checked(panel)  # before times are compared
            cutoff = self.estimator.cutoff_
            late = layout.per_row(np.asarray(layout.labels > cutoff))
            expected, advice = f"rows after {cutoff}, the last that the estimator has seen", "them"
        else:
            late = layout.when() >= validation_start(panel, float(self.size))
            expected, advice = "times before the calibration part", "more rows, or a smaller size="
        if not late.any() or (late.all() and not self._frozen):
            raise fail(
                "nothing to calibrate on" if not late.any() else "nothing to fit on",
                expected=expected,
                found=f"{layout.n_rows} rows up to {layout.last_time()}",
                advice=f"Give {advice}.",
            )
        return late

    def _check_enough(self) -> None:
        least = 1 if self.method == "tracking" else fewest_scores(self._held)
        if (self.n_scores_ < least).any():
            k, h = np.argwhere(self.n_scores_ < least)[0]
            raise fail(
                "too few scores to calibrate on",
                expected=f"at least {least} for level={self.level:g}",
                found=f"{self.n_scores_[k, h]} of step {h + 1}",
                advice="Give more rows, a larger size= or a lower level=; where quantiles of the "
                "estimator coincide, scores='absolute'.",
                column=self.targets_[k],
            )

    # ------------------------------------------------------------------------------------- rows

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> ConformalRows:
        rows = self.estimator_._prepare(panel, layout)
        groups = self._scores.groups(series_key(layout, self._series))
        late = layout.per_row(np.asarray(layout.labels > self.cutoff_))
        if self._scores.rate is None or not late.any():
            return ConformalRows(rows, self._scores.threshold[groups[layout.codes()]])
        early = np.add.reduceat(~late, layout.starts, dtype=np.int64)
        first = layout.starts + np.maximum(early - self.horizon, 0)
        scores = self._score_rows(rows, panel, layout, first)
        threshold, _ = follow(self._scores, groups, scores, layout, late, self.horizon)
        return ConformalRows(rows, threshold)

    def _score_rows(self, rows: Any, panel: pd.DataFrame, layout: Layout, first: Ints) -> Floats:
        """Score the forecasts from `first` (S,) on, at the rows of their outcomes, (N, C)."""
        bounds = self._bounds_from(rows, layout, first)
        actual = panel[self.targets_].to_numpy(dtype=np.float64)
        return scores_at(bounds, actual, layout, first=first, n_sides=self._n_sides)

    def _bounds_from(self, rows: Any, layout: Layout, first: Ints) -> Floats:
        """Bounds and unit at the rows from `first` (S,) on, NaN before, (3, N, K, H)."""
        counts = layout.stops - first
        origins = np.repeat(layout.stops - np.cumsum(counts), counts) + np.arange(counts.sum())
        with short_origins_unsaid():
            said = self.estimator_._forecast(rows, origins)
        bounds = np.stack(self._bounds(*said, series=self._series_of(layout, origins)))
        whole = np.full((3, layout.n_rows, *bounds.shape[2:]), np.nan)
        whole[:, origins] = bounds
        return whole

    @property
    def _takes_quantiles(self) -> bool:
        """Whether scores are of quantiles; of the forecast itself otherwise."""
        levels = self.estimator_._levels
        both = len(levels) > 1 and levels[0] < 0.5 < levels[-1]
        if self.scores == "quantile" and not both:
            raise bad_parameter(
                "scores",
                expected="'absolute', as the estimator has no quantiles on both sides of the "
                "median",
                found=self.scores,
            )
        return bool(both and self.scores != "absolute")

    def _warn_of_scales(self, layout: Layout) -> None:
        """Warn of one width for several series, unless it was asked for."""
        one_width = self.scores == "auto" and self.by == "all" and layout.n_series > 1
        if one_width and not self._takes_quantiles:
            warnings.warn(
                "The estimator has no quantiles on both sides of the median, so that the absolute "
                f"errors of all {layout.n_series} series make one width for all of them. Where "
                "series differ in scale use by='series', or an estimator with quantiles "
                "(levels=); where they do not, say scores='absolute'.",
                stacklevel=callers_level(),
            )

    def _series_of(self, layout: Layout, origins: Ints) -> Ints:
        """Number of the series of each origin among those of fit, -1 where unseen."""
        return series_key(layout, self._series)[layout.codes()[origins]]

    def _bounds(
        self, forecast: Floats, quantiles: Floats, *, series: Ints
    ) -> tuple[Floats, Floats, Floats]:
        """Lower and upper bound of the estimator and the unit of scores, (n, K, H) each."""
        if not self._takes_quantiles:
            return forecast, forecast, np.ones_like(forecast)
        levels = self.estimator_._levels
        low, high = (_between(quantiles, levels, level) for level in self._levels)
        return low, high, np.maximum(high - low, self._least[series])

    def _own_rows(self) -> Any:
        tail = super()._own_rows()
        return tail if self._newest is None else self._newest

    def _ends(self, panel: pd.DataFrame | None, future: pd.DataFrame | None) -> tuple[Any, Ints]:
        ahead = getattr(self, "future", None)
        if (ahead is None or len(ahead) == 0) and (panel is not None or not self._sweeps):
            return super()._ends(panel, future)
        mine: Any = self._own_rows() if panel is None else self._prepared(panel)
        known = self._rows if panel is None else panel
        rows, origins = self.estimator_._ends(known, future)
        threshold = np.full((rows.layout.n_rows, mine.threshold.shape[1]), np.nan)
        threshold[origins] = mine.threshold[mine.layout.stops - 1]
        return ConformalRows(rows, threshold), origins

    def _check_follows(self, before: Layout, new: Layout, *, gaps: str) -> None:
        """Raise unless the rows of each series known go on where they ended."""
        place = places(before, new)
        known = np.flatnonzero(place >= 0)
        like = before.labels
        now = time_to_ints(new.time.astype(like.dtype))
        then = np.full(new.n_rows, np.iinfo(np.int64).min)  # the row before, where there is one
        then[1:] = now[:-1]
        then[new.starts] = np.iinfo(np.int64).min
        then[new.starts[known]] = before.when(before.stops[place[known]] - 1)
        follows = np.flatnonzero(then > np.iinfo(np.int64).min)
        now, then = now[follows], then[follows]

        def named(ints: Ints, at: int) -> Any:
            return time_from_ints(ints[[at]], like)[0]

        def series(at: int) -> Any:
            return None if new.ids is None else new.ids[new.codes()[follows[at]]]

        if (now <= then).any():
            at = int(np.argmax(now <= then))
            raise fail(
                "rows that are not new",
                expected=f"rows later than the newest one, {named(then, at)}",
                found=f"a row at {named(now, at)}",
                advice="Pass the new rows alone, each once.",
                series=series(at),
            )
        if gaps == "allow":
            return
        step = infer_time_step(before, learned=self._time_step)
        expected = step.after(then, 1, like=like, required=False)[:, 0]
        skipped = (then < expected) & (expected < now)
        if skipped.any():
            at = int(np.argmin(np.where(skipped, expected, np.iinfo(np.int64).max)))
            raise fail(
                "rows are missing",
                expected=f"a row at {named(expected, at)}, the next one after {named(then, at)}",
                found=f"one at {named(now, at)}",
                advice="Give all rows, with NaN where a value is missing; where there was none to "
                "come, as on a holiday, gaps='allow'.",
                series=series(at),
            )

    # -------------------------------------------------------------------------------- forecasts

    def _forecast(self, rows: ConformalRows, origins: Ints) -> tuple[Floats, Floats]:
        forecast, quantiles = self.estimator_._forecast(rows.rows, origins)
        series = self._series_of(rows.layout, origins)
        low, high, unit = self._bounds(forecast, quantiles, series=series)
        n, n_targets, horizon = forecast.shape
        reach = rows.threshold[origins].reshape(n, self._n_sides, n_targets, horizon)
        low, high = low - reach[:, 0] * unit, high + reach[:, -1] * unit
        # with scores of its own either side may draw back beyond the other
        middle, crossed = (low + high) / 2, low > high
        low, high = (np.where(crossed, middle, bound) for bound in (low, high))
        return forecast, np.stack([low, high], axis=-1)


def _between(quantiles: Floats, levels: tuple[float, ...], level: float) -> Floats:
    """A quantile (n, K, H) from those at some levels (n, K, H, J); the outermost beyond them."""
    level = min(max(level, levels[0]), levels[-1])
    j = min(int(np.searchsorted(levels, level)), len(levels) - 1)
    i = max(j - 1, 0)
    share = 1.0 if i == j else (level - levels[i]) / (levels[j] - levels[i])
    found: Floats = quantiles[..., i] + share * (quantiles[..., j] - quantiles[..., i])
    return found
