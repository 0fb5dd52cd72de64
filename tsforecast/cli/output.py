"""What goes to standard output, or to a file: summaries, tables and JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsforecast.batch.exits import ConfigError
from tsforecast.batch.files import refused, temp_place

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "finite",
    "leave_output",
    "lines",
    "records",
    "show",
    "whole",
    "write_json",
    "write_new",
    "write_rows",
]

_DIGEST = re.compile("[0-9a-f]{64}")
_DETAIL = re.compile(
    r"(fit\.)?(config_digest|model_id|parts\w*|same_parameters|seconds\..*|source\.d.*)"
    r"|fit\.(job|run_date|dry_run|(source|span)\..*)|monitor\.(?!status|warnings|failures).*"
)
_LONG = 60  # characters: a sentence, on a line of its own


def show(args: argparse.Namespace, summary: Mapping[str, Any], *, details: bool = True) -> None:
    """Print a summary: as JSON, or as lines of name and value with tables below them.

    Without `details` the lines are few of what a run has done, unless -v asks for all of them.
    """
    if args.json:
        write_json(summary)
        return
    tables = {key: value for key, value in summary.items() if _is_table(value)}
    rows = list(lines({key: value for key, value in summary.items() if key not in tables}))
    if not (details or args.verbose):
        rows = [(key, value) for key, value in rows if not _DETAIL.fullmatch(key)]
    wide = max((len(key) for key, _ in rows), default=0)
    for key, value in rows:
        sys.stdout.write(f"{key:<{wide}}  {value}".rstrip() + "\n")
    for key, table in tables.items():
        sys.stdout.write(f"\n{key}\n")
        write_rows(table)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def write_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as columns; the last one may be as wide as it likes."""
    names = list(rows[0])
    cells = [names, *([_plain(row.get(name)) for name in names] for row in rows)]
    wide = [max(len(line[at]) for line in cells) for at in range(len(names))]
    for line in cells:
        text = "  ".join(f"{cell:<{size}}" for cell, size in zip(line, wide))
        sys.stdout.write(text.rstrip() + "\n")


def lines(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give a tree as names and values; what lies deeper has a name with points."""
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            yield from lines(inner, f"{name}.")
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


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table, as JSON has them."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    found: list[dict[str, Any]] = json.loads(json.dumps(finite(rows), default=_as_text))
    return found


def _as_text(value: Any) -> Any:
    """What JSON has no form for: a time as text of ISO 8601, in UTC if it has a zone."""
    if hasattr(value, "item"):  # of numpy
        return value.item()
    if not isinstance(value, datetime):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    if value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return value.isoformat(timespec="milliseconds")


def write_json(value: Any) -> None:
    """Print one JSON object, on a line."""
    sys.stdout.write(json.dumps(finite(value), ensure_ascii=False, default=str) + "\n")


def finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def leave_output() -> None:
    """Let go of standard output: what is left in its buffer would fail once more at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---------------------------------------------------------------- files


def write_new(target: Path, text: str, *, replace: bool) -> None:
    """Write a file that is not to be there yet, unless it may be replaced."""
    try:
        if target.exists() and not replace:
            raise FileExistsError
        with whole(target) as place:
            place.write_bytes(text.encode())
    except FileExistsError:
        raise ConfigError.of(
            str(target),
            expected="no such file",
            found="one",
            advice="Replace it with --force, or name another with -c.",
        ) from None
    except (OSError, ValueError) as error:
        raise refused(str(target), error, expected="a file that can be written") from error


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Where to write a file that is to be there as a whole, or to stay as it was."""
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
