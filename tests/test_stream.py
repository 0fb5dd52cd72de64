"""Streams: rows fed one by one give the forecasts of `predict` on all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tsforecast as tsf

H = 3


def make_panel(lengths=(70, 55, 30, 6, 1), seed=0) -> pd.DataFrame:
    """Series with missing cells, and a gap of two weeks in the longer ones."""
    rng = np.random.default_rng(seed)
    parts = {}
    for i, n in enumerate(lengths):
        part = pd.DataFrame(
            {
                "y": 20 * np.exp(np.cumsum(0.05 * rng.normal(size=n))),
                "x": rng.lognormal(size=n),
                "z": np.cumsum(rng.normal(size=n)),
            },
            index=pd.date_range("2024-01-01", periods=n, name="day"),
        )
        part = part.mask(rng.random(part.shape) < 0.15)
        part["f"] = np.exp(np.sin(np.arange(n) / 3))
        part["size"], part["kind"] = float(i % 2), "ab"[i % 2]
        parts[f"s{i}"] = part.drop(part.index[15:29]) if n > 50 else part
    panel = pd.concat(parts, names=["id"])
    return panel.assign(kind=panel["kind"].astype("category"))


PANEL = make_panel()
START = pd.Timestamp("2024-01-12")


def model_of(**changed) -> tsf.RecurrentForecaster:
    options = {
        "target": "y",
        "horizon": H,
        "lookback": 8,
        "hidden_sizes": (5, 4),
        "transform": tsf.Log(),
        "training": tsf.Training(max_epochs=2, validation=None, learning_rate=0.02),
        "random_state": 0,
    }
    return tsf.RecurrentForecaster(**(options | changed))


MODELS = {
    "last": {},
    "no baseline": {"baseline": None},
    "transform with memory": {
        "past": ["x"],
        "transform": make_pipeline(tsf.Log(), tsf.SeriesScaler(), tsf.LogReturn(columns=["x"])),
    },
    "running scale and seasons": {
        "baseline": "seasonal",
        "season": (3, 5),
        "normalize": "ewm",
        "max_gap": "5D",
    },
    "future-known": {
        "future": ["f"],
        "past": ["x"],
        "transform": make_pipeline(tsf.Log(), tsf.LogReturn(columns=["f"])),
    },
    "static": {"static": ["size", "kind"], "cell": "gru", "n_members": 2, "head": "studentt"},
    "two targets": {"target": ["y", "z"], "baseline": tsf.EWMA(), "transform": tsf.SeriesScaler()},
    "ewma": {"baseline": tsf.EWMA(alpha=0.3), "cell": "rnn"},
    "har": {"baseline": tsf.HAR(lags=(1, 3, 9)), "min_history": 3},
    "random walk": {"baseline": tsf.RandomWalk()},
    "drift": {"baseline": tsf.Drift()},
    "seasonal naive": {"baseline": tsf.SeasonalNaive(season=4)},
    "scikit-learn's scaler": {"transform": StandardScaler()},
}


def ahead_of(model, panel):
    """What is known ahead, where anything is."""
    if not model.future:
        return {}
    index = model.future_index(panel)
    return {"future": pd.DataFrame({"f": 1.5 + np.arange(len(index)) % 5}, index=index)}


def assert_same(stream, model, panel):
    more = ahead_of(model, panel)
    expected = model.predict(panel, **more)
    found = stream.forecast(**more)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("context", ["history", "window"])
@pytest.mark.parametrize("name", MODELS)
def test_rows_fed_day_by_day_give_the_forecast_of_all_of_them(name, context):
    model = model_of(**MODELS[name], context=context).fit(PANEL)
    days = PANEL.index.get_level_values("day")
    stream = tsf.Stream(model, PANEL[days <= START])
    assert_same(stream, model, PANEL[days <= START])
    for number, (day, rows) in enumerate(PANEL[days > START].groupby(level="day")):
        assert stream.update(rows) == len(rows)
        if number % 9 == 0:
            assert_same(stream, model, PANEL[days <= day])
    assert_same(stream, model, PANEL)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("context", ["history", "window"])
@pytest.mark.parametrize("name", MODELS)
def test_a_stream_may_begin_with_nothing_and_take_all_rows_at_once(name, context):
    model = model_of(**MODELS[name], context=context).fit(PANEL)
    stream = tsf.Stream(model, None)
    assert stream.update(PANEL) == len(PANEL)
    assert_same(stream, model, PANEL)


@pytest.mark.filterwarnings("ignore")
def test_one_series_without_a_name_streams_too():
    alone = PANEL.loc["s0"]
    model = model_of(context="history").fit(alone)
    stream = tsf.Stream(model, alone.iloc[:20])
    for at in range(20, len(alone)):
        stream.update(alone.iloc[[at]])
    assert_same(stream, model, alone)
    with pytest.raises(ValueError, match="'series': expected None"):
        stream.forecast(series=["s0"])
    with pytest.raises(tsf.DataError, match=r"expected one series without a name.*found an index"):
        stream.update(PANEL)


@pytest.fixture(scope="module")
def fitted():
    with pytest.warns(UserWarning, match="1 of 5 series are left out of training"):
        return model_of(context="history").fit(PANEL)


@pytest.fixture
def stream(fitted):
    days = PANEL.index.get_level_values("day")
    return tsf.Stream(fitted, PANEL[days <= "2024-02-10"])


def row(series="s1", day="2024-02-11", **values) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples([(series, pd.Timestamp(day))], names=["id", "day"])
    return pd.DataFrame({"y": 21.0} | values, index=index)


def frozen(stream):
    return {name: part.copy() for name, part in stream._carried.items()}


def unchanged(stream, before):
    now = stream._carried
    return now.keys() == before.keys() and all(
        np.array_equal(now[name], before[name], equal_nan=before[name].dtype.kind == "f")
        for name in before
    )


@pytest.mark.parametrize("day", ["2024-02-10", "2024-01-05"])
def test_a_row_that_is_not_newer_is_refused_and_nothing_changes(stream, day):
    before = frozen(stream)
    rows = pd.concat([row("s0"), row("s1", day)])
    message = r"series 's1'.*expected rows later than the newest one, 2024-02-10.*found 1"
    with pytest.raises(tsf.DataError, match=message):
        stream.update(rows)
    assert unchanged(stream, before)


def test_rows_that_are_not_newer_are_passed_over_where_asked(stream):
    twin = tsf.Stream(stream.model, PANEL[PANEL.index.get_level_values("day") <= "2024-02-10"])
    rows = pd.concat([row("s0"), row("s1", "2024-02-10"), row("s2", "2024-01-02")])
    assert stream.update(rows, late="ignore") == 1
    twin.update(row("s0"))
    pd.testing.assert_frame_equal(stream.forecast(), twin.forecast())
    assert stream.update(rows, late="ignore") == 0
    with pytest.raises(ValueError, match="'late': expected one of"):
        stream.update(rows, late="drop")


def test_rows_of_one_update_must_be_in_order_and_different(stream):
    before = frozen(stream)
    with pytest.raises(tsf.DataError, match="duplicated time"):
        stream.update(pd.concat([row(), row()]))
    with pytest.raises(tsf.DataError, match="unsorted time"):
        stream.update(pd.concat([row(day="2024-02-13"), row(day="2024-02-12")]))
    assert unchanged(stream, before)


@pytest.mark.parametrize("unit", ["ns", "s"])
@pytest.mark.parametrize("late", ["raise", "ignore"])
def test_times_in_another_unit_are_the_same_times(stream, unit, late):
    rows = pd.concat([row("s0"), row("s1", "2024-02-12")])
    old = row("s2", "2024-01-02") if late == "ignore" else rows[:0]
    rows = pd.concat([rows, old])
    other = rows.set_axis(rows.index.set_levels(rows.index.levels[1].as_unit(unit), level=1))
    twin = tsf.Stream(stream.model, PANEL[PANEL.index.get_level_values("day") <= "2024-02-10"])
    assert twin.update(other, late=late) == stream.update(rows, late=late) == 2
    pd.testing.assert_frame_equal(twin.forecast(), stream.forecast())
    with pytest.raises(tsf.DataError, match="later than the newest one, 2024-02-1"):
        twin.update(other)


def test_times_finer_than_those_of_the_model_are_refused(stream):
    before = frozen(stream)
    rows = row(day="2024-02-11 00:00:00.000000300")
    with pytest.raises(tsf.DataError, match=r"time is finer.*datetime64\[us\].*found .*\[ns\]"):
        stream.update(rows)
    assert unchanged(stream, before)


@pytest.mark.parametrize("begun", [True, False])
def test_names_of_another_type_than_in_fit_are_refused(stream, begun):
    live = stream if begun else tsf.Stream(stream.model, None)
    before = frozen(live)
    with pytest.raises(tsf.DataError, match=r"expected string names, found integer, such as 5"):
        live.update(row(series=5))
    assert unchanged(live, before)


@pytest.mark.filterwarnings("ignore")
def test_zone_and_spacing_are_those_of_the_panel_as_with_predict():
    rng = np.random.default_rng(0)
    days = np.sort(rng.choice(200, 60, replace=False))
    start = pd.Timestamp("2024-03-01", tz="Europe/Berlin")
    odd = pd.DataFrame({"y": rng.lognormal(size=60)}, index=start + pd.to_timedelta(days, "h"))
    model = model_of(context="history").fit(odd)
    hours = pd.date_range("2024-06-01", periods=40, freq="h", tz="UTC", unit=odd.index.unit)
    panel = pd.DataFrame({"y": rng.lognormal(size=40)}, index=pd.DatetimeIndex(hours, freq=None))
    live = tsf.Stream(model, panel.iloc[:30])
    live.update(panel.iloc[30:])
    pd.testing.assert_frame_equal(live.forecast(), model.predict(panel), rtol=1e-5)


def test_a_series_may_be_forgotten_and_begin_anew(stream):
    other = stream.forecast(["s0"])
    stream.drop(["s1"])
    assert "s1" not in stream.newest
    stream.update(row("s1", "2024-01-01"))
    expected = stream.model.predict(row("s1", "2024-01-01"))
    pd.testing.assert_frame_equal(stream.forecast(["s1"]), expected)
    pd.testing.assert_frame_equal(stream.forecast(["s0"]), other)
    with pytest.raises(tsf.DataError, match="series is not known"):
        stream.drop(["s9"])
    assert repr(stream) == "Stream(5 series, newest row 2024-02-10 00:00:00)"
    assert repr(tsf.Stream(stream.model, None)) == "Stream(0 series)"


def test_an_empty_poll_and_further_columns_are_taken(stream):
    twin = tsf.Stream(stream.model, PANEL[PANEL.index.get_level_values("day") <= "2024-02-10"])
    assert stream.update(row()[:0]) == 0
    assert stream.update(row(venue="XETR")) == twin.update(row()) == 1
    pd.testing.assert_frame_equal(stream.forecast(), twin.forecast())
    assert len(tsf.Stream(stream.model, None).newest) == 0


def test_the_rows_ahead_are_named(stream):
    assert stream.future_index().equals(stream.forecast().index)
    assert stream.future_index(["s1"]).equals(stream.forecast(["s1"]).index)


def test_a_row_of_an_unknown_series_begins_it(stream):
    stream.update(row("new", "2024-02-01"))
    stream.update(row("new", "2024-02-02", y=np.nan))
    assert stream.newest["new"] == pd.Timestamp("2024-02-02")
    assert list(stream.newest.index) == sorted(stream.newest.index)
    own = pd.concat([row("new", "2024-02-01"), row("new", "2024-02-02", y=np.nan)])
    expected = stream.model.predict(own)
    pd.testing.assert_frame_equal(stream.forecast(["new"]), expected, rtol=1e-5)


def test_missing_values_in_a_row_are_taken_and_refused_where_the_model_refuses_them(stream):
    assert stream.update(row(y=np.nan)) == 1
    assert np.isfinite(stream.forecast(["s1"])["forecast"]).all()
    whole = PANEL.fillna({"y": 20.0})
    strict = model_of(missing="raise").fit(whole.loc[["s0", "s1"]])
    live = tsf.Stream(strict, whole)
    before = frozen(live)
    with pytest.raises(tsf.DataError, match=r"missing values.*'y'"):
        live.update(row(day="2024-06-01", y=np.nan))
    assert unchanged(live, before)


def test_a_value_that_the_transform_refuses_changes_nothing(stream):
    before = frozen(stream)
    with pytest.raises(tsf.DataError, match=r"Log of values that are not positive.*s1"):
        stream.update(pd.concat([row("s0"), row("s1", y=-1.0)]))
    assert unchanged(stream, before)


def test_other_bad_rows_are_refused(stream):
    with pytest.raises(tsf.DataError, match=r"columns are missing.*'y'"):
        stream.update(row().rename(columns={"y": "why"}))
    with pytest.raises(tsf.DataError, match="time is of another kind"):
        stream.update(row().set_axis(pd.MultiIndex.from_tuples([("s1", 5)], names=["id", "day"])))
    with pytest.raises(tsf.DataError, match="infinite"):
        stream.update(row(y=np.inf))


def test_a_constant_of_a_series_may_not_change():
    panel = make_panel((60, 50))
    model = model_of(static=["size", "kind"], context="history").fit(panel)
    live = tsf.Stream(model, panel)
    good = panel.loc[["s0"]].iloc[[-1]]
    index = pd.MultiIndex.from_tuples([("s0", pd.Timestamp("2024-06-01"))], names=["id", "day"])
    later = good.set_axis(index)
    before = frozen(live)
    with pytest.raises(tsf.DataError, match=r"static column varies.*s0"):
        live.update(later.assign(size=9.0))
    assert unchanged(live, before)
    assert live.update(later) == 1


def test_forecast_of_some_series_is_their_part_of_the_whole(stream):
    whole = stream.forecast()
    part = stream.forecast(["s2", "s0"])
    pd.testing.assert_frame_equal(part, whole.loc[["s0", "s2"]])
    with pytest.raises(tsf.DataError, match=r"series is not known.*found 's9'"):
        stream.forecast(["s9"])


def test_a_stream_without_rows_has_no_forecast(fitted):
    with pytest.raises(tsf.DataError, match="stream without rows.*at least one row"):
        tsf.Stream(fitted, None).forecast()


class Memory(TransformerMixin, BaseEstimator):
    """Remembers what it should not."""

    def fit(self, panel, y=None):
        return self

    def transform(self, panel):
        return panel

    inverse_transform = transform


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_go_on_row_by_row_is_named():
    model = model_of(transform=make_pipeline(tsf.Log(), Memory())).fit(PANEL)
    with pytest.raises(ValueError, match=r"'transform'.*found 'Memory'.*row_local"):
        tsf.Stream(model, PANEL)
    model = model_of(baseline=tsf.LagRegressor(lags=3)).fit(PANEL)
    with pytest.raises(ValueError, match=r"'baseline'.*found 'LagRegressor'"):
        tsf.Stream(model, PANEL)
    with pytest.raises(ValueError, match="expected a fitted RecurrentForecaster"):
        tsf.Stream(tsf.Naive(target="y").fit(PANEL), PANEL)


@pytest.mark.parametrize("context", ["history", "window"])
def test_what_is_kept_of_a_series_does_not_grow(context):
    panel = make_panel((60, 50))
    model = model_of(context=context, normalize="ewm", season=4).fit(panel)
    live = tsf.Stream(model, panel)
    before = {name: part.shape for name, part in live._carried.items()}
    index = pd.MultiIndex.from_product([["s0"], pd.date_range("2024-06-01", periods=50)])
    live.update(pd.DataFrame({"y": 20.0}, index=index.set_names(["id", "day"])))
    assert {name: part.shape for name, part in live._carried.items()} == before


# --------------------------------------------------------------------------------------- save, load


def test_of_no_series_there_are_no_forecasts(stream):
    none = stream.forecast([])
    pd.testing.assert_frame_equal(none, stream.forecast().iloc[:0], check_index_type=False)
    assert len(stream.future_index([])) == 0


def test_a_saved_stream_goes_on_as_if_it_had_not_been_saved(stream, tmp_path):
    tsf.save(stream, tmp_path / "stream")
    other = tsf.load(tmp_path / "stream")
    for live in (stream, other):
        live.update(pd.concat([row(), row("new")]))
    pd.testing.assert_frame_equal(other.forecast(), stream.forecast(), check_exact=True)
    assert [folder.name for folder in tmp_path.iterdir()] == ["stream"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_a_loaded_stream_of_any_model_takes_rows_and_forecasts(name, tmp_path):
    if MODELS[name].get("future"):
        pytest.skip("its forecasts want columns known ahead")
    live = tsf.Stream(model_of(**MODELS[name]).fit(PANEL), PANEL)
    tsf.save(live, tmp_path / "stream")
    loaded = tsf.load(tmp_path / "stream")
    index = pd.MultiIndex.from_tuples([("s1", pd.Timestamp("2024-03-11"))], names=["id", "day"])
    for each in (live, loaded):
        each.update(PANEL.loc[["s1"]].iloc[-1:].set_axis(index))
    pd.testing.assert_frame_equal(loaded.forecast(), live.forecast(), check_exact=True)


def test_one_nameless_series_and_whole_numbers_are_saved_too(tmp_path):
    path = tmp_path / "stream"
    alone = PANEL.loc["s0"].reset_index(drop=True).rename_axis("step")
    several = PANEL.loc[["s0", "s1"]].rename(index={"s0": 10, "s1": 20}, level=0)
    for panel in (alone, several):
        live = tsf.Stream(model_of(context="history").fit(panel), panel)
        tsf.save(live, path)
        loaded = tsf.load(path)
        pd.testing.assert_frame_equal(loaded.forecast(), live.forecast(), check_exact=True)


def test_a_loaded_stream_names_times_as_before(tmp_path):
    zoned = PANEL.tz_localize("Europe/Berlin", level="day")
    live = tsf.Stream(model_of(context="history").fit(PANEL.tz_localize("UTC", level="day")), zoned)
    tsf.save(live, tmp_path / "stream")
    again = tsf.load(tmp_path / "stream")
    pd.testing.assert_frame_equal(again.forecast(), live.forecast(), check_exact=True)
    assert "Berlin" in str(again.forecast().index.dtypes["day"])


@pytest.mark.filterwarnings("ignore")
def test_names_that_json_does_not_know_are_refused(tmp_path):
    dates = {f"s{i}": pd.Timestamp(2000 + i, 1, 1) for i in range(5)}
    model = model_of().fit(PANEL.rename(index=dates, level=0))
    live = tsf.Stream(model, PANEL.rename(index=dates, level=0))
    with pytest.raises(TypeError, match="text or whole numbers, found Timestamp"):
        tsf.save(live, tmp_path / "stream")
    assert list(tmp_path.iterdir()) == []
