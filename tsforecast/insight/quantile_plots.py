"""Pictures of whether quantiles and intervals hold what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from tsforecast._checks import fail, first, positive_int
from tsforecast.backtesting.skill import Floats, origin_overlap
from tsforecast.insight._drawing import (
    BAND,
    GREY,
    axes_of,
    backtest_rows,
    coordinates,
    legend,
    marked,
    model_styles,
    one_of,
    one_per_time,
    panels,
    percent_axis,
    rows_of_target,
    table_of,
    tidy,
    time_axis,
    told_apart,
)
from tsforecast.metrics import quantile_column, quantile_levels, scored_rows

__all__ = [
    "pit_values",
    "plot_calibration",
    "plot_coverage",
    "plot_pit",
    "quantile_calibration",
]

_TAIL = 0.025  # outside of the band on either side
_KEYS = ["model", "series", "time", "cutoff", "step", "target"]
_COLUMNS = 3  # panels beside each other


def quantile_calibration(
    frame: Any, *, step: int | None = None, target: str | None = None
) -> pd.DataFrame:
    """Compare what share of outcomes lies at or below each quantile with its level.

    Parameters
    ----------
    frame : Backtest or DataFrame
        A backtest whose models give quantiles, or its frame. In-sample rows are left out.
    step : int, optional
        One step of the horizon. Default: all together.
    target : str, optional
        Which of several targets.

    Returns
    -------
    DataFrame
        A row for each model and level; columns ``model, level, observed, low, high, n``. From
        ``low`` to ``high`` lie 95 % of the shares of quantiles that are right; ``n`` rows.

    Raises
    ------
    DataError
        If this is no backtest, or no outcome in it has a quantile.
    ValueError
        If there is no such step or target.

    Notes
    -----
    To read: above the level, the quantile is too high. Low quantiles too low and high ones too
    high are intervals that are too wide.

    The band is that of as many independent outcomes as there are cutoffs whose forecasts do not
    overlap: series of one cutoff count as one, for they move together. Where they do not, it is
    too wide. Of counts, which have ties, the share lies above the level even where all is right.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": 0, "time": range(1, 5), "cutoff": range(4), "step": 1,
    ...     "target": "y", "forecast": 0.0, "q0.1": -1.0, "q0.9": 1.0,
    ...     "actual": [-2.0, 0.0, 0.5, 0.9]})
    >>> quantile_calibration(frame)[["level", "observed", "n"]]
       level  observed  n
    0    0.1      0.25  4
    1    0.9      1.00  4
    """
    rows = _judged(frame, step, target)
    records = []
    for model, part in rows.groupby("model", sort=False, observed=True):
        levels = _given_levels(part)
        actual = part["actual"].to_numpy(dtype=float)
        for level in levels:
            quantile = part[quantile_column(level)].to_numpy(dtype=float)
            known = ~np.isnan(quantile)
            m = _independent(part[known])
            low, high = binom.ppf([_TAIL, 1 - _TAIL], m, level) / m
            observed = (actual <= quantile)[known].mean()
            records.append((model, level, observed, low, high, int(known.sum())))
    columns = ["model", "level", "observed", "low", "high", "n"]
    return pd.DataFrame(records, columns=columns)


def plot_calibration(table: pd.DataFrame, *, ax: Any = None) -> Any:
    """Draw `quantile_calibration`: observed shares against the levels of the quantiles.

    Parameters
    ----------
    table : DataFrame
        From `quantile_calibration`.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none of `quantile_calibration`.

    Notes
    -----
    Right quantiles lie on the diagonal, within the band. A line flatter than the diagonal in the
    middle is of intervals that are too narrow, a steeper one of intervals that are too wide.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 120, random_state=0)
    >>> result = tsf.backtest(tsf.Naive(target="close"), panel, tsf.RollingOrigin(60), refit=False)
    >>> axes = plot_calibration(quantile_calibration(result))
    >>> axes.get_ylabel()
    'outcomes at or below it'
    """
    needed = ["model", "level", "observed", "low", "high"]
    table = table_of(table, needed, "quantile_calibration(result)")
    axes = axes_of(ax, size=(6.2, 4.6))
    tidy(axes, grid="both")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    models = list(table["model"].unique())
    # the band that holds most: models have the same outcomes, unless one lacks some
    band = table.groupby("level")[["low", "high"]].agg({"low": "min", "high": "max"})
    axes.fill_between(band.index, band["low"], band["high"], label="95 % if right", **BAND)
    called = told_apart(models)
    for model, style in model_styles(models).items():
        part = table[table["model"] == model]
        line = marked(style, len(part))
        axes.plot(part["level"], part["observed"], label=called[model], linewidth=1.3, **line)
    for axis in (axes.xaxis, axes.yaxis):
        percent_axis(axis)
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.set_xlabel("level of the quantile")
    axes.set_ylabel("outcomes at or below it")
    legend(axes)
    return axes


def pit_values(frame: Any, *, step: int | None = None, target: str | None = None) -> pd.DataFrame:
    """Give the probability integral transform of every outcome: its level in its own forecast.

    Parameters
    ----------
    frame : Backtest or DataFrame
        A backtest whose models give quantiles, or its frame. In-sample rows are left out.
    step : int, optional
        One step of the horizon. Default: all together.
    target : str, optional
        Which of several targets.

    Returns
    -------
    DataFrame
        A row for each outcome and model that gives quantiles; columns ``model, series, time,
        cutoff, step, target``; ``pit_low, pit_high``, between which the level lies, and ``pit``,
        the middle. Between two quantiles it is interpolated, and the three are the same. Beyond
        the outermost quantile q0.9 it is known to be between 0.9 and 1; an outcome that equals
        several quantiles lies between their levels. ``attrs["levels"]`` are those of the frame.

    Raises
    ------
    DataError
        If this is no backtest, or no outcome in it has a quantile.
    ValueError
        If there is no such step or target.

    Notes
    -----
    Of right forecasts these are uniform between 0 and 1 (Dawid 1984). That they are is not
    enough: the same is true of forecasts that know nothing but the climate.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": 0, "time": [1, 2, 3], "cutoff": [0, 1, 2], "step": 1,
    ...     "target": "y", "forecast": 0.0, "q0.2": -1.0, "q0.8": 1.0,
    ...     "actual": [-2.0, 0.0, 0.5]})
    >>> pit_values(frame)[["pit_low", "pit", "pit_high"]]
       pit_low   pit  pit_high
    0     0.00  0.10      0.20
    1     0.50  0.50      0.50
    2     0.65  0.65      0.65
    """
    rows = _judged(frame, step, target)
    parts = []
    for _, part in rows.groupby("model", sort=False, observed=True):
        levels = _given_levels(part)
        quantiles = part[[quantile_column(level) for level in levels]].to_numpy(dtype=float)
        known = ~np.isnan(quantiles).any(axis=1)
        low, high = _levels_of(
            part["actual"].to_numpy(dtype=float)[known],
            np.sort(quantiles[known], axis=1),
            np.asarray(levels),
        )
        found = part.loc[known, _KEYS].assign(pit=(low + high) / 2, pit_low=low, pit_high=high)
        parts.append(found)
    result: pd.DataFrame = pd.concat(parts, ignore_index=True)
    result.attrs["levels"] = quantile_levels(rows.columns)
    return result


def _levels_of(actual: Floats, quantiles: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """Between which levels outcomes (n,) lie in their quantiles (n, L), which are sorted."""
    n, last = len(actual), len(levels) - 1
    below = (quantiles < actual[:, None]).sum(axis=1)  # the first level not below the outcome
    upto = (quantiles <= actual[:, None]).sum(axis=1)
    edges = np.concatenate([[0.0], levels, [1.0]])
    low, high = edges[below], edges[below + 1]
    rows = np.arange(n)
    before = quantiles[rows, np.clip(below - 1, 0, last)]
    after = quantiles[rows, np.clip(below, 0, last)]
    inner = (below > 0) & (below <= last) & np.isfinite(before) & np.isfinite(after)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(inner, (actual - before) / (after - before), 0.0)
    level = low + np.nan_to_num(share) * (high - low)
    low, high = np.where(inner, level, low), np.where(inner, level, high)
    equal = upto > below
    # a mass at the end of the range, such as the zeros of counts, has nothing beyond it
    mass = upto - below > 1
    first_equal = np.where(mass & (below == 0), 0.0, levels[np.clip(below, 0, last)])
    last_equal = np.where(mass & (upto > last), 1.0, levels[np.clip(upto - 1, 0, last)])
    return np.where(equal, first_equal, low), np.where(equal, last_equal, high)


def plot_pit(table: pd.DataFrame, *, bins: int | None = None, ax: Any = None) -> Any:
    """Draw histograms of `pit_values`, a panel for each model.

    Parameters
    ----------
    table : DataFrame
        From `pit_values`.
    bins : int, optional
        Bins of equal width. Default: the quantiles' own levels are the edges, so that nothing is
        interpolated.
    ax : Axes, array of Axes or Figure, optional
        As many Axes as there are models. Default: a new figure.

    Returns
    -------
    ndarray of Axes, shape (n_models,)

    Raises
    ------
    DataError
        If the table is none of `pit_values`.
    ValueError
        If `bins` or `ax` cannot be used.

    Notes
    -----
    Bars at 1 are right. A valley in the middle says that intervals are too narrow, a hill that they
    are too wide, a slope that forecasts are too low (rising) or too high. Bars of quantiles that
    are right end between the dashed lines 95 times of 100, each by itself; `quantile_calibration`
    says how that is counted.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 120, random_state=0)
    >>> result = tsf.backtest(tsf.Naive(target="close"), panel, tsf.RollingOrigin(60), refit=False)
    >>> (axes,) = plot_pit(pit_values(result))
    >>> len(axes.containers[0]), axes.get_xlabel()
    (10, 'level of the outcome')
    """
    table = table_of(table, [*_KEYS, "pit", "pit_low", "pit_high"], "pit_values(result)")
    edges = np.concatenate([[0.0], table.attrs.get("levels", np.arange(1, 10) / 10), [1.0]])
    if bins is not None:
        edges = np.linspace(0, 1, positive_int("bins", bins) + 1)
    models = list(table["model"].unique())
    n_columns = min(len(models), _COLUMNS) if not isinstance(ax, list | np.ndarray) else 1
    n_rows = -(-len(models) // n_columns)
    size = (1.2 + 2.8 * n_columns, 0.6 + 2.2 * n_rows) if len(models) > 1 else (6.0, 3.4)
    if ax is None or hasattr(ax, "subplots"):
        grid = panels(ax, n_rows, n_columns, size=size, share_x=True, share_y=True)
        for unused in grid.reshape(-1)[len(models) :]:
            unused.remove()
        drawn = grid.reshape(-1)[: len(models)]
    else:
        drawn = panels(ax, len(models))[:, 0]
    wide = np.diff(edges)
    called = told_apart(models)
    for number, (axes, (model, style)) in enumerate(zip(drawn, model_styles(models).items())):
        part = table[table["model"] == model]
        shares = _shares(part["pit_low"].to_numpy(), part["pit_high"].to_numpy(), edges)
        m = _independent(part)
        low, high = (binom.ppf(tail, m, wide) / m / wide for tail in (_TAIL, 1 - _TAIL))
        tidy(axes)
        axes.bar(
            edges[:-1],
            shares / wide,
            wide,
            align="edge",
            color=style["color"],
            alpha=0.75,
            edgecolor="white",
            linewidth=0.8,
        )
        for bound in (low, high):
            axes.stairs(bound, edges, baseline=None, color="0.1", linewidth=0.9, linestyle="--")
        axes.axhline(1.0, color="0.2", linewidth=0.9)
        if len(models) > 1:
            axes.set_title(called[model], fontsize="medium")
        percent_axis(axes.xaxis)
        axes.set_xlim(0, 1)
        if number >= len(models) - n_columns:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("level of the outcome")
        if number % n_columns == 0:
            axes.set_ylabel("density, 1 if right")
    return drawn


def _shares(low: Floats, high: Floats, edges: Floats) -> Floats:
    """Share of outcomes in each bin; one of which an interval is known lies evenly in it."""
    wide = high - low
    exact = wide == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        # (n, edges): how much of each outcome lies below each edge
        inside = np.clip((edges - low[:, None]) / wide[:, None], 0.0, 1.0)
    inside[exact] = edges > low[exact, None]
    inside[:, -1] = 1.0
    return np.diff(inside.mean(axis=0))


def plot_coverage(
    table: pd.DataFrame,
    *,
    step: int | None = None,
    target: str | None = None,
    series: Any = None,
    ax: Any = None,
) -> Any:
    """Draw `coverage_monitor`: coverage of intervals over time, and below it their width.

    Parameters
    ----------
    table : DataFrame
        From `coverage_monitor`.
    step : int, optional
        Which step of the horizon. Default: the first one, whose outcomes do not overlap, so that
        the band is right.
    target : str, optional
        Which of several targets.
    series : label, optional
        Which series, of a table ``by="series"``.
    ax : array of two Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    ndarray of Axes, shape (2,)
        Coverage, and width in the target's unit.

    Raises
    ------
    DataError
        If the table is none of `coverage_monitor`, or no window is full.
    ValueError
        If there is no such step, target or series.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 200, random_state=0)
    >>> result = tsf.backtest(tsf.Naive(target="close"), panel, tsf.RollingOrigin(100), refit=False)
    >>> above, below = plot_coverage(tsf.coverage_monitor(result.frame, window=50))
    >>> above.get_ylabel(), below.get_ylabel()
    ('coverage', 'mean width')
    """
    needed = ["model", "target", "step", "time", "coverage", "low", "high", "width"]
    table = table_of(table, needed, "coverage_monitor(result.frame)")
    rows = one_of(rows_of_target(table, target), "step", step, first_one=True)
    rows = one_of(rows, "series", series) if "series" in rows else rows
    rows = rows[rows["coverage"].notna()]
    if len(rows) == 0:
        raise fail(
            "no window is full",
            expected="as many times of outcomes as a window has",
            found=f"{table['time'].nunique():,} times",
            advice="Make the table with a smaller window=.",
        )
    drawn = panels(ax, 2, size=(8.0, 5.0), share_x=True, heights=[3.0, 2.0])[:, 0]
    above, below = drawn
    bands = rows.groupby("time")[["low", "high"]].agg({"low": "min", "high": "max"})
    for axes in drawn:
        tidy(axes)
    above.fill_between(
        coordinates(bands.index),
        bands["low"],
        bands["high"],
        label="95 % of windows\nif right",
        **BAND,
    )
    level = table.attrs.get("interval")
    if level is not None:
        above.axhline(level, color=GREY, linewidth=0.8)
    models = list(rows["model"].unique())
    called = told_apart(models)
    for model, style in model_styles(models).items():
        part = rows[rows["model"] == model]
        one_per_time("table", pd.Index(part["time"]))
        at = coordinates(pd.Index(part["time"]))
        line = marked(style, len(part), few=12)
        above.plot(at, part["coverage"], label=called[model], linewidth=1.3, **line)
        below.plot(at, part["width"], linewidth=1.3, **line)
    percent_axis(above.yaxis)
    above.set_ylabel("coverage")
    below.set_ylabel("mean width")
    below.set_ylim(bottom=0.0)
    time_axis(below, pd.Index(rows["time"]), name="time of the outcome")
    if above.get_shared_x_axes().joined(above, below):
        above.tick_params(labelbottom=False)
    else:
        time_axis(above, pd.Index(rows["time"]))
    legend(above)
    return drawn


def _judged(frame: Any, step: int | None, target: str | None) -> pd.DataFrame:
    """The rows with an outcome and a quantile, of a step and target."""
    rows = scored_rows(backtest_rows(frame, target))
    rows = rows if step is None else one_of(rows, "step", step)
    names = [quantile_column(level) for level in quantile_levels(rows.columns)]
    some = rows[rows[names].notna().any(axis=1)] if names else rows.iloc[:0]
    if len(some) == 0:
        raise fail(
            "no outcome has a quantile",
            expected="rows with quantile columns, such as q0.1, and an actual value",
            found=f"{len(rows):,} rows with the columns {first(rows.columns, shown=12)}",
            advice="Backtest models that give quantiles; ConformalForecaster gives any its own.",
        )
    return some


def _given_levels(rows: pd.DataFrame) -> list[float]:
    """Levels that a model gives."""
    levels = quantile_levels(rows.columns)
    return [level for level in levels if rows[quantile_column(level)].notna().any()]


def _independent(rows: pd.DataFrame) -> int:
    """How many cutoffs there are whose forecasts do not overlap."""
    return max(1, rows["cutoff"].nunique() // origin_overlap(rows))
