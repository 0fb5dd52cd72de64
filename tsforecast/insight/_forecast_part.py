"""What a report says of a backtest of forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import first
from tsforecast._html import label, shown
from tsforecast.backtesting.monitors import coverage_monitor
from tsforecast.backtesting.risk import risk_table
from tsforecast.backtesting.rolling import Backtest
from tsforecast.backtesting.skill import Loss
from tsforecast.insight._blocks import (
    Block,
    Facts,
    Part,
    Section,
    Sentences,
    Table,
    attempt,
    noting,
    picture,
)
from tsforecast.insight.plots import (
    plot_backtest,
    plot_error_by_step,
    plot_forecast,
    plot_skill_matrix,
    skill_matrix,
)
from tsforecast.insight.quantile_plots import (
    plot_calibration,
    plot_coverage,
    quantile_calibration,
)
from tsforecast.metrics import quantile_column, quantile_levels, sample_rows

__all__ = ["forecast_part"]

NAIVE = "naive"
_MOST_SERIES = 2000  # in the table of series
_MOST_SPLITS = 20
_MOST_TARGETS = 4  # that are drawn
_MOST_TESTED = 20  # series of which the tails are tested one by one
_NEWEST = 40  # rows of the example of forecasts
_TAIL = (0.01, 0.025, 0.05)
_METRICS = {
    "mae": "mean absolute error, in the unit of the target",
    "rmse": "root mean squared error, in the unit of the target",
    "mase": "error over that of the naive forecast one row ahead in training, mean over series",
    "rmsse": "the same of squared errors",
    "smape": "symmetric percentage error as a fraction, of no use near zero",
    "wql": "weighted quantile loss, about the fractional error of the whole distribution",
    "crps": "quantile loss in the unit of the target",
    "coverage": "share of outcomes inside of the widest interval",
    "width": "its mean width",
    "qlike": "for variances alone",
}


def forecast_part(result: Backtest, *, names: bool) -> Part:
    """Say what was forecast, how well, and against whom; without names, series are numbers."""
    result = result if names else _numbered(result)
    frame = sample_rows(result.frame)
    targets = [str(name) for name in frame["target"].unique()]
    title = f"Forecasts of {first(targets)}"
    ahead = f"{result.horizon} row{'s' * (result.horizon > 1)} ahead"
    subject = (
        f"{title}, {ahead}, by {frame['model'].nunique()} models from "
        f"{frame['cutoff'].nunique():,} cutoffs."
    )
    about = Section("What was forecast", tuple(_about(result, frame)))
    if not frame["actual"].notna().any():
        verdict = (
            "No outcome is known, so that nothing can be judged. What positions earn is told by a "
            "strategy."
        )
        return Part(title, subject, (verdict, *result.notes), (about,), result.settings)
    result, failed = _without_failed(result, frame)
    frame = sample_rows(result.frame)
    notes: list[str] = []
    with noting(notes):
        try:
            tests = result.skill()
            judged = [str(verdict) for verdict in tests["verdict"]]
            verdicts = [*judged, *result.notes] if judged else result.verdicts()
        except ValueError as error:  # data errors among them
            tests, verdicts = pd.DataFrame(), [f"Not judged: {error}", *result.notes]
        sections = [
            Section("Scores", tuple(attempt(lambda: _scores(result, frame, tests)))),
            *_pictures(result, frame, tests.attrs.get("loss", "auto"), names=names),
            *_tail(result, frame, names=names),
        ]
        if names and frame["series"].nunique() > 1:
            sections.append(Section("Series", tuple(attempt(lambda: _series(result, frame)))))
    verdicts += [*failed, *(note for note in notes if note not in verdicts)]
    return Part(title, subject, tuple(verdicts), (about, *sections), result.settings)


def _without_failed(result: Backtest, frame: pd.DataFrame) -> tuple[Backtest, list[str]]:
    """Leave out models without a forecast to be judged, with which none can be; and say so."""
    known = (frame["forecast"].notna() & frame["actual"].notna()).groupby(frame["model"]).any()
    failed = [name for name in frame["model"].unique() if not known[name]]
    if not failed or not known.any():
        return result, []
    words = [f"{name}: no forecast of a known outcome, and so left out below." for name in failed]
    kept = tuple(name for name in result.baselines if name not in failed)
    rows = result.frame[~result.frame["model"].isin(failed)]
    return replace(result, frame=rows, baselines=kept), words


def _numbered(result: Backtest) -> Backtest:
    """Count series from 1, so that nothing can name them, no error either."""
    codes, series = pd.factorize(result.frame["series"])
    frame, scales = result.frame.assign(series=codes + 1), result.scales
    if "series" in scales:
        at = series.get_indexer(pd.Index(scales["series"]))
        scales = scales.assign(series=at + 1)[at >= 0]
    return replace(result, frame=frame, scales=scales)


def _about(result: Backtest, frame: pd.DataFrame) -> list[Block]:
    models = [
        f"{name} (baseline)" if name in result.baselines else str(name)
        for name in frame["model"].unique()
    ]
    lacking = frame.loc[frame["forecast"].isna(), "model"].value_counts(sort=False)
    unknown = int(frame["actual"].isna().sum())
    facts = {
        "Target": first(frame["target"].unique(), shown=20),
        "Horizon": f"{result.horizon} row{'s' * (result.horizon > 1)} ahead",
        "Models": first(models, shown=40),
        "Series": f"{frame['series'].nunique():,}",
        "Cutoffs": f"{frame['cutoff'].nunique():,}, {_span(frame['cutoff'])}",
        "Outcomes": _span(frame["time"]),
        "Rows": f"{len(frame):,}" + (f", {unknown:,} without an outcome" if unknown else ""),
    }
    if len(lacking):
        words = [f"{model}: {count:,}" for model, count in lacking.items()]
        facts["Without a forecast"] = first(words, shown=20)
    if "panel" in result.settings:
        facts["Data"] = result.settings["panel"]
    blocks: list[Block] = [Facts(facts)]
    if result.splits is not None:
        note = "Each split was forecast by models fitted on rows up to fit_until alone."
        rest = len(result.splits) - _MOST_SPLITS
        if rest > 0:
            note += f" {rest:,} more splits are left out: result.splits has them."
        splits = result.splits.head(_MOST_SPLITS).copy()
        for name in splits.columns.drop("cutoffs", errors="ignore"):
            if pd.api.types.is_integer_dtype(splits[name]):
                splits[name] = splits[name].map(label)
        blocks.append(Table(splits, "Splits", note))
    return blocks


def _span(times: pd.Series) -> str:
    return f"{label(times.min())} to {label(times.max())}"


def _scores(result: Backtest, frame: pd.DataFrame, tests: pd.DataFrame) -> list[Block]:
    table = result.metrics(by="target" if frame["target"].nunique() > 1 else None)
    interval = table.attrs.get("interval")
    models = table.index.get_level_values("model")
    kinds = ["baseline" if name in result.baselines else "model" for name in models]
    scores = table.dropna(axis=1, how="all")
    told = [f"{name}: {words}" for name, words in _METRICS.items() if name in scores]
    note = "; ".join(told) + ". Less is better, but for coverage."
    if "coverage" in scores:
        note += f" Coverage should be {shown(interval)}; read it beside the width."
    scores.insert(0, "kind", kinds)
    blocks: list[Block] = [Table(scores, "Scores of all models on the same rows", note)]
    if len(tests):
        note = (
            "dm: statistic of Diebold and Mariano, negative where the model is better than the "
            "best baseline; p_holm is one-sided and adjusted for the models shown; naive_p is "
            "against the naive forecast. A correction_share near 0 and a shift equal to "
            "shift_naive mean a copy of the last value."
        )
        caption = f"Tests of {tests.attrs['loss']} loss against the best baseline"
        tests = tests.drop(columns=["verdict", "p", "naive_loss"]).dropna(axis=1, how="all")
        blocks.append(Table(tests, caption, note))
    return blocks


def _pictures(result: Backtest, frame: pd.DataFrame, loss: Loss, *, names: bool) -> list[Section]:
    targets = list(frame["target"].unique())
    blocks: list[Block] = []
    for target in targets[:_MOST_TARGETS]:
        of = f" of {target}" if len(targets) > 1 else ""
        blocks += _of_target(result, frame, target, of, loss, names=names)
    if len(targets) > _MOST_TARGETS:
        rest = len(targets) - _MOST_TARGETS
        blocks.append(Sentences((f"{rest} more targets are not drawn.",)))
    return [Section("Pictures", tuple(blocks))]


def _of_target(
    result: Backtest, frame: pd.DataFrame, target: Any, of: str, loss: Loss, *, names: bool
) -> list[Block]:
    models = list(frame["model"].unique())
    others = first([model for model in models if model != NAIVE])
    blocks: list[Block] = [
        picture(
            lambda ax: plot_backtest(result, target=target, ax=ax),
            alt=f"Lines over the cutoffs: loss{of} that {others} saved against the naive forecast",
            caption=f"Who gained on the naive forecast{of}, and when: a line that rises gains, one "
            "that is flat or falls does not.",
        )
    ]
    if result.horizon > 1:
        blocks.append(_by_step(result, target, of, models))
    if len(models) > 2:
        blocks.append(_matrix(frame, target, of, models, loss))
    quantiles = [quantile_column(level) for level in quantile_levels(frame.columns)]
    if quantiles and frame[quantiles].notna().to_numpy().any():
        blocks += _quantiles(frame, target, of, models)
    if names:
        blocks.append(_fan(result, frame, target, of, models))
    return blocks


def _matrix(frame: pd.DataFrame, target: Any, of: str, models: Sequence[Any], loss: Loss) -> Block:
    side = min(2.2 + 0.55 * len(models), 7.0)
    return picture(
        lambda ax: plot_skill_matrix(skill_matrix(frame, loss=loss, target=target), ax=ax),
        alt=f"Matrix of mean losses{of}, each of {first(models)} over each other one",
        caption=f"Loss{of} of the model of each row, over that of each column; a star where it is "
        "less by more than chance.",
        size=(side + 2.4, side),
    )


def _quantiles(frame: pd.DataFrame, target: Any, of: str, models: Sequence[Any]) -> list[Block]:
    """Whether quantiles are what they say, on the whole and over time."""
    one = frame[frame["target"] == target]
    window = int(np.clip(one["time"].nunique() // 3, 10, 250))
    return [
        picture(
            lambda ax: plot_calibration(quantile_calibration(one), ax=ax),
            alt=f"Lines by quantile level: share of outcomes{of} at or below the quantiles of "
            f"{first(models)}",
            caption=f"Share of outcomes{of} at or below each quantile. Right ones lie on the "
            "diagonal.",
            size=(6.0, 4.2),
        ),
        picture(
            lambda ax: plot_coverage(coverage_monitor(one, window=window), ax=ax),
            alt=f"Lines over time: coverage and width of the widest interval{of}",
            caption=f"Coverage and width of the widest interval{of}, step 1, over {window} times: "
            "right on average may be wrong in every calm and every storm.",
            size=(8.0, 5.0),
        ),
    ]


def _by_step(result: Backtest, target: Any, of: str, models: Sequence[Any]) -> Block:
    metric = "mae"
    relative = NAIVE if NAIVE in models and len(models) > 1 else None
    over = ", over that of the naive forecast: below 1 is better" if relative else ""

    def draw(ax: Any) -> Any:
        table = result.metrics(by=["target", "step"], metrics=[metric])
        return plot_error_by_step(table, metric, relative_to=relative, target=target, ax=ax)

    return picture(
        draw,
        alt=f"Lines over the steps ahead: mean absolute error{of} of {first(models)}",
        caption=f"Mean absolute error{of} by step ahead{over}.",
    )


def _fan(result: Backtest, frame: pd.DataFrame, target: Any, of: str, models: list[Any]) -> Block:
    """The newest forecast whose outcome is known, of the first series: nobody chose it."""
    model = next((name for name in models if name not in result.baselines), models[0])
    rows = frame[(frame["model"] == model) & (frame["target"] == target)]
    rows = rows[rows["series"] == rows["series"].iloc[0]]
    known = rows[rows["actual"].notna() & rows["forecast"].notna()]
    if known.empty:
        return Sentences((f"{model} has no forecast{of} with an outcome to be drawn.",))
    alone = frame["series"].nunique() == 1
    whose = "" if alone else f" for {label(known['series'].iloc[0])}"
    which = "the newest forecast" if alone else "the first series, and the newest forecast"
    if result.horizon > 1:
        newest = known[known["step"] == known["step"].max()]["cutoff"].max()
        shown_rows = rows[rows["cutoff"] == newest]
        past = known[known["time"] <= newest].drop_duplicates("time").sort_values("time")
        history = pd.Series(past["actual"].to_numpy(), index=pd.Index(past["time"]))
        words = f"from the last cutoff whose outcome is known, {label(newest)}"
    else:
        shown_rows, history = rows.tail(_NEWEST), pd.Series(dtype=float)
        words = f"one row ahead, the last {len(shown_rows)}"
    return picture(
        lambda ax: plot_forecast(
            shown_rows,
            history if len(history) else None,
            label=str(model),
            last=max(_NEWEST, 6 * result.horizon),
            ax=ax,
        ),
        alt=f"Forecasts{of or f' of {target}'}{whose} by {model} with intervals, beside what "
        "happened",
        caption=f"Forecasts of {model}{whose}{of}, {words}. An example, not evidence: it is "
        f"{which}.",
    )


def _tail(result: Backtest, frame: pd.DataFrame, *, names: bool) -> list[Section]:
    """Value at risk, where there are outer quantiles of something that falls below zero."""
    levels = [level for level in _TAIL if level in quantile_levels(frame.columns)]
    if not levels or not (frame["actual"] < 0).any():
        return []
    if frame["series"].nunique() > _MOST_TESTED:
        words = f"More than {_MOST_TESTED} series: tsf.risk_table(result.frame) tests their tails."
        return [Section("Lower tail", (Sentences((words,)),))]
    try:
        table = risk_table(frame, levels)
    except ValueError as error:
        return [Section("Lower tail", (Sentences((str(error),)),))]
    figures = ["n", "expected", "hits", "hit_rate", "tick", "var", "es"]
    tests = ["kupiec_p", "independence_p", "coverage_p", "dq_p", "z2_p"]
    note = (
        "Of returns: the value at risk at each level, step 1. hits: outcomes below it; tick: its "
        "loss; the p-values ask whether hits are too many or few, come together, or can be "
        "foreseen. Not adjusted for their number."
    )
    note += "" if names else " Series are numbered, not named."
    return [
        Section(
            "Lower tail",
            (
                Sentences(tuple(table["verdict"].astype(str)), listed=True),
                Table(table[figures + tests].dropna(axis=1, how="all"), "Value at risk", note),
            ),
        )
    ]


def _series(result: Backtest, frame: pd.DataFrame) -> list[Block]:
    several = frame["target"].nunique() > 1
    keys = ["series", "target"] if several else ["series"]
    table = result.metrics(by=keys, metrics=["mae", "mase"])
    metric = "mase" if table["mase"].notna().mean() > 0.5 else "mae"
    wide = table[metric].unstack("model")[list(frame["model"].unique())]
    wide.columns = pd.Index([f"{metric} of {model}" for model in wide])
    wide.insert(0, "rows", table["n"].unstack("model").max(axis=1))
    order = frame[keys].drop_duplicates()
    at = pd.MultiIndex.from_frame(order) if several else pd.Index(order["series"], name="series")
    wide = wide.reindex(at)
    rest = len(wide) - _MOST_SERIES
    note = f"{metric}: {_METRICS[metric].split(',')[0]}. Of many series some are ahead by chance."
    if rest > 0:
        note += f" {rest:,} more series are left out: result.metrics(by='series') has them."
    caption = f"{metric.upper()} by series"
    return [Table(wide.head(_MOST_SERIES), caption, note, sortable=True)]
