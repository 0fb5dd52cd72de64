"""`status`: what the job has done, and how its runs have ended."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from tsforecast.cli.given import config_of
from tsforecast.cli.output import show

__all__ = ["status"]

_FIRST = ("run", "run_date", "model", "status", "exit_code")


def status(args: argparse.Namespace) -> None:
    """Show what the job has done."""
    from tsforecast.batch import job

    config = config_of(args)
    found = job.status(config)
    if not args.json:  # reasons are sentences: that of the last run is shown
        runs = found.pop("runs")
        place = config.sink.path or config.sink.database
        found["last"] = _ended(runs[-1]) if runs else f"no runs yet in {place}"
        if runs:
            shown = [name for name in dict.fromkeys([*_FIRST, *runs[0]]) if name != "why"]
            found["runs"] = [{name: run[name] for name in shown} for run in runs]
    show(args, found)


def _ended(run: Mapping[str, Any]) -> str:
    """Say how a run has ended."""
    code = "" if not run["exit_code"] else f", exit code {run['exit_code']}"
    why = "" if run["why"] is None else f": {run['why']}"
    return f"run {run['run']} of {run['run_date']}: {run['status']}{code}{why}"
