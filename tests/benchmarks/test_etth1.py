"""ETTh1, horizons of 96 to 720 hours: mean squared error of standardised channels.

The usual split: 12 months to train on, 4 to validate, 4 to test; every hour of the test months
that has the whole horizon after it is an origin.  The seven channels are seven series of one
model.  The reference is a ridge on the last 336 hours (`LagRegressor`), fitted on the 12 months.
Settings were chosen on the validation months.  Figures in RESULTS.md.
"""

import time
import warnings

import numpy as np
import pytest

import tsforecast as tsf

TRAIN, VALIDATION, TEST = 8640, 2880, 2880
REFERENCE = {96: 0.380, 192: 0.416, 336: 0.444, 720: 0.456}


def panel_of(wide):
    return tsf.as_panel(wide.rename_axis("channel", axis=1), wide="value")


def mean_squared_error(model, wide, horizon):
    panel = panel_of(wide)
    cutoffs = wide.index[TRAIN + VALIDATION - 1 : TRAIN + VALIDATION + TEST - horizon]
    total = count = 0.0
    for at in range(0, len(cutoffs), 500):
        frame = model.forecast_origins(panel, cutoffs[at : at + 500])
        error = panel["value"].reindex(frame.index).to_numpy() - frame["forecast"].to_numpy()
        total += float(np.square(error).sum())
        count += len(error)
    return total / count


@pytest.mark.slow
@pytest.mark.parametrize("horizon", REFERENCE)
def test_network_is_at_most_five_percent_behind_the_ridge(horizon):
    try:
        wide = tsf.load_etth1()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    wide = wide.iloc[: TRAIN + VALIDATION + TEST]
    wide = (wide - wide.iloc[:TRAIN].mean()) / wide.iloc[:TRAIN].std(ddof=0)
    ridge = tsf.LagRegressor(target="value", horizon=horizon, lags=336, levels=())
    figures = {"ridge": mean_squared_error(ridge.fit(panel_of(wide[:TRAIN])), wide, horizon)}
    for seed in range(3):
        model = tsf.RecurrentForecaster(
            target="value",
            horizon=horizon,
            lookback=96,
            season=336,
            head=tsf.Point("squared"),
            hidden_sizes=(64,),
            training=tsf.Training(
                max_epochs=10,
                batch_size=16,
                origins=64,
                learning_rate=1e-3,
                validation_size=VALIDATION / (TRAIN + VALIDATION),
            ),
            random_state=seed,
        )
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(panel_of(wide[: TRAIN + VALIDATION]))
        seconds = time.perf_counter() - start
        figures[f"LSTM, seed {seed} ({seconds:.0f} s)"] = mean_squared_error(model, wide, horizon)
    print(f"\nH = {horizon}: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
    reached = np.mean([value for name, value in figures.items() if name != "ridge"])
    assert reached <= 1.05 * REFERENCE[horizon]
