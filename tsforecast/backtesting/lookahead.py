"""Proof against looking ahead: change the future, and see whether the past moves."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from tsforecast._checks import bad_parameter, first
from tsforecast.data.calendars import TimeStep
from tsforecast.data.panel import (
    Floats,
    as_cutoffs,
    as_panel,
    as_time,
    layout_of,
    pandas_frame,
    time_from_ints,
    time_to_ints,
)
from tsforecast.data.sessions import ExchangeSessions

__all__ = ["LookaheadError", "check_no_lookahead"]

Mode = Literal["values", "missing", "truncate", "append", "alone"]
Cells = npt.NDArray[np.bool_]

_KEYS = ("model", "series", "cutoff", "step", "target")
_TOLERANCE = 1e-6  # of a column's largest value, where the number of rows differs
_APPENDED = 7
_CUTOFFS = 5
_ALONE = 5  # series that are predicted each by itself
_ADVICE: dict[Mode, str] = {
    "values": "Look for a centred window, a backfill, or statistics of all rows.",
    "missing": "Its values alone move nothing: look at how missing values are counted or filled.",
    "truncate": "Look for the length of the panel, positions from its end, or statistics of all "
    "rows.",
    "append": "Look for the length of the panel, positions from its end, or statistics of all "
    "rows.",
    "alone": "Look for statistics over series: what is learned of others belongs into fit.",
}


_FACTS_ADVICE = "Join facts by the time at which they became known, as align_asof does."


class LookaheadError(AssertionError):
    """Something known only later moved a result; the message says which column and from when."""


def check_no_lookahead(
    subject: Any,
    panel: pd.DataFrame,
    *,
    cutoff: Any = None,
    available: Hashable | None = None,
    random_state: int | None = 0,
) -> pd.DataFrame:
    """Show that nothing after a cutoff moves what is given at or before it.

    The rows after the cutoff are changed in four ways, and each time the result up to the cutoff
    must stay the same: every value is altered (``"values"``), half of the values are removed and
    half of the missing ones filled (``"missing"``), the rows are cut off (``"truncate"``), and
    rows are added at the end of each series (``"append"``).

    An event estimator (``predict_risk``) is also given a few series each by itself (``"alone"``):
    the risk of a patient may not hang on who else is in the panel.

    Parameters
    ----------
    subject : estimator, transformer or function
        An estimator (``fit``, ``predict`` and, to be tested in full, ``forecast_origins``) is
        cloned, fitted on the rows up to the cutoff, and must give the same forecasts for several
        cutoffs up to this one. An event estimator (``predict_risk``) likewise, and must give the
        same risks in every row up to the cutoff. A transformer (``fit``, ``transform``) likewise,
        and must give the same rows. A function takes a panel and gives a frame, with a column
        `cutoff` or indexed by time: a whole evaluation, such as
        ``lambda p: backtest(model, p, splitter).frame``, or features.
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names. With `available`, any
        frame of facts.
    cutoff : time stamp, optional
        Default: about two thirds of the time stamps, or the middle one of the cutoffs in a
        function's result. With `available`, the last time of the result before two thirds of the
        facts' stamps.
    available : hashable, optional
        The rows are facts, such as earnings or laboratory values, and this column says when each
        became known: those known after the cutoff are changed. The subject is then a function
        from facts to a frame with a column `cutoff` or indexed by time.
    random_state : int, optional
        For the changes.

    Returns
    -------
    DataFrame
        One row per mode, with the number of values `compared`, the `largest_change` among them
        and a `note` where a mode could not be used.

    Raises
    ------
    LookaheadError
        If a result moves. It names the column and the first time from which it leaks, or the
        series that moves without the others.
    ValueError
        If there is nothing to compare, or two runs on the same panel differ.
    TypeError
        If `subject` or its result is none of the above.

    Notes
    -----
    Results must be equal to the last bit where values are altered or removed, and to 1e-6 of
    their largest where the number of rows or series changes. Columns that the subject names in its
    parameter `future` are left as they are for the `horizon` rows that it may know, those in
    `static` and `group`, and categories, everywhere. Values that are positive, whole or 0 and 1
    stay so. Of facts only floats are altered and removed: whole numbers may be keys.

    A network whose training has kept the baseline ignores its inputs; it is then checked with the
    weights of one epoch.

    What it cannot see: an estimator without ``forecast_origins`` is only ever given the rows up
    to a cutoff, so that the check is trivial. Other subjects than event estimators may look at all
    series up to the cutoff, as panels of prices are made to. Where a function's cutoffs move with
    the length of the panel, as those of `RollingOrigin` do, other models are fitted, and the modes
    ``"truncate"`` and ``"append"`` are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"x": [1.0, 4.0, 2.0, 3.0, 5.0, 4.0]})
    >>> check_no_lookahead(lambda p: p.rolling(2).mean(), panel)[["compared", "largest_change"]]
              compared  largest_change
    mode
    values           4             0.0
    missing          4             0.0
    truncate         4             0.0
    append           4             0.0
    >>> check_no_lookahead(lambda p: p / p.max(), panel)
    Traceback (most recent call last):
    tsforecast.backtesting.lookahead.LookaheadError: the function looks ahead (mode 'values'): ...

    Earnings may be used from their filing on, not from the end of their quarter on:

    >>> facts = pd.DataFrame({"quarter": [2, 4, 6], "filed": [3, 6, 8], "eps": [1.0, 2.0, 3.0]})
    >>> features = lambda f: f.set_index("quarter")[["eps"]].reindex(range(9)).ffill()
    >>> check_no_lookahead(features, facts, available="filed")
    Traceback (most recent call last):
    tsforecast.backtesting.lookahead.LookaheadError: ... column 'eps' from 8 on moves ...
    """
    time: Any
    if available is None:
        panel = as_panel(panel)
        time = layout_of(panel).time
    else:
        panel, time = _facts(subject, panel, available)
    if cutoff is not None:
        cutoff = as_cutoffs([cutoff], time)[0]
    what, result, run = _prepare(subject, panel, cutoff)
    if cutoff is None and available is None:
        cutoff = _default_cutoff(panel, result)
    elif cutoff is None:
        cutoff = _cutoff_before_facts(time, result)
    later = np.asarray(time > cutoff)
    if later.all() or not later.any():
        raise bad_parameter(
            "cutoff", expected=f"a time from {time.min()} to before {time.max()}", found=cutoff
        )

    def protected(changed: pd.DataFrame) -> pd.DataFrame:
        return _protected(run(changed), cutoff, time)

    base = protected(panel) if result is None else _protected(result, cutoff, time)
    if base.size == 0:
        raise bad_parameter(
            "cutoff",
            expected="a cutoff with numbers in the result at or before it",
            found=cutoff,
            advice="Choose a later cutoff.",
        )
    moves = "cutoff" in base.index.names and what == "function"
    by_row = what == "estimator" and hasattr(subject, "predict_risk")
    rng = np.random.default_rng(random_state)
    if available is None:
        changes = _Changes.of_panel(subject, panel, later, rng)
    else:
        changes = _Changes.of_facts(panel, time, available, later, rng)
    report: list[tuple[Mode, int, float, str]] = []
    for mode in _ADVICE:
        if mode == "alone" and not by_row:
            continue
        expected = base
        try:
            if mode == "alone":
                some = _some_series(panel, later)
                if not some:
                    report.append((mode, 0, 0.0, "there is one series only"))
                    continue
                other = pd.concat([protected(one) for one in some]).sort_index()
                names = other.index.get_level_values(0)
                expected = base[base.index.get_level_values(0).isin(names)]
            else:
                other = protected(changes.panel(mode))
        except ValueError as error:
            if mode != "missing" or panel.isna().any(axis=None):
                raise
            report.append((mode, 0, 0.0, f"refuses missing values: {error}"))
            continue
        exact = mode in ("values", "missing")
        if moves and not exact and not _same_cutoffs(base, other, mode):
            report.append((mode, 0, 0.0, "the cutoffs move with the length of the panel"))
            continue
        difference = _Difference.of(expected, other, exact=exact, shared=moves and not exact)
        if difference.moved.any():
            if _Difference.of(base, protected(panel), exact=True).moved.any():
                raise bad_parameter(
                    "subject",
                    expected="the same result from the same panel",
                    found="two that differ",
                    advice="Set its random_state.",
                )
            if mode == "alone":
                raise LookaheadError(
                    f"the {what} looks at other series (mode 'alone'): expected results at or "
                    f"before {cutoff} that are the same for a series by itself, found that the "
                    f"other series move {difference}. {_ADVICE[mode]}"
                )
            source = _source(changes, mode, protected, base) if exact else "the number of rows"
            rows, advice = "later rows", _ADVICE[mode]
            if available is not None:
                rows, advice = f"rows with a later {available!r}", _FACTS_ADVICE
            elif what == "function" and isinstance(panel.index, pd.MultiIndex):
                advice += " Or a window runs across series: group by level 0."
            raise LookaheadError(
                f"the {what} looks ahead (mode {mode!r}): expected results at or before {cutoff} "
                f"that ignore {rows}, found that {source} moves {difference}. {advice}"
            )
        report.append((mode, difference.moved.size, float(difference.size.max(initial=0)), ""))
    columns = ["mode", "compared", "largest_change", "note"]
    return pd.DataFrame(report, columns=columns).set_index("mode")


Run = Callable[[pd.DataFrame], Any]


def _facts(subject: Any, facts: Any, available: Hashable) -> tuple[pd.DataFrame, pd.Index]:
    """Check facts and the function of them; give the time at which each row became known."""
    if hasattr(subject, "fit") or not callable(subject):
        raise TypeError(
            "expected a function from facts to a frame, as available= is given, found "
            f"{type(subject).__name__}. Wrap it: lambda facts: ... align_asof(panel, facts, "
            "available=...) ..."
        )
    facts = pandas_frame(facts)
    if available not in facts:
        raise bad_parameter("available", expected=f"one of {list(facts.columns)}", found=available)
    return facts, as_time(pd.Index(facts[available]), column=available)


def _cutoff_before_facts(time: pd.Index, result: Any) -> Any:
    """Give the last time of the result before a fact, to see most of what comes too early."""
    stamps = time.unique().sort_values()
    mark = stamps[2 * len(stamps) // 3]
    index = _protected(result, time.max(), time).index
    times: Any = index.get_level_values("cutoff" if "cutoff" in index.names else -1)
    before = times[times < mark]
    if len(before) == 0:
        raise bad_parameter(
            "subject",
            expected=f"a result with rows before {mark}, when a fact became known",
            found=result,
        )
    return before.max()


def _prepare(subject: Any, panel: pd.DataFrame, cutoff: Any) -> tuple[str, Any, Run]:
    """Tell what the subject is, its result if that is known by now, and how to get one."""
    if isinstance(subject, type):
        raise TypeError(
            f"expected an estimator, a transformer or a function, found the class "
            f"{subject.__name__}. Make an instance: {subject.__name__}(...)."
        )
    if not hasattr(subject, "fit"):
        if not callable(subject):
            raise TypeError(
                "expected an estimator, a transformer or a function from a panel to a frame, "
                f"found {type(subject).__name__}. Give it the verbs fit and predict."
            )
        return "function", subject(panel) if cutoff is None else None, subject
    if cutoff is None:
        cutoff = _default_cutoff(panel, None)
    time: Any = layout_of(panel).time
    frozen = isinstance(subject, FrozenEstimator)
    fitted = subject if frozen else clone(subject).fit(panel[time <= cutoff])
    if not frozen and not any(getattr(fitted, "best_epochs_", [1])):
        # networks that have kept to their baseline say nothing of their inputs: let them train
        trained = clone(subject).set_params(training__validation=None, training__max_epochs=1)
        fitted = trained.fit(panel[time <= cutoff])
    if hasattr(fitted, "predict_risk"):
        return "estimator", None, fitted.predict_risk
    if not hasattr(fitted, "forecast_origins") and not hasattr(fitted, "predict"):
        return "transformer", None, lambda p: _as_frame(fitted.transform(p), p)
    stamps = time[time <= cutoff].unique().sort_values()
    last = len(stamps) - 1
    cutoffs = stamps[np.unique(np.linspace(last // 2, last, _CUTOFFS).astype(int))]
    if hasattr(fitted, "forecast_origins"):
        return "estimator", None, lambda p: fitted.forecast_origins(p, cutoffs)

    def forecasts(changed: pd.DataFrame) -> Any:
        when: Any = layout_of(changed).time
        return pd.concat([fitted.predict(changed[when <= c]).assign(cutoff=c) for c in cutoffs])

    return "estimator", None, forecasts


def _as_frame(result: Any, panel: pd.DataFrame) -> Any:
    return result if isinstance(result, pd.DataFrame) else pd.DataFrame(result, index=panel.index)


def _default_cutoff(panel: pd.DataFrame, result: Any) -> Any:
    if isinstance(result, pd.DataFrame) and "cutoff" in result:
        cutoffs = pd.Index(result["cutoff"].unique()).sort_values()
        if len(cutoffs):
            return cutoffs[(len(cutoffs) - 1) // 2]
    stamps = layout_of(panel).time.unique().sort_values()
    return stamps[max(0, 2 * len(stamps) // 3 - 1)]


def _some_series(panel: pd.DataFrame, later: Cells) -> list[pd.DataFrame]:
    """A few series with rows up to the cutoff, each by itself; none where there is one only."""
    layout = layout_of(panel)
    if layout.n_series < 2:
        return []
    known = np.flatnonzero(~later[layout.starts])
    chosen = known[np.unique(np.linspace(0, len(known) - 1, _ALONE).astype(int))]
    return [panel.iloc[layout.starts[s] : layout.stops[s]] for s in chosen]


def _protected(result: Any, cutoff: Any, time: pd.Index) -> pd.DataFrame:
    """Numbers of a result that may not move, in rows that can be told from one another."""
    frame = result.to_frame() if isinstance(result, pd.Series) else result
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"expected a frame with a column 'cutoff' or indexed by time, found "
            f"{type(result).__name__}. Return the rows, not a summary of them."
        )
    row_time: Any = frame.index.get_level_values(-1)
    if "cutoff" in frame:
        if "actual" in frame:
            known: Any = frame.get("time", row_time)
            frame = frame.assign(actual=frame["actual"].where(np.asarray(known <= cutoff)))
        keys: dict[str, Any] = {name: pd.Index(frame[name]) for name in _KEYS if name in frame}
        if "series" not in keys and isinstance(frame.index, pd.MultiIndex):
            keys["series"] = frame.index.get_level_values(0)
        index: pd.Index = pd.MultiIndex.from_arrays(list(keys.values()), names=list(keys))
        keep = np.asarray(frame["cutoff"] <= cutoff)
        frame = frame.drop(columns=[name for name in keys if name in frame])
    else:
        if row_time.dtype.kind != time.dtype.kind:
            raise TypeError(
                f"expected a frame with a column 'cutoff' or indexed by the panel's time, found "
                f"columns {list(frame.columns)} and an index of {row_time.dtype}. Keep the index."
            )
        index, keep = frame.index, np.asarray(row_time <= cutoff)
    values = frame.select_dtypes(["number", "bool"], exclude=["timedelta"])
    rows = values.set_axis(index)[keep].astype(np.float64)
    if not rows.index.is_unique:
        twice = rows.index[rows.index.duplicated()]
        raise bad_parameter(
            "subject", expected=f"one row per {list(index.names)}", found=f"{twice[0]} repeated"
        )
    return rows.sort_index()


def _same_cutoffs(base: pd.DataFrame, other: pd.DataFrame, mode: Mode) -> bool:
    """Whether all cutoffs of the shorter panel's result are in the longer panel's.

    Cutoffs that move with the length all move, so that the first one is then missing.
    """
    short, long = (other, base) if mode == "truncate" else (base, other)
    inside = short.index.get_level_values("cutoff").isin(long.index.get_level_values("cutoff"))
    return len(short) > 0 and bool(inside.all())


@dataclass(frozen=True)
class _Difference:
    """Two results side by side, cell by cell."""

    before: pd.DataFrame
    after: pd.DataFrame
    size: Floats  # infinite where one of the two is missing
    moved: Cells

    @classmethod
    def of(
        cls, base: pd.DataFrame, other: pd.DataFrame, *, exact: bool, shared: bool = False
    ) -> _Difference:
        """Compare; `shared`: only the rows that both have, else all."""
        join = base.index.intersection if shared else base.index.union
        rows = join(other.index)
        columns = base.columns.union(other.columns, sort=False)
        before = base.reindex(index=rows, columns=columns)
        after = other.reindex(index=rows, columns=columns)
        a, b = before.to_numpy(), after.to_numpy()
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        size = np.where(same, 0.0, np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)))
        size[np.isnan(size)] = np.inf
        # a row that is there once only has moved, even if there is no number in it
        size[rows.isin(base.index) != rows.isin(other.index)] = np.inf
        finite = np.where(np.isfinite(a), np.abs(a), 0.0)
        limit = 0.0 if exact else _TOLERANCE * finite.max(axis=0, initial=0.0)
        return cls(before, after, size, size > limit)

    def __str__(self) -> str:
        i, j = np.unravel_index(np.argmax(np.where(self.moved, self.size, -1.0)), self.size.shape)
        a, b = (float(frame.to_numpy()[i, j]) for frame in (self.before, self.after))
        key: Any = self.before.index[int(i)]
        names = [str(name or "time") for name in self.before.index.names]
        where = zip(names, key if isinstance(key, tuple) else (key,))
        by = f" (by {abs(a - b):.3g})" if np.isfinite(a - b) else ""
        return (
            f"{int(self.moved.sum())} of {self.moved.size} numbers, most of all "
            f"{list(self.before.columns)[j]!r} at {', '.join(f'{n} {v}' for n, v in where)}, "
            f"from {a:.6g} to {b:.6g}{by}"
        )


@dataclass(frozen=True)
class _Changes:
    """A panel, or facts, and what stands in its later rows instead."""

    original: pd.DataFrame
    time: pd.Index  # (N,), of facts when each became known
    columns: list[Any]  # F, those of numbers
    free: dict[Mode, Cells]  # (N, F), the cells that may change
    instead: dict[Mode, Floats]  # (N, F)
    shorter: pd.DataFrame
    longer: pd.DataFrame

    @classmethod
    def of_panel(
        cls, subject: Any, panel: pd.DataFrame, later: Cells, rng: np.random.Generator
    ) -> _Changes:
        layout = layout_of(panel)
        # how many rows after the cutoff, from 1
        count = np.cumsum(later)
        before = np.concatenate([[0], count])[layout.starts]
        ahead = np.where(later, count - np.repeat(before, np.diff(layout.offsets)), 0)
        numbers = panel.select_dtypes("float64")
        fixed = [*_names(subject, "static"), *_names(subject, "group")]
        future = numbers.columns.isin(_names(subject, "future"))
        reach = subject.horizon if future.any() else 0
        allowed = (ahead > 0) & (ahead <= reach)
        free = later[:, None] & ~numbers.columns.isin(fixed) & ~(allowed[:, None] & future)
        return cls(
            panel,
            layout.time,
            list(numbers),
            *_drawn(numbers.to_numpy(), free, ahead == 1, rng),
            shorter=panel[~(later & ~allowed)],
            longer=_appended(panel, later & (ahead >= reach)),
        )

    @classmethod
    def of_facts(
        cls,
        facts: pd.DataFrame,
        time: Any,
        available: Hashable,
        later: Cells,
        rng: np.random.Generator,
    ) -> _Changes:
        columns = [name for name in facts if pd.api.types.is_float_dtype(facts[name].dtype)]
        values = facts[columns].to_numpy(dtype=np.float64, na_value=np.nan)
        free = np.broadcast_to(later[:, None], values.shape)
        last = np.argsort(time, kind="stable")[-_APPENDED:]
        last = last[later[last]]
        again = facts.iloc[last].copy()
        again[available] = time[last] + (time.max() - time[~later].max())
        counted = isinstance(facts.index, pd.RangeIndex)
        return cls(
            facts,
            time,
            columns,
            *_drawn(values, free, time == time[later].min(), rng),
            shorter=facts[~later],
            longer=pd.concat([facts, again], ignore_index=counted),
        )

    def panel(self, mode: Mode) -> pd.DataFrame:
        if mode == "truncate":
            return self.shorter
        if mode == "append":
            return self.longer
        return self.partly(mode, self.free[mode])

    def partly(self, mode: Mode, cells: Cells) -> pd.DataFrame:
        """Change these cells only."""
        changed = self.original.copy()
        values = changed[self.columns].to_numpy(dtype=np.float64, na_value=np.nan)
        changed[self.columns] = np.where(cells, self.instead[mode], values)
        return changed


def _drawn(
    values: Floats, free: Cells, next_rows: Cells, rng: np.random.Generator
) -> tuple[dict[Mode, Cells], dict[Mode, Floats]]:
    """Draw other values and another missing pattern for the free cells.

    The missing pattern changes in half of them, and surely in the `next_rows` after the cutoff.
    """
    columns, known = values.T, ~np.isnan(values)
    swapped = _stacked([_swapped(column, rng) for column in columns], values)
    swap = (rng.random(values.shape) < 0.5) | next_rows[:, None]
    altered = _stacked([_altered(column, rng) for column in columns], values)
    return (
        {"values": free & known, "missing": free & swap},
        {"values": altered, "missing": swapped},
    )


def _stacked(columns: list[Floats], like: Floats) -> Floats:
    return np.stack(columns, axis=1) if columns else like


def _names(subject: Any, parameter: str) -> list[Any]:
    """Columns that an estimator names in one of its parameters."""
    value = getattr(subject, parameter, None)
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _altered(column: Floats, rng: np.random.Generator) -> Floats:
    """Other numbers of the same kind: 0 and 1, whole, positive or any."""
    known = column[~np.isnan(column)]
    if len(known) == 0:
        return column
    if np.isin(known, (0.0, 1.0)).all() and not known.all():
        return 1.0 - column
    whole = bool((known == np.rint(known)).all())
    factor = np.where(rng.random(len(column)) < 0.5, 0.2, 2.0) * rng.uniform(1, 2.5, len(column))
    if known.min() < 0:
        sign = rng.choice([-1.0, 1.0], len(column))
        moved = column + sign * factor * (known.std() or 1.0)
        return np.where(np.rint(moved) == column, column + 1, np.rint(moved)) if whole else moved
    if whole:
        factor = rng.integers(2, 6, len(column)).astype(np.float64)
    return np.where(column == 0, factor, column * factor)


def _swapped(column: Floats, rng: np.random.Generator) -> Floats:
    """NaN for a number, a number of the column for NaN."""
    known = column[~np.isnan(column)]
    drawn = rng.choice(known, len(column)) if len(known) else np.ones(len(column))
    return np.where(np.isnan(column), drawn, np.nan)


def _appended(panel: pd.DataFrame, later: Cells) -> pd.DataFrame:
    """Repeat the last rows of each series after its end, with the same time between them.

    Where the panel goes by a calendar, they are the next sessions. A series whose last row is not
    `later` stays as it is: its new rows might not be later either.
    """
    layout = layout_of(panel)
    when = time_to_ints(layout.time)
    tail, rows = layout.tail(_APPENDED + 1)
    lengths = np.diff(tail.offsets)
    shift = np.repeat(when[layout.stops - 1] - when[rows[tail.starts]], lengths)
    again = np.repeat(later[layout.stops - 1], lengths)
    again[tail.starts] = False
    source = np.concatenate([np.arange(layout.n_rows), rows[again]])
    new = when[rows] + shift
    if layout.calendar is not None:
        calendar = TimeStep(offset=ExchangeSessions(layout.calendar))
        ahead = calendar.after(when[layout.stops - 1], _APPENDED, like=layout.labels)
        new = ahead[tail.codes(), np.arange(tail.n_rows) - np.repeat(tail.starts, lengths) - 1]
    times = np.concatenate([when, new[again]])
    order = np.lexsort((times, layout.codes()[source]))
    source, index = source[order], time_from_ints(times[order], layout.time)
    if layout.ids is not None:
        ids = layout.ids.take(layout.codes()[source])
        index = pd.MultiIndex.from_arrays([ids, index], names=panel.index.names)
    return panel.iloc[source].set_axis(index)


def _source(
    changes: _Changes, mode: Mode, protected: Callable[[pd.DataFrame], pd.DataFrame], base: Any
) -> str:
    """Name the columns that move the result, each with the first time that does."""
    stamps = changes.time.unique().sort_values()
    position = stamps.get_indexer(pd.Index(changes.time))

    def moved(cells: Cells) -> bool:
        other = protected(changes.partly(mode, cells))
        return bool(_Difference.of(base, other, exact=True).moved.any())

    found = []
    for j, name in enumerate(changes.columns):
        cells = np.zeros_like(changes.free[mode])
        cells[:, j] = changes.free[mode][:, j]
        if not cells.any() or not moved(cells):
            continue
        # bisect for the shortest stretch after the cutoff that is enough
        low, high = int(position[cells[:, j]].min()), len(stamps) - 1
        while low < high:
            middle = (low + high) // 2
            if moved(cells & (position <= middle)[:, None]):
                high = middle
            else:
                low = middle + 1
        what = "column" if mode == "values" else "the missing pattern of column"
        found.append(f"{what} {name!r} from {stamps[low]} on")
    return first(found) if found else "a change of several columns together"
