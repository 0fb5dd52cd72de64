"""How a job ends: exit codes for whoever scheduled it, and the errors that carry them."""

from __future__ import annotations

import contextlib
import errno
import signal
import threading
from collections.abc import Iterator
from enum import IntEnum
from types import FrameType
from typing import Any, ClassVar, Self

__all__ = [
    "DISK",
    "ConfigError",
    "ExitCode",
    "JobError",
    "LockedError",
    "ModelError",
    "RejectsError",
    "SinkError",
    "SourceError",
    "StaleError",
    "exit_code",
    "terminable",
]


DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}
)
"""Numbers of what a disk says that is full, broken, or not to be written to."""


class ExitCode(IntEnum):
    """What the exit code of a command says.

    ================  ====  ==================================================================
    name              code  meaning, and what a scheduler may do
    ================  ====  ==================================================================
    ``OK``               0  done; nothing to do
    ``FAILED``           1  an error of the program itself: report it
    ``USAGE``            2  the command line or the configuration is wrong: do not repeat
    ``DATA``             3  data cannot be read as given, or forecasts cannot be written; or inputs
                            have drifted beyond the limits of ``[monitor]``
    ``STALE``            4  data are late or older than allowed: repeat later
    ``REJECTS``          5  more series failed than ``max_reject_fraction`` allows
    ``MODEL``            6  no model can be loaded, or none that is old enough; or its matured
                            forecasts, or its age, are beyond the limits of ``[monitor]``
    ``LOCKED``          75  another run of the job is at work: repeat later
    ``INTERRUPTED``    130  stopped by Ctrl-C
    ``TERMINATED``     143  stopped by SIGTERM; the next run goes on
    ================  ====  ==================================================================

    A run that ends with 3, 4 or 6 because of its monitor is complete, and its forecasts are seen.

    Examples
    --------
    >>> ExitCode(75).name
    'LOCKED'
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    DATA = 3
    STALE = 4
    REJECTS = 5
    MODEL = 6
    LOCKED = 75
    INTERRUPTED = 130
    TERMINATED = 143


class JobError(Exception):
    """A job that cannot go on, for a reason that its owner can do something about.

    Messages are logged: they name files, keys, columns and counts, and never a value of the data.

    Attributes
    ----------
    code : ExitCode
        The exit code of a process that ends with this error.
    summary : dict or None
        What was done all the same, where the run is complete and its monitor has failed.

    Examples
    --------
    >>> error = SourceError.of("prices.csv", expected="a column 'date'", found="'day', 'close'",
    ...                        advice="Name the column of time under [source] time.")
    >>> print(error, int(error.code))
    prices.csv: expected a column 'date', found 'day', 'close'. Name the column of time under
    [source] time. 3
    """

    code: ClassVar[ExitCode] = ExitCode.FAILED
    summary: dict[str, Any] | None = None

    @classmethod
    def of(cls, problem: str, *, expected: str, found: str, advice: str) -> Self:
        """Build (not raise) the error: what was expected, what was found, what to do."""
        return cls(f"{problem}: expected {expected}, found {found}. {advice}")


class ConfigError(JobError):
    """The configuration or the command line cannot be used."""

    code = ExitCode.USAGE


class SourceError(JobError):
    """The source cannot be read, or what it holds cannot be used."""

    code = ExitCode.DATA


class SinkError(JobError):
    """Forecasts cannot be written, or the place they are written to is not as it was left."""

    code = ExitCode.DATA


class StaleError(JobError):
    """Data are late, or older than the job allows."""

    code = ExitCode.STALE


class RejectsError(JobError):
    """More series failed than the job allows."""

    code = ExitCode.REJECTS


class ModelError(JobError):
    """No model can be loaded that may be used for this run date."""

    code = ExitCode.MODEL


class LockedError(JobError):
    """Another run of the same job holds its lock."""

    code = ExitCode.LOCKED


def exit_code(error: BaseException) -> ExitCode:
    """Give the exit code of a process that ends with an error.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    ExitCode
        That of a `JobError`; ``DATA`` for `tsforecast.DataError`; ``INTERRUPTED`` and
        ``TERMINATED`` for a stop by Ctrl-C or SIGTERM; ``FAILED`` for all else.

    Examples
    --------
    >>> exit_code(LockedError("locked")), exit_code(KeyError("close"))
    (<ExitCode.LOCKED: 75>, <ExitCode.FAILED: 1>)
    """
    from tsforecast._checks import DataError

    if isinstance(error, JobError):
        return error.code
    if isinstance(error, DataError):
        return ExitCode.DATA
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, SystemExit) and error.code == ExitCode.TERMINATED:
        return ExitCode.TERMINATED
    return ExitCode.FAILED


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises SystemExit(143), once: what is to be undone then is not disturbed again.

    So locks are freed, ledgers closed and workers ended. Outside the main thread, which alone hears
    of signals, it does nothing.

    Raises
    ------
    SystemExit
        With ``TERMINATED``, at SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(int(ExitCode.TERMINATED))

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
        if stopped:  # it was lost on its way: in a destructor, or an import that is only tried
            raise SystemExit(int(ExitCode.TERMINATED))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
