"""What a stream makes of the rows of stays: the risk at the newest one, and whether it alarms.

It is carried beside what a `Stepper` carries, one entry for each stay: ``risk`` (n, K); with a
policy, ``alarm`` and ``alarm state``; with a classifier beside the networks, ``rows``: frames of
all rows of a stay, as such a classifier may look at any of them.  Letters of shapes are those of
`tsforecast.estimators._stepping`, with N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.frozen import FrozenEstimator

from tsforecast._checks import bad_parameter
from tsforecast.backtesting.alarms import AlarmPolicy, AlarmState
from tsforecast.data.panel import Floats, Layout
from tsforecast.data.transforms import RowNames
from tsforecast.data.windows import Rows
from tsforecast.estimators._events import risk_frame
from tsforecast.estimators._stepping import Carried
from tsforecast.estimators.calibration import CalibratedEvents
from tsforecast.estimators.conformal import ConformalForecaster
from tsforecast.estimators.event import EventClassifier

__all__ = ["Watch", "network_of"]

Objects = npt.NDArray[np.object_]


def network_of(model: Any) -> Any:
    """The estimator whose networks a stream goes on with: within what calibrates it."""
    return _shells(model)[-1]


def _shells(model: Any) -> list[Any]:
    """A model, and what is calibrated or frozen in it, one within the other."""
    shells = [model]
    while isinstance(shells[-1], CalibratedEvents | ConformalForecaster | FrozenEstimator):
        outer = shells[-1]
        fitted = "estimator_" in vars(outer)
        shells.append(outer.estimator_ if fitted else outer.estimator)
    return shells


class Watch:
    """Risks and alarms of many stays, row by row.

    Parameters
    ----------
    model : EventClassifier or CalibratedEvents
        Fitted.
    policy : AlarmPolicy or None
    """

    def __init__(self, model: Any, policy: AlarmPolicy | None) -> None:
        if policy is not None:
            if not isinstance(policy, AlarmPolicy):
                raise bad_parameter("policy", expected="an AlarmPolicy or None", found=policy)
            policy.step(None, 0.0, 0)  # raises where it has no threshold
        self.model = model
        self.network: EventClassifier = network_of(model)
        self.policy = policy
        calibrated = [each for each in _shells(model) if isinstance(each, CalibratedEvents)]
        self._maps = [each.map_ for each in reversed(calibrated)]  # the innermost first

    @property
    def keeps_rows(self) -> bool:
        """Whether all rows of a stay are kept."""
        return self.network.beside_ is not None

    def nothing(self, n: int) -> Carried:
        """What is carried before the first row of each of n stays."""
        carried: Carried = {"risk": np.full((n, self.network.n_steps_), np.nan)}
        if self.policy is not None:
            carried |= {
                "alarm": np.zeros(n, dtype=bool),
                "alarm state": np.full(n, None, dtype=object),
            }
        if self.keeps_rows:
            carried["rows"] = np.full(n, None, dtype=object)
        return carried

    def after(self, panel: pd.DataFrame, layout: Layout) -> Carried:
        """What is carried after the last row of each stay of a panel."""
        carried, at = self.nothing(layout.n_series), layout.stops - 1
        risk = self._mapped(self.network._risk(panel, layout))
        carried["risk"] = risk[at]
        if self.policy is not None:
            series = layout.codes()
            for row, value in enumerate(risk[:, -1]):
                self._decide(carried, series[row], value, layout.time_at(row))
        if self.keeps_rows:
            carried["rows"] = _objects(self._frames(panel, layout))
        return carried

    def with_rows(
        self, before: Carried, panel: pd.DataFrame, layout: Layout
    ) -> tuple[Carried, Floats | None]:
        """Put the next rows of stays behind those that are kept.

        Returns
        -------
        carried : dict of ndarray
            What has changed of `before`.
        own : ndarray, shape (N, K), or None
            What the classifier beside the networks says at the new rows.
        """
        if not self.keeps_rows:
            return {}, None
        new = self._frames(panel, layout)
        kept = _objects([pd.concat(pair) for pair in zip(before["rows"], new)])
        ends = np.cumsum([len(frame) for frame in kept])
        series, counts = layout.codes(), np.diff(layout.offsets)
        at = ends[series] - counts[series] + np.arange(layout.n_rows) - layout.starts[series]
        beside: Any = self.network._beside
        own: Floats = beside.said(self.panel_of(kept, layout.ids))[at]
        return {"rows": kept}, own

    def step(self, before: Carried, rows: Rows, own: Floats | None) -> Carried:
        """What has changed after the next row of each of n stays.

        Parameters
        ----------
        before : dict of ndarray
            What is carried, of these stays.
        rows : Rows
            From `Stepper.rows`, after these rows.
        own : ndarray, shape (n, K), or None
            What the classifier beside the networks says at them.
        """
        ends = rows.layout.stops - 1
        after: Carried = {"risk": self._mapped(self.network._risk_at(rows, ends, own))}
        if self.policy is not None:
            after |= {name: before[name].copy() for name in ("alarm", "alarm state")}
            for number, value in enumerate(after["risk"][:, -1]):
                self._decide(after, number, value, rows.layout.time_at(ends[number]))
        return after

    def frame(self, carried: Carried, layout: Layout) -> pd.DataFrame:
        """Risks, and alarms, at the newest row of each stay."""
        index = RowNames(layout.ids, np.arange(layout.n_series), layout.time).index()
        frame = risk_frame(carried["risk"], index)
        return frame if self.policy is None else frame.assign(alarm=carried["alarm"])

    def panel_of(self, frames: Objects, ids: pd.Index | None) -> pd.DataFrame:
        """Make a panel of frames of stays, with categories as the model wants them."""
        whole = frames[0] if ids is None else pd.concat(frames)
        if ids is not None:
            counts = [len(frame) for frame in frames]
            whole.index = pd.MultiIndex.from_arrays([ids.repeat(counts), whole.index])
        typed: pd.DataFrame = whole.astype(dict.fromkeys(self.network._categories, "category"))
        return typed

    def _frames(self, panel: pd.DataFrame, layout: Layout) -> list[pd.DataFrame]:
        """The rows of each stay; categories as what they stand for, as stays may have others."""
        plain = panel.astype(dict.fromkeys(self.network._categories, object))
        plain.index = layout.time
        parts = zip(layout.starts, layout.stops)
        return [plain.iloc[start:stop].copy() for start, stop in parts]

    def _mapped(self, risk: Floats) -> Floats:
        for each in self._maps:
            risk = each(risk)
        return risk

    def _decide(self, carried: Carried, number: int, risk: float, time: Any) -> None:
        policy, state = self.policy, carried["alarm state"][number]
        assert isinstance(policy, AlarmPolicy)
        decided: tuple[bool, AlarmState] = policy.step(state, float(risk), time)
        carried["alarm"][number], carried["alarm state"][number] = decided


def _objects(items: list[Any]) -> Objects:
    """Make an array of objects that are no numbers, (n,): numpy would look into frames."""
    array = np.empty(len(items), dtype=object)
    for number, item in enumerate(items):
        array[number] = item
    return array
