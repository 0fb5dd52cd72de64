"""The table of vital signs, and what is removed or mended by it."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast.data.physionet import _MEASURED_2019, _VARIABLES
from tsforecast.data.vitals import VITALS, Vital, cleaning_report, plausible, vital_of

NAN = np.nan


def cleaned(name: str, values: list[float]) -> list[float]:
    return plausible(pd.DataFrame({name: values}))[name].tolist()


@pytest.mark.parametrize("name", [*_VARIABLES, *_MEASURED_2019])
def test_every_variable_of_both_challenges_is_in_the_table(name: str) -> None:
    assert vital_of(name) is not None


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("HR", "heart_rate"),
        ("NISysABP", "sbp"),
        ("NIMAP", "map"),
        ("SysABP", "sbp"),
        ("DBP", "dbp"),
        ("RespRate", "resp_rate"),
        ("Resp", "resp_rate"),
        ("O2Sat", "spo2"),
        ("SaO2", "sao2"),
        ("Alkalinephos", "alp"),
        ("Non Invasive Blood Pressure systolic", "sbp"),
        ("Temperature Fahrenheit", "temperature"),
        ("8867-4", "heart_rate"),
        ("WHITE BLOOD CELLS", "wbc"),
        ("PT", "prothrombin_time"),
        ("BE", "base_excess"),
        ("K", "potassium"),
        ("Ca", "calcium"),
        ("pH", "ph"),
    ],
)
def test_aliases_find_the_variable(name: str, known_as: str) -> None:
    found = vital_of(name)
    assert found is not None
    assert found.name == known_as


@pytest.mark.parametrize("name", ["pt", "Pt", "be", "k", "ca", "na", "p.t."])
def test_names_of_one_or_two_letters_want_their_capitals(name: str) -> None:
    assert vital_of(name) is None
    assert cleaned(name, [1.0, 4711.0]) == [1.0, 4711.0]  # such as numbers of patients


def test_names_of_the_simulated_vitals_are_known() -> None:
    panel = tsf.make_vitals(2, 16, random_state=0)
    assert all(vital_of(name) for name in panel.columns.drop("deterioration"))
    pd.testing.assert_frame_equal(plausible(panel), panel)  # and all of their values plausible


def test_no_alias_names_two_variables() -> None:
    by_alias: dict[str, str] = {}
    for vital in VITALS.values():
        for name in (vital.name, *vital.aliases):
            assert vital_of(name) is vital
            key = "".join(c for c in name.lower() if c.isalnum())
            assert by_alias.setdefault(key, vital.name) == vital.name


def test_ranges_and_units_to_be_mended_do_not_overlap() -> None:
    for vital in VITALS.values():
        assert vital.low < vital.high
        assert vital.source, vital.name
        assert vital.unit, vital.name
        spans = [(vital.low, vital.high), *((slip.low, slip.high) for slip in vital.slips)]
        for (low, high), (other_low, other_high) in itertools.combinations(spans, 2):
            # 1.0 is full saturation, and pure oxygen: the unit used here goes first
            assert high < other_low or other_high < low, vital.name
        for slip in vital.slips:
            mended = [(edge - slip.offset) * slip.factor for edge in (slip.low, slip.high)]
            assert vital.low <= mended[0] * 1.02, vital.name
            assert mended[1] <= vital.high * 1.02, vital.name


@pytest.mark.parametrize("name", sorted(VITALS))
def test_edges_of_a_range_stay_and_what_lies_beyond_goes(name: str) -> None:
    vital = VITALS[name]
    values = [vital.low, vital.high, np.nextafter(vital.high, np.inf)]
    assert cleaned(name, values)[:2] == values[:2]
    beyond, counts = vital.clean(np.array([-1e9, 1e9, NAN, np.inf, -np.inf]))
    assert np.isnan(beyond).all()
    assert counts == {"below": 2, "above": 2, "converted": 0}


def test_other_units_are_mended() -> None:
    np.testing.assert_allclose(cleaned("Temp", [98.6, 36.6, 104.0, 32.0]), [37, 36.6, 40, 32])
    np.testing.assert_allclose(
        cleaned("FiO2", [40, 0.4, 1.0, 100, 21, 0.21]), [0.4] * 2 + [1] * 2 + [0.21] * 2
    )
    np.testing.assert_allclose(cleaned("pH", [735, 73.5, 7.35]), [7.35] * 3)
    np.testing.assert_allclose(cleaned("SpO2", [0.97, 97]), [97, 97])
    np.testing.assert_allclose(cleaned("Hct", [0.31, 31]), [31, 31])
    np.testing.assert_allclose(cleaned("Height", [1.7, 170, 431.8, 66]), [170, 170, 170, 167.64])


def test_known_dirt_of_the_challenges_is_removed() -> None:
    np.testing.assert_array_equal(cleaned("Temp", [-17.8, 1.9, 37.0]), [NAN, NAN, 37.0])
    np.testing.assert_array_equal(cleaned("HR", [0, 300, 301]), [NAN, 300, NAN])
    np.testing.assert_array_equal(cleaned("FiO2", [-50, 4000, 0.02, 5]), [NAN] * 4)
    np.testing.assert_array_equal(cleaned("pH", [1.0, 94, 187]), [NAN] * 3)
    np.testing.assert_array_equal(cleaned("Weight", [-1, 0, 80]), [NAN, NAN, 80])


def test_a_value_alone_decides() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(80, 60, (400, 3))
    panel = pd.DataFrame(values, columns=["HR", "Temp", "SBP"])
    whole = plausible(panel)
    pieces = pd.concat([plausible(panel.iloc[i : i + 1]) for i in range(len(panel))])
    pd.testing.assert_frame_equal(whole, pieces)
    assert whole["HR"].isna().any()


def test_panel_given_is_left_alone_and_other_columns_pass() -> None:
    panel = pd.DataFrame({"HR": [0.0, 80.0], "SepsisLabel": [0.0, 1.0], 7: [1e9, -1e9]})
    before = panel.copy()
    clean = plausible(panel)
    pd.testing.assert_frame_equal(panel, before)
    assert "report" not in panel.attrs
    pd.testing.assert_frame_equal(clean[["SepsisLabel", 7]], panel[["SepsisLabel", 7]])
    assert list(clean) == list(panel)


def test_categories_and_empty_columns_pass() -> None:
    panel = pd.DataFrame(
        {
            "EtCO2": [NAN, NAN],
            "Gender": pd.Categorical(["f", "m"]),
            "PT": pd.Categorical(["a", "b"]),
        }
    )
    clean = plausible(panel)
    pd.testing.assert_frame_equal(clean, panel)
    assert cleaning_report(clean).loc["EtCO2", "known"] == 0


def test_ranges_of_ones_own_go_before_the_table() -> None:
    panel = pd.DataFrame({"HR": [20.0, 100.0], "cvp": [5.0, 99.0], "Temp": [98.6, 50.0]})
    own = Vital("cvp", "mmHg", -10, 50)
    clean = plausible(panel, {"HR": (30, 250), "cvp": own})
    np.testing.assert_array_equal(clean["HR"], [NAN, 100])
    np.testing.assert_array_equal(clean["cvp"], [5, NAN])
    np.testing.assert_allclose(clean["Temp"], [37, NAN])


@pytest.mark.parametrize(
    ("vitals", "message"),
    [
        ({"HRR": (30, 250)}, "expected columns of the panel, found 'HRR'.*Did you mean 'HR'"),
        ({"HR": (250, 30)}, r"'vitals': expected a Vital or \(lowest, highest\) for 'HR'"),
        ({"HR": 30}, r"'vitals': expected a Vital"),
        ({"HR": ("a", "b")}, r"'vitals': expected a Vital"),
    ],
)
def test_ranges_that_cannot_be_are_named(vitals: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plausible(pd.DataFrame({"HR": [80.0]}), vitals)  # type: ignore[arg-type]


def test_report_counts_what_was_done() -> None:
    panel = pd.DataFrame(
        {"HR": [0.0, 400.0, 500.0, 80.0], "Temp": [98.6, 0.0, NAN, 37.0], "x": [1.0] * 4}
    )
    report = cleaning_report(plausible(panel))
    assert list(report.index) == ["HR", "Temp"]
    expected = {"unit": "1/min", "known": 1, "below": 1, "above": 2, "converted": 0}
    assert expected.items() <= report.loc["HR"].to_dict().items()
    assert report.loc["Temp", ["known", "below", "converted"]].tolist() == [2, 1, 1]
    assert report.attrs["notes"] == {}


def test_a_second_cleaning_adds_to_the_report() -> None:
    once = plausible(pd.DataFrame({"HR": [0.0, 80.0, 200.0]}))
    twice = plausible(once, {"HR": (30, 150)})
    assert cleaning_report(twice).loc["HR", ["below", "above"]].tolist() == [1, 1]
    assert cleaning_report(once).loc["HR", ["below", "above"]].tolist() == [1, 0]


def test_report_survives_the_operations_of_pandas_that_keep_attrs() -> None:
    clean = plausible(pd.DataFrame({"HR": [0.0, 80.0]}))
    assert cleaning_report(clean[["HR"]]).loc["HR", "below"] == 1
    joined = pd.concat([clean, clean])  # pandas compares the attrs of both
    assert cleaning_report(joined).loc["HR", "below"] == 1


def test_no_report_is_said() -> None:
    with pytest.raises(tsf.DataError, match=r"no report.*or call plausible\(panel\)"):
        cleaning_report(pd.DataFrame({"HR": [80.0]}))
