"""Forecast metrics as functions of the backtest frame, each with how it misleads."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, bad_parameter, callers_level, fail, first

__all__ = [
    "LEVEL_METRICS",
    "METRICS",
    "as_forecasts",
    "evaluate",
    "pinball_loss",
    "qlike",
    "quantile_column",
    "quantile_levels",
    "quantile_loss",
    "quantiles_given",
    "sample_rows",
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
LEVEL_METRICS = ("r2", "correlation")  # only when asked for by name: they flatter on price levels
_COLUMNS = ("model", "series", "time", "cutoff", "step", "target", "forecast", "actual")
_KEYS = ("series", "time", "cutoff", "step", "target", "actual")  # the same for all models
_PATH = ["model", "series", "target", "cutoff"]  # the rows of one forecast
_SCALED = ("mase", "rmsse")
_QUANTILE = ("wql", "crps", "coverage", "width")
_NAIVE = "naive"
_FLATTERED = 0.95  # what the last value alone scores, from which a score says nothing
# what other toolkits append to a model's name: -lo-80, -hi-80, -median, -q-10, _ql0.1
_SUFFIX = re.compile(r"[-_](?:(lo|hi)[-_](\d+(?:\.\d+)?)|median|ql?[-_]?(\d*\.?\d+))")


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


def as_forecasts(
    frame: pd.DataFrame, columns: Mapping[str, Hashable | Sequence[str]] | None = None
) -> pd.DataFrame:
    """Bring forecasts of any toolkit into the flat form of a backtest frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per model, series, cutoff and time (long), or one per series, cutoff and time with
        a column of forecasts per model (wide).
    columns : mapping of str to column name, optional
        Our names to those of the frame; names that are alike need no entry. Ours are ``series,
        time, cutoff, step, target, forecast, actual, model`` and the quantile columns ``q0.1``
        and so on. The entry `model` is the column that names the model of a long frame, or the
        list of the forecast columns of a wide one, whose quantiles are then found by name:
        ``LSTM-lo-80``, ``LSTM-hi-80``, ``LSTM-median``, ``LSTM-q-10``, ``LSTM_ql0.1``.

    Returns
    -------
    pandas.DataFrame
        Columns ``model, series, time, cutoff, step, target, forecast, q..., actual``, then those
        not named; a frame that has ours already is returned as it is, its rows unchecked. What is
        lacking is derived where that is sound: one `series` is 0, `target` is ``"value"``,
        `forecast` is the median, and `step` is the rank of the time among those of the same
        forecast, which is right if no row before the last was dropped.

    Raises
    ------
    DataError
        If columns are missing, time and cutoff do not fit, rows are repeated, or one model lacks
        rows that another has.
    ValueError
        If `columns` cannot be read.

    Examples
    --------
    >>> import pandas as pd
    >>> wide = pd.DataFrame({"unique_id": "A", "ds": [3, 4], "cutoff": 2, "y": [1.0, 2.0],
    ...                      "LSTM": [1.5, 1.5], "LSTM-lo-80": [0.0, 0.5]})
    >>> names = {"series": "unique_id", "time": "ds", "actual": "y", "model": ["LSTM"]}
    >>> as_forecasts(wide, names)[["model", "series", "time", "step", "forecast", "q0.1"]]
      model series  time  step  forecast  q0.1
    0  LSTM      A     3     1       1.5   0.0
    1  LSTM      A     4     2       1.5   0.5
    """
    if not isinstance(frame, pd.DataFrame):
        raise bad_parameter("frame", expected="a pandas DataFrame", found=frame)
    if columns is None and all(name in frame for name in _COLUMNS):
        return frame
    named, models = _read_columns(columns or {})
    theirs = set(named.values())
    levels = [name for name in frame.index.names if name in theirs or name in _COLUMNS]
    frame = frame.reset_index([name for name in levels if name not in frame])
    if not frame.columns.is_unique:
        twice = list(frame.columns[frame.columns.duplicated()])
        raise fail(
            "repeated column names",
            expected="each name once",
            found=f"{twice} more than once",
            advice="Rename or drop the copies.",
        )
    own = [*_COLUMNS, *map(quantile_column, quantile_levels(frame.columns))]
    named = {name: name for name in own if name in frame and name not in theirs} | named
    if models is None:
        tables = [{"forecast": named.get("q0.5", "forecast"), **named}]
    else:
        keys = {name: column for name, column in named.items() if name in _KEYS}
        tables = [{**keys, **_columns_of(model, frame)} for model in models]
    _require_columns(frame, tables, wide=models is not None)
    taken = {column for table in tables for column in table.values()}
    rest = [name for name in frame if name not in taken and name not in own]
    parts = [
        frame[rest].assign(**{name: frame[column] for name, column in table.items()})
        for table in tables
    ]
    if models is not None:
        parts = [part.assign(model=model) for part, model in zip(parts, models)]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows if "series" in rows else rows.assign(series=0)
    rows = rows if "target" in rows else rows.assign(target="value")
    _check_rows(rows)
    if "step" not in rows:
        rank = rows.groupby(_PATH, observed=True)["time"].rank(method="dense")
        rows["step"] = rank.astype(np.int64)
    quantiles = [quantile_column(level) for level in quantile_levels(rows.columns)]
    ours = [*_COLUMNS[:-1], *quantiles, _COLUMNS[-1]]
    return rows[[*ours, *(name for name in rest if name not in ours)]]


def _read_columns(
    columns: Mapping[str, Hashable | Sequence[str]],
) -> tuple[dict[str, Any], list[str] | None]:
    """Our names to theirs, and the models of a wide frame."""
    if not isinstance(columns, Mapping):
        raise bad_parameter("columns", expected="a mapping of our names to yours", found=columns)
    named: dict[str, Any] = {}
    for name, theirs in columns.items():
        level = quantile_levels([name])
        if name not in _COLUMNS and not level:
            raise bad_parameter(
                "columns",
                expected=f"keys among {', '.join(_COLUMNS)} and quantiles such as 'q0.1'",
                found=name,
                advice="The keys are our names, the values yours.",
            )
        if name != "model" and not isinstance(theirs, Hashable):
            raise bad_parameter("columns", expected=f"one column for {name!r}", found=theirs)
        named[quantile_column(level[0]) if level else name] = theirs
    models = named.get("model")
    if not isinstance(models, list | tuple):
        return named, None
    del named["model"]
    texts = [name for name in models if isinstance(name, str)]
    if not texts or len(set(texts)) < len(models):
        raise bad_parameter(
            "columns",
            expected="under 'model' the names of forecast columns, each once",
            found=list(models),
        )
    if own := [name for name in named if name == "forecast" or quantile_levels([name])]:
        raise bad_parameter(
            "columns",
            expected="no forecasts or quantiles beside a list of models, which names them",
            found=own,
            advice="Quantiles are found by name, e.g. 'LSTM-lo-80' for 'LSTM'.",
        )
    return named, texts


def _columns_of(model: str, frame: pd.DataFrame) -> dict[str, Any]:
    """The forecast and quantile columns of a model in a wide frame."""
    found: dict[str, Any] = {}
    for column in frame.columns:
        if not isinstance(column, str) or not column.startswith(model):
            continue
        match = _SUFFIX.fullmatch(column, len(model))
        if match is None:
            continue
        side, percent, quantile = match.groups()
        if side:
            level = 0.5 + (-0.5 if side == "lo" else 0.5) * float(percent) / 100
        elif quantile:
            level = float(quantile) if float(quantile) < 1 else float(quantile) / 100
        else:
            level = 0.5
        if 0 < level < 1:
            found[quantile_column(round(level, 9))] = column
    return {**found, "forecast": model if model in frame else found.get("q0.5", model)}


def _require_columns(frame: pd.DataFrame, tables: list[dict[str, Any]], *, wide: bool) -> None:
    needed = ["time", "cutoff", "actual", *([] if wide else ["model"])]
    wanted = [(name, table.get(name, name)) for table in tables for name in {*needed, *table}]
    lacking = {column: name for name, column in sorted(wanted) if column not in frame}
    if not lacking:
        return
    advice = "Name yours, e.g. columns={'time': 'ds', 'actual': 'y'}."
    if "cutoff" in lacking.values():
        advice = (
            "The cutoff is the time of the last row that a forecast knew. Name its column, "
            "columns={'cutoff': ...}, or add it: frame.assign(cutoff=...)."
        )
    elif {"model", "forecast"} & set(lacking.values()):
        advice = (
            "Name the column of models, columns={'model': 'name', 'forecast': 'mean'}, or the "
            "forecast columns, columns={'model': ['LSTM', 'ETS']}."
        )
    raise fail(
        "not a frame of forecasts",
        expected=f"columns for {', '.join([*needed, 'forecast'])}",
        found=f"no column {first(lacking)} among {first(frame.columns, shown=20)}",
        advice=advice,
    )


def _check_rows(rows: pd.DataFrame) -> None:
    """Raise unless each model has one forecast of each row, after its cutoff."""
    for name in ("time", "cutoff"):
        if pd.api.types.infer_dtype(rows[name], skipna=True) == "string":
            raise fail(
                "time is text",
                expected="dates, time spans or numbers",
                found=f"{rows[name].dtype}, such as {str(rows[name].iloc[0])!r}",
                advice=f"Convert it: frame[{name!r}] = pd.to_datetime(frame[{name!r}]), or "
                "pd.to_timedelta of time spans.",
                column=name,
            )
    empty = rows[[*_PATH, "time"]].isna().any()
    if empty.any():
        raise fail(
            "a key is missing",
            expected="model, series, cutoff and time in every row",
            found=f"rows without {first(empty.index[empty])}",
            advice="Drop those rows, or mend the source.",
        )
    try:
        early = rows["time"] <= rows["cutoff"]
    except TypeError:
        raise fail(
            "time and cutoff are of different kinds",
            expected="both dates (of one time zone), or both numbers",
            found=f"time {rows['time'].dtype}, cutoff {rows['cutoff'].dtype}",
            advice="Convert one of them.",
        ) from None
    if early.any():
        raise fail(
            "forecasts of rows that were known",
            expected="times after the cutoff, the last row that the forecast knew",
            found=f"{int(early.sum())} rows at or before it",
            advice="If the cutoff is the first row forecast, use the one before it.",
            rows=list(rows.index[early]),
        )
    repeated = rows.duplicated([*_PATH, "time"])
    if repeated.any():
        raise fail(
            "rows are repeated",
            expected="one row per model, series, cutoff and time",
            found=f"{int(repeated.sum())} repeated rows",
            advice="Keep one forecast of each; name the column of the series if there are several.",
            rows=list(rows.index[repeated]),
        )
    if rows["model"].nunique() == 1:
        return
    counts = rows.groupby("model", observed=True, sort=False).size()
    union = len(rows[[*_PATH[1:], "time"]].drop_duplicates())
    lacking = counts[counts < union]
    if len(lacking):
        raise fail(
            "models have unequal rows",
            expected=f"a row of every model at all {union} of series, cutoff and time",
            found=", ".join(f"{n} of {name!r}" for name, n in lacking.items()),
            advice="Keep the rows that all have, or give the others with an empty forecast.",
        )


def _check_own(rows: pd.DataFrame) -> None:
    """As `_check_rows` of each target, which models may differ in.

    Of models with the same rows, as in our backtests, the first one's are read.
    """
    for _, part in rows.groupby("target", observed=True, sort=False):
        with suppress(DataError):
            _check_rows(_one_of_alike(part))
            continue
        _check_rows(part)  # says how many there are in all


def _one_of_alike(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first model where each model has the same ones in the same order; else all."""
    codes, models = pd.factorize(rows["model"])
    each = len(rows) // max(len(models), 1)
    if len(rows) != each * len(models) or (codes != np.repeat(np.arange(len(models)), each)).any():
        return rows
    keys = rows[[*_PATH[1:], "time"]]
    one = keys.iloc[:each].reset_index(drop=True)
    for start in range(each, len(rows), each):
        if not keys.iloc[start : start + each].reset_index(drop=True).equals(one):
            return rows
    return rows.iloc[:each]


def sample_rows(frame: pd.DataFrame, *, in_sample: bool = False) -> pd.DataFrame:
    """Return the out-of-sample rows of a backtest frame, or the in-sample ones.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame. All its rows are out of sample unless a column `in_sample` says
        otherwise.
    in_sample : bool
        Which rows.

    Returns
    -------
    pandas.DataFrame
        The same columns.

    Raises
    ------
    DataError
        If in-sample rows are asked for and there is no column of that name.
    """
    if "in_sample" in frame:
        chosen: pd.DataFrame = frame[frame["in_sample"].to_numpy(dtype=bool) == in_sample]
        return chosen
    if in_sample:
        raise fail(
            "no in-sample rows",
            expected="a backtest that keeps them",
            found="a frame without the column in_sample",
            advice="Run backtest(..., fitted=True).",
        )
    return frame


def scored_rows(frame: pd.DataFrame, *, in_sample: bool = False) -> pd.DataFrame:
    """Return the rows of a backtest frame whose outcome is known.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame.
    in_sample : bool
        The in-sample rows instead of the others.

    Returns
    -------
    pandas.DataFrame
        The same columns, the rows with an ``actual``.

    Raises
    ------
    DataError
        If no row has an ``actual``, as those of positions.
    """
    frame = sample_rows(frame, in_sample=in_sample)
    known = frame["actual"].notna()
    if not known.any() and "position" in set(frame["target"]):
        raise fail(
            "positions are no forecasts",
            expected="forecasts beside what happened",
            found=f"{len(frame)} rows of what to hold, which nothing that happens is compared with",
            advice="Trade them: backtest_strategy(frame, panel, rule='position').",
        )
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
    metrics: str | Sequence[str] | None = None,
    *,
    columns: Mapping[str, Hashable | Sequence[str]] | None = None,
    by: str | Sequence[str] | None = None,
    scales: pd.DataFrame | None = None,
    levels: Sequence[float] | None = None,
    in_sample: bool = False,
) -> pd.DataFrame:
    """Score every model of a backtest frame, ours or that of another toolkit.

    Parameters
    ----------
    frame : pandas.DataFrame
        Flat: ``model, series, time, cutoff, step, target, forecast, q..., actual``. Rows without
        an actual are left out. A model that lacks a forecast on some row scores NaN there, as a
        score on chosen rows compares with nothing.
    metrics : str or sequence of str, optional
        Some of ``METRICS`` and ``LEVEL_METRICS``; default all of the former, with NaN where
        quantiles or scales are missing.
    columns : mapping of str to column name, optional
        Our names to those of the frame, where they differ, and the models of a wide frame:
        ``{"series": "unique_id", "time": "ds", "actual": "y", "model": ["ETS", "LSTM"]}``. See
        `as_forecasts`.
    by : str or sequence of str, optional
        Columns to split by besides the model: ``"series"``, ``"step"``, ``"cutoff"``,
        ``"target"``, ``"time"``, or a column of your own. Several targets are always split.
    scales : pandas.DataFrame, optional
        Columns ``series, cutoff, mae, mse`` (and ``target``, if there are several): mean absolute
        and mean squared one-row difference of the rows known when the model was fitted.
    levels : sequence of float, optional
        Quantile levels to score; default those that every model with quantiles gives.
    in_sample : bool
        Score the in-sample rows of ``backtest(..., fitted=True)`` alone, instead of the others.

    Returns
    -------
    pandas.DataFrame
        Index ``model`` (and ``by``), one column per metric and ``n``, the number of rows.
        ``attrs["interval"]`` is the nominal level of the interval behind ``coverage`` and
        ``width`` (0.8 for q0.1 to q0.9; NaN without one).

    Raises
    ------
    DataError
        If the frame or ``scales`` cannot be used: columns are missing, time and cutoff do not fit,
        rows are repeated, or one model lacks rows that another has; or if a row has no value in a
        column of ``by``.
    ValueError
        If ``by``, ``metrics``, ``levels`` or ``columns`` names something unknown.

    Warns
    -----
    UserWarning
        If ``r2`` or ``correlation`` is asked for of a target like a price level, on which the last
        known value alone scores more than 0.95.

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
    r2
        1 - squared error / squared distance of the actuals from their own mean, of all rows
        together; 0 is that mean (which nobody knew), below 0 is worse. It misleads on levels: a
        copy of yesterday's price has .99. Ask for it of returns or variances.
    correlation
        Pearson's, between forecasts and actuals. It misleads on levels as r2 does, and it
        forgives every bias of level and scale.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "naive", "series": 0, "time": [1, 2], "cutoff": [0, 1], "step": 1,
    ...     "target": "close", "forecast": [10.0, 12.0], "actual": [12.0, 11.0]})
    >>> evaluate(frame, metrics=["mae", "rmse"]).round(3).loc["naive"].to_dict()
    {'mae': 1.5, 'rmse': 1.581, 'n': 2.0}
    """
    ours = as_forecasts(frame, columns)
    rows = scored_rows(ours, in_sample=in_sample)
    if ours is frame and not in_sample:  # in-sample rows differ by model and repeat by fit
        _check_own(rows)
    names = _metric_names(metrics)
    keys = ["model", *_by_columns(rows, by)]
    if "target" not in keys and len(rows["target"].unique()) > 1:
        keys.insert(1, "target")  # prices and volumes have no common mean
    chosen = _chosen_levels(rows, levels)
    if metrics is not None and scales is None and (scaled := set(_SCALED) & set(names)):
        raise bad_parameter(
            "scales",
            expected=f"a frame of series, cutoff, mae, mse for {', '.join(sorted(scaled))}",
            found=scales,
            advice="Pass the backtest's `scales`, or leave these metrics out; in-sample rows have "
            "none.",
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
    scores: dict[str, Any] = dict.fromkeys(names, np.nan)
    actual = rows["actual"].to_numpy(dtype=float)
    forecast = rows["forecast"].to_numpy(dtype=float)
    error = np.abs(actual - forecast)
    if "mae" in scores:
        scores["mae"] = groups.mean(error)
    if "rmse" in scores:
        scores["rmse"] = np.sqrt(groups.mean(error**2))
    if scales is not None and set(_SCALED) & set(scores):
        mae, mse = _row_scales(rows, scales)
        units = _Groups(rows, [*keys, *(c for c in ("series", "target") if c not in keys)])
        if "mase" in scores:
            scores["mase"] = groups.mean_of_units(units, units.mean(error / mae))
        if "rmsse" in scores:
            scores["rmsse"] = groups.mean_of_units(units, np.sqrt(units.mean(error**2 / mse)))
    if "smape" in scores:
        scores["smape"] = groups.mean(smape(actual, forecast))
    if chosen and {"wql", "crps"} & set(scores):
        loss = groups.mean(quantile_loss(rows, chosen))
        size = groups.mean(np.abs(actual))
        both = {"wql": np.divide(loss, size, out=np.full(len(loss), np.nan), where=size > 0)}
        scores |= {k: v for k, v in {**both, "crps": loss}.items() if k in scores}
    if interval and {"coverage", "width"} & set(scores):
        low, high = (rows[quantile_column(level)].to_numpy(dtype=float) for level in interval)
        inside = ((low <= actual) & (actual <= high)).astype(float)
        inside[np.isnan(low + high)] = np.nan
        both = {"coverage": groups.mean(inside), "width": groups.mean(high - low)}
        scores |= {k: v for k, v in both.items() if k in scores}
    if "qlike" in scores:
        scores["qlike"] = groups.mean(qlike(actual, forecast))
    if flattered := [name for name in LEVEL_METRICS if name in scores]:
        scores |= _explained(groups, actual, forecast, flattered)
        _warn_of_levels(rows, flattered)
    table = pd.DataFrame({**scores, "n": groups.size}, index=groups.index)
    table.attrs["interval"] = round(interval[1] - interval[0], 9) if interval else float("nan")
    return table


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


def _explained(
    groups: _Groups, actual: Floats, forecast: Floats, names: Sequence[str]
) -> dict[str, Floats]:
    """R2 and correlation of each group; NaN where either side is constant."""
    scores = {}
    a = actual - groups.mean(actual)[groups.codes]
    f = forecast - groups.mean(forecast)[groups.codes]
    variance, spread = groups.mean(a**2), groups.mean(f**2)
    varies = variance > (1e-12 * groups.mean(np.abs(actual))) ** 2
    unknown = np.full(len(groups.index), np.nan)
    if "r2" in names:
        mse = groups.mean((actual - forecast) ** 2)
        scores["r2"] = 1 - np.divide(mse, variance, out=unknown.copy(), where=varies)
    if "correlation" in names:
        both = varies & (spread > (1e-12 * groups.mean(np.abs(forecast))) ** 2)
        product = groups.mean(a * f)
        scores["correlation"] = np.divide(
            product, np.sqrt(variance * spread), out=unknown, where=both
        )
    return scores


def _warn_of_levels(rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Warn, once, of targets on which the last known value alone scores near 1."""
    told = []
    for target, part in rows.groupby("target", observed=True, sort=False):
        ours = part[part["model"] == _NAIVE]
        if len(ours):
            actual, forecast = (ours[name].to_numpy(dtype=float) for name in ("actual", "forecast"))
            scores = _explained(_Groups(ours, ["target"]), actual, forecast, names)
            score = {name: float(values[0]) for name, values in scores.items()}
            if max(score.values()) > _FLATTERED:
                figures = " and ".join(f"{name} {value:.3f}" for name, value in score.items())
                told.append(
                    f"on {target!r} the naive forecast, the last known value, has {figures}"
                )
            continue
        persistence = _persistence(part)
        if persistence > _FLATTERED:
            told.append(
                f"{target!r} has a correlation of {persistence:.3f} with its own value one row "
                "before"
            )
    if told:
        warnings.warn(
            f"{' and '.join(names)} {'say' if len(names) > 1 else 'says'} next to nothing of a "
            "level, such as a price: "
            f"{'; '.join(told)}. A shifted copy of the series scores as high. Forecast returns, or "
            "read the skill table.",
            stacklevel=callers_level(),
        )


def _persistence(rows: pd.DataFrame) -> float:
    """Mean over series of the correlation of neighbouring actuals; NaN if there is none."""
    known = rows[["series", "time", "actual"]].drop_duplicates(["series", "time"])
    known = known.sort_values(["series", "time"])
    before = known.groupby("series", observed=True)["actual"].shift()
    pairs = known.assign(before=before).dropna(subset=["actual", "before"])
    found = []
    for _, part in pairs.groupby("series", observed=True):
        y, x = part["actual"].to_numpy(dtype=float), part["before"].to_numpy(dtype=float)
        if len(y) > 2 and y.std() > 0 and x.std() > 0:
            found.append(float(np.corrcoef(y, x)[0, 1]))
    return float(np.mean(found)) if found else float("nan")


def _listed(names: Any) -> list[Any]:
    """A single name, or whatever else was given in its place, becomes a list of one."""
    return list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]


def _metric_names(metrics: str | Sequence[str] | None) -> list[str]:
    if metrics is None:
        return list(METRICS)
    names = _listed(metrics)
    options = [*METRICS, *LEVEL_METRICS]
    if unknown := [name for name in names if name not in options]:
        raise bad_parameter("metrics", expected=f"some of {options}", found=unknown)
    return names


def _by_columns(rows: pd.DataFrame, by: str | Sequence[str] | None) -> list[str]:
    names = [] if by is None else _listed(by)
    values = {quantile_column(level) for level in quantile_levels(rows.columns)}
    values |= {"model", "forecast", "actual"}
    options = [name for name in rows.columns if name not in values]
    if unknown := [name for name in names if name not in options]:
        raise bad_parameter("by", expected=f"some of {options}", found=unknown)
    for name in names:
        if (empty := rows[name].isna()).any():
            raise fail(
                "rows without a group",
                expected=f"a value of the column named by by={name!r} in every row",
                found=f"{int(empty.sum()):,} of {len(rows):,} rows without",
                advice="Drop those rows, or name their group, e.g. "
                f"frame.assign({name}=frame[{name!r}].fillna('other')).",
                column=name,
                rows=list(rows.index[empty]),
            )
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
