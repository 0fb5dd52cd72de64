"""Forecasts in a database: SQLite or PostgreSQL, alike.

==================  ===========================================================================
table or view       what a row is
==================  ===========================================================================
``forecasts``       view: a forecast of a visible run: ``job, run_date, model, series, target,
                    time, cutoff, step, source, forecast``, and ``q0_1`` for the quantile 0.1
``risks``           view: a risk of a visible run: ``job, run_date, model, series, time, source,
                    risk``, and ``risk_1, risk_2, ...``
``tsf_runs``        an attempt at a run; ``status`` is ``open``, ``ok``, ``failed`` or ``replaced``,
                    and ``visible`` is true of one attempt of a run date at most (and of fits)
``tsf_parts``       a part that is written: how many rows and rejects, and when
``tsf_rows``        a forecast of any attempt, by ``run_id, series, target, step``
``tsf_risks``       a risk of any attempt, by ``run_id, series, time``
``tsf_rejects``     a series that failed: ``stage, error, message``
``tsf_schema``      one number: the version of all this
==================  ===========================================================================

``time`` and ``cutoff`` are those of the source; where it has a zone they are in UTC, and
``tsf_runs.clock`` names the zone.  ``started`` and ``finished`` are in UTC.  Digests, ``about`` and
``summary`` (JSON) stand in ``tsf_runs``.  A number that is missing is NULL; a point in the name of
a column becomes ``_``.  Columns are added when a model first gives them.

Read the views; the tables hold attempts that are not finished, or have failed.  Of a job and a run
date the views show one run, so that a row is known by ``job, run_date, series, target, step`` (or
``time``), and of risks by ``job, run_date, series, time``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import sqlalchemy as sa

from tsforecast.batch.databases import PATIENCE, engine_for, told
from tsforecast.batch.exits import LockedError, SinkError
from tsforecast.batch.ledger import (
    FIT,
    FORECAST,
    LEDGER,
    NO_MODEL,
    REJECTS,
    RISK,
    Attempt,
    Kind,
    Rows,
    RunKey,
    Sink,
    as_rejects,
    as_rows,
    from_json,
    no_rows,
    on_one_clock,
    to_json,
)

__all__ = ["SqlSink"]

SCHEMA = 2
_OLDER = (1,)  # versions that `SqlSink.prepare` brings up to this one
_PLACES: dict[Kind, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    # the table, its view, the columns of every row, and those that a row is known by
    "forecast": ("tsf_rows", "forecasts", FORECAST, ("run_id", "series", "target", "step")),
    "risk": ("tsf_risks", "risks", RISK, ("run_id", "series", "time")),
}
_NUMBER: sa.Double[Any] = sa.Double()
_FILLED = ("tsf_rows", "tsf_risks", "tsf_rejects")
_COUNTS = ("parts_done", "rows", "rejects")


class _Moment(sa.types.TypeDecorator[Any]):
    """A time without a zone, to the microsecond."""

    impl = sa.DateTime
    cache_ok = True


def _tables() -> tuple[sa.MetaData, dict[str, sa.Table]]:
    meta = sa.MetaData()
    text, whole, moment = sa.Text, sa.Integer, _Moment
    sa.Table("tsf_schema", meta, sa.Column("version", whole, primary_key=True))
    runs = sa.Table(
        "tsf_runs",
        meta,
        sa.Column("run_id", whole, primary_key=True),
        sa.Column("job", text, nullable=False),
        sa.Column("run_date", sa.Date, nullable=False),
        sa.Column("model_id", text, nullable=False),
        sa.Column("config_digest", text, nullable=False),
        sa.Column("data_digest", text, nullable=False),
        sa.Column("status", text, nullable=False),
        sa.Column("visible", sa.Boolean, nullable=False),
        sa.Column("parts", whole, nullable=False),
        sa.Column("part_size", whole),
        sa.Column("clock", text),
        sa.Column("started", moment, nullable=False),
        sa.Column("finished", moment),
        *(sa.Column(name, whole, nullable=False) for name in _COUNTS),
        sa.Column("about", text, nullable=False),
        sa.Column("summary", text, nullable=False),
    )
    of_run = [runs.c[name] for name in ("job", "run_date", "model_id", "config_digest")]
    sa.Index("tsf_runs_key", *of_run)
    shown = runs.c.visible.is_(True)
    sa.Index(  # that two attempts of a key are never seen at once is not left to our code
        "tsf_runs_visible", *of_run, unique=True, sqlite_where=shown, postgresql_where=shown
    )
    scored = shown & (runs.c.model_id != FIT)
    sa.Index(  # nor two runs of a date
        "tsf_runs_seen", *of_run[:2], unique=True, sqlite_where=scored, postgresql_where=scored
    )

    def run_id(**options: Any) -> sa.Column[int]:
        return sa.Column("run_id", whole, sa.ForeignKey("tsf_runs.run_id"), **options)

    sa.Table(
        "tsf_parts",
        meta,
        run_id(primary_key=True),
        sa.Column("part", whole, primary_key=True),
        sa.Column("rows", whole, nullable=False),
        sa.Column("rejects", whole, nullable=False),
        sa.Column("finished", moment, nullable=False),
    )
    kinds: dict[str, Any] = {"time": moment, "cutoff": moment, "step": whole}
    kinds |= {"forecast": _NUMBER, "risk": _NUMBER}
    for table, _, names, key in _PLACES.values():
        sa.Table(
            table,
            meta,
            run_id(primary_key=True),
            *(
                sa.Column(name, kinds.get(name, text), primary_key=name in key, nullable=False)
                for name in names
            ),
            sa.Column("part", whole, nullable=False),
            sqlite_with_rowid=False,
        )
    rejects = sa.Table(
        "tsf_rejects",
        meta,
        run_id(nullable=False),
        sa.Column("part", whole, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in REJECTS),
    )
    sa.Index("tsf_rejects_part", rejects.c.run_id, rejects.c.part)
    return meta, dict(meta.tables)


_META, _TABLES = _tables()
_RUNS, _PARTS = _TABLES["tsf_runs"], _TABLES["tsf_parts"]


class SqlSink(Sink):
    """Forecasts of a job in a database.

    Parameters
    ----------
    database : str
        A URL of SQLAlchemy, of SQLite or PostgreSQL.
    job : str
    password : str, optional
        Of the database.

    Raises
    ------
    SinkError
        If it cannot be reached.
    """

    def __init__(self, database: str, job: str, password: str | None = None) -> None:
        self.job = job
        self._engine = engine_for(database, password, SinkError)
        self._place = self._engine.url.render_as_string(hide_password=True)
        self._dialect = self._engine.dialect.name
        if self._dialect not in ("sqlite", "postgresql"):
            raise SinkError.of(
                f"sink {self._place}",
                expected="sqlite:/// or postgresql+psycopg://",
                found=self._dialect,
                advice="Write to one of these, or to a folder of Parquet files.",
            )
        self._owned = self._prepared = False
        self._file: tuple[int, int] | None = None  # that of SQLite, once it is written to
        self._columns: dict[Kind, list[str]] = {}
        file = self._file_name()
        if file is not None and not file.parent.is_dir():
            raise SinkError.of(
                f"sink {self._place}",
                expected=f"a folder {file.parent}",
                found="none",
                advice="Make it, or name another place.",
            )
        self._open: sa.Connection | None = None
        if not self._missing():
            with self._told("cannot be opened"), self._reading() as connection:
                connection.execute(sa.select(1))

    @property
    def _connection(self) -> sa.Connection:
        """The one connection; SQLite makes a file where there is none, so that it comes late."""
        if self._open is None:
            self._open = self._engine.connect()
        return self._open

    def _file_name(self) -> Path | None:
        """The file of SQLite, as far as there is one."""
        name = self._engine.url.database
        named = self._dialect == "sqlite" and name and not name.startswith((":memory:", "file:"))
        return Path(str(name)) if named else None

    def _missing(self) -> bool:
        """Whether nothing was written yet, not even the file of SQLite."""
        file = self._file_name()
        return self._open is None and file is not None and not file.exists()

    def close(self) -> None:
        """Close the connection; attempts that are open stay so."""
        if self._open is not None:
            with contextlib.suppress(Exception):  # it may be gone, and nothing hangs on it any more
                self._open.close()
        self._engine.dispose()

    # ------------------------------------------------------------------------------- transactions

    def _told(self, problem: str) -> contextlib.AbstractContextManager[None]:
        """Turn errors of the database into ours."""
        advice = "What was visible before is so still; mend it, and repeat the run."
        return told(f"sink {self._place} {problem}", SinkError, advice=advice)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._connection.begin():
            yield self._connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes; whatever ends it, a signal too, is what is raised."""
        connection = self._connection.execution_options(write=True)
        try:
            transaction = connection.begin()
            try:
                yield connection
                self._require_file()
            except BaseException:
                try:
                    transaction.rollback()
                except Exception:  # a signal has left it in the middle of a statement: a new one
                    connection.invalidate()
                    transaction.rollback()
                raise
            transaction.commit()
        finally:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._connection.execution_options(write=False)

    def _require_file(self) -> None:
        """See that SQLite does not write to a file that nobody finds any more."""
        if self._file is not None and self._file_there() != self._file:
            raise SinkError.of(
                f"sink {self._place}",
                expected="the file that was opened",
                found="that it was taken away, or replaced",
                advice="Put it back, or repeat the run.",
            )

    def prepare(self) -> None:
        """Make tables and views where there are none, and see that they can be written to."""
        if self._prepared:
            return
        if self._dialect == "sqlite":
            with self._told("cannot be written to"):
                driver = self._connection.connection.driver_connection
                driver.execute("PRAGMA journal_mode = WAL")  # type: ignore[union-attr]
        with self._told("cannot be prepared"), self._writing() as connection:
            if self._dialect == "postgresql":  # two that create a table at once would collide
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number("tsforecast"))))
            found = self._version(connection)
            if found is None:
                self._refuse_others(connection)
                _META.create_all(connection)
                connection.execute(_TABLES["tsf_schema"].insert().values(version=SCHEMA))
                for kind in _PLACES:
                    self._show(connection, kind, ())
            elif found in _OLDER:
                self._upgrade(connection)
            else:  # a write, so that a place that can only be read is found now
                connection.execute(_TABLES["tsf_schema"].update().values(version=SCHEMA))
        self._prepared = True
        self._file = self._file_there()

    def _file_there(self) -> tuple[int, int] | None:
        """Which file has the name of the database now."""
        name = self._file_name()
        if name is None:
            return None
        with contextlib.suppress(OSError):
            about = name.stat()
            return about.st_dev, about.st_ino
        return None

    def _upgrade(self, connection: sa.Connection) -> None:
        """Bring tables of an older version up to this one.

        Version 1 showed a run of each model and configuration of a run date, side by side.
        """
        seen = sa.select(_RUNS.c.run_id).where(*_SCORED, _RUNS.c.run_id.not_in(_seen()))
        self._take_away(connection, list(connection.execute(seen).scalars()))
        index = next(each for each in _RUNS.indexes if each.name == "tsf_runs_seen")
        index.create(connection)
        connection.execute(_TABLES["tsf_schema"].update().values(version=SCHEMA))

    def _take_away(self, connection: sa.Connection, runs: Sequence[int]) -> None:
        """Show these no more: they are replaced, and their rows go."""
        connection.execute(
            _RUNS.update()
            .where(_RUNS.c.run_id.in_(runs), _RUNS.c.status == "ok")
            .values(visible=False, status="replaced")
        )
        for table in (_PARTS, *(_TABLES[name] for name in _FILLED)):
            connection.execute(table.delete().where(table.c.run_id.in_(runs)))

    def _version(self, connection: sa.Connection) -> int | None:
        """Give the version of the tables, None where there are none; another one is refused."""
        if not sa.inspect(connection).has_table("tsf_schema"):
            return None
        found = connection.execute(sa.select(_TABLES["tsf_schema"].c.version)).scalar()
        if found not in (SCHEMA, *_OLDER):
            raise SinkError.of(
                f"sink {self._place}",
                expected=f"tables of version {SCHEMA}",
                found=f"version {found}",
                advice="Use the release that made them, or a database of its own.",
            )
        return int(found)

    def _refuse_others(self, connection: sa.Connection) -> None:
        """Refuse a database where something else has the name of one of our views."""
        look = sa.inspect(connection)
        there = {*look.get_table_names(), *look.get_view_names()}
        ours = {*_TABLES, *(view for _, view, _, _ in _PLACES.values())}
        if there & ours:
            raise SinkError.of(
                f"sink {self._place}",
                expected=f"no tables or views named {sorted(there & ours)}",
                found="some that this program has not made",
                advice="Use a database, or a schema in search_path, of its own.",
            )

    def _show(self, connection: sa.Connection, kind: Kind, numbers: Sequence[str]) -> None:
        """Make the view of a kind, with these numbers at its end."""
        table, view, names, _ = _PLACES[kind]
        quote = self._engine.dialect.identifier_preparer.quote
        columns = [
            "u.job",
            "u.run_date",
            "u.model_id AS model",
            *(f"r.{quote(name)}" for name in (*names, *numbers)),
        ]
        create = "CREATE OR REPLACE VIEW" if self._dialect == "postgresql" else "CREATE VIEW"
        if self._dialect == "sqlite":
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view}")
        true = "u.visible" if self._dialect == "postgresql" else "u.visible = 1"
        connection.exec_driver_sql(
            f"{create} {view} AS SELECT {', '.join(columns)} "
            f"FROM {table} r JOIN tsf_runs u ON u.run_id = r.run_id WHERE {true}"
        )

    def _own(self) -> None:
        """See that no other host works on the job; the lock goes with the connection."""
        if self._owned or self._dialect != "postgresql":
            return
        limit = time.monotonic() + PATIENCE  # the server may not know yet that a client is gone
        ask = sa.select(sa.func.pg_try_advisory_lock(_number(f"job {self.job}")))
        while True:
            with self._told("cannot be locked"), self._reading() as connection:
                if connection.execute(ask).scalar():
                    self._owned = True
                    return
            if time.monotonic() > limit:
                raise LockedError.of(
                    f"job {self.job!r} is at work",
                    expected=f"nobody else to write its forecasts to {self._place}",
                    found="another connection that does, maybe from another host",
                    advice="Wait for it, or end it.",
                )
            time.sleep(0.1)

    # ----------------------------------------------------------------------------------- writing

    def begin(
        self,
        key: RunKey,
        *,
        data_digest: str,
        parts: int,
        part_size: int | None = None,
        about: Mapping[str, Any] | None = None,
        resume: bool = True,
    ) -> Attempt:
        """Begin an attempt, or go on with one; see `Sink`."""
        self.prepare()
        self._own()
        with self._told("cannot be written to"), self._writing() as connection:
            if key.model_id != FIT:  # rejects of who had no model are shown until now
                early = sa.select(_RUNS.c.run_id).where(
                    *_of_date(key), _RUNS.c.model_id == NO_MODEL
                )
                self._take_away(connection, list(connection.execute(early).scalars()))
            last = connection.execute(
                sa.select(_RUNS).where(*_is(key)).order_by(_RUNS.c.run_id.desc()).limit(1)
            ).one_or_none()
            wanted = (data_digest, parts, part_size)
            if (
                resume
                and last
                and last.status != "replaced"
                and (last.data_digest, last.parts, last.part_size) == wanted
            ):
                return self._resumed(connection, key, last)
            connection.execute(
                _RUNS.update()
                .where(*_is(key), _RUNS.c.status == "open")
                .values(status="failed", finished=_now())
            )
            added = connection.execute(
                _RUNS.insert().values(
                    **_key_values(key),
                    data_digest=data_digest,
                    status="open",
                    visible=False,
                    parts=parts,
                    part_size=part_size,
                    started=_now(),
                    **dict.fromkeys(_COUNTS, 0),
                    about=to_json(about),
                    summary=to_json(None),
                )
            )
            number: Any = added.inserted_primary_key
            return Attempt(str(number[0]), key)

    def _resumed(self, connection: sa.Connection, key: RunKey, last: Any) -> Attempt:
        done = bool(last.visible)
        if not done:
            connection.execute(
                _RUNS.update()
                .where(_RUNS.c.run_id == last.run_id)
                .values(status="open", finished=None, summary=to_json(None))
            )
        marked = connection.execute(sa.select(_PARTS.c.part).where(_PARTS.c.run_id == last.run_id))
        return Attempt(str(last.run_id), key, frozenset(marked.scalars()), resumed=True, done=done)

    def write_part(
        self, attempt: Attempt, part: int, rows: pd.DataFrame, rejects: pd.DataFrame | None = None
    ) -> None:
        """Write a part in one transaction; see `Sink`."""
        ready = as_rows(rows) if len(rows) else None
        refused = as_rejects(rejects)
        run_id = int(attempt.id)
        with self._told(f"did not take part {part}"), self._writing() as connection:
            run = self._open_run(connection, run_id)
            if not 0 <= part < run.parts:
                raise SinkError.of(
                    f"part {part}",
                    expected=f"a number from 0 to {run.parts - 1}",
                    found="another one",
                    advice="Begin an attempt with as many parts as there are.",
                )
            again = self._forget(connection, run_id, part)
            if ready is not None:
                self._add_columns(connection, ready)
                self._upsert(connection, ready, run_id, part)
            if len(refused):
                values = [
                    {"run_id": run_id, "part": part, **dict(zip(REJECTS, line))}
                    for line in refused[list(REJECTS)].itertuples(index=False, name=None)
                ]
                connection.execute(_TABLES["tsf_rejects"].insert(), values)
            connection.execute(
                _PARTS.insert().values(
                    run_id=run_id,
                    part=part,
                    rows=len(rows),
                    rejects=len(refused),
                    finished=_now(),
                )
            )
            counted = zip(_COUNTS, (1, len(rows), len(refused)), again)
            connection.execute(
                _RUNS.update()
                .where(_RUNS.c.run_id == run_id)
                .values(
                    clock=run.clock if ready is None else ready.clock,
                    **{name: _RUNS.c[name] + new - old for name, new, old in counted},
                )
            )

    def _open_run(self, connection: sa.Connection, run_id: int) -> Any:
        """Give the line of an attempt that is open, and hold it."""
        found = connection.execute(
            sa.select(_RUNS).where(_RUNS.c.run_id == run_id).with_for_update()
        ).one_or_none()
        if found is None or found.status != "open":
            raise SinkError.of(
                f"attempt {run_id} in {self._place}",
                expected="one that is open",
                found="none" if found is None else f"one that is {found.status!r}",
                advice="Another process has ended it; repeat the run.",
            )
        return found

    def _forget(self, connection: sa.Connection, run_id: int, part: int) -> tuple[int, int, int]:
        """Take away what an earlier write of a part has left: parts, rows and rejects, counted."""
        this = _PARTS.c.run_id == run_id, _PARTS.c.part == part
        found = connection.execute(sa.select(_PARTS).where(*this)).one_or_none()
        if found is None:
            return 0, 0, 0
        for table in (_PARTS, *(_TABLES[name] for name in _FILLED)):
            connection.execute(table.delete().where(table.c.run_id == run_id, table.c.part == part))
        return 1, found.rows, found.rejects

    def _add_columns(self, connection: sa.Connection, rows: Rows) -> None:
        """Add columns that no model has given before, and show them in the view."""
        wanted = [_column(name) for name in rows.numbers]
        known = self._columns.get(rows.kind)
        if known is not None and set(wanted) <= set(known):
            return
        table = _PLACES[rows.kind][0]
        if self._dialect == "postgresql":  # only one adds columns at a time
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_number("tsforecast"))))
        known = self._numbers(connection, rows.kind)
        new = [name for name in wanted if name not in known]
        quote = self._engine.dialect.identifier_preparer.quote
        for name in new:
            kind = _NUMBER.compile(dialect=self._engine.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {quote(name)} {kind}")
        if new:
            self._show(connection, rows.kind, (*known, *new))
        else:
            self._columns[rows.kind] = known  # new ones count once they are committed

    def _numbers(self, connection: sa.Connection, kind: Kind) -> list[str]:
        """Columns of numbers that were added to a table, in their order."""
        table, _, names, _ = _PLACES[kind]
        found = [str(column["name"]) for column in sa.inspect(connection).get_columns(table)]
        return [name for name in found if name not in (*names, "run_id", "part")]

    def _upsert(self, connection: sa.Connection, rows: Rows, run_id: int, part: int) -> None:
        table, _, names, key = _PLACES[rows.kind]
        quote = self._engine.dialect.identifier_preparer.quote
        columns = ["run_id", *names, *(_column(name) for name in rows.numbers), "part"]
        listed = ", ".join(map(quote, columns))
        set_to = ", ".join(
            f"{quote(name)} = excluded.{quote(name)}" for name in columns if name not in key
        )
        conflict = f"ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {set_to}"
        data = pa.table(
            {
                "run_id": pa.array(np.full(len(rows.frame), run_id)),
                **{
                    _column(str(name)): pa.array(rows.frame[name], from_pandas=True)
                    for name in rows.frame
                },
                "part": pa.array(np.full(len(rows.frame), part)),
            }
        )
        if self._dialect == "sqlite":
            holes = ", ".join("?" * len(columns))
            lists = [_listed(data[name]) for name in columns]
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({listed}) VALUES ({holes}) {conflict}",
                list(zip(*lists)),
            )
            return
        stage = f"tsf_stage_{table}"
        cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
        with cursor:
            cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{stage}")
            cursor.execute(f"CREATE TEMP TABLE {stage} (LIKE {table}) ON COMMIT DROP")
            with cursor.copy(f"COPY {stage} ({listed}) FROM STDIN (FORMAT csv)") as copy:
                for batch in data.select(columns).to_batches(max_chunksize=20_000):
                    copy.write(_csv(batch))
            cursor.execute(
                f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {stage} {conflict}"
            )

    def finish(
        self,
        attempt: Attempt,
        status: Literal["ok", "failed"],
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """End an attempt in one transaction; see `Sink`."""
        run_id = int(attempt.id)
        with self._told("could not end the run"), self._writing() as connection:
            if attempt.done and status == "ok":  # it was finished before: nothing changes
                return
            run = self._open_run(connection, run_id)
            this = _RUNS.c.run_id == run_id
            ended = {"finished": _now(), "summary": to_json(summary), "status": status}
            if status == "failed":
                connection.execute(_RUNS.update().where(this).values(**ended))
                return
            if run.parts_done != run.parts:
                raise SinkError.of(
                    f"run {run_id} in {self._place}",
                    expected=f"{run.parts} parts",
                    found=f"{run.parts_done} written",
                    advice="Write all parts before the run is finished as ok.",
                )
            before = sa.select(_RUNS.c.run_id).where(*_before(attempt.key), ~this)
            self._take_away(connection, list(connection.execute(before).scalars()))
            connection.execute(_RUNS.update().where(this).values(visible=True, **ended))

    def fail_open(self) -> int:
        """Mark attempts as failed that are open; see `Sink`."""
        if self._missing():
            return 0
        with self._told("cannot be read"), self._reading() as connection:
            if self._version(connection) is None:
                return 0
        self._own()
        with self._told("cannot be written to"), self._writing() as connection:
            found = connection.execute(
                _RUNS.update()
                .where(_RUNS.c.job == self.job, _RUNS.c.status == "open")
                .values(
                    status="failed",
                    finished=_now(),
                    summary=to_json({"error": "the process ended before the run did"}),
                )
            )
            return int(found.rowcount)

    # ----------------------------------------------------------------------------------- reading

    def runs(self) -> pd.DataFrame:
        """Give the ledger of the job; see `Sink`."""
        if self._missing():
            return pd.DataFrame(columns=list(LEDGER))
        with self._told("cannot be read"), self._reading() as connection:
            if self._version(connection) is None:
                return pd.DataFrame(columns=list(LEDGER))
            found = connection.execute(
                sa.select(_RUNS).where(_RUNS.c.job == self.job).order_by(_RUNS.c.run_id)
            ).mappings()
            lines = [
                {
                    **line,
                    "run": str(line["run_id"]),
                    "model": line["model_id"],
                    "visible": bool(line["visible"]),
                    "started": _utc(line["started"]),
                    "finished": _utc(line["finished"]),
                    "about": from_json(line["about"]),
                    "summary": from_json(line["summary"]),
                }
                for line in found
            ]
        return pd.DataFrame(lines, columns=list(LEDGER))

    def forecasts(
        self,
        run_date: dt.date | None = None,
        model: str | None = None,
        *,
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Give the forecasts of visible runs; see `Sink`."""
        return self._visible("forecast", run_date, model, series)

    def risks(
        self,
        run_date: dt.date | None = None,
        model: str | None = None,
        *,
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Give the risks of visible runs; see `Sink`."""
        return self._visible("risk", run_date, model, series)

    def _visible(
        self,
        kind: Kind,
        run_date: dt.date | None,
        model: str | None,
        series: Sequence[str] | None,
    ) -> pd.DataFrame:
        name, _, names, key = _PLACES[kind]
        if self._missing():
            return no_rows(kind)
        with self._told("cannot be read"), self._reading() as connection:
            if self._version(connection) is None:
                return no_rows(kind)
            table, numbers = _TABLES[name], self._numbers(connection, kind)
            found = connection.execute(
                sa.select(
                    _RUNS.c.run_date,
                    _RUNS.c.model_id.label("model"),
                    _RUNS.c.clock,
                    *(table.c[column] for column in names),
                    *(sa.column(column, _NUMBER) for column in numbers),
                )
                .select_from(table.join(_RUNS, table.c.run_id == _RUNS.c.run_id))
                .where(_RUNS.c.job == self.job, _RUNS.c.run_id.in_(_seen()))
                .where(*_chosen(run_date, model))
                .where(sa.true() if series is None else table.c.series.in_(list(series)))
                .order_by(_RUNS.c.run_date, _RUNS.c.model_id, *(table.c[each] for each in key[1:]))
            )
            columns = list(found.keys())
            frame = pd.DataFrame.from_records(found.fetchall(), columns=columns)
        return _given_back(frame, numbers) if len(frame) else no_rows(kind)

    def rejects(self, run_date: dt.date | None = None, model: str | None = None) -> pd.DataFrame:
        """Give the rejects of the newest attempt of each run, unless it is past; see `Sink`."""
        table = _TABLES["tsf_rejects"]
        columns = ["run", "run_date", "model", "part", *REJECTS]
        if self._missing():
            return pd.DataFrame(columns=columns)
        with self._told("cannot be read"), self._reading() as connection:
            if self._version(connection) is None:
                return pd.DataFrame(columns=columns)
            newest = (
                sa.select(sa.func.max(_RUNS.c.run_id))
                .where(_RUNS.c.job == self.job)
                .group_by(*_RUNS.c["run_date", "model_id", "config_digest"])
            )
            found = connection.execute(
                sa.select(
                    _RUNS.c.run_id,
                    _RUNS.c.run_date,
                    _RUNS.c.model_id,
                    *(table.c[name] for name in ("part", *REJECTS)),
                )
                .select_from(table.join(_RUNS, table.c.run_id == _RUNS.c.run_id))
                .where(_RUNS.c.run_id.in_(newest), ~_past(), *_chosen(run_date, model))
                .order_by(_RUNS.c.run_id, table.c.part, table.c.series)
            ).fetchall()
        return pd.DataFrame([(str(row[0]), *row[1:]) for row in found], columns=columns)


def _given_back(frame: pd.DataFrame, numbers: Sequence[str]) -> pd.DataFrame:
    """Rows as they were given: times in their zone, names with points, no column without values."""
    clocks = frame.pop("clock")
    times = [name for name in ("time", "cutoff") if name in frame]
    for name in times:
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
    for name in numbers:
        frame[name] = frame[name].astype(np.float64)
    frames = []
    for clock, rows in frame.groupby(clocks, dropna=False, sort=False):
        for name in () if pd.isna(clock) else times:
            rows[name] = rows[name].dt.tz_localize("UTC").dt.tz_convert(clock)
        frames.append(rows)
    frame = pd.concat(on_one_clock(frames)).sort_index()
    empty = [name for name in numbers if frame[name].isna().all()]
    return frame.drop(columns=empty).rename(columns={name: _name(name) for name in numbers})


def _is(key: RunKey) -> list[sa.ColumnElement[bool]]:
    return [_RUNS.c[name] == value for name, value in _key_values(key).items()]


_SCORED = (_RUNS.c.visible.is_(True), _RUNS.c.model_id != FIT)


def _seen() -> sa.Select[Any]:
    """Numbers of the runs that are seen: of each job and run date the last one that was finished.

    It is the only visible one, but in tables of version 1.
    """
    order = sa.func.row_number().over(
        partition_by=[_RUNS.c.job, _RUNS.c.run_date],
        order_by=[_RUNS.c.finished.desc(), _RUNS.c.run_id.desc()],
    )
    ranked = sa.select(_RUNS.c.run_id, order.label("place")).where(*_SCORED).subquery()
    return sa.select(ranked.c.run_id).where(ranked.c.place == 1)


def _past() -> sa.ColumnElement[bool]:
    """Whether an attempt had ended before the run of its date that is seen was finished."""
    later = _RUNS.alias()
    return (
        sa.select(later.c.run_id)
        .where(later.c.run_id.in_(_seen()), later.c.finished > _RUNS.c.finished)
        .where(*(later.c[name] == _RUNS.c[name] for name in ("job", "run_date")))
        .correlate(_RUNS)
        .exists()
    )


def _before(key: RunKey) -> list[sa.ColumnElement[bool]]:
    """What a run takes the place of: attempts of its key, and what else is seen of its date."""
    if key.model_id == FIT:
        return _is(key)
    return [*_of_date(key), sa.and_(*_is(key)) | sa.and_(*_SCORED)]


def _of_date(key: RunKey) -> list[sa.ColumnElement[bool]]:
    return [_RUNS.c.job == key.job, _RUNS.c.run_date == key.run_date]


def _key_values(key: RunKey) -> dict[str, Any]:
    return {
        "job": key.job,
        "run_date": key.run_date,
        "model_id": key.model_id,
        "config_digest": key.config_digest,
    }


def _chosen(run_date: dt.date | None, model: str | None) -> list[sa.ColumnElement[bool]]:
    chosen = [] if run_date is None else [_RUNS.c.run_date == run_date]
    return chosen if model is None else [*chosen, _RUNS.c.model_id == model]


def _column(name: str) -> str:
    """Name of a column in the database: ``q0.1`` would have to be quoted everywhere."""
    return name.replace(".", "_")


def _name(column: str) -> str:
    """The name that a column had in the frame."""
    return column.replace("_", ".", 1) if column[:1] == "q" and column[1:2].isdigit() else column


def _listed(column: pa.ChunkedArray) -> list[Any]:
    """Values as sqlite3 takes them; times in the form in which SQLAlchemy reads them."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values


def _csv(batch: pa.RecordBatch) -> bytes:
    """Rows as COPY reads them: numbers to the last digit, missing ones empty, texts quoted."""
    sink = io.BytesIO()
    pacsv.write_csv(batch, sink, pacsv.WriteOptions(include_header=False))
    return sink.getvalue()


def _number(text: str) -> int:
    """A number of 64 bits for a lock of PostgreSQL."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def _utc(moment: dt.datetime | None) -> pd.Timestamp | None:
    return None if moment is None else pd.Timestamp(moment, tz="UTC")
