"""A first `job.toml`, and guesses at what the columns of a file are."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsforecast.batch.exits import ConfigError, SourceError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Guess", "guess", "read_table", "render"]

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
    """Read a file of CSV or Parquet as it is.

    Parameters
    ----------
    path : path
    rows : int, optional
        Read no more than these; None for all.

    Returns
    -------
    pandas.DataFrame
        With one text column or more, and rows.

    Raises
    ------
    SourceError
        If it cannot be read, or has no rows.
    """
    import pandas as pd

    file = Path(path)
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(file)
            table = table.reset_index() if table.index.names != [None] else table
            table = table if rows is None else table.head(rows)
        else:
            table = pd.read_csv(
                file, nrows=rows, encoding="utf-8-sig", low_memory=False, index_col=False
            )
            table = _with_names(table, file, rows)
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


def _with_names(table: pd.DataFrame, file: Path, rows: int | None) -> pd.DataFrame:
    """Give words back that read as missing values, as the ticker NA does."""
    import pandas as pd

    holes = [
        at
        for at, dtype in enumerate(table.dtypes)
        if not pd.api.types.is_numeric_dtype(dtype) and table.iloc[:, at].isna().any()
    ]
    if holes and file.is_file():  # what is no file can be read but once
        again = pd.read_csv(
            file, nrows=rows, encoding="utf-8-sig", index_col=False, usecols=holes, dtype=str,
            keep_default_na=False, na_values=[""],
        )  # fmt: skip
        for place, at in enumerate(holes):
            table.isetitem(at, again.iloc[:, place].array)
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
    if target is not None and not _is_number(table[target]):
        raise _no_numbers(table[target])
    found_time = time if time is not None else _guess_time(table, {series, target})
    stamps = as_times(table[found_time])
    if stamps.notna().mean() < _ENOUGH:
        raise _no_column(table, f"dates, written as 2024-01-31, in the column {found_time!r}")
    found_series = series
    if series is None:
        found_series = _guess_series(table, found_time, stamps, target)
    numbers = [
        name
        for name in table.columns
        if name not in (found_series, found_time) and _is_number(table[name])
    ]
    if target is None:
        if not numbers:
            raise _no_column(table, "a column of numbers to forecast")
        free = [name for name in table.columns if name not in (found_series, found_time)]
        target = _by_name(free, TARGETS) or numbers[0]
        if target not in numbers:  # one word among its numbers, and another would be forecast
            raise _no_numbers(table[target])
    values = table[target]
    return Guess(
        time=found_time,
        target=target,
        series=found_series,
        others=tuple(name for name in numbers if name != target),
        positive=bool((values.dropna() > 0).all()),
    )


def as_times(column: pd.Series[Any]) -> pd.Series[Any]:
    """Read a column of ISO 8601 as times; what is none becomes NaT. Numbers are read as 20240131.

    Other ways to write a date are not guessed at: 01/02/2024 is one day here and another there.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    nothing = pd.Series(pd.NaT, index=column.index)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_float_dtype(column):
        return nothing
    if pd.api.types.is_integer_dtype(column):
        return pd.to_datetime(column.astype(str), errors="coerce", format="%Y%m%d")
    written = column.astype(str).where(column.notna())
    for utc in (False, True):  # the offset of a place may change with its daylight saving time
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return pd.to_datetime(written, errors="coerce", format="ISO8601", utc=utc)
    return nothing


def _guess_time(table: pd.DataFrame, taken: set[str | None]) -> str:
    free = [name for name in table.columns if name not in taken]
    ordered = sorted(free, key=lambda name: _rank(name, TIMES))
    sample = table.head(1000)
    for name in ordered:
        if as_times(sample[name]).notna().mean() >= _ENOUGH:
            return name
    raise _no_column(table, "a column of dates, written as 2024-01-31", also="Write dates so. ")


def _guess_series(
    table: pd.DataFrame, time: str, stamps: pd.Series[Any], target: str | None
) -> str | None:
    import pandas as pd

    free = [name for name in table.columns if name not in (time, target)]
    named = [name for name in free if _rank(name, SERIES) < len(SERIES)]
    texts = [name for name in free if not pd.api.types.is_numeric_dtype(table[name])]
    whole = [name for name in free if pd.api.types.is_integer_dtype(table[name])]
    if target is None and sum(_is_number(table[name]) for name in free) < 2:
        whole = []  # something must be left to forecast
    twice = bool(stamps.duplicated().any())
    for name in dict.fromkeys([*sorted(named, key=lambda n: _rank(n, SERIES)), *texts, *whole]):
        names = table[name]
        pairs = pd.DataFrame({"name": names, "time": stamps})
        many = names.nunique() * 2 <= len(table) or len(table) <= 4
        wanted = name in named or twice
        if wanted and many and names.notna().all() and not pairs.duplicated().any():
            return name
    if twice:
        best = _by_name(named, SERIES) if named else None
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
    best = min(names, key=lambda name: _rank(name, known))
    return best if _rank(best, known) < len(known) else None


def _is_number(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return (
        pd.api.types.is_numeric_dtype(column)
        and not pd.api.types.is_bool_dtype(column)
        and not pd.api.types.is_complex_dtype(column)
        and bool(column.notna().any())
    )


def _no_numbers(column: pd.Series[Any]) -> SourceError:
    import pandas as pd

    words = column[column.notna() & pd.to_numeric(column.astype(object), errors="coerce").isna()]
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
