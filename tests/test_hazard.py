"""Hazards of the next steps: likelihood, incidence, weights and smoothing against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tsforecast.nn.hazard import Hazards


def _rows(rng, n, n_steps, n_causes):
    step = rng.integers(0, n_steps + 4, n)
    cause = np.where(step > 0, rng.integers(1, n_causes + 1, n), 0)
    observed = np.where(step > 0, step + rng.integers(0, 3, n), rng.integers(0, n_steps + 3, n))
    return step, cause, observed


def _tensors(*arrays):
    return [torch.from_numpy(np.asarray(values)) for values in arrays]


def _plain_loss(logits, step, cause, observed, weight=1.0):
    """Minus log-likelihood of one row, step by step, from the definition."""
    total = 0.0
    for k in range(1, len(logits) + 1):
        odds = np.exp(logits[k - 1])
        none = 1 / (1 + odds.sum())
        if step and k == step and step <= observed:
            total += (weight if cause == 1 else 1.0) * math.log(odds[cause - 1] * none)
            break
        if k > observed or (step and k >= step):
            break
        total += math.log(none)
    return -total


@pytest.mark.parametrize("n_causes", [1, 2])
def test_loss_is_the_likelihood_of_what_follows_up_to_exit_or_end_of_record(n_causes):
    rng = np.random.default_rng(0)
    step, cause, observed = _rows(rng, 200, 5, n_causes)
    logits = rng.normal(size=(200, 5, n_causes))
    head = Hazards(5, n_causes, weight=3.0)

    loss = head.loss(*_tensors(logits, step, cause, observed)).numpy()

    plain = [_plain_loss(x, s, c, o, 3.0) for x, s, c, o in zip(logits, step, cause, observed)]
    np.testing.assert_allclose(loss, plain, rtol=1e-10)


@pytest.mark.parametrize("n_causes", [1, 2])
def test_incidence_is_the_sum_over_steps_of_being_free_and_then_hit(n_causes):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(50, 6, n_causes))

    risk = Hazards(6, n_causes).incidence(torch.from_numpy(logits)).numpy()

    for row in range(50):
        free, sum_ = 1.0, 0.0
        for k in range(6):
            odds = np.exp(logits[row, k])
            sum_ += free * odds[0] / (1 + odds.sum())
            free *= 1 / (1 + odds.sum())
            assert risk[row, k] == pytest.approx(sum_, rel=1e-10)
    assert (np.diff(risk, axis=1) >= 0).all()


def test_incidence_stays_monotone_and_within_one_at_extreme_logits():
    logits = torch.tensor([[[60.0], [-90.0], [700.0]], [[-700.0], [-700.0], [-700.0]]])
    risk = Hazards(3).incidence(logits.double())
    assert torch.isfinite(risk).all()
    assert (risk.diff(dim=1) >= 0).all() and (risk <= 1).all()


@pytest.mark.parametrize("n_causes", [1, 2])
def test_start_is_where_a_constant_model_has_the_smallest_loss(n_causes):
    rng = np.random.default_rng(2)
    step, cause, observed = _rows(rng, 3_000, 3, n_causes)
    head = Hazards(3, n_causes)
    weight = rng.uniform(0.5, 2.0, 3_000)
    start = head.start(step, cause, observed, weight).double()

    def total(logits):
        loss = head.loss(logits.expand(3_000, -1, -1), *_tensors(step, cause, observed))
        return float((loss * torch.from_numpy(weight)).sum())

    best = total(start)
    for where in np.ndindex(3, n_causes):
        for by in (-0.02, 0.02):
            moved = start.clone()
            moved[where] += by
            assert total(moved) > best


def test_weight_of_the_event_shifts_the_fit_and_is_taken_out_again():
    rng = np.random.default_rng(3)
    step, cause, observed = _rows(rng, 5_000, 3, 1)
    plain, heavy = Hazards(3), Hazards(3, weight=8.0)
    data = step, cause, observed, np.ones(5_000)

    # the weighted likelihood of a constant model is greatest at the weighted start
    start = heavy.start(*data).double()
    best = heavy.loss(start.expand(5_000, -1, -1), *_tensors(step, cause, observed)).sum()
    for by in (-0.05, 0.05):
        moved = heavy.loss((start + by).expand(5_000, -1, -1), *_tensors(step, cause, observed))
        assert moved.sum() > best
    torch.testing.assert_close(heavy.logits(start), plain.start(*data).double(), atol=1e-5, rtol=0)


def test_smoothing_spreads_an_event_over_the_steps_around_it():
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(1, 4, 1))
    step, cause, observed = np.array([2]), np.array([1]), np.array([9])
    share = np.exp(-np.abs(np.arange(1, 400) - 2) / 1.5)
    share /= share.sum()
    hazard = 1 / (1 + np.exp(-logits[0, :, 0]))
    plain = 0.0
    for k in range(1, 400):  # expected log-likelihood over the times that it may have been
        for j in range(1, min(k, 4) + 1):
            hit = j == k
            plain -= share[k - 1] * math.log(hazard[j - 1] if hit else 1 - hazard[j - 1])

    loss = Hazards(4, smoothing=1.5).loss(*_tensors(logits, step, cause, observed))

    assert float(loss) == pytest.approx(plain, rel=1e-6)


def test_smoothing_leaves_rows_without_an_event_alone():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(40, 4, 1))
    none = np.zeros(40, dtype=np.int64)
    observed = rng.integers(0, 6, 40)
    some = _tensors(logits, none, none, observed)
    torch.testing.assert_close(
        Hazards(4, smoothing=2.0).loss(*some), Hazards(4).loss(*some), rtol=0, atol=0
    )
