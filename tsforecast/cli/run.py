"""`fit`, `backtest`, `score`, `run`: the work of a job at a run date."""

from __future__ import annotations

import argparse
import os

from tsforecast.cli.given import config_of, cut_of
from tsforecast.cli.output import show

__all__ = ["backtest", "fit", "run", "score"]


def fit(args: argparse.Namespace) -> None:
    """Fit a model, maybe on several processes."""
    from tsforecast.batch import job

    config = config_of(args)
    as_of = cut_of(args, config)
    if args.devices == 1:
        show(args, job.fit(config, as_of, dry_run=args.dry_run), details=False)
        return
    from tsforecast.batch.launch import launch, require_ranks
    from tsforecast.nn.ranks import started_by_torchrun

    if not started_by_torchrun():
        launch(args.devices, [*args.argv, f"--run-date={as_of.run_date}"])
        return
    require_ranks(args.devices)
    found = job.fit(config, as_of, dry_run=args.dry_run, together=True)
    if os.environ.get("RANK") == "0":
        show(args, found, details=False)


def backtest(args: argparse.Namespace) -> None:
    """Judge the model beside its baselines."""
    from tsforecast.batch import job

    config = config_of(args)
    found = job.backtest(config, cut_of(args, config))
    if not args.json:  # verdicts are said once
        found["skill"] = [
            {k: v for k, v in row.items() if k != "verdict"} for row in found["skill"]
        ]
    show(args, found)


def score(args: argparse.Namespace) -> None:
    """Forecast with the champion."""
    from tsforecast.batch import job

    config = config_of(args)
    show(args, job.score(config, cut_of(args, config), dry_run=args.dry_run), details=False)


def run(args: argparse.Namespace) -> None:
    """Do all that is to do at a run date."""
    from tsforecast.batch import job

    config = config_of(args)
    show(args, job.run(config, cut_of(args, config), dry_run=args.dry_run), details=False)
