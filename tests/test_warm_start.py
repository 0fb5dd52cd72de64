"""Warm start: weights go on, scales are measured anew, and nothing seen is validated on."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch

import tsforecast as tsf
from tests.small import H, assert_equal, make_model, make_panel, numbers, one_series
from tsforecast.nn.training import Training

STILL = {"max_epochs": 1, "learning_rate": 1e-30}  # weights do not move


def weights(model):
    return {name: w.detach().clone() for name, w in model.networks_[0].named_parameters()}


def early(panel, n):
    return panel.groupby(level=0).head(n)


def test_training_goes_on_from_the_weights_of_the_given_model():
    panel = make_panel(3, 60)
    first = make_model(max_epochs=3).fit(early(panel, 40))
    still = make_model(**STILL).fit(panel, init_from=first)
    before, after = weights(first), weights(still)
    assert before.keys() == after.keys()
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-20)
    moved = weights(make_model(max_epochs=1).fit(panel, init_from=first))
    assert any((moved[name] != before[name]).any() for name in before)


def test_the_given_model_stays_as_it_was():
    panel = make_panel(3, 60)
    first = make_model(max_epochs=3).fit(early(panel, 40))
    before, forecast = weights(first), first.predict()
    make_model(max_epochs=2).fit(panel, init_from=first)
    for name, weight in weights(first).items():
        assert torch.equal(weight, before[name])
    assert_equal(forecast, first.predict())


def test_scales_are_measured_anew():
    panel = make_panel(3, 60)
    first = make_model(max_epochs=3).fit(early(panel, 40))
    large = panel * 1024.0
    warm = make_model(**STILL).fit(large, init_from=first)
    small = make_model(**STILL).fit(panel, init_from=first)
    # the same weights on the same standardised numbers
    np.testing.assert_allclose(numbers(warm.predict()) / 1024, numbers(small.predict()), rtol=1e-4)
    network = warm.networks_[0]
    assert not torch.equal(network.location, first.networks_[0].location)


def test_a_model_may_go_on_from_itself():
    panel = make_panel(3, 60)
    model = make_model(max_epochs=3).fit(early(panel, 40))
    other = make_model(max_epochs=3).fit(early(panel, 40))
    assert_equal(
        model.fit(panel, init_from=model).predict(),
        make_model(max_epochs=3).fit(panel, init_from=other).predict(),
    )


def test_epoch_0_is_the_network_as_it_came():
    panel = make_panel(3, 80)
    first = make_model(max_epochs=4).fit(early(panel, 60))
    time = {"validation": "time", "validation_size": 0.2, "patience": 1}
    cold = make_model(max_epochs=1, **time).fit(panel)
    warm = make_model(max_epochs=1, **time).fit(panel, init_from=first)
    assert cold.history_["val_loss"].iloc[0] != warm.history_["val_loss"].iloc[0]


@pytest.mark.parametrize("seen", [40, 70])
def test_validation_begins_behind_what_the_given_model_has_seen(seen, monkeypatch):
    panel = make_panel(3, 80)
    first = make_model(max_epochs=1).fit(early(panel, seen))
    found = {}
    inner = tsf.RecurrentForecaster._validation

    def spy(self, rows, known_until, *rest):
        validation, blocks = inner(self, rows, known_until, *rest)
        found["targets"] = rows.layout.time[validation.origins + 1].min()
        return validation, blocks

    monkeypatch.setattr(tsf.RecurrentForecaster, "_validation", spy)
    model = make_model(max_epochs=1, validation="time", validation_size=0.25)
    model.fit(panel, init_from=first)
    days = panel.index.get_level_values("day").unique()
    assert found["targets"] == days[max(seen, 60)]  # a quarter of 80 rows, if they are all new


def test_nothing_new_to_validate_on_is_refused():
    panel = make_panel(3, 60)
    first = make_model(max_epochs=1).fit(early(panel, 59))
    model = make_model(max_epochs=1, validation="time")
    with pytest.raises(
        tsf.DataError, match=f"rows after .*, at least horizon {H} of .* found too few"
    ):
        model.fit(panel, init_from=first)


def test_series_that_the_given_model_has_seen_are_not_held_out(monkeypatch):
    panel = make_panel(8, 40)
    first = make_model(max_epochs=1).fit(panel.loc[["s0", "s1", "s2", "s3"]])
    model = make_model(max_epochs=1, validation="series", validation_size=0.9)
    held = held_out(monkeypatch, model, panel, init_from=first)
    assert held
    assert held <= {"s4", "s5", "s6", "s7"}
    with pytest.raises(tsf.DataError, match="expected series that init_from has not seen"):
        model.fit(panel.loc[["s0", "s1"]], init_from=first)


def held_out(monkeypatch, model, panel, **options):
    """Names of the series that a fit validates on."""
    held = []
    inner = tsf.RecurrentForecaster._known_until

    def spy(self, panel, layout, groups, seed):
        until = inner(self, panel, layout, groups, seed)
        held.extend(np.asarray(layout.names())[until == layout.starts])
        return until

    with monkeypatch.context() as patch:
        patch.setattr(tsf.RecurrentForecaster, "_known_until", spy)
        model.fit(panel, **options)
    return set(held)


HALF = {"max_epochs": 1, "validation": "series", "validation_size": 0.9}


@pytest.mark.filterwarnings("ignore")
def test_what_a_chain_of_models_has_seen_is_remembered(monkeypatch, tmp_path):
    panel = make_panel(8, 40)
    first = make_model(max_epochs=1).fit(panel.loc[["s0", "s1", "s2"]])
    tsf.save(first, tmp_path / "first")
    for start in (first, tsf.load(tmp_path / "first")):
        second = make_model(max_epochs=1).fit(panel.loc[["s3", "s4", "s5"]], init_from=start)
        held = held_out(monkeypatch, make_model(**HALF), panel, init_from=second)
        assert held <= {"s6", "s7"}
        assert held


@pytest.mark.filterwarnings("ignore")
def test_other_series_of_a_group_that_was_seen_are_not_held_out(monkeypatch):
    patient = pd.Series([1, 2, 1, 3, 4], index=[f"s{i}" for i in range(5)])
    panel = make_panel(5, 40)
    panel["patient"] = patient.reindex(panel.index.get_level_values(0)).to_numpy(float)
    first = make_model(max_epochs=1, group="patient").fit(panel.loc[["s0", "s1"]])
    rest = panel.loc[["s2", "s3", "s4"]]
    held = held_out(monkeypatch, make_model(**HALF, group="patient"), rest, init_from=first)
    assert "s2" not in held
    assert held


def test_series_names_of_another_type_are_refused():
    panel = make_panel(3, 40)
    first = make_model(max_epochs=1).fit(panel)
    other = panel.set_index(panel.index.set_levels([0, 1, 2], level=0))
    with pytest.raises(tsf.DataError, match="expected string names, found integer names"):
        make_model(max_epochs=1).fit(other, init_from=first)


def test_a_latest_time_of_a_chain_counts(monkeypatch):
    """The first of a chain has seen more than the second."""

    def stays(n, names):
        panel = make_panel(3, n).rename(dict(zip(("s0", "s1", "s2"), names)), level=0)
        return panel.set_index(panel.index.set_levels(range(n), level=1))

    first = make_model(max_epochs=1).fit(stays(60, "abc"))
    second = make_model(max_epochs=1).fit(stays(40, "def"), init_from=first)
    assert second._seen.cutoff == 59
    assert second.cutoff_ == 39


def test_rows_of_one_series_with_a_whole_number_clock_may_not_be_later():
    panel = one_series(60).reset_index(drop=True)
    later = make_model(max_epochs=1).fit(panel)
    with pytest.raises(tsf.DataError, match="has seen later rows"):
        make_model(max_epochs=1).fit(panel[:40], init_from=later)


def test_a_model_that_has_seen_later_rows_is_refused():
    panel = make_panel(3, 60)
    later = make_model(max_epochs=1).fit(panel)
    with pytest.raises(
        tsf.DataError, match="init_from has seen later rows.*2024-02-09.*2024-02-29"
    ):
        make_model(max_epochs=1).fit(early(panel, 40), init_from=later)


def test_time_since_the_start_of_a_stay_has_no_later_rows():
    def stays(n):
        panel = make_panel(3, n)
        return panel.set_index(panel.index.set_levels(range(n), level=1))

    long = make_model(max_epochs=1).fit(stays(50))
    assert make_model(max_epochs=1).fit(stays(40), init_from=long).networks_


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"hidden_sizes": (5,)}, r"cells.layers.0.weight_ih_l0 \(16, 8\) for \(20, 8\)"),
        ({"cell": "gru"}, "cell"),
        ({"cell": "rnn"}, "cell"),
        ({"past": None}, r"columns \['y', 'x'\] for \['y'\]"),
        ({"horizon": 4}, "decoder.weight"),
        ({"head": "point"}, "head Quantiles.* for Point"),
        ({"head": tsf.Quantiles((0.05, 0.5, 0.95))}, "head Quantiles"),
        ({"season": 3}, r"seasonal \(\) for \(3,\)"),
    ],
)
def test_a_model_of_another_shape_is_refused_with_the_weights_that_differ(changed, found):
    panel = make_panel(3, 60)
    first = make_model(max_epochs=1).fit(early(panel, 40))
    with pytest.raises(ValueError, match=f"'init_from': expected a model of the same.*{found}"):
        make_model(max_epochs=1, **changed).fit(panel, init_from=first)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"season": (2, 6)}, {"season": (3, 6)}, r"seasonal \(2, 6\) for \(3, 6\)"),
        ({"season": (2, 6)}, {"season": (6, 2)}, r"seasonal \(2, 6\) for \(6, 2\)"),
        ({"static": ["size"]}, {"static": ["beta"]}, r"static \['size'\] for \['beta'\]"),
    ],
)
def test_weights_of_the_same_shape_for_other_constants_or_seasons_are_refused(before, after, found):
    panel = make_panel(3, 60)
    codes = panel.index.codes[0]
    panel = panel.assign(size=codes * 1.0, beta=codes * -100.0)
    first = make_model(max_epochs=1, **before).fit(early(panel, 40))
    with pytest.raises(ValueError, match=f"'init_from': expected a model of the same.*{found}"):
        make_model(max_epochs=1, **after).fit(panel, init_from=first)
    assert make_model(max_epochs=1, **before).fit(panel, init_from=first).networks_


@pytest.mark.parametrize("wrong", [3, tsf.Naive(target="y"), "lstm"])
def test_what_is_no_fitted_forecaster_is_refused(wrong):
    with pytest.raises(ValueError, match="'init_from': expected a fitted RecurrentForecaster"):
        make_model().fit(one_series(), init_from=wrong)


def test_vectors_of_categories_go_by_their_value():
    def panel(kinds):
        made = make_panel(len(kinds), 40)
        which = made.index.get_level_values(0).str[1:].astype(int)
        return made.assign(kind=pd.Categorical([kinds[i] for i in which]))

    first = make_model(max_epochs=3, static=["kind"]).fit(panel("ab"))
    turned = make_model(**STILL, static=["kind"]).fit(panel("bca"), init_from=first)
    before, after = (m.networks_[0].embeddings[0].weight.detach() for m in (first, turned))
    torch.testing.assert_close(after[[1, 3]], before[[2, 1]], rtol=0, atol=1e-20)


# ------------------------------------------------------------------------------------- backtest


def run(panel, **changed):
    model = make_model(max_epochs=2)
    return tsf.backtest({"lstm": model}, panel, tsf.RollingOrigin(4, 3), **changed)


def test_a_warm_backtest_is_a_chain_of_fits():
    panel = make_panel(3, 60)
    result = run(panel, refit=2, warm_start=True)
    splits = tsf.RollingOrigin(4, 3).splits(panel, horizon=H)
    day = panel.index.get_level_values("day")
    first = make_model(max_epochs=2).fit(panel[day <= splits[0].fit_until])
    second = make_model(max_epochs=2).fit(panel[day <= splits[2].fit_until], init_from=first)
    wanted = second.forecast_origins(panel, splits[3].cutoffs)
    found = result.frame[
        (result.frame["model"] == "lstm") & result.frame["cutoff"].isin(splits[3].cutoffs)
    ]
    wanted = wanted[wanted.index.get_level_values("day") <= day.max()]
    np.testing.assert_allclose(
        found.sort_values(["series", "cutoff", "step"])["forecast"],
        wanted["forecast"],
        rtol=1e-6,
    )
    cold = run(panel, refit=2)
    assert not np.allclose(cold.frame["forecast"], result.frame["forecast"])


def test_a_warm_backtest_that_was_stopped_goes_on_to_the_same_forecasts():
    panel = make_panel(3, 60)
    whole = run(panel, warm_start=True)
    inner, count = tsf.RecurrentForecaster.fit, []

    @functools.wraps(inner)
    def stopping(self, *args, **kwargs):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return inner(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tsf.RecurrentForecaster, "fit", stopping)
        with pytest.raises(KeyboardInterrupt) as caught:
            run(panel, warm_start=True)
    again = run(panel, warm_start=True, resume=caught.value.result)
    pd.testing.assert_frame_equal(whole.frame, again.frame)


def test_models_without_init_from_are_fitted_anew():
    panel = make_panel(3, 60)
    model = tsf.EWMA(target="y", horizon=H)
    frames = [
        tsf.backtest(model, panel, tsf.RollingOrigin(3, 3), warm_start=warm).frame
        for warm in (True, False)
    ]
    pd.testing.assert_frame_equal(*frames)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("validation", [None, "time"])
def test_a_warm_backtest_does_not_look_ahead(validation):
    model = make_model(training=Training(max_epochs=2, validation=validation, origins=4))

    def forecasts(panel):
        splitter = tsf.RollingOrigin(3, 4)
        return tsf.backtest({"m": model}, panel, splitter, warm_start=True).frame

    tsf.check_no_lookahead(forecasts, make_panel(3, 60))
