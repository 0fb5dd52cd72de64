"""Baselines against plain numpy and pandas, and what holds for every one of them."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tsforecast._checks import DataError
from tsforecast.data import tables
from tsforecast.estimators.baselines import (
    EWMA,
    Baseline,
    Drift,
    Naive,
    RandomWalk,
    SeasonalNaive,
)
from tsforecast.estimators.volatility import HAR

H = 4
MODELS = {
    "naive": Naive(horizon=H),
    "seasonal": SeasonalNaive(season=7, horizon=H),
    "drift": Drift(horizon=H),
    "ewma": EWMA(horizon=H),
    "ewma of given weight": EWMA(horizon=H, alpha=0.3),
    "walk": RandomWalk(horizon=H),
    "har": HAR(horizon=H, lags=(1, 5, 12)),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
NUMBERS = ["forecast", *(f"q0.{j}" for j in range(1, 10))]


def make_panel(
    lengths: dict[str, int] | None = None, *, seed: int = 0, missing: float = 0.1
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = {}
    for name, length in (lengths or {"a": 220, "b": 160, "c": 60}).items():
        season = 2 * np.sin(np.arange(length) * 2 * np.pi / 7)
        y = 10 + season + rng.normal(size=length).cumsum() * 0.3 + rng.normal(size=length)
        y[1:] = np.where(rng.random(length - 1) < missing, np.nan, y[1:])
        parts[name] = pd.DataFrame({"y": y}, index=pd.RangeIndex(length, name="time"))
    return pd.concat(parts, names=["series"])


def one_series(values: object, *, start: str = "2024-01-01") -> pd.DataFrame:
    values = np.asarray(values, dtype=float)
    days = pd.date_range(start, periods=len(values), name="day")
    return pd.DataFrame({"y": values}, index=days)


def points(model: Baseline, panel: pd.DataFrame) -> np.ndarray:
    """Forecasts at every row, (N, H)."""
    return model.forecast_origins(panel)["forecast"].to_numpy().reshape(len(panel), -1)


@pytest.mark.parametrize("cells", [64, 1 << 18])
def test_error_quantiles_are_those_of_each_series_or_of_all(cells, monkeypatch):
    """Series by series with numpy, in tables of a few cells and in large ones, to the last bit."""
    monkeypatch.setattr(tables, "_CELLS", cells)
    lengths = {"a": 400, "b": 90, "c": 130, "d": 250, "e": 105, "f": 2}
    panel = make_panel(lengths, missing=0.1)
    levels = (0.03, 0.5, 0.9, 0.99)
    model = Drift(horizon=H, levels=levels).fit(panel)
    said = points(model, panel)
    errors = {}
    for name, rows in panel.groupby(level=0).indices.items():
        y = panel["y"].iloc[rows]
        errors[name] = np.stack([y.shift(-k) for k in range(1, H + 1)], axis=1) - said[rows]
    pooled = np.concatenate(list(errors.values()))
    own = []
    for number, name in enumerate(lengths):
        enough = np.isfinite(errors[name]).sum(axis=0).min() >= 100
        own.append(enough)
        table = errors[name] if enough else pooled
        expected = [np.quantile(step[np.isfinite(step)], levels) for step in table.T]
        np.testing.assert_array_equal(model._error_quantiles[number], expected)
    assert own == [True, False, True, True, False, False]


# ---------------------------------------------------------------------- what holds for all of them


@every_model
def test_frame_has_the_columns_and_rows_of_the_contract(model):
    frame = clone(model).fit(make_panel()).predict()
    assert list(frame.columns) == ["target", "cutoff", "step", *NUMBERS]
    assert list(frame.index.names) == ["series", "time"]
    assert frame["step"].tolist() == [1, 2, 3, 4] * 3
    assert frame.loc["b"].index.tolist() == [160, 161, 162, 163]
    assert (frame.loc["b", "cutoff"] == 159).all()
    assert (frame["target"] == "y").all()
    assert (np.diff(frame[NUMBERS[1:]].to_numpy(), axis=1) >= 0).all()


@every_model
def test_forecasts_ignore_rows_after_the_cutoff(model):
    panel = make_panel()
    fitted = clone(model).fit(panel)
    altered = panel.copy()
    late = panel.index.get_level_values("time") > 100
    altered.loc[late, "y"] = np.random.default_rng(1).normal(size=late.sum()) * 1e3
    altered.loc[late & (panel.index.get_level_values("time") % 3 == 0), "y"] = np.nan
    cutoffs = pd.Index([5, 40, 100])
    before = fitted.forecast_origins(panel, cutoffs)
    after = fitted.forecast_origins(altered, cutoffs)
    pd.testing.assert_frame_equal(before, after, check_exact=True)


@every_model
def test_predict_from_memory_equals_predict_from_the_panel(model):
    panel = make_panel()
    fitted = clone(model).fit(panel)
    pd.testing.assert_frame_equal(fitted.predict(), fitted.predict(panel), check_exact=True)


@every_model
def test_forecast_origins_equals_predict_on_the_truncated_panel(model):
    panel = make_panel()
    fitted = clone(model).fit(panel)
    at_once = fitted.forecast_origins(panel, pd.Index([0, 3, 30, 59]))
    for cutoff in (0, 3, 30, 59):
        known = panel[panel.index.get_level_values("time") <= cutoff]
        expected = at_once[at_once["cutoff"] == cutoff]
        pd.testing.assert_frame_equal(fitted.predict(known), expected, check_exact=True)


@every_model
def test_series_alone_is_forecast_as_within_the_panel(model):
    panel = make_panel()
    fitted = clone(model).fit(panel)
    whole = fitted.predict(panel)
    for name in ("a", "b", "c"):
        alone = fitted.predict(panel.loc[[name]])
        np.testing.assert_allclose(
            alone[NUMBERS].to_numpy(), whole.loc[[name], NUMBERS].to_numpy(), rtol=0, atol=1e-12
        )


@every_model
def test_order_of_the_series_blocks_does_not_matter(model):
    panel = make_panel()
    shuffled = pd.concat([panel.loc[["c"]], panel.loc[["a"]], panel.loc[["b"]]])
    pd.testing.assert_frame_equal(
        clone(model).fit(panel).predict(), clone(model).fit(shuffled).predict(), check_exact=True
    )


@every_model
def test_unseen_series_is_forecast_with_pooled_errors(model):
    panel = make_panel()
    fitted = clone(model).fit(panel)
    renamed = panel.loc[["c"]].rename(index={"c": "new"}, level=0)
    unseen = fitted.predict(renamed)
    # c is too short for error quantiles of its own: seen or unseen, it has the pooled ones
    np.testing.assert_array_equal(
        unseen[NUMBERS].to_numpy(), fitted.predict(panel).loc[["c"], NUMBERS].to_numpy()
    )


@every_model
def test_constant_target_is_forecast_as_it_is(model):
    frame = clone(model).fit(one_series(np.full(60, 3.7))).predict()
    np.testing.assert_allclose(frame[NUMBERS].to_numpy(), 3.7, rtol=1e-12)


@every_model
def test_origin_before_the_first_known_value_has_no_forecast(model):
    panel = make_panel({"a": 200})
    fitted = clone(model).fit(panel)
    late = panel.copy()
    late.iloc[:3] = np.nan
    known = np.isfinite(fitted.forecast_origins(late)[NUMBERS].to_numpy()).reshape(200, H, -1)
    assert not known[:3].any()
    assert known[3:].all()


@every_model
def test_levels_choose_the_quantiles(model):
    panel = make_panel()
    frame = clone(model).set_params(levels=(0.05, 0.5)).fit(panel).predict()
    assert list(frame.columns[4:]) == ["q0.05", "q0.5"]
    median = clone(model).fit(panel).predict()["q0.5"]
    np.testing.assert_array_equal(frame["q0.5"], median)
    bare = clone(model).set_params(levels=()).fit(panel).predict()
    assert list(bare.columns) == ["target", "cutoff", "step", "forecast"]


@every_model
def test_model_can_be_cloned_pickled_and_shown(model):
    panel = make_panel()
    fitted = clone(model).fit(panel)
    again = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)
    assert clone(fitted).get_params() == model.get_params()
    assert type(model).__name__ in fitted._repr_html_()
    assert model.is_baseline


@every_model
def test_fit_leaves_its_panel_alone_and_keeps_only_a_tail(model):
    panel = make_panel()
    before = panel.copy()
    fitted = clone(model).fit(panel)
    pd.testing.assert_frame_equal(panel, before)
    assert fitted._tail.layout.n_rows <= 3 * 12


@every_model
def test_too_few_rows_are_refused_with_the_number_needed(model):
    needed = {SeasonalNaive: 7 + H, HAR: 12 + H}.get(type(model), 1 + H)
    rng = np.random.default_rng(0)
    more = 7 if isinstance(model, HAR) else 0  # two rows for each coefficient, not one
    clone(model).fit(one_series(rng.normal(size=needed + more)))
    message = f"too few rows .*expected at least {needed} rows .*found {needed - 1} in the longest"
    with pytest.raises(DataError, match=message):
        clone(model).fit(one_series(rng.normal(size=needed - 1)))


@every_model
def test_single_known_value_is_refused(model):
    values = np.full(50, np.nan)
    values[10] = 1.0
    with pytest.raises(DataError, match="too few known rows .*at least 2 known values .*found 1"):
        clone(model).fit(one_series(values))


@every_model
def test_series_of_one_row_is_forecast_by_a_fitted_model(model):
    frame = clone(model).fit(make_panel()).predict(make_panel({"new": 1}))
    assert np.isfinite(frame[NUMBERS].to_numpy()).all()


@every_model
def test_column_without_any_value_is_refused(model):
    with pytest.raises(DataError, match="column without any value .*'y'"):
        clone(model).fit(one_series(np.full(50, np.nan)))


@every_model
@pytest.mark.parametrize(
    "levels", [(0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5), 0.5, None, "0.5", ("a",)], ids=str
)
def test_bad_levels_are_refused(model, levels):
    with pytest.raises(
        ValueError, match=r"'levels': expected increasing numbers in \(0, 1\), such"
    ):
        clone(model).set_params(levels=levels).fit(make_panel())


@every_model
def test_failed_fit_leaves_the_model_unfitted(model):
    unfitted = clone(model)
    with pytest.raises(DataError):
        unfitted.fit(one_series([1.0]))
    with pytest.raises(NotFittedError):
        unfitted.predict()


@every_model
def test_score_compares_with_the_naive_forecast(model):
    panel = make_panel({"a": 220}, missing=0)
    fitted = clone(model).fit(panel.iloc[:150])
    y = panel["y"].to_numpy()
    rows = np.arange(149, 220 - H)
    actual = y[rows[:, None] + np.arange(1, H + 1)]
    naive = np.abs(actual - y[rows, None]).mean()
    error = np.abs(actual - points(fitted, panel)[rows]).mean()
    assert fitted.score(panel) == pytest.approx(1 - error / naive, abs=1e-12)


def test_target_is_chosen_by_name():
    panel = one_series(np.arange(20.0)).assign(other=5.0)
    frame = Naive(target="other").fit(panel).predict()
    assert frame[["target", "forecast"]].to_numpy().tolist() == [["other", 5.0]]
    with pytest.raises(ValueError, match=r"'target': expected one of the columns \['y', 'other'\]"):
        Naive().fit(panel)


def test_baselines_load_without_torch():
    code = "import sys, tsforecast.estimators.volatility; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --------------------------------------------------------------------------------- error quantiles


def test_quantiles_are_the_point_plus_quantiles_of_its_training_errors():
    panel = make_panel()
    model = SeasonalNaive(season=7, horizon=H).fit(panel)
    frame = model.predict()
    point = points(model, panel)
    pooled, own = [], {}
    for name, start, stop in (("a", 0, 220), ("b", 220, 380), ("c", 380, 440)):
        y = panel["y"].to_numpy()[start:stop]
        own[name] = [
            np.array([y[t + k] - point[start + t, k - 1] for t in range(6, len(y) - k)])
            for k in range(1, H + 1)
        ]
        pooled.append(own[name])
    own["c"] = [np.concatenate([part[k] for part in pooled]) for k in range(H)]
    for name, errors in own.items():
        expected = np.stack([np.nanquantile(e, np.arange(1, 10) / 10) for e in errors])
        found = frame.loc[name, NUMBERS].to_numpy()
        np.testing.assert_allclose(found[:, 1:], found[:, :1] + expected, rtol=1e-12)


def test_series_has_quantiles_of_its_own_from_a_hundred_errors_on():
    rng = np.random.default_rng(0)
    lengths = {"long": 101 + H - 1, "short": 100 + H - 1, "wide": 300}
    scale = {"long": 1.0, "short": 1.0, "wide": 100.0}
    parts = {name: one_series(rng.normal(size=n) * scale[name]) for name, n in lengths.items()}
    frame = Naive(horizon=H).fit(pd.concat(parts, names=["series"])).predict()
    width = (frame["q0.9"] - frame["q0.1"]).groupby(level=0).min()
    assert width["long"] < 5
    assert width["short"] > 20


def test_step_without_any_training_error_is_refused():
    values = np.tile([1.0, np.nan, 2.0, np.nan], 10)
    # known values are forecast from known rows and gaps alike, so all steps have errors
    assert np.isfinite(Naive(horizon=3).fit(one_series(values)).predict()["forecast"]).all()
    gap = np.full(30, np.nan)
    gap[26:28] = [1.0, 2.0]
    message = "too few known rows .*a known value 2 rows before another one.*none at step 2"
    with pytest.raises(DataError, match=message):
        Naive(horizon=3).fit(one_series(gap))


# -------------------------------------------------------------------------------------- the points


def test_naive_repeats_the_last_known_value():
    panel = make_panel()
    expected = panel.groupby(level=0)["y"].ffill().to_numpy()
    found = points(Naive(horizon=H).fit(panel), panel)
    np.testing.assert_array_equal(found, np.repeat(expected[:, None], H, axis=1))


@pytest.mark.parametrize("season", [1, 3, 7])
def test_seasonal_naive_agrees_with_a_plain_loop(season):
    panel = make_panel()
    horizon = 8
    found = points(SeasonalNaive(season=season, horizon=horizon).fit(panel), panel)
    filled = panel.groupby(level=0)["y"].ffill().to_numpy()
    for start, stop in ((0, 220), (220, 380), (380, 440)):
        for row in range(start, stop):
            for k in range(1, horizon + 1):
                source = row + k
                while source > row:
                    source -= season
                expected = filled[source] if source >= start else filled[row]
                assert found[row, k - 1] == expected


def test_drift_extends_the_line_from_the_first_to_the_last_known_value():
    panel = make_panel({"a": 40, "b": 30}, missing=0.3)
    panel.iloc[:3] = np.nan
    found = points(Drift(horizon=H).fit(panel), panel)
    for start, stop in ((0, 40), (40, 70)):
        y = panel["y"].to_numpy()[start:stop]
        for t in range(len(y)):
            known = np.flatnonzero(np.isfinite(y[: t + 1]))
            if len(known) == 0:
                expected = np.full(H, np.nan)
            elif len(known) == 1:
                expected = np.full(H, y[known[0]])
            else:
                line = np.polyfit(known[[0, -1]], y[known[[0, -1]]], 1)
                expected = np.polyval(line, t + np.arange(1, H + 1))
            np.testing.assert_allclose(found[start + t], expected, rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 1])
def test_ewma_agrees_with_a_plain_loop(alpha):
    panel = make_panel(missing=0.3)
    panel.iloc[:4] = np.nan
    found = points(EWMA(horizon=2, alpha=alpha).fit(panel), panel)
    for name, start in (("a", 0), ("b", 220), ("c", 380)):
        level = np.nan
        for t, value in enumerate(panel.loc[name, "y"]):
            if np.isfinite(value):
                level = value if np.isnan(level) else alpha * value + (1 - alpha) * level
            np.testing.assert_allclose(found[start + t], [level, level], rtol=1e-12)


def test_ewma_agrees_with_pandas():
    panel = make_panel({"a": 100}, missing=0)
    expected = panel["y"].ewm(alpha=0.2, adjust=False).mean().to_numpy()
    found = points(EWMA(alpha=0.2).fit(panel), panel)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ewma_chooses_the_weight_with_the_least_one_step_error():
    panel = make_panel()
    model = EWMA(horizon=H).fit(panel)

    def loss(alpha: float) -> float:
        level = panel.groupby(level=0)["y"].transform(
            lambda y: y.ewm(alpha=alpha, adjust=False, ignore_na=True).mean().shift()
        )
        return float(((panel["y"] - level) ** 2).mean())

    grid = np.linspace(0.01, 1, 100)
    losses = np.array([loss(alpha) for alpha in grid])
    assert 0.05 < model.alpha_ < 0.95
    assert loss(model.alpha_) <= losses.min()
    assert abs(model.alpha_ - grid[losses.argmin()]) <= 0.01


def test_ewma_finds_the_weight_of_a_local_level():
    # local level of signal-to-noise ratio q: alpha = (sqrt(q^2 + 4q) - q) / 2
    rng = np.random.default_rng(0)
    q = 0.1
    y = (rng.normal(size=20_000) * np.sqrt(q)).cumsum() + rng.normal(size=20_000)
    model = EWMA(levels=()).fit(one_series(y, start="1960-01-01"))
    assert model.alpha_ == pytest.approx((np.sqrt(q**2 + 4 * q) - q) / 2, abs=0.03)


def test_ewma_of_a_straight_line_is_the_naive_forecast():
    model = EWMA().fit(one_series(np.arange(50.0)))
    assert model.alpha_ == 1.0
    assert model.predict()["forecast"].tolist() == [49.0]


@pytest.mark.parametrize("alpha", [0, 1.5, -0.1, "auto", True, np.nan])
def test_bad_weight_is_refused(alpha):
    message = rf"'alpha': expected a number in \(0, 1\], found {re.escape(repr(alpha))}"
    with pytest.raises(ValueError, match=message):
        EWMA(alpha=alpha).fit(make_panel())


@pytest.mark.parametrize("season", [0, 2.5, "week", True])
def test_bad_season_is_refused(season):
    with pytest.raises(ValueError, match="'season': expected a whole number of at least 1"):
        SeasonalNaive(season=season).fit(make_panel())


# ------------------------------------------------------------------------------------- random walk


def test_random_walk_agrees_with_a_plain_loop():
    panel = make_panel(missing=0.2)
    panel.iloc[:2] = np.nan
    decay = 0.9
    frame = RandomWalk(horizon=H, decay=decay).fit(panel).forecast_origins(panel)
    found = frame[NUMBERS].to_numpy().reshape(len(panel), H, -1)

    squares = []
    for name in ("a", "b", "c"):
        known = panel.loc[name, "y"].dropna()
        squares += list(known.diff().iloc[1:] ** 2 / np.diff(known.index))
    z = norm.ppf(np.arange(1, 10) / 10)
    row = 0
    for name in ("a", "b", "c"):
        variance, last, at = np.mean(squares), np.nan, 0
        for t, value in enumerate(panel.loc[name, "y"]):
            if np.isfinite(value):
                if np.isfinite(last):
                    step = (value - last) ** 2 / (t - at)
                    variance = decay * variance + (1 - decay) * step
                last, at = value, t
            ahead = t - at + np.arange(1, H + 1)
            if np.isfinite(last):
                expected = last + np.sqrt(variance * ahead)[:, None] * z
                np.testing.assert_allclose(found[row, :, 0], last)
                np.testing.assert_allclose(found[row, :, 1:], expected, rtol=1e-10)
            else:
                assert np.isnan(found[row]).all()
            row += 1


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_random_walk_interval_covers_eighty_percent_at_every_step(missing):
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(400, 150)).cumsum(axis=1)
    horizon, cutoff = 10, 120
    known = np.where(rng.random(walk.shape) < missing, np.nan, walk)
    index = pd.MultiIndex.from_product([range(400), range(150)], names=["walk", "time"])
    panel = pd.DataFrame({"y": known.ravel()}, index=index)
    model = RandomWalk(horizon=horizon, decay=0.97).fit(panel)
    frame = model.forecast_origins(panel, pd.Index([cutoff]))
    actual = walk[:, cutoff + 1 : cutoff + 1 + horizon].ravel()
    inside = (frame["q0.1"] <= actual) & (actual <= frame["q0.9"])
    coverage = inside.groupby(frame["step"].to_numpy()).mean()
    # 400 walks: standard error 2 %
    assert coverage.between(0.73, 0.87).all()
    assert coverage.mean() == pytest.approx(0.8, abs=0.04)


def test_random_walk_follows_a_change_of_volatility():
    rng = np.random.default_rng(0)
    y = (rng.normal(size=400) * np.repeat([1.0, 5.0], 200)).cumsum()
    model = RandomWalk().fit(one_series(y))
    width = model.forecast_origins(one_series(y)).eval("`q0.9` - `q0.1`").to_numpy()
    assert np.median(width[350:]) / np.median(width[100:200]) == pytest.approx(5, rel=0.3)


@pytest.mark.parametrize("decay", [0, 1, 1.0, "0.94", None])
def test_bad_decay_is_refused(decay):
    with pytest.raises(ValueError, match=r"'decay': expected a number in \(0, 1\), found"):
        RandomWalk(decay=decay).fit(make_panel())
