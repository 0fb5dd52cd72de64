"""A look inside: gates as the network has them, and how far back an answer depends on its rows."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import tsforecast as tsf
from tsforecast.estimators.arrays import _windows
from tsforecast.nn.cells import GATES

FEW = tsf.Training(max_epochs=2)


def fitted(model, *data):
    with warnings.catch_warnings():  # two epochs are too few, and say so
        warnings.simplefilter("ignore")
        return model.fit(*data)


@pytest.fixture(scope="module")
def prices():
    return tsf.make_prices(3, 120, random_state=0)


def forecaster(cell="lstm", context="window", **options):
    return tsf.RecurrentForecaster(
        target="close",
        lookback=20,
        cell=cell,
        context=context,
        hidden_sizes=(5, 3),
        transform=tsf.Log(),
        training=FEW,
        random_state=0,
        **options,
    )


@pytest.fixture(scope="module")
def models(prices):
    made = {
        (cell, context): fitted(forecaster(cell, context), prices)
        for cell in ("lstm", "gru", "rnn")
        for context in ("window", "history")
    }
    for model in made.values():  # step 0 may have won: the decoder is then zero
        for network in model.networks_:
            torch.nn.init.normal_(
                network.decoder.weight, std=0.3, generator=torch.Generator().manual_seed(0)
            )
    return made


@pytest.mark.parametrize("context", ["window", "history"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_traced_hidden_states_are_those_of_the_fused_kernel(models, prices, cell, context):
    model = models[cell, context]
    frame = tsf.gates(model, prices)
    network = model.networks_[0]
    _, rows, shape = model._read(prices)
    for number, name in enumerate(rows.layout.names()):
        stop = int(rows.layout.stops[number])
        begin = int(rows.first[stop - 1]) if context == "history" else stop - shape.lookback
        with torch.inference_mode():
            states, _ = network.encode(
                rows.inputs[None, begin:stop].clone(),
                rows.static[number : number + 1],
                rows.codes[number : number + 1],
            )
        traced = frame.loc[name][1]["hidden"].to_numpy()
        np.testing.assert_allclose(traced, states[0].numpy(), atol=1e-6)


def test_columns_are_layer_gate_unit_and_rows_those_of_the_panel(models, prices):
    frame = tsf.gates(models["lstm", "history"], prices)
    assert list(frame.columns.names) == ["layer", "gate", "unit"]
    assert frame.index.names == prices.index.names
    assert frame.index.isin(prices.index).all()
    assert len(frame) == len(prices)
    assert list(dict.fromkeys(frame.columns.get_level_values("gate"))) == list(GATES["lstm"])
    assert frame[0]["forget"].shape[1] == 5
    assert frame[1]["forget"].shape[1] == 3
    window = tsf.gates(models["gru", "window"], prices, series=["S01"])
    assert len(window) == 20
    assert window.index.equals(prices.loc[["S01"]].index[-20:])


def test_cell_state_is_what_was_kept_and_what_was_written(models, prices):
    frame = tsf.gates(models["lstm", "history"], prices, series="S00", layer=0)[0]
    forget, write, new = (frame[gate].to_numpy() for gate in ("forget", "input", "candidate"))
    cell = frame["cell"].to_numpy()
    before = np.vstack([np.zeros(5), cell[:-1]])
    np.testing.assert_allclose(cell, forget * before + write * new, atol=1e-6)
    shown = frame["output"].to_numpy() * np.tanh(cell)
    np.testing.assert_allclose(frame["hidden"].to_numpy(), shown, atol=1e-6)


def test_mean_over_units_is_the_mean_of_the_units(models, prices):
    model = models["gru", "window"]
    each, mean = tsf.gates(model, prices), tsf.gates(model, prices, units="mean")
    expected = each.T.groupby(level=["layer", "gate"], sort=False).mean().T
    np.testing.assert_allclose(mean.to_numpy(), expected[mean.columns].to_numpy(), atol=1e-6)


def test_gates_up_to_a_cutoff_ignore_later_rows(models, prices):
    time = prices.index.get_level_values(1)
    cutoff = time.unique()[80]
    for context in ("window", "history"):
        model = models["lstm", context]
        whole = tsf.gates(model, prices, cutoff=cutoff)
        early = tsf.gates(model, prices[time <= cutoff])
        assert whole.index.get_level_values(1).max() == cutoff
        pd.testing.assert_frame_equal(whole, early, rtol=0, atol=1e-6)


def test_gates_of_stays_and_of_samples():
    stays = tsf.make_vitals(12, 30, random_state=0)
    stays["event"] = (stays["map"] < stays["map"].quantile(0.1)).astype(float)
    model = fitted(
        tsf.EventClassifier(
            event="event", label="recurrent", horizon=3, clear="1h", hidden_sizes=(4,),
            training=tsf.Training(max_epochs=2, validation=None), random_state=0,
        ),
        stays,
    )  # fmt: skip
    frame = tsf.gates(model, stays)
    assert len(frame) == len(stays)
    profile = tsf.memory_profile(model, stays, steps=5)
    assert list(profile.index) == [0, 1, 2, 3, 4]

    X = np.random.default_rng(0).normal(size=(60, 7, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = tsf.RecurrentRegressor(hidden_sizes=(4,), training=FEW, random_state=0)
        arrays.fit(X, X[:, 2, 0])
    frame = tsf.gates(arrays, X, series=[3, 5])
    assert frame.index.names == ["sample", "step"]
    assert frame.index.tolist() == [(n, t) for n in (3, 5) for t in range(7)]
    network, x = arrays.network_, arrays._shown(arrays._samples(X)[[3, 5]])
    with torch.inference_mode():
        states, _ = network.encode(*_windows(x, 1)[:3])
    np.testing.assert_allclose(
        frame[0]["hidden"].to_numpy(), states.reshape(14, 4).numpy(), atol=1e-6
    )


def test_summary_counts_open_saturated_and_dead():
    columns = pd.MultiIndex.from_product(
        [[0], ["forget", "hidden"], [0, 1]], names=["layer", "gate", "unit"]
    )
    frame = pd.DataFrame(
        [[0.95, 0.05, 0.0, 0.3], [0.95, 0.6, 0.0, -0.3]], index=[0, 1], columns=columns
    )
    frame.attrs["cell"] = "lstm"
    summary = tsf.gate_summary(frame)
    forget = summary.loc[(0, "forget")]
    assert forget["mean"] == pytest.approx(0.6375)
    assert forget["open"] == 0.75
    assert forget["saturated"] == 0.75
    steps = [-1 / np.log(0.95), -1 / np.log(0.6)]  # before the first row there is nothing to keep
    assert forget["memory_steps"] == pytest.approx(np.mean(steps))
    assert forget["longest_steps"] == pytest.approx(steps[0])
    assert summary.loc[(0, "hidden"), "dead"] == 0.5
    with pytest.raises(ValueError, match="units='each'"):
        tsf.gate_summary(frame.droplevel("unit", axis=1))


def test_a_gate_that_keeps_all_keeps_it_for_ever():
    columns = pd.MultiIndex.from_product(
        [[0], ["forget"], [0, 1, 2]], names=["layer", "gate", "unit"]
    )
    frame = pd.DataFrame(np.float32([[0.5, 1.0, 0.0]] * 2), columns=columns)
    summary = tsf.gate_summary(frame).loc[(0, "forget")]
    assert summary["longest_steps"] == np.inf
    assert summary["memory_steps"] == pytest.approx(1 / np.log(2))  # of inf, that, and 0


def test_memory_of_a_gate_is_not_of_the_rows_before_which_there_is_no_state():
    columns = pd.MultiIndex.from_product([[0], ["forget"], [0]], names=["layer", "gate", "unit"])
    index = pd.MultiIndex.from_product([["a", "b"], [0, 1, 2]], names=["series", "step"])
    frame = pd.DataFrame([[1e-6], [0.9], [0.8], [0.3], [0.8], [0.9]], index, columns)
    summary = tsf.gate_summary(frame).loc[(0, "forget")]
    assert summary["memory_steps"] == pytest.approx(-2 / (np.log(0.9) + np.log(0.8)))
    assert summary["mean"] == pytest.approx(frame.to_numpy().mean())
    alone = tsf.gate_summary(frame[frame.index.get_level_values("step") == 0])
    assert alone[["memory_steps", "longest_steps"]].isna().all(axis=None)


def test_a_gate_shut_at_the_first_row_alone_leaves_the_network_as_it_is():
    """The identity behind the rule: the forget gate of the first row meets a cell of zero."""
    from tsforecast.nn.cells import CellWeights, lstm_step

    torch.manual_seed(0)
    x, zero = torch.randn(5, 3), torch.zeros(5, 4)
    weights = [torch.randn(16, 3), torch.randn(16, 4), torch.randn(16), torch.zeros(16)]
    shut = weights[2].clone()
    shut[4:8] = -30.0  # of the forget gate
    open_ = lstm_step(x, zero, zero, CellWeights(*weights))
    closed = lstm_step(x, zero, zero, CellWeights(*weights[:2], shut, weights[3]))
    assert closed[2]["forget"].max() < 1e-6 < open_[2]["forget"].min()
    assert torch.equal(open_[0], closed[0]) and torch.equal(open_[1], closed[1])


def test_summary_of_a_plain_network_has_no_memory_of_gates(models, prices):
    summary = tsf.gate_summary(tsf.gates(models["rnn", "window"], prices))
    assert summary.index.tolist() == [(0, "hidden"), (1, "hidden")]
    assert summary["memory_steps"].isna().all()
    assert tsf.gate_summary(tsf.gates(models["gru", "window"], prices))["memory_steps"].loc[
        (0, "update")
    ] > 0  # fmt: skip


@pytest.mark.parametrize("context", ["window", "history"])
def test_gradient_is_that_of_the_answer(models, prices, context):
    """Against differences: the answer moves by slope times a small change of the inputs."""
    from tsforecast.insight._sequences import sequences
    from tsforecast.insight.memory import _answer, _gradients

    model = models["lstm", context]
    block = next(sequences(model, prices, series="S02"))
    slopes = _gradients(block, 0, 1)[0]  # (T,)
    for back in (0, 2, 7):
        at = int(block.newest[0]) - back

        def answer(feature, by, at=at):
            def moved(x):
                x = x.clone()
                x[:, at, feature] += by
                return x

            with torch.inference_mode():
                return float(_answer(block, moved, 0, 1)[0])

        slope = [(answer(f, 1e-2) - answer(f, -1e-2)) / 2e-2 for f in range(block.x.shape[2])]
        assert slopes[at] == pytest.approx(np.linalg.norm(slope), rel=0.02)
    assert slopes[int(block.newest[0])] > 0


def test_profile_finds_the_row_that_matters():
    X = np.random.default_rng(0).normal(size=(500, 12))
    model = tsf.RecurrentRegressor(hidden_sizes=(8,), random_state=0).fit(X, X[:, 7])
    profile = tsf.memory_profile(model, X[:100])
    assert list(profile.index) == list(range(12))
    assert profile["gradient"].idxmax() == 4
    assert profile["occlusion"].idxmax() == 4
    np.testing.assert_allclose(profile[["gradient_share", "occlusion_share"]].sum(), 1)


def test_occlusion_is_what_predictions_move_by_when_a_step_is_made_usual():
    X = np.random.default_rng(0).normal(size=(80, 6, 2))
    model = fitted(tsf.RecurrentRegressor(hidden_sizes=(4,), random_state=0), X, X[:, 4, 0])
    before, moved = model.predict(X), []
    for back in range(6):
        other = X.copy()
        other[:, 5 - back] = X.mean(axis=1)
        moved.append(np.abs(model.predict(other) - before).mean())
    share = tsf.memory_profile(model, X)["occlusion_share"]
    np.testing.assert_allclose(share, np.array(moved) / np.sum(moved), rtol=1e-3)


@pytest.mark.parametrize("context", ["window", "history"])
def test_profile_of_series_of_any_length_is_the_mean_of_theirs(models, prices, context):
    ragged = prices.drop(prices.loc[["S00"]].index[:70]).drop(prices.loc[["S01"]].index[-9:])
    model = models["lstm", context]
    alone = [tsf.memory_profile(model, ragged, series=name, steps=15) for name in ("S00", "S01")]
    both = tsf.memory_profile(model, ragged, series=["S00", "S01"], steps=15)
    for name in ("gradient", "occlusion"):
        expected = (alone[0][name] + alone[1][name]) / 2
        np.testing.assert_allclose(both[name], expected, rtol=1e-3)


def test_profile_reads_what_is_known_ahead_of_its_own_series(prices):
    panel = tsf.calendar_features(prices)
    model = fitted(forecaster(horizon=3, future=["weekday_sin"]), panel)
    with torch.no_grad():
        for weight in model.networks_[0].parameters():
            torch.nn.init.normal_(weight, std=0.4, generator=torch.Generator().manual_seed(1))
    time = panel.index.get_level_values(1)
    cutoff = time.unique()[-4]
    profile = tsf.memory_profile(model, panel, series="S00", cutoff=cutoff, ahead=3)
    assert profile["gradient"].gt(0).all()
    with pytest.raises(tsf.DataError, match="known ahead end too early: .*next 3 rows.*3 of 3 se"):
        tsf.memory_profile(model, panel)
    assert len(tsf.gates(model, panel)) == 60  # which are not decoded


def test_profile_ends_with_the_window(models, prices):
    profile = tsf.memory_profile(models["lstm", "window"], prices, steps=50)
    assert profile.index.max() == 19
    whole = tsf.memory_profile(models["lstm", "history"], prices, steps=50)
    assert whole.index.max() == 49


def test_what_has_no_gates_is_refused(prices, models):
    naive = tsf.Naive(target="close").fit(prices)
    with pytest.raises(TypeError, match="expected a recurrent estimator"):
        tsf.gates(naive, prices)
    model = models["lstm", "window"]
    with pytest.raises(ValueError, match="'series'.*found 'nobody'"):
        tsf.gates(model, prices, series="nobody")
    with pytest.raises(ValueError, match="'layer'.*below 2"):
        tsf.gates(model, prices, layer=2)
    with pytest.raises(ValueError, match="'layer'.*below 2, found 0.5"):
        tsf.gates(model, prices, layer=0.5)
    with pytest.raises(ValueError, match="'member'.*below 1"):
        tsf.gates(model, prices, member=1)
    with pytest.raises(ValueError, match="'ahead'.*at most the horizon, 1"):
        tsf.memory_profile(model, prices, ahead=2)
    with pytest.raises(ValueError, match="'target'.*below 1"):
        tsf.memory_profile(model, prices, target=1)
    with pytest.raises(ValueError, match="nothing that a network reads"):
        tsf.gates(model, prices, cutoff=pd.Timestamp("1980-01-01"))


def test_samples_have_neither_times_nor_members():
    X = np.random.default_rng(0).normal(size=(60, 5, 2))
    model = fitted(tsf.RecurrentRegressor(hidden_sizes=(3,), training=FEW), X, X[:, 2, 0])
    with pytest.raises(ValueError, match="'cutoff': expected None: samples have no time, found 3"):
        tsf.gates(model, X, cutoff=3)
    with pytest.raises(ValueError, match="'member'.*below 1, found 2"):
        tsf.memory_profile(model, X, member=2)


def test_positions_can_be_looked_into(prices):
    from tsforecast.insight._sequences import sequences
    from tsforecast.insight.memory import _answer

    model = tsf.PositionEstimator(
        target="close", lookback=20, hidden_sizes=(4,), spans=(1, 5), macd=((4, 12),),
        training=FEW, random_state=0,
    )  # fmt: skip
    model = fitted(model, prices[["close"]])
    torch.nn.init.normal_(
        model.networks_[0].decoder.weight, std=0.3, generator=torch.Generator().manual_seed(0)
    )
    block = next(sequences(model, prices[["close"]]))
    _, rows, _ = model._read(prices[["close"]])
    answer, _ = _answer(block, None, 0, 1)
    weight = answer.detach().numpy() * model._largest(rows, rows.layout.stops - 1)
    np.testing.assert_allclose(model.predict(prices[["close"]])["forecast"], weight, atol=1e-6)
    assert tsf.gates(model, prices[["close"]]).shape == (60, 24)
    assert tsf.memory_profile(model, prices[["close"]])["gradient"].iloc[0] > 0
    with pytest.raises(ValueError, match="'ahead'.*at most the horizon, 1"):
        tsf.memory_profile(model, prices[["close"]], ahead=2)
