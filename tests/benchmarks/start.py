"""How long until it works: imports, and the first forecast of a fresh process.

    python tests/benchmarks/start.py

**Imports**: what a user writes first, in a new process each; a bare interpreter, started in the
same round, is subtracted. ``import tsforecast`` loads nothing by itself, so the names a forecast
needs are loaded too, and torch alone stands beside them. The first round, in which files may come
from the disk, is left out.

**First forecast**: a new process reads ten series of 120 rows, fits for one gradient step (ours for
one short epoch of eight), forecasts, and prints the head of the frame; from the start of the
interpreter to its end. Same network as elsewhere.
"""

import json
import subprocess
import time

import arena
from arena import HIDDEN, HORIZON, LOOKBACK

OURS = "from tsforecast import RecurrentForecaster, SeriesScaler, Training, as_panel"
IMPORTS = {
    "import tsforecast": ("tsforecast", "import tsforecast"),
    "tsforecast, names of a forecast": ("tsforecast", OURS),
    "torch": ("tsforecast", "import torch"),
    "neuralforecast": (
        "neuralforecast",
        "from neuralforecast import NeuralForecast; from neuralforecast.models import LSTM",
    ),
    "darts": ("darts", "from darts import TimeSeries; from darts.models import BlockRNNModel"),
    "gluonts": (
        "gluonts",
        "from gluonts.dataset.pandas import PandasDataset; "
        "from gluonts.torch import DeepAREstimator",
    ),
}


def main():
    args = arena.start_run(__doc__)
    peers = arena.present(arena.PEERS)
    arena.say_versions(peers)
    there = ("tsforecast", *peers)
    with arena.Arena(args.threads) as run:
        path = run.folder.write("series", arena.short_series(10, 120))
        given = {"path": path, "lookback": LOOKBACK, "horizon": HORIZON, "hidden": HIDDEN}

        def process(side, *command):
            start = time.perf_counter()
            done = subprocess.run(
                command,
                env=arena.environment(side, args.threads),
                cwd=run.folder.path,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"{side}: {done.stderr[-2000:]}")
            return arena.Reply(time.perf_counter() - start, float("nan"), float("nan"), None)

        def bare_less(side, code):
            python = str(arena.interpreter(side))
            bare = process(side, python, "-c", "pass").seconds
            whole = process(side, python, "-c", code)
            return arena.Reply(max(whole.seconds - bare, 0.0), whole.peak, whole.rise, None)

        runs = {
            label: lambda side=side, code=code: bare_less(side, code)
            for label, (side, code) in IMPORTS.items()
            if side in there
        }
        replies = arena.by_turns(runs, args.rounds)
        names = ("tsforecast, names of a forecast",)
        arena.show_times(
            "start: imports", replies, ours=names, count=1, unit="starts", memory=False
        )
        runs = {
            side: lambda side=side: process(side, *arena.command(side, "first", json.dumps(given)))
            for side in there
        }
        replies = arena.by_turns(runs, args.rounds)
        title = "start: first forecast of a fresh process"
        arena.show_times(title, replies, ours=("tsforecast",), count=1, unit="starts", memory=False)


if __name__ == "__main__":
    main()
