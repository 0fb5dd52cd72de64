"""Which stocks will beat the median tomorrow: the protocol of Fischer and Krauss (2018).

Usage: cross_section.py [--panel FILE --series ticker --time date] [--small] [options]

T. Fischer and C. Krauss, "Deep learning with long short-term memory networks for financial market
predictions", European Journal of Operational Research 270 (2018) 654-669,
https://doi.org/10.1016/j.ejor.2017.11.054. As there:

- study periods of 750 days to train on and 250 to trade in, moved on by 250 (`RollingOrigin`);
- of every stock, sequences of 240 daily returns, standardised by mean and spread of the study
  period's training days, all stocks together; the label is 1 if the next day's return is above the
  median of all stocks on that day (`above_median`);
- one LSTM layer of 25 units and cross-entropy (`head="bernoulli"`);
- every day the 10 stocks of highest probability are bought and the 10 of lowest sold, in equal
  parts; 5 basis points are paid on each side.

Not as there: what is chosen again is held and costs nothing, where there every position is closed
and opened anew each day (four half-turns, 20 basis points a day); --universe names the members of
each day, there they are those of the last training day; returns of prices adjusted for splits are
no total returns, unless --returns names some; standardised returns are squashed by asinh, and the
network also sees the hours since the row before; Adam in place of RMSprop; no dropout, which here
stands between layers alone; and a fixed number of epochs on all training days in place of early
stopping on a fifth of the samples. The package's default keeps the untrained network, and
with it the base rate for every stock and nothing to rank, unless validation improves by more than
its standard error: --early counts how often it does.

Orders are filled at the close that the decision is made from, as in the paper, which nobody can
do; and a session later, at its open or its close. Beside the network: yesterday's losers bought and
winners sold, which needs no training, and ranks drawn at random.

The default data (`load_sp500_ohlcv`, 2013-2018) are two study periods of 505 stocks that were in
the index at their end: survivorship. With --panel a CSV or parquet file of any long panel is taken.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.dummy import DummyRegressor

import tsforecast as tsf


def read(args):
    """Prices as a panel, with labels and returns."""
    if args.panel is None:
        prices = tsf.load_sp500_ohlcv()
    else:
        reader = pd.read_csv if Path(args.panel).suffix == ".csv" else pd.read_parquet
        table = reader(args.panel)
        if pd.api.types.is_string_dtype(table[args.time]):
            table[args.time] = pd.to_datetime(table[args.time])
        prices = tsf.as_panel(table, series=args.series, time=args.time)
    if args.small:
        names = prices.index.unique(level=0)[:: max(1, len(prices.index.unique(level=0)) // 40)]
        prices = prices[prices.index.get_level_values(0).isin(names)]
    panel = tsf.above_median(prices, args.column, returns=args.returns, universe=args.universe)
    return prices, panel[["return", "above"]]


def network(args, seed, training):
    return tsf.RecurrentForecaster(
        target="above",
        past=["return"],
        autoregressive=False,
        lookback=args.lookback,
        head="bernoulli",
        baseline=None,
        hidden_sizes=(25,),
        training=training,
        random_state=seed,
    )


def forecasts(args, panel, splitter):
    """The backtest frame of each seed."""
    base = {"target": "above", "estimator": DummyRegressor(), "lags": 1, "relative": False}
    frames = {}
    for seed in range(args.seeds):
        since = time.perf_counter()
        training = tsf.Training(max_epochs=args.epochs, validation=None)
        models = {
            "lstm": network(args, seed, training),
            "base rate": tsf.LagRegressor(**base, levels=()),
        }
        result = tsf.backtest(models, panel, splitter)
        print(f"seed {seed}: {time.perf_counter() - since:.0f} s", flush=True)
        if seed == 0:
            print("\n".join(result.verdicts()))
            table = result.skill()
            print(f"Brier score {table['loss'].iloc[0]:.6f}, of {table['baseline'].iloc[0]} "
                  f"{table['baseline_loss'].iloc[0]:.6f}", flush=True)  # fmt: skip
        frames[seed] = result.frame[result.frame["model"] == "lstm"]
    return frames


def early(args, panel, splitter):
    """Whether fits with early stopping keep the base rate."""
    day = panel.index.get_level_values(-1)
    kept = []
    for split in splitter.splits(panel):
        train = panel[(split.fit_from <= day) & (day <= split.fit_until)]
        kept += network(args, 0, tsf.Training()).fit(train).best_epochs_
    print(f"With early stopping {kept.count(0)} of {len(kept)} fits keep the base rate.")


def ranked(frame, k):
    """Share of rows above the median: of all, of the k highest, and not of the k lowest."""
    frame = frame.dropna(subset=["forecast", "actual"]).sort_values(
        ["cutoff", "forecast", "series"], ascending=[True, False, True], kind="stable"
    )
    by_day = frame.groupby("cutoff")["actual"]
    right = ((frame["forecast"] > 0.5) == (frame["actual"] > 0.5)).mean()
    top, bottom = by_day.head(k).mean(), 1 - by_day.tail(k).mean()
    base = frame["actual"].mean()
    return {"base rate": base, "all rows right": right, "top right": top, "flop right": bottom}


def others(frame, panel, seeds):
    """Frames of the same rows with other forecasts: the last return turned round, and chance."""
    last = panel["return"].rename("last").rename_axis(["series", "cutoff"]).reset_index()
    joined = frame[["series", "cutoff"]].merge(last, how="left", on=["series", "cutoff"])
    yield "yesterday's losers", [frame.assign(forecast=-joined["last"].to_numpy())]
    draws = [np.random.default_rng(seed).random(len(frame)) for seed in range(seeds)]
    yield "random ranks", [frame.assign(forecast=draw) for draw in draws]


def trade(args, frame, prices, lag, fill):
    costs = tsf.Costs(commission_bps=args.cost_bps, half_spread_bps=0.0, slippage_bps=0.0)
    return tsf.backtest_strategy(
        frame, prices, rule=tsf.TopBottom(args.k), costs=costs, lag=lag, fill=fill,
        price=args.column, universe=args.universe, missing="hold", reference=0.0,
    )  # fmt: skip


def per_day(runs):
    """Means over runs of what a day gives, in basis points of the equity, and their spread."""
    rows = []
    for run in runs:
        sharpe = tsf.sharpe_ratio(run.returns["net"])
        rows.append(
            {
                "gross bps": 1e4 * run.returns["gross"].mean(),
                "net bps": 1e4 * run.returns["net"].mean(),
                "turnover": run.returns["turnover"].mean(),
                "break-even bps": run.breakeven_bps,
                "sharpe gross": tsf.sharpe_ratio(run.returns["gross"]).value,
                "sharpe net": sharpe.value,
                "its error": sharpe.se,
                "psr net": tsf.probabilistic_sharpe(run.returns["net"]),
                "hit rate": (
                    run.decisions["signal"] * run.decisions["return"] > 0
                )[run.decisions["signal"] != 0].mean(),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    return pd.concat([table.mean(), table.std().add_prefix("sd of ")])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panel", help="CSV or parquet file of a long panel")
    parser.add_argument("--series", default="ticker")
    parser.add_argument("--time", default="date")
    parser.add_argument("--column", default="close", help="price, adjusted")
    parser.add_argument("--returns", help="column of total returns, in place of the price's")
    parser.add_argument("--universe", help="column that is 1 where a series is a member")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--cost-bps", type=float, default=5.0, help="per side")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lookback", type=int, default=240)
    parser.add_argument("--train", type=int, default=750)
    parser.add_argument("--trade", type=int, default=250)
    parser.add_argument("--early", action="store_true", help="also fit with early stopping")
    parser.add_argument("--small", action="store_true", help="about 40 series, one seed, 2 epochs")
    args = parser.parse_args()
    if args.small:
        args.seeds, args.epochs, args.k = 1, 2, min(args.k, 5)
    warnings.simplefilter("ignore", UserWarning)  # of series that begin late

    prices, panel = read(args)
    n_days = panel.index.get_level_values(-1).nunique()
    n_blocks = (n_days - args.train) // args.trade
    splitter = tsf.RollingOrigin(n_blocks, args.trade, train_size=args.train)
    print(f"{panel.index.get_level_values(0).nunique()} series, {n_days} days, "
          f"{n_blocks} study periods; {torch.get_num_threads()} threads")  # fmt: skip
    for split in splitter.splits(panel):
        print(f"  trained on {split.fit_from} to {split.fit_until}, "
              f"decisions {split.cutoffs[0]} to {split.cutoffs[-1]}")  # fmt: skip
    print(prices.attrs.get("survivorship", ""), flush=True)

    frames = forecasts(args, panel, splitter)
    if args.early:
        early(args, panel, splitter)
    labels = pd.DataFrame([ranked(frame, args.k) for frame in frames.values()])
    print(f"\n## Labels, means over {args.seeds} seeds\n{labels.mean().round(4).to_string()}")

    fills = {"same close": ("same close", "close"), "next close": (1, "close")}
    if "open" in prices:
        fills["next open"] = (1, "open")
    compared = {"lstm": list(frames.values()), **dict(others(frames[0], panel, 20))}
    rows, sheets = {}, {}
    for name, listed in compared.items():  # the network first: what is tried later does not count
        for filled, (lag, fill) in fills.items():
            runs = [trade(args, frame, prices, lag, fill) for frame in listed]
            rows[name, filled] = per_day(runs)
            if name == "lstm":
                named = {f"seed {seed}": run for seed, run in enumerate(runs)}
                sheets[filled] = tsf.tearsheet(named)
    figures = pd.DataFrame(rows)
    print(f"\n## A day, {args.cost_bps:g} bps per side, k = {args.k}: means over runs, and spread")
    print(figures.round(3).to_string(na_rep=""))
    for filled, sheet in sheets.items():
        print(f"\n## Filled at the {filled}\n{sheet}", flush=True)


if __name__ == "__main__":
    main()
