"""What the scripts of this folder share: the data, the sides that run by turns, the tables.

Every side (ours, a raw PyTorch loop, each peer) is a process of its own with the same number of
threads, which waits while another one runs. A *round* is one run of every side, in an order that
turns from round to round; a ratio is taken within a round, and its median over rounds is shown.
The machine may be busy with other things: read ratios rather than seconds.

``sh tests/benchmarks/peers.sh`` makes the environments of the peers, in the folder that
``TSFORECAST_PEERS`` names (default ``~/.cache/tsforecast-peers``). A peer that is not there is left
out with a line that says so. Variables of the environment reach all sides alike.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # a plain `python tests/benchmarks/train.py` runs from a checkout

PEERS = ("neuralforecast", "darts", "gluonts")
LOOKBACK, HORIZON, HIDDEN = 60, 5, 64  # two layers


# ------------------------------------------------------------------------------------------ data


def stocks(n=None):
    """Log of the Garman-Klass volatility of the first `n` stocks that have every session.

    Rows whose low is above the high are dropped first; a stock that lacks a session, or has one
    without a range, is left out.

    Returns
    -------
    DataFrame
        Long and sorted: ``unique_id`` (ticker), ``ds`` (number of the session, from 0 on), ``y``.
        Sessions are numbers so that the three ways to name a day cost nobody anything.
    """
    import tsforecast as tsf

    bars = tsf.load_sp500_ohlcv()
    bars = bars[~(bars["low"] > bars["high"])]
    y = np.log(tsf.garman_klass(bars)).unstack()  # ticker x date
    y = y.dropna()
    return long_table(y.to_numpy()[:n], y.index[:n])


def short_series(n, rows):
    """`n` stretches of `rows` sessions, cut from all stocks at places that differ, as a table."""
    whole = stocks()
    wide = whole["y"].to_numpy().reshape(whole["unique_id"].nunique(), -1)
    places = np.random.default_rng(0).integers(wide.shape[1] - rows + 1, size=n)
    which = np.arange(n) % len(wide)
    return long_table(wide[which[:, None], places[:, None] + np.arange(rows)])


def long_table(values, names=None):
    """Values (n, rows) as a long sorted table."""
    n, rows = values.shape
    names = [f"s{i:06d}" for i in range(n)] if names is None else names
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.asarray(names, dtype=object), rows),
            "ds": np.tile(np.arange(rows), n),
            "y": values.ravel(),
        }
    ).astype({"unique_id": "str"})


@dataclass
class Folder:
    """Files that the workers read, in a folder that goes away."""

    path: Path

    def write(self, name, frame):
        """Write a long table; give the file's path."""
        path = str(self.path / f"{name}.parquet")
        frame.to_parquet(path, index=False)
        return path


# --------------------------------------------------------------------------------------- sides


@dataclass(frozen=True)
class Reply:
    """What one call took: seconds, MiB at the peak, MiB above what was there before."""

    seconds: float
    peak: float
    rise: float
    value: object


class Side:
    """A worker process; see `workers/loop.py`.

    Parameters
    ----------
    name : str
        "tsforecast", "torch" (both run by this interpreter), or a peer.
    threads : int
        Of OpenMP, MKL and torch.
    log : Path
        Where its warnings go.
    """

    def __init__(self, name, *, threads, log):
        self.name = name
        self.log = log
        with open(log, "a") as errors:
            self._process = subprocess.Popen(
                command(name),
                env=environment(name, threads),
                cwd=log.parent,  # litter of a peer, such as lightning_logs, goes away with it
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def call(self, method, **given):
        """Run one method of the worker; give its `Reply`."""
        self._process.stdin.write(json.dumps({"call": method, "given": given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            tail = "".join(self.log.read_text().splitlines(keepends=True)[-15:])
            raise RuntimeError(
                f"{self.name} ended in {method} with code {self._process.wait()}\n{tail}"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}, {method}:\n{answer['error']}")
        return Reply(**answer)

    def close(self):
        """End the process."""
        if not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait()


def interpreter(name):
    """The Python of a side."""
    if name not in PEERS:
        return Path(sys.executable)
    folder = os.environ.get("TSFORECAST_PEERS", "~/.cache/tsforecast-peers")
    return Path(folder).expanduser() / name / "bin" / "python"


def command(name, *arguments):
    """How a worker is started."""
    return [str(interpreter(name)), str(HERE / "workers" / f"with_{name}.py"), *arguments]


def environment(name, threads):
    """Variables of a worker."""
    count = str(threads)
    own = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    own.pop("PYTHONPATH", None)
    return own if name in PEERS else {**own, "PYTHONPATH": str(ROOT)}


def present(names):
    """Those of `names` whose environment is there; a line says which are not."""
    missing = [name for name in names if not interpreter(name).exists()]
    if missing:
        print(f"left out, not installed (sh tests/benchmarks/peers.sh): {', '.join(missing)}")
    return [name for name in names if name not in missing]


class Arena:
    """The sides of a run and the folder they share; a context manager."""

    def __init__(self, threads):
        self.threads = threads
        self._temporary = tempfile.TemporaryDirectory(prefix="tsforecast-bench-")
        self.folder = Folder(Path(self._temporary.name))
        self._sides = []

    def side(self, name):
        """Start a new worker."""
        log = self.folder.path / f"{name}-{len(self._sides)}.log"
        self._sides.append(Side(name, threads=self.threads, log=log))
        return self._sides[-1]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for side in self._sides:
            side.close()
        self._temporary.cleanup()


def by_turns(runs, rounds, *, warm=1):
    """Run every entry of `runs` (label -> function giving a `Reply`) once a round.

    Returns
    -------
    dict of str to list of Reply
        Without the first `warm` rounds.
    """
    labels = list(runs)
    replies = {label: [] for label in labels}
    for i in range(warm + rounds):
        turn = i % len(labels)
        for label in labels[turn:] + labels[:turn]:
            reply = runs[label]()
            if i >= warm:
                replies[label].append(reply)
    return replies


def check_rows(replies, forecasts, horizon, *, but=()):
    """Refuse a run in which a side has made other than `forecasts` forecasts."""
    for label, some in replies.items():
        for reply in some:
            rows = reply.value[0] if isinstance(reply.value, list) else reply.value
            if label not in but and rows != forecasts * horizon:
                raise RuntimeError(f"{label}: {rows} rows, expected {forecasts * horizon}")


# -------------------------------------------------------------------------------------- tables


def ratio(others, ours):
    """Median over rounds of other / ours, and the least and the largest."""
    ratios = [other / own for other, own in zip(others, ours)]
    return median(ratios), min(ratios), max(ratios)


def show(title, header, rows):
    """Print a table as RESULTS.md has them."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    sys.stdout.flush()


def show_times(title, replies, *, ours, count, unit, memory=True):
    """Print seconds of every label, `count` units a run, and the ratio to each label in `ours`."""
    header = ["", "seconds, median (least, most)", f"{unit}/s"]
    header += [f"times slower than {label}" for label in ours]
    header += ["peak MiB", "of them for the run"] if memory else []
    seconds = {label: [reply.seconds for reply in some] for label, some in replies.items()}
    rows = []
    for label, some in seconds.items():
        row = [label, f"{median(some):.3g} ({min(some):.3g}, {max(some):.3g})"]
        row.append(f"{count / median(some):,.0f}")
        row += ["{:.3g} ({:.3g}, {:.3g})".format(*ratio(some, seconds[own])) for own in ours]
        if memory:
            row.append(f"{median(reply.peak for reply in replies[label]):,.0f}")
            row.append(f"{median(reply.rise for reply in replies[label]):,.0f}")
        rows.append(row)
    show(title, header, rows)


def start_run(description, **options):
    """Read the command line, say on what machine and with which versions this runs.

    Every script has ``--rounds``, ``--threads`` and ``--quick``; `options` are further ones, each a
    default value (False makes a flag).
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small and short: does it run at all")
    for name, default in options.items():
        name = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(name, action="store_true")
        elif isinstance(default, tuple):
            parser.add_argument(name, type=type(default[0]), nargs="*", default=list(default))
        else:
            parser.add_argument(name, type=type(default), default=default)
    args = parser.parse_args()
    if args.quick:
        args.rounds = min(args.rounds, 1)
    print(f"{_machine()}, {args.threads} threads a side, {args.rounds} rounds")
    print(f"tsforecast: {_versions('tsforecast')}")
    return args


def say_versions(peers):
    """Print what is installed beside each peer."""
    for name in peers:
        print(f"{name}: {_versions(name)}")


def _machine():
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text()
        names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
        model = names[0] if names else model
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{model}, {os.cpu_count()} cores, load {load:.1f}, {platform.system()}"


def _versions(name):
    code = (
        "import importlib.metadata as m, platform\n"
        f"names = ['{name}', 'torch', 'pytorch-lightning', 'pandas', 'numpy']\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print('Python ' + platform.python_version(), *[f'{n} {found[n]}' for n in names "
        "if n in found], sep=', ')"
    )
    return subprocess.run(
        [str(interpreter(name)), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
