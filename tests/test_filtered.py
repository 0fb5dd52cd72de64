"""Filtered historical simulation against plain numpy, and what it must not do."""

import doctest

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.tree import DecisionTreeRegressor

import tsforecast as tsf
from tsforecast.estimators import filtered
from tsforecast.estimators.filtered import FilteredHistorical

LEVELS = (0.01, 0.05, 0.5, 0.95)


def make_returns(n=600, *, seed=0, scale=1.0):
    """GARCH(1, 1) returns with heavy tails, beside their squares."""
    rng = np.random.default_rng(seed)
    z = np.sqrt(0.6) * rng.standard_t(5, size=n + 100)
    r, variance = np.zeros(n + 100), np.ones(n + 100)
    for i in range(1, n + 100):
        variance[i] = 0.05 + 0.15 * r[i - 1] ** 2 + 0.8 * variance[i - 1]
        r[i] = np.sqrt(variance[i]) * z[i]
    days = pd.bdate_range("2015-01-01", periods=n, name="day")
    return pd.DataFrame({"r": scale * r[100:], "squared": (scale * r[100:]) ** 2}, index=days)


def make_panel(lengths, **options):
    parts = {
        f"s{i}": make_returns(n, seed=i, scale=1.0 + 2 * i, **options)
        for i, n in enumerate(lengths)
    }
    return tsf.as_panel(pd.concat(parts, names=["id", "day"]))


def ewma(alpha=0.06):
    return tsf.EWMA(target="squared", alpha=alpha)


def plain_ewma(squares, alpha=0.06):
    level = [squares[0]]
    for square in squares[1:]:
        level.append(alpha * square + (1 - alpha) * level[-1])
    return np.array(level)


PANEL = make_returns()


def test_docstring_examples_hold():
    assert doctest.testmod(filtered).failed == 0


@pytest.mark.parametrize("centre", ["mean", "zero"])
def test_forecast_agrees_with_a_plain_computation(centre):
    model = FilteredHistorical(ewma(), target="r", horizon=3, levels=LEVELS, centre=centre)
    frame = model.fit(PANEL).predict()
    r, variance = PANEL["r"].to_numpy(), plain_ewma(PANEL["squared"].to_numpy())
    m = r.mean() if centre == "mean" else 0.0
    for k in (1, 2, 3):
        z = (r[50 + k :] - m) / np.sqrt(variance[50:-k])  # 50 rows to forget how it began
        line = frame[frame["step"] == k].iloc[0]
        assert line["forecast"] == pytest.approx(m)
        plain = m + np.sqrt(variance[-1]) * np.quantile(z, LEVELS, method="weibull")
        np.testing.assert_allclose(line[[f"q{level:g}" for level in LEVELS]].astype(float), plain)
        h = model.variance_origins(PANEL, PANEL.index[-1:])["forecast"].to_numpy()
        assert h[k - 1] == pytest.approx(variance[-1] * np.square(z).mean())


def test_what_unit_the_variance_is_in_does_not_matter():
    model = FilteredHistorical(ewma(), target="r", horizon=2)
    one = model.fit(PANEL)
    other = clone(model).fit(PANEL.assign(squared=0.37 * PANEL["squared"]))
    pd.testing.assert_frame_equal(one.predict(), other.predict())
    pd.testing.assert_frame_equal(
        one.variance_origins(PANEL),
        other.variance_origins(PANEL.assign(squared=lambda p: 0.37 * p["squared"])),
    )


def test_variance_origins_are_unbiased_on_the_training_rows():
    model = FilteredHistorical(ewma(), target="r", centre="zero").fit(PANEL)
    frame = model.variance_origins(PANEL, PANEL.index[50:-1])
    assert list(frame.columns) == ["target", "cutoff", "step", "forecast"]
    assert (frame["target"] == "r").all()
    ratio = PANEL["r"].to_numpy()[51:] ** 2 / frame["forecast"].to_numpy()
    assert ratio.mean() == pytest.approx(1.0)


def test_each_step_is_standardised_by_its_own_forecast():
    """With the HAR of a trending variance the forecasts of the steps differ, and so do z."""
    model = FilteredHistorical(
        tsf.HAR(target="squared", lags=(1, 5)), target="r", horizon=2, by="all", levels=(0.05,)
    ).fit(PANEL)
    said = model.volatility_.forecast_origins(PANEL)
    for k in (1, 2):
        v = said.loc[said["step"] == k, "forecast"].to_numpy()
        r = PANEL["r"].shift(-k).to_numpy()
        used = (np.arange(len(r)) >= 50) & np.isfinite(r) & (v > 0)
        z = (r[used] - PANEL["r"].mean()) / np.sqrt(v[used])
        assert model._spread[0, k - 1] == pytest.approx(np.square(z).mean())
        assert model._quantiles[0, k - 1, 0] == pytest.approx(
            np.quantile(z, 0.05, method="weibull")
        )


def test_series_with_rows_enough_have_quantiles_of_their_own():
    panel = make_panel([400, 300, 120])
    own = FilteredHistorical(ewma(), target="r", levels=LEVELS).fit(panel)
    alone = [clone(own).fit(panel.loc[[name]]) for name in ("s0", "s1")]
    for number, model in enumerate(alone):
        np.testing.assert_allclose(own._quantiles[number], model._quantiles[0])
        np.testing.assert_allclose(own._centre[number], model._centre[0])
    pooled = clone(own).set_params(by="all").fit(panel)
    for one in (own, pooled):
        np.testing.assert_allclose(one._quantiles[2], one._quantiles[-1])  # s2 has 96 of them
        unseen = one.predict(make_panel([50]).rename(index={"s0": "new"}))
        assert np.isfinite(unseen["q0.05"]).all()
    assert (pooled._quantiles == pooled._quantiles[-1]).all()
    assert np.ptp(own._quantiles[:, 0, 0]) > 0


def test_a_series_stands_alone_only_where_its_outermost_level_is_reached():
    panel = make_panel([400, 260, 260])  # 349, 208 and 208 standardised returns
    for level, alone in ((0.01, 3), (0.004, 1), (0.001, 0), (0.996, 1)):
        model = FilteredHistorical(ewma(), target="r", levels=(min(level, 0.5), max(level, 0.5)))
        model.fit(panel)
        own = (model._spread[:-1, 0] != model._spread[-1, 0]).sum()
        assert own == alone
        assert ((model._centre[:-1] != model._centre[-1]).sum()) == alone


def test_quantiles_of_few_returns_are_as_far_out_as_new_ones_will_be():
    """Of n values the one at place (n + 1) p: type 7 of 155 is passed by 1.6 % of new ones."""
    panel = PANEL.iloc[:206].assign(squared=1.0)
    model = FilteredHistorical(ewma(), target="r", centre="zero", levels=(0.01, 0.05)).fit(panel)
    z = np.sort(panel["r"].to_numpy()[42:])  # behind the first fifth
    assert len(z) == 164
    place = 165 * 0.01 - 1
    expected = z[0] + place * (z[1] - z[0])
    assert model._quantiles[0, 0, 0] == pytest.approx(expected)
    assert expected < np.quantile(z, 0.01)


def test_a_flexible_forecaster_is_not_believed_on_its_own_training_rows():
    """A tree that has learned its training rows by heart says their variance to the last digit."""
    tree = tsf.LagRegressor(
        target="squared", lags=3, estimator=DecisionTreeRegressor(random_state=0), relative=False
    )
    assert not tree.few_parameters
    model = FilteredHistorical(tree, target="r", centre="zero").fit(PANEL)
    learned = model.volatility_.forecast_origins(PANEL)["forecast"].to_numpy()[:-1]
    z = PANEL["r"].to_numpy()[1:] / np.sqrt(np.maximum(learned, 1e-300))
    assert np.square(z[10:]).mean() == pytest.approx(1.0, rel=0.01)  # as if nothing were wrong
    assert model._spread[0, 0] > 3.0
    assert not model.few_parameters


def test_fits_on_earlier_parts_agree_with_a_plain_loop():
    vol = tsf.LagRegressor(target="squared", lags=5, relative=False)
    model = FilteredHistorical(vol, target="r", centre="zero", levels=LEVELS).fit(PANEL)
    edges = np.quantile(np.arange(600), [0.2, 0.4, 0.6, 0.8], method="lower").astype(int)
    z = []
    for edge, end in zip(edges, [*edges[1:], 599]):
        before = clone(vol).fit(PANEL.iloc[: edge + 1])
        said = before.forecast_origins(PANEL.iloc[: end + 1], PANEL.index[edge + 1 : end + 1])
        v = said["forecast"].to_numpy()
        r = PANEL["r"].shift(-1).to_numpy()[edge + 1 : end + 1]
        used = (v > 0) & np.isfinite(r)
        z.append(r[used] / np.sqrt(v[used]))
    np.testing.assert_allclose(
        model._quantiles[0, 0], np.quantile(np.concatenate(z), LEVELS, method="weibull")
    )


@pytest.mark.parametrize("longer", [{"lookback": 90, "context": "history"}, {"season": 90}])
@pytest.mark.filterwarnings("ignore")
def test_parts_that_are_too_short_for_a_network_are_passed_over(longer):
    network = tsf.RecurrentForecaster(
        **({"target": "squared", "lookback": 10, "hidden_sizes": (3,)} | longer),
        transform=tsf.Log(),
        head=tsf.Point("qlike"),
        training=tsf.Training(max_epochs=1, validation=None),
        random_state=0,
    )
    model = FilteredHistorical(network, target="r", levels=LEVELS)
    assert np.isfinite(model.fit(PANEL[:400]).predict()["q0.01"].item())
    with pytest.raises(tsf.DataError, match="too few rows .*at least 9[01] rows.* found 88 in"):
        model.fit(PANEL[:110])


@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_with_a_network_is_not_passed_over(monkeypatch):
    network = tsf.RecurrentForecaster(
        target="squared", training=tsf.Training(max_epochs=1, validation=None), hidden_sizes=(3,)
    )
    fit, calls = tsf.RecurrentForecaster.fit, []

    def fails_once(self, *given):
        calls.append(self)
        if len(calls) == 2:  # the first one is of all rows
            raise ValueError("something else")
        return fit(self, *given)

    monkeypatch.setattr(tsf.RecurrentForecaster, "fit", fails_once)
    with pytest.raises(ValueError, match="something else"):
        FilteredHistorical(network, target="r", levels=LEVELS).fit(PANEL[:300])


def test_variances_that_are_not_positive_are_taken_to_the_least_one():
    rng = np.random.default_rng(0)
    panel = PANEL.assign(squared=PANEL["squared"] - 1.0 + 0.1 * rng.standard_normal(600))
    model = FilteredHistorical(tsf.HAR(target="squared", lags=(1, 5)), target="r").fit(panel)
    said = model.volatility_.forecast_origins(panel)["forecast"].to_numpy()
    assert (said <= 0).sum() > 50
    h = model.variance_origins(panel)["forecast"].to_numpy()
    assert h[said <= 0] == pytest.approx(model._least * model._spread[0, 0])
    np.testing.assert_allclose(h[said > 0], said[said > 0] * model._spread[0, 0])
    assert (model.forecast_origins(panel)["q0.01"] < 0).all()


def test_a_calm_that_training_has_not_seen_is_forecast_as_calm():
    model = FilteredHistorical(ewma(), target="r", centre="zero", levels=LEVELS).fit(PANEL)
    calm = make_returns(300, seed=9, scale=0.1)
    calm.index = pd.bdate_range(PANEL.index[-1], periods=301, name="day")[1:]
    panel = pd.concat([PANEL, calm])
    said = model.volatility_.forecast_origins(panel)["forecast"].to_numpy()
    assert said[-1] < model._least
    h = model.variance_origins(panel)["forecast"].to_numpy()
    np.testing.assert_allclose(h, said * model._spread[0, 0])
    wide = model.forecast_origins(panel).set_index("cutoff")["q0.05"]
    np.testing.assert_allclose(wide, np.sqrt(said) * model._quantiles[0, 0, 1])


def test_a_missing_variance_forecast_stays_missing():
    panel = make_panel([300, 300])
    model = FilteredHistorical(ewma(), target="r").fit(panel)
    panel.loc[("s1", slice(None)), "squared"] = np.nan
    frame = model.forecast_origins(panel, panel.index.levels[1][[250]])
    assert frame["q0.05"].isna().tolist() == [False, True]


def test_missing_returns_and_variances_are_survived():
    panel = PANEL.copy()
    panel.iloc[100:110] = np.nan
    panel.loc[panel.index[200:220], "r"] = np.nan
    panel.loc[panel.index[-1], "squared"] = np.nan
    model = FilteredHistorical(ewma(), target="r").fit(panel)
    assert np.isfinite(model.predict().drop(columns=["target", "cutoff"])).all(axis=None)


@pytest.mark.filterwarnings("ignore")
def test_a_sweeping_network_goes_on_where_fit_has_ended(tmp_path):
    network = tsf.RecurrentForecaster(
        target="squared",
        context="history",
        hidden_sizes=(4,),
        transform=tsf.Log(),
        head=tsf.Point("qlike"),
        training=tsf.Training(max_epochs=1, validation=None),
        random_state=0,
    )
    panel = PANEL.iloc[:200]
    model = FilteredHistorical(network, target="r", horizon=2).fit(panel)
    columns = ["forecast", "q0.01", "q0.99"]
    np.testing.assert_allclose(model.predict()[columns], model.predict(panel)[columns], rtol=1e-5)
    tsf.save(model, tmp_path / "model", tail=True)
    again = tsf.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)


def test_parameters_of_the_volatility_can_be_searched():
    model = FilteredHistorical(ewma(), target="r").set_params(volatility__alpha=0.2, horizon=4)
    fitted = model.fit(PANEL)
    assert fitted.volatility_.alpha_ == 0.2
    assert fitted.volatility_.horizon == 4
    assert model.volatility.horizon == 1  # the parameter is left alone
    assert model.few_parameters


def test_risk_of_simulated_returns_is_right_out_of_sample():
    panel = make_returns(3000, seed=5)
    models = {"fhs": FilteredHistorical(ewma(), target="r")}
    result = tsf.backtest(models, panel, tsf.RollingOrigin(2, 750))
    frame = result.frame[result.frame["model"] == "fhs"]
    table = tsf.risk_table(frame, [0.01, 0.05])
    assert (table[["kupiec_p", "independence_p", "z2_p"]] > 0.01).all(axis=None)
    assert (table["n"] == 1500).all()
    flat = tsf.EWMA(target="r", alpha=0.001, levels=tsf.tail_levels())
    frame = tsf.backtest({"flat": flat}, panel, tsf.RollingOrigin(2, 750)).frame
    flat_table = tsf.risk_table(frame[frame["model"] == "flat"], [0.05])
    assert flat_table["dq_p"].item() < 0.01
    assert table.loc[("fhs", 0.05, 0), "tick"] < flat_table["tick"].item()


def test_what_cannot_be_used_is_refused():
    def fit(volatility, **options):
        return FilteredHistorical(volatility, **({"target": "r"} | options)).fit(PANEL)

    with pytest.raises(ValueError, match="'volatility': expected a forecaster of a variance"):
        fit("ewma")
    with pytest.raises(ValueError, match="'volatility': expected a forecaster of a variance"):
        fit(tsf.Log())
    with pytest.raises(ValueError, match="'centre': expected one of"):
        fit(ewma(), centre="median")
    with pytest.raises(ValueError, match="'by': expected one of"):
        fit(ewma(), by="sector")
    with pytest.raises(ValueError, match="'levels': expected increasing numbers"):
        fit(ewma(), levels=(0.5, 0.1))
    with pytest.raises(ValueError, match="'levels': expected increasing numbers .*found 0.05"):
        fit(ewma(), levels=0.05)
    with pytest.raises(
        ValueError, match=r"another column than the returns.*GARCH\(target='squared"
    ):
        fit(tsf.GARCH(target="r"))
    with pytest.raises(ValueError, match="another column than the returns.*returns='r'"):
        fit(tsf.EWMA(target="r"))
    with pytest.raises(ValueError, match=r"horizon of its own.*ConformalForecaster\(FilteredHist"):
        fit(tsf.ConformalForecaster(ewma()))
    with pytest.raises(ValueError, match="'target': expected one column of returns"):
        fit(ewma(), target=["r", "squared"])
    with pytest.raises(ValueError, match="'volatility': expected a forecaster of one column"):
        fit(tsf.EWMA(target=["squared", "r"]))
    with pytest.raises(ValueError, match="'target'"):
        fit(ewma(), target=None)
    with pytest.raises(tsf.DataError, match="'variance'"):
        fit(tsf.EWMA(target="variance"))
    with pytest.raises(tsf.DataError, match="no standardised returns .*column 'r'"):
        FilteredHistorical(ewma(), target="r").fit(PANEL.assign(squared=-1.0))
    future = tsf.RecurrentForecaster(target="squared", future=["r"])
    with pytest.raises(ValueError, match="'volatility': expected a forecaster without `future`"):
        fit(future)


def test_a_model_that_does_not_fit_its_parameters_is_not_saved(tmp_path):
    model = FilteredHistorical(ewma(), target="r", horizon=2).fit(PANEL)
    tsf.save(model, tmp_path / "right")
    model.volatility_ = ewma().set_params(horizon=3).fit(PANEL)
    with pytest.raises(TypeError, match="a forecaster of another horizon"):
        tsf.save(model, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
    other = FilteredHistorical(ewma(), target="r", horizon=2).fit(PANEL)
    other.set_params(volatility=tsf.Naive(target="squared"))
    with pytest.raises(TypeError, match="volatility_ of another kind"):
        tsf.save(other, tmp_path / "wrong")
