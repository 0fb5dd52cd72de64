"""Small layouts, rows, windows, panels and models that several test files share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from tsforecast.data.panel import Layout
from tsforecast.data.windows import Origins, Rows, Windows
from tsforecast.estimators.forecaster import RecurrentForecaster
from tsforecast.nn.heads import DECILES
from tsforecast.nn.training import Training

NAN = np.nan
H, L = 3, 5
NUMBERS = ["forecast", *(f"q{level:g}" for level in DECILES)]


def layout_with(lengths: list[int]) -> Layout:
    time = np.concatenate([np.arange(n) for n in lengths])
    return Layout(
        pd.Index(range(len(lengths))),
        pd.Index(time),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def make_rows(
    layout: Layout, target: npt.ArrayLike, *, inputs: Any = None, first: Any = None, **given: Any
) -> Rows:
    """Rows with a target (N,) or (N, K), and for all else the simplest there is."""
    target = np.asarray(target, dtype=np.float64)
    target = target[:, None] if target.ndim == 1 else target
    if first is None:
        first = np.repeat(layout.starts, np.diff(layout.offsets))
    parts: dict[str, Any] = {
        "inputs": torch.zeros(layout.n_rows, 1),
        "level": target,
        "base": np.zeros((*target.shape, 1)),
        "unit": np.ones_like(target),
        "static": torch.zeros(layout.n_series, 0),
        "codes": torch.zeros(layout.n_series, 0, dtype=torch.int64),
    }
    parts["inputs"] = parts["inputs"] if inputs is None else inputs
    return Rows(layout=layout, target=target, first=np.asarray(first), **(parts | given))


def make_windows(
    x: Tensor,
    *,
    origins: int = 1,
    n_targets: int = 1,
    horizon: int = 3,
    season: int = 0,
    ahead: Tensor | None = None,
) -> Windows:
    """Windows of features x (B, T, F), without constants, the baseline at 0; last rows count."""
    b, t = x.shape[:2]
    return Windows(
        x=x,
        static=torch.zeros(b, 0),
        codes=torch.zeros(b, 0, dtype=torch.int64),
        at=torch.full((b,), t - origins),
        origins=Origins(
            ahead=torch.zeros(b, 0, 0) if ahead is None else ahead,
            shape=torch.zeros(b, origins, n_targets, season),
            base=torch.zeros(b, origins, n_targets, horizon),
            unit=torch.ones(b, origins, n_targets),
        ),
    )


def make_panel(
    n_series: int = 3, n: int = 40, *, seed: int = 0, missing: float = 0.0
) -> pd.DataFrame:
    """Positive walks of y, and a second column x; series s0, s1, ... of n rows each."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n, name="day")
    parts = {}
    for i in range(n_series):
        y = 20 * (i + 1) * np.exp(rng.normal(size=n).cumsum() * 0.05)
        part = pd.DataFrame({"x": rng.normal(size=n) + 5, "y": y}, index=days)
        parts[f"s{i}"] = part.mask(rng.random(part.shape) < missing)
    return pd.concat(parts, names=["ticker"])


def one_series(n: int = 40, *, seed: int = 0) -> pd.DataFrame:
    return make_panel(1, n, seed=seed).droplevel(0)


def make_model(**changed: Any) -> RecurrentForecaster:
    """A tiny model; `max_epochs` and other names of `Training` go there."""
    names = Training().get_params()
    training = {"max_epochs": 2, "batch_size": 8, "learning_rate": 0.05, "validation": None}
    training |= {name: changed.pop(name) for name in list(changed) if name in names}
    options = {
        "target": "y",
        "horizon": H,
        "lookback": L,
        "past": ["x"],
        "hidden_sizes": (4,),
        "training": Training(**training),
        "random_state": 0,
    }
    return RecurrentForecaster(**options | changed)


def untrained(**changed: Any) -> RecurrentForecaster:
    """Weights move by 1e-30 or so: the forecast is that of epoch 0."""
    return make_model(max_epochs=1, learning_rate=1e-30, **changed)


def numbers(frame: pd.DataFrame) -> np.ndarray:
    return frame[NUMBERS].to_numpy()


def assert_equal(one: pd.DataFrame, two: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def assert_close(one: pd.DataFrame, two: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, two, rtol=1e-6, atol=1e-6)
