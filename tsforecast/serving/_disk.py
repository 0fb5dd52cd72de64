"""What the file system is asked for: locks, syncs, files that are whole or not there.

The only file that knows how a system locks and syncs; another system is taught here.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["HeldError", "alone", "beside", "replace_file", "sync_folder", "write_synced"]

_MOST_OF_A_NOTE = 4096
_PAUSE = 0.005  # seconds between two looks at a lock


class HeldError(TimeoutError):
    """A lock that another process holds.

    Attributes
    ----------
    holder : dict
        What it has noted of itself; empty where that cannot be read.
    """

    def __init__(self, message: str, holder: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.holder = dict(holder)


def beside(path: Path, what: str) -> Path:
    """Name the file or folder that stands beside a place while it is written."""
    return path.with_name(f".{path.name}.tsforecast-{what}")


def sync_folder(folder: Path) -> None:
    """Write down which files a folder holds, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file such that whoever reads it finds the old content or the new one.

    Parameters
    ----------
    path : Path
        In a folder that exists. One process writes at a time.
    data : bytes

    Raises
    ------
    OSError
        If it cannot be written; what was there is left.
    """
    part = beside(path, "part")
    try:
        write_synced(part, data)
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    sync_folder(path.parent)


@contextlib.contextmanager
def alone(
    lock: Path,
    *,
    patience: float,
    note: Mapping[str, Any] | None = None,
    without: bool = True,
) -> Iterator[None]:
    """Hold a lock that ends with the process; the file goes with it.

    Parameters
    ----------
    lock : Path
        The file of the lock.
    patience : float
        Seconds to wait for others.
    note : mapping, optional
        Who holds it, written into the file for others to read.
    without : bool
        Whether to go on where the system, or the file system, has no locks.

    Raises
    ------
    HeldError
        If somebody else has held it all the time.
    NotImplementedError
        If there are no locks here, and `without` is false.
    """
    try:
        import fcntl
    except ImportError:  # Windows: a folder in use cannot be renamed there
        if not without:
            raise NotImplementedError("this system has no flock") from None
        yield
        return
    limit = time.monotonic() + patience
    while True:
        # a file object, which is closed whatever happens, and the lock with it
        flags = (os.O_RDONLY if note is None else os.O_RDWR) | os.O_CREAT
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(lock, flags, 0o644), "rb" if note is None else "r+b") as file:
            held = _take(fcntl, file.fileno())
            if held is None and not without:
                raise NotImplementedError(f"the file system of {lock} has no locks")
            if held is not False and _is_same(file.fileno(), lock):
                try:
                    if note is not None:
                        _write_note(file.fileno(), note)
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        os.unlink(lock)
                return
            if held is not False:  # its holder has just taken the file away: there is another one
                continue
            holder = _read_note(file.fileno())
        if time.monotonic() >= limit:
            raise HeldError(
                f"expected to save within {patience:g} s, found {lock} held by another process. "
                "Try again, or end that process.",
                holder,
            )
        time.sleep(_PAUSE)


def _take(fcntl: Any, handle: int) -> bool | None:
    """Take a lock, if nobody has it; None where the file system has none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_same(handle: int, path: Path) -> bool:
    """Whether an open file is still the one of its name: who held the lock takes it away."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (held.st_dev, held.st_ino) == (about.st_dev, about.st_ino)


def _write_note(handle: int, note: Mapping[str, Any]) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(dict(note)).encode(), 0)


def _read_note(handle: int) -> dict[str, Any]:
    """Read who holds a lock; nothing where that cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(os.pread(handle, _MOST_OF_A_NOTE, 0))
        if isinstance(note, dict):
            return note
    return {}
