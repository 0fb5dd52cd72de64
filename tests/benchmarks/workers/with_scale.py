"""Ours on simulated series by the hundred thousand, as a worker for `scale.py`; no files."""

import resource
import time
import warnings

import loop
import numpy as np


class Methods:
    def setup(self, n_series, rows, lookback, horizon, hidden, head="point", context="window"):
        """Simulate a sorted panel, and fit on a few of its series."""
        import pandas as pd
        import torch

        import tsforecast as tsf

        warnings.simplefilter("ignore")
        torch.set_num_threads(loop.threads())
        y = np.random.default_rng(0).standard_normal((n_series, rows))
        for t in range(1, rows):
            y[:, t] += 0.8 * y[:, t - 1]
        names = pd.Index([f"s{i:06d}" for i in range(n_series)])
        index = pd.MultiIndex.from_product([names, pd.RangeIndex(rows)], names=["series", "time"])
        self.panel = pd.DataFrame({"y": y.ravel()}, index=index)
        self.rows, self.horizon = rows, horizon
        more = {} if context == "window" else {"context": context}
        self.model = tsf.RecurrentForecaster(
            target="y",
            horizon=horizon,
            lookback=lookback,
            head=head,
            hidden_sizes=(hidden, hidden),
            training=tsf.Training(max_epochs=1, validation=None),
            random_state=0,
            **more,
        )
        self.model.fit(self.panel.iloc[: min(n_series, 50) * rows])

    def limit(self, gib):
        """Let this process have no more than so much private memory from here on."""
        resource.setrlimit(resource.RLIMIT_DATA, (int(gib * 2**30),) * 2)

    def prepare(self):
        """From the panel to the rows a network reads; bytes of their features."""
        # the one step of predict, forecast_origins and fit that has no public name
        rows = self.model._prepared(self.panel)
        return rows.inputs.numel() * rows.inputs.element_size()

    def fit(self):
        """An epoch over all rows."""
        from sklearn.base import clone

        self.fitted = clone(self.model).fit(self.panel)

    def predict(self):
        """Forecast from the end of every series."""
        return len(self.model.predict(self.panel))

    def origins(self, origins):
        """Forecast at the last `origins` origins."""
        return len(self.model.forecast_origins(self.panel, self._cutoffs(origins)))

    def backtest(self, origins):
        """A whole backtest, the naive forecast and what happened beside."""
        from sklearn.frozen import FrozenEstimator

        import tsforecast as tsf

        # fitted on all rows of a few series: a backtest wants a model that ends before its origins
        first = self._cutoffs(origins)[0]
        time_of = self.panel.index.get_level_values(1)[: 50 * self.rows]
        known = self.panel.iloc[: len(time_of)][time_of <= first]
        self.model.fit(known)
        self.began = time.perf_counter()
        result = tsf.backtest(
            {"lstm": FrozenEstimator(self.model)},
            self.panel,
            tsf.RollingOrigin(n_splits=1, origins_per_split=origins),
        )
        return [len(result.frame) // 2, time.perf_counter() - self.began]

    def _cutoffs(self, origins):
        last = self.rows - 1 - self.horizon
        return list(range(last - origins + 1, last + 1))


if __name__ == "__main__":
    loop.main(Methods())
