"""Sharpe ratios: the papers' figures, plain numpy, and simulations."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kurtosis, norm, skew

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.backtesting import sharpe
from tsforecast.backtesting.sharpe import (
    backtest_overfitting,
    count_trials,
    deflated_sharpe,
    expected_maximum,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_difference,
    sharpe_ratio,
)

FUND = {"ratio": 0.458, "skewness": -2.448, "kurt": 10.164}  # the hedge fund of the 2012 paper


def with_moments(n, ratio, *, seed=0, ar=0.0):
    """Returns whose sample ratio is exactly this."""
    noise = np.random.default_rng(seed).standard_normal(n)
    for i in range(1, n):
        noise[i] += ar * noise[i - 1]
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return 0.01 * (noise + ratio)


# Ratio and error


def test_ratio_is_mean_over_spread_times_the_root_of_a_year():
    r = np.random.default_rng(0).normal(0.001, 0.01, 300)
    assert sharpe_ratio(r).value == pytest.approx(r.mean() / r.std(ddof=1) * np.sqrt(252))
    assert sharpe_ratio(pd.Series(r), periods=12).value == pytest.approx(
        r.mean() / r.std(ddof=1) * np.sqrt(12)
    )


def test_error_is_the_newey_west_error_of_the_gradient():
    r, lags = with_moments(400, 0.1, ar=0.3), 5
    z = (r - r.mean()) / r.std(ddof=1)
    psi = z - 0.1 / 2 * (z**2 - 1)
    psi = psi - psi.mean()
    n = len(psi)
    v = psi @ psi / n + 2 * sum(
        (1 - k / (lags + 1)) * (psi[k:] @ psi[:-k]) / n for k in range(1, 6)
    )
    found = sharpe_ratio(r, periods=1, lags=lags)
    assert found.se == pytest.approx(math.sqrt(v / (n - 1)), rel=1e-9)


def test_lags_are_the_cube_root_of_the_periods():
    for n, lags in ((64, 4), (65, 5), (1000, 10)):
        r = with_moments(n, 0.1, ar=0.3)
        assert sharpe_ratio(r).se == sharpe_ratio(r, lags=lags).se != sharpe_ratio(r, lags=3).se


def test_error_of_independent_normal_returns_is_that_of_lo():
    found = sharpe_ratio(with_moments(100_000, 0.5), periods=1, lags=0)
    assert found.se == pytest.approx(math.sqrt((1 + 0.5**2 / 2) / 100_000), rel=0.02)


def test_error_knows_of_autocorrelation():
    r = with_moments(3000, 0.05, ar=0.5)
    assert sharpe_ratio(r, lags=20).se > 1.5 * sharpe_ratio(r, lags=0).se


def test_a_nominal_five_percent_is_about_that():
    rng = np.random.default_rng(1)
    p = [sharpe_ratio(rng.standard_t(4, 500)).p for _ in range(600)]
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.085


def test_multiples_of_returns_have_the_same_ratio_and_the_negative_the_other_p():
    r = with_moments(200, 0.1)
    one, ten, minus = sharpe_ratio(r), sharpe_ratio(10 * r), sharpe_ratio(-r)
    assert (one.value, one.se, one.p) == pytest.approx((ten.value, ten.se, ten.p))
    assert (minus.value, minus.p) == pytest.approx((-one.value, 1 - one.p))


def test_returns_that_never_move_have_no_ratio():
    for r in (np.zeros(50), np.full(50, 0.001), [0.1], []):
        found = sharpe_ratio(r)
        assert math.isnan(found.value) and math.isnan(found.p) and found.n_periods == len(r)
        assert math.isnan(probabilistic_sharpe(r)) and math.isnan(minimum_track_record(r))
        assert math.isnan(deflated_sharpe(r, 5).probability)


def test_a_short_record_has_a_ratio_without_an_error():
    found = sharpe_ratio([0.01, 0.02, -0.01])
    assert math.isfinite(found.value) and math.isnan(found.se) and math.isnan(found.p)
    assert math.isnan(probabilistic_sharpe([0.01, 0.02, -0.01]))


def test_missing_returns_are_refused():
    with pytest.raises(
        ValueError, match="returns are missing or infinite: expected finite numbers, found 1 of 3"
    ):
        sharpe_ratio([0.1, np.nan, 0.2])
    with pytest.raises(ValueError, match="'returns': expected one axis"):
        probabilistic_sharpe([[0.1, 0.2]])
    with pytest.raises(ValueError, match="'periods': expected a number above 0"):
        sharpe_ratio([0.1, 0.2], periods=0)
    with pytest.raises(ValueError, match="'benchmark': expected a finite annual ratio"):
        probabilistic_sharpe([0.1, 0.2], np.nan)
    with pytest.raises(ValueError, match="'lags': expected a whole number of at least 0"):
        sharpe_ratio([0.1, 0.2], lags=-1)


# Two ratios


def test_difference_of_ratios_has_the_error_of_the_difference_of_gradients():
    a, b = with_moments(500, 0.1, seed=1), with_moments(500, 0.02, seed=2)

    def gradient(r):
        z = (r - r.mean()) / r.std(ddof=1)
        return z - r.mean() / r.std(ddof=1) / 2 * (z**2 - 1)

    d = gradient(a) - gradient(b)
    found = sharpe_difference(a, b, periods=1, lags=0)
    assert found.value == pytest.approx(0.08)
    assert found.se == pytest.approx(np.sqrt(d.var() / (len(d) - 1)))


def test_a_strategy_is_not_told_from_a_multiple_of_itself():
    r = with_moments(100, 0.1)
    found = sharpe_difference(r, 3 * r)
    assert (found.value, found.p) == (0.0, 0.5)
    with pytest.raises(ValueError, match="'benchmark': expected 100 returns, found 99"):
        sharpe_difference(r, r[:-1])


# Bailey and Lopez de Prado 2012


def test_probabilistic_ratio_of_the_papers_hedge_fund():
    assert sharpe._probability_above(0, n=24, **FUND) == pytest.approx(0.913, abs=5e-4)
    assert sharpe._probability_above(0, 0.458, 24, 0, 3) == pytest.approx(0.982, abs=5e-4)
    assert sharpe._probability_above(0, n=36, **FUND) == pytest.approx(0.953, abs=1e-3)


@pytest.mark.parametrize("periods, years", [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_least_track_record_of_the_papers_table(periods, years):
    annual = math.sqrt(periods)
    found = sharpe._least_periods(1 / annual, 2 / annual, 0, 3, confidence=0.95)
    assert found / periods == pytest.approx(years, abs=5e-3)


def test_probabilistic_ratio_takes_the_moments_of_the_sample():
    r = np.random.default_rng(3).standard_t(5, 300) * 0.01 + 0.001
    ratio = r.mean() / r.std(ddof=1)
    scale = 1 - skew(r) * ratio + (kurtosis(r, fisher=False) - 1) / 4 * ratio**2
    expected = norm.cdf((ratio - 0.5 / np.sqrt(252)) * np.sqrt(299 / scale))
    assert probabilistic_sharpe(r, 0.5) == pytest.approx(expected, rel=1e-12)


def test_probabilistic_ratio_reaches_its_mark_at_the_least_track_record():
    r = with_moments(500, 0.05)
    ratio, _, skewness, kurt = sharpe._moments(r)
    needed = minimum_track_record(r)
    assert sharpe._probability_above(0, ratio, needed, skewness, kurt) == pytest.approx(0.95)
    assert minimum_track_record(r, confidence=0.99) > needed
    assert minimum_track_record(r, benchmark=50) == math.inf
    assert minimum_track_record(-r) == math.inf
    with pytest.raises(ValueError, match="'confidence': expected a number between 0.5 and 1"):
        minimum_track_record(r, confidence=0.5)


def test_probabilistic_ratio_of_noise_is_uniform():
    rng = np.random.default_rng(0)
    found = np.array([probabilistic_sharpe(rng.standard_normal(300)) for _ in range(800)])
    assert np.mean(found > 0.95) == pytest.approx(0.05, abs=0.025)
    assert np.mean(found > 0.5) == pytest.approx(0.5, abs=0.06)


# Bailey and Lopez de Prado 2014


@pytest.mark.parametrize(
    "trials, skewness, kurt, probability",
    [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)],
)
def test_deflated_ratio_of_the_papers_example(trials, skewness, kurt, probability):
    best = expected_maximum(trials, 0.5) / math.sqrt(250)
    if trials == 100:
        assert best == pytest.approx(0.1132, abs=5e-5)
    found = sharpe._probability_above(best, 2.5 / math.sqrt(250), 1250, skewness, kurt)
    assert found == pytest.approx(probability, abs=2e-4)


@pytest.mark.parametrize("n_trials", [2, 20, 200])
def test_expected_maximum_is_that_of_simulated_ratios(n_trials):
    drawn = np.random.default_rng(0).normal(0, 0.5, (20_000, n_trials)).max(axis=1).mean()
    # the approximation is for many trials: off by a twentieth of a spread for two
    assert expected_maximum(n_trials, 0.25) == pytest.approx(
        drawn, abs=0.05 if n_trials == 2 else 0.02
    )
    assert expected_maximum(1, 0.25) == 0.0


def test_one_trial_deflates_nothing():
    r = with_moments(500, 0.05)
    assert deflated_sharpe(r, 1).probability == probabilistic_sharpe(r)
    assert deflated_sharpe(r, 2).probability < probabilistic_sharpe(r)


def test_deflated_ratio_is_the_probability_above_the_expected_maximum():
    r = with_moments(500, 0.1)
    ratios = np.random.default_rng(0).normal(0, 1, 30)
    found = deflated_sharpe(r, trial_sharpes=ratios)
    best = expected_maximum(30, ratios.var(ddof=1))
    assert (found.n_trials, found.expected_maximum) == (30, best)
    assert found.probability == pytest.approx(probabilistic_sharpe(r, best))
    assert found.sharpe == pytest.approx(sharpe_ratio(r).value)
    again = deflated_sharpe(r, 30, variance=ratios.var(ddof=1))
    assert again.probability == pytest.approx(found.probability)
    assert deflated_sharpe(r, 60, trial_sharpes=ratios).probability < found.probability


def test_a_few_trials_that_resemble_each_other_do_not_speak_for_the_rest():
    r = with_moments(250, 0.1)
    alike = [1.58, 1.59, 1.60]
    assert deflated_sharpe(r, 40, trial_sharpes=alike) == deflated_sharpe(r, 40)
    assert deflated_sharpe(r, 3, trial_sharpes=alike).expected_maximum < 0.02
    apart = [-3.0, 0.0, 3.0]
    found = deflated_sharpe(r, 40, trial_sharpes=apart).expected_maximum
    assert found == pytest.approx(expected_maximum(40, 9.0))


def test_variance_by_chance_is_that_of_worthless_ratios():
    rng = np.random.default_rng(0)
    ratios = [sharpe_ratio(rng.standard_normal(250)).value for _ in range(400)]
    r = with_moments(250, 0.1)
    by_chance = deflated_sharpe(r, 400).expected_maximum
    assert deflated_sharpe(r, trial_sharpes=ratios).expected_maximum == pytest.approx(
        by_chance, rel=0.08
    )


def test_best_of_many_worthless_strategies_seldom_passes():
    rng = np.random.default_rng(0)
    passed = []
    for _ in range(200):
        trials = rng.standard_normal((20, 500))
        best = trials[np.argmax(trials.mean(axis=1) / trials.std(axis=1))]
        passed.append(
            (probabilistic_sharpe(best) > 0.95, deflated_sharpe(best, 20).probability > 0.95)
        )
    undeflated, deflated = np.mean(passed, axis=0)
    assert undeflated > 0.5 and deflated <= 0.07


def test_trials_are_counted_as_tune_counts_them():
    table = pd.DataFrame({"number": [0, 1, 2], "state": ["complete", "pruned", "failed"]})
    tuning = tsf.Tuning(table, {}, 0.0, None, 3)
    assert count_trials(tuning) == count_trials(table) == count_trials(3) == 3
    r = with_moments(100, 0.1)
    assert deflated_sharpe(r, tuning) == deflated_sharpe(r, table) == deflated_sharpe(r, 3)
    with pytest.raises(ValueError, match="'trials': expected a number, a Tuning, or its table"):
        deflated_sharpe(r, pd.DataFrame({"a": r}))
    with pytest.raises(ValueError, match="'trials': expected a whole number of at least 1"):
        deflated_sharpe(r, 0)


def test_a_deflated_ratio_needs_to_know_of_the_trials():
    r = with_moments(100, 0.1)
    with pytest.raises(ValueError, match="'trials': expected the number of strategies tried"):
        deflated_sharpe(r)
    with pytest.raises(ValueError, match="'variance': expected None beside trial_sharpes"):
        deflated_sharpe(r, 3, trial_sharpes=[0.1, 0.2], variance=1.0)
    with pytest.raises(ValueError, match="'trial_sharpes': expected at most 2 ratios"):
        deflated_sharpe(r, 2, trial_sharpes=[0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="'trial_sharpes': expected at least two ratios"):
        deflated_sharpe(r, 2, trial_sharpes=[0.1])
    with pytest.raises(ValueError, match="'variance': expected a number of at least 0"):
        deflated_sharpe(r, 2, variance=-1.0)


# Bailey, Borwein, Lopez de Prado and Zhu 2015


def plain_cscv(returns, n_blocks):
    """The paper's steps, one at a time, for blocks of one size."""
    blocks = np.split(returns, n_blocks)
    rows = []
    for chosen in combinations(range(n_blocks), n_blocks // 2):
        inside = np.concatenate([blocks[i] for i in chosen])
        outside = np.concatenate([blocks[i] for i in range(n_blocks) if i not in chosen])
        a = inside.mean(axis=0) / inside.std(axis=0, ddof=1)
        b = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        best = int(np.argmax(a))
        share = (np.sum(b <= b[best])) / (returns.shape[1] + 1)
        rows.append((best, a[best], b[best], np.log(share / (1 - share))))
    return np.array(rows)


def test_overfitting_is_that_of_the_papers_steps():
    returns = np.random.default_rng(0).normal(0.0002, 0.01, (240, 7))
    plain = plain_cscv(returns, 6)
    found = backtest_overfitting(pd.DataFrame(returns), n_blocks=6)
    np.testing.assert_allclose(found.splits.to_numpy(dtype=float), plain, rtol=1e-9)
    assert found.probability == np.mean(plain[:, 3] <= 0)
    assert found.probability_of_loss == np.mean(plain[:, 2] < 0)
    assert found.slope == pytest.approx(np.polyfit(plain[:, 1], plain[:, 2], 1)[0])
    assert "n_trials=7, n_splits=20" in repr(found)


def test_choosing_among_noise_is_drawing_lots():
    rng = np.random.default_rng(0)
    found = [
        backtest_overfitting(pd.DataFrame(rng.standard_normal((320, 20))), n_blocks=8)
        for _ in range(60)
    ]
    assert np.mean([one.probability for one in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([one.slope for one in found]) < 0


def test_one_truly_good_strategy_is_chosen_and_stays_good():
    returns = pd.DataFrame(np.random.default_rng(0).standard_normal((1000, 20)))
    returns[7] += 0.2
    found = backtest_overfitting(returns)
    assert len(found.splits) == math.comb(16, 8) and found.n_trials == 20
    assert found.probability < 0.01 and found.probability_of_loss < 0.01
    assert (found.splits["chosen"] == 7).mean() > 0.99


def test_what_was_best_in_one_regime_and_worst_in_the_next_is_overfitted():
    trend = np.r_[np.ones(200), -np.ones(200)][:, None] * np.linspace(-1, 1, 9)
    noise = np.random.default_rng(0).standard_normal((400, 9))
    found = backtest_overfitting(pd.DataFrame(0.3 * trend + noise), n_blocks=2)
    assert found.probability == found.probability_of_loss == 1.0


def test_rows_need_not_divide_into_blocks_and_a_trial_may_rest():
    returns = pd.DataFrame(np.random.default_rng(0).standard_normal((101, 4)))
    found = backtest_overfitting(returns.assign(rest=0.0), n_blocks=4)
    assert np.isfinite(found.splits[["in_sample", "out_of_sample", "logit"]].to_numpy()).all()
    resting = found.splits[found.splits["chosen"] == "rest"]
    assert (resting["in_sample"] == 0).all()


def test_a_trial_that_lay_in_cash_before_it_traded_rests_but_for_rounding():
    rng = np.random.default_rng(0)
    returns = pd.DataFrame(rng.normal(0, 0.01, (1600, 5)))
    for interest in rng.uniform(0.00005, 0.0003, 20):  # it does not move
        cash = np.full(1600, interest)
        cash[800:] = rng.normal(-0.001, 0.01, 800)
        found = backtest_overfitting(returns.assign(cash=cash), n_blocks=4)
        assert found.splits[["in_sample", "out_of_sample"]].abs().max(axis=None) < 0.2
    cash[:800] += 1e-3 * interest * rng.normal(size=800)  # a breath is a spread
    found = backtest_overfitting(returns.assign(cash=cash), n_blocks=4)
    assert found.splits["in_sample"].max() == pytest.approx(1000, rel=0.1)


def test_trials_that_cannot_be_compared():
    returns = pd.DataFrame(np.random.default_rng(0).standard_normal((40, 3)), columns=list("abc"))
    with pytest.raises(DataError, match="nothing to choose from: expected at least two trials"):
        backtest_overfitting(returns[["a"]], n_blocks=4)
    with pytest.raises(DataError, match="returns are missing .*first rows: 2.*in the columns b"):
        backtest_overfitting(returns.assign(b=returns["b"].where(returns.index != 2)), n_blocks=4)
    with pytest.raises(DataError, match="too few rows: expected at least two in each of 16 blocks"):
        backtest_overfitting(returns.head(31))
    with pytest.raises(DataError, match="no trial ever moves"):
        backtest_overfitting(returns * 0, n_blocks=4)
    with pytest.raises(ValueError, match="'n_blocks': expected an even number from 2 to 20"):
        backtest_overfitting(returns, n_blocks=5)
    with pytest.raises(ValueError, match="'trial_returns': expected a DataFrame"):
        backtest_overfitting(returns.to_numpy())
