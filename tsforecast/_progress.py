"""One flat progress bar, off where nobody watches."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["progress_bar"]


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
