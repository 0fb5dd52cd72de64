"""The contract of a run: repeats, cuts, policies, rejects, models and the ledger."""

import datetime as dt
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import DAY, N_SERIES, TOML, at, config_of, equal, events, prices, write_job

import tsforecast as tsf
from tsforecast import _checks
from tsforecast.batch import job, parts
from tsforecast.batch.asof import AsOf
from tsforecast.batch.config import SinkConfig
from tsforecast.batch.exits import (
    ConfigError,
    JobError,
    LockedError,
    ModelError,
    RejectsError,
    SinkError,
    SourceError,
    StaleError,
)
from tsforecast.batch.files import job_lock
from tsforecast.batch.judging import records
from tsforecast.batch.sinks import open_sink
from tsforecast.batch.work import Work, require_few_rejects


@pytest.fixture
def path(tmp_path):
    return write_job(tmp_path)


def sink_of(config):
    return open_sink(config.sink, config.job.name)


def forecasts(config, *args):
    with sink_of(config) as sink:
        return sink.forecasts(*args)


def ledger(config):
    with sink_of(config) as sink:
        return sink.runs()


def rejects(config):
    with sink_of(config) as sink:
        return sink.rejects()


# ------------------------------------------------------------------------------------------ a run


def test_a_run_writes_what_the_model_says_of_the_rows_up_to_the_cut(path):
    config = config_of(path)
    summary = job.run(config, at())
    found = forecasts(config)
    table = prices()
    panel = tsf.as_panel(
        table[table["date"] <= pd.Timestamp(DAY)], series="ticker", time="date", columns=["close"]
    )
    model = tsf.Naive(target="close", horizon=2, levels=(0.1, 0.5, 0.9)).fit(panel)
    expected = model.predict(panel)
    assert summary["rows"] == len(expected) == 2 * N_SERIES
    ours = found.set_index(["series", "time"]).sort_index()
    theirs = expected.sort_index()
    assert list(ours["step"]) == list(theirs["step"])
    for name in ("forecast", "q0.1", "q0.9"):
        assert ours[name].to_numpy() == pytest.approx(theirs[name].to_numpy(), rel=1e-12)
    assert set(ours["source"]) == {"model"}
    json.dumps(summary)


def test_a_run_of_a_past_date_reads_nothing_after_it(path, tmp_path):
    config = config_of(path)
    job.run(config, at())
    (tmp_path / "short").mkdir()
    table = prices()
    cut = table[table["date"] <= pd.Timestamp(DAY)]
    short = config_of(write_job(tmp_path / "short", cut))
    job.run(short, at())
    equal(forecasts(config).drop(columns=["model"]), forecasts(short).drop(columns=["model"]))


def test_a_repeat_changes_nothing(path):
    config = config_of(path)
    first = job.run(config, at())
    before, runs = forecasts(config), ledger(config)
    again = job.run(config, at())
    assert again["nothing_new"] and again["run"] == first["run"]
    assert again["rows"] == first["rows"] and again["fit"] is None
    equal(forecasts(config), before)
    assert len(ledger(config)) == len(runs)


def test_corrected_data_replace_the_rows_of_the_date(path, tmp_path):
    config = config_of(path, fit__every="never")
    job.run(config, at())
    table = prices()
    table.loc[table["date"] == pd.Timestamp(DAY), "close"] *= 2
    write_job(tmp_path, table)
    job.run(config, at())
    found = forecasts(config)
    assert len(found) == 2 * N_SERIES
    assert sorted(found.loc[found["step"] == 1, "forecast"]) == pytest.approx(
        sorted(table.loc[table["date"] == pd.Timestamp(DAY), "close"])
    )
    status = ledger(config).query("model != 'fit'")["status"].to_list()
    assert status[-1] == "ok" and "open" not in status


def test_run_dates_stand_beside_each_other(path):
    config = config_of(path)
    for day in (DAY, dt.date(2015, 6, 1), dt.date(2015, 6, 2)):
        job.run(config, at(day))
    found = forecasts(config)
    assert found.groupby("run_date").size().to_list() == [2 * N_SERIES] * 3
    assert job.status(config)["latest"] == "2015-06-02"


def test_a_dry_run_writes_nothing(path, tmp_path):
    config = config_of(path)
    found = job.run(config, at(), dry_run=True)
    assert found["fit"]["due"] == "no model for this date"
    job.fit(config, at(), dry_run=True)
    assert job.registry_of(config).versions() == [] and not (tmp_path / "forecasts.db").exists()
    job.fit(config, at())
    runs = ledger(config)
    counted = job.score(config, at(), dry_run=True)
    assert counted["rows"] == 2 * N_SERIES and counted["sources"] == {"model": N_SERIES}
    assert len(ledger(config)) == len(runs) and len(forecasts(config)) == 0


def test_a_dry_run_without_a_model_ends_as_the_run_would(path, tmp_path):
    table = prices().astype({"close": object})
    table.loc[table["ticker"] == "S03", "close"] = "x"
    config = config_of(write_job(tmp_path, table))
    reason = "found 1, 1 with DataError: has a value of column 'close' that is no number. Mend"
    for dry in (lambda: job.run(config, at(), dry_run=True), lambda: job.check(config, at()),
                lambda: job.fit(config, at(), dry_run=True)):  # fmt: skip
        with pytest.raises(RejectsError, match=reason):
            dry()
    with pytest.raises(RejectsError, match="found 1. Look at the rejects"):
        job.run(config, at())
    for day in (dt.date(2001, 1, 1), DAY):
        write_job(tmp_path, table.iloc[:0])
        with pytest.raises(SourceError):
            job.run(config, at(day), dry_run=True)


def test_check_says_what_a_run_would_meet(path):
    config = config_of(path)
    found = job.check(config, at())
    assert found["fit_due"] == "no model for this date" and found["model"] is None
    assert found["treatments"] == {"model": N_SERIES}
    job.run(config, at())
    found = job.check(config, at())
    assert found["fit_due"] is None and found["model"] == "0001"
    with pytest.raises(SourceError, match="columns are missing: expected columns .'open'"):
        job.check(config_of(path, model__parameters={"target": "open", "horizon": 2}), at())


def test_one_series_without_a_name(tmp_path):
    table = prices(1).drop(columns="ticker")
    path = write_job(tmp_path, table, toml=TOML.replace('series = "ticker"\n', ""))
    config = config_of(path)
    job.run(config, at())
    assert len(forecasts(config)) == 2 and forecasts(config)["series"].nunique() == 1


@pytest.mark.parametrize("how", ["processes", "dask"])
def test_results_do_not_depend_on_what_the_work_is_spread_over(path, how):
    config = config_of(path)
    job.run(config, at())
    other = config_of(path, run__spread=how, run__workers=2, sink__database="sqlite:///other.db")
    job.score(other, at())
    equal(forecasts(config), forecasts(other))


@pytest.mark.slow
@pytest.mark.parametrize("context", ["window", "history"])
def test_a_network_says_the_same_bit_for_bit_wherever_it_runs(tmp_path, context):
    path = write_job(tmp_path, prices(24, 110))
    parameters = {
        "target": "close",
        "horizon": 3,
        "lookback": 10,
        "hidden_sizes": [16],
        "context": context,
        "transform": {"class": "Log"},
        "training": {"class": "Training", "max_epochs": 3},
        "random_state": 0,
    }
    found = []
    for how in ("serial", "processes", "dask"):
        config = config_of(
            path,
            job__part_size=5,
            model__estimator="RecurrentForecaster",
            model__parameters=parameters,
            run__spread=how,
            run__workers=None if how == "serial" else 2,
            sink__database=f"sqlite:///{how}.db",
        )
        job.run(config, at())
        found.append(forecasts(config).sort_values(["series", "time"], ignore_index=True))
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0], other, check_exact=True)


def test_a_parquet_folder_holds_the_same(path):
    config = config_of(path)
    job.run(config, at())
    folder = config.job.folder.parent / "out"
    other = config.model_copy(update={"sink": SinkConfig(path=folder)})
    job.score(other, at())
    equal(forecasts(config), forecasts(other))


# ---------------------------------------------------------------------------- resume and the lock


class Stop(BaseException):
    pass


def _breaking(monkeypatch, after, error):
    """Make the sink raise after so many parts."""
    from tsforecast.batch.sql import SqlSink

    real, count = SqlSink.write_part, [0]

    def write(self, *args, **kwargs):
        if count[0] == after:
            raise error
        count[0] += 1
        real(self, *args, **kwargs)

    monkeypatch.setattr(SqlSink, "write_part", write)
    return count


@pytest.mark.parametrize("error", [Stop(), KeyboardInterrupt(), SinkError("disk full"), OSError()])
def test_a_run_that_breaks_shows_nothing_and_the_next_goes_on(path, monkeypatch, error):
    config = config_of(path)
    with monkeypatch.context() as patch:
        _breaking(patch, 1, error)
        with pytest.raises(type(error)):
            job.run(config, at())
    assert len(forecasts(config)) == 0
    last = ledger(config).iloc[-1]
    assert (last["status"], last["visible"], last["parts_done"]) == ("failed", False, 1)
    assert last["summary"]["error"] == type(error).__name__
    count = _breaking(monkeypatch, 99, error)
    found = job.run(config, at())
    assert count == [2] and found["resumed"] and found["parts_resumed"] == 1
    assert len(forecasts(config)) == 2 * N_SERIES
    assert ledger(config).iloc[-1]["status"] == "ok"


def test_the_summary_of_a_resumed_run_counts_the_series_of_all_parts(path, monkeypatch):
    config = config_of(path)
    with monkeypatch.context() as patch:
        _breaking(patch, 2, Stop())
        with pytest.raises(Stop):
            job.run(config, at())
    found = job.run(config, at())
    assert found["parts_resumed"] == 2 and found["sources"] == {"model": N_SERIES}
    assert job.run(config, at())["sources"] == {"model": N_SERIES}  # nothing new
    assert ledger(config).iloc[-1]["summary"]["sources"] == {"model": N_SERIES}


def test_another_cut_of_the_series_resumes_nothing(path, monkeypatch):
    with monkeypatch.context() as patch:
        _breaking(patch, 1, Stop())
        with pytest.raises(Stop):
            job.run(config_of(path), at())
    found = job.run(config_of(path, job__part_size=5), at())
    assert not found["resumed"] and found["rows"] == 2 * N_SERIES


def test_a_job_that_is_at_work_is_left_alone(path):
    config = config_of(path)
    code = (
        "import sys, pathlib\nfrom tsforecast.batch.files import job_lock\n"
        "with job_lock(pathlib.Path(sys.argv[1]), 'prices'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(config.job.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        for verb in (job.run, job.fit, job.score):
            with pytest.raises(LockedError, match=f"process {holder.pid}") as caught:
                verb(config, at())
            assert caught.value.code == 75
        with pytest.raises(LockedError):
            job.promote(config, "0001")
        quick = {"backtest__n_splits": 1, "backtest__origins_per_split": 2}
        job.backtest(config_of(path, **quick), at())  # keeps nobody from work, and need not wait
    finally:
        holder.communicate()
    job.run(config, at())


@pytest.mark.parametrize("verb", [job.run, job.fit])
def test_the_lock_is_free_after_an_error(path, verb, monkeypatch):
    config = config_of(path)
    monkeypatch.setattr(tsf.Naive, "fit", lambda *args: (_ for _ in ()).throw(Stop()))
    with pytest.raises(Stop):
        verb(config, at())
    with job_lock(config.job.folder, config.job.name):
        pass
    last = ledger(config).iloc[-1]
    assert (last["model"], last["status"]) == ("fit", "failed")


def test_sigterm_in_a_fit_is_143_and_the_handler_comes_back(path, monkeypatch):
    config = config_of(path)

    def fit(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)

    monkeypatch.setattr(tsf.Naive, "fit", fit)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        job.run(config, at())
    assert caught.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    last = ledger(config).iloc[-1]
    assert (last["status"], last["summary"]["exit_code"]) == ("failed", 143)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_sigterm_is_143_though_its_exception_is_lost_in_a_destructor():
    from tsforecast.batch.exits import terminable

    class Ending:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(0.01)

    went_on = []
    with pytest.raises(SystemExit) as caught, terminable():
        went_on.append(Ending().__class__)
    assert caught.value.code == 143 and went_on


# ------------------------------------------------------------------------- late and missing series


def late_table():
    """S00 ends four days before the others; S01 has no value at its newest row."""
    table = prices()
    table = table[table["date"] <= pd.Timestamp(DAY)]
    table = table[(table["ticker"] != "S00") | (table["date"] <= "2015-05-25")]
    table.loc[(table["ticker"] == "S01") & (table["date"] == pd.Timestamp(DAY)), "close"] = np.nan
    return table


@pytest.fixture
def late_path(tmp_path):
    return write_job(tmp_path, late_table())


def test_late_series_fail_the_run_by_default_and_are_named(late_path):
    config = config_of(late_path, source__max_staleness="4D")
    with pytest.raises(StaleError, match="1 of 8 series without, S00.*or choose another") as caught:
        job.run(config, at())
    assert caught.value.code == 4
    assert len(forecasts(config)) == 0


def test_a_name_writes_no_line_of_its_own_into_a_log(tmp_path):
    table = late_table().replace(
        {"ticker": {"S00": 'S00\n{"event": "scored"}\x1b[31m' + "x" * 500}}
    )
    config = config_of(write_job(tmp_path, table), source__max_staleness="4D")
    with pytest.raises(StaleError) as caught:
        job.run(config, at())
    text = str(caught.value)
    assert r'S00\n{"event": "scored"}\x1b[31mx' in text and text.isprintable()
    assert "x" * 60 not in text


def test_late_data_are_not_fitted_either(late_path):
    config = config_of(late_path, source__max_staleness="4D")
    with pytest.raises(StaleError):
        job.run(config, at())
    assert job.registry_of(config).versions() == []


def test_without_a_largest_age_nothing_is_late(late_path):
    assert job.run(config_of(late_path), at())["sources"] == {"model": N_SERIES - 1}


def test_skipped_series_are_among_the_rejects_and_do_not_count_as_failed(late_path):
    config = config_of(
        late_path, source__max_staleness="4D", source__late="skip", job__max_reject_fraction=0.0
    )
    found = job.run(config, at())
    assert found["rejects"] == {"late": 1, "missing": 1}
    table = rejects(config)
    assert dict(zip(table["series"], table["stage"])) == {"S00": "late", "S01": "missing"}
    assert not {"S00", "S01"} & set(forecasts(config)["series"])


def test_fallbacks_are_labelled(late_path):
    config = config_of(
        late_path,
        source__max_staleness="4D",
        source__late="fallback_naive",
        source__missing="use_last",
        model__estimator="Drift",
    )
    found = job.run(config, at())
    assert found["sources"] == {"model": 6, "fallback_naive": 1, "use_last": 1}
    table = forecasts(config).query("step == 1").set_index("series")
    assert table["source"][["S00", "S01", "S02"]].to_list() == [
        "fallback_naive", "use_last", "model",
    ]  # fmt: skip
    last = late_table().dropna().groupby("ticker")["close"].last()
    assert table["forecast"]["S00"] == pytest.approx(last["S00"])
    assert str(table["cutoff"]["S00"])[:10] == "2015-05-25"


def test_naive_fallbacks_do_not_depend_on_the_cut_into_parts(late_path):
    found = []
    for size in (1, 3, 100):
        config = config_of(
            late_path,
            source__max_staleness="1D",
            source__late="fallback_naive",
            job__part_size=size,
            sink__database=f"sqlite:///{size}.db",
        )
        job.run(config, at(dt.date(2015, 6, 15)))
        found.append(forecasts(config))
        assert set(found[-1]["source"]) == {"fallback_naive"}
    equal(found[0], found[1])
    equal(found[0], found[2])


def test_a_run_in_which_all_is_late_is_stale_whatever_is_skipped(path):
    config = config_of(path, source__max_staleness="4D", source__late="skip")
    with pytest.raises(StaleError, match="nothing to forecast"):
        job.run(config, at(dt.date(2016, 1, 1)))


def test_the_age_of_the_newest_row_is_taken_at_the_end_of_the_run_date(path):
    config = config_of(path, source__max_staleness="3D", source__late="fail")
    job.run(config, at(dt.date(2015, 5, 31)))  # Friday's row at the end of Sunday: three days
    config = config_of(path, source__max_staleness="2D", source__late="fail")
    with pytest.raises(StaleError):
        job.run(config, at(dt.date(2015, 5, 31)))


def test_there_is_no_naive_risk(path):
    config = config_of(
        path,
        source__late="fallback_naive",
        model__estimator="LastValue",
        model__parameters={"column": "close", "event": "e", "horizon": 2},
    )
    with pytest.raises(ConfigError, match="no naive risk"):
        job.check(config, at())


# --------------------------------------------------------------------------------------- rejects


def _fails_for(monkeypatch, bad, error):
    real = tsf.Naive.predict

    def predict(self, panel=None, **kwargs):
        if bad & set(panel.index.get_level_values(0)):
            raise error
        return real(self, panel, **kwargs)

    monkeypatch.setattr(tsf.Naive, "predict", predict)


def test_a_series_that_fails_is_rejected_and_the_rest_goes_on(path, monkeypatch):
    _fails_for(monkeypatch, {"S04"}, ValueError("no good (series 'S04')"))
    config = config_of(path, job__max_reject_fraction=0.2)
    found = job.run(config, at())
    assert found["rejects"] == {"score": 1} and found["rows"] == 2 * (N_SERIES - 1)
    row = rejects(config).iloc[0]
    assert row[["series", "stage", "error", "message"]].to_list() == [
        "S04", "score", "ValueError", "no good (series 'S04')",
    ]  # fmt: skip
    assert "S04" not in set(forecasts(config)["series"])


def test_rejects_of_another_configuration_do_not_count(late_path, monkeypatch):
    config = config_of(late_path, job__max_reject_fraction=0.2)
    _fails_for(monkeypatch, {"S04"}, ValueError("no good"))
    for missing, expected in (("skip", {"missing": 1, "score": 1}), ("use_last", {"score": 1})):
        config = config_of(late_path, job__max_reject_fraction=0.2, source__missing=missing)
        assert job.run(config, at())["rejects"] == expected


def test_a_part_that_is_cut_in_halves_gives_the_same_numbers(path, monkeypatch):
    config = config_of(path, job__part_size=8, job__max_reject_fraction=0.2)
    job.run(config, at())
    before = forecasts(config)
    _fails_for(monkeypatch, {"S04"}, ValueError())
    other = config_of(
        path, job__part_size=8, job__max_reject_fraction=0.2, sink__database="sqlite:///other.db"
    )
    job.score(other, at())
    equal(forecasts(other), before[before["series"] != "S04"])


def test_too_many_rejects_fail_the_run_and_stay_to_be_read(path, monkeypatch):
    with monkeypatch.context() as patch:
        _fails_for(patch, {"S04"}, ValueError("no good"))
        config = config_of(path)
        with pytest.raises(RejectsError, match="expected at most 5.0% of 8, found 1") as caught:
            job.run(config, at())
    assert caught.value.code == 5
    assert len(forecasts(config)) == 0 and rejects(config)["series"].to_list() == ["S04"]
    last = ledger(config).iloc[-1]
    assert last["status"] == "failed" and last["summary"]["error"] == "RejectsError"


def test_names_are_hashed_in_rejects_errors_and_logs_if_asked(late_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="tsforecast")
    _fails_for(monkeypatch, {"S04"}, ValueError("no good (series 'S04')"))
    config = config_of(late_path, job__hash_ids=True, job__max_reject_fraction=0.2)
    job.run(config, at())
    table = rejects(config)
    mark = parts.hashed("S04")
    assert mark in set(table["series"]) and f"no good (series '{mark}')" in set(table["message"])
    assert not table.astype(str).apply(lambda c: c.str.contains("S0")).any(axis=None)
    with pytest.raises(StaleError) as caught:
        job.score(config_of(late_path, job__hash_ids=True, source__max_staleness="2D"), at())
    assert "S00" not in str(caught.value) and parts.hashed("S00") in str(caught.value)
    assert "S0" not in caplog.text


def test_names_are_hashed_in_warnings_if_asked(path, monkeypatch):
    def fit(self, panel, y=None):
        warnings.warn("left out: S04", UserWarning, stacklevel=1)
        raise ValueError("parameter 'x': too many for S04")

    monkeypatch.setattr(tsf.Naive, "fit", fit)
    warned = pytest.warns(UserWarning, match="left out")
    with warned as caught, pytest.raises(ConfigError) as error:
        job.run(config_of(path, job__hash_ids=True), at())
    mark = parts.hashed("S04")
    assert [str(each.message) for each in caught] == [f"left out: {mark}"]
    assert str(error.value).endswith(f"too many for {mark}")


@pytest.mark.parametrize("name", ["Ann Smith", "O'Brien", "two\nlines", "tab\there", "X" * 500])
@pytest.mark.parametrize("form", [str, repr])
def test_no_name_is_left_in_the_message_of_a_reject(path, monkeypatch, name, form):
    text = f"{'too short ' * 25}({form(name)})"  # cut in the midst of a long one
    monkeypatch.setattr(tsf.Naive, "predict", lambda *_: (_ for _ in ()).throw(ValueError(text)))
    model = tsf.Naive(target="close", horizon=2).fit(tsf.make_prices(1, 30, random_state=0))
    monkeypatch.setattr(parts, "_loaded", lambda *_: model)
    table = prices().query("ticker == 'S00'").assign(ticker=name)
    panel = tsf.as_panel(table, series="ticker", time="date", columns=["close"])
    part = parts.Part(0, panel, np.array([parts.MODEL], dtype=object))
    (message,) = parts.Score("folder", "mark", hash_ids=True)(part).rejects["message"]
    assert name[:20] not in message and form(name)[1:20] not in message
    assert message.startswith("too short") and len(message) <= 300


def test_values_of_the_data_are_in_no_message_and_no_log(path, monkeypatch, caplog):
    def fit(self, panel, y=None):
        rows = [("S04", pd.Timestamp("2015-03-04"))]
        raise _checks.fail(
            "prices below zero", column="close", series="S04", rows=rows,
            expected="numbers above 0", found="2 others, e.g. -7.25", advice="Drop them.",
        )  # fmt: skip

    monkeypatch.setattr(tsf.Naive, "fit", fit)
    caplog.set_level(logging.INFO, logger="tsforecast")
    with pytest.raises(SourceError) as caught:
        job.run(config_of(path), at())
    assert str(caught.value) == (
        "prices below zero (column 'close'; series 'S04'): expected numbers above 0, "
        "found others. Drop them."
    )
    assert "7.25" not in caplog.text and "2015-03-04" not in caplog.text


def test_workers_that_are_lost_are_said(path, monkeypatch):
    from tsforecast.batch import scoring

    def lost(*args, **kwargs):
        raise BrokenExecutor
        yield

    monkeypatch.setattr(scoring, "spread", lost)
    config = config_of(path)
    with pytest.raises(JobError, match="Look for a lack of memory"):
        job.run(config, at())
    assert ledger(config).iloc[-1]["status"] == "failed"


def test_forecasts_that_are_not_finite_are_rejected(path, monkeypatch):
    real = tsf.Naive.predict

    def predict(self, panel=None, **kwargs):
        frame = real(self, panel, **kwargs)
        second = frame.index.get_level_values(0) == "S02"
        return frame.assign(forecast=frame["forecast"].where(~second, np.inf))

    monkeypatch.setattr(tsf.Naive, "predict", predict)
    config = config_of(path, job__max_reject_fraction=0.2)
    assert job.run(config, at())["rejects"] == {"output": 1}
    assert np.isfinite(forecasts(config)["forecast"]).all()
    assert rejects(config)["error"].to_list() == ["NotFinite"]


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk")])
def test_errors_of_the_machine_are_no_fault_of_a_series(path, monkeypatch, error):
    _fails_for(monkeypatch, {"S04"}, error)
    config = config_of(path, job__max_reject_fraction=1.0)
    with pytest.raises(type(error)):
        job.run(config, at())
    assert ledger(config).iloc[-1]["status"] == "failed"


def test_bad_rows_of_the_source_reject_their_series(tmp_path):
    table = prices().astype({"close": object})
    table.loc[(table["ticker"] == "S03") & (table["date"] == "2015-03-02"), "close"] = "n/a?"
    config = config_of(write_job(tmp_path, table), job__max_reject_fraction=0.2)
    found = job.run(config, at())
    assert sum(found["rejects"].values()) == 1 and found["series"] == N_SERIES
    assert rejects(config)["series"].to_list() == ["S03"]
    with pytest.raises(RejectsError):
        job.score(config_of(path_of(tmp_path), sink__database="sqlite:///strict.db"), at())


def path_of(folder):
    return folder / "job.toml"


def test_check_says_that_too_many_series_are_rejected(tmp_path):
    table = prices().astype({"close": object})
    table.loc[table["ticker"] == "S03", "close"] = "x"
    with pytest.raises(RejectsError, match="expected at most 5.0% of 8, found 1"):
        job.check(config_of(write_job(tmp_path, table)), at())


def test_check_names_the_first_reasons_without_names_or_values(tmp_path):
    table = prices().astype({"close": object})
    for name, word in (("S01", "-7.25"), ("S02", "n/a?"), ("S03", "secret"), ("S04", "-8,5")):
        table.loc[(table["ticker"] == name) & (table["date"] == "2015-03-02"), "close"] = word
    table = pd.concat([table, table[table["ticker"] == "S05"]])
    with pytest.raises(RejectsError) as caught:
        job.check(config_of(write_job(tmp_path, table), job__hash_ids=True), at())
    assert str(caught.value) == (
        "too many series failed: expected at most 5.0% of 8, found 4, 3 with DataError: has a "
        "value of column 'close' that is no number; 1 with DataError: has two rows at one time. "
        "Mend the source, or allow more with [job] max_reject_fraction."
    )


def test_reasons_of_series_that_could_not_be_forecast_are_their_class_alone(tmp_path):
    work = Work(config_of(write_job(tmp_path, prices())), at())
    lines = [("S01", "score", "DataError", "not positive (series 'S01'): e.g. -77.25")] * 2
    rejects = pd.DataFrame(lines, columns=["series", "stage", "error", "message"])
    with pytest.raises(RejectsError, match=r"found 2, 2 with DataError\. Mend the source"):
        require_few_rejects(work, 2, 2, rejects)


def test_a_source_of_which_every_series_is_rejected_is_too_much(path, tmp_path):
    config = config_of(path)
    table = prices().astype({"close": object})
    table.loc[table["date"] == pd.Timestamp(DAY), "close"] = "x"
    bad = config_of(write_job(tmp_path, table))
    for verb in (job.check, job.run):  # without a model
        with pytest.raises(RejectsError, match="found 8"):
            verb(bad, at())
    job.fit(config_of(write_job(tmp_path, prices())), at())
    write_job(tmp_path, table)
    for options in ({"dry_run": True}, {}):
        with pytest.raises(RejectsError, match="found 8"):
            job.run(bad, at(), **options)
    assert len(rejects(config)) == N_SERIES
    assert ledger(config).iloc[-1]["summary"]["error"] == "RejectsError"


def test_an_empty_source_is_an_error_of_the_data(path):
    with pytest.raises(SourceError):
        job.run(config_of(path), at(dt.date(2001, 1, 1)))


# ---------------------------------------------------------------------------------------- models


def test_a_fit_is_due_when_the_last_one_is_old_enough(path):
    config = config_of(path, fit__every="10D")
    assert job.run(config, at(dt.date(2015, 5, 1)))["fit"]["version"] == "0001"
    assert job.run(config, at(dt.date(2015, 5, 8)))["fit"] is None
    found = job.run(config, at(dt.date(2015, 5, 11)))
    assert found["fit"]["version"] == "0002" == found["version"]
    assert found["fit"]["why"] == "a refit of the champion"


def test_a_run_of_a_past_date_uses_no_model_that_has_seen_later_rows(path):
    config = config_of(path, fit__every="10D")
    job.run(config, at(dt.date(2015, 5, 1)))
    job.run(config, at(dt.date(2015, 5, 29)))
    assert job.score(config, at(dt.date(2015, 5, 20)))["version"] == "0001"
    with pytest.raises(ModelError, match="expected a champion that has seen no row after the cut"):
        job.score(config, at(dt.date(2015, 4, 1)))
    found = job.run(config, at(dt.date(2015, 4, 1)))  # fits one for that date
    assert found["version"] == "0003"
    assert job.registry_of(config).find("champion") == "0002"
    assert job.score(config, at(dt.date(2015, 5, 29)))["version"] == "0002"


def test_a_model_of_a_later_date_changes_no_repeat(path):
    """On a Saturday a model is fitted, whose last row is of Friday; then Friday is repeated."""
    config = config_of(path, fit__every="never")
    job.run(config, at(dt.date(2015, 5, 22)))
    job.run(config, at())
    before = forecasts(config, DAY)
    job.fit(config, at(DAY + dt.timedelta(days=1)))
    assert job.registry_of(config).show()["cutoff"][:10] == str(DAY)
    assert job.run(config, at())["nothing_new"]
    equal(forecasts(config, DAY), before)


def test_a_model_of_a_date_far_ahead_stands_in_the_way_of_none(path):
    config = config_of(path, fit__every="10D")
    job.run(config, at(dt.date(2051, 5, 1)))
    assert (
        job.score(config, at(dt.date(2026, 5, 1)))["version"] == "0001"
    )  # it has seen no later row
    assert job.run(config, at(dt.date(2026, 5, 1)))["version"] == "0002"
    assert job.run(config, at(dt.date(2026, 5, 20)))["version"] == "0003"


def test_never_fits_once(path):
    config = config_of(path, fit__every="never")
    assert job.run(config, at(dt.date(2015, 2, 27)))["fit"]["version"] == "0001"
    assert job.run(config, at(dt.date(2015, 6, 26)))["fit"] is None


def test_other_parameters_are_fitted_and_wait_as_challenger_if_so_wished(path):
    job.run(config_of(path), at())
    other = config_of(path, model__estimator="Drift", fit__promote="by_hand")
    found = job.run(other, at())
    assert found["fit"]["role"] == "challenger" and found["version"] == "0001"
    assert not found["same_parameters"]
    assert job.run(other, at())["fit"] is None  # and is not fitted again
    assert job.promote(other)["champion"] == "0002"
    assert job.score(other, at())["version"] == "0002"
    assert job.rollback(other)["champion"] == "0001"
    assert job.run(other, at())["fit"] is None and job.status(other)["champion"] == "0001"


DAYS_BACK = [DAY - dt.timedelta(days=back) for back in (1, 2)]


def trending():
    """Prices that rise by one a day: Drift knows that, the naive does not."""
    table = prices(3)
    order = table.groupby("ticker").cumcount()
    rng = np.random.default_rng(0)
    return table.assign(close=100.0 + order + rng.normal(scale=0.2, size=len(table)))


@pytest.mark.parametrize(("first", "second", "wins"), [("Naive", "Drift", True),
                                                       ("Drift", "Naive", False)])  # fmt: skip
def test_a_challenger_takes_the_place_of_the_champion_if_it_wins(tmp_path, first, second, wins):
    path = write_job(tmp_path, trending())
    options = {"backtest__n_splits": 2, "backtest__origins_per_split": 15}
    # of points alone: with quantiles of its own errors the naive knows the drift, too
    options["model__parameters"] = {"target": "close", "horizon": 2, "levels": []}
    job.fit(config_of(path, model__estimator=first, **options), at())
    config = config_of(path, model__estimator=second, fit__promote="if_better", **options)
    found = job.fit(config, at())
    assert found["contest"]["better"] is wins
    assert found["role"] == ("champion" if wins else "challenger")
    assert job.registry_of(config).find("champion") == ("0002" if wins else "0001")
    if not wins:
        again = job.challenge(config, at())
        assert not again["better"] and again["champion"] == "0001"


def test_where_no_contest_can_be_held_the_champion_goes_on_and_the_new_model_waits(path, caplog):
    caplog.set_level(logging.INFO, logger="tsforecast")
    job.run(config_of(path), at(DAYS_BACK[1]))
    other = config_of(path, model__estimator="Drift", fit__promote="if_better", fit__keep=1)
    found = job.run(other, at(DAYS_BACK[0]))
    assert found["version"] == "0001" and len(forecasts(other, DAYS_BACK[0])) == 2 * N_SERIES
    assert found["fit"]["role"] == "challenger" and "contest" not in found["fit"]
    why = "no contest with version 0001 could be held: too few rows for this splitter"
    assert found["fit"]["why"].startswith(why) and "Use fewer" in found["fit"]["why"]
    assert events(caplog, "no contest")[0]["why"] == found["fit"]["why"]
    assert job.status(other)["challenger"] == "0002"
    again = job.run(other, at())
    assert again["fit"] is None and again["version"] == "0001"
    assert job.registry_of(other).versions() == ["0001", "0002"]
    with pytest.raises(SourceError, match="too few rows"):  # asked for by hand it is an error
        job.challenge(other, at())


def test_old_versions_are_pruned_though_a_fit_fails_after_its_model_was_kept(path, monkeypatch):
    job.fit(config_of(path), at(DAYS_BACK[1]))
    other = config_of(path, model__estimator="Drift", fit__promote="if_better", fit__keep=1)

    def broken(*args, **kwargs):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("tsforecast.batch.fitting.contest", broken)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            job.run(other, at())
    assert job.registry_of(other).versions() == ["0001", "0004"]
    monkeypatch.setattr("tsforecast.batch.registry.Registry.prune", lambda *_, **__: 1 / 0 * [])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        job.run(other, at())


def test_a_fit_behind_a_champion_promoted_by_hand_does_not_say_that_it_is_champion(path):
    config = config_of(path, fit__every="never")
    for day in (dt.date(2015, 5, 1), DAY):
        job.fit(config, at(day))
    job.promote(config, "0001")
    day = at(dt.date(2015, 5, 15))
    found = job.fit(config, day)
    assert (found["version"], found["role"]) == ("0003", "former")
    assert "version 0001, promoted by hand, stays champion of this date" in found["why"]
    assert job.score(config, day)["version"] == "0001"
    assert job.registry_of(config).list()["role"]["0003"] == "former"
    job.rollback(config)
    assert job.score(config, day)["version"] == "0003"
    assert job.fit(config, day)["role"] == "champion"
    assert job.score(config, day)["version"] == "0004"


def test_what_is_kept_of_a_fit_says_span_digests_and_profile(path):
    config = config_of(path, fit__window="2M")
    job.fit(config, at())
    known = job.registry_of(config).show("champion")
    assert known["cutoff"][:10] == "2015-05-29" and known["span"]["first"][:10] == "2015-03-30"
    assert known["config_digest"] == config.digest() and len(known["data_digest"]) == 64
    assert known["profile"]["close"]["rows"] == known["span"]["rows"]


def test_a_damaged_champion_is_an_error_of_code_6_and_not_an_older_one(path):
    config = config_of(path, fit__every="10D")
    job.run(config, at(dt.date(2015, 5, 1)))
    job.run(config, at())
    (job.registry_of(config).folder / "0002" / "state.json").write_text("{}")
    with pytest.raises(ModelError, match="version 0002, cannot be loaded"):
        job.run(config, at(dt.date(2015, 6, 1)))
    assert job.rollback(config)["champion"] == "0001"
    assert job.score(config, at(dt.date(2015, 6, 1)))["version"] == "0001"


def test_parameters_that_a_model_refuses_are_an_error_of_the_configuration(path):
    config = config_of(path, model__parameters={"target": "close", "horizon": 0})
    with pytest.raises(ConfigError) as caught:
        job.run(config, at())
    said = "command line: model.parameters.horizon: expected a whole number of at least 1, found 0"
    assert str(caught.value).startswith(said)
    assert ledger(config).iloc[-1]["status"] == "failed"


# --------------------------------------------------------------------------------- what is judged


def test_a_backtest_writes_tables_and_a_summary(path):
    config = config_of(
        path,
        model__estimator="LagRegressor",
        model__parameters={"target": "close", "horizon": 2},
        backtest__n_splits=2,
        backtest__origins_per_split=5,
        backtest__baselines=["Drift"],
    )
    found = job.backtest(config, at())
    folder = config.job.folder / "backtests" / f"2015-05-29-{config.digest()[:8]}"
    assert found["folder"] == str(folder)
    assert {file.name for file in folder.iterdir()} == {"metrics.csv", "skill.csv", "summary.json"}
    assert json.loads((folder / "summary.json").read_text()) == json.loads(json.dumps(found))
    assert {row["model"] for row in found["metrics"]} == {"model", "Drift", "naive"}
    assert found["verdicts"][0].startswith("model: ") and found["cutoffs"] == 10
    assert pd.Timestamp(found["last_cutoff"]) <= pd.Timestamp(DAY)


def test_a_backtest_leaves_no_table_of_the_one_before_it(path):
    quick = {"backtest__n_splits": 1, "backtest__origins_per_split": 2}
    job.backtest(config_of(path, backtest__baselines=["Drift"], **quick), at())
    with pytest.MonkeyPatch.context() as patch:  # of risks without a baseline there is no skill
        real = job.judge
        patch.setattr(job, "judge", lambda *args, **kw: replace(real(*args, **kw), skill=None))
        found = job.backtest(config_of(path, **quick), at())
    assert found["skill"] == []
    names = {file.name for file in Path(found["folder"]).iterdir()}
    assert names == {"metrics.csv", "summary.json"}


def test_the_numbers_of_a_summary_have_all_digits():
    table = pd.DataFrame(
        {"p": [1.2345678901234567e-12, 2 / 3], "n": [3, np.inf], "word": ["a", None]},
        index=pd.Index(["model", "naive"], name="model"),
    ).assign(k=np.int64(2**53 + 1), better=[True, False])
    found = records(table)
    assert found == json.loads(json.dumps(found)) == [
        {"model": "model", "p": 1.2345678901234567e-12, "n": 3.0, "word": "a", "k": 2**53 + 1,
         "better": True},
        {"model": "naive", "p": 2 / 3, "n": None, "word": None, "k": 2**53 + 1, "better": False},
    ]  # fmt: skip
    assert list(found[0]) == ["model", *table.columns]
    assert records(None) == []


# ----------------------------------------------------------------------------------------- events


EVENTS = """
[job]
name = "risk"
part_size = 10
[source]
path = "prices.csv"
series = "patient"
time = "time"
[model]
estimator = "LogisticBaseline"
[model.parameters]
event = "deterioration"
horizon = "6h"
step = "1h"
[sink]
database = "sqlite:///risks.db"
"""


def stays(n=40):
    table = tsf.make_vitals(n, 48, random_state=0).reset_index()
    hours = table[table.columns[1]]
    names = table[table.columns[0]].astype(str)
    when = pd.Timestamp("2024-03-30") + pd.to_timedelta(hours)
    return table.drop(columns=list(table.columns[:2])).assign(patient="p" + names, time=when)


def test_risks_of_patients_are_a_job_like_any_other(tmp_path):
    config = config_of(write_job(tmp_path, stays(), toml=EVENTS))
    day = at(dt.date(2024, 3, 31))
    found = job.run(config, day)
    with sink_of(config) as sink:
        risks = sink.risks()
    assert found["rows"] == len(risks) == 40 and risks["risk"].between(0, 1).all()
    assert risks.groupby("series").size().max() == 1
    assert {"risk_1", "risk_6"} <= set(risks)
    model = job.registry_of(config).load()
    panel = tsf.as_panel(stays(), series="patient", time="time")
    expected = model.predict_risk(panel)["risk"].groupby(level=0).last()
    assert risks.set_index("series")["risk"].sort_index().to_numpy() == pytest.approx(
        expected.sort_index().to_numpy(), rel=1e-12
    )
    assert job.run(config, day)["nothing_new"]


@pytest.mark.slow  # what the shape of the records gives away is asked of boosted trees
@pytest.mark.filterwarnings("ignore:NEWS2 has no column")
def test_a_backtest_of_risks_is_judged_on_other_patients(tmp_path):
    toml = EVENTS.replace("[sink]", '[backtest]\nn_splits = 2\nbaselines = ["NEWS2"]\n[sink]')
    config = config_of(write_job(tmp_path, stays(), toml=toml))
    found = job.backtest(config, at(dt.date(2024, 3, 31)))
    assert [row["model"] for row in found["metrics"]] == ["model", "NEWS2"]
    assert [row["model"] for row in found["skill"]] == ["model"] and found["folds"] == 2


def test_times_with_a_zone_are_late_by_the_clock_of_the_job(tmp_path):
    hours = pd.date_range("2024-03-29", "2024-03-31 23:00", freq="h", tz="Europe/Berlin")
    table = pd.DataFrame({"ticker": "A", "date": hours, "close": np.arange(len(hours)) + 1.0})
    toml = TOML.replace('name = "prices"', 'name = "prices"\ntimezone = "Europe/Berlin"')
    path = write_job(tmp_path, table, toml=toml)
    day = AsOf(dt.date(2024, 3, 31), "Europe/Berlin")  # a day of 23 hours
    assert job.run(config_of(path, source__max_staleness="1h"), day)["rows"] == 2
    write_job(tmp_path, table.iloc[:-1], toml=toml)
    with pytest.raises(StaleError, match="2024-03-31 23:00:00"):
        job.run(config_of(path, source__max_staleness="1h"), day)


# ------------------------------------------------------------------------------------ what is said


def test_the_log_has_lines_of_json_with_counts(path, caplog):
    caplog.set_level(logging.INFO, logger="tsforecast")
    config = config_of(path)
    job.run(config, at())
    assert {line["job"] for line in events(caplog)} == {"prices"}
    names = [line["event"] for line in events(caplog)]
    assert names == [
        "read",
        "fit due",
        "fitting",
        "fit",
        "part",
        "part",
        "part",
        "monitored",
        "scored",
    ]
    assert events(caplog, "read")[0]["series"] == N_SERIES


def test_the_log_says_how_a_run_has_failed(path, caplog):
    caplog.set_level(logging.INFO, logger="tsforecast")
    with pytest.raises(ModelError):
        job.score(config_of(path), at())
    assert events(caplog, "failed")[0]["exit_code"] == 6


@pytest.mark.parametrize("name", ["ENOSPC", "EROFS", "EACCES"])
def test_a_full_or_read_only_disk_is_said_and_leaves_what_was_there(path, monkeypatch, name):
    import errno

    config = config_of(path, fit__every="1D")
    job.run(config, at(dt.date(2015, 5, 28)))
    before = forecasts(config)

    def refuse(*args):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)), "about.json")

    with monkeypatch.context() as patch:
        patch.setattr("tsforecast.batch.registry.replace_file", refuse)
        with pytest.raises(SinkError, match="file about.json: expected a disk with room") as caught:
            job.run(config, at())
    assert caught.value.code == 3 and ledger(config).iloc[-1]["status"] == "failed"
    equal(forecasts(config), before)
    assert job.registry_of(config).versions() == ["0001"]
    assert job.run(config, at())["version"] == "0002"


@pytest.mark.parametrize("name", ["ENOSPC", "EROFS", "EACCES"])
def test_a_state_folder_that_refuses_has_one_exit_code_early_and_late(path, monkeypatch, name):
    """At the lock as at what is written behind a fit; a folder that cannot be is another matter."""
    import errno

    def refuse(*args, **kwargs):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    config = config_of(path)
    for place in ("tsforecast.batch.files.alone", "tsforecast.batch.registry.replace_file"):
        with monkeypatch.context() as patch:
            patch.setattr(place, refuse)
            with pytest.raises(SinkError, match="the right to write there, found ") as caught:
                job.run(config, at())
        assert caught.value.code == 3
    with pytest.raises(ConfigError, match="a folder that can be written to"):
        job.run(config_of(path, job__folder=str(path / "state")), at())


def test_old_versions_are_pruned_after_a_fit_and_runs_go_on(path, caplog):
    caplog.set_level(logging.INFO, logger="tsforecast")
    config = config_of(path, fit__every="1D", fit__keep=2)
    days = [DAY - dt.timedelta(days=back) for back in (4, 3, 2, 1, 0)]
    for day in days:
        job.run(config, at(day))
    registry = job.registry_of(config)
    assert registry.versions() == ["0004", "0005"] == registry.aliases()["champions"]
    assert [line["versions"] for line in events(caplog, "pruned")] == [["0001"], ["0002"], ["0003"]]
    assert job.run(config, at())["nothing_new"]
    before = forecasts(config)
    job.rollback(config)
    assert job.score(config, at(DAY + dt.timedelta(days=3)))["version"] == "0004"
    assert len(forecasts(config)) > len(before)
    # the champion of a past date stays, though two newer versions are there
    past = config_of(path, fit__keep=1, fit__promote="by_hand", model__parameters={
        "target": "close", "horizon": 1})  # fmt: skip
    assert job.fit(past, at(days[-2]))["role"] == "challenger"
    assert "0004" in registry.versions()


def test_what_killed_processes_have_left_is_swept(path):
    config = config_of(path)
    job.run(config, at())
    left = [config.job.folder / ".tmp-panel-1", job.registry_of(config).folder / ".tmp-version-1"]
    for folder in left:
        folder.mkdir()
    job.run(config, at())
    assert not any(folder.exists() for folder in left)
