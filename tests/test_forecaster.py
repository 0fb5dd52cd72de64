"""`RecurrentForecaster` from panel to forecast frame: what it promises, and what it refuses."""

from __future__ import annotations

import copy
import datetime as dt
import io
import pickle
import re
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from small import (
    NUMBERS,
    H,
    L,
    assert_close,
    assert_equal,
    make_model,
    make_panel,
    numbers,
    one_series,
    untrained,
)

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.backtesting.lookahead import check_no_lookahead
from tsforecast.data.panel import layout_of
from tsforecast.data.transforms import Clip, Log, LogReturn, SeriesScaler
from tsforecast.estimators.baselines import EWMA, Naive
from tsforecast.estimators.forecaster import RecurrentForecaster
from tsforecast.estimators.volatility import HAR
from tsforecast.nn.heads import DECILES, Point, Quantiles

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

cells = pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return make_panel()


@pytest.fixture(scope="module")
def model(panel: pd.DataFrame) -> RecurrentForecaster:
    scale = make_pipeline(Log(["y"]), SeriesScaler())
    return make_model(transform=scale, past=["x"]).fit(panel)


# ------------------------------------------------------------------------------- the forecast frame


def test_frame_has_the_index_and_columns_of_the_contract(model, panel):
    frame = model.predict(panel)
    assert list(frame.columns) == ["target", "cutoff", "step", *NUMBERS]
    assert list(frame.index.names) == ["ticker", "day"]
    assert frame.index.get_level_values("ticker").tolist() == ["s0"] * 3 + ["s1"] * 3 + ["s2"] * 3
    assert frame["step"].tolist() == [1, 2, 3] * 3
    assert (frame["target"] == "y").all()
    last = panel.index.get_level_values("day").max()
    assert (frame["cutoff"] == last).all()
    days = frame.index.get_level_values("day")
    assert (days == last + pd.to_timedelta(frame["step"], unit="D")).all()
    assert np.isfinite(numbers(frame)).all()


def test_one_series_has_time_as_its_index_and_a_point_no_quantiles():
    frame = make_model(head="point").fit(one_series()).predict()
    assert list(frame.columns) == ["target", "cutoff", "step", "forecast"]
    assert frame.index.name == "day"
    assert isinstance(frame.index, pd.DatetimeIndex)


def test_levels_of_the_head_name_the_columns():
    frame = make_model(head=Quantiles((0.05, 0.5, 0.975))).fit(one_series()).predict()
    assert list(frame.columns)[4:] == ["q0.05", "q0.5", "q0.975"]
    assert (frame["forecast"] == frame["q0.5"]).all()


def test_business_days_follow_a_panel_of_business_days():
    frame = one_series()
    frame.index = pd.bdate_range("2024-01-01", periods=len(frame), name="day")  # ends on a Friday
    frame = frame.set_axis(pd.DatetimeIndex(list(frame.index), name="day"))  # no freq
    assert frame.index[-1].day_name() == "Friday"
    labels = make_model().fit(frame).predict().index
    assert labels.tolist() == list(pd.bdate_range("2024-02-26", periods=3))


def test_predict_without_a_panel_equals_predict_on_the_rows_of_fit(model, panel):
    assert_equal(model.predict(), model.predict(panel))


def test_predict_without_a_panel_equals_it_with_gaps_and_unequal_ends():
    panel = make_panel(missing=0.3)
    panel = panel.drop(index=[("s1", day) for day in panel.loc["s1"].index[-7:]])
    model = make_model(transform=SeriesScaler()).fit(panel)
    assert_equal(model.predict(), model.predict(panel))
    cutoffs = model.predict().groupby(level=0)["cutoff"].first()
    assert (cutoffs["s0"] - cutoffs["s1"]).days == 7


# ----------------------------------------------------------------------- what a forecast depends on


@cells
@pytest.mark.parametrize("column", ["x", "y"])
def test_newest_row_moves_every_horizon_step(cell, column):
    frame = one_series()
    model = make_model(cell=cell).fit(frame)
    with torch.no_grad():
        for weight in model.networks_[0].decoder.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    changed = frame.copy()
    changed.loc[changed.index[-1], column] *= 1.1
    before, after = model.predict(frame), model.predict(changed)
    correction = after["forecast"] - before["forecast"]
    if column == "y":  # beyond what the baseline moves
        correction -= changed["y"].iloc[-1] - frame["y"].iloc[-1]
    assert (correction.abs() > 1e-5).all()


def test_forecast_is_a_function_of_the_last_lookback_rows(model, panel):
    cut = panel.groupby(level=0).tail(L)
    assert_close(model.predict(cut), model.predict(panel))
    changed = panel.copy()
    changed.iloc[: 40 - L] *= 3.0  # of s0, up to the window
    assert_close(model.predict(changed), model.predict(panel))
    changed.iloc[40 - L] *= 3.0
    assert abs(numbers(model.predict(changed))[0] - numbers(model.predict(panel))[0]).max() > 1e-4


def test_irregular_spacing_before_the_window_does_not_matter():
    rng = np.random.default_rng(0)
    frame = one_series()
    hours = pd.to_timedelta(rng.integers(1, 9, size=len(frame)).cumsum(), unit="h")
    frame.index = pd.DatetimeIndex(pd.Timestamp("2024-01-01") + hours, name="time")
    model = make_model().fit(frame)
    whole = model.forecast_origins(frame, frame.index[[-H - 1]])
    window = model.forecast_origins(frame.iloc[-L - H :], frame.index[[-H - 1]])
    np.testing.assert_allclose(numbers(window), numbers(whole), rtol=1e-6)


def test_a_series_alone_gets_the_forecast_it_gets_inside_the_panel(model, panel):
    together = model.predict(panel)
    for name in ["s0", "s1", "s2"]:
        assert_close(model.predict(panel.loc[[name]]), together.loc[[name]])


def test_an_unseen_series_does_not_change_the_others(model, panel):
    more = pd.concat([panel, make_panel(1, 30, seed=9).rename(index={"s0": "new"})])
    frame = model.predict(more)
    assert np.isfinite(numbers(frame.loc[["new"]])).all()
    assert_close(frame.drop(index="new", level=0), model.predict(panel))


def test_order_of_series_and_columns_does_not_matter(model, panel):
    shuffled = panel.loc[["s2", "s0", "s1"], ["y", "x"]]
    assert_equal(model.predict(shuffled), model.predict(panel))
    assert_equal(clone(model).fit(shuffled).predict(), model.predict())


def test_unseen_columns_at_predict_are_ignored(model, panel):
    assert_equal(model.predict(panel.assign(z=np.nan, another=1.0)), model.predict(panel))


def test_columns_that_are_not_named_in_past_are_not_used(panel):
    frame = make_model(past=None).fit(panel).predict()
    assert_equal(frame, make_model(past=None).fit(panel[["y"]]).predict())
    assert_equal(frame, make_model(past=["y"]).fit(panel).predict())
    with_x = make_model(past=["x"]).fit(panel).predict()
    assert not np.allclose(numbers(with_x), numbers(frame))


def test_forecasts_of_many_origins_equal_those_of_truncated_panels():
    panel = make_panel(missing=0.2)
    model = make_model(transform=SeriesScaler()).fit(panel)
    days = panel.index.get_level_values("day").unique()
    many = model.forecast_origins(panel, days[[20, 30, 38]])
    for day in days[[20, 30, 38]]:
        until = panel[panel.index.get_level_values("day") <= day]
        at_once = many[many["cutoff"] == day]
        assert_close(at_once, model.predict(until))
    assert many["cutoff"].is_monotonic_increasing is False  # by series first
    assert many.loc["s1", "cutoff"].is_monotonic_increasing


def test_forecasts_do_not_look_ahead():
    panel = make_panel(missing=0.1)
    transform = make_pipeline(Log(["y"]), SeriesScaler(), LogReturn(["x"]))
    check_no_lookahead(make_model(transform=transform), panel)


# ------------------------------------------------------------------------------------- the baseline


def test_untrained_network_is_the_last_value_with_the_spread_of_its_errors():
    frame = one_series()
    forecast = untrained().fit(frame).predict()
    last = frame["y"].iloc[-1]
    np.testing.assert_array_equal(forecast["forecast"], [last] * H)
    for step in range(1, H + 1):
        # training origins: from row L - 1 on, with the whole horizon behind them
        origins = np.arange(L - 1, len(frame) - H)
        errors = frame["y"].to_numpy()[origins + step] - frame["y"].to_numpy()[origins]
        spread = np.quantile(errors, DECILES) - np.quantile(errors, 0.5)
        np.testing.assert_allclose(numbers(forecast)[step - 1, 1:], last + spread, rtol=1e-5)


def test_last_known_value_is_the_baseline_where_the_newest_is_missing():
    frame = one_series()
    frame.iloc[-2:, 1] = np.nan
    forecast = untrained().fit(frame).predict()
    np.testing.assert_array_equal(forecast["forecast"], [frame["y"].iloc[-3]] * H)


@pytest.mark.parametrize(
    "baseline", [EWMA(), EWMA(alpha=0.4), Naive(), HAR(lags=(1, 2, 4))], ids=repr
)
@pytest.mark.parametrize("transform", [None, Log()], ids=["plain", "log"])
def test_untrained_network_forecasts_an_estimator_baseline(panel, baseline, transform):
    model = untrained(baseline=baseline, transform=transform).fit(panel)
    alone = clone(baseline).set_params(target="y", horizon=H).fit(panel)
    expected = alone.predict()["forecast"]
    np.testing.assert_allclose(model.predict()["forecast"], expected, rtol=1e-9)
    assert baseline.get_params() == clone(baseline).get_params()  # the one passed stays as it was
    assert not hasattr(baseline, "cutoff_")
    days = panel.index.get_level_values("day").unique()[[25, 33]]
    np.testing.assert_allclose(
        model.forecast_origins(panel, days)["forecast"],
        alone.forecast_origins(panel, days)["forecast"],
        rtol=1e-9,
    )


def test_epoch_zero_is_the_baseline_that_validation_chose():
    """With validation the baseline is fitted on the training rows alone."""
    frame = one_series(60)
    model = make_model(baseline=EWMA(), validation="time", learning_rate=1e-30, max_epochs=1)
    model.fit(frame)
    assert model.best_epochs_ == [0]
    alone = EWMA(target="y", horizon=H).fit(frame.iloc[:48])
    np.testing.assert_allclose(
        model.predict()["forecast"], alone.predict(frame)["forecast"], rtol=1e-9
    )


def test_no_baseline_is_the_mean_of_the_training_rows(panel):
    model = untrained(baseline=None).fit(panel)
    np.testing.assert_allclose(model.predict()["forecast"], panel["y"].mean())


def test_training_moves_away_from_the_baseline(model, panel):
    assert model.best_epochs_ == [2]
    last = panel.groupby(level=0)["y"].last().repeat(H)
    assert not np.allclose(model.predict()["forecast"], last, rtol=1e-4)


# ---------------------------------------------------------------------------------------- quantiles


def wild(model: RecurrentForecaster, scale: float = 30.0) -> RecurrentForecaster:
    """A copy whose decoder says absurd things."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for network in model.networks_:
            for weight in network.decoder.parameters():
                weight.normal_(generator=generator).mul_(scale)
    return model


def test_quantiles_never_cross_after_the_back_transform(model, panel):
    frame = wild(model).forecast_origins(panel, panel.index.get_level_values("day")[[10, 39]])
    quantiles = numbers(frame)[:, 1:]
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (quantiles > 0).all()  # through the logarithm
    assert (frame["forecast"] == frame["q0.5"]).all()


def test_predict_quantiles_interpolates_between_trained_levels(model, panel):
    trained = model.predict(panel)
    frame = model.predict_quantiles(panel, levels=[0.1, 0.25, 0.5, 0.88])
    assert list(frame.columns)[3:] == ["forecast", "q0.1", "q0.25", "q0.5", "q0.88"]
    for level in (0.1, 0.25, 0.5, 0.88):
        expected = [np.interp(level, DECILES, row[1:]) for row in numbers(trained)]
        np.testing.assert_allclose(frame[f"q{level:g}"], expected)
    assert_equal(frame, model.predict_quantiles(levels=[0.1, 0.25, 0.5, 0.88]))


@pytest.mark.parametrize("level", [0.05, 0.95, float("nan")])
def test_predict_quantiles_refuses_levels_outside_of_those_trained(model, level):
    with pytest.raises(ValueError, match=r"expected levels within those trained, \[0.1, 0.9\]"):
        model.predict_quantiles(levels=[0.5, level])


def test_predict_quantiles_of_a_point_is_refused():
    point = make_model(head="point").fit(one_series())
    with pytest.raises(ValueError, match=r"those trained, none \(a point forecast\)"):
        point.predict_quantiles(levels=[0.5])


# ----------------------------------------------------------------------------------- score, members


def test_score_is_one_minus_the_ratio_to_the_naive_error():
    panel = make_panel(n=50)
    train_part = panel[panel.index.get_level_values("day") < "2024-02-05"]  # 35 rows
    model = make_model().fit(train_part.loc[["s0", "s1"]])
    longer = panel.copy()
    longer.iloc[45, 1] = np.nan  # no origin there, no loss for its targets
    errors, naive = [], []
    for name in ("s0", "s1", "s2"):
        y = longer.loc[name, "y"].to_numpy()
        first = 34 if name != "s2" else L - 1  # s2 is unseen: all its rows count
        for origin in range(first, 50 - H):
            if np.isnan(y[origin]):
                continue
            until = longer.loc[[name]].iloc[: origin + 1]
            errors.extend(abs(y[origin + 1 : origin + 1 + H] - model.predict(until)["forecast"]))
            naive.extend(abs(y[origin + 1 : origin + 1 + H] - y[origin]))
    # origins of s2 without enough context are the baseline, the naive itself
    for origin in range(L - 1):
        y = longer.loc["s2", "y"].to_numpy()
        error = abs(y[origin + 1 : origin + 1 + H] - y[origin])
        errors.extend(error)
        naive.extend(error)
    assert model.score(longer) == pytest.approx(
        1 - np.nanmean(errors) / np.nanmean(naive), rel=1e-6
    )


def test_score_needs_rows_after_the_training_part(model, panel):
    with pytest.raises(DataError, match="nothing to score.*rows at or after 2024-02-09"):
        model.score(panel)


def test_the_baseline_scores_zero_against_the_naive():
    panel = make_panel(n=50)
    model = untrained().fit(panel[panel.index.get_level_values("day") < "2024-02-05"])
    assert model.score(panel) == pytest.approx(0.0, abs=1e-12)


def test_forecast_of_members_is_their_mean(panel):
    model = make_model(n_members=3, transform=SeriesScaler()).fit(panel)
    assert len(model.networks_) == len(model.best_epochs_) == 3
    singles = []
    for network in model.networks_:
        singles.append(numbers(alone(model, network).predict()))
    assert not np.allclose(singles[0], singles[1])
    np.testing.assert_allclose(numbers(model.predict()), np.mean(singles, axis=0), rtol=1e-6)


# -------------------------------------------------------------------------- manners of an estimator


def test_fit_returns_self_and_starts_anew(panel):
    model = make_model()
    assert model.fit(panel) is model
    first = model.predict()
    weights = copy.deepcopy(model.networks_[0].state_dict())
    assert model.fit(panel) is model
    assert_equal(model.predict(), first)
    for name, weight in model.networks_[0].state_dict().items():
        assert torch.equal(weight, weights[name])


def test_clone_gives_an_equal_refit(model, panel):
    copied = clone(model)
    with pytest.raises(NotFittedError):
        copied.predict()
    assert_equal(copied.fit(panel).predict(), model.predict())


def test_a_fit_that_fails_leaves_no_half_fitted_model(panel):
    model = make_model().fit(panel)
    with pytest.raises(DataError):
        model.fit(panel.iloc[:2])
    with pytest.raises(NotFittedError):
        model.predict()


def test_fit_and_predict_leave_the_panel_as_it_was():
    panel = make_panel(missing=0.2)
    before = panel.copy()
    model = make_model(transform=make_pipeline(Log(["y"]), SeriesScaler(), StandardScaler()))
    model.fit(panel).predict(panel)
    model.forecast_origins(panel, panel.loc["s0"].index[-5:])
    assert_equal(panel, before)


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.parametrize("way", [through_pickle, through_joblib, copy.deepcopy])
@cells
def test_copies_predict_the_same_to_the_last_bit(way, cell, panel):
    model = make_model(cell=cell, baseline=EWMA(), transform=SeriesScaler(), n_members=2)
    model.fit(panel)
    copied = way(model)
    assert_equal(copied.predict(), model.predict())
    assert_equal(copied.predict(panel.iloc[:30]), model.predict(panel.iloc[:30]))
    assert_equal(copied.fit(panel).predict(), model.predict())


def test_html_shows_parameters_but_no_rows_or_names():
    panel = make_panel().rename(index={"s0": "patient-7341"})
    panel.loc[("patient-7341", "2024-02-09"), "y"] = 7777.125
    scale = make_pipeline(Log(), SeriesScaler())
    model = make_model(transform=scale, baseline=EWMA()).fit(panel)
    html = model._repr_html_()
    assert "RecurrentForecaster" in html
    assert "lookback" in html
    assert "patient-7341" not in html
    assert "7777" not in html
    assert "patient-7341" not in repr(model)


def test_fitted_model_keeps_at_most_lookback_rows_of_each_series():
    scale = make_pipeline(Log(), SeriesScaler())

    def size(n: int) -> int:
        model = make_model(transform=scale, baseline=EWMA(), max_epochs=1).fit(make_panel(2, n))
        assert np.diff(model._tail.layout.offsets).tolist() == [L, L]
        return len(pickle.dumps(model))

    assert abs(size(1200) - size(150)) < 1500  # bytes: a row of one column has 8


def test_history_is_a_frame_whose_epoch_zero_is_the_baseline(panel):
    model = make_model(validation="time", max_epochs=3).fit(panel)
    assert model.history_.index.tolist() == [0, 1, 2, 3]
    assert np.isnan(model.history_["train_loss"][0])
    assert model.history_["val_loss"].notna().all()
    assert model.interrupted_ is False
    assert model.cutoff_ == pd.Timestamp("2024-02-09")


@pytest.mark.parametrize("method", ["predict", "forecast_origins", "score"])
def test_methods_before_fit_say_so(method, panel):
    with pytest.raises(NotFittedError, match="RecurrentForecaster instance is not fitted"):
        getattr(make_model(), method)(panel)


def test_memory_that_starts_open_spreads_over_the_lookback_however_long_windows_are():
    still = tsf.Training(
        max_epochs=1, learning_rate=1e-12, init="chrono", origins=16, validation=None
    )
    model = RecurrentForecaster(
        lookback=10, hidden_sizes=(200,), training=still, random_state=0
    ).fit(make_panel()[["y"]])
    forget = model.networks_[0].cells.layers[0].bias_ih_l0.detach()[200:400].double()
    memory = 1 / (1 - torch.sigmoid(forget))  # rows
    assert 9 < memory.max() <= 10 + 1e-3 and 2 - 1e-3 <= memory.min() < 2.5


# --------------------------------------------------------------------- missing values, warm-up rows


@cells
def test_holes_train_and_predict_finite_numbers(cell):
    panel = make_panel(missing=0.4)
    panel.iloc[:3] = np.nan  # nothing known at the start of s0
    model = make_model(cell=cell, validation="time", max_epochs=3).fit(panel)
    assert np.isfinite(model.history_["val_loss"]).all()
    assert np.isfinite(model.history_["train_loss"][1:]).all()
    assert np.isfinite(numbers(model.predict())).all()
    holes = panel.copy()
    holes.iloc[-4:] = np.nan
    assert np.isfinite(numbers(model.predict(holes))).all()


def test_whether_a_value_was_observed_is_an_input():
    panel = make_panel(missing=0.4, n=60)
    model = wild(make_model().fit(panel), 1.0)
    seen = panel.copy()
    day = panel.index[-1]
    filled = panel["x"].ffill()
    seen.loc[day, "x"] = filled.iloc[-2]
    hidden = seen.copy()
    hidden.loc[day, "x"] = np.nan  # the last known value stands in, the same number
    assert not np.allclose(numbers(model.predict(seen))[-1], numbers(model.predict(hidden))[-1])


def test_missing_values_may_be_refused():
    panel = make_panel()
    panel.loc[("s1", "2024-01-07"), "x"] = np.nan
    panel.loc[("s2", "2024-01-03"), "x"] = np.nan
    model = make_model(missing="raise")
    with pytest.raises(
        DataError,
        match=r"missing values \(column 'x'; series 's1'; first rows: .*2024-01-07.*"
        r"2024-01-03.*found 2 NaN",
    ):
        model.fit(panel)
    assert len(make_model(missing="raise", past=None).fit(panel).predict()) == 9  # x not used
    model.fit(make_panel())
    with pytest.raises(DataError, match=r"missing values \(column 'x'; series 's1'"):
        model.predict(panel)


def test_leading_nan_of_a_transform_are_warm_up_rows():
    frame = one_series(L)
    fitted = make_model(transform=LogReturn(["x"])).fit(one_series())
    with pytest.warns(UserWarning, match="1 origins of 1 series have fewer than lookback=5 rows"):
        short = fitted.predict(frame)  # L rows, and the first one has no return
    np.testing.assert_array_equal(short["forecast"], [frame["y"].iloc[-1]] * H)
    enough = fitted.predict(one_series(L + 1))
    assert not np.allclose(enough["forecast"], one_series(L + 1)["y"].iloc[-1])


def test_warm_up_rows_are_no_training_rows():
    """The return of the first row, were it filled in, would be one more training origin."""
    frame = one_series(L + H)
    model = make_model(transform=LogReturn(["x"]))
    with pytest.raises(DataError, match=r"at least 9 rows.* behind 1 that transforms use up"):
        model.fit(frame)
    make_model().fit(frame)


# ------------------------------------------------------------------------- how many rows are enough


@pytest.mark.parametrize("validation", ["time", None])
@pytest.mark.parametrize("transform", [None, LogReturn(["x"])], ids=["plain", "warm-up"])
@pytest.mark.parametrize("horizon", [1, 4])
def test_the_error_names_the_number_of_rows_that_is_enough(validation, transform, horizon):
    def fit(n: int) -> RecurrentForecaster:
        model = make_model(validation=validation, transform=transform, horizon=horizon)
        return model.fit(one_series(n))

    with pytest.raises(DataError, match="too few rows") as raised:
        fit(4)
    needed = int(re.search(r"at least (\d+) rows", str(raised.value)).group(1))
    warm_up = 0 if transform is None else 1
    assert needed >= L + horizon + warm_up
    if validation is None:
        assert needed == L + horizon + warm_up
    with pytest.raises(DataError, match=f"at least {needed} rows.*found {needed - 1} in the long"):
        fit(needed - 1)
    assert np.isfinite(numbers(fit(needed).predict())).all()


@pytest.mark.filterwarnings("ignore:.*left out of training")
def test_series_that_are_short_beside_a_long_one_are_left_out():
    panel = make_panel(2)
    panel = pd.concat([panel.loc[["s0"]], panel.loc[["s1"]].tail(2)])
    model = make_model().fit(panel)
    with pytest.warns(UserWarning, match=r"1 origins of 1 series.*first series: 's1'"):
        frame = model.predict()
    np.testing.assert_array_equal(frame.loc["s1", "forecast"], [panel.loc["s1", "y"].iloc[-1]] * H)


@pytest.mark.filterwarnings("ignore:.*left out of training")
@pytest.mark.parametrize("name", ["a0", "z0"])
def test_a_series_that_begins_in_the_validation_part_is_no_obstacle(name):
    """The training part then holds none of its rows, be it the first series or the last."""
    panel = make_panel(2, 60)
    late = make_panel(1, 60, seed=5).tail(6).rename(index={"s0": name})
    both = pd.concat([panel, late])
    model = make_model(validation="time", transform=SeriesScaler()).fit(both)
    assert np.isfinite(numbers(model.predict())).all()


def test_a_season_without_noise_can_be_fitted():
    """The naive forecast never errs a whole season ahead, so that step has no spread."""
    t = np.arange(60)
    frame = pd.DataFrame({"y": [0.0, 1.0, 3.0] * 20, "x": t * 1.0}, index=pd.RangeIndex(60))
    forecast = make_model().fit(frame).predict()
    assert np.isfinite(numbers(forecast)).all()
    assert forecast["forecast"].iloc[2] == pytest.approx(3.0, abs=0.1)


def test_targets_missing_in_the_whole_validation_part_are_named():
    frame = one_series(60)
    frame.iloc[45:, 1] = np.nan
    with pytest.raises(DataError, match=r"too few rows.*column 'y'.*too few known targets"):
        make_model(validation="time").fit(frame)


def test_targets_that_never_follow_each_other_are_named():
    frame = one_series(60)
    frame.iloc[:-1, 1] = np.nan
    with pytest.raises(DataError, match=r"too few rows.*column 'y'.*too few known targets"):
        make_model().fit(frame)


# ---------------------------------------------------------------------------------------- bad input


def test_empty_frame_is_refused(panel):
    with pytest.raises(DataError, match="empty frame: expected at least one row"):
        make_model().fit(panel.iloc[:0])


def test_one_row_is_refused():
    with pytest.raises(DataError, match=r"too few rows.*at least 8 rows.*found 1 in the longest"):
        make_model().fit(one_series(1))


@pytest.mark.parametrize("column", ["x", "y"])
def test_a_column_without_any_value_is_refused_in_fit(panel, column):
    with pytest.raises(DataError, match=rf"without any value \(column '{column}'\)"):
        make_model().fit(panel.assign(**{column: np.nan}))


def test_a_column_without_any_value_before_validation_is_refused():
    frame = one_series(60)
    frame.iloc[:50, 0] = np.nan
    with pytest.raises(DataError, match=r"in the training rows \(column 'x'\).*before the valida"):
        make_model(validation="time").fit(frame)


def test_a_past_column_without_any_value_at_predict_is_no_error(model, panel):
    assert np.isfinite(numbers(model.predict(panel.assign(x=np.nan)))).all()


@pytest.mark.parametrize("validation", ["time", None])
def test_a_constant_target_is_refused(panel, validation):
    with pytest.raises(DataError, match=r"constant target \(column 'y'\).*use Naive"):
        make_model(validation=validation).fit(panel.assign(y=3.5))


def test_a_target_that_is_not_a_column_is_refused(panel):
    with pytest.raises(DataError, match=r"target is not a column.*'z'.*found columns \['x', 'y'\]"):
        make_model(target="z").fit(panel)
    with pytest.raises(ValueError, match=r"parameter 'target': expected one of the columns"):
        make_model(target=None).fit(panel)


def test_missing_columns_are_named_in_fit_and_predict(model, panel):
    with pytest.raises(DataError, match=r"columns are missing.*Missing: \['z'\]"):
        make_model(past=["x", "z"]).fit(panel)
    with pytest.raises(DataError, match=r"columns are missing \(column 'x'\).*Missing: \['x'\]"):
        model.predict(panel[["y"]])


def test_duplicated_times_are_refused(model, panel):
    twice = pd.concat([panel, panel.iloc[[7]]]).sort_index()
    for verb in (make_model().fit, model.predict):
        with pytest.raises(
            DataError, match=r"duplicated time \(series 's0'; first rows: .*2024-01-08"
        ):
            verb(twice)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused(model, panel, value):
    broken = panel.copy()
    broken.iloc[50, 0] = value
    for verb in (make_model().fit, model.predict):
        with pytest.raises(DataError, match=r"infinite values \(column 'x'; series 's1'"):
            verb(broken)


def test_infinite_values_made_by_a_transform_are_refused(panel):
    logs = FunctionTransformer(np.log, np.exp, check_inverse=False)
    with (
        np.errstate(divide="ignore"),
        pytest.raises(DataError, match=r"transform made infinite values \(column 'x'"),
    ):
        make_model(transform=logs).fit(panel.assign(x=panel["x"].where(panel["x"] > 4, 0.0)))


def test_integer_columns_work(panel):
    whole = panel.round().astype("int64")
    assert_equal(
        make_model().fit(whole).predict(), make_model().fit(whole.astype("float64")).predict()
    )


def test_object_columns_are_refused(panel):
    with pytest.raises(DataError, match=r"column is not numeric \(column 'x'.*found dtype object"):
        make_model().fit(panel.astype({"x": object}))


def test_columns_may_have_names_that_are_no_strings(panel):
    renamed = panel.rename(columns={"y": 0, "x": 1})
    model = make_model(target=0, past=[1], transform=SeriesScaler()).fit(renamed)
    expected = make_model(transform=SeriesScaler()).fit(panel).predict()
    np.testing.assert_allclose(numbers(model.predict()), numbers(expected), rtol=1e-6)


def test_a_series_that_fit_never_saw_gets_a_forecast(model):
    new = make_panel(1, 12, seed=8).rename(index={"s0": "new"})
    frame = model.predict(new)
    assert frame.index.get_level_values(0).unique().tolist() == ["new"]
    assert np.isfinite(numbers(frame)).all()


def test_a_series_too_short_at_predict_gets_the_baseline_with_a_warning(model, panel):
    short = pd.concat([panel.loc[["s0"]], panel.loc[["s1"]].tail(L - 1)])
    with pytest.warns(
        UserWarning,
        match=r"1 origins of 1 series have fewer than lookback=5 rows.*first series: 's1'"
        r".*forecast is the baseline",
    ):
        frame = model.predict(short)
    np.testing.assert_allclose(
        frame.loc["s1", "forecast"], [panel.loc["s1", "y"].iloc[-1]] * H, rtol=1e-9
    )
    assert (np.diff(numbers(frame.loc["s1"])[:, 1:], axis=1) > 0).all()
    assert_close(frame.loc[["s0"]], model.predict(panel.loc[["s0"]]))


def test_a_series_without_a_known_target_is_forecast_as_nan_with_a_warning(model, panel):
    blind = panel.copy()
    blind.loc["s1", "y"] = np.nan
    with pytest.warns(UserWarning, match=r"no known target yet \(first series: 's1'\)"):
        frame = model.predict(blind)
    assert np.isnan(numbers(frame.loc["s1"])).all()
    assert np.isfinite(numbers(frame.loc["s0"])).all()


# --------------------------------------------------------------------------------------- transforms


class Widen(FunctionTransformer):
    """A transform that adds a column."""

    def __init__(self):
        super().__init__(lambda panel: panel.assign(more=1.0))


class Shorten(FunctionTransformer):
    """A transform that drops a row."""

    def __init__(self):
        super().__init__(lambda panel: panel.iloc[1:])


@pytest.mark.parametrize(
    "transform, found",
    [(Widen(), r"columns \['y', 'x', 'more'\] and 120"), (Shorten(), r"\['y', 'x'\] and 119")],
    ids=["columns", "rows"],
)
def test_a_transform_that_changes_the_shape_is_refused(panel, transform, found):
    with pytest.raises(
        DataError,
        match=rf"changed the shape of the panel: expected columns \['y', 'x'\] and 120.*{found}",
    ):
        make_model(transform=transform).fit(panel)


def test_returns_of_the_target_are_refused(panel):
    with pytest.raises(ValueError, match="use Log"):
        make_model(transform=LogReturn(["y"])).fit(panel)


def test_transforms_are_fitted_on_the_training_rows_alone():
    frame = one_series(60)
    model = make_model(transform=SeriesScaler(), validation="time").fit(frame)
    expected = SeriesScaler().fit(frame.iloc[:48][["y", "x"]], frame.iloc[:48][["y"]])
    pd.testing.assert_frame_equal(
        model.transform_.transform(frame[["y", "x"]]), expected.transform(frame[["y", "x"]])
    )
    changed = frame.copy()
    changed.iloc[48:] *= 2
    again = make_model(transform=SeriesScaler(), validation="time").fit(changed)
    for name in ("location", "gain", "error_scale", "start"):
        assert torch.equal(getattr(again.networks_[0], name), getattr(model.networks_[0], name))


@pytest.mark.parametrize(
    "transform",
    [
        StandardScaler(),
        make_pipeline(StandardScaler(), StandardScaler()),
        make_pipeline(Log(["y"]), make_pipeline("passthrough", StandardScaler()), SeriesScaler()),
        FunctionTransformer(np.log, np.exp, check_inverse=False),
        Clip(upper=70.0),
    ],
    ids=["scaler", "pipeline", "nested", "function", "clip"],
)
def test_transforms_of_scikit_learn_work_and_are_undone(panel, transform):
    model = untrained(transform=transform).fit(panel)
    last = panel.groupby(level=0)["y"].last().repeat(H)
    if isinstance(transform, Clip):
        last = last.clip(upper=70.0)
    np.testing.assert_allclose(model.predict()["forecast"], last, rtol=1e-9)


@pytest.mark.parametrize(
    "transform, found",
    [
        (FunctionTransformer(np.log), r"3\.0\d* for 20\.1"),
        (ColumnTransformer([("y", StandardScaler(), ["y", "x"])]), "no inverse_transform"),
        (make_pipeline(Log(), FunctionTransformer(np.sqrt)), r"5\.6\d* for 20\.1"),
    ],
    ids=["identity", "none", "in a pipeline"],
)
def test_a_transform_that_cannot_be_undone_is_refused_before_training(panel, transform, found):
    if isinstance(transform, ColumnTransformer):
        transform.set_params(verbose_feature_names_out=False)
    with pytest.raises(DataError, match=rf"cannot be undone \(column 'y'\).*found {found}"):
        make_model(transform=transform).fit(panel)


# --------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("horizon", 0, "a whole number of at least 1, found 0"),
        ("horizon", "1D", "a whole number of at least 1, found '1D'"),
        ("lookback", 2.5, "a whole number of at least 1, found 2.5"),
        ("n_members", 0, "a whole number of at least 1, found 0"),
        ("cell", "transformer", "one of .*'lstm'.*found 'transformer'"),
        ("missing", "drop", "one of .*'mask'.*found 'drop'"),
        ("past", "x", r"a list of columns, found 'x'. Write \['x'\]"),
        ("context", "all", r"one of \['window', 'history'\], found 'all'"),
        ("min_history", 0, "a whole number of at least 1, found 0"),
        ("future", "x", "a list of columns, found 'x'"),
        ("static", "x", "a list of columns, found 'x'"),
        ("normalize", "zscore", r"'ewm', a RunningScale\(...\) or None, found 'zscore'"),
        ("normalize", tsf.RunningScale, r"'ewm', a RunningScale\(...\) or None, found <class"),
        ("baseline", "median", r".*or an unfitted forecaster such as EWMA\(\), found 'median'"),
        ("baseline", EWMA, r".*or an unfitted forecaster such as EWMA\(\), found <class"),
        (
            "baseline",
            SeriesScaler(),
            "'last', 'seasonal', None or an estimator with forecast_origins, found Ser",
        ),
        ("head", "median", "one of .*'quantiles'.*found 'median'"),
        ("head", Point, "one of .*'quantiles'.*found <class"),
        ("hidden_sizes", 64, "a sequence of layer sizes, found 64"),
        ("hidden_sizes", (), "at least one layer size"),
        ("dropout", 1.0, r"a number in \[0, 1\), found 1.0"),
        ("random_state", -1, "a whole number of at least 0, found -1"),
        ("random_state", "lucky", "a whole number of at least 0, found 'lucky'"),
    ],
)
def test_parameters_out_of_range_are_refused(panel, name, value, message):
    with pytest.raises(ValueError, match=f"parameter '{name}': expected {message}"):
        make_model(**{name: value}).fit(panel)


def test_random_state_may_be_an_object_or_none(panel):
    def fit(random_state) -> np.ndarray:
        return numbers(make_model(random_state=random_state, max_epochs=1).fit(panel).predict())

    np.testing.assert_array_equal(fit(np.random.RandomState(3)), fit(np.random.RandomState(3)))
    state = np.random.get_state()[1].copy()
    assert not np.array_equal(fit(None), fit(None))
    assert np.array_equal(np.random.get_state()[1], state)


def test_constructor_stores_and_does_nothing_else():
    options = {"horizon": -3, "cell": "nothing", "training": None, "past": ("x",)}
    model = RecurrentForecaster(**options)
    assert {name: getattr(model, name) for name in options} == options
    assert [name for name in vars(model) if name.endswith("_")] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(model)


class Doubled(TransformerMixin, BaseEstimator):
    """A user's own transformer: stateless, without set_output."""

    def __init__(self, columns=("y",)):
        self.columns = columns

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.assign(**{name: 2 * X[name] for name in self.columns})

    def inverse_transform(self, X):
        return X.assign(**{name: X[name] / 2 for name in self.columns})


@pytest.mark.parametrize(
    "transform",
    [Doubled(), make_pipeline(Doubled(), tsf.Log()), make_pipeline(tsf.Log(), Doubled())],
    ids=["alone", "first", "last"],
)
def test_a_users_own_transformer_works(panel, transform):
    plain = make_model().fit(panel).predict()
    doubled = make_model(transform=transform).fit(panel).predict()
    assert doubled["forecast"].to_numpy() == pytest.approx(plain["forecast"].to_numpy(), rel=0.2)


@pytest.mark.parametrize("transform", ["log", tsf.Log, [tsf.Log()]], ids=["name", "class", "list"])
def test_what_is_no_transformer_is_refused(panel, transform):
    with pytest.raises(ValueError, match="'transform': expected None, or an instance with fit"):
        make_model(transform=transform).fit(panel)


def test_a_decreasing_transform_is_refused(panel):
    turned = FunctionTransformer(np.negative, np.negative)
    with pytest.raises(DataError, match="decreasing one, which would turn quantiles round"):
        make_model(transform=turned).fit(panel)


def test_training_parameters_can_be_set_where_training_is_left_out():
    model = tsf.RecurrentForecaster(target="y").set_params(training__max_epochs=3, horizon=2)
    assert (model.training.max_epochs, model.horizon) == (3, 2)


def test_origins_before_the_data_give_an_empty_frame(panel):
    model = make_model().fit(panel)
    frame = model.forecast_origins(panel, pd.DatetimeIndex(["1990-01-01"]))
    assert len(frame) == 0
    assert list(frame.columns) == list(model.predict().columns)


def test_time_of_another_kind_than_in_fit_is_refused(panel):
    model = make_model().fit(panel)
    abroad = panel.tz_localize("America/New_York", level=1)
    with pytest.raises(DataError, match="expected dates without a time zone, found dates with"):
        model.predict(abroad)
    with pytest.raises(DataError, match="time is of another kind than in fit"):
        model.score(abroad)


def test_one_row_says_how_many_are_needed(panel):
    with pytest.raises(DataError, match=r"too few rows.*at least \d+ rows"):
        make_model(validation="time").fit(panel.iloc[:1])


def test_warnings_point_at_the_callers_file(panel):
    model = make_model().fit(panel)
    with pytest.warns(UserWarning, match="fewer than lookback") as caught:
        model.predict(panel.groupby(level=0).head(1))
    assert caught[0].filename == __file__


def test_series_left_out_of_training_are_counted_and_named():
    panel = make_panel(3, 40)
    short = panel.drop(panel.loc[["s1"]].index[:-4])
    with pytest.warns(UserWarning, match=r"1 of 3 series are left out of training.*first: s1\)"):
        make_model().fit(short)


@pytest.mark.parametrize("baseline", ["last", None, HAR(lags=(1, 2))], ids=["last", "mean", "har"])
def test_a_constant_target_is_refused_with_every_baseline(baseline):
    constant = one_series().assign(y=0.1)
    with pytest.raises(DataError, match="constant target"):
        make_model(baseline=baseline).fit(constant)


def test_a_tiny_training_part_says_how_many_rows_are_needed():
    with pytest.raises(DataError, match=r"at least \d+ rows"):
        make_model(validation="time", validation_size=0.9995).fit(one_series())


@pytest.mark.filterwarnings("ignore:.*fewer than lookback")
def test_a_network_as_baseline_gets_its_own_columns(panel):
    inner = make_model(cell="rnn")
    frame = make_model(baseline=inner).fit(panel).predict()
    assert np.isfinite(numbers(frame)).all()


def test_a_baseline_of_another_target_is_refused(panel):
    with pytest.raises(ValueError, match=r"'baseline': expected a forecaster of \['y'\]"):
        make_model(baseline=Naive(target="x")).fit(panel)


def test_fits_in_threads_equal_fits_in_turn(panel):
    from concurrent.futures import ThreadPoolExecutor

    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with ThreadPoolExecutor(3) as pool:
        frames = list(
            pool.map(lambda seed: make_model(random_state=seed).fit(panel).predict(), range(3))
        )
    for seed, frame in enumerate(frames):
        assert_equal(frame, make_model(random_state=seed).fit(panel).predict())
    assert torch.equal(before, torch.get_rng_state())
    assert threads == torch.get_num_threads()


# ---------------------------------------------------------------------------------- several targets

BOTH = {"target": ["y", "x"], "past": None}


def rows_of(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    return frame[frame["target"] == target]


def test_several_targets_make_one_long_frame(panel):
    model = make_model(**BOTH, transform=SeriesScaler()).fit(panel)
    assert model.targets_ == ["y", "x"]
    frame = model.predict()
    assert list(frame.columns) == ["target", "cutoff", "step", *NUMBERS]
    assert frame["target"].tolist() == (["y"] * H + ["x"] * H) * 3
    assert frame["step"].tolist() == [1, 2, 3] * 6
    assert frame.index.get_level_values(0).tolist() == ["s0"] * 6 + ["s1"] * 6 + ["s2"] * 6
    one = make_model(past=["x"], transform=SeriesScaler()).fit(panel).predict()
    assert rows_of(frame, "y").index.equals(one.index)
    assert np.isfinite(numbers(frame)).all()
    many = model.forecast_origins(panel, panel.loc["s0"].index[[20, 30]])
    keys = many.reset_index()[["ticker", "cutoff", "target", "step"]]
    order = keys.assign(target=keys["target"].map({"y": 0, "x": 1}))  # as given, not as spelled
    assert order.sort_values(list(order)).index.equals(order.index)
    assert len(many) == 3 * 2 * 2 * H


def test_untrained_network_is_the_last_value_of_each_target(panel):
    frame = untrained(**BOTH).fit(panel).predict()
    for name in ("y", "x"):
        expected = Naive(target=name, horizon=H).fit(panel).predict()["forecast"]
        np.testing.assert_array_equal(rows_of(frame, name)["forecast"], expected)
    naive = Naive(target=["y", "x"], horizon=H).fit(panel).predict()
    assert naive.index.equals(frame.index)
    np.testing.assert_array_equal(naive["forecast"], frame["forecast"])


@pytest.mark.parametrize(
    "transform", [None, make_pipeline(Log(), SeriesScaler())], ids=["-", "log"]
)
def test_an_estimator_is_the_baseline_of_each_target(panel, transform):
    model = untrained(**BOTH, baseline=EWMA(), transform=transform).fit(panel)
    days = panel.loc["s0"].index[[20, 30]]
    frame = model.forecast_origins(panel, days)
    for name in ("y", "x"):
        alone = EWMA(target=name, horizon=H).fit(panel).forecast_origins(panel, days)
        np.testing.assert_allclose(rows_of(frame, name)["forecast"], alone["forecast"], rtol=1e-9)


def test_one_target_in_a_list_is_one_target(panel):
    one, listed = (make_model(target=target).fit(panel) for target in ("y", ["y"]))
    assert_equal(one.predict(), listed.predict())


def test_each_target_is_learned_in_its_own_unit(panel):
    """The loss counts both alike: a target a thousand times as large changes nothing."""
    frame = make_model(**BOTH).fit(panel).predict()
    large = make_model(**BOTH).fit(panel.assign(x=1024 * panel["x"])).predict()
    np.testing.assert_allclose(
        numbers(rows_of(large, "x")), 1024 * numbers(rows_of(frame, "x")), rtol=1e-4
    )
    np.testing.assert_allclose(
        numbers(rows_of(large, "y")), numbers(rows_of(frame, "y")), rtol=1e-4
    )


def test_targets_do_not_look_ahead_and_forecasts_equal_those_of_truncated_panels():
    panel = make_panel(missing=0.2)
    options = {**BOTH, "transform": SeriesScaler(), "normalize": "ewm", "season": 4}
    check_no_lookahead(make_model(**options), panel)
    model = make_model(**options).fit(panel)
    assert_equal(model.predict(), model.predict(panel))
    days = panel.loc["s0"].index[[25, 35]]
    many = model.forecast_origins(panel, days)
    for day in days:
        until = panel[panel.index.get_level_values("day") <= day]
        assert_close(many[many["cutoff"] == day], model.predict(until))


def test_the_score_of_several_targets_is_the_mean_of_their_scores():
    panel = make_panel(n=50)
    known = panel[panel.index.get_level_values("day") < "2024-02-05"]
    model = make_model(**BOTH, baseline=EWMA(alpha=0.3), learning_rate=1e-30).fit(known)
    each = [EWMA(target=name, horizon=H, alpha=0.3).fit(known).score(panel) for name in ("y", "x")]
    assert model.score(panel) == pytest.approx(np.mean(each), rel=1e-6)


def test_a_target_not_known_yet_is_nan_and_the_other_is_forecast(panel):
    model = make_model(**BOTH).fit(panel)
    said = r"1 origins of 1 series have no known value yet of some targets \(x; first series: 's0'"
    with pytest.warns(UserWarning, match=said):
        frame = model.predict(panel.loc[["s0"]].assign(x=np.nan))
    assert np.isfinite(numbers(rows_of(frame, "y"))).all()
    assert np.isnan(numbers(rows_of(frame, "x"))).all()


@pytest.mark.parametrize("target", [[], ["y", "y"], ["y", "x", "y"]], ids=str)
def test_targets_must_be_columns_each_once(panel, target):
    with pytest.raises(ValueError, match="'target': expected a column, or several, each once"):
        make_model(target=target).fit(panel)


def test_a_constant_target_among_several_is_named(panel):
    with pytest.raises(DataError, match=r"constant target \(column 'x'\)"):
        make_model(**BOTH).fit(panel.assign(x=3.0))


# ------------------------------------------------------------------------------------ running scale


@pytest.mark.parametrize("factor, rtol", [(1024.0, 1e-7), (1000.0, 1e-3)])
@pytest.mark.parametrize("loss_power", [0.0, 0.5])
def test_forecasts_of_a_running_scale_follow_the_unit_of_the_target(
    panel, factor, rtol, loss_power
):
    def fit(y: pd.Series) -> np.ndarray:
        scale = tsf.RunningScale(half_life=4, loss_power=loss_power)
        model = make_model(normalize=scale, past=None).fit(panel.assign(y=y))
        assert not np.allclose(model.predict()["forecast"], y.groupby(level=0).last().repeat(H))
        return numbers(model.predict())

    np.testing.assert_allclose(fit(factor * panel["y"]), factor * fit(panel["y"]), rtol=rtol)


def test_spread_follows_the_running_scale_of_each_series():
    """Untrained, a quantile lies as many running scales from the last value in every series."""
    quiet, wild_one = one_series(seed=1), one_series(seed=2)
    panel = pd.concat({"quiet": quiet, "wild": wild_one * 50}, names=["ticker"])
    model = untrained(normalize=tsf.RunningScale(half_life=4), past=None).fit(panel)
    frame = model.predict()
    width = frame["q0.9"] - frame["q0.1"]
    layout = layout_of(panel)
    scale = tsf.RunningScale(half_life=4)
    prior = scale.prior(panel["y"].to_numpy(), layout, lag=1)
    _, unit, _ = scale.run(panel["y"].to_numpy(), layout, prior=prior, lag=1)
    ratio = width.loc["wild"].to_numpy() / width.loc["quiet"].to_numpy()
    np.testing.assert_allclose(ratio, unit[-1] / unit[len(quiet) - 1], rtol=1e-6)
    assert ratio.min() > 10


@pytest.mark.parametrize("baseline, lag", [("last", 1), ("seasonal", 4)])
def test_loss_power_weighs_origins_by_their_running_scale(panel, baseline, lag):
    scale = tsf.RunningScale(half_life=6, loss_power=1.0)
    layout, y = layout_of(panel), panel["y"].to_numpy()
    prior = scale.prior(y, layout, lag=lag)
    _, unit, _ = scale.run(y, layout, prior=prior, lag=lag)
    weights = pd.Series(unit / prior, panel.index)
    flat = tsf.RunningScale(half_life=6, loss_power=0.0)

    def fit(scale: tsf.RunningScale, **options) -> np.ndarray:
        model = make_model(normalize=scale, past=None, baseline=baseline, season=4)
        return numbers(model.fit(panel, **options).predict())

    np.testing.assert_allclose(fit(scale), fit(flat, sample_weight=weights), rtol=1e-6)
    assert not np.allclose(fit(scale), fit(flat), rtol=1e-5)


def test_the_half_life_of_ewm_is_three_quarters_of_the_lookback(panel):
    plain, named = (
        numbers(make_model(normalize=scale).fit(panel).predict())
        for scale in ("ewm", tsf.RunningScale(half_life=0.75 * L))
    )
    np.testing.assert_array_equal(plain, named)


def test_a_running_scale_needs_a_series_that_moves(panel):
    with pytest.raises(DataError, match="no scale to learn"):
        make_model(normalize="ewm").fit(panel.assign(y=2.0))


# ------------------------------------------------------------------------------------------- season


@pytest.mark.parametrize("season", [2, 4, [4, 7]], ids=str)
@pytest.mark.parametrize("transform", [None, Log()], ids=["plain", "log"])
def test_untrained_network_on_a_season_is_the_seasonal_naive(season, transform):
    panel = make_panel(missing=0.15)
    model = untrained(
        season=season, baseline="seasonal", horizon=5, transform=transform, past=None
    ).fit(panel)
    first = season if isinstance(season, int) else season[0]
    alone = tsf.SeasonalNaive(season=first, target="y", horizon=5).fit(panel)
    days = panel.loc["s0"].index[[6, 25, 33]]
    np.testing.assert_allclose(
        model.forecast_origins(panel, days)["forecast"],
        alone.forecast_origins(panel, days)["forecast"],
        rtol=1e-9,
    )


def test_a_season_longer_than_the_lookback_is_in_reach():
    """Every series repeats twelve numbers of its own; the window has four rows."""
    rng = np.random.default_rng(0)
    parts = {
        f"s{i}": pd.DataFrame({"y": np.tile(rng.normal(size=12), 6) + 0.02 * rng.normal(size=72)})
        for i in range(8)
    }
    panel = pd.concat(parts, names=["series", "t"])
    known, last = panel[panel.index.get_level_values(1) < 69], panel.groupby(level=0).tail(3)

    def error(**options) -> float:
        model = make_model(
            past=None, lookback=4, head="point", max_epochs=20, learning_rate=0.02, **options
        )
        return abs(model.fit(known).predict()["forecast"].to_numpy() - last["y"].to_numpy()).mean()

    assert error(season=12) < 0.3 < 0.6 < error()


def test_predict_without_a_panel_looks_back_a_whole_season(panel):
    options = {"season": 9, "normalize": "ewm", "transform": Log(["y"])}
    for baseline in ("last", "seasonal"):
        model = make_model(baseline=baseline, **options).fit(panel)
        assert np.diff(model._tail.layout.offsets).tolist() == [9] * 3
        assert_equal(model.predict(), model.predict(panel))


def test_a_seasonal_baseline_needs_a_season(panel):
    with pytest.raises(ValueError, match="'season': expected the rows of a season"):
        make_model(baseline="seasonal").fit(panel)
    for season in (1, [4, 1], 2.5, "weekly"):
        with pytest.raises(ValueError, match="'season': expected a whole number of at least 2"):
            make_model(season=season).fit(panel)


def test_seasons_do_not_look_ahead():
    panel = make_panel(missing=0.1)
    check_no_lookahead(make_model(season=[4, 7], baseline="seasonal", normalize="ewm"), panel)


# ---------------------------------------------------------------------------- short series and gaps


def test_series_shorter_than_the_lookback_learn_and_forecast_with_a_shorter_history():
    panel = make_panel(6, 6)
    with pytest.raises(DataError, match="too few rows.*lookback 8"):
        make_model(lookback=8).fit(panel)
    model = make_model(lookback=8, min_history=2, max_epochs=4).fit(panel)
    forecast = model.predict()["forecast"].to_numpy()
    assert np.isfinite(forecast).all()
    assert not np.allclose(forecast, panel.groupby(level=0)["y"].last().repeat(H), rtol=1e-4)
    # all that is there is read, up to the first row
    changed = panel.copy()
    changed.iloc[0] *= 1.5
    moved = abs(model.predict(changed)["forecast"].to_numpy() - forecast) > 1e-6
    assert moved.reshape(6, H).all(axis=1).tolist() == [True] + [False] * 5
    with pytest.warns(UserWarning, match=r"6 origins of 6 series have fewer than min_history=2"):
        first = model.predict(panel.groupby(level=0).head(1))
    np.testing.assert_allclose(first["forecast"], panel.groupby(level=0)["y"].first().repeat(H))


def test_min_history_may_be_longer_than_the_lookback(panel):
    model = make_model(min_history=12).fit(panel)
    with pytest.warns(UserWarning, match="have fewer than min_history=12 rows"):
        model.predict(panel.groupby(level=0).tail(11))
    assert np.isfinite(numbers(model.predict(panel.groupby(level=0).tail(12)))).all()
    with pytest.raises(DataError, match=r"at least 15 rows: min_history 12 \+ horizon 3"):
        make_model(min_history=12).fit(panel.groupby(level=0).head(14))


def interrupted(kind: str, n: int = 60) -> pd.DataFrame:
    """One series with a pause of ninety steps before its last four rows."""
    steps = np.arange(n) + 90 * (np.arange(n) >= n - 4)
    time = {
        "datetime": pd.Timestamp("2024-01-01") + pd.to_timedelta(steps, unit="h"),
        "timedelta": pd.to_timedelta(steps, unit="h"),
        "integer": pd.Index(steps),
    }[kind]
    return one_series(n).set_axis(time)


GAPS = [
    ("datetime", "6h"),
    ("datetime", pd.Timedelta(hours=6)),
    ("timedelta", "6h"),
    ("timedelta", dt.timedelta(hours=6)),
    ("integer", 6),
    ("integer", 6.5),
]


@pytest.mark.parametrize("kind, gap", GAPS, ids=str)
def test_no_window_reaches_across_a_gap(kind, gap):
    frame = interrupted(kind)
    changed = frame.copy()
    changed.iloc[-6:-4] *= 1.5
    cutoff = frame.index[[-1]]

    def forecasts(max_gap) -> tuple[np.ndarray, np.ndarray]:
        model = make_model(max_gap=max_gap, min_history=2).fit(frame)
        return tuple(numbers(model.forecast_origins(each, cutoff)) for each in (frame, changed))

    np.testing.assert_array_equal(*forecasts(gap))
    assert not np.allclose(*forecasts(None))
    largest = 100 if kind == "integer" else "100h"  # a gap that does not occur
    for one, other in zip(forecasts(largest), forecasts(None)):
        np.testing.assert_array_equal(one, other)


def test_no_horizon_of_training_reaches_across_a_gap():
    """The jump behind the pause would be the largest error of the baseline by far."""
    frame = interrupted("integer")
    frame.iloc[-4:] += 1000.0
    with_gap = untrained(max_gap=6, min_history=2, past=None).fit(frame)
    without = untrained(min_history=2, past=None).fit(frame)
    assert with_gap.networks_[0].error_scale.max() < 30 < without.networks_[0].error_scale.max()
    assert_equal(with_gap.predict(), with_gap.predict(frame))


def test_a_lookback_longer_than_every_series_is_refused_in_both_contexts():
    panel = one_series(30)
    with pytest.raises(ValueError, match="too few rows.*at least 53 rows.*found 30"):
        make_model(lookback=50).fit(panel)
    with pytest.raises(DataError, match="too few rows.*least 50 rows, `lookback`.*found 30 in"):
        make_model(lookback=50, context="history").fit(panel)


class _Careless(TransformerMixin, BaseEstimator):
    """Keeps what it works on in itself, as code that knows of no threads may."""

    def fit(self, panel, y=None):
        return self

    def transform(self, panel):
        return panel

    def inverse_transform(self, panel):
        self.now = panel
        time.sleep(0.001)
        return self.now.copy()


@pytest.mark.filterwarnings("ignore")
def test_transforms_of_others_are_called_from_one_thread_at_a_time():
    panel = make_panel(6, 500)
    model = untrained(transform=_Careless()).fit(panel)
    before = torch.get_num_threads()
    frames = []
    try:
        for n in (1, 4):
            torch.set_num_threads(n)
            frames.append(model.forecast_origins(panel))
    finally:
        torch.set_num_threads(before)
    assert_close(*frames)


def test_an_origin_close_behind_a_gap_has_too_little_context():
    frame = interrupted("datetime")
    model = make_model(max_gap="6h").fit(frame)  # lookback 5, four rows behind the gap
    with pytest.warns(UserWarning, match="1 origins of 1 series have fewer than lookback=5"):
        forecast = model.forecast_origins(frame, frame.index[[-1]])
    np.testing.assert_array_equal(forecast["forecast"], [frame["y"].iloc[-1]] * H)


@pytest.mark.parametrize(
    "kind, gap, expected",
    [
        ("datetime", 6, "a time span such as '2h', found 6"),
        ("datetime", "soon", "a time span such as '2h', found 'soon'"),
        ("timedelta", 2.5, "a time span such as '2h', found 2.5"),
        ("datetime", True, "a time span such as '2h', found True"),
        ("datetime", "-2h", "a time span such as '2h', found '-2h'"),
        ("integer", "6h", "a number of steps.*, found '6h'"),
        ("integer", pd.Timedelta(hours=1), "a number of steps.*, found Timedelta"),
        ("integer", True, "a number of steps.*, found True"),
        ("integer", 0, "a number of steps.*, found 0"),
        ("integer", float("nan"), "a number of steps.*, found nan"),
    ],
    ids=str,
)
def test_gaps_of_another_kind_than_time_are_refused(kind, gap, expected):
    with pytest.raises(ValueError, match=f"'max_gap': expected {expected}"):
        make_model(max_gap=gap).fit(interrupted(kind))


def test_gaps_do_not_look_ahead():
    check_no_lookahead(make_model(max_gap="6h", min_history=2), interrupted("datetime"))


# -------------------------------------------------------------------------------------------- heads


def counts_panel(n: int = 60, rate: float = 6.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    y = rng.poisson(rate, size=(3, n)).astype(float)
    return pd.concat({f"s{i}": pd.DataFrame({"y": y[i]}) for i in range(3)}, names=["s", "t"])


@pytest.mark.parametrize("head", ["gaussian", "studentt", "poisson", "negbinomial"])
@cells
def test_distributions_train_and_forecast_in_order(head, cell):
    model = make_model(past=None, head=head, cell=cell, validation="time", max_epochs=3)
    model.fit(counts_panel())
    assert np.isfinite(model.history_["val_loss"]).all()
    frame = model.predict()
    assert list(frame.columns) == ["target", "cutoff", "step", *NUMBERS]
    assert np.isfinite(numbers(frame)).all()
    assert (np.diff(numbers(frame)[:, 1:], axis=1) >= 0).all()
    if head in ("poisson", "negbinomial"):
        quantiles = numbers(frame)[:, 1:]
        np.testing.assert_allclose(quantiles, np.round(quantiles), atol=1e-9)
        assert (numbers(frame) >= 0).all()


def test_an_untrained_gaussian_is_the_baseline_with_the_spread_of_its_errors():
    frame = one_series()
    forecast = untrained(head="gaussian").fit(frame).predict()
    y = frame["y"].to_numpy()
    np.testing.assert_allclose(forecast["forecast"], [y[-1]] * H)
    origins = np.arange(L - 1, len(frame) - H)
    for step in range(1, H + 1):
        spread = np.sqrt(np.mean((y[origins + step] - y[origins]) ** 2))
        expected = stats.norm.ppf(DECILES, loc=y[-1], scale=spread)
        np.testing.assert_allclose(numbers(forecast)[step - 1, 1:], expected, rtol=1e-5)


def test_an_untrained_poisson_has_the_last_count_as_its_rate():
    panel = counts_panel()
    frame = untrained(head="poisson", past=None).fit(panel).predict()
    last = panel["y"].groupby(level=0).last().repeat(H)
    np.testing.assert_allclose(frame["forecast"], last, rtol=1e-5)
    expected = [stats.poisson.ppf(DECILES, rate) for rate in last]
    np.testing.assert_allclose(numbers(frame)[:, 1:], expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*fewer than lookback")
def test_counts_learn_their_mean():
    panel = counts_panel(120)
    model = make_model(
        past=None, head="poisson", max_epochs=25, learning_rate=0.02, lookback=2, batch_size=16
    ).fit(panel)
    assert model.forecast_origins(panel)["forecast"].dropna().mean() == pytest.approx(6.0, rel=0.15)
    assert model.forecast_origins(panel)["forecast"].std() < 0.6 * panel["y"].std()


@pytest.mark.parametrize("head", ["poisson", "negbinomial"])
@pytest.mark.parametrize("option", [{"transform": Log()}, {"normalize": "ewm"}], ids=str)
def test_counts_are_forecast_as_they_are(head, option):
    with pytest.raises(ValueError, match="'head': expected a head for transformed.*leave out tran"):
        make_model(past=None, head=head, **option).fit(counts_panel())


@pytest.mark.parametrize("value, shown", [(-1.0, "-1"), (2.5, "2.5")])
def test_targets_that_are_no_counts_are_refused(value, shown):
    panel = counts_panel()
    panel.iloc[7] = value
    with pytest.raises(
        DataError,
        match=rf"no count \(column 'y'; first rows: \('s0', 7\).*found 1 others, e.g. {shown}",
    ):
        make_model(past=None, head="poisson").fit(panel)


def test_missing_counts_are_no_obstacle():
    panel = counts_panel()
    panel[np.random.default_rng(1).random(len(panel)) < 0.3] = np.nan
    frame = make_model(past=None, head="negbinomial").fit(panel).predict()
    assert np.isfinite(numbers(frame)).all()


@pytest.mark.parametrize("transform", [None, SeriesScaler(), make_pipeline(Log(), SeriesScaler())])
def test_qlike_needs_the_logarithm_alone(panel, transform):
    with pytest.raises(ValueError, match=r"'head': expected a positive target and transform=Log"):
        make_model(head=Point("qlike"), transform=transform).fit(panel)


@pytest.mark.filterwarnings("ignore:.*fewer than lookback")
@pytest.mark.parametrize("normalize", [None, "ewm"])
def test_qlike_forecasts_the_mean_of_a_variance(normalize):
    """Of squared normal numbers around a variance of 4: the mean, not the median."""
    rng = np.random.default_rng(0)
    panel = pd.DataFrame({"y": 4 * rng.chisquare(4, size=400) / 4})
    options = {"past": None, "transform": Log(), "baseline": None, "max_epochs": 12}
    options |= {"normalize": normalize, "lookback": 2, "learning_rate": 0.02, "batch_size": 32}

    def level(head) -> float:
        model = make_model(head=head, **options).fit(panel)
        return float(model.forecast_origins(panel.iloc[:-H])["forecast"].median())

    median = 4 * stats.chi2.ppf(0.5, 4) / 4
    assert level(Point("qlike")) == pytest.approx(4.0, rel=0.1)
    assert level(Point()) == pytest.approx(median, rel=0.1)
    assert level(Point("squared")) == pytest.approx(4.0, rel=0.1)


# ------------------------------------------------------------------------- means behind a transform


@pytest.mark.parametrize("normalize", [None, "ewm"])
@pytest.mark.parametrize("members", [1, 2])
def test_the_mean_of_a_gaussian_behind_a_logarithm_is_the_lognormal_mean(panel, normalize, members):
    noisy = panel.assign(y=panel["y"] * np.exp(np.random.default_rng(1).normal(size=120)))
    model = make_model(head="gaussian", transform=Log(["y"]), normalize=normalize)
    model.set_params(n_members=members).fit(noisy)
    expected = []
    for network in model.networks_:
        frame = alone(model, network).predict()
        sigma = np.log(frame["q0.9"] / frame["q0.5"]) / stats.norm.ppf(0.9)
        assert sigma.min() > 0.3
        expected.append(frame["q0.5"] * np.exp(sigma**2 / 2))
    np.testing.assert_allclose(model.predict()["forecast"], np.mean(expected, axis=0), rtol=1e-6)


def test_the_forecast_of_other_heads_behind_a_logarithm_stays_the_median(panel):
    for head in ("quantiles", "studentt"):
        frame = make_model(head=head, transform=Log(["y"])).fit(panel).predict()
        np.testing.assert_allclose(frame["forecast"], frame["q0.5"], rtol=1e-12)


def test_squared_error_behind_a_logarithm_is_smeared_over_the_residuals():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": np.exp(0.5 * rng.normal(size=300))})
    y = np.log(frame["y"].to_numpy())
    origins = np.arange(L - 1, 300 - H)
    smeared = untrained(past=None, head=Point("squared"), transform=Log()).fit(frame).predict()
    plain = untrained(past=None, head=Point(), transform=Log()).fit(frame).predict()
    for step in range(1, H + 1):
        residuals = y[origins + step] - y[origins]
        expected = frame["y"].iloc[-1] * np.exp(residuals).mean()  # Duan (1983)
        assert smeared["forecast"].iloc[step - 1] == pytest.approx(expected, rel=0.05)
        assert plain["forecast"].iloc[step - 1] == pytest.approx(frame["y"].iloc[-1], rel=1e-9)
        assert expected > 1.2 * frame["y"].iloc[-1]


def test_a_transform_that_is_linear_leaves_the_mean_where_it_is():
    """The untrained network is the baseline, also where the baseline is off by as much each day."""
    drift = pd.DataFrame({"y": np.arange(60.0) + 0.1 * np.random.default_rng(0).normal(size=60)})
    for head in ("gaussian", Point("squared")):
        model = untrained(past=None, head=head, transform=SeriesScaler()).fit(drift)
        np.testing.assert_allclose(model.predict()["forecast"], drift["y"].iloc[-1], rtol=1e-6)


# ---------------------------------------------------------------------------------------- ensembles


def alone(model: RecurrentForecaster, network) -> RecurrentForecaster:
    """The model with one of its members."""
    single = copy.copy(model)
    single._members = copy.copy(model._members)
    single._members.networks = [network]
    return single


def apart(head) -> RecurrentForecaster:
    """Three members that say quite different things."""
    model = make_model(head=head, n_members=3, past=None).fit(counts_panel())
    for shift, network in zip((-1.5, 0.0, 2.0), model.networks_):
        with torch.no_grad():
            network.decoder.bias += shift * 0.3
    return model


def test_distributions_of_members_are_mixed():
    model = apart("gaussian")
    frame = model.predict()
    singles = [alone(model, network).predict() for network in model.networks_]
    for level in DECILES:
        below = []
        for single in singles:
            mean = single["q0.5"]
            scale = (single["q0.9"] - mean) / stats.norm.ppf(0.9)
            below.append(stats.norm.cdf(frame[f"q{level:g}"], mean, scale))
        np.testing.assert_allclose(np.mean(below, axis=0), level, atol=0.01)
    averaged = np.mean([numbers(single) for single in singles], axis=0)
    assert (numbers(frame)[:, 9] - numbers(frame)[:, 1] > averaged[:, 9] - averaged[:, 1]).all()
    np.testing.assert_allclose(frame["forecast"], averaged[:, 0], rtol=1e-9)  # mean of the means


TAILS = (1e-4, 0.001, 0.0025, 0.01, 0.1, 0.5, 0.9, 0.999)


class Foreign(tsf.Gaussian):
    """A head whose distribution function is not known."""


@pytest.mark.parametrize(
    "head", [tsf.Gaussian(TAILS), tsf.StudentT(TAILS), tsf.Poisson(TAILS)], ids=str
)
def test_a_mixture_of_equal_members_has_their_quantiles_also_in_the_tails(head):
    model = apart(head)
    model._members.networks = [model.networks_[2]] * 3
    single = alone(model, model.networks_[2])
    columns = [f"q{level:g}" for level in TAILS]
    np.testing.assert_array_equal(model.predict()[columns], single.predict()[columns])


@pytest.mark.parametrize("known", [True, False])
def test_quantiles_of_a_mixture_are_those_of_its_distribution_function(known, monkeypatch):
    model = apart(tsf.Gaussian(TAILS))
    if not known:  # as of a head that is not ours
        monkeypatch.setattr("tsforecast.estimators._members.Gaussian", Foreign)
    frame = model.predict()
    singles = [alone(model, network).predict() for network in model.networks_]
    for level in TAILS:
        shares = []
        for single in singles:
            scale = (single["q0.9"] - single["q0.5"]) / stats.norm.ppf(0.9)
            shares.append(stats.norm.cdf(frame[f"q{level:g}"], single["q0.5"], scale))
        np.testing.assert_allclose(np.mean(shares, axis=0), level, rtol=1e-5 if known else 0.01)


def test_quantiles_of_mixed_counts_are_the_least_that_reach_the_level():
    model = apart(tsf.Poisson(TAILS))
    frame = model.predict()
    rates = [alone(model, network).predict()["forecast"] for network in model.networks_]
    for level in TAILS:
        q = frame[f"q{level:g}"]
        at, under = (np.mean([stats.poisson.cdf(k, rate) for rate in rates], 0) for k in (q, q - 1))
        assert (at >= level - 1e-9).all() and (under < level + 1e-9).all()


def test_a_mixture_of_counts_is_made_of_counts():
    model = apart("poisson")
    frame = model.predict()
    quantiles = numbers(frame)[:, 1:]
    np.testing.assert_allclose(quantiles, np.round(quantiles), atol=1e-9)
    rates = [alone(model, network).predict()["forecast"] for network in model.networks_]
    np.testing.assert_allclose(frame["forecast"], np.mean(rates, axis=0), rtol=1e-9)
    for level in (0.1, 0.5, 0.9):
        q = frame[f"q{level:g}"]
        at, under = (
            np.mean([stats.poisson.cdf(value, rate) for rate in rates], axis=0)
            for value in (q, q - 1)
        )
        assert (at >= level - 0.02).all() and (under <= level + 0.02).all()


@pytest.mark.parametrize("head", ["quantiles", "gaussian", "point"])
def test_spread_is_the_standard_deviation_of_the_members(head):
    model = apart(head)
    frame = model.predict(spread=True)
    assert list(frame.columns) == [*model.predict().columns, "spread"]
    singles = [alone(model, network).predict()["forecast"] for network in model.networks_]
    np.testing.assert_allclose(frame["spread"], np.std(singles, axis=0), rtol=1e-6)
    assert (frame["spread"] > 0.01).all()
    assert_equal(frame.drop(columns="spread"), model.predict())


def test_one_member_has_no_spread(model):
    assert model.predict(spread=True)["spread"].isna().all()


# ------------------------------------------------------- what a network stands on, kept honest


def test_a_flexible_baseline_does_not_narrow_the_intervals():
    """A forest hardly errs on the rows it was fitted on; the unit comes from other rows."""
    from sklearn.ensemble import RandomForestRegressor

    walk = pd.DataFrame({"y": np.cumsum(np.random.default_rng(0).normal(size=300))})
    forest = tsf.LagRegressor(estimator=RandomForestRegressor(10, random_state=0), lags=4)
    model = untrained(past=None, horizon=1, baseline=forest).fit(walk[:250])
    frame = model.forecast_origins(walk).iloc[250:-1]
    actual = walk["y"].reindex(frame.index).to_numpy()
    inside = (frame["q0.1"].to_numpy() <= actual) & (actual <= frame["q0.9"].to_numpy())
    assert inside.mean() > 0.6


def test_without_validation_a_mean_behind_a_logarithm_does_not_believe_a_forest_either():
    """Of the rows that it was fitted on a forest leaves a third of the spread."""
    from sklearn.ensemble import RandomForestRegressor

    steps = np.random.default_rng(0).normal(size=1200)
    level = np.zeros(1200)
    for t in range(1, 1200):
        level[t] = 0.6 * level[t - 1] + 0.8 * steps[t]
    frame = pd.DataFrame({"y": np.exp(level)})
    forest = tsf.LagRegressor(
        estimator=RandomForestRegressor(10, random_state=0), lags=4, transform=tsf.Log()
    )
    model = make_model(
        past=None,
        horizon=1,
        baseline=forest,
        transform=tsf.Log(),
        head=tsf.Point("squared"),
        training=tsf.Training(max_epochs=1, validation=None, learning_rate=1e-9),
    ).fit(frame[:600])
    said = model.forecast_origins(frame, frame.index[600:-1])["forecast"]
    plain = model.baseline_.forecast_origins(frame, frame.index[600:-1])["forecast"]
    errors = np.log(frame["y"].to_numpy()[601:] / plain.to_numpy())
    wanted = np.exp(errors - errors.mean()).mean()
    assert said.sum() / plain.sum() == pytest.approx(wanted, rel=0.15)
    assert wanted > 1.4


def test_parts_too_short_for_a_flexible_baseline_are_passed_over(monkeypatch):
    """Rows of which it can say nothing honest teach nothing, the rest as if they were all."""
    walks = tsf.make_prices(3, 150, random_state=0)
    lags = tsf.LagRegressor(target="close", horizon=2, levels=(), lags=40)
    learnable, seen = RecurrentForecaster._learnable, []

    def looked_at(self, rows):
        seen.append((rows, learnable(self, rows)))
        return seen[-1][1]

    monkeypatch.setattr(RecurrentForecaster, "_learnable", looked_at)
    model = untrained(target="close", past=None, horizon=2, lookback=4, baseline=lags)
    assert np.isfinite(numbers(model.fit(walks).predict())).all()
    ((rows, taught),) = seen  # 150 rows of each series, in parts of 30
    row = np.arange(rows.layout.n_rows) - rows.layout.starts[rows.layout.codes()]
    np.testing.assert_array_equal(np.isfinite(rows.base[:, 0, 0]), row >= 60)
    np.testing.assert_array_equal(taught, (row >= 60) & (row < 148))
    times = walks.index.get_level_values(1).unique().sort_values()
    known = walks[walks.index.get_level_values(1) <= times[89]]
    plain = clone(lags).fit(known[known.index.get_level_values(1) <= times[59]])
    said = plain.forecast_origins(known, times[60:90])["forecast"].to_numpy().reshape(-1, 2)
    np.testing.assert_array_equal(rows.base[(row >= 60) & (row < 90), 0], said)


def test_rows_too_few_for_an_honest_flexible_baseline_are_named():
    walks = tsf.make_prices(3, 40, random_state=0)  # enough for the baseline itself
    lags = tsf.LagRegressor(lags=36)
    model = untrained(target="close", past=None, horizon=1, lookback=4, baseline=lags)
    said = r"baseline, LagRegressor \(column 'close'\): .*found 96 of 120, where.* 32 in the"
    with pytest.raises(DataError, match=said):
        model.fit(walks)


@pytest.mark.filterwarnings("ignore")
def test_a_combination_as_baseline_is_one_whose_members_are_of_the_target_and_horizon(tmp_path):
    frame = one_series(60)[["y"]]
    same = {"target": "y", "horizon": 2}
    mean = tsf.Combination({"drift": tsf.Drift(**same), "lags": tsf.LagRegressor(**same, lags=2)})
    model = untrained(past=None, horizon=2, baseline=mean).fit(frame)
    plain = clone(mean).fit(frame)
    np.testing.assert_allclose(model.predict()["forecast"], plain.predict(frame)["forecast"])
    tsf.save(model, tmp_path / "model", tail=True)
    again = tsf.load(tmp_path / "model")
    assert_equal(again.predict(), model.predict())
    assert_equal(again.forecast_origins(frame), model.forecast_origins(frame))
    with pytest.raises(ValueError, match="'baseline'.*found 'Combination'.*predict"):
        tsf.Stream(model, frame)
    tsf.check_no_lookahead(clone(model), frame)
    for changed, message in (
        ({"horizon": 3}, "'baseline': expected members of horizon 3"),
        ({"target": "x", "horizon": 2}, "'baseline': expected a forecaster of "),
        ({"baseline": tsf.Combination({})}, "'estimators': expected a dict of forecasters"),
    ):
        with pytest.raises(ValueError, match=message):
            clone(model).set_params(**changed).fit(one_series(60))


@pytest.mark.parametrize(
    "baseline",
    [
        tsf.ConformalForecaster(tsf.EWMA(target="y", horizon=2)),
        FrozenEstimator(tsf.EWMA(target="y", horizon=2)),
    ],
)
def test_intervals_and_what_is_frozen_are_no_baselines(baseline):
    with pytest.raises(ValueError, match="'baseline': expected an estimator with a target and a"):
        untrained(past=None, horizon=2, baseline=baseline).fit(one_series(60)[["y"]])


@pytest.mark.parametrize("group", [None, "ward"])
def test_errors_of_a_flexible_baseline_of_stays_come_from_fits_on_other_stays(monkeypatch, group):
    """All stays begin at hour 0: there is no time before in which others could teach."""
    from sklearn.tree import DecisionTreeRegressor

    stays = pd.MultiIndex.from_product([[f"s{i:02d}" for i in range(14)], range(12)])
    panel = pd.DataFrame({"y": np.random.default_rng(1).normal(size=len(stays))}, index=stays)
    panel = panel.rename_axis(["stay", "hour"]).assign(ward=np.arange(len(stays)) // 24)
    trees = tsf.LagRegressor(
        target="y", horizon=1, lags=2, levels=(), estimator=DecisionTreeRegressor(random_state=0)
    )
    learnable, seen = RecurrentForecaster._learnable, []
    monkeypatch.setattr(
        RecurrentForecaster,
        "_learnable",
        lambda self, rows: seen.append(rows) or learnable(self, rows),
    )
    settings = {"past": None, "horizon": 1, "lookback": 2, "validation": "series", "group": group}
    untrained(baseline=trees, **settings).fit(panel)
    (rows,) = seen
    taught = panel.loc[rows.layout.names()]
    assert len(taught) == rows.layout.n_rows < len(panel)
    names = taught["ward"] if group else taught.index.get_level_values("stay")
    part = np.unique(names, return_inverse=True)[1] % 5
    for fold in range(5):
        plain = clone(trees).fit(taught[part != fold])
        said = plain.forecast_origins(taught[part == fold])["forecast"]
        np.testing.assert_array_equal(rows.base[part == fold, 0, 0], said)


@pytest.mark.parametrize("transform", [tsf.Log(), tsf.Bounded(0.0, 100.0)])
def test_a_baseline_beyond_the_domain_of_the_transform_is_taken_to_its_edge(transform):
    falling = pd.DataFrame({"y": np.linspace(60.0, 0.5, 40) + 0.1 * np.sin(np.arange(40))})
    model = untrained(past=None, horizon=12, baseline=tsf.Drift(), transform=transform)
    frame = model.fit(falling).predict()
    assert (frame["forecast"] > 0).all()
    assert frame["forecast"].iloc[-1] < 0.5


def test_more_history_than_lookback_may_be_asked_for():
    frame = one_series(40)
    model = make_model(past=None, lookback=4, min_history=9).fit(frame)
    np.testing.assert_array_equal(numbers(model.predict()), numbers(model.predict(frame)))
    with pytest.warns(UserWarning, match="min_history=9"):
        model.predict(frame[-8:])


def test_a_target_never_seen_in_a_series_leaves_the_others_alone(panel):
    bare = panel.copy()
    bare.loc["s0", "x"] = np.nan
    model = make_model(target=["y", "x"], past=None).fit(bare)
    with pytest.warns(UserWarning, match="no known value yet of some targets"):
        frame = model.predict(bare)
    y = rows_of(frame, "y").loc["s0"]
    assert (y["forecast"] != panel.loc["s0", "y"].iloc[-1]).any()  # no mere baseline
    assert np.isnan(numbers(rows_of(frame, "x").loc["s0"])).all()


def test_a_scaler_per_series_and_validation_on_series_do_not_go_together(panel):
    with pytest.raises(ValueError, match="'transform': expected no scaler per series"):
        make_model(transform=tsf.SeriesScaler(), validation="series").fit(panel)


def test_seasons_are_different_ones():
    with pytest.raises(ValueError, match="'season': expected each season once"):
        make_model(season=(4, 4)).fit(one_series(40))


def test_validation_origins_are_spread_over_time():
    from tsforecast.data.splits import spread_evenly

    stamps = np.tile(np.arange(8), 100)  # 100 series of 8 rows: every eighth row has one time
    kept = spread_evenly(stamps, 100)
    assert len(kept) == 100
    assert set(np.bincount(stamps[kept])) <= {12, 13}
    assert (np.diff(kept) > 0).all()


def test_counts_are_asked_for_in_predict_too():
    counts = pd.DataFrame({"y": np.random.default_rng(0).poisson(3.0, 60).astype(float)})
    model = make_model(past=None, head="poisson", baseline=None).fit(counts)
    with pytest.raises(DataError, match="target is no count"):
        model.predict(counts - 5)


def test_a_season_longer_than_every_series_is_refused():
    wanted = r"column 'y'.*at least 51 rows, more than the longest of `season`, 50, found 40 in"
    with pytest.raises(DataError, match=wanted):
        make_model(past=None, season=50).fit(one_series(40)[["y"]])
