"""The network: every step from the newest row, the baseline before training, clean gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import make_windows
from torch import Tensor, nn

from tsforecast.data.features import ArrayFeatures, Features
from tsforecast.data.windows import Windows
from tsforecast.nn.heads import Gaussian, Head, NegativeBinomial, Point, Poisson, Quantiles
from tsforecast.nn.network import ForecastNetwork, InputScale, input_scale

FEATURES = Features(n_columns=1, n_targets=1)  # value, observed, age, elapsed, change
F, H, T = FEATURES.size, 3, 6
SCALE = np.array([[1.0, 2.0, 3.0]])
NO_STATIC = InputScale(np.zeros(0), np.zeros(0))
cells = pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])


def training_errors(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, H))


def start_of(head: Head, n_targets: int = 1) -> Tensor:
    z = training_errors()
    one = head.start(z, np.full_like(z, 4.0), np.ones_like(z))
    return one.expand(n_targets, *one.shape).clone()


def make_network(*, trained: bool = True, seed: int = 0, **changed: Any) -> ForecastNetwork:
    """A small network; `trained` gives all weights other values than zeros."""
    head = changed.pop("head", Quantiles((0.1, 0.5, 0.9)))
    features = changed.get("features", FEATURES)
    options = {
        "features": features,
        "scale": InputScale(np.zeros(features.size), np.ones(features.size)),
        "static": NO_STATIC,
        "n_codes": (),
        "season": 0,
        "cell": "lstm",
        "hidden_sizes": (5, 4),
        "dropout": 0.0,
        "layer_norm": False,
        "init": "keras",
        "max_steps": T,
        "error_scale": np.repeat(SCALE, getattr(features, "n_targets", 1), axis=0),
        "start": start_of(head, getattr(features, "n_targets", 1)),
    } | changed
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ForecastNetwork(head=head, **options)
        if trained:
            for weight in network.parameters():
                if not weight.any():
                    nn.init.normal_(weight)
    return network.eval()


def noise(b: int = 2, t: int = T, *, seed: int = 0, f: int = F) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(b, t, f))).float()


def windows_of(x: Tensor | None = None, *, origins: int = 1) -> Windows:
    return make_windows(noise() if x is None else x, origins=origins, horizon=H)


def ahead_windows(
    features: Features,
    *,
    b: int = 2,
    origins: int = 1,
    static: int = 0,
    codes: int = 0,
    season: int = 0,
) -> Windows:
    """Windows with all that there may be: constants, codes, a season, and rows ahead."""
    rng = np.random.default_rng(1)
    x = noise(b, T + origins - 1, f=features.size)
    ahead = noise(b, origins + H - 1, f=features.n_future, seed=2)
    windows = make_windows(x, origins=origins, n_targets=features.n_targets, horizon=H)
    shape = rng.normal(size=(b, origins, features.n_targets, season))
    windows = windows._replace(
        static=torch.from_numpy(rng.normal(size=(b, static))).float(),
        codes=torch.from_numpy(rng.integers(0, 3, size=(b, codes))),
    )
    return at_origins(windows, shape=torch.from_numpy(shape).float(), ahead=ahead)


def at_origins(windows: Windows, **changed: Tensor) -> Windows:
    return windows._replace(origins=windows.origins._replace(**changed))


# --------------------------------------------------------------------------------------- newest row


@cells
def test_newest_row_moves_every_horizon_step(cell):
    network = make_network(cell=cell)
    x = noise().requires_grad_()
    raw = network(windows_of(x))  # (B, O, K, H, Q)
    for step in range(H):
        median = raw[:, 0, 0, step, 1]
        (gradient,) = torch.autograd.grad(median.sum(), x, retain_graph=True)
        assert (gradient[:, -1].abs().amax(dim=1) > 1e-6).all(), f"step {step + 1}"


@cells
def test_every_origin_sees_its_own_newest_row_and_none_later(cell):
    network = make_network(cell=cell)
    x = noise().requires_grad_()
    raw = network(windows_of(x, origins=3))  # (B, O, K, H, Q): origins at rows T-3, T-2, T-1
    for origin in range(3):
        (gradient,) = torch.autograd.grad(raw[:, origin].abs().sum(), x, retain_graph=True)
        row = T - 3 + origin
        assert (gradient[:, row].abs().amax(dim=1) > 1e-6).all()
        assert torch.equal(gradient[:, row + 1 :], torch.zeros_like(gradient[:, row + 1 :]))


@cells
def test_many_origins_are_the_forecasts_of_windows_that_end_there(cell):
    network = make_network(cell=cell)
    x = noise()
    many = network(windows_of(x, origins=3))
    for origin in range(3):
        single = network(windows_of(x[:, : T - 2 + origin]))[:, 0]
        torch.testing.assert_close(many[:, origin], single)


@cells
def test_origins_may_stand_anywhere_in_a_window(cell):
    network = make_network(cell=cell)
    x = noise(3)
    at = torch.tensor([0, 2, 4])
    many = network(windows_of(x, origins=2)._replace(at=at))
    for b in range(3):
        for o in range(2):
            single = network(windows_of(x[b : b + 1, : at[b] + o + 1]))[0, 0]
            torch.testing.assert_close(many[b, o], single)


@cells
def test_a_sequence_in_pieces_is_remembered_like_the_whole(cell):
    network = make_network(cell=cell)
    windows = windows_of()
    whole, end = network.encode(windows.x, windows.static, windows.codes)
    first, state = network.encode(windows.x[:, :2], windows.static, windows.codes)
    second, state = network.encode(windows.x[:, 2:], windows.static, windows.codes, state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    for one, other in zip(state, end):
        torch.testing.assert_close(one, other)


# ---------------------------------------------------------------------------- start at the baseline


@cells
def test_untrained_network_forecasts_exactly_the_baseline(cell):
    network = make_network(trained=False, cell=cell)
    forecast, quantiles = network.forecast(windows_of(noise() * 100))
    assert torch.equal(forecast, torch.zeros(2, 1, H, dtype=torch.float64))
    z = training_errors()
    expected = np.quantile(z, [0.1, 0.5, 0.9], axis=0).T - np.quantile(z, 0.5, axis=0)[:, None]
    np.testing.assert_allclose(quantiles[0, 0], expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(quantiles[0], quantiles[1])


EVERYTHING = Features(n_columns=4, n_targets=2, n_seasons=1, scaled=True, n_future=1)
options = pytest.mark.parametrize(
    "changed",
    [
        {},
        {"features": EVERYTHING},
        {"features": EVERYTHING, "season": 4},
        {"features": EVERYTHING, "static": InputScale(np.zeros(2), np.ones(2)), "season": 4},
        {"features": EVERYTHING, "n_codes": (2, 5), "layer_norm": True, "dropout": 0.5},
        {"season": 4, "n_codes": (2,)},
    ],
    ids=["plain", "ahead", "season", "static", "codes", "codes and season"],
)


def fitting_windows(changed: dict, *, origins: int = 1) -> Windows:
    static = changed.get("static", NO_STATIC)
    return ahead_windows(
        changed.get("features", FEATURES),
        origins=origins,
        static=len(static.location),
        codes=len(changed.get("n_codes", ())),
        season=changed.get("season", 0),
    )


@options
@pytest.mark.parametrize("head", [Point(), Quantiles((0.1, 0.5)), Gaussian((0.5,))], ids=str)
def test_untrained_network_says_nothing_with_every_option(changed, head):
    network = make_network(trained=False, head=head, **changed)
    windows = fitting_windows(changed, origins=2)
    raw = network(windows)
    assert raw.shape == (2, 2, windows.origins.unit.shape[2], H, head.size)
    assert torch.equal(raw, torch.zeros_like(raw))
    forecast, _ = network.forecast(windows)
    assert forecast.shape == (2, windows.origins.unit.shape[2], H)
    assert not forecast.any()


@options
def test_trained_network_moves_every_origin_target_and_step_with_every_option(changed):
    raw = make_network(**changed)(fitting_windows(changed, origins=2))
    assert (raw.abs() > 1e-4).all()
    assert raw.flatten(2).std(dim=0).min() > 0  # windows differ


@options
def test_every_weight_of_an_untrained_network_still_learns(changed):
    """The first step moves the decoders, the second one all that lies behind them."""
    network = make_network(trained=False, **changed)
    windows = fitting_windows(changed)
    shape = windows.origins.base.shape
    z = torch.from_numpy(np.random.default_rng(2).normal(size=shape)).float()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss, weight = network.loss(windows, z, torch.ones(windows.origins.unit.shape))
        (loss * weight).sum().backward()
        optimizer.step()
    for name, weight in network.named_parameters():
        assert weight.grad.abs().sum() > 0, name


def test_error_scale_does_not_change_what_a_network_says_in_its_own_units():
    network = make_network(trained=False, head=Point())
    nn.init.ones_(network.decoder.bias)
    forecast, _ = network.forecast(windows_of())
    assert torch.equal(forecast, torch.ones(2, 1, H, dtype=torch.float64))


def test_error_scale_and_running_scale_are_the_unit_of_counts():
    """A rate of base exp(0.5), told in units of the baseline's errors."""
    network = make_network(trained=False, head=Poisson())
    nn.init.constant_(network.decoder.bias, 0.5)
    unit = torch.tensor([2.0, 5.0]).reshape(2, 1, 1)
    windows = at_origins(windows_of(), base=torch.full((2, 1, 1, H), 7.0), unit=unit)
    forecast, _ = network.forecast(windows)
    rate = 7 * np.exp(8 * np.tanh(0.5 / 8))
    expected = (rate - 7) / (np.array([[2.0], [5.0]]) * SCALE)
    np.testing.assert_allclose(forecast[:, 0], expected, rtol=1e-6)


# ------------------------------------------------------------------------------------------- inputs


def test_input_scale_is_that_of_numpy():
    x = noise(1, 300)[0] * torch.tensor([1.0, 10.0, 0.1, 1.0, 2.0]) + 5.0
    scale = input_scale(x)
    np.testing.assert_allclose(scale.location, x.double().mean(0), rtol=1e-6)
    np.testing.assert_allclose(scale.gain, 1 / x.double().std(0, correction=0), rtol=1e-6)


def test_constant_features_are_ignored():
    x = noise(1, 300)[0]
    x[:, 2] = 0.1
    x[::2, 2] = float(np.nextafter(np.float32(0.1), np.float32(1)))  # noise of rounding alone
    scale = input_scale(x)
    assert scale.gain[2] == 0.0
    assert (np.delete(scale.gain, 2) > 0).all()
    network = make_network(scale=scale)
    changed = noise()
    changed[..., 2] = 1e6
    constant = noise()
    constant[..., 2] = 0.1
    assert torch.equal(network(windows_of(changed)), network(windows_of(constant)))


def test_change_of_the_target_is_an_input():
    gain = np.zeros(F)
    gain[FEATURES.from_row_before] = [0.0, 1.0]  # all other inputs off
    network = make_network(scale=InputScale(np.zeros(F), gain))
    x = noise()
    others = x.clone()
    others[..., : F - 1] += 7.0
    assert torch.equal(network(windows_of(x)), network(windows_of(others)))
    moved = x.clone()
    moved[:, -1, F - 1] += 1.0
    assert not torch.allclose(network(windows_of(x)), network(windows_of(moved)))


@pytest.mark.parametrize("feature", [3, 4], ids=["elapsed", "change"])
def test_first_row_of_a_window_knows_of_no_row_before(feature):
    """Hours and change since the row before depend, at the start, on what was cut off."""
    scale = InputScale(np.full(F, 0.3), np.full(F, 2.0))
    network = make_network(scale=scale)
    x = noise()
    cut = x.clone()
    cut[:, 0, feature] = 500.0
    assert torch.equal(network(windows_of(x)), network(windows_of(cut)))
    assert cut[0, 0, feature] == 500.0  # the windows themselves are left alone
    later = x.clone()
    later[:, 1, feature] = 500.0
    assert not torch.allclose(network(windows_of(x)), network(windows_of(later)))


def test_values_far_beyond_the_training_range_stay_in_reach():
    network = make_network(cell="rnn", hidden_sizes=(4,))
    seen: list[Tensor] = []
    network.cells.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x = noise()
    x[:, -1, 1] = 50.0
    beyond = x.clone()
    beyond[:, -1, 1] = 500.0
    assert not torch.equal(network(windows_of(x)), network(windows_of(beyond)))
    assert seen[-1][:, -1, 1].max() == pytest.approx(np.arcsinh(500), rel=1e-5)
    assert torch.isfinite(network(windows_of(beyond * 1e20))).all()


# ------------------------------------------------------------------------------ columns known ahead


AHEAD = Features(n_columns=3, n_targets=2, n_future=1)


@cells
@pytest.mark.parametrize("origins", [1, 3])
def test_a_step_hears_of_its_own_row_ahead_and_of_no_other(cell, origins):
    network = make_network(cell=cell, features=AHEAD)
    windows = ahead_windows(AHEAD, origins=origins)
    windows.x.requires_grad_()
    ahead = windows.origins.ahead.requires_grad_()
    raw = network(windows)  # (B, O, K, H, Q)
    for o in range(origins):
        for target in range(2):
            for step in range(H):
                out = raw[:, o, target, step].sum()
                past, moved = torch.autograd.grad(out, (windows.x, ahead), retain_graph=True)
                assert (moved[:, o + step].abs() > 1e-6).all()
                moved[:, o + step] = 0.0
                assert torch.equal(moved, torch.zeros_like(moved))
                assert torch.equal(past[:, T + o :], torch.zeros_like(past[:, T + o :]))
                # today's is in the state
                assert (past[:, T + o - 1, AHEAD.future].abs() > 0).all()


def test_columns_ahead_come_in_with_location_and_gain_like_all_others():
    scale = InputScale(np.linspace(-1, 1, AHEAD.size), np.linspace(1, 2, AHEAD.size))
    network, plain = make_network(features=AHEAD, scale=scale), make_network(features=AHEAD)
    windows = ahead_windows(AHEAD)
    x = (windows.x - network.location) * network.gain
    ahead = windows.origins.ahead
    known = (ahead - network.location[AHEAD.future]) * network.gain[AHEAD.future]
    same = at_origins(windows._replace(x=x), ahead=known)
    torch.testing.assert_close(network(windows), plain(same))
    far = at_origins(windows, ahead=torch.full_like(ahead, 1e30))
    assert torch.isfinite(network(far)).all()


# -------------------------------------------------------------------- constants of a series, season


def test_static_numbers_are_scaled_squashed_and_heard():
    static = InputScale(np.array([50.0, 0.0]), np.array([0.1, 0.0]))
    network = make_network(static=static)
    windows = windows_of()
    young, old = (windows._replace(static=torch.tensor([[age, 1.0]] * 2)) for age in (20.0, 80.0))
    assert not torch.allclose(network(young), network(old))
    other = young._replace(static=torch.tensor([[20.0, 99.0]] * 2))  # a constant of all series
    assert torch.equal(network(young), network(other))
    seen: list[Tensor] = []
    network.cells.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network(old)
    np.testing.assert_allclose(seen[0][:, :, F], np.arcsinh(3.0), rtol=1e-6)  # at every row


def test_each_known_code_has_a_vector_and_unknown_ones_the_zero_vector():
    network = make_network(n_codes=(3, 20))
    small, large = network.embeddings
    assert small.weight.shape == (4, 2)  # the width grows with the number of values ...
    assert large.weight.shape == (21, 8)  # ... up to eight
    assert torch.equal(small.weight[0], torch.zeros(2))
    assert (small.weight[1:].abs() > 0).all()
    assert len(torch.unique(small.weight, dim=0)) == 4
    windows = windows_of()
    said = [network(windows._replace(codes=torch.tensor([[code, 1]] * 2))) for code in range(4)]
    for one, other in zip(said, said[1:]):
        assert not torch.allclose(one, other)


def test_the_vector_of_unknown_codes_gets_no_gradient():
    network = make_network(n_codes=(3,)).train()
    windows = windows_of()._replace(codes=torch.tensor([[0], [2]]))
    loss, weight = network.loss(windows, torch.ones(2, 1, 1, H), torch.ones(2, 1, 1))
    (loss * weight).sum().backward()
    gradient = network.embeddings[0].weight.grad
    assert torch.equal(gradient[[0, 1, 3]], torch.zeros(3, 2))
    assert (gradient[2].abs() > 0).all()


@pytest.mark.parametrize("head", [Quantiles((0.1, 0.3, 0.5, 0.9)), Gaussian(), Point()], ids=str)
def test_the_seasonal_line_moves_the_location_alone(head):
    features = Features(n_columns=2, n_targets=2, n_seasons=1)
    network = make_network(features=features, season=4, head=head)
    windows = ahead_windows(features, origins=2, season=4)
    with torch.no_grad():
        raw, flat = network(windows), network(at_origins(windows, shape=0 * windows.origins.shape))
    moved = (raw - flat).double()
    weight = network.seasonal.detach().double()  # (K, L, H)
    for b in range(2):
        for o in range(2):
            for k in range(2):
                # a season is measured in the mean error of the baseline, here 2
                line = (windows.origins.shape[b, o, k].double() / 2.0) @ weight[k]
                np.testing.assert_allclose(moved[b, o, k, :, head.location], line, atol=1e-5)
    others = np.delete(moved.numpy(), head.location, axis=-1)
    assert np.array_equal(others, np.zeros_like(others))


# --------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize(
    "head",
    [
        Point(),
        Point("squared"),
        Point("qlike"),
        Quantiles((0.1, 0.5, 0.9)),
        Gaussian(),
        Poisson(),
        NegativeBinomial(),
    ],
    ids=str,
)
def test_masked_targets_never_give_nan_gradients(head):
    network = make_network(head=head)
    z = torch.ones(2, 4, 1, H)
    z[0] = torch.nan  # a window without any target
    z[1, 2, 0, 1:] = torch.nan
    windows = windows_of(origins=4)
    origins = windows.origins
    origins.base[0], origins.unit[0] = torch.nan, torch.nan  # nor a baseline, nor a scale
    loss, weight = network.loss(windows, z, torch.full((2, 4, 1), 2.0))
    (loss * weight).sum().backward()
    assert torch.isfinite(loss).all()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    assert network.decoder.weight.grad.abs().sum() > 0
    assert weight[..., 0].tolist() == [[0] * 4, [2] * 4]
    assert torch.equal(loss[0], torch.zeros(4, 1))


def test_loss_of_an_origin_and_target_is_the_mean_over_its_known_steps():
    features = Features(n_columns=2, n_targets=2)
    network = make_network(head=Point(), features=features)
    windows = ahead_windows(features)
    z = torch.tensor(
        [[[1.0, torch.nan, -2.0], [0.1, 0.2, 0.3]], [[0.5, 0.5, 0.5], [torch.nan] * 3]]
    )
    loss, weight = network.loss(windows, z[:, None], torch.tensor([[[1.0, 3.0]], [[4.0, 5.0]]]))
    error = (z - network(windows)[:, 0, ..., 0]).abs()  # (B, K, H)
    expected = [error[0, 0, [0, 2]].mean(), error[0, 1].mean(), error[1, 0].mean(), torch.zeros(())]
    torch.testing.assert_close(loss.flatten(), torch.stack(expected))
    assert weight.flatten().tolist() == [1.0, 3.0, 4.0, 0.0]


# ------------------------------------------------------------------------------------------- states


def test_noise_is_drawn_in_training_alone_and_drops_what_passes_between_layers():
    network = make_network(dropout=0.5)
    windows = windows_of()
    assert network.noise((windows,)) == ()
    network.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, two = network.noise((windows,)), network.noise((windows,))
    assert not torch.equal(one[0], two[0])
    assert not torch.equal(network(windows, one), network(windows, two))
    assert torch.equal(network(windows, one), network(windows, one))


def test_weights_alone_are_the_model():
    """Scales and the start of the head travel with the state dict."""
    static, other_static = (InputScale(np.full(2, at), np.full(2, 1 + at)) for at in (0.0, 1.0))
    shared = {"features": EVERYTHING, "season": 4, "n_codes": (2,)}
    network = make_network(static=static, **shared)
    other = make_network(
        seed=5,
        scale=InputScale(np.ones(EVERYTHING.size), np.full(EVERYTHING.size, 2.0)),
        static=other_static,
        error_scale=np.ones((2, H)),
        start=torch.zeros(2, H, 2),
        **shared,
    )
    windows = fitting_windows(shared | {"static": static})
    u = torch.tensor([0.2, 0.7], dtype=torch.float64)
    assert not torch.allclose(network.forecast(windows)[0], other.forecast(windows)[0])
    other.load_state_dict(network.state_dict())
    for ours, theirs in zip(network.forecast(windows), other.forecast(windows)):
        assert torch.equal(ours, theirs)
    assert torch.equal(network.quantile(windows, u), other.quantile(windows, u))


def test_quantiles_at_the_levels_of_the_head_are_those_of_the_forecast():
    network = make_network()
    levels = torch.tensor(network.head.levels, dtype=torch.float64)
    _, quantiles = network.forecast(windows_of())
    torch.testing.assert_close(network.quantile(windows_of(), levels), quantiles)


def test_hidden_sizes_that_are_no_sequence_are_refused():
    with pytest.raises(ValueError, match=r"parameter 'hidden_sizes'.*write \(64,\)"):
        make_network(hidden_sizes=64)


# ------------------------------------------------------------------------------------------- arrays


def test_features_of_arrays_are_standardised_and_not_squashed():
    """An affine change of the inputs is undone exactly, however far they lie outside."""
    location, gain = np.array([3.0, -5.0]), np.array([0.5, 0.25])
    plain = make_network(features=ArrayFeatures(2), scale=InputScale(np.zeros(2), np.ones(2)))
    scaled = make_network(features=ArrayFeatures(2), scale=InputScale(location, gain))
    x = torch.randn(4, T, 2, generator=torch.manual_seed(1)) * 8
    moved = x / torch.from_numpy(gain).float() + torch.from_numpy(location).float()
    torch.testing.assert_close(scaled(make_windows(moved)), plain(make_windows(x)))
    expected, _ = plain.cells(x)
    torch.testing.assert_close(plain.encode(x, x[:, 0, :0], x[:, 0, :0].long())[0], expected)


def test_a_window_of_an_array_begins_with_its_first_row():
    """No feature of the first row is taken for a change since the row before."""
    network = make_network(features=ArrayFeatures(2))
    x = torch.randn(1, T, 2, requires_grad=True)
    network(make_windows(x * 1.0)).sum().backward()
    assert (x.grad[0, 0] != 0).all()
