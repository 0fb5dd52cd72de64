"""A run may be killed at any moment: nothing partial is seen, and the next run completes it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from jobs import N_SERIES, TOML, config_of, prices, write_job
from killable import Runner
from postgres import postgres  # noqa: F401

from tsforecast.batch.exits import ExitCode
from tsforecast.batch.files import job_lock
from tsforecast.batch.registry import Registry
from tsforecast.batch.sinks import open_sink

# a fit on every date, so that kills meet fits, the registry, and the parts of a run
EVERY_DAY = TOML.replace("part_size = 3", "part_size = 2") + '\n[fit]\nevery = "1D"\n'


@pytest.fixture(scope="module")
def runner():
    with Runner() as runner:
        yield runner


def check_nothing_partial(config, day, expected):
    """Forecasts of a date are all there and right, or none is; earlier dates are as they were."""
    with open_sink(config.sink, config.job.name) as sink:
        found, runs = sink.forecasts(), sink.runs()
    for date, rows in found.groupby("run_date"):
        assert len(rows) == 2 * N_SERIES, f"{len(rows)} rows of {date} are seen"
        last = rows.set_index("series")["forecast"]
        assert np.allclose(last, expected.loc[str(date)[:10]].loc[last.index])
    return found, runs[runs["run_date"].astype(str) == str(day)]


def kill_often(runner, path, times, *, seed, **overrides):
    """Kill runs of one date after the other at random moments, and let each be completed."""
    config = config_of(path, **overrides)
    table = prices()
    expected = table.assign(date=table["date"].astype(str)).pivot(
        index="date", columns="ticker", values="close"
    )
    days = list(expected.index[40:])
    code, seconds = runner.run(path, days[0], **overrides)
    assert code == 0
    rng = np.random.default_rng(seed)
    seen = []
    for trial, day in enumerate(days[1 : times + 1], start=1):
        # repeats of a kill on the same date, too: what is resumed may be killed again
        for after in rng.uniform(0.0, 1.1 * seconds, size=1 + trial % 2):
            code, _ = runner.run(path, day, after=after, **overrides)
            found, runs = check_nothing_partial(config, day, expected)
            seen.append(
                (code, runs["status"].to_list(), int(runs["parts_done"].max()) if len(runs) else 0)
            )
        code, _ = runner.run(path, day, **overrides)
        assert code == 0
        found, runs = check_nothing_partial(config, day, expected)
        assert found["run_date"].nunique() == trial + 1
        scored = runs[runs["model"] != "fit"]
        assert scored["visible"].sum() == 1 and set(scored["status"]) <= {
            "ok",
            "failed",
            "replaced",
        }
        assert (runs["status"] != "open").all()
        models = Registry(config.job.folder / "models", "prices.model")
        assert models.find("champion") in models.versions()
        assert not [f.name for f in models.folder.iterdir() if f.name.startswith(".")]
    return seen


def test_kills_at_random_moments_harm_nothing(runner, tmp_path):
    seen = kill_often(runner, write_job(tmp_path, toml=EVERY_DAY), 5, seed=0)
    assert -9 in {code for code, _, _ in seen}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_kills_on_sqlite_harm_nothing(runner, tmp_path, seed):
    seen = kill_often(runner, write_job(tmp_path, toml=EVERY_DAY), 40, seed=seed + 1)
    killed = [each for each in seen if each[0] == -9]
    assert len(killed) >= 40 and {1, 2, 3} & {parts for _, _, parts in killed}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_kills_on_postgresql_harm_nothing(runner, postgres, tmp_path, seed):  # noqa: F811
    path = write_job(tmp_path, toml=EVERY_DAY)
    with postgres.database(f"kills{seed}") as url:
        seen = kill_often(runner, path, 40, seed=seed + 1, sink__database=url)
    killed = [each for each in seen if each[0] == -9]
    assert len(killed) >= 40 and {1, 2, 3} & {parts for _, _, parts in killed}


SLOW = """
[model]
estimator = "RecurrentForecaster"
[model.parameters]
target = "close"
horizon = 2
lookback = 5
hidden_sizes = [4]
training = {class = "Training", max_epochs = 100000, patience = 100000}
"""


def command(folder, name):
    return subprocess.Popen(
        [sys.executable, "-m", "tsforecast", "run", "-c", name, "--run-date", "2015-05-29"]
        + ["--log", "json"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_sigterm_in_a_fit_frees_the_lock_and_a_second_run_meanwhile_leaves(runner, tmp_path):
    path = write_job(tmp_path)
    model = TOML[TOML.index("[model]") : TOML.index("[sink]")]
    write_job(tmp_path, name="slow.toml", toml=TOML.replace(model, SLOW))
    config = config_of(path)
    slow = command(tmp_path, "slow.toml")
    try:
        for line in slow.stderr:
            if json.loads(line)["event"] == "fitting":
                break
        time.sleep(1.0)  # to the import of torch, or the first epochs
        assert runner.run(path, "2015-05-29")[0] == ExitCode.LOCKED
        slow.send_signal(signal.SIGTERM)
        rest = slow.communicate(timeout=60)[1]
    finally:
        slow.kill()
    assert slow.returncode == 143, rest
    with job_lock(config.job.folder, config.job.name):
        pass
    with open_sink(config.sink, config.job.name) as sink:
        last = sink.runs().iloc[-1]
    assert (last["model"], last["status"]) == ("fit", "failed")
    assert last["summary"]["exit_code"] == 143
    assert runner.run(path, "2015-05-29")[0] == 0
