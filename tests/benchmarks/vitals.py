"""Six vital signs of intensive care six hours ahead, beside the last value and lines on lags.

    OMP_NUM_THREADS=1 python tests/benchmarks/vitals.py [--folds 5] [--seeds 1] [--jobs 1]

PhysioNet 2019, hospital A: 20,336 stays, hourly (`TSFORECAST_DATA` names the folder of the data).
One `RecurrentForecaster` forecasts heart rate, mean and systolic arterial pressure, respiratory
rate, oxygen saturation and temperature; it also sees diastolic pressure, ten laboratory values, the
hour of the stay, age, sex and the hours in hospital before.  Patients are cut into folds by a fixed
seed, and each is forecast by models that have seen none of their rows.

An origin counts for a vital where the vital is measured six hours later and has been measured up to
then.  Nothing else is asked of it: forecasts begin with the first value, and may have to do with an
old one.

===========  ==================================================================================
persistence  the last known value
ridge        per vital, least squares on 8 lags of the last known values of all six and on
             whether each was measured in that hour
lad          the same inputs and the least absolute error, which is what the table measures
             (`QuantReg`, on 60,000 origins)
recurrent    one network for the six, which corrects the last known values; its forecast is the
             median
together     the mean of the networks from several seeds, with ``--seeds``
===========  ==================================================================================

Printed per vital: the mean absolute errors, the ratio of recurrent to the others, and recurrent
less ridge with a 95 % interval from 2,000 bootstrap samples of patients.  With several seeds,
"recurrent" is the mean of their errors.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[2]))  # a plain call runs from a checkout

import tsforecast as tsf

VITALS = ["HR", "MAP", "SBP", "Resp", "O2Sat", "Temp"]
LABS = [
    "FiO2", "pH", "PaCO2", "Lactate", "Creatinine", "WBC", "Glucose", "Hgb", "Potassium", "BUN",
]  # fmt: skip
STATIC = ["Age", "Gender", "HospAdmTime"]
HORIZON, LAGS = 6, 8
MOST_FOR_LAD = 60_000


def stays(n=None):
    """The columns used, of the first `n` patients; ``hour`` of the stay is one of them."""
    panel = tsf.load_physionet2019()
    hour = panel.index.get_level_values("time") / pd.Timedelta("1h")
    panel = panel[[*VITALS, "DBP", *LABS, *STATIC]].assign(hour=hour)
    return panel if n is None else panel.loc[panel.index.unique("patient")[:n]]


def forecaster(seed=0, **changes):
    """The network; settings were chosen among training patients of the first of five folds."""
    settings = {
        "target": VITALS,
        "past": ["DBP", *LABS, "hour"],
        "static": STATIC,
        "horizon": HORIZON,
        "lookback": 8,
        "context": "history",
        "baseline": "last",
        "head": tsf.Point("absolute"),
        "hidden_sizes": (64, 64),
        "dropout": 0.2,
        "training": tsf.Training(
            validation="series",
            validation_size=0.1,
            max_epochs=6,
            averaging=0.99,
            batch_size=64,
            origins=32,
        ),
        "random_state": seed,
    }
    return tsf.RecurrentForecaster(**{**settings, **changes})


def recurrent(model, panel, step=2000):
    """Forecasts of the last hour of the horizon at every row, (N, K), some patients at a time."""
    patients = panel.index.unique(0)
    parts = []
    for at in range(0, len(patients), step):
        with warnings.catch_warnings():  # of vitals not measured yet, which have no forecast
            warnings.filterwarnings("ignore", "[0-9]+ origins of")
            frame = model.forecast_origins(panel.loc[patients[at : at + step]])
        assert list(frame["target"].iloc[: len(VITALS) * HORIZON : HORIZON]) == VITALS
        parts.append(frame["forecast"].to_numpy().reshape(-1, len(VITALS), HORIZON)[:, :, -1])
    return np.concatenate(parts)


def lagged(panel):
    """Last known values of the vitals 0 to 7 hours ago and whether each was measured, (N, 96).

    NaN where nothing is known yet.
    """
    filled = panel[VITALS].groupby(level=0).ffill().astype(np.float32).groupby(level=0)
    measured = panel[VITALS].notna().astype(np.float32).groupby(level=0)
    values = [filled.shift(lag).to_numpy() for lag in range(LAGS)]
    flags = [measured.shift(lag, fill_value=0.0).to_numpy() for lag in range(LAGS)]
    return np.concatenate([*values, *flags], axis=1)


def linear(X, y, X_new, rng):
    """Ridge and least absolute error, fitted to `y`: forecasts for `X_new`."""
    from statsmodels.regression.quantile_regression import QuantReg

    scaler = StandardScaler().fit(X)  # it passes over NaN; zero is then the mean
    X, X_new = (np.nan_to_num(scaler.transform(part)) for part in (X, X_new))
    ridge = Ridge(alpha=1.0).fit(X, y)
    some = rng.permutation(len(y))[:MOST_FOR_LAD]
    dense = np.column_stack([np.ones(len(some)), X[some].astype(np.float64)])
    with warnings.catch_warnings():  # it stops after 30 rounds, close to the end
        warnings.simplefilter("ignore")
        lad = QuantReg(y[some], dense).fit(q=0.5, max_iter=30)
    return ridge.predict(X_new), lad.params[0] + X_new @ lad.params[1:]


def truth(panel):
    """Values six hours ahead and the last known ones, (N, K), NaN in both where none counts."""
    grouped = panel[VITALS].groupby(level=0)
    ahead, last = grouped.shift(-HORIZON).to_numpy(), grouped.ffill().to_numpy()
    unknown = np.isnan(ahead + last)
    return np.where(unknown, np.nan, ahead), np.where(unknown, np.nan, last)


def folds_of(panel, folds):
    """Fold of every row, by patient, (N,)."""
    patients = panel.index.unique(0)
    fold = np.random.default_rng(0).permutation(len(patients)) % folds
    return fold[patients.get_indexer(panel.index.get_level_values(0))]


def lines(panel, test):
    """Forecasts of the two linear models for the rows of `test`, (2, n, K)."""
    X, (ahead, _) = lagged(panel), truth(panel)
    said = np.empty((2, test.sum(), len(VITALS)))
    for k in range(len(VITALS)):
        use = ~test & np.isfinite(ahead[:, k])
        said[..., k] = linear(X[use], ahead[use, k], X[test], np.random.default_rng(0))
    return said


def network(panel, test, seed):
    """Forecasts of a network for the rows of `test`, (n, K), and a line on its training."""
    start = time.perf_counter()
    model = forecaster(seed)
    with warnings.catch_warnings():  # of stays too short to learn from
        warnings.simplefilter("ignore")
        model.fit(panel[~test])
    seconds = time.perf_counter() - start
    loss = model.history_["val_loss"]
    best = model.best_epochs_[0]
    line = f"{seconds:.0f} s, epoch {best} of {len(loss) - 1}, {loss[best]:.4f} / {loss[0]:.4f}"
    return recurrent(model, panel[test]), line


def one_fold(number, folds, seeds, n_patients):
    """Forecasts for the patients of a fold: two linear models, then the networks; (2 + S, n, K)."""
    panel = stays(n_patients)
    test = folds_of(panel, folds) == number
    said = [*lines(panel, test)]
    for seed in range(seeds):
        forecast, line = network(panel, test, seed)
        print(f"fold {number}, seed {seed}: {line} (validation / persistence)", flush=True)
        said.append(forecast)
    return np.stack(said)


def errors_of(panel, fold, said):
    """Absolute errors at every row, by method, (N, K) each; `said` has one entry for each fold."""
    ahead, last = truth(panel)
    whole = np.empty((said[0].shape[0], *ahead.shape))
    for number, part in enumerate(said):
        whole[:, fold == number] = part
    networks = whole[2:]
    errors = {"persistence": last, "ridge": whole[0], "lad": whole[1]}
    errors = {name: np.abs(values - ahead) for name, values in errors.items()}
    errors["recurrent"] = np.abs(networks - ahead).mean(axis=0)
    if len(networks) > 1:
        errors["together"] = np.abs(networks.mean(axis=0) - ahead)
    return errors


def table(errors, patient, samples=2000):
    """Header and rows: mean absolute errors per vital, and recurrent less ridge with its interval.

    Parameters
    ----------
    errors : dict of ndarray, shape (N, K)
    patient : ndarray of int64, shape (N,)
        Number of each row's patient.
    samples : int
        Of the bootstrap.
    """
    n = patient.max() + 1
    draws = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=samples)
    names = list(errors)
    own = [name for name in names if name in ("recurrent", "together")]
    against = ["persistence", "ridge", "lad"]
    rows = []
    for k, vital in enumerate(VITALS):
        known = np.isfinite(errors["persistence"][:, k])
        mean = {name: errors[name][known, k].mean() for name in names}
        count = np.bincount(patient[known], minlength=n)
        row = [vital, f"{known.sum():,}", *(f"{value:.3f}" for value in mean.values())]
        for name in own:
            less = errors[name][known, k] - errors["ridge"][known, k]
            total = np.bincount(patient[known], weights=less, minlength=n)
            low, high = np.quantile((draws @ total) / (draws @ count), [0.025, 0.975])
            row += [f"{mean[name] / mean[other]:.3f}" for other in against]
            row.append(f"{less.mean():.3f} [{low:.3f}, {high:.3f}]")
        rows.append(row)
    header = ["vital", "origins", *names]
    for name in own:
        header += [*(f"{name} / {other}" for other in against), f"{name} - ridge [95 %]"]
    return header, rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time, about 2 GiB each")
    parser.add_argument("--patients", type=int, default=None, help="the first ones, for a trial")
    args = parser.parse_args()
    said = Parallel(n_jobs=args.jobs)(
        delayed(one_fold)(number, args.folds, args.seeds, args.patients)
        for number in range(args.folds)
    )
    panel = stays(args.patients)
    patient = panel.index.unique(0).get_indexer(panel.index.get_level_values(0))
    header, rows = table(errors_of(panel, folds_of(panel, args.folds), said), patient)
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
