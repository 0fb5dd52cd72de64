"""A Lightning callback that counts windows, keeps weights at given times, and stops the fit."""

import time


class Clock:
    """Mixed into a Lightning callback, so that this file needs no Lightning.

    Parameters
    ----------
    start : float
        When the call of fit began.
    seconds : float
        When to stop, from `start`.
    times : list of float
        When to keep a copy of the weights, from `start`.
    warm : float
        Windows are counted from the first step that ends so many seconds after the first one.
    """

    def __init__(self, start, seconds, times, warm):
        self.start, self.seconds, self.warm = start, seconds, warm
        self.times = list(times)
        self.snapshots = []
        self.windows = self.steps = 0
        self.first = self.since = self.until = None

    def __deepcopy__(self, memo):
        """Stay one: neuralforecast copies its models, and all they hold, before it fits them."""
        return self

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        """Count; keep; stop."""
        now = time.perf_counter()
        self.steps += 1
        if self.first is None:
            self.first = now
        if self.since is None:
            if now - self.first >= self.warm:
                self.since = now
        else:
            self.windows += self.count(batch)
            self.until = now
        if self.times and now - self.start >= self.times[0]:
            weights = {name: value.clone() for name, value in module.state_dict().items()}
            self.snapshots.append((now - self.start, weights))
            while self.times and now - self.start >= self.times[0]:
                self.times.pop(0)
        if now - self.start >= self.seconds:
            trainer.should_stop = True

    def report(self):
        """Windows a second, steps, seconds before the first step had ended."""
        rate = self.windows / (self.until - self.since) if self.windows else float("nan")
        return {"rate": rate, "steps": self.steps, "ready": self.first - self.start}
