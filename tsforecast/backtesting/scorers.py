"""Any metric as a scorer of scikit-learn, for searches over panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline

from tsforecast._checks import bad_parameter, choice, fail, positive_int
from tsforecast.backtesting.rolling import (
    _agreed,
    _assemble,
    _forecasts,
    _Grid,
    _model_values,
    _Part,
    _rows_of,
    _scales,
    _Truth,
)
from tsforecast.data.panel import as_panel, time_from_ints
from tsforecast.data.scored import (
    Bools,
    gives_positions,
    scored_origins,
    short_origins_unsaid,
    within,
)
from tsforecast.data.splits import Split
from tsforecast.metrics import METRICS, evaluate

__all__ = ["PanelScorer", "known_scorers", "make_scorer"]

_SCALED = ("mase", "rmsse")


def make_scorer(
    metric: str,
    *,
    levels: Sequence[float] | None = None,
    min_history: int = 1,
    late: bool = False,
) -> PanelScorer:
    """Make a metric a scorer for scikit-learn: higher is better.

    Origins are those of the estimators' own `score`: of series seen in `fit` the rows from
    `cutoff_` on, of others all rows, each with all `horizon` rows after it.

    Parameters
    ----------
    metric : str
        One of those of `tsforecast.metrics.evaluate`. Losses are negated; coverage is the
        distance from its nominal level, negated. With several targets, the mean over them.
    levels : sequence of float, optional
        Quantile levels to score; default those that the model gives. Fix them where candidates
        have different ones.
    min_history : int
        Rows that an origin of a series not seen in `fit` must have up to itself: the largest
        lookback of all candidates, to judge them by what they forecast rather than by how early.
    late : bool
        Count also the series not seen in `fit` from `cutoff_` on, as for ``SeriesSplit(time=...)``.

    Returns
    -------
    callable
        ``scorer(estimator, panel, y=None) -> float``, for ``scoring=`` of a search, alone or in a
        dict of several. The estimator has `predict` (or `forecast_origins`), `target`, `horizon`
        and `cutoff_`; or it is a pipeline or a search that ends in one, which is judged in the
        unit of the panel that reaches it.

    Raises
    ------
    ValueError
        If a parameter cannot be used.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.model_selection import cross_val_score
    >>> from tsforecast.data.splits import RollingOrigin
    >>> from tsforecast.estimators.baselines import Naive
    >>> panel = pd.DataFrame({"x": [1.0, 2, 4, 7, 11, 16, 22]})
    >>> cross_val_score(Naive(), panel, cv=RollingOrigin(3), scoring=make_scorer("mae")).tolist()
    [-4.0, -5.0, -6.0]
    """
    choice("metric", metric, METRICS)
    positive_int("min_history", min_history)
    return PanelScorer(metric, None if levels is None else tuple(levels), min_history, late)


@dataclass(frozen=True)
class PanelScorer:
    """A metric as a scorer; see `make_scorer`."""

    metric: str
    levels: tuple[float, ...] | None = None
    min_history: int = 1
    late: bool = False

    def __call__(self, estimator: Any, panel: pd.DataFrame, y: None = None) -> float:
        """Score a fitted estimator on the rows up to the end of a test part.

        Raises
        ------
        DataError
            If no origin counts, or the metric is not known there; the message says why.
        """
        with short_origins_unsaid():
            frame, scales = self._judged(*_forecaster(estimator, panel))
        table = evaluate(
            frame,
            self.metric,
            scales=scales if self.metric in _SCALED else None,
            levels=self.levels,
        )
        values = table[self.metric].to_numpy()
        if not np.isfinite(values).all():
            raise self._unknown(frame, scales)
        if self.metric == "coverage":
            values = np.abs(values - table.attrs["interval"])
        return -float(values.mean())

    def _judged(self, estimator: Any, panel: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Forecasts from the origins that count beside what happened, and scales for them."""
        if gives_positions(estimator):
            raise bad_parameter(
                "estimator",
                expected="a forecaster",
                found=estimator,
                advice="Positions are scored by what they earn: leave out `scoring`, or use "
                "backtest_strategy.",
            )
        horizon, targets = _agreed({"model": estimator}, panel)
        cutoff = getattr(estimator, "cutoff_", None)
        if cutoff is None:
            raise bad_parameter(
                "estimator",
                expected="a fitted one that tells its last training time as `cutoff_`",
                found=estimator,
            )
        truth = _Truth.of(panel, targets)
        layout = truth.layout
        tell = getattr(estimator, "_seen_in_fit", None)
        seen: Bools = np.ones(layout.n_series, dtype=bool) if tell is None else tell(layout)
        origins = scored_origins(
            layout,
            np.isfinite(truth.actual).T,
            seen,
            cutoff,
            horizon=horizon,
            min_history=self.min_history,
            late=self.late,
        )
        chosen = np.zeros(layout.n_rows, dtype=bool)
        chosen[origins] = True
        series = layout.codes()
        frames, scales = [], []
        for among in (seen, ~seen):  # apart, as the others have many more cutoffs
            among = np.asarray(among) & (
                np.bincount(series[origins], minlength=layout.n_series) > 0
            )
            if among.any():
                part = _part(
                    estimator,
                    _rows_of(panel, among[series]),
                    targets,
                    horizon,
                    chosen[among[series]],
                )
                frames.append(_assemble([part], ["model"], part.truth, fitted=False))
                stamps = part.truth.layout.time
                split = Split(stamps.min(), cutoff, part.grid.cutoffs)
                scales.append(_scales(part.truth, [split], [part.grid]))
        return pd.concat(frames, ignore_index=True), pd.concat(scales, ignore_index=True)

    def _unknown(self, frame: pd.DataFrame, scales: pd.DataFrame) -> ValueError:
        lacking = int(frame["forecast"].isna().sum())
        what = f"{lacking} of {len(frame)} rows without a forecast"
        if not lacking and self.metric in _SCALED:
            what = f"no scale: the target does not move in {len(scales)} rows of training"
        elif not lacking:
            what = {
                "qlike": "variances that are not positive",
                "wql": "a target that is zero throughout",
            }.get(self.metric, "no central interval, or quantiles that are missing")
        return fail(
            f"{self.metric} is not known",
            expected="a number",
            found=what,
            advice="Choose another metric, or make candidates forecast at all origins "
            "(min_history=).",
        )


def known_scorers(scoring: Any, estimator: Any) -> list[PanelScorer | None]:
    """Those scorers of which it is known what they score, before any of them is called.

    Parameters
    ----------
    scoring : object
        What scikit-learn takes: a scorer or its name, several, or None.
    estimator : estimator
        What is scored: a forecaster, a pipeline or a search.

    Returns
    -------
    list of (PanelScorer or None)
        None is the forecaster's own `score`. A function of the user is left out.

    Raises
    ------
    ValueError
        If one is of scikit-learn: these compare row by row, and would give NaN.
    """
    several = list(scoring.values()) if isinstance(scoring, Mapping) else scoring
    found: list[PanelScorer | None] = []
    for each in several if isinstance(several, list | tuple | set) else [several]:
        if isinstance(each, str | type(get_scorer("r2"))):
            raise bad_parameter(
                "scoring",
                expected="a scorer of forecasts, not one of scikit-learn, which compares rows",
                found=each,
                advice="Use tsf.make_scorer('mae'), or a function scorer(estimator, panel).",
            )
        if isinstance(each, PanelScorer):
            found.append(each)
        elif each is None or type(each).__module__.startswith("sklearn."):  # calls `score`
            inner = next((one for one in within(estimator) if getattr(one, "scoring", None)), None)
            found += [None] if inner is None else known_scorers(inner.scoring, inner.estimator)
    return found


def _forecaster(estimator: Any, panel: Any) -> tuple[Any, pd.DataFrame]:
    """What forecasts within a pipeline or a search, and the panel as it comes there."""
    while True:
        estimator = getattr(estimator, "best_estimator_", estimator)
        if not isinstance(estimator, Pipeline):
            return estimator, as_panel(panel)
        if len(estimator.steps) > 1:
            panel = estimator[:-1].transform(panel)
        estimator = estimator[-1]


def _part(
    estimator: Any, panel: pd.DataFrame, targets: tuple[Any, ...], horizon: int, chosen: Any
) -> _Part:
    """Forecasts from the chosen rows (N,) of a panel."""
    truth = _Truth.of(panel, targets)
    layout = truth.layout
    stamps = np.unique(layout.when()[chosen])
    cutoffs = time_from_ints(stamps, layout.labels)
    grid = _Grid.of(layout, cutoffs, horizon)
    values = _model_values(
        "model",
        *_forecasts(estimator, _rows_of(panel, grid.needed(layout)), cutoffs, horizon),
        truth,
        grid,
    )
    # of a cutoff at which a series has no row of its own, the origin is an older one
    own = chosen[grid.origins] & (layout.when(grid.origins) == stamps[grid.marks])
    grid = replace(grid, kept=np.repeat(own[:, None], horizon, axis=1))
    return _Part("model", truth, grid, values, None)
