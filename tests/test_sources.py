"""What a run reads: what was known at the cut, nothing else, and the same from every place."""

import contextlib
import datetime as dt
import gzip
import os
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import tsforecast as tsf
from tsforecast.batch.config import SourceConfig
from tsforecast.batch.exits import ConfigError, JobError, SourceError
from tsforecast.batch.sources import AsOf, list_series, read_source

DAY = dt.date(2024, 1, 3)
AS_OF = AsOf(DAY)


def prices(names=("A", "B"), n=5, seed=0):
    days = pd.date_range("2024-01-01", periods=n, unit="us")
    index = pd.MultiIndex.from_product([list(names), days], names=["ticker", "date"])
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"close": rng.lognormal(size=len(index))}, index=index)
    frame["volume"] = rng.integers(1, 100, len(index)).astype(float)
    return frame


def source(path=None, **options):
    options = {"series": "ticker", "time": "date", "columns": ("close", "volume"), **options}
    return SourceConfig(path=path, **options)


def written(frame, folder, kind="parquet", name="prices"):
    path = Path(folder) / f"{name}.{kind}"
    flat = frame.reset_index()
    if kind == "parquet":
        flat.to_parquet(path, index=False)
    else:
        flat.to_csv(path, index=False)
    return path


def text(tmp_path, lines, **options):
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    options = {"columns": ("close",), **options}
    return source(path, **options)


def up_to(frame, last):
    return frame[frame.index.get_level_values(1) <= pd.Timestamp(last)]


# --------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz"])
def test_a_file_gives_the_panel_up_to_the_cut(tmp_path, kind):
    frame = prices()
    extract = read_source(source(written(frame, tmp_path, kind)), AS_OF)
    assert_frame_equal(extract.panel, up_to(frame, DAY))
    assert extract.rows == 6
    assert extract.latest == pd.Timestamp(DAY)
    assert extract.dropped == {"after_cut": 4, "superseded": 0, "rejected": 0}
    assert len(extract.rejects) == 0


def test_what_is_read_is_a_panel_as_it_stands(tmp_path):
    panel = read_source(source(written(prices(), tmp_path)), AS_OF).panel
    assert np.shares_memory(tsf.as_panel(panel)["close"], panel["close"])


def test_every_place_gives_the_same_panel_and_digest(tmp_path, postgres):
    frame = prices(["C", "A", "B"])
    shuffled = frame.sample(frac=1, random_state=0)
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    (tmp_path / "parts" / ".hidden.csv").write_text("nothing")
    written(shuffled[:7], tmp_path / "parts", "csv", "one")
    written(shuffled[7:], tmp_path / "parts" / "deep", "csv", "two")
    query = "SELECT * FROM prices WHERE date <= :as_of"
    with postgres.schema() as url:
        places = [
            source(written(shuffled, tmp_path)),
            source(written(shuffled, tmp_path, "csv")),
            source(tmp_path / "parts"),
            source(tmp_path / "parts" / "**" / "*.csv"),
        ]
        for database in (f"sqlite:///{tmp_path}/p.db", url):
            engine = sa.create_engine(database)
            shuffled.reset_index().to_sql("prices", engine, index=False)
            places.append(source(database=database, query=query))
            engine.dispose()
        extracts = [read_source(place, AS_OF) for place in places]
        assert [list_series(place, AS_OF) for place in places] == [["A", "B", "C"]] * 6
        some = [read_source(place, AS_OF, series=["B", "Z"]) for place in places]
    for extract in extracts:
        assert_frame_equal(extract.panel, up_to(frame, DAY).sort_index())
    assert len({extract.digest for extract in extracts}) == 1
    for extract in some:
        assert_frame_equal(extract.panel, up_to(frame, DAY).loc[["B"]], check_freq=False)
    assert len({extract.digest for extract in some}) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.assign(close=f["close"] + 1e-12),
        lambda f: f.iloc[1:],
        lambda f: f.rename(index={"A": "AA"}, level=0),
        lambda f: f.assign(close=f["close"].where(f["close"] > f["close"].min())),
        lambda f: f.rename(columns={"close": "volume", "volume": "close"}),
        lambda f: f.set_index(f.index.set_levels(f.index.levels[1] - pd.Timedelta("1s"), level=1)),
    ],
)
def test_whatever_changes_in_the_rows_changes_the_digest(tmp_path, change):
    frame = prices(n=3)
    before = read_source(source(written(frame, tmp_path)), AS_OF).digest
    after = read_source(source(written(change(frame), tmp_path, name="other")), AS_OF).digest
    assert before != after


def test_rows_after_the_cut_change_nothing(tmp_path):
    frame = prices()
    before = read_source(source(written(frame, tmp_path)), AS_OF)
    frame.loc[frame.index.get_level_values(1) > pd.Timestamp(DAY), "close"] = np.inf
    extra = prices(["LATE"]).iloc[4:]
    after = read_source(source(written(pd.concat([frame, extra]), tmp_path)), AS_OF)
    assert before.digest == after.digest
    assert_frame_equal(before.panel, after.panel)


def test_names_are_text_whatever_they_are_in_the_source(tmp_path):
    frame = prices([7, 10])
    assert list_series(source(written(frame, tmp_path)), AS_OF) == ["10", "7"]
    lines = ["ticker,date,close", "007,2024-01-01,1", "NA,2024-01-01,2", "1.50,2024-01-01,3"]
    assert list_series(text(tmp_path, lines), AS_OF) == ["007", "1.50", "NA"]


def test_all_columns_of_numbers_are_read_where_none_are_named(tmp_path):
    frame = prices(n=3).assign(note="some words", open=1)
    extract = read_source(source(written(frame, tmp_path), columns=()), AS_OF)
    assert list(extract.panel) == ["close", "volume", "open"]
    extract = read_source(source(written(frame, tmp_path, "csv"), columns=()), AS_OF)
    assert list(extract.panel) == ["close", "volume", "open"]


def test_static_columns_are_categories_or_numbers(tmp_path):
    frame = prices(n=3).assign(sector=["x"] * 3 + ["w"] * 3, size=2)
    for kind in ("parquet", "csv"):
        place = source(
            written(frame, tmp_path, kind), columns=("close",), static=("sector", "size")
        )
        panel = read_source(place, AS_OF).panel
        assert panel["sector"].tolist() == frame["sector"].tolist()
        assert list(panel["sector"].cat.categories) == ["w", "x"]
        assert panel["size"].dtype == np.float64


def test_a_source_without_a_column_of_series_is_one_series(tmp_path):
    frame = prices(["A"]).loc["A"]
    place = source(written(frame, tmp_path, "csv"), series=None)
    assert_frame_equal(read_source(place, AS_OF).panel, frame[:3], check_freq=False)
    assert list_series(place, AS_OF) == ["0"]


def test_missing_values_stay_and_numbers_may_begin_as_whole_ones(tmp_path):
    lines = ["ticker,date,close", "A,2024-01-01,1", "A,2024-01-02,", "A,2024-01-03,NA"]
    lines += [f"B{number},2024-01-01,{number}" for number in range(100_000)]
    lines += ["C,2024-01-02 16:00,2.5"]  # long after the block that types are taken from
    panel = read_source(text(tmp_path, lines), AS_OF).panel
    assert panel.loc["A", "close"].isna().tolist() == [False, True, True]
    assert panel.loc["C"].index[0] == pd.Timestamp("2024-01-02 16:00")


@pytest.mark.parametrize(
    "kind", [pa.decimal128(9, 2), pa.int16(), pa.bool_(), pa.float32(), pa.uint64()]
)
def test_numbers_of_any_kind_are_numbers(tmp_path, kind):
    table = pa.table({"ticker": ["A", "A"], "date": [DAY, dt.date(2024, 1, 2)]})
    value = True if kind == pa.bool_() else 1
    table = table.append_column("close", pa.array([value, None], kind))
    pq.write_table(table, tmp_path / "p.parquet")
    panel = read_source(source(tmp_path / "p.parquet", columns=("close",)), AS_OF).panel
    assert panel["close"].tolist()[1] == 1.0
    assert np.isnan(panel["close"].iloc[0])


def test_files_of_different_types_are_one_table(tmp_path):
    one, two = prices(["A"], n=2), prices(["B"], n=2)
    written(one.assign(close=[1, 2]), tmp_path, "parquet", "one")
    written(two, tmp_path, "parquet", "two")
    panel = read_source(source(tmp_path / "*.parquet"), AS_OF).panel
    assert panel["close"].tolist() == [1.0, 2.0, *two["close"]]


@pytest.mark.parametrize("columns", [(), ("close", "volume")])
def test_a_word_in_one_of_many_files_rejects_its_series_and_costs_no_column(tmp_path, columns):
    files = {
        "one": ["ticker,date,close,volume", "A,2024-01-01,1,5", "A,2024-01-02,2.1,6"],
        "two": ["ticker,date,close", "B,2024-01-01,x", "B,2024-01-02,2"],
        "three": ["ticker,date,close,open", "C,2024-01-01,0.1,7"],
    }
    files = {k: v for k, v in files.items() if not columns or "volume" in v[0]}
    if columns:
        files["two"] = ["ticker,date,close,volume", "B,2024-01-01,x,1"]
    for name, lines in files.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    extract = read_source(source(tmp_path, columns=columns), AS_OF)
    assert extract.rejects["series"].tolist() == ["B"]
    assert set(extract.panel) == {"close", "volume", *(() if columns else ("open",))}
    assert extract.panel.loc["A", "volume"].tolist() == [5.0, 6.0]
    assert extract.panel["close"].tolist()[:2] == [1.0, 2.1]


@pytest.mark.parametrize("name", ["target", "q0.5"])
def test_a_column_that_forecasts_have_themselves_is_told(tmp_path, name):
    lines = [f"ticker,date,close,{name}", "A,2024-01-01,1,2"]
    with pytest.raises(SourceError, match=f"found '{name}'. Rename it in the source"):
        read_source(text(tmp_path, lines, columns=()), AS_OF)
    assert read_source(text(tmp_path, lines), AS_OF).rows == 1


# ------------------------------------------------------------------------------------- the cut


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_day_ends_where_clocks_of_the_job_say_so(tmp_path, kind):
    """On 2024-03-10 clocks in New York went forward, on 2024-11-03 back."""
    for day, hours in ((dt.date(2024, 3, 10), 23), (dt.date(2024, 11, 3), 25)):
        times = pd.date_range(f"{day} 04:00", periods=30, freq="h", tz="UTC", unit="us")
        times = times[times.tz_convert("America/New_York").date >= day]
        frame = pd.DataFrame({"ticker": "A", "date": times, "close": 1.0}).set_index("ticker")
        place = source(written(frame, tmp_path, kind), columns=("close",))
        panel = read_source(place, AsOf(day, "America/New_York")).panel
        assert len(panel) == hours
        shown = panel.index.get_level_values(1)
        assert str(shown.tz) == "America/New_York"
        assert set(shown.date) == {day}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_times_without_a_zone_are_those_of_the_clock(tmp_path, kind):
    times = pd.to_datetime(["2024-01-03 23:59:59.999999", "2024-01-04 00:00"], format="ISO8601")
    frame = pd.DataFrame({"ticker": "A", "date": times, "close": 1.0}).set_index("ticker")
    place = source(written(frame, tmp_path, kind), columns=("close",))
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        assert read_source(place, AsOf(DAY, zone)).panel.index[0][1] == times[0]
        assert read_source(place, AsOf(DAY, zone)).rows == 1


@pytest.mark.parametrize(
    ("day", "zone", "ends"),
    [
        ("2018-11-03", "America/Sao_Paulo", "2018-11-04T03:00"),  # midnight was left out
        ("2018-02-17", "America/Sao_Paulo", "2018-02-18T03:00"),  # the hour before came twice
        ("2024-11-02", "America/Havana", "2024-11-03T04:00"),  # midnight came twice: the first
        ("2011-12-29", "Pacific/Apia", "2011-12-30T10:00"),  # the next day was left out
    ],
)
def test_the_cut_is_right_where_clocks_change_at_midnight(day, zone, ends):
    moment = AsOf(dt.date.fromisoformat(day), zone).moment
    assert moment == dt.datetime.fromisoformat(ends).replace(tzinfo=dt.UTC)


def test_a_date_beyond_all_calendars_is_told():
    with pytest.raises(ConfigError, match="a year of at most 9998"):
        _ = AsOf(dt.date.max).clock


@pytest.mark.parametrize("kind", ["date32", "date64", "s", "ms", "ns", "text"])
def test_dates_of_any_kind_end_with_the_run_date(tmp_path, kind):
    days = pa.array([dt.date(2024, 1, d) for d in (2, 3, 4)])
    if kind == "text":
        days = days.cast(pa.string())
    elif not kind.startswith("date"):
        days = days.cast(pa.timestamp(kind))
    elif kind == "date64":
        days = days.cast(pa.date64())
    table = pa.table({"ticker": ["A"] * 3, "date": days, "close": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "p.parquet")
    panel = read_source(source(tmp_path / "p.parquet", columns=("close",)), AS_OF).panel
    assert panel["close"].tolist() == [1.0, 2.0]
    assert panel.index.levels[1].dtype == "datetime64[us]"


@pytest.mark.parametrize("year", [1600, 3000])
def test_a_date_that_nanoseconds_cannot_hold_is_one(tmp_path, year):
    frame = prices()
    frame.index = frame.index.set_levels(frame.index.levels[1].as_unit("ns"), level=1)
    place = source(written(frame, tmp_path))
    if year == 3000:
        assert read_source(place, AsOf(dt.date(year, 1, 1))).rows == 10
    else:
        with pytest.raises(SourceError, match=r"found none \(10 lie after it"):
            read_source(place, AsOf(dt.date(year, 1, 1)))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_became_known_after_the_cut_is_not_read(tmp_path, kind):
    times = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-01"])
    known = pd.to_datetime(["2024-01-02", "2024-01-04", None, "2024-01-03 23:00"], format="ISO8601")
    frame = pd.DataFrame(
        {"ticker": list("AAAB"), "date": times, "known": known, "close": [1.0, 2.0, 3.0, 4.0]}
    ).set_index("ticker")
    place = source(written(frame, tmp_path, kind), columns=("close",), available_column="known")
    extract = read_source(place, AS_OF)
    assert extract.panel["close"].tolist() == [1.0, 4.0]
    assert extract.dropped["after_cut"] == 2


def test_of_revisions_the_last_one_that_was_known_counts(tmp_path):
    known = pd.to_datetime(["2024-01-03", "2024-01-02", "2024-01-05", "2024-01-02", "2024-01-02"])
    frame = pd.DataFrame(
        {
            "ticker": list("AAABB"),
            "date": pd.Timestamp("2024-01-01"),
            "known": known,
            "close": [2.0, 1.0, 3.0, 7.0, 8.0],
        }
    ).set_index("ticker")
    place = source(written(frame, tmp_path), columns=("close",), available_column="known")
    extract = read_source(place, AS_OF)
    assert extract.panel["close"].tolist() == [2.0]
    assert extract.dropped["superseded"] == 2
    assert extract.rejects["series"].tolist() == ["B"]
    assert "became known together" in extract.rejects["message"][0]


@pytest.mark.parametrize(
    ("day", "zone"),
    [
        (DAY, "UTC"),
        (DAY, "Asia/Tokyo"),
        (DAY, "America/New_York"),
        (dt.date(2025, 4, 5), "America/Santiago"),  # the hour before midnight comes twice
    ],
)
def test_a_query_compares_clocks_and_moments_as_the_job_does(postgres, day, zone):
    as_of = AsOf(day, zone)
    last = pd.Timestamp(as_of.moment) - pd.Timedelta("1us")
    with postgres.schema() as url:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "CREATE TABLE x (id int, day date, clock timestamp, moment timestamptz, "
                    "v numeric, note text)"
                )
            )
            connection.execute(
                sa.text("INSERT INTO x VALUES (:i, :day, :clock, :moment, :v, 'a:b, ''%'' \"q\"')"),
                [
                    {"i": 1, "day": day, "clock": as_of.last, "moment": last, "v": 1},
                    {
                        "i": 2,
                        "day": day + dt.timedelta(days=1),
                        "clock": as_of.last + dt.timedelta(microseconds=1),
                        "moment": as_of.moment,
                        "v": 2.5,
                    },
                ],
            )
        engine.dispose()
        for column in ("day", "clock", "moment"):
            for where in (f"WHERE {column} <= :as_of", "WHERE note LIKE 'a%' AND v::int > 0;"):
                place = source(
                    database=url, query=f"SELECT * FROM x {where}", series="id", time=column,
                    columns=("v",),
                )  # fmt: skip
                extract = read_source(place, as_of)
                assert extract.panel.index.get_level_values(0).tolist() == ["1"]
                assert extract.dropped["after_cut"] == (0 if "as_of" in where else 1)
                assert read_source(place, as_of, series=["1"]).rows == 1
                with pytest.raises(SourceError, match="expected rows up to the end"):
                    read_source(place, as_of, series=["2"])


def database(request, stack, tmp_path, kind):
    """URL of an empty database, of SQLite or PostgreSQL."""
    if kind == "postgres":
        return stack.enter_context(request.getfixturevalue("postgres").schema())
    return f"sqlite:///{tmp_path}/p.db"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_query_that_writes_is_refused(request, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        url = database(request, stack, tmp_path, kind)
        engine = sa.create_engine(url)
        prices().reset_index().to_sql("prices", engine, index=False)
        engine.dispose()
        place = source(database=url, query="DELETE FROM prices RETURNING *")
        with pytest.raises(SourceError, match=r"read-only transaction|readonly database"):
            read_source(place, AS_OF)
        assert read_source(source(database=url, query="SELECT * FROM prices"), AS_OF).rows == 6


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_parameter_that_no_job_has_is_told(request, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        url = database(request, stack, tmp_path, kind)
        engine = sa.create_engine(url)
        prices().reset_index().to_sql("prices", engine, index=False)
        engine.dispose()
        with pytest.raises(
            SourceError, match="no parameters but :as_of and :run_date, found :asof"
        ):
            read_source(
                source(database=url, query="SELECT * FROM prices WHERE date <= :asof"), AS_OF
            )
        query = r"SELECT *, 'a \:asof' AS note FROM prices WHERE date <= :as_of"
        assert read_source(source(database=url, query=query), AS_OF).rows == 6


@pytest.mark.parametrize("mark", ["T", " "])
def test_sqlite_compares_times_up_to_the_cut_however_they_are_spelt(tmp_path, mark):
    stamps = [f"2024-01-02{mark}00:00:00", f"2024-01-02{mark}23:59:59.999999",
              f"2024-01-03{mark}00:00:00", "2024-01-01", "2024-01-03"]  # fmt: skip
    with contextlib.closing(sqlite3.connect(tmp_path / "p.db")) as connection:
        connection.execute("CREATE TABLE prices (date TEXT, close REAL)")
        rows = [(stamp, float(at)) for at, stamp in enumerate(stamps)]
        connection.executemany("INSERT INTO prices VALUES (?, ?)", rows)
        connection.commit()
    for where in (
        "date <= :as_of",
        "date <= :as_of AND date >= datetime(:as_of, '-3 days')",
        "date(date) <= :run_date",
    ):
        query = f"SELECT * FROM prices WHERE {where}"
        place = SourceConfig(database=f"sqlite:///{tmp_path}/p.db", query=query, time="date")
        extract = read_source(place, AsOf(dt.date(2024, 1, 2)))
        assert extract.panel["close"].tolist() == [3.0, 0.0, 1.0]
        assert extract.dropped["after_cut"] == 0


def test_a_parameter_can_be_cast_as_postgres_writes_it(postgres):
    with postgres.schema() as url:
        engine = sa.create_engine(url)
        prices().reset_index().to_sql("prices", engine, index=False)
        engine.dispose()
        query = "SELECT * FROM prices WHERE date = :run_date::date AND date <= :as_of::timestamptz"
        assert read_source(source(database=url, query=query), AS_OF).rows == 2


def test_yes_and_no_of_a_database_are_numbers(postgres, tmp_path):
    lines = [HEADER, "A,2024-01-01,t", "A,2024-01-02,f", "A,2024-01-03,"]
    with postgres.schema() as url:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE p (ticker text, date date, close boolean)")
            connection.exec_driver_sql(
                "INSERT INTO p VALUES ('A', '2024-01-01', true), ('A', '2024-01-02', false), "
                "('A', '2024-01-03', NULL)"
            )
        engine.dispose()
        places = [
            source(database=url, query="SELECT * FROM p", columns=("close",)),
            text(tmp_path, lines),
        ]
        for place in places:
            values = read_source(place, AS_OF).panel["close"].to_numpy()
            assert np.array_equal(values, [1.0, 0.0, np.nan], equal_nan=True)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_query_that_gives_no_rows_is_told_so(request, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        url = database(request, stack, tmp_path, kind)
        engine = sa.create_engine(url)
        prices().reset_index().to_sql("prices", engine, index=False)
        engine.dispose()
        place = source(database=url, query="SELECT * FROM prices WHERE 1 = 0")
        with pytest.raises(SourceError, match="expected rows up to the end of .*, found none"):
            read_source(place, AS_OF)


def test_rows_of_a_database_are_the_same_in_blocks_of_any_kind(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/p.db"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE p (ticker, date, close)")
        connection.exec_driver_sql(
            "INSERT INTO p VALUES (1, '2024-01-01', 1), (1, '2024-01-02', NULL), "
            "(1, '2024-01-03', 2.5), ('B', '2024-01-01', '7'), ('C', '2024-01-01', 'x'), "
            "('D', '2024-01-01', NULL)"
        )
    engine.dispose()
    place = source(database=url, query="SELECT * FROM p", columns=("close",))
    whole = read_source(place, AS_OF)
    assert whole.panel["close"].loc["1"].tolist()[::2] == [1.0, 2.5]
    assert whole.panel["close"].loc["B"].tolist() == [7.0]
    assert whole.rejects["series"].tolist() == ["C"]
    for rows in (1, 2, 3):
        monkeypatch.setattr("tsforecast.batch.readers._ROWS", rows)
        assert read_source(place, AS_OF).digest == whole.digest


# --------------------------------------------------------------------------- what cannot be used

HEADER = "ticker,date,close"
GOOD = ["B,2024-01-01,1", "B,2024-01-02,2"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (["A,2024-01-01,x"], "value of column 'close' that is no number (1 rows)"),
        (["A,2024-01-01,inf"], "infinite value of column 'close' (1 rows)"),
        (["A,2024-01-01,1", "A,2024-01-01,1"], "two rows at one time"),
        (["A,not a date,1"], "no usable time"),
        (["A,,1"], "no usable time"),
        (["A,2024-13-01,1"], "no usable time"),
        (["A,2024-01-01T10:00+01:00,1"], "no usable time"),
        (["A,2024-01-01"], "too few or too many fields"),
        (["A,2024-01-01,1,2"], "too few or too many fields"),
        ([",2024-01-01,1"], "1 rows name no series"),
        (["A\0,2024-01-01,1"], "NUL"),
        (["A" * 1_001 + ",2024-01-01,1"], "a name of more than 1000 bytes"),
    ],
)
def test_a_series_with_a_row_that_cannot_be_used_is_rejected_and_the_others_go_on(
    tmp_path, bad, said
):
    extract = read_source(text(tmp_path, [HEADER, *bad, *GOOD, "A,2024-01-02,5"]), AS_OF)
    expected = {"B": 2} if bad[0][0] == "A" and bad[0][1] == "," else {"A": 1, "B": 2}
    assert extract.panel.groupby(level=0).size().to_dict() == expected
    assert len(extract.rejects) == 1
    assert extract.rejects["stage"].tolist() == ["read"]
    assert said in extract.rejects["message"][0]
    again = read_source(text(tmp_path, [HEADER, "A,2024-01-02,5", *GOOD[::-1], *bad]), AS_OF)
    assert again.digest == extract.digest


def test_a_row_without_a_time_is_not_passed_over_in_a_file_of_types(tmp_path):
    frame = prices(n=3).reset_index()
    frame.loc[0, "date"] = pd.NaT
    extract = read_source(source(written(frame.set_index("ticker"), tmp_path)), AS_OF)
    assert extract.rejects["series"].tolist() == ["A"]
    assert extract.rows == 3


@pytest.mark.parametrize(
    "bad",
    [
        ["A,2024-01-04,x"],
        ["A,2024-01-04,inf"],
        ["A,2024-01-04"],
        [f"A,2024-02-{day:02d}T00:00:00+01:00,1" for day in range(1, 20)],  # most have a zone now
    ],
)
def test_a_row_after_the_cut_rejects_nothing(tmp_path, bad):
    extract = read_source(text(tmp_path, [HEADER, "A,2024-01-01,5", *GOOD, *bad]), AS_OF)
    assert len(extract.rejects) == 0
    assert extract.rows == 3
    before = read_source(text(tmp_path, [HEADER, "A,2024-01-01,5", *GOOD]), AS_OF)
    assert extract.digest == before.digest


@pytest.mark.parametrize(
    "bad",
    [
        ["A,2024-01-02,1,2024-01-05,too,many"],
        ["A,2024-01-02,x,2024-01-05"],
        ["A,2024-01-04,1,soon"] * 9,
        ["A,2024-01-04,1,2024-01-05T00:00Z"] * 9,
    ],
)
def test_a_row_that_became_known_after_the_cut_rejects_nothing(tmp_path, bad):
    lines = [f"{HEADER},known", "A,2024-01-01,5,2024-01-01", "B,2024-01-01,1,2024-01-03"]
    before = read_source(text(tmp_path, lines, available_column="known"), AS_OF)
    extract = read_source(text(tmp_path, [*lines, *bad], available_column="known"), AS_OF)
    assert before.rows == 2
    assert extract.digest == before.digest


def test_messages_hold_no_value_of_the_data(tmp_path):
    extract = read_source(text(tmp_path, [HEADER, "A,2024-01-01,secret", *GOOD]), AS_OF)
    assert "secret" not in extract.rejects["message"][0]


@pytest.mark.parametrize("kind", ["float", "date", "int"])
def test_messages_of_a_database_hold_no_value_of_the_data(postgres, kind):
    query = f"SELECT 'A' AS ticker, v::{kind} AS date FROM (VALUES ('Jane \"x\" Doe')) AS p (v)"
    with pytest.raises(SourceError, match="invalid input syntax") as caught:
        read_source(source(database=postgres.url(), query=query), AS_OF)
    assert "Jane" not in str(caught.value) and "Doe" not in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_words_in_a_database_of_numbers_reject_their_series(request, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        url = database(request, stack, tmp_path, kind)
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE p (ticker text, date text, close text)")
            connection.exec_driver_sql(
                "INSERT INTO p VALUES ('A', '2024-01-01', '1'), ('A', '2024-01-02', 'x'), "
                "('B', '2024-01-01', '2.5'), ('C', NULL, '1'), (NULL, '2024-01-01', '1'), "
                "('two\nlines', '2024-01-01', NULL)"
            )
        engine.dispose()
        place = source(database=url, query="SELECT * FROM p", columns=("close",))
        extract = read_source(place, AS_OF)
    assert extract.panel["close"].loc["B"].tolist() == [2.5]
    assert extract.panel.index.get_level_values(0).tolist() == ["B", "two\nlines"]
    assert extract.rejects["series"].tolist() == ["", "A", "C"]


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        ([HEADER], {}, "expected rows up to the end of 2024-01-03, UTC, found none"),
        ([HEADER, "A,2024-02-01,1"], {}, r"found none \(1 lie after it"),
        (
            [HEADER, "A,1,1"],
            {},
            "'date': expected dates or times.* found values of type int",
        ),
        ([HEADER, "A,x,1"], {}, "column 'date': expected dates or times"),
        ([HEADER, "A,2024-01-01,x"], {}, "column 'close': expected numbers, found 1 of 1"),
        ([HEADER, *GOOD], {"columns": ("clsoe",)}, "Did you mean 'close'"),
        (["ticker,date,close,close", "A,2024-01-01,1,2"], {}, "'close' more than once"),
        ([""], {}, "an error|no 'ticker'"),
        (["ticker,date,note", "A,2024-01-01,x"], {"columns": ()}, "at least one column of numbers"),
    ],
)
def test_a_source_that_cannot_be_used_is_told(tmp_path, lines, options, said):
    with pytest.raises(SourceError, match=said):
        read_source(text(tmp_path, lines, **options), AS_OF)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"path": Path("no/such/*.csv")}, "of one kind, found none"),
        ({"database": "sqlite:////no/such/p.db", "query": "SELECT 1"}, "expected a file"),
        ({"database": "sqlite:///:memory:", "query": "SELECT * FROM p"}, "no such table: p"),
        ({"database": "sqlite:///:memory:", "query": "SELECT 1 WHERE 1 = :cut"}, "'cut'|cut"),
        (
            {"database": "postgresql://me@localhost:1/x", "query": "SELECT 1", "password": "hush"},
            "source postgresql",
        ),
    ],
)
def test_a_place_that_cannot_be_read_is_told_without_its_password(config, said):
    with pytest.raises(SourceError, match=said) as caught:
        read_source(source(**config), AS_OF)
    assert "hush" not in str(caught.value)


def test_a_password_beside_sqlite_is_an_error_of_the_configuration():
    wrong = source(database="sqlite:///p.db", query="SELECT 1", password="hush")
    with pytest.raises(ConfigError, match="Unset TSFORECAST_SOURCE__PASSWORD") as caught:
        read_source(wrong, AS_OF)
    assert "hush" not in str(caught.value)


def test_a_folder_of_files_of_two_kinds_is_told(tmp_path):
    written(prices(), tmp_path)
    written(prices(), tmp_path, "csv")
    with pytest.raises(SourceError, match="of one kind, found 2 files"):
        read_source(source(tmp_path), AS_OF)


# ------------------------------------------------------------------------------------- any bytes

FUZZ = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CELL = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["A", "B", "2024-01-01", "2024-01-02T03:04:05Z", "0001-01-01", "9999-12-31", "1e999"]
        + ["-1", "0x10", '"', "'", "\0", "\r", "nan", "2024-01-01 00:00:00+99:99", "1_0", "٣"]
    ),
)


def read_or_told(place):
    """Either a panel that keeps its promises, or our error."""
    try:
        extract = read_source(place, AS_OF)
    except JobError:
        return
    if len(extract.panel):
        again = tsf.as_panel(extract.panel)
        assert np.isfinite(again["close"].dropna()).all()
        times = again.index.get_level_values(1)
        times = times if times.tz is None else times.tz_convert("UTC").tz_localize(None)
        assert times.max() < pd.Timestamp(AS_OF.clock)
        assert not set(again.index.get_level_values(0)) & set(extract.rejects["series"])


@FUZZ
@pytest.mark.filterwarnings("error")
@given(st.binary(max_size=200))
@example(b"ticker,date,close\nA,2024-01-01,1\nA,\x9a\n")
@example(b"\xef\xbb\xbfticker,date,close\nA,2024-01-01,1\n")
@example(b"ticker,date,close\nA,2024-01-01,\xff\n")
@example(b"ticker,date,close\n\xff,2024-01-01,1\n")
def test_any_bytes_are_read_or_told(tmp_path, data):
    (tmp_path / "p.csv").write_bytes(data)
    read_or_told(source(tmp_path / "p.csv", columns=("close",)))


@FUZZ
@given(st.lists(st.lists(CELL, min_size=2, max_size=4), max_size=6), st.booleans())
def test_any_cells_are_read_or_told(tmp_path, rows, quoted):
    import csv

    with open(tmp_path / "p.csv", "w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
        writer.writerow(["ticker", "date", "close"])
        writer.writerow(["G", "2024-01-02", "1.5"])
        writer.writerows(rows)
    read_or_told(source(tmp_path / "p.csv", columns=("close",)))


@FUZZ
@given(st.data())
def test_a_parquet_file_with_bytes_that_have_changed_is_read_or_told(tmp_path, data):
    whole = written(prices(), tmp_path).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    path = tmp_path / "changed.parquet"
    path.write_bytes(whole[:at] if cut else whole[:at] + b"\x7f" + whole[at + 1 :])
    read_or_told(source(path, columns=("close",)))


@pytest.mark.slow
@pytest.mark.parametrize("value", [0x00, 0x7F, 0xFF])
def test_any_byte_of_a_parquet_file_may_change(tmp_path, value):
    """Some bytes of its end, looked at in the wrong way, end the process."""
    whole = written(prices(), tmp_path).read_bytes()
    path = tmp_path / "changed.parquet"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
        read_or_told(source(path, columns=("close",)))


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"ticker,date,close\nA,2024-01-01,1\nA,\x9a\n")
    with pytest.raises(SourceError, match="text encoded as UTF-8"):
        read_source(source(tmp_path / "p.csv", columns=("close",)), AS_OF)


def test_a_compressed_file_that_breaks_off_is_told(tmp_path):
    whole = gzip.compress(written(prices(), tmp_path, "csv").read_bytes())
    (tmp_path / "p.csv.gz").write_bytes(whole[:-20])
    with pytest.raises(SourceError, match="can be read"):
        read_source(source(tmp_path / "p.csv.gz"), AS_OF)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path):
    path = written(prices(), tmp_path)
    path.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        read_source(source(path), AS_OF)


def test_many_rows_in_any_order_are_sorted_without_a_loop(tmp_path):
    names = [f"T{number:05d}" for number in range(2_000)]
    frame = prices(names, n=150)
    order = np.random.default_rng(0).permutation(len(frame))
    place = source(written(frame.iloc[order], tmp_path))
    extract = read_source(place, AsOf(dt.date(2030, 1, 1)))
    assert_frame_equal(extract.panel, frame)
