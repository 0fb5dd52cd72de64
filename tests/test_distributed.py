"""Several processes fit one network together: as one of them would alone, and all or nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from jobs import TOML, config_of, prices, write_job

import tsforecast as tsf
from tsforecast.batch import launch as launching
from tsforecast.batch.exits import ConfigError, ExitCode, JobError
from tsforecast.batch.files import job_lock
from tsforecast.batch.registry import Registry
from tsforecast.batch.sinks import open_sink
from tsforecast.nn import training as loop
from tsforecast.nn.ranks import Ranks, joined, ranks

DAY = "2015-05-29"
NETWORK = """
[model]
estimator = "RecurrentForecaster"
[model.parameters]
target = "close"
horizon = 2
lookback = 5
hidden_sizes = [4, 4]
dropout = 0.2
random_state = 0
training = {class = "Training", max_epochs = 3, batch_size = 7, origins = 4}
"""
SINK = TOML[TOML.index("\n[sink]") :]


def network_job(folder, **changed):
    """A job of a small network; `max_epochs` without number runs for ever."""
    model = NETWORK
    for name, value in changed.items():
        model = model.replace(f"{name} = 3", f"{name} = {value}, patience = {value}")
    return write_job(folder, toml=TOML.replace(TOML[TOML.index("[model]") :], model + SINK))


def command(folder, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "tsforecast", "fit", "--run-date", DAY, *more],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
    )


def versions(path):
    config = config_of(path)
    return Registry(config.job.folder / "models", "prices.model")


def last_run(path):
    config = config_of(path)
    with open_sink(config.sink, config.job.name) as sink:
        return sink.runs().iloc[-1]


# ------------------------------------------------------------------------- shares of a batch


def make_batch(n):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.rand(n, 3, 2, generator=generator), torch.rand(n, generator=generator)
    return x, weight


@pytest.mark.parametrize("n", [7, 2, 1])
def test_shares_of_a_batch_are_the_batch_once_also_where_windows_are_fewer_than_processes(n):
    (x, weight), noise = make_batch(n), (torch.arange(n),)
    sums, seen = 0.0, []
    for rank in range(3):
        (own, counted), (drawn,), counts = loop._share((x, weight), noise, Ranks(rank, 3))
        assert len(own) == len(counted) == len(drawn) >= 1
        assert (own == x[drawn]).all()  # noise goes with its window
        seen += drawn.tolist() * counts
        sums = sums + counts * (own.sum(dim=(1, 2)) * counted).sum()
    assert sorted(seen) == list(range(n))
    assert float(sums) == pytest.approx(float((x.sum(dim=(1, 2)) * weight).sum()), rel=1e-6)


def test_a_process_alone_takes_a_batch_as_it_is():
    batch = make_batch(4)
    own, noise, counts = loop._share(batch, (), Ranks())
    assert own is batch and noise == () and counts


def test_alone_nothing_is_asked_of_others():
    values, network = torch.ones(2), torch.nn.Linear(1, 1)
    here = ranks()
    assert here == Ranks() and here.total(values) is values and here.from_first(3) == 3
    here.add_gradients(network)
    here.copy_first(network)


def test_a_fit_joins_nobody_by_the_environment_alone(monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "some other program's")
    model = tsf.RecurrentForecaster(
        target="close", lookback=4, hidden_sizes=(2,), training=tsf.Training(max_epochs=1)
    )
    model.fit(tsf.make_prices(2, 60, random_state=0))
    assert not torch.distributed.is_initialized()


def test_to_join_others_torchrun_must_have_started_them(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(RuntimeError, match=r"expected to be started by torchrun.*--devices 2"):
        joined().__enter__()


@pytest.mark.parametrize(
    "options", [{"strategy": "ddp"}, {"devices": 2}, {"precision": "16-mixed"}]
)
def test_options_that_several_processes_cannot_share_are_refused(options):
    training = tsf.Training(trainer_options=options)
    loop._check_company(Ranks(), training, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"trainer_options.*where several processes fit"):
        loop._check_company(Ranks(1, 2), training, torch.device("cpu"))


def test_processes_without_a_device_of_their_own_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    loop._check_company(Ranks(0, 2, 0), tsf.Training(), torch.device("cuda"))
    with pytest.raises(ValueError, match="accelerator.*a CUDA device for each process.*found 1"):
        loop._check_company(Ranks(1, 2, 1), tsf.Training(), torch.device("cuda"))


def test_a_process_with_other_losses_is_told_so():
    class Second(Ranks):
        def from_first(self, value):
            return np.array([1.0, np.nan])

    watch = loop._Watch(torch.nn.Linear(1, 1), None, tsf.Training(), 1, Second(1, 2))
    assert watch._agreed(np.array([1.0 + 1e-6, np.nan]))[0] == 1.0
    for other in ([2.0, np.nan], [1.0]):
        with pytest.raises(RuntimeError, match="process 1 has another validation loss"):
            watch._agreed(np.array(other))


# --------------------------------------------------------------------------------- exit codes


def fake_torchrun(monkeypatch, failure, said):
    """In place of torchrun: processes have said something, and it ends with `failure`."""
    from torch.distributed import run

    def fake(args):
        for (rank, stream), text in said.items():
            path = Path(args.log_dir, "run", "attempt_0", str(rank), f"{stream}.log")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if failure is not None:
            raise failure

    monkeypatch.setattr(run, "run", fake)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def failed(**codes):
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    failures = {int(rank[1:]): SimpleNamespace(exitcode=code) for rank, code in codes.items()}
    error = ChildFailedError.__new__(ChildFailedError)
    Exception.__init__(error, "failed")
    error.failures = failures
    return error


def test_output_is_that_of_process_0(monkeypatch, capsys):
    fake_torchrun(monkeypatch, None, {(0, "stdout"): "{}\n", (1, "stdout"): "other"})
    launching.launch(2, ["fit"])
    assert capsys.readouterr() == ("{}\n", "")


@pytest.mark.parametrize(
    ("codes", "code", "talk"),
    [
        ({"r0": 75, "r1": 1}, 75, ""),
        ({"r0": 143, "r1": 3}, 3, "process 1: error: no rows\n"),
        ({"r0": 1, "r1": 1}, 1, ""),
        ({"r1": 143}, 143, "process 1: error: no rows\n"),
    ],
)
def test_the_process_that_failed_of_itself_gives_code_and_words(
    monkeypatch, capsys, codes, code, talk
):
    said = {(rank, "stdout"): f"{rank}" for rank in (0, 1)}
    fake_torchrun(monkeypatch, failed(**codes), {**said, (1, "stderr"): "read\nerror: no rows\n"})
    with pytest.raises(SystemExit) as end:
        launching.launch(2, ["fit"])
    assert end.value.code == code
    assert capsys.readouterr() == ("1" if talk else "0", talk)


@pytest.mark.parametrize("other", [1, 143, -signal.SIGTERM])
def test_a_process_that_was_killed_is_named(monkeypatch, other):
    fake_torchrun(monkeypatch, failed(r0=other, r1=-9), {})
    with pytest.raises(JobError, match="process 1 of 2 was ended by SIGKILL"):
        launching.launch(2, ["fit"])


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [(signal.SIGTERM, SystemExit, 143), (signal.SIGINT, KeyboardInterrupt, None)],
)
def test_a_signal_to_the_starter_ends_it_as_any_command(monkeypatch, number, kind, code):
    from torch.distributed.elastic.multiprocessing.api import SignalException

    fake_torchrun(monkeypatch, SignalException("", signal.Signals(number)), {})
    with pytest.raises(kind) as end:
        launching.launch(2, ["fit"])
    assert getattr(end.value, "code", None) == code


def test_torchrun_must_have_started_as_many_as_are_asked_for(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    launching.require_ranks(2)
    with pytest.raises(ConfigError, match="expected 4 processes.*found 2"):
        launching.require_ranks(4)


# -------------------------------------------------------------------------- several processes


def test_two_processes_fit_what_one_fits_and_keep_it_once(tmp_path):
    path = network_job(tmp_path)
    started = command(tmp_path, "--devices", "2", "--json")
    out, talk = started.communicate(timeout=300)
    assert started.returncode == 0, talk
    assert json.loads(out)["version"] == "0001"  # one object: the other process prints nothing
    assert talk.count("fitting") == 1

    registry = versions(path)
    assert registry.versions() == ["0001"]
    assert last_run(path)["status"] == "ok"
    model = registry.load("champion")
    panel = tsf.as_panel(prices(), series="ticker", time="date")[["close"]]
    panel = panel[panel.index.get_level_values("date") <= pd.Timestamp(DAY)]
    alone = tsf.RecurrentForecaster(
        target="close",
        horizon=2,
        lookback=5,
        hidden_sizes=(4, 4),
        dropout=0.2,
        random_state=0,
        training=tsf.Training(max_epochs=3, batch_size=7, origins=4),
    ).fit(panel)
    assert model.best_epochs_ == alone.best_epochs_
    columns = ["train_loss", "val_loss"]
    np.testing.assert_allclose(model.history_[columns], alone.history_[columns], rtol=1e-4)
    ours = [network.state_dict() for network in model.networks_]
    for name, weight in alone.networks_[0].state_dict().items():
        torch.testing.assert_close(ours[0][name], weight, rtol=1e-3, atol=1e-4)
    expected = alone.predict(panel)["forecast"]
    np.testing.assert_allclose(model.predict(panel)["forecast"], expected, rtol=1e-5)
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith("tsforecast-")]


SCRIPT = """
import contextlib, hashlib, json, os, sys, warnings

import numpy as np
import tsforecast as tsf
from tsforecast.nn.ranks import Ranks, joined, started_by_torchrun

warnings.simplefilter("ignore")
own = {"hidden_sizes": (4,), "dropout": 0.1, "random_state": 0}
few = tsf.Training(max_epochs=2, batch_size=7, averaging=0.9)
prices = tsf.make_prices(4, 150, random_state=0)
stays = tsf.make_vitals(30, 30, deterioration=0.4, random_state=0)
X = np.random.default_rng(0).normal(size=(150, 6))
kinds = {
    "forecaster": (
        tsf.RecurrentForecaster(target="close", lookback=8, training=few, **own), prices
    ),
    "without seed": (
        tsf.RecurrentForecaster(target="close", lookback=8, hidden_sizes=(4,), training=few), prices
    ),
    "without validation": (
        tsf.RecurrentForecaster(
            target="close", lookback=8, **own,
            training=tsf.Training(max_epochs=2, batch_size=7, origins=8, validation=None),
        ),
        prices,
    ),
    "position": (
        tsf.PositionEstimator(
            target="close", context="history", lookback=10, spans=(1, 5), macd=((2, 8),), **own,
            training=tsf.Training(max_epochs=2, batch_size=7, origins=8, validation=None),
        ),
        prices,
    ),
    "events": (
        tsf.EventClassifier(event="deterioration", horizon="6h", step="1h", training=few, **own),
        stays,
    ),
    "arrays": (tsf.RecurrentRegressor(training=few, **own), X, X[:, 0]),
}
found = {}
with joined() if started_by_torchrun() else contextlib.nullcontext(Ranks()) as here:
    for name, (model, *data) in kinds.items():
        model.fit(*data)
        network = model.network_ if name == "arrays" else model.networks_[0]
        weights = [weight.numpy() for weight in network.state_dict().values()]
        found[name] = {
            "history": model.history_[["train_loss", "val_loss"]].fillna(0).to_numpy().tolist(),
            "digest": hashlib.sha256(b"".join(w.tobytes() for w in weights)).hexdigest(),
        }
with open(f"{sys.argv[1]}-{here.size}-{here.rank}.json", "w") as file:
    json.dump(found, file)
"""


@pytest.mark.slow
def test_every_estimator_is_fitted_by_three_as_by_one_with_the_same_weights_in_all(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    for starter in ([], torchrun):
        words = [sys.executable, *starter, str(script), str(tmp_path / "found")]
        subprocess.run(words, env=env, check=True, timeout=300)
    names = [f"found-{size}-{rank}.json" for size, rank in ((1, 0), (3, 0), (3, 1), (3, 2))]
    alone, *together = (json.loads((tmp_path / name).read_text()) for name in names)
    assert len(alone) == 6
    for name, expected in alone.items():
        assert len({found[name]["digest"] for found in together}) == 1, name
        if name != "without seed":
            history = together[0][name]["history"]
            np.testing.assert_allclose(history, expected["history"], rtol=1e-4, err_msg=name)


def begun(started):
    """Wait for the fit to begin."""
    for line in started.stderr:
        if line.startswith("fitting"):
            return
    raise AssertionError("it ended before the fit")


def workers(started):
    """Processes of torchrun, by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "environ").read_bytes().split(b"\0")
            about = dict(word.split(b"=", 1) for word in words if b"=" in word)
            parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == started.pid and b"TORCHELASTIC_RUN_ID" in about:
                found[int(about[b"RANK"])] = int(folder.name)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others_and_nothing_is_kept(tmp_path, rank):
    path = network_job(tmp_path, max_epochs=100_000)
    started = command(tmp_path, "--devices", "2")
    try:
        begun(started)
        time.sleep(10)  # to the first epochs, mostly
        found = workers(started)
        assert set(found) == {0, 1}
        os.kill(found[rank], signal.SIGKILL)
        out, talk = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == ExitCode.FAILED, talk
    assert f"process {rank} of 2 was ended by SIGKILL" in talk and out == ""
    assert versions(path).versions() == []
    with job_lock(config_of(path).job.folder, "prices"):
        pass
    if rank == 1:  # a killed process 0 says nothing: the next run marks it
        assert last_run(path)["status"] == "failed"


@pytest.mark.slow
def test_sigterm_ends_all_processes_with_143(tmp_path):
    path = network_job(tmp_path, max_epochs=100_000)
    started = command(tmp_path, "--devices", "2")
    try:
        begun(started)
        time.sleep(10)  # to the first epochs, mostly
        found = workers(started)
        started.send_signal(signal.SIGTERM)
        talk = started.communicate(timeout=60)[1]
    finally:
        started.kill()
    assert started.returncode == 143, talk
    assert len(found) == 2 and not any(Path("/proc", str(pid)).exists() for pid in found.values())
    assert versions(path).versions() == []
    assert last_run(path)["status"] == "failed"
    with job_lock(config_of(path).job.folder, "prices"):
        pass


@pytest.mark.slow
def test_where_another_run_is_at_work_all_leave_with_75(tmp_path):
    path = network_job(tmp_path)
    with job_lock(config_of(path).job.folder, "prices"):
        started = command(tmp_path, "--devices", "2", "--json")
        out, talk = started.communicate(timeout=120)
    assert started.returncode == ExitCode.LOCKED, talk
    assert json.loads(out)["exit_code"] == 75 and talk.count("error:") == 1
