"""`RecurrentForecaster`: stacked RNN, LSTM or GRU behind fit and predict."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first, positive_int
from tsforecast.data.calendars import infer_time_step
from tsforecast.data.covariates import aligned_weights, constants, rows_ahead
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    previous_rows,
)
from tsforecast.data.pipeline import steps
from tsforecast.data.running import RunningScale
from tsforecast.data.scored import gives_positions
from tsforecast.data.splits import held_out_series, spread_evenly, validation_start, warn_of_groups
from tsforecast.data.transforms import SeriesScaler
from tsforecast.data.windows import (
    Origins,
    Rows,
    Shape,
    TrainingWindows,
    eligible_origins,
    plan_windows,
)
from tsforecast.estimators._base import PanelForecaster
from tsforecast.estimators._members import Members
from tsforecast.estimators._params import RecordParameters, draw_seeds
from tsforecast.estimators._preparation import Preparation
from tsforecast.estimators._trained import train_members
from tsforecast.estimators._warm import Seen, Start
from tsforecast.estimators.combination import Combination
from tsforecast.nn.cells import CELLS, Init
from tsforecast.nn.heads import Bernoulli, Head, Point, as_head
from tsforecast.nn.inference import Known, remembered
from tsforecast.nn.network import ForecastNetwork, InputScale, input_scale
from tsforecast.nn.training import Training

__all__ = ["RecurrentForecaster"]

Bools = npt.NDArray[np.bool_]
_MOST_VALIDATION_ORIGINS = 4096
_ROUNDING = 1e-9  # by which what a baseline takes for a probability may leave [0, 1]


class RecurrentForecaster(RecordParameters, PanelForecaster):
    """Forecast numeric columns of a panel with a stacked recurrent network.

    Every step of the horizon is decoded from the state at the newest row, as a correction of a
    baseline: the untrained network forecasts exactly the baseline, and training keeps it unless
    validation improves by more than its standard error.

    Parameters
    ----------
    target : str or list of str, optional
        Column to forecast, or several at once; may be left out where the panel has one column.
    horizon : int
        Rows ahead, H.
    lookback : int
        Rows of context: with ``context="window"`` the forecast is a function of the last `lookback`
        transformed rows (and of what a running scale or a season looks back on).
    context : {"window", "history"}
        Where a forecast's memory begins: `lookback` rows before it, or at the beginning of its
        series. With "history" one sweep over a series gives the forecasts from all of its rows,
        and a live update is one step more (see `Stream`); `lookback` is then the context that
        training windows begin with. "history" suits live use, backtests of many origins, and series
        with a beginning, such as stays; "window" series cut off anywhere, or a past that should not
        count.
    past : sequence of str, optional
        Further input columns, known up to the cutoff. Default: the targets alone.
    future : sequence of str, optional
        Columns whose next `horizon` rows are known, such as a calendar. `predict` wants them as
        ``future=``; a backtest takes them from the panel.
    static : sequence of str, optional
        Columns that are constant within a series: numbers, or categories (dtype ``category``),
        of which each known one gets a vector and all unknown ones share a code.
    autoregressive : bool
        Whether the network sees the targets' own past. False leaves it the other columns: to
        forecast a label from the returns behind it alone. The baseline looks back all the same.
    transform : transformer, optional
        A scikit-learn transformer or Pipeline on panels (see `tsforecast.data.transforms`),
        fitted on training rows; static columns do not pass through it. Series of different scale
        want ``SeriesScaler()``, or `normalize`.
    baseline : {"last", "seasonal", None} or estimator
        What the network corrects: the last known value, the value one `season` ago, the mean of
        the training rows (None), or an unfitted forecaster with `forecast_origins`, fitted on
        the training rows: `target` and `horizon` are set; members of a `Combination` must have
        them.
    normalize : {"ewm", None} or RunningScale
        Measure each target's location and scale as it goes, from its own past.
    season : int or sequence of int, optional
        Rows of a season (or of several, such as 24 and 168). The network then sees the change
        over each, and has a line of its own from the longest one's last values to every step.
        ``baseline="seasonal"`` repeats the first one.
    missing : {"mask", "raise"}
        "mask" shows the network the last known value, whether it was observed, and its age;
        "raise" refuses a panel with NaN in its input columns.
    max_gap : number, str or Timedelta, optional
        A longer time between two rows (in steps, where time is a whole number) cuts a series:
        no window, and no horizon of training, reaches across.
    min_history : int, optional
        Rows that an origin must have up to itself. Default: `lookback`, or 1 with
        ``context="history"``. In a window with fewer than `lookback` rows the first one is
        repeated before them.
    group : str, optional
        A static column: series with the same value stand on the same side of
        ``Training(validation="series")``.
    head : str or head
        What is forecast: "quantiles" (nine deciles), "point", "gaussian", "studentt", "poisson",
        "negbinomial", "bernoulli" (the probability of an event, a column of 0 and 1; with
        ``baseline=None``), or a head object such as ``Quantiles(levels)``.
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
        Networks trained from different seeds. Points and quantiles are their means, in the
        transformed unit; distributions are mixed.
    random_state : int, RandomState or None
        Seed of initial weights, order of windows and dropout. The same int gives the same
        weights, bit for bit; no global random state is moved.
    verbose : int
        1 shows a progress bar.

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
        The torch modules, one for each member. With ``context="history"``, what they remember of
        the rows of `fit` is kept beside them, for `predict()` without a panel.
    transform_ : transformer or None
        The fitted transform.

    Notes
    -----
    `forecast` is the median, or the mean where the head has one (Gaussian, counts, Point with
    squared error or QLIKE): the mean in the targets' own units, also behind a logarithm.

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
        target: Any = None,
        horizon: int = 1,
        lookback: int = 32,
        context: Literal["window", "history"] = "window",
        past: Sequence[Hashable] | None = None,
        future: Sequence[Hashable] | None = None,
        static: Sequence[Hashable] | None = None,
        autoregressive: bool = True,
        transform: Any = None,
        baseline: Any = "last",
        normalize: RunningScale | Literal["ewm"] | None = None,
        season: int | Sequence[int] | None = None,
        missing: Literal["mask", "raise"] = "mask",
        max_gap: Any = None,
        min_history: int | None = None,
        group: Hashable | None = None,
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
        self.autoregressive = autoregressive
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

    _records: ClassVar = {
        "head": as_head,
        "normalize": lambda scale: RunningScale() if scale in (None, "ewm") else scale,
        "training": lambda training: Training() if training is None else training,
    }
    _stop: BaseException | None
    _row_weights: Floats | None
    _start: Start | None
    _seen: Seen

    # ------------------------------------------------------------------------------------ verbs

    def fit(
        self,
        panel: pd.DataFrame,
        y: None = None,
        *,
        sample_weight: pd.Series | None = None,
        init_from: RecurrentForecaster | None = None,
    ) -> RecurrentForecaster:
        """Fit transform, baseline and network on the rows of `panel`.

        Parameters
        ----------
        panel : DataFrame
            A panel, or anything that `as_panel` takes without further names.
        y : None
            Ignored: the targets are columns of the panel.
        sample_weight : Series, optional
            Weight of each row as an origin in the loss, indexed as the panel; for series that
            count more, or for recent rows.
        init_from : RecurrentForecaster, optional
            Warm start: a fitted model of the same cell, layers, columns, seasons, head and horizon
            (this one, too) whose weights training goes on from. What is measured (transform,
            baseline, running scale, location and gain of the inputs, spread of the baseline's
            errors) is measured anew on the rows given, as in any fit, so that the weights keep
            their meaning in standardised units while the data move on; it is best of the same
            kind. Epoch 0 is then the network as it came. Validation looks only at rows, or series
            (and groups), that neither `init_from` nor what it was started from has seen.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the panel cannot be used; the message names column, series and first rows. Also if
            `init_from` has seen times after the panel's end, or leaves nothing to validate on.
        ValueError
            If `init_from` is a model of another shape.
        FloatingPointError
            If the loss stops being finite.
        KeyboardInterrupt
            After Ctrl-C, with the best weights so far in place. SIGTERM: SystemExit(143).
        """
        self._check_parameters()
        panel = as_panel(panel)
        self._start = None if init_from is None else _start_of(init_from, self.autoregressive)
        self._row_weights = None
        try:
            if sample_weight is not None:
                self._row_weights = aligned_weights(sample_weight, panel)
            self._warn_of_groups(panel)
            super().fit(panel, y)
        finally:
            self._row_weights = self._start = None
        stop, self._stop = self._stop, None
        if stop is not None:
            raise stop
        return self

    def predict(
        self,
        panel: pd.DataFrame | None = None,
        *,
        future: pd.DataFrame | None = None,
        spread: bool = False,
    ) -> pd.DataFrame:
        """Forecast the next `horizon` rows after the end of each series.

        Parameters
        ----------
        panel : DataFrame, optional
            Rows up to now, of series seen in `fit` or not. Default: the rows of `fit`.
        future : DataFrame, optional
            The columns named in the parameter `future`, for exactly the next `horizon` rows of
            every series; see `future_index`.
        spread : bool
            Whether to add a column ``spread``: the standard deviation of the members' forecasts,
            NaN for a single one.

        Returns
        -------
        DataFrame
            Index as the panel's; columns ``target, cutoff, step, forecast, q0.1, ...``.
        """
        check_is_fitted(self)
        rows, origins = self._ends(panel, future)
        frame = self._frame(rows, origins, rows.layout.when(origins), named=True)
        if spread:
            frame["spread"] = self._members.spread(rows, origins).ravel()
        return frame

    def sample(
        self,
        n: int,
        panel: pd.DataFrame | None = None,
        *,
        future: pd.DataFrame | None = None,
        random_state: int | None = None,
    ) -> pd.DataFrame:
        """Draw `n` paths of the next `horizon` rows of each series.

        Every step has the distribution that is forecast; steps (and targets) hang together as
        their residuals did on the validation part (on the training rows, where there is none):
        a Gaussian copula of the ranks of the residuals.

        Parameters
        ----------
        n : int
            Paths.
        panel, future : DataFrame, optional
            As for `predict`.
        random_state : int, optional
            Seed of the draws.

        Returns
        -------
        DataFrame
            Index as that of `predict`, columns ``target, cutoff, step, path, value``; a path is
            a number from 0 on.

        Raises
        ------
        ValueError
            If the head gives a point.
        """
        check_is_fitted(self)
        positive_int("n", n)
        rows, origins = self._ends(panel, future)
        frame = self._frame(rows, origins, rows.layout.when(origins), named=True)
        values = self._members.sample(rows, origins, n, np.random.default_rng(random_state))
        result = frame[["target", "cutoff", "step"]]
        result = result.take(np.repeat(np.arange(len(frame)), n))
        result["path"] = np.tile(np.arange(n), len(frame))
        result["value"] = values.ravel()
        return result

    # ------------------------------------------------------------------------------- parameters

    def _check_parameters(self) -> None:
        choice("context", self.context, ("window", "history"))
        positive_int("horizon", self.horizon)
        positive_int("lookback", self.lookback)
        positive_int("n_members", self.n_members)
        if self.min_history is not None:
            positive_int("min_history", self.min_history)
        choice("cell", self.cell, CELLS)
        choice("missing", self.missing, ("mask", "raise"))
        choice("autoregressive", self.autoregressive, (True, False))
        self._training().check()
        self._running_scale()
        for name in ("past", "future", "static"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple | set | frozenset | pd.Index | None):
                advice = f"Write [{value!r}]." if isinstance(value, str) else None
                raise bad_parameter(name, expected="a list of columns", found=value, advice=advice)
        if _is_name(self.baseline):
            if self.baseline not in ("last", "seasonal", None):
                raise bad_parameter(
                    "baseline",
                    expected="'last', 'seasonal', None, or an unfitted forecaster such as EWMA()",
                    found=self.baseline,
                )
        elif not hasattr(self.baseline, "forecast_origins"):
            raise bad_parameter(
                "baseline",
                expected="'last', 'seasonal', None or an estimator with forecast_origins",
                found=self.baseline,
            )
        elif gives_positions(self.baseline):
            raise bad_parameter(
                "baseline", expected="a forecaster of the target", found=self.baseline
            )
        elif isinstance(self.baseline, Combination):
            self.baseline._check_parameters()
            if self.baseline.horizon != self.horizon:
                raise bad_parameter(
                    "baseline",
                    expected=f"members of horizon {self.horizon}, that of the network",
                    found=self.baseline,
                    advice=f"They forecast {self.baseline.horizon} rows.",
                )
        elif not {"target", "horizon"} <= self.baseline.get_params(deep=False).keys():
            raise bad_parameter(
                "baseline",
                expected="an estimator with a target and a horizon of its own, or a Combination",
                found=self.baseline,
                advice="The network corrects a forecast, not its intervals: give the estimator "
                "within, and put a ConformalForecaster around the network.",
            )
        targets = set(_listed(self.target))
        seen = any(self._columns_of(name) - targets for name in ("past", "future", "static"))
        scaled = self.normalize is not None or self.season is not None
        if not self.autoregressive and (scaled or not seen):
            raise bad_parameter(
                "autoregressive",
                expected="True, with normalize or season" if scaled else "True, or other columns",
                found=self.autoregressive,
                advice="They show the network the targets' own past."
                if scaled
                else "Name what the network shall see in `past`, `future` or `static`.",
            )
        ahead = getattr(self.baseline, "future", None)
        if ahead is not None and len(ahead):
            raise bad_parameter(
                "baseline", expected="a forecaster without `future`", found=self.baseline
            )
        if _is_name(self.baseline) and self.baseline == "seasonal" and not self._seasons:
            raise bad_parameter(
                "season", expected="the rows of a season, for baseline='seasonal'", found=None
            )
        if self._training().validation == "series" and any(
            isinstance(step, SeriesScaler) and step.by == "series" for step in steps(self.transform)
        ):
            raise bad_parameter(
                "transform",
                expected="no scaler per series, with Training(validation='series')",
                found=self.transform,
                advice="It would not know the series held out, now and later: use "
                "normalize='ewm', or SeriesScaler(by='all').",
            )
        head = as_head(self.head)
        if head.counts and (self.transform is not None or self.normalize is not None):
            raise bad_parameter(
                "head",
                expected="a head for transformed values",
                found=self.head,
                advice="Counts and events are forecast as they are: leave out transform and "
                "normalize.",
            )
        if isinstance(head, Bernoulli) and isinstance(self.baseline, str):
            raise bad_parameter(
                "baseline",
                expected="None (the base rate of the training rows), or a forecaster of "
                "probabilities such as EWMA(), for head='bernoulli'",
                found=self.baseline,
                advice="A value of before, 0 or 1, is no probability.",
            )

    def _running_scale(self) -> RunningScale | None:
        """`normalize` as an object, its half-life given."""
        scale: Any = RunningScale() if self.normalize == "ewm" else self.normalize
        if not isinstance(scale, RunningScale | None):
            raise bad_parameter(
                "normalize", expected="'ewm', a RunningScale(...) or None", found=self.normalize
            )
        if scale is not None and scale.half_life is None:
            return replace(scale, half_life=max(1.0, 0.75 * self.lookback))
        return scale

    @property
    def _seasons(self) -> tuple[int, ...]:
        if self.season is None:
            return ()
        seasons = tuple(positive_int("season", rows, least=2) for rows in _listed(self.season))
        if len(set(seasons)) < len(seasons):
            raise bad_parameter("season", expected="each season once", found=self.season)
        return seasons

    @property
    def _season_rows(self) -> int:
        """L, the rows that the seasonal line reads."""
        return max(self._seasons, default=0)

    def _training(self) -> Training:
        training = Training() if self.training is None else self.training
        if not isinstance(training, Training):
            raise bad_parameter("training", expected="a Training(...) or None", found=training)
        return training.resolved("time")

    @property
    def _least_history(self) -> int:
        if self.min_history is not None:
            return self.min_history
        return self.lookback if self.context == "window" else 1

    @property
    def _history_name(self) -> str:
        """The parameter that `_least_history` comes from, for messages."""
        plain = self.min_history is None and self.context == "window"
        return "lookback" if plain else "min_history"

    @property
    def _levels(self) -> tuple[float, ...]:
        return as_head(self.head).levels

    @property
    def _memory(self) -> int:
        context = self.lookback if self.context == "window" else 1
        return max(context, self._season_rows, self._least_history)

    @property
    def _sweeps(self) -> bool:
        return self.context == "history"

    def _role(self, name: str) -> list[Hashable]:
        """Columns of a parameter, but for the targets, in an order that is not the user's."""
        return sorted(self._columns_of(name) - set(self.targets_), key=str)

    def _columns_of(self, name: str) -> set[Hashable]:
        value = getattr(self, name)
        return set(() if value is None else value)

    def _columns(self) -> list[Hashable]:
        """Columns needed, the targets first; each has one role."""
        columns = list(self.targets_)
        for role in ("past", "future", "static"):
            also = self._columns_of(role) & set(columns)
            if role == "past":
                also -= set(self.targets_)  # its past is known anyway
            if also:
                raise bad_parameter(
                    role, expected="columns of no other role", found=sorted(map(str, also))
                )
            columns += self._role(role)
        return columns

    def _may_be_categories(self) -> list[Hashable]:
        return self._role("static")

    def _warn_of_groups(self, panel: pd.DataFrame) -> None:
        if self.group is None and self._training().validation == "series":
            warn_of_groups(panel, "training and in validation")

    # -------------------------------------------------------------------------------------- fit

    def _select(self, panel: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        selected = super()._select(panel, fitting=fitting)
        if fitting and self.group is not None and self.group not in selected:
            if self.group not in panel:
                raise fail(
                    "group is not a column",
                    expected=f"a column {self.group!r}",
                    found=f"columns {list(panel.columns)}",
                    advice="Name a column that is constant within each series.",
                    column=self.group,
                )
            selected = selected.copy()
            selected[self.group] = panel[self.group]
        return selected

    def _known_until(self, panel: pd.DataFrame, layout: Layout, groups: Ints, seed: int) -> Ints:
        """Where the training rows of each series end, (S,); validation lies behind."""
        training = self._training()
        if training.validation == "time":
            start = validation_start(panel, training.validation_size)
            late = layout.when() >= start
            if self._start is not None:
                late &= self._start.behind(layout)
            return layout.starts + np.add.reduceat(~late, layout.starts)
        if training.validation == "series":
            seen = None
            if self._start is not None:
                seen = self._start.knows(layout, self._group_values(panel, layout))
            held = held_out_series(groups, training.validation_size, seed, kept=seen)
            return np.where(held, layout.starts, layout.stops)
        return layout.stops

    def _group_values(self, panel: pd.DataFrame, layout: Layout) -> pd.Series | None:
        """The group of each series by its name, (S,)."""
        if self.group is None:
            return None
        values: pd.Series = constants(panel, layout, [self.group])[self.group]
        return values

    def _groups(self, panel: pd.DataFrame, layout: Layout) -> Ints:
        """Number of each series' group, (S,); without one, a series is a group of its own."""
        own = np.arange(layout.n_series)
        values = self._group_values(panel, layout)
        if values is None:
            return own
        known = pd.factorize(values)[0]
        return np.unique(np.where(known < 0, known.max() + 1 + own, known), return_inverse=True)[1]

    def _fit(self, panel: pd.DataFrame, layout: Layout) -> Rows:
        training = self._training()
        seeds = draw_seeds(self.random_state, self.n_members)
        if self._start is not None:
            self._start.check(layout)
        groups = self._groups(panel, layout)
        known_until = self._known_until(panel, layout, groups, seeds[0])
        counts = known_until - layout.starts
        if not counts.any():
            raise self._too_short(layout, 0, training)
        known_layout, kept = layout.head(counts)
        longest = int(np.diff(layout.offsets).max())
        if longest <= self._season_rows:
            raise fail(
                "too few rows",
                expected=f"a series of at least {self._season_rows + 1} rows, more than the "
                f"longest of `season`, {self._season_rows}",
                found=f"{longest} in the longest of {layout.n_series}",
                advice="Lower `season`, or give more rows.",
                column=self.targets_[0],
            )
        if self.context == "history" and longest < self.lookback:
            raise fail(
                "too few rows",
                expected=f"a series of at least {self.lookback} rows, `lookback`, which training "
                "windows have up to their first origin",
                found=f"{longest} in the longest of {layout.n_series}",
                advice="Lower `lookback`, or give more rows.",
                column=self.targets_[0],
            )
        self._preparation = self._new_preparation()
        self._check_head(panel.iloc[kept], self._preparation.fit(panel.iloc[kept], known_layout))
        self.transform_ = self._preparation.chain.fitted
        self.baseline_ = self._preparation.baseline_

        rows = self._prepare(panel, layout)
        taught = groups[counts > 0]
        crossed = training.validation == "series" and len(np.unique(taught)) > 1
        known = self._preparation.honest(
            rows.head(counts), panel.iloc[kept], taught if crossed else None
        )
        warm_up = int((_first_of_series(rows) - layout.starts).max())
        weights = self._loss_weights(rows)
        may_learn = self._learnable(known)
        if may_learn.any() and not (weights[kept][may_learn] > 0).any():
            raise fail(
                "nothing to learn from",
                expected="a weight above 0 on a row that training can start from",
                found=f"weight 0 on all {int(may_learn.sum())} of them",
                advice="Rows of the validation part and the last `horizon` ones are none of them.",
            )
        if not may_learn.any():
            raise self._too_short(layout, warm_up, training)
        self._warn_left_out(known.layout, may_learn, layout)
        may_learn &= (weights[kept] > 0).any(axis=1)
        if self._columns_of("future"):  # what its transforms look back on, for `predict(future=)`
            _, last = layout.tail(max(warm_up + 1, self._memory))
            self._raw_tail = panel[self._preparation.inputs].iloc[last]
        origins = np.flatnonzero(may_learn)
        self._check_probabilities(known.base[origins])
        errors = known.errors(origins, self.horizon)  # (n, K, H)
        if not np.isfinite(errors).any(axis=0).all():
            raise self._too_short(layout, warm_up, training)
        errors /= known.unit[origins][:, :, None]
        error_scale = self._error_scale(errors, known)
        shape = self._window_shape()
        validation, blocks = self._validation(rows, known_until, groups, error_scale, weights)
        if training.validation is not None and validation is None:
            if self._start is not None:
                raise self._nothing_new(training)
            raise self._too_short(layout, warm_up, training)
        n_origins, batch_size = plan_windows(
            len(origins),
            origins=training.origins,
            lookback=self.lookback,
            batch_size=training.batch_size,
        )
        device = training.device()
        if device.type != "cpu":  # windows are cut where they are used
            known = replace(known, inputs=known.inputs.to(device))
            if validation is not None:
                validation.rows = replace(rows, inputs=rows.inputs.to(device))

        def begin(member: int, seed: int) -> tuple[ForecastNetwork, TrainingWindows]:
            batches = TrainingWindows(
                known,
                may_learn,
                weight=weights[kept],
                scale=error_scale,
                origins=n_origins,
                batch_size=batch_size,
                rng=np.random.default_rng(seed),
                shape=shape,
            )
            network = self._network(known, origins, errors / error_scale, error_scale)
            if self._start is not None:
                self._start.put_into(network, member, self._preparation)
            return network, batches

        trained = train_members(
            seeds, begin, validation, training, blocks=blocks, verbose=self.verbose
        )
        self.networks_, self.best_epochs_ = trained.networks, trained.best_epochs
        self.history_, self._stop = trained.history, trained.stopped_by
        self.interrupted_ = self._stop is not None
        before = None if self._start is None else self._start.seen
        self._seen = Seen.of(layout, self._group_values(panel, layout), before)
        self._members = Members(self.networks_, self._preparation.chain, self._least_history, shape)
        if validation is None:  # residuals of training rows, as of an honest baseline
            self._members.learn(replace(rows, base=known.base), origins)
        else:
            self._members.learn(rows, validation.origins)
        return rows

    def _window_shape(self) -> Shape:
        return Shape(
            self.context,
            self.lookback,
            self.horizon,
            self._season_rows,
            self._preparation.features.future,
        )

    def _error_scale(self, errors: Floats, known: Rows) -> Floats:
        """Spread of the baseline's training errors (n, K, H) per step: the unit of z, (K, H)."""
        scale = np.sqrt(np.nanmean(np.square(errors), axis=0))
        size = np.nanmax(np.abs(known.target / known.unit), axis=0)
        for k, name in enumerate(self.targets_):
            if not (scale[k] > 1e-12 * size[k]).any():
                raise fail(
                    "constant target",
                    expected="a target that moves away from its baseline",
                    found="no error in any training row",
                    advice="There is nothing to learn here; use Naive.",
                    column=name,
                )
        # a step that the baseline never misses, as in a season without noise, needs a unit too
        result: Floats = np.maximum(scale, 1e-3 * scale.max(axis=1, keepdims=True))
        return result

    def _loss_weights(self, rows: Rows) -> Floats:
        """Weight of every row and target in the loss, (N, K)."""
        weights: Floats = np.broadcast_to(1.0, rows.unit.shape)
        scale = self._preparation.scale
        if scale is not None:
            weights = (rows.unit / self._preparation.prior) ** scale.loss_power
        if self._row_weights is not None:
            weights = weights * self._row_weights[:, None]
        return weights

    def _check_head(self, known: pd.DataFrame, values: Floats) -> None:
        """Refuse QLIKE of anything but the logarithm of a positive target."""
        head = as_head(self.head)
        if not (isinstance(head, Point) and head.error == "qlike"):
            return
        target = known[self.targets_].to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            same = np.isclose(np.log(target), values) | np.isnan(target)
        if not same.all():
            raise bad_parameter(
                "head",
                expected="a positive target and transform=Log() alone on it, for QLIKE",
                found=self.transform,
                advice="QLIKE is a loss of variances; scale with normalize='ewm'.",
            )

    def _check_probabilities(self, base: Floats) -> None:
        """Refuse a baseline of events that says (n, K, H) what is no probability."""
        if self.baseline is None or not isinstance(as_head(self.head), Bernoulli):
            return
        known = base[np.isfinite(base)]
        outside = (known < -_ROUNDING) | (known > 1 + _ROUNDING)
        certain = bool(np.isin(known, (0, 1)).all()) and len(known) > 0
        if outside.any() or certain:
            raise bad_parameter(
                "baseline",
                expected="None, or a forecaster of probabilities, for head='bernoulli'",
                found=self.baseline,
                advice="It says nothing but 0 and 1 of the training rows."
                if certain
                else f"It says {known[outside][0]:g} of a training row.",
            )

    def _check_counts(self, panel: pd.DataFrame) -> None:
        head = as_head(self.head)
        if not head.counts:
            return
        event = isinstance(head, Bernoulli)
        for name in self.targets_:
            target = panel[name].to_numpy()
            wrong = np.flatnonzero((target < 0) | (target % 1 > 0) | (event & (target > 1)))
            if len(wrong):
                raise fail(
                    "target is no event" if event else "target is no count",
                    expected="0 and 1 alone" if event else "whole numbers of at least 0",
                    found=f"{len(wrong)} others, e.g. {target[wrong[0]]:g}",
                    advice="Choose another head, such as 'quantiles'.",
                    column=name,
                    rows=[str(label) for label in panel.index[wrong[:5]]],
                )

    def _network(
        self, known: Rows, origins: Ints, z: Floats, error_scale: Floats
    ) -> ForecastNetwork:
        training, head = self._training(), as_head(self.head)
        later = previous_rows(known.layout) != np.arange(known.layout.n_rows)  # has one before it
        base = np.broadcast_to(known.base[origins], z.shape)
        unit = known.unit[origins][:, :, None] * error_scale
        starts = [head.start(z[:, k], base[:, k], unit[:, k]) for k in range(z.shape[1])]
        scale = input_scale(known.inputs[torch.from_numpy(later)].cpu())
        if not self.autoregressive:
            scale.gain[self._preparation.features.of_targets] = 0.0
        return self._new_network(
            scale=scale,
            static=input_scale(known.static) if known.static.shape[1] else _NO_SCALE,
            error_scale=error_scale,
            start=torch.stack(starts),
            init=training.init,
        )

    def _new_network(
        self,
        *,
        scale: InputScale,
        static: InputScale,
        error_scale: Floats,
        start: torch.Tensor,
        init: Init,
    ) -> ForecastNetwork:
        """Lay out a network by the parameters and what is measured."""
        return ForecastNetwork(
            features=self._preparation.features,
            scale=scale,
            static=static,
            n_codes=self._preparation.n_codes,
            season=self._season_rows,
            cell=self.cell,
            hidden_sizes=self.hidden_sizes,
            dropout=self.dropout,
            layer_norm=self.layer_norm,
            init=init,
            max_steps=max(2, self.lookback),
            head=as_head(self.head),
            error_scale=error_scale,
            start=start,
        )

    def _learnable(self, known: Rows) -> Bools:
        """Training origins: enough context, the whole horizon among the training rows."""
        stop = np.repeat(known.layout.stops, np.diff(known.layout.offsets))
        inside = np.arange(known.layout.n_rows) + self.horizon < stop
        result = eligible_origins(known, self._least_history) & inside
        if self.max_gap is not None:  # a horizon cut short by a gap counts, if anything is left
            which = np.flatnonzero(result)
            left = np.isfinite(known.errors(which, self.horizon)).any(axis=(1, 2))
            result[which[~left]] = False
        return result

    def _validation(
        self, rows: Rows, known_until: Ints, groups: Ints, error_scale: Floats, weights: Floats
    ) -> tuple[_Validation | None, Ints | None]:
        """Origins with their whole horizon behind the training rows; context may overlap."""
        if self._training().validation is None:
            return None, None
        counts = np.diff(rows.layout.offsets)
        row = np.arange(rows.layout.n_rows)
        after = row >= np.repeat(known_until, counts) - 1
        inside = row + self.horizon < np.repeat(rows.layout.stops, counts)
        origins = np.flatnonzero(eligible_origins(rows, self._least_history) & after & inside)
        origins = origins[np.isfinite(rows.errors(origins, self.horizon)).any(axis=(1, 2))]
        origins = origins[(weights[origins] > 0).any(axis=1)]
        if len(origins) == 0:
            return None, None
        stamps = np.unique(rows.layout.when(origins), return_inverse=True)[1]
        kept = spread_evenly(stamps, _MOST_VALIDATION_ORIGINS)
        origins, stamps = origins[kept], stamps[kept]
        validation = _Validation(rows, origins, self._window_shape(), error_scale, weights)
        blocks = stamps // self.horizon  # targets overlap within a horizon
        if self._training().validation == "series" or len(np.unique(blocks)) == 1:
            blocks = groups[np.searchsorted(rows.layout.offsets, origins, side="right") - 1]
        return validation, blocks

    def _too_short(self, layout: Layout, warm_up: int, training: Training) -> ValueError:
        share = training.validation_size if training.validation == "time" else 0.0
        least = self._least_history
        shortest = warm_up + least + self.horizon
        needed = shortest
        while int(np.ceil(needed * (1.0 - share))) < shortest or (
            share and needed - int(np.ceil(needed * (1.0 - share))) < self.horizon
        ):
            needed += 1
        longest = int(np.diff(layout.offsets).max())
        what = self._history_name
        return fail(
            "too few rows",
            expected=f"a series of at least {needed} rows: {what} {least} + horizon "
            f"{self.horizon}"
            + (f" behind {warm_up} that transforms use up" if warm_up else "")
            + " to train on"
            + (f", and a validation part of {share:g}" if share else "")
            + (", and other series to validate on" if training.validation == "series" else ""),
            found=f"{longest} in the longest of {layout.n_series}"
            + (", but too few known targets in one of these parts" if longest >= needed else ""),
            advice=f"Lower `{what}`, or use Training(validation=None) with a fixed number of "
            "epochs.",
            column=self.targets_[0],
        )

    def _nothing_new(self, training: Training) -> ValueError:
        assert self._start is not None
        what = f"rows after {self._start.seen.cutoff}, at least horizon {self.horizon} of them"
        return fail(
            "nothing to validate on",
            expected=f"{'series' if training.validation == 'series' else what} that init_from has "
            "not seen",
            found="too few",
            advice="Use Training(validation=None) with a fixed number of epochs, or more rows.",
        )

    # ------------------------------------------------------------------------------------- rows

    def _new_preparation(self) -> Preparation:
        return Preparation(
            targets=list(self.targets_),
            past=self._role("past"),
            future=self._role("future"),
            static=self._role("static"),
            horizon=self.horizon,
            transform=self.transform,
            baseline=self.baseline,
            scale=self._running_scale(),
            seasons=self._seasons,
            missing=self.missing,
            max_gap=self.max_gap,
        )

    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> Rows:
        self._check_counts(panel)
        return self._preparation.rows(panel, layout)

    def _read(self, panel: pd.DataFrame) -> tuple[list[ForecastNetwork], Rows, Shape]:
        """Give the networks, what they read of a panel, and how: for a look inside."""
        return self.networks_, self._prepare(*self._checked(panel)), self._window_shape()

    def _remember(self, rows: Any) -> None:
        super()._remember(rows)
        if self.context == "history":
            self._members.known = Known.of(self.networks_, rows)
            self._tail = replace(self._tail, ends=self._members.known.states)

    def _ends(self, panel: pd.DataFrame | None, future: pd.DataFrame | None) -> tuple[Any, Ints]:
        if not self._columns_of("future"):
            return super()._ends(panel, future)
        rows, origins = super()._ends(panel, None)
        layout: Layout = rows.layout
        ahead = self._rows_ahead(future, layout)
        before = self._raw_tail if panel is None else as_panel(panel)
        rows = self._preparation.with_ahead(rows, before, ahead)
        return rows, origins + self.horizon * np.arange(layout.n_series)

    def _rows_ahead(self, future: pd.DataFrame | None, layout: Layout) -> pd.DataFrame:
        """Check the frame of future-known columns against the panel's layout."""
        columns = self._role("future")
        if future is None:
            raise bad_parameter(
                "future",
                expected=f"a frame of {columns} for the next {self.horizon} rows of every series",
                found=None,
                advice="See future_index() for its index.",
            )
        step = infer_time_step(layout, learned=self._time_step)
        return rows_ahead(future, layout, columns, horizon=self.horizon, time_step=step)

    # -------------------------------------------------------------------------------- forecasts

    def _forecast(self, rows: Rows, origins: Ints) -> tuple[Floats, Floats]:
        ready = self._members.ready(rows, origins)
        partly = ready & ~np.isfinite(rows.base[origins]).all(axis=(1, 2))
        if not ready.all():
            self._warn_short(rows.layout, origins[~ready])
        if partly.any():
            self._warn_partly(rows, origins[partly])
        forecast, quantiles = self._members.forecast(rows, origins)
        if self._columns_of("future"):  # a step of which nothing is known ahead has no forecast
            stop = np.repeat(rows.layout.stops, np.diff(rows.layout.offsets))[origins]
            beyond = origins[:, None] + np.arange(1, self.horizon + 1) >= stop[:, None]
            at, step = np.nonzero(beyond)
            forecast[at, :, step] = np.nan
            quantiles[at, :, step] = np.nan
        return forecast, quantiles

    def _warn_left_out(self, known: Layout, may_learn: Bools, layout: Layout) -> None:
        teaching = set(np.asarray(known.names(), dtype=object)[_any(may_learn, known)])
        held = self._training().validation == "series"
        among = known.names() if held else layout.names()
        short = [name for name in among if name not in teaching]
        if short:
            what = self._history_name
            warnings.warn(
                f"{len(short)} of {len(among)} series are left out of training: they have "
                f"fewer than {what} {self._least_history} + horizon {self.horizon} rows before "
                f"the validation part, or no known target there (first: {first(short, shown=3)}).",
                stacklevel=callers_level(),
            )

    def _warn_short(self, layout: Layout, origins: Ints) -> None:
        which = np.unique(np.searchsorted(layout.offsets, origins, side="right") - 1)
        names = layout.names()
        what = self._history_name
        warnings.warn(
            f"{len(origins)} origins of {len(which)} series have fewer than {what}="
            f"{self._least_history} rows, or no known target yet (first series: "
            f"{names[which[0]]!r}): their forecast is the baseline, NaN where there is none.",
            stacklevel=callers_level(),
        )

    def _warn_partly(self, rows: Rows, origins: Ints) -> None:
        unknown = np.flatnonzero(~np.isfinite(rows.base[origins]).all(axis=(0, 2)))
        columns = [self.targets_[k] for k in unknown]
        series = np.unique(rows.series_of(origins))
        warnings.warn(
            f"{len(origins)} origins of {len(series)} series have no known value yet of some "
            f"targets ({first(columns)}; first series: {rows.layout.names()[series[0]]!r}): these "
            "are NaN there, the others are forecast.",
            stacklevel=callers_level(),
        )


class _Validation:
    """Losses of the validation origins, in the context that inference uses."""

    def __init__(
        self, rows: Rows, origins: Ints, shape: Shape, scale: Floats, weights: Floats
    ) -> None:
        self.rows = rows
        self.origins = origins
        self.shape = shape
        z = rows.errors(origins, shape.horizon) / rows.unit[origins][:, :, None] / scale
        self._z = torch.from_numpy(z.astype(np.float32))[:, None]  # (n, 1, K, H)
        counted = weights[origins] * np.isfinite(z).any(axis=2)  # (n, K)
        weight = weights[origins] / counted.sum(axis=1).mean()
        self._weight = torch.from_numpy(weight.astype(np.float32))[:, None]
        self._beside = rows.origins(origins, shape)

    def __call__(self, network: nn.Module) -> Floats:
        assert isinstance(network, ForecastNetwork)
        (states,) = remembered([network], self.rows, self.origins, self.shape)
        device = states.device
        beside = Origins(*(tensor.to(device) for tensor in self._beside))
        raw = network.decode(states[:, None], beside)
        loss, weight = network.losses(raw, beside, self._z.to(device), self._weight.to(device))
        loss = torch.where(weight.sum(-1) > 0, (loss * weight).sum(-1), torch.nan)
        return loss[:, 0].cpu().numpy().astype(np.float64)


def _start_of(model: Any, autoregressive: bool) -> Start:
    """Read what `init_from` gives."""
    if not isinstance(model, RecurrentForecaster):
        raise bad_parameter(
            "init_from", expected="a fitted RecurrentForecaster, or None", found=model
        )
    check_is_fitted(model)
    if model.autoregressive != autoregressive:
        raise bad_parameter(
            "init_from",
            expected=f"a model with autoregressive={autoregressive}, too",
            found=model,
            advice="What it learned of the targets' own past would have no meaning.",
        )
    return Start.of(model)


_NO_SCALE = InputScale(np.zeros(0), np.zeros(0))


def _first_of_series(rows: Rows) -> Ints:
    """First row behind the warm-up rows of each series, (S,)."""
    return rows.first[rows.layout.starts]


def _any(flags: Bools, layout: Layout) -> Bools:
    """Whether any row of a series is flagged, (N,) -> (S,)."""
    return np.logical_or.reduceat(flags, layout.starts)


def _is_name(baseline: object) -> bool:
    return not isinstance(baseline, BaseEstimator)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
