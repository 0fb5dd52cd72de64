"""What RNN, LSTM and GRU remember, measured: problems whose answer was shown T steps before.

Run it with ``python tests/benchmarks/memory.py [recall] [adding] [gradients] [speed]``, or all.
``--steps 50 100 300``, ``--seeds 5`` and ``--cells lstm rnn`` say how much, ``--jobs`` on how many
processes. A GRU over 1,000 steps is slow: minutes a fit.

- **recall**: one of eight symbols is shown at the first step, noise after; success is an accuracy
  of at least 95 % on new samples (chance 12.5 %).
- **adding**: the sum of two marked values out of T; success is a squared error of at most .0167, a
  tenth of what the constant 1 has.
- **gradients**: size of the derivative of the answer with respect to the inputs k steps ago, before
  training, as a share of that at the newest step.
- **speed**: seconds of an epoch, and parameters.

Every network has one layer; "equal" means the same hidden size, or about the same number of
parameters. ``init`` is the start of the gates: "keras" (the forget gate's bias is 1), or "chrono"
(biases that spread the units' memory over 2 to T steps; a plain RNN has no gates).
"""

from __future__ import annotations

import argparse
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import torch

import tsforecast as tsf

UNITS = 32
SIZES = ("same units", "same parameters")
INPUTS = {"recall": 9, "adding": 2}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
STARTS = [
    ("rnn", "keras"),
    ("gru", "keras"),
    ("lstm", "keras"),
    ("gru", "chrono"),
    ("lstm", "chrono"),
]
RATE, BATCH = 5e-3, 64
EPOCHS = {"recall": 15, "adding": 30}


def estimator(problem, cell, init, units, seed, epochs=None):
    kind = tsf.RecurrentClassifier if problem == "recall" else tsf.RecurrentRegressor
    training = tsf.Training(
        max_epochs=epochs or EPOCHS[problem],
        learning_rate=RATE,
        batch_size=BATCH,
        init=init,
        patience=1000,
    )
    return kind(cell=cell, hidden_sizes=(units,), training=training, random_state=seed)


def units(problem, cell, sizes):
    """Units of a network; "same parameters" are those of an LSTM with 32 units, to the nearest."""
    if sizes == "same units":
        return UNITS
    wanted, more = 4 * UNITS * (UNITS + INPUTS[problem] + 2), INPUTS[problem] + 2
    return round((np.sqrt(more**2 + 4 * wanted / GATES[cell]) - more) / 2)


def samples(problem, n, steps, seed):
    make = tsf.make_recall if problem == "recall" else tsf.make_adding
    return make(n, steps, random_state=seed)


def quietly(model, X, y):
    with warnings.catch_warnings():  # the best epoch is often the last one
        warnings.simplefilter("ignore")
        return model.fit(X, y)


def solve(problem, cell, init, sizes, steps, seed):
    torch.set_num_threads(1)
    n = 2000 if problem == "recall" else 4000
    model = estimator(problem, cell, init, units(problem, cell, sizes), seed)
    since = time.perf_counter()
    quietly(model, *samples(problem, n, steps, seed))
    seconds = time.perf_counter() - since
    X, y = samples(problem, 1000, steps, 1000 + seed)
    if problem == "recall":
        score = float(model.score(X, y))
        solved = score >= 0.95
    else:
        score = float(np.mean((model.predict(X) - y) ** 2))
        solved = score <= 0.1 / 6
    summary = tsf.gate_summary(tsf.gates(model, X[:50]))
    keeps = {"lstm": (0, "forget"), "gru": (0, "update")}.get(cell)
    longest = np.nan if keeps is None else summary.loc[keeps, "longest_steps"]
    row = {"cell": cell, "init": init, "size": sizes, "steps": steps, "seed": seed}
    return row | {"score": score, "solved": solved, "longest": longest, "seconds": seconds}


def solved(problem, steps, seeds, cells, jobs):
    cases = [
        (problem, cell, init, sizes, length, seed)
        for length in steps
        for sizes in SIZES
        for cell, init in STARTS
        if cell in cells
        if not (sizes == "same parameters" and cell == "lstm")  # as with the same units
        for seed in range(seeds)
    ]
    rows = joblib.Parallel(n_jobs=jobs, verbose=1)(joblib.delayed(solve)(*case) for case in cases)
    table = pd.DataFrame(rows)
    groups = table.groupby(["steps", "size", "cell", "init"], sort=False)
    shown = groups.agg(
        solved=("solved", "sum"),
        seeds=("seed", "size"),
        median=("score", "median"),
        worst=("score", "min" if problem == "recall" else "max"),
        longest_memory=("longest", "median"),
        seconds=("seconds", "median"),
    )
    say(
        f"{problem}: seeds that solve it",
        shown.round({"median": 4, "worst": 4, "longest_memory": 0, "seconds": 0}),
    )


def gradients(steps, seeds):
    """Before training: what is left of a gradient after k steps, a median over seeds."""
    rows = {}
    longest = max(steps)
    for cell, init in STARTS:
        shares = []
        for seed in range(seeds):
            X, y = samples("recall", 200, longest, seed)
            model = quietly(estimator("recall", cell, init, UNITS, seed, epochs=1), X, y)
            torch.manual_seed(seed)
            network = model.network_
            fresh = type(network.cells)(  # as before training, with an answer that reads the state
                network.cells.n_inputs, (UNITS,), cell=cell, init=init, max_steps=longest
            )
            network.cells.load_state_dict(fresh.state_dict())
            torch.nn.init.normal_(network.decoder.weight)
            slope = tsf.memory_profile(model, X[:20], steps=longest)["gradient"]
            shares.append(slope / slope.iloc[0])
        median = pd.concat(shares, axis=1).median(axis=1)
        rows[cell, init] = median.reindex([1, 10, 50, 100, 200, 299, 499, 999]).dropna()
    say("gradient k steps ago, as a share of that at the newest step", pd.DataFrame(rows).T)


def speed(steps):
    rows = []
    torch.set_num_threads(1)
    for length in steps:
        X, y = samples("recall", 1000, length, 0)
        for sizes in SIZES:
            for cell in ("rnn", "gru", "lstm"):
                model = quietly(
                    estimator("recall", cell, "keras", units("recall", cell, sizes), 0, 3), X, y
                )
                n = sum(w.numel() for w in model.network_.cells.parameters())
                seconds = model.history_["seconds"].iloc[1:].median()
                rows.append((length, sizes, cell, n, seconds))
    table = pd.DataFrame(rows, columns=["steps", "size", "cell", "parameters", "seconds an epoch"])
    say(
        "speed, 1,000 samples an epoch, one thread",
        table.round(2).set_index(["steps", "size", "cell"]),
    )


def say(title, table):
    print(f"\n{title}\n{table.to_string()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["speed", "gradients", "recall", "adding"])
    parser.add_argument("--steps", nargs="+", type=int, default=[50, 100, 300, 1000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cells", nargs="+", choices=list(GATES), default=list(GATES))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if "speed" in given.what:
        speed(given.steps)
    if "gradients" in given.what:
        gradients(given.steps, given.seeds)
    for problem in ("recall", "adding"):
        if problem in given.what:
            solved(problem, given.steps, given.seeds, given.cells, given.jobs)


if __name__ == "__main__":
    main()
