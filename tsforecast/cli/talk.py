"""Lines on standard error: for people, or of JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from tsforecast.cli.output import finite, lines

__all__ = ["talking"]

_LOG = logging.getLogger("tsforecast")


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
            return json.dumps(finite({**about, **more}), ensure_ascii=False, default=str)
        if event is not None:
            shown = {k: v for k, v in event.items() if k not in ("event", "job", "run_date")}
            cells = "  ".join(f"{key}={value}" for key, value in lines(shown))
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
def talking(args: argparse.Namespace) -> Iterator[None]:
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
