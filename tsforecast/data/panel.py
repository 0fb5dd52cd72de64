"""The panel: pandas rows indexed by (series, time), and the one gatekeeper that makes them.

A panel is an ordinary `pandas.DataFrame` with float64 (or category) columns and a sorted, unique
index: two levels ``(series, time)``, or just ``time`` for one series.  Inside the package a panel
is read as flat arrays plus `Layout`: where each series starts and stops, and when its rows are.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

__all__ = [
    "Layout",
    "add_available",
    "as_cutoffs",
    "as_panel",
    "as_time",
    "forward_fill",
    "gap_hours",
    "is_category",
    "layout_of",
    "only_series",
    "pandas_frame",
    "previous_rows",
    "stretches",
    "time_from_ints",
    "time_to_ints",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RESERVED = frozenset({"series", "time", "cutoff", "step", "target", "model", "forecast", "actual"})
_CLOCKS = (pd.DatetimeIndex, pd.TimedeltaIndex)
# what is known of a panel as a whole: it stays in attrs
_FACTS = ("calendar", "adjusted", "source", "survivorship")
_LEVELS = "levels"  # attrs: names of index levels that only the caller could tell apart
_BLOCK = 1 << 16  # rows looked at together: what is computed of them stays in the cache
_QUANTILE_NAME = re.compile(r"q(0?\.\d+|0|1)")
# the long format of the Nixtla family of libraries, and the names used here
_KNOWN_PAIRS = (("unique_id", "ds"), ("series", "time"))


def as_panel(
    data: pd.DataFrame | pd.Series | IntoFrame,
    *,
    series: Hashable | None = None,
    time: Hashable | None = None,
    wide: str | None = None,
    columns: Sequence[Hashable] | None = None,
) -> pd.DataFrame:
    """Turn prices or vital signs as people hold them into a panel.

    Parameters
    ----------
    data : DataFrame or Series
        One of: a Series or frame indexed by time (one series); a frame whose columns have two
        levels, as yfinance gives for several tickers; a frame indexed by (series, time); a long
        table with named columns; a long table with ``unique_id`` and ``ds``, or ``series`` and
        ``time``; a wide table with a column per series. Tables of polars (lazy ones too),
        pyarrow and duckdb are taken as well.
    series, time : hashable, optional
        Names of the columns (or index levels) of a long table that hold series and time. Rows
        of such a table may come in any order.
    wide : str, optional
        `data` is a wide table, times x series, of one quantity; this names the quantity. Rows
        before a series' first value and after its last one are dropped.
    columns : sequence of hashable, optional
        The columns to keep; all others are ignored. Default: all.

    Returns
    -------
    DataFrame
        float64 columns, sorted unique index ``(series, time)`` or ``time``; `data` itself is
        left alone. (What is a panel already shares its columns with the result until pandas
        writes to either; a write past pandas, into the numpy array below, is seen by both.)
        Columns of pandas' dtype category stay as they are (they may serve as ``static=`` and
        ``group=`` of an estimator), and so do some of the `attrs`: ``"available"``, the columns
        known at the time of their rows (see `align_asof`); ``"calendar"`` (see `with_calendar`);
        ``"adjusted"``, ``"source"`` and ``"survivorship"``, what is known of prices (see `adjust`
        and `from_yfinance`).

    Raises
    ------
    DataError
        For an empty frame, duplicated or unsorted time, missing series or time stamps, columns
        that are not numeric, infinities, reserved or repeated column names, a series without
        any value in a table of one column per series. The message names column, series and first
        rows.

    Notes
    -----
    Time is datetime, timedelta (since admission, say) or a whole number of steps. Under an index
    the rows of each series must be in order of time, though series may be interleaved.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsforecast.data.panel import as_panel
    >>> long = pd.DataFrame({"ticker": ["B", "A", "A"], "day": [1, 2, 1], "close": [5, 7, 6]})
    >>> as_panel(long, series="ticker", time="day")
                close
    ticker day
    A      1      6.0
           2      7.0
    B      1      5.0
    """
    if isinstance(data, pd.Series):
        plain = data.name is not None and not isinstance(data.name, tuple)
        data = data.to_frame(name=data.name if plain else "value")
    data = pandas_frame(data)
    if series is None and time is None and wide is None and columns is None and _is_panel(data):
        return _as_it_is(data)
    if wide is not None:
        return _tidy(*_from_wide(data, wide=wide, time=time, columns=columns), ordered=True)
    if data.columns.nlevels > 1:
        data, series = _stack_tickers(data, series)
    if series is None and time is None and not isinstance(data.index, pd.MultiIndex):
        for known_series, known_time in _KNOWN_PAIRS:
            if {known_series, known_time} <= set(data.columns):
                series, time = known_series, known_time
    if series is not None or time is not None:
        named = _from_names(data, series=series, time=time, columns=columns)
        panel = _tidy(*named, ordered=time is None)
        if isinstance(panel.index, pd.MultiIndex) and _is_swapped(panel):
            panel.attrs[_LEVELS] = tuple(panel.index.names)  # so it was said
        return panel
    if columns is not None:
        data = _select(data, columns)
    if isinstance(data.index, pd.MultiIndex):
        if data.index.nlevels != 2:
            raise fail(
                "index has too many levels",
                expected="two levels (series, time), or time alone",
                found=f"{data.index.nlevels} levels {list(data.index.names)}",
                advice="Join the levels that name the series into one.",
            )
        names = (data.index.names[0] or "series", data.index.names[1] or "time")
        ids, when = (data.index.get_level_values(level) for level in (0, 1))
        if _is_swapped(data):
            raise fail(
                "index levels are swapped",
                expected="the levels (series, time), in this order",
                found=f"{list(data.index.names)}: {ids.dtype} and {when.dtype}",
                advice="Pass data.swaplevel(). If it is the series that are named by times, call "
                "the first level 'series'.",
            )
        return _tidy(data, ids, when, names, ordered=True)
    return _tidy(data, None, data.index, (None, data.index.name or "time"), ordered=True)


def pandas_frame(data: Any) -> pd.DataFrame:
    """Give a table of pandas, polars, pyarrow or duckdb as a DataFrame of pandas.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(data, pd.DataFrame):
        return data
    import narwhals as nw

    table = nw.from_native(data, pass_through=True)
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    if not isinstance(table, nw.DataFrame):
        advice = "Convert it first, e.g. pd.DataFrame(data)."
        if isinstance(data, str | PathLike):
            advice = "Read the file first, e.g. with pd.read_csv or pd.read_parquet."
        raise TypeError(
            "expected a pandas DataFrame or Series, or a table of polars, pyarrow or duckdb, found "
            f"{type(data).__name__}. {advice}"
        )
    # what pandas would hold as Python objects
    plain = {nw.Boolean: nw.Float64(), nw.Decimal: nw.Float64(), nw.Date: nw.Datetime("ms")}
    casts = [
        nw.col(name).cast(plain[dtype.base_type()])
        for name, dtype in table.schema.items()
        if dtype.base_type() in plain
    ]
    return table.with_columns(*casts).to_pandas()


def add_available(panel: pd.DataFrame, names: Sequence[Hashable]) -> pd.DataFrame:
    """Note that these columns are known at the time of their rows."""
    panel.attrs["available"] = [*panel.attrs.get("available", []), *names]
    return panel


def _require(data: pd.DataFrame, names: Sequence[Hashable]) -> None:
    missing = [name for name in names if name not in data.columns]
    if missing:
        raise fail(
            "columns not found",
            expected=f"columns {list(names)}",
            found=f"{list(data.columns)}",
            advice=f"Missing: {missing}. Check the spelling in series=, time= and columns=.",
        )


def _select(data: pd.DataFrame, columns: Sequence[Hashable]) -> pd.DataFrame:
    if isinstance(columns, str):
        raise bad_parameter("columns", expected="a list of names", found=columns)
    _require(data, columns)
    return data[list(columns)]


def _stack_tickers(data: pd.DataFrame, series: Hashable | None) -> tuple[pd.DataFrame, Hashable]:
    """Columns of two levels (price, ticker), in either order, become rows (time, ticker)."""
    names = list(data.columns.names)
    level = series if series is not None else "Ticker"
    if len(names) > 2 or level not in names:
        raise fail(
            "columns have several levels",
            expected="two of them, one named 'Ticker' or named by series=",
            found=f"levels {names}",
            advice="Pass series=<name of the level that holds the series>; levels without names "
            'get them by data.columns.names = ["Price", "Ticker"].',
        )
    if data.shape[0] == 0:
        raise _empty()
    _check_names(data.columns)
    stacked = cast(pd.DataFrame, data.stack(level=level, future_stack=True)).dropna(how="all")
    stacked.columns.name = None
    stacked.attrs = data.attrs
    lost = data.columns.unique(level).difference(stacked.index.unique(level))
    if len(lost):
        raise _no_values(lost)
    return stacked, level


def _from_wide(
    data: pd.DataFrame, *, wide: str, time: Hashable | None, columns: Sequence[Hashable] | None
) -> tuple[pd.DataFrame, pd.Index, pd.Index, tuple[str, str]]:
    if time not in (None, data.index.name):
        _require(data, [time])
        data = data.set_index(time)
    table = data
    if columns is not None:
        table = _select(table, columns)
    if table.shape[0] == 0 or table.shape[1] == 0:
        raise _empty()
    _check_names(table.columns)
    values = np.column_stack([_numeric(table.iloc[:, j], None) for j in range(table.shape[1])])
    seen = ~np.isnan(values)
    if not seen.any(axis=0).all():
        raise _no_values(table.columns[np.flatnonzero(~seen.any(axis=0))])
    # keep what lies between a series' first and last value: inner gaps stay, missing
    alive = np.maximum.accumulate(seen, axis=0) & np.maximum.accumulate(seen[::-1], axis=0)[::-1]
    which, when = np.nonzero(alive.T)
    frame = pd.DataFrame({wide: values.T[alive.T]})
    frame.attrs = data.attrs
    names = (str(table.columns.name or "series"), str(table.index.name or "time"))
    return frame, table.columns.take(which), table.index.take(when), names


def _from_names(
    data: pd.DataFrame,
    *,
    series: Hashable | None,
    time: Hashable | None,
    columns: Sequence[Hashable] | None,
) -> tuple[pd.DataFrame, pd.Index | None, pd.Index, tuple[Any, Any]]:
    wanted = [name for name in (series, time) if name is not None]
    levels = [name for name in data.index.names if name in wanted and name not in data.columns]
    flat = data.reset_index(level=levels) if levels else data
    _require(flat, wanted)
    _check_names(flat.columns[flat.columns.isin(wanted)])
    when = flat.index if time is None else pd.Index(flat[time])
    ids = None if series is None else pd.Index(flat[series])
    if series is None and levels and isinstance(data.index, pd.MultiIndex):
        ids, series = flat.index, flat.index.name or "series"  # the level beside the time
    values = flat.drop(columns=wanted)
    if columns is not None:
        values = _select(values, columns)
    time_name = time if time is not None else (flat.index.name or "time")
    return values, ids, when, (series, time_name)


def _empty() -> ValueError:
    return fail(
        "empty frame",
        expected="at least one row and one column",
        found="none",
        advice="Check the query or file that the data came from.",
    )


def _no_values(series: pd.Index) -> ValueError:
    return fail(
        "series without any value",
        expected="at least one value of every series",
        found=f"none for {first(map(repr, series))}",
        advice="Drop their columns.",
        series=series[0],
    )


def _check_names(names: pd.Index, *, reserved: bool = False) -> None:
    if not names.is_unique:
        twice = list(names[names.duplicated()].unique())
        raise fail(
            "repeated column names",
            expected="each name once",
            found=f"{twice} more than once",
            advice="Rename or drop the copies.",
            column=twice[0],
        )
    if not reserved:
        return
    bad = [
        name
        for name in names
        if name in RESERVED or (isinstance(name, str) and _QUANTILE_NAME.fullmatch(name))
    ]
    if bad:
        raise fail(
            "reserved column names",
            expected=f"none of {sorted(RESERVED)} nor q0.1, q0.5, ...: forecast frames use them",
            found=f"{bad}",
            advice=f"Rename, e.g. data.rename(columns={{{bad[0]!r}: 'my_{bad[0]}'}}), or choose "
            "the value columns with columns=[...].",
            column=bad[0],
        )


def is_category(column: pd.Series) -> bool:
    """Tell whether a column holds categories, of pandas or (as a dictionary) of pyarrow."""
    return column.dtype.type is pd.CategoricalDtype.type


def _numeric(column: pd.Series, labels: pd.Index | None) -> Floats:
    """Values as float64, missing as NaN; refuse what is not a number."""
    dtype = column.dtype
    # pandas does not count pyarrow's booleans among the numbers
    if (pd.api.types.is_numeric_dtype(dtype) or dtype.kind == "b") and dtype.kind != "c":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    labels = column.index if labels is None else labels
    name, known = column.name, column.notna().to_numpy()
    words = known & pd.to_numeric(column.astype(object), errors="coerce").isna().to_numpy()
    advice = "Convert it with pd.to_numeric, or choose the numeric columns with columns=[...]."
    if dtype.kind in "mM":
        advice = f"If it is the time of the rows, as_panel makes a panel: pass time={name!r}, and "
        advice += "series=.. where several series are stacked."
    elif words.any() and _are_grouped(column[words]):
        advice = "Where a comma groups digits, read the file with pd.read_csv(.., thousands=','); "
        advice += "where it divides decimals, with decimal=','."
    elif words.any() and (words == known).all() and not is_category(column):
        advice = (
            f"If it names the series, pass series={name!r}; if it sorts them into kinds, make it "
            'a category, .astype("category"), for static=; else leave it out with columns=[..].'
        )
        dates = pd.to_datetime(column[words][:5], errors="coerce", format="mixed", utc=True)
        if dates.notna().all():
            advice = f"If it is the time, convert it with pd.to_datetime and pass time={name!r}."
    at = np.flatnonzero(words if words.any() else known)
    raise fail(
        "column is not numeric",
        expected="integers, floats or booleans",
        found=f"dtype {dtype}",
        advice=advice,
        column=name,
        rows=[f"{labels[i]} = {column.iloc[i]!r}" for i in at[:5]],
    )


def _are_grouped(words: pd.Series) -> bool:
    """Whether texts are numbers once their commas are gone."""
    plain = words.astype(str).str.replace(",", "", regex=False)
    return bool(pd.to_numeric(plain, errors="coerce").notna().all())


def _is_time(time: pd.Index) -> bool:
    return isinstance(time, _CLOCKS) or time.dtype.kind in "iumM"


def _zones(time: pd.Index) -> list[str]:
    """Time zones of datetimes that stand in a column of Python objects."""
    if time.dtype != object:
        return []
    return sorted({str(stamp.tzinfo) for stamp in time if isinstance(stamp, dt.datetime)})


def as_time(time: pd.Index, *, column: Hashable | None = None) -> pd.Index:
    """Check the time of the rows; pyarrow's and nullable types become numpy's.

    Parameters
    ----------
    time : Index
        Any.
    column : hashable, optional
        Where it comes from, for the errors.

    Raises
    ------
    DataError
        If it holds anything but datetimes of one zone, timedeltas or whole numbers, or if some
        are missing.
    """
    if isinstance(time.dtype, pd.ArrowDtype) and time.dtype.kind in "mM":
        time = pd.DatetimeIndex(time) if time.dtype.kind == "M" else pd.TimedeltaIndex(time)
    if len(zones := _zones(time)) > 1:
        raise fail(
            "mixed time zones",
            expected="all times in one zone, or all without",
            found=f"{first(zones)}",
            advice="Convert them, e.g. with pd.to_datetime(time, utc=True), and then to the zone "
            "of the place with dt.tz_convert.",
            column=column,
        )
    if not _is_time(time):
        raise fail(
            "time is of the wrong type",
            expected="datetime, timedelta or whole numbers",
            found=f"dtype {time.dtype}",
            advice="Convert it, e.g. with pd.to_datetime (periods with to_timestamp), or name the "
            "right column.",
            column=column,
            rows=[repr(value) for value in time[:5]],
        )
    if time.hasnans:
        where = np.flatnonzero(time.isna())
        raise fail(
            "missing time stamps",
            expected="a time in every row",
            found=f"{len(where)} rows without",
            advice="Drop or repair these rows.",
            column=column,
            rows=[f"row {i}" for i in where[:5]],
        )
    return time.astype(np.int64) if time.dtype.kind in "iu" and time.dtype != np.int64 else time


def _is_swapped(data: pd.DataFrame) -> bool:
    """Whether times stand before what names the series: whole numbers too, if nothing is said."""
    ids, when = cast(pd.MultiIndex, data.index).levels
    if not isinstance(ids, _CLOCKS) or isinstance(when, _CLOCKS):
        return False
    names = tuple(data.index.names)
    said = names[0] == "series" or names[1] == "time" or names == data.attrs.get(_LEVELS)
    return not (_is_time(when) and said)


def _is_panel(data: pd.DataFrame) -> bool:
    """Tell whether a frame is a panel as it stands; what is wrong, if anything, is found later."""
    index, names = data.index, data.columns
    if type(data) is not pd.DataFrame or names.nlevels > 1 or data.shape[0] == 0:
        return False
    if not len(names) or any({*pair} <= set(names) for pair in _KNOWN_PAIRS):
        return False
    if isinstance(index, pd.MultiIndex):
        if index.nlevels != 2:
            return False
        ids, time = index.levels
        if isinstance(ids, pd.CategoricalIndex) or not ids.is_monotonic_increasing:
            return False
        if _is_swapped(data):
            return False
    else:
        time = index
        if isinstance(time, pd.RangeIndex):  # becomes plain whole numbers
            return False
    if not (isinstance(time, _CLOCKS) or time.dtype == np.int64):
        return False
    if not (time.is_monotonic_increasing and time.is_unique) or time.hasnans:
        return False
    if isinstance(index, pd.MultiIndex) and not _in_order(*index.codes):
        return False
    for j, dtype in enumerate(data.dtypes):
        if isinstance(dtype, pd.CategoricalDtype):
            continue
        if dtype != np.float64:
            return False
        values = data.iloc[:, j].to_numpy()
        # values that lie apart are slow, and sums of them differ in their last digits
        if not values.flags.c_contiguous or _any_infinite(values):
            return False
    return True


def _as_it_is(data: pd.DataFrame) -> pd.DataFrame:
    """Give a frame that is a panel: its columns are copied when either is written to, by pandas."""
    _check_names(data.columns, reserved=True)
    panel = data.copy(deep=False)
    names = data.index.names
    if None in names:
        defaults = ("series", "time")[-len(names) :]
        panel.index = data.index.set_names([a or b for a, b in zip(names, defaults)])
    return _with_facts(panel, data.attrs)


def _with_facts(panel: pd.DataFrame, attrs: Mapping[Any, Any]) -> pd.DataFrame:
    """Keep of `attrs` what a panel carries on."""
    panel.attrs = {name: attrs[name] for name in (*_FACTS, _LEVELS) if name in attrs}
    known = [name for name in attrs.get("available", ()) if name in panel.columns]
    return add_available(panel, known) if known else panel


def _in_order(outer: Any, inner: Any) -> bool:
    """Whether codes of series never fall, codes of time rise within a series, and none is -1."""
    if outer[0] < 0 or inner[0] < 0:
        return False
    for at in range(0, len(outer) - 1, _BLOCK):
        here = slice(at, at + _BLOCK + 1)
        series, time = outer[here], inner[here]
        begins = np.flatnonzero(series[1:] != series[:-1])
        rises = time[1:] > time[:-1]
        rises[begins] = (series[begins + 1] > series[begins]) & (time[begins + 1] >= 0)
        if not rises.all():
            return False
    return True


def _any_infinite(values: Floats) -> bool:
    return any(
        bool(np.isinf(values[at : at + _BLOCK]).any()) for at in range(0, len(values), _BLOCK)
    )


def _tidy(
    data: pd.DataFrame,
    ids: pd.Index | None,
    time: pd.Index,
    names: tuple[Any, Any],
    *,
    ordered: bool,
) -> pd.DataFrame:
    """Check, convert and sort. `ordered`: rows of a series must already be in order of time."""
    if data.shape[0] == 0 or data.shape[1] == 0:
        raise _empty()
    _check_names(data.columns, reserved=True)
    given = time = as_time(time)
    codes, unique = np.zeros(len(data), dtype=np.int64), None
    if ids is not None:
        codes, unique = _factorize(ids)
    when = time_to_ints(time)
    if not _is_sorted(codes, when, ordered=ordered):
        order = np.argsort(codes, kind="stable") if ordered else np.lexsort((when, codes))
        time, codes, when = time.take(order), codes[order], when[order]
    else:
        order = None

    def label(position: int) -> str:
        stamp = time[position]
        return str(stamp) if unique is None else f"({unique[codes[position]]}, {stamp})"

    _check_order(when, codes, unique, label)
    values: dict[Hashable, Any] = {}
    for j, name in enumerate(data.columns):
        if is_category(data.iloc[:, j]):
            kinds = data.iloc[:, j].astype("category").array
            values[name] = kinds if order is None else kinds.take(order)
            continue
        column = _numeric(data.iloc[:, j], given)
        column = column if order is None else column[order]
        bad = np.flatnonzero(np.isinf(column))
        if len(bad):
            raise fail(
                "infinite values",
                expected="finite numbers, or NaN where missing",
                found=f"{len(bad)} infinite",
                advice="Replace them, e.g. data.replace([np.inf, -np.inf], np.nan), or mend "
                "the division they come from.",
                column=name,
                series=None if unique is None else unique[codes[bad[0]]],
                rows=[label(position) for position in bad[:5]],
            )
        values[name] = column
    index: pd.Index = time.rename(names[1])
    if unique is not None:
        index = pd.MultiIndex.from_arrays([unique.take(codes), index], names=names)
    return _with_facts(pd.DataFrame(values, index=index, columns=data.columns), data.attrs)


def _is_sorted(codes: Ints, when: Ints, *, ordered: bool) -> bool:
    """Whether rows need no sorting: by series, and else by series and time."""
    falls = codes[1:] < codes[:-1]
    if not ordered:
        falls |= (codes[1:] == codes[:-1]) & (when[1:] < when[:-1])
    return not falls.any()


def _factorize(ids: pd.Index) -> tuple[Ints, pd.Index]:
    if isinstance(ids, pd.CategoricalIndex):
        ids = pd.Index(ids.to_numpy())
    try:
        codes, unique = pd.factorize(ids, sort=True)
    except TypeError:
        raise fail(
            "series names cannot be sorted",
            expected="names of one type",
            found=f"{first(sorted({type(name).__name__ for name in ids}))}",
            advice="Convert them, e.g. to str.",
        ) from None
    if (codes < 0).any():
        where = np.flatnonzero(codes < 0)
        raise fail(
            "rows without a series name",
            expected="a name in every row",
            found=f"{len(where)} missing",
            advice="Drop or name these rows.",
            rows=[f"row {i}" for i in where[:5]],
        )
    return codes.astype(np.int64), pd.Index(unique)


def _check_order(
    when: Ints, codes: Ints, unique: pd.Index | None, label: Callable[[int], str]
) -> None:
    same = codes[1:] == codes[:-1]
    keep = "Keep one row of each, e.g. data[~data.index.duplicated(keep='last')]; of a long table "
    keep += "data.drop_duplicates([series, time], keep='last')."
    if unique is None:
        keep = f"If several series are stacked here, name their column with series=. {keep}"
    for problem, wrong, expected, advice in (
        (
            "unsorted time",
            same & (when[1:] < when[:-1]),
            "rows of a series in order of time",
            "Sort them, e.g. data.sort_index(), and find out why they were not.",
        ),
        (
            "duplicated time",
            same & (when[1:] == when[:-1]),
            "each time once per series",
            keep,
        ),
    ):
        if wrong.any():
            at = np.flatnonzero(wrong) + 1
            raise fail(
                problem,
                expected=expected,
                found=f"{len(at)} rows that break this",
                advice=advice,
                series=None if unique is None else unique[codes[at[0]]],
                rows=[label(position) for position in at[:5]],
            )


def time_to_ints(time: pd.Index) -> Ints:
    """Time stamps as whole numbers in the index's own unit."""
    if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        return np.asarray(time.asi8, dtype=np.int64)
    return time.to_numpy(dtype=np.int64)


def time_from_ints(ints: Ints, like: pd.Index) -> pd.Index:
    """Turn whole numbers in the unit of `like` back into an index of its type, zone and name."""
    if isinstance(like, pd.DatetimeIndex):
        stamps = pd.DatetimeIndex(ints.astype(f"M8[{like.unit}]"), name=like.name)
        return stamps if like.tz is None else stamps.tz_localize("UTC").tz_convert(like.tz)
    if isinstance(like, pd.TimedeltaIndex):
        return pd.TimedeltaIndex(ints.astype(f"m8[{like.unit}]")).rename(like.name)
    return pd.Index(ints, name=like.name)


@dataclass(frozen=True)
class Layout:
    """Where the series of a panel lie in its flat rows.

    Attributes
    ----------
    ids : Index or None
        The series' names in order, S of them; None for a panel of one series without a name.
    labels : Index
        The time of every row, N of them, or, with `at`, times that rows share.
    offsets : ndarray of int64, shape (S + 1,)
        Series s has rows ``offsets[s]:offsets[s + 1]``.
    at : ndarray of int, shape (N,), optional
        Which of the `labels` is the time of each row: two bytes in place of eight.
    calendar : str, optional
        Name of the exchange whose sessions the rows are (see `with_calendar`).
    """

    ids: pd.Index | None
    labels: pd.Index
    offsets: Ints
    at: npt.NDArray[Any] | None = None
    calendar: str | None = None

    @cached_property
    def time(self) -> pd.Index:
        """The time of every row, N of them."""
        return self.labels if self.at is None else self.labels.take(self.at)

    def when(self, rows: Any = slice(None)) -> Ints:
        """Time of some rows as whole numbers, as by `time_to_ints`."""
        ints = time_to_ints(self.labels)
        found: Ints = ints[rows] if self.at is None else ints[self.at[rows]]
        return found

    def time_at(self, row: int) -> Any:
        """The time of a row."""
        return self.labels[row if self.at is None else self.at[row]]

    def last_time(self) -> Any:
        """The latest time of all rows; `labels` may name others that no row has."""
        return self.time_at(self.stops[np.argmax(self.when(self.stops - 1))] - 1)

    def per_row(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give what is true of the labels, one each, for every row, (N,)."""
        return values if self.at is None else values[self.at]

    def stamps(self) -> Ints:
        """The distinct times of all rows in order, as whole numbers."""
        ints = time_to_ints(self.labels)
        if self.at is None:
            return np.unique(ints)
        used = np.zeros(len(ints), dtype=bool)
        for begin in range(0, len(self.at), _BLOCK):
            used[self.at[begin : begin + _BLOCK]] = True
        return np.unique(ints[used])

    @property
    def starts(self) -> Ints:
        """First row of each series, shape (S,)."""
        return self.offsets[:-1]

    @property
    def stops(self) -> Ints:
        """One past the last row of each series, shape (S,)."""
        return self.offsets[1:]

    @property
    def n_series(self) -> int:
        """S, the number of series."""
        return len(self.offsets) - 1

    @property
    def n_rows(self) -> int:
        """N, the number of rows."""
        return int(self.offsets[-1])

    def codes(self) -> Ints:
        """The series' number of every row, shape (N,)."""
        return np.repeat(np.arange(self.n_series), np.diff(self.offsets))

    def names(self) -> list[Any]:
        """The series' names; the constant 0 stands for a series without one."""
        return [0] if self.ids is None else list(self.ids)

    def hours(self) -> Floats:
        """Hours from each series' first row (steps, where time is a whole number), shape (N,)."""
        return self.hours_of(slice(0, self.n_series))

    def hours_of(self, series: slice) -> Floats:
        """Give `hours` of the rows of some series that stand one after the other."""
        edges = self.offsets[series.start : series.stop + 1]
        ints = self.when(slice(edges[0], edges[-1]))
        begins = ints[edges[:-1] - edges[0]]
        passed: Floats = (ints - np.repeat(begins, np.diff(edges))).astype(np.float64)
        if isinstance(self.labels, (pd.DatetimeIndex, pd.TimedeltaIndex)):
            passed /= pd.Timedelta(hours=1) / pd.Timedelta(1, unit=self.labels.unit)
        return passed

    def origins_at(self, cutoffs: Any) -> tuple[Ints, Ints]:
        """Newest rows at or before each cutoff.

        Parameters
        ----------
        cutoffs : Index, time stamp or None
            Times, in order. None: every row is an origin, at its own time.

        Returns
        -------
        rows : ndarray of int64, shape (n,)
            The origins, sorted by series and cutoff; a series without a row yet has none.
        cutoffs : ndarray of int64, shape (n,)
            The cutoff of each origin, as by `time_to_ints`.
        """
        if cutoffs is None:
            return np.arange(self.n_rows), self.when()
        known = self.labels if self.at is None else self.labels[: int(self.at.max()) + 1]
        marks = np.sort(time_to_ints(as_cutoffs(cutoffs, known)))
        # bisection of all series and cutoffs side by side: rows below `low` are known
        low = np.repeat(self.starts[:, None], len(marks), axis=1)  # (S, C)
        high = np.repeat(self.stops[:, None], len(marks), axis=1)
        for _ in range(int(np.diff(self.offsets).max(initial=0)).bit_length()):
            middle = np.minimum((low + high) // 2, self.n_rows - 1)
            below = (low < high) & (self.when(middle) <= marks)
            low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
        rows = low - 1
        some = rows >= self.starts[:, None]
        return rows[some], np.broadcast_to(marks, rows.shape)[some]

    def tail(self, n_rows: int) -> tuple[Layout, Ints]:
        """Keep the last `n_rows` rows of each series: the new layout and the rows kept."""
        counts = np.minimum(np.diff(self.offsets), n_rows)
        return self._take(self.stops - counts, counts)

    def head(self, counts: Ints) -> tuple[Layout, Ints]:
        """Keep the first `counts` (S,) rows of each series: the new layout and the rows kept.

        A series of which nothing is kept is gone: no layout has a series without rows.
        """
        return self._take(self.starts, counts)

    def _take(self, starts: Ints, counts: Ints) -> tuple[Layout, Ints]:
        some = counts > 0
        starts, counts = starts[some], counts[some]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        kept = np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
        ids = None if self.ids is None else self.ids[some]
        if self.at is None or not len(kept):
            return Layout(ids, self.time.take(kept), offsets, calendar=self.calendar), kept
        at = self.at[kept]
        low, high = at.min(), at.max()  # no label beyond those of the rows kept
        labels = self.labels.take(np.arange(low, high + 1))
        return Layout(ids, labels, offsets, at - low, self.calendar), kept


def as_cutoffs(cutoffs: Any, time: pd.Index) -> pd.Index:
    """Cutoffs, or a single one, in the type and unit of the panel's time, rounded down."""
    given = pd.Index(cutoffs if pd.api.types.is_list_like(cutoffs) else [cutoffs]).infer_objects()
    whole, kind = not isinstance(time, _CLOCKS), given.dtype.kind
    try:
        if len(given) and (kind not in "iu" if whole else kind in "iufb"):
            raise TypeError  # pandas would take 5 for 5 ns after 1970
        marks: Any = given.astype(np.int64) if whole else type(time)(given)
    except (TypeError, ValueError):
        marks = None
    if marks is None or marks.hasnans:
        raise bad_parameter(
            "cutoff",
            expected=f"times like those of the panel, {time.dtype}, the last one {time.max()}",
            found=list(given[:5]),
        ) from None
    if isinstance(time, pd.DatetimeIndex) and (marks.tz is None) != (time.tz is None):
        raise fail(
            "time zones differ",
            expected=f"cutoffs in the panel's zone, {time.tz}",
            found=f"{marks.tz}",
            advice="Use tz_localize or tz_convert on the cutoffs.",
        )
    return cast(pd.Index, marks if whole else marks.as_unit(cast(Any, time).unit))


def layout_of(panel: pd.DataFrame) -> Layout:
    """Read the layout of a panel that `as_panel` has made."""
    calendar = panel.attrs.get("calendar")
    if not isinstance(panel.index, pd.MultiIndex):
        return Layout(None, panel.index, np.array([0, len(panel)]), calendar=calendar)
    series, at = panel.index.codes
    ids, labels = panel.index.levels
    begins = np.flatnonzero(series[1:] != series[:-1]) + 1
    offsets = np.concatenate([[0], begins, [len(series)]]).astype(np.int64)
    return Layout(ids.take(series[offsets[:-1]]), labels, offsets, at, calendar)


def only_series(panel: pd.DataFrame, series: Any) -> pd.DataFrame:
    """Keep the rows of one series, or of a list of them.

    Raises
    ------
    ValueError
        If there is no such series.
    """
    if not isinstance(panel.index, pd.MultiIndex):
        raise bad_parameter("series", expected="None, as the panel is one series", found=series)
    wanted = list(series) if isinstance(series, list | tuple | pd.Index | np.ndarray) else [series]
    names = panel.index.get_level_values(0)
    known = names.unique()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise bad_parameter(
            "series",
            expected=f"series of the panel, such as {first(map(repr, known), shown=3)}",
            found=unknown[0],
        )
    return panel[names.isin(wanted)]


def previous_rows(layout: Layout) -> Ints:
    """For each row the row before it in its series, or itself at the start, shape (N,)."""
    return np.maximum(
        np.arange(layout.n_rows) - 1, np.repeat(layout.starts, np.diff(layout.offsets))
    )


def gap_hours(max_gap: Any, layout: Layout, *, name: str = "max_gap") -> float | None:
    """Give `max_gap`, a span of time, in hours; a number of steps where time is a whole number.

    `name` is what the errors call it.

    Raises
    ------
    ValueError
        If it is not what the panel's time asks for.
    """
    if max_gap is None:
        return None
    clock = isinstance(layout.labels, _CLOCKS)
    number = isinstance(max_gap, int | float) and not isinstance(max_gap, bool)
    try:
        if clock == number:
            raise ValueError
        gap = pd.Timedelta(max_gap) / pd.Timedelta(hours=1) if clock else max_gap
        if not gap > 0:
            raise ValueError
        return float(gap)
    except (TypeError, ValueError):
        raise bad_parameter(
            name,
            expected="a time span such as '2h'" if clock else "a number of steps above 0",
            found=max_gap,
        ) from None


def stretches(layout: Layout, warm_up: Ints, max_gap: float | None) -> Ints:
    """First row of the stretch that each row lies in, shape (N,).

    Parameters
    ----------
    layout : Layout
        The series.
    warm_up : ndarray of int64, shape (S,)
        First row of each series behind its warm-up rows.
    max_gap : float or None
        Hours (steps, where time is a whole number) from one row to the next that cut a series.
    """
    few = layout.n_rows < np.iinfo(np.int32).max
    begins = np.repeat(warm_up.astype(np.int32 if few else np.int64), np.diff(layout.offsets))
    if max_gap is None:
        return begins
    hours = layout.hours()
    cut = np.zeros_like(begins)
    jumps = np.flatnonzero(hours[1:] - hours[:-1] > max_gap) + 1  # negative between two series
    cut[jumps] = jumps
    cut[layout.starts] = layout.starts
    return np.maximum(np.maximum.accumulate(cut), begins)


def forward_fill(values: Floats, layout: Layout) -> tuple[Floats, Ints]:
    """Carry the last known value forward within each series.

    Parameters
    ----------
    values : ndarray, shape (N,)
        NaN where missing.
    layout : Layout
        The series.

    Returns
    -------
    filled : ndarray, shape (N,)
        NaN is left before the first value of a series; `values` itself where nothing is missing.
    source : ndarray of int64, shape (N,)
        The row that each value comes from; the series' first row where there is none.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values, np.arange(len(values))
    rows = np.where(missing, 0, np.arange(len(values)))
    source = np.maximum(
        np.maximum.accumulate(rows), np.repeat(layout.starts, np.diff(layout.offsets))
    )
    return values[source], source
