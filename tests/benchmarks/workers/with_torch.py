"""A raw PyTorch loop as a worker: the practical limit, and matrix products as the physical one.

Two layers of `nn.LSTM` and a linear decoder over windows gathered from one tensor of all rows;
Adam, absolute error, gradients clipped at 1. Nothing else: no frames, no checks, no baseline.
"""

import time

import loop


class Methods:
    def setup(self, path, lookback, horizon, hidden, width):
        """Read the table into one standardised tensor (rows, width)."""
        import pandas as pd
        import torch
        from torch import nn

        torch.set_num_threads(loop.threads())
        torch.manual_seed(0)
        table = pd.read_parquet(path)
        y = torch.tensor(table["y"].to_numpy(), dtype=torch.float32)
        y = (y - y.mean()) / y.std()
        self.y, self.x = y, y[:, None] + 0.1 * torch.randn(len(y), width)
        self.length = int((table["unique_id"] == table["unique_id"][0]).sum())
        self.lookback, self.horizon, self.hidden = lookback, horizon, hidden
        self.lstm = nn.LSTM(width, hidden, num_layers=2, batch_first=True)
        self.decoder = nn.Linear(hidden, horizon)

    def _starts(self, until):
        """First row of every window whose horizon ends before the session `until`."""
        import torch

        first = torch.arange(until - self.lookback - self.horizon + 1)
        series = torch.arange(0, len(self.y), self.length)
        return (series[:, None] + first).ravel()

    def train(self, until, seconds, batch_size):
        """Train for so many seconds; windows a second."""
        import torch
        from torch.nn.functional import l1_loss

        weights = [*self.lstm.parameters(), *self.decoder.parameters()]
        adam = torch.optim.Adam(weights, lr=1e-3)
        starts = self._starts(until)
        back, ahead = torch.arange(self.lookback), torch.arange(self.horizon) + self.lookback
        windows, since = 0, None
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            order = starts[torch.randperm(len(starts))]
            for batch in order[: len(order) // batch_size * batch_size].split(batch_size):
                states, _ = self.lstm(self.x[batch[:, None] + back])
                loss = l1_loss(self.decoder(states[:, -1]), self.y[batch[:, None] + ahead])
                adam.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                adam.step()
                now = time.perf_counter()
                if since is None:
                    if now - start > 0.2 * seconds:
                        since = now
                    continue
                windows += batch_size
                if now - start >= seconds:
                    break
        return {"rate": windows / (now - since)}

    def forecast(self, origins, chunk, n_series=None):
        """Forecast from the last `origins` rows of every series, window by window; no frames."""
        import torch

        n_series = len(self.y) // self.length if n_series is None else n_series
        first = torch.arange(self.length - self.lookback - origins, self.length - self.lookback)
        starts = (torch.arange(n_series)[:, None] * self.length + first + 1).ravel()
        back = torch.arange(self.lookback)
        with torch.inference_mode():
            for batch in starts.split(chunk):
                states, _ = self.lstm(self.x[batch[:, None] + back])
                self.decoder(states[:, -1])
        return len(starts)

    def sweep(self):
        """One pass over all rows of all series, decoded at every row; no frames."""
        import torch

        with torch.inference_mode():
            states, _ = self.lstm(self.x.reshape(-1, self.length, self.x.shape[1]))
            self.decoder(states)
        return len(self.y)

    def steps(self, n, times):
        """Feed one row of each of `n` series, so many times; seconds of each."""
        import torch

        state = tuple(torch.zeros(2, n, self.hidden) for _ in range(2))
        taken = []
        with torch.inference_mode():
            for _ in range(times):
                start = time.perf_counter()
                states, state = self.lstm(self.x[:n, None], state)
                self.decoder(states[:, -1])
                taken.append(time.perf_counter() - start)
        return {"network": taken}

    def peak(self, batch):
        """Float32 operations a second of matrix products, large and of one step of the cell."""
        import torch

        shapes = {
            "large": (batch * self.lookback, 2 * self.hidden, 4 * self.hidden),
            "step": (batch, self.hidden, 4 * self.hidden),
        }
        result = {}
        for name, (m, k, n) in shapes.items():
            a, b = torch.randn(m, k), torch.randn(k, n)
            out = torch.empty(m, n)
            best, start = float("inf"), time.perf_counter()
            while time.perf_counter() - start < 1.0:
                at = time.perf_counter()
                torch.mm(a, b, out=out)
                best = min(best, time.perf_counter() - at)
            result[name] = 2 * m * k * n / best
        return result


if __name__ == "__main__":
    loop.main(Methods())
