"""Tables as files and databases hold them: the columns a job needs, and no row after the cut.

What a source can be asked for is asked for: columns, rows up to the cut, and of a database some
series.  The rest, and all that says whether a row can be used, is left to
`tsforecast.batch.sources`.
"""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import difflib
import glob
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import sqlalchemy as sa
from pyarrow.fs import LocalFileSystem

from tsforecast._checks import first
from tsforecast.batch.asof import AsOf
from tsforecast.batch.config import SourceConfig
from tsforecast.batch.databases import engine_for, told
from tsforecast.batch.exits import JobError, SourceError
from tsforecast.batch.words import moments

__all__ = [
    "FOREIGN",
    "UNNAMED",
    "Raw",
    "is_text",
    "limit_of",
    "read",
    "unreadable",
]

UNNAMED = "0"
"""What rejects call the series of a source without a column for it."""
FOREIGN = (pa.ArrowException, OSError, UnicodeError, OverflowError)
"""What files that are not as they ought to be raise."""

_CSV = (".csv", ".csv.gz")
_PARQUET = (".parquet", ".pq")
_MOST_IDS = 10_000  # named in a query; beyond them all are read, and the others left out
_CHUNK = 1 << 22  # bytes
_TRUE, _FALSE = ["true", "True", "TRUE", "t"], ["false", "False", "FALSE", "f"]  # t: PostgreSQL
_ROWS = 50_000  # fetched from a database at a time
_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")  # as SQLAlchemy has it
_CAST = re.compile(r"(?<![:\w\\])(:\w+)(?=::)")


@dataclass
class Raw:
    """A table as it was read, and what was seen on the way."""

    table: pa.Table
    name: str
    after_cut: int = 0
    torn: list[str] = field(default_factory=list)  # series with rows of another length


def read(
    source: SourceConfig, as_of: AsOf, series: Sequence[str] | None, *, values: bool = True
) -> Raw:
    """Read the columns that are needed, without rows after the cut where that can be asked for."""
    name = "the query" if source.path is None else str(source.path)
    try:
        if source.path is None:
            return _read_database(source, as_of, series, values)
        files, kind = _files(source.path)
        if kind == "parquet":
            return _read_parquet(source, files, as_of, values)
        return _joined([_read_csv(file, str(file), source, as_of, values) for file in files], name)
    except JobError:
        raise
    except FOREIGN as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: BaseException) -> SourceError:
    """Say that a file cannot be read, and why, without a value of it."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return SourceError.of(
        name,
        expected="a CSV or Parquet file that can be read",
        found=f"an error: {reason}",
        advice="Look at the file: is it complete, of one kind, and encoded as UTF-8?",
    )


def _files(path: Path) -> tuple[list[Path], str]:
    """Find the files of a source, and whether they are CSV or Parquet."""
    if path.is_dir():
        found = [
            file
            for file in sorted(path.rglob("*"))
            if file.name.lower().endswith((*_CSV, *_PARQUET))
            and not any(part[0] in "._" for part in file.relative_to(path).parts)
        ]
    elif path.exists():
        found = [path]
    else:
        found = [Path(file) for file in sorted(glob.glob(str(path), recursive=True))]
    kinds = {
        "csv" if file.name.lower().endswith(_CSV) else "parquet"
        for file in found
        if file.name.lower().endswith((*_CSV, *_PARQUET))
    }
    if len(kinds) != 1 or not all(file.is_file() for file in found):
        raise SourceError.of(
            str(path),
            expected="files whose names end in .csv, .csv.gz or .parquet, of one kind",
            found=f"{len(found)} files" if found else "none",
            advice="Check [source] path; it is relative to the folder of job.toml.",
        )
    return found, kinds.pop()


def _wanted(source: SourceConfig, there: Sequence[str], name: str, values: bool) -> list[str]:
    """Columns to read, in order; an error names those that are not there."""
    keys = [source.series, source.time, source.available_column]
    named = [*(key for key in keys if key is not None), *source.static, *source.columns]
    twice = sorted({column for column in there if there.count(column) > 1})
    missing = [column for column in named if column not in there]
    if missing:
        near = difflib.get_close_matches(missing[0], list(there), n=1)
        raise SourceError.of(
            name,
            expected=f"columns {named}",
            found=f"no {first(map(repr, missing))} among {first(map(repr, there), shown=20)}",
            advice=f"Did you mean {near[0]!r}?" if near else "Check the names under [source].",
        )
    if doubled := sorted(set(twice) & set(named)) or ([] if source.columns else twice):
        raise SourceError.of(
            name,
            expected="each column once",
            found=f"{first(map(repr, doubled))} more than once",
            advice="Rename or drop the copies.",
        )
    if values and not source.columns:
        return [*named, *(column for column in there if column not in named)]
    return named


def _read_parquet(source: SourceConfig, files: Sequence[Path], as_of: AsOf, values: bool) -> Raw:
    name = str(source.path)
    plain = pads.ParquetFileFormat()
    schemas = [plain.inspect(str(file), filesystem=LocalFileSystem()) for file in files]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    wanted = _wanted(source, schema.names, name, values)
    words = {
        column.name
        for column in schema
        if column.name in (source.series, *source.static) and is_text(column.type)
    }
    form = pads.ParquetFileFormat(read_options=pads.ParquetReadOptions(dictionary_columns=words))
    coded = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([c.with_type(coded) if c.name in words else c for c in schema])
    dataset = pads.dataset([str(file) for file in files], schema=schema, format=form)
    seen = _before(source, schema, as_of)
    scanner = dataset.scanner(columns=wanted)
    kept, total = [scanner.projected_schema.empty_table()], 0
    # not by a filter of the scanner: that looks at statistics, and where a byte of theirs has
    # changed pyarrow ends the process
    for batch in scanner.to_batches():
        total += batch.num_rows
        rows = pa.Table.from_batches([batch])
        kept.append(rows if seen is None else rows.filter(seen))
    table = pa.concat_tables(kept)
    for column in words & set(wanted):  # pyarrow takes numbers of no word as the file gives them
        table[column].validate(full=True)
    return Raw(table, name, after_cut=total - table.num_rows)


def _before(source: SourceConfig, schema: pa.Schema, as_of: AsOf) -> pc.Expression | None:
    """What can be said of the cut while rows are read; the rest is looked at afterwards."""
    seen = None
    for name in (source.time, source.available_column):
        if name is None:
            continue
        kind = schema.field(name).type
        if pa.types.is_timestamp(kind):
            limit = (
                as_of.moment if kind.tz is not None else as_of.next_midnight.replace(tzinfo=None)
            )
            if kind.unit == "ns" and not 1678 <= limit.year < 2262:  # beyond what they can hold
                continue
            # a unit of seconds holds every date, and the first moment after a day is a whole one
            bound = pc.field(name) < pa.scalar(limit, pa.timestamp("s", kind.tz))
        elif pa.types.is_date(kind):
            bound = pc.field(name) <= pa.scalar(as_of.run_date, kind)
        else:
            continue
        if name == source.time:  # a row without a time is not passed over in silence
            bound = bound | pc.field(name).is_null()
        seen = bound if seen is None else seen & bound
    return seen


def _read_csv(
    file: Path | IO[bytes], name: str, source: SourceConfig, as_of: AsOf, values: bool
) -> Raw:
    """Read a CSV file as its beginning says; else without torn rows; else as text as well."""
    for patient, plain in ((False, False), (True, False), (True, True)):
        torn: list[str] | None = [] if patient else None
        if patient and not plain and isinstance(file, Path):
            _require_utf8(file, name)  # what takes note of torn rows has to read them
        try:
            table, header = _csv_table(file, name, source, values, torn, plain=plain)
        except pa.ArrowInvalid:
            if plain:
                raise
            continue
        break
    return Raw(table, name, torn=_torn_series(torn or [], header, source, as_of))


def _csv_table(
    file: Path | IO[bytes],
    name: str,
    source: SourceConfig,
    values: bool,
    torn: list[str] | None,
    *,
    plain: bool,
) -> tuple[pa.Table, list[str]]:
    """Give the table and the header of a file; rows with more or fewer fields go to `torn`."""

    def keep_in_mind(row: Any) -> str:
        if torn is not None:
            torn.append(row.text)
        return "skip"

    handler = None if torn is None else keep_in_mind
    parse = pacsv.ParseOptions(invalid_row_handler=handler, newlines_in_values=True)
    flags = pacsv.ConvertOptions(true_values=_TRUE, false_values=_FALSE)
    with pacsv.open_csv(_rewound(file), parse_options=parse, convert_options=flags) as reader:
        header = list(reader.schema.names)
        begun = {column.name: column.type for column in reader.schema}
    wanted = _wanted(source, header, name, values)
    kinds = {column: _kind(source, column, begun[column], plain=plain) for column in wanted}
    if torn is not None:
        torn.clear()
    convert = pacsv.ConvertOptions(
        column_types=kinds, include_columns=wanted, true_values=_TRUE, false_values=_FALSE
    )
    return pacsv.read_csv(_rewound(file), parse_options=parse, convert_options=convert), header


def _kind(source: SourceConfig, column: str, begun: pa.DataType, *, plain: bool) -> pa.DataType:
    """As what to read a column whose beginning is of some type."""
    words = pa.dictionary(pa.int32(), pa.string())
    if column == source.series:
        return words
    number = pa.types.is_integer(begun) or pa.types.is_floating(begun)
    if column in source.static and not number:
        return words
    if plain:
        return pa.string()
    if column == source.time and (number or pa.types.is_null(begun)):
        return pa.string() if pa.types.is_null(begun) else begun
    if number or pa.types.is_null(begun):  # whole numbers may go on as others
        return pa.float64()
    if pa.types.is_date(begun) or pa.types.is_timestamp(begun):  # and dates as times of a day
        return pa.timestamp("us", getattr(begun, "tz", None))
    return begun


def _rewound(file: Path | IO[bytes]) -> Any:
    if isinstance(file, Path):
        return str(file)
    file.seek(0)
    return pa.PythonFile(file, mode="r")


def _require_utf8(file: Path, name: str) -> None:
    """Refuse a file that is no text, and say where."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with pa.input_stream(str(file), compression="detect") as stream:
        try:
            while data := stream.read(_CHUNK):
                decoder.decode(data)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise SourceError.of(
                name,
                expected="text encoded as UTF-8",
                found="bytes that are none",
                advice="Convert the file, e.g. with: iconv -f latin1 -t utf-8",
            ) from None


def _torn_series(
    torn: Sequence[str], header: Sequence[str], source: SourceConfig, as_of: AsOf
) -> list[str]:
    """Name the series of rows with too few or too many fields, but of those after the cut."""
    if not torn:
        return []
    rows = []
    for text in torn:
        try:
            fields = next(csv.reader([text]), [])
        except csv.Error:
            fields = []
        rows.append(dict(zip(header, fields)))
    after = np.zeros(len(rows), dtype=bool)
    for name in (source.time, source.available_column):
        if name is not None:
            when, zoned = moments([row.get(name) for row in rows])
            limits = np.where(zoned, limit_of(as_of, True), limit_of(as_of, False))
            after |= ~np.isnat(when) & (when.astype(np.int64) >= limits)
    if source.series is None:
        return [UNNAMED] * int((~after).sum())
    return [row.get(source.series, "") for row, late in zip(rows, after) if not late]


def _joined(raws: Sequence[Raw], name: str) -> Raw:
    """Lay the tables of several files one below the other, with the columns of any of them."""
    if len(raws) == 1:
        return raws[0]
    tables = [raw.table for raw in raws]
    for column in dict.fromkeys(column for table in tables for column in table.column_names):
        kinds = [table.field(column) for table in tables if column in table.column_names]
        try:
            pa.unify_schemas([pa.schema([kind]) for kind in kinds], promote_options="permissive")
        except pa.ArrowException:  # it is text in one file: then it is read as text in all
            tables = [_as_text(table, column) for table in tables]
    table = pa.concat_tables(tables, promote_options="permissive")
    return Raw(table, name, torn=[series for raw in raws for series in raw.torn])


def _as_text(table: pa.Table, column: str) -> pa.Table:
    if column not in table.column_names:
        return table
    at = table.column_names.index(column)
    return table.set_column(at, column, table.column(at).cast(pa.string()))


# ---------------------------------------------------------------------------------------- databases


def _read_database(
    source: SourceConfig, as_of: AsOf, series: Sequence[str] | None, values: bool
) -> Raw:
    """Run the query, with the cut as its parameter."""
    assert source.database is not None
    password = None if source.password is None else source.password.get_secret_value()
    engine = engine_for(source.database, password, SourceError)
    place = engine.url.render_as_string(hide_password=True)
    server = engine.dialect.name == "postgresql"
    query, given = _query(source, as_of, series, engine.dialect)
    path = engine.url.database
    if engine.dialect.name == "sqlite" and path and path != ":memory:" and not Path(path).is_file():
        raise SourceError.of(  # SQLite would make an empty one
            f"source {place}",
            expected=f"a file {path}",
            found="none",
            advice="Check [source] database; it is relative to the folder of job.toml.",
        )
    advice = "Check [source] database and query; TSFORECAST_SOURCE__PASSWORD holds a password."
    with told(f"source {place}", SourceError, advice=advice):
        try:
            with engine.connect() as connection:  # what is not committed is undone, if it writes
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA query_only = ON")
                if server:
                    # what a clock shows is compared with moments as clocks of the job show them
                    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                    zone = sa.text("SELECT set_config('TimeZone', :zone, true)")
                    connection.execute(zone, {"zone": as_of.timezone})
                    with tempfile.TemporaryFile() as file:
                        _copy_out(connection, query, given, file)
                        return _read_csv(file, f"the query to {place}", source, as_of, values)
                return _fetch(connection, query, given, source, place, values)
        finally:
            engine.dispose()


def _query(
    source: SourceConfig, as_of: AsOf, series: Sequence[str] | None, dialect: sa.Dialect
) -> tuple[sa.TextClause, dict[str, Any]]:
    """The query, of some series where they are few, and the parameters it names."""
    text = (source.query or "").strip().rstrip(";")
    text = _CAST.sub(r"(\1)", text)  # SQLAlchemy takes :as_of::date for no parameter
    server = dialect.name == "postgresql"
    given: dict[str, Any] = {"as_of": as_of.last, "run_date": as_of.run_date}
    if server:
        # a clock without its zone would not say which hour, where one comes twice before midnight
        given["as_of"] = as_of.moment - dt.timedelta(microseconds=1)
    elif dialect.name == "sqlite":  # has times as text: a T stands behind the blank of others, so
        given = {name: moment.isoformat() for name, moment in given.items()}  # both are up to it
    names = _PARAMETER.findall(text)
    if strange := sorted({f":{name}" for name in names} - {f":{name}" for name in given}):
        raise SourceError.of(
            "[source] query",
            expected="no parameters but :as_of and :run_date",
            found=first(strange),
            advice="Write a colon that begins none as \\:.",
        )
    if source.series is None or series is None or len(series) > _MOST_IDS:
        query = sa.text(text)
    else:
        name = sa.cast(sa.column(source.series), sa.String).compile(dialect=dialect)
        among = "= ANY(:source_series)" if server else "IN :source_series"
        escaped = str(name).replace(":", r"\:")
        some: Any = sa.bindparam("source_series", expanding=not server)
        query = sa.text(f"SELECT * FROM ({text}\n) AS source_rows WHERE {escaped} {among}")
        query = query.bindparams(some)
        given["source_series"] = list(series)
        names.append("source_series")
    return query, {name: value for name, value in given.items() if name in names}


def _copy_out(
    connection: sa.Connection, query: sa.TextClause, given: Mapping[str, Any], file: IO[bytes]
) -> None:
    """Have PostgreSQL write what a query gives as CSV, which is read without a loop over rows."""
    compiled = query.bindparams(**given).compile(dialect=connection.dialect)
    statement = f"COPY ({compiled}\n) TO STDOUT (FORMAT csv, HEADER)"
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement, dict(compiled.params)) as copy:
        for data in copy:
            file.write(data)


def _fetch(
    connection: sa.Connection,
    query: sa.TextClause,
    given: Mapping[str, Any],
    source: SourceConfig,
    place: str,
    values: bool,
) -> Raw:
    """Fetch rows in blocks, and lay them out by columns."""
    found = connection.execution_options(stream_results=True).execute(query, dict(given))
    there = [str(key) for key in found.keys()]  # noqa: SIM118 - a result is no dict
    wanted = _wanted(source, there, f"the query to {place}", values)
    at = [there.index(column) for column in wanted]
    blocks: dict[str, list[pa.Array]] = {column: [] for column in wanted}
    for rows in found.partitions(_ROWS):
        columns = list(zip(*rows))
        for column, number in zip(wanted, at):
            blocks[column].append(_block(columns[number]))
    table = pa.table({column: _column(each) for column, each in blocks.items()})
    return Raw(table, f"the query to {place}")


def _block(values: Sequence[Any]) -> pa.Array:
    """Values of a database; where they are of several kinds, as text."""
    try:
        block = pa.array(values)
    except (pa.ArrowException, OverflowError):
        block = pa.array([None if value is None else str(value) for value in values], pa.string())
    return block.dictionary_encode() if is_text(block.type) else block  # names come again


def _column(blocks: Sequence[pa.Array]) -> pa.ChunkedArray:
    """Blocks of a column as one; where they are of several kinds, as text."""
    tables = [pa.table({"": block}) for block in blocks]
    try:
        return pa.concat_tables(tables, promote_options="permissive").column(0)
    except pa.ArrowException:  # none at all is one, too
        words = [
            [None if value is None else str(value) for value in block.to_pylist()]
            for block in blocks
        ]
        return pa.chunked_array(words, pa.string())


def limit_of(as_of: AsOf, zoned: bool) -> int:
    """The first time that does not count, in microseconds."""
    moment = np.datetime64(as_of.moment.replace(tzinfo=None), "us")
    return int((moment if zoned else as_of.clock).astype(np.int64))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind)) or "view" in str(kind)
