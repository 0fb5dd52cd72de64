"""Heads: raw numbers at zero are the baseline, quantiles never cross, losses match numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforecast.nn.heads import DECILES, Head, Point, Quantiles, as_head

H = 3
LEVELS = [(0.5,), (0.1, 0.5), (0.5, 0.9), (0.05, 0.25, 0.5, 0.6), DECILES]
every_levels = pytest.mark.parametrize("levels", LEVELS, ids=str)


def errors(n: int = 400, *, seed: int = 0) -> np.ndarray:
    """Skewed errors whose spread grows with the step, (n, H)."""
    rng = np.random.default_rng(seed)
    return (rng.exponential(size=(n, H)) - 0.7) * np.arange(1, H + 1)


def pinball(actual: np.ndarray, quantiles: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Twice the pinball loss, mean over levels, by its definition: one `if` per number."""
    total = np.zeros(actual.shape)
    for at in np.ndindex(*actual.shape):
        for j, level in enumerate(levels):
            error = actual[at] - quantiles[at][j]
            total[at] += 2 * (level * error if error >= 0 else (level - 1) * error)
    return total / len(levels)


# ------------------------------------------------------------------------------------------ point


@pytest.mark.parametrize("error", ["absolute", "squared", "huber"])
def test_raw_zero_of_a_point_is_the_baseline(error):
    head = Point(error)
    forecast, quantiles = head.forecast(torch.zeros(5, H, 1), head.start(errors()))
    assert torch.equal(forecast, torch.zeros(5, H))
    assert quantiles.shape == (5, H, 0)
    assert head.levels == ()


def test_point_losses_match_numpy():
    rng = np.random.default_rng(0)
    point, z = rng.normal(size=(2, 7, H)).astype(np.float32) * 3
    error = z - point
    huber = np.where(abs(error) <= 1.5, 0.5 * error**2, 1.5 * (abs(error) - 0.75))
    for head, expected in [
        (Point(), abs(error)),
        (Point("squared"), error**2),
        (Point("huber", delta=1.5), huber),
    ]:
        loss = head.loss(torch.tensor(point)[..., None], head.start(errors()), torch.tensor(z))
        np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_point_refuses_unknown_errors_and_bad_deltas():
    with pytest.raises(ValueError, match="parameter 'error': expected one of .*'huber'.*'cubic'"):
        Point("cubic")
    with pytest.raises(ValueError, match="parameter 'delta': expected a number above 0, found 0"):
        Point("huber", delta=0.0)


# -------------------------------------------------------------------------------------- quantiles


@every_levels
def test_raw_zeros_are_the_baseline_with_the_spread_of_its_errors(levels):
    head, z = Quantiles(levels), errors()
    forecast, quantiles = head.forecast(torch.zeros(1, H, head.size), head.start(z))
    assert torch.equal(forecast, torch.zeros(1, H))  # the median is the baseline itself
    expected = np.quantile(z, levels, axis=0).T - np.quantile(z, 0.5, axis=0)[:, None]
    np.testing.assert_allclose(quantiles[0], expected, rtol=1e-4, atol=1e-5)


def test_start_ignores_missing_errors():
    z = errors()
    holes = np.concatenate([z, np.full((50, H), np.nan)])
    assert torch.equal(Quantiles().start(z), Quantiles().start(holes))


def test_start_of_unchanging_errors_is_narrow_but_ordered():
    head = Quantiles()
    _, quantiles = head.forecast(torch.zeros(1, H, head.size), head.start(np.zeros((9, H))))
    steps = quantiles.diff(dim=-1)
    assert (steps > 0).all() and (steps < 1e-3).all()


extreme = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    raw=st.lists(extreme, min_size=9, max_size=9),
    spread=st.sampled_from([0.0, 1e-6, 1.0, 1e6]),
)
@settings(max_examples=200, deadline=None)
def test_quantiles_never_cross_whatever_the_network_says(raw, spread):
    head = Quantiles()
    start = head.start(errors() * spread)
    forecast, quantiles = head.forecast(torch.tensor([[raw] * H]), start)
    assert not quantiles.isnan().any()
    assert (quantiles[..., 1:] >= quantiles[..., :-1]).all()
    assert torch.equal(forecast, quantiles[..., 4])


def test_each_raw_number_moves_its_own_distance():
    head = Quantiles((0.1, 0.5, 0.9))
    start = head.start(errors())
    _, before = head.forecast(torch.zeros(1, H, 3), start)
    _, after = head.forecast(torch.tensor([0.0, 0.0, 1.0]).expand(1, H, 3), start)
    assert torch.equal(after[..., :2], before[..., :2])
    wider = (after[..., 2] - after[..., 1]) / (before[..., 2] - before[..., 1])
    np.testing.assert_allclose(wider, np.exp(3 * np.tanh(1 / 3)), rtol=1e-5)


@every_levels
def test_quantile_loss_matches_a_plain_pinball_loss(levels):
    head = Quantiles(levels)
    rng = np.random.default_rng(1)
    raw = torch.tensor(rng.normal(size=(4, 2, H, head.size)), dtype=torch.float32)
    z = rng.normal(size=(4, 2, H)).astype(np.float32)
    start = head.start(errors())
    loss = head.loss(raw, start, torch.tensor(z))
    quantiles = head.forecast(raw, start)[1].numpy()
    assert loss.shape == (4, 2, H)
    np.testing.assert_allclose(loss, pinball(z, quantiles, levels), rtol=1e-4, atol=1e-5)


def test_pinball_loss_is_smallest_at_the_quantiles_of_the_data():
    """The training errors' own quantiles beat any shift of the median."""
    head, z = Quantiles(), errors(4000)
    start = head.start(z)
    middle = np.quantile(z, 0.5, axis=0)
    losses = []
    for shift in (-0.3, 0.0, 0.3):
        raw = torch.zeros(1, H, 9)
        raw[..., 4] = torch.tensor(middle + shift)
        losses.append(head.loss(raw, start, torch.tensor(z, dtype=torch.float32)).mean(0).numpy())
    assert (losses[1] < losses[0]).all() and (losses[1] < losses[2]).all()


@pytest.mark.parametrize(
    "levels",
    [(), (0.1, 0.9), (0.9, 0.5, 0.1), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), (0.5, float("nan"))],
    ids=str,
)
def test_bad_levels_are_refused(levels):
    with pytest.raises(ValueError, match=r"parameter 'levels': expected increasing numbers in"):
        Quantiles(levels)


def test_levels_may_come_as_a_list_and_count_the_raw_numbers():
    head = Quantiles([0.1, 0.5, 0.9])
    assert head == Quantiles((0.1, 0.5, 0.9))
    assert head.size == len(head.levels) == 3
    assert hash(head) == hash(Quantiles((0.1, 0.5, 0.9)))


# --------------------------------------------------------------------------------------- any head


@dataclass(frozen=True)
class Mean:
    """A head as a user may write one: the mean, judged by squared error."""

    size: int = 1
    levels: tuple[float, ...] = ()

    def start(self, errors):
        return torch.zeros(errors.shape[1], 0)

    def loss(self, raw, start, z):
        return (raw[..., 0] - z).square()

    def forecast(self, raw, start):
        return raw[..., 0], raw[..., :0]


def test_names_and_head_objects_are_accepted():
    assert as_head("quantiles") == Quantiles()
    assert as_head("point") == Point()
    mine = Mean()
    assert isinstance(mine, Head)
    assert as_head(mine) is mine


@pytest.mark.parametrize("head", ["median", None, 3, Quantiles, Mean], ids=str)
def test_what_is_no_head_is_refused(head):
    with pytest.raises(ValueError, match=r"parameter 'head': expected one of \['quantiles', 'poi"):
        as_head(head)
