"""Warm start: the weights of one fitted forecaster as the start of another fit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from tsforecast._checks import bad_parameter, fail, first
from tsforecast.data.keys import Keys, kind_of
from tsforecast.data.panel import Layout
from tsforecast.estimators._base import series_key
from tsforecast.estimators._preparation import Preparation
from tsforecast.nn.heads import Head
from tsforecast.nn.network import ForecastNetwork

__all__ = ["Seen", "Start"]

Bools = npt.NDArray[np.bool_]
_EMBEDDINGS = "embeddings."


@dataclass(frozen=True)
class Seen:
    """What weights have been trained or validated on, in this fit and all that it goes on from.

    Attributes
    ----------
    cutoff : time stamp
        The last time.
    series, groups : Keys or None
        Names of series, and of the groups that they are of, where there are any.
    """

    cutoff: Any
    series: Keys | None
    groups: Keys | None

    @classmethod
    def of(cls, layout: Layout, group: pd.Series | None, before: Seen | None) -> Seen:
        """Add the rows of a panel, whose series are of these groups (S,), to what was seen."""
        cutoff = layout.last_time()
        series = None if layout.ids is None else Keys.of(layout.ids)
        groups = None if group is None else Keys.of(pd.Index(group.dropna().unique()))
        if before is None:
            return cls(cutoff, series, groups)
        return cls(
            max(cutoff, before.cutoff),
            _joined(series, before.series),
            _joined(groups, before.groups),
        )


def _numbers(preparation: Preparation) -> list[Hashable]:
    """Static columns that are numbers, in order."""
    return [name for name in preparation.static if name not in preparation.categories]


def _joined(one: Keys | None, other: Keys | None) -> Keys | None:
    if one is None or other is None:
        return one if other is None else other
    return one.joined(other)


@dataclass(frozen=True)
class Start:
    """What a fit takes over from a fitted forecaster: weights, and what they have seen.

    Attributes
    ----------
    cell : str
    head : Head
    columns : list of str
        Input columns, the targets first.
    static : list of str
        Constants of the series that are numbers.
    seasons : tuple of int
        Rows of each season.
    weights : list of dict of Tensor
        Trained weights of each network by name, without the buffers, which are measured anew.
    categories : list of (str, Keys)
        The known values of each static category, in the order of the embeddings.
    seen : Seen
    """

    cell: str
    head: Head
    columns: list[Hashable]
    static: list[Hashable]
    seasons: tuple[int, ...]
    weights: list[dict[str, Tensor]]
    categories: list[tuple[Hashable, Keys]]
    seen: Seen

    @classmethod
    def of(cls, model: Any) -> Start:
        """Read a fitted forecaster; its weights are copied."""
        weights = [
            {name: weight.detach().clone() for name, weight in network.named_parameters()}
            for network in model.networks_
        ]
        preparation = model._preparation
        return cls(
            cell=model.cell,
            head=model.networks_[0].head,
            columns=preparation.inputs,
            static=_numbers(preparation),
            seasons=preparation.seasons,
            weights=weights,
            categories=list(preparation.categories.items()),
            seen=model._seen,
        )

    def check(self, layout: Layout) -> None:
        """Refuse weights that have seen times after those of a panel, or other kinds of names."""
        last, cutoff, known = layout.last_time(), self.seen.cutoff, self.seen.series
        try:
            later = bool(cutoff > last)
        except TypeError:
            raise fail(
                "time is of another kind than that of init_from",
                expected=f"times that compare with {cutoff}",
                found=f"{layout.labels.dtype}",
                advice="Convert it, e.g. with tz_localize, tz_convert or pd.to_datetime.",
            ) from None
        # of several series, time since the start of each: none is before another
        if later and (layout.ids is None or isinstance(layout.labels, pd.DatetimeIndex)):
            raise fail(
                "init_from has seen later rows",
                expected=f"a model fitted on rows up to the panel's last time, {last}",
                found=f"one fitted on rows up to {cutoff}",
                advice="Start from an earlier model, or give the later rows too.",
            )
        kind = None if layout.ids is None else kind_of(layout.ids)
        if known is not None and kind is not None and kind != known.kind:
            raise fail(
                "series names are of another type than those of init_from",
                expected=f"{known.kind} names",
                found=f"{kind} names",
                advice="Convert them, e.g. with panel.rename(index=str, level=0).",
            )

    def behind(self, layout: Layout) -> Bools:
        """Which rows are later than all that the weights have seen, (N,)."""
        later: Bools = layout.per_row(np.asarray(layout.labels > self.seen.cutoff))
        return later

    def knows(self, layout: Layout, group: pd.Series | None) -> Bools:
        """Which series the weights have seen, or another one of their groups (S,): (S,)."""
        known: Bools = series_key(layout, self.seen.series) >= 0
        if group is not None and self.seen.groups is not None:
            known |= self.seen.groups.find(pd.Index(group)) >= 0
        return known

    def put_into(self, network: ForecastNetwork, member: int, preparation: Preparation) -> None:
        """Start a new network from the weights of a member.

        Embeddings go by the value of the category; those of new values stay as they were drawn.

        Raises
        ------
        ValueError
            If a weight has another shape, or stands for something else; the first ones are named.
        """
        before = self.weights[member % len(self.weights)]
        after = dict(network.named_parameters())
        plain = [name for name in after if not name.startswith(_EMBEDDINGS)]
        differ = []
        if self.columns != preparation.inputs:
            differ.append(f"columns {self.columns} for {preparation.inputs}")
        if self.static != _numbers(preparation):
            differ.append(f"static {self.static} for {_numbers(preparation)}")
        if self.seasons != preparation.seasons:
            differ.append(f"seasonal {self.seasons} for {preparation.seasons}")
        if self.cell != network.cells.cell:
            differ.append(f"cell {self.cell!r} for {network.cells.cell!r}")
        if self.head != network.head:
            differ.append(f"head {self.head} for {network.head}")
        differ += [
            f"{name} {tuple(before[name].shape) if name in before else 'absent'} for "
            f"{tuple(after[name].shape)}"
            for name in plain
            if name not in before or before[name].shape != after[name].shape
        ]
        differ += [f"{name} too many" for name in before if name not in after]
        named = list(preparation.categories)
        if named != [name for name, _ in self.categories]:
            differ.append(f"categories {[name for name, _ in self.categories]} for {named}")
        if differ:
            raise bad_parameter(
                "init_from",
                expected="a model of the same cell, layers, columns, seasons, head and horizon",
                found=first(differ, shown=3),
                advice="Give both models the same parameters, or fit without init_from.",
            )
        with torch.no_grad():
            for name in plain:
                after[name].copy_(before[name])
            for j, (category, known) in enumerate(self.categories):
                place = f"{_EMBEDDINGS}{j}.weight"
                now = preparation.categories[category].among(known)  # (n,), -1 for new values
                width = min(before[place].shape[1], after[place].shape[1])
                old = torch.from_numpy(np.flatnonzero(now >= 0))
                source = torch.from_numpy(now[now >= 0]) + 1  # 0 is the unknown value
                after[place][old + 1, :width] = before[place][source, :width]
