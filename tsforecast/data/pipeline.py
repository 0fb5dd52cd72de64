"""The chain of transforms around the targets: forward on panels, back on forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from tsforecast._checks import bad_parameter, fail
from tsforecast.data.panel import Floats, Ints, Layout, layout_of
from tsforecast.data.transforms import LogReturn, PanelTransform, RowNames

__all__ = ["TargetTransform", "steps"]

_ROWS_AT_ONCE = 1_000_000
_ROWS_CHECKED = 1000
# of scikit-learn, what makes a row from that row alone
_ROW_LOCAL = frozenset(
    {
        "MaxAbsScaler",
        "MinMaxScaler",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    }
)


class TargetTransform:
    """A transformer or Pipeline, fitted on training rows, whose inverse on targets is sound.

    Parameters
    ----------
    transform : transformer, Pipeline or None
        Cloned; its steps may be of this package, of scikit-learn, or the user's own.
    known : DataFrame
        Training rows, the targets in the first columns.
    n_targets : int
        K; of 0 targets, transforms take all columns where they are told none.

    Raises
    ------
    ValueError
        If `transform` is no transformer instance.
    DataError
        If it changes columns or rows, or its inverse does not give a target back, in the same
        order.
    """

    def __init__(self, transform: Any, known: pd.DataFrame, n_targets: int = 1) -> None:
        usable = hasattr(transform, "fit") and hasattr(transform, "transform")
        if isinstance(transform, type) or not (transform is None or usable):
            raise bad_parameter(
                "transform",
                expected="None, or an instance with fit and transform",
                found=transform,
                advice="For example transform=tsf.Log().",
            )
        self._set(None if transform is None else clone(transform), list(known.columns), n_targets)
        frame, targets = known, known.iloc[:, :n_targets] if n_targets else None
        for step in self._steps:
            step.fit(frame, targets)
            has_state = _streams(step) and not _is_row_local(step)
            self._widths.append(step.state_of(frame.iloc[:1]).shape[1] if has_state else 0)
            frame = _checked(step.transform(frame), frame)
        if self.fitted is not None:
            for k in range(n_targets):
                self._check_inverse(known, frame.iloc[:, k].to_numpy(), k)

    def _set(self, fitted: Any, columns: list[Any], n_targets: int) -> None:
        self.fitted = fitted
        self.columns = columns
        self.n_targets = n_targets
        self._steps = steps(fitted)
        self.all_ours = all(_is_ours(step) for step in self._steps)
        self._widths: list[int] = []  # of the steps' states

    @classmethod
    def restored(
        cls, fitted: Any, columns: list[Any], n_targets: int, widths: list[int]
    ) -> TargetTransform:
        """Put one together that was fitted before, from its public and private parts."""
        self = cls.__new__(cls)
        self._set(fitted, columns, n_targets)
        self._widths = widths
        return self

    @property
    def state_size(self) -> int:
        """P: numbers that the chain carries from row to row of a series."""
        return sum(self._widths)

    def __call__(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Transform all rows of a panel."""
        floats = all(dtype == np.float64 for dtype in panel.dtypes)
        if self.all_ours and floats and list(panel.columns) == self.columns:
            table, rows = panel.to_numpy(copy=True), RowNames.of(panel.index)
            for step in self._steps:
                _change_columns(step, table, self.columns, rows)
            return pd.DataFrame(table, index=panel.index, columns=panel.columns, copy=False)
        for step in self._steps:
            panel = _checked(step.transform(panel), panel)
        return panel

    def state_of(self, panel: pd.DataFrame) -> Floats:
        """What each series of a panel leaves behind for `step`, (S, P).

        Raises
        ------
        ValueError
            If a step of the chain cannot go on row by row; it is named.
        """
        for step in self._steps:
            if not _streams(step):
                raise bad_parameter(
                    "transform",
                    expected="steps that can go on row by row",
                    found=type(step).__name__,
                    advice="Give its class `row_local = True` where a row's result depends on "
                    "that row alone, or the methods state_of and step (see "
                    "tsforecast.data.transforms); or use predict(panel) instead of a stream.",
                )
        codes = RowNames.of(panel.index).codes
        parts = [np.empty((1 + int((codes[1:] != codes[:-1]).sum()), 0))]
        last = max((i for i, width in enumerate(self._widths) if width), default=-1)
        for step, width in zip(self._steps[: last + 1], self._widths):
            if width:
                parts.append(step.state_of(panel))
            panel = _checked(step.transform(panel), panel)
        return np.concatenate(parts, axis=1)

    def step(self, state: Floats, values: Floats, rows: RowNames) -> tuple[Floats, Floats]:
        """Transform the next row of each of n series.

        Parameters
        ----------
        state : ndarray, shape (n, P)
            From `state_of` or `step`; NaN for a series without rows before.
        values : ndarray, shape (n, C)
            The rows, NaN where missing.
        rows : RowNames
            Their series and time.

        Returns
        -------
        values : ndarray, shape (n, C)
        state : ndarray, shape (n, P)
        """
        after, at = np.empty_like(state), 0
        for step, width in zip(self._steps, self._widths):
            part = slice(at, at + width)
            values, after[:, part] = _step(step, state[:, part], values, self.columns, rows)
            at += width
        return values, after

    def push(self, values: Floats, origins: Ints, layout: Layout, *, inverse: bool) -> Floats:
        """Push target values (n, K, ...) of the series at `origins` (n,) through, or back."""
        if self.fitted is None:
            return values
        result = np.empty_like(values)
        for k in range(self.n_targets):
            result[:, k] = self._push_one(values[:, k], origins, layout, k, inverse=inverse)
        return result

    def domain(self, known: pd.DataFrame, k: int) -> tuple[float, float]:
        """Range of values of a target that the chain takes, as (low, high).

        A forecast may lie beyond it, such as a falling line below zero where there is a logarithm.
        Found by trial and bisection from the training values outwards, ten times their range; the
        end is kept a thousandth of the way clear. Infinite where nothing is refused.
        """
        values = known.iloc[:, k].to_numpy()
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        reach = 10 * max(high - low, abs(low), abs(high))
        layout = layout_of(known.iloc[[int(np.nanargmin(values))]])
        row = np.zeros(1, dtype=np.int64)

        def takes(value: float) -> bool:
            try:
                with np.errstate(all="ignore"):
                    there = self._push_one(np.array([value]), row, layout, k, inverse=False)
                    return bool(np.isfinite(there[0]))
            except ValueError:
                return False

        ends = []
        for inside, outside in ((low, low - reach), (high, high + reach)):
            if takes(outside):
                ends.append(np.copysign(np.inf, outside - inside))
                continue
            edge, beyond = inside, outside
            for _ in range(60):
                middle = (edge + beyond) / 2
                edge, beyond = (middle, beyond) if takes(middle) else (edge, middle)
            ends.append(edge + 1e-3 * (inside - edge))
        return ends[0], ends[1]

    def _push_one(
        self, values: Floats, origins: Ints, layout: Layout, k: int, *, inverse: bool
    ) -> Floats:
        rows = _names(layout, origins)
        flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
        if self.all_ours:
            for step in reversed(self._steps) if inverse else self._steps:
                flat = step.column(flat, self.columns[k], rows, inverse=inverse)
            return flat.reshape(values.shape)
        result, index = np.empty_like(flat), rows.index()
        per_chunk = max(1, _ROWS_AT_ONCE // max(1, flat.shape[1]))
        for at in range(0, len(flat), per_chunk):
            part = flat[at : at + per_chunk]
            labels = index.take(np.repeat(np.arange(at, at + len(part)), part.shape[1]))
            frame = pd.DataFrame(np.nan, index=labels, columns=self.columns)
            frame[self.columns[k]] = part.ravel()
            done = self._undo(frame) if inverse else self(frame)
            result[at : at + per_chunk] = done.to_numpy()[:, k].reshape(part.shape)
        return result.reshape(values.shape)

    def _undo(self, frame: pd.DataFrame) -> pd.DataFrame:
        for step in reversed(self._steps):
            frame = _checked(step.inverse_transform(frame), frame)
        return frame

    def _check_inverse(self, known: pd.DataFrame, transformed: Floats, k: int) -> None:
        """Refuse an inverse that is missing, the identity by default, or decreasing."""
        target = known.iloc[:, k].to_numpy()
        rows = np.flatnonzero(np.isfinite(target) & np.isfinite(transformed))[:_ROWS_CHECKED]
        if len(rows) == 0:
            return
        found = "no inverse_transform"
        if all(hasattr(step, "inverse_transform") for step in self._steps):
            layout, at = layout_of(known.iloc[rows]), np.arange(len(rows))
            values = transformed[rows]
            back = self._push_one(values, at, layout, k, inverse=True)
            wrong = ~np.isclose(back, target[rows], atol=1e-8 * (target[rows].std() or 1.0))
            if wrong.mean() <= 0.5:  # Clip changes some values for good
                above = values + 0.1 * (values.std() or 1.0)
                if (self._push_one(above, at, layout, k, inverse=True) >= back).all():
                    return
                found = "a decreasing one, which would turn quantiles round"
            else:
                found = f"{back[wrong][0]:g} for {target[rows][wrong][0]:g}"
        raise fail(
            "transform cannot be undone",
            expected="an increasing inverse_transform that gives the target back",
            found=found,
            advice="Forecasts would be in another unit or order: give FunctionTransformer an "
            "inverse_func, or leave the target out.",
            column=known.columns[k],
        )


def steps(transform: Any) -> list[Any]:
    """Transformers of a chain in order, those of chains inside it too."""
    if isinstance(transform, Pipeline):
        return [part for _, step in transform.steps for part in steps(step)]
    return [] if transform is None or transform == "passthrough" else [transform]


def _is_ours(step: Any) -> bool:
    """Whether the verbs on frames are those of `PanelTransform`, so that arrays may pass by."""
    verbs = ("transform", "inverse_transform")
    return isinstance(step, PanelTransform) and all(
        getattr(type(step), verb) is getattr(PanelTransform, verb) for verb in verbs
    )


def _is_row_local(step: Any) -> bool:
    theirs = type(step).__module__.startswith("sklearn.") and type(step).__name__ in _ROW_LOCAL
    return theirs or getattr(step, "row_local", False) is True


def _streams(step: Any) -> bool:
    return _is_row_local(step) or (hasattr(step, "state_of") and hasattr(step, "step"))


def _change_columns(
    step: PanelTransform, table: Floats, columns: list[Any], rows: RowNames
) -> None:
    for name in step.columns_:
        at = columns.index(name)
        table[:, at] = step.column(table[:, at], name, rows)


def _step(
    step: Any, state: Floats, values: Floats, columns: list[Any], rows: RowNames
) -> tuple[Floats, Floats]:
    """Take rows (n, C) of n series through one step of a chain, ours without a frame."""
    ours = _is_ours(step)
    if ours and type(step) is LogReturn:
        return step.step_columns(state, values, columns, rows)
    if ours and step.row_local:
        values = values.copy()
        _change_columns(step, values, columns, rows)
        return values, state
    frame = pd.DataFrame(values, index=rows.index(), columns=columns)
    if _is_row_local(step):
        return _checked(step.transform(frame), frame).to_numpy(), state
    result, state = step.step(state, frame)
    return _checked(result, frame).to_numpy(), state


def _names(layout: Layout, rows: Ints) -> RowNames:
    """Series and time of some rows of a panel."""
    time = layout.time.take(rows)
    if layout.ids is None:
        return RowNames(None, np.zeros(len(rows), dtype=np.int64), time)
    series = np.searchsorted(layout.offsets, rows, side="right") - 1
    if len(rows) < layout.n_series:  # whoever looks names up looks up the fewer ones
        return RowNames(layout.ids.take(series), np.arange(len(rows)), time)
    return RowNames(layout.ids, series, time)


def _checked(result: Any, before: pd.DataFrame) -> pd.DataFrame:
    """Give a step's result as a frame of the same shape; scikit-learn's own ones give arrays."""
    shape = np.shape(result)
    columns = list(getattr(result, "columns", before.columns))
    if shape != before.shape or columns != list(before.columns):
        raise fail(
            "transform changed the shape of the panel",
            expected=f"columns {list(before.columns)} and {len(before)} rows",
            found=f"columns {columns} and {shape[0]} rows"
            if hasattr(result, "columns")
            else f"an array of shape {shape}",
            advice="Make new columns before fit, and name them in `past`.",
        )
    if isinstance(result, pd.DataFrame):
        return result
    return pd.DataFrame(np.asarray(result), index=before.index, columns=before.columns)
