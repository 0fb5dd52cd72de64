"""What is decided when: forecast frames, tables of weights and masks, laid on a market."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, bad_parameter, fail, first
from tsforecast.backtesting._execution import Market, filled_down, side_by_side
from tsforecast.backtesting.rules import is_number
from tsforecast.backtesting.skill import NAIVE
from tsforecast.data.panel import Floats, Ints, as_cutoffs, time_to_ints
from tsforecast.metrics import sample_rows

__all__ = [
    "against",
    "allowed",
    "chosen_rows",
    "known_at",
    "laid_out",
    "leaving",
    "reference_of",
    "scored",
    "sessions",
    "tabled",
]

Cells = npt.NDArray[np.bool_]
_HINDSIGHT = ["actual", "in_sample", "fit_until"]


def chosen_rows(
    frame: pd.DataFrame, model: Hashable | None, target: Hashable | None, step: int
) -> pd.DataFrame:
    """Give the forecasts of one model, target and step, flat.

    Raises
    ------
    DataError
        If the frame is none of forecasts, or there are several models or targets and none is
        chosen.
    """
    if "series" not in frame:
        several = isinstance(frame.index, pd.MultiIndex)
        names = frame.index.get_level_values(0) if several else 0
        frame = frame.assign(series=names).reset_index(drop=True)
    frame = sample_rows(frame)
    if lacking := [name for name in ("cutoff", "step", "forecast") if name not in frame]:
        raise fail(
            "no frame of forecasts",
            expected="the frame of a backtest or of predict, or a table of weights, time x series",
            found=f"no column {first(map(repr, lacking))}",
            advice="Weights have a column for every series; tsforecast.metrics.as_forecasts brings "
            "forecasts of other toolkits into the form.",
        )
    if frame.empty:
        raise fail(
            "no forecasts",
            expected="a frame with rows",
            found="none",
            advice="Look at what selected them.",
        )
    for name, wanted, left_out in (("model", model, {NAIVE}), ("target", target, set[Any]())):
        frame = _one_of(frame, name, wanted, left_out)
    rows = frame[frame["step"] == step]
    if rows.empty:
        raise bad_parameter(
            "step", expected=f"one of {sorted(frame['step'].unique().tolist())[:10]}", found=step
        )
    if not pd.api.types.is_numeric_dtype(rows["forecast"]):
        raise fail(
            "forecasts are no numbers",
            expected="a column of numbers",
            found=f"dtype {rows['forecast'].dtype}",
            advice="Convert them, pd.to_numeric(frame['forecast']).",
            column="forecast",
        )
    if rows["cutoff"].isna().any():
        raise fail(
            "forecasts without a cutoff",
            expected="the time of the last row that each was made from",
            found=f"{int(rows['cutoff'].isna().sum())} without",
            advice="Drop them, or fill it in.",
            column="cutoff",
        )
    if np.isinf(rows["forecast"]).any():
        raise fail(
            "infinite forecasts",
            expected="numbers, or NaN where there is none",
            found=f"{int(np.isinf(rows['forecast']).sum())}",
            advice="Mend the model.",
            column="forecast",
        )
    return rows


def _one_of(frame: pd.DataFrame, name: str, wanted: Any, left_out: set[Any]) -> pd.DataFrame:
    """Keep the rows of one model or target."""
    if name not in frame:
        if wanted is not None:
            raise bad_parameter(name, expected=f"a frame with a column {name!r}", found=wanted)
        return frame
    found = list(frame[name].unique())
    if wanted is None:
        others = [value for value in found if value not in left_out] or found
        if len(others) > 1:
            raise fail(
                f"several {name}s",
                expected="one to be traded",
                found=f"{first(map(repr, others))}",
                advice=f"Name it in {name}=.",
            )
        wanted = others[0]
    elif wanted not in found:
        raise bad_parameter(name, expected=f"one of {found}", found=wanted)
    return frame[frame[name] == wanted] if len(found) > 1 else frame


def tabled(given: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Make a table, cutoffs x series, of what a rule gave for these rows, in order of time.

    Raises
    ------
    ValueError
        If it is neither a table nor one weight for each row.
    """
    if isinstance(given, pd.DataFrame):
        cutoffs = pd.Index(rows["cutoff"].unique())
        if len(cutoffs.difference(given.index)) or not given.index.is_unique:
            raise bad_parameter(
                "rule",
                expected=f"a function that gives weights at each of the {len(cutoffs)} cutoffs, "
                "once",
                found=given,
                advice="Write 0 for no position.",
            )
        return given.reindex(cutoffs)
    values = np.asarray(given)
    if values.shape != (len(rows),) or (
        isinstance(given, pd.Series) and not given.index.equals(rows.index)
    ):
        raise bad_parameter(
            "rule",
            expected=f"a function that gives a weight for each of the {len(rows)} rows, or a "
            "table of weights, cutoffs x series",
            found=given,
        )
    table = rows[["cutoff", "series"]].assign(weight=values.astype(np.float64))
    # a series without a forecast is not held; a weight that is NaN stays one, to be refused
    wide = table.pivot(index="cutoff", columns="series", values="weight")
    there = table.assign(weight=1.0).pivot(index="cutoff", columns="series", values="weight")
    return wide.where(there.notna(), 0.0)


def sessions(cutoffs: pd.Index, market: Market) -> tuple[Ints, Ints]:
    """Session of each decision, the last one at or before it, without those behind the market.

    Returns
    -------
    kept : ndarray of int64, shape (D,)
        Positions among `cutoffs`, in order of time.
    at : ndarray of int64, shape (D,)
        Their sessions, rising.

    Raises
    ------
    DataError
        If two decisions fall on one session, or one lies before the first.
    """
    marks = time_to_ints(as_cutoffs(cutoffs, market.times))
    stamps = time_to_ints(market.times)
    order = np.argsort(marks, kind="stable")
    order = order[marks[order] <= stamps[-1]]
    if not len(order):
        raise fail(
            "nothing can be traded",
            expected=f"decisions up to the last session, {market.times[-1]}",
            found=f"the first at {cutoffs.min()}",
            advice="Give the panel with the prices that came later.",
        )
    at = np.searchsorted(stamps, marks[order], side="right") - 1
    if at[0] < 0:
        early = order[at < 0]
        raise fail(
            "decisions before the first session",
            expected=f"times from {market.times[0]} on",
            found=f"{len(early)} before",
            advice="Give the panel from its beginning, or leave these out.",
            rows=list(cutoffs[early]),
        )
    twice = at[1:] == at[:-1]
    if twice.any():
        raise fail(
            "several decisions in one session",
            expected="each time once, and at most one between two sessions",
            found=f"{int(twice.sum())} more",
            advice="Keep the last one of each session.",
            rows=list(cutoffs[order[1:][twice]]),
        )
    return order, at.astype(np.int64)


def laid_out(table: pd.DataFrame, market: Market, what: str) -> Floats:
    """Columns of a table in the order of the market, 0 for a series without one, (D, S).

    Raises
    ------
    DataError
        If a column is no series of the market, is there twice, or holds no finite numbers.
    """
    columns = table.columns
    if len(market.names) == 1 and len(columns) == 1 and market.names[0] == 0:
        columns = market.names  # the only series of a panel has no name
    place = market.names.get_indexer(columns)
    if (place < 0).any():
        raise fail(
            f"{what} of unknown series",
            expected=f"series of the panel, such as {first(map(repr, market.names), shown=3)}",
            found=f"{first(map(repr, columns[place < 0]))}",
            advice="Columns are the names of series.",
        )
    if not columns.is_unique:
        raise fail(
            f"{what} of a series are given twice",
            expected="a column for each series",
            found=f"{first(map(repr, columns[columns.duplicated()]))} again",
            advice="Keep one of each.",
        )
    try:
        values = table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise fail(
            f"{what} are no numbers",
            expected="a number for each time and series",
            found=f"dtypes {first(sorted({str(dtype) for dtype in table.dtypes}))}",
            advice="Convert them.",
        ) from None
    if not np.isfinite(values).all():
        wrong = ~np.isfinite(values)
        s = int(np.argmax(wrong.any(axis=0)))
        raise fail(
            f"{what} are NaN or infinite",
            expected="a number for each time and series",
            found=f"{int(wrong.sum())} that are none",
            advice="Write 0 where nothing is to be held; leave out the row where nothing is "
            "decided, and positions drift.",
            series=columns[s],
            rows=list(table.index[wrong[:, s]]),
        )
    wide = np.zeros((len(table), len(market.names)))
    wide[:, place] = values
    return wide


def scored(rows: pd.DataFrame, market: Market) -> tuple[Floats, Cells, pd.Index]:
    """Lay forecasts out.

    Returns
    -------
    forecasts : ndarray, shape (C, S)
        NaN where there is none.
    there : ndarray of bool, shape (C, S)
        Where the frame has a row.
    cutoffs : Index
        C of them, in order.

    Raises
    ------
    DataError
        If a series is none of the market, or has several forecasts of one cutoff.
    """
    codes, cutoffs = pd.factorize(pd.Index(rows["cutoff"]), sort=True)
    which, names = pd.factorize(pd.Index(rows["series"]))
    place = market.names.get_indexer(names)
    if (place < 0).any():
        raise fail(
            "forecasts of unknown series",
            expected=f"series of the panel, such as {first(map(repr, market.names), shown=3)}",
            found=f"{first(map(repr, names[place < 0]))}",
            advice="Give the panel that holds their prices.",
        )
    shape = (len(cutoffs), len(market.names))
    cell = codes * shape[1] + place[which]
    count = np.bincount(cell, minlength=shape[0] * shape[1])
    if (count > 1).any():
        repeated = rows.loc[count[cell] > 1, ["series", "cutoff"]].drop_duplicates()
        raise fail(
            "forecasts are repeated",
            expected="one forecast of each series and cutoff",
            found=f"{len(repeated)} of which there are more",
            advice="Keep one of each, or name the model in model= and the target in target=.",
            rows=list(repeated.itertuples(index=False, name=None)),
        )
    wide = np.full(shape[0] * shape[1], np.nan)
    wide[cell] = rows["forecast"].to_numpy(dtype=np.float64)
    return wide.reshape(shape), (count > 0).reshape(shape), cutoffs


def reference_of(
    reference: Any, target: Any, panel: pd.DataFrame, rows: pd.DataFrame, price: Any
) -> float | str:
    """Tell what forecasts are held against: a number, or "last", the last known value.

    Raises
    ------
    ValueError
        If it is not said and cannot be told.
    """
    if isinstance(reference, str) and reference == "last":
        if target not in panel:
            raise bad_parameter(
                "reference", expected=f"a number, as the panel has no {target!r}", found=reference
            )
        return "last"
    if reference is not None:
        if not is_number(reference) or not np.isfinite(reference):
            raise bad_parameter("reference", expected='"last" or a number', found=reference)
        return float(reference)
    if target == price:
        return "last"
    values = np.empty(0)
    if target in panel and panel[target].dtype == np.float64:
        values = panel[target].to_numpy()
    elif "actual" in rows:
        values = rows["actual"].to_numpy(dtype=np.float64)
    values = values[~np.isnan(values)]
    if (values < 0).any():
        return 0.0
    if len(values) and np.isin(values, (0.0, 1.0)).all():
        return 0.5
    raise bad_parameter(
        "reference",
        expected=f"what forecasts of {target!r} are held against, as they are no forecasts of "
        f"{price!r}, and nothing below zero says that they are returns",
        found=None,
        advice='Pass "last" for levels (their last known value), 0 for returns, 0.5 for '
        "probabilities.",
    )


def against(
    forecasts: Floats, reference: float | str, target: Any, panel: pd.DataFrame, at: Ints
) -> Floats:
    """Scores: forecasts less a number, or over the last known value less one, (D, S)."""
    if not isinstance(reference, str):
        return forecasts - reference
    last = filled_down(side_by_side(panel, panel[target].to_numpy()))[at]
    if (last <= 0).any():
        raise bad_parameter(
            "reference", expected=f"a number, as {target!r} is not above zero", found="last"
        )
    found: Floats = forecasts / last - 1
    return found


def allowed(universe: Any, panel: pd.DataFrame, market: Market, at: Ints) -> Cells | None:
    """Tell which series may be held at each decision, (D, S); None where all may.

    Raises
    ------
    DataError
        If the mask does not fit the panel, or nothing may ever be held.
    """
    if universe is None:
        return None
    if isinstance(universe, pd.DataFrame):
        mask = _table_of(universe, market, at)
    else:
        mask = _column_of(universe, panel)[at]
    if not mask.any():
        raise fail(
            "the universe is empty",
            expected="a series that may be held at some decision",
            found=f"none at all {len(at)} of them",
            advice="Check the dates and the names of the mask.",
        )
    return mask


def _table_of(universe: pd.DataFrame, market: Market, at: Ints) -> Cells:
    """Rows of a table, time x series, known at each decision."""
    lacking = market.names.difference(universe.columns)
    if len(lacking):
        raise fail(
            "the universe lacks series",
            expected="a column for every series of the panel",
            found=f"none for {first(map(repr, lacking))}",
            advice="Add columns of False for what may never be held.",
        )
    if not universe.index.is_unique or not universe.index.is_monotonic_increasing:
        raise fail(
            "times of the universe are not in order",
            expected="a row for each time, in order",
            found="repeated or unsorted ones",
            advice="Sort it, and keep one of each.",
        )
    flags = _flags(universe[list(market.names)].to_numpy(dtype=object))
    marks = time_to_ints(as_cutoffs(universe.index, market.times))
    row = np.searchsorted(marks, time_to_ints(market.times)[at], side="right") - 1
    return flags[row] & (row >= 0)[:, None]


def _column_of(universe: Any, panel: pd.DataFrame) -> Cells:
    """Of a column of the panel, or a Series with its index: sessions x series, (T, S)."""
    if isinstance(universe, pd.Series):
        if not universe.index.is_unique or len(panel.index.difference(universe.index)):
            raise fail(
                "the universe does not fit the panel",
                expected="a value for every row of the panel, under the same index",
                found=f"{len(universe)} values",
                advice="Reindex it, universe.reindex(panel.index, fill_value=False).",
            )
        column = universe.reindex(panel.index)
    elif isinstance(universe, Hashable) and universe in panel:
        column = panel[universe]
    else:
        raise bad_parameter(
            "universe",
            expected="a boolean table, time x series, a boolean Series with the index of the "
            f"panel, or one of its columns {list(panel.columns)}",
            found=universe,
        )
    flags = _flags(column.to_numpy(dtype=object))
    return np.asarray(side_by_side(panel, flags.astype(np.float64)) == 1)


def _flags(values: npt.NDArray[Any]) -> Cells:
    """Booleans, of zeros and ones, too; what is missing is False."""
    missing = pd.isna(values)
    numbers = np.where(missing, False, values)
    try:
        found = numbers.astype(np.float64)
        if not np.isin(found, (0.0, 1.0)).all():
            raise ValueError
    except (TypeError, ValueError):
        raise fail(
            "the universe is no mask",
            expected="True and False, or 1 and 0",
            found="other values",
            advice="Compare, e.g. weight > 0.",
        ) from None
    return np.asarray(found == 1)


def leaving(delisting: Any, market: Market) -> Floats:
    """Returns on leaving, NaN where none is given, (S,).

    Raises
    ------
    DataError
        If they are no returns, or of unknown series.
    """
    found = np.full(len(market.names), np.nan)
    if delisting is None:
        return found
    if not isinstance(delisting, pd.Series):
        raise bad_parameter(
            "delisting", expected="a Series of returns by name of the series", found=delisting
        )
    place = market.names.get_indexer(delisting.index)
    if (place < 0).any() or not delisting.index.is_unique:
        raise _bad_leaving(
            "names of the panel, each once",
            first(map(repr, delisting.index[(place < 0) | delisting.index.duplicated()])),
        )
    values = pd.to_numeric(delisting, errors="coerce").to_numpy(dtype=np.float64)
    wrong = (values < -1) | np.isinf(values) | (np.isnan(values) & delisting.notna().to_numpy())
    if wrong.any():
        raise _bad_leaving(
            "returns from -1 on (-0.3 = -30 %)",
            first(f"{name!r}: {value}" for name, value in delisting[wrong].items()),
        )
    found[place] = values
    return found


def _bad_leaving(expected: str, found: str) -> DataError:
    return fail(
        "returns on leaving do not fit",
        expected=expected,
        found=found,
        advice="Index them by the names of series.",
    )


def known_at(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in order of cutoff and series, without what was not known then."""
    known = rows.drop(columns=[name for name in _HINDSIGHT if name in rows])
    return known.sort_values(["cutoff", "series"], kind="stable").reset_index(drop=True)
