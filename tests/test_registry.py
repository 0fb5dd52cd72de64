"""Models of a job: immutable versions, champion and challenger, and what a broken disk does."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf
from tsforecast.batch.exits import ModelError
from tsforecast.batch.profile import bin_shares, training_profile
from tsforecast.batch.registry import Registry

PANEL = tsf.make_prices(2, 40, random_state=0)


def model(horizon=1):
    return tsf.Naive(target="close", horizon=horizon, levels=(0.5,)).fit(PANEL)


def about(day):
    return {"run_date": f"2024-06-{day:02d}", "span": {"series": 2, "rows": 80}}


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "models", "prices")


def filled(registry, days=(1, 2, 3)):
    return [registry.add(model(day), about(day)) for day in days]


def test_versions_are_numbered_and_loaded_as_they_were_saved(registry):
    assert filled(registry) == ["0001", "0002", "0003"] == registry.versions()
    again = registry.load("0002")
    pd.testing.assert_frame_equal(again.predict(PANEL), model(2).predict(PANEL))
    assert tsf.load(registry.folder / "0003").horizon == 3  # a saved model as any other


def test_what_is_known_of_a_version_names_model_libraries_and_check_sums(registry):
    filled(registry, (1,))
    known = registry.show("0001")
    assert known["run_date"] == "2024-06-01" and known["estimator"] == "Naive"
    assert known["model_id"].startswith("prices/0001-")
    assert known["libraries"]["pandas"] == pd.__version__


def test_equal_models_of_two_registries_have_one_id_and_other_ones_another(tmp_path):
    ids = []
    for name, horizon in (("a", 1), ("b", 1), ("c", 2)):
        registry = Registry(tmp_path / name, "prices")
        registry.add(model(horizon), {})
        ids.append(registry.show("0001")["model_id"])
    assert ids[0] == ids[1] != ids[2]


def test_a_version_is_never_written_again(registry):
    filled(registry, (1,))
    with pytest.raises(FileExistsError):
        tsf.save(model(5), registry.folder / "0001")
    assert registry.load("0001").horizon == 1


def test_promote_and_rollback_move_the_champion_and_leave_a_history(registry):
    filled(registry)
    registry.promote("0001", why="first")
    registry.challenge("0002", why="a fit")
    assert registry.find("challenger") == "0002"
    assert registry.promote() == "0002"
    registry.promote("0003")
    assert registry.rollback(why="worse") == "0002"
    aliases = registry.aliases()
    assert aliases["champion"] == "0002" and aliases["challenger"] is None
    assert aliases["champions"] == ["0001", "0002"]
    actions = [(event["action"], event["version"]) for event in aliases["history"]]
    assert actions == [
        ("promote", "0001"),
        ("challenge", "0002"),
        ("promote", "0002"),
        ("promote", "0003"),
        ("rollback", "0003"),
    ]
    assert aliases["history"][-1]["why"] == "worse"
    registry.rollback()
    with pytest.raises(ModelError, match="expected a champion before the present one, found 1"):
        registry.rollback()


def test_a_fit_of_a_past_date_does_not_become_the_champion_of_today(registry):
    filled(registry, (5, 9, 7))
    for version in registry.versions():
        registry.succeed(version, why="a fit")
    assert registry.aliases()["champions"] == ["0001", "0003", "0002"]
    assert registry.find("champion") == "0002"


@pytest.mark.parametrize(
    ("day", "expected"), [(4, None), (5, "0001"), (6, "0001"), (7, "0003"), (30, "0002")]
)
def test_the_champion_of_a_date_is_the_newest_that_was_fitted_by_then(registry, day, expected):
    filled(registry, (5, 9, 7))
    for version in registry.versions():
        registry.succeed(version, why="a fit")
    found = registry.champion_where(lambda known: known["run_date"] <= f"2024-06-{day:02d}")
    assert found == expected


def test_who_was_rolled_back_is_used_for_no_date(registry):
    filled(registry, (1, 2))
    registry.promote("0001")
    registry.promote("0002")
    registry.rollback()
    assert registry.champion_where(lambda known: True) == "0001"


def test_pruning_keeps_the_newest_versions_and_all_that_are_needed(registry):
    filled(registry, range(1, 9))
    for version in ("0001", "0004", "0002"):  # the present champion is not the newest
        registry.promote(version)
    registry.challenge("0003", why="a fit")
    assert registry.prune(2, needed=["0006"], why="keep = 2") == ["0001", "0005"]
    assert registry.versions() == ["0002", "0003", "0004", "0006", "0007", "0008"]
    aliases = registry.aliases()
    assert aliases["champions"] == ["0004", "0002"] and aliases["challenger"] == "0003"
    assert [(e["action"], e["version"], e["why"]) for e in aliases["history"][-2:]] == [
        ("prune", "0001", "keep = 2"),
        ("prune", "0005", "keep = 2"),
    ]
    assert registry.rollback() == "0004"
    assert registry.add(model(), about(9)) == "0009"  # no number is given twice
    assert {entry.name for entry in registry.folder.iterdir()} == {
        "aliases.json",
        *registry.versions(),
    }


def test_pruning_to_as_many_as_there_are_changes_nothing(registry):
    filled(registry)
    registry.promote("0001")
    before = (registry.folder / "aliases.json").read_bytes()
    assert registry.prune(3) == []
    assert (registry.folder / "aliases.json").read_bytes() == before
    with pytest.raises(ValueError, match="'keep': expected a whole number of at least 1"):
        registry.prune(0)


@pytest.mark.parametrize("step", ["rename", "rmtree"])
def test_pruning_that_is_stopped_leaves_a_registry_that_can_be_used(registry, monkeypatch, step):
    from tsforecast.batch import registry as module

    filled(registry)
    for version in registry.versions():
        registry.promote(version)

    class Stopped(BaseException):
        pass

    def stop(*args, **kwargs):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(module.os if step == "rename" else module.shutil, step, stop)
        with pytest.raises(Stopped):
            registry.prune(1)
    assert registry.find("champion") == "0003" and registry.load("champion").horizon == 3
    registry.sweep()
    registry.prune(1)
    assert registry.versions() == ["0002", "0003"]


def test_the_list_names_roles_and_what_cannot_be_read(registry):
    filled(registry)
    registry.promote("0001")
    registry.promote("0002")
    registry.challenge("0003", why="a fit")
    assert registry.list()["role"].to_list() == ["former", "champion", "challenger"]
    assert registry.list()["run_date"].to_list() == ["2024-06-01", "2024-06-02", "2024-06-03"]
    (registry.folder / "0001" / "about.json").write_text("{}")
    assert registry.list()["role"].to_list() == ["former, broken", "champion", "challenger"]


def test_an_empty_registry_says_so(registry):
    assert registry.versions() == [] and len(registry.list()) == 0
    assert registry.champion_where(lambda known: True) is None
    with pytest.raises(ModelError, match="has no champion: expected a version with this alias"):
        registry.load("champion")
    with pytest.raises(ModelError, match="no version '0007': .* found no version at all"):
        registry.load("0007")


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("file", ["manifest.json", "state.json", "weights.safetensors"])
@pytest.mark.parametrize("harm", [_flip, os.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_model_is_an_error_of_code_6_and_nothing_else(registry, file, harm):
    filled(registry, (1,))
    harm(registry.folder / "0001" / file)
    with pytest.raises(ModelError, match="version 0001, cannot be loaded") as caught:
        registry.load("0001")
    assert caught.value.code == 6


def test_a_model_put_in_the_place_of_another_is_refused(registry):
    filled(registry, (1, 2))
    for file in ("manifest.json", "state.json", "weights.safetensors"):
        (registry.folder / "0001" / file).write_bytes(
            (registry.folder / "0002" / file).read_bytes()
        )
    with pytest.raises(ModelError, match="not the one that was written"):
        registry.load("0001")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"champions": 3}', "null", '{"champions": ["9"]}',
        '{"champions": [], "challenger": null, "history": [{"why": ""}]}',
        '{"champions": [], "challenger": null, "history": [3]}',
    ],
)  # fmt: skip
def test_damaged_aliases_are_an_error_of_code_6(registry, text):
    filled(registry, (1,))
    (registry.folder / "aliases.json").write_text(text)
    with pytest.raises(ModelError, match="aliases.json of model 'prices' cannot be used"):
        registry.find("champion")


def test_aliases_that_name_a_lost_version_are_an_error(registry):
    filled(registry, (1,))
    registry.promote("0001")
    os.rename(registry.folder / "0001", registry.folder / "0005")
    with pytest.raises(ModelError, match="names versions that are not there, 0001"):
        registry.find("champion")


def test_a_broken_model_is_not_promoted(registry):
    filled(registry, (1, 2))
    registry.promote("0001")
    _flip(registry.folder / "0002" / "state.json")
    with pytest.raises(ModelError):
        registry.promote("0002")
    assert registry.find("champion") == "0001"


def test_names_on_disk_are_safe(tmp_path):
    for name in ("BRK/B", "CON", "a:b", "../../x", "x" * 300):
        registry = Registry(tmp_path, name)
        registry.add(model(), {})
        assert registry.folder.parent == tmp_path and registry.show("0001")["model"] == name


KILLED = """
import os, sys
import tsforecast as tsf
from tsforecast.batch import registry as module
kill = lambda *args: os.kill(os.getpid(), 9)
module.{step} = kill
registry = module.Registry(sys.argv[1], "prices")
panel = tsf.make_prices(2, 40, random_state=0)
version = registry.add(tsf.Naive(target="close").fit(panel), {{}})
registry.promote(version)
"""


@pytest.mark.parametrize(("step", "versions"), [("replace_file", 1), ("sync_folder", 2)])
def test_a_kill_while_a_version_is_added_leaves_it_whole_or_absent(tmp_path, step, versions):
    registry = Registry(tmp_path, "prices")
    registry.promote(registry.add(model(), about(1)))
    code = KILLED.format(step=step)
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert process.returncode == -9
    registry.sweep()
    assert len(registry.versions()) == versions
    assert registry.find("champion") == "0001"
    assert {entry.name for entry in registry.folder.iterdir()} == {
        "aliases.json",
        *registry.versions(),
    }
    for version in registry.versions():
        registry.load(version)


# ---------------------------------------------------------------------------------- the profile


def test_the_profile_has_shares_of_bins_and_no_row_beyond_the_extremes():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000)
    values[:100] = np.nan
    found = training_profile(pd.DataFrame({"x": values, "kind": pd.Categorical(["a"] * 1000)}))
    assert list(found) == ["x"]
    known = values[100:]
    assert found["x"]["missing"] == pytest.approx(0.1) and found["x"]["rows"] == 1000
    assert found["x"]["edges"] == np.sort(known)[90 * np.arange(1, 10) - 1].tolist()
    assert np.allclose(found["x"]["shares"], 0.1, atol=2 / 900)
    assert (found["x"]["min"], found["x"]["max"]) == (known.min(), known.max())
    json.dumps(found, allow_nan=False)


def test_the_profile_of_a_flag_of_a_constant_and_of_nothing():
    table = pd.DataFrame({"flag": [0.0, 0, 0, 1], "same": 5.0, "none": np.nan})
    found = training_profile(table)
    assert found["flag"]["shares"] == [0.75, 0.25] and found["flag"]["edges"] == [1.0]
    assert found["same"]["edges"] == [] and found["same"]["shares"] == [1.0]
    assert found["none"]["min"] is None and found["none"]["missing"] == 1.0


def test_shares_of_bins_count_known_values_alone():
    assert bin_shares([1.0, 2.0, np.nan, 3.0], [2.0]).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert np.isnan(bin_shares([np.nan], [2.0])).all()
