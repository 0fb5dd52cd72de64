"""One part of a job: some series and a model in, rows and rejects out, and nothing else touched."""

from __future__ import annotations

import hashlib
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import DataError, fail
from tsforecast.batch.exits import ModelError
from tsforecast.batch.ledger import REJECTS, unwritable
from tsforecast.data.panel import as_cutoffs, layout_of, time_to_ints
from tsforecast.serving.persist import load

__all__ = [
    "FALLBACK_NAIVE",
    "MODEL",
    "SKIP_LATE",
    "SKIP_MISSING",
    "USE_LAST",
    "Part",
    "Score",
    "Scored",
    "cut",
    "hashed",
    "rejects_frame",
    "series_names",
    "treatments",
    "without_names",
    "without_values",
]

MODEL, USE_LAST, FALLBACK_NAIVE = "model", "use_last", "fallback_naive"
SKIP_LATE, SKIP_MISSING = "late", "missing"  # stages of rejects
UNNAMED = "0"  # the series of a panel of one series without a name
_LONGEST = 300
# of the machine, not of the data: a part that meets them is not at fault
_NOT_OURS = (MemoryError, OSError, ImportError)

# what a message says is found, where no number of it can be a value of the data
_PLAIN = r"[^\d'\"]*"  # what is quoted may be a category
_WORDS = (
    rf"(\d+ (?=[A-Za-z]))?{_PLAIN}|\d+( [a-z ]+)? of \d+{_PLAIN}|\d+ [a-z ]+, \d+ of them{_PLAIN}"
)
_COUNT = rf"{_WORDS}|\d+( \(\d+ series\))?"  # where so many were expected

Texts = npt.NDArray[np.object_]
Policy = Literal["fail", "skip", "use_last", "fallback_naive"]


@dataclass(frozen=True, eq=False)
class Part:
    """Some series of a job.

    Attributes
    ----------
    number : int
    panel : DataFrame
        All rows of these series up to the cut.
    treatment : ndarray of str, shape (S,)
        How each series is forecast: ``"model"``, ``"use_last"`` (by the model, from rows that are
        late or lack the newest value), ``"fallback_naive"``, or the reason for which it is not.
    """

    number: int
    panel: pd.DataFrame
    treatment: Texts


@dataclass(frozen=True, eq=False)
class Scored:
    """What has come of a part.

    Attributes
    ----------
    number : int
    rows : DataFrame
        Of forecasts ``series, time, target, cutoff, step, forecast, q..., source``; of risks, at
        the newest row of each series, ``series, time, risk, risk_1, ..., source``.
    rejects : DataFrame
        ``series, stage, error, message``.
    seconds : float
    warned : dict of str to int
        Warnings of the model by their class.
    """

    number: int
    rows: pd.DataFrame
    rejects: pd.DataFrame
    seconds: float
    warned: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """Forecast a part: what is spread over processes and machines.

    It holds no model, but where one lies: each process loads it once.

    Attributes
    ----------
    folder : str
        Of a saved model, in reach of all who work.
    mark : str
        Check sum of its manifest: another model at the same place is another one.
    hash_ids : bool
        Whether rejects hold check sums in place of the series' names.
    """

    folder: str
    mark: str
    hash_ids: bool = False

    def __call__(self, part: Part) -> Scored:
        """Forecast the series of a part; those that fail are named in the rejects."""
        begun = time.perf_counter()
        model = _loaded(self.folder, self.mark)
        rows: list[pd.DataFrame] = []
        rejects: list[tuple[str, str, str, str]] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for source, forecast in (
                (MODEL, model_rows),
                (USE_LAST, model_rows),
                (FALLBACK_NAIVE, naive_rows),
            ):
                some = _series(part.panel, part.treatment == source)
                if some is not None:
                    self._score(model, some, forecast, source, rows, rejects)
        for stage in (SKIP_LATE, SKIP_MISSING):
            for name in series_names(part.panel)[part.treatment == stage]:
                message = "skipped, as [source] says"
                rejects.append((self._label(name), stage, "Skipped", message))
        return Scored(
            part.number,
            pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(),
            rejects_frame(rejects),
            time.perf_counter() - begun,
            dict(Counter(each.category.__name__ for each in caught)),
        )

    def _score(
        self,
        model: Any,
        panel: pd.DataFrame,
        forecast: Callable[[Any, pd.DataFrame], pd.DataFrame],
        source: str,
        rows: list[pd.DataFrame],
        rejects: list[tuple[str, str, str, str]],
    ) -> None:
        """Forecast together; where that fails, in halves, down to the series that fail."""
        try:
            frame = forecast(model, panel)
        except _NOT_OURS:
            raise
        except Exception as error:
            n_series = layout_of(panel).n_series
            if n_series == 1:
                name = series_names(panel)[0]
                text = without_names(str(error), [name]) if self.hash_ids else str(error)
                about = (self._label(name), "score", type(error).__name__, text[:_LONGEST])
                rejects.append(about)
                return
            first_half = np.arange(n_series) < n_series // 2
            for half in (first_half, ~first_half):
                some = _series(panel, half)
                if some is not None:
                    self._score(model, some, forecast, source, rows, rejects)
            return
        bad = unwritable(frame)
        if bad:
            text = "expected finite numbers and a time in every row, found rows without"
            rejects.extend((self._label(name), "output", "NotFinite", text) for name in bad)
            frame = frame[~frame["series"].astype(str).isin(bad)]
        rows.append(frame.assign(source=source))

    def _label(self, name: Any) -> str:
        return hashed(name) if self.hash_ids else str(name)


def model_rows(model: Any, panel: pd.DataFrame) -> pd.DataFrame:
    """Forecast from the end of every series, or give the risk there, one row below the other."""
    if hasattr(model, "predict_risk"):
        frame = model.predict_risk(panel)
        return _flat(frame.iloc[layout_of(panel).stops - 1])
    return _flat(model.predict(panel))


def naive_rows(model: Any, panel: pd.DataFrame) -> pd.DataFrame:
    """Give the naive forecast of every series, with the spread of its own past errors.

    Each series is taken alone, so that its forecast does not depend on the part it lies in.

    Raises
    ------
    DataError
        If the model gives risks, of which there is no naive one.
    """
    from tsforecast.estimators.baselines import Naive

    if not hasattr(model, "targets_"):
        raise fail(
            "no naive forecast",
            expected="a forecaster, for the policy 'fallback_naive'",
            found=f"a {type(model).__name__}",
            advice="Choose 'skip', 'use_last' or 'fail'.",
        )
    offsets = layout_of(panel).offsets
    frames = []
    for begin, end in pairwise(offsets):
        naive = Naive(target=model.targets_, horizon=model.horizon, levels=tuple(model._levels))
        frames.append(_flat(naive.fit(panel.iloc[begin:end]).predict()))
    return pd.concat(frames, ignore_index=True)


def treatments(
    panel: pd.DataFrame,
    columns: Sequence[Hashable],
    *,
    oldest: pd.Timestamp | None,
    late: Policy,
    missing: Policy,
) -> Texts:
    """Say how each series is to be forecast.

    Parameters
    ----------
    panel : DataFrame
    columns : sequence of column names
        Targets, or inputs of risks. A series is *missing* if its newest row has none of them.
    oldest : Timestamp or None
        In the unit of the panel's time. A series is *late* if its newest row is older.
    late, missing : {"fail", "skip", "use_last", "fallback_naive"}
        ``"fail"`` changes nothing: `Part` knows none, and the caller counts with ``"fail"``.

    Returns
    -------
    ndarray of str, shape (S,)
        ``"model"``, ``"use_last"``, ``"fallback_naive"``, ``"late"`` and ``"missing"`` (skipped),
        ``"fail late"`` and ``"fail missing"``. A series that is both is late.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.to_datetime(["2024-06-27", "2024-06-28"])
    >>> panel = pd.DataFrame({"x": [1.0, None]}, index=days)
    >>> oldest = pd.Timestamp("2024-06-28")
    >>> treatments(panel, ["x"], oldest=oldest, late="fail", missing="skip").tolist()
    ['missing']
    """
    layout = layout_of(panel)
    ends = layout.stops - 1
    found = np.full(layout.n_series, MODEL, dtype=object)
    known = panel[list(columns)].iloc[ends].notna().to_numpy().any(axis=1)
    found[~known] = _treatment(missing, SKIP_MISSING)
    if oldest is not None:
        newest = layout.when(ends)
        limit = time_to_ints(as_cutoffs(oldest, layout.labels))[0]
        found[newest < limit] = _treatment(late, SKIP_LATE)
    return found


def _treatment(policy: Policy, stage: str) -> str:
    return {"skip": stage, "fail": f"fail {stage}"}.get(policy, policy)


def cut(panel: pd.DataFrame, treatment: Texts, size: int) -> Iterator[Part]:
    """Cut a panel into parts of so many series, in their order."""
    offsets = layout_of(panel).offsets
    for number, begin in enumerate(range(0, len(treatment), size)):
        some = treatment[begin : begin + size]
        rows = panel.iloc[offsets[begin] : offsets[begin + len(some)]]
        if isinstance(rows.index, pd.MultiIndex):  # names of all series are not to travel along
            rows = rows.set_axis(rows.index.remove_unused_levels())
        yield Part(number, rows, some)


def hashed(name: Any) -> str:
    """Give a check sum of a series' name, for logs and rejects.

    Whoever can try all names that there may be can find out which it is.

    Examples
    --------
    >>> hashed("patient 7")
    '#380e1c6279a5'
    """
    return "#" + hashlib.sha256(str(name).encode()).hexdigest()[:12]


def without_names(text: str, names: list[Any]) -> str:
    """Put check sums in place of the names of series in a text.

    Examples
    --------
    >>> without_names("too few rows (series 'A 7')", ["A 7"])
    "too few rows (series '#bdd816173146')"
    """
    written = {form: name for name in map(str, names) for form in (name, repr(name)[1:-1])}
    for form in sorted((form for form in written if form in text), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", hashed(written[form]), text)
    return text


def without_values(text: str) -> str:
    """Leave out of the text of a `DataError` what may be a value of the data, or of its times.

    That is the first rows, and what was found unless it is a count and words: other numbers are
    counts only as "3 of 8", "3 rows, 1 of them", or alone where "at least" so many were expected.

    Examples
    --------
    >>> without_values("gaps (first rows: 07:30): expected none, found 2 rows. Fill them.")
    'gaps: expected none, found 2 rows. Fill them.'
    >>> without_values("values: expected all above 0, found 3 others, e.g. -7. Drop them.")
    'values: expected all above 0, found others. Drop them.'
    >>> without_values("short: expected at least 202 time stamps, found 60. Give more.")
    'short: expected at least 202 time stamps, found 60. Give more.'
    """
    text = re.sub(r"; first rows: .*?(?=\): expected)| \(first rows: .*?\)(?=: expected)", "", text)
    head, found, rest = text.partition(", found ")
    what, end, advice = re.match(r"(.*?)(\. (?=[A-Z])|$)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    least = re.search(r": expected (a series of )?at least \d+ [a-z]", head)
    if found and not re.fullmatch(_COUNT if least else _WORDS, what):
        what = "others"
    return f"{head}{found}{what}{end}{advice}"


def rejects_frame(rejects: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Lay rejects out as rows, sorted by series."""
    frame = pd.DataFrame(sorted(rejects), columns=list(REJECTS), dtype=object)
    return frame


@lru_cache(maxsize=2)
def _loaded(folder: str, mark: str) -> Any:
    try:
        return load(folder)
    except (DataError, OSError) as error:
        raise ModelError.of(
            f"model {folder} cannot be loaded by a worker",
            expected="a saved model in reach of all who work",
            found=f"{type(error).__name__}: {str(error)[:_LONGEST]}",
            advice="Put [job] folder where all workers see it under the same name.",
        ) from None


def series_names(panel: pd.DataFrame) -> Texts:
    """Names of the series of a panel in order, (S,)."""
    ids = layout_of(panel).ids
    names = [UNNAMED] if ids is None else list(ids)
    found = np.empty(len(names), dtype=object)
    found[:] = names
    return found


def _series(panel: pd.DataFrame, wanted: npt.NDArray[np.bool_]) -> pd.DataFrame | None:
    """Rows of some series, (S,), None if it is none of them; the panel itself if all are."""
    if not wanted.any():
        return None
    if wanted.all():
        return panel
    layout = layout_of(panel)
    return panel.iloc[np.repeat(wanted, np.diff(layout.offsets))]


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Index levels as columns `series` and `time`."""
    flat = frame.rename_axis(index=["series", "time"] if frame.index.nlevels == 2 else ["time"])
    flat = flat.reset_index()
    if "series" not in flat:
        flat.insert(0, "series", UNNAMED)
    return flat
