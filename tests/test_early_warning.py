"""NEWS2: every cell of the chart at its edges, and what a row knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast.data.early_warning import news2_inputs

NAN = np.nan
PARAMETERS = ["resp_rate", "spo2", "oxygen", "sbp", "heart_rate", "consciousness", "temperature"]

# RCP 2017, chart 1, as printed: points, first and last value of each cell (None: open)
CHART = {
    "resp_rate": [(3, None, 8), (1, 9, 11), (0, 12, 20), (2, 21, 24), (3, 25, None)],
    "sbp": [(3, None, 90), (2, 91, 100), (1, 101, 110), (0, 111, 219), (3, 220, None)],
    "heart_rate": [
        (3, None, 40),
        (1, 41, 50),
        (0, 51, 90),
        (1, 91, 110),
        (2, 111, 130),
        (3, 131, None),
    ],
    "temperature": [
        (3, None, 35.0),
        (1, 35.1, 36.0),
        (0, 36.1, 38.0),
        (1, 38.1, 39.0),
        (2, 39.1, None),
    ],
}
SCALE_1 = [(3, None, 91), (2, 92, 93), (1, 94, 95), (0, 96, 100)]
SCALE_2_ON_AIR = [(3, None, 83), (2, 84, 85), (1, 86, 87), (0, 88, 92), (0, 93, 100)]
SCALE_2_ON_OXYGEN = [
    *SCALE_2_ON_AIR[:4],
    (1, 93, 94),
    (2, 95, 96),
    (3, 97, 100),
]


def rows(**columns: Any) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.to_timedelta(range(n), unit="h"))


def edges(cells: list[tuple[int, Any, Any]], inside: float) -> list[tuple[float, int]]:
    """Values and their points: both ends of every cell, and one beyond the open ones."""
    found = []
    for points, low, high in cells:
        found += [(float(value), points) for value in (low, high) if value is not None]
        if low is None:
            found.append((high - inside, points))
        if high is None:
            found.append((low + inside, points))
    return found


@pytest.mark.parametrize("parameter", CHART)
def test_every_cell_of_the_chart_at_its_edges(parameter: str):
    for value, points in edges(CHART[parameter], inside=2.0):
        found = tsf.news2_points(rows(**{parameter: [value]}))
        assert found[parameter].item() == points, (parameter, value)
        assert found["total"].item() == points


@pytest.mark.parametrize(
    "cells, scale, fio2",
    [(SCALE_1, 1, 0.21), (SCALE_1, 1, 0.4), (SCALE_2_ON_AIR, 2, 0.21), (SCALE_2_ON_OXYGEN, 2, 0.4)],
)
def test_every_cell_of_both_spo2_scales_at_its_edges(cells: Any, scale: Any, fio2: float):
    for value, points in edges(cells, inside=20.0):
        found = tsf.news2_points(rows(spo2=[value], FiO2=[fio2]), scale=scale)
        assert found["spo2"].item() == points, (value, scale, fio2)
        assert found["oxygen"].item() == (2 if fio2 > 0.21 else 0)


def test_scale_2_without_a_word_on_oxygen_reads_as_on_air():
    found = tsf.news2_points(rows(spo2=[99.0]), scale=2)
    assert found["spo2"].item() == 0 and "oxygen" in found.attrs["missing_inputs"]


def test_neighbouring_cells_leave_no_room_between_them():
    values = np.arange(0.0, 320.0, 0.01)
    for parameter, cells in CHART.items():
        # as charted: to whole numbers, the temperature to a tenth
        decimals = 1 if parameter == "temperature" else 0
        charted = np.floor(np.round(values * 10**decimals, 6) + 0.5) / 10**decimals
        wanted = np.full(len(values), NAN)
        for points, low, high in cells:
            inside = charted >= (-np.inf if low is None else low - 1e-9)
            wanted[inside & (charted <= (np.inf if high is None else high + 1e-9))] = points
        assert not np.isnan(wanted).any()
        steps = pd.DataFrame({parameter: values}, index=pd.RangeIndex(len(values)))
        plain = tsf.plausible(steps)[parameter].notna().to_numpy()
        found = tsf.news2_points(steps, max_age=0.5)[parameter].to_numpy()
        other_units = tsf.plausible(steps)[parameter].to_numpy() != values  # degrees F
        same = plain & ~other_units
        np.testing.assert_array_equal(found[same], wanted[same], err_msg=parameter)


def test_values_are_rounded_halves_up_as_they_would_be_charted():
    found = tsf.news2_points(rows(Temp=[38.04, 38.05, 35.04, 35.05], Resp=[8.4, 8.5, 20.5, 24.5]))
    assert found["temperature"].tolist() == [0, 1, 3, 1]
    assert found["resp_rate"].tolist() == [3, 1, 2, 3]


def test_consciousness_is_altered_below_15_points_or_beyond_alert():
    assert tsf.news2(rows(GCS=[15.0, 14, 3])).tolist() == [0, 3, 3]
    words = pd.Categorical(["A", "C", "V", "P", "U", "Alert", None])
    found = tsf.news2_points(rows(ACVPU=words, HR=[80.0] * 7))
    assert found["consciousness"].tolist() == [0, 3, 3, 3, 3, 0, 0]
    words = pd.Categorical(["a", "Alert, oriented", "A&O x3", "Agitated", "Altered"])
    assert tsf.news2(rows(ACVPU=words, HR=[80.0] * 5)).tolist() == [0, 0, 0, 3, 3]
    assert tsf.news2(rows(AVPU=[0.0, 1.0, NAN])).tolist() == [0, 3, 3]
    both = tsf.news2(rows(GCS=[15.0, NAN], avpu=pd.Categorical(["V", "A"])))
    assert both.tolist() == [3, 0]


def test_oxygen_is_any_sign_of_it():
    assert tsf.news2(rows(FiO2=[0.21, 0.22, 1.0, 21.0, 40.0])).tolist() == [0, 2, 2, 0, 2]
    assert tsf.news2(rows(FiO2=np.array([0.21, 0.5], dtype=np.float32))).tolist() == [0, 2]
    assert tsf.news2(rows(MechVent=[NAN, 1.0, NAN])).tolist() == [0, 2, 2]
    found = tsf.news2_points(rows(FiO2=[0.21, NAN], MechVent=[1.0, 0.0], oxygen=[0.0, 0.0]))
    assert found["oxygen"].tolist() == [2, 0]


def test_the_highest_total_is_20():
    worst = rows(Resp=[30.0], SpO2=[80.0], FiO2=[0.6], SBP=[80.0], HR=[140.0], GCS=[8.0])
    assert tsf.news2(worst.assign(Temp=34.0)).item() == 20
    found = tsf.news2_points(worst.assign(Temp=34.0))
    assert found.attrs["missing_inputs"] == [] and found["missing"].item() == 0
    assert found[PARAMETERS].sum(axis=1).item() == found["total"].item()


@pytest.mark.parametrize(
    "names, missing",
    [
        (["HR", "O2Sat", "Temp", "SBP", "Resp", "FiO2"], ["consciousness"]),  # PhysioNet 2019
        (["HR", "SaO2", "Temp", "SysABP", "RespRate", "FiO2", "GCS"], []),  # 2012
        (["HR", "SaO2", "Temp", "NISysABP", "RespRate", "MechVent", "GCS"], []),
        (["heart_rate", "spo2", "temperature", "sbp", "resp_rate"], ["oxygen", "consciousness"]),
        (["Heart Rate", "SpO2", "RR", "Temp"], ["oxygen", "sbp", "consciousness"]),
    ],
)
def test_known_names_are_found(names: list[str], missing: list[str]):
    panel = rows(**{name: [NAN, 1.0] for name in [*names, "Lactate", "MAP"]})
    found = tsf.news2_points(panel)
    assert found.attrs["missing_inputs"] == missing
    used = [column for columns in news2_inputs(panel).values() for column in columns]
    assert sorted(used) == sorted(names)


def test_of_two_pressures_the_newer_counts_and_of_one_row_the_invasive():
    panel = rows(NISysABP=[85.0, NAN, 120.0], SysABP=[150.0, 105.0, NAN])
    assert news2_inputs(panel)["sbp"] == ["SysABP", "NISysABP"]
    assert tsf.news2(panel).tolist() == [0, 1, 0]


def test_an_arterial_saturation_counts_only_where_there_is_no_oximeter():
    panel = rows(SaO2=[80.0, 80.0], O2Sat=[NAN, 97.0])
    assert tsf.news2(panel).tolist() == [0, 0]
    assert tsf.news2(panel[["SaO2"]]).tolist() == [3, 3]


def test_names_may_be_given_and_parameters_left_out():
    panel = rows(pulse_1=[140.0], ART=[80.0], cuff=[150.0], HR=[80.0], FiO2=[0.5])
    names = {"heart_rate": "pulse_1", "sbp": ["cuff", "ART"], "oxygen": None}
    found = tsf.news2_points(panel, names=names)
    assert found[["heart_rate", "sbp", "oxygen"]].iloc[0].tolist() == [3, 0, 0]
    assert "oxygen" in found.attrs["missing_inputs"]


def test_oxygen_and_consciousness_are_read_by_value_in_columns_of_other_names():
    panel = rows(air=[0.21, 0.4, 21.0, 0.0, 2.0, 1.0, NAN], mind=[15.0, 14, 3, 0, 1, 15, NAN])
    found = tsf.news2_points(panel, names={"oxygen": "air", "consciousness": "mind"})
    assert found["oxygen"].tolist() == [0, 2, 0, 0, 2, 2, 2]
    assert found["consciousness"].tolist() == [0, 3, 3, 0, 3, 0, 0]


def test_a_value_counts_for_a_day_unless_told_otherwise():
    when = pd.to_timedelta([0, 24, 25], unit="h")
    panel = pd.DataFrame({"HR": [140.0, NAN, NAN], "Temp": [37.0, NAN, NAN]}, index=when)
    found = tsf.news2_points(panel)
    assert found["total"].tolist() == [3, 3, 0] and found["missing"].tolist() == [5, 5, 7]
    assert tsf.news2(panel, max_age="2D").tolist() == [3, 3, 3]
    assert tsf.news2(panel, max_age="12h").tolist() == [3, 0, 0]
    assert tsf.news2(panel.set_axis(pd.Index([0, 24, 25]))).tolist() == [3, 3, 0]
    assert tsf.news2(panel.set_axis(pd.Index([0, 24, 25])), max_age=25).tolist() == [3, 3, 3]


def test_values_are_carried_within_a_series_only():
    index = pd.MultiIndex.from_product([["a", "b"], pd.to_timedelta([0, 1], unit="h")])
    panel = pd.DataFrame({"HR": [140.0, NAN, NAN, 80.0]}, index=index)
    assert tsf.news2(panel).tolist() == [3, 3, 0, 0]


def test_a_score_looks_at_no_later_row():
    rng = np.random.default_rng(0)
    panel = tsf.make_vitals(3, 24, missing=0.3, random_state=rng)
    whole = tsf.news2_points(panel)
    cut = panel.groupby(level=0).head(7)
    pd.testing.assert_frame_equal(tsf.news2_points(cut), whole.loc[cut.index])


def test_values_that_cannot_be_true_are_left_out():
    found = tsf.news2_points(rows(HR=[0.0, 999.0], Temp=[98.6, -17.8], FiO2=[-50.0, 4000.0]))
    assert found["total"].tolist() == [0, 0]
    assert found["missing"].tolist() == [6, 6]  # the temperature of the first row is one in F


def test_a_list_of_missing_inputs_counts_0_points():
    panel = rows(HR=[NAN, 80.0])
    found = tsf.news2_points(panel)
    assert found["total"].tolist() == [0, 0] and found["missing"].tolist() == [7, 6]


def test_the_input_is_left_alone_and_the_index_is_that_of_the_panel():
    panel = tsf.make_vitals(2, 20, random_state=0)
    before = panel.copy()
    score = tsf.news2(panel)
    pd.testing.assert_frame_equal(panel, before)
    assert score.index.equals(panel.index) and score.name == "NEWS2" and score.dtype == np.float64


def test_bad_input_is_named():
    panel = rows(HR=[80.0], Temp=[37.0])
    with pytest.raises(tsf.DataError, match="no input of NEWS2: expected a column of respiration"):
        tsf.news2(panel.rename(columns={"HR": "x", "Temp": "y"}))
    with pytest.raises(ValueError, match="'names': .* 'heartrate'. Did you mean 'heart_rate'"):
        tsf.news2(panel, names={"heartrate": "HR"})
    with pytest.raises(tsf.DataError, match=r"column 'hr'\): .*Did you mean 'HR'\?"):
        tsf.news2(panel, names={"heart_rate": "hr"})
    with pytest.raises(ValueError, match=r"'scale': expected one of \[1, 2\]"):
        tsf.news2(panel, scale=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'max_age': expected a time span"):
        tsf.news2(panel, max_age=24)
    with pytest.raises(tsf.DataError, match=r"holds categories \(column 'HR'\)"):
        tsf.news2(panel.assign(HR=pd.Categorical(["fast"])))
