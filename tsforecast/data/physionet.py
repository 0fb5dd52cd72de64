"""Two public sets of intensive-care stays, read from their original files.

Archives are read where they lie, and all files of a set are parsed as one text: a frame for every
patient would take minutes.
"""

from __future__ import annotations

import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first
from tsforecast.data.charted import on_grid
from tsforecast.data.panel import Floats, Ints
from tsforecast.data.vitals import nearest, note, plausible

__all__ = ["load_physionet2012", "load_physionet2019"]

_VARIABLE = "TSFORECAST_DATA"
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")

# ------------------------------------------------------------------------------------------- 2012

_DESCRIPTORS = ["Age", "Gender", "Height", "ICUType"]
_VARIABLES = [
    "Albumin",
    "ALP",
    "ALT",
    "AST",
    "Bilirubin",
    "BUN",
    "Cholesterol",
    "Creatinine",
    "DiasABP",
    "FiO2",
    "GCS",
    "Glucose",
    "HCO3",
    "HCT",
    "HR",
    "K",
    "Lactate",
    "MAP",
    "MechVent",
    "Mg",
    "Na",
    "NIDiasABP",
    "NIMAP",
    "NISysABP",
    "PaCO2",
    "PaO2",
    "pH",
    "Platelets",
    "RespRate",
    "SaO2",
    "SysABP",
    "Temp",
    "TroponinI",
    "TroponinT",
    "Urine",
    "WBC",
    "Weight",
]
_OUTCOMES = ["SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death"]
_NAMELESS = "rows without a variable's name"


def load_physionet2012(
    folder_or_archive: str | Path | None = None,
    *,
    outcomes: str | Path | None = None,
    grid: str | pd.Timedelta | None = None,
    rules: Mapping[Hashable, str] | None = None,
    clean: bool = True,
) -> pd.DataFrame:
    """Read the PhysioNet/CinC Challenge 2012: the first 48 hours of stays in intensive care.

    Silva, Moody, Scott, Celi and Mark (2012), "Predicting in-hospital mortality of ICU patients",
    Computing in Cardiology 39.

    Parameters
    ----------
    folder_or_archive : str or Path, optional
        A folder of the original ``.txt`` files, an archive of them (``.tar.gz``, ``.tar.xz``,
        ``.zip``), or a folder that holds such folders or archives named ``set-...``, all of which
        are read. Default: ``health/physionet2012`` in the folder named by the environment variable
        ``TSFORECAST_DATA``.
    outcomes : str or Path, optional
        The file of outcomes. Default: ``Outcomes-a.txt`` for ``set-a``, and so on, in the folder or
        beside the archive, if there is one.
    grid : str or Timedelta, optional
        ``"1h"``: rows at whole hours since admission, from 0 to the last measurement. A value
        enters the first of them at or after its time, never one before. Default: a row at each time
        at which something was measured.
    rules : mapping, optional
        Variable to ``"last"``, ``"first"``, ``"mean"``, ``"min"``, ``"max"`` or ``"sum"``: which of
        several values in an interval of `grid` counts. Default: the last, of urine the sum.
    clean : bool
        Mend units and remove impossible values, as `plausible` does (Temp -17.8, pH 735, HR 0).

    Returns
    -------
    DataFrame
        A panel with index ``(RecordID, time)``, the time since admission. Columns: the 37 variables
        measured over time (weight is one of them), all of them whether measured or not; the
        constants ``Age`` (years; 90 stands for 90 and older), ``Gender`` (1 male), ``Height`` (cm),
        ``ICUType`` (1 coronary, 2 cardiac surgery, 3 medical, 4 surgical); and, with outcomes,
        ``SAPS-I``, ``SOFA``, ``Length_of_stay`` (days), ``Survival`` (days from admission to death,
        NaN if none is known of) and ``In-hospital_death`` (0 or 1), constant in the stay. **All
        five are known after the stay alone: never inputs of a model.** Every stay has a row at time
        0, also one without any measurement. `cleaning_report` tells what was changed.

    Raises
    ------
    FileNotFoundError
        If there are no such files.
    DataError
        If a file is not of the format: the message names record and line; or a record occurs in
        several sets.
    ValueError
        If `grid` or `rules` cannot be.

    Notes
    -----
    -1 stands for missing in constants, weight and outcomes. Of several values of a variable at one
    time the last one in the file counts. Rows without a variable's name are passed over. Units are
    those of the source (labs as in the US); urine is the volume since the last reading.

    Examples
    --------
    >>> panel = load_physionet2012(grid="1h")  # doctest: +SKIP
    >>> panel.loc[132539, ["HR", "Temp", "Urine"]].head(2)  # doctest: +SKIP
    """
    if rules is not None and grid is None:
        raise bad_parameter("rules", expected="rules for a grid=, which is None", found=rules)
    given = _root(folder_or_archive, "physionet2012", "set-a.tar.gz")
    sets = _sets(given, ".txt", "set-")
    texts: list[bytes] = []
    ids: list[str] = []
    tables: list[pd.DataFrame] = []
    for place in sets:
        files = dict(_records(place, ".txt"))
        texts += [*files.values()]
        ids += [*files]
        found = Path(outcomes) if outcomes is not None else _beside(place)
        if found is not None and (outcomes is None or not tables):
            tables.append(_read_outcomes(found))
    if not ids:
        raise _no_records(given, "<RecordID>.txt")
    if twice := sorted(name for name, count in Counter(ids).items() if count > 1):
        raise _twice(twice)
    records = _whole_numbers(ids)
    panel, constants = _tables_2012(*_lines_2012(texts, records), records)
    if clean:
        panel, constants = plausible(panel), plausible(constants)
    if grid is not None:
        panel = on_grid(panel, grid, {"Urine": "sum", **(rules or {})})
    panel = _join_constants(panel, constants)
    if tables:
        panel = _join_constants(panel, _matched(pd.concat(tables), constants, given))
    return panel


def _lines_2012(texts: Sequence[bytes], records: Ints) -> tuple[pd.DataFrame, dict[str, Any]]:
    """All lines of all files that name a variable, in order, and notes on the others."""
    body, counts = _join(texts)
    names = ["time", "name", "value"]
    try:
        lines = pd.read_csv(
            io.BytesIO(body),
            header=None,
            names=names,
            dtype={"time": "category", "name": "category"},
            keep_default_na=False,
            na_values=[""],
            skip_blank_lines=False,
            quoting=3,
        )
    except pd.errors.ParserError:
        lines = pd.DataFrame()
    if len(lines) != counts.sum() or not isinstance(lines.index, pd.RangeIndex):
        raise _bad_line(texts, records)
    lacking = 2 * len(lines) - body.count(b",")  # pandas fills a line of fewer cells up
    if lacking and lacking != 2 * len(re.findall(rb"\n(?=\n)", body)):  # blank ones are none
        raise _bad_line(texts, records)
    record = np.repeat(records, counts)
    empty = lines["name"].isna().to_numpy()
    notes = {_NAMELESS: int((empty & lines["time"].notna().to_numpy()).sum())}
    known = {*_VARIABLES, *_DESCRIPTORS, "RecordID"}
    for name in lines["name"].cat.categories:
        if name not in known:
            at = np.flatnonzero((lines["name"] == name).to_numpy())
            raise fail(
                "unknown variable",
                expected="the variables of the challenge",
                found=f"{name!r} in {len(at)} lines",
                advice=f"{nearest(name, known)}Mend the file, or drop these lines.",
                series=record[at[0]],
                rows=[_line(lines, i) for i in at[:5]],
            )
    minute = _minutes(lines, record, ~empty)
    value = pd.to_numeric(lines["value"], errors="coerce")
    long = pd.DataFrame({"record": record, "minute": minute, "name": lines["name"], "value": value})
    long["word"] = value.isna() & lines["value"].notna()
    return long[~empty], notes


def _minutes(lines: pd.DataFrame, record: Ints, named: Any) -> Ints:
    """Minutes since admission; a line without a name may be without a time, too."""
    labels = lines["time"].cat.categories
    parts = labels.str.extract(r"^(\d+):([0-5]\d)$").astype("float64")
    of_label = (60 * parts[0] + parts[1]).to_numpy()
    codes = lines["time"].cat.codes.to_numpy()
    minute = np.append(of_label, np.nan)[codes]
    bad = np.flatnonzero(np.isnan(minute) & (named | (codes >= 0)))
    if len(bad):
        raise fail(
            "time cannot be read",
            expected="hours and minutes since admission, such as 07:30 or 48:00",
            found=f"{len(bad)} other lines",
            advice="Mend the file.",
            series=record[bad[0]],
            rows=[_line(lines, i) for i in bad[:5]],
        )
    minutes: Ints = np.nan_to_num(minute).astype(np.int64)
    return minutes


def _line(lines: pd.DataFrame, row: int) -> str:
    return ",".join("" if pd.isna(cell) else str(cell) for cell in lines.iloc[row])


def _tables_2012(
    lines: pd.DataFrame, notes: Mapping[str, Any], records: Ints
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the panel of the variables and the table of the constants."""
    record, minute = lines["record"].to_numpy(), lines["minute"].to_numpy()
    name, value = lines["name"], lines["value"].to_numpy()
    constant = name.isin(_DESCRIPTORS).to_numpy()
    value = np.where((value == -1) & (constant | (name == "Weight").to_numpy()), np.nan, value)
    known = ~np.isnan(value)
    measured = known & ~constant & (name != "RecordID").to_numpy()
    # the row at time 0 is that of the admission
    keys = np.unique(np.concatenate([_key(record[measured], minute[measured]), _key(records, 0)]))
    values, twice = _scatter(lines[measured], _key(record, minute)[measured], keys, _VARIABLES)
    index = pd.MultiIndex.from_arrays(
        [keys >> 32, pd.to_timedelta(keys & 0xFFFFFFFF, unit="m")], names=["RecordID", "time"]
    )
    panel = pd.DataFrame(values, index=index, columns=_VARIABLES)

    ids = np.sort(records)
    kept = known & constant
    table, _ = _scatter(lines[kept], record[kept], ids, _DESCRIPTORS)
    backwards = (np.diff(minute) < 0) & (np.diff(record) == 0)
    words = name[lines["word"]].value_counts()
    counts: dict[Hashable, dict[str, int]] = {
        variable: {"duplicates": int(twice[j]), "not_numeric": int(words.get(variable, 0))}
        for j, variable in enumerate(_VARIABLES)
    }
    more = {
        "lines out of order of time": int(backwards.sum()),
        "stays without measurements": np.setdiff1d(records, record[measured]).tolist(),
    }
    return (
        note(panel, counts, {**notes, **more}),
        pd.DataFrame(table, index=pd.Index(ids, name="RecordID"), columns=_DESCRIPTORS),
    )


def _key(record: Ints, minute: Any) -> Ints:
    """Record and minute as one number that sorts as the two do."""
    key: Ints = (record.astype(np.int64) << 32) + minute
    return key


def _scatter(
    lines: pd.DataFrame, key: Ints, keys: Ints, names: Sequence[str]
) -> tuple[Floats, Ints]:
    """Values of a long table as rows x names, the last of several, and how many were further ones.

    Parameters
    ----------
    lines : DataFrame
        With columns `name` and `value`, none of them missing.
    key, keys : ndarray of int64, shapes (L,) and (N,)
        The row of each line; all rows, sorted.
    names : sequence of str
        Columns.
    """
    column = pd.Index(names).get_indexer(pd.Index(lines["name"].astype("str")))
    values = np.full((len(keys), len(names)), np.nan)
    row = np.searchsorted(keys, key)
    values[row, column] = lines["value"].to_numpy()  # of repeated indices the last one stays
    known = (~np.isnan(values)).sum(axis=0)
    return values, np.bincount(column, minlength=len(names)) - known


def _join_constants(panel: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Give every row the constants of its series; the report of both."""
    rows = table.index.get_indexer(panel.index.get_level_values(0))
    columns = pd.DataFrame(
        table.to_numpy(dtype=np.float64)[rows], index=panel.index, columns=table.columns
    )
    joined = pd.concat([panel, columns], axis=1)
    joined.attrs = panel.attrs
    counts = table.attrs.get("report", {"variables": {}})["variables"]
    known = table.notna().sum()  # of stays, not of rows
    return note(joined, {name: {**row, "known": int(known[name])} for name, row in counts.items()})


def _beside(place: Path) -> Path | None:
    """Outcomes-a.txt for set-a.tar.gz, in the folder or beside it."""
    letter = _stem(place).rpartition("-")[2]
    name = f"Outcomes-{letter}.txt"
    for folder in (place, place.parent):
        if (folder / name).is_file():
            return folder / name
    inside = sorted(place.glob("Outcomes*.txt")) if place.is_dir() else []
    return inside[0] if len(inside) == 1 else None


def _read_outcomes(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"outcomes: expected a file, found none at {path}.")
    table = pd.read_csv(path)
    table.columns = table.columns.str.strip()
    wanted = ["RecordID", *_OUTCOMES]
    if missing := [name for name in wanted if name not in table]:
        raise fail(
            "columns not found in the outcomes",
            expected=f"columns {wanted}",
            found=f"{list(table.columns)}",
            advice=f"Missing: {missing}. Is {path.name} the file of outcomes?",
        )
    table = table[wanted].set_index("RecordID").astype("float64")
    return table.where(table >= 0)  # -1 is missing


def _matched(outcomes: pd.DataFrame, constants: pd.DataFrame, given: Path) -> pd.DataFrame:
    """Outcomes of the records read, NaN where there are none."""
    if not outcomes.index.isin(constants.index).any():
        raise fail(
            "outcomes of other stays",
            expected=f"outcomes of {first(constants.index)}",
            found=f"those of {first(outcomes.index)}",
            advice=f"Pass outcomes=, the file that belongs to {given.name}.",
        )
    if outcomes.index.has_duplicates:
        twice = outcomes.index[outcomes.index.duplicated()].unique()
        raise fail(
            "stays occur more than once in the outcomes",
            expected="one line for each",
            found=f"several for {first(twice)}",
            advice="Drop the copies.",
            series=twice[0],
        )
    return outcomes.reindex(constants.index)


def _whole_numbers(ids: Sequence[str]) -> Ints:
    words = [name for name in ids if not name.isdigit()]
    if words:
        raise fail(
            "file is not named by a record",
            expected="names such as 132539.txt",
            found=first(f"{name}.txt" for name in words),
            advice="Move other files out of the folder.",
        )
    return np.array(ids, dtype=np.int64)


def _bad_line(texts: Sequence[bytes], records: Ints) -> Exception:
    """Name the first line that is not time, name and value."""
    for text, record in zip(texts, records, strict=True):
        for number, line in enumerate(text.rstrip(b"\n").split(b"\n")[1:], 2):
            if line and line.count(b",") != 2:
                return fail(
                    "line is not of the format",
                    expected="Time,Parameter,Value",
                    found=repr(line.decode(errors="replace")[:80]),
                    advice="The file may be damaged: get it again.",
                    series=record,
                    rows=[f"line {number} of {record}.txt"],
                )
    return fail(
        "files cannot be read",
        expected="lines of Time,Parameter,Value",
        found="others",
        advice="They may be damaged: get them again.",
    )


# ------------------------------------------------------------------------------------------- 2019

_CONSTANTS_2019 = ["Age", "Gender", "Unit1", "Unit2", "HospAdmTime"]
_MEASURED_2019 = [
    "HR",
    "O2Sat",
    "Temp",
    "SBP",
    "MAP",
    "DBP",
    "Resp",
    "EtCO2",
    "BaseExcess",
    "HCO3",
    "FiO2",
    "pH",
    "PaCO2",
    "SaO2",
    "AST",
    "BUN",
    "Alkalinephos",
    "Calcium",
    "Chloride",
    "Creatinine",
    "Bilirubin_direct",
    "Glucose",
    "Lactate",
    "Magnesium",
    "Phosphate",
    "Potassium",
    "Bilirubin_total",
    "TroponinI",
    "Hct",
    "Hgb",
    "PTT",
    "WBC",
    "Fibrinogen",
    "Platelets",
]
_LABEL = "SepsisLabel"
_EARLY = 6  # hours by which the label stands before the onset


def load_physionet2019(
    folder_or_archive: str | Path | Sequence[str | Path] | None = None, *, clean: bool = True
) -> pd.DataFrame:
    """Read the PhysioNet/CinC Challenge 2019: hourly rows of intensive care, and sepsis.

    Reyna and others (2020), "Early prediction of sepsis from clinical data: the PhysioNet/Computing
    in Cardiology Challenge 2019", Critical Care Medicine 48.

    Parameters
    ----------
    folder_or_archive : str, Path or list of them, optional
        A folder of the original ``.psv`` files, an archive of them (``.zip``, ``.tar.xz``, ...), a
        folder that holds such folders or archives named ``training_set...``, all of which are read,
        or a list of any of these. Default: ``health/physionet2019`` in the folder named by the
        environment variable ``TSFORECAST_DATA``.
    clean : bool
        Mend units and remove impossible values, as `plausible` does (FiO2 from -50 to 4000).

    Returns
    -------
    DataFrame
        A panel with index ``(patient, time)``: the file's name, and ``ICULOS`` as hours since
        admission to intensive care. Columns: 34 vital signs and laboratory values, all of them
        whether measured or not (EtCO2 never is in hospital A); the constants ``Age`` (years; 100
        stands for 90 and older, and there is none in hospital A), ``Gender`` (1 male), ``Unit1``
        and ``Unit2`` (medical and surgical unit), ``HospAdmTime`` (hours from hospital admission,
        negative); ``SepsisLabel`` as given, 1 from 6 hours before the onset; ``onset``, 1 from the
        onset itself. With several sets also ``site``, a category: ``A`` for ``training_setA``, and
        so on. **Label and onset are what is predicted: never inputs of a model.**

    Raises
    ------
    FileNotFoundError
        If there are no such files.
    DataError
        If a file is not of the format, hours do not increase, or a label goes back to 0.

    Notes
    -----
    ``onset`` begins 6 hours after the first 1 of the label. Where the label is 1 in the very first
    row, the onset is not known: it was before, or within 6 hours; ``onset`` is 1 throughout, such a
    stay is left-censored, and `cleaning_report` names it. Where the record ends before those 6
    hours have passed, ``onset`` is 1 in its last row alone, and counted.

    **The length of a record leaks its label**: those of septic patients end soon after the onset.
    Nothing that looks at the end of a record, or at how many rows follow, may enter a model.

    Examples
    --------
    >>> panel = load_physionet2019()  # doctest: +SKIP
    >>> int(panel["onset"].groupby(level=0).max().sum())  # doctest: +SKIP
    1790
    """
    single = folder_or_archive is None or isinstance(folder_or_archive, (str, Path))
    given: Any = [folder_or_archive] if single else folder_or_archive
    files: dict[str, bytes] = {}
    sites: dict[str, str] = {}
    places: list[Path] = []
    for one in given:
        root = _root(one, "physionet2019", "training_setA.zip")
        root = root / "training" if (root / "training").is_dir() else root
        for place in _sets(root, ".psv", "training"):
            found = dict(_records(place, ".psv"))
            if not found:
                raise _no_records(root, "<patient>.psv")
            if twice := sorted(files.keys() & found.keys()):
                raise _twice(twice)
            files |= found
            sites |= dict.fromkeys(found, _site(place))
            places.append(place)
    ids = sorted(files)
    rows, counts = _rows_2019([files[name] for name in ids], ids)
    hours = _hours(rows["ICULOS"], ids, counts)
    time = pd.to_timedelta(hours, unit="h")
    index = pd.MultiIndex.from_arrays([np.repeat(ids, counts), time], names=["patient", "time"])
    panel = rows.drop(columns="ICULOS").set_axis(index, axis=0)
    notes: dict[str, Any] = {}
    if _LABEL in panel:
        panel["onset"], notes = _onset(panel[_LABEL].to_numpy(), hours, ids, counts)
    if len(places) > 1:
        of_stay = pd.Categorical([sites[name] for name in ids])
        panel["site"] = of_stay[np.repeat(np.arange(len(ids)), counts)]
    panel = note(panel, notes=notes)
    return plausible(panel) if clean else panel


def _rows_2019(texts: Sequence[bytes], ids: Sequence[str]) -> tuple[pd.DataFrame, Ints]:
    """All rows of all files, in order, and how many each file has."""
    header = texts[0].split(b"\n", 1)[0].strip()
    names = header.decode(errors="replace").split("|")
    wanted = [*_MEASURED_2019, *_CONSTANTS_2019, "ICULOS"]
    if missing := [name for name in wanted if name not in names]:
        raise fail(
            "columns not found",
            expected="the columns of the challenge, joined by |",
            found=f"{names[:5]} and so on",
            advice=f"Missing: {first(missing)}. {nearest(missing[0], names)}",
            series=ids[0],
        )
    for text, name in zip(texts, ids, strict=True):
        if text.split(b"\n", 1)[0].strip() != header:
            raise fail(
                "files differ in their columns",
                expected=f"those of {ids[0]}",
                found=text.split(b"\n", 1)[0].decode(errors="replace")[:80],
                advice="Read files of another format apart.",
                series=name,
            )
    body, counts = _join(texts)
    if not counts.all():
        empty = [name for name, count in zip(ids, counts, strict=True) if count == 0]
        raise fail(
            "files without rows",
            expected="at least one row in each",
            found=f"none in {first(empty)}",
            advice="Remove these files.",
            series=empty[0],
        )
    try:
        rows = pd.read_csv(
            io.BytesIO(body),
            sep="|",
            header=None,
            names=names,
            dtype="float64",
            skip_blank_lines=False,
            quoting=3,
            engine="c",
        )
    except ValueError as error:  # a line of more cells, or a word
        raise _bad_row(texts, ids, len(names)) from error
    # pandas fills a line of fewer cells up
    whole = body.count(b"|") == (len(names) - 1) * len(rows)
    if not whole or len(rows) != counts.sum() or not isinstance(rows.index, pd.RangeIndex):
        raise _bad_row(texts, ids, len(names))
    kept = [*_MEASURED_2019, *_CONSTANTS_2019, "ICULOS"] + [_LABEL] * (_LABEL in names)
    return rows[kept], counts


def _hours(given: pd.Series, ids: Sequence[str], counts: Ints) -> Ints:
    """Hours since admission, which increase in every stay."""
    hours = given.to_numpy()
    series = np.repeat(np.arange(len(ids)), counts)
    bad = np.isnan(hours) | (hours != np.rint(hours))
    bad[1:] |= (np.diff(hours) <= 0) & (np.diff(series) == 0)
    if bad.any():
        at = np.flatnonzero(bad)
        raise fail(
            "hours do not increase",
            expected="whole numbers, each above the one before",
            found=f"{len(at)} other rows",
            advice="The file may be damaged: get it again, or leave the patient out.",
            column="ICULOS",
            series=ids[int(series[at[0]])],
            rows=[f"ICULOS {hours[i]:g} after {hours[max(i - 1, 0)]:g}" for i in at[:5]],
        )
    return hours.astype(np.int64)


def _onset(
    label: Floats, hours: Ints, ids: Sequence[str], counts: Ints
) -> tuple[Floats, dict[str, Any]]:
    """Move the label from 6 hours before the onset to the onset, and say where it is not known.

    Parameters
    ----------
    label, hours : ndarray, shape (N,)
        0 or 1, and the time of the row.
    ids, counts : sequences of length S
        Names of the stays and their numbers of rows.
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    series = np.repeat(np.arange(len(ids)), counts)
    back = np.zeros(len(label), dtype=bool)
    back[1:] = (np.diff(label) < 0) & (np.diff(series) == 0)
    bad = np.flatnonzero(~np.isin(label, [0.0, 1.0]) | back)
    if len(bad):
        raise fail(
            "label cannot be used",
            expected="0, and 1 from some row to the last one",
            found=f"{len(bad)} other rows",
            advice="The file may be damaged: get it again, or leave the patient out.",
            column=_LABEL,
            series=ids[int(series[bad[0]])],
            rows=[f"ICULOS {hours[i]} = {label[i]:g}" for i in bad[:5]],
        )
    septic = np.maximum.reduceat(label, starts) == 1
    begins = starts + np.add.reduceat(
        (label == 0).astype(np.int64), starts
    )  # first row of the label
    begins = np.where(septic, begins, starts)
    last = starts + counts - 1
    censored = septic & (begins == starts)
    when = np.where(censored, hours[starts], hours[begins] + _EARLY)
    short = septic & ~censored & (when > hours[last])
    when = np.where(short, hours[last], when)
    onset = (np.repeat(septic, counts) & (hours >= np.repeat(when, counts))).astype(np.float64)
    notes = {
        "label on in the first row: onset not known, on throughout": [
            name for name, unknown in zip(ids, censored, strict=True) if unknown
        ],
        "record ends before the onset: on in the last row": int(short.sum()),
    }
    return onset, notes


def _bad_row(texts: Sequence[bytes], ids: Sequence[str], width: int) -> Exception:
    """Name the first row that is not numbers, as many as there are columns."""
    for text, name in zip(texts, ids, strict=True):
        for line in text.splitlines()[1:]:
            cells = line.split(b"|")
            try:
                if len(cells) == width and np.array(cells, dtype=np.float64).size:
                    continue
            except ValueError:
                pass
            return fail(
                "row is not of the format",
                expected=f"{width} numbers or NaN, joined by |",
                found=repr(line.decode(errors="replace")[:80]),
                advice="The file may be damaged: get it again, or leave the patient out.",
                series=name,
            )
    return fail(
        "files cannot be read",
        expected=f"rows of {width} numbers or NaN, joined by |",
        found="others",
        advice="They may be damaged: get them again.",
    )


def _site(place: Path) -> str:
    """A for training_setA; else the name of the folder or archive."""
    stem = _stem(place)
    return stem.rpartition("set")[2].strip("_-") or stem


# ----------------------------------------------------------------------------- folders and archives


def _root(given: str | Path | None, name: str, example: str) -> Path:
    """Find the folder or archive meant."""
    if given is None:
        root = os.environ.get(_VARIABLE)
        looked = f"looked in {root}" if root else f"{_VARIABLE} is not set"
        place = Path(root).expanduser() / "health" / name if root else None
    else:
        place = Path(given).expanduser()
        looked = f"looked at {place}"
        if (place / "health" / name).is_dir():
            place = place / "health" / name
    if place is None or not place.exists():
        raise FileNotFoundError(
            f"optional data missing: expected a folder or archive of the original files, such as "
            f"{example}, found none ({looked}). They are not shipped: fetch_{name}(folder) gets "
            f"them, see datasets/{name}.md. Pass the folder, or put it into health/{name} of the "
            f"folder named by the environment variable {_VARIABLE}."
        )
    return place


def _sets(place: Path, suffix: str, prefix: str) -> list[Path]:
    """Folders and archives of records: `place` itself, or what it holds."""
    if place.is_file() or any(True for _ in _own_files(place, suffix)):
        return [place]
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):  # a set that lies there in two forms is read once
        whole = path.is_dir() or path.name.endswith(_ARCHIVES)
        if path.name.startswith(prefix) and whole:
            found.setdefault(_stem(path), path)
    if not found:
        raise _no_records(place, f"{prefix}*, or records *{suffix}")
    return list(found.values())


def _own_files(place: Path, suffix: str) -> Iterator[Path]:
    """Files of records in a folder, in order."""
    for path in sorted(place.glob(f"*{suffix}")):
        if _is_record(path.name, suffix) and path.is_file():
            yield path


def _is_record(name: str, suffix: str) -> bool:
    return name.endswith(suffix) and not name.startswith((".", "Outcomes"))


def _records(place: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Name and text of every record; archives are read in memory, nothing is unpacked."""
    seen: set[str] = set()
    for name, text in _texts(place, suffix):
        stem = PurePosixPath(name).name.removesuffix(suffix)
        if stem in seen:
            raise _twice([stem])
        seen.add(stem)
        yield stem, text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _texts(place: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    if place.is_dir():
        for path in _own_files(place, suffix):
            yield path.name, path.read_bytes()
        return
    try:
        if place.name.endswith(".zip"):
            with zipfile.ZipFile(place) as archive:
                for info in archive.infolist():
                    if _is_record(PurePosixPath(info.filename).name, suffix):
                        yield info.filename, archive.read(info)
            return
        with tarfile.open(place) as tar:
            for member in tar:
                if member.isfile() and _is_record(PurePosixPath(member.name).name, suffix):
                    content = tar.extractfile(member)
                    yield member.name, b"" if content is None else content.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error) as error:
        raise fail(
            "archive cannot be read",
            expected="a .tar.gz, .tar.xz or .zip that is whole",
            found=f"{place.name}, of which {type(error).__name__}: {error}",
            advice="Get it again.",
        ) from error


def _join(texts: Sequence[bytes]) -> tuple[bytes, Ints]:
    """One text of all files without their first lines, and how many lines each gives to it."""
    bodies = [text.partition(b"\n")[2].strip(b"\n") for text in texts]
    bodies = [body + b"\n" if body else b"" for body in bodies]
    counts = np.array([body.count(b"\n") for body in bodies], dtype=np.int64)
    return b"".join(bodies), counts


def _stem(place: Path) -> str:
    """Name of a folder or archive without the endings of archives."""
    for ending in _ARCHIVES[::-1]:
        if place.name.endswith(ending):
            return place.name.removesuffix(ending)
    return place.name


def _no_records(place: Path, expected: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"no records: expected files {expected} in a folder or archive, found none in {place}. "
        "Pass the folder that holds them."
    )


def _twice(names: Sequence[Any]) -> Exception:
    return fail(
        "records occur more than once",
        expected="one file for each",
        found=f"several for {first(names)}",
        advice="Remove the copies.",
        series=names[0],
    )
