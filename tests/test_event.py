"""`EventClassifier`: what it learns, what it cannot see, and what stands beside it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import tsforecast as tsf
from tests import simulated_stays
from tests.simulated_stays import simulate_stays
from tsforecast.data.features import Features
from tsforecast.data.panel import layout_of
from tsforecast.data.stays import StayWindows
from tsforecast.data.windows import Rows, Shape
from tsforecast.nn.events import EventNetwork
from tsforecast.nn.hazard import Hazards
from tsforecast.nn.network import InputScale

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"max_epochs": 3, "patience": 3, "learning_rate": 1e-2, "batch_size": 16}
ONSET = {"event": "deterioration", "horizon": "6h", "step": "1h"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quick(**parameters):
    training = tsf.Training(**{**QUICK, **parameters.pop("training", {})})
    given = {**ONSET, "hidden_sizes": (8,), "training": training, "random_state": 0}
    return tsf.EventClassifier(**{**given, **parameters})


@pytest.fixture(scope="module")
def stays():
    return tsf.make_vitals(60, 48, deterioration=0.4, missing=0.2, random_state=0)


@pytest.fixture(scope="module")
def others():
    return tsf.make_vitals(40, 48, deterioration=0.4, missing=0.2, random_state=1)


@pytest.fixture(scope="module")
def fitted(stays):
    return quick(training={"max_epochs": 8}).fit(stays)


# ------------------------------------------------------------------------------------- what it says


def test_it_learns_to_tell_patients_that_deteriorate(fitted, others):
    assert fitted.best_epochs_[0] > 0
    assert fitted.score(others) > 0.75


def test_risk_is_monotone_in_the_steps_and_ends_at_the_horizon(fitted, others):
    risk = fitted.predict_risk(others)
    steps = risk[[f"risk_{k}" for k in range(1, 7)]].to_numpy()
    assert list(risk.columns) == ["risk", *(f"risk_{k}" for k in range(1, 7))]
    assert (np.diff(steps, axis=1) >= 0).all() and (steps > 0).all() and (steps < 1).all()
    np.testing.assert_array_equal(risk["risk"], steps[:, -1])


def test_rows_come_back_in_the_order_of_the_input(fitted, others):
    whole = fitted.predict_risk(others)
    mixed = others.sample(frac=1.0, random_state=0).reset_index()
    panel = tsf.as_panel(mixed, series="patient", time="hours")
    pd.testing.assert_frame_equal(fitted.predict_risk(panel), whole)
    by_hour = others.sort_index(level="hours", kind="stable")
    assert not by_hour.index.equals(others.index)
    risk = fitted.predict_risk(by_hour)
    assert risk.index.equals(by_hour.index)
    pd.testing.assert_frame_equal(risk.loc[others.index], whole)


def test_a_row_depends_on_rows_of_its_stay_up_to_it_alone(fitted, others):
    whole = fitted.predict_risk(others)
    hours = others.index.get_level_values("hours")
    early = hours < pd.Timedelta(hours=14)
    altered = others.copy()
    altered.loc[~early, ["heart_rate", "map"]] = 500.0
    altered.loc[~early, "spo2"] = np.nan
    pd.testing.assert_frame_equal(
        fitted.predict_risk(altered)[early], whole[early], check_exact=True
    )
    pd.testing.assert_frame_equal(fitted.predict_risk(others[early]), whole[early], rtol=1e-5)
    one = others.loc[["P003"]]
    pd.testing.assert_frame_equal(fitted.predict_risk(one), whole.loc[["P003"]], rtol=1e-5)


def test_the_event_is_needed_by_fit_alone(fitted, others):
    known = others.drop(columns="deterioration")
    pd.testing.assert_frame_equal(fitted.predict_risk(known), fitted.predict_risk(others))
    assert "deterioration" not in fitted.inputs_


def test_hours_left_in_the_record_are_out_of_reach():
    # records end three rows behind the onset, as in PhysioNet 2019; the inputs are noise
    rng = np.random.default_rng(0)
    parts = []
    for number in range(300):
        onset = int(rng.integers(10, 30)) if number % 3 == 0 else None
        length = onset + 3 if onset is not None else 40
        frame = pd.DataFrame({"x": rng.normal(size=length)}, index=pd.RangeIndex(length))
        frame["event"] = 0.0 if onset is None else (np.arange(length) >= onset).astype(float)
        parts.append(frame)
    panel = pd.concat(dict(enumerate(parts)), names=["stay", "hour"])
    train, test = panel.loc[:99], panel.loc[100:]
    model = quick(event="event", horizon=6, step=None).fit(train)

    labels = model.event_labels(test)
    some = labels["eligible"].to_numpy()
    left = test.groupby(level=0).cumcount(ascending=False).to_numpy()
    assert roc_auc_score(labels["event"][some], -left[some]) > 0.9  # the leak is there
    at_hour = test.index.get_level_values("hour").to_numpy()
    risk = model.predict_risk(test)["risk"].to_numpy()
    scores = []
    for hour in range(10, 26, 2):  # at equal hours of admission only the record's end tells
        here = some & (at_hour == hour)
        scores.append(roc_auc_score(labels["event"][here], risk[here]))
    assert abs(np.mean(scores) - 0.5) < 0.12
    cut = test[test.groupby(level=0).cumcount() < 15]
    np.testing.assert_allclose(
        model.predict_risk(cut)["risk"], model.predict_risk(test)["risk"].loc[cut.index], rtol=1e-5
    )


def test_with_window_context_a_row_depends_on_the_last_lookback_rows(stays):
    model = quick(context="window", lookback=5).fit(stays)
    one = tsf.make_vitals(1, 48, random_state=4)  # complete: old values would be carried on
    altered = one.copy()
    altered.iloc[:10, :6] += 50.0
    whole, changed = model.predict_risk(one), model.predict_risk(altered)
    np.testing.assert_allclose(whole.iloc[14:], changed.iloc[14:], rtol=1e-6)
    assert (whole.iloc[10:13] - changed.iloc[10:13]).abs().to_numpy().max() > 1e-6


def test_the_same_seed_gives_the_same_risks_bit_for_bit(stays, others):
    state = torch.random.get_rng_state()
    one, two = (quick(n_members=2).fit(stays).predict_risk(others) for _ in range(2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not one.equals(quick(n_members=2, random_state=1).fit(stays).predict_risk(others))


def test_members_average_their_logits(stays, others):
    both = quick(n_members=2).fit(stays)
    odds = []
    for network in both.networks_:
        alone = clone(both).fit(stays)
        alone.networks_ = [network]
        risk = alone.predict_risk(others)[[f"risk_{k}" for k in range(1, 7)]].to_numpy()
        hazard = np.diff(risk, axis=1, prepend=0) / (1 - np.hstack([0 * risk[:, :1], risk[:, :-1]]))
        odds.append(np.log(hazard / (1 - hazard)))
    hazard = 1 / (1 + np.exp(-np.mean(odds, axis=0)))
    np.testing.assert_allclose(
        both.predict_risk(others)["risk"], 1 - np.prod(1 - hazard, axis=1), rtol=1e-4
    )


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_every_cell_and_option_fits(stays, others, cell):
    model = quick(
        cell=cell,
        hidden_sizes=(6, 4),
        dropout=0.2,
        channel_dropout=0.2,
        layer_norm=True,
        input_decay=True,
        smoothing=1.0,
        vitals_weight=0.5,
        transform=tsf.Clip(),
        training={"max_epochs": 2},
    ).fit(stays)
    risk = model.predict_risk(others)["risk"]
    assert risk.between(0, 1).all()
    vitals = model.predict_vitals(others)
    assert list(vitals.columns) == model.inputs_ and np.isfinite(vitals.to_numpy()).all()


def test_vitals_of_the_next_row_come_back_in_their_own_units(stays, others):
    model = quick(vitals_weight=1.0, training={"max_epochs": 25, "validation": None}).fit(stays)
    said = model.predict_vitals(others)
    after = others.groupby(level=0).shift(-1)
    for name in ("heart_rate", "sbp"):
        error = (said[name] - after[name]).abs().mean()
        usual = (after[name] - others[name].mean()).abs().mean()
        assert error < 0.85 * usual


def test_vitals_are_refused_where_they_were_not_learned(fitted, others):
    with pytest.raises(ValueError, match=r"'vitals_weight': expected above 0"):
        fitted.predict_vitals(others)


# ---------------------------------------------------------------------------------- what is learned


@pytest.mark.parametrize("class_weight", [None, 20.0, "balanced"])
def test_the_shift_of_class_weight_is_taken_out_of_the_probabilities(class_weight):
    panel = simulate_stays(400, competing=0.0, seed=0).panel
    model = quick(
        event="event",
        horizon=6,
        step=None,
        past=["x"],
        class_weight=class_weight,
        training={"max_epochs": 4, "learning_rate": 5e-3},
    ).fit(panel)
    labels = model.event_labels(panel)
    some = labels["eligible"].to_numpy()
    risk = model.predict_risk(panel)["risk"].to_numpy()[some]
    assert risk.mean() == pytest.approx(labels["event"].to_numpy()[some].mean(), rel=0.2)


def _slope(risk, event):
    x = np.log(risk / (1 - risk))[:, None]
    return LogisticRegression(C=1e6).fit(x, event).coef_[0, 0]


@pytest.fixture(scope="module")
def competing():
    """Risks of a day ahead; three in ten stays leave before, most of them at low risk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_stays, "_EXIT_SLOPE", -2.0)
        train = simulate_stays(2000, competing=0.3, seed=1).panel
        patch.setattr(simulated_stays, "LONGEST", 80)  # nobody of the test part is cut off
        patch.setattr(simulated_stays, "SHORTEST", 80)
        test = simulate_stays(1000, competing=0.3, seed=11, n_steps=24)
    risks = {}
    for name in ("exit", None):
        model = quick(
            event="event",
            horizon=24,
            step=None,
            past=["x"],
            competing=name,
            training={"max_epochs": 6, "batch_size": 64, "learning_rate": 1e-2},
        ).fit(train)
        risks[name] = model.predict_risk(test.panel)
    labels = tsf.event_within(test.panel, "event", 24, competing="exit")
    early = test.panel.index.get_level_values(1) < pd.Timedelta(hours=40)
    return risks, labels, labels["eligible"].to_numpy() & early, test.incidence


def test_risks_with_competing_exits_are_calibrated_and_without_are_not(competing):
    risks, labels, some, _ = competing
    event = labels["event"].to_numpy()[some]
    slope = {name: _slope(risk["risk"].to_numpy()[some], event) for name, risk in risks.items()}
    assert 0.9 < slope["exit"] < 1.1, slope
    assert not 0.9 < slope[None] < 1.1, slope


def test_competing_risks_agree_with_the_true_incidence(competing):
    risks, _, some, incidence = competing
    said, true = risks["exit"].iloc[some, 1:].to_numpy(), incidence[some].to_numpy()
    assert np.abs(said - true).mean() < 0.2 * true.mean()


def test_an_outcome_is_learned_at_every_row(stays):
    outcome = stays.groupby(level=0)["deterioration"].transform("max")
    panel = stays.drop(columns="deterioration").assign(died=outcome)
    model = quick(event="died", label="outcome", horizon=None, step=None).fit(panel)
    risk = model.predict_risk(panel)
    assert list(risk.columns) == ["risk"]
    last = risk["risk"].groupby(level=0).last()
    assert roc_auc_score(outcome.groupby(level=0).first(), last) > 0.7


def test_two_stays_of_a_patient_are_never_on_both_sides(stays, monkeypatch):
    panel = stays.copy()
    numbers = panel.index.get_level_values(0).str[1:].astype(int)
    panel["subject"] = (numbers // 2).astype(float)
    model = quick(group="subject", beside=HistGradientBoostingClassifier(max_iter=3))
    held, fits = [], []
    draw = tsf.EventClassifier._held_out

    def watch(self, *given):
        held.append(draw(self, *given))
        return held[-1]

    monkeypatch.setattr(tsf.EventClassifier, "_held_out", watch)
    from tsforecast.estimators.event_baselines import FeatureClassifier

    teach = FeatureClassifier.fit
    monkeypatch.setattr(
        FeatureClassifier,
        "fit",
        lambda self, data, y=None: (fits.append(set(data["subject"])), teach(self, data, y))[1],
    )
    for blend in ("average", "correct"):
        model.set_params(blend=blend).fit(panel)
    subject = panel["subject"].groupby(level=0).first()
    assert "subject" not in model.inputs_
    for side in held:
        assert not set(subject[side]) & set(subject[~side])
    everybody, training = set(subject), set(subject[~held[0]])
    assert fits[0] == training and fits[1] == everybody  # average
    assert fits[2] == training and fits[-1] == everybody
    folds = fits[3:-1]
    assert len(folds) == 5
    left_out = [training - fold for fold in folds]
    assert set().union(*left_out) == training
    assert sum(map(len, left_out)) == len(training)


def test_the_average_lies_between_the_network_and_what_stands_beside_it(stays, others):
    model = quick(beside=tsf.LogisticBaseline(event="ignored"), training={"max_epochs": 5})
    model.fit(stays)
    blended = model.predict_risk(others)
    steps = blended.iloc[:, 1:].to_numpy()
    assert (np.diff(steps, axis=1) >= -1e-12).all()
    assert 0 <= model.beside_share_ <= 1
    network = clone(model).set_params(beside=None).fit(stays).predict_risk(others)["risk"]

    def odds(risk):
        return np.log(risk / (1 - risk))

    own = model.beside_.predict_risk(others)["risk"]
    share = model.beside_share_
    expected = (1 - share) * odds(network) + share * odds(own)
    np.testing.assert_allclose(odds(blended["risk"]), expected, atol=2e-3)


def test_the_two_are_weighed_at_the_rows_that_the_one_beside_is_taught_at(stays, monkeypatch):
    from tsforecast.estimators._beside import Beside

    outcome = stays.groupby(level=0)["deterioration"].transform("max")
    panel = stays.drop(columns="deterioration").assign(died=outcome)
    seen = []
    choose = Beside.choose
    monkeypatch.setattr(
        Beside, "choose", lambda self, *given: (seen.append(len(given[2])), choose(self, *given))[1]
    )
    for at in ("last", "every"):
        beside = tsf.LogisticBaseline(event=None, at=at)
        quick(event="died", label="outcome", horizon=None, step=None, beside=beside).fit(panel)
    assert 10 <= seen[0] <= 14  # stays held out of 60: their last rows
    assert seen[1] > 200


@pytest.mark.parametrize("blend", ["average", "correct"])
def test_a_rule_says_its_event_to_what_stands_beside_and_nothing_else(stays, others, blend):
    # neither the rule's column nor NEWS2, which is none, is an input
    for rule in ("map < 75", "NEWS2 >= 4"):
        model = quick(
            event=tsf.Event(rule),
            past=["heart_rate", "resp_rate"],
            beside=tsf.LogisticBaseline(event=None),
            blend=blend,
        )
        model.fit(stays)
        assert set(model.beside_.inputs_) <= {"heart_rate", "resp_rate"}
        assert model.predict_risk(others[["heart_rate", "resp_rate"]])["risk"].between(0, 1).all()


def test_corrections_with_rare_events_find_both_outcomes_in_their_folds():
    panel = tsf.make_vitals(40, 40, deterioration=0.15, random_state=5)
    model = quick(beside=tsf.LogisticBaseline(event=None), blend="correct")
    assert model.fit(panel).predict_risk(panel)["risk"].notna().all()


def test_a_correction_of_competing_risks_and_smoothing_of_an_outcome_are_refused(stays):
    panel = stays.assign(gone=0.0, died=0.0)
    beside = tsf.LogisticBaseline(event=None)
    _refused("'blend'.*'average'", panel, competing="gone", blend="correct", beside=beside)
    outcome = {"event": "died", "label": "outcome", "horizon": None, "step": None}
    _refused("'smoothing'.*no time", panel, smoothing=1.0, **outcome)


def test_a_correction_that_finds_nothing_is_the_classifier_beside_itself(stays, others):
    # a learning rate of nearly nothing: the untrained network stays
    model = quick(
        beside=tsf.LogisticBaseline(event="ignored"),
        blend="correct",
        training={"learning_rate": 1e-12},
    ).fit(stays)
    assert model.best_epochs_ == [0]
    own = tsf.LogisticBaseline(**ONSET).fit(stays).predict_risk(others)
    np.testing.assert_allclose(model.predict_risk(others), own, atol=1e-5)


# ---------------------------------------------------------------------------------------- network


def _network(n_columns=3, **parameters):
    features = Features(n_columns=n_columns, n_targets=0)
    torch.manual_seed(0)
    given = {
        "features": features,
        "scale": InputScale(np.zeros(features.size), np.ones(features.size)),
        "static": InputScale(np.zeros(0), np.zeros(0)),
        "n_codes": [],
        "cell": "lstm",
        "hidden_sizes": (5,),
        "dropout": 0.0,
        "layer_norm": False,
        "init": "keras",
        "max_steps": 8,
        "head": Hazards(2),
        "start": torch.zeros(2, 1),
        "decay": False,
        "channel_dropout": 0.0,
        "vitals": 0.0,
    }
    return EventNetwork(**{**given, **parameters}).eval()


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_encoding_in_two_pieces_is_encoding_as_a_whole(cell):
    network = _network(cell=cell, hidden_sizes=(6, 4))
    x = torch.randn(3, 9, network.features.size)
    none = torch.empty(3, 0), torch.empty(3, 0, dtype=torch.int64)
    with torch.no_grad():
        whole, end = network.encode(x.clone(), *none)
        first, state = network.encode(x[:, :4].clone(), *none)
        rest, last = network.encode(x[:, 4:].clone(), *none, state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    torch.testing.assert_close(network.told(last), whole[:, -1])
    torch.testing.assert_close(network.told(last), network.told(end))
    h = whole[..., :4]
    torch.testing.assert_close(whole[..., 4:], h.cumsum(1) / torch.arange(1, 10)[:, None])


def test_input_decay_moves_old_values_towards_the_usual_one():
    network = _network(decay=True)
    n = 3
    with torch.no_grad():
        network.rate.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    x = torch.randn(2, 4, network.features.size)
    observed, age = torch.rand(2, 4, n) < 0.5, torch.rand(2, 4, n) * 5
    x[..., n : 2 * n], x[..., 2 * n : 3 * n] = observed.float(), age
    decayed = x.clone()
    left = np.exp(-np.log1p(np.exp([-1.0, 0.0, 2.0])) * age.numpy())
    decayed[..., :n] *= torch.where(observed, 1.0, torch.from_numpy(left)).float()
    none = torch.empty(2, 0), torch.empty(2, 0, dtype=torch.int64)
    plain = _network()
    with torch.no_grad():
        told, _ = network.encode(x.clone(), *none)
        expected, _ = plain.encode(decayed, *none)
    torch.testing.assert_close(told, expected)


def test_a_dropped_channel_looks_as_if_it_had_never_been_measured():
    network = _network(channel_dropout=0.5).train()
    x = torch.randn(4, 6, network.features.size)
    none = torch.empty(4, 0), torch.empty(4, 0, dtype=torch.int64)
    noise = network.noise((x,))
    shown = noise[1]
    assert shown.shape == (4, 3) and set(shown.unique().tolist()) == {0.0, 1.0}
    hidden = x.clone()
    for block in range(3):
        hidden[..., 3 * block : 3 * block + 3] *= shown[:, None]
    with torch.no_grad():
        told, _ = network.encode(x.clone(), *none, noise=noise)
        expected, _ = network.eval().encode(hidden, *none)
    torch.testing.assert_close(told, expected * noise[0])


def test_untrained_it_gives_every_row_the_mean_hazards(stays):
    model = quick(training={"learning_rate": 1e-12}).fit(stays)
    risk = model.predict_risk(stays)
    assert model.best_epochs_ == [0] and risk.nunique().max() <= 3
    # among rows at risk whose horizon is seen, about that share has the event
    labels = model.event_labels(stays)
    some = labels["eligible"]
    assert risk["risk"].iloc[0] == pytest.approx(labels["event"][some].mean(), rel=0.35)


# ---------------------------------------------------------------------------------------- windows


def _rows(lengths):
    frame = pd.concat(
        {f"s{i}": pd.DataFrame({"x": np.arange(n) * 1.0}) for i, n in enumerate(lengths)}
    )
    layout = layout_of(frame)
    n, one = len(frame), np.zeros((len(frame), 1))
    first = layout.starts[layout.codes()]
    return Rows(
        layout=layout,
        inputs=torch.zeros(n, 4),
        target=one,
        level=one,
        base=one[:, None],
        unit=one + 1,
        first=first,
        static=torch.zeros(len(lengths), 0),
        codes=torch.zeros(len(lengths), 0, dtype=torch.int64),
    )


@pytest.mark.parametrize("context", ["history", "window"])
def test_every_row_is_learned_once_an_epoch_with_the_context_it_should_have(context):
    rows = _rows([3, 40, 1, 17, 9])
    learn = np.ones(rows.layout.n_rows, dtype=bool)
    learn[[0, 25, 44]] = False
    windows = StayWindows(
        rows,
        learn,
        shape=Shape(context, 6, 1),
        origins=8,
        batch_size=2,
        rng=np.random.default_rng(0),
    )
    for _ in range(3):
        count = np.zeros(rows.layout.n_rows, dtype=int)
        n_batches = 0
        for runs in windows:
            n_batches += 1
            for at, mine in zip(runs.rows, runs.learn):
                assert len(set(rows.first[at])) == 1  # one stay
                np.add.at(count, at[mine], 1)
                for place in np.flatnonzero(mine):
                    before, row = at[: place + 1], at[place]
                    whole = np.arange(rows.first[row], row + 1)
                    seen = np.unique(before)
                    assert seen[-1] == row and np.array_equal(seen, whole[-len(seen) :])
                    assert len(seen) >= min(6, len(whole))
                    if context == "window":
                        assert place >= 5
        np.testing.assert_array_equal(count, learn)
        assert n_batches <= len(windows)


def test_a_short_stay_is_one_window_of_its_own_length():
    rows = _rows([5, 5, 5])
    windows = StayWindows(
        rows,
        np.ones(15, dtype=bool),
        shape=Shape("history", 6, 1),
        origins=8,
        batch_size=3,
        rng=np.random.default_rng(0),
    )
    (runs,) = list(windows)
    assert runs.rows.shape == (3, 5) and runs.learn.all()


def test_a_run_of_rows_with_nothing_to_learn_from_is_no_window():
    # of a recurrent event that lasts longer than a window; a batch of such runs has no loss
    rows = _rows([60, 5])
    learn = np.ones(65, dtype=bool)
    learn[10:50] = False
    windows = StayWindows(
        rows,
        learn,
        shape=Shape("history", 6, 1),
        origins=8,
        batch_size=1,
        rng=np.random.default_rng(0),
    )
    for _ in range(5):
        batches = list(windows)
        assert all(runs.learn.any() for runs in batches)
        assert sum(int(runs.learn.sum()) for runs in batches) == learn.sum()
        assert len(batches) <= len(windows)


# -------------------------------------------------------------------------------------- bad input


def _refused(match, panel, **parameters):
    with pytest.raises(ValueError, match=match):
        quick(**parameters).fit(panel)


def test_no_event_in_the_training_part_is_refused(stays):
    _refused("no event in the training rows", stays.assign(deterioration=0.0))


def test_a_channel_without_values_is_left_out_and_named(stays, others):
    panel = stays.assign(etco2=np.nan)
    with pytest.warns(UserWarning, match=r"1 columns hold no value.*'etco2'"):
        model = quick().fit(panel)
    risk = model.predict_risk(others.assign(etco2=40.0))
    pd.testing.assert_frame_equal(risk, model.predict_risk(others.assign(etco2=np.nan)))


def test_a_patient_with_one_row_and_a_very_long_stay_are_taken(fitted):
    row = tsf.make_vitals(1, 48, random_state=3)
    one = row.iloc[:1]
    hours = pd.to_timedelta(np.arange(10_000), unit="h")
    long = pd.concat([row.iloc[:20]] * 500)
    long.index = pd.MultiIndex.from_product([["long"], hours], names=row.index.names)
    risk = fitted.predict_risk(pd.concat([one, long]).sort_index())
    assert len(risk) == 10_001 and np.isfinite(risk.to_numpy()).all()
    labels = fitted.event_labels(one)
    assert not labels["eligible"].any()


def test_a_missing_input_column_is_named(fitted, others):
    with pytest.raises(ValueError, match="columns are missing.*'spo2'"):
        fitted.predict_risk(others.drop(columns="spo2"))


@pytest.mark.parametrize(
    ("parameter", "value", "told"),
    [
        ("dropout", 1.0, "a share"),
        ("channel_dropout", -0.1, "a share"),
        ("class_weight", "heavy", "'balanced'"),
        ("blend", "stack", "'average'"),
        ("smoothing", -1, "0 or more"),
        ("smoothing", np.inf, "0 or more"),
        ("class_weight", True, "'balanced'"),
        ("last_weight", 1.5, "from 0 to 1"),
        ("past", "map", "a list of columns"),
        ("beside", LogisticRegression, "an unfitted event estimator"),
        ("beside", tsf.SeriesScaler(), "predict_proba"),
        ("training", tsf.Training(validation="time"), "validation='series' or None"),
        ("cell", "transformer", "'lstm'"),
    ],
)
def test_parameters_out_of_range_are_refused(stays, parameter, value, told):
    model = quick()
    model.set_params(**{parameter: value})
    with pytest.raises(ValueError, match=rf"'{parameter}'.*{re.escape(told)}"):
        model.fit(stays)


def test_an_interrupt_leaves_the_best_weights_in_place(stays, others, monkeypatch):
    from tsforecast.nn import training

    passed = []
    validate = training._Watch.validate

    def stop(self, **given):
        result = validate(self, **given)
        passed.append(given["epoch"])
        if given["epoch"] == 2:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(training._Watch, "validate", stop)
    model = quick(training={"max_epochs": 9})
    with pytest.raises(KeyboardInterrupt):
        model.fit(stays)
    assert passed[-1] == 2 and model.interrupted_
    assert model.predict_risk(others)["risk"].between(0, 1).all()
