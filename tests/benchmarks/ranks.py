"""Whether several processes reach the validation loss of one, and in what time.

    python tests/benchmarks/ranks.py [processes]

Fits one job by ``tsforecast fit``, and by ``tsforecast fit --devices n`` on the same rows: 50
series of 1,500 days, an LSTM of 64 and 32 units on 60 days, 2 of them dropped out of ten, 16
origins in a window, 128 windows in a step, five epochs, one thread in each process. Says the
losses of every epoch, the furthest that a weight is away, and the seconds of the fit alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import tsforecast as tsf
from tsforecast.batch.config import load_config
from tsforecast.batch.job import registry_of

JOB = """
[job]
name = "{name}"
folder = "{name}"
[source]
path = "prices.parquet"
series = "ticker"
time = "date"
columns = ["close"]
[model]
estimator = "RecurrentForecaster"
[model.parameters]
target = "close"
horizon = 5
lookback = 60
hidden_sizes = [64, 32]
dropout = 0.2
random_state = 0
transform = {{class = "Log"}}
training = {{class = "Training", max_epochs = 5, batch_size = 128, origins = 16}}
[sink]
path = "out"
"""


def fitted(folder: Path, n: int) -> tuple[object, dict[str, float]]:
    """Fit by the command line; the model, and the seconds that things took."""
    path = folder / f"of{n}.toml"
    path.write_text(JOB.format(name=f"of{n}"))
    words = [sys.executable, "-m", "tsforecast", "fit", "-c", path.name, "--json", "--devices"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, str(n), "--run-date", "2022-01-01"],
        cwd=folder,
        env=env,
        check=True,
        capture_output=True,
    )
    return registry_of(load_config(path)).load("champion"), json.loads(done.stdout)["seconds"]


def main(n: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prices = tsf.make_prices(50, 1_500, random_state=0).reset_index()
        prices.to_parquet(folder / "prices.parquet")
        models, seconds = zip(*(fitted(folder, size) for size in (1, n)))
    columns = ["train_loss", "val_loss"]
    sizes = [f"{size} process{'es' * (size > 1)}" for size in (1, n)]
    print(pd.concat([m.history_[columns] for m in models], axis=1, keys=sizes).to_string())
    weights = [m.networks_[0].state_dict() for m in models]
    away = max(
        float((weights[0][name] - weights[1][name]).abs().max())
        for name in weights[0]
        if weights[0][name].numel()
    )
    losses = [m.history_["val_loss"].to_numpy() for m in models]
    print(f"validation losses differ by at most {np.max(np.abs(losses[0] - losses[1])):.1e},")
    print(f"weights by at most {away:.1e}; best epochs {[m.best_epochs_ for m in models]}")
    for size, took in zip(sizes, seconds):
        print(f"{size}: {took['fit']:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
