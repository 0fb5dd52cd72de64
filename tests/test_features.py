"""Features of rows, against a plain version that looks at one row after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforecast.data import features as module
from tsforecast.data.features import Features, feature_rows
from tsforecast.data.panel import Layout, as_panel, layout_of, stretches

NAN = np.nan


def plain_stretches(layout: Layout, warm_up: Any, max_gap: float | None) -> list[int]:
    hours, first = layout.hours(), []
    for series, (start, stop) in enumerate(zip(layout.starts, layout.stops)):
        begin = start
        for row in range(start, stop):
            if max_gap is not None and row > start and hours[row] - hours[row - 1] > max_gap:
                begin = row
            first.append(max(begin, warm_up[series]))
    return first


def plain_rows(
    values: Any, layout: Layout, fill: Any, first: Any, features: Features, **given: Any
) -> Any:
    """Feature by feature and row by row, as the table in `Features` says."""
    location, unit = given.get("location"), given.get("unit")
    n_columns, n_targets = features.n_columns, features.n_targets
    hours = layout.hours()
    table = np.zeros((layout.n_rows, features.size))
    for start, stop in zip(layout.starts, layout.stops):
        for c in range(n_columns):
            known = values[start:stop, c].copy()
            last = None
            for i in range(stop - start):
                if np.isnan(known[i]):
                    known[i] = fill[c] if last is None else known[last]
                    age = 0.0 if last is None else hours[start + i] - hours[start + last]
                else:
                    last, age = i, 0.0
                row = start + i
                scale = 1.0 if unit is None or c >= n_targets else unit[row, c]
                table[row, c] = known[i] - fill[c]
                table[row, n_columns + c] = not np.isnan(values[row, c])
                table[row, 2 * n_columns + c] = age
                before = i if row in (start, first[row]) else i - 1
                table[row, 3 * n_columns] = hours[row] - hours[start + before]
                if c >= n_targets:
                    continue
                if location is not None:
                    table[row, c] = (known[i] - location[row, c]) / scale
                at = 3 * n_columns + 1 + c
                table[row, at] = (known[i] - known[before]) / scale
                for season in given.get("seasons", ()):
                    at += n_targets
                    ago = min(max(row - season, first[row]), row) - start
                    table[row, at] = (known[i] - known[ago]) / scale
                if features.scaled:
                    table[row, at + n_targets] = np.log(scale / given["prior"][c])
    return table.astype(np.float32)


@st.composite
def ragged(draw: Any) -> tuple[pd.DataFrame, np.random.Generator]:
    """Up to five series of up to nine rows with gaps, a third of the values missing."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    hours = draw(st.sampled_from(["7min", "1h", "24h"]))
    pairs = [
        (name, pd.Timestamp("2024-01-01") + int(step) * pd.Timedelta(hours))
        for name, length in enumerate(lengths)
        for step in np.sort(rng.choice(30, size=length, replace=False))
    ]
    index = pd.MultiIndex.from_tuples(pairs, names=["id", "at"])
    values = rng.normal(size=(len(pairs), 3)) * 100
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.3]))] = NAN
    return as_panel(pd.DataFrame(values, index=index, columns=["y", "z", "x"])), rng


@settings(max_examples=60, deadline=None)
@given(ragged(), st.booleans(), st.sampled_from([(), (2,), (3, 1)]), st.sampled_from([None, 5.0]))
@pytest.mark.parametrize("block", [1, 8, 1 << 15])
@pytest.mark.parametrize("threads", [1, 3])
def test_features_are_those_of_a_plain_walk_over_the_rows(
    block, threads, made, scaled, seasons, max_gap
):
    panel, rng = made
    layout, values = layout_of(panel), panel.to_numpy()
    warm_up = layout.starts + rng.integers(0, 3, layout.n_series)
    warm_up = np.minimum(warm_up, layout.stops)
    first = stretches(layout, warm_up, max_gap)
    assert first.tolist() == plain_stretches(layout, warm_up, max_gap)
    features = Features(3, 2, len(seasons), scaled)
    options: dict[str, Any] = {"seasons": seasons, "prior": np.array([2.0, 3.0])}
    if scaled:
        options["location"] = rng.normal(size=(len(panel), 2))
        options["unit"] = rng.lognormal(size=(len(panel), 2))
    fill, before = np.array([1.0, -2.0, 0.5]), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(module, "_FEW_BLOCKS", 1)
        try:
            torch.set_num_threads(threads)
            table = feature_rows(values, layout, fill, first, features, **options)
        finally:
            torch.set_num_threads(before)
    expected = plain_rows(values, layout, fill, first, features, **options)
    np.testing.assert_array_equal(table.numpy(), expected)


def test_features_have_a_name_each_in_the_order_of_the_table():
    features = Features(n_columns=3, n_targets=2, n_seasons=2, scaled=True)
    names = features.names(["y", "z", "x"], (7, 24))
    assert len(names) == len(set(names)) == features.size
    assert names[:4] == ["y: value", "z: value", "x: value", "y: observed"]
    assert names[features.from_row_before] == ["elapsed", "y: change", "z: change"]
    assert names[-4:-2] == ["y: change over 24 rows", "z: change over 24 rows"]
    assert names[-2:] == ["y: log of scale", "z: log of scale"]


def test_rows_below_two_to_the_31_are_counted_in_four_bytes():
    layout = Layout(None, pd.RangeIndex(4), np.array([0, 4]))
    assert stretches(layout, layout.starts, None).dtype == np.int32
