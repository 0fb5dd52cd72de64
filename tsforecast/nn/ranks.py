"""Processes that fit one network together, as torchrun starts them.

Every process goes through the same epochs with the same seeds, and computes its share of the
windows of every batch; sums of gradients are those of the whole batch, so that all take the same
steps, which are those of a single process but for rounding. A process joins others by `joined`
alone: no fit looks at the environment by itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Ranks", "joined", "ranks", "started_by_torchrun"]

# torchrun ends all processes when one dies; what is left to wait for is another one at work
_PATIENCE = timedelta(days=1)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """Which this process is among those that fit together; by default it is alone.

    Every method is one that all of them call, in the same order.

    Attributes
    ----------
    rank, size : int
        Its number, and how many there are.
    local : int
        Its number among those of its machine.

    Examples
    --------
    >>> Ranks().from_first("alone")
    'alone'
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes, the same to the last bit in all of them."""
        if self.size == 1:
            return values
        import torch.distributed as dist

        values = values.clone()
        dist.all_reduce(values)
        return values

    def add_gradients(self, network: nn.Module) -> None:
        """Put the sum over the processes in place of every gradient."""
        slopes = [weight.grad for weight in network.parameters() if weight.grad is not None]
        if self.size == 1 or not slopes:
            return
        import torch

        whole = self.total(torch.cat([slope.flatten() for slope in slopes]))
        sums = torch.split_with_sizes(whole, [slope.numel() for slope in slopes])
        for slope, added in zip(slopes, sums):
            slope.copy_(added.view_as(slope))

    def from_first(self, value: Value) -> Value:
        """Give the value of rank 0."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def copy_first(self, network: nn.Module) -> None:
        """Give all processes the weights of rank 0."""
        if self.size == 1:
            return
        import torch.distributed as dist

        for weight in network.state_dict().values():
            dist.broadcast(weight, src=0)


_ALONE = Ranks()
_RANKS: ContextVar[Ranks] = ContextVar("ranks", default=_ALONE)


def ranks() -> Ranks:
    """Tell which of the processes this is; alone outside of `joined`, and in other threads."""
    return _RANKS.get()


def started_by_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun has started; they fit together within the block.

    All of them fit the same estimator on the same panel. Afterwards all have the same weights.
    On the CPU they talk by gloo, on CUDA devices, one for each process of a machine, by NCCL.

    Yields
    ------
    Ranks

    Raises
    ------
    RuntimeError
        If torchrun has not started this process.

    Examples
    --------
    Of a script that ``torchrun --standalone --nproc-per-node 2 script.py`` runs:

    >>> with joined() as here:  # doctest: +SKIP
    ...     model.fit(panel)
    ...     if here.rank == 0:
    ...         tsf.save(model, "model")
    """
    if not started_by_torchrun():
        raise RuntimeError(
            "not one of several processes: expected to be started by torchrun, found no "
            "TORCHELASTIC_RUN_ID. Run `tsforecast fit --devices 2`, or "
            "`torchrun --standalone --nproc-per-node 2 script.py`."
        )
    import torch
    import torch.distributed as dist

    place = Ranks(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if place.local < torch.cuda.device_count():
        torch.cuda.set_device(place.local)  # what "cuda" stands for in this process
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    token = _RANKS.set(place)
    try:
        yield place
    finally:
        _RANKS.reset(token)
        dist.destroy_process_group()
