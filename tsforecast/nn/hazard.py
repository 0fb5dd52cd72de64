"""Discrete hazards of the next steps: what the numbers of an event network mean.

With hazards h_k of the event in step k, given that it has not come before, the event comes within
k steps with probability

    F_k = 1 - (1 - h_1)(1 - h_2) ... (1 - h_k),

which cannot fall as k grows.  A competing exit (discharge, death) has a hazard of its own, and

    F_k = sum over j <= k of S_(j-1) h_j,    S_j = S_(j-1) (1 - h_j - g_j)

is the cumulative incidence of the event.  The outcome of a stay is one step.

Shapes: leading dimensions are free, K steps, C causes (1, or 2 with a competing exit).

Sources
-------
- J. Singer, J. Willett, "It's about time: using discrete-time survival analysis to study duration
  and the timing of events", Journal of Educational Statistics 18, 1993.
- G. Tutz, M. Schmid, "Modeling discrete time-to-event data", Springer 2016, chapter 8 (competing
  events).
- H. Yeche, A. Pace, G. Ratsch, R. Kuznetsova, "Temporal label smoothing for early event
  prediction", ICML 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsforecast.data.panel import Floats, Ints

__all__ = ["Hazards"]

_RAREST = 1e-6  # hazard that a start takes a step to have at least


@dataclass(frozen=True)
class Hazards:
    """Hazards of the next K steps; see the module.

    Attributes
    ----------
    n_steps : int
        K.
    n_causes : int
        C.
    weight : float
        How much more the loss counts steps of the event. What it shifts in the logarithm of the
        odds is taken off again in `logits`.
    smoothing : float
        Temporal label smoothing: the time of an event is spread over the steps around it,
        falling by exp(-1) over that many steps; 0 is the time itself.
    """

    n_steps: int
    n_causes: int = 1
    weight: float = 1.0
    smoothing: float = 0.0

    @property
    def size(self) -> int:
        """Raw numbers of a row, K C."""
        return self.n_steps * self.n_causes

    def start(self, step: Ints, cause: Ints, observed: Ints, weight: Floats) -> Tensor:
        """Logits of the mean hazards of training rows, with the weight of the event: (K, C).

        Parameters
        ----------
        step, cause, observed : ndarray of int64, shape (n,)
            See `tsforecast.data.labels.Labels`.
        weight : ndarray, shape (n,)
        """
        k = np.arange(1, self.n_steps + 1)[:, None]
        until = np.where(step > 0, np.minimum(step, observed), observed)
        exposed = (weight * (until >= k)).sum(axis=1)  # (K,)
        odds = []
        for number in range(1, self.n_causes + 1):
            events = (weight * ((step == k) & (cause == number) & (step <= until))).sum(axis=1)
            odds.append(events / np.maximum(exposed, 1e-12))
        hazard = np.clip(np.stack(odds, axis=1), _RAREST, 0.9 / self.n_causes)
        none = np.maximum(1 - hazard.sum(axis=1, keepdims=True), _RAREST)
        logits = np.log(hazard) - np.log(none)
        logits[:, 0] += np.log(self.weight)
        return torch.from_numpy(logits).float()

    def loss(self, logits: Tensor, step: Tensor, cause: Tensor, observed: Tensor) -> Tensor:
        """Minus log-likelihood of what follows each row, per row.

        Steps count up to the exit or the end of the record, whichever is first.

        Parameters
        ----------
        logits : Tensor, shape (..., K, C)
            Of the hazards against no exit.
        step, cause, observed : Tensor of int64, shape (...)

        Returns
        -------
        Tensor, shape (...)
        """
        none, causes = self._log_probabilities(logits)
        k = torch.arange(1, self.n_steps + 1, device=logits.device)
        here, exits = step[..., None], step[..., None] > 0
        until = torch.where(exits, torch.minimum(here, observed[..., None]), observed[..., None])
        at_risk = (k <= until).to(none.dtype)  # (..., K)
        hit = ((k == here) & (k <= until)).to(none.dtype)
        if self.smoothing > 0:
            share = torch.exp(-(k - here).abs() / self.smoothing)
            # as much of it as lies at steps from 1 on, up to far behind the horizon
            total = _geometric(here, self.smoothing)
            spread = torch.where(exits & (here <= observed[..., None]), share / total, 0.0)
            left = 1 - spread.cumsum(-1) + spread  # mass that has not come before step k
            smooth = exits & (here <= observed[..., None])
            hit = torch.where(smooth, spread, hit)
            at_risk = torch.where(smooth, left, at_risk)
        result = (at_risk - hit) * none
        for number in range(self.n_causes):
            mine = (cause == number + 1).to(none.dtype)[..., None]
            scale = self.weight if number == 0 else 1.0
            result = result + scale * hit * mine * causes[..., number]
        return -result.sum(-1)

    def _log_probabilities(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of no exit (..., K) and of each cause (..., K, C)."""
        if self.n_causes == 1:
            return F.logsigmoid(-logits[..., 0]), F.logsigmoid(logits)
        whole = F.log_softmax(torch.cat([torch.zeros_like(logits[..., :1]), logits], -1), -1)
        return whole[..., 0], whole[..., 1:]

    def logits(self, weighted: Tensor) -> Tensor:
        """Take the weight of the event back out, (..., K, C) -> (..., K, C)."""
        if self.weight == 1.0:
            return weighted
        shift = torch.zeros(self.n_causes, dtype=weighted.dtype, device=weighted.device)
        shift[0] = float(np.log(self.weight))
        return weighted - shift

    def incidence(self, logits: Tensor) -> Tensor:
        """Probability that the event comes within 1 ... K steps, (..., K, C) -> (..., K).

        It does not fall along K.
        """
        none, causes = self._log_probabilities(logits)
        before = none.cumsum(-1) - none  # logarithm of S_(k-1)
        return (before + causes[..., 0]).exp().cumsum(-1).clamp(max=1.0)


def _geometric(step: Tensor, width: float) -> Tensor:
    """Sum of exp(-|k - step| / width) over all steps k from 1 on."""
    r = float(np.exp(-1.0 / width))
    before = (1 - r ** step.clamp(min=1).to(torch.float32)) / (1 - r)  # k = step, step - 1, ..., 1
    return before + r / (1 - r)
