"""What an event network has to beat: classifiers on causal features, NEWS2, last values."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, callers_level, fail, first, positive_int
from tsforecast.data.early_warning import news2_inputs, news2_points
from tsforecast.data.labels import Labels
from tsforecast.data.panel import Floats, Ints, Layout, forward_fill, layout_of
from tsforecast.data.spans import is_whole, span
from tsforecast.estimators._events import PanelClassifier, even_risk
from tsforecast.estimators._params import draw_seeds
from tsforecast.estimators._rows import in_order
from tsforecast.estimators.features import CausalFeatures

__all__ = [
    "NEWS2",
    "BoostedBaseline",
    "FeatureClassifier",
    "LastValue",
    "LogisticBaseline",
    "rows_at",
]

Table = npt.NDArray[np.floating[Any]]  # (n, F), NaN where there is nothing to tell

_NANOSECONDS_AN_HOUR = 3_600_000_000_000
_ROWS_AT_ONCE = 50_000  # to classify: scikit-learn copies them to float64


class _OnTable(PanelClassifier):
    """Base: a classifier of scikit-learn on a table with a row for each row of the panel.

    A subclass gives `_table` and `_classifier`, and may learn in `_learn`.
    """

    at: Any = "every"
    max_rows: int | None = None
    random_state: Any = None

    def _fit(self, panel: pd.DataFrame, layout: Layout, labels: Labels) -> None:
        panel = panel[self.inputs_]
        self._learn(panel, layout)
        seed = draw_seeds(self.random_state, 1)[0]
        rows = rows_at(self.at, layout, labels.eligible)
        outcome = labels.event[rows].astype(np.int64)
        if not 0 < outcome.sum() < len(outcome):
            raise fail(
                "one outcome alone in the rows to learn from",
                expected=f"rows with the event behind them and others without, at={self.at!r}",
                found=f"{len(outcome)} rows, {int(outcome.sum())} of them with it",
                advice="Use at='every', or more series.",
            )
        drawn, self._odds = _draw(outcome, self.max_rows, seed)
        rows, outcome = rows[drawn], outcome[drawn]
        # by columns, as the table is made: a copy by rows would take longer than all the rest
        columns = self._table(panel, layout).T.take(rows, axis=1)
        self._kept = np.flatnonzero([not np.isnan(column).all() for column in columns])
        if not len(self._kept):
            raise fail(
                "no feature with a value",
                expected="a number in some column of the rows to learn from",
                found="only NaN",
                advice="Mend the source.",
            )
        table = (columns if len(self._kept) == len(columns) else columns[self._kept]).T
        self.classifier_ = self._classifier(table, seed).fit(table, outcome)

    def _risk(self, panel: pd.DataFrame, layout: Layout) -> Floats:
        table = self._table(panel, layout)
        risk = np.empty(layout.n_rows)
        for at in range(0, layout.n_rows, _ROWS_AT_ONCE):
            part = table[at : at + _ROWS_AT_ONCE, self._kept]
            risk[at : at + len(part)] = self.classifier_.predict_proba(part)[:, 1]
        if self._odds != 1.0:
            risk = self._odds * risk / (1.0 - risk + self._odds * risk)
        return even_risk(risk, self.n_steps_)

    def _learn(self, panel: pd.DataFrame, layout: Layout) -> None:
        pass

    @abstractmethod
    def _table(self, panel: pd.DataFrame, layout: Layout) -> Table: ...

    @abstractmethod
    def _classifier(self, table: Table, seed: int) -> Any: ...


class _OnFeatures(_OnTable):
    """Base: the table is one of features, by default `CausalFeatures`."""

    features: Any = None

    def _inputs(self, panel: pd.DataFrame) -> list[Hashable]:
        numbers = self._numbers(panel)
        columns = getattr(self.features, "columns", None)
        static = getattr(self.features, "static", None) or ()
        for name, value in (("columns", columns), ("static", static)):
            if isinstance(value, str):
                raise bad_parameter(name, expected="a list of names", found=value)
        return [*(numbers if columns is None else columns), *static]

    def _learn(self, panel: pd.DataFrame, layout: Layout) -> None:
        features = _default_features(panel, layout) if self.features is None else self.features
        self.features_ = clone(features).fit(panel)

    def _table(self, panel: pd.DataFrame, layout: Layout) -> Table:
        table: Table = np.asarray(self.features_.transform(panel))
        if table.ndim != 2 or len(table) != layout.n_rows:
            raise bad_parameter(
                "features",
                expected="a transformer that gives a row for each row of the panel",
                found=f"a table of shape {table.shape} for {layout.n_rows} rows",
            )
        return table


class FeatureClassifier(_OnFeatures):
    r"""Predict events with any classifier of scikit-learn on causal features of the rows.

    It learns whether the event falls within the horizon, from rows at risk whose horizon is
    known, one probability for each. Within the horizon that is spread as by a constant hazard,

    .. math:: r_k = 1 - (1 - r_K)^{k / K},

    so that ``risk_k`` is a convention for k < K, and learned for K alone.

    Parameters
    ----------
    estimator : classifier
        Cloned; with ``predict_proba``. It gets NaN where there is nothing to tell: what does not
        take it (scikit-learn's tag ``allow_nan``) wants an imputer before it, in a Pipeline.
        Do not weight classes: probabilities would be those of the weighted ones.
    event, label, horizon, step, competing, clear, min_history
        What is predicted; see `event_within`. An outcome of the stay has no horizon.
    group : column name, optional
        The patient of several stays.
    features : CausalFeatures or another transformer, optional
        Cloned; gives a table with a row for each row of the panel, from the rows of its series up
        to it. Default: `CausalFeatures` with a window of 6 hours (6 steps, where time is a whole
        number) of all columns of numbers, those that vary within no series of `fit` as constants.
        Columns of event, competing exits and group are no inputs, nor are outcomes that come with
        the public sets of stays.
    at : "every", "last" or time span
        Rows to learn from: all, the last one of each series, or its newest one up to so long after
        admission (after its first row, where time is a date; steps, where it is a whole number).
        With "every" a long stay counts by its rows.
    max_rows : int, optional
        Draw so many rows to learn from, where there are more: all those with the event behind
        them, up to half, and some of the others. The risks are those of all rows all the same:
        odds are scaled back by the shares drawn.
    random_state : int, RandomState, Generator or None
        For the draw, and for `estimator` where it has such a parameter that is None.

    Attributes
    ----------
    classifier_ : classifier
        Fitted on the features in which some row has a value.
    features_ : transformer
        Fitted.
    inputs_ : list of str
        Columns that the features are made of.
    n_steps_ : int
        K.
    classes_ : ndarray
        0 and 1.
    cutoff_ : time stamp
        Last time in `fit`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> panel = tsf.make_vitals(30, 48, random_state=0)
    >>> forest = RandomForestClassifier(20, min_samples_leaf=20, random_state=0)
    >>> model = FeatureClassifier(forest, event="deterioration", horizon="6h", step="1h")
    >>> risk = model.fit(panel).predict_risk(panel)
    >>> list(risk.columns)
    ['risk', 'risk_1', 'risk_2', 'risk_3', 'risk_4', 'risk_5', 'risk_6']
    """

    def __init__(
        self,
        estimator: Any,
        *,
        event: Any,
        label: Literal["onset", "outcome", "recurrent"] = "onset",
        horizon: Any = None,
        step: Any = None,
        competing: Hashable | None = None,
        clear: Any = None,
        min_history: int = 1,
        group: Hashable | None = None,
        features: Any = None,
        at: Any = "every",
        max_rows: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.event = event
        self.label = label
        self.horizon = horizon
        self.step = step
        self.competing = competing
        self.clear = clear
        self.min_history = min_history
        self.group = group
        self.features = features
        self.at = at
        self.max_rows = max_rows
        self.random_state = random_state

    def fit(self, panel: pd.DataFrame, y: None = None) -> Any:
        """Learn from the rows of `panel` that are at risk; see `PanelClassifier.fit`."""
        self._check()
        return super().fit(panel, y)

    def _check(self) -> None:
        estimator = self.estimator
        usable = hasattr(estimator, "fit") and hasattr(estimator, "predict_proba")
        if not usable or isinstance(estimator, type) or not is_classifier(estimator):
            raise bad_parameter(
                "estimator",
                expected="a classifier of scikit-learn with predict_proba",
                found=estimator,
                advice="For example estimator=RandomForestClassifier(min_samples_leaf=50).",
            )

    def _classifier(self, table: Table, seed: int) -> Any:
        classifier = clone(self.estimator)
        parameters = classifier.get_params(deep=False)
        if "random_state" in parameters and parameters["random_state"] is None:
            classifier.set_params(random_state=seed)
        return classifier


class BoostedBaseline(_OnFeatures):
    """Predict events with boosted trees on causal features: the bar, in most published comparisons.

    scikit-learn's `HistGradientBoostingClassifier`, which takes missing values as they are, with
    settings for a few hundred features of noisy labels: many small steps, small trees, leaves
    shrunk towards zero. Nothing is held out and classes are not weighted: the risks are
    probabilities. See `FeatureClassifier` for what is learned, and for the other parameters.

    Parameters
    ----------
    event, label, horizon, step, competing, clear, min_history, group, features, at
        See `FeatureClassifier`.
    learning_rate : float
    max_iter : int
        Trees.
    max_leaf_nodes : int
    min_samples_leaf : int
    l2_regularization : float
    max_features : float
        Share of the features among which a node looks for its split, drawn anew for each.
    max_rows : int, optional
        Rows to learn from, where there are more; see `FeatureClassifier`.
    random_state : int, RandomState, Generator or None
        For the draws of features and of rows.

    Attributes
    ----------
    classifier_, features_, inputs_, n_steps_, classes_, cutoff_
        See `FeatureClassifier`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_vitals(30, 48, random_state=0)
    >>> model = BoostedBaseline(event="deterioration", horizon="6h", max_iter=20)
    >>> model.fit(panel).predict_proba(panel).shape == (len(panel), 2)
    True
    """

    def __init__(
        self,
        *,
        event: Any,
        label: Literal["onset", "outcome", "recurrent"] = "onset",
        horizon: Any = None,
        step: Any = None,
        competing: Hashable | None = None,
        clear: Any = None,
        min_history: int = 1,
        group: Hashable | None = None,
        features: Any = None,
        at: Any = "every",
        learning_rate: float = 0.05,
        max_iter: int = 300,
        max_leaf_nodes: int = 15,
        min_samples_leaf: int = 20,
        l2_regularization: float = 10.0,
        max_features: float = 0.3,
        max_rows: int | None = 100_000,
        random_state: Any = None,
    ) -> None:
        self.event = event
        self.label = label
        self.horizon = horizon
        self.step = step
        self.competing = competing
        self.clear = clear
        self.min_history = min_history
        self.group = group
        self.features = features
        self.at = at
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.max_rows = max_rows
        self.random_state = random_state

    def _classifier(self, table: Table, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier  # half a second

        return HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.max_iter,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=self.min_samples_leaf,
            l2_regularization=self.l2_regularization,
            max_features=self.max_features,
            early_stopping=False,
            random_state=seed,
        )


class LogisticBaseline(_OnFeatures):
    """Predict events with a penalised logistic regression on causal features.

    Missing features are replaced by their medians and told as missing (one indicator for each
    pattern that features share); all are standardised, and cut where they lie beyond `clip`
    standard deviations. Classes are not weighted. See `FeatureClassifier` for what is learned, and
    for the other parameters.

    Parameters
    ----------
    event, label, horizon, step, competing, clear, min_history, group, features, at
        See `FeatureClassifier`.
    C : float
        Inverse strength of the penalty, as in scikit-learn's `LogisticRegression`.
    clip : float
        Standard deviations: vital signs and laboratory values have long tails.
    max_iter : int
        Steps of the solver, at most.
    max_rows : int, optional
        Rows to learn from, where there are more; see `FeatureClassifier`.
    random_state : int, RandomState, Generator or None
        For the draw of rows.

    Attributes
    ----------
    classifier_, features_, inputs_, n_steps_, classes_, cutoff_
        See `FeatureClassifier`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_vitals(30, 48, random_state=0)
    >>> model = LogisticBaseline(event="deterioration", horizon="6h")
    >>> float(model.fit(panel).predict_risk(panel)["risk"].max()) < 1
    True
    """

    def __init__(
        self,
        *,
        event: Any,
        label: Literal["onset", "outcome", "recurrent"] = "onset",
        horizon: Any = None,
        step: Any = None,
        competing: Hashable | None = None,
        clear: Any = None,
        min_history: int = 1,
        group: Hashable | None = None,
        features: Any = None,
        at: Any = "every",
        C: float = 0.003,
        clip: float = 3.0,
        max_iter: int = 200,
        max_rows: int | None = 100_000,
        random_state: Any = None,
    ) -> None:
        self.event = event
        self.label = label
        self.horizon = horizon
        self.step = step
        self.competing = competing
        self.clear = clear
        self.min_history = min_history
        self.group = group
        self.features = features
        self.at = at
        self.C = C
        self.clip = clip
        self.max_iter = max_iter
        self.max_rows = max_rows
        self.random_state = random_state

    def _classifier(self, table: Table, seed: int) -> Any:
        return _Logistic(C=self.C, clip=self.clip, max_iter=self.max_iter)


class LastValue(_OnTable):
    """Predict events from the last values of one or several columns alone, by logistic regression.

    What a rule such as "alarm when the pressure falls below 65" can know, as a probability: with
    one column the risk is a monotone function of its last value. Before the first value of a
    series the median stands in, and is told to be missing.

    Parameters
    ----------
    column : column name, or list of them
    event, label, horizon, step, competing, clear, min_history, group, at
        See `FeatureClassifier`. Unlike other inputs, `column` may be that of the event's rule.

    Attributes
    ----------
    classifier_, inputs_, n_steps_, classes_, cutoff_
        See `FeatureClassifier`.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_vitals(30, 48, random_state=0)
    >>> model = LastValue("map", event="deterioration", horizon="6h")
    >>> model.fit(panel).score(panel) > 0.6
    True
    """

    def __init__(
        self,
        column: Any,
        *,
        event: Any,
        label: Literal["onset", "outcome", "recurrent"] = "onset",
        horizon: Any = None,
        step: Any = None,
        competing: Hashable | None = None,
        clear: Any = None,
        min_history: int = 1,
        group: Hashable | None = None,
        at: Any = "every",
    ) -> None:
        self.column = column
        self.event = event
        self.label = label
        self.horizon = horizon
        self.step = step
        self.competing = competing
        self.clear = clear
        self.min_history = min_history
        self.group = group
        self.at = at

    def _inputs(self, panel: pd.DataFrame) -> list[Hashable]:
        names = list(self.column) if isinstance(self.column, list | tuple) else [self.column]
        if not names or len(set(names)) < len(names):
            raise bad_parameter(
                "column", expected="a column, or several, each once", found=self.column
            )
        for name in names:
            if name in panel and not isinstance(panel[name].dtype, np.dtype):
                raise bad_parameter("column", expected="columns of numbers", found=name)
        return names

    def _table(self, panel: pd.DataFrame, layout: Layout) -> Table:
        columns = (panel[name].to_numpy(dtype=np.float64) for name in self.inputs_)
        return np.stack([forward_fill(values, layout)[0] for values in columns], axis=1)

    def _classifier(self, table: Table, seed: int) -> Any:
        return _Logistic(C=1.0, clip=np.inf, max_iter=200)


class NEWS2(_OnTable):
    """Predict events from the NEWS2 score of a row, made a probability by logistic regression.

    The score (Royal College of Physicians, 2017; see `news2_points`) is what wards use. Its ranks
    are kept: the risk rises with the score, so that AUROC and alarms at a threshold are the
    score's own; the regression on training rows only says how likely an event is at each.

    Parameters
    ----------
    event, label, horizon, step, competing, clear, min_history, group, at
        See `FeatureClassifier`.
    names : dict, optional
        Columns of the parameters, where their names are not known; see `news2_points`.
    scale : {1, 2}
        Scale of the oxygen saturation.
    max_age : time span, optional
        How long a measured value counts; see `news2_points`.

    Attributes
    ----------
    missing_inputs_ : list of str
        Parameters of the score for which the panel of `fit` has no column: these give 0 points,
        and `fit` warns of them.
    classifier_, inputs_, n_steps_, classes_, cutoff_
        See `FeatureClassifier`.

    Warns
    -----
    UserWarning
        Where parameters of the score have no column, or the event is not more frequent at higher
        scores: the risk is then the same everywhere.

    Examples
    --------
    >>> import warnings
    >>> import tsforecast as tsf
    >>> panel = tsf.make_vitals(30, 48, random_state=0)
    >>> model = NEWS2(event="deterioration", horizon="6h")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     model = model.fit(panel)
    >>> "consciousness" in model.missing_inputs_
    True
    """

    def __init__(
        self,
        *,
        event: Any,
        label: Literal["onset", "outcome", "recurrent"] = "onset",
        horizon: Any = None,
        step: Any = None,
        competing: Hashable | None = None,
        clear: Any = None,
        min_history: int = 1,
        group: Hashable | None = None,
        at: Any = "every",
        names: Mapping[str, Any] | None = None,
        scale: Literal[1, 2] = 1,
        max_age: Any = None,
    ) -> None:
        self.event = event
        self.label = label
        self.horizon = horizon
        self.step = step
        self.competing = competing
        self.clear = clear
        self.min_history = min_history
        self.group = group
        self.at = at
        self.names = names
        self.scale = scale
        self.max_age = max_age

    def score_points(self, panel: pd.DataFrame) -> pd.Series:
        """Give the score of every row, 0 to 20, in the order of the rows of `panel`."""
        check_is_fitted(self)
        known, order = in_order(panel)
        layout = layout_of(known)
        points = self._table(self._select(known, layout), layout)[:, 0]
        series = pd.Series(points, index=known.index, name="news2")
        return series if order is None else series.iloc[order]

    def _inputs(self, panel: pd.DataFrame) -> list[Hashable]:
        self._names = news2_inputs(panel, names=self.names)
        return [column for columns in self._names.values() for column in columns]

    def _learn(self, panel: pd.DataFrame, layout: Layout) -> None:
        self.missing_inputs_ = [name for name, columns in self._names.items() if not columns]
        if self.missing_inputs_:
            warnings.warn(
                f"NEWS2 has no column for {first(self.missing_inputs_)}: these give 0 points, and "
                "the score is too low where they would give some. Name them with names=.",
                stacklevel=callers_level(),
            )

    def _table(self, panel: pd.DataFrame, layout: Layout) -> Table:
        points = news2_points(panel, names=self._names, scale=self.scale, max_age=self.max_age)
        return points[["total"]].to_numpy()

    def _classifier(self, table: Table, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return _Rising(LogisticRegression(C=np.inf))


class _Rising(ClassifierMixin, BaseEstimator):
    """A logistic regression whose risk does not fall in its one input."""

    def __init__(self, regression: Any) -> None:
        self.regression = regression

    def fit(self, X: Table, y: Ints) -> _Rising:
        self.classes_ = np.array([0, 1])
        self.regression_ = clone(self.regression).fit(X, y)
        if self.regression_.coef_[0, 0] < 0:
            warnings.warn(
                "The event is not more frequent at higher scores: the risk is the same everywhere.",
                stacklevel=callers_level(),
            )
            self.regression_.coef_[:] = 0.0
            self.regression_.intercept_[:] = logit(y.mean())
        return self

    def predict_proba(self, X: Table) -> Floats:
        return np.asarray(self.regression_.predict_proba(X))


class _Logistic(ClassifierMixin, BaseEstimator):
    """Medians for what is missing, and indicators of it; standardised, cut, and a regression.

    Parameters
    ----------
    C, max_iter
        See `LogisticBaseline`.
    clip : float
        Of the values, not of the indicators.
    """

    def __init__(self, *, C: float, clip: float, max_iter: int) -> None:
        self.C = C
        self.clip = clip
        self.max_iter = max_iter

    def fit(self, X: Table, y: Ints) -> _Logistic:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        if not self.clip > 0:
            raise bad_parameter("clip", expected="a number above 0", found=self.clip)
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = X.shape[1]
        self.medians_ = np.nanmedian(X, axis=0).astype(np.float64)
        self.patterns_ = np.array(_missing_patterns(X), dtype=np.int64)
        self.scaler_ = StandardScaler().fit(self._filled(X))
        regression = LogisticRegression(C=self.C, max_iter=self.max_iter)
        self.regression_ = regression.fit(self._standardised(X), y)
        return self

    def predict_proba(self, X: Table) -> Floats:
        return np.asarray(self.regression_.predict_proba(self._standardised(X)))

    def _filled(self, X: Table) -> Floats:
        missing = np.isnan(X)
        return np.hstack([np.where(missing, self.medians_, X), missing[:, self.patterns_]])

    def _standardised(self, X: Table) -> Floats:
        table = np.asarray(self.scaler_.transform(self._filled(X)))
        values = table[:, : self.n_features_in_]
        np.clip(values, -self.clip, self.clip, out=values)
        return table


def _missing_patterns(table: Table) -> list[int]:
    """Number the columns that are the first ones with their pattern of missing values."""
    columns: dict[bytes, int] = {}
    for j, column in enumerate(table.T):
        missing = np.isnan(column)
        if missing.any():
            columns.setdefault(np.packbits(missing).tobytes(), j)
    return list(columns.values())


def _default_features(panel: pd.DataFrame, layout: Layout) -> CausalFeatures:
    """All columns, those that vary within no series as constants; 6 hours, or steps."""
    clock = isinstance(layout.labels, pd.DatetimeIndex | pd.TimedeltaIndex)
    start = np.repeat(layout.starts, np.diff(layout.offsets))
    static = []
    for name in panel.columns if layout.n_rows > layout.n_series else ():
        values = panel[name].to_numpy()
        if not (values != values[start])[~(np.isnan(values) & np.isnan(values[start]))].any():
            static.append(name)
    return CausalFeatures(static=static, window="6h" if clock else 6)


def rows_at(at: Any, layout: Layout, eligible: npt.NDArray[np.bool_]) -> Ints:
    """Rows to learn from: those eligible, or the newest one of each series up to some time."""
    if isinstance(at, str) and at == "every":
        return np.flatnonzero(eligible)
    usable = eligible
    if not (isinstance(at, str) and at == "last"):
        usable = eligible & (_since_admission(layout) <= _hours("at", at, layout))
    newest = np.where(usable, np.arange(layout.n_rows), -1)
    rows = np.maximum.reduceat(newest, layout.starts)
    return rows[rows >= 0]


def _draw(outcome: Ints, most: int | None, seed: int) -> tuple[Ints, float]:
    """Draw rows to learn from, those with the event first; give what scales odds back as well.

    Rows with the event are rare: they are kept, up to half of all. Odds learned from a draw by
    outcome are too high by the ratio of the two shares drawn, and by nothing else (King & Zeng,
    Logistic regression in rare events data, 2001, eq. 7).
    """
    if most is None or len(outcome) <= positive_int("max_rows", most, least=2):
        return np.arange(len(outcome)), 1.0
    rng = np.random.default_rng(seed)
    without, with_event = np.flatnonzero(outcome == 0), np.flatnonzero(outcome)
    n_with = min(len(with_event), max(most // 2, most - len(without)))
    n_without = min(len(without), most - n_with)
    drawn = [
        rng.choice(rows, n, replace=False)
        for rows, n in ((without, n_without), (with_event, n_with))
    ]
    odds = (n_without / len(without)) / (n_with / len(with_event))
    return np.sort(np.concatenate(drawn)), odds


def _since_admission(layout: Layout) -> Floats:
    """Time since admission in hours, or steps; since the first row where time is a date."""
    labels = layout.labels
    if isinstance(labels, pd.DatetimeIndex):
        return layout.hours()
    passed = labels / pd.Timedelta(hours=1) if isinstance(labels, pd.TimedeltaIndex) else labels
    return layout.per_row(passed.to_numpy(dtype=np.float64))


def _hours(name: str, value: Any, layout: Layout) -> float:
    """Give a span of time in hours, or steps where time is a whole number."""
    try:
        length = span(name, value, layout)
    except ValueError:
        clock = isinstance(layout.labels, pd.DatetimeIndex | pd.TimedeltaIndex)
        spans = "a span of time above 0, such as '48h'" if clock else "a number of steps above 0"
        raise bad_parameter(name, expected=f"'every', 'last' or {spans}", found=value) from None
    return float(length) if is_whole(value) else length / _NANOSECONDS_AN_HOUR
