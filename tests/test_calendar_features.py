"""What the calendar tells of a row, from its time alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforecast._checks import DataError
from tsforecast.data.calendars import calendar_features
from tsforecast.data.panel import as_panel

ALL = ["hour", "weekday", "month_end", "month", "session"]


def at(index: Any) -> pd.DataFrame:
    return pd.DataFrame(index=pd.DatetimeIndex(index))


def turn(frame: pd.DataFrame, name: str) -> np.ndarray:
    """How far around the circle, from 0 to 1."""
    around = np.arctan2(frame[f"{name}_sin"], frame[f"{name}_cos"]) / (2 * np.pi)
    return np.round(around, 12) % 1.0


def test_the_columns_follow_those_of_the_panel_and_are_known_when():
    days = pd.bdate_range("2024-01-01", periods=5, name="day")
    panel = pd.DataFrame({"close": range(5)}, index=days)
    panel.attrs["available"] = ["close"]
    before = panel.copy()
    result = calendar_features(panel, ["month_end", "weekday"])
    new = ["month_end", "weekday_sin", "weekday_cos"]
    assert list(result) == ["close", *new]
    assert result.attrs["available"] == ["close", *new]
    pd.testing.assert_frame_equal(result[["close"]], as_panel(panel))
    pd.testing.assert_frame_equal(panel, before)


def test_the_hour_goes_by_the_clock_on_the_wall():
    time = pd.date_range("2024-03-31 00:30", periods=4, freq="h", tz="Europe/Berlin")
    result = calendar_features(at(time), ["hour"])
    np.testing.assert_allclose(turn(result, "hour"), np.array([0.5, 1.5, 3.5, 4.5]) / 24)
    assert list(result) == ["hour_sin", "hour_cos"]


def test_the_week_starts_on_monday():
    result = calendar_features(at(pd.date_range("2024-01-01", periods=8)), ["weekday"])
    np.testing.assert_allclose(
        turn(result, "weekday"), [0, 1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 0]
    )


def test_the_month_ends_with_its_last_weekday():
    days = pd.date_range("2024-01-01", "2025-12-31")
    flag = calendar_features(at(days), ["month_end"])["month_end"]
    for day, value in flag.items():
        rest = pd.date_range(day + pd.Timedelta(days=1), day + pd.offsets.MonthEnd(0))
        assert value == (not (rest.day_of_week < 5).any()), day
    sessions = pd.bdate_range("2024-01-01", "2025-12-31")
    assert flag[sessions].groupby(sessions.to_period("M")).sum().eq(1).all()


def test_the_month_goes_round_in_twelve():
    months = pd.date_range("2024-01-31", periods=12, freq="ME")
    np.testing.assert_allclose(turn(calendar_features(at(months)), "month"), np.arange(12) / 12)


@pytest.mark.parametrize("year", range(2015, 2027))
def test_sessions_count_the_weekdays_since_the_first_of_january(year: int):
    days = pd.date_range(f"{year}-01-01", f"{year}-12-31")
    weekdays = pd.bdate_range(days[0], days[-1])
    found = turn(calendar_features(at(days), ["session"]), "session") * len(weekdays)
    # a weekend that ends the year stands where the next one begins
    expected = [(weekdays < day).sum() % len(weekdays) for day in days]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize(
    "freq, names",
    [
        ("15min", "hour weekday month_end session"),
        ("h", "hour weekday month_end session"),
        ("D", "weekday month_end session"),
        ("B", "weekday month_end session"),
        ("W", "session"),
        ("ME", "month"),
        ("QS", "month"),
    ],
)
def test_by_default_the_features_suit_the_spacing(freq: str, names: str):
    time = pd.date_range("2024-01-01", periods=30, freq=freq)
    expected = [
        column
        for name in names.split()
        for column in ([name] if name == "month_end" else [f"{name}_sin", f"{name}_cos"])
    ]
    assert list(calendar_features(at(time))) == expected
    pairs = pd.MultiIndex.from_product([["A", "B"], time[:3]])
    assert list(calendar_features(pd.DataFrame({"y": range(6)}, index=pairs)))[1:] == expected


@pytest.mark.parametrize("day", ["2024-03-30", "2024-10-26"])
def test_days_of_23_or_25_hours_are_days(day: str):
    time = pd.date_range(day, periods=4, tz="Europe/Berlin")
    assert "hour_sin" not in calendar_features(at(time))


def test_series_that_start_close_to_each_other_do_not_look_intraday():
    stamps = [pd.Timestamp("2024-01-01 00:00"), pd.Timestamp("2024-01-02 00:00")]
    later = [stamp + pd.Timedelta(hours=25) for stamp in stamps]
    index = pd.MultiIndex.from_arrays([["A", "A", "B", "B"], stamps + later])
    assert "hour_sin" not in calendar_features(pd.DataFrame({"y": range(4)}, index=index))


stamps = st.datetimes(min_value=pd.Timestamp("1999-01-01"), max_value=pd.Timestamp("2035-01-01"))


@settings(max_examples=60, deadline=None)
@given(st.sets(stamps, min_size=2, max_size=12), st.data())
def test_no_row_depends_on_another_one(times: set[Any], data: Any):
    time = pd.DatetimeIndex(sorted(times))
    whole = calendar_features(at(time), ALL)
    some = data.draw(st.sets(st.sampled_from(list(time)), min_size=1))
    part = calendar_features(at(sorted(some)), ALL)
    pd.testing.assert_frame_equal(part, whole.loc[part.index], check_freq=False)
    assert whole.abs().le(1.0).all(axis=None)


def test_a_frame_of_coming_times_gets_the_same_columns():
    days = pd.bdate_range("2024-01-01", periods=20, name="day")
    index = pd.MultiIndex.from_product([["A", "B"], days], names=["ticker", "day"])
    panel = calendar_features(pd.DataFrame({"close": range(40)}, index=index))
    known = panel.index.get_level_values("day") < days[15]
    future = calendar_features(panel[~known][[]])
    pd.testing.assert_frame_equal(future, panel[~known].drop(columns="close"))


def test_a_frame_without_columns_is_sorted_by_series_and_keeps_its_names():
    index = pd.MultiIndex.from_tuples(
        [("B", pd.Timestamp("2024-01-01")), ("A", pd.Timestamp("2024-01-02"))],
        names=["ticker", "day"],
    )
    result = calendar_features(pd.DataFrame(index=index), ["weekday"])
    assert list(result.index.names) == ["ticker", "day"]
    assert result.index.get_level_values(0).tolist() == ["A", "B"]
    assert list(result) == ["weekday_sin", "weekday_cos"]


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "time", [pd.RangeIndex(4), pd.to_timedelta(range(4), "h")], ids=["steps", "elapsed"]
)
def test_time_without_a_calendar_is_refused(time: pd.Index):
    with pytest.raises(DataError, match="time has no calendar: expected datetimes.*Give the rows"):
        calendar_features(pd.DataFrame({"y": range(4)}, index=time))


@pytest.mark.parametrize("features", [["weekdays"], "weekday", ["hour", 3]])
def test_features_that_do_not_exist_are_refused_with_those_that_do(features: Any):
    with pytest.raises(ValueError, match="'features': expected a list of some of .'hour', 'week"):
        calendar_features(at(pd.date_range("2024-01-01", periods=4)), features)


def test_one_row_has_no_spacing_and_needs_names():
    with pytest.raises(ValueError, match="'features': expected a list, because no series has two"):
        calendar_features(at(["2024-01-01"]))
    assert list(calendar_features(at(["2024-01-01"]), ["month_end"])) == ["month_end"]


def test_columns_that_are_there_already_are_refused():
    panel = calendar_features(at(pd.date_range("2024-01-01", periods=4)))
    message = r"in the panel already \(column 'weekday_sin'\).*features="
    with pytest.raises(DataError, match=message):
        calendar_features(panel)


def test_the_index_is_checked_as_that_of_a_panel():
    with pytest.raises(DataError, match="duplicated time"):
        calendar_features(at(["2024-01-01", "2024-01-01"]))
    with pytest.raises(DataError, match="empty frame"):
        calendar_features(at([]))
