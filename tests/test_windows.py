"""Training windows: every origin once, features that look back only, memory of one copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tsforecast.data.panel import Layout, as_panel, layout_of
from tsforecast.data.windows import (
    Rows,
    TrainingWindows,
    eligible_origins,
    feature_rows,
    plan_windows,
)
from tsforecast.nn.cells import CELLS
from tsforecast.nn.heads import Quantiles
from tsforecast.nn.network import ForecastNetwork, input_scale

NAN = np.nan
Bools = npt.NDArray[np.bool_]


def layout_with(lengths: list[int]) -> Layout:
    time = np.concatenate([np.arange(n) for n in lengths])
    return Layout(
        pd.Index(range(len(lengths))),
        pd.Index(time),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def numbered(lengths: list[int], warm_up: int = 0) -> Rows:
    """Rows that show their own number: the target and input 0 of row i are i, the base is 0."""
    layout = layout_with(lengths)
    number = np.arange(layout.n_rows, dtype=np.float64)
    return Rows(
        layout=layout,
        inputs=torch.from_numpy(np.stack([number, -number], axis=1)).float(),
        target=number,
        base=np.zeros((layout.n_rows, 1)),
        first=np.minimum(layout.starts + warm_up, layout.stops),
    )


def learnable(rows: Rows, lookback: int, horizon: int) -> Bools:
    """Origins with enough context and their whole horizon inside their series."""
    eligible = np.zeros(rows.layout.n_rows, dtype=bool)
    for start, stop in zip(rows.first, rows.layout.stops):
        for row in range(start, stop):
            eligible[row] = row - start + 1 >= lookback and row + horizon < stop
    return eligible


def windows_on(rows: Rows, eligible: Bools, **options: Any) -> TrainingWindows:
    chosen: dict[str, Any] = {
        "lookback": 3,
        "horizon": 2,
        "origins": 4,
        "batch_size": 3,
        "scale": np.ones(options.get("horizon", 2)),
        "rng": np.random.default_rng(0),
    }
    return TrainingWindows(rows, eligible, **(chosen | options))


def origins_in(errors: Tensor) -> Tensor:
    """The origins of a batch on numbered rows (B, O), NaN where there is no loss."""
    return errors[..., 0] - 1


# ----------------------------------------------------------------------------- an epoch of windows


@st.composite
def tasks(draw: Any) -> tuple[Rows, Bools, dict[str, Any]]:
    """Series of any length, some origins struck out, and any shape of windows."""
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=4))
    options = {
        "lookback": draw(st.integers(1, 6)),
        "horizon": draw(st.integers(1, 4)),
        "origins": draw(st.integers(1, 9)),
        "batch_size": draw(st.integers(1, 5)),
        "rng": np.random.default_rng(draw(st.integers(0, 99))),
    }
    rows = numbered(lengths, warm_up=draw(st.integers(0, 3)))
    eligible = learnable(rows, options["lookback"], options["horizon"])
    struck = np.random.default_rng(draw(st.integers(0, 99))).random(len(eligible)) < 0.2
    return rows, eligible & ~struck, options


@settings(max_examples=150, deadline=None)
@given(tasks())
def test_an_epoch_visits_every_eligible_origin_exactly_once(task):
    rows, eligible, options = task
    windows = windows_on(rows, eligible, **options)
    for _ in range(2):  # two epochs, two phases
        batches = list(windows)
        visited = [origins_in(errors)[~errors[..., 0].isnan()] for _, errors in batches]
        visited = torch.cat(visited).tolist() if visited else []
        assert sorted(visited) == np.flatnonzero(eligible).tolist()
        assert len(batches) <= len(windows)


@settings(max_examples=100, deadline=None)
@given(tasks())
def test_each_origin_sees_its_own_past_and_its_own_future(task):
    rows, eligible, options = task
    lookback, horizon = options["lookback"], options["horizon"]
    for x, errors in windows_on(rows, eligible, **options):
        assert x.shape == (len(errors), lookback + options["origins"] - 1, 2)
        assert errors.shape == (len(x), options["origins"], horizon)
        for window, o in (~errors[..., 0].isnan()).nonzero().tolist():
            origin = int(origins_in(errors)[window, o])
            past = x[window, o : o + lookback, 0].tolist()
            assert past == list(range(origin - lookback + 1, origin + 1))
            assert errors[window, o].tolist() == list(range(origin + 1, origin + horizon + 1))


def test_one_origin_per_window_is_the_classical_window():
    rows = numbered([9, 7])
    eligible = learnable(rows, 3, 2)
    batches = list(windows_on(rows, eligible, origins=1, batch_size=100))
    assert len(batches) == 1
    x, errors = batches[0]
    order = np.argsort(origins_in(errors)[:, 0].numpy())
    origins = np.flatnonzero(eligible)
    expected = [rows.inputs[origin - 2 : origin + 1] for origin in origins]
    torch.testing.assert_close(x[order], torch.stack(expected), rtol=0, atol=0)
    ahead = [rows.target[origin + 1 : origin + 3] for origin in origins]
    np.testing.assert_array_equal(errors[order, 0], np.stack(ahead))


def test_origins_that_are_padded_or_not_eligible_are_nan():
    rows = numbered([12, 12])
    eligible = learnable(rows, 3, 2)
    eligible[5] = False
    windows = windows_on(rows, eligible)
    _, errors = windows.batch(np.array([4, 8, 22]), np.array([4, 2, 1]))
    expected = [[4, NAN, 6, 7], [8, 9, NAN, NAN], [NAN, NAN, NAN, NAN]]
    np.testing.assert_array_equal(origins_in(errors), expected)
    assert (errors.isnan().all(-1) == errors[..., 0].isnan()).all()


def test_errors_come_in_units_of_their_scale_and_missing_targets_stay_missing():
    rows = numbered([12])
    rows.target[6] = NAN
    windows = windows_on(rows, learnable(rows, 3, 2), scale=np.array([2.0, 4.0]))
    _, errors = windows.batch(np.array([4]), np.array([4]))
    np.testing.assert_array_equal(errors[0], [[2.5, NAN], [NAN, 1.75], [3.5, 2.0], [4.0, 2.25]])


def test_phases_change_from_epoch_to_epoch():
    rows = numbered([60] * 5)
    windows = windows_on(rows, learnable(rows, 3, 2), origins=8)
    first, second = windows.runs(), windows.runs()
    assert set(first[0]) != set(second[0])
    for _, lengths in (first, second):
        assert lengths.max() == 8 and lengths.min() >= 1
        assert lengths.sum() == windows.eligible.sum()


def test_the_same_seed_gives_the_same_batches_and_another_seed_others():
    rows = numbered([40, 30, 20])
    eligible = learnable(rows, 3, 2)

    def three_epochs(seed: int) -> list[Tensor]:
        windows = windows_on(rows, eligible, rng=np.random.default_rng(seed))
        return [part for _ in range(3) for batch in windows for part in batch]

    one, two, other = three_epochs(1), three_epochs(1), three_epochs(2)
    assert len(one) == len(two)
    for a, b in zip(one, two):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(one, other))


def test_without_an_eligible_origin_there_are_no_batches():
    rows = numbered([5, 4])
    windows = windows_on(rows, np.zeros(9, dtype=bool))
    assert len(windows) == 0
    assert list(windows) == []


def test_memory_grows_with_the_rows_and_not_with_the_lookback():
    rows = numbered([300, 200])
    n_features, horizon = rows.inputs.shape[1], 2
    for lookback in (2, 100):
        windows = windows_on(rows, learnable(rows, lookback, horizon), lookback=lookback)
        for _ in windows:
            pass
        held = [*vars(rows).values(), *vars(windows).values(), *vars(rows.layout).values()]
        arrays = [item for item in held if isinstance(item, (np.ndarray, Tensor, pd.Index))]
        sizes = [int(np.prod(item.shape)) for item in arrays]
        assert len(sizes) >= 8
        assert max(sizes) <= 500 * max(n_features, horizon)


# ---------------------------------------------------------------------------------- gather, errors


def test_gather_is_slicing():
    rows = numbered([9, 7])
    starts = np.array([5, 0, 11])
    expected = torch.stack([rows.inputs[start : start + 4] for start in starts])
    assert torch.equal(rows.gather(starts, 4), expected)


def test_gather_repeats_the_last_row_beyond_the_end():
    rows = numbered([9, 7])
    assert rows.gather(np.array([13]), 5)[0, :, 0].tolist() == [13, 14, 15, 15, 15]


@pytest.mark.parametrize("width", [1, 3])
def test_errors_are_target_minus_base_at_the_next_rows(width):
    rng = np.random.default_rng(0)
    layout = layout_with([6, 5])
    target, base = rng.normal(size=11), rng.normal(size=(11, width))
    target[[2, 7]] = NAN
    rows = Rows(layout, torch.zeros(11, 1), target, base, layout.starts)
    origins = np.array([[0, 1, 2], [6, 9, 10]])
    expected = np.full((2, 3, 3), NAN)
    for at, origin in np.ndenumerate(origins):
        for h in range(3):
            if origin + h + 1 < 11:
                expected[(*at, h)] = target[origin + h + 1] - base[origin, h % width]
    np.testing.assert_array_equal(rows.errors(origins, 3), expected)


# ----------------------------------------------------------------------------------- head and tail


def kept(rows: Rows, part: Rows) -> list[int]:
    """Numbers of the rows in `part`, after a look that all its arrays agree."""
    numbers = part.target.astype(int)
    assert torch.equal(part.inputs, rows.inputs[numbers])
    np.testing.assert_array_equal(part.base, rows.base[numbers])
    np.testing.assert_array_equal(part.layout.time, rows.layout.time[numbers])
    assert part.layout.n_rows == len(numbers) == len(part.inputs)
    assert len(part.first) == part.layout.n_series
    return numbers.tolist()


def test_tail_keeps_the_last_rows_of_everything_and_what_is_left_of_the_warm_up():
    rows = numbered([6, 2, 5], warm_up=3)
    assert rows.first.tolist() == [3, 8, 11]
    part = rows.tail(4)
    assert kept(rows, part) == [2, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    # two rows of the first series are gone, so one warm-up row is left; the second is all warm-up
    assert part.first.tolist() == [1, 6, 8]
    assert part.tail(1).first.tolist() == [0, 2, 2]


def test_head_keeps_the_first_rows_of_everything_and_the_warm_up():
    rows = numbered([6, 2, 5], warm_up=3)
    part = rows.head(np.array([5, 2, 2]))
    assert kept(rows, part) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert part.first.tolist() == [3, 7, 9]


def test_head_drops_series_of_which_nothing_is_kept():
    rows = numbered([6, 2, 5], warm_up=1)
    part = rows.head(np.array([3, 0, 2]))
    assert kept(rows, part) == [0, 1, 2, 8, 9]
    assert part.layout.names() == [0, 2]
    assert part.first.tolist() == [1, 4]
    part = rows.head(np.array([3, 2, 0]))
    assert part.layout.names() == [0, 1]
    assert eligible_origins(part, 2).tolist() == [False, False, True, False, False]


# -------------------------------------------------------------------------------- eligible origins


def test_an_origin_needs_its_context_behind_the_warm_up_rows_of_its_series():
    rows = numbered([6, 2, 4], warm_up=1)
    expected = [False] * 3 + [True] * 3 + [False] * 2 + [False] * 3 + [True]
    assert eligible_origins(rows, 3).tolist() == expected
    assert eligible_origins(numbered([3, 1]), 1).all()
    assert not eligible_origins(numbered([3, 2], warm_up=3), 1).any()


def test_an_origin_needs_a_baseline_for_every_step():
    layout = layout_with([5])
    base = np.zeros((5, 2))
    base[1, 1], base[3, 0] = NAN, np.inf
    rows = Rows(layout, torch.zeros(5, 1), np.zeros(5), base, layout.starts)
    assert eligible_origins(rows, 1).tolist() == [True, False, True, False, True]


# ------------------------------------------------------------------------------------ feature rows


def clinical_panel(seed: int = 0) -> pd.DataFrame:
    """Three stays at uneven times, half of the values missing, one column unknown at first."""
    rng = np.random.default_rng(seed)
    pairs = [
        (stay, pd.Timestamp("2024-03-01") + pd.Timedelta(minutes=int(minute)))
        for stay, n in (("a", 20), ("b", 1), ("c", 15))
        for minute in np.cumsum(rng.integers(1, 200, size=n))
    ]
    values = rng.normal(80, 20, size=(len(pairs), 3))
    values[rng.random(values.shape) < 0.5] = NAN
    values[:5, 0] = NAN
    index = pd.MultiIndex.from_tuples(pairs, names=["stay", "time"])
    return as_panel(pd.DataFrame(values, index=index, columns=["hr", "map", "spo2"]))


FILL = np.array([1.0, 2.0, 3.0])


def features_in_pandas(panel: pd.DataFrame) -> pd.DataFrame:
    """Values, observed, hours since observed, hours since the last row: the plain version."""
    stay = panel.index.get_level_values(0)
    time = panel.index.get_level_values(1).to_series(index=panel.index)
    values = panel.groupby(stay).ffill().fillna(dict(zip(panel.columns, FILL)))
    observed = panel.notna().astype(float)
    start = time.groupby(stay).transform("min")
    ages = pd.DataFrame(
        {
            name: time - time.where(panel[name].notna()).groupby(stay).ffill().fillna(start)
            for name in panel
        }
    )
    elapsed = time.groupby(stay).diff().fillna(pd.Timedelta(0)).rename("elapsed")
    hour = pd.Timedelta(hours=1)
    return pd.concat([values, observed, ages / hour, elapsed / hour], axis=1)


def test_features_are_values_observed_ages_and_time_since_the_last_row():
    panel = clinical_panel()
    features = feature_rows(panel.to_numpy(), layout_of(panel), FILL)
    assert features.dtype == np.float32
    assert features.shape == (len(panel), 3 * 3 + 1)
    np.testing.assert_allclose(features, features_in_pandas(panel), rtol=1e-6)


def test_features_of_whole_steps_count_steps():
    panel = as_panel(pd.DataFrame({"y": [NAN, 5.0, NAN, NAN]}, index=[0, 1, 2, 5]))
    features = feature_rows(panel.to_numpy(), layout_of(panel), np.array([9.0]))
    expected = [[9, 0, 0, 0], [5, 1, 0, 1], [5, 0, 1, 1], [5, 0, 4, 3]]
    np.testing.assert_array_equal(features, expected)


def altered_after(panel: pd.DataFrame, row: int) -> pd.DataFrame:
    """The panel with other values and another pattern of missing ones behind `row`."""
    rng = np.random.default_rng(row)
    altered = panel.copy()
    other = rng.normal(-5, 100, size=altered.iloc[row + 1 :].shape)
    other[rng.random(other.shape) < 0.3] = NAN
    altered.iloc[row + 1 :] = other
    return altered


def test_features_up_to_a_row_do_not_depend_on_any_row_after_it():
    panel = clinical_panel()
    layout = layout_of(panel)
    features = feature_rows(panel.to_numpy(), layout, FILL)
    for row in range(len(panel) - 1):
        other = feature_rows(altered_after(panel, row).to_numpy(), layout, FILL)
        np.testing.assert_array_equal(other[: row + 1], features[: row + 1])
        assert not np.array_equal(other[row + 1 :], features[row + 1 :])


def test_features_of_a_series_do_not_depend_on_the_others():
    panel = clinical_panel()
    features = feature_rows(panel.to_numpy(), layout_of(panel), FILL)
    for stay, rows in panel.groupby(level=0).indices.items():
        alone = panel.loc[[stay]]
        np.testing.assert_array_equal(
            feature_rows(alone.to_numpy(), layout_of(alone), FILL), features[rows]
        )


# ------------------------------------------------------------------------------------ plan_windows


@pytest.mark.parametrize(
    "lookback, origins", [(1, 1), (2, 2), (3, 2), (32, 32), (60, 32), (64, 64), (500, 64)]
)
def test_auto_takes_as_many_origins_as_the_context_is_long(lookback, origins):
    found, _ = plan_windows(10**6, origins="auto", lookback=lookback, batch_size=64)
    assert found == origins


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 64), st.integers(1, 256))
def test_batches_shrink_until_an_epoch_has_eight_steps_where_there_are_windows_for_it(
    n_origins, origins, batch_size
):
    kept, planned = plan_windows(n_origins, origins=origins, lookback=9, batch_size=batch_size)
    n_windows = -(-n_origins // origins)
    steps = -(-n_windows // planned)
    assert kept == origins
    assert 1 <= planned <= batch_size
    assert steps >= min(8, n_windows)
    if planned < batch_size:  # one window more would have been too many
        assert n_windows < 8 * (planned + 1)


# ------------------------------------------------------------- many origins in one training window


def trained_shape(rows: Rows, cell: Any, horizon: int) -> ForecastNetwork:
    """A network as the forecaster builds it, all weights drawn so that no zero hides a leak."""
    head = Quantiles((0.1, 0.5, 0.9))
    change = np.diff(rows.inputs[:, 0].double().numpy(), prepend=NAN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ForecastNetwork(
            scale=input_scale(rows.inputs, change),
            cell=cell,
            hidden_sizes=(16, 8),
            dropout=0.3,
            layer_norm=True,
            init="keras",
            max_steps=20,
            head=head,
            error_scale=np.ones(horizon),
            start=head.start(np.random.default_rng(0).normal(size=(50, horizon))),
        )
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.5)
    return network.eval()


def rows_of(panel: pd.DataFrame) -> Rows:
    layout = layout_of(panel)
    features = feature_rows(panel.to_numpy(), layout, FILL)
    base = features[:, :1].astype(np.float64)
    target = panel.iloc[:, 0].to_numpy()
    return Rows(layout, torch.from_numpy(features), target, base, layout.starts)


LOOKBACK, ORIGINS, HORIZON = 4, 6, 3


def batch_of(rows: Rows) -> tuple[Tensor, Tensor]:
    """One training batch with all windows of an epoch."""
    eligible = learnable(rows, LOOKBACK, HORIZON)
    windows = windows_on(
        rows, eligible, lookback=LOOKBACK, horizon=HORIZON, origins=ORIGINS, batch_size=99
    )
    (batch,) = list(windows)
    return batch


@pytest.mark.parametrize("cell", CELLS)
def test_alters_rows_after_an_origin_inside_a_window_and_finds_its_output_unchanged(cell):
    rows = rows_of(clinical_panel())
    x, _ = batch_of(rows)
    network = trained_shape(rows, cell, HORIZON)
    assert len(x) > 3 and x.shape[1] == LOOKBACK + ORIGINS - 1
    with torch.no_grad():
        output = network(x, ORIGINS)  # (B, O, H, Q)
        assert output.shape[1] == ORIGINS
        for j in range(ORIGINS):
            altered = x.clone()
            after = altered[:, LOOKBACK + j :]  # origin j is step LOOKBACK - 1 + j
            after += 30 * torch.randn(after.shape, generator=torch.Generator().manual_seed(j))
            again = network(altered, ORIGINS)
            assert torch.equal(again[:, : j + 1], output[:, : j + 1])
            assert (again[:, j + 1 :] != output[:, j + 1 :]).flatten(2).any(-1).all()


@pytest.mark.parametrize("cell", CELLS)
def test_altered_values_after_an_origin_reach_no_input_and_no_output_at_or_before_it(cell):
    panel = clinical_panel()
    rows = rows_of(panel)
    network = trained_shape(rows, cell, HORIZON)
    x, errors = batch_of(rows)
    origins = row_of_origins(rows)
    for row in (6, 9, 14, 28):
        other, _ = batch_of(rows_of(altered_after(panel, row)))  # the same seed, the same windows
        with torch.no_grad():
            before, after = network(x, ORIGINS), network(other, ORIGINS)
        early = origins <= row
        assert early.any() and not early.all()
        assert torch.equal(after[early], before[early])
        late = (origins > row) & ~errors.isnan().all(-1)
        assert (after[late] != before[late]).flatten(1).any(-1).all()


def row_of_origins(rows: Rows) -> Tensor:
    """The origins of `batch_of(rows)`, (B, O), by way of numbered rows of the same lengths."""
    x, _ = batch_of(numbered(np.diff(rows.layout.offsets).tolist()))
    return x[:, LOOKBACK - 1 :, 0]


@pytest.mark.parametrize("cell", CELLS)
def test_the_first_origin_of_a_window_is_the_classical_window(cell):
    rows = rows_of(clinical_panel())
    x, _ = batch_of(rows)
    network = trained_shape(rows, cell, HORIZON)
    with torch.no_grad():
        many, one = network(x, ORIGINS)[:, :1], network(x[:, :LOOKBACK])
    torch.testing.assert_close(many, one)
