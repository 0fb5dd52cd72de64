"""Events of patients on PhysioNet data: recurrent, boosted, both, and NEWS2, on the same folds.

Usage: deterioration.py {2012,2019,map} [--folds 5] [--only N] [--seeds 3] [--jobs 2] [--keep DIR]

2012: in-hospital death, judged at 48 h (set A). 2019: sepsis within 6 h (hospital A), also by the
challenge's own label and utility. map: MAP < 65 within 6 h (2019, hospital A).

Patients are cut into folds by a stated seed, stratified by the event; every figure is of patients
that the model had not seen. "recurrent" and "blended" are means of the logits of `--seeds` fits,
each with validation patients of its own.
"""

import argparse
import copy
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from scipy import special
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score

import tsforecast as tsf
from tsforecast.backtesting.patients import EventBacktest

FOLD_SEED = 0
NETWORK = {
    "hidden_sizes": (64,),
    "dropout": 0.4,
    "channel_dropout": 0.15,
    "input_decay": True,
}
SLOW = ["Age", "Gender", "Height", "ICUType"]
WHO = ["Age", "Gender", "Unit1", "Unit2", "HospAdmTime"]


class Task:
    """One question: its panel, what is asked, and how the network is fitted."""

    def __init__(self, name):
        if name == "2012":
            self.panel = tsf.load_physionet2012(grid="1h")
            self.static, self.at, self.keep = SLOW, "48h", []
            self.question = {"event": "In-hospital_death", "label": "outcome"}
            self.network = {"cell": "gru", "last_weight": 0.6, "vitals_weight": 5.0}
            self.training = {"max_epochs": 10, "learning_rate": 6e-3, "patience": 10}
            self.table = {"at": "48h"}
            self.stratify = "In-hospital_death"
        else:
            self.panel = tsf.load_physionet2019()
            self.static, self.at = WHO, "every"
            self.question = {"event": "onset", "horizon": "6h", "step": "1h"}
            self.network, self.table, self.keep = {"cell": "lstm"}, {}, ["SepsisLabel"]
            self.training = {
                "max_epochs": 8, "learning_rate": 4e-3, "batch_size": 128, "patience": 4
            }  # fmt: skip
            self.stratify = "onset"
            if name == "map":
                self.question["event"] = tsf.Event("MAP < 65")
                self.question |= {"label": "recurrent", "clear": "1h"}

    def folds(self, n):
        split = tsf.SeriesSplit(n, stratify=self.stratify, random_state=FOLD_SEED)
        return list(split.split(self.panel))

    def boosted(self):
        return tsf.BoostedBaseline(**self.question, **self.table, random_state=0)

    def recurrent(self, seed):
        return tsf.EventClassifier(
            **self.question,
            static=self.static,
            **NETWORK,
            **self.network,
            transform=tsf.LogSkewed(),
            beside=self.boosted(),
            training=tsf.Training(**self.training),
            random_state=seed,
        )


def mean_frame(frames):
    """Average the logits of several frames of the same rows."""
    result = frames[0].copy()
    for name in [c for c in result if str(c).startswith("risk")]:
        odds = np.mean([special.logit(f[name].clip(1e-9, 1 - 1e-9)) for f in frames], axis=0)
        result[name] = special.expit(odds)
    return result


def run_fold(name, number, n_folds, seeds):
    warnings.simplefilter("ignore", ConvergenceWarning)
    task = Task(name)
    train, test = task.folds(n_folds)[number]
    known, held = task.panel.iloc[train], task.panel.iloc[test]
    frames, seconds, shares = {}, {}, []

    def judge(model, label):
        return tsf.event_frame(model, held, name=label, keep=task.keep)

    since = time.perf_counter()
    frames["boosted"] = judge(task.boosted().fit(known), "boosted")
    seconds["boosted"] = time.perf_counter() - since
    if name == "2012":
        logistic = tsf.LogisticBaseline(**task.question, **task.table).fit(known)
        frames["logistic"] = judge(logistic, "logistic")
    frames["NEWS2"] = judge(tsf.NEWS2(**task.question).fit(known), "NEWS2")
    alone, both = [], []
    for seed in range(seeds):
        since = time.perf_counter()
        model = task.recurrent(seed).fit(known)
        seconds[f"blended {seed}"] = time.perf_counter() - since
        seconds[f"networks {seed}"] = float(model.history_["seconds"].sum())
        both.append(judge(model, "blended"))
        shares.append((model.beside_share_, model.best_epochs_[0]))
        network = copy.copy(model)
        network._beside = None  # the same network without what stands beside it
        alone.append(judge(network, "recurrent"))
    frames["recurrent"], frames["blended"] = mean_frame(alone), mean_frame(both)
    for seed, frame in enumerate(alone):
        frames[f"recurrent, seed {seed}"] = frame.assign(model=f"recurrent, seed {seed}")
    print(f"fold {number}: {seconds}, share and best epoch {shares}", flush=True)
    return pd.concat(frames.values()).assign(fold=number)


def kept_fold(folder, *arguments):
    """Run one fold, or read it where an earlier run was cut off after it."""
    if folder is None:
        return run_fold(*arguments)
    name, number, n_folds, seeds = arguments
    place = folder / f"{name}-fold{number}of{n_folds}-seeds{seeds}.parquet"
    if not place.exists():
        frame = run_fold(*arguments)
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(place)
    return pd.read_parquet(place)


def say(title, table):
    print(f"\n## {title}\n{table if isinstance(table, str) else table.to_string()}", flush=True)


def official(frame):
    """Score by the label and the utility of the challenge, over all rows."""
    lines = {}
    for model, rows in frame.groupby("model", sort=False):
        label = rows.set_index(["series", "time"])["SepsisLabel"]
        risk = rows.set_index(["series", "time"])["risk"]
        fold = rows["fold"].to_numpy()
        alarm = pd.Series(0.0, index=risk.index)
        for number in np.unique(fold):
            mine = fold == number
            threshold = tsf.utility_threshold(label[~mine], risk[~mine])
            alarm[mine] = (risk[mine] >= threshold).astype(float)
        parts = [tsf.utility_2019(label[fold == k], alarm[fold == k]) for k in np.unique(fold)]
        auroc = [roc_auc_score(label[fold == k], risk[fold == k]) for k in np.unique(fold)]
        lines[model] = {
            "AUROC, mean of folds": np.mean(auroc),
            "AUROC, pooled": roc_auc_score(label, risk),
            "utility, mean of folds": np.mean(parts),
            "utility, pooled": tsf.utility_2019(label, alarm),
        }
    return pd.DataFrame(lines).T.round(4)


def report(name, frame, task):
    main = [m for m in frame["model"].unique() if "seed" not in m]
    result = EventBacktest(frame[frame["model"].isin(main)].reset_index(drop=True))
    say("scores", result.metrics(task.at))
    say("differences against boosted", result.compare("boosted", at=task.at))
    by_fold = frame[frame["eligible"]]
    if name == "2012":
        by_fold = by_fold.groupby(["model", "series"]).tail(1)
    auroc = by_fold.groupby(["model", "fold"]).apply(lambda f: roc_auc_score(f["event"], f["risk"]))
    say("AUROC by fold", auroc.unstack().assign(mean=auroc.groupby("model").mean()).round(4))
    for method in ("platt", "isotonic"):
        calibrated = tsf.cross_calibrate(result.frame, method, at=task.at)
        say(f"calibration, {method}", tsf.calibration_summary(calibrated, at=task.at))
    say("calibration, as it came", tsf.calibration_summary(result.frame, at=task.at))
    if name == "2019":
        say("the challenge's label and utility, all rows", official(frame))
    if name != "2012":
        policy = tsf.AlarmPolicy(silence="6h")
        say("alarms", result.alarms(policy, alarms_per_patient_day=0.85))
    question = {k: v for k, v in task.question.items() if k not in ("step",)}
    say("nuisance", tsf.nuisance_report(task.panel, **question, step=task.question.get("step")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["2012", "2019", "map"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", type=int, help="run the first so many of the folds")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--keep", type=Path, help="folder for the folds' frames, read where they are"
    )
    args = parser.parse_args()
    parts = joblib.Parallel(n_jobs=args.jobs)(
        joblib.delayed(kept_fold)(args.keep, args.task, number, args.folds, args.seeds)
        for number in range(args.only or args.folds)
    )
    whole = pd.concat(parts, ignore_index=True)
    report(args.task, whole, Task(args.task))
