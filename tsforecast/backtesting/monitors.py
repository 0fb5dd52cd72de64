"""Whether intervals hold what they promise at all times: coverage and width in rolling windows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import binom

from tsforecast._checks import bad_parameter, choice, fail, positive_int
from tsforecast.metrics import quantile_column, quantile_levels, sample_rows, widest_interval

__all__ = ["coverage_monitor", "coverage_summary"]

_PARTS = ["model", "target", "step"]
_BAND = 0.95  # of the windows lie in it, if coverage is exact


def coverage_monitor(
    frame: pd.DataFrame,
    level: float | None = None,
    *,
    window: int = 250,
    by: Literal["all", "series"] = "all",
) -> pd.DataFrame:
    """Follow the share of outcomes inside of the intervals, and the width of these, over time.

    An outcome counts when it is known, h rows after the origin of step h: the windows are those
    that somebody has seen who watched the intervals live.

    Parameters
    ----------
    frame : DataFrame
        The flat backtest frame, out-of-sample rows with quantile columns.
    level : float, optional
        Of the interval, between the quantiles ``(1 - level) / 2`` and ``(1 + level) / 2``.
        Default: the widest one in the frame.
    window : int
        Times of outcomes in a window.
    by : {"all", "series"}
        All series together, or each by itself.

    Returns
    -------
    DataFrame
        One row for each model, target, step and time of an outcome (and series), in this order;
        columns ``model, target, step, time, coverage, low, high, width`` (with ``by="series"``
        also ``series``). Coverage and mean width, in the target's unit, are of the window that
        ends there, and NaN until it is full. From ``low`` to ``high`` lie 95 % of the windows of
        intervals with exact coverage whose outcomes are independent: see Notes.
        ``attrs["interval"]`` is the nominal level.

    Raises
    ------
    ValueError
        If the frame has no quantiles of the level, or a parameter cannot be used.
    DataError
        If no outcome has an interval.

    Notes
    -----
    An interval with an infinite bound counts, and makes the width of its windows infinite.

    The band is one for each window by itself; of several hundred, which overlap, some lie outside
    of it. It is too narrow where outcomes hang together: series of one market, and steps from 2
    on, whose horizons overlap. A model without these quantiles is left out.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 200, random_state=0)
    >>> models = {"walk": tsf.RandomWalk(target="close")}
    >>> result = tsf.backtest(models, panel, tsf.RollingOrigin(100), refit=False)
    >>> coverage_monitor(result.frame, window=50).tail(1)[["coverage", "low", "high"]]
         coverage   low  high
    199      0.98  0.68   0.9
    """
    positive_int("window", window, least=2)
    choice("by", by, ("all", "series"))
    level, inside = _inside(frame, level)
    keys = [*_PARTS, "series"] if by == "series" else _PARTS
    grouped = inside.groupby([*keys, "time"], sort=False, observed=True)
    at = grouped[["n", "inside", "width"]].sum().reset_index()
    order = {name: number for number, name in enumerate(inside["model"].unique())}
    at = at.sort_values(
        [*keys, "time"], key=lambda part: part.map(order) if part.name == "model" else part
    ).reset_index(drop=True)
    # pandas takes an infinite number in a window for a missing one
    at["endless"] = np.isinf(at["width"]).astype(np.float64)
    at["width"] = at["width"].where(at["endless"] == 0, 0.0)
    rolling = at.groupby(keys, sort=False, observed=True)[["n", "inside", "width", "endless"]]
    sums = rolling.rolling(window).sum().reset_index(drop=True)
    sums["width"] = sums["width"].where(~(sums["endless"] > 0.5), np.inf)
    n = sums["n"].to_numpy()
    full = np.isfinite(n)
    at["coverage"] = sums["inside"] / n
    outside = (1.0 - _BAND) / 2.0
    for name, share in (("low", outside), ("high", 1.0 - outside)):
        counts, which = np.unique(n[full], return_inverse=True)
        at[name] = np.nan
        at.loc[full, name] = (binom.ppf(share, counts, level) / counts)[which]
    at["width"] = sums["width"] / n
    result = at[[*keys, "time", "coverage", "low", "high", "width"]]
    result.attrs["interval"] = level
    return result


def coverage_summary(
    frame: pd.DataFrame,
    level: float | None = None,
    *,
    window: int = 250,
    by: Literal["all", "series"] = "all",
) -> pd.DataFrame:
    """Sum up how far the coverage of intervals strays over time, and how wide they are.

    Parameters
    ----------
    frame, level, window, by
        As for `coverage_monitor`.

    Returns
    -------
    DataFrame
        One row for each model, target and step (and series); columns

        - ``coverage``: share of all outcomes inside,
        - ``mean_error``: mean absolute difference of coverage and level over the windows,
        - ``worst``: the largest such difference,
        - ``outside``: share of windows outside of the band,
        - ``width``: mean width, in the target's unit,
        - ``relative_width``: to that of the narrowest model,
        - ``n``: outcomes.

        Columns of windows are NaN where there are fewer times than `window`.

    Notes
    -----
    With exact coverage and independent outcomes the mean error at 90 % in windows of 250 is about
    .015, and the worst of ten years about .05: intervals that adapt can be nearer, as their misses
    are followed by caution. Any coverage can be had with enough width: judge both.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 200, random_state=0)
    >>> models = {"walk": tsf.RandomWalk(target="close")}
    >>> result = tsf.backtest(models, panel, tsf.RollingOrigin(100), refit=False)
    >>> coverage_summary(result.frame, window=50)[["model", "coverage", "worst"]].round(2)
       model  coverage  worst
    0   walk      0.85   0.12
    1  naive      0.96   0.20
    """
    moving = coverage_monitor(frame, level, window=window, by=by)
    level = float(moving.attrs["interval"])
    _, inside = _inside(frame, level)
    keys = [*_PARTS, "series"] if by == "series" else _PARTS
    total = inside.groupby(keys, sort=False, observed=True)[["n", "inside", "width"]].sum()
    error = (moving["coverage"] - level).abs()
    beside = (moving["coverage"] < moving["low"]) | (moving["coverage"] > moving["high"])
    windows = moving[keys].assign(error=error, outside=beside.where(error.notna()).astype(float))
    grouped = windows.groupby(keys, sort=False, observed=True)
    result = pd.DataFrame(
        {
            "coverage": total["inside"] / total["n"],
            "mean_error": grouped["error"].mean(),
            "worst": grouped["error"].max(),
            "outside": grouped["outside"].mean(),
            "width": total["width"] / total["n"],
        }
    ).reindex(grouped.size().index)
    same = [key for key in keys if key != "model"]
    narrowest = result.groupby(same, sort=False, observed=True)["width"].transform("min")
    result["relative_width"] = result["width"] / narrowest
    result["n"] = total["n"].astype(np.int64)
    result = result.reset_index()
    result.attrs["interval"] = level
    return result


def _inside(frame: pd.DataFrame, level: float | None) -> tuple[float, pd.DataFrame]:
    """The level, and of each outcome with an interval whether it lies inside, and the width."""
    if not isinstance(frame, pd.DataFrame) or "actual" not in frame.columns:
        columns = list(frame.columns) if isinstance(frame, pd.DataFrame) else frame
        raise bad_parameter(
            "frame",
            expected="the frame of a backtest, with a column 'actual'",
            found=columns,
            advice="Forecasts alone have no outcomes: take backtest(...).frame.",
        )
    rows = sample_rows(frame)
    levels = quantile_levels(rows.columns)
    if level is None:
        pair = widest_interval(levels)
        if pair is None:
            raise bad_parameter(
                "frame",
                expected="two quantile columns, p and 1 - p",
                found=levels,
                advice="ConformalForecaster gives any forecaster an interval.",
            )
        level = round(pair[1] - pair[0], 12)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise bad_parameter("level", expected="a share in (0, 1)", found=level)
    names = [quantile_column((1.0 + side * level) / 2.0) for side in (-1, 1)]
    if absent := [name for name in names if name not in rows.columns]:
        raise bad_parameter(
            "level",
            expected=f"a level with the columns {names}",
            found=level,
            advice=f"The frame has no {absent[0]!r}, but {[quantile_column(q) for q in levels]}.",
        )
    low, high = (rows[name].to_numpy(dtype=np.float64) for name in names)
    actual = rows["actual"].to_numpy(dtype=np.float64)
    # an infinite bound is a bound, of an interval that holds all
    known = ~np.isnan(low) & ~np.isnan(high) & np.isfinite(actual)
    if not known.any():
        raise fail(
            "no outcome has an interval",
            expected=f"rows with {names} and an actual value",
            found=f"{len(rows)} rows without",
            advice="Choose another level=, or models that give quantiles.",
        )
    result = rows.loc[known, [*_PARTS, "series", "time"]].reset_index(drop=True)
    result["n"] = 1.0
    result["inside"] = ((low <= actual) & (actual <= high))[known].astype(np.float64)
    with np.errstate(invalid="ignore"):
        result["width"] = np.where(high == low, 0.0, high - low)[known]
    return float(level), result
