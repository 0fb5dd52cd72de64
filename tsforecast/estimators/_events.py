"""The verbs every event estimator has, made from one method that gives risks at every row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import DataError, fail, first, positive_int
from tsforecast.data.covariates import constants
from tsforecast.data.keys import Keys
from tsforecast.data.labels import EventTask, Labels, event_within
from tsforecast.data.panel import Floats, Ints, Layout, as_panel, is_category, layout_of
from tsforecast.data.scored import Bools
from tsforecast.data.splits import held_out_series, warn_of_groups
from tsforecast.estimators._base import _kind, _span, series_key
from tsforecast.estimators._rows import in_order
from tsforecast.estimators._searched import refuse_foreign_split

__all__ = ["PanelClassifier", "even_risk", "ill_series", "risk_frame"]

# columns of the public sets that are known after the stay, or after the row: no inputs by default
_TOLD_AFTERWARDS = (
    "In-hospital_death",
    "SAPS-I",
    "SOFA",
    "Length_of_stay",
    "Survival",
    "SepsisLabel",
    "onset",
)


class PanelClassifier(ClassifierMixin, BaseEstimator):
    """Base of event estimators on panels; not used alone.

    A subclass has the parameters `event, label, horizon, step, competing, clear, min_history` and
    `group`, and gives

    - ``_inputs(panel) -> list``: the columns of a panel that it looks at, never those of the event
      and of competing exits. `_numbers` gives what stands for "all",
    - ``_fit(panel, layout, labels)``: learn. The panel has the columns of `_inputs`, and behind
      them that of `group` if it is not among them,
    - ``_risk(panel, layout) -> (N, K)``: the probability of the event within 1..K steps of every
      row, never falling in k, from the rows of the same series up to it alone. The panel has the
      columns of `_inputs`.
    """

    event: Any
    label: Any
    horizon: Any
    step: Any
    competing: Hashable | None
    clear: Any
    min_history: int
    group: Hashable | None

    classes_: Ints
    cutoff_: Any
    inputs_: list[Hashable]
    n_steps_: int

    _categories: list[Hashable]  # inputs that were no numbers in fit
    _series: Keys | None
    _series_type: pd.Index | None
    _span: dict[str, Any]
    _time_type: pd.Index

    def fit(self, panel: pd.DataFrame, y: None = None) -> Any:
        """Learn from the rows of `panel` that are at risk.

        Parameters
        ----------
        panel : DataFrame
            A panel with the column of the event, or anything that `as_panel` takes without further
            names.
        y : None
            Ignored: the event is a column of the panel.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the panel cannot be used, no row can be learned from, or the event follows none or
            all of them.
        """
        self.__dict__.pop("_span", None)  # not fitted until this fit has ended
        task = self._task()
        task.check()
        positive_int("min_history", self.min_history, least=0)
        panel = as_panel(panel)
        layout = layout_of(panel)
        n_steps = task.n_steps(layout)
        inputs = self._checked_inputs(panel)
        labels = task.labels(panel)
        _require_both(labels)
        self.inputs_, self.n_steps_ = inputs, n_steps
        self._categories = [name for name in inputs if is_category(panel[name])]
        self.classes_ = np.array([0, 1])
        self._fit(self._fitting(panel, layout), layout, labels)
        self._time_type = layout.labels.take([])  # a slice would keep them all
        self._series = None if layout.ids is None else Keys.of(layout.ids)
        self._series_type = None if layout.ids is None else layout.ids.take([])
        self._span = _span(layout)
        self.cutoff_ = self._span["last"]
        return self

    def __sklearn_clone__(self) -> Any:
        refuse_foreign_split(self)
        return super().__sklearn_clone__()

    def __sklearn_is_fitted__(self) -> bool:
        # a fit that failed half-way has set names ending in _ already
        return hasattr(self, "_span")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.input_tags.allow_nan = True
        return tags

    # --------------------------------------------------------------------------------- forecasts

    def predict_risk(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Give the probability of the event at every row, from the rows up to it alone.

        Parameters
        ----------
        panel : DataFrame
            Rows of series seen in `fit` or not. The event need not be among its columns.

        Returns
        -------
        DataFrame
            A row for each row of `panel`, in its order; columns ``risk``, within the horizon,
            and, where this has K > 1 steps, ``risk_1 ... risk_K``, within so many of them:
            never falling, the last one equal to ``risk``.

        Raises
        ------
        DataError
            If a column that `fit` has used is missing.
        """
        check_is_fitted(self)
        known, order = in_order(panel)
        layout = layout_of(known)
        risk = self._risk(self._select(known, layout), layout)
        frame = risk_frame(risk, known.index)
        return frame if order is None else frame.iloc[order]

    def predict_proba(self, panel: pd.DataFrame) -> Floats:
        """Give the probabilities of no event and of the event within the horizon, (N, 2)."""
        risk = self.predict_risk(panel)["risk"].to_numpy(dtype=np.float64)
        return np.stack([1.0 - risk, risk], axis=1)

    def predict(self, panel: pd.DataFrame) -> Ints:
        """Give 1 where the event is more likely than not, else 0, (N,).

        Of a rare event this is 0 nearly everywhere: choose a threshold for `predict_risk` by what
        alarms may cost.
        """
        return self.classes_[(self.predict_proba(panel)[:, 1] > 0.5).astype(np.int64)]

    # ------------------------------------------------------------------------------------ scores

    def event_labels(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Say what happened after every row: `event_within` with the parameters of the model.

        Parameters
        ----------
        panel : DataFrame
            A panel with the column of the event.

        Returns
        -------
        DataFrame
            A row for each row of `panel`, in its order.
        """
        known, order = in_order(panel)
        frame = event_within(
            known,
            self.event,
            self.horizon,
            label=self.label,
            step=self.step,
            min_history=self.min_history,
            clear=self.clear,
            competing=self.competing,
        )
        return frame if order is None else frame.iloc[order]

    def score(self, panel: pd.DataFrame, y: None = None) -> float:
        """Area under the ROC curve of `risk`, over the rows that `event_labels` calls eligible.

        Rows of series seen in `fit` count from `cutoff_` on where time is calendar time, else all
        of them do, as they do for other series.

        Raises
        ------
        DataError
            If the event follows none or all of these rows.
        """
        from sklearn.metrics import roc_auc_score

        check_is_fitted(self)
        known = as_panel(panel)
        layout = layout_of(known)
        labels = self._task().labels(known)
        counted = labels.eligible & self._scored(layout)
        outcome = labels.event[counted]
        if not 0 < outcome.sum() < len(outcome):
            raise fail(
                "nothing to score",
                expected="eligible rows with the event behind them, and others without",
                found=f"{len(outcome)} rows, {int(outcome.sum())} of them with it",
                advice="Take more or other series as the test part: SeriesSplit(stratify=...).",
            )
        risk = self._risk(self._select(known, layout), layout)[:, -1]
        return float(roc_auc_score(outcome, risk[counted]))

    def _scored(self, layout: Layout) -> Bools:
        """Rows that a score may count, (N,)."""
        unseen = np.repeat(~self._seen_in_fit(layout), np.diff(layout.offsets))
        if not isinstance(layout.labels, pd.DatetimeIndex):
            return np.ones_like(unseen)
        later: Bools = layout.per_row(np.asarray(layout.labels >= self.cutoff_))
        return unseen | later

    def _seen_in_fit(self, layout: Layout) -> Bools:
        """Whether `fit` has seen each series, (S,)."""
        return series_key(layout, self._series) >= 0

    # ----------------------------------------------------------------------------------- columns

    def _task(self) -> EventTask:
        return EventTask(
            self.event,
            label=self.label,
            horizon=self.horizon,
            step=self.step,
            min_history=self.min_history,
            clear=self.clear,
            competing=self.competing,
        )

    def _numbers(self, panel: pd.DataFrame) -> list[Hashable]:
        """All columns of numbers that may be inputs: what a subclass takes if none are named."""
        out = {*self._task().hidden(), self.group, *_TOLD_AFTERWARDS}
        kinds = zip(panel.columns, panel.dtypes)
        return [name for name, kind in kinds if isinstance(kind, np.dtype) and name not in out]

    def _checked_inputs(self, panel: pd.DataFrame) -> list[Hashable]:
        inputs = list(dict.fromkeys(self._inputs(panel)))
        _require_columns(panel, inputs, "fit")
        told = [name for name in inputs if name in self._task().hidden()]
        if told:
            raise fail(
                "the event is among the inputs",
                expected="inputs without the columns of event and competing exits",
                found=f"{first(map(repr, told))} among them",
                advice="They say what is to be predicted: leave them out.",
                column=told[0],
            )
        if not inputs:
            raise fail(
                "no inputs",
                expected="a column of numbers besides those of event, competing exits and group",
                found=f"columns {list(panel.columns)}",
                advice="Give the model something to look at.",
            )
        return inputs

    def _fitting(self, panel: pd.DataFrame, layout: Layout) -> pd.DataFrame:
        """Columns to learn from: the inputs, and the group, which is constant in a series."""
        if self.group is None:
            warn_of_groups(panel, "training and in validation")
            return panel[self.inputs_]
        if self.group not in panel:
            raise fail(
                "group is not a column",
                expected=f"a column {self.group!r}",
                found=f"columns {list(panel.columns)}",
                advice="Name a column that is constant within each series.",
                column=self.group,
            )
        constants(panel, layout, [self.group])
        return panel[list(dict.fromkeys([*self.inputs_, self.group]))]

    def _checked(self, panel: pd.DataFrame) -> tuple[pd.DataFrame, Layout]:
        """Columns and layout of a panel for a fitted model."""
        panel = as_panel(panel)
        layout = layout_of(panel)
        return self._select(panel, layout), layout

    def _columns(self) -> list[Hashable]:
        """Columns needed."""
        return list(self.inputs_)

    def _select(self, panel: pd.DataFrame, layout: Layout) -> pd.DataFrame:
        """Columns of a panel for a fitted model."""
        _require_columns(panel, self.inputs_, "fit, and now again")
        if _kind(layout.labels) != _kind(self._time_type):
            raise fail(
                "time is of another kind than in fit",
                expected=_kind(self._time_type),
                found=_kind(layout.labels),
                advice="Convert it, e.g. with tz_localize, tz_convert or pd.to_datetime.",
            )
        for name in self.inputs_:
            if is_category(panel[name]) != (name in self._categories):
                raise fail(
                    "column is of another kind than in fit",
                    expected="categories" if name in self._categories else "numbers",
                    found=f"dtype {panel[name].dtype}",
                    advice="Give it the dtype that it had in fit.",
                    column=name,
                )
        return panel[self.inputs_]

    # -------------------------------------------------------------------------------- validation

    def _groups(self, panel: pd.DataFrame, layout: Layout) -> Ints:
        """Number of each series' group, (S,); without one, a series is a group of its own."""
        own = np.arange(layout.n_series)
        if self.group is None:
            return own
        known = pd.factorize(constants(panel, layout, [self.group])[self.group])[0]
        return np.unique(np.where(known < 0, known.max() + 1 + own, known), return_inverse=True)[1]

    def _held_out(
        self, panel: pd.DataFrame, layout: Layout, labels: Labels, size: float, seed: int
    ) -> Bools:
        """Draw series for validation, (S,): whole groups, with their share of the events."""
        outcome = ill_series(labels, layout)
        return held_out_series(self._groups(panel, layout), size, seed, stratify=outcome)

    @abstractmethod
    def _inputs(self, panel: pd.DataFrame) -> list[Hashable]: ...

    @abstractmethod
    def _fit(self, panel: pd.DataFrame, layout: Layout, labels: Labels) -> None: ...

    @abstractmethod
    def _risk(self, panel: pd.DataFrame, layout: Layout) -> Floats: ...


def risk_frame(risk: Floats, index: pd.Index) -> pd.DataFrame:
    """Name risks within 1..K steps, (N, K), as `PanelClassifier.predict_risk` gives them."""
    n_steps = risk.shape[1]
    steps = {f"risk_{k}": risk[:, k - 1] for k in range(1, n_steps + 1)} if n_steps > 1 else {}
    return pd.DataFrame({"risk": risk[:, -1], **steps}, index=index)


def ill_series(labels: Labels, layout: Layout) -> Ints:
    """Whether the event follows an eligible row of each series, (S,)."""
    ill = np.where(labels.eligible, np.nan_to_num(labels.event), 0.0)
    result: Ints = np.maximum.reduceat(ill, layout.starts).astype(np.int64)
    return result


def even_risk(risk: Floats, n_steps: int) -> Floats:
    r"""Spread the risk within K steps over them, as a constant hazard would: (N,) -> (N, K).

    .. math:: r_k = 1 - (1 - r)^{k / K}

    The last column is the risk itself, bit for bit.
    """
    steps = np.arange(1, n_steps + 1) / n_steps
    with np.errstate(divide="ignore"):  # a risk of 1
        spread: Floats = -np.expm1(steps * np.log1p(-risk)[:, None])
    spread[:, -1] = risk
    return np.minimum(spread, risk[:, None])


def _require_columns(panel: pd.DataFrame, columns: list[Hashable], when: str) -> None:
    missing = [name for name in columns if name not in panel.columns]
    if missing:
        raise fail(
            "columns are missing",
            expected=f"columns {columns}, named for {when}",
            found=f"{list(panel.columns)}",
            advice=f"Missing: {missing}.",
            column=missing[0],
        )


def _require_both(labels: Labels) -> None:
    """Raise unless the event follows some of the rows to learn from, and not all."""
    outcome = labels.event[labels.eligible]
    if not len(outcome):
        told = [
            f"{rows} rows of {series} series: {why}"
            for why, (rows, series) in labels.excluded.items()
            if rows
        ]
        raise fail(
            "no row to learn from",
            expected="rows at risk whose horizon is known",
            found=f"none of {len(labels.event)} ({'; '.join(told)})",
            advice="Take a shorter horizon, more rows, or series whose event is not on from the "
            "beginning.",
        )
    n_events = int(outcome.sum())
    if n_events == 0:
        raise _one_sided(f"none behind any of {len(outcome)} rows", "no event in the training rows")
    if n_events == len(outcome):
        raise _one_sided(
            f"one behind all {n_events} rows", "nothing but events in the training rows"
        )


def _one_sided(found: str, problem: str) -> DataError:
    return fail(
        problem,
        expected="rows with an event behind them, and others without",
        found=found,
        advice="Check the event's column or rule, take a longer or shorter horizon, or more "
        "series.",
    )
