"""Samples for array estimators: the windows of a panel, in order of time."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, callers_level, fail, positive_int
from tsforecast.data.panel import (
    Floats,
    Ints,
    as_panel,
    gap_hours,
    is_category,
    layout_of,
    stretches,
)

__all__ = ["make_windows"]


def make_windows(
    panel: pd.DataFrame,
    lookback: int,
    horizon: int = 1,
    *,
    target: Hashable | Sequence[Hashable] | None = None,
    past: Sequence[Hashable] | None = None,
    max_gap: Any = None,
) -> tuple[Floats, Floats, pd.Index]:
    """Cut a panel into the X and y of `RecurrentRegressor`, or of any other estimator on arrays.

    Every row of the panel with `lookback` rows up to itself and `horizon` rows after it, all of
    them in one series and none missing, gives a sample. Samples are sorted by the time of that
    row, the newest one of the window, and then by series: ``TimeSeriesSplit`` cuts samples, and on
    samples sorted by series it would train on times later than those it tests on.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    lookback : int
        Rows of a window.
    horizon : int
        Rows after it that y holds. With 0 it holds the newest row of the window itself, of a column
        that looks ahead, such as the labels of `triple_barrier`; X is then made of `past` alone.
    target : str or list of str, optional
        The column, or several, that y holds; may be left out where the panel has one column.
    past : sequence of str, optional
        Further columns of X.
    max_gap : number, str or Timedelta, optional
        A longer time between two rows (in steps, where time is a whole number) cuts a series: no
        sample reaches across.

    Returns
    -------
    X : ndarray of float64, shape (n, lookback, n_columns)
        Oldest row first; the targets' columns, then those of `past` (which alone stand there where
        `horizon` is 0).
    y : ndarray of float64, shape (n,) or (n, horizon)
        The target in the next row, or rows (in the newest row, where `horizon` is 0). With K
        targets (n, K horizon): all rows of the first one, then of the second.
    index : Index
        ``(series, time)``, or time, of the newest row of each window: ``pd.Series(y, index)``.

    Raises
    ------
    DataError
        If no sample is left; the message says what was lost to which condition. If a column is a
        category.

    Warns
    -----
    UserWarning
        If labels reach further than the number of samples given in the notes, because the series
        are not on one grid; the message says how far.

    Notes
    -----
    The label of a sample reaches `horizon` rows beyond it, so those just before a test part must
    be left out of training, or labels would say what is to be predicted. One number says how many
    wherever samples are cut, ``horizon * n_series``, with the series that `index` names:
    ``TimeSeriesSplit(gap=horizon * n_series)``, and ``label_horizon=horizon * n_series`` for
    ``Training(validation="time")``. It is the number of samples from one to the next whose label
    shares no time with its own. An estimator leaves out those between the two, which is exact; a
    gap leaves out one more.

    That is so where series have rows at the same times, though some may begin later or end earlier,
    and always for one series. Beside a daily series, the label of a weekly one lies over all days
    of `horizon` weeks: a warning then gives the number that holds for these samples. Splits between
    series, such as those of ``GroupKFold``, need none.

    Where `horizon` is 0, how far labels reach is for their maker to say: see `PurgedSplit`, and
    `label_horizon` for the number.

    Values are not scaled. Levels and units belong to what follows: a window of a price is best
    given in changes, such as the column ``np.log(close).diff()``.

    Examples
    --------
    >>> import pandas as pd
    >>> import tsforecast as tsf
    >>> panel = pd.DataFrame({"close": [1.0, 2.0, 4.0, 8.0, 16.0]})
    >>> X, y, index = tsf.make_windows(panel, lookback=3)
    >>> X[:, :, 0].tolist(), y.tolist(), index.tolist()
    ([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0]], [8.0, 16.0], [2, 3])

    Labels that are there already, one per row:

    >>> panel["rises"] = [1.0, 1.0, 1.0, 1.0, None]
    >>> X, y, index = tsf.make_windows(panel, 3, horizon=0, target="rises", past=["close"])
    >>> X[:, :, 0].tolist(), y.tolist(), index.tolist()
    ([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0]], [1.0, 1.0], [2, 3])
    """
    positive_int("lookback", lookback)
    positive_int("horizon", horizon, least=0)
    panel = as_panel(panel)
    targets = _targets(panel, target)
    inputs = _past(panel, past, targets)
    if horizon == 0:
        _check_inputs(past, inputs, targets)
    columns = targets + inputs
    _check_numbers(panel, columns)
    layout = layout_of(panel)
    values = panel[columns].to_numpy(dtype=np.float64)
    begin = stretches(layout, layout.starts, gap_hours(max_gap, layout))
    row = np.arange(layout.n_rows)
    last = np.minimum(row + horizon, layout.n_rows - 1)
    long_enough = (row - lookback + 1 >= begin) & (begin[last] == begin) & (last == row + horizon)
    n_targets = len(targets)
    shown = slice(0 if horizon else n_targets, None)  # columns of X
    whole = _none_between(np.isnan(values[:, shown]).any(axis=1), row - lookback, row)
    ahead = np.arange(1, horizon + 1) if horizon else np.array([0])  # rows of y
    of_y = np.isnan(values[:, :n_targets]).any(axis=1)
    whole &= _none_between(of_y, row + ahead[0] - 1, last)
    kept = np.flatnonzero(long_enough & whole)
    if len(kept) == 0:
        lost = f"{n} with missing values" if (n := int(long_enough.sum())) else "none that long"
        raise fail(
            "no windows",
            expected=f"windows of {lookback} + {horizon} rows of one series without missing values",
            found=f"{lost} in {layout.n_rows} rows of {layout.n_series} series, the longest of "
            f"{np.diff(layout.offsets).max()}",
            advice="Lower lookback or horizon, raise max_gap, or fill what is missing.",
        )
    kept = kept[np.argsort(layout.when(kept), kind="stable")]  # the rows of a time stay by series
    reach = _reach(layout.when(kept), layout.when(kept + horizon))
    enough = horizon * len(np.unique(layout.codes()[kept]))
    if reach > enough:
        warnings.warn(
            f"Labels reach over {reach} samples, more than horizon * n_series = {enough}: the "
            f"series are not on one grid. To split samples in order of time, use gap={reach} and "
            f"label_horizon={reach}; or bring the series to one grid, cut them where rows are "
            "missing (max_gap), or take one at a time.",
            stacklevel=callers_level(),
        )
    X = values[kept[:, None] + np.arange(1 - lookback, 1), shown]
    y = values[kept[:, None] + ahead, :n_targets]  # (n, H, K)
    y = y.transpose(0, 2, 1).reshape(len(kept), -1)
    return X, y[:, 0] if y.shape[1] == 1 else y, panel.index.take(kept)


def _reach(when: Ints, until: Ints) -> int:
    """Samples from one to the next whose label shares no time with its own, at most.

    Labels lie behind `when`, up to `until`, (n,) each; samples are sorted by `when`.
    """
    return int((np.searchsorted(when, until) - np.arange(len(when))).max())


def _check_inputs(past: Any, inputs: list[Hashable], targets: list[Hashable]) -> None:
    """Raise if labels that look ahead would be among the inputs, or there are none."""
    if not inputs or any(name in targets for name in past):
        raise bad_parameter(
            "past",
            expected=f"columns without the target {targets}, which horizon=0 takes from the "
            "newest row of the window",
            found=past,
        )


def _check_numbers(panel: pd.DataFrame, columns: list[Hashable]) -> None:
    for name in columns:
        if is_category(panel[name]):
            raise fail(
                "column is a category",
                expected="numbers in `target` and `past`",
                found=f"dtype {panel[name].dtype}",
                advice="Leave it out, or turn it into numbers first, such as with pd.get_dummies.",
                column=name,
            )


def _targets(panel: pd.DataFrame, target: Any) -> list[Hashable]:
    """Give the target columns: the one or those named, or the only one there is."""
    if target is None and panel.shape[1] == 1:
        return list(panel.columns)
    targets = list(target) if isinstance(target, list | tuple) else [target]
    if not _are_columns(targets, panel) or not len(set(targets)) == len(targets) > 0:
        raise bad_parameter(
            "target", expected=f"one or several of the columns {list(panel.columns)}", found=target
        )
    return targets


def _past(panel: pd.DataFrame, past: Any, targets: list[Hashable]) -> list[Hashable]:
    """Give the further columns, in the order named."""
    if not isinstance(past, list | tuple | pd.Index | None):
        raise bad_parameter("past", expected="a list of columns", found=past)
    wanted = [] if past is None else list(past)
    if not _are_columns(wanted, panel):
        raise bad_parameter(
            "past", expected=f"some of the columns {list(panel.columns)}", found=past
        )
    return [name for name in dict.fromkeys(wanted) if name not in targets]


def _are_columns(names: list[Any], panel: pd.DataFrame) -> bool:
    # a set, say, is no name, and cannot be looked for
    return all(isinstance(name, Hashable) and name in panel.columns for name in names)


def _none_between(flags: npt.NDArray[np.bool_], after: Ints, until: Ints) -> npt.NDArray[np.bool_]:
    """Whether none of the rows behind `after`, up to `until`, is flagged; rows before 0 are not."""
    count = np.concatenate([[0], np.cumsum(flags)])
    result: npt.NDArray[np.bool_] = count[until + 1] == count[np.maximum(after + 1, 0)]
    return result
