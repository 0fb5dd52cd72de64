"""When a value became known: facts enter a panel at their availability, not at their stamp."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, callers_level, fail, first
from tsforecast.data.panel import (
    Ints,
    add_available,
    as_panel,
    as_time,
    layout_of,
    pandas_frame,
    time_to_ints,
)

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

__all__ = ["align_asof"]


def align_asof(
    panel: pd.DataFrame,
    facts: pd.DataFrame | IntoFrame,
    *,
    available: Hashable,
    period: Hashable | None = None,
    max_age: pd.Timedelta | str | int | None = None,
) -> pd.DataFrame:
    """Add to every row of a panel what was known of its series at that time.

    A laboratory value counts from its report, earnings from their filing, the close of another
    market from that market's closing time; facts of every quarter or month fit rows of every day.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    facts : DataFrame
        A long table, in any order: a column or index level named as the panel's series level
        (none, where the panel holds one series without a name), the column `available`,
        perhaps `period`, and the values, one column each. A value that is missing in a row is
        no fact: the one before stays.
    available : hashable
        Column: when the values of a row became known. A value known exactly at the time of a
        panel's row counts as known there. Mind dates without a time of day: on a row stamped
        2024-05-02 everything dated 2024-05-02 is known, also what came after the close. Add a
        day where that is too early.
    period : hashable, optional
        Column: what the values are about, such as the end of the quarter; anything that has an
        order. Of the values known, those of the latest period count, and of several for one
        period (restatements) the newest. A restatement of an older period changes nothing.
        Default: the newest values count.
    max_age : Timedelta, str or int, optional
        Values that became known longer ago than this are missing: '90D', or a number of steps
        where time is a whole number. Default: values stay until there are newer ones.

    Returns
    -------
    DataFrame
        The panel with the columns of `facts` at its end; their names are added to
        ``attrs["available"]``, the columns known at the time of their rows.

    Raises
    ------
    DataError
        If columns are missing or there already, keys are missing in a row, values are neither
        numbers nor categories, or `available` is of another type than the panel's time, or with
        a zone where that is without.
    ValueError
        If `max_age` does not suit the panel's time.

    Warns
    -----
    UserWarning
        If no fact belongs to a series of the panel.

    Notes
    -----
    Of several rows that became known at the same time (for the same period) the last one counts.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2024-05-01", periods=4, name="day")
    >>> panel = pd.DataFrame({"close": [7.0, 8.0, 8.5, 8.0]}, index=days)
    >>> facts = pd.DataFrame(
    ...     {
    ...         "eps": [1.1, 1.4, 1.2],
    ...         "quarter": ["2024Q1", "2024Q2", "2024Q1"],
    ...         "filed": pd.to_datetime(["2024-05-02", "2024-05-03", "2024-05-04"]),
    ...     }
    ... )
    >>> align_asof(panel, facts, available="filed", period="quarter")
                close  eps
    day
    2024-05-01    7.0  NaN
    2024-05-02    8.0  1.1
    2024-05-03    8.5  1.4
    2024-05-04    8.0  1.4
    """
    panel = as_panel(panel)
    layout = layout_of(panel)
    ids = layout.ids
    keys, values = _split(pandas_frame(facts), None if ids is None else ids.name, available, period)
    if twice := [name for name in values if name in panel]:
        raise fail(
            "columns are in the panel already",
            expected="new names",
            found=f"{twice} in both",
            advice="Rename or drop those of the facts, e.g. "
            f"facts.rename(columns={{{twice[0]!r}: 'new_{twice[0]}'}}).",
            column=twice[0],
        )
    when, known, unit = _in_one_unit(layout.time, keys[available], available)
    limit = None if max_age is None else _limit(max_age, unit)
    ranks = np.zeros(len(keys), dtype=np.int64)
    if period is not None:
        ranks = pd.factorize(_complete(keys, period), sort=True)[0]
    codes = np.zeros(len(keys), dtype=np.int64)
    if ids is not None:
        codes = ids.get_indexer(pd.Index(_complete(keys, ids.name)))
        if (codes < 0).all():
            others = first(map(repr, keys[ids.name].unique().tolist()))
            warnings.warn(
                f"No fact belongs to a series of the panel: expected some of "
                f"{first(map(repr, ids.tolist()))}, found {others}. Spell them alike, and mind "
                "their type.",
                stacklevel=callers_level(),
            )

    order = np.lexsort((known, codes))  # stable: of equal ones the last counts
    order = order[codes[order] >= 0]
    columns = {}
    for name in values:
        rows = order[values[name].notna().to_numpy()[order]]
        # what is about an earlier period than something known before never counts
        latest = pd.Series(ranks[rows]).groupby(codes[rows]).cummax().to_numpy()
        rows = rows[ranks[rows] == latest]
        found = _newest(layout.codes(), when, codes[rows], known[rows])
        source = np.append(rows, -1)[found]
        if limit is not None:
            source[(source >= 0) & (when - known[source] > limit)] = -1
        columns[name] = values[name].reindex(source).array
    result = pd.concat([panel, pd.DataFrame(columns, index=panel.index)], axis=1)
    result.attrs = panel.attrs
    return add_available(result, list(columns))


def _split(
    facts: pd.DataFrame, series: Hashable | None, available: Hashable, period: Hashable | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Facts as their keys and their values, rows counted from 0."""
    wanted = [name for name in (series, available, period) if name is not None]
    levels = [name for name in facts.index.names if name in wanted and name not in facts]
    flat = (facts.reset_index(level=levels) if levels else facts).reset_index(drop=True)
    if missing := [name for name in wanted if name not in flat]:
        raise fail(
            "columns not found in the facts",
            expected=f"columns or index levels {wanted}",
            found=f"{list(flat.columns)}",
            advice=f"Missing: {missing}. "
            + (series in missing) * "The series' column is named as that level of the panel.",
        )
    values = flat.drop(columns=wanted)
    if stamps := [name for name in values if values[name].dtype.kind in "mM"]:
        raise fail(
            "a value of the facts is a time",
            expected="numbers or categories",
            found=f"{values[stamps[0]].dtype}",
            advice=f"If it is what the values are about, pass period={stamps[0]!r}; else drop it.",
            column=stamps[0],
        )
    return flat[wanted], as_panel(values)


def _complete(keys: pd.DataFrame, name: Hashable) -> pd.Series:
    """Give a column of which no value is missing."""
    where = np.flatnonzero(keys[name].isna())
    if len(where):
        raise fail(
            "missing keys of facts",
            expected="a value in every row",
            found=f"{len(where)} rows without",
            advice="Drop or repair these rows.",
            column=name,
            rows=[f"row {i}" for i in where[:5]],
        )
    return keys[name]


def _in_one_unit(
    time: pd.Index, known: pd.Series, available: Hashable
) -> tuple[Ints, Ints, pd.Timedelta | int]:
    """Times of rows and facts as whole numbers of the finer of their units, and that unit.

    Rounding a moment down to the coarser unit would let it be known before its time.
    """
    stamps: Any = as_time(pd.Index(known), column=available)
    rows: Any = time
    zones = [getattr(index, "tz", None) for index in (rows, stamps)]
    if stamps.dtype.kind != rows.dtype.kind or (zones[0] is None) != (zones[1] is None):
        raise fail(
            "facts and panel have different kinds of time",
            expected=f"{rows.dtype}, as the time of the panel",
            found=f"{stamps.dtype}",
            advice="Convert one of them, e.g. with dt.tz_localize or pd.to_datetime.",
            column=available,
        )
    if not isinstance(rows, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        return time_to_ints(rows), time_to_ints(stamps), 1
    unit = max(rows.unit, stamps.unit, key=["s", "ms", "us", "ns"].index)
    rows, stamps = rows.as_unit(unit), stamps.as_unit(unit)
    return time_to_ints(rows), time_to_ints(stamps), pd.Timedelta(1, unit=unit)


def _limit(max_age: Any, unit: pd.Timedelta | int) -> int:
    """Count how many units a value may be old."""
    try:
        whole = isinstance(unit, int)
        if isinstance(max_age, (bool, float)) or isinstance(max_age, (int, np.integer)) != whole:
            raise ValueError  # pandas would take a number for nanoseconds
        age: Any = max_age if whole else pd.Timedelta(max_age)
        if not age >= 0 * unit:  # NaT neither
            raise ValueError
        return int(age // unit)
    except (TypeError, ValueError):
        expected = "a whole number of steps" if whole else "a span of time, such as '90D'"
        raise bad_parameter(
            "max_age", expected=f"{expected}, not negative", found=max_age
        ) from None


def _newest(codes: Ints, when: Ints, fact_codes: Ints, known: Ints) -> Ints:
    """For each row the newest fact of its series known by then, or -1.

    Parameters
    ----------
    codes, when : ndarray of int64, shape (N,)
        Series and time of the rows.
    fact_codes, known : ndarray of int64, shape (K,)
        Series and time of the facts, sorted by both.
    """
    n = len(known)
    # facts first where times are equal: known at that moment
    order = np.lexsort(
        (
            np.repeat([0, 1], [n, len(when)]),
            np.concatenate([known, when]),
            np.concatenate([fact_codes, codes]),
        )
    )
    last = np.maximum.accumulate(np.where(order < n, order, -1))
    newest = np.empty(n + len(when), dtype=np.int64)
    newest[order] = last
    newest = newest[n:]
    own = np.append(fact_codes, -1)[newest] == codes  # else the last fact of another series
    return np.where(own, newest, -1)
