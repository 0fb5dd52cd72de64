"""What is kept of each class, what it must look like, and the two functions that use the table.

What is read is checked against the parameters before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.data.keys import Keys
from tsforecast.serving import _parts, _sound
from tsforecast.serving._classes import class_name, class_of
from tsforecast.serving._codec import Decoder, Encoder
from tsforecast.serving._sound import (
    BOOL,
    EMPTY_INDEX,
    LABELS,
    NAMES,
    NUMBER,
    WHOLE,
    Check,
    Fields,
    array,
    is_a,
    list_of,
    named,
    none_or,
    of_the_same_kind,
    positive,
)

__all__ = ["Recipes"]


@dataclass(frozen=True)
class _Recipe:
    """How a class is saved.

    Attributes
    ----------
    learned : dict of str to Check
        Attributes that `fit` sets and that are kept as they are, in the order in which they are
        put back. An estimator that lacks them all is saved unfitted.
    parts : callable, optional
        ``parts(object, tail)`` gives what else is kept, as a dict.
    restore : callable, optional
        ``restore(object, parts)`` puts it back.
    tail : tuple of str
        Attributes that hold rows, or what came of them: kept if asked for, else None.
    needed : callable, optional
        ``needed(object)`` names the learned attributes without which it is not a fitted one.
        Default: all.
    older : callable, optional
        ``older(learned, object)`` gives the learned attributes as of today, from what an earlier
        version has saved.
    make : callable, optional
        ``make(fields)`` in place of the constructor.
    """

    learned: Mapping[str, Check] = field(default_factory=dict)
    parts: Callable[[Any, bool], Fields] | None = None
    restore: Callable[[Any, Fields], None] | None = None
    tail: tuple[str, ...] = ()
    needed: Callable[[Any], Collection[str]] | None = None
    older: Callable[[Fields, Any], Fields] | None = None
    make: Callable[[Fields], Any] | None = None


def _table_rows(scaler: Any) -> int:
    """Rows of a scaler's tables: one for each series known, one for all others."""
    return 1 if scaler._series is None else len(scaler._series) + 1


def _n_columns(transform: Any) -> int:
    return len(transform.columns_)


def _n_features(model: Any) -> int:
    return int(model.n_features_in_)


_TRANSFORM = {"columns_": is_a(list), "feature_names_in_": LABELS}
_LIMITS: Check = lambda value, model: (  # noqa: E731
    array(_n_columns, finite=False)(value, model) and not np.isnan(value).any()
)
_THEIRS = {
    "n_features_in_": WHOLE,
    "feature_names_in_": LABELS,
    "n_samples_seen_": WHOLE,
}
_PANEL = {
    "targets_": NAMES,
    "_time_type": EMPTY_INDEX,
    "cutoff_": of_the_same_kind,
    "_span": is_a(dict),
    "_series": none_or(is_a(Keys)),
    "_series_type": lambda value, model: (
        value is None if model._series is None else EMPTY_INDEX(value, model)
    ),
}
_LAST = {"_time_step": named("TimeStep")}  # it makes an estimator a fitted one
_ERRORS = "_error_quantiles"


def _spreads(model: Any) -> int:
    """How many spreads are kept: one of each series, and one of all."""
    return 1 + (1 if model._series is None else len(model._series))


_BASELINE = {
    **_PANEL,
    "estimators_": lambda value, model: (
        isinstance(value, list)
        and [class_name(each) for each in value] == [class_name(model)] * len(model.targets_)
    ),
    _ERRORS: array(_spreads, lambda model: model.horizon, lambda model: len(model.levels)),
}
_LINES: dict[str, Check] = {
    "terms_": lambda value, model: list_of(str)(value, None) and value == model._names(),
    "_lines": array(
        lambda model: _spreads(model) if model.by == "series" else 1,
        lambda model: model.horizon,
        lambda model: 1 + len(model.terms_),
    ),
    "_usual": array(lambda model: len(model.terms_)),
    "coef_": array(lambda model: model.horizon, lambda model: len(model.terms_)),
    "intercept_": array(lambda model: model.horizon),
}


def _baseline(
    more: Mapping[str, Check] = MappingProxyType({}),
    *,
    errors: bool | Callable[[Any], bool] = True,
    **learned: Check,
) -> _Recipe:
    learned = {**more, **learned}
    known = {name: check for name, check in _BASELINE.items() if errors or name != _ERRORS}

    def needed(model: Any) -> Collection[str]:
        several = len(model.targets_) > 1
        left_out = (_ERRORS, *learned) if several else ("estimators_",)
        if callable(errors) and not errors(model):
            left_out = (*left_out, _ERRORS, "_smearing")
        return {*known, *learned, *_LAST, "_tail"} - set(left_out)

    return _Recipe(
        {**known, **learned, **_LAST},
        tail=("_tail",),
        restore=_parts.check_baseline,
        needed=needed,
    )


_LINEAR = {
    **_THEIRS,
    "coef_": lambda value, model: (
        isinstance(value, np.ndarray)
        and value.dtype in (np.float64, np.float32)  # as of what it was fitted on
        and value.shape[-1:] == (model.n_features_in_,)
        and bool(np.isfinite(value).all())
    ),
    "intercept_": lambda value, model: bool(np.isfinite(value).all()),
}


def _scaler(*names: str, **more: Check) -> _Recipe:
    """Give the recipe of a scaler of scikit-learn with a number for each column."""
    numbers = {name: none_or(array(_n_features)) for name in names}
    return _Recipe(
        {**_THEIRS, **numbers, **more}, needed=lambda scaler: names, restore=_parts.try_scaler
    )


_FORECASTER = {
    **_PANEL,
    "history_": is_a(pd.DataFrame),
    "best_epochs_": list_of(int, at_least=1),
    "interrupted_": BOOL,
    "_seen": named("Seen"),
    **_LAST,
}
_POSITIONS = {name: check for name, check in _FORECASTER.items() if name != "_seen"}
_CONFORMAL: dict[str, Check] = {
    **_PANEL,
    "n_scores_": array(
        lambda model: len(model.targets_), lambda model: model.horizon, dtype="int64"
    ),
    "_scores": named("Scores"),
    "_now": named("Scores"),
    "_least": lambda value, model: (
        array(_spreads, len(model.targets_), model.horizon)(value, model) and (value >= 0).all()
    ),
    **_LAST,
}
_CLASSES: Check = lambda value, model: (  # noqa: E731
    isinstance(value, np.ndarray) and value.ndim == 1 and len(value) >= 1
)
_SAMPLES = {
    "n_features_in_": WHOLE,
    "feature_names_in_": LABELS,
    "n_steps_": lambda value, model: isinstance(value, int) and value >= 1,
    "_centre": array(lambda model: model.n_features_in_ // model.n_steps_),
    "_base": array(None),
    "_unit": array(lambda model: len(model._base)),
    "history_": is_a(pd.DataFrame),
    "n_iter_": WHOLE,
    "best_epoch_": WHOLE,
    "interrupted_": BOOL,
}
_EVENTS = {
    "inputs_": NAMES,
    "n_steps_": lambda value, model: type(value) is int and 1 <= value <= 10**6,
    "classes_": array(2, dtype="int64"),
    "_categories": is_a(list),
    **{name: check for name, check in _PANEL.items() if name not in ("targets_", "_span")},
    "_span": is_a(dict),
}
_TABLE = {
    **_EVENTS,
    "_kept": array(None, dtype="int64"),
    "_odds": lambda value, model: NUMBER(value, model) and value > 0,
}


def _on_table(**learned: Check) -> _Recipe:
    """Give the recipe of an event estimator that is a classifier on a table."""
    return _Recipe({**_TABLE, **learned}, parts=_parts.of_table, restore=_parts.restore_table)


_ON_FEATURES = _on_table(features_=named("CausalFeatures", "Pipeline"))
_CLASSIFIER = {
    **_EVENTS,
    "history_": is_a(pd.DataFrame),
    "best_epochs_": list_of(int, at_least=1),
    "interrupted_": BOOL,
}
_RECIPES: dict[str, _Recipe] = {
    # transforms
    "Log": _Recipe(_TRANSFORM),
    "LogReturn": _Recipe(_TRANSFORM),
    "Clip": _Recipe(_TRANSFORM),
    "Bounded": _Recipe(_TRANSFORM),
    "SeriesScaler": _Recipe(
        {
            **_TRANSFORM,
            "_series": none_or(is_a(Keys)),
            "_location": array(_table_rows, _n_columns),
            "_scale": positive(_table_rows, _n_columns),
        },
    ),
    "PlausibleRange": _Recipe({**_TRANSFORM, "_low": _LIMITS, "_high": _LIMITS}),
    "ForwardFill": _Recipe(_TRANSFORM),
    "FillNormal": _Recipe({**_TRANSFORM, "_usual": array(_n_columns, finite=False)}),
    "LogSkewed": _Recipe(
        {
            **_TRANSFORM,
            "skewed_": is_a(list),
            "_floor": positive(lambda transform: len(transform.skewed_)),
        },
    ),
    "Missingness": _Recipe(_TRANSFORM),
    "StandardScaler": _scaler(
        "mean_", "var_", "scale_", n_samples_seen_=is_a(int, float, np.ndarray)
    ),
    "MinMaxScaler": _scaler("min_", "scale_"),
    "MaxAbsScaler": _scaler("scale_"),
    "RobustScaler": _scaler("center_", "scale_"),
    "PowerTransformer": _scaler("lambdas_", _scaler=named("StandardScaler")),
    "Pipeline": _Recipe(parts=_parts.of_pipeline, restore=_parts.check_pipeline),
    "FrozenEstimator": _Recipe(),
    # records
    "RunningScale": _Recipe(),
    "Point": _Recipe(),
    "Quantiles": _Recipe(),
    "Gaussian": _Recipe(),
    "StudentT": _Recipe(),
    "Poisson": _Recipe(),
    "NegativeBinomial": _Recipe(),
    "Bernoulli": _Recipe(),
    "Training": _Recipe(),
    "Event": _Recipe(parts=_parts.of_rule, make=_parts.make_rule),
    "AlarmPolicy": _Recipe(),
    "AlarmState": _Recipe(restore=_sound.check_alarm_state),
    "RiskMap": _Recipe(restore=_sound.check_risk_map),
    "Keys": _Recipe(restore=_sound.check_keys),
    "Seen": _Recipe(restore=_sound.check_seen),
    "StaticTable": _Recipe(restore=_sound.check_statics),
    "TimeStep": _Recipe(restore=_sound.check_step),
    "Sessions": _Recipe(restore=_sound.check_sessions),
    "ExchangeSessions": _Recipe(restore=_sound.check_exchange),
    "Layout": _Recipe(restore=_sound.check_layout),
    "Rows": _Recipe(restore=_sound.check_rows),
    "KnownRows": _Recipe(restore=_sound.check_known_rows),
    "_Beside": _Recipe(restore=_sound.check_beside),
    "Known": _Recipe(restore=_sound.check_known),
    "Scores": _Recipe(restore=_sound.check_scores),
    "CombinedRows": _Recipe(restore=_sound.check_combined_rows),
    "ConformalRows": _Recipe(restore=_sound.check_conformal_rows),
    "BoostedTrees": _Recipe(),
    "TargetTransform": _Recipe(parts=_parts.of_chain, make=_parts.make_chain),
    # estimators
    "Naive": _baseline(),
    "SeasonalNaive": _baseline(),
    "Drift": _baseline(),
    "EWMA": _baseline(alpha_=NUMBER),
    "RandomWalk": _baseline(errors=False, _variance=NUMBER),
    "HAR": replace(_baseline(_LINES), older=_parts.older_har),
    "LogHAR": _baseline(_LINES, _smearing=positive(_spreads, lambda model: model.horizon)),
    "FilteredHistorical": _Recipe(
        {
            **_PANEL,
            "volatility_": lambda value, model: class_name(value) == class_name(model.volatility),
            "_centre": array(_spreads),
            "_spread": array(_spreads, lambda model: model.horizon),
            "_quantiles": array(
                _spreads, lambda model: model.horizon, lambda model: len(model.levels)
            ),
            "_least": NUMBER,
            **_LAST,
        },
        restore=_parts.restore_filtered,
    ),
    "GARCH": _baseline(
        errors=lambda model: model.returns is not None,
        converged_=list_of(bool),
        _law=array(_spreads, lambda model: len(model._names())),
        _start=positive(_spreads),
        _falls=positive(_spreads),
        _smearing=array(_spreads, lambda model: model.horizon),
    ),
    "LagRegressor": replace(
        _baseline(
            _chain=named("TargetTransform"),
            _location=array(None),
            _scale=positive(lambda model: len(model._location)),
            _unit=NUMBER,
            _offset=NUMBER,
        ),
        parts=_parts.of_regression,
        restore=_parts.restore_regression,
    ),
    **{
        name: _Recipe(_LINEAR, needed=lambda model: ("coef_", "intercept_"))
        for name in _parts.REGRESSORS
    },
    "HistGradientBoostingRegressor": _Recipe(parts=_parts.of_boosting),
    "HistGradientBoostingClassifier": _Recipe(parts=_parts.of_boosting),
    "LogisticRegression": _Recipe(
        {**_LINEAR, "classes_": _CLASSES},
        needed=lambda model: ("coef_", "intercept_", "classes_", "n_features_in_"),
    ),
    "SimpleImputer": _Recipe(parts=_parts.of_imputer, restore=_parts.restore_imputer),
    "CausalFeatures": _Recipe(
        {
            "columns_": is_a(list),
            "_static": is_a(list),
            "feature_names_in_": LABELS,
            "n_features_in_": WHOLE,
        },
    ),
    "_Logistic": _Recipe(
        {
            "classes_": array(2, dtype="int64"),
            "n_features_in_": WHOLE,
            "medians_": array(_n_features),
            "patterns_": array(None, dtype="int64"),
            "scaler_": named("StandardScaler"),
            "regression_": named("LogisticRegression"),
        },
    ),
    "_Rising": _Recipe(
        {"classes_": array(2, dtype="int64"), "regression_": named("LogisticRegression")}
    ),
    "FeatureClassifier": _ON_FEATURES,
    "BoostedBaseline": _ON_FEATURES,
    "LogisticBaseline": _ON_FEATURES,
    "LastValue": _on_table(),
    "NEWS2": _on_table(_names=is_a(dict), missing_inputs_=list_of(str)),
    "CalibratedEvents": _Recipe(
        {**_EVENTS, "map_": named("RiskMap")},
        parts=_parts.of_calibrated,
        restore=_parts.restore_calibrated,
    ),
    "EventClassifier": _Recipe(
        _CLASSIFIER, parts=_parts.of_classifier, restore=_parts.restore_classifier
    ),
    "Combination": _Recipe(
        {
            **_PANEL,
            "estimators_": lambda value, model: (
                isinstance(value, dict)
                and list(value) == list(model.estimators)
                and list(map(class_name, value.values()))
                == list(map(class_name, model.estimators.values()))
            ),
            **_LAST,
        },
        restore=_parts.restore_combination,
    ),
    "ConformalForecaster": _Recipe(
        _CONFORMAL,
        parts=_parts.of_conformal,
        restore=_parts.restore_conformal,
        tail=("_tail", "_rows", "_newest"),
        needed=lambda model: {*_CONFORMAL, "_tail", "_rows", "_newest"},
    ),
    "RecurrentForecaster": _Recipe(
        _FORECASTER,
        parts=_parts.of_forecaster,
        restore=_parts.restore_forecaster,
        tail=("_tail", "_raw_tail"),
        needed=lambda model: (
            {*_FORECASTER, "_tail"} | ({"_raw_tail"} if model._columns_of("future") else set())
        ),
    ),
    "PositionEstimator": _Recipe(
        _POSITIONS,
        parts=_parts.of_positions,
        restore=_parts.restore_positions,
        tail=("_tail",),
        needed=lambda model: {*_POSITIONS, "_tail"},
    ),
    "RecurrentRegressor": _Recipe(
        {**_SAMPLES, "_plain": BOOL},
        parts=_parts.of_arrays,
        restore=_parts.restore_arrays,
        needed=lambda model: {*_SAMPLES, "_plain"} - {"feature_names_in_"},
    ),
    "RecurrentClassifier": _Recipe(
        {**_SAMPLES, "classes_": _CLASSES, "_multilabel": BOOL},
        parts=_parts.of_arrays,
        restore=_parts.restore_arrays,
        needed=lambda model: {*_SAMPLES, "classes_", "_multilabel"} - {"feature_names_in_"},
    ),
    "Stream": _Recipe(parts=_parts.of_stream, make=_parts.make_stream),
}


class Recipes:
    """The two functions that `Encoder` and `Decoder` ask for objects.

    Parameters
    ----------
    tail : bool
        Whether rows are kept.
    """

    def __init__(self, *, tail: bool = False) -> None:
        self.tail = tail

    def encode(self, value: Any, encoder: Encoder, path: str) -> tuple[str, Fields] | None:
        """Give the name of a value's class and its fields; None for a class that is not known."""
        name = class_name(value)
        if name is None:
            return None
        return name, self.fields(value, encoder, path)

    def fields(self, value: Any, encoder: Encoder, path: str) -> Fields:
        """Take an object of a known class apart.

        Raises
        ------
        UnsaveableError
            If a part is of no kind that can be saved.
        """
        recipe = _RECIPES[type(value).__name__]
        given: Fields = {}
        if recipe.make is None:
            given = {"parameters": _encoded(encoder, _parameters(value), path)}
        kept = {name: vars(value)[name] for name in recipe.learned if name in vars(value)}
        for name in recipe.tail:
            if name in vars(value):
                kept[name] = vars(value)[name] if self.tail else None
        if recipe.learned and kept:
            given["learned"] = _encoded(encoder, kept, path)
        if recipe.parts is not None:
            given["parts"] = _encoded(encoder, recipe.parts(value, self.tail), path)
        return given

    def decode(self, name: str, fields: Fields, decoder: Decoder) -> Any:
        """Make an object of a class of the table, checking every part of it."""
        recipe = _RECIPES[name]
        if recipe.make is not None:
            return recipe.make(_decoded(decoder, fields["parts"]))
        kind = class_of(name)
        made = kind(**_decoded(decoder, fields["parameters"]))
        learned = fields.get("learned", {})
        for attribute in learned:
            if attribute not in recipe.learned and attribute not in recipe.tail:
                raise KeyError(attribute)
        values = _decoded(decoder, learned)
        if recipe.older is not None:
            values = recipe.older(values, made)
        for attribute, check in recipe.learned.items():
            if attribute in values:
                if not check(values[attribute], made):
                    raise ValueError(f"{name}.{attribute} of another kind or size")
                setattr(made, attribute, values[attribute])
        for attribute in recipe.tail:
            if attribute in values:
                setattr(made, attribute, values[attribute])
        if learned:
            needed = recipe.learned if recipe.needed is None else recipe.needed(made)
            if lost := set(needed) - set(vars(made)):
                raise ValueError(f"{name} without {min(lost)}")
        if recipe.restore is not None:
            recipe.restore(made, _decoded(decoder, fields.get("parts", {})))
        return made


def _parameters(value: Any) -> Fields:
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    params: Fields = value.get_params(deep=False)
    return params


def _encoded(encoder: Encoder, values: Fields, path: str) -> Fields:
    return {name: encoder(value, f"{path}.{name}") for name, value in values.items()}


def _decoded(decoder: Decoder, trees: Any) -> Fields:
    if not isinstance(trees, dict) or not all(isinstance(name, str) for name in trees):
        raise TypeError("no fields where they are expected")
    return {name: decoder(tree) for name, tree in trees.items()}
