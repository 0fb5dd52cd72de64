"""`export`: what a job has written."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tsforecast.batch.exits import ConfigError
from tsforecast.batch.files import refused
from tsforecast.cli.given import config_of
from tsforecast.cli.output import records, whole, write_json

__all__ = ["export"]

_LOG = logging.getLogger("tsforecast")


def export(args: argparse.Namespace) -> None:
    """Give out forecasts, risks, rejects or the ledger."""
    import pandas as pd

    from tsforecast.batch.ledger import how_it_ended
    from tsforecast.batch.sinks import open_sink

    parquet = args.format == "parquet" or (
        args.format is None and str(args.output or "").endswith((".parquet", ".pq"))
    )
    if args.json and (args.output is not None or args.format is not None):
        raise ConfigError.of(
            "--json",
            expected="neither -o nor --format beside it, as it gives an object on standard output",
            found="both",
            advice="Leave one of them out; > FILE keeps the object.",
        )
    if parquet and args.output is None:
        raise ConfigError.of(
            "--format parquet", expected="a file", found="none", advice="Name it with -o FILE."
        )
    config = config_of(args)
    what = args.what or ("risks" if config.model.kind == "event" else "forecasts")
    with open_sink(config.sink, config.job.name) as sink:
        read = {"forecasts": sink.forecasts, "risks": sink.risks, "rejects": sink.rejects}
        frame = sink.runs() if what == "runs" else read[what](args.run_date, args.model)
    if what == "runs":
        for name, wanted in (("run_date", args.run_date), ("model", args.model)):
            frame = frame if wanted is None else frame[frame[name] == wanted]
        frame = frame.reset_index(drop=True)
        ended = [how_it_ended(*line) for line in zip(frame["status"], frame["summary"])]
        frame["exit_code"] = pd.array([code for code, _ in ended], dtype="Int64")
        frame["why"] = [why for _, why in ended]
        if not args.json:  # trees
            frame = frame.drop(columns=["about", "summary"])
    nothing = f" in {config.sink.path or config.sink.database}: see tsforecast status"
    _LOG.info("%d rows%s", len(frame), "" if len(frame) else nothing)
    if args.json:
        if "run_date" in frame:
            frame = frame.assign(run_date=frame["run_date"].astype(str))
        write_json({what: records(frame)})
        return
    if args.output is None:
        frame.to_csv(sys.stdout, index=False)
        return
    try:
        with whole(Path(args.output)) as place:
            if parquet:
                frame.to_parquet(place, index=False)
            else:
                frame.to_csv(place, index=False)
    except OSError as error:
        raise refused(args.output, error, expected="a file that can be written") from error
