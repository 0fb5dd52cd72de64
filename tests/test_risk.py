"""Value at risk, expected shortfall and their tests: closed forms, published examples, numpy."""

import doctest
import math
import zlib

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, chi2, norm, t

import tsforecast as tsf
from tsforecast.backtesting import risk, risk_tests
from tsforecast.backtesting.risk import (
    POOLED,
    expected_shortfall,
    risk_table,
    tail_levels,
    value_at_risk,
)
from tsforecast.backtesting.risk_tests import (
    acerbi_szekely,
    christoffersen,
    christoffersen_independence,
    dynamic_quantile,
    kupiec,
    tick_loss,
)
from tsforecast.metrics import pinball_loss

LAWS = {"normal": norm, "t4": t(4), "t6": t(6)}


def quantiles(law, levels):
    return pd.DataFrame({f"q{level:g}": [law.ppf(level)] for level in levels})


def shortfall(law, level):
    return -law.expect(ub=law.ppf(level)) / level


def backtest_frame(n=400, *, models=("right",), series=("a",), levels=None, seed=0, horizon=1):
    """Standard normal returns; the model "right" knows, others are too narrow by a half."""
    rng = np.random.default_rng(seed)
    levels = tail_levels() if levels is None else levels
    returns = {name: rng.standard_normal(n + horizon) for name in series}
    frames = []
    for model in models:
        scale = 1.0 if model == "right" else 0.5
        for name in series:
            cutoff = np.repeat(np.arange(n), horizon)
            step = np.tile(np.arange(1, horizon + 1), n)
            frame = pd.DataFrame(
                {
                    "model": model,
                    "series": name,
                    "time": cutoff + step,
                    "cutoff": cutoff,
                    "step": step,
                    "target": "r",
                    "forecast": 0.0,
                }
            )
            for level in levels:
                frame[f"q{level:g}"] = scale * norm.ppf(level)
            frames.append(frame.assign(actual=returns[name][cutoff + step - 1]))
    return pd.concat(frames, ignore_index=True)


def chain(neither, after, before, both):
    """A sample with these numbers of 0 to 0, 0 to 1, 1 to 0 and 1 to 1."""
    assert after == before
    runs = [1 + both, *[1] * (after - 1)]
    found = [0]
    for length in runs:
        found += [1] * length + [0]
    return np.array(found + [0] * neither)


def test_docstring_examples_hold():
    assert doctest.testmod(risk).failed == 0
    assert doctest.testmod(risk_tests).failed == 0


# ----------------------------------------------------------------------- the measures of risk


@pytest.mark.parametrize("level", [0.01, 0.025, 0.05, 0.1])
@pytest.mark.parametrize("name", LAWS)
def test_value_at_risk_is_minus_the_quantile(name, level):
    frame = quantiles(LAWS[name], tail_levels(level))
    assert value_at_risk(frame, level).item() == pytest.approx(-LAWS[name].ppf(level), rel=1e-12)


@pytest.mark.parametrize("level", [0.015, 0.03, 0.07, 0.45])
def test_value_at_risk_between_levels_is_exact_for_a_normal_distribution(level):
    frame = quantiles(norm(0.3, 2.0), tail_levels())
    assert value_at_risk(frame, level).item() == pytest.approx(-norm(0.3, 2).ppf(level), rel=1e-9)
    other = quantiles(t(4), tail_levels())
    assert value_at_risk(other, level).item() == pytest.approx(-t(4).ppf(level), rel=0.02)


@pytest.mark.parametrize("level", [0.01, 0.02, 0.025, 0.05])
def test_expected_shortfall_is_exact_for_a_normal_distribution(level):
    frame = quantiles(norm(0.1, 2.0), tail_levels(0.01))
    exact = -0.1 + 2.0 * norm.pdf(norm.ppf(level)) / level
    assert expected_shortfall(frame, level).item() == pytest.approx(exact, rel=1e-9)
    few = quantiles(norm(0.1, 2.0), (0.005, 0.01, 0.5))  # two below are enough
    assert expected_shortfall(few, level).item() == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("freedom", "tolerance"), [(3, 0.035), (4, 0.018), (6, 0.008)])
@pytest.mark.parametrize("level", [0.01, 0.025, 0.05])
def test_expected_shortfall_is_close_for_heavy_tails(freedom, tolerance, level):
    quantile = t.ppf(level, freedom)
    exact = t.pdf(quantile, freedom) / level * (freedom + quantile**2) / (freedom - 1)
    assert exact == pytest.approx(shortfall(t(freedom), level), rel=1e-3)
    for lowest in {0.01, level}:
        found = expected_shortfall(quantiles(t(freedom), tail_levels(lowest)), level).item()
        assert -tolerance < found / exact - 1 < 0.002


def test_expected_shortfall_is_the_mean_of_the_quantile_function_below_the_level():
    levels = np.array([0.004, 0.01, 0.02, 0.04, 0.5])
    ends = np.array([-5.0, -3.0, -2.5, -2.0, 0.0])
    frame = pd.DataFrame([ends], columns=[f"q{level:g}" for level in levels])
    u = (np.arange(400_000) + 0.5) / 400_000 * 0.03
    scores, at = norm.ppf(levels), norm.ppf(u)
    slope = (ends[1] - ends[0]) / (scores[1] - scores[0])
    plain = np.where(u < 0.004, ends[0] + slope * (at - scores[0]), np.interp(at, scores, ends))
    assert expected_shortfall(frame, 0.03).item() == pytest.approx(-plain.mean(), rel=1e-4)


def test_shortfall_is_never_below_the_value_at_risk_and_both_scale_with_the_return():
    rng = np.random.default_rng(0)
    levels = tail_levels()
    ends = np.sort(rng.standard_t(3, size=(200, len(levels))), axis=1)
    frame = pd.DataFrame(ends, columns=[f"q{level:g}" for level in levels])
    for level in (0.01, 0.03, 0.05):
        var, es = value_at_risk(frame, level), expected_shortfall(frame, level)
        assert (es >= var - 1e-12).all()
        np.testing.assert_allclose(expected_shortfall(2 * frame + 1, level), 2 * es - 1)
        np.testing.assert_allclose(value_at_risk(2 * frame + 1, level), 2 * var - 1)


def test_each_model_of_a_frame_is_read_at_its_own_levels():
    frame = pd.concat(
        [
            backtest_frame(3, models=["fine"], levels=tail_levels()),
            backtest_frame(3, models=["coarse"], levels=(0.01, 0.1, 0.5)),
            backtest_frame(3, models=["point"], levels=()),
        ],
        ignore_index=True,
    )
    var = value_at_risk(frame, 0.05).groupby(frame["model"]).first()
    np.testing.assert_allclose(var[["coarse", "fine"]], -0.5 * norm.ppf(0.05))
    assert value_at_risk(frame, 0.05)[frame["model"] == "point"].isna().all()
    with pytest.raises(tsf.DataError, match="expected 2 quantiles .* 0.05, found .* 'coarse'"):
        expected_shortfall(frame, 0.05)


def test_any_head_or_wrapper_gives_value_at_risk():
    rng = np.random.default_rng(0)
    panel = pd.DataFrame({"r": rng.standard_normal(300)})
    levels = tail_levels(0.05)
    model = tsf.EWMA(alpha=0.01, levels=levels).fit(panel)
    frame = model.predict()
    assert value_at_risk(frame).item() == pytest.approx(-frame["q0.05"].item())
    head = tsf.StudentT(levels=levels)
    assert head.levels == tsf.Quantiles(levels).levels == levels


def test_levels_for_the_tail_are_symmetric_and_begin_at_a_tenth():
    for level in (0.01, 0.025, 0.05, 0.1):
        levels = np.array(tail_levels(level))
        assert levels[0] == pytest.approx(level / 10)
        assert (levels <= level + 1e-12).sum() == 4
        assert (np.diff(levels) > 1e-6).all()
        np.testing.assert_allclose(levels + levels[::-1], 1.0)
    with pytest.raises(ValueError, match="'level': expected a number below 0.5"):
        tail_levels(0.5)


def test_levels_out_of_reach_are_refused_with_advice():
    deciles = quantiles(norm, (0.1, 0.5, 0.9))
    with pytest.raises(tsf.DataError, match=r"found the levels 0.1, 0.5, 0.9.*tail_levels\(\)"):
        value_at_risk(deciles, 0.05)
    with pytest.raises(tsf.DataError, match="value at risk: expected levels around 0.95"):
        value_at_risk(deciles, 0.95)
    with pytest.raises(tsf.DataError, match="expected 2 quantiles at or below 0.1"):
        expected_shortfall(deciles, 0.1)
    with pytest.raises(tsf.DataError, match="no quantiles to read risk from"):
        value_at_risk(pd.DataFrame({"forecast": [0.0]}), 0.05)
    for level in (0.0, 1.0, 99, True, "5%"):
        with pytest.raises(ValueError, match="'level': expected the probability of a hit"):
            value_at_risk(deciles, level)


# ------------------------------------------------------------------------------------- Kupiec


@pytest.mark.parametrize(
    ("level", "n", "low", "high"),
    [  # Kupiec 1995, table of non-rejection regions at 5 %: low < hits < high
        (0.01, 255, None, 7),
        (0.01, 510, 1, 11),
        (0.01, 1000, 4, 17),
        (0.05, 255, 6, 21),
        (0.05, 510, 16, 36),
        (0.05, 1000, 37, 65),
    ],
)
def test_kupiec_does_not_reject_in_the_published_regions(level, n, low, high):
    accepted = [k for k in range(1, n // 8) if kupiec(np.arange(n) < k, level).p_asymptotic >= 0.05]
    assert accepted == list(range(1 if low is None else low + 1, high))


def test_the_published_year_of_a_bank_is_found_again():
    """J.P. Morgan 1998: 20 hits in 252 days at 5 %; Jorion, Value at Risk, chapter 6."""
    assert kupiec(np.arange(252) < 20, 0.05).statistic == pytest.approx(3.91, abs=0.005)
    hits = chain(218, 14, 14, 6)
    pairs = pd.crosstab(hits[:-1], hits[1:]).to_numpy().ravel().tolist()
    assert pairs == [218, 14, 14, 6]
    test = christoffersen_independence(hits)
    assert test.statistic == pytest.approx(9.53, abs=0.005)
    assert test.p < 0.01
    joint = kupiec(np.arange(252) < 20, 0.05).statistic + test.statistic
    assert joint == pytest.approx(13.44, abs=0.01)


def test_kupiec_agrees_with_a_plain_likelihood_ratio():
    for n, k, level in [(250, 5, 0.01), (500, 20, 0.05), (60, 60, 0.5)]:
        free = binom.logpmf(k, n, k / n)
        plain = 2 * (free - binom.logpmf(k, n, level))
        test = kupiec(np.arange(n) < k, level)
        assert test.statistic == pytest.approx(plain, abs=1e-6)
        assert test.p_asymptotic == pytest.approx(chi2.sf(plain, 1), abs=1e-6)
        assert (test.n, test.hits) == (n, k)


def test_p_of_kupiec_is_uniform_where_chi_squared_is_not():
    rng = np.random.default_rng(0)
    p, limit = [], []
    for seed in range(3000):
        test = kupiec(rng.random(250) < 0.01, 0.01, random_state=seed)
        p.append(test.p)
        limit.append(test.p_asymptotic)
    for level in (0.05, 0.1, 0.5):
        assert np.mean(np.array(p) < level) == pytest.approx(level, abs=0.02)
    assert np.mean(np.array(limit) < 0.05) > 0.08


# ----------------------------------------------------------------------------- Christoffersen


def plain_chain_ratio(hits):
    table = np.zeros((2, 2))
    for before, now in zip(hits[:-1], hits[1:]):
        table[int(before), int(now)] += 1
    ratio = 0.0
    share = table.sum(axis=0) / table.sum()
    for row in table:
        for count, total in zip(row, share):
            if count:
                ratio += 2 * count * math.log(count / row.sum() / total)
    return ratio


@pytest.mark.parametrize(("n", "level"), [(50, 0.2), (250, 0.05), (1000, 0.01)])
def test_independence_agrees_with_a_plain_computation(n, level):
    rng = np.random.default_rng(n)
    for _ in range(5):
        hits = rng.random(n) < level
        test = christoffersen_independence(hits)
        assert test.statistic == pytest.approx(plain_chain_ratio(hits), abs=1e-6)
        both = christoffersen(hits, level)
        total = test.statistic + kupiec(hits, level).statistic
        assert both.statistic == pytest.approx(total, abs=1e-6)
        assert both.p_asymptotic == pytest.approx(chi2.sf(total, 2), abs=1e-6)


def test_right_models_are_rejected_in_five_percent_of_samples():
    rng = np.random.default_rng(1)
    p = {"independence": [], "coverage": [], "dq": []}
    for _ in range(300):
        hits, var = rng.random(250) < 0.05, rng.random(250)
        p["independence"].append(christoffersen_independence(hits).p)
        p["coverage"].append(christoffersen(hits, 0.05).p)
        p["dq"].append(dynamic_quantile(hits, var, 0.05).p)
    for name, found in p.items():
        assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.03), name
        assert np.mean(found) == pytest.approx(0.5, abs=0.05), name


def test_clustered_hits_are_found():
    hits = np.zeros(1000, dtype=bool)
    hits[100:900:40] = hits[101:901:40] = True  # in pairs, 40 of them
    assert christoffersen_independence(hits).p < 0.01
    assert christoffersen(hits, 0.04).p < 0.01
    assert dynamic_quantile(hits, np.arange(1000.0) % 7, 0.04).p < 0.01
    assert kupiec(hits, 0.04).p > 0.5


def test_hits_two_days_apart_break_ties_of_the_first_order_test():
    """The likelihood ratio sees neighbours alone; its ties are broken by how close hits lie."""
    near, far = np.zeros((2, 500), dtype=bool)
    near[[100, 102, 200, 202, 300, 302]] = True
    far[[50, 130, 210, 290, 370, 450]] = True
    one, other = christoffersen_independence(near), christoffersen_independence(far)
    assert one.statistic == other.statistic
    assert one.p < 0.07 < 0.5 < other.p  # a pair of neighbours would have a chance of 6 %


@pytest.mark.parametrize("n", [30, 250])
def test_samples_without_any_hit_or_with_hits_alone_have_an_answer(n):
    var, es = np.ones(n), np.full(n, 1.2)
    for hits in (np.zeros(n), np.ones(n), np.arange(n) == n // 2):
        for test in (
            kupiec(hits, 0.05),
            christoffersen_independence(hits),
            christoffersen(hits, 0.05),
            dynamic_quantile(hits, var, 0.05),
            acerbi_szekely(np.where(hits > 0, -1.5, 0.0), var, es, 0.05),
        ):
            assert np.isfinite(test.statistic)
            assert 0 <= test.p <= 1
    assert christoffersen_independence(np.zeros(n)).p == 1.0
    assert christoffersen_independence(np.arange(n) == 3).p == 1.0
    assert kupiec(np.ones(n), 0.05).p < 1e-6


def test_p_is_a_function_of_the_data():
    rng = np.random.default_rng(3)
    hits, var = rng.random(300) < 0.03, rng.random(300)
    state = np.random.get_state()[1].tolist()
    for test in (
        lambda: kupiec(hits, 0.03),
        lambda: christoffersen_independence(hits),
        lambda: christoffersen(hits, 0.03),
        lambda: dynamic_quantile(hits, var, 0.03),
    ):
        one = test()
        risk_tests._independent.cache_clear()
        risk_tests._permuted.cache_clear()
        risk_tests._drawn_sums.cache_clear()
        assert one == test()
    assert state == np.random.get_state()[1].tolist()


def test_rows_with_nan_are_left_out():
    rng = np.random.default_rng(4)
    hits = (rng.random(200) < 0.1).astype(float)
    gappy = np.insert(hits, [20, 90], np.nan)
    assert kupiec(gappy, 0.1) == kupiec(hits, 0.1)
    assert christoffersen(gappy, 0.1) == christoffersen(hits, 0.1)
    var = rng.random(202)
    other = np.delete(var, [20, 91])
    assert dynamic_quantile(gappy, var, 0.1) == dynamic_quantile(hits, other, 0.1)


# --------------------------------------------------------------------------- dynamic quantile


@pytest.mark.parametrize(("n", "level", "lags"), [(60, 0.2, 2), (250, 0.05, 4), (1000, 0.01, 4)])
def test_dynamic_quantile_agrees_with_a_plain_regression(n, level, lags):
    rng = np.random.default_rng(n)
    hits, var = rng.random(n) < level, rng.lognormal(size=n)
    columns = [np.ones(n - lags), *(hits[lags - k : n - k] for k in range(1, lags + 1)), var[lags:]]
    X, y = np.column_stack(columns).astype(float), hits[lags:] - level
    fitted = X @ np.linalg.lstsq(X, y, rcond=None)[0]
    plain = y @ fitted / (level * (1 - level))
    test = dynamic_quantile(hits, var, level, lags=lags)
    assert test.statistic == pytest.approx(plain, abs=2e-6)
    assert test.p_asymptotic == pytest.approx(chi2.sf(plain, np.linalg.matrix_rank(X)), abs=1e-6)


def test_dynamic_quantile_does_not_depend_on_the_unit_of_the_value_at_risk():
    rng = np.random.default_rng(6)
    hits, var = rng.random(300) < 0.05, rng.lognormal(size=300)
    one = dynamic_quantile(hits, var, 0.05)
    other = dynamic_quantile(hits, 1e-4 * var + 1.0, 0.05)
    assert (one.statistic, one.p) == pytest.approx((other.statistic, other.p), abs=1e-5)


# ------------------------------------------------------------------------- expected shortfall


def test_acerbi_szekely_agrees_with_a_plain_sum():
    rng = np.random.default_rng(7)
    r, sd = rng.standard_normal(500), rng.lognormal(sigma=0.3, size=500)
    var, es = 1.645 * sd, 2.063 * sd
    hit = r < -var
    test = acerbi_szekely(r, var, es, 0.05)
    assert test.statistic == pytest.approx(1 + (r[hit] / es[hit]).sum() / 25)
    assert (test.n, test.hits) == (500, int(hit.sum()))
    assert math.isnan(test.p_asymptotic)


@pytest.mark.parametrize(("name", "published"), [("normal", -0.70), ("t4", -0.78)])
def test_the_published_limit_of_a_year_is_that_of_five_percent(name, published):
    """Acerbi & Szekely 2014, table 4: about -0.7 at 250 rows and 2.5 %, a little lower for t."""
    law = LAWS[name]
    var, es = -law.ppf(0.025), shortfall(law, 0.025)
    rng = np.random.default_rng(8)
    r = law.rvs(size=(4000, 250), random_state=rng)
    z2 = 1 + np.where(r < -var, r, 0.0).sum(axis=1) / (250 * 0.025 * es)
    assert np.quantile(z2, 0.05) == pytest.approx(published, abs=0.06)
    p = [acerbi_szekely(each, np.full(250, var), np.full(250, es), 0.025).p for each in r[:1500]]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(p) == pytest.approx(0.5, abs=0.03)


def test_losses_larger_than_the_shortfall_are_found_though_the_count_is_right():
    rng = np.random.default_rng(9)
    r = rng.standard_t(3, size=2500)
    var = np.full(2500, -t(3).ppf(0.025))
    thin = var * shortfall(norm, 0.025) / 1.96  # as if the tail were normal
    assert kupiec(r < -var, 0.025).p > 0.05
    assert acerbi_szekely(r, var, thin, 0.025).p < 0.01
    assert acerbi_szekely(r, var, np.full(2500, shortfall(t(3), 0.025)), 0.025).p > 0.05


def test_arrays_that_cannot_be_used_are_refused():
    five = np.ones(5)
    with pytest.raises(ValueError, match="'hits': expected one axis of True and False"):
        kupiec([0.0, 2.0], 0.05)
    with pytest.raises(ValueError, match="'hits': expected at least one known row"):
        christoffersen([np.nan], 0.05)
    with pytest.raises(ValueError, match="'level': .* found 99.*0.01"):
        kupiec([True], 99)
    with pytest.raises(ValueError, match="expected at least 24 known rows for 4 lags, found '5'"):
        dynamic_quantile(five, five, 0.05)
    with pytest.raises(ValueError, match="'var': expected one number for each of 4 hits"):
        dynamic_quantile(five[:4], five, 0.05)
    with pytest.raises(ValueError, match="expected three arrays of one length"):
        acerbi_szekely(five, five, five[:4], 0.05)
    with pytest.raises(ValueError, match="'es': expected positive losses.*found '5 rows"):
        acerbi_szekely(five, 2 * five, five, 0.05)
    with pytest.raises(ValueError, match="'es': expected positive losses"):
        acerbi_szekely(five, -2 * five, -five, 0.05)


def test_tick_loss_is_the_pinball_loss():
    rng = np.random.default_rng(10)
    r, q = rng.standard_normal((2, 50))
    np.testing.assert_array_equal(tick_loss(r, q, 0.05), pinball_loss(r, q, 0.05))


# ---------------------------------------------------------------------------------- the table


def test_a_right_model_passes_and_a_narrow_one_fails():
    frame = backtest_frame(1000, models=("right", "narrow"))
    table = risk_table(frame)
    assert table.index.names == ["model", "level", "series"]
    assert list(table.index) == [
        ("right", 0.01, "a"),
        ("right", 0.05, "a"),
        ("narrow", 0.01, "a"),
        ("narrow", 0.05, "a"),
    ]
    tests = ["kupiec_p", "independence_p", "coverage_p", "dq_p", "z2_p"]
    assert (table.loc["right", tests] > 0.05).all(axis=None)
    assert (table.loc["narrow", ["kupiec_p", "coverage_p", "dq_p", "z2_p"]] < 0.01).all(axis=None)
    line = table.loc[("narrow", 0.05, "a")]
    assert line["verdict"].startswith(
        "narrow, level 5 %: hits 20.5 % against 5 %: too many (Kupiec p < 0.001)"
    )
    assert "larger losses than the expected shortfall (p < 0.001)" in line["verdict"]
    said = table.loc[("right", 0.05, "a"), "verdict"]
    assert "no evidence against coverage (Kupiec p = 0." in said
    assert "no evidence that hits cluster (p = 0." in said
    assert "no evidence against the expected shortfall (p = 0." in said


def test_the_numbers_of_a_line_are_those_of_the_functions():
    frame = backtest_frame(300)
    line = risk_table(frame, [0.025]).iloc[0]
    var, es = value_at_risk(frame, 0.025), expected_shortfall(frame, 0.025)
    hits = frame["actual"] < -var
    assert (line["n"], line["left_out"], line["expected"]) == (300, 0, 7.5)
    assert line["hits"] == hits.sum()
    assert line["hit_rate"] == hits.mean()
    assert line["hit_se"] == pytest.approx(hits.std(ddof=0) / math.sqrt(300))
    assert line["tick"] == pytest.approx(pinball_loss(frame["actual"], -var, 0.025).mean())
    assert (line["var"], line["es"]) == pytest.approx((var.mean(), es.mean()))
    lot = zlib.crc32(frame["actual"].to_numpy().tobytes())
    assert line["kupiec_p"] == kupiec(hits, 0.025, random_state=lot).p
    assert line["independence_p"] == christoffersen_independence(hits, random_state=lot).p
    assert line["coverage_p"] == christoffersen(hits, 0.025, random_state=lot).p
    assert line["dq_p"] == dynamic_quantile(hits, var, 0.025).p
    test = acerbi_szekely(frame["actual"], var, es, 0.025)
    assert (line["z2"], line["z2_p"]) == (test.statistic, test.p)


def test_missing_outcomes_and_forecasts_are_left_out_and_counted():
    frame = backtest_frame(100)
    frame.loc[5, "actual"] = np.nan
    frame.loc[7:8, [c for c in frame if c.startswith("q0")]] = np.nan
    line = risk_table(frame, [0.05]).iloc[0]
    assert (line["n"], line["left_out"]) == (97, 3)
    plain = frame.drop(index=[5, 7, 8])
    lot = zlib.crc32(plain["actual"].to_numpy().tobytes())
    assert line["kupiec_p"] == kupiec(plain["actual"] < norm.ppf(0.05), 0.05, random_state=lot).p


def test_of_many_series_of_a_right_model_five_percent_fail_though_the_seed_is_one():
    rng = np.random.default_rng(5)
    n_series, n = 400, 250
    frame = pd.DataFrame(
        {
            "model": "right",
            "series": np.repeat(np.arange(n_series), n),
            "time": np.tile(np.arange(1, n + 1), n_series),
            "cutoff": np.tile(np.arange(n), n_series),
            "step": 1,
            "target": "r",
            "forecast": 0.0,
            "q0.01": norm.ppf(0.01),
            "actual": rng.normal(size=n_series * n),
        }
    )
    for seed in (0, 1):  # with one lot for all series without a hit: 10 %, or 2 %
        table = risk_table(frame, [0.01], random_state=seed).drop(index=POOLED, level="series")
        for name in ("kupiec_p", "coverage_p"):
            assert (table[name] < 0.05).mean() == pytest.approx(0.05, abs=0.025)
    pd.testing.assert_frame_equal(
        table, risk_table(frame, [0.01], random_state=1).drop(index=POOLED, level="series")
    )
    assert table.loc[table["hits"] == 0, "kupiec_p"].nunique() > 10


def test_series_are_pooled_with_an_error_that_knows_that_they_fall_together():
    frame = backtest_frame(500, series=("a", "b", "c"))
    apart = risk_table(frame, [0.05])
    same = frame.assign(actual=np.tile(frame["actual"].to_numpy()[:500], 3))
    together = risk_table(same, [0.05])
    assert list(apart.index.get_level_values("series")) == ["a", "b", "c", POOLED]
    for table in (apart, together):
        pooled = table.loc[("right", 0.05, POOLED)]
        single = table.drop(index=("right", 0.05, POOLED))
        assert pooled["hits"] == single["hits"].sum()
        assert pooled["n"] == 1500
        assert math.isnan(pooled["kupiec_p"])
        assert pooled["verdict"].startswith("right, level 5 %, all series: hits ")
        assert "over 3 series (standard error " in pooled["verdict"]
    assert apart["verdict"].iloc[1].startswith("right, level 5 %, series b: hits ")
    one = together.loc[("right", 0.05, "a"), "hit_se"]
    assert together.loc[("right", 0.05, POOLED), "hit_se"] == pytest.approx(one)
    assert apart.loc[("right", 0.05, POOLED), "hit_se"] == pytest.approx(one / 3**0.5, rel=0.2)


def test_overlapping_forecasts_are_taken_apart():
    frame = backtest_frame(90, horizon=3)
    for step in (1, 2, 3):
        assert risk_table(frame, [0.05], step=step)["n"].item() == 90 / step
    third = frame[(frame["step"] == 3) & (frame["cutoff"] % 3 == 0)]
    line = risk_table(frame, [0.05], step=3).iloc[0]
    assert line["hits"] == (third["actual"] < norm.ppf(0.05)).sum()
    sparse = frame[frame["cutoff"] % 3 == 0]  # already apart: every one is used
    assert risk_table(sparse, [0.05], step=3)["n"].item() == 30
    with pytest.raises(tsf.DataError, match="one of the steps 1, 2, 3, found 4"):
        risk_table(frame, step=4)


def test_a_model_that_reaches_no_level_takes_no_rows_from_the_others():
    frame = backtest_frame(60, models=("right", "shallow"), levels=(0.01, 0.05, 0.2, 0.95))
    shallow = frame["model"] == "shallow"
    frame.loc[shallow, ["q0.01", "q0.05"]] = np.nan
    frame = frame[~shallow | (frame["cutoff"] < frame["cutoff"].median())]
    with pytest.warns(UserWarning, match="'shallow' at 0.05. They are left out there") as caught:
        table = tsf.risk_table(frame, [0.05])
    assert len(caught) == 1
    assert list(table.index.get_level_values("model")) == ["right"]
    assert table["n"].item() == 60
    assert table["left_out"].item() == 0


def test_infinite_quantiles_are_an_infinite_risk():
    frame = backtest_frame(60, levels=(0.01, 0.05, 0.95))
    frame.loc[frame.index[:40], ["q0.01", "q0.05"]] = -np.inf
    table = tsf.risk_table(frame, [0.05])
    assert table["var"].item() == table["es"].item() == np.inf
    assert np.isnan(table["dq_p"].item())
    lowest = pd.DataFrame({"q0.01": [-np.inf], "q0.05": [-1.6]})
    assert tsf.expected_shortfall(lowest, 0.05).item() == np.inf


def test_models_without_quantiles_are_left_out_of_the_table():
    both = pd.concat(
        [backtest_frame(50), backtest_frame(50, models=["point"], levels=())], ignore_index=True
    )
    assert set(risk_table(both).index.get_level_values("model")) == {"right"}
    with pytest.raises(tsf.DataError, match="no quantiles to read risk from"):
        risk_table(backtest_frame(50, levels=()))
    coarse = backtest_frame(50, levels=(0.05, 0.5, 0.95))
    assert np.isnan(risk_table(coarse, [0.05])[["es", "z2_p"]]).all(axis=None)
    with pytest.raises(tsf.DataError, match="found the levels 0.05, 0.5, 0.95 of model 'right'"):
        risk_table(coarse, [0.01])


def test_short_series_have_no_regression_but_the_rest():
    line = risk_table(backtest_frame(15), [0.05]).iloc[0]
    assert math.isnan(line["dq_p"])
    assert line[["kupiec_p", "independence_p", "z2_p"]].notna().all()


def test_labels_of_the_rows_do_not_matter():
    frame = backtest_frame(100, models=("right", "narrow"), series=("a", "b"))
    turned = frame.sample(frac=1.0, random_state=0).set_index(np.zeros(len(frame), dtype=int))
    order = risk_table(frame).index
    pd.testing.assert_frame_equal(risk_table(turned).loc[order], risk_table(frame))


def test_several_targets_stand_apart():
    frame = backtest_frame(60)
    both = pd.concat([frame, frame.assign(target="s", actual=10.0)], ignore_index=True)
    table = risk_table(both, [0.05])
    assert table.index.names == ["model", "target", "level", "series"]
    assert table.loc[("right", "s", 0.05, "a"), "hits"] == 0


def test_a_frame_of_another_toolkit_is_judged_too():
    frame = backtest_frame(60).rename(columns={"series": "unique_id", "time": "ds", "actual": "y"})
    names = {"series": "unique_id", "time": "ds", "actual": "y"}
    assert risk_table(frame, [0.05], names)["n"].item() == 60


def test_wrong_parameters_of_the_table_are_refused():
    frame = backtest_frame(60)
    with pytest.raises(ValueError, match="'levels': expected the probability of a hit"):
        risk_table(frame, [0.05, 95])
    with pytest.raises(ValueError, match="'alpha': expected a number between 0 and 1"):
        risk_table(frame, alpha=5)
    with pytest.raises(ValueError, match="'step': expected a whole number"):
        risk_table(frame, step=0)
    with pytest.raises(ValueError, match="'levels': expected at least one level"):
        risk_table(frame, [])
    with pytest.raises(ValueError, match="'random_state': expected a whole number of at least 0"):
        risk_table(frame, random_state=-1)
    with pytest.raises(tsf.DataError, match="no forecasts: expected a backtest frame with rows"):
        risk_table(frame.iloc[:0])
    with pytest.raises(tsf.DataError, match="rows are repeated .*found 5 repeated rows"):
        risk_table(pd.concat([frame, frame.iloc[:5]], ignore_index=True))
    pooled = backtest_frame(60, series=("a", POOLED))
    with pytest.raises(tsf.DataError, match="a series is called 'pooled': expected another name"):
        risk_table(pooled)
    assert len(risk_table(pooled[pooled["series"] == POOLED], [0.05])) == 1


def test_quantiles_that_cross_are_sorted_within_their_row():
    rng = np.random.default_rng(5)
    names = [f"q{level:g}" for level in tail_levels()]
    ends = np.sort(rng.standard_t(4, size=(100, len(names))), axis=1)
    ends[rng.uniform(size=ends.shape) < 0.1] = np.nan
    straight = pd.DataFrame(ends, columns=names)
    crossed = straight.copy()
    for row in range(100):
        given = np.flatnonzero(~np.isnan(ends[row]))
        crossed.iloc[row, given] = rng.permutation(ends[row, given])
    for level in (0.01, 0.03, 0.05):
        for read in (value_at_risk, expected_shortfall):
            pd.testing.assert_series_equal(read(crossed, level), read(straight, level))
    assert value_at_risk(crossed, 0.05).isna().equals(straight["q0.05"].isna())


def test_one_row_of_crossing_quantiles_does_not_break_the_table():
    frame = backtest_frame(200)
    names = [name for name in frame if name.startswith("q0")]
    frame.loc[7, names] = frame.loc[7, names].to_numpy()[::-1]
    pd.testing.assert_frame_equal(risk_table(frame), risk_table(backtest_frame(200)))


def test_a_shortfall_that_is_no_loss_is_named_in_the_verdict():
    frame = backtest_frame(200)
    names = [name for name in frame if name.startswith("q0")]
    frame.loc[[3, 9], names] = frame.loc[[3, 9], names] + 10.0
    line = risk_table(frame, [0.05]).iloc[0]
    assert np.isnan(line["z2"]) and np.isnan(line["z2_p"]) and np.isfinite(line["es"])
    assert line["verdict"].endswith(
        "the expected shortfall is not positive in 2 of 200 rows, and not tested."
    )


def test_a_model_that_does_not_reach_a_level_is_left_out_there_by_name():
    fine, coarse = (
        backtest_frame(100),
        backtest_frame(100, models=["coarse"], levels=(0.05, 0.1, 0.5, 0.95)),
    )
    both = pd.concat([coarse, fine], ignore_index=True)
    with pytest.warns(UserWarning, match=r"do not reach a level: 'coarse' at 0.01\.") as caught:
        table = risk_table(both, [0.01, 0.05])
    assert len(caught) == 1 and caught[0].filename == __file__
    assert list(table.index) == [("coarse", 0.05, "a"), ("right", 0.01, "a"), ("right", 0.05, "a")]
    pd.testing.assert_frame_equal(table.loc[["right"]], risk_table(fine, [0.01, 0.05]))
    with pytest.warns(UserWarning, match="'coarse' at 0.97, 'coarse' at 0.99"):
        assert len(risk_table(both, [0.05, 0.97, 0.99])) == 4


def test_models_are_judged_on_the_rows_that_all_have():
    frame = backtest_frame(120, models=("right", "narrow"), series=("a", "b"), horizon=3)
    late = (frame["model"] == "narrow") & frame["cutoff"].between(30, 39)
    names = [name for name in frame if name.startswith("q0")]
    shared = frame[~frame["cutoff"].between(30, 39)]
    for some in (frame[~late], frame.assign(**{n: frame[n].mask(late) for n in names})):
        with pytest.warns(UserWarning, match="'narrow' lacks 20 of 240 rows, at 10 of 120"):
            table = risk_table(some, [0.05])
        assert set(table["left_out"]) == {10, 20}
        plain = risk_table(shared, [0.05])
        same = [name for name in table if name != "left_out"]
        pd.testing.assert_frame_equal(table[same], plain[same])
    with pytest.warns(UserWarning, match="'narrow' lacks"):
        table = risk_table(frame[~late], [0.05], step=3)
    assert table["n"].unique().tolist() == [36, 72]  # of 40 apart, 4 of them lacking
    with (
        pytest.warns(UserWarning, match="'narrow' lacks"),
        pytest.raises(tsf.DataError, match="cannot be compared.*none that right, narrow share"),
    ):
        risk_table(frame[(frame["model"] == "right") == (frame["cutoff"] > 60)])


def test_without_any_hit_there_is_no_error_of_their_rate():
    frame = backtest_frame(60, series=("a", "b")).assign(actual=1.0)
    table = risk_table(frame, [0.05])
    assert table["hit_se"].isna().all() and (table["hits"] == 0).all()
    assert table["verdict"].iloc[-1] == (
        "right, level 5 %, all series: hits 0 % against 5 % over 2 series."
    )


def test_a_series_without_outcomes_keeps_its_line():
    frame = backtest_frame(60, series=("a", "b"))
    gone = frame["series"] == "b"
    table = risk_table(frame.assign(actual=frame["actual"].mask(gone)), [0.05])
    line = table.loc[("right", 0.05, "b")]
    assert (line["n"], line["left_out"]) == (0, 60) and np.isnan(line["kupiec_p"])
    assert line["verdict"] == ("right, level 5 %, series b: no row with an outcome and a forecast.")


def test_series_of_one_length_share_their_simulated_samples():
    rng = np.random.default_rng(12)
    risk_tests._drawn_sums.cache_clear()
    for _ in range(5):
        dynamic_quantile(rng.random(300) < 0.03, rng.random(300), 0.03)
    assert risk_tests._drawn_sums.cache_info().misses == 1
    dynamic_quantile(rng.random(300) < 0.03, rng.random(300), 0.03, random_state=1)
    assert risk_tests._drawn_sums.cache_info().misses == 2


def test_a_conformal_wrapper_gives_value_at_risk_at_its_edge():
    rng = np.random.default_rng(11)
    panel = pd.DataFrame({"r": rng.standard_normal(400)})
    model = tsf.ConformalForecaster(tsf.EWMA(alpha=0.01, levels=()), level=0.9, method="split")
    frame = model.fit(panel).forecast_origins(panel)
    var = value_at_risk(frame, 0.05)
    np.testing.assert_allclose(var, -frame["q0.05"])
    assert var.mean() == pytest.approx(1.645, abs=0.5)
    with pytest.raises(tsf.DataError, match="expected 2 quantiles at or below 0.05"):
        expected_shortfall(frame, 0.05)
