"""A classifier beside the network: fitted on other patients than those it is believed on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from sklearn.base import clone

from tsforecast._checks import bad_parameter
from tsforecast.data.event_rules import Event
from tsforecast.data.panel import Floats, Ints, Layout

__all__ = ["RULE", "Beside", "logit", "offsets"]

Bools = npt.NDArray[np.bool_]
RULE = "event by rule"  # column that holds what a rule says
_FOLDS = 5
_LEAST = 1e-7
_SHARES = np.linspace(0.0, 1.0, 21)
_SAME = ("event", "label", "horizon", "step", "group", "competing", "clear", "min_history")


def logit(risk: Floats) -> Floats:
    """Logarithm of the odds, finite at 0 and 1."""
    clipped = np.clip(risk, _LEAST, 1 - _LEAST)
    result: Floats = np.log(clipped) - np.log1p(-clipped)
    return result


class Beside:
    """An event estimator whose risks are blended with those of a network.

    With ``blend="average"`` the logits are averaged, with the share of this one that has the
    smallest log loss on the validation series, which neither has been fitted on; where this one
    is taught at one row of a stay (``at="48h"``), it is believed at that row alone, and they are
    weighed there.  With
    ``blend="correct"`` the network adds to its logit, taken as a constant hazard; on training rows
    that comes from fits on other groups of series (`_FOLDS` parts).  In the end it is fitted on
    all series.

    Parameters
    ----------
    model : event estimator
        Unfitted.
    blend : {"average", "correct"}

    Attributes
    ----------
    share : float
        Of its logit in the average.
    fitted : event estimator
    """

    def __init__(self, model: Any, blend: str) -> None:
        self.model = model
        self.blend = blend
        self.share = 0.5
        self.fitted: Any = None

    @classmethod
    def like(cls, given: Any, owner: Any) -> Beside:
        """Take what `beside=` gives: an event estimator, or a classifier for causal features.

        It is asked the same question as `owner`, whatever its own parameters say.
        """
        from tsforecast.estimators.event_baselines import FeatureClassifier

        if isinstance(given, type) or not hasattr(given, "fit"):
            raise bad_parameter(
                "beside",
                expected="an unfitted event estimator or classifier, or None",
                found=given,
                advice="For example beside=tsf.BoostedBaseline(event=...).",
            )
        question = {name: getattr(owner, name) for name in _SAME}
        if isinstance(owner.event, Event):
            question["event"] = RULE
        if hasattr(given, "predict_risk"):
            model = clone(given)
            own = model.get_params(deep=False)
            return cls(
                model.set_params(
                    **{name: value for name, value in question.items() if name in own}
                ),
                owner.blend,
            )
        if not hasattr(given, "predict_proba"):
            raise bad_parameter(
                "beside", expected="a classifier with predict_proba", found=type(given).__name__
            )
        return cls(FeatureClassifier(clone(given), **question), owner.blend)

    def fit(
        self,
        panel: pd.DataFrame,
        layout: Layout,
        held: Bools,
        groups: Ints,
        ill: Ints,
        seed: int,
    ) -> Floats:
        """Risks at the rows of a panel, from fits that have not seen their groups, (N, K).

        Parameters
        ----------
        panel : DataFrame
        layout : Layout
        held : ndarray of bool, shape (S,)
            Series of the validation part.
        groups, ill : ndarray of int64, shape (S,)
            Number of the group, and whether the event comes: every fold gets its share.
        seed : int
            Of the folds.

        Returns
        -------
        ndarray, shape (N, K)
            NaN where there is none: on training rows of an average, and where all other folds
            have one outcome alone.
        """
        codes = layout.codes()
        risk = np.full((layout.n_rows, 1), np.nan)
        parts: list[tuple[Bools, Bools]] = []
        if held.any():
            parts.append((~held, held))
        if self.blend == "correct":
            fold = _folds(groups, ill, seed)
            for number in range(_FOLDS):
                mine = ~held & (fold == number)
                rest = ~held & ~mine
                if mine.any() and len(set(ill[rest])) == 2:
                    parts.append((rest, mine))
        for taught, asked in parts:
            model = clone(self.model).fit(panel[taught[codes]])
            rows = asked[codes]
            said = _risks(model.predict_risk(panel[rows]))
            if said.shape[1] != risk.shape[1]:
                risk = np.full((layout.n_rows, said.shape[1]), np.nan)
            risk[rows] = said
        return risk

    def judged(self, layout: Layout, eligible: Bools) -> Ints:
        """Rows by which the two are weighed: those that this one is taught at."""
        from tsforecast.estimators.event_baselines import rows_at

        return rows_at(getattr(self.model, "at", "every"), layout, eligible)

    def choose(self, network: Floats, own: Floats, event: Floats, weight: Floats) -> None:
        """Choose the share by the log loss of rows whose outcome is known, (n,) each.

        Parameters
        ----------
        network, own : ndarray, shape (n,)
            Logits of the risk within the horizon.
        event, weight : ndarray, shape (n,)
        """
        losses = []
        for share in _SHARES:
            x = (1 - share) * network + share * own
            losses.append(np.average(np.logaddexp(0.0, x) - event * x, weights=weight))
        self.share = float(_SHARES[int(np.argmin(losses))])

    def refit(self, panel: pd.DataFrame) -> None:
        """Fit on all series."""
        self.fitted = clone(self.model).fit(panel)

    def said(self, panel: pd.DataFrame) -> Floats:
        """Risks at every row, (N, K)."""
        return _risks(self.fitted.predict_risk(panel))

    def averaged(self, network: Floats, own: Floats) -> Floats:
        """Blend risks (N, K): neither falls along K, so nor does this."""
        blended: Floats = expit((1 - self.share) * logit(network) + self.share * logit(own))
        return blended


def _folds(groups: Ints, ill: Ints, seed: int) -> Ints:
    """Deal shuffled groups to folds, ill ones apart from others, (S,) -> (S,)."""
    names, number = np.unique(groups, return_inverse=True)
    worst = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(worst, number, ill)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(worst[order], kind="stable")]
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % _FOLDS
    return np.asarray(fold[number])


def offsets(risk: Floats) -> Floats:
    """Logit of the constant hazard that gives a risk (N, K) within K steps, (N,)."""
    within = np.clip(risk[:, -1], _LEAST, 1 - _LEAST)
    return logit(-np.expm1(np.log1p(-within) / risk.shape[1]))


def _risks(frame: pd.DataFrame) -> Floats:
    steps: Sequence[Hashable] = [name for name in frame.columns if str(name).startswith("risk_")]
    risks: Floats = frame[list(steps) or ["risk"]].to_numpy(dtype=np.float64)
    return risks
