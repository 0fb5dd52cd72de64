"""The whole path, from files to alarms: what is written after an hour changes nothing before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.pipeline import make_pipeline

import tsforecast as tsf
from tsforecast.backtesting.nuisance import nuisance_report

# other patients, under the names of those that were fitted on
pytestmark = pytest.mark.filterwarnings("ignore:40 of 40 series have the names of some")

COLUMNS = [
    *["HR", "O2Sat", "Temp", "SBP", "MAP", "DBP", "Resp", "EtCO2", "BaseExcess", "HCO3", "FiO2"],
    *["pH", "PaCO2", "SaO2", "AST", "BUN", "Alkalinephos", "Calcium", "Chloride", "Creatinine"],
    *["Bilirubin_direct", "Glucose", "Lactate", "Magnesium", "Phosphate", "Potassium"],
    *["Bilirubin_total", "TroponinI", "Hct", "Hgb", "PTT", "WBC", "Fibrinogen", "Platelets"],
    *["Age", "Gender", "Unit1", "Unit2", "HospAdmTime", "ICULOS", "SepsisLabel"],
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_patients(folder: Path, n: int = 60, seed: int = 0) -> None:
    """Write files as those of PhysioNet 2019: septic records stop three hours after the onset."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(n):
        onset = int(rng.integers(14, 40)) if number % 3 == 0 else None
        length = onset + 4 if onset is not None else int(rng.integers(30, 50))
        frame = pd.DataFrame(np.nan, index=range(length), columns=COLUMNS)
        near = 0.0 if onset is None else np.clip((np.arange(length) - onset + 8) / 8, 0, 1)
        frame["HR"] = (80 + 30 * near + rng.normal(0, 6, length)).round()
        frame["MAP"] = (85 - 20 * near + rng.normal(0, 5, length)).round()
        frame["Temp"] = np.where(rng.random(length) < 0.3, 36.8 + near, np.nan)
        frame["Lactate"] = np.where(rng.random(length) < 0.1, 1 + 3 * near, np.nan)
        frame["Age"], frame["Gender"] = 50 + number % 30, number % 2
        frame["HospAdmTime"] = -1.5
        frame["ICULOS"] = np.arange(1, length + 1)
        frame["SepsisLabel"] = 0 if onset is None else (np.arange(length) >= onset - 6).astype(int)
        frame.to_csv(folder / f"p{number:06d}.psv", sep="|", index=False, na_rep="NaN")


def cut_patients(folder: Path, cut: Path, hours: int) -> None:
    """Write the same files as they stood `hours` after admission."""
    cut.mkdir()
    for path in sorted(folder.glob("*.psv")):
        lines = path.read_text().splitlines(keepends=True)
        (cut / path.name).write_text("".join(lines[: hours + 1]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("patients")
    write_patients(place / "train")
    write_patients(place / "new", 40, seed=1)
    cut_patients(place / "new", place / "cut", 12)
    return place


@pytest.fixture(scope="module")
def path(folders):
    """Reader, transforms, network beside trees, calibration, and a policy, fitted."""
    question = {"event": "onset", "horizon": "6h", "step": "1h"}
    panel = tsf.load_physionet2019(folders / "train")
    model = tsf.EventClassifier(
        **question,
        static=["Age", "Gender"],
        transform=make_pipeline(tsf.PlausibleRange(), tsf.LogSkewed()),
        hidden_sizes=(8,),
        input_decay=True,
        beside=tsf.BoostedBaseline(**question, max_iter=10),
        training=tsf.Training(max_epochs=4, learning_rate=1e-2, batch_size=16),
        random_state=0,
    )
    calibrated = tsf.CalibratedEvents(model, method="platt", size=0.3, random_state=0)
    with pytest.warns(UserWarning, match="columns hold no value"):  # that nobody has measured
        calibrated.fit(panel)
    with pytest.warns(UserWarning, match="that the estimator has been fitted on"):
        frame = tsf.event_frame(calibrated, panel, name="m")
    return calibrated, tsf.AlarmPolicy(silence="6h").fit(frame, alarms_per_patient_day=1.0)


def risks_and_alarms(path, folder):
    model, policy = path
    frame = tsf.event_frame(model, tsf.load_physionet2019(folder), name="m")
    return frame.assign(alarm=policy.apply(frame)).set_index(["series", "time"])


def test_files_cut_at_an_hour_give_the_same_risks_and_alarms_up_to_it(folders, path):
    whole, cut = (risks_and_alarms(path, folders / name) for name in ("new", "cut"))
    assert 0 < len(cut) < len(whole)
    np.testing.assert_allclose(cut["risk"], whole["risk"].loc[cut.index], rtol=1e-5)
    at_risk = whole["at_risk"].loc[cut.index] & cut["at_risk"]
    pd.testing.assert_series_equal(cut["alarm"][at_risk], whole["alarm"].loc[cut.index][at_risk])
    assert whole["alarm"].any()


def test_values_written_after_an_hour_change_no_bit_before_it(folders, path, tmp_path):
    altered = tmp_path / "altered"
    altered.mkdir()
    for file in (folders / "new").glob("*.psv"):
        frame = pd.read_csv(file, sep="|")
        late = frame["ICULOS"] > 12
        frame.loc[late, ["HR", "MAP", "Temp", "Lactate"]] = [199.0, 31.0, np.nan, 20.0]
        frame.to_csv(altered / file.name, sep="|", index=False, na_rep="NaN")
    one, two = (risks_and_alarms(path, place) for place in (folders / "new", altered))
    early = one.index.get_level_values("time") <= pd.Timedelta(hours=12)
    pd.testing.assert_series_equal(one["risk"][early], two["risk"][early], check_exact=True)
    assert (one["alarm"][early] == two["alarm"][early]).all()
    assert not np.allclose(one["risk"][~early], two["risk"][~early])


def test_the_hours_left_in_a_record_are_a_leak_that_the_path_cannot_reach(folders, path):
    panel = tsf.load_physionet2019(folders / "new")
    nuisance = nuisance_report(panel, "onset", "6h", step="1h")
    whole = nuisance.loc["whole record"]["auroc"].max()
    causal = nuisance.loc["causal"].loc["record length", "auroc"]
    assert whole > 0.9 > causal + 0.1, nuisance
    # a record that goes on, as it does at the bedside, has the risks of one that stops
    model, _ = path
    risk = model.predict_risk(panel)
    last = panel.groupby(level=0).tail(1)
    ends = last.index.get_level_values("time")
    names = last.index.get_level_values(0)
    more = pd.concat(
        last.set_index(pd.MultiIndex.from_arrays([names, ends + pd.Timedelta(hours=k)]))
        for k in (1, 2, 3)
    ).rename_axis(panel.index.names)
    longer = model.predict_risk(pd.concat([panel, more]).sort_index())
    np.testing.assert_allclose(longer.loc[risk.index], risk, rtol=1e-5)
