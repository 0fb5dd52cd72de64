"""Causal features equal a plain loop over rows, and know nothing of later rows or other series."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import tsforecast as tsf
from tsforecast.estimators.features import CausalFeatures

HOUR = pd.Timedelta(hours=1)


def make_panel(seed=0, lengths=(30, 1, 17, 44), missing=0.5, kind="timedelta"):
    """Stays with irregular rows; one vital, one rare lab, one channel that is never measured."""
    rng = np.random.default_rng(seed)
    parts = {}
    for number, n in enumerate(lengths):
        minutes = np.cumsum(rng.choice([15, 30, 60, 60, 120, 400], n))
        time = {
            "timedelta": lambda m: pd.to_timedelta(m, unit="min"),
            "dates": lambda m: pd.Timestamp("2024-03-01") + pd.to_timedelta(m, unit="min"),
            "steps": lambda m: pd.Index(m // 15),
        }[kind](minutes)
        parts[f"stay{number}"] = pd.DataFrame(
            {
                "map": np.where(rng.random(n) < missing, np.nan, rng.normal(80, 12, n).round(1)),
                "lab": np.where(rng.random(n) < 0.85, np.nan, rng.lognormal(size=n)),
                "flat": 5.0,
                "etco2": np.nan,
                "age": 60.0 + number,
            },
            index=time,
        )
    return tsf.as_panel(pd.concat(parts, names=["stay", "at"]))


def plain(panel, name, window, *, hours):
    """The definition, row by row."""
    result = []
    for _, own in panel[name].groupby(level=0, sort=False):
        time = own.index.get_level_values(1)
        for row in range(len(own)):
            known = own.iloc[: row + 1].dropna()
            when = known.index.get_level_values(1)
            recent = known[when > time[row] - window]
            row_of = {"count": len(known)}
            if len(known):
                since = hours(when - when[0])
                row_of |= {
                    "last": known.iloc[-1],
                    "hours_since": float(hours(time[row] - when[-1])),
                    "first": known.iloc[0],
                    "min": known.min(),
                    "max": known.max(),
                    "mean": known.mean(),
                    "sd": known.std(),
                    "slope": np.polyfit(since, known, 1)[0] if len(known) > 1 else np.nan,
                }
            if len(recent):
                row_of |= {
                    "min_w": recent.min(),
                    "max_w": recent.max(),
                    "sd_w": recent.std(),
                    "delta_w": recent.iloc[-1] - recent.iloc[0],
                }
            result.append(row_of)
    return pd.DataFrame(result, index=panel.index)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("kind", "window", "span", "hours"),
    [
        ("timedelta", "6h", pd.Timedelta("6h"), lambda passed: np.asarray(passed / HOUR)),
        ("dates", "30min", pd.Timedelta("30min"), lambda passed: np.asarray(passed / HOUR)),
        ("timedelta", "40h", pd.Timedelta("40h"), lambda passed: np.asarray(passed / HOUR)),
        ("steps", 24, 24, np.asarray),
    ],
)
def test_features_equal_a_plain_loop_over_rows(kind, window, span, hours, seed):
    panel = make_panel(seed, kind=kind)
    features = CausalFeatures(static=["age"], window=window).fit_transform(panel)
    for name in ("map", "lab", "flat", "etco2"):
        expected = plain(panel, name, span, hours=hours)
        for kind_ in ("last", "hours_since", "count", *("first", "min", "max", "mean", "sd")):
            known = expected.get(kind_, pd.Series(np.nan, panel.index))
            np.testing.assert_allclose(
                features[f"{name}_{kind_}"], known, rtol=1e-5, atol=1e-6, err_msg=f"{name} {kind_}"
            )
        for kind_ in ("min", "max", "sd", "delta"):
            known = expected.get(f"{kind_}_w", pd.Series(np.nan, panel.index))
            np.testing.assert_allclose(
                features[f"{name}_{kind_}_{window}"], known, rtol=1e-5, atol=2e-5
            )
        known = expected.get("slope", pd.Series(np.nan, panel.index))
        np.testing.assert_allclose(features[f"{name}_slope"], known, rtol=1e-4, atol=1e-5)


def test_constants_and_hours_stand_behind_the_variables():
    panel = make_panel()
    features = CausalFeatures(["map"], static=["age"]).fit_transform(panel)
    assert list(features.columns[-2:]) == ["age", "hours"]
    pd.testing.assert_series_equal(features["age"], panel["age"].astype("float32"))
    at = panel.index.get_level_values("at")
    begin = pd.Series(at, panel.index).groupby(level=0).transform("first")
    np.testing.assert_allclose(features["hours"], (at - begin) / HOUR, rtol=1e-6)


def test_names_of_features_are_those_of_the_columns():
    panel = make_panel()
    for history in (True, False):
        model = CausalFeatures(history=history, static=["age"], window=pd.Timedelta("90min"))
        features = model.fit(panel).transform(panel)
        assert list(model.get_feature_names_out()) == list(features.columns)
        assert features.columns.is_unique
        assert (features.dtypes == np.float32).all()
        assert features.index.equals(panel.index)
        assert ("map_slope" in features) is history
        assert "map_sd_1.5h" in features
    assert model.columns_ == ["map", "lab", "flat", "etco2"]


def test_a_value_exactly_one_window_before_is_out_of_it():
    time = pd.to_timedelta([1.1, 7.1, 7.1 + 5.99], unit="h")
    panel = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=time)
    features = CausalFeatures(window="6h").fit_transform(panel)
    assert features["x_min_6h"].tolist() == [1.0, 2.0, 2.0]


def test_nothing_of_later_rows_or_other_series_is_in_a_feature():
    panel = make_panel(3)
    whole = CausalFeatures(static=["age"]).fit_transform(panel)
    model = CausalFeatures(static=["age"]).fit(panel)
    other = panel.copy()
    other.loc["stay0", "map"] = 1e6 * np.pi  # of another series, and much larger
    alone = model.transform(other).loc[["stay2", "stay3"]]
    pd.testing.assert_frame_equal(alone, whole.loc[["stay2", "stay3"]], check_exact=True)
    for cut in (1, 9, 16):
        head = panel.groupby(level=0).head(cut)
        pd.testing.assert_frame_equal(
            model.transform(head), whole.groupby(level=0).head(cut), check_exact=True
        )
    tsf.check_no_lookahead(CausalFeatures(static=["age"]), make_panel(3, kind="dates"))


def test_rows_stand_in_the_order_of_the_input():
    panel = make_panel(1, kind="dates")
    turned = panel.sort_index(level="at", kind="stable")
    assert not turned.index.equals(panel.index)
    model = CausalFeatures().fit(turned)
    features = model.transform(turned)
    assert features.index.equals(turned.index)
    pd.testing.assert_frame_equal(features.loc[panel.index], model.transform(panel))


def test_rounding_leaves_no_spread_where_nothing_moves():
    values = np.concatenate([1e6 + np.random.default_rng(0).normal(size=500), [7.1] * 20])
    panel = pd.DataFrame({"x": values}, index=pd.Index(range(520)))
    features = CausalFeatures(window=10).fit_transform(panel)
    assert (features["x_sd_10"].iloc[-11:] == 0).all()


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"columns": ["pulse"]}, tsf.DataError, r"Missing: \['pulse'\]"),
        ({"columns": "map"}, ValueError, "'columns': expected a list of names, found 'map'"),
        ({"static": ["kind"]}, tsf.DataError, "column of categories .*'kind'"),
        (
            {"window": 6},
            ValueError,
            "'window': expected a span of time above 0, such as '6h', found 6",
        ),
        ({"window": "-1h"}, ValueError, "'window'"),
        ({"window": "soon"}, ValueError, "'window'"),
        ({"window": "6"}, ValueError, "'window'"),
        ({"history": 1.5}, ValueError, "'history'"),
        ({"columns": ["map", "map_last"]}, tsf.DataError, "'map_last_first' more than once"),
    ],
)
def test_what_cannot_be_used_is_refused_in_fit(changed, error, text):
    panel = make_panel().assign(kind=pd.Categorical(["a"] * 92))
    panel["map_last"] = 1.0
    panel["map_last_first"] = 1.0
    if changed.get("columns") == ["map", "map_last"]:
        changed = {**changed, "static": ["map_last_first"]}
    with pytest.raises(error, match=text):
        clone(CausalFeatures()).set_params(**changed).fit(panel)


def test_a_time_span_is_refused_where_time_is_a_whole_number():
    with pytest.raises(ValueError, match="'window': expected a whole number of steps above 0"):
        CausalFeatures().fit(make_panel(kind="steps"))


def test_a_column_that_is_gone_is_named():
    panel = make_panel()
    model = CausalFeatures(["map", "lab"]).fit(panel)
    with pytest.raises(tsf.DataError, match=r"Missing: \['lab'\]"):
        model.transform(panel.drop(columns="lab"))


def test_a_long_panel_takes_seconds():
    """Hourly rows of many stays, most columns rarely measured: a tenth of hospital A in size."""
    import time

    rng = np.random.default_rng(0)
    stays, n = 2000, 40
    index = pd.MultiIndex.from_product([range(stays), pd.to_timedelta(np.arange(n), unit="h")])
    shares = np.array([0.85] * 8 + [0.07] * 26)
    table = rng.normal(size=(stays * n, 34))
    table[rng.random(table.shape) > shares] = np.nan
    panel = pd.DataFrame(table, index=index).rename(columns=str)
    started = time.process_time()
    features = CausalFeatures().fit_transform(panel)
    assert features.shape == (stays * n, 34 * 13 + 1)
    assert time.process_time() - started < 5  # about half a second
