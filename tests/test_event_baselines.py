"""Event estimators on tables: the verbs of their base, and each baseline against its twin."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import tsforecast as tsf
from tsforecast.data.panel import layout_of
from tsforecast.data.splits import held_out_series
from tsforecast.estimators._events import PanelClassifier, even_risk

TASK = {"event": "shock", "horizon": "6h"}
SMALL = {"max_iter": 15, "random_state": 0}


def make_stays(n=60, seed=0, rows=(8, 30), kind="timedelta"):
    """Stays with irregular rows, in which a low pressure makes a shock more likely."""
    rng = np.random.default_rng(seed)
    parts = {}
    for number in range(n):
        size = int(rng.integers(*rows))
        hours = np.cumsum(rng.choice([0.5, 1.0, 1.0, 2.0], size))
        pressure = 85 + 6 * rng.standard_normal() + np.cumsum(3 * rng.standard_normal(size))
        hazard = 1 / (1 + np.exp((pressure - 62) / 3))
        on = np.maximum.accumulate(rng.random(size) < np.append(0, hazard[:-1]))
        time = {
            "timedelta": lambda h: pd.to_timedelta(h, unit="h"),
            "dates": lambda h: pd.Timestamp("2024-03-01") + pd.to_timedelta(h, unit="h"),
            "steps": lambda h: pd.Index(np.arange(len(h))),
        }[kind](hours)
        frame = pd.DataFrame(
            {
                "sbp": pressure.round(),
                "lactate": np.where(rng.random(size) < 0.8, np.nan, rng.lognormal(size=size)),
                "etco2": np.nan,
                "age": 50.0 + number % 40,
                "patient_number": float(number // 2),
                "died": float(on.any() and rng.random() < 0.7),
                "shock": on.astype(float),
            },
            index=time,
        )
        frame["sbp"] = frame["sbp"].mask(rng.random(size) < 0.2)
        parts[f"s{number:02d}"] = frame
    return tsf.as_panel(pd.concat(parts, names=["stay", "time"]))


PANEL = make_stays()
OTHERS = make_stays(30, seed=1)
INPUTS = ["sbp", "lactate", "etco2", "age"]
SOME = tsf.CausalFeatures(["sbp", "lactate", "etco2"], static=["age"])
MODELS = {
    "features": tsf.FeatureClassifier(
        HistGradientBoostingClassifier(max_iter=10), **TASK, step="1h", features=SOME
    ),
    "boosted": tsf.BoostedBaseline(**TASK, step="2h", features=SOME, **SMALL),
    "logistic": tsf.LogisticBaseline(**TASK, step="1h", features=SOME),
    "last value": tsf.LastValue("sbp", **TASK, step="1h"),
    "news2": tsf.NEWS2(**TASK),
}
every_model = pytest.mark.parametrize("name", MODELS)
quietly = pytest.mark.filterwarnings("ignore:NEWS2 has no column")


def fitted(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "NEWS2 has no column")
        return clone(MODELS[name]).fit(PANEL)


# ---------------------------------------------------------------------------------- base: verbs


@every_model
def test_risk_has_a_row_for_each_row_and_never_falls_in_the_horizon(name):
    model = fitted(name)
    risk = model.predict_risk(OTHERS)
    assert risk.index.equals(OTHERS.index)
    n_steps = {"boosted": 3, "news2": 1}.get(name, 6)
    steps = [f"risk_{k}" for k in range(1, n_steps + 1)] if n_steps > 1 else []
    assert list(risk.columns) == ["risk", *steps]
    values = risk[steps].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    assert ((risk >= 0) & (risk <= 1)).all(axis=None)
    if steps:
        assert (risk["risk"] == risk[steps[-1]]).all()


@every_model
def test_probabilities_and_classes_follow_from_the_risk(name):
    model = fitted(name)
    risk = model.predict_risk(OTHERS)["risk"].to_numpy()
    proba = model.predict_proba(OTHERS)
    np.testing.assert_array_equal(proba[:, 1], risk)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert model.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(model.predict(OTHERS), risk > 0.5)
    assert is_classifier(model)


@every_model
def test_rows_come_back_in_the_order_of_the_input(name):
    model = fitted(name)
    risk = model.predict_risk(OTHERS)
    turned = OTHERS.sort_index(level="time", kind="stable")
    assert not turned.index.equals(OTHERS.index)
    other = model.predict_risk(turned)
    assert other.index.equals(turned.index)
    pd.testing.assert_frame_equal(other.loc[OTHERS.index], risk, check_exact=True)
    labels = model.event_labels(turned)
    assert labels.index.equals(turned.index)
    pd.testing.assert_frame_equal(labels.loc[OTHERS.index], model.event_labels(OTHERS))
    table = OTHERS.reset_index().rename(columns={"stay": "series"})
    table = table.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(
        model.predict_proba(table)[:, 1],
        risk["risk"].to_numpy()[table.index],
    )


@every_model
def test_the_event_is_no_input_and_need_not_be_there(name):
    model = fitted(name)
    risk = model.predict_risk(OTHERS)
    assert not {"shock", "died"} & set(model.inputs_)
    pd.testing.assert_frame_equal(risk, model.predict_risk(OTHERS.drop(columns="shock")))
    pd.testing.assert_frame_equal(risk, model.predict_risk(OTHERS.assign(shock=1.0)))


@every_model
def test_a_series_alone_gets_the_risk_that_it_gets_inside_the_panel(name):
    model = fitted(name)
    inside = model.predict_risk(OTHERS).loc[["s07"]]
    pd.testing.assert_frame_equal(model.predict_risk(OTHERS.loc[["s07"]]), inside)


@every_model
def test_risk_ignores_rows_after_it(name):
    model = fitted(name)
    short = OTHERS.groupby(level=0).head(5)
    pd.testing.assert_frame_equal(
        model.predict_risk(short), model.predict_risk(OTHERS).groupby(level=0).head(5)
    )


@every_model
def test_copies_and_second_fits_predict_bit_equal(name):
    model = fitted(name)
    risk = model.predict_risk(OTHERS)
    again = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(again.predict_risk(OTHERS), risk, check_exact=True)
    if name != "features":  # without a seed
        other = fitted(name).predict_risk(OTHERS)
        pd.testing.assert_frame_equal(other, risk, check_exact=True)


@every_model
def test_a_panel_that_lacks_a_column_is_refused_with_its_name(name):
    model = fitted(name)
    with pytest.raises(tsf.DataError, match=r"columns are missing .*'sbp'.* Missing: \['sbp'\]"):
        model.predict_risk(OTHERS.drop(columns="sbp"))
    with pytest.raises(tsf.DataError, match="time is of another kind than in fit"):
        model.predict_risk(make_stays(3, kind="dates"))
    with pytest.raises(tsf.DataError, match="of another kind than in fit .*'sbp'.* numbers"):
        model.predict_risk(OTHERS.assign(sbp=pd.Categorical(["low"] * len(OTHERS))))


@every_model
def test_nothing_is_fitted_before_fit_or_after_a_fit_that_failed(name):
    model = clone(MODELS[name])
    with pytest.raises(NotFittedError):
        model.predict_risk(PANEL)
    with pytest.raises(tsf.DataError, match="no event in the training rows"):
        model.fit(PANEL.assign(shock=0.0))
    with pytest.raises(NotFittedError):
        model.predict_risk(PANEL)


@pytest.mark.parametrize(
    ("changed", "shock", "text"),
    [
        ({}, 0.0, "no event in the training rows: .* none behind any of"),
        ({}, 1.0, "no row to learn from: .* rows of 60 series: event on at the first row"),
        ({"horizon": "400h"}, None, "nothing but events in the training rows: "),
        ({"min_history": 100}, None, "no row to learn from: .*too little history"),
        ({"event": "coma"}, None, "'coma'"),
        ({"event": "age"}, None, "'age'.* 0 "),
        ({"group": "house"}, None, "group is not a column"),
        ({"group": "sbp"}, None, "static column varies"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_words(changed, shock, text):
    panel = PANEL if shock is None else PANEL.assign(shock=shock)
    with pytest.raises(tsf.DataError, match=text):
        clone(MODELS["last value"]).set_params(step=None, **changed).fit(panel)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"horizon": None}, "'horizon'"),
        ({"step": "4h"}, "multiple of step"),
        ({"label": "soon"}, "'label'"),
        ({"min_history": -1}, "'min_history'"),
        ({"at": "often"}, "'at': expected 'every', 'last' or a span of time"),
        ({"at": 5}, "'at'"),
    ],
)
def test_parameters_are_checked_in_fit(changed, text):
    with pytest.raises(ValueError, match=text):
        clone(MODELS["logistic"]).set_params(**changed).fit(PANEL)


def test_score_is_the_auroc_over_eligible_rows():
    model = fitted("logistic")
    labels = model.event_labels(OTHERS)
    pd.testing.assert_frame_equal(labels, tsf.event_within(OTHERS, "shock", "6h", step="1h"))
    rows = labels["eligible"]
    expected = roc_auc_score(labels["event"][rows], model.predict_proba(OTHERS)[rows, 1])
    assert model.score(OTHERS) == pytest.approx(expected)
    assert 0.6 < expected < 0.99
    with pytest.raises(tsf.DataError, match="nothing to score: .* 0 of them with it"):
        model.score(OTHERS.assign(shock=0.0))


def test_rows_of_series_seen_in_fit_count_from_its_end_where_time_is_a_date():
    panel = make_stays(40, seed=3, kind="dates")
    time = panel.index.get_level_values("time")
    cut = time.min() + pd.Timedelta("14h")
    known = panel[(time <= cut) & ~panel.index.get_level_values("stay").isin(["s01", "s30"])]
    model = tsf.LastValue("sbp", **TASK).fit(known)
    labels = model.event_labels(panel)
    new = panel.index.get_level_values("stay").isin(["s01", "s30"])
    rows = labels["eligible"] & ((time >= model.cutoff_) | new)
    expected = roc_auc_score(labels["event"][rows], model.predict_proba(panel)[rows, 1])
    assert model.score(panel) == pytest.approx(expected)
    assert model.cutoff_ == known.index.get_level_values("time").max()


def test_searches_split_between_series_and_refuse_to_tear_them():
    model = clone(MODELS["logistic"])
    split = tsf.SeriesSplit(3, stratify="shock", group="patient_number", random_state=0)
    scores = cross_val_score(model, PANEL, cv=split, error_score="raise")
    assert (scores > 0.5).all()
    search = GridSearchCV(model, {"C": [1e-6, 0.01]}, cv=split, error_score="raise").fit(PANEL)
    assert search.best_params_["C"] in (1e-6, 0.01)
    with pytest.raises(tsf.DataError, match="tears a series apart"):
        cross_val_score(model, PANEL)


def test_what_is_told_after_the_stay_is_no_input_unless_named():
    panel = PANEL.assign(
        Survival=3.0, SepsisLabel=1.0, out=0.0, ward=pd.Categorical(["a"] * len(PANEL))
    )
    model = tsf.BoostedBaseline(
        **TASK, competing="out", group="patient_number", max_iter=2, random_state=0
    ).fit(panel)
    assert model.inputs_ == [*INPUTS, "died"]
    assert model.features_.static == ["etco2", "age", "died"]
    named = tsf.LastValue("Survival", **TASK).fit(panel.assign(Survival=panel["sbp"]))
    assert named.inputs_ == ["Survival"]
    for name in ("shock", "out"):
        with pytest.raises(tsf.DataError, match=f"the event is among the inputs .*{name!r}"):
            tsf.LastValue([name, "sbp"], **TASK, competing="out").fit(panel)


def test_columns_that_look_like_patients_draw_a_warning():
    panel = PANEL.rename(columns={"patient_number": "patient"})
    with pytest.warns(UserWarning, match="'patient' looks as if it named groups of series"):
        clone(MODELS["last value"]).fit(panel)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(MODELS["last value"]).set_params(group="patient").fit(panel)


def test_outcomes_of_the_stay_and_recurrent_events_are_learned_too():
    outcome = tsf.BoostedBaseline(event="died", label="outcome", features=SOME, **SMALL).fit(PANEL)
    labels = outcome.event_labels(PANEL)
    assert (labels["event"] == PANEL["died"]).all()
    assert list(outcome.predict_risk(PANEL).columns) == ["risk"]
    low = tsf.Event("sbp < 75")
    again = tsf.LastValue("sbp", event=low, label="recurrent", horizon=3).fit(PANEL)
    assert again.n_steps_ == 3
    assert again.score(OTHERS) > 0.6


def test_whole_numbers_of_time_count_steps():
    panel = make_stays(kind="steps")
    model = tsf.BoostedBaseline(event="shock", horizon=4, at=12, **SMALL).fit(panel)
    assert model.features_.window == 6
    assert model.n_steps_ == 4
    assert "sbp_min_6" in model.features_.get_feature_names_out()


def test_the_base_is_not_used_alone():
    assert not hasattr(PanelClassifier, "predict_risks")
    for verb in ("_fit", "_risk", "_inputs"):
        assert getattr(PanelClassifier, verb).__isabstractmethod__


def test_constant_hazard_spreads_the_risk_over_the_steps():
    risk = np.array([0.0, 1e-12, 0.3, 1.0 - 1e-9, 1.0])
    spread = even_risk(risk, 4)
    plain = [[1 - (1 - r) ** (k / 4) for k in (1, 2, 3, 4)] for r in risk]
    np.testing.assert_allclose(spread, plain, rtol=1e-3, atol=1e-15)
    assert (spread[:, -1] == risk).all()
    assert (np.diff(spread, axis=1) >= 0).all()


# --------------------------------------------------------------------------------- base: groups


def test_validation_series_have_their_share_of_each_outcome_and_whole_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 2)
    outcome = np.repeat(rng.random(200) < 0.1, 2).astype(np.int64)
    held = held_out_series(groups, 0.2, 3, stratify=outcome)
    for value in (0, 1):
        own = outcome == value
        assert held[own].mean() == pytest.approx(0.2, abs=2 / own.sum())
    assert (held[::2] == held[1::2]).all()
    kept = rng.random(400) < 0.5
    some = held_out_series(groups, 0.2, 3, kept=kept, stratify=outcome)
    assert not (some & np.isin(groups, groups[kept])).any()
    assert some.any()


def test_an_estimator_draws_patients_with_their_share_of_the_events():
    panel = make_stays(100, seed=2)
    model = tsf.LastValue("sbp", **TASK, group="patient_number").fit(panel)
    layout, labels = layout_of(panel), model._task().labels(panel)
    held = model._held_out(panel, layout, labels, 0.25, 0)
    assert (held[::2] == held[1::2]).all()  # two stays of each patient
    ill = np.maximum.reduceat(np.nan_to_num(labels.event) * labels.eligible, layout.starts)
    ill = np.maximum(ill[::2], ill[1::2]) == 1
    for outcome in (ill, ~ill):
        assert outcome.sum() > 8
        assert held[::2][outcome].mean() == pytest.approx(0.25, abs=1 / outcome.sum() + 1e-9)


def test_an_outcome_of_one_group_alone_stays_in_training():
    groups, outcome = np.arange(6), np.array([0, 0, 0, 0, 0, 1])
    for seed in range(20):
        held = held_out_series(groups, 0.4, seed, stratify=outcome)
        assert not held[5]
        assert held.sum() == 2
    one_each = held_out_series(np.arange(2), 0.9, 0, stratify=np.array([0, 1]))
    assert one_each.sum() == 1


def test_the_draw_without_strata_is_what_it_was():
    """As of the release before strata, bit for bit."""
    rng = np.random.default_rng(7)
    for seed in range(30):
        groups = np.unique(rng.integers(0, 15, 30), return_inverse=True)[1]
        kept = None if seed % 2 else rng.random(30) < 0.2
        n_groups = groups.max() + 1
        drawn = np.ones(n_groups, dtype=bool)
        drawn[groups[kept] if kept is not None else []] = False
        order = np.random.default_rng(seed).permutation(n_groups)
        order = order[drawn[order]]
        taken = np.cumsum(np.bincount(groups, minlength=n_groups)[order]) / len(groups)
        n_held = int(np.clip(np.searchsorted(taken, 0.3) + 1, 1, n_groups - 1))
        expected = np.isin(groups, order[:n_held])
        np.testing.assert_array_equal(held_out_series(groups, 0.3, seed, kept=kept), expected)


# ------------------------------------------------------------------------------------ on features


def test_any_classifier_learns_from_the_features_of_eligible_rows():
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    features = tsf.CausalFeatures(["sbp"], history=False, window="4h")
    model = tsf.FeatureClassifier(tree, **TASK, features=features).fit(PANEL)
    labels = tsf.event_within(PANEL, "shock", "6h")
    X = features.fit_transform(PANEL).to_numpy()
    rows = labels["eligible"].to_numpy()
    twin = clone(tree).fit(X[rows], labels["event"][rows].astype(int))
    np.testing.assert_array_equal(model.predict_proba(PANEL), twin.predict_proba(X))


@pytest.mark.parametrize("at", ["last", "9h", pd.Timedelta("9h")])
def test_rows_to_learn_from_may_be_one_per_stay(at):
    class Remembers(DummyClassifier):
        def fit(self, X, y):
            self.seen_ = np.column_stack([X, y])
            return super().fit(X, y)

    features = tsf.CausalFeatures(["sbp"], history=False)
    model = tsf.FeatureClassifier(Remembers(), **TASK, features=features, at=at).fit(PANEL)
    labels = tsf.event_within(PANEL, "shock", "6h")
    hours = PANEL.index.get_level_values("time") / pd.Timedelta("1h")
    rows = labels["eligible"] & ((hours <= 9) | (at == "last"))
    newest = PANEL.index[rows].to_frame().groupby(level=0)["time"].last()
    chosen = pd.MultiIndex.from_arrays([newest.index, newest])
    expected = features.fit_transform(PANEL).loc[chosen].to_numpy()
    assert len(chosen) < rows.sum()
    np.testing.assert_array_equal(model.classifier_.seen_[:, :-1], expected)
    np.testing.assert_array_equal(model.classifier_.seen_[:, -1], labels["event"].loc[chosen])


def test_a_draw_keeps_the_events_and_probabilities_stay_those_of_all_rows():
    panel = make_stays(200, seed=5)
    labels = tsf.event_within(panel, "shock", "6h")
    rows = labels["eligible"]
    n_events = int(labels["event"][rows].sum())
    assert 100 < n_events < 500 < rows.sum() / 4
    features = tsf.CausalFeatures(["sbp"], history=False)
    model = tsf.FeatureClassifier(
        DummyClassifier(strategy="prior"), **TASK, features=features, max_rows=1000, random_state=0
    ).fit(panel)
    assert model.classifier_.class_prior_[1] == n_events / 1000
    rate = n_events / rows.sum()
    np.testing.assert_allclose(model.predict_risk(panel)["risk"], rate)
    few = clone(model).set_params(max_rows=100).fit(panel)
    assert few.classifier_.class_prior_[1] == 0.5
    np.testing.assert_allclose(few.predict_risk(panel)["risk"], rate)

    whole, drawn = (
        tsf.LogisticBaseline(**TASK, features=SOME, max_rows=n, random_state=0).fit(panel)
        for n in (None, 1000)
    )
    risk = drawn.predict_risk(panel)["risk"]
    assert risk[rows].mean() == pytest.approx(rate, rel=0.1)
    assert np.corrcoef(risk, whole.predict_risk(panel)["risk"])[0, 1] > 0.95


def test_a_draw_of_rows_is_that_of_its_seed():
    model = clone(MODELS["boosted"]).set_params(max_rows=100)
    one, same, other = (
        clone(model).set_params(random_state=seed).fit(PANEL).predict_risk(OTHERS)
        for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(one, same, check_exact=True)
    assert not one.equals(other)
    with pytest.raises(ValueError, match="'max_rows'"):
        clone(model).set_params(max_rows=0).fit(PANEL)


@pytest.mark.parametrize("name", ["boosted", "logistic", "features"])
def test_a_channel_without_any_value_is_left_out(name):
    assert PANEL["etco2"].isna().all()
    model = fitted(name)
    names = model.features_.get_feature_names_out()[model._kept]
    assert [name for name in names if name.startswith("etco2")] == ["etco2_count"]
    later = model.predict_risk(OTHERS.assign(etco2=30.0))
    assert np.isfinite(later).all(axis=None)
    nothing = tsf.LastValue("etco2", **TASK)
    with pytest.raises(tsf.DataError, match="no feature with a value"):
        nothing.fit(PANEL)


@pytest.mark.parametrize("name", ["boosted", "logistic", "last value", "news2"])
def test_risks_are_probabilities_as_classes_are_not_weighted(name):
    model = fitted(name)
    labels = model.event_labels(PANEL)
    rows = labels["eligible"]
    risk = model.predict_risk(PANEL)["risk"]
    # fifteen small trees are on their way
    rel = 0.2 if name == "boosted" else 0.02
    assert risk[rows].mean() == pytest.approx(labels["event"][rows].mean(), rel=rel)


@pytest.mark.parametrize(
    "estimator", [LinearSVC(), LogisticRegression, 3, HistGradientBoostingClassifier]
)
def test_what_is_no_classifier_with_probabilities_is_refused(estimator):
    with pytest.raises(ValueError, match="'estimator': expected a classifier"):
        tsf.FeatureClassifier(estimator, **TASK).fit(PANEL)


def test_one_outcome_alone_in_the_chosen_rows_is_told():
    hours = PANEL.index.get_level_values("time") / pd.Timedelta("1h")
    late = PANEL.assign(shock=PANEL["shock"].where(hours > 12, 0.0))
    with pytest.raises(tsf.DataError, match="one outcome alone in the rows to learn from"):
        clone(MODELS["last value"]).set_params(at="2h").fit(late)


def test_missing_values_are_told_once_for_each_pattern():
    from tsforecast.estimators.event_baselines import _missing_patterns

    nan = np.nan
    table = np.array([[1, nan, nan, 2, nan], [1, 3, 4, 2, nan], [1, nan, nan, nan, 5.0]])
    assert _missing_patterns(table) == [1, 3, 4]


def test_far_values_move_a_logistic_baseline_no_further_than_the_clip():
    model = fitted("logistic")
    far, farther = (model.predict_risk(OTHERS.assign(sbp=x)) for x in (1e4, 1e6))
    np.testing.assert_allclose(far, farther)


# ----------------------------------------------------------------------------- NEWS2, last values


def test_news2_ranks_rows_as_its_score_does():
    model = fitted("news2")
    points = model.score_points(OTHERS)
    pd.testing.assert_series_equal(points, tsf.news2(OTHERS[["sbp"]]), check_names=False)
    risk = model.predict_risk(OTHERS)["risk"]
    by_score = risk.groupby(points).agg(["min", "max"])
    assert (by_score["min"] == by_score["max"]).all()
    assert by_score["min"].is_monotonic_increasing
    labels = model.event_labels(OTHERS)
    rows = labels["eligible"]
    assert model.score(OTHERS) == pytest.approx(roc_auc_score(labels["event"][rows], points[rows]))
    turned = OTHERS.sort_index(level="time", kind="stable")
    assert model.score_points(turned).index.equals(turned.index)


def test_news2_says_which_inputs_are_missing():
    with pytest.warns(UserWarning, match="NEWS2 has no column for resp_rate, spo2, oxygen"):
        model = clone(MODELS["news2"]).fit(PANEL)
    missing = ["resp_rate", "spo2", "oxygen", "heart_rate", "consciousness", "temperature"]
    assert model.missing_inputs_ == missing
    assert model.inputs_ == ["sbp"]


@quietly
def test_a_score_that_falls_with_the_event_gives_the_same_risk_everywhere():
    upside_down = PANEL.assign(sbp=170 - PANEL["sbp"])
    with pytest.warns(UserWarning, match="not more frequent at higher scores"):
        model = clone(MODELS["news2"]).fit(upside_down)
    risk = model.predict_risk(upside_down)["risk"]
    labels = model.event_labels(upside_down)
    np.testing.assert_allclose(risk, labels["event"][labels["eligible"]].mean())


def test_a_last_value_is_carried_forward_and_ranks_the_rows():
    model = fitted("last value")
    risk = model.predict_risk(OTHERS)["risk"]
    filled = OTHERS["sbp"].groupby(level=0).ffill()
    known = filled.notna()
    assert np.corrcoef(filled[known].rank(), risk[known].rank())[0, 1] == pytest.approx(-1)
    never = risk[~known]
    assert never.nunique() == 1


@pytest.mark.parametrize("column", [[], ["sbp", "sbp"]])
def test_columns_of_last_values_are_named_once(column):
    with pytest.raises(ValueError, match="'column': expected a column, or several, each once"):
        tsf.LastValue(column, **TASK).fit(PANEL)
