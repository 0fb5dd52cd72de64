"""A fitted forecaster as an ONNX file, which runs without Python, torch and this package."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import ndtri
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

import tsforecast
from tsforecast._checks import bad_parameter
from tsforecast.estimators.forecaster import RecurrentForecaster
from tsforecast.nn.heads import (
    Gaussian,
    NegativeBinomial,
    Point,
    Poisson,
    Quantiles,
    StudentT,
)
from tsforecast.nn.network import ForecastNetwork

__all__ = ["export_onnx", "onnx_inputs"]

_OPSET = 18
_IR = 10  # the oldest one that knows the opset's operators: more runtimes read it
_STEEPEST, _STEEPEST_RATE = 3.0, 8.0  # see tsforecast.nn.heads
_DEGREES = (2.1, 100.0)
_OPERATORS = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "RNN"}
# ONNX stacks gates in another order than torch: i, o, f, c of the LSTM; z, r, h of the GRU
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
