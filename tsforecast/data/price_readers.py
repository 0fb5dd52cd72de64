"""Prices as people get them: frames of yfinance, files of Yahoo and of Stooq.

Every reader gives a panel ``(ticker, date)`` with the columns ``open, high, low, close, adj_close,
volume`` that are there, and says in ``attrs`` what is known of it: ``source``, ``adjusted`` (see
`tsforecast.data.prices`) and ``survivorship``, which is for the owner to fill in.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first
from tsforecast.data.panel import as_panel

__all__ = ["UNKNOWN_UNIVERSE", "from_yfinance", "read_stooq", "read_yahoo_csv"]

UNKNOWN_UNIVERSE = (
    "Survivorship unknown: it is not said how these series were chosen, and firms that failed or "
    "were dropped may be missing. Say so in panel.attrs['survivorship']."
)
_NAMES = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "adj close": "adj_close",
    "volume": "volume",
    "dividends": "dividends",
    "stock splits": "stock_splits",
}
_POLISH = {
    "data": "date",
    "otwarcie": "open",
    "najwyzszy": "high",
    "najnizszy": "low",
    "zamkniecie": "close",
    "wolumen": "volume",
}
_BULK = {
    "<ticker>": "ticker",
    "<date>": "date",
    "<open>": "open",
    "<high>": "high",
    "<low>": "low",
    "<close>": "close",
    "<vol>": "volume",
}
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00(:00(?:\.0+)?)?([+-]\d\d:?\d\d|Z)?")
_OFFSET = re.compile(r"([+-]\d\d:?\d\d|Z)$")
_EVENT = re.compile(r"([\d.,:/]+|\d+ ?(?:for|-for-) ?\d+) *(dividend|stock splits?)s?", re.I)
# commas of thousands; any other may be a decimal one, and 12,34 is not 1234
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_DECIMALS = "decimals written with a comma (read such a file with pd.read_csv(..., decimal=','))"
_DOWNLOAD = re.compile(r"_[dwmqy]$")


def from_yfinance(
    frame: pd.DataFrame, *, ticker: str | None = None, auto_adjust: bool | None = None
) -> pd.DataFrame:
    """Turn a frame of yfinance, of one ticker or of many, into a panel.

    Parameters
    ----------
    frame : DataFrame
        From ``yf.download(...)``, columns of two levels, (Price, Ticker) or (Ticker, Price), with
        names or without; or from ``yf.Ticker(...).history()``, columns of one level.
    ticker : str, optional
        Name of the series of a frame of one level.
    auto_adjust : bool, optional
        What the download was told (yfinance's own default is True). The frame cannot tell it, but
        for a column ``Adj Close``, which is there without alone.

    Returns
    -------
    DataFrame
        Index ``(ticker, date)``, or ``date`` alone for one level without `ticker`; columns
        ``open, high, low, close, adj_close, volume, dividends, stock_splits`` as far as there,
        others left out. Daily rows have dates without a time zone; rows within the day are called
        ``time`` and keep theirs. ``attrs["adjusted"]`` is ``"splits+dividends"`` with
        ``auto_adjust=True``, ``"splits"`` with ``auto_adjust=False`` or beside an ``adj_close``,
        else not there.

    Raises
    ------
    DataError
        If there is no close, a ticker has no value at all (its download failed, or it is gone),
        or dates are doubled, missing or of several zones.
    ValueError
        If `auto_adjust` is True beside an ``Adj Close``.

    Notes
    -----
    Yahoo adjusts for splits up to the day of the download in any case: today's frame and last
    year's hold different prices. Days on which a ticker has no value are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> names = pd.MultiIndex.from_product([["Close", "Volume"], ["A", "B"]])
    >>> days = pd.DatetimeIndex(["2024-01-02", "2024-01-03"], name="Date")
    >>> frame = pd.DataFrame([[1.0, 5.0, 10, 20], [2.0, 6.0, 11, 21]], index=days, columns=names)
    >>> from_yfinance(frame)
                       close  volume
    ticker date
    A      2024-01-02    1.0    10.0
           2024-01-03    2.0    11.0
    B      2024-01-02    5.0    20.0
           2024-01-03    6.0    21.0
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"expected a DataFrame of yfinance, found {type(frame).__name__}")
    if frame.columns.nlevels > 2:
        raise _no_prices("a frame of yfinance", frame.columns)
    if frame.columns.nlevels == 2:
        table = _stacked(frame)
    else:
        table = frame.reset_index(drop=True).rename_axis(columns=None)
        table = _renamed(table, _NAMES, "a frame of yfinance")
        table["date"] = _days(frame.index)
        if ticker is not None:
            table["ticker"] = ticker
        empty = table[_values(table)].isna().all(axis=1)
        if len(table) and empty.all():
            raise _no_values(["the frame" if ticker is None else ticker])
        table = table[~empty]
    choice("auto_adjust", auto_adjust, (None, True, False))
    if auto_adjust and "adj_close" in table:
        raise bad_parameter(
            "auto_adjust",
            expected="False or None beside a column 'Adj Close', whose 'Close' is not adjusted for "
            "dividends",
            found=auto_adjust,
        )
    told = {True: "splits+dividends", False: "splits", None: _adjusted(table)}
    return _panel(table, "Yahoo, by yfinance", told[auto_adjust])


def read_yahoo_csv(paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Read files of Yahoo Finance: one ticker each, named as the file is, or as yfinance saves.

    Parameters
    ----------
    paths : path or list of paths
        ``AAPL.csv`` with the columns ``Date, Open, High, Low, Close, Adj Close, Volume``, in any
        order of time; a folder of them; or what ``yf.download(...).to_csv()`` has written, which
        names its tickers itself.

    Returns
    -------
    DataFrame
        As of `from_yfinance`, always with ``ticker``; ``attrs["adjusted"]`` is ``"splits"`` if all
        files have an ``Adj Close``, else not there. Rows without any value ("null") are left out;
        rows that tell of a dividend or a split become columns ``dividends`` (cash) and
        ``stock_splits`` (ratio), 0 elsewhere. Files know of a zone no more than its offset from
        UTC: rows within the day keep it if all have the same one, else they are in UTC.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If a file has no rows; if columns, numbers or dates cannot be read, or a line is cut short;
        if a date is there twice for a ticker. A comma may part thousands ("1,234.5"); a decimal one
        ("12,34") is refused.

    Warns
    -----
    UserWarning
        If rows within the day have several offsets from UTC, as daylight saving or several
        exchanges give them.

    Examples
    --------
    >>> panel = read_yahoo_csv(["AAPL.csv", "MSFT.csv"])  # doctest: +SKIP
    """
    tables = _in_one_zone(_read_all(paths, "*.csv", _yahoo_table))
    adjusted = {_adjusted(table) for table in tables}
    table = pd.concat(tables, ignore_index=True)
    for name in ("dividends", "stock_splits"):
        if name in table:
            table[name] = table[name].fillna(0.0)
    return _panel(table, "Yahoo, from files", adjusted.pop() if len(adjusted) == 1 else None)


def read_stooq(paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Read files of Stooq: single downloads, or the unpacked bulk archive.

    Parameters
    ----------
    paths : path or list of paths
        ``aapl_us_d.csv`` with the columns ``Date, Open, High, Low, Close, Volume`` (Polish ones
        too; the ticker is then the file's name, ``AAPL.US``); ``aapl.us.txt`` with ``<TICKER>,
        <PER>, <DATE>, <TIME>, <OPEN>, ...``; or a folder, which is searched to its depth.

    Returns
    -------
    DataFrame
        Index ``(ticker, date)``, or ``(ticker, time)`` of rows within the day, in the time of the
        file; columns ``open, high, low, close, volume`` as far as there. Empty files, which the
        archive has, are left out, and those that hold nothing but the names of columns. ``attrs``
        do not say what prices are adjusted for, because the files do not: ask `check_prices`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If columns, numbers or dates cannot be read, a line is cut short, rows are of several
        periods, or a date is there twice for a ticker; if no file has rows.

    Warns
    -----
    UserWarning
        If files have names of columns and no row: they are named.

    Examples
    --------
    >>> panel = read_stooq("data/daily/us/nasdaq stocks/1")  # doctest: +SKIP
    """
    tables = _read_all(paths, "*.[ct][sx][vt]", _stooq_table)
    periods = sorted({str(period) for table in tables for period in table.attrs["periods"]})
    if len(periods) > 1:
        raise fail(
            "files of several periods",
            expected="rows of one period, such as D for days",
            found=f"{first(periods)}",
            advice="Read them one period at a time.",
        )
    for table in tables:
        table.attrs = {}
    return _panel(pd.concat(tables, ignore_index=True), "Stooq", None)


# ------------------------------------------------------------------------------------------ tables


def _stacked(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of two levels become rows; the level of prices is the one with more of their names.

    There is a ticker called OPEN.
    """
    known = [
        sum(str(name).lower() in _NAMES for name in frame.columns.unique(level)) for level in (0, 1)
    ]
    prices = 0 if known[0] >= known[1] else 1
    if max(known) == 0:
        raise _no_prices("a frame of yfinance", frame.columns)
    days = _days(frame.index)
    parts, lost = [], []
    for name in frame.columns.unique(1 - prices):
        part = pd.DataFrame(frame.xs(name, axis=1, level=1 - prices)).reset_index(drop=True)
        part = _renamed(part.rename_axis(columns=None), _NAMES, f"the columns of {name!r}")
        part = part.assign(ticker=str(name), date=days).dropna(subset=_values(part), how="all")
        if len(part):
            parts.append(part)
        else:
            lost.append(name)
    if lost:
        raise _no_values(lost)
    return pd.concat(parts, ignore_index=True)


def _yahoo_table(path: Path) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8-sig").strip()
    if "\n" not in text:
        raise _no_rows(path, repr(text[:60]) if text else "an empty file")
    head = text.split("\n", 1)[0]
    if head.startswith(("Price,", "Ticker,")):  # yfinance's two levels
        frame = pd.read_csv(path, header=[0, 1], index_col=0, encoding="utf-8-sig")
        _refuse_short(text, path)
        table = _stacked(frame)
        return _with_offsets(table, frame.index)
    raw = _texts(path, text)
    raw.columns = raw.columns.str.strip().str.rstrip("*")
    table = _renamed(raw.drop(columns=raw.columns[0]), _NAMES, path.name)
    if raw.columns[0].lower() not in ("date", "datetime"):
        raise _no_prices(path.name, raw.columns)
    told = table["open" if "open" in table else "close"].fillna("").str.fullmatch(_EVENT)
    days = _days(pd.Index(raw.iloc[:, 0]), path.name)
    events = _events(table[told], days[told.to_numpy()], path.name)
    table = table[~told].apply(_numbers, where=path.name)
    table = table.assign(date=days[~told.to_numpy()]).dropna(subset=_values(table), how="all")
    if table.empty:
        raise _no_rows(path, f"{len(raw)} rows without a value")
    for name, values in events.items():
        lost = values.index.difference(pd.Index(table["date"]))
        if len(lost):
            raise fail(
                f"{name} without a row of prices",
                expected="prices on each of their days",
                found=f"none on {first(lost)}",
                advice="Look at the file: rows may be cut off.",
                series=path.stem,
            )
        table[name] = table["date"].map(values).fillna(0.0)
    return _with_offsets(table.assign(ticker=path.stem), pd.Index(raw.iloc[:, 0]))


def _with_offsets(table: pd.DataFrame, text: pd.Index) -> pd.DataFrame:
    """Note the offsets from UTC of times with a zone."""
    zoned = isinstance(table["date"].dtype, pd.DatetimeTZDtype)
    table.attrs = {"offsets": _offsets(text) if zoned else set()}
    return table


def _in_one_zone(tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Times with a zone in UTC, unless all have one offset from it."""
    given = [table.attrs.pop("offsets") for table in tables]
    offsets = set[str]().union(*given)
    if len(offsets) < 2:
        return tables
    warnings.warn(
        "Rows within the day have several offsets from UTC "
        f"({first(offset or 'none, taken as UTC' for offset in sorted(offsets))}), as daylight "
        "saving makes them, and are given in UTC: a session may fall on two dates. "
        "Convert them to the zone of the exchange, e.g. "
        "panel.tz_convert('America/New_York', level='time').",
        stacklevel=callers_level(),
    )
    return [
        table.assign(date=table["date"].dt.tz_convert("UTC")) if zoned else table
        for table, zoned in zip(tables, given)
    ]


def _events(rows: pd.DataFrame, days: pd.Index, where: str) -> dict[str, pd.Series]:
    """Dividends and splits that stand among the prices as text, "0.24 Dividend", "4:1 Split"."""
    text = rows["open" if "open" in rows else "close"]
    found: dict[str, pd.Series] = {}
    for name, word in (("dividends", "dividend"), ("stock_splits", "split")):
        which = text.str.lower().str.contains(word).to_numpy(dtype=bool)
        if which.any():
            parsed = [_ratio(value, where) for value in text[which]]
            # a special dividend may stand beside the regular one
            by_day = pd.Series(parsed, index=days[which]).groupby(level=0)
            found[name] = by_day.sum() if name == "dividends" else by_day.prod()
    return found


def _ratio(text: str, where: str) -> float:
    parts = pd.Series(re.findall(r"[\d.,]+", text), dtype=object)
    numbers = [*_plain(parts).astype(float).tolist(), 1.0][:2]
    if not all(number > 0 for number in numbers) or len(parts) > 2:
        raise fail(
            "a dividend or split cannot be read",
            expected="text such as '0.24 Dividend', '4:1 Stock Splits'",
            found=repr(text),
            advice=f"Look at {where}: {_DECIMALS}.",
        )
    ratio: float = numbers[0] / numbers[1]
    return ratio


def _stooq_table(path: Path) -> pd.DataFrame | None:
    text = path.read_text(encoding="utf-8-sig").strip()
    if not text:
        return None
    if "," not in text.split("\n", 1)[0]:  # "No data", "Exceeded the daily hits limit"
        raise fail(
            "a file without prices",
            expected="a table of Stooq",
            found=repr(text[:60]),
            advice=f"Download {path.name} again.",
        )
    raw = _texts(path, text)
    raw.columns = raw.columns.str.strip().str.lower()
    if "<ticker>" in raw:
        table = _renamed(raw, {k: v for k, v in _BULK.items() if k in raw}, path.name)
        periods = set(raw["<per>"]) if "<per>" in raw else {"D"}
        if "<time>" in raw and (raw["<time>"] != "000000").any():
            table["date"] = table["date"] + " " + raw["<time>"].str.zfill(6)
            days = pd.to_datetime(table["date"], format="%Y%m%d %H%M%S", errors="coerce")
        else:
            days = pd.to_datetime(table["date"], format="%Y%m%d", errors="coerce")
        if days.isna().any():
            raise _bad_days(table["date"][days.isna()], path.name)
        tickers: Any = table["ticker"]
    else:
        raw = raw.rename(columns=_POLISH)
        if "date" not in raw:
            raise _no_prices(path.name, raw.columns)
        table = _renamed(raw, _NAMES, path.name)
        days = pd.Series(_days(pd.Index(raw["date"]), path.name))
        found = re.search(r"_([dwmqy])$", path.stem.lower())
        periods = {found.group(1).upper() if found else "D"}
        tickers = _DOWNLOAD.sub("", path.stem.lower()).replace("_", ".").upper()
    table = table[[name for name in _NAMES.values() if name in table]].apply(
        _numbers, where=path.name
    )
    table = table.assign(ticker=tickers, date=days)
    table.attrs = {"periods": periods}
    return table


def _read_all(
    paths: Any, pattern: str, read: Callable[[Path], pd.DataFrame | None]
) -> list[pd.DataFrame]:
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for path in map(Path, listed):
        path = path.expanduser()
        inside = sorted(path.rglob(pattern)) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise FileNotFoundError(f"expected price files at {path}, found none. Check the path.")
        files += inside
    if not files:
        raise bad_parameter("paths", expected="at least one file", found=paths)
    tables = {path: table for path in files if (table := read(path)) is not None}
    found = [table for table in tables.values() if len(table)]
    if not found:
        raise fail(
            "no prices",
            expected="rows in at least one file",
            found=f"{len(files)} empty files, {first(path.name for path in files)}",
            advice="Download them again.",
        )
    if len(found) < len(tables):
        bare = [path.name for path, table in tables.items() if not len(table)]
        warnings.warn(
            f"{len(bare)} of {len(files)} files have no rows and are left out: {first(bare)}. If "
            "these tickers are gone, say so in panel.attrs['survivorship'].",
            stacklevel=callers_level(),
        )
    return found


def _texts(path: Path, text: str) -> pd.DataFrame:
    """Cells of a file as text."""
    raw = pd.read_csv(path, dtype=str, encoding="utf-8-sig")
    if not isinstance(raw.index, pd.RangeIndex):  # pandas makes an index of what is too much
        line = text.split("\n")[1]
        raise fail(
            "rows have more cells than there are names of columns",
            expected=f"{raw.shape[1]} cells",
            found=repr(line[:60]),
            advice=f"Look at {path.name}: {_DECIMALS}, or a comma at the end of the lines.",
        )
    _refuse_short(text, path)
    return raw


def _refuse_short(text: str, path: Path) -> None:
    """Raise where a line has fewer cells than the first one: pandas would fill it up.

    It has read the file, and let no line pass that has more.
    """

    def cells(line: str) -> int:
        return len(next(csv.reader([line]))) if '"' in line else line.count(",") + 1

    head, *lines = text.split("\n")
    wanted = cells(head)
    if '"' not in text and text.count(",") == (wanted - 1) * (len(lines) + 1):
        return
    wanted = cells(head.rstrip(", \r"))
    for number, line in enumerate(lines, 2):
        if line.strip() and cells(line) < wanted and not _tells_of_event(line):
            raise fail(
                "a line is cut short",
                expected=f"{wanted} cells",
                found=repr(line[:60]),
                advice=f"Look at line {number} of {path.name}. The file may be cut off: get it "
                "again.",
                series=path.stem,
            )


def _tells_of_event(line: str) -> bool:
    """Whether it is a date and a dividend or a split, and no prices."""
    return bool(_EVENT.fullmatch(next(csv.reader([line]))[-1].strip()))


def _renamed(table: pd.DataFrame, names: dict[str, str], where: str) -> pd.DataFrame:
    """Columns by our names, others left out."""
    mine = {name: names[key] for name in table if (key := str(name).strip().lower()) in names}
    if "close" not in mine.values():
        raise _no_prices(where, table.columns)
    return table[list(mine)].rename(columns=mine)


def _values(table: pd.DataFrame) -> list[str]:
    """Columns whose absence makes a row empty: events are zero on every day."""
    return [
        str(name) for name in table if name not in ("dividends", "stock_splits", "ticker", "date")
    ]


def _numbers(column: pd.Series, where: str) -> pd.Series:
    if column.dtype.kind == "f":
        return column
    text = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    text = text.replace(["null", "-", "N/A", "nan", ""], None)
    values = _plain(text)
    if (wrong := values.isna() & text.notna()).any():
        raise fail(
            "column is not numeric",
            expected="numbers, or null",
            found=f"{first(map(repr, text[wrong]))}",
            advice=f"Look at {where}: columns may be shifted, or {_DECIMALS}.",
            column=column.name,
        )
    return values.astype("float64")


def _plain(text: pd.Series) -> pd.Series:
    """Numbers of text, NaN where it is none; a comma counts where it parts thousands alone."""
    grouped = text.str.fullmatch(_GROUPED).fillna(False).astype(bool)
    return pd.to_numeric(text.mask(grouped, text.str.replace(",", "")), errors="coerce")


def _days(time: pd.Index, where: str = "the index") -> pd.Index:
    """Dates without a zone, where every time is a midnight; text becomes datetimes."""
    if not isinstance(time, pd.DatetimeIndex) and time.dtype.kind not in "iufm":
        text = pd.Series(time).astype(str).str.strip()
        dates = text.str.extract(rf"^{_MIDNIGHT.pattern}$")[0]
        text = dates if dates.notna().all() else text
        parsed = None
        for format in ("ISO8601", "%b %d, %Y"):
            parsed = pd.to_datetime(text, format=format, errors="coerce", utc=True)
            if parsed.notna().all():
                break
        assert parsed is not None
        if parsed.isna().any():
            raise _bad_days(text[parsed.isna()], where)
        offsets = _offsets(pd.Index(text))
        time = pd.DatetimeIndex(parsed)
        if len(offsets) == 1:  # of several, or some without: UTC
            time = time.tz_convert(pd.Timestamp(text.iloc[0]).tz)
    if isinstance(time, pd.DatetimeIndex):
        wall = time.tz_localize(None)
        if bool((wall == wall.normalize()).all()):
            return wall
    return time


def _offsets(time: pd.Index) -> set[str]:
    """Offsets from UTC at the end of times in text, "" without one."""
    found = pd.Series(time).astype(str).str.strip().str.extract(_OFFSET)[0].fillna("")
    return {offset.replace(":", "").replace("Z", "+0000") for offset in found.unique()}


def _adjusted(table: pd.DataFrame) -> str | None:
    """What the columns tell: beside an adjusted close, Yahoo's prices are adjusted for splits."""
    return "splits" if "adj_close" in table else None


def _panel(table: pd.DataFrame, source: str, adjusted: str | None) -> pd.DataFrame:
    time = pd.DatetimeIndex(table["date"]) if table["date"].dtype.kind == "M" else None
    within = time is not None and bool((time != time.normalize()).any())
    table = table.rename(columns={"date": "time"}) if within else table
    name = "time" if within else "date"
    named = "ticker" in table
    order = [column for column in _NAMES.values() if column in table]
    panel = as_panel(table, series="ticker" if named else None, time=name, columns=order)
    panel.attrs |= {"source": source, "survivorship": UNKNOWN_UNIVERSE}
    if adjusted is not None:
        panel.attrs["adjusted"] = adjusted
    return panel


def _no_values(tickers: Sequence[Any]) -> ValueError:
    return fail(
        "tickers without any value",
        expected="prices of every ticker asked for",
        found=f"none of {first(map(repr, tickers))}",
        advice="Download them again. If they are gone, drop their columns, and say in "
        "panel.attrs['survivorship'] that they are.",
        series=tickers[0],
    )


def _no_rows(path: Path, found: str) -> ValueError:
    return fail(
        "a file without prices",
        expected="a table of Yahoo, with rows",
        found=found,
        advice=f"Download {path.name} again. If its ticker is gone, leave the file out, and say in "
        "panel.attrs['survivorship'] that it is.",
        series=path.stem,
    )


def _bad_days(text: pd.Series, where: str) -> ValueError:
    return fail(
        "dates cannot be read",
        expected="dates such as 2024-01-31",
        found=f"{first(map(repr, text))}",
        advice=f"Look at {where}; day and month may be in an order that cannot be told.",
    )


def _no_prices(where: str, columns: pd.Index) -> ValueError:
    return fail(
        "prices not found",
        expected=f"in {where} the columns Date, Open, High, Low, Close, Volume, or some of them",
        found=f"{list(columns)}",
        advice="Make a panel of other tables with as_panel.",
    )
