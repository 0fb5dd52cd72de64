"""Array estimators: the network that courses teach, honest splits, and scikit-learn's company."""

from __future__ import annotations

import os
import pickle
import random
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    TimeSeriesSplit,
    cross_val_score,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from small import make_panel

import tsforecast as tsf
from tsforecast import RecurrentClassifier, RecurrentRegressor, Training
from tsforecast.estimators.arrays import _Batches, _SampleNetwork
from tsforecast.nn.heads import Classes

T, F = 6, 2
cells = pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
both = pytest.mark.parametrize("kind", [RecurrentRegressor, RecurrentClassifier])


def samples(n: int = 40, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, T, F), and what their last step says with some noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, T, F))
    return X, X[:, -1, 0] - X[:, -2, 1] + 0.1 * rng.normal(size=n)


def make(kind=RecurrentRegressor, *, random_state=0, **changed):
    """A tiny estimator; names of `Training` go there."""
    names = Training().get_params()
    training = {"max_epochs": 2, "learning_rate": 0.05, "validation": None}
    training |= {name: changed.pop(name) for name in list(changed) if name in names}
    options = {"hidden_sizes": (4,), "training": Training(**training)}
    return kind(random_state=random_state, **options | changed)


def data_for(kind, n: int = 40, *, seed: int = 0):
    X, y = samples(n, seed=seed)
    return X, (y if kind is RecurrentRegressor else y > 0)


def answer(model, X) -> np.ndarray:
    return model.predict(X) if isinstance(model, RecurrentRegressor) else model.predict_proba(X)


def same_weights(one, two) -> bool:
    a, b = one.network_.state_dict(), two.network_.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --------------------------------------------------------------------- the model that courses teach


def keras_lstm(x, kernel, recurrent_kernel, bias):
    """Keras' LSTM, all steps (n, T, units): kernels (in, 4 units), gates i, f, c, o, one bias."""

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    units = len(recurrent_kernel)
    h, c, told = np.zeros((len(x), units)), np.zeros((len(x), units)), []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        told.append(h)
    return np.stack(told, axis=1)


def keras_model(X, data, weights):
    """Normalization adapted to `data`, LSTM(64) of sequences, LSTM(32), Dense(1, sigmoid)."""
    mean, variance = data.mean(axis=(0, 1)), data.var(axis=(0, 1))
    x = (X - mean) / np.sqrt(variance)
    x = keras_lstm(x, *weights[:3])
    x = keras_lstm(x, *weights[3:6])[:, -1]
    return 1 / (1 + np.exp(-(x @ weights[6] + weights[7])))


def some_keras_weights(seed: int = 0):
    rng = np.random.default_rng(seed)
    shapes = [(F, 256), (64, 256), (256,), (64, 128), (32, 128), (128,), (32, 1), (1,)]
    return [rng.normal(size=shape) * 0.3 for shape in shapes]


def load_keras_weights(model: RecurrentClassifier, weights) -> None:
    """Put weights in Keras' order and shapes where torch has them."""
    *layers, kernel, bias = (torch.from_numpy(w).float() for w in weights)
    network = model.network_
    with torch.no_grad():
        for number, layer in enumerate(network.cells.layers):
            w, u, b = layers[3 * number : 3 * number + 3]
            for target, values in {
                layer.weight_ih_l0: w.T,
                layer.weight_hh_l0: u.T,
                layer.bias_ih_l0: b,
                layer.bias_hh_l0: torch.zeros_like(b),
            }.items():
                target.copy_(values)
        network.decoder.weight.copy_(kernel.T)
        network.decoder.bias.copy_(bias - network.start.flatten())


def test_the_default_classifier_is_the_keras_model_with_the_same_weights():
    X, y = data_for(RecurrentClassifier)
    X = 5 + X * [1.0, 100.0]
    model = RecurrentClassifier(training=Training(max_epochs=1, validation=None)).fit(X, y)
    load_keras_weights(model, weights := some_keras_weights())
    new = 5 + samples(30, seed=1)[0] * [3.0, 300.0]  # beyond the range of training
    np.testing.assert_allclose(
        model.predict_proba(new)[:, 1:], keras_model(new, X, weights), rtol=0, atol=2e-6
    )


def test_weights_of_a_fitted_classifier_are_those_of_the_keras_model():
    X, y = data_for(RecurrentClassifier)
    model = RecurrentClassifier(
        random_state=0, training=Training(max_epochs=3, validation=None)
    ).fit(X, y)
    weights = []
    for layer in model.network_.cells.layers:
        w = [
            getattr(layer, f"{name}_l0").detach().numpy().T.astype(float)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        weights += [w[0], w[1], w[2] + w[3]]
    network = model.network_
    weights.append(network.decoder.weight.detach().numpy().T)
    weights.append((network.decoder.bias + network.start.flatten()).detach().numpy())
    assert [w.shape for w in weights] == [w.shape for w in some_keras_weights()]
    np.testing.assert_allclose(
        model.predict_proba(X)[:, 1:], keras_model(X, X, weights), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_loss_is_the_cross_entropy(n_classes):
    rng = np.random.default_rng(0)
    head, code = Classes(n_classes), rng.integers(0, n_classes, size=(50, 1))
    raw = torch.from_numpy(rng.normal(size=(50, 1, head.size)))
    none = np.zeros((50, 1))
    start = head.start(code.astype(float), none, none).double()
    loss = head.loss(raw, start, torch.from_numpy(code).double(), raw[..., 0], raw[..., 0])
    p = head.probabilities(raw, start).numpy()[:, 0]
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert loss.mean().item() == pytest.approx(log_loss(code[:, 0], p, labels=range(n_classes)))


def test_where_order_matters_a_bag_of_values_fails_and_the_network_does_not():
    rng = np.random.default_rng(0)
    n, n_steps = 1500, 12
    X = rng.normal(size=(n, n_steps)) * 0.3
    first, second = np.sort(rng.permuted(np.tile(np.arange(n_steps), (n, 1)), axis=1)[:, :2]).T
    y = rng.integers(0, 2, size=n)  # 1: up and then down
    X[np.arange(n), first] += np.where(y == 1, 2.0, -2.0)
    X[np.arange(n), second] -= np.where(y == 1, 2.0, -2.0)
    bag = np.sort(X, axis=1)  # all that does not depend on order
    train, test = slice(1000), slice(1000, None)
    for other in (LogisticRegression(), HistGradientBoostingClassifier(random_state=0)):
        assert other.fit(bag[train], y[train]).score(bag[test], y[test]) < 0.6
    model = RecurrentClassifier(hidden_sizes=(16,), random_state=0)
    model.set_params(training__max_epochs=15)
    assert model.fit(X[train], y[train]).score(X[test], y[test]) > 0.95


# --------------------------------------------------------------------------------- shapes and kinds


def test_columns_in_steps_are_windows_oldest_step_first():
    X, y = samples()
    flat = X.reshape(len(X), T * F)
    three, two = make().fit(X, y), make(n_steps=T).fit(flat, y)
    assert same_weights(three, two)
    np.testing.assert_array_equal(three.predict(X), two.predict(flat))
    assert three.n_steps_ == two.n_steps_ == T
    assert three.n_features_in_ == two.n_features_in_ == T * F
    one = make().fit(flat, y)
    assert (one.n_steps_, one.network_.features.size) == (T * F, 1)


@pytest.mark.parametrize(
    ("n_steps", "shape", "message"),
    [
        (
            5,
            (12,),
            r"'n_steps': expected a number that divides the 12 columns of X, found 5. 12 % 5",
        ),
        (24, (12,), "expected a number that divides the 12 columns of X, found 24"),
        (5, (6, 2), "'n_steps': expected None, or the 6 steps of X, found 5"),
        (0, (12,), "'n_steps': expected a whole number of at least 1"),
        (
            None,
            (3, 2, 2),
            r"too many dimensions: expected \(n_samples, .* found shape \(40, 3, 2, 2",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_their_numbers(n_steps, shape, message):
    X, y = samples()
    with pytest.raises(ValueError, match=message):
        make(n_steps=n_steps).fit(X.reshape(40, *shape), y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            np.zeros((3, T + 1, F)),
            "expected samples of 6 steps of 2 .* found samples of 7 steps of 2",
        ),
        (np.zeros((3, F, T)), "expected samples of 6 steps of 2 .* found samples of 2 steps of 6"),
        (np.zeros((3, T)), "X has 6 features, but RecurrentRegressor is expecting 12"),
        (np.full((3, T, F), np.nan), "Input X contains NaN"),
    ],
)
def test_predict_wants_the_shape_of_fit(wrong, message):
    with pytest.raises(ValueError, match=message):
        make().fit(*samples()).predict(wrong)


def test_y_of_several_columns_is_predicted_as_such():
    X, y = samples(60)
    both = np.column_stack([y, 100 - 50 * y])
    model = make(max_epochs=40, hidden_sizes=(8,)).fit(X, both)
    assert model.predict(X).shape == (60, 2)
    assert model.score(X, both) > 0.8
    assert make().fit(X, y[:, None]).predict(X).shape == (60, 1)
    assert make().fit(X, y).predict(X).shape == (60,)


def test_classes_may_be_strings_numbers_or_several():
    X, y = samples(90)
    names = np.array(["down", "flat", "up"])[np.digitize(y, [-0.7, 0.7])]
    model = make(RecurrentClassifier, max_epochs=40, hidden_sizes=(8,)).fit(X, names)
    assert model.classes_.tolist() == ["down", "flat", "up"]
    assert model.score(X, names) > 0.85
    proba = model.predict_proba(X)
    assert proba.shape == (90, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])
    two = make(RecurrentClassifier).fit(X, np.where(y > 0, 7, -7))
    assert two.classes_.tolist() == [-7, 7]
    assert two.network_.head.size == 1
    assert set(two.predict(X)) <= {-7, 7}


def test_an_indicator_of_labels_gives_a_probability_for_each():
    X, y = samples(90)
    labels = np.column_stack([y > 0, X[:, -1, 1] > 0, np.zeros(90)]).astype(int)
    model = make(RecurrentClassifier, max_epochs=40, hidden_sizes=(8,)).fit(X, labels)
    proba = model.predict_proba(X)
    assert proba.shape == (90, 3)
    assert proba[:, 2].max() < 1e-4  # a label that nobody has
    np.testing.assert_array_equal(model.predict(X), proba > 0.5)
    assert model.score(X, labels) > 0.8
    assert model.classes_.tolist() == [0, 1, 2]


def test_labels_have_class_weights_of_their_own():
    X, y = samples(200)
    labels = np.column_stack([y > 1.5, y > 0]).astype(int)

    def start(weight):
        options = {"max_epochs": 1, "learning_rate": 1e-30, "class_weight": weight}
        return make(RecurrentClassifier, **options).fit(X, labels).predict_proba(X)[0]

    shares = labels.mean(axis=0)
    np.testing.assert_allclose(start(None), shares, atol=1e-6)
    np.testing.assert_allclose(start("balanced"), 0.5, atol=1e-6)
    np.testing.assert_allclose(start(["balanced", None]), [0.5, shares[1]], atol=1e-6)
    odds = 3 * shares / (1 - shares)
    np.testing.assert_allclose(start({1: 3}), odds / (1 + odds), atol=1e-6)
    with pytest.raises(ValueError, match="one entry for each of the 2 labels"):
        start(["balanced"])


@pytest.mark.parametrize("kind", ["two", "three", "labels"])
def test_logarithms_of_probabilities_are_those_of_the_probabilities(kind):
    X, y = samples(60)
    targets = {"two": y > 0, "three": np.digitize(y, [-0.7, 0.7])}
    targets["labels"] = np.column_stack([y > 0, y > 0.5])
    model = make(RecurrentClassifier).fit(X, targets[kind])
    np.testing.assert_array_equal(model.predict_log_proba(X), np.log(model.predict_proba(X)))


@pytest.mark.parametrize("kind", ["two", "three", "labels"])
def test_the_decision_function_is_what_the_probabilities_are_made_of(kind):
    X, y = samples(60)
    targets = {"two": y > 0, "three": np.digitize(y, [-0.7, 0.7])}
    targets["labels"] = np.column_stack([y > 0, y > 0.5])
    model = make(RecurrentClassifier).fit(X, targets[kind])
    decision, probability = model.decision_function(X), model.predict_proba(X)
    if kind == "three":
        share = np.exp(decision - decision.max(axis=1, keepdims=True))
        np.testing.assert_allclose(share / share.sum(axis=1, keepdims=True), probability)
        return
    odds = probability[:, 1] if kind == "two" else probability
    np.testing.assert_allclose(1 / (1 + np.exp(-decision)), odds)
    assert decision.shape == odds.shape


def test_the_logarithm_of_a_probability_that_is_zero_is_minus_infinity_without_a_word():
    X, y = samples()
    model = make(RecurrentClassifier).fit(X, y > 0)
    with torch.no_grad():
        model.network_.decoder.bias.fill_(1e4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (model.predict_log_proba(X)[:, 0] == -np.inf).all()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(40), r"y holds one class: .* at least two .* found 40 samples of class 1\.0\. "),
        (np.full(40, "a"), r"found 40 samples of class 'a'\. "),
        (np.full(40, True), r"found 40 samples of class True\. "),
        (np.linspace(0, 1, 40), "Unknown label type: continuous"),
        (np.arange(120).reshape(40, 3) % 5, "y has several columns of classes: .* found 3 columns"),
    ],
)
def test_what_is_no_class_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        make(RecurrentClassifier).fit(samples()[0], y)


def test_a_forecaster_does_not_take_prices_for_codes_of_classes():
    model = tsf.RecurrentForecaster(target="y", horizon=2, lookback=3, head=Classes(2))
    with pytest.raises(ValueError, match=r"'head': .* found Classes\(n_classes=2\). Classes are l"):
        model.fit(make_panel(1, 30))


def test_a_column_of_classes_is_raveled_with_a_warning():
    X, y = data_for(RecurrentClassifier)
    with pytest.warns(DataConversionWarning, match="1d array"):
        column = make(RecurrentClassifier).fit(X, y[:, None])
    assert same_weights(column, make(RecurrentClassifier).fit(X, y))


# ------------------------------------------------------------------------- where learning begins


def test_the_untrained_regressor_predicts_the_weighted_mean():
    X, y = samples()
    weight = np.arange(40.0)
    model = make(max_epochs=1, learning_rate=1e-30).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.predict(X), np.average(y, weights=weight), rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_untrained_classifier_predicts_the_weighted_frequencies(n_classes):
    X, y = samples()
    y = np.arange(40) % 5 % n_classes
    weight = np.random.default_rng(0).uniform(size=40)
    model = make(RecurrentClassifier, max_epochs=1, learning_rate=1e-30)
    prior = DummyClassifier(strategy="prior")
    for w in (None, weight):
        np.testing.assert_allclose(
            model.fit(X, y, sample_weight=w).predict_proba(X),
            prior.fit(X, y, sample_weight=w).predict_proba(X),
            atol=1e-6,
        )


def test_inputs_may_be_left_as_they_are():
    X, y = samples()
    scaled, plain = make().fit(X * 50 + 7, y), make(standardize=False).fit(X, y)
    assert not same_weights(scaled, plain)
    np.testing.assert_array_equal(plain.network_.gain, 1.0)
    standard = (X - X.mean(axis=(0, 1))) / X.std(axis=(0, 1))
    np.testing.assert_allclose(
        make(standardize=False).fit(standard, y).predict(standard),
        scaled.predict(X * 50 + 7),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_high_level_and_a_unit_of_any_size_change_nothing():
    X, y = samples()
    plain = make(max_epochs=5).fit(X, y)
    for level, unit in [(1e9, 1.0), (0.0, 1e-12), (-3.0, 1e12)]:
        moved = make(max_epochs=5).fit(level + unit * X, level + unit * y)
        np.testing.assert_allclose(
            (moved.predict(level + unit * X) - level) / unit, plain.predict(X), rtol=0, atol=2e-3
        )


def test_a_constant_y_and_a_constant_feature_are_harmless():
    X, y = samples()
    np.testing.assert_allclose(make().fit(X, np.full(40, 0.1)).predict(X), 0.1, rtol=1e-6)
    X[:, :, 1] = 0.1
    model = make().fit(X, y)
    moved = X.copy()
    moved[:, :, 1] = 5.0
    np.testing.assert_array_equal(model.predict(X), model.predict(moved))


def test_values_out_of_reach_are_refused_rather_than_nan():
    X, y = samples()
    model = make().fit(X, y)
    X[3] = 1e60
    with pytest.raises(tsf.DataError, match=r"out of reach \(first rows: 3\).* found 1 samples"):
        model.predict(X)


# ------------------------------------------------------------------------------------------ weights


@both
def test_samples_of_weight_zero_are_as_if_they_were_not_there(kind):
    X, y = data_for(kind)
    weight = np.random.default_rng(1).uniform(0.5, 2, size=40)
    weight[::3] = 0.0
    wild = X.copy()
    wild[::3] = 1e6
    kept = weight > 0
    some = make(kind).fit(wild, y, sample_weight=weight)
    assert same_weights(some, make(kind).fit(X[kept], y[kept], sample_weight=weight[kept]))


@both
def test_only_ratios_of_weights_count(kind):
    X, y = data_for(kind)
    weight = np.random.default_rng(1).uniform(0.5, 2, size=40)
    one, two = (make(kind).fit(X, y, sample_weight=w) for w in (weight, 4 * weight))
    assert same_weights(one, two)


def test_weights_count_over_the_epoch_not_within_their_batch():
    X, y = samples(64)
    weight = np.where(np.arange(64) < 4, 10.0, 0.1)
    options = {"max_epochs": 1, "learning_rate": 1e-30, "batch_size": 8}
    model = make(**options).fit(X, y, sample_weight=weight)
    mean = np.average(y, weights=weight)
    expected = np.average((y - mean) ** 2, weights=weight) / np.average(
        (y - mean) ** 2, weights=weight
    )
    assert model.history_["train_loss"].iloc[-1] == pytest.approx(expected, rel=1e-5)
    x = torch.zeros(8, T, F)
    batch = next(
        iter(
            _Batches(
                x,
                torch.ones(8, 1, 1, 1),
                torch.full((8, 1, 1), 0.1),
                batch_size=8,
                rng=np.random.default_rng(0),
            )
        )
    )
    loss, count = model.network_.loss(*batch)
    assert isinstance(model.network_, _SampleNetwork)
    np.testing.assert_allclose(loss.detach(), 0.1)
    np.testing.assert_array_equal(count, 1.0)


def test_class_weights_are_weights_of_samples():
    X, y = data_for(RecurrentClassifier)
    y = y & (np.arange(40) % 2 == 0)
    by_class = make(RecurrentClassifier, class_weight={True: 3, False: 0.5}).fit(X, y)
    by_sample = make(RecurrentClassifier).fit(X, y, sample_weight=np.where(y, 3, 0.5))
    assert same_weights(by_class, by_sample)
    balanced = make(RecurrentClassifier, class_weight="balanced").fit(X, y)
    by_sample.fit(X, y, sample_weight=np.where(y, 20 / y.sum(), 20 / (~y).sum()))
    np.testing.assert_allclose(balanced.predict_proba(X), by_sample.predict_proba(X), atol=1e-6)


def test_a_class_weight_of_a_class_held_out_alone_counts_there():
    X, _ = samples(50)
    y = np.where(np.arange(50) % 2, "u", "d")
    y[45:] = "f"  # the last ten are held out
    weights = {"u": 2.0, "f": 3.0}
    model = quiet_fit(make(RecurrentClassifier, validation="time", class_weight=weights), X, y)
    assert model.classes_.tolist() == ["d", "f", "u"]
    weight = np.select([y == "u", y == "f"], [2.0, 3.0], 1.0)
    shares = np.array([1.0, 3e-6, 2.0]) / 3  # "f" as rare as a class may start
    loss = -np.log(shares / shares.sum())[np.searchsorted(model.classes_, y)]
    expected = np.mean((loss * weight)[40:]) / weight[:40].mean()
    assert model.history_["val_loss"].iloc[0] == pytest.approx(expected, rel=1e-4)


def test_a_label_that_nobody_has_may_have_a_class_weight():
    X, y = samples(60)
    labels = np.column_stack([y > 0, np.zeros(60)]).astype(int)
    for weights in ({1: 3}, [None, {1: 3, 0: 2}]):
        model = make(RecurrentClassifier, class_weight=weights).fit(X, labels)
        assert model.predict_proba(X)[:, 1].max() < 1e-4


def test_balanced_weights_do_not_know_a_class_held_out_alone():
    X, _ = samples(50)
    y = np.where(np.arange(50) % 4, "u", "d")
    y[45:] = "f"
    model = quiet_fit(make(RecurrentClassifier, validation="time", class_weight="balanced"), X, y)
    assert np.isfinite(model.history_["val_loss"]).all()
    starts = model.network_.start.flatten()
    assert starts[0].item() == pytest.approx(starts[2].item())  # "d" and "u"


@pytest.mark.parametrize("names", [("u", "d"), ("1", "0"), (True, False), (1, 0)])
def test_class_weights_may_name_classes_that_there_are_not_if_they_name_all_that_there_are(names):
    X, y = samples(60)
    one, other = names
    y = np.where(y > 0, one, other)

    def fit(weights):
        return make(RecurrentClassifier, class_weight=weights).fit(X, y)

    named = fit({one: 3.0, other: 0.5})
    assert same_weights(named, fit({one: 3.0, other: 0.5, "else": 7.0}))
    assert same_weights(fit({one: 3.0}), fit({one: 3.0, other: 1.0}))
    assert not same_weights(named, fit({}))
    with pytest.raises(ValueError, match="'class_weight': expected weights of some of the classes"):
        fit({one: 3.0, "else": 7.0})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"u": -2}, r"expected finite weights of at least 0, found \{'u': -2\}"),
        ({"u": np.nan, "d": 1}, r"expected finite weights of at least 0, found \{'u': nan\}"),
        ({"u": np.inf}, "expected finite weights of at least 0"),
        ({"u": "2"}, r"expected finite weights of at least 0, found \{'u': '2'\}"),
        ({"u": None}, "expected finite weights of at least 0"),
        ({"u": 0, "d": 0}, "expected a weight above 0 for a class that occurs among the training"),
        ("balance", "expected a dict, 'balanced' or None, .* found 'balance'"),
        (2, "expected a dict, 'balanced' or None"),
    ],
)
def test_class_weights_that_cannot_be_used_are_refused(weights, message):
    X, y = samples()
    with pytest.raises(ValueError, match="'class_weight': " + message):
        make(RecurrentClassifier, class_weight=weights).fit(X, np.where(y > 0, "u", "d"))


def test_scores_take_weights():
    for kind in (RecurrentRegressor, RecurrentClassifier):
        X, y = data_for(kind)
        model = make(kind).fit(X, y)
        weight = np.where(np.arange(40) < 20, 1.0, 0.0)
        assert model.score(X, y, sample_weight=weight) == pytest.approx(model.score(X[:20], y[:20]))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-np.ones(40), "Negative values in data passed to `sample_weight`"),
        (np.zeros(40), "at least one.*non-zero|all.*zero"),
        (np.ones(39), r"sample_weight.shape == \(39,\), expected \(40,\)"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weight, message):
    with pytest.raises(ValueError, match=message):
        make().fit(*samples(), sample_weight=weight)


# ---------------------------------------------------------------------------- held out for stopping


def quiet_fit(model, X, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y, **options)


@both
def test_validation_holds_out_the_last_samples_and_leaves_out_labels_that_reach_into_them(kind):
    X, y = data_for(kind, 50)
    options = {"validation": "time", "label_horizon": 5, "max_epochs": 3}
    model = quiet_fit(make(kind, **options), X, y)
    alone = make(kind, max_epochs=3).fit(X[:36], y[:36])  # 50 less 10 less 4
    np.testing.assert_array_equal(
        model.history_["train_loss"].iloc[1:], alone.history_["train_loss"].iloc[1:]
    )
    purged, held = X.copy(), X.copy()
    purged[36:40] = 1e6
    held[40:] = 1e3
    assert same_weights(quiet_fit(make(kind, **options), purged, y), model)
    other = quiet_fit(make(kind, **options), held, y)
    assert not other.history_["val_loss"].equals(model.history_["val_loss"])
    np.testing.assert_array_equal(
        other.history_["train_loss"].iloc[1:], model.history_["train_loss"].iloc[1:]
    )


def test_class_weights_and_frequencies_are_those_of_the_training_samples():
    X, y = data_for(RecurrentClassifier, 50)
    y = np.arange(50) % 4 == 0
    late = y.copy()
    late[40:] = True
    options = {"validation": "time", "class_weight": "balanced", "max_epochs": 2}
    one, two = (quiet_fit(make(RecurrentClassifier, **options), X, labels) for labels in (y, late))
    np.testing.assert_array_equal(
        one.history_["train_loss"].iloc[1:], two.history_["train_loss"].iloc[1:]
    )


def test_early_stopping_restores_the_best_epoch():
    X, y = samples(120)
    model = make(validation="time", max_epochs=200, patience=3, schedule=None, learning_rate=0.03)
    model.fit(X, y)
    history = model.history_
    assert history.index.name == "epoch"
    assert history.columns.tolist() == ["train_loss", "val_loss", "learning_rate", "seconds"]
    assert model.n_iter_ == history.index[-1] < 200
    assert model.best_epoch_ == history["val_loss"].idxmin() == model.n_iter_ - 3
    held = X[96:], y[96:]
    loss = np.mean((model.predict(held[0]) - held[1]) ** 2) / y[:96].var()
    assert history["val_loss"].min() == pytest.approx(loss, rel=1e-4)


def test_a_best_epoch_that_is_the_last_one_draws_a_warning():
    X, y = samples(120)
    with pytest.warns(ConvergenceWarning, match="The best epoch is the last one"):
        make(validation="time", max_epochs=6, learning_rate=0.02).fit(X, y)


def test_the_mean_is_kept_where_what_is_learned_does_not_hold_later():
    X, y = samples(100)
    y[80:] *= -1
    model = quiet_fit(make(validation="time", max_epochs=4), X, y)
    assert model.best_epoch_ == 0
    np.testing.assert_allclose(model.predict(X), y[:80].mean())


def test_samples_may_be_held_out_at_random_by_class():
    X, _ = samples(40)
    y = np.repeat([0, 1], [36, 4])  # sorted, and rare
    model = quiet_fit(make(RecurrentClassifier, validation="series", validation_size=0.25), X, y)
    start = torch.sigmoid(model.network_.start).item()
    assert start == pytest.approx(3 / 30, abs=1e-6)
    quiet_fit(make(validation="series"), *samples())


@pytest.mark.parametrize(
    ("y", "size", "message"),
    [
        ([0.0] * 9 + [1.0], 0.2, "of a class: expected at least two .* found 1 of class 1.0. "),
        (["b"] * 9 + ["a"], 0.2, "of a class: expected at least two .* found 1 of class 'a'. "),
        (list("aaaabbbbcc"), 0.2, "at least 3 to .* 3 to hold out, one .* class, found 8 and 2. "),
        (list("aaaabbbbcc"), 0.8, "at least 3 to .* 3 to hold out, one .* class, found 2 and 8. "),
    ],
)
def test_classes_too_rare_to_be_held_out_at_random_are_named(y, size, message):
    model = make(RecurrentClassifier, validation="series", validation_size=size)
    with pytest.raises(tsf.DataError, match="too few samples.*" + message):
        model.fit(samples(10)[0], np.array(y))


def test_a_single_sample_cannot_be_held_out_at_random():
    X, y = samples(1)
    with pytest.raises(tsf.DataError, match="1 to learn from and 1 to hold out, found 0 and 1"):
        make(validation="series").fit(X, y)


def test_too_few_samples_for_the_validation_part_are_counted():
    X, y = samples(20)
    with pytest.raises(tsf.DataError, match="before the 4 held out .* the 16 whose .* found 20"):
        make(validation="time", label_horizon=17).fit(X, y)


# ----------------------------------------------------------------------------------- manners of fit


@both
@cells
def test_the_same_seed_gives_the_same_weights_and_moves_no_global_state(kind, cell):
    X, y = data_for(kind)

    def state():
        return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()

    before = state()
    options = {"cell": cell, "dropout": 0.3, "hidden_sizes": (4, 3)}
    one, two = (make(kind, **options).fit(X, y) for _ in range(2))
    answer(one, X)
    assert state() == before
    assert same_weights(one, two)
    assert not same_weights(one, make(kind, random_state=1, **options).fit(X, y))
    shared = np.random.RandomState(0)
    a, b = (make(kind, random_state=shared, **options).fit(X, y) for _ in range(2))
    assert not same_weights(a, b)


def test_fit_prints_nothing_and_writes_no_file(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = samples()
    make().fit(X, y).predict(X)
    assert capfd.readouterr() == ("", "")
    assert os.listdir(tmp_path) == []


def test_fit_leaves_its_input_and_parameters_alone():
    X, y = samples()
    before = X.copy(), y.copy()
    model = make()
    params = {name: repr(value) for name, value in model.get_params().items()}
    model.fit(X, y).predict(X)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert {name: repr(value) for name, value in model.get_params().items()} == params


def test_a_fit_that_fails_leaves_an_unfitted_estimator():
    X, y = samples()
    model = make().fit(X, y)
    X[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(samples()[0])


def test_an_interrupt_keeps_the_weights_so_far_and_is_raised_again():
    import pytorch_lightning as pl

    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 2:
                raise KeyboardInterrupt

    X, y = samples()
    options = {"schedule": None}
    model = make(max_epochs=5, trainer_options={"callbacks": [Stop()]}, **options)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.interrupted_ is True
    assert model.n_iter_ == model.best_epoch_ == 2
    whole = make(max_epochs=2, **options).fit(X, y)
    assert whole.interrupted_ is False
    assert same_weights(model, whole)
    np.testing.assert_array_equal(model.predict(X), whole.predict(X))


@both
@cells
def test_a_prediction_does_not_depend_on_how_x_is_cut(kind, cell):
    X, y = data_for(kind, 300)
    model = make(kind, cell=cell, hidden_sizes=(64, 32), max_epochs=1).fit(X, y)
    whole = answer(model, X)
    for size in (1, 7, 100):
        parts = [answer(model, X[at : at + size]) for at in range(0, 60, size)]
        np.testing.assert_allclose(np.concatenate(parts)[:60], whole[:60], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(answer(model, X[::-1])[::-1], whole, rtol=1e-6, atol=1e-7)


def test_weights_and_predictions_do_not_depend_on_the_number_of_threads():
    X, y = samples(1200)
    before = torch.get_num_threads()
    models = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            models.append(make(max_epochs=1, batch_size=1024).fit(X, y))
            models[-1].seen = models[-1].predict(X)
    finally:
        torch.set_num_threads(before)
    assert same_weights(*models)
    np.testing.assert_array_equal(models[0].seen, models[1].seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "tree"}, "'cell': expected one of"),
        ({"loss": "log"}, r"'loss': expected one of \['squared', 'absolute', 'huber'\]"),
        ({"label_horizon": 0}, "'label_horizon': expected a whole number of at least 1"),
        ({"training": "fast"}, r"'training': expected a Training\(...\) or None, found 'fast'"),
        ({"dropout": 1.0}, "'dropout': expected a number in"),
        ({"batch_size": 0}, "'batch_size': expected a whole number"),
        ({"random_state": -1}, "'random_state': expected a whole number of at least 0"),
    ],
)
def test_parameters_out_of_range_are_refused_by_fit_not_before(change, message):
    model = make(**change)
    with pytest.raises(ValueError, match=message):
        model.fit(*samples())


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_every_loss_learns(loss):
    X, y = samples(100)
    model = make(loss=loss, hidden_sizes=(8,), max_epochs=30, learning_rate=0.02).fit(X, y)
    assert model.score(X, y) > 0.7
    assert model.network_.head.error == loss


def test_nested_names_reach_the_default_training():
    model = RecurrentClassifier()
    assert model.training is None
    model.set_params(training__max_epochs=3)
    assert model.training.get_params() == (
        Training(learning_rate=1e-2, validation=None, max_epochs=3).get_params()
    )
    assert clone(model).training is not model.training


# --------------------------------------------------------------------------- scikit-learn's company


def flat(kind=RecurrentRegressor, n: int = 60):
    X, y = data_for(kind, n)
    return X.reshape(n, -1), y


@both
def test_a_pipeline_scales_and_fits(kind):
    X, y = flat(kind)
    model = make_pipeline(StandardScaler(), make(kind, n_steps=T)).fit(X, y)
    assert model.predict(X).shape == (60,)
    assert np.isfinite(model.score(X, y))


@both
def test_a_grid_search_in_order_of_time_works_in_processes(kind):
    panel = make_panel(2, 60)
    X, y, _ = tsf.make_windows(np.log(panel[["y"]]).groupby(level=0).diff(), 8, 2)
    target = y.sum(axis=1) if kind is RecurrentRegressor else y.sum(axis=1) > 0
    grid = {"training__max_epochs": [1, 2], "cell": ["rnn"], "hidden_sizes": [(4,)]}
    search = GridSearchCV(
        kind(random_state=0), grid, n_jobs=2, cv=TimeSeriesSplit(n_splits=2, gap=4)
    )
    search.fit(X, target)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict(X).shape == target.shape


@both
def test_cross_validation_and_learning_curves_work_on_windows(kind):
    X, y = data_for(kind, 60)
    assert cross_val_score(make(kind), X, y, cv=TimeSeriesSplit(3)).shape == (3,)
    sizes, train, test = learning_curve(make(kind), X, y, cv=3, train_sizes=[0.5, 1.0])
    assert sizes.tolist() == [20, 40] and np.isfinite(train).all() and np.isfinite(test).all()


@pytest.mark.parametrize("ensemble", [True, False])
def test_probabilities_can_be_calibrated(ensemble):
    X, y = data_for(RecurrentClassifier, 90)
    model = CalibratedClassifierCV(make(RecurrentClassifier), cv=3, ensemble=ensemble).fit(X, y)
    proba = model.predict_proba(X)
    assert proba.shape == (90, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


def test_the_target_can_be_transformed():
    X, y = samples(60)
    model = TransformedTargetRegressor(make(), func=np.log, inverse_func=np.exp)
    assert (model.fit(X, np.exp(y)).predict(X) > 0).all()
    scaled = TransformedTargetRegressor(make(max_epochs=4), transformer=MinMaxScaler())
    np.testing.assert_allclose(
        scaled.fit(X, y).predict(X), make(max_epochs=4).fit(X, y).predict(X), rtol=1e-3, atol=1e-4
    )


@both
def test_pickle_and_joblib_keep_a_model(kind, tmp_path):
    X, y = data_for(kind)
    model = make(kind).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(answer(copy, X), answer(model, X))


@both
@pytest.mark.parametrize("table", ["pandas", "pyarrow", "polars", "nullable"])
def test_tables_are_taken_as_the_arrays_they_hold(kind, table):
    X, y = flat(kind)
    names = [f"x{i}" for i in range(X.shape[1])]
    frame = pd.DataFrame(X, columns=names)
    column = pd.Series(y)
    if table == "polars":
        polars = pytest.importorskip("polars")
        frame, column = polars.DataFrame(dict(zip(names, X.T))), polars.Series(y)
    elif table != "pandas":
        pytest.importorskip("pyarrow")
        frame = frame.astype("double[pyarrow]" if table == "pyarrow" else "Float64")
        column = column.convert_dtypes(
            dtype_backend="pyarrow" if table == "pyarrow" else "numpy_nullable"
        )
    model = make(kind, n_steps=T).fit(frame, column)
    assert model.feature_names_in_.tolist() == names
    assert same_weights(model, make(kind, n_steps=T).fit(X, y))
    np.testing.assert_array_equal(answer(model, frame), answer(make(kind, n_steps=T).fit(X, y), X))


def test_windows_of_a_panel_are_learned_from():
    X, y, index = tsf.make_windows(make_panel(2, 80), 6, target="y", past=["x"])
    model = make(max_epochs=20, hidden_sizes=(8,)).fit(X, y)
    forecast = pd.Series(model.predict(X), index)
    assert forecast.index.names == ["ticker", "day"]
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_newest_step_reaches_every_output(cell):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 6, 2))
    model = RecurrentRegressor(cell=cell, hidden_sizes=(5, 4), random_state=0)
    model.set_params(training__max_epochs=3).fit(X, rng.normal(size=(80, 3)))
    before = model.predict(X)
    X[:, -1] += 0.1
    moved = model.predict(X) != before
    assert moved.all()
    X[:, -1] -= 0.1
    X[:, 0] += 0.1  # and so does the oldest one
    assert (model.predict(X) != before).mean() > 0.9
