"""Volatility that has been: of a day from its open, high, low and close, or from its ticks."""

from __future__ import annotations

import numbers
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail
from tsforecast.data.panel import Floats, Ints, as_panel, layout_of

__all__ = [
    "check_bars",
    "garman_klass",
    "parkinson",
    "realized_variance",
    "refuse_mixed",
    "refuse_nonpositive",
    "refuse_rows",
    "rogers_satchell",
]


def garman_klass(
    panel: pd.DataFrame,
    *,
    open: Hashable = "open",
    high: Hashable = "high",
    low: Hashable = "low",
    close: Hashable = "close",
) -> pd.Series:
    r"""Estimate each day's volatility from its open, high, low and close.

    .. math::
        \sigma^2 = \tfrac{1}{2} (\ln H / L)^2 - (2 \ln 2 - 1) (\ln C / O)^2

    (Garman & Klass 1980, On the estimation of security price volatilities from historical data,
    the simple form of their best estimator.) It covers the session, not the gap overnight, and
    takes the price for a walk without drift that is seen all the time.

    Parameters
    ----------
    panel : DataFrame
        A panel of prices, of one series or many.
    open, high, low, close : hashable
        Names of the columns.

    Returns
    -------
    Series
        Named ``volatility``: standard deviation per day as a fraction (0.01 = 1 %), on the
        panel's index. NaN where a price is missing, and where the range is zero (a day without
        trade tells nothing, and has no logarithm).

    Raises
    ------
    DataError
        If a price is zero or negative, a low is above its high, or the panel says that its close
        is adjusted and its other prices are not (``attrs["adjusted"] = "close"``).

    Notes
    -----
    An open or close outside of [low, high], as data vendors now and then give, widens the range
    to include it; the estimate is then never negative.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.DataFrame({"open": [100.0], "high": [102.0], "low": [99.0], "close": [101.0]})
    >>> garman_klass(day).round(4).tolist()
    [0.0202]
    """
    panel, (opens, highs, lows, closes) = _bars(panel, open, high, low, close)
    top = np.maximum(highs, np.maximum(opens, closes))
    bottom = np.minimum(lows, np.minimum(opens, closes))
    variance = 0.5 * np.log(top / bottom) ** 2
    variance -= (2 * np.log(2) - 1) * np.log(closes / opens) ** 2
    return _volatility(panel, variance)


def parkinson(panel: pd.DataFrame, *, high: Hashable = "high", low: Hashable = "low") -> pd.Series:
    r"""Estimate each day's volatility from its high and low alone.

    .. math::
        \sigma^2 = \frac{(\ln H / L)^2}{4 \ln 2}

    (Parkinson 1980, The extreme value method for estimating the variance of the rate of return.)
    It covers the session, not the gap overnight, and takes the price for a walk without drift that
    is seen all the time: with a drift it is too large, with few trades too small.

    Parameters
    ----------
    panel : DataFrame
        A panel of prices, of one series or many.
    high, low : hashable
        Names of the columns.

    Returns
    -------
    Series
        As of `garman_klass`.

    Raises
    ------
    DataError
        If a price is zero or negative, or a low is above its high.

    Examples
    --------
    >>> import pandas as pd
    >>> parkinson(pd.DataFrame({"high": [102.0], "low": [99.0]})).round(4).tolist()
    [0.0179]
    """
    panel = as_panel(panel, columns=[high, low])
    check_bars(panel, high, low)
    highs, lows = panel.to_numpy().T
    return _volatility(panel, np.log(highs / lows) ** 2 / (4 * np.log(2)))


def rogers_satchell(
    panel: pd.DataFrame,
    *,
    open: Hashable = "open",
    high: Hashable = "high",
    low: Hashable = "low",
    close: Hashable = "close",
) -> pd.Series:
    r"""Estimate each day's volatility, whatever the drift of the price.

    .. math::
        \sigma^2 = \ln \frac{H}{O} \ln \frac{H}{C} + \ln \frac{L}{O} \ln \frac{L}{C}

    (Rogers & Satchell 1991, Estimating variance from high, low and closing prices.) It covers the
    session, not the gap overnight, and takes the price for a walk that is seen all the time. On a
    day that goes one way from its low to its high it is zero.

    Parameters
    ----------
    panel : DataFrame
        A panel of prices, of one series or many.
    open, high, low, close : hashable
        Names of the columns.

    Returns
    -------
    Series
        As of `garman_klass`; NaN also where the estimate is zero.

    Raises
    ------
    DataError
        As for `garman_klass`.

    Notes
    -----
    An open or close outside of [low, high] widens the range to include it.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.DataFrame({"open": [100.0], "high": [102.0], "low": [99.0], "close": [101.0]})
    >>> rogers_satchell(day).round(4).tolist()
    [0.0199]
    """
    panel, (opens, highs, lows, closes) = _bars(panel, open, high, low, close)
    top = np.maximum(highs, np.maximum(opens, closes))
    bottom = np.minimum(lows, np.minimum(opens, closes))
    variance = np.log(top / opens) * np.log(top / closes)
    variance += np.log(bottom / opens) * np.log(bottom / closes)
    return _volatility(panel, variance)


def realized_variance(
    intraday: pd.DataFrame | pd.Series, *, price: Hashable = None, every: Any = None
) -> pd.DataFrame:
    r"""Measure each day's variance from the prices within it.

    With the log returns :math:`r_1 \dots r_n` between the prices of one day,

    .. math::
        RV = \sum r_i^2, \quad RS^- = \sum_{r_i < 0} r_i^2, \quad RS^+ = \sum_{r_i > 0} r_i^2, \quad
        BPV = \frac{\pi}{2} \sum_{i > 1} |r_{i-1}| |r_i|, \quad RQ = \frac{n}{3} \sum r_i^4

    (Andersen, Bollerslev, Diebold & Labys 2003; Barndorff-Nielsen, Kinnebrock & Shephard 2010 for
    the semivariances; Barndorff-Nielsen & Shephard 2002 for the quarticity, 2004 for the bipower
    variation, which jumps leave alone.) The return overnight, from the last price of a day to the
    first of the next, is in none of them.

    Parameters
    ----------
    intraday : DataFrame or Series
        A panel of prices within the day, of one series or many, with dates and times.
    price : hashable, optional
        The column; default: the only one.
    every : str or Timedelta, optional
        Sample the prices: the first of the day, and the last in each bar of this length, such as
        ``"5min"``. Bars begin at every midnight of the panel's zone, also of lengths that do not
        divide a day; the last is then shorter. Default: every price there is. Prices of seconds
        bounce between bid and ask, which makes a variance from all of them too large.

    Returns
    -------
    DataFrame
        Columns ``rv, rv_negative, rv_positive, bpv, rq``, in fractions squared (0.0001 is a
        volatility of 1 %), ``rq`` in fractions to the fourth, indexed by (series, date) or date.
        NaN on days with fewer than two returns. A day is one of the panel's own time zone, and
        its date has none.

    Raises
    ------
    DataError
        If a price is zero or negative, or the panel has no dates.

    Notes
    -----
    Rows without a price are left out: the return goes from the price before to the one after.
    Where midnight falls into a session, as in UTC for markets of Asia, first move the panel to the
    zone of the exchange, with ``tz_convert``.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> time = pd.date_range("2024-01-02 09:30", periods=4, freq="h", name="time")
    >>> prices = pd.DataFrame({"price": np.exp([0.0, 0.01, -0.01, 0.0])}, index=time)
    >>> realized_variance(prices).round(6)
                    rv  rv_negative  rv_positive       bpv   rq
    time
    2024-01-02  0.0006       0.0004       0.0002  0.000628  0.0
    """
    panel = as_panel(intraday, columns=None if price is None else [price])
    if panel.shape[1] != 1:
        raise bad_parameter(
            "price", expected=f"one of the columns {list(panel.columns)}", found=price
        )
    layout = layout_of(panel)
    time = layout.time
    if not isinstance(time, pd.DatetimeIndex):
        raise fail(
            "time without dates",
            expected="dates and times of day",
            found=f"time of type {time.dtype}",
            advice="Turn it into dates with pd.to_datetime.",
        )
    prices = panel.iloc[:, 0].to_numpy()
    refuse_nonpositive(panel)
    wall = time.tz_localize(None)
    codes = layout.codes()
    day = _runs(codes, wall.normalize().asi8)
    known = np.flatnonzero(np.isfinite(prices))
    if every is not None:
        length = _bar(every)
        since_midnight = wall[known] - wall[known].normalize()
        bar = _runs(day[known], (since_midnight // length).to_numpy())
        first_of_day = np.diff(day[known], prepend=-1) > 0
        last_of_bar = np.diff(bar, append=bar[-1:] + 1) > 0
        known = known[first_of_day | last_of_bar]
    table = _measures(np.log(prices[known]), day[known], int(day[-1]) + 1)
    begins = np.flatnonzero(np.diff(day, prepend=-1) > 0)
    dates = wall.normalize()[begins].rename(layout.labels.name)
    index: pd.Index = dates
    if layout.ids is not None:
        names = [layout.ids.name, layout.labels.name]
        index = pd.MultiIndex.from_arrays([layout.ids.take(codes[begins]), dates], names=names)
    return pd.DataFrame(table, index=index)


def _measures(logs: Floats, day: Ints, n_days: int) -> dict[str, Floats]:
    """Sums over the returns of each day, NaN where there are fewer than two."""
    within = day[1:] == day[:-1]
    r, of = np.diff(logs)[within], day[1:][within]
    neighbours = of[1:] == of[:-1]
    count = np.bincount(of, minlength=n_days)

    def total(values: Floats, at: Ints = of) -> Floats:
        sums = np.bincount(at, weights=values, minlength=n_days)
        return np.where(count >= 2, sums, np.nan)

    products = np.abs(r[1:] * r[:-1])[neighbours]
    return {
        "rv": total(r**2),
        "rv_negative": total(np.minimum(r, 0.0) ** 2),
        "rv_positive": total(np.maximum(r, 0.0) ** 2),
        "bpv": np.pi / 2 * total(products, of[1:][neighbours]),
        "rq": count / 3 * total(r**4),
    }


def _runs(outer: Ints, inner: Ints) -> Ints:
    """Number the runs of equal pairs, from 0."""
    changes = (outer[1:] != outer[:-1]) | (inner[1:] != inner[:-1])
    return np.concatenate([[0], np.cumsum(changes)])[: len(outer)]


def _bar(every: Any) -> pd.Timedelta:
    try:
        # of a number alone pandas makes nanoseconds
        length = pd.Timedelta(float("nan")) if _is_number(every) else pd.Timedelta(every)
        sound = pd.Timedelta(0) < length <= pd.Timedelta(days=1)  # NaT is in no order
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise bad_parameter("every", expected="a length of time such as '5min'", found=every)
    return length


def _is_number(every: Any) -> bool:
    if isinstance(every, np.timedelta64):  # numbers.Integral to Python, and yet a length of time
        return False
    text = every.strip().lstrip("+").replace(".", "", 1) if isinstance(every, str) else ""
    return isinstance(every, numbers.Number) or text.isdecimal()


def _bars(
    panel: pd.DataFrame, open: Hashable, high: Hashable, low: Hashable, close: Hashable
) -> tuple[pd.DataFrame, Floats]:
    """Check open, high, low and close; give them as (4, N)."""
    refuse_mixed(panel, close)
    panel = as_panel(panel, columns=[open, high, low, close])
    check_bars(panel, high, low)
    return panel, panel.to_numpy().T


def refuse_mixed(panel: pd.DataFrame, close: Hashable) -> None:
    """Raise if the panel says that its close is adjusted and its other prices are not."""
    adjusted = getattr(panel, "attrs", {}).get("adjusted")
    if adjusted is True or adjusted == "close":
        raise fail(
            "adjusted closes beside raw prices",
            expected="open, high, low and close in one unit",
            found=f"attrs['adjusted'] = {adjusted!r}: the close is adjusted, the others are not",
            advice="Use the raw close, or adjust all four prices by the same factor.",
            column=close,
        )


def check_bars(panel: pd.DataFrame, high: Hashable, low: Hashable) -> None:
    """Raise if a price of the panel is not positive, or a low above its high."""
    refuse_nonpositive(panel)
    refuse_rows(
        panel,
        panel[low].to_numpy() > panel[high].to_numpy(),
        problem="low above high",
        expected=f"{low!r} at most {high!r}",
        advice="Mend these rows, or check that the columns are not swapped.",
        column=low,
    )


def refuse_nonpositive(panel: pd.DataFrame) -> None:
    """Raise if a number in the panel is zero or negative; all of its columns are prices."""
    for name in panel.columns:
        refuse_rows(
            panel,
            panel[name].to_numpy() <= 0,
            problem="prices that are not positive",
            expected="prices above 0, or NaN where missing",
            advice="Mend these rows, or set the prices to NaN.",
            column=name,
        )


def _volatility(panel: pd.DataFrame, variance: Floats) -> pd.Series:
    variance[~(variance > 0)] = np.nan
    return pd.Series(np.sqrt(variance), index=panel.index, name="volatility")


def refuse_rows(
    panel: pd.DataFrame,
    bad: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    *,
    problem: str,
    expected: str,
    advice: str,
    column: Hashable,
) -> None:
    """Raise if any row is bad, with the names of the first few.

    Parameters
    ----------
    panel : DataFrame
    bad : ndarray of bool, shape (N,)
    problem, expected, advice, column
        As for `tsforecast._checks.fail`.
    """
    if bad.any():
        labels = [
            f"({', '.join(map(str, label))})" if isinstance(label, tuple) else str(label)
            for label in panel.index[bad][:5]
        ]
        raise fail(
            problem,
            expected=expected,
            found=f"{int(bad.sum())} rows that break this",
            advice=advice,
            column=column,
            rows=labels,
        )
