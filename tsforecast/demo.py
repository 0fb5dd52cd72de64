"""The main job, end to end: forecast the S&P 500 and say what the forecast is worth.

Run it with ``make demo`` or ``python -m tsforecast.demo``.  Two questions over the next five
sessions, asked at every close of the last eight years with yearly refits: how volatile will the
market be (log of the Garman-Klass volatility), and where will the price be (log price)?

Settings were chosen on the years to 2010; the eight years shown were not used for that.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import tsforecast as tsf
from tsforecast.backtesting.rolling import Backtest
from tsforecast.nn.cells import CELLS

__all__ = ["Question", "ask", "main", "questions"]

HORIZON = 5
SESSIONS_PER_YEAR = 252


@dataclass(frozen=True)
class Question:
    """A panel, the models that forecast its target, and how to speak of it."""

    name: str
    target: str
    panel: pd.DataFrame
    models: dict[str, Any]


def questions(prices: pd.DataFrame, *, members: int = 3, max_epochs: int = 40) -> list[Question]:
    """Set up the two questions.

    Parameters
    ----------
    prices : DataFrame
        Daily open, high, low, close of one index.
    members : int
        Networks averaged for volatility.
    max_epochs : int
        Longest training.
    """
    panel = pd.DataFrame(
        {
            "log_volatility": np.log(tsf.garman_klass(prices)),
            "log_price": np.log(prices["close"]),
            "log_return": np.log(prices["close"]).diff(),
        }
    ).dropna()
    result = []
    for name, target, baseline, n_members in (
        ("volatility", "log_volatility", tsf.HAR(), members),
        ("price", "log_price", "last", 1),
    ):
        same: dict[str, Any] = {"target": target, "horizon": HORIZON}
        models: dict[str, Any] = {
            cell: tsf.RecurrentForecaster(
                **same,
                lookback=22,
                past=["log_return"],
                baseline=baseline,
                cell=cell,
                hidden_sizes=(32, 16),
                n_members=n_members,
                training=tsf.Training(max_epochs=max_epochs, learning_rate=1e-2, patience=8),
                random_state=0,
            )
            for cell in CELLS
        }
        models |= {
            "naive": tsf.Naive(**same),
            "seasonal naive": tsf.SeasonalNaive(**same, season=HORIZON),
            "drift": tsf.Drift(**same),
            "ewma": tsf.EWMA(**same),
            "random walk": tsf.RandomWalk(**same),
            "har": tsf.HAR(**same),
        }
        result.append(Question(name, target, panel, models))
    return result


def ask(question: Question, *, years: int = 8, verbose: int = 1) -> Backtest:
    """Backtest all models over the last `years` years, refitted every year."""
    splitter = tsf.RollingOrigin(n_splits=years, origins_per_split=SESSIONS_PER_YEAR)
    with warnings.catch_warnings():
        # a best epoch that is the last one is of interest to who tunes a model, not here
        warnings.simplefilter("ignore")
        return tsf.backtest(question.models, question.panel, splitter, verbose=verbose)


def best_network(result: Backtest) -> tuple[str, dict[str, Any], bool]:
    """Give the network with the least loss, its row of `skill`, and whether it has skill."""
    rows = result.skill().to_dict(orient="index")
    best = min(rows, key=lambda name: rows[name]["ratio"])
    row = {str(key): value for key, value in rows[best].items()}
    return str(best), row, bool(row["p_holm"] < 0.05 and row["ratio"] < 1)


def conclusion(results: dict[str, Backtest]) -> str:
    """Say in one sentence what the tests allow to say."""
    parts = []
    for name, result in results.items():
        best, row, skilled = best_network(result)
        if skilled:
            parts.append(
                f"{name} can be forecast better than by {row['baseline']} "
                f"({best}: {100 * (1 - row['ratio']):.1f} % less loss, p = {row['p_holm']:.2g})"
            )
        else:
            parts.append(f"for {name} no network beats {row['baseline']}")
    return "Conclusion: " + "; ".join(parts) + "."


def forecast_next(question: Question, model: str) -> pd.DataFrame:
    """Forecast the sessions after the last date, in plain units."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = question.models[model].fit(question.panel).predict()
    columns = ["q0.1", "forecast", "q0.9"]
    plain: pd.DataFrame = np.exp(frame[columns])
    if question.name == "volatility":
        plain = 100 * plain  # percent a day
    labels = ["10 % quantile", "forecast", "90 % quantile"]
    plain.columns = pd.Index(labels)
    return plain.rename_axis(index="session")


def draw(
    asked: list[Question], results: dict[str, Backtest], forecasts: dict[str, pd.DataFrame]
) -> Any:
    """Draw who gained on the best baseline, and the forecast ahead."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(len(asked), 2, width_ratios=(3, 2), squeeze=False)
    for (left, right), question in zip(axes, asked):
        result = results[question.name]
        _, row, _ = best_network(result)
        rival = str(row["baseline"])
        shown = result.frame[result.frame["model"].isin([*CELLS, rival])]
        tsf.plot_backtest(shown, against=rival, ax=left)
        left.set_title(f"{question.name}: networks against the best baseline, {rival}")
        ahead = forecasts[question.name].set_axis(["q0.1", "forecast", "q0.9"], axis=1)
        past = np.exp(question.panel[question.target].iloc[-60:])
        past = 100 * past if question.name == "volatility" else past
        tsf.plot_forecast(ahead, past, ax=right)
        unit = "% a day" if question.name == "volatility" else "index points"
        right.set_ylabel(unit)
        right.tick_params(axis="x", rotation=30)
        right.set_title(f"{question.name}: the next {HORIZON} sessions")
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Run the demo and print what it finds."""
    parser = argparse.ArgumentParser(prog="python -m tsforecast.demo", description=__doc__)
    parser.add_argument("--years", type=int, default=8, help="years of test, a refit each")
    parser.add_argument("--members", type=int, default=3, help="networks averaged")
    parser.add_argument("--max-epochs", type=int, default=40, help="longest training")
    parser.add_argument("--figure", default="demo.png", help="file of the figure")
    chosen = parser.parse_args(arguments)

    prices = tsf.load_sp500()
    print(f"S&P 500, {prices.index[0]:%Y-%m-%d} to {prices.index[-1]:%Y-%m-%d}, daily bars.")
    asked = questions(prices, members=chosen.members, max_epochs=chosen.max_epochs)
    results: dict[str, Backtest] = {}
    forecasts: dict[str, pd.DataFrame] = {}
    columns = ["mae", "rmse", "mase", "wql", "crps", "coverage", "width"]
    for question in asked:
        print(f"\n== {question.name}: {question.target}, the next {HORIZON} sessions")
        result = results[question.name] = ask(question, years=chosen.years)
        cutoffs = result.frame["cutoff"]
        print(f"{cutoffs.nunique()} origins, {cutoffs.min():%Y-%m-%d} to {cutoffs.max():%Y-%m-%d}")
        print(result.metrics()[columns].sort_values("crps").round(4).to_string())
        print(*result.verdicts(), sep="\n")
    print(f"\n{conclusion(results)}")
    print(
        "The networks also see the daily return, the baselines do not; how far a linear model\n"
        "comes with the same columns is in tests/benchmarks/RESULTS.md."
    )
    for question in asked:
        best, row, skilled = best_network(results[question.name])
        model = best if skilled else str(row["baseline"])
        forecasts[question.name] = forecast_next(question, model)
        unit = "percent a day" if question.name == "volatility" else "index points"
        print(f"\nForecast of {question.name} after the last date, by {model} ({unit}; weekdays,")
        print("holidays are not known):")
        print(forecasts[question.name].round(3).to_string())
    draw(asked, results, forecasts).savefig(chosen.figure, dpi=110)
    print(f"\nFigure: {chosen.figure}")


if __name__ == "__main__":
    main()
