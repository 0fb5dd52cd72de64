"""The National Early Warning Score 2 (NEWS2) of every row.

The chart is that of the Royal College of Physicians: National Early Warning Score (NEWS) 2.
Standardising the assessment of acute-illness severity in the NHS. Updated report of a working
party. London: RCP, 2017, chart 1.  It is a score for adults, read by a person at the bedside; made
from a record it is what that person would have seen, no more.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsforecast._checks import bad_parameter, choice, fail, first
from tsforecast.data.panel import (
    Floats,
    Layout,
    as_panel,
    forward_fill,
    gap_hours,
    is_category,
    layout_of,
)
from tsforecast.data.vitals import VITALS, nearest, vital_of

__all__ = ["carry_limit", "last_known", "news2", "news2_inputs", "news2_points", "numbers_of"]

Names = Mapping[str, Hashable | Sequence[Hashable] | None]

_CARRIED = 24.0  # hours, or steps where time is a whole number


class _Row(NamedTuple):
    """One row of the chart: the last value of each cell but the open one, and the points."""

    highest: tuple[float, ...]
    points: tuple[int, ...]
    decimals: int = 0


_CHART = {
    "resp_rate": _Row((8, 11, 20, 24), (3, 1, 0, 2, 3)),
    "sbp": _Row((90, 100, 110, 219), (3, 2, 1, 0, 3)),
    "heart_rate": _Row((40, 50, 90, 110, 130), (3, 1, 0, 1, 2, 3)),
    "temperature": _Row((35.0, 36.0, 38.0, 39.0), (3, 1, 0, 1, 2), decimals=1),
}
_SPO2_SCALE_1 = _Row((91, 93, 95), (3, 2, 1, 0))
_SPO2_SCALE_2_ON_AIR = _Row((83, 85, 87), (3, 2, 1, 0))
_SPO2_SCALE_2_ON_OXYGEN = _Row((83, 85, 87, 92, 94, 96), (3, 2, 1, 0, 1, 2, 3))
_HIGHEST_GCS = 15
_OXYGEN_POINTS, _ALTERED_POINTS = 2, 3
_ROOM_AIR, _LEAST_PERCENT = 0.21, 20

# the parameters in the order of the chart, and the vital signs that they are read from: all those
# of one group, and those of a later group only where a panel has none of the earlier ones
_SOURCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "resp_rate": (("resp_rate",),),
    "spo2": (("spo2",), ("sao2",)),
    "oxygen": (("oxygen", "fio2", "mech_vent"),),
    "sbp": (("sbp",),),
    "heart_rate": (("heart_rate",),),
    "consciousness": (("acvpu", "gcs"),),
    "temperature": (("temperature",),),
}
# names that the table of vital signs does not have
_MORE_NAMES = {
    "oxygen": ("oxygen", "supplementaloxygen", "onoxygen", "o2therapy", "oxygentherapy"),
    "acvpu": ("acvpu", "avpu", "consciousness", "levelofconsciousness"),
}


def news2_points(
    panel: pd.DataFrame,
    *,
    names: Names | None = None,
    scale: Literal[1, 2] = 1,
    max_age: Any = None,
) -> pd.DataFrame:
    """Give the points of the NEWS2 chart for each parameter, at every row.

    Parameters
    ----------
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names. Respiration rate and
        pulse per minute, SpO2 in %, systolic pressure in mmHg, temperature in degrees C.
    names : dict, optional
        Column, or list of columns, of a parameter whose column is not found by its name, such as
        ``{"sbp": "ART"}``; None leaves the parameter out. The parameters are ``resp_rate, spo2,
        oxygen, sbp, heart_rate, consciousness, temperature``. Names of PhysioNet 2012 and 2019,
        of MIMIC and common ones are known (see `VITALS`).
    scale : {1, 2}
        SpO2 scale. 2 is for patients with hypercapnic respiratory failure whose target is 88 to
        92 %, on a clinician's decision: score them apart from the others.
    max_age : Timedelta, str or int, optional
        How long a measured value counts. Default: 24 hours (24 steps, where time is a whole
        number).

    Returns
    -------
    DataFrame
        On the index of ``as_panel(panel)``, float64: the seven parameters' points, `total` (0 to
        20), and `missing`, how many of the seven have no value at the row. These give 0 points,
        so that a total is a lower bound where something is missing.
        ``attrs["missing_inputs"]`` names the parameters for which the panel has no column.

    Raises
    ------
    DataError
        If the panel has none of the columns, or not one of those in `names`.
    ValueError
        If `names`, `scale` or `max_age` is wrong.

    Notes
    -----
    A row has the last known value of each parameter, whichever of its columns it stands in (of an
    invasive and a cuff pressure, the newer one). Values that cannot be true are left out and
    units mended as `plausible` does. A value is rounded as it would be charted, to whole numbers,
    the temperature to 0.1 degrees, halves up.

    *Oxygen*: FiO2 above 0.21, mechanical ventilation, or a column of 0 and 1 or of litres a minute
    called `oxygen`; any one of them is enough. *Consciousness*: GCS below 15, or a column `acvpu`
    of categories, all but A(lert) altered, or of numbers, all but 0 altered. New confusion and old
    look alike in a GCS.

    Examples
    --------
    >>> import pandas as pd
    >>> hours = pd.to_timedelta([0, 1], unit="h")
    >>> stay = pd.DataFrame(
    ...     {"HR": [95.0, 132], "Resp": [22.0, 26], "SBP": [118.0, 99], "O2Sat": [95.0, None],
    ...      "Temp": [38.4, None], "FiO2": [0.21, 0.4]}, index=hours)
    >>> points = news2_points(stay)
    >>> points.T.astype(int).to_string(header=False).splitlines()[:3]
    ['resp_rate       2   3', 'spo2            1   1', 'oxygen          0   2']
    >>> points["total"].tolist(), points["missing"].tolist(), points.attrs["missing_inputs"]
    ([5.0, 12.0], [1.0, 1.0], ['consciousness'])
    """
    choice("scale", scale, (1, 2))
    panel = as_panel(panel)
    layout = layout_of(panel)
    limit = carry_limit(max_age, layout)
    found = news2_inputs(panel, names=names)
    values = {name: _known(panel, layout, name, columns, limit) for name, columns in found.items()}
    points = {name: np.zeros(layout.n_rows) for name in _SOURCES}
    for name, row in _CHART.items():
        points[name] = _read(row, values[name])
    points["oxygen"] = np.where(values["oxygen"] == 1, float(_OXYGEN_POINTS), 0.0)
    points["consciousness"] = np.where(values["consciousness"] == 1, float(_ALTERED_POINTS), 0.0)
    if scale == 1:
        points["spo2"] = _read(_SPO2_SCALE_1, values["spo2"])
    else:
        on_air, on_oxygen = (
            _read(row, values["spo2"]) for row in (_SPO2_SCALE_2_ON_AIR, _SPO2_SCALE_2_ON_OXYGEN)
        )
        points["spo2"] = np.where(values["oxygen"] == 1, on_oxygen, on_air)
    table = pd.DataFrame(points, index=panel.index)
    table["total"] = np.sum(list(points.values()), axis=0)
    table["missing"] = np.sum([np.isnan(of) for of in values.values()], axis=0, dtype=np.float64)
    table.attrs = {"missing_inputs": [name for name, columns in found.items() if not columns]}
    return table


def news2(
    panel: pd.DataFrame,
    *,
    names: Names | None = None,
    scale: Literal[1, 2] = 1,
    max_age: Any = None,
) -> pd.Series:
    """Give the NEWS2 total of every row: 0 to 20, a lower bound where inputs are missing.

    Parameters
    ----------
    panel, names, scale, max_age
        As in `news2_points`, which also says what is missing.

    Returns
    -------
    Series
        Named ``NEWS2``, on the index of ``as_panel(panel)``.

    Raises
    ------
    DataError, ValueError
        As `news2_points`.

    Notes
    -----
    The chart asks for an urgent review from 5 on, an emergency one from 7 on (RCP 2017, chart 2;
    also a single parameter with 3 points, which a total does not show).

    Examples
    --------
    >>> import pandas as pd
    >>> hours = pd.to_timedelta([0, 1], unit="h")
    >>> news2(pd.DataFrame({"HR": [88.0, 115], "Temp": [37.0, 39.2]}, index=hours)).tolist()
    [0.0, 4.0]
    """
    points = news2_points(panel, names=names, scale=scale, max_age=max_age)
    return points["total"].rename("NEWS2")


def news2_inputs(panel: pd.DataFrame, *, names: Names | None = None) -> dict[str, list[Hashable]]:
    """Find the columns of a panel from which NEWS2 is read.

    Parameters
    ----------
    panel : DataFrame
        A panel.
    names : dict, optional
        As in `news2_points`.

    Returns
    -------
    dict
        The columns of each of the seven parameters; of several that are measured in one row the
        first counts. An empty list: the panel has none.

    Raises
    ------
    DataError
        If none of the seven has a column, or a column of `names` is not there.
    ValueError
        If `names` holds another parameter.
    """
    given = {} if names is None else dict(names)
    if unknown := [name for name in given if name not in _SOURCES]:
        raise bad_parameter(
            "names",
            expected=f"parameters among {list(_SOURCES)}",
            found=unknown[0],
            advice=nearest(unknown[0], _SOURCES).strip() or None,
        )
    found = {
        name: _listed(panel, name, given[name]) if name in given else _by_name(panel, groups)
        for name, groups in _SOURCES.items()
    }
    if not any(found.values()):
        raise fail(
            "no input of NEWS2",
            expected="a column of respiration rate, SpO2, systolic pressure, pulse or temperature",
            found=f"{first(map(repr, panel.columns), shown=12)}",
            advice='Name them, e.g. names={"heart_rate": "pulse_1"}.',
        )
    return found


def carry_limit(max_age: Any, layout: Layout) -> float:
    """How long a value counts, in hours, or in steps where time is a whole number."""
    limit = gap_hours(max_age, layout, name="max_age")
    return _CARRIED if limit is None else limit


def last_known(values: Floats, layout: Layout, limit: float) -> Floats:
    """Carry the last known value forward within each series, for a limited time.

    Parameters
    ----------
    values : ndarray, shape (N,)
        NaN where missing.
    layout : Layout
        The series.
    limit : float
        Hours (steps, where time is a whole number) for which a value counts.

    Returns
    -------
    ndarray, shape (N,)
        NaN where there is no value so young.
    """
    filled, source = forward_fill(values, layout)
    if filled is values:
        return values
    hours = layout.hours()
    return np.where(hours - hours[source] > limit, np.nan, filled)


def _by_name(panel: pd.DataFrame, groups: tuple[tuple[str, ...], ...]) -> list[Hashable]:
    """Columns that the names of the first group that has some stand for, in their order."""
    for group in groups:
        ranked = [(_rank(column, group), at) for at, column in enumerate(panel.columns)]
        if found := sorted((rank, at) for rank, at in ranked if rank is not None):
            return [panel.columns[at] for _, at in found]
    return []


def _rank(column: Hashable, group: tuple[str, ...]) -> tuple[int, int] | None:
    """How early a column stands among the names of a group; None if it is none of them."""
    plain = _plain(column)
    for at, name in enumerate(group):
        if plain in _MORE_NAMES.get(name, ()):
            return at, 0
        if name in VITALS and (vital := vital_of(column)) is VITALS[name]:
            aliases = [_plain(alias) for alias in (vital.name, *vital.aliases)]
            return at, aliases.index(plain)
    return None


def _plain(name: Hashable) -> str:
    return "".join(letter for letter in str(name).lower() if letter.isalnum())


def _listed(panel: pd.DataFrame, parameter: str, given: Any) -> list[Hashable]:
    columns = given if isinstance(given, list) else [] if given is None else [given]
    for column in columns:
        if column not in panel.columns:
            raise fail(
                "column not found",
                expected=f"names[{parameter!r}] to be a column",
                found=f"{first(map(repr, panel.columns), shown=12)}",
                advice=nearest(column, panel.columns).strip() or "Check the spelling.",
                column=column,
            )
    return columns


def _known(
    panel: pd.DataFrame, layout: Layout, parameter: str, columns: list[Hashable], limit: float
) -> Floats:
    """The last known value of a parameter, from all of its columns, (N,).

    Oxygen and consciousness are 1 where given or altered, else 0.
    """
    if parameter in ("oxygen", "consciousness"):
        flag = _on_oxygen if parameter == "oxygen" else _altered
        parts = [last_known(flag(panel[column]), layout, limit) for column in columns]
        none = np.full(layout.n_rows, np.nan)
        known: Floats = np.fmax.reduce([none, *parts])
        return known
    values = np.full(layout.n_rows, np.nan)
    for column in columns:
        cleaned, _ = VITALS[parameter].clean(numbers_of(panel[column]))
        values = np.where(np.isnan(values), cleaned, values)
    return last_known(values, layout, limit)


def _on_oxygen(column: pd.Series) -> Floats:
    """1 where a column says that oxygen is given, 0 where not, NaN where it says nothing."""
    values = numbers_of(column)
    if vital_of(column.name) is VITALS["fio2"]:
        values, _ = VITALS["fio2"].clean(values)
    else:  # 0 or 1, litres a minute, or a share in a column of another name
        values = np.where(values >= _LEAST_PERCENT, values / 100, values)
    given = values > _ROOM_AIR + 1e-6  # 0.21 may have come through a float32
    return np.where(np.isnan(values), np.nan, given)


def _altered(column: pd.Series) -> Floats:
    """1 where consciousness is altered, 0 where not, NaN where a column says nothing."""
    if is_category(column):
        words = column.astype(object)
        # A, Alert, A&O x3; but not Agitated, nor Altered
        altered = ~words.astype(str).str.strip().str.upper().str.match(r"A(LERT)?\b").to_numpy()
        return np.where(words.isna().to_numpy(), np.nan, altered)
    values = numbers_of(column)
    if vital_of(column.name) is VITALS["gcs"]:
        values, _ = VITALS["gcs"].clean(values)
    # no coma scale has 0 points, no code of AVPU is 15
    altered = (values != 0) & (values != _HIGHEST_GCS)
    return np.where(np.isnan(values), np.nan, altered)


def numbers_of(column: pd.Series) -> Floats:
    """Values of a column that must hold numbers, (N,)."""
    if is_category(column):
        raise fail(
            "column holds categories",
            expected="numbers",
            found=f"dtype {column.dtype}",
            advice="Make it a column of numbers.",
            column=column.name,
        )
    return column.to_numpy(dtype=np.float64)


def _read(row: _Row, values: Floats) -> Floats:
    """Points of one row of the chart, 0 where a value is missing, (N,)."""
    unit = 10.0**row.decimals
    charted: npt.NDArray[Any] = np.floor(values * unit + 0.5)
    cells = np.searchsorted(np.round(np.array(row.highest) * unit), charted)
    cells = np.minimum(cells, len(row.points) - 1)  # NaN sorts behind all
    return np.where(np.isnan(values), 0.0, np.array(row.points, dtype=np.float64)[cells])
