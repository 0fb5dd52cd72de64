"""Events declared by a rule on vital signs, such as a pressure below 65 for half an hour."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first
from tsforecast.data.early_warning import carry_limit, last_known, news2, news2_inputs, numbers_of
from tsforecast.data.panel import Floats, Ints, Layout, as_panel, layout_of
from tsforecast.data.spans import moments, span
from tsforecast.data.vitals import nearest

__all__ = ["Event", "no_column"]

Bools = npt.NDArray[np.bool_]

_OPERATORS: dict[str, Callable[[Floats, float], Bools]] = {
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "==": np.equal,
    "<": np.less,
    ">": np.greater,
}
_CONDITION = re.compile(r"\s*(.+?)\s*(<=|>=|==|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*")


class _Condition(NamedTuple):
    """One comparison of a column with a number."""

    column: str
    operator: str
    number: float


@dataclass(frozen=True)
class Event:
    """An event declared by a rule on vital signs: ``Event("MAP < 65", for_="30min")``.

    Parameters
    ----------
    rule : str
        Comparisons ``COLUMN OP NUMBER`` with ``<``, ``<=``, ``>``, ``>=`` or ``==``, joined by
        ``and`` and ``or`` (``and`` binds tighter; there are no parentheses). COLUMN is a column
        of the panel, or ``NEWS2`` where no column is so named: the score of `news2`.
    for_ : Timedelta, str or int, optional
        How long the rule must have held, at every measured row: the event is on from the first
        measured row at which that is known. A number of steps where time is a whole number.
        Default: one row is enough.
    max_age : Timedelta, str or int, optional
        How long a measured value counts. Default: 24 hours (24 steps, where time is a whole
        number).

    Raises
    ------
    ValueError
        If the rule cannot be read.

    Notes
    -----
    Every comparison uses the last known value of its column, up to `max_age` old, so that a rule
    may join columns that are measured at different times. A row at which none of the rule's
    columns is measured keeps the state of the last row before it, up to `max_age`; then the state
    is unknown (NaN). A time of more than `max_age` between two measurements also ends what
    `for_` counts. The state at a row depends on rows of its series up to it alone.

    Examples
    --------
    >>> import pandas as pd
    >>> minutes = pd.to_timedelta([0, 20, 30, 40, 60], unit="min")
    >>> panel = pd.DataFrame({"MAP": [60.0, 62.0, None, 64.0, 70.0]}, index=minutes)
    >>> Event("MAP < 65").on(panel).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0]
    >>> Event("MAP < 65", for_="30min").on(panel).tolist()
    [0.0, 0.0, 0.0, 1.0, 0.0]
    """

    rule: str
    for_: Any = None
    max_age: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _parse(self.rule)

    def columns(self) -> list[Hashable]:
        """Names in the rule, each once; ``NEWS2`` among them may stand for the score."""
        names = [condition.column for group in _parse(self.rule) for condition in group]
        return list(dict.fromkeys(names))

    def on(self, panel: pd.DataFrame) -> pd.Series:
        """Tell at which rows the event is on.

        Parameters
        ----------
        panel : DataFrame
            A panel with the columns of the rule.

        Returns
        -------
        Series
            1.0 where the event is on, 0.0 where it is off, NaN where that is not known; on the
            index of ``as_panel(panel)``.

        Raises
        ------
        DataError
            If a name of the rule is no column (the nearest one is named), or is no number.
        ValueError
            If `for_` or `max_age` does not suit the panel's time.
        """
        panel = as_panel(panel)
        layout = layout_of(panel)
        limit = carry_limit(self.max_age, layout)
        lasting = 0 if self.for_ is None else span("for_", self.for_, layout)
        measured = np.zeros(layout.n_rows, dtype=bool)
        values = {}
        for name in self.columns():
            raw, seen = _vital(panel, name, self.max_age)
            measured |= seen
            values[name] = last_known(raw, layout, limit)
        holds = _any_of([_all_of([_truth(values, c) for c in g]) for g in _parse(self.rule)])
        rows = np.flatnonzero(measured & ~np.isnan(holds))
        state = np.full(layout.n_rows, np.nan)
        state[rows] = _held(holds[rows] == 1, rows, layout, lasting, limit)
        return pd.Series(last_known(state, layout, limit), index=panel.index, name=self.rule)


def _parse(rule: Any) -> list[list[_Condition]]:
    """Read a rule as alternatives (``or``) of conditions that hold together (``and``)."""
    expected = "comparisons such as 'MAP < 65', joined by 'and' or 'or'"
    if not isinstance(rule, str):
        raise bad_parameter("rule", expected=expected, found=rule)
    groups = []
    for alternative in re.split(r"\s+or\s+", rule.strip()):
        group = []
        for part in re.split(r"\s+and\s+", alternative):
            match = _CONDITION.fullmatch(part)
            if match is None or re.search(r"[<>=]", match[1]):
                raise bad_parameter(
                    "rule",
                    expected=expected,
                    found=rule,
                    advice=f"{part.strip()!r} is not COLUMN OP NUMBER, with OP one of "
                    f"{', '.join(sorted(_OPERATORS))}.",
                )
            group.append(_Condition(match[1], match[2], float(match[3])))
        groups.append(group)
    return groups


def _vital(panel: pd.DataFrame, name: Hashable, max_age: Any) -> tuple[Floats, Bools]:
    """Values of a name in a rule, and where it is measured, (N,) each."""
    by_text = {str(column): column for column in panel.columns}
    if name not in panel.columns and name in by_text:
        name = by_text[str(name)]
    if name not in panel.columns and name == "NEWS2":
        sources = [column for found in news2_inputs(panel).values() for column in found]
        score = news2(panel, max_age=max_age).to_numpy()
        return score, np.asarray(panel[sources].notna().to_numpy().any(axis=1))
    if name not in panel.columns:
        raise no_column(panel, name, also=["NEWS2"])
    values = numbers_of(panel[name])
    return values, ~np.isnan(values)


def _truth(values: dict[Hashable, Floats], condition: _Condition) -> Floats:
    """1 where a condition holds, 0 where not, NaN where its value is not known."""
    given = values[condition.column]
    holds = _OPERATORS[condition.operator](given, condition.number)
    return np.where(np.isnan(given), np.nan, holds)


def _all_of(parts: list[Floats]) -> Floats:
    """And: one that does not hold decides, whatever is not known of the others."""
    lowest = np.fmin.reduce(parts)
    return np.where(lowest == 0, 0.0, np.minimum.reduce(parts))


def _any_of(parts: list[Floats]) -> Floats:
    """Or: one that holds decides, whatever is not known of the others."""
    highest = np.fmax.reduce(parts)
    return np.where(highest == 1, 1.0, np.maximum.reduce(parts))


def _held(holds: Bools, rows: Ints, layout: Layout, lasting: int, limit: float) -> Bools:
    """Whether a rule has held for that long, at the rows where it is known.

    Parameters
    ----------
    holds : ndarray of bool, shape (n,)
        Whether the rule holds at each of `rows`.
    rows : ndarray of int64, shape (n,)
        Rows of the panel, in order.
    lasting : int
        How long, in nanoseconds or steps.
    limit : float
        Hours (or steps) between two rows that break what is counted.
    """
    if not lasting or not len(rows):
        return holds
    codes, hours, when = (of[rows] for of in (layout.codes(), layout.hours(), moments(layout)))
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = (codes[1:] != codes[:-1]) | (hours[1:] - hours[:-1] > limit) | ~holds[:-1]
    since = np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0))
    return holds & (when - when[since] >= lasting)


def no_column(panel: pd.DataFrame, name: Hashable, *, also: list[str] | None = None) -> ValueError:
    """Name the nearest of the columns."""
    return fail(
        "column not found",
        expected=f"a column {name!r}",
        found=f"{first(map(repr, panel.columns), shown=12)}",
        advice=nearest(name, [*panel.columns, *(also or [])]).strip() or "Check the spelling.",
        column=name,
    )
