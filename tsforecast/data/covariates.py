"""What stands beside the targets: constants of a series, columns known ahead, weights of rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import fail, first
from tsforecast.data.calendars import TimeStep
from tsforecast.data.keys import Keys
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    is_category,
    layout_of,
    time_from_ints,
    time_to_ints,
)
from tsforecast.data.sessions import ExchangeSessions

__all__ = ["StaticTable", "aligned_weights", "constants", "rows_ahead"]

_HOLIDAYS = 6  # rows that a calendar may be off by


def constants(panel: pd.DataFrame, layout: Layout, columns: Sequence[Hashable]) -> pd.DataFrame:
    """Give the value of each constant column per series, S rows.

    Raises
    ------
    DataError
        If a column changes within a series, or is missing in a part of its rows.
    """
    table = panel[list(columns)].iloc[layout.starts]
    for name in columns:
        column = panel[name]
        # codes of categories are -1 where missing; NaN is not equal to itself
        codes = pd.factorize(column)[0]
        wrong = np.flatnonzero(codes != np.repeat(codes[layout.starts], np.diff(layout.offsets)))
        if len(wrong):
            series = layout.names()[int(layout.codes()[wrong[0]])]
            own = column[layout.codes() == layout.codes()[wrong[0]]]
            raise fail(
                "static column varies",
                expected="one value in all rows of a series",
                found=f"{first(map(repr, own.unique().tolist()), shown=3)}",
                advice="Mend the source; if it changes with time, it is no constant of the series.",
                column=name,
                series=series,
                rows=[str(label) for label in panel.index[wrong[:5]]],
            )
    return table.reset_index(drop=True)


@dataclass(frozen=True)
class StaticTable:
    """How constants of a series become numbers and codes: learned from training series.

    Attributes
    ----------
    numbers : list of str
        Columns of numbers, D of them.
    fill : ndarray, shape (D,)
        Their means, which stand where a series has none.
    categories : dict of str to Keys
        Check sums of the known values of each column of categories, M of them.
    """

    numbers: list[Hashable]
    fill: Floats
    categories: dict[Hashable, Keys]

    @classmethod
    def of(cls, table: pd.DataFrame) -> StaticTable:
        """Learn from the constants of the training series (see `constants`)."""
        numbers = [name for name in table if not is_category(table[name])]
        fill = np.nan_to_num(table[numbers].mean().to_numpy(dtype=np.float64))
        categories = {
            name: Keys.of(pd.Index(table[name].dropna().unique().astype(object)))
            for name in table
            if name not in numbers
        }
        return cls(numbers, fill, categories)

    def arrays(self, table: pd.DataFrame) -> tuple[Floats, Ints, dict[Hashable, list[Any]]]:
        """Numbers (S, D), codes (S, M) with 0 for unknown, and the values that are unknown."""
        for name in self.numbers:
            if isinstance(table[name].dtype, pd.CategoricalDtype):
                raise fail(
                    "static column is of another kind than in fit",
                    expected="numbers",
                    found=f"dtype {table[name].dtype}",
                    advice="Give it the dtype that it had in fit.",
                    column=name,
                )
        values = table[self.numbers].to_numpy(dtype=np.float64)
        values = np.where(np.isnan(values), self.fill, values)
        codes = np.zeros((len(table), len(self.categories)), dtype=np.int64)
        unknown = {}
        for j, (name, known) in enumerate(self.categories.items()):
            given = pd.Index(table[name].astype(object))
            codes[:, j] = known.find(given) + 1
            if new := list(given[(codes[:, j] == 0) & given.notna()].unique()):
                unknown[name] = new
        return values, codes, unknown


def rows_ahead(
    future: Any,
    layout: Layout,
    columns: Sequence[Hashable],
    *,
    horizon: int,
    time_step: TimeStep,
) -> pd.DataFrame:
    """Check the frame of future-known columns: the next `horizon` rows of every series.

    Parameters
    ----------
    future : DataFrame
        Indexed as the panel is.
    layout : Layout
        Of the panel.
    columns : sequence of str
        Columns needed.
    horizon : int
        H.
    time_step : TimeStep
        Of the panel: where the spacing is constant, or an exchange's calendar is given, the rows
        must be the next ones; Monday to Friday leaves room for a week of holidays.

    Returns
    -------
    DataFrame
        A panel of S H rows, series in the order of `layout`.

    Raises
    ------
    DataError
        If rows or columns are missing, late, early or too many, or hold no value.
    """
    frame = as_panel(future)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise _ahead(f"columns {list(columns)}", f"{list(frame.columns)}", column=missing[0])
    frame = frame[list(columns)]
    ahead = layout_of(frame)
    if (ahead.ids is None) != (layout.ids is None):
        raise _ahead("an index like the panel's", f"levels {list(frame.index.names)}")
    if ahead.ids is not None and layout.ids is not None:
        for problem, lost in (
            ("none for", layout.ids.difference(ahead.ids)),
            ("rows of unknown", ahead.ids.difference(layout.ids)),
        ):
            if len(lost):
                raise _ahead(
                    f"rows of the panel's {layout.n_series} series",
                    f"{problem} {first(map(repr, lost))}",
                    series=lost[0],
                )
    zones = [getattr(index, "tz", None) for index in (layout.labels, ahead.labels)]
    if ahead.labels.dtype.kind != layout.labels.dtype.kind or (zones[0] is None) != (
        zones[1] is None
    ):
        raise _ahead(f"times like the panel's, {layout.labels.dtype}", f"{ahead.labels.dtype}")
    counts = np.diff(ahead.offsets)
    if (counts != horizon).any():
        at = int(np.flatnonzero(counts != horizon)[0])
        raise _ahead(
            f"exactly horizon={horizon} rows of every series",
            f"{counts[at]}",
            series=layout.names()[at],
        )
    # the same moments in the panel's zone and unit
    time = ahead.time.astype(layout.labels.dtype)
    when = time_to_ints(time).reshape(-1, horizon)
    ends = layout.when(layout.stops - 1)
    early = np.flatnonzero(when[:, 0] <= ends)
    if len(early):
        at = int(early[0])
        raise _ahead(
            f"rows after the panel's last one, {layout.time[layout.stops[at] - 1]}",
            f"rows from {time[at * horizon]} on",
            series=layout.names()[at],
        )
    if time_step.suits(layout.labels):
        exact = time_step.delta is not None or isinstance(
            time_step.offset, pd.offsets.Tick | pd.offsets.Day | ExchangeSessions
        )
        following = time_step.after(ends, max(horizon, _HOLIDAYS), like=layout.labels)
        late = (when != following[:, :horizon]).any(axis=1)
        if not exact:  # weekdays know no holidays
            late = when[:, 0] > following[:, _HOLIDAYS - 1]
        if late.any():
            at = int(np.argmax(late))
            wanted = time_from_ints(following[at, :horizon], layout.labels)
            raise _ahead(
                f"the rows next after {layout.time[layout.stops[at] - 1]}: {first(wanted)}",
                f"{first(time[at * horizon : (at + 1) * horizon])}",
                series=layout.names()[at],
            )
    unknown = frame.isna().to_numpy()
    if unknown.any():
        at, j = np.argwhere(unknown)[0]
        raise _ahead(
            "a value in every row",
            f"{int(unknown.sum())} NaN",
            column=columns[j],
            rows=[str(label) for label in frame.index[unknown[:, j]][:5]],
        )
    index = time
    if layout.ids is not None:
        ids = layout.ids.take(ahead.codes())
        index = pd.MultiIndex.from_arrays([ids, index], names=[layout.ids.name, layout.labels.name])
    return frame.set_axis(index)


def _ahead(expected: str, found: str, **where: Any) -> ValueError:
    return fail(
        "future= does not fit the panel",
        expected=expected,
        found=found,
        advice="Give the next `horizon` rows of every series; future_index(panel) names them.",
        **where,
    )


def aligned_weights(weights: Any, panel: pd.DataFrame) -> Floats:
    """Check weights of rows and put them in the panel's order, (N,).

    Raises
    ------
    DataError
        If they are not a Series with one number for every row, or one is negative or not finite.
    """
    advice = "Give a Series with the index of as_panel(panel)."
    if not isinstance(weights, pd.Series) or not pd.api.types.is_numeric_dtype(weights):
        kind = type(weights).__name__
        raise fail(
            "sample_weight is not aligned",
            expected="a Series of numbers indexed as the panel",
            found=f"one of dtype {weights.dtype}" if isinstance(weights, pd.Series) else kind,
            advice=advice,
        )
    alike = weights.index.nlevels == panel.index.nlevels
    lost = int((~panel.index.isin(weights.index)).sum()) if alike else len(panel)
    if lost or len(weights) != len(panel):
        raise fail(
            "sample_weight is not aligned",
            expected=f"one weight for each of the panel's {len(panel)} rows",
            found=f"{len(weights)}, and {lost} rows without one",
            advice=advice,
        )
    values = weights.reindex(panel.index).to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad) or not (values > 0).any():
        raise fail(
            "sample_weight cannot be used",
            expected="finite weights of at least 0, not all of them 0",
            found=f"{len(bad)} others" if len(bad) else "zeros only",
            advice="Mend them: a row of weight 0 is not learned from.",
            rows=[f"{panel.index[i]} = {values[i]:g}" for i in bad[:5]],
        )
    return values
