"""The estimate of daily volatility, and HAR and its logarithmic kin against least squares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.data.datasets import make_prices
from tsforecast.data.panel import layout_of
from tsforecast.data.ranges import garman_klass
from tsforecast.estimators.baselines import Naive
from tsforecast.estimators.volatility import HAR, LogHAR
from tsforecast.metrics import qlike
from tsforecast.serving._parts import older_har


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


# ------------------------------------------------------------------------- further columns of HAR


def make_variance(*, series=1, rows=600, seed=0, level=1.0) -> pd.DataFrame:
    """A persistent variance with leverage, and what is measured beside it."""
    rng = np.random.default_rng(seed)
    parts = {}
    for number in range(series):
        log, table = 0.0, []
        for _ in range(rows):
            shock = rng.normal()
            level_of_series = level * 10.0**number
            variance = np.exp(log) * level_of_series
            noise = np.exp(0.2 * rng.normal() - 0.02)
            bad = 1 / (1 + np.exp(shock + 0.3 * rng.normal()))
            table.append(
                {
                    "rv": variance * noise,
                    "ret": np.sqrt(np.exp(log)) * shock,
                    "bad": variance * noise * bad,
                    "good": variance * noise * (1 - bad),
                    "rq": variance**2 * noise * np.exp(0.3 * rng.normal()),
                    "vix": np.exp(0.5 * log + 0.1 * rng.normal()),
                }
            )
            log = 0.95 * log - 0.15 * shock + 0.1 * rng.normal()
        parts[f"s{number}"] = pd.DataFrame(table)
    panel = pd.concat(parts, names=["series", "time"])
    return panel if series > 1 else panel.loc["s0"]


ALL_TERMS = {
    "returns": "ret",
    "semivariance": ("bad", "good"),
    "quarticity": "rq",
    "past": ["vix"],
}


def means(y: pd.Series, lags=(1, 5, 22)) -> np.ndarray:
    return np.column_stack([y.rolling(n).mean() for n in lags])


def line_of(terms: np.ndarray, y: pd.Series, k: int) -> np.ndarray:
    """Ordinary least squares of y k rows ahead, the intercept first."""
    return sm.OLS(y.shift(-k).to_numpy(), sm.add_constant(terms), missing="drop").fit().params


def test_har_takes_the_means_of_further_columns():
    panel = make_variance()
    model = HAR(target="rv", past=["vix", "ret"], horizon=2).fit(panel)
    terms = np.column_stack([means(panel[name]) for name in ("rv", "vix", "ret")])
    for k in (1, 2):
        found = [model.intercept_[k - 1], *model.coef_[k - 1]]
        np.testing.assert_allclose(found, line_of(terms, panel["rv"], k), rtol=1e-8, atol=1e-10)
    assert model.terms_[:4] == ["rv 1", "rv 5", "rv 22", "vix 1"]
    expected = model.intercept_ + model.coef_ @ terms[-1]
    np.testing.assert_allclose(model.predict()["forecast"], expected, rtol=1e-10)


def test_columns_of_very_different_size_are_all_used():
    panel = make_variance().assign(vix=lambda frame: frame["vix"] * 1e12)
    panel["rv"] *= 1e-6
    found = HAR(target="rv", past=["vix"]).fit(panel)
    plain = HAR(target="rv", past=["vix"]).fit(make_variance())
    np.testing.assert_allclose(found.coef_[0, :3], plain.coef_[0, :3], rtol=1e-6)
    np.testing.assert_allclose(found.coef_[0, 3:] * 1e18, plain.coef_[0, 3:], rtol=1e-6)


def test_a_further_column_that_never_moves_changes_nothing():
    panel = make_variance()
    without = HAR(target="rv").fit(panel).predict()
    with_it = HAR(target="rv", past=["flat"]).fit(panel.assign(flat=3.0)).predict()
    np.testing.assert_allclose(with_it["forecast"], without["forecast"], rtol=1e-8)


def test_what_is_not_known_yet_of_a_further_column_takes_its_training_mean():
    panel = make_variance(series=2, rows=150)
    model = HAR(target="rv", past=["vix"], lags=(1, 5)).fit(panel)
    unknown = panel.loc["s0"].assign(vix=np.nan)
    terms = np.stack([means(part["vix"], (1, 5))[4:] for _, part in panel.groupby(level=0)])
    usual = terms.reshape(-1, 2).mean(axis=0)
    last = means(unknown["rv"], (1, 5))[-1]
    expected = model.intercept_[0] + model.coef_[0] @ np.concatenate([last, usual])
    assert model.predict(unknown)["forecast"].iloc[0] == pytest.approx(expected, rel=1e-10)


def test_a_mean_of_a_further_column_is_over_what_is_known_of_it():
    """A return that is missing is not replaced by that of the day before."""
    panel = make_variance(rows=150)
    rng = np.random.default_rng(3)
    panel.loc[rng.random(150) < 0.2, "vix"] = np.nan
    panel.loc[[148, 149], "vix"] = np.nan
    model = HAR(target="rv", past=["vix"], lags=(1, 2, 5)).fit(panel)
    parts = [panel["vix"].rolling(n, min_periods=1).mean() for n in (1, 2, 5)]
    terms = np.column_stack([means(panel["rv"], (1, 2, 5)), *parts])
    assert (~np.isfinite(terms[4:, 3:])).any(axis=0).tolist() == [True, True, False]
    usual = np.nanmean(terms[4:, 3:], axis=0)
    found = [model.intercept_[0], *model.coef_[0]]
    whole = terms.copy()
    whole[4:, 3:] = np.where(np.isnan(terms[4:, 3:]), usual, terms[4:, 3:])
    whole[:4] = np.nan
    np.testing.assert_allclose(found, line_of(whole, panel["rv"], 1), rtol=1e-7, atol=1e-9)
    last = [*terms[-1, :3], *usual[:2], panel["vix"].iloc[-5:].mean()]
    expected = model.intercept_[0] + model.coef_[0] @ last
    assert model.predict()["forecast"].iloc[0] == pytest.approx(expected, rel=1e-9)


def test_fewer_rows_than_two_for_each_coefficient_are_refused_with_the_number_of_terms():
    panel = make_variance(rows=200)
    least = 2 * (1 + 13) + 21 + 1  # rows before the first with all means, and one to forecast
    LogHAR(target="rv", **ALL_TERMS).fit(panel.iloc[:least])
    with pytest.raises(DataError, match="at least 28 rows.*P = 13 terms.*found 27 at step 1"):
        LogHAR(target="rv", **ALL_TERMS).fit(panel.iloc[: least - 1])
    with pytest.raises(DataError, match="at least 8 rows.*P = 3 terms.*found 5 at step 3"):
        HAR(target="rv", horizon=3, lags=(1, 2, 3)).fit(panel.iloc[:10])


def test_coefficients_of_a_series_that_was_not_there_are_refused():
    panel = make_variance(series=2, rows=60)
    for by in ("all", "series"):
        model = HAR(target="rv", by=by).fit(panel)
        assert model.coefficients("s0").shape == (1, 4)
        with pytest.raises(KeyError, match="series 'typo': expected one of those of fit"):
            model.coefficients("typo")


def test_a_line_for_each_series_is_that_of_the_series_alone():
    panel = make_variance(series=3, rows=300)
    panel = panel.drop([("s2", time) for time in range(80, 300)])
    model = HAR(target="rv", past=["vix"], by="series", horizon=2).fit(panel)
    pooled = HAR(target="rv", past=["vix"], horizon=2).fit(panel)
    np.testing.assert_array_equal(model.coef_, pooled.coef_)
    said = model.predict()
    for name in ("s0", "s1"):
        alone = HAR(target="rv", past=["vix"], horizon=2).fit(panel.loc[name])
        np.testing.assert_allclose(
            said.loc[name, "forecast"], alone.predict()["forecast"], rtol=1e-10
        )
        assert model.coefficients(name).equals(alone.coefficients())
    few = pooled.predict().loc["s2"]  # too few rows for a line of its own
    pd.testing.assert_frame_equal(said.loc["s2", ["forecast"]], few[["forecast"]])
    assert model.coefficients("s2").equals(model.coefficients())
    unseen = panel.loc[["s0"]].rename(index={"s0": "new"})
    np.testing.assert_allclose(
        model.predict(unseen)["forecast"], pooled.predict(panel.loc[["s0"]])["forecast"]
    )


def test_a_second_fit_by_series_forgets_the_series_of_the_first():
    panel = make_variance(series=2, rows=200)
    model = HAR(target="rv", by="series").fit(panel)
    other = panel.rename(index={"s0": "x", "s1": "s0"})
    again = model.fit(other).predict()
    pd.testing.assert_frame_equal(again, HAR(target="rv", by="series").fit(other).predict())


def test_a_saved_har_by_series_forecasts_bit_equal(tmp_path):
    panel = make_variance(series=2, rows=200)
    for model in (HAR(target="rv", by="series"), LogHAR(target="rv", by="series", **ALL_TERMS)):
        tsf.save(model.fit(panel), tmp_path / "model")
        again = tsf.load(tmp_path / "model")
        pd.testing.assert_frame_equal(again.predict(panel), model.predict(panel), check_exact=True)
        assert again.coefficients("s1").equals(model.coefficients("s1"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"past": "vix"}, "'past': expected a list"),
        ({"past": 5}, "'past': expected a list of columns, found 5"),
        ({"by": "stock"}, "'by': expected one of"),
        ({"past": ["wix"]}, "'wix'"),
    ],
)
def test_wrong_options_of_har_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HAR(target="rv", **options).fit(make_variance(rows=60))


# ------------------------------------------------------------------------------------------- LogHAR


def test_log_har_is_least_squares_of_the_logarithm_brought_back_to_the_mean():
    panel = make_variance()
    y = panel["rv"]
    levels = (0.1, 0.5)
    model = LogHAR(target="rv", horizon=3, levels=levels).fit(panel)
    terms = np.log(means(y))
    for k in (1, 2, 3):
        line = line_of(terms, np.log(y), k)
        np.testing.assert_allclose([model.intercept_[k - 1], *model.coef_[k - 1]], line, rtol=1e-7)
        errors = (np.log(y).shift(-k) - line[0] - terms @ line[1:]).dropna()
        said = np.exp(line[0] + terms[-1] @ line[1:])
        found = model.predict().query("step == @k").iloc[0]
        assert found["forecast"] == pytest.approx(said * np.exp(errors).mean(), rel=1e-7)
        for level in levels:
            expected = said * np.exp(np.quantile(errors, level))
            assert found[f"q{level}"] == pytest.approx(expected, rel=1e-7)


def test_terms_of_log_har_are_what_the_docstring_says():
    panel = make_variance()
    model = LogHAR(target="rv", **ALL_TERMS).fit(panel)
    rv, logs = panel["rv"], np.log(means(panel["rv"]))
    bad, good = means(panel["bad"]), means(panel["good"])
    noise = np.sqrt(panel["rq"]) / rv
    trained = slice(21, None)
    attenuation = (noise - noise.iloc[trained].mean()) * (logs[:, 0] - logs[:, 2])
    terms = np.column_stack(
        [
            logs,
            np.minimum(means(panel["ret"]), 0),
            bad / (bad + good),
            attenuation,
            means(panel["vix"]),
        ]
    )
    np.testing.assert_allclose(
        [model.intercept_[0], *model.coef_[0]], line_of(terms, np.log(rv), 1), rtol=1e-6
    )
    assert len(model.terms_) == 3 + 3 + 3 + 1 + 3
    assert model.coefficients().columns.tolist() == ["intercept", *model.terms_]


def test_leverage_improves_the_forecast_of_a_variance_that_has_it():
    panel = make_variance(rows=3000)
    early, late = panel.iloc[:2000], panel.iloc[2000:]
    loss = {}
    for name, options in {"plain": {}, "leverage": {"returns": "ret"}}.items():
        model = LogHAR(target="rv", levels=(), **options).fit(early)
        frame = model.forecast_origins(panel, panel.index[1999:-1])
        loss[name] = qlike(late["rv"], frame["forecast"]).mean()
    assert loss["leverage"] < 0.98 * loss["plain"]


@pytest.mark.parametrize("options", [{}, ALL_TERMS], ids=["plain", "all terms"])
def test_the_unit_of_the_variance_is_that_of_the_forecast(options):
    panel = make_variance()
    other = panel.assign(**{name: panel[name] * 1e-4 for name in ("rv", "bad", "good")})
    other["rq"] = panel["rq"] * 1e-8
    one, same = (LogHAR(target="rv", **options).fit(p).predict() for p in (panel, other))
    np.testing.assert_allclose(same["forecast"] * 1e4, one["forecast"], rtol=1e-8)
    np.testing.assert_allclose(same["q0.9"] * 1e4, one["q0.9"], rtol=1e-8)


def test_smearing_is_of_the_series_where_it_has_enough_rows():
    panel = make_variance(series=2, rows=300)
    panel = pd.concat([panel.loc[["s0"]], panel.loc[["s1"]].iloc[:60]])
    model = LogHAR(target="rv", horizon=2, levels=()).fit(panel)
    rows = model._prepare(panel[["rv"]], layout_of(panel[["rv"]]))
    lines = model._point(rows, np.arange(len(panel)))
    for k in (1, 2):
        ahead = panel["rv"].groupby(level=0).shift(-k)
        ratio = (ahead / np.exp(lines[:, k - 1]))[panel.index.get_level_values("time") >= 21]
        own, all_of_them = ratio.loc["s0"].mean(), ratio.mean()
        np.testing.assert_allclose(model._smearing[:, k - 1], [own, all_of_them, all_of_them])


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("rv", 0.0, "not positive"),
        ("rv", -1.0, "not positive"),
        ("rq", 0.0, "not positive"),
        ("bad", -0.1, "negative"),
    ],
)
def test_log_har_refuses_what_has_no_logarithm_and_names_the_rows(column, value, what):
    panel = make_variance(rows=80)
    model = LogHAR(target="rv", **ALL_TERMS).fit(panel)
    panel.loc[7, column] = value
    with pytest.raises(DataError, match=f"{what} .column '{column}'; first rows: 7"):
        LogHAR(target="rv", **ALL_TERMS).fit(panel)
    with pytest.raises(DataError, match=f"{what} .column '{column}'; first rows: 7"):
        model.predict(panel)


def test_semivariances_come_in_two():
    for wrong in ("bad", ("bad",)):
        with pytest.raises(ValueError, match="'semivariance': expected two columns"):
            LogHAR(target="rv", semivariance=wrong).fit(make_variance(rows=60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"returns": ["ret"]}, r"'returns': expected the name of a column, found \['ret'\]"),
        ({"quarticity": ["rq"]}, "'quarticity': expected the name of a column"),
        ({"semivariance": (["bad"], "good")}, "'semivariance': expected the name of a column"),
        ({"returns": "rv"}, "'returns': expected another column than the target"),
        ({"quarticity": "rq", "lags": (1,)}, "'quarticity': expected None where `lags` has one"),
    ],
)
def test_wrong_options_of_log_har_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LogHAR(target="rv", **options).fit(make_variance(rows=60))


def test_columns_that_are_never_known_together_are_refused():
    panel = make_variance(rows=80)
    panel.loc[30:, "rv"] = np.nan
    panel.loc[:50, "ret"] = np.nan
    with pytest.raises(DataError, match=r"too few known rows .*\['rv', 'ret'\] are known.*found 0"):
        LogHAR(target="rv", returns="ret").fit(panel)


def test_qlike_is_the_loss_of_patton_in_any_unit():
    rng = np.random.default_rng(0)
    y, f = rng.lognormal(size=(2, 50))
    np.testing.assert_allclose(qlike(y, f), y / f - np.log(y / f) - 1, rtol=1e-12)
    np.testing.assert_allclose(qlike(1e-4 * y, 1e-4 * f), qlike(y, f), rtol=1e-9)


# ---------------------------------------------------------------------------------- below a network


def network_over(baseline, **changed) -> tsf.RecurrentForecaster:
    options = {
        "target": "rv",
        "past": ["ret", "bad", "good", "rq", "vix"],
        "horizon": 2,
        "lookback": 5,
        "hidden_sizes": (3,),
        "transform": tsf.Log(),
        "baseline": baseline,
        "head": tsf.Point("qlike"),
        "training": tsf.Training(max_epochs=1, validation=None, learning_rate=1e-30),
        "random_state": 0,
    }
    return tsf.RecurrentForecaster(**(options | changed))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("by", ["all", "series"])
def test_an_untrained_network_forecasts_what_log_har_says(by):
    panel = make_variance(series=2, rows=150)
    inner = LogHAR(by=by, **ALL_TERMS)
    found = network_over(inner).fit(panel).predict()
    alone = LogHAR(target="rv", horizon=2, by=by, **ALL_TERMS).fit(panel).predict()
    np.testing.assert_allclose(found["forecast"], alone["forecast"], rtol=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("by", ["all", "series"])
def test_a_stream_over_log_har_says_what_predict_says(by):
    panel = make_variance(series=2, rows=130)
    panel = panel.mask(np.random.default_rng(1).random(panel.shape) < 0.1)
    early = panel[panel.index.get_level_values("time") < 120]
    model = network_over(LogHAR(by=by, **ALL_TERMS)).fit(early)
    stream = tsf.Stream(model, early.loc[["s0"]])
    stream.update(early.loc[["s1"]].iloc[:1])  # a series that begins with the stream
    for time in range(1, 130):
        rows = panel.xs(time, level="time", drop_level=False)
        stream.update(rows if time >= 120 else rows.loc[["s1"]])
    expected = model.predict(panel)
    np.testing.assert_allclose(stream.forecast()["forecast"], expected["forecast"], rtol=1e-5)


def test_a_row_without_a_logarithm_is_refused_by_the_name_of_its_series():
    panel = make_variance(series=2, rows=60)[["rv"]]
    model = LogHAR(lags=(1, 3)).fit(panel)
    rows = model._prepare(panel, layout_of(panel))
    with pytest.raises(DataError, match="not positive .column 'rv'; first rows: s1"):
        model.advance(rows, np.array([1.0, 0.0]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_row_of_a_stream_of_one_series_is_refused_by_its_time():
    panel = make_variance(rows=60)
    model = network_over(LogHAR(lags=(1, 3), quarticity="rq"), past=["rq"]).fit(panel.iloc[:50])
    stream = tsf.Stream(model, panel.iloc[:55])
    panel.loc[55, "rq"] = 0.0
    with pytest.raises(DataError, match="not positive .column 'rq'; first rows: 55"):
        stream.update(panel.iloc[55:56])


def test_rows_of_an_update_are_refused_by_series_and_time():
    panel = make_variance(series=2, rows=160)
    early, late = (panel[panel.index.get_level_values("time") // 150 == part] for part in (0, 1))
    inner = LogHAR(target="rv", lags=(1, 3), quarticity="rq")
    model = tsf.ConformalForecaster(inner, level=0.8).fit(early)
    wrong = late.copy()
    wrong.loc[("s1", 153), "rq"] = -1.0
    before = model.predict()
    with pytest.raises(DataError, match=r"not positive .column 'rq'; first rows: \(s1, 153\)"):
        model.update(wrong)
    pd.testing.assert_frame_equal(model.predict(), before)
    model.update(late)


def test_a_har_of_an_older_version_has_the_line_it_had():
    """Of one below a network tests/formats has a folder; here is what `older_har` makes of one."""
    panel = make_volatility(rows=80)
    model = HAR(horizon=2, lags=(1, 4)).fit(panel)
    new = ("terms_", "_lines", "_usual")
    learned = {name: part for name, part in vars(model).items() if name not in new}
    found = older_har(learned, HAR(horizon=2, lags=(1, 4)))
    assert found["terms_"] == model.terms_
    np.testing.assert_array_equal(found["_lines"], model._lines)
    assert found["_usual"].shape == model._usual.shape
    again = HAR(horizon=2, lags=(1, 4))
    vars(again).update(found)
    pd.testing.assert_frame_equal(again.predict(panel), model.predict(panel))
    assert older_har(vars(model), model) is vars(model)  # one of today
    assert older_har({}, model) == {}  # one that is not fitted
