"""`init`: a first job.toml, with guesses at the columns of a table."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path

from tsforecast.cli.output import write_json, write_new

__all__ = ["init"]

_LOG = logging.getLogger("tsforecast")


def init(args: argparse.Namespace) -> None:
    """Write a commented job.toml."""
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
    if not args.print:
        write_new(target, text, replace=args.force)
        _LOG.info("wrote %s; next: tsforecast check -c %s", target, target)
    if args.json:
        roles = ("series", "time", "target")
        guessed = None if what is None else {role: getattr(what, role) for role in roles}
        where = {"text": text} if args.print else {"file": str(target)}
        write_json({**where, "name": name, "guessed": guessed})
    elif args.print:
        sys.stdout.write(text)


def _job_name(stem: str) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return name.lstrip("._-")[:64] or "forecasts"


def _from_folder(source: str, target: Path) -> str:
    """Path of a source as seen from the folder of the new file."""
    with contextlib.suppress(ValueError):  # on another drive
        return Path(os.path.relpath(source, target.parent)).as_posix()
    return Path(source).absolute().as_posix()
