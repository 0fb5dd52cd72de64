"""Splits that cut on time: rolling origins, and the validation part inside `fit`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import fail, positive_int
from tsforecast.data.panel import Ints, as_panel, layout_of, time_from_ints

__all__ = ["RollingOrigin", "Split", "held_out_series", "spread_evenly", "validation_start"]


@dataclass(frozen=True, eq=False)
class Split:
    """One block of a backtest.

    Attributes
    ----------
    fit_from, fit_until : time stamp
        First and last time of the rows that may be fitted on.
    cutoffs : Index
        Times of the origins, in order; all at or after `fit_until`.
    """

    fit_from: Any
    fit_until: Any
    cutoffs: pd.Index


@dataclass(frozen=True)
class RollingOrigin:
    """Walk forward over a panel's time in blocks of origins.

    The cuts are made on the distinct time stamps of the panel, not on its rows: all series are
    cut at the same time.  The blocks stand one behind the other at the end of the data, so that
    the last origin has `horizon` time stamps after it.  Each block is forecast by a model fitted
    on the rows up to its first origin (less `gap`).

    It is also a scikit-learn splitter: pass it as ``cv=``.  The test rows of a split are then all
    rows up to the end of its block, ``origins_per_split * step`` time stamps after its first
    origin, because a score needs the rows before as context; choose the block at least as long
    as the horizon.  A score counts origins from the end of fitting on, those in a gap among them.

    Parameters
    ----------
    n_splits : int
        Number of blocks.
    origins_per_split : int
        Origins in each block.
    step : int
        Time stamps from one origin to the next.
    train_size : int, optional
        Time stamps in the training part; default: all that are there.
    gap : int
        Time stamps between the last one fitted on and the first origin: context, not training.

    Raises
    ------
    ValueError
        If a parameter is not a whole number of at least 1 (`gap`: 0).

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"x": range(10)}, index=pd.RangeIndex(10))
    >>> for train, test in RollingOrigin(2, 2).split(panel):
    ...     print(train[[0, -1]], test[[0, -1]])
    [0 5] [0 7]
    [0 7] [0 9]
    """

    n_splits: int = 5
    origins_per_split: int = 1
    step: int = field(default=1, kw_only=True)
    train_size: int | None = field(default=None, kw_only=True)
    gap: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("n_splits", "origins_per_split", "step"):
            positive_int(name, getattr(self, name))
        positive_int("gap", self.gap, least=0)
        if self.train_size is not None:
            positive_int("train_size", self.train_size)

    def splits(self, panel: pd.DataFrame, *, horizon: int = 1) -> list[Split]:
        """Cut the panel's time.

        Parameters
        ----------
        panel : DataFrame
            A panel.
        horizon : int
            Time stamps that the last origin must have after it.

        Returns
        -------
        list of Split

        Raises
        ------
        DataError
            If the panel is too short; it says how many time stamps are needed.
        """
        layout = layout_of(panel)
        stamps = layout.stamps()
        labels = time_from_ints(stamps, layout.labels)
        return [
            Split(labels[since], labels[until], labels[origins])
            for since, until, origins in self._cuts(len(stamps), horizon)
        ]

    def split(
        self, X: pd.DataFrame, y: object = None, groups: object = None
    ) -> Iterator[tuple[Ints, Ints]]:
        """Give (train, test) row numbers, as scikit-learn's splitters do.

        Parameters
        ----------
        X : DataFrame
            A panel, its rows in order (see `as_panel`).
        y, groups : object
            Ignored.

        Yields
        ------
        train, test : ndarray of int64
            Numbers of the rows to fit on, and of all rows up to the end of the block.

        Raises
        ------
        DataError
            If `X` is no panel, its rows are in another order, or it is too short.
        """
        panel = as_panel(X)
        if not panel.index.equals(X.index):
            raise fail(
                "rows are not in the panel's order",
                expected="rows sorted by series and time",
                found="another order",
                advice="Pass as_panel(data) to the search.",
            )
        layout = layout_of(panel)
        stamps = layout.stamps()
        when = np.searchsorted(stamps, layout.when())
        for since, until, origins in self._cuts(len(stamps), horizon=1):
            end = origins[-1] + self.step
            yield np.flatnonzero((since <= when) & (when <= until)), np.flatnonzero(when <= end)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Give the number of splits."""
        return self.n_splits

    def _cuts(self, n_stamps: int, horizon: int) -> list[tuple[int, int, Ints]]:
        """First and last stamp to fit on, and the origins, as positions among the stamps."""
        offsets = self.step * np.arange(self.n_splits * self.origins_per_split)
        before = self.gap + (self.train_size or 1) - 1  # stamps before the first origin
        needed = before + 1 + int(offsets[-1]) + horizon
        if n_stamps < needed:
            raise fail(
                "too few rows for this splitter",
                expected=f"at least {needed} time stamps for {self} and horizon {horizon}",
                found=f"{n_stamps}",
                advice="Use fewer or shorter splits.",
            )
        blocks = (n_stamps - 1 - horizon - offsets[::-1]).reshape(self.n_splits, -1)
        cuts = []
        for origins in blocks:
            until = int(origins[0]) - self.gap
            since = 0 if self.train_size is None else until - self.train_size + 1
            cuts.append((since, until, origins))
        return cuts


def validation_start(panel: pd.DataFrame, size: float) -> int:
    """Time, as a whole number, from which on rows are validation: the last `size` of all rows."""
    when = layout_of(panel).when()
    position = min(int(np.ceil(len(when) * (1.0 - size))), len(when) - 1)
    return int(np.partition(when, position)[position])


def held_out_series(groups: Ints, size: float, seed: int) -> npt.NDArray[np.bool_]:
    """Draw whole groups of series until about `size` of the series are validation, (S,) -> (S,).

    At least one group is held out, and one is not.

    Raises
    ------
    DataError
        If there is only one group.
    """
    n_groups = int(groups.max()) + 1
    if n_groups < 2:
        raise fail(
            "no series to hold out",
            expected="at least two groups of series for validation='series'",
            found=f"{len(groups)} series in one group",
            advice="Use Training(validation='time').",
        )
    order = np.random.default_rng(seed).permutation(n_groups)
    taken = np.cumsum(np.bincount(groups, minlength=n_groups)[order]) / len(groups)
    n_held = int(np.clip(np.searchsorted(taken, size) + 1, 1, n_groups - 1))
    return np.isin(groups, order[:n_held])


def spread_evenly(stamps: Ints, most: int) -> Ints:
    """Choose at most `most` of some rows, evenly over their time stamps: sorted positions.

    Every k-th row of a panel would do worse: where k divides the length of the series, all of
    them have the same time.
    """
    order = np.argsort(stamps, kind="stable")
    return np.sort(order[:: max(1, -(-len(order) // most))])
