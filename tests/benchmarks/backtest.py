"""How fast is a backtest of a fitted model, from frame to frame?

    python tests/benchmarks/backtest.py

250 origins of 50 stocks, five sessions ahead: 12,500 forecasts. Each library takes its own way that
does not fit again: neuralforecast ``cross_validation(refit=False, use_fitted=True)``, darts
``historical_forecasts(retrain=False, last_points_only=False)``, GluonTS a predictor over
``generate_instances(distance=1)``. All models are fitted before, briefly, on the rows before the
first origin: weights do not matter for speed.

The same: data, threads, lookback 60, horizon 5, two LSTM layers of 64, a linear decoder, a point
forecast. The table in memory is what the clock starts from, the frame of forecasts what it ends at.
Every peer runs at a batch size of 1,024. In a short trial on a busy machine 256 and 1,024 did not
differ clearly; 32, the default, was slower but for neuralforecast's backtest.

Ours comes three ways. "origins" is `forecast_origins`: forecasts alone, as from darts and
GluonTS. "from the table" adds `as_panel` of the long table the peers are given. "backtest" is
`tsf.backtest`, which sets beside every forecast what happened (as neuralforecast does) and a naive
forecast. Each in context="window" (a forecast is a function of the last 60 rows, as for the peers)
and context="history" (of all rows; no peer has it).

Not the same: GluonTS has no LSTM that decodes all steps at once. DeepAR draws sample paths step by
step (100; ``--samples``), which costs more and gives more. darts' conversion in and out is counted,
and shown. "torch" is the network alone over windows that lie ready in a tensor, "torch, sweep" one
pass over all 1,259 rows of each series, decoded at every row: the practical limits.
"""

from statistics import median

import arena
from arena import HIDDEN, HORIZON, LOOKBACK


def main():
    args = arena.start_run(__doc__, series=50, origins=250, samples=100)
    if args.quick:
        args.series, args.origins = 10, 50
    peers = arena.present(arena.PEERS)
    arena.say_versions(peers)
    shape = {"lookback": LOOKBACK, "horizon": HORIZON, "hidden": HIDDEN}
    with arena.Arena(args.threads) as run:
        table = arena.stocks(args.series)
        path = run.folder.write("stocks", table)
        until = int(table["ds"].max()) - HORIZON - args.origins + 2
        runs = {}
        for context in ("history", "window"):
            side = run.side("tsforecast")
            side.call("setup", path=path, **shape)
            side.call("fit", until=until, context=context)
            for label, method in {
                context: "origins",
                f"{context}, from the table": "origins_of_table",
                f"{context}, backtest": "backtest",
            }.items():
                runs[label] = call(side, method, args.origins)
        torch = run.side("torch")
        torch.call("setup", path=path, width=side.call("width").value, **shape)
        n = args.series * args.origins
        runs["torch"] = lambda: torch.call("forecast", origins=args.origins, chunk=128)
        runs["torch, sweep"] = lambda: torch.call("sweep")
        for name in peers:
            side = run.side(name)
            more = {"samples": args.samples} if name == "gluonts" else {}
            side.call("setup", path=path, **shape, **more)
            side.call("fit", until=until)
            runs[name] = call(side, "backtest", args.origins)
        replies = arena.by_turns(runs, args.rounds)
        arena.check_rows(replies, n, HORIZON, but=("torch", "torch, sweep"))
        title = f"backtest: {args.origins} origins x {args.series} series"
        arena.show_times(title, replies, ours=("history", "window"), count=n, unit="forecasts")
        if "darts" in replies:
            into, out = (median(reply.value[i] for reply in replies["darts"]) for i in (1, 2))
            print(f"\ndarts: {into:.3g} s into its series, {out:.3g} s out of them")


def call(side, method, origins):
    return lambda: side.call(method, origins=origins)


if __name__ == "__main__":
    main()
