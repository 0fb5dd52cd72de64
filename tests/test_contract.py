"""What every estimator, transform and evaluation path must keep; new ones join here."""

import copy
import inspect
import pickle
import random
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

import tsforecast as tsf
from tsforecast.metrics import quantile_levels

H = 2


def network(**changed):
    options = {
        "target": "y",
        "horizon": H,
        "lookback": 4,
        "hidden_sizes": (4,),
        # without validation the trained weights are kept, whatever they are worth
        "training": tsf.Training(max_epochs=2, validation=None, origins=4),
        "random_state": 0,
    }
    return tsf.RecurrentForecaster(**(options | changed))


def positions(**changed):
    options = {
        "target": "y",
        "past": ["x"],
        "lookback": 4,
        "spans": (1, 3),
        "macd": ((2, 4),),
        "vol_half_life": 5,
        "hidden_sizes": (4,),
        "training": tsf.Training(max_epochs=2, validation=None, origins=4),
        "random_state": 0,
    }
    return tsf.PositionEstimator(**(options | changed))


SAME = {"target": "y", "horizon": H}
ESTIMATORS = {
    "naive": tsf.Naive(**SAME),
    "seasonal naive": tsf.SeasonalNaive(**SAME, season=3),
    "drift": tsf.Drift(**SAME),
    "ewma": tsf.EWMA(**SAME),
    "random walk": tsf.RandomWalk(**SAME),
    "har": tsf.HAR(**SAME, lags=(1, 3)),
    "har by series": tsf.HAR(**SAME, lags=(1, 3), past=["x", "z"], by="series"),
    "log har": tsf.LogHAR(**SAME, lags=(1, 3)),
    "log har with all terms": tsf.LogHAR(
        **SAME, lags=(1, 3), returns="z", semivariance=("x", "n"), quarticity="x", past=["f"]
    ),
    "filtered ewma": tsf.FilteredHistorical(tsf.EWMA(target="x"), **SAME),
    "filtered network": tsf.FilteredHistorical(
        network(
            target="x",
            past=["z"],
            transform=tsf.Log(),
            head=tsf.Point("qlike"),
            training=tsf.Training(max_epochs=1, validation=None, origins=4),
        ),
        **SAME,
        centre="zero",
        by="all",
    ),
    "garch": tsf.GARCH(target="z", horizon=H, o=1, distribution="t"),
    "garch of a variance": tsf.GARCH(**SAME, returns="z", mean="zero"),
    "lag ridge": tsf.LagRegressor(**SAME, lags=4),
    "split conformal": tsf.ConformalForecaster(
        tsf.Naive(**SAME, levels=()), method="split", scores="absolute"
    ),
    "split conformal by series": tsf.ConformalForecaster(
        tsf.HAR(**SAME, lags=(1, 3)), method="split", by="series", level=0.7, size=0.4
    ),
    "adaptive conformal": tsf.ConformalForecaster(
        tsf.EWMA(target=["y", "z"], horizon=H), window=8, scores="absolute"
    ),
    "adaptive conformal of either side": tsf.ConformalForecaster(
        tsf.HAR(**SAME, lags=(1, 3)), sides="each", level=0.6, size=0.4
    ),
    "adaptive conformal by series": tsf.ConformalForecaster(
        tsf.HAR(**SAME, lags=(1, 3)), by="series", level=0.6, size=0.4
    ),
    "conformal of a network": tsf.ConformalForecaster(
        network(future=["f"], static=["kind"], transform=tsf.Log()), level=0.9
    ),
    "conformal of a history": tsf.ConformalForecaster(network(context="history"), level=0.6),
    "combination": tsf.Combination(
        {"har": tsf.HAR(**SAME, lags=(1, 3)), "season": tsf.SeasonalNaive(**SAME, season=7)},
        weights={"har": 2, "season": 1.5},
    ),
    "combination with a network": tsf.Combination(
        {
            "network": network(future=["f"], static=["kind"], transform=tsf.Log()),
            "season": tsf.SeasonalNaive(**SAME, season=7),
        }
    ),
    "tracked combination": tsf.ConformalForecaster(
        tsf.Combination({"ewma": tsf.EWMA(**SAME), "har": tsf.HAR(**SAME, lags=(1, 3))}),
        method="tracking",
        sides="each",
        rate=0.05,
        refit=True,
    ),
    "lstm": network(transform=make_pipeline(tsf.Log(), tsf.SeriesScaler())),
    "gru": network(cell="gru", past=["x"], transform=tsf.SeriesScaler("robust", by="all")),
    "rnn": network(cell="rnn", past=["x"], transform=tsf.LogReturn(columns=["x"])),
    "over har": network(
        baseline=tsf.HAR(lags=(1, 3)),
        hidden_sizes=(4, 3),
        dropout=0.1,
        training=tsf.Training(max_epochs=2, validation_size=0.3),
    ),
    "over log har": network(
        past=["x", "z"],
        baseline=tsf.LogHAR(lags=(1, 3), returns="z", past=["x"]),
        transform=tsf.Log(),
        head=tsf.Point("qlike"),
    ),
    "over lag ridge": network(baseline=tsf.LagRegressor(lags=3), transform=tsf.Log()),
    "over a combination": network(
        baseline=tsf.Combination(
            {"lag ridge": tsf.LagRegressor(**SAME, lags=3), "har": tsf.HAR(**SAME, lags=(1, 3))}
        ),
        transform=tsf.Log(),
    ),
    "fixed centre": network(head=tsf.StudentT(moves=False)),
    "over mean": network(baseline=None, head="point", layer_norm=True, hidden_sizes=(4, 3)),
    "ensemble": network(n_members=2),
    "two targets": network(target=["y", "z"], past=["x"]),
    "two targets of a baseline": tsf.EWMA(target=["y", "z"], horizon=H),
    "future-known": network(future=["f"], past=["x"], transform=tsf.SeriesScaler()),
    "static": network(static=["size", "kind"]),
    "held-out groups": network(
        group="firm",
        training=tsf.Training(max_epochs=2, validation="series", validation_size=0.4),
    ),
    "running scale": network(transform=tsf.Log(), normalize="ewm", season=3, n_members=2),
    "seasonal": network(baseline="seasonal", season=(3, 5), normalize=tsf.RunningScale(20)),
    "short histories": network(min_history=2, max_gap="5D", past=["x"]),
    "history": network(context="history", past=["x"], transform=tsf.Log()),
    "history of a gru": network(
        context="history",
        cell="gru",
        baseline="seasonal",
        season=(3, 5),
        normalize="ewm",
        n_members=2,
    ),
    "history over har": network(
        context="history",
        cell="rnn",
        baseline=tsf.HAR(lags=(1, 3)),
        min_history=2,
        max_gap="5D",
        past=["x"],
        future=["f"],
        static=["kind"],
        training=tsf.Training(max_epochs=2, validation_size=0.3),
    ),
    "gaussian": network(head="gaussian", transform=tsf.Log(), n_members=2),
    "student t": network(head="studentt", training=tsf.Training(max_epochs=2, averaging=0.9)),
    "poisson": network(target="n", head="poisson", baseline=None),
    "negative binomial": network(target="n", head="negbinomial", baseline=tsf.EWMA(), n_members=2),
    "bernoulli": network(target="event", past=["x"], head="bernoulli", baseline=None),
    "bernoulli of other columns": network(
        target="event", past=["x"], head="bernoulli", baseline=None, autoregressive=False
    ),
    "bernoulli over ewma": network(
        target="event",
        head=tsf.Bernoulli(),
        baseline=tsf.EWMA(alpha=0.2),
        context="history",
        n_members=2,
    ),
    "qlike": network(head=tsf.Point("qlike"), transform=tsf.Log(), normalize="ewm"),
    "mean behind a logarithm": network(head=tsf.Point("squared"), transform=tsf.Log()),
    "bounded": network(transform=tsf.Bounded(0.0, 1e3)),
    "positions": positions(hidden_sizes=(4, 3), dropout=0.1),
    "history of positions": positions(
        context="history", cell="gru", past=None, min_history=2, n_members=2, vol_target=None
    ),
}
# the rest does not scale: counts, events and positions have no unit, bounds are in one, returns
# keep theirs
SCALING = [
    name
    for name in ESTIMATORS
    if name not in ("poisson", "negative binomial", "bounded", "garch of a variance")
    and not name.startswith("bernoulli")
    and "positions" not in name
]
TRANSFORMS = {
    "log": tsf.Log(),
    "log return": tsf.LogReturn(),
    "scaler": tsf.SeriesScaler(),
    "robust scaler": tsf.SeriesScaler("robust", by="all"),
    "clip": tsf.Clip(0.5, 1.5),
    "bounded": tsf.Bounded(0.0, 1e3),
    "plausible range": tsf.PlausibleRange({"y": (0.5, 1.5)}),
    "forward fill": tsf.ForwardFill(24.0),
    "fill normal": tsf.FillNormal(),
    "log of the skewed": tsf.LogSkewed(),
    "missingness": tsf.Missingness(),
    "causal features": tsf.CausalFeatures(["y", "x"], window="10D"),
    "chain": make_pipeline(tsf.Clip(0.01), tsf.Log(), tsf.SeriesScaler()),
}


CRISIS = {"event": "crisis", "label": "recurrent", "horizon": H}
EVENTS = {
    "tree on features": tsf.FeatureClassifier(
        DecisionTreeClassifier(max_depth=3, random_state=0),
        **CRISIS,
        features=tsf.CausalFeatures(["y", "x"], window="10D", static=["size"]),
        group="firm",
    ),
    "boosted trees": tsf.BoostedBaseline(**CRISIS, max_iter=5, random_state=0),
    "logistic regression": tsf.LogisticBaseline(**CRISIS, max_rows=100, random_state=0),
    "last values": tsf.LastValue(["y", "x"], **CRISIS),
    "news2": tsf.NEWS2(**CRISIS, names={"resp_rate": "n"}),
    "recurrent": tsf.EventClassifier(
        **CRISIS,
        past=["y", "x"],
        static=["size"],
        group="firm",
        transform=make_pipeline(tsf.Clip(0.01), tsf.LogSkewed()),
        hidden_sizes=(4, 3),
        dropout=0.2,
        input_decay=True,
        vitals_weight=0.5,
        training=tsf.Training(max_epochs=1, validation_size=0.5),
        random_state=0,
    ),
    "recurrent beside": tsf.EventClassifier(
        **CRISIS,
        past=["y", "x"],
        hidden_sizes=(4,),
        beside=tsf.LastValue(["y", "x"], event=None),
        blend="correct",
        training=tsf.Training(max_epochs=1, validation_size=0.5),
        random_state=0,
    ),
    "calibrated": tsf.CalibratedEvents(
        tsf.LastValue(["y", "x"], **CRISIS), size=0.5, random_state=0
    ),
    "calibrated across folds": tsf.CalibratedEvents(
        tsf.LastValue(["y", "x"], **CRISIS, group="firm"), method="isotonic", cv=2, random_state=0
    ),
}


_FAST = tsf.Training(max_epochs=2, validation="time")
ON_WINDOWS = {
    "regressor": tsf.RecurrentRegressor(
        hidden_sizes=(4,), label_horizon=2 * 3, training=_FAST, random_state=0
    ),
    "classifier": tsf.RecurrentClassifier(hidden_sizes=(4,), training=_FAST, random_state=0),
}


def make_panel(lengths=(60, 52, 45, 40), missing=0.0, seed=0):
    """Positive series of different length on weekdays, with missing cells."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, length in enumerate(lengths):
        y = np.exp(np.cumsum(0.1 * rng.standard_normal(length)))
        frame = pd.DataFrame(
            {
                "y": y,
                "x": rng.lognormal(size=length),
                "z": np.cumsum(rng.standard_normal(length)),
                "n": rng.poisson(3.0, size=length).astype(float),
            }
        )
        frame = frame.mask(rng.random(frame.shape) < missing)
        frame["event"] = (frame["n"] > 3).astype(float).where(frame["n"].notna())
        frame["f"] = np.sin(np.arange(length))
        frame["size"] = float(number % 3)
        frame["kind"] = "ab"[number % 2]
        frame["firm"] = float(number % 2)  # two series each
        frame.index = pd.MultiIndex.from_product(
            [[f"s{number}"], pd.bdate_range("2020-01-01", periods=length)], names=["id", "day"]
        )
        frames.append(frame)
    panel = pd.concat(frames)
    return panel.assign(kind=panel["kind"].astype("category"))


def ahead_of(model, panel):
    """What `predict` wants to know of the rows ahead: zeros, where it wants anything."""
    if not getattr(model, "future", None):
        return {}
    return {"future": pd.DataFrame({"f": 0.0}, index=model.future_index(panel))}


def prefix_of(model):
    """What stands before parameters that a model leaves to what is within it."""
    parameters = model.get_params(deep=False)
    if {"horizon", "lookback"} & set(parameters):
        return ""
    members = parameters.get("estimators", {"estimator": parameters.get("estimator")})
    name, first = next(iter(members.items()))
    return f"{name}__{prefix_of(first)}"


def forecast(model, panel=None):
    return model.predict(panel, **ahead_of(model, panel))


def make_crises(lengths=(60, 52, 45, 40), missing=0.0, seed=0):
    """The same with an event that comes again and again."""
    panel = make_panel(lengths, missing, seed)
    return panel.assign(crisis=(panel["x"].fillna(0.0) > 1.5).astype(float))


PANEL = make_panel()
CRISES = make_crises()
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
every_event_estimator = pytest.mark.parametrize("name", EVENTS)
quietly = pytest.mark.filterwarnings("ignore")
some_panels = given(
    lengths=st.lists(st.integers(36, 60), min_size=2, max_size=4),
    missing=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 1000),
)
few = settings(
    max_examples=3,
    phases=(Phase.explicit, Phase.generate),  # shrinking a failure takes minutes here
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def values(frame):
    return frame.drop(columns=["target", "cutoff"]).to_numpy(dtype=float)


def test_every_public_estimator_and_transform_is_listed_here():
    public = {
        cls
        for name in tsf.__all__
        if inspect.isclass(cls := getattr(tsf, name)) and issubclass(cls, BaseEstimator)
    } - {tsf.Training}
    tables = (ESTIMATORS, TRANSFORMS, ON_WINDOWS, EVENTS)
    subjects = [subject for table in tables for subject in table.values()]
    listed = {type(subject) for subject in subjects}
    assert public <= listed


@quietly
@every_estimator
@some_panels
@few
def test_estimator_does_not_look_ahead(name, lengths, missing, seed):
    tsf.check_no_lookahead(ESTIMATORS[name], make_panel(lengths, missing, seed))


@quietly
@pytest.mark.parametrize("name", ON_WINDOWS)
@some_panels
@few
def test_estimators_on_the_windows_of_a_panel_do_not_look_ahead(name, lengths, missing, seed):
    days = pd.bdate_range("2020-01-01", periods=60)
    fitted_until, cutoff = days[20], days[26]

    def run(panel):
        X, y, index = tsf.make_windows(panel, 4, H, target="y", past=["x"])
        day = index.get_level_values("day")
        last = y[:, -1]
        labels = last > X[:, -1, 0] if name == "classifier" else y
        # labels reach H rows further than the window
        model = clone(ON_WINDOWS[name]).fit(X[day <= fitted_until], labels[day <= fitted_until])
        asked = day <= days[26 - H]  # in-sample ones too: what matters here comes after `cutoff`
        say = model.predict_proba if name == "classifier" else model.predict
        return pd.DataFrame(say(X[asked]), index=index[asked]).assign(cutoff=day[asked])

    tsf.check_no_lookahead(run, make_panel(lengths, missing, seed), cutoff=cutoff)


@quietly
@pytest.mark.parametrize("name", TRANSFORMS)
@some_panels
@few
def test_transform_does_not_look_ahead(name, lengths, missing, seed):
    tsf.check_no_lookahead(TRANSFORMS[name], make_panel(lengths, missing, seed)[["y", "x"]])


@quietly
@every_event_estimator
@some_panels
@few
def test_event_estimator_does_not_look_ahead(name, lengths, missing, seed):
    more = 5 if name.startswith(("calibrated", "recurrent")) else 1  # patients to hold out
    tsf.check_no_lookahead(EVENTS[name], make_crises(more * list(lengths), missing, seed))


@quietly
@every_event_estimator
def test_event_estimator_keeps_the_order_of_rows_and_the_panel_as_it_is(name):
    panel = CRISES.copy()
    model = clone(EVENTS[name]).fit(panel)
    risk = model.predict_risk(panel)
    assert risk.index.equals(panel.index)
    steps = [column for column in risk if column != "risk"]
    assert steps in ([], [f"risk_{k}" for k in range(1, H + 1)])
    assert (risk["risk"] == risk[steps[-1] if steps else "risk"]).all()
    assert (np.diff(risk[steps], axis=1) >= 0).all()
    assert risk.ge(0).all(axis=None)
    assert risk.le(1).all(axis=None)
    turned = panel.sort_index(level="day", kind="stable")
    other = clone(EVENTS[name]).fit(turned).predict_risk(turned[panel.columns[::-1]])
    assert other.index.equals(turned.index)
    pd.testing.assert_frame_equal(other.loc[panel.index], risk)
    alone = model.predict_risk(panel.loc[["s1"]].drop(columns="crisis"))
    pd.testing.assert_frame_equal(alone, risk.loc[["s1"]], atol=1e-6)
    again = pickle.loads(pickle.dumps(model)).predict_risk(panel)
    pd.testing.assert_frame_equal(again, risk, check_exact=True)
    pd.testing.assert_frame_equal(panel, CRISES)


@every_event_estimator
def test_parameters_of_event_estimators_come_back_as_they_were_given(name):
    model = EVENTS[name]
    parameters = model.get_params(deep=False)
    twin = type(model)(**parameters)
    assert all(twin.get_params(deep=False)[key] is value for key, value in parameters.items())
    assert set(parameters) == set(inspect.signature(type(model).__init__).parameters) - {"self"}
    assert not [key for key in vars(twin) if key.endswith("_") or key.startswith("_")]


@quietly
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name.startswith("history")])
@some_panels
@few
def test_a_sweep_that_goes_on_from_fit_does_not_look_ahead(name, lengths, missing, seed):
    panel = make_panel(lengths, missing, seed)
    day = panel.index.get_level_values("day")
    model = clone(ESTIMATORS[name]).set_params(training=tsf.Training(max_epochs=1, validation=None))
    fitted = FrozenEstimator(model.fit(panel[day <= day.unique()[20]]))
    tsf.check_no_lookahead(fitted, panel, cutoff=day.unique()[30])


@quietly
@pytest.mark.parametrize(
    "name", ["lstm", "running scale", "over log har", "history", "history of a gru"]
)
@some_panels
@few
def test_a_stream_does_not_look_ahead(name, lengths, missing, seed):
    panel = make_panel(lengths, missing, seed)
    days = panel.index.get_level_values("day").unique()[:24]
    model = clone(ESTIMATORS[name]).fit(panel)

    def live(rows):
        day = rows.index.get_level_values("day")
        stream, frames = tsf.Stream(model, rows[day <= days[15]]), []
        for at in days[16:]:
            stream.update(rows[day == at])
            frames.append(stream.forecast().assign(cutoff=at))
        return pd.concat(frames)

    tsf.check_no_lookahead(live, panel, cutoff=days[19])


@quietly
@pytest.mark.parametrize("refit", [True, False, 2])
@pytest.mark.parametrize("name", ["ewma", "lstm", "history"])
@pytest.mark.parametrize("train_size", [None, 12])
@some_panels
@few
def test_backtest_does_not_look_ahead(name, refit, train_size, lengths, missing, seed):
    splitter = tsf.RollingOrigin(3, 2, train_size=train_size, gap=1)

    def run(panel):
        return tsf.backtest({"model": ESTIMATORS[name]}, panel, splitter, refit=refit).frame

    tsf.check_no_lookahead(run, make_panel(lengths, missing, seed))


@quietly
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("name", ["two targets", "future-known", "over lag ridge"])
@some_panels
@few
def test_other_paths_of_a_backtest_do_not_look_ahead(name, fitted, lengths, missing, seed):
    def run(panel):
        # what is known ahead is a calendar: the same, whatever becomes of the later rows
        panel = panel.assign(f=np.sin(panel.groupby(level=0).cumcount().astype(float)))
        models = {"model": ESTIMATORS[name]}
        frame = tsf.backtest(models, panel, tsf.RollingOrigin(2, 2), fitted=fitted).frame
        # in-sample rows have seen what comes after them: that is their name
        return frame[~frame["in_sample"]] if fitted else frame

    tsf.check_no_lookahead(run, make_panel(lengths, missing, seed))


@quietly
@pytest.mark.parametrize("refit", [True, False])
def test_a_scaler_fitted_on_all_rows_is_caught_in_a_backtest(refit):
    def run(panel):
        scaled = tsf.SeriesScaler(columns=["y"]).fit_transform(panel)
        return tsf.backtest(tsf.EWMA(**SAME), scaled, tsf.RollingOrigin(3, 2), refit=refit).frame

    with pytest.raises(tsf.LookaheadError, match="'y'"):
        tsf.check_no_lookahead(run, PANEL)


@quietly
@every_estimator
def test_forecast_frame_has_the_columns_and_index_of_the_contract(name):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    frame = forecast(model)
    targets = model.target if isinstance(model.target, list) else [model.target]
    targets = [getattr(model, "output", name) for name in targets]
    steps = model.horizon
    assert list(frame.columns[:4]) == ["target", "cutoff", "step", "forecast"]
    assert frame.index.names == ["id", "day"]
    assert list(frame["step"]) == list(range(1, steps + 1)) * 4 * len(targets)
    assert list(frame["target"]) == [name for name in targets for _ in range(steps)] * 4
    assert np.isfinite(values(frame)).all()
    ends = PANEL.reset_index().groupby("id")["day"].max().repeat(steps * len(targets)).to_list()
    assert frame["cutoff"].to_list() == ends
    assert (frame.index.get_level_values("day") > frame["cutoff"]).all()
    assert frame.index.unique().equals(model.future_index())


@quietly
@every_estimator
def test_quantiles_never_cross(name):
    frame = clone(ESTIMATORS[name]).fit(PANEL).forecast_origins(PANEL)
    columns = [f"q{level:g}" for level in quantile_levels(frame.columns)]
    known = frame[columns].dropna().to_numpy()
    assert (np.diff(known, axis=1) >= 0).all()


@quietly
@every_estimator
def test_a_series_alone_gets_the_forecast_that_it_gets_inside_the_panel(name):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    inside = forecast(model, PANEL).loc[["s1"]]
    alone = forecast(model, PANEL.loc[["s1"]])
    np.testing.assert_allclose(values(alone), values(inside), rtol=1e-6, atol=1e-6)


@quietly
@every_estimator
def test_predict_without_a_panel_continues_the_rows_of_fit(name):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    np.testing.assert_allclose(values(forecast(model)), values(forecast(model, PANEL)), rtol=1e-6)


@quietly
@every_estimator
def test_order_of_series_and_columns_does_not_matter(name):
    turned = pd.concat([PANEL.loc[[s]] for s in ("s2", "s0", "s3", "s1")])[PANEL.columns[::-1]]
    models = [clone(ESTIMATORS[name]).fit(panel) for panel in (PANEL, turned)]
    before, after = (forecast(model, panel) for model, panel in zip(models, (PANEL, turned)))
    pd.testing.assert_frame_equal(before, after)


@quietly
@every_estimator
def test_interleaved_series_do_not_matter(name):
    turned = PANEL.sort_index(level="day", kind="stable")
    before, after = (forecast(clone(ESTIMATORS[name]).fit(panel)) for panel in (PANEL, turned))
    pd.testing.assert_frame_equal(before, after)


@quietly
@every_estimator
def test_many_origins_equal_predict_on_rows_up_to_each(name):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    days = pd.DatetimeIndex(["2020-02-10", "2020-02-21"])
    many = model.forecast_origins(PANEL, days)
    for day in days:
        known = PANEL[PANEL.index.get_level_values("day") <= day]
        more = ahead_of(model, known)
        if more:  # what the panel holds ahead
            more = {"future": PANEL.loc[more["future"].index, ["f"]]}
        one = model.predict(known, **more)
        part = many[many["cutoff"] == day]
        np.testing.assert_allclose(values(part), values(one), rtol=1e-6, atol=1e-6)


@quietly
@every_estimator
def test_unseen_series_gets_a_forecast(name):
    model = clone(ESTIMATORS[name]).fit(PANEL.drop(index="s2"))
    assert np.isfinite(values(forecast(model, PANEL.loc[["s2"]]))).all()


@quietly
@every_estimator
def test_short_series_is_left_out_of_fit_and_gets_a_forecast(name):
    short = pd.concat([PANEL.drop(index="s2"), PANEL.loc[["s2"]].iloc[:1]])
    model = clone(ESTIMATORS[name]).fit(short)
    frame = forecast(model)
    assert len(frame) == len(forecast(model, PANEL))
    assert np.isfinite(values(frame)).all()


@quietly
@every_estimator
def test_missing_cells_are_survived(name):
    panel = make_panel(missing=0.2, seed=1)
    assert np.isfinite(values(forecast(clone(ESTIMATORS[name]).fit(panel)))).all()


@quietly
@every_estimator
def test_same_seed_gives_the_same_forecast_bit_for_bit(name):
    model = clone(ESTIMATORS[name])
    first, second = (forecast(fitted) for fitted in (clone(model).fit(PANEL), model.fit(PANEL)))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    again = forecast(model.fit(PANEL))  # a second fit of the same object
    pd.testing.assert_frame_equal(first, again, check_exact=True)


@quietly
@pytest.mark.parametrize("name", SCALING)
def test_scaling_the_target_scales_the_forecast(name):
    targets = [c for c in ("y", "z") if c in np.ravel(ESTIMATORS[name].target)]
    large = PANEL.copy()
    large[targets] *= 1024.0  # a power of two: no number is rounded anew
    small, big = (values(forecast(clone(ESTIMATORS[name]).fit(p))) for p in (PANEL, large))
    scale = np.abs(small[:, 1:]).max()
    np.testing.assert_allclose(big[:, 1:] / 1024.0, small[:, 1:], rtol=2e-3, atol=2e-3 * scale)


@quietly
@every_estimator
def test_predict_leaves_the_model_as_it_is(name):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    before = forecast(model)
    forecast(model, PANEL.loc[["s1"]])
    model.forecast_origins(PANEL)
    pd.testing.assert_frame_equal(before, forecast(model), check_exact=True)


@quietly
@every_estimator
def test_copies_predict_bit_equal(name):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        for panel in (None, PANEL):
            one, other = forecast(model, panel), forecast(again, panel)
            pd.testing.assert_frame_equal(one, other, check_exact=True)


@quietly
@every_estimator
def test_a_saved_model_forecasts_bit_equal(name, tmp_path):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    for tail in (False, True):
        tsf.save(model, tmp_path / "model", tail=tail)
        again = tsf.load(tmp_path / "model")
        # a sweep from the beginning is rounded otherwise than one that goes on from fit
        exact = tail or not name.startswith("history")
        for panel in (PANEL, PANEL.loc[["s1"]], *([None] if tail else [])):
            one, other = forecast(model, panel), forecast(again, panel)
            pd.testing.assert_frame_equal(one, other, check_exact=exact)
        many = (each.forecast_origins(PANEL) for each in (model, again))
        pd.testing.assert_frame_equal(*many, check_exact=exact)


def secret_panel():
    """Names, categories and values that cannot be there by chance."""
    panel = make_panel(seed=3)
    panel = panel.rename(index=lambda name: f"PATIENT-{name}", level=0)
    return panel.assign(kind=panel["kind"].cat.rename_categories({"a": "WARD-a", "b": "WARD-b"}))


def texts_of(panel):
    """Names and values as they would be written, and as they lie in memory, two by two.

    But for medians, which a robust scaler learns: they may be values of the panel.
    """
    table = panel[["y", "x", "z"]]
    columns = table.mask(table == table.median()).to_numpy().T
    names = [b"PATIENT", b"WARD"]
    values = columns[np.isfinite(columns)]
    written = [repr(float(value)).encode() for value in values]
    doubles = [value.tobytes() for value in values]
    singles = [
        pair.tobytes()
        for column in columns
        for pair in np.lib.stride_tricks.sliding_window_view(column.astype(np.float32), 2)
    ]
    return [*names, *written, *doubles, *singles]


@quietly
@every_estimator
def test_no_name_and_no_value_of_the_training_panel_is_shown_or_saved(name, tmp_path):
    panel = secret_panel()
    model = clone(ESTIMATORS[name]).fit(panel)
    tsf.save(model, tmp_path / "model")
    files = b"".join(path.read_bytes() for path in (tmp_path / "model").iterdir())
    shown = repr(model) + model._repr_html_() + str(model.get_params())
    other = make_panel(seed=4)
    for wrong in (other.drop(columns=np.ravel(model.target)[0]), other.iloc[::-1], None, 3):
        try:
            tsf.load(tmp_path / "model").predict(wrong)
        except (ValueError, TypeError) as error:
            shown += str(error)
    secrets = texts_of(panel)
    assert [secret for secret in secrets if secret in files + shown.encode()] == []
    with_tail = tmp_path / "with tail"
    tsf.save(model, with_tail, tail=True)
    files = b"".join(path.read_bytes() for path in with_tail.iterdir())
    assert b"PATIENT-s0" in files  # the search finds what is there


@every_estimator
def test_parameters_come_back_as_they_were_given(name):
    model = ESTIMATORS[name]
    parameters = model.get_params(deep=False)
    twin = type(model)(**parameters)
    assert all(twin.get_params(deep=False)[key] is value for key, value in parameters.items())
    assert set(parameters) == set(inspect.signature(type(model).__init__).parameters) - {"self"}
    assert not [key for key in vars(twin) if key.endswith("_") or key.startswith("_")]


@every_estimator
def test_errors_say_what_was_expected_and_what_was_found(name):
    model = clone(ESTIMATORS[name])
    parameters = model.get_params(deep=False)
    within = prefix_of(model)
    with pytest.raises(NotFittedError):
        model.predict()
    target = np.ravel(model.target)[0]
    with pytest.raises(tsf.DataError, match=f"expected .*'{target}'.* found"):
        model.fit(PANEL.drop(columns=target))
    with pytest.raises(tsf.DataError, match="expected .* found"):
        model.fit(PANEL.assign(**{target: np.nan}))
    number = "horizon" if within or "horizon" in parameters else "lookback"
    with pytest.raises(ValueError, match=f"'{number}': expected .* found 0"):
        clone(model).set_params(**{f"{within}{number}": 0}).fit(PANEL)
    with pytest.raises(ValueError, match=r"expected .* found .*(category|kind)"):
        clone(model).set_params(**{f"{within}target": "kind"}).fit(PANEL)
    with pytest.raises(NotFittedError):  # none of these left half a model behind
        model.predict()


@quietly
@every_estimator
def test_a_panel_that_lacks_a_column_of_fit_is_refused(name):
    model = clone(ESTIMATORS[name]).fit(PANEL)
    target = np.ravel(model.target)[0]
    with pytest.raises(tsf.DataError, match=f"'{target}'"):
        model.forecast_origins(PANEL.drop(columns=target))
    with pytest.raises(tsf.DataError, match="time is of another kind than in fit"):
        model.forecast_origins(PANEL.set_index(PANEL.index.set_levels(range(60), level=1)))


@quietly
@every_estimator
def test_fit_and_predict_are_silent_and_leave_the_world_alone(name, capfd, tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    panel = PANEL.copy()
    states = (
        random.getstate(),
        pickle.dumps(np.random.get_state()),
        torch.get_rng_state().tolist(),
    )
    threads = torch.get_num_threads()
    filters = list(warnings.filters)
    model = clone(ESTIMATORS[name])
    before = clone(model).get_params()
    assert model.fit(panel) is model
    forecast(model, panel)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert states == (
        random.getstate(),
        pickle.dumps(np.random.get_state()),
        torch.get_rng_state().tolist(),
    )
    assert threads == torch.get_num_threads()
    assert filters == list(warnings.filters)
    pd.testing.assert_frame_equal(panel, PANEL)
    assert repr(before) == repr(clone(model).get_params())


@quietly
@every_estimator
def test_html_shows_parameters_but_no_series(name):
    text = clone(ESTIMATORS[name]).fit(PANEL)._repr_html_()
    assert "horizon" in text or "lookback" in text
    assert "s0" not in text.split("</style>")[-1].replace("s0%", "")
