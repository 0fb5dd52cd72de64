"""What a sink keeps: the runs of a job, their parts, the rows that are seen, and the rejects.

Whatever the place, these rules hold:

- A run has a key (job, run date, model, digest of the configuration).  An *attempt* at it is
  written part by part, and nobody sees any of it until it is finished.
- Finishing makes an attempt visible and takes the one before it away, in one step.  A run that
  fails, or is killed, leaves what was visible as it was.
- Of a run date one run is seen, the last that was finished, whatever model and configuration it
  had: a forecast of a series, target and step stands there once.
- The same key with the same data goes on where an attempt has ended: parts that are marked as
  written are not written again.  With other data a new attempt begins.
- The ledger keeps a line of every attempt: ``open`` while it is written, ``ok`` once it is visible,
  ``failed``, or ``replaced`` by a later one.
"""

from __future__ import annotations

import abc
import datetime as dt
import json
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from tsforecast._checks import first
from tsforecast.batch.exits import SinkError

__all__ = [
    "FIT",
    "FORECAST",
    "LEDGER",
    "NO_MODEL",
    "REJECTS",
    "RISK",
    "Attempt",
    "Kind",
    "Rows",
    "RunKey",
    "Sink",
    "as_rejects",
    "as_rows",
    "from_json",
    "how_it_ended",
    "no_rows",
    "on_one_clock",
    "to_json",
    "unwritable",
]

FIT = "fit"
"""In the ledger, in place of a model that is yet to come: the line of a fit, which has no rows."""
NO_MODEL = "-"
"""In the ledger, in place of a model: the line of a run that has ended before it had one."""

FORECAST = ("series", "target", "time", "cutoff", "step", "source", "forecast")
"""Columns of every row of a forecast; numbers such as ``q0.1`` follow."""
RISK = ("series", "time", "source", "risk")
"""Columns of every row of risks; numbers such as ``risk_1`` follow."""
REJECTS = ("series", "stage", "error", "message")
LEDGER = (
    "run", "job", "run_date", "model", "config_digest", "data_digest", "status", "visible",
    "parts", "parts_done", "part_size", "rows", "rejects", "started", "finished", "about",
    "summary",
)  # fmt: skip

Kind = Literal["forecast", "risk"]
_TEXTS = ("series", "target", "source")
_TIMES = ("time", "cutoff")
# q0_1 would be the same column of a database as q0.1
_NAME = re.compile(r"q0?\.\d{1,20}|(?!q\d)[a-z][a-z0-9_]{0,62}")
_TAKEN = ("run", "run_id", "run_date", "part", "job", "model", "clock")


@dataclass(frozen=True)
class RunKey:
    """What makes two runs the same run: a repeat replaces its rows.

    Attributes
    ----------
    job : str
    run_date : date
    model_id : str
    config_digest : str
    """

    job: str
    run_date: dt.date
    model_id: str
    config_digest: str


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run.

    Attributes
    ----------
    id : str
        Of the ledger.
    key : RunKey
    committed : frozenset of int
        Parts that are written already.
    resumed : bool
        Whether it goes on from an earlier one.
    done : bool
        Whether it is finished and visible: there is nothing to do.
    """

    id: str
    key: RunKey
    committed: frozenset[int] = frozenset()
    resumed: bool = False
    done: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows as they are written: one kind, plain columns, nothing infinite.

    Attributes
    ----------
    kind : {"forecast", "risk"}
    frame : DataFrame
        The columns of the kind, then `numbers`. Times without a zone: those of a clock that has
        one are in UTC. What is missing is NaN.
    numbers : tuple of str
        Columns beside those of the kind.
    clock : str or None
        Time zone of the times given; None if they had none.
    """

    kind: Kind
    frame: pd.DataFrame
    numbers: tuple[str, ...]
    clock: str | None


class Sink(abc.ABC):
    """A place for forecasts, opened for one job; a context manager."""

    job: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the place; attempts that are open stay so."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make tables or folders where there are none, and see that they can be written to.

        Raises
        ------
        SinkError
            If they cannot.
        """

    @abc.abstractmethod
    def begin(
        self,
        key: RunKey,
        *,
        data_digest: str,
        parts: int,
        part_size: int | None = None,
        about: Mapping[str, Any] | None = None,
        resume: bool = True,
    ) -> Attempt:
        """Begin an attempt, or go on with one that has ended before its end.

        Parameters
        ----------
        key : RunKey
        data_digest : str
            Of what was read: with other data nothing is resumed.
        parts : int
            How many there will be, numbered from 0.
        part_size : int, optional
            By what the series were cut: with another one nothing is resumed.
        about : mapping, optional
            Kept in the ledger as JSON: versions, counts, host.
        resume : bool
            False: begin anew in any case.

        Returns
        -------
        Attempt

        Raises
        ------
        SinkError
            If the place cannot be written to.
        LockedError
            If another host is at work on the job.
        """

    @abc.abstractmethod
    def write_part(
        self, attempt: Attempt, part: int, rows: pd.DataFrame, rejects: pd.DataFrame | None = None
    ) -> None:
        """Write a part as a whole: its rows, its rejects, and the mark that it is written.

        Parameters
        ----------
        attempt : Attempt
        part : int
        rows : DataFrame
            Forecasts as `predict` gives them, or risks as `predict_risk` does: indexed by (series,
            time), or with columns of these names. A column ``source`` says where a row comes
            from ("model" where there is none). Other columns hold numbers: NaN is written as
            missing, and so are infinite ones, such as the bounds of an interval that is not known.
        rejects : DataFrame, optional
            Columns ``series, stage, error, message``.

        Raises
        ------
        SinkError
            If a number that must be there is missing or infinite (see `unwritable`), a column
            cannot be written, or the place refuses; nothing of the part is written then.
        """

    @abc.abstractmethod
    def finish(
        self,
        attempt: Attempt,
        status: Literal["ok", "failed"],
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """End an attempt: show its rows in place of those before, or leave these.

        Parameters
        ----------
        attempt : Attempt
        status : {"ok", "failed"}
        summary : mapping, optional
            Kept in the ledger as JSON.

        Raises
        ------
        SinkError
            For ``"ok"`` if parts are missing; if the place refuses.
        """

    def add_failed(
        self,
        run_date: dt.date,
        config_digest: str,
        summary: Mapping[str, Any],
        *,
        rejects: pd.DataFrame | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a line of a run that has ended before an attempt at it could begin.

        To be called under the lock of the job.

        Parameters
        ----------
        run_date : date
        config_digest : str
        summary : mapping
            Why, as of `finish`.
        rejects : DataFrame, optional
            Of the source; seen until another run of the date begins.
        about : mapping, optional
            As of `begin`.

        Raises
        ------
        SinkError
            If the place cannot be written to.
        LockedError
            If another host is at work on the job.
        """
        self.prepare()
        self.fail_open()
        key = RunKey(self.job, run_date, NO_MODEL, config_digest)
        refused = as_rejects(rejects)
        parts = min(len(refused), 1)
        attempt = self.begin(key, data_digest="", parts=parts, about=about, resume=False)
        if parts:
            self.write_part(attempt, 0, pd.DataFrame(), refused)
        self.finish(attempt, "failed", summary)

    @abc.abstractmethod
    def fail_open(self) -> int:
        """Mark attempts of the job as failed that a killed process has left open, and count them.

        To be called under the lock of the job.
        """

    @abc.abstractmethod
    def runs(self) -> pd.DataFrame:
        """Give the ledger of the job, in order of beginning.

        Returns
        -------
        DataFrame
            A row for each attempt: ``run, job, run_date, model, config_digest, data_digest, status,
            visible, parts, parts_done, part_size, rows, rejects, started, finished, about,
            summary``; times in UTC, `about` and `summary` as dicts.
        """

    @abc.abstractmethod
    def forecasts(
        self,
        run_date: dt.date | None = None,
        model: str | None = None,
        *,
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Give the forecasts of visible runs, ``run_date, model, series, target, time, ...``.

        Times of runs of several zones are in UTC; see `on_one_clock`.

        Parameters
        ----------
        run_date : date, optional
            Default: all.
        model : str, optional
            Identifier of a model. Default: all.
        series : sequence of str, optional
            Names of series, some thousands at most. Default: all.
        """

    @abc.abstractmethod
    def risks(
        self,
        run_date: dt.date | None = None,
        model: str | None = None,
        *,
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Give the risks of visible runs, ``run_date, model, series, time, source, risk, ...``."""

    @abc.abstractmethod
    def rejects(self, run_date: dt.date | None = None, model: str | None = None) -> pd.DataFrame:
        """Give the rejects of the newest attempt of each run, visible or not.

        Those of a run that had no model yet, until another one of its date begins; of any other
        attempt, until another one of its date is finished and seen.

        Returns
        -------
        DataFrame
            Columns ``run, run_date, model, part, series, stage, error, message``.
        """


def how_it_ended(status: str, summary: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Read off a line of the ledger with which exit code a run has ended, and why.

    Parameters
    ----------
    status : str
    summary : mapping
        Of the line.

    Returns
    -------
    exit_code : int or None
        None of a run that is open, or whose process was killed.
    why : str or None
        What the run said last; None of one that has ended well.

    Examples
    --------
    >>> how_it_ended("failed", {"error": "StaleError", "exit_code": 4, "message": "too late"})
    (4, 'too late')
    >>> how_it_ended("ok", {"rows": 8})
    (0, None)
    """
    monitor = summary.get("monitor") or {}
    if status in ("ok", "replaced"):
        failures = monitor.get("failures") or []
        why = "; ".join(map(str, failures)) or monitor.get("error")
        return int(monitor.get("exit_code", 0)), why
    code = summary.get("exit_code")
    return (None if code is None else int(code)), summary.get("message") or summary.get("error")


def unwritable(rows: pd.DataFrame) -> list[str]:
    """Name the series whose rows no sink takes: a required number is missing or infinite.

    Parameters
    ----------
    rows : DataFrame
        As for `Sink.write_part`.

    Returns
    -------
    list of str
        In order; empty if all can be written.

    Examples
    --------
    >>> rows = pd.DataFrame({"series": ["A", "B"], "time": pd.Timestamp("2024-01-02"),
    ...                      "risk": [0.1, float("nan")]})
    >>> unwritable(rows)
    ['B']
    """
    flat = _flat(rows)
    bad = np.zeros(len(flat), dtype=bool)
    for name in ("step", "forecast", "risk"):
        if name in flat:
            bad |= ~np.isfinite(flat[name].to_numpy(dtype=np.float64, na_value=np.nan))
    for name in _TIMES:
        if name in flat:
            bad |= flat[name].isna().to_numpy()
    return sorted({str(name) for name in flat["series"][bad]})


def as_rows(rows: pd.DataFrame) -> Rows:
    """Check rows and bring them into the form in which they are written.

    Raises
    ------
    SinkError
        If they cannot be written.
    """
    flat = _flat(rows)
    kind: Kind = "risk" if "risk" in flat and "forecast" not in flat else "forecast"
    wanted = RISK if kind == "risk" else FORECAST
    if "source" not in flat:
        flat["source"] = "model"
    missing = [name for name in wanted if name not in flat]
    if missing:
        raise SinkError.of(
            f"rows of a {kind}",
            expected=f"columns {list(wanted)}",
            found=f"none named {missing}",
            advice="Pass them as predict or predict_risk gives them.",
        )
    if bad := unwritable(flat):
        raise SinkError.of(
            f"rows of a {kind}",
            expected="finite numbers and a time in every row",
            found=f"missing or infinite ones in {len(bad)} series",
            advice="Reject these series before writing.",
        )
    others = [name for name in flat if name not in wanted]
    strange = [
        name
        for name in others
        if name in _TAKEN or not _NAME.fullmatch(str(name)) or _no_numbers(flat[name])
    ]
    if strange:
        raise SinkError.of(
            f"rows of a {kind}",
            expected="columns of numbers with plain names, such as q0.1, beside those of the kind",
            found=f"columns {first(map(repr, strange))}",
            advice="Leave them out.",
        )
    columns: dict[Hashable, Any] = {}
    clocks: set[str | None] = set()
    for name in (*wanted, *others):
        values = flat[name]
        if name in _TEXTS:
            columns[name] = values.astype(str)
        elif name in _TIMES:
            columns[name], clock = _wall(values, name)
            clocks.add(clock)
        elif name == "step":
            columns[name] = values.astype(np.int64)
        else:
            numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
            columns[name] = np.where(np.isfinite(numbers), numbers, np.nan)
    if len(clocks) > 1:
        raise SinkError.of(
            f"rows of a {kind}",
            expected="times of one zone",
            found=f"{sorted(map(str, clocks))}",
            advice="Convert them.",
        )
    frame = pd.DataFrame(columns)
    unique = ["series", "time"] if kind == "risk" else ["series", "target", "step"]
    if frame.duplicated(unique).any():
        raise SinkError.of(
            f"rows of a {kind}",
            expected=f"each {tuple(unique)} once",
            found=f"{int(frame.duplicated(unique).sum())} of them again",
            advice="Write one origin of each series.",
        )
    return Rows(kind, frame, tuple(map(str, others)), clocks.pop())


def no_rows(kind: Kind) -> pd.DataFrame:
    """Give the rows of no run: the columns of a kind, with their types."""
    kinds = {"time": "datetime64[us]", "cutoff": "datetime64[us]", "step": "int64"}
    kinds |= {"forecast": "float64", "risk": "float64", "run_date": "object"}
    names = ("run_date", "model", *(RISK if kind == "risk" else FORECAST))
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "str")) for name in names})


def on_one_clock(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Bring rows of several runs into a form in which their times can stand in one column.

    Parameters
    ----------
    frames : sequence of DataFrame
        Each with times of one zone, or of none; at least one.

    Returns
    -------
    list of DataFrame
        Those with rows. As they are where all are of one zone, or all of none; in UTC where zones
        differ. Where some have a zone and others none there is no such column: times become text,
        with the offset of their zone behind them where they have one.

    Examples
    --------
    >>> wall = pd.DataFrame({"time": [pd.Timestamp("2024-01-02")]})
    >>> zoned = wall.assign(time=wall["time"].dt.tz_localize("Europe/Berlin"))
    >>> pd.concat(on_one_clock([wall, zoned]))["time"].tolist()
    ['2024-01-02 00:00:00', '2024-01-02 00:00:00+01:00']
    """
    filled = [frame for frame in frames if len(frame)] or list(frames[:1])
    zones = {str(frame["time"].dt.tz) for frame in filled}
    if len(zones) == 1:
        return filled
    text = str(None) in zones
    return [
        frame.assign(
            **{
                name: frame[name].map(str) if text else frame[name].dt.tz_convert("UTC")
                for name in _TIMES
                if name in frame
            }
        )
        for frame in filled
    ]


def as_rejects(rejects: pd.DataFrame | None) -> pd.DataFrame:
    """Give rejects as text in their columns; None is none."""
    if rejects is None or not len(rejects):
        return pd.DataFrame({name: pd.Series(dtype=str) for name in REJECTS})
    missing = [name for name in REJECTS if name not in rejects]
    if missing:
        raise SinkError.of(
            "rejects",
            expected=f"columns {list(REJECTS)}",
            found=f"none named {missing}",
            advice="Name series, stage, class and message.",
        )
    texts = {
        name: [str(value).replace("\0", "") for value in rejects[name].tolist()] for name in REJECTS
    }
    return pd.DataFrame(texts, dtype=str)


def to_json(tree: Mapping[str, Any] | None) -> str:
    """Write what the ledger keeps beside a run; numbers that are not finite become null."""
    return json.dumps(_plain(dict(tree or {})), sort_keys=True, allow_nan=False)


def from_json(text: str | None) -> dict[str, Any]:
    """Read it; what is no object is none."""
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def _flat(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with columns ``series`` and ``time``, whatever the levels of the index are called."""
    if "series" in rows and "time" in rows:
        return rows.reset_index(drop=True)
    if rows.index.nlevels == 2:
        ids, time = rows.index.get_level_values(0), rows.index.get_level_values(1)
        flat = rows.reset_index(drop=True)
        flat.insert(0, "series", ids.to_numpy() if len(ids) else [])
        flat.insert(1, "time", pd.Series(time, index=flat.index))
        return flat
    raise SinkError.of(
        "rows",
        expected="an index of two levels, (series, time), or columns of these names",
        found=f"columns {first(map(repr, rows.columns))}",
        advice="Pass them as predict or predict_risk gives them.",
    )


def _no_numbers(values: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(values.dtype) or values.dtype == bool)


def _wall(values: pd.Series, name: str) -> tuple[Any, str | None]:
    """Times without a zone, in microseconds, and the zone that they were in."""
    if values.dtype.kind != "M":
        raise SinkError.of(
            f"column {name!r} of rows",
            expected="dates or times",
            found=f"dtype {values.dtype}",
            advice="A job forecasts at dates; give the time of its source as such.",
        )
    zone = getattr(values.dtype, "tz", None)
    if zone is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    return values.astype("datetime64[us]"), None if zone is None else str(zone)
