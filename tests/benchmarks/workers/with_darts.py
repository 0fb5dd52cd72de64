"""darts' BlockRNNModel as a worker: an LSTM of two layers of 64, a linear decoder, one point.

Its tables hold float32, without which it would train and forecast in double precision. It has no
frames inside: what is timed includes the way from the long table to its series and back, each by
the quickest way found.
"""

import logging
import time
import warnings

import loop


class Methods:
    def setup(self, path, lookback, horizon, hidden, batch_size=1024):
        """Read the table."""
        import pandas as pd
        import torch

        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.set_num_threads(loop.threads())
        self.frame = pd.read_parquet(path).astype({"y": "float32"})
        self.length = int((self.frame["unique_id"] == self.frame["unique_id"][0]).sum())
        self.shape = {
            "input_chunk_length": lookback,
            "output_chunk_length": horizon,
            "hidden_dim": hidden,
        }
        self.horizon, self.batch_size = horizon, batch_size

    def fit(self, until, steps=2):
        """Fit on the rows before the session `until`."""
        from darts.models import BlockRNNModel

        quiet = {
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_steps": steps,
        }
        self.model = BlockRNNModel(
            model="LSTM",
            n_rnn_layers=2,
            batch_size=32,
            n_epochs=1,
            random_state=0,
            pl_trainer_kwargs=quiet,
            **self.shape,
        )
        self.model.fit(self._series(self.frame[self.frame["ds"] < until]), verbose=False)

    def _series(self, frame):
        from darts import TimeSeries

        return TimeSeries.from_group_dataframe(
            frame,
            group_cols="unique_id",
            time_col="ds",
            value_cols="y",
            drop_group_cols="unique_id",
            copy=False,
        )

    def backtest(self, origins):
        """Forecast at the last `origins` origins; rows, and seconds of the ways in and out."""
        at = time.perf_counter()
        series = self._series(self.frame)
        into = time.perf_counter() - at
        forecasts = self.model.historical_forecasts(
            series,
            start=-(origins + self.horizon - 1),
            start_format="position",
            forecast_horizon=self.horizon,
            stride=1,
            retrain=False,
            last_points_only=False,
            show_warnings=False,
            verbose=False,
            predict_kwargs={"batch_size": self.batch_size},
        )
        at = time.perf_counter()
        frame = self._frame(self.frame, forecasts)
        return [len(frame), into, time.perf_counter() - at]

    def predict(self, n_series=None):
        """Forecast from the end of every series; rows, and seconds of the ways in and out."""
        frame = self.frame if n_series is None else self.frame.iloc[: n_series * self.length]
        at = time.perf_counter()
        series = self._series(frame)
        into = time.perf_counter() - at
        forecasts = self.model.predict(
            self.horizon,
            series,
            batch_size=self.batch_size,
            verbose=False,
            show_warnings=False,
        )
        at = time.perf_counter()
        result = self._frame(frame, [[forecast] for forecast in forecasts])
        return [len(result), into, time.perf_counter() - at]

    def _frame(self, frame, forecasts):
        import numpy as np
        import pandas as pd

        flat = [forecast for some in forecasts for forecast in some]
        starts = np.array([forecast.start_time() for forecast in flat])
        names = np.repeat(frame["unique_id"].unique(), [len(some) for some in forecasts])
        return pd.DataFrame(
            {
                "unique_id": np.repeat(names, self.horizon),
                "cutoff": np.repeat(starts - 1, self.horizon),
                "ds": (starts[:, None] + np.arange(self.horizon)).ravel(),
                "forecast": np.concatenate([f.values(copy=False)[:, 0] for f in flat]),
            }
        )

    def first(self, path, lookback, horizon, hidden):
        """Fit for a step and forecast, in a fresh process."""
        self.setup(path, lookback, horizon, hidden)
        self.fit(until=10**9, steps=1)
        forecasts = self.model.predict(horizon, self._series(self.frame), verbose=False)
        print(self._frame(self.frame, [[forecast] for forecast in forecasts]).head())


if __name__ == "__main__":
    loop.main(Methods())
