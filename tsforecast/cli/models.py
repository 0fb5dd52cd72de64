"""`models`: the versions of the model of a job."""

from __future__ import annotations

import argparse
import logging

from tsforecast.cli.given import config_of, cut_of
from tsforecast.cli.output import records, show, write_json, write_rows

__all__ = ["challenge", "list_versions", "promote", "rollback", "show_version"]

_LOG = logging.getLogger("tsforecast")


def list_versions(args: argparse.Namespace) -> None:
    """List all versions."""
    from tsforecast.batch import job

    found = records(job.registry_of(config_of(args)).list().reset_index())
    if args.json:
        write_json({"models": found})
    elif found:
        write_rows(found)
    else:
        _LOG.info("no version yet: tsforecast fit")


def show_version(args: argparse.Namespace) -> None:
    """Show what is known of a version."""
    from tsforecast.batch import job

    show(args, job.registry_of(config_of(args)).show(args.which))


def promote(args: argparse.Namespace) -> None:
    """Make a version champion."""
    from tsforecast.batch import job

    show(args, job.promote(config_of(args), args.which))


def rollback(args: argparse.Namespace) -> None:
    """Make the champion before champion again."""
    from tsforecast.batch import job

    show(args, job.rollback(config_of(args)))


def challenge(args: argparse.Namespace) -> None:
    """Test the challenger against the champion."""
    from tsforecast.batch import job

    config = config_of(args)
    show(args, job.challenge(config, cut_of(args, config)))
