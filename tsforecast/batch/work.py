"""What all verbs of a job share: lock, log and ledger, what is read, and who is to blame."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import socket
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import DataError
from tsforecast.batch.asof import AsOf
from tsforecast.batch.config import JobConfig, as_offset, build_baseline, build_estimator
from tsforecast.batch.exits import (
    DISK,
    ConfigError,
    JobError,
    LockedError,
    ModelError,
    RejectsError,
    SourceError,
    StaleError,
    exit_code,
    terminable,
)
from tsforecast.batch.files import job_lock, refused, sweep_temp
from tsforecast.batch.ledger import FIT, Attempt, Sink
from tsforecast.batch.parts import (
    SKIP_LATE,
    SKIP_MISSING,
    Texts,
    hashed,
    series_names,
    treatments,
    without_names,
    without_values,
)
from tsforecast.batch.registry import Registry
from tsforecast.batch.sinks import open_sink
from tsforecast.batch.sources import Extract, read_source
from tsforecast.data.panel import layout_of

__all__ = [
    "SKIPPED",
    "Summary",
    "Work",
    "at_work",
    "blamed",
    "end_of",
    "estimators",
    "host",
    "in_ledger",
    "looked_at",
    "model_digest",
    "n_series",
    "no_model",
    "registry_of",
    "require",
    "require_columns",
    "require_few_rejects",
    "since",
    "source_rejects",
    "told_of",
]

_LOG = logging.getLogger("tsforecast")
_SHOWN = 60  # characters of a name
_MOST_SAID = 3  # reasons of rejects
SKIPPED = (SKIP_LATE, SKIP_MISSING)
"""Stages of rejects that are as configured: they are not among those that fail."""
Summary = dict[str, Any]


@dataclass
class Work:
    """A run under way: what it is about, what it has read, how long things took."""

    config: JobConfig
    as_of: AsOf
    dry_run: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    in_ledger: bool = False  # whether there is a line of what is being done
    rejects: pd.DataFrame | None = None  # of the source, once it is read

    def say(self, event: str, *, level: int = logging.INFO, **fields: Any) -> None:
        """Write a line of JSON to the log."""
        about = {"event": event, "job": self.config.job.name, "run_date": str(self.as_of.run_date)}
        _LOG.log(level, json.dumps({**about, **fields}, default=str))

    def about(self) -> Summary:
        """Name job, run date and configuration."""
        return {
            "job": self.config.job.name,
            "run_date": str(self.as_of.run_date),
            "config_digest": self.config.digest(),
            "dry_run": self.dry_run,
        }

    def read(self) -> Extract:
        """Read what is known at the cut."""
        with self.timed("read"):
            extract = read_source(self.config.source, self.as_of)
        self.rejects = source_rejects(self.config, extract)
        self.say("read", **told_of(extract))
        return extract

    def treatments(self, panel: pd.DataFrame, columns: list[Any]) -> Texts:
        """Say how each series is forecast; a policy of "fail" is an error here."""
        if not len(panel):
            return np.empty(0, dtype=object)
        source, oldest = self.config.source, None
        if source.max_staleness is not None:
            zone = getattr(layout_of(panel).labels, "tz", None)
            oldest = end_of(self.as_of, zone) - as_offset(source.max_staleness)
        found = treatments(panel, columns, oldest=oldest, late=source.late, missing=source.missing)
        for stage in SKIPPED:
            failed = found == f"fail {stage}"
            if failed.any():
                raise StaleError.of(
                    f"series are {stage}",
                    expected=f"a newest row at or after {oldest}" if stage == SKIP_LATE
                    else f"values of {columns} at the newest row",
                    found=f"{int(failed.sum())} of {len(found)} series without, "
                    f"{self.named(series_names(panel)[failed])}",
                    advice=f"Run again when they have come, or choose another [source] {stage}.",
                )  # fmt: skip
        if np.isin(found, SKIPPED).all():
            raise StaleError.of(
                "nothing to forecast",
                expected="series that are neither late nor missing",
                found=f"{dict(Counter(map(str, found)))}",
                advice="Run again when the source has newer rows.",
            )
        return found

    def named(self, names: Any) -> str:
        """The first few names of series, as they may be said."""
        shown = [
            hashed(name) if self.config.job.hash_ids else _on_a_line(name) for name in names[:3]
        ]
        return ", ".join(shown) + (" and others" if len(names) > 3 else "")

    @cached_property
    def registry(self) -> Registry:
        """The registry of the job's model."""
        return registry_of(self.config)

    def champion(self) -> str | None:
        """Give the champion of the run date: one that has seen no row after the cut.

        The latest that was fitted for an earlier date, or the same: one of a later date changes no
        repeat. Only where there is none, and rows are not known later than they are stamped, the
        latest whose last row is not after the cut.
        """
        own = str(self.as_of.run_date)

        def by_then(about: Mapping[str, Any]) -> bool:
            return str(about["run_date"]) <= own

        def no_later_row(about: Mapping[str, Any]) -> bool:
            cutoff = pd.Timestamp(about["cutoff"])
            return bool(cutoff < end_of(self.as_of, cutoff.tz))

        found = self.registry.champion_where(by_then)
        if found is None and self.config.source.available_column is None:
            found = self.registry.champion_where(no_later_row)
        return found

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time that something takes to `seconds`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = round(self.seconds.get(what, 0.0) + since(begun), 4)


def registry_of(config: JobConfig) -> Registry:
    """Give the registry of a job's model: two jobs in one folder have one each."""
    return Registry(config.job.folder / "models", f"{config.job.name}.{config.model.name}")


@contextlib.contextmanager
def at_work(
    config: JobConfig, as_of: AsOf, *, dry_run: bool = False, alone: bool = True
) -> Iterator[Work]:
    """Turn SIGTERM into an exit, hold the lock and sweep if `alone`, and say how it ends.

    In the log, and where it ends before the ledger has a line of it also there, if `alone`.
    """
    work = Work(config, as_of, dry_run)
    with contextlib.ExitStack() as stack:
        stack.enter_context(terminable())
        if alone:
            stack.enter_context(job_lock(config.job.folder, config.job.name))
            swept = sweep_temp(config.job.folder) + work.registry.sweep()
            if swept:
                work.say("swept", files=swept)
        try:
            with _written_or_said(config.job.folder):
                yield work
        except BaseException as error:
            work.say("failed", **_why(error))
            if alone and not dry_run and not work.in_ledger:
                _add_to_ledger(work, error)
            raise


def _why(error: BaseException) -> Summary:
    """What log and ledger say of an error: no text but of ours, others may hold values."""
    about: Summary = {"error": type(error).__name__, "exit_code": int(exit_code(error))}
    return about | ({"message": str(error)} if isinstance(error, JobError) else {})


def _add_to_ledger(work: Work, error: BaseException) -> None:
    """Add a line of a run that has ended before it began to write; if that fails, it is said."""
    if isinstance(error, LockedError):  # another host is at work: it has the ledger
        return
    config = work.config
    with _said_if_lost(work), open_sink(config.sink, config.job.name) as sink:
        date, digest = work.as_of.run_date, config.digest()
        sink.add_failed(date, digest, _why(error), rejects=work.rejects, about=host())


@contextlib.contextmanager
def _said_if_lost(work: Work) -> Iterator[None]:
    """Say of an error that it has kept a line from the ledger; what is raised is another one."""
    try:
        yield
    except Exception as error:
        work.say("not in the ledger", level=logging.WARNING, **_why(error))


@contextlib.contextmanager
def _written_or_said(folder: Path) -> Iterator[None]:
    """Say of lost workers that they are, and of a full or read-only disk which file it was about.

    An error of a write names none: what a job writes beside its sink lies in its `folder`.
    """
    try:
        yield
    except BrokenExecutor as error:
        raise JobError.of(
            "workers",
            expected="processes that live to the end of a part",
            found="that they were ended, again and again",
            advice="Look for a lack of memory, take fewer [run] workers or a smaller [job] "
            "part_size, and run again: it goes on from here.",
        ) from error
    except OSError as error:
        if error.errno not in DISK:
            raise
        what = f"file {error.filename}" if error.filename else f"a file, likely below {folder}"
        raise refused(what, error) from error


@contextlib.contextmanager
def in_ledger(work: Work, sink: Sink, attempt: Attempt) -> Iterator[None]:
    """Mark an attempt as failed, if it does; a sink that is gone has no say in what is raised."""
    work.in_ledger = True
    try:
        yield
    except BaseException as error:
        if not attempt.done:
            with _said_if_lost(work):
                sink.finish(attempt, "failed", _why(error))
        raise
    work.in_ledger = attempt.key.model_id != FIT  # what follows a fit has no line yet


@contextlib.contextmanager
def blamed(work: Work, panel: pd.DataFrame) -> Iterator[None]:
    """Say of an error in fit or backtest whether data or parameters are at fault.

    What is said, warnings included, holds no value of the data, and names as they may be said.
    """
    try:
        with _warned(work, panel):
            yield
    except DataError as error:
        raise SourceError(_told(work, panel, error)) from error
    except ValueError as error:
        named = re.match(r"parameter '(\w+)'", str(error))
        if named is None:
            raise
        place, text = work.config.model.place_of_parameter(named[1]), _told(work, panel, error)
        if place.endswith(f".{named[1]}"):
            text = text.removeprefix(f"{named[0]}: ")
        raise ConfigError(f"{place}: {text}") from error


def _told(work: Work, panel: pd.DataFrame, error: Exception | str) -> str:
    text = without_values(str(error)) if isinstance(error, DataError) else str(error)
    return without_names(text, list(series_names(panel))) if work.config.job.hash_ids else text


@contextlib.contextmanager
def _warned(work: Work, panel: pd.DataFrame) -> Iterator[None]:
    """Put check sums in place of names in warnings, if so asked."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def told(message: Warning | str, category: type[Warning], *where: Any) -> None:
            show(_told(work, panel, message), category, *where)

        if work.config.job.hash_ids:
            warnings.showwarning = told  # type: ignore[assignment]
        yield


def _on_a_line(name: Any) -> str:
    """Give a name such that it stands on one line, and moves no terminal."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def estimators(config: JobConfig) -> list[Any]:
    """The model and the baselines of its backtest, unfitted."""
    baselines = [build_baseline(name, config.model) for name in config.backtest.baselines]
    if config.model.kind == "event" and "fallback_naive" in (
        config.source.late,
        config.source.missing,
    ):
        raise ConfigError.of(
            "[source] late, missing",
            expected="'fail', 'skip' or 'use_last' for a model of risks",
            found="'fallback_naive'",
            advice="There is no naive risk.",
        )
    return [build_estimator(config.model), *baselines]


def looked_at(model: Any, panel: pd.DataFrame) -> list[Any]:
    """Columns without any of which the newest row of a series counts as missing."""
    if hasattr(model, "predict_risk"):
        return list(getattr(model, "inputs_", panel.columns))
    if hasattr(model, "targets_"):
        return list(model.targets_)
    target = getattr(model, "target", None)
    if target is None:
        return list(panel.columns[:1])
    return list(target) if isinstance(target, list | tuple) else [target]


def require_columns(config: JobConfig, extract: Extract) -> None:
    """Raise if the panel lacks a target of the configured model."""
    model = estimators(config)[0]
    wanted = [] if config.model.kind == "event" else looked_at(model, extract.panel)
    require(wanted, extract)


def require(columns: list[Any], extract: Extract) -> None:
    """Raise if the panel lacks one of these columns."""
    missing = [name for name in columns if name not in extract.panel]
    if missing and len(extract.panel):
        raise SourceError.of(
            "columns are missing",
            expected=f"columns {columns}, which the model wants",
            found=f"{list(extract.panel.columns)}",
            advice=f"Missing: {missing}. Read them: [source] columns.",
        )


def require_few_rejects(
    work: Work, failed: int, series: int, rejects: pd.DataFrame | None = None
) -> None:
    """Raise if more of the series failed than the job allows, or all of them.

    `rejects` are those that are written nowhere: their first reasons are in the error.
    """
    most = work.config.job.max_reject_fraction
    if series == 0 or not failed:
        if series == 0:
            raise SourceError.of(
                "the source is empty",
                expected=f"rows up to {work.as_of.run_date}",
                found="none",
                advice="Look at path, query and run date.",
            )
        return
    if failed == series or failed / series > most:
        told = "" if rejects is None else _reasons(rejects)
        look = "" if told else "Look at the rejects: stage, class and message say why. "
        raise RejectsError.of(
            "too many series failed",
            expected=f"at most {most:.1%} of {series}",
            found=f"{failed}{told}",
            advice=f"{look}Mend the source, or allow more with [job] max_reject_fraction.",
        )


def _reasons(rejects: pd.DataFrame) -> str:
    """The most frequent reasons, and how many series have each.

    Those of the source hold no value; the number of rows is left out, which is another one for
    every series. Of later stages the class alone is said: their messages may hold values.
    """
    lines = zip(rejects["stage"], rejects["error"], rejects["message"])
    reasons = (
        f"{error}: {re.sub(r' [(][0-9]+ rows[)]$', '', text)}" if stage == "read" else error
        for stage, error, text in lines
    )
    counted = Counter(reasons)
    first = [f"{n} with {reason}" for reason, n in counted.most_common(_MOST_SAID)]
    others = "; and others" if len(counted) > len(first) else ""
    return f", {'; '.join(first)}{others}" if first else ""


def source_rejects(config: JobConfig, extract: Extract) -> pd.DataFrame:
    """Series that the source has rejected, with names as they may be said."""
    rejects = extract.rejects
    if not (config.job.hash_ids and len(rejects)):
        return rejects
    texts = zip(rejects["message"], rejects["series"])
    return rejects.assign(
        message=[without_names(str(text), [name]) for text, name in texts],
        series=[hashed(name) for name in rejects["series"]],
    )


def n_series(extract: Extract) -> int:
    """Series of the source, those that it has rejected among them."""
    good = layout_of(extract.panel).n_series if len(extract.panel) else 0
    return good + len(extract.rejects)


def model_digest(config: JobConfig) -> str:
    """Check sum of what decides a model but for its rows."""
    decides = [config.model.estimator, config.model.parameters, config.source.columns]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()


def no_model(work: Work) -> ModelError:
    """Build (not raise) the error for a date without a model."""
    versions = work.registry.versions()
    return ModelError.of(
        f"no model for run date {work.as_of.run_date}",
        expected="a champion that has seen no row after the cut",
        found=f"{len(versions)} versions, none of them that" if versions else "no model at all",
        advice="Fit one as of this date: `tsforecast fit --run-date ...`.",
    )


def told_of(extract: Extract) -> Summary:
    """Give the counts of what was read, and its check sum."""
    return {
        "rows": int(extract.rows),
        "series": n_series(extract),
        "latest": None if extract.latest is None else str(extract.latest),
        "rejects": len(extract.rejects),
        "dropped": dict(extract.dropped),
        "digest": extract.digest,
    }


def end_of(as_of: AsOf, zone: Any) -> pd.Timestamp:
    """Give the first time after the run date, on a clock with a zone or without one."""
    if zone is None:
        return pd.Timestamp(as_of.clock)
    return pd.Timestamp(as_of.moment).tz_convert(zone)


def host() -> Summary:
    """Name the machine and the versions of libraries, for the ledger."""
    libraries = ("numpy", "pandas", "torch", "tsforecast")
    return {"host": socket.gethostname(), **{name: version(name) for name in libraries}}


def since(begun: float) -> float:
    """Give the seconds since a reading of `time.perf_counter`."""
    return round(time.perf_counter() - begun, 4)
