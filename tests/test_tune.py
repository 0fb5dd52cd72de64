"""Searches by Optuna: what is tried, cut short, kept, and gone on with."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import tsforecast as tsf
from tests.small import H, make_model, make_panel, one_series
from tsforecast._checks import DataError
from tsforecast._progress import listening, report_epoch

CV = tsf.RollingOrigin(2, 4)
FEW = {"n_trials": 3, "random_state": 0}


def ewma(**changed: Any) -> tsf.EWMA:
    return tsf.EWMA(**{"target": "y", "horizon": 2} | changed)


def network(**changed: Any) -> tsf.RecurrentForecaster:
    return make_model(**{"validation": "time", "max_epochs": 4} | changed)


class Recorder(BaseEstimator):
    """Keeps what `fit` and `score` are given; its score is its parameter."""

    calls: list[tuple[str, Any, pd.DataFrame]] = []  # noqa: RUF012

    def __init__(self, value: Any = 0.0, other: Any = None) -> None:
        self.value, self.other = value, other

    def fit(self, panel: pd.DataFrame) -> Recorder:
        self.calls.append(("fit", self.value, panel))
        return self

    def score(self, panel: pd.DataFrame) -> float:
        self.calls.append(("score", self.value, panel))
        return float(self.value)


@pytest.fixture
def calls() -> Any:
    Recorder.calls.clear()
    return Recorder.calls


pytestmark = pytest.mark.filterwarnings("ignore:The best epoch is the last one")


# ------------------------------------------------------------------------------- what is tried


@pytest.mark.parametrize("scoring", [None, "wql", tsf.make_scorer("mae")])
def test_a_candidate_has_the_score_that_a_grid_search_gives_it(scoring: Any):
    panel = make_panel(2, 40)
    found = tsf.tune(
        ewma(),
        panel,
        {"alpha": [0.1, 0.5, 0.9]},
        cv=CV,
        scoring=scoring,
        n_trials=8,
        random_state=0,
    )
    scorer = tsf.make_scorer(scoring) if isinstance(scoring, str) else scoring
    grid = GridSearchCV(ewma(), {"alpha": [0.1, 0.5, 0.9]}, cv=CV, scoring=scorer).fit(panel)
    table = grid.cv_results_
    expected = {p["alpha"]: row for p, row in zip(table["params"], range(3))}
    for _, trial in found.trials.iterrows():
        row = expected[trial["alpha"]]
        assert trial["score"] == pytest.approx(table["mean_test_score"][row])
        assert trial["split1_score"] == pytest.approx(table["split1_test_score"][row])
    assert set(found.trials["alpha"]) == {0.1, 0.5, 0.9}
    assert found.best_params == grid.best_params_
    assert found.best_score == pytest.approx(grid.best_score_)
    pd.testing.assert_frame_equal(found.best_estimator.predict(), grid.best_estimator_.predict())


@pytest.mark.parametrize("cv", [CV, tsf.SeriesSplit(2, random_state=0)])
def test_fit_gets_the_training_rows_alone_and_the_best_all_rows(cv: Any, calls: list):
    panel = make_panel(3, 30)
    found = tsf.tune(Recorder(), panel, {"value": (0.0, 1.0)}, cv=cv, **FEW)
    sides = [rows for split in cv.split(panel) for rows in split]
    assert [what for what, *_ in calls] == ["fit", "score", "fit", "score"] * 3 + ["fit"]
    for (_, _, rows), side in zip(calls, sides * 3):
        pd.testing.assert_frame_equal(rows, panel.iloc[side])
    pd.testing.assert_frame_equal(calls[-1][2], panel)
    assert calls[-1][1] == found.best_params["value"] == found.trials["value"].max()


def test_rows_after_a_split_do_not_matter_to_it():
    panel = one_series(40)
    changed = panel.copy()
    changed.iloc[36:] *= 3.0  # behind the first block
    space = {"hidden_sizes": [(2,), (3,)]}
    one, two = (tsf.tune(network(), p, space, cv=CV, **FEW).trials for p in (panel, changed))
    assert one["split0_score"].equals(two["split0_score"])
    assert (one["split1_score"] != two["split1_score"]).all()


def test_every_kind_of_space_reaches_the_estimator(calls: list):
    space = {
        "value": FloatDistribution(1e-3, 1e-1, log=True),
        "other": [tsf.Log(), (64, 32), None, "a"],
    }
    found = tsf.tune(Recorder(), one_series(), space, n_trials=12, cv=CV, random_state=0)
    assert found.trials["value"].between(1e-3, 1e-1).all()
    assert {type(value) for value in found.trials["other"]} == {tsf.Log, tuple, type(None), str}
    assert found.best_estimator.other is not found.best_params["other"] or isinstance(
        found.best_params["other"], str | tuple | None
    )
    for kind, space in (
        (int, {"value": (1, 5)}),
        (float, {"value": (1.0, 5)}),
        (int, {"value": IntDistribution(1, 9, step=4)}),
        (float, {"value": CategoricalDistribution([1.5, 2.5])}),
    ):
        values = tsf.tune(Recorder(), one_series(), space, cv=CV, **FEW).trials["value"]
        assert {type(value) for value in values.tolist()} == {kind}, space
        assert values.between(1, 9).all()


def test_nested_parameters_of_a_forecaster():
    space = {
        "training__learning_rate": FloatDistribution(1e-3, 1e-1, log=True),
        "head__levels": [(0.1, 0.5, 0.9), (0.2, 0.5, 0.8)],
        "transform__seriesscaler__by": ["series", "all"],
        "hidden_sizes": [(2,), (3, 2)],
        "lookback": (3, 6),
    }
    model = network(head=tsf.Quantiles(), transform=make_pipeline(tsf.Log(), tsf.SeriesScaler()))
    found = tsf.tune(model, make_panel(2, 60), space, cv=CV, scoring="mae", **FEW)
    assert list(found.trials["state"].unique()) == ["complete"]
    best = found.best_estimator
    assert best.training.learning_rate == found.best_params["training__learning_rate"]
    assert best.head.levels == found.best_params["head__levels"]
    assert len(best.predict()) == 2 * H
    assert model.training.learning_rate == 0.05  # the one given is as it was
    assert not hasattr(model, "cutoff_")


def test_without_cv_a_block_is_as_long_as_the_horizon(calls: list):
    found = tsf.tune(ewma(horizon=3), one_series(), {"alpha": (0.1, 0.9)}, **FEW)
    assert [name for name in found.trials if name.startswith("split")] == [
        f"split{i}_score" for i in range(5)
    ]
    with pytest.raises(DataError, match="a split has nothing to score.*with 3 rows behind them"):
        tsf.tune(ewma(horizon=3), one_series(), {"alpha": (0.1, 0.9)}, cv=tsf.RollingOrigin())


def test_without_cv_a_block_is_as_long_as_the_largest_horizon():
    for model, space, horizon in (
        (make_pipeline("passthrough", ewma(horizon=3)), {"ewma__alpha": (0.1, 0.9)}, 3),
        (ewma(horizon=1), {"horizon": [6]}, 6),
        (ewma(horizon=9), {"horizon": (2, 4)}, 4),
        (make_pipeline("passthrough", ewma()), {"ewma__horizon": IntDistribution(2, 4)}, 4),
    ):
        blocks = tsf.RollingOrigin(origins_per_split=horizon)
        one, two = (tsf.tune(model, one_series(60), space, cv=cv, **FEW) for cv in (None, blocks))
        assert list(one.trials["state"]) == ["complete"] * 3
        columns = [name for name in one.trials if name != "seconds"]
        pd.testing.assert_frame_equal(one.trials[columns], two.trials[columns])


def test_the_smallest_horizon_decides_what_is_refused():
    short = tsf.RollingOrigin(2, 2)
    found = tsf.tune(ewma(horizon=5), one_series(), {"horizon": [1, 2]}, cv=short, **FEW)
    assert found.trials["score"].notna().all()
    for model, space in ((ewma(horizon=1), {"horizon": [3, 4]}), (ewma(), {"horizon": (3, 4)})):
        with pytest.raises(DataError, match="with 3 rows behind them"):
            tsf.tune(model, one_series(), space, cv=short, **FEW)


@pytest.mark.parametrize("scoring", [None, "mae"])
def test_pipelines_are_tuned(scoring: str | None):
    model = make_pipeline(FunctionTransformer(np.log), ewma())
    space = {"ewma__alpha": [0.1, 0.9]}
    found = tsf.tune(model, make_panel(2, 40), space, cv=CV, scoring=scoring, **FEW)
    plain = tsf.tune(
        ewma(), np.log(make_panel(2, 40)), {"alpha": [0.1, 0.9]}, cv=CV, scoring=scoring, **FEW
    )
    np.testing.assert_allclose(found.trials["score"], plain.trials["score"])


@pytest.mark.parametrize("scoring", [None, "mae", tsf.make_scorer("mae", late=True)])
def test_splits_without_anything_to_score_are_refused_before_the_first_fit(scoring: Any):
    panel = one_series()
    panel.iloc[-15:, panel.columns.get_loc("y")] = np.nan
    with pytest.raises(DataError, match="a split has nothing to score.*no known target"):
        tsf.tune(ewma(), panel, {"alpha": (0.1, 0.9)}, cv=tsf.RollingOrigin(1, 10), scoring=scoring)


def test_the_seed_decides_what_is_tried(calls: list):
    space = {"value": (0.0, 1.0)}
    one, two, other = (
        tsf.tune(Recorder(), one_series(), space, cv=CV, n_trials=3, random_state=seed)
        for seed in (0, 0, 1)
    )
    assert one.trials["value"].equals(two.trials["value"])
    assert not one.trials["value"].equals(other.trials["value"])


def test_the_result_says_what_was_found(calls: list):
    found = tsf.tune(Recorder(), one_series(), {"value": (1, 9)}, cv=CV, refit=False, **FEW)
    assert found.best_estimator is None
    assert found.n_trials == len(found.trials) == 3
    assert list(found.trials) == [
        "number",
        "value",
        "state",
        "score",
        "split0_score",
        "split1_score",
        "seconds",
        "error",
    ]
    assert repr(found) == (
        f"Tuning(best_score={found.best_score:.4g}, best_params={found.best_params}, n_trials=3)"
    )


# ------------------------------------------------------------------------------- failures


def test_failed_trials_are_noted_and_do_not_stop_the_search(tmp_path: Path):
    space = {"alpha": [0.5, -1.0]}
    arguments = {"cv": CV, "n_trials": 8, "random_state": 0, "storage": tmp_path / "s.db"}
    for _ in range(2):  # and again from the storage
        found = tsf.tune(ewma(), one_series(), space, **arguments)
        failed = found.trials[found.trials["state"] == "failed"]
        assert 0 < len(failed) < 8
        assert (failed["alpha"] == -1.0).all()
        assert failed["error"].str.contains("ValueError: .*'alpha'").all()
        assert failed["score"].isna().all()
        assert found.best_params == {"alpha": 0.5}
        assert found.n_trials == 8


def test_where_all_fail_the_error_says_why():
    with pytest.raises(
        DataError, match=r"no trial has given a score.*3 trials, {'failed': 3}.*'alp"
    ):
        tsf.tune(ewma(), one_series(), {"alpha": [-1.0]}, cv=CV, **FEW)
    with pytest.raises(DataError, match="no trial in this time"):
        tsf.tune(ewma(), one_series(), {"alpha": [0.5]}, cv=CV, timeout=0, **FEW)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_failures(value: float, calls: list):
    found = tsf.tune(
        Recorder(), one_series(), {"value": [1.0, value]}, cv=CV, n_trials=6, random_state=0
    )
    assert found.best_score == 1.0
    assert found.trials["error"].dropna().str.contains(f"the score is {value}").all()


@pytest.mark.parametrize(
    "space, message",
    [
        ({}, "'space': expected a dict, with a parameter at least, found {}"),
        ([("alpha", [0.5])], "'space': expected a dict, with a parameter at least, found .."),
        ({"alpha": []}, r"'space': expected for 'alpha' a list of choices"),
        ({"alpha": (2, 1)}, r"expected for 'alpha' a list .*\(low, high\).*found \(2, 1\)"),
        ({"alpha": (1, 2, 3)}, "expected for 'alpha'"),
        ({"alpha": 0.5}, "expected for 'alpha'.*found 0.5"),
        ({"alhpa": [0.5]}, "Invalid parameter 'alhpa'"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: Any, message: str):
    with pytest.raises(ValueError, match=message):
        tsf.tune(ewma(), one_series(), space, cv=CV, n_trials=2)


def test_other_parameters_are_checked():
    for name, value, message in (
        ("n_trials", 0, "'n_trials': expected a whole number of at least 1"),
        ("pruner", "best", "'pruner': expected 'median', None or an Optuna pruner"),
        ("scoring", 3, "'scoring': expected a metric, a scorer"),
        ("scoring", "r2", "'metric': expected one of"),
        ("scoring", get_scorer("r2"), "'scoring': expected a scorer of forecasts.*make_scorer.r2"),
        ("storage", 3, "'storage': expected a path, a URL"),
        ("random_state", -1, "'random_state': expected a whole number of at least 0"),
        ("cv", KFold(3), "a split tears a series apart.*KFold"),
    ):
        with pytest.raises(ValueError, match=message):
            tsf.tune(ewma(), one_series(), {"alpha": [0.5]}, **{"cv": CV, name: value})


@pytest.mark.parametrize(
    "model", [Ridge(), make_pipeline("passthrough", Ridge()), tsf.RecurrentRegressor()]
)
def test_estimators_on_arrays_are_refused(model: Any):
    space = {name: [1.0] for name in model.get_params() if name.endswith(("alpha", "dropout"))}
    with pytest.raises(ValueError, match="'estimator': expected a forecaster.*GridSearchCV"):
        tsf.tune(model, one_series(), space, cv=CV)


def test_storage_that_cannot_be_opened_says_why(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("Not a database, and long enough to be seen as such. " * 99)
    for storage, message in (
        (tmp_path / "no" / "s.db", r"a folder that is there.*no/s.db'. .* unable to open database"),
        (tmp_path / "notes.txt", "a file of SQLite.* file is not a database"),
        ("nothing://me:secret@host/db", r"found 'nothing://...'. It cannot be opened: "),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            tsf.tune(ewma(), one_series(), {"alpha": [0.5]}, cv=CV, storage=storage)
        assert "secret" not in str(caught.value)


def test_without_optuna_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "tsforecast\[tune\]"'):
        tsf.tune(ewma(), one_series(), {"alpha": [0.5]})


# ------------------------------------------------------------------------------- pruning


class StopAt(optuna.pruners.BasePruner):
    """Prunes the trials of some numbers at a step; keeps the steps it sees."""

    def __init__(self, step: int, numbers: tuple[int, ...]) -> None:
        self.step, self.numbers = step, numbers
        self.seen: list[tuple[int, int]] = []

    def prune(self, study: Any, trial: Any) -> bool:
        self.seen.append((trial.number, trial.last_step))
        return trial.number in self.numbers and trial.last_step >= self.step


def test_a_pruned_trial_stops_its_fit_at_that_epoch():
    pruner = StopAt(2, (1,))
    found = tsf.tune(
        network(patience=9), one_series(), {"lookback": (3, 5)}, cv=CV, pruner=pruner, **FEW
    )
    assert list(found.trials["state"]) == ["complete", "pruned", "complete"]
    assert found.n_trials == 3
    epochs = [1, 2, 3, 4]
    both = [*epochs, *(100_000 + epoch for epoch in epochs)]  # the steps of two splits
    for number, steps in enumerate((both, [1, 2], both)):
        assert [step for n, step in pruner.seen if n == number] == steps
    pruned = found.trials.iloc[1]
    assert np.isnan(pruned["score"]) and np.isnan(pruned["split0_score"])
    assert found.best_params["lookback"] in list(found.trials["lookback"][[0, 2]])


def test_the_median_pruner_cuts_poor_candidates_short():
    n = np.arange(160)
    panel = pd.DataFrame({"y": np.sin(n / 3) + 3, "x": np.cos(n / 3)}, index=pd.RangeIndex(160))
    storage = optuna.storages.InMemoryStorage()
    found = tsf.tune(
        network(max_epochs=8, patience=8),
        panel,
        {"training__learning_rate": FloatDistribution(1e-6, 1e-1, log=True)},
        cv=tsf.RollingOrigin(1, 6),
        n_trials=10,
        random_state=0,
        storage=storage,
    )
    rate = found.trials["training__learning_rate"]
    pruned = found.trials["state"] == "pruned"
    assert 1 <= pruned.sum() <= 6  # four are waited for
    assert pruned[:4].sum() == 0
    assert rate[pruned].max() < found.best_params["training__learning_rate"]
    study = optuna.load_study(study_name="tsforecast", storage=storage)
    short = 0
    for trial, cut in zip(study.trials, pruned):
        gains = trial.intermediate_values
        assert 3 <= len(gains) <= 8 if cut else len(gains) == 8
        short += cut and len(gains) < 8
        # relative to the untrained network, whose loss a tiny rate does not change
        assert all(gain < 1 for gain in gains.values())
        if trial.params["training__learning_rate"] < 1e-5:
            assert max(map(abs, gains.values())) < 0.01
    assert short  # fits were stopped early


def test_of_members_the_first_one_is_looked_at():
    pruner = StopAt(99, ())
    tsf.tune(
        network(n_members=3, patience=9),
        one_series(),
        {"lookback": [5]},
        cv=CV,
        pruner=pruner,
        n_trials=1,
    )
    assert [step % 100_000 for _, step in pruner.seen] == [1, 2, 3, 4] * 2


@pytest.mark.parametrize(
    "options", [{"validation": None}, {"pruner": None}], ids=["no validation", "no pruner"]
)
def test_what_is_not_validated_is_not_pruned(options: dict):
    pruner = StopAt(1, (0, 1, 2))
    model = network(validation=options.get("validation", "time"))
    found = tsf.tune(
        model,
        one_series(),
        {"lookback": (3, 5)},
        cv=CV,
        pruner=options.get("pruner", pruner),
        **FEW,
    )
    assert list(found.trials["state"]) == ["complete"] * 3
    assert pruner.seen == []


def test_a_stopped_fit_leaves_everything_as_it_was():
    import logging

    import torch

    def state() -> tuple:
        return (
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM),
            torch.get_num_threads(),
            torch.random.get_rng_state().tolist(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            logging.getLogger("pytorch_lightning").level,
            threading.active_count(),
            list(warnings.filters),
        )

    class StopError(Exception):
        pass

    def stop(epoch: int, loss: float, first: float) -> None:
        seen.append(epoch)
        if epoch == 2:
            raise StopError

    network().fit(one_series())  # what the first fit imports
    before, seen = state(), []
    model = network()
    with pytest.raises(StopError), listening(stop):
        model.fit(one_series())
    assert seen == [1, 2]
    assert state() == before
    report_epoch(3, 1.0, 1.0)  # nobody listens any more
    assert seen == [1, 2]
    again, plain = (each.fit(one_series()).predict() for each in (model, network()))
    pd.testing.assert_frame_equal(again, plain)


def test_listening_does_not_change_a_fit():
    losses: list[tuple[float, ...]] = []
    with listening(lambda *told: losses.append(told)):
        heard = network().fit(one_series())
    alone = network().fit(one_series())
    pd.testing.assert_frame_equal(heard.predict(), alone.predict())
    history = heard.history_["val_loss"]
    assert losses == [(epoch, history[epoch], history[0]) for epoch in range(1, 5)]


def test_optuna_is_silent_and_as_loud_as_before_afterwards(capfd: Any, calls: list):
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        tsf.tune(Recorder(), one_series(), {"value": (0, 9)}, cv=CV, **FEW)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    out, err = capfd.readouterr()
    assert out == "" and err == ""


def test_nothing_warns_of_single_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tsf.tune(network(), one_series(), {"lookback": (3, 5)}, cv=CV, refit=False, **FEW)


# ------------------------------------------------------------------------------- going on


def test_a_search_goes_on_from_its_file(tmp_path: Path, calls: list):
    arguments: dict[str, Any] = {"cv": CV, "random_state": 0, "storage": tmp_path / "search.db"}
    space = {"value": (0.0, 1.0), "other": [tsf.Log(), (1, 2)]}
    first = tsf.tune(Recorder(), one_series(), space, n_trials=3, **arguments)
    assert len(calls) == 3 * 4 + 1
    calls.clear()
    same = tsf.tune(Recorder(), one_series(), space, n_trials=3, **arguments)
    assert len(calls) == 1  # the refit
    drop = ["seconds", "other"]
    pd.testing.assert_frame_equal(same.trials.drop(columns=drop), first.trials.drop(columns=drop))
    calls.clear()
    more = tsf.tune(Recorder(), one_series(), space, n_trials=5, **arguments)
    assert len(calls) == 2 * 4 + 1
    assert more.n_trials == 5
    assert more.trials["value"].nunique() == 5  # draws are not repeated
    assert more.best_score == more.trials["score"].max()
    url = f"sqlite:///{tmp_path / 'search.db'}"
    assert (
        tsf.tune(
            Recorder(), one_series(), space, n_trials=5, **arguments | {"storage": url}
        ).n_trials
        == 5
    )


def test_another_search_of_the_same_name_is_refused_with_what_differs(tmp_path: Path, calls: list):
    panel = one_series()
    arguments: dict[str, Any] = {
        "estimator": Recorder(),
        "panel": panel,
        "space": {"value": (0.0, 1.0)},
        "cv": CV,
        "storage": tmp_path / "search.db",
        **FEW,
    }
    tsf.tune(**arguments)
    revised = panel.copy()
    revised.iloc[3, 0] += 1e-9
    for changed, what in (
        ({"panel": revised}, "found other panel. Give"),
        ({"panel": panel.rename(columns={"x": "z"})}, "found other panel. Give"),
        ({"panel": panel.iloc[1:]}, "found other panel, splits. Give"),
        ({"cv": tsf.RollingOrigin(2, 5)}, "found other splits. Give"),
        ({"scoring": "mae"}, "found other scoring. Give"),
        ({"estimator": Recorder(other=1)}, "found other estimator's other. Give"),
        ({"estimator": ewma(), "space": {"alpha": (0.0, 1.0)}}, "found other estimator, "),
        ({"space": {"value": (0.0, 2.0)}}, "found other space of value. Give"),
        ({"space": {"value": (0.0, 1.0), "other": [1]}}, "found other space of other. Give"),
    ):
        with pytest.raises(ValueError, match=f"another search named 'tsforecast'.*{what}"):
            tsf.tune(**arguments | changed)
    assert tsf.tune(**arguments | {"panel": revised, "name": "revised"}).n_trials == 3
    optuna.create_study(study_name="mine", storage=f"sqlite:///{tmp_path / 'search.db'}").add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    with pytest.raises(ValueError, match="another search named 'mine'"):
        tsf.tune(**arguments | {"name": "mine"})


def scaled(factor: float) -> Any:
    return lambda model, panel: factor * model.value


def last(model: Any, panel: Any, share: float = 0.5) -> float:
    return share


class Nameless:
    """Known by its address alone."""

    def __call__(self, model: Any, panel: Any) -> float:
        return 0.0

    def method(self, model: Any, panel: Any) -> float:
        return 0.0


def test_functions_are_known_by_what_they_do(tmp_path: Path, calls: list):
    """As arguments, and within others: every pair that differs is told apart."""
    arguments: dict[str, Any] = {"cv": CV, "storage": tmp_path / "s.db", **FEW}
    space = {"value": (0.0, 1.0)}

    def different(what: str, one: dict[str, Any], *others: dict[str, Any]) -> None:
        common = arguments | {"name": str(time.monotonic_ns())}
        known = {"estimator": Recorder(), "panel": one_series(), "space": space}
        tsf.tune(**known | common | one)
        tsf.tune(**known | common | one)
        for other in others:
            with pytest.raises(ValueError, match=f"another search .* found other {what}. Give"):
                tsf.tune(**known | common | other)

    different(
        "scoring",
        {"scoring": lambda model, panel: model.value},
        {"scoring": lambda model, panel: -model.value},
        {"scoring": lambda model, panel: model.other or 0.5},
        {"scoring": lambda model, panel: model.value + 1},
        {"scoring": lambda model, panel: sum(model.value for _ in panel)},
        {"scoring": scaled(1.0)},
    )
    different("scoring", {"scoring": scaled(1.0)}, {"scoring": scaled(2.0)})
    different("scoring", {"scoring": last}, {"scoring": partial(last, share=0.1)})
    different(
        "scoring",
        {"scoring": partial(last, share=0.2)},
        {"scoring": partial(last, share=0.1)},
        {"scoring": lambda model, panel, share=0.2: share},
    )
    one, two = (FunctionTransformer(lambda x, k=k: x * k) for k in (1, 2))
    different(
        "estimator's other__func", *({"estimator": Recorder(other=each)} for each in (one, two))
    )
    different("space of other", *({"space": space | {"other": [each]}} for each in (one, two)))
    long = np.arange(2000.0)  # the repr leaves out the middle
    other = np.where(long == 1000, 0.0, long)
    for kind in (np.asarray, pd.Series, lambda values: pd.DataFrame({"x": values})):
        different(
            "estimator's other", *({"estimator": Recorder(other=kind(v))} for v in (long, other))
        )
    for what, changed in (
        ("scoring", {"scoring": Nameless()}),
        ("scoring", {"scoring": Nameless().method}),
        ("estimator's other", {"estimator": Recorder(other=Nameless())}),
        ("space of other", {"space": {"other": [Nameless()]}}),
    ):
        known = {"estimator": Recorder(), "panel": one_series(), "space": space}
        message = (
            f'"?{what}"?.: expected an object that can be known again.*Give its class a __repr__'
        )
        with pytest.raises(ValueError, match=message):
            tsf.tune(**known | arguments | changed)
        tsf.tune(**known | arguments | changed | {"storage": None})


def test_a_function_is_known_again_in_another_process(tmp_path: Path):
    script = tmp_path / "search.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import numpy as np, pandas as pd
            import tsforecast as tsf

            def made(kinds):
                def scorer(model, panel):  # encloses itself, and sets in an order of the process
                    return float(len(kinds)) if "x" in {"x", "y", "z"} else scorer(model, panel)
                return scorer

            panel = pd.DataFrame({"y": np.arange(30.0) % 7})
            found = tsf.tune(tsf.EWMA(), panel, {"alpha": (0.1, 0.9)}, cv=tsf.RollingOrigin(2, 4),
                             scoring=made({"a", "b", "c"}), n_trials=int(sys.argv[2]),
                             storage=sys.argv[1])
            print(found.n_trials)
            """
        )
    )
    for n_trials in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONHASHSEED": n_trials}
        command = [sys.executable, str(script), str(tmp_path / "s.db"), n_trials]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == n_trials


def test_verbose_is_no_part_of_a_search(tmp_path: Path):
    arguments: dict[str, Any] = {"cv": CV, "storage": tmp_path / "s.db", **FEW}
    space = {"lookback": (3, 5)}
    pipe = make_pipeline("passthrough", network())
    tsf.tune(pipe, one_series(), {"recurrentforecaster__lookback": (3, 5)}, name="b", **arguments)
    pipe.set_params(verbose=True, recurrentforecaster__verbose=1)
    tsf.tune(pipe, one_series(), {"recurrentforecaster__lookback": (3, 5)}, name="b", **arguments)
    tsf.tune(network(), one_series(), space, **arguments)
    loud = network(verbose=1)
    assert tsf.tune(loud, one_series(), space, refit=False, **arguments).n_trials == 3
    with pytest.raises(ValueError, match="found other estimator's training__patience"):
        tsf.tune(network(patience=3), one_series(), space, **arguments)


def test_splits_that_are_drawn_anew_cannot_be_kept(tmp_path: Path):
    arguments: dict[str, Any] = {"storage": tmp_path / "s.db", "space": {"alpha": [0.5]}, **FEW}
    panel = make_panel(8, 20)
    for seed in (None, np.random.RandomState(0)):
        cv = tsf.SeriesSplit(2, random_state=seed)
        message = "'cv': expected the same splits in every call.*a whole number as random_state="
        with pytest.raises(ValueError, match=message):
            tsf.tune(ewma(), panel, cv=cv, **arguments)
        tsf.tune(ewma(), panel, cv=cv, **arguments | {"storage": None})
    cv = tsf.SeriesSplit(2, random_state=0)
    assert tsf.tune(ewma(), panel, cv=cv, **arguments).n_trials == 3


def test_the_storage_holds_neither_rows_nor_names(tmp_path: Path):
    panel = make_panel(2, 40).rename({"s0": "PATIENT-SEVEN", "s1": "PATIENT-EIGHT"})
    gap = panel.copy()
    gap.loc["PATIENT-SEVEN", "y"] = np.nan
    file = tmp_path / "search.db"
    model = make_model(missing="raise", max_epochs=1)
    with pytest.raises(DataError, match="PATIENT-SEVEN"):
        tsf.tune(model, gap, {"lookback": [5]}, cv=CV, storage=file, **FEW)
    tsf.tune(ewma(), panel, {"alpha": [0.5]}, cv=CV, storage=file, name="b", **FEW)
    content = file.read_bytes()
    assert b"PATIENT" not in content
    assert b"DataError" in content
    assert str(panel["y"].iloc[0]).encode() not in content


class Interrupting(Recorder):
    """Ctrl-C in the second split of the second trial."""

    def fit(self, panel: pd.DataFrame) -> Interrupting:
        if len(self.calls) == 6:
            self.calls.append(("stop", None, panel))
            raise KeyboardInterrupt
        super().fit(panel)
        return self


def test_an_interrupt_keeps_finished_trials_and_is_raised(tmp_path: Path, calls: list):
    arguments: dict[str, Any] = {"cv": CV, "storage": tmp_path / "search.db", **FEW}
    space = {"value": (0.0, 1.0)}
    with pytest.raises(KeyboardInterrupt):
        tsf.tune(Interrupting(), one_series(), space, **arguments)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    calls.clear()
    found = tsf.tune(Interrupting(), one_series(), space, **arguments | {"n_trials": 2})
    assert found.n_trials == 2  # one from before; the one interrupted does not count
    assert list(found.trials["number"]) == [0, 2]
    assert found.trials["value"].nunique() == 2


def test_a_killed_search_goes_on(tmp_path: Path):
    file = tmp_path / "search.db"
    script = tmp_path / "search.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            import numpy as np, pandas as pd
            import tsforecast as tsf
            from sklearn.base import BaseEstimator

            class Slow(BaseEstimator):
                def __init__(self, value=0.0, wait=0.0):
                    self.value, self.wait = value, wait
                def fit(self, panel):
                    time.sleep(float(sys.argv[2]))
                    return self
                def score(self, panel):
                    return float(self.value)

            panel = pd.DataFrame({"y": np.arange(30.0)})
            found = tsf.tune(Slow(), panel, {"value": (0.0, 1.0)}, cv=tsf.RollingOrigin(2, 4),
                             n_trials=6, random_state=0, storage=sys.argv[1])
            print(found.n_trials, *found.trials["number"])
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, str(script), str(file)]
    running = subprocess.Popen([*command, "0.4"], env=environment)  # twice a trial

    def ended() -> int:
        # not through Optuna, which would make the tables while the other process does
        try:
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                states = database.execute("SELECT state FROM trials").fetchall()
        except sqlite3.OperationalError:  # not there yet
            return 0
        return sum(state not in ("RUNNING", "WAITING") for (state,) in states)

    limit = time.monotonic() + 60
    while ended() < 2 and time.monotonic() < limit and running.poll() is None:
        time.sleep(0.05)
    time.sleep(0.4)  # the next one is under way
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    before = ended()
    assert 2 <= before < 6
    done = subprocess.run(
        [*command, "0"], env=environment, capture_output=True, text=True, check=True
    )
    count, *numbers = done.stdout.split()
    assert count == "6" and len(numbers) == 6
    assert numbers != ["0", "1", "2", "3", "4", "5"]  # the one that was killed is none of them
