"""Whether a job can still be trusted: inputs, data, model, and what has become of its forecasts.

The monitor reads the rows of the run, which end at its cut, and forecasts of earlier run dates; it
writes nothing but its findings.  It never holds forecasts back: they are written, and seen, before
a limit that is exceeded ends the run with an exit code of its own.

==============  =================================================================  =============
limits          of what                                                            exit code of
                                                                                   ``_fail``
==============  =================================================================  =============
``staleness``   age of the newest row of the source at the end of the run date     4, stale
``psi``         population stability index of an input                             3, data
``missing``     share of missing values of an input, above that of the training    3, data
``range``       share of values of an input outside the range of the training      3, data
``error``       mean absolute error of matured forecasts over that of the naive;   6, model
                of risks the Brier score over that of the base rate
``coverage``    distance of the coverage of matured intervals from their level     6, model
``model_age``   age of the newest row that the model was trained on                6, model
==============  =================================================================  =============

If several fail, the one that stands first here decides: a run on stale data is repeated when they
have come.  A repeat finds the same, and ends with the same code, until data, model or limits are
others.

Which rows are new.  Inputs are compared over the rows that the run adds: those after the run date
of the last complete run before it, or of the fit if there was none.  Older rows were judged before,
and would hide a break of today.  Where these are fewer than ``least``, so many of the newest times
are taken that there are as many.

What chance can do is not said.  PSI and range count rows as independent as they were in training
(`tsforecast.batch.drift`): of the closes of the S&P 500, 100 new rows always have a PSI above 0.25.
Nor is what is usual: an input has drifted if it has done so farther than parts of the training had
against the parts before them.
Errors and coverage must be off by more than their limit in a Diebold-Mariano test over run dates,
at 1 %, and coverage beside its binomial band (95 %, forecasts taken for independent); with fewer
than ten run dates, or twice the horizon, it cannot be told, and the state is ``"unknown"``.  Every
check is made anew each day, so that in 100 days one of 1 % cries wolf once, or, as days overlap,
for some days in a row.  Intervals that do not widen when volatility does are off for weeks at a
time, and are said to be.

No name of a series and no value of the data is among the findings; ratios and shares are given once
they rest on ``least`` forecasts or rows.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import DataError
from tsforecast.batch.asof import AsOf
from tsforecast.batch.config import MonitorConfig, as_offset
from tsforecast.batch.drift import CHANCE, added_rows, drift_of
from tsforecast.batch.exits import ExitCode, JobError, ModelError, SourceError, StaleError
from tsforecast.batch.ledger import FIT, Sink
from tsforecast.batch.matured import (
    errors_of,
    interval_of,
    matured_forecasts,
    matured_risks,
    on_clock_of,
    overlap_of,
    risk_errors_of,
    sampled,
    worse,
)
from tsforecast.batch.sources import Extract
from tsforecast.batch.work import Summary, Work, end_of
from tsforecast.data.panel import Floats, layout_of

__all__ = ["monitor", "require_sound"]

_CODES: dict[str, ExitCode] = {
    "staleness": ExitCode.STALE,
    "psi": ExitCode.DATA,
    "missing": ExitCode.DATA,
    "range": ExitCode.DATA,
    "error": ExitCode.MODEL,
    "coverage": ExitCode.MODEL,
    "model_age": ExitCode.MODEL,
}
_ERRORS: dict[ExitCode, type[JobError]] = {
    ExitCode.STALE: StaleError,
    ExitCode.DATA: SourceError,
    ExitCode.MODEL: ModelError,
}
_WORDS = {
    "staleness": "age of the newest row",
    "psi": "population stability index of input",
    "missing": "missing values above those of the training, of input",
    "range": "values outside the range of the training, of input",
    "error": "error over that of the naive forecast, of",
    "coverage": "distance of coverage from its level, of",
    "model_age": "age of the newest row that the model was trained on",
}
_MOST_SERIES = 1_000  # whose forecasts are judged
_ROUNDING = 1e-6
_LEVELS = ("ok", "warn", "fail")


class _Findings:
    """What is beyond its limit, as it is found."""

    def __init__(self, work: Work) -> None:
        self.work, self.limits = work, work.config.monitor
        self.said: dict[str, list[str]] = {"warn": [], "fail": []}
        self.code = ExitCode.OK

    def on(self, date: dt.date) -> AsOf:
        """The cut of another run date."""
        return AsOf(date, self.work.as_of.timezone)

    def look(
        self,
        check: str,
        of: str | None,
        value: float | None,
        beyond: Callable[[float], bool | None] = lambda limit: True,
    ) -> str:
        """Compare a number with its limits, beyond which chance must not explain it."""
        if value is None:
            return "unknown"
        for level in ("fail", "warn"):
            limit = getattr(self.limits, f"{check}_{level}")
            if value > limit + _ROUNDING and beyond(limit):
                self._say(level, check, of, round(value, 6), limit)
                return level
        return "ok"

    def look_at_age(self, check: str, newest: pd.Timestamp, end: pd.Timestamp) -> str:
        """Compare an age with its limits, which are spans of the calendar."""
        for level in ("fail", "warn"):
            limit = getattr(self.limits, f"{check}_{level}")
            if limit is not None and newest < end - as_offset(limit):
                self._say(level, check, None, str(end - newest), limit)
                return level
        return "ok"

    def _say(self, level: str, check: str, of: str | None, found: Any, limit: Any) -> None:
        what = _WORDS[check] if of is None else f"{_WORDS[check]} {of!r}"
        self.said[level].append(f"{what}: {found}, limit {limit}")
        if level == "fail" and (self.code == ExitCode.OK or _first(_CODES[check], self.code)):
            self.code = _CODES[check]
        about = {"check": check, "of": of, "found": found, "limit": limit}
        self.work.say("monitor", level=logging.WARNING, state=level, **about)


def monitor(
    work: Work, extract: Extract, model: Any, about: dict[str, Any], sink: Sink | None
) -> Summary:
    """Look at inputs, data, model, and what has become of earlier forecasts.

    Parameters
    ----------
    work : Work
    extract : Extract
        What the run has read.
    model : estimator
        The champion of the date.
    about : dict
        What the registry keeps of it.
    sink : Sink or None
        Where earlier forecasts are read from; None if there are none.

    Returns
    -------
    dict
        ``status`` (``"ok"``, ``"warn"``, ``"fail"``), ``exit_code``, ``warnings`` and ``failures``
        (sentences); ``inputs`` by column, ``staleness``, and ``forecasts`` by target (or
        ``risks``); ``left_out``, how many earlier run dates are not judged, as their times have a
        zone where those of the source have none now, or the reverse. Wherever there is a ``state``
        it is that of the limits, or ``"unknown"``.
    """
    with work.timed("monitor"):
        found = _Findings(work)
        earlier = _earlier(work, sink)
        panel = extract.panel
        events = hasattr(model, "predict_risk")
        summary: Summary = {
            "staleness": _staleness(found, extract, about),
            "inputs": _inputs(found, panel, model, about, earlier),
        }
        chosen, names = sampled(panel, _MOST_SERIES)
        every = [] if sink is None else _read(sink, earlier, found.limits, names, events=events)
        shown = on_clock_of(panel, every) if len(panel) else every
        summary["left_out"] = len(every) - len(shown)
        if summary["left_out"]:
            why = "their times have a zone, and those of the source none, or the reverse"
            work.say("left out", level=logging.WARNING, run_dates=summary["left_out"], why=why)
        if events:
            summary["risks"] = _risks(found, chosen, shown, model)
        else:
            summary["forecasts"] = _forecasts(found, chosen, shown, model)
    status = next((level for level in ("fail", "warn") if found.said[level]), "ok")
    work.say("monitored", status=status, exit_code=int(found.code), run_dates=len(shown))
    return {
        "status": status,
        "exit_code": int(found.code),
        "warnings": found.said["warn"],
        "failures": found.said["fail"],
        **summary,
    }


def require_sound(summary: Summary) -> Summary:
    """Give the summary of a run back, unless its monitor has failed.

    Raises
    ------
    StaleError, SourceError, ModelError
        By the table above. The error has the `summary`.
    """
    found = summary["monitor"]
    if found["status"] != "fail":
        return summary
    written = "Nothing was written" if summary["dry_run"] else "The forecasts are written, and seen"
    error = _ERRORS[ExitCode(found["exit_code"])].of(
        "the monitor",
        expected="nothing beyond the limits of [monitor]",
        found="; ".join(found["failures"]),
        advice=f"{written}. Look at the source, fit anew, or raise the limit that is too strict.",
    )
    error.summary = summary
    raise error


# ------------------------------------------------------------------------------------------- parts


def _staleness(found: _Findings, extract: Extract, about: dict[str, Any]) -> Summary:
    """Age of the newest row, of the source and of the training."""
    as_of, layout = found.work.as_of, layout_of(extract.panel)
    summary: Summary = {"state": "unknown", "age_days": None, "series_behind": None}
    if extract.latest is not None:
        latest, ends = extract.latest, layout.when(layout.stops - 1)
        end = end_of(as_of, latest.tz)
        summary |= {
            "state": found.look_at_age("staleness", latest, end),
            "age_days": _days(end - latest),
            "series_behind": int((ends < ends.max()).sum()),
        }
    cutoff = pd.Timestamp(about["cutoff"])
    end = end_of(as_of, cutoff.tz)
    state = found.look_at_age("model_age", cutoff, end)
    return summary | {"model_state": state, "model_age_days": _days(end - cutoff)}


def _inputs(
    found: _Findings,
    panel: pd.DataFrame,
    model: Any,
    about: dict[str, Any],
    earlier: list[dt.date],
) -> Summary:
    """Drift of every input against the training."""
    if not len(panel):
        return {}
    zone = getattr(layout_of(panel).labels, "tz", None)
    last = earlier[-1] if earlier else dt.date.fromisoformat(about["run_date"])
    since = end_of(found.on(last), zone)
    rows = added_rows(panel, since, found.limits.least)
    wanted = model._columns() if hasattr(model, "_columns") else panel.columns
    summary: Summary = {}
    for name in wanted:
        known = about["profile"].get(str(name))
        if known is None or name not in rows or "usual" not in known:
            continue
        summary[str(name)] = _input(found, str(name), rows[[name]], known)
    return summary


def _input(found: _Findings, name: str, rows: pd.DataFrame, known: dict[str, Any]) -> Summary:
    if len(rows) < found.limits.least:
        return {"rows": len(rows), "state": "unknown"}
    each = drift_of(rows, known)
    states = [found.look("missing", name, each["missing"] - each["missing_training"])]
    if each["psi"] is not None:
        drifted = each["psi"] > max(each["psi_chance"], each["psi_usual"])
        left = each["outside_chance"] < CHANCE and each["outside"] > each["outside_usual"]
        states.append(found.look("psi", name, each["psi"], lambda limit: drifted))
        states.append(found.look("range", name, each["outside"], lambda limit: left))
    return {**_rounded(each), "state": _worst(states)}


def _forecasts(
    found: _Findings, panel: pd.DataFrame, shown: list[pd.DataFrame], model: Any
) -> Summary:
    """Error and coverage of matured forecasts, by target."""
    if not shown or not len(panel):
        return {}
    given = pd.concat(shown, ignore_index=True)
    interval = interval_of(given)
    matured = matured_forecasts(panel, given)
    matured["origin"] = matured["cutoff"]
    summary: Summary = {}
    for target, rows in matured.groupby("target"):
        if len(rows) < found.limits.least:
            summary[str(target)] = {"n": len(rows), "state": "unknown"}
            continue
        each = errors_of(rows)
        overlap = overlap_of(panel, rows, int(rows["step"].max()))
        each |= _error(
            found,
            str(target),
            each["ratio"],
            rows,
            (rows["forecast"] - rows["actual"]).abs().to_numpy(),
            (rows["naive"] - rows["actual"]).abs().to_numpy(),
            overlap,
        )
        if interval is not None:
            each["coverage"] = _coverage(found, rows, str(target), interval, overlap)
        summary[str(target)] = _rounded(each)
    return summary


def _error(
    found: _Findings,
    of: str,
    ratio: float | None,
    rows: pd.DataFrame,
    loss: Floats,
    plain: Floats,
    overlap: int,
) -> Summary:
    """Compare a ratio of losses with its limits; `beyond_chance`: whether it is above 1 at all."""
    p = worse(rows, loss, plain, overlap=overlap)
    state = found.look(
        "error", of, ratio, lambda limit: _beyond(worse(rows, loss, limit * plain, overlap=overlap))
    )
    told = None if p is None else _beyond(p)
    return {"beyond_chance": told, "state": "unknown" if p is None else state}


def _coverage(
    found: _Findings,
    rows: pd.DataFrame,
    target: str,
    interval: tuple[str, str, float],
    overlap: int,
) -> Summary:
    """Share of outcomes inside the interval, and the band that independent ones would keep to."""
    from scipy.stats import binom

    low, high, level = interval
    rows = rows[rows[low].notna() & rows[high].notna()]
    if len(rows) < found.limits.least:
        return {"n": len(rows), "level": level, "state": "unknown"}
    inside = ((rows[low] <= rows["actual"]) & (rows["actual"] <= rows[high])).to_numpy()
    share = float(inside.mean())
    side = 1.0 if share > level else -1.0
    band = [float(binom.ppf(p, len(rows), level) / len(rows)) for p in (0.025, 0.975)]

    def chance(limit: float) -> float | None:
        off = side * (inside - level) - limit  # above 0 on average if it is off by more
        return worse(rows, np.maximum(off, 0.0), np.maximum(-off, 0.0), overlap=overlap)

    def beyond(limit: float) -> bool:
        return _beyond(chance(limit)) and not band[0] <= share <= band[1]

    state = found.look("coverage", target, abs(share - level), beyond)
    return {
        "n": len(rows),
        "level": level,
        "coverage": share,
        "low": band[0],
        "high": band[1],
        "state": "unknown" if chance(0.0) is None else state,
    }


def _risks(found: _Findings, panel: pd.DataFrame, shown: list[pd.DataFrame], model: Any) -> Summary:
    """What came of matured risks."""
    task = model._task()
    if not shown or not len(panel):
        return {}
    if missing := [name for name in task.columns() if name not in panel]:
        return {"n": 0, "state": "unknown", "why": f"the source lacks {missing}"}
    zone = getattr(layout_of(panel).labels, "tz", None)
    try:
        rows = matured_risks(
            panel, pd.concat(shown, ignore_index=True), task,
            lambda date: end_of(found.on(date), zone),
        )  # fmt: skip
    except DataError as error:  # such as an outcome that changes; its text may name series
        return {"n": 0, "state": "unknown", "why": f"no labels: {type(error).__name__}"}
    if len(rows) < found.limits.least:
        return {"n": len(rows), "state": "unknown"}
    each = risk_errors_of(rows)
    rows = rows[rows["base"].notna()].assign(origin=rows["time"])
    horizon = 1 if task.horizon is None else task.horizon
    overlap = overlap_of(panel, rows, horizon)
    loss = np.square((rows["risk"] - rows["event"]).to_numpy(np.float64))
    base = np.square((rows["base"] - rows["event"]).to_numpy(np.float64))
    event = task.event if isinstance(task.event, str) else "event"
    each |= _error(found, event, each["ratio"], rows, loss, base, overlap)
    return {name: _rounded(value) for name, value in each.items()}


# ----------------------------------------------------------------------------------------- reading


def _earlier(work: Work, sink: Sink | None) -> list[dt.date]:
    """Earlier run dates with a complete run, in order."""
    if sink is None:
        return []
    runs = sink.runs()
    complete = runs["visible"].astype(bool) & (runs["model"] != FIT)
    return sorted({date for date in runs["run_date"][complete] if date < work.as_of.run_date})


def _read(
    sink: Sink,
    earlier: list[dt.date],
    limits: MonitorConfig,
    names: list[str] | None,
    *,
    events: bool,
) -> list[pd.DataFrame]:
    """Forecasts of the last run dates."""
    read = sink.risks if events else sink.forecasts
    frames = [read(date, series=names) for date in earlier[-limits.window :]]
    return [rows for rows in frames if len(rows)]


# ------------------------------------------------------------------------------------------- words


def _beyond(p: float | None) -> bool:
    return p is not None and p < CHANCE


def _worst(states: list[str]) -> str:
    known = [state for state in states if state in _LEVELS]
    return max(known, key=_LEVELS.index) if known else "unknown"


def _first(code: ExitCode, other: ExitCode) -> bool:
    """Whether a code stands before another one in the table."""
    order = list(dict.fromkeys(_CODES.values()))
    return order.index(code) < order.index(other)


def _days(age: pd.Timedelta) -> float:
    return round(age / pd.Timedelta(days=1), 4)


def _rounded(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _rounded(value) for key, value in tree.items()}
    return round(tree, 6) if isinstance(tree, float) else tree
