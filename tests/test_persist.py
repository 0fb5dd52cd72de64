"""Saved models: what comes back is what was saved, and nothing else is ever loaded."""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

import tsforecast as tsf
from tests.small import assert_equal, make_model, make_panel, one_series
from tsforecast.serving._codec import dumps

PANEL = make_panel(3, 60)
MANIFEST, STATE, ARRAYS = FILES = ("manifest.json", "state.json", "weights.safetensors")


@pytest.fixture(scope="module")
def model():
    made = make_model(transform=make_pipeline(tsf.Log(), tsf.SeriesScaler()), hidden_sizes=(16, 4))
    return made.fit(PANEL)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    tsf.save(model, folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def round_trip(model, path, **options):
    tsf.save(model, path / "saved", **options)
    return tsf.load(path / "saved")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def forge(folder, *, manifest=None, state=None, arrays=None):
    """Change parts of a folder and mend its check sums, as an attacker would."""
    about = json.loads((folder / MANIFEST).read_bytes())
    if state is not None:
        tree = json.loads((folder / STATE).read_bytes())
        new = state(tree)
        data = new if isinstance(new, bytes) else json.dumps(tree if new is None else new).encode()
        (folder / STATE).write_bytes(data)
    if arrays is not None:
        (folder / ARRAYS).write_bytes(arrays((folder / ARRAYS).read_bytes()))
    for name in (STATE, ARRAYS):
        data = (folder / name).read_bytes()
        about["files"][name] = {"bytes": len(data), "sha256": sha256(data)}
    if manifest is not None:
        manifest(about)
    about.pop("sha256")
    about["sha256"] = sha256(dumps(about))
    (folder / MANIFEST).write_bytes(json.dumps(about).encode())


# --------------------------------------------------------------------------------- what comes back


def test_a_folder_holds_three_files_that_can_be_read_by_eye(saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    about = json.loads((saved / MANIFEST).read_text())
    assert about["class"] == "RecurrentForecaster"
    assert about["format"] == 1
    assert about["libraries"]["torch"] == torch.__version__
    assert about["parameters"]["horizon"] == 3
    assert set(about["files"]) == {STATE, ARRAYS}
    state = json.loads((saved / STATE).read_text())
    scaler = state["parts"]["chain"]["fields"]["parts"]["fitted"]["fields"]["parameters"]["steps"]
    assert "_location" in json.dumps(scaler)


def test_the_manifest_tells_columns_and_training_span(tmp_path):
    model = make_model(past=["x"], max_epochs=1).fit(PANEL)
    tsf.save(model, tmp_path / "m")
    about = json.loads((tmp_path / "m" / MANIFEST).read_text())
    schema = dict(about["schema"]["pairs"])
    assert schema["targets"] == ["y"]
    assert schema["series"] == "ticker"
    assert schema["time"] == "day"
    span = dict(about["training"]["pairs"])
    assert (span["series"], span["rows"]) == (3, 180)


def test_parameters_come_back(model, saved):
    before, after = (clone(m).get_params() for m in (model, tsf.load(saved)))
    assert repr(before) == repr(after)


def test_history_and_other_attributes_come_back(model, saved):
    again = tsf.load(saved)
    pd.testing.assert_frame_equal(again.history_, model.history_)
    for name in ("best_epochs_", "cutoff_", "targets_", "interrupted_"):
        assert getattr(again, name) == getattr(model, name)


def test_a_loaded_model_scores_the_same_origins(tmp_path):
    fitted = make_model(max_epochs=1).fit(PANEL.groupby(level=0).head(40))
    assert round_trip(fitted, tmp_path).score(PANEL) == fitted.score(PANEL)


def test_a_model_that_is_not_fitted_comes_back_so(tmp_path):
    again = round_trip(make_model(head=tsf.StudentT(), normalize=tsf.RunningScale(5)), tmp_path)
    assert again.head == tsf.StudentT()
    with pytest.raises(Exception, match="not fitted"):
        again.predict(PANEL)
    assert_equal(
        again.fit(PANEL).predict(),
        make_model(head=tsf.StudentT(), normalize=tsf.RunningScale(5)).fit(PANEL).predict(),
    )


def test_a_loaded_model_may_be_saved_again(saved, model, tmp_path):
    again = round_trip(tsf.load(saved), tmp_path)
    assert_equal(again.predict(PANEL), model.predict(PANEL))
    for name in (STATE, ARRAYS):
        assert (tmp_path / "saved" / name).read_bytes() == (saved / name).read_bytes()


def test_a_loaded_model_can_be_fitted_copied_and_go_on(saved, model):
    again = tsf.load(saved)
    assert_equal(copy.deepcopy(again).predict(PANEL), model.predict(PANEL))
    assert_equal(clone(again).fit(PANEL).predict(), clone(model).fit(PANEL).predict())
    warm = [clone(model).fit(PANEL, init_from=start).predict() for start in (model, again)]
    assert_equal(*warm)


def test_saving_and_loading_leave_random_states_and_threads_alone(model, tmp_path):
    def world():
        state = np.random.get_state()
        return torch.get_rng_state().tolist(), state[1].tolist(), torch.get_num_threads()

    before, warned = world(), list(warnings.filters)
    round_trip(model, tmp_path)
    assert world() == before
    assert list(warnings.filters) == warned


def test_without_the_tail_a_panel_is_wanted(saved, model, tmp_path):
    again = tsf.load(saved)
    for ask in (again.predict, again.future_index):
        with pytest.raises(tsf.DataError, match=r"saved without the rows of fit.*tail=True"):
            ask()
    assert_equal(round_trip(model, tmp_path, tail=True).predict(), model.predict())


SCALERS = [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), PowerTransformer()]
TRANSFORMS = [
    tsf.Log(),
    tsf.LogReturn(),
    tsf.SeriesScaler(),
    tsf.SeriesScaler("robust", by="all", columns=["x"]),
    tsf.Clip(upper=7.0),
    tsf.Bounded(0.0, 1e4),
    make_pipeline(tsf.Log(columns=["y"]), tsf.SeriesScaler()),
    *SCALERS,
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_a_transform_comes_back(transform, tmp_path):
    fitted = clone(transform).fit(PANEL)
    again = round_trip(fitted, tmp_path)
    one, two = (np.asarray(t.transform(PANEL)) for t in (fitted, again))
    np.testing.assert_array_equal(one, two)
    back = (np.asarray(t.inverse_transform(t.transform(PANEL))) for t in (fitted, again))
    np.testing.assert_array_equal(*back)
    assert type(round_trip(clone(transform), tmp_path)) is type(transform)


@pytest.mark.parametrize("transform", SCALERS, ids=str)
def test_a_forecaster_behind_a_scaler_of_scikit_learn_comes_back(transform, tmp_path):
    fitted = make_model(max_epochs=1, transform=transform).fit(PANEL)
    assert_equal(round_trip(fitted, tmp_path).predict(PANEL), fitted.predict(PANEL))


@pytest.mark.parametrize(
    "estimator",
    [
        None,
        LinearRegression(),
        Lasso(0.01),
        ElasticNet(0.01),
        HistGradientBoostingRegressor(max_iter=5, random_state=0),
        HistGradientBoostingRegressor(loss="absolute_error", max_iter=5, random_state=0),
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["y", ["y", "x"]])
def test_regressors_on_lags_come_back(estimator, target, tmp_path):
    panel = PANEL.mask(np.random.default_rng(0).random(PANEL.shape) < 0.05)
    fitted = tsf.LagRegressor(target=target, horizon=2, estimator=estimator, lags=3).fit(panel)
    again = round_trip(fitted, tmp_path)
    assert_equal(again.predict(panel), fitted.predict(panel))
    assert_equal(round_trip(again, tmp_path).predict(panel), fitted.predict(panel))


def test_a_frozen_model_comes_back_frozen(model, tmp_path):
    again = round_trip(FrozenEstimator(model), tmp_path)
    assert isinstance(again, FrozenEstimator)
    assert_equal(again.predict(PANEL), model.predict(PANEL))


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(40),
        pd.RangeIndex(5, 45),
        pd.timedelta_range("0h", periods=40, freq="h"),
        pd.date_range("2024-01-01", periods=40, freq="MS"),
        pd.date_range("2024-01-01", periods=40, freq="h", tz="Europe/Berlin"),
        pd.date_range("2024-01-01", periods=40, freq="QE-NOV", unit="s"),
        pd.bdate_range("2024-01-01", periods=41).drop("2024-01-10"),
        pd.date_range("2024-01-01", periods=40, freq=pd.DateOffset(days=2)),
    ],
    ids=lambda index: f"{index.dtype}-{getattr(index, 'freqstr', None)}",
)
def test_any_kind_of_time_comes_back(index, tmp_path):
    fitted = tsf.Naive(horizon=2).fit(one_series()[["y"]].set_axis(index))
    again = round_trip(fitted, tmp_path, tail=True)
    assert_equal(again.predict(), fitted.predict())
    assert again.cutoff_ == fitted.cutoff_
    assert again.future_index().equals(fitted.future_index())


def test_numbers_that_name_series_are_not_written(tmp_path):
    numbers = [30000153, 38761234, 700000001]
    panel = make_panel(3, 60)
    panel = panel.set_index(panel.index.set_levels(numbers, level=0))
    tsf.save(make_model(max_epochs=1, transform=tsf.SeriesScaler()).fit(panel), tmp_path / "model")
    tsf.save(make_model(max_epochs=1).fit(panel), tmp_path / "with tail", tail=True)
    found = {}
    for folder in ("model", "with tail"):
        content = b"".join(path.read_bytes() for path in (tmp_path / folder).iterdir())
        plain = pd.util.hash_array(np.array(numbers))  # which anybody can turn back
        forms = [str(n).encode() for n in [*numbers, *plain]] + [
            np.int64(n).tobytes() for n in numbers
        ]
        found[folder] = [form for form in forms if form in content]
    assert found["model"] == []
    assert found["with tail"] != []


@pytest.mark.parametrize("names", [[7, 8, 9], ["a", "b", "c"]])
def test_series_are_known_again_by_their_names(names, tmp_path):
    panel = make_panel(3, 120)
    panel = panel.set_index(panel.index.set_levels(names, level=0))
    fitted = tsf.Naive(target="y", horizon=1).fit(panel)  # with quantiles for each series
    again = round_trip(fitted, tmp_path)
    one, two = again.predict(panel), fitted.predict(panel)
    assert_equal(one, two)
    spread = (one["q0.9"] - one["q0.1"]).to_numpy()
    assert len(np.unique(spread)) == 3


# --------------------------------------------------------------------------------- what is refused


class Own(TransformerMixin, BaseEstimator):
    row_local = True

    def fit(self, panel, y=None):
        self.fitted_ = True
        return self

    def transform(self, panel):
        return panel

    inverse_transform = transform


class OwnLog(tsf.Log):
    pass


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"transform": Own()}, "test_persist.Own"),
        ({"transform": OwnLog()}, "test_persist.OwnLog"),
        ({"transform": make_pipeline(tsf.Log(), Own())}, "test_persist.Own"),
        (
            {"transform": FunctionTransformer(np.log, inverse_func=np.exp)},
            "FunctionTransformer",
        ),
        (
            {"baseline": tsf.LagRegressor(estimator=RandomForestRegressor(2), lags=2)},
            "RandomForestRegressor",
        ),
        ({"random_state": np.random.RandomState(0)}, "random_state.*RandomState"),
    ],
)
def test_what_would_need_code_is_named_with_the_way_out(changed, found, tmp_path):
    fitted = make_model(max_epochs=1, **changed).fit(PANEL)
    with pytest.raises(TypeError, match=f"(?s){found}.*pickle or joblib"):
        tsf.save(fitted, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingRegressor(max_iter=2).fit(PANEL[["x"]], PANEL["y"]),
        make_pipeline(StandardScaler(), memory="somewhere"),
        tsf.LagRegressor(estimator=make_pipeline(StandardScaler(), LinearRegression()), lags=2),
        tsf.LagRegressor(
            lags=2, estimator=HistGradientBoostingRegressor(max_iter=2, categorical_features=[0])
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_could_not_be_loaded_again_is_not_saved(model, tmp_path):
    if isinstance(model, tsf.LagRegressor):
        model = model.fit(PANEL[["y"]].round().clip(0, 9))
    with pytest.raises(TypeError, match=r"cannot save .*pickle or joblib"):
        tsf.save(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"past": pd.Index(["x"])},
        {"past": {"x"}},
        {"max_gap": datetime.timedelta(days=3)},
        {"max_gap": np.timedelta64(3, "D")},
        {"max_gap": pd.Timedelta("3D")},
        {"horizon": np.int64(2), "dropout": np.float64(0.0)},
        {"season": range(3, 5), "baseline": "seasonal"},
    ],
)
def test_parameters_of_unusual_types_come_back(changed, tmp_path):
    if "season" in changed:
        changed |= {"season": list(changed["season"])}
    fitted = make_model(max_epochs=1, **changed).fit(PANEL)
    assert_equal(round_trip(fitted, tmp_path).predict(PANEL), fitted.predict(PANEL))


@pytest.mark.parametrize("thing", [3, PANEL, tsf.Log, torch.nn.Linear(2, 2), LinearRegression])
def test_other_things_are_not_saved(thing, tmp_path):
    with pytest.raises(TypeError, match="cannot save an object"):
        tsf.save(thing, tmp_path / "thing")


def test_a_calendar_of_ones_own_is_named(tmp_path):
    days = pd.offsets.CustomBusinessDay(holidays=["2024-01-10"])
    panel = one_series()[["y"]].set_axis(pd.date_range("2024-01-02", periods=40, freq=days))
    with pytest.raises(TypeError, match="a calendar of one's own, 'C'.*no freq"):
        tsf.save(tsf.Naive().fit(panel), tmp_path / "model")


def test_nothing_but_a_model_is_replaced(model, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / MANIFEST).write_text('{"name": "mine"}')
    tsf.save(model, tmp_path / "with notes")
    (tmp_path / "with notes" / "NOTES.md").write_text("mine")
    for name in ("notes", "file", "extension", "with notes"):
        with pytest.raises(FileExistsError, match="absent, empty or a saved model"):
            tsf.save(model, tmp_path / name)
    assert (tmp_path / "with notes" / "NOTES.md").read_text() == "mine"
    assert (tmp_path / "notes" / "text").read_text() == (tmp_path / "file").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="Make it first"):
        tsf.save(model, tmp_path / "none" / "model")
    (tmp_path / "empty").mkdir()
    tsf.save(model, tmp_path / "empty")
    tsf.save(tsf.Naive(), tmp_path / "empty")
    assert isinstance(tsf.load(tmp_path / "empty"), tsf.Naive)
    (tmp_path / "empty" / ARRAYS).unlink()  # a damaged one may be replaced
    tsf.save(model, tmp_path / "empty")
    assert isinstance(tsf.load(tmp_path / "empty"), tsf.RecurrentForecaster)


def test_folders_of_others_beside_the_model_stay(model, tmp_path):
    for end in ("part", "before"):
        other = tmp_path / f".model.tsforecast-{end}"
        other.mkdir()
        (other / "thesis.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="left by an earlier save"):
            tsf.save(model, tmp_path / "model")
        assert (other / "thesis.txt").read_text() == "mine"
        shutil.rmtree(other)
    names = tmp_path / "names"
    for name in FILES:  # folders of the names of our files
        (names / name).mkdir(parents=True)
    with pytest.raises(FileExistsError, match="absent, empty or a saved model"):
        tsf.save(model, names)


def test_the_folder_that_the_process_works_in_is_refused(model, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (".", "", "..", tmp_path / "here", "/"):
        with pytest.raises(FileExistsError, match="a folder of its own"):
            tsf.save(model, path)
    tsf.save(model, "model/")
    assert_equal(tsf.load("model").predict(PANEL), model.predict(PANEL))


def test_permissions_of_a_folder_stay(model, tmp_path):
    (tmp_path / "model").mkdir(mode=0o700)
    for _ in range(2):
        tsf.save(model, tmp_path / "model")
        assert (tmp_path / "model").stat().st_mode & 0o777 == 0o700


def test_a_lock_that_is_held_is_waited_for_and_named(model, tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("tsforecast.serving._folder._PATIENCE", 0.1)
    lock = tmp_path / ".model.tsforecast-lock"
    with open(lock, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="tsforecast-lock held by another process"):
            tsf.save(model, tmp_path / "model")
    tsf.save(model, tmp_path / "model")  # left by a process that was killed
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "data", [b'"' + b'\\"' * 500_000, b'["a' * 300_000, b'"' * 999_999, b"\\" * 10**6]
)
def test_text_without_an_end_is_refused_in_no_time(data, folder):
    (folder / MANIFEST).write_bytes(data)
    start = time.perf_counter()
    with pytest.raises(tsf.DataError, match=r"manifest.json cannot be read"):
        tsf.load(folder)
    assert time.perf_counter() - start < 5


def test_names_of_pandas_string_dtype_come_back(tmp_path):
    index = PANEL.index.set_levels(pd.Index(["a", "b", "c"], dtype="string"), level=0)
    fitted = make_model(max_epochs=1).fit(PANEL.set_index(index))
    again = round_trip(fitted, tmp_path, tail=True)
    assert_equal(again.predict(), fitted.predict())


def test_an_offset_that_forgets_the_hour_is_named(tmp_path):
    step = pd.DateOffset(days=1, normalize=True)
    panel = one_series()[["y"]].set_axis(pd.date_range("2024-01-01", periods=40, freq=step))
    with pytest.raises(TypeError, match="a calendar of one's own"):
        tsf.save(tsf.Naive().fit(panel), tmp_path / "model")


def test_a_link_to_a_folder_is_followed_where_the_user_gives_it(model, tmp_path):
    tsf.save(tsf.Naive(), tmp_path / "one")
    (tmp_path / "latest").symlink_to("one")
    tsf.save(model, tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert isinstance(tsf.load(tmp_path / "one"), tsf.RecurrentForecaster)


def test_a_folder_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError, match="of a saved model"):
        tsf.load(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError):
        tsf.load(tmp_path / "file")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_linked_or_a_pipe_is_refused(name, folder, saved):
    (folder / name).unlink()
    with pytest.raises(tsf.DataError, match=f"{name} cannot be opened"):
        tsf.load(folder)
    (folder / name).symlink_to(saved / name)
    with pytest.raises(tsf.DataError, match=f"{name} cannot be opened.*no link"):
        tsf.load(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(tsf.DataError, match=f"{name} is no file"):
        tsf.load(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(tsf.DataError):
        tsf.load(folder)


def test_files_of_two_models_do_not_mix(folder, tmp_path):
    other = tmp_path / "other"
    tsf.save(make_model(random_state=1).fit(PANEL), other)
    for name in FILES:
        mixed = Path(shutil.copytree(folder, tmp_path / f"mixed {name}"))
        shutil.copy(other / name, mixed / name)
        with pytest.raises(tsf.DataError, match=r"has (changed|grown)"):
            tsf.load(mixed)


def test_a_newer_format_is_refused_with_advice(folder):
    forge(folder, manifest=lambda about: about.update(format=2))
    with pytest.raises(tsf.DataError, match=r"expected format 1.*found 2.*Update tsforecast"):
        tsf.load(folder)


def test_size_is_bounded_before_files_are_read(folder):
    with pytest.raises(tsf.DataError, match="too large: expected at most 100 bytes"):
        tsf.load(folder, max_bytes=100)
    with pytest.raises(ValueError, match="'max_bytes'"):
        tsf.load(folder, max_bytes="1")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"a": NaN}', "the number NaN"),
        (b'{"a": -Infinity}', "the number -Infinity"),
        (b'{"a": 1e999}', "a number that is too large"),
        (b'{"a": 1, "a": 2}', "a name that stands twice"),
        (b"[" * 100 + b"]" * 100, "nesting deeper than 40"),
        (b"[" * 100_000, "nesting deeper than 40"),
        (b'{"a": 1', "Expecting"),
        (b"\xff\xfe", "codec"),
        (b"[" + b"1" * 5000 + b"]", "digits"),
        (b"", "Expecting value"),
    ],
)
def test_json_is_read_strictly(data, found, folder):
    forge(folder, state=lambda tree: data)
    with pytest.raises(tsf.DataError, match=f"state.json cannot be read.*{found}"):
        tsf.load(folder)
    (folder / MANIFEST).write_bytes(data)
    with pytest.raises(tsf.DataError, match=f"manifest.json cannot be read.*{found}"):
        tsf.load(folder)


def parts(tree):
    return tree["parts"]


def _scaler(tree):
    chain = parts(tree)["chain"]["fields"]["parts"]["fitted"]["fields"]["parameters"]["steps"]
    return chain[1]["items"][1]["fields"]


FORGERIES = {
    "another class": {"manifest": lambda about: about.update({"class": "Naive"})},
    "a class of elsewhere": {"manifest": lambda about: about.update({"class": "os.system"})},
    "no class": {"manifest": lambda about: about.update({"class": None})},
    "a parameter more": {"manifest": lambda about: about["parameters"].update(evil=1)},
    "a parameter of another type": {"manifest": lambda about: about["parameters"].update(cell=7)},
    "another horizon": {"manifest": lambda about: about["parameters"].update(horizon=4)},
    "a vast horizon": {"manifest": lambda about: about["parameters"].update(horizon=10**15)},
    "other layers": {
        "manifest": lambda about: about["parameters"]["hidden_sizes"].update(items=[16, 5])
    },
    "vast layers": {
        "manifest": lambda about: about["parameters"]["hidden_sizes"].update(items=[16, 2**40])
    },
    "many layers": {
        "manifest": lambda about: about["parameters"]["hidden_sizes"].update(items=[4] * 10_000)
    },
    "a vast season": {"manifest": lambda about: about["parameters"].update(season=10**15)},
    "another cell": {"manifest": lambda about: about["parameters"].update(cell="gru")},
    "another head": {"manifest": lambda about: about["parameters"].update(head="point")},
    "other columns": {"manifest": lambda about: about["parameters"].update(past=["x", "z"])},
    "a file elsewhere": {
        "manifest": lambda about: about["files"].update({"../evil": about["files"][STATE]})
    },
    "no files": {"manifest": lambda about: about.update(files={})},
    "files of another kind": {"manifest": lambda about: about.update(files=[1])},
    "a negative size": {"manifest": lambda about: about["files"][STATE].update(bytes=-1)},
    "no parts": {"state": lambda tree: tree.pop("parts") and None},
    "a list of state": {"state": lambda tree: [tree]},
    "no learned": {"state": lambda tree: tree["learned"].pop("_series") and None},
    "an attribute more": {"state": lambda tree: tree["learned"].update(predict=1)},
    "a method replaced": {"state": lambda tree: tree["learned"].update(__class__="x")},
    "fewer fills": {
        "state": lambda tree: parts(tree)["fill"].update(
            values=parts(tree)["fill"]["values"][:1], shape=[1]
        )
    },
    "a fill that is text": {"state": lambda tree: parts(tree).update(fill="1.0")},
    "a negative shape": {"state": lambda tree: parts(tree)["fill"].update(shape=[-2])},
    "a vast shape": {"state": lambda tree: parts(tree)["fill"].update(shape=[10**18])},
    "no networks": {"state": lambda tree: parts(tree).update(networks=[])},
    "networks of other names": {
        "state": lambda tree: parts(tree)["networks"][0]["pairs"][0].__setitem__(0, "evil")
    },
    "weights elsewhere": {
        "state": lambda tree: parts(tree)["networks"][0]["pairs"][-1][1].update(name="nowhere")
    },
    "an unknown kind": {"state": lambda tree: parts(tree).update(fill={"$": "pickle"})},
    "an unknown class": {
        "state": lambda tree: parts(tree)["chain"].update({"class": "subprocess.Popen"})
    },
    "a chain that is a model": {
        "state": lambda tree: parts(tree)["chain"].update(
            {"class": "Naive", "fields": {"parameters": {}}}
        )
    },
    "a zone that is a path": {
        "state": lambda tree: tree["learned"]["_time_type"].update(zone="dateutil//etc/passwd")
    },
    "a range without end": {
        "manifest": lambda about: about["parameters"].update(
            past={"$": "range", "items": [0, 10**12, 1]}
        )
    },
    "text that is too wide": {
        "state": lambda tree: parts(tree).update(
            fill={"$": "text", "dtype": "<U999", "items": [""] * 10_000}
        )
    },
    "a tensor for several networks": {
        "state": lambda tree: parts(tree)["networks"].append(parts(tree)["networks"][0])
    },
    "a tensor that nothing refers to": {
        "state": lambda tree: parts(tree)["networks"][0]["pairs"].pop() and None
    },
    "a long set": {
        "manifest": lambda about: about["parameters"].update(
            past={"$": "set", "items": list(range(20_000))}
        )
    },
    "a size of many digits": {
        "manifest": lambda about: about["files"][STATE].update(bytes=int("9" * 4000))
    },
    "a size that is text": {"manifest": lambda about: about["files"][STATE].update(bytes="10")},
    "a format of many letters": {"manifest": lambda about: about.update(format="x" * 10**6)},
    "names that are text": {
        "state": lambda tree: tree["learned"]["_series"]["fields"]["parameters"].update(marks="abc")
    },
    "names that stand twice": {
        "state": lambda tree: tree["learned"]["_series"]["fields"]["parameters"]["marks"].update(
            values=[7, 7, 7]
        )
    },
    "a spacing that is text": {
        "state": lambda tree: tree["learned"]["_time_step"]["fields"]["parameters"].update(
            delta="day"
        )
    },
    "a cutoff of another kind": {"state": lambda tree: tree["learned"].update(cutoff_=7)},
    "rows of another kind": {"state": lambda tree: tree["learned"].update(_tail=[1, 2])},
    "a scale of zero": {
        "state": lambda tree: _scaler(tree)["learned"]["_scale"].update(values=[0.0] * 4)
    },
    "a zone that is a folder": {
        "state": lambda tree: tree["learned"]["_time_type"].update(zone="America")
    },
    "weights cut short": {"arrays": lambda data: data[:-4]},
    "a header of another length": {"arrays": lambda data: b"\xff" * 8 + data[8:]},
    "an empty file": {"arrays": lambda data: b""},
    "weights that are no numbers": {
        "arrays": lambda data: data[:-4] + np.float32(np.nan).tobytes()
    },
    "weights that are infinite": {"arrays": lambda data: data[:-4] + np.float32(np.inf).tobytes()},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_with_sound_check_sums_is_refused(name, folder):
    forge(folder, **FORGERIES[name])
    with pytest.raises(tsf.DataError, match="expected .*found ") as caught:
        tsf.load(folder)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("lags", [10**9, 10**13, {"$": "range", "items": [1, 10**12, 1]}])
def test_lags_without_end_are_refused_before_they_are_counted(lags, tmp_path):
    tsf.save(tsf.LagRegressor(target="y", lags=3).fit(PANEL), tmp_path / "model")
    forge(tmp_path / "model", manifest=lambda about: about["parameters"].update(lags=lags))
    start = time.perf_counter()
    with pytest.raises(tsf.DataError, match="other lags|range that is too long"):
        tsf.load(tmp_path / "model")
    assert time.perf_counter() - start < 5


def test_a_forgery_that_changes_nothing_loads(folder, model):
    forge(folder)
    assert_equal(tsf.load(folder).predict(PANEL), model.predict(PANEL))


# --------------------------------------------------------------------------------------- mutations


def mutated(files: dict[str, bytes], rng: np.random.Generator) -> dict[str, bytes]:
    """Truncate, flip, overwrite, insert, swap, grow, or drop."""
    files = dict(files)
    name = str(rng.choice(FILES))
    data = bytearray(files[name])
    at = int(rng.integers(len(data)))
    kind = rng.integers(8)
    if kind == 0:
        data = data[:at]
    elif kind == 1:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        stop = at + int(rng.integers(1, 64))
        data[at:stop] = rng.bytes(len(data[at:stop]))
    elif kind == 3:
        data[at:at] = rng.bytes(int(rng.integers(1, 64)))
    elif kind == 4:
        data += data[at:] if rng.random() < 0.5 else rng.bytes(1000)
    elif kind == 5:
        other = str(rng.choice(FILES))
        files[other], data = bytes(data), bytearray(files[other])
    elif kind == 6:
        data[at : at + 16] = b" " * len(data[at : at + 16])
    else:
        del data[at : at + int(rng.integers(1, 32))]
    files[name] = bytes(data)
    return files


def survivors(saved, tmp_path, model, n, *, mend):
    """Load `n` mutations; give how many were loaded, each with forecasts as before."""
    rng = np.random.default_rng(0)
    files = {name: (saved / name).read_bytes() for name in FILES}
    folder = tmp_path / "mutated"
    folder.mkdir()
    wanted, loaded = model.predict(PANEL), 0
    for _ in range(n):
        changed = mutated(files, rng)
        for name, data in changed.items():
            (folder / name).write_bytes(data)
        if mend:
            try:
                forge(folder)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # no manifest any more
        try:
            again = tsf.load(folder)
        except tsf.DataError:
            continue
        loaded += 1
        if not mend:
            assert_equal(again.predict(PANEL), wanted)
    return loaded


def test_mutations_are_refused_or_harmless(saved, model, tmp_path):
    survivors(saved, tmp_path, model, 400, mend=False)


def test_mutations_with_mended_check_sums_are_loaded_or_refused_as_data(saved, model, tmp_path):
    survivors(saved, tmp_path, model, 200, mend=True)


_STRANGE = (0, -1, 10**6, 10**12, 10**30, 0.5, -1e300, True, None, "", "x", "..", [], {}, [[]])


def places(tree, found=None):
    """Every (container, key) of a tree."""
    found = [] if found is None else found
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        found.append((tree, key))
        if isinstance(value, dict | list):
            places(value, found)
    return found


def strangers(saved, tmp_path, n, *, seconds=20):
    """Put strange values into the trees of a folder, check sums mended; load, and forecast.

    Whatever is loaded may forecast anything, or raise an error; it may not hang.
    """
    rng = np.random.default_rng(1)
    folder, loaded = tmp_path / "strange", 0

    def change(tree):
        container, key = (some := places(tree))[int(rng.integers(len(some)))]
        other = some[int(rng.integers(len(some)))]
        kind = rng.integers(4)
        if kind == 0:
            container[key] = copy.deepcopy(other[0][other[1]])
        elif kind == 1 and isinstance(container, list):
            container.extend(copy.deepcopy(container) * int(rng.integers(1, 4)))
        elif kind == 2:
            del container[key]
        else:
            container[key] = copy.deepcopy(_STRANGE[int(rng.integers(len(_STRANGE)))])

    def hang(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, hang)
    try:
        for _ in range(n):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(saved, folder)
            part = "manifest" if rng.random() < 0.4 else "state"
            try:
                forge(folder, **{part: lambda tree: change(tree)})
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # no manifest any more
            signal.alarm(seconds)
            try:
                again = tsf.load(folder)
            except tsf.DataError:
                continue
            loaded += 1
            try:
                again.predict(PANEL)
            except TimeoutError:
                raise
            except Exception:
                pass
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return loaded


def peak():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB


@pytest.mark.filterwarnings("ignore")
def test_strange_values_are_refused_or_come_to_nothing(saved, tmp_path):
    before = peak()
    loaded = strangers(saved, tmp_path, 150)
    assert loaded < 100
    assert peak() - before < 300


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_three_thousand_mutations(saved, model, tmp_path):
    before, start = peak(), time.perf_counter()
    loaded = survivors(saved, tmp_path, model, 3000, mend=False)
    (tmp_path / "more").mkdir()
    mended = survivors(saved, tmp_path / "more", model, 3000, mend=True)
    strange = strangers(saved, tmp_path, 3000)
    seconds, grown = time.perf_counter() - start, peak() - before
    print(
        f"\n3,000 mutations: {3000 - loaded} refused, {loaded} harmless; with mended check sums "
        f"{3000 - mended} refused, {mended} loaded; 3,000 strange values: {3000 - strange} "
        f"refused, {strange} loaded; {seconds:.0f} s, memory grew by {grown:.0f} MiB"
    )
    assert grown < 300


# --------------------------------------------------------------------------------- other processes

_FORECAST = """
import sys
import pandas as pd
import tsforecast as tsf
panel = pd.read_pickle(sys.argv[2])
tsf.load(sys.argv[1]).predict(panel).to_pickle(sys.argv[3])
assert not any(name.startswith(("pytorch_lightning", "lightning")) for name in sys.modules)
"""

_SAVE = """
import sys
import tsforecast as tsf
models = [tsf.load(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for model in models:
        tsf.save(model, sys.argv[1])
"""


def python(code, *args, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], text=True, **options)


@pytest.mark.parametrize("context", ["window", "history"])
def test_another_process_forecasts_bit_equal_without_lightning(context, tmp_path):
    model = make_model(context=context, transform=tsf.Log(), hidden_sizes=(8, 4)).fit(PANEL)
    tsf.save(model, tmp_path / "model")
    PANEL.to_pickle(tmp_path / "panel")
    run = python(_FORECAST, *(tmp_path / name for name in ("model", "panel", "forecast")))
    assert run.wait() == 0
    assert_equal(pd.read_pickle(tmp_path / "forecast"), model.predict(PANEL))


def killed_while_saving(tmp_path, n):
    """Kill a process that saves two models in turn, `n` times; load after each."""
    models = {}
    for seed in (0, 1):
        made = make_model(random_state=seed, hidden_sizes=(64, 64), max_epochs=1).fit(PANEL)
        tsf.save(made, tmp_path / f"model {seed}")
        models[float(made.predict(PANEL)["forecast"].iloc[0])] = made
    folder, found = tmp_path / "model", []
    tsf.save(next(iter(models.values())), folder)
    rng = np.random.default_rng(0)
    for _ in range(n):
        run = python(
            _SAVE, folder, tmp_path / "model 0", tmp_path / "model 1", stdout=subprocess.PIPE
        )
        assert run.stdout.readline() == "ready\n"
        time.sleep(float(rng.uniform(0.0, 0.2)))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        again = tsf.load(folder).predict(PANEL)
        wanted = models[float(again["forecast"].iloc[0])]
        assert_equal(again, wanted.predict(PANEL))
        found.append(folder.exists())
    tsf.save(next(iter(models.values())), folder)  # tidies up what the killed ones have left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model 0", "model 1"]
    return found


def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one(tmp_path):
    killed_while_saving(tmp_path, 2)


@pytest.mark.slow
def test_fifty_saves_that_are_killed(tmp_path):
    found = killed_while_saving(tmp_path, 50)
    print(f"\nkilled {len(found)} times: the model was whole each time")


def test_a_model_that_is_loaded_while_it_is_replaced_is_one_or_the_other(tmp_path):
    models = [make_model(random_state=seed, max_epochs=1).fit(PANEL) for seed in (0, 1)]
    for number, model in enumerate(models):
        tsf.save(model, tmp_path / f"model {number}")
    tsf.save(models[0], tmp_path / "model")
    run = python(_SAVE, *(tmp_path / name for name in ("model", "model 0", "model 1")), stdout=-1)
    try:
        assert run.stdout.readline() == "ready\n"
        wanted = {float(model.predict(PANEL)["forecast"].iloc[0]) for model in models}
        for _ in range(100):
            assert tsf.load(tmp_path / "model").predict(PANEL)["forecast"].iloc[0] in wanted
    finally:
        run.kill()
        run.communicate()


def test_a_move_that_was_cut_off_is_seen_through(model, tmp_path):
    """Between its two renames a save has put the old folder aside."""
    tsf.save(model, tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.tsforecast-before")
    (tmp_path / ".model.tsforecast-part").mkdir()
    assert_equal(tsf.load(tmp_path / "model").predict(PANEL), model.predict(PANEL))
    tsf.save(tsf.Naive(), tmp_path / "model")
    assert isinstance(tsf.load(tmp_path / "model"), tsf.Naive)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("stops_at", range(1, 9))
def test_a_save_that_fails_anywhere_leaves_the_old_model(stops_at, model, tmp_path, monkeypatch):
    """Even where the save before it was killed between its two renames."""
    tsf.save(model, tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.tsforecast-before")
    calls = []

    def stopping(name):
        inner = getattr(os, name)

        def call(*args, **options):
            calls.append(name)
            if len(calls) == stops_at:
                raise OSError("the disk is full")
            return inner(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "fsync"):
            patch.setattr(os, name, stopping(name))
        try:
            tsf.save(tsf.Naive(), tmp_path / "model")
        except OSError:
            done = False
        else:
            done = True
    again = tsf.load(tmp_path / "model")
    # the last calls write down which folders there are, where the system can
    assert isinstance(again, tsf.Naive if done else tsf.RecurrentForecaster)
    assert done == (stops_at in (5, 8))  # writing down names of files, where the system can


def test_savers_at_one_place_wait_for_each_other(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    models = [tsf.Naive(horizon=n).fit(PANEL[["y"]]) for n in (1, 2)]
    wanted = [model.predict(PANEL[["y"]]) for model in models]
    tsf.save(models[0], tmp_path / "model")

    def save(number):
        for _ in range(15):
            tsf.save(models[number], tmp_path / "model")

    def load(_):
        for _ in range(60):
            found = tsf.load(tmp_path / "model")
            assert_equal(found.predict(PANEL[["y"]]), wanted[found.horizon - 1])

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(save, 0), pool.submit(save, 1), *(pool.submit(load, i) for i in (0, 1))]
        for each in work:
            each.result()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ---------------------------------------------------------------------------- estimators on arrays

FAST = tsf.Training(max_epochs=2, validation=None)
SHAPES = {"hidden_sizes": (6, 4), "training": FAST, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 2))
FLAT = pd.DataFrame(RNG.normal(size=(60, 6)), columns=list("abcdef"))
UP = X[:, -1, 0] > 0
ON_ARRAYS = {
    "one output": (tsf.RecurrentRegressor(**SHAPES), X, X[:, -1, 0]),
    "three outputs": (tsf.RecurrentRegressor(**SHAPES, n_steps=3, cell="gru"), FLAT, X[:, :3, 0]),
    "text": (tsf.RecurrentClassifier(**SHAPES), X, np.where(UP, "up", "down").astype("<U9")),
    "objects": (tsf.RecurrentClassifier(**SHAPES), X, np.where(UP, "up", "d").astype(object)),
    "truth": (tsf.RecurrentClassifier(**SHAPES, class_weight={True: 2.0, False: 1.0}), X, UP),
    "three classes": (
        tsf.RecurrentClassifier(**SHAPES, cell="rnn", standardize=False),
        X,
        RNG.integers(0, 3, 60),
    ),
    "labels": (tsf.RecurrentClassifier(**SHAPES), X, RNG.integers(0, 2, (60, 3))),
}


@pytest.mark.parametrize("name", ON_ARRAYS)
def test_an_estimator_on_arrays_comes_back(name, tmp_path):
    model, x, y = ON_ARRAYS[name]
    fitted = clone(model).fit(x, y)
    again = round_trip(fitted, tmp_path)
    one, two = (m.predict(x) for m in (fitted, again))
    assert one.dtype == two.dtype
    np.testing.assert_array_equal(one, two)
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(fitted.predict_proba(x), again.predict_proba(x))
        np.testing.assert_array_equal(fitted.classes_, again.classes_)
    assert again.score(x, y) == fitted.score(x, y)
    assert clone(again).fit(x, y).score(x, y) == fitted.score(x, y)
    assert not hasattr(round_trip(clone(model), tmp_path), "network_")


@pytest.mark.parametrize(
    "forged",
    [
        {"manifest": lambda about: about["parameters"]["hidden_sizes"].update(items=[6, 5])},
        {"manifest": lambda about: about["parameters"].update(cell="gru")},
        {"state": lambda tree: tree["learned"].update(n_steps_=0)},
        {"state": lambda tree: tree["learned"].update(n_steps_=10**12)},
        {"state": lambda tree: tree["learned"]["classes_"].update(items=["a", "b", "c"])},
        {"state": lambda tree: tree["learned"].pop("_centre") and None},
        {"state": lambda tree: tree.pop("parts") and None},
        {"arrays": lambda data: data[:-4] + np.float32(np.nan).tobytes()},
    ],
)
def test_a_forged_classifier_is_refused(forged, tmp_path):
    model, x, y = ON_ARRAYS["text"]
    tsf.save(clone(model).fit(x, y), tmp_path / "model")
    forge(tmp_path / "model", **forged)
    with pytest.raises(tsf.DataError, match="cannot be put together"):
        tsf.load(tmp_path / "model")
