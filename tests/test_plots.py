"""What the pictures show, and what they refuse."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from tsforecast._checks import DataError
from tsforecast.backtesting.rolling import backtest
from tsforecast.data.datasets import make_prices
from tsforecast.data.splits import RollingOrigin
from tsforecast.estimators.baselines import EWMA, Drift, Naive
from tsforecast.insight.plots import cumulative_gain, plot_backtest, plot_forecast

PRICES = make_prices(2, 80, random_state=0)
SAME = {"target": PRICES.columns[0], "horizon": 2}
ONE, OTHER = PRICES.index.unique(0)


@pytest.fixture
def ax():
    figure = matplotlib.figure.Figure()
    return figure.subplots()


@pytest.fixture(scope="module")
def result():
    """Points only."""
    return backtest(
        [Drift(**SAME, levels=()), EWMA(**SAME, levels=())], PRICES, RollingOrigin(4, 5)
    )


def test_elapsed_time_is_drawn_in_hours():
    hours = pd.timedelta_range("1h", periods=5, freq="30min")
    forecast = pd.DataFrame({"forecast": range(5)}, index=hours)
    axes = plot_forecast(forecast, pd.Series([1.0], index=pd.to_timedelta(["30min"])))
    assert axes.get_xlabel() == "hours"
    assert axes.lines[0].get_xdata().tolist() == [0.5]
    assert axes.lines[1].get_xdata().tolist() == [1.0, 1.5, 2.0, 2.5, 3.0]


def test_gain_is_the_running_sum_of_the_loss_saved(result):
    frame = result.frame.assign(loss=(result.frame["forecast"] - result.frame["actual"]).abs())
    mean = frame.groupby(["model", "cutoff"])["loss"].mean()
    gain = cumulative_gain(result)
    assert list(gain.columns) == ["Drift", "EWMA"] and gain.attrs["loss"] == "absolute"
    for model in gain.columns:
        np.testing.assert_allclose(gain[model], (mean["naive"] - mean[model]).cumsum())


def test_a_backtest_and_its_frame_are_drawn_alike(result, ax):
    whole, flat = (plot_backtest(given, ax=ax) for given in (result, result.frame))
    assert whole is flat is ax
    lines = [line.get_ydata() for line in ax.get_lines()]
    np.testing.assert_array_equal(lines[:2], lines[3:5])


def test_the_label_says_which_loss_is_added_up(result, ax):
    assert plot_backtest(result, ax=ax).get_ylabel().startswith("absolute loss saved against naive")
    with_quantiles = backtest({"naive": Naive(**SAME), "drift": Drift(**SAME)}, PRICES)
    assert plot_backtest(with_quantiles, ax=ax).get_ylabel().startswith("quantile loss saved")


def test_a_forecast_is_drawn_behind_its_history(ax):
    history = PRICES.loc[ONE, SAME["target"]]
    forecast = Naive(**SAME).fit(PRICES).predict().loc[ONE]
    past, ahead = plot_forecast(forecast, history, ax=ax).get_lines()
    np.testing.assert_array_equal(past.get_ydata(), history)
    np.testing.assert_array_equal(ahead.get_ydata(), forecast["forecast"])


def test_what_is_not_one_line_is_refused_before_anything_is_drawn(ax):
    forecast = Naive(**SAME).fit(PRICES).predict()
    one = forecast.loc[ONE]
    with pytest.raises(DataError, match=r"forecast repeats times.*forecast.loc\[series\]"):
        plot_forecast(forecast, ax=ax)
    with pytest.raises(DataError, match=r"history repeats times.*history.loc\[series\]"):
        plot_forecast(one, PRICES[SAME["target"]], ax=ax)
    table = pd.DataFrame({"close": [1.0], "volume": [2.0]})
    with pytest.raises(DataError, match=r"several columns.*found columns \['close', 'volume'\]"):
        plot_forecast(one, table, ax=ax)
    assert not ax.get_lines()


def test_of_several_targets_one_is_drawn_at_a_time(result, ax):
    frame = result.frame
    both = pd.concat([frame, frame.assign(target="volume", actual=0.0)], ignore_index=True)
    with pytest.raises(ValueError, match=r"'target'.*\['open', 'volume'\], found None.*target='op"):
        plot_backtest(both, ax=ax)
    with pytest.raises(ValueError, match=r"'target'.*found 'high'"):
        cumulative_gain(both, target="high")
    assert not ax.get_lines()
    pd.testing.assert_frame_equal(cumulative_gain(both, target="open"), cumulative_gain(result))
    assert result.plot(ax, target="open") is ax
    assert not cumulative_gain(both, target="volume").equals(cumulative_gain(result))
    ahead = Naive(**SAME).fit(PRICES).predict().loc[ONE]
    two = pd.concat([ahead, ahead.assign(target="volume")])
    with pytest.raises(DataError, match=r"repeats times.*a target with forecast\["):
        plot_forecast(two, ax=ax)


def test_in_sample_rows_are_not_drawn(result):
    frame = result.frame.assign(in_sample=False)
    inside = frame.assign(in_sample=True, forecast=0.0)
    both = pd.concat([frame, inside], ignore_index=True)
    pd.testing.assert_frame_equal(cumulative_gain(both), cumulative_gain(result))
