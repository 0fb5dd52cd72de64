"""The cell stack against the readable equations and against numpy in Keras' conventions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from tsforecast.nn.cells import CELLS, GATES, CellStack, LayerState, State, unrolled

Array = npt.NDArray[np.float64]

B, T, F = 3, 9, 5


@pytest.fixture(autouse=True)
def _own_generator() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def random_stack(cell: Any, sizes: tuple[int, ...] = (7, 4), **options: Any) -> CellStack:
    """A float64 stack in evaluation mode, every weight and bias drawn: no zero hides an error."""
    stack = CellStack(F, sizes, cell=cell, **options).double().eval()
    with torch.no_grad():
        for weight in stack.parameters():
            weight.normal_(std=0.6)
    return stack


def inputs(steps: int = T) -> Tensor:
    return torch.randn(B, steps, F, dtype=torch.float64)


def flat(state: State) -> list[Tensor]:
    return [part for entry in state for part in (entry if isinstance(entry, tuple) else (entry,))]


def layers(stack: CellStack) -> list[nn.RNNBase]:
    return [layer for layer in stack.layers if isinstance(layer, nn.RNNBase)]


def weights(layer: nn.RNNBase) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W (G H, F), U (G H, H), b (G H,), d (G H,)."""
    first, second, third, fourth = (weight.detach() for weight in layer.all_weights[0])
    return first, second, third, fourth


# Shapes, state and time order


@pytest.mark.parametrize("cell", CELLS)
def test_output_is_the_top_layers_hidden_state_at_every_step(cell: Any) -> None:
    stack = random_stack(cell, (7, 6, 4))
    output, state = stack(inputs())
    assert output.shape == (B, T, 4)
    assert [part.shape[-1] for part in flat(state)] == (
        [7, 7, 6, 6, 4, 4] if cell == "lstm" else [7, 6, 4]
    )
    assert all(part.shape[:2] == (1, B) for part in flat(state))
    top = state[-1][0] if cell == "lstm" else state[-1]
    assert torch.equal(output[:, -1], top[0])


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cut", [1, 4, T - 1])
def test_two_pieces_with_the_state_carried_equal_the_whole(
    cell: Any, layer_norm: bool, cut: int
) -> None:
    stack, x = random_stack(cell, layer_norm=layer_norm), inputs()
    whole, end = stack(x)
    head, state = stack(x[:, :cut])
    tail, carried_end = stack(x[:, cut:], state)
    torch.testing.assert_close(torch.cat([head, tail], dim=1), whole, rtol=0, atol=1e-12)
    for carried, straight in zip(flat(carried_end), flat(end), strict=True):
        torch.testing.assert_close(carried, straight, rtol=0, atol=1e-12)
    forgetful, _ = stack(x[:, cut:])
    assert not torch.allclose(forgetful[:, 0], whole[:, cut], atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_output_ignores_later_rows(cell: Any, layer_norm: bool, dtype: torch.dtype) -> None:
    stack = random_stack(cell, layer_norm=layer_norm).to(dtype)
    x = inputs().to(dtype)
    changed = x.clone()
    changed[:, 5:] = 1e3 * torch.randn_like(changed[:, 5:])
    with torch.no_grad():
        before, after = stack(x)[0], stack(changed)[0]
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5], after[:, 5])


@pytest.mark.parametrize("cell", CELLS)
def test_newest_output_sees_the_newest_row(cell: Any) -> None:
    stack = CellStack(F, (7, 4), cell=cell).double().eval()
    x = inputs().requires_grad_()
    stack(x)[0][:, -1].sum().backward()
    assert x.grad is not None
    assert (x.grad[:, -1].abs() > 1e-6).all()
    assert (x.grad[:, 0].abs() > 0).any()
    nudged = x.detach().clone()
    nudged[:, -1, 0] += 1.0
    moved = (stack(nudged)[0] - stack(x)[0])[:, -1].abs()
    assert (moved > 1e-6).all()


@pytest.mark.parametrize("cell", CELLS)
def test_sequences_of_a_batch_do_not_touch_each_other(cell: Any) -> None:
    stack, x = random_stack(cell, layer_norm=True), inputs()
    alone = torch.cat([stack(x[[index]])[0] for index in range(B)])
    torch.testing.assert_close(alone, stack(x)[0], rtol=0, atol=1e-12)


# The readable equations


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (7, 4), (4, 7, 3)])
@pytest.mark.parametrize("cell", CELLS)
def test_readable_equations_equal_the_fused_layers(
    cell: Any, sizes: tuple[int, ...], layer_norm: bool
) -> None:
    stack, x = random_stack(cell, sizes, layer_norm=layer_norm), inputs()
    _, state = stack(inputs(3))
    for start in (None, state):
        fused, fused_end = stack(x, start)
        readable, readable_end, _ = unrolled(stack, x, start)
        torch.testing.assert_close(readable, fused, rtol=0, atol=1e-12)
        for mine, theirs in zip(flat(readable_end), flat(fused_end), strict=True):
            assert mine.shape == theirs.shape
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("init", ["keras", "torch"])
@pytest.mark.parametrize("cell", CELLS)
def test_readable_equations_equal_the_fused_layers_in_float32(cell: Any, init: Any) -> None:
    stack = CellStack(F, (32, 16), cell=cell, layer_norm=True, init=init).eval()
    x = inputs().float()
    torch.testing.assert_close(unrolled(stack, x)[0], stack(x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_readable_equations_have_the_same_gradients(cell: Any) -> None:
    stack, x = random_stack(cell, layer_norm=True), inputs()
    parameters = list(stack.parameters())
    fused = torch.autograd.grad(stack(x)[0].square().sum(), parameters)
    readable = torch.autograd.grad(unrolled(stack, x)[0].square().sum(), parameters)
    for mine, theirs in zip(readable, fused, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_gates_are_named_in_range_and_rebuild_the_hidden_state(cell: Any) -> None:
    stack, x = random_stack(cell), inputs()
    output, state, traces = unrolled(stack, x)
    assert len(traces) == 2
    assert torch.equal(traces[-1]["hidden"], output)
    for size, gates in zip((7, 4), traces, strict=True):
        assert tuple(gates) == GATES[cell]
        assert all(gate.shape == (B, T, size) for gate in gates.values())
        for name in {"forget", "input", "output", "reset", "update"} & set(gates):
            assert ((gates[name] > 0) & (gates[name] < 1)).all()
        for name in {"candidate", "hidden"} & set(gates):
            assert (gates[name].abs() <= 1).all()
        hidden = gates["hidden"]
        if cell == "lstm":
            written = gates["input"] * gates["candidate"]
            kept = gates["forget"][:, 1:] * gates["cell"][:, :-1]
            torch.testing.assert_close(gates["cell"][:, 1:], kept + written[:, 1:])
            torch.testing.assert_close(hidden, gates["output"] * gates["cell"].tanh())
        if cell == "gru":
            update = gates["update"][:, 1:]
            new = (1 - update) * gates["candidate"][:, 1:] + update * hidden[:, :-1]
            torch.testing.assert_close(hidden[:, 1:], new)
    if cell == "lstm":
        assert torch.equal(state[-1][1][0], traces[-1]["cell"][:, -1])


# Keras' conventions in numpy: kernel (F, G H), recurrent kernel (H, G H)


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def keras_lstm(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Gates i, f, c, o along the columns; bias (4 H,)."""
    h = c = np.zeros((x.shape[0], recurrent.shape[0]))
    outputs = []
    for row in x.swapaxes(0, 1):
        i, f, candidate, o = np.split(row @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def keras_gru(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Gates z, r, h along the columns; reset_after=True: bias (2, 3 H), the input's row first."""
    h = np.zeros((x.shape[0], recurrent.shape[0]))
    outputs = []
    for row in x.swapaxes(0, 1):
        x_z, x_r, x_h = np.split(row @ kernel + bias[0], 3, axis=1)
        h_z, h_r, h_h = np.split(h @ recurrent + bias[1], 3, axis=1)
        z = sigmoid(x_z + h_z)
        h = z * h + (1.0 - z) * np.tanh(x_h + sigmoid(x_r + h_r) * h_h)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def keras_simple_rnn(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Array:
    h = np.zeros((x.shape[0], recurrent.shape[0]))
    outputs = []
    for row in x.swapaxes(0, 1):
        h = np.tanh(row @ kernel + bias + h @ recurrent)
        outputs.append(h)
    return np.stack(outputs, axis=1)


KERAS = {"lstm": keras_lstm, "gru": keras_gru, "rnn": keras_simple_rnn}


def keras_weights(layer: nn.RNNBase) -> tuple[Array, Array, Array]:
    """Kernel, recurrent kernel and bias of the Keras layer that computes what `layer` computes."""
    arrays = [weight.numpy() for weight in weights(layer)]
    if isinstance(layer, nn.GRU):  # torch stacks r, z, n; Keras z, r, h
        arrays = [np.concatenate([z, r, n]) for r, z, n in (np.split(a, 3) for a in arrays)]
    kernel, recurrent, input_bias, recurrent_bias = arrays
    if isinstance(layer, nn.GRU):
        return kernel.T, recurrent.T, np.stack([input_bias, recurrent_bias])
    return kernel.T, recurrent.T, input_bias + recurrent_bias


@pytest.mark.parametrize("sizes", [(6,), (7, 4)])
@pytest.mark.parametrize("cell", CELLS)
def test_stack_equals_the_keras_layers_in_numpy(cell: str, sizes: tuple[int, ...]) -> None:
    stack, x = random_stack(cell, sizes), inputs()
    expected = x.numpy()
    for layer in layers(stack):
        expected = KERAS[cell](expected, *keras_weights(layer))
    found = stack(x)[0].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    single = stack.float()(x.float())[0].detach().numpy()
    np.testing.assert_allclose(single, expected, rtol=0, atol=2e-6)


def test_gru_needs_its_gates_swapped_for_keras() -> None:
    stack, x = random_stack("gru", (6,)), inputs()
    kernel, recurrent, bias = keras_weights(layers(stack)[0])
    order = np.r_[6:12, 0:6, 12:18]
    unswapped = keras_gru(x.numpy(), kernel[:, order], recurrent[:, order], bias[:, order])
    assert np.abs(unswapped - stack(x)[0].detach().numpy()).max() > 0.01


# Initial weights


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_kernel_is_orthogonal_over_all_gates(cell: Any) -> None:
    for layer in layers(CellStack(F, (16, 8), cell=cell)):
        recurrent = weights(layer)[1]  # (G H, H)
        identity = torch.eye(layer.hidden_size)
        torch.testing.assert_close(recurrent.T @ recurrent, identity, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_input_weights_are_glorot_uniform_over_all_gates(cell: Any) -> None:
    for layer in layers(CellStack(40, (60, 50), cell=cell)):
        kernel = weights(layer)[0]  # (G H, F)
        limit = math.sqrt(6.0 / sum(kernel.shape))
        assert kernel.abs().max() <= limit
        assert kernel.abs().max() > 0.99 * limit
        assert kernel.std().item() == pytest.approx(limit / math.sqrt(3.0), rel=0.05)


def test_forget_bias_is_one_and_other_biases_zero_by_default() -> None:
    for layer in layers(CellStack(F, (7, 4))):
        _, _, input_bias, recurrent_bias = weights(layer)
        size = layer.hidden_size
        expected = torch.zeros(4 * size)
        expected[size : 2 * size] = 1.0
        assert torch.equal(input_bias, expected)
        assert torch.equal(recurrent_bias, torch.zeros(4 * size))


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_biases_of_gru_and_rnn_are_zero_by_default(cell: Any) -> None:
    for layer in layers(CellStack(F, (7, 4), cell=cell)):
        _, _, input_bias, recurrent_bias = weights(layer)
        assert not input_bias.any()
        assert not recurrent_bias.any()


def test_fresh_lstm_fed_zeros_forgets_at_the_rate_of_a_bias_of_one() -> None:
    stack = CellStack(F, (7,)).eval()
    state: tuple[LayerState, ...] = ((torch.zeros(1, B, 7), torch.full((1, B, 7), 0.5)),)
    _, _, (gates,) = unrolled(stack, torch.zeros(B, 1, F), state)
    expected = torch.full((B, 1, 7), 1 / (1 + math.exp(-1.0)))
    torch.testing.assert_close(gates["forget"], expected)
    torch.testing.assert_close(gates["cell"], 0.5 * expected)


@pytest.mark.parametrize("cell", CELLS)
def test_torch_init_is_torchs_own(cell: Any) -> None:
    torch.manual_seed(5)
    stack = CellStack(F, (7, 4), cell=cell, init="torch")
    torch.manual_seed(5)
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell]
    for layer, twin in zip(layers(stack), (kind(F, 7), kind(7, 4)), strict=True):
        for mine, theirs in zip(weights(layer), weights(twin), strict=True):
            assert torch.equal(mine, theirs)


def test_chrono_biases_of_the_lstm_spread_the_memory_up_to_max_steps() -> None:
    (layer,) = layers(CellStack(F, (400,), init="chrono", max_steps=50))
    _, recurrent, input_bias, recurrent_bias = weights(layer)
    input_gate, forget, candidate, output = input_bias.chunk(4)
    memory = 1 / (1 - torch.sigmoid(forget.double()))  # steps; 1 + exp(b)
    assert memory.min() >= 2 - 1e-4
    assert memory.max() <= 50 + 1e-3
    assert memory.min() < 4
    assert memory.max() > 47
    assert memory.mean().item() == pytest.approx(26, abs=2.5)
    assert torch.equal(input_gate, -forget)
    assert not candidate.any()
    assert not output.any()
    assert not recurrent_bias.any()
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(400), rtol=0, atol=1e-4)


def test_chrono_biases_of_the_gru_keep_the_old_state() -> None:
    stack = CellStack(F, (400,), cell="gru", init="chrono", max_steps=50).eval()
    _, _, input_bias, recurrent_bias = weights(layers(stack)[0])
    reset, update, candidate = input_bias.chunk(3)
    assert update.min() >= 0
    assert update.max() <= math.log(49)
    assert update.exp().mean().item() == pytest.approx(25, abs=2.5)
    assert not reset.any()
    assert not candidate.any()
    assert not recurrent_bias.any()
    _, _, (gates,) = unrolled(stack, torch.zeros(1, 1, F))
    torch.testing.assert_close(gates["update"][0, 0], torch.sigmoid(update))


@pytest.mark.parametrize("init", ["keras", "torch", "chrono"])
def test_same_seed_gives_the_same_weights_and_leaves_the_generator_alone(init: Any) -> None:
    before = torch.random.get_rng_state()

    def build(seed: int) -> list[Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return [weight.detach() for weight in CellStack(F, init=init).parameters()]

    first, second, other = build(3), build(3), build(4)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.random.get_rng_state(), before)


# Between the layers


def test_layer_norm_and_dropout_stand_between_layers_only() -> None:
    one = CellStack(F, (7,), dropout=0.5, layer_norm=True)
    assert not any(isinstance(part, nn.LayerNorm) for part in one.modules())
    assert one.noise(inputs()) == ()
    three = CellStack(F, (7, 4, 3), dropout=0.5, layer_norm=True)
    norms = [part for part in three.modules() if isinstance(part, nn.LayerNorm)]
    assert [norm.normalized_shape for norm in norms] == [(7,), (4,)]
    assert [noise.shape for noise in three.noise(inputs())] == [(B, T, 7), (B, T, 4)]


def test_second_layer_reads_the_normalised_output_of_the_first() -> None:
    stack, x = random_stack("gru", layer_norm=True), inputs()
    first, second = layers(stack)
    hidden = first(x)[0].detach().numpy()
    (norm,) = [part for part in stack.modules() if isinstance(part, nn.LayerNorm)]
    centred = hidden - hidden.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    normalised = scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    expected = keras_gru(normalised, *keras_weights(second))
    np.testing.assert_allclose(stack(x)[0].detach().numpy(), expected, rtol=0, atol=1e-12)


def test_dropout_is_drawn_in_training_only_and_without_it_nothing_is_dropped() -> None:
    stack, x = random_stack("lstm", (64, 32), dropout=0.5), inputs()
    assert stack.noise(x) == ()
    still = stack(x)[0]
    stack.train()
    assert torch.equal(stack(x)[0], still)
    first, second = stack.noise(x), stack.noise(x)
    assert not torch.equal(stack(x, noise=first)[0], stack(x, noise=second)[0])
    assert torch.equal(stack(x, noise=first)[0], stack(x, noise=first)[0])
    assert (stack(x, noise=first)[0] != 0).all()  # the top layer is spared
    assert CellStack(F, (7, 4)).train().noise(x) == ()


def test_dropped_shares_are_as_asked_and_the_mean_stays() -> None:
    stack = CellStack(F, (50, 4), dropout=0.2).train()
    (factors,) = stack.noise(torch.zeros(20, 100, F))
    assert set(factors.unique().tolist()) == {0.0, factors.max().item()}
    assert factors.max().item() == pytest.approx(1 / 0.8)
    assert factors.mean().item() == pytest.approx(1.0, abs=0.01)
    assert (factors[:, 0] != factors[:, 1]).any()  # each row its own


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_noise_multiplies_what_a_layer_passes_on(cell: Any, layer_norm: bool) -> None:
    stack, x = random_stack(cell, dropout=0.5, layer_norm=layer_norm).train(), inputs()
    (factors,) = stack.noise(x)
    first, second = layers(stack)
    expected = second(stack.between[0](first(x)[0]) * factors)[0]
    torch.testing.assert_close(stack(x, noise=(factors,))[0], expected, rtol=0, atol=1e-12)


def test_a_piece_of_a_batch_with_its_piece_of_the_noise_equals_the_whole() -> None:
    stack, x = random_stack("lstm", (7, 6, 4), dropout=0.5).train(), inputs()
    noise = stack.noise(x)
    whole = stack(x, noise=noise)[0]
    for rows in (slice(0, 2), slice(2, 3)):
        piece = stack(x[rows], noise=tuple(factors[rows] for factors in noise))[0]
        torch.testing.assert_close(piece, whole[rows], rtol=0, atol=1e-12)


def test_dropout_changes_no_initial_weight() -> None:
    torch.manual_seed(3)
    plain = CellStack(F, (7, 4))
    torch.manual_seed(3)
    dropped = CellStack(F, (7, 4), dropout=0.5)
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, dropped.state_dict()[name])


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "transformer"}, r"'cell': expected one of \['lstm', 'gru', 'rnn'\], found 'tran"),
        ({"init": "zeros"}, r"'init': expected one of \['keras', 'torch', 'chrono'\], found 'zer"),
        ({"hidden_sizes": ()}, r"'hidden_sizes': expected at least one layer size, found \(\)"),
        ({"hidden_sizes": (8, 0)}, r"'hidden_sizes': expected a whole number of at least 1, fou"),
        ({"hidden_sizes": (8, 2.5)}, r"'hidden_sizes': expected a whole number .* found 2.5"),
        ({"hidden_sizes": 64}, r"'hidden_sizes': expected a sequence .* found 64.*write \(64,\)"),
        ({"hidden_sizes": "64"}, r"'hidden_sizes': expected a sequence of layer sizes"),
        ({"n_inputs": 0}, r"'n_inputs': expected a whole number of at least 1, found 0"),
        ({"dropout": 1.0}, r"'dropout': expected a number in \[0, 1\), found 1.0"),
        ({"dropout": -0.1}, r"'dropout': expected a number in \[0, 1\), found -0.1"),
        ({"dropout": float("nan")}, r"'dropout': expected a number in \[0, 1\), found nan"),
        ({"dropout": None}, r"'dropout': expected a number in \[0, 1\), found None"),
        ({"max_steps": 1}, r"'max_steps': expected a whole number of at least 2, found 1"),
        (
            {"cell": "rnn", "init": "chrono"},
            r"'init': expected 'keras' or 'torch' with cell='rnn', found 'chrono'.*has none",
        ),
    ],
)
def test_bad_parameters_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CellStack(**({"n_inputs": F} | options))


@pytest.mark.parametrize("run", [lambda stack, x, state: stack(x, state), unrolled])
def test_state_of_another_depth_is_refused(run: Any) -> None:
    _, state = random_stack("gru", (7,))(inputs())
    with pytest.raises(ValueError, match=r"'state': expected one entry for each of 2 layers, fou"):
        run(random_stack("gru", (7, 4)), inputs(), state)
