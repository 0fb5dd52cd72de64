"""Searches of scikit-learn over panels: a split that cannot be scored is refused before any fit.

scikit-learn turns an error of `score` into NaN, and a search whose scores are all NaN takes the
first candidate.  Whatever `cv` is by default would lead there, as it tears rows of a series from
those before them.  A search clones its estimator first, in the process that knows all splits; so
it is here that they are looked at, whatever runs the fits later.
"""

from __future__ import annotations

import copy
import numbers
import sys
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.data.panel import Ints, Layout, as_panel, layout_of, pandas_frame
from tsforecast.data.splits import check_split, horizon_of, splitter_name

__all__ = ["refuse_foreign_split"]


def refuse_foreign_split(estimator: Any) -> None:
    """Raise if a search of scikit-learn is about to fit and score `estimator` on useless splits.

    To be called where the estimator is cloned.  What counts is a property of the split, not its
    class; see `check_split`.

    Raises
    ------
    DataError
        If a split is refused; the message names the splitter, the split and the series.
    """
    global _passed
    frame = _search_around(estimator)
    if frame is None or not (hasattr(frame["X"], "columns") or hasattr(frame["X"], "iloc")):
        return  # what is no table is refused in fit
    horizon = _least_horizon(estimator, frame.get("self"))
    cv, split_params = frame["cv"], frame["routed_params"]
    if _passed is not None and _passed.is_of(split_params, cv, horizon):
        return
    layout, order = _rows(frame["X"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the search splits again
        # a copy, as a random splitter may hold a generator
        splits = copy.deepcopy(cv).split(frame["X"], frame.get("y"), **split_params.splitter.split)
        for number, split in enumerate(splits):
            train, test = (order[np.asarray(rows)] for rows in split)
            place = f"{splitter_name(cv)}, split {number + 1}"
            check_split(layout, train, test, horizon=horizon, place=place)
    _passed = _Call(weakref.ref(split_params), weakref.ref(cv), horizon)


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of a search, known by what it has made for itself."""

    routed: weakref.ref[Any]
    cv: weakref.ref[Any]
    horizon: int

    def is_of(self, routed: Any, cv: Any, horizon: int) -> bool:
        return self.routed() is routed and self.cv() is cv and self.horizon == horizon


_passed: _Call | None = None  # a search clones for every fit, and is looked at once


def _search_around(estimator: Any) -> dict[str, Any] | None:
    """`X`, `cv` and `routed_params` of a search of scikit-learn whose estimator this is."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if not frame.f_globals.get("__name__", "").startswith("sklearn.model_selection."):
            continue
        known = dict(frame.f_locals)
        search = known.get("self")
        if "cv" not in known:
            known["cv"] = getattr(search, "_checked_cv_orig", known.get("cv_orig"))
        if not {"X", "routed_params"} <= set(known) or not hasattr(known["cv"], "split"):
            continue
        searched = known.get("estimator", known.get("base_estimator"))
        searched = getattr(search, "estimator", None) if searched is None else searched
        # another one is cloned on the way of a fit
        return known if any(estimator is one for one in _within(searched)) else None
    return None


def _least_horizon(estimator: Any, search: Any) -> int:
    """The smallest horizon of all candidates, in rows."""
    grids = getattr(search, "param_grid", getattr(search, "param_distributions", {}))
    grids = grids if isinstance(grids, list | tuple) else [grids]
    tried = [grid["horizon"] for grid in grids if isinstance(grid, dict) and "horizon" in grid]
    if not tried:
        return horizon_of(estimator)
    # a distribution to draw from has no smallest one to look at
    listed = [value for values in tried if isinstance(values, list | tuple) for value in values]
    return min((int(v) for v in listed if isinstance(v, numbers.Integral)), default=1)


def _within(estimator: Any) -> Iterator[Any]:
    """An estimator, the last one of a pipeline, the one inside a search, and so on."""
    while estimator is not None:
        yield estimator
        inner = getattr(estimator, "_final_estimator", None)
        estimator = getattr(estimator, "estimator", None) if inner is None else inner


def _rows(X: Any) -> tuple[Layout, Ints]:
    """Layout of the panel, and where in it each row of `X` stands, (N,)."""
    frame = X.to_frame() if isinstance(X, pd.Series) else pandas_frame(X)
    panel = as_panel(frame)
    if panel.index.equals(frame.index):
        return layout_of(panel), np.arange(len(panel))
    mark = "_".join(["row", *map(str, frame.columns)])  # no name that is there
    panel = as_panel(frame.assign(**{mark: np.arange(len(frame))}))
    order = np.empty(len(frame), dtype=np.int64)
    order[panel[mark].to_numpy().astype(np.int64)] = np.arange(len(panel))
    return layout_of(panel), order
