"""The chain of transforms around the targets: forward on panels, back on forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from tsforecast._checks import bad_parameter, fail
from tsforecast.data.panel import Floats, Ints, Layout, layout_of

__all__ = ["TargetTransform", "steps"]

_ROWS_AT_ONCE = 1_000_000
_ROWS_CHECKED = 1000


class TargetTransform:
    """A transformer or Pipeline, fitted on training rows, whose inverse on targets is sound.

    Parameters
    ----------
    transform : transformer, Pipeline or None
        Cloned; its steps may be of this package, of scikit-learn, or the user's own.
    known : DataFrame
        Training rows, the targets in the first columns.
    n_targets : int
        K.

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
        self.fitted = None if transform is None else clone(transform)
        self.columns = list(known.columns)
        self.n_targets = n_targets
        frame, targets = known, known.iloc[:, :n_targets]
        for step in self._steps():
            step.fit(frame, targets)
            frame = _checked(step.transform(frame), frame)
        if self.fitted is not None:
            for k in range(n_targets):
                self._check_inverse(known, frame.iloc[:, k].to_numpy(), k)

    def __call__(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Transform all rows of a panel."""
        for step in self._steps():
            panel = _checked(step.transform(panel), panel)
        return panel

    def push(self, values: Floats, origins: Ints, layout: Layout, *, inverse: bool) -> Floats:
        """Push target values (n, K, ...) of the series at `origins` (n,) through, or back."""
        if self.fitted is None:
            return values
        parts = [
            self._push_one(values[:, k], origins, layout, k, inverse=inverse)
            for k in range(self.n_targets)
        ]
        return np.stack(parts, axis=1)

    def domain(self, known: pd.DataFrame, k: int) -> tuple[float, float]:
        """Range of values of a target that the chain takes, as (low, high).

        A forecast may lie beyond it, such as a falling line below zero where there is a logarithm.
        Found by trial and bisection from the training values outwards, ten times their range; the
        end is kept a thousandth of the way clear. Infinite where nothing is refused.
        """
        values = known.iloc[:, k].to_numpy()
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        reach = 10 * max(high - low, abs(low), abs(high))
        label = known.iloc[[int(np.nanargmin(values))]]

        def takes(value: float) -> bool:
            frame = label.astype(np.float64) * np.nan
            frame[self.columns[k]] = value
            try:
                with np.errstate(all="ignore"):
                    return bool(np.isfinite(self(frame).to_numpy()[0, k]))
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
        index = layout.time.take(origins)
        if layout.ids is not None:
            series = np.searchsorted(layout.offsets, origins, side="right") - 1
            index = pd.MultiIndex.from_arrays([layout.ids.take(series), index])
        flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
        result = np.empty_like(flat)
        per_chunk = max(1, _ROWS_AT_ONCE // max(1, flat.shape[1]))
        for at in range(0, len(flat), per_chunk):
            part = flat[at : at + per_chunk]
            rows = np.arange(at, at + len(part))
            labels = index.take(np.repeat(rows, part.shape[1]))
            frame = pd.DataFrame(np.nan, index=labels, columns=self.columns)
            frame[self.columns[k]] = part.ravel()
            done = self._undo(frame) if inverse else self(frame)
            result[at : at + per_chunk] = done.to_numpy()[:, k].reshape(part.shape)
        return result.reshape(values.shape)

    def _steps(self) -> list[Any]:
        return steps(self.fitted)

    def _undo(self, frame: pd.DataFrame) -> pd.DataFrame:
        for step in reversed(self._steps()):
            frame = _checked(step.inverse_transform(frame), frame)
        return frame

    def _check_inverse(self, known: pd.DataFrame, transformed: Floats, k: int) -> None:
        """Refuse an inverse that is missing, the identity by default, or decreasing."""
        target = known.iloc[:, k].to_numpy()
        rows = np.flatnonzero(np.isfinite(target) & np.isfinite(transformed))[:_ROWS_CHECKED]
        if len(rows) == 0:
            return
        found = "no inverse_transform"
        if all(hasattr(step, "inverse_transform") for step in self._steps()):
            layout = layout_of(known)
            values = transformed[rows]
            back = self._push_one(values, rows, layout, k, inverse=True)
            wrong = ~np.isclose(back, target[rows], atol=1e-8 * (target[rows].std() or 1.0))
            if wrong.mean() <= 0.5:  # Clip changes some values for good
                above = values + 0.1 * (values.std() or 1.0)
                if (self._push_one(above, rows, layout, k, inverse=True) >= back).all():
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
