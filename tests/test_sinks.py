"""What is written is what was forecast, is seen as a whole or not at all, and outlives a kill."""

import contextlib
import datetime as dt
import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from pandas.testing import assert_frame_equal

from tsforecast.batch import databases, parquet
from tsforecast.batch.config import SinkConfig
from tsforecast.batch.exits import ConfigError, LockedError, SinkError
from tsforecast.batch.ledger import unwritable
from tsforecast.batch.sinks import RunKey, open_sink

DAY = dt.date(2024, 1, 2)
KEY = RunKey("prices", DAY, "lstm/1", "c0ffee")
PLACES = ("parquet", "sqlite", "postgres")
# what breaks writers that quote by hand
NAMES = ["BRK/B", "CON", "a,b", 'say "no"', "it's", "two\nlines", r"\N", "NULL", "Ünï", " "]


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    if request.param == "parquet":
        yield SinkConfig(path=tmp_path / "out")
    elif request.param == "sqlite":
        yield SinkConfig(database=f"sqlite:///{tmp_path}/forecasts.db")
    else:
        with request.getfixturevalue("postgres").schema() as url:
            yield SinkConfig(database=url)


def forecasts(names=("A", "B"), value=1.0, levels=(0.1, 0.9), tz=None, target="close"):
    steps = pd.date_range("2024-01-03", periods=2, tz=tz, unit="us")
    index = pd.MultiIndex.from_product([list(names), steps], names=["ticker", "date"])
    frame = pd.DataFrame(index=index)
    frame["target"] = target
    frame["cutoff"] = pd.Timestamp("2024-01-02", tz=tz).as_unit("us")
    frame["step"] = np.tile([1, 2], len(names))
    frame["forecast"] = value + np.arange(len(index)) / 8
    for level in levels:
        frame[f"q{level}"] = frame["forecast"] * level
    return frame


def risks(names=("A", "B"), value=0.25):
    time = pd.Timestamp("2024-01-02 10:00").as_unit("us")
    columns = {"series": list(names), "time": time, "risk": value, "risk_1": value / 2}
    return pd.DataFrame(columns)


def rejects(*names):
    lines = [(name, "score", "DataError", "too few rows") for name in names]
    return pd.DataFrame(lines, columns=["series", "stage", "error", "message"])


def write(place, parts, *, key=KEY, data="d0", status="ok", job="prices", **options):
    with open_sink(place, job) as sink:
        attempt = sink.begin(key, data_digest=data, parts=len(parts), **options)
        for number, part in enumerate(parts):
            if number not in attempt.committed:
                sink.write_part(attempt, number, part)
        sink.finish(attempt, status, {"n": 1})
        return attempt


def seen(place, job="prices", what="forecasts", **chosen):
    with open_sink(place, job) as sink:
        return getattr(sink, what)(**chosen)


def ledger(place, job="prices"):
    runs = seen(place, job, "runs")
    return list(zip(runs["status"], runs["visible"], runs["parts_done"], runs["rows"]))


# ------------------------------------------------------------------------------- what is written


def test_forecasts_come_back_as_they_were_given(place):
    parts = [forecasts(["B", "A"]), pd.DataFrame(), forecasts(["C"], 5.0)]
    write(place, parts)
    expected = pd.concat([parts[0], parts[2]]).sort_index().reset_index()
    expected = expected.rename(columns={"ticker": "series", "date": "time"})
    found = seen(place)
    assert (found["run_date"] == DAY).all()
    assert (found["model"] == "lstm/1").all()
    assert (found["source"] == "model").all()
    names = ["series", "target", "time", "cutoff", "step", "forecast", "q0.1", "q0.9"]
    assert_frame_equal(found[names], expected[names])
    assert list(found) == ["run_date", "model", *names[:5], "source", *names[5:]]


def test_risks_come_back_as_they_were_given(place):
    write(place, [risks()])
    found = seen(place, what="risks")
    assert_frame_equal(found[["series", "time", "risk", "risk_1"]], risks())
    assert len(seen(place)) == 0


def test_names_that_quoting_breaks_on_come_back(place):
    write(place, [forecasts(NAMES)])
    assert seen(place)["series"].unique().tolist() == sorted(NAMES)


def test_numbers_come_back_to_the_last_digit(place):
    values = np.random.default_rng(0).standard_normal(2_000) * 10.0 ** np.arange(-300, 300, 0.3)
    values = np.concatenate([values, [5e-324, -0.0, np.pi, 1e16 + 2, np.finfo(float).max]])
    frame = risks([f"{number:05d}" for number in range(len(values))]).assign(risk=values)
    write(place, [frame])
    found = seen(place, what="risks")["risk"].to_numpy()
    assert np.array_equal(found, values)


def test_times_with_a_zone_are_the_same_moments_across_a_change_of_clocks(place):
    hours = pd.date_range("2024-11-03 04:00", periods=4, freq="h", tz="UTC", unit="us")
    hours = hours.tz_convert("America/New_York")  # 1 o'clock comes twice
    frame = pd.DataFrame({"series": "A", "time": hours, "risk": [0.1, 0.2, 0.3, 0.4]})
    write(place, [frame])
    found = seen(place, what="risks")
    assert_frame_equal(found[["series", "time", "risk"]], frame)


def test_times_with_a_zone_beside_times_without_one_are_text_so_that_no_wrong_one_is_read(
    place, tmp_path
):
    for day, tz in ((1, "America/New_York"), (2, None), (3, "UTC")):
        key = RunKey("prices", dt.date(2024, 1, day), "lstm/1", "c0ffee")
        write(place, [forecasts(["B"], tz=tz), forecasts(["A"], tz=tz)], key=key)
    found = seen(place)
    found.to_csv(tmp_path / "a.csv", index=False)
    found.to_parquet(tmp_path / "a.parquet", index=False)
    for each in (found, pd.read_csv(tmp_path / "a.csv"), pd.read_parquet(tmp_path / "a.parquet")):
        assert each["series"].tolist() == ["A", "A", "B", "B"] * 3
        assert each["time"].tolist()[::2] == [
            "2024-01-03 00:00:00-05:00", "2024-01-03 00:00:00-05:00",
            "2024-01-03 00:00:00", "2024-01-03 00:00:00",
            "2024-01-03 00:00:00+00:00", "2024-01-03 00:00:00+00:00",
        ]  # fmt: skip
        assert each["cutoff"].tolist()[::4] == [
            "2024-01-02 00:00:00-05:00", "2024-01-02 00:00:00", "2024-01-02 00:00:00+00:00"
        ]  # fmt: skip
    assert found["q0.9"].dtype == np.float64 and found["step"].tolist() == [1, 2] * 6
    assert seen(place, run_date=dt.date(2024, 1, 2))["time"].dt.tz is None
    assert str(seen(place, run_date=dt.date(2024, 1, 1))["time"].dt.tz) == "America/New_York"


def test_times_of_several_zones_are_in_utc(place):
    hours = pd.date_range("2024-10-27", periods=3, freq="h", tz="UTC", unit="us")
    for day, tz in ((1, "Europe/Berlin"), (2, "America/New_York")):
        rows = pd.DataFrame({"series": "A", "time": hours.tz_convert(tz), "risk": [0.1, 0.2, 0.3]})
        key = RunKey("prices", dt.date(2024, 1, day), "lstm/1", "c0ffee")
        write(place, [rows.iloc[::-1]], key=key)
    found = seen(place, what="risks")
    assert found["time"].tolist() == [*hours, *hours] and str(found["time"].dt.tz) == "UTC"
    assert found["risk"].tolist() == [0.1, 0.2, 0.3] * 2


def test_missing_numbers_beside_the_forecast_are_missing_and_infinite_ones_too(place):
    frame = forecasts(["A"])
    frame["q0.1"] = [np.nan, -np.inf]
    write(place, [frame])
    found = seen(place)
    assert "q0.1" not in found
    assert found["q0.9"].notna().all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_forecast_that_is_no_finite_number_is_refused_and_nothing_of_its_part_is_written(
    place, value
):
    frame = forecasts(["A", "B"])
    frame.loc["B", "forecast"] = value
    assert unwritable(frame) == ["B"]
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d0", parts=1)
        with pytest.raises(SinkError, match="missing or infinite ones in 1 series"):
            sink.write_part(attempt, 0, frame)
        assert sink.runs()["parts_done"].tolist() == [0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="step"), r"none named \['step'\]"),
        (lambda f: f.assign(note="x"), "columns 'note'"),
        (lambda f: f.assign(**{"q0.1; drop table tsf_runs": 1.0}), "columns 'q0.1; drop"),
        (lambda f: f.assign(run_id=1.0), "columns 'run_id'"),
        (lambda f: f.assign(q0_1=1.0), "columns 'q0_1'"),
        (lambda f: pd.concat([f, f]), "each .* once, found 2 of them again"),
        (lambda f: f.assign(cutoff=f["cutoff"].dt.tz_localize("UTC")), "times of one zone"),
        (lambda f: f.assign(cutoff=3), "expected dates or times, found dtype int64"),
        (lambda f: f.reset_index(drop=True), r"two levels, \(series, time\)"),
    ],
)
def test_rows_that_are_no_forecast_are_refused_by_name(tmp_path, change, said):
    with pytest.raises(SinkError, match=said):
        write(SinkConfig(database=f"sqlite:///{tmp_path}/a.db"), [change(forecasts(["A"]))])


def test_columns_that_are_new_are_added_and_runs_before_keep_theirs(place):
    later = RunKey("prices", dt.date(2024, 1, 3), "lstm/1", "c0ffee")
    write(place, [forecasts(levels=(0.5,))])
    write(place, [forecasts(levels=(0.05, 0.5))], key=later)
    assert [c for c in seen(place, run_date=DAY) if c.startswith("q")] == ["q0.5"]
    both = seen(place)
    assert both["q0.05"].isna().tolist() == [True] * 4 + [False] * 4
    assert both["q0.5"].notna().all()


def test_jobs_share_a_place_without_seeing_each_other(place):
    other = RunKey("vitals", DAY, "gru/1", "c0ffee")
    write(place, [forecasts()])
    write(place, [risks()], key=other, job="vitals")
    assert len(seen(place)) == 4
    assert len(seen(place, "vitals")) == 0
    assert len(seen(place, "vitals", "risks")) == 2
    assert len(ledger(place)) == len(ledger(place, "vitals")) == 1


def test_a_date_and_a_model_are_chosen(place):
    for day, model in ((1, "a"), (2, "b"), (3, "a")):
        write(place, [forecasts()], key=RunKey("prices", dt.date(2024, 1, day), model, "c"))
    assert len(seen(place)) == 12
    assert len(seen(place, run_date=dt.date(2024, 1, 2))) == 4
    assert len(seen(place, run_date=dt.date(2024, 1, 2), model="b")) == 4
    assert len(seen(place, run_date=dt.date(2024, 1, 2), model="a")) == 0
    assert len(seen(place, model="a")) == 8
    assert len(seen(place, model="c")) == 0


def test_rejects_are_those_of_the_newest_attempt(place):
    with open_sink(place, "prices") as sink:
        for data, names in (("d0", ["X", "Y"]), ("d1", ["it's"])):
            attempt = sink.begin(KEY, data_digest=data, parts=1)
            sink.write_part(attempt, 0, forecasts(), rejects(*names))
            sink.finish(attempt, "ok" if data == "d0" else "failed")
            found = sink.rejects()
            assert found["series"].tolist() == names
            assert found["message"].tolist() == ["too few rows"] * len(names)
        assert sink.runs()["rejects"].tolist() == [2, 1]


def test_an_empty_place_has_empty_tables_and_is_left_empty(place):
    for what in ("forecasts", "risks", "rejects", "runs"):
        assert len(seen(place, what=what)) == 0
    with open_sink(place, "prices") as sink:
        assert sink.fail_open() == 0
    assert place.path is None or not place.path.exists()
    file = str(place.database).removeprefix("sqlite:///")
    assert place.path is not None or not Path(file).exists()


# ------------------------------------------------------------------------------- what is seen


def test_nothing_of_a_run_is_seen_before_its_end(place):
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d0", parts=2)
        sink.write_part(attempt, 0, forecasts(["A"]))
        sink.write_part(attempt, 1, forecasts(["B"]))
        assert len(sink.forecasts()) == len(seen(place)) == 0
        assert ledger(place) == [("open", False, 2, 4)]
        sink.finish(attempt, "ok", {"seconds": 1.5, "share": np.nan})
        assert len(sink.forecasts()) == len(seen(place)) == 4
        assert ledger(place) == [("ok", True, 2, 4)]
        assert sink.runs()["summary"].tolist() == [{"seconds": 1.5, "share": None}]


def test_a_repeat_with_the_same_data_has_nothing_to_do(place):
    write(place, [forecasts(["A"]), forecasts(["B"])])
    before = seen(place)
    again = write(place, [forecasts(["A"]), forecasts(["B"])])
    assert again.done and again.resumed and again.committed == {0, 1}
    assert_frame_equal(seen(place), before)
    assert len(ledger(place)) == 1


def test_other_data_replace_the_run_before_as_a_whole(place):
    write(place, [forecasts(["A", "B"])])
    write(place, [forecasts(["B", "C"], 7.0)], data="d1")
    found = seen(place)
    assert found["series"].tolist() == ["B", "B", "C", "C"]
    assert (found["forecast"] >= 7).all()
    assert ledger(place) == [("replaced", False, 1, 4), ("ok", True, 1, 4)]


def test_a_run_that_fails_leaves_what_was_seen(place):
    write(place, [forecasts()])
    before = seen(place)
    write(place, [forecasts(value=9.0)], data="d1", status="failed")
    assert_frame_equal(seen(place), before)
    assert [line[0] for line in ledger(place)] == ["ok", "failed"]


def test_a_run_goes_on_where_it_has_ended(place):
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d0", parts=2, part_size=1)
        sink.write_part(attempt, 1, forecasts(["B"]))
    assert ledger(place) == [("open", False, 1, 2)]
    with open_sink(place, "prices") as sink:
        assert sink.fail_open() == 1
        assert sink.runs()["status"].tolist() == ["failed"]
        assert "ended before" in sink.runs()["summary"][0]["error"]
        attempt = sink.begin(KEY, data_digest="d0", parts=2, part_size=1)
        assert attempt.resumed and not attempt.done and attempt.committed == {1}
        sink.write_part(attempt, 0, forecasts(["A"]))
        sink.finish(attempt, "ok")
    assert seen(place)["series"].unique().tolist() == ["A", "B"]
    assert ledger(place) == [("ok", True, 2, 4)]


@pytest.mark.parametrize(
    "other",
    [{"data_digest": "d1"}, {"part_size": 2}, {"parts": 3}, {"resume": False}],
    ids=lambda other: next(iter(other)),
)
def test_a_run_begins_anew_where_parts_would_be_others(place, other):
    same = {"data_digest": "d0", "parts": 2, "part_size": 1}
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, **same)
        sink.write_part(attempt, 0, forecasts(["A"]))
        again = sink.begin(KEY, **{**same, **other})
        assert again.id != attempt.id and not again.committed and not again.resumed
        with pytest.raises(SinkError, match="one that is open, found one that is 'failed'"):
            sink.write_part(attempt, 1, forecasts(["B"]))


def test_a_part_that_is_written_again_is_replaced(place):
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d0", parts=2)
        sink.write_part(attempt, 0, forecasts(["A", "B"]), rejects("X"))
        sink.write_part(attempt, 0, forecasts(["C"]), rejects("Y"))
        sink.write_part(attempt, 1, forecasts(["D"]))
        assert sink.rejects()["series"].tolist() == ["Y"]
        sink.finish(attempt, "ok")
        assert sink.forecasts()["series"].unique().tolist() == ["C", "D"]
        assert sink.runs()[["parts_done", "rows", "rejects"]].values.tolist() == [[2, 4, 1]]


def test_a_run_with_parts_missing_is_not_shown(place):
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d0", parts=2)
        sink.write_part(attempt, 0, forecasts())
        with pytest.raises(SinkError, match="expected 2 parts, found 1 written"):
            sink.finish(attempt, "ok")
        with pytest.raises(SinkError, match="expected a number from 0 to 1"):
            sink.write_part(attempt, 2, forecasts())
        assert len(sink.forecasts()) == 0


def test_a_run_that_has_ended_takes_no_more(place):
    attempt = write(place, [forecasts()])
    with open_sink(place, "prices") as sink:
        with pytest.raises(SinkError, match="found one that is 'ok'"):
            sink.write_part(attempt, 0, forecasts(value=3.0))
        with pytest.raises(SinkError, match="found one that is 'ok'"):
            sink.finish(attempt, "failed")
        assert len(sink.forecasts()) == 4


def test_the_three_places_say_the_same(tmp_path, postgres):
    with postgres.schema() as url:
        places = [
            SinkConfig(path=tmp_path / "out"),
            SinkConfig(database=f"sqlite:///{tmp_path}/f.db"),
            SinkConfig(database=url),
        ]
        for place in places:
            write(place, [forecasts(NAMES, tz="Asia/Tokyo"), forecasts(["Z"], tz="Asia/Tokyo")])
            write(place, [forecasts(["Q"], tz="Asia/Tokyo")], data="d1")
        for what in ("forecasts", "risks", "rejects"):
            first, *others = [seen(place, what=what) for place in places]
            for other in others:
                assert_frame_equal(first, other)
        assert ledger(places[0]) == ledger(places[1]) == ledger(places[2])
        same = ["job", "run_date", "model", "config_digest", "data_digest", "about", "summary"]
        first, *others = [seen(place, what="runs")[same] for place in places]
        assert first.equals(others[0]) and first.equals(others[1])


# ---------------------------------------------------------------------- one run of a date is seen

OTHERS = {
    "configuration": RunKey("prices", DAY, "lstm/1", "decade"),
    "model": RunKey("prices", DAY, "lstm/2", "c0ffee"),
}


def looked_at(place):
    """Series and forecasts as others read them: by the view, or by the files of the folder."""
    if place.path is not None:
        files = place.path.glob("run_date=*/*/part-*.parquet")
        frame = pd.concat([pd.read_parquet(file) for file in files])
    else:
        engine = databases.engine_for(place.database, None, SinkError)
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT * FROM forecasts")
            frame = pd.DataFrame(found.fetchall(), columns=list(found.keys()))
    return frame.sort_values(["series", "step"])[["series", "forecast"]].values.tolist()


@pytest.mark.parametrize("what", OTHERS)
def test_a_run_of_another_configuration_or_model_takes_the_place_of_the_one_of_its_date(
    place, what
):
    fit = RunKey("prices", DAY, "fit", "c0ffee")
    with open_sink(place, "prices") as sink:
        sink.finish(sink.begin(fit, data_digest="d0", parts=0), "ok")
    yesterday = RunKey("prices", dt.date(2024, 1, 1), "lstm/1", "c0ffee")
    write(place, [forecasts(["Y"])], key=yesterday)
    write(place, [forecasts(["A"], 1.0), forecasts(["B"], 1.0)])
    write(place, [forecasts(["A"], 2.0)], key=OTHERS[what])
    assert looked_at(place) == [["A", 2.0], ["A", 2.125], ["Y", 1.0], ["Y", 1.125]]
    assert len(seen(place, run_date=DAY)) == 2
    assert ledger(place) == [
        ("ok", True, 0, 0),
        ("ok", True, 1, 2),
        ("replaced", False, 2, 4),
        ("ok", True, 1, 2),
    ]
    # and back: what was replaced is no run to go on with
    again = write(place, [forecasts(["A"], 1.0), forecasts(["B"], 1.0)])
    assert not (again.resumed or again.done)
    assert seen(place, run_date=DAY)["series"].tolist() == ["A", "A", "B", "B"]
    assert len(looked_at(place)) == 6
    assert [line[:2] for line in ledger(place)][2:] == [
        ("replaced", False), ("replaced", False), ("ok", True)
    ]  # fmt: skip


def test_a_run_of_another_configuration_that_fails_takes_nothing_away_and_can_go_on(place):
    write(place, [forecasts(["A"])])
    other = OTHERS["configuration"]
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(other, data_digest="d0", parts=2)
        sink.write_part(attempt, 0, forecasts(["B"]))
        sink.finish(attempt, "failed")
    assert [row[0] for row in looked_at(place)] == ["A", "A"]
    write(place, [forecasts(["A"])], data="d1")
    again = write(place, [forecasts(["B"]), forecasts(["C"])], key=other)
    assert again.committed == {0}
    assert [row[0] for row in looked_at(place)] == ["B", "B", "C", "C"]
    assert [line[:2] for line in ledger(place)] == [
        ("replaced", False), ("ok", True), ("replaced", False)
    ]  # fmt: skip


def as_an_older_release_left_it(place, tmp_path):
    """Two runs of one date that are seen at once, and one of another date."""
    later = RunKey("prices", dt.date(2024, 1, 5), "lstm/1", "decade")
    write(place, [forecasts(["A"], 1.0)])
    if place.path is None:
        write(place, [forecasts(["A"], 2.0)], key=later)
        write(place, [forecasts(["A"], 3.0)], key=RunKey("prices", dt.date(2024, 1, 6), "m", "c"))
        engine = databases.engine_for(place.database, None, SinkError)
        with engine.connect() as connection, connection.begin():
            for statement in (
                "DROP INDEX tsf_runs_seen",
                "UPDATE tsf_schema SET version = 1",
                "UPDATE tsf_runs SET run_date = '2024-01-02' WHERE run_id = 2",
            ):
                connection.exec_driver_sql(statement)
        return
    beside = SinkConfig(path=tmp_path / "beside")
    write(beside, [forecasts()], status="failed")
    write(beside, [forecasts(["A"], 2.0)], key=OTHERS["configuration"])
    write(beside, [forecasts(["A"], 3.0)], key=RunKey("prices", dt.date(2024, 1, 6), "m", "c"))
    for file in ("00000002.json", "00000003.json"):
        shutil.copy(beside.path / "_runs/prices" / file, place.path / "_runs/prices" / file)
    for folder in place.path.glob("run_date=*/*"):  # of a process that was killed in its last step
        shutil.copytree(folder, place.path / "_attempts/prices" / f"before-{DAY}-{folder.name}")
    for folder in beside.path.glob("run_date=*/*"):
        shutil.copytree(folder, place.path / folder.relative_to(beside.path))


def test_a_place_of_an_older_release_shows_one_run_of_a_date_once_it_is_prepared(place, tmp_path):
    as_an_older_release_left_it(place, tmp_path)
    newest = [["A", 2.0], ["A", 2.125], ["A", 3.0], ["A", 3.125]]
    assert len(looked_at(place)) == 6
    assert seen(place)["forecast"].tolist() == [value for _, value in newest]  # even before
    for _ in range(2):  # the second time there is nothing to do
        with open_sink(place, "prices") as sink:
            sink.prepare()
        assert sorted(looked_at(place)) == newest
        assert seen(place)["forecast"].tolist() == [value for _, value in newest]
        assert [line[:2] for line in ledger(place)] == [
            ("replaced", False), ("ok", True), ("ok", True)
        ]  # fmt: skip
    if place.path is not None:
        assert not list((place.path / "_attempts").rglob("*.parquet"))


def test_a_run_on_a_place_of_an_older_release_prepares_it(place, tmp_path):
    as_an_older_release_left_it(place, tmp_path)
    write(place, [forecasts(["A"], 4.0)], key=OTHERS["model"])
    assert seen(place, run_date=DAY)["forecast"].tolist() == [4.0, 4.125]
    assert len(looked_at(place)) == 4


@pytest.mark.parametrize("place", PLACES[1:], indirect=True)
def test_two_runs_of_a_date_are_refused_by_the_database_itself(place):
    write(place, [forecasts()])
    write(place, [forecasts()], key=OTHERS["model"])
    engine = databases.engine_for(place.database, None, SinkError)
    of_date = r"tsf_runs_seen|UNIQUE .*tsf_runs\.run_date\n"  # not that of a key
    with engine.connect() as other, pytest.raises(sa.exc.IntegrityError, match=of_date):
        other.exec_driver_sql("UPDATE tsf_runs SET visible = true")


def test_a_folder_whose_run_was_taken_away_by_hand_is_written_again(tmp_path):
    place = SinkConfig(path=tmp_path / "out")
    write(place, [forecasts()])
    shutil.rmtree(place.path / f"run_date={DAY}")
    assert not write(place, [forecasts()]).done
    assert len(seen(place)) == 4


def test_a_run_that_ends_before_it_begins_has_a_line_and_its_rejects_until_the_next(place):
    why = {"error": "StaleError", "exit_code": 4, "message": "series are late"}
    write(place, [forecasts()])
    with open_sink(place, "prices") as sink:
        sink.begin(OTHERS["model"], data_digest="d0", parts=1)  # and its process is killed
    for name in ("X", "Y"):
        with open_sink(place, "prices") as sink:
            sink.add_failed(DAY, "c0ffee", why, rejects=rejects(name))
        assert seen(place, what="rejects")["series"].tolist() == [name]
    lines = seen(place, what="runs")
    assert lines["status"].tolist() == ["ok", "failed", "failed", "failed"]
    assert lines["model"].tolist() == ["lstm/1", "lstm/2", "-", "-"]
    assert lines["visible"].tolist() == [True, False, False, False]
    assert lines["summary"].tolist()[2:] == [why, why]
    assert len(seen(place)) == 4
    write(place, [forecasts()], data="d1")
    assert len(seen(place, what="rejects")) == 0
    assert seen(place, what="runs")["status"].tolist() == [
        "replaced", "failed", "failed", "failed", "ok"
    ]  # fmt: skip


def test_rejects_of_a_run_without_a_model_go_as_another_run_of_its_date_begins(place):
    why = {"error": "SourceError", "exit_code": 3, "message": "no file"}
    tomorrow = RunKey("prices", dt.date(2024, 1, 3), "lstm/1", "c0ffee")
    fit = RunKey("prices", DAY, "fit", "c0ffee")
    write(place, [forecasts()])
    with open_sink(place, "prices") as sink:
        sink.add_failed(DAY, "decade", why, rejects=rejects("X"))
        for key, left in ((tomorrow, ["X"]), (fit, ["X"]), (OTHERS["model"], [])):
            sink.begin(key, data_digest="d0", parts=1)
            assert sink.rejects()["series"].tolist() == left
        sink.add_failed(DAY, "decade", why, rejects=rejects("Y"))
    assert write(place, [forecasts()]).done  # nothing is written, and yet it is another run
    assert len(seen(place, what="rejects")) == 0


def test_rejects_of_an_attempt_go_once_another_run_of_its_date_is_seen(place):
    tomorrow = RunKey("prices", dt.date(2024, 1, 3), "lstm/1", "c0ffee")
    with open_sink(place, "prices") as sink:
        for key, name in ((OTHERS["model"], "X"), (tomorrow, "Z")):
            attempt = sink.begin(key, data_digest="d0", parts=1)
            sink.write_part(attempt, 0, pd.DataFrame(), rejects(name))
            sink.finish(attempt, "failed")
        attempt = sink.begin(KEY, data_digest="d0", parts=1)
        sink.write_part(attempt, 0, forecasts(), rejects("Y"))
        assert sink.rejects(DAY)["series"].tolist() == ["X", "Y"]  # none is seen yet
        sink.finish(attempt, "ok")
        assert sink.rejects(DAY)["series"].tolist() == ["Y"]
        assert len(sink.rejects(DAY, "lstm/2")) == 0
        assert sink.rejects()["series"].tolist() == ["Z", "Y"]
        later = sink.begin(OTHERS["configuration"], data_digest="d0", parts=1)
        sink.write_part(later, 0, pd.DataFrame(), rejects("W"))
        assert sink.rejects(DAY)["series"].tolist() == ["Y", "W"]
        sink.finish(later, "failed")
        assert sink.rejects(DAY)["series"].tolist() == ["Y", "W"]
        # what comes back is seen again, and what came between is past
        again = sink.begin(OTHERS["model"], data_digest="d0", parts=1)
        assert again.resumed and sink.rejects(DAY)["series"].tolist() == ["X", "Y", "W"]
        sink.finish(again, "ok")
        assert sink.rejects(DAY)["series"].tolist() == ["X"]


# ------------------------------------------------------------------- what others see of the place


def test_the_views_of_a_database_show_complete_runs_alone(tmp_path):
    path = tmp_path / "forecasts.db"
    place = SinkConfig(database=f"sqlite:///{path}")
    write(place, [forecasts(["A"])])
    with open_sink(place, "prices") as sink, contextlib.closing(sqlite3.connect(path)) as reader:
        attempt = sink.begin(KEY, data_digest="d1", parts=1)
        sink.write_part(attempt, 0, forecasts(["B"], levels=(0.25,)))
        query = "SELECT job, run_date, series, step, forecast, q0_1, q0_25 FROM forecasts"
        assert reader.execute(query).fetchall() == [
            ("prices", "2024-01-02", "A", 1, 1.0, 0.1, None),
            ("prices", "2024-01-02", "A", 2, 1.125, 0.1125, None),
        ]
        sink.finish(attempt, "ok")
        assert {row[2] for row in reader.execute(query)} == {"B"}
        assert reader.execute("SELECT count(*) FROM risks").fetchall() == [(0,)]
        assert reader.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_two_visible_runs_of_a_key_are_refused_by_the_database_itself(tmp_path):
    path = tmp_path / "forecasts.db"
    place = SinkConfig(database=f"sqlite:///{path}")
    write(place, [forecasts()])
    write(place, [forecasts()], data="d1")
    with (
        contextlib.closing(sqlite3.connect(path)) as other,
        pytest.raises(sqlite3.IntegrityError, match="UNIQUE"),
    ):
        other.execute("UPDATE tsf_runs SET visible = 1")


def test_whoever_reads_the_folder_by_a_pattern_sees_complete_runs_alone(tmp_path):
    place = SinkConfig(path=tmp_path / "out")
    write(place, [forecasts(["A"]), pd.DataFrame()])
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d1", parts=1)
        sink.write_part(attempt, 0, forecasts(["B"]))
        files = sorted(place.path.glob("run_date=*/*/part-*.parquet"))
        assert [file.name for file in files] == ["part-00000.parquet"]
        found = pd.read_parquet(files[0])
        assert found["series"].tolist() == ["A", "A"]
        whole = pd.read_parquet(place.path)  # as pandas and pyarrow read a folder
        assert whole["series"].tolist() == ["A", "A"]
        assert whole["run_date"].astype(str).unique().tolist() == ["2024-01-02"]


def test_no_name_of_a_series_is_a_name_on_the_disk(tmp_path):
    key = RunKey("my job/CON:", DAY, "../../evil", "c")
    write(SinkConfig(path=tmp_path / "out"), [forecasts(NAMES)], key=key, job=key.job)
    names = {part for path in tmp_path.rglob("*") for part in path.relative_to(tmp_path).parts}
    assert all(name.isascii() and set(name).isdisjoint('/\\:*?"<>| \n') for name in names)
    assert not any("evil" in name or "BRK" in name for name in names)


# --------------------------------------------------------------------------- what goes wrong


class Killed(BaseException):
    """Stands for a process that ends here."""


def is_killed_at(at, call, monkeypatch):
    """Kill a writer at its call of that number that changes a folder; False: it makes fewer."""
    left = at

    def dying(change):
        def instead(*args, **options):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return change(*args, **options)

        return instead

    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            patch.setattr(os, name, dying(getattr(os, name)))
        patch.setattr(parquet.shutil, "rmtree", dying(shutil.rmtree))
        try:
            call()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("key", [KEY, OTHERS["configuration"]], ids=["repeat", "other"])
def test_a_folder_holds_the_old_run_or_the_new_one_wherever_its_writer_is_killed(
    tmp_path, monkeypatch, key
):
    """Kill at every call that changes the folder, from the first to the last."""
    at = 0
    while True:
        place = SinkConfig(path=tmp_path / str(at))
        write(place, [forecasts(["A"]), forecasts(["B"])])
        new = partial(write, place, [forecasts(["C"]), forecasts(["D"])], data="d1", key=key)
        killed = is_killed_at(at, new, monkeypatch)
        with open_sink(place, "prices") as sink:
            found = sink.forecasts()["series"].unique().tolist()
            assert found in (["A", "B"], ["C", "D"])
            assert sink.runs()["visible"].sum() == 1
            sink.fail_open()
            assert sink.forecasts()["series"].unique().tolist() == found
            assert "open" not in sink.runs()["status"].tolist()
        write(place, [forecasts(["C"]), forecasts(["D"])], data="d1", key=key)
        assert seen(place)["series"].unique().tolist() == ["C", "D"]
        assert ledger(place)[-1] == ("ok", True, 2, 4)
        assert not list(place.path.rglob(".*"))
        assert not list((place.path / "_attempts" / "prices").iterdir())
        if not killed:
            break
        at += 1
    assert at > 10


def test_a_folder_of_an_older_release_shows_the_same_wherever_its_upgrade_is_killed(
    tmp_path, monkeypatch
):
    at, newest = 0, [["A", 2.0], ["A", 2.125], ["A", 3.0], ["A", 3.125]]

    def upgrade(place):
        with open_sink(place, "prices") as sink:
            sink.prepare()

    while True:
        folder = tmp_path / str(at)
        place = SinkConfig(path=folder / "out")
        as_an_older_release_left_it(place, folder)
        killed = is_killed_at(at, partial(upgrade, place), monkeypatch)
        assert seen(place)["forecast"].tolist() == [value for _, value in newest]
        upgrade(place)
        assert sorted(looked_at(place)) == newest
        assert seen(place)["forecast"].tolist() == [value for _, value in newest]
        assert sum(line[1] for line in ledger(place)) == 2
        if not killed:
            break
        at += 1
    assert at > 4


@pytest.mark.parametrize("key", [KEY, OTHERS["model"]], ids=["repeat", "other"])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_folder_that_is_read_while_a_run_is_replaced_gives_one_of_both(
    tmp_path, monkeypatch, key, at
):
    """Replace it before each look at a manifest, each list of parts and each part that is read."""
    place = SinkConfig(path=tmp_path / "out")
    write(place, [forecasts(["A"], 1.0), forecasts(["B"], 1.0)])
    calls = 0

    def late(call):
        def instead(*args):
            nonlocal calls
            calls += 1
            if calls == at:
                write(place, [forecasts(["A"], 2.0), forecasts(["B"], 2.0)], data="d1", key=key)
            return call(*args)

        return instead

    with open_sink(place, "prices") as sink:
        for where, name in ((parquet, "_manifest"), (parquet, "_marks"), (pq, "ParquetFile")):
            monkeypatch.setattr(where, name, late(getattr(where, name)))
        found = sink.forecasts()
        monkeypatch.undo()
    assert found["series"].tolist() == ["A", "A", "B", "B"]
    assert found["forecast"].tolist() in ([1.0, 1.125] * 2, [2.0, 2.125] * 2)
    assert seen(place)["forecast"].tolist() == ([1.0, 1.125] if calls < at else [2.0, 2.125]) * 2


def test_a_folder_that_is_read_between_two_renames_gives_what_is_there_after_the_second(
    tmp_path, monkeypatch
):
    place = SinkConfig(path=tmp_path / "out")
    write(place, [forecasts(["A"], 1.0)])
    new = partial(write, place, [forecasts(["A"], 2.0)], data="d1")
    looks, look, rename = [], parquet._manifest, os.rename

    def killed(old, target):
        if target.parent.name.startswith("run_date="):
            raise Killed
        rename(old, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(Killed):
            new()
    assert not list(place.path.glob("run_date=*/*"))

    def finished(folder):
        looks.append(folder)
        if len(looks) == 2:  # the new run was not there yet, the old one is there no more
            new()
        return look(folder)

    with open_sink(place, "prices") as sink, monkeypatch.context() as patch:
        patch.setattr(parquet, "_manifest", finished)
        assert sink.forecasts()["forecast"].tolist() == [2.0, 2.125]


def test_a_folder_is_seen_though_its_ledger_could_not_be_brought_in_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = SinkConfig(path=tmp_path / "out")
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d0", parts=1)
        sink.write_part(attempt, 0, forecasts())
        with monkeypatch.context() as patch:
            patch.setattr(parquet.ParquetSink, "_settle", full)
            with pytest.raises(SinkError, match="No space left"):
                sink.finish(attempt, "ok")
        sink.finish(attempt, "failed")
        assert len(sink.forecasts()) == 4
        assert sink.runs()["status"].tolist() == ["ok"]
    assert write(place, [forecasts()]).done


def test_a_part_that_is_missing_is_told(tmp_path):
    place = SinkConfig(path=tmp_path / "out")
    write(place, [forecasts()])
    next(place.path.glob("run_date=*/*/part-*.parquet")).unlink()
    with pytest.raises(SinkError, match="files as they were left, found .*No such file"):
        seen(place)


def place_in(folder, kind):
    if kind == "parquet":
        return SinkConfig(path=folder / "out")
    return SinkConfig(database=f"sqlite:///{folder}/forecasts.db")


def many(n_parts=10):
    rng = np.random.default_rng(0)
    names = [f"T{number:05d}" for number in range(1_000)]
    parts = [forecasts(names[at::n_parts]) for at in range(n_parts)]
    return [part.assign(forecast=rng.standard_normal(len(part))) for part in parts]


@pytest.mark.parametrize("kind", ["parquet", "sqlite"])
def test_a_file_that_may_not_grow_ends_the_run_and_loses_nothing(tmp_path, kind):
    place = place_in(tmp_path, kind)
    write(place, [forecasts()])
    before = seen(place)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000 if kind == "parquet" else 100_000, hard))
    try:
        with pytest.raises(SinkError, match="did not take part"):
            write(place, many(), data="d1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_frame_equal(seen(place), before)
    write(place, many(), data="d1")
    assert len(seen(place)) == 2_000


@contextlib.contextmanager
def mounted(folder, options):
    """A small disk at a folder; skips where that is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("disks cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["parquet", "sqlite"])
def test_a_disk_that_is_full_ends_the_run_and_loses_nothing(tmp_path, kind):
    with mounted(tmp_path, "size=160k" if kind == "parquet" else "size=300k"):
        place = place_in(tmp_path, kind)
        write(place, [forecasts()])
        before = seen(place)
        with pytest.raises(SinkError, match="(No space left on device|disk is full)") as caught:
            write(place, many(), data="d1")
        assert caught.value.code == 3
        assert_frame_equal(seen(place), before)
        subprocess.run(["mount", "-o", "remount,size=20m", str(tmp_path)], check=True)
        write(place, many(), data="d1")
        assert len(seen(place)) == 2_000


@pytest.mark.parametrize("kind", ["parquet", "sqlite"])
def test_a_folder_that_can_only_be_read_is_told(tmp_path, kind):
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:  # who may write everywhere but on such a disk
            stack.enter_context(mounted(tmp_path, "ro,size=1m"))
        else:
            tmp_path.chmod(0o555)
        with pytest.raises(SinkError, match="cannot be (opened|written to|prepared): expected"):
            write(place_in(tmp_path, kind), [forecasts()])


@pytest.mark.parametrize("how", ["drop", "terminate"])
def test_a_database_that_goes_in_the_middle_of_a_run_is_told_and_a_repeat_completes(postgres, how):
    with postgres.database(f"gone_{how}") as url:
        place = SinkConfig(database=url)
        with open_sink(place, "prices") as sink:
            attempt = sink.begin(KEY, data_digest="d0", parts=2)
            sink.write_part(attempt, 0, forecasts(["A"]))
            if how == "drop":
                postgres.sql(f"DROP DATABASE gone_{how} WITH (FORCE)")
            else:
                postgres.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    f"WHERE datname = 'gone_{how}'"
                )
            with pytest.raises(SinkError, match="did not take part 1: expected a database"):
                sink.write_part(attempt, 1, forecasts(["B"]))
            if how == "drop":
                with pytest.raises(SinkError):
                    sink.finish(attempt, "failed")
            else:  # by a new connection
                sink.finish(attempt, "failed")
        if how == "drop":
            with pytest.raises(SinkError, match=f'"gone_{how}" does not exist'):
                seen(place)
            postgres.sql(f"CREATE DATABASE gone_{how}")
        again = write(place, [forecasts(["A"]), forecasts(["B"])])
        assert again.committed == (frozenset() if how == "drop" else {0})
        assert seen(place)["series"].unique().tolist() == ["A", "B"]


def test_a_signal_in_the_middle_of_a_statement_is_what_is_raised(postgres):
    def stop(*_):
        raise SystemExit(143)

    with postgres.schema() as url:
        place = SinkConfig(database=url)
        engine = databases.engine_for(url, None, SinkError)
        with open_sink(place, "prices") as sink, engine.connect() as other:
            attempt = sink.begin(KEY, data_digest="d0", parts=1)
            other.exec_driver_sql("SELECT * FROM tsf_runs FOR UPDATE")  # who writes has to wait
            before = signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            try:
                with pytest.raises(SystemExit, match="143"):
                    sink.write_part(attempt, 0, forecasts())
            finally:
                signal.signal(signal.SIGALRM, before)
            other.rollback()
            sink.finish(attempt, "failed", {"error": "SystemExit"})
        assert ledger(place) == [("failed", False, 0, 0)]
        assert write(place, [forecasts()]).resumed


def test_a_file_that_is_taken_away_in_the_middle_of_a_run_is_told(tmp_path):
    path = tmp_path / "forecasts.db"
    place = SinkConfig(database=f"sqlite:///{path}")
    with open_sink(place, "prices") as sink:
        attempt = sink.begin(KEY, data_digest="d0", parts=2)
        sink.write_part(attempt, 0, forecasts(["A"]))
        path.unlink()
        with pytest.raises(SinkError, match="taken away"):
            sink.write_part(attempt, 1, forecasts(["B"]))


def test_another_connection_of_the_job_is_locked_out(postgres, monkeypatch):
    monkeypatch.setattr("tsforecast.batch.sql.PATIENCE", 0.2)
    with postgres.schema() as url:
        place = SinkConfig(database=url)
        with open_sink(place, "prices") as first, open_sink(place, "prices") as second:
            first.begin(KEY, data_digest="d0", parts=1)
            with pytest.raises(LockedError, match="job 'prices' is at work"):
                second.begin(KEY, data_digest="d0", parts=1)
            with open_sink(place, "vitals") as other:
                other.begin(RunKey("vitals", DAY, "m", "c"), data_digest="d0", parts=1)
            assert len(second.runs()) == 1
        assert write(place, [forecasts()]).resumed


def test_a_database_that_another_process_writes_to_is_waited_for_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(databases, "PATIENCE", 0.1)
    place = SinkConfig(database=f"sqlite:///{tmp_path}/forecasts.db")
    write(place, [forecasts()])
    with contextlib.closing(sqlite3.connect(tmp_path / "forecasts.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkError, match="database is locked"):
            write(place, [forecasts()], data="d1")
        assert len(seen(place)) == 4


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_tables_and_views_of_others_are_left_alone(request, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/f.db"
        if kind == "postgres":
            url = stack.enter_context(request.getfixturevalue("postgres").schema())
        engine = databases.engine_for(url, None, SinkError)
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("CREATE VIEW forecasts AS SELECT 42 AS answer")
        with pytest.raises(SinkError, match=r"named \['forecasts'\], found some that this program"):
            write(SinkConfig(database=url), [forecasts()])
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT answer FROM forecasts").scalar() == 42


def test_tables_of_another_version_are_refused(tmp_path):
    place = SinkConfig(database=f"sqlite:///{tmp_path}/f.db")
    write(place, [forecasts()])
    with contextlib.closing(sqlite3.connect(tmp_path / "f.db")) as other:
        other.execute("UPDATE tsf_schema SET version = 3")
        other.commit()
    with pytest.raises(SinkError, match="expected tables of version 2, found version 3"):
        seen(place)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"database": "sqlite:////no/such/folder/f.db"}, "expected a folder /no/such/folder"),
        ({"database": "postgresql://nobody@localhost:1/x", "password": "hush"}, "cannot be opened"),
        ({"database": "mysql://h/x"}, "(driver is installed|expected sqlite)"),
        ({"database": "nonsense://h/x"}, "whose driver is installed"),
        ({"path": Path("/dev/null")}, "expected a folder, or nothing"),
    ],
)
def test_a_place_that_cannot_be_reached_is_told_without_its_password(config, said):
    with pytest.raises(SinkError, match=said) as caught:
        seen(SinkConfig(**config))
    assert "hush" not in str(caught.value)


def test_a_password_beside_sqlite_is_an_error_of_the_configuration(tmp_path):
    file = tmp_path / "f.db"
    with pytest.raises(ConfigError, match="sink. password: expected none beside SQLite") as caught:
        seen(SinkConfig(database=f"sqlite:///{file}", password="hush"))
    assert "Unset TSFORECAST_SINK__PASSWORD" in str(caught.value)
    assert "hush" not in str(caught.value) and not file.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": 1}', "\0"])
def test_files_of_the_ledger_that_have_changed_are_told(tmp_path, text):
    place = SinkConfig(path=tmp_path / "out")
    write(place, [forecasts()])
    for name in ("**/[0-9]*.json", "**/_manifest.json", "**/_part-*.json", "**/*.parquet"):
        for file in place.path.glob(name):
            kept = file.read_bytes()
            file.write_text(text)
            what = "runs" if "manifest" in name else "forecasts"
            with pytest.raises(SinkError, match="files as they were left"):
                seen(place, what=what)
            file.write_bytes(kept)
    assert len(seen(place)) == 4
