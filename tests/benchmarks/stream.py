"""What does one new row cost?

    python tests/benchmarks/stream.py

`Stream.update` with a panel of one row, for one series and for 10,000 series at once, in both
contexts, with ``SeriesScaler`` and baseline "last"; and the forecast after it. The rows that arrive
are panels made before: what is timed is `update` (its checks, transform, features and the network)
and `forecast` (a frame), each alone. At the end the stream's forecast must be that of `predict`.

Two LSTM layers of 64, lookback 60, horizon 5, a point forecast. "torch" is a step of the network
alone. No peer has such a thing; the nearest is a forecast of the whole window anew, which
`predict.py` times ("one series, warm").
"""

import statistics

import arena
from arena import HIDDEN, HORIZON, LOOKBACK


def main():
    args = arena.start_run(__doc__, series=10_000, rows=120, steps=20)
    if args.quick:
        args.series, args.steps = 500, 5
    shape = {"lookback": LOOKBACK, "horizon": HORIZON, "hidden": HIDDEN}
    with arena.Arena(args.threads) as run:
        path = run.folder.write("series", arena.short_series(args.series, args.rows))
        sides = {context: run.side("tsforecast") for context in ("history", "window")}
        for context, side in sides.items():
            side.call("setup", path=path, **shape)
            side.call("fit", until=args.rows, context=context, origins=32)
        torch = run.side("torch")
        torch.call("setup", path=path, width=side.call("width").value, **shape)
        for n in (1, args.series):
            runs = {"torch": lambda n=n: torch.call("steps", n=n, times=args.steps)}
            for context, side in sides.items():
                runs[context] = lambda side=side, n=n: side.call(
                    "stream", rows=args.steps, n_series=n
                )
            replies = arena.by_turns(runs, args.rounds)
            table(f"stream: {n:,} series, a row each", replies, n)


def table(title, replies, n):
    rows = []
    for label, some in replies.items():
        for what in some[0].value:
            taken = [seconds for reply in some for seconds in reply.value[what]]
            middle, least = statistics.median(taken), min(taken)
            late = sorted(taken)[int(0.95 * (len(taken) - 1))]
            times = [f"{1e3 * seconds:.3g}" for seconds in (middle, least, late)]
            rows.append([label, what, *times, f"{1e6 * middle / n:.3g}"])
    header = ["", "", "ms, median", "least", "95 %", "microseconds a row"]
    arena.show(title, header, rows)


if __name__ == "__main__":
    main()
