"""Chances to lie above a threshold against closed forms, and direction against the base rate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import tsforecast as tsf
from tests.test_skill import backtest_frame, last, mean_of_five, random_walk
from tsforecast._checks import DataError
from tsforecast.backtesting.direction import direction_rows, direction_table, prob_above
from tsforecast.backtesting.risk_maps import fit_map
from tsforecast.backtesting.rolling import Backtest
from tsforecast.metrics import quantile_column

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def normal_rows(centre, spread=1.0, levels=LEVELS):
    """Quantile columns of normal distributions."""
    centre = np.asarray(centre, dtype=float)
    return pd.DataFrame(
        {quantile_column(level): centre + spread * norm.ppf(level) for level in levels}
    )


def returns_frame(n=600, *, signal=0.0, drift=0.0, n_series=1, seed=0, model="m", wide=1.0):
    """One step ahead of returns: the model knows a part, and its quantiles are `wide` too wide."""
    rng = np.random.default_rng(seed)
    known = rng.normal(size=n)
    parts = []
    for series in range(n_series):
        actual = drift + signal * known + rng.normal(size=n)
        centre = drift + signal * known if signal else drift + 0.3 * known
        part = normal_rows(centre, wide)
        part.insert(0, "model", model)
        parts.append(
            part.assign(
                series=series,
                time=np.arange(n) + 1,
                cutoff=np.arange(n),
                step=1,
                target="return",
                forecast=centre,
                actual=actual,
            )
        )
    return pd.concat(parts, ignore_index=True)


# the chance to lie above


def test_a_normal_comes_out_exactly_between_and_beyond_its_quantiles():
    frame = normal_rows(np.linspace(-6, 6, 101), 1.7)
    for threshold in (0.0, 0.3, -2.0):
        expected = norm.sf(threshold, np.linspace(-6, 6, 101), 1.7)
        np.testing.assert_allclose(prob_above(frame, threshold), expected, rtol=1e-8)


def test_one_threshold_or_one_for_each_row():
    frame = normal_rows([0.0, 1.0, 2.0]).set_axis([5, 7, 9])
    limits = np.array([1.0, 1.0, 3.0])
    expected = norm.sf(limits, [0, 1, 2])
    for threshold in (limits, pd.Series(limits, frame.index)):
        result = prob_above(frame, threshold)
        np.testing.assert_allclose(result, expected)
        assert result.index.equals(frame.index) and result.name == "prob_above"


def test_at_a_quantile_the_chance_is_one_minus_its_level():
    frame = pd.DataFrame({"q0.1": [-3.0], "q0.5": [0.0], "q0.8": [9.0]})
    for level in (0.1, 0.5, 0.8):
        limit = frame[f"q{level:g}"].item()
        assert prob_above(frame, limit).item() == pytest.approx(1 - level)


def test_the_chance_never_rises_with_the_threshold():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(50, 5)), columns=list(normal_rows([0]).columns))
    limits = np.sort(np.r_[rng.normal(size=200) * 3, frame.to_numpy().ravel()])
    table = np.stack([prob_above(frame, float(limit)) for limit in limits])
    assert np.isfinite(table).all() and (np.diff(table, axis=0) <= 1e-12).all()
    assert table.min() >= 0 and table.max() <= 1


def test_quantiles_that_cross_are_sorted():
    frame = pd.DataFrame({"q0.1": [1.0], "q0.5": [0.0], "q0.9": [-1.0]})
    assert prob_above(frame, 0.5).item() == prob_above(frame.abs() * [-1, 0, 1], 0.5).item()


def test_equal_quantiles_hold_probability_at_their_value():
    flat = pd.DataFrame({"q0.1": [0.0], "q0.5": [1.0], "q0.75": [1.0], "q0.9": [2.0]})
    assert prob_above(flat, 1.0).item() == pytest.approx(0.25)
    assert prob_above(flat, 1 - 1e-9).item() == pytest.approx(0.5, abs=1e-6)
    ends = pd.DataFrame({"q0.1": [0.0], "q0.2": [0.0], "q0.8": [1.0], "q0.9": [1.0]})
    chances = [prob_above(ends, limit).item() for limit in (-0.1, 0.0, 0.5, 1.0, 1.1)]
    assert chances == pytest.approx([1.0, 0.8, 0.5, 0.1, 0.0])
    point = pd.DataFrame({"q0.1": [1.0], "q0.9": [1.0]})
    chances = [prob_above(point, limit).item() for limit in (0.9, 1.0, 1.1)]
    assert chances == pytest.approx([1.0, 0.1, 0.0])


def test_infinite_quantiles_count_as_not_given():
    frame = pd.DataFrame(
        {"q0.05": [-np.inf], "q0.25": 0.5, "q0.5": 1.0, "q0.75": 1.5, "q0.95": np.inf}
    )
    finite = frame[["q0.25", "q0.5", "q0.75"]]
    assert tsf.prob_above(frame, 0.0).item() == tsf.prob_above(finite, 0.0).item()


def test_what_is_unknown_stays_unknown():
    frame = normal_rows([0.0, 0.0, 0.0, 0.0])
    frame.loc[1] = np.nan
    frame.loc[2, ["q0.1", "q0.25", "q0.75", "q0.9"]] = np.nan  # one quantile is no distribution
    frame.loc[3, "q0.5"] = np.nan  # the others are enough
    assert prob_above(frame, 0.4).tolist() == pytest.approx(
        [norm.sf(0.4), np.nan, np.nan, norm.sf(0.4)], nan_ok=True
    )
    limits = prob_above(frame, np.array([np.nan, 0, 0, np.inf]))
    assert limits.tolist() == pytest.approx([np.nan, np.nan, np.nan, 0.0], nan_ok=True)


def test_the_last_known_value_is_the_naive_forecast_of_the_row():
    frame = backtest_frame(random_walk(60), {"mean": mean_of_five, "naive": last}, horizon=2)
    frame[["q0.1", "q0.9"]] = frame["forecast"].to_numpy()[:, None] + [-1.0, 1.0]
    shuffled = frame.sample(frac=1, random_state=0)
    known = frame[frame["model"] == "naive"].set_index(["series", "cutoff", "step"])["forecast"]
    limits = known.loc[pd.MultiIndex.from_frame(shuffled[["series", "cutoff", "step"]])].to_numpy()
    result = prob_above(shuffled, "last")
    pd.testing.assert_series_equal(result, prob_above(shuffled, limits))
    np.testing.assert_allclose(result[shuffled["model"] == "naive"], 0.5)


def test_a_forecast_frame_of_a_model_has_chances():
    panel = tsf.make_prices(2, 300, random_state=0)
    forecast = tsf.RandomWalk(target="close", horizon=3).fit(panel).predict()
    level = panel["close"].groupby(level=0).last().repeat(3).to_numpy()
    chance = prob_above(forecast, level)
    assert chance.index.equals(forecast.index) and chance.between(0.2, 0.8).all()
    with pytest.raises(ValueError, match="a forecast frame does not hold the last known one"):
        prob_above(forecast, "last")


@pytest.mark.parametrize(
    ("frame", "threshold", "message"),
    [
        (pd.DataFrame({"q0.5": [0.0], "forecast": 1.0}), 0.0, "expected at least two quantile"),
        (normal_rows([0, 1]), "first", "'threshold': expected a number, one for each row"),
        (normal_rows([0, 1]), np.zeros(3), r"expected a number, or 2 of them.*shape \(3,\)"),
        (normal_rows([0, 1]), pd.Series([0, 1], [1, 2]), "a Series with the index of the frame"),
        (normal_rows([0, 1]).assign(model="m"), "last", "no model 'naive' is among m"),
    ],
)
def test_thresholds_that_cannot_be_used_are_refused(frame, threshold, message):
    with pytest.raises(ValueError, match=message):
        prob_above(frame, threshold)


# direction


def test_the_base_rate_and_the_line_know_the_past_alone():
    frame = returns_frame(500, signal=0.3, drift=0.2)
    rows = direction_rows(frame, 0.0, every=25, least=60)
    later = frame["time"] > 300
    turned = frame.assign(actual=frame["actual"].where(~later, -5 * frame["actual"]))
    other = direction_rows(turned, 0.0, every=25, least=60)
    before = rows["cutoff"] <= 300
    pd.testing.assert_frame_equal(rows[before].drop(columns="up"), other[before].drop(columns="up"))
    assert not rows["calibrated"].equals(other["calibrated"])


def test_the_base_rate_counts_what_was_known_at_the_cutoff():
    frame = backtest_frame(random_walk(80, n_series=3), {"m": last, "naive": last}, horizon=4)
    frame[["q0.1", "q0.9"]] = frame["forecast"].to_numpy()[:, None] + [-1.0, 1.0]
    rows = direction_rows(frame, 0.0, step=4)
    ours = rows[rows["model"] == "m"]
    for _, row in ours[ours["cutoff"] > 25].iloc[::17].iterrows():
        known = ours[ours["time"] <= row["cutoff"]]
        share = (known["up"].sum() + 1) / (len(known) + 2)
        noise = share * (1 - share)
        groups = known.groupby("series")["up"].agg(["size", "mean"])
        between = (groups["size"] * (groups["mean"] - share) ** 2 - noise).sum() / len(known)
        own = groups.loc[row["series"]]
        weight = 1 / (1 + noise / (own["size"] * between)) if between > 0 else 0.0
        assert row["base"] == pytest.approx(share + weight * (own["mean"] - share))
    one = direction_rows(frame[frame["series"] == "s0"], 0.0, step=4)
    last_row = one[one["model"] == "m"].iloc[-1]
    known = one[(one["model"] == "m") & (one["time"] <= last_row["cutoff"])]["up"]
    assert last_row["base"] == pytest.approx((known.sum() + 1) / (len(known) + 2))


def test_the_line_is_fitted_on_what_was_known_at_every_so_many_cutoffs():
    frame = returns_frame(300, signal=0.3)
    rows = direction_rows(frame, 0.0, every=50, least=80)
    early = rows["cutoff"] < 100
    np.testing.assert_array_equal(rows.loc[early, "calibrated"], rows.loc[early, "base"])
    for begin in (100, 150, 250):
        known = rows[rows["time"] <= begin]
        line = fit_map("platt", known["probability"].to_numpy(), known["up"].to_numpy())
        here = rows[rows["cutoff"].between(begin, begin + 49)]
        expected = line(here["probability"].to_numpy())
        np.testing.assert_allclose(here["calibrated"], expected, atol=2e-3)  # chances in bins


def test_a_model_that_is_wrong_way_round_is_calibrated_to_the_base_rate():
    frame = returns_frame(400, signal=0.5)
    wrong = frame.assign(actual=-frame["actual"])
    rows, row = direction_rows(wrong, 0.0), direction_table(wrong, 0.0).loc["m"]
    pd.testing.assert_series_equal(rows["calibrated"], rows["base"], check_names=False)
    assert (row["brier_skill"], row["brier_p"]) == (0.0, 1.0) and row["pt_p"] > 0.99


def test_calibration_mends_chances_that_are_too_sure():
    frame = returns_frame(2000, signal=0.25, wide=0.3)
    row = direction_table(frame, 0.0).loc["m"]
    assert row["brier"] > row["brier_base"] > row["brier_calibrated"]
    assert row["brier_skill"] > 0 and row["brier_p"] < 0.05


def test_knowledge_of_direction_is_found():
    row = direction_table(returns_frame(800, signal=0.3, drift=0.1), 0.0).loc["m"]
    assert row["pt_p"] < 0.01 and row["n"] == row["n_origins"] == 800
    assert row["verdict"] == (
        f"m: direction beyond the base rate {100 * row['base_rate']:.0f} % (right on "
        f"{100 * row['hit_rate']:.1f} % of 800, p < 0.001)."
    )


def test_a_rising_market_is_no_evidence():
    frame = returns_frame(800, drift=0.2)
    bold = frame.assign(model="bold", forecast=1.0, **normal_rows(np.full(800, 0.2)))
    table = direction_table(pd.concat([frame, bold], ignore_index=True), 0.0)
    assert table.loc["bold", "hit_rate"] > 0.55
    assert table.loc["bold", "verdict"] == (
        "bold: no evidence of direction beyond the base rate 59 %: it always says up."
    )
    assert table.loc["m", "verdict"].startswith(
        "m: no evidence of direction beyond the base rate 59 % (right on "
    )
    assert "after Holm over 2 rows)." in table.loc["m", "verdict"]
    assert (table["brier_skill"] < 0.01).all() and (table["brier_p"] > 0.05).all()


def test_scores_are_means_over_rows():
    frame = returns_frame(300, signal=0.2, n_series=2)
    rows, row = direction_rows(frame, 0.0), direction_table(frame, 0.0).loc["m"]
    assert row["brier"] == pytest.approx(((rows["probability"] - rows["up"]) ** 2).mean())
    assert row["brier_base"] == pytest.approx(((rows["base"] - rows["up"]) ** 2).mean())
    assert row["hit_rate"] == pytest.approx(((rows["probability"] > 0.5) == rows["up"]).mean())
    assert (row["n"], row["n_origins"]) == (600, 300)


def test_points_have_a_direction_and_no_chance():
    frame = returns_frame(300, signal=0.3)
    points = frame.assign(model="points")
    points[[quantile_column(level) for level in LEVELS]] = np.nan
    table = direction_table(pd.concat([frame, points], ignore_index=True), 0.0)
    assert table.loc["points", "hit_rate"] == table.loc["m", "hit_rate"]
    assert np.isnan(table.loc["points", ["brier", "brier_skill", "brier_p"]].astype(float)).all()


def test_models_are_judged_on_the_rows_that_all_have():
    frame = returns_frame(300, signal=0.3)
    half = frame[frame["cutoff"] >= 150].assign(model="half")
    table = direction_table(pd.concat([frame, half], ignore_index=True), 0.0)
    assert table["n"].tolist() == [150, 150]
    apart = pd.concat([frame[frame["cutoff"] < 150], half], ignore_index=True)
    with pytest.raises(DataError, match="found none that m, half share"):
        direction_table(apart, 0.0)


def test_several_targets_are_judged_one_by_one():
    one = returns_frame(200, signal=0.3)
    two = returns_frame(200, seed=1).assign(target="other")
    table = direction_table(pd.concat([one, two], ignore_index=True), 0.0)
    assert list(table.index) == [("m", "return"), ("m", "other")]
    alone = direction_table(one, 0.0).loc["m"]
    same = [name for name in table if name not in ("pt_p_holm", "verdict")]
    assert table.loc[("m", "return"), same].tolist() == alone[same].tolist()
    assert table["verdict"].iloc[0].startswith("m on return: ")


def test_few_origins_give_no_test():
    row = direction_table(returns_frame(9, signal=0.3), 0.0).loc["m"]
    assert np.isnan(row["pt_p"])
    assert row["verdict"] == "m: 9 origins are too few for a test of direction."


def test_a_backtest_judges_direction_against_the_last_value():
    panel = tsf.make_prices(2, 400, random_state=1)
    models = {
        "walk": tsf.RandomWalk(target="close", horizon=2),
        "naive": tsf.Naive(target="close", horizon=2),
    }
    result = tsf.backtest(models, panel, tsf.RollingOrigin(2, 60))
    table = result.direction("last", step=2)
    assert list(table.index) == ["walk", "naive"] and table["n"].tolist() == [240, 240]
    options = {"step": 2, "baselines": ["walk", "naive"]}
    pd.testing.assert_frame_equal(table, direction_table(result.frame, "last", **options))
    inside = result.frame.assign(in_sample=True, forecast=np.nan)
    both = pd.concat([result.frame.assign(in_sample=False), inside], ignore_index=True)
    again = Backtest(both, 2, pd.DataFrame(), ("walk", "naive"))
    pd.testing.assert_frame_equal(again.direction("last", step=2), table)
    # a threshold for each row is one for each row of the frame
    first = both["forecast"].groupby([both["series"], both["cutoff"]]).transform("first")
    pd.testing.assert_frame_equal(
        again.direction(first, step=2),
        direction_table(result.frame, first[: len(result.frame)], **options),
    )
    with pytest.raises(TypeError, match="threshold"):
        result.direction()


def two_ways(n=400, n_series=20, share=0.65, seed=0):
    """Half of the series rise more often, half fall; the model knows which, and no more."""
    rng = np.random.default_rng(seed)
    parts = []
    for series in range(n_series):
        chance = share if series % 2 else 1 - share
        up = rng.uniform(size=n) < chance
        part = returns_frame(n).assign(series=series, actual=np.where(up, 1.0, -1.0))
        centre = norm.ppf(chance)
        part[list(normal_rows([0.0]).columns)] = normal_rows(np.full(n, centre)).to_numpy()
        parts.append(part.assign(forecast=centre))
    return pd.concat(parts, ignore_index=True)


def test_to_know_which_series_rise_more_often_is_no_evidence():
    frame = two_ways()
    row = direction_table(frame, 0.0).loc["m"]
    assert row["hit_rate"] > 0.63 and (row["pt"], row["pt_p"]) == (0.0, 1.0)
    assert row["verdict"].startswith("m: no evidence of direction beyond the base rate 50 %")
    # nor when the forecasts also move without knowing anything
    moves = np.random.default_rng(1).normal(scale=0.3, size=len(frame))
    names = list(normal_rows([0.0]).columns)
    restless = frame.assign(forecast=frame["forecast"] + moves)
    restless[names] = frame[names].to_numpy() + moves[:, None]
    row = direction_table(restless, 0.0).loc["m"]
    assert row["hit_rate"] > 0.6 and 0.05 < row["pt_p"] < 1
    # two series are as good as one where they have the same moves
    assert direction_table(returns_frame(500, signal=0.3, n_series=2), 0.0).loc["m", "pt_p"] < 0.01


def test_the_base_rate_of_equal_series_is_that_of_all():
    frame = returns_frame(400, n_series=30)
    rows = direction_rows(frame, 0.0)
    pooled = (rows["up"].sum() + 1) / (len(rows) + 2)
    late = rows[rows["cutoff"] == 399]
    assert (late["base"] - pooled).abs().max() < 0.02
    p = [direction_table(returns_frame(300, n_series=20, seed=i), 0.0)["brier_p"] for i in range(8)]
    assert np.mean(np.array(p) < 0.05) < 0.3


def test_baselines_are_shown_and_not_counted():
    frame = returns_frame(400, signal=0.2)
    both = [frame, *(frame.assign(model=name) for name in ("naive", "walk"))]
    table = direction_table(pd.concat(both, ignore_index=True), 0.0, baselines=["naive", "walk"])
    alone = direction_table(frame, 0.0)
    assert table.loc["m", "pt_p_holm"] == alone.loc["m", "pt_p_holm"] == table.loc["m", "pt_p"]
    assert table.loc["m", "verdict"] == alone.loc["m", "verdict"]
    assert table.loc[["naive", "walk"], "pt_p_holm"].isna().all()
    assert table.loc["walk", "verdict"] == table.loc["m", "verdict"].replace("m: ", "walk: ")
    by_default = direction_table(pd.concat(both, ignore_index=True), 0.0)
    assert by_default["pt_p_holm"].isna().to_dict() == {"m": False, "naive": True, "walk": False}
    assert "after Holm over 2 rows" in by_default.loc["m", "verdict"]
    with pytest.raises(ValueError, match="'baselines': expected a sequence of model names"):
        direction_table(frame, 0.0, baselines="naive")


def test_repeated_rows_are_refused():
    frame = returns_frame(50)
    with pytest.raises(DataError, match="rows are repeated .*found 3 repeated rows"):
        direction_table(pd.concat([frame, frame.iloc[:3]], ignore_index=True), 0.0)


def test_a_frame_of_another_toolkit_has_a_direction_too():
    frame = returns_frame(200, signal=0.3)
    theirs = frame.rename(columns={"series": "unique_id", "time": "ds", "actual": "y"})
    theirs = theirs.drop(columns=["target", "step"]).set_axis(np.arange(200) + 7)
    names = {"series": "unique_id", "time": "ds", "actual": "y"}
    expected = direction_table(frame, 0.1)
    for threshold in (0.1, np.full(200, 0.1), pd.Series(0.1, theirs.index)):
        pd.testing.assert_frame_equal(direction_table(theirs, threshold, names), expected)


def test_quantiles_that_some_rows_lack_do_not_matter():
    frame = returns_frame(200, signal=0.3)
    expected = direction_rows(frame, 0.0)
    frame.loc[::3, "q0.5"] = np.nan  # of a normal distribution the others are enough
    pd.testing.assert_frame_equal(direction_rows(frame, 0.0), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 2}, "no forecasts of this step: expected one of the steps 1, found 2"),
        ({"step": 0}, "parameter 'step'"),
        ({"every": 0}, "parameter 'every'"),
        ({"least": 0}, "parameter 'least'"),
        ({"alpha": 1}, "parameter 'alpha'"),
        ({"threshold": "last"}, "no model 'naive'"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        direction_table(returns_frame(30), **{"threshold": 0.0, **options})
