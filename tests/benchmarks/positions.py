"""What a network trained on its Sharpe ratio finds: in series that trend, and in random walks.

Usage: python -m tests.benchmarks.positions [--seeds 5] [--walks 10] [--first 0] [--members 1]

Trends: 20 simulated series of 3,000 days (`tests.simulated_trends`) for each seed, 2,000 to learn
from and 1,000 to trade in, without a refit. Against the network stands the sign of the past
return over 5 to 252 days, the span with the best net Sharpe ratio in the 2,000 days, with the same
scaling by volatility, the same lag of a day and the same 5 basis points per side. What both earn,
in units of its own volatility, is tested by Diebold and Mariano, and their Sharpe ratios by Ledoit
and Wolf. A linear filter stands beside them whose shape and half-life were set with the simulated
process in mind: about the best there is.

Random walks: the same without a drift; how many networks hold anything, and how much they trade.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd

import tsforecast as tsf
from tests.simulated_trends import sign_rule, simulate_trends

TRAIN, SPANS = 2000, (5, 10, 21, 42, 63, 126, 252)


def estimator(args, seed):
    return tsf.PositionEstimator(
        target="close", context=args.context, n_members=args.members, random_state=seed
    )


def tables(panel, model):
    """Closes, and the weights of the network behind the training rows: time x series."""
    close = panel["close"].unstack("series")
    frame = tsf.backtest(
        {"network": model},
        panel,
        tsf.RollingOrigin(1, origins_per_split=len(close) - TRAIN),
        refit=False,
    ).frame
    return close, frame.pivot(index="cutoff", columns="series", values="forecast")


def traded(weights, panel):
    """Net returns and turnover of weights that each have an equal part of the capital."""
    strategy = tsf.backtest_strategy(weights / weights.shape[1], panel, costs=tsf.Costs())
    return strategy.returns["net"], strategy.returns["turnover"].mean()


def linear_filter(close):
    """Tanh of an exponentially weighted mean of standardised returns, half-life 40."""
    change = np.log(close).diff()
    volatility = np.sqrt((change**2).ewm(halflife=60).mean())
    mean = (change / volatility.shift(1)).ewm(halflife=40).mean()
    return np.tanh(8 * mean) * np.minimum(1, 0.15 / (volatility * np.sqrt(252)))


def sharpe(net):
    return tsf.sharpe_ratio(net.to_numpy()).value if net.std() > 0 else 0.0


def trends(args):
    rows, both = [], []
    for seed in range(args.first, args.first + args.seeds):
        panel = simulate_trends(drift=args.drift, seed=seed)
        begun = time.perf_counter()
        close, weights = tables(panel, estimator(args, seed))
        seconds = time.perf_counter() - begun
        early = panel[panel.index.get_level_values("time") < weights.index[0]]
        rules = {span: sign_rule(close, span) for span in SPANS}
        best = max(SPANS, key=lambda span: sharpe(traded(rules[span].dropna(), early)[0]))
        ours, turnover = traded(weights, panel)
        rule, rule_turnover = traded(rules[best].loc[weights.index], panel)
        line, _ = traded(linear_filter(close).loc[weights.index], panel)
        pair = [net.to_numpy() / net.std() for net in (ours, rule)]
        both.append(pair)
        rows.append(
            {
                "seed": seed,
                "network": sharpe(ours),
                "sign": sharpe(rule),
                "span": best,
                "filter": sharpe(line),
                "DM p": tsf.diebold_mariano(-pair[0], -pair[1], horizon=1).p_less,
                "LW p": tsf.sharpe_difference(*pair).p,
                "turnover": turnover,
                "turnover of sign": rule_turnover,
                "seconds": seconds,
            }
        )
    print(pd.DataFrame(rows).set_index("seed").round(4).to_string())
    ours, rule = (np.concatenate([pair[i] for pair in both]) for i in (0, 1))
    together = tsf.diebold_mariano(-ours, -rule, horizon=1)
    print(f"all seeds one behind the other: DM {together.statistic:.2f}, p {together.p_less:.2g}")


def walks(args):
    rows = []
    for seed in range(args.first, args.first + args.walks):
        panel = simulate_trends(drift=0.0, seed=seed)
        _, weights = tables(panel, estimator(args, seed))
        net, turnover = traded(weights, panel)
        size = weights.abs().mean().mean()
        rows.append({"seed": seed, "size": size, "turnover": turnover, "net Sharpe": sharpe(net)})
    table = pd.DataFrame(rows).set_index("seed")
    print(table.round(4).to_string())
    print(
        f"{(table['size'] > 0).sum()} of {len(table)} hold anything; "
        f"mean turnover {table['turnover'].mean():.4f} a day"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--walks", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--drift", type=float, default=0.15)
    parser.add_argument("--context", default="history")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*their position is 0")
    if given.seeds:
        trends(given)
    if given.walks:
        walks(given)
