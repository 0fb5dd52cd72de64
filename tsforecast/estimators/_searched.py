"""Searches of scikit-learn over panels: a split that cannot be scored is refused before any fit.

scikit-learn turns an error of `score` into NaN, and a search whose scores are all NaN takes the
first candidate.  Whatever `cv` is by default would lead there, as it tears rows of a series from
those before them; so would scikit-learn's own scorers.  A search clones its estimator first, in the
process that knows all splits; so it is here that they are looked at, whatever runs the fits later.
"""

from __future__ import annotations

import copy
import sys
import warnings
import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import callers_level
from tsforecast.data.panel import Ints, as_panel, layout_of, pandas_frame
from tsforecast.data.scored import check_split, horizons_of, splitter_name, target_values, within

__all__ = ["refuse_foreign_split"]


def refuse_foreign_split(estimator: Any) -> None:
    """Raise if a search of scikit-learn is about to fit and score `estimator` in vain.

    To be called where the estimator is cloned.  What counts is a property of the split, not its
    class; see `check_split`.  A function of the user as scorer may score what it likes: then rows
    must be in order and no series torn apart, and no more.

    Raises
    ------
    DataError
        If a split is refused; the message names the splitter, the split and the series.
    ValueError
        If the scorer is one of scikit-learn's.
    """
    global _passed
    call = _search_around(estimator)
    if call is None or not (hasattr(call.X, "columns") or hasattr(call.X, "iloc")):
        return  # what is no table is refused in fit
    if _passed is not None and _passed[0]() is call.routed and _passed[1]() is call.cv:
        return
    try:
        _check(call)
    except ValueError as error:
        if call.swallows:
            warnings.warn(str(error), stacklevel=callers_level())
        raise
    _passed = weakref.ref(call.routed), weakref.ref(call.cv)


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of a search, or of another tool that fits and scores on splits."""

    X: Any
    y: Any
    cv: Any
    routed: Any  # made for this call alone
    searched: Any  # with the grid, where there is one
    scoring: Any
    swallows: bool  # whether joblib loses an error that comes while all tasks are laid out


# a search clones for every fit, and is looked at once
_passed: tuple[weakref.ref[Any], weakref.ref[Any]] | None = None


def _check(call: _Call) -> None:
    from tsforecast.backtesting.scorers import known_scorers  # loads more of scikit-learn

    scorers = known_scorers(call.scoring, call.searched)
    horizon = min(horizons_of(call.searched))
    panel, order, sorts = _rows(call.X)
    layout, targets = layout_of(panel), target_values(panel, call.searched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the search splits again
        # a copy, as a random splitter may hold a generator
        splits = copy.deepcopy(call.cv).split(call.X, call.y, **call.routed.splitter.split)
        for number, split in enumerate(splits):
            train, test = (order[np.asarray(rows)] for rows in split)
            check_split(
                layout,
                np.sort(train) if sorts else train,
                np.sort(test) if sorts else test,
                targets=targets,
                horizon=horizon,
                scorers=scorers,
                place=f"{splitter_name(call.cv)}, split {number + 1}",
            )


_TOOLS = (
    "cross_validate",
    "cross_val_predict",
    "learning_curve",
    "permutation_test_score",
    "validation_curve",
)


def _search_around(estimator: Any) -> _Call | None:
    """The call of scikit-learn that is about to fit this estimator on splits."""
    frame = sys._getframe(1)
    hidden = False
    while frame.f_back is not None:
        frame = frame.f_back
        if not frame.f_globals.get("__name__", "").startswith("sklearn.model_selection."):
            continue
        known = dict(frame.f_locals)
        search = known.get("self") if hasattr(known.get("self"), "estimator") else None
        cv = known.get("cv", getattr(search, "_checked_cv_orig", None))
        searched = known.get("estimator") if search is None else search
        complete = {"X", "routed_params"} <= set(known) and searched is not None
        if not (complete and hasattr(cv, "split")):
            named = frame.f_code.co_name
            hidden |= "X" in known and (named in _TOOLS or (named == "fit" and _is_search(search)))
            continue
        cloned = (one for each in (searched, known.get("base_estimator")) for one in within(each))
        if not any(estimator is one for one in cloned):
            return None  # another one is cloned on the way of a fit
        parallel = known.get("parallel")
        lost = known.get("pre_dispatch") == "all" and getattr(parallel, "n_jobs", 1) != 1
        return _Call(
            X=known["X"],
            y=known.get("y"),
            cv=cv,
            routed=known["routed_params"],
            searched=searched,
            scoring=known.get("scoring", getattr(search, "scoring", [])),  # a prediction has none
            swallows=lost,
        )
    if hidden:
        _warn_unseen()
    return None


def _is_search(known: Any) -> bool:
    from sklearn.model_selection import BaseSearchCV

    return isinstance(known, BaseSearchCV)


@cache
def _warn_unseen() -> None:
    warnings.warn(
        "The splits of this search could not be looked at before the first fit, as this version of "
        "scikit-learn keeps them elsewhere: look for scores that are NaN, or use "
        "cross_val_score(..., error_score='raise').",
        stacklevel=callers_level(),
    )


def _rows(X: Any) -> tuple[pd.DataFrame, Ints, bool]:
    """The panel, where in it each row of `X` stands, (N,), and whether it sorts any rows of `X`."""
    frame = X.to_frame() if isinstance(X, pd.Series) else pandas_frame(X)
    panel = as_panel(frame)
    if panel.index.equals(frame.index):
        return panel, np.arange(len(panel)), False
    mark = "_".join(["row", *map(str, frame.columns)])  # no name that is there
    marked = as_panel(frame.assign(**{mark: np.arange(len(frame))}))
    order = np.empty(len(frame), dtype=np.int64)
    order[marked[mark].to_numpy().astype(np.int64)] = np.arange(len(marked))
    return panel, order, len(panel.columns) < len(frame.columns)  # columns name series and time
