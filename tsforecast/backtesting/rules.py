"""Rules: from forecasts known at a decision to the weights that are wanted."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, positive_int
from tsforecast.backtesting.lookahead import LookaheadError
from tsforecast.data.panel import Floats

__all__ = [
    "Rule",
    "Threshold",
    "TopBottom",
    "VolTarget",
    "by_function",
    "describe",
    "is_number",
    "unranked",
    "weigh",
]

Cells = npt.NDArray[np.bool_]
_CHECKED = 5  # decisions at which a function is given less, and must say the same
_TOLERANCE = 1e-9  # of the largest weight: sums over fewer rows differ in their last digits


@dataclass(frozen=True)
class Threshold:
    """Long above one score, short below another, nothing between.

    Every series has the n-th part of the capital, n being the series with a forecast at the
    decision. The score is the forecast less its reference: of prices forecast over last close,
    less one (see `backtest_strategy`).

    Attributes
    ----------
    up : float
        Long where the score is above.
    down : float, optional
        Short where it is below. Default: minus `up`. ``float("-inf")``: never short.

    Examples
    --------
    >>> import numpy as np
    >>> Threshold(0.01).weights(np.array([[0.02, 0.0, -0.02, 0.005]])).tolist()
    [[0.25, 0.0, -0.25, 0.0]]
    """

    up: float
    down: float | None = None

    def weights(self, scores: Floats) -> Floats:
        """Weights (D, S) of scores (D, S), NaN where there is no forecast."""
        if not is_number(self.up):
            raise bad_parameter("up", expected="a number", found=self.up)
        down = -self.up if self.down is None else self.down
        if not is_number(down) or not down <= self.up:  # NaN, too
            raise bad_parameter("down", expected=f"a number up to up={self.up}", found=down)
        sides = (scores > self.up).astype(np.float64) - (scores < down)
        return sides / _count(scores)


@dataclass(frozen=True)
class TopBottom:
    """Long the `k` series with the highest scores of a decision, short the `k` with the lowest.

    Equal weights of `exposure` / k on each side. Of equal scores, the series that comes first in
    the panel (series are sorted by name) ranks higher. Decisions with fewer series than it takes
    (2 k, or k without shorts), or at which all scores are equal, want no position, and are counted
    in the notes.

    Attributes
    ----------
    k : int
        Series on each side.
    short : bool
        Whether there is a short side.
    exposure : float
        Sum of the weights of the long side, and minus that of the short side: with 1, gross
        exposure is 2 and net exposure 0.

    Examples
    --------
    >>> import numpy as np
    >>> TopBottom(1).weights(np.array([[0.1, 0.3, 0.2], [0.1, np.nan, 0.2]])).tolist()
    [[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]
    """

    k: int
    short: bool = True
    exposure: float = 1.0

    def weights(self, scores: Floats) -> Floats:
        """Weights (D, S) of scores (D, S), NaN where there is no forecast."""
        k = positive_int("k", self.k)
        if not is_number(self.exposure) or not 0 < self.exposure < np.inf:
            raise bad_parameter("exposure", expected="a number above 0", found=self.exposure)
        count = _count(scores)[:, 0]
        ranked = np.argsort(-scores, axis=1, kind="stable")  # NaN last
        enough = np.flatnonzero(~(self.too_few(scores) | all_equal(scores)))
        rows, weights = enough[:, None], np.zeros(scores.shape)
        weights[rows, ranked[enough, :k]] = self.exposure / k
        if self.short:
            lowest = count[enough, None].astype(np.int64) - 1 - np.arange(k)
            weights[rows, ranked[rows, lowest]] = -self.exposure / k
        return weights

    def too_few(self, scores: Floats) -> Cells:
        """Tell at which decisions there are fewer series than it takes, (D,)."""
        return np.asarray((~np.isnan(scores)).sum(axis=1) < self.needed)

    @property
    def needed(self) -> int:
        """Series that it takes."""
        return 2 * self.k if self.short else self.k


@dataclass(frozen=True)
class VolTarget:
    """Scale every weight by target volatility over the volatility expected of its asset.

    The factor is ``min(cap, annual / volatility)``. The volatility is that of the asset's returns
    up to the decision, the root of their exponentially weighted mean square. Assets offset each
    other, so that a portfolio's volatility is lower than the target. Before 20 returns are known
    there is no position, which is counted in the notes.

    Attributes
    ----------
    annual : float
        Volatility of a year that is aimed at (0.10 = 10 %).
    half_life : float
        Sessions after which a return counts half.
    cap : float
        Upper bound of the factor. With 1, weights are never raised.
    periods : float
        Sessions of a year.

    Examples
    --------
    >>> import numpy as np
    >>> moves = np.tile([[0.01], [-0.01]], (15, 1))         # 16 % a year
    >>> VolTarget(0.10).factors(moves)[-1].round(3).tolist()
    [0.63]
    """

    annual: float
    half_life: float = 60.0
    cap: float = 1.0
    periods: float = 252.0

    least = 20

    def factors(self, returns: Floats) -> Floats:
        """Factors (T, S) known at the close of each session, of returns (T, S) up to it."""
        for name in ("annual", "half_life", "cap", "periods"):
            if not is_number(value := getattr(self, name)) or not 0 < value < np.inf:
                raise bad_parameter(
                    "vol_target", expected=f"{name} above 0, such as 0.10 = 10 %", found=value
                )
        squares = pd.DataFrame(returns**2).ewm(
            halflife=self.half_life, min_periods=self.least, ignore_na=True
        )
        volatility = np.sqrt(self.periods * squares.mean().to_numpy())
        with np.errstate(divide="ignore"):
            return np.asarray(np.minimum(self.cap, self.annual / volatility))


Function = Callable[[pd.DataFrame, pd.DataFrame], Any]
Rule = Literal["sign", "position", "weight"] | Threshold | TopBottom | Function


def is_number(value: object) -> bool:
    """Tell a real number, NaN and numpy's too, from a bool, a text, or an array."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def describe(rule: Rule) -> str:
    """Name a rule in words."""
    if isinstance(rule, (str, Threshold, TopBottom)):
        return str(rule)
    return f"function {getattr(rule, '__name__', type(rule).__name__)}"


def weigh(rule: Rule, scores: Floats) -> Floats:
    """Give the weights (D, S) of a rule that is no function.

    Parameters
    ----------
    rule : str, Threshold or TopBottom
    scores : ndarray, shape (D, S)
        Forecasts less their reference, NaN where there is none; for ``"position"`` and
        ``"weight"`` the forecasts themselves.

    Raises
    ------
    ValueError
        If the rule is unknown, or has parameters that cannot be used.
    """
    if isinstance(rule, (Threshold, TopBottom)):
        return np.nan_to_num(rule.weights(scores))
    word = rule if isinstance(rule, str) else ""  # of an array, equal would be many
    if word == "sign":
        return np.nan_to_num(np.sign(scores) / _count(scores))
    if word == "position":
        return np.nan_to_num(scores / _count(scores))
    if word == "weight":
        return np.nan_to_num(scores)
    raise bad_parameter(
        "rule",
        expected="'sign', 'position', 'weight', tsf.Threshold(up), tsf.TopBottom(k), or a function "
        "of the frame of forecasts and the panel",
        found=rule,
    )


def by_function(
    rule: Function,
    rows: pd.DataFrame,
    panel: pd.DataFrame,
    tabled: Callable[[Any, pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """Ask a function for weights, and show that it does not look ahead.

    Parameters
    ----------
    rule : callable
        From rows and a panel to weights.
    rows : DataFrame
        Forecasts in order of cutoff.
    panel : DataFrame
        Up to the last cutoff.
    tabled : callable
        Makes a table, cutoffs x series, of what the function has given for these rows.

    Raises
    ------
    LookaheadError
        If weights of a decision differ once later rows are taken away.
    """
    time: Any = panel.index.get_level_values(-1)

    def ask(cutoff: Any) -> pd.DataFrame:
        known = rows[rows["cutoff"] <= cutoff]
        return tabled(rule(known.copy(), panel[np.asarray(time <= cutoff)].copy()), known)

    cutoffs = pd.Index(rows["cutoff"].unique())
    weights = ask(cutoffs[-1])
    chosen = np.unique(np.linspace(0, len(cutoffs) - 1, _CHECKED + 1).astype(int))[:-1]
    for cutoff in cutoffs[chosen]:
        again = ask(cutoff)
        columns = weights.columns.union(again.columns, sort=False)
        one, two = (t.reindex(index=again.index, columns=columns) for t in (weights, again))
        before, after = (table.to_numpy(dtype=np.float64) for table in (one, two))
        moved = _moved(before, after)
        if moved.any():
            row, column = map(int, np.argwhere(moved)[0])
            raise LookaheadError(
                f"the rule looks ahead ({describe(rule)}): expected the weights of a decision to "
                f"ignore later rows, found that without the rows after {cutoff} "
                f"{int(moved.sum())} of {moved.size} weights move, the first of series "
                f"{columns[column]!r} at {again.index[row]}, from {before[row, column]:.6g} to "
                f"{after[row, column]:.6g}. Look for a negative shift, a rank or mean over all "
                "time, positions from the end, or draws at random that differ from call to call."
            )
    return weights


def _moved(one: Floats, two: Floats) -> Any:
    """Tell which weights differ; NaN equals NaN, as it is refused later."""
    far = np.abs(one - two) > _TOLERANCE * np.abs(np.nan_to_num(one)).max(initial=0.0)
    return far | (np.isnan(one) != np.isnan(two))


def unranked(rule: Rule, scores: Floats) -> list[str]:
    """Count the decisions at which nothing can be ranked, in words."""
    if not isinstance(rule, TopBottom):
        return []
    some = (~np.isnan(scores)).any(axis=1)
    few = some & rule.too_few(scores)
    why = {
        f"fewer than {rule.needed} forecasts": int(few.sum()),
        "forecasts that are all equal": int((some & ~few & all_equal(scores)).sum()),
    }
    return [f"Decisions with {w}, and so without positions: {n:,}." for w, n in why.items() if n]


def all_equal(scores: Floats) -> Cells:
    """Tell at which decisions all scores are equal, so that their order means nothing, (D,)."""
    known = ~np.isnan(scores)
    high = np.where(known, scores, -np.inf).max(axis=1)
    low = np.where(known, scores, np.inf).min(axis=1)
    return np.asarray((high == low) & (known.sum(axis=1) > 1))


def _count(scores: Floats) -> Floats:
    """Series with a forecast at each decision, at least one, (D, 1)."""
    known: Floats = (~np.isnan(scores)).sum(axis=1, keepdims=True).astype(np.float64)
    return np.maximum(known, 1.0)
