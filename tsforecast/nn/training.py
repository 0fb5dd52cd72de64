"""`Training`: how to fit, and the loop that does it (the only file that names Lightning)."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import math
import numbers
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from tsforecast._checks import bad_parameter, callers_level, choice, positive_int
from tsforecast._progress import progress_bar, report_epoch
from tsforecast.data.panel import Floats, Ints
from tsforecast.nn.cells import INITS
from tsforecast.nn.ranks import Ranks, ranks
from tsforecast.nn.threads import in_order, torch_threads

__all__ = ["Fitted", "Network", "Training", "isolated_randomness", "train"]


class Training(BaseEstimator):
    """How to fit a network; one small object shared by all recurrent estimators.

    Its parameters reach a grid search as ``training__max_epochs`` and so on.

    Parameters
    ----------
    max_epochs : int
        Most passes over the training origins (see `tsforecast.data.windows` for what an epoch
        is).
    batch_size : int
        Windows per gradient step; fewer where an epoch would have under eight steps.
    learning_rate : float
        Of Adam (Kingma and Ba 2015).
    weight_decay : float
        Decoupled (AdamW, Loshchilov and Hutter 2019); 0 is plain Adam.
    schedule : {"cosine", None}
        Cosine falls to zero over `max_epochs`.
    gradient_clip : float or None
        Largest norm of the gradient.
    averaging : float or None
        Decay of a running mean of the weights over gradient steps, in (0, 1), which is then what
        is validated and kept; 0.99 smooths the last hundred steps.
    origins : "auto" or int
        Origins per training window; 1 is the classical window.
    init : {"keras", "torch", "chrono"}
        Where the weights start (see `CellStack`). With "chrono" the units' memory spreads over 2
        rows to the estimator's `lookback`.
    validation : {"auto", "time", "series", None}
        "time" holds out the last `validation_size` of the rows for early stopping; the rows
        trained on end before. "series" holds out whole series, drawn at random (all series of a
        group together, see `group` of the estimator). "auto" is "series" for event classifiers,
        whose series are stays, else "time". None trains `max_epochs` on all rows.
    validation_size : float
        Share of the rows, or of the series, in (0, 1).
    patience : int
        Epochs without improvement on validation before training stops.
    accelerator : {"auto", "cpu", "cuda", "mps"}
        "auto" is CUDA where there is one, else CPU; MPS only by name.
    trainer_options : dict, optional
        Passed to `pytorch_lightning.Trainer`.

    Examples
    --------
    >>> Training(max_epochs=5).max_epochs
    5
    """

    def __init__(
        self,
        *,
        max_epochs: int = 50,
        batch_size: int = 64,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        schedule: Literal["cosine"] | None = "cosine",
        gradient_clip: float | None = 1.0,
        averaging: float | None = None,
        origins: int | Literal["auto"] = "auto",
        init: Literal["keras", "torch", "chrono"] = "keras",
        validation: Literal["auto", "time", "series"] | None = "auto",
        validation_size: float = 0.2,
        patience: int = 10,
        accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        trainer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.gradient_clip = gradient_clip
        self.averaging = averaging
        self.origins = origins
        self.init = init
        self.validation = validation
        self.validation_size = validation_size
        self.patience = patience
        self.accelerator = accelerator
        self.trainer_options = trainer_options

    def check(self) -> None:
        """Raise ValueError for a parameter that cannot be used; `fit` calls this first."""
        for name in ("max_epochs", "batch_size", "patience"):
            positive_int(name, getattr(self, name))
        if self.origins != "auto":
            positive_int("origins", self.origins)
        choice("schedule", self.schedule, ("cosine", None))
        choice("init", self.init, INITS)
        choice("validation", self.validation, ("auto", "time", "series", None))
        choice("accelerator", self.accelerator, ("auto", "cpu", "cuda", "mps"))
        self._check("learning_rate", "a number above 0", lambda value: value > 0)
        self._check("weight_decay", "0 or more", lambda value: value >= 0)
        self._check("validation_size", "a share in (0, 1)", lambda value: 0 < value < 1)
        if self.gradient_clip is not None:
            self._check("gradient_clip", "a number above 0, or None", lambda value: value > 0)
        if self.averaging is not None:
            self._check("averaging", "a number in (0, 1), or None", lambda value: 0 < value < 1)
        if not isinstance(self.trainer_options, Mapping | None):
            raise bad_parameter(
                "trainer_options", expected="a dict or None", found=self.trainer_options
            )
        owned = {"max_epochs", "accelerator", "gradient_clip_val"} & set(self.trainer_options or ())
        if owned:
            raise bad_parameter(
                "trainer_options",
                expected="options that Training has no parameter for",
                found=sorted(owned),
            )

    def _check(self, name: str, expected: str, fits: Callable[[float], bool]) -> None:
        value = getattr(self, name)
        if not isinstance(value, numbers.Real) or not fits(float(value)):
            raise bad_parameter(name, expected=expected, found=value)

    def resolved(self, auto: Literal["time", "series"]) -> Training:
        """Give it with the validation that "auto" stands for."""
        if self.validation != "auto":
            return self
        return Training(**{**self.get_params(deep=False), "validation": auto})

    def device(self) -> torch.device:
        """Device that training runs on."""
        if self.accelerator == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.accelerator)


class Network(Protocol):
    """What `train` needs of a network, besides being a torch module.

    Attributes
    ----------
    side_by_side : int
        Windows that a call should have, at least; 0: any number. See `CellStack`.
    """

    side_by_side: int

    def noise(self, batch: Any) -> tuple[Tensor, ...]:
        """Random numbers that `loss` of a batch needs, with the batch as first dimension."""

    def loss(self, *batch: Any, noise: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Losses and their weights, in tensors of the same shape; weight 0 where unknown."""


class Pooled(Protocol):
    """What `train` needs of a network whose loss is of a batch as a whole, such as a Sharpe ratio.

    It stands in place of `Network.loss`.
    """

    side_by_side: int

    def noise(self, batch: Any) -> tuple[Tensor, ...]:
        """As of `Network`."""

    def sums(self, *batch: Any, noise: tuple[Tensor, ...]) -> Tensor:
        """Sums over a batch, (m,), which add up over pieces of it; the last is its weight."""

    def pooled(self, sums: Tensor) -> Tensor:
        """Loss of a batch, from its sums."""


class Batches(Protocol):
    """Batches of one epoch; each iteration is a new epoch.

    A batch is a tuple of tensors, or of tuples of them, whose first dimension is the window; the
    first tensor is (B, T, ...).
    """

    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Fitted:
    """What `train` reports.

    Attributes
    ----------
    history : dict of str to list
        Per epoch: epoch, train_loss, val_loss, learning_rate, seconds. Epoch 0 is the untrained
        network, that is the baseline.
    best_epoch : int
        The epoch whose weights the network holds now.
    stopped_by : BaseException or None
        KeyboardInterrupt or SystemExit(143), for the caller to raise once it has kept the
        weights.
    """

    history: dict[str, list[float]]
    best_epoch: int
    stopped_by: BaseException | None


# initial weights and dropout come from torch's generator, of which the process has one; and a fit
# uses all threads anyway
_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def isolated_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch for a block and leave its global state as it was; one thread at a time."""
    devices = [device] if device.type == "cuda" else []
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=devices):
        # torch.manual_seed would move the generators of all devices
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield


def train(
    network: nn.Module,
    batches: Batches,
    validation: Callable[[nn.Module], Floats] | None,
    training: Training,
    *,
    blocks: Ints | None = None,
    errors: float = 1.0,
    verbose: int = 0,
) -> Fitted:
    """Fit `network` in place and leave its best weights in it, on the CPU, in eval mode.

    Early stopping counts on the mean validation loss.  The untrained network is a candidate: its
    weights come back unless the best epoch beats it by more than the standard error of the
    difference, or several of them.

    Parameters
    ----------
    network : Module
        Has ``side_by_side``, ``noise(batch)`` and ``loss(*batch, noise=...)`` (see `Network`), or
        in place of the latter ``sums(*batch, noise=...)`` and ``pooled(sums)`` (see `Pooled`).
    batches : Batches
        Training batches.
    validation : callable, optional
        Gives the loss of every validation origin, (n,), NaN where unknown. None: no early
        stopping; the last epoch's weights count.
    training : Training
        How to.
    blocks : ndarray of int64, shape (n,), optional
        Validation origins whose losses depend on each other share a number: the standard error
        counts blocks. Default: each its own.
    errors : float
        Standard errors by which the best epoch must beat the untrained network.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    Fitted

    Raises
    ------
    FloatingPointError
        If loss or weights stop being finite.
    """
    with _quiet_lightning():
        import pytorch_lightning as pl  # seconds, the first time: not on the bar's clock

    device, company = training.device(), ranks()
    _check_company(company, training, device)
    averaged = None if training.averaging is None else copy.deepcopy(network)
    kept = network if averaged is None else averaged
    n_threads = torch.get_num_threads()
    watch = _Watch(kept, validation, training, n_threads, company)
    bar = progress_bar(total=training.max_epochs, description="epochs", verbose=verbose)
    stopped: BaseException | None = None
    options: dict[str, Any] = {
        "max_epochs": training.max_epochs,
        "accelerator": "gpu" if device.type == "cuda" else device.type,
        "devices": [company.local] if device.type == "cuda" and company.size > 1 else 1,
        "gradient_clip_val": training.gradient_clip,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 0,
        **(training.trainer_options or {}),
    }
    try:
        # one thread: what the caller's does between the pieces of a step is too small for more
        with _quiet_lightning(), bar, _termination_as_exception(), torch_threads(1):
            watch.bar = bar
            trainer = pl.Trainer(**options)
            network.to(device)
            kept.to(device)
            watch.validate(epoch=0, train_loss=float("nan"), learning_rate=float("nan"))
            loop = _loop(network, averaged, training, watch, n_threads, company)
            trainer.fit(loop, train_dataloaders=batches)
    except KeyboardInterrupt as stop:
        stopped = stop
    except SystemExit as stop:
        # Lightning turns KeyboardInterrupt into SystemExit(1), and a SIGTERM that a caller's own
        # handler let pass into an exit without a code
        if isinstance(stop.__context__, KeyboardInterrupt):
            stopped = KeyboardInterrupt()
        else:
            stopped = stop if stop.code is not None else SystemExit(_TERMINATED)
    network.cpu()
    best = watch.restore_best(blocks, errors)
    if averaged is not None:
        network.load_state_dict(averaged.state_dict())
    if stopped is None:  # others may be no more
        company.copy_first(network)
    network.eval()
    last = len(watch.rows) - 1
    if stopped is None and validation is not None and best == last > 0:
        warnings.warn(
            f"The best epoch is the last one ({last}): training may not have converged. "
            "Raise max_epochs.",
            ConvergenceWarning,
            stacklevel=callers_level(),
        )
    return Fitted(watch.history(), best, stopped)


def _check_company(company: Ranks, training: Training, device: torch.device) -> None:
    """Refuse what several processes cannot do together."""
    if company.size == 1:
        return
    if device.type == "cuda" and company.local >= torch.cuda.device_count():
        raise bad_parameter(
            "accelerator",
            expected="a CUDA device for each process of a machine",
            found=torch.cuda.device_count(),
            advice="Start fewer processes, or name accelerator='cpu'.",
        )
    options = training.trainer_options or {}
    owned = {"devices", "num_nodes", "strategy"} & set(options)
    # a step that overflows would be left out by some processes and taken by others
    if owned or str(options.get("precision")).startswith("16"):
        raise bad_parameter(
            "trainer_options",
            expected="no devices, num_nodes, strategy, nor 16 bits, where several processes fit",
            found=dict(options),
        )


class _Watch:
    """Validation after each epoch: history, best weights in memory, when to stop."""

    def __init__(
        self,
        network: nn.Module,
        validation: Callable[[nn.Module], Floats] | None,
        training: Training,
        n_threads: int,
        company: Ranks,
    ) -> None:
        self.network = network
        self.company = company
        self.n_threads = n_threads
        self.validation = validation
        self.patience = training.patience
        self.bar: Any = None
        self.rows: list[tuple[float, ...]] = []
        self.untrained: tuple[dict[str, Tensor], Floats] | None = None
        self.best: tuple[int, float, dict[str, Tensor], Floats] | None = None
        self._since = time.perf_counter()

    def validate(self, *, epoch: int, train_loss: float, learning_rate: float) -> bool:
        """Write down an epoch; True if training should stop."""
        losses = np.zeros(0)
        value = float("nan")
        if self.validation is not None:
            self.network.eval()
            with torch.inference_mode(), torch_threads(self.n_threads):
                losses = self._agreed(self.validation(self.network))
            value = float(np.nanmean(losses))
            self.network.train()
        now = time.perf_counter()
        self.rows.append((epoch, train_loss, value, learning_rate, now - self._since))
        self._since = now
        for weight in self.network.parameters():
            wrong = weight.detach()[~weight.isfinite()]
            if len(wrong):
                raise FloatingPointError(_not_finite("a weight", float(wrong[0]), epoch))
        if self.validation is None:  # the newest epoch counts
            self.best = (epoch, value, self._weights(), losses)
        elif not np.isfinite(value):
            raise FloatingPointError(_not_finite("validation loss", value, epoch))
        elif epoch == 0:
            self.untrained = (self._weights(), losses)
        elif self.best is None or value < self.best[1]:
            self.best = (epoch, value, self._weights(), losses)
        if self.bar is not None and epoch > 0:
            self.bar.update()
            self.bar.set_postfix_str(f"train {train_loss:.4g}, validation {value:.4g}")
        if self.validation is not None and epoch > 0:
            report_epoch(epoch, value, self.rows[0][2])
        return (
            self.validation is not None
            and self.best is not None
            and epoch - self.best[0] >= self.patience
        )

    def _agreed(self, own: Floats) -> Floats:
        """Losses of rank 0, by which all processes decide alike."""
        losses = self.company.from_first(own)
        if self.company.size > 1 and (
            np.shape(losses) != np.shape(own)
            or not np.allclose(own, losses, rtol=1e-3, atol=1e-3, equal_nan=True)
        ):
            raise RuntimeError(
                f"process {self.company.rank} has another validation loss than process 0: "
                f"expected {np.nanmean(losses):.6g}, found {np.nanmean(own):.6g}. Fit the same "
                "estimator, with a random_state, on the same panel in all of them."
            )
        return losses

    def history(self) -> dict[str, list[float]]:
        """Columns of the rows written down."""
        names = ("epoch", "train_loss", "val_loss", "learning_rate", "seconds")
        return {name: [row[j] for row in self.rows] for j, name in enumerate(names)}

    def restore_best(self, blocks: Ints | None, errors: float) -> int:
        """Put the best weights back; give their epoch."""
        if self.best is None:
            if self.untrained is not None:
                self.network.load_state_dict(self.untrained[0])
            return 0
        epoch, _, weights, losses = self.best
        if self.untrained is not None and not _improves(
            self.untrained[1], losses, blocks, errors=errors
        ):
            epoch, weights = 0, self.untrained[0]
        self.network.load_state_dict(weights)
        return epoch

    def _weights(self) -> dict[str, Tensor]:
        return {name: w.detach().cpu().clone() for name, w in self.network.state_dict().items()}


def _improves(before: Floats, after: Floats, blocks: Ints | None, *, errors: float = 1.0) -> bool:
    """Whether the mean loss fell by more than so many standard errors over blocks."""
    gain = before - after
    known = np.isfinite(gain)
    gain, block = gain[known], (np.arange(len(before)) if blocks is None else blocks)[known]
    _, number = np.unique(block, return_inverse=True)
    size = np.bincount(number)
    n = len(size)
    if n < 2:
        return bool(gain.mean() > 0)
    # ratio estimator: blocks may hold different numbers of origins
    residual = np.bincount(number, weights=gain - gain.mean())
    error = np.sqrt((residual**2).sum() * n / (n - 1)) / len(gain)
    return bool(gain.mean() > errors * error)


def _not_finite(what: str, value: float, epoch: int) -> str:
    return (
        f"{what} became {value} in epoch {epoch}: expected a finite number. Lower "
        "training__learning_rate, scale the inputs (SeriesScaler), or look for extreme values "
        "in the data."
    )


def _learning_rate(training: Training, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0."""
    if training.schedule is None:
        return training.learning_rate
    # not a torch scheduler: Lightning forgets to step it in epochs shorter than their `len`
    return training.learning_rate * (1 + math.cos(math.pi * epoch / training.max_epochs)) / 2


def _sums(network: Any, batch: Any, noise: Any) -> tuple[Tensor, Tensor]:
    """Weighted sum of a batch's losses, and sum of the weights."""
    if _is_pooled(network):
        return _weighed(network, network.sums(*batch, noise=noise))
    loss, weight = network.loss(*batch, noise=noise)
    return (loss * weight).sum(), weight.sum()


def _is_pooled(network: Any) -> bool:
    return hasattr(network, "pooled")


def _weighed(network: Any, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of a batch as a whole times its weight, and the weight."""
    weight = sums[-1].detach()
    return network.pooled(sums) * weight, weight


def _pooled_of_chunks(
    network: Any,
    batch: Any,
    noise: Any,
    chunks: list[slice],
    n_threads: int,
    total_of: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> tuple[Tensor, Tensor]:
    """`_sums_of_chunks` of a loss that is no sum: its slopes are known once all pieces have run.

    Loss and weight are those of the whole batch, whose sums `total_of` gives from a share of it.
    """
    parameters = [weight for weight in network.parameters() if weight.requires_grad]

    def run(rows: slice) -> Tensor:
        with torch.enable_grad():
            sums: Tensor = network.sums(*_cut(batch, rows), noise=_cut(noise, rows))
        return sums

    pieces = list(in_order(run, chunks, n_threads=n_threads))
    own = functools.reduce(torch.add, [piece.detach() for piece in pieces])
    total = total_of(own).requires_grad_()
    with torch.enable_grad():
        loss, weight = _weighed(network, total)
        (slopes,) = torch.autograd.grad(loss, total)

    def back(sums: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(sums, parameters, slopes, allow_unused=True)

    gradients = functools.reduce(_added, in_order(back, pieces, n_threads=n_threads))
    known: Tensor = _Known.apply(loss.detach(), list(gradients), *parameters)  # type: ignore[no-untyped-call]
    return known, weight


def _sums_of_chunks(
    network: Any, batch: Any, noise: Any, chunks: list[slice], n_threads: int
) -> tuple[Tensor, Tensor]:
    """`_sums` with its gradients known already, from pieces of the batch on several threads."""
    parameters = [weight for weight in network.parameters() if weight.requires_grad]

    def piece(rows: slice) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            loss, weight = _sums(network, _cut(batch, rows), _cut(noise, rows))
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        return loss.detach(), weight, *gradients

    pieces = in_order(piece, chunks, n_threads=n_threads)
    loss, weight, *gradients = functools.reduce(_added, pieces)
    known: Tensor = _Known.apply(loss, gradients, *parameters)  # type: ignore[no-untyped-call]
    return known, cast(Tensor, weight)


class _Known(torch.autograd.Function):
    """A loss whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], *_: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:
        return None, None, *(None if g is None else g * scale for g in ctx.gradients)


def _added(
    one: tuple[Tensor | None, ...], two: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    return tuple(b if a is None else a if b is None else a + b for a, b in zip(one, two))


def _share(batch: Any, noise: Any, company: Ranks) -> tuple[Any, Any, bool]:
    """Windows of a batch that are this process's, and whether they count.

    Where there are fewer windows than processes, some compute one that is another's for nothing:
    all of them have gradients to add.
    """
    if company.size == 1:
        return batch, noise, True
    counts = company.rank < len(_first(batch))
    # every so many, as windows may be in order of length
    rows = slice(company.rank, None, company.size) if counts else slice(1)
    return _cut(batch, rows), _cut(noise, rows), counts


def _first(batch: Any) -> Tensor:
    """The first tensor, (B, T, ...), of nested tuples."""
    while not isinstance(batch, Tensor):
        batch = batch[0]
    return batch


def _chunks(batch: Any, side_by_side: int = 0) -> list[slice]:
    """Cut a batch for threads, by its shape and cell alone: the cut decides how sums are rounded.

    There are two pieces, or as many as leave `side_by_side` windows or more to each.
    """
    # Pieces of 2,000 to 4,000 rows (64 windows of 60) were fastest for LSTMs of 32 to 128 units:
    # larger ones fall out of the cache, smaller ones spend their time between torch's calls, and
    # under 3,000 rows in all a second thread gains nothing. Powers of two spread evenly.
    first = _first(batch)
    n_windows, n_rows = len(first), first.shape[:2].numel()
    pieces = 1 if n_rows < 3_000 else 1 << (max(2, -(-n_rows // 4_096)) - 1).bit_length()
    while pieces > 2 and n_windows // pieces < side_by_side:
        pieces //= 2
    size = -(-n_windows // pieces)
    return [slice(at, at + size) for at in range(0, n_windows, size)]


def _cut(part: Any, rows: slice) -> Any:
    """Take some windows of nested tuples of tensors."""
    if isinstance(part, Tensor):
        return part[rows]
    pieces = (_cut(one, rows) for one in part)
    return type(part)(*pieces) if hasattr(part, "_fields") else tuple(pieces)


def _loop(
    network: nn.Module,
    averaged: nn.Module | None,
    training: Training,
    watch: _Watch,
    n_threads: int,
    company: Ranks,
) -> Any:
    """Build the LightningModule; here, because importing Lightning takes seconds."""
    import pytorch_lightning as pl

    class ForecastModule(pl.LightningModule):
        """Training step, optimiser and end of epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.network: Any = network
            self._steps: list[Tensor] = []  # of the epoch: sums of losses and of weights, (2,)
            self._rate = 0.0

        def on_train_epoch_start(self) -> None:
            self._rate = _learning_rate(training, self.current_epoch)
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = self._rate

        def training_step(self, batch: tuple[Any, ...], index: int) -> Tensor | None:
            loss, sums = self._sums_of(*_share(batch, self.network.noise(batch), company))
            self._steps.append(sums)
            if len(self._steps) % _STEPS_BETWEEN_LOOKS == 0:
                self._mean_loss()
            on_cpu = self.device.type == "cpu"
            if on_cpu and not sums[1]:  # elsewhere a look would wait for the device: a step of zero
                return None
            return loss / sums[1].clamp(min=1e-12)

        def _sums_of(self, batch: Any, noise: Any, counts: bool) -> tuple[Tensor, Tensor]:
            """Loss of a share of a batch, with its gradients; sums (2,) over the whole of it."""
            on_cpu = self.device.type == "cpu"
            cut = on_cpu and not torch.is_autocast_enabled("cpu")
            chunks = _chunks(batch, self.network.side_by_side) if cut else []
            if _is_pooled(self.network) and (len(chunks) > 1 or company.size > 1):
                loss, weight = _pooled_of_chunks(
                    self.network,
                    batch,
                    noise,
                    chunks or [slice(None)],
                    n_threads,
                    lambda own: company.total(counts * own),
                )
                sums = torch.stack([loss.detach(), weight])
            else:
                if len(chunks) > 1:
                    loss, weight = _sums_of_chunks(self.network, batch, noise, chunks, n_threads)
                else:
                    loss, weight = _sums(self.network, batch, noise)
                sums = company.total(counts * torch.stack([loss.detach(), weight]))
            return (loss if counts else 0 * loss), sums

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            # not Lightning's strategy "ddp": that answers SIGTERM with a broadcast in the signal's
            # handler, which meets whatever the others are adding up, and gloo ends the process
            company.add_gradients(self.network)

        def _mean_loss(self) -> float:
            """Mean over the steps of this epoch so far."""
            sums = torch.stack(self._steps).cpu().double()
            wrong = sums[:, 0][~sums[:, 0].isfinite()]
            if len(wrong):
                epoch = self.current_epoch + 1
                raise FloatingPointError(_not_finite("training loss", float(wrong[0]), epoch))
            loss, weight = sums.sum(dim=0)
            return float(loss / weight.clamp(min=1e-12))

        def on_train_batch_end(self, *args: Any) -> None:
            if averaged is None:
                return
            # the first steps would weigh too long on a mean that starts with them
            steps = self.trainer.global_step
            decay = min(training.averaging or 0.0, (1 + steps) / (10 + steps))
            with torch.no_grad():
                for mean, weight in zip(averaged.parameters(), self.network.parameters()):
                    mean.lerp_(weight.to(mean.device), 1 - decay)

        def on_train_epoch_end(self) -> None:
            mean = self._mean_loss()
            self._steps = []
            if watch.validate(
                epoch=self.current_epoch + 1, train_loss=mean, learning_rate=self._rate
            ):
                self.trainer.should_stop = True

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(
                self.network.parameters(),
                lr=training.learning_rate,
                weight_decay=training.weight_decay,
            )

    return ForecastModule()


_STEPS_BETWEEN_LOOKS = 200  # at the loss: a look waits for what the device has under way

_TERMINATED = 128 + signal.SIGTERM  # exit code of a process that SIGTERM has ended


@contextlib.contextmanager
def _termination_as_exception() -> Iterator[None]:
    """SIGTERM stops the loop at once, unless the caller has a handler; all handlers come back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if before[signal.SIGTERM] == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, terminate)
        yield
    finally:
        # that of SIGINT too: Lightning ignores it for good after an interrupt
        for number, handler in before.items():
            if handler is not None:  # None: not set from Python
                signal.signal(number, handler)


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's announcements off the screen and its settings inside this block."""
    # the import of Lightning and torch's first optimiser set these
    names = ("PYTORCH_NVML_BASED_CUDA_CHECK", "TORCHINDUCTOR_CACHE_DIR")
    ours = [name for name in names if name not in os.environ]
    with warnings.catch_warnings():
        import pytorch_lightning  # noqa: F401

        with _muted_loggers():
            for module in ("pytorch_lightning", "lightning_fabric", "torch"):
                warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
            try:
                yield
            finally:
                for name in ours:
                    os.environ.pop(name, None)


@contextlib.contextmanager
def _muted_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    loggers += [logging.getLogger(f"{logger.name}.utilities.rank_zero") for logger in loggers]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
