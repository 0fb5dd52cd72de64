"""make_windows: every window lies in one series, in order of time, as a plain walk would cut it."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit
from small import make_panel

import tsforecast as tsf


def plain_windows(panel, lookback, horizon, columns, targets, hours=None):
    """The definition: one row after the other, one `if` per condition."""
    found = []
    for name, rows in panel.groupby(level=0):
        values, when = rows[columns].to_numpy(), rows.index.get_level_values(1)
        for at in range(lookback - 1, len(rows) - horizon):
            steps = range(at - lookback + 2, at + horizon + 1)
            if hours is not None and any(when[i] - when[i - 1] > hours for i in steps):
                continue
            x = values[at - lookback + 1 : at + 1]
            ahead = values[at + 1 : at + horizon + 1, : len(targets)]
            if not (np.isnan(x).any() or np.isnan(ahead).any()):
                found.append((when[at], name, x, ahead.T.ravel()))
    return sorted(found, key=lambda sample: sample[:2])


def random_panel(rng, lengths, *, most_between: int) -> pd.DataFrame:
    """Series of some lengths, 1 to `most_between` steps between rows; columns x, y, z."""
    time = [rng.integers(0, 3) + np.cumsum(rng.integers(1, most_between + 1, n)) for n in lengths]
    index = pd.MultiIndex.from_arrays(
        [np.repeat(np.arange(len(lengths)), lengths), np.concatenate(time)], names=["who", "when"]
    )
    return pd.DataFrame(rng.normal(size=(len(index), 3)), index=index, columns=["x", "y", "z"])


@pytest.mark.filterwarnings("ignore:Labels reach")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([["y"], ["z", "y"]]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([None, 2]),
    st.integers(0, 9),
)
def test_windows_are_those_of_a_plain_walk(lengths, lookback, horizon, targets, missing, gap, seed):
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, lengths, most_between=3)
    panel = panel.mask(rng.random(panel.shape) < missing)
    expected = plain_windows(panel, lookback, horizon, [*targets, "x"], targets, gap)
    cut = {"target": targets, "past": ["x", "y"][:1], "max_gap": gap}
    if not expected:
        with pytest.raises(tsf.DataError, match="no windows"):
            tsf.make_windows(panel, lookback, horizon, **cut)
        return
    X, y, labels = tsf.make_windows(panel, lookback, horizon, **cut)
    np.testing.assert_array_equal(X, [sample[2] for sample in expected])
    np.testing.assert_array_equal(y.reshape(len(X), -1), [sample[3] for sample in expected])
    assert labels.tolist() == [(who, when) for when, who, *_ in expected]
    assert labels.names == ["who", "when"]


def test_shapes_follow_from_lookback_horizon_and_columns():
    panel = make_panel(2, 20)
    X, y, index = tsf.make_windows(panel, 5, target="y", past=["x", "y"])
    assert (X.shape, y.shape, len(index)) == ((30, 5, 2), (30,), 30)
    X, y, _ = tsf.make_windows(panel, 5, 3, target=["y", "x"])
    assert (X.shape, y.shape) == ((26, 5, 2), (26, 6))


def test_a_gap_of_horizon_times_series_keeps_labels_of_training_before_the_test_part():
    panel, horizon = make_panel(3, 40), 4
    X, _, index = tsf.make_windows(panel, 5, horizon, target="y")
    time = index.get_level_values("day")
    day = pd.Timedelta("1D")

    def reach(gap):
        """Days from the last label of training to the newest row of the first test window."""
        splits = TimeSeriesSplit(n_splits=4, gap=gap).split(X)
        return min(
            (time[test].min() - time[train].max() - horizon * day) / day for train, test in splits
        )

    assert reach(horizon * 3) >= 0
    assert reach(0) < 0


def leaks(panel, index, horizon, left_out):
    """Splits of the samples where a label of training lies behind the first test window's end."""
    rows = {who: list(part.index.get_level_values(1)) for who, part in panel.groupby(level=0)}
    ends = [rows[who][rows[who].index(when) + horizon] for who, when in index]
    when = index.get_level_values(1)
    return [
        cut
        for cut in range(1, len(index))
        if any(e > when[cut] for e in ends[: max(cut - left_out, 0)])
    ]


def windows_and_number(panel, lookback, horizon, **options):
    """Index of the samples, and the one number for `gap` and `label_horizon`: (index, n, warned)"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, _, index = tsf.make_windows(panel, lookback, horizon, **options)
    if not caught:
        return index, horizon * index.get_level_values(0).nunique(), False
    (warning,) = caught
    assert warning.filename == __file__
    return index, int(re.search(r"gap=(\d+)", str(warning.message))[1]), True


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(2, 12), min_size=1, max_size=3),
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([None, 1, 2]),
    st.integers(0, 99),
)
def test_no_label_leaks_by_the_documented_number_or_else_by_that_of_the_warning(
    lengths, lookback, horizon, most_between, missing, gap, seed
):
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, lengths, most_between=most_between)
    panel = panel.mask(rng.random(panel.shape) < missing)
    try:
        index, n, warned = windows_and_number(panel, lookback, horizon, target="y", max_gap=gap)
    except tsf.DataError:
        return
    n_series = index.get_level_values(0).nunique()
    assert leaks(panel, index, horizon, n) == []  # as `gap`
    assert leaks(panel, index, horizon, n - 1) == []  # as `label_horizon`
    if warned:
        assert n > horizon * n_series > 1
        if n < len(index):  # with fewer splits than samples there is none to show it
            assert leaks(panel, index, horizon, n - 2)
    if n_series == 1 or most_between == 1:  # one grid
        assert not warned


def test_a_daily_series_beside_a_weekly_one_draws_a_warning_with_the_number_that_holds():
    days = pd.date_range("2024-01-01", periods=90, name="day")
    panel = pd.concat({"d": pd.Series(1.0, days), "w": pd.Series(1.0, days[::7])}).to_frame("y")
    with pytest.warns(UserWarning, match=r"reach over 23 .* horizon \* n_series = 6: .*=23; or"):
        X, _, index = tsf.make_windows(panel, 2, 3)
    day = pd.Series(days, days)
    end = [day.iloc[day.index.get_loc(t) + (21 if who == "w" else 3)] for who, t in index]
    when = index.get_level_values(1)

    def late(gap):
        splits = TimeSeriesSplit(n_splits=3, gap=gap).split(X)
        return [max(end[i] for i in train) > when[test[0]] for train, test in splits]

    assert any(late(6))
    assert not any(late(23))
    for alone in ("d", "w"):
        _, n, warned = windows_and_number(panel.loc[[alone]], 2, 3)
        assert (n, warned) == (3, False)
    _, n, warned = windows_and_number(panel, 1, 3, max_gap="1D")  # the weekly series is left out
    assert (n, warned) == (3, False)


def test_the_documented_number_is_exact_for_label_horizon():
    panel = make_panel(3, 40)
    index, n, warned = windows_and_number(panel, 5, 4, target="y")
    assert (n, warned) == (12, False)
    assert leaks(panel, index, 4, n - 1) == []
    assert leaks(panel, index, 4, n - 2)


def test_a_single_series_is_labelled_by_time():
    frame = make_panel(1, 12).droplevel(0)
    _, _, index = tsf.make_windows(frame, 3, 2, target="y")
    pd.testing.assert_index_equal(index, frame.index[2:10])


def test_a_time_that_jumps_too_far_cuts_a_series():
    frame = make_panel(1, 12).droplevel(0).drop(pd.Timestamp("2024-01-06"))
    assert len(tsf.make_windows(frame, 2, target="y")[0]) == 9
    assert len(tsf.make_windows(frame, 2, target="y", max_gap="1D")[0]) == 3 + 4
    with pytest.raises(ValueError, match="'max_gap': expected a time span such as '2h', found 3"):
        tsf.make_windows(frame, 2, target="y", max_gap=3)


def test_the_panel_is_left_alone_and_x_is_a_copy():
    panel = make_panel(2, 12)
    before = panel.copy(deep=True)
    X, y, _ = tsf.make_windows(panel, 3, target="y")
    X[:], y[:] = 0.0, 0.0
    pd.testing.assert_frame_equal(panel, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lookback": 20}, r"windows of 20 \+ 1 rows .* found none that long in 24 rows of 2"),
        ({"past": ["gone"]}, r"'past': expected some of the columns \['x', 'y'\]"),
        ({"past": "x"}, "'past': expected a list of columns, found 'x'"),
        ({"target": "gone"}, "'target': expected one or several of the columns"),
        ({"target": None}, "'target': expected one or several of the columns"),
        ({"target": ["y", "y"]}, "'target': expected one or several of the columns"),
        ({"target": {"y"}}, r"'target': expected one or several of .*, found \{'y'\}"),
        ({"target": [["y"]]}, "'target': expected one or several of the columns"),
        ({"target": []}, "'target': expected one or several of the columns"),
        ({"past": [["x"]]}, r"'past': expected some of the columns .*, found \[\['x'\]\]"),
        ({"horizon": -1}, "'horizon': expected a whole number of at least 0"),
        ({"horizon": 0}, r"'past': expected columns without the target \['y'\], .*, found None"),
        ({"horizon": 0, "past": ["x", "y"]}, r"'past': .*, found \['x', 'y'\]"),
        ({"lookback": 2.5}, "'lookback': expected a whole number of at least 1"),
    ],
)
def test_what_cannot_be_cut_is_refused(change, message):
    options = {"lookback": 3, "horizon": 1, "target": "y"} | change
    with pytest.raises(ValueError, match=message):
        tsf.make_windows(make_panel(2, 12), **options)


@pytest.mark.parametrize("role", [{"target": "y", "past": ["kind"]}, {"target": "kind"}])
def test_categories_are_refused_by_name(role):
    panel = make_panel(2, 12)
    panel["kind"] = pd.Categorical(["a", "b"] * 12)
    message = r"category \(column 'kind'\): expected numbers .* found dtype category. .*get_dummies"
    with pytest.raises(tsf.DataError, match=message):
        tsf.make_windows(panel, 3, **role)
    assert tsf.make_windows(panel, 3, target="y")[0].shape == (18, 3, 1)


def test_windows_that_all_have_missing_values_are_counted():
    panel = make_panel(2, 12)
    panel.loc[panel.index.get_level_values(1).day % 2 == 0, "y"] = np.nan
    with pytest.raises(tsf.DataError, match="found 18 with missing values in 24 rows of 2 series"):
        tsf.make_windows(panel, 3, target="y")
