"""What the demo concludes from a backtest, and which model it forecasts with."""

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast import demo
from tsforecast.backtesting.rolling import Backtest


def made_up(error_of_network, error_of_har, n=200, seed=0):
    """A backtest of one-step forecasts whose absolute errors are given on average."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2020-01-01", periods=n + 1)
    actual = rng.normal(size=n)
    parts = [
        pd.DataFrame(
            {
                "model": model,
                "series": 0,
                "time": days[1:],
                "cutoff": days[:-1],
                "step": 1,
                "target": "log_volatility",
                "forecast": actual + size * rng.choice([-1, 1], n) * rng.uniform(0.5, 1.5, n),
                "actual": actual,
            }
        )
        for model, size in (("lstm", error_of_network), ("har", error_of_har), ("naive", 2.0))
    ]
    scales = pd.DataFrame({"series": 0, "cutoff": days[:-1], "mae": 1.0, "mse": 1.0})
    return Backtest(pd.concat(parts, ignore_index=True), 1, scales, ("har", "naive"))


def test_skill_is_concluded_where_the_network_is_better():
    text = demo.conclusion({"volatility": made_up(0.5, 1.0)})
    assert text.startswith("Conclusion: volatility can be forecast better than by har (lstm: ")
    assert demo.best_network(made_up(0.5, 1.0))[2]


@pytest.mark.parametrize("size", [1.0, 1.5])
def test_no_skill_is_concluded_where_it_is_not(size):
    text = demo.conclusion({"price": made_up(size, 1.0)})
    assert text == "Conclusion: for price no network beats har."
    assert not demo.best_network(made_up(size, 1.0))[2]


def test_the_demo_runs_and_prints_what_it_promises(tmp_path, capsys, monkeypatch):
    pytest.importorskip("arch")
    pytest.importorskip("matplotlib")
    prices = tsf.load_sp500().iloc[-1200:]
    monkeypatch.setattr(tsf, "load_sp500", lambda: prices)
    figure = tmp_path / "figure.png"
    demo.main(["--years", "1", "--members", "1", "--max-epochs", "2", "--figure", str(figure)])
    printed = capsys.readouterr().out
    for part in (
        "== volatility",
        "== price",
        "seasonal naive",
        "lstm: ",
        "gru: ",
        "rnn: ",
        "Conclusion: ",
        "Forecast of price after the last date",
        "2019-01-07",
    ):
        assert part in printed
    assert figure.stat().st_size > 10_000


def test_forecasts_ahead_are_in_plain_units():
    prices = tsf.make_prices(1, 400, random_state=0).droplevel(0)
    volatility, price = demo.questions(prices)
    ahead = demo.forecast_next(price, "naive")
    assert ahead["forecast"].to_numpy() == pytest.approx(prices["close"].iloc[-1])
    ahead = demo.forecast_next(volatility, "naive")
    last = tsf.garman_klass(prices).iloc[-1]
    assert ahead["forecast"].to_numpy() == pytest.approx(100 * last)
