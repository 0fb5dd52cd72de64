"""Value at risk and expected shortfall from the quantiles of any forecast of returns, judged.

Both are losses: positive numbers in the unit of the return, where a return of -3 is a loss of 3.
They read the lower tail; for a short position forecast minus the return.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from tsforecast._checks import (
    DataError,
    bad_parameter,
    callers_level,
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
    rows_of_step,
    warn_of_lacking,
)
from tsforecast.backtesting.risk_tests import (
    acerbi_szekely,
    check_level,
    christoffersen,
    christoffersen_independence,
    dynamic_quantile,
    kupiec,
    least_rows,
    tick_loss,
)
from tsforecast.metrics import (
    as_forecasts,
    quantile_column,
    quantile_levels,
    quantiles_given,
    sample_rows,
    scored_rows,
)

__all__ = ["POOLED", "expected_shortfall", "risk_table", "tail_levels", "value_at_risk"]

Floats = npt.NDArray[np.float64]

POOLED = "pooled"
_SAME = 1e-9  # levels closer than this are one
_BODY = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
_COLUMNS = (
    "n",
    "left_out",
    "expected",
    "hits",
    "hit_rate",
    "hit_se",
    "tick",
    "var",
    "es",
    "kupiec_p",
    "independence_p",
    "coverage_p",
    "dq_p",
    "z2",
    "z2_p",
    "verdict",
)


def tail_levels(level: float = 0.01) -> tuple[float, ...]:
    """Give quantile levels that suit value at risk and expected shortfall, for any head.

    Scores that average over all levels of a frame, such as ``crps``, then weigh the tails more than
    deciles do: compare models with the same levels.

    Parameters
    ----------
    level : float
        The lowest level that is wanted, below .5. The levels begin at a tenth of it.

    Returns
    -------
    tuple of float
        Increasing and symmetric around 0.5, which is among them.

    Examples
    --------
    >>> tail_levels(0.05)[:8]
    (0.005, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4)
    >>> len(tail_levels())
    21
    """
    lowest = check_level(level)
    if lowest >= 0.5:
        raise bad_parameter("level", expected="a number below 0.5", found=level)
    tail = [round(lowest * share, 9) for share in (0.1, 0.25, 0.5, 1.0)]
    low = [*tail, *(each for each in _BODY if each > lowest + _SAME)]
    return (*low, *(round(1 - each, 9) for each in reversed(low[:-1])))


def value_at_risk(frame: pd.DataFrame, level: float = 0.05) -> pd.Series:
    r"""Read the value at risk off the quantiles of a forecast of returns.

    .. math:: VaR_\alpha = -q_\alpha

    with :math:`q_\alpha` the forecast quantile of the return: a loss that is exceeded with
    probability :math:`\alpha`. Between the levels that a model gives, its quantiles are
    interpolated on the scale of normal scores, which is exact for a normal distribution. Quantiles
    of a row that cross are sorted, here and in all that reads risk.

    Parameters
    ----------
    frame : DataFrame
        From `predict`, `forecast_origins` or a backtest, of any head, baseline or wrapper that
        gives quantiles. The target is a return.
    level : float
        Probability of a larger loss, in (0, 1): 0.01 for what is also called the 99 % value at
        risk.

    Returns
    -------
    Series
        Named ``value_at_risk``, on the frame's index, in the unit of the return. NaN where a
        model gives no quantile.

    Raises
    ------
    DataError
        If there are no quantiles, or a model's begin above `level` or end below it.
    ValueError
        If `level` is not in (0, 1).

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"forecast": [0.0], "q0.01": [-2.4], "q0.05": [-1.6]})
    >>> value_at_risk(frame, 0.05).tolist(), value_at_risk(frame, 0.025).round(2).tolist()
    ([1.6], [1.97])
    """
    level = check_level(level)
    result = np.full(len(frame), np.nan)
    for rows, levels, values in _models(frame, level, least=0):
        result[rows] = -_quantile(values, levels, level)
    return pd.Series(result, index=frame.index, name="value_at_risk")


def expected_shortfall(frame: pd.DataFrame, level: float = 0.05) -> pd.Series:
    r"""Give the mean loss in the worst cases of probability `level`.

    .. math:: ES_\alpha = -\frac{1}{\alpha} \int_0^\alpha q_u \, du

    Between levels the quantile function is that of `value_at_risk`, and it is integrated without
    error; below the lowest level it goes on as between the two lowest, as the tail of a normal
    distribution does. With the levels of `tail_levels` this is exact for a normal distribution, and
    too low by 1.7 % for a Student-t distribution of 4 degrees of freedom (3.3 % for 3).

    Parameters
    ----------
    frame : DataFrame
        As for `value_at_risk`, with two quantiles or more at or below `level`.
    level : float
        In (0, 1).

    Returns
    -------
    Series
        Named ``expected_shortfall``, on the frame's index, in the unit of the return.

    Raises
    ------
    DataError
        If a model that gives quantiles has fewer than two of them at or below `level`.
    ValueError
        If `level` is not in (0, 1).

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"q0.01": [-2.326], "q0.025": [-1.96]})
    >>> expected_shortfall(frame, 0.025).round(2).tolist()
    [2.34]
    """
    level = check_level(level)
    result = np.full(len(frame), np.nan)
    for rows, levels, values in _models(frame, level, least=2):
        result[rows] = -_tail_mean(values, levels, level)
    return pd.Series(result, index=frame.index, name="expected_shortfall")


def risk_table(
    frame: pd.DataFrame,
    levels: Sequence[float] = (0.01, 0.05),
    columns: Mapping[str, Hashable | Sequence[str]] | None = None,
    *,
    step: int = 1,
    lags: int = 4,
    alpha: float = 0.05,
    random_state: int = 0,
) -> pd.DataFrame:
    """Judge value at risk and expected shortfall of every model: how often, when, and how much.

    Hits are returns below minus the value at risk. Forecasts of the same step from neighbouring
    cutoffs overlap where the step is larger than 1, and their hits come together even from a
    correct model; so of each series only cutoffs are used that lie behind the outcome of the
    forecast before: every `step`-th, where there is a cutoff at every row.

    Parameters
    ----------
    frame : DataFrame
        The flat backtest frame of a return, ours or that of another toolkit. In-sample rows are
        left out, and so are models without any quantiles. The others are judged on the rows that
        all of them have.
    levels : sequence of float
        Levels of the value at risk. A model whose quantiles do not reach one is left out there.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.
    step : int
        The step that is judged.
    lags : int
        Hits before that `dynamic_quantile` looks at.
    alpha : float
        Level of each test behind ``verdict``. The tests are not adjusted for their number.
    random_state : int
        Of the samples that the tests draw. Ties of hits (see `kupiec`) are broken by it and the
        returns of the series, so that many series have a lot each.

    Returns
    -------
    DataFrame
        Index ``(model, level, series)``, of several targets ``(model, target, level, series)``;
        with several series there is one more line, ``"pooled"``. The columns:

        - ``n`` rows judged, ``left_out`` because the outcome or the forecast of some model is
          missing, ``expected`` and actual ``hits``, ``hit_rate``;
        - ``hit_se``, standard error of the hit rate, clustered by time: series fall together; NaN
          without any hit;
        - ``tick``, mean loss of the quantile (see `tick_loss`); ``var`` and ``es``, the mean
          forecasts; all in the unit of the return. ``es`` and what follows from it are NaN where a
          model has fewer than two quantiles at or below the level;
        - p-values: ``kupiec_p`` (frequency), ``independence_p``, ``coverage_p`` (both, of
          Christoffersen), ``dq_p`` (Engle and Manganelli), and ``z2`` with ``z2_p`` (Acerbi and
          Szekely, of the expected shortfall, one-sided; NaN where one is not positive). NaN in the
          pooled line: the tests want independent hits, and those of a day are not;
        - ``verdict``, a sentence.

    Raises
    ------
    DataError
        If no model gives quantiles that reach a level, no row of the step is known and shared by
        all models, rows are repeated, or one of several series is called ``"pooled"``.
    ValueError
        If a parameter cannot be used.

    Warns
    -----
    UserWarning
        If a model does not reach a level, or lacks rows that others have.

    Notes
    -----
    How it misleads. "No evidence" is not "right": 250 days at 1 % hold 2.5 expected hits, and tell
    little. Of a hundred series five fail a test at 5 % though all are right. A model may pass all
    tests with a value at risk larger than it need be at times; the tick loss tells which of two is
    sharper.

    See Also
    --------
    kupiec, christoffersen_independence, christoffersen, dynamic_quantile, acerbi_szekely

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> r = np.random.default_rng(0).normal(size=500)
    >>> frame = pd.DataFrame({"model": "m", "series": 0, "time": range(1, 501),
    ...     "cutoff": range(500), "step": 1, "target": "r", "forecast": 0.0,
    ...     "q0.01": -2.33, "q0.05": -1.64, "actual": r})
    >>> risk_table(frame, [0.05])[["n", "expected", "hits"]].to_numpy().tolist()
    [[500.0, 25.0, 19.0]]
    """
    step, lags = positive_int("step", step), positive_int("lags", lags)
    seed = positive_int("random_state", random_state, least=0)
    wanted = [check_level(level, name="levels") for level in np.atleast_1d(levels).tolist()]
    if not wanted:
        raise bad_parameter("levels", expected="at least one level", found=levels)
    check_alpha(alpha)
    rows = rows_of_step(sample_rows(as_forecasts(frame, columns)), step)
    refuse_repeated(rows)
    given = quantiles_given(rows)
    rows = rows[rows["model"].isin(given.index[given.any(axis=1)])].reset_index(drop=True)
    if len(rows) == 0:
        raise _no_quantiles(frame)
    names = rows["series"].unique()
    if len(names) > 1 and POOLED in names:
        raise fail(
            f"a series is called {POOLED!r}",
            expected="another name: that is the line of all series together",
            found=f"it among {len(names)} series",
            advice="Rename the series.",
        )
    scored_rows(rows)  # raises where no outcome is known
    var = _values_at_risk(rows, wanted)
    shared, planned = _shared_rows(rows, var)
    several = rows["target"].nunique() > 1
    records = []
    for level in var:
        judged = shared.assign(var=var[level][shared.index])
        judged = judged[judged["var"].notna()]
        judged = judged.assign(es=_shortfall_or_nan(judged, level, given))
        groups: Any = judged.groupby(["model", "target"], observed=True, sort=False)
        for (model, target), group in groups:
            key = {"model": model, **({"target": target} if several else {}), "level": level}
            name = f"{model} on {target}" if several else f"{model}"
            name = f"{name}, level {100 * level:g} %"
            parts = dict(_by_series(group))
            plan = planned.loc[target]
            for series, count in plan.items():
                part = parts.get(series, _Part.empty())
                record = _judge(part, level, lags=lags, alpha=alpha, seed=seed)
                record["left_out"] = int(count) - len(part.var)
                place = f"{name}, series {series}" if len(names) > 1 else name
                record["verdict"] = f"{place}: {record['verdict']}"
                records.append({**key, "series": series, **record})
            if len(names) > 1:
                record = _pool(_Part.of(group), level, len(parts))
                record["left_out"] = int(plan.sum()) - len(group)
                record["verdict"] = f"{name}, all series: {record['verdict']}"
                records.append({**key, "series": POOLED, **record})
    keys = ["model", *(["target"] if several else []), "level", "series"]
    table = pd.DataFrame(records, columns=[*keys, *_COLUMNS])
    order = {model: number for number, model in enumerate(rows["model"].unique())}
    table = table.sort_values("model", key=lambda names: names.map(order), kind="stable")
    return table.set_index(keys)


# ----------------------------------------------------------------------------------- quantiles


def _models(
    frame: pd.DataFrame, level: float, *, least: int
) -> Iterator[tuple[Any, Floats, Floats]]:
    """Give rows, levels (J,) and quantiles (n, J) of each model that gives any.

    Raises where a model's levels do not reach `level`, or fewer than `least` are at or below it.
    """
    names = [quantile_column(each) for each in quantile_levels(frame.columns)]
    if not names:
        raise _no_quantiles(frame)
    if "model" in frame:
        given = quantiles_given(frame)
        groups = [
            (name, (frame["model"] == name).to_numpy(), given.loc[name]) for name in given.index
        ]
    else:
        known = frame[names].notna().any().set_axis(quantile_levels(frame.columns))
        groups = [(None, np.ones(len(frame), dtype=bool), known)]
    for name, rows, has in groups:
        levels = np.array([each for each in has.index if has[each]], dtype=float)
        if len(levels) == 0:
            continue
        low = int((levels <= level + _SAME).sum())
        if low < max(least, 1) or levels[-1] < level - _SAME:
            what = "expected shortfall" if least else "value at risk"
            need = (
                f"{least} quantiles at or below {level:g}" if least else f"levels around {level:g}"
            )
            raise fail(
                f"the quantiles do not reach the {what}",
                expected=need,
                found=f"the levels {first(f'{each:g}' for each in levels)}"
                + ("" if name is None else f" of model {name!r}"),
                advice="Give the model more levels: head=tsf.StudentT(levels=tsf.tail_levels()), "
                "tsf.Quantiles(tsf.tail_levels()), or levels=tsf.tail_levels() of a baseline.",
            )
        columns = [quantile_column(each) for each in levels]
        yield rows, levels, _uncrossed(frame.loc[rows, columns].to_numpy(dtype=float))


def _uncrossed(values: Floats) -> Floats:
    """Quantiles (n, J), those given in each row in order; a NaN stays where it is."""
    given = ~np.isnan(values)
    if given.all():
        return np.sort(values, axis=1)
    result = np.full(values.shape, np.nan)
    counted = np.arange(values.shape[1]) < given.sum(axis=1)[:, None]
    result[given] = np.sort(values, axis=1)[counted]  # NaN last
    return result


def _quantile(values: Floats, levels: Floats, level: float) -> Floats:
    """Quantile at a level within those given, (n, J) -> (n,)."""
    right = int(np.searchsorted(levels, level - _SAME))
    if abs(levels[right] - level) <= _SAME:
        return values[:, right]
    low, high, at = ndtri(levels[right - 1]), ndtri(levels[right]), ndtri(level)
    share = (at - low) / (high - low)
    return np.asarray((1 - share) * values[:, right - 1] + share * values[:, right])


def _tail_mean(values: Floats, levels: Floats, level: float) -> Floats:
    """Mean of the quantile function below a level that two others reach, (n, J) -> (n,)."""
    low = levels <= level + _SAME
    knots, ends = levels[low], values[:, low]
    if knots[-1] < level - _SAME:
        knots = np.append(knots, level)
        ends = np.column_stack([ends, _quantile(values, levels, level)])
    endless = np.isneginf(ends[:, 0])  # and so is the mean
    ends = np.where(endless[:, None], 0.0, ends)
    score = ndtri(knots)
    density = np.exp(-(score**2) / 2) / math.sqrt(2 * math.pi)
    slopes = np.diff(ends, axis=1) / np.diff(score)
    # the integral of the normal score from 0 to u is minus the density at the score of u
    total = knots[0] * ends[:, 0] - slopes[:, 0] * (density[0] + knots[0] * score[0])
    width = np.diff(knots)
    total += ends[:, :-1] @ width
    total += slopes @ (density[:-1] - density[1:] - width * score[:-1])
    return np.where(endless, -np.inf, total / level)


def _no_quantiles(frame: pd.DataFrame) -> ValueError:
    return fail(
        "no quantiles to read risk from",
        expected="columns such as q0.01 and q0.05",
        found=first(frame.columns, shown=10),
        advice="Use a head with a distribution, e.g. tsf.StudentT(levels=tsf.tail_levels()), or "
        "FilteredHistorical around a forecaster of the variance.",
    )


def _shortfall_or_nan(rows: pd.DataFrame, level: float, given: pd.DataFrame) -> pd.Series:
    """Expected shortfall of the models with levels enough, NaN of the others."""
    low = given.columns.to_numpy(dtype=float) <= level + _SAME
    deep = given.to_numpy()[:, low].sum(axis=1) >= 2
    some = rows["model"].isin(given.index[deep])
    result = pd.Series(np.nan, index=rows.index)
    if some.any():
        result[some] = expected_shortfall(rows[some], level)
    return result


# ----------------------------------------------------------------------------------- the table


def _values_at_risk(rows: pd.DataFrame, levels: list[float]) -> dict[float, pd.Series]:
    """Value at risk at every level, NaN of models that do not reach it, which are named."""
    result: dict[float, pd.Series] = {}
    refused: list[str] = []
    error: ValueError | None = None
    for level in levels:
        var = pd.Series(np.nan, index=rows.index)
        for model, part in rows.groupby("model", observed=True, sort=False):
            try:
                var[part.index] = value_at_risk(part, level)
            except DataError as refusal:
                error = refusal
                refused.append(f"{str(model)!r} at {level:g}")
        if var.notna().any():
            result[level] = var
    if not result and error is not None:
        raise error
    if refused:
        warnings.warn(
            f"The quantiles of some models do not reach a level: {', '.join(refused)}. They are "
            "left out there.",
            stacklevel=callers_level(),
        )
    return result


def _shared_rows(
    rows: pd.DataFrame, var: Mapping[float, pd.Series]
) -> tuple[pd.DataFrame, pd.Series]:
    """Rows that can be judged for all models; and how many were to be, by target and series."""
    reach = pd.concat(list(var.values()), axis=1).notna().any(axis=1)
    rows = rows[reach.groupby(rows["model"]).transform("any")]  # a model left out at all levels
    known = rows["actual"].notna()
    for each in (whole[rows.index] for whole in var.values()):
        reached = each.notna().groupby(rows["model"]).transform("any")
        known &= each.notna() | ~reached
    models = list(rows["model"].unique())
    usable = rows.loc[known, ["model", *ROW]]
    if len(models) > 1:
        warn_of_lacking(usable, models)
    places = _apart(rows[ROW].drop_duplicates())
    planned = places.groupby(["target", "series"], observed=True, sort=False).size()
    shared = usable.groupby(ROW, observed=True)["model"].transform("size") == len(models)
    usable = usable[shared.to_numpy()]
    index = pd.MultiIndex.from_frame(places)
    usable = usable[pd.MultiIndex.from_frame(usable[ROW]).isin(index)]
    if len(usable) == 0:
        raise fail(
            "the models cannot be compared",
            expected="rows with an outcome and a value at risk of every model",
            found=f"none that {first(models)} share",
            advice="Leave out the model that gives none.",
        )
    return rows.loc[usable.index], planned


def _apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep of each path the cutoffs behind the outcome of the forecast kept before."""
    rows = rows.sort_values(["cutoff", "time"], kind="stable")
    kept = np.zeros(len(rows), dtype=bool)
    for places in rows.groupby(["series", "target"], observed=True, sort=False).indices.values():
        at = np.sort(places)
        cutoff, time = pd.Index(rows["cutoff"].iloc[at]), pd.Index(rows["time"].iloc[at])
        following = cutoff.searchsorted(time)  # the first cutoff at or behind each outcome
        if (following <= np.arange(1, len(at) + 1)).all():
            kept[at] = True
            continue
        number = 0
        while number < len(at):
            kept[at[number]] = True
            number = max(int(following[number]), number + 1)
    return rows[kept].sort_index()


@dataclass(frozen=True)
class _Part:
    """Rows of one model and level, all of them known but for the shortfall, (n,) each."""

    time: npt.NDArray[np.intp]  # numbers of the times
    actual: Floats
    var: Floats
    es: Floats

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Part:
        actual, var, es = (rows[name].to_numpy(dtype=float) for name in ("actual", "var", "es"))
        return cls(pd.factorize(rows["time"])[0], actual, var, es)

    @classmethod
    def empty(cls) -> _Part:
        none = np.empty(0)
        return cls(np.zeros(0, dtype=np.intp), none, none, none)

    def at(self, places: npt.NDArray[np.intp]) -> _Part:
        return _Part(self.time[places], self.actual[places], self.var[places], self.es[places])


def _by_series(group: pd.DataFrame) -> Iterator[tuple[Any, _Part]]:
    """Rows of each series, in order of cutoff."""
    group = group.sort_values("cutoff", kind="stable")
    whole = _Part.of(group)
    for series, at in group.groupby("series", observed=True, sort=False).indices.items():
        yield series, whole.at(np.sort(at))


def _counted(part: _Part, level: float) -> dict[str, Any]:
    """What is the same for one series and for many."""
    hits = (part.actual < -part.var).astype(float)
    n, count = len(hits), int(hits.sum())
    if n == 0:
        return {**dict.fromkeys(_COLUMNS, math.nan), "n": 0, "expected": 0.0, "hits": 0}
    rate = count / n
    together = np.bincount(part.time, hits - rate)
    return {
        "n": n,
        "expected": n * level,
        "hits": count,
        "hit_rate": rate,
        "hit_se": math.sqrt(float((together**2).sum())) / n if count else math.nan,
        "tick": float(tick_loss(part.actual, -part.var, level).mean()),
        "var": float(part.var.mean()),
        "es": float(part.es[~np.isnan(part.es)].mean())
        if not np.isnan(part.es).all()
        else math.nan,
    }


def _judge(part: _Part, level: float, *, lags: int, alpha: float, seed: int) -> dict[str, Any]:
    """One line: a model, a level, a series."""
    record = _counted(part, level)
    if record["n"] == 0:
        return {**record, "verdict": "no row with an outcome and a forecast."}
    hits = part.actual < -part.var
    lot = _lot(part.actual, seed)
    record["kupiec_p"] = kupiec(hits, level, random_state=lot).p
    record["independence_p"] = christoffersen_independence(hits, random_state=lot).p
    record["coverage_p"] = christoffersen(hits, level, random_state=lot).p
    record["dq_p"] = record["z2"] = record["z2_p"] = math.nan
    if np.isfinite(part.var).sum() >= least_rows(lags):
        record["dq_p"] = dynamic_quantile(hits, part.var, level, lags=lags, random_state=seed).p
    gains = int((part.es <= 0).sum())
    if np.isfinite(part.es).any() and not gains:
        shortfall = acerbi_szekely(part.actual, part.var, part.es, level, random_state=seed)
        record["z2"], record["z2_p"] = shortfall.statistic, shortfall.p
    return {**record, "verdict": _verdict(record, level, alpha, gains)}


def _lot(returns: Floats, seed: int) -> int:
    """Seed of the ties of one series: hits alone are the same in many, none at all first of all.

    Not of the value at risk, whose last digits are rounding.
    """
    return seed + zlib.crc32(returns.tobytes())


def _pool(part: _Part, level: float, n_series: int) -> dict[str, Any]:
    """The line of all series of a model together."""
    record = _counted(part, level)
    said = (
        f"hits {percent(record['hit_rate'], 2)} against {100 * level:g} % over {n_series:,} series"
    )
    if record["hits"]:
        error = percent(record["hit_se"], 2)
        said = f"{said} (standard error {error}, series of the same time counted as one)"
    return {**record, "verdict": f"{said}."}


def _verdict(record: dict[str, Any], level: float, alpha: float, gains: int) -> str:
    """Say it in words; `gains` is the number of rows whose expected shortfall is no loss."""
    p, many = record["kupiec_p"], record["hit_rate"] > level
    counted = "no evidence against coverage"
    if p < alpha:
        counted = "too many" if many else "too few"
    parts = [
        f"hits {percent(record['hit_rate'], 2)} against {100 * level:g} %: {counted} "
        f"(Kupiec {chance(p)})"
    ]
    p = record["independence_p"]
    cluster = "hits are not independent" if p < alpha else "no evidence that hits cluster"
    parts.append(f"{cluster} ({chance(p)})")
    if record["dq_p"] < alpha:
        parts.append(f"hits could be foreseen (DQ {chance(record['dq_p'])})")
    if not math.isnan(record["z2_p"]):
        worse = "larger losses than" if record["z2_p"] < alpha else "no evidence against"
        parts.append(f"{worse} the expected shortfall ({chance(record['z2_p'])})")
    if gains:
        parts.append(
            f"the expected shortfall is not positive in {gains:,} of {record['n']:,} rows, and not "
            "tested"
        )
    return "; ".join(parts) + "."
