"""Metrics against plain loops and sums done by hand."""

from __future__ import annotations

import doctest
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tsforecast import metrics
from tsforecast._checks import DataError
from tsforecast.metrics import (
    evaluate,
    pinball_loss,
    qlike,
    quantile_column,
    quantile_levels,
    quantiles_given,
    smape,
    widest_interval,
)

LEVELS = (0.1, 0.5, 0.9)


def make_frame(*, n_series=3, n_cutoffs=4, horizon=2, models=("a", "b"), seed=0):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [models, [f"s{i}" for i in range(n_series)], range(n_cutoffs), range(1, horizon + 1)],
        names=["model", "series", "cutoff", "step"],
    )
    frame = index.to_frame(index=False)
    frame["time"] = frame["cutoff"] + frame["step"]
    frame["target"] = "y"
    outcome = {key: rng.uniform(1, 9) for key in zip(frame["series"], frame["time"], strict=True)}
    frame["actual"] = [outcome[key] for key in zip(frame["series"], frame["time"], strict=True)]
    frame["forecast"] = frame["actual"] + rng.normal(size=len(frame))
    for level in LEVELS:
        frame[quantile_column(level)] = frame["forecast"] + 3 * (level - 0.5)
    # a shuffled frame must not matter
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def make_scales(frame, seed=1):
    scales = frame[["series", "cutoff"]].drop_duplicates().reset_index(drop=True)
    rng = np.random.default_rng(seed)
    return scales.assign(mae=rng.uniform(0.5, 2, len(scales)), mse=rng.uniform(0.5, 2, len(scales)))


def test_docstring_examples_hold():
    assert doctest.testmod(metrics).failed == 0


def test_quantile_columns_are_read_and_written_alike():
    levels = [0.005, 0.1, 0.25, 0.5, 0.975]
    assert quantile_levels(quantile_column(level) for level in reversed(levels)) == levels
    assert quantile_levels(["q", "q2", "queue", "forecast", 3, "q0.5"]) == [0.5]


def test_widest_interval_needs_a_symmetric_pair():
    assert widest_interval([0.1, 0.2, 0.8, 0.5]) == (0.2, 0.8)
    assert widest_interval([0.05, 0.5, 0.9]) is None
    assert widest_interval([]) is None


def test_pinball_loss_is_least_at_the_quantile():
    sample = np.random.default_rng(0).normal(size=20_000)
    grid = np.linspace(-2, 2, 401)
    for level in (0.1, 0.5, 0.8):
        best = grid[np.argmin([pinball_loss(sample, q, level).mean() for q in grid])]
        assert best == pytest.approx(np.quantile(sample, level), abs=0.02)


def test_pinball_loss_at_the_median_is_half_the_absolute_error():
    np.testing.assert_allclose(pinball_loss([1.0, 5.0], [2.0, 2.0], 0.5), [0.5, 1.5])


def test_qlike_is_least_at_the_true_variance_under_a_noisy_proxy():
    proxy = 2.0 * np.random.default_rng(0).chisquare(1, 50_000)
    grid = np.linspace(1, 4, 61)
    best = grid[np.argmin([qlike(proxy, f).mean() for f in grid])]
    assert best == pytest.approx(proxy.mean(), abs=0.05)


def test_smape_is_bounded_and_counts_zero_for_zero():
    np.testing.assert_allclose(smape([0, 0, 2, 2], [0, 5, -2, 2]), [0, 2, 2, 0])
    assert np.isnan(smape(1.0, np.nan))


def test_all_metrics_of_a_small_frame_by_hand():
    frame = pd.DataFrame(
        {
            "model": "m",
            "series": ["x", "x", "z"],
            "time": [1, 2, 1],
            "cutoff": [0, 1, 0],
            "step": 1,
            "target": "y",
            "forecast": [2.0, 2.0, 10.0],
            "q0.1": [1.0, 1.0, 8.0],
            "q0.9": [3.0, 4.0, 14.0],
            "actual": [1.0, 5.0, 10.0],
        }
    )
    scales = pd.DataFrame(
        {"series": ["x", "x", "z"], "cutoff": [0, 1, 0], "mae": [1.0, 2.0, 4.0], "mse": [1.0, 4, 9]}
    )
    row = evaluate(frame, scales=scales).loc["m"]
    assert row["mae"] == pytest.approx((1 + 3 + 0) / 3)
    assert row["rmse"] == pytest.approx(np.sqrt((1 + 9 + 0) / 3))
    assert row["mase"] == pytest.approx(((1 / 1 + 3 / 2) / 2 + 0) / 2)
    assert row["rmsse"] == pytest.approx((np.sqrt((1 / 1 + 9 / 4) / 2) + 0) / 2)
    assert row["smape"] == pytest.approx((2 / 3 + 6 / 7 + 0) / 3)
    pinball = 0.0 + 0.1 * 2 + 0.1 * 4 + 0.9 * 1 + 0.1 * 2 + 0.1 * 4
    assert row["wql"] == pytest.approx(2 * pinball / (2 * 16))
    assert row["crps"] == pytest.approx(2 * pinball / (2 * 3))
    assert row["coverage"] == pytest.approx(2 / 3)
    assert row["width"] == pytest.approx((2 + 3 + 6) / 3)
    assert row["qlike"] == pytest.approx(
        ((0.5 - np.log(0.5) - 1) + (2.5 - np.log(2.5) - 1) + 0) / 3
    )
    assert row["n"] == 3


@pytest.mark.parametrize("by", [None, "series", ["step", "cutoff"], "target"])
def test_metrics_agree_with_a_plain_loop(by):
    frame, names = make_frame(), [] if by is None else [by] if isinstance(by, str) else by
    scales = make_scales(frame)
    scores = evaluate(frame, by=by, scales=scales)
    assert list(scores.index.names) == ["model", *names]
    groups = list(frame.groupby(["model", *names]))
    assert len(scores) == len(groups)
    for key, rows in groups:
        row = scores.loc[key if names else key[0]]
        loss = scaled = 0.0
        by_series: dict[str, list[tuple[float, float]]] = {}
        for _, one in rows.iterrows():
            for level in LEVELS:
                error = one["actual"] - one[quantile_column(level)]
                loss += max(level * error, (level - 1) * error)
            at = (scales["series"] == one["series"]) & (scales["cutoff"] == one["cutoff"])
            error = abs(one["actual"] - one["forecast"])
            by_series.setdefault(one["series"], []).append(
                (error / scales["mae"][at].item(), error**2 / scales["mse"][at].item())
            )
        scaled = np.array([np.mean(pairs, axis=0) for pairs in by_series.values()])
        assert row["wql"] == pytest.approx(2 * loss / (3 * rows["actual"].abs().sum()))
        assert row["crps"] == pytest.approx(2 * loss / (3 * len(rows)))
        assert row["mase"] == pytest.approx(scaled[:, 0].mean())
        assert row["rmsse"] == pytest.approx(np.sqrt(scaled[:, 1]).mean())
        assert row["mae"] == pytest.approx((rows["actual"] - rows["forecast"]).abs().mean())
        assert row["n"] == len(rows)


def test_crps_nears_the_closed_form_of_a_normal():
    n, levels = 40_000, np.round(np.arange(0.01, 1, 0.01), 2)
    frame = make_frame(n_series=1, n_cutoffs=n, horizon=1, models=("m",)).drop(columns=["q0.5"])
    frame["actual"] = np.random.default_rng(2).normal(size=n)
    columns = {quantile_column(level): norm.ppf(level) for level in levels}
    frame = pd.concat(
        [frame.drop(columns=["q0.1", "q0.9"]), pd.DataFrame(columns, frame.index)], axis=1
    )
    scores = evaluate(frame, levels=list(levels))
    assert scores["crps"].item() == pytest.approx(1 / np.sqrt(np.pi), rel=0.02)
    assert scores["coverage"].item() == pytest.approx(0.98, abs=0.005)
    assert scores.attrs["interval"] == 0.98


def test_rows_without_an_actual_are_left_out():
    frame = make_frame()
    gone = frame.assign(actual=frame["actual"].where(frame["step"] == 1))
    pd.testing.assert_frame_equal(evaluate(gone), evaluate(frame[frame["step"] == 1]))


def test_a_model_that_skips_rows_scores_nan():
    frame = make_frame()
    row = frame.index[frame["model"] == "a"][0]
    frame.loc[row, ["forecast", "q0.9"]] = np.nan
    scores = evaluate(frame)
    assert scores.loc["a", ["mae", "wql", "coverage", "width"]].isna().all()
    assert scores.loc["b", ["mae", "wql", "coverage", "width"]].notna().all()


def test_quantiles_are_compared_on_the_levels_all_models_give():
    frame = make_frame(models=("a", "b", "naive"))
    quantiles = [quantile_column(level) for level in LEVELS]
    frame.loc[frame["model"] == "naive", quantiles] = np.nan
    frame.loc[frame["model"] == "b", ["q0.1", "q0.9"]] = np.nan
    assert quantiles_given(frame).sum(axis=1).to_dict() == {"a": 3, "b": 1, "naive": 0}
    scores = evaluate(frame)
    assert np.isnan(scores.loc["naive", "wql"])
    # only the median is left, and there the quantile loss is the absolute error
    assert scores.loc["a", "crps"] == pytest.approx(scores.loc["a", "mae"])
    assert np.isnan(scores.attrs["interval"]) and scores["coverage"].isna().all()
    assert evaluate(frame, levels=LEVELS)["wql"].isna().to_dict() == {
        "a": False,
        "b": True,
        "naive": True,
    }


def test_a_point_frame_without_quantile_columns_is_scored():
    scores = evaluate(make_frame().drop(columns=["q0.1", "q0.5", "q0.9"]))
    assert scores["mae"].notna().all() and scores["wql"].isna().all()


def test_a_constant_series_has_no_scaled_error():
    frame = make_frame()
    scales = make_scales(frame)
    scales.loc[scales["series"] == "s0", ["mae", "mse"]] = 0.0
    by_series = evaluate(frame, by="series", scales=scales)["mase"]
    assert by_series.xs("s0", level="series").isna().all()
    rest = by_series.groupby("model").mean()
    pd.testing.assert_series_equal(evaluate(frame, scales=scales)["mase"], rest)


def test_qlike_is_nan_when_a_forecast_is_no_variance():
    frame = make_frame().assign(forecast=1.0)
    frame.loc[frame.index[frame["model"] == "b"][0], "forecast"] = 0.0
    assert evaluate(frame)["qlike"].isna().to_dict() == {"a": False, "b": True}


def test_scales_of_several_targets_are_joined_by_target():
    frame = pd.concat([make_frame(), make_frame(seed=3).assign(target="z")], ignore_index=True)
    scales = make_scales(frame)
    with pytest.raises(DataError, match="a column `target`"):
        evaluate(frame, scales=scales)
    both = pd.concat([scales.assign(target="y"), scales.assign(target="z", mae=scales["mae"] * 2)])
    split = evaluate(frame, by="target", scales=both)["mase"]
    alone = evaluate(frame[frame["target"] == "z"], scales=scales)["mase"]
    np.testing.assert_allclose(split.xs("z", level="target"), alone / 2)


def test_several_targets_are_never_averaged():
    y, z = make_frame(), make_frame(seed=3).assign(target="z")
    scores = evaluate(pd.concat([y, z], ignore_index=True), by="step")
    assert scores.index.names == ["model", "target", "step"]
    for name, rows in (("y", y), ("z", z)):
        pd.testing.assert_frame_equal(scores.xs(name, level="target"), evaluate(rows, by="step"))


def test_in_sample_rows_are_scored_only_when_asked_for():
    frame, inside = make_frame(), make_frame(seed=5)
    both = pd.concat([frame.assign(in_sample=False), inside.assign(in_sample=True)])
    pd.testing.assert_frame_equal(evaluate(both), evaluate(frame))
    pd.testing.assert_frame_equal(evaluate(both, in_sample=True), evaluate(inside))
    with pytest.raises(DataError, match="no in-sample rows.*fitted=True"):
        evaluate(frame, in_sample=True)


def test_metrics_may_be_named_first_and_alone():
    frame = make_frame()
    pd.testing.assert_frame_equal(evaluate(frame, "mae"), evaluate(frame, metrics=["mae"]))


def test_chosen_metrics_come_in_the_order_asked():
    assert list(evaluate(make_frame(), metrics=["wql", "mae"])) == ["wql", "mae", "n"]


def test_the_frame_is_left_as_it_was():
    frame = make_frame()
    before = frame.copy()
    evaluate(frame, by="series", scales=make_scales(frame))
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[:0], "expected rows with a known `actual`, found 0 rows"),
        (lambda f: f.assign(actual=np.nan), "found 48 rows, none of them with an actual"),
        (lambda f: f.drop(columns=["cutoff", "step"]), "found no column cutoff among"),
    ],
)
def test_a_frame_that_cannot_be_scored_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        evaluate(change(make_frame()))


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: pd.concat([f, f.iloc[[3]]]), "rows are repeated.*found 1 repeated rows"),
        (lambda f: pd.concat([f, f.groupby("model").head(1)]), "found 2 repeated rows"),
        (lambda f: f.assign(cutoff=f["time"]), "forecasts of rows that were known.*48 rows at or"),
        (lambda f: f.drop(index=f.index[0]), "models have unequal rows.*all 24 .*found 23 of 'a'"),
        (lambda f: f.assign(time=f["time"].astype(str)), "time is text"),
        (lambda f: f.assign(series=f["series"].mask(f["series"] == "s1")), "rows without series"),
    ],
)
def test_rows_of_our_own_form_are_checked_too(change, message, order):
    frame = make_frame()
    if order == "sorted":  # as of our own backtests: models behind each other, alike
        frame = frame.sort_values(["model", "series", "cutoff", "step"], ignore_index=True)
    else:
        frame = frame.sort_values("model", kind="stable", ignore_index=True)
    evaluate(frame)
    with pytest.raises(DataError, match=message):
        evaluate(change(frame))


def test_rows_of_our_own_form_may_be_of_other_targets_categories_and_time_zones():
    frame = make_frame()
    wanted = evaluate(frame, "mae")
    kinds = frame.assign(model=frame["model"].astype("category"))
    one = kinds[kinds["model"] == frame["model"].iloc[0]]
    assert len(evaluate(one, "mae").dropna()) == 1
    first, second = (part for _, part in list(frame.groupby("model"))[:2])
    apart = pd.concat([first.assign(target="x"), second.assign(target="y")])
    assert len(evaluate(apart, "mae")) == 2
    zones = []
    for zone in ("America/New_York", "Asia/Tokyo"):
        dated = frame.assign(series=frame["series"].astype(str) + zone)
        for name in ("time", "cutoff"):
            days = pd.Timestamp("2024-01-01", tz=zone) + pd.to_timedelta(frame[name], unit="D")
            dated[name] = days
        zones.append(dated)
    found = evaluate(pd.concat(zones), "mae")
    pd.testing.assert_series_equal(found["mae"], wanted["mae"])
    text = zones[0].astype({"time": str})
    with pytest.raises(DataError, match=r"time is text.*such as '2024-.*to_timedelta"):
        evaluate(text, "mae")


def test_rows_without_an_outcome_may_be_those_of_one_model():
    frame = make_frame()
    unknown = frame.iloc[[0]].assign(actual=np.nan, time=99)
    pd.testing.assert_frame_equal(evaluate(pd.concat([frame, unknown])), evaluate(frame))


def test_groups_that_are_missing_are_refused_by_name():
    frame = make_frame().assign(regime="calm")
    frame.loc[[4, 7], "regime"] = None
    with pytest.raises(
        DataError,
        match=r"without a group \(column 'regime'; first rows: 4, 7\).*2 of 48 rows.*fill",
    ):
        evaluate(frame, "mae", by="regime")
    named = frame.assign(regime=frame["regime"].fillna("other"))
    assert evaluate(named, "mae", by="regime")["n"].sum() == 48


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "serie"}, r"parameter 'by': .*'series'.*found \['serie'\]"),
        ({"by": "forecast"}, r"parameter 'by'.*found \['forecast'\]"),
        ({"metrics": ["mae", "mape"]}, r"parameter 'metrics': .*found \['mape'\]"),
        ({"metrics": ["mase"]}, "parameter 'scales': .*mase"),
        ({"levels": [0.3]}, r"parameter 'levels': .*\[0.1, 0.5, 0.9\], found \[0.3\]"),
        ({"levels": []}, "parameter 'levels'"),
        ({"levels": 0.3}, r"parameter 'levels': .*\[0.1, 0.5, 0.9\], found 0.3"),
        ({"levels": ["q0.1"]}, r"parameter 'levels': .*found \['q0.1'\]"),
        ({"by": len}, r"parameter 'by': .*found \[<built-in function len>\]"),
        ({"metrics": len}, r"parameter 'metrics': .*found \[<built-in function len>\]"),
    ],
)
def test_unknown_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(make_frame(), **options)


def test_a_single_level_need_not_be_in_a_list():
    frame = make_frame()
    pd.testing.assert_frame_equal(evaluate(frame, levels=0.5), evaluate(frame, levels=[0.5]))


def test_quantile_metrics_by_name_need_quantiles():
    with pytest.raises(ValueError, match="share no quantile columns"):
        evaluate(make_frame().drop(columns=["q0.1", "q0.5", "q0.9"]), metrics=["wql"])


def test_bad_scales_are_refused():
    frame = make_frame()
    scales = make_scales(frame)
    with pytest.raises(DataError, match="found no column mse"):
        evaluate(frame, scales=scales.drop(columns="mse"))
    with pytest.raises(DataError, match="one row per series, cutoff, found 12 repeated rows"):
        evaluate(frame, scales=pd.concat([scales, scales]))


def test_many_rows_take_no_loop_over_groups():
    frame = make_frame(n_series=500, n_cutoffs=100, horizon=5, models=("m",))
    start = time.perf_counter()
    scores = evaluate(frame, by=["series", "cutoff"], scales=make_scales(frame))
    assert len(scores) == 50_000
    # a Python step per group would take some ten seconds
    assert time.perf_counter() - start < 8


def path_frame(values, *, models=("naive",), target="close", first=20, n_series=1):
    """One step ahead from the last value, and from a model a little better than it."""
    n, parts = len(values), []
    for series in range(n_series):
        y = np.asarray(values) * (series + 1)
        rows = np.arange(first, n - 1)
        for model in models:
            share = 0.0 if model == "naive" else 0.05
            part = {
                "series": series,
                "time": rows + 1,
                "cutoff": rows,
                "step": 1,
                "target": target,
                "forecast": y[rows] + share * (y[rows + 1] - y[rows]),
                "actual": y[rows + 1],
            }
            parts.append(pd.DataFrame({"model": model, **part}))
    return pd.concat(parts, ignore_index=True)


def simulated(n=1200, seed=0):
    """Returns with volatility that clusters, their volatility, and the price."""
    rng = np.random.default_rng(seed)
    state = np.zeros(n)
    for t in range(1, n):
        state[t] = 0.9 * state[t - 1] + 0.2 * rng.normal()
    volatility = np.exp(state + 0.3 * rng.normal(size=n))
    returns = 0.01 * np.exp(state) * rng.normal(size=n)
    return {"returns": returns, "volatility": volatility, "price": 100 * np.exp(returns.cumsum())}


def test_r2_and_correlation_agree_with_numpy():
    frame = make_frame()
    table = evaluate(frame, ["r2", "correlation"], by="series")
    for (model, series), row in table.iterrows():
        part = frame[(frame["model"] == model) & (frame["series"] == series)]
        a, f = part["actual"], part["forecast"]
        assert row["r2"] == pytest.approx(1 - ((a - f) ** 2).sum() / ((a - a.mean()) ** 2).sum())
        assert row["correlation"] == pytest.approx(np.corrcoef(a, f)[0, 1])


def test_r2_and_correlation_are_scored_only_by_name_and_nan_where_undefined():
    frame = make_frame()
    assert not {"r2", "correlation"} & set(evaluate(frame))
    frame.loc[frame["model"] == "a", "forecast"] = 3.0
    table = evaluate(frame, ["r2", "correlation"])
    assert table.loc["a"].isna().tolist() == [False, True, False]
    flat = evaluate(frame.assign(actual=2.0), ["r2", "correlation"])
    assert flat[["r2", "correlation"]].isna().all(axis=None)
    frame.loc[frame.index[frame["model"] == "b"][0], "forecast"] = np.nan
    assert evaluate(frame, ["r2", "correlation"]).loc["b"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize("metric", ["r2", "correlation"])
def test_a_price_level_warns_that_the_naive_scores_as_high(metric):
    frame = path_frame(simulated()["price"], models=("naive", "lstm"))
    with pytest.warns(UserWarning, match="says next to nothing") as caught:
        table = evaluate(frame, metric)
    assert len(caught) == 1 and caught[0].filename == __file__
    text = str(caught[0].message)
    assert (
        f"{metric} says next to nothing of a level, such as a price: on 'close' the naive" in text
    )
    assert f"has {metric} {table.loc['naive', metric]:.3f}." in text
    assert "Forecast returns, or read the skill table." in text
    with pytest.warns(UserWarning, match="r2 and correlation say next to nothing of a level"):
        evaluate(frame, ["r2", "correlation"])


def test_a_price_level_warns_without_a_naive_in_the_frame():
    frame = path_frame(simulated()["price"], models=("lstm",), n_series=3)
    frame = frame.sample(frac=1, random_state=0)
    with pytest.warns(
        UserWarning, match=r"'close' has a correlation of 0\.99\d with its own value"
    ):
        evaluate(frame, ["mae", "r2"])


@pytest.mark.parametrize("kind", ["returns", "volatility"])
@pytest.mark.parametrize("models", [("naive", "lstm"), ("lstm",)])
def test_returns_and_volatilities_do_not_warn(kind, models):
    frame = path_frame(simulated()[kind], models=models)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(frame, ["r2", "correlation"])
        evaluate(path_frame(simulated()["price"]))  # nor do other metrics of prices


def test_of_several_targets_the_level_is_named():
    price = path_frame(simulated()["price"])
    both = pd.concat([price, path_frame(simulated()["returns"], target="return")])
    with pytest.warns(UserWarning, match="says next to nothing") as caught:
        evaluate(both, "r2")
    assert "'close'" in str(caught[0].message) and "'return'" not in str(caught[0].message)
