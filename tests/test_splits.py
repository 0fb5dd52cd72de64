"""Rolling origins cut on time, splits between series keep groups whole; both serve as cv."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import randint
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from tsforecast._checks import DataError
from tsforecast.data.panel import as_panel, layout_of
from tsforecast.data.scored import check_split, horizons_of, naive_errors, scored_origins
from tsforecast.data.splits import RollingOrigin, SeriesSplit, validation_start
from tsforecast.estimators.baselines import Naive
from tsforecast.estimators.regression import LagRegressor


def stacked(*lengths: int) -> pd.DataFrame:
    """Series of different lengths that all end on the same day."""
    days = pd.date_range("2024-01-01", periods=max(lengths), name="day")
    parts = {
        f"s{i}": pd.DataFrame({"x": np.arange(float(n))}, index=days[len(days) - n :])
        for i, n in enumerate(lengths)
    }
    return pd.concat(parts, names=["series"])


def counted(n: int) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(float(n))}, index=pd.RangeIndex(n, name="time"))


class LastMean(BaseEstimator):
    """Forecasts the mean of the last rows; scores the rows after those fitted on."""

    def __init__(self, window: int = 3) -> None:
        self.window = window

    def fit(self, panel: pd.DataFrame, y: None = None) -> LastMean:
        time = panel.index.get_level_values(-1)
        self.cutoff_ = time.max()
        return self

    def score(self, panel: pd.DataFrame, y: None = None) -> float:
        x = panel["x"].unstack(level=0)
        error = (x - x.rolling(self.window).mean().shift()).loc[x.index > self.cutoff_]
        assert len(error) > 0
        return -float(error.abs().mean().mean())


def test_blocks_stand_at_the_end_of_the_data():
    splits = RollingOrigin(3, 4).splits(counted(40), horizon=5)
    assert [list(s.cutoffs) for s in splits] == [
        [23, 24, 25, 26],
        [27, 28, 29, 30],
        [31, 32, 33, 34],  # row 39 is five after row 34
    ]
    assert [(s.fit_from, s.fit_until) for s in splits] == [(0, 23), (0, 27), (0, 31)]


def test_cuts_are_made_on_time_and_not_on_rows_of_stacked_panels():
    panel = stacked(30, 12, 7)
    time = panel.index.get_level_values("day")
    for train, test in RollingOrigin(3, 2).split(panel):
        assert time[train].max() < time[np.setdiff1d(test, train)].min()
        assert set(train) == set(np.flatnonzero(time <= time[train].max()))
        assert set(test) == set(np.flatnonzero(time <= time[test].max()))
    alone = RollingOrigin(3, 2).splits(panel.loc["s0"], horizon=2)
    together = RollingOrigin(3, 2).splits(panel, horizon=2)
    for one, other in zip(alone, together):
        assert one.fit_until == other.fit_until
        assert one.cutoffs.equals(other.cutoffs)


def test_train_size_gap_and_step_are_counted_in_time_stamps():
    splits = RollingOrigin(2, 3, step=2, train_size=10, gap=4).splits(counted(60), horizon=1)
    assert [list(s.cutoffs) for s in splits] == [[48, 50, 52], [54, 56, 58]]
    assert [(s.fit_from, s.fit_until) for s in splits] == [(35, 44), (41, 50)]


@pytest.mark.parametrize(
    "time",
    [
        pd.date_range("2024-01-01", periods=20, tz="Europe/Berlin"),
        pd.timedelta_range("0h", periods=20, freq="h"),
        pd.RangeIndex(20),
    ],
    ids=["zoned", "timedelta", "whole"],
)
def test_labels_are_those_of_the_panel(time: pd.Index):
    panel = as_panel(pd.DataFrame({"x": range(20)}, index=time))
    (split,) = RollingOrigin(1, 3).splits(panel, horizon=2)
    assert list(split.cutoffs) == list(time[15:18])
    assert split.fit_until == time[15]
    assert split.fit_from == time[0]


def test_every_row_after_the_first_cutoff_is_tested_once_by_consecutive_blocks():
    ends = [test[-1] for _, test in RollingOrigin(4, 3).split(counted(30))]
    starts = [train[-1] for train, _ in RollingOrigin(4, 3).split(counted(30))]
    assert ends == [20, 23, 26, 29]
    assert starts == [17, 20, 23, 26]
    ends = [test[-1] for _, test in RollingOrigin(3, 2, step=3).split(counted(30))]
    assert ends == [19, 25, 29]  # up to the next first origin, or the end


def test_the_shortest_panel_is_enough_and_one_row_less_names_the_number_needed():
    splitter = RollingOrigin(2, 3, step=2, train_size=10, gap=4)
    needed = 10 + 4 + 2 * 5 + 3
    (first, _) = splitter.splits(counted(needed), horizon=3)
    assert (first.fit_from, first.fit_until, first.cutoffs[0]) == (0, 9, 13)
    message = re.escape(
        f"expected at least {needed} time stamps for RollingOrigin(n_splits=2, "
        f"origins_per_split=3, step=2, train_size=10, gap=4) and horizon 3, found {needed - 1}."
    )
    with pytest.raises(DataError, match=message):
        splitter.splits(counted(needed - 1), horizon=3)
    with pytest.raises(DataError, match="at least 6 time stamps .* found 5"):
        list(RollingOrigin(5).split(counted(5)))


@pytest.mark.parametrize("name", ["n_splits", "origins_per_split", "step", "train_size", "gap"])
def test_parameters_are_whole_numbers(name: str):
    with pytest.raises(ValueError, match=f"{name}.*whole number of at least .*found -1"):
        RollingOrigin(**{name: -1})
    with pytest.raises(ValueError, match=f"{name}.*found 1.5"):
        RollingOrigin(**{name: 1.5})


def test_rows_in_another_order_are_refused():
    panel = stacked(10, 10).swaplevel().sort_index().swaplevel()
    message = r"rows are not in the panel's order.*found 18 of 20 in another place.*as_panel"
    with pytest.raises(DataError, match=message):
        next(RollingOrigin(2).split(panel))
    table = stacked(10, 10).rename_axis(["series", "time"]).reset_index()
    with pytest.raises(DataError, match=r"order.*found rows named by columns"):
        next(SeriesSplit(2).split(table))


def test_serves_as_cv_of_cross_val_score_and_grid_search():
    panel = stacked(30, 12)
    cv = RollingOrigin(3, 4)
    assert cv.get_n_splits(panel) == 3
    scores = cross_val_score(LastMean(3), panel, cv=cv, error_score="raise")
    assert scores == pytest.approx([-2.0] * 3)  # a ramp is two above the mean of three before
    search = GridSearchCV(LastMean(), {"window": [1, 4, 7]}, cv=cv, error_score="raise")
    assert search.fit(panel).best_params_ == {"window": 1}


@pytest.mark.parametrize("size", [0.1, 0.25, 0.5])
def test_validation_is_the_latest_share_of_all_rows(size: float):
    panel = stacked(40, 20, 8)
    start = validation_start(panel, size)
    late = panel.index.get_level_values("day").asi8 >= start
    assert late.mean() == pytest.approx(size, abs=3 / len(panel))  # one row of each series


# ------------------------------------------------------------------------------- between series


def stays(n: int = 12, *, died: tuple[int, ...] = (1, 4, 7), rows: int = 6) -> pd.DataFrame:
    """Stays s00, s01, ... of unequal length, two of each patient; some die in their last row."""
    parts = {}
    for i in range(n):
        length = rows + i % 3
        outcome = np.zeros(length)
        outcome[-1] = i in died
        parts[f"s{i:02}"] = pd.DataFrame(
            {"x": np.arange(length), "unit": float(i // 2), "died": outcome},
            index=pd.RangeIndex(length, name="hour"),
        )
    return as_panel(pd.concat(parts, names=["stay"]))


def names(panel: pd.DataFrame, rows: np.ndarray) -> set[str]:
    return set(panel.index.get_level_values(0)[rows])


@pytest.mark.parametrize("n_splits", [2, 5, None])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_series_is_on_one_side_and_tested_once(n_splits: int | None, shuffle: bool):
    panel = stays()
    splitter = SeriesSplit(n_splits, shuffle=shuffle, random_state=0)
    tested = []
    for train, test in splitter.split(panel):
        assert not names(panel, train) & names(panel, test)
        assert sorted([*train, *test]) == list(range(len(panel)))
        tested.extend(names(panel, test))
    assert sorted(tested) == sorted(panel.index.levels[0])
    assert len(list(splitter.split(panel))) == splitter.get_n_splits(panel) == (n_splits or 12)


def test_without_groups_the_cut_is_that_of_kfold_on_the_series():
    panel = stays()
    ids = np.array(panel.index.levels[0])
    ours = [names(panel, test) for _, test in SeriesSplit(4, random_state=3).split(panel)]
    folds = KFold(4, shuffle=True, random_state=3).split(ids)
    assert ours == [set(ids[held]) for _, held in folds]


@pytest.mark.parametrize("n_splits", [3, None])
@pytest.mark.parametrize("by", ["column", "rows"])
def test_no_group_is_torn_apart(n_splits: int | None, by: str):
    panel = stays()
    splitter = SeriesSplit(n_splits, group="unit" if by == "column" else None, random_state=1)
    groups = None if by == "column" else panel["unit"].astype(str).to_list()
    splits = list(splitter.split(panel, groups=groups))
    for train, test in splits:
        assert not set(panel["unit"].iloc[train]) & set(panel["unit"].iloc[test])
    assert len(splits) == splitter.get_n_splits(panel, groups=groups) == (n_splits or 6)


def test_series_without_a_group_are_groups_of_their_own():
    panel = stays()
    panel.loc[["s00", "s01", "s02"], "unit"] = np.nan
    assert SeriesSplit(None, group="unit").get_n_splits(panel) == 3 + 5  # s03 is alone in its


def test_parts_have_their_share_of_an_outcome_that_any_row_may_tell():
    panel = stays(died=(1, 4, 7))
    for seed in range(5):
        splitter = SeriesSplit(3, stratify="died", random_state=seed)
        dead = [
            panel["died"].iloc[test].groupby(level=0).max().sum()
            for _, test in splitter.split(panel)
        ]
        assert dead == [1, 1, 1]


def test_a_group_has_the_largest_outcome_of_its_series():
    panel = stays(died=(0, 1, 6))  # two of them are of one patient
    splitter = SeriesSplit(2, stratify="died", group="unit", random_state=0)
    for _, test in splitter.split(panel):
        assert panel["died"].iloc[test].groupby(panel["unit"].iloc[test]).max().sum() == 1


def test_categories_can_be_stratified():
    panel = stays()
    ward = np.where(panel.index.get_level_values(0) < "s06", "A", "B")
    panel["ward"] = pd.Categorical(ward)
    for _, test in SeriesSplit(3, stratify="ward", random_state=0).split(panel):
        assert [len(part) for _, part in panel.iloc[test].groupby("ward", observed=True)]
        assert panel["ward"].iloc[test].groupby(level=0).first().value_counts().to_list() == [2, 2]


def test_a_cut_by_series_and_time_holds_back_both():
    panel = stays(rows=10)
    blocks = RollingOrigin(2, 2)
    splitter = SeriesSplit(3, random_state=0, time=blocks)
    by_series = list(SeriesSplit(3, random_state=0).split(panel))
    by_time = list(blocks.split(panel))
    expected = [
        (sorted(set(train) & set(known)), sorted(set(test) & set(shown)))
        for train, test in by_series
        for known, shown in by_time
    ]
    found = [(list(train), list(test)) for train, test in splitter.split(panel)]
    assert found == expected
    assert len(found) == splitter.get_n_splits() == 6


def test_one_seed_gives_one_cut_and_none_gives_others():
    panel = stays()
    first, second = ([*SeriesSplit(3, random_state=7).split(panel)] for _ in range(2))
    assert all(np.array_equal(a, b) for one, two in zip(first, second) for a, b in zip(one, two))
    drawn = {tuple(next(SeriesSplit(3).split(panel))[1]) for _ in range(8)}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_splits": 13}, "at least 13 series for n_splits=13, found 12"),
        ({"n_splits": 7, "group": "unit"}, r"at least 7 groups of series .* found 6 \(12 series"),
        ({"n_splits": 4, "stratify": "died"}, r"each value in at least 4 series, found 3 with 1,"),
        ({"group": "ward"}, "group is not a column.*'ward'.*Name one of them as group="),
        ({"stratify": "ward"}, "stratify is not a column"),
        ({"group": "x"}, "static column varies.*one value in all rows"),
        (
            {"n_splits": 2, "time": RollingOrigin(1, 20)},
            "too few rows for this splitter.*at least 21 time stamps",
        ),
    ],
)
def test_what_cannot_be_split_is_refused_with_numbers(options: dict, message: str):
    with pytest.raises(DataError, match=message):
        list(SeriesSplit(**options).split(stays()))


def test_an_unknown_outcome_and_an_empty_side_are_refused():
    panel = stays()
    panel.loc["s03", "died"] = np.nan
    with pytest.raises(DataError, match="outcome is missing .column 'died'.*1 of 12 without any"):
        list(SeriesSplit(2, stratify="died").split(panel))
    late = counted(3).set_axis(pd.RangeIndex(20, 23, name="time"))
    both = as_panel(pd.concat({"a": counted(23), "b": late}, names=["series"]))
    with pytest.raises(DataError, match="side of a split is empty.*found 0 and 20 in block 1 of 2"):
        list(SeriesSplit(2, shuffle=False, time=RollingOrigin(2, 3)).split(both))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_splits": 1}, "n_splits.*at least 2, found 1"),
        ({"n_splits": None, "stratify": "died"}, "number of parts, to stratify"),
        ({"time": 3}, r"time.*a RollingOrigin\(...\) or None, found 3"),
        ({"group": ["unit"]}, r"'group': expected the name of one column, .* found \['unit'\]"),
        ({"stratify": ["died"]}, "'stratify': expected the name of one column"),
        ({"shuffle": "no"}, r"'shuffle': expected one of \[True, False\], found 'no'"),
        ({"random_state": "a"}, "'random_state': expected a whole number .* found 'a'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SeriesSplit(**options)


def test_groups_of_rows_must_fit_the_panel():
    panel = stays()
    with pytest.raises(ValueError, match=r"groups.*a value for each of 84 rows, found \(2,\)"):
        list(SeriesSplit(2).split(panel, groups=[1, 2]))
    for given in ("unit", "patient"):
        message = f"each of 84 rows, found '{given}'. group= takes the name of a column, groups="
        with pytest.raises(ValueError, match=message):
            list(SeriesSplit(2).split(panel, groups=given))
    with pytest.raises(ValueError, match="as group= names a column"):
        list(SeriesSplit(2, group="unit").split(panel, groups=panel["unit"]))
    with pytest.raises(DataError, match="static column varies .column 'groups'"):
        list(SeriesSplit(2).split(panel, groups=panel["x"]))
    with pytest.raises(ValueError, match="a panel, as n_splits=None"):
        SeriesSplit(None).get_n_splits()


@pytest.mark.parametrize("name", ["subject_id", "patient"])
def test_a_column_that_looks_like_groups_draws_a_warning(name: str):
    panel = stays().rename(columns={"unit": name})
    with pytest.warns(UserWarning, match=f"{name!r} looks as if it named groups.*the training and"):
        list(SeriesSplit(2).split(panel))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(SeriesSplit(2, group=name).split(panel))
        list(SeriesSplit(2).split(panel, groups=panel[name]))


def test_serves_as_cv_of_a_search_with_groups():
    panel = stays()
    search = GridSearchCV(Naive(target="x"), {"horizon": [1, 2]}, cv=SeriesSplit(3, random_state=0))
    search.fit(panel, groups=panel["unit"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.n_splits_ == 3


def test_groups_reach_the_splitter_by_metadata_routing():
    panel = stays()
    search = GridSearchCV(Naive(target="x"), {"horizon": [1]}, cv=SeriesSplit(None))
    with config_context(enable_metadata_routing=True):
        search.fit(panel, groups=panel["unit"])
        assert search.n_splits_ == 6
        scores = cross_val_score(
            Naive(target="x"), panel, cv=SeriesSplit(None), params={"groups": panel["unit"]}
        )
        alone = cross_val_score(Naive(target="x"), panel, cv=SeriesSplit(None))
        in_time = cross_val_score(Naive(target="x"), panel, cv=RollingOrigin(2))
    assert len(scores) == 6 and len(alone) == 12 and len(in_time) == 2


# ------------------------------------------------------------------------------- what is scored


def test_scored_origins_are_late_ones_of_series_seen_and_all_of_others():
    panel = as_panel(
        pd.concat({"a": counted(10), "b": counted(8), "c": counted(4)}, names=["series"])
    )
    layout = layout_of(panel)
    known = np.ones((len(panel), 1), dtype=bool)
    known[[7, 11]] = False
    seen = np.array([True, False, True])

    def rows(**options) -> list[int]:
        return scored_origins(layout, known, seen, 6, horizon=2, **options).tolist()

    assert rows() == [6, 10, 12, 13, 14, 15]  # c ends before
    assert rows(min_history=4) == [6, 13, 14, 15]
    assert rows(late=True) == [6]
    with pytest.raises(DataError, match="rows at or after 6, .*with 5 rows behind.*none in 2 ser"):
        scored_origins(layout, known, seen, 6, horizon=5, late=True)


def test_an_origin_needs_a_known_target_at_itself_and_one_behind():
    layout = layout_of(as_panel(counted(12)))
    seen = np.array([True])

    def rows(known: list[int], horizon: int = 2) -> list[int]:
        flags = np.isin(np.arange(12), known)[:, None]
        return scored_origins(layout, flags, seen, 8, horizon=horizon).tolist()

    assert rows([8, 9]) == [8, 9]  # of which the score counts what is known behind them
    for known, message in (
        ([0, 8], "found 2 such rows, with nothing known behind them"),
        ([0, 7, 10, 11], "found 2 such rows, with no known target. Choose test parts in which"),
    ):
        with pytest.raises(DataError, match=message):
            rows(known)
    both = np.ones((12, 2), dtype=bool)
    both[9:, 1] = False
    with pytest.raises(DataError, match="3 such rows, .*, for 1 of 2 targets"):
        scored_origins(layout, both, seen, 8, horizon=1)
    with pytest.raises(DataError, match=r"\(row 4 or later \(min_history\) and those times alone"):
        scored_origins(layout, both, ~seen, 8, horizon=9, min_history=4, late=True)


def test_naive_errors_are_those_of_the_last_value():
    values = np.array([1.0, 3.0, np.nan, 7.0, 7.0, 7.0])
    errors = naive_errors(values, np.array([0, 1, 2]), 2, column="y")
    np.testing.assert_array_equal(errors, [[2, np.nan], [np.nan, 4], [np.nan, np.nan]])
    for origins in ([3], [2]):
        with pytest.raises(DataError, match=r"nothing to score .column 'y'.*a target that moves"):
            naive_errors(values, np.array(origins), 2, column="y")


def test_rows_of_a_split_stand_in_time_and_once():
    panel = as_panel(pd.concat({"a": counted(10), "b": counted(10)}, names=["series"]))
    layout = layout_of(panel)

    def check(train: list[int], test: list[int]) -> None:
        check_split(
            layout,
            np.array(train),
            np.array(test),
            targets=None,
            horizon=1,
            scorers=[],
            place="Mine(), split 1",
        )

    check([10, 0, 11, 1], [0, 10, 1, 11, 2])  # series may be interleaved
    for train, test in (([1, 0], [0, 1, 2]), ([0, 1], [0, 1, 1]), ([0, 1], [0, 2, 1])):
        message = r"rows in another order.*\(Mine\(\), split 1\).*resource='training__max_epochs'"
        with pytest.raises(DataError, match=message):
            check(train, test)


@pytest.mark.parametrize(
    "estimator, grids, expected",
    [
        (Naive(), [{}], {1}),
        (Naive(horizon=4), [{}], {4}),
        (Naive(horizon="x"), [{}], {1}),
        (Naive(horizon=4), [{"horizon": [2, 3]}], {2, 3}),
        (Naive(horizon=4), [{"target": ["x"]}, {"horizon": np.array([6])}], {4, 6}),
        (Naive(), [{"horizon": (2, 9)}], {2, 9}),
        (Naive(), [{"horizon": IntDistribution(2, 9)}], {2, 9}),
        (Naive(), [{"horizon": CategoricalDistribution([5, 7])}], {5, 7}),
        (Naive(), [{"horizon": FloatDistribution(2, 3)}], {1}),
        (Naive(), [{"horizon": randint(2, 10)}], {2, 9}),
        (LagRegressor(estimator=Ridge(), horizon=3), [{}], {3}),
        (make_pipeline("passthrough", Naive(horizon=4)), [{}], {4}),
        (make_pipeline("passthrough", Naive()), [{"naive__horizon": [2], "horizon": [9]}], {2}),
        (GridSearchCV(Naive(horizon=9), {"horizon": [2]}), [{}], {2}),
        (GridSearchCV(Naive(horizon=9), [{"horizon": [2]}, {"target": ["x"]}]), [{}], {2, 9}),
        (RandomizedSearchCV(Naive(), {"horizon": randint(2, 10)}), [{}], {2, 9}),
        (
            GridSearchCV(make_pipeline("passthrough", Naive()), {"naive__horizon": [3]}),
            [{"estimator__naive__horizon": [2]}],
            {3},  # the search has the last word
        ),
        (
            GridSearchCV(make_pipeline("passthrough", Naive()), {"naive__target": ["x"]}),
            [{"estimator__naive__horizon": [2]}],
            {2},
        ),
        (make_pipeline("passthrough"), [{}], {1}),
    ],
)
def test_horizons_are_those_of_all_candidates(estimator: object, grids: list, expected: set):
    assert set(horizons_of(estimator, grids)) == expected
