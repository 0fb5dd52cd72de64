"""The contract of a run: what a job does at a date, safe to repeat and to kill at any moment.

A run is known by job, run date, model and the digest of its configuration. It holds the lock of
the job, reads nothing after the cut, goes on where an earlier attempt has ended, and shows its
rows when all of them are there. Every verb gives a plain summary that JSON can hold, or raises a
`JobError` with the exit code.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.batch.asof import AsOf
from tsforecast.batch.config import JobConfig
from tsforecast.batch.files import job_lock, make_folder, replace_file
from tsforecast.batch.fitting import contested, due, fit_model, within
from tsforecast.batch.judging import judge, records
from tsforecast.batch.ledger import FIT, how_it_ended
from tsforecast.batch.monitor import require_sound
from tsforecast.batch.scoring import score_series
from tsforecast.batch.sinks import open_sink
from tsforecast.batch.work import (
    Summary,
    Work,
    at_work,
    blamed,
    estimators,
    looked_at,
    n_series,
    registry_of,
    require_columns,
    require_few_rejects,
    since,
    told_of,
)

__all__ = [
    "backtest",
    "challenge",
    "check",
    "fit",
    "promote",
    "registry_of",
    "rollback",
    "run",
    "score",
    "status",
]


def check(config: JobConfig, as_of: AsOf) -> Summary:
    """Look at what a run needs: configuration, source, model and sink; nothing is fitted.

    What only a fit can refuse, such as too few rows for its parameters, `fit` with `dry_run` shows.

    Parameters
    ----------
    config : JobConfig
    as_of : AsOf
        The run date.

    Returns
    -------
    dict
        Counts of what was read, how the series would be treated, which model there is and whether
        a fit is due.

    Raises
    ------
    JobError
        As `run` would raise it before it fits.
    """
    work = Work(config, as_of)
    model = estimators(config)[0]
    extract = work.read()
    require_columns(config, extract)
    require_few_rejects(work, len(extract.rejects), n_series(extract), work.rejects)
    treatment = work.treatments(extract.panel, looked_at(model, extract.panel))
    with open_sink(config.sink, config.job.name) as sink:
        sink.prepare()
    return {
        **work.about(),
        "source": told_of(extract),
        "treatments": dict(Counter(map(str, treatment))),
        "model": work.champion(),
        "fit_due": due(work),
    }


def fit(
    config: JobConfig, as_of: AsOf, *, dry_run: bool = False, together: bool = False
) -> Summary:
    """Fit the model on what is known at the cut, and put it into the registry.

    The first model, and one that takes the place of the champion (``[fit] promote``), becomes
    champion of the dates from this run date on; any other one becomes challenger. With
    ``promote = "if_better"`` a model with other parameters than the champion has to win the skill
    test of a backtest; with the same parameters it is the same model on newer rows, and succeeds.
    Where no backtest can be held, as of too short a past, it becomes challenger.

    Parameters
    ----------
    config : JobConfig
    as_of : AsOf
    dry_run : bool
        Fit, and keep nothing.
    together : bool
        Whether the processes that torchrun has started fit one model; all call this. Process 0 has
        lock, ledger and registry, for the others it is a dry run. ``tsforecast fit --devices n``
        does so.

    Returns
    -------
    dict
        ``version``, ``role``, ``why``, the span of its rows, and the contest if there was one. The
        role is ``"former"``, as in the list of models, where a model that was fitted for an earlier
        date and promoted by hand since stays champion of the date.

    Raises
    ------
    JobError
        If the source cannot be read, too many series fail, or parameters cannot be used.
    """
    first = not together or os.environ.get("RANK") == "0"
    with at_work(config, as_of, dry_run=dry_run or not first, alone=first) as work:
        return fit_model(work, work.read(), together=together)


def backtest(config: JobConfig, as_of: AsOf) -> Summary:
    """Judge the configured model and its baselines on what is known at the cut.

    Tables and summary are written to ``backtests/<run date>-<digest>/`` in the folder of the job,
    in place of those of an earlier one: the digest does not hold ``[backtest]``. The lock of the
    job is not held: a run need not wait.

    Returns
    -------
    dict
        ``metrics`` and ``skill`` as lists of records, ``verdicts``, and the ``folder``.

    Raises
    ------
    JobError
        As for `fit`.
    """
    with at_work(config, as_of, alone=False) as work:  # a run need not wait for it
        panel = within(work.read().panel, config.fit.window)
        models = estimators(config)
        names = ["model", *config.backtest.baselines]
        begun = time.perf_counter()
        with blamed(work, panel):
            found = judge(
                dict(zip(names, models)), panel, config.backtest,
                events=config.model.kind == "event",
            )  # fmt: skip
        folder = config.job.folder / "backtests" / f"{as_of.run_date}-{config.digest()[:8]}"
        make_folder(folder)
        for name, table in (("metrics", found.metrics), ("skill", found.skill)):
            if table is None:  # one of an earlier backtest would stand beside this summary
                (folder / f"{name}.csv").unlink(missing_ok=True)
            else:
                replace_file(folder / f"{name}.csv", table.to_csv().encode())
        summary = {
            **work.about(),
            **found.about,
            "metrics": records(found.metrics),
            "skill": records(found.skill),
            "verdicts": list(found.verdicts),
            "seconds": {**work.seconds, "backtest": since(begun)},
            "folder": str(folder),
        }
        replace_file(folder / "summary.json", json.dumps(summary, indent=1).encode())
        work.say("backtest", **found.about)
        return summary


def score(config: JobConfig, as_of: AsOf, *, dry_run: bool = False) -> Summary:
    """Forecast with the champion of the date, and write the rows.

    Parameters
    ----------
    config : JobConfig
    as_of : AsOf
    dry_run : bool
        Forecast, and write nothing.

    Returns
    -------
    dict
        Counts of series, rows and rejects, the model, digests and timings, and what the `monitor`
        has found.

    Raises
    ------
    JobError
        If there is no model for the date, data are stale, or too many series fail. If the monitor
        fails: then all is written and seen, and the error has the `summary`.
    """
    with at_work(config, as_of, dry_run=dry_run) as work:
        return require_sound(score_series(work, work.read()))


def run(config: JobConfig, as_of: AsOf, *, dry_run: bool = False) -> Summary:
    """Do what a job has to do at a date: check, fit if due, score, monitor.

    Parameters
    ----------
    config : JobConfig
    as_of : AsOf
    dry_run : bool
        Write nothing. Where a fit is due it is only said so; where there is no model for the date
        that is all.

    Returns
    -------
    dict
        The summary of `score`, with that of `fit` as ``fit``; None where no fit was due.

    Raises
    ------
    JobError
        As for `fit` and `score`; with `dry_run` not what only a fit can refuse.
    """
    with at_work(config, as_of, dry_run=dry_run) as work:
        model = estimators(config)[0]
        extract = work.read()
        require_columns(config, extract)
        why, fitted = due(work), None
        if why is not None:
            work.say("fit due", why=why)
            work.treatments(extract.panel, looked_at(model, extract.panel))  # late: no fit either
            if dry_run:
                require_few_rejects(work, len(extract.rejects), n_series(extract), work.rejects)
                fitted = {"due": why}
                if work.champion() is None:
                    return {**work.about(), "source": told_of(extract), "fit": fitted}
            else:
                fitted = fit_model(work, extract)
        return require_sound({**score_series(work, extract), "fit": fitted})


def challenge(config: JobConfig, as_of: AsOf) -> Summary:
    """Test the challenger against the champion in a backtest; it is promoted if it wins.

    The lock of the job is held for the promotion alone.

    Returns
    -------
    dict
        ``better``, ``why``, the numbers, and who is champion now.

    Raises
    ------
    JobError
        If there is no challenger or no champion, or as for `backtest`.
    """
    with at_work(config, as_of, alone=False) as work:
        registry = work.registry
        version, champion = registry.find("challenger"), work.champion()
        found = contested(work, version, work.read().panel)
        with job_lock(config.job.folder, config.job.name):
            same = (registry.find("challenger"), work.champion()) == (version, champion)
            if found["better"] and same:
                registry.succeed(version, why=found["why"])
        return {**work.about(), **found, "champion": registry.find("champion")}


def promote(config: JobConfig, which: str = "challenger", *, why: str = "by hand") -> Summary:
    """Make a version champion, under the lock of the job."""
    with job_lock(config.job.folder, config.job.name):
        version = registry_of(config).promote(which, why=why)
    return {"job": config.job.name, "champion": version}


def rollback(config: JobConfig, *, why: str = "by hand") -> Summary:
    """Make the champion before the present one champion again, under the lock of the job."""
    with job_lock(config.job.folder, config.job.name):
        version = registry_of(config).rollback(why=why)
    return {"job": config.job.name, "champion": version}


def status(config: JobConfig, *, last: int = 10) -> Summary:
    """Say how the job stands: its models, its last attempts, the newest run that is visible.

    Parameters
    ----------
    config : JobConfig
    last : int
        How many attempts.

    Returns
    -------
    dict
        ``champion``, ``challenger``, ``versions``, ``latest`` (run date of the newest visible
        run of the model), ``monitor`` (status and sentences of that run), and ``runs``, the last
        attempts, the newest last: with which ``exit_code`` each has ended, and ``why``.
    """
    registry = registry_of(config)
    aliases = registry.aliases()
    with open_sink(config.sink, config.job.name) as sink:
        runs = sink.runs()
    shown = runs[runs["visible"].astype(bool) & (runs["model"] != FIT)]
    columns = ["run", "run_date", "model", "status", "visible", "parts", "parts_done"]
    columns += ["rows", "rejects", "started", "finished", "monitor", "exit_code", "why"]
    looked = [summary.get("monitor", {}) for summary in runs["summary"]]
    ended = [how_it_ended(*line) for line in zip(runs["status"], runs["summary"])]
    runs = runs.assign(
        monitor=[each.get("status") for each in looked],
        exit_code=pd.Series([code for code, _ in ended], index=runs.index, dtype=object),
        why=pd.Series([why for _, why in ended], index=runs.index, dtype=object),
    )
    newest = shown.sort_values("run_date", kind="stable").tail(1)["summary"]
    return {
        "job": config.job.name,
        "champion": aliases["champion"],
        "challenger": aliases["challenger"],
        "versions": len(registry.versions()),
        "latest": str(shown["run_date"].max()) if len(shown) else None,
        "monitor": _looked(newest.iloc[0]) if len(newest) else None,
        "runs": [
            {name: _plain(value) for name, value in row.items()}
            for row in runs[columns].tail(last).to_dict("records")
        ],
    }


def _looked(summary: Summary) -> Summary:
    found = summary.get("monitor", {})
    return {name: found[name] for name in ("status", "warnings", "failures") if name in found}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat(sep=" ", timespec="seconds")
    return value if isinstance(value, str | int | float | bool) else str(value)
