"""How fast is a forecast from the end of every series, from frame to frame?

    python tests/benchmarks/predict.py

Ten thousand stretches of 120 sessions of log volatility, and one series alone with everything warm
(the time of a service that is asked for one forecast). All models are fitted before, briefly:
weights do not matter for speed.

The same: data, threads, lookback 60, horizon 5, two LSTM layers of 64, a linear decoder, a point
forecast, float32 in the network. Each starts from the frame it is made for: ours from a panel,
indexed and sorted; neuralforecast and darts from a long table with columns for series and time, and
"ours from the table" from the same. darts has no frames inside; its conversion in and out is
counted, and shown.
Every peer runs at a batch size of 1,024. In a short trial on a busy machine 256 and 1,024 did not
differ clearly; 32, the default, was slower but for neuralforecast's backtest.

Not the same: our rows carry some features beside the value, and our frame more columns. GluonTS
(DeepAR, 100 paths drawn step by step) does more than the others; it stands beside them for one
series only, unless asked for (``--gluonts``).
"torch" is the network alone over windows that lie ready in a tensor: the practical limit.
"""

from statistics import median

import arena
from arena import HIDDEN, HORIZON, LOOKBACK


def main():
    args = arena.start_run(__doc__, series=10_000, rows=120, gluonts=False)
    if args.quick:
        args.series = 500
    peers = arena.present(arena.PEERS)
    arena.say_versions(peers)
    shape = {"lookback": LOOKBACK, "horizon": HORIZON, "hidden": HIDDEN}
    with arena.Arena(args.threads) as run:
        path = run.folder.write("series", arena.short_series(args.series, args.rows))
        ours = run.side("tsforecast")
        ours.call("setup", path=path, **shape)
        ours.call("fit", until=args.rows, origins=32)
        torch = run.side("torch")
        torch.call("setup", path=path, width=ours.call("width").value, **shape)
        sides = {name: run.side(name) for name in peers}
        for side in sides.values():
            side.call("setup", path=path, **shape)
            side.call("fit", until=args.rows)

        many = {
            "ours": lambda: ours.call("predict"),
            "ours from the table": lambda: ours.call("predict_of_table"),
            "torch": lambda: torch.call("forecast", origins=1, chunk=128),
        }
        one = {
            "ours": lambda: ours.call("predict", n_series=1),
            "torch": lambda: torch.call("forecast", origins=1, chunk=1, n_series=1),
        }
        for name, side in sides.items():
            if name != "gluonts" or args.gluonts:
                many[name] = lambda side=side: side.call("predict")
            one[name] = lambda side=side: side.call("predict", n_series=1)
        replies = arena.by_turns(many, args.rounds)
        arena.check_rows(replies, args.series, HORIZON, but=("torch",))
        title = f"predict: {args.series:,} series x {args.rows} rows"
        arena.show_times(title, replies, ours=("ours",), count=args.series, unit="series")
        if "darts" in replies:
            into, out = (median(reply.value[i] for reply in replies["darts"]) for i in (1, 2))
            print(f"\ndarts: {into:.3g} s into its series, {out:.3g} s out of them")
        replies = arena.by_turns(one, 4 * args.rounds, warm=3)
        title = "predict: one series, warm"
        arena.show_times(title, replies, ours=("ours",), count=1, unit="forecasts")


if __name__ == "__main__":
    main()
