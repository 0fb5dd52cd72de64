"""GluonTS' DeepAR as a worker: an LSTM of two layers of 64, and what it needs beside.

GluonTS has no LSTM that decodes all steps at once: DeepAR draws sample paths step by step (100 by
default; `samples`), which costs more and gives more than a point. Of what it adds to the network,
calendar features are left out and lags cut to seven. It wants dates, which the table gets before
the clock starts.
"""

import logging
import warnings

import loop


class Methods:
    def setup(self, path, lookback, horizon, hidden, samples=100, batch_size=1024):
        """Read the table; sessions become days."""
        import pandas as pd
        import torch

        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.set_num_threads(loop.threads())
        self.frame = pd.read_parquet(path)
        self.frame["ds"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(self.frame["ds"], "D")
        self.length = int((self.frame["unique_id"] == self.frame["unique_id"][0]).sum())
        self.shape = {
            "context_length": lookback,
            "prediction_length": horizon,
            "hidden_size": hidden,
        }
        self.horizon, self.samples, self.batch_size = horizon, samples, batch_size

    def fit(self, until, steps=2):
        """Fit on the rows before the session `until`."""
        import pandas as pd
        from gluonts.torch import DeepAREstimator

        quiet = {
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_epochs": 1,
        }
        estimator = DeepAREstimator(
            freq="D",
            num_layers=2,
            lags_seq=list(range(1, 8)),
            time_features=[],
            num_parallel_samples=self.samples,
            num_batches_per_epoch=steps,
            trainer_kwargs=quiet,
            **self.shape,
        )
        until = pd.Timestamp("2000-01-01") + pd.Timedelta(days=min(until, 10**4))
        self.model = estimator.train(self._dataset(self.frame[self.frame["ds"] < until]))
        self.model.batch_size = self.batch_size

    def _dataset(self, frame):
        from gluonts.dataset.pandas import PandasDataset

        return PandasDataset.from_long_dataframe(
            frame,
            item_id="unique_id",
            timestamp="ds",
            target="y",
            freq="D",
            assume_sorted=True,
            unchecked=True,
        )

    def backtest(self, origins):
        """Forecast at the last `origins` origins, each with no more history than it reads."""
        from gluonts.dataset.split import split

        _, template = split(self._dataset(self.frame), offset=-(origins + self.horizon - 1))
        instances = template.generate_instances(
            prediction_length=self.horizon,
            windows=origins,
            distance=1,
            max_history=self.model.prediction_net.model._past_length,
        )
        return len(self._frame(self.model.predict(instances.input)))

    def predict(self, n_series=None):
        """Forecast from the end of every series."""
        frame = self.frame if n_series is None else self.frame.iloc[: n_series * self.length]
        return len(self._frame(self.model.predict(self._dataset(frame))))

    def _frame(self, forecasts):
        import numpy as np
        import pandas as pd

        names, starts, medians = [], [], []
        for forecast in forecasts:
            names.append(forecast.item_id)
            starts.append(forecast.start_date)
            medians.append(np.median(forecast.samples, axis=0))
        first = np.array([start.ordinal for start in starts])
        ordinals = (first[:, None] + np.arange(self.horizon)).ravel()
        return pd.DataFrame(
            {
                "unique_id": np.repeat(names, self.horizon),
                "cutoff": pd.PeriodIndex.from_ordinals(
                    np.repeat(first - 1, self.horizon), freq="D"
                ).to_timestamp(),
                "ds": pd.PeriodIndex.from_ordinals(ordinals, freq="D").to_timestamp(),
                "forecast": np.concatenate(medians),
            }
        )

    def first(self, path, lookback, horizon, hidden):
        """Fit for a step and forecast, in a fresh process."""
        self.setup(path, lookback, horizon, hidden)
        self.fit(until=10**9, steps=1)
        print(self._frame(self.model.predict(self._dataset(self.frame))).head())


if __name__ == "__main__":
    loop.main(Methods())
