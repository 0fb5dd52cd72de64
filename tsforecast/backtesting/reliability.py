"""Whether risks can be taken at their word: calibration curves, intercept, slope and error.

Everything here is a function of the event frame (see `tsforecast.backtesting.eventframe`), of which
only the columns ``risk`` and ``event`` are needed: without names every row is a patient of its own.
The patient is the unit of all intervals.

Letters of shapes: n rows that are judged, P patients, B bootstrap replicates, K steps.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from tsforecast._checks import bad_parameter, callers_level, fail, first, positive_int
from tsforecast.backtesting.eventframe import (
    At,
    EventTable,
    Selection,
    event_rows,
    interval,
    replicates,
    select,
)
from tsforecast.backtesting.patients import event_frame
from tsforecast.backtesting.risk_maps import fit_map, line, log_odds, shift
from tsforecast.data.panel import Floats, Ints

__all__ = [
    "calibration_summary",
    "cross_calibrate",
    "local_patients_curve",
    "reliability",
    "risk_columns",
]

_Z = float(norm.ppf(0.975))
_AT_ONCE = 5_000_000  # weights of patients times replicates held at one time
_CELLS = 4096  # classes of risk, where only sums are needed
_NEAR = 0.1  # of the prevalence: a difference of calibration errors that does not matter
_STEP = re.compile(r"risk_(\d+)")


def reliability(frame: pd.DataFrame, *, n_bins: int = 10, at: At = "every") -> pd.DataFrame:
    r"""Calibration curve: risk and observed rate of events in bins of risk.

    Parameters
    ----------
    frame : DataFrame
        Event frame; of its columns only ``risk`` and ``event`` are needed.
    n_bins : int
        Bins, with equal numbers of rows as far as ties allow; most rows have a low risk, and bins
        of equal width would leave them in one.
    at : "every", "last" or a time
        Every eligible row, the last one of each stay, or the one at a time since admission, such
        as '24h'; see `event_metrics`.

    Returns
    -------
    DataFrame
        A row for each model and bin: ``n`` rows, ``patients``, ``events`` (rows with an event
        behind them), ``risk`` (mean), ``observed`` (rate), and the interval of 95 % of the latter,
        ``low`` and ``high``.

    Raises
    ------
    DataError
        If the frame cannot be used, or no row, or every one, has an event behind it.

    Notes
    -----
    To read: of the rows in a bin, `observed` had the event within the horizon, `risk` was
    forecast. Where `risk` lies above `high`, the model overstates. The curve says nothing of how
    well patients are told apart: the mean rate, given to everybody, is a perfect one.

    The interval is that of Wilson (1927) at the effective number of rows (Korn and Graubard 1998):
    that of independent rows that would know the rate as well as these do, of which those of one
    patient go together. Where a bin has no event, or nothing else, every patient counts as one row.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"risk": [0.1] * 10 + [0.6] * 5, "event": [0] * 9 + [1] * 4 + [0] * 2})
    >>> reliability(frame, n_bins=2).round(2)[["n", "risk", "observed", "low", "high"]]
        n  risk  observed   low  high
    0  10   0.1       0.1  0.02  0.40
    1   5   0.6       0.6  0.23  0.88
    """
    n_bins = positive_int("n_bins", n_bins)
    chosen, models, _ = _judged(frame, at)
    parts = []
    for rows, model in zip(chosen, models):
        bins = _bins(rows.risk, n_bins)
        per_patient = _sums(
            rows.patient, rows.n_patients, bins, [np.ones(len(bins)), rows.risk, rows.event]
        )  # (P, bins, 3)
        n, risk, events = np.moveaxis(per_patient.sum(axis=0), -1, 0)
        low, high = _wilson(per_patient[:, :, 2], per_patient[:, :, 0])
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "bin": np.arange(len(n)),
                    "n": n.astype(np.int64),
                    "patients": (per_patient[:, :, 0] > 0).sum(axis=0),
                    "events": events.astype(np.int64),
                    "risk": risk / n,
                    "observed": events / n,
                    "low": low,
                    "high": high,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def calibration_summary(
    frame: pd.DataFrame,
    *,
    at: At = "every",
    n_bins: int = 10,
    n_boot: int = 1000,
    random_state: int = 0,
) -> pd.DataFrame:
    r"""Calibration in a few numbers, each with its interval.

    Parameters
    ----------
    frame : DataFrame
        Event frame; see `reliability`.
    at : "every", "last" or a time
        Every eligible row, the last one of each stay, or the one at a time since admission, such
        as '24h'; see `event_metrics`.
    n_bins : int
        Bins of equal numbers of rows for the calibration error.
    n_boot : int
        Replicates of the bootstrap over patients, and of the simulation.
    random_state : int
        Of both.

    Returns
    -------
    DataFrame
        A row for each model (its name is the index):

        - ``n`` rows, ``patients``, ``events`` (rows with one behind them), ``prevalence`` and
          ``mean_risk``,
        - ``intercept``: calibration in the large, the shift of the log odds that would make as many
          events expected as there were. 0 is right; above 0 the risks are too low,
        - ``slope`` of the events' log odds on those of the risk. 1 is right; below 1 the risks are
          too far apart, as those of an overfitted model are; above 1 too timid; NaN where all have
          one risk,
        - ``ece``: mean difference of risk and observed rate over the bins, and
          ``ece_perfect_low``, ``ece_perfect`` and ``ece_perfect_high``: what a perfectly calibrated
          model would show with as many patients (2.5 %, median, 97.5 %),
        - ``brier``: mean squared error of the risk.

        Intercept, slope and Brier score have intervals of 95 %, ``..._low`` and ``..._high``.

    Raises
    ------
    DataError
        If the frame cannot be used, or no row, or every one, has an event behind it.

    Notes
    -----
    The error `ece` is never 0, and the fewer patients, the larger it is by chance alone: read it
    beside `ece_perfect_high`, not by itself. The Brier score is not comparable between groups of
    different prevalence.

    Intervals are percentiles of a bootstrap that draws patients with all their rows; of the
    logistic fits one Newton step from the estimate is taken (Moulton and Zeger 1991), so that a
    replicate costs sums over patients.

    `ece_perfect`: where each patient has one row, outcomes are drawn from the risks. Where patients
    have several, these go together (an event is behind all rows of the hours before it), and
    outcomes drawn row by row would promise far too small an error. Then the differences between
    outcome and risk are taken as they are, those of each patient, all together, with a random sign
    (wild bootstrap, Cameron, Gelbach and Miller 2008): zero on average, as calibration asks for,
    and as dependent as they were seen to be. What the logistic line explains of them is taken out
    before.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> true = rng.uniform(0, 0.5, size=2000)
    >>> event = (rng.uniform(size=2000) < true).astype(float)
    >>> frame = pd.concat(
    ...     pd.DataFrame({"model": name, "risk": risk, "event": event})
    ...     for name, risk in {"honest": true, "twice as high": 2 * true}.items()
    ... )
    >>> summary = calibration_summary(frame)
    >>> summary[["intercept", "slope", "ece", "ece_perfect_high"]].round(2).rename_axis(None)
                   intercept  slope   ece  ece_perfect_high
    honest             -0.01   1.03  0.02              0.03
    twice as high      -1.66   0.51  0.25              0.03
    """
    n_bins, n_boot = positive_int("n_bins", n_bins), positive_int("n_boot", n_boot)
    positive_int("random_state", random_state, least=0)
    chosen, models, selection = _judged(frame, at)
    found = [_summary(rows, n_bins, n_boot, random_state) for rows in chosen]
    table = EventTable(found, index=pd.Index(models, name="model"))
    table.attrs = {
        "regime": selection.words,
        "excluded": dict(selection.excluded),
        "header": selection.header(),
    }
    return table


def cross_calibrate(
    frame: pd.DataFrame, method: str = "platt", *, folds: Hashable = "fold", at: At = "every"
) -> pd.DataFrame:
    """Calibrate the risks of every fold by those of the other ones.

    For the event frame of a cross-validation: what comes out is what calibration is worth on
    patients that neither the model nor the map has seen.

    Parameters
    ----------
    frame : DataFrame
        Event frame with a column for the folds; see `reliability`.
    method : {"platt", "temperature", "isotonic", "intercept"}
        See `CalibratedEvents`.
    folds : hashable
        The column that says in which fold a row was tested.
    at : "every", "last" or a time
        Rows that the maps are fitted on, as of `reliability`: those that will be judged. Risks at
        48 h are not calibrated by a map of all hours.

    Returns
    -------
    DataFrame
        The same rows with calibrated ``risk`` and, where they are there, ``risk_1 ... risk_K``.
        Rows that are not eligible are calibrated, but nothing is learned from them.

    Raises
    ------
    DataError
        If a patient stands in several folds, or there is no event in the others.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> true = rng.uniform(0, 0.5, size=2000)
    >>> frame = pd.DataFrame({"risk": 2 * true, "event": rng.uniform(size=2000) < true})
    >>> frame["fold"] = np.arange(2000) % 5
    >>> calibrated = cross_calibrate(frame)
    >>> calibration_summary(calibrated)[["slope", "ece"]].round(2).rename_axis(None)
           slope   ece
    model   0.99  0.02
    """
    if not isinstance(frame, pd.DataFrame) or folds not in frame:
        raise bad_parameter(
            "folds",
            expected="a column of the frame",
            found=folds,
            advice="backtest_events gives one, 'fold'.",
        )
    columns = risk_columns(frame)
    _refuse_peak(at)
    rows = event_rows(_completed(frame))
    number, names = pd.factorize(frame[folds].iloc[rows.place[0]])
    if (number < 0).any() or len(names) < 2:
        raise fail(
            "no folds to calibrate across",
            expected="a fold for every row, at least two of them",
            found=f"{len(names)} folds, {int((number < 0).sum())} rows without one",
            advice="Take the frame of a cross-validation by patient.",
            column=folds,
        )
    pairs = np.unique(np.stack([rows.patient, number]), axis=1)[0]
    if len(torn := np.unique(pairs[1:][pairs[1:] == pairs[:-1]])):
        stays = rows.series[np.unique(rows.stay[np.isin(rows.patient, torn)])]
        raise fail(
            "patients stand in several folds",
            expected="all rows of a patient in one fold",
            found=f"{len(torn)} of them in more than one, with the stays {first(stays)}",
            advice="Split by patient, SeriesSplit(group=...), and calibrate one run at a time.",
        )
    learned = select(rows, at).row
    wanted = list(dict.fromkeys(["risk", *columns]))
    mapped = frame[wanted].to_numpy(dtype=np.float64).copy()
    for name, risk, place in zip(rows.models, rows.risk, rows.place):
        # models may stand side by side that have fewer steps, or only the one
        own = [column for column in columns if frame[column].iloc[place].notna().any()] or ["risk"]
        table = frame[own].to_numpy(dtype=np.float64)[place]
        if bad := int(np.isnan(table).any(axis=1).sum()):
            raise fail(
                "a risk is missing",
                expected=f"{own[0]} to {own[-1]} in every row of model {name!r}",
                found=f"{bad} rows without",
                advice="Drop the columns of steps, or mend the model.",
            )
        for fold in range(len(names)):
            others = learned[number[learned] != fold]
            here = number == fold
            table[here] = fit_map(method, risk[others], rows.event[others])(table[here])
        for column, values in [*zip(own, table.T), ("risk", table[:, -1])]:
            mapped[place, wanted.index(column)] = values
    result = frame.copy()
    result[wanted] = mapped
    return result


def local_patients_curve(
    model: Any,
    local_panel: pd.DataFrame | None = None,
    sizes: Sequence[int] = (25, 50, 100, 200, 400, 800),
    *,
    method: str = "platt",
    at: At = "every",
    n_draws: int = 50,
    n_bins: int = 10,
    random_state: int = 0,
) -> pd.DataFrame:
    """Tell how many local patients it takes to recalibrate a model at a new site.

    Of the patients of the site n are drawn, a map is fitted on them, and the risks of others are
    judged behind it, again and again. As many are judged for every n: all but those of the largest
    size.

    Parameters
    ----------
    model : event frame, or fitted event estimator
        The frame of local patients, or a model, which then gives the risks of `local_panel`.
    local_panel : DataFrame, optional
        Local patients, none of whom the model has seen; with a model only.
    sizes : sequence of int
        Numbers of patients. Those that leave less than a fifth of the patients to judge by are
        left out, with a warning.
    method : {"platt", "temperature", "isotonic", "intercept"}
        See `CalibratedEvents`. Of few patients ``"intercept"`` learns most.
    at : "every", "last" or a time
        Rows that the maps are fitted on and judged by, as of `reliability`.
    n_draws : int
        Draws for each size.
    n_bins : int
        Bins of the calibration error.
    random_state : int
        Of the draws.

    Returns
    -------
    DataFrame
        A row for each model and size n, 0 for the model as it is: ``events`` (mean number of drawn
        patients with one), ``usable`` (share of draws in which something could be learned; in
        others the model stays as it is), and the median over the draws of ``intercept``,
        ``slope``, ``ece`` and ``brier`` with 2.5 % and 97.5 % of them (``..._low``, ``..._high``).
        ``attrs["enough"]`` says for each model from which size on the median calibration error is
        below that of the model as it is, and at most a tenth of the prevalence above that at the
        largest size; None if there is no such size.

    Raises
    ------
    DataError
        If the frame cannot be used, or there are too few patients.

    Notes
    -----
    The spread between draws is what a site with n patients must expect by chance, both in the map
    and in the judgement. It is too small for sizes near the number of all patients, of which the
    draws then share most. Sums over 4,096 classes of risk stand for the rows.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> true = rng.uniform(0, 0.5, size=2000)
    >>> site = pd.DataFrame({"risk": 2 * true, "event": rng.uniform(size=2000) < true})
    >>> curve = local_patients_curve(site, sizes=[50, 200, 800], n_draws=20)
    >>> pd.DataFrame(curve)[["n", "slope", "ece"]].round(2)
         n  slope   ece
    0    0   0.51  0.25
    1   50   0.94  0.07
    2  200   1.10  0.04
    3  800   0.99  0.03
    """
    if isinstance(model, pd.DataFrame) == (local_panel is not None):
        raise bad_parameter(
            "local_panel",
            expected="None beside an event frame, and a panel of local patients beside a model",
            found=local_panel,
        )
    frame = model if local_panel is None else event_frame(model, local_panel)
    if isinstance(sizes, str) or not len(sizes):
        raise bad_parameter("sizes", expected="numbers of patients", found=sizes)
    wanted = sorted({positive_int("sizes", size) for size in sizes})
    n_draws, n_bins = positive_int("n_draws", n_draws), positive_int("n_bins", n_bins)
    positive_int("random_state", random_state, least=0)
    chosen, models, selection = _judged(frame, at)
    n_patients = selection.n_patients
    fitting = [size for size in wanted if size <= 0.8 * n_patients]
    if not fitting:
        raise fail(
            "too few local patients",
            expected=f"at least {int(np.ceil(wanted[0] / 0.8))}, to judge by a fifth of them",
            found=f"{n_patients}",
            advice="Ask for smaller sizes.",
        )
    if len(fitting) < len(wanted):
        warnings.warn(
            f"Sizes above {fitting[-1]} leave less than a fifth of {n_patients} patients to judge "
            "by, and are left out.",
            stacklevel=callers_level(),
        )
    parts, enough = [], {}
    for rows, model in zip(chosen, models):
        # the same patients for every model
        part = _curve(rows, fitting, method, n_draws, n_bins, np.random.default_rng(random_state))
        enough[model] = _enough(part, float(rows.event.mean()))
        part.insert(0, "model", model)
        parts.append(part)
    curve = EventTable(pd.concat(parts, ignore_index=True))
    sentences = [
        f"{model}: {size} local patients are enough" if size else f"{model}: no size is enough"
        for model, size in enough.items()
    ]
    curve.attrs = {"enough": enough, "header": [*selection.header(), *sentences]}
    return curve


def risk_columns(frame: pd.DataFrame) -> list[str]:
    """Columns of risks within 1..K steps, or ``["risk"]`` where there is but one step.

    Raises
    ------
    DataError
        If steps are missing between.
    """
    steps = sorted(
        int(found[1])
        for name in frame.columns
        if isinstance(name, str) and (found := _STEP.fullmatch(name))
    )
    if steps != list(range(1, len(steps) + 1)):
        raise fail(
            "steps of the risk are missing",
            expected="columns risk_1, risk_2, ... without a gap",
            found=f"{[f'risk_{step}' for step in steps]}",
            advice="Keep all of them, or drop all but 'risk'.",
        )
    return [f"risk_{step}" for step in steps] or ["risk"]


# ----------------------------------------------------------------------------------- rows to judge


@dataclass(frozen=True)
class _Judged:
    """Rows that count, of one model.

    Attributes
    ----------
    risk, event : ndarray of float64, shape (n,)
    patient : ndarray of int64, shape (n,)
        Number of the patient of each.
    n_patients : int
    """

    risk: Floats
    event: Floats
    patient: Ints
    n_patients: int


def _judged(frame: pd.DataFrame, at: At) -> tuple[list[_Judged], list[str], Selection]:
    """Choose the rows that count; the models' names, and what is out."""
    _refuse_peak(at)
    rows = event_rows(_completed(frame))
    chosen = select(rows, at)
    parts = [_Judged(risk, chosen.event, chosen.patient, chosen.n_patients) for risk in chosen.risk]
    return parts, rows.models, chosen


def _refuse_peak(at: At) -> None:
    if isinstance(at, str) and at == "peak":
        raise bad_parameter(
            "at",
            expected="'every', 'last' or a time such as '24h'",
            found=at,
            advice="The highest of many risks is no probability of the event.",
        )


def _completed(frame: pd.DataFrame) -> pd.DataFrame:
    """Give an event frame whose columns are all there: without names, rows are all different."""
    if not isinstance(frame, pd.DataFrame) or not {"risk", "event"} <= set(frame.columns):
        return frame  # it is refused where frames are read
    made = frame.copy(deep=False)
    if "model" not in made:
        made["model"] = "model"
    if "series" not in made:
        made["series"] = made.groupby("model", sort=False).cumcount()
    if "time" not in made:
        made["time"] = made.groupby(["model", "series"], sort=False).cumcount()
    if "eligible" not in made:
        made["eligible"] = made["event"].notna()
    return made.assign(
        **{
            name: value
            for name, value in {"at_risk": True, "hours_to_event": np.nan}.items()
            if name not in made
        }
    )


# ------------------------------------------------------------------------------------------ numbers


def _bins(risk: Floats, n_bins: int, weight: Floats | None = None) -> Ints:
    """Bin of each row, from the lowest risk on: equal numbers of rows but for ties, none empty."""
    order = np.argsort(risk, kind="stable")
    weight = np.ones(len(risk)) if weight is None else weight
    before = np.cumsum(weight[order]) - weight[order] / 2
    place = np.empty(len(risk), dtype=np.int64)
    place[order] = (before * n_bins / weight.sum()).astype(np.int64)
    # rows of one risk stand in one bin: that of the middle one of them
    _, same, counts = np.unique(risk, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = place[order][(ends - counts + ends - 1) // 2]
    return np.unique(middle[same], return_inverse=True)[1]


def _total(cell: Ints, values: Floats | None = None, *, minlength: int = 0) -> Floats:
    """Sum values by cell, or count: (n,) -> (cells,)."""
    return np.bincount(cell, values, minlength=minlength).astype(np.float64)


def _sums(patient: Ints, n_patients: int, bins: Ints, values: Sequence[Floats]) -> Floats:
    """Sum values (each (n,)) by patient and bin: (P, bins, len(values))."""
    n_bins = int(bins.max()) + 1
    cell = patient * n_bins + bins
    summed = [_total(cell, each, minlength=n_patients * n_bins) for each in values]
    return np.stack(summed, axis=-1).reshape(n_patients, n_bins, len(values))


def _wilson(events: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Interval of 95 % of rates from sums by patient and bin, (P, bins) -> two of (bins,)."""
    total = rows.sum(axis=0)
    patients = (rows > 0).sum(axis=0).astype(np.float64)
    rate = events.sum(axis=0) / total
    spread = ((events - rate * rows) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = rate * (1 - rate) * total**2 / spread
    effective = np.where(np.isfinite(effective), effective, patients)
    effective = np.clip(effective, 1.0, total)
    centre = rate + _Z**2 / (2 * effective)
    half = _Z * np.sqrt(rate * (1 - rate) / effective + _Z**2 / (4 * effective**2))
    scale = 1 + _Z**2 / effective
    return np.maximum((centre - half) / scale, 0.0), np.minimum((centre + half) / scale, 1.0)


def _summary(rows: _Judged, n_bins: int, n_boot: int, seed: int) -> dict[str, float | int]:
    risk, event, n = rows.risk, rows.event, len(rows.risk)
    odds, ones = log_odds(risk), np.ones(n)
    start, slope = line(odds, event, ones)
    slope = slope if np.ptp(odds) > 0 else np.nan  # of one risk for all
    large = shift(odds, event, ones)
    shifted = expit(large + odds)
    fitted = shifted if np.isnan(slope) else expit(start + slope * odds)
    bins = _bins(risk, n_bins)
    here = np.zeros(n, dtype=np.int64)
    score, weight = event - fitted, fitted * (1 - fitted)
    sums = _sums(
        rows.patient,
        rows.n_patients,
        here,
        [
            ones,
            (event - risk) ** 2,
            event - shifted,
            shifted * (1 - shifted),
            score,
            score * odds,
            weight,
            weight * odds,
            weight * odds**2,
        ],
    )[:, 0]
    per_block = max(1, _AT_ONCE // rows.n_patients)
    drawn = [sums.T @ w for w in replicates(rows.n_patients, n_boot, seed, per_block)]
    count, error, s, h, s0, s1, h00, h01, h11 = np.concatenate(drawn, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of one risk for all
        step = (h00 * s1 - h01 * s0) / (h00 * h11 - h01**2)
    spread = {"intercept": large + s / h, "slope": slope + step, "brier": error / count}
    estimate = {"intercept": large, "slope": slope, "brier": float(((event - risk) ** 2).mean())}
    ece = _ece(_sums(here, 1, bins, [event - risk])[0, :, 0], n)
    perfect = np.quantile(
        _perfect(rows, fitted, bins, n_boot, np.random.default_rng(seed)), [0.025, 0.5, 0.975]
    )
    found: dict[str, float | int] = {
        "n": n,
        "patients": rows.n_patients,
        "events": int(event.sum()),
        "prevalence": float(event.mean()),
        "mean_risk": float(risk.mean()),
    }
    for name in ("intercept", "slope"):
        found |= _with_interval(name, estimate[name], spread[name])
    found |= {"ece": float(ece)}
    found |= dict(zip(("ece_perfect_low", "ece_perfect", "ece_perfect_high"), map(float, perfect)))
    return found | _with_interval("brier", estimate["brier"], spread["brier"])


def _with_interval(name: str, value: float, spread: Floats) -> dict[str, float | int]:
    low, high = interval(spread)
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}


def _ece(difference: Floats, n: float) -> Any:
    """Calibration error from the sum of differences in each bin, (..., bins)."""
    return np.abs(difference).sum(axis=-1) / n


def _perfect(
    rows: _Judged, fitted: Floats, bins: Ints, n_draws: int, rng: np.random.Generator
) -> Floats:
    """Calibration errors that a perfectly calibrated model would show, (n_draws,)."""
    n = len(rows.risk)
    if rows.n_patients == n:
        n_bins = int(bins.max()) + 1
        drawn = (
            _total(bins, (rng.random(n) < rows.risk) - rows.risk, minlength=n_bins)
            for _ in range(n_draws)
        )
        return np.array([_ece(each, n) for each in drawn])
    # without what the logistic line explains: the error of the model itself
    left = _sums(rows.patient, rows.n_patients, bins, [rows.event - fitted])[:, :, 0]
    errors = []
    per_block = max(1, _AT_ONCE // rows.n_patients)
    for begin in range(0, n_draws, per_block):
        size = min(per_block, n_draws - begin)
        signs = rng.choice([-1.0, 1.0], size=(size, rows.n_patients))
        errors.append(_ece(signs @ left, n))
    return np.concatenate(errors)


# ---------------------------------------------------------------------------------- local patients


def _curve(
    rows: _Judged,
    sizes: Sequence[int],
    method: str,
    n_draws: int,
    n_bins: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Numbers of one model: a row for each size, 0 first; those of draws pass over NaN."""
    cell = _bins(rows.risk, _CELLS)
    count, risk, events = (_total(cell, each) for each in (None, rows.risk, rows.event))
    risk = risk / count
    order = np.argsort(rows.patient, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows.patient))])
    ill = _total(rows.patient, rows.event) > 0

    def summed(patients: Ints) -> tuple[Floats, Floats]:
        at = np.concatenate([order[:0], *(order[offsets[p] : offsets[p + 1]] for p in patients)])
        here, outcome = cell[at], rows.event[at]
        return _total(here, minlength=len(count)), _total(here, outcome, minlength=len(count))

    found: list[dict[str, float]] = []
    for _ in range(n_draws):
        drawn = rng.permutation(rows.n_patients)
        # as many are judged for every size: the fewer, the larger an error by chance
        n, y = summed(drawn[: sizes[-1]])
        judged = count - n, events - y
        for size in (0, *sizes):
            n, y = summed(drawn[:size])
            usable = 0 < y.sum() < n.sum()
            mapped = risk
            if usable:
                some = n > 0
                mapped = fit_map(method, risk[some], y[some] / n[some], n[some])(risk)
            counts = {"n": size, "events": float(ill[drawn[:size]].sum()), "usable": float(usable)}
            found.append({**counts, **_measures(mapped, *judged, n_bins)})
    draws = pd.DataFrame(found).groupby("n")
    middle, low, high = (draws.quantile(level) for level in (0.5, 0.025, 0.975))
    curve = draws[["events", "usable"]].mean()
    for name in middle.columns[2:]:
        spread = {name: middle[name], f"{name}_low": low[name], f"{name}_high": high[name]}
        curve = curve.assign(**spread)
    return curve.reset_index()


def _measures(risk: Floats, count: Floats, events: Floats, n_bins: int) -> dict[str, float]:
    """Calibration of classes of risk with so many rows and events; NaN if none, or all."""
    some = count > 0
    risk, count, events = risk[some], count[some], events[some]
    total, with_event = count.sum(), events.sum()
    if not 0 < with_event < total:
        return dict.fromkeys(("intercept", "slope", "ece", "brier"), np.nan)
    odds, rate = log_odds(risk), events / count
    bins = _bins(risk, n_bins, count)
    return {
        "intercept": shift(odds, rate, count),
        "slope": line(odds, rate, count)[1] if np.ptp(odds) > 0 else np.nan,
        "ece": float(_ece(_total(bins, events - count * risk), total)),
        "brier": float((count * risk**2 - 2 * events * risk + events).sum() / total),
    }


def _enough(curve: pd.DataFrame, prevalence: float) -> int | None:
    """Smallest size from which on the middle error is about that of the largest, and helps."""
    error = curve["ece"].to_numpy()
    near = (error <= error[-1] + _NEAR * prevalence) & (error < error[0])
    near[0] = False
    from_here_on = np.flipud(np.logical_and.accumulate(np.flipud(near)))
    return int(curve["n"].to_numpy()[from_here_on.argmax()]) if from_here_on.any() else None
