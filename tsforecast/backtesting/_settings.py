"""What a backtest was run with, in words: enough to run it again, and no row of the data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tsforecast._checks import first
from tsforecast._html import label
from tsforecast.data.panel import layout_of
from tsforecast.data.splits import Split

__all__ = ["in_words", "panel_in_words", "settings_of", "splits_table"]

_LONGEST = 300  # of what is not made of parameters: longer things are likely to be data
_FACTS = ("source", "adjusted", "calendar")  # what a panel may know of itself


def in_words(value: Any) -> str:
    """Say an estimator by its class and the parameters that differ from their defaults.

    Examples
    --------
    >>> from tsforecast.data.transforms import Clip
    >>> in_words({"a": [Clip(0), range(3)]})
    "{'a': [Clip(lower=0), range(0, 3)]}"
    """
    if hasattr(value, "get_params") and not isinstance(value, type):
        given = value.get_params(deep=False)
        usual = inspect.signature(type(value)).parameters
        said = [
            f"{name}={in_words(each)}"
            for name, each in given.items()
            if name not in usual or not _is_default(each, usual[name].default)
        ]
        return f"{type(value).__name__}({', '.join(said)})"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {in_words(each)}" for key, each in value.items()) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(in_words, value)) + "]"
    if type(value) is tuple:
        return "(" + ", ".join(map(in_words, value)) + ("," if len(value) == 1 else "") + ")"
    if inspect.isroutine(value) or isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    if "\n" in text or len(text) > _LONGEST:
        return f"<{type(value).__name__}>"
    return text


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and repr(value) == repr(default))


def panel_in_words(panel: pd.DataFrame) -> str:
    """Say the size and the columns of a panel, without the names of its series."""
    layout = layout_of(panel)
    facts = [f"{name}: {panel.attrs[name]}" for name in _FACTS if panel.attrs.get(name)]
    text = (
        f"{layout.n_series:,} series, {layout.n_rows:,} rows from {label(layout.time.min())} to "
        f"{label(layout.time.max())}, columns {first(map(repr, panel.columns), shown=20)}"
    )
    return "; ".join([text, *facts])


def settings_of(
    models: Mapping[str, Any], panel: pd.DataFrame, splitter: Any, **others: object
) -> dict[str, str]:
    """Give what a run was started with, by name."""
    said = {f"model {name}": in_words(model) for name, model in models.items()}
    said |= {"panel": panel_in_words(panel), "splitter": in_words(splitter)}
    return said | {name: in_words(value) for name, value in others.items()}


def splits_table(splits: Sequence[Split], every: int) -> pd.DataFrame:
    """Give a row for each split: what was fitted on, and what was forecast from."""
    fits = [splits[number - number % every] for number in range(len(splits))]
    return pd.DataFrame(
        {
            "fit_from": [fit.fit_from for fit in fits],
            "fit_until": [fit.fit_until for fit in fits],
            "first_cutoff": [split.cutoffs[0] for split in splits],
            "last_cutoff": [split.cutoffs[-1] for split in splits],
            "cutoffs": [len(split.cutoffs) for split in splits],
        },
        index=pd.RangeIndex(1, len(splits) + 1, name="split"),
    )
