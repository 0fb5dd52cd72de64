"""The run of a backtest: fit on the past, forecast at many cutoffs, set it beside what happened.

All models of a backtest have the same rows: one for every series, cutoff and step at which the
panel has a row.  Where a model gives no forecast its row holds NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from tsforecast._checks import bad_parameter, callers_level, fail, first, positive_int
from tsforecast._progress import progress_bar
from tsforecast.backtesting.skill import Loss, skill
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    forward_fill,
    layout_of,
    previous_rows,
    time_to_ints,
)
from tsforecast.data.splits import RollingOrigin, Split
from tsforecast.metrics import evaluate, quantile_column, quantile_levels

__all__ = ["Backtest", "backtest"]

NAIVE = "naive"
_MIN_ERRORS = 100  # for quantiles of a series of its own
_VERBS = ("fit", "predict", "target", "horizon")
_KEYS = ["model", "series", "time", "cutoff", "step", "target", "forecast"]


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts at many cutoffs beside what happened.

    Attributes
    ----------
    frame : DataFrame
        Flat, sorted by model, series, cutoff and step; columns ``model, series, time, cutoff,
        step, target, forecast, q..., actual``. The quantile columns of a model that gives none,
        and the `actual` of a row without a value, are NaN. In a panel of one series without a
        name, ``series`` is 0.
    horizon : int
        Rows ahead.
    scales : DataFrame
        Columns ``series, cutoff, mae, mse``: mean absolute and mean squared error of the last
        known value, one row ahead, over the split's training rows. The same for all models.
    baselines : tuple of str
        Models that are baselines; ``"naive"`` is always one.
    """

    frame: pd.DataFrame
    horizon: int
    scales: pd.DataFrame
    baselines: tuple[str, ...]

    def metrics(
        self,
        by: str | Sequence[str] | None = None,
        *,
        metrics: Sequence[str] | None = None,
        levels: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """Score every model; see `tsforecast.metrics.evaluate`."""
        return evaluate(self.frame, by=by, scales=self.scales, metrics=metrics, levels=levels)

    def skill(self, *, loss: Loss = "auto", alpha: float = 0.05) -> pd.DataFrame:
        """Test every model against the baselines; see `tsforecast.backtesting.skill.skill`."""
        return skill(
            self.frame, horizon=self.horizon, baselines=self.baselines, loss=loss, alpha=alpha
        )

    def verdicts(self, *, loss: Loss = "auto", alpha: float = 0.05) -> list[str]:
        """Say in a sentence or two for each model whether it is better than the baselines."""
        return [str(verdict) for verdict in self.skill(loss=loss, alpha=alpha)["verdict"]]

    def plot(self, ax: Any = None) -> Any:
        """Draw forecasts and outcomes; see `tsforecast.insight.plots.plot_backtest`."""
        from tsforecast.insight.plots import plot_backtest

        return plot_backtest(self.frame, ax=ax)

    def __repr__(self) -> str:
        counts = self.frame[["series", "cutoff"]].nunique()
        return (
            f"Backtest(models={list(self.frame['model'].unique())}, horizon={self.horizon}, "
            f"series={counts['series']}, cutoffs={counts['cutoff']}, rows={len(self.frame)})"
        )


def backtest(
    models: Any,
    panel: pd.DataFrame,
    splitter: RollingOrigin | None = None,
    *,
    refit: bool | int = True,
    resume: Backtest | None = None,
    verbose: int = 0,
) -> Backtest:
    """Walk forward: fit on the past, forecast from each cutoff, and keep what happened.

    Parameters
    ----------
    models : estimator, or dict of str to estimator, or list of estimators
        With ``fit(panel)``, ``predict(panel)`` and the attributes `target` and `horizon`, on
        which all must agree. They are cloned. If one has ``forecast_origins(panel, cutoffs)``,
        that is called once per split in place of `predict` at every cutoff. One that is fitted
        already comes as ``sklearn.frozen.FrozenEstimator(model)``. Without a dict the names are
        those of the classes, and `Naive` is ``"naive"``.
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    splitter : RollingOrigin, optional
        Default: ``RollingOrigin()``.
    refit : bool or int
        True: fit at every split. False: once, at the first one. k: at every k-th.
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
        If the panel is too short for the splitter, or a model's forecast frame is malformed.

    Notes
    -----
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
    named = _named(models)
    horizon, target = _agreed(named, panel)
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
    truth = _Truth.of(panel, target)
    names = list(dict.fromkeys([*named, NAIVE]))
    is_baseline = [n for n in names if n == NAIVE or getattr(named[n], "is_baseline", False)]

    def result_of(finished: list[Split], parts: list[pd.DataFrame]) -> Backtest:
        return Backtest(
            _assemble(parts, names, truth.layout),
            horizon,
            _scales(truth, finished, horizon),
            tuple(is_baseline),
        )

    finished, parts = _kept(resume, splits, truth, names, horizon)
    fitted: dict[str, tuple[int, Any]] = {}
    doubts: dict[str, list[str]] = {name: [] for name in named}  # one per fit, "" where none
    try:
        total = (len(splits) - len(finished)) * len(named)
        with progress_bar(total=total, description="backtest", verbose=verbose) as bar:
            for number, split in enumerate(splits):
                if split in finished:
                    continue
                grid = _Grid.of(truth.layout, split.cutoffs, horizon)
                context = panel[grid.needed(truth.layout)]
                rows = []
                for name, model in named.items():
                    bar.set_postfix_str(f"{name}, split {number + 1} of {len(splits)}")
                    # a resumed run fits where an uninterrupted one would have
                    fit_at = number - number % every
                    if fitted.get(name, (-1, None))[0] != fit_at:
                        fitted[name] = fit_at, _fitted(model, panel, splits[fit_at], doubts[name])
                    frame, marks = _forecasts(fitted[name][1], context, split.cutoffs)
                    rows.append(_model_rows(name, frame, marks, truth, grid))
                    bar.update()
                if NAIVE not in named:
                    levels = {level for part in rows for level in quantile_levels(part.columns)}
                    rows.append(_naive_rows(truth, grid, split, sorted(levels)))
                parts += rows
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
            raise bad_parameter(
                "models",
                expected="an estimator instance with fit, predict, target and horizon",
                found=model,
                advice=f"It has no {first(absent)}." if absent else "Make an instance of it.",
            )


def _agreed(named: Mapping[str, Any], panel: pd.DataFrame) -> tuple[int, Any]:
    """Find the horizon and the target that all models have."""
    only = panel.columns[0] if panel.shape[1] == 1 else None
    found: dict[str, dict[str, Any]] = {"horizon": {}, "target": {}}
    for name, model in named.items():
        found["horizon"][name] = getattr(model, "horizon", None)
        target = getattr(model, "target", None)
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
    if target not in panel.columns:
        raise fail(
            "target is not a column",
            expected=f"a column {target!r}",
            found=f"columns {list(panel.columns)}",
            advice="Name one of them as the models' target.",
            column=target,
        )
    return positive_int("horizon", next(iter(found["horizon"].values()))), target


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
    """The target's N rows as flat arrays, and the last value known at each of them."""

    layout: Layout
    target: Any
    actual: Floats  # (N,)
    known: Floats  # (N,)
    known_at: Ints  # (N,), the row that `known` comes from

    @classmethod
    def of(cls, panel: pd.DataFrame, target: Any) -> _Truth:
        layout = layout_of(panel)
        actual = panel[target].to_numpy()
        return cls(layout, target, actual, *forward_fill(actual, layout))


@dataclass(frozen=True)
class _Grid:
    """The n origins of some cutoffs and the rows of the panel after them."""

    origins: Ints  # (n,), sorted by series and cutoff
    series: Ints  # (n,)
    marks: Ints  # (n,), positions among the cutoffs
    cutoffs: pd.Index
    rows: Ints  # (n, H)
    inside: Any  # (n, H), whether the series has that row

    @classmethod
    def of(cls, layout: Layout, cutoffs: pd.Index, horizon: int) -> _Grid:
        origins, when = layout.origins_at(cutoffs)
        series = np.searchsorted(layout.offsets, origins, side="right") - 1
        marks = np.searchsorted(time_to_ints(cutoffs), when)
        rows = origins[:, None] + np.arange(1, horizon + 1)
        return cls(origins, series, marks, cutoffs, rows, rows < layout.stops[series][:, None])

    def needed(self, layout: Layout) -> Any:
        """Which rows are up to the last forecast row of their series, shape (N,)."""
        last = np.full(layout.n_series, -1)
        np.maximum.at(last, self.series, self.rows[:, -1])
        return np.arange(layout.n_rows) <= np.repeat(last, np.diff(layout.offsets))

    def frame(self, name: str, values: Mapping[str, Floats], truth: _Truth) -> pd.DataFrame:
        """Backtest rows of a model from its values, each of shape (n, H)."""
        at, k = np.nonzero(self.inside)
        rows = self.rows[at, k]
        layout = truth.layout
        ids = pd.Index([0]) if layout.ids is None else layout.ids
        columns = {
            "series": ids.take(self.series[at]),
            "time": layout.time.take(rows),
            "cutoff": self.cutoffs.take(self.marks[at]),
            "step": k + 1,
            **{column: table[at, k] for column, table in values.items()},
            "actual": truth.actual[rows],
        }
        frame = pd.DataFrame(columns, index=pd.RangeIndex(len(at)))
        frame.insert(0, "model", name)
        frame.insert(5, "target", str(truth.target))
        return frame


def _naive_rows(truth: _Truth, grid: _Grid, split: Split, levels: list[float]) -> pd.DataFrame:
    """Last known value, and at the models' levels the quantiles of its training errors."""
    last = np.broadcast_to(truth.known[grid.origins][:, None], grid.rows.shape)
    values = {"forecast": last}
    if levels:
        spread = _training_quantiles(truth, split, grid.rows.shape[1], levels)  # (S, H, J)
        for j, level in enumerate(levels):
            values[quantile_column(level)] = last + spread[grid.series, :, j]
    return grid.frame(NAIVE, values, truth)


def _training_quantiles(truth: _Truth, split: Split, horizon: int, levels: list[float]) -> Floats:
    """Quantiles of the last value's errors over the split's training rows, (S, H, J).

    A series with fewer than 100 errors gets those of all series.
    """
    layout = truth.layout
    codes, time = layout.codes(), cast(Any, layout.time)
    trained = (time >= split.fit_from) & (time <= split.fit_until)
    result = np.full((layout.n_series, horizon, len(levels)), np.nan)
    for step in range(1, min(horizon, layout.n_rows - 1) + 1):
        inside = (codes[step:] == codes[:-step]) & trained[step:] & trained[:-step]
        errors = (truth.actual[step:] - truth.known[:-step])[inside]
        known = np.isfinite(errors)
        errors, series = errors[known], codes[:-step][inside][known]
        if len(errors) == 0:
            continue
        result[:, step - 1] = np.quantile(errors, levels)
        many = np.bincount(series, minlength=layout.n_series) >= _MIN_ERRORS
        if many.any():
            kept = many[series]
            own = pd.Series(errors[kept]).groupby(series[kept]).quantile(np.array(levels))
            result[many, step - 1] = own.to_numpy().reshape(-1, len(levels))
    return result


def _fitted(model: Any, panel: pd.DataFrame, split: Split, doubts: list[str]) -> Any:
    """Fit on the split; what it warns of its convergence is added to `doubts`."""
    if isinstance(model, FrozenEstimator):
        return model
    time: Any = layout_of(panel).time
    with warnings.catch_warnings(record=True) as caught:
        fitted = clone(model).fit(panel[(time >= split.fit_from) & (time <= split.fit_until)])
    about = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    doubts.append(about[0] if about else "")
    for other in caught:
        if not issubclass(other.category, ConvergenceWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return fitted


def _forecasts(model: Any, panel: pd.DataFrame, cutoffs: pd.Index) -> tuple[pd.DataFrame, Ints]:
    """Forecasts from all cutoffs, and the position of each row's cutoff among them."""
    if hasattr(model, "forecast_origins"):
        frame = model.forecast_origins(panel, cutoffs)
        return frame, cutoffs.get_indexer(pd.Index(frame["cutoff"]))
    time: Any = layout_of(panel).time
    frames = [model.predict(panel[time <= cutoff]) for cutoff in cutoffs]
    return pd.concat(frames), np.repeat(np.arange(len(frames)), [len(f) for f in frames])


def _model_rows(
    name: str, frame: pd.DataFrame, marks: Ints, truth: _Truth, grid: _Grid
) -> pd.DataFrame:
    """Lay a model's forecast frame on the grid."""
    n, horizon = grid.rows.shape
    absent = [column for column in ("step", "forecast") if column not in frame]
    if absent:
        raise _malformed(name, "columns step and forecast", f"no column {first(absent)}")
    ids = truth.layout.ids
    series = np.zeros(len(frame), dtype=np.int64)
    if ids is not None:
        if not isinstance(frame.index, pd.MultiIndex):
            raise _malformed(name, "an index (series, time)", f"index {list(frame.index.names)}")
        series = ids.get_indexer(frame.index.levels[0])[frame.index.codes[0]]
    step = frame["step"].to_numpy()
    place = np.full((truth.layout.n_series, len(grid.cutoffs)), -1)
    place[grid.series, grid.marks] = np.arange(n)
    origin = np.where((series >= 0) & (marks >= 0), place[series, marks], -1)
    wrong = (origin < 0) | (step < 1) | (step > horizon)
    if wrong.any():
        raise _malformed(
            name,
            f"series of the panel, cutoffs as asked and steps 1 to {horizon}",
            f"{int(wrong.sum())} rows of others, the first at step {step[wrong][0]} of "
            f"{frame.index[wrong][0]}",
        )
    at = origin * horizon + step.astype(np.int64) - 1
    taken = np.zeros(n * horizon, dtype=bool)
    taken[at] = True
    if repeated := len(at) - int(taken.sum()):
        raise _malformed(
            name, "one row per series, cutoff and step", f"{repeated} rows that repeat others"
        )
    columns = ["forecast", *map(quantile_column, quantile_levels(frame.columns))]
    values = {}
    for column in columns:
        table = np.full(n * horizon, np.nan)
        table[at] = frame[column].to_numpy()
        values[column] = table.reshape(n, horizon)
    return grid.frame(name, values, truth)


def _malformed(name: str, expected: str, found: str) -> ValueError:
    return fail(
        f"the forecast frame of model {name!r} is malformed",
        expected=expected,
        found=found,
        advice="See tsforecast.data.frames for the form of forecast frames.",
    )


def _assemble(parts: list[pd.DataFrame], names: list[str], layout: Layout) -> pd.DataFrame:
    levels = {level for part in parts for level in quantile_levels(part.columns)}
    columns = [*_KEYS, *map(quantile_column, sorted(levels)), "actual"]
    frame = pd.concat([part.reindex(columns=columns) for part in parts], ignore_index=True)
    order = np.lexsort(
        (
            frame["step"].to_numpy(),
            time_to_ints(pd.Index(frame["cutoff"])),
            pd.Index(layout.names()).get_indexer(pd.Index(frame["series"])),
            pd.Index(names).get_indexer(pd.Index(frame["model"])),
        )
    )
    return frame.take(order).reset_index(drop=True)


def _scales(truth: _Truth, splits: list[Split], horizon: int) -> pd.DataFrame:
    """Errors of the last known value one row ahead, over each split's training rows."""
    layout, codes = truth.layout, truth.layout.codes()
    time: Any = layout.time
    before = previous_rows(layout)
    change = truth.actual - truth.known[before]
    change[layout.starts] = np.nan
    ids = pd.Index(layout.names())
    frames = []
    for split in splits:
        used = (time[truth.known_at[before]] >= split.fit_from) & (time <= split.fit_until)
        used &= ~np.isnan(change)
        count, mae, mse = (
            np.bincount(codes[used], weights=weights, minlength=layout.n_series)
            for weights in (None, np.abs(change[used]), change[used] ** 2)
        )
        count = np.where(count > 0, count, np.nan)
        grid = _Grid.of(layout, split.cutoffs, horizon)
        some = grid.inside.any(axis=1)
        series = grid.series[some]
        frames.append(
            pd.DataFrame(
                {
                    "series": ids.take(series),
                    "cutoff": split.cutoffs.take(grid.marks[some]),
                    "mae": (mae / count)[series],
                    "mse": (mse / count)[series],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _kept(
    resume: Backtest | None,
    splits: list[Split],
    truth: _Truth,
    names: list[str],
    horizon: int,
) -> tuple[list[Split], list[pd.DataFrame]]:
    """Give the splits that are finished, and their rows; raise if they are of another run."""
    if resume is None:
        return [], []
    if not isinstance(resume, Backtest):
        raise bad_parameter(
            "resume", expected="a Backtest, the `result` of an interrupted run", found=resume
        )
    frame = resume.frame
    here = {"models": sorted(names), "horizon": horizon}
    there = {"models": sorted(frame["model"].unique()), "horizon": resume.horizon}
    if here != there:
        raise bad_parameter("resume", expected=f"a backtest of {here}", found=there)
    known = pd.Index(frame["cutoff"].unique())
    finished = [split for split in splits if split.cutoffs.isin(known).any()]
    same = ["series", "time", "cutoff", "step", "target", "actual"]
    fresh = [
        _naive_rows(truth, _Grid.of(truth.layout, split.cutoffs, horizon), split, [])
        for split in finished
    ]
    whole = bool(finished) and finished == splits[: len(finished)]
    whole = whole and all(
        _assemble(fresh, [NAIVE], truth.layout)[same].equals(
            frame.loc[frame["model"] == name, same].reset_index(drop=True)
        )
        for name in names
    )
    if not whole:
        raise bad_parameter(
            "resume",
            expected="the first splits of this splitter on this panel",
            found=f"cutoffs from {known.min()} to {known.max()}, with other rows",
            advice="Give the same panel and splitter, or start anew.",
        )
    return finished, [frame]
