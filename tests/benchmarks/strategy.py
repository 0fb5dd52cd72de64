"""How long a strategy of 500 stocks over 1,250 days takes, and what foresight earns.

    python -m tests.benchmarks.strategy        # from the root of the repository

Prints the median time of several runs for each fill, and the largest difference of perfect
foresight, buy and hold and random weights from a loop over days in money (tests/test_strategy.py).
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pandas as pd

import tsforecast as tsf
from tests.test_strategy import by_hand, make_prices, panel_of, weights_like

STOCKS, DAYS, RUNS = 500, 1250, 7


def main() -> None:
    close, opens = make_prices(DAYS, [f"s{i:03d}" for i in range(STOCKS)])
    panel = panel_of(close, opens)
    weights = np.sign(close.pct_change(20).fillna(0)) / STOCKS
    frame = (
        (1 + 0.01 * weights * STOCKS)
        .mul(close)
        .rename_axis(index="cutoff", columns="series")
        .stack()
        .rename("forecast")
        .reset_index()
        .assign(model="momentum", target="close", step=1)
    )
    cases = {
        "weights, filled at the close": (weights, {}),
        "weights, filled at the open": (weights, {"fill": "open"}),
        "forecasts, top and bottom 10": (frame, {"rule": tsf.TopBottom(10)}),
        "forecasts, sign, volatility target": (frame, {"vol_target": 0.1}),
    }
    print(
        f"{STOCKS} stocks, {DAYS} days, seconds of {RUNS} runs: median, slowest, median of the CPU"
    )
    for name, (given, options) in cases.items():
        taken, computed = [], []
        for _ in range(RUNS):
            begin, own = time.perf_counter(), time.process_time()
            tsf.backtest_strategy(given, panel, **options)
            taken.append(time.perf_counter() - begin)
            computed.append(time.process_time() - own)
        wall, cpu = statistics.median(taken), statistics.median(computed)
        print(f"  {name:36s} {wall:.2f}  {max(taken):.2f}  {cpu:.2f}")

    print("largest difference of net returns from a loop in money, 4 stocks, 1,250 days, 7.5 bps")
    close, opens = make_prices(DAYS)
    panel = panel_of(close, opens)
    for what in ("foresight", "buy and hold", "random"):
        weights = weights_like(what, close)
        worst = 0.0
        for lag, fill in (("same close", "close"), (1, "close"), (1, "open"), (2, "open")):
            found = tsf.backtest_strategy(
                weights, panel, lag=lag, fill=fill, costs=tsf.Costs(1.5, 2, 4)
            )
            sessions = 0 if lag == "same close" else lag
            expected = by_hand(weights, close, opens, lag=sessions, fill=fill, per_side=7.5e-4)
            both = pd.concat([found.returns["net"], expected["net"]], axis=1, join="inner")
            worst = max(worst, float(np.abs(both.iloc[:, 0] - both.iloc[:, 1]).max()))
        print(f"  {what:14s} {worst:.1e}")


if __name__ == "__main__":
    main()
