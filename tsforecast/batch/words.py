"""What words of a file mean: times, numbers, nothing. One rule for jobs, `init` and `forecast`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast.data.panel import RESERVED

__all__ = ["Mask", "is_reserved", "moments", "numerals"]

Mask = npt.NDArray[np.bool_]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T].*)?")
_ZONED = re.compile(r".*[ T]\d{2}(:?\d{2}.*)?(Z|[+-]\d{2}(:?\d{2})?)", re.IGNORECASE)
_QUANTILE = re.compile(r"q(0?\.\d+|0|1)")
_MISSING = frozenset(
    {"", "#N/A", "-NaN", "-nan", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "None"}
)


def moments(words: Sequence[str | None]) -> tuple[npt.NDArray[np.datetime64], Mask]:
    """Read times, NaT where there is none, and whether they have a zone (they are in UTC then).

    A month, such as 2024-01, is none: whether its first day or its last is meant decides what is
    known at a run date. Nor is 20240131, which may be a number.

    Examples
    --------
    >>> when, zoned = moments(["2024-01-31", "2024-01-31T16:00:00+01:00", "2024-01", "31/01/2024"])
    >>> print(*when, *zoned)
    2024-01-31T00:00:00.000000 2024-01-31T15:00:00.000000 NaT NaT False True False False
    """
    texts = [word.strip() if word is not None else "" for word in words]
    texts = [text if _DATE.fullmatch(text) else "" for text in texts]
    zoned = np.array([bool(_ZONED.fullmatch(text)) for text in texts], dtype=bool)
    read = pd.to_datetime(
        pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True
    )
    when = read.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return when, zoned


def numerals(words: Sequence[str]) -> tuple[npt.NDArray[np.float64], Mask]:
    """Read numbers, NaN where there is none, and which words are neither numbers nor missing.

    Examples
    --------
    >>> found, wrong = numerals(["7", "NA", "seven"])
    >>> print(*found, *wrong)
    7.0 nan nan False False True
    """
    found = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce").to_numpy(np.float64)
    absent = np.array([word.strip() in _MISSING for word in words], dtype=bool)
    return found, np.isnan(found) & ~absent


def is_reserved(name: object) -> bool:
    """Whether forecasts have a column of that name, so that rows cannot.

    Examples
    --------
    >>> is_reserved("target"), is_reserved("q0.5"), is_reserved("close")
    (True, True, False)
    """
    return name in RESERVED or (isinstance(name, str) and bool(_QUANTILE.fullmatch(name)))
