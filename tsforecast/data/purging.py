"""Splits of samples that leave out of training what reaches into the test part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail, positive_int
from tsforecast.data.panel import Ints, as_time

__all__ = ["PurgedSplit", "label_horizon"]


@dataclass(frozen=True, eq=False)
class PurgedSplit:
    """Walk forward over samples, without those whose label reaches into the test part.

    A splitter for scikit-learn's ``cv=``, for samples as `make_windows` gives them. Time is cut
    into ``n_splits + 1`` parts of as many time stamps; each but the first is the test part once.
    Samples before it are for training, if their label ends before its first time. No sample after
    a test part is ever trained on, so that there is nothing to embargo.

    Parameters
    ----------
    n_splits : int
        Number of splits.
    label_horizon : Series or int
        The time at which the label of each sample became known, on the samples' own index of
        (series, time), or time, such as ``labels.loc[index, "label_end"]``; all series are then cut
        at the same time. Or how many samples a label reaches, where samples are in order of time
        and labels all of one length: ``horizon * n_series`` for `make_windows`. The splits are
        then those of ``TimeSeriesSplit(n_splits, gap=label_horizon)``.
    test_size : int, optional
        Time stamps (samples, for an int) of a test part; the test parts stand at the end.
    max_train_size : int, optional
        Time stamps (samples, for an int) before the test part that may be trained on, at most.

    Raises
    ------
    ValueError
        If a parameter cannot be used.
    DataError
        If a sample's label has no end, or ends before the sample.

    See Also
    --------
    triple_barrier : Labels, and where they end.
    label_horizon : How many samples a label reaches, as a number.
    RollingOrigin : The splitter of panels.

    Notes
    -----
    After Lopez de Prado (2018), Advances in Financial Machine Learning, section 7.4, of which it
    takes the purge; his ``PurgedKFold`` also trains on samples after the test part.

    A label that ends at the first time of the test part is left out, too: it holds the price of
    that time, which the first test window shows.

    Examples
    --------
    Labels of two rows, of which the one before the test part reaches into it, and the one before
    that ends at its first time:

    >>> import numpy as np, pandas as pd
    >>> end = pd.Series([1, 2, 4, 5, 6, 7, 8, 9], index=range(8))
    >>> for train, test in PurgedSplit(2, label_horizon=end, test_size=2).split(np.zeros((8, 1))):
    ...     print(train, test)
    [0 1] [4 5]
    [0 1 2 3] [6 7]
    """

    n_splits: int = 5
    label_horizon: Any = field(kw_only=True)
    test_size: int | None = field(default=None, kw_only=True)
    max_train_size: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        positive_int("n_splits", self.n_splits)
        for name in ("test_size", "max_train_size"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        if isinstance(self.label_horizon, pd.Series):
            _when_and_until(self.label_horizon)
        else:
            _number(self.label_horizon)

    def split(self, X: Any, y: object = None, groups: object = None) -> Iterator[tuple[Ints, Ints]]:
        """Give (train, test) sample numbers, as scikit-learn's splitters do.

        Parameters
        ----------
        X : array-like, shape (n, ...)
            The samples, of which only the number counts.
        y, groups : object
            Ignored.

        Yields
        ------
        train, test : ndarray of int64
            Numbers of the samples, in order.

        Raises
        ------
        DataError
            If there are not as many samples as ends of labels, too few time stamps, or no sample
            is left to train on.
        """
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        when, until = self._times(n)
        stamps = np.unique(when)
        size = self.test_size or len(stamps) // (self.n_splits + 1)
        begin = len(stamps) - self.n_splits * size
        if size < 1 or begin < 1:
            raise fail(
                "too few samples to split",
                expected=f"more than {self.n_splits} test parts of {max(size, 1)} time stamps",
                found=f"{len(stamps)} time stamps of {n} samples",
                advice="Use fewer or shorter test parts.",
            )
        for part in range(begin, len(stamps), size):
            since = 0 if self.max_train_size is None else max(part - self.max_train_size, 0)
            train = (stamps[since] <= when) & (
                until < stamps[part]
            )  # nothing ends before it begins
            if not train.any():
                raise fail(
                    "no sample to train on",
                    expected=f"samples whose label ends before test part "
                    f"{(part - begin) // size + 1} of {self.n_splits}",
                    found=f"{int((when < stamps[part]).sum())} before it, whose labels reach "
                    "into it or which max_train_size leaves out",
                    advice="Use fewer or shorter test parts.",
                )
            test = (stamps[part] <= when) & (when <= stamps[part + size - 1])
            yield np.flatnonzero(train), np.flatnonzero(test)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Give the number of splits."""
        return self.n_splits

    def _times(self, n: int) -> tuple[Ints, Ints]:
        """Time of each sample and of the end of its label, (n,) each; for an int numbers."""
        if not isinstance(self.label_horizon, pd.Series):
            when = np.arange(n)
            return when, when + int(self.label_horizon)
        if len(self.label_horizon) != n:
            raise fail(
                "samples and ends of labels do not match",
                expected="one end of a label for each sample, in the order of the samples",
                found=f"{n} samples and {len(self.label_horizon)} ends",
                advice="Give labels.loc[index, 'label_end'] with the index of make_windows.",
            )
        return _when_and_until(self.label_horizon)


def label_horizon(label_end: pd.Series) -> int:
    """Count how many samples a label reaches, at most.

    Parameters
    ----------
    label_end : Series
        The time at which the label of each sample became known, on the samples' own index of
        (series, time), or time, in order of time: ``labels.loc[index, "label_end"]`` with the
        index that `make_windows` gives.

    Returns
    -------
    int
        Samples from one to the next whose label shares no time with its own: for
        ``TimeSeriesSplit(gap=...)``, and as ``label_horizon`` of `RecurrentClassifier` and
        `RecurrentRegressor`, which leave samples out before the part held out for early stopping.
        The longest label decides for all, such as one over a gap in a series.

    Raises
    ------
    DataError
        If samples are not in order of time, or a label has no end or one before its sample.

    See Also
    --------
    PurgedSplit : Splits that look at the end of every single label.

    Examples
    --------
    >>> import pandas as pd
    >>> label_horizon(pd.Series([2, 4, 3, 5, 5, 6], index=range(6)))
    3
    """
    if not isinstance(label_end, pd.Series):
        raise bad_parameter(
            "label_end", expected="a Series on the index of the samples", found=label_end
        )
    when, until = _when_and_until(label_end)
    late = np.flatnonzero(np.diff(when) < 0)
    if len(late):
        raise fail(
            "samples are not in order of time",
            expected="samples as make_windows gives them",
            found=f"{len(late)} that are earlier than the one before",
            advice="Sort them by time, then by series.",
            rows=[str(label) for label in label_end.index[late[:5] + 1]],
        )
    return int(max((np.searchsorted(when, until) - np.arange(len(when))).max(), 1))


def _number(value: Any) -> int:
    try:
        return positive_int("label_horizon", value)
    except ValueError:
        raise bad_parameter(
            "label_horizon",
            expected="a Series with the time at which each label ends, or a whole number of "
            "samples of at least 1",
            found=value,
        ) from None


def _when_and_until(label_end: pd.Series) -> tuple[Ints, Ints]:
    """Time of each sample and of the end of its label, as whole numbers of one unit."""
    index = label_end.index
    missing = np.flatnonzero(label_end.isna().to_numpy())
    if not len(label_end) or len(missing):
        raise fail(
            "labels without an end",
            expected="the time at which it became known, for every sample",
            found=f"{len(missing)} of {len(label_end)} without",
            advice="Leave out the samples whose label is not known.",
            column=label_end.name,
            rows=[str(label) for label in index[missing[:5]]],
        )
    when: Any = index.get_level_values(-1)
    until: Any = as_time(pd.Index(label_end.array), column=label_end.name)
    zones = [getattr(time, "tz", None) is None for time in (when, until)]
    if when.dtype.kind != until.dtype.kind or zones[0] != zones[1]:
        raise fail(
            "samples and ends of labels have different kinds of time",
            expected=f"{when.dtype}, as the time of the samples",
            found=f"{until.dtype}",
            advice="Give the times of rows of the panel.",
            column=label_end.name,
        )
    if isinstance(when, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        unit = max(when.unit, until.unit, key=["s", "ms", "us", "ns"].index)
        when, until = when.as_unit(unit).asi8, until.as_unit(unit).asi8
    else:
        when, until = (time.to_numpy(dtype=np.int64) for time in (when, until))
    early = np.flatnonzero(until < when)
    if len(early):
        raise fail(
            "labels end before their samples",
            expected="an end at or after the sample's own time",
            found=f"{len(early)} that end before",
            advice="Is the index that of the samples?",
            column=label_end.name,
            rows=[str(label) for label in index[early[:5]]],
        )
    return when, until
