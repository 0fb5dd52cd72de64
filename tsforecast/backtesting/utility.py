"""What decisions by a risk are worth: net benefit, and the scores of two public challenges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, bad_parameter, fail, first
from tsforecast.backtesting.eventframe import At, Bools, EventTable, event_rows, select
from tsforecast.data.panel import Floats, Ints

__all__ = ["Score2012", "net_benefit", "score_2012", "utility_2019", "utility_threshold"]

# Reyna et al. (2020), Critical Care Medicine 48(2): 210-217; hours from the onset of sepsis
_EARLY, _OPTIMAL, _LATE = -12, -6, 3
_MOST_FOUND, _LEAST_MISSED, _FALSE, _QUIET = 1.0, -2.0, -0.05, 0.0
_DECILES = 10


def net_benefit(
    frame: pd.DataFrame, thresholds: Sequence[float], *, at: At = "every"
) -> pd.DataFrame:
    """Net benefit of acting where the risk is at least a threshold: a decision curve.

    Parameters
    ----------
    frame : DataFrame
        An event frame.
    thresholds : sequence of float
        Risks between 0 and 1 at which one would act: acting on ``1 / threshold`` patients to
        reach one with the event is held to be worth it.
    at : str, number or Timedelta
        Which rows are judged; see `event_metrics`.

    Returns
    -------
    DataFrame
        Index ``threshold``, a column for each model, then ``treat all`` and ``treat none``.

    Raises
    ------
    DataError
        As for `event_metrics`.
    ValueError
        If a threshold is not between 0 and 1.

    Notes
    -----
    Vickers and Elkin (2006): ``TP / n - FP / n * t / (1 - t)``, true positives per row judged,
    less false ones at their price. A model is of use at the thresholds at which it lies above both
    treating all and none. It misleads where risks are not calibrated, and with ``at="every"``
    counts every hour of a patient as a decision of its own.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({
    ...     "model": "m", "series": list("abcd"), "time": 0, "risk": [0.1, 0.8, 0.3, 0.6],
    ...     "event": [0.0, 1.0, 0.0, 1.0], "eligible": True, "at_risk": True,
    ...     "hours_to_event": 1.0})
    >>> net_benefit(frame, [0.2, 0.5])
    every row that counts: 4 rows of 4 patients, 2 with the event (50.00%), of 2 patients
                    m  treat all  treat none
    threshold
    0.2        0.4375      0.375           0
    0.5           0.5          0           0
    """
    levels = np.asarray(list(thresholds), dtype=np.float64)
    if levels.ndim != 1 or not ((levels > 0) & (levels < 1)).all() or not len(levels):
        raise bad_parameter("thresholds", expected="risks between 0 and 1", found=thresholds)
    rows = event_rows(frame)
    chosen = select(rows, at)
    n, price = len(chosen.event), levels / (1 - levels)
    columns = {}
    for name, risk in zip(rows.models, chosen.risk):
        order = np.argsort(risk)
        below = np.searchsorted(risk[order], levels)  # rows with less risk
        sick = np.append(0.0, np.cumsum(chosen.event[order]))
        well = np.append(0.0, np.cumsum(1 - chosen.event[order]))
        columns[name] = (sick[-1] - sick[below] - (well[-1] - well[below]) * price) / n
    sick_all = chosen.event.sum()
    columns["treat all"] = (sick_all - (n - sick_all) * price) / n
    columns["treat none"] = np.zeros(len(levels))
    table = EventTable(columns, index=pd.Index(levels, name="threshold"))
    table.attrs = {"regime": chosen.words, "header": chosen.header()}
    return table


def utility_2019(labels: Any, predictions: Any) -> float:
    """Normalised utility of the PhysioNet / Computing in Cardiology challenge 2019.

    Parameters
    ----------
    labels : Series or array-like of 0 and 1
        ``SepsisLabel`` as published: 1 from six hours before the onset on. Indexed by
        (series, time), a row for each hour; without a series, the hours of one patient.
    predictions : Series or array-like of 0 and 1
        Whether sepsis is predicted at each row, on the same index.

    Returns
    -------
    float
        1 for the best predictions that there are, 0 for none at all; below 0 for harm.

    Raises
    ------
    DataError
        If the two do not fit together, hold other values, are not in order of time, or no patient
        has the label.

    See Also
    --------
    utility_threshold : The threshold of a risk that gains most.

    Notes
    -----
    Reyna et al. (2020). In a patient with sepsis a prediction gains up to 1: rising from 12 to 6
    hours before the onset, falling to 0 three hours after it; earlier ones cost 0.05, and missing
    it costs from 0 (6 hours before) to 2 (3 hours after). In others a prediction costs 0.05.
    Rows later than 3 hours after the onset do not count. Records of this set stop soon after the
    onset: what is known of the length of a record gives sepsis away (`nuisance_report`).

    Examples
    --------
    >>> labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    >>> round(utility_2019(labels, labels), 3)
    0.857
    """
    label, given, gain = _gains(labels, predictions)
    if not np.isin(given, (0.0, 1.0)).all():
        raise fail(
            "predictions are no decisions",
            expected="0 or 1 in every row",
            found=f"{first(np.unique(given)[:5])}",
            advice="Compare the risk with a threshold: (risk >= threshold).",
        )
    return float((gain * given).sum() / _most(label, gain))


def utility_threshold(labels: Any, risk: Any) -> float:
    """Give the threshold of a risk with the highest utility of the challenge of 2019.

    To be chosen on validation patients, not on those that it is judged by.

    Parameters
    ----------
    labels : Series or array-like of 0 and 1
        As for `utility_2019`.
    risk : Series or array-like
        Of each row, on the same index; sepsis is predicted where it is at least the threshold.

    Returns
    -------
    float
        One of the risks; infinity if it is best to predict nothing.

    Raises
    ------
    DataError
        As for `utility_2019`, and if a risk is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> hours = pd.MultiIndex.from_product([["a", "b"], range(3)])
    >>> labels = pd.Series([0, 0, 0, 0, 1, 1], index=hours)
    >>> utility_threshold(labels, pd.Series([0.1, 0.3, 0.2, 0.2, 0.5, 0.9], index=hours))
    0.2
    """
    label, given, gain = _gains(labels, risk)
    if np.isnan(given).any():
        raise fail(
            "a risk is missing",
            expected="a number in every row",
            found=f"{int(np.isnan(given).sum())} of {len(given)} missing",
            advice="Give the model's risk at every row.",
        )
    _most(label, gain)
    order = np.argsort(-given, kind="stable")
    total = np.cumsum(gain[order])
    levels = given[order]
    ends = np.append(levels[1:] != levels[:-1], True)  # rows of one risk go together
    best = int(np.argmax(np.where(ends, total, -np.inf)))
    return float(levels[best]) if total[best] > 0 else float("inf")


def _gains(labels: Any, values: Any) -> tuple[Floats, Floats, Floats]:
    """Labels and values as arrays, and what a prediction at each row gains over none."""
    if isinstance(labels, pd.Series) and isinstance(values, pd.Series):
        fits = labels.index.equals(values.index)
    else:
        fits = len(labels) == len(values)
    label, given = (np.asarray(x, dtype=np.float64) for x in (labels, values))
    if not fits or label.ndim != 1 or given.shape != label.shape or not len(label):
        raise fail(
            "labels and predictions do not fit together",
            expected="one of each for every row, on the same index",
            found=f"{label.shape} labels and {given.shape} predictions",
            advice="Align them, e.g. predictions.reindex(labels.index).",
        )
    if not np.isin(label, (0.0, 1.0)).all():
        raise fail(
            "labels are no labels",
            expected="0 or 1 in every row",
            found=f"{first(np.unique(label)[:5])}",
            advice="Give SepsisLabel as published.",
        )
    begins = _begins(labels)
    found, missed = _utilities(label == 1, begins)
    return label, given, found - missed


def _begins(labels: Any) -> Ints:
    """First row of each patient."""
    index = labels.index if isinstance(labels, pd.Series) else None
    if not isinstance(index, pd.MultiIndex):
        if index is not None and not index.is_monotonic_increasing:
            raise _disordered("an index that falls")
        return np.zeros(1, dtype=np.int64)
    code = pd.factorize(index.get_level_values(0))[0]
    begins = np.flatnonzero(np.diff(code, prepend=-1))
    if len(begins) != code.max() + 1 or not index.is_unique:
        raise _disordered(f"{len(begins)} runs of rows of {code.max() + 1} patients")
    time: Any = index.get_level_values(-1)
    inner = np.diff(code) == 0
    if back := int((np.asarray(time[1:] < time[:-1]) & inner).sum()):
        raise _disordered(f"{back} rows before the one above them")
    return begins


def _disordered(found: str) -> DataError:
    return fail(
        "rows are not in order",
        expected="the rows of each patient together, in order of time, each once",
        found=found,
        advice="Sort them: labels.sort_index().",
    )


def _utilities(label: Bools, begins: Ints) -> tuple[Floats, Floats]:
    """Utility of predicting sepsis, and of not predicting it, at every row."""
    counts = np.diff(np.append(begins, len(label)))
    hour = np.arange(len(label)) - np.repeat(begins, counts)
    first_label = np.minimum.reduceat(np.where(label, hour, len(label)), begins)
    septic = np.repeat(first_label < len(label), counts)
    away = hour - np.repeat(first_label - _OPTIMAL, counts)  # from the onset
    rise = _MOST_FOUND * (away - _EARLY) / (_OPTIMAL - _EARLY)
    fall = _MOST_FOUND * (_LATE - away) / (_LATE - _OPTIMAL)
    late = _LEAST_MISSED * (away - _OPTIMAL) / (_LATE - _OPTIMAL)
    over = septic & (away > _LATE)
    found = np.where(septic, np.where(away <= _OPTIMAL, np.maximum(rise, _FALSE), fall), _FALSE)
    missed = np.where(septic & (away > _OPTIMAL), late, _QUIET)
    return np.where(over, 0.0, found), np.where(over, 0.0, missed)


def _most(label: Floats, gain: Floats) -> float:
    """What the best predictions gain over none."""
    most = float(gain[gain > 0].sum())
    if not label.any() or most <= 0:
        raise fail(
            "nothing to gain",
            expected="patients with the label",
            found=f"{int(label.sum())} of {len(label)} rows with it",
            advice="Judge more patients: without sepsis the utility has no scale.",
        )
    return most


class Score2012(NamedTuple):
    """Scores of the challenge of 2012: see `score_2012`."""

    event1: float
    event2: float


def score_2012(y: npt.ArrayLike, risk: npt.ArrayLike, *, threshold: float = 0.5) -> Score2012:
    """Score risks of death as the PhysioNet / Computing in Cardiology challenge 2012 did.

    Parameters
    ----------
    y : array-like of 0 and 1, shape (n,)
        In-hospital death, a row for each patient.
    risk : array-like, shape (n,)
        Its predicted probability.
    threshold : float
        Death is predicted where the risk is at least this much; choose it on other patients, as
        the one that lets sensitivity and precision meet.

    Returns
    -------
    Score2012
        ``event1``: the lesser of sensitivity and positive predictive value; 1 is best.
        ``event2``: Hosmer and Lemeshow's H over deciles of risk, divided by the range of their
        mean risks; 0 is best, infinity where all deciles have the same.

    Raises
    ------
    DataError
        If the two do not fit together, hold other values, there are fewer than 10 patients, or
        all or none of them died.

    Notes
    -----
    Silva et al. (2012), Computing in Cardiology 39: 245-248. H sums
    ``(deaths - expected)**2 / (n * risk * (1 - risk) + 0.001)`` over ten groups of patients by
    rising risk, equal in size. `event2` grows with the number of patients: the challenge had
    4,000 in a set, and only sets of one size can be compared. It is no evidence of calibration;
    see `reliability`.

    Examples
    --------
    >>> score = score_2012([0, 0, 0, 0, 0, 1, 0, 1, 1, 1],
    ...                    [0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    >>> score.event1, round(score.event2, 3)
    (0.75, 6.145)
    """
    death, chance = (np.asarray(values, dtype=np.float64) for values in (y, risk))
    if death.ndim != 1 or death.shape != chance.shape or len(death) < _DECILES:
        raise fail(
            "outcomes and risks do not fit together",
            expected=f"one of each for at least {_DECILES} patients",
            found=f"{death.shape} outcomes and {chance.shape} risks",
            advice="Give a row for each patient.",
        )
    if not np.isin(death, (0.0, 1.0)).all() or death.min() == death.max():
        raise fail(
            "outcomes cannot be scored",
            expected="0 and 1, some of each",
            found=f"{first(np.unique(death)[:5])}",
            advice="Leave out patients whose outcome is not known; judge more of them.",
        )
    if not ((chance >= 0) & (chance <= 1)).all():
        raise fail(
            "a risk is no probability",
            expected="numbers from 0 to 1",
            found=f"{int((~((chance >= 0) & (chance <= 1))).sum())} others",
            advice="Mend the model, or map its score to a probability.",
        )
    predicted = chance >= threshold
    true = float(death[predicted].sum())
    sensitivity = true / death.sum()
    precision = true / predicted.sum() if predicted.any() else 0.0
    groups = np.array_split(np.argsort(chance, kind="stable"), _DECILES)
    size = np.array([len(group) for group in groups])
    deaths = np.array([death[group].sum() for group in groups])
    mean = np.array([chance[group].mean() for group in groups])
    h = float(((deaths - size * mean) ** 2 / (size * mean * (1 - mean) + 0.001)).sum())
    spread = float(mean[-1] - mean[0])
    return Score2012(float(min(sensitivity, precision)), h / spread if spread > 0 else float("inf"))
