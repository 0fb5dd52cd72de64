"""neuralforecast's LSTM as a worker: two layers of 64, direct, a linear decoder, absolute error.

Its direct decoder reads the states of the last `horizon` rows, one for each step; the others here
read that of the newest row for all steps. The window scaler is a parameter; `train.py` says which.
"""

import time

import loop

QUIET = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


class Methods:
    def setup(self, path, lookback, horizon, hidden):
        """Read the table."""
        import pandas as pd
        import torch

        torch.set_num_threads(loop.threads())
        self.frame = pd.read_parquet(path)
        self.shape = {"input_size": lookback, "h": horizon, "encoder_hidden_size": hidden}

    def fit(self, until, steps=2, **options):
        """Fit on the rows before the session `until`."""
        self._fit(until, max_steps=steps, **options)

    def train(self, until, seconds, times, warm, **options):
        """Fit for so many seconds, counted from the call; keep weights and windows over time."""
        clock = _clock(seconds, times, warm, options["windows_batch_size"])
        self._fit(until, max_steps=10**9, callbacks=[clock], **options)
        self.snapshots = clock.snapshots
        return clock.report()

    def _fit(self, until, callbacks=None, **options):
        from neuralforecast import NeuralForecast
        from neuralforecast.losses.pytorch import MAE
        from neuralforecast.models import LSTM

        model = LSTM(
            **self.shape,
            encoder_n_layers=2,
            decoder_layers=1,
            loss=MAE(),
            inference_windows_batch_size=1024,
            random_seed=0,
            callbacks=callbacks,
            **{"valid_batch_size": 1024, **options},
            **QUIET,
        )
        self.model = NeuralForecast([model], freq=1)
        self.model.fit(self.frame[self.frame["ds"] < until])

    def forecasts(self, until, path):
        """Forecasts at all origins behind the training rows, at each weights kept."""
        import numpy as np

        n = self.frame["ds"].max() - until + 2 - self.shape["h"]
        result = []
        for _, weights in self.snapshots:
            self.model.models[0].load_state_dict(weights)
            frame = self._origins(int(n))
            result.append(frame["LSTM"].to_numpy().reshape(-1, n, self.shape["h"]))
        np.save(path, np.stack(result))
        return [seconds for seconds, _ in self.snapshots]

    def backtest(self, origins):
        """Forecast at the last `origins` origins without fitting again."""
        return len(self._origins(origins))

    def _origins(self, origins):
        return self.model.cross_validation(
            df=self.frame, n_windows=origins, step_size=1, refit=False, use_fitted=True
        )

    def predict(self, n_series=None):
        """Forecast from the end of every series."""
        frame = self.frame
        if n_series is not None:
            frame = frame.iloc[
                : n_series * int((frame["unique_id"] == frame["unique_id"][0]).sum())
            ]
        return len(self.model.predict(frame))

    def first(self, path, lookback, horizon, hidden):
        """Fit for a step and forecast, in a fresh process."""
        self.setup(path, lookback, horizon, hidden)
        self.fit(until=10**9, steps=1)
        print(self.model.predict().head())


def _clock(seconds, times, warm, windows):
    import pytorch_lightning as pl
    from clock import Clock

    class Callback(Clock, pl.Callback):
        def count(self, batch):
            return windows

    return Callback(time.perf_counter(), seconds, times, warm)


if __name__ == "__main__":
    loop.main(Methods())
