"""What the gates of a recurrent network do on a series: erased, written, shown, row by row.

An LSTM keeps a cell state beside its hidden state; at every row its forget gate says what share of
each unit's cell is kept, its input gate what is written, its output gate what is shown.  A GRU has
one state, of which its update gate says what share is kept.  The numbers here are those of the
network itself: `tsforecast.nn.cells.unrolled` runs its weights through the equations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from tsforecast._checks import bad_parameter, choice
from tsforecast.insight._sequences import Sequences, check_place, sequences
from tsforecast.nn.cells import GATES, unrolled

__all__ = ["gate_summary", "gates"]

_LEVELS = ["layer", "gate", "unit"]
_OPEN = 0.5
_SATURATED = (0.1, 0.9)  # Karpathy, Johnson & Fei-Fei 2015, Visualizing and understanding RNNs
_STILL = 1e-3  # of a hidden state, whose range is (-1, 1)
# what share of the old state a gate keeps
_KEEPS = {"lstm": "forget", "gru": "update"}
_SIGMOIDS = ("forget", "input", "output", "reset", "update")


def gates(
    model: Any,
    data: Any,
    *,
    series: Any = None,
    layer: int | None = None,
    units: Literal["each", "mean"] = "each",
    cutoff: Any = None,
    member: int = 0,
) -> pd.DataFrame:
    """Give every gate and state of a fitted recurrent network at every row that it reads.

    Parameters
    ----------
    model : estimator
        Fitted: `RecurrentForecaster`, `EventClassifier` or another recurrent estimator on panels,
        or `RecurrentRegressor` or `RecurrentClassifier` on arrays.
    data : DataFrame or array
        A panel; of an estimator on arrays its X.
    series : label or list of labels, optional
        Series (on arrays: positions of samples). Default: all.
    layer : int, optional
        One of the stacked layers, 0 the one next to the inputs. Default: all.
    units : {"each", "mean"}
        A column for every unit, or the mean over the units of a layer.
    cutoff : label, optional
        The newest row is the last one at or before it. Default: the last one. Not on arrays.
    member : int
        Which network of an ensemble.

    Returns
    -------
    DataFrame
        Index ``(series, time)`` as the panel's, ``(sample, step)`` on arrays; columns
        ``(layer, gate, unit)``, or ``(layer, gate)`` with ``units="mean"``. Gates: of an LSTM
        forget, input, candidate, output, cell, hidden; of a GRU reset, update, candidate, hidden;
        of a plain RNN hidden. ``attrs["cell"]`` is its kind. With ``context="history"`` the rows
        are those since the series' stretch began, with "window" the last `lookback` ones of the
        cutoff: a row in another window has other gates, as the state begins at zero there.

    Raises
    ------
    TypeError
        If the model has no networks.
    ValueError
        If there is no such series, layer or member.

    See Also
    --------
    gate_summary : The same in a few numbers a layer.
    memory_profile : How far back a forecast depends on its rows.

    Examples
    --------
    >>> import warnings
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(2, 120, random_state=0)
    >>> model = tsf.RecurrentForecaster(
    ...     target="close", lookback=20, hidden_sizes=(4, 3), transform=tsf.Log(),
    ...     training=tsf.Training(max_epochs=2), random_state=0)
    >>> with warnings.catch_warnings():  # two epochs are too few
    ...     warnings.simplefilter("ignore")
    ...     model = model.fit(panel)
    >>> frame = gates(model, panel, layer=0)
    >>> frame.shape  # 2 series x 20 rows; 6 gates x 4 units
    (40, 24)
    >>> bool(frame[0]["forget"].stack().between(0, 1).all())
    True
    """
    choice("units", units, ("each", "mean"))
    parts = []
    for block in sequences(model, data, series=series, cutoff=cutoff, member=member):
        parts.append(_traced(block, layer, units))
        kind = block.network.cells.cell
    frame: pd.DataFrame = pd.concat(parts)
    frame.attrs["cell"] = kind
    return frame


def _traced(block: Sequences, layer: int | None, units: str) -> pd.DataFrame:
    stack = block.network.cells
    n_layers = len(stack.hidden_sizes)
    if layer is not None:
        check_place("layer", layer, n_layers)
    with torch.inference_mode(), reading(stack) as read:
        block.network.encode(block.x, block.static, block.codes)
        _, _, traces = unrolled(stack, read[0])
    columns: dict[tuple[Any, ...], Any] = {}
    for number in range(n_layers) if layer is None else [layer]:
        for gate in GATES[stack.cell]:
            values = traces[number][gate].numpy()[block.real]  # (n, H)
            if units == "mean":
                columns[number, gate] = values.mean(axis=1)
            else:
                columns.update({(number, gate, u): values[:, u] for u in range(values.shape[1])})
    frame = pd.DataFrame(columns, index=block.index)
    frame.columns = frame.columns.set_names(_LEVELS[: frame.columns.nlevels])
    return frame


@contextmanager
def reading(stack: nn.Module, change: Any = None) -> Iterator[list[Tensor]]:
    """Note what is given to a stack of cells, (B, T, F) each, and change it on the way.

    Parameters
    ----------
    stack : CellStack
    change : callable, optional
        From what was given to what the cells are to read instead.
    """
    noted: list[Tensor] = []

    def before(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x = given[0] if change is None else change(given[0])
        noted.append(x)
        return (x, *given[1:])

    handle = stack.register_forward_pre_hook(before)
    try:
        yield noted
    finally:
        handle.remove()


def gate_summary(frame: pd.DataFrame) -> pd.DataFrame:
    r"""Say in a few numbers what the gates of each layer do.

    Parameters
    ----------
    frame : DataFrame
        From `gates`, with ``units="each"``.

    Returns
    -------
    DataFrame
        Index ``(layer, gate)``, gates being those with values between 0 and 1, and hidden.
        Columns:

        - ``mean``: over rows and units.
        - ``open``: share of values above 0.5.
        - ``saturated``: share of values below 0.1 or above 0.9 (of ``hidden``: above 0.9 in size),
          where gates are switches, and gradients through them small.
        - ``memory_steps``: of the gate that keeps the old state (forget, or a GRU's update), the
          steps after which 1 / e of it is left, :math:`-1 / \overline{\log f}`, a median over
          units; ``longest_steps`` is that of the unit that keeps longest. Infinite where a gate
          is 1 to rounding. The first row of each series is left out: there is no state before it,
          and a gate that shuts there forgets nothing. NaN where no series has a second row.
        - ``dead``: share of units whose hidden state moves by less than 0.001 (standard
          deviation); in the row of ``hidden``.

    Notes
    -----
    ``memory_steps`` is a property of the gate alone: a unit that keeps its cell for 500 rows may
    hold nothing that the forecast needs. `memory_profile` asks the forecast.

    Examples
    --------
    >>> columns = pd.MultiIndex.from_product(
    ...     [[0], ["forget", "hidden"], [0, 1]], names=["layer", "gate", "unit"])
    >>> frame = pd.DataFrame([[0.5, 0.99, 0.2, 0.0]] * 3, columns=columns)
    >>> frame.attrs["cell"] = "lstm"
    >>> gate_summary(frame).loc[(0, "forget"), ["open", "longest_steps"]].round(1).tolist()
    [0.5, 99.5]
    """
    if list(frame.columns.names) != _LEVELS:
        raise bad_parameter(
            "frame",
            expected=f"a frame of gates with columns {_LEVELS}",
            found=list(frame.columns.names),
            advice="Pass gates(model, panel), with units='each'.",
        )
    kept = _KEEPS.get(str(frame.attrs.get("cell", "lstm")))
    after = _after_the_first(frame.index)
    rows = {}
    pairs: list[Any] = [column[:2] for column in frame.columns]
    for layer, gate in dict.fromkeys(pairs):
        if gate not in _SIGMOIDS and gate != "hidden":
            continue
        values = frame[layer][gate].to_numpy()  # (n, H)
        size = np.abs(values)
        low = size < _SATURATED[0] if gate in _SIGMOIDS else np.zeros_like(size, dtype=bool)
        row = {
            "mean": values.mean(),
            "open": (values > _OPEN).mean() if gate in _SIGMOIDS else np.nan,
            "saturated": (low | (size > _SATURATED[1])).mean(),
            "memory_steps": np.nan,
            "longest_steps": np.nan,
            "dead": (values.std(axis=0) < _STILL).mean() if gate == "hidden" else np.nan,
        }
        if gate == kept and after.any():
            with np.errstate(divide="ignore"):
                steps = 1.0 / np.abs(np.log(values[after].astype(np.float64)).mean(axis=0))
            row |= {"memory_steps": np.median(steps), "longest_steps": steps.max()}
        rows[layer, gate] = row
    summary = pd.DataFrame.from_dict(rows, orient="index")
    summary.index = summary.index.set_names(_LEVELS[:2])
    return summary


def _after_the_first(index: pd.Index) -> npt.NDArray[np.bool_]:
    """Which rows have others of their series before them."""
    if index.nlevels == 1:
        return np.arange(len(index)) > 0
    return np.asarray(index.get_level_values(0).duplicated())
