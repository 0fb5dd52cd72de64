"""Calibrated events: a map behind any event estimator, fitted on patients that it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, choice, fail, positive_int
from tsforecast.backtesting.patients import warn_of_seen
from tsforecast.backtesting.reliability import risk_columns
from tsforecast.backtesting.risk_maps import METHODS, RiskMap, fit_map
from tsforecast.data.labels import Labels
from tsforecast.data.panel import Floats, Layout
from tsforecast.data.scored import Bools
from tsforecast.estimators._events import PanelClassifier
from tsforecast.estimators._params import draw_seeds
from tsforecast.estimators.event_baselines import rows_at

__all__ = ["CalibratedEvents", "recalibrate"]

Method = Literal["platt", "temperature", "isotonic", "intercept"]
_OF_TASK = frozenset(
    {"event", "label", "horizon", "step", "competing", "clear", "min_history", "group"}
)


class CalibratedEvents(PanelClassifier):
    r"""Calibrate the risks of an event estimator on patients that it has not been fitted on.

    What a flexible model says of its own training patients is too good; its risks are compared
    with what came of others, and a map that never falls is put behind it. Patients, as named by
    `group` of the estimator, stand whole on one side.

    Parameters
    ----------
    estimator : event estimator
        Cloned; it says what is predicted (`event`, `label`, `horizon`, ...) and names the patients
        (`group`). As ``FrozenEstimator(model)`` it is taken as it is fitted, and all of the panel
        is for the map: see `recalibrate`.
    method : {"platt", "temperature", "isotonic", "intercept"}
        - ``"platt"``: :math:`\operatorname{logit} r' = a + b \operatorname{logit} r`,
          :math:`b \ge 0` (Platt 1999),
        - ``"intercept"``: the same with b = 1, for a handful of events,
        - ``"temperature"``: the same with a = 0 (Guo et al. 2017); it turns about a risk of one
          half and cannot mend the rate of a rare event,
        - ``"isotonic"``: steps that do not fall; wants a thousand patients with the event or so,
          and makes ties.
    cv : int, optional
        None: a share of the patients is held out for the map, and the estimator never sees it. A
        number: in so many folds each part is forecast by a fit on the others, the map is fitted
        on all of these risks, and the estimator on all patients. The second wastes nobody and costs
        `cv` + 1 fits; its map belongs to slightly smaller fits than the one that it stands behind.
    size : float
        Share of the patients that is held out, stratified by the event; with ``cv=None`` only.
    at : "every", "last" or time span, optional
        Rows that the map is fitted on: all that are eligible, the last one of each series, or its
        newest one up to so long after admission. Default: those that the estimator learns from,
        its own `at`, else all. A map belongs to the rows that it comes from: risks at 48 h are not
        calibrated by a map of all hours.
    random_state : int, RandomState or None
        Of the draw of patients.

    Attributes
    ----------
    estimator_ : event estimator
        The fitted one.
    map_ : RiskMap
        The map.

    Raises
    ------
    ValueError
        In `fit`, if a parameter cannot be used.
    DataError
        In `fit`, if there are too few patients with the event.

    See Also
    --------
    calibration_summary : Whether it was needed, and whether it has helped.
    cross_calibrate : The same for the frame of a cross-validation, without another fit.

    Notes
    -----
    What is mapped is the risk within the horizon. Of the risks within 1..K steps the hazards are
    multiplied by the one number that leads there,

    .. math:: r'_k = 1 - (1 - r_k)^c, \quad c = \log (1 - r'_K) / \log (1 - r_K),

    so that they stay in order, and when the event is expected stays the estimator's.

    Rows count alike. How well patients are told apart does not change, but
    for ties of ``"isotonic"``, and where a slope below 0 was found: then all get the same risk.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> model = tsf.CalibratedEvents(
    ...     tsf.BoostedBaseline(event="onset", horizon="6h", step="1h", group="subject"), cv=5
    ... )
    >>> model.horizon
    '6h'
    """

    def __init__(
        self,
        estimator: Any,
        *,
        method: Method = "platt",
        cv: int | None = None,
        size: float = 0.2,
        at: Any = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.size = size
        self.at = at
        self.random_state = random_state

    estimator_: Any
    map_: RiskMap

    def __getattr__(self, name: str) -> Any:
        # what is predicted, and whose patients are whose, is said once: by the estimator
        if name in _OF_TASK and "estimator" in vars(self):
            return getattr(self.estimator, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def fit(self, panel: pd.DataFrame, y: None = None) -> CalibratedEvents:
        """Fit the estimator, and the map on patients that it has not seen.

        Parameters
        ----------
        panel : DataFrame
            A panel with the column of the event.
        y : None
            Ignored: the event is a column of the panel.

        Returns
        -------
        self
        """
        choice("method", self.method, METHODS)
        wanted = isinstance(self.estimator, type) or not hasattr(self.estimator, "predict_risk")
        if wanted or not all(hasattr(self.estimator, name) for name in _OF_TASK):
            raise bad_parameter(
                "estimator",
                expected="an event estimator with predict_risk, or FrozenEstimator of one",
                found=self.estimator,
                advice="For example BoostedBaseline(event=..., horizon=...).",
            )
        if self._frozen:
            check_is_fitted(self.estimator)
        if self.cv is not None:
            positive_int("cv", self.cv, least=2)
        size = self.size
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < 1:
            raise bad_parameter("size", expected="a share in (0, 1)", found=size)
        super().fit(panel, y)
        return self

    @property
    def _frozen(self) -> bool:
        return isinstance(self.estimator, FrozenEstimator)

    def _inputs(self, panel: pd.DataFrame) -> list[Hashable]:
        found = self.estimator.inputs_ if self._frozen else self.estimator._inputs(panel)
        return list(found)

    def _fitting(self, panel: pd.DataFrame, layout: Layout) -> pd.DataFrame:
        if not self._frozen:
            super()._fitting(panel, layout)  # its checks of the group
        return panel  # the estimator within wants the event, too

    def _fit(self, panel: pd.DataFrame, layout: Layout, labels: Labels) -> None:
        risk = np.full(layout.n_rows, np.nan)
        if self._frozen:
            self.estimator_ = self.estimator
            warn_of_seen(self.estimator, layout)
            risk = self._raw(self.estimator, panel)
        else:
            for held in self._held(panel, layout, labels):
                out = np.repeat(held, np.diff(layout.offsets))
                self.estimator_ = clone(self.estimator).fit(panel[~out])
                risk[out] = self._raw(self.estimator_, panel[out])
            if self.cv is not None:
                self.estimator_ = clone(self.estimator).fit(panel)
        at = self.at
        if at is None:  # of one within another it may be None as well
            at = getattr(self.estimator, "at", None) or "every"
        rows = rows_at(at, layout, labels.eligible & ~np.isnan(risk))
        self.map_ = fit_map(self.method, risk[rows], labels.event[rows])

    def _raw(self, estimator: Any, panel: pd.DataFrame) -> Floats:
        """Risk within the horizon as the estimator gives it, (N,)."""
        return np.asarray(estimator.predict_risk(panel)["risk"], dtype=np.float64)

    def _risk(self, panel: pd.DataFrame, layout: Layout) -> Floats:
        frame = self.estimator_.predict_risk(panel)
        return self.map_(frame[risk_columns(frame)].to_numpy(dtype=np.float64))

    def _held(self, panel: pd.DataFrame, layout: Layout, labels: Labels) -> Iterator[Bools]:
        """Series that each fit does not see, (S,)."""
        seed = draw_seeds(self.random_state, 1)[0]
        if self.cv is None:
            yield self._held_out(panel, layout, labels, float(self.size), seed)
            return
        from sklearn.model_selection import StratifiedKFold

        group = self._groups(panel, layout)
        ill = np.where(labels.eligible, np.nan_to_num(labels.event), 0.0)
        outcome = np.zeros(int(group.max()) + 1, dtype=np.int64)
        np.maximum.at(outcome, group, np.maximum.reduceat(ill, layout.starts).astype(np.int64))
        n_ill = int(outcome.sum())
        if min(n_ill, len(outcome)) < self.cv:
            raise fail(
                "too few patients to cross-fit",
                expected=f"at least {self.cv} with the event, one for each fold",
                found=f"{n_ill} of {len(outcome)}",
                advice="Use fewer folds, cv=.",
            )
        folds = StratifiedKFold(self.cv, shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # where nearly all patients have an event before the end
            warnings.simplefilter("ignore", UserWarning)
            for _, held in folds.split(np.empty((len(outcome), 0)), outcome):
                yield np.isin(group, held)


def recalibrate(model: Any, local_panel: pd.DataFrame, method: Method = "platt") -> Any:
    """Recalibrate a fitted event estimator to the patients of another site.

    Parameters
    ----------
    model : event estimator
        Fitted; it is left as it is.
    local_panel : DataFrame
        Local patients with the column of the event, none of whom the model has seen.
    method : {"platt", "temperature", "isotonic", "intercept"}
        See `CalibratedEvents`. ``"intercept"`` and ``"platt"`` are for sites with few patients;
        `local_patients_curve` tells how many are needed.

    Returns
    -------
    CalibratedEvents
        With the model inside, as it is.

    Raises
    ------
    DataError
        If the local panel has no event, or lacks a column that the model wants.

    Notes
    -----
    Do not judge the result by the patients it was recalibrated on.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> local = tsf.recalibrate(model, clinic_panel, "intercept")  # doctest: +SKIP
    """
    check_is_fitted(model)
    return CalibratedEvents(FrozenEstimator(model), method=method).fit(local_panel)
