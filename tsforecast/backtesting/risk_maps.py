"""Monotone maps from a model's risk to a calibrated one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, logit, xlogy

from tsforecast._checks import choice, fail
from tsforecast.data.panel import Floats

__all__ = ["METHODS", "RiskMap", "fit_map", "log_odds"]

METHODS = ("platt", "temperature", "isotonic", "intercept")
_TINY = 1e-9  # risks of 0 and 1 have no finite log odds
_WEAK = 1e6  # the slope stays finite where few rows are told apart without error
_COLDEST, _HOTTEST = 0.01, 100.0


@dataclass(frozen=True, eq=False)
class RiskMap:
    r"""A map that never falls, of risks within the horizon.

    Attributes
    ----------
    method : {"platt", "temperature", "isotonic", "intercept"}
        Where it comes from.
    slope, intercept : float
        Of the line on log odds; of the logistic maps.
    knots, values : ndarray, shape (m,), optional
        Risks and what becomes of them, straight lines between; of the isotonic map.

    Notes
    -----
    Of risks within 1..K steps the last one is mapped, and the hazards of a row all multiply by the
    one number that leads there:

    .. math:: r'_k = 1 - (1 - r_k)^c, \quad c = \log (1 - r'_K) / \log (1 - r_K)

    So the risk within the horizon, which is what is calibrated, is exact, `r_k` never falls in k,
    and when within the horizon the event is expected stays the model's. To send every `r_k`
    through the map itself would be monotone, too, but wrong: what 2 % within the whole horizon
    should have been says little of 2 % within the first of its steps.
    """

    method: str
    slope: float = 1.0
    intercept: float = 0.0
    knots: Floats | None = None
    values: Floats | None = None

    def __call__(self, risk: Floats) -> Floats:
        """Map risks (N,), or those within 1..K steps, (N, K)."""
        if risk.ndim == 1:
            return self._of_horizon(risk)
        last = self._of_horizon(risk[:, -1])
        before = np.log1p(-np.clip(risk, 0.0, 1.0 - _TINY))  # minus the hazard so far, (N, K)
        after = np.log1p(-np.minimum(last, 1.0 - _TINY))
        # without any risk before, there is no course to keep: a constant hazard
        share = np.broadcast_to(np.arange(1, risk.shape[1] + 1) / risk.shape[1], risk.shape).copy()
        np.divide(before, before[:, -1:], out=share, where=before[:, -1:] < 0)
        mapped: Floats = -np.expm1(share * after[:, None])
        mapped[:, -1] = last
        return np.minimum(mapped, last[:, None])  # rounding alone may pass it

    def _of_horizon(self, risk: Floats) -> Floats:
        if self.knots is not None and self.values is not None:
            return np.asarray(np.interp(risk, self.knots, self.values))
        return np.asarray(expit(self.intercept + self.slope * log_odds(risk)))


def fit_map(method: str, risk: Floats, event: Floats, weight: Floats | None = None) -> RiskMap:
    r"""Fit a map on risks and what came of them.

    Parameters
    ----------
    method : {"platt", "temperature", "isotonic", "intercept"}
        - ``"platt"``: :math:`\operatorname{logit} r' = a + b \operatorname{logit} r` with
          :math:`b \ge 0`, by maximum likelihood (Platt 1999; in the clinical literature, logistic
          recalibration, Cox 1958),
        - ``"intercept"``: the same with b = 1, for a handful of events,
        - ``"temperature"``: the same with a = 0 (Guo et al. 2017). It turns about a risk of one
          half, so that it cannot mend the rate of a rare event,
        - ``"isotonic"``: any steps that do not fall (Zadrozny and Elkan 2002); wants a thousand
          events or so.
    risk : ndarray, shape (n,)
        Of rows that the model has not been fitted on.
    event : ndarray, shape (n,)
        0 or 1, or the share of events where a row stands for several.
    weight : ndarray, shape (n,), optional
        How many rows each stands for.

    Raises
    ------
    ValueError
        For another method.
    DataError
        If there is no event, or nothing else.
    """
    choice("method", method, METHODS)
    weight = np.ones(len(risk)) if weight is None else weight
    events, total = float(weight @ event), float(weight.sum())
    if not 0.0 < events < total:
        raise fail(
            "risks cannot be calibrated",
            expected="rows with an event behind them, and others without",
            found=f"{total:g} rows, {events:g} of them with it",
            advice="Hold out more patients, or take a longer horizon.",
        )
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        steps.fit(risk, event, sample_weight=weight)
        knots, values = (
            np.asarray(each, dtype=np.float64)
            for each in (steps.X_thresholds_, steps.y_thresholds_)
        )
        return RiskMap(method, knots=knots, values=values)
    odds = log_odds(risk)
    if method == "intercept":
        return RiskMap(method, intercept=shift(odds, event, weight))
    if method == "temperature":
        return RiskMap(method, slope=_cooled(odds, event, weight))
    intercept, slope = line(odds, event, weight)
    if slope < 0:  # the likelihood has one hill: at the edge it is highest
        return RiskMap(method, slope=0.0, intercept=float(logit(events / total)))
    return RiskMap(method, slope=slope, intercept=intercept)


def log_odds(risk: Floats) -> Floats:
    """Logit of risks, those of 0 and 1 moved by one in a billion."""
    return np.asarray(logit(np.clip(risk, _TINY, 1.0 - _TINY)))


def line(odds: Floats, event: Floats, weight: Floats) -> tuple[float, float]:
    """Intercept and slope of the events' log odds on those of the risk."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # a row of shares is two rows of outcomes
    outcome = np.repeat([1, 0], len(odds))
    weights = np.concatenate([weight * event, weight * (1.0 - event)])
    some = weights > 0
    model = LogisticRegression(C=_WEAK, solver="newton-cholesky", tol=1e-8, max_iter=200)
    with warnings.catch_warnings():  # of few rows that are told apart, where any slope will do
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.tile(odds, 2)[some, None], outcome[some], sample_weight=weights[some])
    return float(model.intercept_[0]), float(model.coef_[0, 0])


def shift(odds: Floats, event: Floats, weight: Floats) -> float:
    """What to add to the log odds so that as many events are expected as there were."""
    events = float(weight @ event)
    return float(brentq(lambda a: float(weight @ expit(odds + a)) - events, -50.0, 50.0))


def _cooled(odds: Floats, event: Floats, weight: Floats) -> float:
    """Inverse of the temperature."""

    def loss(log_slope: float) -> float:
        risk = expit(np.exp(log_slope) * odds)
        return float(-(weight @ (xlogy(event, risk) + xlogy(1.0 - event, 1.0 - risk))))

    bounds = (np.log(1 / _HOTTEST), np.log(1 / _COLDEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, options={"xatol": 1e-8}).x))
