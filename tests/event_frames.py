"""Event frames made at random, for the tests of what is made of them."""

from __future__ import annotations

import numpy as np
import pandas as pd


def random_frame(
    n_stays=60,
    *,
    models=("a", "b"),
    seed=0,
    irregular=False,
    horizon=6.0,
    digits=None,
    stays_per_patient=1,
    share=0.4,
    kind="hours",
):
    """An event frame whose risks are higher before events, which some stays have.

    `digits` rounds risks, so that there are ties.
    """
    rng = np.random.default_rng(seed)
    stays = []
    for stay in range(n_stays):
        n_rows = int(rng.integers(5, 40))
        gaps = rng.exponential(1.0, n_rows) + 0.02 if irregular else np.ones(n_rows)
        minutes = np.round(np.cumsum(gaps) * 60).astype(int)
        minutes -= minutes[0]
        onset = minutes[rng.integers(1, n_rows)] if rng.random() < share else np.inf
        away = (onset - minutes) / 60
        at_risk = away > 0
        event = np.where(at_risk, away <= horizon, np.nan)
        left = (minutes[-1] - minutes) / 60
        time = {
            "hours": pd.to_timedelta(minutes, unit="min"),
            "steps": np.arange(n_rows) + 1,
            "dates": pd.Timestamp("2020-01-01") + pd.to_timedelta(minutes + 700 * stay, unit="min"),
        }[kind]
        stays.append(
            pd.DataFrame(
                {
                    "series": f"s{stay}",
                    "time": time,
                    "event": event,
                    "eligible": at_risk & ((away <= horizon) | (left >= horizon)),
                    "at_risk": at_risk,
                    "hours_to_event": np.where(np.isfinite(away) & at_risk, away, np.nan),
                    "group": f"p{stay // stays_per_patient}",
                }
            )
        )
    rows = pd.concat(stays, ignore_index=True)
    frames = []
    for name in models:
        score = rng.normal(size=len(rows)) + 1.2 * rows["event"].fillna(0) - 2
        risk = 1 / (1 + np.exp(-score))
        risk = risk if digits is None else risk.round(digits)
        frames.append(rows.assign(model=name, risk=risk))
    frame = pd.concat(frames, ignore_index=True)
    if stays_per_patient == 1:
        frame = frame.drop(columns="group")
    first = ["model", "series", "time", "risk"]
    return frame[[*first, *(name for name in frame if name not in first)]]


def flat_frame(risk, event, **columns):
    """A frame of one row for each of several stays."""
    return pd.DataFrame(
        {
            "model": "m",
            "series": [f"s{row}" for row in range(len(risk))],
            "time": 0,
            "risk": np.asarray(risk, dtype=float),
            "event": np.asarray(event, dtype=float),
            "eligible": True,
            "at_risk": True,
            "hours_to_event": np.where(np.asarray(event) == 1, 1.0, np.nan),
            **columns,
        }
    )
