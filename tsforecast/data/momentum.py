"""What a trend follower looks at: past returns in units of volatility, and crossings of averages.

Everything at a row knows the rows of its series up to it and nothing else.

Sources
-------
- B. Lim, S. Zohren, S. Roberts, "Enhancing time series momentum strategies using deep neural
  networks", Journal of Financial Data Science 1, 2019.
- J. Baz, N. Granger, C. Harvey, N. Le Roux, S. Rattray, "Dissecting investment strategies in the
  cross section and time series", 2015 (the crossings of moving averages).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsforecast.data.panel import Floats, Layout
from tsforecast.data.tables import filled, side_by_side, weighted_mean

__all__ = ["Momentum", "captured_returns"]

_LEVEL_ROWS, _SIGNAL_ROWS = 63, 252  # over which prices, and their signal, are measured
_MOST = 10.0  # largest size of a signal: with a few rows a measure of spread may be near 0


@dataclass(frozen=True)
class Momentum:
    r"""Signals of a price, and its volatility, at every row.

    With :math:`p` the logarithm of the last known price and :math:`\sigma_t` the square root of
    the exponentially weighted mean of squared returns up to row t, the signals are

    .. math::
        \frac{p_t - p_{t-k}}{\sigma_t \sqrt{k}}, \qquad
        \frac{q_t}{\text{sd}_{252}(q)}, \quad
        q_t = \frac{m_t(S) - m_t(L)}{\text{sd}_{63}(p)}

    for every k of `spans` and every (S, L) of `macd`; m(S) is an exponentially weighted mean with
    weight 1 / S of the newest row, sd over so many rows up to t. Near the beginning of a series
    they use the rows that there are. Signals are cut at 10 either way.

    Attributes
    ----------
    spans : tuple of int
        Rows of the past returns.
    macd : tuple of (int, int)
        Short and long time scale of each crossing, in rows.
    half_life : float
        Of the volatility, in rows.
    """

    spans: tuple[int, ...]
    macd: tuple[tuple[int, int], ...]
    half_life: float

    @property
    def names(self) -> list[str]:
        """Name the signals."""
        over = [f"return over {rows} rows" for rows in self.spans]
        return over + [f"macd {short}/{long}" for short, long in self.macd]

    def measure(self, price: Floats, layout: Layout) -> tuple[Floats, Floats]:
        """Measure positive prices (N,), NaN where missing.

        Returns
        -------
        signals : ndarray, shape (N, n)
            NaN before the second known price, and where a price has never moved.
        volatility : ndarray, shape (N,)
            Per row, of returns from one known price to the next; NaN before the second one.
        """
        padded = np.append(np.log(price), np.nan)
        # one place more, for the cells beyond the end of a series
        signals = np.empty((len(padded), len(self.names)))
        volatility = np.empty(len(padded))
        alpha = 1.0 - 2.0 ** (-1.0 / self.half_life)
        for _, rows in side_by_side(layout):
            x = padded[rows]
            last = filled(x)
            moves = np.full_like(x, np.nan)
            moves[:, 1:] = np.where(np.isnan(x[:, 1:]), np.nan, last[:, 1:] - last[:, :-1])
            nothing = np.zeros((len(x), 1))
            variance, count = weighted_mean(moves**2, alpha, start=nothing, prior_rows=0)
            sigma = np.where(count > 0, np.sqrt(variance), np.nan)
            volatility[rows] = sigma
            parts = [*_returns(last, sigma, self.spans), *_crossings(last, self.macd)]
            for j, part in enumerate(parts):
                signals[rows, j] = np.clip(part, -_MOST, _MOST)
        return signals[:-1], volatility[:-1]


def _returns(last: Floats, sigma: Floats, spans: Sequence[int]) -> list[Floats]:
    """Change of log prices (n, L) over each span, in standard deviations of that change."""
    known = ~np.isnan(last)
    begin = np.argmax(known, axis=1)[:, None]
    age = np.maximum(np.arange(last.shape[1]) - begin, 0)
    results = []
    for rows in spans:
        back = np.minimum(age, rows)
        ago = np.take_along_axis(last, np.arange(last.shape[1]) - back, axis=1)
        results.append(_over(last - ago, sigma * np.sqrt(back)))
    return results


def _crossings(last: Floats, pairs: Sequence[tuple[int, int]]) -> list[Floats]:
    """Difference of two moving averages of log prices (n, L), in units of what it usually is."""
    if not pairs:
        return []
    begin = np.argmax(~np.isnan(last), axis=1)[:, None]
    x = last - np.take_along_axis(last, begin, axis=1)
    spread = _rolling_spread(x, _LEVEL_ROWS)
    nothing = np.zeros((len(x), 1))
    means = {
        scale: weighted_mean(x, 1.0 / scale, start=nothing)[0]
        for scale in {scale for pair in pairs for scale in pair}
    }
    results = []
    for short, long in pairs:
        q = _over(means[short] - means[long], spread)
        results.append(_over(q, _rolling_spread(q, _SIGNAL_ROWS)))
    return results


def _rolling_spread(table: Floats, rows: int) -> Floats:
    """Standard deviation of the last `rows` values along each row of a table (n, L)."""
    spread = pd.DataFrame(table.T).rolling(rows, min_periods=2).std()
    return np.asarray(spread.to_numpy().T)


def _over(values: Floats, unit: Floats) -> Floats:
    """Divide, NaN where the unit is 0 or unknown."""
    some = unit > 0
    return np.where(some, values / np.where(some, unit, 1.0), np.nan)


def captured_returns(price: Floats, layout: Layout, lag: int) -> Floats:
    """Give the return that a position decided at each row earns: one row long, `lag` rows later.

    Parameters
    ----------
    price : ndarray, shape (N,)
        The last known ones, NaN before the first.
    layout : Layout
    lag : int
        Rows between the decision and the price at which it is carried out.

    Returns
    -------
    ndarray, shape (N,)
        ``price[t + lag + 1] / price[t + lag] - 1`` within a series, as a fraction; NaN where
        either is unknown or behind its end.
    """
    row = np.arange(layout.n_rows)
    stop = np.repeat(layout.stops, np.diff(layout.offsets))
    inside = row + lag + 1 < stop
    bought = price[np.where(inside, row + lag, row)]
    sold = price[np.where(inside, row + lag + 1, row)]
    return np.where(inside, sold / bought - 1.0, np.nan)
