"""tsforecast: recurrent forecasting for prices and patients, judged honestly.

Every public name is an attribute of this module and loads when it is first used; importing the
module itself loads nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "DataError": "tsforecast._checks",
    "align_asof": "tsforecast.data.asof",
    "triple_barrier": "tsforecast.data.barriers",
    "uniqueness": "tsforecast.data.barriers",
    "calendar_features": "tsforecast.data.calendars",
    "from_meds": "tsforecast.data.charted",
    "from_mimic": "tsforecast.data.charted",
    "long_to_panel": "tsforecast.data.charted",
    "above_median": "tsforecast.data.cross_section",
    "describe_panel": "tsforecast.data.describe",
    "fetch_physionet2012": "tsforecast.data.download",
    "fetch_physionet2019": "tsforecast.data.download",
    "as_panel": "tsforecast.data.panel",
    "check_prices": "tsforecast.data.price_checks",
    "from_yfinance": "tsforecast.data.price_readers",
    "read_stooq": "tsforecast.data.price_readers",
    "read_yahoo_csv": "tsforecast.data.price_readers",
    "adjust": "tsforecast.data.prices",
    "exchange_sessions": "tsforecast.data.sessions",
    "with_calendar": "tsforecast.data.sessions",
    "load_etth1": "tsforecast.data.datasets",
    "load_exchange_rate": "tsforecast.data.datasets",
    "load_m4": "tsforecast.data.datasets",
    "load_nasdaq": "tsforecast.data.datasets",
    "load_sp500": "tsforecast.data.datasets",
    "load_sp500_ohlcv": "tsforecast.data.datasets",
    "load_sp500_rv": "tsforecast.data.datasets",
    "make_prices": "tsforecast.data.datasets",
    "make_vitals": "tsforecast.data.datasets",
    "make_adding": "tsforecast.data.memory_problems",
    "make_recall": "tsforecast.data.memory_problems",
    "load_physionet2012": "tsforecast.data.physionet",
    "load_physionet2019": "tsforecast.data.physionet",
    "Event": "tsforecast.data.event_rules",
    "event_within": "tsforecast.data.labels",
    "mark_events": "tsforecast.data.labels",
    "news2": "tsforecast.data.early_warning",
    "news2_points": "tsforecast.data.early_warning",
    "PurgedSplit": "tsforecast.data.purging",
    "label_horizon": "tsforecast.data.purging",
    "garman_klass": "tsforecast.data.ranges",
    "parkinson": "tsforecast.data.ranges",
    "realized_variance": "tsforecast.data.ranges",
    "rogers_satchell": "tsforecast.data.ranges",
    "RunningScale": "tsforecast.data.running",
    "make_windows": "tsforecast.data.samples",
    "RollingOrigin": "tsforecast.data.splits",
    "SeriesSplit": "tsforecast.data.splits",
    "Bounded": "tsforecast.data.transforms",
    "Clip": "tsforecast.data.transforms",
    "Log": "tsforecast.data.transforms",
    "LogReturn": "tsforecast.data.transforms",
    "SeriesScaler": "tsforecast.data.transforms",
    "membership": "tsforecast.data.universe",
    "FillNormal": "tsforecast.data.vital_transforms",
    "ForwardFill": "tsforecast.data.vital_transforms",
    "LogSkewed": "tsforecast.data.vital_transforms",
    "Missingness": "tsforecast.data.vital_transforms",
    "PlausibleRange": "tsforecast.data.vital_transforms",
    "VITALS": "tsforecast.data.vitals",
    "cleaning_report": "tsforecast.data.vitals",
    "plausible": "tsforecast.data.vitals",
    "CellStack": "tsforecast.nn.cells",
    "Bernoulli": "tsforecast.nn.heads",
    "Gaussian": "tsforecast.nn.heads",
    "NegativeBinomial": "tsforecast.nn.heads",
    "Point": "tsforecast.nn.heads",
    "Poisson": "tsforecast.nn.heads",
    "Quantiles": "tsforecast.nn.heads",
    "StudentT": "tsforecast.nn.heads",
    "Training": "tsforecast.nn.training",
    "Backtest": "tsforecast.backtesting.rolling",
    "backtest": "tsforecast.backtesting.rolling",
    "evaluate": "tsforecast.metrics",
    "direction_rows": "tsforecast.backtesting.direction",
    "direction_table": "tsforecast.backtesting.direction",
    "prob_above": "tsforecast.backtesting.direction",
    "giacomini_white": "tsforecast.backtesting.forecast_tests",
    "mincer_zarnowitz": "tsforecast.backtesting.forecast_tests",
    "model_confidence_set": "tsforecast.backtesting.forecast_tests",
    "pesaran_timmermann": "tsforecast.backtesting.forecast_tests",
    "spa": "tsforecast.backtesting.forecast_tests",
    "coverage_monitor": "tsforecast.backtesting.monitors",
    "coverage_summary": "tsforecast.backtesting.monitors",
    "arch_lm": "tsforecast.backtesting.residuals",
    "ljung_box": "tsforecast.backtesting.residuals",
    "Threshold": "tsforecast.backtesting.rules",
    "TopBottom": "tsforecast.backtesting.rules",
    "VolTarget": "tsforecast.backtesting.rules",
    "backtest_overfitting": "tsforecast.backtesting.sharpe",
    "deflated_sharpe": "tsforecast.backtesting.sharpe",
    "minimum_track_record": "tsforecast.backtesting.sharpe",
    "probabilistic_sharpe": "tsforecast.backtesting.sharpe",
    "sharpe_difference": "tsforecast.backtesting.sharpe",
    "sharpe_ratio": "tsforecast.backtesting.sharpe",
    "diebold_mariano": "tsforecast.backtesting.skill",
    "loss_table": "tsforecast.backtesting.skill",
    "Costs": "tsforecast.backtesting.strategy",
    "Strategy": "tsforecast.backtesting.strategy",
    "backtest_strategy": "tsforecast.backtesting.strategy",
    "AlarmPolicy": "tsforecast.backtesting.alarms",
    "alarm_report": "tsforecast.backtesting.alarms",
    "recall_curve": "tsforecast.backtesting.alarms",
    "by_subgroup": "tsforecast.backtesting.events",
    "compare_events": "tsforecast.backtesting.events",
    "event_metrics": "tsforecast.backtesting.events",
    "nuisance_report": "tsforecast.backtesting.nuisance",
    "EventBacktest": "tsforecast.backtesting.patients",
    "backtest_events": "tsforecast.backtesting.patients",
    "event_frame": "tsforecast.backtesting.patients",
    "TearSheet": "tsforecast.backtesting.tearsheet",
    "seed_table": "tsforecast.backtesting.tearsheet",
    "tearsheet": "tsforecast.backtesting.tearsheet",
    "net_benefit": "tsforecast.backtesting.utility",
    "score_2012": "tsforecast.backtesting.utility",
    "utility_2019": "tsforecast.backtesting.utility",
    "utility_threshold": "tsforecast.backtesting.utility",
    "calibration_summary": "tsforecast.backtesting.reliability",
    "cross_calibrate": "tsforecast.backtesting.reliability",
    "local_patients_curve": "tsforecast.backtesting.reliability",
    "reliability": "tsforecast.backtesting.reliability",
    "Tuning": "tsforecast.backtesting.search",
    "expected_shortfall": "tsforecast.backtesting.risk",
    "risk_table": "tsforecast.backtesting.risk",
    "tail_levels": "tsforecast.backtesting.risk",
    "value_at_risk": "tsforecast.backtesting.risk",
    "acerbi_szekely": "tsforecast.backtesting.risk_tests",
    "christoffersen": "tsforecast.backtesting.risk_tests",
    "christoffersen_independence": "tsforecast.backtesting.risk_tests",
    "dynamic_quantile": "tsforecast.backtesting.risk_tests",
    "kupiec": "tsforecast.backtesting.risk_tests",
    "tick_loss": "tsforecast.backtesting.risk_tests",
    "make_scorer": "tsforecast.backtesting.scorers",
    "tune": "tsforecast.backtesting.search",
    "skill": "tsforecast.backtesting.skill",
    "LookaheadError": "tsforecast.backtesting.lookahead",
    "check_no_lookahead": "tsforecast.backtesting.lookahead",
    "RecurrentClassifier": "tsforecast.estimators.arrays",
    "RecurrentRegressor": "tsforecast.estimators.arrays",
    "RecurrentForecaster": "tsforecast.estimators.forecaster",
    "Drift": "tsforecast.estimators.baselines",
    "EWMA": "tsforecast.estimators.baselines",
    "Naive": "tsforecast.estimators.baselines",
    "RandomWalk": "tsforecast.estimators.baselines",
    "SeasonalNaive": "tsforecast.estimators.baselines",
    "CalibratedEvents": "tsforecast.estimators.calibration",
    "recalibrate": "tsforecast.estimators.calibration",
    "Combination": "tsforecast.estimators.combination",
    "ConformalForecaster": "tsforecast.estimators.conformal",
    "EventClassifier": "tsforecast.estimators.event",
    "BoostedBaseline": "tsforecast.estimators.event_baselines",
    "FeatureClassifier": "tsforecast.estimators.event_baselines",
    "LastValue": "tsforecast.estimators.event_baselines",
    "LogisticBaseline": "tsforecast.estimators.event_baselines",
    "NEWS2": "tsforecast.estimators.event_baselines",
    "CausalFeatures": "tsforecast.estimators.features",
    "FilteredHistorical": "tsforecast.estimators.filtered",
    "GARCH": "tsforecast.estimators.garch",
    "PositionEstimator": "tsforecast.estimators.position",
    "LagRegressor": "tsforecast.estimators.regression",
    "HAR": "tsforecast.estimators.volatility",
    "LogHAR": "tsforecast.estimators.volatility",
    "Stream": "tsforecast.serving.stream",
    "export_onnx": "tsforecast.serving.export",
    "onnx_inputs": "tsforecast.serving.export",
    "load": "tsforecast.serving.persist",
    "save": "tsforecast.serving.persist",
    "attribute": "tsforecast.insight.attribution",
    "patient_timeline": "tsforecast.insight.event_plots",
    "plot_decision_curve": "tsforecast.insight.event_plots",
    "plot_patient": "tsforecast.insight.event_plots",
    "plot_recall": "tsforecast.insight.event_plots",
    "plot_reliability": "tsforecast.insight.event_plots",
    "gate_summary": "tsforecast.insight.gates",
    "gates": "tsforecast.insight.gates",
    "memory_profile": "tsforecast.insight.memory",
    "plot_attribution": "tsforecast.insight.network_plots",
    "plot_gates": "tsforecast.insight.network_plots",
    "plot_memory_profile": "tsforecast.insight.network_plots",
    "plot_training": "tsforecast.insight.network_plots",
    "cumulative_gain": "tsforecast.insight.plots",
    "plot_backtest": "tsforecast.insight.plots",
    "plot_error_by_step": "tsforecast.insight.plots",
    "plot_forecast": "tsforecast.insight.plots",
    "plot_skill_matrix": "tsforecast.insight.plots",
    "skill_matrix": "tsforecast.insight.plots",
    "pit_values": "tsforecast.insight.quantile_plots",
    "plot_calibration": "tsforecast.insight.quantile_plots",
    "plot_coverage": "tsforecast.insight.quantile_plots",
    "plot_pit": "tsforecast.insight.quantile_plots",
    "quantile_calibration": "tsforecast.insight.quantile_plots",
    "report": "tsforecast.insight.report",
    "equity_curve": "tsforecast.insight.strategy_plots",
    "plot_cost_curve": "tsforecast.insight.strategy_plots",
    "plot_drawdown": "tsforecast.insight.strategy_plots",
    "plot_equity": "tsforecast.insight.strategy_plots",
}

__all__ = ["__version__", *sorted(_HOME)]

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from tsforecast._checks import DataError as DataError
    from tsforecast.backtesting.alarms import AlarmPolicy as AlarmPolicy
    from tsforecast.backtesting.alarms import alarm_report as alarm_report
    from tsforecast.backtesting.alarms import recall_curve as recall_curve
    from tsforecast.backtesting.direction import direction_rows as direction_rows
    from tsforecast.backtesting.direction import direction_table as direction_table
    from tsforecast.backtesting.direction import prob_above as prob_above
    from tsforecast.backtesting.events import by_subgroup as by_subgroup
    from tsforecast.backtesting.events import compare_events as compare_events
    from tsforecast.backtesting.events import event_metrics as event_metrics
    from tsforecast.backtesting.forecast_tests import giacomini_white as giacomini_white
    from tsforecast.backtesting.forecast_tests import mincer_zarnowitz as mincer_zarnowitz
    from tsforecast.backtesting.forecast_tests import model_confidence_set as model_confidence_set
    from tsforecast.backtesting.forecast_tests import pesaran_timmermann as pesaran_timmermann
    from tsforecast.backtesting.forecast_tests import spa as spa
    from tsforecast.backtesting.lookahead import LookaheadError as LookaheadError
    from tsforecast.backtesting.lookahead import check_no_lookahead as check_no_lookahead
    from tsforecast.backtesting.monitors import coverage_monitor as coverage_monitor
    from tsforecast.backtesting.monitors import coverage_summary as coverage_summary
    from tsforecast.backtesting.nuisance import nuisance_report as nuisance_report
    from tsforecast.backtesting.patients import EventBacktest as EventBacktest
    from tsforecast.backtesting.patients import backtest_events as backtest_events
    from tsforecast.backtesting.patients import event_frame as event_frame
    from tsforecast.backtesting.reliability import calibration_summary as calibration_summary
    from tsforecast.backtesting.reliability import cross_calibrate as cross_calibrate
    from tsforecast.backtesting.reliability import local_patients_curve as local_patients_curve
    from tsforecast.backtesting.reliability import reliability as reliability
    from tsforecast.backtesting.residuals import arch_lm as arch_lm
    from tsforecast.backtesting.residuals import ljung_box as ljung_box
    from tsforecast.backtesting.risk import expected_shortfall as expected_shortfall
    from tsforecast.backtesting.risk import risk_table as risk_table
    from tsforecast.backtesting.risk import tail_levels as tail_levels
    from tsforecast.backtesting.risk import value_at_risk as value_at_risk
    from tsforecast.backtesting.risk_tests import acerbi_szekely as acerbi_szekely
    from tsforecast.backtesting.risk_tests import christoffersen as christoffersen
    from tsforecast.backtesting.risk_tests import (
        christoffersen_independence as christoffersen_independence,
    )
    from tsforecast.backtesting.risk_tests import dynamic_quantile as dynamic_quantile
    from tsforecast.backtesting.risk_tests import kupiec as kupiec
    from tsforecast.backtesting.risk_tests import tick_loss as tick_loss
    from tsforecast.backtesting.rolling import Backtest as Backtest
    from tsforecast.backtesting.rolling import backtest as backtest
    from tsforecast.backtesting.rules import Threshold as Threshold
    from tsforecast.backtesting.rules import TopBottom as TopBottom
    from tsforecast.backtesting.rules import VolTarget as VolTarget
    from tsforecast.backtesting.scorers import make_scorer as make_scorer
    from tsforecast.backtesting.search import Tuning as Tuning
    from tsforecast.backtesting.search import tune as tune
    from tsforecast.backtesting.sharpe import backtest_overfitting as backtest_overfitting
    from tsforecast.backtesting.sharpe import deflated_sharpe as deflated_sharpe
    from tsforecast.backtesting.sharpe import minimum_track_record as minimum_track_record
    from tsforecast.backtesting.sharpe import probabilistic_sharpe as probabilistic_sharpe
    from tsforecast.backtesting.sharpe import sharpe_difference as sharpe_difference
    from tsforecast.backtesting.sharpe import sharpe_ratio as sharpe_ratio
    from tsforecast.backtesting.skill import diebold_mariano as diebold_mariano
    from tsforecast.backtesting.skill import loss_table as loss_table
    from tsforecast.backtesting.skill import skill as skill
    from tsforecast.backtesting.strategy import Costs as Costs
    from tsforecast.backtesting.strategy import Strategy as Strategy
    from tsforecast.backtesting.strategy import backtest_strategy as backtest_strategy
    from tsforecast.backtesting.tearsheet import TearSheet as TearSheet
    from tsforecast.backtesting.tearsheet import seed_table as seed_table
    from tsforecast.backtesting.tearsheet import tearsheet as tearsheet
    from tsforecast.backtesting.utility import net_benefit as net_benefit
    from tsforecast.backtesting.utility import score_2012 as score_2012
    from tsforecast.backtesting.utility import utility_2019 as utility_2019
    from tsforecast.backtesting.utility import utility_threshold as utility_threshold
    from tsforecast.data.asof import align_asof as align_asof
    from tsforecast.data.barriers import triple_barrier as triple_barrier
    from tsforecast.data.barriers import uniqueness as uniqueness
    from tsforecast.data.calendars import calendar_features as calendar_features
    from tsforecast.data.charted import from_meds as from_meds
    from tsforecast.data.charted import from_mimic as from_mimic
    from tsforecast.data.charted import long_to_panel as long_to_panel
    from tsforecast.data.cross_section import above_median as above_median
    from tsforecast.data.datasets import load_etth1 as load_etth1
    from tsforecast.data.datasets import load_exchange_rate as load_exchange_rate
    from tsforecast.data.datasets import load_m4 as load_m4
    from tsforecast.data.datasets import load_nasdaq as load_nasdaq
    from tsforecast.data.datasets import load_sp500 as load_sp500
    from tsforecast.data.datasets import load_sp500_ohlcv as load_sp500_ohlcv
    from tsforecast.data.datasets import load_sp500_rv as load_sp500_rv
    from tsforecast.data.datasets import make_prices as make_prices
    from tsforecast.data.datasets import make_vitals as make_vitals
    from tsforecast.data.describe import describe_panel as describe_panel
    from tsforecast.data.download import fetch_physionet2012 as fetch_physionet2012
    from tsforecast.data.download import fetch_physionet2019 as fetch_physionet2019
    from tsforecast.data.early_warning import news2 as news2
    from tsforecast.data.early_warning import news2_points as news2_points
    from tsforecast.data.event_rules import Event as Event
    from tsforecast.data.labels import event_within as event_within
    from tsforecast.data.labels import mark_events as mark_events
    from tsforecast.data.memory_problems import make_adding as make_adding
    from tsforecast.data.memory_problems import make_recall as make_recall
    from tsforecast.data.panel import as_panel as as_panel
    from tsforecast.data.physionet import load_physionet2012 as load_physionet2012
    from tsforecast.data.physionet import load_physionet2019 as load_physionet2019
    from tsforecast.data.price_checks import check_prices as check_prices
    from tsforecast.data.price_readers import from_yfinance as from_yfinance
    from tsforecast.data.price_readers import read_stooq as read_stooq
    from tsforecast.data.price_readers import read_yahoo_csv as read_yahoo_csv
    from tsforecast.data.prices import adjust as adjust
    from tsforecast.data.purging import PurgedSplit as PurgedSplit
    from tsforecast.data.purging import label_horizon as label_horizon
    from tsforecast.data.ranges import garman_klass as garman_klass
    from tsforecast.data.ranges import parkinson as parkinson
    from tsforecast.data.ranges import realized_variance as realized_variance
    from tsforecast.data.ranges import rogers_satchell as rogers_satchell
    from tsforecast.data.running import RunningScale as RunningScale
    from tsforecast.data.samples import make_windows as make_windows
    from tsforecast.data.sessions import exchange_sessions as exchange_sessions
    from tsforecast.data.sessions import with_calendar as with_calendar
    from tsforecast.data.splits import RollingOrigin as RollingOrigin
    from tsforecast.data.splits import SeriesSplit as SeriesSplit
    from tsforecast.data.transforms import Bounded as Bounded
    from tsforecast.data.transforms import Clip as Clip
    from tsforecast.data.transforms import Log as Log
    from tsforecast.data.transforms import LogReturn as LogReturn
    from tsforecast.data.transforms import SeriesScaler as SeriesScaler
    from tsforecast.data.universe import membership as membership
    from tsforecast.data.vital_transforms import FillNormal as FillNormal
    from tsforecast.data.vital_transforms import ForwardFill as ForwardFill
    from tsforecast.data.vital_transforms import LogSkewed as LogSkewed
    from tsforecast.data.vital_transforms import Missingness as Missingness
    from tsforecast.data.vital_transforms import PlausibleRange as PlausibleRange
    from tsforecast.data.vitals import VITALS as VITALS
    from tsforecast.data.vitals import cleaning_report as cleaning_report
    from tsforecast.data.vitals import plausible as plausible
    from tsforecast.estimators.arrays import RecurrentClassifier as RecurrentClassifier
    from tsforecast.estimators.arrays import RecurrentRegressor as RecurrentRegressor
    from tsforecast.estimators.baselines import EWMA as EWMA
    from tsforecast.estimators.baselines import Drift as Drift
    from tsforecast.estimators.baselines import Naive as Naive
    from tsforecast.estimators.baselines import RandomWalk as RandomWalk
    from tsforecast.estimators.baselines import SeasonalNaive as SeasonalNaive
    from tsforecast.estimators.calibration import CalibratedEvents as CalibratedEvents
    from tsforecast.estimators.calibration import recalibrate as recalibrate
    from tsforecast.estimators.combination import Combination as Combination
    from tsforecast.estimators.conformal import ConformalForecaster as ConformalForecaster
    from tsforecast.estimators.event import EventClassifier as EventClassifier
    from tsforecast.estimators.event_baselines import NEWS2 as NEWS2
    from tsforecast.estimators.event_baselines import BoostedBaseline as BoostedBaseline
    from tsforecast.estimators.event_baselines import FeatureClassifier as FeatureClassifier
    from tsforecast.estimators.event_baselines import LastValue as LastValue
    from tsforecast.estimators.event_baselines import LogisticBaseline as LogisticBaseline
    from tsforecast.estimators.features import CausalFeatures as CausalFeatures
    from tsforecast.estimators.filtered import FilteredHistorical as FilteredHistorical
    from tsforecast.estimators.forecaster import RecurrentForecaster as RecurrentForecaster
    from tsforecast.estimators.garch import GARCH as GARCH
    from tsforecast.estimators.position import PositionEstimator as PositionEstimator
    from tsforecast.estimators.regression import LagRegressor as LagRegressor
    from tsforecast.estimators.volatility import HAR as HAR
    from tsforecast.estimators.volatility import LogHAR as LogHAR
    from tsforecast.insight.attribution import attribute as attribute
    from tsforecast.insight.event_plots import patient_timeline as patient_timeline
    from tsforecast.insight.event_plots import plot_decision_curve as plot_decision_curve
    from tsforecast.insight.event_plots import plot_patient as plot_patient
    from tsforecast.insight.event_plots import plot_recall as plot_recall
    from tsforecast.insight.event_plots import plot_reliability as plot_reliability
    from tsforecast.insight.gates import gate_summary as gate_summary
    from tsforecast.insight.gates import gates as gates
    from tsforecast.insight.memory import memory_profile as memory_profile
    from tsforecast.insight.network_plots import plot_attribution as plot_attribution
    from tsforecast.insight.network_plots import plot_gates as plot_gates
    from tsforecast.insight.network_plots import plot_memory_profile as plot_memory_profile
    from tsforecast.insight.network_plots import plot_training as plot_training
    from tsforecast.insight.plots import cumulative_gain as cumulative_gain
    from tsforecast.insight.plots import plot_backtest as plot_backtest
    from tsforecast.insight.plots import plot_error_by_step as plot_error_by_step
    from tsforecast.insight.plots import plot_forecast as plot_forecast
    from tsforecast.insight.plots import plot_skill_matrix as plot_skill_matrix
    from tsforecast.insight.plots import skill_matrix as skill_matrix
    from tsforecast.insight.quantile_plots import pit_values as pit_values
    from tsforecast.insight.quantile_plots import plot_calibration as plot_calibration
    from tsforecast.insight.quantile_plots import plot_coverage as plot_coverage
    from tsforecast.insight.quantile_plots import plot_pit as plot_pit
    from tsforecast.insight.quantile_plots import quantile_calibration as quantile_calibration
    from tsforecast.insight.report import report as report
    from tsforecast.insight.strategy_plots import equity_curve as equity_curve
    from tsforecast.insight.strategy_plots import plot_cost_curve as plot_cost_curve
    from tsforecast.insight.strategy_plots import plot_drawdown as plot_drawdown
    from tsforecast.insight.strategy_plots import plot_equity as plot_equity
    from tsforecast.metrics import evaluate as evaluate
    from tsforecast.nn.cells import CellStack as CellStack
    from tsforecast.nn.heads import Bernoulli as Bernoulli
    from tsforecast.nn.heads import Gaussian as Gaussian
    from tsforecast.nn.heads import NegativeBinomial as NegativeBinomial
    from tsforecast.nn.heads import Point as Point
    from tsforecast.nn.heads import Poisson as Poisson
    from tsforecast.nn.heads import Quantiles as Quantiles
    from tsforecast.nn.heads import StudentT as StudentT
    from tsforecast.nn.training import Training as Training
    from tsforecast.serving.export import export_onnx as export_onnx
    from tsforecast.serving.export import onnx_inputs as onnx_inputs
    from tsforecast.serving.persist import load as load
    from tsforecast.serving.persist import save as save
    from tsforecast.serving.stream import Stream as Stream


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tsforecast' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
