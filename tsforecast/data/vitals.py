"""Vital signs and laboratory values: names, units, and what cannot be true of an adult.

The limits are hard ones: outside of them lies a loose cable, a slip of the pen or another unit, not
a patient.  What is merely rare, and often the very thing to be alarmed about, lies inside.  Each
value is judged by itself: nothing is measured over the rows, so that cleaning cannot look ahead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, fail, first
from tsforecast.data.panel import is_category

__all__ = ["VITALS", "Slip", "Vital", "cleaning_report", "nearest", "note", "plausible", "vital_of"]

Floats = npt.NDArray[np.float64]

_COUNTS = ("below", "above", "converted", "duplicates", "not_numeric")


@dataclass(frozen=True)
class Slip:
    """Another unit, or a lost decimal point, that shows in the value alone.

    Attributes
    ----------
    low, high : float
        What lies from `low` to `high` was written in that way.
    factor, offset : float
        The value meant is ``(value - offset) * factor``.
    what : str
        In words.
    """

    low: float
    high: float
    factor: float
    offset: float = 0.0
    what: str = ""


@dataclass(frozen=True)
class Vital:
    """What is known of a vital sign or laboratory value.

    Attributes
    ----------
    name, unit : str
        Name and unit used here.
    low, high : float
        Lowest and highest value that can be true of an adult, both included.
    aliases : tuple of str
        Other names; capitals, blanks and punctuation make no difference, but to names of one or
        two letters, whose capitals must be those given here: ``pt`` may number patients.
    log : bool
        Whether it is positive and skewed, so that its logarithm is the better input.
    slips : tuple of Slip
        Units that are mended.
    source : str
        Where the limits come from.
    """

    name: str
    unit: str
    low: float
    high: float
    aliases: tuple[str, ...] = ()
    log: bool = False
    slips: tuple[Slip, ...] = ()
    source: str = ""

    def clean(self, values: Floats) -> tuple[Floats, dict[str, int]]:
        """Mend units, make NaN of what is out of range, and count.

        Parameters
        ----------
        values : ndarray, shape (N,)
            NaN where missing.

        Returns
        -------
        cleaned : ndarray, shape (N,)
            A new array.
        counts : dict
            How many values were ``below`` and ``above`` the range, and ``converted``.
        """
        cleaned = np.array(values, dtype=np.float64)
        converted = 0
        for slip in self.slips:
            other = (values >= slip.low) & (values <= slip.high)
            cleaned[other] = (values[other] - slip.offset) * slip.factor
            converted += int(other.sum())
        below, above = cleaned < self.low, cleaned > self.high
        cleaned[below | above] = np.nan
        counts = {"below": int(below.sum()), "above": int(above.sum()), "converted": converted}
        return cleaned, counts


# why a limit stands where it does
_DEFINED = "by definition"
_SENSOR = "below it a sensor that is off or flushed, above it the end of the monitor's scale"
_ASSAY = "beyond the extremes reported of living adults, or below what assays resolve"
_BODY = "beyond the extremes of adults"

_FAHRENHEIT = Slip(77.0, 111.2, 5 / 9, 32.0, "degrees F")
_PERCENT = Slip(20.0, 100.0, 0.01, what="percent")
_SATURATION = Slip(0.2, 1.0, 100.0, what="fraction")
_HEMATOCRIT = Slip(0.05, 0.75, 100.0, what="fraction")
_PH = (
    Slip(65.0, 80.0, 0.1, what="decimal point one to the right"),
    Slip(650.0, 800.0, 0.01, what="no decimal point"),
)
_HEIGHT = (
    Slip(1.2, 2.3, 100.0, what="metres"),
    Slip(48.0, 90.0, 2.54, what="inches"),
    Slip(305.0, 584.0, 1 / 2.54, what="inches turned into cm twice"),
)

# PhysioNet 2012 and 2019, labels of MIMIC-III and -IV (d_items, d_labitems), LOINC, common names
_TABLE = (
    Vital(
        "heart_rate",
        "1/min",
        10,
        300,
        ("HR", "hr", "Heart Rate", "Pulse", "Pulse Rate", "8867-4"),
        source=_SENSOR,
    ),
    Vital(
        "resp_rate",
        "1/min",
        1,
        80,
        ("Resp", "RespRate", "RR", "rr", "Respiratory Rate", "Respiratory Rate (Total)", "9279-1"),
        source=_SENSOR,
    ),
    Vital(
        "sbp",
        "mmHg",
        20,
        300,
        (
            "SysABP",
            "NISysABP",
            "SysBP",
            "Systolic",
            "Systolic blood pressure",
            "ABP sys",
            "NIBP sys",
            "Arterial Blood Pressure systolic",
            "Non Invasive Blood Pressure systolic",
            "ART BP Systolic",
            "8480-6",
        ),
        source=_SENSOR,
    ),
    Vital(
        "dbp",
        "mmHg",
        5,
        225,
        (
            "DiasABP",
            "NIDiasABP",
            "DiasBP",
            "Diastolic",
            "Diastolic blood pressure",
            "ABP dia",
            "NIBP dia",
            "Arterial Blood Pressure diastolic",
            "Non Invasive Blood Pressure diastolic",
            "ART BP Diastolic",
            "8462-4",
        ),
        source=_SENSOR,
    ),
    Vital(
        "map",
        "mmHg",
        10,
        250,
        (
            "MeanABP",
            "NIMAP",
            "MeanBP",
            "MBP",
            "Mean arterial pressure",
            "Mean blood pressure",
            "ABP mean",
            "NIBP mean",
            "Arterial Blood Pressure mean",
            "Non Invasive Blood Pressure mean",
            "ART BP Mean",
            "8478-0",
        ),
        source=_SENSOR,
    ),
    Vital(
        "spo2",
        "%",
        20,
        100,
        ("O2Sat", "Pulse oximetry", "O2 saturation pulseoxymetry", "Oxygen saturation", "59408-5")
        + ("2708-6",),
        slips=(_SATURATION,),
        source="100 by definition; below 20 no pulse oximeter reads anything",
    ),
    Vital(
        "sao2",
        "%",
        20,
        100,
        ("Arterial O2 Saturation", "Arterial oxygen saturation"),
        slips=(_SATURATION,),
        source="100 by definition; 20 as for SpO2",
    ),
    Vital(
        "temperature",
        "degrees C",
        25,
        44,
        (
            "Temp",
            "Body temperature",
            "Temperature Celsius",
            "Temperature Fahrenheit",
            "Temperature C",
            "Temperature F",
            "8310-5",
        ),
        slips=(_FAHRENHEIT,),
        source="deep accidental hypothermia; above 44 proteins do not last",
    ),
    Vital("gcs", "points", 3, 15, ("GCS Total", "Glasgow Coma Scale", "9269-2"), source=_DEFINED),
    Vital("gcs_eye", "points", 1, 4, ("GCS - Eye Opening",), source=_DEFINED),
    Vital("gcs_verbal", "points", 1, 5, ("GCS - Verbal Response",), source=_DEFINED),
    Vital("gcs_motor", "points", 1, 6, ("GCS - Motor Response",), source=_DEFINED),
    Vital(
        "fio2",
        "fraction",
        0.2,
        1.0,
        (
            "Inspired O2 Fraction",
            "Fraction inspired oxygen",
            "Fraction of inspired oxygen",
            "Inspired oxygen",
            "3150-6",
        ),
        slips=(_PERCENT,),
        source="room air (rounded) to pure oxygen",
    ),
    Vital("mech_vent", "0 or 1", 0, 1, ("MechVent", "Mechanical ventilation"), source=_DEFINED),
    Vital("etco2", "mmHg", 1, 150, ("End tidal CO2", "EtCO2"), source=_SENSOR),
    Vital("urine", "mL", 0, 10_000, ("Urine output", "UrineOutput"), source=_BODY),
    Vital("weight", "kg", 20, 400, ("Admission Weight (Kg)", "Daily Weight"), source=_BODY),
    Vital("height", "cm", 120, 230, ("Height (cm)",), slips=_HEIGHT, source=_BODY),
    Vital("ph", "pH", 6.5, 8.0, ("pH", "PH", "Arterial pH", "2744-1"), slips=_PH, source=_ASSAY),
    Vital("paco2", "mmHg", 5, 250, ("pCO2", "Arterial CO2 Pressure"), source=_ASSAY),
    Vital("pao2", "mmHg", 10, 760, ("pO2", "Arterial O2 pressure"), log=True, source=_ASSAY),
    Vital("base_excess", "mmol/L", -50, 50, ("BaseExcess", "BE"), source=_ASSAY),
    Vital("bicarbonate", "mmol/L", 1, 70, ("HCO3", "Bicarb"), source=_ASSAY),
    Vital("lactate", "mmol/L", 0.1, 50, ("Lactic acid", "2524-7"), log=True, source=_ASSAY),
    Vital("sodium", "mmol/L", 80, 220, ("Na", "2951-2"), source=_ASSAY),
    Vital("potassium", "mmol/L", 0.8, 15, ("K", "2823-3"), source=_ASSAY),
    Vital("chloride", "mmol/L", 50, 180, ("Cl", "2075-0"), source=_ASSAY),
    Vital("calcium", "mg/dL", 2, 30, ("Ca", "Calcium, Total", "17861-6"), source=_ASSAY),
    Vital("magnesium", "mg/dL", 0.2, 20, ("Mg",), source=_ASSAY),
    Vital("phosphate", "mg/dL", 0.2, 25, ("Phosphorus", "PO4"), log=True, source=_ASSAY),
    Vital("anion_gap", "mmol/L", -20, 70, ("AnionGap",), source=_ASSAY),
    Vital("glucose", "mg/dL", 5, 3000, ("Blood glucose", "2345-7"), log=True, source=_ASSAY),
    Vital("bun", "mg/dL", 1, 300, ("Urea Nitrogen", "3094-0"), log=True, source=_ASSAY),
    Vital("creatinine", "mg/dL", 0.1, 50, ("Creat", "2160-0"), log=True, source=_ASSAY),
    Vital("albumin", "g/dL", 0.5, 8, ("1751-7",), source=_ASSAY),
    Vital(
        "bilirubin_total",
        "mg/dL",
        0.1,
        100,
        ("Bilirubin", "Bilirubin, Total", "1975-2"),
        log=True,
        source=_ASSAY,
    ),
    Vital("bilirubin_direct", "mg/dL", 0.01, 80, ("Bilirubin, Direct",), log=True, source=_ASSAY),
    Vital(
        "alp", "IU/L", 1, 10_000, ("Alkalinephos", "Alkaline Phosphatase"), log=True, source=_ASSAY
    ),
    Vital(
        "alt",
        "IU/L",
        1,
        50_000,
        ("SGPT", "Alanine Aminotransferase", "Alanine Aminotransferase (ALT)"),
        log=True,
        source=_ASSAY,
    ),
    Vital(
        "ast",
        "IU/L",
        1,
        50_000,
        ("SGOT", "Aspartate Aminotransferase", "Asparate Aminotransferase (AST)"),
        log=True,
        source=_ASSAY,
    ),
    Vital("cholesterol", "mg/dL", 10, 1500, ("Cholesterol, Total",), source=_ASSAY),
    Vital("troponin_i", "ng/mL", 0, 1000, ("TroponinI", "TropI"), source=_ASSAY),
    Vital("troponin_t", "ng/mL", 0, 100, ("TroponinT", "TropT"), source=_ASSAY),
    Vital(
        "wbc",
        "1e9/L",
        0.01,
        1000,
        ("White Blood Cells", "White blood cell count", "6690-2"),
        log=True,
        source=_ASSAY,
    ),
    Vital("hemoglobin", "g/dL", 1, 28, ("Hgb", "Hb", "718-7"), source=_ASSAY),
    Vital("hematocrit", "%", 5, 75, ("Hct", "4544-3"), slips=(_HEMATOCRIT,), source=_ASSAY),
    Vital("platelets", "1e9/L", 1, 3000, ("Platelet Count", "777-3"), log=True, source=_ASSAY),
    Vital("ptt", "s", 10, 200, ("aPTT",), log=True, source=_ASSAY),
    Vital("prothrombin_time", "s", 5, 200, ("PT",), log=True, source=_ASSAY),
    Vital("inr", "ratio", 0.5, 25, ("INR(PT)",), log=True, source=_ASSAY),
    Vital("fibrinogen", "mg/dL", 10, 2000, ("Fibrinogen, Functional",), log=True, source=_ASSAY),
)

VITALS: dict[str, Vital] = {vital.name: vital for vital in _TABLE}


def vital_of(name: Hashable) -> Vital | None:
    """Find a vital sign or laboratory value by one of its names.

    Parameters
    ----------
    name : hashable
        A column's name: blanks and punctuation make no difference, nor do capitals in names of
        three letters or more. ``K`` is potassium and ``PT`` the prothrombin time, ``k`` and ``pt``
        are left alone.

    Returns
    -------
    Vital or None
        None if the table `VITALS` does not have it.

    Examples
    --------
    >>> vital_of("O2Sat").name, vital_of("NISysABP").name, vital_of("SepsisLabel")
    ('spo2', 'sbp', None)
    """
    return _by_alias().get(_plain(name)) if isinstance(name, str) else None


def _plain(name: str) -> str:
    letters = re.sub(r"[^a-zA-Z0-9]", "", name)
    return letters if len(letters) <= 2 else letters.lower()  # "pt", "k" are names of much else


@cache
def _by_alias() -> dict[str, Vital]:
    return {_plain(name): vital for vital in _TABLE for name in (vital.name, *vital.aliases)}


def nearest(name: object, known: Iterable[object]) -> str:
    """Give the advice ``Did you mean 'HR'?``, or nothing if no known name is near."""
    texts = {str(other).lower(): str(other) for other in known}
    close = difflib.get_close_matches(str(name).lower(), list(texts), n=1)
    return f"Did you mean {texts[close[0]]!r}? " if close else ""


def plausible(
    panel: pd.DataFrame,
    vitals: Mapping[Hashable, Vital | tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Mend units and remove values that cannot be true.

    Temperatures in degrees F become degrees C, inspired oxygen in percent a fraction, saturations
    and hematocrit given as fractions percent, a pH without its decimal point gets it back, and
    heights in inches or metres become cm; what is then out of the range of `VITALS` becomes NaN.

    Parameters
    ----------
    panel : DataFrame
        A panel, or any frame with a column for each variable.
    vitals : mapping, optional
        Column to `Vital` or to (lowest, highest) value: beside the table, and before it. Columns
        that neither knows are left as they are.

    Returns
    -------
    DataFrame
        A new frame. What was done is counted in its ``attrs``, see `cleaning_report`.

    Raises
    ------
    DataError
        If `vitals` names a column that is not there.
    ValueError
        If it holds anything but a `Vital` or two numbers in order.

    Notes
    -----
    A value alone decides, so a forecast cannot learn from it what comes later, and a row gets the
    same live as in training. The ranges are those of adults.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"HR": [80.0, 0.0], "Temp": [98.6, 37.2], "FiO2": [0.5, 40.0]})
    >>> clean = plausible(panel)
    >>> clean
         HR  Temp  FiO2
    0  80.0  37.0   0.5
    1   NaN  37.2   0.4
    >>> cleaning_report(clean)[["below", "above", "converted"]]
              below  above  converted
    variable
    HR            1      0          0
    Temp          0      0          1
    FiO2          0      0          1
    """
    own = {} if vitals is None else {name: _as_vital(name, v) for name, v in vitals.items()}
    if lost := [name for name in own if name not in panel]:
        raise fail(
            "columns not found",
            expected="columns of the panel",
            found=f"{first(map(repr, lost))} in vitals=",
            advice=f"{nearest(lost[0], panel.columns)}The panel has {list(panel.columns)}.",
        )
    columns: dict[Hashable, Floats] = {}
    counts = {}
    for name in panel:
        vital = own.get(name) or vital_of(name)
        if vital is None or is_category(panel[name]):
            continue
        values = panel[name].to_numpy(dtype=np.float64, na_value=np.nan)
        columns[name], counts[name] = vital.clean(values)
    cleaned = panel.copy(deep=False)  # copy on write: the panel itself stays
    for name, values in columns.items():
        cleaned[name] = values
    return note(cleaned, counts)


def _as_vital(name: Hashable, given: Any) -> Vital:
    if isinstance(given, Vital):
        return given
    try:
        low, high = (float(edge) for edge in given)
        if not low <= high:
            raise ValueError
    except (TypeError, ValueError):
        raise bad_parameter(
            "vitals", expected=f"a Vital or (lowest, highest) for {name!r}", found=given
        ) from None
    known = vital_of(name) or Vital(str(name), "", low, high)
    return replace(known, low=low, high=high, source="as given")


def note(
    panel: pd.DataFrame,
    counts: Mapping[Hashable, Mapping[str, int]] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Add counts per variable, and notes on the whole, to the report in ``attrs``; in place.

    It is kept as plain numbers and lists: pandas compares and copies ``attrs``, which frames in
    them would not survive.
    """
    report = panel.attrs.get("report", {"variables": {}, "notes": {}})
    variables = {name: dict(row) for name, row in report["variables"].items()}
    for name, new in (counts or {}).items():
        row = variables.setdefault(name, {})
        for what, count in new.items():
            row[what] = row.get(what, 0) + int(count)
    panel.attrs["report"] = {
        "variables": variables,
        "notes": {**report["notes"], **(notes or {})},
    }
    return panel


def cleaning_report(panel: pd.DataFrame) -> pd.DataFrame:
    """Give what a reader, or `plausible`, has changed in the values of a panel.

    Parameters
    ----------
    panel : DataFrame
        As `plausible`, `long_to_panel` or a loader of clinical data gave it. Its ``attrs`` carry
        the report; operations of pandas that drop them lose it.

    Returns
    -------
    DataFrame
        One row per variable: `unit` (empty, if the table `VITALS` does not know the name), `known`
        (values there are now; of a constant, in stays), `below` and `above` (made NaN, as out of
        range), `converted` (from another unit), `duplicates` (further values for the same time),
        `not_numeric` (words in place of numbers, made NaN). ``attrs["notes"]`` says what is true of
        the whole: rows without a variable's name, stays without measurements, and so on.

    Raises
    ------
    DataError
        If the panel carries no report.

    Examples
    --------
    >>> import pandas as pd
    >>> cleaning_report(plausible(pd.DataFrame({"pH": [7.4, 735.0, 0.1]}))).T
    variable    pH
    unit        pH
    known        2
    below        1
    above        0
    converted    1
    duplicates   0
    not_numeric  0
    """
    if "report" not in panel.attrs:
        raise fail(
            "no report",
            expected="a panel that plausible, long_to_panel or a loader gave",
            found="attrs without a report",
            advice="Ask for it before operations that drop attrs, or call plausible(panel).",
        )
    report = panel.attrs["report"]
    rows = []
    for name, counts in report["variables"].items():
        vital = vital_of(name)
        row: dict[str, Any] = {"variable": name, "unit": "" if vital is None else vital.unit}
        row["known"] = int(panel[name].notna().sum()) if name in panel else 0
        row["known"] = counts.get("known", row["known"])
        rows.append(row | {what: counts.get(what, 0) for what in _COUNTS})
    names = ["variable", "unit", "known", *_COUNTS]
    table = pd.DataFrame(rows, columns=names).set_index("variable")
    table.attrs["notes"] = report["notes"]
    return table
