"""What a class keeps beside its attributes, and how it is put together again from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tsforecast.serving._classes import class_name
from tsforecast.serving._codec import UnsaveableError, is_tensor
from tsforecast.serving._sound import (
    EMPTY_INDEX,
    NAMES,
    NUMBER,
    WHOLE,
    Fields,
    array,
    list_of,
    of_the_same_kind,
)

__all__ = [
    "REGRESSORS",
    "check_baseline",
    "check_pipeline",
    "make_chain",
    "make_rule",
    "make_stream",
    "of_arrays",
    "of_boosting",
    "of_calibrated",
    "of_chain",
    "of_classifier",
    "of_conformal",
    "of_forecaster",
    "of_imputer",
    "of_pipeline",
    "of_positions",
    "of_regression",
    "of_rule",
    "of_stream",
    "of_table",
    "older_har",
    "restore_arrays",
    "restore_calibrated",
    "restore_classifier",
    "restore_combination",
    "restore_conformal",
    "restore_filtered",
    "restore_forecaster",
    "restore_imputer",
    "restore_positions",
    "restore_regression",
    "restore_table",
    "try_scaler",
]

REGRESSORS = ("Ridge", "LinearRegression", "Lasso", "ElasticNet")
_CLASSIFIERS = ("BoostedTrees", "LogisticRegression", "Pipeline", "_Logistic", "_Rising")
_LONGEST_RULE = 1000  # letters


def check_baseline(model: Any, parts: Fields) -> None:
    if "_time_step" in vars(model):
        model._levels, model._memory  # noqa: B018  # refuse parameters of other types
        check_tail(model, "KnownRows" if len(model.targets_) == 1 else "_Beside")


def older_har(learned: Fields, model: Any) -> Fields:
    """Give a HAR of one line for all series, without further columns, the names of its terms."""
    if "coef_" not in learned or "_lines" in learned:
        return learned
    coefficients, intercept = learned["coef_"], learned["intercept_"]
    lines = np.column_stack([intercept, coefficients])[None]
    terms = [f"{learned['targets_'][0]} {lag}" for lag in model.lags]
    return {**learned, "terms_": terms, "_lines": lines, "_usual": np.zeros(len(terms))}


def check_tail(model: Any, kind: str) -> None:
    if model._tail is not None and class_name(model._tail) != kind:
        raise ValueError("rows of another kind")


def try_scaler(scaler: Any, parts: Fields) -> None:
    """Refuse a fitted scaler that gives no finite numbers."""
    if not hasattr(scaler, "n_features_in_"):
        return
    names = getattr(scaler, "feature_names_in_", None)
    row = pd.DataFrame(np.ones((1, scaler.n_features_in_)), columns=names)
    back = scaler.inverse_transform(scaler.transform(row))
    if not np.isfinite(np.asarray(back)).all():
        raise ValueError("a scaler without finite numbers")


def of_chain(chain: Any, tail: bool) -> Fields:
    return {
        "fitted": chain.fitted,
        "columns": chain.columns,
        "n_targets": chain.n_targets,
        "widths": chain._widths,
    }


def make_chain(parts: Fields) -> Any:
    from tsforecast.data.pipeline import TargetTransform, steps

    fitted = parts["fitted"]
    known = all(class_name(step) is not None for step in steps(fitted))
    counted = list_of(int)(parts["widths"], None) and len(parts["widths"]) == len(steps(fitted))
    if not (known and counted and NAMES(parts["columns"], None) and WHOLE(parts["n_targets"], 0)):
        raise ValueError("a transform of another kind")
    if fitted is not None:
        check_is_fitted(fitted)
    return TargetTransform.restored(fitted, parts["columns"], parts["n_targets"], parts["widths"])


def of_forecaster(model: Any, tail: bool) -> Fields:
    if not hasattr(model, "_time_step"):
        return {}
    made, members = model._preparation, model._members
    return {
        "chain": made.chain,
        "baseline": made.baseline_,
        "prior": made.prior,
        "fill": made.fill,
        "domain": getattr(made, "_domain", None),
        "static": made._static,
        "smear": members._smear,
        "dependence": members._dependence,
        "known": members.known if tail else None,
        "networks": [dict(network.state_dict()) for network in model.networks_],
    }


def restore_forecaster(model: Any, parts: Fields) -> None:
    from tsforecast.estimators._members import Members

    if not hasattr(model, "_time_step"):
        return
    model._check_parameters()
    columns, k, horizon = model._columns(), len(model.targets_), model.horizon
    made = model._preparation = model._new_preparation()
    made.chain, made.baseline_ = parts["chain"], parts["baseline"]
    made.prior, made.fill, made._static = parts["prior"], parts["fill"], parts["static"]
    inputs = columns[: len(made.inputs)]
    domain = parts["domain"]
    sound = (
        class_name(made.chain) == "TargetTransform"
        and made.chain.columns == inputs == made.inputs
        and made.chain.n_targets == k
        and array(k)(made.prior, None)
        and array(len(inputs))(made.fill, None)
        and class_name(made._static) == "StaticTable"
        and sorted([*made._static.numbers, *made._static.categories], key=str) == made.static
        and (made.baseline_ is None) == (domain is None)
        and array(None, k, horizon)(parts["smear"], None)
        and len(parts["smear"]) > 0
        and array(None, k * horizon)(parts["dependence"], None)
        and 1 <= len(parts["networks"]) == len(model.best_epochs_) <= model.n_members
        and (parts["known"] is None or class_name(parts["known"]) == "Known")
        and (getattr(model, "_raw_tail", None) is None or model._tail is not None)
    )
    check_tail(model, "Rows")
    if not sound:
        raise ValueError("parts that do not fit the parameters")
    if domain is not None:
        if not array(k, 2, finite=False)(domain, None) or class_name(made.baseline_) != class_name(
            model.baseline
        ):
            raise ValueError("another baseline than the parameter")
        check_is_fitted(made.baseline_)
        made._domain = domain
    model.transform_, model.baseline_ = made.chain.fitted, made.baseline_
    model.networks_ = [_network(model, tensors) for tensors in parts["networks"]]
    members = Members(
        model.networks_,
        made.chain,
        model._least_history,
        model._window_shape(),
        known=parts["known"],
    )
    members._smear, members._dependence = parts["smear"], parts["dependence"]
    model._members = members
    model._stop = model._row_weights = model._start = None


def _network(model: Any, tensors: Any) -> Any:
    """A network of a forecaster."""
    from tsforecast.nn.heads import as_head
    from tsforecast.nn.network import InputScale

    k, size = len(model.targets_), model._preparation.features.size
    numbers = len(model._preparation._static.numbers)
    error_scale, start = _doubles(tensors, "error_scale"), as_head(model.head).start
    if error_scale.shape != (k, model.horizon):
        raise ValueError("weights of another horizon")
    steps = np.zeros((1, model.horizon))
    return _laid_out(
        model,
        tensors,
        lambda: model._new_network(
            scale=InputScale(_doubles(tensors, "location"), _doubles(tensors, "gain")),
            static=InputScale(
                _doubles(tensors, "static_location"), _doubles(tensors, "static_gain")
            ),
            error_scale=error_scale,
            start=tensors["start"],
            init="torch",
        ),
        {
            **dict.fromkeys(("location", "gain"), (size,)),
            **dict.fromkeys(("static_location", "static_gain"), (numbers,)),
            "start": (k, *start(steps, steps, steps + 1).shape),
            "error_scale": (k, model.horizon),
        },
    )


def _doubles(tensors: Any, name: str) -> Any:
    if not all(is_tensor(tensor) for tensor in tensors.values()):
        raise ValueError("weights of another kind")
    return tensors[name].double().numpy()


def _laid_out(
    model: Any,
    tensors: Mapping[str, Any],
    network: Callable[[], Any],
    buffers: dict[str, tuple[int, ...]],
) -> Any:
    """Lay out a network without memory, compare it with what was read, and fill it.

    Parameters
    ----------
    model : estimator
        Whose parameters say how.
    tensors : mapping of str to Tensor
    network : callable
        Makes it.
    buffers : mapping of str to tuple
        Shapes of its buffers, which it has from `tensors`.
    """
    import torch

    n_layers = sum(name.startswith("cells.layers.") for name in tensors)
    if n_layers != 4 * len(model.hidden_sizes):
        raise ValueError("weights of other layers")
    with torch.device("meta"):
        made = network()
    wanted = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()} | buffers
    if wanted != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
        raise ValueError("weights of other names or shapes")
    for tensor in tensors.values():
        if tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()):
            raise ValueError("weights that are no finite numbers")
    made.load_state_dict(dict(tensors), strict=True, assign=True)
    for weight in made.parameters():
        weight.requires_grad_(True)
    return made.eval()


def of_arrays(model: Any, tail: bool) -> Fields:
    if not hasattr(model, "network_"):
        return {}
    return {"network": dict(model.network_.state_dict())}


def restore_arrays(model: Any, parts: Fields) -> None:
    if not parts:
        if hasattr(model, "n_steps_"):
            raise ValueError("no network")
        return
    from tsforecast.nn.network import InputScale

    model._check_parameters()
    tensors = parts["network"]
    gain, start = (_doubles(tensors, name) for name in ("gain", "start"))
    head = model._head()
    k, numbers = len(model._base), head.start(np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1)))
    if len(gain) * model.n_steps_ != model.n_features_in_ or len(start) != k:
        raise ValueError("weights of another size")
    model.network_ = _laid_out(
        model,
        tensors,
        lambda: model._new_network(
            InputScale(np.zeros(len(gain)), gain), head, tensors["start"], init="torch"
        ),
        {
            **{name: (len(gain),) for name in ("location", "gain")},
            **dict.fromkeys(("static_location", "static_gain"), (0,)),
            "start": (k, *numbers.shape),
            "error_scale": (k, 1),
        },
    )


def of_pipeline(chain: Any, tail: bool) -> Fields:
    if chain.memory is not None:
        raise UnsaveableError("cannot save a Pipeline with memory, which reads files by pickle.")
    return {}


def check_pipeline(chain: Any, parts: Fields) -> None:
    if chain.memory is not None or not all(
        isinstance(step, tuple) and len(step) == 2 for step in chain.steps
    ):
        raise ValueError("a Pipeline of another kind")


def of_boosting(model: Any, tail: bool) -> Fields:
    if hasattr(model, "_predictors"):
        raise UnsaveableError(f"cannot save a fitted {type(model).__name__} by itself.")
    return {}


def of_regression(model: Any, tail: bool) -> Fields:
    from tsforecast.estimators.trees import BoostedTrees

    regressors = getattr(model, "regressors_", None)
    if regressors is None:
        return {}
    for each in regressors:
        if class_name(each) not in (*REGRESSORS, "HistGradientBoostingRegressor", "BoostedTrees"):
            raise UnsaveableError(
                f"cannot save LagRegressor.estimator: expected {', '.join(REGRESSORS)} or "
                f"HistGradientBoostingRegressor, found {type(each).__name__}."
            )
    trees = [class_name(each) == "HistGradientBoostingRegressor" for each in regressors]
    try:
        kept = [BoostedTrees.of(one) if tree else one for one, tree in zip(regressors, trees)]
    except ValueError as error:
        raise UnsaveableError(f"cannot save LagRegressor: {error}") from None
    return {"regressors": kept}


def restore_regression(model: Any, parts: Fields) -> None:
    if not hasattr(model, "_time_step"):
        return
    n_lags = model.lags if isinstance(model.lags, int) else len(model.lags)
    for each in getattr(model, "estimators_", [model]):
        # before any array of lags is made
        if n_lags * len(each._columns()) != len(each._location):
            raise ValueError("other lags than were learned")
    check_baseline(model, parts)
    if not hasattr(model, "_chain"):
        return
    regressors = parts["regressors"]
    if not list_of(object, at_least=1)(regressors, None) or not all(
        class_name(each) in (*REGRESSORS, "BoostedTrees") for each in regressors
    ):
        raise ValueError("regressors of another kind")
    width = len(model._location)
    if any(getattr(each, "n_features_in_", width) != width for each in regressors) or any(
        getattr(each, "n_features", width) != width for each in regressors
    ):
        raise ValueError("regressors of other columns")
    rows = np.zeros((1, width))
    shape = {1: [(1, model.horizon)]}.get(len(regressors), [(1,)] * model.horizon)
    found = [np.shape(each.predict(rows)) for each in regressors]
    if found != shape and not (model.horizon == 1 and found in ([(1,)], [(1, 1)])):
        raise ValueError("regressors of another size")
    model.regressors_ = regressors


def restore_filtered(model: Any, parts: Fields) -> None:
    if not hasattr(model, "_time_step"):
        return
    fitted = model.volatility_
    check_is_fitted(fitted)
    one = len(model.targets_) == len(fitted.targets_) == 1
    if not (one and fitted.horizon == model.horizon and model._least > 0):
        raise ValueError("a forecaster of another horizon")
    model._tail = fitted._tail


def of_rule(event: Any, tail: bool) -> Fields:
    return {"rule": event.rule, "for_": event.for_, "max_age": event.max_age}


def make_rule(parts: Fields) -> Any:
    from tsforecast.data.event_rules import Event

    if not isinstance(parts["rule"], str) or len(parts["rule"]) > _LONGEST_RULE:
        raise ValueError("a rule of another kind")
    return Event(parts["rule"], parts["for_"], max_age=parts["max_age"])


def of_imputer(imputer: Any, tail: bool) -> Fields:
    if not hasattr(imputer, "statistics_"):
        return {}
    if imputer.add_indicator or imputer.statistics_.dtype.kind != "f":
        raise UnsaveableError("cannot save a fitted SimpleImputer with indicators, or of text.")
    names = getattr(imputer, "feature_names_in_", None)
    return {"statistics": imputer.statistics_.astype(np.float64), "names": names}


def restore_imputer(imputer: Any, parts: Fields) -> None:
    if not parts:
        return
    if imputer.add_indicator or not array(None, finite=False)(parts["statistics"], None):
        raise ValueError("an imputer of another kind")
    # of one row its statistics are that row
    row = parts["statistics"][None]
    names = parts["names"]
    imputer.fit(row if names is None else pd.DataFrame(row, columns=names))


def _is_fitted_event(model: Any) -> bool:
    return "_span" in vars(model)


def of_table(model: Any, tail: bool) -> Fields:
    from tsforecast.estimators.trees import BoostedTrees

    if not _is_fitted_event(model):
        return {}
    classifier = model.classifier_
    name = class_name(classifier)
    if name == "HistGradientBoostingClassifier":
        try:
            classifier = BoostedTrees.of(classifier)
        except ValueError as error:
            raise UnsaveableError(f"cannot save {type(model).__name__}: {error}") from None
    elif name not in _CLASSIFIERS:
        raise UnsaveableError(
            f"cannot save {type(model).__name__}.estimator: expected LogisticRegression, "
            "HistGradientBoostingClassifier, or a Pipeline of scalers, SimpleImputer and "
            f"LogisticRegression, found {type(classifier).__name__}."
        )
    return {"classifier": classifier}


def restore_table(model: Any, parts: Fields) -> None:
    if not _is_fitted_event(model):
        return
    classifier, kept = parts["classifier"], model._kept
    features: Any = getattr(model, "features_", None)
    width = {"LastValue": len(model.inputs_), "NEWS2": 1}.get(type(model).__name__)
    if class_name(features) == "CausalFeatures":
        width = len(features.get_feature_names_out())
    sound = (
        class_name(classifier) in _CLASSIFIERS
        and getattr(classifier, "link", "logit") == "logit"
        and getattr(classifier, "n_features", len(kept)) == len(kept) > 0
        and kept[0] >= 0
        and bool((np.diff(kept) > 0).all())
        and (width is None or kept[-1] < width)
    )
    if not sound:
        raise ValueError("a classifier of other features")
    said = classifier.predict_proba(np.zeros((1, len(kept)), dtype=np.float32))
    if np.shape(said) != (1, 2) or not np.isfinite(said).all():
        raise ValueError("a classifier without two probabilities")
    model.classifier_ = classifier


def of_calibrated(model: Any, tail: bool) -> Fields:
    if not _is_fitted_event(model):
        return {}
    return {"estimator": None if model._frozen else model.estimator_}


def restore_calibrated(model: Any, parts: Fields) -> None:
    if not _is_fitted_event(model):
        return
    fitted = model.estimator if model._frozen else parts["estimator"]
    if not hasattr(fitted, "predict_risk") or not hasattr(model.estimator, "predict_risk"):
        raise ValueError("no event estimator")
    check_is_fitted(fitted)
    if fitted.inputs_ != model.inputs_ or fitted.n_steps_ != model.n_steps_:
        raise ValueError("an estimator of another event")
    if not model._frozen and type(fitted) is not type(model.estimator):
        raise ValueError("another estimator than the parameter")
    model.estimator_ = fitted


def restore_combination(model: Any, parts: Fields) -> None:
    if not hasattr(model, "_time_step"):
        return
    model._check_parameters()
    n_series = 1 if model._series is None else len(model._series)
    for fitted in model.estimators_.values():
        check_is_fitted(fitted)
        tail = fitted._tail
        if (
            fitted.targets_ != model.targets_
            or fitted.horizon != model.horizon
            or fitted._levels != model._levels
            or (tail is not None and tail.layout.n_series != n_series)
        ):
            raise ValueError("members that do not fit the parameters")
    model._keep_tails()


def of_conformal(model: Any, tail: bool) -> Fields:
    if not hasattr(model, "_time_step"):
        return {}
    calendar = model._rows.attrs.get("calendar") if tail and model._rows is not None else None
    return {"estimator": None if model._frozen else model.estimator_, "calendar": calendar}


def restore_conformal(model: Any, parts: Fields) -> None:
    from tsforecast.estimators._further import can_advance

    if not hasattr(model, "_time_step"):
        return
    model._check_parameters()
    fitted = model._unfrozen(model.estimator) if model._frozen else parts["estimator"]
    if type(fitted) is not type(model._unfrozen(model.estimator)):
        raise ValueError("another estimator than the parameter")
    check_is_fitted(fitted)
    for tail in (model._tail, model._newest):
        if tail is not None and class_name(tail) != "ConformalRows":
            raise ValueError("rows of another kind")
    scores, rows = model._scores, model._rows
    n_series = 1 if model._series is None else len(model._series)
    n_channels = model._n_channels
    sound = (
        fitted.targets_ == model.targets_
        and fitted.horizon == model.horizon
        and len(scores.group) == n_series
        and scores.pool.shape[1] == scores.each.shape[2] == n_channels
        and scores.tracked == (model.method == "tracking")
        and _same_shape(model._now, scores)
        and (rows is None) == (model._tail is None or can_advance(fitted))
        and (model._newest is None or model._tail is not None)
        and (rows is None or (isinstance(rows, pd.DataFrame) and len(rows) > 0))
        and all(
            part is None or part.threshold.shape[1] == n_channels
            for part in (model._tail, model._newest)
        )
    )
    if not sound:
        raise ValueError("parts that do not fit the parameters")
    if rows is not None:
        kinds = [name for name in fitted._may_be_categories() if rows[name].dtype != np.float64]
        model._rows = rows.astype(dict.fromkeys(kinds, "category"))
        if parts["calendar"] is not None:
            model._rows.attrs["calendar"] = str(parts["calendar"])
    model.estimator_ = fitted


def _same_shape(scores: Any, like: Any) -> bool:
    """Whether scores go on from others."""
    said = ("level", "rate", "window", "tracked")
    same = all(getattr(scores, name) == getattr(like, name) for name in said)
    sizes = scores.each.shape == like.each.shape and scores.pool.shape[1] == like.pool.shape[1]
    return bool(same and sizes and np.array_equal(scores.group, like.group))


def of_classifier(model: Any, tail: bool) -> Fields:
    if not _is_fitted_event(model):
        return {}
    made, beside = model._preparation, model._beside
    return {
        "chain": made.chain,
        "fill": made.fill,
        "static": made._static,
        "weight": float(model.networks_[0].head.weight),
        "share": None if beside is None else float(beside.share),
        "beside": None if beside is None else beside.fitted,
        "networks": [dict(network.state_dict()) for network in model.networks_],
    }


def restore_classifier(model: Any, parts: Fields) -> None:
    if not _is_fitted_event(model):
        return
    model._check_parameters()
    chain, fill, table = parts["chain"], parts["fill"], parts["static"]
    if class_name(chain) != "TargetTransform" or class_name(table) != "StaticTable":
        raise ValueError("parts of another kind")
    static = list(model.static or ())
    past = [name for name in model.inputs_ if name not in static and name in chain.columns]
    sound = (
        chain.n_targets == 0
        and chain.columns == past
        and array(len(past))(fill, None)
        and sorted([*table.numbers, *table.categories], key=str) == sorted(static, key=str)
        and set(static) <= set(model.inputs_)
        and NUMBER(parts["weight"], None)
        and parts["weight"] > 0
        and 1 <= len(parts["networks"]) == len(model.best_epochs_) <= model.n_members
    )
    if not sound:
        raise ValueError("parts that do not fit the parameters")
    made = model._preparation = model._new_preparation(past)
    made.chain, made.fill, made._static = chain, fill, table
    made.prior, made.baseline_ = np.ones(0), None
    model.transform_ = chain.fitted
    model._beside = _blended(model, parts["beside"], parts["share"])
    model.networks_ = [
        _event_network(model, tensors, parts["weight"]) for tensors in parts["networks"]
    ]
    model._stop = model._panel = None


def _blended(model: Any, fitted: Any, share: Any) -> Any:
    """The classifier beside the networks."""
    from tsforecast.estimators._beside import Beside

    if model.beside is None and fitted is None and share is None:
        return None
    beside = Beside.like(model.beside, model)
    if class_name(fitted) != class_name(beside.model) or not NUMBER(share, None):
        raise ValueError("another classifier beside than the parameter")
    check_is_fitted(fitted)
    known = set(fitted.inputs_) <= set(model.inputs_)
    if not (known and fitted.n_steps_ == model.n_steps_ and 0 <= share <= 1):
        raise ValueError("a classifier beside of another event")
    beside.share, beside.fitted = share, fitted
    return beside


def _event_network(model: Any, tensors: Any, weight: float) -> Any:
    from tsforecast.nn.hazard import Hazards
    from tsforecast.nn.network import InputScale

    size, numbers = model._preparation.features.size, len(model._preparation._static.numbers)
    n_causes = 1 if model.competing is None else 2
    head = Hazards(model.n_steps_, n_causes, weight, float(model.smoothing))
    return _laid_out(
        model,
        tensors,
        lambda: model._network(
            InputScale(_doubles(tensors, "location"), _doubles(tensors, "gain")),
            InputScale(_doubles(tensors, "static_location"), _doubles(tensors, "static_gain")),
            head,
            tensors["start"],
            "torch",
        ),
        {
            **dict.fromkeys(("location", "gain"), (size,)),
            **dict.fromkeys(("static_location", "static_gain"), (numbers,)),
            "start": (model.n_steps_, n_causes),
        },
    )


def of_positions(model: Any, tail: bool) -> Fields:
    if not hasattr(model, "_time_step"):
        return {}
    return {
        "chain": model._preparation.chain,
        "fill": model._preparation.fill,
        "static": model._preparation._static,
        "known": model._known if tail else None,
        "networks": [dict(network.state_dict()) for network in model.networks_],
    }


def restore_positions(model: Any, parts: Fields) -> None:
    if not hasattr(model, "_time_step"):
        return
    model._check_parameters()
    chain, fill, table, known = (parts[name] for name in ("chain", "fill", "static", "known"))
    made = model._preparation = model._new_preparation()
    sound = (
        class_name(chain) == "TargetTransform"
        and chain.fitted is None
        and chain.n_targets == 0
        and chain.columns == made.inputs
        and array(len(made.inputs))(fill, None)
        and class_name(table) == "StaticTable"
        and not (table.numbers or table.categories)
        and 1 <= len(parts["networks"]) == len(model.best_epochs_) <= model.n_members
        and (known is None or class_name(known) == "Known")
    )
    check_tail(model, "Rows")
    if not sound:
        raise ValueError("parts that do not fit the parameters")
    made.chain, made.fill, made._static = chain, fill, table
    made.prior, made.baseline_ = np.ones(0), None
    model.networks_ = [_position_network(model, tensors) for tensors in parts["networks"]]
    model._known, model._stop = known, None


def _position_network(model: Any, tensors: Any) -> Any:
    from tsforecast.nn.network import InputScale

    size = model._preparation.features.size
    if not (_doubles(tensors, "unit") > 0).all():
        raise ValueError("a unit that is not positive")
    return _laid_out(
        model,
        tensors,
        lambda: model._new_network(
            InputScale(_doubles(tensors, "location"), _doubles(tensors, "gain")),
            1.0,  # as read in a moment
            "torch",
        ),
        {
            **dict.fromkeys(("location", "gain"), (size,)),
            **dict.fromkeys(("static_location", "static_gain"), (0,)),
            "unit": (1,),
        },
    )


def of_stream(stream: Any, tail: bool) -> Fields:
    if stream._ids is not None and not all(
        isinstance(name, str | int) for name in stream._ids.tolist()
    ):
        raise UnsaveableError(
            "cannot save the stream: expected names of series that are text or whole numbers, "
            f"found {type(stream._ids[0]).__name__}. Rename them before the stream begins."
        )
    carried = dict(stream._carried)
    frames = carried.pop("rows", ())
    rows = pd.concat(list(frames)) if len(frames) else None
    watch = stream._watch
    return {
        "model": stream.model,
        "ids": stream._ids,
        "time": stream._time,
        "step": stream._step,
        "carried": carried,
        **({} if watch is None else {"policy": watch.policy, "rows": rows}),
        **({} if stream._reach is None else {"scores": stream._reach.scores}),
    }


def make_stream(parts: Fields) -> Any:
    from tsforecast.serving.stream import Stream

    stream = Stream(parts["model"], None, policy=parts.get("policy"))
    ids, carried, wanted = parts["ids"], parts["carried"], stream._carried
    watch = stream._watch
    if watch is not None and watch.keeps_rows and isinstance(carried, dict):
        carried = {**carried, "rows": _stays(watch, parts["rows"], carried["total"])}
    if not isinstance(carried, dict) or carried.keys() != wanted.keys():
        raise ValueError("rows of another kind")
    n = len(ids) if ids is not None else len(next(iter(carried.values())))
    sound = (
        (ids is None) == (stream._ids is None)
        and (ids is None or ids.is_unique)
        and EMPTY_INDEX(parts["time"], None)
        and type(parts["time"]) is type(stream._time)
        and (parts["step"] is None) == (stream._step is None)
        and class_name(parts["step"]) in (None, "TimeStep")
        and all(
            part.dtype == wanted[name].dtype and part.shape == (n, *wanted[name].shape[1:])
            for name, part in carried.items()
        )
        and all(
            class_name(state) == "AlarmState"
            and all(of_the_same_kind(at, stream._network) for at in state.times)
            for state in carried.get("alarm state", ())
        )
    )
    if not sound:
        raise ValueError("rows that do not fit the model")
    if stream._reach is not None:
        scores, like = parts["scores"], stream._reach.scores
        if class_name(scores) != "Scores" or not _same_shape(scores, like):
            raise ValueError("scores that do not fit the model")
        stream._reach.scores = scores
    stream._ids, stream._time, stream._step = ids, parts["time"], parts["step"]
    stream._carried = {name: part.copy() for name, part in carried.items()}
    return stream


def _stays(watch: Any, rows: Any, counts: Any) -> Any:
    """Cut the rows of all stays into frames, (n,)."""
    stays = np.empty(len(counts), dtype=object)
    if rows is None and len(stays) == 0:
        return stays
    sizes = array(None, dtype="int64")(counts, None) and bool((counts > 0).all())
    if not (sizes and isinstance(rows, pd.DataFrame) and len(rows) == counts.sum()):
        raise ValueError("rows of another number")
    network = watch.network
    if list(rows.columns) != network.inputs_ or type(rows.index) is not type(network._time_type):
        raise ValueError("rows of another kind")
    plain = [name for name in network.inputs_ if name not in network._categories]
    if any(rows[name].dtype != np.float64 for name in plain):
        raise ValueError("rows of another kind")
    ends = np.cumsum(counts)
    for number, (start, stop) in enumerate(zip(ends - counts, ends)):
        stays[number] = rows.iloc[start:stop].copy()
    return stays
