"""Is a forecast better than the baselines, or a shifted copy: tests and a plain verdict."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import (
    bad_parameter,
    choice,
    fail,
    first,
    positive_int,
)
from tsforecast.backtesting._shared import (
    ROW,
    chance,
    check_alpha,
    percent,
    refuse_repeated,
    warn_of_lacking,
)
from tsforecast.metrics import (
    as_forecasts,
    qlike,
    quantile_loss,
    quantiles_given,
    sample_rows,
    scored_rows,
)

__all__ = [
    "DieboldMariano",
    "Loss",
    "constant_difference",
    "correction_share",
    "diebold_mariano",
    "holm",
    "least_origins",
    "loss_table",
    "origin_overlap",
    "row_losses",
    "shift_lag",
    "skill",
]

Floats = npt.NDArray[np.float64]
Loss = Literal["auto", "absolute", "squared", "quantile", "qlike"]
By = Literal["step", "series"]

NAIVE = "naive"
_LOSSES = ("auto", "absolute", "squared", "quantile", "qlike")
_MIN_ORIGINS = 10
_SAME = 1e-9  # relative size of a loss differential that is rounding, not a difference
_COPY = 0.1  # correction share below which a forecast in step with the naive is called its copy
_STILL = 0.05  # share of the outcome's variance below which a forecast hardly moves
_COLUMNS = (
    "loss",
    "baseline",
    "baseline_loss",
    "ratio",
    "dm",
    "p",
    "p_holm",
    "naive_loss",
    "naive_p",
    "shift",
    "shift_naive",
    "correction_share",
    "n_origins",
    "verdict",
)


@dataclass(frozen=True)
class DieboldMariano:
    """The outcome of a test of equal expected loss.

    Attributes
    ----------
    statistic : float
        Negative when the first loss is lower. NaN when there are too few origins.
    p_less : float
        One-sided p-value of "the first is better"; ``1 - p_less`` is that of "worse". Exactly 1
        when the losses are identical, NaN when there are too few origins.
    n_origins : int
        Number of origins.
    identical : bool
        Whether the two losses agree at every origin, up to rounding.
    """

    statistic: float
    p_less: float
    n_origins: int
    identical: bool


def diebold_mariano(
    loss_a: npt.ArrayLike, loss_b: npt.ArrayLike, *, horizon: int
) -> DieboldMariano:
    """Test whether the first of two series of losses is lower in expectation.

    Diebold and Mariano (1995), with a Newey-West variance and the small-sample correction of
    Harvey, Leybourne and Newbold (1997) against Student's t with n - 1 degrees of freedom.

    To read: a small p says that so large an advantage is rare between equals. It misleads in
    short samples of overlapping forecasts: a nominal 5 % was, in simulation with the strongest
    overlap, 5 % for one step and 8 % for five at 200 origins, 7 % for five or twenty steps at
    1,000, and 9 to 12 % near the fewest origins allowed. It misleads also when many variants
    were tried before and only the last is shown.

    Parameters
    ----------
    loss_a, loss_b : array-like, shape (n,)
        Mean losses per origin, in time order, on the same rows.
    horizon : int
        How many consecutive origins share forecast rows: the forecast horizon when there is an
        origin at every row, 1 when no two forecasts overlap.

    Returns
    -------
    DieboldMariano
        With NaN for fewer than ``max(10, 2 * horizon)`` origins.

    Raises
    ------
    ValueError
        If the losses differ in length or are not finite.

    Examples
    --------
    >>> loss = [1.0, 3.0, 2.0, 4.0, 1.0, 2.0, 5.0, 1.0, 2.0, 2.0]
    >>> diebold_mariano(loss, loss, horizon=1)
    DieboldMariano(statistic=0.0, p_less=1.0, n_origins=10, identical=True)
    """
    a, b = np.asarray(loss_a, dtype=float), np.asarray(loss_b, dtype=float)
    horizon = positive_int("horizon", horizon)
    if a.ndim != 1 or a.shape != b.shape:
        raise bad_parameter(
            "loss_b", expected=f"losses of shape {a.shape}, one axis", found=b.shape
        )
    difference = a - b
    if not np.isfinite(difference).all():
        bad = int((~np.isfinite(difference)).sum())
        raise bad_parameter("loss_a", expected="finite losses", found=f"{bad} that are not")
    n = len(difference)
    constant = constant_difference(difference, float(np.abs(b).mean()) if n else 0.0)
    if constant == 0.0:
        return DieboldMariano(0.0, 1.0, n, True)
    if n < least_origins(horizon):
        return DieboldMariano(math.nan, math.nan, n, False)
    if constant is not None:
        return DieboldMariano(math.copysign(math.inf, constant), float(constant > 0), n, False)

    from scipy.stats import t as student
    from statsmodels.tsa.stattools import diebold_mariano_test

    # The Bartlett weights all but vanish at the last lag: with horizon - 1 lags, and data enough,
    # the variance of overlapping forecasts comes out a third too small.
    lags = max(horizon - 1, min(2 * horizon - 2, n // 10), math.ceil(n ** (1 / 3)))
    test = diebold_mariano_test(
        np.zeros(n),
        a,
        b,
        lags=lags,
        criterion=lambda _, loss: loss,
        harvey_adj=True,
        horizon=horizon,
    )
    statistic = float(test.statistic)
    return DieboldMariano(statistic, float(student.cdf(statistic, df=n - 1)), n, False)


def constant_difference(difference: Floats, size: float) -> float | None:
    """Return the value of a differential that never moves, 0 if it is rounding; else None."""
    if not len(difference):
        return None
    if float(np.abs(difference).max()) <= _SAME * size:
        return 0.0
    mean = float(difference.mean())
    return mean if float(np.abs(difference - mean).max()) <= _SAME * abs(mean) else None


def least_origins(horizon: int) -> int:
    """Return the number of origins below which no test is made."""
    return max(_MIN_ORIGINS, 2 * horizon)


def holm(p: npt.ArrayLike) -> Floats:
    """Adjust p-values for the number of tests (Holm 1979); NaN stays NaN and is not counted.

    Parameters
    ----------
    p : array-like, shape (n,)
        P-values.

    Returns
    -------
    numpy.ndarray
        Adjusted p-values in the same order: below alpha with a chance of at most alpha for any
        of the true null hypotheses.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=float)
    adjusted = np.full(values.shape, np.nan)
    order = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return adjusted


def shift_lag(frame: pd.DataFrame, *, horizon: int) -> float:
    """Find how many rows late a model's forecasts are: the lag at which they look like the series.

    Takes the forecasts ``horizon`` steps ahead and returns the lag s, from 0 to 2 * horizon, at
    which the mean of |forecast for row t - last known value at row t - s| is least; every series
    counts alike. The naive has exactly ``horizon``.

    To read: 0 is a forecast in time with the series, ``horizon`` a copy of what was known when
    the forecast was made. It misleads when read alone: the best forecast of a random walk *is*
    that copy, and a nearly constant forecast (of returns, say) has an arbitrary lag.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows of one model in a backtest frame.
    horizon : int
        The step to look at, in rows.

    Returns
    -------
    float
        The lag in rows; NaN if the origins lie so far apart that the 2 * horizon rows before a
        forecast are nowhere in the frame.

    Raises
    ------
    ValueError
        If the frame holds several models.
    """
    horizon = positive_int("horizon", horizon)
    if len(frame["model"].unique()) > 1:
        raise bad_parameter(
            "frame", expected="one model", found=first(frame["model"].unique()), advice="Select it."
        )
    _, distance = _lateness(frame, horizon)
    return _closest(distance)


def _lateness(frame: pd.DataFrame, horizon: int) -> tuple[pd.MultiIndex, Floats]:
    """Give the (series, target) of a model, and their distance by lag, of mean 1, (lags, units)."""
    key = ["series", "target", "time"]
    origin = ["series", "target", "cutoff"]
    known = frame[[*key, "actual"]].drop_duplicates(key)
    edges = frame[origin].drop_duplicates().set_axis(key, axis=1)
    # A cutoff which no forecast reaches has unknown rows before it: a stretch starts there.
    table = pd.concat([known.assign(starts=False), edges.assign(actual=np.nan, starts=True)])
    table = table.drop_duplicates(key).sort_values(key, ignore_index=True)
    stretch = table["starts"].cumsum()
    reach = 2 * horizon
    place = table.index.to_numpy() + reach * stretch.to_numpy()
    values = np.full(int(place[-1]) + 1 if len(place) else 0, np.nan)
    values[place] = table.groupby(stretch)["actual"].ffill().to_numpy(dtype=float)

    rows = frame[frame["step"] == horizon].dropna(subset=["actual", "forecast"])
    index = pd.MultiIndex.from_frame(table[key])
    at = place[index.get_indexer(pd.MultiIndex.from_frame(rows[key]))]
    start = place[index.get_indexer(pd.MultiIndex.from_frame(rows[origin]))]
    usable = at - start == horizon
    usable[usable] = ~np.isnan(values[at[usable] - reach])
    at, rows = at[usable], rows[usable]
    forecast = rows["forecast"].to_numpy(dtype=float)
    grouped = rows.groupby(["series", "target"], observed=True)
    unit, units = grouped.ngroup().to_numpy(), grouped.size().index
    distance = np.empty((reach + 1, len(units)))
    for lag in range(reach + 1):
        distance[lag] = np.bincount(unit, np.abs(forecast - values[at - lag]), len(units))
    mean = distance.mean(axis=0)
    return units[mean > 0], distance[:, mean > 0] / mean[mean > 0]


def _closest(distance: Floats) -> float:
    """Lag of the least distance, every unit counting alike; NaN without any."""
    return float(np.argmin(distance.mean(axis=1))) if distance.shape[1] else math.nan


def correction_share(forecast: npt.ArrayLike, naive: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """Compare how far the forecasts leave the naive with how far the outcomes do.

    To read: 0 is the naive plus a constant; an honest forecast has about its R2 against the
    naive (the share of the outcome's moves that can be known); near 1 or above, the forecast is
    as wild as the data. It misleads when read as skill: noise added to the naive raises it.

    Parameters
    ----------
    forecast, naive, actual : array-like
        Of the same rows; rows with a NaN are left out.

    Returns
    -------
    float
        var(forecast - naive) / var(actual - naive); NaN if the outcome never leaves the naive.

    Examples
    --------
    >>> correction_share([0.5, -0.5], [0.0, 0.0], [1.0, -1.0])
    0.25
    """
    base = np.asarray(naive, dtype=float)
    correction = np.asarray(forecast, dtype=float) - base
    outcome = np.asarray(actual, dtype=float) - base
    both = ~np.isnan(correction + outcome)
    if not both.any() or not (variance := float(outcome[both].var())):
        return math.nan
    return float(correction[both].var()) / variance


def skill(
    frame: pd.DataFrame,
    horizon: int | None = None,
    columns: Mapping[str, Hashable | Sequence[str]] | None = None,
    *,
    baselines: Sequence[str] = (NAIVE,),
    loss: Loss = "auto",
    alpha: float = 0.05,
    by: By | None = None,
) -> pd.DataFrame:
    """Judge every model against the best baseline and the naive, with a test and a sentence.

    Losses are taken on the rows that all compared models share, and averaged over series and
    steps within a cutoff: a cutoff is one observation, whatever the number of series, for series
    move together. So a panel is pooled with its errors clustered by time: whatever moves all
    series of a cutoff at once counts once. The autocorrelation of overlapping forecasts is
    allowed for up to at least ``horizon - 1`` rows (see `diebold_mariano`).

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame, ours or that of another toolkit. In-sample rows are left out.
    horizon : int, optional
        Forecast horizon in rows; default: the highest step.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.
    baselines : sequence of str
        The models that are baselines, at least one; a model ``"naive"`` always is. The rest are
        judged.
    loss : {"auto", "absolute", "squared", "quantile", "qlike"}
        ``"quantile"`` is twice the mean pinball loss over the levels that all compared models
        give; baselines that give points only are then not compared, as points taken for quantiles
        would make a straw man. ``"auto"`` is therefore ``"quantile"`` only if every model gives
        quantiles, else ``"absolute"`` of the ``forecast``; of probabilities (every actual is 0 or
        1, a forecast lies between) it is ``"squared"``, the Brier score, as the absolute error is
        least at 0 or 1. Prefer ``"squared"`` for means and ``"qlike"`` for variances.
    alpha : float
        Level of the test behind ``verdict``, in each direction.
    by : {"step", "series"}, optional
        A row per model and step (the autocorrelation allowed for is then the step's own), or per
        model and series, each on its own rows and against its own best baseline; p-values are
        adjusted over all rows of the table.

    Returns
    -------
    pandas.DataFrame
        Index ``model``, one row per model that is no baseline; of several targets ``(model,
        target)``, each tested on its own; then `by`, if given. ``attrs["lacking"]`` counts the
        cutoffs at which a model lacks a forecast that another has, by model. The columns:

        - ``loss``, ``baseline`` (the one with the least loss), ``baseline_loss``, ``ratio`` of
          the two: means over cutoffs, in the unit of the target (``attrs["loss"]`` is its name);
        - ``dm``, ``p``, ``p_holm``: statistic against that baseline (negative: the model is
          better), one-sided p-value, and the same adjusted for the number of rows. NaN with
          fewer than 10 origins, or fewer than two horizons of them;
        - ``naive_loss``, ``naive_p``: the same against the naive, not adjusted; NaN if it is not
          compared;
        - ``shift``, ``shift_naive``, ``correction_share``: is it a copy of the past? See
          `shift_lag` and `correction_share`; NaN without a naive to compare with;
        - ``n_origins``, and the ``verdict``, a sentence or two.

    Raises
    ------
    DataError
        If models share no rows, rows are repeated, or the loss is undefined on some.
    ValueError
        If a parameter cannot be used.

    Warns
    -----
    UserWarning
        If a model lacks forecasts that others have. Nothing is filled in: such rows are left out
        of every model.

    Notes
    -----
    How it misleads. Losses are in the unit of the target: on a panel of mixed sizes the largest
    series decide. "No evidence" is not "no skill": a short backtest finds little. Only models in
    the frame are counted by the adjustment, not those tried before. The best baseline is chosen
    after the fact, which is hard on the model, as it should be. Without a naive among the models
    the verdict says no more than that one of them is better than another.
    """
    frame = sample_rows(as_forecasts(frame, columns))
    rows = scored_rows(frame)
    horizon = positive_int("horizon", int(frame["step"].max()) if horizon is None else horizon)
    choice("loss", loss, _LOSSES)
    choice("by", by, (None, "step", "series"))
    check_alpha(alpha)
    refuse_repeated(rows)
    models = list(rows["model"].unique())
    _check_baselines(models, baselines)
    judged = [name for name in models if name not in baselines]
    name, values, compared = row_losses(rows, loss, judged)
    rows = rows.assign(loss=values)
    shared, lacking = _side_by_side(rows, compared)
    keys = ["target"] if by is None else ["target", by]
    places = rows[keys].drop_duplicates()
    places = places.sort_values(keys) if by == "step" else places
    late = _Late(frame)
    contests = [
        contest
        for place, part in _split(shared, places, compared)
        for contest in _contests(
            part,
            late,
            place,
            judged=judged,
            baselines=[name for name in compared if name in baselines],
            compared=compared,
            horizon=int(place[1]) if by == "step" else horizon,
            series=place[1] if by == "series" else None,
        )
    ]
    targets = list(rows["target"].unique())
    order = {model: rank for rank, model in enumerate(judged)}
    contests.sort(key=lambda c: (order[c.model], targets.index(c.place[0])))
    several = len(targets) > 1
    shown = {"models": len(judged), "targets": len(targets)}
    if by is not None:
        shown["steps" if by == "step" else "series"] = int(rows[by].nunique())
    adjusted = _adjustment(shown)
    better = holm([contest.test.p_less for contest in contests])
    worse = holm([math.nan if c.test.identical else 1 - c.test.p_less for c in contests])
    for contest, p_less, p_more in zip(contests, better, worse, strict=True):
        contest.record["p_holm"] = float(p_less)
        claim, p = _claim(contest.test, float(p_less), float(p_more), alpha)
        ahead = contest.place[1] if by == "step" else horizon
        sentences = [
            _test_sentence(contest, claim, p, name, adjusted, several=several, by=by),
            *_copy_sentence(contest, claim, ahead),
        ]
        contest.record["verdict"] = " ".join(sentences)
    index = pd.Index([c.model for c in contests], name="model", dtype=None if judged else object)
    levels = [*(["target"] if several else []), *([] if by is None else [by])]
    if levels:
        named = [(c.model, *c.place[0 if several else 1 :]) for c in contests]
        index = pd.MultiIndex.from_tuples(named, names=["model", *levels])
    result = pd.DataFrame([c.record for c in contests], index=index, columns=list(_COLUMNS))
    result.attrs["loss"] = name
    result.attrs["lacking"] = lacking
    return result


def loss_table(
    frame: pd.DataFrame,
    *,
    loss: Loss = "auto",
    columns: Mapping[str, Hashable | Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Average the losses of every model over the series and steps of each cutoff.

    What `skill` tests, for other tests: `giacomini_white`, `model_confidence_set`, `spa`. Steps
    are averaged; choose one before, ``frame[frame["step"] == 5]``, to test it alone.

    Parameters
    ----------
    frame : pandas.DataFrame
        The flat backtest frame of one target, ours or that of another toolkit.
    loss : {"auto", "absolute", "squared", "quantile", "qlike"}
        As in `skill`. With ``"quantile"`` models that give no quantiles are left out.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.

    Returns
    -------
    pandas.DataFrame
        Index ``cutoff``, sorted; one column per model; on the rows that all models share, in the
        unit of the loss. ``attrs["loss"]`` is its name, and ``attrs["overlap"]`` how many
        consecutive cutoffs share forecast rows: the `horizon` of the tests.

    Raises
    ------
    DataError
        If the frame holds several targets, models share no rows, rows are repeated, or the loss is
        undefined on some.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "model": ["a", "a", "b", "b"], "series": 0, "time": [1, 2, 1, 2],
    ...     "cutoff": [0, 1, 0, 1], "step": 1, "target": "y",
    ...     "forecast": [1.0, 1.0, 3.0, 4.0], "actual": [2.0, 3.0, 2.0, 3.0]})
    >>> loss_table(frame).to_dict("list")
    {'a': [1.0, 2.0], 'b': [1.0, 1.0]}
    """
    rows = scored_rows(as_forecasts(frame, columns))
    choice("loss", loss, _LOSSES)
    refuse_repeated(rows)
    if rows["target"].nunique() > 1:
        raise fail(
            "losses of several targets",
            expected="one target, as units differ",
            found=first(rows["target"].unique()),
            advice='Choose one: frame[frame["target"] == ...].',
        )
    name, values, compared = row_losses(rows, loss, [])
    rows = rows.assign(loss=values)
    shared, _ = _side_by_side(rows, compared)
    table = shared.by_origin()
    table.attrs = {"loss": name, "overlap": origin_overlap(shared.keys)}
    return table


@dataclass(frozen=True)
class _Shared:
    """The rows that all models share, side by side, in order of cutoff; N rows."""

    keys: pd.DataFrame  # (N, 5)
    losses: pd.DataFrame  # (N, models compared)
    forecasts: pd.DataFrame  # (N, models)
    actual: Floats  # (N,)

    def at(self, places: npt.NDArray[np.intp]) -> _Shared:
        keys, losses, forecasts = (
            frame.take(places) for frame in (self.keys, self.losses, self.forecasts)
        )
        return _Shared(keys, losses, forecasts, self.actual[places])

    def by_origin(self) -> pd.DataFrame:
        """Mean loss of every model by cutoff."""
        means: pd.DataFrame = self.losses.groupby(self.keys["cutoff"], observed=True).mean()
        return means


class _Late:
    """How late the models of a frame are, each looked at once for all its series."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.found: dict[tuple[Any, int], tuple[pd.MultiIndex, Floats]] = {}

    def __call__(self, model: Any, horizon: int, target: Any, series: Any) -> float:
        """The lag of `shift_lag` on a target; on all series, or one."""
        key = model, horizon
        if key not in self.found:
            self.found[key] = _lateness(self.frame[self.frame["model"] == model], horizon)
        units, distance = self.found[key]
        chosen = units.get_level_values("target") == target
        if series is not None:
            chosen &= units.get_level_values("series") == series
        return _closest(distance[:, chosen])


@dataclass(frozen=True)
class _Contest:
    """A model against the best baseline on one target."""

    model: Any
    place: tuple[Any, ...]  # target, and the step or series where tests are split by it
    test: DieboldMariano
    overlap: int  # consecutive origins that share forecast rows
    still: bool  # whether the forecast hardly moves
    record: dict[str, Any]  # its row of the table


def _split(
    shared: _Shared, places: pd.DataFrame, compared: list[Any]
) -> list[tuple[tuple[Any, ...], _Shared]]:
    """The shared rows of each place; raise where there is none."""
    index = pd.MultiIndex.from_frame(places)
    number = index.get_indexer(pd.MultiIndex.from_frame(shared.keys[list(places)]))
    order = np.argsort(number, kind="stable")
    count = np.bincount(number, minlength=len(index))
    if not count.all():
        nowhere = dict(zip(places, index[int(np.argmin(count))]))
        raise _nothing_shared(compared, nowhere.get("series"))
    parts = np.split(order, np.cumsum(count)[:-1])
    return [(place, shared.at(part)) for place, part in zip(index, parts)]


def _contests(
    shared: _Shared,
    late: _Late,
    place: tuple[Any, ...],
    *,
    judged: list[Any],
    baselines: list[Any],
    compared: list[Any],
    horizon: int,
    series: Any,
) -> list[_Contest]:
    """Test every judged model on the rows of one place, those with a loss and all of them."""
    forecasts, actual = shared.forecasts, shared.actual
    origins = shared.by_origin()
    means = origins.mean()
    ranked = sorted(baselines, key=lambda name: name != NAIVE)
    best: Any = means[ranked].idxmin()  # of equals the first: the naive
    overlap = origin_overlap(shared.keys)

    def shift(model: Any) -> float:
        return late(model, horizon, place[0], series)

    naive_known = NAIVE in forecasts
    shift_naive = shift(NAIVE) if naive_known else math.nan
    contests = []
    for model in judged:
        test = diebold_mariano(origins[model], origins[best], horizon=overlap)
        naive_loss = naive_p = share = math.nan
        if NAIVE in compared:
            naive_loss, naive_p = float(means[NAIVE]), test.p_less
            if best != NAIVE:
                naive_p = diebold_mariano(origins[model], origins[NAIVE], horizon=overlap).p_less
        if naive_known:
            share = correction_share(forecasts[model], forecasts[NAIVE], actual)
        record = {
            "loss": float(means[model]),
            "baseline": best,
            "baseline_loss": float(means[best]),
            "ratio": float(means[model] / means[best]) if means[best] > 0 else math.nan,
            "dm": test.statistic,
            "p": test.p_less,
            "naive_loss": naive_loss,
            "naive_p": naive_p,
            "shift": shift(model),
            "shift_naive": shift_naive,
            "correction_share": share,
            "n_origins": len(origins),
        }
        still = _hardly_moves(forecasts[model].to_numpy(), actual, shared.keys["series"])
        contests.append(_Contest(model, place, test, overlap, still, record))
    return contests


def _hardly_moves(forecast: Floats, actual: Floats, series: pd.Series) -> bool:
    """Whether forecasts stay near the mean of their series, beside what the outcomes do."""
    unit, names = pd.factorize(series)
    count = np.bincount(unit, minlength=len(names))
    spread = [
        float(((each - (np.bincount(unit, each) / count)[unit]) ** 2).sum())
        for each in (forecast, actual)
    ]
    return spread[0] < _STILL * spread[1]


def _check_baselines(models: list[Any], baselines: Sequence[Any]) -> None:
    if isinstance(baselines, str) or len(baselines) == 0:
        raise bad_parameter(
            "baselines", expected="a sequence of model names, not empty", found=baselines
        )
    if NAIVE in models and NAIVE not in baselines:
        raise bad_parameter(
            "baselines",
            expected=f"a sequence of model names with {NAIVE!r} among them",
            found=baselines,
            advice="The naive forecast is no model to be judged.",
        )
    if absent := [name for name in baselines if name not in models]:
        raise bad_parameter(
            "baselines",
            expected=f"models of the frame: {first(models)}",
            found=absent,
            advice="Name the model that the others must beat, baselines=[...].",
        )


def row_losses(rows: pd.DataFrame, loss: Loss, judged: list[Any]) -> tuple[str, Floats, list[Any]]:
    """Return the loss taken, its value per row, and the models compared by it.

    Parameters
    ----------
    rows : DataFrame
        Of a backtest, out of sample.
    loss : Loss
        As of `skill`; "auto" is chosen by what the models give.
    judged : list
        Models that have to be among those compared; an error where they cannot.
    """
    given = quantiles_given(rows)
    models = list(given.index)
    with_quantiles = given.any(axis=1)
    compared = list(given.index[with_quantiles])
    common = given[with_quantiles].all(axis=0)
    levels = [float(level) for level in common.index[common]] if compared else []
    if loss == "auto":
        loss = "squared" if _are_probabilities(rows) else "absolute"
        if levels and len(compared) == len(models):
            loss = "quantile"
    if loss == "quantile":
        lacking = [name for name in judged if name not in compared]
        if lacking or not levels or not set(compared) - set(judged):
            raise fail(
                "the quantile loss cannot be compared",
                expected="common quantile columns of every judged model and of a baseline",
                found=f"quantiles from {first(compared) or 'no model'}, "
                f"common levels {levels or 'none'}",
                advice="Use loss='absolute', or a baseline that gives quantiles.",
            )
        return loss, quantile_loss(rows, levels), compared
    actual = rows["actual"].to_numpy(dtype=float)
    forecast = rows["forecast"].to_numpy(dtype=float)
    if loss == "qlike":
        bad = (actual <= 0) | (forecast <= 0)
        if bad.any():
            raise fail(
                "the QLIKE loss is undefined",
                expected="positive variances in `actual` and `forecast`",
                found=f"{int(bad.sum())} rows that are not ({first(rows['model'][bad].unique())})",
                advice="Use loss='squared', or leave such rows out of every model.",
                rows=list(rows.index[bad]),
            )
        return loss, qlike(actual, forecast), models
    error = np.abs(actual - forecast)
    return loss, error if loss == "absolute" else error**2, models


def _are_probabilities(rows: pd.DataFrame) -> bool:
    """Whether every actual is 0 or 1, and a forecast lies between; others may go beyond."""
    actual = rows["actual"].to_numpy(dtype=float)
    forecast = rows["forecast"].to_numpy(dtype=float)
    return bool(np.isin(actual, (0.0, 1.0)).all() and ((forecast > 0) & (forecast < 1)).any())


def _side_by_side(rows: pd.DataFrame, compared: list[Any]) -> tuple[_Shared, dict[Any, int]]:
    """Set losses and forecasts side by side; and count the cutoffs that models lack, warning."""
    usable = rows["model"].isin(compared) & rows["loss"].notna()
    lacking = warn_of_lacking(rows.loc[usable, ["model", *ROW]], compared)
    code = rows.groupby(ROW, observed=True).ngroup().to_numpy()  # in order of cutoff
    model, models = pd.factorize(rows["model"], sort=True)
    keys = rows[ROW].take(np.unique(code, return_index=True)[1]).reset_index(drop=True)
    wide = {}
    for name in ("loss", "forecast", "actual"):
        wide[name] = np.full((len(keys), len(models)), np.nan)
        wide[name][code, model] = rows[name].to_numpy(dtype=float)
    losses = pd.DataFrame(wide["loss"], columns=models)[compared]
    common = losses.notna().all(axis=1).to_numpy()
    if not common.any():
        raise _nothing_shared(
            compared, rows["series"].iloc[0] if rows["series"].nunique() == 1 else None
        )
    forecasts = pd.DataFrame(wide["forecast"], columns=models)
    actual = wide["actual"][:, list(models).index(compared[0])]
    return _Shared(keys, losses, forecasts, actual).at(np.flatnonzero(common)), lacking


def _nothing_shared(compared: list[Any], series: Any) -> ValueError:
    return fail(
        "the models cannot be compared",
        expected="rows (series, cutoff, step, target) with a forecast of every model",
        found=f"none that {first(compared)} share",
        advice="Backtest the models on the same cutoffs, or leave out the one that failed.",
        series=series,
    )


def origin_overlap(rows: pd.DataFrame) -> int:
    """How many consecutive origins share forecast rows: the horizon, at an origin for every row.

    The median over forecast paths, as one long halt of one series is not the rule.
    """
    ends = rows.groupby(["cutoff", "series", "target"], observed=True)["time"].max()
    origins = pd.Index(rows["cutoff"]).unique().sort_values()
    own = origins.get_indexer(ends.index.get_level_values(0))
    overlap = np.median(origins.searchsorted(pd.Index(ends)) - own)
    return max(1, math.ceil(float(overlap)))


Claim = Literal["skill", "none", "worse", "identical", "few"]


def _claim(test: DieboldMariano, p_less: float, p_more: float, alpha: float) -> tuple[Claim, float]:
    """Choose what the test allows to say, and the adjusted p-value that goes with it."""
    if test.identical:
        return "identical", 1.0
    if math.isnan(test.p_less):
        return "few", math.nan
    if p_less < alpha:
        return "skill", p_less
    return ("worse", p_more) if p_more < alpha else ("none", p_less)


def _adjustment(counts: Mapping[str, int]) -> str:
    """What the p-values are adjusted for, in words."""
    named = [f"{count} {things}" for things, count in counts.items() if count > 1]
    return f" after Holm over {' x '.join(named)}" if named else ""


def _test_sentence(
    contest: _Contest,
    claim: Claim,
    p: float,
    loss: str,
    adjusted: str,
    *,
    several: bool,
    by: str | None,
) -> str:
    record = contest.record
    baseline, n = record["baseline"], record["n_origins"]
    model = f"{contest.model} on {contest.place[0]}" if several else contest.model
    if len(contest.place) > 1:
        model = f"{model}, {by} {contest.place[1]}"
    if claim == "identical":
        return f"{model}: identical to {baseline} in {loss} loss at every origin."
    size = f"{loss} loss {_change(record['ratio'])}"
    if claim == "few":
        return (
            f"{model}: {size} than that of {baseline}, but {n:,} origins are too few for a test "
            f"(at least {least_origins(contest.overlap)})."
        )
    opening = {
        "skill": "skill over",
        "none": "no evidence of skill over",
        "worse": "significantly worse than",
    }[claim]
    return f"{model}: {opening} {baseline} ({size}, {chance(p)}{adjusted}, {n:,} origins)."


def _copy_sentence(contest: _Contest, claim: Claim, horizon: int) -> list[str]:
    share, shift = contest.record["correction_share"], contest.record["shift"]
    if math.isnan(share):
        return []
    moves = f"its departures from the naive have {percent(share)} of the variance of the outcome's"
    # where a forecast that hardly moves lies closest is arbitrary
    if contest.still or not shift == contest.record["shift_naive"] == horizon:
        return [f"{moves.capitalize()}."]
    ahead, back = (f"{horizon} {unit}{'s' * (horizon > 1)}" for unit in ("step", "row"))
    late = f"{ahead} ahead it lies closest to the series {back} earlier, as the naive does"
    if share < _COPY and claim != "skill":
        return [f"A shifted copy: {late}, and {moves}."]
    return [f"{late.capitalize()}; {moves}."]


def _change(ratio: float) -> str:
    if not math.isfinite(ratio):
        return "higher"
    side = "lower" if ratio < 1 else "higher"
    return f"{percent(abs(ratio - 1))} {side}"
