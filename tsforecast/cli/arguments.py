"""Which commands and options there are; what a command does stands in a file of its subject."""

from __future__ import annotations

import argparse
import contextlib
import textwrap
from collections.abc import Callable
from datetime import date
from typing import Any

import tsforecast
from tsforecast.cli import check, export, forecast, init, models, run, status

__all__ = ["make_parser"]

_WHAT = ("forecasts", "risks", "rejects", "runs")
_CODES = """\
exit codes:
  0 done            2 command line or configuration    3 data cannot be read or written
  4 data too late   5 too many series failed           6 no usable model
  75 another run is at work      130 Ctrl-C      143 SIGTERM      1 an error of the program
  3, 4 and 6 also end a run that is complete, but beyond a limit of [monitor]
"""


def make_parser() -> argparse.ArgumentParser:
    """Give the parser of the command line; `command` of what it parses is what to call."""
    parser = argparse.ArgumentParser(
        prog="tsforecast",
        description="Forecasts of series and risks of events, as a job that can be trusted.",
        epilog=textwrap.dedent(
            """\
            examples:
              tsforecast forecast prices.csv --horizon 5 > forecast.csv
              tsforecast init --from prices.csv      # writes job.toml
              tsforecast check
              tsforecast run --run-date 2024-06-28   # as often as you like: it changes nothing
              tsforecast export --run-date 2024-06-28 > forecasts.csv

            """
        )
        + _CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = f"tsforecast {tsforecast.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_forecast(commands)
    _add_init(commands)
    _add(
        commands,
        "check",
        check.check,
        "Look at what a run needs: configuration, source, sink, model. Fit and forecast nothing.",
        "tsforecast check\ntsforecast check -c jobs/prices.toml --json",
        job=True,
        dated=True,
    )
    fitting = _add(
        commands,
        "fit",
        run.fit,
        "Fit the model on the rows up to the run date.",
        "tsforecast fit --run-date 2024-06-28\ntsforecast fit --devices 2",
        job=True,
        dated=True,
    )
    fitting.add_argument(
        "--devices",
        type=_positive,
        default=1,
        metavar="N",
        help="processes that fit one model together, each on a CUDA device if there are any (1)",
    )
    _add(
        commands,
        "backtest",
        run.backtest,
        "Judge the model beside its baselines.",
        "tsforecast backtest --set backtest.n_splits=8",
        job=True,
        dated=True,
    )
    scoring = _add(
        commands,
        "score",
        run.score,
        "Forecast with the champion, and write.",
        "tsforecast score --run-date 2024-06-28 --workers 2",
        job=True,
        dated=True,
        spread=True,
    )
    running = _add(
        commands,
        "run",
        run.run,
        "Check, fit if it is due, score, monitor.",
        "tsforecast run\ntsforecast run --run-date 2024-06-28 --dry-run",
        job=True,
        dated=True,
        spread=True,
    )
    for command, text in (
        (fitting, "fit, and keep nothing"),
        (scoring, "forecast, and write nothing"),
        (running, "write nothing, and fit nothing: that a fit is due is only said"),
    ):
        command.add_argument("--dry-run", action="store_true", help=text)
    _add_models(commands)
    _add(
        commands,
        "status",
        status.status,
        "Show what the job has done, and who is champion.",
        "tsforecast status --json",
        job=True,
    )
    _add_export(commands)
    return parser


def _add(
    commands: Any,
    name: str,
    command: Callable[[argparse.Namespace], None],
    text: str,
    examples: str,
    *,
    job: bool = False,
    dated: bool = False,
    spread: bool = False,
) -> argparse.ArgumentParser:
    """Add a command with the options that it shares with others."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text[0].lower() + text[1:].rstrip("."),
        description=text,
        epilog="examples:\n" + textwrap.indent(examples, "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(
        command=command, overrides=[], spread=None, workers=None, dask=None, shown={}
    )
    if job:
        parser.add_argument(
            "-c", "--config", default="job.toml", metavar="FILE", help="the job (job.toml)"
        )
        parser.add_argument(
            "--set",
            dest="overrides",
            action="append",
            metavar="KEY=VALUE",
            default=[],
            help="a key of the job, such as source.path=new.csv; over environment and file",
        )
    if dated:
        parser.add_argument(
            "--run-date",
            type=_date,
            metavar="D",
            help="forecast as of the end of that day, as 2024-06-28 (today)",
        )
    if spread:
        parser.add_argument(
            "--spread", choices=("serial", "processes", "dask"), help="what the work is spread over"
        )
        parser.add_argument("--workers", type=int, metavar="N", help="how many processes")
        parser.add_argument(
            "--dask", metavar="ADDRESS", help="of a Dask scheduler; implies --spread dask"
        )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--log", choices=("text", "json"), default="text", help="form of the lines of talk (text)"
    )
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="say more; tracebacks in full, with whatever they hold",
    )
    loud.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    return parser


def _add_forecast(commands: Any) -> None:
    parser = _add(
        commands,
        "forecast",
        forecast.forecast,
        "Forecast a table here and now, and say whether there is skill in it.",
        "tsforecast forecast prices.csv --horizon 5\n"
        "tsforecast forecast sales.parquet --target units --quick > forecast.csv",
    )
    parser.add_argument("file", help="CSV or Parquet")
    parser.add_argument("--horizon", type=_positive, default=1, metavar="H", help="in rows (1)")
    parser.add_argument("--quick", action="store_true", help="a small network, a short look at it")
    _add_columns(parser)


def _add_init(commands: Any) -> None:
    parser = _add(
        commands,
        "init",
        init.init,
        "Write a commented job.toml to begin with.",
        "tsforecast init --from prices.csv\ntsforecast init --name risk -c jobs/risk.toml",
    )
    parser.add_argument("-c", "--config", default="job.toml", metavar="FILE", help="(job.toml)")
    parser.add_argument("--from", dest="source", metavar="TABLE", help="guess columns from a file")
    parser.add_argument("--name", help="of the job (that of the table)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--print", action="store_true", help="to standard output, and no file")
    _add_columns(parser)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    for role in ("series", "time", "target"):
        parser.add_argument(f"--{role}", metavar="COLUMN", help="in place of a guess")


def _add_models(commands: Any) -> None:
    text = "Versions of the model: list them, show one, say which is champion."
    examples = "tsforecast models list\ntsforecast models promote 0003\ntsforecast models rollback"
    parser = commands.add_parser(
        "models",
        help=text[0].lower() + text[1:].rstrip("."),
        description=text,
        epilog="examples:\n" + textwrap.indent(examples, "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add(
        verbs,
        "list",
        models.list_versions,
        "List all versions.",
        "tsforecast models list",
        job=True,
    )
    show = _add(
        verbs,
        "show",
        models.show_version,
        "Show what is known of a version.",
        "tsforecast models show champion",
        job=True,
    )
    promote = _add(
        verbs,
        "promote",
        models.promote,
        "Make a version champion.",
        "tsforecast models promote\ntsforecast models promote 0003",
        job=True,
    )
    show.add_argument("which", nargs="?", default="champion", help="alias or version (champion)")
    promote.add_argument(
        "which", nargs="?", default="challenger", help="alias or version (challenger)"
    )
    _add(
        verbs,
        "challenge",
        models.challenge,
        "Test the challenger against the champion; it is promoted if it wins.",
        "tsforecast models challenge --run-date 2024-06-28",
        job=True,
        dated=True,
    )
    _add(
        verbs,
        "rollback",
        models.rollback,
        "Make the champion before champion again.",
        "tsforecast models rollback",
        job=True,
    )


def _add_export(commands: Any) -> None:
    parser = _add(
        commands,
        "export",
        export.export,
        "Give the forecasts of complete runs.",
        "tsforecast export --run-date 2024-06-28 > forecasts.csv\n"
        "tsforecast export --format parquet -o forecasts.parquet",
        job=True,
    )
    parser.add_argument("--run-date", type=_date, metavar="D", help="of one day (all)")
    parser.add_argument("--model", metavar="ID", help="of one model (all)")
    parser.add_argument("--what", choices=_WHAT, help="(forecasts, or risks)")
    parser.add_argument("--format", choices=("csv", "parquet"), help="(by the file's name; csv)")
    parser.add_argument("-o", "--output", metavar="FILE", help="(standard output)")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a date such as 2024-06-28, found {text!r}"
        ) from None


def _positive(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
