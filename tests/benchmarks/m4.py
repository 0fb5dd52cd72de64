"""The yardsticks of the M4 competition: sMAPE, MASE, OWA, its Naive2, and series that are twins.

Makridakis, Spiliotis and Assimakopoulos (2020), "The M4 Competition: 100,000 time series and 61
forecasting methods", International Journal of Forecasting 36, sections 2 and 3 and appendix A.
The season m of a group is the competition's: 1 for weekly, 24 for hourly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SEASONS = {"Weekly": 1, "Hourly": 24}


@dataclass(frozen=True)
class Scores:
    """Means over series: `smape` in percent, `mase` and `owa` without a unit (lower is better)."""

    owa: float
    smape: float
    mase: float


def owa(train, test, forecasts, season):
    """Score forecasts as the competition did.

    Parameters
    ----------
    train, test : DataFrame
        From `load_m4`, or some of its series.
    forecasts : Series or DataFrame
        Point forecasts of exactly the rows of `test`, in any order; of a forecast frame the
        column ``forecast`` counts.
    season : int
        m, the lag of the naive error by which MASE is scaled.

    Returns
    -------
    Scores
        `owa` is the mean of sMAPE and MASE, each over that of Naive2: 1 is as good as Naive2.
    """
    smape, mase = errors(train, test, forecasts, season).mean()
    reference = errors(train, test, naive2(train, len(test) // _count(test), season), season).mean()
    relative = (smape / reference["smape"] + mase / reference["mase"]) / 2
    return Scores(float(relative), float(smape), float(mase))


def errors(train, test, forecasts, season):
    """Errors of each series, columns `smape` (percent) and `mase`, index the series' ids.

    sMAPE = mean of 200 |a - f| / (|a| + |f|); MASE = mean of |a - f| over the mean of
    |y_t - y_(t - m)| within the training part.
    """
    if isinstance(forecasts, pd.DataFrame):
        forecasts = forecasts["forecast"]
    if len(forecasts) != len(test) or not forecasts.index.isin(test.index).all():
        raise ValueError(f"expected forecasts of the {len(test)} rows of test, found other rows")
    f = forecasts.reindex(test.index)
    if f.isna().any():
        raise ValueError(f"expected a forecast in every row, found {int(f.isna().sum())} missing")
    a = test["value"]
    away = (a - f).abs()
    smape = (200 * away / (a.abs() + f.abs())).groupby(level=0).mean()
    y = train["value"]
    scale = (y - y.groupby(level=0).shift(season)).abs().groupby(level=0).mean()
    return pd.DataFrame({"smape": smape, "mase": away.groupby(level=0).mean() / scale[smape.index]})


def naive2(train, horizon, season):
    """Forecast the last seasonally adjusted value, with the season put back where there is one.

    A series is seasonal if it has three seasons or more and its autocorrelation at lag m differs
    from zero at the 90 % level (Bartlett's standard error). Indices are those of the classical
    multiplicative decomposition.

    Returns
    -------
    Series
        Index (id, time) of the next `horizon` rows of each series.
    """
    return _by_series(train, lambda y: _naive2(y, horizon, season))


def seasonal_naive(train, horizon, season):
    """Forecast the value one season ago; the last value where m is 1."""
    return _by_series(train, lambda y: np.resize(y[-season:], horizon))


def resembled(train, test, *, correlation=0.9):
    """Find the series whose test stretch stands in another series' training part, nearly.

    Levels of two trends correlate by .9 wherever one looks, and so do, by chance, 13 changes with
    some of 360,000 stretches (352 of the 359 weekly series). So the changes of the logarithm are
    compared, over the test stretch **and** as many rows before it, with every stretch of this
    length in the training parts of the other series (the files have no dates to align them by).
    For independent normal changes of 26 weeks, .9 or more would be found once in 40 such searches
    through all series.

    Returns
    -------
    list of str
        Their ids: 73 of the weekly series.
    """
    known = {name: rows.to_numpy() for name, rows in train["value"].groupby(level=0)}
    ahead = {name: rows.to_numpy() for name, rows in test["value"].groupby(level=0)}
    length = 2 * len(test) // _count(test)
    whole = [np.concatenate([known[name], values]) for name, values in ahead.items()]
    wanted = np.stack([_unit(np.diff(np.log(y))[None, -length:])[0] for y in whole])
    best = np.full(len(ahead), -1.0)
    for name, y in known.items():
        if len(y) <= length:
            continue
        stretches = np.lib.stride_tricks.sliding_window_view(np.diff(np.log(y)), length)
        found = (_unit(stretches) @ wanted.T).max(axis=0)
        best = np.maximum(best, np.where(np.array(list(ahead)) == name, -1.0, found))
    return [name for name, value in zip(ahead, best) if value >= correlation]


def _unit(rows):
    """Rows less their mean, of length 1; a constant row becomes zeros."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)


def _naive2(y, horizon, season):
    if not _is_seasonal(y, season):
        return np.full(horizon, y[-1])
    index = _seasonal_indices(y, season)
    ahead = (len(y) + np.arange(horizon)) % season
    return y[-1] / index[(len(y) - 1) % season] * index[ahead]


def _is_seasonal(y, season):
    if season == 1 or len(y) < 3 * season:
        return False
    centred = y - y.mean()
    variance = centred @ centred
    if variance == 0:
        return False
    r = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, season + 1)]) / variance
    error = np.sqrt((1 + 2 * np.sum(r[:-1] ** 2)) / len(y))
    return abs(r[-1]) > 1.645 * error


def _seasonal_indices(y, season):
    """Mean ratio to the centred moving average at each place of the season; their mean is 1."""
    weights = np.ones(season)
    if season % 2 == 0:
        weights = np.convolve(weights, [0.5, 0.5])
    trend = np.convolve(y, weights / season, mode="valid")
    first = (len(weights) - 1) // 2
    ratio = np.full(len(y), np.nan)
    ratio[first : first + len(trend)] = y[first : first + len(trend)] / trend
    index = np.array([np.nanmean(ratio[place::season]) for place in range(season)])
    return index / index.mean()


def _by_series(train, forecast):
    parts = {}
    for name, rows in train["value"].groupby(level=0):
        values = forecast(rows.to_numpy())
        last = rows.index[-1][1]
        parts[name] = pd.Series(values, index=last + 1 + np.arange(len(values)))
    return pd.concat(parts, names=train.index.names)


def _count(panel):
    return panel.index.unique(0).size
