"""What a run reads: rows up to the cut, from files or a database, as a panel.

Three rules hold for every source.  Nothing that lies after the cut, or became known after it, is
in the panel.  A series with a row that cannot be used (a word for a number, an infinite one, two
rows at one time, a time that is none) is rejected as a whole, by name, and the others go on.  And
the digest of what was read does not depend on the order of rows, or on how they were stored.

Names of series are text, whatever they are in the source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tsforecast._checks import DataError, first
from tsforecast.batch.asof import AsOf
from tsforecast.batch.config import SourceConfig
from tsforecast.batch.exits import JobError, SourceError
from tsforecast.batch.readers import (
    FOREIGN,
    UNNAMED,
    Raw,
    is_text,
    limit_of,
    read,
    unreadable,
)
from tsforecast.batch.words import Mask, is_reserved, moments, numerals
from tsforecast.data.panel import as_panel

__all__ = ["AsOf", "Extract", "list_series", "read_source"]

STAGE = "read"

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]

_BLOCK = 1 << 20
_LONGEST_NAME = 1_000  # bytes


@dataclass(frozen=True, eq=False)
class Extract:
    """What was read for a run.

    Attributes
    ----------
    panel : DataFrame
        Indexed by (series, time), or by time where the source has no column of series. Columns of
        numbers, and categories among the static ones.
    rejects : DataFrame
        Series that were left out: ``series, stage, error, message``.
    digest : str
        SHA-256 of panel and rejects.
    latest : Timestamp or None
        Time of the newest row of the panel.
    rows : int
        Rows of the panel.
    dropped : dict of str to int
        Rows that were left out: ``after_cut`` (or known only after it), ``superseded`` (by a row
        of the same time that became known later), ``rejected``.
    """

    panel: pd.DataFrame
    rejects: pd.DataFrame
    digest: str
    latest: pd.Timestamp | None
    rows: int
    dropped: dict[str, int]


def read_source(
    source: SourceConfig, as_of: AsOf, *, series: Sequence[str] | None = None
) -> Extract:
    """Read what was known at the end of a run date.

    Parameters
    ----------
    source : SourceConfig
    as_of : AsOf
    series : sequence of str, optional
        Only these. Default: all.

    Returns
    -------
    Extract
        Its panel is empty only where every series was rejected.

    Raises
    ------
    SourceError
        If the source cannot be read, lacks a column, or holds no row up to the cut; if most values
        of a column are no numbers, or most times no times.

    Examples
    --------
    >>> import datetime, tempfile
    >>> from pathlib import Path
    >>> from tsforecast.batch.config import SourceConfig
    >>> import pandas as pd
    >>> path = Path(tempfile.mkdtemp()) / "prices.csv"
    >>> days = ["2024-01-02", "2024-01-03", "2024-01-02"]
    >>> rows = pd.DataFrame({"ticker": list("AAB"), "date": days, "close": ["7", "8", "x"]})
    >>> rows.to_csv(path, index=False)
    >>> source = SourceConfig(path=path, series="ticker", time="date", columns=("close",))
    >>> extract = read_source(source, AsOf(datetime.date(2024, 1, 2)))
    >>> extract.panel
                       close
    ticker date
    A      2024-01-02    7.0
    >>> extract.rejects["series"].tolist(), extract.dropped["after_cut"]
    (['B'], 1)
    """
    return _extract(read(source, as_of, series), source, as_of, series)


def list_series(source: SourceConfig, as_of: AsOf) -> list[str]:
    """Name the series that have a row up to the cut, in order, those that are rejected included.

    Parameters
    ----------
    source : SourceConfig
    as_of : AsOf

    Returns
    -------
    list of str

    Raises
    ------
    SourceError
        As for `read_source`.
    """
    bare = source.model_copy(update={"columns": (), "static": ()})
    found = _extract(read(bare, as_of, None, values=False), bare, as_of, None, values=False)
    if source.series is None:
        return [UNNAMED]
    named = found.panel.index.get_level_values(0).unique()
    return sorted({*map(str, named), *found.rejects["series"]} - {""})


def _extract(
    raw: Raw,
    source: SourceConfig,
    as_of: AsOf,
    series: Sequence[str] | None,
    *,
    values: bool = True,
) -> Extract:
    try:
        return _Reading(raw, source, as_of, series, values).extract()
    except (JobError, DataError):
        raise
    except FOREIGN as error:
        raise unreadable(raw.name, error) from error


class _Reading:
    """Rows on their way to a panel: by columns, with a number for each series."""

    def __init__(
        self,
        raw: Raw,
        source: SourceConfig,
        as_of: AsOf,
        series: Sequence[str] | None,
        values: bool,
    ) -> None:
        self.name, self.source, self.as_of = raw.name, source, as_of
        self.values = values
        self.table = raw.table
        self.dropped = {"after_cut": raw.after_cut, "superseded": 0, "rejected": 0}
        self.problems: dict[str, str] = {}  # by series
        for torn in raw.torn:
            self.problems.setdefault(torn, "a row has too few or too many fields")
        self.only = None if series is None else {str(each) for each in series}

    def extract(self) -> Extract:
        codes, ids = self._series()
        times, timeless, zone = self._times(self.source.time)
        keep = timeless | (times < limit_of(self.as_of, zone is not None))
        known = None
        if self.source.available_column is not None:
            known, unknown, known_zone = self._times(
                self.source.available_column, strict=False, among=keep
            )
            keep &= ~unknown & (known < limit_of(self.as_of, known_zone is not None))
        self.dropped["after_cut"] += int(len(keep) - keep.sum())
        if self.only is not None:
            wanted = np.array([each in self.only for each in ids] + [False])
            keep &= wanted[codes]
            self.problems = {k: v for k, v in self.problems.items() if k in self.only}
        if not keep.all():
            self.table = self.table.filter(pa.array(keep))
            codes, times, timeless = codes[keep], times[keep], timeless[keep]
            known = None if known is None else known[keep]
        if not len(codes) and not self.problems:
            raise self._no_rows()
        bad = _Bad(ids, codes, self.problems)
        bad.add(timeless, "has no usable time")
        if self.source.series is not None:
            bad.lost(codes < 0)
            bad.add(_holds_nul(ids)[codes], "has a name with a NUL character")
            bad.add(_too_long(ids)[codes], f"has a name of more than {_LONGEST_NAME} bytes")
        order, stamps, at = self._order(codes, times, known, bad)
        columns = self._columns(bad)
        return self._panel(codes, ids, stamps, at, order, columns, bad, zone)

    def _no_rows(self) -> SourceError:
        found = "none"
        if self.dropped["after_cut"]:
            found = f"none ({self.dropped['after_cut']} lie after it, or became known after it)"
        return SourceError.of(
            self.name,
            expected=f"rows up to the end of {self.as_of.run_date}, {self.as_of.timezone}",
            found=found,
            advice="Check the run date, the source and its query.",
        )

    def _take(self, name: str) -> pa.ChunkedArray:
        """Take a column out of the table, so that its memory can go."""
        at = self.table.column_names.index(name)
        column = self.table.column(at)
        self.table = self.table.remove_column(at)
        return column

    def _series(self) -> tuple[Codes, pd.Index]:
        """Give the number of each row's series, -1 where it has none, and their names in order."""
        if self.source.series is None:
            return np.zeros(self.table.num_rows, dtype=np.int32), pd.Index([UNNAMED])
        column = self._take(self.source.series)
        if pa.types.is_null(column.type):
            column = column.cast(pa.string())
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        coded = column.unify_dictionaries().combine_chunks()
        if isinstance(coded, pa.ChunkedArray):  # of no chunk at all
            return np.zeros(0, dtype=np.int32), pd.Index([], dtype=str)
        words = coded.dictionary.cast(pa.string()).to_pylist()
        names = sorted({word for word in words if word})
        place = {name: j for j, name in enumerate(names)}
        moved = np.array([place.get(word, -1) for word in words] + [-1], dtype=np.int32)
        codes = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        return moved[codes], pd.Index(names, dtype=str)

    def _times(
        self, name: str, *, strict: bool = True, among: Mask | None = None
    ) -> tuple[Ints, Mask, str | None]:
        """Give times in microseconds, rows without one, and the zone they are shown in.

        `strict`: there has to be one; `among`: rows that may decide how the column is read.
        """
        column = self._take(name)
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if is_text(kind):
            return self._times_of_text(column.cast(pa.string()), name, among)
        if pa.types.is_null(kind):
            column = column.cast(pa.timestamp("us"))
        elif not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise self._no_times(name, f"values of type {kind}")
        if pa.types.is_date(kind):
            column = column.cast(pa.timestamp("s"))
        zone = getattr(column.type, "tz", None)
        missing = column.is_null().to_numpy()
        column = column.cast(pa.timestamp("us", zone), safe=False)
        if strict and len(missing) and missing.all():
            raise self._no_times(name, "missing values alone")
        plain = column.cast(pa.int64()).fill_null(0).to_numpy()
        if zone is not None and zone.upper() in ("UTC", "ETC/UTC", "+00:00"):
            zone = self.as_of.timezone
        return plain, missing, zone

    def _times_of_text(
        self, column: pa.ChunkedArray, name: str, among: Mask | None
    ) -> tuple[Ints, Mask, str | None]:
        coded = column.dictionary_encode().unify_dictionaries().combine_chunks()
        if isinstance(coded, pa.ChunkedArray):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool), None
        words = coded.dictionary.to_pylist()
        when, zoned = moments(words)
        codes = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        usable = ~np.append(np.isnat(when), True)[codes]
        aware = np.append(zoned, False)[codes]
        plain = np.append(when.astype(np.int64), 0)[codes]
        limits = limit_of(self.as_of, False), limit_of(self.as_of, True)
        after = usable & (plain >= np.where(aware, limits[1], limits[0]))
        told = ~after if among is None else ~after & among  # by rows up to the cut alone
        majority = bool(aware[usable & told].sum() * 2 > (usable & told).sum())
        usable &= after | (aware == majority)
        if (usable & told).sum() * 2 < told.sum():
            raise self._no_times(name, f"{int((~usable & told).sum())} values that are none")
        plain[after] = limits[majority]  # on whichever clock
        plain[~usable] = 0
        return plain, ~usable, self.as_of.timezone if majority else None

    def _no_times(self, name: str, found: str) -> SourceError:
        return SourceError.of(
            f"{self.name}, column {name!r}",
            expected="dates or times, as text such as 2024-01-31 or 2024-01-31T16:00:00+01:00",
            found=found,
            advice="Name the column of time under [source], or convert it.",
        )

    def _order(
        self, codes: Codes, times: Ints, known: Ints | None, bad: _Bad
    ) -> tuple[Ints | None, Ints, Codes]:
        """Sort by series and time; two rows of one time are one, if one became known later.

        Returns
        -------
        order : ndarray of int64, or None
            Rows that are kept, in order; None: all, as they stand.
        stamps : ndarray of int64
            The times there are, in order.
        at : ndarray of int32
            Which of them is that of each row.
        """
        coded = pa.array(times).dictionary_encode()
        found = coded.dictionary.to_numpy(zero_copy_only=False)
        rank = np.empty(len(found), dtype=np.int32)
        rank[np.argsort(found, kind="stable")] = np.arange(len(found), dtype=np.int32)
        at = rank[coded.indices.to_numpy(zero_copy_only=False)]
        key = codes.astype(np.int64)
        key *= max(len(found), 1)
        key += at
        stamps = np.sort(found)
        if _rises(key):
            return None, stamps, at
        order = np.argsort(key, kind="stable") if known is None else np.lexsort((known, key))
        ordered = key[order]
        again = np.zeros(len(order), dtype=bool)
        again[1:] = ordered[1:] == ordered[:-1]
        if not again.any():
            return order, stamps, at
        if known is None:
            twice = np.zeros(len(order), dtype=bool)
            twice[order[again]] = True
            bad.add(twice & ~bad.rows(), "has two rows at one time")
            return order, stamps, at
        newest = np.append(~again[1:], True)  # of each time, what became known last
        tied = np.flatnonzero(again & newest)
        tied = tied[known[order[tied]] == known[order[tied - 1]]]
        twice = np.zeros(len(order), dtype=bool)
        twice[order[tied]] = True
        bad.add(twice & ~bad.rows(), "has two rows at one time that became known together")
        self.dropped["superseded"] = int((~newest).sum())
        return order[newest], stamps, at

    def _columns(self, bad: _Bad) -> dict[str, Any]:
        """Give the columns as numbers or categories; rows that hold neither are bad."""
        columns: dict[str, Any] = {}
        if not self.values:
            return columns
        static = set(self.source.static)
        for name in [*(self.source.columns or ()), *self.source.static, *self.table.column_names]:
            if name not in self.table.column_names:
                continue
            column = self._take(name)
            if pa.types.is_dictionary(column.type) and name not in static:
                column = column.cast(column.type.value_type)
            if name in static and (is_text(column.type) or pa.types.is_dictionary(column.type)):
                columns[name] = _categories(column)
                continue
            numbers, words = _numbers(column)
            known = int((~np.isnan(numbers)).sum() + words.sum())
            if words.sum() * 2 > known:
                if not self.source.columns and name not in static:
                    continue  # all columns of numbers are wanted, and this is none
                raise SourceError.of(
                    f"{self.name}, column {name!r}",
                    expected="numbers",
                    found=f"{int(words.sum())} of {known} values that are none",
                    advice="Convert it, or leave it out of [source] columns.",
                )
            bad.add(words, f"has a value of column {name!r} that is no number")
            bad.add(np.isinf(numbers), f"has an infinite value of column {name!r}")
            columns[name] = numbers
        if not columns:
            raise SourceError.of(
                self.name,
                expected="at least one column of numbers",
                found="none",
                advice="Name the columns under [source] columns.",
            )
        if taken := [name for name in columns if is_reserved(name)]:
            raise SourceError.of(
                f"{self.name}, column {taken[0]!r}",
                expected="no column that forecasts have themselves, such as 'target' or 'q0.5'",
                found=first(map(repr, taken)),
                advice="Rename it in the source, or name those to read under [source] columns.",
            )
        return columns

    def _panel(
        self,
        codes: Codes,
        ids: pd.Index,
        stamps: Ints,
        at: Codes,
        order: Ints | None,
        columns: dict[str, Any],
        bad: _Bad,
        zone: str | None,
    ) -> Extract:
        dead = bad.rows()
        if dead.any():
            self.dropped["rejected"] = int(dead.sum())
            rows = np.arange(len(codes)) if order is None else order
            order = rows[~dead[rows]]
        if order is not None:
            codes, at = codes[order], at[order]
            for name, values in columns.items():
                columns[name] = values.take(order) if isinstance(values, pd.Categorical) else (
                    values[order]
                )  # fmt: skip
        at, stamps = _only_used(at, stamps)
        codes, ids = _only_used(codes, ids)
        shown = pa.array(stamps, pa.timestamp("us", zone)).to_pandas()
        time = pd.DatetimeIndex(shown).as_unit("us").rename(self.source.time)
        frame_index: pd.Index
        if self.source.series is None:
            frame_index = time.take(at)
        else:
            levels: Any = [ids, time]
            numbers: Any = [codes, at]
            frame_index = pd.MultiIndex(
                levels=levels,
                codes=numbers,
                names=[self.source.series, self.source.time],
                verify_integrity=False,
            )
        panel = pd.DataFrame(columns, index=frame_index, copy=False)
        if len(panel) and self.values:
            panel = as_panel(panel)
        rejects = bad.frame()
        return Extract(
            panel=panel,
            rejects=rejects,
            digest=self._digest(panel, codes, ids, stamps, at, rejects, zone),
            latest=time[-1] if len(time) else None,
            rows=len(panel),
            dropped=self.dropped,
        )

    def _digest(
        self,
        panel: pd.DataFrame,
        codes: Codes,
        ids: pd.Index,
        stamps: Ints,
        at: Codes,
        rejects: pd.DataFrame,
        zone: str | None,
    ) -> str:
        """Check sum of what goes on from here, whatever the order in which it was read."""
        digest = hashlib.sha256()
        about = {
            "columns": sorted(map(str, panel.columns)),
            "zone": zone,
            "rows": len(panel),
            "rejects": rejects.to_numpy().tolist(),
        }
        for text in (json.dumps(about), json.dumps(list(ids))):
            digest.update(text.encode())
        digest.update(stamps.tobytes())
        for part in _blocks(len(panel)):
            digest.update(codes[part].tobytes())
            digest.update(at[part].tobytes())
        for name in sorted(map(str, panel.columns)):
            column = panel[name]
            if isinstance(column.dtype, pd.CategoricalDtype):
                digest.update(json.dumps(column.cat.categories.tolist()).encode())
                digest.update(column.cat.codes.to_numpy().astype(np.int32).tobytes())
                continue
            values = column.to_numpy()
            for part in _blocks(len(panel)):
                with np.errstate(invalid="ignore"):
                    block = values[part] + 0.0  # one zero
                block[np.isnan(block)] = np.nan  # one NaN
                digest.update(block.tobytes())
        return digest.hexdigest()


class _Bad:
    """Series that cannot be used, each with the first reason that was found."""

    def __init__(self, ids: pd.Index, codes: Codes, problems: Mapping[str, str]) -> None:
        self.ids, self.codes = ids, codes
        self.reasons: dict[str, str] = dict(problems)
        self.marked = np.zeros(len(ids) + 1, dtype=bool)  # the last one: rows of no series
        for name in problems:
            if name in ids:
                self.marked[ids.get_loc(name)] = True

    def add(self, rows: Mask, what: str) -> None:
        """Mark the series of some rows."""
        if not rows.any():
            return
        found = self.codes[rows]
        counts = np.bincount(found[found >= 0], minlength=len(self.ids))
        for code in np.flatnonzero(counts).tolist():
            name = str(self.ids[code])
            self.reasons.setdefault(name, f"{what} ({counts[code]} rows)")
            self.marked[code] = True

    def lost(self, rows: Mask) -> None:
        """Count rows of no series."""
        if rows.any():
            self.marked[-1] = True
            self.reasons.setdefault("", f"{int(rows.sum())} rows name no series")

    def rows(self) -> Mask:
        """Rows of the series that are marked."""
        return self.marked[self.codes]

    def frame(self) -> pd.DataFrame:
        """Give them as rejects, in order."""
        lines = [(name, STAGE, "DataError", what) for name, what in sorted(self.reasons.items())]
        return pd.DataFrame(lines, columns=["series", "stage", "error", "message"], dtype=object)


def _numbers(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.float64], Mask]:
    """Give numbers, NaN where missing, and which values are no numbers."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.int8()), pa.int8()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float64(), safe=False)
        return column.to_numpy(), np.zeros(len(column), dtype=bool)
    missing = column.is_null().to_numpy()
    if not is_text(kind):
        return np.full(len(column), np.nan), ~missing
    coded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    words = coded.dictionary.cast(pa.string()).to_pylist() if len(column) else []
    read, wrong = numerals(words)
    codes = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    return np.append(read, np.nan)[codes], np.append(wrong, False)[codes]


def _categories(column: pa.ChunkedArray) -> pd.Categorical:
    """Text as categories in order."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    coded = column.unify_dictionaries().combine_chunks()
    words = coded.dictionary.cast(pa.string()).to_pylist() if len(column) else []
    names = sorted({word for word in words if word})
    place = {name: j for j, name in enumerate(names)}
    moved = np.array([place.get(word, -1) for word in words] + [-1])
    codes = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False) if words else []
    found = pd.Categorical.from_codes(moved[codes] if words else [], categories=pd.Index(names))
    return found.remove_unused_categories()


def _holds_nul(ids: pd.Index) -> Mask:
    """Which names hold a character that no database takes; the last one is that of no series."""
    return np.array(["\0" in name for name in ids] + [False], dtype=bool)


def _too_long(ids: pd.Index) -> Mask:
    """Which names are longer than an index of PostgreSQL takes; the last one is that of none."""
    return np.array([len(name.encode()) > _LONGEST_NAME for name in ids] + [False], dtype=bool)


def _only_used(codes: Codes, labels: Any) -> tuple[Codes, Any]:
    """Leave out labels that no code names."""
    used = np.zeros(len(labels), dtype=bool)
    used[codes] = True
    if used.all():
        return codes, labels
    return (np.cumsum(used, dtype=np.int32) - np.int32(1))[codes], labels[used]


def _rises(key: Ints) -> bool:
    """Whether numbers rise, looked at in blocks that fit the cache."""
    return all(
        bool((key[at + 1 : at + 1 + _BLOCK] > key[at : at + _BLOCK][: len(key) - at - 1]).all())
        for at in range(0, len(key) - 1, _BLOCK)
    )


def _blocks(n: int) -> Iterator[slice]:
    return (slice(at, at + _BLOCK) for at in range(0, n, _BLOCK))
