"""A search over panels by Optuna."""

from __future__ import annotations

import hashlib
import numbers
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv

from tsforecast._checks import DataError, bad_parameter, fail, first, positive_int
from tsforecast._html import html_form, html_table
from tsforecast._progress import listening, progress_bar
from tsforecast.backtesting.scorers import known_scorers, make_scorer
from tsforecast.data.panel import Ints, as_panel, layout_of
from tsforecast.data.scored import (
    check_split,
    gives_positions,
    horizons_of,
    splitter_name,
    target_values,
    within,
)
from tsforecast.data.splits import RollingOrigin

__all__ = ["Tuning", "tune"]


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a search has found; see `tune`.

    Attributes
    ----------
    trials : DataFrame
        One row for every trial that has ended: ``number``, a column for each parameter, ``state``
        (complete, pruned or failed), ``score``, ``split0_score`` and so on, ``seconds``,
        ``error``.
    best_params : dict of str to object
        Parameters of the trial with the highest score.
    best_score : float
        Its mean score over the splits.
    best_estimator : estimator or None
        With these parameters, fitted on all rows; None with ``refit=False``.
    n_trials : int
        Trials that have ended, pruned and failed ones too. The best of many is flattered by
        their number: whatever corrects for it (a deflated Sharpe ratio) needs this one.
    """

    trials: pd.DataFrame
    best_params: dict[str, Any]
    best_score: float
    best_estimator: Any
    n_trials: int

    def _repr_html_(self) -> str:
        best = pd.Series(self.best_params, name="best", dtype=object).to_frame()
        ranked = self.trials.sort_values("score", ascending=False).drop(columns="error")
        return html_form(
            f"Tuning: score {self.best_score:.4g}, the best of {self.n_trials:,} trials",
            html_table(best, caption="Parameters of the best trial"),
            html_table(ranked.set_index("number"), caption="Trials", rows=5),
        )

    def __repr__(self) -> str:
        return (
            f"Tuning(best_score={self.best_score:.4g}, best_params={self.best_params}, "
            f"n_trials={self.n_trials})"
        )


def tune(
    estimator: Any,
    panel: pd.DataFrame,
    space: Mapping[str, Any],
    *,
    cv: Any = None,
    scoring: Any = None,
    n_trials: int = 20,
    timeout: float | None = None,
    pruner: Any = "median",
    storage: Any = None,
    name: str = "tsforecast",
    refit: bool = True,
    random_state: int | None = None,
    verbose: int = 0,
) -> Tuning:
    """Search for good parameters with Optuna: fewer fits than a grid, and poor ones cut short.

    A trial fits a clone with other parameters on the training rows of every split and scores it
    on the test rows, as a `GridSearchCV` does; its score is the mean. The next parameters are
    proposed by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011). Where there are
    only a few candidates, `GridSearchCV` tries each of them once.

    Parameters
    ----------
    estimator : estimator
        One whose ``fit`` takes a panel, or a pipeline that ends in one. It is cloned.
    panel : DataFrame
        A panel, or anything that `as_panel` takes without further names.
    space : dict of str to list, tuple or distribution
        For each parameter (``training__learning_rate`` reaches into others): a list of choices,
        of any kind; a tuple (low, high) of whole numbers, or of numbers; or an Optuna
        distribution, such as ``FloatDistribution(1e-4, 1e-1, log=True)``.
    cv : splitter, optional
        Default: ``RollingOrigin``, five blocks of one horizon, the largest of the `space`; of
        63 rows for an estimator of positions, whose score is a Sharpe ratio. It must
        not tear a series from the rows before it.
    scoring : str or callable, optional
        A metric of `make_scorer`, or ``scorer(estimator, panel)``, higher being better. Default:
        the estimator's `score`.
    n_trials : int
        Trials in all, those that `storage` has already among them.
    timeout : float, optional
        Seconds after which no further trial starts.
    pruner : "median", None or an Optuna pruner
        Whether a fit is stopped at an epoch at which its validation loss, relative to that of the
        untrained network, is above the median of the trials before: "median" waits for four
        trials, and looks from the third epoch on. What has no validation part is not pruned; of
        several networks in one fit (members, or one as baseline) the first is looked at.
    storage : path, URL or Optuna storage, optional
        Where trials are kept: a path is an SQLite file. A call with the same arguments goes on
        from there, after an interrupt or with more trials; functions among them are known by
        their code and what it encloses, not by the global names that it uses. Neither rows nor
        the names of series are stored. Default: memory, which an interrupt loses.
    name : str
        Of the search in its storage.
    refit : bool
        Whether to fit the best on all rows.
    random_state : int, optional
        Seed of the proposals.
    verbose : int
        0: no progress bar.

    Returns
    -------
    Tuning

    Raises
    ------
    ImportError
        If Optuna is not there.
    DataError
        If a split cannot be scored, the panel is too short, or no trial has given a score.
    ValueError
        If a parameter cannot be used, `storage` holds another search under this name (it says
        what differs), or splits or objects could not be known again in it.
    KeyboardInterrupt
        After Ctrl-C; what has ended is in the `storage`.

    Notes
    -----
    Errors of single trials (ValueError, RuntimeError, ArithmeticError) are noted in the table.
    Warnings of convergence are held back but for the last fit.

    The best score is the best of many on the same test rows: judge what comes out on later ones,
    by `backtest`.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsforecast.estimators.baselines import EWMA
    >>> panel = pd.DataFrame({"x": [1.0, 2, 4, 7, 11, 16, 22]})
    >>> found = tune(EWMA(), panel, {"alpha": (0.1, 0.9)}, n_trials=3, random_state=0)
    >>> found.trials[["alpha", "state"]].round(2)
       alpha     state
    0   0.54  complete
    1   0.67  complete
    2   0.58  complete
    >>> found.best_params == {"alpha": found.trials["alpha"].max()}
    True
    """
    optuna = _optuna()
    panel = as_panel(panel)
    positive_int("n_trials", n_trials)
    if not isinstance(space, Mapping) or not space:
        raise bad_parameter("space", expected="a dict, with a parameter at least", found=space)
    dimensions = {key: _Dimension.of(key, values) for key, values in space.items()}
    # a name that does not exist is no matter of a single trial
    clone(estimator).set_params(**{key: each.example() for key, each in dimensions.items()})
    _require_fit_on_panels(estimator)
    scorer = _scorer(scoring)
    horizons = horizons_of(estimator, [_tried(dimensions)])
    rows = _ROWS_OF_POSITIONS if gives_positions(estimator) else max(horizons)
    splitter = RollingOrigin(origins_per_split=rows) if cv is None else check_cv(cv)
    splits = _splits_of(splitter, panel)
    _check_splits(splits, splitter, panel, estimator, min(horizons), scorer)
    job = _Job(estimator, panel, splits, scorer)
    marks = None if storage is None else _marks(job, dimensions, splitter)
    errors: dict[int, str] = {}
    last: Exception | None = None
    with _quiet(optuna), _opened(storage) as opened:
        study = optuna.create_study(
            study_name=name,
            storage=opened,
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(pruner),
        )
        if marks is not None:
            _same_search(study, marks, name)
        if random_state is not None:  # what is drawn again would be tried again
            seed = positive_int("random_state", random_state, least=0)
            study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials()))
        began = time.monotonic()
        with progress_bar(total=n_trials, description="trials", verbose=verbose) as bar:
            bar.update(min(n_trials, len(_ended(study))))
            while len(_ended(study)) < n_trials:
                if timeout is not None and time.monotonic() - began >= timeout:
                    break
                last = _run(study, job, dimensions, errors, prune=pruner is not None) or last
                bar.update()
                if any(trial.state.name == "COMPLETE" for trial in _ended(study)):
                    bar.set_postfix_str(f"best {study.best_value:.4g}")
        trials = _ended(study)
    table = _table(trials, dimensions, errors, len(job.splits))
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if not complete:
        counts = table["state"].value_counts().to_dict()
        raise fail(
            "no trial has given a score",
            expected="one complete trial at least",
            found=f"{len(trials)} trials, {counts}" if trials else "no trial in this time",
            advice=f"The last error: {table['error'].dropna().iloc[-1]}"
            if table["error"].notna().any()
            else "Allow more trials, or more time.",
        ) from last
    best = max(complete, key=lambda trial: trial.value)
    params = _params(best, dimensions)
    fitted = _candidate(estimator, params).fit(panel) if refit else None
    return Tuning(table, params, float(best.value), fitted, len(trials))


_STEPS_OF_A_SPLIT = 100_000  # more than a fit has epochs
_ROWS_OF_POSITIONS = 63  # a quarter of trading days
_FAILURES = (ValueError, ArithmeticError, RuntimeError)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ImportError(
            "tune needs Optuna: expected it to be installed, found it missing. Run "
            'pip install "tsforecast[tune]".'
        ) from None
    return optuna


@dataclass(frozen=True, eq=False)
class _Dimension:
    """A parameter's distribution; a choice is known to Optuna by its position."""

    distribution: Any
    choices: list[Any] | None = None

    @classmethod
    def of(cls, name: str, values: Any) -> _Dimension:
        spread = _optuna().distributions
        if isinstance(values, spread.BaseDistribution):
            return cls(values)
        if isinstance(values, list) and values:
            return cls(spread.CategoricalDistribution(range(len(values))), values)
        if (
            isinstance(values, tuple)
            and len(values) == 2
            and all(isinstance(v, numbers.Real) and not isinstance(v, bool) for v in values)
            and values[0] < values[1]
        ):
            if all(isinstance(value, numbers.Integral) for value in values):
                return cls(spread.IntDistribution(*map(int, values)))
            return cls(spread.FloatDistribution(*map(float, values)))
        raise bad_parameter(
            "space",
            expected=f"for {name!r} a list of choices, a tuple (low, high) of numbers, or an "
            "Optuna distribution",
            found=values,
        )

    def value(self, raw: Any) -> Any:
        return raw if self.choices is None else self.choices[raw]

    def example(self) -> Any:
        if self.choices is not None:
            return clone(self.choices[0], safe=False)
        known = self.distribution
        return known.choices[0] if hasattr(known, "choices") else known.low


@dataclass(frozen=True, eq=False)
class _Job:
    """What every trial does."""

    estimator: Any
    panel: pd.DataFrame
    splits: list[tuple[Ints, Ints]]
    scorer: Any  # None: the estimator's own

    def score(self, number: int, params: Mapping[str, Any], listener: Any) -> float:
        """Fit and score on one of the splits."""
        train, test = self.splits[number]
        candidate = _candidate(self.estimator, params)
        with warnings.catch_warnings(), listening(listener):
            warnings.simplefilter("ignore", ConvergenceWarning)
            candidate.fit(self.panel.iloc[train])
        rows = self.panel.iloc[test]
        value = candidate.score(rows) if self.scorer is None else self.scorer(candidate, rows)
        if not np.isfinite(value):
            raise ValueError(f"the score is {value}: expected a finite number, in split {number}.")
        return float(value)


def _candidate(estimator: Any, params: Mapping[str, Any]) -> Any:
    """Clone with parameters, themselves cloned: a choice may be an estimator, and be fitted."""
    return clone(estimator).set_params(**{k: clone(v, safe=False) for k, v in params.items()})


def _run(
    study: Any,
    job: _Job,
    dimensions: Mapping[str, _Dimension],
    errors: dict[int, str],
    *,
    prune: bool,
) -> Exception | None:
    """Run one trial and note how it ended; give the error of one that failed."""
    optuna = _optuna()
    states = optuna.trial.TrialState
    trial = study.ask({name: each.distribution for name, each in dimensions.items()})
    scores: list[float] = []
    try:
        params = _params(trial, dimensions)
        for number in range(len(job.splits)):
            listener = _Listener(trial, number, optuna.TrialPruned) if prune else None
            scores.append(job.score(number, params, listener))
            trial.set_user_attr("scores", scores)
        study.tell(trial, float(np.mean(scores)))
    except optuna.TrialPruned:
        study.tell(trial, state=states.PRUNED)
    except _FAILURES as error:
        errors[trial.number] = f"{type(error).__name__}: {error}"
        # the text of a DataError may name series and rows, which are not for the storage
        text = str(error).split(" (")[0].split(":")[0] if isinstance(error, DataError) else error
        trial.set_user_attr("error", f"{type(error).__name__}: {text}")
        study.tell(trial, state=states.FAIL)
        return error
    except BaseException:
        trial.set_user_attr("interrupted", True)  # to be tried again
        study.tell(trial, state=states.FAIL)
        raise
    return None


class _Listener:
    """Reports the epochs of a fit to a trial, and stops it where the pruner says so."""

    def __init__(self, trial: Any, split: int, stop: type[Exception]) -> None:
        self.trial, self.stop = trial, stop
        self.before = split * _STEPS_OF_A_SPLIT
        self.epoch = 0

    def __call__(self, epoch: int, loss: float, first: float) -> None:
        if epoch <= self.epoch:  # the next member of an ensemble
            self.epoch = _STEPS_OF_A_SPLIT
            return
        self.epoch = epoch
        # share of the untrained network's loss that is gone: heads and transforms have losses of
        # different units, and those of a density may be negative
        gain = (first - loss) / (abs(first) or 1.0)
        self.trial.report(gain, self.before + epoch)
        if self.trial.should_prune():
            raise self.stop


def _require_fit_on_panels(estimator: Any) -> None:
    *_, forecaster = within(estimator)
    given = signature(forecaster.fit).parameters.values()
    needed = [p for p in given if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(needed) > 1:
        raise bad_parameter(
            "estimator",
            expected="a forecaster, whose fit takes a panel alone",
            found=forecaster,
            advice="For estimators on arrays (X, y) use GridSearchCV or another search.",
        )


def _tried(dimensions: Mapping[str, _Dimension]) -> dict[str, Any]:
    return {name: each.choices or each.distribution for name, each in dimensions.items()}


def _splits_of(splitter: Any, panel: pd.DataFrame) -> list[tuple[Ints, Ints]]:
    return [(np.asarray(train), np.asarray(test)) for train, test in splitter.split(panel)]


def _check_splits(
    splits: list[tuple[Ints, Ints]],
    splitter: Any,
    panel: pd.DataFrame,
    estimator: Any,
    horizon: int,
    scorer: Any,
) -> None:
    scorers = known_scorers(scorer, estimator)
    layout, targets = layout_of(panel), target_values(panel, estimator)
    for number, (train, test) in enumerate(splits):
        place = f"{splitter_name(splitter)}, split {number + 1}"
        check_split(
            layout, train, test, targets=targets, horizon=horizon, scorers=scorers, place=place
        )


def _scorer(scoring: Any) -> Any:
    if isinstance(scoring, str):
        return make_scorer(scoring)
    if scoring is not None and not callable(scoring):
        raise bad_parameter(
            "scoring", expected="a metric, a scorer (see make_scorer) or None", found=scoring
        )
    return scoring


def _pruner(pruner: Any) -> Any:
    pruners = _optuna().pruners
    if pruner is None:
        return pruners.NopPruner()
    if pruner == "median":
        return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3)
    if not isinstance(pruner, pruners.BasePruner):
        raise bad_parameter("pruner", expected="'median', None or an Optuna pruner", found=pruner)
    return pruner


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _opened(storage: Any) -> Iterator[Any]:
    """A storage of Optuna; one that is made here is closed behind."""
    storages = _optuna().storages
    if storage is None or isinstance(storage, storages.BaseStorage):
        yield storage
        return
    if not isinstance(storage, str | os.PathLike):
        raise bad_parameter(
            "storage", expected="a path, a URL, an Optuna storage or None", found=storage
        )
    from sqlalchemy.exc import SQLAlchemyError  # it comes with Optuna

    text = os.fspath(storage)
    is_url = "://" in text
    url = text if is_url else f"sqlite:///{os.path.abspath(os.path.expanduser(text))}"
    try:
        made = storages.RDBStorage(url)
    except SQLAlchemyError as error:
        raise bad_parameter(
            "storage",
            expected="a file of SQLite, or a new one in a folder that is there, or the URL of a "
            "database",
            found=f"{text.split('://')[0]}://..." if is_url else text,  # without a password
            advice=f"It cannot be opened: {str(error).splitlines()[0]}.",
        ) from error
    try:
        yield made
    finally:
        made.remove_session()
        made.engine.dispose()


def _ended(study: Any) -> list[Any]:
    """Trials that have ended of themselves: one that was interrupted or killed is tried anew."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and "interrupted" not in trial.user_attrs
    ]


def _params(trial: Any, dimensions: Mapping[str, _Dimension]) -> dict[str, Any]:
    return {name: each.value(trial.params[name]) for name, each in dimensions.items()}


def _table(
    trials: list[Any], dimensions: Mapping[str, _Dimension], errors: dict[int, str], n_splits: int
) -> pd.DataFrame:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    params = [_params(trial, dimensions) for trial in trials]
    complete = [trial.state.name == "COMPLETE" for trial in trials]
    scores = [trial.user_attrs.get("scores", []) for trial in trials]

    def cells(values: list[Any]) -> pd.Series:
        column = np.empty(len(values), dtype=object)  # a choice may have a length
        for row, value in enumerate(values):
            column[row] = value
        return pd.Series(column).infer_objects()

    notes = [errors.get(trial.number, trial.user_attrs.get("error")) for trial in trials]
    return pd.DataFrame(
        {
            "number": [trial.number for trial in trials],
            **{name: cells([each[name] for each in params]) for name in dimensions},
            "state": [names[trial.state.name] for trial in trials],
            "score": [t.value if done else np.nan for t, done in zip(trials, complete)],
            **{
                f"split{i}_score": [each[i] if i < len(each) else np.nan for each in scores]
                for i in range(n_splits)
            },
            "seconds": [trial.duration.total_seconds() for trial in trials],
            "error": pd.Series(notes, dtype=object),
        }
    )


def _marks(job: _Job, dimensions: Mapping[str, _Dimension], splitter: Any) -> dict[str, str]:
    """Check sums of all that makes a search what it is: they can be compared, and not read.

    Raises
    ------
    ValueError
        If something could not be known again in another process.
    """

    def of(parameter: str, value: object) -> str:
        return _check_sum(_told(parameter, value).encode())

    splits = _check_sum(*(rows.tobytes() for split in job.splits for rows in split))
    again = _splits_of(splitter, job.panel)
    if splits != _check_sum(*(rows.tobytes() for split in again for rows in split)):
        raise bad_parameter(
            "cv",
            expected="the same splits in every call, as the search is to go on from its storage",
            found=splitter,
            advice="Give it a whole number as random_state=.",
        )
    marks = {
        "panel": of("panel", job.panel),
        "splits": splits,
        "scoring": of("scoring", job.scorer),
        "estimator": of("estimator", type(job.estimator)),
    }
    for name, value in job.estimator.get_params(deep=True).items():
        if name.split("__")[-1] != "verbose":  # it changes no score
            one = type(value) if _has_params(value) else value  # whose own follow
            marks[f"estimator's {name}"] = of(f"estimator's {name}", one)
    for name, tried in _tried(dimensions).items():
        marks[f"space of {name}"] = of(f"space of {name}", tried)
    return marks


def _told(parameter: str, value: Any, above: tuple[int, ...] = ()) -> str:
    """Tell an object in words that are the same in another process, and others for another one.

    Functions are told by their code.

    Raises
    ------
    ValueError
        If it is known by its address alone.
    """
    if id(value) in above:  # a function that encloses itself
        return "itself"
    if isinstance(value, FunctionType):
        enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
        parts: list[Any] = [value.__code__, value.__defaults__, value.__kwdefaults__, enclosed]
    elif isinstance(value, CodeType):
        parts = [value.co_code.hex(), value.co_consts, value.co_names]
    elif isinstance(value, MethodType):
        parts = [value.__func__, value.__self__]
    elif isinstance(value, partial):
        parts = [value.func, value.args, value.keywords]
    elif _has_params(value):
        params = value.get_params(deep=False)
        parts = [item for item in sorted(params.items()) if item[0] != "verbose"]
    elif isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, set | frozenset):
        parts = sorted(_told(parameter, each, above) for each in value)
    elif isinstance(value, list | tuple):
        parts = list(value)
    elif isinstance(value, pd.DataFrame):
        sums = pd.util.hash_pandas_object(value).to_numpy()
        parts = [sums, [(str(name), str(dtype)) for name, dtype in value.dtypes.items()]]
    elif isinstance(value, pd.Series | pd.Index | np.ndarray):  # the repr leaves out the middle
        raw = np.asarray(value)
        parts = [raw.tolist() if raw.dtype == object else _check_sum(raw.tobytes())]
        parts += [raw.shape, str(raw.dtype)]
    elif " at 0x" not in repr(value):
        return repr(value)
    elif hasattr(value, "__qualname__"):  # a function that is not of Python
        return f"{value.__module__}.{value.__qualname__}"
    else:
        raise bad_parameter(
            parameter,
            expected="an object that can be known again, as the search is kept in a storage",
            found=value,
            advice="Give its class a __repr__ that tells what it does (a dataclass has one), or, "
            "if it is a source of random numbers, use a whole number as seed.",
        )
    inside = (*above, id(value))
    return f"{type(value).__qualname__}({', '.join(_told(parameter, p, inside) for p in parts)})"


def _has_params(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _check_sum(*parts: bytes) -> str:
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made.hexdigest()[:16]


def _same_search(study: Any, marks: dict[str, str], name: str) -> None:
    """Raise if the study was begun with other arguments; note these if it is new."""
    there = study.user_attrs.get("tsforecast")
    if there is None and not study.get_trials(deepcopy=False):
        study.set_user_attr("tsforecast", marks)
        return
    there = there or {}
    others = [key for key in {**marks, **there} if marks.get(key) != there.get(key)]
    if others:
        raise ValueError(
            f"the storage holds another search named {name!r}: expected one with the same "
            f"arguments, found other {first(others)}. Give this one another name=, or go on with "
            "the arguments of that one."
        )
