"""Alarms: when to raise one, how many events they catch, how early, and at what burden.

A risk is no alarm yet.  A policy turns the risks of a stay into alarms, one row after the other;
what is counted are alarms and events, not rows.

Letters of shapes: N rows, R rows at risk, P patients, E events, b replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first, positive_int
from tsforecast.backtesting.eventframe import (
    Bools,
    EventRows,
    EventTable,
    duration_hours,
    event_rows,
    interval,
    replicates,
)
from tsforecast.data.panel import Floats, Ints

__all__ = ["AlarmPolicy", "AlarmState", "alarm_report", "recall_curve"]

_DAY = 24.0
_LEADS = {"lead_q10": 0.1, "lead_q25": 0.25, "lead_median": 0.5, "lead_q75": 0.75, "lead_q90": 0.9}


@dataclass(frozen=True)
class AlarmState:
    """What an `AlarmPolicy` remembers of a stay.

    Attributes
    ----------
    times : tuple
        Times of the last alarms, as many as the policy looks back on.
    low : bool
        Whether the risk has been below `rearm` since the last one.
    """

    times: tuple[Any, ...] = ()
    low: bool = True


@dataclass(frozen=True)
class AlarmPolicy:
    """A rule that turns risks into alarms.

    An alarm is raised at a row at risk whose risk is at least `threshold`, unless it is silenced.
    Each row is decided by the rows of its stay up to it.

    Parameters
    ----------
    threshold : float or dict of str to float, optional
        Of the risk; by model where models have their own. `fit` chooses it.
    silence : Timedelta, str or number
        Time after an alarm in which there is no other: the next may come `silence` after it. A
        number is one of hours; where time is a whole number, a step is read as an hour.
    rearm : float, optional
        Level, at most the threshold, below which the risk must have been since the last alarm.
    max_per_day : int, optional
        Most alarms of a stay within any 24 hours.

    Raises
    ------
    ValueError
        If a parameter cannot be used.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": "a", "time": range(6), "risk": [0.1, 0.6, 0.7, 0.2, 0.8, 0.9],
    ...     "event": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], "eligible": True, "at_risk": True,
    ...     "hours_to_event": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]})
    >>> AlarmPolicy(0.5, silence="2h").apply(frame).tolist()
    [False, True, False, False, True, False]

    Live, row by row:

    >>> policy, state, alarms = AlarmPolicy(0.5, silence="2h"), None, []
    >>> for hour, risk in enumerate(frame["risk"]):
    ...     alarm, state = policy.step(state, risk, hour)
    ...     alarms.append(alarm)
    >>> alarms
    [False, True, False, False, True, False]
    """

    threshold: float | Mapping[str, float] | None = None
    silence: Any = "6h"
    rearm: float | None = None
    max_per_day: int | None = None

    def __post_init__(self) -> None:
        _span_of("silence", self.silence)
        given = self.threshold
        levels = list(given.values()) if isinstance(given, Mapping) else [given]
        for name, level in [("rearm", self.rearm), *(("threshold", level) for level in levels)]:
            if level is not None and not _is_share(level):
                raise bad_parameter(name, expected="a risk from 0 to 1", found=level)
        for level in levels:
            if level is not None and self.rearm is not None and self.rearm > level:
                raise bad_parameter(
                    "rearm", expected=f"at most the threshold, {level}", found=self.rearm
                )
        if self.max_per_day is not None:
            positive_int("max_per_day", self.max_per_day)

    def apply(self, frame: pd.DataFrame) -> pd.Series:
        """Tell at which rows of an event frame an alarm is raised.

        Parameters
        ----------
        frame : DataFrame
            An event frame, of one model or several. Rows that are not at risk are passed over.

        Returns
        -------
        Series of bool
            On the index of the frame, ``"alarm"``.

        Raises
        ------
        DataError
            If the frame is none.
        ValueError
            If the policy has no threshold for a model of the frame.
        """
        rows = event_rows(frame)
        course = _Course.of(rows, self)
        flags = np.zeros(len(frame), dtype=bool)
        for m, name in enumerate(rows.models):
            alarms = course.alarms(rows.risk[m], self._threshold_of(name), self)
            flags[rows.place[m, alarms]] = True
        return pd.Series(flags, index=frame.index, name="alarm")

    def fit(self, frame: pd.DataFrame, *, alarms_per_patient_day: float) -> AlarmPolicy:
        """Choose the threshold that meets a budget of alarms.

        To be called with patients that neither the model nor the evaluation has: a threshold
        chosen on the patients that it is judged by flatters. `EventBacktest.alarms` does so fold
        by fold.

        Parameters
        ----------
        frame : DataFrame
            An event frame of validation patients.
        alarms_per_patient_day : float
            Alarms, true and false ones, per 24 hours at risk.

        Returns
        -------
        AlarmPolicy
            This policy with the smallest threshold that keeps to the budget; by model, where the
            frame has several.

        Raises
        ------
        DataError
            If the budget is out of reach: the patients are too few, or their risks all alike, for
            one alarm, or the policy cannot raise so many.
        ValueError
            If the budget is no positive number.
        """
        rows = event_rows(frame)
        course = _Course.of(rows, self)
        _check_budget("alarms_per_patient_day", alarms_per_patient_day)
        chosen = {}
        for m, name in enumerate(rows.models):
            found = course.threshold(rows.risk[m], self, alarms_per_patient_day)
            if isinstance(found, str):
                raise fail(
                    "budget out of reach",
                    expected=f"{alarms_per_patient_day:g} alarms per patient-day of model {name!r}",
                    found=f"{found} ({course.days:,.1f} patient-days at risk)",
                    advice="Choose another budget, a shorter silence, or more patients.",
                )
            chosen[name] = found
        return replace(self, threshold=chosen if len(chosen) > 1 else next(iter(chosen.values())))

    def step(self, state: AlarmState | None, risk: float, time: Any) -> tuple[bool, AlarmState]:
        """Decide on one row of a stay, after those before it: what `apply` says, live.

        Parameters
        ----------
        state : AlarmState or None
            What the step before returned; None at the first row of a stay.
        risk : float
            The risk at the row.
        time : Timestamp, Timedelta or number
            Its time; a number is one of hours. Not before that of the row before.

        Returns
        -------
        alarm : bool
        state : AlarmState
            To be given to the next step.

        Raises
        ------
        ValueError
            If the policy has no single threshold, or the risk is no probability.
        """
        threshold = self._threshold_of(None)
        if not _is_share(risk):
            raise bad_parameter("risk", expected="a probability from 0 to 1", found=risk)
        state = state or AlarmState()
        keep = self.max_per_day or 1
        low = state.low or self.rearm is None or risk < self.rearm
        quiet = not state.times or _passed(state.times[-1], time, _span_of("silence", self.silence))
        day = pd.Timedelta(hours=_DAY)
        spare = len(state.times) < keep or _passed(state.times[0], time, day)
        if not (risk >= threshold and low and quiet and (spare or self.max_per_day is None)):
            return False, replace(state, low=low)
        return True, AlarmState((*state.times, time)[-keep:], low=False)

    def _threshold_of(self, model: str | None) -> float:
        given = self.threshold
        if isinstance(given, Mapping):
            given = given.get(model) if model is not None else None
            if given is None:
                raise bad_parameter(
                    "threshold",
                    expected=f"a number{'' if model is None else f', or one for model {model!r}'}",
                    found=dict(self.threshold),  # type: ignore[arg-type]
                    advice="Take that of one model: replace(policy, threshold=...).",
                )
        if given is None:
            raise bad_parameter(
                "threshold",
                expected="a number",
                found=None,
                advice="Choose it on validation patients: policy.fit(frame, "
                "alarms_per_patient_day=1).",
            )
        return float(given)


def _is_share(value: Any) -> bool:
    number = isinstance(value, (int, float, np.integer, np.floating))
    return number and not isinstance(value, bool) and 0 <= value <= 1


def _span_of(name: str, value: Any) -> pd.Timedelta:
    """A span of time; a plain number is one of hours."""
    hours = duration_hours(name, value)
    plain = isinstance(value, (int, float, np.integer, np.floating))
    return pd.Timedelta(hours=hours) if plain else pd.Timedelta(value)


def _passed(since: Any, now: Any, span: pd.Timedelta) -> bool:
    gone = now - since
    if isinstance(gone, (int, float, np.integer, np.floating)):
        return bool(gone >= span / pd.Timedelta(hours=1))
    return bool(gone >= span)


def _check_budget(name: str, budget: Any) -> None:
    number = isinstance(budget, (int, float, np.integer, np.floating))
    if not number or isinstance(budget, bool) or not 0 < budget < np.inf:
        raise bad_parameter(name, expected="a number of alarms above 0", found=budget)


@dataclass(frozen=True, eq=False)
class _Course:
    """The rows at risk of all stays, R of them, and where each may be followed by an alarm.

    The recursion over a stay's alarms runs for all stays side by side: as often as the most
    alarms of a stay, whatever the number of rows.
    """

    seen: Ints  # (R,) the rows at risk among the N
    begins: Ints  # first row of each stay that has any, among the R
    ends: Ints  # (R,) one past the last row of the stay of each
    after: Ints  # (R,) first row behind it that `silence` allows
    next_day: Ints  # (R,) first row 24 hours after it
    days: float  # at risk, of all patients

    @classmethod
    def of(cls, rows: EventRows, policy: AlarmPolicy) -> _Course:
        seen = np.flatnonzero(rows.at_risk)
        if len(seen) == 0:
            raise fail(
                "nobody at risk",
                expected="rows at risk",
                found=f"none of {len(rows.at_risk)}",
                advice="Look at `at_risk`: the event may be on from the first row of every stay.",
            )
        stay, when = rows.stay[seen], rows.when[seen]
        begins = np.flatnonzero(np.diff(stay, prepend=-1))
        counts = np.diff(np.append(begins, len(seen)))
        ends = np.repeat(begins + counts, counts)
        tick = pd.Timedelta(hours=1) * rows.tick

        def first_after(span: pd.Timedelta) -> Ints:
            wanted = when + int(np.ceil(span / tick))
            low, high = np.arange(1, len(seen) + 1), ends
            for _ in range(int(counts.max()).bit_length()):  # bisection of all rows side by side
                middle = np.minimum((low + high) // 2, len(seen) - 1)
                below = (low < high) & (when[middle] < wanted)
                low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
            return low

        after = first_after(_span_of("silence", policy.silence))
        next_day = first_after(pd.Timedelta(hours=_DAY)) if policy.max_per_day else after
        days = float(rows.hours_at_risk.sum()) / _DAY
        return cls(seen, begins, ends, after, next_day, days)

    def alarms(self, risk: Floats, threshold: float, policy: AlarmPolicy) -> Ints:
        """The rows of the N at which alarms are raised, in order."""
        risk = risk[self.seen]
        high = np.append(np.flatnonzero(risk >= threshold), len(risk))
        low = None
        if policy.rearm is not None:
            low = np.append(np.flatnonzero(risk < policy.rearm), len(risk))
        keep = policy.max_per_day
        ends = self.ends[self.begins]
        row = high[np.searchsorted(high, self.begins)]
        recent = np.full((keep or 0, len(row)), -1)
        found = []
        while True:
            alive = row < ends
            row, ends, recent = row[alive], ends[alive], recent[:, alive]
            if len(row) == 0:
                break
            found.append(row)
            allowed = self.after[row]
            if low is not None:
                allowed = np.maximum(allowed, low[np.searchsorted(low, row, side="right")])
            if keep is not None:
                recent = np.concatenate([recent[1:], row[None]])
                full = recent[0] >= 0
                allowed = np.where(full, np.maximum(allowed, self.next_day[recent[0]]), allowed)
            row = high[np.searchsorted(high, allowed)]
        alarms = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *found]))
        rows: Ints = self.seen[alarms]
        return rows

    def threshold(self, risk: Floats, policy: AlarmPolicy, budget: float) -> float | str:
        """The smallest threshold that keeps to the budget, or why there is none.

        A lower threshold never raises fewer alarms: its first alarm comes no later, nor does
        therefore any later one.
        """
        levels = np.unique(risk[self.seen])
        if policy.rearm is not None:
            levels = levels[levels >= policy.rearm]
        if len(levels) == 0:
            return f"no risk of at least rearm={policy.rearm:g}"

        def rate(position: int) -> float:
            alarms = len(self.alarms(risk, float(levels[position]), policy))
            return alarms / self.days if self.days > 0 else np.inf

        if rate(0) < budget:
            return f"at most {rate(0):.3g}, at the lowest threshold"
        if rate(len(levels) - 1) > budget:
            return f"at least {rate(len(levels) - 1):.3g}, at the highest threshold"
        low, high = 0, len(levels) - 1  # the answer is at `high` or before
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if rate(middle) <= budget else (middle + 1, high)
        return float(levels[high])


@dataclass(frozen=True, eq=False)
class _Ledger:
    """What alarms are set against: the events that follow rows at risk, and the time at risk."""

    rows: EventRows

    @cached_property
    def event_of_row(self) -> Ints:
        """Number of the event that follows each row at risk, -1 where none is known to, (N,)."""
        rows = self.rows
        timed = np.isfinite(rows.hours_to_event)
        some = np.flatnonzero(rows.at_risk & (timed | (rows.event == 1)))
        # of an outcome there is no time: one event of the stay
        at = np.where(timed, rows.since + rows.hours_to_event, -1.0)[some]
        moment = np.unique(np.round(at, 6), return_inverse=True)[1]
        number = np.full(len(rows.event), -1)
        keys = rows.stay[some] * (int(moment.max(initial=0)) + 1) + moment
        number[some] = np.unique(keys, return_inverse=True)[1]
        return number

    @cached_property
    def patient_of_event(self) -> Ints:
        """Number of the patient of each event, (E,)."""
        some = self.event_of_row >= 0
        _, at = np.unique(self.event_of_row[some], return_index=True)
        return self.rows.patient[some][at]

    def per_patient(self, who: Ints, weights: Floats | None = None) -> Floats:
        return np.bincount(who, weights, self.rows.n_patients).astype(np.float64)

    @cached_property
    def days(self) -> Floats:
        """Days at risk of each patient, (P,)."""
        return self.per_patient(self.rows.patient, self.rows.hours_at_risk / _DAY)

    @cached_property
    def events(self) -> Floats:
        """Events of each patient, (P,)."""
        return self.per_patient(self.patient_of_event)

    def tally(self, alarms: Ints) -> _Tally:
        """Count the alarms at some rows of the N."""
        rows = self.rows
        label, who = rows.event[alarms], rows.patient[alarms]
        true = alarms[label == 1]
        caught, first_alarm = np.unique(self.event_of_row[true], return_index=True)
        counts = [
            self.per_patient(who),
            self.per_patient(who[label == 1]),
            self.per_patient(who[label == 0]),
            self.events,
            self.per_patient(self.patient_of_event[caught]),
            self.days,
        ]
        return _Tally(np.stack(counts), rows.hours_to_event[true[first_alarm]])


@dataclass(frozen=True, eq=False)
class _Tally:
    """What alarms have done."""

    counts: Floats  # (6, P): alarms, true and false ones, events, those caught, days at risk
    leads: Floats  # hours from the first true alarm to the event, of each that was caught

    @staticmethod
    def ratios(sums: Floats) -> dict[str, Floats]:
        """What is told of sums of `counts`, (6, b) -> (b,) each."""
        alarms, true, false, events, caught, days = sums
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "alarms_per_day": alarms / days,
                "false_per_day": false / days,
                "recall": caught / events,
                "precision": true / (true + false),
                "workup": (true + false) / caught,
            }

    def record(self, n_boot: int, seed: int, banded: Sequence[str]) -> dict[str, float]:
        """All figures, and intervals of some."""
        sums = self.counts.sum(axis=1)
        figures = {name: float(v[0]) for name, v in self.ratios(sums[:, None]).items()}
        n_patients = self.counts.shape[1]
        drawn = [self.counts @ w for w in replicates(n_patients, n_boot, seed, 200)]
        replicated = self.ratios(np.concatenate([np.empty((6, 0)), *drawn], axis=1))
        record = {}
        for name, figure in figures.items():
            record[name] = figure
            if name in banded:
                values = replicated[name]
                low, high = interval(values[np.isfinite(values)])
                record |= {f"{name}_low": float(low), f"{name}_high": float(high)}
        leads = self.leads[np.isfinite(self.leads)]
        for name, level in _LEADS.items():
            record[name] = float(np.quantile(leads, level)) if len(leads) else np.nan
        return record | {
            "n_alarms": int(sums[0]),
            "n_unjudged": int(sums[0] - sums[1] - sums[2]),
            "n_events": int(sums[3]),
            "n_caught": int(sums[4]),
            "patient_days": float(sums[5]),
        }


def alarm_report(
    frame: pd.DataFrame,
    policy: AlarmPolicy | pd.Series,
    *,
    n_boot: int = 1000,
    random_state: int = 0,
) -> pd.DataFrame:
    """Tell what alarms catch, how early, and what they cost.

    Parameters
    ----------
    frame : DataFrame
        An event frame.
    policy : AlarmPolicy or Series of bool
        A policy with a threshold, or the alarms themselves, on the index of the frame.
    n_boot : int
        Replicates of patients for the intervals (95 %); 0 for none.
    random_state : int
        Seed of the draw.

    Returns
    -------
    DataFrame
        Index ``model``; see Notes for the columns. The header names the events and the time at
        risk.

    Raises
    ------
    DataError
        If the frame is none, nobody is at risk, or no event follows a row at risk.
    ValueError
        If a parameter cannot be used.

    Notes
    -----
    threshold
        Of the policy; NaN where the alarms come from elsewhere.
    alarms_per_day, false_per_day
        Alarms, and those without the event within the horizon, per 24 hours at risk. A row stands
        for the time since the row before it.
    recall
        Share of the events that an alarm came before, within the horizon. All events that follow
        a row at risk count, also those that no row had within its horizon.
    precision
        Share of true alarms among those whose label is known. It falls with the prevalence: it
        cannot be carried over to another hospital.
    workup
        Alarms with a known label per event caught: how many patients must be seen to find one.
    lead_q10, ..., lead_median, ..., lead_q90
        Hours (steps) from the first true alarm to the event, over the events caught; it misleads
        on its own, as missed events have none, and cannot be longer than the horizon. NaN for an
        outcome, which has no time.
    n_alarms, n_unjudged, n_events, n_caught, patient_days
        Counts. Unjudged alarms are those whose horizon the record does not reach.

    Alarms count, and so does the time, at all rows at risk: also at those that other scores leave
    out as they have too little history (`min_history`).

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": "a", "time": range(6), "risk": [0.6, 0.1, 0.2, 0.7, 0.8, 0.9],
    ...     "event": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], "eligible": True, "at_risk": True,
    ...     "hours_to_event": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]})
    >>> report = alarm_report(frame, AlarmPolicy(0.5, silence="3h"), n_boot=0)
    >>> report[["recall", "precision", "lead_median", "n_alarms"]]
           recall  precision  lead_median  n_alarms
    model
    m         1.0        0.5          3.0         2
    """
    rows = event_rows(frame)
    n_boot = positive_int("n_boot", n_boot, least=0)
    ledger = _ledger(rows)
    if isinstance(policy, AlarmPolicy):
        course = _Course.of(rows, policy)
        levels = [policy._threshold_of(name) for name in rows.models]
        alarms = [course.alarms(rows.risk[m], level, policy) for m, level in enumerate(levels)]
    else:
        levels = [np.nan] * len(rows.models)
        flags = _given_alarms(frame, policy)[rows.place]
        alarms = [np.flatnonzero(of_model & rows.at_risk) for of_model in flags]
    banded = ("false_per_day", "recall", "precision")
    records = [
        {"threshold": level, **ledger.tally(at).record(n_boot, random_state, banded)}
        for level, at in zip(levels, alarms)
    ]
    table = EventTable(records, index=pd.Index(rows.models, name="model"))
    table.attrs = {"header": _ledger_words(ledger)}
    return table


def recall_curve(
    frame: pd.DataFrame,
    policy: AlarmPolicy,
    *,
    budgets: Sequence[float] = (0.1, 0.25, 0.5, 1.0, 2.0),
    n_boot: int = 1000,
    random_state: int = 0,
) -> pd.DataFrame:
    """Tell what share of events is caught at different burdens of alarms.

    Parameters
    ----------
    frame : DataFrame
        An event frame.
    policy : AlarmPolicy
        What silences alarms; its threshold is not used.
    budgets : sequence of float
        Alarms per patient-day at risk.
    n_boot : int
        Replicates of patients for the bands (95 %, at a fixed threshold); 0 for none.
    random_state : int
        Seed of the draw.

    Returns
    -------
    DataFrame
        Index ``(model, budget)``; columns ``threshold``, ``alarms_per_day``, ``recall`` and
        ``precision`` with ``_low`` and ``_high``, ``lead_median``. NaN where the budget is out of
        reach: the policy cannot raise so many, or the first alarm is beyond it.

    Raises
    ------
    DataError
        As for `alarm_report`.
    ValueError
        If a parameter cannot be used.

    Notes
    -----
    A curve to compare models by: thresholds meet the budget on the frame itself, as those of a
    ROC curve do. What a threshold chosen beforehand does is told by `alarm_report`.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": "a", "time": range(6), "risk": [0.6, 0.1, 0.2, 0.7, 0.8, 0.9],
    ...     "event": [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], "eligible": True, "at_risk": True,
    ...     "hours_to_event": [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]})
    >>> curve = recall_curve(frame, AlarmPolicy(silence="3h"), budgets=[4, 8], n_boot=0)
    >>> curve[["threshold", "recall", "lead_median"]]
                  threshold  recall  lead_median
    model budget
    m     4             0.7     1.0          3.0
          8             0.1     1.0          3.0
    """
    rows = event_rows(frame)
    n_boot = positive_int("n_boot", n_boot, least=0)
    for budget in budgets:
        _check_budget("budgets", budget)
    ledger, course = _ledger(rows), _Course.of(rows, policy)
    columns = ["threshold", "alarms_per_day", "recall", "recall_low", "recall_high", "precision"]
    columns += ["precision_low", "precision_high", "lead_median"]
    records = []
    for m in range(len(rows.models)):
        for budget in budgets:
            level = course.threshold(rows.risk[m], policy, budget)
            if isinstance(level, str):
                records.append(dict.fromkeys(columns, np.nan))
                continue
            tally = ledger.tally(course.alarms(rows.risk[m], level, policy))
            record = tally.record(n_boot, random_state, ("recall", "precision"))
            records.append({"threshold": level, **record})
    index = pd.MultiIndex.from_product([rows.models, list(budgets)], names=["model", "budget"])
    table = EventTable(records, index=index, columns=columns)
    table.attrs = {
        "header": [*_ledger_words(ledger), "thresholds meet the budgets on these patients"]
    }
    return table


def _ledger(rows: EventRows) -> _Ledger:
    ledger = _Ledger(rows)
    if not (ledger.event_of_row >= 0).any():
        raise fail(
            "no event to catch",
            expected="an event behind some row at risk",
            found=f"none behind {int(rows.at_risk.sum())} rows at risk of {rows.n_patients} "
            "patients",
            advice="Judge more patients.",
        )
    return ledger


def _ledger_words(ledger: _Ledger) -> list[str]:
    events = ledger.events
    return [
        f"{int(events.sum()):,} events of {int((events > 0).sum()):,} of {len(events):,} patients, "
        f"{ledger.days.sum():,.1f} patient-days at risk"
    ]


def _given_alarms(frame: pd.DataFrame, alarms: Any) -> Bools:
    """Alarms of another rule, one for each row of the frame."""
    fits = isinstance(alarms, pd.Series) and alarms.index.equals(frame.index)
    if not fits or alarms.dtype != bool:
        raise bad_parameter(
            "policy",
            expected="an AlarmPolicy, or a Series of bool on the index of the frame",
            found=alarms,
            advice=f"The frame's index begins with {first(frame.index, shown=3)}.",
        )
    return np.asarray(alarms, dtype=np.bool_)
