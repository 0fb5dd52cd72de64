"""An ONNX file says, through onnxruntime, what the networks say in torch."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.exceptions import NotFittedError

import tsforecast as tsf
from tsforecast.estimators.forecaster import RecurrentForecaster
from tsforecast.nn.heads import as_head
from tsforecast.serving.export import onnx_inputs

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

H = 3
HEADS = ["quantiles", "point", "gaussian", "studentt", "poisson", "negbinomial", "bernoulli"]


def make_panel(*, n_series: int = 4, n_rows: int = 60) -> pd.DataFrame:
    """Two targets y and v, a column w, hours known ahead, size and kind of the series."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [[f"s{i}" for i in range(n_series)], range(n_rows)], names=["series", "time"]
    )
    values = rng.normal(size=(n_series, n_rows, 3)).cumsum(axis=1).reshape(-1, 3) + 50
    values[rng.random(values.shape) < 0.05] = np.nan
    panel = pd.DataFrame(values, index=index, columns=["y", "v", "w"])
    number = np.repeat(np.arange(n_series), n_rows)
    panel["hour"] = np.tile(np.arange(n_rows) % 6, n_series)
    panel["size"] = number * 1.5
    panel["kind"] = pd.Categorical(np.array(list("abab"))[number % 4])
    return panel


def fitted(panel: pd.DataFrame, **options: Any) -> RecurrentForecaster:
    """A model whose every weight is random: nothing stands at zero as it does untrained."""
    given = {"target": "y", "horizon": H, "lookback": 8, "hidden_sizes": (6, 4), "random_state": 0}
    training = tsf.Training(max_epochs=1, validation=None)
    model = RecurrentForecaster(**(given | {"training": training} | options)).fit(panel)
    torch.manual_seed(1)
    with torch.no_grad():
        for network in model.networks_:
            for weight in network.parameters():
                weight.normal_(std=0.4)
    return model


def run(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    assert [entry.name for entry in session.get_inputs()] == list(inputs)
    return dict(zip(names, session.run(names, inputs)))


def in_torch(model: RecurrentForecaster, panel: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Forecast and quantiles in the transformed unit, from the windows that the model cuts."""
    rows = model._prepared(panel)
    origins = rows.layout.stops - 1 - (H if model.future else 0)
    shape, points, levels = model._members.shape, [], []
    if model.context == "history":
        shape = replace(shape, lookback=len(panel))  # all rows
    for network in model.networks_:
        with torch.inference_mode():
            point, quantiles = network.forecast(rows.windows(origins, shape, origins=1))
        points.append(point.numpy())
        levels.append(quantiles.numpy())
    base = np.broadcast_to(rows.base[origins], points[0].shape)
    unit = rows.unit[origins][:, :, None] * model.networks_[0].error_scale.numpy()
    point, quantiles = np.mean(points, axis=0), np.mean(levels, axis=0)
    return base + unit * point, base[..., None] + unit[..., None] * quantiles


def assert_parity(model: RecurrentForecaster, panel: pd.DataFrame, path: Path) -> None:
    tsf.export_onnx(model, path)
    found = run(path, onnx_inputs(model, panel))
    forecast, quantiles = in_torch(model, panel)
    np.testing.assert_allclose(found["forecast"], forecast, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["quantiles"], quantiles, rtol=1e-5, atol=1e-5)
    assert np.ptp(forecast - forecast.mean(axis=0)) > 0.01  # every window its own


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("context", ["window", "history"])
def test_the_file_says_what_torch_says(cell, context, tmp_path):
    panel = make_panel()
    model = fitted(
        panel,
        cell=cell,
        context=context,
        past=["w"],
        future=["hour"],
        static=["size", "kind"],
        season=6,
        normalize="ewm",
        layer_norm=True,
    )
    assert_parity(model, panel, tmp_path / "model.onnx")


def test_the_simplest_model_takes_the_fewest_inputs(tmp_path):
    panel = make_panel()[["y"]]
    model = fitted(panel, transform=tsf.Log())
    assert list(onnx_inputs(model, panel)) == ["x", "base", "unit"]
    assert_parity(model, panel, tmp_path / "model.onnx")


def test_members_are_averaged_and_targets_stand_beside_each_other(tmp_path):
    panel = make_panel()
    model = fitted(panel, target=["y", "v"], n_members=3, season=(4, 6), baseline="seasonal")
    assert_parity(model, panel, tmp_path / "model.onnx")


@pytest.mark.parametrize("context", ["window", "history"])
def test_quantiles_back_through_the_transform_are_those_of_predict(context, tmp_path):
    panel = make_panel()[["y"]]
    model = fitted(panel, transform=tsf.Log(), context=context)
    tsf.export_onnx(model, tmp_path / "model.onnx")
    found = np.exp(run(tmp_path / "model.onnx", onnx_inputs(model, panel))["quantiles"])
    expected = model.predict(panel).filter(like="q0.").to_numpy().reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_has_its_outputs(head, tmp_path):
    panel = make_panel()[["y"]].round()
    options = {}
    if head == "bernoulli":
        panel, options = (
            panel.ge(panel.median()).astype(float).where(panel.notna()),
            {"baseline": None},
        )
    model = fitted(panel, head=head, **options)
    tsf.export_onnx(model, tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", onnx_inputs(model, panel))
    forecast, quantiles = in_torch(model, panel)
    np.testing.assert_allclose(found.pop("forecast"), forecast, rtol=1e-5, atol=1e-5)
    levels = np.array(as_head(head).levels)
    if head == "studentt":
        score = stats.t.ppf(levels, found.pop("degrees")[..., None])
        found["quantiles"] = forecast[..., None] + found.pop("scale")[..., None] * score
    elif head == "negbinomial":
        r = found.pop("dispersion")[..., None]
        found["quantiles"] = stats.nbinom.ppf(levels, r, r / (r + forecast[..., None]))
    elif head in ("poisson", "point", "bernoulli"):
        assert found == {}
        return
    np.testing.assert_allclose(found.pop("quantiles"), quantiles, rtol=1e-4, atol=1e-4)
    assert found == {}


def test_centres_that_do_not_move_stay_with_the_baseline(tmp_path):
    panel = make_panel()[["y"]]
    model = fitted(panel, head=tsf.Gaussian(moves=False))
    tsf.export_onnx(model, tmp_path / "model.onnx")
    inputs = onnx_inputs(model, panel)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", inputs)["forecast"], inputs["base"])


def test_windows_may_be_one_or_many_and_of_any_length(tmp_path):
    panel = make_panel()[["y"]]
    model = fitted(panel)
    tsf.export_onnx(model, tmp_path / "model.onnx")
    inputs = onnx_inputs(model, panel)
    together = run(tmp_path / "model.onnx", inputs)["quantiles"]
    for i in range(4):
        alone = run(tmp_path / "model.onnx", {name: v[[i]] for name, v in inputs.items()})
        np.testing.assert_allclose(alone["quantiles"][0], together[i], rtol=1e-6)
    short = inputs | {"x": inputs["x"][:, -1:]}
    assert run(tmp_path / "model.onnx", short)["quantiles"].shape == together.shape


def test_the_file_tells_what_it_is(tmp_path):
    panel = make_panel()
    model = fitted(panel, past=["w"], static=["kind"], season=6, normalize="ewm")
    tsf.export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    texts = session.get_modelmeta().custom_metadata_map
    told = {name: json.loads(text) for name, text in texts.items()}
    assert told["targets"] == ["y"]
    assert told["columns"] == ["y", "w"]
    assert told["static"] == ["kind"]
    assert (told["horizon"], told["lookback"], told["context"]) == (H, 8, "window")
    assert told["seasons"] == [6]
    assert told["levels"] == list(model.networks_[0].head.levels)
    np.testing.assert_allclose(told["fill"], panel[["y", "w"]].mean())
    assert told["prior"] == model._preparation.prior.tolist()


def test_series_of_different_length_have_no_common_window_in_history_context():
    panel = make_panel()[["y"]]
    model = fitted(panel, context="history")
    uneven = panel.drop(("s1", 0))
    with pytest.raises(ValueError, match=r"'panel': expected series of one length.*\[59, 60\]"):
        onnx_inputs(model, uneven)


def test_a_series_shorter_than_what_is_known_ahead_is_refused_by_name():
    panel = make_panel()
    model = fitted(panel, past=["w"], future=["hour"])
    names = panel.index.unique(0)
    short = pd.concat([panel.loc[[names[0]]], panel.loc[[names[1]]].iloc[:3]])
    with pytest.raises(
        ValueError, match="series 's1'.*at least 4 rows.*found 3; too short are 1 of 2"
    ):
        tsf.onnx_inputs(model, short)


def test_mixed_distributions_are_refused():
    model = fitted(make_panel()[["y"]], head="gaussian", n_members=2)
    with pytest.raises(ValueError, match="one member, or a head of points, prob.*found '2"):
        tsf.export_onnx(model, "never.onnx")


def test_other_estimators_and_unfitted_models_are_refused():
    with pytest.raises(ValueError, match=r"'model': expected a RecurrentForecaster, found Naive"):
        tsf.export_onnx(tsf.Naive(), "never.onnx")
    with pytest.raises(NotFittedError):
        tsf.export_onnx(RecurrentForecaster(), "never.onnx")


def test_without_onnx_the_error_says_how_to_install_it(monkeypatch):
    model = fitted(make_panel()[["y"]])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "tsforecast\[onnx\]"'):
        tsf.export_onnx(model, "never.onnx")
