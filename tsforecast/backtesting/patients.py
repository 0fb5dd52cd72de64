"""The backtest of event estimators: fit on some patients, judge by others."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from tsforecast._checks import DataError, bad_parameter, callers_level, fail, first
from tsforecast._html import html_form, html_table
from tsforecast._progress import progress_bar
from tsforecast.backtesting._settings import settings_of
from tsforecast.backtesting.alarms import AlarmPolicy, alarm_report, recall_curve
from tsforecast.backtesting.eventframe import At, Bools, EventRows, event_rows
from tsforecast.backtesting.events import compare_events, event_metrics
from tsforecast.backtesting.nuisance import nuisance_risks, nuisance_table
from tsforecast.data.covariates import constants
from tsforecast.data.panel import Floats, Ints, Layout, as_cutoffs, as_panel, layout_of
from tsforecast.data.splits import RollingOrigin, warn_of_groups

__all__ = ["EventBacktest", "backtest_events", "event_frame"]

_VERBS = ("fit", "predict_risk", "event_labels")
_LABELS = ("event", "eligible", "at_risk", "hours_to_event")
_DRAWS = 200  # of patients, for the bands of a picture
_MOST_ROWS = 500_000  # that are scored only to be shown
_TAKEN = frozenset({"model", "series", "time", "risk", "fold", "group", *_LABELS})


@dataclass(frozen=True, eq=False)
class EventBacktest:
    """Risks of patients that the models had not seen, beside what happened.

    Attributes
    ----------
    frame : DataFrame
        Flat, by model and then by fold; columns ``model, series, time, risk, risk_1, ..., event,
        eligible, at_risk, hours_to_event, fold``, ``group`` where patients have several stays, and
        the columns kept. In a panel of one series without a name, ``series`` is 0.
    measured : ndarray of bool, shape (N, C), optional
        Whether each column was measured at the rows of a model: what the nuisance lines of
        `metrics` come from. None: there are no such lines.
    in_time_order : bool
        Whether each fold was admitted after the ones before it, as in a backtest by
        `RollingOrigin`: thresholds of alarms are then chosen on earlier folds alone.
    settings : dict of str to str
        What the run was started with, in words: the models' parameters, the splits, the size of
        the panel. It names no stay.
    """

    frame: pd.DataFrame
    measured: Bools | None = field(default=None, repr=False)
    in_time_order: bool = False
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def metrics(
        self, at: At = "every", *, n_boot: int = 1000, random_state: int = 0
    ) -> pd.DataFrame:
        """Score every model; see `event_metrics`.

        The header adds what the shape of the records alone gives away (`nuisance_report`), at the
        same rows.
        """
        table = event_metrics(self.frame, at=at, n_boot=n_boot, random_state=random_state)
        if self.measured is not None:
            table.attrs["header"] = [*table.attrs["header"], self._nuisance_words(at)]
        return table

    def compare(
        self, reference: str, *, at: At = "every", n_boot: int = 1000, random_state: int = 0
    ) -> pd.DataFrame:
        """Compare every model with one of them; see `compare_events`."""
        return compare_events(
            self.frame, reference, at=at, n_boot=n_boot, random_state=random_state
        )

    def alarms(
        self,
        policy: AlarmPolicy | None = None,
        *,
        alarms_per_patient_day: float | None = None,
        n_boot: int = 1000,
        random_state: int = 0,
    ) -> pd.DataFrame:
        """Tell what alarms catch and cost; see `alarm_report`.

        Parameters
        ----------
        policy : AlarmPolicy, optional
            Default: ``AlarmPolicy()``.
        alarms_per_patient_day : float, optional
            Budget, where the policy has no threshold: that of each fold is then chosen on the
            patients of the other folds, and `threshold` in the table is the mean of them. Of folds
            in order of time (a backtest by `RollingOrigin`) it is chosen on what the earlier ones
            held before the fold begins; the first fold, which has none, is left out, and the
            header counts it.
        n_boot, random_state
            As for `alarm_report`.

        Returns
        -------
        DataFrame

        Raises
        ------
        DataError
            As for `alarm_report`; if the budget is out of reach; or there is one fold only.
        ValueError
            If there is neither a threshold nor a budget, or both.
        """
        policy = AlarmPolicy() if policy is None else policy
        if (policy.threshold is None) == (alarms_per_patient_day is None):
            raise bad_parameter(
                "alarms_per_patient_day",
                expected="a budget, or else a policy with a threshold",
                found=alarms_per_patient_day,
                advice="E.g. alarms(alarms_per_patient_day=1).",
            )
        if alarms_per_patient_day is None:
            return alarm_report(self.frame, policy, n_boot=n_boot, random_state=random_state)
        folds = self.frame["fold"]
        if folds.nunique() < 2:
            raise fail(
                "no other patients to choose a threshold on",
                expected="two folds or more",
                found="one",
                advice="Fit the policy on validation patients: policy.fit(frame, "
                "alarms_per_patient_day=...).",
            )
        models = list(dict.fromkeys(self.frame["model"]))
        alarms = pd.Series(False, index=self.frame.index, name="alarm")
        levels = []
        words = "each chosen on the other folds"
        judged = np.ones(len(folds), dtype=bool)
        if self.in_time_order:
            judged = (folds != folds.min()).to_numpy()
            first_fold = self.frame[~judged & (self.frame["model"] == models[0])]
            words = (
                "each chosen on the earlier folds; the first fold has none and is left out: "
                f"{first_fold['series'].nunique():,} stays, {len(first_fold):,} rows"
            )
        for fold in folds[judged].unique():
            own = folds == fold
            others = ~own
            if self.in_time_order:
                time = self.frame["time"]
                others = (folds < fold) & (time < time[own].min())
            fitted = policy.fit(self.frame[others], alarms_per_patient_day=alarms_per_patient_day)
            alarms[own] = fitted.apply(self.frame[own])
            levels.append([fitted._threshold_of(name) for name in models])
        table = alarm_report(
            self.frame[judged], alarms[judged], n_boot=n_boot, random_state=random_state
        )
        table["threshold"] = np.mean(levels, axis=0)
        table.attrs["header"] = [
            *table.attrs["header"],
            f"thresholds for {alarms_per_patient_day:g} alarms per patient-day, {words}",
        ]
        return table

    def plot(self, ax: Any = None, *, policy: AlarmPolicy | None = None) -> Any:
        """Draw the share of events caught by the burden of alarms; see `plot_recall`.

        The policy, by default ``AlarmPolicy()``, is the one of `recall_curve`.
        """
        from tsforecast.insight.event_plots import plot_recall

        policy = AlarmPolicy() if policy is None else policy
        return plot_recall(recall_curve(self.frame, policy, n_boot=_DRAWS), ax=ax)

    def report(
        self, path: Any, *others: Any, title: str | None = None, names: bool | None = None
    ) -> Path:
        """Write all of it to one page of HTML; see `tsforecast.insight.report.report`."""
        from tsforecast.insight.report import report

        return report(path, self, *others, title=title, names=names)

    def _repr_html_(self) -> str:
        words = repr(self)
        if len(self.frame) > _MOST_ROWS:
            return html_form(words)
        try:
            scores = event_metrics(self.frame, n_boot=0)
        except DataError as error:
            return html_form(words, notes=[f"Not scored: {error}"])
        shown = scores[["auroc", "auprc", "brier"]]
        return html_form(words, html_table(shown), notes=scores.attrs["header"])

    def __repr__(self) -> str:
        rows = event_rows(self.frame)
        sick = rows.eligible & (rows.event == 1)
        return (
            f"EventBacktest(models={rows.models}, folds={self.frame['fold'].nunique()}, "
            f"patients={rows.n_patients}, stays={len(rows.series)}, rows={len(rows.event)}, "
            f"eligible={int(rows.eligible.sum())}, with_event={int(sick.sum())})"
        )

    @cached_property
    def _nuisance(self) -> tuple[EventRows, Floats, dict[Any, str]]:
        frame = self.frame[self.frame["model"] == self.frame["model"].iloc[0]]
        rows = event_rows(frame)
        assert self.measured is not None
        return rows, *nuisance_risks(rows, self.measured[rows.place[0]])

    def _nuisance_words(self, at: At) -> str:
        try:
            return f"nuisance: {nuisance_table(*self._nuisance, at).attrs['sentence']}"
        except DataError as error:
            return f"nuisance: not judged ({error})"


def backtest_events(
    models: Mapping[str, Any],
    panel: pd.DataFrame,
    cv: Any,
    *,
    group: Hashable | None = None,
    keep: Sequence[Hashable] = (),
    verbose: int = 0,
) -> EventBacktest:
    """Fit event estimators on some patients and take their risks of others.

    Parameters
    ----------
    models : dict of str to estimator
        With ``fit(panel)``, ``predict_risk(panel)`` and ``event_labels(panel)``. They are cloned.
        All must have the same labels.
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    cv : splitter or date
        `SeriesSplit`, which cuts between patients, ``SeriesSplit(None, group="site")``, which
        leaves out one site at a time, or any splitter of scikit-learn's kind that keeps series
        whole. Where time is a date also a date, or `RollingOrigin`: fitted on the rows up to it,
        judged by the stays admitted after it (and up to the next one).
    group : column name, optional
        The patient of several stays. Default: the `group` of the models, where they have one.
    keep : sequence of column names
        Columns to take along, for subgroups.
    verbose : int
        0: no progress bar.

    Returns
    -------
    EventBacktest

    Raises
    ------
    DataError
        If a patient has rows on both sides of a split or is tested twice, a model's risks cannot
        be used, the labels of the models differ, or a column is missing.
    ValueError
        If a model lacks a verb or comes fitted, or `cv` is no splitter.

    Notes
    -----
    Columns of the event and of competing exits are taken away before `predict_risk`.

    With a date or `RollingOrigin` a patient who was there before stays with the training rows:
    later stays of such patients are not judged, and are counted in
    ``frame.attrs["known_before"]``. ``frame.attrs["excluded"]`` of `event_within` is there only
    where all rows of the panel are tested. What follows the date is unknown to the fit; a stay
    that goes on beyond it is censored there, and left out of training where the label is its
    outcome.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.base import BaseEstimator
    >>> from tsforecast.data.labels import event_within
    >>> from tsforecast.data.splits import SeriesSplit
    >>> class Pulse(BaseEstimator):
    ...     event, horizon = "sepsis", 1
    ...     def fit(self, panel):
    ...         return self
    ...     def predict_risk(self, panel):
    ...         return pd.DataFrame({"risk": panel["HR"] / 200})
    ...     def event_labels(self, panel):
    ...         return event_within(panel, self.event, self.horizon)
    >>> stays = pd.MultiIndex.from_product([["a", "b", "c", "d"], range(3)])
    >>> panel = pd.DataFrame({"HR": 80.0, "sepsis": 0.0}, index=stays)
    >>> panel.loc[("a", 1), "HR"] = panel.loc[("b", 1), "HR"] = 120.0
    >>> panel.loc[("a", 2), "sepsis"] = panel.loc[("b", 2), "sepsis"] = 1.0
    >>> result = backtest_events({"pulse": Pulse()}, panel, SeriesSplit(2, random_state=0))
    >>> result
    EventBacktest(models=['pulse'], folds=2, patients=4, stays=4, rows=12, eligible=8, with_event=2)
    >>> float(event_metrics(result.frame, n_boot=0).loc["pulse", "auroc"])
    1.0
    """
    _check_models(models)
    panel = as_panel(panel)
    layout = layout_of(panel)
    group = _common_group(models) if group is None else group
    if group is None:
        warn_of_groups(panel, "the training and the test part")
    _require_columns(panel, group, keep)
    patient, names = _patients(panel, layout, group)
    labels = _agreed_labels(models, panel)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in models}
    tested = np.zeros(layout.n_series, dtype=bool)
    order: list[Ints] = []
    known_before = 0
    splits = list(_splits(cv, panel, layout, patient))
    with progress_bar(
        total=len(splits) * len(models), description="backtest", verbose=verbose
    ) as bar:
        for fold, (train, test, known) in enumerate(splits):
            known_before += known
            _require_sides(layout, patient, names, train, test)
            _require_untested(layout, tested, test)
            order.append(test)
            for name, model in models.items():
                bar.set_postfix_str(f"{name}, fold {fold + 1} of {len(splits)}")
                whole = _finished(train, layout) if _is_outcome(model) else train
                fitted = clone(model).fit(panel.iloc[whole])
                part = _risks(name, fitted, panel.iloc[test], labels.iloc[test], group, keep)
                parts[name].append(part.assign(fold=fold))
                bar.update()
    frame = pd.concat([part for of_model in parts.values() for part in of_model], ignore_index=True)
    frame.attrs = {**_tested_attrs(labels, layout, order), "known_before": known_before}
    hidden = {name for model in models.values() for name in _hidden(model, panel)}
    out = hidden if group is None else hidden | {group}
    measured = panel.drop(columns=list(out)).notna().to_numpy()[np.concatenate(order)]
    return EventBacktest(
        frame,
        measured,
        in_time_order=isinstance(cv, RollingOrigin),
        settings=settings_of(models, panel, cv, group=group, keep=list(keep)),
    )


def event_frame(
    model: Any,
    panel: pd.DataFrame,
    *,
    name: str | None = None,
    group: Hashable | None = None,
    keep: Sequence[Hashable] = (),
) -> pd.DataFrame:
    """Set the risks of a fitted event estimator beside what happened.

    To judge a model by patients that it has not seen, as those of another hospital. Stays with
    the names of some that it has been fitted on are counted in a warning.

    Parameters
    ----------
    model : estimator
        Fitted, with ``predict_risk(panel)`` and ``event_labels(panel)``.
    panel : DataFrame
        A panel with the event.
    name : str, optional
        Of the model; default: its class.
    group : column name, optional
        The patient of several stays. Default: the `group` of the model, where it has one.
    keep : sequence of column names
        Columns to take along.

    Returns
    -------
    DataFrame
        An event frame; join those of several models on the same panel with ``pd.concat``.

    Raises
    ------
    DataError
        If the risks cannot be used, or a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsforecast.data.labels import event_within
    >>> class Pulse:
    ...     event, horizon = "sepsis", 1
    ...     def predict_risk(self, panel):
    ...         return pd.DataFrame({"risk": panel["HR"] / 200})
    ...     def event_labels(self, panel):
    ...         return event_within(panel, self.event, self.horizon)
    >>> panel = pd.DataFrame({"HR": [80.0, 90.0, 120.0], "sepsis": [0.0, 0.0, 1.0]})
    >>> event_frame(Pulse(), panel)[["model", "time", "risk", "event", "eligible"]]
       model  time  risk  event  eligible
    0  Pulse     0  0.40    0.0      True
    1  Pulse     1  0.45    1.0      True
    2  Pulse     2  0.60    NaN     False
    """
    absent = [verb for verb in _VERBS[1:] if not hasattr(model, verb)]
    if absent or isinstance(model, type):
        raise bad_parameter(
            "model",
            expected="a fitted estimator with predict_risk and event_labels",
            found=model,
        )
    panel = as_panel(panel)
    group = getattr(model, "group", None) if group is None else group
    _require_columns(panel, group, keep)
    name = type(model).__name__ if name is None else name
    labels = _labels(name, model, panel)
    warn_of_seen(model, layout_of(panel))
    frame = _risks(name, model, panel, labels, group, keep)
    frame.attrs = dict(labels.attrs)
    return frame


def warn_of_seen(model: Any, layout: Layout) -> None:
    """Warn where series have the names of some that a fitted event estimator has been fitted on.

    A model that cannot tell, by ``_seen_in_fit(layout)``, draws no warning.
    """
    seen = getattr(model, "_seen_in_fit", None)
    n_seen = 0 if seen is None or layout.ids is None else int(seen(layout).sum())
    if n_seen:
        warnings.warn(
            f"{n_seen} of {layout.n_series} series have the names of some that the estimator "
            "has been fitted on: if they are the same, its risks are too good there.",
            stacklevel=callers_level(),
        )


# ------------------------------------------------------------------------------------------ checks


def _check_models(models: Any) -> None:
    if not isinstance(models, Mapping) or not models:
        raise bad_parameter("models", expected="a dict of names to estimators", found=models)
    for name, model in models.items():
        if not isinstance(name, str):
            raise bad_parameter("models", expected="names that are str", found=list(models))
        absent = [verb for verb in _VERBS if not hasattr(model, verb)]
        if absent or isinstance(model, type):
            advice = f"It has no {first(absent)}." if absent else "Make an instance of it."
            if hasattr(model, "forecast_origins"):
                advice += " Forecasts of numbers are judged by backtest."
            raise bad_parameter(
                "models",
                expected="an estimator instance with fit, predict_risk and event_labels",
                found=model,
                advice=advice,
            )
        if isinstance(model, FrozenEstimator):
            raise bad_parameter(
                "models",
                expected=f"{name!r} unfitted: it may have seen the patients that it is judged by",
                found=model,
                advice="Judge a fitted model by new patients: event_frame(model, panel).",
            )


def _require_columns(panel: pd.DataFrame, group: Hashable | None, keep: Sequence[Hashable]) -> None:
    if isinstance(keep, str):
        raise bad_parameter("keep", expected="a list of column names", found=keep)
    for name in [*([] if group is None else [group]), *keep]:
        if name not in panel.columns:
            raise fail(
                "no such column",
                expected=f"a column {name!r}",
                found=f"columns {first(panel.columns, shown=12)}",
                advice="Check group= and keep=.",
                column=name,
            )
    taken = [name for name in keep if name in _TAKEN or str(name).startswith("risk_")]
    if taken:
        raise fail(
            "column has a name of the event frame",
            expected=f"none of {sorted(_TAKEN)}",
            found=f"{taken}",
            advice="Rename it.",
            column=taken[0],
        )


def _common_group(models: Mapping[str, Any]) -> Hashable | None:
    """The column of patients that the models name."""
    found = {name: getattr(model, "group", None) for name, model in models.items()}
    given = {value for value in found.values() if value is not None}
    if len(given) > 1:
        raise bad_parameter(
            "models", expected="one group for all", found=found, advice="Or give group= here."
        )
    return next(iter(given), None)


def _patients(
    panel: pd.DataFrame, layout: Layout, group: Hashable | None
) -> tuple[Ints, list[Any]]:
    """Number of the patient of every series, (S,), and the name of each series' patient."""
    own = np.arange(layout.n_series)
    if group is None:
        return own, layout.names()
    value = constants(panel, layout, [group])[group]
    code = pd.factorize(value)[0]
    number = np.unique(np.where(code < 0, code.max() + 1 + own, code), return_inverse=True)[1]
    names = [
        series if missing else given
        for series, given, missing in zip(layout.names(), value, code < 0)
    ]
    return number, names


def _require_sides(
    layout: Layout, patient: Ints, names: list[Any], train: Ints, test: Ints
) -> None:
    codes = layout.codes()
    if not (len(train) and len(test)):
        raise fail(
            "a side of a split is empty",
            expected="rows to fit on and rows to judge by",
            found=f"{len(train)} and {len(test)}",
            advice="Use fewer parts, or another date.",
        )
    fitted, judged = np.unique(codes[train]), np.unique(codes[test])
    both = judged[np.isin(patient[judged], patient[fitted])]
    if len(both):
        shown = list(dict.fromkeys(names[series] for series in both))
        raise fail(
            "a patient is on both sides of a split",
            expected="patients to fit on and others to judge by",
            found=f"{len(shown)} on both: {first(map(repr, shown))}",
            advice="Use SeriesSplit(..., group=<the column of patients>).",
        )


def _require_untested(layout: Layout, tested: Bools, test: Ints) -> None:
    judged = np.unique(layout.codes()[test])
    if tested[judged].any():
        twice = [layout.names()[series] for series in judged[tested[judged]]]
        raise fail(
            "a series is tested twice",
            expected="every series in one test part at most",
            found=f"{len(twice)} again: {first(map(repr, twice))}",
            advice="Use one repetition of the split.",
        )
    tested[judged] = True


# ------------------------------------------------------------------------------------------ splits


def _splits(
    cv: Any, panel: pd.DataFrame, layout: Layout, patient: Ints
) -> Iterator[tuple[Ints, Ints, int]]:
    """Rows to fit on, rows to judge by, and how many stays of known patients are left out."""
    # a date may be a str, which has a `split` of its own
    if isinstance(cv, (RollingOrigin, str)) or not hasattr(cv, "split"):
        yield from _by_date(cv, panel, layout, patient)
        return
    for train, test in cv.split(panel):
        yield np.sort(np.asarray(train)), np.sort(np.asarray(test)), 0


def _by_date(
    cv: Any, panel: pd.DataFrame, layout: Layout, patient: Ints
) -> Iterator[tuple[Ints, Ints, int]]:
    """Fit up to a date, judge by the stays admitted after it."""
    if not isinstance(layout.labels, pd.DatetimeIndex):
        raise bad_parameter(
            "cv",
            expected="a SeriesSplit, as time is counted from admission",
            found=cv,
            advice="A cut in time would tear every stay.",
        )
    labels: Any = layout.labels
    admitted: Any = layout.time.take(layout.starts)
    if isinstance(cv, RollingOrigin):
        blocks = cv.splits(panel, horizon=1)
        ends: list[Any] = [*(block.cutoffs[0] for block in blocks[1:]), admitted.max()]
        cuts = [
            ((labels >= block.fit_from) & (labels <= block.fit_until), block.cutoffs[0], end)
            for block, end in zip(blocks, ends)
        ]
    else:
        try:
            date = as_cutoffs([cv], layout.labels)[0]
        except (TypeError, ValueError):
            raise bad_parameter(
                "cv", expected="a splitter, or a date of the panel's time", found=cv
            ) from None
        cuts = [(labels <= date, date, admitted.max())]
    for fitted, begin, end in cuts:
        train = np.flatnonzero(layout.per_row(np.asarray(fitted)))
        known = np.isin(patient, patient[np.unique(layout.codes()[train])])
        new = np.asarray((admitted > begin) & (admitted <= end))
        judged = np.repeat(new & ~known, np.diff(layout.offsets))
        yield train, np.flatnonzero(judged), int((new & known).sum())


def _is_outcome(model: Any) -> bool:
    return bool(getattr(model, "label", None) == "outcome")


def _finished(train: Ints, layout: Layout) -> Ints:
    """Training rows of the stays that have all their rows there: others have no outcome yet."""
    codes = layout.codes()[train]
    whole = np.bincount(codes, minlength=layout.n_series) == np.diff(layout.offsets)
    kept: Ints = train[whole[codes]]
    return kept


# ------------------------------------------------------------------------------------------ frames


def _hidden(model: Any, panel: pd.DataFrame) -> list[Hashable]:
    """Columns that tell the event, or a competing exit."""
    named = [getattr(model, name, None) for name in ("event", "competing")]
    return [
        name
        for name in named
        if name is not None and isinstance(name, Hashable) and name in panel.columns
    ]


def _tested_attrs(labels: pd.DataFrame, layout: Layout, tested: list[Ints]) -> dict[Hashable, Any]:
    """What the labels of the panel say that is true of the tested rows alone."""
    rows = np.concatenate(tested)
    attrs = dict(labels.attrs)
    if len(rows) == layout.n_rows:  # no row is tested twice
        return attrs
    attrs.pop("excluded", None)
    if "left_censored" in attrs:
        names = layout.names()
        here = {names[series] for series in np.unique(layout.codes()[rows])}
        attrs["left_censored"] = [name for name in attrs["left_censored"] if name in here]
    return attrs


def _labels(name: str, model: Any, panel: pd.DataFrame) -> pd.DataFrame:
    labels: pd.DataFrame = model.event_labels(panel)
    absent = [column for column in _LABELS if column not in labels]
    if absent or not labels.index.equals(panel.index):
        raise fail(
            "labels cannot be used",
            expected=f"columns {', '.join(_LABELS)} on the index of the panel from {name!r}",
            found=f"no {first(absent)}" if absent else "another index",
            advice="Make them by event_within.",
        )
    return labels


def _agreed_labels(models: Mapping[str, Any], panel: pd.DataFrame) -> pd.DataFrame:
    """The labels of every row, the same for all models."""
    found = {name: _labels(name, model, panel) for name, model in models.items()}
    one, *others = found
    for other in others:
        pair = found[one], found[other]
        differ = [column for column in _LABELS if not pair[0][column].equals(pair[1][column])]
        if differ:
            a, b = (labels[differ[0]].to_numpy(dtype=np.float64) for labels in pair)
            count = int((~np.isclose(a, b, rtol=0, atol=0, equal_nan=True)).sum())
            raise fail(
                "the models have different labels",
                expected=f"the same event, label, horizon, step and min_history of {one!r} and "
                f"{other!r}",
                found=f"`{differ[0]}` differs in {count} of {len(panel)} rows",
                advice="Models are compared on the same rows and labels.",
            )
    return found[one]


def _risks(
    name: str,
    model: Any,
    panel: pd.DataFrame,
    labels: pd.DataFrame,
    group: Hashable | None,
    keep: Sequence[Hashable],
) -> pd.DataFrame:
    """Risks of a model at some rows beside their labels: an event frame."""
    risk = model.predict_risk(panel.drop(columns=_hidden(model, panel)))
    if "risk" not in getattr(risk, "columns", ()) or not risk.index.equals(panel.index):
        raise fail(
            "risks cannot be used",
            expected=f"from {name!r} a column 'risk' on the index of the panel",
            found=f"columns {first(getattr(risk, 'columns', ()))}",
            advice="predict_risk gives a row for each row of its panel.",
        )
    bad = ~risk["risk"].between(0, 1)
    if bad.any():
        raise fail(
            "a risk is no probability",
            expected=f"numbers from 0 to 1 from {name!r}",
            found=f"{int(bad.sum())} others, the first {risk['risk'][bad].iloc[0]}",
            advice="Mend the model, or map its score to a probability.",
            rows=[str(label) for label in panel.index[bad.to_numpy()][:5]],
        )
    layout = layout_of(panel)
    ids = pd.Index([0]) if layout.ids is None else layout.ids
    of_steps = [column for column in risk if str(column).startswith("risk_")]
    columns: dict[Hashable, Any] = {
        "model": name,
        "series": ids.take(layout.codes()),
        "time": layout.time,
        **{column: risk[column].to_numpy() for column in ["risk", *of_steps]},
        **{column: labels[column].to_numpy() for column in _LABELS},
    }
    if group is not None:
        columns["group"] = panel[group].array
    return pd.DataFrame(columns | {column: panel[column].array for column in keep})
