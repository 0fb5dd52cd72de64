"""A fitted forecaster as an ONNX file, which runs without Python, torch and this package."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import ndtri
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from tsforecast._checks import bad_parameter, fail
from tsforecast.data.panel import Ints
from tsforecast.data.windows import Rows
from tsforecast.estimators.forecaster import RecurrentForecaster
from tsforecast.nn.heads import (
    DEGREES,
    MAX_LOG_RATE,
    MAX_LOG_STRETCH,
    RAREST,
    Bernoulli,
    Gaussian,
    NegativeBinomial,
    Point,
    Quantiles,
    StudentT,
)
from tsforecast.nn.network import ForecastNetwork

__all__ = ["export_onnx", "onnx_inputs"]

_OPSET, _IR = 18, 10  # old enough for most runtimes, new enough for all operators
# gates of a layer in torch's order, as ONNX stacks them
_CELLS: dict[type[nn.Module], tuple[str, tuple[int, ...]]] = {
    nn.LSTM: ("LSTM", (0, 3, 1, 2)),  # input, output, forget, candidate
    nn.GRU: ("GRU", (1, 0, 2)),  # update, reset, candidate
    nn.RNN: ("RNN", (0,)),
}


def export_onnx(model: RecurrentForecaster, path: str | Path) -> None:
    """Write the fitted networks of a forecaster to an ONNX file.

    The file leads from feature rows to the forecast in the targets' *transformed* unit.  Making
    the feature rows (`tsforecast.data.features` says how) and the way back through the transform
    stay with the caller: quantiles pass through its inverse as they are, the mean of a
    distribution does not.  `onnx_inputs` gives the inputs of a panel, to feed the file or to check
    another program's against.

    Inputs, of any batch size B; those that the network does not use are absent:

    ========  ================  =================================================================
    name      shape, type       what
    ========  ================  =================================================================
    x         (B, T, F) f32     feature rows up to the origin, which is the last: `lookback` of
                                them with ``context="window"`` (the first one repeated where there
                                are fewer), else all rows since the series began
    static    (B, D) f32        numbers that are constant within a series
    codes     (B, M) int64      codes of its categories, 0 where unknown
    ahead     (B, H, E) f32     features of the next H rows that are known ahead
    season    (B, K, L) f32     the last L values of each target less the newest one, over `unit`
    base      (B, K, H) f64     what the baseline says, in the transformed unit
    unit      (B, K) f64        running scale of each target; 1 without `normalize`
    ========  ================  =================================================================

    Outputs, float64, in the transformed unit of the targets (K of them, H steps):

    ==================  ================  =====================================================
    name                shape             what
    ==================  ================  =====================================================
    forecast            (B, K, H)         the median, the mean of a Gaussian or a count, or the
                                          probability of an event
    quantiles           (B, K, H, J)      of heads "quantiles" and "gaussian"
    scale, degrees      (B, K, H) each    of head "studentt": the quantile at p is forecast +
                                          scale times that of a Student-t with these degrees
    dispersion          (B, K, H)         of head "negbinomial": variance = mean + mean^2 / r
    ==================  ================  =====================================================

    Metadata, each a JSON text: targets, columns (the C input columns, the targets first), features
    (names of the F of a row, in order; see `tsforecast.data.features`), static, horizon, lookback,
    context, seasons, head, levels, fill (what is taken off each column, and stands before its
    first value), prior (usual running scale of each target).

    Members of an ensemble are averaged inside, as `predict` does.

    Parameters
    ----------
    model : RecurrentForecaster
        Fitted.
    path : str or Path
        Of the file; written over.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If `model` is another estimator, or mixes the distributions of several members.
    NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> export_onnx(tsf.Naive(), "naive.onnx")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: parameter 'model': expected a RecurrentForecaster, found Naive(). ...
    """
    _check(model)
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "export_onnx needs onnx: expected it to be installed, found it missing. Run "
            'pip install "tsforecast[onnx]".'
        ) from error
    graph = _Graph(onnx)
    network = model.networks_[0]
    n_targets, horizon = network.error_scale.shape
    sizes = _sizes(network)
    for name, size in sizes.items():
        kind = onnx.TensorProto.INT64 if name == "codes" else onnx.TensorProto.FLOAT
        whole: list[str | int] = ["B", *size]
        graph.inputs.append(onnx.helper.make_tensor_value_info(name, kind, whole))
    double = onnx.TensorProto.DOUBLE
    per_step: list[str | int] = ["B", n_targets, horizon]
    for name, shape in {"base": per_step, "unit": per_step[:2]}.items():
        graph.inputs.append(onnx.helper.make_tensor_value_info(name, double, shape))
    said = [_said(graph, each, sizes) for each in model.networks_]
    for name in said[0]:
        total = graph.add("Sum", *(each[name] for each in said))
        graph.add("Div", total, graph.double(float(len(said))), output=name)
        shape = [*per_step, len(network.head.levels)] if name == "quantiles" else per_step
        graph.outputs.append(onnx.helper.make_tensor_value_info(name, double, shape))
    file = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes, "tsforecast", graph.inputs, graph.outputs, graph.initializers
        ),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name="tsforecast",
    )
    texts = {name: json.dumps(value, default=str) for name, value in _metadata(model).items()}
    onnx.helper.set_model_props(file, texts)
    onnx.checker.check_model(file, full_check=True)
    onnx.save(file, str(path))


def onnx_inputs(model: RecurrentForecaster, panel: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """Give what the file of a model takes, at the last row of every series of a panel.

    Parameters
    ----------
    model : RecurrentForecaster
        Fitted.
    panel : DataFrame
        Rows up to now. With future-known columns, `horizon` rows more of them: forecasts are then
        from the row before these.

    Returns
    -------
    dict of ndarray
        By the names of `export_onnx`, in the order of the panel's series.

    Raises
    ------
    ValueError
        If series of different length cannot share one array, with ``context="history"``, or one
        has no row to forecast from.
    """
    _check(model)
    network, rows = model.networks_[0], cast(Rows, model._prepared(panel))
    sizes, shape = _sizes(network), model._members.shape
    origins = rows.layout.stops - 1 - (shape.horizon if "ahead" in sizes else 0)
    _require_rows(rows, origins)
    begin = rows.first[origins]
    if shape.context == "history":
        length = origins - begin + 1
        if length.min() < length.max():
            raise bad_parameter(
                "panel",
                expected="series of one length, with context='history'",
                found=sorted(set(length.tolist()))[:5],
                advice="Pass those of a length together.",
            )
        begin, steps = origins - length + 1, np.arange(length[0])
    else:
        begin, steps = origins - shape.lookback + 1, np.arange(shape.lookback)
    at = np.maximum(begin[:, None] + steps, rows.first[origins, None])
    beside = rows.origins(origins, shape)
    which = torch.from_numpy(rows.series_of(origins))
    found: dict[str, Tensor] = {
        "x": rows.inputs[torch.from_numpy(at)],
        "static": rows.static[which],
        "codes": rows.codes[which],
        "ahead": beside.ahead,
        "season": beside.shape[:, 0].nan_to_num(),
    }
    base = np.broadcast_to(rows.base[origins], (len(origins), *network.error_scale.shape))
    arrays = {name: found[name].numpy() for name in sizes}
    return {**arrays, "base": base.copy(), "unit": rows.unit[origins]}


def _require_rows(rows: Rows, origins: Ints) -> None:
    """Refuse series whose origin lies before their first row behind the warm-up."""
    layout = rows.layout
    first = rows.first[np.maximum(origins, layout.starts)]
    short = np.flatnonzero(origins < first)
    if len(short):
        number = int(short[0])
        start, stop = layout.starts[number], layout.stops[number]
        needed = first[number] - start + stop - origins[number]
        raise fail(
            "series too short",
            expected=f"at least {needed} rows, of which the last {stop - origins[number] - 1} are "
            "those to forecast",
            found=f"{stop - start}; too short are {len(short)} of {layout.n_series} series",
            advice="Give more rows of it, or leave it out.",
            series=None if layout.ids is None else layout.names()[number],
        )


def _check(model: object) -> None:
    if not isinstance(model, RecurrentForecaster):
        raise bad_parameter(
            "model",
            expected="a RecurrentForecaster",
            found=model,
            advice="Only its networks can leave for other runtimes.",
        )
    check_is_fitted(model)
    head = model.networks_[0].head
    if len(model.networks_) > 1 and not isinstance(head, Point | Quantiles | Bernoulli):
        raise bad_parameter(
            "model",
            expected="one member, or a head of points, probabilities or quantiles",
            found=f"{len(model.networks_)} members with {head}",
            advice="Distributions of members are mixed, which no operator of ONNX can do.",
        )


def _sizes(network: ForecastNetwork) -> dict[str, list[str | int]]:
    """Float inputs, and codes, that the network uses: their sizes behind the batch."""
    n_targets, horizon = network.error_scale.shape
    every: dict[str, list[str | int]] = {
        "x": ["T", network.features.size],
        "static": [len(network.static_location)],
        "codes": [len(network.embeddings)],
        "ahead": [horizon, network.features.n_future],
        "season": [n_targets, network.season],
    }
    return {name: size for name, size in every.items() if size[-1]}


def _metadata(model: RecurrentForecaster) -> dict[str, Any]:
    preparation = model._preparation
    head = model.networks_[0].head
    return {
        "targets": model.targets_,
        "columns": preparation.inputs,
        "features": preparation.features.names(preparation.inputs, preparation.seasons),
        "static": preparation.static,
        "horizon": model.horizon,
        "lookback": model.lookback,
        "context": model.context,
        "seasons": preparation.seasons,
        "head": repr(head),
        "levels": head.levels,
        "fill": preparation.fill.tolist(),
        "prior": preparation.prior.tolist(),
    }


class _Graph:
    """Nodes and weights of a graph; every value has a name."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; give its name."""
        return self.several(operator, *inputs, outputs=[output or self._name()], **attributes)[0]

    def several(
        self, operator: str, *inputs: str, outputs: list[str], **attributes: Any
    ) -> list[str]:
        """Add a node whose outputs are named; an empty name leaves one out."""
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def array(self, values: npt.NDArray[Any] | Tensor) -> str:
        """Add a constant; give its name."""
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        self.initializers.append(
            self.onnx.numpy_helper.from_array(np.array(array, order="C"), name := self._name())
        )
        return name

    def whole(self, *values: int) -> str:
        """Add whole numbers, such as a shape or axes."""
        return self.array(np.array(values, dtype=np.int64))

    def double(self, values: npt.NDArray[Any] | Tensor | float) -> str:
        """Add a constant of float64."""
        tensor = torch.as_tensor(values).detach().cpu()
        return self.array(tensor.numpy().astype(np.float64))

    def _name(self) -> str:
        return f"v{len(self.nodes) + len(self.initializers)}"


def _said(graph: _Graph, network: ForecastNetwork, sizes: dict[str, Any]) -> dict[str, str]:
    """Add a network; give the names of its outputs."""
    n_targets, horizon = network.error_scale.shape
    size = network.head.size
    state = _encoded(graph, network, sizes)  # (B, width)
    raw = _linear(graph, network.decoder, state)
    raw = graph.add("Reshape", raw, graph.whole(-1, n_targets, horizon, size))
    if network.ahead is not None:
        raw = graph.add("Add", raw, _from_ahead(graph, network, state))
    if network.season:
        mean = network.error_scale.mean(1)[:, None]
        shape = graph.add("Div", "season", graph.array(mean))
        line = graph.add("Einsum", shape, graph.array(network.seasonal), equation="bkl,klh->bkh")
        where = np.eye(size, dtype=np.float32)[network.head.location]
        line = graph.add("Unsqueeze", line, graph.whole(-1))
        raw = graph.add("Add", raw, graph.add("Mul", line, graph.array(where)))
    raw = graph.add("Cast", raw, to=graph.onnx.TensorProto.DOUBLE)
    unit = graph.add("Unsqueeze", "unit", graph.whole(-1))
    unit = graph.add("Mul", unit, graph.double(network.error_scale))  # (B, K, H)
    return _HEADS.get(type(network.head), _counts)(graph, network, raw, unit)


def _encoded(graph: _Graph, network: ForecastNetwork, sizes: dict[str, Any]) -> str:
    """State of the top layer at the last row, (B, width)."""
    x = _scaled(graph, "x", network.location, network.gain)
    kept = torch.ones(network.features.size)
    kept[network.features.from_row_before] = 0.0  # which a first row cannot know
    axis = graph.whole(1)
    first = graph.add("Slice", x, graph.whole(0), graph.whole(1), axis)
    first = graph.add("Mul", first, graph.array(kept))
    rest = graph.add("Slice", x, graph.whole(1), graph.whole(2**62), axis)
    x = graph.add("Asinh", graph.add("Concat", first, rest, axis=1))
    beside = []
    if "static" in sizes:
        scaled = _scaled(graph, "static", network.static_location, network.static_gain)
        beside.append(graph.add("Asinh", scaled))
    for j, embedding in enumerate(network.embeddings):
        code = graph.add("Gather", "codes", graph.array(np.array(j)), axis=1)
        beside.append(graph.add("Gather", graph.array(embedding.weight), code))  # type: ignore[arg-type]
    if beside:
        together = graph.add("Unsqueeze", graph.add("Concat", *beside, axis=-1), axis)
        steps = graph.add("Shape", "x", start=1, end=2)
        shape = graph.add("Concat", graph.whole(1), steps, graph.whole(1), axis=0)
        x = graph.add("Concat", x, graph.add("Expand", together, shape), axis=-1)
    x = graph.add("Transpose", x, perm=[1, 0, 2])  # (T, B, F)
    end = x
    for index, layer in enumerate(network.cells.layers):
        if index:
            norm = network.cells.between[index - 1]
            if isinstance(norm, nn.LayerNorm):
                parts = [graph.array(part) for part in (norm.weight, norm.bias)]
                x = graph.add("LayerNormalization", x, *parts, epsilon=norm.eps)
        x, end = _layer(graph, layer, x)
    return end


def _layer(graph: _Graph, layer: nn.Module, x: str) -> tuple[str, str]:
    """Add a recurrent layer: rows (T, B, H) and the last one (B, H)."""
    operator, order = _CELLS[type(layer)]
    weights = {name: value.detach() for name, value in layer.named_parameters()}

    def stacked(name: str) -> Tensor:
        gates = weights[name].chunk(len(order))
        return torch.cat([gates[gate] for gate in order])[None]

    bias = torch.cat([stacked("bias_ih_l0"), stacked("bias_hh_l0")], dim=1)
    arrays = [stacked("weight_ih_l0"), stacked("weight_hh_l0"), bias]
    more = {"linear_before_reset": 1} if operator == "GRU" else {}
    rows, last = graph.several(
        operator,
        x,
        *(graph.array(array) for array in arrays),
        outputs=[f"rows{len(graph.nodes)}", f"last{len(graph.nodes)}"],
        hidden_size=layer.hidden_size,
        **more,
    )
    return graph.add("Squeeze", rows, graph.whole(1)), graph.add("Squeeze", last, graph.whole(0))


def _from_ahead(graph: _Graph, network: ForecastNetwork, state: str) -> str:
    """What columns known ahead add to the raw numbers, (B, K, H, Q)."""
    join, future = network.ahead, network.features.future
    assert join is not None
    n_targets, horizon = network.error_scale.shape
    known = _scaled(graph, "ahead", network.location[future], network.gain[future])
    rows = _linear(graph, join.known, graph.add("Asinh", known))  # (B, H, width)
    state = graph.add("Unsqueeze", _linear(graph, join.state, state), graph.whole(1))
    both = graph.add("Add", graph.add("Add", state, graph.array(join.step)), rows)
    more = _linear(graph, join.out, graph.add("Tanh", both))  # (B, H, K Q)
    more = graph.add("Reshape", more, graph.whole(-1, horizon, n_targets, network.head.size))
    return graph.add("Transpose", more, perm=[0, 2, 1, 3])


def _scaled(graph: _Graph, name: str, location: Tensor, gain: Tensor) -> str:
    return graph.add("Mul", graph.add("Sub", name, graph.array(location)), graph.array(gain))


def _linear(graph: _Graph, layer: nn.Linear, x: str) -> str:
    y = graph.add("MatMul", x, graph.array(layer.weight.T))
    return y if layer.bias is None else graph.add("Add", y, graph.array(layer.bias))


# ---- heads: raw numbers (B, K, H, Q) and unit (B, K, H) to outputs in the transformed unit


def _point(graph: _Graph, network: ForecastNetwork, raw: str, unit: str) -> dict[str, str]:
    return {"forecast": _placed(graph, _number(graph, raw, 0), unit)}


def _quantiles(graph: _Graph, network: ForecastNetwork, raw: str, unit: str) -> dict[str, str]:
    head: Any = network.head
    m, n_levels = head.location, head.size
    median = graph.add("Gather", raw, graph.whole(m), axis=-1)  # (B, K, H, 1)
    others = graph.whole(*(j for j in range(n_levels) if j != m))
    distances = _stretched(graph, network.start, graph.add("Gather", raw, others, axis=-1))
    # from the median outwards: sums of the distances on the way, less than none below it
    at, level = np.arange(n_levels - 1)[:, None], np.arange(n_levels)
    ways = ((m <= at) & (at < level)) * 1.0 - ((level <= at) & (at < m))
    z = graph.add("Add", median, graph.add("MatMul", distances, graph.double(ways)))
    return {
        "forecast": _placed(graph, _number(graph, raw, m), unit),
        "quantiles": _placed(graph, z, unit, many=True),
    }


def _gaussian(graph: _Graph, network: ForecastNetwork, raw: str, unit: str) -> dict[str, str]:
    centre, scale = _centre_and_scale(graph, network, raw)
    scores = graph.double(ndtri(np.array(network.head.levels)))
    last = graph.whole(-1)
    spread = graph.add("Mul", graph.add("Unsqueeze", scale, last), scores)
    z = graph.add("Add", graph.add("Unsqueeze", centre, last), spread)
    return {
        "forecast": _placed(graph, centre, unit),
        "quantiles": _placed(graph, z, unit, many=True),
    }


def _studentt(graph: _Graph, network: ForecastNetwork, raw: str, unit: str) -> dict[str, str]:
    centre, scale = _centre_and_scale(graph, network, raw)
    low, high = DEGREES
    place = graph.add("Add", _number(graph, raw, 2), graph.double(network.start[..., 1]))
    power = graph.add("Mul", graph.add("Sigmoid", place), graph.double(math.log(high / low)))
    return {
        "forecast": _placed(graph, centre, unit),
        "scale": graph.add("Mul", scale, unit),
        "degrees": graph.add("Mul", graph.add("Exp", power), graph.double(low)),
    }


def _counts(graph: _Graph, network: ForecastNetwork, raw: str, unit: str) -> dict[str, str]:
    least = graph.double(network.start[..., 0].double().exp())
    change = graph.add("Exp", _bounded(graph, _number(graph, raw, 0), MAX_LOG_RATE))
    said = {"forecast": graph.add("Mul", graph.add("Max", "base", least), change)}
    if isinstance(network.head, NegativeBinomial):
        said["dispersion"] = _stretched(graph, network.start[..., 1], _number(graph, raw, 1))
    return said


def _bernoulli(graph: _Graph, network: ForecastNetwork, raw: str, unit: str) -> dict[str, str]:
    prior = graph.add("Clip", "base", graph.double(RAREST), graph.double(1 - RAREST))
    odds = graph.add("Div", prior, graph.add("Sub", graph.double(1.0), prior))
    change = _bounded(graph, _number(graph, raw, 0), MAX_LOG_RATE)
    return {"forecast": graph.add("Sigmoid", graph.add("Add", graph.add("Log", odds), change))}


_HEADS = {
    Point: _point,
    Quantiles: _quantiles,
    Gaussian: _gaussian,
    StudentT: _studentt,
    Bernoulli: _bernoulli,
}


def _centre_and_scale(graph: _Graph, network: ForecastNetwork, raw: str) -> tuple[str, str]:
    head: Any = network.head
    centre = _number(graph, raw, 0)
    if not head.moves:
        centre = graph.add("Mul", centre, graph.double(0.0))
    return centre, _stretched(graph, network.start[..., 0], _number(graph, raw, 1))


def _number(graph: _Graph, raw: str, which: int) -> str:
    """One of the raw numbers, (B, K, H)."""
    return graph.add("Gather", raw, graph.array(np.array(which)), axis=-1)


def _bounded(graph: _Graph, raw: str, limit: float) -> str:
    within = graph.add("Tanh", graph.add("Div", raw, graph.double(limit)))
    return graph.add("Mul", within, graph.double(limit))


def _stretched(graph: _Graph, start: Tensor, raw: str) -> str:
    change = _bounded(graph, raw, MAX_LOG_STRETCH)
    return graph.add("Exp", graph.add("Add", change, graph.double(start)))


def _placed(graph: _Graph, z: str, unit: str, *, many: bool = False) -> str:
    """Base + unit z; `many` numbers of each step stand behind it."""
    base = "base"
    if many:
        base, unit = (graph.add("Unsqueeze", name, graph.whole(-1)) for name in (base, unit))
    return graph.add("Add", base, graph.add("Mul", z, unit))
