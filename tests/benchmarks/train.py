"""How fast does a network learn?

    python tests/benchmarks/train.py            # about 12 minutes
    python tests/benchmarks/train.py --quick

Log volatility of 100 stocks, lookback 60, horizon 5, two LSTM layers of 64. The last 250 sessions
are left alone by all; of those before, the last fifth is the validation part, the rest is trained
on. Point forecasts, absolute error, Adam, gradients in float32, the same threads.

**Kernel**: classical windows (`origins=1`) a second, at batches of 256 and 1,024, against a raw
loop on two threads over as many windows of the same width, and against neuralforecast with the same
batch (its rows have one number, ours a few more, the raw loop as many as ours). A window costs
6 x 60 x (weights of the cells) floating point operations; matrix products of float32 at their
peak, large ones and of the size of one step of the cell, give the physical limit.

**Time to a loss**: every library trains for a while at each of three learning rates (constant; an
error curve that falls to zero at a time set before would favour whoever set it best). A callback
keeps copies of the weights; afterwards each copy forecasts from all origins of the validation part
through the library's public verb, and one function here takes the mean absolute error in log
volatility. The mark is the least error of neuralforecast in its first 60 s, over rates and copies;
what counts is when each one's best rate has first reached it, from the call of `fit` (preparing
the data is counted, imports and the first fit of a process are not). Nobody validates while the
clock runs.

Same: rows, validation origins, loss, network, threads. Not the same, since it is the library's own:
how a window is normalised (neuralforecast per window; ours per series from training rows,
forecasting the change from the last value), features, initial weights, windows a step
(neuralforecast ``--windows`` out of 32 series, ours the default of `Training` with many origins a
window), gradient clipping (ours; neuralforecast has none). neuralforecast's direct decoder reads
step k from the state 5 - k rows before the newest, a handicap of its own. Its window scaler
(``--scaler``) is "standard" rather than its default "robust" after one short trial on a busy
machine: .3120 against .3126 on these very validation origins, one seed, one rate. That trial gave
"identity" too few steps to judge it.

**Memory**: the most that is resident while a new process trains 15 s with the settings above, and
that less what was resident before (with all imports done).
"""

from statistics import median

import arena
import numpy as np
from arena import HIDDEN, HORIZON, LOOKBACK

TEST = 250  # sessions at the end that nobody sees


def main():
    args = arena.start_run(
        __doc__,
        series=100,
        seconds=60.0,
        own_seconds=20.0,
        rates=(2e-3, 5e-3, 1e-2),
        peer_rates=(1e-3, 2e-3, 5e-3),
        windows=256,
        scaler="standard",
        only=("kernel", "loss", "memory"),
    )
    if args.quick:
        args.series, args.seconds, args.own_seconds = 20, 8.0, 4.0
        args.rates, args.peer_rates = args.rates[1:2], args.peer_rates[1:2]
    peer = arena.present(["neuralforecast"])
    arena.say_versions(peer)
    table = arena.stocks(args.series)
    table = table[table["ds"] <= table["ds"].max() - TEST]
    until = int(0.8 * (table["ds"].max() + 1))
    with arena.Arena(args.threads) as run:
        path = run.folder.write("stocks", table)
        if "kernel" in args.only:
            kernel(run, args, path, until, peer)
        if "loss" in args.only and peer:
            time_to_loss(run, args, path, until, table)
        if "memory" in args.only:
            memory(run, args, path, until, peer)


def begin(run, name, path, **more):
    """Start a side that has read the table and fitted once."""
    side = run.side(name)
    side.call("setup", path=path, lookback=LOOKBACK, horizon=HORIZON, hidden=HIDDEN, **more)
    if name != "torch":
        side.call("fit", until=200)
    return side


def kernel(run, args, path, until, peer):
    seconds = 3.0 if args.quick else 10.0
    ours = begin(run, "tsforecast", path)
    width = ours.call("width").value
    torch = begin(run, "torch", path, width=width)
    others = {name: begin(run, name, path) for name in peer}
    short = {"until": until, "seconds": seconds, "times": [], "warm": 0.2 * seconds}
    rows = []
    for batch in (256, 1024):
        runs = {
            "ours, origins=1": lambda b=batch: ours.call("train", **short, origins=1, batch_size=b),
            "torch": lambda b=batch: torch.call(
                "train", until=until, seconds=seconds, batch_size=b
            ),
        }
        for name, side in others.items():
            runs[name] = lambda side=side, b=batch: side.call(
                "train", **short, windows_batch_size=b, scaler_type=args.scaler
            )
        replies = arena.by_turns(runs, args.rounds, warm=0 if args.quick else 1)
        rates = {name: [reply.value["rate"] for reply in some] for name, some in replies.items()}
        peaks = torch.call("peak", batch=batch).value
        work = operations(width)
        for name, some in rates.items():
            against = "{:.3g} ({:.3g}, {:.3g})".format(*arena.ratio(some, rates["torch"]))
            share = median(some) * work / peaks["large"]
            rows.append([batch, name, f"{median(some):,.0f}", against, f"{share:.2f}"])
        for name, peak in peaks.items():
            limit = f"products, {name}: {peak / 1e9:.0f} GFLOP/s"
            rows.append([batch, limit, f"{peak / work:,.0f}", "", f"{peak / peaks['large']:.2f}"])
    header = ["batch", "", "windows/s", "over torch (least, most)", "of the large products' peak"]
    arena.show("kernel: classical windows", header, rows)
    for side in (ours, torch, *others.values()):
        side.close()


def operations(width):
    """Floating point operations of a window, there and back: three times two for each weight."""
    weights = 4 * HIDDEN * (width + HIDDEN) + 4 * HIDDEN * 2 * HIDDEN
    return 6 * LOOKBACK * weights


def time_to_loss(run, args, path, until, table):
    actual = targets(table, until)
    sides = {name: begin(run, name, path) for name in ("neuralforecast", "tsforecast")}
    rates = {"neuralforecast": args.peer_rates, "tsforecast": args.rates}
    seconds = {"neuralforecast": args.seconds, "tsforecast": args.own_seconds}
    spacing = {"neuralforecast": args.seconds / 15, "tsforecast": args.own_seconds / 40}
    options = {
        "neuralforecast": {"windows_batch_size": args.windows, "scaler_type": args.scaler},
        "tsforecast": {},
    }
    curves = {name: {} for name in sides}
    file = str(run.folder.path / "forecasts.npy")
    for i in range(max(map(len, rates.values()))):
        for name, side in sides.items():
            for rate in rates[name][i : i + 1]:
                times = np.arange(1, seconds[name] / spacing[name] + 0.5) * spacing[name]
                side.call(
                    "train",
                    until=until,
                    seconds=seconds[name],
                    times=times.tolist(),
                    warm=0.0,
                    learning_rate=rate,
                    **options[name],
                )
                when = side.call("forecasts", until=until, path=file).value
                errors = np.abs(np.load(file) - actual).mean(axis=(1, 2, 3))
                curves[name][rate] = list(zip(when, errors.tolist()))
    mark = min(e for curve in curves["neuralforecast"].values() for _, e in curve)
    rows = []
    for name, some in curves.items():
        for rate, curve in some.items():
            at, least = min(curve, key=lambda point: point[1])
            reached = [when for when, error in curve if error <= mark]
            first = f"{reached[0]:.2f}" if reached else "not"
            rows.append([name, f"{rate:g}", f"{least:.4f}", f"{at:.1f}", first])
    header = ["", "learning rate", "least MAE", "after s", f"s to {mark:.4f}"]
    arena.show(f"time to the loss neuralforecast has in {args.seconds:g} s", header, rows)
    first = {name: soonest(some.values(), mark) for name, some in curves.items()}
    print(f"naive (the last value): {naive(table, until):.4f}")
    print(f"{first['neuralforecast']:.2f} s against {first['tsforecast']:.2f} s: ", end="")
    print(f"{first['neuralforecast'] / first['tsforecast']:.1f} times sooner; ", end="")
    print(f"{args.seconds / first['tsforecast']:.1f} times sooner than {args.seconds:g} s")
    for name, some in curves.items():
        for rate, curve in some.items():
            points = " ".join(f"{when:.1f}:{error:.4f}" for when, error in curve)
            print(f"{name} {rate:g}: {points}")
    for side in sides.values():
        side.close()


def soonest(curves, mark):
    """When the first of the curves reaches `mark`."""
    return min((when for curve in curves for when, error in curve if error <= mark), default=np.nan)


def targets(table, until):
    """What happened at every validation origin, (series, origins, horizon)."""
    wide = table["y"].to_numpy().reshape(table["unique_id"].nunique(), -1)
    return np.lib.stride_tricks.sliding_window_view(wide[:, until:], HORIZON, axis=1)


def naive(table, until):
    """Mean absolute error of the last value at the same origins."""
    wide = table["y"].to_numpy().reshape(table["unique_id"].nunique(), -1)
    last = wide[:, until - 1 : -HORIZON, None]
    return float(np.abs(last - targets(table, until)).mean())


def memory(run, args, path, until, peer):
    seconds = 4.0 if args.quick else 15.0
    rows, peaks = [], {}
    options = {
        "neuralforecast": {"windows_batch_size": args.windows, "scaler_type": args.scaler},
        "tsforecast": {},
    }
    for name in ("tsforecast", *peer):
        side = begin(run, name, path)
        reply = side.call(
            "train", until=until, seconds=seconds, times=[], warm=0.0, **options[name]
        )
        peaks[name] = reply.peak
        rows.append([name, f"{reply.peak:,.0f}", f"{reply.rise:,.0f}"])
        side.close()
    arena.show("memory in training", ["", "peak MiB", "above what was there before"], rows)
    for name in peer:
        print(f"\nours over {name}: {peaks['tsforecast'] / peaks[name]:.2f}")


if __name__ == "__main__":
    main()
