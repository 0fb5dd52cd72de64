"""One row more: what `Preparation.rows` and a sweep of the network do, row by row.

What is carried from row to row is a dict of arrays whose first dimension is the series: a fixed
amount for each of them, however long the stream.  Letters of shapes are those of
`tsforecast.data.windows`, with n of the S series at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from tsforecast._checks import bad_parameter
from tsforecast.data.panel import Floats, Ints, Layout, forward_fill
from tsforecast.data.transforms import RowNames
from tsforecast.data.windows import Rows
from tsforecast.estimators._preparation import refuse_infinite
from tsforecast.estimators.baselines import KnownRows
from tsforecast.nn.cells import State, layer_parts
from tsforecast.nn.inference import remembered_at_ends
from tsforecast.nn.threads import FEW, at_once, in_order

__all__ = ["Carried", "Stepper"]

_SIDE_BY_SIDE = 512  # series in one call of a network

Carried: TypeAlias = dict[str, npt.NDArray[Any]]


class Stepper:
    """Take rows of many series one by one through a fitted forecaster, or event classifier.

    Parameters
    ----------
    model : RecurrentForecaster or EventClassifier
        Fitted.

    Raises
    ------
    ValueError
        If its transform or baseline cannot go on row by row; it is named.
    """

    def __init__(self, model: Any) -> None:
        preparation = model._preparation
        baseline = preparation.baseline_
        if baseline is not None and not hasattr(baseline, "advance"):
            raise bad_parameter(
                "baseline",
                expected="'last', 'seasonal', None or one of the baselines, to go on row by row",
                found=type(baseline).__name__,
                advice="Use predict(panel) instead of a stream.",
            )
        self.model = model
        self.preparation = preparation
        self.baseline = baseline
        self.networks = model.networks_
        self.features = preparation.features
        self._no_states = [network.no_state(0) for network in self.networks]
        self.history = model.context == "history"
        self.lag, self.seasons = preparation.lag, preparation.seasons
        self.depth = max(model._memory, self.lag + 1, *(season + 1 for season in self.seasons))
        self._widths = [part._state_size for part in self._baseline_parts(baseline)]
        unnamed = Layout(None, model._time_type, np.array([0, 0]))
        self.gap = preparation.gap_hours(unnamed)
        clock = isinstance(model._time_type, pd.DatetimeIndex | pd.TimedeltaIndex)
        self.per_hour = 1.0
        if clock:
            self.per_hour = pd.Timedelta(hours=1) / pd.Timedelta(1, unit=model._time_type.unit)

    # ------------------------------------------------------------------------------------- start

    def nothing(self, static: Floats, codes: Ints) -> Carried:
        """What is carried before the first row of each of n series.

        Parameters
        ----------
        static : ndarray, shape (n, D)
        codes : ndarray of int64, shape (n, M)
        """
        n, k = len(static), self.features.n_targets
        unknown = np.full((n, self.features.n_columns), np.nan)
        carried: Carried = {
            "time": np.zeros(n, dtype=np.int64),
            "total": np.zeros(n, dtype=np.int64),
            "stretch": np.zeros(n, dtype=np.int64),
            "known": unknown,
            "known_at": np.zeros(unknown.shape, dtype=np.int64),
            "transform": np.full((n, self.preparation.chain.state_size), np.nan),
            "level": np.full((n, self.depth, k), np.nan),
            "static": static.astype(np.float32),
            "codes": codes,
        }
        if self.preparation.scale is not None:
            carried["running"] = np.full((n, k, 4), np.nan)
            carried["unit"] = np.tile(self.preparation.prior, (n, 1))
        if not self.history:
            shape = (n, self.model.lookback, self.features.size)
            carried["inputs"] = np.zeros(shape, dtype=np.float32)
        for name, width in self._memory_sizes().items():
            carried[name] = np.zeros((n, width), dtype=np.float32)
        for number, part in enumerate(self._baseline_parts(self.baseline)):
            m, width = part._memory, self._widths[number]
            carried[f"baseline {number} value"] = np.full((n, m), np.nan)
            carried[f"baseline {number} age"] = np.zeros((n, m), dtype=np.int64)
            carried[f"baseline {number} state"] = np.full((n, m, width), np.nan)
        return carried

    def after(self, panel: pd.DataFrame, layout: Layout) -> Carried:
        """What is carried after the last row of each series of a panel."""
        preparation, ends = self.preparation, layout.stops - 1
        rows: Rows = preparation.rows(panel, layout)
        carried = self.nothing(rows.static.numpy(), rows.codes.numpy())
        values = preparation.chain(panel[preparation.inputs]).to_numpy()
        when, lengths = layout.when(), np.diff(layout.offsets)
        carried["time"], carried["total"] = when[ends], lengths
        carried["stretch"] = np.maximum(ends - rows.first[ends] + 1, 0)
        carried["transform"] = preparation.chain.state_of(panel[preparation.inputs])
        back = np.arange(self.depth)[::-1]
        at = np.maximum(ends[:, None] - back, 0)
        inside = back < lengths[:, None]
        for c in range(values.shape[1]):
            known, source = forward_fill(values[:, c], layout)
            carried["known"][:, c], carried["known_at"][:, c] = known[ends], when[source[ends]]
            if c < self.features.n_targets:
                carried["level"][:, :, c] = np.where(inside, known[at], np.nan)
        if preparation.scale is not None:
            for k, prior in enumerate(preparation.prior):
                run = preparation.scale.run(values[:, k], layout, prior=prior, lag=self.lag)
                carried["running"][:, k] = run[2]
            carried["unit"] = rows.unit[ends]
        if not self.history:
            back = np.arange(self.model.lookback)[::-1]
            at = np.maximum(ends[:, None] - back, layout.starts[:, None])
            carried["inputs"] = rows.inputs[torch.from_numpy(at)].numpy()
        else:
            self._keep_memory(carried, remembered_at_ends(self.networks, rows))
        if self.baseline is not None:
            said = self.baseline._prepare(panel, layout)
            self._keep_known(carried, getattr(said, "parts", (said,)), slice(None))
        return carried

    # -------------------------------------------------------------------------------------- step

    def step(self, before: Carried, values: Floats, time: Ints, names: RowNames) -> Carried:
        """Take the next row of each of n series.

        Parameters
        ----------
        before : dict of ndarray
            What is carried, of these series.
        values : ndarray, shape (n, C)
            Their rows, untransformed.
        time : ndarray of int64, shape (n,)
            As by `time_to_ints`.
        names : RowNames
            Their names, for transforms and errors.

        Returns
        -------
        dict of ndarray
            New arrays; `before` is left alone.
        """
        preparation, n_targets = self.preparation, self.features.n_targets
        raw, (values, transform) = (
            values,
            preparation.chain.step(before["transform"], values, names),
        )
        if np.isinf(values).any():
            refuse_infinite(pd.DataFrame(values, names.index(), preparation.inputs), values)
        new = before["total"] == 0
        hours = np.where(new, 0.0, (time - before["time"]) / self.per_hour)
        warming = (before["stretch"] == 0) & (np.isnan(values) & ~np.isnan(raw)).any(axis=1)
        begins = before["stretch"] == 0
        if self.gap is not None:
            begins = begins | (hours > self.gap)
        stretch = np.where(warming, 0, np.where(begins, 1, before["stretch"] + 1))
        missing = np.isnan(values)
        known = np.where(missing, before["known"], values)
        known_at = np.where(missing, before["known_at"], time[:, None])
        level = _shifted(before["level"], known[:, :n_targets])
        after = before | {
            "time": time,
            "total": before["total"] + 1,
            "stretch": stretch,
            "known": known,
            "known_at": known_at,
            "transform": transform,
            "level": level,
        }
        location = None
        if preparation.scale is not None:
            location = self._run(before, after, values)
        table = self._features(before, after, begins, hours, missing, location)
        if self.history:
            self._remember(before, after, table, begins)
        else:
            after["inputs"] = _shifted(before["inputs"], table)
        if self.baseline is not None:
            self._advance(before, after, raw, new, names)
        return after

    def _run(self, before: Carried, after: Carried, values: Floats) -> Floats:
        """Go on with the running scale; give its location (n, K)."""
        scale, ago = self.preparation.scale, after["level"][:, -1 - self.lag]
        running, unit = np.empty_like(before["running"]), np.empty_like(before["unit"])
        location = np.empty_like(unit)
        for k, prior in enumerate(self.preparation.prior):
            running[:, k], location[:, k], unit[:, k] = scale.step(
                before["running"][:, k], values[:, k], ago[:, k], prior=prior
            )
        after["running"], after["unit"] = running, unit
        return np.where(np.isnan(location), self.preparation.fill[: len(unit.T)], location)

    def _features(
        self,
        before: Carried,
        after: Carried,
        begins: npt.NDArray[np.bool_],
        hours: Floats,
        missing: npt.NDArray[np.bool_],
        location: Floats | None,
    ) -> npt.NDArray[np.float32]:
        """Feature rows (n, F): see `tsforecast.data.features`."""
        features, fill = self.features, self.preparation.fill
        k = features.n_targets
        known = after["known"]
        filled = np.where(np.isnan(known), fill, known)
        targets = filled[:, :k]
        scale = after.get("unit", 1.0)
        shown = filled - fill
        if location is not None:
            shown[:, :k] = (targets - location) / scale
        age = (after["time"][:, None] - after["known_at"]) / self.per_hour
        last = np.where(np.isnan(before["known"][:, :k]), fill[:k], before["known"][:, :k])
        parts = [
            shown,
            ~missing,
            np.where(np.isnan(known), 0.0, age),
            np.where(begins, 0.0, hours)[:, None],
            (targets - np.where(begins[:, None], targets, last)) / scale,
        ]
        for season in self.seasons:
            back = np.minimum(season, np.maximum(after["stretch"] - 1, 0))
            ago = after["level"][np.arange(len(known)), -1 - back]
            parts.append((targets - np.where(np.isnan(ago), fill[:k], ago)) / scale)
        if features.scaled:
            parts.append(np.log(scale / self.preparation.prior))
        return np.concatenate(parts, axis=1, dtype=np.float32)

    # ------------------------------------------------------------------------------------ memory

    def _memory_sizes(self) -> dict[str, int]:
        """Names and widths of what the networks remember: none in windows."""
        if not self.history:
            return {}
        n_layers = len(self.model.hidden_sizes)
        return {
            # an event network also keeps the sum of its top states, and their number
            f"{kind} of layer {layer} of member {member}"
            if layer < n_layers
            else f"{mean} of member {member}": part.shape[-1]
            for member, state in enumerate(self._no_states)
            for layer, parts in enumerate(state)
            for kind, mean, part in zip(("hidden", "cell"), ("sum", "count"), layer_parts(parts))
        }

    def _keep_memory(self, carried: Carried, states: tuple[State, ...]) -> None:
        parts = [part for state in states for layer in state for part in layer_parts(layer)]
        for name, part in zip(self._memory_sizes(), parts):
            carried[name] = part[0].numpy()

    def memory(self, carried: Carried) -> tuple[State, ...]:
        """States of the networks, n series side by side."""
        parts = iter([torch.from_numpy(carried[name])[None] for name in self._memory_sizes()])
        return tuple(
            tuple(
                (next(parts), next(parts)) if isinstance(layer, tuple) else next(parts)
                for layer in state
            )
            for state in self._no_states
        )

    def _remember(
        self,
        before: Carried,
        after: Carried,
        table: npt.NDArray[np.float32],
        begins: npt.NDArray[np.bool_],
    ) -> None:
        names = [*self._memory_sizes(), "static", "codes", "table"]
        fresh = dict(before)
        if begins.any():
            for name in self._memory_sizes():
                fresh[name] = np.where(begins[:, None], np.float32(0), before[name])
            start = self.features.from_row_before  # which the first row cannot know
            table[begins, start] = self.networks[0].location[start].numpy()
        fresh["table"] = table

        def encode(at: int) -> list[Tensor]:
            part = {name: fresh[name][at : at + _SIDE_BY_SIDE] for name in names}
            x = torch.from_numpy(part["table"])[:, None]
            static, codes = torch.from_numpy(part["static"]), torch.from_numpy(part["codes"])
            with torch.inference_mode():
                states = [
                    network.encode(x, static, codes, state)[1]
                    for network, state in zip(self.networks, self.memory(part))
                ]
            return [part[0] for state in states for layer in state for part in layer_parts(layer)]

        pieces = range(0, len(table), _SIDE_BY_SIDE)
        run = at_once if len(table) <= FEW else in_order
        kept = zip(*run(encode, pieces))
        for name, parts in zip(self._memory_sizes(), kept):
            after[name] = torch.cat(parts).numpy() if len(parts) > 1 else parts[0].numpy()

    # ---------------------------------------------------------------------------------- baseline

    def _baseline_parts(self, baseline: Any) -> list[Any]:
        """The baseline of each target."""
        if baseline is None:
            return []
        return [baseline] if self.features.n_targets == 1 else baseline.estimators_

    def _known_rows(self, carried: Carried, layout: Layout) -> list[KnownRows]:
        """What the baselines know at the last rows of each series, of which `layout` tells."""
        rows = []
        for number, part in enumerate(self._baseline_parts(self.baseline)):
            kept = (
                np.arange(part._memory)[::-1] < np.minimum(carried["total"], part._memory)[:, None]
            )
            counts = kept.sum(axis=1)
            offsets = np.concatenate([[0], np.cumsum(counts)])
            own = Layout(layout.ids, layout.time.repeat(counts), offsets)
            value, age, state = (
                carried[f"baseline {number} {name}"][kept] for name in ("value", "age", "state")
            )
            rows.append(KnownRows(own, value, age, state))
        return rows

    def _keep_known(self, carried: Carried, parts: Sequence[KnownRows], which: Any) -> None:
        """Keep the last rows of what the baseline of each target knows, right-aligned."""
        for number, (part, rows) in enumerate(zip(self._baseline_parts(self.baseline), parts)):
            rows = rows.tail(part._memory)
            counts = np.diff(rows.layout.offsets)
            at = (
                part._memory
                - counts[rows.layout.codes()]
                + (np.arange(rows.layout.n_rows) - rows.layout.starts[rows.layout.codes()])
            )
            series = np.arange(len(carried["total"]))[which][rows.layout.codes()]
            for name in ("value", "age", "state"):
                carried[f"baseline {number} {name}"][series, at] = getattr(rows, name)

    def _advance(
        self,
        before: Carried,
        after: Carried,
        raw: Floats,
        new: npt.NDArray[np.bool_],
        names: RowNames,
    ) -> None:
        for name in before:
            if name.startswith("baseline"):
                after[name] = before[name].copy()
        ids = None if names.ids is None else names.ids.take(names.codes)
        for which in (new, ~new):
            if not which.any():
                continue
            own = Layout(
                None if ids is None else ids[which],
                names.time[which],
                np.arange(int(which.sum()) + 1),
            )
            if which is new:
                index = names.take(np.flatnonzero(which)).index()
                panel = pd.DataFrame(raw[which], index=index, columns=self.preparation.inputs)
                said: Any = self.baseline._prepare(panel, own)
                self._keep_known(after, getattr(said, "parts", (said,)), which)
                continue
            known = self._known_rows({k: v[which] for k, v in before.items()}, own)
            at = {name: number for number, name in enumerate(self.preparation.inputs)}
            moved = tuple(
                part.advance(rows, raw[which][:, [at[name] for name in part._own_columns()]])
                for part, rows in zip(self._baseline_parts(self.baseline), known)
            )
            self._keep_known(after, moved, which)

    def _said(self, carried: Carried, layout: Layout) -> Floats:
        """What the baseline says at the last row of each series, transformed, (n, K, H)."""
        preparation = self.preparation
        known = self._known_rows(carried, layout)
        steps = [
            part._forecast(rows, rows.layout.stops - 1)[0]
            for part, rows in zip(self._baseline_parts(self.baseline), known)
        ]
        said: Floats = preparation.transformed(np.concatenate(steps, axis=1), layout)
        return said

    # ---------------------------------------------------------------------------------- forecast

    def rows(self, carried: Carried, layout: Layout) -> Rows:
        """The tail of `Preparation.rows` that a forecast at the last rows needs.

        Parameters
        ----------
        carried : dict of ndarray
        layout : Layout
            Names and newest times of the n series, one row for each.

        Returns
        -------
        Rows
            As many for each series as the forecaster keeps for `predict()`.
        """
        n, m, k = layout.n_series, self.model._memory, self.features.n_targets
        fill = self.preparation.fill[:k]
        level = carried["level"][:, -m:]
        filled = np.where(np.isnan(level), fill, level).reshape(n * m, k)
        newest = np.arange(n) * m + m - 1
        base = self._base(carried, layout)
        bases = np.full((n * m, *base.shape[1:]), np.nan)
        bases[newest] = base
        unit = np.ones((n * m, k))
        unit[newest] = carried.get("unit", 1.0)
        inputs = torch.zeros(n * m, self.features.size)
        if not self.history:
            window = torch.zeros(n, m, self.features.size)
            window[:, m - self.model.lookback :] = torch.from_numpy(carried["inputs"])
            inputs = window.reshape(n * m, -1)
        stretch = carried["stretch"]
        return Rows(
            layout=Layout(layout.ids, layout.time.repeat(m), np.arange(n + 1) * m),
            inputs=inputs,
            target=filled,
            level=filled,
            base=bases,
            unit=unit,
            first=np.repeat(newest + 1 - np.minimum(stretch, m), m),
            static=torch.from_numpy(carried["static"]),
            codes=torch.from_numpy(carried["codes"]),
            ends=self.memory(carried) if self.history else None,
        )

    def _base(self, carried: Carried, layout: Layout) -> Floats:
        if self.baseline is not None:
            return self._said(carried, layout)
        level = carried["level"]
        n, depth, k = level.shape
        own = Layout(layout.ids, layout.time.repeat(depth), np.arange(n + 1) * depth)
        base: Floats = self.preparation.plain_base(level.reshape(n * depth, k), own)
        return base[own.stops - 1]

    def ahead(self, carried: Carried, rows: Rows, future: pd.DataFrame, names: RowNames) -> Rows:
        """Add the rows of which future-known columns are known; see `Preparation.with_ahead`.

        Parameters
        ----------
        carried : dict of ndarray
        rows : Rows
            From `rows`.
        future : DataFrame
            From `rows_ahead`: H rows for each of the n series.
        names : RowNames
            Of the n series.
        """
        horizon, n = self.model.horizon, rows.layout.n_series
        table_ahead = future.reindex(columns=self.preparation.inputs).to_numpy()
        given = table_ahead.reshape(n, horizon, -1)
        part, state = self.features.future, carried["transform"]
        known, fill = carried["known"][:, part], self.preparation.fill[part]
        table = torch.zeros(n, horizon, self.features.size)
        for h in range(horizon):
            values, state = self.preparation.chain.step(state, given[:, h], names)
            known = np.where(np.isnan(values[:, part]), known, values[:, part])
            shown = np.where(np.isnan(known), fill, known) - fill
            table[:, h, part] = torch.from_numpy(shown.astype(np.float32))
        m = rows.layout.n_rows // n
        offsets = np.arange(n + 1) * (m + horizon)
        time = rows.layout.time.take(np.repeat(rows.layout.starts, m + horizon))
        layout = Layout(rows.layout.ids, time, offsets)
        return rows.extended(layout, table.reshape(n * horizon, -1))


def _shifted(kept: Any, new: Any) -> Any:
    """Append a row to the second dimension, and drop the oldest."""
    return np.concatenate([kept[:, 1:], new[:, None]], axis=1)
