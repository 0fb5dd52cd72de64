"""Who belonged to the universe when: spells of membership as a mask on a panel."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, first
from tsforecast.data.panel import Ints, as_panel, as_time, layout_of, time_to_ints

__all__ = ["membership"]

_EVER, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def membership(
    spells: pd.DataFrame,
    panel: pd.DataFrame | pd.MultiIndex,
    *,
    series: Hashable | None = None,
    start: Hashable = "start",
    end: Hashable = "end",
    available: Hashable | None = None,
    unknown: Literal["raise", "note"] = "raise",
) -> pd.Series:
    """Say of every row whether its series belonged to the universe at that time.

    An index as it is composed today, followed backwards, holds the firms that did well. Trade and
    train on those that belonged to it at the time, and give the panel the rows of all that ever
    did.

    Parameters
    ----------
    spells : DataFrame
        A row for each spell of membership; a series may have several.
    panel : DataFrame or MultiIndex
        A panel of several series, or its index of (series, time).
    series, start, end : hashable, optional
        Columns of `spells`. The name of the series; by default that of the panel's level. The
        first time at which it belongs, and the first at which it does not any more (the day on
        which a removal takes effect); missing if it still does. Spells that touch are one.
    available : hashable, optional
        Column with the time at which the spell became known. It counts from then on, if that is
        later than its start.
    unknown : {"raise", "note"}
        Spells, in the time of the panel, of series that it does not have, the firms that are gone:
        an error, or a note in ``attrs["survivorship"]`` of the result.

    Returns
    -------
    Series
        Boolean, named ``member``, on the panel's index: for ``backtest_strategy(universe=...)``, or
        as a mask. ``attrs["survivorship"]`` says who is missing: the note of the panel itself, if
        it has one, and what the spells tell. ``panel.attrs |= member.attrs`` hands it on to the
        verdicts of every backtest of that panel.

    Raises
    ------
    DataError
        If a column is missing, spells of a series overlap or end before they begin, their times
        are of another kind than the panel's, no series is that of the panel, or (see `unknown`)
        some are not.

    Notes
    -----
    A series without a spell never belongs. The prices of a series that is gone should go on until
    it was delisted; what a holder then got is for ``backtest_strategy(delisting=...)`` to say.

    Examples
    --------
    >>> import pandas as pd
    >>> spells = pd.DataFrame({"ticker": ["A", "A", "B"], "start": [0, 3, 2], "end": [1, None, 3]})
    >>> index = pd.MultiIndex.from_product([["A", "B"], range(4)], names=["ticker", "day"])
    >>> membership(spells, index).unstack("ticker")
    ticker      A      B
    day
    0        True  False
    1       False  False
    2       False   True
    3        True  False
    """
    choice("unknown", unknown, ("raise", "note"))
    if isinstance(panel, pd.MultiIndex):
        panel = pd.DataFrame({"row": 0.0}, index=panel)
    panel = as_panel(panel)
    layout = layout_of(panel)
    if layout.ids is None:
        raise bad_parameter(
            "panel",
            expected="a panel of (series, time)",
            found=panel,
            advice="One series alone is a universe of one; name it with pd.concat({name: frame}).",
        )
    name = layout.ids.name if series is None else series
    names, begin, until = _read(spells, layout.labels, name, start, end, available)
    codes = layout.ids.get_indexer(pd.Index(names))
    stamps = layout.stamps()
    # those that were members, as far as was known, at any time of the panel
    of_then = (begin < until) & (begin <= stamps[-1]) & (until > stamps[0])
    _check_known(names, codes, of_then, layout.ids, name, unknown)
    own = np.flatnonzero(codes >= 0)
    # series and time as one number, in order
    place = layout.codes() * len(stamps) + np.searchsorted(stamps, layout.when())
    step = np.zeros(layout.n_rows + 1, dtype=np.int64)
    for times, sign in ((begin, 1), (until, -1)):
        at = np.searchsorted(stamps, times[own])
        row = np.searchsorted(place, codes[own] * len(stamps) + at)
        np.add.at(step, row, sign)
    result = pd.Series(np.cumsum(step[:-1]) > 0, index=panel.index, name="member")
    notes = [str(panel.attrs["survivorship"])] if panel.attrs.get("survivorship") else []
    gone = sorted({str(missing) for missing in names[of_then & (codes < 0)]})
    if gone:
        notes.append(
            f"Survivorship: of {len(set(names[of_then]))} members by their spells {len(gone)} have "
            f"no rows: {first(map(repr, gone))}."
        )
    elif (until == _NEVER).all():
        notes.append(
            "Survivorship: no spell of membership has ended; firms that left before may be missing."
        )
    if notes:
        result.attrs["survivorship"] = " ".join(notes)
    return result


def _read(
    spells: Any, time: pd.Index, series: Hashable, start: Hashable, end: Hashable, available: Any
) -> tuple[Any, Ints, Ints]:
    """Name, first time and end of each spell, in the order of names and times."""
    wanted = [name for name in (series, start, end, available) if name is not None]
    if not isinstance(spells, pd.DataFrame) or (set(wanted) - set(spells.columns)):
        raise fail(
            "columns not found in the spells",
            expected=f"columns {wanted}",
            found=f"{list(spells.columns)}"
            if isinstance(spells, pd.DataFrame)
            else type(spells).__name__,
            advice="Name them with series=, start= and end=.",
        )
    spells = spells.reset_index(drop=True)
    for column in (series, start):
        missing = np.flatnonzero(spells[column].isna())
        if len(missing) or not len(spells):
            raise fail(
                "spells without a name or a start",
                expected="a value in every row",
                found=f"{len(missing)} of {len(spells)} rows without",
                advice="Drop or repair these rows.",
                column=column,
                rows=[f"row {i}" for i in missing[:5]],
            )
    begin = _stamps(spells[start], time, start)
    until = _stamps(spells[end], time, end)
    _refuse(spells, until <= begin, "spells end before they begin", "ends after starts", wanted)
    known = begin
    if available is not None:
        known = _stamps(spells[available], time, available, never=_EVER)
    number = pd.factorize(spells[series])[0]
    order = np.lexsort((begin, number))
    same = number[order][1:] == number[order][:-1]
    late = same & (begin[order][1:] < until[order][:-1])
    overlap = np.zeros(len(spells), dtype=bool)
    overlap[order[1:][late]] = overlap[order[:-1][late]] = True
    _refuse(spells, overlap, "spells overlap", "spells of a series one after the other", wanted)
    # one that became known when it was over counts for nothing
    return spells[series].to_numpy(), np.minimum(np.maximum(begin, known), until), until


def _refuse(spells: pd.DataFrame, wrong: Any, problem: str, expected: str, names: Any) -> None:
    """Raise if any spell is wrong, with the first few as they are."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        shown = [
            f"row {i} ({', '.join(str(value) for value in spells.loc[i, names])})" for i in rows[:5]
        ]
        raise fail(
            problem,
            expected=f"{expected}; a spell has its start and not its end",
            found=f"{len(rows)} of {len(spells)} that break this",
            advice="Mend these rows, or join those that overlap.",
            rows=shown,
        )


def _stamps(column: pd.Series, time: pd.Index, name: Hashable, *, never: int = _NEVER) -> Ints:
    """Times of a column in the unit of the panel's time, rounded up; `never` where missing."""
    result = np.full(len(column), never)
    known = column.notna().to_numpy()
    if not known.any():
        return result
    given = pd.Index(column.array[known]).infer_objects()
    if given.dtype.kind == "f" and time.dtype.kind == "i" and (given % 1 == 0).all():
        given = given.astype(np.int64)  # beside a missing value whole numbers are floats
    given = as_time(given, column=name)
    zones = [getattr(index, "tz", None) is None for index in (given, time)]
    if given.dtype.kind != time.dtype.kind or zones[0] != zones[1]:
        raise fail(
            "spells and panel have different kinds of time",
            expected=f"{time.dtype}, as the time of the panel",
            found=f"{given.dtype}",
            advice="Convert the spells, e.g. with pd.to_datetime or dt.tz_localize.",
            column=name,
            rows=[str(value) for value in column[known].head()],
        )
    if isinstance(given, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        down: Any = given.as_unit(time.unit)  # type: ignore[attr-defined]
        result[known] = down.asi8 + (down < given)
    else:
        result[known] = time_to_ints(given)
    return result


def _check_known(
    names: Any, codes: Ints, of_then: Any, ids: pd.Index, column: Hashable, unknown: str
) -> None:
    """Raise if no series of the spells is one of the panel, or if some are not and should be."""
    none = (codes < 0).all()
    missing = pd.unique(pd.Series(names[(codes < 0) & (of_then | none)]))
    if none or (len(missing) and unknown == "raise"):
        raise fail(
            "spells of series that are not in the panel",
            expected=f"some of {first(map(repr, ids.tolist()))}",
            found=f"{'only ' if none else ''}{len(missing)} others: {first(map(repr, missing))}",
            advice="Spell them alike, and mind their type."
            if none
            else "Give the panel their rows: without them a backtest flatters. Or use "
            "unknown='note', which says so in the result.",
            column=column,
        )
