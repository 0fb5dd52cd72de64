"""Charted data: long tables of measurements, as hospitals keep them, become panels.

A value enters at the time at which it was known: at its availability where that is given, and on a
grid at the first mark at or after it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, first
from tsforecast.data.panel import (
    Floats,
    Ints,
    add_available,
    as_panel,
    as_time,
    layout_of,
    pandas_frame,
    time_from_ints,
    time_to_ints,
)
from tsforecast.data.vitals import nearest, note, vital_of

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

__all__ = ["from_meds", "from_mimic", "long_to_panel", "on_grid"]

Rule = Literal["last", "first", "mean", "min", "max", "sum"]
_RULES = ("last", "first", "mean", "min", "max", "sum")
_CLOCKS = (pd.DatetimeIndex, pd.TimedeltaIndex)
_MOST_EMPTY = 1_000  # rows of a grid per row with values, beyond which a date must be wrong
_MANY = 5_000_000


def long_to_panel(
    frame: pd.DataFrame | IntoFrame,
    patient: Hashable,
    time: Hashable,
    variable: Hashable,
    value: Hashable,
    available: Hashable | None = None,
    *,
    admission: Hashable | Mapping[Any, Any] | pd.Series | None = None,
    variables: Sequence[Hashable] | Mapping[Any, Hashable] | None = None,
    grid: str | pd.Timedelta | int | None = None,
    rules: Mapping[Hashable, Rule] | None = None,
    duplicates: Rule | Literal["raise"] = "last",
    unordered: Literal["sort", "raise"] = "sort",
    clean: bool = False,
) -> pd.DataFrame:
    """Turn a table with one measurement per row into a panel with one column per variable.

    Parameters
    ----------
    frame : DataFrame
        One row per measurement, of pandas, polars, pyarrow or duckdb.
    patient, time, variable, value : hashable
        Its columns: the series (patient or stay), when it was measured (datetimes, timedeltas or
        whole numbers), what was measured, and the number.
    available : hashable, optional
        Column: when the value became known, such as the report of a laboratory. It enters the
        panel then, and never before its own `time`. A value that becomes known after a newer one
        of the same variable is left out (unless its rule is other than ``"last"``), and so is one
        of which it is not known when.
    admission : hashable, mapping or Series, optional
        Patient to the time of admission, or the column that holds it: time becomes the time since
        then. Values from before keep their negative times.
    variables : sequence or mapping, optional
        The variables there may be, all of which become columns, measured or not; or a mapping of
        the table's codes to names, where several codes may have one name. Default: what is found.
    grid : str, Timedelta or int, optional
        ``"1h"`` (a number of steps, where time is a whole number): rows at regular times, counted
        from the admission, or else from 1970; from the first value of a patient (from 0, where time
        is a span) to the last. A value enters the first one at or after it. Default: a row at each
        time at which a value enters.
    rules : mapping, optional
        Variable to ``"last"``, ``"first"``, ``"mean"``, ``"min"``, ``"max"`` or ``"sum"``: which of
        several values in an interval of `grid` counts. Default ``"last"``.
    duplicates : {"last", "first", "mean", "min", "max", "sum", "raise"}
        Which of several values of a variable at the very same time counts; of those that became
        known together, the last is the one measured last.
    unordered : {"sort", "raise"}
        What to do where times of a patient do not increase from row to row. A table of a database
        has no order; in a log it may be the sign of a clock that was put back.
    clean : bool
        Mend units and remove impossible values, as `plausible` does, before several values are
        made one.

    Returns
    -------
    DataFrame
        A panel with index ``(patient, "time")``. `cleaning_report` tells what was counted.

    Raises
    ------
    DataError
        If columns, patients, times or admissions are missing, times are of the wrong type or (if
        asked for) not in order, a variable is not among `variables`, nothing is left, or a grid
        would be nearly all empty, as one wrong year makes it.
    ValueError
        If a parameter is not one of its choices, or `rules` names an unknown variable.

    Examples
    --------
    >>> import pandas as pd
    >>> chart = pd.DataFrame(
    ...     {
    ...         "stay": [1, 1, 1, 1],
    ...         "hour": pd.to_timedelta([0.2, 0.9, 1.1, 1.5], unit="h"),
    ...         "item": ["HR", "HR", "Urine", "Urine"],
    ...         "value": [80, 90, 30, 50],
    ...     }
    ... )
    >>> long_to_panel(chart, "stay", "hour", "item", "value", grid="1h", rules={"Urine": "sum"})
                            HR  Urine
    stay time
    1    0 days 00:00:00   NaN    NaN
         0 days 01:00:00  90.0    NaN
         0 days 02:00:00   NaN   80.0
    """
    choice("duplicates", duplicates, (*_RULES, "raise"))
    choice("unordered", unordered, ("sort", "raise"))
    table = pandas_frame(frame)
    columns: dict[str, Any] = {
        "patient": patient,
        "time": time,
        "variable": variable,
        "value": value,
    }
    if available is not None:
        columns["available"] = available
    by_column = _names_column(admission, table)
    if by_column:
        columns["admission"] = admission
    long = _columns_of(table, columns)
    notes: dict[str, Any] = {}
    long = _without(long, "variable", "rows without a variable's name", notes)
    long = _without(long, "value", "rows without a value", notes)
    column, names = _named(long["variable"], variables)
    chosen = _checked_rules(rules, names)
    _complete(long, "patient", patient)
    codes, ids = pd.factorize(long["patient"], sort=True)
    long = long.assign(variable=column, patient=codes, value=_numbers(long["value"]))
    words = long.loc[long["value"].isna(), "variable"]
    by_time = np.array([chosen.get(name, "last") == "last" for name in names])
    long = long[long["value"].notna()].reset_index(drop=True)
    if long.empty:
        raise _nothing("no row with a number")
    counts: dict[Hashable, dict[str, int]] = {}
    if clean:  # first: what cannot be true does not stand for anything older
        long, counts = _cleaned(long, names)
    long = _known_when(long, columns, notes, by_time)
    notes["patients without any value"] = ids.delete(np.unique(long["patient"])).tolist()
    begins = long["admission"] if by_column else admission
    stamps = _since(long, ids, begins, by_column=by_column)
    back = _backwards(long)
    if back.any() and unordered == "raise":
        at = np.flatnonzero(back)
        raise fail(
            "times do not increase",
            expected="each row of a patient at or after the one before",
            found=f"{len(at)} rows that go back",
            advice='Sort them, or pass unordered="sort" if the order of rows has no meaning.',
            column=time,
            series=ids[long["patient"].iloc[at[0]]],
            rows=[str(stamp) for stamp in stamps[at[:5]]],
        )
    notes["rows out of order of time"] = int(back.sum())
    panel, further = _pivot(long, stamps, ids, names, duplicates)
    panel.index = panel.index.set_names(patient, level=0)
    not_numeric = np.bincount(words, minlength=len(names))
    for j, name in enumerate(names):
        counts.setdefault(name, {}).update(
            duplicates=int(further[j]), not_numeric=int(not_numeric[j])
        )
    if grid is not None:
        panel = on_grid(panel, grid, chosen)
    if available is not None:
        panel = add_available(panel, names)
    return note(panel, counts, notes)


def _names_column(admission: Any, table: pd.DataFrame) -> bool:
    if admission is None or isinstance(admission, (Mapping, pd.Series)):
        return False
    if not isinstance(admission, Hashable) or admission not in table:
        raise bad_parameter(
            "admission", expected="a column, or patient to time of admission", found=admission
        )
    return True


def _columns_of(table: pd.DataFrame, columns: Mapping[str, Hashable]) -> pd.DataFrame:
    """Give the columns named, under names of our own; index levels count as columns."""
    levels = [n for n in table.index.names if n in columns.values() and n not in table]
    flat = table.reset_index(level=levels) if levels else table
    if missing := [name for name in columns.values() if name not in flat]:
        raise fail(
            "columns not found",
            expected=f"columns {list(columns.values())}",
            found=f"{list(flat.columns)}",
            advice=f"Missing: {missing}. {nearest(missing[0], flat.columns)}",
        )
    if flat.empty:
        raise _nothing("no rows at all")
    long = pd.DataFrame({ours: flat[name].array for ours, name in columns.items()})
    if isinstance(long["patient"].dtype, pd.CategoricalDtype):
        long["patient"] = long["patient"].astype(long["patient"].cat.categories.dtype)
    return long


def _without(long: pd.DataFrame, name: str, what: str, notes: dict[str, Any]) -> pd.DataFrame:
    """Leave out and count the rows in which this is missing."""
    missing = long[name].isna().to_numpy()
    notes[what] = int(missing.sum())
    return long if not missing.any() else long[~missing].reset_index(drop=True)


def _named(
    given: pd.Series, variables: Sequence[Hashable] | Mapping[Any, Hashable] | None
) -> tuple[Ints, list[Hashable]]:
    """Give the number of each row's variable, and their names; all known, if there is a list."""
    if isinstance(variables, str):
        raise bad_parameter("variables", expected="a list of names, or a mapping", found=variables)
    codes, labels = pd.factorize(given)
    found = [label.item() if hasattr(label, "item") else label for label in labels]
    if variables is None:
        variables = sorted(found, key=str)
    known = variables if isinstance(variables, Mapping) else {name: name for name in variables}
    unknown = [name for name in found if name not in known]
    if unknown:
        rows = np.flatnonzero(np.isin(codes, [found.index(name) for name in unknown]))
        raise fail(
            "unknown variables",
            expected=f"only {first(map(repr, known))}",
            found=f"{first(map(repr, unknown))} in {len(rows)} rows",
            advice=f"{nearest(unknown[0], known)}Add them to variables=, or drop their rows.",
            column=given.name,
            rows=[f"row {i}" for i in rows[:5]],
        )
    names = list(dict.fromkeys(known.values()))
    number = {name: j for j, name in enumerate(names)}
    return np.array([number[known[name]] for name in found], dtype=np.int64)[codes], names


def _checked_rules(
    rules: Mapping[Hashable, Rule] | None, names: Sequence[Hashable]
) -> dict[Hashable, str]:
    for name, rule in (rules or {}).items():
        if name not in names:
            raise bad_parameter(
                "rules",
                expected=f"variables among {first(map(repr, names))}",
                found=name,
                advice=nearest(name, names).strip() or None,
            )
        choice(f"rules[{name!r}]", rule, _RULES)
    return dict(rules or {})


def _numbers(column: pd.Series) -> Floats:
    """Values as float64; words and infinities become NaN."""
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(column.astype(object), errors="coerce")
    values: Floats = column.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    values[np.isinf(values)] = np.nan
    return values


def _complete(long: pd.DataFrame, ours: str, name: Hashable) -> None:
    where = np.flatnonzero(long[ours].isna())
    if len(where):
        raise fail(
            f"{ours} is missing",
            expected=f"a {ours} in every row",
            found=f"{len(where)} rows without",
            advice="Drop or repair these rows.",
            column=name,
            rows=[f"row {i}" for i in where[:5]],
        )


def _known_when(
    long: pd.DataFrame,
    columns: Mapping[str, Hashable],
    notes: dict[str, Any],
    by_time: npt.NDArray[np.bool_],
) -> pd.DataFrame:
    """Add `charted`, when measured, and `when`, when known; leave out what came too late."""
    charted: Any = as_time(pd.Index(long["time"]), column=columns["time"])
    if "available" not in columns:
        return long.assign(charted=charted, when=charted)
    kept = long["available"].notna().to_numpy()
    notes["values of unknown availability, left out"] = int((~kept).sum())
    long, charted = long[kept].reset_index(drop=True), charted[kept]
    if long.empty:
        raise _nothing("no row with a time of availability")
    known: Any = as_time(pd.Index(long["available"]), column=columns["available"])
    zones = [getattr(index, "tz", None) is None for index in (charted, known)]
    if charted.dtype.kind != known.dtype.kind or zones[0] != zones[1]:
        raise fail(
            "availability is of another kind than the time",
            expected=f"{charted.dtype}, as {columns['time']!r}",
            found=f"{known.dtype}",
            advice="Convert one of them, e.g. with pd.to_datetime or dt.tz_localize.",
            column=columns["available"],
        )
    notes["values known before they were measured, taken at their time"] = int(
        (known < charted).sum()
    )
    long = long.assign(charted=charted, when=pd.Series(known).where(known >= charted, charted))
    late = _superseded(long) & by_time[long["variable"]]
    notes["values older than one known before, left out"] = int(late.sum())
    return long[~late].reset_index(drop=True)


def _superseded(long: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell which values became known only after a newer one of their variable."""
    charted, when = (time_to_ints(pd.Index(long[name])) for name in ("charted", "when"))
    order = np.lexsort((charted, when))
    key = (long["patient"] * (1 + long["variable"].max()) + long["variable"]).to_numpy()[order]
    known = long["value"].notna().to_numpy()[order]
    newest = pd.Series(np.where(known, charted[order], charted.min())).groupby(key).cummax()
    late = np.zeros(len(long), dtype=bool)
    late[order] = charted[order] < newest.to_numpy()
    return late


def _since(long: pd.DataFrame, ids: pd.Index, begins: Any, *, by_column: bool) -> pd.Index:
    """Give the time at which each value enters: of the clock, or since admission."""
    when: pd.Index = pd.Index(long["when"])
    if begins is None:
        return when
    codes = long["patient"].to_numpy()
    if by_column:
        many = begins.groupby(codes).nunique()
        if (many > 1).any():
            raise fail(
                "several times of admission",
                expected="one for each patient",
                found=f"{int(many.max())}",
                advice="Name the series by stay rather than by patient.",
                series=ids[int(many.index[int(many.argmax())])],
            )
        start = begins
    else:
        known = begins if isinstance(begins, pd.Series) else dict(begins)
        start = pd.Series(ids).map(known).take(codes)
    lost = codes[start.isna().to_numpy()]
    if len(lost):
        names = list(ids[np.unique(lost)])
        raise fail(
            "patients without a time of admission",
            expected="one for each patient",
            found=f"none for {first(map(repr, names))}",
            advice="Add them to admission=, or drop their rows.",
            series=names[0],
        )
    try:
        since: pd.Index = pd.Index(when - pd.Index(start))
        return since
    except TypeError:
        raise fail(
            "admission is of another kind than the time",
            expected=f"{when.dtype}, as the time of the rows",
            found=f"{start.dtype}",
            advice="Convert one of them, e.g. with pd.to_datetime or dt.tz_localize.",
        ) from None


def _backwards(long: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Rows that lie before the one above them of the same patient."""
    codes = long["patient"].to_numpy()
    order = np.argsort(codes, kind="stable")
    charted = time_to_ints(pd.Index(long["charted"]))[order]
    back = np.zeros(len(codes), dtype=bool)
    back[order[1:]] = (np.diff(charted) < 0) & (np.diff(codes[order]) == 0)
    return back


def _cleaned(
    long: pd.DataFrame, names: Sequence[Hashable]
) -> tuple[pd.DataFrame, dict[Hashable, dict[str, int]]]:
    """Do as `plausible` does, on a long table; rows stay, so that times do."""
    values = long["value"].to_numpy().copy()
    counts = {}
    for j, name in enumerate(names):
        vital = vital_of(name)
        if vital is not None:
            own = (long["variable"] == j).to_numpy()
            values[own], counts[name] = vital.clean(values[own])
    return long.assign(value=values), counts


def _pivot(
    long: pd.DataFrame, stamps: pd.Index, ids: pd.Index, names: Sequence[Hashable], rule: str
) -> tuple[pd.DataFrame, Ints]:
    """Give the panel, and how many values of each variable were further ones for their time."""
    codes, column = long["patient"].to_numpy(), long["variable"].to_numpy()
    ints, charted = time_to_ints(stamps), time_to_ints(pd.Index(long["charted"]))
    order = np.lexsort((charted, ints, codes))  # stable: of equal ones the last in the table
    codes, ints, column = codes[order], ints[order], column[order]
    values = long["value"].to_numpy()[order]
    new = np.ones(len(codes), dtype=bool)
    new[1:] = (np.diff(codes) != 0) | (np.diff(ints) != 0)
    row = np.cumsum(new) - 1
    cells = row * len(names) + column
    known = ~np.isnan(values)
    by_cell = pd.Series(values[known]).groupby(cells[known])
    sizes = by_cell.size()
    if rule == "raise" and (sizes > 1).any():
        cell = int(sizes.index[int(np.argmax(sizes > 1))])
        at = int(np.flatnonzero(new)[cell // len(names)])
        raise fail(
            "several values at one time",
            expected="one value of a variable at a time",
            found=f"{int((sizes > 1).sum())} times with more",
            advice='Choose one with duplicates="last", "mean" and so on.',
            column=names[cell % len(names)],
            series=ids[int(codes[at])],
            rows=[str(stamps[int(order[at])])],
        )
    one = by_cell.agg("last" if rule == "raise" else rule)
    table = np.full(int(row[-1] + 1) * len(names), np.nan)
    table[one.index] = one.to_numpy()
    index = pd.MultiIndex.from_arrays(
        [ids[codes[new]], time_from_ints(ints[new], stamps)], names=["patient", "time"]
    )
    wide = pd.DataFrame(table.reshape(-1, len(names)), index=index, columns=list(names))
    panel = as_panel(wide)
    return panel, np.bincount(sizes.index % len(names), sizes - 1, minlength=len(names))


def _nothing(found: str) -> Exception:
    return fail(
        "nothing to make a panel of",
        expected="at least one measurement with a number",
        found=found,
        advice="Check the query or file that the data came from.",
    )


# -------------------------------------------------------------------------------------------- grid


def on_grid(panel: pd.DataFrame, grid: Any, rules: Mapping[Hashable, str]) -> pd.DataFrame:
    """Take a panel of measurements to regular times, of which none is before the value.

    Parameters
    ----------
    panel : DataFrame
        A panel of float64 columns with the index (series, time).
    grid : str, Timedelta or int
        The step. Times are multiples of it, from the first value of a series (or from 0, where
        time is a span) to its last.
    rules : mapping
        Column to which of several values counts, see `long_to_panel`; the last by default.
    """
    names = list(panel)
    for name, rule in rules.items():
        if name not in names:
            raise bad_parameter(
                "rules",
                expected=f"variables among {first(map(repr, names))}",
                found=name,
                advice=nearest(name, names).strip() or None,
            )
        choice(f"rules[{name!r}]", rule, _RULES)
    layout = layout_of(panel)
    time = layout.time
    step, time = _step(grid, time)
    slot = -(-time_to_ints(time) // step)  # rounded up
    codes = layout.codes()
    begins = np.flatnonzero(np.diff(slot, prepend=slot[0] - 1) | np.diff(codes, prepend=-1))
    values = _reduced(
        panel.to_numpy(dtype=np.float64), begins, [rules.get(n, "last") for n in names]
    )

    low, high = slot[layout.starts], slot[layout.stops - 1]
    if isinstance(time, pd.TimedeltaIndex):
        low = np.minimum(low, 0)
    lengths = high - low + 1
    if lengths.sum() > _MANY and lengths.sum() > _MOST_EMPTY * len(begins):
        longest = int(np.argmax(lengths))
        raise fail(
            "grid is nearly empty",
            expected=f"at most {_MOST_EMPTY} times per row with values",
            found=f"{lengths.sum()} times for {len(begins)} rows, {lengths[longest]} in one series",
            advice="Is one of its dates wrong? Mend it, or choose a wider grid.",
            series=layout.names()[longest],
        )
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    table = np.full((int(offsets[-1]), len(names)), np.nan)
    of_series = codes[begins]
    table[offsets[of_series] + slot[begins] - low[of_series]] = values
    steps = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - low, lengths)
    series = panel.index.get_level_values(0)[layout.starts].repeat(lengths)
    index = pd.MultiIndex.from_arrays(
        [series, time_from_ints(steps * step, time)], names=panel.index.names
    )
    result = pd.DataFrame(table, index=index, columns=panel.columns)
    result.attrs = panel.attrs
    return result


def _step(grid: Any, time: pd.Index) -> tuple[int, pd.Index]:
    """Give the step in units of the time, which becomes finer where it has to."""
    whole = not isinstance(time, _CLOCKS)
    try:
        number = isinstance(grid, (int, np.integer)) and not isinstance(grid, bool)
        if number != whole:
            raise ValueError  # pandas would take a number for nanoseconds
        if not isinstance(time, _CLOCKS):
            if grid < 1:
                raise ValueError
            return int(grid), time
        span = pd.Timedelta(grid)
        if not span > pd.Timedelta(0):
            raise ValueError
    except (TypeError, ValueError):
        raise bad_parameter(
            "grid",
            expected="a number of steps" if whole else "a span of time such as '1h'",
            found=grid,
        ) from None
    if span % pd.Timedelta(1, unit=time.unit):
        time = time.as_unit("ns")
    return int(span // pd.Timedelta(1, unit=time.unit)), time


def _reduced(values: Floats, begins: Ints, rules: Sequence[str]) -> Floats:
    """Make one row of each run of rows.

    Parameters
    ----------
    values : ndarray, shape (N, F)
        NaN where missing.
    begins : ndarray of int64, shape (R,)
        First row of each run.
    rules : sequence of str, length F
        Which value of each column counts.

    Returns
    -------
    ndarray, shape (R, F)
    """
    reduced = np.empty((len(begins), len(rules)))
    rows = np.arange(len(values))
    for j, rule in enumerate(rules):
        column = values[:, j]
        known = ~np.isnan(column)
        if rule in ("last", "first"):
            if rule == "last":
                at = np.maximum.reduceat(np.where(known, rows, -1), begins)
            else:
                at = np.minimum.reduceat(np.where(known, rows, len(rows)), begins)
            reduced[:, j] = np.append(column, np.nan)[np.where(at < 0, len(rows), at)]
        elif rule in ("min", "max"):
            reduced[:, j] = (np.fmin if rule == "min" else np.fmax).reduceat(column, begins)
        else:
            count = np.add.reduceat(known.astype(np.float64), begins)
            total = np.add.reduceat(np.where(known, column, 0.0), begins)
            count[count == 0] = np.nan
            reduced[:, j] = total / count if rule == "mean" else total + 0.0 * count
    return reduced


# ----------------------------------------------------------------------------------------- presets

_MEASURED = frozenset(
    ("LAB", "LABS", "LABEVENTS", "VITAL", "VITALS", "CHART", "CHARTEVENTS", "MEASUREMENT")
    + ("OBSERVATION", "LOINC", "MIMIC_IV_ITEM", "MIMIC_IV_LABITEM")
)

# d_items and d_labitems of MIMIC-IV
_ITEMS: dict[int, str] = {
    220045: "heart_rate",
    220210: "resp_rate",
    224690: "resp_rate",
    220050: "sbp",
    220179: "sbp",
    225309: "sbp",
    220051: "dbp",
    220180: "dbp",
    225310: "dbp",
    220052: "map",
    220181: "map",
    225312: "map",
    220277: "spo2",
    223761: "temperature",  # degrees F
    223762: "temperature",  # degrees C
    223835: "fio2",  # percent
    220739: "gcs_eye",
    223900: "gcs_verbal",
    223901: "gcs_motor",
    224639: "weight",
    226512: "weight",
    226730: "height",
    50813: "lactate",
    50912: "creatinine",
    51006: "bun",
    50824: "sodium",
    50983: "sodium",
    50822: "potassium",
    50971: "potassium",
    50902: "chloride",
    50882: "bicarbonate",
    50868: "anion_gap",
    50809: "glucose",
    50931: "glucose",
    50893: "calcium",
    50960: "magnesium",
    50970: "phosphate",
    50862: "albumin",
    50885: "bilirubin_total",
    50883: "bilirubin_direct",
    50861: "alt",
    50878: "ast",
    50863: "alp",
    50802: "base_excess",
    50817: "sao2",
    50818: "paco2",
    50820: "ph",
    50821: "pao2",
    51002: "troponin_i",
    51003: "troponin_t",
    51221: "hematocrit",
    51222: "hemoglobin",
    51265: "platelets",
    51300: "wbc",
    51301: "wbc",
    51274: "prothrombin_time",
    51237: "inr",
    51275: "ptt",
    51214: "fibrinogen",
}


def from_meds(
    data: str | Path | pd.DataFrame | IntoFrame,
    *,
    codes: Mapping[str, Hashable] | None = None,
    admission: str | Mapping[Any, Any] | pd.Series | None = None,
    available: Hashable | None = None,
    grid: str | pd.Timedelta | None = None,
    rules: Mapping[Hashable, Rule] | None = None,
    duplicates: Rule | Literal["raise"] = "last",
    clean: bool = True,
) -> pd.DataFrame:
    """Read measurements in the Medical Event Data Standard (MEDS).

    Parameters
    ----------
    data : str, Path or DataFrame
        A parquet file, a folder with some (a data set's root: those below its ``data``), or the
        table: columns ``subject_id, time, code, numeric_value``.
    codes : mapping, optional
        Code to the name of a variable; rows of other codes are passed over. Default: codes that
        name a vital sign or laboratory value of `VITALS`, such as ``HR``, ``LOINC//8867-4`` or
        (MIMIC-IV) ``LAB//50813//mmol/L``, under its name there.
    admission : str, mapping or Series, optional
        Subject to the time from which time counts; or the beginning of a code, such as
        ``"ICU_ADMISSION"``, whose first occurrence it is. Subjects without one are left out.
    available : hashable, optional
        Column: when a value became known. MEDS itself has none, so without it a value counts as
        known at its ``time``, which may be when a sample was drawn, hours before its result.
    grid, rules, duplicates, clean
        As of `long_to_panel`.

    Returns
    -------
    DataFrame
        A panel with index ``(subject_id, time)``. Rows without a time, which MEDS uses for what
        holds for life, are not measurements and are passed over.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a file is to be read and pyarrow is not installed.
    DataError
        If no code is known, and as of `long_to_panel`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame(
    ...     {
    ...         "subject_id": [7, 7, 7],
    ...         "time": pd.to_datetime(["2024-05-01 08:00", "2024-05-01 08:10", "2024-05-01 9:00"]),
    ...         "code": ["ICU_ADMISSION//MICU", "LOINC//8867-4", "LAB//50813//mmol/L"],
    ...         "numeric_value": [None, 88.0, 2.5],
    ...     }
    ... )
    >>> from_meds(table, admission="ICU_ADMISSION")
                                heart_rate  lactate
    subject_id time
    7          0 days 00:10:00        88.0      NaN
               0 days 01:00:00         NaN      2.5
    """
    wanted = ["subject_id", "time", "code", "numeric_value"]
    wanted += [str(available)] if available is not None else []
    if isinstance(data, (str, Path)):
        table = pd.concat([_parquet(path, wanted) for path in _meds_files(Path(data))])
    else:
        table = pandas_frame(data)
    _columns_of(table, {name: name for name in ["patient", *wanted[1:]]} | {"patient": wanted[0]})
    table = table[table["time"].notna()]
    found = table["code"].dropna().unique().tolist()
    if codes is None:
        guesses = {code: _meds_name(str(code)) for code in found}
        known: dict[Any, Hashable] = {c: name for c, name in guesses.items() if name is not None}
    else:
        known = dict(codes)
    rows = table["code"].isin(list(known))
    if not rows.any():
        raise fail(
            "no known code",
            expected="codes of codes=" if codes is not None else "codes of vital signs or labs",
            found=first(map(repr, found)) or "none",
            advice="Pass codes=, from the codes of the data to names.",
            column="code",
        )
    begins: Any = admission
    if isinstance(admission, str):
        begins = _first_time(table, admission)
        rows &= table["subject_id"].isin(begins.index)
    return long_to_panel(
        table[rows],
        "subject_id",
        "time",
        "code",
        "numeric_value",
        available,
        admission=begins,
        variables=known,
        grid=grid,
        rules=rules,
        duplicates=duplicates,
        clean=clean,
    )


def _meds_files(path: Path) -> list[Path]:
    path = path.expanduser()
    if path.is_file():
        return [path]
    inside = path / "data" if (path / "data").is_dir() else path
    files = sorted(inside.rglob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"MEDS data: expected parquet files, found none at {path}.")
    return files


def _parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        import_module("pyarrow")
    except ImportError as error:
        raise ImportError(
            f"parquet files are read with pyarrow, which could not be imported ({error}). "
            'Install it with: pip install "tsforecast[batch]"'
        ) from error
    return pd.read_parquet(path, engine="pyarrow", columns=list(columns))


def _meds_name(code: str) -> str | None:
    """Name of the variable that a code stands for; doses and diagnoses stand for none."""
    parts = code.split("//")
    if len(parts) > 1 and parts[0].upper() not in _MEASURED:
        return None
    part = parts[1] if len(parts) > 1 else parts[0]
    if part.isdigit():
        return _ITEMS.get(int(part))
    vital = vital_of(part)
    return None if vital is None else vital.name


def _first_time(table: pd.DataFrame, code: str) -> pd.Series:
    rows = table["code"].astype("str").str.startswith(code)
    if not rows.any():
        known = table["code"].dropna().unique()
        raise bad_parameter(
            "admission",
            expected="the beginning of a code of the data",
            found=code,
            advice=nearest(code, known).strip() or None,
        )
    return table[rows].groupby("subject_id")["time"].min()


def from_mimic(
    chartevents: str | Path | pd.DataFrame | IntoFrame | None = None,
    labevents: str | Path | pd.DataFrame | IntoFrame | None = None,
    *,
    stays: str | Path | pd.DataFrame | IntoFrame | None = None,
    items: Mapping[int, str] | None = None,
    before: str | pd.Timedelta = "0h",
    grid: str | pd.Timedelta | None = None,
    rules: Mapping[Hashable, Rule] | None = None,
    duplicates: Rule | Literal["raise"] = "last",
    clean: bool = True,
) -> pd.DataFrame:
    """Read vital signs and laboratory values of MIMIC-IV, each from when it was known.

    Parameters
    ----------
    chartevents, labevents : str, Path or DataFrame, optional
        The tables, or files of them (``.csv``, ``.csv.gz`` or ``.parquet``, read in pieces):
        columns ``charttime, itemid, valuenum`` and ``stay_id`` or ``hadm_id``. With ``storetime``,
        a value counts from then on, and one without a ``storetime`` does not count; without the
        column it counts from ``charttime``, which for a laboratory value is when the sample was
        drawn, hours too early.
    stays : str, Path or DataFrame, optional
        ``icustays``: columns ``stay_id, hadm_id, subject_id, intime, outtime``. The panel then has
        the series ``stay_id``, time since ``intime``, and the column ``subject_id`` (for
        ``group=``); laboratory values, which know no stay, count in the stay of their hospital
        admission in which they became known. A stay without an ``outtime`` has not ended; values
        outside the stays are counted in the notes of `cleaning_report`. Without it, the series is
        ``stay_id`` of charted values alone, else ``hadm_id``, and time that of the clock.
    items : mapping, optional
        ``itemid`` to name; rows of others are passed over. Default: the common vital signs and
        laboratory values, under their names in `VITALS`; invasive and other blood pressures are
        one, temperatures become degrees C, ``fio2`` a fraction (while `clean`).
    before : str or Timedelta
        How long before ``intime`` values may have become known: ``"24h"`` brings in those of the
        day before, at negative times.
    grid, rules, duplicates, clean
        As of `long_to_panel`.

    Returns
    -------
    DataFrame
        A panel; see `stays`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If columns are missing, a stay has no ``intime``, or no row is left, and as of
        `long_to_panel`.
    ValueError
        If neither table is given.

    Notes
    -----
    The tables of MIMIC-III have other item numbers: pass `items`.

    Examples
    --------
    >>> import pandas as pd
    >>> chart = pd.DataFrame(
    ...     {
    ...         "stay_id": [30, 30],
    ...         "charttime": pd.to_datetime(["2150-01-01 10:00", "2150-01-01 11:00"]),
    ...         "storetime": pd.to_datetime(["2150-01-01 10:20", "2150-01-01 11:05"]),
    ...         "itemid": [220045, 223761],
    ...         "valuenum": [92.0, 99.5],
    ...     }
    ... )
    >>> from_mimic(chart)
                                 heart_rate  temperature
    stay_id time
    30      2150-01-01 10:20:00        92.0          NaN
            2150-01-01 11:05:00         NaN         37.5
    """
    names = dict(_ITEMS if items is None else items)
    given = {"chartevents": chartevents, "labevents": labevents}
    tables = {what: _table(t, names) for what, t in given.items() if t is not None}
    if not tables:
        raise bad_parameter("chartevents", expected="chartevents, labevents or both", found=None)
    stay_table = None if stays is None else _table(stays, None)
    series = "stay_id" if stays is not None or "labevents" not in tables else "hadm_id"
    parts, outside = [], 0
    for what, table in tables.items():
        own = "stay_id" if what == "chartevents" and "stay_id" in table else "hadm_id"
        needed = [own if stay_table is not None else series, "charttime", "itemid", "valuenum"]
        if missing := [name for name in needed if name not in table]:
            raise fail(
                f"columns not found in {what}",
                expected=f"columns {needed}",
                found=f"{list(table.columns)}",
                advice=f"Missing: {missing}.",
            )
        known = "storetime" if "storetime" in table else "charttime"
        part = table[needed].assign(known=pd.to_datetime(table[known]))
        part["charttime"] = pd.to_datetime(part["charttime"])
        whole, part = len(part), part[part[needed[0]].notna()].reset_index(drop=True)
        if stay_table is not None:
            part = _in_stays(part, own, stay_table, before)
            outside += whole - part.index.nunique()  # a row may lie in several stays
        parts.append(part)
    long = pd.concat(parts, ignore_index=True)
    long = long[long["itemid"].isin(list(names))]
    if long.empty:
        raise _nothing("no row of these items and stays")
    long[series] = long[series].astype(np.int64)
    found = set(long["itemid"])
    panel = long_to_panel(
        long,
        series,
        "charttime",
        "itemid",
        "valuenum",
        "known",
        admission=None if stay_table is None else "intime",
        variables={item: name for item, name in names.items() if item in found or items},
        grid=grid,
        rules=rules,
        duplicates=duplicates,
        clean=clean,
    )
    if undated := [what for what, table in tables.items() if "storetime" not in table]:
        # when their values became known is not known: nothing may claim it is
        panel.attrs.pop("available")
        panel = note(panel, notes={"tables without storetime, counted from charttime": undated})
    if stay_table is not None:
        panel = note(panel, notes={"rows outside the stays, left out": outside})
        subject = stay_table.drop_duplicates("stay_id").set_index("stay_id")["subject_id"]
        panel["subject_id"] = subject.reindex(panel.index.get_level_values(0)).to_numpy(
            dtype=np.float64
        )
    return panel


def _table(given: Any, items: Mapping[int, str] | None) -> pd.DataFrame:
    """Give a table, or read its file in pieces, of which the rows of `items` are kept."""
    if not isinstance(given, (str, Path)):
        table = pandas_frame(given)
        table = table.rename(columns={name: str(name).lower() for name in table})
        if items is None or "itemid" not in table:  # its lack is told with that of others
            return table
        return table[table["itemid"].isin(list(items))]
    path = Path(given).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"MIMIC table: expected a file, found none at {path}.")
    if path.suffix == ".parquet":
        return _table(pd.read_parquet(path), items)
    kept = {"subject_id", "hadm_id", "stay_id", "charttime", "storetime", "itemid", "valuenum"}
    kept |= {"intime", "outtime"}
    pieces = pd.read_csv(path, usecols=lambda name: name.lower() in kept, chunksize=1_000_000)
    return pd.concat([_table(piece, items) for piece in pieces], ignore_index=True)


def _in_stays(part: pd.DataFrame, own: str, stays: pd.DataFrame, before: Any) -> pd.DataFrame:
    """Rows that became known within a stay, or up to `before` it, with the stay's beginning."""
    needed = ["stay_id", "hadm_id", "subject_id", "intime", "outtime"]
    if missing := [name for name in needed if name not in stays]:
        raise fail(
            "columns not found in stays",
            expected=f"columns {needed}",
            found=f"{list(stays.columns)}",
            advice=f"Missing: {missing}.",
        )
    try:
        margin = pd.Timedelta(before)
        if isinstance(before, (int, float)) or not margin >= pd.Timedelta(0):
            raise ValueError
    except (TypeError, ValueError):
        raise bad_parameter("before", expected="a span such as '24h'", found=before) from None
    times = stays[[own, "intime", "outtime"] + ["stay_id"] * (own != "stay_id")].copy()
    times["intime"] = pd.to_datetime(times["intime"])
    times["outtime"] = pd.to_datetime(times["outtime"])
    if (unknown := times["intime"].isna()).any():
        raise fail(
            "stays without a beginning",
            expected="an intime of every stay",
            found=f"{int(unknown.sum())} of {len(times)} without",
            advice="Drop these stays, or mend the table.",
            column="intime",
            rows=[f"stay_id {name}" for name in times.loc[unknown, "stay_id"]],
        )
    joined = part.rename_axis("row").reset_index().merge(times, on=own).set_index("row")
    moment = joined["known"].where(joined["known"] >= joined["charttime"], joined["charttime"])
    # without an outtime the stay goes on
    inside = (moment >= joined["intime"] - margin) & ~(moment > joined["outtime"])
    return joined[inside].drop(columns="outtime")
