"""Which variable, over which recent stretch, moved a forecast or a risk."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, positive_int
from tsforecast.data.panel import Floats, Layout, as_cutoffs, as_panel, layout_of, only_series

__all__ = ["attribute"]

_HOUR = pd.Timedelta("1h")


def attribute(
    model: Any,
    panel: pd.DataFrame,
    *,
    series: Any = None,
    cutoff: Any = None,
    columns: Sequence[Hashable] | None = None,
    stretches: Sequence[int] = (1, 3, 12),
    level_rows: int = 24,
    target: Hashable | None = None,
    step: int | None = None,
) -> pd.DataFrame:
    """Say which column, over which last rows, moved the newest forecast or risk, and by how much.

    The last rows of one column are put back to that series' own level just before them, all else
    stays as it was, and the model is asked again. Where the answer falls, the stretch had raised
    it.

    Parameters
    ----------
    model : estimator
        Fitted: any forecaster with ``predict(panel)`` that needs no columns known ahead, or event
        estimator with ``predict_risk(panel)``.
    panel : DataFrame
        A panel with the columns that the model uses.
    series : label or list of labels, optional
        Default: all.
    cutoff : label, optional
        The newest row is the last one at or before it; nothing later is shown to the model.
        Default: the last one.
    columns : sequence of str, optional
        Default: all columns of numbers that vary within a series.
    stretches : sequence of int
        Numbers of last rows to be put back.
    level_rows : int
        The level is the median of the known values in so many rows before the stretch.
    target : str, optional
        Of a forecaster with several targets.
    step : int, optional
        Of a forecaster's horizon, or of the risk's. Default: the last one.

    Returns
    -------
    DataFrame
        A row for each series, column and stretch, the largest effect of a series first; columns
        ``series`` (0 in a panel of one series without a name), ``column``, ``rows`` (of the
        stretch), ``since`` (its first time), ``level`` (before it, in the column's own unit),
        ``recent`` (median of what was known in it), ``answer`` (forecast or risk), ``effect``
        (how much of the answer is due to the stretch, in the same unit) and ``sentence``. A
        stretch with no known value in it, or none before it, has no effect to be asked for: NaN.
        ``attrs["target"]`` is what was asked for, the target or "risk", and ``attrs["step"]`` its
        step, None for the risk of the whole horizon.

    Raises
    ------
    TypeError
        If the model has neither verb.
    ValueError
        If there is no such series, column, target or step, no row at or before the cutoff, or the
        model needs columns known ahead.

    Notes
    -----
    Values that were not measured stay so: only what was known is put back. Effects of several
    columns do not add up to the answer, as they act together; nor are they causes: a respiratory
    rate that is put back is not a patient who breathes more slowly. Of the target of a forecaster
    whose baseline is the last value the effect is mostly that of the baseline.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(1, 60, random_state=0)[["close"]]
    >>> naive = tsf.Naive(target="close").fit(panel)
    >>> frame = attribute(naive, panel, stretches=[3])
    >>> row = frame.iloc[0]
    >>> bool(np.isclose(row["effect"], panel["close"].iloc[-1] - row["level"]))
    True
    """
    positive_int("level_rows", level_rows)
    lengths = [positive_int("stretches", length) for length in _listed("stretches", stretches)]
    panel = as_panel(panel)
    if cutoff is not None:
        time = panel.index.get_level_values(-1)
        panel = panel[time <= _stamp(panel, cutoff)]
        if len(panel) == 0:
            raise bad_parameter("cutoff", expected=f"a time from {time.min()} on", found=cutoff)
    if series is not None:
        panel = only_series(panel, series)
    layout = layout_of(panel)
    names = layout.names()
    chosen = _chosen(panel, layout, columns)
    ask, asked, ahead = _question(model, target, step)
    what = "risk" if hasattr(model, "predict_risk") else f"{asked} {ahead} ahead"
    answer = ask(panel)  # (S,)
    found = []
    for column in chosen:
        values = panel[column].to_numpy(dtype=np.float64)
        for length in lengths:
            changed, level, recent = _put_back(values, layout, length, level_rows)
            effect = np.full(len(names), np.nan)
            if np.isfinite(level).any():
                other = panel.copy(deep=False)
                other[column] = changed
                effect = np.where(np.isfinite(level), answer - ask(other), np.nan)
            begin = np.maximum(layout.stops - length, layout.starts)
            for number, name in enumerate(names):
                found.append(
                    {
                        "series": name,
                        "column": column,
                        "rows": length,
                        "since": layout.time_at(begin[number]),
                        "level": level[number],
                        "recent": recent[number],
                        "answer": answer[number],
                        "effect": effect[number],
                    }
                )
    frame = pd.DataFrame(found)
    place = {name: number for number, name in enumerate(names)}
    order = np.lexsort((-frame["effect"].abs().fillna(-1.0), frame["series"].map(place)))
    frame = frame.iloc[order].reset_index(drop=True)
    spacing = _spacing(layout)
    frame["sentence"] = [_sentence(row, what, spacing) for _, row in frame.iterrows()]
    frame.attrs.update(target=asked, step=ahead)
    return frame


def _listed(name: str, value: Any) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise bad_parameter(name, expected="a list", found=value)
    return list(value)


def _stamp(panel: pd.DataFrame, cutoff: Any) -> Any:
    time = panel.index.get_level_values(-1)
    if isinstance(time, pd.DatetimeIndex) and time.tz is not None:
        with suppress(TypeError, ValueError):  # which `as_cutoffs` tells
            stamp = pd.Timestamp(cutoff)
            cutoff = stamp.tz_localize(time.tz) if stamp.tz is None else stamp
    return as_cutoffs(cutoff, time)[0]


def _chosen(
    panel: pd.DataFrame, layout: Layout, columns: Sequence[Hashable] | None
) -> list[Hashable]:
    numbers = [name for name, kind in zip(panel, panel.dtypes) if isinstance(kind, np.dtype)]
    if columns is not None:
        columns = _listed("columns", columns)
        unknown = [name for name in columns if name not in numbers]
        if unknown:
            raise bad_parameter(
                "columns", expected=f"columns of numbers, among {numbers}", found=unknown[0]
            )
        return columns
    codes = layout.codes()
    groups = panel[numbers].groupby(codes)
    spread = groups.max() - groups.min()
    return [name for name in numbers if (spread[name] > 0).any()]


def _question(
    model: Any, target: Hashable | None, step: int | None
) -> tuple[Any, Hashable, int | None]:
    """A function from a panel to the answer of each series, (S,), its target and its step."""
    if hasattr(model, "predict_risk"):

        def risk(panel: pd.DataFrame) -> Floats:
            frame = model.predict_risk(panel)
            name = "risk" if step is None else f"risk_{step}"
            if name not in frame:
                raise bad_parameter("step", expected="a step within the horizon", found=step)
            return np.asarray(frame[name].to_numpy()[layout_of(panel).stops - 1], np.float64)

        return risk, "risk", step
    if not hasattr(model, "predict") or not hasattr(model, "targets_"):
        raise TypeError(
            "expected a fitted forecaster or event estimator on panels, found "
            f"{type(model).__name__}."
        )
    ahead = getattr(model, "future", None)
    if ahead is not None and len(ahead):
        raise bad_parameter(
            "model",
            expected="a forecaster without columns known ahead",
            found=f"one with future={list(ahead)}",
        )
    output = getattr(model, "output", None)  # of positions, which are no target
    targets = list(model.targets_) if output is None else [output]
    name = targets[0] if target is None else target
    if name not in targets:
        raise bad_parameter("target", expected=f"one of {targets}", found=target)
    number = model.horizon if step is None else positive_int("step", step)
    if number > model.horizon:
        raise bad_parameter("step", expected=f"at most the horizon, {model.horizon}", found=step)

    def forecast(panel: pd.DataFrame) -> Floats:
        frame = model.predict(panel)
        rows = frame[(frame["target"] == name) & (frame["step"] == number)]
        return np.asarray(rows["forecast"].to_numpy(), np.float64)

    return forecast, name, number


def _put_back(
    values: Floats, layout: Layout, length: int, level_rows: int
) -> tuple[Floats, Floats, Floats]:
    """Values (N,) with the last ones at the level before, that level and what they were, (S,)."""
    changed = values.copy()
    level, recent = np.full((2, layout.n_series), np.nan)
    for number, (start, stop) in enumerate(zip(layout.starts, layout.stops)):
        begin = max(int(start), int(stop) - length)
        before = values[max(int(start), begin - level_rows) : begin]
        within = values[begin:stop]
        known = np.isfinite(within)
        if not known.any() or not np.isfinite(before).any():
            continue
        level[number] = np.median(before[np.isfinite(before)])
        recent[number] = np.median(within[known])
        changed[begin:stop] = np.where(known, level[number], within)
    return changed, level, recent


def _spacing(layout: Layout) -> Any:
    """The usual time between two rows; None where rows are numbered."""
    if not isinstance(layout.labels, pd.DatetimeIndex | pd.TimedeltaIndex) or layout.n_rows < 2:
        return None
    inner = np.ones(layout.n_rows, dtype=bool)
    inner[layout.starts] = False
    steps = pd.Series(layout.time).diff()[inner]
    return steps.median() if len(steps) else None


def _sentence(row: pd.Series, what: str, spacing: Any) -> str:
    span = f"{row['rows']} rows" if row["rows"] > 1 else "row"
    if spacing is not None and spacing <= _HOUR:
        hours = row["rows"] * (spacing / _HOUR)
        span = f"{hours:.3g} h" if hours >= 1 else f"{60 * hours:.3g} min"
    said = f"{row['column']} over the last {span}: "
    if not np.isfinite(row["effect"]):
        return said + "not known then, or not before"
    return said + f"{row['level']:.4g} -> {row['recent']:.4g}, {row['effect']:+.3g} {what}"
