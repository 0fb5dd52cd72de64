"""The classes that a saved model may hold: the whole list, with the modules they are taken from."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["class_name", "class_of"]

_HOMES = {
    # transforms and chains of them
    "Log": "tsforecast.data.transforms",
    "LogReturn": "tsforecast.data.transforms",
    "Clip": "tsforecast.data.transforms",
    "Bounded": "tsforecast.data.transforms",
    "SeriesScaler": "tsforecast.data.transforms",
    "PlausibleRange": "tsforecast.data.vital_transforms",
    "ForwardFill": "tsforecast.data.vital_transforms",
    "FillNormal": "tsforecast.data.vital_transforms",
    "LogSkewed": "tsforecast.data.vital_transforms",
    "Missingness": "tsforecast.data.vital_transforms",
    "StandardScaler": "sklearn.preprocessing._data",
    "MinMaxScaler": "sklearn.preprocessing._data",
    "MaxAbsScaler": "sklearn.preprocessing._data",
    "RobustScaler": "sklearn.preprocessing._data",
    "PowerTransformer": "sklearn.preprocessing._data",
    "Pipeline": "sklearn.pipeline",
    "FrozenEstimator": "sklearn.frozen._frozen",
    # estimators
    "Naive": "tsforecast.estimators.baselines",
    "SeasonalNaive": "tsforecast.estimators.baselines",
    "Drift": "tsforecast.estimators.baselines",
    "EWMA": "tsforecast.estimators.baselines",
    "RandomWalk": "tsforecast.estimators.baselines",
    "HAR": "tsforecast.estimators.volatility",
    "LogHAR": "tsforecast.estimators.volatility",
    "GARCH": "tsforecast.estimators.garch",
    "FilteredHistorical": "tsforecast.estimators.filtered",
    "LagRegressor": "tsforecast.estimators.regression",
    "Combination": "tsforecast.estimators.combination",
    "ConformalForecaster": "tsforecast.estimators.conformal",
    "Ridge": "sklearn.linear_model",
    "LinearRegression": "sklearn.linear_model",
    "Lasso": "sklearn.linear_model",
    "ElasticNet": "sklearn.linear_model",
    "HistGradientBoostingRegressor": "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
    "HistGradientBoostingClassifier": "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
    "LogisticRegression": "sklearn.linear_model",
    "SimpleImputer": "sklearn.impute",
    "CausalFeatures": "tsforecast.estimators.features",
    "BoostedBaseline": "tsforecast.estimators.event_baselines",
    "FeatureClassifier": "tsforecast.estimators.event_baselines",
    "LastValue": "tsforecast.estimators.event_baselines",
    "LogisticBaseline": "tsforecast.estimators.event_baselines",
    "NEWS2": "tsforecast.estimators.event_baselines",
    "_Logistic": "tsforecast.estimators.event_baselines",
    "_Rising": "tsforecast.estimators.event_baselines",
    "CalibratedEvents": "tsforecast.estimators.calibration",
    "EventClassifier": "tsforecast.estimators.event",
    "PositionEstimator": "tsforecast.estimators.position",
    "RecurrentForecaster": "tsforecast.estimators.forecaster",
    "RecurrentRegressor": "tsforecast.estimators.arrays",
    "RecurrentClassifier": "tsforecast.estimators.arrays",
    "Stream": "tsforecast.serving.stream",
    # how to fit, what is forecast, what alarms
    "Event": "tsforecast.data.event_rules",
    "AlarmPolicy": "tsforecast.backtesting.alarms",
    "AlarmState": "tsforecast.backtesting.alarms",
    "Training": "tsforecast.nn.training",
    "RunningScale": "tsforecast.data.running",
    "Point": "tsforecast.nn.heads",
    "Quantiles": "tsforecast.nn.heads",
    "Gaussian": "tsforecast.nn.heads",
    "StudentT": "tsforecast.nn.heads",
    "Poisson": "tsforecast.nn.heads",
    "NegativeBinomial": "tsforecast.nn.heads",
    "Bernoulli": "tsforecast.nn.heads",
    # what is learned
    "Keys": "tsforecast.data.keys",
    "Seen": "tsforecast.estimators._warm",
    "StaticTable": "tsforecast.data.covariates",
    "TimeStep": "tsforecast.data.calendars",
    "Sessions": "tsforecast.data.calendars",
    "ExchangeSessions": "tsforecast.data.sessions",
    "TargetTransform": "tsforecast.data.pipeline",
    "BoostedTrees": "tsforecast.estimators.trees",
    "Scores": "tsforecast.estimators._intervals",
    "RiskMap": "tsforecast.backtesting.risk_maps",
    # rows
    "Layout": "tsforecast.data.panel",
    "Rows": "tsforecast.data.windows",
    "KnownRows": "tsforecast.estimators.baselines",
    "_Beside": "tsforecast.estimators.baselines",
    "CombinedRows": "tsforecast.estimators.combination",
    "ConformalRows": "tsforecast.estimators.conformal",
    "Known": "tsforecast.nn.inference",
}


def class_name(value: Any) -> str | None:
    """Name of the class of a value, None for a class that is not on the list."""
    name, module = type(value).__name__, type(value).__module__
    home = _HOMES.get(name)
    known = home is not None and (module == home or module.startswith(f"{home}."))
    return name if known else None


def class_of(name: str) -> type:
    """Give a class of the list by its name; KeyError for others."""
    found: type = getattr(import_module(_HOMES[name]), name)
    return found
