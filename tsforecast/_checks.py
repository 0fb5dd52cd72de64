"""The one form of error message: what was expected, what was found, what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["DataError", "bad_parameter", "callers_level", "choice", "fail", "first", "positive_int"]

_SHOWN = 5
_LONGEST = 200


class DataError(ValueError):
    """Data that cannot be used as given: the message names column, series and first rows."""


def first(items: Iterable[Any], *, shown: int = _SHOWN) -> str:
    """Name the first few items and count the rest: ``'a', 'b' and 3 more``."""
    listed = list(items)
    text = ", ".join(str(item) for item in listed[:shown])
    more = len(listed) - shown
    return f"{text} and {more} more" if more > 0 else text


def fail(
    problem: str,
    *,
    expected: str,
    found: str,
    advice: str,
    column: object = None,
    series: object = None,
    rows: Sequence[Any] | None = None,
) -> DataError:
    """Build (not raise) the error for bad data.

    Parameters
    ----------
    problem : str
        What is wrong, in a few words.
    expected, found, advice : str
        What was expected, what was found, what to do about it.
    column, series : object, optional
        Where: the column's and the series' name.
    rows : sequence, optional
        Labels of the rows concerned; the first few are shown, the rest are counted.

    Returns
    -------
    DataError
        To be raised by the caller, so that type checkers see the end of the path.
    """
    # numpy's scalars call themselves np.int64(1)
    column, series = (name.item() if hasattr(name, "item") else name for name in (column, series))
    place = []
    if column is not None:
        place.append(f"column {column!r}")
    if series is not None:
        place.append(f"series {series!r}")
    if rows is not None and len(rows):
        place.append(f"first rows: {first(rows)}")
    where = f" ({'; '.join(place)})" if place else ""
    return DataError(f"{problem}{where}: expected {expected}, found {found}. {advice}")


def bad_parameter(
    name: str, *, expected: str, found: object, advice: str | None = None
) -> ValueError:
    """Build (not raise) the error for a parameter's value."""
    tail = f" {advice}" if advice else ""
    shown = repr(found)
    if "\n" in shown or len(shown) > _LONGEST:  # an estimator, or somebody's rows
        shown = f"an object of type {type(found).__name__}"
    return ValueError(f"parameter {name!r}: expected {expected}, found {shown}.{tail}")


def choice(name: str, value: object, options: Sequence[object]) -> None:
    """Raise unless ``value`` is one of ``options``."""
    if value not in options:
        raise bad_parameter(name, expected=f"one of {list(options)}", found=value)


def callers_level() -> int:
    """Give the `stacklevel` at which a warning points to the first frame outside this package.

    To be called in the arguments of `warnings.warn`.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tsforecast"):
        frame, level = frame.f_back, level + 1
    return level


def positive_int(name: str, value: object, *, least: int = 1) -> int:
    """Return ``value`` as int, or raise unless it is a whole number of at least ``least``."""
    import numbers

    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise bad_parameter(name, expected=f"a whole number of at least {least}", found=value)
    return int(value)
