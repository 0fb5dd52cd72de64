"""The one seam where work is spread: a function over parts, here, over processes or over Dask."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from importlib import import_module
from typing import Any, Literal, TypeVar

from tsforecast._checks import bad_parameter, choice, positive_int
from tsforecast.batch.exits import ConfigError

__all__ = ["Spread", "spread"]

Spread = Literal["serial", "processes", "dask"]
Part = TypeVar("Part")
Result = TypeVar("Result")

_HOW = ("serial", "processes", "dask")
_AHEAD = 2  # parts a worker has, the one it works on included: what waits takes memory
_LIVES = 3  # workers that may be lost over one set of parts before it is the parts' fault
# Dask has its workers give memory back to the system at once, and look at themselves a hundred
# times a second: together that takes a third of their time, as small parts come in a row. What is
# set before they start stays in the environment of this process, which may yet import torch: so
# only that which comes too late in theirs.
_WORKERS = {
    "distributed.nanny.pre-spawn-environ": {"OPENBLAS_NUM_THREADS": 1},
    "distributed.nanny.environ": {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1},
    "distributed.worker.profile.enabled": False,
}


def spread(
    function: Callable[[Part], Result],
    parts: Iterable[Part],
    *,
    how: Spread = "serial",
    workers: int | None = None,
    address: str | None = None,
) -> Generator[Result]:
    """Apply a function to parts, and give the results as they are finished.

    Parameters
    ----------
    function : callable
        Of one part. It, the parts and the results can be pickled, and what it gives depends on the
        part alone: where a worker is lost, its parts are done again.
    parts : iterable
        Taken one by one, no more than two for each worker ahead of the results.
    how : {"serial", "processes", "dask"}
        In this process, one after the other and in order; over processes of this machine
        (joblib's loky, one thread each); over Dask. The results are the same.
    workers : int, optional
        Processes. Default: as many as this one may use. A cluster at an `address` has its own.
    address : str, optional
        Of a Dask scheduler. Default: a cluster of processes on this machine, for this call.

    Yields
    ------
    object
        Results, in any order but for ``"serial"``: those who need to know have the function say
        which part it was. Who does not take all of them closes the generator: the workers are
        ended then.

    Raises
    ------
    ValueError
        If a parameter cannot be used.
    ConfigError
        If no scheduler answers at the address.
    concurrent.futures.BrokenExecutor
        If workers are lost again and again.
    Exception
        Whatever the function raises, at the first part that does; the others are given up.

    Examples
    --------
    >>> list(spread(abs, [-2, 1, -3]))
    [2, 1, 3]
    """
    choice("how", how, _HOW)
    if workers is not None:
        positive_int("workers", workers)
    if address is not None and how != "dask":
        raise bad_parameter("address", expected="None unless how='dask'", found=address)
    if how == "serial":
        return (function(part) for part in parts)
    if how == "processes":
        return _over_processes(function, parts, _cores() if workers is None else workers)
    return _over_dask(function, parts, workers, address)


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _over_processes(
    function: Callable[[Part], Result], parts: Iterable[Part], workers: int
) -> Generator[Result]:
    """Results from processes; those that die are replaced, and their parts done again."""
    from joblib.externals.loky import ProcessPoolExecutor

    left = _Parts(parts)
    # one thread each: as many processes as cores leave none for more
    env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for life in range(_LIVES + 1):
        executor = ProcessPoolExecutor(max_workers=workers, env=env)
        done = False
        try:
            yield from _finished(executor, function, left, _AHEAD * workers)
            done = True
            return
        except BrokenExecutor:  # one was killed: those beside it are ended, too
            if life == _LIVES:
                raise
        finally:
            executor.shutdown(wait=done, kill_workers=not done)


def _over_dask(
    function: Callable[[Part], Result],
    parts: Iterable[Part],
    workers: int | None,
    address: str | None,
) -> Generator[Result]:
    """Results from a cluster, which gives the parts of a lost worker to another one."""
    distributed: Any = import_module("distributed")  # without types
    with contextlib.ExitStack() as stack:
        if address is None:
            stack.enter_context(import_module("dask").config.set(_WORKERS))
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=_cores() if workers is None else workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # none is asked for: not one with a fixed port
                    silence_logs=logging.ERROR,  # a worker that takes long to end is none
                )
            )
            client = stack.enter_context(distributed.Client(cluster))
        else:
            client = stack.enter_context(_client(distributed, address))
        threads = max(sum(client.nthreads().values()), 1)
        executor = client.get_executor(pure=False, retries=_LIVES)
        yield from _finished(executor, function, _Parts(parts), _AHEAD * threads)


def _client(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address)
    except (OSError, ValueError) as error:
        raise ConfigError.of(
            f"Dask scheduler {address!r}",
            expected="one that answers at an address such as tcp://scheduler:8786",
            found=(str(error).splitlines() or [type(error).__name__])[0].rstrip("."),
            advice="Start it, or correct [run] dask_address.",
        ) from error


class _Parts:
    """Parts that are handed out one by one, and can be given back."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self._further = iter(parts)
        self._back: deque[Any] = deque()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._back.popleft() if self._back else next(self._further)

    def give_back(self, parts: Iterable[Any]) -> None:
        self._back.extend(parts)


def _finished(
    executor: Executor, function: Callable[[Any], Result], parts: _Parts, most: int
) -> Generator[Result]:
    """Results as they are finished, `most` parts at once; on an error unfinished parts go back."""
    pending: dict[Future[Result], Any] = {}
    try:
        while True:
            while len(pending) < most and (part := next(parts, _NONE)) is not _NONE:
                try:
                    pending[executor.submit(function, part)] = part
                except BrokenExecutor:
                    parts.give_back([part])
                    raise
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                result = future.result()
                del pending[future]
                yield result
    finally:
        parts.give_back(pending.values())
        for future in pending:
            future.cancel()


_NONE: Any = object()
