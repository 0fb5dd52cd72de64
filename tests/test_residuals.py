"""Residuals and their autocorrelation, against a plain computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from tsforecast._checks import DataError
from tsforecast.backtesting.residuals import arch_lm, ljung_box, residuals
from tsforecast.backtesting.rolling import Backtest
from tsforecast.backtesting.skill import holm


def make_frame(
    errors: dict[tuple[str, Any], np.ndarray], *, target: str = "y", step: int = 1
) -> pd.DataFrame:
    """A backtest frame, in no order, with the given errors in order of cutoff."""
    parts = []
    for (model, series), left in errors.items():
        n = len(left)
        actual = np.random.default_rng(1).normal(size=n)
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "series": series,
                    "time": np.arange(n) + step,
                    "cutoff": np.arange(n),
                    "step": step,
                    "target": target,
                    "forecast": actual - left,
                    "actual": actual,
                }
            )
        )
    return pd.concat(parts, ignore_index=True).sample(frac=1, random_state=0)


def noise(seed: int, n: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def ar(seed: int, n: int = 300) -> np.ndarray:
    left = noise(seed, n)
    for t in range(1, n):
        left[t] += 0.5 * left[t - 1]
    return left


def plain_ljung_box(left: np.ndarray, lags: int) -> tuple[float, float]:
    n, u = len(left), left - left.mean()
    rho = [(u[k:] * u[:-k]).sum() / (u * u).sum() for k in range(1, lags + 1)]
    statistic = n * (n + 2) * sum(r * r / (n - k) for k, r in enumerate(rho, start=1))
    return statistic, chi2.sf(statistic, lags)


def test_residuals_are_actual_less_forecast():
    frame = make_frame({("m", "a"): noise(0), ("m", "b"): noise(1)})
    frame.loc[frame.index[:3], "actual"] = np.nan
    left = residuals(frame)
    assert list(left) == ["model", "series", "time", "cutoff", "step", "target", "residual"]
    np.testing.assert_array_equal(left["residual"], frame["actual"] - frame["forecast"])
    assert left["residual"].isna().sum() == 3


def test_in_sample_residuals_are_apart_and_name_their_fit():
    frame = make_frame({("m", "a"): noise(0)}).assign(in_sample=False, fit_until=9)
    inside = frame.assign(in_sample=True, fit_until=5)
    both = pd.concat([frame, inside])
    pd.testing.assert_frame_equal(residuals(both), residuals(frame))
    left = residuals(both, in_sample=True)
    assert len(left) == len(inside) and set(left["fit_until"]) == {5}
    with pytest.raises(DataError, match="no in-sample rows"):
        residuals(make_frame({("m", "a"): noise(0)}), in_sample=True)


@pytest.mark.parametrize("lags", [1, 10])
def test_ljung_box_agrees_with_a_plain_computation(lags: int):
    errors = {("m", "a"): noise(0), ("m", "b"): ar(1), ("other", "a"): ar(2)}
    table = ljung_box(make_frame(errors), lags)
    assert table.index.names == ["model", "series"]
    assert set(table.index) == set(errors)
    for name, left in errors.items():
        row = table.loc[name]
        assert row["n"] == 300
        assert (row["statistic"], row["p"]) == pytest.approx(plain_ljung_box(left, lags))


def test_a_pattern_is_found_and_noise_rarely():
    names = range(300)
    table = ljung_box(make_frame({("m", i): (ar if i == 7 else noise)(i) for i in names}))
    assert table.loc[("m", 7), "p_holm"] < 1e-6
    assert 0.02 < (table["p"] < 0.05).mean() < 0.08
    assert (table["p_holm"] < 0.01).sum() == 1


def test_p_values_are_adjusted_within_each_model():
    frame = make_frame({(model, i): ar(i, 60) for model in ("m", "k") for i in range(3)})
    table = ljung_box(frame)
    for _, rows in table.groupby(level="model"):
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p"]))


def test_missing_residuals_are_skipped():
    frame = make_frame({("m", "a"): noise(0)})
    gone = (frame["cutoff"] % 7) == 3
    holes = frame.assign(actual=frame["actual"].mask(gone))
    expected = plain_ljung_box(noise(0)[np.arange(300) % 7 != 3], 10)
    row = ljung_box(holes).loc[("m", "a")]
    assert (row["statistic"], row["p"]) == pytest.approx(expected)
    assert row["n"] == 300 - gone.sum()


def test_few_or_constant_residuals_give_no_test():
    errors = {
        ("m", "short"): noise(0, 12),
        ("m", "constant"): np.full(50, 0.25),
        ("m", "none"): np.full(50, np.nan),
        ("m", "enough"): noise(0, 13),
    }
    table = ljung_box(make_frame(errors)).droplevel("model")
    assert table["n"].to_dict() == {"short": 12, "constant": 50, "none": 0, "enough": 13}
    assert table["p"].notna().to_dict() == {
        "short": False,
        "constant": False,
        "none": False,
        "enough": True,
    }
    # those without a test are not counted
    assert table.loc["enough", "p_holm"] == table.loc["enough", "p"]


def test_several_targets_have_a_row_each():
    frames = [make_frame({("m", 0): noise(i)}, target=name) for i, name in enumerate("yx")]
    table = ljung_box(pd.concat(frames))
    assert table.index.names == ["model", "target", "series"]
    assert set(table.index) == {("m", "y", 0), ("m", "x", 0)}
    assert table.loc[("m", "x", 0), "statistic"] == pytest.approx(plain_ljung_box(noise(1), 10)[0])


def test_only_the_step_asked_for_is_tested_out_of_sample():
    one, two = make_frame({("m", "a"): noise(0)}), make_frame({("m", "a"): ar(0)}, step=2)
    inside = make_frame({("m", "a"): ar(3)}).assign(in_sample=True)
    frame = pd.concat([one.assign(in_sample=False), two.assign(in_sample=False), inside])
    result = Backtest(frame, 2, pd.DataFrame(), ("naive",))
    pd.testing.assert_frame_equal(result.ljung_box(), ljung_box(one))
    pd.testing.assert_frame_equal(result.ljung_box(5, step=2), ljung_box(two, 5, step=2))


def test_a_step_beyond_the_horizon_is_refused():
    frame = make_frame({("m", "a"): noise(0)})
    with pytest.raises(DataError, match="no forecasts of this step: expected one of the steps 1"):
        ljung_box(frame, step=2)
    with pytest.raises(ValueError, match="parameter 'lags'"):
        ljung_box(frame, 0)


def garch(seed: int, n: int = 300) -> np.ndarray:
    """Errors whose size can be foreseen and whose sign cannot."""
    shocks, left = noise(seed, n), np.zeros(n)
    for t in range(1, n):
        left[t] = shocks[t] * np.sqrt(0.4 + 0.6 * left[t - 1] ** 2)
    return left


@pytest.mark.parametrize("lags", [1, 5])
def test_arch_lm_is_n_r2_of_squares_on_their_past(lags: int):
    table = arch_lm(make_frame({("m", "a"): noise(0), ("m", "b"): 1e-6 * garch(1)}), lags)
    for name, left in {"a": noise(0), "b": garch(1)}.items():
        squares = left**2
        past = np.column_stack(
            [np.ones(300 - lags), *(squares[lags - k : 300 - k] for k in range(1, lags + 1))]
        )
        fitted = past @ np.linalg.lstsq(past, squares[lags:], rcond=None)[0]
        r2 = fitted.var() / squares[lags:].var()
        row = table.loc[("m", name)]
        assert row["statistic"] == pytest.approx((300 - lags) * r2)
        assert row["p"] == pytest.approx(chi2.sf((300 - lags) * r2, lags))


def test_clusters_are_found_and_noise_rarely():
    names = range(200)
    table = arch_lm(make_frame({("m", i): (garch if i == 7 else noise)(i) for i in names}))
    assert table.loc[("m", 7), "p_holm"] < 0.01
    assert (table["p_holm"] < 0.01).sum() == 1
    assert 0.01 < (table["p"] < 0.05).mean() < 0.09
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))


def test_few_or_constant_residuals_give_no_test_of_clusters():
    errors = {
        ("m", "short"): noise(0, 12),
        ("m", "constant"): np.full(50, 0.25),
        ("m", "one size"): np.tile([0.1, -0.1], 25),
        ("m", "none"): np.full(50, np.nan),
        ("m", "enough"): noise(0, 13),
    }
    table = arch_lm(make_frame(errors)).droplevel("model")
    assert table.index[table["p"].notna()].tolist() == ["enough"]


def test_a_backtest_tests_the_residuals_of_a_step_for_clusters():
    one, two = make_frame({("m", "a"): noise(0)}), make_frame({("m", "a"): garch(0)}, step=2)
    result = Backtest(pd.concat([one, two]), 2, pd.DataFrame(), ("naive",))
    pd.testing.assert_frame_equal(result.arch_lm(3, step=2), arch_lm(two, 3, step=2))
    with pytest.raises(DataError, match="no forecasts of this step: expected one of the steps 1"):
        result.arch_lm(step=3)
    with pytest.raises(ValueError, match="parameter 'lags'"):
        result.arch_lm(0)


def test_a_frame_of_another_toolkit_has_residuals_and_tests_too():
    frame = make_frame({("m", "a"): ar(0), ("m", "b"): noise(1)}).drop(columns=["target", "step"])
    theirs = frame.rename(columns={"series": "unique_id", "time": "ds", "actual": "y"})
    names = {"series": "unique_id", "time": "ds", "actual": "y"}
    ours = frame.assign(target="value", step=1)
    left = residuals(theirs, names)
    np.testing.assert_array_equal(left["residual"], frame["actual"] - frame["forecast"])
    pd.testing.assert_frame_equal(ljung_box(theirs, 5, columns=names), ljung_box(ours, 5))
    pd.testing.assert_frame_equal(arch_lm(theirs, columns=names), arch_lm(ours))
