"""`forecast`: a table here and now, without a job."""

from __future__ import annotations

import argparse
import logging
import sys

from tsforecast.cli.output import records, write_json

__all__ = ["forecast"]

_LOG = logging.getLogger("tsforecast")


def forecast(args: argparse.Namespace) -> None:
    """Forecast a table, and say whether there is skill in it."""
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
        write_json({"columns": str(what), "verdict": found.verdict, "forecast": records(frame)})
    else:
        frame.to_csv(sys.stdout, index=False)
