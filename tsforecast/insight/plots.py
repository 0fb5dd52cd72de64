"""Pictures of forecasts and backtests; each draws a public frame and returns its Axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail
from tsforecast.metrics import (
    quantile_column,
    quantile_levels,
    quantile_loss,
    sample_rows,
    widest_interval,
)

__all__ = ["cumulative_gain", "plot_backtest", "plot_forecast"]


def cumulative_gain(
    frame: Any, *, against: str = "naive", target: str | None = None
) -> pd.DataFrame:
    """Add up over time by how much less each model lost than another.

    Parameters
    ----------
    frame : Backtest or DataFrame
        A backtest, or its frame. In-sample rows are left out.
    against : str
        The model compared with.
    target : str, optional
        One of several targets; their losses, in different units, are not added up.

    Returns
    -------
    DataFrame
        Index cutoff, a column per other model: the running sum, over cutoffs, of the mean loss of
        `against` less the model's, on rows that both have. Rising lines gain, flat ones do not.
        The loss is the quantile loss where all models give quantiles, else the absolute error;
        ``attrs["loss"]`` is its name.

    Raises
    ------
    ValueError
        If `against` is no model, or `target` none of the targets or lacking where there are
        several.
    """
    frame = _of_target(sample_rows(getattr(frame, "frame", frame)), target)
    models = list(frame["model"].unique())
    if against not in models:
        raise bad_parameter("against", expected=f"one of the models {models}", found=against)
    levels = quantile_levels(frame.columns)
    quantiles = frame[[quantile_column(level) for level in levels]]
    name = "quantile" if levels and bool(quantiles.notna().to_numpy().all()) else "absolute"
    if name == "quantile":
        loss = quantile_loss(frame, levels)
    else:
        loss = np.abs(frame["actual"].to_numpy() - frame["forecast"].to_numpy())
    keys = ["cutoff", "series", "step", "target"]
    wide = frame.assign(loss=loss).pivot_table(index=keys, columns="model", values="loss").dropna()
    per_cutoff = wide.groupby(level="cutoff").mean()
    gain: pd.DataFrame = per_cutoff.rsub(per_cutoff[against], axis=0)
    gain = gain[[model for model in models if model != against]].cumsum()
    gain.attrs["loss"] = name
    return gain


def _of_target(frame: pd.DataFrame, target: str | None) -> pd.DataFrame:
    targets = list(frame["target"].unique())
    if target is None and len(targets) == 1:
        return frame
    if target not in targets:
        raise bad_parameter(
            "target",
            expected=f"one of the targets {targets}",
            found=target,
            advice=f"Draw one at a time, e.g. target={targets[0]!r}." if targets else None,
        )
    return frame[frame["target"] == target]


def plot_backtest(
    frame: Any, *, against: str = "naive", target: str | None = None, ax: Any = None
) -> Any:
    """Draw `cumulative_gain`: who gained on whom, and when.

    Parameters
    ----------
    frame : Backtest or DataFrame
        A backtest, or its frame.
    against : str
        The model compared with, the zero line.
    target : str, optional
        Which of several targets.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        As for `cumulative_gain`.
    """
    gain = cumulative_gain(frame, against=against, target=target)
    axes = _axes(ax)
    cutoffs = _on_axis(gain.index, axes, name="cutoff")
    for model in gain.columns:
        axes.plot(cutoffs, gain[model], label=str(model), linewidth=1.3)
    axes.axhline(0.0, color="0.4", linewidth=0.8)
    axes.set_ylabel(f"{gain.attrs['loss']} loss saved against {against},\nadded up over cutoffs")
    axes.legend(frameon=False, fontsize="small", ncols=2)
    return axes


def plot_forecast(
    forecast: pd.DataFrame,
    history: pd.Series | None = None,
    *,
    label: str = "forecast",
    ax: Any = None,
) -> Any:
    """Draw forecasts of one series, with their widest central interval, behind its history.

    Parameters
    ----------
    forecast : DataFrame
        Rows of a forecast or backtest frame of one series and target, one per time.
    history : Series, optional
        What happened, by time.
    label : str
        Name in the legend.
    ax : Axes, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If a time is repeated, or `history` has several columns.
    """
    time = forecast["time"] if "time" in forecast else forecast.index.get_level_values(-1)
    _one_per_time("forecast", pd.Index(time))
    if history is not None:
        if history.ndim > 1:
            raise fail(
                "history has several columns",
                expected="a Series",
                found=f"columns {list(history.columns)}",
                advice="Choose one of them, e.g. history['close'].",
            )
        _one_per_time("history", history.index.get_level_values(-1))
    axes = _axes(ax)
    if history is not None:
        passed = _on_axis(history.index.get_level_values(-1), axes)
        axes.plot(passed, history, color="0.35", linewidth=1.0)
    time = _on_axis(pd.Index(time), axes)
    (line,) = axes.plot(time, forecast["forecast"], label=label, linewidth=1.6)
    interval = widest_interval(quantile_levels(forecast.columns))
    if interval is not None:
        low, high = (forecast[quantile_column(level)] for level in interval)
        share = f"{100 * (interval[1] - interval[0]):.0f} % interval"
        axes.fill_between(
            time, low, high, color=line.get_color(), alpha=0.2, linewidth=0, label=share
        )
    axes.legend(frameon=False, fontsize="small")
    return axes


def _one_per_time(name: str, time: pd.Index) -> None:
    if time.has_duplicates:
        raise fail(
            f"{name} repeats times",
            expected="one row per time, of one series, target, model and cutoff",
            found=f"{time[time.duplicated()][0]} more than once",
            advice=f"Choose a series with {name}.loc[series], a target with "
            f"{name}[{name}['target'] == 'close'], or rows of a backtest frame.",
        )


def _on_axis(time: pd.Index, axes: Any, *, name: str = "") -> pd.Index:
    """Give times that matplotlib can draw: elapsed time as hours, which the axis then says."""
    if isinstance(time, pd.TimedeltaIndex):
        time, name = time / pd.Timedelta(hours=1), f"{name} (hours)" if name else "hours"
    if name:
        axes.set_xlabel(name)
    return time


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "plots need matplotlib: expected it to be installed, found it missing. Run pip install "
            '"tsforecast[plot]".'
        ) from None
    return plt.subplots(figsize=(8, 4), layout="constrained")[1]
