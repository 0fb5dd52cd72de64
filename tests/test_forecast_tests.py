"""Tests of forecasts: against plain computations, known cases and simulated equals."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.fft import dct
from scipy.signal import lfilter
from scipy.stats import chi2, f, norm

import tsforecast as tsf
from tests.test_skill import (
    backtest_frame,
    last,
    mean_of_five,
    plain_test,
    random_walk,
    shrink,
)
from tsforecast._checks import DataError
from tsforecast.backtesting.forecast_tests import (
    giacomini_white,
    mincer_zarnowitz,
    model_confidence_set,
    pesaran_timmermann,
    spa,
)
from tsforecast.backtesting.rolling import Backtest
from tsforecast.backtesting.skill import loss_table


def losses_of(n, seed=0, horizon=1):
    """Two losses of equal expectation, with the overlap of `horizon` steps."""
    rng = np.random.default_rng(seed)
    y = np.convolve(rng.normal(size=n + horizon - 1), np.ones(horizon), mode="valid")
    a, b = 0.3 * rng.normal(size=(2, n))
    return (y - a) ** 2, (y - b) ** 2


def plain_wald(moments, horizon=1):
    """The Wald statistic with the variance of cosine transforms, by scipy's own transform."""
    n, q = moments.shape
    degrees = max(q + 1, min(int(0.41 * n ** (2 / 3)), n // (2 * horizon)))
    transforms = dct(moments, type=2, norm="ortho", axis=0)[1 : degrees + 1]
    variance = transforms.T @ transforms / degrees
    mean = moments.mean(axis=0)
    statistic = n * mean @ np.linalg.inv(variance) @ mean
    left = degrees - q + 1
    return statistic, f.sf(statistic * left / degrees / q, q, left)


# Giacomini and White


def test_one_step_is_n_times_r2_of_ones_on_the_moments():
    a, b = losses_of(80)
    d = a - b
    z = np.column_stack([np.ones(79), d[:-1]]) * d[1:, None]
    fitted = z @ np.linalg.lstsq(z, np.ones(79), rcond=None)[0]
    statistic = 79 * (fitted @ fitted) / 79
    test = giacomini_white(a, b, horizon=1)
    assert (test.statistic, test.p) == pytest.approx((statistic, chi2.sf(statistic, 2)))
    assert test.n_origins == 79 and not test.identical


@pytest.mark.parametrize("horizon", [5, 20, 60])  # of 16, 7 and 3 transforms
def test_overlapping_forecasts_take_the_cosine_variance(horizon):
    a, b = losses_of(300, horizon=horizon)
    d = a - b
    test = giacomini_white(a, b, horizon=horizon)
    z = np.column_stack([np.ones(300 - horizon), d[:-horizon]]) * d[horizon:, None]
    assert (test.statistic, test.p) == pytest.approx(plain_wald(z, horizon))


def test_the_order_of_losses_and_the_unit_of_instruments_do_not_matter():
    a, b = losses_of(200, horizon=3)
    state = np.random.default_rng(1).normal(size=200)
    test = giacomini_white(a, b, horizon=3, instruments=state)
    swapped = giacomini_white(b, a, horizon=3, instruments=1e-4 * state + 3)
    assert (test.statistic, test.p) == pytest.approx((swapped.statistic, swapped.p))
    assert test.prefers_first == pytest.approx(1 - swapped.prefers_first)


def test_what_an_instrument_knows_is_found_where_the_mean_is_equal():
    a, b = losses_of(500)
    state = np.random.default_rng(2).normal(size=500)
    known = giacomini_white(a - 0.5 * state, b, horizon=1, instruments=state)
    assert known.p < 0.001 and 0.4 < known.prefers_first < 0.6
    assert tsf.diebold_mariano(a - 0.5 * state, b, horizon=1).p_less > 0.01


def test_a_lower_loss_is_preferred_at_all_times():
    a, b = losses_of(500)
    test = giacomini_white(a, b + 0.5, horizon=1)
    assert test.p < 0.001 and test.prefers_first > 0.95


@pytest.mark.parametrize("horizon", [1, 5])
def test_equal_losses_are_told_apart_five_times_in_a_hundred(horizon):
    p = [giacomini_white(*losses_of(300, seed, horizon), horizon=horizon).p for seed in range(400)]
    assert 0.015 < np.mean(np.array(p) < 0.05) < 0.085
    assert 0.4 < np.median(p) < 0.65


def test_identical_losses_and_constant_advantages_have_clear_answers():
    loss = losses_of(60)[0]
    for horizon in (1, 4):
        same = giacomini_white(loss, loss * (1 + 1e-13), horizon=horizon)
        assert (same.statistic, same.p, same.identical) == (0.0, 1.0, True)
        lower = giacomini_white(loss, loss + 1, horizon=horizon)
        assert (lower.statistic, lower.p, lower.prefers_first) == (math.inf, 0.0, 1.0)
        higher = giacomini_white(loss + 1, loss, horizon=horizon)
        assert (higher.p, higher.prefers_first) == (0.0, 0.0)


def test_a_difference_at_few_origins_only_does_not_break_the_test():
    loss = losses_of(60)[0]
    once = loss.copy()
    once[30] += 1
    for horizon in (1, 4):
        assert 0 < giacomini_white(loss, once, horizon=horizon).p < 1
        late = loss.copy()
        late[10:] += 1  # constant from there on
        assert giacomini_white(loss, late, horizon=horizon).p < 0.01
        early = loss.copy()
        early[0] += 1  # no origin that counts has a difference
        assert giacomini_white(loss, early, horizon=horizon).p == 1.0


def test_too_few_origins_give_no_p_value():
    a, b = losses_of(40)
    assert math.isnan(giacomini_white(a[:10], b[:10], horizon=1).p)
    assert math.isfinite(giacomini_white(a[:11], b[:11], horizon=1).p)
    assert math.isnan(giacomini_white(a[:29], b[:29], horizon=10).p)
    assert math.isfinite(giacomini_white(a[:30], b[:30], horizon=10).p)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss_b": np.zeros(9)}, "'loss_b': expected values of shape"),
        ({"loss_b": [np.nan, *range(19)]}, "'loss_b': expected finite values, found '1 that"),
        ({"horizon": 0}, "parameter 'horizon'"),
        ({"instruments": np.zeros(7)}, "'instruments': expected a row for each of the 20"),
        ({"instruments": np.full(20, np.inf)}, "'instruments': expected finite values"),
        ({"instruments": np.ones(20)}, "'instruments': expected columns that vary"),
    ],
)
def test_losses_that_cannot_be_tested_are_refused(options, message):
    a, b = losses_of(20)
    with pytest.raises(ValueError, match=message):
        giacomini_white(**{"loss_a": a, "loss_b": b, "horizon": 1, **options})


# Mincer and Zarnowitz


def regression(n=200, seed=0, intercept=0.0, slope=1.0, horizon=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    noise = np.convolve(rng.normal(size=n + horizon - 1), np.ones(horizon), mode="valid")
    return intercept + slope * x + noise, x


def test_the_line_is_least_squares_and_the_test_that_of_its_moments():
    y, x = regression(intercept=0.3, slope=0.8)
    test = mincer_zarnowitz(y, x, horizon=1)
    slope, intercept = np.polyfit(x, y, 1)
    assert (test.intercept, test.slope) == pytest.approx((intercept, slope))
    assert test.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    moments = np.column_stack([np.ones(200), x]) * (y - x)[:, None]
    assert (test.statistic, test.p) == pytest.approx(plain_wald(moments))


def test_a_biased_forecast_is_found_and_a_fair_one_rarely():
    assert mincer_zarnowitz(*regression(intercept=0.5), horizon=1).p < 0.001
    assert mincer_zarnowitz(*regression(slope=0.5), horizon=1).p < 0.001
    p = [mincer_zarnowitz(*regression(200, seed, horizon=4), horizon=4).p for seed in range(400)]
    assert 0.015 < np.mean(np.array(p) < 0.05) < 0.085


def test_long_overlaps_are_allowed_for():
    """With as many transforms as for one step a third of fair forecasts would be called biased."""
    p = {"fair": [], "equal": []}
    for seed in range(200):
        p["fair"].append(mincer_zarnowitz(*regression(250, seed, horizon=60), horizon=60).p)
        rng = np.random.default_rng(seed)
        d = np.convolve(rng.normal(size=309), np.ones(60), mode="valid")
        p["equal"].append(giacomini_white(d, np.zeros(250), horizon=60).p)
    size = {name: np.mean(np.array(found) < 0.05) for name, found in p.items()}
    assert 0.005 < size["fair"] < 0.11 and 0.005 < size["equal"] < 0.13


def test_exact_lines_have_clear_answers():
    x = np.arange(20.0)
    perfect = mincer_zarnowitz(x, x, horizon=1)
    assert (perfect.intercept, perfect.slope, perfect.p) == (0.0, 1.0, 1.0)
    shifted = mincer_zarnowitz(x + 2, x, horizon=1)
    assert (shifted.intercept, shifted.p) == pytest.approx((2.0, 0.0))
    flat = mincer_zarnowitz(np.ones(20), x, horizon=1)
    assert (flat.slope, flat.p) == pytest.approx((0.0, 0.0))


def test_a_constant_forecast_has_no_slope():
    with pytest.raises(DataError, match="the forecast is constant: expected .* found 2 in all 20"):
        mincer_zarnowitz(np.arange(20.0), np.full(20, 2.0), horizon=1)


def test_series_of_one_cutoff_are_one_observation_of_the_line():
    y, x = regression(150, intercept=0.1)
    cutoff = pd.date_range("2024-01-01", periods=150, tz="Europe/Berlin").repeat(8)
    copies = mincer_zarnowitz(np.repeat(y, 8), np.repeat(x, 8), horizon=2, cutoff=cutoff)
    alone = mincer_zarnowitz(y, x, horizon=2)
    assert (copies.statistic, copies.p) == pytest.approx((alone.statistic, alone.p))
    assert (copies.intercept, copies.slope) == pytest.approx((alone.intercept, alone.slope))
    assert copies.n_origins == 150
    apart = mincer_zarnowitz(np.repeat(y, 8), np.repeat(x, 8), horizon=2)
    assert apart.p < copies.p


def test_a_level_far_from_zero_does_not_blur_the_line():
    y, x = regression()
    far, near = mincer_zarnowitz(y + 1e6, x + 1e6, horizon=3), mincer_zarnowitz(y, x, horizon=3)
    assert (far.statistic, far.slope) == pytest.approx((near.statistic, near.slope), rel=1e-6)


def test_regressions_that_cannot_be_made():
    y, x = regression(20)
    assert math.isnan(mincer_zarnowitz(y[:9], x[:9], horizon=1).p)
    with pytest.raises(ValueError, match="'actual': expected finite values"):
        mincer_zarnowitz([np.nan, *y[1:]], x, horizon=1)
    with pytest.raises(ValueError, match="parameter 'horizon'"):
        mincer_zarnowitz(y, x, horizon=0)


# Pesaran and Timmermann


def paper(y, x):
    """Pesaran and Timmermann 1992: against signs that are independent in time, too."""
    n, p, pu, px = len(y), np.mean((y > 0) == (x > 0)), np.mean(y > 0), np.mean(x > 0)
    star = pu * px + (1 - pu) * (1 - px)
    v = star * (1 - star) / n
    w = ((2 * pu - 1) ** 2 * px * (1 - px) + (2 * px - 1) ** 2 * pu * (1 - pu)) / n
    statistic = (p - star) / np.sqrt(v - w)
    return statistic, norm.sf(statistic)


def test_the_covariance_of_signs_is_tested_and_close_to_the_paper():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    y = 0.2 * x + 0.2 + rng.normal(size=400)
    test = pesaran_timmermann(y, x, horizon=1)
    up, other = y > 0, x > 0
    products = (up - up.mean()) * (other - other.mean())
    statistic, p = plain_test(-products, np.zeros(400), 1)
    assert (test.statistic, test.p) == pytest.approx((-statistic, p))
    assert test.statistic == pytest.approx(paper(y, x)[0], rel=0.15)
    pu, px = up.mean(), other.mean()
    assert test.hit_rate == np.mean(up == other)
    assert test.expected == pytest.approx(pu * px + (1 - pu) * (1 - px))
    assert (test.up_actual, test.up_forecast) == pytest.approx((pu, px))


def test_signs_that_follow_their_own_past_prove_nothing():
    p = {"ours": [], "paper": []}
    for seed in range(400):
        y, x = lfilter([1], [1, -0.8], np.random.default_rng(seed).normal(size=(2, 400)))[:, 100:]
        p["ours"].append(pesaran_timmermann(y, x, horizon=1).p)
        p["paper"].append(paper(y, x)[1])
    size = {name: np.mean(np.array(found) < 0.05) for name, found in p.items()}
    assert 0.03 < size["ours"] < 0.12 and size["paper"] > 0.14


def test_shares_of_ups_are_those_of_each_series():
    rng = np.random.default_rng(3)
    series = np.tile(["up", "down"], 300)
    y = rng.normal(size=600) + np.where(series == "up", 0.8, -0.8)
    cutoff = np.repeat(np.arange(300), 2)
    x = np.where(series == "up", 1.0, -1.0) + rng.normal(size=600)
    pooled = pesaran_timmermann(y, x, horizon=1, cutoff=cutoff)
    own = pesaran_timmermann(y, x, horizon=1, cutoff=cutoff, series=series)
    assert pooled.p < 0.001 and own.p > 0.05 and own.hit_rate == pooled.hit_rate
    products = np.zeros(300)
    for name in ("up", "down"):
        up, other = y[series == name] > 0, x[series == name] > 0
        products += (up - up.mean()) * (other - other.mean()) / 2
    assert own.p == pytest.approx(plain_test(-products, np.zeros(300), 1)[1])
    constant = np.where(series == "up", 1.0, -1.0)
    never = pesaran_timmermann(y, constant, horizon=1, cutoff=cutoff, series=series)
    assert (never.statistic, never.p) == (0.0, 1.0) and never.hit_rate > 0.7
    with pytest.raises(ValueError, match="'series': expected 600 labels, found 2"):
        pesaran_timmermann(y, x, horizon=1, cutoff=cutoff, series=["a", "b"])


def test_a_forecast_that_always_rises_proves_nothing():
    y = np.abs(regression(50)[0])
    y[:10] *= -1
    always = pesaran_timmermann(y, np.ones(50), horizon=1)
    assert (always.statistic, always.p, always.hit_rate) == (0.0, 1.0, 0.8)
    one_way = pesaran_timmermann(np.abs(y), y, horizon=3)
    assert (one_way.statistic, one_way.p, one_way.up_actual) == (0.0, 1.0, 1.0)


def test_series_of_one_cutoff_are_one_observation():
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    y = 0.3 * x + rng.normal(size=200)
    copies = pesaran_timmermann(
        np.tile(y, 30), np.tile(x, 30), horizon=1, cutoff=np.tile(np.arange(200), 30)
    )
    apart = pesaran_timmermann(np.tile(y, 30), np.tile(x, 30), horizon=1)
    alone = pesaran_timmermann(y, x, horizon=1)
    assert copies.n_origins == 200
    assert copies.p == pytest.approx(alone.p, rel=0.5)
    assert apart.p < 0.01 * alone.p


def test_overlap_and_shared_moves_are_allowed_for():
    found = {"overlap": [], "ignored": [], "panel": []}
    for seed in range(400):
        rng = np.random.default_rng(seed)
        x, y = (np.convolve(rng.normal(size=209), np.ones(10), mode="valid") for _ in range(2))
        found["overlap"].append(pesaran_timmermann(y, x, horizon=10).p)
        found["ignored"].append(paper(y, x)[1])
        common = y[:, None] + rng.normal(size=(200, 4))
        found["panel"].append(
            pesaran_timmermann(
                common.ravel(), np.repeat(x, 4), horizon=10, cutoff=np.repeat(np.arange(200), 4)
            ).p
        )
    size = {name: np.mean(np.array(p) < 0.05) for name, p in found.items()}
    assert 0.02 < size["overlap"] < 0.1 and 0.02 < size["panel"] < 0.1
    assert size["ignored"] > 0.12


def test_directions_that_cannot_be_tested():
    y, x = regression(20)
    assert math.isnan(pesaran_timmermann(y[:9], x[:9], horizon=1).p)
    with pytest.raises(ValueError, match="'forecast': expected finite values"):
        pesaran_timmermann(y, [np.inf, *x[1:]], horizon=1)
    with pytest.raises(ValueError, match="'cutoff': expected 20 labels, found 3"):
        pesaran_timmermann(y, x, horizon=1, cutoff=[1, 2, 3])
    with pytest.raises(ValueError, match="parameter 'horizon'"):
        pesaran_timmermann(y, x, horizon=-1)


# the confidence set and superior predictive ability


def table(n=200, seed=0, **means):
    """Losses with a common part, by model and mean."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    return pd.DataFrame({k: m + common + 0.5 * rng.normal(size=n) for k, m in means.items()})


def test_the_set_holds_equals_and_drops_the_worse():
    losses = table(good=1.0, equal=1.0, worse=1.3, hopeless=3.0)
    result = model_confidence_set(losses, horizon=1)
    assert result.index[-1] == "hopeless" and result.index.name == "model"
    assert result["included"].to_dict() == {
        "good": True,
        "equal": True,
        "worse": False,
        "hopeless": False,
    }
    assert result["loss"].to_dict() == pytest.approx(losses.mean().to_dict())
    assert result.loc["hopeless", "verdict"].startswith(
        "hopeless: not the best of 4 models (outside the 90 % confidence set, p < 0.001)"
    )
    assert result.attrs["block"] == 6


def test_the_set_is_that_of_arch():
    from arch.bootstrap import MCS

    losses = table(a=1.0, b=1.05, c=1.1)
    theirs = MCS(losses, size=0.1, reps=500, block_size=8, method="max", seed=3)
    theirs.compute()
    ours = model_confidence_set(losses, horizon=4, n_bootstrap=500, random_state=3)
    pd.testing.assert_series_equal(
        ours["p"].sort_index(),
        (500 * theirs.pvalues["Pvalue"].sort_index() + 1) / 501,
        check_names=False,
    )


def test_no_p_value_of_a_bootstrap_is_zero():
    losses = table(naive=3.0, good=0.5)
    test = spa(losses, "naive", horizon=1, n_bootstrap=99)
    assert test.p == test.p_lower == test.p_upper == 0.01
    chosen = model_confidence_set(losses, horizon=1, n_bootstrap=99)["p"]
    assert chosen.to_dict() == {"good": 1.0, "naive": 0.01}
    for call in (model_confidence_set, lambda t, **o: spa(t, "good", **o)):
        with pytest.raises(ValueError, match="parameter 'random_state': expected a whole number"):
            call(losses, horizon=1, random_state=-1)


def test_the_same_seed_gives_the_same_set_and_no_global_seed_is_touched():
    losses = table(a=1.0, b=1.05, c=1.1)
    state = np.random.get_state()[1].copy()
    one, two = (model_confidence_set(losses, horizon=2) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert spa(losses, "c", horizon=2) == spa(losses, "c", horizon=2)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_identical_models_and_constant_advantages_have_clear_places_in_the_set():
    losses = table(a=1.0, b=1.05)
    plain = model_confidence_set(losses, horizon=1)
    more = losses.assign(copy=losses["a"], above=losses["a"] + 0.5, over=losses["b"] + 1e-3)
    result = model_confidence_set(more, horizon=1)
    assert result.loc["copy", "p"] == result.loc["a", "p"] == plain.loc["a", "p"]
    assert result.loc["b", "p"] == plain.loc["b", "p"]
    assert result.loc[["above", "over"], "p"].tolist() == [0.0, 0.0]
    assert not result.loc[["above", "over"], "included"].any()
    same = model_confidence_set(losses.assign(b=losses["a"]), horizon=1)
    assert same["p"].tolist() == [1.0, 1.0]


def test_models_of_equal_means_stay_in_the_set():
    rng = np.random.default_rng(0)
    loss = rng.integers(0, 5, size=100).astype(float)
    losses = pd.DataFrame({"a": loss, "b": loss[::-1], "c": np.roll(loss, 7)})
    assert model_confidence_set(losses, horizon=1)["included"].all()


def test_too_few_origins_exclude_nobody():
    result = model_confidence_set(table(9, a=1.0, b=9.0), horizon=1)
    assert result["p"].isna().all() and result["included"].all()
    assert "9 origins are too few" in result["verdict"].iloc[0]
    assert math.isnan(spa(table(19, a=1.0, b=9.0), "b", horizon=10).p)


def test_spa_finds_a_better_model_and_not_the_luckiest_of_many():
    losses = table(naive=1.0, good=0.8, equal=1.0)
    test = spa(losses, "naive", horizon=1)
    assert test.best == "good" and test.p < 0.01 and test.p_lower <= test.p <= test.p_upper
    assert test.advantage == pytest.approx((losses["naive"] - losses["good"]).mean())
    p, best = [], []
    for seed in range(40):
        many = table(100, seed, **{f"m{i}": 1.0 for i in range(20)}, naive=1.0)
        p.append(spa(many, "naive", horizon=1, n_bootstrap=100).p)
        rivals = many.drop(columns="naive")
        best.append(
            min(
                tsf.diebold_mariano(rivals[name], many["naive"], horizon=1).p_less
                for name in rivals
            )
        )
    assert np.mean(np.array(best) < 0.05) > 0.3  # the luckiest alone would pass for skill
    assert np.mean(np.array(p) < 0.05) < 0.15


def test_spa_counts_differentials_in_their_own_deviation():
    losses = table(naive=1.0, good=0.8)
    noise = 50 * np.random.default_rng(5).normal(size=200)
    wild = losses.assign(wild=losses["naive"] + noise - noise.mean() - 0.3)
    assert spa(wild, "naive", horizon=1).best == "good"
    assert spa(wild, "naive", horizon=1).p < 0.01


def test_identical_models_and_constant_advantages_have_clear_answers_in_spa():
    losses = table(naive=1.0)
    naive = losses["naive"]
    same = spa(losses.assign(copy=naive), "naive", horizon=1)
    assert (same.p, same.advantage) == (1.0, 0.0)
    assert spa(losses.assign(worse=naive + 1), "naive", horizon=1).p == 1.0
    better = spa(losses.assign(better=naive - 1, other=naive + 1), "naive", horizon=1)
    assert (better.best, better.p) == ("better", 0.0)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t.to_numpy(), {}, "'losses': expected a DataFrame of losses"),
        (lambda t: t, {"horizon": None}, "'horizon': expected how many consecutive origins"),
        (lambda t: t, {"horizon": 0}, "parameter 'horizon'"),
        (
            lambda t: t.assign(a=t["a"].where(t.index != 3), b=np.inf),
            {},
            r"found 31 that are not \(a, b\)",
        ),
        (lambda t: t, {"n_bootstrap": 0}, "parameter 'n_bootstrap'"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(change, options, message):
    losses = change(table(30, a=1.0, b=1.0))
    for call in (model_confidence_set, lambda t, **o: spa(t, "a", **o)):
        with pytest.raises(ValueError, match=message):
            call(losses, **{"horizon": 1, **options})


def test_sizes_and_benchmarks_are_checked():
    losses = table(30, a=1.0, b=1.0)
    with pytest.raises(ValueError, match="'size': expected a number between 0 and 1"):
        model_confidence_set(losses, horizon=1, size=1.5)
    with pytest.raises(ValueError, match="'benchmark': expected one of at least two models: a, b"):
        spa(losses, "naive", horizon=1)


def test_without_arch_the_extra_is_named():
    code = (
        "import sys; sys.modules['arch'] = None; sys.modules['arch.bootstrap'] = None\n"
        "import numpy as np, pandas as pd, tsforecast as tsf\n"
        "try: tsf.model_confidence_set(pd.DataFrame(np.random.rand(30, 2)), horizon=1)\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "tsforecast[finance]"' in done.stdout


# from a backtest frame

MODELS = {"naive": last, "mean": mean_of_five, "lstm": shrink}


def test_a_loss_table_has_the_means_that_skill_tests():
    frame = backtest_frame(random_walk(120, persistence=0.8), MODELS, horizon=3)
    losses = loss_table(frame)
    error = (frame["forecast"] - frame["actual"]).abs()
    for model in MODELS:
        ours = frame["model"] == model
        expected = error[ours].groupby(frame["cutoff"][ours]).mean()
        pd.testing.assert_series_equal(losses[model], expected, check_names=False)
    assert losses.attrs == {"loss": "absolute", "overlap": 3}
    row = tsf.skill(frame, baselines=["naive", "mean"]).loc["lstm"]
    best = losses[row["baseline"]]
    assert row["p"] == tsf.diebold_mariano(losses["lstm"], best, horizon=3).p_less


def test_the_overlap_of_one_step_is_its_own():
    frame = backtest_frame(random_walk(120), MODELS, horizon=3)
    for step in (1, 2, 3):
        assert loss_table(frame[frame["step"] == step]).attrs["overlap"] == step
    apart = backtest_frame(random_walk(120), MODELS, horizon=3, every=3)
    assert loss_table(apart).attrs["overlap"] == 1


def test_models_without_quantiles_are_not_in_a_table_of_quantile_losses():
    frame = backtest_frame(random_walk(80), MODELS, horizon=2, levels=(0.1, 0.5, 0.9))
    frame.loc[frame["model"] == "mean", ["q0.1", "q0.5", "q0.9"]] = np.nan
    assert list(loss_table(frame, loss="quantile")) == ["lstm", "naive"]
    assert set(loss_table(frame)) == set(MODELS)


def test_losses_of_several_targets_are_refused():
    frame = backtest_frame(random_walk(60), MODELS, horizon=2)
    both = pd.concat([frame, frame.assign(target="x")])
    with pytest.raises(DataError, match="losses of several targets: expected one target"):
        loss_table(both)


def test_days_that_a_model_misses_are_named_and_not_filled():
    frame = backtest_frame(random_walk(120), MODELS, horizon=2)
    short = frame[~((frame["model"] == "lstm") & (frame["cutoff"] < 60))]
    message = r"'lstm' lacks 160 of 392 rows, at 40 of 98 cutoffs \(the first: 20, 21, 22 and 37"
    with pytest.warns(UserWarning, match=message):
        losses = loss_table(short)
    assert losses.index.min() == 60
    pd.testing.assert_frame_equal(losses, loss_table(frame[frame["cutoff"] >= 60]))


def test_a_backtest_has_its_confidence_set():
    frame = backtest_frame(random_walk(150, persistence=0.8), MODELS, horizon=2)
    inside = frame.assign(in_sample=True, forecast=frame["actual"])
    both = pd.concat([frame.assign(in_sample=False), inside], ignore_index=True)
    result = Backtest(both, 2, pd.DataFrame(), ("naive", "mean"))
    expected = model_confidence_set(loss_table(frame, loss="squared"), size=0.25)
    pd.testing.assert_frame_equal(result.confidence_set(loss="squared", size=0.25), expected)
    assert expected.attrs["block"] == 6 and set(expected.index) == set(MODELS)
