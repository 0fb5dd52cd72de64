"""Sampled paths: each step as it is forecast, and steps together as residuals were."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from small import H, assert_equal, make_model, make_panel, numbers, one_series, untrained

import tsforecast as tsf
from tsforecast.nn.heads import DECILES, Point
from tsforecast.nn.network import ForecastNetwork

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*fewer than lookback"),
]


def random_walks(n_series: int = 4, n: int = 300, *, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = {
        f"s{i}": pd.DataFrame({"y": rng.normal(size=n).cumsum(), "x": rng.normal(size=n).cumsum()})
        for i in range(n_series)
    }
    return pd.concat(parts, names=["series", "t"])


def paths(frame: pd.DataFrame, horizon: int = H) -> np.ndarray:
    """Values as an array (series and targets, H, n)."""
    n = frame["path"].max() + 1
    return frame["value"].to_numpy().reshape(-1, horizon, n)


def correlation(frame: pd.DataFrame) -> np.ndarray:
    """Correlation of steps over the paths of the first series."""
    return np.corrcoef(paths(frame)[0])


WALKS = random_walks()


@pytest.fixture(scope="module")
def walker() -> tsf.RecurrentForecaster:
    return untrained(past=None, head="gaussian").fit(WALKS)


# ---------------------------------------------------------------------------------------- the frame


def test_paths_stand_below_each_other_under_the_index_of_predict(walker):
    frame = walker.sample(5, random_state=0)
    said = walker.predict()
    assert list(frame.columns) == ["target", "cutoff", "step", "path", "value"]
    assert frame.index.equals(said.index.repeat(5))
    for name in ("target", "cutoff", "step"):
        assert frame[name].tolist() == said[name].repeat(5).tolist()
    assert frame["path"].tolist() == list(range(5)) * 4 * H
    assert np.isfinite(frame["value"]).all()


def test_several_targets_are_sampled_in_the_order_of_predict():
    model = untrained(target=["y", "x"], past=None, transform=tsf.SeriesScaler()).fit(WALKS)
    frame = model.sample(400, random_state=0)
    said = model.predict()
    assert frame.index.equals(said.index.repeat(400))
    assert frame["target"].tolist() == said["target"].repeat(400).tolist()
    middle = np.median(paths(frame, len(said)), axis=2).ravel()
    width = (said["q0.9"] - said["q0.1"]).to_numpy()
    np.testing.assert_allclose((middle - said["q0.5"]) / width, 0, atol=0.12)


def test_a_panel_may_be_given(walker):
    newer = random_walks(2, 40, seed=5)
    frame = walker.sample(300, newer, random_state=0)
    assert frame.index.equals(walker.predict(newer).index.repeat(300))
    centre = paths(frame).mean(axis=(1, 2))
    np.testing.assert_allclose(centre, newer["y"].groupby(level=0).last(), atol=0.4)
    assert_equal(walker.sample(4, WALKS, random_state=1), walker.sample(4, random_state=1))


# --------------------------------------------------------------------------------------- every step


@pytest.mark.parametrize("head", ["quantiles", "gaussian", "studentt"])
@pytest.mark.parametrize("transform", [None, tsf.Log(["y"])], ids=["plain", "log"])
def test_quantiles_of_many_paths_are_those_of_the_forecast(head, transform):
    model = make_model(head=head, transform=transform).fit(make_panel())
    drawn = paths(model.sample(8000, random_state=0)).reshape(3 * H, -1)
    said = numbers(model.predict())[:, 1:]
    for row, quantiles in zip(drawn, said):
        shares = [np.mean(row <= quantile) for quantile in quantiles]
        np.testing.assert_allclose(shares, DECILES, atol=0.02)


@pytest.mark.parametrize("head", ["poisson", "negbinomial"])
def test_sampled_counts_are_counts_of_the_right_mean(head):
    rng = np.random.default_rng(0)
    panel = pd.concat({f"s{i}": pd.DataFrame({"y": rng.poisson(4.0, 60)}) for i in range(3)})
    model = make_model(past=None, head=head).fit(panel)
    drawn = paths(model.sample(6000, random_state=0)).reshape(3 * H, -1)
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-9)
    assert drawn.min() >= 0
    np.testing.assert_allclose(drawn.mean(axis=1), model.predict()["forecast"], rtol=0.06)


def test_paths_follow_the_running_scale_of_their_series():
    panel = WALKS * np.where(WALKS.index.get_level_values(0) == "s0", 100.0, 1.0)[:, None]
    model = untrained(past=None, normalize="ewm").fit(panel)
    widths = paths(model.sample(2000, random_state=0)).std(axis=2)
    frame = model.predict()
    said = (frame["q0.9"] - frame["q0.1"]).to_numpy().reshape(4, H) / (2 * stats.norm.ppf(0.9))
    np.testing.assert_allclose(widths, said, rtol=0.1)
    assert widths[0].min() > 30 * widths[1:].max()


# ----------------------------------------------------------------------------------- steps together


@pytest.mark.parametrize("validation", ["time", None])
@pytest.mark.parametrize("head", ["quantiles", "gaussian"])
def test_steps_of_a_random_walk_hang_together_as_its_errors_do(head, validation):
    model = untrained(past=None, head=head, validation=validation).fit(WALKS)
    found = correlation(model.sample(4000, random_state=0))
    assert found[0, 1] == pytest.approx(np.sqrt(1 / 2), abs=0.1)
    assert found[1, 2] == pytest.approx(np.sqrt(2 / 3), abs=0.1)
    assert found[0, 2] == pytest.approx(np.sqrt(1 / 3), abs=0.12)


def test_dependence_is_that_of_the_ranks_of_the_residuals():
    """Of all training origins where there are few, by numpy and scipy alone."""
    frame = one_series(120)[["y"]]
    model = untrained(past=None, head="gaussian").fit(frame)
    y = frame["y"].to_numpy()
    origins = np.arange(4, 120 - H)
    errors = y[origins[:, None] + np.arange(1, H + 1)] - y[origins, None]
    scores = stats.norm.ppf((stats.rankdata(errors, axis=0) - 0.5) / len(errors))
    expected = scores.T @ scores / np.sqrt(np.outer(*2 * [np.square(scores).sum(axis=0)]))
    found = correlation(model.sample(30_000, random_state=0))
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_steps_whose_errors_are_independent_are_sampled_independently():
    """Around the mean of noise, nothing carries over from step to step."""
    noise = pd.DataFrame({"y": np.random.default_rng(0).normal(size=600)})
    model = untrained(past=None, baseline=None, head="gaussian").fit(noise)
    found = correlation(model.sample(4000, random_state=0))
    np.testing.assert_allclose(found, np.eye(H), atol=0.15)


def test_targets_hang_together_as_their_errors_do():
    rng = np.random.default_rng(0)
    shock = rng.normal(size=(500, 2))
    y, x = shock[:, 0], -0.9 * shock[:, 0] + np.sqrt(1 - 0.81) * shock[:, 1]
    panel = pd.DataFrame({"y": y.cumsum(), "x": x.cumsum()})
    model = untrained(target=["y", "x"], past=None, head="gaussian", horizon=1).fit(panel)
    drawn = model.sample(4000, random_state=0)["value"].to_numpy().reshape(2, -1)
    assert np.corrcoef(drawn)[0, 1] == pytest.approx(-0.9, abs=0.06)


def test_sums_of_paths_have_the_spread_of_sums():
    """What the dependence is for: independent steps would give 0.6 of it."""
    model = untrained(past=None, head="gaussian", horizon=8, lookback=5).fit(WALKS)
    total = paths(model.sample(3000, random_state=0), 8)[0].sum(axis=0).std()
    y = WALKS["y"].unstack(0).to_numpy()
    sums = [(y[t + 1 : t + 9] - y[t]).sum(axis=0) for t in range(4, 292)]
    assert total == pytest.approx(np.std(sums), rel=0.12)


def test_missing_targets_do_not_stop_the_dependence():
    panel = WALKS.mask(np.random.default_rng(0).random(WALKS.shape) < 0.3)
    model = untrained(past=None, head="gaussian").fit(panel)
    found = correlation(model.sample(3000, random_state=0))
    assert np.isfinite(found).all()
    assert 0.4 < found[0, 1] < 0.95


def test_a_single_residual_per_step_is_no_error():
    model = untrained(past=None, head="gaussian", lookback=5).fit(one_series(5 + H))
    assert np.isfinite(model.sample(10, random_state=0)["value"]).all()


# --------------------------------------------------------------------------------------- randomness


def test_the_same_seed_draws_the_same_paths_and_moves_no_global_state(walker):
    before = np.random.get_state()[1].copy()
    one, two, other = (walker.sample(6, random_state=seed) for seed in (0, 0, 1))
    assert_equal(one, two)
    assert not np.allclose(one["value"], other["value"])
    first, second = (walker.sample(6)["value"] for _ in range(2))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_series_are_sampled_independently_of_each_other(walker):
    drawn = paths(walker.sample(3000, random_state=0))[:, 0]
    np.testing.assert_allclose(np.corrcoef(drawn), np.eye(4), atol=0.08)


# ------------------------------------------------------------------------------------------ members


def test_members_take_turns():
    model = make_model(head="gaussian", n_members=2, past=None).fit(make_panel())
    with torch.no_grad():
        model.networks_[1].decoder.bias += 3.0
    means = []
    for network in model.networks_:
        single = _only(model, network)
        means.append(paths(single.sample(20_000, random_state=0)).mean(axis=2))
    drawn = paths(model.sample(40_000, random_state=0))
    begins = int(np.random.default_rng(0).integers(2))
    for place in (0, 1):
        half = drawn[..., place::2].mean(axis=2)
        np.testing.assert_allclose(half, means[(begins + place) % 2], rtol=0.02)  # 3 s.e.
    assert np.abs(means[0] / means[1] - 1).min() > 0.05  # they do differ


@pytest.mark.parametrize("n", [1, 3])
def test_few_paths_are_of_all_members_alike(n):
    model = make_model(head="gaussian", n_members=2, past=None).fit(make_panel())
    with torch.no_grad():
        model.networks_[1].decoder.bias += 30.0
    seeds = range(60)
    drawn = np.stack([paths(model.sample(n, random_state=seed)) for seed in seeds])
    means = [paths(_only(model, one).sample(500, random_state=0)).mean() for one in model.networks_]
    assert np.mean(drawn > np.mean(means)) == pytest.approx(0.5, abs=0.2)
    np.testing.assert_array_equal(drawn[7], paths(model.sample(n, random_state=7)))


def _only(model: Any, network: ForecastNetwork) -> Any:
    single = copy.copy(model)
    single._members = copy.copy(model._members)
    single._members.networks = [network]
    return single


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("head", ["point", Point("squared")], ids=str)
def test_a_point_cannot_be_sampled(head):
    model = untrained(past=None, head=head).fit(WALKS)
    with pytest.raises(ValueError, match=r"'head': expected a distribution.*found Point\("):
        model.sample(3)


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_the_number_of_paths_is_a_whole_number(walker, n):
    with pytest.raises(ValueError, match="'n': expected a whole number of at least 1"):
        walker.sample(n)


def test_paths_of_a_series_without_a_known_target_are_nan(walker):
    blind = WALKS.copy()
    blind.loc["s1", "y"] = np.nan
    frame = walker.sample(3, blind, random_state=0)
    assert frame.loc["s1", "value"].isna().all()
    assert frame.drop(index="s1", level=0)["value"].notna().all()
