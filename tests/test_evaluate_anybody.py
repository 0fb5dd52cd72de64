"""Forecasts of other toolkits, brought into our form, are scored and tested as our own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.metrics import as_forecasts

H = 2
MODELS = {"AutoARIMA": 0.5, "LSTM": 0.9}  # the share of the last value that they forecast
WIDE = {"series": "unique_id", "time": "ds", "actual": "y", "model": ["AutoARIMA", "LSTM"]}
LONG = {"series": "unique_id", "time": "ds", "actual": "y", "model": "who", "forecast": "mean"}
OURS = ["model", "series", "time", "cutoff", "step", "target", "forecast", "actual"]


def our_frame(n: int = 60, *, series: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    """A backtest frame on dates, with q0.1 and q0.9."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=n)
    rows = []
    for name in series:
        y = np.zeros(n)
        for t in range(1, n):
            y[t] = 0.7 * y[t - 1] + rng.normal()
        for model, share in MODELS.items():
            for cut in range(10, n - H):
                for step in range(1, H + 1):
                    key = (model, name, days[cut + step], days[cut], step, "value")
                    rows.append((*key, share * y[cut], y[cut + step]))
    frame = pd.DataFrame(rows, columns=OURS)
    return frame.assign(**{"q0.1": frame["forecast"] - 1, "q0.9": frame["forecast"] + 1})


def wide_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The same as a cross-validation of the Nixtla family gives it."""
    names = {"series": "unique_id", "time": "ds", "cutoff": "cutoff", "actual": "y"}
    keys = list(names)
    parts = []
    for model, rows in frame.groupby("model"):
        new = {"forecast": model, "q0.1": f"{model}-lo-80", "q0.9": f"{model}-hi-80.0"}
        parts.append(rows.set_index(keys)[list(new)].rename(columns=new))
    wide = pd.concat(parts, axis=1).reset_index().rename(columns=names)
    return wide.sample(frac=1, random_state=0)  # in no order


def long_frame(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"model": "who", "series": "unique_id", "time": "ds", "actual": "y", "forecast": "mean"}
    return frame.drop(columns=["step", "target"]).rename(
        columns={**names, "q0.1": "0.1", "q0.9": "0.9"}
    )


def test_a_wide_frame_is_scored_as_ours():
    frame = our_frame()
    for by in (None, "step", ["series", "cutoff"]):
        ours = tsf.evaluate(frame, by=by)
        theirs = tsf.evaluate(wide_frame(frame), columns=WIDE, by=by)
        pd.testing.assert_frame_equal(theirs, ours)
    assert ours.attrs["interval"] == pytest.approx(0.8)


def test_a_long_frame_is_scored_as_ours():
    frame = our_frame()
    columns = {**LONG, "q0.1": "0.1", "q0.9": "0.9"}
    theirs = tsf.evaluate(long_frame(frame), "crps", columns=columns)
    pd.testing.assert_frame_equal(theirs, tsf.evaluate(frame, "crps"))


def test_columns_are_found_in_the_index_too():
    frame = our_frame()
    indexed = wide_frame(frame).set_index(["unique_id", "ds"])
    pd.testing.assert_frame_equal(tsf.evaluate(indexed, columns=WIDE), tsf.evaluate(frame))


def test_skill_against_a_named_baseline_needs_no_naive():
    frame = our_frame(200)
    table = tsf.skill(wide_frame(frame), None, WIDE, baselines=["LSTM"])
    ours = tsf.skill(frame, H, baselines=["LSTM"])
    pd.testing.assert_frame_equal(table, ours)
    row = table.loc["AutoARIMA"]
    assert row["baseline"] == "LSTM" and 0 <= row["p"] <= 1
    assert np.isnan([row["naive_loss"], row["naive_p"], row["shift_naive"]]).all()
    assert row["verdict"].startswith("AutoARIMA: ") and "naive" not in row["verdict"]


def test_a_naive_among_the_models_is_compared_as_in_our_own_backtests():
    frame = our_frame(200).replace({"model": {"LSTM": "naive"}})
    columns = {**WIDE, "model": ["AutoARIMA", "naive"]}
    table = tsf.skill(wide_frame(frame), columns=columns)
    pd.testing.assert_frame_equal(table, tsf.skill(frame, H, baselines=["naive"]))
    assert table["naive_p"].notna().all() and table["correction_share"].notna().all()


def test_the_horizon_is_the_highest_step():
    frame = our_frame(100)
    one = frame[frame["step"] == 1]
    for rows, horizon in ((frame, H), (one, 1)):
        shift = tsf.skill(rows, baselines=["LSTM"])["shift"]
        pd.testing.assert_series_equal(shift, tsf.skill(rows, horizon, baselines=["LSTM"])["shift"])


def test_a_baseline_that_is_not_in_the_frame_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"models of the frame.*found \['naive'\].*must beat"):
        tsf.skill(our_frame())
    with pytest.raises(ValueError, match="a sequence of model names, not empty"):
        tsf.skill(our_frame(), baselines=[])


@pytest.mark.parametrize(
    ("column", "level"),
    [
        ("M-lo-80", "q0.1"),
        ("M-hi-80", "q0.9"),
        ("M-lo-95.0", "q0.025"),
        ("M-hi-99", "q0.995"),
        ("M-median", "q0.5"),
        ("M-q-0.1", "q0.1"),
        ("M_q_10", "q0.1"),
        ("M-q-97.5", "q0.975"),
        ("M_ql0.25", "q0.25"),
    ],
)
def test_quantiles_of_a_wide_frame_are_found_by_name(column: str, level: str):
    wide = pd.DataFrame({"time": [1.0], "cutoff": 0.0, "actual": 2.0, "M": 3.0, column: 4.0})
    rows = as_forecasts(wide, {"model": ["M"]})
    assert list(rows.columns) == [*OURS[:-1], level, "actual"]
    assert rows.loc[0, level] == 4.0 and rows.loc[0, "forecast"] == 3.0


def test_columns_of_longer_names_belong_to_other_models():
    wide = pd.DataFrame({"time": [1], "cutoff": 0, "actual": 2.0, "M": 3.0, "M2-lo-80": 4.0})
    assert list(as_forecasts(wide, {"model": ["M"]})) == [*OURS, "M2-lo-80"]


def test_the_median_stands_in_for_a_lacking_point():
    wide = pd.DataFrame({"time": [1], "cutoff": 0, "actual": 2.0, "M-median": 4.0})
    assert as_forecasts(wide, {"model": ["M"]})["forecast"].tolist() == [4.0]
    long = pd.DataFrame({"time": [1], "cutoff": 0, "actual": 2.0, "who": "M", "0.5": 4.0})
    rows = as_forecasts(long, {"model": "who", "q0.5": "0.5"})
    assert rows["forecast"].tolist() == rows["q0.5"].tolist() == [4.0]


def test_what_is_lacking_is_derived_where_that_is_sound():
    wide = pd.DataFrame({"time": [7, 4, 5], "cutoff": 3, "actual": 2.0, "M": 1.0, "region": "n"})
    rows = as_forecasts(wide, {"model": ["M"]})
    assert rows["step"].tolist() == [3, 1, 2]
    assert set(rows["series"]) == {0} and set(rows["target"]) == {"value"}
    assert tsf.evaluate(wide, columns={"model": ["M"]}, by="region")["n"].tolist() == [3]


def test_a_column_named_target_may_hold_the_outcome():
    long = pd.DataFrame(
        {"item_id": "a", "timestamp": [2, 3], "cutoff": 1, "target": [5.0, 6.0], "mean": 5.0}
    ).assign(model="M")
    columns = {"series": "item_id", "time": "timestamp", "actual": "target", "forecast": "mean"}
    rows = as_forecasts(long, columns)
    assert rows["actual"].tolist() == [5.0, 6.0] and set(rows["target"]) == {"value"}


def test_our_own_frame_is_taken_as_it_is():
    frame = our_frame()
    assert as_forecasts(frame) is frame
    before = frame.copy()
    as_forecasts(wide := wide_frame(frame), WIDE)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(wide, wide_frame(frame))


BASE = wide_frame(our_frame(20)).reset_index(drop=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="cutoff"), "found no column cutoff.*last row that a forecast kn"),
        (lambda f: f.drop(columns="y"), "found no column y among .*Name yours"),
        (lambda f: f.drop(columns="LSTM"), "found no column LSTM among .*forecast columns"),
        (lambda f: f.assign(cutoff=f["ds"]), r"forecasts of rows that were known.*64 rows at or"),
        (lambda f: pd.concat([f, f.iloc[:3]]), "found 6 repeated rows"),
        (lambda f: f.assign(ds=f["ds"].astype(str)), "time is text.*'time'.*to_datetime"),
        (lambda f: f.assign(ds=f["ds"].dt.tz_localize("UTC")), "different kinds.*one time zone"),
        (lambda f: f.assign(ds=np.arange(len(f))), "different kinds"),
        (lambda f: f.assign(unique_id=f["unique_id"].where(f.index > 1)), "rows without series"),
        (lambda f: f.set_axis(["y", *f.columns[1:]], axis=1), r"repeated column names.*\['y'\]"),
    ],
)
def test_a_wide_frame_that_cannot_be_read_is_refused(change: Any, message: str):
    with pytest.raises(DataError, match=message):
        tsf.evaluate(change(BASE), columns=WIDE)


def test_a_long_frame_without_its_model_column_is_refused():
    frame = long_frame(our_frame(20))
    with pytest.raises(DataError, match="found no column model among.*columns={'model': 'name'"):
        tsf.evaluate(frame, columns={k: v for k, v in LONG.items() if k != "model"})


def test_models_with_unequal_rows_are_refused():
    frame = long_frame(our_frame(20))
    short = frame[(frame["who"] == "LSTM") | (frame["cutoff"] > frame["cutoff"].min())]
    for verb in (tsf.evaluate, tsf.skill):
        with pytest.raises(DataError, match="unequal rows.*at all 32 .*found 28 of 'AutoARIMA'"):
            verb(short, columns=LONG)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["y"], "a mapping of our names to yours"),
        ({"y": "actual"}, "keys among model, series.*found 'y'.*keys are our names"),
        ({"model": ["LSTM", "LSTM"]}, "forecast columns, each once"),
        ({"model": []}, "forecast columns, each once"),
        ({"model": [1]}, "forecast columns, each once"),
        ({"model": ["LSTM"], "q0.1": "LSTM-lo-80"}, r"no forecasts or quantiles.*\['q0.1'\]"),
        ({"actual": ["y"]}, r"one column for 'actual', found \['y'\]"),
    ],
)
def test_columns_that_cannot_be_read_are_refused(columns: Any, message: str):
    with pytest.raises(ValueError, match=message):
        tsf.evaluate(BASE, columns=columns)


def test_only_a_data_frame_is_read():
    with pytest.raises(ValueError, match="'frame': expected a pandas DataFrame, found 3"):
        tsf.evaluate(3)
