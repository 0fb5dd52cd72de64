"""Which column over which recent rows moved a forecast or a risk."""

import numpy as np
import pandas as pd
import pytest

import tsforecast as tsf


class Sum:
    """Risk = a tenth of the mean of `a` over the last three rows, `b` being idle."""

    def predict_risk(self, panel):
        mean = panel.groupby(level=0)["a"].transform(lambda a: a.rolling(3, min_periods=1).mean())
        return pd.DataFrame({"risk": mean / 10, "risk_1": mean / 20})


@pytest.fixture
def stays():
    hours = pd.to_timedelta(range(10), unit="h")
    index = pd.MultiIndex.from_product([["p1", "p2"], hours], names=["patient", "time"])
    a = np.array([18.0] * 7 + [27.0] * 3 + [20.0] * 10)
    return pd.DataFrame({"a": a, "b": np.arange(20.0), "sex": [0.0] * 10 + [1.0] * 10}, index)


def test_effect_is_what_the_answer_loses_when_the_stretch_is_put_back(stays):
    frame = tsf.attribute(Sum(), stays, stretches=[1, 3])
    assert list(dict.fromkeys(frame["column"])) == ["a", "b"]  # sex does not vary in a stay
    p1 = frame[frame["series"] == "p1"].set_index(["column", "rows"])
    assert p1.loc[("a", 3), "effect"] == pytest.approx(0.9)
    # the row before is a part of the level: the median of 7 x 18, 2 x 27
    assert p1.loc[("a", 1), "effect"] == pytest.approx(0.3)
    assert (p1.loc["b", "effect"] == 0).all()
    assert frame["series"].tolist() == ["p1"] * 4 + ["p2"] * 4
    first = frame.iloc[0]
    assert (first["level"], first["recent"], first["rows"]) == (18.0, 27.0, 3)
    assert first["since"] == pd.Timedelta("7h")
    assert first["sentence"] == "a over the last 3 h: 18 -> 27, +0.9 risk"


def test_nothing_after_the_cutoff_is_shown(stays):
    seen = []

    class Watched(Sum):
        def predict_risk(self, panel):
            seen.append(panel.index.get_level_values(1).max())
            return super().predict_risk(panel)

    frame = tsf.attribute(Watched(), stays, cutoff="8h", series="p1", stretches=[3])
    assert set(seen) == {pd.Timedelta("8h")}
    changed = stays.copy()
    changed.loc[(slice(None), pd.Timedelta("9h")), :] = 99.0
    other = tsf.attribute(Watched(), changed, cutoff="8h", series="p1", stretches=[3])
    pd.testing.assert_frame_equal(frame, other)


def test_what_was_not_measured_stays_so_and_has_no_effect(stays):
    stays.loc[("p1", pd.Timedelta("7h")) : ("p1", pd.Timedelta("9h")), "b"] = np.nan

    class Counting(Sum):
        def predict_risk(self, panel):
            assert panel["b"].isna().sum() == 3
            return super().predict_risk(panel)

    frame = tsf.attribute(Counting(), stays, series="p1", stretches=[3])
    row = frame[frame["column"] == "b"].iloc[0]
    assert np.isnan(row["effect"])
    assert row["sentence"].endswith("not known then, or not before")
    assert frame["effect"].isna().tolist() == [False, True]  # last


def test_input_is_left_alone_and_other_series_do_not_matter(stays):
    before = stays.copy()
    alone = tsf.attribute(Sum(), stays, series=["p2"], stretches=[1, 3])
    pd.testing.assert_frame_equal(stays, before)
    assert set(alone["series"]) == {"p2"}
    assert (alone["effect"] == 0).all()


def test_forecasts_move_by_the_target_and_by_the_step():
    panel = tsf.make_prices(2, 60, random_state=1)[["close", "volume"]]
    model = tsf.Drift(target="close", horizon=3).fit(panel)
    frame = tsf.attribute(model, panel, columns=["close"], stretches=[1])
    last = panel["close"].groupby(level=0).last().to_numpy()
    np.testing.assert_allclose(frame["answer"], model.predict()["forecast"].to_numpy()[2::3])
    np.testing.assert_allclose(frame["effect"], last - frame["level"], rtol=0.2)
    assert frame["sentence"].str.contains("over the last row: ").all()
    assert frame["sentence"].str.endswith(" close 3 ahead").all()


def test_bad_questions_are_refused(stays):
    with pytest.raises(ValueError, match="'series'.*such as 'p1', 'p2', found 'p9'"):
        tsf.attribute(Sum(), stays, series="p9")
    with pytest.raises(ValueError, match="'columns'.*found 'c'"):
        tsf.attribute(Sum(), stays, columns=["c"])
    with pytest.raises(ValueError, match="'step'.*within the horizon, found 7"):
        tsf.attribute(Sum(), stays, step=7)
    with pytest.raises(ValueError, match="'stretches'"):
        tsf.attribute(Sum(), stays, stretches=[0])
    with pytest.raises(TypeError, match="expected a fitted forecaster or event estimator"):
        tsf.attribute(object(), stays)
    naive = tsf.Naive(target="a").fit(stays)
    with pytest.raises(ValueError, match="'target'"):
        tsf.attribute(naive, stays, target="b")
    with pytest.raises(ValueError, match="'step'.*at most the horizon, 1"):
        tsf.attribute(naive, stays, step=2)
    with pytest.raises(ValueError, match="'stretches': expected a list, found 3"):
        tsf.attribute(Sum(), stays, stretches=3)
    with pytest.raises(ValueError, match="'columns': expected a list, found 'a'"):
        tsf.attribute(Sum(), stays, columns="a")
    with pytest.raises(ValueError, match="'cutoff': expected a time from 0 days.*found '-1h'"):
        tsf.attribute(Sum(), stays, cutoff="-1h")
    naive.future = ["b"]
    with pytest.raises(ValueError, match=r"'model'.*without columns known ahead.*future=\['b'\]"):
        tsf.attribute(naive, stays)


def test_positions_are_asked_for_by_their_own_name():
    panel = tsf.make_prices(2, 60, random_state=1)[["close"]]
    model = tsf.PositionEstimator(
        target="close", lookback=5, hidden_sizes=(3,), spans=(1,), macd=((2, 4),),
        training=tsf.Training(max_epochs=1, validation=None), random_state=0,
    ).fit(panel)  # fmt: skip
    frame = tsf.attribute(model, panel, stretches=[2])
    np.testing.assert_allclose(frame["answer"], model.predict()["forecast"])
    assert frame["effect"].ne(0).any()


def test_a_cutoff_of_another_kind_of_time_is_refused_as_by_gates(stays):
    days = tsf.make_prices(1, 30, random_state=0)[["close"]]
    naive = tsf.Naive(target="close").fit(days)
    with pytest.raises(ValueError, match="time zones differ"):
        tsf.attribute(naive, days, cutoff=pd.Timestamp("2015-02-02", tz="UTC"))
    numbered = days.droplevel(0).reset_index(drop=True)
    naive = tsf.Naive(target="close").fit(numbered)
    with pytest.raises(ValueError, match=r"'cutoff': expected times like.*found \['noon'\]"):
        tsf.attribute(naive, numbered, cutoff="noon")
    zoned = days.tz_localize("UTC", level=1)
    naive = tsf.Naive(target="close").fit(zoned)
    assert len(tsf.attribute(naive, zoned, cutoff="2015-01-30", stretches=[1])) == 1


def test_the_frame_names_its_target_and_step(stays):
    panel = tsf.make_prices(1, 60, random_state=1)[["close"]].rename(columns={"close": "a, b"})
    frame = tsf.attribute(tsf.Drift(target="a, b", horizon=3).fit(panel), panel, step=2)
    assert frame.attrs == {"target": "a, b", "step": 2}
    assert tsf.attribute(Sum(), stays).attrs == {"target": "risk", "step": None}
