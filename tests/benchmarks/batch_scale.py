"""How long a job takes that scores 100,000 series, and how much memory.

    python tests/benchmarks/batch_scale.py                          # about 20 minutes on two cores
    python tests/benchmarks/batch_scale.py --series 5000 --only parquet dask

250 rows of each series lie in one Parquet file. A stacked LSTM of 64 and 32 cells (``--hidden``)
that looks back 60 rows is fitted on 500 series, kept in the registry, and forecasts five steps with
nine quantiles of all of them. Every case is ``tsforecast score`` in a process of its own, with an
empty sink: into a Parquet folder, a SQLite file and a PostgreSQL server (where Debian's is
installed), from one process on as many threads as cores, from two processes, and from two Dask
workers.

*wall*, *CPU* (of all processes of the job) and *memory* (the largest sum over them of what is
resident, looked at ten times a second; pages that processes share count for each) are those of
the whole command, imports included; CPU of the server stands beside them. What the job says of its
own stages follows. All cases must give the same forecasts, to the bit. Workers have to import torch
before they begin, which costs some seconds however much there is to do: with a small network, or
few series, that is what is seen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from postgres import find_server, running_server

from tsforecast.batch.config import load_config
from tsforecast.batch.sinks import open_sink

ROWS, STEPS, FITTED = 250, 5, 500
LAST = "2023-12-15"
TOML = """
[job]
name = "scale"

[source]
path = "prices.parquet"
series = "ticker"
time = "date"
columns = ["close"]

[model.parameters]
target = "close"
horizon = 5
lookback = 60
transform = [{class = "Log"}]
hidden_sizes = [64, 32]
training = {class = "Training", max_epochs = 3}
random_state = 0

[fit]
every = "never"
"""
CASES = {  # sink, and what the work is spread over
    "parquet": ("path", "serial"),
    "parquet-processes": ("path", "processes"),
    "dask": ("path", "dask"),
    "sqlite": ("sqlite", "serial"),
    "postgresql": ("postgresql", "serial"),
    "postgresql-processes": ("postgresql", "processes"),
}


@dataclass
class Used:
    """What a command and all that it has started have used."""

    wall: float = 0.0
    cpu: float = 0.0
    server: float = 0.0
    peak: int = 0
    summary: dict = field(default_factory=dict)


def write_prices(path: Path, n_series: int) -> None:
    """Random walks of different scales, a row group for each 5,000 series."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    days = pd.bdate_range(end=LAST, periods=ROWS).to_numpy().astype("M8[us]")
    rng = np.random.default_rng(0)
    names = np.array([f"T{number:06d}" for number in range(n_series)])
    schema = pa.schema({"ticker": pa.string(), "date": pa.timestamp("us"), "close": pa.float64()})
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, n_series, 5_000):
            some = names[begin : begin + 5_000]
            moves = rng.normal(0, rng.uniform(0.005, 0.03, (len(some), 1)), (len(some), ROWS))
            close = 100 * np.exp(moves.cumsum(axis=1))
            columns = [np.repeat(some, ROWS), np.tile(days, len(some)), close.ravel()]
            writer.write_table(pa.table(dict(zip(schema.names, columns)), schema=schema))


def run(*arguments: str, server: int | None = None) -> Used:
    """Run a command of tsforecast to its end, and look at what it uses."""
    used = Used()
    before = cpu_of_server(server)
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "tsforecast", *arguments, "--json", "-q"],
        stdout=subprocess.PIPE,
        text=True,
    )
    ended = threading.Event()
    watch = threading.Thread(target=watch_memory, args=(process.pid, ended, used))
    watch.start()
    try:
        written = process.stdout.read()
        _, status, rusage = os.wait4(process.pid, 0)
    finally:
        ended.set()
        watch.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    used.wall = time.perf_counter() - begun
    used.cpu = rusage.ru_utime + rusage.ru_stime  # of those that it has waited for, too
    used.server = cpu_of_server(server) - before
    used.summary = json.loads(written)
    if process.returncode:
        raise RuntimeError(f"{arguments}: exit code {process.returncode}: {used.summary}")
    return used


def watch_memory(pid: int, ended: threading.Event, used: Used) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        while not ended.wait(0.1):
            total = 0
            for each in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += each.memory_info().rss
            used.peak = max(used.peak, total)


def cpu_of_server(pid: int | None) -> float:
    """CPU seconds of a server, its processes that have ended included."""
    if pid is None:
        return 0.0
    root = psutil.Process(pid)
    total = 0.0
    for each in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system
    return total


def forecasts_of(job: Path, place: str) -> pd.DataFrame:
    key, _, value = place.partition("=")
    config = load_config(job, environ={}, overrides={key: value})
    with open_sink(config.sink, config.job.name) as sink:
        frame = sink.forecasts()
    frame["series"] = frame["series"].astype(str)
    return frame.sort_values(["series", "time"], ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 32])
    parser.add_argument("--rounds", type=int, default=1, help="of each case, in turns")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job = folder / "job.toml"
        job.write_text(TOML.replace("[64, 32]", str(chosen.hidden)))
        write_prices(folder / "prices.parquet", chosen.series)
        write_prices(folder / "few.parquet", FITTED)
        url, server = None, None
        if find_server() is not None and any("postgresql" in name for name in chosen.only):
            database = stack.enter_context(running_server())
            url = database.url()
            server = int((database.folder / "data" / "postmaster.pid").read_text().split()[0])
        say("", "wall s", "CPU s", "server", "GiB", "stages, in seconds")
        common = ("-c", str(job), "--run-date", LAST)
        show("fit", run("fit", *common, "--set", f"source.path={folder}/few.parquet"))
        first = None
        for number in range(chosen.rounds):
            for name in chosen.only:
                kind, how = CASES[name]
                if kind == "postgresql" and url is None:
                    continue
                place = {
                    "path": f"sink.path={folder}/{name}-{number}",
                    "sqlite": f"sink.database=sqlite:///{folder}/{name}-{number}.db",
                    "postgresql": f"sink.database={url}",
                }[kind]
                if kind == "postgresql":
                    database.sql("DROP SCHEMA public CASCADE")
                    database.sql("CREATE SCHEMA public")
                spread = ("--spread", how, *(() if how == "serial" else ("--workers", "2")))
                used = run("score", *common, "--set", place, *spread, server=server)
                show(name, used)
                assert used.summary["rows"] == chosen.series * STEPS
                found = forecasts_of(job, place)
                if first is None:
                    first = found
                pd.testing.assert_frame_equal(found, first, check_dtype=False, rtol=0, atol=0)
                del found


def say(*cells: str) -> None:
    print(f"{cells[0]:22s}" + "".join(f"{cell:>8s}" for cell in cells[1:5]) + f"  {cells[5]}")
    sys.stdout.flush()


def show(name: str, used: Used) -> None:
    stages = "  ".join(f"{stage} {took:.1f}" for stage, took in used.summary["seconds"].items())
    numbers = (f"{number:.1f}" for number in (used.wall, used.cpu, used.server))
    say(name, *numbers, f"{used.peak / 2**30:.2f}", stages)


if __name__ == "__main__":
    main()
