"""Stacks of recurrent layers, and the equations they compute.

`CellStack` runs on torch's fused layers. `lstm_step`, `gru_step` and `rnn_step` are the same
cells written out, one time step at a time; `unrolled` runs a stack's own weights through them,
so that every gate can be read. A test holds the two equal.

Shapes: B sequences, T steps, F inputs, H hidden units, G gates.

Sources
-------
- J. Elman, "Finding structure in time", Cognitive Science 14, 1990.
- S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.
- F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget: continual prediction with LSTM",
  Neural Computation 12, 2000.
- K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
  machine translation", arXiv 1406.1078, 2014.
- C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", arXiv 1804.11188, 2018.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn

from tsforecast._checks import bad_parameter, choice, positive_int

__all__ = [
    "CELLS",
    "GATES",
    "INITS",
    "Cell",
    "CellStack",
    "CellWeights",
    "Init",
    "LayerState",
    "State",
    "gru_step",
    "layer_parts",
    "lstm_step",
    "rnn_step",
    "unrolled",
]

Cell = Literal["lstm", "gru", "rnn"]
Init = Literal["keras", "torch", "chrono"]

CELLS: tuple[Cell, ...] = get_args(Cell)
INITS: tuple[Init, ...] = get_args(Init)

# What `unrolled` reports per cell; the last entry is what the layer passes on.
GATES: dict[str, tuple[str, ...]] = {
    "lstm": ("forget", "input", "candidate", "output", "cell", "hidden"),
    "gru": ("reset", "update", "candidate", "hidden"),
    "rnn": ("hidden",),
}

# (h, c) for an LSTM layer, h for the others; each (1, B, H), as torch has it.
LayerState: TypeAlias = Tensor | tuple[Tensor, Tensor]
State: TypeAlias = tuple[LayerState, ...]

_LAYERS: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}

# Windows worth a call. On the CPU an LSTM is one kernel of oneDNN over all steps; GRUs and RNNs are
# some calls of torch at every step, which take about as long for one window as for some dozens.
_SIDE_BY_SIDE: dict[str, int] = {"lstm": 0, "gru": 32, "rnn": 32}


def layer_parts(state: LayerState) -> tuple[Tensor, ...]:
    """Give the tensors of a layer's state: (h, c) or (h,)."""
    return state if isinstance(state, tuple) else (state,)


class CellStack(nn.Module):
    """Recurrent layers on top of each other, each with a size of its own.

    Layers run forward in time only, so the output at a step never depends on later rows.
    Layer normalisation and dropout stand between layers: after every layer but the last, because
    the decoder reads the last layer's state itself.

    Parameters
    ----------
    n_inputs : int
        Number of input columns F.
    hidden_sizes : sequence of int, default (64, 32)
        One layer per entry, from the input upwards.
    cell : {"lstm", "gru", "rnn"}, default "lstm"
        LSTM with a forget gate (Gers 2000), GRU (Cho 2014), or Elman's network (1990).
    dropout : float in [0, 1), default 0.0
        Share of a layer's outputs set to zero on the way to the next layer, in training only; see
        `noise`.
    layer_norm : bool, default False
        Normalise each layer's output on its way to the next layer, before dropout.
    init : {"keras", "torch", "chrono"}, default "keras"
        ``"keras"``: Glorot-uniform input weights with the fans of all gates side by side; one
        orthogonal recurrent matrix over all gates; zero biases, except 1 for the LSTM's forget
        gate.
        ``"torch"``: torch's own start, uniform within 1 / sqrt(H).
        ``"chrono"``: as ``"keras"``, with gate biases that spread the units' memory over 2 to
        `max_steps` steps (Tallec & Ollivier 2018, section 2); not for ``cell="rnn"``, which has
        no gates.
    max_steps : int of at least 2, default 64
        Longest dependence expected, in rows. Used by ``init="chrono"`` only.

    Raises
    ------
    ValueError
        If a parameter is outside the values above.

    Notes
    -----
    Initial weights are drawn from torch's current global generator.

    Examples
    --------
    >>> import torch
    >>> stack = CellStack(3, hidden_sizes=(8, 4), cell="gru")
    >>> output, state = stack(torch.zeros(2, 10, 3))
    >>> output.shape, len(state)
    (torch.Size([2, 10, 4]), 2)
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_sizes: Sequence[int] = (64, 32),
        *,
        cell: Cell = "lstm",
        dropout: float = 0.0,
        layer_norm: bool = False,
        init: Init = "keras",
        max_steps: int = 64,
    ) -> None:
        super().__init__()
        self.n_inputs = positive_int("n_inputs", n_inputs)
        self.hidden_sizes = _sizes(hidden_sizes)
        choice("cell", cell, CELLS)
        choice("init", init, INITS)
        if init == "chrono" and cell == "rnn":
            raise bad_parameter(
                "init",
                expected="'keras' or 'torch' with cell='rnn'",
                found=init,
                advice="Chrono sets the biases of gates, and a plain RNN has none.",
            )
        if not isinstance(dropout, numbers.Real) or not 0 <= dropout < 1:
            raise bad_parameter("dropout", expected="a number in [0, 1)", found=dropout)
        max_steps = positive_int("max_steps", max_steps, least=2)
        self.cell: Cell = cell
        self.dropout: float = float(dropout)

        sizes = (self.n_inputs, *self.hidden_sizes)
        self.layers: nn.ModuleList = nn.ModuleList(
            _LAYERS[cell](n_in, n_out, batch_first=True) for n_in, n_out in pairwise(sizes)
        )
        self.between: nn.ModuleList = nn.ModuleList(
            nn.LayerNorm(size) if layer_norm else nn.Identity() for size in self.hidden_sizes[:-1]
        )
        if init != "torch":
            for layer in self.layers:
                _initialise(_weights(layer), cell, max_steps if init == "chrono" else None)

    @property
    def side_by_side(self) -> int:
        """Windows that a call on the CPU should have: fewer take hardly less time."""
        return _SIDE_BY_SIDE[self.cell]

    def noise(self, x: Tensor) -> tuple[Tensor, ...]:
        """Draw dropout for inputs x (B, T, F); empty without dropout, and outside of training.

        It is drawn apart from `forward`, so that a batch run in pieces, in whatever order, meets
        the same noise.

        Returns
        -------
        tuple of Tensor (B, T, H)
            For every layer but the last, factors of its outputs: 0, or 1 / (1 - dropout).
        """
        if not (self.training and self.dropout):
            return ()
        kept = 1.0 - self.dropout
        return tuple(
            x.new_empty(*x.shape[:2], size).uniform_().lt_(kept).div_(kept)
            for size in self.hidden_sizes[:-1]
        )

    def forward(
        self, x: Tensor, state: State | None = None, noise: Sequence[Tensor] = ()
    ) -> tuple[Tensor, State]:
        """Run the stack over a batch of sequences.

        Parameters
        ----------
        x : Tensor (B, T, F)
            Inputs, oldest row first.
        state : tuple, optional
            The state after the rows before `x`, as an earlier call returned it; zeros if absent.
        noise : sequence of Tensor, optional
            From `noise`; without it nothing is dropped.

        Returns
        -------
        output : Tensor (B, T, hidden_sizes[-1])
            The top layer's hidden state at every step.
        state : tuple
            One entry per layer, after the last row: (h, c) for an LSTM, else h, each (1, B, H).

        Raises
        ------
        ValueError
            If `state` does not have one entry per layer.
        """
        ends: list[LayerState] = []
        for index, (layer, start) in enumerate(zip(self.layers, _starts(self, state), strict=True)):
            if index > 0:
                x = self.between[index - 1](x)
                x = x * noise[index - 1] if noise else x
            x, end = layer(x, start)  # (B, T, H)
            ends.append(end)
        return x, tuple(ends)


@dataclass(frozen=True)
class CellWeights:
    """One layer's weights, gates stacked along the rows in torch's order.

    Parameters
    ----------
    input, recurrent : Tensor (G H, F), (G H, H)
        W and U in the equations. LSTM: input, forget, candidate, output; GRU: reset, update,
        candidate; RNN: one block.
    input_bias, recurrent_bias : Tensor (G H,)
        b and d in the equations.
    """

    input: Tensor
    recurrent: Tensor
    input_bias: Tensor
    recurrent_bias: Tensor


def lstm_step(
    x: Tensor, h: Tensor, c: Tensor, weights: CellWeights
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """One step of the LSTM of Hochreiter & Schmidhuber (1997) with Gers' forget gate (2000).

    Parameters
    ----------
    x : Tensor (B, F)
        The step's inputs.
    h, c : Tensor (B, H)
        Hidden and cell state before the step.
    weights : CellWeights
        With G = 4: input, forget, candidate, output.

    Returns
    -------
    h, c : Tensor (B, H)
        Hidden and cell state after the step.
    gates : dict of Tensor (B, H)
        forget, input and output in (0, 1); candidate and hidden in (-1, 1); cell unbounded.
    """
    drive = _inputs(x, weights) + _recurrence(h, weights)  # (B, 4 H)
    i, f, g, o = drive.chunk(4, dim=-1)
    input_gate = torch.sigmoid(i)  # (1) i_t = sigmoid(W_i x_t + b_i + U_i h_{t-1} + d_i)
    forget = torch.sigmoid(f)  # (2) f_t = sigmoid(W_f x_t + b_f + U_f h_{t-1} + d_f), Gers 2000
    candidate = torch.tanh(g)  # (3) g_t = tanh(W_g x_t + b_g + U_g h_{t-1} + d_g)
    output = torch.sigmoid(o)  # (4) o_t = sigmoid(W_o x_t + b_o + U_o h_{t-1} + d_o)
    c = forget * c + input_gate * candidate  # (5) c_t = f_t c_{t-1} + i_t g_t
    h = output * torch.tanh(c)  # (6) h_t = o_t tanh(c_t)
    gates = {
        "forget": forget,
        "input": input_gate,
        "candidate": candidate,
        "output": output,
        "cell": c,
        "hidden": h,
    }
    return h, c, gates


def gru_step(x: Tensor, h: Tensor, weights: CellWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of the GRU of Cho et al. (2014), reset gate applied after the recurrent matrix.

    That place of the reset gate is the one of cuDNN, torch and Keras (``reset_after=True``);
    eq. 8 of the paper multiplies h by it first. An update gate near 1 keeps the old state.

    Parameters
    ----------
    x : Tensor (B, F)
        The step's inputs.
    h : Tensor (B, H)
        Hidden state before the step.
    weights : CellWeights
        With G = 3: reset, update, candidate.

    Returns
    -------
    h : Tensor (B, H)
        Hidden state after the step.
    gates : dict of Tensor (B, H)
        reset and update in (0, 1); candidate and hidden in (-1, 1).
    """
    x_r, x_z, x_n = _inputs(x, weights).chunk(3, dim=-1)  # (B, H) each
    h_r, h_z, h_n = _recurrence(h, weights).chunk(3, dim=-1)
    reset = torch.sigmoid(x_r + h_r)  # (7) r_t = sigmoid(W_r x_t + b_r + U_r h_{t-1} + d_r)
    update = torch.sigmoid(x_z + h_z)  # (8) z_t = sigmoid(W_z x_t + b_z + U_z h_{t-1} + d_z)
    candidate = torch.tanh(x_n + reset * h_n)  # (9) n_t = tanh(W x_t + b + r_t (U h_{t-1} + d))
    h = (1 - update) * candidate + update * h  # (10) h_t = (1 - z_t) n_t + z_t h_{t-1}
    return h, {"reset": reset, "update": update, "candidate": candidate, "hidden": h}


def rnn_step(x: Tensor, h: Tensor, weights: CellWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of Elman's network (1990), with tanh for his logistic function.

    Parameters
    ----------
    x : Tensor (B, F)
        The step's inputs.
    h : Tensor (B, H)
        Hidden state before the step.
    weights : CellWeights
        With G = 1.

    Returns
    -------
    h : Tensor (B, H)
        Hidden state after the step.
    gates : dict of Tensor (B, H)
        hidden in (-1, 1); there are no gates.
    """
    h = torch.tanh(_inputs(x, weights) + _recurrence(h, weights))  # (11) tanh(W x + b + U h + d)
    return h, {"hidden": h}


def unrolled(
    stack: CellStack, x: Tensor, state: State | None = None
) -> tuple[Tensor, State, tuple[dict[str, Tensor], ...]]:
    """Run a stack's weights through the written-out equations, and keep every gate.

    The same function as ``stack(x, state)`` up to rounding, but slow: for reading, not training.

    Parameters
    ----------
    stack : CellStack
    x : Tensor (B, T, F)
        Inputs, oldest row first.
    state : tuple, optional
        As in `CellStack.forward`.

    Returns
    -------
    output, state
        As from `CellStack.forward`.
    gates : tuple of dict of Tensor (B, T, H)
        One dict per layer, with the names in ``GATES[stack.cell]``.

    Raises
    ------
    ValueError
        If `state` does not have one entry per layer.

    Examples
    --------
    >>> import torch
    >>> stack = CellStack(3, hidden_sizes=(8, 4)).eval()
    >>> output, state, gates = unrolled(stack, torch.zeros(2, 10, 3))
    >>> gates[0]["forget"].shape
    torch.Size([2, 10, 8])
    """
    ends: list[LayerState] = []
    traces: list[dict[str, Tensor]] = []
    for index, (layer, start) in enumerate(zip(stack.layers, _starts(stack, state), strict=True)):
        if index > 0:
            x = stack.between[index - 1](x)
        end, trace = _unrolled_layer(stack.cell, _weights(layer), x, start)
        x = trace["hidden"]  # (B, T, H)
        ends.append(end)
        traces.append(trace)
    return x, tuple(ends), tuple(traces)


def _unrolled_layer(
    cell: Cell, weights: CellWeights, x: Tensor, start: LayerState | None
) -> tuple[LayerState, dict[str, Tensor]]:
    if start is None:
        h = c = x.new_zeros(x.shape[0], weights.recurrent.shape[1])  # (B, H)
    else:
        pair = start if isinstance(start, tuple) else (start, start)
        h, c = pair[0][0], pair[1][0]  # c is used by the LSTM only
    steps: list[dict[str, Tensor]] = []
    for row in x.unbind(dim=1):  # (B, F), oldest first
        if cell == "lstm":
            h, c, gates = lstm_step(row, h, c, weights)
        elif cell == "gru":
            h, gates = gru_step(row, h, weights)
        else:
            h, gates = rnn_step(row, h, weights)
        steps.append(gates)
    trace = {name: torch.stack([gates[name] for gates in steps], dim=1) for name in GATES[cell]}
    return ((h[None], c[None]) if cell == "lstm" else h[None]), trace


def _inputs(x: Tensor, weights: CellWeights) -> Tensor:
    return x @ weights.input.T + weights.input_bias  # (B, G H)


def _recurrence(h: Tensor, weights: CellWeights) -> Tensor:
    return h @ weights.recurrent.T + weights.recurrent_bias  # (B, G H)


def _weights(layer: nn.Module) -> CellWeights:
    return CellWeights(*cast(nn.RNNBase, layer).all_weights[0])


def _starts(stack: CellStack, state: State | None) -> Sequence[LayerState | None]:
    n_layers = len(stack.hidden_sizes)
    if state is None:
        return (None,) * n_layers
    if len(state) != n_layers:
        raise bad_parameter(
            "state",
            expected=f"one entry for each of {n_layers} layers",
            found=len(state),
            advice="Pass the state returned by an earlier call of the same stack.",
        )
    return state


@torch.no_grad()
def _initialise(weights: CellWeights, cell: Cell, max_steps: int | None) -> None:
    """Draw weights in the manner of Keras, with chrono's gate biases if `max_steps` is given."""
    nn.init.xavier_uniform_(weights.input)
    # Columns of the (G H, H) matrix become orthonormal: the transpose of Keras' (H, G H) kernel.
    nn.init.orthogonal_(weights.recurrent)
    nn.init.zeros_(weights.input_bias)
    nn.init.zeros_(weights.recurrent_bias)
    if cell == "lstm":
        input_gate, forget, _, _ = weights.input_bias.chunk(4)
        forget.fill_(1.0)
        if max_steps is not None:
            forget.copy_(_chrono_bias(forget, max_steps))
            input_gate.copy_(-forget)
    elif cell == "gru" and max_steps is not None:
        # z keeps the old state in eq. (10), so it takes the forget gate's bias.
        _, update, _ = weights.input_bias.chunk(3)
        update.copy_(_chrono_bias(update, max_steps))


def _chrono_bias(like: Tensor, max_steps: int) -> Tensor:
    """Biases b with a memory of 1 + exp(b) steps, uniform in [2, max_steps]."""
    return torch.empty_like(like).uniform_(1, max_steps - 1).log()


def _sizes(hidden_sizes: Sequence[int]) -> tuple[int, ...]:
    if isinstance(hidden_sizes, str) or not hasattr(hidden_sizes, "__iter__"):
        raise bad_parameter(
            "hidden_sizes",
            expected="a sequence of layer sizes",
            found=hidden_sizes,
            advice="For one layer of 64 units write (64,).",
        )
    sizes = tuple(positive_int("hidden_sizes", size) for size in hidden_sizes)
    if not sizes:
        raise bad_parameter("hidden_sizes", expected="at least one layer size", found=hidden_sizes)
    return sizes
