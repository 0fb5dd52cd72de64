"""What the pictures show, and what they refuse."""

from __future__ import annotations

import warnings

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from tsforecast._checks import DataError
from tsforecast.backtesting.rolling import backtest
from tsforecast.backtesting.skill import diebold_mariano, holm, loss_table, skill
from tsforecast.data.datasets import make_prices
from tsforecast.data.splits import RollingOrigin
from tsforecast.estimators.baselines import EWMA, Drift, Naive
from tsforecast.insight._drawing import (
    axes_of,
    model_styles,
    named,
    panels,
    styles,
    time_axis,
    told_apart,
)
from tsforecast.insight.plots import (
    cumulative_gain,
    plot_backtest,
    plot_error_by_step,
    plot_forecast,
    plot_skill_matrix,
    skill_matrix,
)
from tsforecast.metrics import evaluate

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


def flat(target="y", **forecasts):
    """A backtest frame of one step, of models and the constants that they forecast."""
    actual = (np.random.default_rng(0).random(60) < 0.3).astype(float)
    rows = {"series": 0, "time": range(1, 61), "cutoff": range(60), "step": 1, "target": target}
    return pd.concat(
        [pd.DataFrame({"model": m, **rows, "forecast": f, "actual": actual})
         for m, f in forecasts.items()], ignore_index=True
    )  # fmt: skip


CHANCES = flat(naive=0.3, other=0.05)


def with_other_levels():
    frame = flat(naive=2.0, other=3.0)
    frame[["q0.1", "q0.2", "q0.5", "q0.9"]] = np.array([-1.0, 0.0, 1.0, 2.0])
    other = frame["model"] == "other"
    frame.loc[other, "q0.1"], frame.loc[~other, ["q0.2", "q0.9"]] = np.nan, np.nan
    frame.loc[other, "q0.5"] = 0.5
    return frame


def with_one_missing():
    frame = with_other_levels()
    frame.loc[frame.index[-1], ["forecast", "q0.2", "q0.5", "q0.9"]] = np.nan
    return frame


@pytest.mark.filterwarnings("ignore:Models are compared")
@pytest.mark.parametrize(
    "frame, loss",
    [
        (CHANCES, "squared"),
        (with_other_levels(), "quantile"),
        (with_one_missing(), "quantile"),
        (pd.concat([CHANCES, flat("z", naive=2.0, other=3.0).assign(actual=5.0)]), "absolute"),
    ],
)
def test_the_gain_is_of_the_loss_of_the_verdict(frame, loss):
    judged = skill(frame)
    verdict = judged.xs("y", level="target") if "target" in judged.index.names else judged
    gain = cumulative_gain(frame, target="y")
    assert gain.attrs["loss"] == judged.attrs["loss"] == loss
    saved = (verdict["baseline_loss"] - verdict["loss"])["other"]
    assert saved != 0 and gain["other"].iloc[-1] / len(gain) == pytest.approx(saved)


def test_each_model_is_compared_on_the_rows_that_it_has(ax):
    both = flat(naive=2.0, other=3.0)
    late = flat(late=5.0)
    late.loc[:39, "forecast"] = np.nan
    frame = pd.concat([both, late], ignore_index=True)
    gain = cumulative_gain(frame)
    pd.testing.assert_series_equal(gain["other"], cumulative_gain(both)["other"])
    assert gain["late"].isna().sum() == 40 and gain["late"].iloc[-1] == -60.0
    drawn = {line.get_label(): line for line in plot_backtest(frame, ax=ax).get_lines()}
    assert list(drawn["late"].get_xdata()) == list(range(40, 60))


def test_what_lacks_every_forecast_or_outcome_is_named(ax):
    failed = flat(naive=2.0, other=3.0, failed=np.nan)
    for draw in (cumulative_gain, plot_backtest):
        with pytest.raises(DataError, match=r"expected forecasts of 'failed' for.*Leave out"):
            draw(failed)
        with pytest.raises(DataError, match=r"nothing to score.*known `actual`"):
            draw(flat(naive=2.0, other=3.0).assign(actual=np.nan))
        with pytest.raises(DataError, match=r"rows are repeated"):
            draw(pd.concat([failed, failed]))
    with pytest.raises(DataError, match=r"compare with 'failed'.*and 0 rows of 'failed'"):
        cumulative_gain(failed, against="failed")


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


def test_every_pair_of_quantiles_is_a_shade_of_the_fan(ax):
    forecast = Naive(**SAME).fit(PRICES).predict().loc[ONE]
    shades = plot_forecast(forecast, ax=ax).collections
    assert len(shades) == 4  # q0.1 to q0.9
    for shade, low, high in zip(shades, ("q0.1", "q0.2"), ("q0.9", "q0.8")):
        edge = shade.get_paths()[0].vertices[:, 1]
        assert edge.min() == pytest.approx(forecast[low].min())
        assert edge.max() == pytest.approx(forecast[high].max())
    _, words = ax.get_legend_handles_labels()
    assert words == ["20, 40, 60 and\n80 % intervals", "forecast"]


def test_what_happened_is_drawn_where_it_is_known(result, ax):
    rows = result.frame.query("model == 'EWMA' and step == 1 and series == @ONE")
    forecast, actual = plot_forecast(rows, ax=ax).get_lines()
    np.testing.assert_array_equal(forecast.get_ydata(), rows["forecast"])
    np.testing.assert_array_equal(actual.get_ydata(), rows["actual"])
    assert ax.get_ylabel() == "open"


def test_a_long_history_leaves_the_fan_to_be_seen(ax):
    history = pd.Series(range(10_000), pd.RangeIndex(10_000))
    ahead = pd.DataFrame({"forecast": [1.0] * 5}, pd.RangeIndex(10_000, 10_005))
    assert len(plot_forecast(ahead, history, ax=ax).get_lines()[0].get_xdata()) == 100
    ax.clear()
    past, fan = plot_forecast(ahead, history, last=3, ax=ax).get_lines()
    assert past.get_ydata().tolist() == [9997, 9998, 9999] and fan.get_xdata()[0] == 10_002
    with pytest.raises(ValueError, match=r"'last'.*at least 1, found 0"):
        plot_forecast(ahead, history, last=0, ax=ax)


def test_error_by_step_is_the_table_by_step(result, ax):
    table = result.metrics("step", metrics=["mae"])
    lines = plot_error_by_step(table, ax=ax).get_lines()
    for line in lines:
        np.testing.assert_array_equal(line.get_ydata(), table.loc[line.get_label(), "mae"])
        assert line.get_xdata().tolist() == [1, 2]
    assert {line.get_label() for line in lines} == {"Drift", "EWMA", "naive"}
    ax.clear()
    *lines, _ = plot_error_by_step(table, relative_to="naive", ax=ax).get_lines()
    for line in lines:
        share = table.loc[line.get_label(), "mae"] / table.loc["naive", "mae"]
        np.testing.assert_allclose(line.get_ydata(), share)


def test_error_by_step_says_what_it_wants(result, ax):
    with pytest.raises(DataError, match=r"model, step, found.*result.metrics\(\"step\"\)"):
        plot_error_by_step(result.metrics(), ax=ax)
    table = result.metrics("step")
    with pytest.raises(ValueError, match=r"'metric'.*'mae'.*found 'mean'"):
        plot_error_by_step(table, "mean", ax=ax)
    with pytest.raises(ValueError, match=r"'relative_to'.*found 'last'"):
        plot_error_by_step(table, relative_to="last", ax=ax)
    with pytest.raises(DataError, match="a step is repeated"):
        plot_error_by_step(result.metrics(["step", "series"]), ax=ax)
    both = pd.concat([result.frame, result.frame.assign(target="volume")])
    two = evaluate(both, ["mae"], by="step")
    with pytest.raises(ValueError, match=r"'target'.*\['open', 'volume'\], found None"):
        plot_error_by_step(two, ax=ax)
    assert not ax.get_lines()
    assert plot_error_by_step(two, target="volume", ax=ax) is ax


def test_skill_matrix_tests_each_against_each(result):
    losses = loss_table(result.frame)
    table = skill_matrix(result)
    assert len(table) == 6 and table.attrs["loss"] == "absolute"
    assert table["model"].iloc[0] == losses.mean().idxmin()
    for row in table.itertuples():
        a, b = losses[row.model], losses[row.against]
        test = diebold_mariano(a, b, horizon=2)
        assert row.ratio == pytest.approx(a.mean() / b.mean())
        assert (row.dm, row.p) == (test.statistic, test.p_less)
    np.testing.assert_array_equal(table["p_holm"], holm(table["p"]))
    one = skill_matrix(result, step=1)
    np.testing.assert_allclose(
        one["ratio"], skill_matrix(result.frame[result.frame["step"] == 1])["ratio"]
    )


def test_skill_matrix_is_written_out(result, ax):
    table = skill_matrix(result)
    table.loc[0, "p_holm"] = 0.01
    plot_skill_matrix(table, ax=ax)
    models = list(dict.fromkeys(table["model"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == models
    drawn = {text.get_position(): text.get_text() for text in ax.texts}
    for number, row in table.iterrows():
        cell = drawn[models.index(row["against"]), models.index(row["model"])]
        assert cell.endswith("*") == (row["p_holm"] < 0.05)
        assert float(cell.split(" %")[0]) == pytest.approx(100 * (row["ratio"] - 1), abs=0.51)
        assert np.isfinite(ax.images[0].get_array()[models.index(row["model"])]).sum() == 2, number
    with pytest.raises(ValueError, match=r"'alpha'.*between 0 and 1, found 5"):
        plot_skill_matrix(table, alpha=5)


def test_skill_needs_somebody_to_compare_with(result):
    alone = result.frame[result.frame["model"] == "naive"]
    with pytest.raises(DataError, match=r"two models or more, found \['naive'\]"):
        skill_matrix(alone)
    with pytest.raises(ValueError, match=r"'step'.*one of the steps \[1, 2\], found 7"):
        skill_matrix(result, step=7)


def test_a_model_looks_the_same_in_all_pictures_of_a_backtest(result, ax):
    plot_backtest(result, ax=ax)
    looks = [{line.get_label(): line.get_color() for line in ax.get_lines()}]
    ax.clear()
    plot_error_by_step(result.metrics("step"), ax=ax)
    looks.append({line.get_label(): line.get_color() for line in ax.get_lines()})
    assert looks[0]["EWMA"] == looks[1]["EWMA"] != looks[0]["Drift"] == looks[1]["Drift"]


def test_lines_differ_without_colour():
    looks = styles([*range(12), "naive", "treat all"]).values()
    assert len({(str(look["linestyle"]), look["color"]) for look in looks}) == 14
    assert len({str(look["linestyle"]) for look in list(looks)[:5]}) == 5
    assert model_styles("ba") == {"b": styles("ab")["b"], "a": styles("ab")["a"]}


def test_a_figure_is_filled_and_pyplot_is_not_touched(result):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure = matplotlib.figure.Figure(layout="constrained")
    axes = plot_backtest(result, ax=figure)
    assert figure.axes == [axes] and pyplot.get_fignums() == before
    figure.draw_without_rendering()
    place = axes.get_legend().get_window_extent()
    assert place.x0 >= axes.get_window_extent().x1  # beside the lines, not over them
    assert place.x1 <= figure.bbox.x1


def test_without_axes_a_new_figure_is_made(result):
    from matplotlib import pyplot

    axes = plot_backtest(result)
    assert axes.figure.number in pyplot.get_fignums()
    pyplot.close(axes.figure)


def test_as_many_axes_as_are_needed(ax):
    figure = matplotlib.figure.Figure()
    pair = figure.subplots(2)
    assert panels(pair, 2)[:, 0].tolist() == pair.tolist()
    assert panels(list(pair), 1, 2).shape == (1, 2)
    with pytest.raises(ValueError, match=r"'ax'.*2 Axes \(2 x 1\), a Figure, or None"):
        panels(ax, 2)
    with pytest.raises(ValueError, match=r"'ax'.*expected Axes, a Figure, or None, found 'here'"):
        axes_of("here")


def test_dates_of_a_few_days_have_no_hours(ax):
    days = pd.date_range("2024-03-01", periods=3)
    ax.plot(days, [1, 2, 3])
    time_axis(ax, days)
    ticks = ax.xaxis.get_major_locator()()
    assert np.all(np.asarray(ticks) % 1 == 0)
    years = pd.date_range("1990-01-01", periods=10_000)
    ax.plot(years, range(10_000))
    time_axis(ax, years, name="cutoff")
    assert 3 <= len(ax.xaxis.get_major_locator()()) <= 9
    assert ax.get_xlabel() == "cutoff"


def test_dates_of_a_zone_are_drawn_by_its_clock(result, ax):
    frame = result.frame
    zoned = frame.assign(cutoff=frame["cutoff"].dt.tz_localize("Asia/Tokyo"))
    plot_backtest(zoned, ax=ax)
    assert ax.get_xlabel() == "cutoff (Asia/Tokyo)"
    assert ax.get_lines()[0].get_xdata()[0] == frame["cutoff"].min()


def test_three_points_and_ten_thousand(ax):
    for n in (3, 10_000):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {"model": np.repeat(["a", "naive"], n), "series": 0, "time": [*range(1, n + 1)] * 2,
             "cutoff": [*range(n)] * 2, "step": 1, "target": "y",
             "forecast": rng.normal(size=2 * n), "actual": np.tile(rng.normal(size=n), 2)}
        )  # fmt: skip
        line = plot_backtest(frame, ax=ax).get_lines()[0]
        assert len(line.get_xdata()) == n
        assert (line.get_marker() == "None") == (n > 60)
        ax.figure.draw_without_rendering()
        ax.clear()


def test_lines_of_a_backtest_are_the_gain(result, ax):
    gain = cumulative_gain(result)
    plot_backtest(result, ax=ax)
    drawn = {line.get_label(): line for line in ax.get_lines()}
    for model in gain.columns:
        np.testing.assert_array_equal(drawn[model].get_ydata(), gain[model])
        np.testing.assert_array_equal(drawn[model].get_xdata(), gain.index)


# Names and numbers that are no picture's friends


def written(axes):
    """What stands in the legend, as it is drawn."""
    return [text.get_text().replace(r"\$", "$").strip() for text in axes.get_legend().get_texts()]


def test_names_stand_in_the_legend_as_they_are(result, ax):
    names = {"Drift": "_hidden", "EWMA": "US$ and A$_x$"}
    frame = result.frame.replace({"model": names})
    plot_backtest(frame, ax=ax)
    assert written(ax) == ["_hidden", "US$ and A$_x$"]
    for text in ax.get_legend().get_texts():
        shown, is_math = text._preprocess_math(text.get_text())
        assert not is_math and "\\" not in shown
    ax.clear()
    plot_forecast(Naive(**SAME).fit(PRICES).predict().loc[ONE], label="_", ax=ax)
    assert written(ax)[-1] == "_"
    ax.clear()
    plot_skill_matrix(skill_matrix(frame), ax=ax)
    label = next(each for each in ax.get_yticklabels() if "US" in each.get_text())
    assert label._preprocess_math(label.get_text()) == ("US$ and A$_x$", False)


def test_a_title_of_ones_own_may_still_hold_mathematics(result, ax):
    plot_backtest(result, ax=ax).set_title(r"$\sigma$")
    assert ax.title._preprocess_math(ax.get_title()) == (r"$\sigma$", True)


def test_long_names_leave_room_for_the_lines(result):
    long = {
        "Drift": "RecurrentForecaster(horizon=5, lookback=60, members=5) " * 3,
        "EWMA": "b" * 99,
    }
    frame = result.frame.replace({"model": long})
    figure = matplotlib.figure.Figure((8, 4), layout="constrained")
    axes = plot_backtest(frame, ax=figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where nothing is left
        figure.draw_without_rendering()
    assert axes.get_window_extent().width > 0.5 * figure.bbox.width
    assert axes.get_legend().get_window_extent().x1 <= figure.bbox.x1
    assert named("a" * 99) != named("a" * 98 + "b") and named("short") == "short"


def test_names_that_differ_in_the_middle_are_told_apart():
    names = [f"lstm-h64-lookback{rows:03d}-lr0.010-seed0" for rows in (20, 60)]
    assert list(told_apart(["naive", *names], lines=1).values()) == [
        "naive", "... back020-lr0.010-seed0", "... back060-lr0.010-seed0"
    ]  # fmt: skip
    far = [f"{'a' * 40}{one}{'b' * 40}{two}{'c' * 40}" for one in "01" for two in "01"]
    assert list(told_apart(far, lines=1).values()) == far
    assert told_apart(["a" * 99, "b"]) == {"a" * 99: named("a" * 99), "b": "b"}


def test_a_matrix_of_few_models_has_room_for_the_words_of_its_bar():
    names = ["a" * 34, "b" * 34, "naive"]
    pairs = [(one, other) for one in names for other in names if one != other]
    table = pd.DataFrame(pairs, columns=["model", "against"]).assign(ratio=0.9, p_holm=0.5)
    figure = matplotlib.figure.Figure((5.65, 3.85), layout="constrained")
    plot_skill_matrix(table, ax=figure)
    figure.draw_without_rendering()
    words = figure.axes[1].yaxis.label.get_window_extent()
    assert words.y0 >= 0 and words.y1 <= figure.bbox.y1 and words.x1 <= figure.bbox.x1


def test_levels_that_are_close_are_told_apart_and_named_once(ax):
    ahead = pd.DataFrame({"forecast": [0.0, 0.0]})
    levels = {0.05: -2.0, 0.054: -1.5, 0.946: 1.5, 0.95: 2.0}
    for level, value in levels.items():
        ahead[f"q{level:g}"] = value
    plot_forecast(ahead, ax=ax)
    assert written(ax) == ["89.2 and\n90 % intervals", "forecast"]


def test_levels_of_other_models_are_no_intervals_of_this_one(ax):
    ahead = pd.DataFrame({"forecast": [0.0, 0.0], "q0.1": -1.0, "q0.9": 1.0})
    plot_forecast(ahead.assign(**{"q0.05": np.nan, "q0.95": np.nan}), ax=ax)
    assert written(ax) == ["80 % interval", "forecast"] and len(ax.collections) == 1


def test_a_fan_of_many_levels_has_a_short_name(ax):
    ahead = pd.DataFrame({"forecast": [0.0, 0.0]})
    for percent in range(1, 100):
        ahead[f"q{percent / 100:g}"] = percent - 50.0
    assert len(plot_forecast(ahead, ax=ax).collections) == 49
    assert written(ax) == ["49 intervals,\n2 to 98 %", "forecast"]


def test_what_stands_alone_is_seen(ax):
    gaps = [1.0, np.nan, 2.0, np.nan, 3.0, 4.0]
    ahead = pd.DataFrame({"forecast": [5.0], "q0.1": [4.0], "q0.9": [7.0]}, index=[6])
    past, _ = plot_forecast(ahead, pd.Series(gaps), ax=ax).get_lines()
    assert past.get_marker() == "." and list(past.get_markevery()) == [0, 2]
    (bar,) = ax.collections[1].get_segments()  # an area of one point is not seen
    assert bar.tolist() == [[6, 4], [6, 7]]
    ax.clear()
    past, _ = plot_forecast(ahead, pd.Series(range(6)), ax=ax).get_lines()
    assert past.get_marker() == "None"


def test_a_forecast_without_a_value_says_so(ax):
    ahead = pd.DataFrame({"forecast": [np.nan] * 3, "q0.1": np.nan, "q0.9": np.nan}, [6, 7, 8])
    plot_forecast(ahead, pd.Series(range(6)), label="lstm", ax=ax)
    assert [text.get_text() for text in ax.texts] == ["lstm: all values are missing"]
    ax.clear()
    assert not plot_forecast(ahead.fillna({"forecast": 1.0}), ax=ax).texts


def test_one_date_is_named_instead_of_the_years_around_it(result, ax):
    first = result.frame["cutoff"].min()
    for zone in (None, "Asia/Tokyo"):
        one = result.frame[result.frame["cutoff"] == first]
        plot_backtest(one.assign(cutoff=one["cutoff"].dt.tz_localize(zone)), ax=ax)
        ax.figure.draw_without_rendering()
        assert [text.get_text() for text in ax.get_xticklabels()] == [str(first.date())]
        ax.clear()


def test_whole_numbers_of_time_are_written_out(ax):
    frame = flat(naive=2.0, other=3.0)
    days = frame.assign(cutoff=frame["cutoff"] + 20240101, time=frame["time"] + 20240101)
    plot_backtest(days, ax=ax)
    ax.figure.draw_without_rendering()
    assert "20240120" in [text.get_text() for text in ax.get_xticklabels()]
    assert ax.xaxis.get_offset_text().get_text() == ""
    ax.clear()
    plot_backtest(days[days["cutoff"] == 20240131], ax=ax)
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["20240131"]


def test_what_is_no_backtest_is_refused_in_words(result, ax):
    alone = result.frame[result.frame["model"] == "naive"]
    with pytest.raises(DataError, match=r"nobody to compare with.*beside 'naive'"):
        plot_backtest(alone, ax=ax)
    for draw in (plot_backtest, skill_matrix, cumulative_gain):
        for wrong in (None, [1], PRICES, result.frame.drop(columns="step")):
            with pytest.raises(
                DataError, match=r"expected one with model.*backtest\(models, panel"
            ):
                draw(wrong)
    for wrong in (None, result, PRICES):
        with pytest.raises(DataError, match=r"expected one with forecast.*model.predict\(\)"):
            plot_forecast(wrong, ax=ax)
    with pytest.raises(DataError, match=r"history cannot be drawn: expected a Series, found list"):
        plot_forecast(Naive(**SAME).fit(PRICES).predict().loc[ONE], [1.0], ax=ax)
    assert not ax.get_lines()
