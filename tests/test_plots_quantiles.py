"""Calibration, PIT and coverage: the tables, and that they are what is drawn."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from tsforecast._checks import DataError
from tsforecast.backtesting.monitors import coverage_monitor
from tsforecast.insight.quantile_plots import (
    pit_values,
    plot_calibration,
    plot_coverage,
    plot_pit,
    quantile_calibration,
)

LEVELS = np.arange(1, 10) / 10


def frame_of(n, *, spread=1.0, model="m", n_series=1, seed=0):
    """One step ahead, normal forecasts of normal outcomes; `spread` of 1 is right."""
    rng = np.random.default_rng(seed)
    rows = n * n_series
    frame = pd.DataFrame(
        {"model": model, "series": np.tile(range(n_series), n), "target": "y", "step": 1,
         "cutoff": np.repeat(range(n), n_series), "time": np.repeat(range(1, n + 1), n_series),
         "forecast": 0.0, "actual": rng.normal(size=rows)}
    )  # fmt: skip
    for level in LEVELS:
        frame[f"q{level:g}"] = spread * norm.ppf(level)
    return frame


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


def test_calibration_is_the_share_at_or_below_each_quantile():
    frame = frame_of(200, n_series=3)
    table = quantile_calibration(frame)
    for row in table.itertuples():
        quantile = frame[f"q{row.level:g}"]
        assert row.observed == (frame["actual"] <= quantile).mean()
        # three series of one cutoff count as one
        np.testing.assert_allclose(
            [row.low, row.high], binom.ppf([0.025, 0.975], 200, row.level) / 200
        )
    assert (table["n"] == 600).all()


def test_calibration_band_counts_cutoffs_that_do_not_overlap():
    steps = [frame_of(100).assign(step=h, time=np.arange(100) + h) for h in range(1, 6)]
    pooled = quantile_calibration(pd.concat(steps))
    first = quantile_calibration(pd.concat(steps), step=1)
    width = pooled["high"] - pooled["low"]
    assert (width > first["high"] - first["low"]).all()
    np.testing.assert_allclose(pooled["low"], binom.ppf(0.025, 20, LEVELS) / 20)


def test_quantiles_that_are_right_stay_in_the_band_and_wrong_ones_do_not():
    for spread, inside in ((1.0, 1.0), (0.5, 0.3)):
        table = quantile_calibration(frame_of(2000, spread=spread))
        within = table["observed"].between(table["low"], table["high"]).mean()
        assert (within >= 0.7) == (inside == 1.0)


def test_calibration_curve_is_the_table(ax):
    frame = pd.concat([frame_of(50), frame_of(50, spread=2.0, model="wide")])
    table = quantile_calibration(frame)
    _, *lines = plot_calibration(table, ax=ax).get_lines()
    for line in lines:
        part = table[table["model"] == line.get_label()]
        np.testing.assert_array_equal(line.get_xdata(), part["level"])
        np.testing.assert_array_equal(line.get_ydata(), part["observed"])
    assert [line.get_label() for line in lines] == ["m", "wide"]


def test_pit_of_a_normal_forecast_is_near_its_distribution_function():
    frame = frame_of(500)
    table = pit_values(frame)
    known = table["pit_low"] == table["pit_high"]
    truth = norm.cdf(frame["actual"])
    np.testing.assert_allclose(table["pit"][known], truth[known], atol=0.01)
    tails = table[~known]
    assert set(zip(tails["pit_low"], tails["pit_high"])) == {(0.0, 0.1), (0.9, 1.0)}
    np.testing.assert_array_equal(~known, (truth < 0.1) | (truth > 0.9))
    assert table.attrs["levels"] == LEVELS.tolist()


def test_pit_of_counts_lies_between_the_levels_they_equal():
    frame = pd.DataFrame(
        {"model": "m", "series": 0, "time": range(1, 6), "cutoff": range(5), "step": 1,
         "target": "y", "forecast": 1.0, "q0.2": 0.0, "q0.4": 0.0, "q0.6": 1.0, "q0.8": 3.0,
         "actual": [0.0, 1.0, 2.0, 3.0, 9.0]}
    )  # fmt: skip
    table = pit_values(frame)
    np.testing.assert_allclose(table["pit_low"], [0.0, 0.6, 0.7, 0.8, 0.8])
    np.testing.assert_allclose(table["pit_high"], [0.4, 0.6, 0.7, 0.8, 1.0])
    flat = pit_values(frame.assign(**{"q0.4": 3.0, "q0.6": 3.0}).iloc[3:4])
    assert flat[["pit_low", "pit_high"]].to_numpy().tolist() == [[0.4, 1.0]]  # a mass at the end


def test_pit_beside_an_infinite_quantile_is_known_to_lie_beyond_the_other():
    frame = frame_of(3).assign(**{"q0.1": -np.inf, "q0.9": np.inf, "actual": [-9.0, 0.0, 9.0]})
    table = pit_values(frame)
    np.testing.assert_allclose(table["pit_low"], [0.1, 0.5, 0.8])
    np.testing.assert_allclose(table["pit_high"], [0.2, 0.5, 0.9])


def test_pit_bars_count_the_outcomes_between_quantiles():
    frame = frame_of(300)
    (axes,) = plot_pit(pit_values(frame), ax=matplotlib.figure.Figure())
    quantiles = [-np.inf, *norm.ppf(LEVELS), np.inf]
    counted, _ = np.histogram(frame["actual"], quantiles)
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches[:10]], counted / 30)
    assert sum(bar.get_height() * bar.get_width() for bar in axes.patches[:10]) == pytest.approx(1)


def test_pit_bars_of_other_levels_are_as_wide_as_these_are_apart(ax):
    frame = frame_of(300)[["model", "series", "target", "step", "cutoff", "time", "forecast",
                           "actual", "q0.1", "q0.5", "q0.9"]]  # fmt: skip
    plot_pit(pit_values(frame), ax=ax)
    widths = [bar.get_width() for bar in ax.patches[:4]]
    np.testing.assert_allclose(widths, [0.1, 0.4, 0.4, 0.1])
    below = (frame["actual"] < frame["q0.1"]).mean()
    assert ax.patches[0].get_height() == pytest.approx(below / 0.1)


def test_intervals_of_pit_spread_over_bins(ax):
    table = pit_values(frame_of(4).assign(actual=[-9.0, -9.0, 9.0, 9.0]))
    plot_pit(table, bins=20, ax=ax)
    heights = [bar.get_height() for bar in ax.patches[:20]]
    np.testing.assert_allclose(heights, [5.0, 5.0, *[0.0] * 16, 5.0, 5.0])


def test_every_model_has_a_panel_of_its_own():
    frame = pd.concat([frame_of(20, model=name) for name in "abcde"])
    figure = matplotlib.figure.Figure()
    axes = plot_pit(pit_values(frame), ax=figure)
    assert [one.get_title() for one in axes] == list("abcde") and len(figure.axes) == 5
    with pytest.raises(ValueError, match=r"'ax'.*5 Axes"):
        plot_pit(pit_values(frame), ax=figure.axes[0])
    given = matplotlib.figure.Figure().subplots(1, 5)
    assert plot_pit(pit_values(frame), ax=given).tolist() == given.tolist()


def test_coverage_and_width_are_those_of_the_monitor():
    frame = pd.concat([frame_of(60), frame_of(60, spread=2.0, model="wide")])
    table = coverage_monitor(frame, window=20)
    above, below = plot_coverage(table, ax=matplotlib.figure.Figure())
    for model in ("m", "wide"):
        part = table[(table["model"] == model) & table["coverage"].notna()]
        (line,) = [one for one in above.get_lines() if one.get_label() == model]
        np.testing.assert_array_equal(line.get_xdata(), part["time"])
        np.testing.assert_array_equal(line.get_ydata(), part["coverage"])
    widths = [line.get_ydata()[0] for line in below.get_lines()]
    np.testing.assert_allclose(widths, [2 * norm.ppf(0.9), 4 * norm.ppf(0.9)])


def test_coverage_of_one_step_and_series_is_drawn():
    one = frame_of(30, n_series=2)
    frame = pd.concat([one.assign(step=h, time=one["cutoff"] + h) for h in (1, 3)])
    table = coverage_monitor(frame, window=10)
    above, _ = plot_coverage(table, ax=matplotlib.figure.Figure())
    assert above.get_lines()[1].get_xdata()[0] == 10  # of the first step
    above, _ = plot_coverage(table, step=3, ax=matplotlib.figure.Figure())
    assert above.get_lines()[1].get_xdata()[0] == 12
    by_series = coverage_monitor(frame, window=10, by="series")
    with pytest.raises(ValueError, match=r"'series'.*one of the series \[0, 1\], found None"):
        plot_coverage(by_series)
    assert len(plot_coverage(by_series, series=1, ax=matplotlib.figure.Figure())) == 2


def test_too_few_times_for_a_window_are_said():
    table = coverage_monitor(frame_of(3), window=250)
    with pytest.raises(DataError, match=r"no window is full.*found 3 times.*smaller window="):
        plot_coverage(table, ax=matplotlib.figure.Figure())


@pytest.mark.parametrize(
    "draw, maker",
    [
        (plot_calibration, r"quantile_calibration\(result\)"),
        (plot_pit, r"pit_values\(result\)"),
        (plot_coverage, r"coverage_monitor\(result.frame\)"),
    ],
)
def test_another_table_is_refused_with_the_one_that_is_meant(draw, maker, ax):
    with pytest.raises(DataError, match=rf"cannot be drawn.*found model, series.*{maker}"):
        draw(frame_of(3), ax=ax)
    with pytest.raises(DataError, match=r"cannot be drawn.*found list"):
        draw([1, 2], ax=ax)
    assert not ax.get_lines() and not ax.patches


def test_forecasts_without_quantiles_are_refused():
    points = frame_of(3).drop(columns=[f"q{level:g}" for level in LEVELS])
    for table in (pit_values, quantile_calibration):
        with pytest.raises(DataError, match=r"no outcome has a quantile.*ConformalForecaster"):
            table(points)
    with pytest.raises(ValueError, match=r"'step'.*\[1\], found 2"):
        pit_values(frame_of(3), step=2)


def test_a_model_without_quantiles_is_left_out():
    points = frame_of(5, model="points").assign(**{f"q{level:g}": np.nan for level in LEVELS})
    both = pd.concat([frame_of(5), points])
    assert set(pit_values(both)["model"]) == set(quantile_calibration(both)["model"]) == {"m"}


def test_what_is_no_backtest_is_refused_in_words():
    for make in (quantile_calibration, pit_values):
        for wrong in (None, pd.DataFrame({"q0.1": [1.0]})):
            with pytest.raises(
                DataError, match=r"expected one with model.*backtest\(models, panel"
            ):
                make(wrong)


def test_the_legend_of_calibration_is_not_cut_off():
    frame = frame_of(60, model="a model with a name of its own")
    figure = matplotlib.figure.Figure((6.2, 4.6), layout="constrained")
    axes = plot_calibration(quantile_calibration(frame), ax=figure)
    figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().x1 <= figure.bbox.x1
