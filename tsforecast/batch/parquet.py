"""Forecasts in a folder of Parquet files, by run date; no server, no database.

::

    out/
        run_date=2024-01-02/
            prices-1f0c.../              a visible run: written, complete, never changed
                _manifest.json           its key, its counts, its summary
                _part-00000.json         a part: how many rows, and its rejects
                part-00000.parquet       its rows, if it has any
        _attempts/
            prices/
                00000003/                an attempt that is being written, or has failed
        _runs/
            prices/
                00000003.json            the ledger: one file for each attempt

Whoever reads ``out/run_date=*/*/part-*.parquet``, or the folder as pandas and pyarrow do, sees
complete runs alone: an attempt is shown by moving its folder, and names that begin with ``_`` are
passed over.  Rows have the columns ``model, series, target, time, cutoff, step, source, forecast,
q0.1, ...`` or ``model, series, time, source, risk, risk_1, ...``; the run date stands in the path.
Times are those of the source, with its zone; numbers that are missing are null.  Of a job there is
one run in the folder of a date (a fit, which has no rows, lies beside it).  Where a run replaces
another one there is a moment between two renames in which neither is there, and a process that is
killed then leaves it so until the next run of the job; `ParquetSink` finds the old one even then,
and reads anew what is replaced while it is read.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tsforecast.batch.exits import SinkError
from tsforecast.batch.files import replace_file, safe_name, sync_folder
from tsforecast.batch.ledger import (
    FIT,
    FORECAST,
    LEDGER,
    NO_MODEL,
    REJECTS,
    RISK,
    Attempt,
    Kind,
    Rows,
    RunKey,
    Sink,
    as_rejects,
    as_rows,
    from_json,
    no_rows,
    on_one_clock,
    to_json,
)

__all__ = ["ParquetSink"]

_LEDGER, _ATTEMPTS, _MANIFEST = "_runs", "_attempts", "_manifest.json"
_LINE = re.compile(r"(\d{8,})\.json")
_MARK = re.compile(r"_part-(\d{5,})\.json")
_KINDS: dict[Kind, tuple[str, ...]] = {"forecast": FORECAST, "risk": RISK}
_LOOKS = 5  # at a run that others take the place of while it is read
_SORTED: dict[Kind, list[str]] = {
    "forecast": ["run_date", "model", "series", "target", "step"],
    "risk": ["run_date", "model", "series"],  # and by time, part by part
}


class ParquetSink(Sink):
    """Forecasts of a job in a folder of Parquet files.

    Parameters
    ----------
    folder : Path
        Made when something is written.
    job : str
    """

    def __init__(self, folder: Path, job: str) -> None:
        self.folder = Path(folder)
        self.job = job
        self._ledger = self.folder / _LEDGER / safe_name(job)
        self._attempts = self.folder / _ATTEMPTS / safe_name(job)
        if self.folder.exists() and not self.folder.is_dir():
            raise SinkError.of(
                f"sink {self.folder}",
                expected="a folder, or nothing",
                found="something else",
                advice="Name another place.",
            )

    def close(self) -> None:
        """Nothing is held."""

    @contextlib.contextmanager
    def _told(self, problem: str) -> Iterator[None]:
        """Turn errors of the file system, and of files that have changed, into ours."""
        try:
            yield
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}"
            raise SinkError.of(
                f"sink {self.folder} {problem}",
                expected="a folder that can be written to, with files as they were left",
                found=reason,
                advice="What was visible before is so still; mend it, and repeat the run.",
            ) from error

    # ------------------------------------------------------------------------------------ ledger

    def _lines(self, *, after: str = "") -> dict[str, dict[str, Any]]:
        """Give the ledger, in order of beginning, or what came to it after a run."""
        if not self._ledger.is_dir():
            return {}
        names = (path.name for path in self._ledger.iterdir())
        runs = sorted(found[1] for name in names if (found := _LINE.fullmatch(name)))
        return {run: self._read_line(run) for run in runs if run > after}

    def _read_line(self, run: str) -> dict[str, Any]:
        path = self._ledger / f"{run}.json"
        line = json.loads(path.read_bytes())
        if not isinstance(line, dict) or set(line) != set(_LINE_KEYS):
            raise ValueError(f"{path} is no line of a ledger")
        return line

    def _note(self, run: str, line: Mapping[str, Any]) -> None:
        replace_file(self._ledger / f"{run}.json", json.dumps(line, indent=1).encode())

    def _line(self, attempt: Attempt) -> dict[str, Any]:
        """Give the line of an attempt that is open."""
        line = None
        with contextlib.suppress(FileNotFoundError):
            line = self._read_line(attempt.id)
        if line is None or line["status"] != "open":
            raise SinkError.of(
                f"attempt {attempt.id} in {self.folder}",
                expected="one that is open",
                found="none" if line is None else f"one that is {line['status']!r}",
                advice="Another process has ended it; repeat the run.",
            )
        return line

    def _day(self, key: RunKey) -> Path:
        return self.folder / f"run_date={key.run_date.isoformat()}"

    def _shown(self, key: RunKey) -> Path:
        """Where a run lies once it is visible."""
        parts = [key.job, key.model_id, key.config_digest]
        mark = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        return self._day(key) / f"{safe_name(key.job)}-{mark}"

    def _hidden(self, run: str) -> Path:
        return self._attempts / run

    def _aside(self, key: RunKey) -> Path:
        return self._attempts / f"before-{key.run_date.isoformat()}-{self._shown(key).name}"

    def _seen(self, keys: Iterable[RunKey]) -> tuple[Path, dict[str, Any]] | None:
        """Folder and manifest of the one of these runs that is seen, also between two renames.

        Folders of an older release may show several of a run date: the last one to end counts.
        """
        for place in (self._shown, self._aside, self._shown):  # it may be replaced meanwhile
            manifests = ((folder, _manifest(folder)) for folder in map(place, keys))
            found = [(folder, about) for folder, about in manifests if about is not None]
            if found:
                return max(found, key=lambda each: (each[1]["finished"], each[1]["run"]))
        return None

    # ----------------------------------------------------------------------------------- writing

    def prepare(self) -> None:
        """Make the folder, and see that it can be written to."""
        with self._told("cannot be written to"):
            self._ledger.mkdir(parents=True, exist_ok=True)
            replace_file(self._ledger / "_job.json", json.dumps({"job": self.job}).encode())
            for keys in _shelves(self._lines()).values():
                if sum(self._shown(key).is_dir() for key in keys) > 1:  # of an older release
                    self._settle(keys[0])

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
        """Begin an attempt, or go on with one; see `Sink`."""
        self.prepare()
        with self._told("cannot be written to"):
            self._settle(key)
            lines = self._lines()
            for run, line in lines.items():  # rejects of who had no model are shown until now
                if line["model_id"] == NO_MODEL and _shelf(_key(line)) == _shelf(key):
                    shutil.rmtree(self._hidden(run), ignore_errors=True)
            wanted = {**_key_values(key), "data_digest": data_digest}
            wanted |= {"parts": parts, "part_size": part_size}
            own = {run: line for run, line in lines.items() if _key(line) == key}
            last = max(own, default=None)
            if (
                resume
                and last
                and all(own[last][name] == wanted[name] for name in wanted)
                and self._goes_on(key, own[last]["status"])
            ):
                return self._resumed(key, last, own[last])
            for run, line in own.items():
                if line["status"] == "open":
                    self._note(run, {**line, "status": "failed", "finished": _now()})
            run = f"{max(map(int, lines), default=0) + 1:08d}"
            shutil.rmtree(self._hidden(run), ignore_errors=True)  # of who died before its line
            self._hidden(run).mkdir(parents=True)
            self._note(
                run,
                {
                    **wanted,
                    "status": "open",
                    "started": _now(),
                    "finished": None,
                    "about": from_json(to_json(about)),
                    "summary": {},
                    "parts_done": 0,
                    "rows": 0,
                    "rejects": 0,
                },
            )
            return Attempt(run, key)

    def _goes_on(self, key: RunKey, status: str) -> bool:
        """Whether there is something to go on with: not if it was replaced, or taken away."""
        return status in ("open", "failed") or (status == "ok" and self._shown(key).is_dir())

    def _resumed(self, key: RunKey, run: str, line: Mapping[str, Any]) -> Attempt:
        done = line["status"] == "ok"
        folder = self._shown(key) if done else self._hidden(run)
        if not done:
            folder.mkdir(parents=True, exist_ok=True)
            self._note(run, {**line, "status": "open", "finished": None, "summary": {}})
        return Attempt(run, key, frozenset(_marks(folder)), resumed=True, done=done)

    def write_part(
        self, attempt: Attempt, part: int, rows: pd.DataFrame, rejects: pd.DataFrame | None = None
    ) -> None:
        """Write a part; it counts once its mark is renamed into place; see `Sink`."""
        ready = as_rows(rows) if len(rows) else None
        refused = as_rejects(rejects)
        with self._told(f"did not take part {part}"):
            line = self._line(attempt)
            if not 0 <= part < line["parts"]:
                raise SinkError.of(
                    f"part {part}",
                    expected=f"a number from 0 to {line['parts'] - 1}",
                    found="another one",
                    advice="Begin an attempt with as many parts as there are.",
                )
            folder = self._hidden(attempt.id)
            file = folder / f"part-{part:05d}.parquet"
            mark = folder / f"_part-{part:05d}.json"
            with contextlib.suppress(FileNotFoundError):
                mark.unlink()
            if ready is None:
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()
            else:
                replace_file(file, _encoded(ready, attempt.key.model_id))
            counted = {
                "kind": None if ready is None else ready.kind,
                "rows": len(rows),
                "bytes": 0 if ready is None else file.stat().st_size,
                "rejects": refused[list(REJECTS)].values.tolist(),
            }
            replace_file(mark, json.dumps(counted).encode())

    def finish(
        self,
        attempt: Attempt,
        status: Literal["ok", "failed"],
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """End an attempt; a rename shows it; see `Sink`."""
        if attempt.done and status == "ok":
            return
        with self._told("could not end the run"):
            line = self._line(attempt)
            hidden = self._hidden(attempt.id)
            marks = _marks(hidden)
            ended = {
                **line,
                **_counts(marks),
                "status": status,
                "finished": _now(),
                "summary": from_json(to_json(summary)),
            }
            if status == "failed":
                self._note(attempt.id, ended)
                return
            if len(marks) != line["parts"]:
                raise SinkError.of(
                    f"run {attempt.id} in {self.folder}",
                    expected=f"{line['parts']} parts",
                    found=f"{len(marks)} written",
                    advice="Write all parts before the run is finished as ok.",
                )
            shown = self._shown(attempt.key)
            about = {"run": attempt.id, **ended}
            replace_file(hidden / _MANIFEST, json.dumps(about, indent=1).encode())
            sync_folder(hidden)
            shown.parent.mkdir(parents=True, exist_ok=True)
            for key in self._beside(attempt.key, self._lines()):
                if self._shown(key).exists():
                    os.rename(self._shown(key), self._aside(key))
            os.rename(hidden, shown)  # from here on it is seen; _settle does what is left
            sync_folder(shown.parent)
            self._settle(attempt.key)

    def _beside(self, key: RunKey, lines: Mapping[str, Mapping[str, Any]]) -> list[RunKey]:
        """Runs of which one is seen, this one among them."""
        return list(dict.fromkeys([key, *_shelves(lines).get(_shelf(key), ())]))

    def _settle(self, key: RunKey) -> None:
        """Bring the ledger in line with what is visible, as a killed process may have left it."""
        lines = self._lines()
        keys = self._beside(key, lines)
        seen = self._seen(keys)
        if seen is not None:
            folder, about = seen
            run, own = str(about.pop("run")), _key(about)
            if folder == self._aside(own):
                os.rename(folder, self._shown(own))
            if run in lines and lines[run]["status"] != "ok":
                self._note(run, about)
            for other, line in lines.items():
                if other == run or _key(line) not in keys:
                    continue
                if line["status"] == "ok":
                    self._note(other, {**line, "status": "replaced"})
                if _key(line) == own and int(other) < int(run):
                    shutil.rmtree(self._hidden(other), ignore_errors=True)
            for each in keys:
                if each != own and self._shown(each).is_dir():
                    shutil.rmtree(self._aside(each), ignore_errors=True)
                    os.rename(self._shown(each), self._aside(each))
        for each in keys:
            shutil.rmtree(self._aside(each), ignore_errors=True)

    def fail_open(self) -> int:
        """Mark attempts as failed that are open; see `Sink`."""
        with self._told("cannot be written to"):
            for line in self._lines().values():
                if line["status"] == "open":
                    self._settle(_key(line))  # it may have been shown already
            found = 0
            for run, line in self._lines().items():
                if line["status"] == "open":
                    found += 1
                    failed = {
                        **line,
                        **_counts(_marks(self._hidden(run))),
                        "status": "failed",
                        "finished": _now(),
                        "summary": {"error": "the process ended before the run did"},
                    }
                    self._note(run, failed)
            return found

    # ----------------------------------------------------------------------------------- reading

    def runs(self) -> pd.DataFrame:
        """Give the ledger of the job; see `Sink`."""
        with self._told("cannot be read"):
            lines = []
            ledger = self._lines()
            seen = (self._seen(keys) for keys in _shelves(ledger).values())
            shown = {each[1]["run"]: each[1] for each in seen if each is not None}
            for run, line in ledger.items():
                key = _key(line)
                visible = run in shown
                if visible:
                    line = {name: value for name, value in shown[run].items() if name != "run"}
                elif line["status"] == "ok":  # shown no more: a process was killed after that
                    line = {**line, "status": "replaced"}
                if line["status"] == "open":
                    line = {**line, **_counts(_marks(self._hidden(run)))}
                lines.append(
                    {
                        **line,
                        "run": run,
                        "run_date": key.run_date,
                        "model": line["model_id"],
                        "visible": visible,
                        "started": pd.Timestamp(line["started"]),
                        "finished": line["finished"] and pd.Timestamp(line["finished"]),
                    }
                )
        return pd.DataFrame(lines, columns=list(LEDGER))

    def forecasts(
        self,
        run_date: dt.date | None = None,
        model: str | None = None,
        *,
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Give the forecasts of visible runs; see `Sink`."""
        return self._visible("forecast", run_date, model, series)

    def risks(
        self,
        run_date: dt.date | None = None,
        model: str | None = None,
        *,
        series: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Give the risks of visible runs; see `Sink`."""
        return self._visible("risk", run_date, model, series)

    def _visible(
        self,
        kind: Kind,
        run_date: dt.date | None,
        model: str | None,
        series: Sequence[str] | None,
    ) -> pd.DataFrame:
        frames: list[pd.DataFrame] = []
        with self._told("cannot be read"):
            lines = self._lines()
            for keys in _shelves(lines).values():
                if run_date in (None, keys[0].run_date):
                    frames += self._rows_of_one(kind, keys, max(lines), model, series)
        if not frames:
            return no_rows(kind)
        frame: pd.DataFrame = pd.concat(on_one_clock(frames), ignore_index=True)
        others = [name for name in frame if name not in ("run_date", "model", *_KINDS[kind])]
        frame = frame.drop(columns=[name for name in others if frame[name].isna().all()])
        return frame.sort_values(_SORTED[kind], kind="stable", ignore_index=True)

    def _rows_of_one(
        self,
        kind: Kind,
        keys: list[RunKey],
        last: str,
        model: str | None,
        series: Sequence[str] | None,
    ) -> list[pd.DataFrame]:
        """Read the run that is seen of these, anew if another one takes its place meanwhile.

        That may be one that was begun after the `last` of the ledger from which they are.
        """
        gone = FileNotFoundError()
        for _ in range(_LOOKS):
            seen = self._seen(keys)
            if seen is not None:
                try:
                    frames = _rows_in(*seen, kind, model, series)
                    if self._seen(keys) == seen:
                        return frames
                except FileNotFoundError as error:
                    gone = error
            now = self._beside(keys[0], self._lines(after=last))
            if seen is None and {*now} <= {*keys}:
                return []
            keys = [*dict.fromkeys([*keys, *now])]
        raise gone

    def rejects(self, run_date: dt.date | None = None, model: str | None = None) -> pd.DataFrame:
        """Give the rejects of the newest attempt of each run, unless it is past; see `Sink`."""
        rows = []
        with self._told("cannot be read"):
            lines = self._lines()
            newest = {_key(line): run for run, line in lines.items()}  # they are in order
            shelves = _shelves(lines)
            for key, run in newest.items():
                if run_date not in (None, key.run_date) or model not in (None, key.model_id):
                    continue
                seen = self._seen(shelves[_shelf(key)])
                ended = lines[run]["finished"]
                if seen and ended and run != seen[1]["run"] and ended < seen[1]["finished"]:
                    continue
                folder = self._hidden(run)
                if not folder.is_dir():
                    folder = self._shown(key) if self._shown(key).is_dir() else self._aside(key)
                for part, mark in _marks(folder).items():
                    rows += [(run, key.run_date, key.model_id, part, *line)
                             for line in mark["rejects"]]  # fmt: skip
        columns = ["run", "run_date", "model", "part", *REJECTS]
        return pd.DataFrame(sorted(rows, key=lambda row: (row[0], *row[3:])), columns=columns)


_LINE_KEYS = (
    "job", "run_date", "model_id", "config_digest", "data_digest", "parts", "part_size", "status",
    "started", "finished", "about", "summary", "parts_done", "rows", "rejects",
)  # fmt: skip


def _encoded(rows: Rows, model: str) -> bytes:
    """Rows as a Parquet file, with the model beside them and times in their zone."""
    frame = rows.frame.assign(model=model)
    if rows.clock is not None:
        for name in ("time", "cutoff"):
            if name in frame:
                frame[name] = frame[name].dt.tz_localize("UTC").dt.tz_convert(rows.clock)
    frame = frame[["model", *rows.frame.columns]]
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _rows_in(
    folder: Path,
    about: Mapping[str, Any],
    kind: Kind,
    model: str | None,
    series: Sequence[str] | None,
) -> list[pd.DataFrame]:
    """Rows of a run, part by part; none if it is of another model."""
    frames = []
    for part, mark in _marks(folder).items() if model in (None, about["model_id"]) else ():
        if mark["kind"] == kind:
            rows = pq.ParquetFile(folder / f"part-{part:05d}.parquet").read().to_pandas()
            rows = rows if series is None else rows[rows["series"].isin(series)]
            rows = rows.sort_values("time", kind="stable") if kind == "risk" else rows
            rows.insert(0, "run_date", _key(about).run_date)
            frames.append(rows)
    return frames


def _marks(folder: Path) -> dict[int, dict[str, Any]]:
    """Parts that are written, by their number."""
    if not folder.is_dir():
        return {}
    marks = {}
    for path in folder.iterdir():
        if found := _MARK.fullmatch(path.name):
            marks[int(found[1])] = json.loads(path.read_bytes())
    return dict(sorted(marks.items()))


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / _MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(found, dict) or {*found} != {"run", *_LINE_KEYS}:
        raise ValueError(f"{folder / _MANIFEST} is no manifest of a run")
    return found


def _counts(marks: Mapping[int, Mapping[str, Any]]) -> dict[str, int]:
    return {
        "parts_done": len(marks),
        "rows": sum(mark["rows"] for mark in marks.values()),
        "rejects": sum(len(mark["rejects"]) for mark in marks.values()),
    }


def _key(line: Mapping[str, Any]) -> RunKey:
    day = dt.date.fromisoformat(line["run_date"])
    return RunKey(line["job"], day, line["model_id"], line["config_digest"])


def _shelf(key: RunKey) -> RunKey | dt.date:
    """What is the same for runs of which one is seen: the date, but for fits, which show no row."""
    return key if key.model_id == FIT else key.run_date


def _shelves(lines: Mapping[str, Mapping[str, Any]]) -> dict[RunKey | dt.date, list[RunKey]]:
    """Keys of a ledger, those together of which one is seen."""
    shelves: dict[RunKey | dt.date, list[RunKey]] = {}
    for key in dict.fromkeys(map(_key, lines.values())):
        shelves.setdefault(_shelf(key), []).append(key)
    return shelves


def _key_values(key: RunKey) -> dict[str, Any]:
    return {
        "job": key.job,
        "run_date": key.run_date.isoformat(),
        "model_id": key.model_id,
        "config_digest": key.config_digest,
    }


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()
