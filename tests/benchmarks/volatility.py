"""Volatility out of sample: recurrent corrections of HAR models beside what they correct.

Usage: volatility.py {rv,returns,risk,stocks} [--seeds 3] [--jobs 1] [--development]

rv: variance of the S&P 500 one session ahead (realised, `load_sp500_rv`), 2001-05-10..2013-08-30,
QLIKE. returns: daily returns of the S&P 500 (`load_sp500`), 2006-12-15..2018-12-31: log h + r^2 / h
in percent, and value at risk. Both are refitted every 250 sessions on all rows before. stocks:
5-day log volatility of 505 stocks (`load_sp500_ohlcv`), the last two years, one fit. risk: on what
the way to a value at risk was chosen, for the test years of returns: indices and exchange rates
before 2006-12-15 and simulated returns whose shocks or ranges change.

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
    "risk": ("2001-01-02", "2006-12-14"),
    "stocks": ("2016-02-08", "2018-02-07"),
}
DEVELOPMENT = {
    "rv": ("1999-04-01", "2001-05-09"),
    "returns": ("2003-01-02", "2006-12-14"),
    "risk": ("2001-01-02", "2006-12-14"),
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


def index_prices(load=tsf.load_sp500):
    """Returns in percent, their variance by range, and standardised returns, of an index.

    Until 2005 the open of the S&P 500 repeats the close before, later it does not (`check_prices`
    says so): it is put in its place everywhere, so that the range covers the night on all days.
    """
    prices = load()
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


class Once(tsf.FilteredHistorical):
    """Fitted once on the same rows: levels and ways to them share what takes the time."""

    fits = {}  # noqa: RUF012

    def fit(self, panel, y=None):
        key = joblib.hash((self.get_params(), panel))
        if key not in self.fits:
            self.fits[key] = vars(super().fit(panel)).copy()
        vars(self).update(self.fits[key])
        return self


def combined(volatility):
    """The mean of the quantiles of GJR and of filtered historical simulation."""
    levels = tsf.tail_levels()
    garch = tsf.GARCH(target="return", o=1, distribution="skewt", levels=levels)
    return tsf.Combination({"gjr": garch, "filtered": Once(volatility, target="return")})


def calibrated(estimator, options, known, shown, cutoffs):
    """The quantiles for 1 % and 5 % of a forecaster, moved as hits come in, each tail by itself.

    `options` of the `ConformalForecaster`: those of each level.
    """
    frames = []
    for level, more in options.items():
        model = tsf.ConformalForecaster(estimator, level=level, sides="each", **more)
        frames.append(model.fit(known).forecast_origins(shown, cutoffs))
    others = frames[0][[name for name in frames[0] if name not in frames[1]]]
    return pd.concat([frames[1], others], axis=1).assign(variance=np.nan)


# a fifth of the share outside as step of alpha: the default's for intervals of 90 %
ADAPTIVE = {level: {"rate": 0.1 * (1 - level)} for level in (0.98, 0.9)}
TRACKED = {p: {"method": "tracking", "rate": 0.01, "refit": True} for p in (0.98, 0.9)}


def refitted(forecast, panel, first, every=EVERY):
    """Forecasts of all returns from row `first` on, by fits on all rows before, every so often."""
    torch.set_num_threads(1)
    said = []
    for start in range(first, len(panel), every):
        stop = min(start + every, len(panel))
        cutoffs = panel.index[start - 1 : stop - 1]
        frame = forecast(panel.iloc[:start], panel.iloc[: stop - 1], cutoffs)
        said.append(frame.assign(time=panel.index[start:stop]))
    frame = pd.concat(said, ignore_index=True)
    return frame.assign(actual=panel["return"].reindex(frame["time"]).to_numpy())


def returns(span, seeds, jobs):
    panel = index_prices().loc[: span[1]]
    panel["squared"] = panel["return"] ** 2
    first = int((panel.index < span[0]).sum())
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
        "extended log-HAR, adaptive": partial(calibrated, Once(linear, target="return"), ADAPTIVE),
        **{
            f"LSTM, seed {n}, adaptive": partial(calibrated, Once(one, target="return"), ADAPTIVE)
            for n, one in enumerate(recurrent)
        },
        "GJR + extended log-HAR, tracked": partial(calibrated, combined(linear), TRACKED),
        **{
            f"GJR + LSTM, seed {n}, tracked": partial(calibrated, combined(one), TRACKED)
            for n, one in enumerate(recurrent)
        },
    }

    def run(name, forecast):
        since = time.perf_counter()
        Once.fits.clear()
        frame = refitted(forecast, panel, first)
        print(f"{name}: {time.perf_counter() - since:.0f} s", flush=True)
        return frame.assign(model=name, series=0)

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


# ------------------------------------------------------------------------------------------- risk


def simulated(kind, seed, n=3500, first=2000):
    """GJR returns with t shocks, beside Garman-Klass variances of their paths within the day.

    kind: "steady"; "tails", shocks with 15 degrees of freedom that have 4 from `first` on;
    "ranges", ranges that come to miss 15 % of the variance.
    """
    rng = np.random.default_rng([seed, ord(kind[0])])
    after = np.arange(n) >= first
    freedom = np.where(after, 4.0, 15.0) if kind == "tails" else np.full(n, 6.0)
    share = np.interp(np.arange(n), [first, n], [1.0, 0.85 if kind == "ranges" else 1.0])
    omega, alpha, gamma, beta = 0.02, 0.01, 0.14, 0.90
    variance, last = omega / (1 - alpha - gamma / 2 - beta), 0.0
    rows = np.empty((n, 2))
    for t in range(n):
        if t:
            variance = omega + (alpha + gamma * (last < 0)) * last**2 + beta * variance
        mixed = variance * (freedom[t] - 2) / rng.chisquare(freedom[t])  # normal within the day
        path = np.r_[0.0, (rng.standard_normal(78) * np.sqrt(mixed / 78)).cumsum()]
        last = path[-1]
        squared = 0.5 * np.ptp(path) ** 2 - (2 * np.log(2) - 1) * last**2
        rows[t] = last, share[t] * max(squared, 1e-4)
    days = pd.bdate_range("1990-01-01", periods=n)
    panel = pd.DataFrame(rows, index=days, columns=["return", "variance"])
    return panel.assign(standardised=panel["return"] / np.sqrt(panel["variance"]))


def risk_cases(span):
    """Series that tell nothing of the test years: group, panel, first row, refits, volatility.

    Exchange rates have no ranges: their variance is an EWMA of squared returns. Neither weekends
    nor China, which had a peg, are among them.
    """

    def recurrent(n_members):
        options = {"target": "variance", "past": ["standardised"], "n_members": n_members}
        return network(tsf.LogHAR(past=["standardised"]), 0, **options)

    for name, load in (("S&P 500", tsf.load_sp500), ("NASDAQ", tsf.load_nasdaq)):
        panel = index_prices(load).loc[: span[1]]
        yield name, panel, int((panel.index < span[0]).sum()), EVERY, recurrent(3)
    rates = tsf.load_exchange_rate()["rate"].unstack(0).drop(columns="china")
    until = (pd.Timestamp(span[1]) - pd.Timestamp("1990-01-01")).days  # the file's first day
    rates = rates[(rates.index <= until) & (rates.index % 7 < 5)]
    for name in rates:
        change = 100 * np.log(rates[name]).diff().iloc[1:].to_numpy()
        days = pd.bdate_range("1990-01-02", periods=len(change))
        panel = pd.DataFrame({"return": change, "variance": change**2}, index=days)
        ewma = tsf.EWMA(target="variance", alpha=0.06)
        yield "exchange rates", panel, len(panel) - 1500, EVERY, ewma
    for kind in ("steady", "tails", "ranges"):
        for seed in range(2):
            yield f"simulated: {kind}", simulated(kind, seed), 2000, 2 * EVERY, recurrent(1)


def risk(span, seeds, jobs):
    """Compare ways to a value at risk: hits, and tick losses beside those of GJR."""

    def run(group, panel, first, every, volatility):
        torch.set_num_threads(1)
        Once.fits.clear()
        alone, both = Once(volatility, target="return"), combined(volatility)
        models = {
            "GJR skew-t": partial(plain, both.estimators["gjr"]),
            "FHS": partial(plain, alone),
            "FHS, adaptive": partial(calibrated, alone, ADAPTIVE),
            "FHS, tracked": partial(calibrated, alone, TRACKED),
            "combined": partial(plain, both),
            "combined, adaptive": partial(calibrated, both, ADAPTIVE),
            "combined, tracked": partial(calibrated, both, TRACKED),
        }
        rows = {}
        for name, forecast in models.items():
            frame = refitted(forecast, panel, first, every)
            for level in (0.01, 0.05):
                quantile = frame[f"q{level:g}"]
                rows[group, name, level] = {
                    "hits": (frame["actual"] < quantile).mean() / level,
                    "tick": tsf.tick_loss(frame["actual"], quantile, level).mean(),
                }
        print(f"{group}: {len(frame)} days", flush=True)
        table = pd.DataFrame(rows).T
        table["tick"] /= table["tick"].groupby(level=2).transform("first")  # GJR
        return table

    def plain(estimator, known, shown, cutoffs):
        return estimator.fit(known).forecast_origins(shown, cutoffs)

    cases = risk_cases(span)
    tables = joblib.Parallel(n_jobs=jobs)(joblib.delayed(run)(*case) for case in cases)
    table = pd.concat(tables).groupby(level=[0, 1, 2], sort=False).mean().unstack(0)
    for what, title in (
        ("hits", "hits, in units of the level"),
        ("tick", "tick loss / that of GJR"),
    ):
        say(title, table[what].round(3))
    mean = np.log(table["tick"]).groupby(level=0, sort=False).mean().mean(axis=1)
    say("mean logarithm of the latter", mean.round(4))


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
    {"rv": rv, "returns": returns, "risk": risk, "stocks": stocks}[args.task](
        span, args.seeds, args.jobs
    )
