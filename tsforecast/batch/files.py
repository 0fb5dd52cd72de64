"""Files of a job: names that every disk can hold, one lock, whole files, and the sweep at a start.

Locks and syncs themselves are those of `tsforecast.serving._disk`, for models and jobs alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tsforecast.batch.exits import DISK, ConfigError, JobError, LockedError, SinkError
from tsforecast.serving._disk import HeldError, alone, beside, replace_file, sync_folder

__all__ = [
    "TEMP",
    "job_lock",
    "make_folder",
    "refused",
    "replace_file",
    "safe_name",
    "sweep_temp",
    "sync_folder",
    "temp_place",
]

TEMP = ".tmp-"
"""How names of files begin that nobody needs once their process has ended."""

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]|[a-z0-9]")
_MARKED = re.compile(r".*-[0-9a-f]{16}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$|clock\$)(\..*)?")
_PART = beside(Path("x"), "part").name.removeprefix(".x")
_LONGEST = 40  # characters kept of a name that is written otherwise


def safe_name(name: object) -> str:
    """Give a name for a file or folder that every file system can hold.

    A short name of small letters, digits and ``.``, ``_``, ``-`` stays as it is.  Any other is
    made of what is left of it and a check sum, so that two names are two files: also where the
    file system does not tell ``A`` from ``a``.

    Parameters
    ----------
    name : object
        Of a series, a job or a model; taken as text.

    Returns
    -------
    str
        At most 64 characters; the same one at any time and on any machine.

    Examples
    --------
    >>> safe_name("prices")
    'prices'
    >>> safe_name("BRK/B")
    'brk-b-82f670123a29d4ca'
    >>> safe_name("CON"), safe_name("con")
    ('con-a3dbc4b644a9a2c5', 'con-1143da2bc54c495c')
    """
    text = str(name)
    if _PLAIN.fullmatch(text) and not (_DEVICES.fullmatch(text) or _MARKED.fullmatch(text)):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-")
    return f"{kept}-{digest}" if kept else f"x-{digest}"


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it, and see that something can be written there.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        If it cannot be one.
    SinkError
        If the disk is full or read-only, or this user has no right to write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = temp_place(folder, "trial")
        trial.touch()
        trial.unlink(missing_ok=True)  # another process may have swept it away
    except OSError as error:
        raise refused(
            f"folder {folder}", error, expected="a folder that can be written to"
        ) from None
    return folder


@contextlib.contextmanager
def job_lock(folder: Path, name: str) -> Iterator[Path]:
    """Hold the lock of a job, or say at once who holds it.

    The lock ends with its process, however that ends; nothing has to be cleaned up.

    Parameters
    ----------
    folder : Path
        Where the job keeps its state; made if it is not there.
    name : str
        Of the job.

    Yields
    ------
    Path
        The file of the lock.

    Raises
    ------
    LockedError
        If another process holds it; the message names it.
    ConfigError
        If it cannot be a folder, or the file system has no locks.
    SinkError
        If the disk is full or read-only, or this user has no right to write there.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> with job_lock(folder, "prices") as lock:
    ...     print(lock.name)
    prices.lock
    >>> list(folder.iterdir())
    []
    """
    lock = make_folder(folder) / f"{safe_name(name)}.lock"
    since = datetime.now(UTC).isoformat(timespec="seconds")
    note = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(lock, patience=0.0, note=note, without=False))
        except HeldError as error:
            holder = error.holder
            raise LockedError.of(
                f"job {name!r} is at work",
                expected=f"nobody else to hold {lock}",
                found=f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, "
                f"since {holder.get('since', '?')}",
                advice="Wait for it, or end it: the lock goes with it.",
            ) from None
        except NotImplementedError as error:
            raise ConfigError.of(
                f"folder {folder}",
                expected="a file system with locks",
                found=str(error),
                advice="Put [job] folder on a local disk.",
            ) from None
        except OSError as error:
            raise refused(f"lock {lock}", error, expected="a file that can be opened") from None
        yield lock


def refused(what: str, error: Exception, *, expected: str = "one that can be written") -> JobError:
    """Build (not raise) the error of a place that cannot be written to, with its exit code.

    A disk that is full, broken or read-only, or closed to this user, is no fault of the
    configuration, however early it is met: `SinkError`, exit code 3. A place that no right would
    open, such as a folder below a file, is one that the configuration should not name:
    `ConfigError`, exit code 2.

    Parameters
    ----------
    what : str
        The file or folder.
    error : OSError or ValueError
        The latter of a name that cannot be one.
    expected : str
        What a place should be that can be one.

    Returns
    -------
    JobError

    Examples
    --------
    >>> import errno
    >>> full = OSError(errno.ENOSPC, "No space left on device")
    >>> below = NotADirectoryError(errno.ENOTDIR, "Not a directory")
    >>> [int(refused("folder state", error).code) for error in (full, below)]
    [3, 2]
    """
    reason = str(getattr(error, "strerror", None) or error or type(error).__name__)
    found = reason[:1].lower() + reason[1:]  # there may be a path in it
    if getattr(error, "errno", None) in DISK:
        return SinkError.of(
            what,
            expected="a disk with room, and the right to write there",
            found=found,
            advice="Make room or give this user the right, and give the command again.",
        )
    return ConfigError.of(what, expected=expected, found=found, advice="Name another one.")


def temp_place(folder: Path, name: str) -> Path:
    """Name a file or folder that `sweep_temp` removes if this process is killed.

    Parameters
    ----------
    folder : Path
    name : str
        What it is for.

    Returns
    -------
    Path
        In `folder`; nothing is made.

    Examples
    --------
    >>> temp_place(Path("state"), "panel").name.startswith(".tmp-panel-")
    True
    """
    return folder / f"{TEMP}{safe_name(name)}-{os.getpid()}-{os.urandom(4).hex()}"


def sweep_temp(folder: Path) -> int:
    """Remove what killed processes have left; to be called under the lock of the job.

    Parameters
    ----------
    folder : Path
        Looked at itself, not what lies deeper. Need not exist.

    Returns
    -------
    int
        How many files and folders were removed.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> temp_place(folder, "panel").touch()
    >>> sweep_temp(folder), sweep_temp(folder)
    (1, 0)
    """
    swept = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in list(folder.iterdir()):
            name = entry.name
            if not (name.startswith(TEMP) or (name.startswith(".") and name.endswith(_PART))):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    entry.unlink()
            swept += not entry.exists()
    return swept
