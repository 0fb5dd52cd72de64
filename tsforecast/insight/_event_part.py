"""What a report says of a backtest of events: risks, alarms, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import first
from tsforecast.backtesting._shared import percent
from tsforecast.backtesting.alarms import AlarmPolicy, recall_curve
from tsforecast.backtesting.eventframe import EventRows, event_rows
from tsforecast.backtesting.patients import EventBacktest
from tsforecast.backtesting.reliability import calibration_summary, reliability
from tsforecast.backtesting.utility import net_benefit
from tsforecast.insight._blocks import (
    Block,
    Facts,
    Part,
    Section,
    Sentences,
    Table,
    attempt,
    noting,
    picture,
)
from tsforecast.insight.event_plots import plot_decision_curve, plot_recall, plot_reliability

__all__ = ["event_part"]

_MOST_STAYS = 2000
_BUDGET = 1.0  # alarms per patient-day
_BUDGETS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
_MANY_THRESHOLDS = tuple(np.linspace(0.01, 0.6, 60).tolist())
_THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_MANY = 200_000  # rows from which fewer patients are drawn
_SCORES = ["auroc", "auprc", "brier"]


def event_part(result: EventBacktest, *, names: bool) -> Part:
    """Say how well events were foreseen, what alarms catch, and whether risks are right."""
    rows = event_rows(result.frame)
    n_boot = 1000 if len(result.frame) <= _MANY else 200
    subject = (
        f"Risks of an event by {first(rows.models)}, of {rows.n_patients:,} patients that they "
        "had not seen."
    )
    about = Section("What was asked", (*_about(result, rows), _folds(result, rows)))
    verdicts: list[str] = []
    notes: list[str] = []
    with noting(notes):
        sections = [
            Section("Scores", tuple(attempt(lambda: _scores(result, verdicts, n_boot)))),
            Section("Alarms", tuple(attempt(lambda: _alarms(result, verdicts, n_boot)))),
            Section("Calibration", tuple(attempt(lambda: _calibration(result, verdicts, n_boot)))),
            Section("Decisions", tuple(attempt(lambda: _decisions(result)))),
        ]
    if names:
        sections.append(Section("Stays", (_stays(result, rows),)))
    if not verdicts:
        verdicts.append("Nothing can be judged: see the sections below.")
    verdicts += notes
    return Part("Risks of an event", subject, tuple(verdicts), (about, *sections), result.settings)


def _about(result: EventBacktest, rows: EventRows) -> list[Block]:
    with_event = rows.eligible & (rows.event == 1)
    facts = {
        "Models": first(rows.models, shown=40),
        "Patients": f"{rows.n_patients:,}",
        "Stays": f"{len(rows.series):,}",
        "Rows": f"{len(rows.event):,}, of which {int(rows.eligible.sum()):,} are judged",
        "Rows with the event behind them": f"{int(with_event.sum()):,}",
        "Time at risk": f"{rows.hours_at_risk.sum() / 24:,.1f} patient-days",
    }
    if "panel" in result.settings:
        facts["Data"] = result.settings["panel"]
    return [Facts(facts)]


def _folds(result: EventBacktest, rows: EventRows) -> Block:
    frame = result.frame[result.frame["model"] == rows.models[0]]
    if "fold" not in frame:
        frame = frame.assign(fold=0)
    judged = frame[frame["eligible"].astype(bool)]
    by_fold = frame.groupby("fold", observed=True)
    table = pd.DataFrame({"stays": by_fold["series"].nunique(), "rows": by_fold.size()})
    counts = judged.groupby("fold", observed=True)["event"]
    table["judged"], table["with_event"] = counts.size(), counts.sum()
    order = "in order of admission" if result.in_time_order else "each judged by models of others"
    return Table(table.fillna(0).astype(np.int64), f"Folds, {order}")


def _scores(result: EventBacktest, verdicts: list[str], n_boot: int) -> list[Block]:
    table = result.metrics(n_boot=n_boot)
    best = str(table["auroc"].idxmax())
    row: Any = table.loc[best]
    verdicts.append(
        f"{best} tells rows with the event from others best: AUROC "
        f"{_with_interval(row, 'auroc')}, at a prevalence of "
        f"{percent(table.attrs['prevalence'])}."
    )
    blocks: list[Block] = [
        Sentences(tuple(table.attrs["header"]), listed=True),
        Table(
            _together(table),
            "Scores, with 95 % intervals",
            "auroc: chance that a row with the event has the higher risk; auprc: average "
            "precision, without skill the prevalence; brier: mean squared error. Intervals come "
            f"from {n_boot:,} draws of patients.",
        ),
    ]
    if len(table) > 1:
        differences = result.compare(best, n_boot=n_boot)
        for name, other in differences.iterrows():
            low, high = -other["auroc_high"], -other["auroc_low"]
            words = "ahead of" if low > 0 else "not told apart from"
            verdicts.append(
                f"{best} is {words} {name} (AUROC {-other['auroc']:+.3f}, {low:.3f} to {high:.3f})."
            )
        caption = f"Differences to {best}"
        note = "Which model is best was seen on these very patients: that flatters it a little."
        blocks.append(Table(_together(differences), caption, note))
    verdicts += [line for line in table.attrs["header"] if line.startswith("nuisance")]
    return blocks


def _with_interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"


def _together(table: pd.DataFrame) -> pd.DataFrame:
    """Scores and their intervals in one cell."""
    columns = {name: [_with_interval(row, name) for _, row in table.iterrows()] for name in _SCORES}
    return pd.DataFrame(columns, index=table.index)


def _alarms(result: EventBacktest, verdicts: list[str], n_boot: int) -> list[Block]:
    blocks: list[Block] = []
    policy = AlarmPolicy()
    if "fold" in result.frame and result.frame["fold"].nunique() > 1:
        blocks += attempt(lambda: _at_budget(result, policy, verdicts, n_boot))
    curve = recall_curve(result.frame, policy, budgets=_BUDGETS, n_boot=min(n_boot, 200))
    blocks.append(
        picture(
            lambda ax: plot_recall(curve, ax=ax),
            alt=f"Share of events caught by alarms per patient-day, of {_models(result)}",
            caption="Share of events that alarms catch, by their number, with 95 % bands.",
        )
    )
    columns = ["threshold", "alarms_per_day", "recall", "precision", "lead_median"]
    note = (
        "Thresholds meet the budget, alarms per patient-day at risk, on these very patients. "
        f"After an alarm {policy.silence} of silence. lead_median: hours (steps) from the first "
        "true alarm to the event."
    )
    blocks.append(Table(curve[columns], "Events caught at several budgets of alarms", note))
    return blocks


def _at_budget(
    result: EventBacktest, policy: AlarmPolicy, verdicts: list[str], n_boot: int
) -> list[Block]:
    table = result.alarms(policy, alarms_per_patient_day=_BUDGET, n_boot=n_boot)
    for name, row in table.iterrows():
        lead = row["lead_median"]
        n_events = int(row["n_events"])
        caught = (
            f"{percent(row['recall'])} of {n_events:,} events "
            f"({percent(row['recall_low'])} to {percent(row['recall_high'])})"
        )
        if row["recall"] in (0, 1):  # draws of the same patients are all alike: no interval
            caught = f"{'all' if row['recall'] == 1 else 'none of'} {n_events:,} events"
        early = "" if np.isnan(lead) else f", half of them {lead:.3g} h or more before"
        verdicts.append(
            f"{name}: with {row['alarms_per_day']:.2f} alarms per patient-day it catches "
            f"{caught}{early}; "
            f"{percent(row['precision'])} of its alarms are right."
        )
    banded = ["recall", "precision", "false_per_day"]
    shown = pd.DataFrame({name: table[name] for name in ("threshold", "alarms_per_day")})
    for name in banded:
        shown[name] = [_with_interval(row, name) for _, row in table.iterrows()]
    for name in ("workup", "lead_median"):
        shown[name] = table[name]
    note = "workup: alarms per event caught. " + "; ".join(table.attrs["header"]) + "."
    return [Table(shown, f"Alarms, at a budget of {_BUDGET:g} per patient-day", note)]


def _calibration(result: EventBacktest, verdicts: list[str], n_boot: int) -> list[Block]:
    table = calibration_summary(result.frame, n_boot=n_boot)
    for name, row in table.iterrows():
        low, high = row["intercept_low"], row["intercept_high"]
        if low > 0 or high < 0:
            side = "low" if low > 0 else "high"
            verdicts.append(
                f"{name}: its risks are too {side} (mean {percent(row['mean_risk'])}, observed "
                f"{percent(row['prevalence'])}): recalibrate before taking them at their word."
            )
    shown = table[["n", "events", "prevalence", "mean_risk"]].copy()
    shown["intercept"] = [_with_interval(row, "intercept") for _, row in table.iterrows()]
    shown["slope"] = [_with_interval(row, "slope") for _, row in table.iterrows()]
    shown["ece"], shown["ece_perfect_high"] = table["ece"], table["ece_perfect_high"]
    note = (
        "Right are an intercept of 0 (above: risks too low) and a slope of 1 (below: too far "
        "apart). ece is never 0: judge it beside ece_perfect_high, what chance alone may show."
    )
    curve = picture(
        lambda ax: plot_reliability(reliability(result.frame), ax=ax),
        alt=f"Observed rate of events by risk, of {_models(result)}",
        caption="Observed rate of events in bins of risk. Right risks lie on the diagonal.",
        size=(8.0, 4.4),
    )
    return [Table(shown, "Calibration", note), curve]


def _decisions(result: EventBacktest) -> list[Block]:
    table = net_benefit(result.frame, _THRESHOLDS)
    note = (
        "True positives per row less false ones at their price, where one acts from a risk on. A "
        "model is of use where it lies above treating all and none."
    )
    curve = picture(
        lambda ax: plot_decision_curve(net_benefit(result.frame, _MANY_THRESHOLDS), ax=ax),
        alt=f"Net benefit by threshold, of {_models(result)}, treating all and none",
        caption="Net benefit: what acting on a risk is worth, in true positives per row.",
    )
    return [curve, Table(table, "Net benefit by the risk from which one acts", note)]


def _models(result: EventBacktest) -> str:
    return first(result.frame["model"].unique())


def _stays(result: EventBacktest, rows: EventRows) -> Block:
    """A row for each stay: how long, whether the event came, the highest risk before it."""
    starts = rows.offsets[:-1]
    came = np.maximum.reduceat(np.where(rows.eligible, np.nan_to_num(rows.event), 0.0), starts) > 0
    hours = np.add.reduceat(rows.hours_at_risk, starts)
    table: dict[str, Any] = {"hours at risk": hours, "event": came}
    for model, risk in zip(rows.models, rows.risk):
        peak = np.maximum.reduceat(np.where(rows.at_risk, risk, -1.0), starts)
        table[f"peak risk of {model}"] = np.where(peak < 0, np.nan, peak)
    frame = pd.DataFrame(table, index=rows.series)
    frame.index.name = "stay"
    note = "The highest risk of the hours at risk. It is known only when the stay has ended."
    if len(frame) > _MOST_STAYS:
        note += f" {len(frame) - _MOST_STAYS:,} more stays are left out."
    return Table(frame.head(_MOST_STAYS), "Stays", note, sortable=True)
