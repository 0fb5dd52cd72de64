"""Prepared rows of a baseline and rows that come later, without those before: from tails alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsforecast.data.panel import Ints, Layout, layout_of, time_from_ints, time_to_ints
from tsforecast.data.scored import Bools
from tsforecast.estimators.baselines import Baseline, KnownRows

__all__ = ["can_advance", "further", "places"]


def can_advance(estimator: Any) -> bool:
    """Whether it is a baseline that goes on row by row."""
    return isinstance(estimator, Baseline) and hasattr(estimator, "advance")


def places(before: Layout, new: Layout) -> Ints:
    """Position of each series of `new` among those of `before`, -1 where it is not, (n,)."""
    if before.ids is None or new.ids is None:
        return np.zeros(new.n_series, dtype=np.int64)
    return np.asarray(before.ids.get_indexer(new.ids), dtype=np.int64)


def further(baseline: Any, before: Any, panel: pd.DataFrame) -> Any:
    """Put later rows behind the last ones that are kept of each series.

    Series with the same number of new rows go on side by side, those that begin are prepared.

    Parameters
    ----------
    baseline : Baseline
        Fitted; see `can_advance`.
    before : KnownRows, or those of several targets
        The last rows of some series, at least the baseline's `_memory` of each or all.
    panel : DataFrame
        Later rows of any of them, and those of others.

    Returns
    -------
    KnownRows, or those of several targets
        Series in the order of their names.
    """
    layout = layout_of(panel)
    place, counts = places(before.layout, layout), np.diff(layout.offsets)
    coming = np.zeros(before.layout.n_series, dtype=np.int64)
    coming[place[place >= 0]] = counts[place >= 0]
    starts = np.zeros(len(coming), dtype=np.int64)
    starts[place[place >= 0]] = layout.starts[place >= 0]
    several = hasattr(before, "parts")
    for each in baseline.estimators_ if several else [baseline]:
        each._values(panel)  # what it cannot take is refused by the names of its rows
    values = panel[baseline._columns() if several else baseline._own_columns()].to_numpy()
    if not several and values.shape[1] == 1:
        values = values[:, 0]
    like = before.layout.labels
    when = time_to_ints(layout.time.astype(like.dtype))
    pieces = []
    for count in np.unique(coming):
        which = coming == count
        rows = _of(before, which)
        for number in range(count):
            rows = baseline.advance(rows, values[starts[which] + number])
        own: Layout = rows.layout
        ints = own.when().copy()
        for number in range(count):
            ints[own.stops - count + number] = when[starts[which] + number]
        pieces.append(_laid(rows, replace(own, labels=time_from_ints(ints, like), at=None)))
    if (place < 0).any():
        new = panel[(place < 0)[layout.codes()]]
        rows = baseline._prepare(new, layout_of(new))
        own = rows.layout
        labels = own.time.astype(like.dtype)
        pieces.append(_laid(rows, replace(own, labels=labels, at=None)))
    return _merged(pieces)


def _parts(rows: Any) -> tuple[KnownRows, ...]:
    """Rows of each target."""
    parts: tuple[KnownRows, ...] = getattr(rows, "parts", (rows,))
    return parts


def _like(rows: Any, parts: Sequence[KnownRows]) -> Any:
    """Put the rows of each target together as they were."""
    return replace(rows, parts=tuple(parts)) if hasattr(rows, "parts") else parts[0]


def _of(rows: Any, which: Bools) -> Any:
    """Rows of some series (S,)."""
    layout, kept = rows.layout.head(np.where(which, np.diff(rows.layout.offsets), 0))
    return _like(
        rows,
        [KnownRows(layout, p.value[kept], p.age[kept], p.state[kept]) for p in _parts(rows)],
    )


def _laid(rows: Any, layout: Layout) -> Any:
    """The same rows with other times."""
    return _like(rows, [replace(part, layout=layout) for part in _parts(rows)])


def _merged(pieces: Sequence[Any]) -> Any:
    """Rows of different series together, in the order of their names."""
    if len(pieces) == 1:
        return pieces[0]
    layouts: list[Layout] = [piece.layout for piece in pieces]
    ids, time = layouts[0].ids, layouts[0].time
    assert ids is not None
    for layout in layouts[1:]:
        assert layout.ids is not None
        ids = ids.append(layout.ids).rename(ids.name or layout.ids.name)
        time = time.append(layout.time)
    lengths = np.concatenate([np.diff(layout.offsets) for layout in layouts])
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    order = np.asarray(ids.argsort())
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    source = np.repeat(starts[order] - offsets[:-1], lengths[order]) + np.arange(offsets[-1])
    whole = replace(
        layouts[0], ids=ids.take(order), labels=time.take(source), offsets=offsets, at=None
    )
    merged = [
        KnownRows(
            whole,
            *(
                np.concatenate([getattr(part, name) for part in same])[source]
                for name in ("value", "age", "state")
            ),
        )
        for same in zip(*(_parts(piece) for piece in pieces))
    ]
    return _like(pieces[0], merged)
