"""Networks that differ in their seeds alone, trained one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tsforecast.data.panel import Floats, Ints
from tsforecast.nn.training import Training, isolated_randomness, train

__all__ = ["Trained", "train_members"]


@dataclass(frozen=True)
class Trained:
    """What came of it.

    Attributes
    ----------
    networks : list of Module
        Those trained: fewer than seeds after an interrupt.
    best_epochs : list of int
        The epoch whose weights each has.
    history : DataFrame
        Indexed by epoch: train_loss, val_loss, learning_rate, seconds, member.
    stopped_by : BaseException or None
        For the caller to raise once it has kept the rest.
    """

    networks: list[Any]
    best_epochs: list[int]
    history: pd.DataFrame
    stopped_by: BaseException | None


def train_members(
    seeds: Sequence[int],
    begin: Callable[[int, int], tuple[Any, Any]],
    validation: Callable[[Any], Floats] | None,
    training: Training,
    *,
    blocks: Ints | None = None,
    errors: float = 1.0,
    verbose: int = 0,
) -> Trained:
    """Train a network for each seed.

    Parameters
    ----------
    seeds : sequence of int
    begin : callable
        ``begin(member, seed)`` gives the untrained network and its batches; torch's generator has
        the seed by then.
    validation, training, blocks, errors, verbose
        As for `tsforecast.nn.training.train`.

    Returns
    -------
    Trained
    """
    networks, best_epochs, histories = [], [], []
    stopped_by = None
    for member, seed in enumerate(seeds):
        with isolated_randomness(seed, training.device()):
            network, batches = begin(member, seed)
            fitted = train(
                network,
                batches,
                validation,
                training,
                blocks=blocks,
                errors=errors,
                verbose=verbose,
            )
        networks.append(network)
        best_epochs.append(fitted.best_epoch)
        histories.append(pd.DataFrame(fitted.history).assign(member=member))
        stopped_by = fitted.stopped_by
        if stopped_by is not None:
            break
    history = pd.concat(histories).astype({"epoch": int}).set_index("epoch")
    return Trained(networks, best_epochs, history, stopped_by)
