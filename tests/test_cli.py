"""The command line: data on standard output, talk on standard error, an exit code that says how."""

import contextlib
import csv
import errno
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tsforecast as tsf
from tsforecast.batch import oneshot
from tsforecast.batch.config import load_config
from tsforecast.batch.exits import JobError
from tsforecast.batch.parts import without_values
from tsforecast.batch.template import as_times, guess, read_table
from tsforecast.cli import main
from tsforecast.cli.output import records

DATE = "2015-03-31"
COMMANDS = ("forecast", "init", "check", "fit", "backtest", "score", "run", "models", "status",
            "export")  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, and prices in it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TSFORECAST_") and "__" in name:
            monkeypatch.delenv(name)
    panel = tsf.make_prices(3, 80, random_state=0)
    panel.reset_index().to_csv(tmp_path / "prices.csv", index=False)
    return tmp_path


@pytest.fixture
def job(here):
    """A job of a model that is fitted in no time."""
    (here / "job.toml").write_text(
        """
        [job]
        name = "prices"
        part_size = 2
        [source]
        path = "prices.csv"
        series = "ticker"
        time = "date"
        columns = ["close"]
        [model]
        estimator = "Drift"
        [model.parameters]
        target = "close"
        horizon = 2
        [backtest]
        n_splits = 1
        origins_per_split = 5
        """
    )
    return here


def run(capsys, *args: object) -> tuple[int, str, str]:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


def process(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tsforecast", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, **options)


# ---------------------------------------------------------------- help


def test_help_loads_nothing_heavy_and_is_there_at_once():
    code = (
        "import sys, time; begun = time.process_time()\n"
        "from tsforecast.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "took = time.process_time() - begun\n"
        "heavy = ('numpy', 'pandas', 'torch', 'pydantic', 'sqlalchemy', 'sklearn', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules], took < 0.5)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] True"


def test_every_command_has_help_with_an_example(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in COMMANDS)
    assert "exit codes:" in text and "75 another run" in text
    verbs = [["models", verb] for verb in ("list", "show", "promote", "rollback", "challenge")]
    for command in [*([name] for name in COMMANDS), *verbs]:
        with pytest.raises(SystemExit) as end:
            main([*command, "--help"])
        text = capsys.readouterr().out
        assert end.value.code == 0 and f"examples:\n  tsforecast {command[0]}" in text


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"tsforecast {tsf.__version__}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "required: COMMAND"),
        (["frecast"], "invalid choice: 'frecast'"),
        (["run", "--run-date", "31.12.2024"], "expected a date such as 2024-06-28, found '31.12"),
        (["run", "--run", "2024-01-01"], "unrecognized arguments"),  # no abbreviations
        (["run", "-v", "-q"], "not allowed with"),
        (["forecast", "x.csv", "--horizon", "0"], "expected a whole number of at least 1"),
    ],
)
def test_wrong_arguments_end_with_2(args, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(args)
    out, err = capsys.readouterr()
    assert end.value.code == 2 and message in err and out == ""


# ---------------------------------------------------------------- init


def test_init_guesses_columns_says_so_and_writes_a_job(here, capsys):
    code, out, err = run(capsys, "init", "--from", "prices.csv")
    assert (code, out) == (0, "")
    assert "guessed from prices.csv: series 'ticker', time 'date', target 'close'" in err
    config = load_config(here / "job.toml", environ={})
    assert config.job.name == "prices" and config.source.path == here / "prices.csv"
    assert (config.source.series, config.source.time) == ("ticker", "date")
    assert config.model.parameters["target"] == "close"


def test_init_replaces_nothing_unless_told(here, capsys):
    (here / "job.toml").write_text("mine")
    code, _, err = run(capsys, "init")
    assert code == 2 and "expected no such file, found one. Replace it with --force" in err
    assert (here / "job.toml").read_text() == "mine"
    assert run(capsys, "init", "--force", "-q") == (0, "", "")
    assert load_config(here / "job.toml", environ={}).job.name == "forecasts"


def test_init_takes_what_is_said_over_what_it_guesses(here, capsys):
    args = ("--from", "prices.csv", "--target", "volume", "--name", "turnover", "--print", "-q")
    code, out, err = run(capsys, "init", *args)
    assert (code, err) == (0, "") and not (here / "job.toml").exists()
    assert 'target = "volume"' in out and 'name = "turnover"' in out


def test_init_prints_json_when_asked_for_both(here, capsys):
    args = ("init", "--from", "prices.csv", "--print", "-q")
    tree = json.loads(run(capsys, *args, "--json")[1])
    assert tree["text"] == run(capsys, *args)[1] and tree["guessed"]["target"] == "close"
    assert not (here / "job.toml").exists() and "file" not in tree


def test_init_in_another_folder_points_back_at_the_table(here, capsys):
    (here / "jobs").mkdir()
    code, out, _ = run(capsys, "init", "--from", "prices.csv", "-c", "jobs/a.toml", "--json")
    assert code == 0
    assert json.loads(out)["guessed"] == {"series": "ticker", "time": "date", "target": "close"}
    assert load_config(here / "jobs/a.toml", environ={}).source.path == here / "prices.csv"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--from", "none.csv"], 3, "expected a table in CSV with a line of names, or Parquet"),
        (["--from", "."], 3, "found is a directory"),
        (["--from", "prices.csv", "--time", "day"], 3, "expected a column 'day' for the time"),
        (["--from", "prices.csv", "--time", "close"], 3, "expected dates, written as 2024-01-31"),
        (["--from", "prices.csv", "--target", "ticker"], 3, "expected numbers in the column"),
        (["--name", "a/b"], 2, "expected names that a job can have"),
        (["-c", "no/such/folder.toml"], 2, "expected a file that can be written, found no such"),
    ],
)
def test_init_says_what_it_cannot_do(here, capsys, args, code, message):
    found, out, err = run(capsys, "init", *args)
    assert (found, out) == (code, "") and message in err and "Traceback" not in err


# ---------------------------------------------------------------- guesses


def guessed(text: str) -> str:
    return str(guess(pd.read_csv(io.StringIO(text), index_col=False, dtype=str)))


def test_guesses_by_name_and_by_what_columns_hold():
    rows = "".join(f"2024-01-{day:02d},{day},{100 - day},{day % 3}\n" for day in range(1, 20))
    assert guessed("Date,open,Close,n\n" + rows) == "one series, time 'Date', target 'Close'"
    assert guessed("when,a,b,c\n" + rows) == "one series, time 'when', target 'a'"
    days = "".join(f"2024-01-{day:02d},{day}\n" for day in range(1, 20))
    assert guessed("Day,sales\n" + days) == "one series, time 'Day', target 'sales'"
    assert guessed("day,sales\n" + days) == "one series, time 'day', target 'sales'"
    two = "".join(f"{who},2024-01-{d:02d},{d}.5,{who}1\n" for who in "xy" for d in range(1, 9))
    assert guessed("who,ds,y,z\n" + two) == "series 'who', time 'ds', target 'y'"
    ids = "".join(f"{who},2024-01-{d:02d},{d}.5\n" for who in (7, 8) for d in range(1, 9))
    assert guessed("patient,ds,hr\n" + ids) == "series 'patient', time 'ds', target 'hr'"


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d %B %Y", "%Y-%m", "%Y%m%d", "%Y/%m/%d"]
)
def test_dates_that_a_job_would_not_read_are_refused(form):
    days = pd.date_range("2024-01-01", periods=5).strftime(form)
    with pytest.raises(JobError, match="expected a column of dates, written as 2024-01-31"):
        guessed("date,y\n" + "".join(f"{day},1\n" for day in days))


def test_times_with_the_offsets_of_a_place_are_read_across_daylight_saving(here, capsys, naive):
    hours = pd.date_range("2024-03-09", periods=60, freq="h", tz="America/New_York")
    rows = pd.DataFrame({"time": [hour.isoformat() for hour in hours], "y": np.arange(60.0)})
    rows.to_csv("hours.csv", index=False)
    code, out, err = run(capsys, "forecast", "hours.csv", "--horizon", 1)
    assert code == 0, err
    after = (hours[-1] + pd.Timedelta(hours=1)).tz_convert("UTC")
    assert pd.Timestamp(next(csv.DictReader(io.StringIO(out)))["time"]) == after


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_init_check_and_forecast_read_the_same_names_as_a_job(here, capsys, naive, kind):
    days = pd.date_range("2015-01-01", periods=30)
    names = ["0005", "5", "NA"] if kind == "csv" else [5, 7, 11]
    rows = [{"id": who, "day": day, "y": day.day + 1.5} for who in names for day in days]
    table = pd.DataFrame(rows)
    getattr(table, f"to_{kind}")(f"ids.{kind}", index=False)
    assert run(capsys, "init", "--from", f"ids.{kind}", "-c", "ids.toml")[0] == 0
    code, _, err = run(capsys, "check", "-c", "ids.toml", "--run-date", DATE)
    assert code == 0 and "series=3" in err
    code, out, err = run(capsys, "forecast", f"ids.{kind}")
    assert code == 0, err
    forecast = list(csv.DictReader(io.StringIO(out)))
    assert sorted(row["id"] for row in forecast) == sorted(map(str, names))


def test_parquet_of_any_types_is_guessed_from(here):
    days = pd.date_range("2024-01-01", periods=8)
    table = pd.DataFrame(
        {
            "notes": [[1, 2]] * 16,
            "place": [b"\xff\x00a"] * 16,
            "who": pd.Categorical(["x"] * 8 + ["y"] * 8),
            "day": [day.date() for day in days] * 2,
            "flag": True,
            "y": range(16),
        }
    )
    table.to_parquet("any.parquet")
    assert str(guess(read_table("any.parquet"))) == "series 'who', time 'day', target 'y'"


def test_forecast_keeps_the_offset_of_a_place_and_the_names_of_a_job(here, capsys):
    days = pd.bdate_range("2024-01-01", periods=60)
    rows = "".join(f"{day:%Y-%m-%d}T00:00:00+09:00,{at}\n" for at, day in enumerate(days))
    (here / "jp.csv").write_text("date,close\n" + rows)
    out = run(capsys, "forecast", "jp.csv", "--quick", "--horizon", "3")[1]
    assert "2024-03-25 00:00:00+09:00" in out
    mixed = rows.replace("2024-03-22T00:00:00+09:00", "2024-03-22T00:00:00+08:00")
    assert "UTC" in str(as_times(pd.Series(mixed.split()).str.split(",").str[0]).dt.tz)
    table = pd.DataFrame(
        {"day": [*days, *days], "id": [101.0] * 60 + [102.0] * 60, "y": range(120)}
    )
    table.to_parquet("ids.parquet")
    out = run(capsys, "forecast", "ids.parquet", "--quick", "--series", "id", "--target", "y")[1]
    assert {"101", "102"} <= {line.split(",")[0] for line in out.splitlines()}


def test_a_column_that_forecasts_have_themselves_is_not_forecast(here, capsys):
    table = pd.read_csv("prices.csv").rename(columns={"volume": "step"})
    table.to_csv("step.csv", index=False)
    found = guess(read_table("step.csv"))
    assert found.target == "close" and "step" not in found.others
    table.rename(columns={"close": "target"}).to_csv("target.csv", index=False)
    for command in (("init", "--from", "target.csv"), ("forecast", "target.csv")):
        code, out, err = run(capsys, *command)
        assert (code, out) == (3, "") and "found 'target'. Rename it in the file" in err
    assert run(capsys, "init", "--from", "step.csv", "--target", "step")[0] == 3


@pytest.mark.parametrize("name", ["NA", "null", "None", "nan"])
def test_a_series_may_have_the_name_of_a_missing_value(here, capsys, name):
    table = pd.read_csv("prices.csv")
    table["ticker"] = table["ticker"].replace({"S01": name})
    table.loc[3, "close"] = None
    table.to_csv("prices.csv", index=False)
    found = read_table("prices.csv")
    assert set(found["ticker"]) == {"S00", name, "S02"} and found["close"].isna().sum() == 1
    assert guess(found).series == "ticker"
    assert run(capsys, "init", "--from", "prices.csv")[0] == 0


def test_no_series_is_made_of_a_column_that_differs_in_every_row():
    rows = "".join(f"{day},2024-01-{day:02d},{day}.5\n" for day in range(1, 20))
    assert guessed("id,date,y\n" + rows) == "one series, time 'date', target 'y'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected a column of dates"),
        ("date,b\n2024-01-01,x\n", "expected a column of numbers to forecast"),
        ("date,b\n2024-01-01,1\n2024-01-01,2\n", "tells series apart, as times stand twice"),
        ("id,date,b\nA,2024-01-01,1\nA,2024-01-01,2\n", "each 'id' and 'date', found 1 more"),
    ],
)
def test_what_cannot_be_guessed_names_the_flags(text, message):
    with pytest.raises(JobError, match=message) as caught:
        guessed(text)
    assert "--series, --time and --target" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (("1", "two"), "found 'two'"),
        (("one", "two"), "found 'one' and 1 more that are none"),
        (("True", "False"), "found 'True' and 1 more that are none"),
        (("", ""), "found no value"),
    ],
)
def test_a_target_with_words_in_it_is_said_and_no_other_column_taken(values, found):
    rows = "".join(f"2024-01-0{day},{day},{value}\n" for day, value in enumerate(values, start=1))
    with pytest.raises(JobError, match=f"numbers in the column 'close', {found}. Mend"):
        guessed("date,volume,close\n" + rows)


def test_dates_in_another_spelling_and_empty_files_are_said(here):
    with pytest.raises(JobError, match="'date' begins with '31/01/2024': write dates so. Name"):
        guessed("date,y\n31/01/2024,1\n")
    (here / "empty.csv").touch()
    with pytest.raises(JobError, match="with a line of names, or Parquet, found an empty file"):
        read_table(here / "empty.csv")


def test_a_table_with_other_marks_than_commas_is_said(here):
    (here / "semi.csv").write_text("date;close\n2024-01-01;1\n")
    with pytest.raises(JobError, match="expected columns divided by commas"):
        read_table(here / "semi.csv")


# ---------------------------------------------------------------- forecast


@pytest.fixture
def naive(monkeypatch):
    """In place of the network: what is tested is what happens around it."""
    monkeypatch.setattr(
        oneshot, "_model", lambda what, longest, horizon, *_: tsf.Naive(
            target=what.target, horizon=horizon
        )
    )  # fmt: skip


def test_forecast_gives_rows_on_stdout_and_a_verdict_on_stderr(here, capsys):
    code, out, err = run(capsys, "forecast", "prices.csv", "--horizon", 3, "--quick")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 9 and {row["ticker"] for row in rows} == {"S00", "S01", "S02"}
    assert rows[0]["target"] == "close" and np.isfinite(float(rows[0]["forecast"]))
    assert "read as series 'ticker', time 'date', target 'close'" in err
    assert "240 rows of 3 series from 2015-01-01" in err
    assert ("recurrent: " in err and "skill over" in err) or "worse than" in err


def test_forecast_is_the_same_again_and_of_parquet_and_json(here, capsys, naive):
    pd.read_csv("prices.csv").to_parquet("prices.parquet")
    first = run(capsys, "forecast", "prices.csv")
    assert first[0] == 0 and run(capsys, "forecast", "prices.csv") == first
    assert run(capsys, "forecast", "prices.parquet")[:2] == first[:2]
    tree = json.loads(run(capsys, "forecast", "prices.csv", "--json")[1])
    assert len(tree["forecast"]) == 3 and tree["verdict"]
    out = list(csv.DictReader(io.StringIO(first[1])))
    assert [float(row["q0.1"]) for row in out] == pytest.approx(
        [row["q0.1"] for row in tree["forecast"]], rel=1e-12
    )


def test_forecast_of_one_series_out_of_order_is_that_of_sorted_rows(here, capsys, naive):
    table = pd.read_csv("prices.csv").query("ticker == 'S00'")[["date", "close"]]
    table.to_csv("one.csv", index=False)
    table.sample(frac=1, random_state=0).to_csv("mixed.csv", index=False)
    first = run(capsys, "forecast", "one.csv", "--horizon", 2)[:2]
    assert first[0] == 0 and run(capsys, "forecast", "mixed.csv", "--horizon", 2)[:2] == first


def test_too_few_rows_are_said(here, capsys):
    (here / "few.csv").write_text("date,y\n2024-01-01,1\n2024-01-02,2\n")
    code, out, err = run(capsys, "forecast", "few.csv")
    assert (code, out) == (3, "") and "expected a series of at least 22 rows" in err
    assert "found 2 in the longest" in err


# ---------------------------------------------------------------- a job


def test_a_job_from_check_to_export_and_again(job, capsys):
    code, out, _ = run(capsys, "check", "--run-date", DATE)
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == [
        "what", "job", "parameters", "sink", "model", "source"]  # fmt: skip
    code, out, err = run(capsys, "run", "--run-date", DATE, "--json")
    summary = json.loads(out)
    assert code == 0 and summary["rows"] == 6 and summary["fit"]["role"] == "champion"
    assert "scored  version=0001" in err
    first = run(capsys, "export", "-q")
    table = pd.read_csv(io.StringIO(first[1]))
    assert first[0] == 0 and len(table) == 6 and set(table["run_date"]) == {DATE}
    assert set(table["step"]) == {1, 2} and table["time"].min() > DATE

    again = json.loads(run(capsys, "run", "--run-date", DATE, "--json")[1])
    assert again["nothing_new"] and run(capsys, "export", "-q") == first
    code, out, _ = run(capsys, "status")
    assert code == 0 and "\nruns\nrun" in out
    assert ["champion", "0001"] in [line.split() for line in out.splitlines()]
    code, out, _ = run(capsys, "models", "list")
    assert code == 0 and out.splitlines()[1].split()[:3] == ["0001", "champion", "Drift"]
    assert "estimator" in run(capsys, "models", "show")[1]


def test_models_are_promoted_and_rolled_back_by_hand(job, capsys):
    assert run(capsys, "models", "list")[1:] == ("", "no version yet: tsforecast fit\n")
    for horizon in (2, 3):
        over = f"model.parameters.horizon={horizon}"
        by_hand = ("--set", "fit.promote=by_hand")
        code, _, _ = run(capsys, "fit", "--run-date", DATE, "--set", over, *by_hand)
        assert code == 0
    assert json.loads(run(capsys, "models", "promote", "--json")[1])["champion"] == "0002"
    assert "champion  0001" in run(capsys, "models", "rollback")[1]
    code, _, err = run(capsys, "models", "rollback")
    assert code == 6 and "cannot be rolled back" in err
    assert run(capsys, "models", "show", "0009")[0] == 6


def test_backtest_gives_metrics_and_a_dry_run_writes_nothing(job, capsys):
    code, out, _ = run(capsys, "backtest", "--run-date", DATE)
    assert code == 0 and "\nmetrics\nmodel" in out
    code, out, _ = run(capsys, "run", "--run-date", DATE, "--dry-run", "--json")
    assert code == 0 and json.loads(out)["fit"]["due"]
    assert not (job / "forecasts.db").exists()
    assert run(capsys, "models", "list")[1] == ""


def test_export_writes_files_and_other_tables(job, capsys):
    run(capsys, "run", "--run-date", DATE, "-q")
    assert run(capsys, "export", "-o", "out.csv", "-q") == (0, "", "")
    assert run(capsys, "export", "-o", "out.parquet", "-q") == (0, "", "")
    assert len(pd.read_csv("out.csv")) == len(pd.read_parquet("out.parquet")) == 6
    assert len(json.loads(run(capsys, "export", "--json")[1])["forecasts"]) == 6
    assert "stage,error,message" in run(capsys, "export", "--what", "rejects")[1]
    code, out, _ = run(capsys, "export", "--what", "runs")
    assert code == 0 and "summary" not in out.splitlines()[0]
    assert run(capsys, "export", "--run-date", "2001-01-01")[1].count("\n") == 1
    for chosen, lines in (
        ("--run-date=2001-01-01", 0),
        (f"--run-date={DATE}", 2),
        ("--model=fit", 1),
    ):
        assert run(capsys, "export", "--what", "runs", chosen)[1].count("\n") == 1 + lines
    code, _, err = run(capsys, "export", "--format", "parquet")
    assert code == 2 and "Name it with -o" in err
    code, _, err = run(capsys, "export", "-o", "no/such/file.csv")
    assert code == 2 and "expected a file that can be written" in err
    found = json.loads(run(capsys, "export", "--json")[1])["forecasts"]
    assert {row["run_date"] for row in found} == {DATE}


@pytest.mark.parametrize("beside", [("-o", "out.csv"), ("--format", "parquet")])
def test_export_of_json_is_for_standard_output_alone(job, capsys, beside):
    code, out, err = run(capsys, "export", "--json", *beside)
    assert code == 2 and "--json: expected neither -o nor --format beside it" in err
    assert json.loads(out)["exit_code"] == 2 and not (job / "out.csv").exists()


def test_json_has_every_digit_of_a_number_and_times_as_text():
    days = pd.to_datetime(["2024-01-01 12:30", None], format="ISO8601")
    table = pd.DataFrame(
        {
            "small": [2.6568089766306596e-14, np.nan],
            "third": [1 / 3, 1e300],
            "whole": [7, 8],
            "maybe": pd.array([1, None], "Int64"),
            "is": [True, False],
            "what": ["word", None],
            "tree": [{"p": 2.6568089766306596e-14, "of": [1, np.inf]}, None],
            "day": days,
            "moment": days.tz_localize("America/New_York"),
            "took": pd.to_timedelta(["90min", None]),
        }
    )
    first, second = records(table)
    assert first == {
        "small": 2.6568089766306596e-14, "third": 1 / 3, "whole": 7, "maybe": 1, "is": True,
        "what": "word", "tree": {"p": 2.6568089766306596e-14, "of": [1, None]},
        "day": "2024-01-01T12:30:00.000", "moment": "2024-01-01T17:30:00.000Z",
        "took": "P0DT1H30M0S",
    }  # fmt: skip
    assert second == dict.fromkeys(first) | {"third": 1e300, "whole": 8, "is": False}
    old = json.loads(table.to_json(orient="records", date_format="iso", double_precision=15))
    inexact = {"small", "third", "tree"}
    for now, before in zip((first, second), old):
        assert {k: v for k, v in now.items() if k not in inexact} == {
            k: v for k, v in before.items() if k not in inexact
        }


@pytest.mark.parametrize("sink", ['database="sqlite:///new.db"', 'path="out"'])
def test_what_is_not_there_is_read_as_empty_and_stays_away(job, capsys, sink):
    run(capsys, "fit", "--run-date", DATE)  # with another sink
    with (job / "job.toml").open("a") as file:
        file.write(f"[sink]\n{sink}\n")
    code, out, _ = run(capsys, "status")
    assert code == 0 and "\nlast        no runs yet in " in out and "\nruns" not in out
    assert json.loads(run(capsys, "status", "--json")[1])["runs"] == []
    for what in ("forecasts", "risks", "rejects", "runs"):
        code, out, err = run(capsys, "export", "--what", what)
        assert code == 0 and out.count("\n") == 1 and err.startswith("0 rows in ")
    code, out, _ = run(capsys, "run", "--run-date", DATE, "--dry-run", "--json")
    assert code == 0 and json.loads(out)["rows"] == 6
    assert not (job / "new.db").exists() and not (job / "out").exists()


def test_an_export_is_whole_or_leaves_what_was_there(job, capsys, monkeypatch):
    run(capsys, "run", "--run-date", DATE, "-q")
    Path("out.csv").write_text("before")

    def full(frame, place, **options):
        Path(place).write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", full)
        code, _, err = run(capsys, "export", "-o", "out.csv")
    assert code == 3 and "found no space left on device" in err
    assert Path("out.csv").read_text() == "before" and not list(Path().glob(".tmp*"))
    assert run(capsys, "export", "-o", "out.csv.gz", "-q")[0] == 0
    assert len(pd.read_csv("out.csv.gz")) == 6  # compressed, as the name says


def test_a_job_of_risks_is_a_job(here, capsys):
    stays = tsf.make_vitals(12, 30, random_state=0).reset_index()
    stays["hours"] = pd.Timestamp("2024-01-01") + stays["hours"]
    stays.to_csv("stays.csv", index=False)
    (here / "risk.toml").write_text(
        f"""
        [job]
        name = "risk"
        [source]
        path = "stays.csv"
        series = "{stays.columns[0]}"
        time = "hours"
        [model]
        estimator = "LogisticBaseline"
        [model.parameters]
        event = "deterioration"
        horizon = "6h"
        step = "1h"
        """
    )
    code, out, err = run(capsys, "run", "-c", "risk.toml", "--run-date", "2024-01-02", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == 12
    table = pd.read_csv(io.StringIO(run(capsys, "export", "-c", "risk.toml")[1]))
    assert len(table) == 12 and table["risk"].between(0, 1).all()
    args = ("--set", "backtest.n_splits=2", "--set", 'backtest.baselines=["LastValue"]')
    code, _, err = run(capsys, "backtest", "-c", "risk.toml", "--run-date", "2024-01-02", *args)
    assert code == 2 and "backtest.baselines" in err  # of which column?
    code, out, err = run(
        capsys, "backtest", "-c", "risk.toml", "--run-date", "2024-01-02", *args[:2]
    )
    assert code == 0 and "\nmetrics\n" in out, err


@pytest.fixture(params=["sqlite", "parquet", "postgres"])
def anywhere(request, job):
    """A job whose sink is each of the three."""
    with contextlib.ExitStack() as stack:
        sink = {"sqlite": 'database = "sqlite:///forecasts.db"', "parquet": 'path = "out"'}
        if request.param == "postgres":
            url = stack.enter_context(request.getfixturevalue("postgres").schema())
            sink["postgres"] = f'database = "{url}"'
        with (job / "job.toml").open("a") as file:
            file.write(f"[sink]\n{sink[request.param]}\n")
        yield job


def test_after_a_change_of_configuration_a_date_is_exported_once(anywhere, capsys):
    def exported(*over: str) -> pd.DataFrame:
        code, _, err = run(capsys, "run", "--run-date", DATE, "-q", *over)
        assert code == 0, err
        return pd.read_csv(io.StringIO(run(capsys, "export", *over)[1]))

    first = exported()
    same_model = exported("--set", "source.missing=use_last")
    assert list(same_model["model"]) == list(first["model"])
    other_model = exported("--set", "model.parameters.horizon=1")
    assert set(other_model["model"]).isdisjoint(first["model"])
    for table, rows in ((first, 6), (same_model, 6), (other_model, 3)):
        assert len(table) == rows
        assert not table.duplicated(["run_date", "series", "target", "step"]).any()
    runs = json.loads(run(capsys, "status", "--json")[1])["runs"]
    scored = [line["status"] for line in runs if line["model"] != "fit"]
    assert scored == ["replaced", "replaced", "ok"]


def test_status_says_how_a_run_has_ended_that_never_began_to_write(anywhere, capsys):
    late = ("--set", "source.max_staleness=1D", "--set", "job.hash_ids=true")
    assert run(capsys, "score", "--run-date", DATE)[0] == 6
    assert run(capsys, "run", "--run-date", "2015-05-01", *late)[0] == 4
    assert run(capsys, "run", "--run-date", DATE, "--set", "source.path=no.csv")[0] == 3
    out = run(capsys, "status")[1]
    last = next(line for line in out.splitlines() if line.startswith("last"))
    assert f"of {DATE}: failed, exit code 3: " in last and "no.csv" in last
    tree = json.loads(run(capsys, "status", "--json")[1])
    assert [(run["model"], run["status"], run["exit_code"]) for run in tree["runs"]] == [
        ("-", "failed", 6), ("-", "failed", 4), ("-", "failed", 3)
    ]  # fmt: skip
    assert tree["runs"][0]["why"].startswith("no model for run date")
    assert tree["runs"][1]["why"].startswith("series are late")
    assert "S00" not in tree["runs"][1]["why"]  # a check sum, as in the log
    assert run(capsys, "run", "--run-date", DATE)[0] == 0
    assert run(capsys, "run", "--run-date", DATE, "--dry-run", *late[:1], "source.path=no")[0] == 3
    table = pd.read_csv(io.StringIO(run(capsys, "export", "--what", "runs")[1]))
    assert table["exit_code"].tolist() == [6, 4, 3, 0, 0]  # a dry run leaves no line
    assert table["why"].isna().tolist() == [False, False, False, True, True]


def test_a_complete_run_that_its_monitor_fails_has_one_line_and_its_code(job, capsys):
    limits = ("--set", "monitor.staleness_warn=1D", "--set", "monitor.staleness_fail=2D")
    run(capsys, "fit", "--run-date", DATE)
    assert run(capsys, "score", "--run-date", "2015-05-15", *limits)[0] == 4
    tree = json.loads(run(capsys, "status", "--json")[1])
    assert [(line["status"], line["exit_code"]) for line in tree["runs"]] == [("ok", 0), ("ok", 4)]
    assert tree["runs"][-1]["why"].startswith("age of the newest row")


def test_rejects_of_a_run_that_ends_with_5_before_it_writes_are_exported(anywhere, capsys):
    table = pd.read_csv("prices.csv").astype({"close": object})
    table.loc[table["ticker"] == "S01", "close"] = "x"
    table.to_csv("prices.csv", index=False)
    assert run(capsys, "run", "--run-date", DATE)[0] == 5
    found = pd.read_csv(io.StringIO(run(capsys, "export", "--what", "rejects")[1]))
    assert found[["series", "stage"]].values.tolist() == [["S01", "read"]]


def test_a_line_that_a_sink_does_not_take_is_said(job, capsys):
    over = ("--set", "sink.database=sqlite:///no/such/folder.db", "--log", "json")
    code, _, err = run(capsys, "run", "--run-date", DATE, *over)
    lines = [json.loads(line) for line in err.splitlines()]
    assert code == 3 and lines[-1]["exit_code"] == 3
    (lost,) = [line for line in lines if line.get("event") == "not in the ledger"]
    assert lost["level"] == "warning" and "expected a folder" in lost["message"]


def test_a_line_says_no_value_of_an_error_of_the_program(job, capsys, monkeypatch):
    def broken(*args, **options):
        raise ZeroDivisionError("patient 7 has 3.4")

    monkeypatch.setattr("tsforecast.batch.work.read_source", broken)
    assert run(capsys, "run", "--run-date", DATE)[0] == 1
    (line,) = json.loads(run(capsys, "status", "--json")[1])["runs"]
    assert (line["exit_code"], line["why"]) == (1, "ZeroDivisionError")
    assert "patient" not in run(capsys, "export", "--what", "runs", "--json")[1]


# ---------------------------------------------------------------- how it ends


def test_a_flag_stands_over_the_environment(job, capsys, monkeypatch):
    monkeypatch.setenv("TSFORECAST_SOURCE__PATH", "none.csv")
    assert run(capsys, "check", "--run-date", DATE)[0] == 3
    assert run(capsys, "check", "--run-date", DATE, "--set", "source.path=prices.csv")[0] == 0


def test_a_run_says_on_a_page_what_it_has_done_and_all_of_it_when_asked(job, capsys):
    def names(text):
        return [line.split()[0] for line in text.splitlines()]

    short = names(run(capsys, "run", "--run-date", DATE)[1])
    assert {"version", "rows", "source.rejects", "monitor.status", "fit.role"} <= set(short)
    assert len(short) <= 20 and not any("seconds" in name for name in short)
    whole = names(run(capsys, "run", "--run-date", DATE, "-v")[1])
    assert {"config_digest", "seconds.read", "monitor.staleness.state"} <= set(whole)
    assert {name for name in short if not name.startswith("fit")} <= set(whole)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["-c", "none.toml"], 2, "expected a file that can be read"),
        (["--set", "x"], 2, "expected a key and a value, such as run.workers=2"),
        (["--set", "run.workrs=2"], 2, "Did you mean 'workers'?"),
        (["--set", "sink.password=x"], 2, "no secret on a command line"),
        (["--workers", "0"], 2, "command line: run.workers: expected a number"),
        (["--set", "model.parameters.horizn=2"], 2, "Did you mean 'horizon'?"),
        (["--set", "source.path=none.csv"], 3, "none.csv"),
        (["--set", "source.max_staleness=1D", "--run-date", "2025-01-01"], 4, "series are late"),
        (["--run-date", "9000-01-01"], 2, "--run-date: expected a day up to today"),
        (["--spread", "serial", "--dask", "tcp://a:1"], 2, "'dask_address' beside spread = 'dask'"),
    ],
)
def test_run_ends_with_the_code_of_its_error(job, capsys, args, code, message):
    args = args if "--run-date" in args else [*args, "--run-date", DATE]
    found, out, err = run(capsys, "run", *args)
    assert found == code and message in err.splitlines()[-1] and out == ""
    assert err.splitlines()[-1].startswith("error: ") and "Traceback" not in err
    found, out, _ = run(capsys, "run", *args, "--json")
    assert found == code and json.loads(out)["exit_code"] == code


def test_score_without_a_model_and_a_locked_job_have_their_codes(job, capsys):
    from tsforecast.batch.files import job_lock

    assert run(capsys, "score", "--run-date", DATE)[0] == 6
    with job_lock(job / "state", "prices"):
        code, _, err = run(capsys, "run", "--run-date", DATE)
    assert code == 75 and err.startswith("error: ")


def test_check_looks_at_everything_whatever_is_wrong(job, capsys):
    wrong = ("--set", "source.path=none.csv", "--set", "sink.path=prices.csv/x")
    wrong += ("--set", "model.parameters.horizn=1", "--run-date", DATE)
    code, out, _ = run(capsys, "check", *wrong)
    states = {line.split()[0]: line.split()[1:3] for line in out.splitlines()[1:]}
    assert code == 2
    assert states["job"][0] == "ok" and states["model"][0] == "ok"
    assert states["parameters"] == ["exit", "2"] and states["source"] == ["exit", "3"]
    assert states["sink"][0] == "exit"
    tree = json.loads(run(capsys, "check", *wrong, "--json")[1])
    assert tree["exit_code"] == 2 and len(tree["checks"]) == 5


def test_check_names_the_champion_of_its_date(job, capsys):
    dates = ("2015-01-20", "2015-02-27")
    for date in dates:
        assert run(capsys, "fit", "--run-date", date, "-q")[0] == 0
    for date, version in zip(dates, ("0001", "0002")):
        tree = json.loads(run(capsys, "check", "--run-date", date, "--json")[1])
        (model,) = [row["found"] for row in tree["checks"] if row["what"] == "model"]
        assert (model, tree["model"]) == (f"champion {version}", version)
    out = run(capsys, "check", "--run-date", "2015-01-05")[1]
    assert "none for this date" in out


def test_check_shows_its_table_whatever_the_source_holds(job, capsys, monkeypatch):
    table = pd.read_csv("prices.csv").assign(target=1.0)
    table.to_csv("prices.csv", index=False)
    over = ("--run-date", DATE, "--set", "source.columns=[]")
    code, out, err = run(capsys, "check", *over)
    assert code == 3 and out.splitlines()[-1].split()[:3] == ["source", "exit", "3"]
    assert "found 'target'. Rename it in the source" in err and "data.rename" not in err

    def broken(*args):
        raise tsf.DataError("rows: expected some, found none. Add them.")

    monkeypatch.setattr("tsforecast.batch.job.check", broken)
    code, out, err = run(capsys, "check", *over)
    assert code == 3 and out.splitlines()[-1].split()[:3] == ["source", "exit", "3"]


def test_what_a_split_lacks_is_said_with_the_count(job, capsys):
    code, _, err = run(capsys, "backtest", "--run-date", DATE, "--set", "backtest.n_splits=40")
    assert code == 3 and "expected at least 2" in err and "found 64" in err


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ("60", True), ("2 (8 series)", True), ("60 in the longest of 8", True), ("3 rows", True),
        ("3 of 8 without", True), ("20 rows, 0 of them with it", True), ("-7", False),
        ("2.5", False), ("7, of 8", False), ("5, 7", False), ("3 others, e.g. 7", False),
        ("7 in 3 rows", False), ("those of 7", False), ("3 of class 7", False),
        ("'HIV positive', 'unknown'", False), ("3 of 8, 'unknown'", False),
    ],
)  # fmt: skip
def test_of_what_was_found_counts_are_said_and_values_never(found, told):
    text = "short: expected at least 9 rows, found {}. Add some."
    assert without_values(text.format(found)) == text.format(found if told else "others")
    if found.isdecimal():  # of what was not counted it may be a value
        text = "odd: expected 0 and 1, found {}. Mend it."
        assert without_values(text.format(found)) == text.format("others")


def test_an_error_of_the_program_shows_no_value_unless_asked(job, capsys, monkeypatch):
    def broken(args):
        raise ZeroDivisionError("patient 7 has 3.4")

    monkeypatch.setattr("tsforecast.cli.status.status", broken)
    code, out, err = run(capsys, "status")
    assert (code, out) == (1, "") and "patient 7" not in err
    assert err.startswith("error: ZeroDivisionError at test_cli.py:")
    assert "patient 7" in run(capsys, "status", "-v")[2]


@pytest.mark.parametrize(
    ("name", "extra"),
    [("sqlalchemy.dialects", "batch"), ("distributed", "dask"), ("psycopg", "postgres")],
)
def test_a_package_that_is_not_there_is_named_with_its_extra(job, capsys, monkeypatch, name, extra):
    def broken(args):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("tsforecast.cli.status.status", broken)
    code, _, err = run(capsys, "status")
    assert code == 2 and f"pip install 'tsforecast[{extra}]'" in err


def test_interrupts_have_the_codes_of_a_shell(job, capsys, monkeypatch):
    # a shell starts what runs in the background with interrupts ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for signal_, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            stopped = partial(lambda number, args: signal.raise_signal(number), signal_)
            monkeypatch.setattr("tsforecast.cli.status.status", stopped)
            found, _, err = run(capsys, "status")
            assert found == code and err.startswith("error: stopped by ")
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_talk_is_one_line_each_quiet_or_json(job, capsys):
    for last in ("scored", "nothing new"):
        err = run(capsys, "run", "--run-date", DATE, "--log", "json")[2]
        lines = [json.loads(line) for line in err.splitlines()]
        assert [line["event"] for line in lines][:: len(lines) - 1] == ["read", last]
        assert all({"at", "level", "job", "run_date"} <= set(line) for line in lines)
    assert run(capsys, "run", "--run-date", DATE, "-q")[2] == ""
    wrong = run(capsys, "run", "-c", "none.toml", "--log", "json")[2]
    assert json.loads(wrong.splitlines()[-1])["exit_code"] == 2


def test_colour_is_for_terminals_that_want_it(job, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for setting, coloured in (("", True), ("1", False)):
        stream = Terminal()
        monkeypatch.setenv("NO_COLOR", setting)
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(["status", "-c", "none.toml"]) == 2
        assert ("\033[31merror" in stream.getvalue()) == coloured


def test_logging_is_left_as_it_was(job, capsys):
    logger = logging.getLogger("tsforecast")
    before = (list(logger.handlers), logger.level, logger.propagate)
    run(capsys, "status", "-c", "none.toml")
    assert (list(logger.handlers), logger.level, logger.propagate) == before


# ---------------------------------------------------------------- real processes


def test_a_process_ends_with_the_code_and_no_traceback(job):
    done = process("run", "--set", "source.path=none.csv", cwd=job, stdin=subprocess.DEVNULL)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_is_full_is_said(job):
    command = f"{sys.executable} -m tsforecast status > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=job, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("error: standard output: expected a disk with room")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_gone_is_no_error(job):
    main(["run", "--run-date", DATE, "-q"])
    command = f"{sys.executable} -m tsforecast export -q; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({command}) | true"], cwd=job, capture_output=True, text=True
    )
    assert done.stderr.strip() == "141"


def test_a_forecast_that_is_terminated_ends_with_143(here):
    panel = tsf.make_prices(3, 2000, random_state=0)
    panel.reset_index().to_csv(here / "long.csv", index=False)
    command = [sys.executable, "-m", "tsforecast", "forecast", "long.csv", "--horizon", "5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stderr is not None
        assert child.stderr.readline().startswith(b"read as")
        time.sleep(4)  # among imports, or in the fit
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 143 and out == b"", err
    assert b"error: stopped by SIGTERM" in err and b"Traceback" not in err


# ---------------------------------------------------------------- fuzz

_cells = st.sampled_from(
    ["", "1", "2.5", "-3", "nan", "inf", "1e400", "2024-01-01", "2024-01-02", "2024-13-45", "x",
     "20240101", "2024-01-01T00:00:00+02:00", "2024-03-31 02:30", "01/02/2024", "True", "\x00",
     '"', "9" * 30, "1j", "12:30", "1677-01-01", "9999-12-31"]
)  # fmt: skip


@st.composite
def _tables(draw):
    """Rows of two series or one that would do, with some cells, names and rows altered."""
    n_series, n_rows = draw(st.integers(1, 2)), draw(st.sampled_from([0, 1, 3, 24, 30, 30, 30]))
    days = pd.date_range("2024-01-01", periods=n_rows).astype(str)
    form = draw(st.sampled_from(["{who},{day},{y},{n}", "{day},{y}", "{n},{day},{y}"]))
    names = form.format(who="ticker", day="date", y="close", n="id")
    rows = [names] + [
        form.format(who="AB"[who], day=day, y=50.5 + (7 * at + who) % 11, n=at)
        for who in range(n_series)
        for at, day in enumerate(days)
    ]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(rows) - 1))
        cells = rows[at].split(",")
        cells[draw(st.integers(0, len(cells) - 1))] = draw(_cells)
        new = draw(st.sampled_from([",".join(cells)] * 4 + [rows[at] + ",1", "", cells[0]]))
        rows[at] = new
    if draw(st.booleans()):
        rows[1:] = draw(st.permutations(rows[1:]))
    return "\n".join(rows)


def _ends_well(text: bytes, folder: Path) -> None:
    file = folder / "any.csv"
    file.write_bytes(text)
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", errors)
        patch.setattr(sys, "stdout", io.StringIO())
        patch.setattr(
            oneshot, "_model",
            lambda what, longest, horizon, *_: tsf.Naive(target=what.target, horizon=horizon),
        )  # fmt: skip
        codes = [main(["init", "--from", str(file), "--print"]), main(["forecast", str(file)])]
    assert set(codes) <= {0, 2, 3}, (text, errors.getvalue())
    assert "Traceback" not in errors.getvalue()


@given(_tables())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_table_gives_a_forecast_or_our_error(tmp_path_factory, text):
    _ends_well(text.encode(), tmp_path_factory.getbasetemp())


@given(st.binary(max_size=120) | st.text(max_size=120).map(lambda t: t.encode("utf-8", "replace")))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_give_a_forecast_or_our_error(tmp_path_factory, data):
    _ends_well(data, tmp_path_factory.getbasetemp())
