"""Transforms: the inverse contract, time order between rows, and scikit-learn's manners."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import estimator_html_repr

from tsforecast._checks import DataError
from tsforecast.data.panel import as_panel, layout_of
from tsforecast.data.pipeline import TargetTransform
from tsforecast.data.transforms import Bounded, Clip, Log, LogReturn, RowNames, SeriesScaler

NAN = np.nan
SCALERS = {
    f"{method} {by}": SeriesScaler(method, by=by)  # type: ignore[arg-type]
    for method in ("standard", "robust")
    for by in ("series", "all")
}
INVERTIBLE: dict[str, Any] = {"log": Log(), "bounded": Bounded(0.0, 1e4), **SCALERS}
ALL: dict[str, Any] = {**INVERTIBLE, "clip": Clip(2.0, 50.0), "return": LogReturn()}


def panel_of(seed: int = 0, names: str = "abc") -> pd.DataFrame:
    """Positive x and y of very different scale per series, some NaN."""
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [list(names), pd.date_range("2024", periods=8)], names=["id", "day"]
    )
    scale = np.repeat(10.0 ** np.arange(len(names)), 8)[:, None]
    values = np.exp(rng.normal(size=(len(index), 2))) * scale
    values[rng.random(values.shape) < 0.15] = NAN
    return as_panel(pd.DataFrame(values, index=index, columns=["x", "y"]))


def forecast_rows(panel: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Rows as forecasts have them: each index label many times, in any order."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(panel), size=5 * len(panel))
    return pd.DataFrame(
        rng.uniform(0.5, 9.0, size=(len(rows), 2)), index=panel.index[rows], columns=panel.columns
    )


# ------------------------------------------------------------------------------------- the inverse


@pytest.mark.parametrize("name", INVERTIBLE)
def test_inverse_undoes_the_transform(name):
    panel = panel_of()
    transform = clone(INVERTIBLE[name]).fit(panel)
    back = transform.inverse_transform(transform.transform(panel))
    pd.testing.assert_frame_equal(back, panel)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_inverse_undoes_the_transform_on_the_repeated_rows_of_forecasts(name):
    panel = panel_of()
    transform = clone(INVERTIBLE[name]).fit(panel)
    rows = forecast_rows(panel)
    there = transform.transform(rows)
    pd.testing.assert_frame_equal(transform.inverse_transform(there), rows)
    one_by_one = pd.concat([transform.inverse_transform(there.iloc[[i]]) for i in range(20)])
    pd.testing.assert_frame_equal(one_by_one, rows.iloc[:20])


@pytest.mark.parametrize("name", INVERTIBLE)
def test_inverse_undoes_the_transform_for_series_that_fit_has_not_seen(name):
    transform = clone(INVERTIBLE[name]).fit(panel_of())
    for other in (panel_of(5, names="bz"), panel_of(5, names="z"), panel_of().loc["a"]):
        back = transform.inverse_transform(transform.transform(other))
        pd.testing.assert_frame_equal(back, other)


@pytest.mark.parametrize("name", [*INVERTIBLE, "clip"])
@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20), st.sampled_from(["a", "c", "unseen"]))
def test_inverse_keeps_the_order_of_quantiles(name, values, series):
    transform = clone(ALL[name]).fit(panel_of())
    index = pd.MultiIndex.from_product([[series], [pd.Timestamp("2024")]]).repeat(len(values))
    rows = pd.DataFrame({"x": sorted(values), "y": sorted(values)}, index=index)
    assert (transform.inverse_transform(rows).diff().iloc[1:] >= 0).all(axis=None)


def test_inverse_of_clip_and_of_returns_leaves_values_alone():
    panel = panel_of()
    for transform in (Clip(2.0, 50.0).fit(panel), LogReturn().fit(panel)):
        pd.testing.assert_frame_equal(transform.inverse_transform(panel), panel)


# ------------------------------------------------------------------- what every transform promises


@pytest.mark.parametrize("name", ALL)
def test_without_columns_the_targets_are_meant_or_else_every_column(name):
    panel = panel_of()
    every = clone(ALL[name]).fit(panel).transform(panel)
    assert (every != panel).any().all()
    if name != "return":
        target = clone(ALL[name]).fit(panel, panel[["y"]]).transform(panel)
        pd.testing.assert_series_equal(target["x"], panel["x"])
        pd.testing.assert_series_equal(target["y"], every["y"])
    chosen = clone(ALL[name]).set_params(columns=["x"]).fit(panel, panel[["y"]]).transform(panel)
    pd.testing.assert_series_equal(chosen["y"], panel["y"])
    pd.testing.assert_series_equal(chosen["x"], every["x"])


@pytest.mark.parametrize("name", ALL)
def test_rows_columns_and_the_input_stay_as_they_are(name):
    panel = panel_of().assign(note=1.0)[["note", "y", "x"]]
    before = panel.copy(deep=True)
    transform = clone(ALL[name]).set_params(columns=["x"]).fit(panel)
    rows = panel.iloc[::-1]
    for result in (transform.transform(rows), transform.inverse_transform(rows)):
        assert list(result.columns) == ["note", "y", "x"]
        pd.testing.assert_index_equal(result.index, rows.index)
        pd.testing.assert_frame_equal(result[["note", "y"]], rows[["note", "y"]])
    pd.testing.assert_frame_equal(panel, before)


@pytest.mark.parametrize("name", ALL)
def test_missing_values_stay_missing(name):
    panel = panel_of()
    result = clone(ALL[name]).fit(panel).transform(panel)
    assert result.isna().to_numpy()[panel.isna().to_numpy()].all()
    if name != "return":
        pd.testing.assert_frame_equal(result.isna(), panel.isna())


@pytest.mark.parametrize("name", ALL)
def test_a_row_depends_on_no_later_row_and_on_no_other_series(name):
    panel = panel_of()
    transform = clone(ALL[name]).fit(panel)
    expected = transform.transform(panel)
    altered = panel.copy()
    altered.loc["a"] = 3.0
    altered.iloc[12:16] = 7.0  # the later half of b
    changed = transform.transform(altered)
    pd.testing.assert_frame_equal(changed.iloc[8:12], expected.iloc[8:12], check_exact=True)
    pd.testing.assert_frame_equal(changed.loc[["c"]], expected.loc[["c"]], check_exact=True)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("names", [[0, 1], [("x", 1), ("y", 2)], [pd.Timestamp("2024"), 1.5]])
def test_column_names_need_not_be_text(name, names):
    panel = panel_of()
    named = panel.set_axis(pd.Index(names, tupleize_cols=False), axis=1)
    expected = clone(ALL[name]).fit(panel).transform(panel)
    result = clone(ALL[name]).fit(named).transform(named)
    assert list(result.columns) == names
    np.testing.assert_array_equal(result.to_numpy(), expected.to_numpy())


@pytest.mark.parametrize("name", ALL)
def test_columns_that_are_missing_or_no_list_are_named(name):
    panel = panel_of()
    transform = clone(ALL[name])
    with pytest.raises(DataError, match=rf"{type(transform).__name__} misses.*Missing: \['z'\]"):
        transform.set_params(columns=["z"]).fit(panel)
    with pytest.raises(ValueError, match="'columns': expected a list of names, found 'xy'"):
        transform.set_params(columns="xy").fit(panel)
    transform.set_params(columns=["x", "y"]).fit(panel)
    with pytest.raises(DataError, match=r"Missing: \['y'\]"):
        transform.transform(panel[["x"]])


@pytest.mark.parametrize("name", ALL)
def test_what_is_no_frame_of_numbers_is_refused(name):
    transform, panel = clone(ALL[name]), panel_of()
    for data in (panel["x"], panel.to_numpy(), None):
        with pytest.raises(
            DataError, match=f"a DataFrame .*, found {type(data).__name__}. Pass as_p"
        ):
            transform.fit(data)
    with pytest.raises(DataError, match="found Series"):
        transform.fit(panel, panel["x"])
    with pytest.raises(
        DataError, match=r"not numeric \(column 'x'\): expected floats, found dtype obj"
    ):
        transform.fit(panel.astype({"x": object}))
    transform.fit(panel[["x"]])
    with pytest.raises(DataError, match="found Series"):
        transform.transform(panel["x"])


@pytest.mark.parametrize("name", ALL)
def test_a_transform_must_be_fitted_first(name):
    with pytest.raises(sklearn.exceptions.NotFittedError):
        clone(ALL[name]).transform(panel_of())


# -------------------------------------------------------------------------- scikit-learn's manners


@pytest.mark.parametrize("name", ALL)
def test_clones_are_unfitted_and_have_the_same_parameters(name):
    fitted = clone(ALL[name]).fit(panel_of())
    copy = clone(fitted)
    assert copy.get_params() == ALL[name].get_params()
    assert not hasattr(copy, "columns_")


@pytest.mark.parametrize("name", ALL)
def test_a_pickled_transform_gives_the_same_rows(name):
    panel = panel_of()
    transform = clone(ALL[name]).fit(panel)
    again = pickle.loads(pickle.dumps(transform))
    pd.testing.assert_frame_equal(again.transform(panel), transform.transform(panel))


@pytest.mark.parametrize("name", ALL)
def test_a_pipeline_with_pandas_output_is_the_chain_of_its_steps(name):
    panel = panel_of()
    first, second = Clip(0.01, 400.0, columns=["x", "y"]), clone(ALL[name])
    pipeline = make_pipeline(clone(first), clone(second)).set_output(transform="pandas")
    y = None if name == "return" else panel[["y"]]
    pipeline.fit(panel, y)
    clipped = first.fit_transform(panel, y)
    expected = second.fit_transform(clipped, y)
    result = pipeline.transform(panel)
    pd.testing.assert_frame_equal(result, expected)
    assert list(pipeline.get_feature_names_out()) == ["x", "y"]
    back = second.inverse_transform(expected)
    pd.testing.assert_frame_equal(pipeline.inverse_transform(result), back)


@pytest.mark.parametrize("name", ALL)
def test_pandas_output_never_writes_the_names_of_fit_over_columns_in_another_order(name):
    panel = panel_of()
    expected = clone(ALL[name]).fit(panel).transform(panel)
    with sklearn.config_context(transform_output="pandas"):
        transform = clone(ALL[name]).set_output(transform="pandas").fit(panel)
        pd.testing.assert_frame_equal(transform.transform(panel[["y", "x"]]), expected[["y", "x"]])
        wider = transform.transform(panel.assign(z=1.0))
        pd.testing.assert_frame_equal(wider[["x", "y"]], expected)


def test_output_other_than_pandas_is_refused():
    with pytest.raises(ValueError, match="'transform': expected one of .*'pandas'.*found 'polars'"):
        Log().set_output(transform="polars")


@pytest.mark.parametrize("name", ALL)
def test_the_html_form_of_a_fitted_transform_shows_no_names_of_series(name):
    patients = ["patient-4711", "patient-4712", "patient-4713"]
    panel = panel_of().rename(index=dict(zip("abc", patients)), level=0)
    transform = clone(ALL[name]).fit(panel)
    assert isinstance(transform.transform(panel), pd.DataFrame)
    for shown in (estimator_html_repr(transform), repr(transform)):
        assert type(transform).__name__ in shown
        assert "patient" not in shown
    public = {key: value for key, value in vars(transform).items() if not key.startswith("_")}
    assert "columns_" in public and "patient" not in str(public)


# --------------------------------------------------------------------------------------------- Log


def test_log_is_the_natural_logarithm():
    panel = panel_of()
    pd.testing.assert_frame_equal(Log().fit_transform(panel), panel.map(np.log))


@pytest.mark.parametrize("transform", [Log(), LogReturn()])
def test_logarithms_of_zero_and_less_name_column_series_and_rows(transform):
    panel = panel_of()
    panel.iloc[9, 1] = 0.0
    panel.iloc[20, 1] = -2.0
    name = type(transform).__name__
    with pytest.raises(
        DataError,
        match=rf"{name} of values that are not positive \(column 'y'; series 'b'; first rows: "
        r"\('b', .*2024-01-02.*\('c', .*2024-01-05.*\): expected numbers above zero.*"
        "found 2 that are not, e.g. 0",
    ):
        transform.fit(panel).transform(panel)
    with pytest.raises(DataError, match=r"\(column 'y'; first rows: 2024-01-02 00:00:00\)"):
        transform.transform(panel.loc["b"])


# --------------------------------------------------------------------------------------- LogReturn


def test_returns_are_differences_of_logarithms_within_each_series():
    panel = panel_of()
    expected = panel.map(np.log).groupby(level=0).diff()
    pd.testing.assert_frame_equal(LogReturn().fit_transform(panel), expected)
    assert expected.groupby(level=0).head(1).isna().all(axis=None)


def test_returns_of_one_series_without_a_name():
    panel = panel_of().loc["b"]
    expected = panel.map(np.log).diff()
    pd.testing.assert_frame_equal(LogReturn().fit_transform(panel), expected)


@pytest.mark.parametrize("columns", [None, ["y"], ["x", "y"]])
def test_returns_of_a_target_are_refused_with_advice(columns):
    panel = panel_of()
    with pytest.raises(ValueError, match=r"found \['y'\].*Log\(...\) on it with baseline='last'"):
        LogReturn(columns).fit(panel, panel[["y"]])
    assert LogReturn(["x"]).fit(panel, panel[["y"]]).columns_ == ["x"]


# -------------------------------------------------------------------------------------------- Clip


@pytest.mark.parametrize("lower, upper", [(2.0, 50.0), (2.0, None), (None, 50.0), (None, None)])
def test_clip_agrees_with_pandas(lower, upper):
    panel = panel_of()
    result = Clip(lower, upper).fit_transform(panel)
    pd.testing.assert_frame_equal(result, panel.clip(lower, upper))


def test_clip_limits_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="'lower': expected a number below upper=1, found 2"):
        Clip(2, 1).fit(panel_of())


# ----------------------------------------------------------------------------------------- Bounded


def saturation(values):
    return pd.DataFrame({"spo2": values})


def test_bounded_without_eps_is_the_scaled_logit():
    panel = panel_of()
    expected = np.log((panel + 1.0) / (5e3 - panel))
    result = Bounded(-1.0, 5e3, eps=0).fit_transform(panel)
    pd.testing.assert_frame_equal(result, expected, rtol=1e-12)


@pytest.mark.parametrize("eps", [1e-6, 0.01, 0.2])
def test_values_at_a_bound_are_finite_and_come_back_as_they_were(eps):
    panel = saturation([100.0, 50.0, 99.0, NAN, 100.0])
    bounded = Bounded(50, 100, eps=eps).fit(panel)
    z = bounded.transform(panel)
    np.testing.assert_allclose(z["spo2"].iloc[:2], [np.log(1 / eps - 1), -np.log(1 / eps - 1)])
    back = bounded.inverse_transform(z)
    pd.testing.assert_frame_equal(back, panel, rtol=1e-9)
    assert back["spo2"].max() <= 100 and back["spo2"].min() >= 50


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.sampled_from([0.0, 1e-9, 0.01, 0.3]),
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=20),
)
def test_bounded_never_leaves_its_bounds_and_never_turns_quantiles_round(low, width, eps, values):
    high = low + width
    bounded = Bounded(low, high, eps=eps).fit(saturation([low + 0.5 * width]))
    back = bounded.inverse_transform(saturation(sorted(values)))["spo2"]
    assert back.between(low, high).all()
    assert (back.diff().iloc[1:] >= 0).all()


def test_bounded_is_accepted_on_a_target_that_is_at_its_bound_most_of_the_time():
    panel = saturation([100.0] * 8 + [97.0, 95.0])
    transform = TargetTransform(Bounded(50, 100), panel)
    fan = transform.push(
        np.array([[[3.0, 4.0, 9.0]]]), np.array([9]), layout_of(panel), inverse=True
    )
    assert fan.max() == 100 and (np.diff(fan) > 0).all()


@pytest.mark.parametrize(
    "eps, values, found",
    [(0.01, [97.0, 101.0, -2.0], "2 that are not, e.g. 101"), (0, [97.0, 100.0, 0.0], "e.g. 100")],
)
def test_values_out_of_bounds_name_column_series_and_rows(eps, values, found):
    index = pd.MultiIndex.from_product([["P1"], [0, 1, 2]], names=["patient", "hours"])
    panel = saturation(values).set_axis(index)
    bounds = r"\[0, 100\]" if eps else r"\(0, 100\)"
    advice = r"put Clip\(0, 100\) before" + ("." if eps else " and take eps=0.01.")
    with pytest.raises(
        DataError,
        match=r"out of bounds \(column 'spo2'; series 'P1'; first rows: \('P1', 1\), \('P1', 2\)\)"
        f": expected numbers in {bounds}, or NaN, found .*{found}.*{advice}",
    ):
        Bounded(0, 100, eps=eps).fit_transform(panel)
    with pytest.raises(DataError, match="first rows: 1, 2"):
        Bounded(0, 100, eps=eps).fit_transform(panel.droplevel("patient"))


def test_a_clip_before_takes_what_is_out_of_bounds_to_the_bound():
    panel = saturation([97.0, 101.0, -2.0])
    chain = make_pipeline(Clip(0, 100), Bounded(0, 100))
    back = chain.inverse_transform(chain.fit_transform(panel))
    np.testing.assert_allclose(back["spo2"], [97.0, 100.0, 0.0], atol=1e-9)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"low": 100, "high": 50}, "'low': expected a number below high=50, found 100"),
        ({"low": 1, "high": 1}, "'low': expected a number below high=1, found 1"),
        ({"low": None, "high": 1}, "'low': expected a finite number, found None"),
        ({"low": 0, "high": np.inf}, "'high': expected a finite number, found inf"),
        ({"low": 0, "high": True}, "'high': expected a finite number, found True"),
        ({"low": 0, "high": 1, "eps": 0.5}, r"'eps': expected a number in \[0, 0.5\), found 0.5"),
        ({"low": 0, "high": 1, "eps": "small"}, "'eps': .* found 'small'"),
    ],
)
def test_bounds_that_make_no_sense_are_refused_in_fit(parameters, message):
    with pytest.raises(ValueError, match=message):
        Bounded(**parameters).fit(panel_of())


# ------------------------------------------------------------------------------------ SeriesScaler


@pytest.mark.parametrize("by", ["series", "all"])
def test_standard_scaler_agrees_with_scikit_learn_on_one_series(by):
    panel = panel_of().loc["b"]
    expected = StandardScaler().fit_transform(panel.to_numpy())
    for rows in (panel, pd.concat({"b": panel})):
        result = SeriesScaler(by=by).fit_transform(rows)
        np.testing.assert_allclose(result.to_numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("by", ["series", "all"])
def test_robust_scaler_agrees_with_scikit_learn_on_one_series(by):
    panel = panel_of().loc["b"]
    expected = RobustScaler(unit_variance=True).fit_transform(panel.to_numpy())
    for rows in (panel, pd.concat({"b": panel})):
        result = SeriesScaler("robust", by=by).fit_transform(rows)
        np.testing.assert_allclose(result.to_numpy(), expected, rtol=2e-5)  # 1.349 is rounded


@pytest.mark.parametrize("method", ["standard", "robust"])
def test_scaling_by_series_is_scaling_each_series_alone(method):
    panel = panel_of()
    alone = [SeriesScaler(method).fit_transform(panel.loc[[name]]) for name in "abc"]
    together = SeriesScaler(method).fit_transform(panel)
    pd.testing.assert_frame_equal(together, pd.concat(alone))


def test_scaling_over_all_rows_uses_one_location_and_scale():
    panel = panel_of()
    expected = (panel - panel.mean()) / panel.std(ddof=0)
    pd.testing.assert_frame_equal(SeriesScaler(by="all").fit_transform(panel), expected)


@pytest.mark.parametrize("method", ["standard", "robust"])
def test_an_unseen_series_gets_the_pooled_location_and_the_typical_spread_within_series(method):
    panel, other = panel_of(), panel_of(7, names="z")
    groups = panel.groupby(level=0)
    if method == "standard":
        location, spreads = panel.mean(), groups.std(ddof=0)
    else:
        location = panel.median()
        spreads = (groups.quantile(0.75) - groups.quantile(0.25)) / 1.349
    expected = (other - location) / np.sqrt((spreads**2).mean())
    scaler = SeriesScaler(method).fit(panel)
    pd.testing.assert_frame_equal(scaler.transform(other), expected)
    pd.testing.assert_frame_equal(scaler.transform(other.loc["z"]), expected.loc["z"])


def test_a_series_seen_without_any_value_is_treated_as_unseen():
    panel, other = panel_of(), panel_of(7, names="z")
    empty = pd.DataFrame(NAN, index=panel_of(names="z").index, columns=panel.columns)
    seen = SeriesScaler().fit(pd.concat([panel, empty])).transform(other)
    pd.testing.assert_frame_equal(seen, SeriesScaler().fit(panel).transform(other))


@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("by", ["series", "all"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_series_is_centred_and_its_scale_is_one(method, by, value):
    panel = panel_of()
    panel.loc["b"] = value
    rows = panel.loc[["b"]]
    scaler = SeriesScaler(method, by=by).fit(panel if by == "series" else rows)
    np.testing.assert_allclose(scaler.transform(rows), 0.0, atol=1e-6)
    np.testing.assert_allclose(scaler.transform(rows + 1.0), 1.0, atol=1e-6)


@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("unit", [1e-14, 1e9])
def test_a_column_in_a_tiny_unit_is_scaled_like_any_other(method, unit):
    panel = panel_of()  # realised quarticities are of the size of 1e-14
    expected = SeriesScaler(method).fit_transform(panel)
    scaler = SeriesScaler(method).fit(panel * unit)
    result = scaler.transform(panel * unit)
    pd.testing.assert_frame_equal(result, expected)
    pd.testing.assert_frame_equal(scaler.inverse_transform(result) / unit, panel)


def test_what_is_left_of_two_columns_that_agree_has_no_spread():
    y = np.arange(1, 21) / 10
    panel = pd.DataFrame({"y": y - (y * 3) / 3})
    assert panel["y"].abs().max() > 0
    scaler = SeriesScaler().fit(panel)
    assert scaler.transform(pd.DataFrame({"y": [1.0, -2.0]}))["y"].abs().max() <= 2


def test_an_unseen_series_beside_constants_has_no_spread_of_rounding():
    panel = panel_of(names="ab")
    panel.loc["a"], panel.loc["b"] = 0.1, -0.1
    result = SeriesScaler().fit(panel).transform(panel_of(7, names="z"))
    assert result.abs().max(axis=None) < 1e3


def test_a_column_without_any_value_passes_through():
    panel = panel_of().assign(z=NAN)
    result = SeriesScaler().fit_transform(panel)
    assert result["z"].isna().all()
    assert SeriesScaler().fit(panel).transform(panel.assign(z=3.0))["z"].eq(3.0).all()


@pytest.mark.parametrize("option", ["method", "by"])
def test_choices_of_the_scaler_are_checked_in_fit(option):
    with pytest.raises(ValueError, match=f"'{option}': expected one of .* found 'nonsense'"):
        SeriesScaler().set_params(**{option: "nonsense"}).fit(panel_of())


@pytest.mark.parametrize("limits", [{"lower": "a"}, {"upper": [3]}])
def test_clip_limits_that_are_no_numbers_are_refused(limits):
    with pytest.raises(
        ValueError, match=f"'{next(iter(limits))}': expected a number or None, found"
    ):
        Clip(**limits).fit(panel_of())


# -------------------------------------------------------------------------------- without a frame


class Cumulated(TransformerMixin, BaseEstimator):
    """Somebody's own transformer with memory: the sum of x so far in its series."""

    def fit(self, panel: pd.DataFrame, y: Any = None) -> Cumulated:
        self.fitted_ = True
        return self

    def transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        return panel.assign(x=panel["x"].fillna(0.0).groupby(level=0, sort=False).cumsum())

    def inverse_transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        return panel

    def state_of(self, panel: pd.DataFrame) -> np.ndarray:
        return panel[["x"]].groupby(level=0, sort=False).sum().to_numpy()

    def step(self, state: np.ndarray, panel: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        state = np.nan_to_num(state) + np.nan_to_num(panel[["x"]].to_numpy())
        return panel.assign(x=state[:, 0]), state


class Halved(FunctionTransformer):
    """Somebody's own transformer of single rows."""

    row_local = True

    def __init__(self) -> None:
        super().__init__(lambda x: x / 2, inverse_func=lambda x: x * 2, check_inverse=False)


class Centred(FunctionTransformer):
    """One that looks at all rows: no row can come alone."""

    def __init__(self) -> None:
        super().__init__(lambda x: x - x.mean(), inverse_func=lambda x: x, check_inverse=False)


CHAINS: dict[str, Any] = {
    "none": None,
    "log": Log(),
    "clipped": make_pipeline(Clip(0.5, 900.0), Bounded(0.0, 1e3, eps=0.01)),
    "scaled": make_pipeline(Log(), SeriesScaler("robust")),
    "scaled together": make_pipeline(Log(["x", "y"]), SeriesScaler(by="all", columns=["x", "y"])),
    "returns": make_pipeline(Log(), LogReturn(["x"]), SeriesScaler()),
    "theirs": make_pipeline(Log(), StandardScaler(), MinMaxScaler()),
    "mixed": make_pipeline(SeriesScaler(), make_pipeline(Halved(), LogReturn(["z"])), Cumulated()),
}


def chain_of(name: str, seed: int = 0) -> tuple[TargetTransform, pd.DataFrame]:
    """Targets y, inputs x and z."""
    panel = panel_of(seed).assign(z=lambda p: p["x"] + 1)[["y", "x", "z"]]
    return TargetTransform(CHAINS[name], panel), panel


@pytest.mark.parametrize("name", CHAINS)
def test_row_by_row_a_chain_gives_what_it_gives_of_all_rows(name):
    """From no row at all, and from the state that the first rows leave; one series is unseen."""
    chain, _ = chain_of(name)
    panel = panel_of(3, names="acz").assign(z=lambda p: p["x"] + 1)[["y", "x", "z"]]
    expected = chain(panel).to_numpy().reshape(3, 8, 3)
    days = panel.index.get_level_values("day").unique()
    for begin in (0, 5):
        state = np.full((3, sum(chain._widths)), NAN)
        if begin:
            state = chain.state_of(panel[panel.index.get_level_values("day") < days[begin]])
        for at in range(begin, 8):
            now = panel.xs(days[at], level="day")
            rows = RowNames(now.index, np.arange(3), days[[at] * 3])
            values, state = chain.step(state, now.to_numpy(), rows)
            np.testing.assert_allclose(values, expected[:, at], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(state, chain.state_of(panel))


def test_a_chain_steps_one_series_without_a_name():
    panel = panel_of().loc["a"][["y", "x"]]
    chain = TargetTransform(make_pipeline(Log(), LogReturn(["x"]), SeriesScaler()), panel)
    state = chain.state_of(panel.iloc[:6])
    expected = chain(panel).to_numpy()
    for at in (6, 7):
        rows = RowNames(None, np.zeros(1, dtype=np.int64), panel.index[[at]])
        values, state = chain.step(state, panel.to_numpy()[[at]], rows)
        np.testing.assert_allclose(values, expected[[at]], rtol=1e-12)


def test_a_step_changes_neither_state_nor_rows_that_it_is_given():
    chain, panel = chain_of("returns")
    state, values = chain.state_of(panel), panel.to_numpy()[[7, 15, 23]]
    before = state.copy(), values.copy()
    chain.step(state, values, RowNames.of(panel.index[[7, 15, 23]]))
    np.testing.assert_array_equal(state, before[0])
    np.testing.assert_array_equal(values, before[1])


def test_returns_step_frames_too():
    panel = panel_of()
    returns = LogReturn().fit(panel)
    early, late = panel.groupby(level=0).head(7), panel.groupby(level=0).tail(1)
    state = returns.state_of(early)
    np.testing.assert_array_equal(state, np.log(early.groupby(level=0).tail(1)))
    found, state = returns.step(state, late)
    pd.testing.assert_frame_equal(found, returns.transform(panel).groupby(level=0).tail(1))
    np.testing.assert_array_equal(state, returns.state_of(panel))


def test_every_transform_says_whether_its_rows_are_local():
    local = {name for name, transform in ALL.items() if transform.row_local}
    assert local == set(ALL) - {"return"}


def test_what_cannot_go_on_row_by_row_is_named():
    panel = panel_of()[["y", "x"]]
    chain = TargetTransform(make_pipeline(StandardScaler(), Centred()), panel)
    with pytest.raises(
        ValueError,
        match="'transform': expected steps that can go on row by row, found 'Centred'. Give its "
        "class `row_local = True` .*state_of and step",
    ):
        chain.state_of(panel)


@pytest.mark.parametrize("inverse", [True, False])
@pytest.mark.parametrize("name", [name for name in CHAINS if name != "none"])
def test_targets_pass_as_arrays_as_they_do_in_frames(name, inverse):
    chain, panel = chain_of(name)
    layout, origins = layout_of(panel), np.array([1, 2, 9, 9, 23])
    values = np.random.default_rng(2).uniform(0.6, 5.0, size=(5, 1, 2, 4))
    found = chain.push(values, origins, layout, inverse=inverse)
    labels = panel.index[np.repeat(origins, 8)]
    frame = pd.DataFrame({"y": values.ravel(), "x": NAN, "z": NAN}, index=labels)
    expected = chain._undo(frame) if inverse else chain(frame)
    np.testing.assert_allclose(found.ravel(), expected["y"], rtol=1e-12)
    few = chain.push(values[:2], origins[:2], layout, inverse=inverse)  # fewer than series
    np.testing.assert_array_equal(few, found[:2])


def test_targets_pass_back_for_one_series_without_a_name():
    panel = panel_of().loc["b"][["y"]]
    chain = TargetTransform(make_pipeline(Log(), SeriesScaler()), panel)
    z = chain(panel).to_numpy()[3:6, :, None]
    back = chain.push(z, np.arange(3, 6), layout_of(panel), inverse=True)
    np.testing.assert_allclose(back[:, :, 0], panel.to_numpy()[3:6])


def test_bad_numbers_in_arrays_are_named_as_in_frames():
    chain, panel = chain_of("scaled")
    values = np.ones((2, 1, 3))
    values[1, 0, 1:] = -4.0
    with pytest.raises(
        DataError,
        match=r"^Log of values that are not positive \(column 'y'; series 'b'; first rows: "
        r"\('b', Timestamp\('2024-01-02 00:00:00'\)\), \('b', .*\): expected numbers above "
        "zero, or NaN where missing, found 2 that are not, e.g. -4.",
    ):
        chain.push(values, np.array([0, 9]), layout_of(panel), inverse=False)
    rows = RowNames(pd.Index(["b"]), np.zeros(1, dtype=np.int64), pd.DatetimeIndex(["2025-05-05"]))
    with pytest.raises(DataError, match=r"column 'y'; series 'b'; first rows: .*2025-05-05"):
        chain.step(np.empty((1, 0)), np.array([[0.0, 1.0, 1.0]]), rows)


def test_whole_panels_pass_as_arrays_as_they_do_in_frames():
    for name in CHAINS:
        chain, panel = chain_of(name)
        expected = panel
        for step in chain._steps:
            expected = step.transform(expected)
        found = chain(panel)
        np.testing.assert_array_equal(found.to_numpy(), np.asarray(expected))
        pd.testing.assert_index_equal(found.index, panel.index)
