"""Dirt in prices is named, and adjusting for splits and dividends is arithmetic."""

import os

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast import DataError, adjust, check_prices

DAYS = pd.bdate_range("2024-01-01", periods=60, name="date")
COLUMNS = ["open", "high", "low", "close", "volume"]


def bars(seed: int = 0, days: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    """Clean bars of one series, 1 % a day."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, 0.003, len(days)))
    high = np.maximum(open_, close) * np.exp(rng.uniform(0.001, 0.005, len(days)))
    low = np.minimum(open_, close) * np.exp(-rng.uniform(0.001, 0.005, len(days)))
    volume = rng.integers(1000, 9000, len(days)).astype(float)
    table = np.column_stack([open_, high, low, close, volume])
    return pd.DataFrame(table, index=days, columns=COLUMNS)


def market(n: int = 30) -> pd.DataFrame:
    return pd.concat({f"S{i:02d}": bars(i) for i in range(n)}, names=["ticker", "date"])


def problems(report: pd.DataFrame) -> dict[str, int]:
    return report["problem"].value_counts().to_dict()


def rows_of(report: pd.DataFrame, problem: str) -> list[tuple]:
    part = report[report["problem"] == problem]
    return list(zip(part["series"], part["time"], part["column"]))


def prices_times(panel: pd.DataFrame, row: int, factor: float, names=COLUMNS[:4]) -> pd.DataFrame:
    dirty = panel.copy()
    dirty.iloc[row, [dirty.columns.get_loc(name) for name in names]] *= factor
    return dirty


# -------------------------------------------------------------------------------------- linter


def test_clean_prices_have_no_findings():
    for panel in (bars(), market(), bars()[["close"]], tsf.make_prices(3, 500, random_state=0)):
        report = check_prices(panel)
        assert report.empty
        assert list(report) == ["series", "time", "problem", "column", "value", "advice"]
        assert report.attrs == {}


@pytest.mark.parametrize(
    "factor, problem",
    [
        (10, "tick 10x"),
        (0.1, "tick 10x"),
        (100, "tick 10x"),  # pence for pounds
        (0.5, "half price"),
        (2, "double price"),
        (0.65, "spike"),
    ],
)
def test_a_price_that_comes_back_is_named_by_its_factor(factor: float, problem: str):
    report = check_prices(prices_times(market(), 60 * 7 + 20, factor))
    assert problems(report) == {problem: 4}
    assert set(report["series"]) == {"S07"} and set(report["time"]) == {DAYS[20]}
    np.testing.assert_allclose(report["value"], factor, rtol=0.05)


def test_a_tick_in_one_column_is_found_beside_the_order_it_breaks():
    report = check_prices(prices_times(bars(), 20, 10, ["low"]))
    assert rows_of(report, "tick 10x") == [(0, DAYS[20], "low")]
    assert problems(report) == {
        "tick 10x": 1,
        "low above open": 1,
        "low above close": 1,
        "low above high": 1,
    }


def test_a_wrong_price_may_last_three_days():
    dirty = bars()
    dirty.iloc[20:23, :4] /= 10
    assert rows_of(check_prices(dirty[["close"]]), "tick 10x") == [
        (0, day, "close") for day in DAYS[20:23]
    ]


@pytest.mark.parametrize("ratio", [2.0, 4.0, 0.1, 1.5])
def test_a_jump_overnight_that_stays_is_a_split_perhaps(ratio: float):
    dirty = bars()
    dirty.iloc[30:, :4] /= ratio
    report = check_prices(dirty)
    assert rows_of(report, "unadjusted split?") == [(0, DAYS[30], "close")]
    assert len(report) == 1
    assert report["value"][0] == pytest.approx(1 / ratio, rel=0.05)


def test_a_jump_within_the_day_is_a_move_and_no_split():
    dirty = bars()
    dirty.iloc[30, [2, 3]] /= 2  # the day opens where the last one closed
    dirty.iloc[31:, :4] /= 2
    assert problems(check_prices(dirty)) == {"large move": 1}
    assert problems(check_prices(dirty[["close"]])) == {"unadjusted split?": 1}


def test_a_spin_off_is_a_large_move():
    dirty = bars()
    dirty.iloc[30:, :4] *= 0.43
    report = check_prices(dirty)
    assert rows_of(report, "large move") == [(0, DAYS[30], "close")]
    assert "spin-off" in report["advice"][0]


def test_a_crash_of_the_whole_market_is_no_finding():
    panel = market()
    after = panel.index.get_level_values("date") >= DAYS[30]
    panel.loc[after, COLUMNS[:4]] *= 0.6
    assert check_prices(panel).empty
    assert problems(check_prices(panel.loc[["S00"]])) == {"large move": 1}


def test_a_large_move_is_large_for_its_series():
    rng = np.random.default_rng(0)
    wild = pd.DataFrame({"close": np.exp(np.cumsum(rng.normal(0, 0.15, 400)))})
    assert check_prices(wild).empty


def test_a_given_split_that_prices_do_not_reflect_is_named():
    raw = bars()
    raw.iloc[30:, :4] /= 4
    splits = pd.Series({DAYS[30]: 4.0})
    report = check_prices(raw, splits=splits)
    assert rows_of(report, "split inside the window") == [(0, DAYS[30], "close")]
    assert report["value"].tolist() == [4.0]
    assert check_prices(adjust(raw, splits=splits), splits=splits).empty


def test_a_fit_over_a_split_is_not_refused_but_the_panel_is_described():
    raw = bars()
    raw.iloc[30:, :4] /= 4
    tsf.HAR(target="close", horizon=1).fit(raw)
    assert "huge jump" in str(tsf.describe_panel(raw))


def test_prices_of_zero_and_below_are_named():
    dirty = market()
    dirty.iloc[5, 3] = 0.0
    dirty.iloc[70, 0] = -1.0
    dirty.iloc[71, 4] = -5.0
    report = check_prices(dirty)
    assert rows_of(report, "not positive") == [
        ("S00", DAYS[5], "close"),
        ("S01", DAYS[10], "open"),
        ("S01", DAYS[11], "volume"),
    ]
    assert set(report["problem"]) <= {"not positive", "low above close", "low above open"}


def test_missing_cells_are_named_one_by_one():
    dirty = bars()
    dirty.iloc[5, :3] = np.nan
    assert rows_of(check_prices(dirty), "missing cell") == [
        (0, DAYS[5], name) for name in ("open", "high", "low")
    ]


def test_bars_out_of_order_are_named():
    dirty = bars()
    dirty.iloc[3, 3] = dirty.iloc[3, 2] * 0.99
    dirty.iloc[4, 0] = dirty.iloc[4, 1] * 1.01
    dirty.iloc[5, [1, 2]] = dirty.iloc[5, [2, 1]].to_numpy()
    assert problems(check_prices(dirty)) == {
        "low above close": 2,
        "high below open": 2,
        "low above open": 1,
        "high below close": 1,
        "low above high": 1,
    }


def test_prices_of_32_bits_are_in_order():
    narrow = bars().astype(np.float32).astype(np.float64)
    narrow["high"] = narrow[["open", "close"]].max(axis=1) * (1 - 1e-7)
    assert check_prices(narrow).empty


def test_quotes_that_stand_still_are_stale():
    dirty = bars()
    dirty.iloc[11:14, :4] = dirty.iloc[10, :4].to_numpy()
    report = check_prices(dirty)
    assert rows_of(report, "stale quote") == [(0, DAYS[11], None)]
    assert report["value"].tolist() == [4.0]
    dirty = bars()
    dirty.iloc[11, :4] = dirty.iloc[10, :4].to_numpy()  # two rows alike may be chance
    assert check_prices(dirty).empty


def test_no_range_and_no_volume_is_stale():
    dirty = bars()
    dirty.iloc[11, :5] = [100.0, 100.0, 100.0, 100.0, 0.0]
    assert problems(check_prices(dirty)) == {"stale quote": 1, "zero volume": 1}


def test_a_column_of_zeros_is_one_finding():
    panel = market().assign(volume=0.0)
    report = check_prices(panel)
    assert problems(report) == {"zero volume": 30}
    assert set(report["value"]) == {1.0}


def test_opens_copied_from_the_last_close_are_found_by_series():
    dirty = bars()
    dirty.iloc[1:31, 0] = dirty.iloc[:30, 3].to_numpy()
    report = check_prices(dirty)
    found = report[report["problem"] == "open copied from the last close"]
    assert found["value"].tolist() == [30 / 59]
    told = (
        f"30 of 59 rows, the last {DAYS[30].date()}; years above one half: 1, from 2024 to 2024; "
    )
    assert found["advice"].iloc[0].startswith(f"{told}51% of the last two years. Overnight")
    assert check_prices(dirty.reset_index(drop=True))["advice"][0].startswith(
        "30 of 59 rows, the last 30. Overnight"
    )


def test_an_adjusted_close_beside_raw_highs_is_one_finding():
    dirty = market(3)
    first = dirty.index.get_level_values("ticker") == "S00"
    dirty.loc[first, "close"] *= np.where(np.arange(60) < 40, 0.9, 0.95)
    report = check_prices(dirty)
    assert problems(report) == {"close outside low to high by a constant ratio": 1}
    assert report["series"].tolist() == ["S00"]
    assert report["value"][0] == pytest.approx(0.9, abs=0.01)
    assert report.attrs == {"adjusted": "close"}
    dirty.attrs |= report.attrs
    with pytest.raises(DataError, match="adjusted closes beside raw prices"):
        tsf.garman_klass(dirty)


def test_an_adjusted_close_that_repeats_the_close_is_named():
    days = pd.bdate_range("2020-01-01", periods=300, name="date")
    panel = bars(days=days).assign(adj_close=lambda frame: frame["close"])
    assert problems(check_prices(panel)) == {"adj_close repeats close": 1}
    assert check_prices(panel.assign(adj_close=panel["close"] * 0.9)).empty


def test_weekends_are_no_sessions_but_for_those_that_trade_on_them():
    saturday = DAYS[4] + pd.Timedelta(days=1)
    dirty = pd.concat([bars(), bars()[:1].set_axis([saturday])]).sort_index()
    dirty.loc[saturday, COLUMNS[:4]] = dirty.loc[DAYS[4], COLUMNS[:4]]
    assert rows_of(check_prices(dirty), "non-session") == [(0, saturday, None)]
    assert check_prices(bars(days=pd.date_range("2024-01-01", periods=60))).empty


def test_a_row_that_hardly_any_other_series_has_is_no_session():
    panel = market()
    others = panel.index.get_level_values("ticker") != "S03"
    holiday = panel.index.get_level_values("date") == DAYS[10]
    report = check_prices(panel[~(others & holiday)])
    assert rows_of(report, "non-session") == [("S03", DAYS[10], None)]
    assert problems(report) == {"non-session": 1}


def test_sessions_that_one_series_lacks_are_named_in_runs():
    panel = market()
    one = panel.index.get_level_values("ticker") == "S03"
    report = check_prices(panel[~(one & panel.index.isin(DAYS[10:13], level="date"))])
    assert rows_of(report, "missing session") == [("S03", DAYS[10], None)]
    assert report["value"].tolist() == [3.0]


def test_the_calendar_knows_holidays_and_what_nobody_has():
    panel = bars()  # Monday to Friday from New Year's Day on
    report = check_prices(panel.drop(DAYS[20]), calendar="XNYS")
    closed = pd.DatetimeIndex(["2024-01-01", "2024-01-15", "2024-02-19"])
    assert rows_of(report, "non-session") == [(0, day, None) for day in closed]
    assert rows_of(report, "missing session") == [(0, DAYS[20], None)]
    with_name = tsf.with_calendar(panel.drop(closed), "XNYS")
    assert check_prices(with_name).empty


def test_dates_with_a_zone_keep_it():
    panel = bars(days=DAYS.tz_localize("America/New_York")).drop(
        DAYS[[20]].tz_localize("America/New_York")
    )
    report = check_prices(panel, calendar="XNYS")
    assert str(report["time"].dt.tz) == "America/New_York"


def test_other_columns_are_not_looked_at_and_some_price_is_needed():
    assert check_prices(bars().assign(sentiment=-1.0)).empty
    with pytest.raises(DataError, match="prices not found.*'close'.*found.*'price'.*rename"):
        check_prices(pd.DataFrame({"price": [1.0, 2.0]}))
    with pytest.raises(DataError, match=r"found \['Close'\]. Write them small: .*str.lower"):
        check_prices(pd.DataFrame({"Close": [1.0, 2.0]}))


def test_findings_of_a_series_do_not_depend_on_the_others_names():
    dirty = prices_times(market(), 60 * 7 + 20, 10)
    alone = check_prices(dirty.loc[["S07"]])
    pd.testing.assert_frame_equal(check_prices(dirty), alone)


def test_rows_may_be_hours_or_numbers():
    hours = bars(days=pd.date_range("2024-01-06", periods=60, freq="h"))
    assert check_prices(hours).empty
    assert check_prices(bars().reset_index(drop=True)).empty


LOCAL = pytest.mark.skipif(
    "TSFORECAST_DATA" not in os.environ, reason="needs the local stock panel"
)


@LOCAL
def test_all_dirt_of_the_stock_panel_is_found_and_little_else():
    report = check_prices(tsf.load_sp500_ohlcv(), calendar="XNYS")
    found = report.set_index(["series", "time"])["problem"]

    def at(ticker: str, day: str) -> set[str]:
        return set(found.loc[[(ticker, pd.Timestamp(day))]])

    assert at("LNT", "2016-05-19") == {"half price", "low above close"}
    for ticker, day in [("EBAY", "2015-07-20"), ("NI", "2015-07-02"), ("BAX", "2015-07-01")]:
        assert at(ticker, day) == {"large move"}
    for ticker in ("DISCA", "DISCK"):
        assert at(ticker, "2014-08-07") == {"unadjusted split?"}
    counts = problems(report)
    assert counts == {  # the table of datasets/sp500_ohlcv.md
        "missing cell": 27,
        "missing session": 17,
        "large move": 11,
        "low above close": 8,
        "zero volume": 4,
        "low above open": 3,
        "spike": 3,
        "unadjusted split?": 2,
        "half price": 2,
        "high below close": 1,
        "high below open": 1,
        "low above high": 1,
    }
    assert report["series"].nunique() == 33
    order = report["problem"].str.match("low above|high below")
    assert len(report[order].drop_duplicates(["series", "time"])) == 12


def test_the_index_is_told_of_its_opens():
    report = check_prices(tsf.load_sp500(), calendar="XNYS")
    assert problems(report) == {"open copied from the last close": 1, "adj_close repeats close": 1}
    told = report.set_index("problem").loc["open copied from the last close", "advice"]
    assert told.startswith("2,004 of 5,030 rows, the last 2015-01-02; years above one half")
    assert "7, from 1999 to 2005; 0% of the last two years." in told
    assert "take the close before as the open on every day, or use parkinson" in told


# -------------------------------------------------------------------------------------- adjust


def test_dividends_follow_the_factor_of_the_last_close():
    raw = bars()
    cash = pd.Series({DAYS[20]: 1.5, DAYS[40]: 2.0})
    adjusted = adjust(raw, dividends=cash)
    close = raw["close"].to_numpy()
    first, second = 1 - 1.5 / close[19], 1 - 2.0 / close[39]
    factor = np.where(np.arange(60) < 20, first * second, np.where(np.arange(60) < 40, second, 1))
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(adjusted[name], raw[name] * factor, rtol=1e-12)
    assert (adjusted["volume"] == raw["volume"]).all()
    assert adjusted.attrs["adjusted"] == "dividends"


def test_the_return_of_an_ex_date_is_the_total_return():
    raw = bars()
    adjusted = adjust(raw, dividends=pd.Series({DAYS[20]: 1.5}))["close"]
    close = raw["close"]
    # reinvested at the ex-date: P1 / (P0 - D)
    assert adjusted.iloc[20] / adjusted.iloc[19] == pytest.approx(
        close.iloc[20] / (close.iloc[19] - 1.5)
    )


def test_splits_scale_volume_too_and_leave_the_last_row():
    raw = bars()
    raw.iloc[30:, :4] /= 4
    raw.iloc[30:, 4] *= 4
    adjusted = adjust(raw, splits=pd.Series({DAYS[30]: 4.0}))
    np.testing.assert_allclose(adjusted, bars() * [0.25, 0.25, 0.25, 0.25, 4.0], rtol=1e-12)
    pd.testing.assert_frame_equal(adjusted[-1:], raw[-1:], check_freq=False)


def test_a_dividend_on_the_day_of_a_split_is_per_new_share():
    raw = pd.DataFrame({"close": [100.0, 49.0]}, index=DAYS[:2])
    day = pd.Series({DAYS[1]: 2.0})
    adjusted = adjust(raw, splits=day, dividends=day / 2)
    # 100 before is 50 for a new share; one of 50 is paid out
    assert adjusted["close"].tolist() == pytest.approx([49.0, 49.0])
    assert adjusted.attrs["adjusted"] == "splits+dividends"


def test_one_after_the_other_is_both_at_once():
    raw = market(3)
    raw.loc[("S01", DAYS[30]) :, COLUMNS[:4]] /= 2  # all of S02 too
    splits = pd.Series({("S01", DAYS[30]): 2.0})
    cash = pd.Series({("S01", DAYS[40]): 1.0, ("S00", DAYS[10]): 2.0})
    both = adjust(raw, splits=splits, dividends=cash)
    second = adjust(adjust(raw, splits=splits), dividends=cash)
    pd.testing.assert_frame_equal(both, second)
    assert second.attrs["adjusted"] == "splits+dividends"


def test_returns_look_at_no_later_event_but_levels_do():
    raw = bars()
    raw.iloc[50:, :4] /= 4
    early = pd.Series({DAYS[20]: 1.5})
    later = adjust(raw, splits=pd.Series({DAYS[50]: 4.0}), dividends=early)["close"][:45]
    before = adjust(raw[:45], dividends=early)["close"]
    np.testing.assert_allclose(later.pct_change()[1:], before.pct_change()[1:], rtol=1e-9)
    np.testing.assert_allclose(later, before / 4)


def test_events_after_as_of_are_unknown():
    raw = bars()
    cash = pd.Series({DAYS[20]: 1.5, DAYS[40]: 2.0})
    known = adjust(raw, dividends=cash, as_of=DAYS[30])
    pd.testing.assert_frame_equal(known, adjust(raw, dividends=cash[:1]))


def test_an_event_on_a_day_without_a_row_enters_at_the_next_one():
    raw = bars()
    saturday = DAYS[4] + pd.Timedelta(days=1)
    pd.testing.assert_frame_equal(
        adjust(raw, dividends=pd.Series({saturday: 1.0})),
        adjust(raw, dividends=pd.Series({DAYS[5]: 1.0})),
    )


def test_events_outside_the_rows_change_nothing():
    raw = bars()
    cash = pd.Series(1.0, index=[DAYS[0], DAYS[0] - DAYS.freq, DAYS[-1] + DAYS.freq])
    pd.testing.assert_frame_equal(adjust(raw, dividends=cash)[COLUMNS], raw, check_freq=False)


def test_all_prices_of_a_row_are_adjusted_alike():
    raw = bars().assign(adj_close=1.0)
    adjusted = adjust(raw, splits=pd.Series({DAYS[30]: 1.1}))
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose((adjusted[name] / raw[name])[:30], 1 / 1.1)
    assert (adjusted["adj_close"] == 1.0).all()
    with pytest.raises(TypeError, match="columns"):  # a close alone would be in another unit
        adjust(raw, splits=pd.Series({DAYS[30]: 1.1}), columns=["close"])


def test_zeros_are_no_events():
    raw = bars()
    column = pd.Series(0.0, index=DAYS)
    pd.testing.assert_frame_equal(adjust(raw, splits=column)[COLUMNS], raw, check_freq=False)


def test_prices_adjusted_already_are_refused():
    splits = pd.Series({DAYS[30]: 4.0})
    with pytest.raises(DataError, match="adjusted for these splits already.*2024-02-12.*1 splits"):
        adjust(bars(), splits=splits)
    noted = bars()
    noted.attrs["adjusted"] = "splits"
    with pytest.raises(DataError, match="prices are adjusted already.*found.*'splits'"):
        adjust(noted, splits=splits)
    noted.attrs["adjusted"] = "close"
    with pytest.raises(DataError, match="prices are adjusted already.*'close'"):
        adjust(noted, dividends=splits)


def test_wrong_events_are_refused():
    raw = bars()
    with pytest.raises(ValueError, match="parameter 'splits': expected splits, dividends or both"):
        adjust(raw)
    with pytest.raises(DataError, match="not below the last close.*found 1 as high"):
        adjust(raw, dividends=pd.Series({DAYS[3]: 200.0}))
    with pytest.raises(DataError, match="prices not found.*'close'"):
        adjust(raw[["open"]], splits=pd.Series({DAYS[3]: 2.0}))
    with pytest.raises(DataError, match=r"splits do not fit the panel.*\(series, time\)"):
        adjust(market(2), splits=pd.Series({DAYS[3]: 2.0}))
    with pytest.raises(DataError, match=r"splits do not fit.*times like.*\[.*\], found.*UTC"):
        adjust(raw, splits=pd.Series({DAYS[3].tz_localize("UTC"): 2.0}))
    with pytest.raises(DataError, match="splits do not fit.*'S00', 'S01'.*found 'X'"):
        adjust(market(2), splits=pd.Series({("X", DAYS[3]): 2.0}))


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, -2.0, np.float64(-2.0), "4:1"])
@pytest.mark.parametrize("name", ["splits", "dividends"])
def test_events_that_are_no_finite_numbers_above_zero_are_refused(name: str, wrong: object):
    events = pd.Series([1.5, wrong], index=DAYS[[10, 30]], dtype=object)
    with pytest.raises(
        DataError, match=f"{name} are not.*2024-02-12.*found {wrong}. Zeros"
    ) as told:
        adjust(bars(), **{name: events})
    assert "np.float64" not in str(told.value)
    if name == "splits":
        with pytest.raises(DataError, match="splits are not numbers above zero"):
            check_prices(bars(), splits=events)


def split_bars(ratio: float, move: float, day: int = 30, panel: pd.DataFrame | None = None):
    """Raw bars of a split with a return of the day of `move`."""
    raw = bars() if panel is None else panel.copy()
    close = raw["close"].to_numpy()
    factor = close[day - 1] / ratio * (1 + move) / close[day]
    raw.iloc[day:, :4] *= factor
    return raw


def test_a_missing_close_on_the_day_of_a_split_is_no_sign_of_adjusted_prices():
    raw = bars()
    raw.iloc[30:, :4] /= 4
    raw.iloc[30:, 4] *= 4
    raw.iloc[30:32, 3] = np.nan
    splits = pd.Series({DAYS[30]: 4.0})
    whole = bars()
    whole.iloc[30:32, 3] = np.nan
    wanted = whole * [0.25, 0.25, 0.25, 0.25, 4.0]
    np.testing.assert_allclose(adjust(raw, splits=splits), wanted, rtol=1e-12)
    report = check_prices(raw[["close"]], splits=splits)
    assert problems(report) == {"missing cell": 2, "split inside the window": 1}
    assert rows_of(report, "split inside the window") == [(0, DAYS[30], "close")]
    with pytest.raises(DataError, match="adjusted for these splits already.*2024-02-12"):
        adjust(whole, splits=splits)
    assert problems(check_prices(whole[["close"]], splits=splits)) == {"missing cell": 2}


def test_a_move_on_the_day_of_a_small_split_is_judged_by_all_splits_of_the_series():
    # 5:4 on a day of 13 %: the close falls by less than half of what the split alone would make
    splits = pd.Series({DAYS[30]: 1.25, DAYS[45]: 2.0})
    raw = split_bars(2.0, 0.0, 45, split_bars(1.25, 0.13))
    moves = adjust(raw, splits=splits)["close"].pct_change()
    assert moves.iloc[[30, 45]].tolist() == pytest.approx([0.13, 0.0])
    assert problems(check_prices(raw, splits=splits)) == {"split inside the window": 2}
    # the same moves of another series say nothing of this one
    both = pd.concat({"A": split_bars(1.25, 0.13), "B": split_bars(2.0, 0.0, 45)})
    events = pd.Series({("A", DAYS[30]): 1.25, ("B", DAYS[45]): 2.0})
    with pytest.raises(DataError, match="found 1 splits.*"):
        adjust(both, splits=events)


def test_a_fall_on_the_day_of_a_small_split_does_not_make_adjusted_prices_raw():
    splits = pd.Series({DAYS[30]: 1.25, DAYS[45]: 2.0})
    adjusted = split_bars(1.0, -0.13)
    with pytest.raises(DataError, match="adjusted for these splits already.*found 2 splits"):
        adjust(adjusted, splits=splits)
    assert check_prices(adjusted, splits=splits).empty


def test_who_knows_that_prices_are_raw_says_so():
    raw, splits = split_bars(1.25, 0.13), pd.Series({DAYS[30]: 1.25})
    with pytest.raises(DataError, match=r"are raw.*panel.attrs\['adjusted'\] = 'none'"):
        adjust(raw, splits=splits)
    raw.attrs["adjusted"] = "none"
    adjusted = adjust(raw, splits=splits)
    assert adjusted["close"].pct_change().iloc[30] == pytest.approx(0.13)
    assert adjusted.attrs["adjusted"] == "splits"
    assert adjust(raw, dividends=splits / 10).attrs["adjusted"] == "dividends"


def test_a_series_adjusted_for_some_of_its_splits_is_refused():
    raw = split_bars(7.0, 0.0, 45)  # adjusted for the earlier 2:1
    splits = pd.Series({DAYS[30]: 2.0, DAYS[45]: 7.0})
    with pytest.raises(DataError, match="2024-02-12.*found 1 splits.*Leave these out"):
        adjust(raw, splits=splits)
    assert adjust(raw, splits=splits[1:]).attrs["adjusted"] == "splits"


def test_splits_without_a_close_between_them_are_one_jump():
    raw = split_bars(1.0, 0.0)
    raw.iloc[30:, :4] /= 2 * 3
    raw.iloc[[30], 3] = np.nan
    splits = pd.Series({DAYS[30]: 2.0, DAYS[31]: 3.0})
    adjusted = adjust(raw, splits=splits)["close"]
    moved = 6 * raw["close"].iloc[31] / raw["close"].iloc[29]
    assert adjusted.iloc[31] / adjusted.iloc[29] == pytest.approx(moved)
    assert problems(check_prices(raw, splits=splits))["split inside the window"] == 2


def test_splits_with_no_close_before_or_after_cannot_be_told_and_pass():
    raw = market(2)
    raw.iloc[:31, 3] = np.nan
    raw.iloc[110:, 3] = np.nan
    splits = pd.Series({("S00", DAYS[30]): 2.0, ("S01", DAYS[50]): 2.0})
    assert adjust(raw, splits=splits).attrs["adjusted"] == "splits"
    assert "split inside the window" not in problems(check_prices(raw, splits=splits))


def test_small_splits_cannot_be_told_from_a_return_and_are_no_finding():
    splits = pd.Series({DAYS[30]: 1.05})
    fallen = split_bars(1.0, -0.04)  # adjusted, and 4 % down on the day
    assert check_prices(fallen, splits=splits).empty
    fallen.attrs["adjusted"] = "none"
    assert problems(check_prices(fallen, splits=splits)) == {"split inside the window": 1}


@pytest.mark.parametrize("note", ["splits", "splits+dividends", "close"])
def test_prices_noted_as_adjusted_have_no_split_inside(note: str):
    adjusted, splits = split_bars(1.0, -0.13), pd.Series({DAYS[30]: 1.25})
    assert problems(check_prices(adjusted, splits=splits)) == {"split inside the window": 1}
    adjusted.attrs["adjusted"] = note
    assert check_prices(adjusted, splits=splits).empty
    raw = split_bars(4.0, 0.0)  # the note is wrong: the jump is found all the same
    raw.attrs["adjusted"] = note
    assert problems(check_prices(raw, splits=pd.Series({DAYS[30]: 4.0}))) == {
        "unadjusted split?": 1
    }


def test_adjust_leaves_its_input_alone():
    raw = bars()
    before = raw.copy()
    adjust(raw, dividends=pd.Series({DAYS[3]: 1.0}))
    pd.testing.assert_frame_equal(raw, before)
    assert raw.attrs == {}


# -------------------------------------------------------------------------------- what is known


def test_what_is_known_of_prices_stays_with_the_panel():
    panel = market(3)
    panel.attrs = {"adjusted": "splits", "source": "x", "survivorship": "y", "else": 1}
    kept = {"adjusted": "splits", "source": "x", "survivorship": "y"}
    wide = panel["close"].unstack("ticker")
    wide.attrs = panel.attrs
    for data in (panel, panel.reset_index(), panel["close"], panel.iloc[:70], pd.concat([panel])):
        named = {"series": "ticker", "time": "date"} if "ticker" in data else {}
        assert tsf.as_panel(data, **named).attrs == kept
    assert tsf.as_panel(wide, wide="close").attrs == kept


def test_survivorship_ends_the_verdicts_and_shows_in_the_backtest():
    panel = market(3)[["close"]]
    plain = tsf.backtest(tsf.Drift(target="close"), panel, tsf.RollingOrigin(2, 10))
    panel.attrs["survivorship"] = "Survivorship: three that lived."
    result = tsf.backtest(tsf.Drift(target="close"), panel, tsf.RollingOrigin(2, 10))
    assert plain.notes == ()
    assert result.notes == ("Survivorship: three that lived.",)
    assert result.verdicts() == [*plain.verdicts(), "Survivorship: three that lived."]
    assert repr(result) == f"{plain!r}\nSurvivorship: three that lived."
    assert tsf.describe_panel(panel).warnings[-1] == "Survivorship: three that lived."
