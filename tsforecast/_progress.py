"""One flat progress bar, off where nobody watches; and who listens to the epochs of a fit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["listening", "progress_bar", "report_epoch"]

Listener = Callable[[int, float, float], None]

_listener: ContextVar[Listener | None] = ContextVar("_listener", default=None)


@contextmanager
def listening(callback: Listener | None) -> Iterator[None]:
    """Call back after every validated epoch of the networks that are fitted in this block.

    Parameters
    ----------
    callback : callable or None
        Gets the epoch, counted from 1, the mean validation loss and that of epoch 0, the
        untrained network. What it raises ends the fit. None: nobody listens.

    Examples
    --------
    >>> with listening(lambda epoch, loss, first: print(epoch, loss / first)):
    ...     report_epoch(1, 0.5, 2.0)
    1 0.25
    >>> report_epoch(2, 0.4, 2.0)
    """
    token = _listener.set(callback)
    try:
        yield
    finally:
        _listener.reset(token)


def report_epoch(epoch: int, loss: float, first: float) -> None:
    """Tell the listener of this block, if there is one; see `listening`."""
    callback = _listener.get()
    if callback is not None:
        callback(epoch, loss, first)


def progress_bar(*, total: int, description: str, verbose: int) -> Any:
    """Give a tqdm bar for a terminal or a notebook, disabled when there is neither.

    Parameters
    ----------
    total : int
        Number of steps.
    description : str
        Shown before the bar.
    verbose : int
        0: no bar.

    Returns
    -------
    tqdm
        With ``update``, ``set_postfix_str`` and ``close``; a context manager.
    """
    in_kernel = _in_kernel()
    watched = in_kernel or sys.stderr.isatty()
    module = import_module("tqdm.notebook" if in_kernel and _has_widgets() else "tqdm")
    return module.tqdm(
        total=total, desc=description, disable=not (verbose and watched), leave=False
    )


def _in_kernel() -> bool:
    # imported is not running: tools that start notebooks import ipykernel too
    app = sys.modules.get("ipykernel.kernelapp")
    return app is not None and bool(app.IPKernelApp.initialized())


def _has_widgets() -> bool:
    return find_spec("ipywidgets") is not None
