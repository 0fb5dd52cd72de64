"""Warm start: the weights of one fitted forecaster as the start of another fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from tsforecast._checks import bad_parameter, fail, first
from tsforecast.data.keys import Keys
from tsforecast.data.panel import Layout
from tsforecast.estimators._base import series_key
from tsforecast.estimators._preparation import Preparation
from tsforecast.nn.network import ForecastNetwork

__all__ = ["Start"]

Bools = npt.NDArray[np.bool_]
_EMBEDDINGS = "embeddings."


@dataclass(frozen=True)
class Start:
    """What a fit takes over from a fitted forecaster: weights, and what they have seen.

    Attributes
    ----------
    cell : str
    weights : list of dict of Tensor
        Trained weights of each network by name, without the buffers, which are measured anew.
    categories : list of (str, Keys)
        The known values of each static category, in the order of the embeddings.
    cutoff : time stamp
        Last time of the rows that they have seen.
    series : Keys or None
        The series that they have seen.
    """

    cell: str
    weights: list[dict[str, Tensor]]
    categories: list[tuple[Any, Keys]]
    cutoff: Any
    series: Keys | None

    @classmethod
    def of(cls, model: Any) -> Start:
        """Read a fitted forecaster; its weights are copied."""
        weights = [
            {name: weight.detach().clone() for name, weight in network.named_parameters()}
            for network in model.networks_
        ]
        categories = list(model._preparation.categories.items())
        return cls(model.cell, weights, categories, model.cutoff_, model._series)

    def check_time(self, layout: Layout) -> None:
        """Refuse weights that have seen times after those of a panel."""
        # labels may name times that no row has
        last = layout.time_at(layout.stops[np.argmax(layout.when(layout.stops - 1))] - 1)
        try:
            later = bool(self.cutoff > last)
        except TypeError:
            raise fail(
                "time is of another kind than that of init_from",
                expected=f"times that compare with {self.cutoff}",
                found=f"{layout.labels.dtype}",
                advice="Convert it, e.g. with tz_localize, tz_convert or pd.to_datetime.",
            ) from None
        # time since the start of each series: none is before another
        if later and isinstance(layout.labels, pd.DatetimeIndex):
            raise fail(
                "init_from has seen later rows",
                expected=f"a model fitted on rows up to the panel's last time, {last}",
                found=f"one fitted on rows up to {self.cutoff}",
                advice="Start from an earlier model, or give the later rows too.",
            )

    def behind(self, layout: Layout) -> Bools:
        """Which rows are later than all that the weights have seen, (N,)."""
        later: Bools = layout.per_row(np.asarray(layout.labels > self.cutoff))
        return later

    def seen(self, layout: Layout) -> Bools:
        """Which series the weights have seen, (S,)."""
        return series_key(layout, self.series) >= 0

    def put_into(self, network: ForecastNetwork, member: int, preparation: Preparation) -> None:
        """Start a new network from the weights of a member.

        Embeddings go by the value of the category; those of new values stay as they were drawn.

        Raises
        ------
        ValueError
            If a weight has another shape; the first ones are named.
        """
        before = self.weights[member % len(self.weights)]
        after = dict(network.named_parameters())
        plain = [name for name in after if not name.startswith(_EMBEDDINGS)]
        differ = [
            f"{name} {tuple(before[name].shape) if name in before else 'absent'} for "
            f"{tuple(after[name].shape)}"
            for name in plain
            if name not in before or before[name].shape != after[name].shape
        ]
        differ += [f"{name} too many" for name in before if name not in after]
        named = list(preparation.categories)
        if named != [name for name, _ in self.categories]:
            differ.append(f"categories {[name for name, _ in self.categories]} for {named}")
        if self.cell != network.cells.cell:
            differ.append(f"cell {self.cell!r} for {network.cells.cell!r}")
        if differ:
            raise bad_parameter(
                "init_from",
                expected="a model of the same cell, layers, columns, seasons, head and horizon",
                found=f"other weights: {first(differ, shown=3)}",
                advice="Give both models the same parameters, or fit without init_from.",
            )
        with torch.no_grad():
            for name in plain:
                after[name].copy_(before[name])
            for j, (name, known) in enumerate(self.categories):
                place = f"{_EMBEDDINGS}{j}.weight"
                now = preparation.categories[name].among(known)  # (n,), -1 for new values
                width = min(before[place].shape[1], after[place].shape[1])
                old = torch.from_numpy(np.flatnonzero(now >= 0))
                source = torch.from_numpy(now[now >= 0]) + 1  # 0 is the unknown value
                after[place][old + 1, :width] = before[place][source, :width]
