"""Live updates: one row more costs one step, not a new look at the history."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, choice, fail, first
from tsforecast.backtesting.alarms import AlarmPolicy
from tsforecast.data.calendars import TimeStep, infer_time_step
from tsforecast.data.frames import forecast_frame
from tsforecast.data.keys import kind_of
from tsforecast.data.panel import Floats, Ints, Layout, layout_of, time_from_ints
from tsforecast.data.transforms import RowNames
from tsforecast.estimators._base import rows_after
from tsforecast.estimators._stepping import Carried, Stepper
from tsforecast.estimators.calibration import CalibratedEvents
from tsforecast.estimators.conformal import ConformalForecaster
from tsforecast.estimators.event import EventClassifier
from tsforecast.estimators.forecaster import RecurrentForecaster
from tsforecast.serving._reach import NewRows, Reach
from tsforecast.serving._watch import Watch, network_of

__all__ = ["Stream"]


class Stream:
    """Follow many series live: feed rows as they come, ask for forecasts, or for risks.

    What a stream keeps of a series does not grow: with ``context="history"`` the state of the
    network, with ``context="window"`` the last `lookback` rows of features, and what transform,
    running scale, seasons and baseline look back on.  Its forecasts are those of
    ``model.predict`` on all rows so far, its risks those of ``model.predict_risk``.  Only where an
    event classifier has another one beside it (``beside=``) are the rows of a stay kept, too:
    `drop` the stays that have ended.

    Parameters
    ----------
    model : RecurrentForecaster, EventClassifier, or one in a ConformalForecaster, CalibratedEvents
        Fitted. Its transform must be able to go on row by row (all of this package's are, and the
        plain scalers of scikit-learn; see `tsforecast.data.transforms` for one's own), and its
        baseline "last", "seasonal", None, or one of this package's baselines but for
        `LagRegressor`.
    panel : DataFrame or None
        Rows so far. None: no row, not even those of `fit`; every series is yet to come.
    policy : AlarmPolicy, optional
        Turns the risks of an event classifier into alarms, row after row; with a threshold.

    Raises
    ------
    ValueError
        If the transform or the baseline cannot go on row by row; it is named. If there is a
        policy without a threshold, or without an event classifier.

    Notes
    -----
    Within a series time only moves on. A row that is not later than the newest one of its series
    is refused, or passed over with ``late="ignore"``; what a stream has seen it does not take
    back (`drop` forgets a series). Where `update` raises an error, nothing has changed. Rows of a
    series that begins are swept as a whole, those of others taken one by one. A beginning costs a
    copy of what is kept of all others: begin many series in one call. Where a panel is given, its
    time zone and spacing are those of the forecasts, as with `predict`; a stream that began with
    nothing goes by those of `fit`. `tsforecast.save` writes it with its model, and
    `tsforecast.load` goes on.

    Around a `ConformalForecaster` the intervals adapt with every update. What they have learned
    stands in the stream; the model is left as it is. Scores of series that are pooled count in the
    order of the updates: feed all series of a time together.

    Events are not told to a stream: to its policy every row is one at risk. Its alarms are those
    of ``policy.apply`` up to the first row in an event; behind it they are those of a patient in
    it, who is for the ward to take out (`drop`).

    Examples
    --------
    >>> import tsforecast as tsf
    >>> panel = tsf.make_prices(2, 200, random_state=0)
    >>> model = tsf.RecurrentForecaster(
    ...     target="close", lookback=8, context="history", hidden_sizes=(4,), transform=tsf.Log(),
    ...     training=tsf.Training(max_epochs=1, validation=None), random_state=0).fit(panel)
    >>> known = panel.groupby(level=0).head(150)
    >>> stream = Stream(model, known)
    >>> stream.update(panel.drop(known.index))
    100
    >>> bool((stream.forecast()["forecast"] - model.predict(panel)["forecast"]).abs().max() < 1e-5)
    True
    """

    def __init__(
        self,
        model: RecurrentForecaster | ConformalForecaster | EventClassifier | CalibratedEvents,
        panel: pd.DataFrame | None,
        *,
        policy: AlarmPolicy | None = None,
    ) -> None:
        network = network_of(model)
        if not isinstance(network, RecurrentForecaster | EventClassifier):
            raise bad_parameter(
                "model",
                expected="a fitted RecurrentForecaster or EventClassifier, or a wrapper of one",
                found=model,
                advice="Use predict(panel) of other forecasters, and predict_risk(panel) of other "
                "event estimators.",
            )
        check_is_fitted(model)
        self.model = model
        self._network = network
        self._watch: Watch | None = None
        if isinstance(network, EventClassifier):
            self._watch = Watch(model, policy)
        elif policy is not None:
            raise bad_parameter(
                "policy", expected="None, as a forecaster gives no risks", found=policy
            )
        self._reach = Reach(model) if isinstance(model, ConformalForecaster) else None
        self._stepper = Stepper(network)
        self._ids: pd.Index | None = network._series_type
        self._time = network._time_type
        self._step: TimeStep | None = getattr(model, "_time_step", None)
        if panel is None:
            self._carried = self._stepper.nothing(*network._preparation.no_statics())
            if self._reach is not None:
                self._carried |= self._reach.nothing(0)
            if self._watch is not None:
                self._carried |= self._watch.nothing(0)
            return
        _, layout = network._checked(panel)
        if isinstance(self._time, pd.DatetimeIndex):  # in the panel's zone, as of `predict`
            self._time = cast(pd.DatetimeIndex, layout.labels[:0]).as_unit(self._time.unit)
        panel, layout = self._checked(panel)
        if self._step is not None:
            self._step = infer_time_step(layout, learned=self._step)
        self._ids, self._time = layout.ids, layout.labels[:0]
        self._carried = self._after(panel, layout)
        if self._reach is not None:
            begun = NewRows(panel, layout, self._reach.at_all(panel, layout), {})
            (reach,), self._reach.scores = self._reach.after([begun])
            self._carried |= reach

    # --------------------------------------------------------------------------------------- rows

    def __repr__(self) -> str:
        n = len(self._carried["time"])
        until = f", newest row {self.newest.max()}" if n else ""
        return f"Stream({n} series{until})"

    @property
    def newest(self) -> pd.Series:
        """Time of the newest row of each series, in the order of their names."""
        if len(self._carried["time"]) == 0:
            return pd.Series(self._time, index=self._ids, name=self._time.name)
        layout, _ = self._layout(None)
        index = pd.RangeIndex(layout.n_series) if layout.ids is None else layout.ids
        return pd.Series(layout.time, index=index, name=layout.time.name)

    def update(self, rows: pd.DataFrame, *, late: Literal["raise", "ignore"] = "raise") -> int:
        """Take new rows of one series or many.

        Parameters
        ----------
        rows : DataFrame
            A panel with the columns that the model needs, one row or several of each series, or
            none at all; NaN where a value is missing. A series that is not known yet begins here.
        late : {"raise", "ignore"}
            What to do with rows that are not later than the newest one of their series: refuse
            all, or pass over these. Within `rows` each time stands once.

        Returns
        -------
        int
            Rows taken.

        Raises
        ------
        DataError
            If a row is late, or cannot be used; nothing has changed then.
        """
        choice("late", late, ("raise", "ignore"))
        if isinstance(rows, pd.DataFrame) and len(rows) == 0:
            return 0
        panel, layout = self._checked(rows)
        series = self._places(layout)
        newest = np.full(layout.n_series, np.iinfo(np.int64).min)
        newest[series >= 0] = self._carried["time"][series[series >= 0]]
        newest = newest[layout.codes()]
        behind = layout.when() <= newest
        if behind.any():
            if late == "raise":
                raise self._late(panel, layout, behind, newest)
            panel = panel[~behind]
            if len(panel) == 0:
                return 0
            layout = layout_of(panel)
            series = self._places(layout)
        new = series < 0
        self._check_static(panel, layout, series)
        begun, moved = None, None
        parts: list[tuple[Carried, NewRows]] = []
        if new.any():  # a sweep over their rows, as in the beginning
            part = panel[new[layout.codes()]]
            own = layout_of(part)
            begun = self._after(part, own), own.ids
            if self._reach is not None:
                parts.append((begun[0], NewRows(part, own, self._reach.at_all(part, own), {})))
        if not new.all():
            part = panel if not new.any() else panel[~new[layout.codes()]]
            own = layout_of(part)
            moved, bounds = self._moved(series[~new], part, own)
            if self._reach is not None:
                before = {name: kept[series[~new]] for name, kept in self._carried.items()}
                parts.append((moved, NewRows(part, own, bounds, before)))
        if self._reach is not None:
            reached, self._reach.scores = self._reach.after([each for _, each in parts])
            for (carried, _), reach in zip(parts, reached):
                carried |= reach
        if moved is not None:
            for name, array in moved.items():
                self._carried[name][series[~new]] = array
        if begun is not None:
            self._carried = {
                name: np.concatenate([kept, begun[0][name]]) for name, kept in self._carried.items()
            }
            if self._ids is not None and begun[1] is not None:
                known_as = self._ids.name or begun[1].name
                self._ids = self._ids.append(begun[1]).rename(known_as)
        return len(panel)

    def drop(self, series: Sequence[Hashable]) -> None:
        """Forget some series; their rows may be fed again, from any time on.

        Parameters
        ----------
        series : sequence
            Names.

        Raises
        ------
        DataError
            If one is not known.
        """
        _, places = self._layout(series)
        kept = np.setdiff1d(np.arange(len(self._carried["time"])), places)
        self._carried = {name: part[kept] for name, part in self._carried.items()}
        self._ids = None if self._ids is None else self._ids.take(kept)

    def future_index(self, series: Sequence[Hashable] | None = None) -> pd.Index:
        """Name the next `horizon` rows after the newest one of each series, for `future`."""
        model, step = self._forecaster()
        return rows_after(self._layout(series)[0], step, model.horizon)

    def forecast(
        self, series: Sequence[Hashable] | None = None, future: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Forecast the next `horizon` rows after the newest one of each series.

        Parameters
        ----------
        series : sequence, optional
            Names of some series; the forecasts stand in the order of the names, none for an empty
            list. Default: all.
        future : DataFrame, optional
            Columns known ahead, for exactly the next `horizon` rows of these series; see
            `RecurrentForecaster.predict`.

        Returns
        -------
        DataFrame
            As from ``model.predict``.

        Raises
        ------
        DataError
            If there is no row yet, or a series is not known.
        ValueError
            If the model is an event classifier.
        """
        (model, step), stepper = self._forecaster(), self._stepper
        layout, order = self._layout(series)
        if len(order) == 0:
            none = np.empty((0, len(model.targets_), model.horizon))
            return forecast_frame(
                layout,
                order,
                order,
                targets=model.targets_,
                forecast=none,
                quantiles=np.empty((*none.shape, len(self.model._levels))),
                levels=self.model._levels,
                time_step=step,
            )
        carried = {name: part[order] for name, part in self._carried.items()}
        rows = stepper.rows(carried, layout)
        origins = rows.layout.stops - 1
        if future is not None or model._columns_of("future"):
            ahead = model._rows_ahead(future, layout)
            names = RowNames(layout.ids, np.arange(layout.n_series), layout.time)
            rows = stepper.ahead(carried, rows, ahead, names)
            origins = origins + model.horizon * np.arange(layout.n_series)
        said: Any = rows
        if self._reach is not None:
            said = self._reach.rows(rows, origins, carried, layout)
        forecast, quantiles = self.model._forecast(said, origins)
        return forecast_frame(
            layout,
            layout.starts,
            layout.when(),
            targets=model.targets_,
            forecast=forecast,
            quantiles=quantiles,
            levels=self.model._levels,
            time_step=step,
        )

    def risk(self, series: Sequence[Hashable] | None = None) -> pd.DataFrame:
        """Give the probability of the event at the newest row of each stay.

        Parameters
        ----------
        series : sequence, optional
            Names of some stays; the risks stand in the order of the names. Default: all.

        Returns
        -------
        DataFrame
            Index ``(series, time)`` of the newest rows; columns as from ``model.predict_risk``
            and, with a policy, ``alarm``: whether that row raises one. Of several rows of a stay
            in one `update` only the newest is told.

        Raises
        ------
        DataError
            If there is no row yet, or a series is not known.
        ValueError
            If the model is a forecaster.

        Examples
        --------
        >>> import tsforecast as tsf
        >>> stays = tsf.make_vitals(20, random_state=0)
        >>> model = tsf.EventClassifier(
        ...     event="deterioration", horizon="6h", step="1h", hidden_sizes=(4,),
        ...     training=tsf.Training(max_epochs=1, validation=None), random_state=0).fit(stays)
        >>> live = tsf.Stream(model, stays, policy=tsf.AlarmPolicy(0.5, silence="4h"))
        >>> live.risk(["P003"]).columns.tolist()
        ['risk', 'risk_1', 'risk_2', 'risk_3', 'risk_4', 'risk_5', 'risk_6', 'alarm']
        """
        if self._watch is None:
            raise bad_parameter(
                "model",
                expected="an EventClassifier, to give risks",
                found=type(self.model).__name__,
                advice="Ask a forecaster for forecast().",
            )
        layout, order = self._layout(series)
        carried = {name: self._carried[name][order] for name in self._watch.nothing(0)}
        return self._watch.frame(carried, layout)

    # ------------------------------------------------------------------------------------ within

    def _forecaster(self) -> tuple[RecurrentForecaster, TimeStep]:
        forecasts = isinstance(self.model, RecurrentForecaster | ConformalForecaster)
        if not forecasts or self._step is None:
            raise bad_parameter(
                "model",
                expected="a RecurrentForecaster, to forecast",
                found=type(self.model).__name__,
                advice="Ask an event classifier for risk().",
            )
        return cast(RecurrentForecaster, self._network), self._step

    def _after(self, panel: pd.DataFrame, layout: Layout) -> Carried:
        """What is carried after the last row of each series of a panel."""
        carried = self._stepper.after(panel, layout)
        return carried if self._watch is None else carried | self._watch.after(panel, layout)

    def _checked(self, data: pd.DataFrame) -> tuple[pd.DataFrame, Layout]:
        """Rows as the model wants them, in its unit of time."""
        model = self._network
        needed = model._columns()
        if isinstance(data, pd.DataFrame) and set(needed) < set(data.columns):
            data = data[needed]
        panel, layout = model._checked(data)
        if (layout.ids is None) != (self._ids is None):
            both = ["one series without a name", "an index (series, time)"]
            raise fail(
                "index is of another kind than in fit",
                expected=both[self._ids is not None],
                found=both[layout.ids is not None],
                advice="Give the rows the index of the panel that the model was fitted on.",
            )
        if model._series is not None and layout.ids is not None:
            kinds = [model._series.kind, kind_of(layout.ids)]
            if kinds[0] != kinds[1]:
                raise fail(
                    "series names are of another type than in fit",
                    expected=f"{kinds[0]} names",
                    found=f"{kinds[1]}, such as {layout.ids.tolist()[0]!r}",
                    advice="Convert them, e.g. with rows.rename(index=str, level=0).",
                )
        if layout.labels.dtype != self._time.dtype:
            labels: pd.Index = layout.labels.astype(self._time.dtype)
            finer = np.flatnonzero(np.asarray(labels != layout.labels))
            if len(finer):
                raise fail(
                    "time is finer than that of the model",
                    expected=f"times as of fit, {self._time.dtype}",
                    found=f"{layout.labels.dtype} that are between them",
                    advice="Fit on a panel whose index has the finer unit (as_unit), or round.",
                    rows=[str(label) for label in layout.labels[finer[:5]]],
                )
            if isinstance(panel.index, pd.MultiIndex):
                labels = panel.index.set_levels(cast(Any, labels), level=1)
            panel = panel.set_axis(labels)
            layout = layout_of(panel)
        if isinstance(model, RecurrentForecaster):
            model._check_counts(panel)
        model._preparation.check_missing(panel, layout)
        return panel, layout

    def _places(self, layout: Layout) -> Ints:
        """Position of each series of a layout here, -1 where it is not known yet."""
        if self._ids is None or layout.ids is None:
            return np.full(1, len(self._carried["time"]) - 1)
        return np.asarray(self._ids.get_indexer(layout.ids), dtype=np.int64)

    def _layout(self, series: Sequence[Hashable] | None) -> tuple[Layout, Ints]:
        """One row for each of some series, in the order of their names, and their places here."""
        n = len(self._carried["time"])
        if n == 0:
            raise fail(
                "stream without rows",
                expected="at least one row",
                found="none",
                advice="Feed rows with update first.",
            )
        order = np.arange(n)
        if self._ids is not None:
            ids = self._ids
            if series is not None:
                wanted = list(series) if pd.api.types.is_list_like(series) else [series]
                unknown = [name for name in wanted if name not in ids]
                if unknown:
                    raise fail(
                        "series is not known",
                        expected=f"names of the {n} series that rows have come of",
                        found=f"{first(map(repr, unknown))}",
                        advice="Feed rows of it with update first.",
                        series=unknown[0],
                    )
                order = np.unique(ids.get_indexer(pd.Index(wanted)))
            order = order[ids.take(order).argsort()]
        elif series is not None:
            raise bad_parameter(
                "series", expected="None, as the one series has no name", found=series
            )
        time = time_from_ints(self._carried["time"][order], self._time)
        named = None if self._ids is None else self._ids.take(order)
        return Layout(named, time, np.arange(len(order) + 1)), order

    def _check_static(self, panel: pd.DataFrame, layout: Layout, series: Ints) -> None:
        """Raise if a constant of a series that is known is another one now."""
        known = np.flatnonzero(series >= 0)
        if not self._network.static or len(known) == 0:
            return
        numbers, codes = self._network._preparation.static_arrays(panel, layout)
        before = self._carried["static"][series[known]], self._carried["codes"][series[known]]
        same = (before[0] == numbers[known].astype(np.float32)).all(axis=1)
        same &= (before[1] == codes[known]).all(axis=1)
        if not same.all():
            raise fail(
                "static column varies",
                expected="the value of the rows before",
                found="another one",
                advice="Mend the source; if it changes with time, it is no constant of the series.",
                series=layout.names()[int(known[np.argmin(same)])],
            )

    def _moved(self, series: Ints, panel: pd.DataFrame, layout: Layout) -> tuple[Carried, Floats]:
        """What is carried of some series after the rows of a panel, and bounds at each of these.

        New arrays; without intervals that adapt there are no bounds.
        """
        values = self._network._preparation.raw(panel)
        when, counts = layout.when(), np.diff(layout.offsets)
        mine: dict[str, npt.NDArray[Any]] = {
            name: part[series] for name, part in self._carried.items()
        }
        own, bounds = None, np.empty((3, 0, 0, 0))
        if self._reach is not None and self._reach.adapts:
            k, h = len(self._reach.model.targets_), self._reach.model.horizon
            bounds = np.empty((3, layout.n_rows, k, h))
        if self._watch is not None:
            kept, own = self._watch.with_rows(mine, panel, layout)
            mine |= kept
        for number in range(int(counts.max())):
            which = np.flatnonzero(counts > number)
            at = layout.starts[which] + number
            names = RowNames(layout.ids, which, layout.time.take(at))
            all_of_them = len(which) == len(counts)
            some = mine if all_of_them else {name: part[which] for name, part in mine.items()}
            some = self._stepper.step(some, values[at], when[at], names)
            if self._watch is not None:
                ids = None if layout.ids is None else layout.ids.take(which)
                one = Layout(ids, names.time, np.arange(len(which) + 1))
                rows = self._stepper.rows(some, one)
                some |= self._watch.step(some, rows, None if own is None else own[at])
            if self._reach is not None and self._reach.adapts:
                ids = None if layout.ids is None else layout.ids.take(which)
                one = Layout(ids, names.time, np.arange(len(which) + 1))
                bounds[:, at] = self._reach.at_ends(self._stepper.rows(some, one))
            if all_of_them:
                mine = some
                continue
            for name, part in some.items():
                mine[name][which] = part
        return mine, bounds

    def _late(
        self, panel: pd.DataFrame, layout: Layout, behind: npt.NDArray[np.bool_], newest: Ints
    ) -> ValueError:
        at = int(np.argmax(behind))
        mark = time_from_ints(newest[[at]], self._time)[0]
        return fail(
            "rows that are not new",
            expected=f"rows later than the newest one, {mark}",
            found=f"{int(behind.sum())} that are not",
            advice='Pass over them with late="ignore", or make the stream anew from all rows.',
            series=None if layout.ids is None else layout.names()[int(layout.codes()[at])],
            rows=[str(label) for label in panel.index[behind][:5]],
        )
