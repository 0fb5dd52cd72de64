"""Coverage and width over time, from any backtest frame with quantiles."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

import tsforecast as tsf

DAYS = pd.bdate_range("2020-01-01", periods=400)


def frame_of(inside, *, model="model", series="s0", step=1, width=2.0, level=0.9):
    """Backtest rows of one series: outcomes inside or outside of intervals of a width."""
    inside = np.asarray(inside, dtype=float)
    n = len(inside)
    actual = np.where(inside == 1, 0.0, width)
    names = [f"q{(1 - level) / 2:g}", f"q{(1 + level) / 2:g}"]
    return pd.DataFrame(
        {
            "model": model,
            "series": series,
            "time": DAYS[step : n + step],
            "cutoff": DAYS[:n],
            "step": step,
            "target": "y",
            "forecast": 0.0,
            names[0]: -np.broadcast_to(width, n) / 2,
            names[1]: np.broadcast_to(width, n) / 2,
            "actual": np.where(np.isnan(inside), np.nan, actual),
        }
    )


def drawn(n=300, share=0.9, seed=0):
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def test_coverage_and_width_are_rolling_means_at_the_times_of_the_outcomes():
    inside = drawn()
    width = np.linspace(1, 4, 300)
    found = tsf.coverage_monitor(frame_of(inside, width=width), window=50)
    assert list(found.columns) == [
        "model",
        "target",
        "step",
        "time",
        "coverage",
        "low",
        "high",
        "width",
    ]
    assert found["time"].tolist() == DAYS[1:301].tolist()
    for end in (50, 177, 300):
        row = found.iloc[end - 1]
        assert row["coverage"] == pytest.approx(inside[end - 50 : end].mean())
        assert row["width"] == pytest.approx(width[end - 50 : end].mean())
    assert found["coverage"][:49].isna().all()
    assert found[["coverage", "low", "high", "width"]].iloc[49:].notna().all(axis=None)
    assert found.attrs["interval"] == 0.9


def test_the_band_holds_95_percent_of_windows_with_exact_coverage():
    row = tsf.coverage_monitor(frame_of(drawn()), window=250).iloc[-1]
    low, high = binom.ppf([0.025, 0.975], 250, 0.9) / 250
    assert (row["low"], row["high"]) == (low, high)
    ends = [
        tsf.coverage_monitor(frame_of(drawn(60, seed=seed)), window=60).iloc[-1]
        for seed in range(200)
    ]
    within = np.mean([row["low"] <= row["coverage"] <= row["high"] for row in ends])
    assert within == pytest.approx(0.95, abs=0.04)


def test_rows_in_any_order_count_in_the_order_in_which_they_are_known():
    frame = pd.concat([frame_of(drawn(seed=1), step=1), frame_of(drawn(seed=2), step=3)])
    mixed = frame.sample(frac=1.0, random_state=0)
    found = tsf.coverage_monitor(mixed, window=20)
    pd.testing.assert_frame_equal(found, tsf.coverage_monitor(frame, window=20))
    assert found["step"].unique().tolist() == [1, 3]
    third = found[found["step"] == 3]
    assert third["time"].iloc[0] == DAYS[3]  # h rows after its origin


def test_series_are_taken_together_or_each_by_itself():
    parts = {"a": drawn(seed=1), "b": drawn(share=0.5, seed=2)}
    frame = pd.concat([frame_of(part, series=name) for name, part in parts.items()])
    together = tsf.coverage_monitor(frame, window=30)
    both = np.mean([part[-30:] for part in parts.values()])
    assert together["coverage"].iloc[-1] == pytest.approx(both)
    low, high = binom.ppf([0.025, 0.975], 60, 0.9) / 60  # twice the outcomes
    assert together[["low", "high"]].iloc[-1].tolist() == [low, high]
    single = tsf.coverage_monitor(frame, window=30, by="series")
    for name, part in parts.items():
        own = single[single["series"] == name]
        assert own["coverage"].iloc[-1] == pytest.approx(part[-30:].mean())
        assert len(own) == 300


def test_outcomes_that_are_not_known_and_models_without_quantiles_are_left_out():
    inside = drawn()
    inside[::3] = np.nan
    bare = frame_of(drawn(), model="bare").assign(**{"q0.05": np.nan, "q0.95": np.nan})
    frame = pd.concat([bare, frame_of(inside)])
    found = tsf.coverage_monitor(frame, window=40)
    assert found["model"].unique().tolist() == ["model"]
    assert len(found) == np.isfinite(inside).sum()
    within = frame_of(drawn(share=0.0)).assign(in_sample=True)
    pd.testing.assert_frame_equal(
        tsf.coverage_monitor(pd.concat([frame.assign(in_sample=False), within]), window=40), found
    )
    with pytest.raises(tsf.DataError, match="no outcome has an interval"):
        tsf.coverage_summary(bare)


def test_infinite_bounds_are_bounds_and_only_missing_ones_are_not():
    frame = frame_of(np.ones(200))
    plain = tsf.coverage_monitor(frame, window=20)
    frame.loc[99, "q0.05"] = -np.inf
    frame.loc[120, ["q0.05", "q0.95"]] = [-np.inf, np.inf]
    frame.loc[150, "q0.95"] = np.nan
    found = tsf.coverage_monitor(frame, window=20)
    assert len(found) == 199
    endless = (np.arange(199) >= 99) & (np.arange(199) < 140)
    endless[119] = False  # between the two windows
    assert np.isinf(found["width"]).tolist() == endless.tolist()
    assert (found["coverage"][19:] == 1.0).all()
    np.testing.assert_allclose(found["width"][19:99], plain["width"][19:99])
    np.testing.assert_allclose(found["width"][140:], 2.0)
    summary = tsf.coverage_summary(frame, window=20).iloc[0]
    assert (summary["n"], summary["coverage"], summary["width"]) == (199, 1.0, np.inf)


def test_the_summary_is_that_of_the_windows():
    frame = pd.concat(
        [frame_of(drawn(seed=1), model="b"), frame_of(drawn(share=0.7), model="a", width=3.0)]
    )
    found = tsf.coverage_summary(frame, window=50).set_index("model")
    assert found.index.tolist() == ["b", "a"]  # as they stand in the frame
    for name in ("a", "b"):
        part = frame[frame["model"] == name]
        moving = tsf.coverage_monitor(part, window=50).dropna()
        error = (moving["coverage"] - 0.9).abs()
        row = found.loc[name]
        assert row["mean_error"] == pytest.approx(error.mean())
        assert row["worst"] == pytest.approx(error.max())
        beside = ~moving["coverage"].between(moving["low"], moving["high"])
        assert row["outside"] == pytest.approx(beside.mean())
        assert row["n"] == 300
    assert found["coverage"]["b"] == pytest.approx(drawn(seed=1).mean())
    assert found["width"].tolist() == [2.0, 3.0]
    assert found["relative_width"].tolist() == [1.0, 1.5]


def test_too_few_times_for_a_window_leave_the_columns_of_windows_empty():
    found = tsf.coverage_summary(frame_of(drawn(100)), window=250).iloc[0]
    assert found[["mean_error", "worst", "outside"]].isna().all()
    assert found["coverage"] == pytest.approx(drawn(100).mean())


def test_it_reads_the_frame_of_a_backtest_at_any_level_that_is_there():
    panel = tsf.make_prices(2, 160, random_state=0)
    models = {
        "walk": tsf.RandomWalk(target="close", horizon=2),
        "conformal": tsf.ConformalForecaster(tsf.Naive(target="close", horizon=2), level=0.6),
    }
    result = tsf.backtest(models, panel, tsf.RollingOrigin(60), refit=False)
    wide = tsf.coverage_summary(result.frame, window=20)
    assert wide.attrs["interval"] == 0.8
    assert wide["model"].unique().tolist() == ["walk", "naive"]
    narrow = tsf.coverage_summary(result.frame, 0.6, window=20, by="series")
    assert narrow["model"].unique().tolist() == ["walk", "conformal", "naive"]
    assert len(narrow) == 3 * 2 * 2
    assert (narrow["n"] == 60).all()
    own = result.frame[(result.frame["model"] == "conformal") & (result.frame["step"] == 2)]
    covered = own["actual"].between(own["q0.2"], own["q0.8"]).groupby(own["series"]).mean()
    mine = narrow[(narrow["model"] == "conformal") & (narrow["step"] == 2)]
    np.testing.assert_allclose(mine["coverage"], covered)


def test_a_frame_or_level_that_cannot_be_used_is_refused():
    frame = frame_of(drawn())
    with pytest.raises(ValueError, match=r"'level': .*columns \['q0.1', 'q0.9'\].*q0.05"):
        tsf.coverage_monitor(frame, 0.8)
    for level in (0, 1.0, True, "wide"):
        with pytest.raises(ValueError, match=r"'level': expected a share in \(0, 1\)"):
            tsf.coverage_monitor(frame, level)
    with pytest.raises(ValueError, match="'frame': expected two quantile columns"):
        tsf.coverage_summary(frame.drop(columns="q0.05"))
    for follow in (tsf.coverage_monitor, tsf.coverage_summary):
        with pytest.raises(
            ValueError, match="'frame': expected .* with a column 'actual'.*backtest"
        ):
            follow(frame.drop(columns="actual"))
    with pytest.raises(ValueError, match="'window'"):
        tsf.coverage_monitor(frame, window=1)
    with pytest.raises(ValueError, match="'by'"):
        tsf.coverage_monitor(frame, by="step")
