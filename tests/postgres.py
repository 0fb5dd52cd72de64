"""A real PostgreSQL for tests: made in a folder of its own, reached by a socket, taken away after.

Needs Debian's package ``postgresql`` (``apt-get install postgresql``), whose server refuses to run
as root: root runs it as the package's user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_USER = "tsf"


def find_server() -> Path | None:
    """Folder of ``postgres`` and ``initdb``: of Debian's newest, or of the one on the path."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "postgres").exists():
            return folder
    found = shutil.which("postgres")
    return None if found is None else Path(found).resolve().parent


@dataclass(frozen=True)
class Server:
    """A server that listens on a socket in `folder` alone."""

    folder: Path
    programs: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://{_USER}@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement outside of a transaction."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user=_USER, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def schema(self) -> Iterator[str]:
        """Make an empty schema, give the URL of a database that shows it alone, and drop it."""
        name = f"s{os.urandom(6).hex()}"
        self.sql(f"CREATE SCHEMA {name}")
        try:
            yield f"{self.url()}&options=-csearch_path%3D{name}"
        finally:
            self.sql(f"DROP SCHEMA {name} CASCADE")

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Make an empty database, give its URL, and drop it."""
        self.sql(f'CREATE DATABASE "{name}"')
        try:
            yield self.url(name)
        finally:
            self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Start a server, and stop it."""
    programs = find_server()
    if programs is None:
        raise FileNotFoundError("no PostgreSQL server: apt-get install postgresql")
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="tsf-pg-"))  # short: the path of a socket has a limit
    try:
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        folder.chmod(0o755)
        data = folder / "data"
        _run(
            [programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8"]
            + ["--locale=C", "--no-sync"],
            owner,
        )
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off "
            "-c synchronous_commit=off -c full_page_writes=off -c max_connections=30"
        )
        _run(
            [programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"],
            owner,
        )
        try:
            yield Server(folder, programs)
        finally:
            _run([programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], owner)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner() -> pwd.struct_passwd | None:
    """Who runs the server, where it is not who runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise LookupError("root needs a user 'postgres' or 'nobody' to run PostgreSQL")


def _run(command: list[object], owner: pwd.struct_passwd | None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=None if owner is None else owner.pw_uid,
        group=None if owner is None else owner.pw_gid,
        extra_groups=None if owner is None else [],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server for the session; skipped only where none is installed."""
    if find_server() is None:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    with running_server() as server:
        yield server
