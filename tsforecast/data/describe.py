"""What is in a panel: series, spans, gaps, missing values, and columns that look wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import first
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    is_category,
    layout_of,
    previous_rows,
    time_to_ints,
)

__all__ = ["PanelDescription", "describe_panel"]

_JUMP = 1.8  # at least by this factor: a lost decimal point, a share split, a wrong unit
_UNUSUAL = 20  # and so many times the usual change of the series
_SAME = 0.999  # correlation of changes
_FEW = 10  # rows, too few to say that a column repeats another one or the time
_LONG = 10  # times the usual step
_ID = re.compile(r"(.*_)?(id|ident|identifier)", re.IGNORECASE)
_GROUP = re.compile(r"(subject|patient|person|issuer)(_?(id|no|nr|number))?", re.IGNORECASE)
_STYLE = "border-collapse: collapse; font-size: 90%; margin: 0.5em 0"


@dataclass(frozen=True, eq=False, repr=False)
class PanelDescription:
    """What `describe_panel` found; it shows itself as text and, in Jupyter, as HTML.

    Attributes
    ----------
    series : DataFrame
        One row per series: `rows`, `first`, `last`, `span`, `longest_gap` (between two rows),
        `missing` (share of the cells) and `jumps` (see `columns`).
    columns : DataFrame
        One row per column: `dtype`, `missing` (share), `min`, `median`, `max`, `zero` and
        `unchanged` (shares of the known values that are 0, or equal to the one before), `jumps`
        (changes by a factor of 1.8 or more that are also 20 times the usual change of their
        series, in columns of positive numbers), `static` (constant within every series),
        `available` (known at the time of the row, as `align_asof` makes sure) and `suspicious`
        (what to look into, or nothing).
    warnings : list of str
        The same in sentences.
    """

    summary: str
    series: pd.DataFrame
    columns: pd.DataFrame
    warnings: list[str]

    def __repr__(self) -> str:
        table = self.columns.to_string(na_rep="", float_format=_short)
        return "\n".join([self.summary, "", table, "", *(f"- {line}" for line in self.warnings)])

    def _repr_html_(self) -> str:
        parts = [f"<p><strong>{escape(self.summary)}</strong></p>"]
        if self.warnings:
            parts += ["<ul>", *(f"<li>{escape(line)}</li>" for line in self.warnings), "</ul>"]
        parts.append(_html(self.columns))  # series may be patients: `series` has them
        return "<div>\n" + "\n".join(parts) + "\n</div>"


def describe_panel(panel: pd.DataFrame) -> PanelDescription:
    """Look a panel over before a model does.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.

    Returns
    -------
    PanelDescription
        With the frames `series` and `columns` and the list `warnings`. Text and HTML name no
        series, which may be patients; the frame `series` does.

    Raises
    ------
    DataError
        If `as_panel` refuses the data.

    Notes
    -----
    What it calls suspicious may be right: a column that only rises can be a price index. It does
    not know the meaning of a column and sees no leak that is not one of shape.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=12, name="day")
    >>> panel = pd.DataFrame({"close": [5.0, 5.1, 5.0, 51.0] + 8 * [5.1], "row": range(12)}, days)
    >>> describe_panel(panel)
    1 series, 12 rows, 2 columns, 2024-01-01 00:00:00 to 2024-01-12 00:00:00
    <BLANKLINE>
             dtype  missing   min  median   max   zero  unchanged  jumps  static ...
    close  float64        0     5     5.1    51      0     0.6364      2   False ...
    row    float64        0     0     5.5    11 0.08333         0      0   False ...
    <BLANKLINE>
    - Column 'close': 2 huge jumps.
    - Column 'row': rises or falls with time.
    - No stamp of availability: 'close', 'row'. They count as known at the time of their row; ...
    """
    panel = as_panel(panel)
    layout = layout_of(panel)
    numbers = panel.select_dtypes("float64")
    values = numbers.to_numpy()  # (N, F)
    jumps = _jumps(values, layout)
    available = set(panel.attrs.get("available", ()))
    columns = _columns(panel, layout, available)
    columns.loc[list(numbers), "jumps"] = jumps.sum(axis=0)
    columns["suspicious"] = _suspicions(panel, columns, layout)
    series = _series(panel, layout)
    series["jumps"] = np.add.reduceat(jumps.sum(axis=1), layout.starts)
    count, rows = layout.n_series, layout.n_rows
    summary = (
        f"{count:,} series, {rows:,} rows, {panel.shape[1]} columns, "
        f"{layout.time.min()} to {layout.time.max()}"
    )
    warnings = _warnings(series, columns, layout)
    if note := panel.attrs.get("survivorship"):
        warnings.append(str(note))
    return PanelDescription(summary, series, columns, warnings)


def _series(panel: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    when = time_to_ints(layout.time)
    before = previous_rows(layout)
    gaps = np.maximum.reduceat(when - when[before], layout.starts)
    stamps = layout.time.rename(None)
    begin, end = stamps[layout.starts], stamps[layout.stops - 1]
    missing = np.add.reduceat(panel.isna().to_numpy().sum(axis=1), layout.starts)
    lengths = np.diff(layout.offsets)
    ids = pd.Index([0]) if layout.ids is None else layout.ids
    return pd.DataFrame(
        {
            "rows": lengths,
            "first": begin,
            "last": end,
            "span": end - begin,
            "longest_gap": _spans(gaps, layout.time),
            "missing": missing / (lengths * panel.shape[1]),
        },
        index=ids,
    )


def _spans(ints: Ints, time: pd.Index) -> Any:
    if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        return pd.TimedeltaIndex(ints.astype(f"m8[{time.unit}]"))
    return ints


def _columns(panel: pd.DataFrame, layout: Layout, available: set[Any]) -> pd.DataFrame:
    before = previous_rows(layout)
    inside = before != np.arange(layout.n_rows)
    rows = []
    for name in panel:
        column = panel[name]
        known = column.notna().to_numpy()
        row: dict[str, Any] = {"dtype": str(column.dtype), "missing": 1.0 - known.mean()}
        if is_category(column):
            values = np.where(known, column.cat.codes, np.nan)
        else:
            values = column.to_numpy()
            some = values[known] if known.any() else np.array([np.nan])
            row |= {"min": some.min(), "median": np.median(some), "max": some.max()}
            row["zero"] = np.mean(some == 0) if known.any() else np.nan
        pairs = inside & known & known[before]
        same = values[pairs] == values[before][pairs]
        row["unchanged"] = same.mean() if len(same) else np.nan
        row["jumps"] = 0
        row["static"] = known.any() and _is_static(values, layout)
        row["available"] = name in available
        rows.append(row)
    names = ["dtype", "missing", "min", "median", "max", "zero", "unchanged", "jumps"]
    return pd.DataFrame(rows, index=panel.columns, columns=[*names, "static", "available"])


def _is_static(values: Floats, layout: Layout) -> bool:
    """Tell whether the known values of each series are all the same."""
    if layout.n_series == 1:
        return False  # that is called constant
    low = np.minimum.reduceat(np.where(np.isnan(values), np.inf, values), layout.starts)
    high = np.maximum.reduceat(np.where(np.isnan(values), -np.inf, values), layout.starts)
    return bool((low >= high).all())


def _jumps(values: Floats, layout: Layout) -> Any:
    """Cells (N, F) that are far from the row before, in columns of positive numbers."""
    before = previous_rows(layout)
    positive = np.where(values > 0, values, np.nan)
    change = np.abs(np.log(positive) - np.log(positive[before]))
    change[layout.starts] = np.nan
    usual = pd.DataFrame(change).groupby(layout.codes()).transform("median").to_numpy()
    return (change >= np.maximum(np.log(_JUMP), _UNUSUAL * usual)) & ~(values < 0).any(axis=0)


def _suspicions(panel: pd.DataFrame, columns: pd.DataFrame, layout: Layout) -> list[str]:
    twins = _twins(panel.select_dtypes("float64"), layout)
    found = []
    for name, row in columns.iterrows():
        values = None if is_category(panel[name]) else panel[name].to_numpy()
        notes = []
        if row["missing"] == 1:
            notes.append("no value at all")
        elif panel[name].nunique() == 1:
            notes.append("constant")
        if name in twins:
            notes.append(f"moves as {twins[name]!r} does")
        if row["jumps"] > 0:
            notes.append(f"{row['jumps']:,} huge jump" + "s" * (row["jumps"] > 1))
        if isinstance(name, str) and _GROUP.fullmatch(name):
            notes.append("names a group, for group=")
        elif (isinstance(name, str) and _ID.fullmatch(name)) or (
            values is not None and _numbers_series(values, row, layout)
        ):
            notes.append("looks like an id")
        if values is not None and _is_monotone(values, row, layout):
            notes.append("rises or falls with time")
        found.append("; ".join(notes))
    return found


def _twins(numbers: pd.DataFrame, layout: Layout) -> dict[Any, Any]:
    """Columns whose changes are, up to a factor, those of an earlier column."""
    values = numbers.to_numpy()
    change = values - values[previous_rows(layout)]
    change[layout.starts] = np.nan
    known = ~np.isnan(change)
    scale = np.array([np.std(c[k]) if k.any() else 0.0 for c, k in zip(change.T, known.T)])
    z = np.where(known & (scale > 0), change / np.where(scale > 0, scale, 1.0), 0.0)
    both = known.T.astype(np.float64) @ known  # pairwise numbers of rows
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = z.T @ known
        squares = (z**2).T @ known
        spread = squares - sums**2 / both
        alike = (z.T @ z - sums * sums.T / both) / np.sqrt(spread * spread.T)
    alike[both < _FEW] = np.nan
    twins = {}
    for j, name in enumerate(numbers):
        earlier = np.flatnonzero(np.abs(alike[j, :j]) >= _SAME)
        if len(earlier):
            twins[name] = numbers.columns[earlier[0]]
    return twins


def _numbers_series(values: Floats, row: pd.Series, layout: Layout) -> bool:
    """Tell whether each series has a whole number of its own."""
    own = np.unique(values[~np.isnan(values)])
    return bool(row["static"] and len(own) == layout.n_series and (own == np.rint(own)).all())


def _is_monotone(values: Floats, row: pd.Series, layout: Layout) -> bool:
    """Tell whether a column goes one way in every series, mostly without standing still."""
    filled = pd.Series(values).groupby(layout.codes()).ffill().to_numpy()
    steps = filled - filled[previous_rows(layout)]
    steps = steps[~np.isnan(steps)]
    enough = (steps != 0).sum() >= max(_FEW, layout.n_series)
    return bool(enough and row["unchanged"] < 0.5 and ((steps >= 0).all() or (steps <= 0).all()))


def _warnings(series: pd.DataFrame, columns: pd.DataFrame, layout: Layout) -> list[str]:
    lines = [f"Column {name!r}: {notes}." for name, notes in columns["suspicious"].items() if notes]
    partly = columns.index[(columns["missing"] > 0.5) & (columns["missing"] < 1)]
    if len(partly):
        lines.append(f"More than half is missing in {first(map(repr, partly))}.")
    static = columns.index[columns["static"]]
    if len(static):
        lines.append(f"Constant within every series, for static=: {first(map(repr, static))}.")
    unknown = columns.index[~columns["available"] & ~columns["static"]]
    if len(unknown):
        lines.append(
            f"No stamp of availability: {first(map(repr, unknown))}. They count as known at the "
            "time of their row; bring in what becomes known later with align_asof."
        )
    return lines + _of_series(series, layout)


def _of_series(series: pd.DataFrame, layout: Layout) -> list[str]:
    """Sentences on series; without names, which may be those of patients."""
    count, lines = layout.n_series, []
    steps = np.delete(np.diff(time_to_ints(layout.time)), layout.stops[:-1] - 1)
    if len(steps):
        sizes, times = np.unique(steps, return_counts=True)
        usual = _spans(sizes[[np.argmax(times)]], layout.time)[0]
        gaps = int((series["longest_gap"] > _LONG * usual).sum())
        if gaps:
            lines.append(
                f"{gaps:,} of {count:,} series have a gap of more than {_LONG} times the usual "
                f"step, {usual}; the longest is {series['longest_gap'].max()}."
            )
    early = int((series["last"] < series["last"].max()).sum())
    if 0 < early <= count / 2:
        lines.append(f"{early:,} of {count:,} series end before the others do.")
    short = int((series["rows"] < _FEW).sum())
    if short:
        lines.append(f"{short:,} of {count:,} series have fewer than {_FEW} rows.")
    empty = int((series["missing"] == 1).sum())
    if empty:
        lines.append(f"{empty:,} of {count:,} series have no value at all.")
    return lines


def _html(frame: pd.DataFrame) -> str:
    table: str = frame.to_html(border=1, na_rep="", float_format=_short, escape=True)
    return table.replace("<table ", f'<table style="{_STYLE}" ', 1)


def _short(number: float) -> str:
    return f"{number:.4g}"
