"""Positions learned by what they earn after costs: the loss, the estimator, and its frames."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import tsforecast as tsf
from tests.simulated_trends import annual_sharpe, net_returns, sign_rule, simulate_trends
from tsforecast.data.features import Features
from tsforecast.data.windows import Origins, Windows
from tsforecast.nn import training as loop
from tsforecast.nn.network import InputScale
from tsforecast.nn.positions import Holdings, PositionNetwork, sharpe_values

B, O, T, F = 6, 5, 9, 7  # windows, origins, rows, features  # noqa: E741
pytestmark = pytest.mark.filterwarnings("ignore:.*their position is 0:UserWarning")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def estimator(**changed):
    options = {
        "target": "close",
        "context": "history",
        "lookback": 40,
        "hidden_sizes": (8,),
        "training": tsf.Training(max_epochs=10),
        "random_state": 0,
    }
    return tsf.PositionEstimator(**(options | changed))


def small(**changed):
    """One that learns in a moment, whatever it is worth."""
    options = {
        "lookback": 10,
        "spans": (1, 5),
        "macd": ((2, 8),),
        "hidden_sizes": (4,),
        "training": tsf.Training(max_epochs=2, validation=None, origins=8),
    }
    return estimator(**(options | changed))


# -------------------------------------------------------------------------------------- the loss


def make_network(cost=0.001, **changed):
    torch.manual_seed(0)
    options = {
        "features": Features(n_columns=2, n_targets=0),
        "scale": InputScale(np.zeros(F), np.ones(F)),
        "static": InputScale(np.zeros(0), np.zeros(0)),
        "n_codes": (),
        "cell": "lstm",
        "hidden_sizes": (3,),
        "dropout": 0.0,
        "layer_norm": False,
        "init": "torch",
        "max_steps": T,
        "unit": 0.01,
        "cost": cost,
        "periods": 252.0,
    }
    network = PositionNetwork(**(options | changed))
    with torch.no_grad():
        network.decoder.weight.normal_()
    return network


def make_batch(n=B, at=T - O, seed=0):
    rng = np.random.default_rng(seed)

    def tensor(*shape):
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    nothing = Origins(torch.empty(n, 0, 0), tensor(n, O, 0, 0), tensor(n, O, 0, 1), tensor(n, O, 0))
    windows = Windows(
        tensor(n, T, F), tensor(n, 0), torch.empty(n, 0).long(), torch.full((n,), at), nothing
    )
    weight = torch.from_numpy((rng.random((n, O)) < 0.8).astype(np.float32))
    return windows, Holdings(tensor(n, O + 1).abs(), 0.01 * tensor(n, O), weight)


def plain_loss(network, windows, holdings):
    """The same in numpy, window by window."""
    with torch.no_grad():
        states, _ = network.encode(windows.x.clone(), windows.static, windows.codes)
        x = network.decode(states).numpy()
    net, weight = [], []
    for b in range(len(x)):
        at = int(windows.at[b])
        held = [float(holdings.scale[b, j]) * x[b, max(at + j - 1, 0)] for j in range(O + 1)]
        for j in range(O):
            earned = held[j + 1] * float(holdings.returns[b, j])
            net.append(earned - network.cost * abs(held[j + 1] - held[j]))
            weight.append(float(holdings.weight[b, j]))
    net = np.array(net)[np.array(weight) > 0] / 0.01
    return -np.sqrt(252) * net.mean() / np.sqrt(net.var() + 0.1**2)


def test_loss_is_minus_the_net_sharpe_ratio_of_all_rows_of_the_batch():
    network, (windows, holdings) = make_network(), make_batch()
    loss = network.pooled(network.sums(windows, holdings))
    assert loss.item() == pytest.approx(plain_loss(network, windows, holdings), rel=1e-4)


def test_a_window_that_begins_with_its_first_origin_held_nothing_before():
    network, (windows, holdings) = make_network(), make_batch(at=0)
    holdings = holdings._replace(scale=holdings.scale.index_fill(1, torch.tensor([0]), 0.0))
    loss = network.pooled(network.sums(windows, holdings))
    assert loss.item() == pytest.approx(plain_loss(network, windows, holdings), rel=1e-4)


def gradients(network, loss):
    return torch.cat([g.ravel() for g in torch.autograd.grad(loss, list(network.parameters()))])


def test_pieces_of_a_batch_have_the_gradient_of_the_whole():
    network, batch = make_network(dropout=0.0), make_batch()
    loss, weight = loop._sums(network, batch, ())
    whole = gradients(network, loss)
    pieces = [slice(0, 2), slice(2, 5), slice(5, 6)]
    results = []
    for n_threads in (1, 3):
        known, count = loop._pooled_of_chunks(network, batch, (), pieces, n_threads)
        assert count.item() == weight.item() == batch[1].weight.sum().item()
        assert known.item() == pytest.approx(loss.item(), rel=1e-5)
        results.append(gradients(network, known))
    torch.testing.assert_close(results[0], whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))
    assert torch.equal(*results)


def test_gradient_is_that_of_the_sharpe_ratio():
    network, batch = make_network().double(), make_batch()
    batch = tuple(
        type(part)(*(v.double() if getattr(v, "is_floating_point", bool)() else v for v in part))
        for part in batch
    )
    slope = torch.autograd.grad(network.pooled(network.sums(*batch)), network.decoder.bias)[0]
    losses = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            network.decoder.bias += step
            losses.append(float(network.pooled(network.sums(*batch))))
            network.decoder.bias -= step
    assert float(slope) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5)


def test_positions_that_lose_shrink_and_those_that_gain_grow():
    network = make_network(cost=0.0)
    for sign in (1.0, -1.0):
        sums = [torch.tensor([sign * 0.02 * a, 0.1 * a * a, 1.0]) for a in (0.1, 0.2)]
        less, more = (float(network.pooled(one)) for one in sums)
        assert (more < less) == (sign > 0)


def test_sharpe_values_have_the_ratio_as_mean_and_its_error_as_error():
    rng = np.random.default_rng(0)
    r = 0.1 + rng.standard_t(8, size=400)
    ratio = r.mean() / r.std()
    values = sharpe_values(r)
    assert values.mean() == pytest.approx(ratio, rel=1e-12)
    z = (r - r.mean()) / r.std()
    # Mertens (2002): the asymptotic variance of a Sharpe ratio of independent returns
    error = 1 - ratio * np.mean(z**3) + ratio**2 * (np.mean(z**4) - 1) / 4
    assert np.mean((values - ratio) ** 2) == pytest.approx(error, rel=1e-12)
    assert (sharpe_values(np.zeros(5)) == 0).all()


# ------------------------------------------------------------------------------------- the model


@pytest.fixture(scope="module")
def trending():
    return simulate_trends(8, 700, drift=0.2, seed=1)


@pytest.fixture(scope="module")
def fitted(trending):
    time = trending.index.get_level_values("time")
    torch.set_num_threads(1)
    return estimator().fit(trending[time <= time.unique()[500]])


def test_a_network_finds_trends_that_the_sign_rule_finds_less_of(fitted, trending):
    close = trending["close"].unstack("series")
    frame = fitted.forecast_origins(trending, close.index[500:]).reset_index()
    weights = frame.pivot(index="cutoff", columns="series", values="forecast")
    weights = weights.reindex(close.index).fillna(0.0)
    train, test = slice(260, 500), slice(503, None)
    rules = [net_returns(sign_rule(close, span), close) for span in (10, 21, 63, 126)]
    best = max(rules, key=lambda net: annual_sharpe(net.iloc[train]))
    ours = net_returns(weights, close)
    assert fitted.best_epochs_[0] > 0
    assert annual_sharpe(ours.iloc[test]) > annual_sharpe(best.iloc[test]) > 0


def test_on_random_walks_nothing_is_held():
    walks = simulate_trends(6, 500, drift=0.0, seed=3)
    model = estimator(training=tsf.Training(max_epochs=6)).fit(walks)
    assert model.best_epochs_ == [0]
    frame = model.forecast_origins(walks)
    assert (frame["forecast"] == 0).all()
    assert model.history_["val_loss"].iloc[0] == 0.0


def test_a_network_that_loses_in_validation_is_left_off():
    """What moved on before validation turns back in it."""
    rng = np.random.default_rng(0)
    returns = 0.01 * rng.standard_normal((600, 6))
    for t in range(20, 600):
        onward = 0.3 if t < 480 else -0.3
        returns[t] += 0.01 * onward * np.sign(returns[t - 20 : t].sum(axis=0))
    panel = simulate_trends(6, 600).assign(close=np.exp(returns.cumsum(axis=0)).T.ravel())
    model = estimator(training=tsf.Training(max_epochs=4)).fit(panel)
    assert (model.history_["val_loss"].iloc[1:] > 0).all()
    assert model.best_epochs_ == [0]


def test_weights_are_within_one_and_within_the_volatility_target(fitted, trending):
    close = trending["close"].unstack("series")
    frame = fitted.forecast_origins(trending).reset_index()
    weights = frame.pivot(index="cutoff", columns="series", values="forecast")
    late = weights.iloc[60:]
    volatility = np.sqrt((np.log(close).diff() ** 2).ewm(halflife=60).mean() * 252).iloc[60:]
    assert (late.abs().max() > 0.1).all()
    assert (late.abs() <= np.minimum(1.0, 1.05 * 0.15 / volatility)).all(axis=None)
    free = clone(fitted).set_params(vol_target=None).fit(trending)
    assert 0.15 < free.forecast_origins(trending)["forecast"].abs().max() < 1


def test_positions_do_not_depend_on_the_unit_of_the_prices(trending):
    one, other = (small().fit(panel).predict() for panel in (trending, trending * 1024.0))
    np.testing.assert_allclose(other["forecast"], one["forecast"], rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The best epoch")
def test_validation_rows_teach_nothing(trending):
    time = trending.index.get_level_values("time")
    last = time >= time.unique()[560]  # the last fifth, from its first row on
    changed = trending * np.where(last, np.linspace(1.1, 1.5, len(last)), 1.0)[:, None]
    one, other = (
        small(training=tsf.Training(max_epochs=2)).fit(panel) for panel in (trending, changed)
    )
    assert one.history_["train_loss"].equals(other.history_["train_loss"])
    assert not one.history_["val_loss"].equals(other.history_["val_loss"])


@pytest.mark.filterwarnings("ignore:The best epoch")
@pytest.mark.parametrize("lag", ["same close", 1, 3])
def test_training_and_validation_earn_what_the_strategy_earns(trending, lag):
    model = small(lag=lag, training=tsf.Training(max_epochs=1, validation_size=0.3)).fit(trending)
    held = model.forecast_origins(trending)
    strategy = tsf.backtest_strategy(held, trending, rule="position", lag=lag, costs=tsf.Costs())
    # what `score` counts: after cutoff_, here after a cut that lies before the end
    time = trending.index.get_level_values("time")
    model.cutoff_ = time.unique()[400]
    first = time.unique().get_loc(model.cutoff_) + model._lag + 1
    gross = strategy.returns["gross"].loc[time.unique()[first] :]
    model.cost_bps = 0.0
    assert model.score(trending) == pytest.approx(
        np.sqrt(252) * gross.mean() / gross.std(ddof=0), rel=1e-6
    )


def test_a_score_pays_for_every_change_of_a_position_and_for_the_first(trending):
    close = trending["close"].unstack("series")
    model = small(cost_bps=50.0, lag=2).fit(
        trending[trending.index.get_level_values("time") <= close.index[400]]
    )
    frame = model.forecast_origins(trending, close.index[400:-3]).reset_index()
    held = frame.pivot(index="cutoff", columns="series", values="forecast")
    earned = held * close.pct_change().shift(-3).loc[held.index]
    net = (earned - 0.005 * held.diff().fillna(held).abs()).mean(axis=1)
    sharpe = np.sqrt(252) * net.mean() / net.std(ddof=0)
    assert model.score(trending) == pytest.approx(sharpe, rel=1e-9)


def test_costs_lower_turnover(trending):
    held = {}
    for cost in (0.0, 200.0):
        model = small(
            cost_bps=cost, training=tsf.Training(max_epochs=8, validation=None, origins=8)
        )
        frame = model.fit(trending).forecast_origins(trending).reset_index()
        table = frame.pivot(index="cutoff", columns="series", values="forecast").iloc[20:]
        held[cost] = table.diff().abs().mean().mean() / table.abs().mean().mean()
    assert held[200.0] < 0.5 * held[0.0]


def test_weights_do_not_depend_on_the_number_of_threads(trending, monkeypatch):
    models, pieces, cut = [], [], loop._chunks
    monkeypatch.setattr(loop, "_chunks", lambda *batch: pieces.append(cut(*batch)) or pieces[-1])
    for n in (1, 3):
        torch.set_num_threads(n)
        options = tsf.Training(max_epochs=1, validation=None, origins=16)
        models.append(small(lookback=90, dropout=0.2, hidden_sizes=(4, 4), training=options))
        models[-1].fit(trending)
    assert max(map(len, pieces)) > 1  # there is something to share out
    one, other = (model.networks_[0].state_dict() for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_members_are_averaged(trending):
    model = small(n_members=2).fit(trending)
    together = model.predict()["forecast"]
    each = []
    for network in model.networks_:
        alone = small().fit(trending)
        alone.networks_, alone._known = [network], None
        each.append(alone.predict(trending)["forecast"])
    np.testing.assert_allclose(together, (each[0] + each[1]) / 2, rtol=1e-5)


def test_further_columns_are_seen(trending):
    told = trending.groupby(level="series")["close"].pct_change(2).shift(-2)  # what will be earned
    panel = trending.assign(hint=told.fillna(0.0))
    training = tsf.Training(max_epochs=5, validation=None)
    blind, seeing = (small(past=past, training=training).fit(panel) for past in (None, ["hint"]))
    assert seeing.history_["train_loss"].iloc[-1] < blind.history_["train_loss"].iloc[-1] - 1


def test_a_short_series_has_no_position_and_is_counted(trending):
    short = pd.concat([trending.drop(index="s03"), trending.loc[["s03"]].iloc[-5:]])
    with pytest.warns(UserWarning, match=r"1 of 8 series are left out of training.*'?s03"):
        model = small(context="window").fit(short)
    with pytest.warns(UserWarning, match=r"1 origins of 1 series have fewer than 10 rows.*'s03'"):
        frame = model.predict(short)
    assert frame.loc["s03", "forecast"].item() == 0.0
    assert (frame.drop(index="s03")["forecast"] != 0).all()


def test_an_interrupt_leaves_the_best_weights_in_place(trending, monkeypatch):
    validate = loop._Watch.validate

    def stop(self, **given):
        result = validate(self, **given)
        if given["epoch"] == 1:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(loop._Watch, "validate", stop)
    model = small(n_members=2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(trending)
    assert model.interrupted_
    assert len(model.networks_) == 1
    assert np.isfinite(model.predict()["forecast"]).all()


# ---------------------------------------------------------------------------------------- frames


@pytest.fixture(scope="module")
def result(trending):
    torch.set_num_threads(1)
    return tsf.backtest({"dmn": small()}, trending, tsf.RollingOrigin(2, origins_per_split=20))


def test_a_backtest_of_positions_has_no_truth_and_no_naive(result, trending):
    frame = result.frame
    assert set(frame["model"]) == {"dmn"}
    assert set(frame["target"]) == {"position"}
    assert frame["actual"].isna().all()
    assert len(frame) == 2 * 20 * 8
    assert result.baselines == ()
    with pytest.raises(tsf.DataError, match=r"positions are no forecasts.*backtest_strategy"):
        result.metrics()
    with pytest.raises(tsf.DataError, match=r"positions are no forecasts"):
        result.skill()


def test_a_backtest_of_positions_goes_on_and_keeps_its_in_sample_rows(result, trending):
    splitter = tsf.RollingOrigin(2, origins_per_split=20)
    again = tsf.backtest({"dmn": small()}, trending, splitter, resume=result, refit=True)
    pd.testing.assert_frame_equal(again.frame, result.frame)
    both = tsf.backtest({"dmn": small()}, trending, splitter, fitted=True).frame
    within = both[both["in_sample"]]
    assert set(within["model"]) == {"dmn"}
    assert within["actual"].isna().all()


def test_a_backtest_of_positions_is_traded(result, trending):
    strategy = tsf.backtest_strategy(result.frame, trending, rule="position")
    table = result.frame.pivot(index="cutoff", columns="series", values="forecast") / 8
    held = strategy.weights.loc[table.index[1] :].iloc[1:-1]
    wanted = table.reindex(trending.index.levels[1]).shift(2).loc[held.index]
    pd.testing.assert_frame_equal(
        held, wanted[held.columns], check_names=False, check_freq=False, rtol=1e-12
    )


def test_positions_and_forecasts_are_not_mixed(trending):
    models = {"dmn": small(), "naive": tsf.Naive(target="close")}
    with pytest.raises(ValueError, match=r"all forecast, or that all give positions.*dmn: pos"):
        tsf.backtest(models, trending, tsf.RollingOrigin(2))


def test_a_grid_search_takes_the_net_sharpe_ratio(trending):
    search = GridSearchCV(
        small(), {"cost_bps": [1.0, 5.0]}, cv=tsf.RollingOrigin(2, origins_per_split=40)
    ).fit(trending)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_score_needs_positions_at_two_times(trending):
    time = trending.index.get_level_values("time")
    model = small().fit(trending[time <= time.unique()[400]])
    with pytest.raises(
        tsf.DataError, match=r"too few rows to score: expected positions at 2 times or more.*lag 1"
    ):
        model.score(trending[time <= time.unique()[402]])
    assert np.isfinite(model.score(trending[time <= time.unique()[403]]))


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("parameter", "value", "told"),
    [
        ("lookback", 1, "at least 2"),
        ("lag", 0, "expected 1 or more rows, found 0. Or write lag='same close'"),
        ("lag", -1, "at least 1"),
        ("lag", "same", "expected 1 or more rows, or 'same close', found 'same'"),
        ("cost_bps", -1.0, "0 or more basis points"),
        ("vol_target", 0.0, "above 0"),
        ("min_t", -1.0, "0 or more"),
        ("vol_half_life", None, "above 0"),
        ("spans", (0,), "at least 1"),
        ("spans", 5, "a tuple"),
        ("macd", ((8, 8),), "pairs (short, long)"),
        ("min_history", 0, "at least 1"),
        ("target", ["close"], "one column of prices"),
        ("training", tsf.Training(validation="series"), "validation='time' or None"),
        ("past", "close", "a list of columns"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(trending, parameter, value, told):
    with pytest.raises(ValueError, match=rf"'{parameter}'.*{re.escape(told)}"):
        small(**{parameter: value}).fit(trending)


def test_something_must_be_seen(trending):
    with pytest.raises(ValueError, match="'spans': expected something to look at"):
        small(spans=(), macd=()).fit(trending)
    panel = trending.rename(columns={"close": "macd 2/8"}).assign(close=trending["close"])
    with pytest.raises(ValueError, match="'past': expected names that no signal has"):
        small(past=["macd 2/8"]).fit(panel)


def test_prices_that_are_not_positive_are_refused(trending):
    wrong = trending.copy()
    wrong.iloc[5] = -1.0
    with pytest.raises(tsf.DataError, match=r"not positive.*expected prices above 0.*found 1"):
        small().fit(wrong)


def test_prices_that_do_not_move_are_refused(trending):
    with pytest.raises(tsf.DataError, match=r"constant prices"):
        small(spans=(), macd=(), past=["x"]).fit(
            trending.assign(close=7.0, x=np.arange(len(trending)) % 10.0)
        )


def test_too_few_rows_are_counted(trending):
    few = trending.groupby(level=0).head(11)
    with pytest.raises(
        tsf.DataError, match=r"at least 12 rows to train on: lookback 10 \+ lag 1 \+ 1.*found 11"
    ):
        small().fit(few)


# ------------------------------------------------------------------------------- what it rests on


@pytest.mark.parametrize("refit", [True, False])
def test_a_backtest_of_positions_does_not_look_ahead(trending, refit):
    few = trending[trending.index.get_level_values("series") < "s03"].groupby(level=0).head(120)

    def run(panel):
        splitter = tsf.RollingOrigin(3, origins_per_split=4)
        return tsf.backtest({"dmn": small()}, panel, splitter, refit=refit).frame

    report = tsf.check_no_lookahead(run, few)
    assert report.loc["values", "compared"] > 0


@pytest.mark.parametrize("context", ["window", "history"])
def test_a_saved_estimator_gives_the_same_positions_or_is_refused(trending, tmp_path, context):
    early = trending.groupby(level="series").head(400)
    model = small(context=context, lag="same close").fit(early)
    tsf.save(model, tmp_path / "model", tail=True)
    again = tsf.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)
    assert again.score(trending) == model.score(trending)
    model.networks_[0].unit.fill_(-1.0)
    with pytest.raises(TypeError, match="a unit that is not positive"):
        tsf.save(model, tmp_path / "other")


def test_positions_are_no_forecasts_to_others():
    model = tsf.PositionEstimator(target="close")
    panel = tsf.make_prices(2, 80, random_state=0)[["close"]]
    with pytest.raises(ValueError, match="'estimator': expected a forecaster of what will be"):
        tsf.ConformalForecaster(model).fit(panel)
    with pytest.raises(ValueError, match="'baseline': expected a forecaster of the target"):
        tsf.RecurrentForecaster(target="close", baseline=model).fit(panel)
    with pytest.raises(ValueError, match="'estimator': expected a forecaster.*what they earn"):
        tsf.make_scorer("mae")(model, panel)


def test_a_search_has_blocks_that_can_be_scored():
    pytest.importorskip("optuna")
    panel = tsf.make_prices(2, 500, random_state=0)[["close"]]
    model = tsf.PositionEstimator(
        target="close", lookback=10, hidden_sizes=(2,), spans=(1, 5), macd=((4, 12),),
        training=tsf.Training(max_epochs=1, validation=None), random_state=0,
    )  # fmt: skip
    found = tsf.tune(model, panel, {"vol_half_life": [20, 60]}, n_trials=2, random_state=0)
    assert np.isfinite(found.trials["score"]).all()
