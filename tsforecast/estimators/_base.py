"""The verbs every forecaster has, made from one method that gives arrays at many origins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Hashable, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from tsforecast._checks import bad_parameter, fail, positive_int
from tsforecast.data.calendars import TimeStep, infer_time_step
from tsforecast.data.frames import forecast_frame
from tsforecast.data.keys import Keys
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    as_panel,
    layout_of,
    time_from_ints,
)
from tsforecast.data.scored import Bools, naive_errors, scored_origins, short_origins_unsaid
from tsforecast.estimators._searched import refuse_foreign_split
from tsforecast.metrics import quantile_column

__all__ = ["PanelForecaster", "PreparedRows", "rows_after", "series_key", "targets_of"]


class PreparedRows(Protocol):
    """A panel's rows as an estimator wants them; knows its layout and can be cut to its tail."""

    @property
    def layout(self) -> Layout:
        """Where the series lie."""

    def tail(self, n_rows: int) -> Any:
        """Keep the last rows of each series."""


def targets_of(panel: pd.DataFrame, target: Any) -> list[Hashable]:
    """Give the K target columns: the one or those named, or the only one there is."""
    if target is None:
        if panel.shape[1] != 1:
            raise bad_parameter(
                "target", expected=f"one of the columns {list(panel.columns)}", found=None
            )
        return [panel.columns[0]]
    targets = list(target) if isinstance(target, list | tuple) else [target]
    if not targets or len(set(targets)) < len(targets):
        raise bad_parameter("target", expected="a column, or several, each once", found=target)
    for name in targets:
        if name not in panel.columns:
            raise fail(
                "target is not a column",
                expected=f"a column {name!r}",
                found=f"columns {list(panel.columns)}",
                advice="Name one of them as target=.",
                column=name,
            )
    return targets


def series_key(layout: Layout, known: Keys | None) -> Ints:
    """Position of each series of `layout` among the series known from fit, -1 where unseen."""
    if known is None or layout.ids is None:
        same = known is None and layout.ids is None
        return np.full(layout.n_series, 0 if same else -1)
    return known.find(layout.ids)


def rows_after(layout: Layout, step: TimeStep, horizon: int) -> pd.Index:
    """Name the next `horizon` rows after the end of each series, indexed as its panel."""
    ahead = step.after(layout.when(layout.stops - 1), horizon, like=layout.labels)
    time = time_from_ints(ahead.ravel(), layout.labels)
    if layout.ids is None:
        return time
    ids = layout.ids.repeat(horizon)
    return pd.MultiIndex.from_arrays([ids, time], names=[layout.ids.name, layout.labels.name])


def _span(layout: Layout) -> dict[str, Any]:
    """First and last time of a panel, and how many series and rows it has."""
    return {
        "first": layout.time_at(layout.starts[np.argmin(layout.when(layout.starts))]),
        "last": layout.last_time(),
        "series": layout.n_series,
        "rows": layout.n_rows,
    }


def _kind(time: pd.Index) -> str:
    if isinstance(time, pd.DatetimeIndex):
        return "dates without a time zone" if time.tz is None else "dates with a time zone"
    return "time spans" if isinstance(time, pd.TimedeltaIndex) else "whole numbers"


class PanelForecaster(BaseEstimator):
    """Base of forecasters on panels; not used alone.

    A subclass has the parameters `target` (a column, or K of them) and `horizon`, and gives

    - ``_fit(panel, layout) -> PreparedRows``: learn from a checked panel that holds the columns
      needed, and give its rows as `_prepare` does,
    - ``_prepare(panel, layout) -> PreparedRows``: rows ready for forecasting, causally,
    - ``_forecast(rows, origins) -> (forecast (n, K, H), quantiles (n, K, H, J))``: in the targets'
      own units, where the forecast at an origin uses no later row,
    - ``_memory``: rows of each series that a forecast at its end needs,
    - ``_levels``: the J quantile levels.
    """

    target: Any
    horizon: int
    targets_: list[Hashable]

    _time_step: TimeStep
    _span: dict[str, Any]
    _tail: Any  # None in a model that was saved without it
    _time_type: pd.Index
    _series: Keys | None
    _series_type: pd.Index | None

    def fit(self, panel: pd.DataFrame, y: None = None) -> Any:
        """Learn from all rows of `panel`.

        Parameters
        ----------
        panel : DataFrame
            A panel, or anything that `as_panel` takes without further names.
        y : None
            Ignored: the targets are columns of the panel.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the panel cannot be used; the message names column, series and first rows.
        """
        self.__dict__.pop("_time_step", None)  # not fitted until this fit has ended
        positive_int("horizon", self.horizon)
        panel = as_panel(panel)
        self.targets_ = targets_of(panel, self.target)
        panel = self._select(panel, fitting=True)
        layout = layout_of(panel)
        self._remember(self._fit(panel, layout))
        return self

    def _remember(self, rows: PreparedRows) -> None:
        """Keep what `predict()` and `score` need: tails, series, spacing, the last time."""
        layout = rows.layout
        self._span = _span(layout)
        self.cutoff_ = self._span["last"]
        self._time_type = layout.labels.take([])  # a slice would keep them all
        self._series = None if layout.ids is None else Keys.of(layout.ids)
        self._series_type = None if layout.ids is None else layout.ids.take([])
        self._tail = rows.tail(self._memory)
        self._time_step = infer_time_step(layout)

    def __sklearn_clone__(self) -> Any:
        refuse_foreign_split(self)
        return super().__sklearn_clone__()

    def __sklearn_is_fitted__(self) -> bool:
        # a fit that failed half-way has set names ending in _ already
        return hasattr(self, "_time_step")

    def predict(
        self, panel: pd.DataFrame | None = None, *, future: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Forecast the next `horizon` rows after the end of each series.

        Parameters
        ----------
        panel : DataFrame, optional
            Rows up to now, of series seen in `fit` or not. Default: the rows of `fit`.
        future : DataFrame, optional
            Only where a model has future-known columns: these, for exactly the next `horizon`
            rows of every series; see `future_index`.

        Returns
        -------
        DataFrame
            Index as the panel's; columns ``target, cutoff, step, forecast, q0.1, ...``. Several
            targets stand one below the other.
        """
        check_is_fitted(self)
        rows, origins = self._ends(panel, future)
        return self._frame(rows, origins, rows.layout.when(origins), named=True)

    def _ends(self, panel: pd.DataFrame | None, future: pd.DataFrame | None) -> tuple[Any, Ints]:
        """Prepared rows, those ahead among them, and the newest known row of each series."""
        if future is not None:
            raise bad_parameter(
                "future",
                expected="None, as the model has no future-known columns",
                found=future,
                advice="A RecurrentForecaster(future=[...]) has them.",
            )
        rows = self._own_rows() if panel is None else self._prepared(panel)
        return rows, rows.layout.stops - 1

    def _own_rows(self) -> Any:
        """The last rows of `fit`.

        Raises
        ------
        DataError
            If the model was saved without them.
        """
        if self._tail is None:
            raise fail(
                "the model has no rows of its own",
                expected="a panel, as the model was saved without the rows of fit",
                found="none",
                advice="Pass one, or save the model with tail=True.",
            )
        return self._tail

    def predict_quantiles(
        self,
        panel: pd.DataFrame | None = None,
        *,
        levels: Sequence[float],
        future: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Forecast chosen quantile levels: those trained, or between them (interpolated).

        Parameters
        ----------
        panel, future : DataFrame, optional
            As for `predict`.
        levels : sequence of float
            In (0, 1), within the range of the levels trained.

        Returns
        -------
        DataFrame
            As from `predict`, with these quantile columns.

        Raises
        ------
        ValueError
            If a level lies outside the range trained.
        """
        check_is_fitted(self)
        trained = self._levels
        if not trained or not all(trained[0] <= level <= trained[-1] for level in levels):
            span = f"[{trained[0]:g}, {trained[-1]:g}]" if trained else "none (a point forecast)"
            raise bad_parameter(
                "levels", expected=f"levels within those trained, {span}", found=list(levels)
            )
        frame = self.predict(panel, future=future)
        names = [quantile_column(level) for level in trained]
        known = frame[names].to_numpy()
        result = frame.drop(columns=names)
        for level in levels:
            j = min(int(np.searchsorted(trained, level)), len(trained) - 1)
            i = max(j - 1, 0)
            share = 1.0 if i == j else (level - trained[i]) / (trained[j] - trained[i])
            result[quantile_column(level)] = known[:, i] + share * (known[:, j] - known[:, i])
        return result

    def future_index(self, panel: pd.DataFrame | None = None) -> pd.Index:
        """Name the next `horizon` rows after the end of each series.

        For the frame of future-known columns, such as
        ``calendar_features(pd.DataFrame(index=model.future_index(panel)))``.

        Parameters
        ----------
        panel : DataFrame, optional
            As for `predict`.

        Returns
        -------
        Index
            As the panel's.
        """
        check_is_fitted(self)
        layout = self._own_rows().layout if panel is None else layout_of(as_panel(panel))
        return rows_after(layout, infer_time_step(layout, learned=self._time_step), self.horizon)

    def forecast_origins(
        self, panel: pd.DataFrame, cutoffs: pd.Index | None = None
    ) -> pd.DataFrame:
        """Forecast from many cutoffs at once, each from the rows up to it alone.

        Parameters
        ----------
        panel : DataFrame
            All rows.
        cutoffs : Index, optional
            Times; a series' origin is its newest row at or before each. Default: every row.

        Returns
        -------
        DataFrame
            As from `predict`, sorted by series, cutoff, target and step. Where the spacing of
            time is not known, rows after the panel's end have no name: NaT.
        """
        check_is_fitted(self)
        rows = self._prepared(panel)
        return self._frame(rows, *rows.layout.origins_at(cutoffs), named=False)

    def score(self, panel: pd.DataFrame, y: None = None) -> float:
        """1 - MAE / MAE of the naive forecast; 0 is as good as the last value, 1 is perfect.

        Origins are the rows from `cutoff_` on for series seen in `fit`, all rows for others,
        each with all `horizon` rows after it. With several targets, the mean over them.

        Raises
        ------
        DataError
            If there is no such origin, a target does not move, or (where the model has them to
            compare) the rows of `fit` that a forecast from its end needs are missing.
        """
        check_is_fitted(self)
        rows = self._prepared(panel)
        layout = rows.layout
        values = as_panel(panel)[self.targets_].to_numpy()  # (N, K)
        origins = scored_origins(
            layout,
            np.isfinite(values),
            self._seen_in_fit(layout),
            self.cutoff_,
            horizon=self.horizon,
        )
        ahead = origins[:, None] + np.arange(1, self.horizon + 1)
        with short_origins_unsaid():
            forecast, _ = self._forecast(rows, origins)
        ratios = []
        for k, name in enumerate(self.targets_):
            naive = naive_errors(values[:, k], origins, self.horizon, column=name)
            errors = np.abs(values[ahead, k] - forecast[:, k])
            ratios.append(errors[np.isfinite(naive)].mean() / np.nanmean(naive))
        return float(1.0 - np.mean(ratios))

    def _seen_in_fit(self, layout: Layout) -> Bools:
        """Whether `fit` has seen each series of a panel to score, (S,); its rows must be there."""
        self._require_rows_of_fit(layout)
        return series_key(layout, self._series) >= 0

    def _require_rows_of_fit(self, layout: Layout) -> None:
        """Raise if series of `fit` lack the rows that a forecast from their ends needs."""
        tail: Layout | None = getattr(getattr(self, "_tail", None), "layout", None)
        if tail is None or (tail.ids is None) != (layout.ids is None):
            return
        series = np.zeros(tail.n_series, dtype=np.int64)
        if tail.ids is not None and layout.ids is not None:
            series = np.asarray(layout.ids.get_indexer(tail.ids), dtype=np.int64)
        stamps = layout.labels.unique()
        places = layout.codes() * len(stamps) + stamps.get_indexer(layout.time)
        at = stamps.get_indexer(tail.time)
        here = series[tail.codes()]
        lacking = (here >= 0) & ((at < 0) | ~np.isin(here * len(stamps) + at, places))
        if lacking.any():
            row = int(np.flatnonzero(lacking)[0])
            raise fail(
                "rows of fit are missing",
                expected="the last rows of fit among those to score, as context of the forecasts",
                found=f"{int(lacking.sum())} of {int((here >= 0).sum())} missing, the first at "
                f"{tail.time[row]}",
                advice="Pass all rows up to the end of the test part, and to a search "
                "cv=RollingOrigin(...) or SeriesSplit(...).",
                series=None if layout.ids is None else layout.ids[here[row]],
            )

    def _frame(
        self, rows: PreparedRows, origins: Ints, cutoffs: Ints, *, named: bool
    ) -> pd.DataFrame:
        forecast, quantiles = self._forecast(rows, origins)
        return forecast_frame(
            rows.layout,
            origins,
            cutoffs,
            targets=self._outputs(),
            forecast=forecast,
            quantiles=quantiles,
            levels=self._levels,
            time_step=infer_time_step(rows.layout, learned=self._time_step),
            named=named,
        )

    def _prepared(self, panel: pd.DataFrame) -> PreparedRows:
        return self._prepare(*self._checked(panel))

    def _checked(self, panel: pd.DataFrame) -> tuple[pd.DataFrame, Layout]:
        """Columns and layout of a panel for a fitted model."""
        panel = self._select(as_panel(panel), fitting=False)
        layout = layout_of(panel)
        if _kind(layout.labels) != _kind(self._time_type):
            raise fail(
                "time is of another kind than in fit",
                expected=_kind(self._time_type),
                found=_kind(layout.labels),
                advice="Convert it, e.g. with tz_localize, tz_convert or pd.to_datetime.",
            )
        return panel, layout

    def _may_be_categories(self) -> Collection[Hashable]:
        return ()

    def _outputs(self) -> list[Hashable]:
        """Names of the K numbers that a frame holds: the targets, unless something else is said."""
        return list(self.targets_)

    def _columns(self) -> list[Hashable]:
        """Columns needed, the targets first."""
        return list(self.targets_)

    def _select(self, panel: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        columns = self._columns()
        missing = [name for name in columns if name not in panel.columns]
        if missing:
            when = "fit" if fitting else "fit, and now again"
            raise fail(
                "columns are missing",
                expected=f"columns {columns}, named for {when}",
                found=f"{list(panel.columns)}",
                advice=f"Missing: {missing}.",
                column=missing[0],
            )
        panel = panel if list(panel.columns) == columns else panel[columns]
        allowed = self._may_be_categories()
        for name, dtype in zip(columns, panel.dtypes):
            if isinstance(dtype, pd.CategoricalDtype) and name not in allowed:
                raise fail(
                    "column of categories",
                    expected="numbers, but for the columns named in static= or group=",
                    found=f"dtype {dtype}",
                    advice="Turn it into numbers, e.g. with pd.get_dummies, or leave it out.",
                    column=name,
                )
        empty = [name for name in columns if fitting and not panel[name].notna().any()]
        if empty:
            raise fail(
                "column without any value",
                expected="at least one number in every column used",
                found="only NaN",
                advice="There is nothing to learn from: mend the source."
                if empty[0] in self.targets_
                else "Leave it out, or mend the source.",
                column=empty[0],
            )
        return panel

    @property
    @abstractmethod
    def _levels(self) -> tuple[float, ...]: ...

    @property
    @abstractmethod
    def _memory(self) -> int: ...

    @property
    def _sweeps(self) -> bool:
        """Whether a forecast reads its series from the beginning: a tail of rows will not do."""
        return False

    @abstractmethod
    def _fit(self, panel: pd.DataFrame, layout: Layout) -> PreparedRows: ...

    @abstractmethod
    def _prepare(self, panel: pd.DataFrame, layout: Layout) -> PreparedRows: ...

    @abstractmethod
    def _forecast(self, rows: Any, origins: Ints) -> tuple[Floats, Floats]: ...
