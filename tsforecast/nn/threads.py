"""Work in pieces on threads that each compute with one OpenMP thread.

torch's recurrent layers release the GIL, so that Python threads with a piece each are faster than
one call on many OpenMP threads, and a busy machine slows them less: nothing waits at a barrier
after every small operation.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

__all__ = ["FEW", "at_once", "in_order", "torch_threads"]

FEW = 16  # series: handing so few to another thread would take as long as their step

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, n_threads: int | None = None
) -> Iterator[Result]:
    """Give ``function(item)`` of each item, in their order, computed on several threads.

    Each thread has one OpenMP thread.  With a single one, as within `function` itself, all runs in
    the caller.  Items are taken as they are needed: at most two per thread are under way.

    A forked process has none of the threads and makes its own; torch itself may hang there where
    it has used more than one: set one in children, or start them by spawn.

    An exception, of `function` or by Ctrl-C, is raised here once what was under way has ended;
    what was not begun is dropped.

    Parameters
    ----------
    function : callable
        Of one item; on the CPU. Grad mode is a matter of each thread in torch, so `function` sets
        its own.
    items : iterable
        Cut without regard to the number of threads, so that results do not depend on it.
    n_threads : int, optional
        Default: as many as torch has here (``torch.get_num_threads()``).

    Returns
    -------
    iterator

    Examples
    --------
    >>> list(in_order(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    n_threads = torch.get_num_threads() if n_threads is None else n_threads
    return map(function, items) if n_threads == 1 else _threaded(function, items, n_threads)


def at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Give ``function(item)`` of each item in the calling thread, on one OpenMP thread.

    For calls of a millisecond: on a busy machine, threads that wait for each other after every
    small operation would make them many.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return iter([function(item) for item in items])
    finally:
        torch.set_num_threads(before)


def _threaded(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int
) -> Iterator[Result]:
    pending: deque[Future[Result]] = deque()

    def oldest() -> Result:
        result = pending[0].result()  # an interrupt while it waits leaves it among the pending
        pending.popleft()
        return result

    try:
        for item in items:
            pending.append(_workers(n_threads).submit(function, item))
            if len(pending) == 2 * n_threads:
                yield oldest()
        while pending:
            yield oldest()
    finally:
        wait([future for future in pending if not future.cancel()])


@functools.cache
def _workers(n_threads: int) -> ThreadPoolExecutor:
    """Threads that stay: every step of a training needs them."""
    return ThreadPoolExecutor(n_threads, "tsforecast", _set_torch_threads, (1,))


@contextlib.contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Give the calling thread so many OpenMP threads for a block; all others keep theirs."""
    before = torch.get_num_threads()
    _set_torch_threads(n_threads)
    try:
        yield
    finally:
        _set_torch_threads(before)


_setting = threading.Lock()


def _set_torch_threads(n_threads: int) -> None:
    # every thread has a number of its own, but torch notes the last one set for threads to come,
    # and a thread that never asked for its number would go on to take the noted one
    with _setting, ThreadPoolExecutor(1) as fresh:
        noted = fresh.submit(torch.get_num_threads).result()
        torch.get_num_threads()
        torch.set_num_threads(n_threads)
        fresh.submit(torch.set_num_threads, noted).result()


def _begin_anew() -> None:
    """A forked child has none of the threads, one of which may have held the lock."""
    global _setting
    _setting = threading.Lock()
    _workers.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
