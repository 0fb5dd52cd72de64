"""How a command ends: what is said of an error, and the exit code."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import traceback
from pathlib import Path

from tsforecast.batch.exits import DISK, ConfigError, ExitCode, JobError, exit_code
from tsforecast.batch.files import refused
from tsforecast.cli.output import leave_output, show, write_json

__all__ = ["PIPE", "end", "explained"]

PIPE = 141
"""128 + SIGPIPE: whoever read our output has gone."""
_LOG = logging.getLogger("tsforecast")
_EXTRAS = {
    "batch": ("pyarrow", "pydantic", "sqlalchemy"),
    "dask": ("dask", "distributed"),
    "postgres": ("psycopg",),
}


def end(args: argparse.Namespace, error: BaseException) -> int:
    """Say how it ended, and give the exit code."""
    code = exit_code(error)
    if isinstance(error, SystemExit) and code != ExitCode.TERMINATED:
        raise error
    name, text = type(error).__name__, str(error)
    if code == ExitCode.INTERRUPTED:
        text = "stopped by Ctrl-C"
    elif code == ExitCode.TERMINATED:
        text = "stopped by SIGTERM"
    elif code == ExitCode.FAILED and not isinstance(error, JobError):
        text = f"{name} {_place(error)}; -v shows the whole of it"  # its text may hold values
    if args.verbose:
        _LOG.error("%s", "".join(traceback.format_exception(error)).rstrip())
    _LOG.error("%s", text, extra={"exit_code": int(code), "error": name})
    done = error.summary if isinstance(error, JobError) else None
    if done is not None:  # the run is complete, and its monitor has failed
        args.shown = {**args.shown, **done}
    if done is not None and not args.json:
        with contextlib.suppress(OSError, ValueError):
            show(args, done, details=False)
    if args.json:
        with contextlib.suppress(OSError, ValueError):
            write_json({"exit_code": int(code), "error": name, "message": text, **args.shown})
            sys.stdout.flush()
    return int(code)


def explained(error: BaseException) -> BaseException:
    """Give our error for one of the machine: a package that is missing, an output that is full."""
    if isinstance(error, ModuleNotFoundError) and (name := (error.name or "").split(".")[0]):
        extra = next((extra for extra, names in _EXTRAS.items() if name in names), None)
        if extra is not None:
            return ConfigError.of(
                f"package {name!r}",
                expected="it to be installed",
                found="that it is not",
                advice=f"pip install 'tsforecast[{extra}]'",
            )
    if isinstance(error, OSError) and error.errno in DISK:  # those of a job are ours already
        if error.filename is None:
            leave_output()
        return refused(error.filename or "standard output", error)
    return error


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
