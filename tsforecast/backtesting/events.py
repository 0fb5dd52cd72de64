"""How well risks tell events apart, with intervals from a bootstrap of patients.

The patient is the unit of every interval: patients are drawn with all their rows, the same ones for
all models.

Letters of shapes: M models, n rows that are judged, P patients, U distinct risks among rows with
the event, B bootstrap replicates, b of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, bad_parameter, fail, first, positive_int
from tsforecast.backtesting.eventframe import (
    At,
    EventTable,
    Selection,
    event_rows,
    interval,
    replicates,
    select,
)
from tsforecast.data.panel import Floats, Ints

__all__ = ["auroc_of", "by_subgroup", "compare_events", "event_metrics"]

METRICS = ("auroc", "auprc", "brier")
_CELLS = 4_000_000  # numbers held at once by a bootstrap


@dataclass(frozen=True, eq=False)
class _Counts:
    """What weighted AUROC, AUPRC and Brier score of a model need of each patient.

    Thresholds at the U distinct risks of rows with the event are enough for all three.
    """

    with_event: Any  # sparse (U, P): rows with the event at each threshold
    without: Any  # sparse (2 U + 1, P): rows without it, between (even) and at (odd) thresholds
    squares: Floats  # (P,) sum of squared errors
    rows: npt.NDArray[Any]  # (P,) how many

    @classmethod
    def of(cls, risk: Floats, event: Floats, patient: Ints, n_patients: int) -> _Counts:
        from scipy.sparse import csr_array

        sick = event == 1
        cuts = np.unique(risk[sick])
        level = np.searchsorted(cuts, risk)
        slot = level + np.searchsorted(cuts, risk, side="right")

        def table(at: Ints, who: Ints, size: int) -> Any:
            return csr_array((np.ones(len(at)), (at, who)), shape=(size, n_patients))

        return cls(
            table(level[sick], patient[sick], len(cuts)),
            table(slot[~sick], patient[~sick], 2 * len(cuts) + 1),
            np.bincount(patient, (risk - event) ** 2, n_patients).astype(np.float64),
            np.bincount(patient, minlength=n_patients).astype(np.float64),
        )

    @property
    def chunk(self) -> int:
        """How many replicates at a time."""
        return max(1, _CELLS // int(self.without.shape[0]))

    def scores(self, weights: Floats) -> Floats:
        """AUROC, AUPRC and Brier score where patients count so many times, (P, b) -> (3, b)."""
        sick, well = self.with_event @ weights, self.without @ weights  # (U, b), (2 U + 1, b)
        up_to = np.cumsum(well, axis=0)
        below, tied = up_to[:-1:2], well[1::2]
        n_sick, n_well = sick.sum(axis=0), up_to[-1]
        found = np.cumsum(sick[::-1], axis=0)[::-1]  # rows with the event at or above a threshold
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc = (sick * (below + 0.5 * tied)).sum(axis=0) / (n_sick * n_well)
            precision = np.nan_to_num(found / (found + n_well - below))
            auprc = (sick * precision).sum(axis=0) / n_sick
            brier = (self.squares @ weights) / (self.rows @ weights)
        return np.stack([auroc, auprc, brier])


def _bootstrap(chosen: Selection, n_boot: int, seed: int) -> tuple[Floats, Floats]:
    """Scores of all models, (M, 3), and their replicates, (M, 3, B)."""
    n_boot = positive_int("n_boot", n_boot, least=0)
    seed = positive_int("random_state", seed, least=0)
    points, draws = [], []
    for risk in chosen.risk:
        counts = _Counts.of(risk, chosen.event, chosen.patient, chosen.n_patients)
        points.append(counts.scores(np.ones((chosen.n_patients, 1)))[:, 0])
        parts = [
            counts.scores(weights)
            for weights in replicates(chosen.n_patients, n_boot, seed, counts.chunk)
        ]
        draws.append(np.concatenate([np.empty((3, 0)), *parts], axis=1))
    return np.stack(points), np.stack(draws)


def auroc_of(risk: Floats, event: Floats) -> float:
    """Area under the ROC curve; half of every tie counts."""
    patient = np.zeros(len(risk), dtype=np.int64)
    return float(_Counts.of(risk, event, patient, 1).scores(np.ones((1, 1)))[0, 0])


def event_metrics(
    frame: pd.DataFrame, *, at: At = "every", n_boot: int = 1000, random_state: int = 0
) -> pd.DataFrame:
    """Tell how well risks tell events apart, with intervals from a bootstrap of patients.

    Parameters
    ----------
    frame : DataFrame
        An event frame.
    at : str, number or Timedelta
        Which rows are judged. ``"every"``: all that are eligible; patients with long stays count
        by their length. A time since admission such as ``"24h"`` (a number is one of hours, or of
        steps): the newest row of each stay at or before it; stays without one in the 12 h before,
        in or after an event by then, or not eligible there, are out and counted; of an outcome, a
        stay that ended in those 12 h is judged as well, so choose a time that records go beyond.
        ``"last"``: the last eligible row of each stay, and ``"peak"``: the largest risk of its
        eligible rows, with the event if any of them has it; both are chosen with hindsight and
        flatter.
    n_boot : int
        Replicates; 0 for none.
    random_state : int
        Seed of the draw of patients.

    Returns
    -------
    DataFrame
        Index ``model``; columns ``auroc, auprc, brier``, each with ``_low`` and ``_high`` (95 %).
        ``attrs``: ``regime``, ``prevalence``, ``n_rows``, ``n_patients``, ``excluded`` (reason to
        count), and ``header``, the lines that are shown above the table.

    Raises
    ------
    DataError
        If the frame is none, a risk is missing, or all or none of the rows have the event.
    ValueError
        If a parameter cannot be used.

    Notes
    -----
    auroc
        The chance that a row with the event has a higher risk than one without. It misleads where
        events are rare, as it does not see how many alarms are false, and it does not see
        calibration.
    auprc
        Average precision, the mean over events of the share of events among rows with a risk as
        high. A risk without skill has the prevalence, not 0.5: it cannot be compared between
        regimes or hospitals.
    brier
        Mean squared error of the risk. Small wherever events are rare: compare with
        ``prevalence * (1 - prevalence)``, that of one risk for all.

    Rows of a patient hang together, so intervals come from drawing patients; the same ones for
    all models and regimes of the same patients.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "news2", "series": ["a", "a", "b", "b"], "time": [0, 1, 0, 1],
    ...     "risk": [0.1, 0.6, 0.2, 0.3], "event": [0.0, 1.0, 0.0, 1.0],
    ...     "eligible": True, "at_risk": True, "hours_to_event": [2.0, 1.0, 2.0, 1.0]})
    >>> event_metrics(frame, n_boot=0)[["auroc", "auprc", "brier"]]
           auroc  auprc  brier
    model
    news2    1.0    1.0  0.175
    """
    rows = event_rows(frame)
    chosen = select(rows, at)
    points, draws = _bootstrap(chosen, n_boot, random_state)
    return _table(rows.models, points, draws, chosen, chosen.header())


def compare_events(
    frame: pd.DataFrame,
    reference: str,
    *,
    at: At = "every",
    n_boot: int = 1000,
    random_state: int = 0,
) -> pd.DataFrame:
    """Compare models with one of them: differences with intervals, on the same drawn patients.

    Parameters
    ----------
    frame : DataFrame
        An event frame of two models or more.
    reference : str
        The model that the others are compared with.
    at, n_boot, random_state
        As for `event_metrics`.

    Returns
    -------
    DataFrame
        Index ``model``, all but the reference; columns as those of `event_metrics`: score less
        that of the reference. An interval that holds 0 shows no difference. For the Brier score
        less is better.

    Raises
    ------
    DataError
        As for `event_metrics`.
    ValueError
        If the reference is no model of the frame, or the only one.

    Notes
    -----
    With many models the best of them is ahead of the reference by chance more often than one in
    twenty times.

    Examples
    --------
    >>> import pandas as pd
    >>> one = pd.DataFrame({
    ...     "model": "news2", "series": ["a", "b", "c", "d"], "time": 0,
    ...     "risk": [0.1, 0.4, 0.3, 0.2], "event": [0.0, 1.0, 1.0, 0.0],
    ...     "eligible": True, "at_risk": True, "hours_to_event": 1.0})
    >>> other = one.assign(model="flat", risk=0.5)
    >>> compare_events(pd.concat([one, other]), "flat", n_boot=0)[["auroc", "auprc"]]
           auroc  auprc
    model
    news2    0.5    0.5
    """
    rows = event_rows(frame)
    if reference not in rows.models or len(rows.models) < 2:
        raise bad_parameter(
            "reference",
            expected=f"one of two models or more, among {first(rows.models)}",
            found=reference,
        )
    chosen = select(rows, at)
    points, draws = _bootstrap(chosen, n_boot, random_state)
    base = rows.models.index(reference)
    others = [row for row in range(len(rows.models)) if row != base]
    header = [f"difference to {reference!r}", *chosen.header()]
    names = [rows.models[row] for row in others]
    return _table(names, points[others] - points[base], draws[others] - draws[base], chosen, header)


def _table(
    models: list[str], points: Floats, draws: Floats, chosen: Selection, header: list[str]
) -> pd.DataFrame:
    low, high = interval(draws)
    columns: dict[str, Floats] = {}
    for k, name in enumerate(METRICS):
        columns |= {name: points[:, k], f"{name}_low": low[:, k], f"{name}_high": high[:, k]}
    table = EventTable(columns, index=pd.Index(models, name="model"))
    table.attrs = {
        "regime": chosen.words,
        "prevalence": float(chosen.event.mean()),
        "n_rows": len(chosen.event),
        "n_patients": chosen.n_patients,
        "excluded": dict(chosen.excluded),
        "header": header,
    }
    return table


def by_subgroup(
    frame: pd.DataFrame,
    column: Hashable,
    table: Callable[[pd.DataFrame], pd.DataFrame] = event_metrics,
) -> pd.DataFrame:
    """Make a table of figures for every value of a column: site, sex, fold.

    Parameters
    ----------
    frame : DataFrame
        An event frame with the column (``backtest_events(..., keep=["sex"])``).
    column : hashable
        Its name; rows without a value are left out.
    table : callable
        From an event frame to a table with a row for each model. Default: `event_metrics`; others
        by ``lambda part: alarm_report(part, policy)``.

    Returns
    -------
    DataFrame
        Index ``(column, model)``, then the columns of the table. Subgroups that cannot be judged
        are in ``attrs["not_judged"]``, with the reason, and in the header.

    Raises
    ------
    DataError
        If the frame has no such column, or no subgroup can be judged.

    Notes
    -----
    Small subgroups have wide intervals: two intervals that overlap show no difference, and of
    many subgroups one stands out by chance.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": list("abcd"), "time": 0, "risk": [0.1, 0.4, 0.3, 0.2],
    ...     "event": [0.0, 1.0, 0.0, 1.0], "eligible": True, "at_risk": True,
    ...     "hours_to_event": 1.0, "sex": ["f", "f", "m", "m"]})
    >>> by_subgroup(frame, "sex", lambda part: event_metrics(part, n_boot=0))[["auroc"]]
               auroc
    sex model
    f   m        1.0
    m   m        0.0
    """
    if column not in frame:
        raise fail(
            "no such column",
            expected=f"a column {column!r} in the event frame",
            found=f"{first(frame.columns, shown=12)}",
            advice="Keep it: backtest_events(..., keep=[...]).",
            column=column,
        )
    parts, reasons = {}, {}
    for value, part in frame.groupby(frame[column], sort=True, observed=True):
        try:
            parts[value] = pd.DataFrame(table(part))
        except DataError as error:
            reasons[str(value)] = str(error)
    if not parts:
        raise fail(
            "no subgroup can be judged",
            expected="events in some value of the column",
            found="; ".join(f"{value}: {why}" for value, why in reasons.items()) or "no value",
            advice="Use a coarser column.",
            column=column,
        )
    joined = EventTable(pd.concat(parts, names=[column]))
    header = [f"not judged: {value} ({why})" for value, why in reasons.items()]
    joined.attrs = {"not_judged": reasons, "header": header}
    return joined
