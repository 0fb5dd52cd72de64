"""Calendars of exchanges: which session comes next, and how long it is."""

import builtins
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast import DataError
from tsforecast.data import sessions
from tsforecast.data.calendars import TimeStep, infer_time_step
from tsforecast.data.panel import as_panel, layout_of
from tsforecast.data.sessions import ExchangeSessions, exchange_sessions, with_calendar

NYSE = exchange_sessions("XNYS", "2024-10-01", "2024-12-31").index
TO_THANKSGIVING = NYSE[NYSE <= "2024-11-27"]  # the Wednesday before; Thursday is closed


def daily(days: pd.DatetimeIndex) -> pd.DataFrame:
    return pd.DataFrame({"close": 100.0 + np.arange(len(days))}, index=days)


def two_series(days: pd.DatetimeIndex) -> pd.DataFrame:
    return pd.concat({"A": daily(days), "B": daily(days[:-1])}, names=["ticker", "date"])


def naive(horizon: int = 3) -> tsf.Naive:
    return tsf.Naive(target="close", horizon=horizon)


def recurrent(**params: Any) -> tsf.RecurrentForecaster:
    training = tsf.Training(max_epochs=1, validation=None)
    return tsf.RecurrentForecaster(
        target="close",
        horizon=2,
        lookback=8,
        hidden_sizes=(4,),
        training=training,
        random_state=0,
        **params,
    )


def dates(index: pd.Index) -> list[str]:
    return list(pd.DatetimeIndex(index.get_level_values(-1)).strftime("%m-%d"))


# --------------------------------------------------------------------------------- next sessions


def test_forecast_skips_the_holiday_that_the_calendar_knows():
    panel = with_calendar(daily(TO_THANKSGIVING), "XNYS")
    assert dates(naive().fit(panel).predict().index) == ["11-29", "12-02", "12-03"]


def test_without_a_calendar_the_forecast_names_weekdays():
    assert dates(naive().fit(daily(TO_THANKSGIVING)).predict().index) == ["11-28", "11-29", "12-02"]


def test_half_day_is_a_session_with_fewer_hours():
    friday = exchange_sessions("XNYS", "2024-11-29", periods=1)
    assert friday["half_day"].tolist() == [True]
    assert friday["hours"].tolist() == [3.5]
    assert str(friday["close"].iloc[0]) == "2024-11-29 13:00:00-05:00"


def test_lunch_breaks_are_no_hours_of_trading():
    day = exchange_sessions("XTKS", "2024-07-01", periods=1)
    span = day["close"].iloc[0] - day["open"].iloc[0]
    assert day["hours"].tolist() == [5.0]
    assert span == pd.Timedelta(hours=6)


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_every_series_goes_on_with_its_own_next_session(zone: str | None):
    panel = with_calendar(two_series(TO_THANKSGIVING.tz_localize(zone)), "XNYS")
    index = naive(2).fit(panel).predict().index
    assert dates(index) == ["11-29", "12-02", "11-27", "11-29"]
    assert str(index.levels[1].tz) == str(zone)


def test_next_sessions_are_those_of_the_list():
    step = TimeStep(offset=ExchangeSessions("XNYS"))
    layout = layout_of(as_panel(daily(NYSE)))
    after = step.after(layout.when()[:-5], 5, like=layout.labels)
    wanted = np.lib.stride_tricks.sliding_window_view(layout.when()[1:], 5)
    np.testing.assert_array_equal(after, wanted)


def test_the_first_session_after_a_day_that_is_none():
    assert pd.Timestamp("2024-11-30") + ExchangeSessions("XNYS") == pd.Timestamp("2024-12-02")


def test_a_model_remembers_the_calendar_for_panels_without_it():
    model = naive().fit(with_calendar(daily(TO_THANKSGIVING), "XNYS"))
    plain = daily(TO_THANKSGIVING)
    plain.index.freq = None
    assert dates(model.predict(plain).index) == ["11-29", "12-02", "12-03"]
    weekdays = daily(pd.bdate_range("2024-11-04", "2024-11-27"))  # an index with a freq
    assert dates(model.predict(weekdays).index) == ["11-29", "12-02", "12-03"]


def test_a_panel_with_a_calendar_goes_before_what_fit_knows():
    model = naive().fit(daily(TO_THANKSGIVING))
    panel = with_calendar(daily(TO_THANKSGIVING), "XNYS")
    assert dates(model.predict(panel).index)[0] == "11-29"
    assert dates(model.future_index(panel))[0] == "11-29"


def test_the_recurrent_forecaster_names_sessions_too():
    model = recurrent().fit(with_calendar(two_series(TO_THANKSGIVING), "XNYS"))
    assert dates(model.predict().index) == ["11-29", "12-02", "11-27", "11-29"]


def test_the_calendar_stays_through_slices_and_as_panel():
    panel = with_calendar(two_series(TO_THANKSGIVING), "XNYS")
    for kept in (panel.iloc[5:], panel.loc[["A"]], panel.assign(x=1.0), pd.concat([panel])):
        assert as_panel(kept).attrs["calendar"] == "XNYS"
    assert as_panel(panel.reset_index(), series="ticker", time="date").attrs["calendar"] == "XNYS"


def test_giving_a_calendar_leaves_the_panel_alone():
    panel = as_panel(two_series(TO_THANKSGIVING))
    with_calendar(panel, "XNYS")
    assert panel.attrs == {}


def test_a_slice_may_be_shorter_than_a_session():
    panel = with_calendar(daily(NYSE), "XNYS")
    assert infer_time_step(layout_of(panel.iloc[[3]])).offset == ExchangeSessions("XNYS")


def test_a_common_name_of_an_exchange_will_do():
    assert with_calendar(daily(NYSE), "NYSE").attrs["calendar"] == "XNYS"


# ----------------------------------------------------------------------------------- wrong panels


def test_rows_that_are_no_sessions_are_named():
    days = pd.bdate_range("2024-11-25", periods=5)
    with pytest.raises(
        DataError, match="rows are not sessions.*Thu 2024-11-28.*XNYS trades.*found 1 others.*Drop"
    ):
        with_calendar(daily(days), "XNYS")


def test_sessions_without_a_row_are_named_and_not_filled():
    days = NYSE.drop([pd.Timestamp("2024-10-08"), pd.Timestamp("2024-10-09")])
    with pytest.warns(UserWarning, match="2 sessions of XNYS have no row, in 1 of 1.*2024-10-08"):
        panel = with_calendar(daily(days), "XNYS")
    assert len(panel) == len(NYSE) - 2


def test_series_that_start_later_lack_no_sessions(recwarn: pytest.WarningsRecorder):
    late = pd.concat({"A": daily(NYSE), "B": daily(NYSE[9:-3])}, names=["ticker", "date"])
    with_calendar(late, "XNYS")
    assert not recwarn.list


def test_dates_in_the_zone_of_another_place_are_refused():
    tokyo = daily(TO_THANKSGIVING.tz_localize("Asia/Tokyo"))
    with pytest.raises(DataError, match="time zones differ.*America/New_York.*found Asia/Tokyo"):
        with_calendar(tokyo, "XNYS")


def test_another_name_of_the_exchanges_zone_will_do():
    panel = with_calendar(daily(TO_THANKSGIVING.tz_localize("US/Eastern")), "XNYS")
    index = naive(2).fit(panel).predict().index
    assert dates(index) == ["11-29", "12-02"]
    assert str(index.tz) == "US/Eastern"
    # UTC-5 is New York's time in winter and not in October
    winter = TO_THANKSGIVING[TO_THANKSGIVING >= "2024-11-04"].tz_localize("Etc/GMT+5")
    assert with_calendar(daily(winter), "XNYS").attrs["calendar"] == "XNYS"
    with pytest.raises(DataError, match="time zones differ"):
        with_calendar(daily(TO_THANKSGIVING.tz_localize("Etc/GMT+5")), "XNYS")


def test_two_time_zones_in_one_panel_are_refused():
    a = daily(TO_THANKSGIVING.tz_localize("America/New_York")).reset_index()
    b = daily(TO_THANKSGIVING.tz_localize("Asia/Tokyo")).reset_index()
    both = pd.concat([a.assign(ticker="A"), b.assign(ticker="B")]).astype({"date": object})
    with pytest.raises(DataError, match="mixed time zones.*America/New_York, Asia/Tokyo"):
        with_calendar(as_panel(both, series="ticker", time="date"), "XNYS")


def test_days_of_two_exchanges_are_no_sessions_of_one():
    days = exchange_sessions("XTKS", "2024-10-01", "2024-11-27").index
    with pytest.raises(DataError, match="a panel of several exchanges is one panel for each"):
        with_calendar(pd.concat({"A": daily(NYSE), "T": daily(days)}), "XTKS")


def test_a_model_of_dates_refuses_dates_with_a_zone():
    model = naive().fit(with_calendar(daily(TO_THANKSGIVING), "XNYS"))
    zoned = with_calendar(daily(TO_THANKSGIVING.tz_localize("America/New_York")), "XNYS")
    with pytest.raises(DataError, match="another kind than in fit.*without a time zone"):
        model.predict(zoned)


def test_times_of_day_are_refused():
    with pytest.raises(DataError, match="rows are not days.*16:00:00.*times of day.*normalize"):
        with_calendar(daily(NYSE + pd.Timedelta(hours=16)), "XNYS")


def test_whole_numbers_have_no_calendar():
    with pytest.raises(DataError, match="time has no calendar.*sessions of XNYS"):
        with_calendar(pd.DataFrame({"close": [1.0, 2.0]}), "XNYS")


def test_weeks_do_not_go_by_a_daily_calendar():
    panel = with_calendar(daily(NYSE), "XNYS")
    weekly = panel.resample("W-TUE").last().dropna()
    assert weekly.attrs["calendar"] == "XNYS"  # pandas carries it on
    with pytest.raises(DataError, match="do not go by the calendar.*steps of 4, 5 sessions.*pop"):
        naive().fit(weekly)


def test_a_short_slice_with_a_halt_is_predicted():
    panel = with_calendar(daily(NYSE), "XNYS")
    halted = panel.iloc[[20, 22, 25]]
    model = naive(1).fit(panel)
    after = exchange_sessions("XNYS", NYSE[26], periods=1).index
    assert dates(model.predict(halted).index) == dates(after)
    every_second = panel.iloc[20:32:2]
    assert len(every_second) == 6
    assert len(model.predict(every_second[:5])) == 1
    with pytest.raises(DataError, match="do not go by the calendar.*steps of 2 sessions"):
        model.predict(every_second)


def test_unknown_calendars_are_refused():
    with pytest.raises(ValueError, match="parameter 'calendar'.*'XNYS'.*found 'WALL'"):
        with_calendar(daily(NYSE), "WALL")


@pytest.mark.parametrize("several", [["XNYS"], ("XNYS", "XLON"), None, {"A": "XNYS"}])
def test_a_calendar_is_one_name(several: Any):
    with pytest.raises(ValueError, match="'calendar': expected one name, such as 'XNYS', found"):
        with_calendar(daily(NYSE), several)
    with pytest.raises(ValueError, match="'calendar': expected one name"):
        exchange_sessions(several, "2024-01-02", periods=1)


def test_days_before_the_calendar_are_refused_and_no_newer_package_is_advised():
    reach = "does not reach that far.*1970-01-02 to.*found 1963-01-02.*Earlier holidays are not"
    with pytest.raises(DataError, match=reach) as told:
        exchange_sessions("XNYS", "1963-01-02", "1999-01-02")
    assert "newer" not in str(told.value)
    with pytest.raises(DataError, match=reach):
        with_calendar(daily(pd.DatetimeIndex(["1963-01-02", "1963-01-03"])), "XNYS")
    with pytest.raises(DataError, match="of XTKS, 1997.*found 1996-01-05.*Earlier holidays"):
        exchange_sessions("XTKS", "1996-01-05", periods=1)


def test_days_after_the_calendar_are_refused():
    with pytest.raises(DataError, match="does not reach that far.*found 2101-01-03.*newer"):
        with_calendar(daily(pd.DatetimeIndex(["2101-01-03", "2101-01-04"])), "XNYS")


def test_the_first_years_of_the_calendar_have_as_many_sessions_as_there_were():
    years = exchange_sessions("XNYS", "1970-01-02", "1972-12-31").index.year
    assert pd.Series(years).value_counts().sort_index().tolist() == [254, 253, 251]


def test_the_last_session_known_has_none_after_it():
    last = sessions._calendar("XNYS").index[-1]
    with pytest.raises(DataError, match="does not reach that far"):
        last + ExchangeSessions("XNYS")


def test_an_end_before_the_start_is_refused():
    with pytest.raises(ValueError, match="'end': expected a day from start='2024-01-09' on, found"):
        exchange_sessions("XNYS", "2024-01-09", "2024-01-02")
    assert len(exchange_sessions("XNYS", "2024-01-09", "2024-01-09")) == 1


@pytest.mark.parametrize(
    "wrong",
    [{}, {"end": "2024-02-01", "periods": 3}, {"periods": 0}, {"end": "someday"}],
)
def test_spans_are_given_once(wrong: dict):
    with pytest.raises(ValueError, match="parameter '(periods|end)'"):
        exchange_sessions("XNYS", "2024-01-02", **wrong)


def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "exchange_calendars":
            raise ImportError("no such package")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    sessions._made.cache_clear()


def test_without_the_package_only_a_calendar_fails(monkeypatch: pytest.MonkeyPatch):
    panel = with_calendar(daily(TO_THANKSGIVING), "XNYS")
    without_package(monkeypatch)
    with pytest.raises(ImportError, match=r"'XNYS'.*exchange-calendars.*tsforecast\[finance\]"):
        naive().fit(panel)
    assert dates(naive().fit(daily(TO_THANKSGIVING)).predict().index)[0] == "11-28"


# ------------------------------------------------------------------------- columns known ahead


def test_hours_of_the_session_are_a_column_known_ahead():
    panel = with_calendar(two_series(TO_THANKSGIVING), "XNYS")
    panel = tsf.calendar_features(panel, ["session_hours"])
    assert panel.attrs["available"] == ["session_hours"]
    model = recurrent(future=["session_hours"]).fit(panel)
    ahead = with_calendar(pd.DataFrame(index=model.future_index()), "XNYS")
    ahead = tsf.calendar_features(ahead, ["session_hours"])
    assert ahead["session_hours"].tolist() == [3.5, 6.5, 6.5, 3.5]
    assert len(model.predict(future=ahead)) == 4
    wrong = ahead.set_axis(
        ahead.index.set_levels(ahead.index.levels[1] + pd.Timedelta(days=3), level=1)
    )
    with pytest.raises(DataError, match="future= does not fit.*2024-11-29.*found 2024-12-02"):
        model.predict(future=wrong)


def test_a_frame_that_misses_a_session_is_named_not_filled():
    panel = tsf.calendar_features(with_calendar(daily(TO_THANKSGIVING), "XNYS"), ["session_hours"])
    model = recurrent(future=["session_hours"]).fit(panel)
    gap = pd.DataFrame(
        {"session_hours": 6.5}, index=pd.DatetimeIndex(["2024-11-29", "2024-12-03"], name="date")
    )
    with pytest.raises(DataError, match="2024-11-29.*, 2024-12-02.*found 2024-11-29.*, 2024-12-03"):
        model.predict(future=gap)


def test_hours_need_a_calendar():
    with pytest.raises(ValueError, match="'session_hours' for a panel without.*with_calendar"):
        tsf.calendar_features(daily(NYSE), ["session_hours"])


# -------------------------------------------------------------------------------------- saving


def test_a_saved_model_names_the_same_sessions(tmp_path):
    model = naive().fit(with_calendar(two_series(TO_THANKSGIVING), "XNYS"))
    tsf.save(model, tmp_path / "model", tail=True)
    again = tsf.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(), model.predict())


def test_a_saved_model_says_what_to_install(tmp_path, monkeypatch: pytest.MonkeyPatch):
    model = naive().fit(with_calendar(two_series(TO_THANKSGIVING), "XNYS"))
    tsf.save(model, tmp_path / "model")
    without_package(monkeypatch)
    again = tsf.load(tmp_path / "model")
    with pytest.raises(ImportError, match="could not be imported.*Install it with"):
        again.predict(two_series(TO_THANKSGIVING))


def test_backtest_keeps_the_calendar():
    panel = with_calendar(daily(NYSE), "XNYS")
    result = tsf.backtest(naive(1), panel, tsf.RollingOrigin(2, origins_per_split=5))
    assert set(result.frame["time"]) <= set(NYSE)


def test_a_model_on_a_calendar_proves_that_it_does_not_look_ahead():
    days = exchange_sessions("XNYS", "2024-05-01", "2024-12-31").index
    panel = with_calendar(two_series(days), "XNYS")
    report = tsf.check_no_lookahead(tsf.EWMA(target="close", horizon=3), panel)
    assert (report["largest_change"] == 0).all()
    assert (report["compared"] > 0).all()


def test_a_stream_goes_on_with_the_next_session():
    panel = with_calendar(two_series(TO_THANKSGIVING), "XNYS")
    model = recurrent().fit(panel)
    assert dates(tsf.Stream(model, panel).forecast().index) == ["11-29", "12-02", "11-27", "11-29"]


def test_an_exchange_that_knows_its_holidays_for_less_time_has_what_it_knows():
    last = sessions._calendar("XSHG").index[-1]  # announced year by year
    assert last < sessions._UNTIL - pd.Timedelta(days=366)
    with pytest.raises(DataError, match=f"does not reach that far.*to {last.date()}"):
        exchange_sessions("XSHG", last, periods=2)


def test_a_calendar_that_the_package_cannot_make_is_refused(monkeypatch: pytest.MonkeyPatch):
    def broken(*args: Any) -> None:
        raise NotImplementedError("implemented by subclasses")

    monkeypatch.setattr(sessions, "_widest", broken)
    sessions._made.cache_clear()
    with pytest.raises(ValueError, match="can make with this pandas, found 'XNYS'.*NotImpl"):
        exchange_sessions("XNYS", "2024-01-02", periods=1)
