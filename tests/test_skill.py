"""The skill table: the test against a plain numpy one, and its words against known cases."""

from __future__ import annotations

import doctest
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.backtesting import skill as module
from tsforecast.backtesting.skill import (
    correction_share,
    diebold_mariano,
    holm,
    shift_lag,
    skill,
)

LEVELS = (0.1, 0.5, 0.9)


def random_walk(n, *, n_series=2, seed=0, persistence=1.0):
    """Rows by series: AR(1) with the given persistence."""
    noise = np.random.default_rng(seed).normal(size=(n, n_series))
    values = np.zeros((n, n_series))
    for row in range(1, n):
        values[row] = persistence * values[row - 1] + noise[row]
    return values


def backtest_frame(values, forecasters, *, horizon, first=20, every=1, times=None, levels=()):
    """A backtest frame; a forecaster maps (values known at the cutoff, step) to a forecast."""
    n, n_series = values.shape
    times = np.arange(n) if times is None else times
    records = [
        {
            "model": model,
            "series": f"s{column}",
            "time": times[cutoff + step],
            "cutoff": times[cutoff],
            "step": step,
            "target": "y",
            "forecast": forecast(values[: cutoff + 1, column], step),
            "actual": values[cutoff + step, column],
        }
        for model, forecast in forecasters.items()
        for column in range(n_series)
        for cutoff in range(first, n - horizon, every)
        for step in range(1, horizon + 1)
    ]
    frame = pd.DataFrame(records)
    for level in levels:
        frame[f"q{level:g}"] = frame["forecast"] + 2 * (level - 0.5)
    return frame


def last(known, step):
    return known[-1]


def mean_of_five(known, step):
    return known[-5:].mean()


def shrink(known, step):
    return 0.8**step * known[-1]


def plain_test(a, b, horizon):
    """Diebold-Mariano with Bartlett weights, HLN and Student's t, by the book."""
    d = np.asarray(a) - np.asarray(b)
    n = len(d)
    lags = max(horizon - 1, min(2 * horizon - 2, n // 10), int(np.ceil(n ** (1 / 3))))
    u = d - d.mean()
    variance = sum(x * x for x in u) / n
    for k in range(1, lags + 1):
        covariance = sum(u[i] * u[i - k] for i in range(k, n)) / n
        variance += 2 * (1 - k / (lags + 1)) * covariance
    statistic = d.mean() / np.sqrt(variance / n)
    statistic *= np.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    return statistic, student.cdf(statistic, n - 1)


def overlapping(rng, n, horizon):
    noise = rng.normal(size=n + horizon - 1)
    return np.convolve(noise, np.ones(horizon), mode="valid")


def test_docstring_examples_hold():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(("n", "horizon"), [(10, 1), (60, 5), (300, 5), (200, 20)])
def test_diebold_mariano_agrees_with_a_plain_computation(n, horizon):
    rng = np.random.default_rng(n)
    a, b = rng.exponential(size=n) + 0.1, overlapping(rng, n, horizon)
    test = diebold_mariano(a, b, horizon=horizon)
    assert (test.statistic, test.p_less) == pytest.approx(plain_test(a, b, horizon))
    swapped = diebold_mariano(b, a, horizon=horizon)
    assert swapped.statistic == pytest.approx(-test.statistic)
    assert swapped.p_less == pytest.approx(1 - test.p_less)


@pytest.mark.parametrize(("n", "horizon", "limit"), [(100, 1, 0.08), (200, 5, 0.10)])
def test_equal_models_are_rarely_called_better(n, horizon, limit):
    rng = np.random.default_rng(1)
    p = [
        diebold_mariano(overlapping(rng, n, horizon), np.zeros(n), horizon=horizon).p_less
        for _ in range(2000)
    ]
    assert 0.02 < np.mean(np.array(p) < 0.05) < limit
    assert 0.4 < np.median(p) < 0.6


def test_ignoring_the_overlap_would_reject_far_too_often():
    rng = np.random.default_rng(1)
    p = [
        diebold_mariano(overlapping(rng, 200, 20), np.zeros(200), horizon=h).p_less
        for _ in range(200)
        for h in (1, 20)
    ]
    naive, honest = np.array(p).reshape(-1, 2).T
    assert np.mean(honest < 0.05) + 0.05 < np.mean(naive < 0.05)


def test_a_better_model_is_found():
    rng = np.random.default_rng(2)
    p = []
    for _ in range(100):
        d = overlapping(rng, 300, 3)
        p.append(diebold_mariano(d - 1.0, np.zeros(300), horizon=3).p_less)
    assert np.mean(np.array(p) < 0.05) > 0.95


def test_identical_losses_give_p_one_and_constant_gaps_certainty():
    loss = np.random.default_rng(3).exponential(size=30)
    assert diebold_mariano(loss, loss * (1 + 1e-13), horizon=2).identical
    assert diebold_mariano(loss, loss, horizon=2).p_less == 1.0
    assert diebold_mariano(np.full(20, 1.0), np.full(20, 2.0), horizon=1).p_less == 0.0
    assert diebold_mariano(np.full(20, 2.0), np.full(20, 1.0), horizon=1).p_less == 1.0


def test_too_few_origins_give_no_p_value():
    loss = np.random.default_rng(4).exponential(size=(2, 15))
    assert np.isnan(diebold_mariano(*loss[:, :9], horizon=1).p_less)
    assert np.isfinite(diebold_mariano(*loss[:, :10], horizon=1).p_less)
    assert np.isnan(diebold_mariano(*loss, horizon=8).p_less)


def test_losses_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="'loss_b': expected losses of shape"):
        diebold_mariano(np.zeros(12), np.zeros(13), horizon=1)
    with pytest.raises(ValueError, match="expected finite losses, found '1 that are not'"):
        diebold_mariano([np.nan, *range(12)], np.zeros(13), horizon=1)


def test_holm_agrees_with_the_worked_example():
    # four tests: 4 * .005, 3 * .01, 2 * .03, then not below the one before
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, np.nan, 0.6]), [1.0, np.nan, 1.0])
    assert holm([]).shape == (0,)


def test_holm_agrees_with_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(5).uniform(0, 0.2, 12)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_shifted_copy_is_found_at_its_shift(horizon):
    frame = backtest_frame(random_walk(120), {"naive": last}, horizon=horizon)
    assert shift_lag(frame, horizon=horizon) == horizon
    older = backtest_frame(random_walk(120), {"m": lambda y, step: y[-2]}, horizon=horizon)
    assert shift_lag(older, horizon=horizon) == horizon + 1


def test_a_forecast_in_time_has_no_shift():
    values = random_walk(120)
    frame = backtest_frame(values, {"m": last}, horizon=3)
    noise = np.random.default_rng(6).normal(size=len(frame))
    assert shift_lag(frame.assign(forecast=frame["actual"] + 0.3 * noise), horizon=3) == 0


def test_the_shift_survives_dates_gaps_and_missing_values():
    values = random_walk(200)
    dates = pd.bdate_range("2020-01-01", periods=200, tz="Europe/Berlin")
    frame = backtest_frame(values, {"naive": last}, horizon=3, times=dates)
    assert shift_lag(frame, horizon=3) == 3
    in_blocks = frame[(frame["cutoff"] < dates[80]) | (frame["cutoff"] > dates[110])]
    assert shift_lag(in_blocks, horizon=3) == 3
    every_third = backtest_frame(values, {"naive": last}, horizon=3, every=3)
    assert shift_lag(every_third, horizon=3) == 3


def test_the_last_known_value_counts_where_one_is_missing():
    values = random_walk(200, n_series=1)
    gone = np.random.default_rng(7).uniform(size=values.shape) < 0.3
    values[gone] = np.nan
    frame = backtest_frame(values, {"naive": lambda y, step: y[~np.isnan(y)][-1]}, horizon=2)
    assert shift_lag(frame, horizon=2) == 2


def test_every_series_counts_alike_in_the_shift():
    values = random_walk(120, n_series=3) * [1.0, 1.0, 1e6]
    frame = backtest_frame(values, {"m": last}, horizon=2)
    in_time = frame["series"] == "s2"
    frame["forecast"] = frame["forecast"].where(~in_time, frame["actual"])
    assert shift_lag(frame, horizon=2) == 2


def test_origins_too_far_apart_give_no_shift():
    frame = backtest_frame(random_walk(120), {"naive": last}, horizon=2, every=7)
    assert np.isnan(shift_lag(frame, horizon=2))
    # with only the last step kept, neighbours in the frame are not neighbours in the series
    sparse = backtest_frame(random_walk(120), {"naive": last}, horizon=2, every=2)
    assert np.isnan(shift_lag(sparse[sparse["step"] == 2], horizon=2))


def test_the_shift_is_of_one_model():
    frame = backtest_frame(random_walk(60), {"a": last, "b": shrink}, horizon=2)
    with pytest.raises(ValueError, match="'frame': expected one model, found 'a, b'"):
        shift_lag(frame, horizon=2)


def test_correction_share_of_copies_and_of_the_truth():
    rng = np.random.default_rng(8)
    naive, actual = rng.normal(size=(2, 500))
    assert correction_share(naive, naive, actual) == 0
    assert correction_share(naive + 3.0, naive, actual) == pytest.approx(0, abs=1e-20)
    assert correction_share(actual, naive, actual) == pytest.approx(1)
    assert np.isnan(correction_share(actual, naive, naive))


def test_correction_share_of_an_honest_forecast_is_its_r2():
    rng = np.random.default_rng(9)
    signal, noise = rng.normal(size=(2, 100_000))
    share = correction_share(0.5 * signal, np.zeros(100_000), 0.5 * signal + noise)
    assert share == pytest.approx(0.25 / 1.25, abs=0.01)


MODELS = {"naive": last, "mean": mean_of_five}


def test_skill_over_the_naive_on_a_series_that_reverts():
    values = random_walk(400, persistence=0.8)
    frame = backtest_frame(values, {**MODELS, "lstm": shrink}, horizon=3)
    table = skill(frame, horizon=3, baselines=["naive", "mean"])
    row = table.loc["lstm"]
    assert list(table.index) == ["lstm"] and table.attrs["loss"] == "absolute"
    assert row["ratio"] < 1 and row["dm"] < 0 and row["p_holm"] < 0.05
    assert row["verdict"].startswith(f"lstm: skill over {row['baseline']} (absolute loss ")
    assert "% lower, p " in row["verdict"] and "377 origins)." in row["verdict"]
    assert "shifted copy" not in row["verdict"]


def test_the_table_agrees_with_a_plain_computation():
    values = random_walk(150, persistence=0.9)
    frame = backtest_frame(values, {**MODELS, "lstm": shrink}, horizon=4)
    row = skill(frame, horizon=4, baselines=["naive", "mean"], loss="squared").loc["lstm"]
    error = (frame["forecast"] - frame["actual"]) ** 2
    loss = {
        model: np.array([error[rows.index].mean() for _, rows in part.groupby("cutoff")])
        for model, part in frame.groupby("model")
    }
    assert row["baseline"] == min(("naive", "mean"), key=lambda name: loss[name].mean())
    assert row["loss"] == pytest.approx(loss["lstm"].mean())
    assert row["naive_loss"] == pytest.approx(loss["naive"].mean())
    expected = plain_test(loss["lstm"], loss[row["baseline"]], 4)
    assert (row["dm"], row["p"]) == pytest.approx(expected)
    assert row["naive_p"] == pytest.approx(plain_test(loss["lstm"], loss["naive"], 4)[1])
    assert row["n_origins"] == len(loss["lstm"])


def test_no_skill_over_a_random_walk():
    values = random_walk(300)
    frame = backtest_frame(values, MODELS, horizon=2)
    naive = frame[frame["model"] == "naive"]
    noise = 0.1 * np.random.default_rng(10).normal(size=len(naive))
    network = naive.assign(model="lstm", forecast=naive["forecast"] + noise)
    row = skill(pd.concat([frame, network]), horizon=2, baselines=["naive", "mean"]).loc["lstm"]
    assert row["baseline"] == "naive" and row["p"] == row["naive_p"] > 0.05
    assert row["verdict"].startswith("lstm: no evidence of skill over naive (absolute loss ")
    assert row["shift"] == row["shift_naive"] == 2
    assert (
        "A shifted copy: 2 steps ahead it lies closest to the series 2 rows earlier, as the naive "
        "does, and its departures from the naive have 0.7 % of the variance of the outcome's."
        in row["verdict"]
    )
    assert 0 < row["correction_share"] < 0.02


def test_a_worse_model_is_called_worse():
    frame = backtest_frame(random_walk(300), {**MODELS, "lstm": lambda y, s: y[-1] + 5}, horizon=2)
    row = skill(frame, horizon=2, baselines=["naive", "mean"]).loc["lstm"]
    assert row["p"] > 0.95
    assert row["verdict"].startswith("lstm: significantly worse than naive (absolute loss ")
    assert "% higher, p < 0.001, 278 origins)." in row["verdict"]


def test_a_late_forecast_that_leaves_the_naive_is_no_copy():
    frame = backtest_frame(random_walk(300), {**MODELS, "lstm": shrink}, horizon=1)
    row = skill(frame, horizon=1, baselines=["naive", "mean"]).loc["lstm"]
    assert row["shift"] == row["shift_naive"] == 1 and row["correction_share"] > 0.1
    assert row["verdict"].endswith(
        "1 step ahead it lies closest to the series 1 row earlier, as the naive does; its "
        f"departures from the naive have {row['correction_share']:.0%} of the variance of the "
        "outcome's.".replace("%", " %")
    )
    assert "copy" not in row["verdict"]


def test_a_copy_of_the_naive_is_called_identical():
    frame = backtest_frame(random_walk(120), {**MODELS, "lstm": last}, horizon=2)
    row = skill(frame, horizon=2, baselines=["naive", "mean"]).loc["lstm"]
    assert (row["p"], row["p_holm"], row["dm"], row["ratio"]) == (1, 1, 0, 1)
    assert row["correction_share"] == 0
    assert row["verdict"].startswith("lstm: identical to naive in absolute loss at every origin.")


def test_of_equal_baselines_the_naive_is_the_best():
    models = {"drift": last, **MODELS, "lstm": shrink}
    frame = backtest_frame(random_walk(120), models, horizon=1)
    table = skill(frame, horizon=1, baselines=["drift", "naive", "mean"])
    assert table["baseline"].tolist() == ["naive"]


def test_few_origins_are_said_to_be_too_few():
    frame = backtest_frame(random_walk(30), {**MODELS, "lstm": shrink}, horizon=4)
    row = skill(frame, horizon=4, baselines=["naive"]).loc["lstm"]
    assert np.isnan(row["p"]) and np.isnan(row["p_holm"]) and row["n_origins"] == 6
    assert "but 6 origins are too few for a test (at least " in row["verdict"]


def test_one_cutoff_is_one_observation_whatever_the_number_of_series():
    one = backtest_frame(random_walk(120, n_series=1), {**MODELS, "lstm": shrink}, horizon=2)
    copies = pd.concat([one.assign(series=f"copy{i}") for i in range(20)])
    alone = skill(one, horizon=2, baselines=["naive", "mean"])
    together = skill(copies, horizon=2, baselines=["naive", "mean"])
    assert together["p"].item() == pytest.approx(alone["p"].item())
    assert together["n_origins"].item() == alone["n_origins"].item()


def test_models_are_compared_on_the_rows_they_share():
    frame = backtest_frame(random_walk(120), {**MODELS, "lstm": shrink}, horizon=2)
    short = frame[~((frame["model"] == "lstm") & (frame["cutoff"] < 60))]
    expected = skill(frame[frame["cutoff"] >= 60], horizon=2, baselines=["naive", "mean"])
    with pytest.warns(UserWarning, match="compared on the rows that all of them have"):
        table = skill(short, horizon=2, baselines=["naive", "mean"])
    columns = ["loss", "baseline_loss", "naive_loss", "dm", "p", "n_origins"]
    pd.testing.assert_frame_equal(table[columns], expected[columns])


def test_p_values_are_adjusted_for_the_models_shown():
    networks = {f"net{i}": (lambda y, s, i=i: 0.9 ** (s * i) * y[-1]) for i in (1, 2, 3)}
    frame = backtest_frame(random_walk(300, persistence=0.9), {**MODELS, **networks}, horizon=2)
    table = skill(frame, horizon=2, baselines=["naive", "mean"])
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    assert table["verdict"].str.contains("after Holm over 3 models").all()


def test_overlap_counts_origins_not_rows():
    values = random_walk(400, persistence=0.8)
    apart = backtest_frame(values, {**MODELS, "lstm": shrink}, horizon=5, every=5)
    loss = (apart["forecast"] - apart["actual"]).abs().groupby([apart["model"], apart["cutoff"]])
    mean = loss.mean().unstack("model")
    row = skill(apart, horizon=5, baselines=["naive"]).loc["lstm"]
    assert row["p"] == pytest.approx(plain_test(mean["lstm"], mean["naive"], 1)[1])


def test_overlap_is_counted_on_dates_with_time_zones():
    values = random_walk(120, persistence=0.8)
    dates = pd.bdate_range("2020-01-01", periods=120, tz="Europe/Berlin")
    models = {**MODELS, "lstm": shrink}
    plain = skill(backtest_frame(values, models, horizon=3), horizon=3, baselines=["naive"])
    dated = backtest_frame(values, models, horizon=3, times=dates)
    pd.testing.assert_frame_equal(skill(dated, horizon=3, baselines=["naive"]), plain)


def test_auto_takes_quantiles_only_if_every_model_has_them():
    frame = backtest_frame(random_walk(120), {**MODELS, "lstm": shrink}, horizon=2, levels=LEVELS)
    everyone = skill(frame, horizon=2, baselines=["naive", "mean"])
    assert everyone.attrs["loss"] == "quantile" and everyone["naive_p"].notna().all()
    quantiles = [f"q{level:g}" for level in LEVELS]
    points = frame.copy()
    points.loc[points["model"] == "naive", quantiles] = np.nan
    assert skill(points, horizon=2, baselines=["naive", "mean"]).attrs["loss"] == "absolute"
    row = skill(points, horizon=2, baselines=["naive", "mean"], loss="quantile").loc["lstm"]
    assert row["baseline"] == "mean" and np.isnan(row["naive_p"]) and np.isnan(row["naive_loss"])
    # the two numbers on copies still need the naive's points only
    assert row["shift_naive"] == 2 and row["correction_share"] > 0
    assert row["loss"] == pytest.approx(everyone["loss"].item())


def test_the_quantile_loss_is_refused_without_a_baseline_to_compare():
    frame = backtest_frame(random_walk(80), {**MODELS, "lstm": shrink}, horizon=2, levels=LEVELS)
    frame.loc[frame["model"] != "lstm", ["q0.1", "q0.5", "q0.9"]] = np.nan
    with pytest.raises(DataError, match="found quantiles from lstm"):
        skill(frame, horizon=2, baselines=["naive", "mean"], loss="quantile")


def test_qlike_is_refused_where_it_is_undefined():
    values = np.exp(random_walk(80))
    frame = backtest_frame(values, {**MODELS, "lstm": mean_of_five}, horizon=2)
    table = skill(frame, horizon=2, baselines=["naive", "mean"], loss="qlike")
    assert table["loss"].item() > 0
    frame.loc[frame.index[frame["model"] == "lstm"][0], "forecast"] = -1.0
    with pytest.raises(DataError, match=r"QLIKE loss is undefined.* 1 rows that are not \(lstm\)"):
        skill(frame, horizon=2, baselines=["naive", "mean"], loss="qlike")


def test_only_baselines_give_an_empty_table():
    frame = backtest_frame(random_walk(80), MODELS, horizon=2)
    table = skill(frame, horizon=2, baselines=["naive", "mean"])
    assert len(table) == 0 and table.index.name == "model" and "verdict" in table


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mse"}, "parameter 'loss': expected one of"),
        ({"horizon": 0}, "parameter 'horizon'"),
        ({"alpha": 5}, "parameter 'alpha'"),
        ({"baselines": ["mean"]}, "with 'naive' among them"),
        ({"baselines": "naive"}, "expected a sequence of model names"),
        ({"baselines": ["naive", "ewma"]}, r"models of the frame: naive, mean, found \['ewma'\]"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, message):
    frame = backtest_frame(random_walk(40), MODELS, horizon=2)
    with pytest.raises(ValueError, match=message):
        skill(frame, **{"horizon": 2, "baselines": ["naive"], **options})


def test_rows_that_cannot_be_paired_are_refused():
    frame = backtest_frame(random_walk(40), {**MODELS, "lstm": shrink}, horizon=2)
    with pytest.raises(DataError, match="expected one row per model"):
        skill(pd.concat([frame, frame]), horizon=2, baselines=["naive"])
    apart = (frame["model"] == "lstm") == (frame["cutoff"] > 30)
    with (
        pytest.raises(DataError, match="found none that lstm, mean, naive share"),
        pytest.warns(UserWarning, match="'lstm' lacks 44 of 72 rows"),
    ):
        skill(frame[apart], horizon=2, baselines=["naive", "mean"])


def two_targets(networks, n=200, **options):
    """One backtest frame of prices and volumes, and the single frames."""
    models = {**MODELS, **networks}
    frames = {
        name: backtest_frame(
            random_walk(n, seed=seed, persistence=0.8), models, horizon=2, **options
        ).assign(target=name)
        for seed, name in enumerate(["price", "volume"])
    }
    return pd.concat(frames.values(), ignore_index=True), frames


def test_several_targets_are_tested_one_by_one():
    both, single = two_targets({"lstm": shrink, "gru": last})
    table = skill(both, 2, baselines=["naive", "mean"])
    assert list(table.index) == [
        ("lstm", "price"),
        ("lstm", "volume"),
        ("gru", "price"),
        ("gru", "volume"),
    ]
    assert table.index.names == ["model", "target"]
    for name, frame in single.items():
        alone = skill(frame, 2, baselines=["naive", "mean"])
        mine = table.xs(name, level="target")
        same = [column for column in table if column not in ("p_holm", "verdict")]
        pd.testing.assert_frame_equal(mine[same], alone[same])


def test_p_values_are_adjusted_for_models_and_targets():
    both, _ = two_targets({"lstm": shrink, "gru": lambda y, s: 0.5 * y[-1]})
    table = skill(both, 2, baselines=["naive", "mean"])
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    assert table["verdict"].str.contains("after Holm over 2 models x 2 targets,").all()
    one, _ = two_targets({"lstm": shrink})
    table = skill(one, 2, baselines=["naive", "mean"])
    assert table["verdict"].str.contains("after Holm over 2 targets,").all()


def test_the_verdict_names_the_target_where_there_are_several():
    both, single = two_targets({"lstm": shrink})
    sentences = skill(both, 2, baselines=["naive", "mean"])["verdict"]
    assert [text.split(":")[0] for text in sentences] == ["lstm on price", "lstm on volume"]
    alone = skill(single["price"], 2, baselines=["naive", "mean"])["verdict"].item()
    assert alone.startswith("lstm: ")


def test_only_baselines_give_an_empty_table_of_several_targets():
    both, _ = two_targets({})
    table = skill(both, 2, baselines=["naive", "mean"])
    assert len(table) == 0 and table.index.names == ["model", "target"]


def test_in_sample_rows_are_left_out():
    frame = backtest_frame(random_walk(120), {**MODELS, "lstm": shrink}, horizon=2)
    inside = frame.assign(in_sample=True, forecast=frame["actual"])
    both = pd.concat([frame.assign(in_sample=False), inside], ignore_index=True)
    options = {"horizon": 2, "baselines": ["naive", "mean"]}
    pd.testing.assert_frame_equal(skill(both, **options), skill(frame, **options))


def test_no_warning_and_no_change_to_the_frame():
    frame = backtest_frame(random_walk(60), {**MODELS, "lstm": last}, horizon=2)
    frame["actual"] = 1.0
    frame["forecast"] = 1.0
    before = frame.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = skill(frame, horizon=2, baselines=["naive", "mean"])
    assert table["verdict"].str.contains("identical").all()
    pd.testing.assert_frame_equal(frame, before)


def test_missing_days_are_named_by_model_and_not_filled():
    frame = backtest_frame(random_walk(120), {**MODELS, "lstm": shrink}, horizon=2)
    gone = (frame["model"] == "lstm") & frame["cutoff"].isin([30, 31, 50, 51])
    late = (frame["model"] == "mean") & (frame["cutoff"] == 90) & (frame["series"] == "s0")
    empty = frame.assign(forecast=frame["forecast"].mask(gone | late))
    for some in (frame[~(gone | late)], empty):  # without rows, or with empty ones
        with pytest.warns(UserWarning, match="compared on the rows") as caught:
            table = skill(some, 2, baselines=["naive", "mean"])
        assert [str(warning.message) for warning in caught] == [
            "Models are compared on the rows that all of them have: 'lstm' lacks 16 of 392 rows, "
            "at 4 of 98 cutoffs (the first: 30, 31, 50 and 1 more); 'mean' lacks 2 of 392 rows, "
            "at 1 of 98 cutoffs (the first: 90). Nothing is filled in."
        ]
        assert caught[0].filename == __file__
        assert table.attrs["lacking"] == {"lstm": 4, "mean": 1}
        assert table["n_origins"].tolist() == [94]
    assert skill(frame, 2, baselines=["naive", "mean"]).attrs["lacking"] == {}


def test_skill_by_step_tests_every_step_with_its_own_overlap():
    values = random_walk(300, persistence=0.8)
    frame = backtest_frame(values, {**MODELS, "lstm": shrink, "gru": last}, horizon=3)
    table = skill(frame, baselines=["naive", "mean"], by="step")
    assert list(table.index) == [(m, s) for m in ("lstm", "gru") for s in (1, 2, 3)]
    assert table.index.names == ["model", "step"]
    error = (frame["forecast"] - frame["actual"]).abs()
    for step in (1, 2, 3):
        mean = error[frame["step"] == step].groupby([frame["cutoff"], frame["model"]]).mean()
        loss = mean.unstack("model")
        row = table.loc[("lstm", step)]
        assert row["loss"] == pytest.approx(loss["lstm"].mean())
        assert row["baseline"] == loss[["naive", "mean"]].mean().idxmin()
        expected = plain_test(loss["lstm"], loss[row["baseline"]], step)
        assert (row["dm"], row["p"]) == pytest.approx(expected)
        assert row["shift_naive"] == step
        assert f"{step} row" in table.loc[("gru", step), "verdict"]
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    verdict = table.loc[("lstm", 2), "verdict"]
    assert verdict.startswith("lstm, step 2: ") and "after Holm over 2 models x 3 steps," in verdict


def test_skill_by_series_is_that_of_each_series_alone():
    frame = backtest_frame(random_walk(200, persistence=0.8), {**MODELS, "lstm": shrink}, horizon=2)
    table = skill(frame, baselines=["naive", "mean"], by="series")
    assert list(table.index) == [("lstm", "s0"), ("lstm", "s1")]
    same = [column for column in table if column not in ("p_holm", "verdict")]
    for series in ("s0", "s1"):
        alone = skill(frame[frame["series"] == series], baselines=["naive", "mean"])
        assert table.loc[("lstm", series), same].tolist() == alone.loc["lstm", same].tolist()
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    assert table["verdict"].iloc[1].startswith("lstm, series s1: ")
    assert table["verdict"].str.contains("after Holm over 2 series,").all()


def test_skill_by_step_of_several_targets():
    both, single = two_targets({"lstm": shrink})
    table = skill(both, baselines=["naive", "mean"], by="step")
    assert table.index.names == ["model", "target", "step"]
    assert list(table.index) == [("lstm", t, s) for t in ("price", "volume") for s in (1, 2)]
    same = [column for column in table if column not in ("p_holm", "verdict")]
    for target, frame in single.items():
        alone = skill(frame, baselines=["naive", "mean"], by="step")
        pd.testing.assert_frame_equal(table.xs(target, level="target")[same], alone[same])
    assert table["verdict"].iloc[0].startswith("lstm on price, step 1: ")
    assert "after Holm over 2 targets x 2 steps," in table["verdict"].iloc[0]


def test_a_series_that_models_do_not_share_is_named():
    frame = backtest_frame(random_walk(60), {**MODELS, "lstm": shrink}, horizon=2)
    some = frame[~((frame["model"] == "lstm") & (frame["series"] == "s1"))]
    with (
        pytest.raises(DataError, match=r"cannot be compared \(series 's1'\)"),
        pytest.warns(UserWarning, match="'lstm' lacks"),
    ):
        skill(some, baselines=["naive", "mean"], by="series")


def test_skill_by_anything_else_is_refused():
    frame = backtest_frame(random_walk(40), MODELS, horizon=2)
    with pytest.raises(ValueError, match="parameter 'by': expected one of .*step"):
        skill(frame, baselines=["naive"], by="cutoff")


def test_only_baselines_give_an_empty_table_by_step():
    frame = backtest_frame(random_walk(60), MODELS, horizon=2)
    table = skill(frame, baselines=["naive", "mean"], by="step")
    assert len(table) == 0 and table.index.names == ["model", "step"]


def test_a_forecast_that_hardly_moves_is_not_said_to_be_late():
    returns = random_walk(300, persistence=0.0)
    still = {"lstm": lambda y, s: 0.05 * y[-1], **MODELS}
    row = skill(backtest_frame(returns, still, horizon=1), 1, baselines=["naive", "mean"])
    assert row["shift"].item() == row["shift_naive"].item() == 1
    assert "lies closest" not in row["verdict"].item()
    assert "Its departures from the naive have " in row["verdict"].item()
    # nor where series of different levels make it move between them
    levels = returns + [0.0, 100.0]
    near = {"lstm": lambda y, s: 0.95 * round(y.mean(), -1) + 0.05 * y[-1], **MODELS}
    row = skill(backtest_frame(levels, near, horizon=1), 1, baselines=["naive", "mean"])
    assert row["shift"].item() == row["shift_naive"].item() == 1
    assert "lies closest" not in row["verdict"].item()


def test_names_of_models_need_not_be_text():
    frame = backtest_frame(random_walk(150, persistence=0.8), {**MODELS, "lstm": shrink}, horizon=2)
    for new in ({"lstm": 3, "mean": 1, "naive": "naive"}, {"lstm": 3, "mean": 1, "naive": 2}):
        numbers = frame.assign(model=frame["model"].map(new))
        some = [new["naive"], new["mean"]]
        table, expected = (
            skill(numbers, baselines=some),
            skill(frame, baselines=["naive", "mean"]),
        )
        assert list(table.index) == [3]
        assert table["p"].item() == expected["p"].item()
        assert table["verdict"].item().startswith("3: skill over ")
        losses = tsf.loss_table(numbers)
        assert set(losses) == set(new.values()) and tsf.spa(losses, 1).best == 3


def test_the_shift_by_series_and_target_is_that_of_each_alone():
    both, single = two_targets({"lstm": shrink})
    table = skill(both, baselines=["naive", "mean"], by="series")
    for target, frame in single.items():
        for series in ("s0", "s1"):
            rows = frame[(frame["series"] == series) & (frame["model"] == "lstm")]
            found = table.loc[("lstm", target, series), "shift"]
            assert found == shift_lag(rows, horizon=2)
