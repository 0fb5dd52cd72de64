"""The run of a backtest: fit on the past, forecast at many cutoffs, set it beside what happened.

All models of a backtest have the same rows: one for every series, cutoff, target and step at which
the panel has a row.  Where a model gives no forecast its row holds NaN.

Letters of shapes: N rows of the panel, S series, n origins, K targets, H steps, J quantile levels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import has_fit_parameter

from tsforecast._checks import bad_parameter, callers_level, fail, first, positive_int
from tsforecast._html import html_form, html_table
from tsforecast._progress import progress_bar
from tsforecast.backtesting._settings import settings_of, splits_table
from tsforecast.backtesting.direction import Threshold, direction_table
from tsforecast.backtesting.forecast_tests import model_confidence_set
from tsforecast.backtesting.residuals import arch_lm, ljung_box, residuals
from tsforecast.backtesting.skill import By, Loss, loss_table, skill
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    forward_fill,
    layout_of,
    previous_rows,
    time_from_ints,
    time_to_ints,
)
from tsforecast.data.scored import gives_positions
from tsforecast.data.splits import RollingOrigin, Split
from tsforecast.metrics import evaluate, quantile_column, quantile_levels, sample_rows

__all__ = ["Backtest", "backtest"]

NAIVE = "naive"
_POSITION = "position"
_MIN_ERRORS = 100  # for quantiles of a series of its own
_MOST_ROWS = 500_000  # that are scored only to be shown
_VERBS = ("fit", "predict", "target", "horizon")
_KEYS = ["model", "series", "time", "cutoff", "step", "target", "forecast"]


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts at many cutoffs beside what happened.

    Attributes
    ----------
    frame : DataFrame
        Flat, sorted by model, series, cutoff, target (in the order given) and step; columns
        ``model, series, time, cutoff, step, target, forecast, q..., actual``. The quantile
        columns of a model that gives none, and the `actual` of a row without a value, are NaN. In
        a panel of one series without a name, ``series`` is 0.

        With ``fitted=True`` also ``fit_until``, the last training time of the fit that a row
        comes from, and ``in_sample``. The in-sample rows, sorted likewise, stand after all
        others; scores, tests and pictures leave them out unless asked by `in_sample=True`.
    horizon : int
        Rows ahead.
    scales : DataFrame
        Columns ``series, cutoff, target, mae, mse``: mean absolute and mean squared error of the
        last known value, one row ahead, over the split's training rows. The same for all models.
    baselines : tuple of str
        Models that are baselines; ``"naive"`` is always one.
    warm_start : bool
        Whether refits went on from the fits before.
    notes : tuple of str
        What is to be said beside any result: who is missing from the panel, from its
        ``attrs["survivorship"]``. `verdicts` end with them.
    splits : DataFrame, optional
        A row for each split: ``fit_from, fit_until`` (of the fit that it was forecast by),
        ``first_cutoff, last_cutoff, cutoffs``.
    settings : dict of str to str
        What the run was started with, in words: the models' parameters, the splitter, the size of
        the panel. It names no series.
    """

    frame: pd.DataFrame
    horizon: int
    scales: pd.DataFrame
    baselines: tuple[str, ...]
    warm_start: bool = False
    notes: tuple[str, ...] = ()
    splits: pd.DataFrame | None = field(default=None, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def metrics(
        self,
        by: str | Sequence[str] | None = None,
        *,
        metrics: Sequence[str] | None = None,
        levels: Sequence[float] | None = None,
        in_sample: bool = False,
    ) -> pd.DataFrame:
        """Score every model, or its in-sample rows alone; see `tsforecast.metrics.evaluate`.

        In-sample rows have no scales: ``mase`` and ``rmsse`` are NaN.
        """
        return evaluate(
            self.frame,
            metrics,
            by=by,
            scales=None if in_sample else self.scales,
            levels=levels,
            in_sample=in_sample,
        )

    def residuals(self, *, in_sample: bool = False) -> pd.DataFrame:
        """Give actual less forecast, row by row; see `tsforecast.backtesting.residuals`."""
        return residuals(self.frame, in_sample=in_sample)

    def ljung_box(self, lags: int = 10, step: int = 1) -> pd.DataFrame:
        """Test the residuals of a step for autocorrelation, series by series.

        See `tsforecast.backtesting.residuals.ljung_box`.
        """
        return ljung_box(self.frame, lags, step)

    def arch_lm(self, lags: int = 5, step: int = 1) -> pd.DataFrame:
        """Test the residuals of a step for clusters of volatility, series by series.

        See `tsforecast.backtesting.residuals.arch_lm`.
        """
        return arch_lm(self.frame, lags, step)

    def skill(
        self, *, loss: Loss = "auto", alpha: float = 0.05, by: By | None = None
    ) -> pd.DataFrame:
        """Test every model against the baselines; see `tsforecast.backtesting.skill.skill`."""
        return skill(
            self.frame, self.horizon, baselines=self.baselines, loss=loss, alpha=alpha, by=by
        )

    def confidence_set(
        self, *, loss: Loss = "auto", size: float = 0.1, random_state: int = 0
    ) -> pd.DataFrame:
        """Find the models among which the best is, the baselines included.

        See `tsforecast.backtesting.forecast_tests.model_confidence_set`.
        """
        losses = loss_table(self.frame, loss=loss)
        return model_confidence_set(losses, size=size, random_state=random_state)

    def direction(
        self, threshold: Threshold, *, step: int = 1, alpha: float = 0.05
    ) -> pd.DataFrame:
        """Test whether models know if the outcome will lie above a threshold.

        `threshold` is 0 for returns and ``"last"`` for levels such as prices; see
        `tsforecast.backtesting.direction.direction_table`.
        """
        return direction_table(
            self.frame, threshold, baselines=self.baselines, step=step, alpha=alpha
        )

    def verdicts(self, *, loss: Loss = "auto", alpha: float = 0.05) -> list[str]:
        """Say in a sentence or two for each model whether it is better than the baselines.

        The `notes` come last, if there are any.
        """
        found = [str(verdict) for verdict in self.skill(loss=loss, alpha=alpha)["verdict"]]
        if not found:
            found = [f"All models are baselines ({', '.join(self.baselines)}): none is judged."]
        return [*found, *self.notes]

    def plot(self, ax: Any = None, *, target: str | None = None) -> Any:
        """Draw who gained on whom; see `tsforecast.insight.plots.plot_backtest`."""
        from tsforecast.insight.plots import plot_backtest

        return plot_backtest(self.frame, target=target, ax=ax)

    def report(
        self, path: Any, *others: Any, title: str | None = None, names: bool | None = None
    ) -> Path:
        """Write all of it to one page of HTML; see `tsforecast.insight.report.report`."""
        from tsforecast.insight.report import report

        return report(path, self, *others, title=title, names=names)

    def _repr_html_(self) -> str:
        words, *notes = repr(self).splitlines()
        if len(self.frame) > _MOST_ROWS or not sample_rows(self.frame)["actual"].notna().any():
            return html_form(words, notes=notes)
        try:
            scores = self.metrics(by="target" if self.frame["target"].nunique() > 1 else None)
        except ValueError as error:  # of a result made by hand
            return html_form(words, notes=[f"Not scored: {error}", *notes])
        return html_form(words, html_table(scores), notes=notes)

    def __repr__(self) -> str:
        frame = sample_rows(self.frame)
        counts = frame[["series", "cutoff"]].nunique()
        within = len(self.frame) - len(frame)
        return (
            f"Backtest(models={list(frame['model'].unique())}, horizon={self.horizon}, "
            f"series={counts['series']}, cutoffs={counts['cutoff']}, rows={len(frame)}"
            f"{f', in_sample={within}' if 'in_sample' in frame else ''})"
            + "".join(f"\n{note}" for note in self.notes)
        )


def backtest(
    models: Any,
    panel: pd.DataFrame,
    splitter: RollingOrigin | None = None,
    *,
    refit: bool | int = True,
    warm_start: bool = False,
    fitted: bool = False,
    resume: Backtest | None = None,
    verbose: int = 0,
) -> Backtest:
    """Walk forward: fit on the past, forecast from each cutoff, and keep what happened.

    Parameters
    ----------
    models : estimator, or dict of str to estimator, or list of estimators
        With ``fit(panel)``, ``predict(panel)`` and the attributes `target` (a name, or a list of
        several) and `horizon`, on which all must agree. They are cloned. If one has
        ``forecast_origins(panel, cutoffs)``, that is called once per split in place of `predict`
        at every cutoff. One that only predicts and has an attribute `future` is called as
        ``predict(panel, future=...)`` with the next `horizon` rows of these columns, for the
        series that have them all. One that is fitted already comes as
        ``sklearn.frozen.FrozenEstimator(model)``. Without a dict the names are those of the
        classes, and `Naive` is ``"naive"``.
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    splitter : RollingOrigin, optional
        Default: ``RollingOrigin()``.
    refit : bool or int
        True: fit at every split. False: once, at the first one. k: at every k-th.
    warm_start : bool
        A refit of a model whose `fit` takes ``init_from`` goes on from the weights of the fit
        before (see `RecurrentForecaster.fit`), which has seen earlier rows alone; others are
        fitted anew. Validation wants rows that no fit before has seen: with
        ``Training(validation="time")`` at least `horizon` of them between two fits, with "series"
        series that begin there; ``validation=None`` needs none.
    fitted : bool
        Keep also the in-sample forecasts, once for each fit: those from every training row whose
        whole horizon is in the training rows, where the model gives one. They come from
        ``forecast_origins(training_rows, None)``; models without it, or that come fitted, are
        left out with a warning. They take memory: about as many rows as fits times training
        rows times horizon, for each model and target.
    resume : Backtest, optional
        The finished splits of an interrupted run with the same arguments; they are kept.
    verbose : int
        0: no progress bar.

    Returns
    -------
    Backtest
        Its models are those given and, unless a model of that name is given, ``"naive"``: the
        last value known at the cutoff, with the quantiles of its training errors where a model
        gives quantiles.

    Raises
    ------
    ValueError
        If a model lacks a method or attribute, they differ in target or horizon, a fitted one has
        seen rows after the first cutoff, or `resume` comes from another run.
    DataError
        If the panel is too short for the splitter or lacks a column that a model names, or a
        model's forecast frame is malformed.

    Notes
    -----
    Models whose attribute `output` is ``"position"`` say what to hold (see `PositionEstimator`).
    All must be of that kind; the frame's `target` is then ``"position"``, its `actual` is NaN, and
    there is no naive. Trade it with `backtest_strategy`.

    Step k of a cutoff is the k-th row after the series' newest row at or before it, whatever
    the time between them; steps past a series' end are left out. A model is given the rows up to
    `horizon` rows after a split's last cutoff, and in `predict` the rows up to the cutoff alone.

    The `ConvergenceWarning` of single fits are held back and counted in one for each model.

    An error or an interrupt leaves the finished splits in the exception's `result`.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.base import BaseEstimator
    >>> class Zero(BaseEstimator):
    ...     target, horizon = "x", 1
    ...     def fit(self, panel):
    ...         return self
    ...     def predict(self, panel):
    ...         end = panel.iloc[-1:]
    ...         return end.assign(target="x", cutoff=end.index, step=1, forecast=0.0)
    >>> result = backtest(Zero(), pd.DataFrame({"x": range(9)}), RollingOrigin(2))
    >>> result.frame[["model", "cutoff", "forecast", "actual"]]
       model  cutoff  forecast  actual
    0   Zero       6       0.0     7.0
    1   Zero       7       0.0     8.0
    2  naive       6       6.0     7.0
    3  naive       7       7.0     8.0
    """
    panel = as_panel(panel)
    notes = (str(panel.attrs["survivorship"]),) if panel.attrs.get("survivorship") else ()
    named = _named(models)
    horizon, targets = _agreed(named, panel)
    splitter = RollingOrigin() if splitter is None else splitter
    if not hasattr(splitter, "splits"):
        raise bad_parameter(
            "splitter",
            expected="a RollingOrigin",
            found=splitter,
            advice="E.g. RollingOrigin(5): it cuts all series at the same time.",
        )
    splits = splitter.splits(panel, horizon=horizon)
    every = len(splits) if refit is False else positive_int("refit", 1 if refit is True else refit)
    _refuse_hindsight(named, splits[0].cutoffs[0])
    positions = _give_positions(named)
    truth = _Truth.of(panel, targets, positions=positions)
    grids = [_Grid.of(truth.layout, split.cutoffs, horizon) for split in splits]
    names = list(named) if positions else list(dict.fromkeys([*named, NAIVE]))
    is_baseline = [n for n in names if n == NAIVE or getattr(named[n], "is_baseline", False)]
    with_values = _with_fitted_values(named) if fitted else []

    def result_of(finished: list[Split], parts: list[_Part]) -> Backtest:
        frames = [_assemble(parts, names, truth, fitted=fitted)] if parts else []
        if resume is not None:
            frames = [_joined([resume.frame, *frames], names, truth)]
        return Backtest(
            frames[0],
            horizon,
            _scales(truth, finished, grids),
            tuple(is_baseline),
            warm_start,
            notes,
            splits_table(finished, every),
            settings_of(named, panel, splitter, refit=refit, warm_start=warm_start, fitted=fitted),
        )

    finished = _kept(
        resume, splits, grids, truth, names, horizon, fitted=fitted, warm_start=warm_start
    )
    parts: list[_Part] = []
    fits: dict[str, tuple[int, Any]] = {}
    doubts: dict[str, list[str]] = {name: [] for name in named}  # one per fit, "" where none
    try:
        total = (len(splits) - len(finished)) * len(named)
        with progress_bar(total=total, description="backtest", verbose=verbose) as bar:
            for number, split in enumerate(splits):
                if split in finished:
                    continue
                grid = grids[number]
                context = _rows_of(panel, grid.needed(truth.layout))
                new: list[_Part] = []
                for name, model in named.items():
                    bar.set_postfix_str(f"{name}, split {number + 1} of {len(splits)}")
                    # a resumed run fits where an uninterrupted one would have
                    fit_at = number - number % every
                    at, before = fits.get(name, (-every, None))
                    warm = warm_start and has_fit_parameter(model, "init_from")
                    # warm, a resumed run goes through the fits before it again
                    begin = at + every if warm else max(fit_at, at + 1)
                    for at in range(begin, fit_at + 1, every):
                        start = {"init_from": before} if warm and before is not None else {}
                        before = _fitted(model, panel, splits[at], doubts[name], start)
                        fits[name] = at, before
                    values = _model_values(
                        name,
                        *_forecasts(fits[name][1], context, split.cutoffs, horizon),
                        truth,
                        grid,
                    )
                    frozen = isinstance(model, FrozenEstimator)
                    until = model.cutoff_ if frozen else splits[fit_at].fit_until
                    new.append(_Part(name, truth, grid, values, until))
                    bar.update()
                levels = None
                if NAIVE in names and NAIVE not in named:
                    levels = sorted({q for part in new for q in quantile_levels(part.values)})
                    values = _naive_values(truth, grid, split, levels)
                    new.append(_Part(NAIVE, truth, grid, values, split.fit_until))
                if fitted and number % every == 0:
                    explained = {name: fits[name][1] for name in with_values}
                    within = _rows_of(panel, _is_training(truth.layout, split))
                    within_truth = _Truth.of(within, targets, positions=positions)
                    new += _in_sample_parts(explained, within, within_truth, split, horizon, levels)
                parts += new
                finished = [*finished, split]
    except BaseException as error:
        if finished:
            error.result = result_of(finished, parts)  # type: ignore[attr-defined]
            error.add_note(
                f"{len(finished)} of {len(splits)} splits are finished and kept in `result` of "
                "this exception (in a notebook: sys.last_value.result). Go on with "
                "backtest(..., resume=result)."
            )
        raise
    n_judged = len(np.unique(grids[-1].series[grids[-1].kept.any(axis=1)]))
    if n_judged < truth.layout.n_series:
        warnings.warn(
            f"Only {n_judged} of {truth.layout.n_series} series have rows at the last cutoffs: "
            "the others end before them. Where time is counted from each series' own start, the "
            "longest ones alone are judged.",
            stacklevel=callers_level(),
        )
    for name, found in doubts.items():
        if some := [doubt for doubt in found if doubt]:
            warnings.warn(
                f"{name}: {len(some)} of {len(found)} fits warn of their convergence, the first: "
                f"{some[0]}",
                ConvergenceWarning,
                stacklevel=callers_level(),
            )
    return result_of(finished, parts)


def _named(models: Any) -> dict[str, Any]:
    if isinstance(models, Mapping):
        if not models or not all(isinstance(name, str) for name in models):
            raise bad_parameter("models", expected="names that are str", found=list(models))
        _require_verbs(models.values())
        return dict(models)
    listed = models if isinstance(models, list | tuple) else [models]
    _require_verbs(listed)
    names = [_default_name(model) for model in listed]
    if not names or len(set(names)) < len(names):
        raise bad_parameter(
            "models",
            expected="estimators of different classes, or a dict",
            found=names,
            advice="Name them: {'small': ..., 'large': ...}.",
        )
    return dict(zip(names, listed))


def _default_name(model: Any) -> str:
    name = type(model.estimator if isinstance(model, FrozenEstimator) else model).__name__
    return NAIVE if name == "Naive" else name


def _require_verbs(models: Iterable[Any]) -> None:
    for model in models:
        absent = [name for name in _VERBS if not hasattr(model, name)]
        if absent or isinstance(model, type):
            advice = f"It has no {first(absent)}." if absent else "Make an instance of it."
            if hasattr(model, "predict_risk"):
                advice += " Risks of events are judged by backtest_events."
            raise bad_parameter(
                "models",
                expected="an estimator instance with fit, predict, target and horizon",
                found=model,
                advice=advice,
            )


def _agreed(named: Mapping[str, Any], panel: pd.DataFrame) -> tuple[int, tuple[Any, ...]]:
    """Find the horizon and the targets that all models have."""
    only = panel.columns[0] if panel.shape[1] == 1 else None
    found: dict[str, dict[str, Any]] = {"horizon": {}, "target": {}}
    for name, model in named.items():
        found["horizon"][name] = getattr(model, "horizon", None)
        target = getattr(model, "target", None)
        several = list(target) if isinstance(target, list | tuple) else [target]
        # a list of one equals its name; lists are compared, and shown, as tuples
        target = tuple(several) if len(several) != 1 else several[0]
        found["target"][name] = only if target is None else target
    for what, values in found.items():
        if len(set(values.values())) > 1 or None in values.values():
            raise bad_parameter(
                "models",
                expected=f"one {what} for all",
                found=values,
                advice=f"Give every model the same `{what}`.",
            )
    target = next(iter(found["target"].values()))
    targets = target if isinstance(target, tuple) else (target,)
    if len({str(name) for name in targets}) < max(1, len(targets)):
        raise bad_parameter("models", expected="targets, each once", found=list(targets))
    _require_columns(panel, targets, "the models' target")
    for name in targets:
        if isinstance(panel[name].dtype, pd.CategoricalDtype):
            raise fail(
                "target is a category",
                expected="a column of numbers",
                found="the dtype category",
                advice="Categories may be used as static= or group= alone.",
                column=name,
            )
    for name, model in named.items():
        _require_columns(panel, _future_of(model), f"a `future` column of {name!r}")
    return positive_int("horizon", next(iter(found["horizon"].values()))), targets


def _future_of(model: Any) -> list[Any]:
    """Columns that the model knows ahead."""
    future = getattr(model, "future", None)
    if future is None:
        return []
    return list(future) if isinstance(future, list | tuple) else [future]


def _give_positions(named: Mapping[str, Any]) -> bool:
    """Whether the models say what to hold, rather than what will be."""
    positions = [name for name, model in named.items() if gives_positions(model)]
    if positions and len(positions) < len(named):
        raise bad_parameter(
            "models",
            expected="models that all forecast, or that all give positions",
            found=list(named),
            advice=f"{first(positions)}: positions, the others: forecasts. Run them apart.",
        )
    return bool(positions)


def _require_columns(panel: pd.DataFrame, names: Iterable[Any], what: str) -> None:
    for name in names:
        if name not in panel.columns:
            raise fail(
                f"{what} is not a column",
                expected=f"a column {name!r}",
                found=f"columns {list(panel.columns)}",
                advice=f"Name one of them as {what}.",
                column=name,
            )


def _with_fitted_values(named: Mapping[str, Any]) -> list[str]:
    """The models whose in-sample forecasts can be had; warns of the others."""
    lacking = [
        name
        for name, model in named.items()
        if isinstance(model, FrozenEstimator) or not hasattr(model, "forecast_origins")
    ]
    if lacking:
        warnings.warn(
            f"no in-sample forecasts of {first(lacking)}: expected a model that is fitted here and "
            "has `forecast_origins`. The others have theirs.",
            stacklevel=callers_level(),
        )
    return [name for name in named if name not in lacking]


def _refuse_hindsight(named: Mapping[str, Any], first_cutoff: Any) -> None:
    """Raise if a model that comes fitted has seen rows after the first cutoff."""
    for name, model in named.items():
        if not isinstance(model, FrozenEstimator):
            continue
        trained_until = getattr(model, "cutoff_", None)
        if trained_until is None:
            raise bad_parameter(
                "models",
                expected=f"the fitted model {name!r} to tell its last training time as `cutoff_`",
                found=None,
                advice="Pass it unfrozen, to be fitted here.",
            )
        if trained_until > first_cutoff:
            raise bad_parameter(
                "models",
                expected=f"the fitted model {name!r} trained on rows up to the first cutoff, "
                f"{first_cutoff}",
                found=f"training rows up to {trained_until}",
                advice="Pass it unfrozen, or choose later cutoffs.",
            )


@dataclass(frozen=True)
class _Truth:
    """The targets of a panel's rows as arrays, and the last values known at each row."""

    layout: Layout
    targets: tuple[str, ...]
    actual: Floats  # (K, N)
    known: Floats  # (K, N)
    known_at: Ints  # (K, N), the row that `known` comes from

    @classmethod
    def of(
        cls, panel: pd.DataFrame, targets: tuple[Any, ...], *, positions: bool = False
    ) -> _Truth:
        """Read the targets; of positions in them there is no truth."""
        layout = layout_of(panel)
        if positions:
            nothing = np.full((1, layout.n_rows), np.nan)
            return cls(layout, (_POSITION,), nothing, nothing, np.arange(layout.n_rows)[None])
        actual = np.stack([panel[target].to_numpy(dtype=np.float64) for target in targets])
        known, known_at = zip(*(forward_fill(values, layout) for values in actual))
        return cls(layout, tuple(map(str, targets)), actual, np.stack(known), np.stack(known_at))


@dataclass(frozen=True)
class _Grid:
    """Some n origins and the rows of the panel after them."""

    origins: Ints  # (n,), sorted by series and cutoff
    series: Ints  # (n,)
    marks: Ints  # (n,), positions among the cutoffs
    cutoffs: pd.Index
    rows: Ints  # (n, H)
    kept: Any  # (n, H), whether a forecast of that row is kept

    @classmethod
    def of(cls, layout: Layout, cutoffs: pd.Index, horizon: int) -> _Grid:
        """The origins of some cutoffs, and all rows that their series have after them."""
        origins, when = layout.origins_at(cutoffs)
        series = np.searchsorted(layout.offsets, origins, side="right") - 1
        marks = np.searchsorted(time_to_ints(cutoffs), when)
        rows = origins[:, None] + np.arange(1, horizon + 1)
        return cls(origins, series, marks, cutoffs, rows, rows < layout.stops[series][:, None])

    @classmethod
    def within(cls, layout: Layout, horizon: int) -> _Grid:
        """Every row as an origin; forecasts are kept where the whole horizon is in the panel."""
        stamps = layout.stamps()
        marks = np.searchsorted(stamps, layout.when())
        origins, series = np.arange(layout.n_rows), layout.codes()
        rows = origins[:, None] + np.arange(1, horizon + 1)
        whole = rows[:, -1:] < layout.stops[series][:, None]
        cutoffs = time_from_ints(stamps, layout.labels)
        return cls(origins, series, marks, cutoffs, rows, np.repeat(whole, horizon, axis=1))

    def needed(self, layout: Layout) -> Any:
        """Which rows are up to the last forecast row of their series, shape (N,)."""
        counts = np.diff(layout.offsets)
        ends = np.flatnonzero(np.diff(self.series, append=-1))  # the last origin of each series
        shown = np.zeros(layout.n_series, dtype=np.int64)
        last = self.rows[ends, -1] + 1 - layout.starts[self.series[ends]]
        shown[self.series[ends]] = np.minimum(last, counts[self.series[ends]])
        flags = np.tile([True, False], layout.n_series)
        return np.repeat(flags, np.stack([shown, counts - shown], axis=1).ravel())

    def find(self, series: Ints, marks: Ints) -> Ints:
        """Positions of some origins among the n, -1 where there is none."""
        width = len(self.cutoffs)
        keys, wanted = self.series * width + self.marks, series * width + marks
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((series >= 0) & (marks >= 0) & (keys[at] == wanted), at, -1)


@dataclass(frozen=True)
class _Part:
    """What a model said at the origins of a grid: columns of values, (n, K, H) each."""

    model: str
    truth: _Truth
    grid: _Grid
    values: dict[str, Floats]
    fit_until: Any
    in_sample: bool = False

    def kept(self) -> Any:
        """Which of them are rows of the backtest, (n, K, H); None if all."""
        kept = self.grid.kept[:, None, :]
        if self.in_sample:
            kept = kept & ~np.isnan(self.values["forecast"])
        elif kept.all():
            return None
        return np.broadcast_to(kept, self.values["forecast"].shape)


def _naive_values(
    truth: _Truth, grid: _Grid, split: Split, levels: list[float]
) -> dict[str, Floats]:
    """Last known value, and at the models' levels the quantiles of its training errors."""
    horizon = grid.rows.shape[1]
    last = truth.known[:, grid.origins].T[:, :, None]
    values = {"forecast": np.repeat(last, horizon, axis=2)}
    if levels:
        spread = np.stack(
            [
                _training_quantiles(truth.layout, actual, known, split, horizon, levels)
                for actual, known in zip(truth.actual, truth.known)
            ],
            axis=1,
        )  # (S, K, H, J)
        for j, level in enumerate(levels):
            values[quantile_column(level)] = last + spread[..., j][grid.series]
    return values


def _in_sample_parts(
    models: Mapping[str, Any],
    panel: pd.DataFrame,
    truth: _Truth,
    split: Split,
    horizon: int,
    naive_levels: list[float] | None,
) -> list[_Part]:
    """Forecasts of fitted models within the rows they were fitted on, and of the automatic naive.

    Without levels there is no automatic naive.
    """
    grid = _Grid.within(truth.layout, horizon)
    parts = []
    for name, model in models.items():
        frame = model.forecast_origins(panel, None)
        marks = grid.cutoffs.get_indexer(pd.Index(frame["cutoff"]))
        values = _model_values(name, frame, marks, truth, grid)
        parts.append(_Part(name, truth, grid, values, split.fit_until, in_sample=True))
    if naive_levels is not None:
        values = _naive_values(truth, grid, split, naive_levels)
        parts.append(_Part(NAIVE, truth, grid, values, split.fit_until, in_sample=True))
    return parts


def _training_quantiles(
    layout: Layout,
    actual: Floats,
    known: Floats,
    split: Split,
    horizon: int,
    levels: list[float],
) -> Floats:
    """Quantiles of the last value's errors over the split's training rows, (S, H, J).

    A series with fewer than 100 errors gets those of all series.
    """
    codes, trained = layout.codes(), _is_training(layout, split)
    result = np.full((layout.n_series, horizon, len(levels)), np.nan)
    for step in range(1, min(horizon, layout.n_rows - 1) + 1):
        inside = (codes[step:] == codes[:-step]) & trained[step:] & trained[:-step]
        errors = (actual[step:] - known[:-step])[inside]
        finite = np.isfinite(errors)
        errors, series = errors[finite], codes[:-step][inside][finite]
        if len(errors) == 0:
            continue
        result[:, step - 1] = np.quantile(errors, levels)
        counts = np.bincount(series, minlength=layout.n_series)
        many = counts >= _MIN_ERRORS
        if many.any():
            result[many, step - 1] = _quantiles_of_runs(errors[many[series]], counts[many], levels)
    return result


def _quantiles_of_runs(values: Floats, counts: Ints, levels: list[float]) -> Floats:
    """Quantiles of runs of so many values each, one run behind the other, (runs, J)."""
    place = np.multiply.outer(counts - 1, levels)
    below = np.floor(place).astype(np.int64)
    if (counts == counts[0]).all():
        needed = np.unique(np.minimum([below[0], below[0] + 1], counts[0] - 1))
        values = np.partition(values.reshape(len(counts), -1), needed, axis=1).ravel()
    else:
        values = values[np.lexsort((values, np.repeat(np.arange(len(counts)), counts)))]
    start = (np.cumsum(counts) - counts)[:, None]
    low = values[start + below]
    high = values[start + np.minimum(below + 1, counts[:, None] - 1)]
    result: Floats = low + (high - low) * (place - below)
    return result


def _is_training(layout: Layout, split: Split) -> Any:
    """Which rows may be fitted on, shape (N,)."""
    labels: Any = layout.labels
    flags = (labels >= split.fit_from) & (labels <= split.fit_until)
    return layout.per_row(np.asarray(flags))


def _rows_of(panel: pd.DataFrame, flags: Any) -> pd.DataFrame:
    return panel if flags.all() else panel[flags]


def _fitted(
    model: Any, panel: pd.DataFrame, split: Split, doubts: list[str], start: dict[str, Any]
) -> Any:
    """Fit on the split; what it warns of its convergence is added to `doubts`."""
    if isinstance(model, FrozenEstimator):
        return model
    with warnings.catch_warnings(record=True) as caught:
        fitted = clone(model).fit(panel[_is_training(layout_of(panel), split)], **start)
    about = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    doubts.append(about[0] if about else "")
    for other in caught:
        if not issubclass(other.category, ConvergenceWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return fitted


def _forecasts(
    model: Any, panel: pd.DataFrame, cutoffs: pd.Index, horizon: int
) -> tuple[pd.DataFrame, Ints | None]:
    """Forecasts from all cutoffs, and the position of each row's cutoff among them.

    Without positions, the frame's own column names the cutoffs.
    """
    if hasattr(model, "forecast_origins"):
        return model.forecast_origins(panel, cutoffs), None
    time: Any = layout_of(panel).time
    future = _future_of(model)
    frames = []
    for cutoff in cutoffs:
        if not future:
            frames.append(model.predict(panel[time <= cutoff]))
            continue
        known, ahead = _around(panel, cutoff, horizon)
        if len(known):
            frames.append(model.predict(known, future=ahead[future]))
        else:
            frames.append(known[[]].assign(target="", step=0, forecast=np.nan))
    return pd.concat(frames), np.repeat(np.arange(len(frames)), [len(f) for f in frames])


def _around(panel: pd.DataFrame, cutoff: Any, horizon: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows up to a cutoff and the next `horizon`, of the series that have all of these."""
    layout = layout_of(panel)
    origins, _ = layout.origins_at(cutoff)
    series = layout.codes()[origins]
    whole = origins + horizon < layout.stops[series]
    ahead = origins[whole, None] + np.arange(1, horizon + 1)
    has_all = np.isin(layout.codes(), series[whole])
    return panel[has_all & (cast(Any, layout.time) <= cutoff)], panel.iloc[ahead.ravel()]


def _model_values(
    name: str, frame: pd.DataFrame, marks: Ints | None, truth: _Truth, grid: _Grid
) -> dict[str, Floats]:
    """Lay a model's forecast frame on the grid, NaN where it says nothing."""
    n, horizon = grid.rows.shape
    n_targets = len(truth.targets)
    wanted = ["step", "forecast", *(["target"] if n_targets > 1 else [])]
    absent = [column for column in wanted if column not in frame]
    if absent:
        raise _malformed(name, f"columns {', '.join(wanted)}", f"no column {first(absent)}")
    columns = ["forecast", *map(quantile_column, quantile_levels(frame.columns))]
    if marks is None:
        if _is_laid_out(frame, truth, grid):
            shape = (n, n_targets, horizon)
            return {column: _floats(frame[column]).reshape(shape) for column in columns}
        marks = grid.cutoffs.get_indexer(pd.Index(frame["cutoff"]))
    ids = truth.layout.ids
    series = np.zeros(len(frame), dtype=np.int64)
    if ids is not None:
        if not isinstance(frame.index, pd.MultiIndex):
            raise _malformed(name, "an index (series, time)", f"index {list(frame.index.names)}")
        series = ids.get_indexer(frame.index.levels[0])[frame.index.codes[0]]
    target = np.zeros(len(frame), dtype=np.int64)
    if n_targets > 1:
        target = pd.Index(truth.targets).get_indexer(pd.Index(frame["target"]))
        if (target < 0).any():
            others = frame["target"].to_numpy()[target < 0]
            raise _malformed(
                name,
                f"the targets {first(truth.targets)}",
                f"{len(others)} rows of others, the first of {others[0]!r}",
            )
    step = frame["step"].to_numpy()
    origin = grid.find(series, marks)
    wrong = (origin < 0) | (step < 1) | (step > horizon)
    if wrong.any():
        raise _malformed(
            name,
            f"series of the panel, cutoffs as asked and steps 1 to {horizon}",
            f"{int(wrong.sum())} rows of others, the first at step {step[wrong][0]} of "
            f"{frame.index[wrong][0]}",
        )
    at = (origin * n_targets + target) * horizon + step.astype(np.int64) - 1
    taken = np.zeros(n * n_targets * horizon, dtype=bool)
    taken[at] = True
    if repeated := len(at) - int(taken.sum()):
        keys = "series, cutoff and step" if n_targets == 1 else "series, cutoff, target and step"
        raise _malformed(name, f"one row per {keys}", f"{repeated} rows that repeat others")
    values = {}
    for column in columns:
        table = np.full(len(taken), np.nan)
        table[at] = frame[column].to_numpy()
        values[column] = table.reshape(n, n_targets, horizon)
    return values


def _floats(column: pd.Series) -> Floats:
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _is_laid_out(frame: pd.DataFrame, truth: _Truth, grid: _Grid) -> bool:
    """Tell whether a forecast frame has the rows of the grid, all of them and in its order."""
    n, horizon = grid.rows.shape
    n_targets, ids = len(truth.targets), truth.layout.ids
    if n == 0 or len(frame) != n * n_targets * horizon:
        return False
    if frame["cutoff"].dtype != grid.cutoffs.dtype:
        return False
    if ids is not None:
        if not isinstance(frame.index, pd.MultiIndex):
            return False
        codes = frame.index.codes[0].reshape(n, -1)
        if (codes != codes[:, :1]).any() or (codes < 0).any():
            return False
        if (ids.get_indexer(frame.index.levels[0])[codes[:, 0]] != grid.series).any():
            return False
    if n_targets > 1:
        target = pd.Index(truth.targets).get_indexer(pd.Index(frame["target"]))
        if (target.reshape(n, n_targets, horizon) != np.arange(n_targets)[:, None]).any():
            return False
    cutoffs = time_to_ints(pd.Index(frame["cutoff"])).reshape(n, -1)
    if (cutoffs != time_to_ints(grid.cutoffs)[grid.marks][:, None]).any():
        return False
    step = frame["step"].to_numpy().reshape(-1, horizon)
    return not (step != np.arange(1, horizon + 1)).any()


def _malformed(name: str, expected: str, found: str) -> ValueError:
    return fail(
        f"the forecast frame of model {name!r} is malformed",
        expected=expected,
        found=found,
        advice="See tsforecast.data.frames for the form of forecast frames.",
    )


def _assemble(parts: list[_Part], names: list[str], truth: _Truth, *, fitted: bool) -> pd.DataFrame:
    """Rows of all parts in the order of a backtest's frame; the parts are used up.

    Every column is made once, from numbers: the frame is most of what a backtest holds in memory.
    """
    # stable: the splits of a model, and the fits of an in-sample row, stay in order
    parts = sorted(parts, key=lambda part: (part.in_sample, names.index(part.model)))
    levels = sorted({level for part in parts for level in quantile_levels(part.values)})
    kept = [part.kept() for part in parts]
    shapes = [part.values["forecast"].shape for part in parts]
    sizes = [
        int(np.prod(shape)) if mask is None else int(mask.sum())
        for mask, shape in zip(kept, shapes)
    ]

    def column(value: Callable[[int], Any]) -> Any:
        """Join what each part has, by its number, broadcast to (n, K, H), where it is kept."""
        joined = []
        for number, (mask, shape) in enumerate(zip(kept, shapes)):
            whole = np.broadcast_to(value(number), shape)
            joined.append(whole.ravel() if mask is None else whole[mask])
        return np.concatenate(joined)

    grids, truths = [part.grid for part in parts], [part.truth for part in parts]
    ids = pd.Index([0]) if truth.layout.ids is None else truth.layout.ids
    places = [
        np.arange(1) if each.layout.ids is None else ids.get_indexer(each.layout.ids)
        for each in truths
    ]
    cutoffs = grids[0].cutoffs.append([grid.cutoffs for grid in grids[1:]])
    begins = np.cumsum([0, *(len(grid.cutoffs) for grid in grids)])
    ahead = [np.minimum(grid.rows, t.layout.n_rows - 1) for grid, t in zip(grids, truths)]

    def series() -> Any:
        return column(lambda i: places[i][grids[i].series][:, None, None])

    def cutoff() -> Any:
        return column(lambda i: (begins[i] + grids[i].marks)[:, None, None])

    def step() -> Any:
        return column(lambda i: np.arange(1, shapes[i][-1] + 1))

    def target() -> Any:
        return column(lambda i: np.arange(len(truth.targets))[:, None])

    def stamp() -> Any:
        return time_to_ints(cutoffs)[cutoff()]

    order = _order(parts, sizes, (step, target, stamp, series))

    def sort(values: Any) -> Any:
        return values if order is None else values.take(order)

    def per_part(values: Sequence[Any]) -> Any:
        return sort(np.repeat(np.asarray(values), sizes))

    def said(name: str) -> Any:
        return sort(column(lambda i: parts[i].values.pop(name, np.nan)))

    columns = {
        "model": pd.Index(names).take(per_part([names.index(part.model) for part in parts])),
        "series": ids.take(sort(series())),
        "time": time_from_ints(
            sort(column(lambda i: truths[i].layout.when(ahead[i])[:, None])), truth.layout.labels
        ),
        "cutoff": cutoffs.take(sort(cutoff())),
        "step": sort(step()),
        "target": pd.Index(truth.targets).take(sort(target())),
        "forecast": said("forecast"),
        **{quantile_column(level): said(quantile_column(level)) for level in levels},
        "actual": sort(column(lambda i: np.moveaxis(truths[i].actual[:, ahead[i]], 0, 1))),
    }
    if fitted:
        untils = pd.Index([part.fit_until for part in parts])
        columns["fit_until"] = untils.take(per_part(range(len(parts))))
        columns["in_sample"] = per_part([part.in_sample for part in parts])
    return pd.DataFrame(columns, copy=False)


def _order(
    parts: list[_Part], sizes: list[int], keys: tuple[Callable[[], Any], ...]
) -> Ints | None:
    """Order of the rows of parts that are sorted themselves; None where it is theirs."""

    def run(each: tuple[_Part, int]) -> tuple[bool, str]:
        return each[0].in_sample, each[0].model

    groups = [list(group) for _, group in groupby(zip(parts, sizes), key=run)]
    if len(groups) == len(parts):
        return None
    # splits that follow each other in time need no more than the series together
    follow = all(
        one.grid.cutoffs[-1] < two.grid.cutoffs[0]
        for group in groups
        for (one, _), (two, _) in pairwise(group)
    )
    made = [key() for key in (keys[-1:] if follow else keys)]
    orders, stop = [], 0
    for group in groups:
        begin, stop = stop, stop + sum(size for _, size in group)
        orders.append(begin + np.lexsort([key[begin:stop] for key in made]))
    return np.concatenate(orders)


def _joined(frames: list[pd.DataFrame], names: list[str], truth: _Truth) -> pd.DataFrame:
    """Join backtest frames of other splits, sorted anew."""
    levels = {level for frame in frames for level in quantile_levels(frame.columns)}
    fitted = "in_sample" in frames[0]
    columns = [*_KEYS, *map(quantile_column, sorted(levels)), "actual"]
    columns += ["fit_until", "in_sample"] if fitted else []
    frame = pd.concat([each.reindex(columns=columns) for each in frames], ignore_index=True)
    order = np.lexsort(
        (
            frame["step"].to_numpy(),
            pd.Index(truth.targets).get_indexer(pd.Index(frame["target"])),
            time_to_ints(pd.Index(frame["cutoff"])),
            pd.Index(truth.layout.names()).get_indexer(pd.Index(frame["series"])),
            pd.Index(names).get_indexer(pd.Index(frame["model"])),
            frame["in_sample"].to_numpy() if fitted else np.zeros(len(frame)),
        )
    )  # stable: the fits of an in-sample row stay in order
    return frame.take(order).reset_index(drop=True)


def _scales(truth: _Truth, splits: list[Split], grids: list[_Grid]) -> pd.DataFrame:
    """Errors of the last known value one row ahead, over each split's training rows."""
    layout, codes = truth.layout, truth.layout.codes()
    labels: Any = layout.labels
    before = previous_rows(layout)
    change = truth.actual - truth.known[:, before]  # (K, N)
    change[:, layout.starts] = np.nan
    ids = pd.Index([0]) if layout.ids is None else layout.ids
    frames = []
    for split, grid in zip(splits, grids):
        some = grid.kept.any(axis=1)
        means = np.empty((layout.n_series, len(truth.targets), 2))
        late = layout.per_row(np.asarray(labels >= split.fit_from))
        early = layout.per_row(np.asarray(labels <= split.fit_until))
        for k, moves in enumerate(change):
            used = late[truth.known_at[k, before]] & early
            used &= ~np.isnan(moves)
            count, mae, mse = (
                np.bincount(codes[used], weights=weights, minlength=layout.n_series)
                for weights in (None, np.abs(moves[used]), moves[used] ** 2)
            )
            count = np.where(count > 0, count, np.nan)
            means[:, k] = np.stack([mae / count, mse / count], axis=1)
        series = np.repeat(grid.series[some], len(truth.targets))
        target = np.tile(np.arange(len(truth.targets)), int(some.sum()))
        frames.append(
            pd.DataFrame(
                {
                    "series": ids.take(series),
                    "cutoff": split.cutoffs.take(np.repeat(grid.marks[some], len(truth.targets))),
                    "target": pd.Index(truth.targets).take(target),
                    "mae": means[series, target, 0],
                    "mse": means[series, target, 1],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _kept(
    resume: Backtest | None,
    splits: list[Split],
    grids: list[_Grid],
    truth: _Truth,
    names: list[str],
    horizon: int,
    *,
    fitted: bool,
    warm_start: bool,
) -> list[Split]:
    """Give the splits that are finished; raise if they are of another run."""
    if resume is None:
        return []
    if not isinstance(resume, Backtest):
        raise bad_parameter(
            "resume", expected="a Backtest, the `result` of an interrupted run", found=resume
        )
    frame = sample_rows(resume.frame)
    here = {
        "models": sorted(names),
        "horizon": horizon,
        "fitted": fitted,
        "warm_start": warm_start,
    }
    there = {
        "models": sorted(frame["model"].unique()),
        "horizon": resume.horizon,
        "fitted": "in_sample" in frame,
        "warm_start": resume.warm_start,
    }
    if here != there:
        raise bad_parameter("resume", expected=f"a backtest of {here}", found=there)
    known = pd.Index(frame["cutoff"].unique())
    finished = [split for split in splits if split.cutoffs.isin(known).any()]
    same = ["series", "time", "cutoff", "step", "target", "actual"]
    whole = bool(finished) and finished == splits[: len(finished)]
    if whole:
        fresh = _assemble(
            [
                _Part(NAIVE, truth, grid, _naive_values(truth, grid, split, []), split.fit_until)
                for split, grid in zip(finished, grids)
            ],
            [NAIVE],
            truth,
            fitted=False,
        )[same]
        whole = all(
            fresh.equals(frame.loc[frame["model"] == name, same].reset_index(drop=True))
            for name in names
        )
    if not whole:
        raise bad_parameter(
            "resume",
            expected="the first splits of this splitter on this panel",
            found=f"cutoffs from {known.min()} to {known.max()}, with other rows",
            advice="Give the same panel and splitter, or start anew.",
        )
    return finished
