"""What a command is given: the configuration of the job, and the cut of its run date."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tsforecast.batch.exits import ConfigError

if TYPE_CHECKING:
    from tsforecast.batch.config import JobConfig
    from tsforecast.batch.sources import AsOf

__all__ = ["config_of", "cut_of"]


def config_of(args: argparse.Namespace) -> JobConfig:
    """Read the job: flags over the environment over the file."""
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


def cut_of(args: argparse.Namespace, config: JobConfig) -> AsOf:
    """Give the cut of the run date that was given, or of today."""
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
