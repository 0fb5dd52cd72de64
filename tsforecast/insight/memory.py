"""How far back a network's answer depends on its rows: by gradient, and by occlusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tsforecast._checks import bad_parameter, positive_int
from tsforecast.data.panel import Floats
from tsforecast.insight._sequences import Sequences, check_place, sequences
from tsforecast.insight.gates import reading
from tsforecast.nn.events import EventNetwork
from tsforecast.nn.network import ForecastNetwork
from tsforecast.nn.positions import PositionNetwork

__all__ = ["memory_profile"]


def memory_profile(
    model: Any,
    data: Any,
    *,
    series: Any = None,
    cutoff: Any = None,
    steps: int | None = None,
    target: int = 0,
    ahead: int = 1,
    member: int = 0,
) -> pd.DataFrame:
    r"""Measure how much the network's answer still depends on the row k steps ago.

    Parameters
    ----------
    model : estimator
        Fitted, as for `gates`.
    data : DataFrame or array
        A panel; of an estimator on arrays its X.
    series : label or list of labels, optional
        Series (on arrays: positions of samples). Default: all; the profile is a mean over them.
    cutoff : label, optional
        The newest row, k = 0, is the last one at or before it. Default: the last one.
    steps : int, optional
        Rows to go back. Default: the model's `lookback`, or all of a sample.
    target : int
        Which of several targets, counted from 0.
    ahead : int
        Which step of the horizon is asked about, counted from 1.
    member : int
        Which network of an ensemble.

    Returns
    -------
    DataFrame
        Index ``back``: k = 0, 1, ...; columns

        - ``gradient``: size (Euclidean norm) of the derivative of the answer with respect to the
          inputs of that row, which are standardised;
        - ``occlusion``: absolute change of the answer when the inputs of that row are replaced by
          the sequence's own mean row up to now;
        - ``gradient_share``, ``occlusion_share``: the same divided by the sum over the rows shown.

        The answer: of a forecaster its correction of the baseline, in units of the baseline's
        usual error at that step, of counts in logarithms of the rate, of ``head="bernoulli"`` in
        log-odds; of an event classifier the networks' risk within `ahead` steps; of a classifier
        on arrays the log-odds (of more than two classes: what the first one has before the
        softmax), of a regressor the standardised output; of a `PositionEstimator` the position
        before it is scaled by volatility.

    Raises
    ------
    TypeError, ValueError
        As for `gates`; if there is no such target or step, or if the model has columns known
        ahead (`future`) and a series ends within the horizon of the cutoff.

    Notes
    -----
    With `season` the answer is that of the cells alone: the seasonal line, which leads straight
    from the last season's values to the forecast, is the same whatever the cells read, and what
    it takes from a row is not shown.

    The two differ where the network is saturated: a gate that is shut has no gradient, though
    another value might open it. What the baseline itself takes from the newest rows is not shown.
    Inputs of a row hold changes from the rows before (a day, a season), so that a row's value
    enters more than one of them.

    A network that has kept its baseline (`best_epochs_` of 0) corrects nothing: its profile is
    zero, and the shares are NaN.

    An estimator forgets what it has not learned to keep: a profile that falls to nothing after
    five rows says that five rows are used, not that five would do.

    Examples
    --------
    >>> import numpy as np
    >>> import tsforecast as tsf
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 6))
    >>> model = tsf.RecurrentRegressor(hidden_sizes=(8,), random_state=0)
    >>> model = model.fit(X, X[:, 3])       # column 3 is two steps before the newest, 5
    >>> int(memory_profile(model, X[:100])["occlusion"].idxmax())
    2
    """
    positive_int("ahead", ahead)
    n_back = positive_int("steps", steps) if steps is not None else getattr(model, "lookback", None)
    sums: dict[str, Any] = {}
    blocks = sequences(model, data, series=series, cutoff=cutoff, member=member, decoded=True)
    for block in blocks:
        _check_answer(block.network, target, ahead)
        most = block.x.shape[1] if n_back is None else n_back
        for name, values in {
            "gradient": _gradients(block, target, ahead),
            "occlusion": _occlusions(block, most, target, ahead),
        }.items():
            total, count = _by_lag(block, values, most)
            before = sums.get(name, (0.0, 0))
            sums[name] = before[0] + total, before[1] + count
    with np.errstate(invalid="ignore"):
        frame = pd.DataFrame({name: total / count for name, (total, count) in sums.items()})
        for name in sums:
            frame[f"{name}_share"] = frame[name] / frame[name].sum()
    frame.index.name = "back"
    return frame.dropna(how="all")


def _check_answer(network: Any, target: int, ahead: int) -> None:
    if isinstance(network, PositionNetwork):
        n_targets, horizon = 1, 1
    elif isinstance(network, EventNetwork):
        n_targets, horizon = 1, network.head.n_steps
    else:
        n_targets, horizon = network.error_scale.shape
    check_place("target", target, n_targets)
    if ahead > horizon:
        raise bad_parameter("ahead", expected=f"at most the horizon, {horizon}", found=ahead)


def _answer(block: Sequences, change: Any, target: int, ahead: int) -> tuple[Tensor, Tensor]:
    """The answer at the newest steps, (B,), and what the cells have read, (B, T, F)."""
    network = block.network
    with reading(network.cells, change) as read:
        states, _ = network.encode(block.x, block.static, block.codes)
    newest = states[torch.arange(len(states)), torch.from_numpy(block.newest)]  # (B, width)
    if isinstance(network, EventNetwork):
        logits = network.head.logits(network.decode(newest))
        return network.head.incidence(logits)[:, ahead - 1], read[0]
    if isinstance(network, PositionNetwork):
        return network.decode(newest), read[0]
    assert isinstance(network, ForecastNetwork)
    raw = network.decode(newest[:, None], block.origins)  # (B, 1, K, H, Q)
    return raw[:, 0, target, ahead - 1, getattr(network.head, "location", 0)], read[0]


def _gradients(block: Sequences, target: int, ahead: int) -> Floats:
    """Size of the derivative with respect to each row's inputs, (B, T)."""
    with torch.enable_grad():
        answer, read = _answer(block, lambda x: x.detach().requires_grad_(True), target, ahead)
        (slope,) = torch.autograd.grad(answer.sum(), read)
    return np.asarray(slope.norm(dim=2).double().numpy())


def _occlusions(block: Sequences, most: int, target: int, ahead: int) -> Floats:
    """Change of the answer where a row is replaced by the mean row, (B, T)."""
    real = torch.from_numpy(block.real)
    rows = torch.arange(len(block.x))
    newest = torch.from_numpy(block.newest)
    changed = torch.zeros(block.real.shape)
    with torch.inference_mode():
        answer, read = _answer(block, None, target, ahead)
        count = real.sum(dim=1)
        usual = (read * real[:, :, None]).sum(dim=1) / count[:, None]  # (B, F)
        for back in range(min(most, int(newest.max()) + 1)):
            at = newest - back
            some = at >= 0

            def occluded(x: Tensor, at: Tensor = at, some: Tensor = some) -> Tensor:
                x = x.clone()
                x[rows[some], at[some]] = usual[some]
                return x

            other, _ = _answer(block, occluded, target, ahead)
            changed[rows[some], at[some]] = (other - answer).abs()[some]
    return np.asarray(changed.double().numpy())


def _by_lag(block: Sequences, values: Floats, most: int) -> tuple[Floats, Floats]:
    """Sum and number of values (B, T) over real steps, by how far back they are: (most,) each."""
    back = block.newest[:, None] - np.arange(values.shape[1])
    counted = block.real & (back >= 0) & (back < most)
    total: Floats = np.bincount(back[counted], values[counted], most).astype(np.float64)
    count: Floats = np.bincount(back[counted], minlength=most).astype(np.float64)
    return total, count
