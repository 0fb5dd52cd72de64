"""How a job forecasts: the champion of the date, part by part, into the sink."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Generator
from typing import Any

import pandas as pd

from tsforecast.batch.config import JobConfig
from tsforecast.batch.exits import exit_code
from tsforecast.batch.ledger import Attempt, RunKey, Sink
from tsforecast.batch.monitor import monitor
from tsforecast.batch.parts import (
    Score,
    Scored,
    Texts,
    cut,
    hashed,
    series_names,
)
from tsforecast.batch.sinks import open_sink
from tsforecast.batch.sources import Extract
from tsforecast.batch.spread import spread
from tsforecast.batch.work import (
    SKIPPED,
    Summary,
    Work,
    host,
    in_ledger,
    looked_at,
    model_digest,
    n_series,
    no_model,
    require,
    require_few_rejects,
    source_rejects,
    told_of,
)

__all__ = ["score_series"]


def score_series(work: Work, extract: Extract) -> Summary:
    """Forecast every series part by part, and show the rows when all are there."""
    config = work.config
    registry, version = work.registry, work.champion()
    if version is None:
        raise no_model(work)
    with work.timed("load"):
        model, about = registry.load(version), registry.show(version)
    if about["model_digest"] != model_digest(config):
        work.say("other parameters", version=version)
    _require_model_columns(model, extract)
    treatment = work.treatments(extract.panel, looked_at(model, extract.panel))
    size = config.job.part_size
    n_parts = max(-(-len(treatment) // size), 1)
    function = Score(str(registry.folder / version), about["manifest"], config.job.hash_ids)
    summary = {
        **work.about(),
        "version": version,
        "model_id": about["model_id"],
        "same_parameters": about["model_digest"] == model_digest(config),
        "source": told_of(extract),
        "parts": n_parts,
        "seconds": work.seconds,
    }
    if work.dry_run:
        with work.timed("score"):
            found = list(_spread(work, function, extract, treatment, frozenset()))
        rejects = _with_source(pd.concat([each.rejects for each in found]), extract, config)
        rows = sum(len(each.rows) for each in found)
        counted = _counted(work, extract, treatment, rows, rejects)
        failed = rejects[~rejects["stage"].isin(SKIPPED)]
        require_few_rejects(work, len(failed), n_series(extract), failed)
        with open_sink(config.sink, config.job.name) as sink:
            looked = monitor(work, extract, model, about, sink)
        return {**summary, **counted, "monitor": looked}
    key = RunKey(config.job.name, work.as_of.run_date, about["model_id"], config.digest())
    with open_sink(config.sink, config.job.name) as sink:
        sink.prepare()
        sink.fail_open()
        attempt = sink.begin(
            key, data_digest=extract.digest, parts=n_parts, part_size=size, about=host()
        )
        with in_ledger(work, sink, attempt):
            if not attempt.done:
                _write(work, sink, attempt, function, extract, treatment)
            rejects = sink.rejects(work.as_of.run_date, about["model_id"])
            rejects = rejects[rejects["run"] == attempt.id]  # not those of other configurations
            ledger = sink.runs().set_index("run")["rows"].loc[attempt.id]
            summary |= {
                **_counted(work, extract, treatment, int(str(ledger)), rejects),
                "run": attempt.id,
                "resumed": attempt.resumed,
                "parts_resumed": len(attempt.committed),
                "nothing_new": attempt.done,
            }
            if not attempt.done:
                require_few_rejects(work, _failed(rejects), n_series(extract))
            broken = None
            try:
                summary["monitor"] = monitor(work, extract, model, about, sink)
            except Exception as error:  # what is written is to be seen all the same
                broken = error
                summary["monitor"] = {
                    "status": "broken",
                    "error": type(error).__name__,
                    "exit_code": int(exit_code(error)),
                }
            if not attempt.done:
                sink.finish(attempt, "ok", summary)
    if broken is not None:
        raise broken
    work.say(
        "nothing new" if attempt.done else "scored",
        **{name: summary[name] for name in ("version", "rows", "rejects", "seconds")},
    )
    return summary


def _require_model_columns(model: Any, extract: Extract) -> None:
    require(model._columns() if hasattr(model, "_columns") else [], extract)


def _write(
    work: Work,
    sink: Sink,
    attempt: Attempt,
    function: Score,
    extract: Extract,
    treatment: Texts,
) -> None:
    """Score and write the parts that are not yet written."""
    begun = time.perf_counter()
    written = 0.0
    results = _spread(work, function, extract, treatment, attempt.committed)
    with contextlib.closing(results):  # a stop ends the workers, too
        for scored in results:
            rejects = scored.rejects
            if scored.number == 0:
                rejects = _with_source(rejects, extract, work.config)
            before = time.perf_counter()
            sink.write_part(attempt, scored.number, scored.rows, rejects)
            written += time.perf_counter() - before
            work.say(
                "part", part=scored.number, rows=len(scored.rows), rejects=len(rejects),
                seconds=round(scored.seconds, 4), warned=scored.warned,
            )  # fmt: skip
    work.seconds["write"] = round(written, 4)
    work.seconds["score"] = round(time.perf_counter() - begun - written, 4)


def _spread(
    work: Work,
    function: Score,
    extract: Extract,
    treatment: Texts,
    committed: frozenset[int],
) -> Generator[Scored]:
    how = work.config.run
    parts = cut(extract.panel, treatment, work.config.job.part_size)
    if not len(treatment):  # all series were rejected: a part for their rejects
        return (Scored(0, pd.DataFrame(), extract.rejects.iloc[:0], 0.0) for _ in range(1))
    return spread(
        function,
        (part for part in parts if part.number not in committed),
        how=how.spread,
        workers=how.workers,
        address=how.dask_address,
    )


def _with_source(rejects: pd.DataFrame, extract: Extract, config: JobConfig) -> pd.DataFrame:
    """Rejects of the first part, and those of the source, which belong to none."""
    own = source_rejects(config, extract)
    return pd.concat([rejects, own], ignore_index=True) if len(own) else rejects


def _counted(
    work: Work, extract: Extract, treatment: Texts, rows: int, rejects: pd.DataFrame
) -> Summary:
    """Count series by what has become of them: of all parts, whoever has written them."""
    names = series_names(extract.panel) if len(treatment) else ()
    label = hashed if work.config.job.hash_ids else str
    refused = set(rejects["series"])
    sources = Counter(str(how) for name, how in zip(names, treatment) if label(name) not in refused)
    return {
        "series": n_series(extract),
        "rows": rows,
        "rejects": dict(sorted(Counter(map(str, rejects["stage"])).items())),
        "sources": dict(sorted(sources.items())),
    }


def _failed(rejects: pd.DataFrame) -> int:
    return int((~rejects["stage"].isin(SKIPPED)).sum())
