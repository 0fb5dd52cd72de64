"""Databases by SQLAlchemy, for sources and sinks alike: how they are opened, and how they fail."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from tsforecast.batch.exits import ConfigError, JobError, SourceError

__all__ = ["PATIENCE", "engine_for", "told"]

PATIENCE = 30.0
"""Seconds that are waited for another process that writes."""

_BAD_VALUE = "22"  # class of PostgreSQL's errors that show the value which they are about
_QUOTED = re.compile(r'".*"', re.DOTALL)


def engine_for(database: str, password: str | None, error: type[JobError]) -> sa.Engine:
    """Make an engine for a URL: no pool, no values in its errors, SQLite as it ought to be.

    A connection with the execution option ``write=True`` asks SQLite for its lock when a
    transaction begins: where it is asked for later it may be refused.

    Parameters
    ----------
    database : str
        A URL of SQLAlchemy.
    password : str or None
        Put into the URL.
    error : type
        Raised if the URL or its driver cannot be used.

    Raises
    ------
    ConfigError
        If there is a password for SQLite.
    """
    try:
        url = sa.make_url(database)
        if password is not None and url.get_backend_name() == "sqlite":
            raise _no_user("SOURCE" if error is SourceError else "SINK")
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        if password is not None:
            url = url.set(password=password)
        engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)
    except (sa.exc.SQLAlchemyError, ImportError, ValueError, TypeError) as problem:
        raise error.of(
            "database",
            expected="a URL of SQLAlchemy whose driver is installed",
            found=str(problem).splitlines()[0],
            advice="PostgreSQL needs: pip install 'tsforecast[batch,postgres]'.",
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _open_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _no_user(place: str) -> ConfigError:
    return ConfigError.of(
        f"[{place.lower()}] password",
        expected="none beside SQLite, which knows no users",
        found="one",
        advice=f"Unset TSFORECAST_{place}__PASSWORD, or name another database.",
    )


@contextlib.contextmanager
def told(problem: str, error: type[JobError], *, advice: str) -> Iterator[None]:
    """Turn errors of a database into ours, which name the reason and never a value."""
    import sqlite3

    foreign: tuple[type[BaseException], ...] = (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)
    with contextlib.suppress(ImportError):
        import psycopg

        foreign = (*foreign, psycopg.Error)
    try:
        yield
    except foreign as caught:
        raise error.of(
            problem,
            expected="a database that can be reached and used",
            found=_reason(caught),
            advice=advice,
        ) from caught


def _reason(error: BaseException) -> str:
    """Say why, without the statement and its values."""
    origin = getattr(error, "orig", None) or error
    diagnosis = getattr(origin, "diag", None)
    text = getattr(diagnosis, "message_primary", None)
    if text and str(getattr(diagnosis, "sqlstate", "")).startswith(_BAD_VALUE):
        text = _QUOTED.sub("(not shown)", text)
    elif not text and isinstance(origin, sa.exc.SQLAlchemyError) and origin.args:
        text = origin.args[0]  # without SQLAlchemy's links
    lines = str(text or origin).strip().splitlines()
    return (lines[0].rstrip(". ") if lines else "") or type(origin).__name__


def _open_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # sqlite3 would begin transactions in its own way
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(PATIENCE * 1000)}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
