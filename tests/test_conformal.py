"""Conformal intervals: what they cover, what they know, and that they keep moving with the rows."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

import tsforecast as tsf
from tsforecast.data.panel import layout_of
from tsforecast.estimators._intervals import fewest_scores, start

DAYS = pd.bdate_range("2020-01-01", periods=2000, name="day")


def walk(n=300, seed=0, scale=1.0):
    """One series: a random walk."""
    rng = np.random.default_rng(seed)
    steps = scale * rng.standard_normal(n)
    return pd.DataFrame({"y": steps.cumsum()}, index=DAYS[:n])


def several(lengths=(120, 120, 100, 90), missing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    frames = {}
    for number, length in enumerate(lengths):
        frame = walk(length, seed + number, scale=1.0 + number)
        frame["z"] = rng.standard_normal(length)
        frames[f"s{number}"] = frame.mask(rng.random(frame.shape) < missing)
    return pd.concat(frames, names=["id", "day"])


def upto(panel, number):
    return panel[panel.index.get_level_values("day") <= DAYS[number]]


def between(panel, first, last):
    day = panel.index.get_level_values("day")
    return panel[(day >= DAYS[first]) & (day <= DAYS[last])]


def point(horizon=1):
    return tsf.Naive(target="y", horizon=horizon, levels=())


def network(**changed):
    options = {
        "target": "y",
        "horizon": 3,
        "lookback": 4,
        "hidden_sizes": (4,),
        "training": tsf.Training(max_epochs=1, validation=None, origins=4),
        "random_state": 0,
    }
    return tsf.RecurrentForecaster(**(options | changed))


def inside(frame, panel):
    """Whether the outcome of each row lies in its interval; NaN where there is none."""
    y = panel["y"].reindex(frame.index).to_numpy()
    low, high = frame.iloc[:, 4].to_numpy(), frame.iloc[:, 5].to_numpy()
    return pd.Series(np.where(np.isnan(y), np.nan, (low <= y) & (y <= high)))


def smallest(scores, share):
    """The ceil((n + 1) share)-th smallest of n scores, the largest or smallest beyond."""
    rank = math.ceil((len(scores) + 1) * share - 1e-9)
    return sorted(scores)[min(max(rank, 1), len(scores)) - 1]


# ----------------------------------------------------------------------------------- what it is


def test_split_intervals_reach_as_far_as_the_corrected_quantile_of_absolute_errors():
    panel = walk(100)
    model = tsf.ConformalForecaster(point(2), method="split", level=0.9).fit(panel)
    y, frame = panel["y"].to_numpy(), model.predict()
    for step in (1, 2):  # the last training row is the first origin
        errors = [abs(y[t] - y[t - step]) for t in range(75, 100) if t - step >= 74]
        assert model.n_scores_[0, step - 1] == len(errors) == 26 - step
        reach = smallest(errors, 0.9)
        row = frame.iloc[step - 1]
        np.testing.assert_allclose([row["q0.05"], row["q0.95"]], y[-1] + np.array([-reach, reach]))
        assert row["forecast"] == y[-1]


def test_scores_of_quantiles_are_in_units_of_the_distance_between_them():
    panel = walk(100)
    inner = tsf.RandomWalk(target="y", levels=(0.2, 0.5, 0.8))
    model = tsf.ConformalForecaster(inner, method="split", level=0.6).fit(panel)
    said = clone(inner).fit(panel[:75]).forecast_origins(panel[:99], panel.index[74:99])
    y = panel["y"].to_numpy()[75:100]
    low, high = said["q0.2"].to_numpy(), said["q0.8"].to_numpy()
    reach = smallest(np.maximum(low - y, y - high) / (high - low), 0.6)
    now = model.estimator_.predict(panel)
    width = now["q0.8"] - now["q0.2"]
    frame = model.predict()
    np.testing.assert_allclose(frame["q0.2"], now["q0.2"] - reach * width)
    np.testing.assert_allclose(frame["q0.8"], now["q0.8"] + reach * width)


def test_quantiles_between_those_of_the_estimator_are_interpolated_and_beyond_the_outermost():
    panel = walk(200)
    inner = tsf.RandomWalk(target="y", levels=(0.1, 0.3, 0.7, 0.9)).fit(panel[:150])
    said = inner.predict(panel)
    for level, low, high in ((0.6, "q0.2", "q0.8"), (0.9, "q0.1", "q0.9")):
        model = tsf.ConformalForecaster(FrozenEstimator(inner), method="split", level=level)
        frame = model.fit(panel).predict()
        given = inner.predict_quantiles(panel, levels=(0.2, 0.8)) if level == 0.6 else said
        bounds = frame.iloc[0, 4:].to_numpy(dtype=float)
        middle = (given[low] + given[high]).iloc[0] / 2
        np.testing.assert_allclose(bounds.mean(), middle)  # they reach as far on both sides
        reach = model._scores.threshold[0, 0]
        width = (given[high] - given[low]).iloc[0]
        np.testing.assert_allclose(bounds[1] - bounds[0], width * (1 + 2 * reach))


def plain_adaptive(series, start, end, *, level, rate, window, horizon):
    """Thresholds at every time from `end` on, of pooled series of the same length."""
    length = len(series[0])
    alpha, pool, found = {}, {}, {}
    for h in range(1, horizon + 1):
        alpha[h] = 1 - level
        pool[h] = [
            [abs(y[t] - y[t - h]) for y in series if t - h >= start - 1]
            for t in range(start, end + 1)
        ]
        given = {}

        def now(h=h):
            known = [score for at in pool[h][-window:] for score in at]
            return smallest(known, 1 - alpha[h])

        for t in range(start - 1, end + 1):
            given[t] = now()  # until the end of fit: that of its end
        for t in range(end + 1, length):
            came = [abs(y[t] - y[t - h]) for y in series]
            pool[h].append(came)
            missed = np.mean([score > given[t - h] for score in came])
            alpha[h] = np.clip(alpha[h] + rate * (1 - level - missed), -rate, 1 + rate)
            given[t] = now()
        found[h] = [given[t] for t in range(end, length)]
    return np.array([found[h] for h in range(1, horizon + 1)])  # (H, times)


@pytest.mark.parametrize(("n_series", "rate"), [(1, 0.1), (3, 0.1), (3, 0.0)])
def test_adaptive_intervals_are_those_of_the_recursion_written_out(n_series, rate):
    panel = several((200,) * n_series)
    frozen = FrozenEstimator(point(2).fit(upto(panel, 79)))
    model = tsf.ConformalForecaster(frozen, level=0.8, rate=rate, window=25, scores="absolute")
    model.fit(upto(panel, 119))
    frame = model.forecast_origins(panel, DAYS[119:200])
    series = [panel.loc[name, "y"].to_numpy() for name in panel.index.unique("id")]
    wanted = plain_adaptive(series, 80, 119, level=0.8, rate=rate, window=25, horizon=2)
    for step in (1, 2):
        for name in panel.index.unique("id"):
            rows = frame.loc[name]
            rows = rows[rows["step"] == step]
            reach = (rows["q0.9"] - rows["forecast"]).to_numpy()
            np.testing.assert_allclose(reach, wanted[step - 1], rtol=1e-9)
    assert len(np.unique(wanted[0])) > 10  # it moves, without steps of alpha, too


def test_a_series_by_itself_has_the_intervals_of_a_panel_of_its_own():
    panel = several((200, 200, 200))
    inner = point(2).fit(upto(panel, 79))
    options = {"level": 0.8, "rate": 0.1, "window": 25}
    together = tsf.ConformalForecaster(FrozenEstimator(inner), by="series", **options)
    together.fit(upto(panel, 119))
    frame = together.forecast_origins(panel)
    for name in ("s0", "s1", "s2"):
        alone = tsf.ConformalForecaster(FrozenEstimator(inner), by="all", **options)
        alone.fit(upto(panel.loc[[name]], 119))
        own = alone.forecast_origins(panel.loc[[name]])
        pd.testing.assert_frame_equal(own, frame.loc[[name]])


def test_series_unseen_or_with_too_few_scores_share_the_pooled_ones():
    panel = several((120, 120, 90, 120))
    fitted = upto(panel.drop("s3"), 119)
    model = tsf.ConformalForecaster(point(), by="series", method="split", level=0.9).fit(fitted)
    frame = model.predict(panel)
    reach = (frame["q0.95"] - frame["forecast"]).to_numpy()
    assert len(np.unique(np.round(reach, 9))) == 3
    assert reach[2] == pytest.approx(reach[3])  # few scores, and none
    assert reach[0] < reach[1]  # steps of twice the size


def test_the_forecast_is_left_as_it_is_and_columns_are_named_by_the_level():
    panel = several()
    inner = tsf.EWMA(target=["y", "z"], horizon=2)
    for level, names in ((0.9, ["q0.05", "q0.95"]), (0.8, ["q0.1", "q0.9"]), (0.95, None)):
        model = tsf.ConformalForecaster(inner, level=level).fit(panel)
        frame = model.predict()
        assert list(frame.columns[4:]) == (names or ["q0.025", "q0.975"])
        same = model.estimator_.predict(panel)
        pd.testing.assert_series_equal(frame["forecast"], same["forecast"])
    assert model.target == ["y", "z"]
    assert model.horizon == 2
    pd.testing.assert_frame_equal(model.predict_quantiles(levels=(0.025, 0.975)), frame)
    upper = model.predict_quantiles(panel, levels=[0.975])
    pd.testing.assert_frame_equal(upper, frame.drop(columns="q0.025"))


def test_between_the_bounds_there_are_no_quantiles():
    model = tsf.ConformalForecaster(tsf.EWMA(target="y"), level=0.9).fit(walk())
    for level in (0.5, 0.06, 0.95001, math.nan):
        with pytest.raises(ValueError, match=r"\[0.05, 0.95\].*estimator_.predict_quantiles"):
            model.predict_quantiles(levels=(0.05, level))
    assert np.isfinite(model.estimator_.predict_quantiles(levels=(0.5,))["q0.5"]).all()


@pytest.mark.parametrize(
    "level", [0.01, 0.1, 0.5, 0.75, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999]
)
def test_the_fewest_scores_are_those_whose_rank_is_there(level):
    n = 1
    while math.ceil((n + 1) * (1 - (1 - level)) - 1e-9) > n:
        n += 1
    assert fewest_scores(level) == n


def test_the_fewest_scores_of_a_level_next_to_one_are_found_at_once():
    assert fewest_scores(1 - 1e-6) == pytest.approx(999_999, abs=2)


def test_intervals_after_a_halt_of_trading_are_in_proportion():
    """Quantiles from the last rows meet in a halt; a score in their units was 8,638."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal(400)
    steps[150:190] = 0.0
    steps[260:290] = 0.0  # in the calibration part
    steps[320:350] = 0.0
    panel = pd.DataFrame({"y": steps.cumsum()}, index=DAYS[:400])
    for method in ("split", "adaptive"):
        inner = tsf.RandomWalk(target="y", decay=0.5, levels=(0.1, 0.5, 0.9))
        model = tsf.ConformalForecaster(inner, method=method, level=0.98, rate=0.1)
        frame = model.fit(panel[:310]).forecast_origins(panel, DAYS[309:399])
        width = frame["q0.99"] - frame["q0.01"]
        assert model._scores.pool.max() < 10.0
        assert width.max() < 100.0
        assert width.min() >= 0.0
        assert inside(frame, panel).mean() > 0.9
        assert model.n_scores_[0, 0] == 77  # those of the halt are counted
        plain = model.estimator_.forecast_origins(panel[:309], DAYS[232:309])
        unit = (plain["q0.9"] - plain["q0.1"]).to_numpy()  # the outermost that there are
        assert model._least[0, 0, 0] == pytest.approx(0.1 * np.median(unit), rel=0.05)


def test_the_least_unit_is_of_the_series_and_the_smallest_for_those_not_seen():
    panel = several((200, 200, 200))
    panel.loc[("s2", slice(None)), "y"] = 1.0
    model = tsf.ConformalForecaster(tsf.Naive(target="y")).fit(panel)
    least = model._least[:, 0, 0]
    assert least[1] == pytest.approx(2 * least[0], rel=0.5)
    assert least[2] == least[3] == least[0]  # one that never moves, and one not seen
    again = several((200, 200)).loc[["s0"]].rename(index={"s0": "new"})
    assert np.isfinite(model.predict(again)["q0.9"]).all()


def test_absolute_scores_of_several_series_together_are_warned_of_once():
    panel = several((200, 200))
    with pytest.warns(UserWarning, match="all 2 series make one width.*by='series'") as caught:
        tsf.ConformalForecaster(point()).fit(panel)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tsf.ConformalForecaster(point(), by="series").fit(panel)
        tsf.ConformalForecaster(point(), scores="absolute").fit(panel)
        tsf.ConformalForecaster(tsf.Naive(target="y")).fit(panel)
        tsf.ConformalForecaster(point()).fit(panel.loc["s0"])


@pytest.mark.parametrize("by", ["all", "series"])
def test_without_steps_of_alpha_the_window_still_rolls(by):
    panel = walk(400)
    panel.iloc[200:] = 5.0 * panel.iloc[200:] - 4.0 * panel.iloc[200, 0]
    widths = {}
    for method in ("split", "adaptive"):
        model = tsf.ConformalForecaster(point(), method=method, rate=0.0, by=by, window=40)
        model.fit(panel[:200])
        frame = model.forecast_origins(panel)
        widths[method] = (frame["q0.9"] - frame["q0.1"]).to_numpy()
        model.update(panel[200:])
        pd.testing.assert_frame_equal(model.predict(), model.predict(panel))
        assert model._now.alpha[0, 0] == pytest.approx(0.2)
    assert np.ptp(widths["split"]) < 1e-9
    assert widths["adaptive"][-1] > 3 * widths["adaptive"][100]


def test_sides_that_would_cross_meet_in_the_middle():
    panel = pd.DataFrame({"y": np.random.default_rng(0).standard_normal(400)}, index=DAYS[:400])
    model = tsf.ConformalForecaster(
        tsf.EWMA(target="y", alpha=0.05), sides="each", level=0.1, rate=0.4
    ).fit(panel[:200])
    frame = model.forecast_origins(panel, DAYS[199:400])
    said = model.estimator_.predict_quantiles(panel, levels=(0.45, 0.55)).iloc[0]
    width = said["q0.55"] - said["q0.45"]  # EWMA has the same at all times
    reach = model._prepared(panel).threshold[199:]
    middle = model.estimator_.forecast_origins(panel, DAYS[199:400])["forecast"].to_numpy()
    low = middle + (said["q0.45"] - said["forecast"]) - reach[:, 0] * width
    high = middle + (said["q0.55"] - said["forecast"]) + reach[:, 1] * width
    crossed = low > high
    assert 10 < crossed.sum() < 190
    np.testing.assert_allclose(frame["q0.45"], np.where(crossed, (low + high) / 2, low))
    np.testing.assert_allclose(frame["q0.55"], np.where(crossed, (low + high) / 2, high))


def test_parameters_of_the_estimator_are_reached_from_without():
    model = tsf.ConformalForecaster(point(), level=0.7)
    assert model.get_params()["estimator__horizon"] == 1
    twin = clone(model).set_params(estimator__horizon=4)
    assert (twin.horizon, twin.level) == (4, 0.7)
    assert model.horizon == 1


# ------------------------------------------------------------------------------- what it covers


@pytest.mark.parametrize(("n", "level", "exact"), [(19, 0.9, 18 / 20), (12, 0.9, 12 / 13)])
def test_exchangeable_scores_are_covered_as_the_finite_sample_promises(n, level, exact):
    n_series, n_fit = 2000, 12
    rng = np.random.default_rng(0)
    length = n_fit + n + 1
    names = [f"s{number}" for number in range(n_series)]
    index = pd.MultiIndex.from_product([names, DAYS[:length]], names=["id", "day"])
    panel = pd.DataFrame({"y": rng.standard_t(3, n_series * length)}, index=index)
    still = tsf.EWMA(target="y", alpha=1e-12, levels=())  # the first value for ever
    model = tsf.ConformalForecaster(
        still, method="split", by="series", level=level, size=n / (n_fit + n)
    ).fit(upto(panel, length - 2))
    assert (model._scores.group < n_series).all()  # each by itself
    assert model.n_scores_[0, 0] == n * n_series
    covered = inside(model.predict(), panel).mean()
    error = math.sqrt(exact * (1 - exact) / n_series)
    assert abs(covered - exact) < 3 * error
    assert exact >= level


def tracked(**changed):
    inner = tsf.RandomWalk(target="y", horizon=2, levels=(0.1, 0.5, 0.9))
    options = {"method": "tracking", "level": 0.8, "rate": 0.07}
    return tsf.ConformalForecaster(inner, **(options | changed))


def plain_tracking(said, series, *, held, rate, side, horizon=2):
    """Thresholds of one step at every origin, one for all series of the same length."""
    length = len(series[0])
    first = said[0].index[0]
    given = dict.fromkeys(range(first, first + horizon), 0.0)
    for t in range(first + 1, length):
        if t - horizon >= first:
            missed = []
            for table, y in zip(said, series):
                low, high = table.loc[t - horizon]
                below = (low - y[t]) / (high - low)
                above = (y[t] - high) / (high - low)
                score = {"low": below, "high": above, "both": max(below, above)}[side]
                missed.append(score > given[t - horizon])
            given[t] = given[t - 1] + rate * (np.mean(missed) - (1 - held))
        else:
            given[t] = given[t - 1]
    return pd.Series(given)


@pytest.mark.parametrize("by", ["all", "series"])
@pytest.mark.parametrize("sides", ["both", "each"])
def test_tracked_bounds_are_those_of_the_recursion_written_out(sides, by):
    panel = several((160, 160))
    model = tracked(sides=sides, by=by).fit(upto(panel, 99))
    frame = model.forecast_origins(panel, DAYS[99:160])
    held = 0.8 if sides == "both" else 0.9
    inner = clone(model.estimator).fit(upto(panel, 74))
    every = inner.forecast_origins(panel).set_index("cutoff", append=True)
    for step in (1, 2):
        said, series = {}, {}
        for name in ("s0", "s1"):
            rows = every.loc[name]
            rows = rows[rows["step"] == step]
            rows.index = pd.RangeIndex(len(rows))
            said[name] = rows.loc[74:, ["q0.1", "q0.9"]]
            series[name] = panel.loc[name, "y"].to_numpy()
        for name in ("s0", "s1"):
            among = ["s0", "s1"] if by == "all" else [name]
            own = frame.loc[name]
            own = own[own["step"] == step]
            unit = said[name]["q0.9"] - said[name]["q0.1"]
            for column, side, sign in (("q0.1", "low", -1), ("q0.9", "high", 1)):
                reach = plain_tracking(
                    [said[each] for each in among],
                    [series[each] for each in among],
                    held=held,
                    rate=0.07,
                    side=side if sides == "each" else "both",
                    horizon=step,
                )
                plain = said[name][column] + sign * reach * unit
                np.testing.assert_allclose(own[column], plain.loc[99:159], rtol=1e-9)
                assert reach.loc[99:].nunique() > 10


def test_tracked_bounds_of_few_scores_begin_where_the_estimator_has_them():
    panel = walk(100)
    inner = tsf.RandomWalk(target="y", levels=tsf.tail_levels())
    model = tsf.ConformalForecaster(inner, method="tracking", level=0.98, sides="each", rate=0.01)
    model.fit(panel)  # 25 scores; a quantile of them at 1 % is not there
    frame, said = model.predict(), model.estimator_.predict(panel)
    width = (said["q0.99"] - said["q0.01"]).item()
    for column in ("q0.01", "q0.99"):
        assert 0 < abs(frame[column] - said[column]).item() < 0.02 * width
    with pytest.raises(tsf.DataError, match="at least 99 for level=0.98, found 25"):
        clone(model).set_params(method="adaptive").fit(panel)


def test_tracked_quantiles_hold_far_out_when_tails_grow_heavy():
    rng = np.random.default_rng(3)
    steps = np.r_[0.0, rng.standard_normal(999), rng.standard_t(3, size=1000)]
    panel = pd.DataFrame({"y": steps}, index=DAYS)
    inner = tsf.EWMA(target="y", alpha=0.001, levels=(0.02, 0.5, 0.98))
    model = tsf.ConformalForecaster(inner, method="tracking", level=0.96, sides="each", rate=0.1)
    frame = model.fit(panel[:1000]).forecast_origins(panel, DAYS[999:-1])
    actual = panel["y"].reindex(frame.index).to_numpy()
    still = model.estimator_.forecast_origins(panel, DAYS[999:-1])
    share, without = (
        np.array([(actual < found["q0.02"]).mean(), (actual > found["q0.98"]).mean()])
        for found in (frame, still)
    )
    before = model._scores.threshold[0]
    after = model.update(panel[1000:])._now.threshold[0]
    np.testing.assert_allclose(share, 0.02 + (after - before) / (0.1 * 1000), rtol=1e-9)
    assert (share < 0.03).all()
    assert (without > 0.045).all()


@pytest.mark.parametrize("method", ["adaptive", "tracking"])
def test_a_series_that_fit_has_not_seen_has_the_pooled_bounds_by_series_too(method):
    early = upto(several((160, 160)), 99)
    model, together = (tracked(method=method, by=by).fit(early) for by in ("series", "all"))
    assert model._scores.n_own == 2
    assert together._scores.n_own == 0
    unseen = early.rename(index={"s0": "new"}).loc[["new"]]
    wanted = together.predict(unseen)
    pd.testing.assert_frame_equal(model.predict(unseen), wanted)
    said = model.estimator_.predict(unseen)
    assert (wanted["q0.1"] != said["q0.1"]).all()


@pytest.mark.parametrize("step", [1, 2, 5])
def test_tracked_bounds_go_on_beyond_the_largest_score_for_as_long_as_it_is_not_known(step):
    level, rate, reach = 0.9, 0.3, []
    for n in range(2, 60):
        scores = np.ones((n, step))  # all outside until the bound is as far out
        scores[:step] = np.nan
        layout = layout_of(pd.DataFrame({"y": np.zeros(n)}))
        options = {"level": level, "rate": rate, "window": None, "by_series": False}
        known = start(
            scores, layout, np.arange(n) > 0, **options, tracked=True, horizon=step
        ).threshold[0, -1]
        reach.append(known)
    # T rate times how far the share of T outcomes outside is from the one aimed at
    assert 1 + (step - 1) * rate * level < max(reach) <= 1 + step * rate


def test_a_refit_keeps_what_was_tracked_and_knows_all_rows():
    panel = several((160, 160))
    early = upto(panel, 99)
    once, again = tracked().fit(early), tracked(refit=True).fit(early)
    np.testing.assert_array_equal(once._scores.threshold, again._scores.threshold)
    assert again.estimator_.cutoff_ == DAYS[99]
    assert once.estimator_.cutoff_ == DAYS[74]
    np.testing.assert_array_equal(once.n_scores_, again.n_scores_)
    said = clone(again.estimator).fit(early).predict(early)
    reach = np.tile(again._scores.threshold[0], 2)
    width = said["q0.9"] - said["q0.1"]
    np.testing.assert_allclose(again.predict()["q0.1"], said["q0.1"] - reach * width)
    frozen = FrozenEstimator(again.estimator_)
    with pytest.raises(ValueError, match="'refit': expected False, as a frozen estimator"):
        tsf.ConformalForecaster(frozen, refit=True).fit(panel)


def test_tracking_wants_quantiles_and_steps():
    with pytest.raises(ValueError, match="'method': expected 'adaptive' or 'split', where scores"):
        tsf.ConformalForecaster(point(), method="tracking").fit(walk())
    with pytest.raises(ValueError, match="'method': expected 'adaptive' or 'split'"):
        tracked(scores="absolute").fit(walk())
    with pytest.raises(ValueError, match="'rate': expected a number above 0"):
        tracked(rate=0.0).fit(walk())


@pytest.mark.parametrize("method", ["split", "adaptive"])
def test_either_side_is_a_quantile_by_itself_where_sides_have_scores_of_their_own(method):
    # errors with a long tail above and none below
    y = np.random.default_rng(5).exponential(size=2000)
    panel = pd.DataFrame({"y": y}, index=DAYS)
    shares = {}
    for sides in ("both", "each"):
        model = tsf.ConformalForecaster(
            tsf.EWMA(target="y", alpha=0.02, levels=()), method=method, level=0.8, sides=sides
        ).fit(panel.iloc[:1000])
        frame = model.forecast_origins(panel, DAYS[999:-1])
        actual = panel["y"].reindex(frame.index).to_numpy()
        shares[sides] = [(actual < frame["q0.1"]).mean(), (actual > frame["q0.9"]).mean()]
    # |e - 1| > c with probability .2 for c = .94
    wanted = [1 - math.exp(-(1 - 0.94)), math.exp(-(1 + 0.94))]
    assert shares["both"] == pytest.approx(wanted, abs=0.03)
    assert shares["each"] == pytest.approx([0.1, 0.1], abs=0.03)


def test_when_volatility_doubles_split_covers_too_little_and_adaptive_comes_back():
    rng = np.random.default_rng(1)
    scale = np.repeat([1.0, 2.0], [1000, 1000])
    panel = pd.DataFrame({"y": (scale * rng.standard_normal(2000)).cumsum()}, index=DAYS)
    covered = {}
    for method in ("split", "adaptive"):
        model = tsf.ConformalForecaster(point(), method=method, level=0.9).fit(panel[:1000])
        frame = model.forecast_origins(panel[:-1], DAYS[1099:1999])
        covered[method] = inside(frame, panel).mean()
    assert covered["split"] < 0.7
    assert abs(covered["adaptive"] - 0.9) < 0.01


def test_intervals_stay_finite_and_alpha_in_its_bounds_when_nothing_is_covered():
    panel = walk(400)
    panel.iloc[300:350] += 100.0 * np.arange(50)[:, None] ** 2  # each beyond all before
    panel.iloc[350:] = panel.iloc[349, 0]  # and then nothing moves at all
    model = tsf.ConformalForecaster(point(), rate=0.3, window=20).fit(panel[:300])
    frame = model.forecast_origins(panel)
    assert np.isfinite(frame.iloc[:, 3:].to_numpy()).all()
    assert (frame["q0.9"] >= frame["q0.1"]).all()
    model.update(panel[300:350])
    assert model._now.alpha[0, 0] == pytest.approx(-0.3)
    model.update(panel[350:])
    assert model._now.alpha[0, 0] <= 1.3


# -------------------------------------------------------------------------------- what it knows


def test_an_outcome_counts_from_the_time_on_when_it_is_known():
    panel = walk(200)
    model = tsf.ConformalForecaster(point(3), rate=0.1).fit(panel[:150])
    base = model.forecast_origins(panel)
    changed = panel.copy()
    changed.iloc[170] += 1000.0
    moved = model.forecast_origins(changed)
    reach = [frame["q0.9"] - frame["forecast"] for frame in (base, moved)]
    differs = base["cutoff"][np.abs(reach[0] - reach[1]).to_numpy() > 1e-9]
    assert differs.min() == DAYS[170]
    at = (base["cutoff"] == DAYS[170]).to_numpy()
    assert (np.abs(reach[0] - reach[1])[at] > 1e-9)[:2].all()  # of the forecasts that missed it


@pytest.mark.parametrize("by", ["all", "series"])
@pytest.mark.parametrize(
    ("inner", "options"),
    [
        (point(2), {"scores": "absolute"}),
        (tsf.RandomWalk(target="y", horizon=2), {}),
        (tsf.RandomWalk(target="y", horizon=2), {"method": "tracking", "refit": True}),
    ],
)
def test_a_fitted_one_that_adapts_does_not_look_ahead(by, inner, options):
    panel = several(missing=0.1)
    model = tsf.ConformalForecaster(inner, by=by, rate=0.2, **options).fit(upto(panel, 59))
    tsf.check_no_lookahead(FrozenEstimator(model), panel, cutoff=DAYS[85])


def test_intervals_are_the_same_asked_for_at_once_or_one_by_one_and_after_updates():
    panel = several(missing=0.1)
    model = tsf.ConformalForecaster(tsf.RandomWalk(target="y", horizon=2), rate=0.2)
    model.fit(upto(panel, 59))
    many = model.forecast_origins(panel, DAYS[50:90])
    for at in (50, 59, 60, 61, 75, 89):
        one = model.predict(upto(panel, at))
        part = many[many["cutoff"] == DAYS[at]]
        pd.testing.assert_frame_equal(one, part)
    model.update(between(panel, 60, 80))
    pd.testing.assert_frame_equal(model.forecast_origins(panel, DAYS[50:90]), many)


def test_a_backtest_without_refits_adapts_from_origin_to_origin():
    panel = several((120, 120))
    model = tsf.ConformalForecaster(point(2), rate=0.2, scores="absolute")
    splitter = tsf.RollingOrigin(5, 8)
    result = tsf.backtest({"model": model}, panel, splitter, refit=False).frame
    first = result["cutoff"].min()
    fitted = clone(model).fit(panel[panel.index.get_level_values("day") <= first])
    frame = fitted.forecast_origins(panel, pd.DatetimeIndex(result["cutoff"].unique()))
    own = result[result["model"] == "model"]
    np.testing.assert_allclose(own[["q0.1", "q0.9"]], frame[["q0.1", "q0.9"]])
    assert own["q0.9"].sub(own["forecast"]).nunique() > 10


# -------------------------------------------------------------------------------------- updates


@pytest.mark.parametrize("by", ["all", "series"])
@pytest.mark.parametrize("method", ["adaptive", "tracking"])
@pytest.mark.parametrize(
    "inner",
    [
        tsf.EWMA(target=["y", "z"], horizon=3),
        tsf.HAR(target="y", horizon=3, lags=(1, 3)),
        tsf.LagRegressor(target="y", horizon=3, lags=4),
    ],
)
def test_after_updates_predict_is_that_of_all_rows(inner, method, by):
    panel = several(missing=0.05)
    late = panel.drop("s1")
    late = pd.concat([late, between(panel.loc[["s1"]], 84, 119)]).sort_index()  # begins later
    model = tsf.ConformalForecaster(inner, method=method, by=by, rate=0.1).fit(upto(late, 79))
    for first, last in ((80, 80), (81, 83), (84, 95), (96, 119)):
        assert model.update(between(late, first, last)) is model
        pd.testing.assert_frame_equal(model.predict(), model.predict(upto(late, last)))
    assert model.cutoff_ == DAYS[79]  # of the fit


def test_rows_that_do_not_follow_are_refused_and_nothing_changes():
    panel = several()
    model = tsf.ConformalForecaster(point(2), scores="absolute").fit(upto(panel, 79))
    before = model.predict()
    with pytest.raises(tsf.DataError, match=r"not new \(series 's0'\): expected rows later than"):
        model.update(between(panel, 79, 81))
    missing = rf"a row at {DAYS[80]}, the next one after {DAYS[79]}, found one at {DAYS[81]}"
    with pytest.raises(tsf.DataError, match=missing):
        model.update(between(panel, 81, 83))
    lost = between(panel, 80, 90)
    lost = lost[lost.index.get_level_values("day") != DAYS[85]]
    with pytest.raises(tsf.DataError, match=rf"expected a row at {DAYS[85]}"):
        model.update(lost)
    with pytest.raises(ValueError, match="'gaps'"):
        model.update(lost, gaps="fill")
    with pytest.raises(tsf.DataError, match="index is of another kind"):
        model.update(panel.loc["s0"])
    twice = pd.concat([between(panel, 80, 80)] * 2)
    with pytest.raises(tsf.DataError, match="expected .* found"):
        model.update(twice)
    pd.testing.assert_frame_equal(model.predict(), before)
    model.update(lost, gaps="allow")
    known = pd.concat([upto(panel, 79), lost]).sort_index()
    pd.testing.assert_frame_equal(model.predict(), model.predict(known))


def test_a_saved_model_goes_on_where_it_was_updated_to(tmp_path):
    panel = several()
    model = tsf.ConformalForecaster(tsf.RandomWalk(target="y", horizon=2), by="series", rate=0.1)
    model.fit(upto(panel, 79)).update(between(panel, 80, 85))
    tsf.save(model, tmp_path / "whole", tail=True)
    tsf.save(model, tmp_path / "bare")
    whole, bare = tsf.load(tmp_path / "whole"), tsf.load(tmp_path / "bare")
    pd.testing.assert_frame_equal(whole.predict(), model.predict())
    whole.update(between(panel, 86, 99))
    pd.testing.assert_frame_equal(whole.predict(), model.predict(upto(panel, 99)))
    pd.testing.assert_frame_equal(bare.predict(panel), model.predict(panel))
    with pytest.raises(tsf.DataError, match="the model was saved without the rows of fit"):
        bare.update(between(panel, 86, 99))


def sweeping(**changed):
    """A network that has learned something of what lies far back."""
    options = {"context": "history", "horizon": 2, "lookback": 20, "cell": "gru"}
    training = tsf.Training(max_epochs=4, validation=None, learning_rate=0.03)
    return network(**({**options, "training": training} | changed))


@pytest.mark.parametrize(
    ("inner", "options"),
    [
        (sweeping(), {"method": "split", "rate": 0.02}),
        (sweeping(n_members=2), {"by": "series"}),
        (sweeping(season=5, normalize="ewm"), {"refit": True}),
        (sweeping(), {"method": "tracking"}),
        (sweeping(static=["kind"]), {}),
        (tsf.Combination({"a": sweeping(), "b": tsf.Drift(target="y", horizon=2)}), {}),
        (
            tsf.FilteredHistorical(
                sweeping(target="v", transform=tsf.Log(), head=tsf.Point("qlike")),
                target="y",
                horizon=2,
                levels=(0.1, 0.9),
            ),
            {},
        ),
        (tsf.ConformalForecaster(sweeping(), level=0.6), {"size": 0.4}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_history_is_remembered_by_predict_after_fit_updates_and_loading(inner, options, tmp_path):
    panel = several((120, 120))
    kind = pd.Categorical(panel.index.get_level_values(0))
    panel = panel.assign(v=panel["y"] ** 2 + 0.1, kind=kind)
    model = tsf.ConformalForecaster(inner, **({"rate": 0.1} | options)).fit(upto(panel, 99))
    for first, last in ((None, 99), (100, 100), (101, 119)):
        if first is not None:
            model.update(between(panel, first, last))
        wanted = model.predict(upto(panel, last))
        pd.testing.assert_frame_equal(model.predict(), wanted, check_exact=True)
        tsf.save(model, tmp_path / "model", tail=True)
        model = tsf.load(tmp_path / "model")
        pd.testing.assert_frame_equal(model.predict(), wanted, check_exact=True)


@pytest.mark.filterwarnings("ignore")
def test_a_frozen_history_is_remembered_and_that_of_a_stream():
    panel = several((120, 120))
    frozen = FrozenEstimator(sweeping().fit(upto(panel, 79)))
    model = tsf.ConformalForecaster(frozen, rate=0.1).fit(panel)
    pd.testing.assert_frame_equal(model.predict(), model.predict(panel), check_exact=True)
    live = tsf.Stream(model, panel).forecast()
    pd.testing.assert_frame_equal(live, model.predict(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="'future': expected None"):
        model.predict(future=panel)


# -------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    ("inner", "options"),
    [
        (network(), {"by": "all"}),
        (network(), {"by": "all", "rate": 0.0}),
        (network(), {"by": "series", "sides": "each"}),
        (network(n_members=2, context="history", target=["y", "z"]), {"by": "all"}),
        (network(), {"method": "split"}),
        (network(), {"method": "tracking", "refit": True, "by": "series"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_intervals_of_a_stream_are_those_of_all_rows(inner, options, tmp_path):
    panel = several(missing=0.05)
    late = panel.drop("s1")
    late = pd.concat([late, between(panel.loc[["s1"]], 88, 119)]).sort_index()  # begins later
    model = tsf.ConformalForecaster(inner, **({"rate": 0.1} | options))
    if options.get("method") == "split":
        model.set_params(rate=0.02)
    model.fit(upto(late, 79))
    model._least *= 12.0  # so that it matters in about half of the rows
    stream = tsf.Stream(model, upto(late, 84))
    for first, last in ((85, 85), (86, 86), (87, 95), (96, 119)):
        pd.testing.assert_frame_equal(
            stream.forecast(), model.predict(upto(late, first - 1)), rtol=1e-4, atol=1e-5
        )
        stream.update(between(late, first, last))
        tsf.save(stream, tmp_path / "stream")
        stream = tsf.load(tmp_path / "stream")
    wanted = model.predict(late)
    pd.testing.assert_frame_equal(stream.forecast(), wanted, rtol=1e-4, atol=1e-5)
    stream.drop(["s0"])
    some = stream.forecast(["s2"])
    pd.testing.assert_frame_equal(some, wanted.loc[["s2"]], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_stream_refuses_what_it_cannot_go_on_with():
    panel = several()
    with pytest.raises(ValueError, match="expected a fitted RecurrentForecaster"):
        tsf.Stream(tsf.ConformalForecaster(point()).fit(panel), None)
    twice = tsf.ConformalForecaster(tsf.ConformalForecaster(network())).fit(panel)
    with pytest.raises(ValueError, match="expected one ConformalForecaster around"):
        tsf.Stream(twice, panel)
    known = panel.assign(f=0.0)
    model = tsf.ConformalForecaster(network(future=["f"])).fit(known)
    with pytest.raises(ValueError, match="expected method='split' where the estimator has future"):
        tsf.Stream(model, known)
    split = tsf.ConformalForecaster(network(future=["f"]), method="split").fit(known)
    future = pd.DataFrame({"f": 0.0}, index=split.future_index(known))
    live = tsf.Stream(split, known).forecast(future=future)
    pd.testing.assert_frame_equal(live, split.predict(known, future=future), rtol=1e-4, atol=1e-5)


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("name", ["level", "size"])
@pytest.mark.parametrize("value", [0, 1, 1.5, True, "high", None])
def test_shares_lie_between_0_and_1(name, value):
    with pytest.raises(ValueError, match=rf"'{name}': expected a share in \(0, 1\)"):
        tsf.ConformalForecaster(point(), **{name: value}).fit(walk())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "jackknife"}, "'method': expected one of"),
        ({"by": "step"}, "'by': expected one of"),
        ({"scores": "signed"}, "'scores': expected one of"),
        ({"rate": 1.0}, r"'rate': expected a number in \[0, 1\)"),
        ({"rate": -0.1}, "'rate'"),
        ({"window": 0}, "'window': expected a whole number of at least 1"),
        ({"window": 3, "by": "series"}, "'window': expected a whole number of at least 4"),
        ({"window": 3}, "'window': expected times with at least 4 scores, for level=0.8"),
        (
            {"scores": "quantile"},
            "'scores': expected 'absolute', as the estimator has no quantiles",
        ),
    ],
)
def test_parameters_that_cannot_be_used_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tsf.ConformalForecaster(point(), **options).fit(walk())


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        tsf.LastValue(["y"], event="z", horizon=2),
        tsf.Naive,
        "naive",
        FrozenEstimator(LogisticRegression()),
    ],
)
def test_an_estimator_that_forecasts_no_panel_is_refused(estimator):
    with pytest.raises(ValueError, match="'estimator': expected a forecaster of panels"):
        tsf.ConformalForecaster(estimator).fit(walk())


def test_too_few_scores_are_counted_with_the_least_that_is_needed():
    panel = walk(60)
    model = tsf.ConformalForecaster(point(2), level=0.95, size=0.3)
    with pytest.raises(tsf.DataError, match=r"at least 19 for level=0.95, found 18 of step 1"):
        model.fit(panel)
    model.set_params(estimator__horizon=1, size=0.32).fit(panel)
    still = panel * 0.0
    with pytest.raises(tsf.DataError, match="where quantiles of the estimator coincide"):
        tsf.ConformalForecaster(tsf.Naive(target="y")).fit(still)


def test_a_frozen_estimator_wants_rows_after_its_own():
    panel = walk()
    fitted = point().fit(panel[:200])
    with pytest.raises(tsf.DataError, match="nothing to calibrate on: expected rows after"):
        tsf.ConformalForecaster(FrozenEstimator(fitted)).fit(panel[:200])
    model = tsf.ConformalForecaster(FrozenEstimator(fitted)).fit(panel[150:250])
    assert model.estimator_ is fitted
    assert model.n_scores_.tolist() == [[50]]


def test_a_frozen_estimator_wants_time_of_the_kind_it_has_seen():
    fitted = point().fit(walk()[:200])
    with pytest.raises(tsf.DataError, match="time is of another kind than in fit"):
        tsf.ConformalForecaster(FrozenEstimator(fitted)).fit(walk().tz_localize("UTC"))
    with pytest.raises(tsf.DataError, match="time is of another kind than in fit"):
        tsf.ConformalForecaster(FrozenEstimator(fitted)).fit(walk().reset_index(drop=True))


def test_one_time_alone_leaves_nothing_to_fit_on():
    panel = several((1, 1, 1))
    with pytest.raises(tsf.DataError, match="nothing to fit on"):
        tsf.ConformalForecaster(point()).fit(panel)
