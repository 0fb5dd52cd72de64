"""Which barrier will the S&P 500 reach first? Accuracy beside the base rate, labels purged.

Usage: barriers.py [--seeds 3]

Rows of `load_sp500` before 2006-12-15 alone; later ones are test years of other benchmarks. Labels:
two daily deviations up or down within ten sessions, else the sign of the return. Four splits walk
forward; of each the training samples whose label reaches into the test part are left out, and
weights are the uniqueness among those that are left. Nothing was tuned.
"""

import argparse
import time

import numpy as np
import pandas as pd
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tsforecast as tsf

BEFORE = pd.Timestamp("2006-12-15")
HORIZON, LOOKBACK, N_SPLITS = 10, 20, 4


def samples():
    """Windows, labels and their ends; the labels' frame; X of shape (n, 20, 2)."""
    prices = tsf.as_panel(tsf.load_sp500()[["close"]])
    prices = prices[prices.index < BEFORE]
    labels = tsf.triple_barrier(prices, horizon=HORIZON, up=2, down=2, vertical="sign")
    move = np.log(prices["close"]).diff()
    table = pd.DataFrame(
        {
            "label": labels["label"].replace(0.0, np.nan),  # a return of exactly 0
            "move": move / labels["volatility"],
            "volatility": np.log(labels["volatility"]),
        }
    )
    X, y, index = tsf.make_windows(
        table, LOOKBACK, horizon=0, target="label", past=["move", "volatility"]
    )
    return X, y > 0, index, labels


def networks(end, seeds):
    """LSTM classifiers whose early stopping looks at labels that training does not reach into."""
    training = tsf.Training(max_epochs=20, validation="time")
    for seed in seeds:
        yield (
            f"lstm {seed}",
            tsf.RecurrentClassifier(
                hidden_sizes=(16,),
                label_horizon=tsf.label_horizon(end),
                training=training,
                random_state=seed,
            ),
        )


def run(seeds):
    """Probability of up of every model, for all test samples, with the split that made it."""
    X, y, index, labels = samples()
    end = labels.loc[index, "label_end"]
    flat = X.reshape(len(X), -1)
    found = []
    for number, (train, test) in enumerate(tsf.PurgedSplit(N_SPLITS, label_horizon=end).split(X)):
        weight = tsf.uniqueness(labels, among=index[train]).to_numpy()
        chance = {"base rate": np.full(len(test), np.average(y[train], weights=weight))}
        logistic = make_pipeline(StandardScaler(), LogisticRegression())
        logistic.fit(flat[train], y[train], logisticregression__sample_weight=weight)
        chance["logistic"] = logistic.predict_proba(flat[test])[:, 1]
        members = []
        for name, model in networks(end.iloc[train], seeds):
            model.fit(X[train], y[train], sample_weight=weight)
            members.append(model.predict_proba(X[test])[:, 1])
            chance[name] = members[-1]
        chance["lstm, mean"] = np.mean(members, axis=0)
        found.append(
            pd.DataFrame(chance, index=index[test]).assign(
                up=y[test], split=number, weight=weight.mean(), n_train=len(train)
            )
        )
    return pd.concat(found)


def score(frame):
    """Accuracy and log loss beside the base rate, with p values of the differences (HAC)."""
    names = [name for name in frame if name not in ("up", "split", "weight", "n_train")]
    up = frame["up"].to_numpy()
    right = {name: ((frame[name] > 0.5) == up).astype(float) for name in names}
    rows = {}
    for name in names:
        more = right[name] - right["base rate"]
        test = sm.OLS(more, np.ones(len(more))).fit(
            cov_type="HAC", cov_kwds={"maxlags": 2 * HORIZON}
        )
        rows[name] = {
            "accuracy": right[name].mean(),
            "more than base rate": more.mean(),
            "p": test.pvalues.iloc[0] if more.any() else np.nan,
            "log loss": log_loss(up, frame[name]),
            "says up": (frame[name] > 0.5).mean(),
        }
    return pd.DataFrame(rows).T


def main():
    """Print labels, splits and scores."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    begin = time.perf_counter()
    X, y, index, labels = samples()
    print(f"{len(X)} samples, {index[0]:%Y-%m-%d} to {index[-1]:%Y-%m-%d}, {y.mean():.1%} up")
    print(labels["barrier"].value_counts(normalize=True).round(3).to_dict())
    print("mean uniqueness", round(tsf.uniqueness(labels, among=index).mean(), 3))
    frame = run(range(arguments.seeds))
    by_split = frame.groupby("split").agg({"up": ["size", "mean"], "n_train": "first"})
    print(by_split.round(3).to_string())
    print(score(frame).round(3).to_string())
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
