"""Everything between a panel and the network: learned from training rows, applied to any."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone

from tsforecast._checks import DataError, bad_parameter, callers_level, fail, first
from tsforecast.data.covariates import StaticTable, constants
from tsforecast.data.features import Features, feature_rows
from tsforecast.data.keys import Keys
from tsforecast.data.panel import (
    Floats,
    Ints,
    Layout,
    forward_fill,
    gap_hours,
    layout_of,
    stretches,
)
from tsforecast.data.pipeline import TargetTransform
from tsforecast.data.running import RunningScale
from tsforecast.data.windows import Rows

__all__ = ["Preparation", "refuse_infinite"]

_FOLDS = 5


class Preparation:
    """Transform, running scale, baseline and codes of a forecaster.

    Parameters
    ----------
    targets, past, future, static : list of str
        Columns by their role, each in one list only.
    horizon : int
        H.
    transform, baseline
        As of `RecurrentForecaster`; cloned.
    scale : RunningScale or None
        Its half-life given.
    seasons : tuple of int
        Rows of each season.
    missing : {"mask", "raise"}
    max_gap : number, str, Timedelta or None

    Attributes
    ----------
    chain : TargetTransform
        The fitted transform.
    baseline_ : estimator or None
        The fitted baseline, where it is an estimator.
    prior : ndarray, shape (K,)
        Usual scale of each target, 1 without a running scale.
    fill : ndarray, shape (C,)
        Usual value of each input column, which stands before the first known one.
    """

    chain: TargetTransform
    baseline_: Any
    prior: Floats
    fill: Floats
    _domain: Floats
    _static: StaticTable

    def __init__(
        self,
        *,
        targets: list[Hashable],
        past: list[Hashable],
        future: list[Hashable],
        static: list[Hashable],
        horizon: int,
        transform: Any,
        baseline: Any,
        scale: RunningScale | None,
        seasons: tuple[int, ...],
        missing: str,
        max_gap: Any,
    ) -> None:
        self.targets = targets
        self.inputs = [*targets, *past, *future]
        self.static = static
        self.horizon = horizon
        self.transform = transform
        self.baseline = baseline
        self.scale = scale
        self.seasons = seasons
        self.missing = missing
        self.max_gap = max_gap
        self.features = Features(
            n_columns=len(self.inputs),
            n_targets=len(targets),
            n_seasons=len(seasons),
            scaled=scale is not None,
            n_future=len(future),
        )

    @property
    def categories(self) -> dict[Hashable, Keys]:
        """The known values of each static category."""
        return self._static.categories

    @property
    def n_codes(self) -> list[int]:
        """How many of them there are."""
        return [len(values) for values in self.categories.values()]

    @property
    def lag(self) -> int:
        """Rows over which the running scale measures change."""
        return self.seasons[0] if _is(self.baseline, "seasonal") else 1

    # ------------------------------------------------------------------------------------ learn

    def fit(self, known: pd.DataFrame, layout: Layout) -> Floats:
        """Learn from training rows; give the transformed targets, (n, K).

        Raises
        ------
        DataError
            If a column holds no value, a static one varies, or the transform is not sound.
        ValueError
            If the baseline forecasts another target.
        """
        n_targets = len(self.targets)
        self._static = StaticTable.of(constants(known, layout, self.static))
        known = known[self.inputs]
        self.chain = TargetTransform(self.transform, known, n_targets)
        values = self.chain(known).to_numpy()
        empty = np.isnan(values).all(axis=0)
        if empty.any():
            raise fail(
                "column without any value in the training rows",
                expected="at least one number in every column used",
                found="only NaN before the validation part",
                advice="Leave it out of `past`, or give more rows.",
                column=known.columns[int(np.argmax(empty))],
            )
        self.fill = np.array(
            [np.nanmean(np.ascontiguousarray(column)) for column in values.T]
        )  # (C,)
        self.prior = np.ones(n_targets)
        if self.scale is not None:
            priors = [
                self.scale.prior(column, layout, lag=self.lag) for column in values.T[:n_targets]
            ]
            self.prior = np.array(priors)
        self.baseline_ = None
        if isinstance(self.baseline, BaseEstimator):
            self.baseline_ = self._fitted_baseline(known)
            self._domain = np.array([self.chain.domain(known, k) for k in range(n_targets)])
        return values[:, :n_targets]

    def _fitted_baseline(self, known: pd.DataFrame) -> Any:
        baseline: Any = clone(self.baseline)
        given = baseline.target
        listed = list(given) if isinstance(given, list | tuple) else [given]
        if given is not None and listed != self.targets:
            raise bad_parameter(
                "baseline", expected=f"a forecaster of {self.targets}", found=self.baseline
            )
        target = self.targets[0] if len(self.targets) == 1 else list(self.targets)
        options = {"target": target, "horizon": self.horizon, "levels": ()}
        own = baseline.get_params(deep=False)  # none of them in a combination
        options = {name: value for name, value in options.items() if name in own}
        return baseline.set_params(**options).fit(known)

    def _said(self, baseline: Any, panel: pd.DataFrame, layout: Layout) -> Floats:
        """Forecasts of a fitted baseline at every row, (N, K, H), transformed."""
        frame = baseline.forecast_origins(panel, None)
        steps = frame["forecast"].to_numpy().copy()  # a view would keep the whole frame
        steps = steps.reshape(layout.n_rows, len(self.targets), self.horizon)
        return self.transformed(steps, layout)

    def transformed(self, steps: Floats, layout: Layout) -> Floats:
        """Take forecasts of a baseline at every row (N, K, H) through the transform."""
        steps = np.clip(steps, *self._domain.T[:, :, None])
        return self.chain.push(steps, np.arange(layout.n_rows), layout, inverse=False)

    # ------------------------------------------------------------------------------------ apply

    def rows(self, panel: pd.DataFrame, layout: Layout) -> Rows:
        """Prepare all rows of a panel, causally."""
        numbers, codes = self.static_arrays(panel, layout)
        panel = _columns(panel, self.inputs)
        raw = panel.to_numpy()
        self.check_missing(panel, layout)
        warm_up = layout.starts
        values: Floats = raw
        if self.chain.fitted is not None:
            values = self.chain(panel).to_numpy()
            refuse_infinite(panel, values)
            warm_up = _warm_up(raw, values, layout)
        begins = stretches(layout, warm_up, self.gap_hours(layout))
        target = values[:, : len(self.targets)]
        said = level = target  # what is known of it, without and with the usual level before
        if np.isnan(target.min(initial=0.0)):
            said = np.stack([forward_fill(column, layout)[0] for column in target.T], axis=1)
            level = np.where(np.isnan(said), self.fill[: len(self.targets)], said)
        location, unit = self._running(target, layout)
        inputs = feature_rows(
            values,
            layout,
            self.fill,
            begins,
            self.features,
            location=location,
            unit=unit,
            prior=self.prior,
            seasons=self.seasons,
        )
        return Rows(
            layout=layout,
            inputs=inputs,
            target=target,
            level=level,
            base=self._base(panel, layout, said),
            unit=np.broadcast_to(1.0, target.shape) if unit is None else unit,
            first=begins,
            static=torch.from_numpy(numbers.astype(np.float32)),
            codes=torch.from_numpy(codes),
        )

    def honest(self, rows: Rows, known: pd.DataFrame, groups: Ints | None = None) -> Rows:
        """Replace what a flexible baseline says of its own training rows: it has learned them.

        The time of the training rows is cut in five; the baseline's forecasts in each part come
        from a fit on the parts before. In the first part there are none, nor in one that too few
        rows lie before for a fit: nothing is learned there.
        With `groups` the series are cut in five, and what is said of each part comes from a fit on
        the four others: as the baseline meets series that it has not seen, and stays that begin at
        hour 0 have no time in which others were before.

        Parameters
        ----------
        rows : Rows
            The training rows, prepared.
        known : DataFrame
            The same rows, raw.
        groups : ndarray of int64, shape (S,), optional
            Series with the same number stay together; at least two numbers.

        Raises
        ------
        DataError
            If not even the first four parts are rows enough.
        """
        if self.baseline_ is None or getattr(self.baseline_, "few_parameters", False):
            return rows
        known = known[self.inputs]
        if groups is not None:
            return replace(rows, base=self._crossed(rows, known, groups))
        when = rows.layout.when()
        edges = np.quantile(np.unique(when), np.arange(1, _FOLDS) / _FOLDS, method="lower")
        base = np.full_like(rows.base, np.nan)
        for edge, following in pairwise([*edges, when.max()]):
            try:
                before = clone(self.baseline_).fit(known[when <= edge])
            except DataError as error:  # too few rows so early
                if edge < edges[-1]:
                    continue
                raise fail(
                    f"too few rows for the baseline, {type(self.baseline_).__name__}",
                    expected=f"rows enough in the first {_FOLDS - 1} of {_FOLDS} parts of the "
                    "training rows: what it says of rows that it has learned is not believed",
                    found=f"{int((when <= edge).sum())} of {len(when)}, where it ends in "
                    f"{str(error).rstrip('.')!r}",
                    advice="Give more rows, or a baseline that needs fewer.",
                    column=self.targets[0],
                ) from error
            upto = when <= following
            said = self._said(before, known[upto], layout_of(known[upto]))
            base[upto & (when > edge)] = said[when[upto] > edge]
        return replace(rows, base=base)

    def _crossed(self, rows: Rows, known: pd.DataFrame, groups: Ints) -> Floats:
        """What fits on the other series say of each fifth of them, (N, K, H)."""
        number = np.unique(groups, return_inverse=True)[1]
        part = (number % min(_FOLDS, number.max() + 1))[rows.layout.codes()]  # (N,)
        base = np.full_like(rows.base, np.nan)
        for mine in (part == fold for fold in range(part.max() + 1)):
            others = clone(self.baseline_).fit(known[~mine])
            base[mine] = self._said(others, known[mine], layout_of(known[mine]))
        return base

    def with_ahead(self, rows: Rows, before: pd.DataFrame, ahead: pd.DataFrame) -> Rows:
        """Add the next `horizon` rows of every series, of which future-known columns are known.

        Parameters
        ----------
        rows : Rows
            Prepared, up to the end of each series.
        before : DataFrame
            The last raw rows of the same series, as many as the transform looks back on.
        ahead : DataFrame
            From `rows_ahead`.
        """
        n_series, horizon = rows.layout.n_series, self.horizon
        new = np.repeat(np.arange(n_series), horizon)
        whole = pd.concat([before[self.inputs], ahead.reindex(columns=self.inputs)])
        order = np.argsort(np.concatenate([layout_of(before).codes(), new]), kind="stable")
        whole = whole.iloc[order]
        columns = self.chain(whole).to_numpy()[:, self.features.future]
        fill, layout = self.fill[self.features.future], layout_of(whole)
        filled = np.stack([forward_fill(column, layout)[0] for column in columns.T], axis=1)
        values = (np.where(np.isnan(filled), fill, filled) - fill)[order >= len(before)]
        table = torch.zeros(len(values), self.features.size)
        known = self.features.future
        table[:, known] = torch.from_numpy(values.astype(np.float32))
        order = np.argsort(np.concatenate([rows.layout.codes(), new]), kind="stable")
        time = rows.layout.time.append(layout_of(ahead).time).take(order)
        offsets = rows.layout.offsets + horizon * np.arange(n_series + 1)
        return rows.extended(Layout(rows.layout.ids, time, offsets), table)

    def raw(self, panel: pd.DataFrame) -> Floats:
        """Give the input columns of a panel as they are, (N, C)."""
        return _columns(panel, self.inputs).to_numpy()

    def check_missing(self, panel: pd.DataFrame, layout: Layout) -> None:
        """Raise for a missing value among the inputs, where that is asked for."""
        if self.missing == "raise":
            inputs = _columns(panel, self.inputs)
            _refuse_missing(inputs, inputs.to_numpy(), layout)

    def static_arrays(self, panel: pd.DataFrame, layout: Layout) -> tuple[Floats, Ints]:
        """Numbers (S, D) and codes (S, M) of each series; warns of unknown categories."""
        if not self.static:
            none = np.empty((layout.n_series, 0))
            return none, none.astype(np.int64)
        numbers, codes, unknown = self._static.arrays(constants(panel, layout, self.static))
        for name, values in unknown.items():
            warnings.warn(
                f"The static column {name!r} holds categories that fit has not seen, "
                f"{first(map(repr, values), shown=3)}: they share the code of unknown ones.",
                stacklevel=callers_level(),
            )
        return numbers, codes

    def no_statics(self) -> tuple[Floats, Ints]:
        """Numbers and codes of no series at all, (0, D) and (0, M)."""
        table = self._static
        return np.empty((0, len(table.numbers))), np.empty((0, len(table.categories)), np.int64)

    def gap_hours(self, layout: Layout) -> float | None:
        """`max_gap` in hours, or in steps where time is a whole number."""
        return gap_hours(self.max_gap, layout)

    def _running(self, target: Floats, layout: Layout) -> tuple[Floats | None, Floats | None]:
        """Running location and scale of the targets, (N, K) each."""
        if self.scale is None:
            return None, None
        pairs = [
            self.scale.run(column, layout, prior=prior, lag=self.lag)
            for column, prior in zip(target.T, self.prior)
        ]
        location = np.stack([pair[0] for pair in pairs], axis=1)
        location = np.where(np.isnan(location), self.fill[: len(pairs)], location)
        return location, np.stack([pair[1] for pair in pairs], axis=1)

    def _base(self, panel: pd.DataFrame, layout: Layout, level: Floats) -> Floats:
        """What the baseline says at every row, (N, K, 1) or (N, K, H), transformed."""
        if self.baseline_ is not None:
            return self._said(self.baseline_, panel, layout)
        return self.plain_base(level, layout)

    def plain_base(self, level: Floats, layout: Layout) -> Floats:
        """What a baseline that is no estimator says, from the last known targets (N, K)."""
        n_rows, n_targets = level.shape
        if _is(self.baseline, "last"):
            return level[:, :, None]
        if _is(self.baseline, "seasonal"):
            return _season_ago(level, layout, self.seasons[0], self.horizon)
        return np.broadcast_to(self.fill[:n_targets, None], (n_rows, n_targets, 1))


def _columns(panel: pd.DataFrame, names: list[Hashable]) -> pd.DataFrame:
    """Give these columns; the panel itself where it has no others."""
    return panel if list(panel.columns) == names else panel[names]


def _is(baseline: Any, name: str) -> bool:
    return isinstance(baseline, str) and baseline == name


def _season_ago(level: Floats, layout: Layout, season: int, horizon: int) -> Floats:
    """The value one season before each step, else the last one, (N, K) -> (N, K, H)."""
    back = np.arange(horizon) % season + 1 - season  # (H,), none above 0
    start = np.repeat(layout.starts, np.diff(layout.offsets))[:, None]
    source = np.arange(layout.n_rows)[:, None] + back
    ago = np.moveaxis(level[np.maximum(source, start)], -1, 1)
    early = (source < start)[:, None] | np.isnan(ago)
    return np.where(early, level[:, :, None], ago)


def _warm_up(raw: Floats, values: Floats, layout: Layout) -> Ints:
    """First row of each series behind those that the transform has made NaN, (S,)."""
    made = np.any(np.isnan(values) & ~np.isnan(raw), axis=1)
    if not made.any():
        return layout.starts
    rows = np.where(made, layout.n_rows, np.arange(layout.n_rows))
    return np.minimum(np.minimum.reduceat(rows, layout.starts), layout.stops)


def _refuse_missing(panel: pd.DataFrame, raw: Floats, layout: Layout) -> None:
    missing = np.isnan(raw)
    if not missing.any():
        return
    at, column = np.argwhere(missing)[0]
    raise fail(
        "missing values",
        expected="none, as missing='raise'",
        found=f"{int(missing.sum())} NaN",
        advice="Fill or drop them, or use missing='mask'.",
        column=panel.columns[column],
        series=None if layout.ids is None else panel.index[at][0],
        rows=[str(panel.index[i]) for i in np.flatnonzero(missing[:, column])[:5]],
    )


def refuse_infinite(panel: pd.DataFrame, values: Floats) -> None:
    """Raise if a transform of `panel` gave infinite values (N, C)."""
    infinite = np.isinf(values)
    if not infinite.any():
        return
    at, column = np.argwhere(infinite)[0]
    raise fail(
        "transform made infinite values",
        expected="finite numbers",
        found=f"{int(infinite.sum())} infinite",
        advice="Look at the transform's input there.",
        column=panel.columns[column],
        rows=[str(panel.index[at])],
    )
