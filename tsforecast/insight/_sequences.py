"""What the networks of an estimator read, sequence by sequence, for a look inside them.

Shapes: B sequences, T steps, F features; see `tsforecast.data.windows` for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsforecast._checks import bad_parameter, fail
from tsforecast.data.panel import Ints, Layout, as_panel, only_series
from tsforecast.data.windows import Origins, Rows, Shape
from tsforecast.nn.network import Encoder

__all__ = ["Sequences", "check_place", "sequences"]

_TOGETHER = 64  # sequences run side by side


@dataclass(frozen=True)
class Sequences:
    """Some sequences as a network reads them, each from a state of zero to its newest step.

    Attributes
    ----------
    network : Encoder
    x : Tensor, shape (B, T, F)
        Behind its newest step a shorter sequence repeats it; no earlier step sees that.
    static, codes : Tensor, shape (B, D), (B, M)
    newest : ndarray of int64, shape (B,)
        Which of the T steps is the newest one.
    origins : Origins
        What is decoded beside the state at the newest step.
    real : ndarray of bool, shape (B, T)
        Steps that are rows: neither repeated before the first row nor behind the newest one.
    index : Index
        Of the real steps, sequence by sequence.
    """

    network: Encoder
    x: Tensor
    static: Tensor
    codes: Tensor
    newest: Ints
    origins: Origins
    real: npt.NDArray[np.bool_]
    index: pd.Index


def sequences(
    model: Any,
    data: Any,
    *,
    series: Any = None,
    cutoff: Any = None,
    member: int = 0,
    decoded: bool = False,
) -> Iterator[Sequences]:
    """Give what a network reads up to a cutoff, of some series or samples, in blocks.

    Parameters
    ----------
    model : estimator
        Fitted, with networks: on panels or on arrays.
    data : DataFrame or array
        A panel; of an estimator on arrays its X.
    series : label or sequence of labels, optional
        Series (on arrays: positions of samples). Default: all.
    cutoff : label, optional
        The newest row is the last one at or before it. Default: the last one. Not on arrays.
    member : int
        Which network of an ensemble.
    decoded : bool
        Whether `origins` are asked for, which need what is known ahead of the newest rows.

    Raises
    ------
    TypeError
        If the model has no networks.
    ValueError
        If there is no such series or member, or not enough is known ahead.
    """
    if hasattr(model, "_read_samples"):
        check_place("member", member, 1)
        if cutoff is not None:
            raise bad_parameter("cutoff", expected="None: samples have no time", found=cutoff)
        yield from _of_arrays(model, data, series)
        return
    if not hasattr(model, "_read"):
        raise TypeError(
            f"expected a recurrent estimator of this package, found {type(model).__name__}: there "
            "are no gates in it. Of a wrapper pass the fitted estimator within "
            "(`model.estimator_`, `model.volatility_`)."
        )
    check_is_fitted(model)
    panel = as_panel(data)
    if series is not None:
        panel = only_series(panel, series)
    networks, rows, shape = model._read(panel)
    check_place("member", member, len(networks))
    layout = rows.layout
    newest = layout.stops - 1 if cutoff is None else layout.origins_at(cutoff)[0]
    newest = newest[rows.first[newest] <= newest]
    if len(newest) == 0:
        raise fail(
            "nothing that a network reads",
            expected="a series with rows behind the warm-up of the transform",
            found=f"none of {layout.n_series} at the cutoff",
            advice="Give more rows, or a later cutoff.",
        )
    if decoded and shape.future.stop > shape.future.start:
        _require_ahead(layout, newest, shape.horizon)
    for at in range(0, len(newest), _TOGETHER):
        yield _of_rows(networks[member], rows, shape, newest[at : at + _TOGETHER])


def check_place(name: str, value: object, below: int) -> None:
    """Raise unless ``value`` is one of 0, ..., below - 1."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value not in range(below):
        raise bad_parameter(name, expected=f"a whole number below {below}", found=value)


def _require_ahead(layout: Layout, newest: Ints, horizon: int) -> None:
    """Refuse newest rows behind which a series does not go on for the horizon."""
    which = np.searchsorted(layout.offsets, newest, side="right") - 1
    short = layout.stops[which] - 1 - newest < horizon
    if short.any():
        raise fail(
            "columns known ahead end too early",
            expected=f"the next {horizon} rows behind the newest one, as the model has `future`",
            found=f"fewer in {short.sum()} of {len(newest)} series",
            advice="Pass an earlier cutoff.",
        )


def _of_rows(network: Encoder, rows: Rows, shape: Shape, newest: Ints) -> Sequences:
    begun = rows.first[newest]
    if shape.context == "window":
        at = newest[:, None] + np.arange(1 - shape.lookback, 1)
        real = at >= begun[:, None]
        last = np.full(len(newest), shape.lookback - 1)
    else:
        last = newest - begun
        at = begun[:, None] + np.arange(last.max() + 1)
        real = at <= newest[:, None]
    at = np.clip(at, begun[:, None], newest[:, None])
    which = torch.from_numpy(rows.series_of(newest))
    return Sequences(
        network=network,
        x=rows.inputs[torch.from_numpy(at)],
        static=rows.static[which],
        codes=rows.codes[which],
        newest=last,
        origins=rows.origins(newest, shape),
        real=real,
        index=_named(rows.layout, at[real]),
    )


def _named(layout: Layout, rows: Ints) -> pd.Index:
    """Index of some rows as the panel's."""
    time = layout.time.take(rows)
    if layout.ids is None:
        return time.rename(layout.labels.name)
    ids = layout.ids.take(np.searchsorted(layout.offsets, rows, side="right") - 1)
    return pd.MultiIndex.from_arrays([ids, time], names=[layout.ids.name, layout.labels.name])


def _of_arrays(model: Any, X: Any, samples: Any) -> Iterator[Sequences]:
    n_samples = len(X)
    which = np.arange(n_samples) if samples is None else np.atleast_1d(np.asarray(samples))
    if not np.isin(which, np.arange(n_samples)).all():
        raise bad_parameter(
            "series", expected=f"positions of samples below {n_samples}", found=samples
        )
    for at in range(0, len(which), _TOGETHER):
        chosen = which[at : at + _TOGETHER]
        network, windows = model._read_samples(X, chosen)
        n, steps = windows.x.shape[:2]
        yield Sequences(
            network=network,
            x=windows.x,
            static=windows.static,
            codes=windows.codes,
            newest=np.full(n, steps - 1),
            origins=windows.origins,
            real=np.ones((n, steps), dtype=bool),
            index=pd.MultiIndex.from_product([chosen, range(steps)], names=["sample", "step"]),
        )
