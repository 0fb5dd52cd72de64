"""Long tables of measurements, MEDS and MIMIC become panels, each value when it was known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast.data.charted import from_meds, from_mimic, long_to_panel, on_grid
from tsforecast.data.panel import as_panel
from tsforecast.data.vitals import cleaning_report

NAN = np.nan
HOUR = pd.Timedelta(hours=1)
DAY = pd.Timestamp("2024-03-01")


def chart(*rows: tuple[Any, ...], unit: str | None = "h") -> pd.DataFrame:
    """Rows (stay, hours, item, value) or (stay, hours, item, value, hours until known)."""
    names = ["stay", "at", "item", "value", "known"]
    table = pd.DataFrame([row + (row[1],) * (5 - len(row)) for row in rows], columns=names)
    if unit is not None:
        for name in ("at", "known"):
            table[name] = pd.to_timedelta(table[name].astype("float64"), unit=unit)
    return table


def panel_of(table: pd.DataFrame, **options: Any) -> pd.DataFrame:
    panel = long_to_panel(table, "stay", "at", "item", "value", **options)
    pd.testing.assert_frame_equal(as_panel(panel), panel)
    return panel


def notes(panel: pd.DataFrame) -> dict[str, Any]:
    return cleaning_report(panel).attrs["notes"]  # type: ignore[no-any-return]


def dirty_chart(seed: int, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    hours = np.round(rng.uniform(0, 30, n), 1)
    return pd.DataFrame(
        {
            "stay": rng.choice(["b", "a", "c"], n),
            "at": pd.to_timedelta(hours, unit="h"),
            "item": rng.choice(["HR", "Urine", "pH"], n),
            "value": np.where(rng.random(n) < 0.1, NAN, rng.normal(50, 20, n).round(1)),
            "known": pd.to_timedelta(hours + rng.exponential(2, n).round(1), unit="h"),
        }
    )


def test_rows_become_columns() -> None:
    panel = panel_of(chart(("b", 1, "HR", 80), ("a", 2, "HR", 70), ("a", 2, "SBP", 120)))
    assert panel.index.names == ["stay", "time"]
    assert panel.index.tolist() == [("a", 2 * HOUR), ("b", HOUR)]
    assert list(panel) == ["HR", "SBP"]
    np.testing.assert_array_equal(panel, [[70, 120], [80, NAN]])


@pytest.mark.parametrize("rule", ["last", "first", "mean", "min", "max", "sum"])
@pytest.mark.parametrize("seed", [0, 1])
def test_panel_equals_a_plain_loop(rule: str, seed: int) -> None:
    table = dirty_chart(seed)
    panel = panel_of(table, duplicates=rule)
    cells: dict[Any, list[float]] = {}
    for row in table.sort_values("at", kind="stable").itertuples():
        if not np.isnan(row.value):  # type: ignore[arg-type]
            cells.setdefault((row.stay, row.at, row.item), []).append(row.value)  # type: ignore[arg-type]
    how = {"last": lambda v: v[-1], "first": lambda v: v[0], "mean": np.mean}
    how |= {"min": min, "max": max, "sum": np.sum}
    found = panel.stack().dropna()
    assert len(found) == len(cells)
    for (stay, at, item), values in cells.items():
        assert panel.loc[(stay, at), item] == pytest.approx(how[rule](values))


@pytest.mark.parametrize("rule", ["last", "first", "mean", "min", "max", "sum"])
def test_grid_equals_a_plain_loop(rule: str) -> None:
    raw = panel_of(dirty_chart(3))
    grid = on_grid(raw, "2h", dict.fromkeys(raw, rule))
    for stay, own in raw.groupby(level=0):
        times = own.index.get_level_values(1)
        marks = grid.loc[stay].index
        assert marks[0] == pd.Timedelta(0)
        assert marks[-1] - 2 * HOUR < times[-1] <= marks[-1]
        for mark in marks:
            inside = own[(times > mark - 2 * HOUR) & (times <= mark)]
            for name in raw:
                values = inside[name].dropna()
                expected = NAN
                if len(values):
                    plain = {"last": values.iloc[-1], "first": values.iloc[0]}
                    expected = plain[rule] if rule in plain else getattr(values, rule)()
                np.testing.assert_allclose(grid.loc[(stay, mark), name], expected)


def test_grid_of_the_calendar_starts_with_the_first_value() -> None:
    table = chart(("a", 7.5, "HR", 80), ("a", 9, "HR", 81), ("a", 9.01, "HR", 82))
    table["at"] += DAY
    panel = panel_of(table, grid="1h")
    assert panel.index.get_level_values(1).tolist() == [DAY + h * HOUR for h in (8, 9, 10)]
    assert panel["HR"].tolist() == [80, 81, 82]


def test_grid_of_whole_numbers() -> None:
    table = chart(("a", -3, "HR", 1), ("a", 4, "HR", 2), ("a", 5, "HR", 3), unit=None)
    panel = panel_of(table, grid=4)
    assert panel.index.get_level_values(1).tolist() == [0, 4, 8]
    np.testing.assert_array_equal(panel["HR"], [1, 2, 3])


def test_grid_in_a_time_zone_and_of_a_fine_step() -> None:
    table = chart(("a", 1, "HR", 80), ("a", 1.5, "HR", 81))
    table["at"] = (table["at"] + DAY).dt.tz_localize("Europe/Berlin").dt.as_unit("s")
    panel = panel_of(table, grid="1500ms")
    times = panel.index.get_level_values(1)
    assert str(times.tz) == "Europe/Berlin"
    assert len(panel) == 1201
    assert panel["HR"].iloc[[0, -1]].tolist() == [80, 81]


# ------------------------------------------------------------------------------------ availability


def test_value_enters_when_it_became_known() -> None:
    table = chart(("a", 1, "HR", 80, 1), ("a", 1, "Lactate", 3, 2.5), ("a", 2, "HR", 90, 2))
    panel = panel_of(table, available="known")
    np.testing.assert_allclose(panel.index.get_level_values(1) / HOUR, [1, 2, 2.5])
    np.testing.assert_array_equal(panel["Lactate"], [NAN, NAN, 3])
    assert panel.attrs["available"] == ["HR", "Lactate"]
    gridded = panel_of(table, available="known", grid="1h")
    np.testing.assert_array_equal(gridded["Lactate"], [NAN, NAN, NAN, 3])


@pytest.mark.parametrize("grid", [None, "1h"])
def test_no_row_moves_with_what_became_known_after_it(grid: str | None) -> None:
    table = dirty_chart(5)
    cutoff = 12 * HOUR
    whole = panel_of(table, available="known", grid=grid)
    known = table[table["known"] <= cutoff]
    late = table[table["known"] > cutoff].assign(value=1e6)
    for other in (known, pd.concat([late, known])):
        early = panel_of(other, available="known", grid=grid, variables=["HR", "Urine", "pH"])
        at = early.index.get_level_values(1) <= cutoff
        expected = whole[whole.index.get_level_values(1) <= cutoff]
        shared = expected.index.intersection(early.index)
        assert len(shared) == at.sum()
        pd.testing.assert_frame_equal(early[at], expected.loc[shared], check_exact=True)
        assert expected.drop(shared).isna().all(axis=None)


def test_value_is_never_taken_before_it_was_measured() -> None:
    panel = panel_of(chart(("a", 2, "HR", 80, 1)), available="known")
    assert panel.index.tolist() == [("a", 2 * HOUR)]
    assert notes(panel)["values known before they were measured, taken at their time"] == 1


def test_old_value_that_becomes_known_after_a_newer_one_is_left_out() -> None:
    table = chart(
        ("a", 1, "K", 3, 9), ("a", 2, "K", 4, 5), ("a", 3, "K", 5, 9), ("a", 1, "U", 7, 9)
    )
    panel = panel_of(table, available="known")
    np.testing.assert_array_equal(panel["K"], [4, 5])
    np.testing.assert_array_equal(panel["U"], [NAN, 7])
    assert notes(panel)["values older than one known before, left out"] == 1
    summed = panel_of(table, available="known", rules={"K": "sum"}, duplicates="sum")
    np.testing.assert_array_equal(summed["K"], [4, 8])


def test_value_that_cannot_be_true_does_not_stand_for_an_older_one() -> None:
    table = chart(("a", 2, "HR", 0, 5), ("a", 1, "HR", 80, 6))
    panel = panel_of(table, available="known", clean=True)
    np.testing.assert_array_equal(panel["HR"], [NAN, 80])
    assert notes(panel)["values older than one known before, left out"] == 0
    assert cleaning_report(panel).loc["HR", "below"] == 1


def test_of_values_that_became_known_together_the_newest_counts() -> None:
    panel = panel_of(chart(("a", 3, "K", 5, 9), ("a", 2, "K", 4, 9)), available="known")
    assert panel["K"].tolist() == [5]
    assert cleaning_report(panel).loc["K", "duplicates"] == 1


def test_value_of_unknown_availability_is_left_out_and_counted() -> None:
    table = chart(("a", 1, "K", 3, NAN), ("a", 2, "K", 4, 5))
    panel = panel_of(table, available="known")
    assert panel["K"].tolist() == [4]
    assert notes(panel)["values of unknown availability, left out"] == 1


def test_availability_in_a_finer_unit_is_not_rounded_down() -> None:
    table = chart(("a", 1, "K", 3, 1))
    table["at"] = table["at"].dt.as_unit("s")
    table["known"] = (table["known"] + pd.Timedelta(milliseconds=900)).dt.as_unit("ms")
    for first, second in (("at", "known"), ("known", "at")):
        panel = long_to_panel(table, "stay", first, "item", "value", second, grid="1s")
        assert panel["K"].dropna().index.tolist() == [("a", pd.Timedelta(seconds=3601))]


def test_availability_of_another_kind_is_refused() -> None:
    table = chart(("a", 1, "K", 3, 2))
    with pytest.raises(tsf.DataError, match="availability is of another kind.*timedelta64.*int64"):
        panel_of(table.assign(known=1), available="known")


# --------------------------------------------------------------------------------------- admission


def test_time_counts_from_the_admission() -> None:
    table = chart(("a", 1, "HR", 80), ("b", 5, "HR", 70), ("b", 3, "HR", 60))
    table["at"] += DAY
    begins = {"a": DAY, "b": DAY + 4 * HOUR}
    panel = panel_of(table, admission=begins)
    assert panel.index.tolist() == [("a", HOUR), ("b", -HOUR), ("b", HOUR)]
    table["in"] = table["stay"].map(begins)
    pd.testing.assert_frame_equal(panel_of(table, admission="in"), panel)
    pd.testing.assert_frame_equal(panel_of(table, admission=pd.Series(begins)), panel)


def test_grid_since_admission_starts_at_zero() -> None:
    table = chart(("a", 3.2, "HR", 80), ("b", -1.5, "HR", 70))
    panel = panel_of(table, grid="1h")
    assert panel.loc["a"].index.tolist() == [h * HOUR for h in range(5)]
    assert panel.loc["b"].index.tolist() == [-HOUR]


@pytest.mark.parametrize(
    ("admission", "message"),
    [
        ({"a": DAY}, "patients without a time of admission .*found none for 'b'"),
        ({"a": 0, "b": 1}, "admission is of another kind than the time"),
        ("enter", "'admission': expected a column.*found 'enter'"),
        (7.5, "'admission': expected a column"),
    ],
)
def test_admission_that_cannot_be_is_refused(admission: Any, message: str) -> None:
    table = chart(("a", 1, "HR", 80), ("b", 5, "HR", 70))
    table["at"] += DAY
    with pytest.raises(ValueError, match=message):
        panel_of(table, admission=admission)


def test_patient_with_two_admissions_is_refused() -> None:
    table = chart(("a", 1, "HR", 80), ("a", 5, "HR", 70))
    table["at"] += DAY
    table["in"] = [DAY, DAY + HOUR]
    with pytest.raises(tsf.DataError, match="several times of admission .*'a'.*by stay rather"):
        panel_of(table, admission="in")


# -------------------------------------------------------------------------------------- variables


def test_variables_are_columns_measured_or_not() -> None:
    panel = panel_of(chart(("a", 1, "HR", 80)), variables=["EtCO2", "HR"])
    assert list(panel) == ["EtCO2", "HR"]
    assert panel["EtCO2"].isna().all()


def test_codes_become_names_and_several_may_have_one() -> None:
    table = chart(("a", 1, 220045, 80), ("a", 1, 211, 90), ("a", 2, 8, 7))
    panel = panel_of(table, variables={220045: "HR", 211: "HR", 8: "K"}, duplicates="max")
    assert list(panel) == ["HR", "K"]
    np.testing.assert_array_equal(panel["HR"], [90, NAN])


def test_unknown_variable_is_named_with_the_nearest() -> None:
    table = chart(("a", 1, "HR", 80), ("a", 2, "Lactat", 3))
    with pytest.raises(
        tsf.DataError, match=r"row 1\): .*'Lactat' in 1 rows. Did you mean 'Lactate'"
    ):
        panel_of(table, variables=["HR", "Lactate"])
    with pytest.raises(ValueError, match="'rules'.*found 'Lactate'.*Did you mean 'Lactat'"):
        panel_of(table, rules={"Lactate": "mean"})
    with pytest.raises(ValueError, match="'variables': expected a list of names"):
        panel_of(table, variables="HR")


# ------------------------------------------------------------------------------------------- dirt


def test_patient_with_one_row() -> None:
    assert panel_of(chart(("a", 1, "HR", 80)), grid="1h").shape == (2, 1)


def test_a_stay_of_ten_thousand_hours() -> None:
    table = chart(*[("a", h, "HR", 80) for h in range(0, 10_001, 10)], ("b", 1, "HR", 70))
    assert len(panel_of(table)) == 1002
    assert len(panel_of(table, grid="1h")) == 10_001 + 2


def test_negative_and_absurd_values_go_if_asked_for() -> None:
    table = chart(("a", 1, "HR", -80), ("a", 2, "HR", 1e30), ("a", 3, "HR", 80), ("a", 4, "T", -5))
    assert panel_of(table)["HR"].dropna().tolist() == [-80, 1e30, 80]
    panel = panel_of(table, clean=True)
    assert panel["HR"].dropna().tolist() == [80]
    assert panel["T"].dropna().tolist() == [-5]  # not in the table of vital signs
    assert cleaning_report(panel).loc["HR", ["below", "above"]].tolist() == [1, 1]


def test_units_are_mended_before_a_mean_is_taken() -> None:
    table = chart(("a", 0.2, "Temp", 98.6), ("a", 0.4, "Temp", 39), ("a", 0.5, "Temp", -17.8))
    panel = panel_of(table, clean=True, grid="1h", rules={"Temp": "mean"})
    assert panel["Temp"].iloc[-1] == pytest.approx(38)


def test_words_and_infinities_are_missing_and_counted() -> None:
    table = chart(
        ("a", 1, "HR", "80"), ("a", 2, "HR", "error"), ("a", 3, "K", np.inf), ("a", 3, "K", 4)
    )
    panel = panel_of(table)
    np.testing.assert_array_equal(panel["HR"], [80, NAN])
    assert cleaning_report(panel)["not_numeric"].to_dict() == {"HR": 1, "K": 1}


def test_channel_of_which_every_value_is_missing_stays_a_column() -> None:
    table = chart(("a", 1, "HR", 80), ("a", 1, "EtCO2", "n/a"))
    panel = panel_of(table)
    assert panel["EtCO2"].isna().all()
    table.loc[1, "value"] = None
    assert panel_of(table, variables=["EtCO2", "HR"])["EtCO2"].isna().all()


def test_rows_without_name_or_value_and_patients_without_any_are_counted() -> None:
    table = chart(("a", 1, "HR", 80), ("a", 2, None, 3), ("a", 3, "HR", None), ("b", 1, "HR", "x"))
    found = notes(panel_of(table))
    assert found["rows without a variable's name"] == 1
    assert found["rows without a value"] == 1
    assert found["patients without any value"] == ["b"]


def test_times_that_go_back_are_sorted_and_counted_or_refused() -> None:
    table = chart(("a", 2, "HR", 80), ("b", 1, "HR", 60), ("a", 1, "HR", 70), ("a", 1, "K", 4))
    panel = panel_of(table)
    assert panel.loc["a", "HR"].tolist() == [70, 80]
    assert notes(panel)["rows out of order of time"] == 1
    with pytest.raises(tsf.DataError, match=r"times do not increase \(column 'at'; series 'a'"):
        panel_of(table, unordered="raise")
    panel_of(table.sort_values("at"), unordered="raise")


def test_several_values_at_one_time_can_be_refused() -> None:
    table = chart(("a", 1, "K", 4), ("a", 2, "HR", 80), ("a", 2, "HR", 81))
    with pytest.raises(
        tsf.DataError, match=r"column 'HR'; series 'a'; first rows: 0 days 02:00:00"
    ):
        panel_of(table, duplicates="raise")
    assert panel_of(table.iloc[:2], duplicates="raise").shape == (2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stay": ["a", None]}, r"patient is missing \(column 'stay'; first rows: row 1"),
        ({"at": [HOUR, pd.NaT]}, r"missing time stamps \(column 'at'; first rows: row 1"),
        ({"at": ["1 h", "2 h"]}, r"time is of the wrong type \(column 'at'"),
        ({"at": [1.5, 2.5]}, "time is of the wrong type"),
        ({"value": [None, None]}, "nothing to make a panel of: .*found no row with a number"),
        ({"item": ["step", "step"]}, "reserved column names"),
    ],
)
def test_tables_that_cannot_be_used_are_explained(change: dict[str, Any], message: str) -> None:
    table = chart(("a", 1, "HR", 80), ("a", 2, "HR", 81)).assign(**change)
    with pytest.raises(tsf.DataError, match=message):
        panel_of(table)


def test_missing_column_is_named_with_the_nearest() -> None:
    table = chart(("a", 1, "HR", 80))
    with pytest.raises(tsf.DataError, match=r"Missing: \['items'\]. Did you mean 'item'"):
        long_to_panel(table, "stay", "at", "items", "value")
    with pytest.raises(tsf.DataError, match="found no rows at all"):
        panel_of(table.iloc[:0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 1}, "'grid': expected a span of time such as '1h', found 1"),
        ({"grid": "often"}, "'grid': expected a span of time"),
        ({"duplicates": "median"}, "'duplicates': expected one of"),
        ({"unordered": "ignore"}, "'unordered': expected one of"),
        ({"rules": {"HR": "median"}}, "expected one of .*found 'median'"),
    ],
)
def test_parameters_that_cannot_be_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        panel_of(chart(("a", 1, "HR", 80)), **options)


def test_one_wrong_year_does_not_fill_the_memory() -> None:
    table = chart(("a", 1, "HR", 80), ("a", 8e6, "HR", 81))
    with pytest.raises(tsf.DataError, match=r"grid is nearly empty \(series 'a'\).*dates wrong"):
        panel_of(table, grid="1h")


def test_table_given_is_left_alone() -> None:
    table = dirty_chart(0)
    before = table.copy()
    panel_of(table, available="known", grid="1h", clean=True)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_other_tables_are_taken(library: str) -> None:
    module = pytest.importorskip(library)
    table = chart(("a", 1, "HR", 80), ("b", 2, "K", 4))
    table["at"] += DAY
    table = table.drop(columns="known")
    other = module.from_pandas(table) if library == "polars" else module.Table.from_pandas(table)
    expected = panel_of(table)
    found = long_to_panel(other, "stay", "at", "item", "value")
    pd.testing.assert_frame_equal(found, expected, check_index_type=False)


def test_categories_and_index_levels_serve_as_columns() -> None:
    table = chart(("a", 1, "HR", 80), ("b", 2, "K", 4), ("b", 2, "HR", 60))
    expected = panel_of(table)
    short = table.astype({"stay": "category", "item": "category"})
    pd.testing.assert_frame_equal(panel_of(short), expected)
    pd.testing.assert_frame_equal(panel_of(table.set_index(["stay", "at"])), expected)


# ------------------------------------------------------------------------------------------- MEDS


def meds() -> pd.DataFrame:
    rows = [
        (7, None, "GENDER//M", None),
        (7, "2024-01-01 08:00", "ICU_ADMISSION//MICU", None),
        (7, "2024-01-01 08:30", "LAB//220045//bpm", 88.0),
        (7, "2024-01-01 09:00", "LAB//50813//mmol/L", 2.5),
        (7, "2024-01-01 09:00", "MEDICATION//K//start", 999.0),
        (7, "2024-01-01 10:00", "LOINC//8310-5", 98.6),
        (7, "2024-01-02 08:00", "ICU_ADMISSION//MICU", None),
        (8, "2024-01-01 07:00", "HR", 70.0),
        (8, "2024-01-01 07:00", "UNKNOWN//5", 1.0),
    ]
    table = pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value"])
    table["numeric_value"] = table["numeric_value"].astype("float32")
    return table.assign(time=pd.to_datetime(table["time"]).dt.as_unit("us"))


def test_meds_measurements_get_their_names() -> None:
    panel = from_meds(meds())
    assert panel.index.names == ["subject_id", "time"]
    assert sorted(panel) == ["heart_rate", "lactate", "temperature"]
    assert panel.loc[7, "heart_rate"].dropna().tolist() == [88]
    assert panel.loc[7, "temperature"].dropna().tolist() == [pytest.approx(37, abs=1e-5)]
    assert panel.loc[8].shape[0] == 1


def test_meds_time_counts_from_the_first_admission() -> None:
    panel = from_meds(meds(), admission="ICU_ADMISSION", grid="1h")
    assert list(panel.index.unique(0)) == [7]
    np.testing.assert_array_equal(panel["heart_rate"], [NAN, 88, NAN])
    np.testing.assert_allclose(panel["temperature"], [NAN, NAN, 37], atol=1e-5)
    with pytest.raises(ValueError, match="'admission': expected the beginning of a code"):
        from_meds(meds(), admission="WARD")


def test_meds_codes_of_ones_own() -> None:
    panel = from_meds(meds(), codes={"UNKNOWN//5": "x", "HR": "pulse"})
    assert list(panel) == ["x", "pulse"]
    assert panel.index.unique(0).tolist() == [8]
    with pytest.raises(tsf.DataError, match="no known code .*codes of codes=.*MEDICATION"):
        from_meds(meds(), codes={"NONE": "x"})


def test_meds_files_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for part, own in meds().groupby("subject_id"):
        folder = tmp_path / "data" / ("train" if part == 7 else "held_out")
        folder.mkdir(parents=True)
        own.assign(text_value="x").to_parquet(folder / "0.parquet", index=False)
    (tmp_path / "metadata").mkdir()
    pd.DataFrame({"code": ["HR"]}).to_parquet(tmp_path / "metadata" / "codes.parquet")
    expected = from_meds(meds())
    pd.testing.assert_frame_equal(from_meds(tmp_path)[list(expected)], expected)
    one = from_meds(tmp_path / "data" / "train" / "0.parquet")
    pd.testing.assert_frame_equal(one, expected.loc[[7]][list(one)])
    with pytest.raises(FileNotFoundError, match="MEDS data: expected parquet files"):
        from_meds(tmp_path / "metadata" / "none")


# ------------------------------------------------------------------------------------------ MIMIC


def stamp(hours: float) -> pd.Timestamp:
    return pd.Timestamp("2150-01-01") + pd.Timedelta(hours=hours)


def mimic() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Patient 1 with two stays in one admission, patient 2 with one."""
    names = ["subject_id", "hadm_id", "stay_id", "charttime", "storetime", "itemid", "valuenum"]
    rows = [
        (1, 20, 30, stamp(1.0), stamp(1.2), 220045, 90.0),
        (1, 20, 30, stamp(1.5), stamp(1.6), 223761, 98.6),  # degrees F
        (1, 20, 30, stamp(2.0), stamp(2.0), 223835, 40.0),  # percent
        (1, 20, 31, stamp(50.0), stamp(50.1), 220045, 100.0),
        (2, 21, 32, stamp(1.0), stamp(1.1), 220179, 120.0),
        (2, 21, 32, stamp(1.0), stamp(1.1), 999999, 1.0),
    ]
    charts = pd.DataFrame(rows, columns=names)
    labs = pd.DataFrame(
        [
            (1, 20, stamp(-2.0), stamp(-1.0), 50813, 1.5),  # before the stay
            (1, 20, stamp(1.0), stamp(3.0), 50813, 4.0),
            (1, 20, stamp(-1.0), stamp(0.5), 50912, 2.2),  # drawn before the stay, known in it
            (1, 20, stamp(23.0), stamp(25.0), 50912, 3.3),  # drawn in the stay, known after it
            (1, 20, stamp(51.0), stamp(52.0), 50813, 2.0),  # in the second stay
            (1, 20, stamp(30.0), stamp(31.0), 50813, 9.0),  # between the two
            (2, None, stamp(1.0), stamp(2.0), 50813, 7.0),  # of no admission
        ],
        columns=["subject_id", "hadm_id", "charttime", "storetime", "itemid", "valuenum"],
    )
    stays = pd.DataFrame(
        [(1, 20, 30, 0, 24), (1, 20, 31, 48, 72), (2, 21, 32, 0.5, 10)],
        columns=["subject_id", "hadm_id", "stay_id", "intime", "outtime"],
    )
    stays["intime"] = stays["intime"].map(stamp)
    stays["outtime"] = stays["outtime"].map(stamp)
    return charts, labs, stays


def test_mimic_values_count_from_their_storage_in_their_stay() -> None:
    charts, labs, stays = mimic()
    panel = from_mimic(charts, labs, stays=stays)
    assert panel.index.names == ["stay_id", "time"]
    assert panel.index.unique(0).tolist() == [30, 31, 32]
    assert notes(panel)["rows outside the stays, left out"] == 4  # all of laboratories
    lactate = panel["lactate"].dropna()
    assert lactate.to_dict() == {(30, 3 * HOUR): 4.0, (31, 4 * HOUR): 2.0}
    assert panel["creatinine"].dropna().to_dict() == {(30, HOUR / 2): 2.2}
    assert panel.loc[(30, pd.Timedelta(hours=1.2)), "heart_rate"] == 90
    assert panel.loc[(30, pd.Timedelta(hours=1.6)), "temperature"] == pytest.approx(37)
    assert panel["fio2"].dropna().tolist() == [0.4]
    assert panel.loc[(32, pd.Timedelta(hours=0.6)), "sbp"] == 120
    assert panel.groupby(level=0)["subject_id"].first().tolist() == [1, 1, 2]
    assert set(panel.attrs["available"]) == set(panel) - {"subject_id"}
    pd.testing.assert_frame_equal(as_panel(panel), panel)


def test_mimic_values_from_before_the_stay_come_in_if_asked_for() -> None:
    charts, labs, stays = mimic()
    panel = from_mimic(charts, labs, stays=stays, before="2h")
    assert panel["lactate"].dropna().loc[(30, -HOUR)] == 1.5
    with pytest.raises(ValueError, match="'before': expected a span such as '24h', found 2"):
        from_mimic(charts, labs, stays=stays, before=2)  # type: ignore[arg-type]


def test_mimic_stays_without_an_outtime_have_not_ended() -> None:
    charts, labs, stays = mimic()
    whole = from_mimic(charts, labs, stays=stays)
    open_ended = stays.assign(outtime=stays["outtime"].where(stays["stay_id"] != 31))
    pd.testing.assert_frame_equal(from_mimic(charts, labs, stays=open_ended), whole)
    late = charts[charts["stay_id"] == 31].assign(charttime=stamp(99), storetime=stamp(99))
    panel = from_mimic(pd.concat([charts, late]), labs, stays=open_ended)
    assert panel.loc[(31, pd.Timedelta(hours=51)), "heart_rate"] == 100
    assert notes(panel)["rows outside the stays, left out"] == 4
    ended = from_mimic(pd.concat([charts, late]), labs, stays=stays)
    assert notes(ended)["rows outside the stays, left out"] == 5


def test_mimic_stays_without_an_intime_are_refused() -> None:
    charts, labs, stays = mimic()
    unknown = stays.assign(intime=stays["intime"].where(stays["stay_id"] != 31))
    with pytest.raises(
        tsf.DataError,
        match=r"without a beginning \(column 'intime'; first rows: stay_id 31\).*1 of 3",
    ):
        from_mimic(charts, labs, stays=unknown)


def test_mimic_without_stays_keeps_the_clock() -> None:
    charts, labs, _ = mimic()
    assert from_mimic(charts).index.names == ["stay_id", "time"]
    panel = from_mimic(charts, labs)
    assert panel.index.names == ["hadm_id", "time"]
    assert panel.loc[(20, stamp(3)), "lactate"] == 4
    assert from_mimic(labevents=labs)["lactate"].notna().sum() == 4


def test_mimic_without_storetime_counts_from_charttime_and_says_so() -> None:
    charts, labs, stays = mimic()
    panel = from_mimic(charts, labs.drop(columns="storetime"), stays=stays)
    assert panel["lactate"].dropna().loc[(30, HOUR)] == 4
    assert "available" not in panel.attrs
    assert notes(panel)["tables without storetime, counted from charttime"] == ["labevents"]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_mimic_files_give_what_the_tables_give(tmp_path: Path, ending: str) -> None:
    paths = []
    for name, table in zip(["chartevents", "labevents", "icustays"], mimic()):
        paths.append(tmp_path / f"{name}.{ending}")
        if ending == "parquet":
            pytest.importorskip("pyarrow")
            table.to_parquet(paths[-1])
        else:
            table.assign(warning=0).rename(columns=str.upper).to_csv(paths[-1], index=False)
    charts, labs, stays = mimic()
    expected = from_mimic(charts, labs, stays=stays)
    pd.testing.assert_frame_equal(from_mimic(paths[0], paths[1], stays=paths[2]), expected)
    with pytest.raises(FileNotFoundError, match="MIMIC table: expected a file"):
        from_mimic(tmp_path / "none.csv")


def test_mimic_items_of_ones_own() -> None:
    panel = from_mimic(mimic()[0], items={999999: "x", 5: "never"})
    assert list(panel) == ["x", "never"]
    with pytest.raises(tsf.DataError, match="no row of these items"):
        from_mimic(mimic()[0], items={5: "never"})


def test_mimic_without_tables_or_columns_is_refused() -> None:
    charts, labs, stays = mimic()
    with pytest.raises(ValueError, match="expected chartevents, labevents or both"):
        from_mimic()
    with pytest.raises(tsf.DataError, match=r"columns not found in chartevents.*\['valuenum'\]"):
        from_mimic(charts.drop(columns="valuenum"))
    with pytest.raises(tsf.DataError, match=r"columns not found in labevents.*\['itemid'\]"):
        from_mimic(labevents=labs.drop(columns="itemid"))
    with pytest.raises(tsf.DataError, match=r"columns not found in stays.*\['outtime'\]"):
        from_mimic(charts, labs, stays=stays.drop(columns="outtime"))


def test_every_item_of_mimic_has_a_name_of_the_table() -> None:
    from tsforecast.data.charted import _ITEMS

    assert set(_ITEMS.values()) <= set(tsf.VITALS)
