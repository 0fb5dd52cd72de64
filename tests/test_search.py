"""Scikit-learn's searches on panels, and metrics as scorers."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import get_scorer, mean_absolute_error
from sklearn.metrics import make_scorer as sklearn_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    RandomizedSearchCV,
    ShuffleSplit,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

import tsforecast as tsf
from tests.small import H, make_model, make_panel, one_series
from tsforecast._checks import DataError
from tsforecast.estimators import _searched

ALPHAS = {"alpha": [0.1, 0.9]}


def ewma(**changed: Any) -> tsf.EWMA:
    return tsf.EWMA(**{"target": "y", "horizon": 2} | changed)


def unequal(**lengths: int) -> pd.DataFrame:
    """Series of these lengths that end on the same day."""
    panel = make_panel(len(lengths), max(lengths.values()))
    parts = {to: panel.loc[f"s{i}"].iloc[-n:] for i, (to, n) in enumerate(lengths.items())}
    return pd.concat(parts, names=["ticker"])


PANELS = {
    "one series": one_series(40),
    "unequal": unequal(a=40, b=10, c=25, d=7, e=31),
    "whole series in some folds": unequal(a=10, b=10, c=30),
    "five equal": make_panel(5, 20),
}
FOREIGN = {
    "default": None,
    "5": 5,
    "KFold": KFold(5, shuffle=True, random_state=0),
    "TimeSeriesSplit": TimeSeriesSplit(3),
    "ShuffleSplit": ShuffleSplit(3),
}


# ------------------------------------------------------------------------------- splits refused


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("cv", FOREIGN)
@pytest.mark.parametrize("panel", PANELS)
def test_no_search_ends_without_scores(panel: str, cv: str, n_jobs: int):
    """Either an error that says what to do, or scores: KFold may fall between equal series."""
    rows, splitter = PANELS[panel], FOREIGN[cv]
    between = panel == "five equal" and cv in ("default", "5")
    searches = [
        lambda: GridSearchCV(ewma(), ALPHAS, cv=splitter, n_jobs=n_jobs).fit(rows),
        lambda: RandomizedSearchCV(ewma(), ALPHAS, n_iter=2, cv=splitter, n_jobs=n_jobs).fit(rows),
    ]
    if between:
        for search in searches:
            assert np.isfinite(search().cv_results_["mean_test_score"]).all()
        assert np.isfinite(cross_val_score(ewma(), rows, cv=splitter, n_jobs=n_jobs)).all()
        return
    message = r"tears a series apart.*training rows, of which.*cv=RollingOrigin\(...\)"
    if cv == "ShuffleSplit":
        message = r"rows in another order.*cv=RollingOrigin\(...\)"
    for search in [*searches, lambda: cross_val_score(ewma(), rows, cv=splitter, n_jobs=n_jobs)]:
        with pytest.raises(DataError, match=message):
            search()


def test_the_refusal_names_splitter_series_and_counts():
    message = (
        r"tears a series apart \(series 's0'\): expected test rows that hold the series' training "
        r"rows.*found 15 training rows, of which 15 are not among its 5 test rows "
        r"\(KFold\(n_splits=4, random_state=None, shuffle=False\), split 1\)"
    )
    with pytest.raises(DataError, match=message):
        cross_val_score(ewma(), make_panel(1, 20), cv=KFold(4))


@pytest.mark.parametrize(
    "evaluate",
    [
        cross_validate,
        lambda model, rows: learning_curve(model, rows, None),
        lambda model, rows: validation_curve(
            model, rows, None, param_name="alpha", param_range=[0.1, 0.9]
        ),
    ],
    ids=["cross_validate", "learning_curve", "validation_curve"],
)
def test_other_tools_refuse_too(evaluate: Any):
    with pytest.raises(DataError, match="tears a series apart"):
        evaluate(ewma(), one_series())


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda model: make_pipeline(FunctionTransformer(), model),
        lambda model: GridSearchCV(model, ALPHAS, cv=tsf.RollingOrigin(2, 4)),
    ],
    ids=["pipeline", "search in a search"],
)
def test_forecasters_inside_others_are_refused_too(wrapped: Any):
    with pytest.raises(DataError, match="tears a series apart"):
        cross_val_score(wrapped(ewma()), one_series())
    scores = cross_val_score(wrapped(ewma()), one_series(), cv=tsf.RollingOrigin(2, 8))
    assert np.isfinite(scores).all()


@pytest.mark.filterwarnings("ignore:Scoring failed", "ignore:One or more of the train scores")
def test_halving_that_draws_rows_is_refused():
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    message = r"rows in another order.*\(_SubsampleMetaSplitter, split 1\).*training__max_epochs"
    for rows in (one_series(), make_panel(2, 40)):
        for options in ({"min_resources": 20}, {}):  # the default takes all rows, shuffled
            search = HalvingGridSearchCV(
                ewma(), ALPHAS, cv=tsf.RollingOrigin(2, 4), random_state=0, **options
            )
            with pytest.raises(DataError, match=message):
                search.fit(rows)
    by_epochs = HalvingGridSearchCV(
        make_model(),
        {"hidden_sizes": [(2,), (3,), (4,)]},
        cv=tsf.RollingOrigin(1, 8),
        resource="training__max_epochs",
        max_resources=3,
        min_resources=1,
    )
    assert np.isfinite(by_epochs.fit(one_series()).best_score_)


def test_blocks_shorter_than_the_horizon_are_refused():
    message = r"a split has nothing to score.*with 3 rows behind them.*found none.*It is Rolling"
    with pytest.raises(DataError, match=message):
        cross_val_score(ewma(horizon=3), one_series(), cv=tsf.RollingOrigin(2))
    for horizons in ([3, 4], np.array([3])):  # of the candidates, not of the one that is cloned
        search = GridSearchCV(ewma(), {"horizon": list(horizons)}, cv=tsf.RollingOrigin(2))
        with pytest.raises(DataError, match=message):
            search.fit(one_series())
    search = GridSearchCV(ewma(horizon=9), {"horizon": [1]}, cv=tsf.RollingOrigin(2))
    assert np.isfinite(search.fit(one_series()).best_score_)
    with pytest.raises(DataError, match="found none in 1 series.*nor such an origin in 0 others"):
        cross_val_score(ewma(), one_series(), cv=[(np.arange(30), np.arange(30))])


def searches(scoring: Any = None, model: Any = None, **options: Any) -> list[Any]:
    """All that fits and scores, as functions of the rows."""
    model = ewma() if model is None else model
    grid = {"alpha": [0.1, 0.9]}
    only = {"refit": False} if isinstance(scoring, dict | list) else {}
    tools = [
        lambda rows: GridSearchCV(model, grid, scoring=scoring, **options, **only).fit(rows),
        lambda rows: cross_validate(model, rows, scoring=scoring, **options),
    ]
    if only:
        return tools
    return [
        *tools,
        lambda rows: cross_val_score(model, rows, scoring=scoring, **options),
        lambda rows: learning_curve(model, rows, None, scoring=scoring, **options),
        lambda rows: validation_curve(
            model, rows, None, param_name="alpha", param_range=[0.5], scoring=scoring, **options
        ),
    ]


@pytest.mark.parametrize("scoring", [None, tsf.make_scorer("mae"), {"a": tsf.make_scorer("mae")}])
@pytest.mark.parametrize("missing, found", [(15, "with no known"), (10, "with nothing known")])
@pytest.mark.parametrize("panel", ["one series", "five equal"])
def test_a_test_part_without_the_target_is_refused(
    scoring: Any, missing: int, found: str, panel: str
):
    rows = PANELS[panel].copy()
    time = rows.index.get_level_values(-1)
    rows.loc[time >= time.unique()[-missing], "y"] = np.nan
    message = rf"a split has nothing to score.*found \d+ such rows, {found}.*It is RollingOrigin"
    for search in searches(scoring, cv=tsf.RollingOrigin(1, 10)):
        with pytest.raises(DataError, match=message):
            search(rows)
    rows.iloc[-10, rows.columns.get_loc("y")] = 7.0  # one is enough
    if missing == 10:
        found = cross_validate(ewma(), rows, scoring=scoring, cv=tsf.RollingOrigin(1, 10))
        assert np.isfinite(found["test_score" if not isinstance(scoring, dict) else "test_a"])


def test_one_of_several_targets_without_values_is_refused():
    rows = make_panel(2, 40)
    rows.loc[rows.index.get_level_values(1) > rows.index.levels[1][32], "x"] = np.nan
    model = ewma(target=["y", "x"])
    for search in searches(model=model, cv=tsf.RollingOrigin(1, 5)):
        with pytest.raises(DataError, match="nothing known behind them, for 1 of 2 targets"):
            search(rows)


def test_a_target_that_stands_still_has_no_score_relative_to_the_naive():
    rows = one_series()
    rows.iloc[-11:, rows.columns.get_loc("y")] = 7.0
    message = r"a split has nothing to score .column 'y'.*a target that moves.*make_scorer\('mae'\)"
    for search in searches(cv=tsf.RollingOrigin(1, 10)):
        with pytest.raises(DataError, match=message):
            search(rows)
    for search in searches(tsf.make_scorer("mae"), cv=tsf.RollingOrigin(1, 10))[:3]:
        search(rows)


def test_late_and_min_history_of_a_scorer_count_before_the_first_fit():
    days = one_series(60)
    panel = pd.concat({"a": days[:40], "b": days[:40], "c": days, "d": days}, names=["ticker"])
    cv = tsf.SeriesSplit(2, shuffle=False, time=tsf.RollingOrigin(1, 10))
    late = tsf.make_scorer("mae", late=True)
    for scoring in (late, {"mae": tsf.make_scorer("mae"), "late": late}):
        for search in searches(scoring, cv=cv):
            with pytest.raises(
                DataError, match=r"those times alone \(late=True\).*It is SeriesSpl"
            ):
                search(panel)
    for search in searches(tsf.make_scorer("mae", min_history=99), cv=cv):
        with pytest.raises(DataError, match=r"row 99 or later \(min_history\)"):
            search(panel)
    for scoring in (None, tsf.make_scorer("mae")):
        assert np.isfinite(cross_val_score(ewma(), panel, cv=cv, scoring=scoring)).all()


@pytest.mark.parametrize(
    "scoring, found",
    [
        (
            "neg_mean_absolute_error",
            "'neg_mean_absolute_error'|make_scorer.mean_absolute_error, gr",
        ),
        ("r2", "'r2'|make_scorer.r2_score, "),
        (get_scorer("r2"), r"make_scorer\(r2_score, "),
        (sklearn_scorer(mean_absolute_error), "make_scorer.mean_absolute_error, "),
        (["r2", "neg_max_error"], "'r2'"),
        ({"a": tsf.make_scorer("mae"), "b": "r2"}, "'r2'"),
        ({"b": get_scorer("r2")}, r"make_scorer\(r2_score, "),
    ],
)
@pytest.mark.parametrize("wrap", [False, True])
def test_scorers_of_scikit_learn_are_refused_by_name(scoring: Any, found: str, wrap: bool):
    model = make_pipeline("passthrough", ewma()) if wrap else ewma()
    message = f"'scoring': expected a scorer of forecasts.*found ({found}).*Use tsf.make_scorer"
    for search in searches(scoring, model, cv=tsf.RollingOrigin(2, 4)):
        with pytest.raises(ValueError, match=message):
            search(one_series())


def test_a_function_as_scorer_may_score_what_it_likes():
    def spread(model: Any, panel: pd.DataFrame, y: None = None) -> float:
        return float(model.predict()["forecast"].std())

    rows = one_series()
    rows.iloc[-10:, rows.columns.get_loc("y")] = np.nan
    for cv in (tsf.RollingOrigin(1, 10), tsf.RollingOrigin(1)):
        for search in searches(spread, cv=cv)[:3]:
            search(rows)
        assert np.isfinite(cross_val_score(ewma(horizon=3), rows, cv=cv, scoring=spread)).all()
    with pytest.raises(DataError, match="tears a series apart"):
        cross_val_score(ewma(), rows, scoring=spread)


def test_what_is_refused_is_what_has_no_score():
    """The splits of random panels, with series that begin and end anywhere, and missing values."""
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(150):
        spans = np.sort(rng.integers(0, 16, size=(3, 2)), axis=1) + [0, 1]
        full = make_panel(3, 16, seed=int(rng.integers(99)))
        time = full.index.get_level_values(1).factorize()[0]
        series = full.index.get_level_values(0).factorize()[0]
        panel = full[(time >= spans[series, 0]) & (time < spans[series, 1])].copy()
        panel["y"] = panel["y"].mask(rng.random(len(panel)) < rng.choice([0, 0.5, 0.9]))
        panel["y"] = panel["y"].clip(*rng.choice([[0, 1000], [20, 21]]))  # may stand still
        scorer = rng.choice(
            [None, tsf.make_scorer("mae", late=True), tsf.make_scorer("mae", min_history=3)]
        )
        block = tsf.RollingOrigin(1, int(rng.integers(1, 4)))
        cv = rng.choice([block, tsf.SeriesSplit(2, random_state=0, time=rng.choice([None, block]))])
        model = ewma(horizon=int(rng.integers(1, 4)))
        try:
            splits = list(cv.split(panel))
        except DataError:
            continue
        for train, test in splits:
            try:
                fitted = clone(model).fit(panel.iloc[train])
            except DataError:
                continue  # which a search does not hide
            try:
                score = (
                    fitted.score(panel.iloc[test])
                    if scorer is None
                    else scorer(fitted, panel.iloc[test])
                )
            except DataError as error:
                score = str(error)
            with warnings.catch_warnings(record=True):
                warnings.simplefilter("always")
                try:
                    searched = cross_val_score(model, panel, cv=[(train, test)], scoring=scorer)
                except DataError as error:
                    searched = str(error)
            if isinstance(score, str):
                assert searched.startswith(f"a split has {score} It is _CVIterableWrapper")
            else:
                assert searched == pytest.approx(score)
            outcomes.append(isinstance(score, str))
    assert 30 < np.sum(outcomes) < len(outcomes) - 30


@pytest.mark.filterwarnings("ignore:Scoring failed")
@pytest.mark.parametrize("number", [3, 4])
def test_an_error_that_joblib_loses_is_a_warning_too(number: int):
    """learning_curve and validation_curve lay all tasks out at once."""
    for n_jobs, expected in ((1, DataError), (2, IndexError)):
        search = searches(n_jobs=n_jobs)[number]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(expected):
                search(one_series())
        told = [str(each.message) for each in caught if "tears a series" in str(each.message)]
        assert len(told) == n_jobs - 1
        assert all("cv=RollingOrigin(...)" in each for each in told)


def another_sklearn(code: str) -> dict[str, Any]:
    """What a module of scikit-learn would define."""
    known = {"__name__": "sklearn.model_selection._other", "clone": clone}
    exec(code, known)
    return known


def test_splits_that_cannot_be_looked_at_draw_one_warning():
    code = """
def cross_validate(estimator, X, splitter):
    return [clone(estimator) for _ in splitter.split(X)]
def _fit_and_score(estimator, X):
    return clone(estimator)
"""
    known = another_sklearn(code)
    _searched._warn_unseen.cache_clear()
    known["_fit_and_score"](ewma(), one_series())  # a worker: splits are looked at elsewhere
    with pytest.warns(UserWarning, match="splits of this search could not be looked at") as caught:
        known["cross_validate"](ewma(), one_series(), tsf.RollingOrigin(3))
    assert len(caught) == 1
    known["cross_validate"](ewma(), one_series(), tsf.RollingOrigin(3))


def test_the_shortest_horizon_of_the_candidates_decides():
    for model, grid in (
        (make_pipeline("passthrough", ewma(horizon=5)), {"ewma__horizon": [1, 2]}),
        (ewma(horizon=5), [{"horizon": [2]}, {"horizon": [9], "alpha": [0.1]}]),
    ):
        search = GridSearchCV(model, grid, cv=tsf.RollingOrigin(2, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the candidate that looks 9 rows ahead
            assert np.isfinite(search.fit(one_series()).best_score_)
    inner = GridSearchCV(ewma(horizon=5), {"horizon": [1, 2]}, cv=tsf.RollingOrigin(2, 2))
    assert np.isfinite(cross_val_score(inner, one_series(), cv=tsf.RollingOrigin(2, 2))).all()
    model = make_pipeline("passthrough", ewma(horizon=5))
    with pytest.raises(DataError, match="with 5 rows behind them"):
        cross_val_score(model, one_series(), cv=tsf.RollingOrigin(2, 2))


def test_long_tables_are_looked_at_in_the_order_of_the_panel():
    table = make_panel(2, 20).rename_axis(["series", "time"]).reset_index()
    shuffled = table.sample(frac=1, random_state=0)
    with pytest.raises(DataError, match="tears a series apart"):
        cross_val_score(ewma(), shuffled)
    groups = shuffled["series"]
    search = GridSearchCV(ewma(), {"alpha": [0.5]}, cv=LeaveOneGroupOut())
    score = search.fit(shuffled, groups=groups).best_score_
    expected = cross_val_score(ewma(alpha=0.5), make_panel(2, 20), cv=tsf.SeriesSplit(None))
    assert score == pytest.approx(expected.mean())


@pytest.mark.parametrize("cv", [GroupKFold(3), LeaveOneGroupOut(), tsf.SeriesSplit(3)])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_splits_between_series_pass(cv: Any, n_jobs: int):
    panel = make_panel(3, 20)
    search = GridSearchCV(ewma(), ALPHAS, cv=cv, n_jobs=n_jobs)
    search.fit(panel, groups=panel.index.get_level_values(0))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_series_that_end_before_a_block_do_not_matter():
    panel = pd.concat([make_panel(2, 40), make_panel(1, 12).rename({"s0": "s2"})])
    assert np.isfinite(cross_val_score(ewma(), panel, cv=tsf.RollingOrigin(3, 4))).all()


def test_splits_are_looked_at_once_in_a_call_and_anew_in_the_next():
    class Counting(tsf.RollingOrigin):
        calls: list[int] = []  # noqa: RUF012

        def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
            self.calls.append(len(X))
            return super().split(X, y, groups)

    cv = Counting(2, 4)
    for n in (40, 30):
        Counting.calls.clear()
        GridSearchCV(ewma(), {"alpha": [0.1, 0.5, 0.9]}, cv=cv).fit(one_series(n))
        assert Counting.calls == [n, n]  # one of them the search's own
    with pytest.raises(DataError):
        cross_val_score(ewma(), one_series())


class Wrapper(BaseEstimator):
    """An estimator on other rows, which has a forecaster as a parameter."""

    def __init__(self, forecaster: Any = None) -> None:
        self.forecaster = forecaster

    def fit(self, X: Any, y: Any = None) -> Wrapper:
        self.forecaster_ = clone(self.forecaster).fit(one_series())
        return self

    def score(self, X: Any, y: Any = None) -> float:
        return 0.5


def test_searches_over_other_estimators_are_left_alone():
    table = pd.DataFrame({"x": range(20)})
    assert list(cross_val_score(Wrapper(ewma()), table)) == [0.5] * 5


class Draws(tsf.RollingOrigin):
    """Draws a number for every split."""

    rng: np.random.RandomState

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        self.rng.randint(100)
        return super().split(X, y, groups)


def test_a_random_splitter_keeps_its_draws():
    cv = Draws(2, 4)
    object.__setattr__(cv, "rng", np.random.RandomState(0))
    cross_val_score(ewma(), one_series(), cv=cv)
    assert cv.rng.randint(100) == np.random.RandomState(0).randint(100, size=2)[1]


# ------------------------------------------------------------------------------- score


@pytest.mark.parametrize("rows", [slice(30, None), slice(25, None), slice(0, 5)])
def test_score_wants_the_last_rows_of_fit(rows: slice):
    panel = one_series(40)
    model = make_model().fit(panel.iloc[:30])  # a lookback of 5
    if rows.start == 25:
        assert model.score(panel.iloc[rows]) == pytest.approx(model.score(panel))
        return
    with pytest.raises(DataError, match=r"rows of fit are missing.*found 5 of 5 missing, the"):
        model.score(panel.iloc[rows])


def test_score_names_the_series_whose_rows_are_missing():
    panel = make_panel(3, 40)
    early = panel.index.get_level_values(1) < panel.index.levels[1][30]
    model = ewma().fit(panel[early])
    gone = panel.drop(index=[("s1", panel.index.levels[1][29])])
    with pytest.raises(DataError, match=r"series 's1'.: .*found 1 of 3 missing"):
        model.score(gone)
    assert np.isfinite(model.score(gone.drop(index="s1")))  # a series may be left out


# ------------------------------------------------------------------------------- searches


@pytest.mark.parametrize(
    "rows, n_jobs", [(one_series(), 1), (make_panel(2, 40), 2)], ids=["one series", "panel"]
)
def test_grid_search_over_nested_parameters(rows: pd.DataFrame, n_jobs: int):
    grid = {
        "training__max_epochs": [1, 2],
        "head__levels": [(0.1, 0.5, 0.9)],
        "normalize__half_life": [3.0],
        "baseline__alpha": [0.2, 0.8],
        "transform__seriesscaler__by": ["all"],
    }
    model = make_model(
        head=tsf.Quantiles(),
        normalize=tsf.RunningScale(),
        baseline=tsf.EWMA(),
        transform=make_pipeline(tsf.Log(), tsf.SeriesScaler()),
    )
    search = GridSearchCV(
        model, grid, cv=tsf.RollingOrigin(2, 4), n_jobs=n_jobs, error_score="raise"
    ).fit(rows)
    table = search.cv_results_
    assert np.isfinite(table["mean_test_score"]).all()
    best = search.best_estimator_
    assert best.head.levels == (0.1, 0.5, 0.9)
    assert best.baseline.alpha == search.best_params_["baseline__alpha"]
    assert len(best.predict()) == H * (1 if rows.index.nlevels == 1 else 2)
    # each candidate is what set_params makes of it, scored on the rows that the split gives
    candidate = make_model(
        head=tsf.Quantiles(),
        normalize=tsf.RunningScale(),
        baseline=tsf.EWMA(),
        transform=make_pipeline(tsf.Log(), tsf.SeriesScaler()),
    ).set_params(**table["params"][1])
    for number, (train, test) in enumerate(tsf.RollingOrigin(2, 4).split(rows)):
        score = candidate.fit(rows.iloc[train]).score(rows.iloc[test])
        assert table[f"split{number}_test_score"][1] == pytest.approx(score, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Scoring failed")  # of training rows
def test_randomized_search_cross_validate_and_learning_curve():
    panel = make_panel(2, 40)
    cv = tsf.RollingOrigin(2, 4)
    search = RandomizedSearchCV(
        make_model(),
        {"hidden_sizes": [(3,), (4, 2)], "cell": ["gru", "rnn"]},
        n_iter=2,
        cv=cv,
        random_state=0,
    ).fit(panel)
    assert np.isfinite(search.best_score_)
    table = cross_validate(make_model(), panel, cv=cv, return_estimator=True)
    scores = cross_val_score(make_model(), panel, cv=cv)
    assert table["test_score"] == pytest.approx(scores)
    last = panel.index.levels[1][40 - 1 - 2 * 4]
    assert table["estimator"][0].cutoff_ == last
    sizes, _, scores = learning_curve(ewma(), one_series(), None, cv=cv, train_sizes=[0.5, 1.0])
    assert len(sizes) == 2 and np.isfinite(scores).all()


def test_panel_forecasters_are_no_regressors_for_scikit_learn():
    for model in (make_model(), ewma(), tsf.Naive(), tsf.LagRegressor(), tsf.HAR()):
        assert not is_regressor(model)
        assert not is_classifier(model)
        assert get_tags(model).estimator_type is None


# ------------------------------------------------------------------------------- make_scorer


def parts(panel: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """Rows but the last `n` times, of all series but the last."""
    time = panel.index.get_level_values(1)
    return panel[(time < panel.index.levels[1][-n]) & (panel.index.get_level_values(0) != "s2")]


def test_mae_relative_to_the_naive_is_the_score():
    panel = make_panel(3, 40)
    scorer = tsf.make_scorer("mae")
    for rows, train in ((panel, parts(panel)), (panel.loc["s0"], panel.loc["s0"].iloc[:30])):
        model, naive = (each.fit(train) for each in (ewma(), tsf.Naive(target="y", horizon=2)))
        assert 1 - scorer(model, rows) / scorer(naive, rows) == pytest.approx(model.score(rows))


def test_score_and_scorer_take_the_same_origins_where_values_are_missing():
    panel = make_panel(3, 40, missing=0.2)
    model = tsf.Naive(target="y", horizon=2).fit(parts(panel))
    errors = []
    for name, start in (("s0", 29), ("s1", 29), ("s2", 0)):
        y = panel.loc[name, "y"].to_numpy()
        for t in range(start, 38):
            errors += [abs(y[t + h] - y[t]) for h in (1, 2)]
    assert tsf.make_scorer("mae")(model, panel) == pytest.approx(-np.nanmean(errors))
    assert model.score(panel) == pytest.approx(0.0, abs=1e-12)


def test_scorer_counts_the_origins_by_hand():
    panel = make_panel(3, 20)
    model = tsf.Naive(target="y", horizon=2).fit(parts(panel, 6))  # cutoff at row 13

    def by_hand(starts: dict[str, int]) -> float:
        errors = []
        for name, start in starts.items():
            y = panel.loc[name, "y"].to_numpy()
            errors += [abs(y[t + h] - y[t]) for t in range(start, 18) for h in (1, 2)]
        return -float(np.mean(errors))

    for options, start in (({}, 0), ({"min_history": 5}, 4), ({"late": True}, 13)):
        score = tsf.make_scorer("mae", **options)(model, panel)
        assert score == pytest.approx(by_hand({"s0": 13, "s1": 13, "s2": start}))


def test_every_metric_is_that_of_a_backtest_of_the_same_origins():
    panel = make_panel(2, 60).abs() + 1
    cutoffs = tsf.RollingOrigin(1, 10).splits(panel, horizon=2)[0].cutoffs
    train = panel[panel.index.get_level_values(1) <= cutoffs[0]]
    result = tsf.backtest({"walk": walk()}, panel, tsf.RollingOrigin(1, 10))
    table = result.metrics().loc["walk"]
    model = walk().fit(train)
    for metric in ("mae", "rmse", "mase", "rmsse", "smape", "wql", "crps", "width", "qlike"):
        assert tsf.make_scorer(metric)(model, panel) == pytest.approx(-table[metric]), metric
    assert tsf.make_scorer("coverage")(model, panel) == pytest.approx(-abs(table["coverage"] - 0.8))
    narrow = result.metrics(levels=[0.4, 0.5, 0.6]).loc["walk", "wql"]
    assert tsf.make_scorer("wql", levels=(0.4, 0.5, 0.6))(model, panel) == pytest.approx(-narrow)


def walk() -> Any:
    return tsf.RandomWalk(target="y", horizon=2)


def test_several_targets_count_alike():
    panel = make_panel(2, 30)
    train = panel[panel.index.get_level_values(1) < panel.index.levels[1][20]]
    score = tsf.make_scorer("mae")
    both = tsf.Naive(target=["y", "x"]).fit(train)
    alone = [tsf.Naive(target=name).fit(train) for name in ("y", "x")]
    assert score(both, panel) == pytest.approx(np.mean([score(one, panel) for one in alone]))


class Verbs(BaseEstimator):
    """Has the verbs alone: no forecast_origins, and does not tell the series it has seen."""

    def __init__(self, target: str = "y", horizon: int = 2) -> None:
        self.target, self.horizon = target, horizon

    def fit(self, panel: pd.DataFrame, y: None = None) -> Verbs:
        self.cutoff_ = panel.index.get_level_values(-1).max()
        return self

    def predict(self, panel: pd.DataFrame) -> pd.DataFrame:
        return tsf.Naive(target=self.target, horizon=self.horizon).fit(panel).predict()


@pytest.mark.parametrize("frozen", [False, True])
def test_scorers_need_no_more_than_the_verbs(frozen: bool):
    panel = make_panel(2, 30)
    train = panel[panel.index.get_level_values(1) < panel.index.levels[1][20]]
    scorer = tsf.make_scorer("mae")
    ours = tsf.Naive(target="y", horizon=2).fit(train)
    if frozen:
        assert scorer(FrozenEstimator(ours), panel) == scorer(ours, panel)
    assert scorer(Verbs().fit(train), panel) == pytest.approx(scorer(ours, panel))
    with pytest.raises(ValueError, match="tells its last training time as `cutoff_`"):
        scorer(Verbs(), panel)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_several_scorers_in_a_search(n_jobs: int):
    panel = make_panel(2, 40)
    scoring = {name: tsf.make_scorer(name) for name in ("wql", "mae", "coverage")}
    search = GridSearchCV(
        walk(),
        {"decay": [0.8, 0.97]},
        cv=tsf.RollingOrigin(2, 4),
        scoring=scoring,
        refit="wql",
        n_jobs=n_jobs,
    ).fit(panel)
    for name, scorer in scoring.items():
        alone = cross_val_score(
            search.best_estimator_, panel, cv=tsf.RollingOrigin(2, 4), scoring=scorer
        )
        mean = search.cv_results_[f"mean_test_{name}"][search.best_index_]
        assert mean == pytest.approx(alone.mean())


def test_scorers_pickle_and_say_what_they_are():
    scorer = tsf.make_scorer("wql", levels=[0.1, 0.9], min_history=3, late=True)
    assert pickle.loads(pickle.dumps(scorer)) == scorer
    assert repr(scorer) == (
        "PanelScorer(metric='wql', levels=(0.1, 0.9), min_history=3, late=True)"
    )


def test_scores_that_are_not_known_say_why():
    panel = make_panel(2, 30)
    train = panel[panel.index.get_level_values(1) < panel.index.levels[1][20]]
    naive = tsf.Naive(target="y", horizon=2)
    model = clone(naive).fit(train)
    with pytest.raises(DataError, match="qlike is not known.*variances that are not positive"):
        tsf.make_scorer("qlike")(model, -panel)
    with pytest.raises(DataError, match="nothing to score"):
        tsf.make_scorer("mae")(model, train)
    still = panel.assign(y=1.0)
    with pytest.raises(DataError, match="mase is not known.*does not move"):
        tsf.make_scorer("mase")(clone(naive).fit(still.loc[train.index]), still)
    zero = panel.assign(y=0.0)
    walked = walk().fit(train)
    with pytest.raises(DataError, match="wql is not known.*zero throughout"):
        tsf.make_scorer("wql")(walked, zero)
    point = make_model(horizon=2, head="point").fit(train)
    with pytest.raises(ValueError, match="metrics of points"):
        tsf.make_scorer("wql")(point, panel)
    with pytest.raises(DataError, match="nothing to score.*nor such an origin in 1 others"):
        tsf.make_scorer("mae", min_history=100)(
            clone(naive).fit(train.loc[["s0"]]), panel.loc[["s1"]]
        )


def test_a_search_over_new_series_at_later_times():
    panel = make_panel(4, 40)
    cv = tsf.SeriesSplit(2, random_state=0, time=tsf.RollingOrigin(2, 6))
    scorer = tsf.make_scorer("mae", late=True)
    search = GridSearchCV(ewma(), ALPHAS, cv=cv, scoring=scorer).fit(panel)
    assert search.n_splits_ == 4
    candidate = ewma(alpha=0.1)
    for number, (train, test) in enumerate(cv.split(panel)):
        rows = panel.iloc[test]
        cutoff = panel.index.get_level_values(1)[train].max()
        frame = candidate.fit(panel.iloc[train]).forecast_origins(rows)
        frame = frame[frame["cutoff"] >= cutoff]
        actual = panel["y"].reindex(frame.index)
        inside = frame.index.isin(rows.index)
        whole = (
            pd.Series(inside, index=frame.index)
            .groupby([frame.index.get_level_values(0), frame["cutoff"].to_numpy()])
            .transform("all")
        )
        error = (actual - frame["forecast"]).abs()[whole.to_numpy()].mean()
        assert search.cv_results_[f"split{number}_test_score"][0] == pytest.approx(-error)


def test_parameters_of_scorers_are_checked():
    with pytest.raises(ValueError, match=r"'metric': expected one of \['mae', 'rmse'"):
        tsf.make_scorer("r2")
    with pytest.raises(ValueError, match="'min_history': expected a whole number"):
        tsf.make_scorer("mae", min_history=0)


def test_scorers_look_through_pipelines_and_searches():
    panel = make_panel(2, 40)
    cv = tsf.RollingOrigin(2, 4)
    for metric in ("mae", "wql"):
        scorer = tsf.make_scorer(metric)
        expected = cross_val_score(walk(), panel, cv=cv, scoring=scorer)
        for wrapped in (
            make_pipeline(walk()),
            make_pipeline("passthrough", walk()),
            GridSearchCV(walk(), {"decay": [walk().decay]}, cv=cv, scoring=scorer),
            make_pipeline("passthrough", GridSearchCV(walk(), {"horizon": [2]}, cv=cv)),
        ):
            found = cross_val_score(wrapped, panel, cv=cv, scoring=scorer)
            assert found == pytest.approx(expected)
    gap = panel.copy()
    gap.loc[gap.index.get_level_values(1) > gap.index.levels[1][34], "y"] = np.nan
    filled = make_pipeline(FunctionTransformer(lambda rows: rows.ffill()), ewma())
    for scoring in (tsf.make_scorer("mae"), tsf.make_scorer("rmse")):  # of what the step gives
        score = cross_val_score(filled, gap, cv=tsf.RollingOrigin(1, 6), scoring=scoring)
        assert np.isfinite(score).all()
    # a forecast is judged in the unit that the last step sees, as the pipeline's own score does
    log = make_pipeline(FunctionTransformer(np.log), ewma())
    score = cross_val_score(log, panel, cv=cv, scoring=tsf.make_scorer("mae"))
    other = cross_val_score(ewma(), np.log(panel), cv=cv, scoring=tsf.make_scorer("mae"))
    assert score == pytest.approx(other)


def test_the_scorer_of_a_search_in_a_search_is_looked_at():
    days = one_series(60)
    panel = pd.concat({"a": days[:40], "b": days[:40], "c": days, "d": days}, names=["ticker"])
    inner = GridSearchCV(
        ewma(),
        ALPHAS,
        cv=tsf.RollingOrigin(1, 4),
        scoring=tsf.make_scorer("mae", late=True),
    )
    cv = tsf.SeriesSplit(2, shuffle=False, time=tsf.RollingOrigin(1, 10))
    with pytest.raises(DataError, match=r"late=True"):
        cross_val_score(inner, panel, cv=cv)
    inner.set_params(scoring="r2")
    with pytest.raises(ValueError, match="found 'r2'"):
        cross_val_score(inner, panel, cv=tsf.RollingOrigin(2, 4))


@pytest.mark.parametrize("scoring", [None, "mae"])
def test_searches_do_not_repeat_that_origins_have_a_short_history(scoring: str | None):
    panel = make_panel(3, 30)
    scorer = tsf.make_scorer(scoring) if scoring else None
    cv = tsf.SeriesSplit(3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = {"hidden_sizes": [(2,), (3,)]}
        GridSearchCV(make_model(), grid, cv=cv, scoring=scorer).fit(panel)
        model = make_model().fit(panel.loc[["s0", "s1"]])
        model.score(panel.loc[["s2"]])
    with pytest.warns(UserWarning, match="4 origins of 1 series have fewer than lookback=5"):
        model.forecast_origins(panel.loc[["s2"]])


def test_scorers_warn_of_nothing():
    panel = make_panel(3, 40)
    model = ewma().fit(parts(panel))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tsf.make_scorer("mase")(model, panel)
