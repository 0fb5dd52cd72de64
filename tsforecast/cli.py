"""The command line: ``tsforecast run --run-date 2024-06-28``.

Data go to standard output, talk to standard error; the exit code says how it ended. Nothing is
ever asked. Modules load when a command needs them, so that help is there at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import re
import signal
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import tsforecast
from tsforecast.batch.exits import DISK, ConfigError, ExitCode, JobError, SinkError, exit_code

if TYPE_CHECKING:
    import pandas as pd

    from tsforecast.batch.config import JobConfig
    from tsforecast.batch.sources import AsOf

__all__ = ["main"]

_PIPE = 141  # 128 + SIGPIPE: whoever read our output has gone
_LOG = logging.getLogger("tsforecast")
_DIGEST = re.compile("[0-9a-f]{64}")
_EXTRAS = {
    "batch": ("pyarrow", "pydantic", "sqlalchemy"),
    "dask": ("dask", "distributed"),
    "postgres": ("psycopg",),
}
_LONG = 60  # characters: a sentence, on a line of its own
_WHAT = ("forecasts", "risks", "rejects", "runs")
_CODES = """\
exit codes:
  0 done            2 command line or configuration    3 data cannot be read or written
  4 data too late   5 too many series failed           6 no usable model
  75 another run is at work      130 Ctrl-C      143 SIGTERM      1 an error of the program
  3, 4 and 6 also end a run that is complete, but beyond a limit of [monitor]
"""


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
    args = _parser().parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    with _talking(args), _terminable():
        try:
            args.command(args)
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_output()
            return _PIPE
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            return _end(args, _explained(error))
    return int(ExitCode.OK)


def _leave_output() -> None:
    """Let go of standard output: what is left in its buffer would fail once more at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---------------------------------------------------------------- arguments


def _parser() -> argparse.ArgumentParser:
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
        _check,
        "Look at everything that a run needs; forecast nothing.",
        "tsforecast check\ntsforecast check -c jobs/prices.toml --json",
        job=True,
        dated=True,
    )
    fit = _add(
        commands,
        "fit",
        _fit,
        "Fit the model on the rows up to the run date.",
        "tsforecast fit --run-date 2024-06-28\ntsforecast fit --devices 2",
        job=True,
        dated=True,
    )
    fit.add_argument(
        "--devices",
        type=_positive,
        default=1,
        metavar="N",
        help="processes that fit one model together, each on a CUDA device if there are any (1)",
    )
    _add(
        commands,
        "backtest",
        _backtest,
        "Judge the model beside its baselines.",
        "tsforecast backtest --set backtest.n_splits=8",
        job=True,
        dated=True,
    )
    score = _add(
        commands,
        "score",
        _score,
        "Forecast with the champion, and write.",
        "tsforecast score --run-date 2024-06-28 --workers 2",
        job=True,
        dated=True,
        spread=True,
    )
    run = _add(
        commands,
        "run",
        _run,
        "Check, fit if it is due, score, monitor.",
        "tsforecast run\ntsforecast run --run-date 2024-06-28 --dry-run",
        job=True,
        dated=True,
        spread=True,
    )
    for command in (fit, score, run):
        command.add_argument(
            "--dry-run", action="store_true", help="do everything but write anything"
        )
    _add_models(commands)
    _add(
        commands,
        "status",
        _status,
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
        _forecast,
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
        _init,
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
    _add(verbs, "list", _models_list, "List all versions.", "tsforecast models list", job=True)
    show = _add(
        verbs,
        "show",
        _models_show,
        "Show what is known of a version.",
        "tsforecast models show champion",
        job=True,
    )
    promote = _add(
        verbs,
        "promote",
        _models_promote,
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
        _models_challenge,
        "Test the challenger against the champion; it is promoted if it wins.",
        "tsforecast models challenge --run-date 2024-06-28",
        job=True,
        dated=True,
    )
    _add(
        verbs,
        "rollback",
        _models_rollback,
        "Make the champion before champion again.",
        "tsforecast models rollback",
        job=True,
    )


def _add_export(commands: Any) -> None:
    parser = _add(
        commands,
        "export",
        _export,
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


# ---------------------------------------------------------------- commands


def _forecast(args: argparse.Namespace) -> None:
    from tsforecast.batch.oneshot import forecast_once
    from tsforecast.batch.template import guess, read_table

    table = read_table(args.file)
    what = guess(table, series=args.series, time=args.time, target=args.target)
    _LOG.info("read as %s; name others with --series, --time, --target", what)
    found = forecast_once(table, what, horizon=args.horizon, quick=args.quick)
    _LOG.info(
        "%d rows of %d series from %s to %s", found.rows, found.series, found.first, found.last
    )
    _LOG.info("%s", found.verdict)
    frame = found.forecast.reset_index()
    if args.json:
        _write_json({"columns": str(what), "verdict": found.verdict, "forecast": _records(frame)})
    else:
        frame.to_csv(sys.stdout, index=False)


def _init(args: argparse.Namespace) -> None:
    from tsforecast.batch.template import guess, read_table, render

    target = Path(args.config)
    name, what, source = args.name or "forecasts", None, "prices.csv"
    if args.source is not None:
        table = read_table(args.source, rows=100_000)
        what = guess(table, series=args.series, time=args.time, target=args.target)
        name = args.name or _job_name(Path(args.source).name.split(".")[0])
        source = _from_folder(args.source, target)
    text = render(name, source=source, guessed=what)
    if what is not None:
        _LOG.info("guessed from %s: %s; correct it in the file", args.source, what)
    if args.print:
        sys.stdout.write(text)
        return
    _write_new(target, text, replace=args.force)
    _LOG.info("wrote %s; next: tsforecast check -c %s", target, target)
    if args.json:
        roles = ("series", "time", "target")
        guessed = None if what is None else {role: getattr(what, role) for role in roles}
        _write_json({"file": str(target), "name": name, "guessed": guessed})


def _check(args: argparse.Namespace) -> None:
    """Look at each thing whatever is wrong with the others, what is quick first."""
    from tsforecast.batch import job
    from tsforecast.batch.config import build_baseline, build_estimator
    from tsforecast.batch.sinks import open_sink
    from tsforecast.batch.sources import read_source

    config = _config(args)
    as_of = _as_of(args, config)
    names = [config.model.estimator, *config.backtest.baselines]
    summary: dict[str, Any] = {}
    first: JobError | None = None

    def parameters() -> str:
        build_estimator(config.model)
        for name in config.backtest.baselines:
            build_baseline(name, config.model)
        return ", ".join(names)

    def sink() -> str:
        with open_sink(config.sink, config.job.name) as place:
            place.prepare()
        return str(config.sink.path or config.sink.database)

    def model() -> str:
        registry = job.registry_of(config)
        if registry.aliases()["champion"] is None:
            return "none yet"
        registry.load("champion")
        return f"champion {registry.find('champion')}"

    def source() -> str:
        if first is not None:  # of what is wrong there has been said enough
            extract = read_source(config.source, as_of)
            return f"{extract.rows} rows up to {extract.latest}"
        summary.update(job.check(config, as_of))
        found = summary["source"]
        due = f"; fit due: {summary['fit_due']}" if summary.get("fit_due") else ""
        return f"{found['rows']} rows of {found['series']} series up to {found['latest']}{due}"

    looks = {"parameters": parameters, "sink": sink, "model": model, "source": source}
    rows = [{"what": "job", "state": "ok", "found": f"{config.job.name} as of {as_of.run_date}"}]
    for what, look in looks.items():
        try:
            rows.append({"what": what, "state": "ok", "found": look()})
        except JobError as error:
            rows.append({"what": what, "state": f"exit {error.code}", "found": str(error)})
            first = first or error
    if first is not None:
        args.shown = {"checks": rows}
    if not args.json:
        _write_rows(rows)
    elif first is None:
        _write_json({"checks": rows, **summary})
    if first is not None:
        raise first


def _fit(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    config = _config(args)
    as_of = _as_of(args, config)
    if args.devices == 1:
        _show(args, job.fit(config, as_of, dry_run=args.dry_run))
        return
    from tsforecast.batch.launch import launch, require_ranks
    from tsforecast.nn.ranks import started_by_torchrun

    if not started_by_torchrun():
        launch(args.devices, [*args.argv, f"--run-date={as_of.run_date}"])
        return
    require_ranks(args.devices)
    found = job.fit(config, as_of, dry_run=args.dry_run, together=True)
    if os.environ.get("RANK") == "0":
        _show(args, found)


def _backtest(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    config = _config(args)
    found = job.backtest(config, _as_of(args, config))
    if not args.json:  # verdicts are said once
        found["skill"] = [
            {k: v for k, v in row.items() if k != "verdict"} for row in found["skill"]
        ]
    _show(args, found)


def _score(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    config = _config(args)
    _show(args, job.score(config, _as_of(args, config), dry_run=args.dry_run))


def _run(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    config = _config(args)
    _show(args, job.run(config, _as_of(args, config), dry_run=args.dry_run))


def _status(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    _show(args, job.status(_config(args)))


def _models_list(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    found = _records(job.registry_of(_config(args)).list().reset_index())
    if args.json:
        _write_json({"models": found})
    elif found:
        _write_rows(found)
    else:
        _LOG.info("no version yet: tsforecast fit")


def _models_show(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    _show(args, job.registry_of(_config(args)).show(args.which))


def _models_promote(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    _show(args, job.promote(_config(args), args.which))


def _models_rollback(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    _show(args, job.rollback(_config(args)))


def _models_challenge(args: argparse.Namespace) -> None:
    from tsforecast.batch import job

    config = _config(args)
    _show(args, job.challenge(config, _as_of(args, config)))


def _export(args: argparse.Namespace) -> None:
    from tsforecast.batch.sinks import open_sink

    config = _config(args)
    what = args.what or ("risks" if config.model.kind == "event" else "forecasts")
    with open_sink(config.sink, config.job.name) as sink:
        read = {"forecasts": sink.forecasts, "risks": sink.risks, "rejects": sink.rejects}
        frame = sink.runs() if what == "runs" else read[what](args.run_date, args.model)
    if what == "runs" and not args.json:  # trees
        frame = frame.drop(columns=["about", "summary"])
    _LOG.info("%d rows", len(frame))
    if args.json:
        if "run_date" in frame:
            frame = frame.assign(run_date=frame["run_date"].astype(str))
        _write_json({what: _records(frame)})
        return
    parquet = args.format == "parquet" or (
        args.format is None and str(args.output or "").endswith((".parquet", ".pq"))
    )
    if parquet and args.output is None:
        raise ConfigError.of(
            "--format parquet", expected="a file", found="none", advice="Name it with -o FILE."
        )
    if args.output is None:
        frame.to_csv(sys.stdout, index=False)
        return
    try:
        with _whole(Path(args.output)) as place:
            if parquet:
                frame.to_parquet(place, index=False)
            else:
                frame.to_csv(place, index=False)
    except OSError as error:
        raise _cannot_write(Path(args.output), error) from error


# ---------------------------------------------------------------- what commands share


def _config(args: argparse.Namespace) -> JobConfig:
    from tsforecast.batch.config import from_text, load_config

    overrides: dict[str, Any] = {}
    for given in args.overrides:
        key, equals, text = given.partition("=")
        if not equals or not key:
            raise ConfigError.of(
                "--set",
                expected="a key and a value, such as run.workers=2",
                found=repr(key),
                advice="Write both in one word.",
            )
        overrides[key] = from_text(key, text)
    spread = args.spread or ("dask" if args.dask is not None else None)
    flags = {"run.spread": spread, "run.workers": args.workers, "run.dask_address": args.dask}
    overrides |= {key: value for key, value in flags.items() if value is not None}
    return load_config(args.config, overrides=overrides)


def _as_of(args: argparse.Namespace, config: JobConfig) -> AsOf:
    from zoneinfo import ZoneInfo

    from tsforecast.batch.sources import AsOf

    today = datetime.now(ZoneInfo(config.job.timezone)).date()
    day = args.run_date or today
    if day > today:  # its model would be that of all days up to then
        raise ConfigError.of(
            "--run-date",
            expected=f"a day up to today, {today} in {config.job.timezone}",
            found=str(day),
            advice="Look at the year, and at the clock of this machine.",
        )
    return AsOf(day, config.job.timezone)


def _job_name(stem: str) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return name.lstrip("._-")[:64] or "forecasts"


def _from_folder(source: str, target: Path) -> str:
    """Path of a source as seen from the folder of the new file."""
    with contextlib.suppress(ValueError):  # on another drive
        return Path(os.path.relpath(source, target.parent)).as_posix()
    return Path(source).absolute().as_posix()


def _write_new(target: Path, text: str, *, replace: bool) -> None:
    try:
        if target.exists() and not replace:
            raise FileExistsError
        with _whole(target) as place:
            place.write_bytes(text.encode())
    except FileExistsError:
        raise ConfigError.of(
            str(target),
            expected="no such file",
            found="one",
            advice="Replace it with --force, or name another with -c.",
        ) from None
    except (OSError, ValueError) as error:
        raise _cannot_write(target, error) from error


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Where to write a file that is to be there as a whole, or to stay as it was."""
    from tsforecast.batch.files import temp_place

    target = Path(os.path.realpath(target))
    if target.exists() and not target.is_file():  # such as /dev/stdout
        yield target
        return
    part = temp_place(target.parent, "written")
    part = part.with_name(part.name + "".join(target.suffixes[-2:]))  # .gz is to be compressed
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _cannot_write(file: Path, error: Exception) -> JobError:
    """Build (not raise) the error: of a full or broken disk, or of a name that will not do."""
    why = getattr(error, "strerror", None) or str(error)
    kind = SinkError if getattr(error, "errno", None) in DISK else ConfigError
    return kind.of(
        str(file),
        expected="a file that can be written",
        found=str(why).lower(),
        advice="Make room, or name another one.",
    )


# ---------------------------------------------------------------- output


def _show(args: argparse.Namespace, summary: Mapping[str, Any]) -> None:
    """Print a summary: as JSON, or as lines of name and value with tables below them."""
    if args.json:
        _write_json(summary)
        return
    tables = {key: value for key, value in summary.items() if _is_table(value)}
    rows = list(_lines({key: value for key, value in summary.items() if key not in tables}))
    wide = max((len(key) for key, _ in rows), default=0)
    for key, value in rows:
        sys.stdout.write(f"{key:<{wide}}  {value}".rstrip() + "\n")
    for key, table in tables.items():
        sys.stdout.write(f"\n{key}\n")
        _write_rows(table)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _write_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as columns; the last one may be as wide as it likes."""
    names = list(rows[0])
    cells = [names, *([_plain(row.get(name)) for name in names] for row in rows)]
    wide = [max(len(line[at]) for line in cells) for at in range(len(names))]
    for line in cells:
        text = "  ".join(f"{cell:<{size}}" for cell, size in zip(line, wide))
        sys.stdout.write(text.rstrip() + "\n")


def _lines(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            yield from _lines(inner, f"{name}.")
        elif isinstance(inner, (list, tuple)) and any(len(str(each)) > _LONG for each in inner):
            yield from ((name, _plain(each)) for each in inner)
        elif isinstance(inner, (list, tuple)):
            yield name, ", ".join(map(_plain, inner)) or "-"
        else:
            yield name, _plain(inner)


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text[:12] if _DIGEST.fullmatch(text) else text


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        frame.to_json(orient="records", date_format="iso", double_precision=15)
    )
    return found


def _write_json(value: Any) -> None:
    sys.stdout.write(json.dumps(_finite(value), ensure_ascii=False, default=str) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _end(args: argparse.Namespace, error: BaseException) -> int:
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
            _show(args, done)
    if args.json:
        with contextlib.suppress(OSError, ValueError):
            _write_json({"exit_code": int(code), "error": name, "message": text, **args.shown})
            sys.stdout.flush()
    return int(code)


def _explained(error: BaseException) -> BaseException:
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
            _leave_output()
        return SinkError.of(
            error.filename or "standard output",
            expected="room, and the right to write there",
            found=(error.strerror or type(error).__name__).lower(),
            advice="Mend that, and give the command again.",
        )
    return error


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


# ---------------------------------------------------------------- talk


class _Lines(logging.Formatter):
    """Lines for people, or of JSON; a level is named where it is a warning or more."""

    def __init__(self, form: str, *, colour: bool) -> None:
        super().__init__()
        self.form, self.colour = form, colour

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        event = _event(text)
        if self.form == "json":
            at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
            about = {"at": at, "level": record.levelname.lower(), **(event or {"message": text})}
            more = {k: v for k, v in vars(record).items() if k not in _STANDARD}
            return json.dumps(_finite({**about, **more}), ensure_ascii=False, default=str)
        if event is not None:
            shown = {k: v for k, v in event.items() if k not in ("event", "job", "run_date")}
            cells = "  ".join(f"{key}={value}" for key, value in _lines(shown))
            return f"{event['event']}  {cells}".rstrip()
        if record.levelno < logging.WARNING:
            return text
        name = "error" if record.levelno >= logging.ERROR else "warning"
        if self.colour:
            name = f"\033[{31 if name == 'error' else 33}m{name}\033[0m"
        return f"{name}: {text}"


def _event(text: str) -> dict[str, Any] | None:
    """What a line of a job says; None for other lines."""
    if not text.startswith("{"):
        return None
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        return found if isinstance(found, dict) and "event" in found else None
    return None


def _said(*, verbose: bool) -> Callable[[logging.LogRecord], bool]:
    """Pass over what people need not read: a failure is told by the last line, parts are many."""
    silent = {"failed"} if verbose else {"failed", "part"}

    def wanted(record: logging.LogRecord) -> bool:
        event = _event(record.getMessage())
        return event is None or event["event"] not in silent

    return wanted


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextlib.contextmanager
def _talking(args: argparse.Namespace) -> Iterator[None]:
    """Send log lines and warnings to standard error, one line each."""
    stream: TextIO = sys.stderr
    handler = logging.StreamHandler(stream)
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(_Lines(args.log, colour=colour))
    if args.log == "text":
        handler.addFilter(_said(verbose=args.verbose))
    before, passed_on = _LOG.level, _LOG.propagate
    level = logging.ERROR if args.quiet else logging.DEBUG if args.verbose else logging.INFO
    _LOG.addHandler(handler)
    _LOG.setLevel(level)
    _LOG.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default" if args.verbose else "ignore")
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(before)
        _LOG.propagate = passed_on


def _show_warning(message: Warning | str, category: type[Warning], *rest: Any) -> None:
    del rest
    _LOG.warning("%s", message, extra={"warning": category.__name__})


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the process by an exception, so that locks are freed and ledgers closed."""

    def stop(*_: Any) -> NoReturn:
        raise SystemExit(int(ExitCode.TERMINATED))

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
