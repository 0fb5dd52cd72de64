"""Forecast metrics as functions of the backtest frame, each with how it misleads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail

__all__ = [
    "METRICS",
    "evaluate",
    "pinball_loss",
    "qlike",
    "quantile_column",
    "quantile_levels",
    "quantile_loss",
    "quantiles_given",
    "scored_rows",
    "smape",
    "widest_interval",
]

Floats = npt.NDArray[np.float64]

METRICS = (
    "mae",
    "rmse",
    "mase",
    "rmsse",
    "smape",
    "wql",
    "crps",
    "coverage",
    "width",
    "qlike",
)
_COLUMNS = ("model", "series", "time", "cutoff", "step", "target", "forecast", "actual")
_SCALED = ("mase", "rmsse")
_QUANTILE = ("wql", "crps", "coverage", "width")


def quantile_column(level: float) -> str:
    """Name the column that holds a quantile level.

    Examples
    --------
    >>> quantile_column(0.1), quantile_column(0.975)
    ('q0.1', 'q0.975')
    """
    return f"q{level:g}"


def quantile_levels(columns: Iterable[object]) -> list[float]:
    """Read the quantile levels from column names, sorted.

    Examples
    --------
    >>> quantile_levels(["series", "q0.9", "forecast", "q0.1", "quality"])
    [0.1, 0.9]
    """
    levels = []
    for name in columns:
        if isinstance(name, str) and name.startswith("q"):
            try:
                level = float(name[1:])
            except ValueError:
                continue
            if 0 < level < 1:
                levels.append(level)
    return sorted(levels)


def widest_interval(levels: Sequence[float]) -> tuple[float, float] | None:
    """Return the outermost pair of levels (p, 1 - p), or None if there is none.

    Examples
    --------
    >>> widest_interval([0.05, 0.1, 0.5, 0.9])
    (0.1, 0.9)
    """
    for low in sorted(levels):
        for high in levels:
            if low < 0.5 and abs(low + high - 1) < 1e-9:
                return low, high
    return None


def pinball_loss(actual: npt.ArrayLike, forecast: npt.ArrayLike, level: float) -> Floats:
    """Pinball (quantile) loss per row, in the unit of the target.

    Smallest in expectation at the true quantile of that level. To read: ``level`` is the price
    of forecasting too low by one unit, ``1 - level`` of forecasting too high by one. It misleads
    when it is compared between levels (outer levels have smaller losses by nature) or between
    targets of different size.

    Parameters
    ----------
    actual, forecast : array-like
        What happened, and the forecast of the quantile.
    level : float
        Quantile level in (0, 1).

    Returns
    -------
    numpy.ndarray
        Koenker and Bassett (1978): ``max(level * (a - f), (level - 1) * (a - f))``.

    Examples
    --------
    >>> pinball_loss([3.0, 1.0], [2.0, 2.0], 0.9).round(3).tolist()
    [0.9, 0.1]
    """
    error = np.asarray(actual, dtype=float) - np.asarray(forecast, dtype=float)
    return np.asarray(np.maximum(level * error, (level - 1) * error))


def quantile_loss(frame: pd.DataFrame, levels: Sequence[float]) -> Floats:
    """Twice the mean pinball loss over the levels, per row of a backtest frame.

    The quantile approximation of the CRPS: exact as the levels fill (0, 1), and equal to the
    absolute error when 0.5 is the only level. It misleads with a few levels, for it then says
    nothing on the tails beyond the outermost one.

    Parameters
    ----------
    frame : pandas.DataFrame
        With ``actual`` and the ``q`` columns of ``levels``.
    levels : sequence of float
        Quantile levels, at least one.

    Returns
    -------
    numpy.ndarray
        In the unit of the target; NaN where a quantile is missing.
    """
    actual = frame["actual"].to_numpy(dtype=float)
    total = np.zeros(len(frame))
    for level in levels:
        total += pinball_loss(actual, frame[quantile_column(level)].to_numpy(dtype=float), level)
    return 2 * total / len(levels)


def qlike(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> Floats:
    """QLIKE loss of variance forecasts per row: ``a / f - log(a / f) - 1`` (Patton 2011).

    To read: 0 is perfect, without unit, and it ranks forecasts rightly even when the actual is a
    noisy but unbiased proxy of the variance. It misleads when given volatilities instead of
    variances, and it punishes a variance forecast too low far more than one too high.

    Parameters
    ----------
    actual, forecast : array-like
        Variances, positive. Where either is not, the loss is NaN.

    Returns
    -------
    numpy.ndarray
        Not negative.

    Examples
    --------
    >>> qlike([1.0, 2.0, 1.0], [1.0, 1.0, 0.0]).round(4).tolist()
    [0.0, 0.3069, nan]
    """
    a, f = np.asarray(actual, dtype=float), np.asarray(forecast, dtype=float)
    positive = (a > 0) & (f > 0)
    ratio = np.divide(a, f, out=np.full(positive.shape, np.nan), where=positive)
    return np.asarray(ratio - np.log(ratio) - 1)


def smape(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> Floats:
    """Symmetric absolute percentage error per row, a fraction from 0 to 2; 0/0 counts 0.

    To read: 0.02 is an error of about 2 %. It misleads near zero, where any error is close to 2,
    on quantities whose zero is a convention (temperature, returns), and it is kinder to forecasts
    too high than to those too low.

    Parameters
    ----------
    actual, forecast : array-like
        What happened, and its forecast.

    Returns
    -------
    numpy.ndarray
        ``2 |a - f| / (|a| + |f|)``.

    Examples
    --------
    >>> smape([0.0, 1.0, 3.0], [0.0, -1.0, 1.0]).tolist()
    [0.0, 2.0, 1.0]
    """
    a, f = np.asarray(actual, dtype=float), np.asarray(forecast, dtype=float)
    error, size = 2 * np.abs(a - f), np.abs(a) + np.abs(f)
    # NaN != 0, so a missing forecast stays NaN
    return np.asarray(np.divide(error, size, out=np.zeros(error.shape), where=size != 0))


def scored_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a backtest frame whose outcome is known.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame.

    Returns
    -------
    pandas.DataFrame
        The same columns, the rows with an ``actual``.

    Raises
    ------
    DataError
        If a column is missing, or no row has an ``actual``.
    """
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise fail(
            "not a backtest frame",
            expected=f"the columns {', '.join(_COLUMNS)}",
            found=f"no column {', '.join(missing)}",
            advice="Pass the `frame` of a backtest, with its columns.",
        )
    known = frame["actual"].notna()
    if not known.any():
        raise fail(
            "nothing to score",
            expected="rows with a known `actual`",
            found=f"{len(frame)} rows, none of them with an actual",
            advice="Choose cutoffs that leave the horizon inside the panel.",
        )
    return frame if known.all() else frame[known]


def quantiles_given(frame: pd.DataFrame) -> pd.DataFrame:
    """Tell which model gives which quantile.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame.

    Returns
    -------
    pandas.DataFrame
        Booleans, one row per model and one column per level (float, sorted). Models that give no
        quantile at all have a row of False.
    """
    levels = quantile_levels(frame.columns)
    given = frame[[quantile_column(level) for level in levels]].notna()
    return given.groupby(frame["model"], observed=True).any().set_axis(levels, axis=1)


def evaluate(
    frame: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    scales: pd.DataFrame | None = None,
    metrics: Sequence[str] | None = None,
    levels: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Score every model of a backtest frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        Flat: ``model, series, time, cutoff, step, target, forecast, q..., actual``. Rows without
        an actual are left out. A model that lacks a forecast on some row scores NaN there, as a
        score on chosen rows compares with nothing.
    by : str or sequence of str, optional
        Columns to split by besides the model: ``"series"``, ``"step"``, ``"cutoff"``,
        ``"target"``, ``"time"``, or a column of your own.
    scales : pandas.DataFrame, optional
        Columns ``series, cutoff, mae, mse`` (and ``target``, if there are several): mean absolute
        and mean squared one-row difference of the rows known when the model was fitted.
    metrics : sequence of str, optional
        Some of ``METRICS``; default all, with NaN where quantiles or scales are missing.
    levels : sequence of float, optional
        Quantile levels to score; default those that every model with quantiles gives.

    Returns
    -------
    pandas.DataFrame
        Index ``model`` (and ``by``), one column per metric and ``n``, the number of rows.
        ``attrs["interval"]`` is the nominal level of the interval behind ``coverage`` and
        ``width`` (0.8 for q0.1 to q0.9; NaN without one).

    Raises
    ------
    DataError
        If the frame or ``scales`` cannot be used.
    ValueError
        If ``by``, ``metrics`` or ``levels`` names something unknown.

    Notes
    -----
    mae, rmse
        Mean absolute error and root mean squared error, in the unit of the target. The first is
        least at the median, the second at the mean: a model made for one loses on the other. Both
        mislead on a panel of mixed sizes, where the largest series decide.
    mase
        Mean over series of (absolute error / one-row naive error in training; Hyndman and
        Koehler 2006). It misleads when 1 is taken for "as good as the naive": the scale is of
        one row ahead, so beyond step 1 the naive itself is above 1. Compare with its line.
    rmsse
        Mean over series of the root of (squared error / squared naive error; the M5 contest). As
        mase, and one burst of volatility decides it. A series constant in training has scale 0,
        hence NaN in both, and is left out of the mean over series.
    smape
        Mean of `smape`, 0 to 2. It misleads near zero.
    wql
        Weighted quantile loss: 2 * pinball summed over rows and levels / (levels * sum of
        |actual|), as in GluonTS. About a fractional error of the whole distribution. It misleads
        on targets around zero (returns), and between models with different levels.
    crps
        Mean of `quantile_loss`, the quantile approximation of the CRPS, in the unit of the
        target. Few levels say nothing about the tails.
    coverage, width
        Share of outcomes inside the widest central interval, and its mean width. Read them
        together and against ``attrs["interval"]``: any coverage can be had with enough width, and
        right on average may be wrong in every calm and every storm (look ``by="cutoff"``).
    qlike
        Mean of `qlike`, the target taken as the variance it is said to be. NaN if any actual or
        forecast is not positive; meaningless for prices.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "naive", "series": 0, "time": [1, 2], "cutoff": [0, 1], "step": 1,
    ...     "target": "close", "forecast": [10.0, 12.0], "actual": [12.0, 11.0]})
    >>> evaluate(frame, metrics=["mae", "rmse"]).round(3).loc["naive"].to_dict()
    {'mae': 1.5, 'rmse': 1.581, 'n': 2.0}
    """
    rows = scored_rows(frame)
    names = _metric_names(metrics)
    keys = ["model", *_by_columns(rows, by)]
    chosen = _chosen_levels(rows, levels)
    if metrics is not None and scales is None and (scaled := set(_SCALED) & set(names)):
        raise bad_parameter(
            "scales",
            expected=f"a frame of series, cutoff, mae, mse for {', '.join(sorted(scaled))}",
            found=scales,
            advice="Pass the backtest's `scales`, or leave these metrics out.",
        )
    if metrics is not None and not chosen and (quantile := set(_QUANTILE) & set(names)):
        raise bad_parameter(
            "metrics",
            expected="metrics of points, as the models share no quantile columns",
            found=sorted(quantile),
            advice="Use a head that gives quantiles, or leave these metrics out.",
        )

    groups = _Groups(rows, keys)
    interval = widest_interval(chosen)
    columns: dict[str, Any] = dict.fromkeys(names, np.nan)
    actual = rows["actual"].to_numpy(dtype=float)
    forecast = rows["forecast"].to_numpy(dtype=float)
    error = np.abs(actual - forecast)
    if "mae" in columns:
        columns["mae"] = groups.mean(error)
    if "rmse" in columns:
        columns["rmse"] = np.sqrt(groups.mean(error**2))
    if scales is not None and set(_SCALED) & set(columns):
        mae, mse = _row_scales(rows, scales)
        units = _Groups(rows, [*keys, *(c for c in ("series", "target") if c not in keys)])
        if "mase" in columns:
            columns["mase"] = groups.mean_of_units(units, units.mean(error / mae))
        if "rmsse" in columns:
            columns["rmsse"] = groups.mean_of_units(units, np.sqrt(units.mean(error**2 / mse)))
    if "smape" in columns:
        columns["smape"] = groups.mean(smape(actual, forecast))
    if chosen and {"wql", "crps"} & set(columns):
        loss = groups.mean(quantile_loss(rows, chosen))
        size = groups.mean(np.abs(actual))
        both = {"wql": np.divide(loss, size, out=np.full(len(loss), np.nan), where=size > 0)}
        columns |= {k: v for k, v in {**both, "crps": loss}.items() if k in columns}
    if interval and {"coverage", "width"} & set(columns):
        low, high = (rows[quantile_column(level)].to_numpy(dtype=float) for level in interval)
        inside = ((low <= actual) & (actual <= high)).astype(float)
        inside[np.isnan(low + high)] = np.nan
        both = {"coverage": groups.mean(inside), "width": groups.mean(high - low)}
        columns |= {k: v for k, v in both.items() if k in columns}
    if "qlike" in columns:
        columns["qlike"] = groups.mean(qlike(actual, forecast))
    scores = pd.DataFrame({**columns, "n": groups.size}, index=groups.index)
    scores.attrs["interval"] = round(interval[1] - interval[0], 9) if interval else float("nan")
    return scores


class _Groups:
    """The groups of the rows by some columns; NaN in a row makes its group's mean NaN."""

    def __init__(self, rows: pd.DataFrame, keys: list[str]) -> None:
        # one name, not a list of one, gives a plain Index
        grouped = rows.groupby(keys if len(keys) > 1 else keys[0], observed=True, sort=True)
        self.codes = grouped.ngroup().to_numpy()
        self.index = grouped.size().index
        self.size = np.bincount(self.codes, minlength=len(self.index))

    def mean(self, values: Floats) -> Floats:
        total = np.bincount(self.codes, weights=values, minlength=len(self.index))
        return np.asarray(total / self.size)

    def mean_of_units(self, units: _Groups, values: Floats) -> Floats:
        """Mean over the finer groups that have a value; NaN where none has."""
        outer = np.empty(len(units.index), dtype=np.intp)
        outer[units.codes] = self.codes
        known = ~np.isnan(values)
        total = np.bincount(outer[known], weights=values[known], minlength=len(self.index))
        count = np.bincount(outer[known], minlength=len(self.index))
        return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def _listed(names: Any) -> list[Any]:
    """A single name, or whatever else was given in its place, becomes a list of one."""
    return list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]


def _metric_names(metrics: Sequence[str] | None) -> list[str]:
    if metrics is None:
        return list(METRICS)
    names = _listed(metrics)
    if unknown := [name for name in names if name not in METRICS]:
        raise bad_parameter("metrics", expected=f"some of {list(METRICS)}", found=unknown)
    return names


def _by_columns(rows: pd.DataFrame, by: str | Sequence[str] | None) -> list[str]:
    names = [] if by is None else _listed(by)
    values = {quantile_column(level) for level in quantile_levels(rows.columns)}
    values |= {"model", "forecast", "actual"}
    options = [name for name in rows.columns if name not in values]
    if unknown := [name for name in names if name not in options]:
        raise bad_parameter("by", expected=f"some of {options}", found=unknown)
    return names


def _chosen_levels(rows: pd.DataFrame, levels: Sequence[float] | None) -> list[float]:
    if levels is None:
        given = quantiles_given(rows)
        common = given[given.any(axis=1)].all(axis=0)
        return [float(level) for level in common.index[common]] if given.any(axis=None) else []
    known = {quantile_column(level): level for level in quantile_levels(rows.columns)}
    wanted = _listed(levels)
    columns = [quantile_column(float(level)) for level in wanted if isinstance(level, Real)]
    if not set(columns) <= set(known) or len(columns) != max(1, len(wanted)):
        raise bad_parameter(
            "levels",
            expected=f"some of the frame's levels {list(known.values())}",
            found=levels,
        )
    return sorted(known[column] for column in columns)


def _row_scales(rows: pd.DataFrame, scales: pd.DataFrame) -> tuple[Floats, Floats]:
    """Join the training scales of each row's series at its cutoff; NaN where 0 or unknown."""
    if missing := [c for c in ("series", "cutoff", "mae", "mse") if c not in scales]:
        raise fail(
            "scales cannot be used",
            expected="the columns series, cutoff, mae, mse",
            found=f"no column {', '.join(missing)}",
            advice="Pass the backtest's `scales`.",
        )
    on = [name for name in ("series", "cutoff", "target") if name in scales]
    if "target" not in on and len(rows["target"].unique()) > 1:
        raise fail(
            "scales cannot be used",
            expected="a column `target`, as there are several targets",
            found=f"the columns {', '.join(map(str, scales.columns))}",
            advice="Give one scale per series, cutoff and target, or evaluate one target.",
        )
    repeated = scales.duplicated(on)
    if repeated.any():
        raise fail(
            "scales cannot be used",
            expected=f"one row per {', '.join(on)}",
            found=f"{int(repeated.sum())} repeated rows",
            advice="Drop the duplicates.",
            rows=list(scales.index[repeated]),
        )
    joined = rows[on].merge(scales[[*on, "mae", "mse"]], on=on, how="left")
    positive = joined[["mae", "mse"]].where(joined[["mae", "mse"]] > 0)
    return positive["mae"].to_numpy(dtype=float), positive["mse"].to_numpy(dtype=float)
