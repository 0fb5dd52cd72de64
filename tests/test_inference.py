"""What networks remember: a sweep and flattened windows equal one window at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import layout_with, make_model, make_panel, make_rows, numbers

from tsforecast.data.features import Features
from tsforecast.data.windows import Rows, Shape
from tsforecast.nn import inference
from tsforecast.nn.cells import CELLS
from tsforecast.nn.heads import Point
from tsforecast.nn.inference import Known, remembered, remembered_at_ends
from tsforecast.nn.network import ForecastNetwork, InputScale

FEATURES = Features(n_columns=1, n_targets=1)
LOOKBACK = 5
every_cell = pytest.mark.parametrize("cell", CELLS)


def make_network(cell="lstm", *, seed=0) -> ForecastNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ForecastNetwork(
            features=FEATURES,
            scale=InputScale(np.full(FEATURES.size, 0.1), np.full(FEATURES.size, 0.9)),
            static=InputScale(np.zeros(1), np.ones(1)),
            n_codes=(2,),
            season=0,
            cell=cell,
            hidden_sizes=(4, 3),
            dropout=0.0,
            layer_norm=True,
            init="keras",
            max_steps=8,
            head=Point(),
            error_scale=np.ones((1, 2)),
            start=torch.zeros(1, 2, 0),
        )
    return network.eval()


def stretches_of(lengths, gaps, warm_up, *, seed=0) -> Rows:
    """Series with random features, cut after the rows named in `gaps`."""
    layout = layout_with(lengths)
    rng = np.random.default_rng(seed)
    begins = np.repeat(np.minimum(layout.starts + warm_up, layout.stops), lengths)
    cut = np.where(np.isin(np.arange(layout.n_rows) - 1, gaps), np.arange(layout.n_rows), 0)
    cut[layout.starts] = layout.starts
    n = len(lengths)
    return make_rows(
        layout,
        rng.normal(size=layout.n_rows),
        inputs=torch.from_numpy(rng.normal(size=(layout.n_rows, FEATURES.size))).float(),
        first=np.maximum(np.maximum.accumulate(cut), begins),
        static=torch.from_numpy(rng.normal(size=(n, 1))).float(),
        codes=torch.from_numpy(rng.integers(0, 3, size=(n, 1))),
    )


def one_by_one(network, rows: Rows, origins, *, context: str):
    """The readable twin: each origin's rows through the cells from a zero state."""
    told = []
    for origin in origins:
        first = int(rows.first[origin])
        at = np.arange(first, origin + 1)
        if context == "window":
            at = np.maximum(np.arange(origin - LOOKBACK + 1, origin + 1), first)
        series = int(rows.series_of(np.array([origin]))[0])
        x, static, codes = rows.inputs[at][None], rows.static[[series]], rows.codes[[series]]
        with torch.inference_mode():
            told.append(network.encode(x, static, codes)[0][0, -1])
    return torch.stack(told)


@st.composite
def tasks(draw):
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    total = sum(lengths)
    gaps = draw(st.lists(st.integers(0, total - 1), max_size=3))
    rows = stretches_of(lengths, gaps, draw(st.integers(0, 2)), seed=draw(st.integers(0, 99)))
    possible = np.flatnonzero(rows.first <= np.arange(total))
    chosen = np.random.default_rng(draw(st.integers(0, 99))).permutation(possible)
    return rows, chosen[: draw(st.integers(1, max(1, len(possible))))]


@every_cell
@pytest.mark.parametrize("context", ["window", "history"])
@pytest.mark.parametrize("steps", [(1, 3), (16, 128)], ids=["many pieces", "one piece"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(task=tasks())
def test_all_origins_at_once_equal_one_by_one(cell, context, steps, task):
    rows, origins = task
    if len(origins) == 0:
        return
    networks = [make_network(cell), make_network(cell, seed=1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "_LEAST_STEPS", steps[0])
        patch.setattr(inference, "_MOST_STEPS", steps[1])
        told = remembered(networks, rows, origins, Shape(context, LOOKBACK, 2))
    for network, states in zip(networks, told):
        expected = one_by_one(network, rows, origins, context=context)
        torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-6)


@every_cell
def test_ends_are_remembered_so_that_a_further_row_is_one_step(cell):
    network = make_network(cell)
    rows = stretches_of([30, 7, 1, 19], [10, 33], 1)
    (state,) = remembered_at_ends([network], rows)
    ends = rows.layout.stops - 1
    some = np.flatnonzero(rows.first[ends] <= ends)
    assert some.tolist() == [0, 1, 3]  # of the one row of series 2 nothing is left
    parts = [part for layer in state for part in (layer if cell == "lstm" else (layer,))]
    assert all(not part[:, 2].any() for part in parts)
    more = torch.randn(4, 1, FEATURES.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        stepped = network.encode(more, rows.static, rows.codes, state)[0][:, 0]
        for s in some:
            x = torch.cat([rows.inputs[rows.first[ends[s]] : ends[s] + 1], more[s]])[None]
            whole = network.encode(x, rows.static[[s]], rows.codes[[s]])[0][0, -1]
            torch.testing.assert_close(stepped[s], whole, rtol=1e-5, atol=1e-6)


def test_the_number_of_threads_does_not_change_what_is_remembered():
    network = make_network()
    rows = stretches_of([60] * 300, [], 0)
    origins = np.flatnonzero(np.arange(rows.layout.n_rows) % 7 == 6)
    before = torch.get_num_threads()
    try:
        for context in ("window", "history"):
            said = []
            for n in (1, 2, 3):
                torch.set_num_threads(n)
                said.append(remembered([network], rows, origins, Shape(context, LOOKBACK, 2))[0])
                assert torch.get_num_threads() == n
            assert torch.equal(said[0], said[1]) and torch.equal(said[0], said[2])
    finally:
        torch.set_num_threads(before)


def test_a_sweep_runs_over_few_rows_more_than_there_are():
    """Series of very different length are swept side by side without wasted steps."""
    network = make_network()
    lengths = [2000, 700, *range(30, 330)]
    rows = stretches_of(lengths, [], 0)
    swept = []
    network.cells.register_forward_pre_hook(lambda _, given: swept.append(given[0].shape[:2]))
    ends = rows.layout.stops - 1
    remembered([network], rows, ends, Shape("history", LOOKBACK, 2))
    assert sum(b * t for b, t in swept) < 1.1 * sum(lengths)
    assert max(b * t for b, t in swept) <= 4096


def test_a_sweep_ends_at_the_last_origin_of_each_series():
    network = make_network()
    rows = stretches_of([500, 500], [], 0)
    swept = []
    network.cells.register_forward_pre_hook(lambda _, given: swept.append(given[0].shape[:2]))
    remembered([network], rows, np.array([9, 499 + 20]), Shape("history", LOOKBACK, 2))
    assert sum(b * t for b, t in swept) <= 2 * 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("context", ["window", "history"])
def test_blocks_of_a_small_working_memory_give_the_same_forecasts(context):
    panel = make_panel(12, 60, missing=0.1)
    model = make_model(context=context, n_members=2, head="gaussian").fit(panel)
    whole = model.forecast_origins(panel)
    with sklearn.config_context(working_memory=1):
        parts = model.forecast_origins(panel)
    np.testing.assert_allclose(numbers(parts), numbers(whole), rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("context", ["window", "history"])
def test_a_working_memory_smaller_than_one_chunk_is_refused_with_the_need(context):
    panel = make_panel(2, 60)
    model = make_model(context=context, hidden_sizes=(64,)).fit(panel)
    message = "'working_memory': expected at least 1 MiB, the need of {}.*set_config"
    for megabytes, what in ((0.001, "one forecast"), (0.01, "60 origins of one series")):
        with (
            sklearn.config_context(working_memory=megabytes),
            pytest.raises(ValueError, match=message.format(what)),
        ):
            model.forecast_origins(panel)


def test_predict_needs_no_lightning(tmp_path):
    import pickle
    import subprocess
    import sys

    panel = make_panel(2, 60)
    (tmp_path / "model").write_bytes(pickle.dumps((make_model().fit(panel), panel)))
    code = (
        "import pickle, sys; model, panel = pickle.load(open('model', 'rb'));"
        "model.predict(panel); model.forecast_origins(panel);"
        "assert not any('lightning' in name for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_forecast_without_a_panel_comes_from_the_state_that_was_kept():
    """In the context of the whole history a tail of rows would not do."""
    panel = make_panel(3, 60, missing=0.1)
    model = make_model(context="history", past=["x"]).fit(panel)
    assert model._tail.layout.n_rows == 3
    np.testing.assert_allclose(numbers(model.predict()), numbers(model.predict(panel)), rtol=1e-6)
    without = replace(model._tail, ends=None)
    short, whole = (
        model._members.forecast(tail, np.arange(3))[0] for tail in (without, model._tail)
    )
    assert not np.allclose(short, whole)


@pytest.mark.filterwarnings("ignore")
@every_cell
def test_a_sweep_goes_on_from_the_rows_of_fit_and_says_the_same(cell, monkeypatch):
    panel = make_panel(4, 60, missing=0.1)
    late = panel.groupby(level=0).cumcount() >= np.repeat([40, 60, 35, 50], 60)
    model = make_model(context="history", cell=cell, n_members=2, past=["x"], max_gap="9D")
    model.fit(panel[~late])
    altered = panel.copy()
    altered.iloc[3, 0] += 1.0  # a row of s0 that fit has seen in another way
    longer = pd.concat([panel.loc[["s3"]].rename(index={"s3": "new"}, level=0), panel])
    shorter = panel.drop(panel.index[60 * 2 + 35 : 60 * 2 + 50])  # a gap behind the rows of fit
    for rows in (panel, altered, longer, shorter):
        going_on = model.forecast_origins(rows), model.predict(rows)
        with monkeypatch.context() as patch:
            patch.setattr(model._members, "known", None)
            anew = model.forecast_origins(rows), model.predict(rows)
        for one, other in zip(going_on, anew):
            np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-6)
    swept = []
    model.networks_[0].cells.register_forward_pre_hook(
        lambda _, given: swept.append(given[0].shape[:2])
    )
    model.predict(panel)
    assert sum(b * t for b, t in swept) < 3 * 25
    swept.clear()
    model.predict(altered)
    assert sum(b * t for b, t in swept) >= 60  # all rows of s0


def test_beginnings_are_known_again_by_every_number_in_them():
    network = make_network()
    rows = stretches_of([6, 4], [], 1)
    known = Known.of([network], rows)
    assert known.found([network], rows).place.tolist() == [0, 1]
    inputs = rows.inputs.clone()
    for at in np.ndindex(6, FEATURES.size):
        inputs[at] += 1e-3
        assert known.found([network], replace(rows, inputs=inputs)).place.tolist() == [-1, 1]
        inputs[at] = rows.inputs[at]
    assert known.found([make_network(seed=1)], rows).place.tolist() == [-1, -1]
    assert known.found([network], replace(rows, static=rows.static + 1)).place.tolist() == [-1, -1]
    assert known.found([network], replace(rows, codes=rows.codes + 1)).place.tolist() == [-1, -1]
    assert known.found([network], replace(rows, first=rows.first * 0)).place.tolist() == [-1, -1]
    swapped = inputs[[1, 0, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert known.found([network], replace(rows, inputs=swapped)).place.tolist() == [-1, 1]
