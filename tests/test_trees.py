"""Boosted trees as arrays: the numbers that scikit-learn gives, and no way round in a circle."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from tsforecast.estimators.trees import BoostedTrees


def rows(n=400, missing=0.2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    X[:, 3] = rng.integers(0, 3, size=n)  # many ties
    y = X[:, 0] * X[:, 1] + np.sin(X[:, 2]) + X[:, 3]
    return np.where(rng.random(X.shape) < missing, np.nan, X), y


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(
    "loss", ["squared_error", "absolute_error", "quantile", "poisson", "gamma"]
)
def test_predictions_are_those_of_scikit_learn_bit_for_bit(loss, missing):
    X, y = rows(missing=missing)
    options = {"quantile": 0.3} if loss == "quantile" else {}
    model = HistGradientBoostingRegressor(loss=loss, max_iter=30, random_state=0, **options)
    model.fit(X, np.exp(y) if loss in ("poisson", "gamma") else y)
    new = rows(n=1000, missing=0.3, seed=1)[0]
    new[:, 2] *= 1e6
    new[0] = np.inf
    np.testing.assert_array_equal(BoostedTrees.of(model).predict(new), model.predict(new))


def test_a_row_at_the_threshold_goes_left():
    X = np.repeat([0.0, 1.0, 2.0], 40)[:, None]
    model = HistGradientBoostingRegressor(max_iter=3).fit(X, X[:, 0] ** 2)
    trees = BoostedTrees.of(model)
    edges = np.unique(trees.threshold)
    at = np.concatenate([edges, np.nextafter(edges, 9), np.nextafter(edges, -9)])[:, None]
    np.testing.assert_array_equal(trees.predict(at), model.predict(at))


def test_a_constant_has_trees_of_one_leaf():
    X = np.arange(50.0)[:, None]
    model = HistGradientBoostingRegressor(max_iter=2).fit(X, np.full(50, 3.0))
    np.testing.assert_array_equal(BoostedTrees.of(model).predict(X), np.full(50, 3.0))


@pytest.mark.parametrize(
    "changed",
    [
        {"left": 0},  # back to the root
        {"left": -1},
        {"right": 10_000},
        {"feature": 4},
        {"feature": -1},
        {"value": np.nan},
    ],
)
def test_arrays_that_are_no_trees_are_refused(changed):
    X, y = rows()
    trees = BoostedTrees.of(HistGradientBoostingRegressor(max_iter=3).fit(X, y))
    (name, value), arrays = next(iter(changed.items())), {}
    arrays[name] = getattr(trees, name).copy()
    arrays[name][0] = value
    rest = {field: getattr(trees, field) for field in trees.__dataclass_fields__} | arrays
    with pytest.raises(ValueError, match="children stand behind them"):
        BoostedTrees(**rest)


def test_splits_on_categories_are_refused():
    X, y = rows(missing=0.0)
    model = HistGradientBoostingRegressor(max_iter=3, categorical_features=[3]).fit(X, y)
    with pytest.raises(ValueError, match="trees over numbers"):
        BoostedTrees.of(model)
