"""What a score counts: its origins, and whether a split has any."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import (
    DataError,
    fail,
)
from tsforecast.data.panel import Floats, Ints, Layout, is_category

__all__ = [
    "check_split",
    "gives_positions",
    "horizons_of",
    "naive_errors",
    "scored_origins",
    "short_origins_unsaid",
    "splitter_name",
    "target_values",
    "within",
]

Bools = npt.NDArray[np.bool_]

_ADVICE = (
    "Use cv=RollingOrigin(...), which cuts all series at the same time, or cv=SeriesSplit(...), "
    "which holds out whole series."
)


def gives_positions(model: Any) -> bool:
    """Tell whether an estimator says what to hold, rather than what will be."""
    return getattr(model, "output", None) == "position"


def scored_origins(
    layout: Layout,
    known: Bools,
    seen: Bools,
    cutoff: Any,
    *,
    horizon: int,
    min_history: int = 1,
    late: bool = False,
) -> Ints:
    """Choose the origins that a score counts: the same for every candidate of a search.

    Parameters
    ----------
    layout : Layout
        Of the panel that is scored: all rows up to the end of the test part.
    known : ndarray of bool, shape (N, K)
        Whether each target is known at the row; rows without any are no origins.
    seen : ndarray of bool, shape (S,)
        Whether `fit` has seen the series.
    cutoff : time stamp
        Last time that `fit` has seen. Series seen count from here on.
    horizon : int
        Rows that an origin must have after it.
    min_history : int
        Rows that an origin of an unseen series must have up to itself.
    late : bool
        Whether unseen series count from `cutoff` on too, rather than from their first rows.

    Returns
    -------
    ndarray of int64, shape (n,)
        Rows, in order.

    Raises
    ------
    DataError
        If there is none, or a target is known at no row within the horizon of any.
    """
    counts = np.diff(layout.offsets)
    row = np.arange(layout.n_rows)
    after = layout.per_row(np.asarray(layout.labels >= cutoff))
    age = row - np.repeat(layout.starts, counts) + 1
    anew = (age >= min_history) & (after | (not late))
    counted = np.where(np.repeat(seen, counts), after, anew)
    whole = row + horizon < np.repeat(layout.stops, counts)
    origins = np.flatnonzero(counted & known.any(axis=1) & whole)
    so_far = np.cumsum(known, axis=0)
    judged: Any = (so_far[origins + horizon] > so_far[origins]).any(axis=0)  # (K,)
    if not judged.all():
        found = (
            f"none in {int(seen.sum())} series that were fitted on, nor such an origin in "
            f"{int((~seen).sum())} others"
        )
        advice = (
            "Pass the rows up to the end of the test part, training rows included. A block of "
            "RollingOrigin, origins_per_split * step, is as long as the horizon at least."
        )
        if (counted & whole).any():
            what = "nothing known behind them" if len(origins) else "no known target"
            found = f"{int((counted & whole).sum())} such rows, with {what}"
            advice = "Choose test parts in which the target is known."
        if len(judged) > 1:
            found += f", for {int((~judged).sum())} of {len(judged)} targets"
        raise fail(
            "nothing to score",
            expected=f"rows at or after {cutoff}, or of series that were not fitted on"
            f"{_of_others(min_history, late)}, with {horizon} rows behind them and known targets",
            found=found,
            advice=advice,
        )
    return origins


def _of_others(min_history: int, late: bool) -> str:
    """Tell which rows of series that were not fitted on count."""
    old = [f"row {min_history} or later (min_history)"] if min_history > 1 else []
    words = old + (["those times alone (late=True)"] if late else [])
    return f" ({' and '.join(words)})" if words else ""


def naive_errors(values: Floats, origins: Ints, horizon: int, *, column: Hashable) -> Floats:
    """Absolute errors of the last value as a forecast: what a `score` is relative to.

    Parameters
    ----------
    values : ndarray of float, shape (N,)
        A target.
    origins : ndarray of int64, shape (n,)
        Rows, each with `horizon` rows of its series behind it.
    horizon : int
        Rows ahead.
    column : column name
        The target's, for the message.

    Returns
    -------
    ndarray of float, shape (n, horizon)
        NaN where one of the two values is unknown.

    Raises
    ------
    DataError
        If all of them are zero, or unknown.
    """
    ahead = origins[:, None] + np.arange(1, horizon + 1)
    errors: Floats = np.abs(values[ahead] - values[origins, None])
    if not (errors > 0).any():
        raise fail(
            "nothing to score",
            expected="a target that moves in the test part",
            found="a constant: the naive forecast is exact",
            advice="Leave such series out, take longer test parts, or score by make_scorer('mae').",
            column=column,
        )
    return errors


def target_values(panel: pd.DataFrame, estimator: Any) -> dict[Hashable, Floats] | None:
    """Values of a forecaster's targets, (N,) each; None where the panel does not show them.

    What other steps of a pipeline make of a panel is not known before they are fitted.
    """
    *around, forecaster = within(estimator)
    if any(len(getattr(one, "steps", ())) > 1 for one in around):
        return None
    target = getattr(forecaster, "target", None)
    if target is None and len(panel.columns) == 1:
        target = panel.columns[0]
    names = list(target) if isinstance(target, list | tuple) else [target]
    shown = all(name in panel.columns and not is_category(panel[name]) for name in names)
    return {name: panel[name].to_numpy(dtype=np.float64) for name in names} if shown else None


def check_split(
    layout: Layout,
    train: Ints,
    test: Ints,
    *,
    targets: Mapping[Hashable, Floats] | None,
    horizon: int,
    scorers: Sequence[Any],
    place: str,
) -> None:
    """Raise unless a forecaster that was fitted on one side can be scored on the other.

    Rows are in order, and of a series with rows on both sides, the test rows hold all training
    rows, as the context of what is forecast.  Then there must be something to score, which is what
    `scored_origins` says.

    Parameters
    ----------
    layout : Layout
        Of all rows.
    train, test : ndarray of int64
        Numbers of the rows.
    targets : dict of column name to ndarray of float, shape (N,), or None
        Values of the targets; None where they are not known yet: every row may be scored.
    horizon : int
        Rows ahead.
    scorers : sequence of (object with `late` and `min_history`, or None)
        What is scored; None is the `score` of our estimators, relative to the naive forecast.
    place : str
        Which split of which splitter, for the message.

    Raises
    ------
    DataError
    """
    series = layout.codes()
    if not (_in_time(series, train) and _in_time(series, test)):
        raise fail(
            "a split gives rows in another order",
            expected="rows of each series in the order of time, each once",
            found=f"others ({place})",
            advice=f"{_ADVICE} A halving search draws rows at random unless another resource is "
            "named: resource='training__max_epochs', with max_resources=.",
        )
    trained: Any = np.zeros(layout.n_rows, dtype=bool)
    tested = trained.copy()
    trained[train] = tested[test] = True
    on_both: Any = np.zeros((2, layout.n_series), dtype=bool)
    on_both[0, series[trained]] = on_both[1, series[tested]] = True
    torn = trained & ~tested & on_both.all(axis=0)[series]
    if torn.any():
        raise _refused(layout, int(series[torn][0]), trained, tested, place)
    known = np.ones((layout.n_rows, 1), dtype=bool)
    if targets is not None:
        known = np.isfinite(np.stack(list(targets.values()), axis=1))
    cutoff = layout.time_at(train[np.argmax(layout.when(train))])
    part = _rows_alone(layout, np.flatnonzero(tested))
    try:
        for scorer in scorers:
            origins = scored_origins(
                part,
                known[tested],
                on_both[0, on_both[1]],
                cutoff,
                horizon=horizon,
                min_history=getattr(scorer, "min_history", 1),
                late=getattr(scorer, "late", False),
            )
            for name, values in (targets or {}).items() if scorer is None else ():
                naive_errors(values[tested], origins, horizon, column=name)
    except DataError as error:
        raise DataError(f"a split has {error} It is {place}.") from None


def _in_time(series: Ints, rows: Ints) -> bool:
    """Whether rows stand in the order of the panel within each series (N,), each once."""
    by_series = rows[np.argsort(series[rows], kind="stable")]
    return bool((np.diff(by_series) > 0).all())


def _rows_alone(layout: Layout, rows: Ints) -> Layout:
    """Layout of some rows, in order."""
    counts = np.bincount(layout.codes()[rows], minlength=layout.n_series)
    offsets = np.concatenate([[0], np.cumsum(counts[counts > 0])])
    ids = None if layout.ids is None else layout.ids[counts > 0]
    if layout.at is None:
        return Layout(ids, layout.labels.take(rows), offsets)
    return Layout(ids, layout.labels, offsets, layout.at[rows])


def _refused(layout: Layout, series: int, trained: Any, tested: Any, place: str) -> DataError:
    rows = slice(layout.offsets[series], layout.offsets[series + 1])
    lacking = int((trained & ~tested)[rows].sum())
    return fail(
        "a split tears a series apart",
        expected="test rows that hold the series' training rows, as the context of a forecast, "
        "and go on behind them; or rows of a series on one side alone",
        found=f"{int(trained[rows].sum())} training rows, of which {lacking} are not among its "
        f"{int(tested[rows].sum())} test rows ({place})",
        advice=_ADVICE,
        series=None if layout.ids is None else layout.ids[series],
    )


@contextmanager
def short_origins_unsaid() -> Iterator[None]:
    """Hold back the warning of forecasters that origins have a short history.

    A score counts them in every split and for every candidate, and they are the same each time.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"\d+ origins of \d+ series have (fewer than|no known value)"
        )
        yield


def within(estimator: Any) -> Iterator[Any]:
    """An estimator, the last step of a pipeline, the one inside a search, and so on.

    The last one is what forecasts.
    """
    while estimator is not None:
        yield estimator
        _, estimator = _inner(estimator)


def _inner(estimator: Any) -> tuple[str, Any]:
    """What is within an estimator, and the name by which parameters reach it; or None."""
    if hasattr(estimator, "horizon"):  # a forecaster, which may have a regressor as `estimator`
        return "", None
    steps = getattr(estimator, "steps", None)
    name, inner = steps[-1] if steps else ("estimator", getattr(estimator, "estimator", None))
    return name, None if isinstance(inner, str) else inner  # "passthrough"


def horizons_of(estimator: Any, grids: Sequence[Mapping[str, Any]] = ({},)) -> list[int]:
    """Rows that the candidates of a search look ahead.

    Parameters
    ----------
    estimator : estimator
        One with a `horizon`, a pipeline that ends in one, or a search over one, whose own
        candidates then count.  A horizon that is not told, or that `fit` will refuse, is 1.
    grids : sequence of dict
        Names of parameters, and what is tried: a sequence, a range or a distribution.

    Returns
    -------
    list of int
        The smallest and the largest are among them.
    """
    name, inner = _inner(estimator)
    if inner is None:
        own = [getattr(estimator, "horizon", 1)]
        return [rows for grid in grids for rows in _whole_numbers(grid.get("horizon", own))]
    searched = getattr(estimator, "param_grid", getattr(estimator, "param_distributions", {}))
    searched = searched if isinstance(searched, list | tuple) else [searched]
    start = f"{name}__"
    below = [{k.removeprefix(start): v for k, v in g.items() if k.startswith(start)} for g in grids]
    return horizons_of(inner, [{**outer, **own} for outer in below for own in searched])


def _whole_numbers(tried: Any) -> list[int]:
    """Whole numbers to try, or the smallest and the largest of a distribution; 1 if unknown."""
    if hasattr(tried, "low"):  # a distribution of Optuna
        tried = (tried.low, tried.high)
    elif hasattr(tried, "support"):  # one of scipy
        tried = tried.support()
    listed = getattr(tried, "choices", tried)
    listed = listed if isinstance(listed, Iterable) else ()
    return [int(v) for v in listed if isinstance(v, numbers.Integral)] or [1]


def splitter_name(cv: Any) -> str:
    """Name a splitter in a message."""
    text = repr(cv)
    plain = "\n" not in text and " at 0x" not in text and len(text) < 200
    return text if plain else type(cv).__name__
