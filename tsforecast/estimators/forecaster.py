"""`RecurrentForecaster`: stacked RNN, LSTM or GRU behind fit and predict."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone
from torch import nn

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first, positive_int
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    forward_fill,
    previous_rows,
    time_to_ints,
)
from tsforecast.data.pipeline import TargetTransform
from tsforecast.data.splits import validation_start
from tsforecast.data.windows import (
    Rows,
    TrainingWindows,
    eligible_origins,
    feature_rows,
    plan_windows,
)
from tsforecast.estimators._base import PanelForecaster
from tsforecast.nn.cells import CELLS
from tsforecast.nn.heads import Head, as_head
from tsforecast.nn.network import ForecastNetwork, input_scale
from tsforecast.nn.training import Training, isolated_randomness, train

__all__ = ["RecurrentForecaster"]

# Parameters of the design whose other values are not served yet.
_ONLY = {
    "context": "window",
    "future": None,
    "static": None,
    "normalize": None,
    "season": None,
    "max_gap": None,
    "min_history": None,
    "group": None,
}
Bools = npt.NDArray[np.bool_]
_CHUNK = 1024  # windows per call of the network outside training
_MOST_VALIDATION_ORIGINS = 4096


class RecurrentForecaster(PanelForecaster):
    """Forecast a numeric column of a panel with a stacked recurrent network.

    Every step of the horizon is decoded from the state at the newest row, as a correction of a
    baseline: the untrained network forecasts exactly the baseline, and training keeps it unless
    validation improves by more than its standard error.

    Parameters
    ----------
    target : str, optional
        Column to forecast; may be left out where the panel has one column.
    horizon : int
        Rows ahead, H.
    lookback : int
        Rows of context: the forecast is a function of the last `lookback` transformed rows.
    context : {"window"}
        Where a forecast's memory begins: at the start of its window.
    past : sequence of str, optional
        Further input columns, known up to the cutoff. Default: the target alone.
    transform : transformer, optional
        A scikit-learn transformer or Pipeline on panels (see `tsforecast.data.transforms`),
        fitted on training rows. Series of different scale want ``SeriesScaler()``.
    baseline : {"last", None} or estimator
        What the network corrects: the last known value, the mean of the training rows (None), or
        an unfitted forecaster with `forecast_origins`, fitted on the training rows.
    missing : {"mask", "raise"}
        "mask" shows the network the last known value, whether it was observed, and its age;
        "raise" refuses a panel with NaN in its input columns.
    head : {"quantiles", "point"} or head
        What is forecast: nine deciles, a number, or ``Quantiles(levels)``, ``Point(error)``.
    cell : {"lstm", "gru", "rnn"}
        The recurrent cell.
    hidden_sizes : tuple of int
        Units of each layer, from the input upwards.
    dropout : float
        Between layers, in [0, 1).
    layer_norm : bool
        Normalise between layers.
    training : Training, optional
        How to fit. Default: ``Training()``.
    n_members : int
        Networks trained from different seeds; forecast and quantiles are their means.
    random_state : int, RandomState or None
        Seed of initial weights, order of windows and dropout. The same int gives the same
        weights, bit for bit; no global random state is moved.
    verbose : int
        1 shows a progress bar.
    future, static, normalize, season, max_gap, min_history, group
        Reserved; values other than the default are refused.

    Attributes
    ----------
    history_ : DataFrame
        Per epoch, of each member: train_loss, val_loss, learning_rate, seconds, member; epoch 0
        is the baseline. Losses are in units of the baseline's training error.
    best_epochs_ : list of int
        For each member the epoch whose weights are in use; 0 is the baseline itself.
    cutoff_ : time stamp
        Last time of the rows of `fit`.
    interrupted_ : bool
        Whether `fit` was stopped by a signal; the best weights so far are in place.
    networks_ : list of ForecastNetwork
        The torch modules, one for each member.
    transform_ : transformer or None
        The fitted transform.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(2, 200, random_state=0)
    >>> model = tsf.RecurrentForecaster(
    ...     target="close", horizon=2, lookback=8, hidden_sizes=(4,), transform=tsf.Log(),
    ...     training=tsf.Training(max_epochs=1, validation=None), random_state=0)
    >>> model.fit(panel).predict().shape
    (4, 13)
    """

    def __init__(
        self,
        *,
        target: Hashable | None = None,
        horizon: int = 1,
        lookback: int = 32,
        context: Literal["window"] = "window",
        past: Sequence[Hashable] | None = None,
        future: None = None,
        static: None = None,
        transform: Any = None,
        baseline: Any = "last",
        normalize: None = None,
        season: None = None,
        missing: Literal["mask", "raise"] = "mask",
        max_gap: None = None,
        min_history: None = None,
        group: None = None,
        head: str | Head = "quantiles",
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_sizes: tuple[int, ...] = (64, 32),
        dropout: float = 0.0,
        layer_norm: bool = False,
        n_members: int = 1,
        training: Training | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.target = target
        self.horizon = horizon
        self.lookback = lookback
        self.context = context
        self.past = past
        self.future = future
        self.static = static
        self.transform = transform
        self.baseline = baseline
        self.normalize = normalize
        self.season = season
        self.missing = missing
        self.max_gap = max_gap
        self.min_history = min_history
        self.group = group
        self.head = head
        self.cell = cell
        self.hidden_sizes = hidden_sizes
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.n_members = n_members
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    _stop: BaseException | None

    def fit(
        self, panel: pd.DataFrame, y: None = None, *, init_from: None = None
    ) -> RecurrentForecaster:
        """Fit transform, baseline and network on the rows of `panel`.

        Parameters
        ----------
        panel : DataFrame
            A panel, or anything that `as_panel` takes without further names.
        y : None
            Ignored: the target is a column of the panel.
        init_from : None
            Reserved.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the panel cannot be used; the message names column, series and first rows.
        FloatingPointError
            If the loss stops being finite.
        KeyboardInterrupt
            After Ctrl-C, with the best weights so far in place. SIGTERM: SystemExit(143).
        """
        _reserved("init_from", init_from)
        self._check_parameters()
        super().fit(panel, y)
        stop, self._stop = self._stop, None
        if stop is not None:
            raise stop
        return self

    def predict(self, panel: pd.DataFrame | None = None, *, future: None = None) -> pd.DataFrame:
        """Forecast the next `horizon` rows after the end of each series.

        Parameters
        ----------
        panel : DataFrame, optional
            Rows up to now, of series seen in `fit` or not. Default: the rows of `fit`.
        future : None
            Reserved for columns that are known ahead.

        Returns
        -------
        DataFrame
            Index as the panel's; columns ``target, cutoff, step, forecast, q0.1, ...``.
        """
        _reserved("future", future)
        return super().predict(panel)

    def _check_parameters(self) -> None:
        for name, only in _ONLY.items():
            _reserved(name, getattr(self, name), only)
        positive_int("lookback", self.lookback)
        positive_int("n_members", self.n_members)
        choice("cell", self.cell, CELLS)
        choice("missing", self.missing, ("mask", "raise"))
        as_head(self.head)
        self._training().check()
        if isinstance(self.past, str):
            raise bad_parameter("past", expected="a list of columns", found=self.past)
        if not (self.baseline in ("last", None) if _is_name(self.baseline) else True):
            raise bad_parameter(
                "baseline", expected="'last', None or a forecaster", found=self.baseline
            )
        if not _is_name(self.baseline) and not hasattr(self.baseline, "forecast_origins"):
            raise bad_parameter(
                "baseline",
                expected="'last', None or an estimator with forecast_origins",
                found=self.baseline,
            )

    def set_params(self, **params: Any) -> RecurrentForecaster:
        """Set parameters, as scikit-learn does; ``training__...`` also where `training` is None."""
        if self.training is None and any(name.startswith("training__") for name in params):
            self.training = Training()
        super().set_params(**params)
        return self

    def _training(self) -> Training:
        training = Training() if self.training is None else self.training
        if not isinstance(training, Training):
            raise bad_parameter("training", expected="a Training(...) or None", found=training)
        return training

    def _columns(self) -> list[Hashable]:
        further = {name for name in (self.past or ()) if name != self.target_}
        return [self.target_, *sorted(further, key=str)]

    @property
    def _levels(self) -> tuple[float, ...]:
        return as_head(self.head).levels

    @property
    def _memory(self) -> int:
        return self.lookback

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> Rows:
        training = self._training()
        known_until = layout.stops  # rows of each series that are trained on end here
        if training.validation == "time":
            start = validation_start(panel, training.validation_size)
            late = time_to_ints(layout.time) >= start
            known_until = layout.starts + np.add.reduceat(~late, layout.starts)
        counts = known_until - layout.starts
        if not counts.any():
            raise self._too_short(layout, 0, training)
        _, kept = layout.head(counts)
        self._fit_pipeline(panel.iloc[kept])

        rows = self._prepare(panel, layout)
        known = rows.head(counts)
        warm_up = int((rows.first - layout.starts).max())
        may_learn = self._learnable(known)
        if not may_learn.any():
            raise self._too_short(layout, warm_up, training)
        self._warn_left_out(known.layout, may_learn, layout)
        errors = known.errors(np.flatnonzero(may_learn), self.horizon)  # (n, H)
        if not np.isfinite(errors).any(axis=0).all():
            raise self._too_short(layout, warm_up, training)
        error_scale = self._error_scale(errors, known.target)
        n_origins, batch_size = plan_windows(
            int(may_learn.sum()),
            origins=training.origins,
            lookback=self.lookback,
            batch_size=training.batch_size,
        )
        validation = blocks = None
        if training.validation is not None:
            origins = self._validation_origins(rows, known_until)
            if len(origins) == 0:
                raise self._too_short(layout, warm_up, training)
            validation = _Validation(rows, origins, self.lookback, self.horizon, error_scale)
            stamps = np.unique(time_to_ints(layout.time)[origins], return_inverse=True)[1]
            blocks = stamps // self.horizon  # targets overlap within a horizon
        self.networks_, histories, self.best_epochs_ = [], [], []
        for member, seed in enumerate(_seeds(self.random_state, self.n_members)):
            batches = TrainingWindows(
                known,
                may_learn,
                lookback=self.lookback,
                horizon=self.horizon,
                origins=n_origins,
                batch_size=batch_size,
                scale=error_scale,
                rng=np.random.default_rng(seed),
            )
            with isolated_randomness(seed, training.device()):
                network = self._network(
                    known, errors / error_scale, error_scale, training, n_origins
                )
                fitted = train(
                    network, batches, validation, training, blocks=blocks, verbose=self.verbose
                )
            self.networks_.append(network)
            self.best_epochs_.append(fitted.best_epoch)
            histories.append(pd.DataFrame(fitted.history).assign(member=member))
            self._stop = fitted.stopped_by
            if self._stop is not None:
                break
        self.history_ = pd.concat(histories).astype({"epoch": int}).set_index("epoch")
        self.interrupted_ = self._stop is not None
        return rows

    def _error_scale(self, errors: Floats, target: Floats) -> Floats:
        """Spread of the baseline's training errors (n, H) per step: the unit of what is learned."""
        scale = np.sqrt(np.nanmean(np.square(errors), axis=0))
        if not (scale > 1e-12 * np.nanmax(np.abs(target))).any():
            raise fail(
                "constant target",
                expected="a target that moves away from its baseline",
                found="no error in any training row",
                advice="There is nothing to learn here; use Naive.",
                column=self.target_,
            )
        # a step that the baseline never misses, as in a season without noise, needs a unit too
        result: Floats = np.maximum(scale, 1e-3 * scale.max())
        return result

    def _fit_pipeline(self, known: pd.DataFrame) -> None:
        """Fit transform and baseline on the training rows, and what fills leading gaps."""
        self._chain = TargetTransform(self.transform, known)
        self.transform_ = self._chain.fitted
        values = self._chain(known).to_numpy()
        empty = np.isnan(values).all(axis=0)
        if empty.any():
            raise fail(
                "column without any value in the training rows",
                expected="at least one number in every column used",
                found="only NaN before the validation part",
                advice="Leave it out of `past`, or give more rows.",
                column=known.columns[int(np.argmax(empty))],
            )
        self._fill = np.nanmean(values, axis=0)  # (C,)
        self.baseline_ = None if _is_name(self.baseline) else clone(self.baseline)
        if self.baseline_ is not None:
            if self.baseline_.target not in (None, self.target_):
                raise bad_parameter(
                    "baseline", expected=f"a forecaster of {self.target_!r}", found=self.baseline
                )
            self.baseline_.set_params(target=self.target_, horizon=self.horizon)
            self.baseline_.fit(known)

    def _network(
        self,
        known: Rows,
        z: Floats,
        error_scale: Floats,
        training: Training,
        n_origins: int,
    ) -> ForecastNetwork:
        head = as_head(self.head)
        previous = previous_rows(known.layout)
        later = previous != np.arange(len(previous))  # has a row before it
        target = known.inputs[:, 0].numpy().astype(np.float64)
        return ForecastNetwork(
            scale=input_scale(
                known.inputs[torch.from_numpy(later)], (target - target[previous])[later]
            ),
            cell=self.cell,
            hidden_sizes=self.hidden_sizes,
            dropout=self.dropout,
            layer_norm=self.layer_norm,
            init=training.init,
            max_steps=max(2, self.lookback + n_origins - 1),
            head=head,
            error_scale=error_scale,
            start=head.start(z),
        )

    def _learnable(self, known: Rows) -> Bools:
        """Training origins: enough context, the whole horizon among the training rows."""
        stop = np.repeat(known.layout.stops, np.diff(known.layout.offsets))
        inside = np.arange(known.layout.n_rows) + self.horizon < stop
        return eligible_origins(known, self.lookback) & inside

    def _validation_origins(self, rows: Rows, known_until: Ints) -> Ints:
        """Origins with their whole horizon behind the training rows; context may overlap."""
        counts = np.diff(rows.layout.offsets)
        row = np.arange(rows.layout.n_rows)
        after = row >= np.repeat(known_until, counts) - 1
        inside = row + self.horizon < np.repeat(rows.layout.stops, counts)
        origins = np.flatnonzero(eligible_origins(rows, self.lookback) & after & inside)
        origins = origins[np.isfinite(rows.errors(origins, self.horizon)).any(axis=1)]
        thin = -(-len(origins) // _MOST_VALIDATION_ORIGINS) if len(origins) else 1
        return origins[::thin]

    def _too_short(self, layout: Layout, warm_up: int, training: Training) -> ValueError:
        share = training.validation_size if training.validation is not None else 0.0
        shortest = warm_up + self.lookback + self.horizon
        needed = shortest
        while int(np.ceil(needed * (1.0 - share))) < shortest or (
            share and needed - int(np.ceil(needed * (1.0 - share))) < self.horizon
        ):
            needed += 1
        longest = int(np.diff(layout.offsets).max())
        return fail(
            "too few rows",
            expected=f"a series of at least {needed} rows: lookback {self.lookback} + horizon "
            f"{self.horizon}"
            + (f" behind {warm_up} that transforms use up" if warm_up else "")
            + " to train on"
            + (f", and a validation part of {share:g}" if share else ""),
            found=f"{longest} in the longest of {layout.n_series}"
            + (", but too few known targets in one of these parts" if longest >= needed else ""),
            advice="Lower `lookback`, or use Training(validation=None) with a fixed number of "
            "epochs.",
            column=self.target_,
        )

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> Rows:
        raw = panel.to_numpy()
        if self.missing == "raise" and np.isnan(raw).any():
            at, column = np.argwhere(np.isnan(raw))[0]
            raise fail(
                "missing values",
                expected="none, as missing='raise'",
                found=f"{int(np.isnan(raw).sum())} NaN",
                advice="Fill or drop them, or use missing='mask'.",
                column=panel.columns[column],
                series=None if layout.ids is None else panel.index[at][0],
                rows=[str(panel.index[i]) for i in np.flatnonzero(np.isnan(raw[:, column]))[:5]],
            )
        values = self._chain(panel).to_numpy()
        if np.isinf(values).any():
            at, column = np.argwhere(np.isinf(values))[0]
            raise fail(
                "transform made infinite values",
                expected="finite numbers",
                found=f"{int(np.isinf(values).sum())} infinite",
                advice="Look at the transform's input there.",
                column=panel.columns[column],
                rows=[str(panel.index[at])],
            )
        made = (np.isnan(values) & ~np.isnan(raw)).any(axis=1)
        warm_up = [
            start + int(np.argmin(np.append(made[start:stop], False)))
            for start, stop in zip(layout.starts, layout.stops)
        ]
        return Rows(
            layout=layout,
            inputs=torch.from_numpy(feature_rows(values, layout, self._fill)),
            target=values[:, 0],
            base=self._base(panel, layout, values[:, 0]),
            first=np.array(warm_up, dtype=np.int64),
        )

    def _base(self, panel: pd.DataFrame, layout: Layout, target: Floats) -> Floats:
        """What the baseline says at every row, (N, 1) or (N, H), in the transformed unit."""
        if self.baseline_ is not None:
            frame = self.baseline_.forecast_origins(panel, None)
            steps = frame["forecast"].to_numpy().reshape(layout.n_rows, self.horizon)
            return self._chain.push(steps, np.arange(layout.n_rows), layout, inverse=False)
        if self.baseline == "last":
            return forward_fill(target, layout)[0][:, None]
        return np.full((layout.n_rows, 1), self._fill[0])

    def _forecast(self, rows: Rows, origins: Ints) -> tuple[Floats, Floats]:
        ready = eligible_origins(rows, self.lookback)[origins]
        n, horizon, n_levels = len(origins), self.horizon, len(self._levels)
        # where there is too little context: what the untrained network says
        first = self.networks_[0]
        untrained = first.in_units(torch.zeros(1, horizon, first.head.size))
        forecast, spread = (np.repeat(part.double().numpy(), n, axis=0) for part in untrained)
        if not ready.all():
            self._warn_short(rows.layout, origins[~ready])
        which = np.flatnonzero(ready)
        with torch.inference_mode():
            for at in range(0, len(which), _CHUNK):
                part = which[at : at + _CHUNK]
                x = rows.gather(origins[part] - (self.lookback - 1), self.lookback)
                said = [network.forecast(x) for network in self.networks_]
                forecast[part] = torch.stack([point for point, _ in said]).mean(0).numpy()
                spread[part] = torch.stack([quantiles for _, quantiles in said]).mean(0).numpy()
        base = rows.base[origins]  # (n, 1) or (n, H)
        both = np.concatenate([forecast[:, :, None], spread], axis=2) + base[:, :, None]
        both = self._chain.push(both, origins, rows.layout, inverse=True)
        return both[:, :, 0], both[:, :, 1:].reshape(n, horizon, n_levels)

    def _warn_left_out(self, known: Layout, may_learn: Bools, layout: Layout) -> None:
        teaching = set(np.asarray(known.names(), dtype=object)[_any(may_learn, known)])
        short = [name for name in layout.names() if name not in teaching]
        if short:
            warnings.warn(
                f"{len(short)} of {layout.n_series} series are left out of training: they have "
                f"fewer than lookback {self.lookback} + horizon {self.horizon} rows before the "
                f"validation part, or no known target there (first: {first(short, shown=3)}).",
                stacklevel=callers_level(),
            )

    def _warn_short(self, layout: Layout, origins: Ints) -> None:
        which = np.unique(np.searchsorted(layout.offsets, origins, side="right") - 1)
        names = layout.names()
        warnings.warn(
            f"{len(origins)} origins of {len(which)} series have fewer than lookback="
            f"{self.lookback} rows, or no known target yet (first series: {names[which[0]]!r}): "
            "their forecast is the baseline, NaN where there is none.",
            stacklevel=callers_level(),
        )


class _Validation:
    """Losses of the validation origins, in the context that inference uses."""

    def __init__(
        self, rows: Rows, origins: Ints, lookback: int, horizon: int, scale: Floats
    ) -> None:
        self.rows = rows
        self.origins = origins
        self.lookback = lookback
        z = rows.errors(origins, horizon) / scale  # (n, H)
        self.z = torch.from_numpy(z.astype(np.float32))[:, None]  # (n, 1, H)

    def __call__(self, network: nn.Module) -> Floats:
        device = next(network.parameters()).device
        losses = np.full(len(self.origins), np.nan)
        for at in range(0, len(self.origins), _CHUNK):
            part = self.origins[at : at + _CHUNK]
            x = self.rows.gather(part - (self.lookback - 1), self.lookback).to(device)
            loss, known = network.loss(x, self.z[at : at + _CHUNK].to(device))  # type: ignore[operator]
            loss = torch.where(known > 0, loss, torch.nan)
            losses[at : at + _CHUNK] = loss[:, 0].cpu().numpy()
        return losses


def _reserved(name: str, value: object, only: str | None = None) -> None:
    if not (value is None if only is None else value == only):
        raise bad_parameter(
            name,
            expected=f"{only!r}",
            found=value,
            advice="Other values are not available yet.",
        )


def _any(flags: Bools, layout: Layout) -> Bools:
    """Whether any row of a series is flagged, (N,) -> (S,)."""
    return np.logical_or.reduceat(flags, layout.starts)


def _is_name(baseline: object) -> bool:
    return not isinstance(baseline, BaseEstimator)


def _seeds(random_state: Any, n_members: int) -> list[int]:
    """Draw a seed for each member without touching any global random state."""
    if isinstance(random_state, np.random.RandomState):
        return [int(seed) for seed in random_state.randint(2**31 - 1, size=n_members)]
    if random_state is not None and not isinstance(random_state, np.random.Generator):
        positive_int("random_state", random_state, least=0)
    rng = np.random.default_rng(random_state)
    return [int(seed) for seed in rng.integers(2**31 - 1, size=n_members)]
