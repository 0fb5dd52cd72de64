"""The estimate of daily volatility, and HAR against ordinary least squares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from tsforecast._checks import DataError
from tsforecast.data.datasets import make_prices
from tsforecast.estimators.baselines import Naive
from tsforecast.estimators.volatility import HAR, garman_klass


def bars(**changes: object) -> pd.DataFrame:
    """Three plain days of prices; a change gives (day, price)."""
    frame = pd.DataFrame(
        {
            "open": [100.0, 101.0, 99.0],
            "high": [103.0, 102.0, 101.0],
            "low": [99.0, 98.0, 98.5],
            "close": [101.0, 99.0, 100.0],
        },
        index=pd.date_range("2024-01-01", periods=3, name="date"),
    )
    for column, (day, price) in changes.items():
        frame.iloc[day, frame.columns.get_loc(column)] = price
    return frame


def make_volatility(*, series: int = 3, rows: int = 400, seed: int = 0) -> pd.DataFrame:
    prices = make_prices(series, rows, random_state=seed)
    return np.log(garman_klass(prices)).to_frame()


# ------------------------------------------------------------------------------------- garman_klass


def test_garman_klass_is_the_formula_day_by_day():
    found = garman_klass(bars())
    for day, row in bars().iterrows():
        variance = 0.5 * np.log(row["high"] / row["low"]) ** 2
        variance -= (2 * np.log(2) - 1) * np.log(row["close"] / row["open"]) ** 2
        assert found[day] == pytest.approx(np.sqrt(variance), rel=1e-12)
    assert found.name == "volatility"
    pd.testing.assert_index_equal(found.index, bars().index)


def test_garman_klass_of_many_series_is_that_of_each():
    prices = make_prices(3, 100, random_state=0)
    together = garman_klass(prices)
    assert together.index.equals(prices.index)
    for ticker in ("S00", "S01", "S02"):
        alone = garman_klass(prices.loc[ticker])
        pd.testing.assert_series_equal(together.loc[ticker], alone, check_freq=False)


def test_garman_klass_does_not_change_with_the_currency():
    np.testing.assert_allclose(garman_klass(bars() * 7.3), garman_klass(bars()), rtol=1e-12)


def test_garman_klass_measures_a_brownian_day():
    rng = np.random.default_rng(0)
    steps, sigma = 2000, 0.02
    path = (rng.normal(size=(1000, steps)) * sigma / np.sqrt(steps)).cumsum(axis=1)
    days = pd.DataFrame(
        {"o": 1.0, "h": np.exp(path.max(1)), "l": np.exp(path.min(1)), "c": np.exp(path[:, -1])}
    )
    days["h"] = days["h"].clip(lower=1.0)
    days["l"] = days["l"].clip(upper=1.0)
    found = garman_klass(days, open="o", high="h", low="l", close="c")
    assert np.sqrt((found**2).mean()) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize(
    ("change", "same_as"),
    [
        ({"close": (1, 97.0)}, {"close": (1, 97.0), "low": (1, 97.0)}),
        ({"open": (1, 104.0)}, {"open": (1, 104.0), "high": (1, 104.0)}),
    ],
)
def test_open_or_close_outside_the_range_widens_it(change, same_as):
    pd.testing.assert_series_equal(garman_klass(bars(**change)), garman_klass(bars(**same_as)))


def test_day_without_range_or_with_a_missing_price_has_no_volatility():
    flat = bars()
    flat.iloc[1] = 100.0
    assert garman_klass(flat).isna().tolist() == [False, True, False]
    assert garman_klass(bars(high=(2, np.nan))).isna().tolist() == [False, False, True]


def test_low_above_high_is_refused():
    with pytest.raises(
        DataError, match="low above high .*2024-01-02.*expected 'low' at most 'high'"
    ):
        garman_klass(bars(low=(1, 102.5)))


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
@pytest.mark.parametrize("price", [0.0, -1.0])
def test_price_that_is_not_positive_is_refused(column, price):
    message = f"not positive .column '{column}'; first rows: .x, 2024-01-03.*found 1 rows"
    with pytest.raises(DataError, match=message):
        garman_klass(pd.concat({"x": bars(**{column: (2, price)})}, names=["ticker"]))


def test_missing_column_is_named():
    with pytest.raises(DataError, match=r"Missing: \['High'\]"):
        garman_klass(bars(), high="High")


# ---------------------------------------------------------------------------------------------- HAR


def test_har_is_ordinary_least_squares_of_each_step():
    panel = make_volatility(series=1)
    y = panel["volatility"]
    model = HAR(horizon=5).fit(panel)
    means = np.column_stack([y, y.rolling(5).mean(), y.rolling(22).mean()])
    for k in range(1, 6):
        line = sm.OLS(y.shift(-k).to_numpy(), sm.add_constant(means), missing="drop").fit()
        found = [model.intercept_[k - 1], *model.coef_[k - 1]]
        np.testing.assert_allclose(found, line.params, rtol=1e-8, atol=1e-10)
    expected = model.intercept_ + model.coef_ @ means[-1]
    np.testing.assert_allclose(model.predict()["forecast"], expected, rtol=1e-10)


def test_har_pools_the_series_under_one_intercept():
    panel = make_volatility(rows=150)
    model = HAR(horizon=3, lags=(1, 10)).fit(panel)
    parts = []
    for _, y in panel["volatility"].groupby(level=0):
        parts.append(pd.DataFrame({"1": y, "10": y.rolling(10).mean(), "next": y.shift(-3)}))
    rows = pd.concat(parts).dropna()
    line = sm.OLS(rows["next"].to_numpy(), sm.add_constant(rows[["1", "10"]].to_numpy())).fit()
    np.testing.assert_allclose([model.intercept_[2], *model.coef_[2]], line.params, rtol=1e-8)


def test_har_means_fill_missing_rows_and_are_shorter_at_the_start():
    panel = make_volatility(series=2, rows=120)
    panel.loc[panel.index[::7], "volatility"] = np.nan
    model = HAR(horizon=2, lags=(1, 4, 9)).fit(panel)
    found = model.forecast_origins(panel)["forecast"].to_numpy().reshape(-1, 2)
    row = 0
    for _, y in panel["volatility"].groupby(level=0):
        filled = y.ffill()
        means = np.column_stack([filled.rolling(n, min_periods=1).mean() for n in (1, 4, 9)])
        expected = model.intercept_ + means @ model.coef_.T
        np.testing.assert_allclose(found[row : row + len(y)], expected, rtol=1e-10)
        row += len(y)


def test_har_finds_the_coefficients_it_was_made_from():
    rng = np.random.default_rng(0)
    y = np.zeros(20_000)
    for t in range(22, len(y)):
        past = 0.35 * y[t - 1] + 0.35 * y[t - 5 : t].mean() + 0.2 * y[t - 22 : t].mean()
        y[t] = 0.1 + past + rng.normal()
    model = HAR(levels=()).fit(pd.DataFrame({"y": y}))
    np.testing.assert_allclose(model.coef_[0], [0.35, 0.35, 0.2], atol=0.04)


def test_har_beats_the_naive_forecast_of_volatility():
    panel = make_volatility(rows=800)
    early = panel[panel.index.get_level_values("date") < panel.index[600][1]]
    assert HAR(horizon=5).fit(early).score(panel) > 0.1
    assert Naive(horizon=5).fit(early).score(panel) == 0.0


@pytest.mark.parametrize("lags", [(), (5, 1), (1, 1), (0, 5), (1, 2.5)])
def test_bad_lags_are_refused(lags):
    with pytest.raises(ValueError, match="'lags': expected"):
        HAR(lags=lags).fit(make_volatility())
