"""Streams of event classifiers: a row in, the risk of the batch and its alarms out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

import tsforecast as tsf

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

POLICY = tsf.AlarmPolicy(0.2, silence="3h", rearm=0.19, max_per_day=3)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_stays(n=24, seed=0) -> pd.DataFrame:
    """Vital signs with missing cells, a gap, and constants of the stay."""
    panel = tsf.make_vitals(n, 30, deterioration=0.4, missing=0.3, random_state=seed)
    hours = panel.index.get_level_values("hours") / pd.Timedelta(hours=1)
    panel = panel[(hours < 10) | (hours > 14)]
    number = panel.index.get_level_values(0).str[1:].astype(int)
    ward = pd.Categorical(np.where(number % 2, "a", "b"))
    return panel.assign(size=number / 10.0, ward=ward)


STAYS, OTHERS = make_stays(), make_stays(8, seed=1)
VITALS = ["heart_rate", "map", "spo2"]


def model_of(**changed) -> tsf.EventClassifier:
    options = {
        "event": "deterioration",
        "horizon": "4h",
        "step": "1h",
        "past": VITALS,
        "hidden_sizes": (5, 4),
        "lookback": 6,
        "training": tsf.Training(max_epochs=2, learning_rate=0.02, validation=None),
        "random_state": 0,
    }
    return tsf.EventClassifier(**(options | changed))


MODELS = {
    "plain": {},
    "window": {"context": "window"},
    "gru": {"cell": "gru", "n_members": 2, "layer_norm": True, "max_gap": "3h"},
    "rnn": {"cell": "rnn", "input_decay": True, "static": ["size", "ward"], "vitals_weight": 0.1},
    "transforms": {
        "transform": make_pipeline(
            tsf.PlausibleRange({"heart_rate": (75, 300)}),
            tsf.ForwardFill(2),
            tsf.LogReturn(["map"]),
        ),
    },
    "outcome": {"label": "outcome", "horizon": None, "step": None, "event": "died"},
    "rule": {"event": tsf.Event("map < 80"), "label": "recurrent", "past": ["heart_rate", "spo2"]},
    "balanced": {"class_weight": "balanced"},
    "beside": {
        "beside": tsf.LogisticBaseline(event="ignored"),
        "static": ["size", "ward"],
    },
    "corrects": {
        "beside": tsf.BoostedBaseline(event="ignored", max_iter=5),
        "blend": "correct",
        "transform": tsf.LogReturn(["map"]),
    },
}


def with_outcome(panel):
    return panel.assign(died=panel.groupby(level=0)["deterioration"].transform("max"))


@pytest.fixture(scope="module")
def fitted():
    made = {}

    def fit(name):
        if name not in made:
            made[name] = model_of(**MODELS[name]).fit(with_outcome(STAYS))
        return made[name]

    return fit


def live_risks(stream, panel):
    """Risks at every row, hour by hour."""
    parts = []
    for _, rows in panel.groupby(level=1):
        assert stream.update(rows) == len(rows)
        parts.append(stream.risk(rows.index.get_level_values(0).tolist()))
    return pd.concat(parts).loc[panel.index]


@pytest.mark.parametrize("name", MODELS)
def test_rows_fed_hour_by_hour_have_the_risks_of_the_batch(fitted, name):
    model = fitted(name)
    found = live_risks(tsf.Stream(model, None), OTHERS)
    pd.testing.assert_frame_equal(found, model.predict_risk(OTHERS), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_goes_on_from_a_panel_and_takes_several_rows_at_once(fitted, name):
    model = fitted(name)
    early = OTHERS.index.get_level_values(1) < pd.Timedelta(hours=9)
    known = OTHERS[early & (OTHERS.index.get_level_values(0) != "P003")]
    stream = tsf.Stream(model, known)
    expected = model.predict_risk(known).groupby(level=0).tail(1)
    pd.testing.assert_frame_equal(stream.risk(), expected, rtol=0, atol=1e-6)
    rest = OTHERS.drop(known.index)
    rest = rest.drop(rest.loc[["P001"]].index[3:])  # of different lengths
    assert stream.update(rest) == len(rest)
    whole = pd.concat([known, rest]).sort_index()
    expected = model.predict_risk(whole).groupby(level=0).tail(1)
    pd.testing.assert_frame_equal(stream.risk(), expected, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:8 of 8 series have the names of some")
@pytest.mark.parametrize("name", ["plain", "window", "beside"])
@pytest.mark.parametrize("begun", [True, False])
def test_alarms_are_those_of_the_policy_on_the_batch(fitted, name, begun):
    model = fitted(name)
    frame = tsf.event_frame(model, OTHERS)
    hours = OTHERS.index.get_level_values(1)
    known = OTHERS[hours < pd.Timedelta(hours=6)] if begun else None
    rest = OTHERS if known is None else OTHERS.drop(known.index)
    places = pd.MultiIndex.from_frame(frame[["series", "time"]], names=OTHERS.index.names)
    at_risk = frame["at_risk"].set_axis(places).loc[rest.index].to_numpy()
    level = float(frame["risk"].quantile(0.6))
    counts = []
    for rearm in (None, float(frame["risk"].quantile(0.5))):
        policy = tsf.AlarmPolicy(level, silence="3h", rearm=rearm)
        live = live_risks(tsf.Stream(model, known, policy=policy), rest)["alarm"]
        expected = policy.apply(frame).set_axis(places).loc[rest.index]
        np.testing.assert_array_equal(live[at_risk], expected[at_risk])
        counts.append(int(expected.sum()))
    assert 3 < counts[0] < at_risk.sum() / 2
    assert counts[1] < counts[0]  # the one that waits for the risk to fall raises fewer


def test_every_row_of_one_update_counts_for_the_policy(fitted):
    model, policy = fitted("plain"), tsf.AlarmPolicy(0.0, silence="4h")
    one, many = (tsf.Stream(model, None, policy=policy) for _ in range(2))
    row_by_row = live_risks(one, OTHERS)
    whole = OTHERS.loc[["P000"]]
    many.update(whole.iloc[:7])
    many.update(whole.iloc[7:])
    pd.testing.assert_frame_equal(many.risk(), row_by_row.loc[["P000"]].iloc[-1:])
    assert many._carried["alarm state"][0] == one._carried["alarm state"][0]


def test_a_calibrated_classifier_streams_too(fitted):
    with pytest.warns(UserWarning, match="names of some"):
        calibrated = tsf.recalibrate(fitted("plain"), make_stays(16, seed=2), "platt")
    again = tsf.CalibratedEvents(FrozenEstimator(calibrated), method="intercept")
    with pytest.warns(UserWarning, match="names of some"):
        again.fit(make_stays(16, seed=3))
    found = live_risks(tsf.Stream(again, None), OTHERS)
    pd.testing.assert_frame_equal(found, again.predict_risk(OTHERS), rtol=0, atol=1e-6)
    assert (found["risk"] - fitted("plain").predict_risk(OTHERS)["risk"]).abs().max() > 1e-3


def test_a_correction_leaves_rows_before_the_transform_is_ready_to_what_it_corrects():
    untouched = tsf.Training(max_epochs=1, learning_rate=1e-30, validation=None)
    model = model_of(**MODELS["corrects"] | {"training": untouched}).fit(STAYS)
    live = live_risks(tsf.Stream(model, None), OTHERS)
    own = model.beside_.predict_risk(OTHERS)
    first = OTHERS.groupby(level=0).cumcount() == 0
    assert OTHERS.loc[first, "map"].notna().any()  # of which no return is known
    pd.testing.assert_frame_equal(live[first], own[first], rtol=0, atol=1e-5)


def test_one_nameless_stay_streams_too(fitted):
    for name in ("plain", "beside"):
        alone = STAYS.loc["P000"]
        on = np.arange(len(alone)) >= 15
        alone = alone.assign(deterioration=on.astype(float))
        model = model_of(**MODELS[name]).fit(alone)
        stream = tsf.Stream(model, alone.iloc[:5])
        for at in range(5, len(alone)):
            stream.update(alone.iloc[[at]])
        expected = model.predict_risk(alone).iloc[-1:]
        pd.testing.assert_frame_equal(stream.risk(), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:8 of 8 series have the names of some")
@pytest.mark.parametrize("kind", ["steps", "dates"])
def test_any_kind_of_time_streams(kind):
    def turned(panel):
        hours = panel.index.levels[1] // pd.Timedelta(hours=1)
        start = pd.Timestamp("2024-03-01", tz="Europe/Berlin")
        level = hours if kind == "steps" else start + pd.to_timedelta(hours, unit="h")
        return panel.set_axis(panel.index.set_levels(level, level=1))

    steps = {"horizon": 4, "step": None} if kind == "steps" else {}
    model = model_of(**steps).fit(turned(STAYS))
    others = turned(OTHERS)
    policy = tsf.AlarmPolicy(float(model.predict_risk(others)["risk"].median()), silence=3)
    found = live_risks(tsf.Stream(model, None, policy=policy), others)
    expected = model.predict_risk(others)
    pd.testing.assert_frame_equal(found.drop(columns="alarm"), expected, rtol=0, atol=1e-6)
    frame = tsf.event_frame(model, others)
    at_risk = frame["at_risk"].to_numpy()
    np.testing.assert_array_equal(found["alarm"][at_risk], policy.apply(frame)[at_risk])


@pytest.mark.parametrize("name", ["plain", "window"])
def test_what_is_kept_of_a_stay_does_not_grow(fitted, name):
    stream = tsf.Stream(fitted(name), OTHERS, policy=POLICY)
    before = {key: part.shape for key, part in stream._carried.items()}
    more = OTHERS.loc[["P000"]]
    for number in range(1, 4):
        later = more.index.set_levels(more.index.levels[1] + pd.Timedelta(days=number), level=1)
        stream.update(more.set_axis(later))
    assert {key: part.shape for key, part in stream._carried.items()} == before
    assert len(stream._carried["alarm state"][0].times) <= 3


def frozen(stream):
    return {name: part.copy() for name, part in stream._carried.items()}


def test_an_update_that_fails_changes_nothing(fitted):
    stream = tsf.Stream(fitted("beside"), OTHERS, policy=POLICY)
    before, risk = frozen(stream), stream.risk()
    later = OTHERS.loc[["P000", "P001"]].groupby(level=0).tail(1)
    later = later.set_axis(
        later.index.set_levels(later.index.levels[1] + pd.Timedelta(days=1), level=1)
    )
    with pytest.raises(tsf.DataError, match="static column varies"):
        stream.update(later.assign(size=99.0))
    with pytest.raises(tsf.DataError, match="not new"):
        stream.update(OTHERS.loc[["P000"]].iloc[-1:])
    with pytest.raises(tsf.DataError, match="infinite"):
        stream.update(later.assign(map=np.inf))
    assert all(stream._carried[name] is not None for name in before)
    for name, part in before.items():
        assert all(one is two for one, two in zip(part, stream._carried[name])) or (
            np.array_equal(part, stream._carried[name], equal_nan=part.dtype.kind == "f")
        )
    pd.testing.assert_frame_equal(stream.risk(), risk)


def test_a_stay_that_has_ended_is_forgotten_and_may_begin_anew(fitted):
    for name in ("plain", "beside"):
        model = fitted(name)
        stream = tsf.Stream(model, OTHERS, policy=POLICY)
        others = stream.risk(["P001", "P002"])
        stream.drop(["P000"])
        assert "P000" not in stream.risk().index.get_level_values(0)
        pd.testing.assert_frame_equal(stream.risk(["P002", "P001"]), others)
        stream.update(OTHERS.loc[["P000"]].iloc[:2])
        expected = model.predict_risk(OTHERS.loc[["P000"]].iloc[:2]).iloc[-1:]
        found = stream.risk(["P000"]).drop(columns="alarm")
        pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-6)


def test_the_event_is_not_needed(fitted):
    stream = tsf.Stream(fitted("plain"), OTHERS.drop(columns="deterioration"))
    expected = fitted("plain").predict_risk(OTHERS).groupby(level=0).tail(1)
    pd.testing.assert_frame_equal(stream.risk(), expected, rtol=0, atol=1e-6)


def test_what_does_not_go_together_is_refused_by_name(fitted):
    stream = tsf.Stream(fitted("plain"), OTHERS)
    for ask in (stream.forecast, stream.future_index):
        with pytest.raises(ValueError, match=r"to forecast, found 'EventClassifier'.*risk\(\)"):
            ask()
    forecaster = tsf.RecurrentForecaster(
        target="map", hidden_sizes=(2,), training=tsf.Training(max_epochs=1, validation=None)
    ).fit(tsf.make_vitals(3, 80, random_state=0))
    with pytest.raises(ValueError, match=r"to give risks, found 'RecurrentForecaster'.*forecast"):
        tsf.Stream(forecaster, None).risk()
    with pytest.raises(ValueError, match="'policy': expected None, as a forecaster"):
        tsf.Stream(forecaster, None, policy=POLICY)
    with pytest.raises(ValueError, match="'policy': expected an AlarmPolicy"):
        tsf.Stream(fitted("plain"), None, policy=0.3)
    with pytest.raises(ValueError, match=r"'threshold': expected a number.*policy.fit"):
        tsf.Stream(fitted("plain"), None, policy=tsf.AlarmPolicy())
    with pytest.raises(ValueError, match=r"found .*LogisticBaseline.*predict_risk"):
        tsf.Stream(fitted("beside").beside_, None)
    with pytest.raises(tsf.DataError, match="stream without rows"):
        tsf.Stream(fitted("plain"), None).risk()
    with pytest.raises(tsf.DataError, match=r"series is not known.*found 'P999'"):
        stream.risk(["P999"])
