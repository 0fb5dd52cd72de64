"""`check`: whether a run would go, thing by thing."""

from __future__ import annotations

import argparse
from typing import Any

from tsforecast._checks import DataError
from tsforecast.batch.exits import JobError, SourceError
from tsforecast.cli.ending import explained
from tsforecast.cli.given import config_of, cut_of
from tsforecast.cli.output import write_json, write_rows

__all__ = ["check"]


def check(args: argparse.Namespace) -> None:
    """Look at each thing whatever is wrong with the others, what is quick first."""
    from tsforecast.batch import job
    from tsforecast.batch.config import build_baseline, build_estimator
    from tsforecast.batch.sinks import open_sink
    from tsforecast.batch.sources import read_source
    from tsforecast.batch.work import Work

    config = config_of(args)
    as_of = cut_of(args, config)
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
        work = Work(config, as_of)
        champion = work.champion()
        if champion is None:
            return "none for this date" if work.registry.versions() else "none yet"
        work.registry.load(champion)
        return f"champion {champion}"

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
        except (JobError, DataError, ModuleNotFoundError) as error:
            ours = SourceError(str(error)) if isinstance(error, DataError) else explained(error)
            if not isinstance(ours, JobError):
                raise
            rows.append({"what": what, "state": f"exit {ours.code}", "found": str(ours)})
            first = first or ours
    if first is not None:
        args.shown = {"checks": rows}
    if not args.json:
        write_rows(rows)
    elif first is None:
        write_json({"checks": rows, **summary})
    if first is not None:
        raise first
