"""Boosted trees as plain arrays, evaluated by numpy: what a saved model holds of scikit-learn's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from tsforecast._checks import bad_parameter
from tsforecast.data.panel import Floats, Ints

__all__ = ["BoostedTrees"]

_LINKS = {"IdentityLink": "identity", "LogLink": "log", "LogitLink": "logit"}


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """A sum of trees over numbers, as `HistGradientBoostingRegressor` and `...Classifier` have it.

    Node i of a tree sends a row left where its `feature` is at most `threshold` (where it is
    missing, as `missing_left` says); children stand behind their parent, so that every way ends
    in a leaf.

    Attributes
    ----------
    baseline : float
        What the trees are added to.
    link : {"identity", "log", "logit"}
        Of the loss; with "log" the prediction is the exponential of the sum, with "logit" the
        probability whose log odds it is.
    n_features : int
    offsets : ndarray of int64, shape (n_trees + 1,)
        Tree t has nodes ``offsets[t]:offsets[t + 1]``.
    value, threshold : ndarray, shape (n_nodes,)
    feature, left, right : ndarray of int64, shape (n_nodes,)
        Children are numbers within their tree, 0 for a leaf.
    missing_left : ndarray of bool, shape (n_nodes,)

    Raises
    ------
    ValueError
        If the arrays are no trees.
    """

    baseline: float
    link: Literal["identity", "log", "logit"]
    n_features: int
    offsets: Ints
    value: Floats
    threshold: Floats
    feature: Ints
    left: Ints
    right: Ints
    missing_left: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        sizes = np.diff(self.offsets)
        n = int(self.offsets[-1]) if len(self.offsets) else -1
        nodes = (self.value, self.threshold, self.feature, self.left, self.right, self.missing_left)
        sound = (
            self.link in _LINKS.values()
            and all(part.shape == (n,) for part in nodes)
            and self.offsets[0] == 0
            and bool((sizes > 0).all())
            and bool(np.isfinite(self.value).all() and np.isfinite(self.baseline))
            and bool(((self.feature >= 0) & (self.feature < self.n_features)).all())
        )
        if sound:
            own = np.arange(n) - np.repeat(self.offsets[:-1], sizes)
            inner = (self.left > 0) | (self.right > 0)
            ways = np.stack([self.left[inner], self.right[inner]])
            ends = np.repeat(sizes, sizes)[inner]
            sound = bool(((ways > own[inner]) & (ways < ends)).all())
        if not sound:
            raise bad_parameter(
                "trees", expected="nodes whose children stand behind them", found="other arrays"
            )

    @classmethod
    def of(cls, model: Any) -> BoostedTrees:
        """Read a fitted `HistGradientBoostingRegressor`, or a `...Classifier` of two classes.

        Raises
        ------
        ValueError
            If it splits on categories, or has another link.
        """
        link = _LINKS.get(type(model._loss.link).__name__)
        if any(len(trees) != 1 for trees in model._predictors):
            raise bad_parameter(
                "estimator", expected="two classes", found=f"{len(model.classes_)} of them"
            )
        trees = [tree.nodes for (tree,) in model._predictors]
        nodes = np.concatenate(trees)
        if nodes["is_categorical"].any() or link is None or model._preprocessor is not None:
            raise bad_parameter(
                "estimator", expected="boosted trees over numbers", found="splits on categories"
            )
        inner = nodes["is_leaf"] == 0
        return cls(
            baseline=float(model._baseline_prediction.item()),
            link=link,  # type: ignore[arg-type]
            n_features=int(model.n_features_in_),
            offsets=np.cumsum([0, *map(len, trees)]).astype(np.int64),
            value=nodes["value"].astype(np.float64),
            threshold=np.where(inner, nodes["num_threshold"], 0.0),
            feature=np.where(inner, nodes["feature_idx"], 0).astype(np.int64),
            left=np.where(inner, nodes["left"], 0).astype(np.int64),
            right=np.where(inner, nodes["right"], 0).astype(np.int64),
            missing_left=nodes["missing_go_to_left"].astype(bool),
        )

    def predict(self, X: Floats) -> Floats:
        """Predict rows (n, n_features), NaN where missing: (n,)."""
        X = np.asarray(X, dtype=np.float64)
        total = np.full(len(X), self.baseline)
        rows = np.arange(len(X))
        for start, stop in zip(self.offsets[:-1], self.offsets[1:]):
            left, right = self.left[start:stop], self.right[start:stop]
            at = np.zeros(len(X), dtype=np.int64)
            on = rows if left[0] > 0 else rows[:0]  # rows that are not in a leaf yet
            while len(on):
                node = at[on] + start
                x = X[on, self.feature[node]]
                with np.errstate(invalid="ignore"):
                    goes_left = np.where(
                        np.isnan(x), self.missing_left[node], x <= self.threshold[node]
                    )
                at[on] = np.where(goes_left, left[at[on]], right[at[on]])
                on = on[left[at[on]] > 0]
            total += self.value[start:stop][at]
        if self.link == "logit":
            return np.asarray(expit(total))
        return np.exp(total) if self.link == "log" else total

    def predict_proba(self, X: Floats) -> Floats:
        """Probabilities of the two classes, where the link is "logit": (n, 2)."""
        second = self.predict(X)
        return np.stack([1.0 - second, second], axis=1)
