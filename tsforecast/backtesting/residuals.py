"""What the forecasts of a backtest left over, and whether it still holds a pattern."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import positive_int
from tsforecast.backtesting._shared import rows_of_step
from tsforecast.backtesting.skill import holm
from tsforecast.metrics import as_forecasts, sample_rows

__all__ = ["arch_lm", "ljung_box", "residuals"]

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Hashable | Sequence[str]]

_KEYS = ["model", "series", "time", "cutoff", "step", "target"]
_LEAST = 3  # residuals beyond the lags


def residuals(
    frame: pd.DataFrame,
    columns: Columns | None = None,
    *,
    in_sample: bool = False,
) -> pd.DataFrame:
    """Give actual less forecast, row by row.

    Parameters
    ----------
    frame : DataFrame
        The flat backtest frame, ours or that of another toolkit.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.
    in_sample : bool
        The in-sample rows of ``backtest(..., fitted=True)`` instead of the others.

    Returns
    -------
    DataFrame
        Columns ``model, series, time, cutoff, step, target, residual``, in the unit of the target;
        NaN where the outcome or the forecast is unknown. In-sample also ``fit_until``: the fit
        that a row comes from, as every fit has its own.

    Raises
    ------
    DataError
        If in-sample rows are asked for and were not kept.
    """
    rows = sample_rows(as_forecasts(frame, columns), in_sample=in_sample)
    left = rows[[*_KEYS, *(["fit_until"] if in_sample else [])]].copy()
    left.insert(len(_KEYS), "residual", rows["actual"] - rows["forecast"])
    return left.reset_index(drop=True)


def ljung_box(
    frame: pd.DataFrame,
    lags: int = 10,
    step: int = 1,
    columns: Columns | None = None,
) -> pd.DataFrame:
    """Test the out-of-sample residuals of a step for autocorrelation, series by series.

    The statistic of Ljung and Box (1978) over the first `lags` autocorrelations, against the
    chi-squared distribution with as many degrees of freedom. Series move together, so their
    statistics are not added up; ``p_holm`` pools them without that assumption: if any is below
    .05, the model has left something in one of its series that the past could have told.

    To read: a small p says that errors predict errors. It misleads beyond step 1, where the errors
    of the best forecast are autocorrelated by their overlap; when volatility clusters, which makes
    p too small without any pattern to use; and in a backtest whose origins lie apart, which looks
    at lags of origins, not of rows.

    Parameters
    ----------
    frame : DataFrame
        The flat backtest frame, ours or that of another toolkit.
    lags : int
        Autocorrelations looked at together.
    step : int
        The step whose residuals are tested, in order of cutoff. Missing ones are skipped.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.

    Returns
    -------
    DataFrame
        Index ``(model, series)``, of several targets ``(model, target, series)``; columns ``n``
        (residuals), ``statistic``, ``p`` and ``p_holm``, adjusted over the rows of the model. NaN
        where residuals are constant or fewer than ``lags + 3``.

    Raises
    ------
    DataError
        If the backtest has no such step.
    ValueError
        If `lags` or `step` is no whole number of at least 1.
    """
    return _by_series(as_forecasts(frame, columns), lags, step, _autocorrelation)


def arch_lm(
    frame: pd.DataFrame,
    lags: int = 5,
    step: int = 1,
    columns: Columns | None = None,
) -> pd.DataFrame:
    """Test the out-of-sample residuals of a step for clusters of volatility, series by series.

    Engle's (1982) Lagrange multiplier test: squared residuals regressed on their `lags` last
    values, n R2 against the chi-squared distribution. ``p_holm`` as in `ljung_box`.

    To read: a small p says that the size of the errors can be foreseen: intervals of constant
    width are then too narrow in storms and too wide in calm. The point forecast may be as good as
    any. It misleads beyond step 1, where the errors of the best forecast overlap; where one outlier
    decides; and it does not look at the intervals, which may follow the volatility already.

    Parameters
    ----------
    frame : DataFrame
        The flat backtest frame, ours or that of another toolkit.
    lags : int
        Squared residuals looked back on.
    step : int
        The step whose residuals are tested, in order of cutoff. Missing ones are skipped.
    columns : mapping of str to column name, optional
        Our names to those of the frame; see `tsforecast.metrics.as_forecasts`.

    Returns
    -------
    DataFrame
        As of `ljung_box`: index ``(model, series)``, of several targets ``(model, target,
        series)``; columns ``n``, ``statistic``, ``p`` and ``p_holm``. NaN where the size of the
        residuals is constant or they are fewer than ``2 * lags + 3``.

    Raises
    ------
    DataError
        If the backtest has no such step.
    ValueError
        If `lags` or `step` is no whole number of at least 1.
    """
    return _by_series(as_forecasts(frame, columns), lags, step, _clustering)


def _by_series(
    frame: pd.DataFrame,
    lags: int,
    step: int,
    test: Callable[[Floats, int], tuple[int, float, float]],
) -> pd.DataFrame:
    """Test the residuals of every model and series, and adjust over those of a model."""
    lags, step = positive_int("lags", lags), positive_int("step", step)
    left = rows_of_step(residuals(frame), step).sort_values("cutoff", kind="stable")
    keys = ["model", "target", "series"]
    if left["target"].nunique() == 1:
        keys.remove("target")
    groups = left.groupby(keys, observed=True, sort=False)["residual"]
    records = {name: test(group.dropna().to_numpy(), lags) for name, group in groups}
    seen = {key: list(dict.fromkeys(frame[key])) for key in keys}
    index = [name for name in product(*seen.values()) if name in records]
    table = pd.DataFrame(
        [records[name] for name in index],
        index=pd.MultiIndex.from_tuples(index, names=keys),
        columns=["n", "statistic", "p"],
    )
    p_holm = table["p"].groupby(level="model", sort=False).transform(lambda p: holm(p))
    return table.assign(p_holm=p_holm)


def _is_constant(values: Floats) -> bool:
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _clustering(left: Floats, lags: int) -> tuple[int, float, float]:
    """Count, statistic and p-value of the residuals of one series, in order."""
    n = len(left)
    if n < 2 * lags + _LEAST or _is_constant(left**2):
        return n, np.nan, np.nan
    from statsmodels.stats.diagnostic import het_arch

    # in units of their size: the squares of tiny ones would be lost beside the constant
    test = het_arch(left / np.abs(left).max(), nlags=lags, result_object=True)
    return n, float(test.lm), float(test.lmpval)


def _autocorrelation(left: Floats, lags: int) -> tuple[int, float, float]:
    """Count, statistic and p-value of the residuals of one series, in order."""
    n = len(left)
    if n < lags + _LEAST or _is_constant(left):
        return n, np.nan, np.nan
    from statsmodels.stats.diagnostic import acorr_ljungbox

    test = acorr_ljungbox(left, lags=[lags])
    return n, float(test["lb_stat"].iloc[0]), float(test["lb_pvalue"].iloc[0])
