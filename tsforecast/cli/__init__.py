"""The command line: ``tsforecast run --run-date 2024-06-28``.

Data go to standard output, talk to standard error; the exit code says how it ended. Nothing is
ever asked. Modules load when a command needs them, so that help is there at once.

==============  ==================================================================================
file            what
==============  ==================================================================================
``arguments``   which commands and options there are
``forecast``    `forecast`: a table here and now, without a job
``init``        `init`: a first job
``check``       `check`
``run``         `run`, and its parts: `fit`, `score`, `backtest`
``models``      `models`: ``list``, ``show``, ``promote``, ``rollback``, ``challenge``
``status``      `status`
``export``      `export`
``given``       what a command is given: the configuration, the run date
``output``      tables, JSON and whole files
``talk``        lines on standard error
``ending``      how a command ends: errors, signals, exit codes
==============  ==================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tsforecast.batch.exits import ExitCode, terminable
from tsforecast.cli.arguments import make_parser
from tsforecast.cli.ending import PIPE, end, explained
from tsforecast.cli.output import leave_output
from tsforecast.cli.talk import talking

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        An `ExitCode`; 141 if standard output was closed by its reader.

    Raises
    ------
    SystemExit
        With 0 after ``--help`` and ``--version``, with 2 after wrong arguments.

    Examples
    --------
    >>> main(["status", "-c", "none.toml", "--json"])
    {"exit_code": 2, "error": "ConfigError", "message": "none.toml: expected a file that ..."}
    2
    """
    args = make_parser().parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    with talking(args):
        try:
            with terminable():
                args.command(args)
                sys.stdout.flush()
        except BrokenPipeError:
            leave_output()
            return PIPE
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            return end(args, explained(error))
    return int(ExitCode.OK)
