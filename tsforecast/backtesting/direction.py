"""Direction: the chance to lie above a threshold, calibrated, and beside the base rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first, positive_int
from tsforecast.backtesting.forecast_tests import pesaran_timmermann
from tsforecast.backtesting.risk_maps import fit_map
from tsforecast.backtesting.skill import NAIVE, diebold_mariano, holm, origin_overlap
from tsforecast.metrics import quantile_column, quantile_levels, sample_rows

__all__ = ["Threshold", "direction_rows", "direction_table", "prob_above"]

Floats = npt.NDArray[np.float64]
Threshold = float | pd.Series | npt.NDArray[np.float64] | Literal["last"]

_ROW = ["series", "cutoff", "step", "target", "time"]
_COLUMNS = (
    "base_rate",
    "ups",
    "hit_rate",
    "pt",
    "pt_p",
    "pt_p_holm",
    "brier",
    "brier_calibrated",
    "brier_base",
    "brier_skill",
    "brier_p",
    "n",
    "n_origins",
    "verdict",
)


def prob_above(frame: pd.DataFrame, threshold: Threshold) -> pd.Series:
    """Give the probability that the outcome lies above a threshold, row by row.

    Read off the quantile columns, whatever head, baseline or toolkit they come from: straight lines
    between neighbouring quantiles in the normal score of their level, and the outermost lines go
    on beyond. A normal distribution comes out exactly. It misleads far beyond the outermost
    quantiles, where tails heavier than those of a normal are not seen: give the head levels near
    the threshold.

    Parameters
    ----------
    frame : pandas.DataFrame
        A forecast frame or the flat backtest frame, with at least two quantile columns.
    threshold : float, Series, array of shape (n,) or "last"
        In the unit of the target; one for all rows, or one each, a Series with the index of the
        frame. ``"last"`` is the last known value, which in a backtest frame is what the model
        ``"naive"`` forecasts of the same row.

    Returns
    -------
    pandas.Series
        With the index of the frame. NaN where the threshold is, or fewer than two quantiles are
        given. Quantiles that cross are sorted; where several are equal, there is probability at
        that value, and it does not lie above itself.

    Raises
    ------
    DataError
        If the frame has fewer than two quantile columns.
    ValueError
        If the threshold does not fit the frame.

    Examples
    --------
    >>> frame = pd.DataFrame({"q0.1": [-1.0, 0.0], "q0.5": [0.0, 1.0], "q0.9": [1.0, 2.0]})
    >>> prob_above(frame, 0.0).round(6).tolist()
    [0.5, 0.9]
    """
    levels = quantile_levels(frame.columns)
    if len(levels) < 2:
        raise fail(
            "no distribution to read a probability from",
            expected="at least two quantile columns, such as q0.1 and q0.9",
            found=f"{len(levels)}",
            advice="Use a head or baseline that gives quantiles.",
        )
    limit = _threshold(frame, threshold)
    quantiles = frame[[quantile_column(level) for level in levels]].to_numpy(dtype=float)
    return pd.Series(_above(quantiles, np.asarray(levels), limit), frame.index, name="prob_above")


def direction_rows(
    frame: pd.DataFrame,
    threshold: Threshold = "last",
    *,
    step: int = 1,
    every: int = 20,
    least: int = 100,
) -> pd.DataFrame:
    """Set the chance to lie above a threshold beside what happened, and calibrate it causally.

    ``calibrated`` is the model's probability sent through a logistic line on log odds (Platt 1999)
    that is fitted, anew every `every` cutoffs, on all outcomes known at that cutoff. Where the line
    would turn the model's order round, it is the base rate.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame.
    threshold : float, Series, array of shape (n,) or "last"
        See `prob_above`.
    step : int
        The step of the horizon that is looked at.
    every : int
        Cutoffs between two fits.
    least : int
        Outcomes, some of each kind, from which on a line is fitted; before, ``calibrated`` is the
        base rate.

    Returns
    -------
    pandas.DataFrame
        Columns ``model, series, time, cutoff, target``, in order of cutoff; ``up``, whether the
        outcome lay above (1.0 or 0.0); ``said``, whether the model's chance is above one half
        (without quantiles: its forecast above the threshold); ``probability`` (NaN without
        quantiles); ``calibrated``; and ``base``, the share of ups among the outcomes of all series
        known at the cutoff, one up and one down added. Rows without an outcome, or on which some
        model has no forecast, are left out of all models.

    Raises
    ------
    DataError
        If the backtest has no such step, or there is no row that all models share.
    ValueError
        If a parameter cannot be used.
    """
    step, every = positive_int("step", step), positive_int("every", every)
    least = positive_int("least", least)
    frame = sample_rows(frame.assign(threshold=_threshold(frame, threshold)))
    limit = frame["threshold"].to_numpy(dtype=float)
    if step not in set(frame["step"]):
        raise fail(
            "no forecasts of this step",
            expected=f"one of the steps {first(sorted(frame['step'].unique()))}",
            found=f"{step}",
            advice="Choose a step within the horizon.",
        )
    chance = np.full(len(frame), np.nan)
    levels = np.asarray(quantile_levels(frame.columns))
    if len(levels) > 1:
        columns = [quantile_column(float(level)) for level in levels]
        chance = _above(frame[columns].to_numpy(dtype=float), levels, limit)
    forecast = frame["forecast"].to_numpy(dtype=float)
    actual = frame["actual"].to_numpy(dtype=float)
    with_chance = pd.Series(~np.isnan(chance)).groupby(frame["model"].to_numpy()).transform("any")
    said = np.where(with_chance, chance > 0.5, forecast > limit)
    rows = frame[["model", "series", "time", "cutoff", "target"]].assign(
        up=(actual > limit).astype(float), said=said, probability=chance
    )
    known = ~np.isnan(np.where(with_chance, chance, forecast) + actual + limit)
    rows = rows[known & (frame["step"].to_numpy() == step)]
    keys = ["series", "time", "cutoff", "target"]
    shared = rows.groupby(keys, observed=True)["model"].transform("size")
    rows = rows[shared.to_numpy() == frame["model"].nunique()]
    if rows.empty:
        raise fail(
            "the models cannot be compared",
            expected="rows with an outcome, a threshold and a forecast of every model",
            found=f"none that {first(frame['model'].unique())} share",
            advice="Leave out the model that gives none.",
        )
    order = list(dict.fromkeys(frame["model"]))
    parts: list[pd.DataFrame] = []
    for _, some in rows.groupby("target", observed=True, sort=False):
        some = some.sort_values("cutoff", kind="stable")
        for model in order:
            ours = some[some["model"] == model]
            base = _known_share(ours)
            parts.append(ours.assign(base=base, calibrated=_calibrated(ours, base, every, least)))
    return pd.concat(parts, ignore_index=True)


def direction_table(
    frame: pd.DataFrame,
    threshold: Threshold = "last",
    *,
    step: int = 1,
    every: int = 20,
    least: int = 100,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Judge every model's direction against the base rate, with tests and a sentence.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame.
    threshold : float, Series, array of shape (n,) or "last"
        What "up" is above, see `prob_above`; 0 for returns.
    step, every, least : int
        See `direction_rows`.
    alpha : float
        Level of the test behind ``verdict``.

    Returns
    -------
    pandas.DataFrame
        Index ``model``, of several targets ``(model, target)``. The columns:

        - ``base_rate``: share of outcomes that were up; ``ups``: share that the model said;
        - ``hit_rate``: share of right directions; ``pt``, ``pt_p``, ``pt_p_holm``: statistic and
          one-sided p-value of `pesaran_timmermann`, adjusted over the rows of the table;
        - ``brier``, ``brier_calibrated``, ``brier_base``: mean squared error of the model's
          probability, of the same calibrated, and of the base rate known at the cutoff;
          ``brier_skill`` is 1 - calibrated / base, and ``brier_p`` the one-sided p-value of
          "calibrated is better" (`diebold_mariano`, one mean per cutoff), not adjusted. NaN without
          quantiles;
        - ``n`` rows, ``n_origins`` cutoffs, and the ``verdict``.

    Raises
    ------
    DataError
        If the backtest has no such step, or there is no row that all models share.
    ValueError
        If a parameter cannot be used.

    Notes
    -----
    How it misleads. A hit rate above one half is the base rate of a rising market until the test
    says otherwise. Calibration mends a probability's level and spread, not its order. Series of
    one cutoff count as one observation.
    """
    if not 0 < alpha < 1:
        raise bad_parameter("alpha", expected="a number between 0 and 1", found=alpha)
    rows = direction_rows(frame, threshold, step=step, every=every, least=least)
    records: dict[Any, dict[str, Any]] = {
        place: _judged(part) for place, part in rows.groupby(["model", "target"], sort=False)
    }
    index = [
        (model, target)
        for model in dict.fromkeys(rows["model"])
        for target in dict.fromkeys(rows["target"])
    ]
    several = rows["target"].nunique() > 1
    adjusted = f" after Holm over {len(index)} rows" if len(index) > 1 else ""
    p_holm = holm([records[place]["pt_p"] for place in index])
    for place, p in zip(index, p_holm):
        record = records[place]
        record["pt_p_holm"] = float(p)
        name = f"{place[0]} on {place[1]}" if several else str(place[0])
        record["verdict"] = _sentence(name, record, alpha, adjusted)
    names = pd.Index([model for model, _ in index], name="model")
    return pd.DataFrame(
        [records[place] for place in index],
        index=pd.MultiIndex.from_tuples(index, names=["model", "target"]) if several else names,
        columns=list(_COLUMNS),
    )


def _judged(rows: pd.DataFrame) -> dict[str, Any]:
    """Scores and tests of one model on one target."""
    overlap = origin_overlap(rows)
    up, said = rows["up"].to_numpy(), rows["said"].to_numpy(dtype=float)
    test = pesaran_timmermann(up - 0.5, said - 0.5, horizon=overlap, cutoff=rows["cutoff"])
    brier = {
        name: (rows[column] - rows["up"]).to_numpy() ** 2
        for name, column in (
            ("brier", "probability"),
            ("brier_calibrated", "calibrated"),
            ("brier_base", "base"),
        )
    }
    scores = {name: float(values.mean()) for name, values in brier.items()}
    skill = p = math.nan
    if not math.isnan(scores["brier_calibrated"]):
        by_cutoff = pd.DataFrame(brier).groupby(rows["cutoff"].to_numpy()).mean()
        skill = 1 - scores["brier_calibrated"] / scores["brier_base"]
        calibrated, base = by_cutoff["brier_calibrated"], by_cutoff["brier_base"]
        p = diebold_mariano(calibrated, base, horizon=overlap).p_less
    return {
        "base_rate": float(up.mean()),
        "ups": float(said.mean()),
        "hit_rate": float((up == said).mean()),
        "pt": test.statistic,
        "pt_p": test.p,
        **scores,
        "brier_skill": skill,
        "brier_p": p,
        "n": len(rows),
        "n_origins": test.n_origins,
    }


def _sentence(name: str, record: Mapping[str, Any], alpha: float, adjusted: str) -> str:
    base, p = f"the base rate {100 * record['base_rate']:.0f} %", record["pt_p_holm"]
    if math.isnan(p):
        return f"{name}: {record['n_origins']:,} origins are too few for a test of direction."
    if record["ups"] in (0.0, 1.0):
        way = "up" if record["ups"] else "down"
        return f"{name}: no evidence of direction beyond {base}: it always says {way}."
    opening = "direction" if p < alpha else "no evidence of direction"
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    right = f"right on {100 * record['hit_rate']:.1f} % of {record['n']:,}"
    return f"{name}: {opening} beyond {base} ({right}, {chance}{adjusted})."


def _known_share(rows: pd.DataFrame) -> Floats:
    """Share of ups among the outcomes known at each row's cutoff; one up and one down added."""
    times, up = rows["time"].to_numpy(), rows["up"].to_numpy()
    order = np.argsort(times, kind="stable")
    ups = np.concatenate([[0.0], np.cumsum(up[order])])
    count = np.searchsorted(times[order], rows["cutoff"].to_numpy(), side="right")
    return np.asarray((ups[count] + 1) / (count + 2))


def _calibrated(rows: pd.DataFrame, base: Floats, every: int, least: int) -> Floats:
    """Probabilities through a logistic line fitted on what was known at every so many cutoffs."""
    chance, up = rows["probability"].to_numpy(), rows["up"].to_numpy()
    if np.isnan(chance).any():
        return np.full(len(rows), np.nan)
    number, cutoffs = pd.factorize(rows["cutoff"], sort=True)
    known_from = cutoffs.searchsorted(pd.Index(rows["time"]))  # first cutoff that knows the outcome
    result = base.copy()
    for begin in range(0, len(cutoffs), every):
        known = known_from <= begin
        here = (number >= begin) & (number < begin + every)
        if known.sum() >= least and 0 < up[known].sum() < known.sum():
            line = fit_map("platt", chance[known], up[known])
            if line.slope > 0:
                result[here] = line(chance[here])
    return result


def _threshold(frame: pd.DataFrame, threshold: Threshold) -> Floats:
    """The threshold of every row."""
    if isinstance(threshold, str):
        if threshold != "last":
            raise bad_parameter(
                "threshold", expected='a number, one for each row, or "last"', found=threshold
            )
        return _last_known(frame)
    if isinstance(threshold, pd.Series) and not threshold.index.equals(frame.index):
        raise bad_parameter(
            "threshold",
            expected="a Series with the index of the frame",
            found=f"{len(threshold)} values with another index",
            advice="Align it first, or pass an array of the frame's length.",
        )
    values = np.asarray(threshold, dtype=float)
    if values.ndim and values.shape != (len(frame),):
        raise bad_parameter(
            "threshold",
            expected=f"a number, or {len(frame)} of them, one for each row",
            found=f"values of shape {values.shape}",
        )
    return np.broadcast_to(values, len(frame))


def _last_known(frame: pd.DataFrame) -> Floats:
    """What the naive model of a backtest frame forecasts of every row."""
    if "model" not in frame:
        raise bad_parameter(
            "threshold",
            expected="a value: a forecast frame does not hold the last known one",
            found="last",
            advice='Pass the value, e.g. panel["close"].iloc[-1], or one for each row.',
        )
    if NAIVE not in set(frame["model"]):
        raise bad_parameter(
            "threshold",
            expected=f"a value, as no model {NAIVE!r} is among {first(frame['model'].unique())}",
            found="last",
            advice="Add the naive forecast, or pass the last known value of each row.",
        )
    naive = frame.loc[frame["model"] == NAIVE, [*_ROW, "forecast"]].drop_duplicates(_ROW)
    joined = frame[_ROW].merge(naive, on=_ROW, how="left")
    return joined["forecast"].to_numpy(dtype=float)


def _above(quantiles: Floats, levels: Floats, threshold: Floats) -> Floats:
    """P(Y > threshold) of rows (n,), from quantiles (n, J), in groups of rows that give the same.

    Sorting mends quantiles that cross (Chernozhukov, Fernandez-Val and Galichon 2010).
    """
    result = np.full(len(quantiles), np.nan)
    given = ~np.isnan(quantiles)
    patterns, which = np.unique(given, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero((which.ravel() == number) & ~np.isnan(threshold))
        if pattern.sum() < 2 or not len(rows):
            continue
        values = np.sort(quantiles[np.ix_(rows, pattern)], axis=1)
        result[rows] = _survival(values, levels[pattern], threshold[rows])
    return result


def _survival(quantiles: Floats, levels: Floats, threshold: Floats) -> Floats:
    """P(Y > threshold) of rows (n,), from sorted quantiles (n, J) of all levels."""
    from scipy.stats import norm

    score = norm.ppf(levels)
    below = (quantiles <= threshold[:, None]).sum(axis=1)  # of equal ones the last counts
    left = np.clip(below - 1, 0, len(levels) - 2)
    row = np.arange(len(threshold))
    width = quantiles[row, left + 1] - quantiles[row, left]
    # beyond the last quantile the line goes on from there, so that equal ones stay a step
    start = np.where(below == len(levels), left + 1, left)
    ahead = threshold - quantiles[row, start]
    rise = score[left + 1] - score[left]
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(ahead == 0, 0.0, ahead * rise / width)
    return np.asarray(norm.sf(score[start] + moved))
