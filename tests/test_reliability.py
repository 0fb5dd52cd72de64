"""Calibration curves, intercept, slope and error, with the patient as the unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from tsforecast._checks import DataError
from tsforecast.backtesting.reliability import (
    calibration_summary,
    cross_calibrate,
    local_patients_curve,
    reliability,
)
from tsforecast.backtesting.risk_maps import METHODS, RiskMap, fit_map

MEASURES = ["intercept", "slope", "ece", "brier"]


def independent(n: int = 2000, seed: int = 0, *, intercept: float = 0.0, slope: float = 1.0):
    """One row for each patient; the risk is wrong by a line on the log odds."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.5, 1.2, size=n)
    event = (rng.random(n) < expit(odds)).astype(float)
    return pd.DataFrame({"risk": expit((odds - intercept) / slope), "event": event})


def stays(n: int = 200, seed: int = 0, horizon: int = 6, model: str = "m") -> pd.DataFrame:
    """Hourly rows with the true risk of an event within `horizon` steps, the hazard constant."""
    rng = np.random.default_rng(seed)
    hazard = expit(rng.normal(-4.5, 0.8, size=n))
    when, length = rng.geometric(hazard), rng.integers(10, 60, size=n)
    parts = []
    for i in range(n):
        step = np.arange(min(length[i], when[i]))
        risk = 1 - (1 - hazard[i]) ** horizon
        parts.append(
            pd.DataFrame(
                {
                    "series": i,
                    "time": step,
                    "risk": risk,
                    "event": (when[i] - step <= horizon).astype(float),
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(
        model=model, eligible=True, at_risk=True, hours_to_event=np.nan, fold=frame["series"] % 5
    )


# -------------------------------------------------------------------------------- calibration curve


def test_the_curve_holds_means_rates_and_counts_of_equal_bins():
    frame = independent(1000)
    curve = reliability(frame, n_bins=8)
    bins = pd.qcut(frame["risk"], 8, labels=False)
    expected = frame.groupby(bins).agg(n=("event", "size"), events=("event", "sum"))
    np.testing.assert_array_equal(curve["n"], expected["n"])
    np.testing.assert_array_equal(curve["patients"], expected["n"])
    np.testing.assert_array_equal(curve["events"], expected["events"])
    np.testing.assert_allclose(curve["risk"], frame["risk"].groupby(bins).mean())
    np.testing.assert_allclose(curve["observed"], frame["event"].groupby(bins).mean())


def test_rows_of_one_risk_stand_in_one_bin():
    frame = pd.DataFrame({"risk": [0.1] * 60 + [0.2] * 30 + [0.7] * 10, "event": [0, 1] * 50})
    curve = reliability(frame)
    np.testing.assert_array_equal(curve["n"], [60, 30, 10])
    np.testing.assert_allclose(curve["risk"], [0.1, 0.2, 0.7])


def test_of_independent_rows_the_interval_is_that_of_wilson():
    from scipy.stats import binomtest

    frame = independent(400)
    for row in reliability(frame, n_bins=5).itertuples():
        ci = binomtest(int(row.events), int(row.n)).proportion_ci(method="wilson")
        np.testing.assert_allclose([row.low, row.high], [ci.low, ci.high], rtol=1e-9)


def test_a_patient_copied_many_times_tells_no_more_than_once():
    frame = independent(400).assign(series=np.arange(400))
    copies = pd.concat([frame] * 5, ignore_index=True)
    copies["time"] = np.repeat(np.arange(5), 400)
    one, many = (reliability(each, n_bins=5) for each in (frame, copies))
    np.testing.assert_allclose(many[["low", "high"]], one[["low", "high"]])
    one, many = (calibration_summary(each).iloc[0] for each in (frame, copies))
    for name in MEASURES:
        assert many[name] == pytest.approx(one[name])
    for name in ("intercept", "slope", "brier"):
        np.testing.assert_allclose(many[f"{name}_low"], one[f"{name}_low"], atol=1e-6)
    assert many["ece_perfect_high"] == pytest.approx(one["ece_perfect_high"], rel=0.2)


def test_where_a_bin_has_no_event_every_patient_counts_once():
    frame = pd.DataFrame({"risk": [0.01] * 40 + [0.9] * 2, "event": [0] * 40 + [0, 1]})
    alone = reliability(frame, n_bins=2).iloc[0]
    assert alone["observed"] == 0 and 0.08 < alone["high"] < 0.1
    frame["series"] = [0] * 20 + [1] * 20 + [2, 3]
    assert reliability(frame, n_bins=2).iloc[0]["high"] > 0.6  # two patients


def test_stays_of_one_group_are_one_patient():
    frame = stays()
    paired = frame.assign(group=frame["series"] // 2)
    curve = reliability(paired)
    assert (curve["patients"] < reliability(frame)["patients"]).any()
    assert calibration_summary(paired, n_boot=50).iloc[0]["patients"] == 100


def test_only_eligible_rows_count_and_the_last_or_a_landmark_may_be_asked_for():
    frame = stays()
    out = frame["time"] < 5
    some = frame.assign(eligible=~out)
    assert reliability(some)["n"].sum() == (~out).sum()
    kept = frame[~out].drop(columns=["eligible", "at_risk", "hours_to_event"])
    pd.testing.assert_frame_equal(reliability(some), reliability(kept))
    assert reliability(some, at="last")["n"].sum() == some[~out]["series"].nunique()
    newest = frame[frame["time"] <= 8].groupby("series")["time"].max()
    assert reliability(some, at="8h")["n"].sum() == (newest >= 5).sum()
    with pytest.raises(ValueError, match="'at': expected 'every', 'last' or a time"):
        reliability(some, at="peak")


# --------------------------------------------------------------------------------------- in numbers


def by_likelihood(frame: pd.DataFrame) -> tuple[float, float, float]:
    """Shift at slope 1, and intercept and slope, by a general optimiser."""
    odds, y = logit(frame["risk"].to_numpy()), frame["event"].to_numpy()

    def loss(line):
        z = line[0] + line[1] * odds
        return np.logaddexp(0, z).mean() - (y * z).mean()

    options = {"method": "BFGS", "options": {"gtol": 1e-9}}
    shift = minimize(lambda a: loss([a[0], 1.0]), [0.0], **options).x[0]
    return (shift, *minimize(loss, [0.0, 1.0], **options).x)


def test_intercept_slope_and_brier_are_those_of_a_general_optimiser():
    frame = independent(1500, intercept=0.4, slope=0.7)
    found = calibration_summary(frame).iloc[0]
    shift, _, slope = by_likelihood(frame)
    assert found["intercept"] == pytest.approx(shift, abs=1e-4)
    assert found["slope"] == pytest.approx(slope, abs=1e-4)
    assert found["brier"] == pytest.approx(((frame["risk"] - frame["event"]) ** 2).mean())
    curve = reliability(frame)
    gap = (curve["n"] * (curve["risk"] - curve["observed"]).abs()).sum() / len(frame)
    assert found["ece"] == pytest.approx(gap)
    assert found["prevalence"] == pytest.approx(frame["event"].mean())


def test_one_step_of_newton_gives_the_interval_of_full_refits():
    frame = stays(300, seed=1)
    frame["risk"] = expit(0.3 + 1.3 * logit(frame["risk"]))
    found = calibration_summary(frame, n_boot=1000).iloc[0]
    rng, patients = np.random.default_rng(5), dict(iter(frame.groupby("series")))
    slopes, shifts = [], []
    for _ in range(150):
        drawn = pd.concat([patients[i] for i in rng.integers(300, size=300)])
        shift, _, slope = by_likelihood(drawn)
        shifts.append(shift)
        slopes.append(slope)
    for name, full in (("slope", slopes), ("intercept", shifts)):
        width = found[f"{name}_high"] - found[f"{name}_low"]
        low, high = np.quantile(full, [0.025, 0.975])
        assert abs(found[f"{name}_low"] - low) < 0.2 * width
        assert abs(found[f"{name}_high"] - high) < 0.2 * width


def test_a_calibrated_model_of_correlated_rows_stays_within_its_band():
    """Rows of a patient go together: were they independent, the band would be far too narrow."""
    inside, errors, bands, naive = 0, [], [], []
    for seed in range(60):
        frame = stays(150, seed=seed)
        found = calibration_summary(frame, n_boot=200).iloc[0]
        inside += found["ece"] <= found["ece_perfect_high"]
        errors.append(found["ece"])
        bands.append(found["ece_perfect_high"])
        alone = frame.drop(columns=["series", "time"])
        naive.append(calibration_summary(alone, n_boot=100).iloc[0]["ece_perfect_high"])
    assert 53 <= inside <= 60
    assert np.mean(bands) == pytest.approx(np.quantile(errors, 0.975), rel=0.25)
    assert np.mean(naive) < 0.7 * np.mean(bands)


def test_a_model_that_overstates_is_found_out():
    frame = independent(3000, intercept=-1.0, slope=0.6)
    found = calibration_summary(frame).iloc[0]
    assert found["intercept_high"] < 0 and found["slope_high"] < 1
    assert found["ece"] > 2 * found["ece_perfect_high"]


def test_one_risk_for_all_has_no_slope_and_is_calibrated_if_it_is_the_rate():
    frame = stays(100)
    rate = frame["event"].mean()
    found = calibration_summary(frame.assign(risk=rate), n_boot=50).iloc[0]
    assert np.isnan(found[["slope", "slope_low", "slope_high"]].astype(float)).all()
    assert found["intercept"] == pytest.approx(0, abs=1e-6)
    assert found["ece"] == pytest.approx(0, abs=1e-12)
    assert len(reliability(frame.assign(risk=rate))) == 1
    assert np.isnan(local_patients_curve(frame.assign(risk=0.5), sizes=[40], n_draws=3)["slope"][0])


def test_models_stand_side_by_side_and_the_table_says_what_was_judged():
    one = stays(100)
    two = one.assign(model="twice", risk=np.minimum(1, 2 * one["risk"]))
    table = calibration_summary(pd.concat([one, two]), n_boot=100)
    assert list(table.index) == ["m", "twice"]
    alone = calibration_summary(one, n_boot=100)
    pd.testing.assert_frame_equal(pd.DataFrame(table).loc[["m"]], pd.DataFrame(alone))
    assert f"{len(one):,} rows of 100 patients" in repr(table)


@pytest.mark.parametrize("call", [reliability, calibration_summary, local_patients_curve])
def test_frames_that_cannot_be_judged_are_refused(call):
    frame = independent(50)
    for column, value, words in (
        ("risk", np.nan, "a risk is no probability"),
        ("risk", 1.5, "a risk is no probability"),
        ("event", 0.0, "no event to tell from others"),
        ("event", 1.0, "only events"),
    ):
        with pytest.raises(DataError, match=f"{words}.*expected .* found"):
            call(frame.assign(**{column: value}))
    with pytest.raises(DataError, match="not an event frame.*found no model, series"):
        call(frame.drop(columns="risk"))
    twice = pd.concat([stays(20)] * 2)
    with pytest.raises(DataError, match="rows are repeated"):
        call(twice)
    with pytest.raises(ValueError, match="'n_bins': expected a whole number"):
        call(frame, n_bins=0)


# --------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("method", METHODS)
def test_maps_never_fall_and_stay_in_order_over_the_steps(method):
    frame = independent(3000, intercept=0.8, slope=0.5)
    found = fit_map(method, frame["risk"].to_numpy(), frame["event"].to_numpy())
    grid = np.linspace(0, 1, 501)
    assert (np.diff(found(grid)) >= 0).all()
    rng = np.random.default_rng(0)
    risk = 1 - np.cumprod(1 - rng.uniform(0, 0.3, (400, 5)), axis=1)
    risk[:20, :2] = 0.0
    risk[:10] = 0.0
    risk[10:15, 3:] = 1.0
    mapped = found(risk)
    assert (np.diff(mapped, axis=1) >= 0).all() and (mapped >= 0).all() and (mapped <= 1).all()
    np.testing.assert_array_equal(mapped[:, -1], found(risk[:, -1]))
    # hazards of a row are multiplied by one number
    ratio = np.log1p(-mapped[20:]) / np.log1p(-risk[20:])
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(5), rtol=1e-6)


def test_maps_are_those_of_general_optimisers():
    frame = independent(2000, intercept=0.5, slope=0.6)
    risk, event = frame["risk"].to_numpy(), frame["event"].to_numpy()
    shift, intercept, slope = by_likelihood(frame)
    platt = fit_map("platt", risk, event)
    np.testing.assert_allclose([platt.intercept, platt.slope], [intercept, slope], atol=1e-4)
    assert fit_map("intercept", risk, event).intercept == pytest.approx(shift, abs=1e-4)
    steps = IsotonicRegression(out_of_bounds="clip").fit(risk, event)
    np.testing.assert_allclose(fit_map("isotonic", risk, event)(risk), steps.predict(risk))

    def loss(t):
        p = expit(logit(risk) / t)
        return -(event * np.log(p) + (1 - event) * np.log(1 - p)).mean()

    cooled = fit_map("temperature", risk, event).slope
    assert loss(1 / cooled) <= min(loss(1 / cooled + 0.01), loss(1 / cooled - 0.01))


def test_a_row_that_stands_for_several_counts_for_so_many():
    frame = independent(300, slope=0.6)
    risk, event = frame["risk"].round(1).clip(0.05, 0.95).to_numpy(), frame["event"].to_numpy()
    sums = pd.DataFrame({"y": event}).groupby(risk)["y"].agg(["mean", "size"])
    for method in METHODS:
        one = fit_map(method, risk, event)
        classes = sums.index.to_numpy(), sums["mean"].to_numpy(), sums["size"].to_numpy(float)
        np.testing.assert_allclose(one(risk), fit_map(method, *classes)(risk), atol=1e-5)


def test_a_model_that_ranks_backwards_gets_the_rate_for_all():
    frame = independent(1000)
    turned = fit_map("platt", 1 - frame["risk"].to_numpy(), frame["event"].to_numpy())
    np.testing.assert_allclose(turned(np.array([0.1, 0.9])), frame["event"].mean())


def test_a_map_wants_both_outcomes_and_a_known_method():
    with pytest.raises(DataError, match="risks cannot be calibrated.*found 2 rows, 0 of them"):
        fit_map("platt", np.array([0.1, 0.2]), np.zeros(2))
    with pytest.raises(ValueError, match="'method': expected one of .*'isotonic'.* found 'beta'"):
        fit_map("beta", np.array([0.1, 0.2]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="'method'"):
        cross_calibrate(stays(), "beta")


def test_risks_of_no_and_of_certain_events_are_mapped():
    found = RiskMap("platt", slope=0.5, intercept=1.0)
    mapped = found(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(mapped).all() and 0 <= mapped[0] < mapped[1] < mapped[2] <= 1


# --------------------------------------------------------------------------------- across the folds


@pytest.mark.parametrize("method", METHODS)
def test_a_fold_is_calibrated_by_the_others_alone(method):
    frame = stays(300)
    frame["risk"] = expit(-1 + 1.6 * logit(frame["risk"]))
    result = cross_calibrate(frame, method)
    here = (frame["fold"] == 2).to_numpy()
    expected = fit_map(method, frame["risk"].to_numpy()[~here], frame["event"].to_numpy()[~here])
    np.testing.assert_allclose(result["risk"][here], expected(frame["risk"].to_numpy()[here]))
    altered = frame.assign(event=frame["event"].where(~here, 1 - frame["event"]))
    again = cross_calibrate(altered, method)
    pd.testing.assert_series_equal(again["risk"][here], result["risk"][here])
    assert not np.allclose(again["risk"][~here], result["risk"][~here])
    pd.testing.assert_frame_equal(result.drop(columns="risk"), frame.drop(columns="risk"))


def test_calibration_across_folds_mends_intercept_and_slope():
    frame = stays(800, seed=3)
    frame["risk"] = expit(-1 + 1.8 * logit(frame["risk"]))
    before = calibration_summary(frame).iloc[0]
    after = calibration_summary(cross_calibrate(frame)).iloc[0]
    assert not 0.9 < before["slope"] < 1.1
    assert 0.9 < after["slope"] < 1.1 and abs(after["intercept"]) < 0.1
    assert after["ece"] < after["ece_perfect_high"] < before["ece"]


def test_models_are_calibrated_each_by_itself_with_all_their_steps():
    one = stays(200)
    for k in (1, 2, 3):
        one[f"risk_{k}"] = 1 - (1 - one["risk"]) ** (k / 3)
    one["risk"] = one["risk_3"]
    half = one.assign(model="half", eligible=one["time"] > 2)
    half["eligible"] = one["eligible"]
    for name in ("risk", "risk_1", "risk_2", "risk_3"):
        half[name] = half[name] / 2
    both = pd.concat([one, half]).sample(frac=1, random_state=0)
    result = cross_calibrate(both)
    steps = result[["risk_1", "risk_2", "risk_3"]].to_numpy()
    assert (np.diff(steps, axis=1) >= 0).all()
    np.testing.assert_array_equal(result["risk"], result["risk_3"])
    alone = cross_calibrate(half)
    found = result[result["model"] == "half"].sort_values(["series", "time"])
    np.testing.assert_allclose(found["risk"], alone["risk"])
    with pytest.raises(DataError, match="steps of the risk are missing"):
        cross_calibrate(both.drop(columns="risk_2"))


def test_models_of_other_numbers_of_steps_are_calibrated_side_by_side():
    one = stays(200)
    parts = {}
    for name, n_steps in {"six": 6, "three": 3, "none": 0}.items():
        parts[name] = one.assign(model=name)
        for k in range(1, n_steps + 1):
            parts[name][f"risk_{k}"] = 1 - (1 - one["risk"]) ** (k / n_steps)
    both = pd.concat(parts.values(), ignore_index=True)
    result = cross_calibrate(both)
    for name, part in parts.items():
        found = result[result["model"] == name].dropna(axis=1, how="all")
        expected = cross_calibrate(part).dropna(axis=1, how="all")
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected)
    both.loc[3, "risk_2"] = np.nan
    with pytest.raises(DataError, match="risk is missing.*risk_1 to risk_6 .*'six', found 1 rows"):
        cross_calibrate(both)


def test_the_map_across_folds_belongs_to_the_rows_that_are_asked_for():
    first = independent(1500, slope=0.5).assign(series=np.arange(1500), time=0)
    second = first.assign(time=8, risk=expit(logit(first["risk"]) / 4))
    frame = pd.concat([first, second], ignore_index=True)
    frame["fold"] = frame["series"] % 5
    everywhere = calibration_summary(cross_calibrate(frame), at=8, n_boot=10).iloc[0]
    there = cross_calibrate(frame, at=8)
    found = calibration_summary(there, at=8, n_boot=10).iloc[0]
    assert everywhere["slope"] > 1.3 and 0.9 < found["slope"] < 1.1
    alone = cross_calibrate(frame[frame["time"] == 8])
    np.testing.assert_allclose(there.loc[alone.index, "risk"], alone["risk"])
    with pytest.raises(ValueError, match="'at': expected 'every', 'last' or a time"):
        cross_calibrate(frame, at="peak")


def test_a_patient_in_two_folds_is_refused_and_named():
    frame = stays(100)
    with pytest.raises(DataError, match="patients stand in several folds.* 99 of them .* 0, 1, "):
        cross_calibrate(frame.assign(fold=frame["time"] % 2))
    paired = frame.assign(group=frame["series"] // 2)
    with pytest.raises(DataError, match="patients stand in several folds"):
        cross_calibrate(paired)  # two stays of one patient
    cross_calibrate(paired.assign(fold=paired["group"] % 5))
    with pytest.raises(ValueError, match="'folds': expected a column of the frame, found 'split'"):
        cross_calibrate(frame, folds="split")
    with pytest.raises(DataError, match="no folds to calibrate across.*found 1 folds"):
        cross_calibrate(frame.assign(fold=1))


# ----------------------------------------------------------------------------------- local patients


def test_more_local_patients_calibrate_better():
    site = independent(3000, intercept=1.0, slope=0.5)
    curve = local_patients_curve(site, sizes=[30, 100, 300, 1000], n_draws=30)
    assert list(curve["n"]) == [0, 30, 100, 300, 1000]
    assert (np.diff(curve["ece"]) < 0).all()
    width = (curve["slope_high"] - curve["slope_low"]).to_numpy()
    assert (np.diff(width[1:]) < 0).all()
    assert curve["slope"].iloc[-1] == pytest.approx(1.0, abs=0.1)
    assert abs(curve["intercept"].iloc[-1]) < 0.1
    whole = calibration_summary(site).iloc[0]
    for name in MEASURES:  # as it is: but for the draw of patients to judge by
        low, high = curve[f"{name}_low"][0], curve[f"{name}_high"][0]
        assert low - 0.02 <= whole[name] <= high + 0.02
    enough = curve.attrs["enough"]["model"]
    assert enough in (100, 300)
    assert f"model: {enough} local patients are enough" in repr(curve)


def test_the_curve_of_local_patients_keeps_to_the_rows_that_are_asked_for():
    site = stays(400)
    last = site.groupby("series", sort=False).tail(1)
    options: dict[str, Any] = {"sizes": [50, 200], "n_draws": 5}
    found = local_patients_curve(site, at="last", **options)
    expected = local_patients_curve(last, **options)
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected))
    assert not found["brier"].equals(local_patients_curve(site, **options)["brier"])
    with pytest.raises(ValueError, match="'at': expected 'every', 'last' or a time"):
        local_patients_curve(site, at="peak", **options)


def test_of_few_patients_the_intercept_alone_learns_more():
    site = independent(3000, intercept=1.0)
    found = {
        method: local_patients_curve(site, sizes=[25], method=method, n_draws=60)["brier"][1]
        for method in ("platt", "intercept", "isotonic")
    }
    assert found["intercept"] < found["platt"] < found["isotonic"]


def test_a_good_model_needs_no_local_patients():
    curve = local_patients_curve(independent(1500), sizes=[20, 40], n_draws=30)
    assert curve.attrs["enough"]["model"] is None
    assert "no size is enough" in repr(curve)


def test_draws_without_an_event_leave_the_model_as_it_is():
    rng = np.random.default_rng(0)
    site = pd.DataFrame({"risk": rng.uniform(0, 0.02, 2000)})
    site["event"] = (rng.random(2000) < site["risk"]).astype(float)
    curve = local_patients_curve(site, sizes=[20], n_draws=40)
    assert 0 < curve["usable"][1] < 0.6 and curve["usable"][0] == 0


def test_patients_are_drawn_with_all_their_stays():
    frame = stays(100)
    paired = frame.assign(group=frame["series"] // 2)
    with pytest.raises(DataError, match="too few local patients.*at least 75.*found 50"):
        local_patients_curve(paired, sizes=[60])
    with pytest.warns(UserWarning, match="Sizes above 40 leave less than a fifth of 50 patients"):
        local_patients_curve(paired, sizes=[40, 60], n_draws=2)


def test_a_frame_or_a_model_with_a_panel_is_wanted():
    with pytest.raises(ValueError, match="'local_panel': expected None beside an event frame"):
        local_patients_curve(independent(50), independent(50))
    with pytest.raises(ValueError, match="'local_panel'"):
        local_patients_curve(object())
    with pytest.raises(ValueError, match="'sizes': expected"):
        local_patients_curve(independent(50), sizes=[])
