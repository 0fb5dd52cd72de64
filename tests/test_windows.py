"""Training windows: every origin once, features that look back only, memory of one copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import NAN, layout_with, make_rows
from torch import Tensor, nn

from tsforecast.data.features import Features, feature_rows
from tsforecast.data.panel import Layout, as_panel, layout_of, stretches
from tsforecast.data.running import RunningScale
from tsforecast.data.windows import (
    Origins,
    Rows,
    Shape,
    TrainingWindows,
    Windows,
    eligible_origins,
    plan_windows,
)
from tsforecast.nn.cells import CELLS
from tsforecast.nn.heads import Quantiles
from tsforecast.nn.network import ForecastNetwork, InputScale, input_scale

Bools = npt.NDArray[np.bool_]


def numbered(lengths: list[int], warm_up: int = 0) -> Rows:
    """Rows that show their own number: the target and input 0 of row i are i, the base is 0."""
    layout = layout_with(lengths)
    number = np.arange(layout.n_rows, dtype=np.float64)
    begins = np.minimum(layout.starts + warm_up, layout.stops)
    return make_rows(
        layout,
        number,
        inputs=torch.from_numpy(np.stack([number, -number], axis=1)).float(),
        first=np.repeat(begins, lengths),
    )


def learnable(rows: Rows, lookback: int, horizon: int) -> Bools:
    """Origins with enough context and their whole horizon inside their series."""
    eligible = np.zeros(rows.layout.n_rows, dtype=bool)
    for start, stop in zip(rows.layout.starts, rows.layout.stops):
        for row in range(start, stop):
            context = row - rows.first[row] + 1
            eligible[row] = context >= lookback and row + horizon < stop
    return eligible


def windows_on(rows: Rows, eligible: Bools, **options: Any) -> TrainingWindows:
    names = [name for name in options if name in ("context", "lookback", "horizon")]
    shape = {"context": "window", "lookback": 3, "horizon": 2}
    shape |= {name: options.pop(name) for name in names}
    chosen: dict[str, Any] = {
        "shape": Shape(**shape),
        "origins": 4,
        "batch_size": 3,
        "weight": np.ones_like(rows.target),
        "scale": np.ones((1, shape["horizon"])),
        "rng": np.random.default_rng(0),
    }
    return TrainingWindows(rows, eligible, **(chosen | options))


def origins_in(errors: Tensor) -> Tensor:
    """The origins of a batch on numbered rows (B, O), NaN where there is no loss."""
    return errors[:, :, 0, 0] - 1


# ------------------------------------------------------------------------------ an epoch of windows


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
        visited = [origins_in(z)[~origins_in(z).isnan()] for _, z, _ in batches]
        visited = torch.cat(visited).tolist() if visited else []
        assert sorted(visited) == np.flatnonzero(eligible).tolist()
        assert len(batches) <= len(windows)


@settings(max_examples=100, deadline=None)
@given(tasks())
def test_each_origin_sees_its_own_past_and_its_own_future(task):
    rows, eligible, options = task
    lookback, horizon = options["lookback"], options["horizon"]
    for windows, z, weight in windows_on(rows, eligible, **options):
        assert windows.x.shape == (len(z), lookback + options["origins"] - 1, 2)
        assert z.shape == (len(windows.x), options["origins"], 1, horizon)
        assert weight.shape == z.shape[:3]
        for window, o in (~origins_in(z).isnan()).nonzero().tolist():
            origin = int(origins_in(z)[window, o])
            past = windows.x[window, o : o + lookback, 0].tolist()
            assert past == list(range(origin - lookback + 1, origin + 1))
            assert z[window, o, 0].tolist() == list(range(origin + 1, origin + horizon + 1))


def test_one_origin_per_window_is_the_classical_window():
    rows = numbered([9, 7])
    eligible = learnable(rows, 3, 2)
    batches = list(windows_on(rows, eligible, origins=1, batch_size=100))
    assert len(batches) == 1
    windows, z, _ = batches[0]
    order = np.argsort(origins_in(z)[:, 0].numpy())
    origins = np.flatnonzero(eligible)
    expected = [rows.inputs[origin - 2 : origin + 1] for origin in origins]
    torch.testing.assert_close(windows.x[order], torch.stack(expected), rtol=0, atol=0)
    ahead = [rows.target[origin + 1 : origin + 3, 0] for origin in origins]
    np.testing.assert_array_equal(z[order, 0, 0], np.stack(ahead))


def test_origins_that_are_padded_or_not_eligible_are_nan():
    rows = numbered([12, 12])
    eligible = learnable(rows, 3, 2)
    eligible[5] = False
    windows = windows_on(rows, eligible)
    _, z, _ = windows.batch(np.array([4, 8, 22]), np.array([4, 2, 1]))
    expected = [[4, NAN, 6, 7], [8, 9, NAN, NAN], [NAN, NAN, NAN, NAN]]
    np.testing.assert_array_equal(origins_in(z), expected)
    assert (z.isnan().all(-1) == z[..., 0].isnan()).all()


def test_errors_come_in_units_of_their_scale_and_missing_targets_stay_missing():
    rows = numbered([12])
    rows.target[6] = NAN
    windows = windows_on(rows, learnable(rows, 3, 2), scale=np.array([[2.0, 4.0]]))
    _, z, _ = windows.batch(np.array([4]), np.array([4]))
    expected = np.array([[2.5, NAN], [NAN, 1.75], [3.5, 2.0], [4.0, 2.25]])
    np.testing.assert_array_equal(z[0, :, 0], expected)
    rows = replace(rows, unit=np.where(np.arange(12) == 5, 0.5, 1.0)[:, None])
    windows = windows_on(rows, learnable(rows, 3, 2), scale=np.array([[2.0, 4.0]]))
    _, z, _ = windows.batch(np.array([4]), np.array([4]))
    expected[1] *= 2  # of the origin at row 5, in units of its running scale
    np.testing.assert_array_equal(z[0, :, 0], expected)


def test_weights_of_origins_come_with_their_windows():
    rows = numbered([12])
    weight = np.arange(12.0)[:, None] / 10
    windows = windows_on(rows, learnable(rows, 3, 2), weight=weight)
    _, _, given = windows.batch(np.array([4, 2]), np.array([4, 3]))
    np.testing.assert_allclose(given[..., 0], [[0.4, 0.5, 0.6, 0.7], [0.2, 0.3, 0.4, 0.5]])


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
        cuts = [batch for _ in range(3) for batch in windows]
        return [part for cut, z, w in cuts for part in (*cut[:4], *cut.origins, z, w)]

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


# ---------------------------------------------------------------------------------- windows, errors


def cut(rows: Rows, starts: list[int], **options: Any) -> Windows:
    origins = options.pop("origins", 1)
    shape = Shape(**({"context": "window", "lookback": 4, "horizon": 2} | options))
    return rows.windows(np.array(starts), shape, origins=origins)


def test_windows_are_slices_that_end_at_their_origins():
    rows = numbered([9, 7])
    windows = cut(rows, [5, 3, 14])
    expected = torch.stack([rows.inputs[origin - 3 : origin + 1] for origin in (5, 3, 14)])
    assert torch.equal(windows.x, expected)


def test_windows_repeat_the_last_row_beyond_the_end():
    rows = numbered([9, 7])
    assert cut(rows, [14], origins=4).x[0, :, 0].tolist() == [11, 12, 13, 14, 15, 15, 15]


def test_windows_repeat_the_first_row_of_their_stretch_before_it():
    rows = numbered([9, 7], warm_up=2)
    assert cut(rows, [3, 11, 12]).x[..., 0].tolist() == [
        [2, 2, 2, 3],
        [11, 11, 11, 11],
        [11, 11, 11, 12],
    ]
    gap = replace(rows, first=np.where(np.arange(16) < 6, 2, np.where(np.arange(16) < 9, 6, 11)))
    assert cut(gap, [5, 7], origins=2).x[..., 0].tolist() == [[2, 3, 4, 5, 6], [6, 6, 6, 7, 8]]


def test_windows_of_the_whole_history_begin_with_their_stretch():
    rows = numbered([9, 7], warm_up=2)
    windows = cut(rows, [3, 6, 11, 13], origins=2, context="history")
    assert windows.x[..., 0].tolist() == [
        [2, 3, 4, 5, 6],
        [3, 4, 5, 6, 7],
        [11, 12, 13, 14, 15],
        [11, 12, 13, 14, 15],
    ]
    assert windows.at.tolist() == [1, 3, 0, 2]
    assert cut(rows, [3, 6], origins=2).at.tolist() == [3, 3]


def test_windows_show_the_rows_ahead_only_where_asked():
    rows = numbered([9, 7])
    first = slice(0, 1)
    assert cut(rows, [4]).origins.ahead.numel() == 0
    assert cut(rows, [4], origins=2, future=first).origins.ahead[0, :, 0].tolist() == [5, 6, 7]
    assert cut(rows, [1], future=first).origins.ahead[0, :, 0].tolist() == [2, 3]
    assert cut(rows, [14], future=first, horizon=3).origins.ahead.tolist() == [[[15], [15], [15]]]


def test_shape_is_the_last_season_less_the_last_value_in_running_units():
    rng = np.random.default_rng(0)
    level, unit = rng.normal(size=(16, 2)), rng.uniform(0.5, 2, size=(16, 2))
    rows = replace(numbered([9, 7]), target=level, level=level, unit=unit)
    rows = replace(rows, base=np.zeros((16, 2, 1)))
    windows = cut(rows, [4, 1, 9], origins=2, season=3).origins
    assert windows.shape.shape == (3, 2, 2, 3)
    for b, start in enumerate([4, 1, 9]):
        first = 0 if start < 9 else 9
        for o in range(2):
            origin = start + o
            for k in range(2):
                for season_row in range(3):
                    row = max(origin - 2 + season_row, first)  # the series begins there
                    expected = (level[row, k] - level[origin, k]) / unit[origin, k]
                    assert windows.shape[b, o, k, season_row] == pytest.approx(expected, abs=1e-6)


def test_windows_bring_constants_baselines_and_scales_along():
    rng = np.random.default_rng(0)
    base, unit = rng.normal(size=(16, 2, 3)), rng.uniform(0.5, 2, size=(16, 2))
    rows = make_rows(
        layout_with([9, 7]),
        rng.normal(size=(16, 2)),
        base=base,
        unit=unit,
        static=torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        codes=torch.tensor([[5], [6]]),
    )
    windows = cut(rows, [13, 4], origins=2, horizon=3)
    assert windows.static.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert windows.codes.tolist() == [[6], [5]]
    np.testing.assert_allclose(windows.origins.base, base[[[13, 14], [4, 5]]], rtol=1e-6)
    np.testing.assert_allclose(windows.origins.unit, unit[[[13, 14], [4, 5]]], rtol=1e-6)
    flat = replace(rows, base=base[:, :, :1])  # the same at every step
    alone = cut(flat, [13], horizon=3).origins.base[0, 0]
    np.testing.assert_allclose(alone, np.repeat(base[13, :, :1], 3, 1), rtol=1e-6)


@pytest.mark.parametrize("width", [1, 3])
def test_errors_are_target_minus_base_at_the_next_rows_of_the_stretch(width):
    rng = np.random.default_rng(0)
    layout = layout_with([6, 5])
    target, base = rng.normal(size=(11, 2)), rng.normal(size=(11, 2, width))
    target[[2, 7], [0, 1]] = NAN
    first = np.array([0, 0, 0, 3, 3, 3, 6, 6, 6, 6, 6])  # a gap before row 3
    rows = make_rows(layout, target, base=base, first=first)
    origins = np.array([[0, 1, 2, 4], [5, 6, 9, 10]])
    expected = np.full((2, 4, 2, 3), NAN)
    for at, origin in np.ndenumerate(origins):
        for h in range(3):
            row = origin + h + 1
            if row < 11 and first[row] == first[origin]:
                expected[(*at, slice(None), h)] = target[row] - base[origin, :, h % width]
    np.testing.assert_array_equal(rows.errors(origins, 3), expected)
    assert np.isfinite(expected).sum() == 13


def test_errors_of_one_row_end_at_the_end_of_the_panel():
    rows = make_rows(layout_with([3]), [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(rows.errors(np.array([1, 2]), 2)[:, 0], [[4, NAN], [NAN, NAN]])


# ---------------------------------------------------------------------------------------- stretches


def test_without_a_gap_a_stretch_is_a_series_behind_its_warm_up_rows():
    layout = layout_with([4, 3])
    assert stretches(layout, np.array([1, 4]), None).tolist() == [1, 1, 1, 1, 4, 4, 4]


HOURS = [0, 1, 2, 5, 6, 20, 21]


@pytest.mark.parametrize(
    "time",
    [
        pd.Timestamp("2024-01-01") + pd.to_timedelta(HOURS, unit="h"),
        (pd.Timestamp("2024-01-01") + pd.to_timedelta(HOURS, unit="h")).as_unit("s"),
        pd.to_timedelta(HOURS, unit="h"),
        pd.Index(HOURS),
    ],
    ids=["datetime", "seconds", "timedelta", "integer"],
)
def test_a_longer_gap_cuts_a_series_into_stretches(time):
    layout = Layout(None, pd.Index(time), np.array([0, 7]))
    warm_up = np.array([1])
    assert stretches(layout, warm_up, 2.5).tolist() == [1, 1, 1, 3, 3, 5, 5]
    assert stretches(layout, warm_up, 3.0).tolist() == [1, 1, 1, 1, 1, 5, 5]
    assert stretches(layout, warm_up, 99.0).tolist() == [1] * 7


def test_gaps_are_cut_within_series_alone_and_warm_up_rows_outlast_them():
    layout = Layout(pd.Index(["a", "b"]), pd.Index([0, 1, 9, 10, 50, 51, 70]), np.array([0, 4, 7]))
    assert stretches(layout, np.array([3, 4]), 2.0).tolist() == [3, 3, 3, 3, 4, 4, 6]


# ------------------------------------------------------------------------------------ head and tail


def kept(rows: Rows, part: Rows) -> list[int]:
    """Numbers of the rows in `part`, after a look that all its arrays agree."""
    numbers = part.target[:, 0].astype(int)
    assert torch.equal(part.inputs, rows.inputs[numbers])
    np.testing.assert_array_equal(part.base, rows.base[numbers])
    np.testing.assert_array_equal(part.layout.time, rows.layout.time[numbers])
    assert part.layout.n_rows == len(numbers) == len(part.inputs)
    assert len(part.first) == len(part.unit) == len(part.level) == len(numbers)
    assert len(part.static) == len(part.codes) == part.layout.n_series
    return numbers.tolist()


def test_tail_keeps_the_last_rows_of_everything_and_what_is_left_of_the_warm_up():
    rows = numbered([6, 2, 5], warm_up=3)
    assert rows.first.tolist() == [3] * 6 + [8] * 2 + [11] * 5
    part = rows.tail(4)
    assert kept(rows, part) == [2, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    # two rows of the first series are gone, so one warm-up row is left; the second is all warm-up
    assert part.first.tolist() == [1] * 4 + [6] * 2 + [8] * 4
    assert part.tail(1).first.tolist() == [0, 2, 2]


def test_tail_keeps_the_beginnings_of_stretches():
    rows = replace(numbered([6, 5]), first=np.array([0, 0, 2, 2, 4, 4, 6, 6, 6, 9, 9]))
    assert rows.tail(3).first.tolist() == [0, 1, 1, 3, 4, 4]
    assert rows.tail(1).first.tolist() == [0, 1]


def test_head_keeps_the_first_rows_of_everything_and_the_warm_up():
    rows = numbered([6, 2, 5], warm_up=3)
    part = rows.head(np.array([5, 2, 2]))
    assert kept(rows, part) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert part.first.tolist() == [3] * 5 + [7] * 2 + [9] * 2
    assert eligible_origins(part, 1).tolist() == [False] * 3 + [True] * 2 + [False] * 4


def test_head_drops_series_of_which_nothing_is_kept():
    rows = numbered([6, 2, 5], warm_up=1)
    rows = replace(rows, static=torch.tensor([[0.0], [1.0], [2.0]]))
    part = rows.head(np.array([3, 0, 2]))
    assert kept(rows, part) == [0, 1, 2, 8, 9]
    assert part.layout.names() == [0, 2]
    assert part.static.tolist() == [[0.0], [2.0]]
    assert part.first.tolist() == [1, 1, 1, 4, 4]
    part = rows.head(np.array([3, 2, 0]))
    assert part.layout.names() == [0, 1]
    assert eligible_origins(part, 2).tolist() == [False, False, True, False, False]


def test_extended_rows_know_features_alone():
    rows = replace(numbered([3, 2]), first=np.array([0, 0, 2, 3, 3]))
    ahead = torch.arange(8.0).reshape(4, 2) + 100
    longer = rows.extended(layout_with([5, 4]), ahead)
    assert longer.inputs[:, 0].tolist() == [0, 1, 2, 100, 102, 3, 4, 104, 106]
    for name in ("target", "level", "base", "unit"):
        values = getattr(longer, name).reshape(9)
        assert np.isnan(values[[3, 4, 7, 8]]).all()
        np.testing.assert_array_equal(values[[0, 1, 2, 5, 6]], getattr(rows, name).reshape(5))
    assert longer.first.tolist() == [0, 0, 2, 2, 2, 5, 5, 5, 5]
    windows = cut(longer, [2, 6], future=slice(0, 1))
    assert windows.x[..., 0].tolist() == [[2, 2, 2, 2], [3, 3, 3, 4]]
    assert windows.origins.ahead[..., 0].tolist() == [[100, 102], [104, 106]]


# --------------------------------------------------------------------------------- eligible origins


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
    rows = make_rows(layout, np.zeros(5), base=base[:, None])
    assert eligible_origins(rows, 1).tolist() == [True, False, True, False, True]
    two = make_rows(layout, np.zeros((5, 2)), base=np.stack([base, np.zeros((5, 2))], axis=1))
    assert eligible_origins(two, 1).all()  # the other target is known


def test_an_origin_needs_a_scale():
    rows = make_rows(layout_with([3]), np.zeros(3), unit=np.array([[1.0], [NAN], [2.0]]))
    assert eligible_origins(rows, 1).tolist() == [True, False, True]


def test_an_origin_needs_its_context_in_its_own_stretch():
    rows = make_rows(layout_with([6]), np.zeros(6), first=[0, 0, 0, 3, 3, 3])
    assert eligible_origins(rows, 2).tolist() == [False, True, True, False, True, True]


# ------------------------------------------------------------------------------------- feature rows


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
PLAIN = Features(n_columns=3, n_targets=1)


def begins_of(layout: Layout) -> npt.NDArray[np.int64]:
    return np.repeat(layout.starts, np.diff(layout.offsets))


def plain_features(panel: pd.DataFrame, fill: Any = FILL) -> npt.NDArray[np.float32]:
    layout = layout_of(panel)
    features = Features(n_columns=panel.shape[1], n_targets=1)
    return feature_rows(panel.to_numpy(), layout, fill, begins_of(layout), features).numpy()


def features_in_pandas(panel: pd.DataFrame) -> pd.DataFrame:
    """Values less the fill, observed, hours since, hours since the last row, change: plainly."""
    stay = panel.index.get_level_values(0)
    time = panel.index.get_level_values(1).to_series(index=panel.index)
    values = panel.groupby(stay).ffill().fillna(dict(zip(panel.columns, FILL)))
    observed = panel.notna().astype(float)
    ages = pd.DataFrame(
        {
            name: time - time.where(panel[name].notna()).groupby(stay).ffill().fillna(time)
            for name in panel
        }
    )
    elapsed = time.groupby(stay).diff().fillna(pd.Timedelta(0)).rename("elapsed")
    change = values.iloc[:, 0].groupby(stay).diff().fillna(0.0).rename("change")
    hour = pd.Timedelta(hours=1)
    return pd.concat([values - FILL, observed, ages / hour, elapsed / hour, change], axis=1)


def test_features_are_values_observed_ages_time_since_the_last_row_and_change():
    panel = clinical_panel()
    features = plain_features(panel)
    assert features.dtype == np.float32
    assert features.shape == (len(panel), PLAIN.size) == (len(panel), 3 * 3 + 1 + 1)
    np.testing.assert_allclose(features, features_in_pandas(panel), rtol=1e-5, atol=1e-5)


def test_features_of_whole_steps_count_steps():
    panel = as_panel(pd.DataFrame({"y": [NAN, 5.0, NAN, NAN]}, index=[0, 1, 2, 5]))
    features = plain_features(panel, np.array([9.0]))
    expected = [[0, 0, 0, 0, 0], [-4, 1, 0, 1, -4], [-4, 0, 1, 1, 0], [-4, 0, 4, 3, 0]]
    np.testing.assert_array_equal(features, expected)


def test_nothing_has_passed_and_changed_at_the_beginning_of_a_stretch():
    panel = clinical_panel()
    layout = layout_of(panel)
    first = begins_of(layout)
    first[2:20], first[11:20], first[20] = 2, 11, 20  # two warm-up rows, then a gap before row 11
    whole = plain_features(panel)
    cut = feature_rows(panel.to_numpy(), layout, FILL, first, PLAIN).numpy()
    starts = np.flatnonzero(first == np.arange(len(first)))
    assert {2, 11} < set(starts)
    changes = PLAIN.from_row_before
    assert (cut[starts, changes] == 0).all()
    assert (whole[[2, 11], changes.start] > 0).all()
    elsewhere = np.setdiff1d(np.arange(len(first)), starts)
    np.testing.assert_array_equal(cut[elsewhere], whole[elsewhere])
    np.testing.assert_array_equal(cut[:, : changes.start], whole[:, : changes.start])


def test_features_of_a_running_scale_and_seasons_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    layout = layout_with([9, 6])
    values = rng.normal(size=(15, 3))
    values[rng.random(values.shape) < 0.25] = NAN
    location, unit = rng.normal(size=(15, 2)), rng.uniform(0.5, 3, size=(15, 2))
    prior, seasons = np.array([1.5, 0.7]), (3, 5)
    features = Features(n_columns=3, n_targets=2, n_seasons=2, scaled=True, n_future=1)
    table = feature_rows(
        values,
        layout,
        FILL,
        begins_of(layout),
        features,
        location=location,
        unit=unit,
        prior=prior,
        seasons=seasons,
    )
    assert table.shape == (15, features.size) == (15, 3 * 3 + 1 + 2 * (1 + 2 + 1))
    for row in range(15):
        start = 0 if row < 9 else 9

        def known(at: int, c: int, start: int = start) -> float:
            seen = [v for v in values[start : at + 1, c] if not np.isnan(v)]
            return seen[-1] if seen else FILL[c]

        expected = [(known(row, c) - location[row, c]) / unit[row, c] for c in range(2)]
        expected += [known(row, 2) - FILL[2]]
        assert features.future == slice(2, 3)
        np.testing.assert_allclose(table[row, :3], expected, rtol=1e-5, atol=1e-6)
        changes = []
        for back in (1, *seasons):
            ago = max(row - back, start)
            changes += [(known(row, k) - known(ago, k)) / unit[row, k] for k in range(2)]
        np.testing.assert_allclose(table[row, 10:16], changes, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(table[row, 16:], np.log(unit[row] / prior), rtol=1e-5)


def test_features_without_a_running_scale_have_no_column_for_it():
    assert Features(4, 2).size == 3 * 4 + 1 + 2
    assert Features(4, 2, n_seasons=1).size == 3 * 4 + 1 + 4
    assert Features(4, 2, scaled=True).size == 3 * 4 + 1 + 4


def altered_after(panel: pd.DataFrame, row: int) -> pd.DataFrame:
    """The panel with other values and another pattern of missing ones behind `row`."""
    rng = np.random.default_rng(row)
    altered = panel.copy()
    other = rng.normal(-5, 100, size=altered.iloc[row + 1 :].shape)
    other[rng.random(other.shape) < 0.3] = NAN
    altered.iloc[row + 1 :] = other
    return altered


def all_features(panel: pd.DataFrame) -> npt.NDArray[np.float32]:
    """With seasons and a running scale."""
    layout = layout_of(panel)
    values = panel.to_numpy()
    pairs = [RunningScale(half_life=4).run(values[:, k], layout, prior=5.0, lag=1) for k in (0, 1)]
    location, unit = (np.stack([pair[i] for pair in pairs], axis=1) for i in (0, 1))
    return feature_rows(
        values,
        layout,
        FILL,
        begins_of(layout),
        Features(n_columns=3, n_targets=2, n_seasons=1, scaled=True),
        location=np.where(np.isnan(location), FILL[:2], location),
        unit=unit,
        prior=np.array([5.0, 5.0]),
        seasons=(3,),
    ).numpy()


@pytest.mark.parametrize("make", [plain_features, all_features])
def test_features_up_to_a_row_do_not_depend_on_any_row_after_it(make):
    panel = clinical_panel()
    features = make(panel)
    for row in range(len(panel) - 1):
        other = make(altered_after(panel, row))
        np.testing.assert_array_equal(other[: row + 1], features[: row + 1])
        assert not np.array_equal(other[row + 1 :], features[row + 1 :])


@pytest.mark.parametrize("make", [plain_features, all_features])
def test_features_of_a_series_do_not_depend_on_the_others(make):
    panel = clinical_panel()
    features = make(panel)
    for stay, rows in panel.groupby(level=0).indices.items():
        np.testing.assert_array_equal(make(panel.loc[[stay]]), features[rows])


# ------------------------------------------------------------------------------------- plan_windows


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


# -------------------------------------------------------------- many origins in one training window


def trained_shape(rows: Rows, cell: Any, horizon: int) -> ForecastNetwork:
    """A network as the forecaster builds it, all weights drawn so that no zero hides a leak."""
    head = Quantiles((0.1, 0.5, 0.9))
    errors = np.random.default_rng(0).normal(size=(50, horizon))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ForecastNetwork(
            features=PLAIN,
            scale=input_scale(rows.inputs),
            static=InputScale(np.zeros(0), np.zeros(0)),
            n_codes=(),
            season=0,
            cell=cell,
            hidden_sizes=(16, 8),
            dropout=0.3,
            layer_norm=True,
            init="keras",
            max_steps=20,
            head=head,
            error_scale=np.ones((1, horizon)),
            start=head.start(errors, np.zeros_like(errors), np.ones_like(errors))[None],
        )
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.5)
    return network.eval()


def rows_of(panel: pd.DataFrame) -> Rows:
    features = plain_features(panel)
    base = features[:, :1, None].astype(np.float64)
    target = panel.iloc[:, 0].to_numpy()
    return make_rows(layout_of(panel), target, inputs=torch.from_numpy(features), base=base)


LOOKBACK, ORIGINS, HORIZON = 4, 6, 3


def batch_of(rows: Rows) -> tuple[Windows, Tensor]:
    """One training batch with all windows of an epoch, and its errors."""
    eligible = learnable(rows, LOOKBACK, HORIZON)
    windows = windows_on(
        rows, eligible, lookback=LOOKBACK, horizon=HORIZON, origins=ORIGINS, batch_size=99
    )
    ((cut, z, _),) = list(windows)
    return cut, z


def row_of_origins(rows: Rows) -> Tensor:
    """The origins of `batch_of(rows)`, (B, O), by way of numbered rows of the same lengths."""
    windows, _ = batch_of(numbered(np.diff(rows.layout.offsets).tolist()))
    return windows.x[:, LOOKBACK - 1 :, 0]


@pytest.mark.parametrize("cell", CELLS)
def test_alters_rows_after_an_origin_inside_a_window_and_finds_its_output_unchanged(cell):
    rows = rows_of(clinical_panel())
    windows, _ = batch_of(rows)
    network = trained_shape(rows, cell, HORIZON)
    assert len(windows.x) > 3 and windows.x.shape[1] == LOOKBACK + ORIGINS - 1
    with torch.no_grad():
        output = network(windows)  # (B, O, K, H, Q)
        assert output.shape[1] == ORIGINS
        for j in range(ORIGINS):
            altered = windows.x.clone()
            after = altered[:, LOOKBACK + j :]  # origin j is step LOOKBACK - 1 + j
            after += 30 * torch.randn(after.shape, generator=torch.Generator().manual_seed(j))
            again = network(windows._replace(x=altered))
            assert torch.equal(again[:, : j + 1], output[:, : j + 1])
            assert (again[:, j + 1 :] != output[:, j + 1 :]).flatten(2).any(-1).all()


@pytest.mark.parametrize("cell", CELLS)
def test_altered_values_after_an_origin_reach_no_input_and_no_output_at_or_before_it(cell):
    panel = clinical_panel()
    rows = rows_of(panel)
    network = trained_shape(rows, cell, HORIZON)
    windows, z = batch_of(rows)
    origins = row_of_origins(rows)
    for row in (6, 9, 14, 28):
        other, _ = batch_of(rows_of(altered_after(panel, row)))  # the same seed, the same windows
        with torch.no_grad():
            before, after = network(windows), network(other)
        early = origins <= row
        assert early.any() and not early.all()
        assert torch.equal(after[early], before[early])
        late = (origins > row) & ~z.isnan().flatten(2).all(-1)
        assert (after[late] != before[late]).flatten(1).any(-1).all()


@pytest.mark.parametrize("cell", CELLS)
def test_the_first_origin_of_a_window_is_the_classical_window(cell):
    rows = rows_of(clinical_panel())
    windows, _ = batch_of(rows)
    network = trained_shape(rows, cell, HORIZON)
    single = Windows(
        windows.x[:, :LOOKBACK],
        windows.static,
        windows.codes,
        windows.at,
        Origins(*(part[:, :1] for part in windows.origins)),
    )
    with torch.no_grad():
        torch.testing.assert_close(network(windows)[:, :1], network(single))
