"""The head of events: a probability, from its loss to the forecaster, the file and the paths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special

import tsforecast as tsf
from tsforecast.data.features import Features
from tsforecast.nn.heads import Bernoulli, as_head

H = 2


def draws(n_series: int = 8, n: int = 150, *, seed: int = 0, strength: float = 1.5):
    """Panel of x and an event one row later of probability sigmoid(strength x - 1), (s, t)."""
    rng = np.random.default_rng(seed)
    frames = {}
    for name in range(n_series):
        x = rng.standard_normal(n)
        chance = special.expit(strength * np.append(0.0, x[:-1]) - 1)
        event = (rng.random(n) < chance).astype(float)
        frames[f"s{name}"] = pd.DataFrame({"event": event, "x": x, "chance": chance})
    return pd.concat(frames, names=["series", "time"])


def make_model(**options):
    given = {
        "target": "event",
        "horizon": 1,
        "lookback": 4,
        "head": "bernoulli",
        "baseline": None,
        "hidden_sizes": (6,),
        "training": tsf.Training(max_epochs=2, validation=None),
        "random_state": 0,
    }
    return tsf.RecurrentForecaster(**(given | options))


def untrained(**options):
    """A network that has kept its baseline."""
    return make_model(training=tsf.Training(max_epochs=1, learning_rate=1e-9), **options)


PANEL = draws()


# ------------------------------------------------------------------------------------------ head


def some(n: int = 40, *, seed: int = 0):
    """Raw numbers, events, baseline, and unit of z."""
    rng = np.random.default_rng(seed)
    raw = torch.from_numpy(rng.normal(scale=4.0, size=(n, H, 1))).float()
    event = rng.integers(0, 2, size=(n, H)).astype(float)
    base = rng.uniform(0.02, 0.98, size=(n, H))
    unit = rng.uniform(0.1, 2.0, size=(n, H))
    z = torch.from_numpy((event - base) / unit).float()
    base, unit = (torch.from_numpy(array).float() for array in (base, unit))
    return raw, torch.zeros(H, 0), z, base, unit, event


def probability(raw, base):
    """The definition, in numpy."""
    raw, base = raw[..., 0].double().numpy(), base.double().numpy()
    return special.expit(special.logit(base) + 8 * np.tanh(raw / 8))


def test_the_name_stands_for_the_head():
    assert as_head("bernoulli") == Bernoulli()
    assert Bernoulli().mean and Bernoulli().counts and Bernoulli().levels == ()


def test_raw_zeros_are_the_baseline():
    raw, start, _, base, unit, _ = some()
    forecast, quantiles = Bernoulli().forecast(0 * raw, start, base, unit)
    assert forecast.abs().max() < 1e-5
    assert quantiles.shape == (40, H, 0)


def test_loss_is_the_cross_entropy_of_the_probability():
    raw, start, z, base, unit, event = some()
    p = probability(raw, base)
    expected = -np.log(np.where(event == 1, p, 1 - p))
    found = Bernoulli().loss(raw, start, z, base, unit)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_the_probability_less_the_event():
    raw, start, z, base, unit, event = some()
    raw.requires_grad_()
    Bernoulli().loss(raw, start, z, base, unit).sum().backward()
    r = raw.detach()
    slope = 1 - np.tanh(r[..., 0].numpy() / 8) ** 2  # of the bound
    expected = (probability(r, base) - event) * slope
    np.testing.assert_allclose(raw.grad[..., 0], expected, atol=1e-5)


def test_forecast_is_the_probability_in_units_of_z():
    raw, start, _, base, unit, _ = some()
    z, _ = Bernoulli().forecast(raw, start, base, unit)
    assert z.dtype == torch.float64
    np.testing.assert_allclose(base + unit * z, probability(raw, base), rtol=1e-5)


def test_drawn_events_are_zeros_and_ones_at_their_rate():
    raw, start, _, base, unit, _ = some(3)
    u = torch.rand(3, H, 20_000, generator=torch.manual_seed(0), dtype=torch.float64)
    z = Bernoulli().quantile(raw, start, base, unit, u)
    drawn = (base[..., None] + unit[..., None] * z).numpy()
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-6)
    np.testing.assert_allclose(drawn.mean(axis=-1), probability(raw, base), atol=0.015)


@pytest.mark.parametrize("base", [0.0, 1e-30, 0.5, 1.0, 1e12, -3.0])
@pytest.mark.parametrize("size", [-1e6, 0.0, 1e6])
def test_no_number_makes_loss_gradient_or_forecast_infinite(base, size):
    raw = torch.full((4, H, 1), size, requires_grad=True)
    base, unit = torch.full((4, H), base), torch.full((4, H), 1e-3)
    for z in (torch.full((4, H), value) for value in (-1e12, 0.0, 1e12)):
        loss = Bernoulli().loss(raw, torch.zeros(H, 0), z, base, unit)
        (gradient,) = torch.autograd.grad(loss.sum(), raw)
        assert loss.isfinite().all() and gradient.isfinite().all()
    forecast, _ = Bernoulli().forecast(raw, torch.zeros(H, 0), base, unit)
    assert forecast.isfinite().all()


# ------------------------------------------------------------------------------------ forecaster


def test_the_untrained_network_forecasts_the_base_rate_of_its_training_rows():
    model = untrained(horizon=2).fit(PANEL)
    train = PANEL["event"].groupby(level=0).head(120)  # the last fifth is for validation
    frame = model.predict()
    np.testing.assert_allclose(frame["forecast"], train.mean(), rtol=1e-9)
    assert list(frame.columns) == ["target", "cutoff", "step", "forecast"]


def test_the_untrained_network_forecasts_what_its_baseline_says():
    ewma = tsf.EWMA(alpha=0.1)
    model = untrained(baseline=ewma).fit(PANEL[["event"]])
    expected = tsf.EWMA(target="event", horizon=1, alpha=0.1).fit(PANEL).predict()["forecast"]
    np.testing.assert_allclose(model.predict()["forecast"], expected, rtol=1e-6)


def test_probabilities_of_a_simulated_event_are_learned_and_calibrated():
    train, test = draws(20, 300), draws(20, 300, seed=1)
    training = tsf.Training(max_epochs=15, validation=None, learning_rate=0.02)
    model = make_model(past=["x"], training=training, min_history=1).fit(train)
    frame = model.forecast_origins(test).reset_index()
    truth = test.reset_index()
    frame = frame.merge(truth, on=["series", "time"])
    p, chance, event = (frame[name].to_numpy() for name in ("forecast", "chance", "event"))
    assert ((p > 0) & (p < 1)).all()
    assert np.corrcoef(p, chance)[0, 1] > 0.95
    base_rate = train["event"].mean()
    assert np.mean((p - event) ** 2) < 0.92 * np.mean((base_rate - event) ** 2)
    tenth = np.digitize(p, np.quantile(p, np.linspace(0, 1, 6)[1:-1]))
    for part in range(5):  # of forecasts near p, a share near p happens
        assert event[tenth == part].mean() == pytest.approx(p[tenth == part].mean(), abs=0.06)


def test_members_are_averaged_as_probabilities():
    model = make_model(n_members=2, past=["x"]).fit(PANEL)
    alone = []
    for member in range(2):
        members = model._members
        one = make_model(past=["x"]).fit(PANEL)
        one.networks_ = one._members.networks = [members.networks[member]]
        alone.append(one.predict(PANEL)["forecast"].to_numpy())
    assert not np.allclose(alone[0], alone[1])
    np.testing.assert_allclose(model.predict()["forecast"], np.mean(alone, axis=0), rtol=1e-9)


@pytest.mark.parametrize("members", [1, 2])
def test_paths_are_of_events_at_the_rate_that_is_forecast(members):
    model = make_model(n_members=members, past=["x"], horizon=2).fit(PANEL)
    paths = model.sample(4000, random_state=0)
    value = paths["value"].to_numpy()
    assert set(np.unique(value)) == {0.0, 1.0}
    rate = value.reshape(-1, 4000).mean(axis=1)
    np.testing.assert_allclose(rate, model.predict()["forecast"], atol=0.03)


def test_missing_events_are_no_obstacle():
    panel = PANEL.copy()
    gone = np.random.default_rng(1).random(len(panel)) < 0.3
    panel["event"] = panel["event"].mask(gone)
    forecast = make_model(past=["x"]).fit(panel).predict()["forecast"]
    assert forecast.between(0, 1).all()


@pytest.mark.parametrize("value, shown", [(2.0, "2"), (0.5, "0.5"), (-1.0, "-1")])
def test_targets_that_are_no_events_are_refused(value, shown):
    panel = PANEL.copy()
    panel.iloc[7, 0] = value
    message = (
        r"target is no event \(column 'event'; first rows: \('s0', 7\)\): expected 0 and 1 "
        rf"alone, found 1 others, e.g. {shown}\."
    )
    with pytest.raises(tsf.DataError, match=message):
        make_model().fit(panel)
    with pytest.raises(tsf.DataError, match="target is no event"):
        make_model().fit(PANEL).predict(panel)


@pytest.mark.parametrize("baseline", ["last", "seasonal"])
def test_values_of_before_are_no_probabilities(baseline):
    message = "parameter 'baseline': expected None .the base rate.*found '.*A value of before, 0 "
    with pytest.raises(ValueError, match=message):
        make_model(baseline=baseline, season=5).fit(PANEL)


def test_baselines_must_say_probabilities():
    with pytest.raises(ValueError, match="'baseline'.*Naive.*nothing but 0 and 1 of the training"):
        make_model(baseline=tsf.Naive()).fit(PANEL)
    slope = tsf.Drift()
    with pytest.raises(ValueError, match="'baseline'.*Drift.*It says .* of a training row"):
        make_model(baseline=slope).fit(PANEL)


@pytest.mark.parametrize("option", [{"transform": tsf.SeriesScaler()}, {"normalize": "ewm"}])
def test_events_are_forecast_as_they_are(option):
    with pytest.raises(ValueError, match="'head': expected a head for transformed.*Counts and ev"):
        make_model(**option).fit(PANEL)


def test_an_event_that_never_happens_is_refused():
    with pytest.raises(tsf.DataError, match="constant target"):
        make_model().fit(PANEL.assign(event=0.0))


def test_probabilities_have_no_quantiles():
    with pytest.raises(ValueError, match=r"levels within those trained, none"):
        make_model().fit(PANEL).predict_quantiles(levels=[0.5])


# --------------------------------------------------------------------------------- beyond the fit


@pytest.mark.parametrize("context", ["window", "history"])
def test_a_loaded_model_says_the_same(context, tmp_path):
    model = make_model(past=["x"], context=context).fit(PANEL)
    tsf.save(model, tmp_path / "model")
    again = tsf.load(tmp_path / "model")
    assert again.get_params()["head"] == "bernoulli"
    pd.testing.assert_frame_equal(again.predict(PANEL), model.predict(PANEL))
    custom = make_model(head=Bernoulli(), baseline=tsf.EWMA(alpha=0.2)).fit(PANEL)
    tsf.save(custom, tmp_path / "custom")
    again = tsf.load(tmp_path / "custom")
    assert again.head == Bernoulli()
    pd.testing.assert_frame_equal(again.predict(PANEL), custom.predict(PANEL))


def test_a_stream_says_what_predict_says():
    model = make_model(past=["x"], context="history").fit(PANEL)
    columns = PANEL[["event", "x"]]
    early = columns.groupby(level=0).head(140)
    stream = tsf.Stream(model, early)
    stream.update(columns.drop(early.index))
    live, expected = stream.forecast()["forecast"], model.predict(columns)["forecast"]
    np.testing.assert_allclose(live, expected, rtol=1e-6)


@pytest.mark.parametrize("members", [1, 2])
def test_the_file_for_other_runtimes_says_the_probability(members, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = make_model(past=["x"], n_members=members, baseline=tsf.EWMA(alpha=0.3)).fit(PANEL)
    tsf.export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(["forecast"], tsf.onnx_inputs(model, PANEL))
    np.testing.assert_allclose(found.ravel(), model.predict(PANEL)["forecast"], rtol=1e-5)


def test_verdicts_on_probabilities_take_the_brier_score():
    model = make_model(past=["x"])
    rate = tsf.EWMA(target="event", horizon=1, alpha=0.02, levels=())
    result = tsf.backtest({"lstm": model, "rate": rate}, PANEL, tsf.RollingOrigin(2, 20))
    table = result.skill()
    assert table.attrs["loss"] == "squared"
    assert table.loc["lstm", "baseline"] == "rate"
    ours = result.frame[result.frame["model"] == "lstm"]
    brier = np.mean((ours["forecast"] - ours["actual"]) ** 2)
    assert table.loc["lstm", "loss"] == pytest.approx(brier)
    assert result.metrics().loc["lstm", "rmse"] ** 2 == pytest.approx(brier)


def test_a_linear_probability_beyond_one_does_not_change_the_loss():
    cutoff = np.arange(40)
    event = np.random.default_rng(0).integers(0, 2, 40).astype(float)
    shared = {"series": "s", "time": cutoff + 1, "cutoff": cutoff, "step": 1, "target": "event"}
    said = {"naive": np.append(0.0, event[:-1]), "linear": 0.5 + 0.52 * (event - 0.5)}
    frame = pd.concat(
        pd.DataFrame({**shared, "model": name, "forecast": forecast, "actual": event})
        for name, forecast in said.items()
    )
    assert tsf.skill(frame, horizon=1).attrs["loss"] == "squared"
    frame.loc[frame["model"].eq("linear") & frame["cutoff"].eq(7), "forecast"] = 1.01
    assert tsf.skill(frame, horizon=1).attrs["loss"] == "squared"
    frame["actual"] *= 2.0  # no event
    assert tsf.skill(frame, horizon=1).attrs["loss"] == "absolute"


# ------------------------------------------------------------------- without the targets' own past


def test_without_their_own_past_targets_do_not_move_the_forecast():
    model = make_model(past=["x"], autoregressive=False).fit(PANEL)
    other = PANEL.assign(event=1 - PANEL["event"])
    forecast = model.predict(PANEL)["forecast"]
    pd.testing.assert_series_equal(model.predict(other)["forecast"], forecast)
    assert model.predict(PANEL.assign(x=-PANEL["x"]))["forecast"].ne(forecast).all()
    own = make_model(past=["x"]).fit(PANEL)
    assert own.predict(other)["forecast"].ne(own.predict(PANEL)["forecast"]).all()


def test_without_their_own_past_a_live_forecast_is_the_same_and_a_model_is_saved(tmp_path):
    model = make_model(past=["x"], autoregressive=False).fit(PANEL)
    columns = PANEL[["event", "x"]]
    stream = tsf.Stream(model, columns.groupby(level=0).head(140))
    stream.update(columns.groupby(level=0).tail(10))
    expected = model.predict(columns)["forecast"]
    np.testing.assert_allclose(stream.forecast()["forecast"], expected, rtol=1e-6)
    tsf.save(model, tmp_path / "model")
    again = tsf.load(tmp_path / "model")
    assert again.autoregressive is False
    pd.testing.assert_series_equal(again.predict(columns)["forecast"], expected)


def test_weights_of_a_network_that_saw_other_inputs_are_no_start():
    short = PANEL.groupby(level=0).head(100)
    before = make_model(past=["x"], autoregressive=False).fit(short)
    with pytest.raises(ValueError, match="'init_from': expected a model with autoregressive=True"):
        make_model(past=["x"]).fit(PANEL, init_from=before)
    later = make_model(past=["x"], autoregressive=False).fit(PANEL, init_from=before)
    assert later.predict()["forecast"].between(0, 1).all()


def test_columns_may_be_named_by_an_index(tmp_path):
    expected = make_model(past=["x"], autoregressive=False).fit(PANEL).predict()
    named = make_model(past=pd.Index(["x"]), autoregressive=False).fit(PANEL)
    pd.testing.assert_frame_equal(named.predict(), expected)
    known = PANEL.assign(day=np.sin(np.arange(len(PANEL))))
    model = make_model(future=pd.Index(["day"])).fit(known)
    ahead = pd.DataFrame({"day": 0.5}, index=model.future_index())
    tsf.save(model, tmp_path / "model", tail=True)
    assert tsf.load(tmp_path / "model").predict(future=ahead).equals(model.predict(future=ahead))
    live = tsf.Stream(model, known).forecast(future=ahead)["forecast"]
    np.testing.assert_allclose(live, model.predict(future=ahead)["forecast"], rtol=1e-6)


def test_the_features_of_targets_are_named_after_them():
    features = Features(n_columns=3, n_targets=2, n_seasons=1, scaled=True)
    names = features.names(["a", "b", "x"], seasons=[5])
    of_targets = [names[at] for at in features.of_targets]
    assert sorted(of_targets) == sorted(name for name in names if name[0] in "ab")


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "expected True, or other columns, found False. Name what the network shall see"),
        ({"past": ["event"]}, "expected True, or other columns, found False. Name what"),
        ({"past": pd.Index([])}, "expected True, or other columns, found False. Name what"),
        ({"past": ["x"], "season": 5}, "expected True, with normalize or season, found False"),
        ({"past": ["x"], "autoregressive": "no"}, r"expected one of \[True, False\], found 'no'"),
    ],
)
def test_a_network_must_see_something(options, message):
    with pytest.raises(ValueError, match=f"parameter 'autoregressive': {message}"):
        make_model(**({"autoregressive": False} | options)).fit(PANEL)
