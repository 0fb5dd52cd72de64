"""Direction: the chance to lie above a threshold, calibrated, and beside the base rate."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first, positive_int
from tsforecast.backtesting._shared import (
    ROW,
    chance,
    check_alpha,
    refuse_repeated,
    rows_of_step,
)
from tsforecast.backtesting.forecast_tests import pesaran_timmermann
from tsforecast.backtesting.risk_maps import fit_map, log_odds
from tsforecast.backtesting.skill import NAIVE, diebold_mariano, holm, origin_overlap
from tsforecast.metrics import as_forecasts, quantile_column, quantile_levels, sample_rows

__all__ = ["Threshold", "direction_rows", "direction_table", "prob_above"]

Floats = npt.NDArray[np.float64]
Threshold = float | pd.Series | npt.NDArray[np.float64] | Literal["last"]

_BINS, _WIDTH = 1000, 0.02  # of log odds, from -10 to 10, whose chances are fitted as one
_COLUMNS = (
    "base_rate",
    "share_up",
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
        given; infinite ones count as not given. Quantiles that cross are sorted; where several are
        equal, there is probability at that value, and it does not lie above itself.

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
    threshold: Threshold,
    columns: Mapping[str, Hashable | Sequence[str]] | None = None,
    *,
    step: int = 1,
    every: int = 20,
    least: int = 100,
) -> pd.DataFrame:
    """Set the chance to lie above a threshold beside what happened, and calibrate it causally.

    ``calibrated`` is the model's probability sent through a logistic line on log odds (Platt 1999)
    that is fitted, anew every `every` cutoffs, on all outcomes known at that cutoff, of all series
    (chances whose log odds lie within 0.02 count as one). Where the line would turn the model's
    order round, it is the base rate.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame, ours or that of another toolkit.
    threshold : float, Series, array of shape (n,) or "last"
        See `prob_above` and `direction_table`.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.
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
        outcome lay above (1.0 or 0.0); ``forecast_up``, whether the model's chance is above one
        half (without quantiles: its forecast above the threshold); ``probability`` (NaN without
        quantiles); ``calibrated``; and ``base``, the share of ups among the outcomes of the series
        known at the cutoff, shrunk to that of all series (one up and one down added) as far as
        chance explains that they differ. Rows without an outcome, or on which some model has no
        forecast, are left out of all models.

    Raises
    ------
    DataError
        If the backtest has no such step, rows are repeated, or there is no row that all models
        share.
    ValueError
        If a parameter cannot be used.
    """
    step, every = positive_int("step", step), positive_int("every", every)
    least = positive_int("least", least)
    frame = sample_rows(_with_threshold(frame, threshold, columns))
    rows = rows_of_step(frame, step)
    refuse_repeated(rows)
    limit = rows["threshold"].to_numpy(dtype=float)
    above = np.full(len(rows), np.nan)
    levels = np.asarray(quantile_levels(frame.columns))
    if len(levels) > 1:
        names = [quantile_column(float(level)) for level in levels]
        above = _above(rows[names].to_numpy(dtype=float), levels, limit)
    forecast = rows["forecast"].to_numpy(dtype=float)
    actual = rows["actual"].to_numpy(dtype=float)
    with_chance = pd.Series(~np.isnan(above)).groupby(rows["model"].to_numpy()).transform("any")
    rows = rows[["model", *ROW]].assign(
        up=(actual > limit).astype(float),
        forecast_up=np.where(with_chance, above > 0.5, forecast > limit),
        probability=above,
    )
    rows = rows[~np.isnan(np.where(with_chance, above, forecast) + actual + limit)]
    models = list(frame["model"].unique())
    shared = rows.groupby(ROW, observed=True)["model"].transform("size")
    rows = rows[shared.to_numpy() == len(models)]
    if rows.empty:
        raise fail(
            "the models cannot be compared",
            expected="rows with an outcome, a threshold and a forecast of every model",
            found=f"none that {first(models)} share",
            advice="Leave out the model that gives none.",
        )
    parts: list[pd.DataFrame] = []
    for _, some in rows.groupby("target", observed=True, sort=False):
        some = some.sort_values(["cutoff", "series"], kind="stable")
        base: Floats | None = None
        for model in models:
            ours = some[some["model"] == model]
            base = _known_share(ours) if base is None else base  # they have the same rows
            parts.append(ours.assign(base=base, calibrated=_calibrated(ours, base, every, least)))
    found = pd.concat(parts, ignore_index=True).drop(columns="step")
    first_ones = ["model", "series", "time", "cutoff", "target"]
    return found[[*first_ones, *(name for name in found if name not in first_ones)]]


def direction_table(
    frame: pd.DataFrame,
    threshold: Threshold,
    columns: Mapping[str, Hashable | Sequence[str]] | None = None,
    *,
    baselines: Sequence[Hashable] = (NAIVE,),
    step: int = 1,
    every: int = 20,
    least: int = 100,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Judge every model's direction against the base rate, with tests and a sentence.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame, ours or that of another toolkit.
    threshold : float, Series, array of shape (n,) or "last"
        What "up" is above, see `prob_above`: 0 for returns, ``"last"`` for levels such as prices.
        ``"last"`` is wrong for returns: whether a return will lie above the last one is easily
        foretold, as after a large one a smaller one is likely, and says nothing of the market.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.
    baselines : sequence of str
        Models that are shown and not judged: their p-values are not adjusted, nor counted in the
        adjustment of the others.
    step, every, least : int
        See `direction_rows`.
    alpha : float
        Level of the test behind ``verdict``.

    Returns
    -------
    pandas.DataFrame
        Index ``model``, of several targets ``(model, target)``. The columns:

        - ``base_rate``: share of outcomes that were up; ``share_up``: share of forecasts that were;
        - ``hit_rate``: share of right directions; ``pt``, ``pt_p``, ``pt_p_holm``: statistic and
          one-sided p-value of `pesaran_timmermann`, with shares of ups of each series, and the
          same adjusted over the models and targets judged (NaN for baselines);
        - ``brier``, ``brier_calibrated``, ``brier_base``: mean squared error of the model's
          probability, of the same calibrated, and of the base rate of the series known at the
          cutoff; ``brier_skill`` is 1 - calibrated / base, and ``brier_p`` the one-sided p-value of
          "calibrated is better" (`diebold_mariano`, one mean per cutoff), not adjusted. NaN without
          quantiles;
        - ``n`` rows, ``n_origins`` cutoffs, and the ``verdict``.

    Raises
    ------
    DataError
        If the backtest has no such step, rows are repeated, or there is no row that all models
        share.
    ValueError
        If a parameter cannot be used.

    Notes
    -----
    How it misleads. A hit rate above one half is the base rate of a rising market until the test
    says otherwise. Calibration mends a probability's level and spread, not its order. Series of
    one cutoff count as one observation. On panels ``brier_p`` also counts what a model was told
    beforehand of how often each series rises, which the base rate must learn first; ``pt_p`` and
    the verdict do not.
    """
    check_alpha(alpha)
    if isinstance(baselines, str):
        raise bad_parameter("baselines", expected="a sequence of model names", found=baselines)
    rows = direction_rows(frame, threshold, columns, step=step, every=every, least=least)
    groups = dict(tuple(rows.groupby(["model", "target"], observed=True, sort=False)))
    index = [
        (model, target) for model in rows["model"].unique() for target in rows["target"].unique()
    ]
    records = [_judged(groups[place]) for place in index]
    several = rows["target"].nunique() > 1
    judged = np.array([model not in baselines for model, _ in index])
    p_holm = holm([record["pt_p"] if own else math.nan for record, own in zip(records, judged)])
    adjusted = f" after Holm over {judged.sum()} rows" if judged.sum() > 1 else ""
    for place, record, own, p in zip(index, records, judged, p_holm):
        record["pt_p_holm"] = float(p)
        name = f"{place[0]} on {place[1]}" if several else str(place[0])
        said = (float(p), adjusted) if own else (record["pt_p"], "")
        record["verdict"] = _sentence(name, record, alpha, *said)
    names = pd.Index([model for model, _ in index], name="model")
    return pd.DataFrame(
        records,
        index=pd.MultiIndex.from_tuples(index, names=["model", "target"]) if several else names,
        columns=list(_COLUMNS),
    )


def _judged(rows: pd.DataFrame) -> dict[str, Any]:
    """Scores and tests of one model on one target."""
    overlap = origin_overlap(rows)
    up, forecast_up = rows["up"].to_numpy(), rows["forecast_up"].to_numpy(dtype=float)
    test = pesaran_timmermann(
        up - 0.5,
        forecast_up - 0.5,
        horizon=overlap,
        cutoff=rows["cutoff"],
        series=rows["series"],
    )
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
        by_cutoff = pd.DataFrame(brier).groupby(pd.factorize(rows["cutoff"])[0]).mean()
        skill = 1 - scores["brier_calibrated"] / scores["brier_base"]
        calibrated, base = by_cutoff["brier_calibrated"], by_cutoff["brier_base"]
        p = diebold_mariano(calibrated, base, horizon=overlap).p_less
    return {
        "base_rate": float(up.mean()),
        "share_up": float(forecast_up.mean()),
        "hit_rate": float((up == forecast_up).mean()),
        "pt": test.statistic,
        "pt_p": test.p,
        **scores,
        "brier_skill": skill,
        "brier_p": p,
        "n": len(rows),
        "n_origins": test.n_origins,
    }


def _sentence(name: str, record: Mapping[str, Any], alpha: float, p: float, adjusted: str) -> str:
    base = f"the base rate {100 * record['base_rate']:.0f} %"
    if math.isnan(p):
        return f"{name}: {record['n_origins']:,} origins are too few for a test of direction."
    if record["share_up"] in (0.0, 1.0):
        way = "up" if record["share_up"] else "down"
        return f"{name}: no evidence of direction beyond {base}: it always says {way}."
    opening = "direction" if p < alpha else "no evidence of direction"
    right = f"right on {100 * record['hit_rate']:.1f} % of {record['n']:,}"
    return f"{name}: {opening} beyond {base} ({right}, {chance(p)}{adjusted})."


def _known_share(rows: pd.DataFrame) -> Floats:
    """Share of ups in a series among the outcomes known at each row's cutoff.

    Shrunk to the share of all series, as far as chance explains that series differ (empirical
    Bayes, by moments): of one series it is that share.
    """
    number, cutoffs = pd.factorize(rows["cutoff"], sort=True)
    unit, names = pd.factorize(rows["series"])
    known_from = cutoffs.searchsorted(pd.Index(rows["time"]))  # first cutoff that knows the outcome
    size = (len(cutoffs) + 1, len(names))
    place = known_from * size[1] + unit
    count, ups = (
        np.bincount(place, weights, size[0] * size[1]).reshape(size).cumsum(axis=0)
        for weights in (None, rows["up"].to_numpy())
    )  # (C + 1, S)
    total = count.sum(axis=1, keepdims=True)
    share = (ups.sum(axis=1, keepdims=True) + 1) / (total + 2)
    noise = share * (1 - share)
    away = np.divide(ups, count, out=share + np.zeros(size), where=count > 0) - share
    excess = (count * away**2).sum(axis=1, keepdims=True)
    excess -= noise * (count > 0).sum(axis=1, keepdims=True)
    between = np.maximum(excess, 0.0) / np.maximum(total, 1)  # variance of the series' own shares
    base = share + away * count * between / (count * between + noise)
    return np.asarray(base[number, unit])


def _calibrated(rows: pd.DataFrame, base: Floats, every: int, least: int) -> Floats:
    """Probabilities through a logistic line fitted on what was known at every so many cutoffs."""
    probability, up = rows["probability"].to_numpy(), rows["up"].to_numpy()
    if np.isnan(probability).any():
        return np.full(len(rows), np.nan)
    number, cutoffs = pd.factorize(rows["cutoff"], sort=True)
    known_from = cutoffs.searchsorted(pd.Index(rows["time"]))  # first cutoff that knows the outcome
    place = np.floor(log_odds(probability) / _WIDTH).astype(int) + _BINS // 2
    place = np.clip(place, 0, _BINS - 1)
    block = -(-known_from // every)  # the first fit that knows the outcome
    turns = np.arange(0, len(cutoffs), every)
    order = np.argsort(block, kind="stable")
    edges = np.searchsorted(block[order], np.arange(len(turns) + 1))
    count, total, ups = np.zeros((3, _BINS))
    result = base.copy()
    for turn, begin in enumerate(turns):
        new = order[edges[turn] : edges[turn + 1]]
        for sums, values in ((count, None), (total, probability[new]), (ups, up[new])):
            sums += np.bincount(place[new], values, _BINS)
        if count.sum() < least or not 0 < ups.sum() < count.sum():
            continue
        some = count > 0
        line = fit_map("platt", total[some] / count[some], ups[some] / count[some], count[some])
        if line.slope > 0:
            here = (number >= begin) & (number < begin + every)
            result[here] = line(probability[here])
    return result


def _with_threshold(
    frame: pd.DataFrame,
    threshold: Threshold,
    columns: Mapping[str, Hashable | Sequence[str]] | None,
) -> pd.DataFrame:
    """The frame in our form with the threshold of every row."""
    ours = as_forecasts(frame, columns)
    if isinstance(threshold, pd.Series) and threshold.index.equals(frame.index):
        threshold = threshold.to_numpy(dtype=float)  # rows of a long frame keep their order
    return ours.assign(threshold=_threshold(ours, threshold))


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
    naive = frame.loc[frame["model"] == NAIVE, [*ROW, "forecast"]].drop_duplicates(ROW)
    joined = frame[ROW].merge(naive, on=ROW, how="left")
    return joined["forecast"].to_numpy(dtype=float)


def _above(quantiles: Floats, levels: Floats, threshold: Floats) -> Floats:
    """P(Y > threshold) of rows (n,), from quantiles (n, J), in groups of rows that give the same.

    Sorting mends quantiles that cross (Chernozhukov, Fernandez-Val and Galichon 2010).
    """
    quantiles = np.where(np.isinf(quantiles), np.nan, quantiles)
    result = np.full(len(quantiles), np.nan)
    given = ~np.isnan(quantiles)
    count = np.where(np.isnan(threshold), 0, given.sum(axis=1))
    whole = np.flatnonzero(count == len(levels))
    partly = np.flatnonzero((count > 1) & (count < len(levels)))
    groups = [(whole, np.ones(len(levels), dtype=bool))]
    if len(partly):
        patterns, which = np.unique(given[partly], axis=0, return_inverse=True)
        groups += [(partly[which.ravel() == i], pattern) for i, pattern in enumerate(patterns)]
    for rows, pattern in groups:
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
