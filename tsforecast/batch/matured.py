"""What has become of earlier forecasts and risks, now that their time has come.

Forecasts are read back as they were written.  What happened is read off the rows of this run, which
end at its cut; so is what was known when a forecast was made, up to its cutoff (a value that was
corrected since is the corrected one).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast.backtesting.events import auroc_of
from tsforecast.backtesting.skill import diebold_mariano, least_origins
from tsforecast.batch.parts import FALLBACK_NAIVE, series_names
from tsforecast.data.labels import EventTask
from tsforecast.data.panel import Floats, Ints, Layout, layout_of
from tsforecast.data.spans import is_whole, nanoseconds

__all__ = [
    "errors_of",
    "interval_of",
    "matured_forecasts",
    "matured_risks",
    "on_clock_of",
    "overlap_of",
    "risk_errors_of",
    "sampled",
    "worse",
]

Keys = tuple[Ints, Ints]
_TIMES = ("time", "cutoff")


def sampled(panel: pd.DataFrame, most: int) -> tuple[pd.DataFrame, list[str] | None]:
    """Rows of so many series at most, always the same ones, and their names; None if it is all.

    Those whose names have the smallest check sums: a draw that does not depend on time or order.
    """
    layout = layout_of(panel)
    if layout.n_series <= most:
        return panel, None
    names = [str(name) for name in series_names(panel)]
    sums = [hashlib.sha256(name.encode()).digest() for name in names]
    chosen = np.zeros(len(names), dtype=bool)
    chosen[sorted(range(len(names)), key=sums.__getitem__)[:most]] = True
    rows = panel.iloc[np.flatnonzero(np.repeat(chosen, np.diff(layout.offsets)))]
    if isinstance(rows.index, pd.MultiIndex):
        rows = rows.set_axis(rows.index.remove_unused_levels())
    return rows, [name for name, some in zip(names, chosen) if some]


def on_clock_of(panel: pd.DataFrame, frames: Iterable[pd.DataFrame]) -> list[pd.DataFrame]:
    """Bring rows of earlier runs to the clock of the panel, such that they can be laid together.

    Parameters
    ----------
    panel : DataFrame
        What is known now.
    frames : iterable of DataFrame
        Each as of `Sink.forecasts` or `Sink.risks`, of one run.

    Returns
    -------
    list of DataFrame
        Without those whose times have a zone where those of the panel have none, or the reverse.
    """
    zone = getattr(layout_of(panel).labels, "tz", None)
    alike = [rows for rows in frames if (rows["time"].dt.tz is None) == (zone is None)]
    if zone is None:
        return alike
    return [
        rows.assign(**{name: rows[name].dt.tz_convert(zone) for name in _TIMES if name in rows})
        for rows in alike
    ]


# --------------------------------------------------------------------------------------- forecasts


def matured_forecasts(panel: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    """Set beside earlier forecasts what happened, and the naive forecast of the same cutoff.

    Parameters
    ----------
    panel : DataFrame
        What is known now.
    forecasts : DataFrame
        As of `Sink.forecasts`.

    Returns
    -------
    DataFrame
        Those of the model whose time has come and whose value is known: the columns given, and
        ``actual`` and ``naive``, the last known value at or before the cutoff.
    """
    layout = layout_of(panel)
    mine = forecasts.loc[(forecasts["source"] != FALLBACK_NAIVE).to_numpy()]
    times, cutoffs = (_like(mine[name], layout) for name in ("time", "cutoff"))
    if times is None or cutoffs is None or not layout.n_rows:
        return mine.iloc[:0].assign(actual=0.0, naive=0.0)
    series = pd.Index(series_names(panel).astype(str)).get_indexer(mine["series"])
    actual, naive = (np.full(len(mine), np.nan) for _ in range(2))
    for target, rows in mine.reset_index(drop=True).groupby("target").indices.items():
        if target in panel:
            values = panel[target].to_numpy(dtype=np.float64)
            known = np.flatnonzero(~np.isnan(values))
            keys = _keys(layout, known)
            actual[rows] = _at(values[known], keys, (series[rows], times[rows]), exactly=True)
            naive[rows] = _at(values[known], keys, (series[rows], cutoffs[rows]), exactly=False)
    found = mine.assign(actual=actual, naive=naive)
    both: pd.DataFrame = found.loc[~np.isnan(actual) & ~np.isnan(naive)]
    return both


def errors_of(rows: pd.DataFrame) -> dict[str, Any]:
    """Compare forecasts of one target with the naive ones.

    Parameters
    ----------
    rows : DataFrame
        Of one target, as by `matured_forecasts`.

    Returns
    -------
    dict
        ``n``, ``series``, ``run_dates``, ``ratio`` of the mean absolute errors, and ``by_step``:
        ``n`` and ``ratio`` of each. A ratio is None where the naive forecast has no error. Series
        with large values weigh more, as their errors do.
    """
    error = (rows["forecast"] - rows["actual"]).abs()
    naive = (rows["naive"] - rows["actual"]).abs()
    sums = pd.DataFrame({"n": 1, "model": error, "naive": naive}).groupby(rows["step"]).sum()
    return {
        "n": len(rows),
        "series": int(rows["series"].nunique()),
        "run_dates": int(rows["run_date"].nunique()),
        "ratio": _ratio(error.sum(), naive.sum()),
        "by_step": {
            str(step): {"n": int(each["n"]), "ratio": _ratio(each["model"], each["naive"])}
            for step, each in sums.iterrows()
        },
    }


def interval_of(rows: pd.DataFrame) -> tuple[str, str, float] | None:
    """Give the widest symmetric pair of quantiles of the newest run date, and its level."""
    newest = rows[rows["run_date"] == rows["run_date"].max()] if len(rows) else rows
    names = [str(name) for name in rows if str(name).startswith("q")]
    levels = {float(name[1:]): name for name in names if newest[name].notna().any()}
    pairs = [
        (low, high) for low in levels for high in levels if low < high and _same(low + high, 1)
    ]
    if not pairs:
        return None
    low, high = min(pairs)
    return levels[low], levels[high], round(high - low, 10)


def worse(
    rows: pd.DataFrame, loss: npt.ArrayLike, limit: npt.ArrayLike, *, overlap: int
) -> float | None:
    """Chance of a loss so far above a limit if it is none: p of a Diebold-Mariano test.

    Parameters
    ----------
    rows : DataFrame
        Their ``run_date`` is the origin.
    loss, limit : array-like, shape (n,)
        Of each row. Sums over the rows of a run date are compared, so that forecasts of one date,
        which hit or miss together, count as one.
    overlap : int
        How many run dates in a row have forecasts of the same time; see `overlap_of`.

    Returns
    -------
    float or None
        None where there are too few run dates to say.
    """
    table = pd.DataFrame({"loss": loss, "limit": limit}, dtype=np.float64)
    sums = table.groupby(rows["run_date"].to_numpy()).sum()
    if len(sums) < least_origins(overlap):
        return None
    found = diebold_mariano(sums["loss"], sums["limit"], horizon=overlap)
    # of equal losses p_less is 1
    return 1.0 if found.identical else _known(1.0 - found.p_less)


def overlap_of(panel: pd.DataFrame, rows: pd.DataFrame, horizon: Any) -> int:
    """How many run dates in a row have forecasts of the same time.

    Parameters
    ----------
    panel : DataFrame
    rows : DataFrame
        With ``run_date`` and a column ``origin``, the time of the newest row of a series.
    horizon : int or time span
        A number of rows, or a span of time.
    """
    layout = layout_of(panel)
    newest = rows.groupby("run_date")["origin"].max()
    if len(newest) < 2:
        return 1
    if is_whole(horizon):
        origins = _like(newest, layout)
        if origins is None:
            return int(horizon)
        between = np.diff(np.searchsorted(_stamps(layout), origins))
        return max(1, math.ceil(int(horizon) / max(1.0, float(np.median(between)))))
    days = pd.Series(pd.to_datetime(newest.index)).diff().median()
    return max(1, math.ceil(pd.Timedelta(horizon) / days))


# ------------------------------------------------------------------------------------------- risks


def matured_risks(
    panel: pd.DataFrame,
    risks: pd.DataFrame,
    task: EventTask,
    end_of: Callable[[Any], pd.Timestamp],
) -> pd.DataFrame:
    """Set beside earlier risks whether the event came, and the base rate that was known then.

    A risk has matured once its whole horizon lies before the newest row of all; else events, which
    end it early, would be counted before their absence can be. The risk of an outcome, which has no
    horizon, has matured once the outcome is known.

    Parameters
    ----------
    panel : DataFrame
        What is known now, with the columns of the event.
    risks : DataFrame
        As of `Sink.risks`.
    task : EventTask
    end_of : callable
        Gives the end of a run date, in the zone of the panel's time.

    Returns
    -------
    DataFrame
        The columns given, ``event`` (0 or 1) and ``base``: the share of rows with the event, of
        those matured by then (of an outcome: of the stays that had ended by then); NaN where there
        was none. Of a row that was newest at several run dates the first risk counts.
    """
    layout = layout_of(panel)
    first = risks.drop_duplicates(["series", "time"])
    times = _like(first["time"], layout)
    if times is None or not layout.n_rows or not len(first):
        return first.iloc[:0].assign(event=0.0, base=0.0)
    series = pd.Index(series_names(panel).astype(str)).get_indexer(first["series"])
    every = np.arange(layout.n_rows)
    happened = _outcomes(panel, task)
    event = _at(happened, _keys(layout, every), (series, times), exactly=True)
    dates = first["run_date"].to_numpy()
    base = np.full(len(first), np.nan)
    for date in sorted(set(dates[~np.isnan(event)])):
        rows = panel[layout.per_row(np.asarray(layout.labels < end_of(date)))]
        if not len(rows):
            continue
        if task.label == "outcome":  # known of stays that had ended
            over = np.asarray(layout.time.take(layout.stops - 1) < end_of(date))
            known = happened[layout.stops - 1][over]
        else:
            known = _outcomes(rows, task)
        known = known[~np.isnan(known)]
        base[dates == date] = known.mean() if len(known) else np.nan
    return first.assign(event=event, base=base)[~np.isnan(event)]


def risk_errors_of(rows: pd.DataFrame) -> dict[str, Any]:
    """Judge risks by what came of them.

    Parameters
    ----------
    rows : DataFrame
        As by `matured_risks`.

    Returns
    -------
    dict
        ``n``, ``series``, ``run_dates``, ``event_rate``, ``mean_risk``, ``base_rate`` (mean of
        those known then), ``brier``, and of the rows with a base rate ``ratio``, the Brier score
        over that of the base rate; ``auroc`` where some rows have the event and others not.
    """
    risk, event = rows["risk"].to_numpy(np.float64), rows["event"].to_numpy(np.float64)
    base = rows["base"].to_numpy(np.float64)
    with_base = ~np.isnan(base)
    squares = np.square(risk - event)
    plain = np.square(base - event)[with_base].sum()
    both = len(rows) and 0 < event.sum() < len(event)
    return {
        "n": len(rows),
        "series": int(rows["series"].nunique()),
        "run_dates": int(rows["run_date"].nunique()),
        "event_rate": float(event.mean()) if len(rows) else None,
        "mean_risk": float(risk.mean()) if len(rows) else None,
        "base_rate": float(base[with_base].mean()) if with_base.any() else None,
        "brier": float(squares.mean()) if len(rows) else None,
        "ratio": _ratio(squares[with_base].sum(), plain),
        "auroc": auroc_of(risk, event) if both else None,
    }


def _outcomes(panel: pd.DataFrame, task: EventTask) -> Floats:
    """Whether the event came, of every row whose time has come; else NaN, (N,)."""
    labels, layout = task.labels(panel), layout_of(panel)
    event = np.where(labels.eligible, labels.event, np.nan)
    if task.label == "outcome":
        return event
    if is_whole(task.horizon):
        stamps = layout.stamps()
        behind = len(stamps) - 1 - np.searchsorted(stamps, layout.when())
        come = behind >= int(task.horizon)
    else:
        until = layout.last_time() - pd.Timedelta(nanoseconds("horizon", task.horizon), unit="ns")
        come = layout.per_row(np.asarray(layout.labels <= until))
    return np.where(come, event, np.nan)


# ------------------------------------------------------------------------------- looking things up


def _stamps(layout: Layout) -> Ints:
    """Times of the labels in microseconds, as sinks keep them."""
    labels: Any = layout.labels
    stamps: Ints = labels.as_unit("us").asi8
    return stamps


def _like(times: pd.Series, layout: Layout) -> Ints | None:
    """Times of a sink in microseconds; None if only one of both has a zone."""
    if not isinstance(layout.labels, pd.DatetimeIndex):
        return None
    given = pd.DatetimeIndex(times)
    if (given.tz is None) != (layout.labels.tz is None):
        return None
    stamps: Ints = given.as_unit("us").asi8
    return stamps


def _keys(layout: Layout, rows: Ints) -> Keys:
    """Number of the series and time of some rows."""
    stamps = _stamps(layout)
    return layout.codes()[rows], stamps[rows] if layout.at is None else stamps[layout.at[rows]]


def _at(values: Floats, known: Keys, wanted: Keys, *, exactly: bool) -> Floats:
    """Values at some times of some series, or the last ones before them; NaN where there is none.

    `known` is in order; a series of -1 is none.
    """
    stamps = np.unique(np.concatenate([known[1], wanted[1]]))
    wide = len(stamps) + 1
    have, ask = (series * wide + np.searchsorted(stamps, time) for series, time in (known, wanted))
    place = np.searchsorted(have, ask, side="right") - 1
    there = (place >= 0) & (wanted[0] >= 0)
    place = np.maximum(place, 0)
    if len(have):
        there &= (have[place] == ask) if exactly else (known[0][place] == wanted[0])
    found = np.full(len(ask), np.nan)
    found[there] = values[place[there]]
    return found


def _ratio(a: float, b: float) -> float | None:
    return float(a / b) if b > 0 else None


def _known(p: float) -> float | None:
    return None if math.isnan(p) else p


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, abs_tol=1e-9)
