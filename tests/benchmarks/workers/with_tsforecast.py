"""Ours as a worker: an LSTM of two layers of 64 over the last value, absolute error."""

import time
import warnings

import loop


class Methods:
    def setup(self, path, lookback, horizon, hidden, head="point", context="window"):
        """Read the table, and make the panel of it."""
        import pandas as pd
        import torch

        import tsforecast as tsf

        warnings.simplefilter("ignore")
        torch.set_num_threads(loop.threads())
        self.table = pd.read_parquet(path)
        self.panel = tsf.as_panel(self.table, series="unique_id", time="ds")
        self.rows = int((self.table["unique_id"] == self.table["unique_id"][0]).sum())
        self.until = self.panel.index.get_level_values(1)
        self.horizon = horizon
        self.options = {
            "target": "y",
            "horizon": horizon,
            "lookback": lookback,
            "head": head,
            "hidden_sizes": (hidden, hidden),
            "transform": tsf.SeriesScaler(),
            "random_state": 0,
        }

    def fit(self, until, context="window", **training):
        """Fit on the rows before the session `until`, an epoch without validation."""
        self._fit(until, context, **{"max_epochs": 1, **training})

    def train(self, until, seconds, times, warm, **training):
        """Fit for so many seconds, counted from the call; keep weights and windows over time."""
        clock = _clock(seconds, times, warm)
        options = {"trainer_options": {"callbacks": [clock]}, "schedule": None}
        self._fit(until, "window", max_epochs=10**6, **options, **training)
        self.snapshots = clock.snapshots
        return clock.report()

    def _fit(self, until, context, **training):
        import tsforecast as tsf

        how = {} if context == "window" else {"context": context}
        how["training"] = tsf.Training(**{"validation": None, **training})
        self.model = tsf.RecurrentForecaster(**self.options, **how)
        self.model.fit(self.panel[self.until < until])

    def width(self):
        """Features of a row: what the network is fed."""
        return int(self.model.networks_[0].features.size)

    def forecasts(self, until, path):
        """Forecasts at all origins behind the training rows, at each weights kept."""
        import numpy as np

        last = int(self.until.max())
        cutoffs = list(range(until - 1, last - self.horizon + 1))
        network, result = self.model.networks_[0], []
        for _, weights in self.snapshots:
            weights = {name.removeprefix("network."): value for name, value in weights.items()}
            network.load_state_dict(weights)
            frame = self.model.forecast_origins(self.panel, cutoffs)
            result.append(frame["forecast"].to_numpy().reshape(-1, len(cutoffs), self.horizon))
        np.save(path, np.stack(result))
        return [seconds for seconds, _ in self.snapshots]

    def origins(self, origins):
        """Forecast at the last `origins` origins, from a panel to a frame."""
        return len(self._origins(self.panel, origins))

    def origins_of_table(self, origins):
        """The same from the long table that the peers are given."""
        import tsforecast as tsf

        panel = tsf.as_panel(self.table, series="unique_id", time="ds")
        return len(self._origins(panel, origins))

    def _origins(self, panel, origins):
        last = int(self.until.max()) - self.horizon
        return self.model.forecast_origins(panel, list(range(last - origins + 1, last + 1)))

    def backtest(self, origins):
        """A whole backtest: the naive forecast and what happened beside every forecast."""
        from sklearn.frozen import FrozenEstimator

        import tsforecast as tsf

        result = tsf.backtest(
            {"lstm": FrozenEstimator(self.model)},
            self.panel,
            tsf.RollingOrigin(n_splits=1, origins_per_split=origins),
        )
        return len(result.frame) // 2

    def predict(self, n_series=None):
        """Forecast from the end of every series."""
        return len(self.model.predict(self._part(n_series)))

    def predict_of_table(self):
        """The same from the long table that the peers are given."""
        import tsforecast as tsf

        return len(self.model.predict(tsf.as_panel(self.table, series="unique_id", time="ds")))

    def _part(self, n_series):
        if n_series is None:
            return self.panel
        return self.panel.iloc[: n_series * self.rows]

    def stream(self, rows, n_series=None):
        """Feed the last `rows` rows of every series one by one; seconds of each step.

        Returns
        -------
        dict of str to list of float
            "update" of one row a series, "forecast" of all series behind it.
        """
        import tsforecast as tsf

        part = self._part(n_series)
        time_of = part.index.get_level_values(1)
        last = int(time_of.max())
        stream = tsf.Stream(self.model, part[time_of <= last - rows])
        arrivals = [part[time_of == at] for at in range(last - rows + 1, last + 1)]
        taken = {"update": [], "forecast": []}
        for arrival in arrivals:
            start = time.perf_counter()
            stream.update(arrival)
            between = time.perf_counter()
            stream.forecast()
            taken["update"].append(between - start)
            taken["forecast"].append(time.perf_counter() - between)
        expected = self.model.predict(part)["forecast"].to_numpy()
        found = stream.forecast()["forecast"].to_numpy()
        if abs(found - expected).max() > 1e-5:
            raise RuntimeError(f"the stream is {abs(found - expected).max():g} off predict")
        return taken

    def first(self, path, lookback, horizon, hidden):
        """Fit for an epoch and forecast, in a fresh process."""
        self.setup(path, lookback, horizon, hidden)
        self.fit(until=10**9)
        print(self.model.predict().head())


def _clock(seconds, times, warm):
    import pytorch_lightning as pl
    from clock import Clock

    class Callback(Clock, pl.Callback):
        def count(self, batch):
            while isinstance(batch, tuple | list):
                batch = batch[0]
            return len(batch)

    return Callback(time.perf_counter(), seconds, times, warm)


if __name__ == "__main__":
    loop.main(Methods())
