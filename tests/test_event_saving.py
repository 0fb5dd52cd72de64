"""Event estimators that were saved say what they said, and nothing else is ever loaded."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tsforecast as tsf
from tests import test_persist
from tests.test_persist import FILES, MANIFEST, forge, mutated, round_trip, strangers
from tsforecast.estimators.trees import BoostedTrees

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:NEWS2 has no column"),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_stays(n=24, seed=0) -> pd.DataFrame:
    """Stays with numbers of eight digits for names, constants, and an exit that competes."""
    panel = tsf.make_vitals(n, 24, deterioration=0.4, missing=0.3, random_state=seed)
    numbers = 38_761_234 + 7919 * np.arange(n)
    panel = panel.set_index(panel.index.set_levels(numbers, level=0))
    even = panel.index.get_level_values(0).to_numpy() % 2
    died = panel.groupby(level=0)["deterioration"].transform("max")
    ward = pd.Categorical(np.where(even, "ward north", "ward south"))
    number = panel.groupby(level=0).ngroup().to_numpy()
    row = panel.groupby(level=0).cumcount().to_numpy()
    low = ((number % 3 == 0) & (row >= 15)).astype(float)
    left = ((number % 3 == 1) & (row >= 17)).astype(float)
    return panel.assign(died=died, size=even / 3.0, ward=ward, low=low, left=left)


STAYS = make_stays()
OTHERS = make_stays(6, seed=1)
ONSET = {"event": "deterioration", "horizon": "4h", "step": "1h"}
VITALS = ["heart_rate", "map", "spo2"]
FAST = tsf.Training(max_epochs=1, learning_rate=0.02, validation=None)
NETWORK = {
    **ONSET,
    "past": VITALS,
    "hidden_sizes": (4, 3),
    "lookback": 6,
    "training": FAST,
    "random_state": 0,
}


def network(**changed) -> tsf.EventClassifier:
    return tsf.EventClassifier(**(NETWORK | changed))


def boosted(**changed) -> tsf.BoostedBaseline:
    return tsf.BoostedBaseline(**ONSET, max_iter=8, random_state=0, **changed)


IMPUTED = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
MODELS = {
    "lstm": network(class_weight="balanced", n_members=2),
    "options": network(
        cell="gru",
        context="window",
        static=["size", "ward"],
        input_decay=True,
        vitals_weight=0.5,
        layer_norm=True,
        transform=make_pipeline(tsf.PlausibleRange(), tsf.SeriesScaler(by="all", columns=["map"])),
        max_gap="3h",
    ),
    "rule": network(
        event=tsf.Event("map < 80", for_="1h", max_age=pd.Timedelta("12h")),
        label="recurrent",
        clear="2h",
        past=["heart_rate", "spo2"],
    ),
    "outcome": network(event="died", label="outcome", horizon=None, step=None, cell="rnn"),
    "competing": network(event="low", competing="left"),
    "beside": network(beside=tsf.LogisticBaseline(event="ignored")),
    "beside of scikit-learn": network(beside=HistGradientBoostingClassifier(max_iter=3)),
    "corrects": network(beside=boosted(), blend="correct"),
    "boosted": boosted(max_rows=200),
    "logistic": tsf.LogisticBaseline(**ONSET, features=tsf.CausalFeatures(window="3h")),
    "imputed": tsf.FeatureClassifier(IMPUTED, **ONSET),
    "trees": tsf.FeatureClassifier(HistGradientBoostingClassifier(max_iter=3), **ONSET, at="last"),
    "last value": tsf.LastValue(["map", "spo2"], **ONSET),
    "news2": tsf.NEWS2(**ONSET),
    "calibrated": tsf.CalibratedEvents(boosted(), cv=2, random_state=0),
    "calibrated network": tsf.CalibratedEvents(network(), method="temperature", random_state=0),
    "isotonic": tsf.CalibratedEvents(boosted(), method="isotonic", size=0.4, random_state=0),
}


@pytest.fixture(scope="module")
def fitted():
    made = {}

    def fit(name):
        if name not in made:
            made[name] = clone(MODELS[name]).fit(STAYS)
        return made[name]

    return fit


def content(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def names_in(data: bytes, panel) -> list[bytes]:
    """Names of stays in some bytes, in any form that can be turned back without trying."""
    numbers = panel.index.unique(level=0).to_numpy()
    plain = pd.util.hash_array(numbers)
    forms = [str(n).encode() for n in [*numbers, *plain]] + [n.tobytes() for n in numbers]
    return [form for form in forms if form in data]


@pytest.mark.parametrize("name", MODELS)
def test_an_event_estimator_comes_back_with_the_same_risks(name, fitted, tmp_path):
    model = fitted(name)
    again = round_trip(model, tmp_path)
    wanted = model.predict_risk(OTHERS)
    pd.testing.assert_frame_equal(again.predict_risk(OTHERS), wanted, check_exact=True)
    assert again.score(STAYS) == model.score(STAYS)
    labels = [each.event_labels(OTHERS) for each in (again, model)]
    pd.testing.assert_frame_equal(*labels)
    assert repr(clone(again).get_params()) == repr(clone(model).get_params())
    assert names_in(content(tmp_path / "saved"), STAYS) == []
    # once more, of what was loaded
    first = {file: (tmp_path / "saved" / file).read_bytes() for file in FILES}
    tsf.save(again, tmp_path / "saved")
    assert first == {file: (tmp_path / "saved" / file).read_bytes() for file in FILES}


@pytest.mark.parametrize("name", MODELS)
def test_an_event_estimator_that_is_not_fitted_comes_back_so(name, tmp_path):
    again = round_trip(MODELS[name], tmp_path)
    assert repr(again.get_params()) == repr(MODELS[name].get_params())
    with pytest.raises(Exception, match="not fitted"):
        again.predict_risk(OTHERS)


def test_a_loaded_classifier_can_be_fitted_anew(fitted, tmp_path):
    model = fitted("beside")
    again = round_trip(model, tmp_path)
    np.testing.assert_array_equal(again.beside_share_, model.beside_share_)
    pd.testing.assert_frame_equal(again.history_, model.history_)
    risks = [clone(each).fit(STAYS).predict_risk(OTHERS) for each in (again, model)]
    pd.testing.assert_frame_equal(*risks, check_exact=True)


def test_vitals_of_the_next_row_come_back(fitted, tmp_path):
    one, two = (
        each.predict_vitals(OTHERS)
        for each in (fitted("options"), round_trip(fitted("options"), tmp_path))
    )
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_no_category_and_no_row_of_a_stay_is_written(fitted, tmp_path):
    tsf.save(fitted("options"), tmp_path / "model")
    data = content(tmp_path / "model")
    assert b"ward north" not in data
    about = json.loads((tmp_path / "model" / MANIFEST).read_bytes())
    schema = dict(about["schema"]["pairs"])
    assert schema["inputs"] == [*VITALS, "size", "ward"]
    assert schema["series"] == "patient" and schema["time"] == "hours"


def test_a_recalibrated_model_holds_the_model_once(fitted, tmp_path):
    with pytest.warns(UserWarning, match="have the names of some"):
        local = tsf.recalibrate(fitted("lstm"), STAYS, "intercept")
    again = round_trip(local, tmp_path)
    assert isinstance(again.estimator, FrozenEstimator)
    assert again.estimator_ is again.estimator
    wanted = local.predict_risk(OTHERS)
    pd.testing.assert_frame_equal(again.predict_risk(OTHERS), wanted, check_exact=True)


def test_causal_features_come_back_and_a_chain_behind_them(tmp_path):
    features = tsf.CausalFeatures(VITALS, window=pd.Timedelta("3h"), static=["size"]).fit(STAYS)
    again = round_trip(features, tmp_path)
    pd.testing.assert_frame_equal(again.transform(OTHERS), features.transform(OTHERS))
    chain = make_pipeline(tsf.CausalFeatures(VITALS), SimpleImputer(keep_empty_features=True))
    panel = STAYS[VITALS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain.fit(panel)
    loaded = round_trip(chain, tmp_path)
    np.testing.assert_array_equal(loaded.transform(panel), chain.transform(panel))


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_probabilities_of_trees_are_those_of_scikit_learn_bit_for_bit(missing):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + rng.normal(size=500) > 0
    X[rng.random(X.shape) < missing] = np.nan
    model = HistGradientBoostingClassifier(max_iter=20).fit(X, y)
    found = BoostedTrees.of(model).predict_proba(X)
    np.testing.assert_array_equal(found, model.predict_proba(X))


def test_trees_of_three_classes_are_refused():
    X = np.arange(90.0)[:, None]
    model = HistGradientBoostingClassifier(max_iter=2).fit(X, np.repeat([0, 1, 2], 30))
    with pytest.raises(ValueError, match="expected two classes, found .3 of them"):
        BoostedTrees.of(model)


# --------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (tsf.FeatureClassifier(RandomForestClassifier(3), **ONSET), "RandomForestClassifier"),
        (network(beside=RandomForestClassifier(3)), "RandomForestClassifier"),
        (
            tsf.FeatureClassifier(
                make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=2)), **ONSET
            ),
            "HistGradientBoostingClassifier by itself",
        ),
        (
            tsf.FeatureClassifier(
                make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()), **ONSET
            ),
            "SimpleImputer with indicators",
        ),
    ],
    ids=["forest", "forest beside", "trees in a chain", "indicators"],
)
def test_what_cannot_be_saved_is_named(model, found, tmp_path):
    with pytest.raises(TypeError, match=f"(?s)cannot save .*{found}.*pickle or joblib"):
        tsf.save(model.fit(STAYS), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def learned(tree, name, **changed):
    tree["learned"][name].update(changed)


def part(tree, name):
    return tree["parts"][name]


FORGERIES = {
    "another horizon": ("lstm", {"state": lambda t: t["learned"].update(n_steps_=5)}),
    "vast steps": ("lstm", {"state": lambda t: t["learned"].update(n_steps_=10**15)}),
    "three classes": (
        "lstm",
        {"state": lambda t: learned(t, "classes_", values=[0, 1, 2], shape=[3])},
    ),
    "no weight": ("lstm", {"state": lambda t: t["parts"].update(weight=0.0)}),
    "a weight that is text": ("lstm", {"state": lambda t: t["parts"].update(weight="1")}),
    "no networks": ("lstm", {"state": lambda t: t["parts"].update(networks=[])}),
    "competing": ("lstm", {"manifest": lambda a: a["parameters"].update(competing="left")}),
    "no decay": ("options", {"manifest": lambda a: a["parameters"].update(input_decay=False)}),
    "no vitals": ("options", {"manifest": lambda a: a["parameters"].update(vitals_weight=0.0)}),
    "other layers": (
        "lstm",
        {"manifest": lambda a: a["parameters"]["hidden_sizes"].update(items=[4, 2**40])},
    ),
    "other inputs": ("lstm", {"state": lambda t: t["learned"].update(inputs_=["map"])}),
    "other constants": (
        "options",
        {"manifest": lambda a: a["parameters"].update(static=["size"])},
    ),
    "a rule without end": (
        "rule",
        {"manifest": lambda a: _rule(a).update(rule="map " + " " * 10**6 + "< 3")},
    ),
    "a rule of another kind": ("rule", {"manifest": lambda a: _rule(a).update(rule="map")}),
    "a share above 1": ("beside", {"state": lambda t: t["parts"].update(share=1.5)}),
    "none beside": ("beside", {"manifest": lambda a: a["parameters"].update(beside=None)}),
    "another beside": (
        "beside",
        {"state": lambda t: t["parts"].update(beside=part(t, "chain"))},
    ),
    "weights that are no numbers": (
        "lstm",
        {"arrays": lambda data: data[:-4] + np.float32(np.nan).tobytes()},
    ),
    "features beyond": ("boosted", {"state": lambda t: _first_kept(t, 10**6)}),
    "features below": ("boosted", {"state": lambda t: _first_kept(t, -1)}),
    "trees of another link": (
        "boosted",
        {"state": lambda t: part(t, "classifier")["fields"]["parameters"].update(link="log")},
    ),
    "negative odds": ("boosted", {"state": lambda t: t["learned"].update(_odds=-1.0)}),
    "a classifier that is a model": (
        "last value",
        {"state": lambda t: part(t, "classifier").update({"class": "Naive"})},
    ),
    "a slope below 0": ("calibrated", {"state": lambda t: _map(t).update(slope=-1.0)}),
    "a map of another kind": ("calibrated", {"state": lambda t: _map(t).update(method="x")}),
    "a map that falls": (
        "isotonic",
        {"state": lambda t: _map(t)["values"].update(values=_map(t)["values"]["values"][::-1])},
    ),
    "another estimator": (
        "calibrated",
        {"manifest": lambda a: a["parameters"]["estimator"].update({"class": "LogisticBaseline"})},
    ),
}


def _rule(about):
    return about["parameters"]["event"]["fields"]["parts"]


def _first_kept(tree, value):
    kept = tree["learned"]["_kept"]
    values = sorted([value, *kept["values"][1:]])
    kept.update(values=values)


def _map(tree):
    return tree["learned"]["map_"]["fields"]["parameters"]


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")

    def at(name):
        if not (folder / name).exists():
            tsf.save(fitted(name), folder / name)
        return folder / name

    return at


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_event_estimator_is_refused(name, saved, tmp_path):
    model, forged = FORGERIES[name]
    shutil.copytree(saved(model), tmp_path / "model")
    forge(tmp_path / "model", **forged)
    with pytest.raises(tsf.DataError, match="expected .*found "):
        tsf.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["beside", "isotonic"])
def test_mutations_are_refused_or_harmless(name, fitted, saved, tmp_path):
    rng = np.random.default_rng(0)
    files = {file: (saved(name) / file).read_bytes() for file in FILES}
    wanted = fitted(name).predict_risk(OTHERS)
    for number in range(60):
        for file, data in mutated(files, rng).items():
            (tmp_path / file).write_bytes(data)
        if number % 2:
            try:
                forge(tmp_path)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # no manifest any more
        try:
            again = tsf.load(tmp_path)
        except tsf.DataError:
            continue
        if not number % 2:
            pd.testing.assert_frame_equal(again.predict_risk(OTHERS), wanted, check_exact=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["corrects", "news2", "calibrated network"])
def test_strange_values_are_refused_or_come_to_nothing(name, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(test_persist, "PANEL", OTHERS.loc[OTHERS.index[:1].get_level_values(0)])
    assert strangers(saved(name), tmp_path, 40) < 35


# ------------------------------------------------------------------------------------------ streams


@pytest.mark.parametrize("name", ["lstm", "options", "outcome", "corrects", "calibrated network"])
@pytest.mark.parametrize("policy", [None, tsf.AlarmPolicy(0.0, silence="2h", max_per_day=5)])
def test_a_loaded_stream_goes_on_as_if_it_had_not_been_saved(name, policy, fitted, tmp_path):
    hours = OTHERS.index.get_level_values(1)
    live = tsf.Stream(fitted(name), OTHERS[hours < pd.Timedelta("9h")], policy=policy)
    again = round_trip(live, tmp_path)
    pd.testing.assert_frame_equal(again.risk(), live.risk(), check_exact=True)
    for hour in (9, 10, 11):
        for each in (live, again):
            each.update(OTHERS[hours == pd.Timedelta(hours=hour)])
        pd.testing.assert_frame_equal(again.risk(), live.risk(), check_exact=True)
    assert ("alarm" in live.risk()) == (policy is not None)


def test_a_stream_without_rows_and_one_with_categories_beside_come_back(tmp_path):
    model = network(static=["ward"], beside=network(static=["ward"])).fit(STAYS)
    for known in (None, OTHERS):
        live = tsf.Stream(model, known)
        again = round_trip(live, tmp_path)
        for each in (live, again):
            late = OTHERS.set_index(
                OTHERS.index.set_levels(OTHERS.index.levels[1] + pd.Timedelta("2D"), level=1)
            )
            each.update(late.groupby(level=0).head(2))
        pd.testing.assert_frame_equal(again.risk(), live.risk(), check_exact=True)


@pytest.mark.parametrize(
    "forged",
    [
        lambda t: t["parts"].update(policy=None),
        lambda t: t["parts"]["policy"]["fields"]["parameters"].update(threshold=2.0),
        lambda t: t["parts"]["policy"]["fields"]["parameters"].update(threshold=None),
        lambda t: t["parts"].update(rows=None),
        lambda t: t["parts"]["rows"]["columns"].pop() and None,
        lambda t: _carried(t, "total").update(values=[1] * 6),
        lambda t: _carried(t, "alarm state")["items"].pop() and None,
        lambda t: _carried(t, "alarm state")["items"].__setitem__(0, 7),
        lambda t: _carried(t, "alarm state")["items"][0]["fields"]["parameters"].update(low=3),
        lambda t: _carried(t, "alarm state")["items"][0]["fields"]["parameters"].update(
            times={"$": "tuple", "items": [3]}
        ),
        lambda t: _carried(t, "risk").update(shape=[4, 6]),
    ],
)
def test_a_forged_stream_is_refused(forged, fitted, tmp_path):
    live = tsf.Stream(fitted("corrects"), OTHERS, policy=tsf.AlarmPolicy(0.0))
    tsf.save(live, tmp_path / "stream")
    forge(tmp_path / "stream", state=forged)
    with pytest.raises(tsf.DataError, match="cannot be put together"):
        tsf.load(tmp_path / "stream")


def _carried(tree, name):
    return dict(tree["parts"]["carried"]["pairs"])[name]
