"""Forecast combination: means of what members say, and members that are estimators like others."""

import doctest
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import tsforecast as tsf
from tsforecast.estimators import combination

DAYS = pd.bdate_range("2020-01-01", periods=400, name="day")
SAME = {"target": "y", "horizon": 2}
LEVELS = (0.1, 0.5, 0.9)


def walks(lengths=(120, 90, 60), seed=0):
    rng = np.random.default_rng(seed)
    frames = {
        f"s{number}": pd.DataFrame(
            {
                "y": np.exp(0.05 * rng.standard_normal(length).cumsum()),
                "x": rng.standard_normal(length),
                "f": np.sin(np.arange(length)),
            },
            index=DAYS[:length],
        )
        for number, length in enumerate(lengths)
    }
    return pd.concat(frames, names=["id", "day"])


def network(**changed):
    options = {
        "lookback": 4,
        "hidden_sizes": (3,),
        "training": tsf.Training(max_epochs=1, validation=None, origins=4),
        "random_state": 0,
    }
    return tsf.RecurrentForecaster(**(SAME | options | changed))


def members():
    return {
        "drift": tsf.Drift(**SAME),
        "har": tsf.HAR(**SAME, lags=(1, 3)),
        "season": tsf.SeasonalNaive(**SAME, season=5),
    }


PANEL = walks()
NUMBERS = ["forecast", *(f"q{level / 10:g}" for level in range(1, 10))]


def test_docstring_examples_hold():
    assert doctest.testmod(combination).failed == 0


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        (None, [1 / 3, 1 / 3, 1 / 3]),
        ({"har": 1, "drift": 2.0, "season": 1}, [0.5, 0.25, 0.25]),
        ({"har": 0, "drift": 3, "season": 0}, [1.0, 0.0, 0.0]),
        ({"har": np.int64(1), "drift": np.float32(2), "season": 1}, [0.5, 0.25, 0.25]),
    ],
)
def test_forecast_and_every_quantile_are_the_weighted_means_of_those_of_the_members(
    weights, shares
):
    model = tsf.Combination(members(), weights=weights).fit(PANEL)
    assert list(model.estimators_) == ["drift", "har", "season"]
    frame = model.forecast_origins(PANEL)
    alone = [each.fit(PANEL).forecast_origins(PANEL) for each in members().values()]
    plain = sum(share * one[NUMBERS] for share, one in zip(shares, alone))
    pd.testing.assert_frame_equal(frame[NUMBERS], plain)
    pd.testing.assert_frame_equal(frame[["cutoff", "step"]], alone[0][["cutoff", "step"]])
    ends = sum(
        share * each.fit(PANEL).predict()[NUMBERS]
        for share, each in zip(shares, members().values())
    )
    pd.testing.assert_frame_equal(model.predict()[NUMBERS], ends)


def test_a_combination_of_one_is_that_one():
    early = PANEL.groupby(level=0).head(50)
    one = tsf.Drift(**SAME).fit(early)
    model = tsf.Combination({"drift": tsf.Drift(**SAME)}).fit(early)
    pd.testing.assert_frame_equal(model.predict(), one.predict())
    assert model.score(PANEL) == pytest.approx(one.score(PANEL))


def test_errors_that_members_do_not_share_cancel():
    rng = np.random.default_rng(1)
    signal = rng.standard_normal(2000)
    panel = pd.DataFrame(
        {"y": np.r_[0.0, signal[:-1]], "a": signal + rng.standard_normal(2000)},
        index=pd.RangeIndex(2000),
    )
    panel["b"] = signal + rng.standard_normal(2000)

    def seeing(column):
        return tsf.HAR(target="y", lags=(1,), past=[column])

    models = {"a": seeing("a"), "b": seeing("b")}
    both = tsf.Combination({name: clone(each) for name, each in models.items()})
    table = tsf.evaluate(
        tsf.backtest({**models, "both": both}, panel, tsf.RollingOrigin(1, 1000)).frame, ["rmse"]
    )
    rmse = table["rmse"].groupby("model").mean()
    # of equal, independent halves of the truth: mean squares .5, .5 and .375
    assert (rmse["both"] / rmse[["a", "b"]].min()) ** 2 == pytest.approx(0.75, abs=0.05)


def test_members_that_look_back_and_ahead_differently_forecast_their_own_ends():
    def one():
        return {
            "network": network(future=["f"]),
            "history": network(context="history", past=["x"]),
            "season": tsf.SeasonalNaive(**SAME, season=20),
        }

    model = tsf.Combination(one()).fit(PANEL)
    assert model.future == ["f"]
    ahead = pd.DataFrame({"f": [0.3, -0.2] * 3}, index=model.future_index())
    alone = [
        each.fit(PANEL).predict(future=ahead if name == "network" else None)
        for name, each in one().items()
    ]
    plain = sum(each[NUMBERS] for each in alone) / 3
    frame = model.predict(future=ahead)
    pd.testing.assert_frame_equal(frame[NUMBERS], plain)
    assert frame.index.equals(ahead.index)
    again = model.predict(PANEL, future=ahead)
    np.testing.assert_allclose(again[NUMBERS], plain, rtol=1e-6)
    with pytest.raises(ValueError, match="'future': expected a frame of"):
        model.predict()
    with pytest.raises(ValueError, match="'future': expected None"):
        tsf.Combination(members()).fit(PANEL).predict(future=ahead)


def test_its_columns_are_the_targets_and_what_any_member_reads():
    inner = {"har": tsf.HAR(**SAME, past=["x"]), "network": network(past=["f"])}
    model = tsf.ConformalForecaster(tsf.Combination(inner), size=0.4).fit(PANEL)
    # what a job asks of an extract, and watches
    assert model._columns() == model.estimator_._columns() == ["y", "x", "f"]
    with pytest.raises(tsf.DataError, match=r"columns are missing.*'x'"):
        model.predict(PANEL[["y", "f"]])
    variance = PANEL.assign(squared=PANEL["y"] ** 2)
    filtered = tsf.FilteredHistorical(tsf.EWMA(target="squared"), target="y", levels=(0.1, 0.9))
    one = tsf.Combination({"filtered": filtered}).fit(variance)
    assert one._columns() == ["y", "squared"]
    pd.testing.assert_frame_equal(one.predict(variance), one.predict())


def test_where_a_member_has_no_forecast_neither_has_the_combination():
    late = PANEL.copy()
    late.loc["s1", "y"] = late.loc["s1", "y"].where(np.arange(90) > 10).to_numpy()
    model = tsf.Combination(members()).fit(late)
    frame = model.forecast_origins(late, DAYS[[10, 11]])
    missing = frame["forecast"].isna()
    mine = frame.index.get_level_values("id") == "s1"
    assert missing[mine].tolist() == [True, True, False, False]
    assert not missing[~mine].any()


def test_parameters_of_members_are_reached_by_their_names():
    model = tsf.Combination(members())
    params = model.get_params()
    assert params["season__season"] == 5
    assert params["har"] is model.estimators["har"]
    assert set(model.get_params(deep=False)) == {"estimators", "weights"}
    given = model.estimators
    model.set_params(season__season=3, drift=tsf.RandomWalk(**SAME), weights=None)
    assert model.estimators["season"].season == 3
    assert type(model.estimators["drift"]) is tsf.RandomWalk
    assert type(given["drift"]) is tsf.Drift  # the dict that was given is not written to
    with pytest.raises(ValueError, match="Invalid parameter 'lstm'"):
        model.set_params(lstm__cell="gru")


def test_members_are_cloned_and_never_fitted():
    given = members()
    model = tsf.Combination(given).fit(PANEL)
    twin = clone(model)
    assert all(twin.estimators[name] is not each for name, each in given.items())
    assert not hasattr(twin, "estimators_")
    assert not any(hasattr(each, "cutoff_") for each in given.values())
    assert pickle.loads(pickle.dumps(model)).predict().equals(model.predict())


def test_members_and_weights_are_searched():
    model = tsf.Combination({"ewma": tsf.EWMA(**SAME), "walk": tsf.RandomWalk(**SAME)})
    grid = {"weights": [None, {"ewma": 1, "walk": 3}], "ewma__alpha": [0.1, 0.9]}
    search = GridSearchCV(model, grid, cv=tsf.RollingOrigin(2, 20)).fit(PANEL)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["ewma__alpha"] == 0.9  # of random walks


def test_few_parameters_are_those_of_all_members():
    assert tsf.Combination(members()).few_parameters
    assert not tsf.Combination({**members(), "network": network()}).few_parameters


def test_members_of_other_targets_horizons_or_levels_are_refused():
    def refused(match, **changed):
        each = {"one": tsf.EWMA(**SAME), "other": tsf.EWMA(**(SAME | changed))}
        with pytest.raises(ValueError, match=match):
            tsf.Combination(each).fit(PANEL)

    refused(r"same horizon in all members, found \{'one': 2, 'other': 3\}", horizon=3)
    refused(r"same target in all members, found \{'one': \['y'\], 'other': \['x'\]", target="x")
    refused(r"same quantile levels in all members", levels=LEVELS)
    one = tsf.Combination({"a": tsf.Naive(), "b": tsf.Drift(target="y")}).fit(PANEL[["y"]])
    assert one.targets_ == ["y"]  # the only column by any name


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 1},
        {"a": 1, "b": -1},
        {"a": 0, "b": 0},
        {"a": 1, "b": np.nan},
        [1, 2],
        {"a": 1, "b": True},
    ],
)
def test_weights_are_numbers_of_at_least_0_for_each(weights):
    model = tsf.Combination({"a": tsf.Naive(**SAME), "b": tsf.Drift(**SAME)}, weights=weights)
    with pytest.raises(ValueError, match="'weights': expected numbers of at least 0, not all 0"):
        model.fit(PANEL)


@pytest.mark.parametrize(
    ("estimators", "message"),
    [
        ({}, "'estimators': expected a dict of forecasters"),
        ([("a", tsf.Naive(**SAME))], "'estimators': expected a dict of forecasters"),
        ({"a__b": tsf.Naive(**SAME)}, "names without '__'"),
        ({"weights": tsf.Naive(**SAME)}, "none of .*weights"),
        ({"a": tsf.Naive}, r"\"estimators\['a'\]\": expected a forecaster of panels"),
        ({"a": tsf.LogisticBaseline(event="y > 1")}, "expected a forecaster of panels"),
        ({"a": tsf.PositionEstimator(target="y")}, "of what will be observed"),
    ],
)
def test_members_that_cannot_be_used_are_named(estimators, message):
    with pytest.raises(ValueError, match=message):
        tsf.Combination(estimators).fit(PANEL)


def test_conformal_intervals_around_it_go_on_with_updates(tmp_path):
    inner = tsf.Combination({"walk": tsf.RandomWalk(**SAME), "network": network()})
    early = PANEL.groupby(level=0).head(55)
    model = tsf.ConformalForecaster(inner, size=0.4).fit(early)
    tsf.save(model, tmp_path / "model", tail=True)
    for each in (model, tsf.load(tmp_path / "model")):
        each.update(PANEL.drop(early.index))
        np.testing.assert_allclose(
            each.predict().filter(like="q"), each.predict(PANEL).filter(like="q"), rtol=1e-6
        )


@pytest.mark.filterwarnings("ignore")
def test_members_within_intervals_remember_their_history(tmp_path):
    training = tsf.Training(max_epochs=4, validation=None, learning_rate=0.03)
    sweeping = network(context="history", training=training)
    around = [tsf.ConformalForecaster(each) for each in (sweeping, tsf.RandomWalk(**SAME))]
    model = tsf.Combination(dict(zip("ab", around))).fit(PANEL)
    tsf.save(model, tmp_path / "model", tail=True)
    for each in (model, tsf.load(tmp_path / "model")):
        pd.testing.assert_frame_equal(each.predict(), model.predict(PANEL), check_exact=True)
    outer = tsf.ConformalForecaster(tsf.Combination(dict(zip("ab", around))), size=0.4).fit(PANEL)
    pd.testing.assert_frame_equal(outer.predict(), outer.predict(PANEL), check_exact=True)
    with pytest.raises(ValueError, match="'future': expected None"):
        model.predict(future=PANEL)


def test_what_does_not_fit_its_parameters_is_not_saved(tmp_path):
    model = tsf.Combination(members()).fit(PANEL)
    model.estimators_["har"] = tsf.HAR(**(SAME | {"horizon": 3})).fit(PANEL)
    with pytest.raises(TypeError, match="members that do not fit the parameters"):
        tsf.save(model, tmp_path / "model")


def test_a_job_builds_it_from_tables():
    from tsforecast.batch.building import build, build_beside

    parameters = {
        "estimators": {
            "walk": {"class": "RandomWalk", "target": "y", "horizon": 2},
            "ewma": {"class": "EWMA", "target": "y", "horizon": 2},
        },
        "weights": {"walk": 2, "ewma": 1},
    }
    model = build("Combination", parameters, "model")
    assert set(model.fit(PANEL).estimators_) == {"walk", "ewma"}
    beside = build_beside("Drift", parameters, "backtest.baselines")
    assert (beside.target, beside.horizon) == ("y", 2)
