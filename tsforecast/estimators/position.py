"""`PositionEstimator`: a recurrent network that says what to hold, taught by what it earns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first, positive_int
from tsforecast.data.momentum import Momentum, captured_returns
from tsforecast.data.panel import Floats, Ints, Layout, as_panel, forward_fill, previous_rows
from tsforecast.data.scored import scored_origins
from tsforecast.data.splits import validation_start
from tsforecast.data.windows import (
    Rows,
    Shape,
    TrainingWindows,
    Windows,
    eligible_origins,
    plan_windows,
)
from tsforecast.estimators._base import PanelForecaster
from tsforecast.estimators._params import RecordParameters, draw_seeds
from tsforecast.estimators._preparation import Preparation
from tsforecast.estimators._trained import train_members
from tsforecast.nn.cells import CELLS, Init
from tsforecast.nn.inference import Known, remembered
from tsforecast.nn.network import InputScale, input_scale
from tsforecast.nn.positions import Holdings, PositionNetwork, sharpe_values
from tsforecast.nn.training import Training

__all__ = ["PositionEstimator"]

Bools = npt.NDArray[np.bool_]
_NO_SCALE = InputScale(np.zeros(0), np.zeros(0))
_MOST_VALIDATION_ORIGINS = 1 << 14
_BLOCK_ROWS = 5  # of validation, whose returns may hang together


class PositionEstimator(RecordParameters, PanelForecaster):
    r"""Positions in the series of a panel, from a recurrent network trained on its Sharpe ratio.

    After Lim, Zohren and Roberts, "Enhancing time series momentum strategies using deep neural
    networks" (2019): no return is forecast and no rule is applied; the network says a position
    at every row, and what it learns by is the Sharpe ratio of what these positions earn, less what
    trading them costs. A position of 1 is all of a series' share held long, -1 short:

    .. math::
        w_t = x_t \min(1, \sigma^* / \sigma_t), \qquad x_t \in (-1, 1),

    where :math:`x_t` comes from the network's state, :math:`\sigma_t` is the annualised
    exponentially weighted volatility up to row t, and :math:`\sigma^*` the `vol_target`. There is
    no leverage: a series quieter than the target is held at 1 at most.

    A position is decided with the price of row t, carried out at that of row t + `lag`, and held
    for one row: as `backtest_strategy` trades it with the same `lag`. The untrained network holds
    nothing, and training keeps that unless the Sharpe ratio of the validation part, after costs,
    exceeds zero by `min_t` standard errors.

    Parameters
    ----------
    target : str, optional
        Column of prices, all positive; may be left out where the panel has one column. What is
        given is a position, not this column.
    past : sequence of str, optional
        Further input columns, known up to the cutoff. Default: the price alone, of which the
        network sees `spans` and `macd`.
    lookback : int
        Rows of context, at least 2: with ``context="window"`` a position is a function of the
        signals and columns of the last `lookback` rows.
    context : {"window", "history"}
        Where memory begins: `lookback` rows before, or with the series (see
        `RecurrentForecaster`).
    min_history : int, optional
        Rows that a series must have up to a row to hold anything there. Default: `lookback`.
    spans : sequence of int
        Rows of the past returns that the network sees, in units of the volatility.
    macd : sequence of (int, int)
        Short and long time scale, in rows, of the crossings of moving averages that it sees (see
        `tsforecast.data.momentum`).
    vol_target : float or None
        Annualised volatility that positions are scaled to; None: weights are x itself.
    vol_half_life : float
        Of the volatility, in rows.
    periods_per_year : int
        Rows of a year: 252 trading days.
    cost_bps : float
        Cost per side of the weight traded, in basis points, that loss and validation count: the
        turnover penalty. Take what trading will cost (10,000 times `Costs.per_side`), or more.
    lag : int or "same close"
        Rows from the decision to the trade, from 1, as of `backtest_strategy`. ``"same close"``
        trades at the very price that the decision has seen.
    min_t : float
        Standard errors by which the net Sharpe ratio of the validation part must exceed zero for
        anything to be held.
    cell : {"lstm", "gru", "rnn"}
    hidden_sizes : tuple of int
        Units of each layer, from the input upwards.
    dropout : float
        Between layers, in [0, 1).
    layer_norm : bool
        Normalise between layers.
    n_members : int
        Networks trained from different seeds; their positions are averaged.
    training : Training, optional
        How to fit. Validation is the last part of the time, or None. Default:
        ``Training(max_epochs=20, patience=5)``: every epoch more is a chance more to look good.
    random_state : int, RandomState or None
        Seed of initial weights, order of windows and dropout.
    verbose : int
        1 shows a progress bar.

    Attributes
    ----------
    history_ : DataFrame
        Per epoch, of each member: train_loss, val_loss, learning_rate, seconds, member; epoch 0
        holds nothing. train_loss is minus the annualised Sharpe ratio of all series and times of
        a batch together (0.1 of the spread of full positions added), val_loss minus that of all
        series in equal parts, day by day, both after costs.
    best_epochs_ : list of int
        For each member the epoch whose weights are in use; 0 holds nothing.
    cutoff_ : time stamp
        Last time of the rows of `fit`.
    interrupted_ : bool
        Whether `fit` was stopped by a signal; the best weights so far are in place.
    networks_ : list of PositionNetwork
    output : str
        ``"position"``: what the column `forecast` of its frames holds.

    Notes
    -----
    Frames are those of forecasters with one step: target ``"position"``, cutoff t, and the time of
    the row after it. In a `backtest` their `actual` is NaN and no naive stands beside them: no
    metric of forecasts applies to a position. Trade the frame with `backtest_strategy`.

    A missing price earns nothing that day, and the move comes with the next one known. A trade that
    falls on such a day is counted at the last known price, while `backtest_strategy` lets it lapse.
    Returns of several series at once are pooled in the loss, as in the paper; in validation, series
    in equal parts are one portfolio, so that its error allows for series that move together.

    See Also
    --------
    backtest_strategy : What positions earn, after costs.
    check_no_lookahead : Shows that nothing later moves a position.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(3, 300, random_state=0)
    >>> model = tsf.PositionEstimator(
    ...     target="close", lookback=20, hidden_sizes=(4,),
    ...     training=tsf.Training(max_epochs=1, validation=None), random_state=0)
    >>> frame = model.fit(panel).predict()
    >>> frame["target"].unique().tolist(), frame["forecast"].abs().max() <= 1
    (['position'], True)
    """

    output: ClassVar[str] = "position"
    horizon: int = 1

    def __init__(
        self,
        *,
        target: Any = None,
        past: Sequence[Hashable] | None = None,
        lookback: int = 60,
        context: Literal["window", "history"] = "window",
        min_history: int | None = None,
        spans: Sequence[int] = (1, 21, 63, 126, 252),
        macd: Sequence[tuple[int, int]] = ((8, 24), (16, 48), (32, 96)),
        vol_target: float | None = 0.15,
        vol_half_life: float = 60,
        periods_per_year: int = 252,
        cost_bps: float = 5.0,
        lag: int | Literal["same close"] = 1,
        min_t: float = 2.0,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_sizes: tuple[int, ...] = (16,),
        dropout: float = 0.0,
        layer_norm: bool = False,
        n_members: int = 1,
        training: Training | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.target = target
        self.past = past
        self.lookback = lookback
        self.context = context
        self.min_history = min_history
        self.spans = spans
        self.macd = macd
        self.vol_target = vol_target
        self.vol_half_life = vol_half_life
        self.periods_per_year = periods_per_year
        self.cost_bps = cost_bps
        self.lag = lag
        self.min_t = min_t
        self.cell = cell
        self.hidden_sizes = hidden_sizes
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.n_members = n_members
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    _records: ClassVar = {
        "training": lambda training: _default_training() if training is None else training,
    }
    _stop: BaseException | None
    _known: Known | None

    # ------------------------------------------------------------------------------------ verbs

    def fit(self, panel: pd.DataFrame, y: None = None) -> PositionEstimator:
        """Learn positions from the rows of `panel`.

        Parameters
        ----------
        panel : DataFrame
            A panel, or anything that `as_panel` takes without further names.
        y : None
            Ignored: the prices are a column of the panel.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the panel cannot be used, such as one with prices that are not positive; the message
            names column, series and first rows.
        FloatingPointError
            If the loss stops being finite.
        KeyboardInterrupt
            After Ctrl-C, with the best weights so far in place. SIGTERM: SystemExit(143).
        """
        self._check_parameters()
        super().fit(panel, y)
        stop, self._stop = self._stop, None
        if stop is not None:
            raise stop
        return self

    def score(self, panel: pd.DataFrame, y: None = None) -> float:
        """Annualised Sharpe ratio of the positions, after costs; 0 is holding nothing.

        All series in equal parts, day by day. Origins are the rows from `cutoff_` on for series
        seen in `fit`, all rows for others, each with ``lag + 1`` rows after it.

        Raises
        ------
        DataError
            If such origins are of fewer than two times, or the rows of `fit` that a position at
            its end needs are missing.
        """
        check_is_fitted(self)
        rows: Any = self._prepared(panel)
        layout: Layout = rows.layout
        prices = as_panel(panel)[self.targets_].to_numpy()
        origins = scored_origins(
            layout,
            np.isfinite(prices),
            self._seen_in_fit(layout),
            self.cutoff_,
            horizon=self._lag + 1,
        )
        earned = _Earned.of(rows, origins, self._lag)
        if earned.n_stamps < 2:
            raise fail(
                "too few rows to score",
                expected=f"positions at 2 times or more, with lag {self._lag} + 1 rows after each",
                found=f"{earned.n_stamps}",
                advice="A Sharpe ratio says little of less than some months: give a search "
                "cv=RollingOrigin(origins_per_split=...).",
            )
        net = earned.net(self._positions(rows, earned.origins), self._cost)
        return float(math.sqrt(self.periods_per_year) * sharpe_values(net).mean())

    # ------------------------------------------------------------------------------- parameters

    def _check_parameters(self) -> None:
        choice("context", self.context, ("window", "history"))
        choice("cell", self.cell, CELLS)
        positive_int("lookback", self.lookback, least=2)
        if self.lag != "same close":
            if self.lag == 0 and not isinstance(self.lag, bool):
                raise bad_parameter(
                    "lag",
                    expected="1 or more rows",
                    found=self.lag,
                    advice="Or write lag='same close' to trade at the price that is decided on.",
                )
            if isinstance(self.lag, str):
                raise bad_parameter(
                    "lag", expected="1 or more rows, or 'same close'", found=self.lag
                )
            positive_int("lag", self.lag)
        for name in ("n_members", "periods_per_year"):
            positive_int(name, getattr(self, name))
        if self.min_history is not None:
            positive_int("min_history", self.min_history)
        numbers = {"vol_half_life": self.vol_half_life}
        if self.vol_target is not None:
            numbers["vol_target"] = self.vol_target
        for name, value in numbers.items():
            if not _is_number(value) or value <= 0:
                raise bad_parameter(name, expected="a number above 0", found=value)
        if not _is_number(self.cost_bps) or self.cost_bps < 0:
            raise bad_parameter("cost_bps", expected="0 or more basis points", found=self.cost_bps)
        if not _is_number(self.min_t) or self.min_t < 0:
            raise bad_parameter("min_t", expected="0 or more", found=self.min_t)
        if not isinstance(self.past, list | tuple | set | frozenset | pd.Index | None):
            raise bad_parameter("past", expected="a list of columns", found=self.past)
        if isinstance(self.target, list | tuple):
            raise bad_parameter("target", expected="one column of prices", found=self.target)
        for rows in _listed("spans", self.spans):
            positive_int("spans", rows)
        for pair in _listed("macd", self.macd):
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not pair[0] < pair[1]:
                raise bad_parameter("macd", expected="pairs (short, long) of rows", found=self.macd)
            for rows in pair:
                positive_int("macd", rows)
        if not (self.spans or self.macd or self._past()):
            raise bad_parameter("spans", expected="something to look at", found=self.spans)
        self._training().check()
        if self._training().validation == "series":
            raise bad_parameter(
                "training",
                expected="validation='time' or None",
                found=self.training,
                advice="Series move together: those held out are not news.",
            )

    def _training(self) -> Training:
        training = _default_training() if self.training is None else self.training
        if not isinstance(training, Training):
            raise bad_parameter("training", expected="a Training(...) or None", found=training)
        return training.resolved("time")

    @property
    def _momentum(self) -> Momentum:
        pairs = tuple((int(short), int(long)) for short, long in self.macd)
        return Momentum(tuple(map(int, self.spans)), pairs, float(self.vol_half_life))

    @property
    def _lag(self) -> int:
        return 0 if self.lag == "same close" else int(self.lag)

    @property
    def _cost(self) -> float:
        return float(self.cost_bps) / 1e4

    @property
    def _least_history(self) -> int:
        return self.lookback if self.min_history is None else self.min_history

    @property
    def _levels(self) -> tuple[float, ...]:
        return ()

    @property
    def _memory(self) -> int:
        return max(self.lookback if self.context == "window" else 1, self._least_history)

    @property
    def _shape(self) -> Shape:
        return Shape(self.context, self.lookback, 1)

    def _past(self) -> list[Hashable]:
        """Further input columns, in an order that is not the user's."""
        return sorted(set(() if self.past is None else self.past), key=str)

    def _columns(self) -> list[Hashable]:
        return list(dict.fromkeys([*self.targets_, *self._past()]))

    def _outputs(self) -> list[Hashable]:
        return [self.output]

    # ------------------------------------------------------------------------------------- rows

    def _new_preparation(self) -> Preparation:
        names: list[Hashable] = [*self._momentum.names]
        return Preparation(
            targets=[],
            past=names + self._past(),
            future=[],
            static=[],
            horizon=1,
            transform=None,
            baseline=None,
            scale=None,
            seasons=(),
            missing="mask",
            max_gap=None,
        )

    def _shown(self, panel: pd.DataFrame, layout: Layout) -> tuple[pd.DataFrame, Floats, Floats]:
        """What the network sees of a panel; its last known prices and volatility, (N, 1) each."""
        name = self.targets_[0]
        price = panel[name].to_numpy(dtype=np.float64)
        wrong = np.flatnonzero(price <= 0)
        if len(wrong):
            raise fail(
                "prices that are not positive",
                expected="prices above 0, of which returns are taken",
                found=f"{len(wrong)} others, e.g. {price[wrong[0]]:g}",
                advice="Give a column of prices, not of returns.",
                column=name,
                rows=[str(label) for label in panel.index[wrong[:5]]],
            )
        momentum = self._momentum
        signals, volatility = momentum.measure(price, layout)
        shown = pd.DataFrame(signals, index=panel.index, columns=momentum.names)
        for column in self._past():
            if column in shown:
                raise bad_parameter("past", expected="names that no signal has", found=column)
            shown[column] = panel[column]
        return shown, forward_fill(price, layout)[0][:, None], volatility[:, None]

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> Rows:
        return self._rows(*self._shown(panel, layout), layout)

    def _read(self, panel: pd.DataFrame) -> tuple[list[PositionNetwork], Rows, Shape]:
        """Give the networks, what they read of a panel, and how: for a look inside."""
        return self.networks_, self._prepare(*self._checked(panel)), self._shape

    def _rows(self, shown: pd.DataFrame, price: Floats, volatility: Floats, layout: Layout) -> Rows:
        """Feature rows; prices as target, level and baseline, volatility as their unit."""
        rows = self._preparation.rows(shown, layout)
        return replace(rows, target=price, level=price, base=price[:, :, None], unit=volatility)

    def _largest(self, rows: Rows, at: Any) -> Floats:
        """Largest weight at some rows: 0 where nothing is held, else at most 1."""
        ready = eligible_origins(rows, self._least_history, at)
        if self.vol_target is None:
            return ready.astype(np.float64)
        volatility = np.nan_to_num(rows.unit[at, 0]) * math.sqrt(self.periods_per_year)
        scale: Floats = np.minimum(1.0, self.vol_target / np.maximum(volatility, 1e-12))
        return ready * scale

    # -------------------------------------------------------------------------------------- fit

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> Rows:
        training = self._training()
        seeds = draw_seeds(self.random_state, self.n_members)
        counts = np.diff(layout.offsets)
        if training.validation is not None:
            early = layout.when() < validation_start(panel, training.validation_size)
            counts = np.add.reduceat(early, layout.starts)
        if not counts.any():
            raise self._too_short(layout)
        shown, price, volatility = self._shown(panel, layout)
        known_layout, kept = layout.head(counts)
        self._preparation = self._new_preparation()
        self._preparation.fit(shown.iloc[kept], known_layout)
        rows = self._rows(shown, price, volatility, layout)
        known = rows.head(counts)

        largest = self._largest(known, slice(None))
        returns = captured_returns(known.level[:, 0], known.layout, self._lag)
        may_learn = (largest > 0) & np.isfinite(returns)
        if not may_learn.any():
            raise self._too_short(layout)
        self._warn_left_out(known.layout, may_learn, layout)
        unit = float(np.sqrt(np.mean(np.square(largest * returns)[may_learn])))
        if not unit > 0:
            raise fail(
                "constant prices",
                expected="prices that move in the training rows",
                found="no return but 0",
                advice="There is nothing to learn here.",
                column=self.targets_[0],
            )
        validation, blocks = None, None
        if training.validation is not None:
            validation = self._validation(rows, layout.starts + counts)
            blocks = np.arange(validation.earned.n_stamps) // _BLOCK_ROWS
        n_origins, batch_size = plan_windows(
            int(may_learn.sum()),
            origins=training.origins,
            lookback=self.lookback,
            batch_size=training.batch_size,
        )
        later = previous_rows(known.layout) != np.arange(known.layout.n_rows)
        scale = input_scale(known.inputs[torch.from_numpy(later)])

        def begin(member: int, seed: int) -> tuple[PositionNetwork, _PositionWindows]:
            batches = _PositionWindows(
                known,
                may_learn,
                weight=may_learn[:, None].astype(np.float64),
                shape=self._shape,
                origins=n_origins,
                batch_size=batch_size,
                scale=np.ones((1, 1)),
                rng=np.random.default_rng(seed),
            )
            batches.largest, batches.returns = largest, np.nan_to_num(returns)
            return self._new_network(scale, unit, training.init), batches

        trained = train_members(
            seeds,
            begin,
            validation,
            training,
            blocks=blocks,
            errors=self.min_t,
            verbose=self.verbose,
        )
        self.networks_, self.best_epochs_ = trained.networks, trained.best_epochs
        self.history_, self._stop = trained.history, trained.stopped_by
        self.interrupted_ = self._stop is not None
        self._known = None
        return rows

    def _new_network(self, scale: InputScale, unit: float, init: Init) -> PositionNetwork:
        """Lay out a network by the parameters and what is measured."""
        return PositionNetwork(
            features=self._preparation.features,
            scale=scale,
            static=_NO_SCALE,
            n_codes=(),
            cell=self.cell,
            hidden_sizes=self.hidden_sizes,
            dropout=self.dropout,
            layer_norm=self.layer_norm,
            init=init,
            max_steps=max(2, self.lookback),
            unit=unit,
            cost=self._cost,
            periods=float(self.periods_per_year),
        )

    def _validation(self, rows: Rows, known_until: Ints) -> _Validation:
        """Origins whose return lies behind the training rows; context may overlap."""
        counts = np.diff(rows.layout.offsets)
        after = np.arange(rows.layout.n_rows) >= np.repeat(known_until, counts) - 1
        origins = np.flatnonzero(after & eligible_origins(rows, self._least_history))
        if len(origins) > _MOST_VALIDATION_ORIGINS:  # whole series: turnover needs every row
            every = -(-len(origins) // _MOST_VALIDATION_ORIGINS)
            origins = origins[rows.series_of(origins) % every == 0]
        earned = _Earned.of(rows, origins, self._lag)
        if earned.n_stamps < 2:
            raise self._too_short(rows.layout)
        largest = self._largest(rows, earned.origins)
        return _Validation(rows, earned, self._shape, largest, self._cost, self.periods_per_year)

    def _remember(self, rows: Any) -> None:
        super()._remember(rows)
        if self.context == "history":
            self._known = Known.of(self.networks_, rows)
            self._tail = replace(self._tail, ends=self._known.states)

    # -------------------------------------------------------------------------------- positions

    def _forecast(self, rows: Rows, origins: Ints) -> tuple[Floats, Floats]:
        positions = self._positions(rows, origins)[:, None, None]
        return positions, np.empty((*positions.shape, 0))

    def _positions(self, rows: Rows, origins: Ints) -> Floats:
        """Weights at the origins, (n,); 0 where there is too little context."""
        largest = self._largest(rows, origins)
        ready = largest > 0
        if not ready.all():
            self._warn_short(rows, origins[~ready])
        some = origins[ready]
        known = None
        if self._known is not None and rows.ends is None:
            known = self._known.found(self.networks_, rows)
        states = remembered(self.networks_, rows, some, self._shape, known)
        with torch.inference_mode():
            each = [
                network.decode(state).double() for network, state in zip(self.networks_, states)
            ]
        positions = np.zeros(len(origins))
        positions[ready] = torch.stack(each).mean(0).cpu().numpy()
        return positions * largest

    # ----------------------------------------------------------------------------------- messages

    def _too_short(self, layout: Layout) -> ValueError:
        needed = self._least_history + self._lag + 1
        share = ""
        if self._training().validation is not None:
            share = f", and a validation part of {self._training().validation_size:g}"
        what = "lookback" if self.min_history is None else "min_history"
        return fail(
            "too few rows",
            expected=f"a series of at least {needed} rows to train on: {what} "
            f"{self._least_history} + lag {self._lag} + 1{share}",
            found=f"{int(np.diff(layout.offsets).max())} in the longest of {layout.n_series}",
            advice=f"Lower `{what}`, or use Training(validation=None) with a fixed number of "
            "epochs.",
            column=self.targets_[0],
        )

    def _warn_left_out(self, known: Layout, may_learn: Bools, layout: Layout) -> None:
        taught = np.logical_or.reduceat(may_learn, known.starts)
        teaching = set(np.asarray(known.names(), dtype=object)[taught])
        short = [name for name in layout.names() if name not in teaching]
        if short:
            warnings.warn(
                f"{len(short)} of {layout.n_series} series are left out of training: they have "
                f"fewer than {self._least_history} rows + lag {self._lag} + 1 before the "
                f"validation part, or no known price there (first: {first(short, shown=3)}).",
                stacklevel=callers_level(),
            )

    def _warn_short(self, rows: Rows, origins: Ints) -> None:
        which = np.unique(rows.series_of(origins))
        warnings.warn(
            f"{len(origins)} origins of {len(which)} series have fewer than "
            f"{self._least_history} rows, or no two known prices yet (first series: "
            f"{rows.layout.names()[which[0]]!r}): their position is 0.",
            stacklevel=callers_level(),
        )


class _PositionWindows(TrainingWindows):
    """Batches of windows beside what positions in them earn."""

    largest: Floats  # (N,)
    returns: Floats  # (N,)

    def batch(self, start: Ints, length: Ints) -> Any:
        """Windows and holdings of the windows whose origins begin at `start`."""
        windows: Windows = self.rows.windows(start, self.shape, origins=self.origins)
        steps = np.arange(-1, self.origins)
        origins = np.minimum(start[:, None] + steps, len(self.eligible) - 1)  # (B, O + 1)
        scale = self.largest[np.maximum(origins, 0)]
        scale[start == self.rows.first[start], 0] = 0.0  # the row before is of another series
        here = origins[:, 1:]
        mine = (np.arange(self.origins) < length[:, None]) & self.eligible[here]
        parts = (scale, self.returns[here], mine)
        return windows, Holdings(*(torch.from_numpy(part.astype(np.float32)) for part in parts))


class _Earned:
    """What positions at some origins earn, in all series in equal parts.

    Parameters
    ----------
    origins : ndarray of int64, shape (n,)
        Rows whose return is known, in order.
    returns : ndarray, shape (n,)
    begins : ndarray of bool, shape (n,)
        Where nothing was held before: the row before is no origin.
    stamp : ndarray of int64, shape (n,)
        Number of each origin's time among those that there are.
    """

    def __init__(self, origins: Ints, returns: Floats, begins: Bools, stamp: Ints) -> None:
        self.origins = origins
        self.returns = returns
        self.begins = begins
        self.stamp = stamp
        self.n_stamps = int(stamp.max(initial=-1)) + 1

    @classmethod
    def of(cls, rows: Rows, origins: Ints, lag: int) -> _Earned:
        """Look up what some rows earn; those of which it is not known are left out."""
        returns = captured_returns(rows.level[:, 0], rows.layout, lag)[origins]
        known = np.isfinite(returns)
        origins, returns = origins[known], returns[known]
        begins = np.ones(len(origins), dtype=bool)
        begins[1:] = np.diff(origins) > 1  # of the last row of a series the return is not known
        stamp = np.unique(rows.layout.when(origins), return_inverse=True)[1]
        return cls(origins, returns, begins, stamp)

    def net(self, held: Floats, cost: float) -> Floats:
        """Mean net return over series at each time, (n_stamps,), of weights (n,)."""
        before = np.where(self.begins, 0.0, np.roll(held, 1))
        net = held * self.returns - cost * np.abs(held - before)
        return np.bincount(self.stamp, weights=net) / np.bincount(self.stamp)


class _Validation:
    """Values at each time of validation whose mean is minus the net Sharpe ratio."""

    def __init__(
        self, rows: Rows, earned: _Earned, shape: Shape, largest: Floats, cost: float, periods: int
    ) -> None:
        self.rows = rows
        self.earned = earned
        self.shape = shape
        self.largest = largest
        self.cost = cost
        self.periods = periods

    def __call__(self, network: nn.Module) -> Floats:
        assert isinstance(network, PositionNetwork)
        (states,) = remembered([network], self.rows, self.earned.origins, self.shape)
        position: Tensor = network.decode(states).double().cpu()
        net = self.earned.net(position.numpy() * self.largest, self.cost)
        return -math.sqrt(self.periods) * sharpe_values(net)


def _default_training() -> Training:
    return Training(max_epochs=20, patience=5)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _listed(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise bad_parameter(name, expected="a tuple", found=value)
    return list(value)
