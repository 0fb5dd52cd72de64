"""LagRegressor: scikit-learn by hand, missing values, time order, quantiles, wrong input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.estimators.regression import LagRegressor

REGRESSORS = {
    "ridge": Ridge(alpha=0.5),
    "one output at a time": GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2),
    "pipeline": make_pipeline(StandardScaler(), Lasso(alpha=0.01)),
    "boosted trees": HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5),
    "forest": RandomForestRegressor(n_estimators=5, random_state=0),
}


def make_panel(lengths=(120, 90), seed=0, missing=0.0):
    """Autoregressive y of very different level per series, and its driver x."""
    rng = np.random.default_rng(seed)
    parts = {}
    for number, length in enumerate(lengths):
        x = rng.normal(size=length)
        y = np.zeros(length)
        for t in range(2, length):
            y[t] = 1.2 * y[t - 1] - 0.5 * y[t - 2] + 0.7 * x[t - 1] + 0.3 * rng.normal()
        parts[f"s{number}"] = pd.DataFrame({"y": y + 100 * number, "x": x})
    panel = pd.concat(parts, names=["id", "row"])
    return panel.mask(rng.random(panel.shape) < missing)


def by_hand(panel, lags, horizon, relative, columns=("y",)):
    """Inputs, outputs and last values of every row that has all of its lags."""
    inputs, outputs, last = [], [], []
    for _, part in panel.groupby(level=0):
        y = part["y"].to_numpy()
        for t in range(max(lags) - 1, len(part)):
            base = y[t] if relative else 0.0
            row = [y[t + 1 - lag] - base for lag in lags]
            # each row holds all further columns
            row += [part[c].to_numpy()[t + 1 - lag] for lag in lags for c in columns[1:]]
            after = y[t + 1 : t + 1 + horizon] - base
            inputs.append(row)
            outputs.append(np.pad(after, (0, horizon - len(after)), constant_values=np.nan))
            last.append(base)
    return np.array(inputs), np.array(outputs), np.array(last)


def points(frame, horizon):
    return frame["forecast"].to_numpy().reshape(-1, horizon)


# -------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("lags", [3, (1, 2, 5), [2, 7]])
def test_forecast_is_least_squares_on_the_lags_by_hand(lags, relative):
    panel = make_panel()[["y"]]
    model = LagRegressor(horizon=3, estimator=LinearRegression(), lags=lags, relative=relative)
    frame = model.fit(panel).forecast_origins(panel)
    numbers = range(1, lags + 1) if isinstance(lags, int) else lags
    X, Y, last = by_hand(panel, list(numbers), 3, relative)
    whole = np.isfinite(Y).all(axis=1)
    expected = LinearRegression().fit(X[whole], Y[whole]).predict(X) + last[:, None]
    ready = frame.groupby("id", sort=False).cumcount().to_numpy() // 3 >= max(numbers) - 1
    np.testing.assert_allclose(points(frame[ready], 3), expected, rtol=1e-9)
    assert len(model.regressors_) == 1


def test_lags_of_further_columns_enter_as_they_are():
    panel = make_panel()
    model = LagRegressor(target="y", estimator=LinearRegression(), lags=2, columns=["x"])
    frame = model.fit(panel).forecast_origins(panel)
    X, Y, last = by_hand(panel, [1, 2], 1, True, ("y", "x"))
    known = np.isfinite(Y[:, 0])
    expected = LinearRegression().fit(X[known], Y[known]).predict(X)[:, 0] + last
    ready = frame.groupby("id").cumcount().to_numpy() >= 1
    np.testing.assert_allclose(frame["forecast"][ready], expected, rtol=1e-9)
    alone = LagRegressor(target="y", lags=2).fit(panel[panel.index.get_level_values(1) < 80])
    both = clone(model).fit(panel[panel.index.get_level_values(1) < 80])
    assert both.score(panel) > alone.score(panel) + 0.2  # x drives y


def test_a_series_of_any_level_gets_the_forecast_of_its_shape():
    panel = make_panel()[["y"]]
    model = LagRegressor(horizon=2, lags=3).fit(panel)
    lifted = model.predict(panel + 1e6)
    expected = model.predict(panel)["forecast"] + 1e6
    np.testing.assert_allclose(lifted["forecast"], expected, rtol=1e-12)


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("relative", [True, False])
def test_forecast_scales_with_the_unit_of_the_target(name, relative):
    panel = make_panel()[["y"]]
    model = LagRegressor(horizon=2, estimator=REGRESSORS[name], lags=3, relative=relative)
    before = clone(model).fit(panel).predict().drop(columns=["target", "cutoff", "step"])
    after = clone(model).fit(panel * 1024).predict().drop(columns=["target", "cutoff", "step"])
    np.testing.assert_allclose(after, before * 1024, rtol=1e-6)


def test_a_regressor_that_says_nothing_gives_the_mean_change():
    panel = make_panel()[["y"]]
    frame = LagRegressor(estimator=DummyRegressor(), lags=1).fit(panel).predict()
    last = panel["y"].groupby("id").last().to_numpy()
    change = panel["y"].groupby("id").diff().mean()
    np.testing.assert_allclose(frame["forecast"], last + change)


def test_transform_is_undone_on_point_and_quantiles():
    panel = np.exp(make_panel()[["y"]] / 50)
    options = {"horizon": 2, "lags": 3}
    found = LagRegressor(**options, transform=tsf.Log()).fit(panel).predict()
    expected = LagRegressor(**options).fit(np.log(panel)).predict()
    columns = [c for c in found if c.startswith(("forecast", "q"))]
    np.testing.assert_allclose(found[columns], np.exp(expected[columns]), rtol=1e-9)


def test_bounded_keeps_every_quantile_below_the_bound():
    rng = np.random.default_rng(0)
    spo2 = pd.DataFrame({"spo2": np.minimum(100, 98 + 2 * rng.normal(size=200))})
    model = LagRegressor(horizon=4, lags=4, transform=tsf.Bounded(50, 100)).fit(spo2)
    frame = model.forecast_origins(spo2)
    fan = frame[[c for c in frame if c.startswith(("forecast", "q"))]]
    assert fan.max(axis=None) <= 100 and fan.min(axis=None) >= 50
    free = LagRegressor(horizon=4, lags=4).fit(spo2).forecast_origins(spo2)
    assert free["q0.9"].max() > 100  # so there was something to keep


def test_several_targets_have_regressors_of_their_own():
    panel = make_panel()
    both = LagRegressor(target=["x", "y"], horizon=2, lags=3, columns=["x"]).fit(panel)
    frame = both.predict()
    for name in ("x", "y"):
        alone = LagRegressor(target=name, horizon=2, lags=3, columns=["x"]).fit(panel).predict()
        pd.testing.assert_frame_equal(frame[frame["target"] == name], alone)
    assert [each.target for each in both.estimators_] == ["x", "y"]


# ----------------------------------------------------------------------------------- missing values


@pytest.mark.parametrize("name", REGRESSORS)
def test_missing_values_and_short_series_are_survived(name):
    panel = make_panel((120, 90, 2), missing=0.2)
    model = LagRegressor(
        target="y", horizon=2, estimator=REGRESSORS[name], lags=4, columns=["x"]
    ).fit(panel)
    frame = model.forecast_origins(panel)
    known = panel["y"].groupby("id").cumcount().to_numpy()
    first = panel["y"].notna().groupby("id").cumsum().to_numpy() == 0
    forecast = points(frame, 2)
    assert np.isnan(forecast[first]).all() and np.isfinite(forecast[~first]).all()
    assert len(known) == len(forecast)
    assert len(model.regressors_) == 2  # gaps: each step has the rows that know it


def test_each_step_learns_from_the_rows_that_know_it():
    y = np.arange(40.0)
    y[1::2] = np.nan  # nothing is ever known an odd number of rows ahead of a known row
    panel = pd.DataFrame({"y": y})
    model = LagRegressor(horizon=2, estimator=LinearRegression(), lags=2, levels=()).fit(panel)
    # step 1 from rows without a value of their own (the last known one is a row old)
    assert model.predict(panel.iloc[:39])["forecast"].tolist() == pytest.approx([40.0, 40.0])


def test_lags_before_the_start_are_the_training_mean():
    panel = make_panel()[["y"]]
    model = LagRegressor(estimator=LinearRegression(), lags=3).fit(panel)
    X, Y, _ = by_hand(panel, [1, 2, 3], 1, True)
    known = np.isfinite(Y[:, 0])
    line = LinearRegression().fit(X[known], Y[known, 0])
    mean = X[known].mean(axis=0)
    first = panel.iloc[:1]
    expected = first["y"].iloc[0] + line.predict([[0.0, mean[1], mean[2]]])
    np.testing.assert_allclose(model.predict(first)["forecast"], expected)


def test_regressors_that_take_nan_are_given_it():
    class Recorder(DecisionTreeRegressor):
        def predict(self, X, check_input=True):
            seen.append(np.isnan(X).any())
            return super().predict(X)

    class Refuser(Recorder):
        def __sklearn_tags__(self):
            tags = super().__sklearn_tags__()
            tags.input_tags.allow_nan = False
            return tags

    for regressor, expected in ((Recorder(max_depth=2), True), (Refuser(max_depth=2), False)):
        seen = []
        model = LagRegressor(estimator=regressor, lags=3, levels=()).fit(make_panel()[["y"]])
        seen.clear()
        model.predict(make_panel()[["y"]].groupby("id").head(1))
        assert seen == [expected]


# ---------------------------------------------------------------------------------------- quantiles


def test_quantiles_are_of_errors_on_rows_that_the_regressor_has_not_seen():
    rng = np.random.default_rng(0)
    panel = pd.DataFrame({"y": rng.normal(size=1500)})
    tree = DecisionTreeRegressor(random_state=0)  # training errors are exactly zero
    model = LagRegressor(estimator=tree, lags=2, relative=False).fit(panel)
    later = pd.DataFrame({"y": rng.normal(size=1500)})
    frame = model.forecast_origins(later).iloc[5:-1]
    actual = later["y"].to_numpy()[6:]
    inside = (frame["q0.1"].to_numpy() <= actual) & (actual <= frame["q0.9"].to_numpy())
    assert abs(inside.mean() - 0.8) < 0.05


def test_quantiles_of_few_rows_are_of_training_errors():
    panel = make_panel((60, 60))[["y"]]
    model = LagRegressor(lags=2, levels=(0.5,)).fit(panel)
    frame = model.forecast_origins(panel)
    frame = frame[frame.groupby("id").cumcount() >= 1]  # all lags are there
    known = frame.index.isin(panel.index)  # the forecast row stands in the panel
    error = panel["y"].loc[frame.index[known]] - frame["forecast"][known]
    np.testing.assert_allclose(frame["q0.5"] - frame["forecast"], error.median(), rtol=1e-9)


def test_without_levels_there_is_the_point_alone():
    frame = LagRegressor(lags=2, levels=()).fit(make_panel()[["y"]]).predict()
    assert list(frame.columns) == ["target", "cutoff", "step", "forecast"]


# --------------------------------------------------------------------------------- time and manners


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("relative", [True, False])
def test_no_regressor_looks_ahead(name, relative):
    model = LagRegressor(
        target="y",
        horizon=2,
        estimator=REGRESSORS[name],
        lags=(1, 3),
        columns=["x"],
        relative=relative,
        transform=tsf.SeriesScaler(),
    )
    tsf.check_no_lookahead(model, make_panel((60, 50), missing=0.1))


def test_predict_without_a_panel_needs_no_more_than_the_largest_lag():
    panel = make_panel()
    model = LagRegressor(target="y", horizon=2, lags=(1, 9), columns=["x"]).fit(panel)
    assert len(model._tail.value) == 2 * 9
    pd.testing.assert_frame_equal(model.predict(), model.predict(panel), rtol=1e-12)


def test_parameters_of_the_regressor_can_be_set_and_the_one_given_stays_unfitted():
    ridge = Ridge(alpha=3.0)
    model = LagRegressor(estimator=ridge, lags=2)
    assert model.get_params()["estimator__alpha"] == 3.0
    copy = clone(model).set_params(estimator__alpha=1e9).fit(make_panel()[["y"]])
    assert not hasattr(copy.estimator, "coef_") and ridge.alpha == 3.0
    last = make_panel()["y"].groupby("id").last()
    np.testing.assert_allclose(copy.predict()["forecast"], last, atol=0.1)  # nearly naive


def test_it_is_a_baseline_in_backtests_and_under_the_network():
    panel = make_panel((80, 70))
    options = {"target": "y", "horizon": 2}
    ridge = LagRegressor(**options, lags=3)
    result = tsf.backtest({"ridge": ridge}, panel, tsf.RollingOrigin(2, 5))
    assert set(result.baselines) == {"naive", "ridge"}
    network = tsf.RecurrentForecaster(
        **options,
        baseline=LagRegressor(lags=3),
        lookback=8,
        hidden_sizes=(4,),
        head="point",
        training=tsf.Training(max_epochs=1, learning_rate=1e-12, validation=None),
    )
    expected = ridge.fit(panel).predict()["forecast"]
    np.testing.assert_allclose(network.fit(panel).predict()["forecast"], expected, atol=1e-4)


# -------------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    "wrong", [LogisticRegression(), Ridge, StandardScaler(), "ridge", tsf.Naive()]
)
def test_what_is_no_regressor_is_refused(wrong):
    with pytest.raises(ValueError, match=r"'estimator': expected a regressor of scikit-learn, or"):
        LagRegressor(estimator=wrong, lags=2).fit(make_panel()[["y"]])


@pytest.mark.parametrize(
    "lags, message",
    [
        (0, "'lags': expected a whole number of at least 1, found 0"),
        (2.5, "'lags': expected a whole number of at least 1, found 2.5"),
        ("3", "'lags': expected a whole number of at least 1, found '3'"),
        ((0, 1), "'lags': expected a whole number of at least 1, found 0"),
        ((), r"'lags': expected increasing whole numbers from 1 on, found \(\)"),
        ((3, 1), r"'lags': expected increasing whole numbers from 1 on, found \(3, 1\)"),
        ([1, 1], r"'lags': expected increasing whole numbers from 1 on, found \[1, 1\]"),
    ],
)
def test_lags_that_make_no_sense_are_refused(lags, message):
    with pytest.raises(ValueError, match=message):
        LagRegressor(lags=lags).fit(make_panel()[["y"]])


def test_columns_that_are_no_list_or_not_there_are_named():
    with pytest.raises(ValueError, match="'columns': expected a list of names, found 'x'"):
        LagRegressor(target="y", columns="x").fit(make_panel())
    with pytest.raises(DataError, match=r"Missing: \['z'\]"):
        LagRegressor(target="y", columns=["x", "z"]).fit(make_panel())
    model = LagRegressor(target="y", lags=2, columns=["x"]).fit(make_panel())
    with pytest.raises(DataError, match=r"named for fit, and now again.*Missing: \['x'\]"):
        model.predict(make_panel()[["y"]])


def test_lags_of_categories_are_refused():
    panel = make_panel().assign(ward=pd.Categorical(["a", "b"] * 105))
    with pytest.raises(
        DataError,
        match=r"column of categories \(column 'ward'\).*found dtype category",
    ):
        LagRegressor(target="y", lags=2, columns=["ward"]).fit(panel)


def test_too_few_rows_say_how_many_are_needed():
    with pytest.raises(
        DataError, match=r"at least 35 rows in one series, 32 up to an origin and 3 after it"
    ):
        LagRegressor(target="y", horizon=3).fit(make_panel((34, 20)))


def test_too_few_known_rows_name_the_step():
    y = np.full(12, np.nan)
    y[:3] = [1.0, 2.0, 3.0]
    with pytest.raises(
        DataError,
        match=r"too few known rows \(column 'y'\): expected a value 1 rows after 4 rows of",
    ):
        LagRegressor(lags=4).fit(pd.DataFrame({"y": y}))
