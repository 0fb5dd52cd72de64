"""What the parts of a saved object must look like: kinds, shapes, finite numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tsforecast.serving._classes import class_name
from tsforecast.serving._codec import is_tensor

__all__ = [
    "BOOL",
    "EMPTY_INDEX",
    "LABELS",
    "NAMES",
    "NUMBER",
    "WHOLE",
    "Check",
    "Fields",
    "array",
    "check_alarm_state",
    "check_beside",
    "check_combined_rows",
    "check_conformal_rows",
    "check_keys",
    "check_known",
    "check_known_rows",
    "check_layout",
    "check_risk_map",
    "check_rows",
    "check_scores",
    "check_seen",
    "check_sessions",
    "check_statics",
    "check_step",
    "is_a",
    "list_of",
    "named",
    "none_or",
    "of_the_same_kind",
    "positive",
    "require",
]

Check: TypeAlias = Callable[[Any, Any], bool]  # (value, the object so far)
Fields: TypeAlias = dict[str, Any]

_INTS = "int64"
_LARGEST = 2**63


def array(*shape: Any, dtype: str = "float64", finite: bool = True) -> Check:
    """An array of a shape: numbers, functions of the object, or None where any size will do."""

    def check(value: Any, model: Any) -> bool:
        if not isinstance(value, np.ndarray) or str(value.dtype) != dtype:
            return False
        sizes = [size(model) if callable(size) else size for size in shape]
        fits = value.ndim == len(sizes) and all(
            size is None or size == found for size, found in zip(sizes, value.shape)
        )
        return fits and (not finite or dtype != "float64" or bool(np.isfinite(value).all()))

    return check


def positive(*shape: Any) -> Check:
    """An array of finite numbers above 0."""
    return lambda value, model: array(*shape)(value, model) and bool((value > 0).all())


def is_a(*types: type) -> Check:
    return lambda value, model: isinstance(value, types)


def list_of(*types: type, at_least: int = 0) -> Check:
    return lambda value, model: (
        isinstance(value, list)
        and len(value) >= at_least
        and all(isinstance(item, types) for item in value)
    )


def named(*names: str) -> Check:
    """An object of one of these classes, by name: their modules are not loaded for a check."""
    return lambda value, model: class_name(value) in names


def none_or(check: Check) -> Check:
    return lambda value, model: value is None or check(value, model)


BOOL = is_a(bool)
WHOLE: Check = lambda value, model: type(value) is int and 0 <= value < _LARGEST  # noqa: E731
NUMBER: Check = lambda value, model: type(value) in (int, float) and math.isfinite(value)  # noqa: E731
NAMES: Check = lambda value, model: (  # noqa: E731
    isinstance(value, list) and bool(value) and all(isinstance(name, Hashable) for name in value)
)
LABELS: Check = lambda value, model: (  # noqa: E731
    isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1
)
EMPTY_INDEX: Check = lambda value, model: isinstance(value, pd.Index) and len(value) == 0  # noqa: E731


def of_the_same_kind(value: Any, model: Any) -> bool:
    """Whether a time is of the kind of the panel's times."""
    time = model._time_type
    for index, stamp in ((pd.DatetimeIndex, pd.Timestamp), (pd.TimedeltaIndex, pd.Timedelta)):
        if isinstance(time, index):
            return isinstance(value, stamp)
    return type(value) is int


# ------------------------------------------------------------------------------------- records


def require(sound: bool, what: str) -> None:
    if not sound:
        raise ValueError(f"{what} of another kind")


def check_keys(keys: Any, parts: Fields) -> None:
    marks = keys.marks
    require(array(None, dtype="uint64")(marks, None) and isinstance(keys.kind, str), "names")
    require(len(np.unique(marks)) == len(marks), "names")


def check_seen(seen: Any, parts: Fields) -> None:
    times = isinstance(seen.cutoff, pd.Timestamp | pd.Timedelta) or type(seen.cutoff) is int
    require(times, "a time")
    for keys in (seen.series, seen.groups):
        require(keys is None or class_name(keys) == "Keys", "names")


def check_statics(table: Any, parts: Fields) -> None:
    require(isinstance(table.numbers, list) and type(table.categories) is dict, "constants")
    require(array(len(table.numbers))(table.fill, None), "constants")
    require(all(class_name(keys) == "Keys" for keys in table.categories.values()), "constants")


def check_risk_map(found: Any, parts: Fields) -> None:
    require(found.method in ("platt", "temperature", "isotonic", "intercept"), "a map of risks")
    line = NUMBER(found.slope, None) and NUMBER(found.intercept, None) and found.slope >= 0
    require(line and (found.knots is None) == (found.values is None), "a map of risks")
    require((found.knots is None) == (found.method != "isotonic"), "a map of risks")
    if found.knots is not None:
        require(array(None)(found.knots, None) and len(found.knots) > 0, "a map of risks")
        require(array(len(found.knots))(found.values, None), "a map of risks")
        rising = (np.diff(found.knots) >= 0).all() and (np.diff(found.values) >= 0).all()
        within = found.values[0] >= 0 and found.values[-1] <= 1
        require(bool(rising and within), "a map of risks")


def check_alarm_state(state: Any, parts: Fields) -> None:
    times = isinstance(state.times, tuple) and all(
        isinstance(at, pd.Timestamp | pd.Timedelta) or type(at) is int for at in state.times
    )
    require(times and isinstance(state.low, bool), "alarms")


def check_step(step: Any, parts: Fields) -> None:
    offset = step.offset
    require(step.delta is None or isinstance(step.delta, pd.Timedelta | int), "a spacing")
    known = class_name(offset) in ("Sessions", "ExchangeSessions")
    calendar = known or isinstance(offset, pd.offsets.BaseOffset)
    require((offset is None or calendar) and isinstance(step.seen, str), "a spacing")


def check_sessions(sessions: Any, parts: Fields) -> None:
    times = isinstance(sessions.times, tuple) and len(sessions.times) > 0
    require(times and all(isinstance(at, pd.Timedelta) for at in sessions.times), "sessions")
    require(isinstance(sessions.days, pd.offsets.BaseOffset), "sessions")


def check_exchange(sessions: Any, parts: Fields) -> None:
    require(isinstance(sessions.name, str), "sessions")


def check_layout(layout: Any, parts: Fields) -> None:
    offsets, at, labels = layout.offsets, layout.at, layout.labels
    require(array(None, dtype=_INTS)(offsets, None) and len(offsets) > 1, "series")
    require(isinstance(labels, pd.Index) and labels.nlevels == 1, "times")
    n_rows = len(labels) if at is None else len(at)
    require(offsets[0] == 0 and offsets[-1] == n_rows and (np.diff(offsets) >= 0).all(), "series")
    if at is not None:
        places = isinstance(at, np.ndarray) and at.ndim == 1 and at.dtype.kind in "iu"
        require(places and bool(((at >= 0) & (at < len(labels))).all()), "times")
    ids = layout.ids
    require(ids is None or (isinstance(ids, pd.Index) and len(ids) == len(offsets) - 1), "names")
    require(layout.calendar is None or isinstance(layout.calendar, str), "sessions")


def check_known_rows(rows: Any, parts: Fields) -> None:
    require(class_name(rows.layout) == "Layout", "rows")
    n = rows.layout.n_rows
    require(array(n, finite=False)(rows.value, None), "rows")
    require(array(n, dtype=_INTS)(rows.age, None), "rows")
    require(array(n, None, finite=False)(rows.state, None), "rows")


def check_beside(rows: Any, parts: Fields) -> None:
    several = isinstance(rows.parts, tuple) and len(rows.parts) > 0
    require(several and all(class_name(part) == "KnownRows" for part in rows.parts), "rows")


def check_scores(scores: Any, parts: Fields) -> None:
    rate = 0.0 if scores.rate is None else scores.rate
    numbers = NUMBER(scores.level, None) and NUMBER(rate, None) and WHOLE(scores.window, 0)
    require(numbers and 0 < scores.level < 1 and 0 <= rate < 1, "scores")
    require(isinstance(scores.tracked, bool) and not (scores.tracked and not rate), "scores")
    each, group, sizes = scores.each, scores.group, scores.sizes
    require(array(None, scores.window, None, finite=False)(each, None), "scores")
    n_own, _, n_channels = each.shape
    for part in (scores.alpha, scores.threshold):
        require(array(n_own + 1, n_channels)(part, None), "scores")
    require(array(None, dtype=_INTS)(group, None), "scores")
    require(bool(((group >= 0) & (group <= n_own)).all()), "scores")
    require(array(None, dtype=_INTS)(sizes, None) and len(sizes) <= scores.window, "scores")
    require(bool((sizes > 0).all()), "scores")
    require(array(int(sizes.sum()), n_channels, finite=False)(scores.pool, None), "scores")
    require(not any(np.isinf(part).any() for part in (each, scores.pool)), "scores")


def check_combined_rows(rows: Any, parts: Fields) -> None:
    several = isinstance(rows.parts, tuple) and len(rows.parts) > 0 and rows.at is None
    require(class_name(rows.layout) == "Layout" and several, "rows")
    for part in rows.parts:
        layout: Any = getattr(part, "layout", None)
        known = class_name(part) is not None and class_name(layout) == "Layout"
        require(known and np.array_equal(layout.offsets, rows.layout.offsets), "rows")


def check_conformal_rows(rows: Any, parts: Fields) -> None:
    layout: Any = getattr(rows.rows, "layout", None)
    known = class_name(rows.rows) is not None and class_name(layout) == "Layout"
    require(known and array(layout.n_rows, None)(rows.threshold, None), "rows")


def check_rows(rows: Any, parts: Fields) -> None:
    require(class_name(rows.layout) == "Layout", "rows")
    n, s = rows.layout.n_rows, rows.layout.n_series
    require(is_tensor(rows.inputs) and rows.inputs.ndim == 2 and len(rows.inputs) == n, "rows")
    require(array(n, None, finite=False)(rows.target, None), "rows")
    k = rows.target.shape[1]
    same = (array(n, k, finite=False)(part, None) for part in (rows.level, rows.unit))
    require(all(same) and array(n, k, None, finite=False)(rows.base, None), "rows")
    first = rows.first
    require(isinstance(first, np.ndarray) and first.dtype.kind == "i", "rows")
    require(first.shape == (n,) and bool(((first >= 0) & (first <= n)).all()), "rows")
    beside = (rows.static, rows.codes)
    require(all(is_tensor(part) and part.ndim == 2 and len(part) == s for part in beside), "rows")
    require(rows.ends is None or isinstance(rows.ends, tuple), "rows")


def check_known(known: Any, parts: Fields) -> None:
    s = len(known.counts)
    require(array(s, dtype=_INTS)(known.counts, None), "rows")
    require(array(s, dtype="uint64")(known.marks, None), "rows")
    require(isinstance(known.states, tuple) and isinstance(known.weights, tuple), "rows")
