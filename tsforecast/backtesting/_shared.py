"""What the tables of tests have in common: checks of their rows, and the words for numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tsforecast._checks import bad_parameter, callers_level, fail, first

__all__ = [
    "ROW",
    "chance",
    "check_alpha",
    "percent",
    "refuse_repeated",
    "rows_of_step",
    "warn_of_lacking",
]

ROW = ["cutoff", "time", "series", "step", "target"]  # what models are compared on


def check_alpha(alpha: float) -> None:
    """Raise unless the level of a test lies in (0, 1)."""
    if not 0 < alpha < 1:
        raise bad_parameter("alpha", expected="a number between 0 and 1", found=alpha)


def chance(p: float) -> str:
    """Say a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def percent(fraction: float, decimals: int = 1) -> str:
    """Say a share: so many decimals below 10 %, one less above."""
    value, least = 100 * fraction, 10**-decimals
    if 0 < value < least:
        return f"less than {least:g} %"
    places = 0 if value == 0 else decimals - (value >= 10)
    return f"{value:.{places}f} %"


def rows_of_step(frame: pd.DataFrame, step: int) -> pd.DataFrame:
    """Return the rows of a step, or raise where there are none."""
    if len(frame) == 0:
        raise fail(
            "no forecasts",
            expected="a backtest frame with rows",
            found="none",
            advice="Look at what selected them.",
        )
    rows = frame[frame["step"] == step]
    if len(rows) == 0:
        raise fail(
            "no forecasts of this step",
            expected=f"one of the steps {first(sorted(frame['step'].unique()))}",
            found=f"{step}",
            advice="Choose a step within the horizon.",
        )
    return rows


def refuse_repeated(rows: pd.DataFrame) -> None:
    """Raise if a model has several forecasts of one row."""
    repeated = rows.duplicated(["model", *ROW])
    if repeated.any():
        raise fail(
            "rows are repeated",
            expected="one row per model, series, cutoff, step and target",
            found=f"{int(repeated.sum())} repeated rows",
            advice="Keep one forecast of each.",
            rows=list(rows.index[repeated]),
        )


def warn_of_lacking(known: pd.DataFrame, compared: Sequence[Any]) -> dict[Any, int]:
    """Count the cutoffs at which a model lacks a row that another has, and warn of them.

    `known` holds the model and the keys of the rows that can be used, of the models compared.
    """
    counts = known["model"].value_counts()
    code = known.groupby(ROW, observed=True).ngroup()
    union = int(code.max()) + 1 if len(code) else 0
    found, told = {}, []
    lacking = [model for model in compared if counts.get(model, 0) < union]
    if not lacking:
        return {}
    one_of_each = known.assign(code=code).drop_duplicates("code").set_index("code")["cutoff"]
    for model in lacking:
        absent = one_of_each.drop(code[known["model"] == model].unique())
        cutoffs = absent.drop_duplicates().sort_values()
        found[model] = len(cutoffs)
        told.append(
            f"{str(model)!r} lacks {len(absent):,} of {len(one_of_each):,} rows, at "
            f"{len(cutoffs):,} of {one_of_each.nunique():,} cutoffs (the first: "
            f"{first(cutoffs, shown=3)})"
        )
    warnings.warn(
        f"Models are compared on the rows that all of them have: {'; '.join(told)}. Nothing "
        "is filled in.",
        stacklevel=callers_level(),
    )
    return found
