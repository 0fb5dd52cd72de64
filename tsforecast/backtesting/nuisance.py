"""What the shape of a record gives away of an event, without a single value of it.

Records of some sets stop soon after the event.  Who knows how long a record will be, how many rows
it will have or what will be measured knows of the event: networks that read a record backwards,
scale it as a whole, or pool over its padding.  The AUROC that can be had from these things alone is
the line that a result has to be read beside.

Letters of shapes: N rows, S series (stays), C columns, R sources.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, fail, positive_int
from tsforecast.backtesting.eventframe import At, Bools, EventRows, EventTable, event_rows, select
from tsforecast.backtesting.events import auroc_of
from tsforecast.data.covariates import constants
from tsforecast.data.labels import event_within
from tsforecast.data.panel import Floats, Ints, as_panel, layout_of

__all__ = ["nuisance_report", "nuisance_risks", "nuisance_table"]

_MOST_ROWS = 10_000  # with the event, and of others, to learn from: features are few and simple
_MARGIN = 0.05
_CAUSAL, _WHOLE = "causal", "whole record"

Source = tuple[str, str]  # version, name


def nuisance_report(
    panel: pd.DataFrame,
    event: Hashable,
    horizon: Any = None,
    *,
    label: str = "onset",
    step: Any = None,
    competing: Hashable | None = None,
    clear: Any = None,
    min_history: int = 0,
    group: Hashable | None = None,
    at: At = "every",
    n_splits: int = 5,
    random_state: int = 0,
) -> pd.DataFrame:
    """Tell how well the shape of a record alone foretells the event.

    Parameters
    ----------
    panel : DataFrame
        A panel with the event; of its other columns only what is missing is looked at.
    event, horizon, label, step, competing, clear, min_history
        What is foretold; see `event_within`.
    group : hashable, optional
        Column that names the patient of several stays.
    at : str, number or Timedelta
        Which rows are judged; see `event_metrics`.
    n_splits : int
        Parts of the cross-validation; no patient is on both sides.
    random_state : int
        Seed of the split and of the small boosted trees that map each source to a risk.

    Returns
    -------
    DataFrame
        Index ``(version, source)``; columns ``auroc`` and ``looks_at``. Version ``"causal"`` knows
        what is known at the row: hours and rows so far, the time, and counts of measurements so
        far. ``"whole record"`` knows the record to its end: hours and rows left and in all, the
        time of the last row, all counts. ``attrs["sentence"]`` says the best of both in words, and
        ``attrs["header"]`` what was judged.

    Raises
    ------
    DataError
        If the panel cannot be used, or fewer than two patients have the event.
    ValueError
        If a parameter is wrong.

    Notes
    -----
    The causal version may be had honestly: who has stayed long, or is measured often, is ill. It is
    what a model has to beat to have learned from values. The whole record is known to nobody at the
    row: a model that comes near its AUROC where the causal one is far below must be looked into
    (`check_no_lookahead`), and so must the way in which the records were cut.

    Examples
    --------
    Records that stop at the event, if there is one:

    >>> import numpy as np
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> stays = {}
    >>> for name in range(80):
    ...     rows = 2 + rng.geometric(0.04)
    ...     ill = (np.arange(rows) == rows - 1) & (name % 4 == 0)
    ...     stays[name] = pd.DataFrame({"sepsis": ill.astype(float), "HR": rng.normal(80, 9, rows)})
    >>> panel = pd.concat(stays, names=["stay", "hour"])
    >>> report = nuisance_report(panel, "sepsis", 6)
    >>> bool(report.loc[("whole record", "record length"), "auroc"] > 0.8)
    True
    >>> bool(report.loc["causal", "auroc"].max() < 0.7)
    True
    """
    panel = as_panel(panel)
    labels = event_within(
        panel,
        event,
        horizon,
        label=label,  # type: ignore[arg-type]
        step=step,
        min_history=min_history,
        clear=clear,
        competing=competing,
    )
    layout = layout_of(panel)
    names = np.arange(layout.n_series)
    columns = {
        "model": "nuisance",
        "series": names[layout.codes()],
        "time": layout.time,
        "risk": 0.0,
        **{name: labels[name].to_numpy() for name in labels},
    }
    if group is not None:
        known = constants(panel, layout, [group])[group]
        columns["group"] = pd.factorize(known)[0][layout.codes()]
    frame = pd.DataFrame(columns)
    if group is not None:
        frame["group"] = frame["group"].where(frame["group"] >= 0)
    rows = event_rows(frame)
    out = [name for name in (event, competing, group) if name in panel.columns]
    measured = panel.drop(columns=out).notna().to_numpy()
    risks, words = nuisance_risks(rows, measured, n_splits=n_splits, random_state=random_state)
    return nuisance_table(rows, risks, words, at)


def nuisance_table(
    rows: EventRows, risks: Floats, words: dict[Source, str], at: At = "every"
) -> pd.DataFrame:
    """Judge the risks of all sources at some rows; see `nuisance_report`."""
    judged = replace(rows, models=[name for _, name in words], risk=risks)
    chosen = select(judged, at)
    figures = [auroc_of(risk, chosen.event) for risk in chosen.risk]
    index = pd.MultiIndex.from_tuples(list(words), names=["version", "source"])
    table = EventTable({"auroc": figures, "looks_at": list(words.values())}, index=index)
    sentence = _sentence(table)
    table.attrs = {
        "regime": chosen.words,
        "sentence": sentence,
        "header": [*chosen.header(), sentence],
    }
    return table


def nuisance_risks(
    rows: EventRows, measured: Bools, *, n_splits: int = 5, random_state: int = 0
) -> tuple[Floats, dict[Source, str]]:
    """Risks of eligible rows from each source alone, by models that have not seen the patient.

    Only their order counts: the models learn from many more of the rows with the event.

    Parameters
    ----------
    rows : EventRows
        Labels, times and patients.
    measured : ndarray of bool, shape (N, C)
        Whether each column was measured, in the order of `rows`.
    n_splits : int
        Parts of the cross-validation.
    random_state : int
        Seed.

    Returns
    -------
    risks : ndarray, shape (R, N)
        0 at rows that are not eligible.
    words : dict of (version, source) to str
        What each source looks at.

    Raises
    ------
    DataError
        If fewer than two patients have the event.
    """
    n_splits = positive_int("n_splits", n_splits, least=2)
    rng = np.random.default_rng(positive_int("random_state", random_state, least=0))
    fold = _folds(rows, n_splits, rng)[rows.patient]
    parts = []
    for part in range(int(fold.max()) + 1):
        known = _thinned(rows, np.flatnonzero(rows.eligible & (fold != part)), rng)
        parts.append((known, np.flatnonzero(rows.eligible & (fold == part))))
    risks, words = [], {}
    for source, looks_at, features in _features(rows, measured):
        risk = np.zeros(len(fold))
        for known, judged in parts:
            risk[judged] = _learned(features, rows.event, known, judged)
        risks.append(risk)
        words[source] = looks_at
    return np.stack(risks), words


def _folds(rows: EventRows, n_splits: int, rng: np.random.Generator) -> Ints:
    """Part of every patient, those with the event dealt out evenly, (P,)."""
    sick = np.zeros(rows.n_patients, dtype=bool)
    sick[rows.patient[rows.eligible & (rows.event == 1)]] = True
    n_sick = int(sick.sum())
    if n_sick < 2:
        raise _too_few(f"{n_sick} of {rows.n_patients}")
    part = np.empty(rows.n_patients, dtype=np.int64)
    for stratum in (sick, ~sick):
        members = rng.permutation(np.flatnonzero(stratum))
        part[members] = np.arange(len(members)) % min(n_splits, n_sick)
    return part


def _too_few(found: str) -> DataError:
    return fail(
        "too few events for a nuisance report",
        expected="at least two patients with the event behind some eligible row, and rows without",
        found=found,
        advice="Take more patients, or another horizon.",
    )


def _thinned(rows: EventRows, known: Ints, rng: np.random.Generator) -> Ints:
    """Some of the rows to learn from: rare events are kept, as only the ranks of risks count."""
    sick = rows.event[known] == 1
    if sick.all() or not sick.any():
        raise _too_few("rows of one kind alone in the part that is learned from")
    kinds = (known[sick], known[~sick])
    kept = [k if len(k) <= _MOST_ROWS else rng.choice(k, _MOST_ROWS, replace=False) for k in kinds]
    return np.sort(np.concatenate(kept))


def _learned(features: Floats, event: Floats, known: Ints, judged: Ints) -> Floats:
    """Risk of some rows, learned from others."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=0.15, max_iter=40, max_leaf_nodes=8, early_stopping=False, random_state=0
    )
    model.fit(features[known], event[known])
    risk: Floats = model.predict_proba(features[judged])[:, 1]
    return risk


def _features(rows: EventRows, measured: Bools) -> Iterator[tuple[Source, str, Floats]]:
    """Each source, what it looks at in words, and what it knows of every row, (N, columns)."""
    counts = np.diff(rows.offsets)
    begin, last = np.repeat(rows.offsets[:-1], counts), np.repeat(rows.offsets[1:] - 1, counts)
    clock = (rows.when - rows.when.min()) * rows.tick
    at = np.arange(len(clock))
    # what is always or never measured in a stay says no more than the number of its rows
    in_stay = np.add.reduceat(measured, rows.offsets[:-1], axis=0, dtype=np.int32)
    measured = measured[:, ((in_stay > 0) & (in_stay < counts[:, None])).any(axis=0)]
    so_far = np.cumsum(measured, axis=0, dtype=np.int32)
    so_far -= (so_far[begin] - measured[begin]).astype(np.int32)
    some = measured.shape[1] > 0

    def table(*columns: npt.NDArray[Any]) -> Floats:
        return np.column_stack(columns).astype(np.float64)

    yield (_CAUSAL, "record length"), "hours so far", table(clock - clock[begin])
    yield (_CAUSAL, "row count"), "rows so far", table(at - begin + 1)
    yield (_CAUSAL, "last time"), "time of the row", table(clock)
    if some:
        looks_at = "what is measured, counts so far"
        yield (_CAUSAL, "missing pattern"), looks_at, table(so_far, measured)
    left, in_all = clock[last] - clock, clock[last] - clock[begin]
    yield (_WHOLE, "record length"), "hours left, hours in all", table(left, in_all)
    yield (_WHOLE, "row count"), "rows left, rows in all", table(last - at, last - begin + 1)
    yield (_WHOLE, "last time"), "time of the last row", table(clock[last])
    if some:
        total = so_far[last]
        yield (_WHOLE, "missing pattern"), "counts left and in all", table(total - so_far, total)


def _sentence(table: pd.DataFrame) -> str:
    """The best source of both versions in words."""
    best = {}
    for version in (_CAUSAL, _WHOLE):
        part = table.loc[version]
        name = str(part["auroc"].idxmax())
        best[version] = name, str(part.loc[name, "looks_at"]), float(part["auroc"].max())
    said = [
        f"{version}: {name} alone {_short(figure)} ({looks_at})"
        for version, (name, looks_at, figure) in best.items()
    ]
    sentence = f"without a single value, AUROC from {'; '.join(said)}."
    if best[_WHOLE][2] > best[_CAUSAL][2] + _MARGIN:
        sentence += (
            f" A model near {_short(best[_WHOLE][2])} may have seen where records end: no row "
            "knows."
        )
    return sentence


def _short(figure: float) -> str:
    return f"{figure:.2f}".removeprefix("0")
