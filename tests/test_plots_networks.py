"""Training, gates, memory and attribution: what is drawn is what the tables say."""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from tsforecast._checks import DataError
from tsforecast.data.datasets import make_prices
from tsforecast.estimators.baselines import Naive
from tsforecast.insight.attribution import attribute
from tsforecast.insight.network_plots import (
    plot_attribution,
    plot_gates,
    plot_memory_profile,
    plot_training,
)


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


def labelled(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def history(n=5, members=2):
    epochs = pd.Index(range(n), name="epoch")
    parts = [
        pd.DataFrame(
            {"train_loss": 1.0 / (1 + np.arange(n)) + m, "val_loss": 1.0 - 0.1 * np.arange(n) + m,
             "member": m}, index=epochs
        )
        for m in range(members)
    ]  # fmt: skip
    return pd.concat(parts)


def gate_frame(n=4, *, units=3, layers=(0, 1), series=("a",)):
    rng = np.random.default_rng(0)
    columns = pd.MultiIndex.from_product(
        [layers, ["forget", "cell"], range(units)], names=["layer", "gate", "unit"]
    )
    index = pd.MultiIndex.from_product([series, range(n)], names=["series", "time"])
    values = rng.uniform(size=(len(index), len(columns)))
    frame = pd.DataFrame(values, index, columns)
    frame.attrs["cell"] = "lstm"
    return frame


def profile(n=5):
    back = pd.Index(range(n), name="back")
    sizes = pd.DataFrame({"gradient": 0.5 ** np.arange(n), "occlusion": 0.8 ** np.arange(n)}, back)
    for name in ("gradient", "occlusion"):
        sizes[f"{name}_share"] = sizes[name] / sizes[name].sum()
    return sizes


def effects(values):
    n = len(values)
    return pd.DataFrame(
        {"series": "p1", "column": "Resp", "rows": range(1, n + 1), "level": 18.0, "recent": 27.0,
         "answer": 0.4, "effect": values,
         "sentence": [f"Resp over the last {k + 1} h: 18 -> 27, {v:+.3g} risk"
                      for k, v in enumerate(values)]}
    )  # fmt: skip


def test_losses_of_every_member_are_drawn(ax):
    table = history()
    lines = plot_training(table, ax=ax).get_lines()
    assert len(lines) == 4
    for line, (column, member) in zip(
        lines, [("val_loss", 0), ("val_loss", 1), ("train_loss", 0), ("train_loss", 1)]
    ):
        part = table[table["member"] == member]
        np.testing.assert_array_equal(line.get_xdata(), part.index)
        np.testing.assert_array_equal(line.get_ydata(), part[column])
    assert ax.get_legend_handles_labels()[1] == ["validation", "training"]


def test_the_weights_in_use_are_marked(ax):
    model = SimpleNamespace(history_=history(), best_epochs_=[2, 0])
    *_, first, second = plot_training(model, ax=ax).get_lines()
    assert (first.get_xdata(), first.get_ydata()) == ([2], [0.8])
    assert (second.get_xdata(), second.get_ydata()) == ([0], [2.0])
    ax.clear()
    alone = SimpleNamespace(history_=history(members=1).drop(columns="member"), best_epoch_=1)
    assert plot_training(alone, ax=ax).get_lines()[-1].get_xdata() == [1]


def test_without_validation_training_alone_is_drawn(ax):
    table = history(members=1).assign(val_loss=np.nan)
    model = SimpleNamespace(history_=table, best_epochs_=[4])
    assert list(labelled(plot_training(model, ax=ax))) == ["training", "weights in use"]
    assert ax.get_lines()[-1].get_ydata() == [0.2]


def test_heat_maps_hold_the_gates_with_the_longest_memory_on_top():
    frame = gate_frame()
    axes = plot_gates(frame, ax=matplotlib.figure.Figure())
    assert axes.shape == (2, 2)
    for column, layer in enumerate((0, 1)):
        order = np.argsort(-frame[layer]["forget"].to_numpy().mean(axis=0))
        for row, gate in enumerate(("forget", "cell")):
            drawn = axes[row, column].collections[0].get_array().reshape(3, 4)
            expected = frame[layer][gate].to_numpy().T[order]
            np.testing.assert_allclose(drawn[::-1], expected)  # drawn from below
    assert axes[0, 0].get_ylabel() == "forget" and axes[0, 1].get_title() == "layer 1"
    assert axes[0, 0].collections[0].get_clim() == (0.0, 1.0)
    low, high = axes[1, 0].collections[0].get_clim()
    assert low == -high  # a state has a sign


def test_of_many_rows_neighbours_are_averaged():
    frame = gate_frame(10_000, units=2, layers=(0,))
    axes = plot_gates(frame, gates=["forget"], ax=matplotlib.figure.Figure())
    drawn = axes[0, 0].collections[0].get_array().reshape(2, -1)
    assert drawn.shape == (2, 1000)
    values = frame[0]["forget"].to_numpy()
    order = np.argsort(-values.mean(axis=0))
    np.testing.assert_allclose(drawn[::-1], values[:, order].reshape(1000, 10, 2).mean(axis=1).T)
    odd = plot_gates(frame.iloc[:1001], gates=["forget"], ax=matplotlib.figure.Figure())
    assert odd[0, 0].collections[0].get_array().reshape(2, -1).shape == (2, 501)


@pytest.mark.parametrize("n", [1, 3])
def test_a_few_rows_of_dates_are_drawn(n):
    frame = gate_frame(n).droplevel(0)
    frame.index = pd.date_range("2024-03-01", periods=n, name="date")
    figure = matplotlib.figure.Figure(layout="constrained")
    axes = plot_gates(frame, ax=figure)
    figure.draw_without_rendering()
    assert axes[-1, 0].get_xlabel() == "date"


def test_means_of_gates_are_lines():
    frame = gate_frame().T.groupby(level=["layer", "gate"], sort=False).mean().T
    axes = plot_gates(frame, ax=matplotlib.figure.Figure())
    for layer, one in enumerate(axes):
        for gate, line in labelled(one).items():
            np.testing.assert_array_equal(line.get_ydata(), frame[layer, gate])
    (one,) = plot_gates(frame[[0]], gates=["cell"], ax=matplotlib.figure.Figure())
    assert list(labelled(one)) == ["cell"]


def test_gates_of_one_series_are_drawn_at_a_time():
    frame = gate_frame(series=("a", "b"))
    with pytest.raises(ValueError, match=r"'series'.*such as 'a', 'b', found None.*series='a'"):
        plot_gates(frame)
    axes = plot_gates(frame, series="b", gates=["forget"], ax=matplotlib.figure.Figure())
    drawn = axes[0, 0].collections[0].get_array()
    assert drawn.max() == frame[0]["forget"].loc["b"].to_numpy().max()
    with pytest.raises(ValueError, match=r"'gates'.*\['forget', 'cell'\], found \['reset'\]"):
        plot_gates(frame, series="b", gates=["reset"])
    with pytest.raises(DataError, match=r"a frame of gates.*gates\(model, panel, series="):
        plot_gates(profile())


def test_gates_of_a_real_network_are_drawn():
    from tsforecast.estimators.arrays import RecurrentRegressor
    from tsforecast.insight.gates import gates
    from tsforecast.nn.training import Training

    X = np.random.default_rng(0).normal(size=(40, 5))
    model = RecurrentRegressor(
        cell="gru", hidden_sizes=(4,), training=Training(max_epochs=2, validation=None),
        random_state=0,
    ).fit(X, X[:, 3])  # fmt: skip
    frame = gates(model, X, series=[7])
    axes = plot_gates(frame, ax=matplotlib.figure.Figure())
    assert [one.get_ylabel() for one in axes[:, 0]] == ["reset", "update", "candidate", "hidden"]
    assert len(plot_training(model, ax=matplotlib.figure.Figure()).get_lines()) == 2


def test_memory_profile_is_the_table(ax):
    table = profile()
    lines = labelled(plot_memory_profile(table, ax=ax))
    for name in ("occlusion", "gradient"):
        np.testing.assert_array_equal(lines[name].get_xdata(), table.index)
        np.testing.assert_array_equal(lines[name].get_ydata(), table[f"{name}_share"])
    ax.clear()
    sizes = labelled(plot_memory_profile(table, share=False, measures=["gradient"], ax=ax))
    np.testing.assert_array_equal(sizes["gradient"].get_ydata(), table["gradient"])


def test_memory_of_several_models_is_compared(ax):
    named = {"lstm": profile(6), "rnn": profile(3)}
    lines = labelled(plot_memory_profile(named, measures=["occlusion"], ax=ax))
    assert {name: len(line.get_xdata()) for name, line in lines.items()} == {"lstm": 6, "rnn": 3}
    ax.clear()
    assert list(labelled(plot_memory_profile(named, ax=ax))) == [
        "lstm, occlusion", "lstm, gradient", "rnn, occlusion", "rnn, gradient"
    ]  # fmt: skip


def test_memory_far_back_is_drawn_by_orders_of_size(ax):
    plot_memory_profile(profile(10_000), ax=ax)
    assert ax.get_xscale() == "symlog"
    assert ax.xaxis.get_major_locator()().tolist() == [0, 5, 10, 20, 50, 100, 1000, 10_000]


def test_a_network_that_corrects_nothing_has_no_profile(ax):
    table = profile() * 0
    table[["gradient_share", "occlusion_share"]] = np.nan
    with pytest.raises(DataError, match=r"nothing to draw.*kept its baseline"):
        plot_memory_profile(table, ax=ax)
    with pytest.raises(ValueError, match=r"'measures'.*found 'shap'"):
        plot_memory_profile(profile(), measures=["shap"], ax=ax)
    with pytest.raises(ValueError, match=r"'measures'.*found 'gradient'"):
        plot_memory_profile(profile(), measures="gradient", ax=ax)


def test_attribution_bars_are_the_largest_effects(ax):
    table = effects([0.01, -0.2, np.nan, 0.12])
    plot_attribution(table, n=2, ax=ax)
    assert [bar.get_width() for bar in ax.patches] == [-0.2, 0.12]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "Resp over the last 2 h: 18 -> 27", "Resp over the last 4 h: 18 -> 27"
    ]  # fmt: skip
    assert ax.patches[0].get_y() > ax.patches[1].get_y()  # the largest on top
    assert ax.get_xlabel() == "effect on risk, which is 0.4"
    assert ax.patches[0].get_hatch() and not ax.patches[1].get_hatch()


def test_names_with_a_comma_stay_whole_beside_the_bars(ax):
    panel = make_prices(1, 60, random_state=0)[["close"]].set_axis(["price, USD"], axis=1)
    table = attribute(Naive(target="price, USD").fit(panel), panel, stretches=[3])
    plot_attribution(table, ax=ax)
    answer = table["answer"].iloc[0]
    assert ax.get_xlabel() == f"effect on price, USD 1 ahead, which is {answer:.4g}"
    (words,) = (text.get_text() for text in ax.get_yticklabels())
    assert re.fullmatch(r"price, USD over the last 3 rows: \d+ -> \d+", words)


def test_attribution_of_nothing_or_of_several_series_is_refused(ax):
    with pytest.raises(DataError, match=r"effects that are known"):
        plot_attribution(effects([np.nan]), ax=ax)
    both = pd.concat([effects([0.1]), effects([0.2]).assign(series="p2")])
    with pytest.raises(ValueError, match=r"'series'.*\['p1', 'p2'\], found None"):
        plot_attribution(both, ax=ax)
    assert len(plot_attribution(both, series="p2", ax=ax).patches) == 1
    with pytest.raises(ValueError, match=r"'n'.*found 0"):
        plot_attribution(both, series="p2", n=0, ax=ax)


@pytest.mark.parametrize(
    "draw, maker",
    [
        (plot_training, "model.history_"),
        (plot_memory_profile, r"memory_profile\(model, panel\)"),
        (plot_attribution, r"attribute\(model, panel\)"),
    ],
)
def test_another_table_is_refused_with_the_one_that_is_meant(draw, maker, ax):
    with pytest.raises(DataError, match=rf"cannot be drawn.*found close.*{maker}"):
        draw(pd.DataFrame({"close": [1.0]}), ax=ax)
    assert not ax.get_lines()


def test_a_column_of_a_long_name_leaves_room_for_the_bars():
    table = pd.DataFrame(
        {"series": "a", "column": "x", "rows": 3, "level": 1.0, "recent": 2.0, "answer": 0.5,
         "effect": 0.1, "sentence": [f"{'a long name ' * 12}over 3 h: 1 -> 2, +0.1 risk"] * 2}
    )  # fmt: skip
    figure = matplotlib.figure.Figure((8, 2), layout="constrained")
    axes = plot_attribution(table, ax=figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where nothing is left
        figure.draw_without_rendering()
    assert axes.get_window_extent().width > 0.3 * figure.bbox.width
    assert axes.get_yticklabels()[0].get_text().endswith("over 3 h: 1 -> 2")
