"""Frames of yfinance and files of Yahoo and Stooq become panels, or errors that say why not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast import DataError, from_yfinance, read_stooq, read_yahoo_csv
from tsforecast.data.price_readers import UNKNOWN_UNIVERSE

DAYS = pd.DatetimeIndex(["2024-03-07", "2024-03-08", "2024-03-11"], name="Date")
FIELDS = ["Open", "High", "Low", "Close", "Volume"]  # 10 March: daylight saving begins


def one(start: float = 1.0) -> pd.DataFrame:
    values = start + np.arange(15.0).reshape(3, 5)
    return pd.DataFrame(values, index=DAYS, columns=pd.Index(FIELDS, name="Price"))


def several(*tickers: str, order: str = "Price") -> pd.DataFrame:
    """As from yf.download: (Price, Ticker), or with group_by="ticker" (Ticker, Price)."""
    joined = pd.concat({name: one(10.0 * i) for i, name in enumerate(tickers)}, axis=1)
    joined.columns.names = ["Ticker", "Price"]
    return joined if order == "Ticker" else joined.swaplevel(axis=1).sort_index(axis=1)


def tidy(*tickers: str) -> pd.DataFrame:
    parts = {name: one(10.0 * i) for i, name in enumerate(tickers)}
    panel = pd.concat(parts, names=["ticker", "date"])
    return panel.rename(columns=str.lower).rename_axis(columns=None)


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        found, wanted, check_freq=False, check_index_type=False, check_column_type=False
    )
    pd.testing.assert_frame_equal(tsf.as_panel(found), found)  # it is a panel


# -------------------------------------------------------------------------------------- yfinance


@pytest.mark.parametrize("order", ["Price", "Ticker"])
@pytest.mark.parametrize("named", [True, False])
def test_columns_of_two_levels_in_either_order(order: str, named: bool):
    frame = several("AAPL", "MSFT", order=order)
    if not named:
        frame.columns.names = [None, None]
    panel = from_yfinance(frame)
    same(panel, tidy("AAPL", "MSFT"))
    assert panel.attrs == {"source": "Yahoo, by yfinance", "survivorship": UNKNOWN_UNIVERSE}


def test_a_ticker_may_be_called_open():
    same(from_yfinance(several("OPEN", "LOW", order="Ticker")), tidy("OPEN", "LOW").sort_index())


def test_one_ticker_in_two_levels_is_a_panel_of_one_series():
    same(from_yfinance(several("AAPL")), tidy("AAPL"))


def test_columns_of_one_level_are_one_series():
    panel = from_yfinance(one(0.0))
    same(panel, tidy("AAPL").loc["AAPL"])
    assert panel.index.name == "date"
    same(from_yfinance(one(0.0), ticker="AAPL"), tidy("AAPL"))


def test_daily_rows_in_the_exchanges_zone_become_dates():
    zoned = one(0.0).tz_localize("America/New_York")
    same(from_yfinance(zoned, ticker="AAPL"), tidy("AAPL"))


def test_rows_within_the_day_keep_their_zone():
    frame = one().set_axis(pd.date_range("2024-03-08 09:30", periods=3, freq="h", tz="Asia/Tokyo"))
    panel = from_yfinance(frame.rename_axis("Datetime"))
    assert panel.index.name == "time"
    assert str(panel.index.tz) == "Asia/Tokyo"


def test_history_keeps_dividends_and_splits_and_leaves_the_rest():
    frame = one().assign(**{"Dividends": 0.0, "Stock Splits": 0.0, "Capital Gains": 0.0})
    assert list(from_yfinance(frame))[-2:] == ["dividends", "stock_splits"]


def test_an_adjusted_close_tells_that_prices_are_adjusted_for_splits_alone():
    frame = one().assign(**{"Adj Close": [1.0, 2.0, 3.0]})
    panel = from_yfinance(frame)
    assert list(panel) == ["open", "high", "low", "close", "adj_close", "volume"]
    assert panel.attrs["adjusted"] == "splits"


def test_what_prices_are_adjusted_for_is_claimed_only_if_told(tmp_path: Path):
    assert "adjusted" not in from_yfinance(one()).attrs
    assert from_yfinance(one(), auto_adjust=True).attrs["adjusted"] == "splits+dividends"
    assert from_yfinance(one(), auto_adjust=False).attrs["adjusted"] == "splits"
    assert "adjusted" not in read_yahoo_csv(write(tmp_path, "A.csv", STOOQ)).attrs  # no Adj Close
    write(tmp_path, "B.csv", YAHOO)
    assert "adjusted" not in read_yahoo_csv(tmp_path).attrs  # of one and not of the other


def test_an_adjusted_close_contradicts_prices_that_are_adjusted_all():
    frame = one().assign(**{"Adj Close": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="'auto_adjust': expected False or None.*found True"):
        from_yfinance(frame, auto_adjust=True)
    with pytest.raises(ValueError, match="'auto_adjust': expected one of"):
        from_yfinance(one(), auto_adjust="yes")


def test_days_on_which_a_ticker_has_no_value_are_left_out():
    frame = several("AAPL", "TM")
    frame.loc[DAYS[1], frame.columns.get_level_values("Ticker") == "TM"] = np.nan
    panel = from_yfinance(frame)
    same(panel, tidy("AAPL", "TM").drop(("TM", DAYS[1])))


def test_a_ticker_that_was_not_found_is_not_lost_in_silence():
    frame = several("AAPL", "NOPE")
    frame.loc[:, frame.columns.get_level_values("Ticker") == "NOPE"] = np.nan
    with pytest.raises(DataError, match="tickers without any value.*'NOPE'.*survivorship"):
        from_yfinance(frame)


def test_days_without_a_value_are_left_out_of_columns_of_one_level_too():
    frame = one(0.0)
    frame.loc[DAYS[1]] = np.nan
    same(from_yfinance(frame, ticker="AAPL"), tidy("AAPL").drop(("AAPL", DAYS[1])))
    same(from_yfinance(frame.assign(Dividends=0.0)).iloc[:, :5], tidy("AAPL").loc["AAPL"].iloc[::2])
    with pytest.raises(DataError, match="tickers without any value.*'NOPE'.*survivorship"):
        from_yfinance(one() * np.nan, ticker="NOPE")
    with pytest.raises(DataError, match="tickers without any value.*found none of 'the frame'"):
        from_yfinance(one() * np.nan)


def test_doubled_dates_are_refused():
    frame = one().iloc[[0, 1, 1, 2]]
    with pytest.raises(DataError, match="duplicated time.*'AAPL'.*2024-03-08"):
        from_yfinance(frame, ticker="AAPL")
    with pytest.raises(DataError, match="duplicated time.*2024-03-08"):
        from_yfinance(frame)


def test_newest_first_is_sorted():
    same(from_yfinance(one(0.0).iloc[::-1], ticker="AAPL"), tidy("AAPL"))


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"x": [1.0]}), several("A").rename(columns=str.upper)]
)
def test_frames_without_a_close_are_refused(frame: pd.DataFrame):
    if frame.columns.nlevels == 2:
        frame = frame.drop(columns="CLOSE", level="Price")
    with pytest.raises(DataError, match="prices not found.*Date, Open, High, Low, Close, Volume"):
        from_yfinance(frame)


def test_other_things_are_no_frames():
    with pytest.raises(TypeError, match="expected a DataFrame of yfinance, found dict"):
        from_yfinance({"Close": [1.0]})


# ----------------------------------------------------------------------------------------- Yahoo

YAHOO = """Date,Open,High,Low,Close,Adj Close,Volume
2024-03-07,0.0,1.0,2.0,3.0,2.5,4
2024-03-08,5.0,6.0,7.0,8.0,7.5,9
2024-03-11,10.0,11.0,12.0,13.0,13.0,14
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_of_yahoo_is_named_as_the_file(tmp_path: Path):
    panel = read_yahoo_csv(write(tmp_path, "AAPL.csv", YAHOO))
    same(panel.drop(columns="adj_close"), tidy("AAPL"))
    assert panel["adj_close"].tolist() == [2.5, 7.5, 13.0]
    assert panel.attrs == {
        "source": "Yahoo, from files",
        "adjusted": "splits",
        "survivorship": UNKNOWN_UNIVERSE,
    }


def test_lists_and_folders_of_files_are_one_panel(tmp_path: Path):
    paths = [write(tmp_path, f"{name}.csv", YAHOO) for name in ("MSFT", "AAPL")]
    panel = read_yahoo_csv(paths)
    assert list(panel.index.levels[0]) == ["AAPL", "MSFT"]
    same(read_yahoo_csv(tmp_path), panel)


def test_null_rows_are_left_out_and_single_nulls_are_missing(tmp_path: Path):
    text = YAHOO + "2024-03-12,null,null,null,null,null,null\n2024-03-13,null,1,1,1,1,1\n"
    panel = read_yahoo_csv(write(tmp_path, "AAPL.csv", text)).loc["AAPL"]
    assert pd.Timestamp("2024-03-12") not in panel.index
    assert np.isnan(panel.loc["2024-03-13", "open"])


def test_rows_of_dividends_and_splits_become_columns(tmp_path: Path):
    text = YAHOO + "2024-03-08,0.24 Dividend,,,,,\n2024-03-11,4:1 Stock Splits,,,,,\n"
    panel = read_yahoo_csv(write(tmp_path, "AAPL.csv", text))
    assert panel["dividends"].tolist() == [0.0, 0.24, 0.0]
    assert panel["stock_splits"].tolist() == [0.0, 0.0, 4.0]
    assert panel["close"].tolist() == [3.0, 8.0, 13.0]


def test_two_dividends_of_a_day_add_up(tmp_path: Path):
    text = YAHOO + "2024-03-08,.24 Dividend,,,,,\n2024-03-08,1.00 Dividend,,,,,\n"
    panel = read_yahoo_csv(write(tmp_path, "AAPL.csv", text))
    assert panel["dividends"].tolist() == [0.0, 1.24, 0.0]


def test_tables_copied_from_the_page_are_read(tmp_path: Path):
    text = (
        'Date,Open,High,Low,Close*,Adj Close**,Volume\n"Mar 8, 2024","1,005.0",6,4,5,5,"1,000"\n'
        '"Mar 7, 2024",5,6,4,5,5,-\n'
    )
    panel = read_yahoo_csv(write(tmp_path, "X.csv", text)).loc["X"]
    assert panel.index.tolist() == [pd.Timestamp("2024-03-07"), pd.Timestamp("2024-03-08")]
    assert panel["open"].tolist() == [5.0, 1005.0]
    assert panel["volume"].isna().tolist() == [True, False]


@pytest.mark.parametrize("cell", ["12,34", "12,3", "0,123", "1234,56", "1,23,456", "1.234,56"])
@pytest.mark.parametrize("read", [read_yahoo_csv, read_stooq])
def test_decimal_commas_are_refused_and_not_read_as_thousands(read, cell: str, tmp_path: Path):
    path = write(tmp_path, "X.csv", f'Date,Close\n2024-03-07,"{cell}"\n')
    with pytest.raises(DataError, match=f"not numeric.*'close'.*found '{cell}'.*with a comma"):
        read(path)


def test_decimal_commas_without_quotes_shift_the_columns_and_are_refused(tmp_path: Path):
    for read in (read_yahoo_csv, read_stooq):
        path = write(tmp_path, "X.csv", "Date,Close\n2024-03-07,12,34\n2024-03-08,12,50\n")
        with pytest.raises(DataError, match="more cells than.*found '2024-03-07,12,34'.*a comma"):
            read(path)


@pytest.mark.parametrize("cell, value", [("1,234", 1234.0), ("-12,345,678.5", -12345678.5)])
def test_commas_of_thousands_are_read(cell: str, value: float, tmp_path: Path):
    path = write(tmp_path, "X.csv", f'Date,Close\n2024-03-07,"{cell}"\n')
    assert read_yahoo_csv(path)["close"].tolist() == [value]


@pytest.mark.parametrize(
    "event", ["0,24 Dividend", "0,244 Dividend", "4:0 Stock Splits", "1:2:3 Split"]
)
def test_events_that_cannot_be_read_are_refused(event: str, tmp_path: Path):
    path = write(tmp_path, "X.csv", YAHOO + f'2024-03-08,"{event}",,,,,\n')
    with pytest.raises(DataError, match=f"(cannot be read|not numeric).*found '{event}'.*a comma"):
        read_yahoo_csv(path)


@pytest.mark.parametrize(
    "text, found",
    [
        ("", "an empty file"),
        ("Date,Close\n", "'Date,Close'"),
        ("Date,Close\n2024-03-07,null\n", "1 rows without a value"),
    ],
)
def test_a_file_of_yahoo_without_prices_is_refused(text: str, found: str, tmp_path: Path):
    write(tmp_path, "AAPL.csv", YAHOO)
    write(tmp_path, "GONE.csv", text)
    with pytest.raises(DataError, match=f"without prices.*'GONE'.*found {found}.*survivorship"):
        read_yahoo_csv(tmp_path)


@pytest.mark.parametrize("order", ["Price", "Ticker"])
def test_what_yfinance_saves_is_read_again(tmp_path: Path, order: str):
    frame = several("AAPL", "MSFT", order=order)
    frame.to_csv(tmp_path / "all.csv")
    same(read_yahoo_csv(tmp_path / "all.csv"), tidy("AAPL", "MSFT"))


def test_dates_saved_with_two_offsets_are_dates(tmp_path: Path):
    one(0.0).tz_localize("America/New_York").to_csv(tmp_path / "AAPL.csv")
    assert "-05:00" in (tmp_path / "AAPL.csv").read_text()
    assert "-04:00" in (tmp_path / "AAPL.csv").read_text()
    same(read_yahoo_csv(tmp_path / "AAPL.csv"), tidy("AAPL"))


def within_the_day(start: str, zone: str) -> pd.DataFrame:
    times = pd.date_range(start, periods=3, freq="h", tz=zone, name="Datetime")
    return one().set_axis(times)


@pytest.mark.parametrize("levels", [1, 2])
def test_rows_within_the_day_keep_the_offset_of_their_file(levels: int, tmp_path: Path):
    frame = within_the_day("2024-01-04 08:45", "Asia/Tokyo")  # 23:45 of the day before in UTC
    saved = frame if levels == 1 else pd.concat({"N225": frame}, axis=1, names=["Ticker", "Price"])
    saved.to_csv(tmp_path / "N225.csv")
    panel, wanted = read_yahoo_csv(tmp_path), from_yfinance(frame, ticker="N225")
    found = panel.index.get_level_values("time")
    assert found[0].utcoffset() == pd.Timedelta(hours=9)
    assert found.tz_convert("Asia/Tokyo").tolist() == wanted.index.get_level_values(1).tolist()
    assert tsf.realized_variance(panel, price="close").index.get_level_values(1).tolist() == [
        pd.Timestamp("2024-01-04")
    ]


def test_rows_within_the_day_of_several_offsets_are_in_utc_with_a_warning(tmp_path: Path):
    new_york = pd.concat(
        within_the_day(f"{day} 09:30", "America/New_York") for day in ("2024-03-08", "2024-03-11")
    )
    new_york.to_csv(tmp_path / "AAPL.csv")
    with pytest.warns(
        UserWarning, match=r"offsets from UTC \(-0400, -0500\).*tz_convert"
    ) as caught:
        panel = read_yahoo_csv(tmp_path)
    assert len(caught) == 1
    same(panel.tz_convert("America/New_York", level="time"), from_yfinance(new_york, ticker="AAPL"))
    within_the_day("2024-01-04 09:00", "Asia/Tokyo").to_csv(tmp_path / "N225.csv")
    with pytest.warns(UserWarning, match=r"\(\+0900, -0400, -0500\)"):
        both = read_yahoo_csv(tmp_path)
    assert both.loc["N225"].index[0] == pd.Timestamp("2024-01-04", tz="UTC")
    (tmp_path / "AAPL.csv").unlink()
    write(tmp_path, "UTC.csv", "Datetime,Close\n2024-01-04T00:30:00Z,1\n")
    with pytest.warns(UserWarning, match=r"\(\+0000, \+0900\)"):
        read_yahoo_csv(tmp_path)


@pytest.mark.parametrize("line", ["2024-03-12,1.0,2.0", "2024-03-12", '2024-03-12,"1,000.0",2.0,3'])
def test_a_line_cut_short_is_refused(line: str, tmp_path: Path):
    wanted = r"cut short \(series 'X'\): expected {} cells, found '2024-03-12.*line 5 of X.csv"
    for read, text, cells in ((read_yahoo_csv, YAHOO, 7), (read_stooq, STOOQ, 6)):
        path = write(tmp_path, "X.csv", text + line)
        with pytest.raises(DataError, match=wanted.format(cells)):
            read(path)
    several("AAPL", "MSFT").to_csv(tmp_path / "all.csv")
    whole = (tmp_path / "all.csv").read_text()
    with pytest.raises(DataError, match="cut short.*expected 11 cells.*line 7 of all.csv"):
        read_yahoo_csv(write(tmp_path, "all.csv", whole + line))
    assert len(read_yahoo_csv(write(tmp_path, "X.csv", YAHOO.replace("\n", "\n\n")))) == 3


def test_short_rows_of_events_and_commas_behind_the_header_are_no_lines_cut_short(tmp_path: Path):
    whole = read_yahoo_csv(write(tmp_path, "X.csv", YAHOO + "2024-03-08,0.24 Dividend,,,,,\n"))
    short = read_yahoo_csv(write(tmp_path, "X.csv", YAHOO + "2024-03-08,0.24 Dividend\n"))
    same(short, whole)
    head, rest = YAHOO.split("\n", 1)
    same(
        read_yahoo_csv(write(tmp_path, "X.csv", f"{head},\n{rest}")),
        read_yahoo_csv(write(tmp_path, "X.csv", YAHOO)),
    )


def test_dates_in_an_order_that_cannot_be_told_are_refused(tmp_path: Path):
    path = write(tmp_path, "X.csv", "Date,Close\n03/04/2024,1\n04/04/2024,2\n")
    with pytest.raises(DataError, match="dates cannot be read.*2024-01-31.*found '03/04/2024'"):
        read_yahoo_csv(path)


def test_words_among_the_numbers_are_refused(tmp_path: Path):
    path = write(tmp_path, "X.csv", "Date,Close\n2024-03-04,1\n2024-03-05,about two\n")
    with pytest.raises(DataError, match="not numeric.*'close'.*found 'about two'.*X.csv"):
        read_yahoo_csv(path)


def test_doubled_dates_of_a_file_are_refused(tmp_path: Path):
    path = write(tmp_path, "X.csv", YAHOO + YAHOO.split("\n", 1)[1])
    with pytest.raises(DataError, match="duplicated time.*'X'"):
        read_yahoo_csv(path)


def test_files_that_are_not_there_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="expected price files at .*nowhere.csv"):
        read_yahoo_csv(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="expected price files at"):
        read_stooq(tmp_path)
    with pytest.raises(ValueError, match="parameter 'paths'"):
        read_yahoo_csv([])


# ----------------------------------------------------------------------------------------- Stooq

STOOQ = """Date,Open,High,Low,Close,Volume
2024-03-07,0.0,1.0,2.0,3.0,4
2024-03-08,5.0,6.0,7.0,8.0,9
2024-03-11,10.0,11.0,12.0,13.0,14
"""
HEAD = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
BULK = """AAPL.US,D,20240307,000000,0.0,1.0,2.0,3.0,4,0
AAPL.US,D,20240308,000000,5.0,6.0,7.0,8.0,9,0
AAPL.US,D,20240311,000000,10.0,11.0,12.0,13.0,14,0
"""


def test_a_download_of_stooq_is_named_by_its_file(tmp_path: Path):
    panel = read_stooq(write(tmp_path, "aapl_us_d.csv", STOOQ))
    same(panel, tidy("AAPL.US"))
    assert panel.attrs == {"source": "Stooq", "survivorship": UNKNOWN_UNIVERSE}


def test_polish_columns_are_read(tmp_path: Path):
    text = STOOQ.replace(
        "Date,Open,High,Low,Close,Volume",
        "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen",
    )
    same(read_stooq(write(tmp_path, "aapl_us_d.csv", text)), tidy("AAPL.US"))


def test_the_bulk_archive_is_read_to_its_depth_without_its_empty_files(tmp_path: Path):
    write(tmp_path, "daily/us/nasdaq stocks/1/aapl.us.txt", HEAD + BULK)
    write(tmp_path, "daily/us/nasdaq stocks/2/msft.us.txt", HEAD + BULK.replace("AAPL", "MSFT"))
    write(tmp_path, "daily/us/nasdaq stocks/2/none.us.txt", "")
    panel = read_stooq(tmp_path)
    same(panel.loc[["AAPL.US"]], tidy("AAPL.US"))
    assert list(panel.index.levels[0]) == ["AAPL.US", "MSFT.US"]


def test_a_file_may_hold_many_tickers(tmp_path: Path):
    panel = read_stooq(write(tmp_path, "day.txt", HEAD + BULK + BULK.replace("AAPL", "MSFT")))
    assert panel.groupby(level=0).size().to_dict() == {"AAPL.US": 3, "MSFT.US": 3}


def test_rows_within_the_day_have_their_time(tmp_path: Path):
    text = HEAD + "AAPL.US,5,20240307,153000,1,2,1,2,9,0\nAAPL.US,5,20240307,153500,2,2,2,2,9,0\n"
    panel = read_stooq(write(tmp_path, "aapl.us.txt", text))
    assert panel.index.names == ["ticker", "time"]
    assert panel.index[1][1] == pd.Timestamp("2024-03-07 15:35")


def test_several_periods_are_refused(tmp_path: Path):
    write(tmp_path, "aapl_us_d.csv", STOOQ)
    write(tmp_path, "aapl_us_w.csv", STOOQ)
    with pytest.raises(DataError, match="several periods.*found D, W"):
        read_stooq(tmp_path)


def test_a_message_in_place_of_prices_is_shown(tmp_path: Path):
    path = write(tmp_path, "aapl_us_d.csv", "Exceeded the daily hits limit")
    with pytest.raises(DataError, match="without prices.*'Exceeded the daily hits limit'"):
        read_stooq(path)


def test_only_empty_files_are_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no prices.*found 1 empty files, aapl.us.txt"):
        read_stooq(write(tmp_path, "aapl.us.txt", ""))


@pytest.mark.parametrize("text", [HEAD, STOOQ.split("\n", 1)[0]])
def test_files_of_names_alone_are_left_out_and_named(text: str, tmp_path: Path):
    write(tmp_path, "aapl_us_d.csv", STOOQ)
    path = write(tmp_path, "gone_us_d.csv", text)
    with pytest.warns(UserWarning, match="1 of 2 files have no rows.*gone_us_d.csv.*survivorship"):
        panel = read_stooq(tmp_path)
    same(panel, tidy("AAPL.US"))
    with pytest.raises(DataError, match="no prices.*found 1 empty files, gone_us_d.csv"):
        read_stooq(path)


def test_wrong_dates_and_tables_are_refused(tmp_path: Path):
    path = write(tmp_path, "a.txt", HEAD + BULK.replace("20240308", "20241308"))
    with pytest.raises(DataError, match="dates cannot be read.*found '20241308'"):
        read_stooq(path)
    with pytest.raises(DataError, match="prices not found.*a.csv"):
        read_stooq(write(tmp_path, "a.csv", "x,y\n1,2\n"))


# ------------------------------------------------------------------------------------ together


def test_a_wide_table_of_closes_is_a_panel():
    wide = several("AAPL", "MSFT")["Close"]
    panel = tsf.as_panel(wide, wide="close")
    assert panel["close"].tolist() == tidy("AAPL", "MSFT")["close"].tolist()


def test_what_was_read_says_in_every_backtest_that_its_universe_is_unknown(tmp_path: Path):
    days = pd.bdate_range("2024-01-01", periods=60)
    rows = [f"{day.date()},{100 + i % 7}" for i, day in enumerate(days)]
    panel = read_yahoo_csv(write(tmp_path, "X.csv", "\n".join(["Date,Close", *rows])))
    result = tsf.backtest(tsf.Drift(target="close"), panel, tsf.RollingOrigin(2, 10))
    assert result.verdicts()[-1] == UNKNOWN_UNIVERSE
