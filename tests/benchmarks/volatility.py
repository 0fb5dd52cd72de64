"""Volatility out of sample: recurrent corrections of HAR models beside what they correct.

Usage: volatility.py {rv,returns,stocks} [--seeds 3] [--jobs 1] [--development]

rv: variance of the S&P 500 one session ahead (realised, `load_sp500_rv`), 2001-05-10..2013-08-30,
QLIKE. returns: daily returns of the S&P 500 (`load_sp500`), 2006-12-15..2018-12-31: log h + r^2 / h
in percent, and value at risk. Both are refitted every 250 sessions on all rows before. stocks:
5-day log volatility of 505 stocks (`load_sp500_ohlcv`), the last two years, one fit.

Settings were chosen on earlier rows (`--development` runs those): rv up to 2001-05-09, returns up
to 2006-12-14, stocks up to 2016-02-05.
"""

import argparse
import time
import warnings
from functools import partial

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning

import tsforecast as tsf
from tsforecast.backtesting.skill import holm

EVERY = 250
SPANS = {  # first and last day that is forecast
    "rv": ("2001-05-10", "2013-08-30"),
    "returns": ("2006-12-15", "2018-12-31"),
    "stocks": ("2016-02-08", "2018-02-07"),
}
DEVELOPMENT = {
    "rv": ("1999-04-01", "2001-05-09"),
    "returns": ("2003-01-02", "2006-12-14"),
    "stocks": ("2015-02-09", "2016-02-05"),
}


def say(title, table):
    print(f"\n## {title}\n{table if isinstance(table, str) else table.to_string()}", flush=True)


def network(baseline, seed, **options):
    """Eight units, corrections of a baseline of variance, fitted briefly and without validation.

    One series of a thousand rows teaches a network little: early stopping on a fifth of them picks
    by chance, more units or epochs fit noise.
    """
    settings = {
        "hidden_sizes": (8,),
        "n_members": 5,
        "training": tsf.Training(max_epochs=10, validation=None),
        **options,
    }
    return tsf.RecurrentForecaster(
        **settings,
        transform=tsf.Log(),
        baseline=baseline,
        head=tsf.Point("qlike"),
        lookback=22,
        random_state=seed,
    )


def over_time(models, panel, span, jobs):
    """Refit every 250 rows on all rows before, forecast one row ahead: the backtest within a span.

    Returns
    -------
    DataFrame
        The backtest frame, models one below the other.
    """
    first, last = map(pd.Timestamp, span)
    panel = panel.loc[:last]
    n_splits = -(-int((panel.index >= first).sum()) // EVERY)
    splitter = tsf.RollingOrigin(n_splits=n_splits, origins_per_split=EVERY)

    def run(item):
        torch.set_num_threads(1)
        warnings.simplefilter("ignore", ConvergenceWarning)
        since = time.perf_counter()
        frame = tsf.backtest(dict([item]), panel, splitter).frame
        print(f"{item[0]}: {time.perf_counter() - since:.0f} s", flush=True)
        return frame[frame["model"] == item[0]]

    parts = joblib.Parallel(n_jobs=jobs)(joblib.delayed(run)(item) for item in models.items())
    frame = pd.concat(parts, ignore_index=True)
    return frame[frame["time"] >= first]


# ------------------------------------------------------------------------------ realised variance


def rv(span, seeds, jobs):
    panel = tsf.load_sp500_rv()
    closes = tsf.load_sp500()["adj_close"]
    # the index is known from 1999 on; before, the leverage terms are 0
    panel["return"] = np.log(closes).diff().reindex(panel.index).fillna(0.0)
    halves = ("rv_negative", "rv_positive")

    def extended():
        return tsf.LogHAR(
            target="rv", returns="return", semivariance=halves, quarticity="rq", levels=()
        )

    models = {
        "random walk": tsf.Naive(target="rv", levels=()),
        "HAR": tsf.HAR(target="rv", levels=()),
        "log-HAR": tsf.LogHAR(target="rv", levels=()),
        "extended log-HAR": extended(),
    }
    further = ["return", "rq", *halves]
    models["LSTM alone"] = network(
        "last",
        0,
        target="rv",
        past=further,
        hidden_sizes=(32,),
        training=tsf.Training(),
    )
    models["LSTM over log-HAR"] = network(tsf.LogHAR(), 0, target="rv", past=further)
    for seed in range(seeds):
        models[f"LSTM over extended, seed {seed}"] = network(
            extended(), seed, target="rv", past=further
        )
    frame = over_time(models, panel, span, jobs)
    scores = tsf.evaluate(frame, ["qlike", "mae"])
    say("QLIKE", scores.round(4))
    ours = [name for name in models if name.startswith("LSTM over extended")]
    losses = tsf.loss_table(frame, loss="qlike")
    asked = losses[["log-HAR", "LSTM alone", "extended log-HAR", *ours]]
    say("Diebold-Mariano", compared(asked, ("log-HAR", "LSTM alone", "extended log-HAR")))
    baselines = ["random walk", "HAR", "log-HAR", "extended log-HAR"]
    for name in ours:
        chosen = frame[frame["model"].isin([*baselines, name])]
        table = tsf.skill(chosen, 1, baselines=baselines, loss="qlike")
        print(table["verdict"].item())
        losses = tsf.loss_table(chosen, loss="qlike")
        say("model confidence set, 90 %", tsf.model_confidence_set(losses, size=0.1))


# ---------------------------------------------------------------------------------------- returns


def index_prices():
    """Returns in percent, their variance by range, and standardised returns, of the S&P 500.

    Until 2005 the open of these data repeats the close before, later it does not (`check_prices`
    says so): it is put in its place everywhere, so that the range covers the night on all days.
    """
    prices = tsf.load_sp500()
    prices["open"] = prices["close"].shift()
    returns = 100 * np.log(prices["adj_close"]).diff()
    variance = (100 * tsf.garman_klass(prices)) ** 2
    panel = pd.DataFrame({"return": returns, "variance": variance}).iloc[1:]
    return panel.assign(standardised=panel["return"] / np.sqrt(panel["variance"]))


def gjr(known, shown, cutoffs):
    """Quantiles of the return, and its variance, by a GJR model with skewed Student-t shocks."""
    options = {"o": 1, "distribution": "skewt"}
    model = tsf.GARCH(target="return", levels=tsf.tail_levels(), **options).fit(known)
    of_variance = tsf.GARCH(target="squared", returns="return", levels=(), **options).fit(known)
    frame = model.forecast_origins(shown, cutoffs)
    variance = of_variance.forecast_origins(shown, cutoffs)
    return frame.assign(variance=variance["forecast"].to_numpy())


def filtered(volatility, known, shown, cutoffs):
    """The same by filtered historical simulation over a forecast of the variance."""
    model = tsf.FilteredHistorical(volatility, target="return").fit(known)
    variance = model.variance_origins(shown, cutoffs)
    frame = model.forecast_origins(shown, cutoffs)
    return frame.assign(variance=variance["forecast"].to_numpy())


def adaptive(volatility, known, shown, cutoffs):
    """The same with the quantiles for 1 % and 5 % adapted, each tail by itself.

    The step of alpha is a fifth of the share outside: the default's for intervals of 90 %.
    """
    frames = []
    for level in (0.98, 0.9):
        model = tsf.ConformalForecaster(
            tsf.FilteredHistorical(volatility, target="return"),
            level=level,
            sides="each",
            rate=0.1 * (1 - level),
        )
        frames.append(model.fit(known).forecast_origins(shown, cutoffs))
    more = frames[0][[name for name in frames[0] if name not in frames[1]]]
    return pd.concat([frames[1], more], axis=1).assign(variance=np.nan)


def returns(span, seeds, jobs):
    panel = index_prices().loc[: span[1]]
    panel["squared"] = panel["return"] ** 2
    starts = np.arange(int((panel.index < span[0]).sum()), len(panel), EVERY)
    linear = tsf.LogHAR(target="variance", past=["standardised"])
    recurrent = [
        network(
            tsf.LogHAR(past=["standardised"]),
            seed,
            target="variance",
            past=["standardised"],
            n_members=3,
        )
        for seed in range(seeds)
    ]
    models = {
        "GJR skew-t": gjr,
        "log-HAR": partial(filtered, tsf.LogHAR(target="variance")),
        "extended log-HAR": partial(filtered, linear),
        **{f"LSTM, seed {n}": partial(filtered, one) for n, one in enumerate(recurrent)},
        "extended log-HAR, adaptive": partial(adaptive, linear),
        **{f"LSTM, seed {n}, adaptive": partial(adaptive, one) for n, one in enumerate(recurrent)},
    }

    def run(name, forecast):
        torch.set_num_threads(1)
        since = time.perf_counter()
        said = []
        for start in starts:
            stop = min(start + EVERY, len(panel))
            cutoffs = panel.index[start - 1 : stop - 1]
            frame = forecast(panel.iloc[:start], panel.iloc[: stop - 1], cutoffs)
            said.append(frame.assign(time=panel.index[start:stop]))
        print(f"{name}: {time.perf_counter() - since:.0f} s", flush=True)
        frame = pd.concat(said, ignore_index=True).assign(model=name, series=0)
        return frame.assign(actual=panel["return"].reindex(frame["time"]).to_numpy())

    parts = joblib.Parallel(n_jobs=jobs)(joblib.delayed(run)(*item) for item in models.items())
    frame = pd.concat(parts, ignore_index=True)
    likelihood = np.log(frame["variance"]) + frame["actual"] ** 2 / frame["variance"]
    losses = likelihood.groupby([frame["cutoff"], frame["model"]], sort=False).mean().unstack()
    losses = losses[list(models)].dropna(axis=1, how="all")
    say("log h + r^2 / h", losses.mean().round(4))
    say("Diebold-Mariano", compared(losses, ("GJR skew-t", "log-HAR", "extended log-HAR")))
    said = frame.drop(columns="variance")
    for level in (0.01, 0.05):
        table = tsf.risk_table(said, (level,)).droplevel(["level", "series"])
        say(f"value at risk, {level:.0%}", table.drop(columns="verdict").round(4))
        ticks = tsf.tick_loss(said["actual"], said[f"q{level:g}"], level)
        ticks = pd.Series(ticks).groupby([said["cutoff"], said["model"]], sort=False).mean()
        losses = ticks.unstack()[list(models)]
        say(f"tick loss, {level:.0%}, Diebold-Mariano", compared(losses, ("GJR skew-t",)))


def compared(losses, others):
    """Differences from other models, and the one-sided p-values of being better."""
    rows = {}
    for name in losses:
        for other in others:
            if name not in others[: others.index(other) + 1]:
                test = tsf.diebold_mariano(losses[name], losses[other], horizon=1)
                difference = (losses[name] - losses[other]).mean()
                rows[name, other] = {"difference": difference, "p, one-sided": test.p_less}
    return pd.DataFrame(rows).T.round(5)


# ----------------------------------------------------------------------------------------- stocks

OWN = ["day", "month"]
FURTHER = ["standardised", "night", "volume"]


def stock_columns():
    """Log volatility over a day, a week and a month, and what else a day tells, of every stock."""
    prices = tsf.load_sp500_ohlcv()
    whole = prices[["open", "high", "low", "close"]].notna().all(axis=1)
    prices = prices[whole & (prices["low"] <= prices["high"])]
    variance = tsf.garman_klass(prices) ** 2
    by_series = {"level": 0, "sort": False}

    def mean(values, rows):
        return values.groupby(**by_series).rolling(rows, min_periods=rows).mean().droplevel(0)

    close = np.log(prices["close"])
    volume = np.log(prices["volume"].where(prices["volume"] > 0))
    panel = pd.DataFrame({"week": 0.5 * np.log(mean(variance, 5)), "day": 0.5 * np.log(variance)})
    panel["month"] = 0.5 * np.log(mean(variance, 22))
    usual = np.exp(panel["month"])
    before = close.groupby(**by_series).shift()
    panel["standardised"] = (close - before) / usual
    panel["night"] = (np.log(prices["open"]) - before).abs() / usual
    panel["volume"] = volume - mean(volume, 22)
    return panel


def stocks(span, seeds, jobs):
    panel = stock_columns()
    first, last = map(pd.Timestamp, span)
    panel = panel[panel.index.get_level_values(1) <= last]
    n_origins = int((panel.index.unique(1) >= first).sum()) - 4
    # the last `horizon` days have no whole forecast behind them
    splitter = tsf.RollingOrigin(n_splits=1, origins_per_split=n_origins)
    options = {"target": "week", "horizon": 5}
    har = {**options, "lags": (1,), "past": OWN, "levels": ()}
    models = {
        "HAR, one for each stock": tsf.HAR(**har, by="series"),
        "HAR, pooled": tsf.HAR(**har),
        "HAR, pooled, all inputs": tsf.HAR(**{**har, "past": OWN + FURTHER}),
    }
    for seed in range(seeds):
        models[f"LSTM over pooled, seed {seed}"] = tsf.RecurrentForecaster(
            **options,
            past=OWN + FURTHER,
            baseline=tsf.HAR(lags=(1,), past=OWN),
            head=tsf.Point("squared"),
            lookback=22,
            hidden_sizes=(32,),
            n_members=3,
            training=tsf.Training(max_epochs=1, validation=None),
            random_state=seed,
        )
    since = time.perf_counter()
    frame = tsf.backtest(models, panel, splitter).frame
    print(f"{time.perf_counter() - since:.0f} s", flush=True)
    frame = frame[frame["step"] == 5]  # the five days that none of which is known
    frame = frame[frame["actual"].notna()]
    say(
        "days",
        f"{frame['time'].min()} to {frame['time'].max()}, {frame['series'].nunique()} stocks",
    )
    baselines = ["HAR, one for each stock", "HAR, pooled", "HAR, pooled, all inputs"]
    losses = tsf.loss_table(frame, loss="squared")  # of the rows that all models forecast
    say("squared error of the log volatility of the next five days", losses.mean().round(5))
    ours = [name for name in models if name.startswith("LSTM")]
    for other in baselines:
        tests = [tsf.diebold_mariano(losses[n], losses[other], horizon=5).p_less for n in ours]
        ratio = losses[ours].mean() / losses[other].mean()
        table = pd.DataFrame({"ratio": ratio, "p": tests, "p_holm": holm(tests)})
        say(f"squared error against {other}", table.round(6))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=list(SPANS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--development", action="store_true", help="the rows settings were chosen on"
    )
    args = parser.parse_args()
    span = (DEVELOPMENT if args.development else SPANS)[args.task]
    {"rv": rv, "returns": returns, "stocks": stocks}[args.task](span, args.seeds, args.jobs)
