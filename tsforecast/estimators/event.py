"""`EventClassifier`: the risk of an event at every row of a stay, from a recurrent network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterator, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsforecast._checks import bad_parameter, callers_level, choice, fail, first, positive_int
from tsforecast.data.event_rules import Event
from tsforecast.data.labels import Labels
from tsforecast.data.panel import Floats, Ints, Layout, as_panel, layout_of, previous_rows
from tsforecast.data.pipeline import steps
from tsforecast.data.stays import StayWindows
from tsforecast.data.windows import Rows, Shape, windows_per_step
from tsforecast.estimators._beside import RULE, Beside, logit, offsets
from tsforecast.estimators._events import PanelClassifier, ill_series
from tsforecast.estimators._exits import EventBatches, EventValidation, RowExits
from tsforecast.estimators._params import RecordParameters, draw_seeds
from tsforecast.estimators._preparation import Preparation
from tsforecast.estimators._rows import in_order
from tsforecast.estimators._trained import train_members
from tsforecast.nn.cells import CELLS
from tsforecast.nn.events import EventNetwork, incidence, mean_logits
from tsforecast.nn.hazard import Hazards
from tsforecast.nn.inference import remembered
from tsforecast.nn.network import InputScale, input_scale
from tsforecast.nn.training import Training

__all__ = ["EventClassifier"]

Bools = npt.NDArray[np.bool_]
_ROWS_AT_ONCE = 1 << 17  # whose states are held at a time
_AUTO_ORIGINS = 128
_NO_SCALE = InputScale(np.zeros(0), np.zeros(0))


class EventClassifier(RecordParameters, PanelClassifier):
    r"""Risk of an event at every row of a stay, with a stacked recurrent network.

    What is estimated, at row t of a stay that is at risk there, from its rows up to t alone:

    - ``label="onset"``: the probability that the event's first onset comes within 1 ... K steps.
      Steps behind the end of a record count as not observed (censored), so this is the risk of
      a stay that goes on; where stays end for reasons that have to do with the event (discharge,
      death), name them as `competing`, and it is the cumulative incidence.
    - ``label="recurrent"``: the same of the next onset, at risk again once the event is over.
    - ``label="outcome"``: the probability of the stay's outcome, whenever it comes.

    The network reads [value, observed, hours since] of every column and the constants of the
    stay; hazards are decoded from its state and the running mean of its states (`EventNetwork`).
    Untrained it gives every row the mean hazard, and training keeps that unless validation stays
    improve by more than their standard error.

    Parameters
    ----------
    event : column name or Event
        A column of 0 and 1, or a rule such as ``Event("MAP < 65")``. Needed by `fit` and for
        labels, not by `predict_risk`; a column named here is no input.
    label : {"onset", "recurrent", "outcome"}
        See above; with "outcome" the column is constant within a stay.
    horizon : int, str or Timedelta
        Steps K, or a time such as ``"6h"`` with `step`; not for an outcome.
    step : str or Timedelta, optional
        Length of a step. Default: a step is a row.
    group : column name, optional
        The patient of several stays: all of them are trained on, or all held out.
    competing : column name, optional
        1 in the row of an exit that the event cannot come after.
    clear : str or Timedelta, optional
        With "recurrent": how long the event must be off before a stay is at risk again.
    min_history : int
        Rows that a row must have up to itself to be learned from and judged; risks are given at
        every row.
    past : sequence of str, optional
        Input columns. Default: all columns of numbers but those of event, competing exits and
        group, the outcomes that `load_physionet2012` and `load_physionet2019` give, and `static`.
    static : sequence of str, optional
        Constants of a stay: numbers, or categories (dtype ``category``).
    transform : transformer, optional
        A scikit-learn transformer or Pipeline on panels, fitted on training rows; with
        ``columns=None`` the transforms of this package take all input columns.
    missing : {"mask", "raise"}
        See `RecurrentForecaster`.
    max_gap : number, str or Timedelta, optional
        A longer time between two rows cuts a stay: memory begins anew behind it.
    context : {"history", "window"}
        Where memory begins: at admission, or `lookback` rows before.
    lookback : int
        With "history", rows of context of training windows in the middle of a long stay.
    cell : {"lstm", "gru", "rnn"}
    hidden_sizes : tuple of int
        Units of each layer, from the input upwards.
    dropout : float
        Between layers and before the head, in [0, 1).
    channel_dropout : float
        Share of the columns that a training window is shown as never measured, in [0, 1).
    layer_norm : bool
        Normalise between layers.
    input_decay : bool
        Whether values that were not measured decay towards the usual one (see `EventNetwork`).
    class_weight : "balanced", float or None
        How much more the loss counts events; "balanced" as much as there are fewer of them. The
        shift of the odds is taken out of the probabilities again.
    smoothing : float
        Temporal label smoothing, in steps (see `Hazards`); 0 is none. It lowers the risks, more so
        the wider it is: calibrate them afterwards (`CalibratedEvents`). Not for an outcome.
    last_weight : float
        With "outcome": share of a stay's weight that its last row has; the rest is spread evenly.
    vitals_weight : float
        Weight of a second task in the loss, to forecast the measured values of the next row from
        the same states; 0 is none. See `predict_vitals`.
    beside : estimator, optional
        An unfitted event estimator (it is asked the same question as this one), or a classifier
        of scikit-learn for `CausalFeatures`, whose risks are blended with the network's.
    blend : {"average", "correct"}
        "average" averages the logits; the share of `beside` is the one with the smallest log loss
        on the validation stays, which neither was fitted on (a half, without validation), at the
        rows that `beside` is taught at. With "correct" the network adds to
        the logit of `beside` (as a constant hazard), cross-fitted by group; untrained, it is
        `beside` itself. In the end `beside` is fitted on all stays.
    n_members : int
        Networks trained from different seeds; their logits are averaged.
    training : Training, optional
        How to fit. Validation is by whole stays ("series", the default, drawn so that both sides
        have their share of events), or None.
    random_state : int, RandomState or None
        Seed of weights, order, dropout and the draw of validation stays.
    verbose : int
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray
        ``[0, 1]``.
    inputs_ : list
        Columns that `predict_risk` needs.
    n_steps_ : int
        K.
    history_ : DataFrame
        Per epoch, of each member: train_loss, val_loss, learning_rate, seconds, member; epoch 0
        is the untrained network.
    best_epochs_ : list of int
        For each member the epoch whose weights are in use.
    networks_ : list of EventNetwork
    transform_ : transformer or None
    cutoff_ : time stamp
        Last time of the rows of `fit`.
    interrupted_ : bool
        Whether `fit` was stopped by a signal; the best weights so far are in place.
    beside_ : estimator or None
        The fitted classifier beside the networks.
    beside_share_ : float
        Its share in an average.

    See Also
    --------
    BoostedBaseline, LogisticBaseline, NEWS2 : What it has to beat.
    CalibratedEvents : Probabilities that hold on other patients.
    backtest_events : Judges them on patients that they have not seen.

    Examples
    --------
    >>> import tsforecast as tsf
    >>> stays = tsf.make_vitals(20, random_state=0)
    >>> model = tsf.EventClassifier(
    ...     event="deterioration", horizon="6h", step="1h", hidden_sizes=(4,),
    ...     training=tsf.Training(max_epochs=1, validation=None), random_state=0).fit(stays)
    >>> model.predict_risk(stays).columns[:3].tolist()
    ['risk', 'risk_1', 'risk_2']
    """

    def __init__(
        self,
        *,
        event: Any,
        label: Literal["onset", "outcome", "recurrent"] = "onset",
        horizon: Any = None,
        step: Any = None,
        group: Hashable | None = None,
        competing: Hashable | None = None,
        clear: Any = None,
        min_history: int = 1,
        past: Sequence[Hashable] | None = None,
        static: Sequence[Hashable] | None = None,
        transform: Any = None,
        missing: Literal["mask", "raise"] = "mask",
        max_gap: Any = None,
        context: Literal["history", "window"] = "history",
        lookback: int = 64,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        hidden_sizes: tuple[int, ...] = (64, 32),
        dropout: float = 0.0,
        channel_dropout: float = 0.0,
        layer_norm: bool = False,
        input_decay: bool = False,
        class_weight: Any = None,
        smoothing: float = 0.0,
        last_weight: float = 0.5,
        vitals_weight: float = 0.0,
        beside: Any = None,
        blend: Literal["average", "correct"] = "average",
        n_members: int = 1,
        training: Training | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.event = event
        self.label = label
        self.horizon = horizon
        self.step = step
        self.group = group
        self.competing = competing
        self.clear = clear
        self.min_history = min_history
        self.past = past
        self.static = static
        self.transform = transform
        self.missing = missing
        self.max_gap = max_gap
        self.context = context
        self.lookback = lookback
        self.cell = cell
        self.hidden_sizes = hidden_sizes
        self.dropout = dropout
        self.channel_dropout = channel_dropout
        self.layer_norm = layer_norm
        self.input_decay = input_decay
        self.class_weight = class_weight
        self.smoothing = smoothing
        self.last_weight = last_weight
        self.vitals_weight = vitals_weight
        self.beside = beside
        self.blend = blend
        self.n_members = n_members
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    _records: ClassVar = {
        "training": lambda training: Training() if training is None else training,
    }
    _stop: BaseException | None
    _panel: pd.DataFrame | None

    # ------------------------------------------------------------------------------------ verbs

    def fit(self, panel: pd.DataFrame, y: None = None) -> EventClassifier:
        """Fit transform, networks and what stands beside them.

        Parameters
        ----------
        panel : DataFrame
            A panel with the event, or anything that `as_panel` takes without further names.
        y : None
            Ignored: the event is a column of the panel, or a rule on its columns.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the panel cannot be used; the message names column, series and first rows. Also if
            no row, or every row, has the event behind it.
        FloatingPointError
            If the loss stops being finite.
        KeyboardInterrupt
            After Ctrl-C, with the best weights so far in place. SIGTERM: SystemExit(143).
        """
        self._check_parameters()
        self._panel = as_panel(panel)
        self._stop = None
        try:
            super().fit(self._panel, y)
        finally:
            self._panel = None
        stop, self._stop = self._stop, None
        if stop is not None:
            raise stop
        return self

    def predict_vitals(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Forecast the values of the next row, where a second task was learned.

        Parameters
        ----------
        panel : DataFrame
            As for `predict_risk`.

        Returns
        -------
        DataFrame
            A row for each row of `panel`, in its order; the input columns, in their own units: a
            middle value of what is measured next, if it is measured.

        Raises
        ------
        ValueError
            If ``vitals_weight`` was 0, or a transform has no inverse.
        """
        check_is_fitted(self)
        if not self.vitals_weight:
            raise bad_parameter(
                "vitals_weight", expected="above 0, to forecast vitals", found=self.vitals_weight
            )
        known, order = in_order(panel)
        layout = layout_of(known)
        preparation = self._preparation
        rows = preparation.rows(self._select(known, layout), layout)
        values = np.full((layout.n_rows, len(preparation.inputs)), np.nan)
        for at in _ready_blocks(rows):
            told = remembered(self.networks_, rows, at, self._shape)
            with torch.inference_mode():
                each = [n.next_row(states) for n, states in zip(self.networks_, told)]
            values[at] = torch.stack(each).mean(0).numpy() + preparation.fill
        frame = pd.DataFrame(values, index=known.index, columns=preparation.inputs)
        for step in reversed(steps(preparation.chain.fitted)):
            if not hasattr(step, "inverse_transform"):
                raise bad_parameter(
                    "transform", expected="steps with inverse_transform", found=step
                )
            frame = step.inverse_transform(frame)
        return frame if order is None else frame.iloc[order]

    # ------------------------------------------------------------------------------- parameters

    def _check_parameters(self) -> None:
        choice("context", self.context, ("window", "history"))
        choice("cell", self.cell, CELLS)
        choice("missing", self.missing, ("mask", "raise"))
        choice("blend", self.blend, ("average", "correct"))
        for name in ("lookback", "n_members"):
            positive_int(name, getattr(self, name))
        for name in ("dropout", "channel_dropout"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise bad_parameter(name, expected="a share in [0, 1)", found=value)
        if not _is_number(self.last_weight) or not 0 <= self.last_weight <= 1:
            raise bad_parameter("last_weight", expected="from 0 to 1", found=self.last_weight)
        for name in ("smoothing", "vitals_weight"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0:
                raise bad_parameter(name, expected="0 or more", found=value)
        if self.smoothing and self.label == "outcome":
            raise bad_parameter(
                "smoothing", expected="0, as an outcome has no time", found=self.smoothing
            )
        for name in ("past", "static"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple | set | frozenset | pd.Index | None):
                advice = f"Write [{value!r}]." if isinstance(value, str) else None
                raise bad_parameter(name, expected="a list of columns", found=value, advice=advice)
        weight = self.class_weight
        if not (weight in (None, "balanced") or (_is_number(weight) and weight > 0)):
            raise bad_parameter(
                "class_weight", expected="'balanced', a number above 0, or None", found=weight
            )
        if self._corrects and self.competing is not None:
            raise bad_parameter(
                "blend",
                expected="'average', where exits compete with the event",
                found=self.blend,
                advice="A risk is no hazard of one cause that a network could add to.",
            )
        self._training().check()
        if self._training().validation == "time":
            raise bad_parameter(
                "training",
                expected="validation='series' or None",
                found=self.training,
                advice="Stays are told apart, not their hours.",
            )

    def _training(self) -> Training:
        training = Training() if self.training is None else self.training
        if not isinstance(training, Training):
            raise bad_parameter("training", expected="a Training(...) or None", found=training)
        return training.resolved("series")

    def _inputs(self, panel: pd.DataFrame) -> list[Hashable]:
        static = list(self.static or ())
        if self.past is not None:
            return [*self.past, *static]
        return [*(name for name in self._numbers(panel) if name not in static), *static]

    @property
    def _memory(self) -> int:
        """Rows of a stay that the risk at its end needs, beside the state of the networks."""
        return self.lookback if self.context == "window" else 1

    @property
    def _shape(self) -> Shape:
        return Shape(self.context, self.lookback, 1)

    # -------------------------------------------------------------------------------------- fit

    def _fit(self, panel: pd.DataFrame, layout: Layout, labels: Labels) -> None:
        training = self._training()
        seeds = draw_seeds(self.random_state, self.n_members)
        held = np.zeros(layout.n_series, dtype=bool)
        if training.validation == "series":
            held = self._held_out(panel, layout, labels, training.validation_size, seeds[0])
        known_layout, kept = layout.head(np.where(held, 0, np.diff(layout.offsets)))
        self._preparation = self._new_preparation(self._measured(panel.iloc[kept]))
        self._preparation.fit(panel.iloc[kept], known_layout)
        self.transform_ = self._preparation.chain.fitted
        rows = self._preparation.rows(panel, layout)
        weight = self._row_weights(rows, labels)
        of_training = np.repeat(~held, np.diff(layout.offsets))
        learn = (weight > 0) & of_training
        checked = (weight > 0) & ~of_training
        if not learn.any() or (training.validation and not checked.any()):
            raise fail(
                "too few rows",
                expected="rows at risk in training and in validation",
                found=f"{int(learn.sum())} and {int(checked.sum())}",
                advice="Lower `min_history`, or use Training(validation=None).",
            )
        self._beside = None if self.beside is None else Beside.like(self.beside, self)
        offset, own = np.zeros(layout.n_rows), None
        if self._beside is not None:
            ill = ill_series(labels, layout)
            groups = self._groups(panel, layout)
            own = self._beside.fit(self._shown(), layout, held, groups, ill, seeds[0])
            if self._corrects:
                offset = offsets(own)
                learn &= np.isfinite(offset)
        exits = RowExits(labels.step, labels.cause, labels.observed, weight, offset)
        head = self._head(exits, learn)
        at = np.flatnonzero(learn)
        start = head.start(exits.step[at], exits.cause[at], exits.observed[at], weight[at])
        if self._corrects:
            start[:, 0] = float(np.log(head.weight))
        validation, blocks = None, None
        if training.validation == "series":
            validation = EventValidation(rows, exits, np.flatnonzero(checked), self._shape)
            blocks = self._groups(panel, layout)[rows.series_of(validation.at)]
        origins = _AUTO_ORIGINS if training.origins == "auto" else training.origins
        later = previous_rows(layout) != np.arange(layout.n_rows)
        scale = input_scale(rows.inputs[torch.from_numpy(later & of_training)])
        static = input_scale(rows.static[torch.from_numpy(~held)]) if self.static else _NO_SCALE

        def begin(member: int, seed: int) -> tuple[EventNetwork, EventBatches]:
            windows = StayWindows(
                rows,
                learn,
                shape=self._shape,
                origins=origins,
                batch_size=training.batch_size,
                rng=np.random.default_rng(seed),
            )
            windows.batch_size = windows_per_step(windows.n_windows, training.batch_size)
            n_columns = self._preparation.features.n_columns
            vitals = scale if self.vitals_weight else None
            batches = EventBatches(windows, exits, vitals, n_columns)
            return self._network(scale, static, head, start, training.init), batches

        trained = train_members(
            seeds, begin, validation, training, blocks=blocks, verbose=self.verbose
        )
        self.networks_, self.best_epochs_ = trained.networks, trained.best_epochs
        self.history_, self._stop = trained.history, trained.stopped_by
        self.interrupted_ = self._stop is not None
        if self._beside is not None:
            if validation is not None and own is not None and not self._corrects:
                self._choose_share(validation, own, labels, layout)
            self._beside.refit(self._shown())

    def _choose_share(
        self, validation: EventValidation, own: Floats, labels: Labels, layout: Layout
    ) -> None:
        """Weigh the two by rows of the validation part whose outcome is known."""
        assert self._beside is not None
        known = np.isfinite(labels.event[validation.at])
        if getattr(self._beside.model, "at", "every") != "every":
            known &= np.isin(validation.at, self._beside.judged(layout, labels.eligible))
        if not known.any():
            return
        with torch.inference_mode():
            logits = mean_logits(self.networks_, validation.told(self.networks_), None)
        network = logit(incidence(self.networks_, logits)[known, -1])
        at = validation.at[known]
        self._beside.choose(network, logit(own[at, -1]), labels.event[at], validation.weight[known])

    def _shown(self) -> pd.DataFrame:
        """What a classifier beside the network is fitted on: the inputs, and what labels need."""
        assert self._panel is not None
        extra = [name for name in (self.competing, self.group) if name is not None]
        if not isinstance(self.event, Event):
            return self._panel[list(dict.fromkeys([*self.inputs_, self.event, *extra]))]
        # a rule's own columns need not be inputs: only what it says is shown
        shown = self._panel[list(dict.fromkeys([*self.inputs_, *extra]))].copy()
        shown[RULE] = self.event.on(self._panel)
        return shown

    @property
    def beside_(self) -> Any:
        """The fitted classifier beside the network, None without one."""
        beside: Beside | None = getattr(self, "_beside", None)
        return None if beside is None else beside.fitted

    @property
    def beside_share_(self) -> float:
        """Its share in the average of the logits, 0 without one."""
        beside: Beside | None = getattr(self, "_beside", None)
        return 0.0 if beside is None or self._corrects else beside.share

    @property
    def _corrects(self) -> bool:
        return self.beside is not None and self.blend == "correct"

    def _measured(self, known: pd.DataFrame) -> list[Hashable]:
        """The inputs that are no constants and have a value in the training rows."""
        past = [name for name in self.inputs_ if name not in (self.static or ())]
        empty = [name for name in past if known[name].isna().all()]
        if empty:
            warnings.warn(
                f"{len(empty)} columns hold no value in the training rows and are left out: "
                f"{first(map(repr, empty))}.",
                stacklevel=callers_level(),
            )
        return [name for name in past if name not in empty]

    def _new_preparation(self, past: list[Hashable]) -> Preparation:
        return Preparation(
            targets=[],
            past=past,
            future=[],
            static=list(self.static or ()),
            horizon=1,
            transform=self.transform,
            baseline=None,
            scale=None,
            seasons=(),
            missing=self.missing,
            max_gap=self.max_gap,
        )

    def _row_weights(self, rows: Rows, labels: Labels) -> Floats:
        """How much every row counts in the loss, (N,)."""
        row = np.arange(rows.layout.n_rows)
        told = (labels.step > 0) | (labels.observed > 0)
        enough = row - rows.layout.starts[rows.layout.codes()] + 1 >= self.min_history
        use = labels.at_risk & told & enough & (row >= rows.first)
        weight = use.astype(np.float64)
        if self.label != "outcome":
            return weight
        series = rows.layout.codes()
        count = np.bincount(series, weights=weight, minlength=rows.layout.n_series)
        weight = np.where(use, (1 - self.last_weight) / np.maximum(count, 1)[series], 0.0)
        last = np.full(rows.layout.n_series, -1)
        which = np.flatnonzero(use)
        np.maximum.at(last, series[which], which)
        weight[last[last >= 0]] += self.last_weight
        total: Floats = weight * use.sum() / max(1, (last >= 0).sum())
        return total

    def _head(self, exits: RowExits, learn: Bools) -> Hazards:
        weight = 1.0
        if self.class_weight == "balanced":
            until = np.where(exits.step > 0, np.minimum(exits.step, self.n_steps_), exits.observed)
            until = np.minimum(until, self.n_steps_)
            hits = (exits.cause == 1) & (exits.step <= np.minimum(exits.observed, self.n_steps_))
            events = (exits.weight * hits)[learn].sum()
            if not events:
                raise fail(
                    "no event in the training part",
                    expected="an event to balance the classes by",
                    found=f"none behind any of {int(learn.sum())} rows",
                    advice="Take more stays, or class_weight=None.",
                )
            weight = float(((exits.weight * until)[learn].sum() - events) / events)
        elif self.class_weight is not None:
            weight = float(self.class_weight)
        return Hazards(
            self.n_steps_,
            1 if self.competing is None else 2,
            weight,
            float(self.smoothing),
        )

    def _network(
        self, scale: InputScale, static: InputScale, head: Hazards, start: Tensor, init: Any
    ) -> EventNetwork:
        return EventNetwork(
            features=self._preparation.features,
            scale=scale,
            static=static,
            n_codes=self._preparation.n_codes,
            cell=self.cell,
            hidden_sizes=self.hidden_sizes,
            dropout=self.dropout,
            layer_norm=self.layer_norm,
            init=init,
            max_steps=max(2, self.lookback),
            head=head,
            start=start,
            decay=self.input_decay,
            channel_dropout=self.channel_dropout,
            vitals=self.vitals_weight,
        )

    # --------------------------------------------------------------------------------- forecasts

    def _read(self, panel: pd.DataFrame) -> tuple[list[EventNetwork], Rows, Shape]:
        """Give the networks, what they read of a panel, and how: for a look inside."""
        return self.networks_, self._preparation.rows(*self._checked(panel)), self._shape

    def _risk(self, panel: pd.DataFrame, layout: Layout) -> Floats:
        rows = self._preparation.rows(panel, layout)
        own = None if self._beside is None else self._beside.said(panel)
        risk = np.empty((layout.n_rows, self.n_steps_))
        for at in _blocks(layout):
            risk[at] = self._risk_at(rows, at, None if own is None else own[at])
        return risk

    def _risk_at(self, rows: Rows, at: Ints, own: Floats | None) -> Floats:
        """Risks at some rows, (n, K), beside which another classifier has said `own`, (n, K)."""
        networks = self.networks_
        ready = at >= rows.first[at]
        offset = torch.zeros(len(at))
        if own is not None and self._corrects:
            offset = torch.from_numpy(offsets(own).astype(np.float32))
        told = remembered(networks, rows, at[ready], self._shape)
        with torch.inference_mode():
            logits = networks[0].start.double().repeat(len(at), 1, 1)  # of rows without a state
            logits[..., 0] += offset[:, None]
            logits = networks[0].head.logits(logits)
            logits[torch.from_numpy(ready)] = mean_logits(networks, told, offset[ready])
            risk = incidence(networks, logits)
        if own is not None and self._beside is not None and not self._corrects:
            risk = self._beside.averaged(risk, own)
        return risk


def _blocks(layout: Layout) -> Iterator[Ints]:
    """Rows in blocks of whole series of about `_ROWS_AT_ONCE` rows."""
    start = 0
    while start < layout.n_series:
        most = layout.offsets[start] + _ROWS_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(layout.offsets, most, side="right")) - 1)
        yield np.arange(layout.offsets[start], layout.offsets[stop])
        start = stop


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _ready_blocks(rows: Rows) -> Iterator[Ints]:
    """The same of rows behind the warm-up ones."""
    for at in _blocks(rows.layout):
        if len(at := at[at >= rows.first[at]]):
            yield at
