"""Training: the best weights stay, the baseline is a candidate, and nothing else is touched."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from torch import nn

from tsforecast.data.splits import RollingOrigin
from tsforecast.estimators.forecaster import RecurrentForecaster
from tsforecast.nn.cells import CellStack
from tsforecast.nn.heads import Point
from tsforecast.nn.threads import in_order
from tsforecast.nn.training import Training, _chunks, isolated_randomness, train

ROOT = Path(__file__).resolve().parents[1]


class Level(nn.Module):
    """One weight, judged by its squared distance to the targets."""

    def __init__(self, start: float = 0.0, *, power: int = 2) -> None:
        super().__init__()
        self.side_by_side = 0
        self.level = nn.Parameter(torch.tensor(start))
        self.power = power

    def noise(self, batch):
        return ()

    def loss(self, x, z, noise):
        known = torch.isfinite(z)
        steps = (torch.where(known, z, 0.0) - self.level).abs() ** self.power * known
        return steps.sum(-1) / known.sum(-1).clamp(min=1), known.sum(-1)


class Epochs:
    """The same batches each epoch; says that there may be more, as real ones do."""

    def __init__(self, targets: list[float], *, more: int = 0) -> None:
        self.targets = targets
        self.more = more
        self.begun = 0

    def __iter__(self):
        self.begun += 1
        for target in self.targets:
            yield torch.zeros(1, 1, 1), torch.full((1, 1, 1), target)

    def __len__(self):
        return len(self.targets) + self.more


class Script:
    """A validation that says what it was told, epoch by epoch, and notes the weights it saw."""

    def __init__(self, losses: list) -> None:
        self.losses = losses
        self.seen: list[float] = []

    def __call__(self, network):
        self.seen.append(network.level.item())
        loss = self.losses[len(self.seen) - 1]
        if callable(loss):
            loss = loss()
        return np.atleast_1d(np.asarray(loss, dtype=np.float64))


def run(losses=None, *, network=None, targets=(5.0, 5.0), blocks=None, **options):
    """Train a `Level`; gives it, what `train` reports, and the script of its validation."""
    network = Level() if network is None else network
    script = None if losses is None else Script(losses)
    settings = {"max_epochs": 9, "patience": 3, "learning_rate": 0.1} | options
    fitted = train(network, Epochs(list(targets)), script, Training(**settings), blocks=blocks)
    return network, fitted, script


def walk(n: int = 60, *, seed: int = 0, n_series: int = 2) -> pd.DataFrame:
    """Random walks."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n, name="day")
    parts = {
        f"s{i}": pd.DataFrame({"y": rng.normal(size=n).cumsum()}, index=days)
        for i in range(n_series)
    }
    return pd.concat(parts, names=["series"])


def waves(n: int = 80) -> pd.DataFrame:
    """A season that a small network learns in a few epochs."""
    t = np.arange(n)
    noise = np.random.default_rng(0).normal(size=n) * 0.05
    return pd.DataFrame({"y": np.sin(t * np.pi / 2) + noise}, index=pd.RangeIndex(n, name="t"))


def forecaster(*, random_state=0, verbose=0, **training) -> RecurrentForecaster:
    settings = {"max_epochs": 2, "batch_size": 8, "validation": None} | training
    return RecurrentForecaster(
        horizon=2,
        lookback=4,
        hidden_sizes=(3,),
        training=Training(**settings),
        random_state=random_state,
        verbose=verbose,
    )


def weights(model: RecurrentForecaster) -> dict[str, torch.Tensor]:
    return {k: w for net in model.networks_ for k, w in net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def callback(**hooks):
    """A Lightning callback from functions of the trainer."""
    import pytorch_lightning as pl

    made = type("Made", (pl.Callback,), {})()
    for name, function in hooks.items():
        setattr(made, name, lambda trainer, *rest, function=function: function(trainer))
    return made


# ------------------------------------------------------------------------------- which weights stay


def test_early_stopping_restores_the_best_weights_from_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, fitted, script = run([1.0, 0.5, 0.2, 0.6, 0.7, 0.8])
    assert fitted.best_epoch == 2
    assert fitted.stopped_by is None
    assert network.level.item() == script.seen[2] != script.seen[-1]
    assert len(script.seen) == 6  # stopped three epochs after the best one
    assert fitted.history["val_loss"] == [1.0, 0.5, 0.2, 0.6, 0.7, 0.8]
    assert fitted.history["epoch"] == [0, 1, 2, 3, 4, 5]
    assert not network.training
    assert list(tmp_path.iterdir()) == []


def test_patience_counts_from_the_best_epoch():
    _, fitted, _ = run([1.0, 0.5, 0.4, 0.6, 0.3, 0.9, 0.9], patience=2)
    assert fitted.best_epoch == 4
    assert fitted.history["epoch"][-1] == 6


def test_untrained_network_comes_back_when_no_epoch_beats_it():
    network, fitted, script = run([0.5, 0.9, 0.8, 0.85, 0.9, 0.95])
    assert fitted.best_epoch == 0
    assert network.level.item() == script.seen[0] == 0.0


def test_an_improvement_within_its_standard_error_is_none():
    rng = np.random.default_rng(0)
    before = rng.normal(size=50)
    gain = rng.normal(size=50)
    gain += -gain.mean() + 0.9 * gain.std(ddof=1) / np.sqrt(50)
    worse = before + 9
    for factor, epoch in [(1.0, 0), (1.3, 1)]:  # .9, then 1.17 standard errors
        after = before - (gain - gain.mean()) - factor * gain.mean()
        assert run([before, after, worse, worse, worse])[1].best_epoch == epoch


def test_the_standard_error_counts_blocks_not_origins():
    """Fifty copies of two opinions are two opinions."""
    before = np.zeros(100)
    after = np.repeat([-1.0, 0.2], 50)
    blocks = np.repeat([0, 1], 50)
    worse = before + 9
    losses = [before, after, worse, worse, worse]
    assert run(losses)[1].best_epoch == 1
    assert run(losses, blocks=blocks)[1].best_epoch == 0


def test_validation_origins_without_a_loss_do_not_count():
    before, after = np.array([1.0, np.nan, 1.0]), np.array([0.5, np.nan, 0.4])
    _, fitted, _ = run([before, after, before, before, before])
    assert fitted.best_epoch == 1
    assert fitted.history["val_loss"][1] == pytest.approx(0.45)


def test_pure_noise_keeps_the_baseline():
    model = forecaster(validation="time", max_epochs=6, learning_rate=0.02)
    panel = walk(150)
    model.fit(panel)
    assert model.best_epochs_ == [0]
    assert len(model.history_) > 1
    last = panel.groupby(level=0)["y"].last()
    np.testing.assert_allclose(model.predict()["forecast"], np.repeat(last, 2), rtol=1e-6)


def test_a_learnable_season_leaves_the_baseline():
    model = forecaster(validation="time", max_epochs=8, learning_rate=0.05, schedule=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(waves())
    best = model.best_epochs_[0]
    assert best > 0
    assert model.history_["val_loss"][best] == model.history_["val_loss"].min()
    assert model.history_["val_loss"][best] < 0.5 * model.history_["val_loss"][0]


def test_series_may_be_held_out_for_validation():
    panel = pd.concat({f"s{i}": waves() for i in range(5)}, names=["series"])
    model = forecaster(validation="series", max_epochs=4, learning_rate=0.05, schedule=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(panel)
    assert model.best_epochs_[0] > 0
    # the same sines on both sides: what is learned on one holds on the other
    np.testing.assert_allclose(
        model.history_["val_loss"][4], model.history_["train_loss"][4], atol=0.2
    )


def test_without_validation_the_last_epoch_counts_and_nothing_is_warned():
    network, fitted, _ = run(None, max_epochs=4)
    assert fitted.best_epoch == 4
    assert fitted.history["epoch"] == [0, 1, 2, 3, 4]
    assert network.level.item() > 0.3  # four epochs of two steps of .1, cosine
    assert np.isnan(fitted.history["val_loss"]).all()


def test_best_epoch_that_is_the_last_one_draws_a_convergence_warning():
    with pytest.warns(ConvergenceWarning, match=r"best epoch is the last one \(2\).*max_epochs"):
        run([1.0, 0.5, 0.2], max_epochs=2)


def test_best_epoch_before_the_last_one_draws_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run([1.0, 0.5, 0.6], max_epochs=2)


# ---------------------------------------------------------------------------------------- the steps


def test_cosine_schedule_falls_to_zero_over_the_epochs():
    _, fitted, _ = run(None, max_epochs=5)
    expected = 0.1 * (1 + np.cos(np.pi * np.arange(5) / 5)) / 2
    np.testing.assert_allclose(fitted.history["learning_rate"][1:], expected)
    assert np.isnan(fitted.history["learning_rate"][0])


def test_no_schedule_keeps_the_learning_rate():
    _, fitted, _ = run(None, max_epochs=3, schedule=None)
    assert fitted.history["learning_rate"][1:] == [0.1] * 3


@pytest.mark.parametrize("clip, norm", [(0.25, 0.25), (None, 10.0)])
def test_gradients_are_clipped_to_the_norm_given(clip, norm):
    network, norms = Level(), []

    def look(trainer):
        norms.append(float(network.level.grad.abs()))

    run(
        None,
        network=network,
        max_epochs=1,
        targets=[5.0],
        gradient_clip=clip,
        trainer_options={"callbacks": [callback(on_train_batch_end=look)]},
    )
    assert norms == [pytest.approx(norm, rel=1e-3)]  # the gradient of (5 - 0)^2 is -10


def test_weight_decay_pulls_weights_to_zero():
    options = {"targets": [3.0], "max_epochs": 1}  # one step, and its gradient is zero
    plain, _, _ = run(None, network=Level(3.0), **options)
    decayed, _, _ = run(None, network=Level(3.0), weight_decay=0.5, **options)
    assert plain.level.item() == 3.0
    assert decayed.level.item() == pytest.approx(3.0 * (1 - 0.1 * 0.5))


def test_every_epoch_is_run_to_its_end_even_if_it_is_shorter_than_announced():
    batches = Epochs([1.0, 2.0], more=3)
    fitted = train(Level(), batches, None, Training(max_epochs=3, learning_rate=1e-3))
    assert batches.begun == 3
    # mean loss of the two batches, at a level that hardly moved
    np.testing.assert_allclose(fitted.history["train_loss"][1:], 2.5, atol=0.05)
    assert len(set(fitted.history["learning_rate"][1:])) == 3


def test_a_batch_without_any_target_is_skipped():
    network, fitted, _ = run(None, max_epochs=1, targets=[float("nan"), 5.0, float("nan")])
    assert fitted.history["train_loss"][1] == pytest.approx(25.0)
    assert network.level.item() == pytest.approx(0.1, rel=1e-3)  # one step of Adam


class Weighted(Level):
    """The weight of each target comes with it."""

    def loss(self, x, z, weight, noise):
        return (z - self.level).abs() ** self.power, weight


def test_losses_count_by_their_weights_within_a_batch_and_over_an_epoch():
    batches = [([1.0, 3.0], [3.0, 1.0]), ([7.0], [0.5]), ([100.0], [0.0])]

    class Batches(Epochs):
        def __iter__(self):
            for targets, weights in batches:
                yield torch.zeros(1), torch.tensor(targets), torch.tensor(weights)

    network = Weighted()
    norms = []

    def look(trainer):
        if network.level.grad is not None:
            norms.append(float(network.level.grad))

    fitted = train(
        network,
        Batches([1.0] * 3),
        None,
        Training(
            max_epochs=1,
            learning_rate=1e-9,
            gradient_clip=None,
            trainer_options={"callbacks": [callback(on_train_batch_end=look)]},
        ),
    )
    assert fitted.history["train_loss"][1] == pytest.approx((3 * 1 + 1 * 9 + 0.5 * 49) / 4.5)
    # the gradient of a batch is that of its weighted mean, whatever the sum of its weights
    assert norms[:2] == pytest.approx([-2 * (3 * 1 + 1 * 3) / 4, -2 * 7])


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_averaging_keeps_the_running_mean_of_the_weights_over_steps(decay):
    network, levels = Level(), []
    callbacks = [callback(on_train_batch_end=lambda trainer: levels.append(network.level.item()))]
    run(
        None,
        network=network,
        max_epochs=4,
        targets=[5.0, -3.0, 8.0],
        averaging=decay,
        trainer_options={"callbacks": callbacks},
    )
    assert len(levels) == 12
    mean = 0.0
    for step, level in enumerate(levels, start=1):
        share = min(decay, (1 + step) / (10 + step))  # the first steps soon weigh little
        mean = share * mean + (1 - share) * level
    assert network.level.item() == pytest.approx(mean, rel=1e-5)
    assert abs(mean - levels[-1]) > 1e-3


def test_averaged_weights_are_what_is_validated_and_restored():
    losses = [1.0, 0.5, 0.2, 0.6, 0.7, 0.8]
    plain, _, seen = run(losses, schedule=None)
    averaged, fitted, means = run(losses, schedule=None, averaging=0.9)
    assert fitted.best_epoch == 2
    assert averaged.level.item() == means.seen[2]
    assert plain.level.item() == seen.seen[2]
    for mean, level in zip(means.seen[1:], seen.seen[1:]):
        assert 0 < mean < level  # it lags behind a weight that grows


def test_an_untrained_network_comes_back_from_averaging_too():
    network, fitted, _ = run([0.5, 0.9, 0.8, 0.85, 0.9, 0.95], averaging=0.9)
    assert fitted.best_epoch == 0
    assert network.level.item() == 0.0


def test_an_interrupt_keeps_the_averaged_weights_so_far():
    network, fitted, script = run(
        [1.0, 0.2, 0.6], trainer_options=interrupt_in_epoch(3), averaging=0.9
    )
    assert isinstance(fitted.stopped_by, KeyboardInterrupt)
    assert network.level.item() == script.seen[1]


def test_a_forecaster_is_trained_with_averaged_weights():
    panel = walk()
    options = {"max_epochs": 3, "learning_rate": 0.05}
    plain, averaged = forecaster(**options), forecaster(averaging=0.9, **options)
    spread = [
        model.fit(panel).networks_[0].decoder.weight.abs().max().item()
        for model in (plain, averaged)
    ]
    assert 0 < spread[1] < spread[0]  # it started at zero and lags behind
    assert same(weights(averaged), weights(clone(averaged).fit(panel)))


def test_history_is_a_frame_by_epoch_and_member():
    model = forecaster().set_params(n_members=2).fit(walk())
    assert list(model.history_.columns) == [
        "train_loss",
        "val_loss",
        "learning_rate",
        "seconds",
        "member",
    ]
    assert model.history_.index.name == "epoch"
    assert model.history_.index.tolist() == [0, 1, 2, 0, 1, 2]
    assert model.history_["member"].tolist() == [0, 0, 0, 1, 1, 1]
    assert (model.history_["seconds"] > 0).all()


# ------------------------------------------------------------------------------- what is not finite


def test_training_loss_that_is_not_finite_stops_with_advice():
    with pytest.raises(
        FloatingPointError,
        match=r"training loss became inf in epoch 2: expected a finite.*training__learning_rate",
    ):
        run(None, learning_rate=1e30, targets=[5.0])


def test_forecaster_passes_the_error_on_and_stays_unfitted():
    model = forecaster(learning_rate=1e30).set_params(head=Point("squared"))
    with pytest.raises(FloatingPointError, match="loss became .* Lower training__learning_rate"):
        model.fit(walk())
    with pytest.raises(ValueError, match="not fitted"):
        model.predict()


def test_validation_loss_that_is_not_finite_stops_with_advice():
    with pytest.raises(FloatingPointError, match="validation loss became inf in epoch 1.*finite"):
        run([1.0, np.inf])


def test_weights_that_are_not_finite_stop_training_without_validation():
    with pytest.raises(FloatingPointError, match="a weight became -?inf in epoch 1"):
        run(None, network=Level(3.0, power=0), weight_decay=1e40, max_epochs=1)


# --------------------------------------------------------------------------------------- interrupts


def interrupt_in_epoch(number: int) -> dict:
    def stop(trainer):
        if trainer.current_epoch + 1 == number:
            raise KeyboardInterrupt

    return {"callbacks": [callback(on_train_epoch_start=stop)]}


def test_an_interrupt_keeps_the_best_weights_so_far():
    network, fitted, script = run([1.0, 0.2, 0.6, 0.7], trainer_options=interrupt_in_epoch(4))
    assert isinstance(fitted.stopped_by, KeyboardInterrupt)
    assert fitted.best_epoch == 1
    assert network.level.item() == script.seen[1]


def test_an_interrupt_in_the_first_epoch_leaves_the_untrained_network():
    network, fitted, _ = run([1.0], trainer_options=interrupt_in_epoch(1))
    assert isinstance(fitted.stopped_by, KeyboardInterrupt)
    assert fitted.best_epoch == 0
    assert network.level.item() == 0.0


def test_an_interrupt_during_the_first_validation_is_no_other_error():
    def interrupt():
        raise KeyboardInterrupt

    _, fitted, _ = run([interrupt])
    assert isinstance(fitted.stopped_by, KeyboardInterrupt)
    assert fitted.history["epoch"] == []


def test_interrupted_fit_raises_again_and_predicts_with_the_weights_so_far():
    panel = waves()
    options = {"validation": "time", "learning_rate": 0.05, "schedule": None, "max_epochs": 9}
    model = forecaster(**options, trainer_options=interrupt_in_epoch(6))
    with pytest.raises(KeyboardInterrupt):
        model.fit(panel)
    assert model.interrupted_ is True
    assert model.history_.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert model.best_epochs_ == [int(model.history_["val_loss"].idxmin())]
    stopped_there = forecaster(**options | {"max_epochs": 5})
    with pytest.warns(ConvergenceWarning):
        stopped_there.fit(panel)
    assert stopped_there.interrupted_ is False
    assert same(weights(model), weights(stopped_there))
    pd.testing.assert_frame_equal(model.predict(), stopped_there.predict())


def test_an_interrupt_stops_the_members_that_follow():
    model = forecaster(trainer_options=interrupt_in_epoch(2)).set_params(n_members=3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(walk())
    assert len(model.networks_) == len(model.best_epochs_) == 1
    assert len(model.predict()) == 4


@pytest.fixture
def handlers():
    """Restore signal handlers, and start from those of an ordinary process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send_in_epoch(number: int, signum: int) -> dict:
    def send(trainer):
        if trainer.current_epoch + 1 == number:
            os.kill(os.getpid(), signum)

    return {"callbacks": [callback(on_train_epoch_start=send)]}


@pytest.mark.usefixtures("handlers")
def test_signals_stop_training_and_their_handlers_come_back():
    _, fitted, _ = run([1.0, 0.5, 0.4], trainer_options=send_in_epoch(3, signal.SIGINT))
    assert isinstance(fitted.stopped_by, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _, fitted, _ = run([1.0, 0.5, 0.4], trainer_options=send_in_epoch(3, signal.SIGTERM))
    assert isinstance(fitted.stopped_by, SystemExit)
    assert fitted.stopped_by.code == 143
    assert fitted.best_epoch == 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.usefixtures("handlers")
def test_termination_before_the_first_epoch_is_one_too():
    _, fitted, _ = run([lambda: os.kill(os.getpid(), signal.SIGTERM)])
    assert isinstance(fitted.stopped_by, SystemExit)
    assert fitted.stopped_by.code == 143
    assert fitted.best_epoch == 0


@pytest.mark.usefixtures("handlers")
def test_handlers_of_the_caller_are_used_and_left_in_place():
    calls = []

    def mine(number, frame):
        calls.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, mine)
    signal.signal(signal.SIGTERM, mine)
    _, fitted, _ = run([1.0, 0.5, 0.4], trainer_options=send_in_epoch(3, signal.SIGINT))
    assert isinstance(fitted.stopped_by, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is mine
    # Lightning stops after a SIGTERM that the handler let pass; it must not look like success
    _, fitted, _ = run([1.0, 0.5] + [0.4] * 8, trainer_options=send_in_epoch(2, signal.SIGTERM))
    assert isinstance(fitted.stopped_by, SystemExit)
    assert fitted.stopped_by.code == 143
    assert signal.getsignal(signal.SIGTERM) is mine
    assert calls == [signal.SIGINT, signal.SIGTERM]


@pytest.mark.usefixtures("handlers")
def test_an_exit_of_the_caller_keeps_its_code():
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    _, fitted, _ = run([1.0, 0.5, 0.4], trainer_options=send_in_epoch(3, signal.SIGTERM))
    assert isinstance(fitted.stopped_by, SystemExit)
    assert fitted.stopped_by.code == 1


def test_fit_works_outside_of_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(forecaster().fit(walk())))
    thread.start()
    thread.join(60)
    assert same(weights(found[0]), weights(forecaster().fit(walk())))


# ------------------------------------------------------------------------- steps on several threads


class Cells(nn.Module):
    """A small stack, read at its last rows; notes how many windows each call saw."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.cells = CellStack(2, (5, 4), dropout=dropout)
        self.side_by_side = self.cells.side_by_side
        self.out = nn.Linear(4, 1)
        self.unused = nn.Parameter(torch.ones(3))
        self.seen: list[int] = []

    def noise(self, batch):
        return self.cells.noise(batch[0].x)

    def loss(self, windows, weight, noise):
        self.seen.append(len(windows.x))
        states, _ = self.cells(windows.x, noise=noise)
        return (self.out(states)[:, -3:, 0] - windows.z).square(), weight


class Example(NamedTuple):
    x: torch.Tensor
    z: torch.Tensor


class Examples:
    """Batches of 138 windows of 60 rows, which are four pieces, and one that is a single piece."""

    def __init__(self, sizes=(138, 138, 20, 138), *, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.batches = []
        for n in sizes:
            x = torch.randn(n, 60, 2, generator=draw)
            weight = torch.rand(n, 3, generator=draw) * (torch.rand(n, 3, generator=draw) < 0.8)
            self.batches.append((Example(x, x[:, -3:, 0] ** 2), weight))

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


@pytest.fixture
def threads():
    """Set torch's number of threads, and put it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def fit_cells(*, dropout=0.0, sizes=(138, 138, 20, 138), **options):
    """A network trained from a fixed seed."""
    with isolated_randomness(0, torch.device("cpu")):
        network = Cells(dropout=dropout)
        settings = {"max_epochs": 2, "schedule": None, "learning_rate": 0.01} | options
        fitted = train(network, Examples(sizes), None, Training(**settings))
    return network, fitted


def by_hand(*, dropout=0.0, every=1, weight_decay=0.0):
    """The same with whole batches, in a plain loop."""
    with isolated_randomness(0, torch.device("cpu")):
        network = Cells(dropout=dropout).train()
        optimiser = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=weight_decay)
        for _ in range(2):
            for index, batch in enumerate(Examples()):
                loss, weight = network.loss(*batch, noise=network.noise(batch))
                ((loss * weight).sum() / weight.sum() / every).backward()
                if (index + 1) % every == 0:
                    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                    optimiser.step()
                    optimiser.zero_grad()
    return network


def assert_near(one: nn.Module, two: nn.Module) -> None:
    for (name, mine), theirs in zip(one.state_dict().items(), two.state_dict().values()):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_steps_in_pieces_equal_those_of_whole_batches(threads, dropout, n_threads):
    threads(n_threads)
    network, _ = fit_cells(dropout=dropout)
    assert_near(network, by_hand(dropout=dropout))
    # 138 windows in four pieces, 20 in one
    assert sorted(set(network.seen)) == [20, 33, 35]
    assert sum(network.seen) == 2 * (3 * 138 + 20)


def test_weights_do_not_depend_on_the_number_of_threads(threads):
    found = []
    for n_threads in (1, 2, 3):
        threads(n_threads)
        network, fitted = fit_cells(dropout=0.4)
        found.append(
            network.state_dict() | {"loss": torch.tensor(fitted.history["train_loss"][1:])}
        )
        assert torch.get_num_threads() == n_threads
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    threads(2)
    assert not same(found[0], fit_cells(dropout=0.3)[0].state_dict())


def test_a_forecaster_does_not_depend_on_the_number_of_threads(threads):
    found = []
    for n_threads in (1, 2):
        threads(n_threads)
        model = RecurrentForecaster(
            horizon=2,
            lookback=30,
            hidden_sizes=(4, 3),
            dropout=0.3,
            training=Training(max_epochs=2, origins=1, batch_size=128, learning_rate=0.05),
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(walk(1500, n_series=1).droplevel(0))
        found.append((weights(model), model.history_.drop(columns="seconds"), model.predict()))
    assert same(found[0][0], found[1][0])
    pd.testing.assert_frame_equal(found[0][1], found[1][1], check_exact=True)
    pd.testing.assert_frame_equal(found[0][2], found[1][2], check_exact=True)


def test_gradients_accumulate_over_batches_in_pieces(threads):
    threads(2)
    network, _ = fit_cells(trainer_options={"accumulate_grad_batches": 2})
    assert_near(network, by_hand(every=2))


def test_a_weight_without_a_gradient_is_left_alone(threads):
    threads(2)
    network, _ = fit_cells(weight_decay=0.5)
    assert_near(network, by_hand(weight_decay=0.5))
    assert torch.equal(network.unused, torch.ones(3))


def test_mixed_precision_takes_whole_batches(threads):
    threads(2)
    network, fitted = fit_cells(trainer_options={"precision": "bf16-mixed"})
    assert sorted(set(network.seen)) == [20, 138]
    assert np.isfinite(fitted.history["train_loss"][1:]).all()


def test_an_error_in_a_piece_is_raised_and_the_threads_come_back(threads):
    threads(2)
    network = Cells()

    def fails(*batch, noise):
        raise LookupError("no loss")

    network.loss = fails
    with pytest.raises(LookupError, match="no loss"):
        train(network, Examples(), None, Training(max_epochs=1))
    assert torch.get_num_threads() == 2
    assert list(in_order(abs, [-1, -2])) == [1, 2]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("signum, stop", [(signal.SIGINT, KeyboardInterrupt), (15, SystemExit)])
def test_signals_in_the_middle_of_a_step_stop_training(threads, signum, stop):
    threads(2)
    network = Cells()
    loss = network.loss

    def signals(*batch, noise):
        if len(network.seen) == 10:
            os.kill(os.getpid(), signum)
            time.sleep(0.2)
        return loss(*batch, noise=noise)

    network.loss = signals
    fitted = train(network, Examples((138,) * 50), None, Training(max_epochs=1))
    assert isinstance(fitted.stopped_by, stop)
    assert fitted.best_epoch == 0
    assert len(network.seen) < 20
    assert torch.get_num_threads() == 2


def test_a_loss_that_is_not_finite_stops_long_before_the_end_of_a_long_epoch():
    class Counted(Epochs):
        given = 0

        def __iter__(self):
            for batch in super().__iter__():
                self.given += 1
                yield batch

    batches = Counted([5.0] * 2000)
    with pytest.raises(FloatingPointError, match="training loss became inf in epoch 1"):
        train(Level(), batches, None, Training(max_epochs=1, learning_rate=1e30))
    assert batches.given < 500


@pytest.mark.parametrize(
    "n_windows, n_rows, sizes",
    [
        (64, 127, [32, 32]),  # many origins
        (256, 60, [64] * 4),  # classical windows
        (1024, 60, [64] * 16),
        (64, 60, [32, 32]),
        (128, 60, [64, 64]),
        (150, 60, [38, 38, 38, 36]),
        (16, 127, [16]),
        (64, 10, [64]),
        (3, 5000, [1, 1, 1]),
        (1, 100_000, [1]),
    ],
)
def test_batches_are_cut_by_their_shape(n_windows, n_rows, sizes):
    batch = (Example(torch.zeros(n_windows, n_rows, 1), torch.zeros(n_windows)), torch.zeros(1))
    chunks = _chunks(batch)
    assert [chunk.stop - chunk.start for chunk in chunks[:-1]] == sizes[:-1]
    assert n_windows - chunks[-1].start == sizes[-1]
    assert [chunk.start for chunk in chunks[1:]] == [chunk.stop for chunk in chunks[:-1]]


@pytest.mark.parametrize(
    "n_windows, n_rows, sizes",
    [
        (64, 60, [32, 32]),
        (64, 1000, [32, 32]),
        (256, 300, [32] * 8),
        (100, 1000, [50, 50]),
        (300, 300, [38] * 7 + [34]),
        (16, 1000, [8, 8]),  # still one for each of two threads
        (16, 127, [16]),
        (3, 5000, [2, 1]),
    ],
)
@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_cells_that_torch_steps_through_run_many_windows_side_by_side(
    cell, n_windows, n_rows, sizes
):
    least = CellStack(1, (2,), cell=cell).side_by_side
    chunks = _chunks((torch.zeros(n_windows, n_rows, 1),), least)
    assert [min(c.stop, n_windows) - c.start for c in chunks] == sizes


def test_a_fit_leaves_the_torch_threads_of_threads_to_come(threads):
    threads(3)
    fit_cells()
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [3]


# ----------------------------------------------------------------------------------- manners of fit


def state() -> dict:
    names = ("pytorch_lightning", "lightning_fabric", "torch", "py.warnings", "tsforecast")
    return {
        "random": random.getstate(),
        "numpy": repr(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "environment": dict(os.environ),
        "filters": list(warnings.filters),
        "levels": {name: logging.getLogger(name).level for name in names},
        "root": (logging.root.level, list(logging.root.handlers)),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "gradients": torch.is_grad_enabled(),
        "precision": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def test_fit_and_predict_leave_every_global_state_as_it_was():
    forecaster().fit(walk())  # imports are looked at in a fresh process below
    before = state()
    model = forecaster(validation="time").set_params(dropout=0.2, hidden_sizes=(3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(walk()).predict()
    model.score(walk(70))
    after = state()
    assert [name for name in before if before[name] != after[name]] == []


def test_state_is_restored_after_an_error_too():
    before = state()
    with pytest.raises(FloatingPointError):
        run(None, learning_rate=1e30, targets=[5.0])
    after = state()
    assert [name for name in before if before[name] != after[name]] == []


def test_isolated_randomness_seeds_a_block_and_restores():
    before = torch.get_rng_state()
    with isolated_randomness(3, torch.device("cpu")):
        first = torch.rand(4)
    with isolated_randomness(3, torch.device("cpu")):
        assert torch.equal(torch.rand(4), first)
    with isolated_randomness(4, torch.device("cpu")):
        assert not torch.equal(torch.rand(4), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_same_seed_gives_the_same_weights_bit_for_bit():
    panel = walk()
    first = forecaster().set_params(dropout=0.3, hidden_sizes=(3, 3))
    torch.manual_seed(1)
    one = weights(clone(first).fit(panel))
    torch.manual_seed(2)
    np.random.seed(2)
    two = weights(clone(first).fit(panel))
    assert same(one, two)
    other = weights(clone(first).set_params(random_state=1).fit(panel))
    assert not same(one, other)


def test_members_start_from_different_seeds():
    model = forecaster().set_params(n_members=2).fit(walk())
    a, b = (network.state_dict() for network in model.networks_)
    assert not same(a, b)


def test_silence_prints_nothing_and_writes_no_file(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forecaster(max_epochs=3).fit(walk()).predict()
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_verbose_is_silent_where_nobody_watches(capfd):
    pytest.importorskip("ipykernel.kernelapp")  # imported, but this is no notebook
    forecaster(verbose=1).fit(walk())
    assert capfd.readouterr() == ("", "")


CHILD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
sys.path.insert(0, {tests!r})
import test_training as t
panel = t.walk()
"""
FRESH = """
import json
t.logging.getLogger("lightning_fabric"), t.logging.getLogger("pytorch_lightning")
before = t.state()
t.forecaster().fit(panel)
after = t.state()
names = ("lightning_fabric", "pytorch_lightning")
for name in names:  # its import sets its own loggers
    before["levels"][name] = after["levels"][name]
report = {"changed": [name for name in before if before[name] != after[name]]}
t.forecaster(verbose=1).fit(panel)
model = t.forecaster(max_epochs=9, trainer_options=t.send_in_epoch(3, signal.SIGINT))
try:
    model.fit(panel)
except KeyboardInterrupt:
    report["epochs"] = model.history_.index.tolist()
    report["interrupted"] = model.interrupted_
    report["rows"] = len(model.predict())
print(json.dumps(report), flush=True)
t.forecaster(max_epochs=9, trainer_options=t.send_in_epoch(3, signal.SIGTERM)).fit(panel)
print("not reached")
"""
TERMINAL = """
t.forecaster().fit(panel)
print("quiet so far", file=sys.stderr)
t.forecaster(verbose=1, max_epochs=3).fit(panel)
"""


def child(code: str) -> list[str]:
    return [sys.executable, "-c", CHILD.format(tests=str(ROOT / "tests")) + code]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_fresh_process_is_silent_and_answers_signals(tmp_path):
    """SIGINT is a KeyboardInterrupt with a usable model, SIGTERM ends with 143; no litter."""
    done = subprocess.run(
        child(FRESH),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "changed": [],
        "epochs": [0, 1, 2],
        "interrupted": True,
        "rows": 4,
    }
    assert done.returncode == 143
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_shows_a_bar_if_verbose_and_nothing_if_not(tmp_path):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        child(TERMINAL), stdout=slave, stderr=slave, cwd=tmp_path, env=environment()
    )
    os.close(slave)
    shown, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([master], [], [], 1)[0]:
            try:
                part = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(master)
    assert process.wait(60) == 0
    before, after = shown.decode().split("quiet so far")
    assert before == ""
    assert "epochs" in after
    assert "0/3" in after


# ----------------------------------------------------------------------------- parameters, searches


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("max_epochs", 0, "a whole number of at least 1, found 0"),
        ("max_epochs", 2.5, "a whole number of at least 1, found 2.5"),
        ("batch_size", True, "a whole number of at least 1, found True"),
        ("patience", -1, "a whole number of at least 1, found -1"),
        ("origins", "many", "a whole number of at least 1, found 'many'"),
        ("schedule", "step", r"one of \['cosine', None\], found 'step'"),
        ("init", "zeros", r"one of .*'keras'.*, found 'zeros'"),
        ("validation", "rows", r"one of \['auto', 'time', 'series', None\], found 'rows'"),
        ("accelerator", "tpu", r"one of .*'cpu'.*, found 'tpu'"),
        ("learning_rate", 0, "a number above 0, found 0"),
        ("learning_rate", float("nan"), "a number above 0, found nan"),
        ("learning_rate", "fast", "a number above 0, found 'fast'"),
        ("weight_decay", -0.1, "0 or more, found -0.1"),
        ("gradient_clip", 0.0, "a number above 0, or None, found 0.0"),
        ("averaging", 0, r"a number in \(0, 1\), or None, found 0"),
        ("averaging", 1.0, r"a number in \(0, 1\), or None, found 1.0"),
        ("averaging", "ema", r"a number in \(0, 1\), or None, found 'ema'"),
        ("validation_size", 1.0, r"a share in \(0, 1\), found 1.0"),
        ("validation_size", None, r"a share in \(0, 1\), found None"),
        ("trainer_options", ["logger"], r"a dict or None, found \['logger'\]"),
    ],
)
def test_parameters_out_of_range_are_refused_by_fit_not_before(name, value, message):
    training = Training(**{name: value})
    with pytest.raises(ValueError, match=f"parameter '{name}': expected {message}"):
        training.check()
    with pytest.raises(ValueError, match=f"parameter '{name}'"):
        forecaster().set_params(training=training).fit(walk())


def test_training_must_be_a_training():
    with pytest.raises(ValueError, match=r"parameter 'training': expected a Training.*'fast'"):
        forecaster().set_params(training="fast").fit(walk())


def test_clone_and_parameters_go_through_the_forecaster():
    options = {"callbacks": [callback()]}
    model = forecaster(learning_rate=0.5, trainer_options=options)
    assert model.get_params()["training__learning_rate"] == 0.5
    copy = clone(model)
    assert copy.training is not model.training
    assert repr(copy.training) == repr(model.training) or copy.training.trainer_options
    copy.set_params(training__max_epochs=7)
    assert (copy.training.max_epochs, model.training.max_epochs) == (7, 2)


def test_fit_does_not_change_its_parameters():
    model = forecaster()
    before = repr(model.get_params())
    model.fit(walk())
    assert repr(model.get_params()) == before


@pytest.mark.parametrize("cv", [RollingOrigin(2, 3), [(np.arange(40), np.arange(50))]], ids=type)
def test_epochs_reach_a_grid_search(cv):
    search = GridSearchCV(forecaster(), {"training__max_epochs": [1, 3]}, cv=cv)
    search.fit(walk(50, n_series=1).droplevel(0))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_params_["training__max_epochs"]
    assert search.best_estimator_.history_.index.max() == best
    assert len(search.predict(None)) == 2
