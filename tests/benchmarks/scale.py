"""How do time and memory grow with the number of series?

    python tests/benchmarks/scale.py            # about 10 minutes, 16 GiB free
    python tests/benchmarks/scale.py --quick

**Prepare**: 100,000 autoregressions of 500 rows, from a sorted panel in memory to the float32 rows
that a network reads (checks and features; there is no transform). Seconds, and the most memory
resident meanwhile beyond what was there before, over the bytes of those float32 rows. The network
is small here, its inputs are those of any.

**Growth**: 10^2, 10^3, 10^4 and 10^5 series of 100 rows, a process each, an LSTM of two layers of 8
over 16 rows: prepare, one epoch of `fit`, `predict`, and 20 origins each in both contexts. Time and
additional memory in log-log, least squares over the four sizes, and the slope between the two
largest: fixed costs make the first one too small, never the second.

**Limit**: 250 origins of 10,000 series (500 rows, 60 back, 5 ahead, two layers of 64) in a process
that may hold 8 GiB of private memory (RLIMIT_DATA, on Linux: allocations beyond it fail). With the
forecasts of `forecast_origins` (2.5 million, nine quantiles each or a point), and the whole
backtest of points with its naive twin.
"""

from statistics import median

import arena
import numpy as np
from arena import HIDDEN, HORIZON, LOOKBACK


def main():
    args = arena.start_run(__doc__, only=("prepare", "growth", "limit"), gib=8.0)
    with arena.Arena(args.threads) as run:
        if "prepare" in args.only:
            prepare(run, args)
        if "growth" in args.only:
            growth(run, args)
        if "limit" in args.only:
            limit(run, args)


def begin(run, n_series, rows, lookback, horizon, hidden, **more):
    side = run.side("scale")
    given = {"lookback": lookback, "horizon": horizon, "hidden": hidden, **more}
    side.call("setup", n_series=n_series, rows=rows, **given)
    return side


def prepare(run, args):
    n = 5_000 if args.quick else 100_000
    side = begin(run, n, 500, 16, 1, 8)
    replies = [side.call("prepare") for _ in range(1 + args.rounds)]
    rows = []
    for i, reply in enumerate(replies):
        size = reply.value / 2**20
        which = "first" if i == 0 else i
        rows.append([which, f"{reply.seconds:.3g}", f"{size:,.0f}", f"{reply.rise / size:.2f}"])
    header = ["run", "seconds", "MiB of float32", "memory over it"]
    arena.show(f"prepare: {n:,} series x 500 rows", header, rows)
    middle = median(reply.seconds for reply in replies[1:])
    print(f"\nmedian after the first: {middle:.3g} s")
    side.close()


def growth(run, args):
    sizes = [10**2, 10**3] if args.quick else [10**2, 10**3, 10**4, 10**5]
    calls = {
        "prepare": ("window", "prepare", {}),
        "fit": ("window", "fit", {}),
        "predict, window": ("window", "predict", {}),
        "20 origins, window": ("window", "origins", {"origins": 20}),
        "predict, history": ("history", "predict", {}),
        "20 origins, history": ("history", "origins", {"origins": 20}),
    }
    seconds = {label: [] for label in calls}
    memory = {label: [] for label in calls}
    for n in sizes:
        sides = {c: begin(run, n, 100, 16, 1, 8, context=c) for c in ("window", "history")}
        for label, (context, method, given) in calls.items():
            count = 1 if label == "fit" and n >= 10**4 else 1 + args.rounds
            some = [sides[context].call(method, **given) for _ in range(count)]
            seconds[label].append(median(reply.seconds for reply in some[min(1, count - 1) :]))
            memory[label].append(max(reply.rise for reply in some))
        for side in sides.values():
            side.close()
    rows = []
    for label in calls:
        for what, values in (("s", seconds[label]), ("MiB", memory[label])):
            shown = [f"{value:.3g}" for value in values]
            # nothing grows where the largest size needs less than an allocator's leftovers
            slopes = ("", "") if what == "MiB" and values[-1] < 50 else exponents(sizes, values)
            rows.append([label, what, *shown, *slopes])
    header = ["", "", *(f"{n:,} series" for n in sizes), "exponent", "of the last two"]
    arena.show("growth with the number of series, 100 rows each", header, rows)


def exponents(sizes, values):
    """Slope in log-log over all sizes, and between the last two."""
    x, y = np.log(sizes), np.log(np.maximum(values, 1e-3))
    return f"{np.polyfit(x, y, 1)[0]:.2f}", f"{(y[-1] - y[-2]) / (x[-1] - x[-2]):.2f}"


def limit(run, args):
    n, origins = (500, 50) if args.quick else (10_000, 250)
    cases = {
        "history, points": ("history", "point", "origins"),
        "history, nine quantiles": ("history", "quantiles", "origins"),
        "history, points, backtest": ("history", "point", "backtest"),
        "window, points": ("window", "point", "origins"),
    }
    rows = []
    for label, (context, head, method) in cases.items():
        shape = (n, 500, LOOKBACK, HORIZON, HIDDEN)
        side = begin(run, *shape, context=context, head=head)
        side.call("limit", gib=args.gib)
        try:
            reply = side.call(method, origins=origins)
            taken = reply.value[1] if method == "backtest" else reply.seconds
            rows.append([label, "yes", f"{taken:.3g}", f"{reply.peak / 1024:.2f}"])
        except RuntimeError as error:
            rows.append([label, "no: " + str(error).strip().splitlines()[-1][:100], "", ""])
        side.close()
    title = f"{origins} origins x {n:,} series within {args.gib:g} GiB"
    arena.show(title, ["", "done", "seconds", "peak GiB of the process"], rows)


if __name__ == "__main__":
    main()
