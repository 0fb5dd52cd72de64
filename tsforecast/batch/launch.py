"""A fit on several processes of this machine: torchrun starts them, and one exit code is theirs.

Process 0 is the job, with lock, ledger and registry; the others fit with it and keep nothing.
What the others say is not shown, unless one of them is to blame.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib

from tsforecast.batch.exits import ConfigError, ExitCode, JobError

__all__ = ["launch", "require_ranks"]

_OURS = frozenset(ExitCode) - {ExitCode.FAILED, ExitCode.INTERRUPTED, ExitCode.TERMINATED}


def launch(n: int, arguments: Sequence[str]) -> None:
    """Run a command of ours in `n` processes that torchrun starts, and wait for them.

    As ``torchrun --standalone --nproc-per-node n -m tsforecast ...``. Processors are shared out:
    each has so many threads, unless ``OMP_NUM_THREADS`` says otherwise.

    Parameters
    ----------
    n : int
        How many.
    arguments : sequence of str
        Of the command line.

    Raises
    ------
    SystemExit
        With the exit code of the process that failed first of itself; 143 after SIGTERM.
    KeyboardInterrupt
        After Ctrl-C.
    JobError
        If a process was killed, and so has said nothing.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # we say it ourselves
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, joblib.cpu_count() // n)))
    with tempfile.TemporaryDirectory(prefix="tsforecast-") as folder:
        kept = ",".join(["0:1", *(f"{rank}:3" for rank in range(1, n))])  # 1: output, 3: talk too
        options = ["--standalone", f"--nproc-per-node={n}", f"--redirects={kept}"]
        options.append("--shutdown-timeout=20")  # seconds for one that waits for a dead one
        command = ["-m", "tsforecast", *arguments]
        try:
            given = run.parse_args([*options, f"--log-dir={folder}", *command])  # type: ignore[no-untyped-call]
            run.run(given)  # type: ignore[no-untyped-call]
        except SignalException as stop:
            if stop.sigval == signal.SIGINT:
                raise KeyboardInterrupt from stop
            raise SystemExit(int(ExitCode.TERMINATED)) from stop
        except ChildFailedError as error:
            raise _end(Path(folder), error.failures, n) from error
        sys.stdout.write(_said(Path(folder), 0, "stdout"))


def require_ranks(n: int) -> None:
    """Raise if torchrun has started another number of processes on this machine than `n`."""
    found = os.environ.get("LOCAL_WORLD_SIZE")
    if found != str(n):
        raise ConfigError.of(
            "--devices",
            expected=f"{n} processes on this machine",
            found=f"{found}, started by torchrun",
            advice="Give torchrun the same number as --nproc-per-node.",
        )


def _end(folder: Path, failures: Mapping[int, Any], n: int) -> BaseException:
    """Build (not raise) what the process that is to blame has ended with; show what it said."""
    blamed = min(failures, key=lambda rank: (_innocence(failures[rank].exitcode), rank))
    code = failures[blamed].exitcode
    if code < 0:
        name = signal.Signals(-code).name
        return JobError(
            f"process {blamed} of {n} was ended by {name}, and the others with it: expected it to "
            "fit, found it gone. Look for a lack of memory, and run again: nothing was kept."
        )
    sys.stdout.write(_said(folder, blamed, "stdout"))
    if blamed:  # process 0 has said it itself
        last = _said(folder, blamed, "stderr").rstrip().rsplit("\n", 1)[-1]
        sys.stderr.write(f"process {blamed}: {last}\n")
    return SystemExit(code)


def _innocence(code: int) -> int:
    """Order of blame: a reason of ours, a kill, an error, a process that was told to end."""
    if code in _OURS:
        return 0
    if code == -signal.SIGTERM:  # by torchrun, before or after our own handler of it
        return 3
    return 1 if code < 0 else 2 if code == ExitCode.FAILED else 3


def _said(folder: Path, rank: int, stream: str) -> str:
    found = [path for path in folder.rglob(f"{stream}.log") if path.parent.name == str(rank)]
    with contextlib.suppress(IndexError, OSError):
        return found[0].read_text(encoding="utf-8", errors="replace")
    return ""
