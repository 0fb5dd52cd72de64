"""Do intervals of 90 % hold 90 % in every year? Adaptive and split conformal on the S&P 500.

    OMP_NUM_THREADS=1 python tests/benchmarks/conformal.py

Log prices (adjusted closes) of the S&P 500, outcomes of 2004-01-01..2012-12-31; one and five
sessions ahead. Around the random walk with EWMA volatility (its own quantiles, scaled) and around
the last value (absolute errors: all adaption is the interval's). ``once``: fitted on the rows up to
2003, the last quarter of them for calibration, and no refit; ``yearly``: a fit a year, on all rows
before. ``rate`` and ``window`` are the defaults; they were chosen on 1999-2003 and on simulated
volatility that switches between two regimes.

Printed for each model and step: coverage, mean and largest distance from 90 % of the coverage in
windows of 250 outcomes, mean width, and the quantile loss of the two bounds (both are to be small).
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import tsforecast as tsf

LEVEL = 0.9
YEARS = 9


def log_prices():
    if "TSFORECAST_DATA" not in os.environ:
        sys.exit("TSFORECAST_DATA names the folder of the data.")
    panel = tsf.load_sp500()
    return pd.DataFrame({"log_close": np.log(panel["adj_close"])})[:"2012"]


def models(horizon):
    same = {"target": "log_close", "horizon": horizon}
    inner = {
        "walk": tsf.RandomWalk(**same, levels=(0.05, 0.5, 0.95)),
        "last": tsf.Naive(**same, levels=()),
    }
    made = {"walk, its own quantiles": inner["walk"]}
    for method in ("split", "adaptive"):
        for name, model in inner.items():
            made[f"{method}, {name}"] = tsf.ConformalForecaster(model, method=method, level=LEVEL)
    return made


def loss(frame):
    """Quantile loss of both bounds, for each model and step."""
    total = 0.0
    for side in (-1, 1):
        level = (1 + side * LEVEL) / 2
        error = frame["actual"] - frame[f"q{level:g}"]
        total = total + np.maximum(level * error, (level - 1) * error)
    return total.groupby([frame["model"], frame["step"]]).mean()


def table(panel, horizon, *, yearly):
    days = int((panel.index >= "2004").sum()) - horizon + 1
    splitter = tsf.RollingOrigin(YEARS, days // YEARS) if yearly else tsf.RollingOrigin(1, days)
    result = tsf.backtest(models(horizon), panel, splitter)
    found = tsf.coverage_summary(result.frame, LEVEL, window=250).drop(columns="target")
    found = found.set_index(["model", "step"]).join(loss(result.frame).rename("loss"))
    times = result.frame["time"]
    print(f"\n{'yearly' if yearly else 'once'}, outcomes {times.min():%F} to {times.max():%F}")
    print(found.round(4).to_string())
    return found


def main():
    print(__doc__.split("\n\n")[0], Path(__file__).name)
    panel = log_prices()
    for yearly in (False, True):
        for horizon in (1, 5):
            table(panel, horizon, yearly=yearly)


if __name__ == "__main__":
    main()
