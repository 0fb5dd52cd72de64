"""Forecast frames and the names of the times in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.tseries.offsets import CustomBusinessDay

from tsforecast._checks import DataError
from tsforecast.data import calendars
from tsforecast.data.calendars import TimeStep, infer_time_step
from tsforecast.data.frames import DECILES, forecast_frame, quantile_column
from tsforecast.data.panel import Layout, as_panel, layout_of, time_from_ints, time_to_ints
from tsforecast.estimators.baselines import Naive, SeasonalNaive


def layout_at(time: pd.Index) -> Layout:
    return layout_of(as_panel(pd.DataFrame({"y": np.arange(len(time))}, index=time)))


def without_freq(time: pd.DatetimeIndex) -> pd.DatetimeIndex:
    bare = time.copy()
    bare.freq = None
    return bare


def next_times(time: pd.Index, horizon: int = 3) -> pd.Index:
    """Times that follow a series at these times; a freq on the index is forgotten."""
    layout = layout_at(without_freq(time) if isinstance(time, pd.DatetimeIndex) else time)
    after = infer_time_step(layout).after(time_to_ints(layout.time)[-1:], horizon, like=layout.time)
    assert after.shape == (1, horizon)
    return time_from_ints(after[0], layout.time)


def labels(time: pd.Index, horizon: int = 3) -> list[str]:
    return [str(stamp) for stamp in next_times(time, horizon)]


# ------------------------------------------------------------------------------------ calendars


def test_weekdays_go_on_after_the_weekend():
    time = pd.bdate_range("2024-01-01", "2024-01-11")  # ends on a Thursday
    assert labels(time) == ["2024-01-12 00:00:00", "2024-01-15 00:00:00", "2024-01-16 00:00:00"]


def test_weekdays_with_holidays_are_still_weekdays():
    time = pd.bdate_range("2024-01-01", "2024-03-29").delete([3, 10, 11, 40])
    assert labels(time, 1) == ["2024-04-01 00:00:00"]


def test_days_with_weekends_go_on_every_day():
    time = pd.date_range("2024-01-01", "2024-01-12").delete(3)
    assert labels(time, 2) == ["2024-01-13 00:00:00", "2024-01-14 00:00:00"]


def test_hours_missing_from_the_grid_do_not_change_its_step():
    time = pd.date_range("2024-01-01", periods=40, freq="h").delete([5, 6, 20, 33])
    assert labels(time, 2) == ["2024-01-02 16:00:00", "2024-01-02 17:00:00"]


def bars(first: str, last: str, *, hour: float = 9.5, n: int = 7, freq: str = "B"):
    """Hourly bars of a market: n a day from an hour on."""
    hours = pd.to_timedelta(hour + np.arange(n), unit="h")
    days = pd.date_range(first, last, freq=freq)
    return pd.DatetimeIndex([day + span for day in days for span in hours])


def test_bars_of_a_market_go_on_in_its_next_session():
    week = bars("2024-03-04", "2024-03-08")
    assert labels(week, 8) == [*map(str, bars("2024-03-11", "2024-03-11")), "2024-03-12 09:30:00"]
    assert labels(week[:-3], 4)[2:] == ["2024-03-08 15:30:00", "2024-03-11 09:30:00"]
    assert labels(bars("2024-03-07", "2024-03-08"), 1) == ["2024-03-11 09:30:00"]  # one night


def test_half_days_holidays_and_missing_bars_do_not_change_the_sessions():
    month = bars("2024-02-01", "2024-03-08").delete([3, 4, 5, 6, 30, 77, *range(98, 105)])
    assert labels(month, 2) == ["2024-03-11 09:30:00", "2024-03-11 10:30:00"]


def test_sessions_keep_their_hours_through_the_change_to_summer_time():
    week = bars("2024-03-04", "2024-03-08").tz_localize("America/New_York")
    assert labels(week, 1) == ["2024-03-11 09:30:00-04:00"]


def test_sessions_on_all_days_of_the_week_go_on_every_day():
    ward = bars("2024-03-01", "2024-03-08", hour=8, n=12, freq="D")
    assert labels(ward, 2) == ["2024-03-09 08:00:00", "2024-03-09 09:00:00"]


def test_sessions_of_several_series_are_those_that_a_fitted_model_names():
    week = bars("2024-03-04", "2024-03-08")
    parts = {name: pd.DataFrame({"y": 1.0}, index=week[cut:]) for name, cut in [("a", 0), ("b", 9)]}
    fitted = Naive(horizon=2).fit(pd.concat(parts, names=["ticker", "time"]))
    following = ["2024-03-11 09:30:00", "2024-03-11 10:30:00"] * 2
    assert fitted.predict().index.get_level_values("time").astype(str).tolist() == following
    short = parts["a"].iloc[-3:]
    assert fitted.predict(short).index.astype(str).tolist() == following[:2]


def test_sessions_across_midnight_have_no_names():
    with pytest.raises(
        DataError, match="found sessions across midnight, 0 days 21:30:00 to 0 days 0"
    ):
        next_times(bars("2024-03-04", "2024-03-08", hour=21.5))


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("days", [2, 3, 10])
def test_hours_missing_at_random_around_the_clock_leave_a_grid(days, share):
    hours = pd.date_range("2024-01-01", periods=24 * days, freq="h")
    for seed in range(20):
        kept = hours[np.random.default_rng(seed).random(len(hours)) > share]
        step = kept[-1] - kept[0], next_times(kept, 1)[0] - kept[-1]
        assert step[1] == pd.Timedelta("1h")


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("ME", ["2024-07-31", "2024-08-31", "2024-09-30"]),
        ("MS", ["2024-07-01", "2024-08-01", "2024-09-01"]),
        ("BME", ["2024-07-31", "2024-08-30", "2024-09-30"]),
        ("QE", ["2024-09-30", "2024-12-31", "2025-03-31"]),
        ("YE", ["2024-12-31", "2025-12-31", "2026-12-31"]),
        ("W-FRI", ["2024-07-05", "2024-07-12", "2024-07-19"]),
    ],
)
def test_marks_of_the_calendar_are_recognised(freq, expected):
    time = pd.date_range("2018-01-01", "2024-06-30", freq=freq)
    assert labels(time) == [f"{day} 00:00:00" for day in expected]


def test_month_ends_of_a_panel_are_read_from_its_longest_series():
    parts = {
        "short": pd.date_range("2024-04-30", "2024-06-30", freq="ME"),
        "long": pd.date_range("2023-01-31", "2024-02-29", freq="ME"),
    }
    panel = pd.concat({name: pd.DataFrame({"y": 1.0}, index=time) for name, time in parts.items()})
    layout = layout_of(as_panel(panel))
    ends = time_to_ints(layout.time)[layout.stops - 1]
    after = infer_time_step(layout).after(ends, 2, like=layout.time)
    found = time_from_ints(after.ravel(), layout.time).strftime("%Y-%m-%d").tolist()
    assert found == ["2024-03-31", "2024-04-30", "2024-07-31", "2024-08-31"]


@pytest.mark.parametrize(
    ("steps", "expected"), [([0, 1, 2, 3], [4, 5]), ([5, 10, 20, 25, 30], [35, 40])]
)
def test_whole_numbers_go_on_by_their_step(steps, expected):
    assert next_times(pd.Index(steps), 2).tolist() == expected


def test_time_since_admission_goes_on_by_its_step():
    time = pd.to_timedelta([0, 15, 30, 60, 75], unit="min")
    assert labels(time, 2) == ["0 days 01:30:00", "0 days 01:45:00"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_names_keep_the_unit_of_time(unit):
    time = pd.date_range("2024-01-01", periods=9, freq="B", unit=unit)
    following = next_times(time, 1)
    assert following.unit == unit
    assert str(following[0]) == "2024-01-12 00:00:00"


def test_hours_in_a_zone_go_on_through_the_change_to_summer_time():
    time = pd.date_range("2024-03-30 18:00", periods=8, freq="h", tz="Europe/Berlin")
    assert labels(time, 2) == ["2024-03-31 03:00:00+02:00", "2024-03-31 04:00:00+02:00"]


@pytest.mark.parametrize("last", ["2024-03-08", "2024-03-20"])
def test_weekdays_in_a_zone_keep_their_hour_through_the_change_to_summer_time(last):
    time = pd.date_range("2024-02-01 16:00", f"{last} 16:00", freq="B", tz="America/New_York")
    found = next_times(time, 3)
    assert (found.hour == 16).all()
    assert (found.day_of_week < 5).all()
    assert str(found.tz) == "America/New_York"


@pytest.mark.parametrize("drop", [[], [4]])
@pytest.mark.parametrize("last", ["2024-03-09", "2024-03-20"])
def test_days_in_a_zone_keep_their_hour_through_the_change_to_summer_time(last, drop):
    time = pd.date_range("2024-03-01", last, tz="America/New_York").delete(drop)
    found = next_times(time, 3)
    assert (found.hour == 0).all()
    assert (np.diff(found.tz_localize(None)) == np.timedelta64(1, "D")).all()


def test_freq_of_the_index_wins():
    sessions = CustomBusinessDay(holidays=["2024-12-25", "2025-01-01"])
    time = pd.date_range("2024-12-02", "2024-12-23", freq=sessions)
    panel = pd.DataFrame({"y": range(len(time))}, index=time)
    expected = pd.date_range("2024-12-24", periods=7, freq=sessions).tolist()
    assert Naive(horizon=7).fit(panel).predict().index.tolist() == expected

    bare = panel.set_axis(without_freq(time))
    fitted = Naive(horizon=7).fit(bare)
    assert fitted.predict().index[1] == pd.Timestamp("2024-12-25")
    assert fitted.predict(panel).index.tolist() == expected


@pytest.mark.parametrize(
    ("time", "seen"),
    [
        (
            pd.to_datetime(["2024-01-01 00:00", "2024-01-01 00:07", "2024-01-01 00:30"]),
            "0 days 00:07",
        ),
        (pd.to_timedelta([0, 10, 25, 31], unit="min"), "0 days 00:06:00, 0 days 00:10:00"),
        (pd.Index([0, 2, 5, 7]), "rows 2, 3"),
        (pd.Index([0, 1, 3, 5, 7]), "rows 1, 2"),
        (pd.Index([7]), "no series with two rows"),
    ],
)
def test_irregular_times_are_refused_with_advice(time, seen):
    with pytest.raises(DataError, match="cannot name the next time stamps") as caught:
        next_times(time)
    assert seen in str(caught.value)
    assert "Put the rows on a grid first" in str(caught.value)


def test_step_suits_times_of_its_own_kind():
    days, hours, numbers = pd.DatetimeIndex([]), pd.TimedeltaIndex([]), pd.RangeIndex(0)
    by_hour, by_one = TimeStep(delta=pd.Timedelta("1h")), TimeStep(delta=1)
    by_month, unknown = TimeStep(offset=pd.offsets.MonthEnd()), TimeStep(seen="rows 1, 2")
    assert [by_hour.suits(t) for t in (days, hours, numbers)] == [True, True, False]
    assert [by_one.suits(t) for t in (days, hours, numbers)] == [False, False, True]
    assert [by_month.suits(t) for t in (days, hours, numbers)] == [True, False, False]
    assert not any(unknown.suits(t) for t in (days, hours, numbers))


# --------------------------------------------------------- times named by a fitted model


def test_tail_within_one_week_is_still_followed_by_weekdays():
    days = without_freq(pd.bdate_range("2024-01-01", periods=20))
    panel = pd.DataFrame({"y": range(20)}, index=days)
    fitted = SeasonalNaive(season=5, horizon=1).fit(panel)  # remembers Monday to Friday
    assert fitted.predict().index.tolist() == [pd.Timestamp("2024-01-29")]
    assert fitted.predict(panel).index.tolist() == [pd.Timestamp("2024-01-29")]
    assert fitted.predict(panel.iloc[-3:]).index.tolist() == [pd.Timestamp("2024-01-29")]


def test_gap_in_a_short_panel_does_not_change_the_step_learned():
    hours = without_freq(pd.date_range("2024-01-01", periods=20, freq="h"))
    fitted = Naive().fit(pd.DataFrame({"y": range(20)}, index=hours))
    short = pd.DataFrame(
        {"y": [1.0, 2.0]}, index=pd.to_datetime(["2024-02-01 00:00", "2024-02-01 05:00"])
    )
    assert fitted.predict(short).index.tolist() == [pd.Timestamp("2024-02-01 06:00")]


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_step_learned_in_one_unit_serves_another(unit):
    hours = without_freq(pd.date_range("2024-01-01", periods=20, freq="h", unit="us"))
    fitted = Naive().fit(pd.DataFrame({"y": range(20)}, index=hours))
    one = pd.DataFrame({"y": [1.0]}, index=pd.DatetimeIndex(["2024-02-01"]).as_unit(unit))
    assert fitted.predict(one).index.tolist() == [pd.Timestamp("2024-02-01 01:00")]


def test_a_step_learned_from_another_kind_of_time_is_not_used():
    days = layout_at(without_freq(pd.date_range("2024-01-01", periods=14)))
    assert infer_time_step(days, learned=TimeStep(delta=1)).delta == pd.Timedelta("1D")
    alone = layout_at(days.time[:1])
    assert infer_time_step(alone, learned=TimeStep(delta=1)).seen == "no series with two rows"


def test_model_of_irregular_rows_forecasts_inside_the_panel_only():
    panel = pd.DataFrame({"y": range(9)}, index=pd.Index([0, 2, 5, 7, 10, 12, 15, 17, 20]))
    fitted = Naive(horizon=2).fit(panel)
    assert fitted.forecast_origins(panel, pd.Index([5, 13])).index.tolist() == [7, 10, 15, 17]
    with pytest.raises(DataError, match=r"cannot name .*found rows 2, 3"):
        fitted.predict()


# ---------------------------------------------------------------------------------------- frames


def test_quantile_columns_drop_trailing_zeros():
    assert [quantile_column(level) for level in (0.1, 0.5, 0.975)] == ["q0.1", "q0.5", "q0.975"]
    assert [quantile_column(level) for level in DECILES] == [f"q0.{j}" for j in range(1, 10)]


def test_frame_lays_out_origins_and_steps():
    index = pd.MultiIndex.from_tuples(
        [("A", 0), ("A", 1), ("A", 2), ("B", 5), ("B", 6)], names=["ticker", "day"]
    )
    layout = layout_of(as_panel(pd.DataFrame({"y": range(5)}, index=index)))
    origins, cutoffs = layout.origins_at(pd.Index([1, 6]))
    numbers = np.arange(6.0).reshape(3, 2)
    frame = forecast_frame(
        layout,
        origins,
        cutoffs,
        targets=["y"],
        forecast=numbers[:, None],
        quantiles=numbers[:, None, :, None] + [-1.0, 1.0],
        levels=(0.1, 0.9),
        time_step=infer_time_step(layout),
    )
    times = [("A", 2), ("A", 3), ("A", 3), ("A", 4), ("B", 7), ("B", 8)]
    expected = pd.DataFrame(
        {
            "target": pd.Series(["y"] * 6, dtype="str"),
            "cutoff": [1, 1, 6, 6, 6, 6],
            "step": [1, 2, 1, 2, 1, 2],
            "forecast": numbers.ravel(),
            "q0.1": numbers.ravel() - 1,
            "q0.9": numbers.ravel() + 1,
        }
    ).set_index(pd.MultiIndex.from_tuples(times, names=["ticker", "day"]))
    pd.testing.assert_frame_equal(frame, expected)


def test_times_inside_the_panel_are_its_own_rows():
    time = pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05", "2024-01-08"])
    panel = pd.DataFrame({"y": range(5)}, index=time)
    frame = Naive(horizon=3).fit(panel).forecast_origins(panel, time[[0, 3]])
    assert frame.index.strftime("%d").tolist() == ["02", "04", "05", "08", "09", "10"]


def test_cutoffs_keep_their_zone():
    time = pd.date_range("2024-01-01", periods=30, tz="Asia/Tokyo", name="day")
    panel = pd.concat({"x": pd.DataFrame({"y": range(30)}, index=time)}, names=["stay"])
    frame = Naive(horizon=2).fit(panel).predict()
    assert frame["cutoff"].tolist() == [time[-1]] * 2
    assert frame.index.get_level_values("day").tz == time.tz
    assert frame.index.names == ["stay", "day"]


def test_no_origin_gives_an_empty_frame():
    panel = pd.DataFrame({"y": range(9)}, index=pd.RangeIndex(10, 19))
    frame = Naive().fit(panel).forecast_origins(panel, pd.Index([3]))
    assert frame.shape == (0, 13)


@pytest.mark.parametrize(
    "time",
    [
        pd.to_datetime(["2024-01-01 00:00", "2024-01-01 00:07", "2024-01-01 00:30"]),
        pd.Index([0, 2, 5]),
    ],
)
def test_many_origins_of_an_irregular_panel_need_no_names_after_its_end(time):
    panel = pd.DataFrame({"y": [1.0, 2.0, 3.0]}, index=time)
    model = Naive().fit(panel)
    frame = model.forecast_origins(panel)
    assert frame["forecast"].tolist() == [1.0, 2.0, 3.0]
    assert list(frame.index[:2]) == list(time[1:])
    with pytest.raises(DataError, match="cannot name the next time stamps"):
        model.predict()


# ---------------------------------------------------------------------- fast ways and slow ones


@pytest.mark.parametrize("block", [1, 3, 1 << 18])
@pytest.mark.parametrize("lengths", [[1], [1, 1], [5], [3, 1, 6, 2], [1, 4, 1]])
def test_spacings_are_counted_within_series_alone(block, lengths, monkeypatch):
    monkeypatch.setattr(calendars, "_BLOCK", block)
    rng = np.random.default_rng(0)
    parts = [np.cumsum(rng.integers(1, 4, length)) for length in lengths]
    pairs = [(name, int(when)) for name, part in enumerate(parts) for when in part]
    index = pd.MultiIndex.from_tuples(pairs)
    layout = layout_of(as_panel(pd.DataFrame({"y": 0.0}, index=index)))
    expected = np.unique(np.concatenate([np.diff(part) for part in parts]), return_counts=True)
    for found, wanted in zip(calendars._spacings(layout), expected):
        assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    "offset, zone",
    [
        (pd.offsets.Day(), None),  # with a zone, days go by the clock on the wall
        (pd.offsets.Day(3), None),
        (pd.offsets.Hour(5), None),
        (pd.offsets.Hour(5), "Europe/Berlin"),
        (pd.offsets.Minute(30), None),
        (pd.offsets.Minute(30), "Europe/Berlin"),
    ],
)
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_days_and_hours_are_added_as_one_by_one(offset, zone, unit):
    time = pd.date_range("2024-03-29 12:00", periods=9, freq="7h", tz=zone).as_unit(unit)
    after = TimeStep(offset=offset).after(time_to_ints(time), 4, like=time)
    expected = [[stamp + k * offset for k in range(1, 5)] for stamp in time]
    assert [list(time_from_ints(row, time)) for row in after] == expected


def test_an_index_made_from_numbers_is_that_made_from_labels():
    parts = {name: pd.DataFrame({"y": np.arange(9.0), "z": 1.0}) for name in ("b", "a", "c")}
    panel = as_panel(pd.concat(parts, names=["id", "at"]))
    layout = layout_of(panel)
    origins, cutoffs = layout.origins_at(pd.Index([2, 7, 8]))
    frame = forecast_frame(
        layout,
        origins,
        cutoffs,
        targets=["y", "z"],
        forecast=np.arange(54.0).reshape(9, 2, 3),
        quantiles=np.arange(108.0).reshape(9, 2, 3, 2),
        levels=(0.1, 0.9),
        time_step=TimeStep(delta=1),
    )
    rows = [
        ((name, cutoff + step), target, cutoff, step)
        for name in "abc"
        for cutoff in (2, 7, 8)
        for target in "yz"
        for step in (1, 2, 3)
    ]
    index = pd.MultiIndex.from_tuples([row[0] for row in rows], names=["id", "at"])
    expected = pd.DataFrame(
        {
            "target": pd.Series([row[1] for row in rows], index=index, dtype="str"),
            "cutoff": [row[2] for row in rows],
            "step": [row[3] for row in rows],
            "forecast": np.arange(54.0),
            "q0.1": np.arange(0.0, 108, 2),
            "q0.9": np.arange(1.0, 108, 2),
        },
        index=index,
    )
    pd.testing.assert_frame_equal(frame, expected)
