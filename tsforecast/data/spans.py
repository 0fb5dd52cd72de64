"""Spans of a panel's time as exact whole numbers: nanoseconds, or steps."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter
from tsforecast.data.panel import Ints, Layout

__all__ = ["is_whole", "moments", "nanoseconds", "span"]

_CLOCKS = (pd.DatetimeIndex, pd.TimedeltaIndex)


def moments(layout: Layout) -> Ints:
    """Time of every row in nanoseconds, or in steps where it is a whole number, (N,).

    Nanoseconds count from the first row of each series: those since 1970 would overflow for dates
    beyond 2262, those of a record do not.
    """
    when = layout.when()
    if not isinstance(layout.labels, _CLOCKS):
        return when
    size = int(pd.Timedelta(1, unit=layout.labels.unit) / pd.Timedelta(1, unit="ns"))
    begins: Ints = (when - np.repeat(when[layout.starts], np.diff(layout.offsets))) * size
    return begins


def is_whole(value: Any) -> bool:
    """Tell whether a value is a whole number."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def nanoseconds(name: str, value: Any) -> int:
    """A span of time, longer than 0, as whole nanoseconds."""
    try:
        unitless = isinstance(value, (bool, int, float, np.number))
        if unitless or (isinstance(value, str) and not re.search("[A-Za-z:]", value)):
            raise ValueError  # pandas would take a number for nanoseconds
        length = pd.Timedelta(value)
        if not length > pd.Timedelta(0):  # NaT neither
            raise ValueError
        return int(length.as_unit("ns").value)
    except (TypeError, ValueError, OverflowError):
        expected = "a span of time above 0, such as '6h'"
        if name == "horizon":
            expected = f"a whole number of rows, or {expected}"
        raise bad_parameter(name, expected=expected, found=value) from None


def span(name: str, value: Any, layout: Layout) -> int:
    """A span of the panel's time as `moments` counts it."""
    if isinstance(layout.labels, _CLOCKS):
        return nanoseconds(name, value)
    if not is_whole(value) or value < 1:
        raise bad_parameter(
            name,
            expected="a whole number of steps above 0, as the panel's time is a whole number",
            found=value,
        )
    return int(value)
