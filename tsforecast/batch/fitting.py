"""How a job fits: when it is due, what is kept of it, and whether the new model is put to use."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.batch.config import as_offset
from tsforecast.batch.exits import ConfigError, ModelError, SourceError
from tsforecast.batch.judging import contest
from tsforecast.batch.ledger import FIT, RunKey
from tsforecast.batch.profile import training_profile
from tsforecast.batch.sinks import open_sink
from tsforecast.batch.sources import Extract
from tsforecast.batch.work import (
    Summary,
    Work,
    blamed,
    estimators,
    host,
    in_ledger,
    model_digest,
    n_series,
    no_model,
    require_few_rejects,
    since,
    told_of,
)
from tsforecast.data.panel import layout_of

__all__ = ["contested", "due", "fit_model", "within"]


def fit_model(work: Work, extract: Extract, *, together: bool = False) -> Summary:
    """Fit, keep the model, and decide what becomes of it; the ledger has a line of it.

    With `together` the processes that torchrun has started fit one model; what follows is done
    by this one alone.
    """
    config = work.config
    told = work.rejects if work.dry_run else None  # nobody can look at them
    require_few_rejects(work, len(extract.rejects), n_series(extract), told)
    panel = within(extract.panel, config.fit.window)
    registry = work.registry
    if work.dry_run:
        _fitted(work, extract, panel, together)
        return {**work.about(), "source": told_of(extract), "seconds": work.seconds}
    key = RunKey(config.job.name, work.as_of.run_date, FIT, config.digest())
    with open_sink(config.sink, config.job.name) as sink:
        sink.prepare()
        sink.fail_open()
        attempt = sink.begin(key, data_digest=extract.digest, parts=0, about=host(), resume=False)
        with in_ledger(work, sink, attempt):
            work.say("fitting", rows=len(panel))
            estimator = _fitted(work, extract, panel, together)
            with work.timed("save"):
                version = _kept(work, estimator, _about_model(work, extract, panel))
            try:
                decided = _placed(work, version, panel)
            except BaseException:  # else versions add up, if it does so every night
                with contextlib.suppress(Exception):  # the first error is the one to hear of
                    _prune(work)
                raise
            about = registry.show(version)
            summary = {
                **work.about(),
                "version": version,
                "model_id": about["model_id"],
                **decided,
                "span": about["span"],
                "source": told_of(extract),
                "seconds": dict(work.seconds),
            }
            sink.finish(attempt, "ok", summary)
    work.say("fit", version=version, role=decided["role"], seconds=work.seconds)
    _prune(work)
    return summary


def _prune(work: Work) -> None:
    """Remove old versions, if so configured, but not the champion of the date, which may be one."""
    keep = work.config.fit.keep
    if keep is None:
        return
    champion = work.champion()
    needed = () if champion is None else (champion,)
    gone = work.registry.prune(keep, needed=needed, why=f"keep = {keep}")
    if gone:
        work.say("pruned", versions=gone)


def due(work: Work) -> str | None:
    """Why a fit is due at the date, or None.

    It is the newest fit of these parameters that counts, champion or not: a challenger that has
    lost, or a champion that was rolled back, is not fitted again at once. A version that never had
    a role was left by a process that was killed, and does not count.
    """
    if work.champion() is None:
        return "no model for this date"
    every = work.config.fit.every
    if every == "never":
        return None
    own, digest = str(work.as_of.run_date), model_digest(work.config)
    dates = []
    placed = {event["version"] for event in work.registry.aliases()["history"]}
    for version in placed.intersection(work.registry.versions()):
        with contextlib.suppress(ModelError):  # a broken one that is not needed
            about = work.registry.show(version)
            if about["model_digest"] == digest and str(about["run_date"]) <= own:
                dates.append(str(about["run_date"]))
    if not dates:
        return "no fit with these parameters"
    if pd.Timestamp(max(dates)) + as_offset(every) <= pd.Timestamp(own):
        return f"the last fit is of {max(dates)}, every {every}"
    return None


def contested(work: Work, version: str, panel: pd.DataFrame) -> Summary:
    """Set a challenger against the champion of the date, both fitted anew on the same past."""
    from sklearn.base import clone

    registry, champion = work.registry, work.champion()
    if champion is None:
        raise no_model(work)
    begun = time.perf_counter()
    panel = within(panel, work.config.fit.window)
    with blamed(work, panel):
        found = contest(
            clone(registry.load(version)),
            clone(registry.load(champion)),
            panel,
            work.config.backtest,
            events=work.config.model.kind == "event",
            alpha=work.config.fit.alpha,
        )
    work.say("contest", challenger=version, champion=champion, better=found.better)
    return {
        "better": found.better,
        "why": found.why,
        "challenger": version,
        "against": champion,
        **found.about,
        "seconds_contest": since(begun),
    }


def within(panel: pd.DataFrame, window: str | None) -> pd.DataFrame:
    """Rows of the last so long, counted from the newest one of all."""
    if window is None:
        return panel
    layout = layout_of(panel)
    from_then = layout.last_time() - as_offset(window)
    return panel[layout.per_row(np.asarray(layout.labels > from_then))]


def _fitted(work: Work, extract: Extract, panel: pd.DataFrame, together: bool) -> Any:
    estimator = estimators(work.config)[0]
    with work.timed("fit"), blamed(work, panel), contextlib.ExitStack() as stack:
        if together:
            _join(stack, work, extract)
        estimator.fit(panel)
    return estimator


def _join(stack: contextlib.ExitStack, work: Work, extract: Extract) -> None:
    """Enter the company of the other processes, if they have read the same."""
    from tsforecast.nn.ranks import joined

    company = stack.enter_context(joined())
    own = (work.config.digest(), extract.digest)
    if company.from_first(own) != own:
        raise SourceError.of(
            "job and source",
            expected="the same for all processes of the fit",
            found=f"other rows or parameters in process {company.rank} than in process 0",
            advice="They were changed while they were read: run again.",
        )


def _kept(work: Work, estimator: Any, about: Summary) -> str:
    try:
        return work.registry.add(estimator, about)
    except TypeError as error:  # of `save`: a model with a part that has no saved form
        raise ConfigError(f"[model] {error}") from error


def _about_model(work: Work, extract: Extract, panel: pd.DataFrame) -> Summary:
    """What the registry keeps of a fit; no row of it."""
    layout = layout_of(panel)
    first = layout.time_at(int(layout.starts[np.argmin(layout.when(layout.starts))]))
    return {
        "job": work.config.job.name,
        "run_date": str(work.as_of.run_date),
        "cutoff": str(layout.last_time()),
        "span": {
            "first": str(first),
            "last": str(layout.last_time()),
            "series": layout.n_series,
            "rows": layout.n_rows,
        },
        "window": work.config.fit.window,
        "config_digest": work.config.digest(),
        "model_digest": model_digest(work.config),
        "data_digest": extract.digest,
        "rejects": len(extract.rejects),
        "seconds": dict(work.seconds),
        "profile": training_profile(panel),
    }


def _placed(work: Work, version: str, panel: pd.DataFrame) -> Summary:
    """Decide what becomes of a new version."""
    registry, usable = work.registry, work.champion()
    how = work.config.fit.promote
    if usable is None:
        return _crowned(work, version, "no champion before it")
    same = registry.show(usable)["model_digest"] == model_digest(work.config)
    if how == "always" or (how == "if_better" and same):
        why = "a refit of the champion" if same else "promote = 'always'"
        return _crowned(work, version, why)
    if how == "by_hand":
        return _waits(work, version, "promote = 'by_hand'")
    try:
        found = contested(work, version, panel)  # a kill in here leaves a version without a role
    except (SourceError, ConfigError) as error:  # such as too short a past: the champion is sound
        why = f"no contest with version {usable} could be held: {error}"
        work.say("no contest", level=logging.WARNING, challenger=version, champion=usable, why=why)
        return _waits(work, version, why)
    place = _crowned if found["better"] else _waits
    return {**place(work, version, found["why"]), "contest": found}


def _crowned(work: Work, version: str, why: str) -> Summary:
    """Make a version champion from its date on, and say whether it is that of its date now."""
    work.registry.succeed(version, why=why)
    champion = work.champion()
    if champion == version:
        return {"role": "champion", "why": why}
    stays = f"version {champion}, promoted by hand, stays champion of this date"
    return {"role": "former", "why": f"{why}; but {stays} until it is rolled back"}


def _waits(work: Work, version: str, why: str) -> Summary:
    work.registry.challenge(version, why=why)
    return {"role": "challenger", "why": why}
