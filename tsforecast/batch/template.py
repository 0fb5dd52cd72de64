"""A first `job.toml`, and guesses at what the columns of a file are."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.batch.exits import ConfigError, SourceError
from tsforecast.batch.words import Mask, is_reserved, moments, numerals

__all__ = ["Guess", "as_numbers", "as_times", "guess", "read_table", "render"]

TIMES = (
    "date", "time", "datetime", "timestamp", "ds", "day", "session", "charttime", "month", "week",
)  # fmt: skip
SERIES = (
    "series", "ticker", "symbol", "unique_id", "patient", "stay_id", "stay", "subject_id", "store",
    "item", "sku", "sensor", "id", "name",
)  # fmt: skip
TARGETS = (
    "target", "y", "value", "close", "adj close", "adj_close", "price", "sales", "demand", "load",
)  # fmt: skip
_ENOUGH = 0.98  # of the values of a column that must read as times


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What the columns of a table seem to be.

    Attributes
    ----------
    time, target : str
        The column of times, and the one to forecast.
    series : str or None
        The column of names; None if all rows are one series.
    others : tuple of str
        Further columns of numbers.
    positive : bool
        The target has no value of zero or below.
    """

    time: str
    target: str
    series: str | None = None
    others: tuple[str, ...] = ()
    positive: bool = False

    def __str__(self) -> str:
        series = "one series" if self.series is None else f"series {self.series!r}"
        return f"{series}, time {self.time!r}, target {self.target!r}"


def read_table(path: str | os.PathLike[str], *, rows: int | None = None) -> pd.DataFrame:
    """Read a file of CSV or Parquet: of CSV every column is text, as a job reads names.

    Parameters
    ----------
    path : path
    rows : int, optional
        Read no more than these; None for all.

    Returns
    -------
    pandas.DataFrame
        With rows.

    Raises
    ------
    SourceError
        If it cannot be read, or has no rows.
    """
    file = Path(path)
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(file)
            table = table.reset_index() if table.index.names != [None] else table
            table = table if rows is None else table.head(rows)
        else:
            table = pd.read_csv(
                file, nrows=rows, encoding="utf-8-sig", index_col=False, dtype=str,
                keep_default_na=False, na_values=[""],
            )  # fmt: skip
    except OSError as error:
        raise _unreadable(file, (error.strerror or type(error).__name__).lower()) from None
    except pd.errors.EmptyDataError:
        raise _unreadable(file, "an empty file") from None
    except Exception as error:  # parsers raise what they like; the file is somebody else's
        raise _unreadable(file, type(error).__name__) from None
    if not len(table):
        raise _unreadable(file, "no rows")
    table.columns = pd.Index([str(name) for name in table.columns])
    if len(table.columns) == 1 and re.search(r"[;\t|]", str(table.columns[0])):
        raise SourceError.of(
            str(file),
            expected="columns divided by commas",
            found="one column, with another mark in its name",
            advice="Write the file anew with commas.",
        )
    return table


def _unreadable(file: Path, found: str) -> SourceError:
    return SourceError.of(
        str(file),
        expected="a table in CSV with a line of names, or Parquet",
        found=found,
        advice="Check the name of the file, and open it in an editor.",
    )


def guess(
    table: pd.DataFrame,
    *,
    series: str | None = None,
    time: str | None = None,
    target: str | None = None,
) -> Guess:
    """Guess which columns are series, time and target; what is named is taken as said.

    Times go by name, then by what reads as dates. A series is needed where a time stands twice;
    its column is one with which no time does.

    Parameters
    ----------
    table : pandas.DataFrame
    series, time, target : str, optional

    Returns
    -------
    Guess

    Raises
    ------
    SourceError
        If there is no such column, or none can be found.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"Ticker": ["A", "B"], "Date": ["2024-01-02"] * 2, "Close": [1.0, 2]})
    >>> print(guess(table))
    series 'Ticker', time 'Date', target 'Close'
    """
    named = {"series": series, "time": time, "target": target}
    for role, name in named.items():
        if name is not None and name not in table.columns:
            raise _no_column(table, f"a column {name!r} for the {role}")
    given = [name for name in named.values() if name is not None]
    if len(set(given)) < len(given):
        raise _no_column(table, "another column for series, time and target each")
    numeric = {name for name in table.columns if _is_number(table[name])}
    if target is not None and target not in numeric:
        raise _no_numbers(table[target])
    found_time = time if time is not None else _guess_time(table, {series, target})
    stamps = as_times(table[found_time])
    if stamps.notna().mean() < _ENOUGH:
        raise _no_column(table, f"dates, written as 2024-01-31, in the column {found_time!r}")
    found_series = series
    if series is None:
        found_series = _guess_series(table, found_time, stamps, target, numeric)
    free = [name for name in table.columns if name not in (found_series, found_time)]
    numbers = [name for name in free if name in numeric and not is_reserved(name)]
    if target is None:
        target = _by_name(free, TARGETS) or next(iter(numbers), None)
        if target is None:
            raise _no_column(table, "a column of numbers to forecast")
        if target not in numeric:  # one word among its numbers, and another would be forecast
            raise _no_numbers(table[target])
    if is_reserved(target):
        raise SourceError.of(
            "the columns",
            expected="a column to forecast that forecasts do not have themselves",
            found=repr(target),
            advice="Rename it in the file, or name another with --target.",
        )
    values = as_numbers(table[target])
    return Guess(
        time=found_time,
        target=target,
        series=found_series,
        others=tuple(name for name in numbers if name != target),
        positive=bool((values.dropna() > 0).all()),
    )


def as_times(column: pd.Series[Any]) -> pd.Series[Any]:
    """Read a column as times, as a job does; what is none becomes NaT.

    Other ways to write a date than 2024-01-31 are not guessed at: 01/02/2024 is one day here and
    another there.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    if not _is_text(column):
        return pd.Series(pd.NaT, index=column.index)
    codes, words = pd.factorize(column.astype("str"))  # -1: missing
    when, zoned = moments(list(words))
    stamps, aware = np.append(when, np.datetime64("NaT"))[codes], np.append(zoned, False)[codes]
    majority = bool(aware.sum() * 2 > (~np.isnat(stamps)).sum())
    stamps[aware != majority] = np.datetime64("NaT")
    found = pd.Series(stamps, index=column.index)
    return found.dt.tz_localize("UTC").dt.tz_convert(_zone_of(words[zoned])) if majority else found


def _zone_of(words: pd.Index[str]) -> Any:
    """The offset that all these times have, or UTC where there are several."""
    offsets = {str(word).strip()[10:].upper().lstrip("T 0123456789:.,") for word in words}
    one = pd.to_datetime(pd.Series(words[:1]), format="ISO8601").dt.tz
    return one if len(offsets) == 1 else UTC


def as_numbers(column: pd.Series[Any]) -> pd.Series[float]:
    """Read a column as numbers, as a job does; what is none becomes NaN."""
    return _read_numbers(column)[0]


def _read_numbers(column: pd.Series[Any]) -> tuple[pd.Series[float], Mask]:
    """Give numbers, and which values are none and not missing either."""
    if _is_text(column):
        words = column.astype("str").astype(object)
        found = pd.to_numeric(words, errors="coerce").astype("float64")
        wrong = (found.isna() & words.notna()).to_numpy(copy=True)
        codes, none = pd.factorize(words[wrong])
        wrong[wrong] = numerals(list(none))[1][codes]  # some of them say that it is missing
        return found, wrong
    if (
        pd.api.types.is_numeric_dtype(column)
        and not pd.api.types.is_bool_dtype(column)
        and not pd.api.types.is_complex_dtype(column)
    ):
        return column.astype("float64"), np.zeros(len(column), dtype=bool)
    return pd.Series(np.nan, index=column.index), column.notna().to_numpy()


def _is_text(column: pd.Series[Any]) -> bool:
    """Whether it holds words, or what has a form in words: not bytes, lists or structures."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    if pd.api.types.is_object_dtype(column):
        return pd.api.types.infer_dtype(column, skipna=True) in (
            "string",
            "decimal",
            "date",
            "empty",
        )
    return pd.api.types.is_string_dtype(column)


def _guess_time(table: pd.DataFrame, taken: set[str | None]) -> str:
    free = [name for name in table.columns if name not in taken]
    ordered = sorted(free, key=lambda name: _rank(name, TIMES))
    sample = table.head(1000)
    for name in ordered:
        if as_times(sample[name]).notna().mean() >= _ENOUGH:
            return name
    also = "Write dates so. "
    if ordered:
        value = str(table[ordered[0]].iloc[0])
        also = f"{ordered[0]!r:.40} begins with {value!r:.40}: write dates so. "
    raise _no_column(table, "a column of dates, written as 2024-01-31", also=also)


def _guess_series(
    table: pd.DataFrame,
    time: str,
    stamps: pd.Series[Any],
    target: str | None,
    numeric: set[str],
) -> str | None:
    free = [name for name in table.columns if name not in (time, target)]
    named = [name for name in free if _rank(name, SERIES) < len(SERIES)]
    texts = [name for name in free if _is_text(table[name]) and name not in numeric]
    whole = [name for name in free if name in numeric]
    if target is None and len(numeric.intersection(free)) < 2:
        whole = []  # something must be left to forecast
    twice = bool(stamps.duplicated().any())
    for name in dict.fromkeys([*sorted(named, key=lambda n: _rank(n, SERIES)), *texts, *whole]):
        names = table[name]
        pairs = pd.DataFrame({"name": names, "time": stamps})
        many = names.nunique() * 2 <= len(table) or len(table) <= 4
        wanted = name in named or (twice and (name in texts or _is_whole(names)))
        if wanted and many and names.notna().all() and not pairs.duplicated().any():
            return name
    if twice:
        best = _by_name(named, SERIES)
        if best is not None and table[best].notna().all():
            again = int(pd.DataFrame({"name": table[best], "time": stamps}).duplicated().sum())
            if again:
                raise SourceError.of(
                    "the rows",
                    expected=f"one row of each {best!r} and {time!r}",
                    found=f"{again} more with a pair that stood before",
                    advice="Keep one of them, or name others with --series, --time and --target.",
                )
        raise _no_column(
            table, f"a column that tells series apart, as times stand twice in {time!r}"
        )
    return None


def _rank(name: str, known: tuple[str, ...]) -> int:
    plain = name.strip().casefold()
    return known.index(plain) if plain in known else len(known)


def _by_name(names: list[str], known: tuple[str, ...]) -> str | None:
    best = min(names, key=lambda name: _rank(name, known), default="")
    return best if _rank(best, known) < len(known) else None


def _is_number(column: pd.Series[Any]) -> bool:
    if _read_numbers(column.head(1000))[1].any():
        return False
    read, wrong = _read_numbers(column)
    return bool(read.notna().any()) and not wrong.any()


def _is_whole(column: pd.Series[Any]) -> bool:
    if _is_text(column):
        return bool(column.astype(str).str.fullmatch(r"[+-]?\d+").all())
    return pd.api.types.is_integer_dtype(column)


def _no_numbers(column: pd.Series[Any]) -> SourceError:
    words = column[_read_numbers(column)[1]] if _is_text(column) else column[:0]
    found = "no value" if column.isna().all() else f"dtype {column.dtype}"
    if len(words):
        found = f"{words.iloc[0]!r:.40}"
    return SourceError.of(
        "the columns",
        expected=f"numbers in the column {column.name!r}",
        found=f"{found} and {len(words) - 1} more that are none" if len(words) > 1 else found,
        advice="Mend the column, or name another with --target.",
    )


def _no_column(table: pd.DataFrame, expected: str, *, also: str = "") -> SourceError:
    from tsforecast._checks import first

    names = first((repr(name[:40]) for name in table.columns), shown=12)
    return SourceError.of(
        "the columns",
        expected=expected,
        found=names,
        advice=f"{also}Name the columns with --series, --time and --target.",
    )


# ---------------------------------------------------------------- the file


def render(name: str, *, source: str = "prices.csv", guessed: Guess | None = None) -> str:
    """Write a commented `job.toml`.

    Parameters
    ----------
    name : str
        Of the job: letters, digits, ``.``, ``_`` and ``-``.
    source : str
        Path of the rows, relative to the folder of the file.
    guessed : Guess, optional
        What the columns are; None for those of prices.

    Returns
    -------
    str
        A text that `load_config` reads.

    Raises
    ------
    ConfigError
        If no job can be called or described so.

    Examples
    --------
    >>> print(render("prices").splitlines()[2])
    [job]
    """
    from tsforecast.batch.config import check_text

    what = guessed or Guess(time="date", target="close", series="ticker", positive=True)
    series = f"series = {_quote(what.series)}" if what.series is not None else '# series = "ticker"'
    others = ", ".join(_quote(other) for other in what.others[:8])
    columns = f"[{_quote(what.target)}]" + (f"   # there are also: {others}" if others else "")
    log = "" if what.positive else "# "
    text = _TEMPLATE.format(
        name=_quote(name),
        path=_quote(source),
        series=series,
        time=_quote(what.time),
        columns=columns,
        target=_quote(what.target),
        transform=f'{log}transform = [{{class = "Log"}}]',
    )
    try:
        check_text(text)
    except ConfigError as error:
        raise ConfigError.of(
            "the new file",
            expected="names that a job can have",
            found=str(error).removeprefix("job.toml: "),
            advice="Choose another with --name, or rename the column.",
        ) from None
    return text


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_TEMPLATE = """\
# A job of tsforecast. Paths are relative to this file; lines with # show the default, or a choice.
# Every key can be set from the environment, too: TSFORECAST_JOB__PART_SIZE=100
[job]
name = {name}
# timezone = "UTC"            # in which a run date begins and ends
# folder = "state"            # locks, models and temporary files
# part_size = 500             # series of one transaction
# max_reject_fraction = 0.05  # more failed series than that: exit code 5
# hash_ids = false            # check sums in place of names in logs and rejects

[source]
path = {path}   # a CSV or Parquet file, a folder, or a pattern: "prices/*.parquet"
# database = "postgresql+psycopg://user@host/name"   # password: TSFORECAST_SOURCE__PASSWORD
# query = "select ticker, date, close from prices where date <= :as_of"
#                             # :as_of is the end of the run date; a job reads no later row even
#                             # without it. SQLite compares it as text, with 2024-01-31 16:00:00 or
#                             # 2024-01-31T16:00:00; do without it there if times have an offset
{series}
time = {time}
columns = {columns}
# static = ["sector"]         # constant within a series
# available_column = "filed"  # when a row became known: later ones are not read
# max_staleness = "4D"        # a series whose newest row is older is late; none without it
# late = "fail"               # fail | skip | use_last | fallback_naive
# missing = "skip"            # what to do with a series without usable rows: the same choices

[model]
# name = "model"              # in the registry
estimator = "RecurrentForecaster"   # or any forecaster or event classifier of tsforecast

[model.parameters]            # its keyword arguments; an object is a table with its class
target = {target}
horizon = 5
lookback = 60
{transform}
hidden_sizes = [32]
training = {{class = "Training", max_epochs = 20}}
random_state = 0
# For a risk the estimator is "EventClassifier"; [source] columns name inputs and event, or are left
# out; and the parameters are, in place of those above:
#   event = {{class = "Event", rule = "map < 65", for_ = "30min"}}
#   horizon = "6h"
#   step = "1h"

[fit]
# every = "30D"               # `run` fits anew at that age of the model; or "never"
# window = "10y"              # trained on; all rows without it
# promote = "always"          # always | by_hand | if_better: beats the champion in a backtest
# alpha = 0.05                # level of the test behind "if_better"
# keep = 10                   # versions that stay, the newest; all without it. Run dates whose
#                             # version is gone are not to be repeated: another one would be used

[backtest]
# n_splits = 4
# origins_per_split = 50
# step = 1
# refit = true                # or false, or every so many splits
baselines = ["RandomWalk"]      # beside the naive forecast, which is always there

[sink]
database = "sqlite:///forecasts.db"
# database = "postgresql+psycopg://user@host/name"   # password: TSFORECAST_SINK__PASSWORD
# path = "out"                # a folder of Parquet files by run date, in place of a database

[monitor]                     # warn: said; fail: exit code 3, 4 or 6, and forecasts are seen
# psi_warn = 0.1              # drift of inputs: population stability index
# psi_fail = 0.25
# missing_warn = 0.1          # missing values above their share in training
# missing_fail = 0.3
# range_warn = 0.05           # values outside the range of training
# range_fail = 0.25
# error_warn = 1.0            # error of matured forecasts over that of the naive
# error_fail = 1.5
# coverage_warn = 0.1         # distance of an interval's coverage from its level
# coverage_fail = 0.2
# staleness_warn = "2D"       # age of the newest row; not looked at without it
# staleness_fail = "7D"
# model_age_warn = "45D"      # age of the newest row of the training
# model_age_fail = "90D"
# window = 20                 # run dates looked at: at least ten, and twice the horizon
# least = 100                 # forecasts, or rows, without which nothing is said

[run]
# spread = "serial"           # serial | processes | dask
# workers = 2
# dask_address = "tcp://scheduler:8786"
"""
