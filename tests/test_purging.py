"""PurgedSplit: no label of training reaches into the test part, and nothing else is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score

import tsforecast as tsf


def ends_of(seed, lengths, *, longest=6):
    """Ends of labels of samples of several series at times of their own, shuffled or in order."""
    rng = np.random.default_rng(seed)
    time = np.concatenate([np.sort(rng.choice(30, n, replace=False)) for n in lengths])
    index = pd.MultiIndex.from_arrays(
        [np.repeat(np.arange(len(lengths)), lengths), time], names=["who", "when"]
    )
    end = pd.Series(time + rng.integers(0, longest, len(time)), index, name="label_end")
    return end.sort_index(level=["when", "who"])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(8, 20), min_size=1, max_size=3),
    n_splits=st.integers(1, 3),
    test_size=st.sampled_from([None, 1, 2]),
    most=st.sampled_from([None, 10]),
    shuffled=st.booleans(),
)
def test_splits_are_those_of_a_loop_over_all_pairs(
    seed, lengths, n_splits, test_size, most, shuffled
):
    end = ends_of(seed, lengths)
    if shuffled:
        end = end.sample(frac=1, random_state=seed)
    when = end.index.get_level_values("when").to_numpy()
    stamps = sorted(set(when))
    size = test_size or len(stamps) // (n_splits + 1)
    splitter = tsf.PurgedSplit(
        n_splits, label_horizon=end, test_size=test_size, max_train_size=most
    )
    X = np.zeros((len(end), 2, 1))
    expected = []
    for k in range(n_splits):
        begin = len(stamps) - (n_splits - k) * size
        tested = stamps[begin : begin + size]
        since = stamps[max(begin - most, 0)] if most else stamps[0]
        test = [i for i in range(len(end)) if when[i] in tested]
        train = [
            i
            for i in range(len(end))
            if since <= when[i] < tested[0] and all(end.iloc[i] < when[j] for j in test)
        ]
        expected.append((train, test))
    if not all(train for train, _ in expected):
        with pytest.raises(tsf.DataError, match="no sample to train on: expected samples whose"):
            list(splitter.split(X))
        return
    found = [(train.tolist(), test.tolist()) for train, test in splitter.split(X)]
    assert found == expected
    assert splitter.get_n_splits() == n_splits


@pytest.mark.parametrize("reach", [1, 4])
@pytest.mark.parametrize("sizes", [{}, {"test_size": 5}])
def test_a_number_splits_as_scikit_learn_does_with_that_gap(reach, sizes):
    X = np.zeros((43, 1))
    ours = tsf.PurgedSplit(4, label_horizon=reach, **sizes).split(X)
    theirs = TimeSeriesSplit(4, gap=reach, **sizes).split(X)
    for (train, test), (theirs_train, theirs_test) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(train, theirs_train)
        np.testing.assert_array_equal(test, theirs_test)


def test_labels_of_one_length_are_split_as_by_their_number():
    end = pd.Series(np.arange(40) + 3, index=np.arange(40))
    assert tsf.label_horizon(end) == 3
    by_time = tsf.PurgedSplit(3, label_horizon=end).split(np.zeros(40))
    by_number = tsf.PurgedSplit(3, label_horizon=3).split(np.zeros(40))
    for (a, b), (c, d) in zip(by_time, by_number, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_no_label_of_training_knows_a_return_of_the_test_part():
    """From prices to splits: alter what lies in a test part, and no training label moves."""
    panel = tsf.make_prices(3, 150, random_state=2)

    def samples(prices):
        labels = tsf.triple_barrier(prices, horizon=10, up=1.5, down=1.5, half_life=10)
        table = labels[["label"]].assign(move=np.log(prices["close"]).groupby(level=0).diff())
        _, y, index = tsf.make_windows(table, 5, horizon=0, target="label", past=["move"])
        return pd.Series(y, index), labels.loc[index, "label_end"]

    y, end = samples(panel)
    when = y.index.get_level_values(1)
    left_out = 0
    for train, test in tsf.PurgedSplit(3, label_horizon=end).split(np.zeros(len(y))):
        first = when[test].min()
        assert (end.iloc[train] < first).all()
        left_out += (when < first).sum() - len(train)
        changed = panel.copy()
        changed.loc[changed.index.get_level_values(1) >= first, "close"] *= 3
        again, _ = samples(changed)
        pd.testing.assert_series_equal(again[y.index[train]], y.iloc[train])
    assert left_out > 20  # of which some would have known


def test_searches_take_it():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    end = pd.Series(np.arange(60) + 2, index=np.arange(60))
    splits = tsf.PurgedSplit(3, label_horizon=end)
    assert len(cross_val_score(LogisticRegression(), X, y, cv=splits)) == 3
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=splits).fit(X, y)
    assert search.n_splits_ == 3


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(5, 20), min_size=1, max_size=3))
def test_the_number_is_the_least_that_leaves_no_label_behind_the_next_samples(seed, lengths):
    end = ends_of(seed, lengths)
    when = end.index.get_level_values("when").to_numpy()
    n = tsf.label_horizon(end)

    def reaches(number):
        """Samples whose label goes on behind the time of the one so many places on."""
        return [i for i in range(len(end) - number) if end.iloc[i] > when[i + number]]

    assert reaches(n) == []
    assert n == 1 or reaches(n - 1) or (end.to_numpy() > when.max()).any()


def test_the_finer_of_two_units_decides():
    index = pd.date_range("2024-01-01", periods=6, unit="s")
    late = index.as_unit("ns") + pd.Timedelta(days=1) + pd.Timedelta(1, "ns")
    exact = pd.Series(index + pd.Timedelta(days=1), index)
    splits = [
        next(tsf.PurgedSplit(1, label_horizon=end, test_size=2).split(np.zeros(6)))[0].tolist()
        for end in (exact, pd.Series(late, index), exact - pd.Timedelta("1s"))
    ]
    assert splits == [[0, 1, 2], [0, 1, 2], [0, 1, 2, 3]]
    # samples half a second past the whole one at which labels end: these have ended by then
    finer = index.as_unit("ns") + pd.Timedelta("500ms")
    ends = pd.Series(exact.dt.as_unit("s").to_numpy(), finer)
    train, _ = next(tsf.PurgedSplit(1, label_horizon=ends, test_size=2).split(np.zeros(6)))
    assert train.tolist() == [0, 1, 2, 3]


DAYS = pd.date_range("2024-01-01", periods=6, name="day")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tsf.PurgedSplit(0, label_horizon=1), "'n_splits': expected a whole number of at"),
        (lambda: tsf.PurgedSplit(label_horizon=0), "'label_horizon': expected a Series with the "),
        (lambda: tsf.PurgedSplit(label_horizon=None), "'label_horizon': .*, found None"),
        (lambda: tsf.PurgedSplit(label_horizon=1, test_size=0), "'test_size': expected a whole"),
        (
            lambda: tsf.PurgedSplit(label_horizon=pd.Series([DAYS[0], pd.NaT], DAYS[:2])),
            r"labels without an end .*2024-01-02.*found 1 of 2 without",
        ),
        (
            lambda: tsf.PurgedSplit(label_horizon=pd.Series(DAYS[0], DAYS)),
            r"labels end before their samples \(first rows: 2024-01-02",
        ),
        (
            lambda: tsf.PurgedSplit(label_horizon=pd.Series(DAYS.tz_localize("UTC"), DAYS)),
            r"different kinds of time .*: expected datetime64\[\w+\], .*, found .*UTC",
        ),
        (
            lambda: tsf.PurgedSplit(label_horizon=pd.Series(range(6), DAYS)),
            "different kinds of time",
        ),
        (lambda: tsf.label_horizon(DAYS), "'label_end': expected a Series on the index of the"),
        (
            lambda: tsf.label_horizon(pd.Series([3, 3], [1, 0])),
            "samples are not in order of time .*first rows: 0",
        ),
    ],
)
def test_ends_that_cannot_be_used_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("splitter", "message"),
    [
        (
            tsf.PurgedSplit(6, label_horizon=1),
            "too few samples to split: expected more than 6 test",
        ),
        (
            tsf.PurgedSplit(2, label_horizon=pd.Series(DAYS, DAYS)[:5]),
            "expected one end of a label for each sample, .*, found 6 samples and 5 ends",
        ),
        (
            tsf.PurgedSplit(2, label_horizon=4),
            "no sample to train on: .* test part 1 of 2, found 2",
        ),
    ],
)
def test_samples_that_cannot_be_split_are_refused(splitter, message):
    with pytest.raises(tsf.DataError, match=message):
        list(splitter.split(np.zeros((6, 1))))
