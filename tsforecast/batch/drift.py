"""Whether the inputs of today look like those of the training: PSI, missing values, range.

Rows of panels are not independent: a price today is close to that of yesterday, and a bad day is
one for all stocks.  So many rows say less than they seem to, and a measure of drift that takes them
for independent cries wolf every night.  Here rows count as `effective_rows`, and what chance can
do with so few of them is no drift.  Nor is what is usual: a price wanders off by itself, and the
rows of the training have drifted against the rows before them, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.batch.profile import bin_shares, psi
from tsforecast.data.panel import layout_of

__all__ = ["added_rows", "drift_of", "effective_rows", "psi_by_chance"]

CHANCE = 0.01
"""What chance does more rarely than this is none."""


def added_rows(panel: pd.DataFrame, since: pd.Timestamp | None, least: int) -> pd.DataFrame:
    """Rows after a time; if these are few, so many of the newest times that there are enough.

    Parameters
    ----------
    panel : DataFrame
    since : Timestamp or None
        In the zone of the panel's time. None: no row is newer.
    least : int
        How many rows there have to be, where the panel has as many.
    """
    layout = layout_of(panel)
    if not layout.n_rows:
        return panel
    at = np.arange(layout.n_rows) if layout.at is None else layout.at
    counts = np.bincount(at, minlength=len(layout.labels))
    newest = np.cumsum(counts[::-1])[::-1]  # rows at each time or later: labels are in order
    first = np.flatnonzero(newest >= min(least, layout.n_rows))[-1]
    wanted = np.arange(len(newest)) >= first
    if since is not None:
        wanted |= np.asarray(layout.labels >= since)
    return panel[layout.per_row(wanted)]


def drift_of(panel: pd.DataFrame, known: Mapping[str, Any]) -> dict[str, Any]:
    """Compare a column of new rows with what is kept of the training.

    Parameters
    ----------
    panel : DataFrame
        New rows; one column.
    known : mapping
        Of this column, as by `training_profile`.

    Returns
    -------
    dict
        ``rows``, of which ``missing`` (share) have no value, and ``missing_training``;
        ``effective``, as many independent rows the values count for; ``psi``, and ``psi_chance``,
        which chance exceeds in 1 of 100 cases; ``outside`` (share of values outside the range of
        training), and ``outside_chance``, the chance of so many; ``psi_usual`` and
        ``outside_usual``, the most that a part of the training had against the parts before it. No
        value of the data. `None` where there is nothing to compare.
    """
    layout = layout_of(panel)
    values = panel.iloc[:, 0].to_numpy(dtype=np.float64)
    there = ~np.isnan(values)
    found: dict[str, Any] = {
        "rows": len(values),
        "missing": float(1.0 - there.mean()) if len(values) else None,
        "missing_training": float(known["missing"]),
    }
    names = ("effective", "psi", "psi_chance", "psi_usual")
    nothing = dict.fromkeys((*names, "outside", "outside_usual", "outside_chance"))
    if not there.any() or not known["shares"]:
        return found | nothing
    series = int(np.logical_or.reduceat(there, layout.starts).sum())
    like = {name: float(known[name]) for name in ("persistence", "common")}
    now = effective_rows(int(there.sum()), series, **like)
    trained_on = known["rows"] * (1.0 - known["missing"])
    then = effective_rows(round(trained_on), int(known["series"]), **like)
    outside = float(((values < known["min"]) | (values > known["max"]))[there].mean())
    return found | {
        "effective": now,
        "psi": psi(bin_shares(values, known["edges"]), known["shares"], int(there.sum())),
        "psi_chance": psi_by_chance(len(known["shares"]), now, then),
        "psi_usual": known["usual"]["psi"],
        "outside": outside,
        "outside_usual": known["usual"]["outside"],
        "outside_chance": _outside_by_chance(outside, now, then),
    }


def psi_by_chance(n_bins: int, now: float, then: float) -> float:
    r"""The PSI that two samples of one population exceed in 1 of 100 cases.

    Yurdakul and Naranjo (2020), Statistical properties of the population stability index, Journal
    of Risk Model Validation 14(4): for independent values it is distributed as
    :math:`(1/n + 1/m)` times a :math:`\chi^2` with B - 1 degrees of freedom.

    Parameters
    ----------
    n_bins : int
    now, then : float
        Independent values of the two samples, as by `effective_rows`.

    Examples
    --------
    >>> round(psi_by_chance(10, 100, 1000), 2), round(psi_by_chance(10, 1000, 1000), 2)
    (0.24, 0.04)
    """
    from scipy.stats import chi2

    if n_bins < 2:
        return 0.0
    return float(chi2.ppf(1.0 - CHANCE, n_bins - 1) * (1.0 / now + 1.0 / then))


def effective_rows(rows: int, series: int, *, persistence: float, common: float) -> float:
    r"""How many independent rows the rows of a panel count for.

    .. math:: \max\left(1, \frac{S}{1 + (S - 1) c} \cdot
              \max\left(1, T \frac{1 - r}{1 + r}\right)\right)

    for S series of T rows: the variance of a mean where rows of a series fall off as those of an
    autoregression, by r from row to row, and two series at one time have the correlation c.

    Parameters
    ----------
    rows : int
        S T.
    series : int
    persistence, common : float
        r and c, from 0 to 1.

    Returns
    -------
    float
        From 1 to `rows`.

    Examples
    --------
    >>> effective_rows(1000, 10, persistence=0.0, common=0.0)
    1000.0
    >>> effective_rows(1000, 10, persistence=1.0, common=0.0)
    10.0
    >>> round(effective_rows(500, 500, persistence=0.0, common=0.3), 1)
    3.3
    """
    if rows < 1:
        return 1.0
    long = max(1.0, rows / series * (1.0 - persistence) / (1.0 + persistence))
    return max(1.0, series / (1.0 + (series - 1) * common) * long)


def _outside_by_chance(share: float, now: float, then: float) -> float:
    """Chance of at least this share outside the range of `then` values of the same kind.

    The next of exchangeable values is a new largest or smallest one with the chance 2 / (m + 1).
    """
    from scipy.special import betainc

    count = share * now
    chance = min(2.0 / (then + 1.0), 1.0)
    return float(betainc(count, now - count + 1.0, chance)) if count > 0 else 1.0
