"""GARCH against arch itself, and what only a panel asks of it."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from arch import arch_model
from arch.univariate import SkewStudent, StudentsT
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import tsforecast as tsf
from tsforecast._checks import DataError
from tsforecast.estimators.garch import GARCH, _standard_quantiles
from tsforecast.metrics import qlike

LEVELS = (0.01, 0.05, 0.5, 0.95)
MODELS = {
    "garch": {},
    "gjr": {"o": 1, "distribution": "t"},
    "arch": {"p": 2, "q": 0, "mean": "zero"},
    "higher order": {"p": 2, "o": 1, "q": 2, "distribution": "t"},
}
every_model = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS.keys())


def simulated(n=1500, *, seed=0, unit=0.01, nu=6) -> np.ndarray:
    """A GJR model with Student's t: alpha .04, gamma .1, beta .85, volatility about `unit`."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(nu, size=n) * np.sqrt((nu - 2) / nu)
    h, returns = 1.0, np.empty(n)
    for t in range(n):
        e = np.sqrt(h) * z[t]
        returns[t] = unit * (e + 0.03)
        h = 0.06 + 0.04 * e**2 + 0.1 * e**2 * (e < 0) + 0.85 * h
    return returns


def panel_of(**returns: np.ndarray) -> pd.DataFrame:
    parts = {name: pd.DataFrame({"r": values}) for name, values in returns.items()}
    return pd.concat(parts, names=["series", "time"])


def arch_of(model: GARCH, returns: np.ndarray):
    """The model of arch with the very parameters that ours has found, in our unit."""
    theirs = arch_model(
        returns,
        mean="Zero" if model.mean == "zero" else "Constant",
        p=model.p,
        o=model.o,
        q=model.q,
        dist=model.distribution,
        rescale=False,
    )
    parameters = model.coefficients().drop("mu" if model.mean == "zero" else [])
    return theirs, parameters.to_numpy()


# ------------------------------------------------------------------------------------- against arch


@every_model
def test_the_likelihood_is_that_of_a_fit_with_arch_in_percent(options):
    returns = simulated()
    model = GARCH(**options).fit(pd.DataFrame({"r": returns}))
    theirs, ours = arch_of(model, 100 * returns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = theirs.fit(disp="off", backcast=float(np.var(100 * returns)))
    ours = ours.copy()
    ours[0 if model.mean == "zero" else 1] *= 1e4
    if model.mean == "constant":
        ours[0] *= 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fixed = theirs.fix(ours)
    assert fixed.loglikelihood > best.loglikelihood - 0.3


@every_model
def test_variances_at_all_origins_are_those_of_the_recursion(options):
    """One return after the other, by the formula in the docstring."""
    returns = simulated(300)
    model = GARCH(returns="r", target="v", horizon=4, levels=(), **options)
    panel = pd.DataFrame({"r": returns, "v": returns**2 + 1e-9})
    found = model.fit(panel).forecast_origins(panel)["forecast"].to_numpy().reshape(-1, 4)
    found = found / model._smearing[0]
    law = model.coefficients()
    alpha, gamma, beta = (law.filter(like=name).to_numpy() for name in ("alpha", "gamma", "beta"))
    e = returns - law["mu"]
    start = float(np.mean(e**2)) if model.mean == "zero" else float(np.var(returns))
    squares, falls, h = [start] * 3, [start / 2] * 3, [start] * 3

    def following(squares, falls, h):
        value = law["omega"]
        for weights, lags in ((alpha, squares), (gamma, falls), (beta, h)):
            value += sum(w * lags[-1 - i] for i, w in enumerate(weights))
        return value

    for t in range(len(e)):
        now = following(squares, falls, h)
        squares, falls, h = [*squares, e[t] ** 2], [*falls, e[t] ** 2 * (e[t] < 0)], [*h, now]
        ahead = (list(squares), list(falls), list(h))
        for k in range(4):
            expected = following(*ahead)
            assert found[t, k] == pytest.approx(expected, rel=1e-9)
            ahead = tuple([*lags, expected * share] for lags, share in zip(ahead, (1, 0.5, 1)))


@every_model
def test_forecasts_are_those_of_arch_at_every_origin(options):
    returns = simulated(400)
    panel = pd.DataFrame({"r": returns, "v": returns**2 + 1e-9})
    model = GARCH(target="v", returns="r", horizon=3, levels=(), **options).fit(panel)
    found = model.forecast_origins(panel)["forecast"].to_numpy().reshape(-1, 3) / model._smearing[0]
    theirs, parameters = arch_of(model, returns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forecast = theirs.forecast(parameters, horizon=3, align="origin", start=0)
        result = theirs.fix(parameters)
    # arch begins with another variance, which is forgotten
    far = slice(300, None)
    np.testing.assert_allclose(found[far], forecast.variance.to_numpy()[far], rtol=1e-4)
    np.testing.assert_allclose(
        found[299:-1, 0], result.conditional_volatility[300:] ** 2, rtol=1e-4
    )


@pytest.mark.parametrize("distribution", ["normal", "t", "skewt"])
def test_quantiles_are_those_of_the_distribution(distribution):
    shape = {"normal": [], "t": [5.0], "skewt": [4.5, -0.3]}[distribution]
    law = {"normal": norm.ppf, "t": StudentsT().ppf, "skewt": SkewStudent().ppf}[distribution]
    levels = np.array([0.001, 0.01, 0.3, 0.6, 0.64, 0.66, 0.7, 0.999])
    found = _standard_quantiles(distribution, np.array([shape, shape]), levels)
    expected = law(levels) if distribution == "normal" else law(levels, shape)
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-9, atol=1e-12)


def test_quantiles_of_returns_lie_around_the_mean_by_the_volatility():
    panel = pd.DataFrame({"r": simulated()})
    model = GARCH(horizon=3, o=1, distribution="skewt", levels=LEVELS).fit(panel)
    law = model.coefficients()
    variance = GARCH(target="v", returns="r", horizon=3, o=1, distribution="skewt", levels=()).fit(
        panel.assign(v=1.0)
    )
    frame = model.predict()
    sigma = np.sqrt(variance.predict()["forecast"].to_numpy() / variance._smearing[0])
    assert frame["forecast"].tolist() == [law["mu"]] * 3
    for level in LEVELS:
        z = SkewStudent().ppf(level, law[["eta", "lambda"]].to_numpy())
        np.testing.assert_allclose(frame[f"q{level:g}"], law["mu"] + sigma * z, rtol=1e-9)


def test_squares_of_falls_are_expected_as_the_skewed_distribution_has_them():
    returns = -(np.abs(simulated(600)) ** 1.5) * 10 + simulated(600, seed=1)
    model = GARCH(o=1, distribution="skewt").fit(pd.DataFrame({"r": returns}))
    law = model.coefficients()[["eta", "lambda"]].to_numpy()
    skewed = SkewStudent()
    middle = float(skewed.cdf(np.zeros(1), law)[0])
    expected, _ = quad(lambda u: skewed.ppf(u, law) ** 2, 0, middle, limit=200)
    assert law[1] < -0.05
    assert model._falls[0] == pytest.approx(expected, rel=1e-3)


# ----------------------------------------------------------------------------- what it is good for


def test_gjr_finds_the_parameters_it_was_simulated_from():
    model = GARCH(o=1, distribution="t").fit(pd.DataFrame({"r": simulated(8000)}))
    law = model.coefficients()
    true = {"mu": 3e-4, "omega": 6e-6, "alpha[1]": 0.04, "gamma[1]": 0.1, "beta[1]": 0.85, "nu": 6}
    tolerance = {"mu": 3e-4, "omega": 3e-6, "alpha[1]": 0.02, "gamma[1]": 0.04, "beta[1]": 0.05}
    for name, value in true.items():
        assert law[name] == pytest.approx(value, abs=tolerance.get(name, 1.0))
    assert model.converged_ == [True]


def test_quantiles_of_returns_cover_what_they_say():
    returns = simulated(4000)
    panel = pd.DataFrame({"r": returns})
    model = GARCH(o=1, distribution="t", levels=(0.05, 0.95)).fit(panel.iloc[:2000])
    frame = model.forecast_origins(panel, panel.index[1999:-1])
    below = [np.mean(returns[2000:] < frame[name]) for name in ("q0.05", "q0.95")]
    np.testing.assert_allclose(below, [0.05, 0.95], atol=0.015)


def test_quantiles_of_a_variance_are_those_of_its_training_ratios():
    returns = simulated(600)
    panel = pd.DataFrame({"r": returns, "v": returns**2})  # a proxy that may be zero
    panel.loc[50, "v"] = 0.0
    model = GARCH(target="v", returns="r", horizon=2, levels=(0.2, 0.9)).fit(panel)
    said = model.forecast_origins(panel)
    for k in (1, 2):
        part = said.query("step == @k").reset_index(drop=True)
        sigma2 = part["forecast"] / model._smearing[0, k - 1]
        ratio = (panel["v"].shift(-k) / sigma2).dropna()
        assert ratio.mean() == pytest.approx(model._smearing[0, k - 1], rel=1e-9)
        for level in (0.2, 0.9):
            expected = sigma2 * ratio.quantile(level)
            np.testing.assert_allclose(part[f"q{level}"], expected, rtol=1e-9)


def session(n=2000, *, seed=0, share=0.6):
    """Returns of day and night, and the variance of the day alone, measured well."""
    rng = np.random.default_rng(seed)
    h, rows = 1.0, []
    for _ in range(n):
        measured = share * h * rng.gamma(8.0, 1 / 8.0)
        e = np.sqrt(h) * rng.normal()
        rows.append((1e-2 * e, 1e-4 * measured))
        h = 0.06 + 0.09 * e**2 + 0.85 * h
    return pd.DataFrame(rows, columns=["r", "v"])


def test_a_variance_that_leaves_out_the_night_is_forecast_in_its_own_unit():
    panel = session()
    early, cutoffs, late = panel.iloc[:1500], panel.index[1499:-1], panel["v"].iloc[1500:]
    said = {}
    for name, model in {
        "garch": GARCH(target="v", returns="r", levels=()),
        "log har": tsf.LogHAR(target="v", levels=()),
    }.items():
        frame = model.fit(early).forecast_origins(panel, cutoffs)
        said[name] = frame["forecast"].to_numpy()
    assert said["garch"].mean() == pytest.approx(late.mean(), rel=0.05)
    loss = {name: qlike(late, each).mean() for name, each in said.items()}
    assert loss["garch"] < loss["log har"] + 0.01
    whole = said["garch"] / 0.6  # of the return
    assert qlike(late, whole).mean() > loss["garch"] + 0.05


def test_of_squared_returns_the_factor_is_about_one():
    panel = pd.DataFrame({"r": simulated(3000)}).assign(v=lambda frame: frame["r"] ** 2)
    model = GARCH(target="v", returns="r", horizon=3, o=1, levels=()).fit(panel)
    np.testing.assert_allclose(model._smearing, 1.0, atol=0.05)
    assert model._smearing.std() > 0


def test_the_factor_is_of_the_series_where_it_has_enough_rows():
    parts = {"a": session(400), "b": session(300, seed=1, share=0.3), "short": session(60, seed=2)}
    panel = pd.concat(parts, names=["series", "time"])
    model = GARCH(target="v", returns="r", horizon=2, levels=(0.5,)).fit(panel)
    for name in ("a", "b"):
        frame = model.forecast_origins(panel.loc[[name]])
        for k in (1, 2):
            ratio = (
                panel.loc[name, "v"].shift(-k).to_numpy() / frame.query("step == @k")["forecast"]
            )
            assert ratio.mean() == pytest.approx(1.0)
    np.testing.assert_array_equal(model._smearing[2], model._smearing[-1])
    said = model.predict(panel.rename(index={"short": "new"}))
    assert (said["forecast"] / said["q0.5"]).between(0.9, 1.3).all()


def test_large_units_cost_no_digits():
    panel = session(400)
    one = GARCH(target="v", returns="r", levels=(0.1, 0.9)).fit(panel).predict()
    dollars = panel.assign(r=1e9 * panel["r"], v=1e18 * panel["v"])
    large = GARCH(target="v", returns="r", levels=(0.1, 0.9)).fit(dollars).predict()
    for name in ("forecast", "q0.1", "q0.9"):
        np.testing.assert_allclose(large[name] / 1e18, one[name], rtol=1e-6)


def test_prices_in_place_of_returns_are_refused_by_the_name_of_their_series():
    prices = 100 * np.exp(simulated(300).cumsum())
    with pytest.raises(DataError, match=r"all positive .column 'r'.: .*np.log\(price\)"):
        GARCH().fit(pd.DataFrame({"r": prices}))
    with pytest.raises(DataError, match="all positive .column 'r'; series 'b'"):
        GARCH().fit(panel_of(a=simulated(300), b=prices))
    with pytest.raises(DataError, match="all positive .column 'r'; series 'a'"):
        GARCH().fit(panel_of(a=prices[:50], b=prices[:40]))
    some = panel_of(a=simulated(60), b=prices[:60])  # a short series may rise by chance
    assert np.isfinite(GARCH(mean="zero").fit(some).predict()["q0.1"]).all()
    variance = pd.DataFrame({"v": prices, "w": prices})
    with pytest.raises(DataError, match="all positive .column 'w'"):
        GARCH(target="v", returns="w").fit(variance)


def test_coefficients_of_a_series_that_was_not_there_are_refused():
    with pytest.raises(KeyError, match="series 'typo': expected one of those of fit"):
        GARCH().fit(panel_of(a=simulated(200))).coefficients("typo")
    with pytest.raises(KeyError, match="one series without a name"):
        GARCH().fit(pd.DataFrame({"r": simulated(200)})).coefficients("typo")


def test_the_unit_of_the_returns_is_that_of_the_forecast():
    panel = pd.DataFrame({"r": simulated(500)})
    one = GARCH(o=1, distribution="t").fit(panel).predict()
    percent = GARCH(o=1, distribution="t").fit(panel * 128.0).predict()
    np.testing.assert_allclose(percent["q0.1"] / 128, one["q0.1"], rtol=1e-9)
    np.testing.assert_allclose(percent["forecast"] / 128, one["forecast"], rtol=1e-9)


# ------------------------------------------------------------------------------------- many series


def test_each_series_has_the_parameters_of_its_own():
    panel = panel_of(a=simulated(400), b=simulated(300, seed=1, unit=0.03))
    model = GARCH(horizon=2).fit(panel)
    for name in ("a", "b"):
        alone = GARCH(horizon=2).fit(panel.loc[name])
        np.testing.assert_allclose(model.coefficients(name), alone.coefficients(), rtol=1e-12)
        np.testing.assert_allclose(
            model.predict().loc[name, "q0.1"], alone.predict()["q0.1"], rtol=1e-12
        )


def test_series_not_seen_and_short_ones_have_the_mean_of_the_parameters_at_the_median_spread():
    panel = panel_of(
        a=simulated(400), b=simulated(300, seed=1, unit=0.03), short=simulated(50, unit=0.02)
    )
    model = GARCH(distribution="t").fit(panel)
    spread = [panel.loc[name, "r"].std(ddof=0) for name in ("a", "b", "short")]
    usual = np.median(spread)
    own = [
        model.coefficients(name) / [unit, unit**2, 1, 1, 1]
        for name, unit in zip(("a", "b"), spread)
    ]
    expected = (own[0] + own[1]) / 2 * [usual, usual**2, 1, 1, 1]
    np.testing.assert_allclose(model.coefficients(), expected, rtol=1e-10)
    np.testing.assert_allclose(model.coefficients("short"), expected, rtol=1e-10)
    unseen = panel.loc[["a"]].rename(index={"a": "new"})
    assert np.isfinite(model.predict(unseen)["q0.1"]).all()


def test_short_series_share_one_fit():
    panel = panel_of(a=simulated(60), b=simulated(70, seed=1, unit=0.03))
    model = GARCH().fit(panel)
    laid = np.concatenate(
        [panel.loc[name, "r"] / panel.loc[name, "r"].std(ddof=0) for name in ("a", "b")]
    )
    shared = GARCH().fit(pd.DataFrame({"r": laid})).coefficients()
    np.testing.assert_allclose(model.coefficients()[2:], shared[2:], atol=0.01)
    assert model.coefficients("a").equals(model.coefficients("b"))
    assert len(model.converged_) == 1


def test_a_missing_return_lets_the_variance_go_on_by_its_expectation():
    panel = pd.DataFrame({"r": simulated(400), "v": 1.0})
    model = GARCH(target="v", returns="r", horizon=3, o=1, levels=()).fit(panel)
    model._smearing[:] = 1.0  # of the return itself
    ahead = model.predict()["forecast"].to_numpy()
    unknown = pd.DataFrame({"r": [np.nan] * 2, "v": 1.0}, index=[400, 401])
    later = model.predict(pd.concat([panel, unknown]))["forecast"].to_numpy()
    assert later[0] == pytest.approx(ahead[2], rel=1e-12)


def test_rows_after_the_cutoff_change_no_forecast():
    panel = panel_of(a=simulated(300), b=simulated(260, seed=1))
    tsf.check_no_lookahead(GARCH(target="r", o=1, distribution="t"), panel)


@pytest.mark.parametrize("options", [{}, {"returns": "r", "target": "v"}])
def test_a_saved_model_forecasts_bit_equal(options, tmp_path):
    panel = panel_of(a=simulated(300), b=simulated(260, seed=1))
    panel = panel.assign(v=panel["r"] ** 2)
    model = GARCH(**({"target": "r", "o": 1, "distribution": "skewt"} | options)).fit(panel)
    tsf.save(model, tmp_path / "model")
    again = tsf.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(panel), model.predict(panel), check_exact=True)
    assert again.coefficients("b").equals(model.coefficients("b"))


def test_a_network_goes_on_from_the_variance_of_garch():
    panel = panel_of(a=simulated(150), b=simulated(150, seed=1))
    panel = panel.assign(v=panel["r"] ** 2 + 1e-8)
    model = tsf.RecurrentForecaster(
        target="v",
        past=["r"],
        lookback=4,
        hidden_sizes=(3,),
        transform=tsf.Log(),
        baseline=GARCH(returns="r"),
        head=tsf.Point("qlike"),
        training=tsf.Training(max_epochs=1, validation=None, learning_rate=1e-30),
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = model.fit(panel).predict()["forecast"]
    alone = GARCH(target="v", returns="r", levels=()).fit(panel)
    np.testing.assert_allclose(found, alone.predict()["forecast"], rtol=1e-5)
    early = panel[panel.index.get_level_values("time") < 140]
    stream = tsf.Stream(model, early)
    for time in range(140, 150):
        stream.update(panel.xs(time, level="time", drop_level=False))
    np.testing.assert_allclose(stream.forecast()["forecast"], found, rtol=1e-5)


# ----------------------------------------------------------------------------------------- errors


def test_series_whose_fit_did_not_converge_are_named(monkeypatch):
    real = GARCH._fitted

    def failing(self, returns):
        law, start, _ = real(self, returns)
        return law, start, len(returns) != 260

    monkeypatch.setattr(GARCH, "_fitted", failing)
    panel = panel_of(a=simulated(300), b=simulated(260, seed=1))
    with pytest.warns(ConvergenceWarning, match="did not converge for 1 of 2 series, 'b'"):
        model = GARCH().fit(panel)
    assert model.converged_ == [True, False]


def test_returns_that_are_too_few_or_never_move_are_refused():
    with pytest.raises(DataError, match="too few returns .column 'r'.*at least 10.*found 5"):
        GARCH().fit(pd.DataFrame({"r": simulated(5)}))
    with pytest.raises(DataError, match="too few returns .*found 0"):
        GARCH().fit(pd.DataFrame({"r": np.full(200, 0.01)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 0}, "'p': expected at least 1, where o is 0"),
        ({"q": -1}, "'q': expected a whole number of at least 0"),
        ({"o": 0.5}, "'o': expected a whole number"),
        ({"distribution": "cauchy"}, "'distribution': expected one of"),
        ({"mean": "ar"}, "'mean': expected one of"),
        ({"returns": "x"}, "'x'"),
        ({"returns": ["x"]}, "'returns': expected the name of one column"),
        ({"returns": "r"}, "'returns': expected another column than the target"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GARCH(target="r", **options).fit(pd.DataFrame({"r": simulated(200)}))


def test_without_arch_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['arch'] = None\n"
        "import numpy as np, pandas as pd, tsforecast as tsf\n"
        "tsf.GARCH().fit(pd.DataFrame({'r': np.random.default_rng(0).normal(size=200)}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tsforecast[finance]'" in done.stderr


def test_coefficients_of_a_model_that_has_none_say_so():
    with pytest.raises(NotFittedError):
        GARCH().coefficients()
    r = np.random.default_rng(0).standard_normal((300, 2))
    several = GARCH(target=["a", "b"]).fit(pd.DataFrame(r, columns=["a", "b"]))
    with pytest.raises(AttributeError, match="ask each of estimators_"):
        several.coefficients()
