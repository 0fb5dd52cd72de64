"""Which classes can be saved, what is kept of each, and how they are put together again.

The table is the whole list: a class is looked up here by its name, never by what a file says of
it.  What is read is checked against the parameters before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tsforecast.data.keys import Keys
from tsforecast.serving._codec import Decoder, Encoder, UnsaveableError, is_tensor

__all__ = ["Recipes", "class_name"]

Check: TypeAlias = Callable[[Any, Any], bool]  # (value, the object so far)
Fields: TypeAlias = dict[str, Any]


# ------------------------------------------------------------------------------------- the checks


def _array(*shape: Any, dtype: str = "float64", finite: bool = True) -> Check:
    """An array of a shape: numbers, functions of the object, or None where any size will do."""

    def check(value: Any, model: Any) -> bool:
        if not isinstance(value, np.ndarray) or str(value.dtype) != dtype:
            return False
        sizes = [size(model) if callable(size) else size for size in shape]
        fits = value.ndim == len(sizes) and all(
            size is None or size == found for size, found in zip(sizes, value.shape)
        )
        return fits and (not finite or dtype != "float64" or bool(np.isfinite(value).all()))

    return check


def _is(*types: type) -> Check:
    return lambda value, model: isinstance(value, types)


def _list_of(*types: type, at_least: int = 0) -> Check:
    return lambda value, model: (
        isinstance(value, list)
        and len(value) >= at_least
        and all(isinstance(item, types) for item in value)
    )


def _named(*names: str) -> Check:
    """An object of one of these classes, by name: their modules are not loaded for a check."""
    return lambda value, model: class_name(value) in names


def _none_or(check: Check) -> Check:
    return lambda value, model: value is None or check(value, model)


_WHOLE, _NUMBER, _BOOL = _is(int), _is(int, float), _is(bool)
_NAMES: Check = lambda value, model: (  # noqa: E731
    isinstance(value, list) and bool(value) and all(isinstance(name, Hashable) for name in value)
)
_LABELS: Check = lambda value, model: (  # noqa: E731
    isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1
)
_EMPTY_INDEX: Check = lambda value, model: isinstance(value, pd.Index) and len(value) == 0  # noqa: E731
_TIME = _is(pd.Timestamp, pd.Timedelta, int)


# -------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class _Recipe:
    """How a class is saved.

    Attributes
    ----------
    home : str
        Its module.
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
    make : callable, optional
        ``make(fields)`` in place of the constructor.
    """

    home: str
    learned: Mapping[str, Check] = field(default_factory=dict)
    parts: Callable[[Any, bool], Fields] | None = None
    restore: Callable[[Any, Fields], None] | None = None
    tail: tuple[str, ...] = ()
    needed: Callable[[Any], Collection[str]] | None = None
    make: Callable[[Fields], Any] | None = None


def _table_rows(scaler: Any) -> int:
    """Rows of a scaler's tables: one for each series known, one for all others."""
    return 1 if scaler._series is None else len(scaler._series) + 1


def _n_columns(transform: Any) -> int:
    return len(transform.columns_)


def _n_features(model: Any) -> int:
    return int(model.n_features_in_)


_TRANSFORM = {"columns_": _is(list), "feature_names_in_": _LABELS}
_THEIRS = {
    "n_features_in_": _WHOLE,
    "feature_names_in_": _LABELS,
    "n_samples_seen_": _WHOLE,
}
_PANEL = {
    "targets_": _NAMES,
    "cutoff_": _TIME,
    "_span": _is(dict),
    "_time_type": _EMPTY_INDEX,
    "_series": _none_or(_is(Keys)),
    "_series_type": _none_or(_EMPTY_INDEX),
}
_LAST = {"_time_step": _named("TimeStep")}  # it makes an estimator a fitted one
_ERRORS = "_error_quantiles"
_BASELINE = {
    **_PANEL,
    "estimators_": lambda value, model: (
        isinstance(value, list)
        and [class_name(each) for each in value] == [class_name(model)] * len(model.targets_)
    ),
    _ERRORS: _array(
        lambda model: 1 + (1 if model._series is None else len(model._series)),
        lambda model: model.horizon,
        lambda model: len(model.levels),
    ),
}


def _baseline(home: str, *, errors: bool = True, **learned: Check) -> _Recipe:
    known = {name: check for name, check in _BASELINE.items() if errors or name != _ERRORS}

    def needed(model: Any) -> Collection[str]:
        several = len(model.targets_) > 1
        left_out = (_ERRORS, *learned) if several else ("estimators_",)
        return {*known, *learned, *_LAST, "_tail"} - set(left_out)

    return _Recipe(
        home,
        {**known, **learned, **_LAST},
        tail=("_tail",),
        restore=_check_baseline,
        needed=needed,
    )


def _check_baseline(model: Any, parts: Fields) -> None:
    if "_time_step" in vars(model):
        model._levels, model._memory  # noqa: B018  # refuse parameters of other types


_LINEAR = {
    **_THEIRS,
    "coef_": lambda value, model: (
        isinstance(value, np.ndarray)
        and value.dtype == np.float64
        and value.shape[-1:] == (model.n_features_in_,)
        and bool(np.isfinite(value).all())
    ),
    "intercept_": lambda value, model: bool(np.isfinite(value).all()),
}
_BASELINES = "tsforecast.estimators.baselines"
_HEADS = "tsforecast.nn.heads"
_OURS = "tsforecast.data.transforms"


def _scaler(*names: str, home: str = "sklearn.preprocessing._data", **more: Check) -> _Recipe:
    """Give the recipe of a scaler of scikit-learn with a number for each column."""
    numbers = {name: _none_or(_array(_n_features)) for name in names}
    return _Recipe(home, {**_THEIRS, **numbers, **more}, needed=lambda scaler: names)


# ----------------------------------------------------------------- what is more than its attributes


def _of_chain(chain: Any, tail: bool) -> Fields:
    return {
        "fitted": chain.fitted,
        "columns": chain.columns,
        "n_targets": chain.n_targets,
        "widths": chain._widths,
    }


def _make_chain(parts: Fields) -> Any:
    from tsforecast.data.pipeline import TargetTransform, steps

    fitted = parts["fitted"]
    known = all(class_name(step) in _RECIPES for step in steps(fitted))
    counted = _list_of(int)(parts["widths"], None) and len(parts["widths"]) == len(steps(fitted))
    if not (known and counted and _NAMES(parts["columns"], None) and _WHOLE(parts["n_targets"], 0)):
        raise ValueError("a transform of another kind")
    if fitted is not None:
        check_is_fitted(fitted)
    return TargetTransform.restored(fitted, parts["columns"], parts["n_targets"], parts["widths"])


def _of_forecaster(model: Any, tail: bool) -> Fields:
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


def _restore_forecaster(model: Any, parts: Fields) -> None:
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
        and _array(k)(made.prior, None)
        and _array(len(inputs))(made.fill, None)
        and class_name(made._static) == "StaticTable"
        and sorted([*made._static.numbers, *made._static.categories], key=str) == made.static
        and (made.baseline_ is None) == (domain is None)
        and _array(None, k, horizon)(parts["smear"], None)
        and _array(None, k * horizon)(parts["dependence"], None)
        and 1 <= len(parts["networks"]) == len(model.best_epochs_) <= model.n_members
        and (parts["known"] is None or class_name(parts["known"]) == "Known")
    )
    if not sound:
        raise ValueError("parts that do not fit the parameters")
    if domain is not None:
        if not _array(k, 2, finite=False)(domain, None) or class_name(made.baseline_) != class_name(
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


def _of_arrays(model: Any, tail: bool) -> Fields:
    if not hasattr(model, "network_"):
        return {}
    return {"network": dict(model.network_.state_dict())}


def _restore_arrays(model: Any, parts: Fields) -> None:
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


def _of_regression(model: Any, tail: bool) -> Fields:
    from tsforecast.estimators.trees import BoostedTrees

    regressors = getattr(model, "regressors_", None)
    if regressors is None:
        return {}
    return {
        "regressors": [
            BoostedTrees.of(each) if class_name(each) == "HistGradientBoostingRegressor" else each
            for each in regressors
        ]
    }


def _restore_regression(model: Any, parts: Fields) -> None:
    _check_baseline(model, parts)
    if not hasattr(model, "_chain"):
        return
    may = _list_of(object, at_least=1)(parts["regressors"], None) and all(
        class_name(each) in (*_REGRESSORS, "BoostedTrees") for each in parts["regressors"]
    )
    if not may or len(parts["regressors"]) not in (1, model.horizon):
        raise ValueError("regressors of another kind")
    model.regressors_ = parts["regressors"]


def _of_stream(stream: Any, tail: bool) -> Fields:
    if stream._ids is not None and not all(
        isinstance(name, str | int) for name in stream._ids.tolist()
    ):
        raise UnsaveableError(
            "cannot save the stream: expected names of series that are text or whole numbers, "
            f"found {type(stream._ids[0]).__name__}. Rename them before the stream begins."
        )
    return {
        "model": stream.model,
        "ids": stream._ids,
        "time": stream._time,
        "step": stream._step,
        "carried": stream._carried,
    }


def _make_stream(parts: Fields) -> Any:
    from tsforecast.serving.stream import Stream

    stream = Stream(parts["model"], None)
    ids, carried, wanted = parts["ids"], parts["carried"], stream._carried
    n = len(ids) if ids is not None else len(next(iter(carried.values())))
    sound = (
        (ids is None) == (stream._ids is None)
        and (ids is None or ids.is_unique)
        and _EMPTY_INDEX(parts["time"], None)
        and type(parts["time"]) is type(stream._time)
        and class_name(parts["step"]) == "TimeStep"
        and carried.keys() == wanted.keys()
        and all(
            part.dtype == wanted[name].dtype and part.shape == (n, *wanted[name].shape[1:])
            for name, part in carried.items()
        )
    )
    if not sound:
        raise ValueError("rows that do not fit the model")
    stream._ids, stream._time, stream._step = ids, parts["time"], parts["step"]
    stream._carried = {name: part.copy() for name, part in carried.items()}
    return stream


_REGRESSORS = ("Ridge", "LinearRegression", "Lasso", "ElasticNet")
_FORECASTER = {
    **_PANEL,
    "history_": _is(pd.DataFrame),
    "best_epochs_": _list_of(int, at_least=1),
    "interrupted_": _BOOL,
    **_LAST,
}
_ARRAYS = "tsforecast.estimators.arrays"
_CLASSES: Check = lambda value, model: (  # noqa: E731
    isinstance(value, np.ndarray) and value.ndim == 1 and len(value) >= 1
)
_SAMPLES = {
    "n_features_in_": _WHOLE,
    "feature_names_in_": _LABELS,
    "n_steps_": lambda value, model: isinstance(value, int) and value >= 1,
    "_centre": _array(lambda model: model.n_features_in_ // model.n_steps_),
    "_base": _array(None),
    "_unit": _array(lambda model: len(model._base)),
    "history_": _is(pd.DataFrame),
    "n_iter_": _WHOLE,
    "best_epoch_": _WHOLE,
    "interrupted_": _BOOL,
}
_RECIPES: dict[str, _Recipe] = {
    # transforms
    "Log": _Recipe(_OURS, _TRANSFORM),
    "LogReturn": _Recipe(_OURS, _TRANSFORM),
    "Clip": _Recipe(_OURS, _TRANSFORM),
    "Bounded": _Recipe(_OURS, _TRANSFORM),
    "SeriesScaler": _Recipe(
        _OURS,
        {
            **_TRANSFORM,
            "_series": _none_or(_is(Keys)),
            "_location": _array(_table_rows, _n_columns),
            "_scale": _array(_table_rows, _n_columns),
        },
    ),
    "StandardScaler": _scaler(
        "mean_", "var_", "scale_", n_samples_seen_=_is(int, float, np.ndarray)
    ),
    "MinMaxScaler": _scaler("min_", "scale_"),
    "MaxAbsScaler": _scaler("scale_"),
    "RobustScaler": _scaler("center_", "scale_"),
    "PowerTransformer": _scaler("lambdas_", _scaler=_named("StandardScaler")),
    "Pipeline": _Recipe("sklearn.pipeline"),
    "FrozenEstimator": _Recipe("sklearn.frozen._frozen"),
    # records
    "RunningScale": _Recipe("tsforecast.data.running"),
    "Point": _Recipe(_HEADS),
    "Quantiles": _Recipe(_HEADS),
    "Gaussian": _Recipe(_HEADS),
    "StudentT": _Recipe(_HEADS),
    "Poisson": _Recipe(_HEADS),
    "NegativeBinomial": _Recipe(_HEADS),
    "Training": _Recipe("tsforecast.nn.training"),
    "Keys": _Recipe("tsforecast.data.keys"),
    "StaticTable": _Recipe("tsforecast.data.covariates"),
    "TimeStep": _Recipe("tsforecast.data.calendars"),
    "Sessions": _Recipe("tsforecast.data.calendars"),
    "Layout": _Recipe("tsforecast.data.panel"),
    "Rows": _Recipe("tsforecast.data.windows"),
    "KnownRows": _Recipe(_BASELINES),
    "_Beside": _Recipe(_BASELINES),
    "Known": _Recipe("tsforecast.nn.inference"),
    "BoostedTrees": _Recipe("tsforecast.estimators.trees"),
    "TargetTransform": _Recipe("tsforecast.data.pipeline", parts=_of_chain, make=_make_chain),
    # estimators
    "Naive": _baseline(_BASELINES),
    "SeasonalNaive": _baseline(_BASELINES),
    "Drift": _baseline(_BASELINES),
    "EWMA": _baseline(_BASELINES, alpha_=_NUMBER),
    "RandomWalk": _baseline(_BASELINES, errors=False, _variance=_NUMBER),
    "HAR": _baseline(
        "tsforecast.estimators.volatility",
        coef_=_array(lambda model: model.horizon, lambda model: len(model.lags)),
        intercept_=_array(lambda model: model.horizon),
    ),
    "LagRegressor": replace(
        _baseline(
            "tsforecast.estimators.regression",
            _chain=_named("TargetTransform"),
            _location=_array(None),
            _scale=_array(lambda model: len(model._location)),
            _unit=_NUMBER,
            _offset=_NUMBER,
        ),
        parts=_of_regression,
        restore=_restore_regression,
    ),
    **{
        name: _Recipe("sklearn.linear_model", _LINEAR, needed=lambda model: ("coef_", "intercept_"))
        for name in _REGRESSORS
    },
    "HistGradientBoostingRegressor": _Recipe(
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting"
    ),
    "RecurrentForecaster": _Recipe(
        "tsforecast.estimators.forecaster",
        _FORECASTER,
        parts=_of_forecaster,
        restore=_restore_forecaster,
        tail=("_tail", "_raw_tail"),
        needed=lambda model: {*_FORECASTER, "_tail"} | ({"_raw_tail"} if model.future else set()),
    ),
    "RecurrentRegressor": _Recipe(
        _ARRAYS,
        {**_SAMPLES, "_plain": _BOOL},
        parts=_of_arrays,
        restore=_restore_arrays,
        needed=lambda model: {*_SAMPLES, "_plain"} - {"feature_names_in_"},
    ),
    "RecurrentClassifier": _Recipe(
        _ARRAYS,
        {**_SAMPLES, "classes_": _CLASSES, "_multilabel": _BOOL},
        parts=_of_arrays,
        restore=_restore_arrays,
        needed=lambda model: {*_SAMPLES, "classes_", "_multilabel"} - {"feature_names_in_"},
    ),
    "Stream": _Recipe("tsforecast.serving.stream", parts=_of_stream, make=_make_stream),
}


def class_name(value: Any) -> str | None:
    """Name of the class of a value in the table, None for any other class."""
    kind = type(value)
    recipe = _RECIPES.get(kind.__name__)
    home = kind.__module__
    known = recipe is not None and (home == recipe.home or home.startswith(recipe.home + "."))
    return kind.__name__ if known else None


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
        kind = getattr(import_module(recipe.home), name)
        made = kind(**_decoded(decoder, fields["parameters"]))
        learned = fields.get("learned", {})
        for attribute in learned:
            if attribute not in recipe.learned and attribute not in recipe.tail:
                raise KeyError(attribute)
        for attribute, check in recipe.learned.items():
            if attribute in learned:
                value = decoder(learned[attribute])
                if not check(value, made):
                    raise ValueError(f"{name}.{attribute} of another kind or size")
                setattr(made, attribute, value)
        for attribute in recipe.tail:
            if attribute in learned:
                setattr(made, attribute, decoder(learned[attribute]))
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
