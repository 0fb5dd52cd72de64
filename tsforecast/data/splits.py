"""Splits that cut on time or between series, and the validation part inside `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import (
    bad_parameter,
    callers_level,
    choice,
    fail,
    first,
    positive_int,
)
from tsforecast.data.covariates import constants
from tsforecast.data.panel import (
    Ints,
    Layout,
    as_panel,
    is_category,
    layout_of,
    time_from_ints,
)

__all__ = [
    "RollingOrigin",
    "SeriesSplit",
    "Split",
    "held_out_series",
    "spread_evenly",
    "validation_start",
    "warn_of_groups",
]

Bools = npt.NDArray[np.bool_]

_GROUP_LIKE = ("subject_id", "patient", "patient_id")


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

    The origins of a backtest, three rows ahead, with two time stamps between fitting and the
    first origin:

    >>> for split in RollingOrigin(2, 2, gap=2).splits(panel, horizon=3):
    ...     print(split.fit_until, list(split.cutoffs))
    1 [3, 4]
    3 [5, 6]

    All series of a panel are cut at the same time (of B, times 2 to 4 are rows 5 to 7):

    >>> both = pd.concat({"A": panel[:5], "B": panel[2:5]}, names=["series", "time"])
    >>> for train, test in RollingOrigin(1, 2).split(both):
    ...     print(train, test)
    [0 1 2 5] [0 1 2 3 4 5 6 7]
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
        for train, test in self._sides(layout_of(_in_order(X))):
            yield np.flatnonzero(train), np.flatnonzero(test)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Give the number of splits."""
        return self.n_splits

    def _sides(self, layout: Layout) -> Iterator[tuple[Bools, Bools]]:
        """Rows to fit on, and rows up to the end of the block, (N,) each."""
        stamps = layout.stamps()
        when = np.searchsorted(stamps, layout.when())
        for since, until, origins in self._cuts(len(stamps), horizon=1):
            yield (since <= when) & (when <= until), when <= origins[-1] + self.step

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


@dataclass(frozen=True)
class SeriesSplit:
    """Cut a panel between its series, for scikit-learn's ``cv=``.

    No series, and no group of series, has rows on both sides of a split: the model is judged on
    series (patients, tickers) that it has never seen.

    Parameters
    ----------
    n_splits : int or None
        Number of parts; each is the test part once. None leaves out one group at a time, or one
        series where there are no groups.
    group : column name, optional
        A column that is constant within each series and names what must not be torn apart: the
        patient of several stays. A series without a value is a group of its own. In its place
        scikit-learn's ``groups=`` may come to `split`.
    stratify : column name, optional
        An outcome or event (0 or 1), or a category: every part gets its share of each value. A
        group has the largest value among its rows.
    shuffle : bool
        Whether groups are drawn at random rather than in the panel's order.
    random_state : int, RandomState or None
        Seed of the draw. With None, or a RandomState, every call of `split` draws anew.
    time : RollingOrigin, optional
        Cut by time as well: of every part and every block, the training rows are those of the
        training series that the block may be fitted on, and the test rows are all rows of the
        other series up to the end of the block. A score counts all origins of unseen series; to
        count those from the end of fitting on alone, use ``make_scorer(..., late=True)``.

    Raises
    ------
    ValueError
        If a parameter cannot be used.

    See Also
    --------
    RollingOrigin : Cuts by time alone.

    Examples
    --------
    >>> import pandas as pd
    >>> stays = pd.MultiIndex.from_product([["a", "b", "c", "d"], range(2)])
    >>> panel = pd.DataFrame({"x": range(8), "subject": [1, 1, 2, 2, 1, 1, 3, 3]}, index=stays)
    >>> for train, test in SeriesSplit(2, shuffle=False).split(panel):
    ...     print(train, test)
    [4 5 6 7] [0 1 2 3]
    [0 1 2 3] [4 5 6 7]

    Stays a and c are of one patient:

    >>> for train, test in SeriesSplit(None, group="subject").split(panel):
    ...     print(train, test)
    [2 3 6 7] [0 1 4 5]
    [0 1 4 5 6 7] [2 3]
    [0 1 2 3 4 5] [6 7]

    Every part has a patient with the outcome:

    >>> panel["died"] = [0, 0, 1, 1, 0, 0, 0, 1]
    >>> for train, test in SeriesSplit(2, stratify="died", random_state=0).split(panel):
    ...     print(test)
    [2 3 4 5]
    [0 1 6 7]

    New series at later times:

    >>> both = SeriesSplit(2, shuffle=False, time=RollingOrigin(1))
    >>> for train, test in both.split(panel):
    ...     print(train, test)
    [4 6] [0 1 2 3]
    [0 2] [4 5 6 7]
    """

    n_splits: int | None = 5
    group: Hashable = field(default=None, kw_only=True)
    stratify: Hashable = field(default=None, kw_only=True)
    shuffle: bool = field(default=True, kw_only=True)
    random_state: int | np.random.RandomState | None = field(default=None, kw_only=True)
    time: RollingOrigin | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.n_splits is not None:
            positive_int("n_splits", self.n_splits, least=2)
        elif self.stratify is not None:
            raise bad_parameter(
                "n_splits",
                expected="a number of parts, to stratify",
                found=None,
                advice="Parts of one group each cannot have a share of every outcome.",
            )
        for name in ("group", "stratify"):
            if not isinstance(getattr(self, name), Hashable):
                raise bad_parameter(
                    name, expected="the name of one column, or None", found=getattr(self, name)
                )
        choice("shuffle", self.shuffle, (True, False))
        seed = self.random_state
        if not isinstance(seed, np.random.RandomState | None):
            positive_int("random_state", seed, least=0)
        if not isinstance(self.time, RollingOrigin | None):
            raise bad_parameter("time", expected="a RollingOrigin(...) or None", found=self.time)

    def get_metadata_routing(self) -> Any:
        """Ask for ``groups``, as scikit-learn's own splitters of groups do.

        Returns
        -------
        MetadataRequest
            Used where ``set_config(enable_metadata_routing=True)``.
        """
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner=self)
        request.split.add_request(param="groups", alias=True)
        return request

    def split(
        self, X: pd.DataFrame, y: object = None, groups: Any = None
    ) -> Iterator[tuple[Ints, Ints]]:
        """Give (train, test) row numbers, as scikit-learn's splitters do.

        Parameters
        ----------
        X : DataFrame
            A panel, its rows in order (see `as_panel`).
        y : object
            Ignored.
        groups : array-like, shape (N,), optional
            The group of each row, constant within a series; in place of `group`.

        Yields
        ------
        train, test : ndarray of int64
            Numbers of the rows to fit on, and to judge by.

        Raises
        ------
        DataError
            If `X` is no panel or its rows are in another order, a column is missing or varies
            within a series, there are fewer groups, or groups of an outcome, than parts, or a
            side of a split is empty.
        """
        panel = _in_order(X)
        layout = layout_of(panel)
        if self.group is None and groups is None:
            warn_of_groups(panel, "the training and the test part")
        group = self._groups(panel, layout, groups)
        row_group = group[layout.codes()]
        splitter = self._splitter(panel, layout, group)
        n_groups = int(group.max()) + 1
        everything = np.ones(layout.n_rows, dtype=bool)
        blocks = [(everything, everything)] if self.time is None else [*self.time._sides(layout)]
        label = None if self.stratify is None else self._outcomes(panel, layout, group)
        for number, (_, held) in enumerate(splitter.split(np.empty((n_groups, 0)), label)):
            tested = np.isin(row_group, held)
            for block, (known, shown) in enumerate(blocks):
                train, test = np.flatnonzero(known & ~tested), np.flatnonzero(shown & tested)
                if not (len(train) and len(test)):
                    raise fail(
                        "a side of a split is empty",
                        expected="rows of training series and of others in every block of time",
                        found=f"{len(train)} and {len(test)} in block {block + 1} of {len(blocks)} "
                        f"of part {number + 1}",
                        advice="Use fewer or later blocks, or fewer parts.",
                    )
                yield train, test

    def get_n_splits(self, X: Any = None, y: object = None, groups: Any = None) -> int:
        """Give the number of splits: parts, times the blocks of `time`.

        Parameters
        ----------
        X : DataFrame, optional
            A panel; needed where `n_splits` is None.
        y : object
            Ignored.
        groups : array-like, shape (N,), optional
            As for `split`.

        Raises
        ------
        ValueError
            If it depends on the panel, and there is none.
        """
        n_blocks = 1 if self.time is None else self.time.n_splits
        if self.n_splits is not None:
            return self.n_splits * n_blocks
        if X is None:
            raise bad_parameter(
                "X", expected="a panel, as n_splits=None leaves out each of its groups", found=None
            )
        panel = _in_order(X)
        return (int(self._groups(panel, layout_of(panel), groups).max()) + 1) * n_blocks

    def _groups(self, panel: pd.DataFrame, layout: Layout, groups: Any) -> Ints:
        """Number of the group of each series, in the order of their first ones, (S,)."""
        own = np.arange(layout.n_series)
        name: Hashable = "groups"
        if groups is not None:
            if self.group is not None:
                raise bad_parameter(
                    "groups", expected="None, as group= names a column", found=self.group
                )
            of_rows = np.asarray(groups)
            if of_rows.shape != (layout.n_rows,):
                raise bad_parameter(
                    "groups",
                    expected=f"a value for each of {layout.n_rows} rows",
                    found=of_rows.shape if of_rows.ndim else groups,
                    advice="group= takes the name of a column, groups= its values.",
                )
            panel = pd.DataFrame({name: of_rows}, index=panel.index)
        elif self.group is not None:
            panel, name = _with_column(panel, "group", self.group), self.group
        else:
            return own
        known = pd.factorize(constants(panel, layout, [name])[name])[0]
        # in order of appearance, a series without a value as a group of its own
        return pd.factorize(np.where(known < 0, -1 - own, known))[0].astype(np.int64)

    def _splitter(self, panel: pd.DataFrame, layout: Layout, group: Ints) -> Any:
        """Splitter of scikit-learn for a table with a row for each group."""
        from sklearn.model_selection import KFold, LeaveOneOut, StratifiedKFold

        n_groups = int(group.max()) + 1
        what = "series" if n_groups == layout.n_series else "groups of series"
        needed = 2 if self.n_splits is None else self.n_splits
        if n_groups < needed:
            raise fail(
                "too few series to split",
                expected=f"at least {needed} {what} for n_splits={self.n_splits}",
                found=f"{n_groups} ({layout.n_series} series)",
                advice="Use fewer parts, or RollingOrigin, which cuts by time.",
            )
        if self.n_splits is None:
            return LeaveOneOut()
        kind = KFold if self.stratify is None else StratifiedKFold
        seed = self.random_state if self.shuffle else None
        return kind(self.n_splits, shuffle=self.shuffle, random_state=seed)

    def _outcomes(self, panel: pd.DataFrame, layout: Layout, group: Ints) -> Ints:
        """Outcome of each group, numbered."""
        name = self.stratify
        column = _with_column(panel, "stratify", name)[name]
        if is_category(column):
            values = constants(panel, layout, [name])[name].cat.codes.to_numpy(dtype=np.float64)
            values[values < 0] = np.nan
        else:
            rows = column.to_numpy(dtype=np.float64)
            # fmax passes over missing values
            values = np.fmax.reduceat(rows, layout.starts)
        largest = np.full(int(group.max()) + 1, np.nan)
        np.fmax.at(largest, group, values)
        if unknown := int(np.isnan(largest).sum()):
            raise fail(
                "an outcome is missing",
                expected="a value in some row of every series",
                found=f"{unknown} of {len(largest)} without any",
                advice="Drop them, or stratify by another column.",
                column=name,
            )
        outcomes, number, sizes = np.unique(largest, return_inverse=True, return_counts=True)
        n_parts = self.n_splits or 2
        if (sizes < n_parts).any():
            few = [f"{n} with {value:g}" for value, n in zip(outcomes, sizes) if n < n_parts]
            raise fail(
                "too few of an outcome to stratify",
                expected=f"each value in at least {n_parts} "
                f"{'series' if len(largest) == layout.n_series else 'groups of series'}",
                found=f"{first(few, shown=3)}, of {len(largest)}",
                advice="Use fewer parts, or an outcome of few values.",
                column=name,
            )
        return np.asarray(number, dtype=np.int64)


def warn_of_groups(panel: pd.DataFrame, sides: str) -> None:
    """Warn where a column looks as if it named groups of series and nobody has named it."""
    alike = [name for name in _GROUP_LIKE if name in panel.columns]
    if alike:
        warnings.warn(
            f"The column {alike[0]!r} looks as if it named groups of series, and group= is "
            f"not given: series of one group may stand in {sides}.",
            stacklevel=callers_level(),
        )


def _in_order(X: Any) -> pd.DataFrame:
    """A panel whose rows are those of `X`, one by one."""
    panel = as_panel(X)
    index = getattr(X, "index", None)
    if not panel.index.equals(index):
        found = "rows named by columns"
        if isinstance(index, pd.MultiIndex) and len(index) == len(panel):
            moved = int((panel.index.get_indexer(index) != np.arange(len(panel))).sum())
            found = f"{moved} of {len(panel)} in another place"
        raise fail(
            "rows are not in the panel's order",
            expected="rows sorted by series and time",
            found=found,
            advice="Pass as_panel(data) to the search.",
        )
    return panel


def _with_column(panel: pd.DataFrame, parameter: str, name: Any) -> pd.DataFrame:
    if name not in panel:
        raise fail(
            f"{parameter} is not a column",
            expected=f"a column {name!r}",
            found=f"columns {list(panel.columns)}",
            advice=f"Name one of them as {parameter}=.",
            column=name,
        )
    return panel


def validation_start(panel: pd.DataFrame, size: float) -> int:
    """Time, as a whole number, from which on rows are validation: the last `size` of all rows."""
    when = layout_of(panel).when()
    position = min(int(np.ceil(len(when) * (1.0 - size))), len(when) - 1)
    return int(np.partition(when, position)[position])


def held_out_series(
    groups: Ints,
    size: float,
    seed: int,
    *,
    kept: npt.NDArray[np.bool_] | None = None,
    stratify: Ints | None = None,
) -> npt.NDArray[np.bool_]:
    """Draw whole groups of series until about `size` of the series are validation, (S,) -> (S,).

    At least one group is held out, and one is not; none with a series among the `kept` (S,), even
    if that leaves none at all.

    With `stratify` (S,), numbers from 0 on such as an outcome, groups of each value give their
    share; a group has the largest value among its series. A value of one group alone is trained
    on.

    Raises
    ------
    DataError
        If there is only one group.
    """
    n_groups = int(groups.max()) + 1
    drawn = np.ones(n_groups, dtype=bool)
    drawn[groups[kept] if kept is not None else []] = False
    if n_groups < 2:
        raise fail(
            "no series to hold out",
            expected="at least two groups of series for validation='series'",
            found=f"{len(groups)} series in one group",
            advice="Use Training(validation='time').",
        )
    order = np.random.default_rng(seed).permutation(n_groups)
    sizes = np.bincount(groups, minlength=n_groups)
    if stratify is not None:
        return np.isin(groups, _shares(order, drawn, sizes, _largest(stratify, groups), size))
    order = order[drawn[order]]
    taken = np.cumsum(sizes[order]) / len(groups)
    n_held = int(np.clip(np.searchsorted(taken, size) + 1, 1, n_groups - 1))
    return np.isin(groups, order[:n_held])


def _largest(values: Ints, groups: Ints) -> Ints:
    """Largest value among the series of each group."""
    largest = np.full(int(groups.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(largest, groups, values)
    return largest


def _shares(order: Ints, drawn: Bools, sizes: Ints, stratum: Ints, size: float) -> Ints:
    """Groups to hold out, in the order drawn: of each stratum until `size` of its series are."""
    held = []
    for value in np.unique(stratum):
        own = order[stratum[order] == value]
        free = own[drawn[own]]
        if len(own) < 2:
            continue
        taken = np.cumsum(sizes[free]) / sizes[own].sum()
        held.append(free[: int(np.clip(np.searchsorted(taken, size) + 1, 1, len(own) - 1))])
    if not held:  # every value is that of one group
        held.append(order[drawn[order]][:1])
    return np.concatenate(held)


def spread_evenly(stamps: Ints, most: int) -> Ints:
    """Choose at most `most` of some rows, evenly over their time stamps: sorted positions.

    Every k-th row of a panel would do worse: where k divides the length of the series, all of
    them have the same time.
    """
    order = np.argsort(stamps, kind="stable")
    return np.sort(order[:: max(1, -(-len(order) // most))])
