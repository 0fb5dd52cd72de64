"""A baseline that goes on row by row says what it says of all rows at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import tsforecast as tsf
from tsforecast.data.panel import layout_of
from tsforecast.estimators.baselines import (
    EWMA,
    Baseline,
    Drift,
    KnownRows,
    Naive,
    RandomWalk,
    SeasonalNaive,
)
from tsforecast.estimators.garch import GARCH
from tsforecast.estimators.regression import LagRegressor
from tsforecast.estimators.volatility import HAR, LogHAR

H = 3
MODELS = {
    "naive": Naive(horizon=H),
    "seasonal": SeasonalNaive(season=5, horizon=H),
    "drift": Drift(horizon=H),
    "ewma": EWMA(horizon=H),
    "ewma that is naive": EWMA(horizon=H, alpha=1.0),
    "walk": RandomWalk(horizon=H),
    "har": HAR(horizon=H, lags=(1, 3, 8)),
    "har with more": HAR(horizon=H, lags=(1, 3, 8), past=["p"], by="series"),
    "log har": LogHAR(horizon=H, lags=(1, 3, 8)),
    "log har with more": LogHAR(
        horizon=H,
        lags=(1, 3),
        returns="r",
        semivariance=("bad", "good"),
        quarticity="q",
        past=["p"],
        by="series",
    ),
    "garch": GARCH(horizon=H, o=1, mean="zero"),
    "garch of higher order": GARCH(horizon=H, p=2, o=2, q=3, distribution="skewt"),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def walks(n_series: int, n_rows: int, *, missing: float, n_columns: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [[f"s{i}" for i in range(n_series)], range(n_rows)], names=["series", "time"]
    )
    values = rng.normal(size=(n_series, n_rows, n_columns)).cumsum(axis=1).reshape(-1, n_columns)
    values[rng.random(values.shape) < missing] = np.nan
    return pd.DataFrame(values, index=index, columns=[f"y{k}" for k in range(n_columns)])


def walks_of(model: Baseline, n_series: int, n_rows: int, *, missing: float, n_targets: int = 1):
    """Walks, above zero where the model wants a logarithm, and the further columns it reads."""
    panel = walks(n_series, n_rows, missing=missing, n_columns=n_targets)
    if isinstance(model, LogHAR):
        panel = np.exp(0.3 * panel)
    for number, name in enumerate(model._further()):
        rng = np.random.default_rng(number + 1)
        values = rng.normal(size=len(panel))
        values[rng.random(len(panel)) < missing] = np.nan
        panel[name] = np.exp(values) if isinstance(model, LogHAR) and name != "r" else values
    return panel


def rows_of(model: Baseline, panel: pd.DataFrame) -> KnownRows:
    return model._prepare(panel, layout_of(panel))


def upto(panel: pd.DataFrame, time: int) -> pd.DataFrame:
    return panel[panel.index.get_level_values("time") <= time]


def at(panel: pd.DataFrame, time: int) -> np.ndarray:
    return panel.xs(time, level="time").to_numpy()


def assert_same_rows(found: KnownRows, expected: KnownRows) -> None:
    np.testing.assert_array_equal(found.layout.offsets, expected.layout.offsets)
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.age, expected.age)
    np.testing.assert_allclose(found.state, expected.state, rtol=1e-12, atol=1e-12)


@every_model
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_row_by_row_equals_all_rows_at_once(model, missing):
    """Only as many rows are kept as a forecast needs; every series begins with its first row."""
    fitted = clone(model).set_params(target="y0").fit(walks_of(model, 4, 60, missing=0.1))
    panel = walks_of(model, 4, 40, missing=missing) * 3 + 1
    rows = rows_of(fitted, upto(panel, 0))
    for time in range(1, 40):
        rows = fitted.advance(rows, at(panel, time)).tail(fitted._memory)
        expected = rows_of(fitted, upto(panel, time)).tail(fitted._memory)
        assert_same_rows(rows, expected)
        ends = rows.layout.stops - 1
        for one, other in zip(fitted._forecast(rows, ends), fitted._forecast(expected, ends)):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@every_model
def test_more_rows_than_needed_may_be_kept_and_series_may_have_different_numbers_of_them(model):
    fitted = clone(model).set_params(target="y0").fit(walks_of(model, 3, 60, missing=0.1))
    panel = walks_of(model, 3, 12, missing=0.2)
    ragged = panel.drop([("s0", time) for time in range(5)] + [("s2", time) for time in range(10)])
    found = fitted.advance(rows_of(fitted, upto(ragged, 10)), at(ragged, 11))
    assert found.layout.names() == ["s0", "s1", "s2"]
    assert_same_rows(found, rows_of(fitted, ragged))


@every_model
def test_a_series_without_a_known_value_has_no_forecast_until_one_comes(model):
    fitted = clone(model).set_params(target="y0").fit(walks_of(model, 2, 60, missing=0.0))
    panel = pd.DataFrame({"y0": [np.nan] * 3 + [7.0]}).assign(
        **dict.fromkeys(model._further(), 1.0)
    )
    rows = rows_of(fitted, panel.iloc[:1])
    for y in panel.to_numpy()[1:]:
        assert np.isnan(fitted._forecast(rows, rows.layout.stops - 1)[0]).all()
        rows = fitted.advance(rows, y[None])
    assert_same_rows(rows, rows_of(fitted, panel))
    assert np.isfinite(fitted._forecast(rows, rows.layout.stops - 1)[0]).all()


@every_model
def test_rows_before_are_left_as_they_were(model):
    fitted = clone(model).set_params(target="y0").fit(walks_of(model, 2, 60, missing=0.0))
    panel = walks_of(model, 2, 20, missing=0.0)
    before, again = rows_of(fitted, panel), rows_of(fitted, panel)
    new = at(panel, 19).copy()
    new[1, 0] = np.nan
    fitted.advance(before, new)
    assert_same_rows(before, again)


@every_model
def test_several_targets_advance_beside_each_other(model):
    panel = walks_of(model, 3, 60, missing=0.2, n_targets=2)
    both = clone(model).set_params(target=["y0", "y1"]).fit(panel)
    found = both.advance(rows_of(both, upto(panel, 58)), at(panel, 59))
    expected = rows_of(both, panel)
    for one, other in zip(found.parts, expected.parts):
        assert_same_rows(one, other)
    assert found.layout.n_rows == len(panel)


def test_a_baseline_that_cannot_advance_has_no_such_method():
    panel = walks(2, 60, missing=0.0)
    ridge = LagRegressor(horizon=H, lags=3).fit(panel)
    assert not hasattr(ridge, "advance")
    assert all(hasattr(model, "advance") for model in MODELS.values())

    class Mine(Naive):
        pass

    assert hasattr(Mine(), "advance")
    assert not hasattr(tsf.RecurrentForecaster(), "advance")
