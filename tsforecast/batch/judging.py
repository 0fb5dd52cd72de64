"""How a job judges its models: by a backtest, and a challenger in a contest with the champion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.backtesting.patients import backtest_events
from tsforecast.backtesting.rolling import backtest
from tsforecast.backtesting.skill import skill
from tsforecast.batch.config import BacktestConfig
from tsforecast.data.splits import RollingOrigin, SeriesSplit

__all__ = ["Contest", "Judgement", "contest", "judge", "records"]

_OURS, _THEIRS, _NAIVE = "challenger", "champion", "naive"


@dataclass(frozen=True, eq=False)
class Judgement:
    """Tables of a backtest: metrics by model; skill, or differences to the first baseline."""

    metrics: pd.DataFrame
    skill: pd.DataFrame | None
    verdicts: tuple[str, ...]
    about: dict[str, Any]


@dataclass(frozen=True)
class Contest:
    """Whether a challenger is better than the champion, and the numbers that say so."""

    better: bool
    why: str
    about: dict[str, Any]


def judge(
    models: Mapping[str, Any], panel: pd.DataFrame, config: BacktestConfig, *, events: bool
) -> Judgement:
    """Run the backtest of a job.

    Parameters
    ----------
    models : dict of str to estimator
        Unfitted; the one that is judged first, its baselines behind it.
    panel : DataFrame
    config : BacktestConfig
    events : bool
        Whether they are event classifiers: these are judged on patients that they have not seen.
    """
    if events:
        found = backtest_events(models, panel, _folds(models, panel, config))
        others = list(models)[1:]
        table = found.compare(others[0]) if others else None
        metrics = found.metrics()
        header = metrics.attrs.get("header", [])
        folds = {"folds": config.n_splits, "rows": len(found.frame)}
        return Judgement(metrics, table, tuple(map(str, header)), folds)
    result = backtest(dict(models), panel, _origins(config), refit=config.refit)
    about = {
        "horizon": result.horizon,
        "cutoffs": int(result.frame["cutoff"].nunique()),
        "first_cutoff": str(result.frame["cutoff"].min()),
        "last_cutoff": str(result.frame["cutoff"].max()),
        "rows": len(result.frame),
    }
    _, *others = models
    # the model is judged, even where it would be a baseline beside others
    table = skill(result.frame, result.horizon, baselines=(*others, _NAIVE))
    verdicts = [str(verdict) for verdict in table["verdict"]]
    return Judgement(result.metrics(), table, (*verdicts, *result.notes), about)


def contest(
    challenger: Any,
    champion: Any,
    panel: pd.DataFrame,
    config: BacktestConfig,
    *,
    events: bool,
    alpha: float,
) -> Contest:
    """Test a challenger against the champion, both fitted anew on the same past.

    A forecaster has to beat the better of champion and naive in the skill test at level `alpha`;
    of an event classifier the interval of the difference in the area under the ROC curve has to
    lie above 0 (95 %, over patients).
    """
    models = {_OURS: challenger, _THEIRS: champion}
    if events:
        found = backtest_events(models, panel, _folds(models, panel, config))
        scores = found.compare(_THEIRS)
        gain, low = float(scores["auroc"].loc[_OURS]), float(scores["auroc_low"].loc[_OURS])
        why = f"AUROC {gain:+.4f} against the champion, the interval from {low:+.4f}"
        return Contest(low > 0.0, why, {"auroc": gain, "auroc_low": low})
    result = backtest(models, panel, _origins(config), refit=config.refit)
    table = skill(
        result.frame, result.horizon, baselines=(_THEIRS, _NAIVE), loss="auto", alpha=alpha
    )
    if table.index.nlevels > 1:  # of several targets, every one counts: the worst decides
        table = table.sort_values("p_holm", ascending=False, na_position="first")
    row = table.iloc[0]
    better = bool(row["p_holm"] < alpha)
    numbers = {
        name: None if pd.isna(row[name]) else float(row[name])
        for name in ("loss", "baseline_loss", "ratio", "dm", "p", "p_holm", "n_origins")
    }
    return Contest(better, str(row["verdict"]), {"baseline": str(row["baseline"]), **numbers})


def records(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Give a table as JSON can hold it, to the last digit; what is not finite is None."""
    if table is None:
        return []
    flat = pd.DataFrame(table).reset_index()
    finite = flat.notna() & ~flat.isin([np.inf, -np.inf])
    rows = flat.astype(object).where(finite, None).to_dict("records")
    found: list[dict[str, Any]] = json.loads(json.dumps(rows, default=str))
    return found


def _origins(config: BacktestConfig) -> RollingOrigin:
    return RollingOrigin(config.n_splits, config.origins_per_split, step=config.step)


def _folds(models: Mapping[str, Any], panel: pd.DataFrame, config: BacktestConfig) -> SeriesSplit:
    event = next(iter(models.values())).event
    return SeriesSplit(
        max(config.n_splits, 2),
        group=next((model.group for model in models.values() if _has_group(model)), None),
        stratify=event if isinstance(event, str) and event in panel else None,
        random_state=0,
    )


def _has_group(model: Any) -> bool:
    return getattr(model, "group", None) is not None
