"""Pictures of forecasts and backtests; each draws a public frame and returns its Axes.

Functions that draw take a frame and `ax`: Axes, as many as they need, or a Figure to be filled, or
None for a new figure of pyplot, which a notebook shows. None of them calls `show`. Lines differ in
colour (of Okabe and Ito, for all kinds of sight) and in kind, so that they are told apart in grey.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, first, positive_int
from tsforecast.backtesting._shared import ROW, refuse_repeated
from tsforecast.backtesting.skill import Loss, diebold_mariano, holm, loss_table, row_losses
from tsforecast.insight._drawing import (
    GREY,
    axes_of,
    backtest_rows,
    backtest_table,
    coordinates,
    legend,
    lone,
    marked,
    model_styles,
    named,
    one_of,
    one_per_time,
    rows_of_target,
    styles,
    table_of,
    tidy,
    time_axis,
    told_apart,
)
from tsforecast.metrics import (
    quantile_column,
    quantile_levels,
    scored_rows,
)

__all__ = [
    "cumulative_gain",
    "plot_backtest",
    "plot_error_by_step",
    "plot_forecast",
    "plot_skill_matrix",
    "skill_matrix",
]

_ALPHA = 0.05
_FEW_INTERVALS = 6  # each of which the legend names
_WRITTEN = 12  # models up to which the cells of a matrix are written out
# ratios of losses that have the deepest colour: what differs most, between these
_LEAST_RATIO, _MOST_RATIO = 1.02, 2.0


# Forecasts


def plot_forecast(
    forecast: pd.DataFrame,
    history: pd.Series | None = None,
    *,
    label: str = "forecast",
    last: int | None = None,
    ax: Any = None,
) -> Any:
    """Draw forecasts of one series as a fan, behind its history and beside what happened.

    The frame is its own table: what is drawn are its columns.

    Parameters
    ----------
    forecast : DataFrame
        Rows of a forecast or backtest frame of one series and target, one per time. Every pair of
        quantiles p and 1 - p is a shade of the fan; the column `actual`, where there is one, is
        what happened.
    history : Series, optional
        What happened before, by time.
    label : str
        Name in the legend.
    last : int, optional
        Rows that are drawn, the newest ones, of history and forecasts each. Default: all forecasts,
        and a history ten times as long, of at least 100 rows, so that the fan stays to be seen.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If `forecast` has no column `forecast` or no rows, a time is repeated, or `history` has
        several columns.
    ValueError
        If `last` or `ax` cannot be used.

    Notes
    -----
    How it misleads. Forecasts of a price level one step ahead, drawn over the prices, lie on them
    whoever made them: that is no evidence. `plot_backtest` shows who gained on the naive forecast.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 80, random_state=0)
    >>> ahead = tsf.Naive(target="close", horizon=5).fit(panel).predict()
    >>> axes = plot_forecast(ahead, panel["close"])
    >>> axes.get_ylabel(), len(axes.collections)        # 9 quantiles make 4 shades
    ('close', 4)
    """
    forecast = table_of(forecast, ["forecast"], "model.predict().loc[series]")
    time = forecast["time"] if "time" in forecast else forecast.index.get_level_values(-1)
    time = pd.Index(time)
    one_per_time("forecast", time)
    if history is not None:
        if not isinstance(history, pd.Series):
            table = isinstance(history, pd.DataFrame)
            raise fail(
                "history has several columns" if table else "history cannot be drawn",
                expected="a Series",
                found=f"columns {list(history.columns)}" if table else type(history).__name__,
                advice="Choose a column of a panel, e.g. panel.loc[series, 'close'].",
            )
        one_per_time("history", history.index.get_level_values(-1))
    if last is not None:
        forecast = forecast.iloc[-positive_int("last", last) :]
        time = time[-last:]
    last = max(100, 10 * len(forecast)) if last is None else last
    axes = axes_of(ax)
    tidy(axes)
    times = [time]
    if history is not None and len(history) > 0:
        history = history.iloc[-last:]
        passed = history.index.get_level_values(-1)
        times.insert(0, passed)
        axes.plot(
            coordinates(passed),
            history,
            label="history",
            linewidth=1.0,
            **marked({"color": "0.25", "marker": "."}, len(passed), few=3, values=history),
        )
    at = coordinates(time)
    ((_, style),) = styles([label]).items()
    _fan(axes, at, forecast, style["color"])
    width = 1.6 if len(at) <= 300 else 0.8
    middle = forecast["forecast"]
    line = marked(style, len(at), few=12, values=middle)
    axes.plot(at, middle, label=named(label), linewidth=width, **line)
    if middle.isna().all():
        words = f"{named(label)}: all values are missing"
        axes.text(0, 1.01, words, transform=axes.transAxes, va="bottom", color="0.25")
    if "actual" in forecast and forecast["actual"].notna().any():
        actual = forecast["actual"]
        line = marked({"color": "0.0", "marker": "x"}, len(at), few=40, values=actual)
        line |= {"linestyle": "none"} if len(at) <= 40 else {}
        axes.plot(at, actual, linewidth=0.6 * width, label="what happened", **line)
    time_axis(axes, times[0].append(times[1:]))
    targets = list(forecast["target"].unique()) if "target" in forecast else []
    if len(targets) == 1 and not axes.get_ylabel():
        axes.set_ylabel(named(targets[0]))
    legend(axes)
    return axes


def _fan(axes: Any, at: Any, forecast: pd.DataFrame, colour: str) -> None:
    """Shade every central interval; they lie on each other, so that the middle is darkest."""
    names = {level: quantile_column(level) for level in quantile_levels(forecast.columns)}
    # other models of a backtest may have others
    levels = [level for level, name in names.items() if forecast[name].notna().any()]
    pairs = [
        (low, high)
        for low in levels
        for high in levels
        if low < 0.5 and abs(low + high - 1.0) < 1e-9
    ]
    shade = 0.2 if len(pairs) == 1 else min(0.14, 1 - 0.4 ** (1 / max(len(pairs), 1)))
    for number, (low, high) in enumerate(pairs):
        # one entry for the whole fan: the widest says what the rest are
        words = _intervals([100 * (high - low) for low, high in pairs])
        below, above = (forecast[names[level]].to_numpy(dtype=float) for level in (low, high))
        look = {"color": colour, "alpha": shade, "label": words if number == 0 else None}
        axes.fill_between(at, below, above, linewidth=0, **look)
        if alone := lone(above - below):  # an area of one point is not seen
            axes.vlines(
                at[alone], below[alone], above[alone], linewidth=6, **look | {"label": None}
            )


def _intervals(shares: list[float]) -> str:
    """Name the intervals of a fan, the widest of which comes first."""
    widest, *others = (f"{share:.5g}" for share in shares)
    if not others:
        return f"{widest} % interval"
    if len(shares) > _FEW_INTERVALS:
        return f"{len(shares)} intervals,\n{others[-1]} to {widest} %"
    return f"{', '.join(others[::-1])} and\n{widest} % intervals"


# Backtests


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
        `against` less the model's, on rows that both have; NaN at cutoffs without any. Rising
        lines gain, flat ones do not. The loss is that of `skill` (the quantile loss where all
        models give quantiles, the squared error of probabilities, else the absolute one);
        ``attrs["loss"]`` is its name.

    Raises
    ------
    DataError
        If this is no backtest, no outcome is known, a model has no row in common with `against`,
        or rows are repeated.
    ValueError
        If `against` is no model, or `target` none of the targets or lacking where there are
        several.

    Notes
    -----
    `skill` judges on the rows that all models have. Where one lacks some of them, the others are
    drawn on more rows than they are judged on.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "model": ["a", "a", "naive", "naive"], "series": 0, "time": [1, 2, 1, 2],
    ...     "cutoff": [0, 1, 0, 1], "step": 1, "target": "y",
    ...     "forecast": [2.0, 3.0, 1.0, 1.0], "actual": [2.0, 2.0, 2.0, 2.0]})
    >>> cumulative_gain(frame)["a"].tolist()
    [1.0, 1.0]
    """
    every = backtest_table(frame)
    chosen = backtest_rows(every, target)
    models = list(chosen["model"].unique())
    if against not in models:
        raise bad_parameter("against", expected=f"one of the models {models}", found=against)
    scored_rows(chosen)  # refuses rows without an outcome
    rows = scored_rows(every)
    refuse_repeated(rows)
    name, losses, _ = row_losses(rows, "auto", [])
    rows = rows.assign(loss=losses)[rows["target"] == chosen["target"].iloc[0]]
    wide = rows.pivot(index=ROW, columns="model", values="loss").reindex(columns=models)
    known = wide.notna()
    others = [model for model in models if model != against]
    apart = [model for model in others if not (known[model] & known[against]).any()]
    if apart:
        raise fail(
            f"there is nothing to compare with {against!r}",
            expected=f"forecasts of {first(map(repr, apart))} for rows with an outcome that "
            f"{against!r} has forecast, too",
            found=f"none, and {int(known[against].sum()):,} rows of {against!r}",
            advice="Leave out the models that failed, or backtest all on the same cutoffs.",
        )
    saved = {}
    for model in others:
        both = wide[[against, model]].dropna().groupby(level="cutoff").mean()
        saved[model] = both[against] - both[model]
    gain = pd.DataFrame(saved, columns=pd.Index(others, name="model")).cumsum()
    gain.attrs["loss"] = name
    return gain


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
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If there is no other model, and as for `cumulative_gain`.
    ValueError
        As for `cumulative_gain`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 80, random_state=0)
    >>> result = tsf.backtest(tsf.Drift(target="close"), panel, tsf.RollingOrigin(20), refit=False)
    >>> plot_backtest(result).get_xlabel()
    'cutoff'
    """
    gain = cumulative_gain(frame, against=against, target=target)
    if gain.empty:
        raise fail(
            "nobody to compare with",
            expected=f"models beside {against!r}",
            found="none",
            advice="Backtest them together: backtest({...}, panel).",
        )
    axes = axes_of(ax)
    tidy(axes)
    look, called = model_styles([*gain.columns, against]), told_apart(gain.columns)
    for model in gain.columns:
        known = gain[model].dropna()
        line = marked(look[model], len(known), few=12)
        axes.plot(coordinates(known.index), known, label=called[model], linewidth=1.3, **line)
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    time_axis(axes, gain.index, name="cutoff")
    saved = f"{gain.attrs['loss']} loss saved against {named(against).strip()},"
    axes.set_ylabel(f"{saved}\nadded up over cutoffs")
    legend(axes)
    return axes


def plot_error_by_step(
    table: pd.DataFrame,
    metric: str = "mae",
    *,
    relative_to: str | None = None,
    target: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw a metric by step of the horizon.

    Parameters
    ----------
    table : DataFrame
        ``result.metrics("step")``, or ``evaluate(frame, by="step")``.
    metric : str
        One of its columns.
    relative_to : str, optional
        A model, by whose metric at the same step that of the others is divided: of levels, whose
        errors all grow with the step, lines are else hard to tell apart. Below 1 is better.
    target : str, optional
        Which of several targets.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is not one by step.
    ValueError
        If there is no such metric, model or target.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 80, random_state=0)
    >>> models = {"drift": tsf.Drift(target="close", horizon=3)}
    >>> result = tsf.backtest(models, panel, tsf.RollingOrigin(20), refit=False)
    >>> axes = plot_error_by_step(result.metrics("step", metrics=["mae"]), relative_to="naive")
    >>> axes.get_ylabel()
    'mae over that of naive'
    """
    maker = 'result.metrics("step")'
    flat = table_of(table, ["model", "step"], maker).reset_index()
    if "target" in flat:
        flat = rows_of_target(flat, target)
    metrics = [name for name in table.columns if name != "n"]
    choice("metric", metric, metrics)
    if flat.duplicated(["model", "step"]).any():
        raise fail(
            "a step is repeated",
            expected="one row for each model and step",
            found=f"rows by {list(table.index.names)}",
            advice=f"Make the table by {maker}.",
        )
    wide = flat.pivot(index="step", columns="model", values=metric)
    look = model_styles(wide.columns)
    if relative_to is not None:
        choice("relative_to", relative_to, list(wide.columns))
        wide = wide.div(wide[relative_to], axis=0).drop(columns=relative_to)
    axes = axes_of(ax)
    tidy(axes)
    called = told_apart(wide.columns)
    for model in wide.columns:
        line = marked(look[model], len(wide))
        axes.plot(wide.index, wide[model], label=called[model], linewidth=1.3, **line)
    if relative_to is not None:
        axes.axhline(1.0, color=GREY, linewidth=0.8)
    time_axis(axes, wide.index, name="step ahead (rows)")
    unit = ", in the target's unit" if metric in ("mae", "rmse", "crps", "width") else ""
    over = f"{metric} over that of {named(relative_to).strip()}"
    axes.set_ylabel(over if relative_to is not None else f"{metric}{unit}")
    legend(axes)
    return axes


# Everybody against everybody


def skill_matrix(
    frame: Any, *, loss: Loss = "auto", step: int | None = None, target: str | None = None
) -> pd.DataFrame:
    """Test of every model whether its loss is lower than that of every other one.

    Parameters
    ----------
    frame : Backtest or DataFrame
        A backtest of two models or more, or its frame. In-sample rows are left out.
    loss : {"auto", "absolute", "squared", "quantile", "qlike"}
        As for `skill`. With ``"quantile"`` models that give no quantiles are left out.
    step : int, optional
        One step of the horizon. Default: the mean over all.
    target : str, optional
        Which of several targets.

    Returns
    -------
    DataFrame
        A row for each ordered pair, models in order of their loss; columns ``model, against``;
        ``ratio`` of the two mean losses, below 1 where the model is better; ``dm`` and ``p``, the
        statistic of Diebold and Mariano and its one-sided p-value of "the model is better" (NaN
        with too few origins, see `diebold_mariano`); ``p_holm``, adjusted for all pairs.
        ``attrs["loss"]`` is the name of the loss.

    Raises
    ------
    DataError
        If this is no backtest, or one of one model, or the losses cannot be compared.
    ValueError
        If a parameter cannot be used.

    Notes
    -----
    `skill` asks one question of each model, against the best baseline; this asks all at once, and
    its adjustment is the harder one. Losses are averaged over series within a cutoff.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 120, random_state=0)
    >>> models = {"drift": tsf.Drift(target="close"), "ewma": tsf.EWMA(target="close")}
    >>> result = tsf.backtest(models, panel, tsf.RollingOrigin(60), refit=False)
    >>> skill_matrix(result)[["model", "against", "ratio"]].round(2).head(2)
      model against  ratio
    0  ewma   naive   1.00
    1  ewma   drift   0.94
    """
    rows = scored_rows(backtest_rows(frame, target))
    if step is not None:
        rows = one_of(rows, "step", step)
    losses = loss_table(rows, loss=loss)
    models = list(losses.mean().sort_values(kind="stable").index)
    if len(models) < 2:
        raise fail(
            "nobody to compare with",
            expected="two models or more",
            found=f"{models}",
            advice="Backtest them together: backtest({...}, panel).",
        )
    means = losses.mean()
    records = []
    for model in models:
        for other in models:
            if model == other:
                continue
            test = diebold_mariano(losses[model], losses[other], horizon=losses.attrs["overlap"])
            records.append(
                {
                    "model": model,
                    "against": other,
                    "ratio": means[model] / means[other] if means[other] > 0 else np.nan,
                    "dm": test.statistic,
                    "p": test.p_less,
                }
            )
    result = pd.DataFrame(records)
    result["p_holm"] = holm(result["p"])
    result.attrs["loss"] = losses.attrs["loss"]
    return result


def plot_skill_matrix(table: pd.DataFrame, *, alpha: float = _ALPHA, ax: Any = None) -> Any:
    """Draw `skill_matrix`: who loses less than whom, and where that is more than chance.

    Parameters
    ----------
    table : DataFrame
        From `skill_matrix`.
    alpha : float
        A star marks the pairs whose adjusted p-value is below it: the model of the row is better.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none of `skill_matrix`.
    ValueError
        If `alpha` is not between 0 and 1.

    Notes
    -----
    The darker a cell, the less its row loses: a good model has a dark row. Numbers are written out
    for up to twelve models.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 120, random_state=0)
    >>> models = {"drift": tsf.Drift(target="close"), "ewma": tsf.EWMA(target="close")}
    >>> result = tsf.backtest(models, panel, tsf.RollingOrigin(60), refit=False)
    >>> axes = plot_skill_matrix(skill_matrix(result))
    >>> [text.get_text() for text in axes.texts[:2]]
    ['0 %', '-6 %']
    """
    table = table_of(table, ["model", "against", "ratio", "p_holm"], "skill_matrix(result)")
    if not 0 < alpha < 1:
        raise bad_parameter("alpha", expected="a number between 0 and 1", found=alpha)
    models = list(dict.fromkeys(table["model"]))
    size = 1.6 + 0.75 * min(len(models), 12)
    axes = axes_of(ax, size=(size + 1.8, size))
    ratio, p_holm = (
        table.pivot(index="model", columns="against", values=name)
        .loc[models, models]
        .to_numpy(dtype=float)
        for name in ("ratio", "p_holm")
    )
    with np.errstate(divide="ignore"):
        saved = -np.log(ratio)
    known = np.abs(saved[np.isfinite(saved)])
    deep = float(np.clip(known.max(initial=0.0), np.log(_LEAST_RATIO), np.log(_MOST_RATIO)))
    image = axes.imshow(saved, cmap="Blues", vmin=-deep, vmax=deep, aspect="auto")
    for row, column in np.argwhere(np.isfinite(saved)):
        words = [_change(ratio[row, column])] if len(models) <= _WRITTEN else []
        words += ["*"] if p_holm[row, column] < alpha else []
        axes.text(
            column,
            row,
            " ".join(words),
            ha="center",
            va="center",
            fontsize="small",
            color="white" if saved[row, column] > 0.3 * deep else "black",
        )
    names = list(told_apart(models, lines=1).values())
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(models)), names, **turned)
    axes.set_yticks(range(len(models)), names)
    axes.set_xlabel("against")
    axes.set_ylabel(f"{table.attrs.get('loss', '')} loss of".strip().capitalize())
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(image, ax=axes, ticks=[-deep, 0.0, deep], shrink=0.8)
    bar.ax.set_yticklabels([_change(np.exp(ratio)) for ratio in (deep, 0.0, -deep)])
    beside = f"loss of the row\nbeside the column's\n(*: less, p < {alpha:g}\nafter Holm)"
    bar.set_label(beside, fontsize="small")  # no longer than the bar beside few models
    return axes


def _change(ratio: float) -> str:
    """A ratio as the change in percent."""
    return f"{100 * (ratio - 1):+.0f} %".replace("+0 %", "0 %").replace("-0 %", "0 %")
