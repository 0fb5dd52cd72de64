"""The live example of a scheduled job runs, and shows that a repeat changes nothing."""

import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast import batch_demo
from tsforecast.batch.config import load_config

SMALL = ["--series", "6", "--max-epochs", "1"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TSFORECAST_DATA", raising=False)
    return tmp_path / "batch-demo"


def test_the_demo_scores_three_run_dates_and_repeats_them(folder, capsys):
    batch_demo.main([*SMALL, "--folder", str(folder)])
    printed = capsys.readouterr().out
    assert "6 made-up stocks" in printed and "[model.parameters]" in printed
    assert printed.count("exit code 0") == 6
    assert printed.count("fitted model 0001, scored; 30 rows") == 1
    assert printed.count("nothing to do; 30 rows") == 3
    assert "champion          0001" in printed
    assert "Nothing has changed: 90 rows of 6 stocks and 3 run dates" in printed
    kept = pd.read_parquet(folder / "forecasts.parquet")
    assert kept.groupby("run_date").size().to_list() == [30] * 3
    load_config(folder / "job.toml", environ={})  # and is one to play with

    batch_demo.main([*SMALL, "--folder", str(folder)])  # a second demo finds all done
    assert capsys.readouterr().out.count("nothing to do; 30 rows") == 6
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "forecasts.parquet"), kept)


def test_the_demo_ends_with_an_error_where_a_repeat_changes_a_row(folder, monkeypatch):
    exported = batch_demo._forecasts
    seen = []

    def altered(*arguments):
        frame = exported(*arguments)
        seen.append(frame)
        return frame.assign(forecast=frame["forecast"] + 1e-9) if len(seen) > 1 else frame

    monkeypatch.setattr(batch_demo, "_forecasts", altered)
    with pytest.raises(SystemExit, match="The repeat has changed rows"):
        batch_demo.main([*SMALL, "--folder", str(folder)])


def test_the_demo_ends_with_the_code_of_a_command_that_fails(folder, monkeypatch):
    text = batch_demo.TOML.replace('target = "close"', 'target = "open"')
    monkeypatch.setattr(batch_demo, "TOML", text)
    with pytest.raises(SystemExit) as ended:
        batch_demo.main([*SMALL, "--folder", str(folder)])
    assert ended.value.code == 3


def test_real_stocks_are_taken_where_there_are_some(monkeypatch):
    monkeypatch.setenv("TSFORECAST_DATA", "/somewhere")
    panel = tsf.make_prices(5, 30, random_state=0)
    monkeypatch.setattr(tsf, "load_sp500_ohlcv", lambda: panel)
    found, source = batch_demo.prices(3)
    assert found.index.get_level_values(0).nunique() == 3 and "S&P 500" in source

    def missing():
        raise FileNotFoundError

    monkeypatch.setattr(tsf, "load_sp500_ohlcv", missing)
    assert "made-up" in batch_demo.prices(3)[1]
