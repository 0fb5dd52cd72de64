"""`RecurrentRegressor` and `RecurrentClassifier`: recurrent networks on arrays of samples.

A sample is a window of T steps of F features with one origin, its newest step, and K outputs (a
horizon of one step): the network, its heads and its training are those of the panel estimators.
Letters of shapes are those of `tsforecast.data.windows`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, is_multilabel
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)
from torch import Tensor, nn

from tsforecast._checks import bad_parameter, choice, fail, positive_int
from tsforecast.data.features import ArrayFeatures
from tsforecast.data.panel import Floats, Ints
from tsforecast.data.windows import Origins, Windows
from tsforecast.estimators._params import RecordParameters, draw_seeds
from tsforecast.nn.cells import CELLS, Init
from tsforecast.nn.heads import Classes, Head, Point
from tsforecast.nn.network import ForecastNetwork, InputScale, Noise
from tsforecast.nn.threads import FEW, at_once, in_order
from tsforecast.nn.training import Training, isolated_randomness, train

__all__ = ["RecurrentClassifier", "RecurrentRegressor"]

_ROWS = 4096  # in one call: what a layer gives for more does not stay in the cache
_FEWEST = 8  # samples in one call: fewer go through kernels that round in another way
_LEAST_STEPS, _LEAST_BATCH = 8, 16  # of an epoch, where there are samples for them
_NOTHING = InputScale(np.zeros(0), np.zeros(0))


def _training_of(training: Training | None) -> Training:
    return Training(learning_rate=1e-2, validation=None) if training is None else training


class _SampleNetwork(ForecastNetwork):
    """A network whose losses count by their weights over the epoch, rather than in their batch.

    Divided by the weights of its own batch, a batch without the rare class of a weighted loss
    would pull as hard as one with it.
    """

    def loss(
        self, windows: Windows, z: Tensor, weight: Tensor, noise: Noise = ()
    ) -> tuple[Tensor, Tensor]:
        loss, weight = super().loss(windows, z, weight, noise)
        return loss * weight, torch.ones_like(weight)


class _Batches:
    """Batches of samples: windows, z (B, 1, K, 1) and weights (B, 1, K) in a new order."""

    def __init__(
        self, x: Tensor, z: Tensor, weight: Tensor, *, batch_size: int, rng: np.random.Generator
    ) -> None:
        self.x, self.z, self.weight = x, z, weight
        self.batch_size = batch_size
        self.rng = rng

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Windows, Tensor, Tensor]]:
        order = torch.from_numpy(self.rng.permutation(len(self.x)))
        for at in range(0, len(order), self.batch_size):
            which = order[at : at + self.batch_size]
            x = self.x[which.to(self.x.device)]
            yield _windows(x, self.z.shape[2]), self.z[which], self.weight[which]


class _Validation:
    """Losses of the samples held out."""

    def __init__(self, x: Tensor, z: Tensor, weight: Tensor) -> None:
        self.x, self.z, self.weight = x, z, weight

    def __call__(self, network: nn.Module) -> Floats:
        assert isinstance(network, ForecastNetwork)
        raw = _decoded(network, len(self.x), lambda part: self.x[part])[:, None]
        origins = _windows(self.x[:0], raw.shape[2]).origins
        z, weight = self.z.to(raw.device), self.weight.to(raw.device)
        loss, _ = network.losses(raw, origins, z, weight)
        return (loss * weight).mean(dim=(1, 2)).cpu().numpy().astype(np.float64)


def _windows(x: Tensor, n_targets: int) -> Windows:
    """Samples x (B, T, F) as windows with one origin, the last step, and nothing beside it."""
    b, t = x.shape[:2]
    return Windows(
        x=x,
        static=x.new_empty(b, 0),
        codes=x.new_empty(b, 0, dtype=torch.int64),
        at=x.new_full((b,), t - 1, dtype=torch.int64),
        origins=Origins(
            ahead=x.new_empty(b, 0, 0),
            shape=x.new_empty(b, 1, n_targets, 0),
            # z is measured from one base in one unit, which the heads used here need not know
            base=x.new_zeros(b, 1, n_targets, 1),
            unit=x.new_ones(b, 1, n_targets),
        ),
    )


def _decoded(network: ForecastNetwork, n: int, samples: Callable[[slice], Tensor]) -> Tensor:
    """Raw numbers (n, K, 1, Q) of n samples, of which `samples` gives a slice as (b, T, F)."""
    n_targets, n_steps = network.error_scale.shape[0], samples(slice(0, 1)).shape[1]
    result = torch.empty(n, n_targets, 1, network.head.size, device=network.location.device)
    size = max(_FEWEST, _ROWS // n_steps, network.side_by_side)

    def decode(at: int) -> None:
        part = slice(at, min(at + size, n))
        with torch.inference_mode():
            x = samples(part)
            more = _FEWEST - len(x)
            if more > 0:
                x = torch.cat([x, x.new_zeros(more, *x.shape[1:])])
            raw = network(_windows(x.to(result.device), n_targets))
            result[part] = raw[: part.stop - part.start, -1]

    run = at_once if n <= FEW else in_order
    for _ in run(decode, range(0, n, size)):
        pass
    return result


class _RecurrentArrays(RecordParameters):
    """What regressor and classifier share; not used alone.

    A subclass checks y, gives a head, and measures where z begins.
    """

    n_steps: int | None
    label_horizon: int
    cell: Literal["lstm", "gru", "rnn"]
    hidden_sizes: tuple[int, ...]
    dropout: float
    layer_norm: bool
    standardize: bool
    training: Training | None
    random_state: Any
    verbose: int

    _records: ClassVar = {"training": _training_of}

    network_: ForecastNetwork

    def __sklearn_is_fitted__(self) -> bool:
        # a fit that failed half-way has set names ending in _ already
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    @abstractmethod
    def _head(self) -> Head:
        """What the raw numbers mean."""

    @abstractmethod
    def _loss_weights(self, y: Floats, weight: Floats, among: Ints) -> Floats:
        """Weight of each sample and output, (n, K), measured on the training samples `among`."""

    @abstractmethod
    def _beginning(self, head: Head, y: Floats, weight: Floats) -> tuple[Floats, Floats, Tensor]:
        """Base and unit of z, (K,) each, and start of the head, (K, 1, P).

        Parameters
        ----------
        head : Head
        y, weight : ndarray, shape (n, K)
            Of the training samples.
        """

    def _check_parameters(self) -> Training:
        choice("cell", self.cell, CELLS)
        positive_int("label_horizon", self.label_horizon)
        training = _training_of(self.training)
        if not isinstance(training, Training):
            raise bad_parameter("training", expected="a Training(...) or None", found=training)
        training.check()
        return training.resolved("time")

    # ------------------------------------------------------------------------------------- data

    def _checked(self, X: Any, y: Any, sample_weight: Any, **of_y: Any) -> tuple[Any, Any, Floats]:
        """Check what `fit` gets: X (n, T F), y and weights (n,), without samples of weight 0."""
        self.__dict__.pop("network_", None)  # not fitted until this fit has ended
        X, shape = _flat(X)
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, **of_y)
        self.n_steps_ = self._steps(X.shape[1], shape)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        kept = weight > 0
        return (X, y, weight) if kept.all() else (X[kept], y[kept], weight[kept])

    def _steps(self, n_columns: int, shape: tuple[int, int] | None) -> int:
        """T, from the parameter `n_steps`, or from X of shape (n, T, F)."""
        if self.n_steps is None:
            return n_columns if shape is None else shape[0]
        positive_int("n_steps", self.n_steps)
        if shape is not None and shape[0] != self.n_steps:
            raise bad_parameter(
                "n_steps", expected=f"None, or the {shape[0]} steps of X", found=self.n_steps
            )
        if n_columns % self.n_steps:
            raise bad_parameter(
                "n_steps",
                expected=f"a number that divides the {n_columns} columns of X",
                found=self.n_steps,
                advice=f"{n_columns} % {self.n_steps} = {n_columns % self.n_steps}: X has all "
                "features of the oldest step first, then those of the next one.",
            )
        return self.n_steps

    def _samples(self, X: Any) -> Floats:
        """Check what is to be predicted: (n, T, F)."""
        check_is_fitted(self)
        n_steps, n_features = self.n_steps_, self.network_.features.size
        X, shape = _flat(X)
        if shape is not None and shape != (n_steps, n_features):
            raise fail(
                "X does not fit the model",
                expected=f"samples of {n_steps} steps of {n_features} features, as in fit",
                found=f"samples of {shape[0]} steps of {shape[1]} features",
                advice="The axes of X are (sample, step, feature).",
            )
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return np.reshape(X, (len(X), n_steps, n_features))

    def _shown(self, x: Floats) -> Tensor:
        """Samples as the network takes them; in float64 up to here, for levels that are high."""
        with np.errstate(over="ignore"):  # see `_raw`
            return torch.from_numpy((x - self._centre).astype(np.float32))

    def _read_samples(self, X: Any, which: Any) -> tuple[ForecastNetwork, Windows]:
        """Give the network, and some samples as it reads them: for a look inside."""
        x = self._samples(X)[which]
        return self.network_, _windows(self._shown(x), self.network_.error_scale.shape[0])

    def _raw(self, X: Any) -> Tensor:
        """Raw numbers of the head, (n, K, 1, Q)."""
        x = self._samples(X)
        raw = _decoded(self.network_, len(x), lambda part: self._shown(x[part]))
        wrong = np.flatnonzero(~raw.isfinite().flatten(1).all(dim=1).numpy())
        if len(wrong):
            raise fail(
                "X is out of reach",
                expected="values not too many times larger than those of fit",
                found=f"{len(wrong)} samples without a finite prediction",
                advice="Clip or scale them.",
                rows=wrong.tolist(),
            )
        return raw

    # -------------------------------------------------------------------------------------- fit

    def _learn(self, X: Floats, y: Floats, weight: Floats, strata: Any = None) -> None:
        """Fit the network to X (n, T F), y (n, K) and weights (n,)."""
        training = self._check_parameters()
        (seed,) = draw_seeds(self.random_state, 1)
        x = X.reshape(len(X), self.n_steps_, -1)
        learned, held = self._split(len(x), training, seed, strata)
        among: Any = learned if len(learned) < len(x) else slice(None)  # without a copy
        self._centre, scale = _input_scale(x[among], standardize=self.standardize)
        head, weight = self._head(), self._loss_weights(y, weight, learned)
        self._base, self._unit, start = self._beginning(head, y[among], weight[among])
        z = _float32((y - self._base) / self._unit)[:, None, :, None]  # (n, 1, K, 1)
        counted = _float32(weight / weight[among].mean(axis=0))[:, None]  # (n, 1, K)
        shown, device = self._shown(x), training.device()
        if device.type != "cpu":
            shown = shown.to(device)
        batches = _Batches(
            shown[among],
            z[among],
            counted[among],
            batch_size=min(training.batch_size, max(_LEAST_BATCH, len(learned) // _LEAST_STEPS)),
            rng=np.random.default_rng(seed),
        )
        validation, blocks = None, None
        if len(held):
            validation = _Validation(shown[held], z[held], counted[held])
            if training.validation == "time":  # labels overlap
                blocks = np.arange(len(held)) // self.label_horizon
        with isolated_randomness(seed, device):
            network = self._new_network(scale, head, start, init=training.init)
            fitted = train(
                network, batches, validation, training, blocks=blocks, verbose=self.verbose
            )
        self.history_ = pd.DataFrame(fitted.history).astype({"epoch": int}).set_index("epoch")
        self.n_iter_ = max(len(self.history_) - 1, 0)
        self.best_epoch_ = fitted.best_epoch
        self.interrupted_ = fitted.stopped_by is not None
        self.network_ = network
        if fitted.stopped_by is not None:
            raise fitted.stopped_by

    def _new_network(
        self, scale: InputScale, head: Head, start: Tensor, *, init: Init
    ) -> ForecastNetwork:
        """Lay out a network by the parameters and what is measured; start is (K, 1, P)."""
        return _SampleNetwork(
            features=ArrayFeatures(len(scale.gain)),
            scale=scale,
            static=_NOTHING,
            n_codes=(),
            season=0,
            cell=self.cell,
            hidden_sizes=self.hidden_sizes,
            dropout=self.dropout,
            layer_norm=self.layer_norm,
            init=init,
            max_steps=max(2, self.n_steps_),
            head=head,
            error_scale=np.ones((len(start), 1)),
            start=start,
        )

    def _split(self, n: int, training: Training, seed: int, strata: Any) -> tuple[Ints, Ints]:
        """Training samples, and those held out for early stopping."""
        if training.validation is None:
            return np.arange(n), np.arange(0)
        size = training.validation_size
        if training.validation == "series":
            return _drawn(n, size, seed, strata)
        begin = min(int(np.ceil(n * (1 - size))), n - 1)
        end = begin - (self.label_horizon - 1)
        if end < 1:
            raise fail(
                "too few samples",
                expected=f"some before the {n - begin} held out for validation and the "
                f"{self.label_horizon - 1} whose labels reach into them",
                found=f"{n} in all",
                advice="Lower training__validation_size or label_horizon, or use "
                "Training(validation=None).",
            )
        return np.arange(end), np.arange(begin, n)


class RecurrentRegressor(RegressorMixin, _RecurrentArrays):
    """Predict numbers from windows in an array, with a stacked recurrent network.

    The regressor of scikit-learn for samples that are windows already: one row of X is one window,
    and rows are independent of each other. For a panel of series use `RecurrentForecaster`, which
    cuts windows itself, knows a baseline and cannot look ahead; `make_windows` makes X and y of a
    panel.

    Inputs are standardised per feature, over samples and steps, and y by its mean and spread: of
    the training samples, so that no scaler is needed before it. The untrained network predicts the
    mean of y.

    Parameters
    ----------
    n_steps : int, optional
        Steps of a window, where X has two dimensions: its p columns are `n_steps` steps of
        p / n_steps features, all features of the oldest step first. Default: p steps of one
        feature. Not needed where X is (n_samples, n_steps, n_features).
    label_horizon : int
        Samples from one to the next whose label shares no time with its own: 1 where labels do not
        overlap, ``horizon * n_series`` for samples of `make_windows`, and what the function
        `label_horizon` counts for labels of any length. Only for ``Training(validation="time")``.
    cell : {"lstm", "gru", "rnn"}
        The recurrent cell.
    hidden_sizes : tuple of int
        Units of each layer, from the input upwards.
    dropout : float
        Between layers, in [0, 1).
    layer_norm : bool
        Normalise between layers.
    standardize : bool
        Whether inputs are standardised.
    loss : {"squared", "absolute", "huber"}
        Of errors in units of the spread of y.
    training : Training, optional
        How to fit. Default: ``Training(learning_rate=1e-2, validation=None)``, 50 epochs on all
        samples. With ``validation="time"`` the last `validation_size` of the samples, in the order
        given, are held out for early stopping, and the ``label_horizon - 1`` samples before them
        are left out, because their labels reach into it. With ``validation="series"`` samples are
        drawn at random: only where windows do not overlap. `origins` has no effect.
    random_state : int, RandomState or None
        Seed of initial weights, order of samples, dropout and samples held out. The same int gives
        the same weights, bit for bit; no global random state is moved.
    verbose : int
        1 shows a progress bar.

    Attributes
    ----------
    network_ : ForecastNetwork
        The torch module.
    n_steps_ : int
        Steps of a window.
    n_features_in_ : int
        Values of a window: columns of X, or n_steps x n_features.
    feature_names_in_ : ndarray of str
        Where X was a table whose columns have names.
    history_ : DataFrame
        Per epoch: train_loss, val_loss, learning_rate, seconds; epoch 0 is the untrained network.
    n_iter_ : int
        Epochs trained.
    best_epoch_ : int
        The epoch whose weights are in use.
    interrupted_ : bool
        Whether `fit` was stopped by a signal; the best weights so far are in place.

    See Also
    --------
    make_windows : X, y and labels from a panel.

    Examples
    --------
    >>> import numpy as np
    >>> import tsforecast as tsf
    >>> X = np.random.default_rng(0).normal(size=(200, 8))  # 8 steps of one feature
    >>> y = X[:, -1] - X[:, -2]
    >>> model = tsf.RecurrentRegressor(hidden_sizes=(8,), random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        *,
        n_steps: int | None = None,
        label_horizon: int = 1,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_sizes: tuple[int, ...] = (64, 32),
        dropout: float = 0.0,
        layer_norm: bool = False,
        standardize: bool = True,
        loss: Literal["squared", "absolute", "huber"] = "squared",
        training: Training | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_steps = n_steps
        self.label_horizon = label_horizon
        self.cell = cell
        self.hidden_sizes = hidden_sizes
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.standardize = standardize
        self.loss = loss
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RecurrentRegressor:
        """Learn from samples.

        Parameters
        ----------
        X : array-like or table, shape (n, n_steps, n_features) or (n, p)
            Windows, oldest step first, without missing values.
        y : array-like, shape (n,) or (n, n_outputs)
            What to predict.
        sample_weight : array-like, shape (n,), optional
            Weights in the loss and in what is measured of y; samples of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X, y or a parameter cannot be used.
        FloatingPointError
            If the loss stops being finite.
        KeyboardInterrupt
            After Ctrl-C, with the best weights so far in place. SIGTERM: SystemExit(143).
        """
        choice("loss", self.loss, ("squared", "absolute", "huber"))
        X, y, weight = self._checked(X, y, sample_weight, y_numeric=True)
        self._plain = y.ndim == 1
        self._learn(X, y.reshape(len(y), -1).astype(np.float64), weight)
        return self

    def predict(self, X: Any) -> Floats:
        """Predict y.

        Parameters
        ----------
        X : array-like or table
            Windows as in `fit`.

        Returns
        -------
        ndarray, shape (n,) or (n, n_outputs)
            As y was in `fit`.
        """
        raw = self._raw(X)
        nothing = torch.zeros(())
        z, _ = self.network_.head.forecast(raw, self.network_.start, nothing, nothing)
        result: Floats = self._base + self._unit * z[..., 0].numpy()
        return result[:, 0] if self._plain else result

    def _head(self) -> Head:
        return Point(self.loss)

    def _loss_weights(self, y: Floats, weight: Floats, among: Ints) -> Floats:
        return np.broadcast_to(weight[:, None], y.shape)

    def _beginning(self, head: Head, y: Floats, weight: Floats) -> tuple[Floats, Floats, Tensor]:
        """Begin at the mean, in units of the spread; 1 where y is constant."""
        base = np.average(y, axis=0, weights=weight)
        unit = np.sqrt(np.average(np.square(y - base), axis=0, weights=weight))
        unit[unit <= 1e-12 * np.abs(y).max(axis=0)] = 1.0
        return base, unit, torch.zeros(y.shape[1], 1, 0)


class RecurrentClassifier(ClassifierMixin, _RecurrentArrays):
    """Predict classes from windows in an array, with a stacked recurrent network.

    ``RecurrentClassifier(hidden_sizes=(64, 32))`` is the model that courses teach: a normalisation
    layer, an LSTM of 64 units that returns sequences, an LSTM of 32, one sigmoid unit (a softmax
    for more than two classes), cross-entropy and Adam. Its last layer starts at zero weights over
    the log-odds of the training samples, so that the untrained network predicts the frequencies
    of the classes.

    One row of X is one window, and rows are independent of each other; `make_windows` makes
    windows of a panel.

    Parameters
    ----------
    n_steps, label_horizon, cell, hidden_sizes, dropout, layer_norm, standardize
        See `RecurrentRegressor`.
    class_weight : dict, "balanced", list of these or None
        Weights of the classes, as in scikit-learn; of the values 0 and 1 of each label where y is
        a label indicator, or a list with an entry for every label. Probabilities are then those
        of the classes so weighted. Samples held out for early stopping count by them, too.
        Classes that a dict does not name have weight 1; so have, with ``"balanced"``, those that do
        not occur among the training samples.
    training : Training, optional
        How to fit; see `RecurrentRegressor`. Default: ``Training(learning_rate=1e-2,
        validation=None)``. The draw of ``validation="series"`` is stratified by class, but not
        by label.
    random_state, verbose
        See `RecurrentRegressor`.

    Attributes
    ----------
    classes_ : ndarray
        The classes in order; for a label indicator the numbers of its columns.
    network_, n_steps_, n_features_in_, feature_names_in_, history_, n_iter_, best_epoch_, \
interrupted_
        See `RecurrentRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> import tsforecast as tsf
    >>> X = np.random.default_rng(0).normal(size=(200, 8, 1))
    >>> y = np.where(X[:, -1, 0] > X[:, -2, 0], "up", "down")
    >>> model = tsf.RecurrentClassifier(hidden_sizes=(8,), random_state=0).fit(X, y)
    >>> model.classes_.tolist(), model.predict_proba(X).shape, bool(model.score(X, y) > 0.9)
    (['down', 'up'], (200, 2), True)
    """

    def __init__(
        self,
        *,
        n_steps: int | None = None,
        label_horizon: int = 1,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_sizes: tuple[int, ...] = (64, 32),
        dropout: float = 0.0,
        layer_norm: bool = False,
        standardize: bool = True,
        class_weight: Any = None,
        training: Training | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_steps = n_steps
        self.label_horizon = label_horizon
        self.cell = cell
        self.hidden_sizes = hidden_sizes
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.standardize = standardize
        self.class_weight = class_weight
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RecurrentClassifier:
        """Learn from samples.

        Parameters
        ----------
        X : array-like or table, shape (n, n_steps, n_features) or (n, p)
            Windows, oldest step first, without missing values.
        y : array-like, shape (n,) or (n, n_labels)
            Classes (numbers or strings), or an indicator of several labels, 0 or 1 each.
        sample_weight : array-like, shape (n,), optional
            Weights in the loss and in the frequencies; samples of weight 0 are left out, and so is
            a class that has no others.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X, y or a parameter cannot be used, or y holds one class alone.
        FloatingPointError
            If the loss stops being finite.
        KeyboardInterrupt
            After Ctrl-C, with the best weights so far in place. SIGTERM: SystemExit(143).
        """
        X, y, weight = self._checked(X, y, sample_weight)
        check_classification_targets(y)
        self._multilabel = bool(is_multilabel(y))
        if self._multilabel:
            codes = np.asarray(y.toarray() if hasattr(y, "toarray") else y).astype(np.int64)
            self.classes_ = np.arange(codes.shape[1])
            self._learn(X, codes.astype(np.float64), weight)
            return self
        if y.ndim == 2 and y.shape[1] > 1:
            raise fail(
                "y has several columns of classes",
                expected="one column, or an indicator of labels (0 or 1 each)",
                found=f"{y.shape[1]} columns",
                advice="Use sklearn.multioutput.MultiOutputClassifier.",
            )
        y = column_or_1d(y, warn=True)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise fail(
                "y holds one class",
                expected="at least two classes among the samples of weight above 0",
                found=f"{len(y)} samples of class {self.classes_.tolist()[0]!r}",
                advice="There is nothing to learn; look at how the data were split.",
            )
        self._learn(X, codes[:, None].astype(np.float64), weight, strata=y)
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Predict the most likely class, or the labels more likely than not.

        Parameters
        ----------
        X : array-like or table
            Windows as in `fit`.

        Returns
        -------
        ndarray, shape (n,) or (n, n_labels)
        """
        probability = self.predict_proba(X)
        if self._multilabel:
            return (probability > 0.5).astype(np.int64)
        result: npt.NDArray[Any] = self.classes_[probability.argmax(axis=1)]
        return result

    def predict_proba(self, X: Any) -> Floats:
        """Predict probabilities.

        Parameters
        ----------
        X : array-like or table
            Windows as in `fit`.

        Returns
        -------
        ndarray, shape (n, n_classes)
            Columns in the order of `classes_`; for labels the probability of each.
        """
        raw, head = self._raw(X), self.network_.head
        assert isinstance(head, Classes)
        probability = head.probabilities(raw, self.network_.start)[:, :, 0].numpy()  # (n, K, C)
        result: Floats = probability[:, :, 1] if self._multilabel else probability[:, 0]
        return result

    def decision_function(self, X: Any) -> Floats:
        """Give what comes before the sigmoid or the softmax.

        Parameters
        ----------
        X : array-like or table
            Windows as in `fit`.

        Returns
        -------
        ndarray, shape (n,), (n, n_classes) or (n, n_labels)
            Of two classes the log-odds of the second one, of more the logits in the order of
            `classes_`; of labels the log-odds of each.
        """
        raw, head = self._raw(X), self.network_.head
        assert isinstance(head, Classes)
        logits = head.logits(raw, self.network_.start)[:, :, 0].numpy()  # (n, K, size)
        result: Floats = logits[:, :, 0] if self._multilabel else logits[:, 0]
        return result if self._multilabel or head.size > 1 else result[:, 0]

    def predict_log_proba(self, X: Any) -> Floats:
        """Predict logarithms of probabilities.

        Parameters
        ----------
        X : array-like or table
            Windows as in `fit`.

        Returns
        -------
        ndarray, shape (n, n_classes)
            The logarithm of `predict_proba`.
        """
        with np.errstate(divide="ignore"):  # what rounds to zero is -inf
            return np.log(self.predict_proba(X))

    def _loss_weights(self, y: Floats, weight: Floats, among: Ints) -> Floats:
        several = isinstance(self.class_weight, list)
        if several and len(self.class_weight) != y.shape[1]:
            raise bad_parameter(
                "class_weight",
                expected=f"one entry for each of the {y.shape[1]} labels",
                found=self.class_weight,
            )
        each = self.class_weight if several else [self.class_weight] * y.shape[1]
        names = np.array([0, 1]) if self._multilabel else self.classes_
        codes = y.astype(np.int64)
        factors = [
            _class_factors(class_weight, names, code[among], weight[among])[code]
            for class_weight, code in zip(each, codes.T)
        ]
        result: Floats = weight[:, None] * np.stack(factors, axis=1)
        return result

    def _head(self) -> Head:
        return Classes(2 if self._multilabel else len(self.classes_))

    def _beginning(self, head: Head, y: Floats, weight: Floats) -> tuple[Floats, Floats, Tensor]:
        """Begin at the frequencies of the classes; z is the code itself."""
        assert isinstance(head, Classes)
        starts = [
            head.start(code[:, None], code[:, None], code[:, None], weight=w)
            for code, w in zip(y.T, weight.T)
        ]
        return np.zeros(y.shape[1]), np.ones(y.shape[1]), torch.stack(starts)


def _flat(X: Any) -> tuple[Any, tuple[int, int] | None]:
    """X of shape (n, T, F) as (n, T F), and (T, F); all else as it is."""
    shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
    if len(shape) > 3:
        raise fail(
            "X has too many dimensions",
            expected="(n_samples, n_steps, n_features) or (n_samples, n_columns)",
            found=f"shape {shape}",
            advice="Join what belongs to a step into one axis of features.",
        )
    if len(shape) < 3:
        return X, None
    n, n_steps, n_features = shape
    return np.reshape(X, (n, n_steps * n_features)), (n_steps, n_features)


def _drawn(n: int, size: float, seed: int, strata: Any) -> tuple[Ints, Ints]:
    """Training samples, and a share drawn at random; of each class in `strata`, (n,), alike."""
    least = 1
    if strata is not None:
        classes, counts = np.unique(strata, return_counts=True)
        least, rarest = len(classes), counts.argmin()
        if counts[rarest] < 2:
            raise fail(
                "too few samples of a class",
                expected="at least two of each, one of them to hold out for validation",
                found=f"{counts[rarest]} of class {classes.tolist()[rarest]!r}",
                advice="Leave the class out, join it to another one, or use "
                "Training(validation=None).",
            )
    n_held = math.ceil(n * size)
    if min(n_held, n - n_held) < least:
        raise fail(
            "too few samples",
            expected=f"at least {least} to learn from and {least} to hold out"
            + ("" if strata is None else ", one of each class"),
            found=f"{n - n_held} and {n_held}",
            advice="Change training__validation_size, or use Training(validation=None).",
        )
    among, held = train_test_split(np.arange(n), test_size=size, stratify=strata, random_state=seed)
    return np.sort(among), np.sort(held)


def _class_factors(class_weight: Any, names: Any, codes: Ints, weight: Floats) -> Floats:
    """Weight of every class; where they are to be balanced, 1 for those not in `codes`."""
    factors = np.ones(len(names))
    if class_weight is None:
        return factors
    seen = np.unique(codes)
    if isinstance(class_weight, dict):
        factors[:] = _named_weights(class_weight, names.tolist())
        if not factors[seen].any():
            raise bad_parameter(
                "class_weight",
                expected="a weight above 0 for a class that occurs among the training samples",
                found=class_weight,
            )
    elif isinstance(class_weight, str) and class_weight == "balanced":
        factors[seen] = compute_class_weight(
            class_weight, classes=seen, y=codes, sample_weight=weight
        )
    else:
        raise bad_parameter(
            "class_weight",
            expected="a dict, 'balanced' or None, or for several labels a list of these",
            found=class_weight,
        )
    return factors


def _named_weights(class_weight: dict[Any, Any], names: list[Any]) -> list[float]:
    """Weights of classes by name, 1 where none is given."""
    # compute_class_weight would look for the text "1" as the number 1
    wrong = {
        name: weight
        for name, weight in class_weight.items()
        if not (isinstance(weight, Real) and 0 <= float(weight) < math.inf)
    }
    if wrong:
        raise bad_parameter("class_weight", expected="finite weights of at least 0", found=wrong)
    # as there, a dict may name others where it names all of these
    if not (set(names) <= set(class_weight) or set(class_weight) <= set(names)):
        raise bad_parameter(
            "class_weight", expected=f"weights of some of the classes {names}", found=class_weight
        )
    return [class_weight.get(name, 1.0) for name in names]


def _input_scale(x: Floats, *, standardize: bool) -> tuple[Floats, InputScale]:
    """What is taken off features (n, T, F) in float64, and what the network does to the rest."""
    n_features = x.shape[2]
    if not standardize:
        return np.zeros(n_features), InputScale(np.zeros(n_features), np.ones(n_features))
    location, spread = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    alive = (spread > 1e-12 * np.abs(location)) & (spread > 1e-30)
    gain = np.where(alive, 1.0 / np.where(alive, spread, 1.0), 0.0)
    return location, InputScale(np.zeros(n_features), gain)


def _float32(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
