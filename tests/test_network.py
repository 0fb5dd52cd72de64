"""The network: every step from the newest row, the baseline before training, clean gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tsforecast.nn.heads import Point, Quantiles
from tsforecast.nn.network import ForecastNetwork, InputScale, input_scale

F, H, T = 4, 3, 6
cells = pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])


def training_errors(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, H))


def make_network(*, trained: bool = True, seed: int = 0, **changed) -> ForecastNetwork:
    """A small network; `trained` gives the decoder weights other than its zeros."""
    head = changed.pop("head", Quantiles((0.1, 0.5, 0.9)))
    options = {
        "scale": InputScale(np.zeros(F), np.ones(F), 1.0),
        "cell": "lstm",
        "hidden_sizes": (5, 4),
        "dropout": 0.0,
        "layer_norm": False,
        "init": "keras",
        "max_steps": T,
        "error_scale": np.array([1.0, 2.0, 3.0]),
        "start": head.start(training_errors()),
    } | changed
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ForecastNetwork(head=head, **options)
        if trained:
            nn.init.normal_(network.decoder.weight)
            nn.init.normal_(network.decoder.bias)
    return network.eval()


def rows(b: int = 2, t: int = T, *, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(b, t, F))).float()


# ------------------------------------------------------------------------------------- newest row


@cells
def test_newest_row_moves_every_horizon_step(cell):
    network = make_network(cell=cell)
    x = rows().requires_grad_()
    forecast, _ = network.forecast(x)  # (B, H)
    for step in range(H):
        (gradient,) = torch.autograd.grad(forecast[:, step].sum(), x, retain_graph=True)
        assert (gradient[:, -1].abs().amax(dim=1) > 1e-6).all(), f"step {step + 1}"


@cells
def test_every_origin_sees_its_own_newest_row_and_none_later(cell):
    network = make_network(cell=cell)
    x = rows().requires_grad_()
    raw = network(x, 3)  # (B, O, H, Q): origins at rows T-3, T-2, T-1
    for origin in range(3):
        (gradient,) = torch.autograd.grad(raw[:, origin].abs().sum(), x, retain_graph=True)
        row = T - 3 + origin
        assert (gradient[:, row].abs().amax(dim=1) > 1e-6).all()
        assert torch.equal(gradient[:, row + 1 :], torch.zeros_like(gradient[:, row + 1 :]))


@cells
def test_many_origins_are_the_forecasts_of_windows_that_end_there(cell):
    network = make_network(cell=cell)
    x = rows()
    many = network(x, 3)
    for origin in range(3):
        single = network(x[:, : T - 2 + origin])[:, 0]
        torch.testing.assert_close(many[:, origin], single)


# --------------------------------------------------------------------------- start at the baseline


@cells
def test_untrained_network_forecasts_exactly_the_baseline(cell):
    network = make_network(trained=False, cell=cell)
    forecast, quantiles = network.forecast(rows() * 100)
    assert torch.equal(forecast, torch.zeros(2, H))
    z = training_errors()
    expected = np.quantile(z, [0.1, 0.5, 0.9], axis=0).T - np.quantile(z, 0.5, axis=0)[:, None]
    expected = expected * np.array([1.0, 2.0, 3.0])[:, None]  # in the unit of the target
    np.testing.assert_allclose(quantiles[0].detach(), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(quantiles[0], quantiles[1])


def test_untrained_decoder_still_learns():
    network = make_network(trained=False)
    loss, _ = network.loss(rows(), torch.ones(2, 1, H))
    loss.sum().backward()
    assert network.decoder.weight.grad.abs().sum() > 0


def test_error_scale_is_the_unit_of_each_step():
    head = Point()
    network = make_network(trained=False, head=head)
    nn.init.ones_(network.decoder.bias)
    forecast, _ = network.forecast(rows())
    np.testing.assert_allclose(forecast.detach(), [[1.0, 2.0, 3.0]] * 2)


# ------------------------------------------------------------------------------------------ inputs


def test_input_scale_is_that_of_numpy():
    x = rows(1, 300)[0] * torch.tensor([1.0, 10.0, 0.1, 1.0]) + 5.0
    change = np.random.default_rng(1).normal(size=300)
    scale = input_scale(x, change)
    np.testing.assert_allclose(scale.location, x.double().mean(0), rtol=1e-6)
    np.testing.assert_allclose(scale.gain, 1 / x.double().std(0, correction=0), rtol=1e-6)
    assert scale.change_gain == pytest.approx(1 / np.sqrt(np.mean(change**2)))


def test_constant_features_are_ignored():
    x = rows(1, 300)[0]
    x[:, 2] = 0.1
    x[::2, 2] = float(np.nextafter(np.float32(0.1), np.float32(1)))  # noise of rounding alone
    scale = input_scale(x, np.ones(300))
    assert scale.gain[2] == 0.0
    assert (np.delete(scale.gain, 2) > 0).all()
    network = make_network(scale=scale)
    changed = rows()
    changed[..., 2] = 1e6
    constant = rows()
    constant[..., 2] = 0.1
    assert torch.equal(network(changed), network(constant))


def test_target_that_never_changes_gives_no_change_feature():
    assert input_scale(rows(1, 50)[0], np.zeros(50)).change_gain == 0.0


def test_change_of_the_target_is_an_input():
    scale = InputScale(np.zeros(F), np.zeros(F), 1.0)  # all other inputs off
    network = make_network(scale=scale)
    x = rows()
    shifted = x + torch.tensor([7.0, 0.0, 0.0, 0.0])
    torch.testing.assert_close(network(x), network(shifted))
    moved = x.clone()
    moved[:, -1, 0] += 1.0
    assert not torch.allclose(network(x), network(moved))


def test_first_row_of_a_window_knows_of_no_row_before():
    """Hours since the row before, at the start of a window, depend on what was cut off."""
    network = make_network()
    x = rows()
    cut = x.clone()
    cut[:, 0, -1] = 500.0
    assert torch.equal(network(x), network(cut))
    later = x.clone()
    later[:, 1, -1] = 500.0
    assert not torch.allclose(network(x), network(later))


def test_values_far_beyond_the_training_range_stay_in_reach():
    network = make_network(cell="rnn", hidden_sizes=(4,))
    x = rows()
    x[:, -1, 1] = 50.0
    beyond = x.clone()
    beyond[:, -1, 1] = 500.0
    assert not torch.equal(network(x), network(beyond))
    assert network._inputs(beyond)[:, -1, 1].max() < 7.0  # asinh(500)
    assert torch.isfinite(network(beyond * 1e20)).all()


# -------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("head", [Point(), Point("squared"), Quantiles((0.1, 0.5, 0.9))], ids=str)
def test_masked_targets_never_give_nan_gradients(head):
    network = make_network(head=head, start=head.start(training_errors()))
    z = torch.ones(2, 4, H)
    z[0] = torch.nan  # a window without any target
    z[1, 2, 1:] = torch.nan
    loss, known = network.loss(rows(), z)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    for name, weight in network.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
    assert network.decoder.weight.grad.abs().sum() > 0
    assert known.tolist() == [[0] * 4, [3, 3, 1, 3]]
    assert torch.equal(loss[0], torch.zeros(4))


def test_loss_of_an_origin_is_the_mean_over_its_known_steps():
    head = Point()
    network = make_network(head=head, start=head.start(training_errors()))
    z = torch.tensor([[[1.0, torch.nan, -2.0]], [[0.5, 0.5, 0.5]]])
    loss, _ = network.loss(rows(), z)
    raw = network(rows())[..., 0]  # (B, 1, H)
    expected = [(abs(z - raw))[0, 0, [0, 2]].mean(), abs(z - raw)[1, 0].mean()]
    torch.testing.assert_close(loss[:, 0], torch.stack(expected))


# ------------------------------------------------------------------------------------------ states


def test_dropout_is_off_in_evaluation_and_on_in_training():
    network = make_network(dropout=0.5)
    x = rows()
    assert torch.equal(network(x), network(x))
    network.train()
    with torch.random.fork_rng():
        assert not torch.equal(network(x), network(x))


def test_weights_alone_are_the_model():
    """Scales and the start of the head travel with the state dict."""
    network = make_network()
    other = make_network(
        seed=5,
        scale=InputScale(np.ones(F), np.full(F, 2.0), 3.0),
        error_scale=np.ones(H),
        start=torch.zeros(H, 2),
    )
    assert not torch.allclose(network.forecast(rows())[0], other.forecast(rows())[0])
    other.load_state_dict(network.state_dict())
    for ours, theirs in zip(network.forecast(rows()), other.forecast(rows())):
        assert torch.equal(ours, theirs)


def test_hidden_sizes_that_are_no_sequence_are_refused():
    with pytest.raises(ValueError, match=r"parameter 'hidden_sizes'.*write \(64,\)"):
        make_network(hidden_sizes=64)
