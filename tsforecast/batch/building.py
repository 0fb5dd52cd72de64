"""Estimators by the public names of their classes, as a job names them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tsforecast.batch.exits import ConfigError

__all__ = ["CLASSIFIERS", "FORECASTERS", "PARTS", "PlaceOf", "build", "build_beside", "short"]

FORECASTERS = (
    "Combination",
    "ConformalForecaster",
    "Drift",
    "EWMA",
    "FilteredHistorical",
    "GARCH",
    "HAR",
    "LagRegressor",
    "LogHAR",
    "Naive",
    "RandomWalk",
    "RecurrentForecaster",
    "SeasonalNaive",
)
CLASSIFIERS = (
    "BoostedBaseline",
    "CalibratedEvents",
    "EventClassifier",
    "FeatureClassifier",
    "LastValue",
    "LogisticBaseline",
    "NEWS2",
)
PARTS = (  # of a model: what a table {class = "..."} below [model.parameters] may name
    "Bounded",
    "CausalFeatures",
    "Clip",
    "ElasticNet",
    "Event",
    "FillNormal",
    "ForwardFill",
    "Gaussian",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "Lasso",
    "LinearRegression",
    "Log",
    "LogReturn",
    "LogSkewed",
    "LogisticRegression",
    "MaxAbsScaler",
    "MinMaxScaler",
    "Missingness",
    "NegativeBinomial",
    "PlausibleRange",
    "Point",
    "Poisson",
    "PowerTransformer",
    "Quantiles",
    "Ridge",
    "RobustScaler",
    "RunningScale",
    "SeriesScaler",
    "SimpleImputer",
    "StandardScaler",
    "StudentT",
    "Training",
)
_SHOWN = 60  # characters of a value in a message


PlaceOf = Callable[[str], str]


def build(name: str, parameters: Mapping[str, Any], where: str, *, place_of: PlaceOf = str) -> Any:
    """Build an estimator, unfitted.

    Parameters
    ----------
    name : str
        Of its class, one of the closed lists above: a configuration cannot name code.
    parameters : mapping
        Keyword arguments. A table with ``class`` becomes an object, a list of them a pipeline.
    where : str
        Their dotted key in the configuration, for messages.
    place_of : callable
        Puts before a dotted key the file, variable or flag that it comes from.

    Returns
    -------
    estimator

    Raises
    ------
    ConfigError
        If a class or a parameter is unknown. The message names the nearest known one. Values are
        checked by the estimator's own ``fit``.

    Examples
    --------
    >>> build("Drift", {"horizon": 5}, "model.parameters")
    Drift(horizon=5)
    """
    cls = _public_class(name)
    known = _signature(cls)
    for key in parameters:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            raise ConfigError.of(
                place_of(f"{where}.{key}"),
                expected=f"a parameter of {name}",
                found=repr(key),
                advice=f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(known)}.",
            )
    given = {key: _value(value, f"{where}.{key}", place_of) for key, value in parameters.items()}
    for key, value in given.items():
        if isinstance(value, list) and isinstance(known[key], tuple):
            given[key] = tuple(value)
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError.of(
            place_of(where),
            expected=f"what {name} can be made with",
            found=short(error),
            advice="Correct the parameters.",
        ) from error


def build_beside(
    name: str, parameters: Mapping[str, Any], where: str, *, place_of: PlaceOf = str
) -> Any:
    """Build a baseline that answers the question that the parameters of a model ask.

    Parameters
    ----------
    name : str
    parameters : mapping
        Of the model. Those that say what is forecast are taken over; of a wrapper (conformal,
        calibrated, filtered) those of what it wraps as well, of a combination those of its members.
    where : str
    place_of : callable
        As of `build`.

    Returns
    -------
    estimator

    Examples
    --------
    >>> build_beside("Drift", {"horizon": 5, "lookback": 20}, "backtest.baselines")
    Drift(horizon=5)
    """
    shared = ("target", "horizon", "event", "label", "step", "group", "competing", "clear")
    known, accepted = _innermost(parameters), set(_signature(_public_class(name)))
    given = {key: known[key] for key in shared if key in known and key in accepted}
    return build(name, given, where, place_of=place_of)


def _innermost(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a wrapper (conformal, calibrated, filtered, combined), those of what it wraps as well."""
    members = parameters.get("estimators")
    first = next(iter(members.values()), None) if isinstance(members, Mapping) else None
    for inner in (parameters.get("estimator"), parameters.get("volatility"), first):
        if isinstance(inner, Mapping) and "class" in inner:
            return {**_innermost(inner), **parameters}
    return parameters


def _public_class(name: str) -> type:
    from tsforecast.serving._classes import class_of

    return class_of(name)


def _signature(cls: type) -> dict[str, Any]:
    """Give parameters and defaults of a constructor."""
    import inspect

    found = inspect.signature(cls).parameters.values()
    return {each.name: each.default for each in found if each.kind != each.VAR_KEYWORD}


def _value(value: Any, where: str, place_of: PlaceOf) -> Any:
    """Tables with a class become objects, lists of them pipelines; all else stays as it is."""
    if isinstance(value, Mapping):
        if "class" not in value:
            return {key: _value(inner, f"{where}.{key}", place_of) for key, inner in value.items()}
        name = value["class"]
        options = (*PARTS, *FORECASTERS, *CLASSIFIERS)
        if name not in options:
            near = difflib.get_close_matches(str(name), options, n=1, cutoff=0.5)
            raise ConfigError.of(
                place_of(f"{where}.class"),
                expected="the public name of a part of a model, such as Log or Training",
                found=short(name),
                advice=f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(PARTS)}.",
            )
        given = {key: inner for key, inner in value.items() if key != "class"}
        return build(name, given, where, place_of=place_of)
    if isinstance(value, (list, tuple)):
        return _list(value, where, place_of)
    return value


def _list(values: Sequence[Any], where: str, place_of: PlaceOf) -> Any:
    objects = [isinstance(value, Mapping) and "class" in value for value in values]
    built = [_value(value, f"{where}[{number}]", place_of) for number, value in enumerate(values)]
    if not any(objects):
        return built
    if not all(objects):
        raise ConfigError.of(
            place_of(where),
            expected="tables with 'class' throughout: the steps of a pipeline",
            found=f"{sum(objects)} of {len(objects)} with it",
            advice="Name the class of every step.",
        )
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*built)


def short(value: Any) -> str:
    """Show a value, or the text of an error, in one line of a message."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
