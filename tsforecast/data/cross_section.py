"""Labels across the series of a day: which of them did better than the median."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first, positive_int
from tsforecast.data.panel import Floats, Layout, add_available, as_panel, layout_of, previous_rows
from tsforecast.data.ranges import refuse_rows

__all__ = ["above_median"]

Bools = npt.NDArray[np.bool_]


def above_median(
    panel: pd.DataFrame,
    column: Hashable = "close",
    *,
    returns: Hashable | None = None,
    universe: Any = None,
    least: int = 10,
) -> pd.DataFrame:
    """Add each row's return, and whether it was above the median of all series at its time.

    Both are known at the time of their row: the median is that of the same day's returns. To
    forecast the next day's, make ``"above"`` the target of a forecaster with ``horizon=1`` and
    ``head="bernoulli"`` (Krauss, Do and Huck 2017; Fischer and Krauss 2018,
    https://doi.org/10.1016/j.ejor.2017.11.054).

    Parameters
    ----------
    panel : DataFrame
        A panel of several series, or anything that `as_panel` takes without further names.
    column : hashable
        The price, of which returns are made. Adjusted for splits, and for dividends where it
        shall be the total return.
    returns : hashable, optional
        In place of `column`: a column that holds returns as fractions (0.01 = 1 %), each of the
        time from the row before to its own.
    universe : hashable or Series, optional
        A column of the panel, or a Series on its index: true (or 1) in rows at which the series
        belongs to the cross-section. The others have a return, but no part in the median and no
        label. A missing value is false.
    least : int
        Series that must have a return at a time; with fewer there is no label.

    Returns
    -------
    DataFrame
        The panel with two more columns:

        - ``return``: price / price in the row before of the same series - 1, a fraction. NaN in
          the first row of a series, and where either price is missing: nothing is filled, and
          where a series has no row on a day its next return is that of two.
        - ``above``: 1 if the return is above the median of the time, 0 if at or below it: of a tie
          nobody is above. NaN without a return, outside of the universe, and at times of fewer
          than `least` returns.

    Raises
    ------
    DataError
        If a price is zero or negative, a return below -1, the panel has a single series or no time
        with `least` returns, or a column is missing or is there already.

    Notes
    -----
    Of an odd number of series the middle one is not above: the base rate is a little below one
    half. Where many returns are equal, as zeros of stocks that are not traded, it is far below.

    Examples
    --------
    >>> import pandas as pd
    >>> closes = {"A": [10.0, 11.0, 11.0], "B": [10.0, 10.0, 12.0], "C": [10.0, 9.0, 9.9]}
    >>> panel = pd.concat({name: pd.DataFrame({"close": c}) for name, c in closes.items()})
    >>> above_median(panel, least=3)["above"].unstack(0).loc[1:].to_numpy()
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    positive_int("least", least, least=2)
    panel = as_panel(panel)
    layout = layout_of(panel)
    _require(panel, layout, [column if returns is None else returns])
    change = _given(panel, returns) if returns is not None else _simple(panel, layout, column)
    shown = change
    if universe is not None:
        shown = np.where(_members(panel, universe), change, np.nan)
    stamps, at = np.unique(layout.when(), return_inverse=True)
    by_time = pd.Series(shown).groupby(at)
    median = by_time.median().to_numpy()
    count = by_time.count().to_numpy()
    if (count < least).all():
        raise fail(
            "no time has enough series",
            expected=f"times at which at least {least} series have a return",
            found=f"at most {count.max()}, at {len(stamps)} times",
            advice="Lower `least`, or look at the universe and at how the series' times agree.",
        )
    median = np.where(count >= least, median, np.nan)[at]
    unknown = np.isnan(shown) | np.isnan(median)
    result = panel.copy()
    result["return"] = change
    result["above"] = np.where(unknown, np.nan, shown > median)
    result.attrs = panel.attrs
    if "available" in result.attrs:
        return add_available(result, ["return", "above"])
    return result


def _require(panel: pd.DataFrame, layout: Layout, names: list[Hashable]) -> None:
    if absent := [name for name in names if name not in panel]:
        raise fail(
            "columns not found",
            expected=f"a column {first(map(repr, absent))}",
            found=f"{list(panel.columns)}",
            advice="Name the price by `column`, or a column of returns by `returns`.",
        )
    if taken := [name for name in ("return", "above") if name in panel and name not in names]:
        raise fail(
            "columns are there already",
            expected="a panel without the columns 'return' and 'above'",
            found=f"{first(map(repr, taken))}",
            advice="Drop or rename them; returns of your own are named by `returns`.",
        )
    if layout.n_series < 2:
        raise fail(
            "no cross-section",
            expected="a panel of several series",
            found="one",
            advice="A long table becomes a panel by as_panel(data, series=..., time=...).",
        )


def _simple(panel: pd.DataFrame, layout: Layout, column: Hashable) -> Floats:
    """Price over the one in the row before, less 1, (N,)."""
    price = panel[column].to_numpy(dtype=float)
    refuse_rows(
        panel,
        price <= 0,
        problem="prices that are not positive",
        expected="prices above 0, or NaN where missing",
        advice="Mend these rows, or set the prices to NaN.",
        column=column,
    )
    before = previous_rows(layout)
    change: Floats = price / price[before] - 1
    change[layout.starts] = np.nan
    return change


def _given(panel: pd.DataFrame, returns: Hashable) -> Floats:
    change = panel[returns].to_numpy(dtype=float)
    refuse_rows(
        panel,
        change < -1,
        problem="returns below -1",
        expected="returns as fractions, 0.01 for 1 %, or NaN where missing",
        advice="Divide percentages by 100; make simple returns of logarithmic ones by expm1.",
        column=returns,
    )
    return change


def _members(panel: pd.DataFrame, universe: Any) -> Bools:
    """Which rows belong to the cross-section, (N,)."""
    if isinstance(universe, pd.Series):
        doubt = None
        if universe.index.nlevels != panel.index.nlevels:
            doubt = "Its index is another one."
        elif universe.index.has_duplicates:
            doubt = "Its index has duplicates."
        elif absent := int((~panel.index.isin(universe.index)).sum()):
            doubt = f"{absent} of {len(panel)} rows are not in it."
        if doubt is not None:
            raise bad_parameter(
                "universe",
                expected="a Series with one value for every row of the panel",
                found=universe,
                advice=doubt,
            )
        values = universe.reindex(panel.index)
    elif isinstance(universe, Hashable) and universe in panel:
        values = panel[universe]
    else:
        raise bad_parameter(
            "universe", expected="a column of the panel, or a Series on its index", found=universe
        )
    known = values.dropna()
    strange = known[~known.isin([0, 1])]
    if len(strange):
        raise bad_parameter(
            "universe", expected="true and false (or 1 and 0) alone", found=strange.iloc[0]
        )
    found: Bools = values.isin([1]).to_numpy(dtype=bool)
    return found
