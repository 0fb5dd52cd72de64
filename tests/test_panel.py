"""The gatekeeper `as_panel`, and the layout that the package reads a panel by."""

from __future__ import annotations

import re
import subprocess
import sys
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforecast._checks import DataError
from tsforecast.data import panel as module
from tsforecast.data.calendars import infer_time_step
from tsforecast.data.panel import (
    Layout,
    as_cutoffs,
    as_panel,
    forward_fill,
    layout_of,
    previous_rows,
    time_from_ints,
    time_to_ints,
)

DAYS = pd.date_range("2024-01-01", periods=4, name="Date")
PAIRS = pd.MultiIndex.from_product([["A", "B"], DAYS], names=["ticker", "Date"])


def frame(values: Any, index: pd.Index = DAYS) -> pd.DataFrame:
    return pd.DataFrame({"y": values}, index=index)


def two_tickers() -> pd.DataFrame:
    """What yfinance gives for two tickers."""
    columns = pd.MultiIndex.from_product(
        [["Close", "Volume"], ["MSFT", "AAPL"]], names=["Price", "Ticker"]
    )
    return pd.DataFrame(np.arange(16.0).reshape(4, 4), index=DAYS, columns=columns)


def two_tickers_as_panel() -> pd.DataFrame:
    index = pd.MultiIndex.from_product([["AAPL", "MSFT"], DAYS], names=["Ticker", "Date"])
    close = [1.0, 5, 9, 13, 0, 4, 8, 12]
    return pd.DataFrame({"Close": close, "Volume": np.array(close) + 2}, index=index)


def long_table() -> pd.DataFrame:
    table = pd.DataFrame({"y": np.arange(8.0)}, index=PAIRS).reset_index()
    return table.sample(frac=1, random_state=0)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_freq=False)


def same_index(left: pd.Index, right: pd.Index) -> None:
    """Equal times, type, unit, zone and name; a freq does not matter."""
    assert left.equals(right) and left.dtype == right.dtype and left.name == right.name


# ---------------------------------------------------------------------- the forms that people have


def test_series_with_a_name_becomes_a_column_of_that_name():
    panel = as_panel(pd.Series([1, 2, 3, 4], index=DAYS, name="Close"))
    same(panel, pd.DataFrame({"Close": [1.0, 2, 3, 4]}, index=DAYS))


@pytest.mark.parametrize("name", [None, ("Close", "MSFT")])
def test_series_without_a_plain_name_becomes_the_column_value(name):
    panel = as_panel(pd.Series([1, 2, 3, 4], index=DAYS, name=name))
    same(panel, pd.DataFrame({"value": [1.0, 2, 3, 4]}, index=DAYS))


def test_frame_of_one_ticker_keeps_its_columns_and_the_name_of_its_time():
    flat = pd.DataFrame({"Close": [1.5, 2, 3, 4], "Volume": [7, 8, 9, 9]}, index=DAYS)
    panel = as_panel(flat)
    same(panel, flat.astype(float))
    assert panel.index.name == "Date"
    assert not isinstance(panel.index, pd.MultiIndex)


def test_index_without_names_is_called_series_and_time():
    assert as_panel(frame([1, 2], pd.RangeIndex(2))).index.name == "time"
    pairs = frame(range(8), PAIRS.set_names([None, None]))
    assert list(as_panel(pairs).index.names) == ["series", "time"]


@pytest.mark.parametrize("swap", [False, True], ids=["(Price, Ticker)", "(Ticker, Price)"])
def test_several_tickers_of_yfinance_in_both_orders_of_the_column_levels(swap):
    data = two_tickers()
    if swap:
        data = data.swaplevel(axis=1).sort_index(axis=1)
    same(as_panel(data), two_tickers_as_panel())


def test_the_level_of_the_tickers_may_be_named_by_series():
    data = two_tickers().rename_axis(columns=["what", "who"])
    same(as_panel(data, series="who"), two_tickers_as_panel().rename_axis(["who", "Date"]))
    same(as_panel(two_tickers(), time="Date"), two_tickers_as_panel())


def test_column_levels_without_names_are_refused():
    message = (
        r"several levels.*'Ticker'.*found levels \[None, None\].*names = \[\"Price\", \"Ticker"
    )
    with pytest.raises(DataError, match=message):
        as_panel(two_tickers().rename_axis(columns=[None, None]))


def test_columns_of_three_levels_are_refused():
    columns = pd.MultiIndex.from_tuples([("a", "b", "c")], names=["x", "Price", "Ticker"])
    with pytest.raises(DataError, match="columns have several levels: expected two"):
        as_panel(pd.DataFrame(np.ones((4, 1)), index=DAYS, columns=columns))


def test_a_ticker_starts_with_its_first_row_that_has_any_value():
    data = two_tickers()
    data.loc[DAYS[:2], (slice(None), "AAPL")] = np.nan
    data.loc[DAYS[0], ("Close", "MSFT")] = np.nan  # its volume is known
    expected = two_tickers_as_panel()
    expected.loc[("MSFT", DAYS[0]), "Close"] = np.nan
    same(as_panel(data), expected.drop(index=[("AAPL", DAYS[0]), ("AAPL", DAYS[1])]))


def test_a_ticker_without_any_value_is_named_and_not_dropped_in_silence():
    data = two_tickers()
    data.loc[:, (slice(None), "AAPL")] = np.nan
    with pytest.raises(DataError, match=r"series without any value \(series 'AAPL'\)"):
        as_panel(data)


def test_columns_can_be_chosen_in_every_form():
    same(as_panel(two_tickers(), columns=["Close"]), two_tickers_as_panel()[["Close"]])
    table = long_table().assign(note="text")
    expected = as_panel(long_table(), series="ticker", time="Date")
    same(as_panel(table, series="ticker", time="Date", columns=["y"]), expected)
    same(
        as_panel(frame([1, 2, 3, 4]).assign(note="text"), columns=["y"]),
        as_panel(frame([1, 2, 3, 4])),
    )


def test_chosen_columns_that_do_not_exist_are_listed():
    with pytest.raises(
        DataError, match=r"columns not found.*\['z'\].*found \['y'\].*Missing: \['z'\]"
    ):
        as_panel(frame([1, 2, 3, 4]), columns=["z"])


def test_columns_must_be_a_list_and_not_one_name():
    with pytest.raises(ValueError, match="'columns': expected a list of names, found 'ab'"):
        as_panel(pd.DataFrame({"a": [1], "b": [2]}), columns="ab")


def test_frame_indexed_by_series_and_time_keeps_the_names_of_its_levels():
    panel = as_panel(frame(range(8), PAIRS))
    same(panel, frame(np.arange(8.0), PAIRS))
    assert list(panel.index.names) == ["ticker", "Date"]


def test_named_columns_may_come_in_any_order_of_rows():
    same(as_panel(long_table(), series="ticker", time="Date"), frame(np.arange(8.0), PAIRS))


def test_named_columns_may_be_index_levels_in_any_order():
    data = long_table().set_index(["Date", "ticker"])
    expected = frame(np.arange(8.0), PAIRS)
    same(as_panel(data, series="ticker", time="Date"), expected)
    data = frame(np.arange(8.0), PAIRS).swaplevel()
    same(as_panel(data, time="Date"), expected)  # the other level is the series
    same(as_panel(data, series="ticker"), expected)


def test_series_may_be_a_column_beside_a_time_index():
    data = frame(np.arange(8.0), PAIRS).reset_index("ticker")
    same(as_panel(data, series="ticker"), frame(np.arange(8.0), PAIRS))


def test_time_may_be_a_column_of_a_table_of_one_series():
    data = frame([1.0, 2, 3, 4]).reset_index().iloc[::-1]
    same(as_panel(data, time="Date"), frame([1.0, 2, 3, 4]))


def test_columns_named_series_and_time_may_hold_series_and_time():
    data = pd.DataFrame({"series": ["a", "a"], "time": [2, 1], "y": [1.0, 2]})
    panel = as_panel(data, series="series", time="time")
    assert panel["y"].to_dict() == {("a", 1): 2.0, ("a", 2): 1.0}


def test_a_column_wins_over_an_index_level_of_the_same_name():
    data = pd.DataFrame({"s": ["b", "a"], "y": [1.0, 2]}, index=pd.Index([1, 2], name="s"))
    assert as_panel(data, series="s")["y"].to_dict() == {("a", 2): 2.0, ("b", 1): 1.0}


def test_unique_id_and_ds_are_recognised():
    data = long_table().rename(columns={"ticker": "unique_id", "Date": "ds"})
    same(as_panel(data), frame(np.arange(8.0), PAIRS.set_names(["unique_id", "ds"])))


def test_columns_named_series_and_time_are_recognised_as_a_pair_only():
    data = long_table().rename(columns={"ticker": "series", "Date": "time"})
    same(as_panel(data), frame(np.arange(8.0), PAIRS.set_names(["series", "time"])))
    with pytest.raises(DataError, match=r"reserved column names \(column 'time'\)"):
        as_panel(data[["time", "y"]])


def test_levels_in_the_order_time_and_series_are_told_from_bad_time():
    data = frame(np.arange(8.0), PAIRS).swaplevel()
    with pytest.raises(DataError, match=r"levels are swapped.*\['Date', 'ticker'\].*swaplevel\(\)"):
        as_panel(data)
    same(as_panel(data.swaplevel()), frame(np.arange(8.0), PAIRS))


def test_dates_before_whole_numbers_are_levels_in_the_wrong_order_unless_they_are_named():
    """As of CRSP: (date, permno)."""
    pairs = pd.MultiIndex.from_product([DAYS, [10001, 10002]], names=["date", "permno"])
    hours = pairs.set_levels(pd.to_timedelta(range(len(DAYS)), unit="h"), level=0)
    wanted = r"levels are swapped.*found \['date', 'permno'\]: .* and int64.*swaplevel\(\)"
    for data in (frame(np.arange(8.0), pairs), pd.DataFrame({"y": range(8)}, index=hours)):
        with pytest.raises(DataError, match=wanted):
            as_panel(data)
        with pytest.raises(DataError, match="levels are swapped"):
            as_panel(data.rename_axis([None, None]))
        panel = as_panel(data.swaplevel())
        assert panel.index.unique(0).tolist() == [10001, 10002]
        same(as_panel(data, series="permno"), panel)
    data = frame(np.arange(8.0), pairs)
    named = as_panel(data, series="date", time="permno")
    assert named.index.unique(0).tolist() == DAYS.tolist()
    same(as_panel(named), named)  # so it was said
    same(as_panel(named.iloc[2:]), named.iloc[2:])
    half = data.rename_axis(["series", "permno"])
    assert as_panel(half).index.names == ["series", "permno"]
    same(as_panel(data.rename_axis(["series", "time"])), named.rename_axis(["series", "time"]))


def test_wide_prices_lose_the_rows_outside_a_series_life_and_keep_inner_gaps():
    nan = np.nan
    prices = pd.DataFrame({"B": [nan, 1, nan, 2], "A": [1, 2, 3, nan]}, index=DAYS)
    panel = as_panel(prices.rename_axis(columns="ticker"), wide="close")
    index = pd.MultiIndex.from_arrays(
        [["A"] * 3 + ["B"] * 3, DAYS.take([0, 1, 2, 1, 2, 3])], names=["ticker", "Date"]
    )
    same(panel, pd.DataFrame({"close": [1.0, 2, 3, 1, nan, 2]}, index=index))


def test_wide_table_may_hold_time_in_a_column_or_in_its_named_index():
    prices = pd.DataFrame({"B": [1.0, 2, 3, 4], "A": [5, 6, 7, 8]}, index=DAYS)
    expected = as_panel(prices, wide="close")
    assert list(expected.index.names) == ["series", "Date"]
    same(as_panel(prices.reset_index(), wide="close", time="Date"), expected)
    same(as_panel(prices, wide="close", time="Date"), expected)
    with pytest.raises(DataError, match=r"columns not found.*Missing: \['day'\]"):
        as_panel(prices, wide="close", time="day")


def test_wide_table_may_name_series_like_reserved_columns():
    assert list(
        layout_of(as_panel(frame([1, 2, 3, 4]).rename(columns={"y": "target"}), wide="p")).ids
    ) == ["target"]


def test_series_in_a_wide_table_without_a_value_are_named():
    prices = pd.DataFrame({"A": [1.0] * 4, "B": np.nan, "C": np.nan}, index=DAYS)
    with pytest.raises(DataError, match=r"without any value \(series 'B'\).*none for 'B', 'C'"):
        as_panel(prices, wide="close")


# ------------------------------------------------------------------------------------ its promises

FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "series": (pd.Series([1, 2, 3, 4], index=DAYS, name="y"), {}),
    "one ticker": (frame([1, 2, np.nan, 4]), {}),
    "tickers": (two_tickers(), {}),
    "pairs": (frame(np.arange(8), PAIRS), {}),
    "long": (long_table(), {"series": "ticker", "time": "Date"}),
    "wide": (two_tickers()["Close"], {"wide": "close"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_input_is_left_alone_and_the_panel_shares_nothing_with_it(form):
    data, options = FORMS[form]
    before = data.copy(deep=True)
    panel = as_panel(data, **options)
    panel.iloc[:] = -1.0
    if isinstance(data, pd.Series):
        pd.testing.assert_series_equal(data, before)
    else:
        pd.testing.assert_frame_equal(data, before)


@pytest.mark.parametrize("form", FORMS)
def test_a_panel_of_a_panel_is_the_same_panel(form):
    data, options = FORMS[form]
    panel = as_panel(data, **options)
    pd.testing.assert_frame_equal(as_panel(panel), panel)
    assert panel.index.is_unique and panel.index.is_monotonic_increasing
    assert (panel.dtypes == np.float64).all()


def test_series_may_be_interleaved_or_stand_as_blocks_in_any_order():
    expected = frame(np.arange(8.0), PAIRS)
    same(as_panel(expected.iloc[[0, 4, 1, 5, 6, 2, 3, 7]]), expected)
    same(as_panel(expected.iloc[[4, 5, 6, 7, 0, 1, 2, 3]]), expected)


def test_time_out_of_order_inside_a_series_is_an_error_under_an_index():
    wrong = frame(np.arange(8.0), PAIRS).iloc[[0, 1, 2, 3, 4, 6, 5, 7]]
    with pytest.raises(
        DataError,
        match=r"unsorted time \(series 'B'; first rows: \(B, 2024-01-02 00:00:00\)\).*found 1 rows"
        r".*sort_index\(\)",
    ):
        as_panel(wrong)
    with pytest.raises(DataError, match=r"unsorted time \(first rows: 2024-01-02 00:00:00\)"):
        as_panel(frame([1, 2, 3, 4], DAYS.take([0, 2, 1, 3])))
    with pytest.raises(DataError, match="unsorted time"):
        as_panel(two_tickers().iloc[[0, 2, 1, 3]])
    with pytest.raises(DataError, match="unsorted time"):
        as_panel(two_tickers()["Close"].iloc[::-1], wide="close")


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(8)))
def test_any_order_of_rows_of_a_long_table_gives_the_same_panel(order):
    table = frame(np.arange(8.0), PAIRS).reset_index().iloc[order]
    same(as_panel(table, series="ticker", time="Date"), frame(np.arange(8.0), PAIRS))


# --------------------------------------------------------- a frame that is a panel as it stands


@st.composite
def almost_panels(draw: Any) -> pd.DataFrame:
    """Frames that are panels, or nearly: rows or levels out of order, repeated, unused, missing."""
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    n = draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["grid", "sorted", "any"]))
    ids = np.repeat(np.arange(3), 4)[:n] if kind == "grid" else rng.integers(0, 3, n)
    steps = np.tile(np.arange(4), 3)[:n] if kind == "grid" else rng.integers(0, 6, n)
    if kind == "sorted":
        order = np.lexsort((steps, ids))
        ids, steps = ids[order], steps[order]
    clock = draw(st.sampled_from(["days", "steps", "zone"]))
    time = pd.Index(steps)
    if clock != "steps":
        time = DAYS[0].tz_localize("Asia/Tokyo" if clock == "zone" else None) + time * DAYS.freq
    names = draw(st.sampled_from([["id", "at"], [None, None]]))
    index = pd.MultiIndex.from_arrays([pd.Index(["a", "b", "c"]).take(ids), time], names=names)
    values = rng.choice([1.0, 2.0, 3.0, np.nan, *draw(st.sampled_from([[], [np.inf]]))], (n, 2))
    columns = draw(st.sampled_from([["y", "x"], ["y", "time"], ["y", "y"]]))
    data = pd.DataFrame(values, index=index, columns=columns)
    if draw(st.booleans()):
        data = data.astype("float32")
    kept = rng.random(n) < 0.8  # leaves levels that are not used
    data = data[kept] if draw(st.booleans()) and kept.any() else data
    single = len(data.index.unique(0)) == 1 and draw(st.booleans())
    data = data.droplevel(0) if single else data
    data.attrs["available"] = ["x"]
    return data


def outcome(data: pd.DataFrame) -> tuple[str, pd.DataFrame | None]:
    try:
        return "", as_panel(data)
    except DataError as error:
        return str(error), None


@settings(max_examples=300, deadline=None)
@given(almost_panels())
@pytest.mark.parametrize("block", [2, 1 << 16])
def test_a_frame_taken_as_it_is_gives_the_panel_and_the_errors_of_the_long_way(block, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        message, panel = outcome(data)
        patch.setattr(module, "_is_panel", lambda data: False)
        wanted, expected = outcome(data)
    assert message == wanted
    if expected is not None and panel is not None:
        pd.testing.assert_frame_equal(panel, expected, check_freq=False)
        assert panel.attrs == expected.attrs
        assert panel.index.names == expected.index.names
        one, two = layout_of(panel), layout_of(expected)
        np.testing.assert_array_equal(one.offsets, two.offsets)
        same_index(one.time, two.time)
        assert (one.ids is None) == (two.ids is None)
        if one.ids is not None:
            same_index(one.ids, two.ids)


def test_a_panel_is_not_copied_until_somebody_writes_to_it():
    data = frame(np.arange(8.0), PAIRS)
    panel = as_panel(data)
    assert np.shares_memory(panel["y"].to_numpy(), data["y"].to_numpy())
    data.iloc[0, 0] = 99.0
    data.loc[("B", DAYS[1]), "y"] = 98.0
    same(panel, frame(np.arange(8.0), PAIRS))
    panel.iloc[3] = -1.0
    assert data["y"].tolist() == [99, 1, 2, 3, 4, 98, 6, 7]


def test_columns_whose_values_lie_apart_in_memory_are_put_together():
    data = pd.DataFrame(np.arange(16.0).reshape(8, 2), index=PAIRS, columns=["y", "x"], copy=False)
    assert not data["y"].to_numpy().flags.c_contiguous
    assert as_panel(data)["y"].to_numpy().flags.c_contiguous


# ------------------------------------------------------------------------------------ column types


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, 0, 3], dtype="int8"),
        pd.Series([1, 0, 3], dtype="uint32"),
        pd.Series([1, 0, 3], dtype="float32"),
        pd.Series([True, False, True]),
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([1.5, None, 3], dtype="Float64"),
        pd.Series([True, None, False], dtype="boolean"),
        pd.Series([1, None, 3], dtype="int64[pyarrow]"),
        pd.Series([1.5, None, 3], dtype="double[pyarrow]"),
        pd.Series([True, None, False], dtype="bool[pyarrow]"),
        pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
    ],
    ids=lambda values: str(values.dtype),
)
def test_numbers_of_every_type_become_float64_with_nan_for_missing(values):
    panel = as_panel(frame(values.array, pd.RangeIndex(3)))
    expected = [np.nan if pd.isna(value) else float(value) for value in values]
    assert panel["y"].dtype == np.float64
    np.testing.assert_array_equal(panel["y"], expected)


@pytest.mark.parametrize(
    "values, found, advice",
    [
        (["1", "2", "3", "4"], "dtype str", "pd.to_numeric"),
        (["1,200", "2", "3", "4,000,000"], "dtype str", "thousands=','"),
        (np.array([1, 2, "x", None], dtype=object), "dtype object", "pd.to_numeric"),
        (np.array([1, 2, 3, 4], dtype=object), "dtype object", "pd.to_numeric"),
        (np.array([1j, 2, 3, 4]), "dtype complex128", "pd.to_numeric"),
        (DAYS, "dtype datetime64", "pass time='y'"),
        (DAYS - DAYS[0], "dtype timedelta64", "pass time='y'"),
    ],
    ids=["text", "commas", "mixed", "objects", "complex", "datetimes", "timedeltas"],
)
def test_columns_that_are_not_numbers_are_refused_with_advice(values, found, advice):
    with pytest.raises(DataError) as caught:
        as_panel(frame(values))
    message = str(caught.value)
    assert "column is not numeric (column 'y'; first rows: 2024-01-0" in message
    assert found in message and advice in message


def test_the_entries_that_are_no_numbers_are_shown_and_not_the_good_ones():
    text = pd.DataFrame({"y": ["1", "2", "3", "4", "5", "n/a", None, "1,5"]})
    shown = re.escape("(column 'y'; first rows: 5 = 'n/a', 7 = '1,5'): expected")
    with pytest.raises(DataError, match=f"{shown}.*pd.to_numeric"):
        as_panel(text)


@pytest.mark.parametrize(
    "values, advice",
    [
        (["AAPL", "MSFT", None], "If it names the series, pass series='y'; if it sorts them"),
        (["m", "f", None], r'make it a category, .astype\("category"\), for static=; else leave'),
        (["2024-01-01", "2 January 2024", None], "with pd.to_datetime and pass time='y'"),
    ],
)
def test_text_that_looks_like_series_or_time_is_met_with_advice(values, advice):
    with pytest.raises(DataError, match=advice):
        as_panel(pd.DataFrame({"y": values, "x": 1.0}))


def test_infinite_values_are_refused_with_column_series_and_rows():
    values = [1, 2, 3, 4, 5, np.inf, 7, -np.inf]
    with pytest.raises(
        DataError,
        match=r"infinite values \(column 'y'; series 'B'; first rows: \(B, 2024-01-02 00:00:00\), "
        r"\(B, 2024-01-04 00:00:00\)\).*found 2 infinite.*replace",
    ):
        as_panel(frame(values, PAIRS))


# ---------------------------------------------------------------------------------------- bad data


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame(),
        pd.DataFrame(index=DAYS),
        pd.DataFrame({"y": []}, index=DAYS[:0]),
        pd.Series(dtype=float),
        two_tickers().iloc[:0],
        frame(range(8), PAIRS).iloc[:0],
        long_table().iloc[:0].rename(columns={"ticker": "unique_id", "Date": "ds"}),
    ],
    ids=["nothing", "no columns", "no rows", "series", "tickers", "pairs", "long"],
)
def test_empty_data_are_refused(data):
    with pytest.raises(DataError, match="empty frame: expected at least one row and one column"):
        as_panel(data)


def test_empty_wide_table_is_refused():
    with pytest.raises(DataError, match="empty frame"):
        as_panel(frame([1, 2, 3, 4]).iloc[:0], wide="close")


@pytest.mark.parametrize("data", [[1, 2], np.ones((3, 2)), {"y": [1]}, None])
def test_what_is_no_frame_is_a_type_error(data):
    with pytest.raises(TypeError, match=f"polars, pyarrow or duckdb, found {type(data).__name__}"):
        as_panel(data)


def test_a_series_of_polars_is_no_table():
    with pytest.raises(TypeError, match="found Series. Convert it first"):
        as_panel(pl.Series("y", [1, 2]))


def test_the_name_of_a_file_is_no_table():
    with pytest.raises(TypeError, match="found str. Read the file first, e.g. with pd.read_csv"):
        as_panel("prices.csv")


def test_duplicated_time_is_refused_with_series_and_rows():
    table = pd.concat([long_table(), long_table().iloc[:1]])
    with pytest.raises(
        DataError,
        match=r"duplicated time \(series '[AB]'; first rows: \([AB], 2024-.*once per series",
    ):
        as_panel(table, series="ticker", time="Date")
    with pytest.raises(DataError, match="several series are stacked here, name their column"):
        as_panel(frame(range(8), PAIRS.get_level_values("Date").sort_values()))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_rows_without_a_series_name_are_refused(missing):
    data = pd.DataFrame({"s": ["a", missing, "b"], "t": [1, 2, 3], "y": [1, 2, 3]})
    with pytest.raises(DataError, match=r"without a series name \(first rows: row 1\).*1 missing"):
        as_panel(data, series="s", time="t")


def test_rows_without_time_are_refused():
    data = pd.DataFrame({"t": [DAYS[0], pd.NaT, pd.NaT], "y": [1, 2, 3]})
    with pytest.raises(DataError, match=r"missing time stamps \(first rows: row 1, row 2\)"):
        as_panel(data, time="t")
    data = pd.DataFrame({"t": pd.array([1, None, 3], dtype="Int64"), "y": [1, 2, 3]})
    with pytest.raises(DataError, match=r"missing time stamps \(first rows: row 1\)"):
        as_panel(data, time="t")


@pytest.mark.parametrize(
    "name",
    ["series", "time", "cutoff", "step", "target", "model", "forecast", "actual", "q0.1", "q0.975"],
)
def test_reserved_names_are_refused_with_a_way_out(name):
    with pytest.raises(DataError, match=f"reserved column names.*'my_{name}'.*columns="):
        as_panel(frame([1, 2, 3, 4]).rename(columns={"y": name}))


@pytest.mark.parametrize("name", ["q", "quantity", "q0.1 cm", "target_price", 0, ("a", 1)])
def test_names_that_only_resemble_reserved_ones_are_fine(name):
    panel = as_panel(
        pd.DataFrame(
            np.ones((4, 2)), index=DAYS, columns=pd.Index([name, "y"], tupleize_cols=False)
        )
    )
    assert list(panel.columns) == [name, "y"]


def test_repeated_column_names_are_refused():
    twice = pd.DataFrame(np.ones((4, 3)), index=DAYS, columns=["a", "a", "b"])
    for call in (
        lambda: as_panel(twice),
        lambda: as_panel(twice, wide="close"),
        lambda: as_panel(twice, columns=["a"]),
        lambda: as_panel(twice, series="a"),
    ):
        with pytest.raises(DataError, match=r"repeated column names \(column 'a'\)"):
            call()
    with pytest.raises(DataError, match="repeated column names"):
        as_panel(pd.concat([two_tickers(), two_tickers()], axis=1))
    assert list(as_panel(twice, columns=["b"]).columns) == ["b"]


def test_three_index_levels_are_refused():
    index = pd.MultiIndex.from_product([["x"], ["A", "B"], DAYS])
    with pytest.raises(DataError, match="too many levels: expected two.*found 3 levels"):
        as_panel(frame(range(8), index))


@pytest.mark.parametrize(
    "time",
    [
        pd.Index(["2024-01-01", "2024-01-02"]),
        pd.Index([1.0, 2.0]),
        pd.Index([True, False]),
        pd.period_range("2024-01", periods=2, freq="M"),
    ],
    ids=["text", "floats", "bools", "periods"],
)
def test_time_of_the_wrong_type_is_refused_with_advice(time):
    with pytest.raises(
        DataError, match=r"time is of the wrong type \(first rows: .*pd.to_datetime"
    ):
        as_panel(frame([1, 2], time))


def test_series_and_time_that_are_not_there_are_named():
    with pytest.raises(DataError, match=r"columns not found.*Missing: \['stock'\]"):
        as_panel(long_table(), series="stock", time="Date")


# --------------------------------------------------------------------------- series names and time


def test_categories_become_plain_series_names_in_order():
    data = pd.DataFrame(
        {"s": pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"]), "t": [1, 2, 3], "y": 0.0}
    )
    panel = as_panel(data, series="s", time="t")
    assert [tuple(label) for label in panel.index] == [("a", 2), ("b", 1), ("b", 3)]
    assert layout_of(panel).names() == ["a", "b"]
    same(as_panel(data.set_index(["s", "t"])), panel)


def test_series_names_of_numbers_and_text_stand_numbers_first():
    data = pd.DataFrame({"s": ["x", 2, 1], "t": 1, "y": 0.0})
    panel = as_panel(data, series="s", time="t")
    assert layout_of(panel).names() == [1, 2, "x"]
    same(as_panel(panel), panel)


def test_series_names_that_have_no_order_are_refused():
    data = pd.DataFrame({"s": ["x", pd.Timestamp("2024"), 1], "t": 1, "y": 0.0})
    with pytest.raises(DataError, match="cannot be sorted.*found Timestamp, int, str.*to str"):
        as_panel(data, series="s", time="t")


TIMES = {
    **{unit: DAYS.as_unit(unit) for unit in ("s", "ms", "us", "ns")},
    "tz": DAYS.tz_localize("Europe/Berlin"),
    "tz ns": DAYS.as_unit("ns").tz_localize("America/New_York"),
    "before 1970": DAYS - pd.Timedelta(days=365 * 80),
    **{
        f"elapsed {unit}": pd.to_timedelta(range(4), unit="h").as_unit(unit).rename("Date")
        for unit in ("s", "ms", "us", "ns")
    },
    "steps": pd.Index([-3, 0, 2, 10], name="Date"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_time_keeps_its_type_zone_unit_and_name(kind):
    time = TIMES[kind]
    panel = as_panel(frame([1, 2, 3, 4], time))
    same_index(panel.index, time)
    pairs = pd.MultiIndex.from_product([["A", "B"], time])
    kept = as_panel(frame(range(8), pairs)).index.get_level_values(1)
    same_index(kept[:4], time)


@pytest.mark.parametrize("kind", TIMES)
def test_time_to_whole_numbers_and_back(kind):
    time = TIMES[kind]
    ints = time_to_ints(time)
    assert ints.dtype == np.int64
    same_index(time_from_ints(ints, time), time)
    same_index(time_from_ints(ints[::-1], time), time[::-1])


@pytest.mark.parametrize(
    "time, expected",
    [
        (pd.array(DAYS, dtype="timestamp[us][pyarrow]"), DAYS.as_unit("us")),
        (
            pd.array(
                DAYS.tz_localize("Europe/Berlin"), dtype="timestamp[us, tz=Europe/Berlin][pyarrow]"
            ),
            DAYS.as_unit("us").tz_localize("Europe/Berlin"),
        ),
        (pd.array(DAYS - DAYS[0], dtype="duration[s][pyarrow]"), (DAYS - DAYS[0]).as_unit("s")),
        (pd.array([1, 2, 3, 4], dtype="int64[pyarrow]"), pd.Index([1, 2, 3, 4])),
        (pd.array([1, 2, 3, 4], dtype="Int64"), pd.Index([1, 2, 3, 4])),
        (np.array([1, 2, 3, 4], dtype=np.uint8), pd.Index([1, 2, 3, 4])),
    ],
    ids=["timestamp", "zone", "duration", "int64", "Int64", "uint8"],
)
def test_time_of_pyarrow_and_nullable_types_becomes_plain(time, expected):
    panel = as_panel(pd.DataFrame({"t": time, "y": [1, 2, 3, 4]}), time="t")
    same_index(panel.index, expected.rename("t"))


ZONES = [
    [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02", tz="Europe/Berlin")],
    [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02")],
    [pd.Timestamp("2024-03-30T12:00+01:00"), pd.Timestamp("2024-03-31T12:00+02:00")],
]


@pytest.mark.parametrize(
    "stamps, zones", [*zip(ZONES, ["Europe/Berlin, UTC", "None, UTC", r"UTC\+01:00, UTC\+02:00"])]
)
def test_mixed_time_zones_are_refused_with_the_zones(stamps, zones):
    message = f"mixed time zones: expected all times in one zone.*found {zones}.*utc=True.*tz_conv"
    time = pd.Series(stamps, dtype=object)
    for data, names in (
        (pd.DataFrame({"t": time, "y": [1.0, 2.0]}), {"time": "t"}),
        (frame([1.0, 2.0], pd.Index(time)), {}),
    ):
        with pytest.raises(DataError, match=message):
            as_panel(data, **names)


def test_the_way_out_of_mixed_time_zones_works():
    time = pd.to_datetime(pd.Series(ZONES[0], dtype=object), utc=True).dt.tz_convert("Asia/Tokyo")
    panel = as_panel(pd.DataFrame({"t": time, "y": [1.0, 2.0]}), time="t")
    assert list(panel.index) == ZONES[0]


@pytest.mark.parametrize("unit, hours", [("h", 1.0), ("30min", 0.5)])
@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27"], ids=["spring", "autumn"])
@pytest.mark.parametrize("known", [True, False], ids=["with freq", "without"])
def test_hours_and_names_go_on_evenly_when_the_clocks_change(unit, hours, day, known):
    time = pd.date_range(f"{day} 00:00", periods=9, freq=unit, tz="Europe/Berlin", name="Date")
    index = time[:6] if known else pd.DatetimeIndex(list(time[:6]))
    layout = layout_of(as_panel(frame(np.arange(6.0), index)))
    assert (layout.time.freq is not None) == known
    np.testing.assert_array_equal(layout.hours(), hours * np.arange(6))
    step = infer_time_step(layout)
    ahead = step.after(time_to_ints(layout.time)[-1:], 3, like=layout.time)[0]
    assert list(time_from_ints(ahead, layout.time)) == list(time[6:])


@pytest.mark.parametrize("clock", ["00:00", "02:30", "16:00"])
@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27"], ids=["spring", "autumn"])
def test_days_are_named_by_the_clock_on_the_wall_when_it_changes(clock, day):
    last = pd.Timestamp(f"{day} {clock}") - pd.Timedelta(days=1)
    wall = pd.date_range(end=last, periods=5, name="Date")
    layout = layout_of(as_panel(frame(np.arange(5.0), wall.tz_localize("Europe/Berlin"))))
    step = infer_time_step(layout)
    ahead = step.after(time_to_ints(layout.time)[-1:], 3, like=layout.time)[0]
    names = pd.DatetimeIndex(time_from_ints(ahead, layout.time))
    skipped = (day, clock) == ("2024-03-31", "02:30")  # there is no such time on that day
    clocks = [pd.Timestamp(f"2024-01-01 {clock}").time()] * 3
    assert [stamp.time() for stamp in names][skipped:] == clocks[skipped:]
    assert (names - names.normalize())[0] == pd.Timedelta(hours=2 if skipped else 0) or not skipped
    assert list(names.tz_localize(None).normalize()) == list(
        pd.date_range(pd.Timestamp(day), periods=3)
    )


# ------------------------------------------------------------- other tables, categories, attributes


def table() -> pd.DataFrame:
    """A long table of all types that other libraries have."""
    return pd.DataFrame(
        {
            "ticker": ["B", "A", "A"],
            "day": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"]).as_unit("us"),
            "close": [5.0, np.nan, 6.0],
            "volume": [7, 8, 9],
            "open": [True, False, True],
            "sector": pd.Categorical(["tech", "food", "food"]),
        }
    )


def polars_table() -> pl.DataFrame:
    plain = pl.from_pandas(table().astype({"sector": "str"}))
    return plain.with_columns(pl.col("sector").cast(pl.Categorical))


OTHERS = {
    "polars": polars_table,
    "lazy polars": lambda: polars_table().lazy(),
    "enum of polars": lambda: polars_table().with_columns(
        pl.col("sector").cast(pl.Enum(["food", "tech"]))
    ),
    "pyarrow": lambda: pa.Table.from_pandas(table()),
    "duckdb": lambda: (
        duckdb.connect()
        .from_arrow(pa.Table.from_pandas(table()))
        .project("* REPLACE (sector::ENUM('food', 'tech') AS sector)")
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_tables_of_other_libraries_give_the_panel_that_pandas_gives(kind):
    expected = as_panel(table(), series="ticker", time="day")
    panel = as_panel(OTHERS[kind](), series="ticker", time="day")
    assert panel["sector"].dtype == "category"
    assert panel["sector"].astype("str").tolist() == ["food", "food", "tech"]
    pd.testing.assert_frame_equal(
        panel.drop(columns="sector"), expected.drop(columns="sector"), check_index_type=False
    )


@pytest.mark.parametrize("names", [("unique_id", "ds"), ("series", "time")])
def test_known_names_are_recognised_in_other_tables(names):
    renamed = polars_table().rename(dict(zip(["ticker", "day"], names)))
    assert list(as_panel(renamed).index.names) == list(names)


def test_columns_of_other_tables_can_be_chosen_and_wide_ones_unfolded():
    assert list(as_panel(polars_table(), series="ticker", time="day", columns=["volume"])) == [
        "volume"
    ]
    wide = pl.DataFrame({"day": [1, 2], "A": [1.0, None], "B": [3, 4]})
    panel = as_panel(wide, wide="close", time="day")
    assert panel["close"].to_dict() == {("A", 1): 1.0, ("B", 1): 3.0, ("B", 2): 4.0}


@pytest.mark.parametrize(
    "values, expected",
    [
        (pl.Series([1, None, 3]), [1, np.nan, 3]),
        (pl.Series([True, None, False]), [1, np.nan, 0]),
        (pl.Series([Decimal("1.5"), None, Decimal("3")]), [1.5, np.nan, 3]),
        (pl.Series([1.5, None, 3], dtype=pl.Float32), [1.5, np.nan, 3]),
    ],
    ids=["integers", "booleans", "decimals", "float32"],
)
@pytest.mark.parametrize("form", ["polars", "pyarrow"])
def test_numbers_of_other_tables_become_float64_with_nan_for_missing(values, expected, form):
    data = pl.DataFrame({"t": [1, 2, 3], "y": values})
    panel = as_panel(data.to_arrow() if form == "pyarrow" else data, time="t")
    assert panel["y"].dtype == np.float64
    np.testing.assert_array_equal(panel["y"], expected)


@pytest.mark.parametrize("form", ["polars", "pyarrow", "duckdb"])
def test_dates_without_a_time_of_day_are_midnights(form):
    data = pl.DataFrame({"day": DAYS, "y": [1.0, 2, 3, 4]}).with_columns(pl.col("day").dt.date())
    if form != "polars":
        data = data.to_arrow()
    if form == "duckdb":
        data = duckdb.connect().from_arrow(data)
    assert list(as_panel(data, time="day").index) == list(DAYS)


def test_bad_tables_of_other_libraries_meet_the_same_errors():
    with pytest.raises(DataError, match="empty frame"):
        as_panel(pl.DataFrame())
    with pytest.raises(DataError, match="column is not numeric .column 'ticker'.*series='ticker'"):
        as_panel(polars_table()[:2], time="day")
    with pytest.raises(DataError, match="columns not found.*'stock'"):
        as_panel(polars_table(), series="stock", time="day")
    twice = pl.concat([polars_table(), polars_table()])
    with pytest.raises(DataError, match="duplicated time"):
        as_panel(twice, series="ticker", time="day")


def test_users_of_pandas_do_not_load_narwhals():
    code = (
        "import sys, pandas as pd; from tsforecast.data.panel import as_panel;"
        "as_panel(pd.DataFrame({'y': [1.0, 2.0]})); print('narwhals' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(["x", None, "x", "y"], categories=["y", "z", "x"], ordered=True),
        pd.Categorical([3, 1, 2, 1]),
    ],
    ids=["text", "numbers"],
)
def test_categories_pass_untouched_and_in_the_order_of_the_rows(values):
    data = pd.DataFrame({"t": [4, 2, 3, 1], "kind": values, "y": [4, 2, 3, 1]})
    panel = as_panel(data, time="t")
    assert panel["kind"].dtype == values.dtype
    assert list(panel) == ["kind", "y"]
    expected = data.sort_values("t")["kind"]
    pd.testing.assert_series_equal(panel["kind"], expected.set_axis(panel.index))
    same(as_panel(panel), panel)


def test_dictionaries_of_pyarrow_in_pandas_are_categories():
    dtype = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    panel = as_panel(pd.DataFrame({"kind": pd.Series(["b", "a"], dtype=dtype), "y": 1}))
    assert panel["kind"].dtype == "category"
    assert panel["kind"].tolist() == ["b", "a"]


def test_a_wide_table_of_categories_is_refused():
    with pytest.raises(DataError, match="not numeric.*found dtype category. Convert it with pd.to"):
        as_panel(pd.DataFrame({"A": pd.Categorical(["x", "y"])}), wide="kind")


def test_what_is_known_when_goes_with_the_panel():
    data = frame([1, 2, 3, 4]).assign(eps=1.0, dps=2.0)
    data.attrs["available"] = ["eps", "dps"]
    assert as_panel(data).attrs["available"] == ["eps", "dps"]
    assert as_panel(data, columns=["y", "dps"]).attrs["available"] == ["dps"]
    assert "available" not in as_panel(data, columns=["y"]).attrs
    assert data.attrs["available"] == ["eps", "dps"]


# ------------------------------------------------------------------------------------------ layout


@st.composite
def panels(draw: Any) -> pd.DataFrame:
    """One to four series of one to six rows at whole times, some values missing."""
    series = draw(
        st.lists(st.sets(st.integers(-9, 9), min_size=1, max_size=6), min_size=1, max_size=4)
    )
    pairs = [(name, when) for name, times in enumerate(series) for when in sorted(times)]
    index = pd.MultiIndex.from_tuples(pairs, names=["id", "when"])
    values = draw(
        st.lists(st.sampled_from([1.0, 2.0, np.nan]), min_size=len(pairs), max_size=len(pairs))
    )
    return as_panel(frame(values, index))


def ragged() -> tuple[pd.DataFrame, Layout]:
    """Series a, b, c of 3, 1 and 2 rows, 30 minutes apart, starting at different times."""
    minutes = {"a": [0, 30, 90], "b": [600], "c": [60, 120]}
    pairs = [
        (name, DAYS[0] + pd.Timedelta(minutes=when)) for name in minutes for when in minutes[name]
    ]
    index = pd.MultiIndex.from_tuples(pairs, names=["bed", "at"])
    panel = as_panel(frame(np.arange(6.0), index))
    return panel, layout_of(panel)


def test_layout_says_where_the_series_are():
    panel, layout = ragged()
    assert layout.offsets.tolist() == [0, 3, 4, 6]
    assert layout.starts.tolist() == [0, 3, 4]
    assert layout.stops.tolist() == [3, 4, 6]
    assert (layout.n_series, layout.n_rows) == (3, 6)
    assert layout.codes().tolist() == [0, 0, 0, 1, 2, 2]
    assert layout.names() == ["a", "b", "c"]
    assert layout.ids.name == "bed"
    same_index(layout.time, panel.index.get_level_values("at"))


@settings(max_examples=40, deadline=None)
@given(panels(), st.data())
def test_times_that_rows_share_are_those_of_every_row(panel, data):
    layout = layout_of(panel)
    plain = Layout(layout.ids, layout.time, layout.offsets)
    assert layout.at is not None and plain.at is None
    np.testing.assert_array_equal(layout.when(), time_to_ints(plain.time))
    np.testing.assert_array_equal(layout.stamps(), np.unique(time_to_ints(plain.time)))
    np.testing.assert_array_equal(layout.stamps(), plain.stamps())
    rows = np.array(data.draw(st.lists(st.integers(0, len(panel) - 1), max_size=5)), dtype=int)
    np.testing.assert_array_equal(layout.when(rows), plain.when(rows))
    late = [each.per_row(np.asarray(each.labels >= 0)) for each in (layout, plain)]
    np.testing.assert_array_equal(*late)
    np.testing.assert_array_equal(layout.hours(), plain.hours())
    series = slice(*sorted(data.draw(st.integers(0, layout.n_series)) for _ in range(2)))
    own = slice(layout.offsets[series.start], layout.offsets[series.stop])
    np.testing.assert_array_equal(layout.hours_of(series), plain.hours()[own])


def test_layout_of_one_series_has_the_constant_0_as_its_name():
    layout = layout_of(as_panel(frame([1, 2, 3, 4])))
    assert layout.ids is None
    assert layout.names() == [0]
    assert layout.offsets.tolist() == [0, 4]
    assert layout.codes().tolist() == [0, 0, 0, 0]


def test_hours_count_from_the_first_row_of_each_series():
    _, layout = ragged()
    assert layout.hours().tolist() == [0, 0.5, 1.5, 0, 0, 1]


@pytest.mark.parametrize("kind", TIMES)
def test_hours_do_not_depend_on_the_unit_of_time(kind):
    hours = layout_of(as_panel(frame([1, 2, 3, 4], TIMES[kind]))).hours()
    expected = [0, 3, 5, 13] if kind == "steps" else np.arange(4) * (1 if "elapsed" in kind else 24)
    np.testing.assert_array_equal(hours, expected)


def test_hours_pass_evenly_when_the_clocks_change():
    time = pd.date_range("2024-03-30", periods=3, tz="Europe/Berlin")
    assert layout_of(as_panel(frame([1, 2, 3], time))).hours().tolist() == [0, 24, 47]


@settings(max_examples=40, deadline=None)
@given(panels(), st.integers(1, 7))
def test_tail_keeps_the_last_rows_of_each_series(panel, n_rows):
    layout, kept = layout_of(panel).tail(n_rows)
    expected = panel.groupby(level=0).tail(n_rows)
    pd.testing.assert_frame_equal(panel.iloc[kept], expected)
    assert_same_layout(layout, layout_of(expected))


@settings(max_examples=40, deadline=None)
@given(panels(), st.data())
def test_head_keeps_the_first_rows_of_each_series_and_drops_series_without_any(panel, data):
    whole = layout_of(panel)
    counts = np.array([data.draw(st.integers(0, size)) for size in np.diff(whole.offsets)])
    layout, kept = whole.head(counts)
    parts = [panel.iloc[start : start + n] for start, n in zip(whole.starts, counts)]
    expected = pd.concat(parts)
    pd.testing.assert_frame_equal(panel.iloc[kept], expected)
    if len(expected):
        assert_same_layout(layout, layout_of(expected))
    assert len(layout.hours()) == len(previous_rows(layout)) == counts.sum()


def assert_same_layout(layout: Layout, expected: Layout) -> None:
    same_index(layout.ids, expected.ids)
    same_index(layout.time, expected.time)
    np.testing.assert_array_equal(layout.offsets, expected.offsets)


@settings(max_examples=60, deadline=None)
@given(panels(), st.sets(st.integers(-11, 11), max_size=5))
def test_origins_are_the_newest_rows_at_or_before_each_cutoff(panel, cutoffs):
    expected = [
        (max(known), cutoff)
        for name in panel.index.unique(0)
        for cutoff in sorted(cutoffs)
        if (
            known := [
                row for row, (id_, when) in enumerate(panel.index) if id_ == name and when <= cutoff
            ]
        )
    ]
    rows, marks = layout_of(panel).origins_at(pd.Index(sorted(cutoffs), dtype=np.int64))
    assert list(zip(rows.tolist(), marks.tolist())) == expected


def test_without_cutoffs_every_row_is_an_origin_at_its_own_time():
    _, layout = ragged()
    rows, marks = layout.origins_at(None)
    assert rows.tolist() == list(range(6))
    np.testing.assert_array_equal(marks, time_to_ints(layout.time))


@pytest.mark.parametrize("day", ["1969-12-30", "2024-01-01"])
def test_cutoffs_of_a_finer_unit_are_rounded_down(day):
    time = pd.date_range(day, periods=3, freq="s").as_unit("s")
    layout = layout_of(as_panel(frame([1, 2, 3], time)))
    cutoffs = pd.DatetimeIndex([time[1] - pd.Timedelta(1, "ns"), time[1]])
    rows, marks = layout.origins_at(cutoffs)
    assert rows.tolist() == [0, 1]
    same_index(time_from_ints(marks, time), time[:2])


def test_cutoffs_of_another_zone_are_the_same_instants_and_naive_ones_are_refused():
    time = DAYS.tz_localize("Europe/Berlin")
    layout = layout_of(as_panel(frame([1, 2, 3, 4], time)))
    rows, _ = layout.origins_at(time.tz_convert("UTC"))
    assert rows.tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="time zones differ.*Europe/Berlin, found None"):
        layout.origins_at(DAYS)


@pytest.mark.parametrize(
    "time, cutoff", [(DAYS, DAYS[2]), (DAYS, "2024-01-03"), (DAYS - DAYS[0], "2D"), (range(4), 2)]
)
def test_a_single_cutoff_is_one_origin(time, cutoff):
    rows, _ = layout_of(as_panel(frame([1, 2, 3, 4], pd.Index(time)))).origins_at(cutoff)
    assert rows.tolist() == [2]


@pytest.mark.parametrize(
    "time, cutoffs",
    [
        *(
            (DAYS, cutoffs)
            for cutoffs in (pd.NaT, "monday", 5, 2.5, [DAYS[0], None], DAYS[1] - DAYS[0])
        ),
        *((DAYS - DAYS[0], cutoffs) for cutoffs in (pd.NaT, "soon", 5, DAYS[0])),
        *((range(4), cutoffs) for cutoffs in (pd.NaT, None, "2", 2.5, DAYS[0], [True])),
    ],
)
def test_cutoffs_that_are_no_times_of_the_panel_are_refused(time, cutoffs):
    time = pd.Index(time)
    message = (
        f"'cutoff': expected times like those of the panel, {time.dtype}, the last one {time[3]}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        as_cutoffs(cutoffs, time)


@settings(max_examples=60, deadline=None)
@given(panels())
def test_forward_fill_agrees_with_pandas(panel):
    layout, values = layout_of(panel), panel["y"].to_numpy()
    filled, source = forward_fill(values, layout)
    np.testing.assert_array_equal(filled, panel.groupby(level=0)["y"].ffill())
    np.testing.assert_array_equal(values[source], filled)
    known = ~np.isnan(filled)
    assert (source <= np.arange(len(panel))).all()
    np.testing.assert_array_equal(source[~known], layout.starts[layout.codes()][~known])


@settings(max_examples=60, deadline=None)
@given(panels())
def test_previous_rows_agree_with_a_shift_in_pandas(panel):
    rows = pd.Series(np.arange(len(panel)), index=panel.index)
    expected = rows.groupby(level=0).shift().fillna(rows).to_numpy()
    np.testing.assert_array_equal(previous_rows(layout_of(panel)), expected)
