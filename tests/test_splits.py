"""Rolling origins cut on time, and serve scikit-learn as cv."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score

from tsforecast._checks import DataError
from tsforecast.data.panel import as_panel
from tsforecast.data.splits import RollingOrigin, validation_start


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
    with pytest.raises(DataError, match=r"rows are not in the panel's order.*as_panel"):
        next(RollingOrigin(2).split(panel))


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
