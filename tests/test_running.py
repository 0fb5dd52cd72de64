"""The running scale: a plain loop over rows, that knows the rows up to each and no other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small import NAN, layout_with

from tsforecast._checks import DataError
from tsforecast.data import tables
from tsforecast.data.panel import Layout
from tsforecast.data.running import RunningScale


def walks(lengths: list[int], *, missing: float = 0.0, seed: int = 0) -> tuple[np.ndarray, Layout]:
    rng = np.random.default_rng(seed)
    layout = layout_with(lengths)
    values = np.concatenate([rng.normal(size=n).cumsum() * 10**i for i, n in enumerate(lengths)])
    values[rng.random(len(values)) < missing] = NAN
    return values, layout


def plain_changes(values: np.ndarray, start: int, row: int, lag: int) -> float:
    """Change from the last value known `lag` rows before, NaN where there is none."""
    before = [v for v in values[start : max(start, row - lag + 1)] if not np.isnan(v)]
    return values[row] - before[-1] if before else NAN


def plain_run(
    values: np.ndarray, layout: Layout, *, prior: float, half_life: float, lag: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row by row, as the formulas stand."""
    location, scale = np.full(len(values), NAN), np.full(len(values), NAN)
    for start, stop in zip(layout.starts, layout.stops):
        centre, s, n_values, n_changes = NAN, prior, 0, 0
        for row in range(start, stop):
            x, change = values[row], abs(plain_changes(values, start, row, lag))
            if not np.isnan(x):
                n_values += 1
                a = max(1 - 2 ** (-1 / half_life), 1 / (8 + n_values))
                centre = x if n_values == 1 else centre + a * (x - centre)
            if not np.isnan(change):
                n_changes += 1
                a = max(1 - 2 ** (-1 / half_life), 1 / (8 + n_changes))
                s = s + a * (change - s)
            location[row], scale[row] = centre, max(s, 0.03 * prior)
    return location, scale


@pytest.mark.parametrize("lag", [1, 4])
@pytest.mark.parametrize("half_life", [0.5, 6.0, 200.0])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_running_scale_is_a_plain_loop_over_rows(lag, half_life, missing):
    values, layout = walks([30, 1, 12, 3, 30], missing=missing)
    found = RunningScale(half_life=half_life).run(values, layout, prior=2.5, lag=lag)
    expected = plain_run(values, layout, prior=2.5, half_life=half_life, lag=lag)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_long_series_beside_short_ones_is_the_plain_loop(monkeypatch):
    """Tables of a few cells: longer series than a table, and many tables."""
    monkeypatch.setattr(tables, "_CELLS", 64)
    values, layout = walks([3000, *range(1, 40), 7, 7, 90], missing=0.1)
    found = RunningScale(half_life=24).run(values, layout, prior=2.5, lag=3)
    expected = plain_run(values, layout, prior=2.5, half_life=24, lag=3)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("lag", [1, 7])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_steps_row_by_row_equal_a_run_over_all_rows(lag, missing):
    """From no row at all, and from the state that a run over the first rows leaves behind."""
    n_series, n_rows, prior = 5, 60, 2.5
    values, layout = walks([n_rows] * n_series, missing=missing)
    scale = RunningScale(half_life=6)
    location, unit, end = scale.run(values, layout, prior=prior, lag=lag)
    table = values.reshape(n_series, n_rows)
    known = pd.DataFrame(table).ffill(axis=1).to_numpy()
    for begin in (0, 20):
        state = np.full((n_series, 4), NAN)
        if begin:
            head = table[:, :begin].ravel()
            *_, state = scale.run(head, layout_with([begin] * n_series), prior=prior, lag=lag)
        for row in range(begin, n_rows):
            ago = known[:, row - lag] if row >= lag else np.full(n_series, NAN)
            state, centre, s = scale.step(state, table[:, row], ago, prior=prior)
            at = layout.starts + row
            np.testing.assert_allclose(centre, location[at], rtol=1e-9)
            np.testing.assert_allclose(s, unit[at], rtol=1e-9)
        np.testing.assert_allclose(state, end, rtol=1e-9)


def test_the_end_state_counts_values_and_changes_and_knows_no_floor():
    values = np.array([5.0, 5.0, NAN, 5.0, NAN])
    _, scale, state = RunningScale(half_life=0.1).run(values, layout_with([5]), prior=2.0, lag=1)
    assert scale[-1] == 0.03 * 2.0
    assert state[0, 0] == 5.0
    assert state[0, 1] == pytest.approx(2.0 * 2.0**-20)  # two changes of zero, ten half-lives each
    assert state[0, 2:].tolist() == [3, 2]


def test_first_rows_are_the_first_value_and_the_prior():
    values = np.array([NAN, 7.0, NAN, 10.0])
    location, scale, _ = RunningScale(half_life=100).run(values, layout_with([4]), prior=2.0, lag=1)
    np.testing.assert_allclose(location, [NAN, 7, 7, 7 + 3 / 10])  # the prior counts as eight rows
    np.testing.assert_allclose(scale, [2, 2, 2, 2 + (3 - 2) / 9])


def test_half_life_is_the_number_of_rows_after_which_a_row_has_half_its_weight():
    """Long after the beginning, a single change of the level fades to a half in five rows."""
    values = np.zeros(400)
    values[300:] = 1.0
    location, scale, _ = RunningScale(half_life=5).run(values, layout_with([400]), prior=9.0, lag=1)
    assert 1 - location[304] == pytest.approx(0.5)
    assert 1 - location[309] == pytest.approx(0.25)
    jump = np.where(np.arange(400) < 300, 0.0, 1000.0)
    _, scale, _ = RunningScale(half_life=5).run(jump, layout_with([400]), prior=1.0, lag=1)
    assert scale[305] == pytest.approx(scale[300] / 2)


def test_a_pause_does_not_take_the_scale_below_its_floor_and_is_soon_forgotten():
    values = np.concatenate([np.zeros(500), np.arange(1.0, 11.0)])
    _, scale, _ = RunningScale(half_life=4).run(values, layout_with([510]), prior=2.0, lag=1)
    assert scale[499] == 0.03 * 2.0
    expected = 1 - 2.0 ** (-np.arange(1, 11) / 4)  # as from zero: the floor is no memory
    np.testing.assert_allclose(scale[500:], expected, rtol=1e-9)


def test_running_scale_at_a_row_knows_no_row_after_it():
    values, layout = walks([20, 15], missing=0.2)
    scale = RunningScale(half_life=6)
    whole = scale.run(values, layout, prior=1.0, lag=2)
    for row in range(len(values) - 1):
        other = values.copy()
        other[row + 1 :] = np.random.default_rng(row).normal(size=len(values) - row - 1) * 50
        changed = scale.run(other, layout, prior=1.0, lag=2)
        for one, two in zip(whole[:2], changed[:2]):
            np.testing.assert_array_equal(one[: row + 1], two[: row + 1])
        assert not np.array_equal(whole[1][row + 3 :], changed[1][row + 3 :]) or row > 31


def test_running_scale_of_a_shorter_panel_is_the_beginning_of_that_of_a_longer_one():
    values, layout = walks([25, 25], missing=0.2)
    scale = RunningScale(half_life=6)
    whole = scale.run(values, layout, prior=1.0, lag=1)
    kept = np.concatenate([np.arange(18), np.arange(25, 43)])
    cut = scale.run(values[kept], layout_with([18, 18]), prior=1.0, lag=1)
    for one, two in zip(whole[:2], cut[:2]):
        np.testing.assert_array_equal(one[kept], two)


def test_running_scale_of_a_series_does_not_depend_on_the_others():
    values, layout = walks([9, 30, 1, 17], missing=0.2)
    scale = RunningScale(half_life=6)
    together = scale.run(values, layout, prior=1.0, lag=1)
    for start, stop in zip(layout.starts, layout.stops):
        alone = scale.run(values[start:stop], layout_with([stop - start]), prior=1.0, lag=1)
        for one, two in zip(together[:2], alone[:2]):
            np.testing.assert_array_equal(one[start:stop], two)


def test_a_series_in_other_units_has_another_scale_by_as_much():
    values, layout = walks([40])
    scale = RunningScale(half_life=6)
    location, unit, _ = scale.run(values, layout, prior=1.5, lag=1)
    far_location, far_unit, _ = scale.run(1000 * values, layout, prior=1500.0, lag=1)
    np.testing.assert_allclose(far_location, 1000 * location)
    np.testing.assert_allclose(far_unit, 1000 * unit)


@pytest.mark.parametrize("lag", [1, 3])
def test_the_prior_is_the_median_over_series_of_their_mean_change(lag):
    values, layout = walks([20, 9, 30, 2], missing=0.2)
    means = []
    for start, stop in zip(layout.starts, layout.stops):
        changes = [abs(plain_changes(values, start, row, lag)) for row in range(start, stop)]
        if np.isfinite(changes).any():
            means.append(np.nanmean(changes))
    assert len(means) in (3, 4)
    assert RunningScale().prior(values, layout, lag=lag) == pytest.approx(np.median(means))


def test_series_that_stand_still_do_not_count_for_the_prior():
    values = np.array([1.0, 1, 1, 1, 2, 4, 5, 5, 5])
    assert RunningScale().prior(values, layout_with([3, 3, 3]), lag=1) == pytest.approx(1.5)


@pytest.mark.parametrize(
    "values, lag", [([3.0] * 6, 1), ([1.0, 2, 3, 1, 2, 3], 3), ([NAN] * 5 + [1.0], 1)]
)
def test_no_prior_can_be_learned_where_nothing_changes(values, lag):
    with pytest.raises(
        DataError, match=rf"no scale to learn: expected a series that changes over {lag} rows"
    ):
        RunningScale().prior(np.array(values), layout_with([len(values)]), lag=lag)


@pytest.mark.parametrize("half_life", [0, -1.0, "long", float("nan")])
def test_half_life_must_be_a_number_above_zero(half_life):
    with pytest.raises(ValueError, match="'half_life': expected a number above 0"):
        RunningScale(half_life=half_life)


@pytest.mark.parametrize("power", [-0.1, 1.5, None, float("nan")])
def test_loss_power_must_be_between_zero_and_one(power):
    with pytest.raises(ValueError, match=r"'loss_power': expected a number in \[0, 1\]"):
        RunningScale(loss_power=power)


def test_running_scales_are_equal_by_their_numbers_and_cannot_be_changed():
    assert RunningScale(half_life=3) == RunningScale(half_life=3) != RunningScale()
    with pytest.raises(AttributeError):
        RunningScale().half_life = 3


def test_time_does_not_count_only_rows():
    values, layout = walks([15])
    uneven = Layout(None, pd.Index(np.arange(15) ** 2), np.array([0, 15]))
    scale = RunningScale(half_life=6)
    for one, two in zip(
        scale.run(values, layout, prior=1.0, lag=1), scale.run(values, uneven, prior=1.0, lag=1)
    ):
        np.testing.assert_array_equal(one, two)
