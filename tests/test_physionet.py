"""The readers of the two PhysioNet challenges, on files made here and on the original ones."""

from __future__ import annotations

import io
import os
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast.data.panel import as_panel
from tsforecast.data.physionet import load_physionet2012, load_physionet2019
from tsforecast.data.vitals import cleaning_report, plausible

NAN = np.nan
HOUR = pd.Timedelta(hours=1)
CARDS = Path(__file__).parents[1] / "datasets"

needs_files = pytest.mark.skipif(
    not os.environ.get("TSFORECAST_DATA"),
    reason="the optional data files are looked for in TSFORECAST_DATA, which is not set",
)

HEAD = "Time,Parameter,Value\n"
FIRST = (
    HEAD + "00:00,RecordID,132539\n00:00,Age,54\n00:00,Gender,0\n00:00,Height,-1\n"
    "00:00,ICUType,4\n00:00,Weight,-1\n"
    "00:07,HR,73\n00:07,Temp,35.1\n00:07,Urine,900\n00:37,HR,77\n00:37,Urine,60\n"
    "01:00,HR,80\n01:37,Urine,30\n48:00,HR,60\n"
)
SECOND = (
    HEAD + "00:00,RecordID,132540\n00:00,Age,76\n00:00,Gender,1\n00:00,Height,175.3\n"
    "00:00,ICUType,2\n00:00,Weight,76\n"
    "00:10,HR,0\n00:10,HR,88\n00:42,pH,735\n00:42,,\n00:50,,12\n01:11,FiO2,1\n01:11,Temp,-17.8\n"
)
EMPTY = (
    HEAD
    + "00:00,RecordID,140501\n00:00,Age,80\n00:00,Gender,-1\n00:00,Height,-1\n00:00,ICUType,3\n"
)
OUTCOMES = (
    "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
    "132539,6,1,5,-1,0\n132540,-1,8,8,3,1\n199999,3,3,3,3,1\n"
)


@pytest.fixture
def set_a(tmp_path: Path) -> Path:
    """A folder of three records, with outcomes beside it."""
    folder = tmp_path / "set-a"
    folder.mkdir()
    for name, text in [(132539, FIRST), (132540, SECOND), (140501, EMPTY)]:
        (folder / f"{name}.txt").write_text(text)
    (tmp_path / "Outcomes-a.txt").write_text(OUTCOMES)
    return folder


def add(folder: Path, name: str, lines: str) -> Path:
    (folder / name).write_text(HEAD + lines)
    return folder


def pack(folder: Path, archive: Path) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for path in sorted(folder.iterdir()):
                zipped.write(path, f"{folder.name}/{path.name}")
    else:
        with tarfile.open(archive, f"w:{archive.suffix[1:]}") as tar:  # type: ignore[call-overload]
            tar.add(folder, folder.name)
    return archive


def test_records_become_a_panel_since_admission(set_a: Path) -> None:
    panel = load_physionet2012(set_a)
    assert panel.index.names == ["RecordID", "time"]
    hours = panel.loc[132539].index / HOUR
    np.testing.assert_allclose(hours, [0, 7 / 60, 37 / 60, 1, 97 / 60, 48])
    np.testing.assert_array_equal(panel.loc[132539, "HR"], [NAN, 73, 77, 80, NAN, 60])
    assert panel["Cholesterol"].isna().all()  # never measured, and yet there
    assert list(panel.columns[:3]) == ["Albumin", "ALP", "ALT"]
    assert panel.shape[1] == 37 + 4 + 5
    pd.testing.assert_frame_equal(as_panel(panel), panel)


def test_minus_one_is_missing_in_constants_weight_and_outcomes(set_a: Path) -> None:
    panel = load_physionet2012(set_a, clean=False)
    start = panel.groupby(level=0).first()
    np.testing.assert_array_equal(start["Height"], [NAN, 175.3, NAN])
    np.testing.assert_array_equal(start["Weight"], [NAN, 76, NAN])
    np.testing.assert_array_equal(start["Gender"], [0, 1, NAN])
    np.testing.assert_array_equal(start["SAPS-I"], [6, NAN, NAN])
    np.testing.assert_array_equal(start["Survival"], [NAN, 3, NAN])
    np.testing.assert_array_equal(start["In-hospital_death"], [0, 1, NAN])


def test_constants_and_outcomes_stand_in_every_row(set_a: Path) -> None:
    panel = load_physionet2012(set_a)
    for name in ["Age", "Gender", "Height", "ICUType", "SOFA", "In-hospital_death"]:
        assert (panel.groupby(level=0)[name].nunique(dropna=False) == 1).all(), name


def test_a_stay_without_measurements_has_its_row_of_admission(set_a: Path) -> None:
    panel = load_physionet2012(set_a)
    assert panel.loc[140501].index.tolist() == [pd.Timedelta(0)]
    assert panel.loc[140501, "Age"].tolist() == [80]
    notes = cleaning_report(panel).attrs["notes"]
    assert notes["stays without measurements"] == [140501]


def test_rows_without_a_name_are_passed_over_and_counted(set_a: Path) -> None:
    panel = load_physionet2012(set_a)
    assert (pd.Timedelta(minutes=50)) not in panel.loc[132540].index
    assert cleaning_report(panel).attrs["notes"]["rows without a variable's name"] == 2


def test_of_several_values_at_one_time_the_last_counts(set_a: Path) -> None:
    panel = load_physionet2012(set_a, clean=False)
    assert panel.loc[(132540, pd.Timedelta(minutes=10)), "HR"] == 88
    assert cleaning_report(panel).loc["HR", "duplicates"] == 1


def test_impossible_values_go_if_asked_for(set_a: Path) -> None:
    raw, clean = (load_physionet2012(set_a, clean=c).loc[132540] for c in (False, True))
    assert raw["pH"].max() == 735
    assert clean["pH"].max() == pytest.approx(7.35)
    assert raw["Temp"].min() == -17.8
    assert clean["Temp"].isna().all()
    report = cleaning_report(load_physionet2012(set_a))
    assert report.loc[["pH"], "converted"].tolist() == [1]
    assert report.loc[["Temp"], "below"].tolist() == [1]
    assert report.loc["Height", "known"] == 1  # stays, not rows


def test_words_in_place_of_numbers_are_missing_and_counted(set_a: Path) -> None:
    add(set_a, "5.txt", "00:00,RecordID,5\n00:10,HR,high\n00:10,Temp,37\n00:20,HR,\n")
    panel = load_physionet2012(set_a)
    assert panel.loc[5, "HR"].isna().all()
    np.testing.assert_array_equal(panel.loc[5, "Temp"], [NAN, 37])
    assert cleaning_report(panel).loc["HR", "not_numeric"] == 1


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.xz", ".tar.bz2", ".zip"])
def test_archives_give_what_the_folder_gives(set_a: Path, tmp_path: Path, ending: str) -> None:
    archive = pack(set_a, tmp_path / f"set-a{ending}")
    pd.testing.assert_frame_equal(load_physionet2012(archive), load_physionet2012(set_a))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["Outcomes-a.txt", "set-a", archive.name]
    )  # nothing was unpacked


def test_a_set_in_two_forms_is_read_once(set_a: Path, tmp_path: Path) -> None:
    pack(set_a, tmp_path / "set-a.tar.gz")
    pd.testing.assert_frame_equal(load_physionet2012(tmp_path), load_physionet2012(set_a))


def test_several_sets_of_a_folder_are_read_with_their_outcomes(set_a: Path, tmp_path: Path) -> None:
    other = tmp_path / "set-b"
    other.mkdir()
    add(other, "142675.txt", "00:00,RecordID,142675\n00:00,Age,70\n00:30,HR,99\n")
    line = "142675,20,9,12,-1,0\n"
    (tmp_path / "Outcomes-b.txt").write_text(OUTCOMES.splitlines(keepends=True)[0] + line)
    panel = load_physionet2012(tmp_path)
    assert list(panel.index.unique(0)) == [132539, 132540, 140501, 142675]
    assert panel.loc[142675, "SAPS-I"].tolist() == [20, 20]


def test_the_variable_names_the_folder(set_a: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = set_a.parent / "root"
    (root / "health").mkdir(parents=True)
    (root / "health" / "physionet2012").symlink_to(set_a.parent)
    monkeypatch.setenv("TSFORECAST_DATA", str(root))
    pd.testing.assert_frame_equal(load_physionet2012(), load_physionet2012(set_a))
    pd.testing.assert_frame_equal(load_physionet2012(root), load_physionet2012(set_a))


def test_without_outcomes_there_are_no_such_columns(set_a: Path) -> None:
    (set_a.parent / "Outcomes-a.txt").rename(set_a.parent / "elsewhere.txt")
    assert "In-hospital_death" not in load_physionet2012(set_a)
    panel = load_physionet2012(set_a, outcomes=set_a.parent / "elsewhere.txt")
    assert panel.groupby(level=0)["In-hospital_death"].first().tolist()[:2] == [0, 1]


def test_line_ends_of_other_systems_and_blank_ends_are_read(set_a: Path) -> None:
    expected = load_physionet2012(set_a)
    for path in set_a.iterdir():
        path.write_bytes(path.read_text().strip().replace("\n", "\r\n").encode() + b"\r\n\r\n")
    (set_a / "._132539.txt").write_bytes(b"\x00\x05")  # what macOS leaves in archives
    pd.testing.assert_frame_equal(load_physionet2012(set_a), expected)


# ------------------------------------------------------------------------------------------- grid


def test_grid_gives_a_value_to_the_first_hour_at_or_after_it(set_a: Path) -> None:
    panel = load_physionet2012(set_a, grid="1h")
    first = panel.loc[132539]
    np.testing.assert_array_equal(first.index / HOUR, np.arange(49))
    np.testing.assert_array_equal(first["HR"].iloc[:3], [NAN, 80, NAN])
    np.testing.assert_array_equal(first["Urine"].iloc[:3], [NAN, 960, 30])
    assert first["HR"].iloc[48] == 60
    assert first["Age"].tolist() == [54] * 49
    assert panel.loc[140501].index.tolist() == [pd.Timedelta(0)]
    pd.testing.assert_frame_equal(as_panel(panel), panel)


@pytest.mark.parametrize(
    ("rule", "value"),
    [("last", 80), ("first", 73), ("min", 73), ("max", 80), ("mean", 230 / 3), ("sum", 230)],
)
def test_rules_say_which_of_several_values_counts(set_a: Path, rule: str, value: float) -> None:
    panel = load_physionet2012(set_a, grid="1h", rules={"HR": rule})  # type: ignore[dict-item]
    assert panel.loc[(132539, HOUR), "HR"] == pytest.approx(value)


def test_no_row_of_a_grid_knows_of_later_measurements(set_a: Path) -> None:
    whole = load_physionet2012(set_a, grid="1h")
    text = FIRST.replace("01:37,Urine,30\n48:00,HR,60\n", "01:20,Urine,999\n01:50,HR,111\n")
    (set_a / "132539.txt").write_text(text)
    changed = load_physionet2012(set_a, grid="1h")
    early = [pd.Timedelta(0), HOUR]
    pd.testing.assert_frame_equal(whole.loc[132539].loc[early], changed.loc[132539].loc[early])


# ------------------------------------------------------------------------------------ bad 2012 data


def test_unknown_variable_is_named_with_the_nearest(set_a: Path) -> None:
    add(set_a, "5.txt", "00:00,RecordID,5\n00:10,RespRat,12\n")
    with pytest.raises(
        tsf.DataError, match=r"series 5;.*RespRat,12.*: .*'RespRat' in 1 lines.*mean 'RespRate'"
    ):
        load_physionet2012(set_a)


@pytest.mark.parametrize("stamp", ["", "1:75", "noon", "-1:00", "00:10:30"])
def test_time_that_cannot_be_read_is_named(set_a: Path, stamp: str) -> None:
    add(set_a, "5.txt", f"00:00,RecordID,5\n{stamp},HR,80\n")
    with pytest.raises(tsf.DataError, match=r"time cannot be read \(series 5; first rows: .*HR,80"):
        load_physionet2012(set_a)


def test_lines_out_of_order_are_sorted_and_counted(set_a: Path) -> None:
    add(set_a, "5.txt", "00:00,RecordID,5\n02:00,HR,80\n01:00,HR,70\n")
    panel = load_physionet2012(set_a)
    assert panel.loc[5, "HR"].tolist()[1:] == [70, 80]
    assert cleaning_report(panel).attrs["notes"]["lines out of order of time"] == 1


@pytest.mark.parametrize("line", ["00:10,HR,80,1", "00:10;HR;80"])
def test_line_of_another_format_is_named(set_a: Path, line: str) -> None:
    add(set_a, "5.txt", f"00:00,RecordID,5\n{line}\n")
    with pytest.raises(tsf.DataError, match="series 5"):
        load_physionet2012(set_a)


@pytest.mark.parametrize("line", ["00:10,HR", "00:10", "00:1"])
def test_line_cut_short_is_named_with_its_number(set_a: Path, line: str) -> None:
    add(set_a, "5.txt", f"00:00,RecordID,5\n\n00:05,HR,80\n{line}\n00:20,HR,90\n")
    with pytest.raises(
        tsf.DataError, match=rf"not of the format \(series 5; first rows: line 5 of 5.txt.*'{line}'"
    ):
        load_physionet2012(set_a)


def test_blank_lines_between_others_are_passed_over(set_a: Path) -> None:
    add(set_a, "5.txt", "00:00,RecordID,5\n\n\n00:05,HR,80\n\n00:20,HR,\n00:30,HR,90\n")
    assert load_physionet2012(set_a).loc[5, "HR"].dropna().tolist() == [80, 90]


def test_folder_without_records_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no records: expected files set-\*"):
        load_physionet2012(tmp_path)
    with pytest.raises(FileNotFoundError, match="looked at .*nowhere"):
        load_physionet2012(tmp_path / "nowhere")


def test_file_not_named_by_a_record_is_refused(set_a: Path) -> None:
    (set_a / "notes.txt").write_text("hello")
    with pytest.raises(tsf.DataError, match=r"expected names such as 132539.txt, found notes.txt"):
        load_physionet2012(set_a)


def test_outcomes_of_other_stays_are_refused(set_a: Path) -> None:
    (set_a.parent / "Outcomes-a.txt").write_text(OUTCOMES.splitlines()[0] + "\n1,1,1,1,1,1\n")
    with pytest.raises(tsf.DataError, match="outcomes of other stays: expected outcomes of 132539"):
        load_physionet2012(set_a)
    with pytest.raises(FileNotFoundError, match="outcomes: expected a file"):
        load_physionet2012(set_a, outcomes=set_a / "none.txt")
    with pytest.raises(tsf.DataError, match="columns not found in the outcomes"):
        load_physionet2012(set_a, outcomes=set_a / "132539.txt")


def test_archive_that_ends_early_is_refused(set_a: Path, tmp_path: Path) -> None:
    archive = pack(set_a, tmp_path / "set-a.tar.gz")
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(tsf.DataError, match="archive cannot be read: .*set-a.tar.gz"):
        load_physionet2012(archive)


def test_record_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "set-a.tar"
    with tarfile.open(archive, "w") as tar:
        for folder in ("a", "b"):
            info = tarfile.TarInfo(f"{folder}/132539.txt")
            info.size = len(FIRST)
            tar.addfile(info, io.BytesIO(FIRST.encode()))
    with pytest.raises(tsf.DataError, match="several for 132539"):
        load_physionet2012(archive)
    for name in ("set-a", "set-a-copy"):
        (tmp_path / "both" / name).mkdir(parents=True)
        (tmp_path / "both" / name / "132539.txt").write_text(FIRST)
    with pytest.raises(tsf.DataError, match="records occur more than once.*several for 132539"):
        load_physionet2012(tmp_path / "both")


@pytest.mark.parametrize("grid", ["soon", "-1h", 1, "0h"])
def test_grid_that_cannot_be_is_refused(set_a: Path, grid: object) -> None:
    with pytest.raises(ValueError, match="'grid': expected a span of time such as '1h'"):
        load_physionet2012(set_a, grid=grid)  # type: ignore[arg-type]


def test_rule_of_an_unknown_variable_is_refused(set_a: Path) -> None:
    with pytest.raises(ValueError, match="'rules'.*found 'Hr'.*mean 'HR'"):
        load_physionet2012(set_a, grid="1h", rules={"Hr": "mean"})
    with pytest.raises(ValueError, match="'rules': expected rules for a grid="):
        load_physionet2012(set_a, rules={"HR": "mean"})


# ------------------------------------------------------------------------------------------- 2019

COLUMNS = (
    "HR|O2Sat|Temp|SBP|MAP|DBP|Resp|EtCO2|BaseExcess|HCO3|FiO2|pH|PaCO2|SaO2|AST|BUN|Alkalinephos|"
    "Calcium|Chloride|Creatinine|Bilirubin_direct|Glucose|Lactate|Magnesium|Phosphate|Potassium|"
    "Bilirubin_total|TroponinI|Hct|Hgb|PTT|WBC|Fibrinogen|Platelets|Age|Gender|Unit1|Unit2|"
    "HospAdmTime|ICULOS|SepsisLabel"
)


def psv(labels: str, *, begin: int = 1, heart_rate: int = 80, fio2: float = 0.4) -> str:
    """Give a record with one row for each digit of `labels`."""
    names = COLUMNS.split("|")
    lines = [COLUMNS]
    for i, label in enumerate(labels):
        row = dict.fromkeys(names, "NaN")
        row |= {"HR": str(heart_rate + i), "FiO2": str(fio2), "Age": "100", "Gender": "1"}
        row |= {"HospAdmTime": "-0.03", "ICULOS": str(begin + i), "SepsisLabel": label}
        lines.append("|".join(row.values()))
    return "\n".join(lines) + "\n"


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    folder = tmp_path / "training_setA"
    folder.mkdir()
    (folder / "p000002.psv").write_text(psv("0001111111", heart_rate=90))
    (folder / "p000001.psv").write_text(psv("0"))
    return folder


def onset(folder: Path, labels: str, **options: int) -> list[int]:
    (folder / "p000009.psv").write_text(psv(labels, **options))
    return load_physionet2019(folder).loc["p000009", "onset"].astype(int).tolist()


def test_hourly_records_become_a_panel(hospital: Path) -> None:
    panel = load_physionet2019(hospital)
    assert panel.index.names == ["patient", "time"]
    assert list(panel.index.unique(0)) == ["p000001", "p000002"]
    np.testing.assert_array_equal(panel.loc["p000002"].index / HOUR, np.arange(1, 11))
    np.testing.assert_array_equal(panel.loc["p000002", "HR"], np.arange(90, 100))
    assert panel["EtCO2"].isna().all()
    assert list(panel.columns[-2:]) == ["SepsisLabel", "onset"]
    assert "ICULOS" not in panel
    assert panel.shape == (11, 34 + 5 + 2)
    pd.testing.assert_frame_equal(as_panel(panel), panel)


def test_patient_with_one_row_is_read(hospital: Path) -> None:
    assert load_physionet2019(hospital).loc["p000001"].shape[0] == 1


def test_onset_is_six_hours_after_the_label_begins(hospital: Path) -> None:
    assert onset(hospital, "0001111111") == [0] * 9 + [1]
    assert onset(hospital, "00011111111") == [0] * 9 + [1, 1]
    assert onset(hospital, "0000") == [0] * 4


def test_onset_counts_hours_and_not_rows(hospital: Path) -> None:
    lines = psv("0011111").splitlines()
    kept = [line for i, line in enumerate(lines) if i not in (4, 5)]  # hours 4 and 5 are lost
    late = "\n".join([*kept, lines[-1].replace("|7|1", "|9|1")])
    (hospital / "p000009.psv").write_text(late)
    panel = load_physionet2019(hospital).loc["p000009"]
    np.testing.assert_array_equal(panel.index / HOUR, [1, 2, 3, 6, 7, 9])
    assert panel["onset"].tolist() == [0, 0, 0, 0, 0, 1]


def test_label_in_the_first_row_is_left_censored_and_named(hospital: Path) -> None:
    assert onset(hospital, "111111") == [1] * 6
    notes = cleaning_report(load_physionet2019(hospital)).attrs["notes"]
    assert notes["label on in the first row: onset not known, on throughout"] == ["p000009"]


def test_record_that_ends_before_the_onset_has_it_in_the_last_row(hospital: Path) -> None:
    assert onset(hospital, "000111") == [0] * 5 + [1]
    notes = cleaning_report(load_physionet2019(hospital)).attrs["notes"]
    assert notes["record ends before the onset: on in the last row"] == 1


def test_several_hospitals_get_a_site(hospital: Path, tmp_path: Path) -> None:
    other = tmp_path / "training_setB"
    other.mkdir()
    (other / "p100001.psv").write_text(psv("00"))
    (other / "p000000.psv").write_text(psv("000"))
    for given in (tmp_path, [hospital, other]):
        panel = load_physionet2019(given)
        sites = panel.groupby(level=0)["site"].first()
        assert sites.tolist() == ["B", "A", "A", "B"]
        assert isinstance(panel["site"].dtype, pd.CategoricalDtype)
        pd.testing.assert_frame_equal(as_panel(panel), panel)
    assert "site" not in load_physionet2019(hospital)


def test_layout_of_the_download_by_file_is_read(hospital: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "training").mkdir()
    expected = load_physionet2019(hospital)
    hospital.rename(tmp_path / "root" / "training" / "training_setA")
    pd.testing.assert_frame_equal(load_physionet2019(tmp_path / "root"), expected)


@pytest.mark.parametrize("ending", [".zip", ".tar.xz"])
def test_archives_of_2019_give_what_the_folder_gives(
    hospital: Path, tmp_path: Path, ending: str
) -> None:
    archive = pack(hospital, tmp_path / f"training_setA{ending}")
    pd.testing.assert_frame_equal(load_physionet2019(archive), load_physionet2019(hospital))


def test_impossible_values_of_2019_go(hospital: Path) -> None:
    (hospital / "p000003.psv").write_text(psv("0", fio2=4000))
    (hospital / "p000004.psv").write_text(psv("0", fio2=-50))
    (hospital / "p000005.psv").write_text(psv("0", fio2=40))
    panel = load_physionet2019(hospital)
    np.testing.assert_array_equal(panel["FiO2"].iloc[-3:], [NAN, NAN, 0.4])
    report = cleaning_report(panel)
    assert report.loc["FiO2", ["below", "above", "converted"]].tolist() == [1, 1, 1]
    raw = load_physionet2019(hospital, clean=False)
    np.testing.assert_array_equal(raw["FiO2"].iloc[-3:], [4000, -50, 40])
    pd.testing.assert_frame_equal(plausible(raw), panel)


def test_records_without_a_label_are_read(hospital: Path) -> None:
    for path in hospital.iterdir():
        lines = [line.rpartition("|")[0] for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines))
    panel = load_physionet2019(hospital)
    assert not {"SepsisLabel", "onset"} & set(panel)


def test_a_stay_of_ten_thousand_hours_is_read(hospital: Path) -> None:
    (hospital / "p000003.psv").write_text(psv("0" * 10_000, heart_rate=-5000))
    panel = load_physionet2019(hospital)
    assert panel.loc["p000003"].index[-1] == 10_000 * HOUR
    assert cleaning_report(panel).loc["HR", "above"] > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (psv("00").replace("|1|0\n", "|3|0\n"), "hours do not increase.*ICULOS 2 after 3"),
        (psv("00").replace("|2|0\n", "|1|0\n"), "hours do not increase.*ICULOS 1 after 1"),
        (psv("0010"), "label cannot be used.*ICULOS 4 = 0"),
        (psv("0").replace("|1|0", "|1|2"), "label cannot be used.*ICULOS 1 = 2"),
        (psv("0").replace("|1|0", "|1.5|0"), "hours do not increase.*column 'ICULOS'"),
        (psv("0").replace("|-0.03|", "|"), "row is not of the format.*41 numbers"),
        (psv("0").replace("|-0.03|", "|x|"), "row is not of the format"),
        (psv("0") + "1|2|3\n", "row is not of the format.*found .1.2.3."),
        (psv("0").replace("|-0.03|", "|1|2|3|"), "row is not of the format"),
        (COLUMNS + "\n", "files without rows .*none in p000009"),
        (psv("0").replace("HR|O2Sat", "O2Sat|HR"), "files differ in their columns"),
    ],
)
def test_damaged_records_are_named(hospital: Path, text: str, message: str) -> None:
    (hospital / "p000009.psv").write_text(text)
    with pytest.raises(tsf.DataError, match=message) as error:
        load_physionet2019(hospital)
    assert "p000009" in str(error.value)


def test_columns_of_another_table_are_refused(hospital: Path) -> None:
    for path in hospital.iterdir():
        path.write_text(path.read_text().replace("O2Sat", "O2sat"))
    with pytest.raises(tsf.DataError, match="Missing: O2Sat. Did you mean 'O2sat'"):
        load_physionet2019(hospital)


def test_patients_of_both_hospitals_with_one_name_are_refused(hospital: Path) -> None:
    with pytest.raises(tsf.DataError, match="records occur more than once"):
        load_physionet2019([hospital, hospital])


@pytest.mark.parametrize("name", ["physionet2012", "physionet2019"])
def test_missing_data_say_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = getattr(tsf, f"load_{name}")
    monkeypatch.delenv("TSFORECAST_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=rf"TSFORECAST_DATA is not set.*fetch_{name}\("):
        load()
    monkeypatch.setenv("TSFORECAST_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"looked in {tmp_path}"):
        load()
    assert (CARDS / f"{name}.md").is_file()


# --------------------------------------------------------------------------------- original files


@pytest.fixture(scope="module")
def original_2012() -> tuple[pd.DataFrame, float]:
    begin = time.perf_counter()
    panel = load_physionet2012()
    return panel, time.perf_counter() - begin


@pytest.fixture(scope="module")
def original_2019() -> tuple[pd.DataFrame, float]:
    begin = time.perf_counter()
    panel = load_physionet2019()
    return panel, time.perf_counter() - begin


@needs_files
def test_the_original_set_a_has_its_published_counts(
    original_2012: tuple[pd.DataFrame, float],
) -> None:
    panel, seconds = original_2012
    assert seconds < 60  # 3 on an idle core
    stays = panel.groupby(level=0).first()
    assert len(stays) == 4000
    assert stays["In-hospital_death"].sum() == 554
    assert stays["Height"].isna().sum() == pytest.approx(0.48 * 4000, abs=100)
    times = panel.index.get_level_values(1)
    assert times.min() == pd.Timedelta(0)
    assert times.max() == 48 * HOUR
    notes = cleaning_report(panel).attrs["notes"]
    assert notes["stays without measurements"] == [140501, 140936, 141264]
    first = panel.loc[132539].iloc[:3]
    np.testing.assert_array_equal(first["HR"], [NAN, 73, 77])
    np.testing.assert_array_equal(first["NIMAP"], [NAN, 92.33, 91])


@needs_files
def test_the_original_set_a_equals_a_plain_reading_of_some_files(
    original_2012: tuple[pd.DataFrame, float], tmp_path: Path
) -> None:
    archive = Path(os.environ["TSFORECAST_DATA"]) / "health/physionet2012/set-a.tar.xz"
    with tarfile.open(archive) as tar:
        for i, member in enumerate(tar):
            if i % 400 == 1:
                text = tar.extractfile(member).read()  # type: ignore[union-attr]
                (tmp_path / Path(member.name).name).write_bytes(text)
    some = load_physionet2012(tmp_path, clean=False)
    variables = list(some.columns[:37])
    pd.testing.assert_frame_equal(
        plausible(some[variables]), original_2012[0].loc[list(some.index.unique(0)), variables]
    )
    for path in sorted(tmp_path.iterdir()):
        plain = {}
        for line in path.read_text().splitlines()[1:]:
            stamp, name, value = line.split(",")
            hours, minutes = stamp.split(":")
            if name in variables and value != "-1":
                at = pd.Timedelta(hours=int(hours), minutes=int(minutes))
                plain[at, name] = float(value)  # the last one stays
        own = some.loc[int(path.stem), variables].stack().dropna()
        assert own.to_dict() == plain


@needs_files
def test_the_original_hospital_a_has_its_published_counts(
    original_2019: tuple[pd.DataFrame, float],
) -> None:
    panel, seconds = original_2019
    assert seconds < 60  # 5 on an idle core
    assert panel.index.unique(0).size == 20_336
    assert len(panel) == 790_215
    stays = panel.groupby(level=0)[["SepsisLabel", "onset"]].max()
    assert stays.sum().tolist() == [1790, 1790]
    assert panel["EtCO2"].isna().all()
    assert panel["FiO2"].dropna().between(0.2, 1).all()
    assert panel["Age"].max() == 89
    notes = cleaning_report(panel).attrs["notes"]
    assert len(notes["label on in the first row: onset not known, on throughout"]) == 203
    assert notes["record ends before the onset: on in the last row"] == 2


@needs_files
def test_records_of_septic_patients_end_soon_after_the_onset(
    original_2019: tuple[pd.DataFrame, float],
) -> None:
    panel = original_2019[0]
    on = panel[panel["onset"] == 1].reset_index().groupby("patient")["time"].agg(["min", "max"])
    lasts = (on["max"] - on["min"]) / HOUR
    begins = panel.groupby(level=0)["SepsisLabel"].first()
    assert lasts[begins[on.index] == 0].max() == 3
