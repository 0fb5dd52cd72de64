"""Transforms for vital signs: ranges, gaps, skew, and what is measured when.

They follow the contract of `tsforecast.data.transforms`, with one difference: ``columns=None``
means every column of numbers, as what they mend is mostly inputs.  A usual order is
``make_pipeline(PlausibleRange(), ForwardFill(), LogSkewed(), SeriesScaler(by="all", columns=[...]),
FillNormal())``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first
from tsforecast.data.panel import Floats, Ints, time_to_ints
from tsforecast.data.transforms import Columns, PanelTransform, RowNames
from tsforecast.data.vitals import vital_of

__all__ = ["FillNormal", "ForwardFill", "LogSkewed", "Missingness", "PlausibleRange"]

Bools = npt.NDArray[np.bool_]

_PER_HOUR = 3.6e9  # microseconds
_MOSTLY_POSITIVE = 0.95  # the rest is dirt, or below the limit of detection
_FEWEST = 20  # values that tell a skew, or another unit


class _VitalTransform(PanelTransform):
    """Base: without names, all columns of numbers are meant; targets only where that is sound.

    ``_targets`` says what becomes of the columns of `y`: "taken" like others, "left" unless they
    are named, or "refused" if they are.
    """

    _targets: Literal["taken", "left", "refused"] = "taken"
    _why_refused = ""

    def fit(self, panel: pd.DataFrame, y: pd.DataFrame | None = None) -> Any:
        """Learn from the rows of `panel`; `y` only names the target columns.

        Parameters
        ----------
        panel : DataFrame
            A panel (see `as_panel`).
        y : DataFrame, optional
            The target columns, untransformed.

        Returns
        -------
        self
        """
        self._require(panel, [])
        targets: list[Hashable] = []
        if y is not None:
            self._require(y, [])
            targets = list(y.columns)
        if isinstance(self.columns, str):
            raise bad_parameter("columns", expected="a list of names", found=self.columns)
        chosen: list[Hashable]
        if self.columns is None:
            out = [] if self._targets == "taken" else targets
            kinds = zip(panel.columns, panel.dtypes)
            chosen = [
                name
                for name, kind in kinds
                if name not in out and not isinstance(kind, pd.CategoricalDtype)
            ]
        else:
            chosen = [*self.columns]
        self._require(panel, chosen)
        if self._targets == "refused" and (wrong := [name for name in chosen if name in targets]):
            raise bad_parameter(
                "columns", expected="input columns only", found=wrong, advice=self._why_refused
            )
        self.columns_ = chosen
        self.feature_names_in_ = np.asarray(panel.columns, dtype=object)
        self._learn(panel, y)
        return self

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return values


class PlausibleRange(_VitalTransform):
    """Take values that cannot be true for missing: a heart rate of 0, a pH of 735.

    A value alone decides, never its neighbours nor other rows.

    Parameters
    ----------
    ranges : dict of name to (low, high), optional
        The values that a column may have, both ends included, in its own unit; None at an end: no
        limit there. Columns that are not named pass. Default: the ranges of `VITALS`, found by
        name or alias; columns that it does not know pass.
    columns : sequence of str, optional
        Default: every column of numbers.

    Raises
    ------
    ValueError
        In `fit`, if a range is none.
    DataError
        In `fit`, if a column that `ranges` names is missing.

    Warns
    -----
    UserWarning
        In `fit`, if most values of a column are out of range, as those of another unit are.

    See Also
    --------
    plausible : The same with units mended and a report.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"pulse": [0.0, 71.0, 402.0]})
    >>> PlausibleRange({"pulse": (20, 300)}).fit_transform(panel)["pulse"].tolist()
    [nan, 71.0, nan]
    """

    row_local = True

    def __init__(
        self,
        ranges: Mapping[Hashable, tuple[float | None, float | None]] | None = None,
        *,
        columns: Columns = None,
    ) -> None:
        self.ranges = ranges
        self.columns = columns

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        if self.ranges is None:
            limits = [_range_of(name) for name in self.columns_]
        else:
            if not isinstance(self.ranges, Mapping):
                raise bad_parameter(
                    "ranges", expected="a dict of name to (low, high)", found=self.ranges
                )
            self._require(panel, list(self.ranges))
            limits = [_limits(name, self.ranges.get(name)) for name in self.columns_]
        table = np.array(limits, dtype=np.float64).reshape(-1, 2)
        self._low, self._high = table[:, 0].copy(), table[:, 1].copy()
        values = panel[self.columns_].to_numpy(dtype=np.float64)
        out = ((values < self._low) | (values > self._high)).sum(axis=0)
        known = (~np.isnan(values)).sum(axis=0)
        many = (2 * out > known) & (known >= _FEWEST)
        if lost := [name for name, most in zip(self.columns_, many) if most]:
            warnings.warn(
                f"More than half of the values of {first(map(repr, lost))} are out of range and "
                "will be missing. Are they in another unit? plausible(panel) mends units; or give "
                "ranges=.",
                stacklevel=callers_level(),
            )

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        j = self.columns_.index(column)
        out = (values < self._low[j]) | (values > self._high[j])
        return np.where(out, np.nan, values)


class ForwardFill(_VitalTransform):
    """Carry the last known value forward within each series, for so many hours.

    Parameters
    ----------
    limit : float or dict of name to float, optional
        Hours (steps, where time is a whole number) after which a value is no longer taken for the
        present one: for all columns, or for each by name, others without a limit. Default: none.
    columns : sequence of str, optional
        Default: every column of numbers but the targets, in which nothing may be invented.

    Raises
    ------
    ValueError
        In `fit`, if a limit is no number above 0, or a target is among the columns.
    DataError
        In `fit`, if a column that `limit` names is missing.

    Notes
    -----
    A network that masks what is missing (``missing="mask"``) does this on its own, and knows how
    old the values are; `limit` is what it cannot do.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"lactate": [2.5, None, None, None]})
    >>> ForwardFill(2).fit_transform(panel)["lactate"].tolist()
    [2.5, 2.5, 2.5, nan]
    """

    _targets = "refused"
    _why_refused = "A forecast would be judged by values that nobody has measured."

    def __init__(
        self,
        limit: float | Mapping[Hashable, float] | None = None,
        *,
        columns: Columns = None,
    ) -> None:
        self.limit = limit
        self.columns = columns

    def fit(self, panel: pd.DataFrame, y: pd.DataFrame | None = None) -> Any:
        """Look at the names of the columns; nothing is learned from the rows.

        Parameters
        ----------
        panel : DataFrame
            A panel (see `as_panel`).
        y : DataFrame, optional
            The target columns: left as they are.

        Returns
        -------
        self
        """
        return super().fit(panel, y)

    def state_of(self, panel: pd.DataFrame) -> Floats:
        """The last known value of each series and when it was measured, (S, 2 P)."""
        check_is_fitted(self)
        self._require(panel, self.columns_)
        rows = RowNames.of(panel.index)
        first, ends = _first_rows(rows.codes), _ends(rows.codes)
        clock = _clock(rows.time)
        state = np.full((len(ends), 2, len(self.columns_)), np.nan)
        for j, name in enumerate(self.columns_):
            values = panel[name].to_numpy()
            source = _last_known(~np.isnan(values), first)[ends]
            state[:, 0, j] = np.where(source < 0, np.nan, values[source])
            state[:, 1, j] = np.where(source < 0, np.nan, clock[source])
        return state.reshape(len(ends), -1)

    def step(self, state: Floats, panel: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
        """Fill the next row of each of n series; gives the new state (n, 2 P), too."""
        check_is_fitted(self)
        self._require(panel, self.columns_)
        rows = RowNames.of(panel.index)
        values, before = panel[self.columns_].to_numpy(), state.reshape(len(panel), 2, -1)
        clock = np.broadcast_to(_clock(rows.time)[:, None], values.shape)
        known = ~np.isnan(values)
        after = np.stack(
            [np.where(known, values, before[:, 0]), np.where(known, clock, before[:, 1])], axis=1
        )
        age = (clock - after[:, 1]) / _per_unit(rows.time)
        limits = np.array([self._limit_of(name) for name in self.columns_])
        filled = np.where(age > limits, np.nan, after[:, 0])
        result = panel.copy()
        for j, name in enumerate(self.columns_):
            result[name] = filled[:, j]
        return result, after.reshape(len(panel), -1)

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        given = self.limit if isinstance(self.limit, Mapping) else {None: self.limit}
        if isinstance(self.limit, Mapping):
            self._require(panel, list(self.limit))
        for name, limit in given.items():
            if limit is not None and not (_is_number(limit) and limit > 0):
                raise bad_parameter(
                    "limit",
                    expected="hours (steps) above 0, or a dict of them by column",
                    found=limit if name is None else {name: limit},
                )

    def _limit_of(self, name: Hashable) -> float:
        limit = self.limit.get(name) if isinstance(self.limit, Mapping) else self.limit
        return np.inf if limit is None else float(limit)

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        source = _last_known(~np.isnan(values), _first_rows(rows.codes))
        filled = np.where(source < 0, np.nan, values[source])
        limit = self._limit_of(column)
        if np.isfinite(limit):
            clock = _clock(rows.time)
            filled[(clock - clock[source]) / _per_unit(rows.time) > limit] = np.nan
        return filled


class FillNormal(_VitalTransform):
    """Fill what is missing with what is usual: the median or mean of the training rows.

    What has not been measured was often thought to be normal. For models that take no missing
    values; put `ForwardFill` before it, so that what is known of a patient comes first.

    Parameters
    ----------
    statistic : {"median", "mean"}
        Over all training rows with a value.
    columns : sequence of str, optional
        Default: every column of numbers but the targets, in which nothing may be invented.

    Raises
    ------
    ValueError
        In `fit`, if `statistic` is another one, or a target is among the columns.

    Notes
    -----
    A column without any value in training has nothing usual: it stays as it is.

    Examples
    --------
    >>> import pandas as pd
    >>> normal = FillNormal().fit(pd.DataFrame({"ph": [7.3, 7.4, 7.41, None]}))
    >>> normal.transform(pd.DataFrame({"ph": [None, 7.1]}))["ph"].tolist()
    [7.4, 7.1]
    """

    row_local = True
    _targets = "refused"
    _why_refused = ForwardFill._why_refused

    def __init__(
        self, statistic: Literal["median", "mean"] = "median", *, columns: Columns = None
    ) -> None:
        self.statistic = statistic
        self.columns = columns

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        choice("statistic", self.statistic, ("median", "mean"))
        values = panel[self.columns_]
        usual = values.median() if self.statistic == "median" else values.mean()
        self._usual = usual.to_numpy(dtype=np.float64)

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return np.where(np.isnan(values), self._usual[self.columns_.index(column)], values)


class LogSkewed(_VitalTransform):
    r"""Natural logarithm of the columns that are positive and skewed in the training rows.

    Laboratory values (creatinine, bilirubin, lactate) run over orders of magnitude; heart rate and
    temperature do not. A column is taken if nearly all (95 %) of its training values are positive,
    its skew is above `skew`, and the logarithm is less skewed than the values are. The skew is that
    of the outer deciles (Kelly 1947), which a few wild values do not move:

    .. math:: \frac{q_{90} - 2\, q_{50} + q_{10}}{q_{90} - q_{10}} \in [-1, 1]

    Values below half of the smallest positive one in training, zeros among them, are taken to it,
    as is the custom for values below the limit of detection. The inverse is the exponential.

    Parameters
    ----------
    skew : float
        How much is skewed, in [-1, 1]: 0.2 is that of a lognormal whose logarithm has a standard
        deviation of about 0.3.
    columns : sequence of str, optional
        Columns to choose from. Default: every column of numbers but the targets.

    Attributes
    ----------
    skewed_ : list
        The columns that were chosen.

    Raises
    ------
    ValueError
        In `fit`, if `skew` is no number in [-1, 1].

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"lab": [0.5, 1, 2, 4, 8] * 4, "pulse": [60.0, 70, 80, 90, 100] * 4})
    >>> log = LogSkewed().fit(panel)
    >>> log.skewed_
    ['lab']
    >>> log.transform(panel).iloc[[1, 2]].round(2).to_numpy().tolist()
    [[0.0, 70.0], [0.69, 80.0]]
    """

    row_local = True
    _targets = "left"

    def __init__(self, *, skew: float = 0.2, columns: Columns = None) -> None:
        self.skew = skew
        self.columns = columns

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        if not _is_number(self.skew) or not -1 <= self.skew <= 1:
            raise bad_parameter("skew", expected="a number in [-1, 1]", found=self.skew)
        floors = {name: _floor_of(panel[name].to_numpy(), self.skew) for name in self.columns_}
        self.skewed_ = [name for name, floor in floors.items() if floor > 0]
        self._floor = np.array([floors[name] for name in self.skewed_], dtype=np.float64)

    def _forward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        if column not in self.skewed_:
            return values
        logs: Floats = np.log(np.maximum(values, self._floor[self.skewed_.index(column)]))
        return logs

    def _backward(self, values: Floats, column: Hashable, rows: RowNames) -> Floats:
        return np.asarray(np.exp(values)) if column in self.skewed_ else values


class Missingness(_VitalTransform):
    """Add columns that say what was measured, and when: for models on tables.

    Of every column `x` up to three new ones, of the rows up to each row alone:

    - ``x_observed``: 1 where it was measured in this very row, else 0,
    - ``x_hours``: hours (steps, where time is a whole number) since it was last measured; NaN
      before the first time,
    - ``x_count``: how often it was measured so far.

    Parameters
    ----------
    what : sequence of {"mask", "hours", "count"}
        Which of them.
    columns : sequence of str, optional
        Default: every column of numbers. Name them where the panel holds events or outcomes.

    Raises
    ------
    ValueError
        In `fit`, if `what` names none or another one.
    DataError
        If a new column would have the name of one that is there.

    Notes
    -----
    As it adds columns it cannot be (a step of) the `transform=` of a network, which has no need of
    it either: with ``missing="mask"`` a network sees mask and hours of all its inputs. Apply it to
    the panel before, or use it in front of a classifier on tables. Put it before anything that
    fills gaps.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"lactate": [None, 2.5, None, 1.8]})
    >>> Missingness().fit_transform(panel)
       lactate  lactate_observed  lactate_hours  lactate_count
    0      NaN               0.0            NaN            0.0
    1      2.5               1.0            0.0            1.0
    2      NaN               0.0            1.0            1.0
    3      1.8               1.0            0.0            2.0
    """

    def __init__(
        self,
        what: Sequence[str] = ("mask", "hours", "count"),
        *,
        columns: Columns = None,
    ) -> None:
        self.what = what
        self.columns = columns

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns that `transform` gives: those of `fit`, then the new ones."""
        check_is_fitted(self)
        new = [self._name(name, what) for name in self.columns_ for what in self.what]
        return np.asarray([*self.feature_names_in_, *new], dtype=object)

    def transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Give a new panel with the new columns behind those that are there."""
        check_is_fitted(self)
        self._require(panel, self.columns_)
        rows = RowNames.of(panel.index)
        first, clock, unit = _first_rows(rows.codes), _clock(rows.time), _per_unit(rows.time)

        def since(known: Bools) -> Floats:
            source = _last_known(known, first)
            return np.where(source < 0, np.nan, (clock - clock[source]) / unit)

        make: dict[str, Callable[[Bools], npt.NDArray[Any]]] = {
            "mask": lambda known: known,
            "hours": since,
            "count": lambda known: _count_so_far(known, first),
        }
        new: dict[Hashable, Floats] = {}
        for name in self.columns_:
            known = ~np.isnan(panel[name].to_numpy())
            for what in self.what:
                new[self._name(name, what)] = make[what](known).astype(np.float64)
        return self._with(panel, new)

    def inverse_transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Give the panel without the new columns."""
        check_is_fitted(self)
        new = [self._name(name, what) for name in self.columns_ for what in self.what]
        return panel.drop(columns=[name for name in new if name in panel])

    def state_of(self, panel: pd.DataFrame) -> Floats:
        """When each series' columns were last measured, and how often, (S, 2 P)."""
        check_is_fitted(self)
        self._require(panel, self.columns_)
        rows = RowNames.of(panel.index)
        first, ends, clock = _first_rows(rows.codes), _ends(rows.codes), _clock(rows.time)
        state = np.full((len(ends), 2, len(self.columns_)), np.nan)
        for j, name in enumerate(self.columns_):
            known = ~np.isnan(panel[name].to_numpy())
            source = _last_known(known, first)[ends]
            state[:, 0, j] = np.where(source < 0, np.nan, clock[source])
            state[:, 1, j] = _count_so_far(known, first)[ends]
        return state.reshape(len(ends), -1)

    def step(self, state: Floats, panel: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
        """Add the columns to the next row of each of n series; and the new state (n, 2 P)."""
        check_is_fitted(self)
        self._require(panel, self.columns_)
        time = RowNames.of(panel.index).time
        known = ~np.isnan(panel[self.columns_].to_numpy())
        before = state.reshape(len(panel), 2, -1)
        clock = np.broadcast_to(_clock(time)[:, None], known.shape)
        last = np.where(known, clock, before[:, 0])
        count = np.nan_to_num(before[:, 1]) + known
        found = {
            "mask": known.astype(np.float64),
            "hours": (clock - last) / _per_unit(time),
            "count": count,
        }
        new: dict[Hashable, Floats] = {
            self._name(name, what): found[what][:, j]
            for j, name in enumerate(self.columns_)
            for what in self.what
        }
        return self._with(panel, new), np.stack([last, count], axis=1).reshape(len(panel), -1)

    def _learn(self, panel: pd.DataFrame, y: pd.DataFrame | None) -> None:
        known = tuple(_SUFFIXES)
        wrong = isinstance(self.what, str) or not set(self.what) <= set(known)
        if wrong or len(set(self.what)) < max(1, len(self.what)):
            raise bad_parameter("what", expected=f"some of {list(known)}", found=self.what)

    @staticmethod
    def _name(column: Hashable, what: str) -> str:
        return f"{column}_{_SUFFIXES[what]}"

    @staticmethod
    def _with(panel: pd.DataFrame, new: Mapping[Hashable, Floats]) -> pd.DataFrame:
        if taken := [name for name in new if name in panel]:
            raise fail(
                "a new column has the name of one that is there",
                expected="no column that ends in _observed, _hours or _count beside its own",
                found=f"{taken}",
                advice="Rename it, or transform a panel only once.",
                column=taken[0],
            )
        return pd.concat([panel, pd.DataFrame(dict(new), index=panel.index)], axis=1)


_SUFFIXES = {"mask": "observed", "hours": "hours", "count": "count"}


def _range_of(name: Hashable) -> tuple[float, float]:
    """Range that a vital or laboratory value may have, by the name of its column."""
    vital = vital_of(name)
    return (-np.inf, np.inf) if vital is None else (vital.low, vital.high)


def _limits(name: Hashable, limits: Any) -> tuple[float, float]:
    """Ends of a range that was given, infinite where there is none."""
    if limits is None:
        return -np.inf, np.inf
    try:
        low, high = limits
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        if not (_is_number(low) and _is_number(high) and low < high):
            raise TypeError
    except (TypeError, ValueError):
        raise bad_parameter(
            "ranges", expected="(low, high) with low below high", found={name: limits}
        ) from None
    return float(low), float(high)


def _floor_of(values: Floats, skew: float) -> float:
    """Half of the smallest positive value of a column that is skewed, 0 for others."""
    known = values[~np.isnan(values)]
    positive = known[known > 0]
    if len(known) < _FEWEST or len(positive) < _MOSTLY_POSITIVE * len(known):
        return 0.0
    before = _kelly(positive)
    if not before > max(skew, abs(_kelly(np.log(positive)))):
        return 0.0
    return float(positive.min()) / 2


def _kelly(values: Floats) -> float:
    """Skew of the outer deciles, 0 where they are one."""
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return float((high - 2 * middle + low) / (high - low)) if high > low else 0.0


def _last_known(known: Bools, first: Ints) -> Ints:
    """Row of the last known value of each row's series so far, -1 where there is none, (n,)."""
    source: Ints = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    source[source < first] = -1
    return source


def _count_so_far(known: Bools, first: Ints) -> Ints:
    """How many are known up to each row of its series, (n,)."""
    total = np.cumsum(known)
    counted: Ints = total - (total - known)[first]
    return counted


def _first_rows(codes: Ints) -> Ints:
    """First row of the series of each row, (n,)."""
    begins = np.zeros(len(codes), dtype=np.int64)
    at = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    begins[at] = at
    return np.asarray(np.maximum.accumulate(begins))


def _ends(codes: Ints) -> Ints:
    """Last row of each series, (S,)."""
    return np.flatnonzero(np.append(codes[1:] != codes[:-1], True))


def _clock(time: pd.Index) -> Floats:
    """Time in microseconds, or in steps: whole numbers that a float holds exactly."""
    if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        time = time.as_unit("us")
    return time_to_ints(time).astype(np.float64)


def _per_unit(time: pd.Index) -> float:
    """What of `_clock` makes an hour, or a step."""
    return _PER_HOUR if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)) else 1.0


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
