"""Pictures of risks, alarms and patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from tsforecast._checks import DataError, bad_parameter, choice, fail, first
from tsforecast.backtesting.alarms import AlarmPolicy
from tsforecast.data.early_warning import news2, news2_inputs
from tsforecast.data.panel import as_panel, only_series
from tsforecast.data.vitals import vital_of
from tsforecast.insight._drawing import (
    GREY,
    axes_of,
    coordinates,
    legend,
    marked,
    model_styles,
    named,
    panels,
    percent_axis,
    table_of,
    tidy,
    time_axis,
    told_apart,
)

__all__ = [
    "patient_timeline",
    "plot_decision_curve",
    "plot_patient",
    "plot_recall",
    "plot_reliability",
]

_MOST_VITALS = 6
_MOST_BANDS = 3  # more lie on each other
_MOST_ALARMS = 20  # whose lines leave the vital signs to be seen
_FREE = ("treat all", "treat none")
_NEWS2_URGENT, _NEWS2_EMERGENCY = 5, 7  # RCP 2017, chart 2
_RISK, _ALARM, _EVENT = "#0072B2", "#D55E00", "#000000"


# Judging risks


def plot_reliability(
    table: pd.DataFrame, *, scale: Literal["root", "linear"] = "root", ax: Any = None
) -> Any:
    """Draw `reliability`: the rate of events against the risk, with its intervals.

    Parameters
    ----------
    table : DataFrame
        From `reliability`.
    scale : {"root", "linear"}
        Of both axes. Most risks are low: on axes of square roots they are told apart.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none of `reliability`.
    ValueError
        If `scale` is none of both.

    Notes
    -----
    Above the diagonal events are more frequent than was said, below it rarer. The axes end where
    risks and rates do, not at 100 %.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> frame = pd.DataFrame({"risk": [0.1] * 10 + [0.6] * 5, "event": [0] * 9 + [1] * 4 + [0] * 2})
    >>> axes = plot_reliability(tsf.reliability(frame, n_bins=2))
    >>> axes.get_xlabel(), axes.get_ylabel()
    ('mean risk', 'rows with the event (95 % interval)')
    """
    needed = ["model", "risk", "observed", "low", "high"]
    table = table_of(table, needed, "reliability(result.frame)")
    choice("scale", scale, ("root", "linear"))
    axes = axes_of(ax, size=(6.2, 4.6))
    tidy(axes, grid="both")
    figures = table[["risk", "observed", "high"]].to_numpy(dtype=float)
    most = min(1.0, 1.04 * float(np.nanmax(figures)))
    most = most if most > 0 else 1.0
    axes.plot([0, most], [0, most], color=GREY, linewidth=0.8)
    models = list(table["model"].unique())
    called = told_apart(models)
    for model, style in model_styles(models).items():
        part = table[table["model"] == model]
        line = marked(style, len(part))
        axes.plot(part["risk"], part["observed"], label=called[model], linewidth=1.2, **line)
        axes.vlines(
            part["risk"], part["low"], part["high"], color=style["color"], linewidth=1.0, alpha=0.6
        )
    for axis in (axes.xaxis, axes.yaxis):
        percent_axis(axis)
    if scale == "root":
        _to_the_root(axes, most)
    axes.set(xlim=(0, most), ylim=(0, most))
    axes.set_xlabel("mean risk")
    axes.set_ylabel("rows with the event (95 % interval)")
    legend(axes)
    return axes


def _to_the_root(axes: Any, most: float) -> None:
    """Axes of square roots, which spread what lies near zero and have a zero."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    at = np.array([0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0])
    apart = np.sqrt(at[at <= most]) / np.sqrt(most)
    kept = [0.0]
    for place, level in zip(apart[1:], at[1:]):
        if place - np.sqrt(kept[-1] / most) >= 0.09:
            kept.append(float(level))
    for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        set_scale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0.0)), np.square))
        axis.set_major_locator(FixedLocator(kept))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g} %"))


def plot_decision_curve(table: pd.DataFrame, *, ax: Any = None) -> Any:
    """Draw `net_benefit`: what acting on the risk is worth, beside treating all and none.

    Parameters
    ----------
    table : DataFrame
        From `net_benefit`, with its columns ``treat all`` and ``treat none``.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none of `net_benefit`.

    Notes
    -----
    A model is of use at the thresholds at which its line is the highest. What lies far below zero
    is cut off.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": list("abcd"), "time": 0, "risk": [0.1, 0.8, 0.3, 0.6],
    ...     "event": [0.0, 1.0, 0.0, 1.0], "eligible": True, "at_risk": True,
    ...     "hours_to_event": 1.0})
    >>> axes = plot_decision_curve(tsf.net_benefit(frame, [0.2, 0.5, 0.7]))
    >>> [line.get_label() for line in axes.lines]
    ['m', 'treat all', 'treat none']
    """
    maker = "net_benefit(result.frame, thresholds)"
    table = pd.DataFrame(table_of(table, ["threshold", *_FREE], maker))
    axes = axes_of(ax)
    tidy(axes)
    models = [name for name in table.columns if name not in _FREE]
    called = told_apart([*models, *_FREE])
    for name, style in model_styles([*models, *_FREE]).items():
        line = marked(style, len(table), few=12 if name in models else 0)
        width = 1.4 if name in models else 1.0
        axes.plot(table.index, table[name], label=called[name], linewidth=width, **line)
    highest = float(table.to_numpy(dtype=float).max())
    highest = highest if highest > 0 else 0.01
    axes.set_ylim(-0.25 * highest, 1.06 * highest)
    used = table.index[(table[models].abs() > 1e-3 * highest).any(axis=1)]
    if len(used) and len(table) > 1:  # beyond that no model acts on anybody
        axes.set_xlim(table.index.min(), min(1.1 * used.max(), table.index.max()))
    percent_axis(axes.xaxis)
    axes.set_xlabel("threshold: the risk from which one acts")
    axes.set_ylabel("net benefit\n(true positives per row judged)")
    legend(axes)
    return axes


def plot_recall(
    table: pd.DataFrame, *, value: Literal["recall", "precision"] = "recall", ax: Any = None
) -> Any:
    """Draw `recall_curve`: the share of events caught against the burden of alarms.

    Parameters
    ----------
    table : DataFrame
        From `recall_curve`.
    value : {"recall", "precision"}
        Share of events caught, or of alarms that are true.
    ax : Axes or Figure, optional
        Default: a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the table is none of `recall_curve`, or no budget is within reach or raises an alarm.
    ValueError
        If `value` is none of both.

    Notes
    -----
    Compare models at one burden, the one that a ward can bear: the alarms that were raised, of
    which a model of few distinct risks may raise fewer than its budget allows. Budgets out of reach
    are left out, and those at which no alarm was raised; bands (95 %) are drawn for up to three
    models.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": "a", "time": range(6), "risk": [0.6, 0.1, 0.2, 0.7, 0.8, 0.9],
    ...     "event": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], "eligible": True, "at_risk": True,
    ...     "hours_to_event": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]})
    >>> policy = tsf.AlarmPolicy(silence="3h")
    >>> axes = plot_recall(tsf.recall_curve(frame, policy, budgets=[4, 8], n_boot=0))
    >>> axes.get_xlabel()
    'alarms per patient-day'
    """
    choice("value", value, ("recall", "precision"))
    maker = "recall_curve(result.frame, policy)"
    bounds = [f"{value}_low", f"{value}_high"]
    burden = "alarms_per_day"
    needed = ["model", "budget", burden, value, *bounds]
    flat = pd.DataFrame(table_of(table, needed, maker)).reset_index()
    models = list(flat["model"].unique())
    flat = flat[flat[value].notna() & (flat[burden] > 0)]
    if len(flat) == 0:
        raise fail(
            "no budget is within reach",
            expected="budgets that the policy can meet, by one alarm or more",
            found=f"{first(table.index.get_level_values('budget').unique())}",
            advice="Make the table with other budgets=, or a shorter silence.",
        )
    axes = axes_of(ax, size=(7.0, 4.0))
    tidy(axes)
    called = told_apart(models)
    for model, style in model_styles(models).items():
        part = flat[flat["model"] == model].sort_values(burden)
        if len(part) == 0:
            continue
        line = marked(style, len(part))
        axes.plot(part[burden], part[value], label=called[model], linewidth=1.4, **line)
        if len(models) <= _MOST_BANDS and part[bounds].notna().to_numpy().any():
            low, high = (part[name].to_numpy(dtype=float) for name in bounds)
            axes.fill_between(
                part[burden], low, high, color=style["color"], alpha=0.13, linewidth=0
            )
    _burdens(axes, np.unique(flat["budget"].to_numpy(dtype=float)))
    percent_axis(axes.yaxis)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("alarms per patient-day")
    axes.set_ylabel("events caught" if value == "recall" else "alarms that are true")
    legend(axes)
    return axes


def _burdens(axes: Any, budgets: Any) -> None:
    """Budgets from .1 to 2 a day are told apart on a logarithmic axis, where each is named."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if len(budgets) < 2:
        axes.set_xlim(0.0, 1.5 * axes.get_xlim()[1])
    if len(budgets) < 2 or budgets[-1] / budgets[0] < 3:
        return
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    if len(budgets) <= 9:
        axes.xaxis.set_major_locator(FixedLocator(budgets.tolist()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


# A patient


def patient_timeline(
    panel: pd.DataFrame,
    risks: pd.DataFrame,
    series: Any = None,
    *,
    model: str | None = None,
    vitals: Sequence[Hashable] | None = None,
    policy: AlarmPolicy | None = None,
) -> pd.DataFrame:
    """Set a patient's vital signs, NEWS2, risk, alarms and event side by side, row by row.

    Parameters
    ----------
    panel : DataFrame
        A panel with the vital signs.
    risks : DataFrame
        An event frame (of `backtest_events` or `event_frame`), or what ``predict_risk(panel)``
        gives: of the latter no event is known.
    series : label, optional
        The patient's stay. May be left out where there is one.
    model : str, optional
        Whose risk, of an event frame of several models.
    vitals : sequence of column names, optional
        Default: the columns from which NEWS2 is read, else the first six of numbers.
    policy : AlarmPolicy, optional
        What turns risks into alarms; with a threshold. Default: no alarms.

    Returns
    -------
    DataFrame
        Index: time, the name of its level kept. Columns: the vital signs; ``NEWS2``, where one of
        its inputs is known, a lower bound; ``risk``; ``at_risk``; ``alarm``; ``event``, true at
        the time of an event. ``attrs["vitals"]`` names the first of these, ``attrs["series"]``
        the stay, and ``attrs["threshold"]`` is that of the policy, or None.

    Raises
    ------
    DataError
        If the risks are none, or have no row of the stay.
    ValueError
        If there is no such stay, model or column, or the policy has no threshold.

    Notes
    -----
    NEWS2 is there to compare with: whether the risk rose before it did. It counts values for 24
    hours and what is not measured as normal, see `news2_points`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> stays = tsf.make_vitals(20, 48, random_state=0)
    >>> question = {"event": "deterioration", "horizon": "6h", "step": "1h"}
    >>> model = tsf.LastValue(["heart_rate"], **question).fit(stays.loc[:"P009"])
    >>> frame = tsf.event_frame(model, stays.loc["P010":])
    >>> timeline = patient_timeline(stays, frame, "P014", policy=tsf.AlarmPolicy(0.1))
    >>> timeline.loc[timeline["event"], ["heart_rate", "NEWS2", "alarm"]]
                     heart_rate  NEWS2  alarm
    hours
    1 days 08:00:00        84.0    1.0  False
    """
    panel = as_panel(panel)
    several = isinstance(panel.index, pd.MultiIndex)
    if several and series is None:
        names = panel.index.get_level_values(0).unique()
        if len(names) > 1:
            raise bad_parameter(
                "series",
                expected=f"one of the {len(names):,} stays, such as {names[0]!r}",
                found=None,
            )
        series = names[0]
    stay = only_series(panel, series) if several else panel
    chosen = _vitals(stay, vitals)
    own, name = _risks_of(risks, series, model)
    time = stay.index.get_level_values(-1)
    timeline = stay[chosen].set_axis(time)
    timeline = timeline.reindex(time.union(own.index).union(own.attrs["events"]))
    try:
        score = news2(stay).set_axis(time)
        timeline["NEWS2"] = score.reindex(timeline.index)
    except DataError:  # none of its inputs
        timeline["NEWS2"] = np.nan
    timeline["risk"] = own["risk"].reindex(timeline.index)
    timeline["at_risk"] = own["at_risk"].reindex(timeline.index, fill_value=False)
    timeline["alarm"] = False
    threshold = None
    if policy is not None:
        threshold = policy._threshold_of(name)
        timeline.loc[own.index[_alarms(own, policy, threshold)], "alarm"] = True
    timeline["event"] = timeline.index.isin(own.attrs["events"])
    timeline.index.name = panel.index.names[-1]
    timeline.attrs = {"vitals": chosen, "series": series, "threshold": threshold}
    return timeline


def _vitals(stay: pd.DataFrame, vitals: Sequence[Hashable] | None) -> list[Hashable]:
    """The columns to be shown."""
    numbers = [name for name in stay.columns if pd.api.types.is_numeric_dtype(stay[name].dtype)]
    if vitals is not None:
        if isinstance(vitals, str) or not isinstance(vitals, Sequence):
            raise bad_parameter("vitals", expected="a list of columns", found=vitals)
        if unknown := [name for name in vitals if name not in numbers]:
            raise bad_parameter(
                "vitals", expected=f"columns of numbers, among {numbers}", found=unknown[0]
            )
        return list(vitals)
    try:
        read = [name for columns in news2_inputs(stay).values() for name in columns[:1]]
    except DataError:
        read = []
    known: list[Hashable] = [name for name in read if name in numbers]
    return (known or [*numbers])[:_MOST_VITALS]


def _risks_of(
    risks: pd.DataFrame, series: Any, model: str | None
) -> tuple[pd.DataFrame, str | None]:
    """The risks of a stay by time, with the times of its events in the attrs; and the model."""
    if not isinstance(risks, pd.DataFrame) or "risk" not in risks:
        raise fail(
            "no risks",
            expected="an event frame, or what predict_risk gives, with a column risk",
            found=f"{first(risks.columns) if isinstance(risks, pd.DataFrame) else type(risks)}",
            advice="Make it by event_frame(model, panel) or model.predict_risk(panel).",
        )
    if "model" not in risks:
        own = risks
        if isinstance(risks.index, pd.MultiIndex):
            own = only_series(risks, series)
        at_risk = own["risk"].notna().to_numpy()
        own = pd.DataFrame({"risk": own["risk"].to_numpy(), "at_risk": at_risk}).set_axis(
            own.index.get_level_values(-1)
        )
        own.attrs["events"] = own.index[:0]
        return own, model
    models = list(risks["model"].unique())
    if model is None and len(models) == 1:
        model = models[0]
    if model not in models:
        raise bad_parameter("model", expected=f"one of the models {models}", found=model)
    rows = risks[(risks["model"] == model) & (risks["series"] == (0 if series is None else series))]
    if len(rows) == 0:
        raise fail(
            "no risks of this stay",
            expected="rows of the event frame",
            found=f"none among {risks['series'].nunique():,} stays, such as "
            f"{first(risks['series'].unique(), shown=3)}",
            advice="Choose one that was judged.",
            series=series,
        )
    rows = rows.sort_values("time")
    time = pd.Index(rows["time"])
    own = rows[["risk", "at_risk"]].set_axis(time)
    timed = rows["at_risk"].to_numpy(dtype=bool) & np.isfinite(rows["hours_to_event"].to_numpy())
    ahead = rows["hours_to_event"].to_numpy()[timed]
    if isinstance(time, pd.DatetimeIndex | pd.TimedeltaIndex):
        # to the second: hours such as 1/3 are no whole number of ticks
        at = (time[timed] + pd.to_timedelta(np.round(3600 * ahead), unit="s")).as_unit(time.unit)
    else:
        at = pd.Index((time[timed] + np.round(ahead)).astype(time.dtype))
    own.attrs["events"] = at.unique()
    return own, str(model)


def _alarms(own: pd.DataFrame, policy: AlarmPolicy, threshold: float) -> Any:
    """Where the policy raises an alarm, decided row by row, as it is live."""
    policy, state = replace(policy, threshold=threshold), None
    found = np.zeros(len(own), dtype=bool)
    for row, (time, risk, at_risk) in enumerate(zip(own.index, own["risk"], own["at_risk"])):
        if at_risk:
            found[row], state = policy.step(state, float(risk), time)
    return found


def plot_patient(timeline: pd.DataFrame, *, ax: Any = None) -> Any:
    r"""Draw `patient_timeline`: vital signs, NEWS2, risk and alarms, one below the other.

    Parameters
    ----------
    timeline : DataFrame
        From `patient_timeline`.
    ax : array of Axes or Figure, optional
        As many Axes as there are vital signs, one for NEWS2 where it is known, and one for the
        risk. Default: a new figure.

    Returns
    -------
    ndarray of Axes, shape (n_panels,)
        The last one is that of the risk.

    Raises
    ------
    DataError
        If the timeline is none of `patient_timeline`.
    ValueError
        If `ax` cannot be used.

    Notes
    -----
    Values that were measured are marked, and joined where nothing lies between them, as risks are.
    A dashed line from top to bottom is an event; a triangle is an alarm, with a thin line through
    all panels where there are no more than 20. The risk is grey where the patient was not at risk
    (in or after an event). Dotted lines in the panel of NEWS2 are 5 (urgent review) and 7
    (emergency), of the chart of 2017.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> stays = tsf.make_vitals(20, 48, random_state=0)
    >>> question = {"event": "deterioration", "horizon": "6h", "step": "1h"}
    >>> model = tsf.LastValue(["heart_rate"], **question).fit(stays.loc[:"P009"])
    >>> frame = tsf.event_frame(model, stays.loc["P010":])
    >>> axes = plot_patient(patient_timeline(stays, frame, "P014", vitals=["heart_rate"]))
    >>> [one.get_ylabel() for one in axes]
    ['heart rate\n(1/min)', 'NEWS2', 'risk']
    """
    needed = ["NEWS2", "risk", "at_risk", "alarm", "event"]
    timeline = table_of(timeline, needed, "patient_timeline(panel, risks, series)")
    vitals = [name for name in timeline.columns if name not in needed]
    scored = bool(timeline["NEWS2"].notna().any())
    n_panels = len(vitals) + scored + 1
    heights = [1.0] * (n_panels - 1) + [1.6]
    drawn = panels(ax, n_panels, size=(8.0, 1.2 + 0.85 * n_panels), share_x=True, heights=heights)
    drawn = drawn[:, 0]
    at = np.asarray(coordinates(timeline.index))
    for axes in drawn:
        tidy(axes)
        axes.yaxis.set_major_locator(_few_ticks())
    for axes, name in zip(drawn, vitals):
        values = timeline[name].to_numpy(dtype=float)
        known = np.isfinite(values)
        dense = int(known.sum()) > 1000
        style = {"color": "0.45" if dense else "0.25", "marker": "."}
        line = marked(style, int(known.sum()), few=150)
        axes.plot(at[known], values[known], linewidth=0.5 if dense else 0.9, **line)
        axes.set_ylabel(_vital_label(name), rotation=0, ha="right", va="center", fontsize="small")
    if scored:
        _draw_news2(drawn[len(vitals)], at, timeline["NEWS2"].to_numpy(dtype=float))
    _draw_risk(drawn[-1], at, timeline)
    events = at[timeline["event"].to_numpy(dtype=bool)]
    alarms = at[timeline["alarm"].to_numpy(dtype=bool)]
    for axes in drawn:
        for alarm in alarms if len(alarms) <= _MOST_ALARMS else ():
            axes.axvline(alarm, color=_ALARM, linewidth=0.9, zorder=0)
        for number, event in enumerate(events):
            label = "event" if number == 0 and axes is drawn[-1] else None
            axes.axvline(event, color=_EVENT, linewidth=1.3, linestyle=(0, (6, 2)), label=label)
        if axes is not drawn[-1]:
            axes.tick_params(labelbottom=False)
    since = isinstance(timeline.index, pd.TimedeltaIndex)
    time_axis(drawn[-1], timeline.index, name="since admission" if since else "")
    _legend_below(drawn[-1])
    return drawn


def _legend_below(axes: Any) -> None:
    """Name the lines below: beside one panel, a legend would take width from all of them."""
    figure = axes.figure
    if figure.get_layout_engine() is None:  # nobody would make room for it
        legend(axes)
        return
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize="small",
        handlelength=2.6,
    )


def _draw_news2(axes: Any, at: Any, score: Any) -> None:
    known = np.isfinite(score)  # rows of risks alone have none
    line = marked({"color": "0.25" if len(at) <= 1000 else "0.45"}, len(at), few=1)
    width = 1.1 if len(at) <= 1000 else 0.5
    axes.step(at[known], score[known], where="post", linewidth=width, **line)
    for level in (_NEWS2_URGENT, _NEWS2_EMERGENCY):
        axes.axhline(level, color=GREY, linewidth=0.8, linestyle=(0, (1, 1.5)))
    axes.set_ylim(0, max(9.0, float(np.nanmax(score)) + 1))
    axes.set_yticks([0, _NEWS2_URGENT, _NEWS2_EMERGENCY])
    axes.grid(visible=False)
    axes.set_ylabel("NEWS2", rotation=0, ha="right", va="center", fontsize="small")


def _draw_risk(axes: Any, at: Any, timeline: pd.DataFrame) -> None:
    risk = timeline["risk"].to_numpy(dtype=float)
    known = np.isfinite(risk)  # rows of vital signs alone have none
    at_risk = timeline["at_risk"].to_numpy(dtype=bool)[known]
    own = np.where(at_risk, risk[known], np.nan)
    line = marked({"color": _RISK}, int(known.sum()), few=12, values=own)
    width = 1.5 if len(at) <= 1000 else 0.8
    if not at_risk.all():
        axes.plot(at[known], risk[known], color="0.7", linewidth=1.0, label="not at risk")
    axes.plot(at[known], own, linewidth=width, label="risk", **line)
    threshold = timeline.attrs.get("threshold")
    if threshold is not None:
        axes.axhline(
            threshold, color=GREY, linewidth=0.9, linestyle=(0, (1, 1.5)), label="threshold"
        )
    alarm = timeline["alarm"].to_numpy(dtype=bool)
    if alarm.any():
        axes.plot(
            at[alarm],
            risk[alarm],
            linestyle="none",
            marker="v",
            markersize=8,
            color=_ALARM,
            markeredgecolor="black",
            markeredgewidth=0.6,
            label="alarm",
        )
    percent_axis(axes.yaxis)
    top = np.nanmax(np.append(risk, threshold or 0.0))
    axes.set_ylim(0, 1.15 * top if np.isfinite(top) and top > 0 else 1.0)
    axes.set_ylabel("risk", rotation=0, ha="right", va="center", fontsize="small")


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=3, steps=[1, 2, 5, 10])


def _vital_label(name: Hashable) -> str:
    known = vital_of(name)
    words = named(str(name).replace("_", " ").strip())
    return f"{words}\n({known.unit})" if known is not None and known.unit else words
