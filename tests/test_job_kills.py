"""A run may be killed at any moment: nothing partial is seen, and the next run completes it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def kill_often(runner, path, kills, *, seed, **overrides):
    """Kill runs of one date after the other at random moments, and let each be completed.

    Gives for each kill the states of the attempts that it left, and how many parts were written.
    """
    config = config_of(path, **overrides)
    table = prices()
    expected = table.assign(date=table["date"].astype(str)).pivot(
        index="date", columns="ticker", values="close"
    )
    days = expected.index[40:]
    code, seconds = runner.run(path, days[0], **overrides)
    assert code == 0
    rng = np.random.default_rng(seed)
    seen, completed = [], 1
    for number, day in enumerate(days[1:]):
        if number % 10 == 9:  # how long a whole run takes on the machine as it is by now
            code, seconds = runner.run(path, day, **overrides)
            assert code == 0
            completed += 1
            continue
        for after in rng.uniform(0.0, seconds, size=2):  # what is resumed is killed again
            code, _ = runner.run(path, day, after=after, **overrides)
            _, runs = check_nothing_partial(config, day, expected)
            if code == -9:
                done = int(runs["parts_done"].max()) if len(runs) else 0
                seen.append((tuple(sorted(runs["status"])), done))
        code, _ = runner.run(path, day, **overrides)
        assert code == 0
        completed += 1
        found, runs = check_nothing_partial(config, day, expected)
        assert found["run_date"].nunique() == completed
        scored = runs[runs["model"] != "fit"]
        assert scored["visible"].sum() == 1
        assert set(scored["status"]) <= {"ok", "failed", "replaced"}
        assert (runs["status"] != "open").all()
        models = Registry(config.job.folder / "models", "prices.model")
        assert models.find("champion") in models.versions()
        assert not [f.name for f in models.folder.iterdir() if f.name.startswith(".")]
        if len(seen) >= kills:
            break
    return seen


def test_kills_at_random_moments_harm_nothing(runner, tmp_path):
    assert kill_often(runner, write_job(tmp_path, toml=EVERY_DAY), 6, seed=0)


def check_spread_of_kills(seen):
    """A hundred kills have met runs before, between and behind their parts, and resumed ones."""
    assert len(seen) >= 100
    assert len({parts for _, parts in seen} & {1, 2, 3}) >= 2  # of four
    assert any("failed" in states and "open" in states for states, _ in seen)


@pytest.mark.slow
def test_a_hundred_kills_on_sqlite_harm_nothing(runner, tmp_path):
    check_spread_of_kills(kill_often(runner, write_job(tmp_path, toml=EVERY_DAY), 100, seed=1))


@pytest.mark.slow
def test_a_hundred_kills_on_postgresql_harm_nothing(runner, postgres, tmp_path):  # noqa: F811
    path = write_job(tmp_path, toml=EVERY_DAY)
    with postgres.database("kills") as url:
        check_spread_of_kills(kill_often(runner, path, 100, seed=2, sink__database=url))


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
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
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
