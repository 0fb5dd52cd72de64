"""How long a job of 100,000 series takes to read its rows and to write its forecasts.

    python tests/benchmarks/batch_io.py [series]

Reads 250 rows of each series from Parquet, in order and shuffled, and writes five steps with nine
quantiles of each, in parts of 500 series, to Parquet, SQLite and (where Debian's server is
installed) PostgreSQL; then writes them once more as of other data, so that the first run is
replaced.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from postgres import find_server, running_server

from tsforecast.batch.config import SinkConfig, SourceConfig
from tsforecast.batch.sinks import RunKey, open_sink
from tsforecast.batch.sources import AsOf, read_source

ROWS, STEPS, PART = 250, 5, 500
LEVELS = np.arange(1, 10) / 10


@contextlib.contextmanager
def clock(what: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{what:46s} {time.perf_counter() - begun:7.1f} s   peak so far {peak:.2f} GiB", flush=True
    )


def write_prices(path: Path, names: np.ndarray, *, shuffled: bool) -> None:
    days = pd.bdate_range("2023-01-02", periods=ROWS).to_numpy().astype("M8[us]")
    rng = np.random.default_rng(0)
    writer = None
    for begin in range(0, len(names), 5_000):
        some = names[begin : begin + 5_000]
        ids, when = np.repeat(some, ROWS), np.tile(days, len(some))
        order = rng.permutation(len(ids)) if shuffled else slice(None)
        close = rng.lognormal(size=len(ids))
        table = pa.table({"ticker": ids[order], "date": when[order], "close": close[order]})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def forecasts(names: np.ndarray, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    steps = pd.bdate_range("2024-01-01", periods=STEPS)
    index = pd.MultiIndex.from_product([names, steps], names=["ticker", "date"])
    middle = rng.lognormal(size=len(index))
    columns = {f"q{level:.1f}": middle * (0.5 + level) for level in LEVELS}
    step = np.tile(np.arange(1, STEPS + 1), len(names))
    about = {"target": "close", "cutoff": pd.Timestamp("2023-12-29"), "step": step}
    return pd.DataFrame({**about, "forecast": middle, **columns}, index=index)


def write(config: SinkConfig, parts: list[pd.DataFrame], data: str) -> None:
    key = RunKey("bench", dt.date(2023, 12, 29), "model/1", "config")
    with open_sink(config, "bench") as sink:
        attempt = sink.begin(key, data_digest=data, parts=len(parts), part_size=PART)
        for number, part in enumerate(parts):
            sink.write_part(attempt, number, part)
        sink.finish(attempt, "ok")
        assert sink.runs()["visible"].sum() == 1


def main(n_series: int) -> None:
    names = np.array([f"T{number:06d}" for number in range(n_series)])
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        as_of = AsOf(dt.date(2023, 12, 29))
        for shuffled in (False, True):
            path = Path(folder) / "prices.parquet"
            write_prices(path, names, shuffled=shuffled)
            source = SourceConfig(path=path, series="ticker", time="date", columns=("close",))
            with clock(f"read {n_series * ROWS:,} rows{', shuffled' if shuffled else ''}"):
                extract = read_source(source, as_of)
            assert extract.rows == n_series * ROWS
            del extract
        parts = [
            forecasts(names[begin : begin + PART], begin) for begin in range(0, n_series, PART)
        ]
        places = {
            "Parquet": SinkConfig(path=Path(folder) / "out"),
            "SQLite": SinkConfig(database=f"sqlite:///{folder}/forecasts.db"),
        }
        if find_server() is not None:
            places["PostgreSQL"] = SinkConfig(database=stack.enter_context(running_server()).url())
        for name, config in places.items():
            for data in ("first", "second"):
                with clock(f"{name}: {n_series * STEPS:,} rows x 9 quantiles, {data} run"):
                    write(config, parts, data)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
