"""triple_barrier and uniqueness: what a plain loop says, known when they say, and no sooner."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin

import tsforecast as tsf

NAN = np.nan
COLUMNS = ["label", "return", "barrier", "label_end", "volatility"]


def random_prices(seed, lengths, *, missing=0.0, most_between=1):
    """Walks with highs and lows, volatility, side; times in whole steps, some apart."""
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    time = [rng.integers(0, 3) + np.cumsum(rng.integers(1, most_between + 1, k)) for k in lengths]
    index = pd.MultiIndex.from_arrays(
        [np.repeat(np.arange(len(lengths)), lengths), np.concatenate(time)], names=["who", "when"]
    )
    close = 50 * np.exp(0.02 * rng.normal(size=n).cumsum())
    panel = pd.DataFrame(
        {
            "close": close,
            "high": close * np.exp(0.01 * rng.random(n)),
            "low": close * np.exp(-0.01 * rng.random(n)),
            "sd": rng.choice([0.0, 0.01, 0.02, 0.03], n),
            "bet": rng.choice([-1.0, 0.0, 1.0], n),
        },
        index=index,
    )
    return panel.mask(rng.random(panel.shape) < missing)


def plain_labels(panel, horizon, up, down, vertical, bars, side, max_gap):
    """The definition: one row after the other, in prices."""
    found = []
    for _, rows in panel.groupby(level=0):
        when = rows.index.get_level_values(1)
        for i in range(len(rows)):
            row, answer = rows.iloc[i], (NAN, NAN, None, None)
            bet = row["bet"] if side else 1.0
            # the column as a long bet sees it: for a short one prices are turned into 1 / price
            asked = row["close"] > 0 and row["sd"] > 0 and abs(bet) == 1
            for k in range(1, horizon + 1) if asked else ():
                j = i + k
                if j >= len(rows) or (max_gap and when[j] - when[j - 1] > max_gap):
                    break
                later = rows.iloc[j]
                seen = [later["close"], *([later["high"], later["low"]] if bars else [])]
                seen = [(x / row["close"]) ** bet for x in seen if x > 0]
                if not seen:
                    continue
                upper = np.exp(up * row["sd"]) if up else np.inf
                lower = np.exp(-down * row["sd"]) if down else 0.0
                if min(seen) <= lower:
                    gain, answer = min(lower, max(seen)), (-1.0, 0.0, "down", when[j])
                elif max(seen) >= upper:
                    gain, answer = max(upper, min(seen)), (1.0, 0.0, "up", when[j])
                elif k == horizon and later["close"] > 0:
                    gain = (later["close"] / row["close"]) ** bet
                    label = float(np.sign(gain - 1)) if vertical == "sign" else 0.0
                    answer = (label, 0.0, "vertical", when[j])
                if answer[2]:
                    earned = bet * (gain**bet - 1)  # of the price, not of 1 / price
                    label = float(answer[0] > 0) if side else answer[0]
                    answer = (label, earned, *answer[2:])
                    break
            found.append(answer)
    return pd.DataFrame(found, columns=COLUMNS[:4], index=panel.index)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    horizon=st.integers(1, 5),
    widths=st.sampled_from([(1.0, 1.0), (2.0, 0.5), (None, 1.0), (1.5, None)]),
    vertical=st.sampled_from(["zero", "sign"]),
    bars=st.booleans(),
    side=st.booleans(),
    missing=st.sampled_from([0.0, 0.2]),
    max_gap=st.sampled_from([None, 1]),
)
def test_labels_are_those_of_a_plain_loop(
    seed, lengths, horizon, widths, vertical, bars, side, missing, max_gap
):
    panel = random_prices(seed, lengths, missing=missing, most_between=2)
    up, down = widths
    expected = plain_labels(panel, horizon, up, down, vertical, bars, side, max_gap)
    labels = tsf.triple_barrier(
        panel,
        horizon=horizon,
        up=up,
        down=down,
        volatility="sd",
        vertical=vertical,
        high="high" if bars else None,
        low="low" if bars else None,
        side="bet" if side else None,
        max_gap=max_gap,
    )
    assert list(labels.columns) == COLUMNS
    np.testing.assert_array_equal(labels["label"], expected["label"])
    np.testing.assert_allclose(labels["return"], expected["return"], rtol=1e-9, atol=1e-12)
    assert labels["barrier"].astype(object).where(labels["barrier"].notna(), None).tolist() == (
        expected["barrier"].astype(object).where(expected["barrier"].notna(), None).tolist()
    )
    np.testing.assert_array_equal(
        labels["label_end"].astype(float), expected["label_end"].astype(float)
    )


def test_a_path_by_hand():
    path = [100.0, 101.0, 104.0, 100.0, 97.0, 97.5, 97.6, 97.4]
    panel = pd.DataFrame({"close": path}, index=pd.date_range("2024-01-01", periods=8, name="day"))
    labels = tsf.triple_barrier(panel, horizon=3, up=3, down=2, volatility=0.01)
    assert labels["label"].tolist()[:5] == [1, -1, -1, -1, 0]
    assert labels["label"].isna().tolist() == [False] * 5 + [True] * 3
    assert labels["barrier"].tolist()[:5] == ["up", "down", "down", "down", "vertical"]
    assert labels["label_end"].dt.day.tolist()[:5] == [3, 5, 4, 5, 8]
    returns = [4 / 100, 97 / 101 - 1, 100 / 104 - 1, -0.03, 97.4 / 97 - 1]
    np.testing.assert_allclose(labels["return"].iloc[:5], returns)
    assert labels["label_end"].dtype == panel.index.dtype


def test_a_barrier_touched_within_the_day_pays_the_barrier_and_a_jump_over_it_the_nearest_price():
    panel = pd.DataFrame(
        {
            "close": [100.0, 100.5, 100.0, 106.0, 100.0, 100.0],
            "high": [100.0, 102.5, 100.0, 107.0, 100.5, 103.0],
            "low": [100.0, 99.5, 100.0, 105.0, 100.0, 97.0],
        }
    )
    labels = tsf.triple_barrier(
        panel, horizon=1, up=2, down=2, volatility=0.01, high="high", low="low"
    )
    up, down = np.expm1(0.02), np.expm1(-0.02)
    assert labels["label"].tolist()[:5] == [1, 0, 1, -1, -1]  # the last reaches both: the loss
    jump = 100.5 / 106 - 1  # all prices lie below the barrier
    np.testing.assert_allclose(labels["return"].iloc[:5], [up, 100 / 100.5 - 1, 0.05, jump, down])
    by_close = tsf.triple_barrier(panel, horizon=1, up=2, down=2, volatility=0.01)
    assert by_close["label"].tolist()[:5] == [0, 0, 1, -1, 0]


def test_short_bets_win_what_long_ones_lose():
    panel = random_prices(3, [60])
    widths = {"horizon": 4, "up": 1.0, "down": 2.0, "volatility": 0.02, "vertical": "sign"}
    short = tsf.triple_barrier(panel.assign(bet=-1.0), side="bet", **widths)
    turned = tsf.triple_barrier((1 / panel[["close"]]), **widths)
    pd.testing.assert_series_equal(
        short["label"], (turned["label"] > 0).where(turned["label"].notna()).astype(float)
    )
    # what a long bet on 1 / price earns in logarithms, the short one earns of the price
    np.testing.assert_allclose(short["return"], -np.expm1(-np.log1p(turned["return"])))
    nobody = tsf.triple_barrier(panel.assign(bet=0.0), side="bet", **widths)
    assert nobody["label"].isna().all()


def test_volatility_is_the_weighted_deviation_of_the_returns_known_by_then():
    panel = random_prices(1, [40, 30], missing=0.1)
    half_life = 5.0
    labels = tsf.triple_barrier(panel, horizon=2, half_life=half_life)
    for _, rows in panel.groupby(level=0):
        known = rows["close"].dropna()
        moves = np.diff(np.log(known))
        for at, when in enumerate(known.index):
            r = moves[:at]
            found = labels.loc[when, "volatility"]
            if len(r) < half_life:
                assert np.isnan(found)
                continue
            w = 0.5 ** (np.arange(len(r))[::-1] / half_life)
            mean = np.average(r, weights=w)
            unbiased = w.sum() ** 2 / (w.sum() ** 2 - (w**2).sum())
            assert found == pytest.approx(
                np.sqrt(np.average((r - mean) ** 2, weights=w) * unbiased)
            )


def test_labels_that_had_ended_do_not_change_with_what_comes_later():
    panel = tsf.make_prices(3, 200, random_state=0)
    cutoff = panel.index.get_level_values(1).unique()[140]
    before = panel.index.get_level_values(1) <= cutoff
    rng = np.random.default_rng(0)
    changed = panel.copy()
    changed.loc[~before, "close"] *= np.exp(rng.normal(size=(~before).sum()))
    one, two, cut = (
        tsf.triple_barrier(p, horizon=10, half_life=20) for p in (panel, changed, panel[before])
    )
    ended = (one["label_end"] <= cutoff).to_numpy()
    assert ended.sum() > 300
    pd.testing.assert_frame_equal(one[ended], two[ended], check_exact=True)
    pd.testing.assert_frame_equal(one[ended], cut.reindex(one[ended].index), check_exact=True)
    pd.testing.assert_series_equal(one["volatility"][before], two["volatility"][before])
    assert not one[~ended & before].equals(two[~ended & before])  # those that had not, do
    # and no label is said to have ended before what it says was known
    assert (two["label_end"] <= cutoff).to_numpy()[before].sum() == ended.sum()


def test_classifiers_trained_on_labels_that_had_ended_know_nothing_later():
    panel = tsf.make_prices(2, 160, random_state=1)
    cutoff = panel.index.get_level_values(1).unique()[120]
    before = panel.index.get_level_values(1) <= cutoff
    changed = panel.copy()
    changed.loc[~before, "close"] *= np.linspace(1.5, 0.5, (~before).sum())

    def forecast(prices):
        labels = tsf.triple_barrier(prices, horizon=5, up=1, down=1, half_life=10, vertical="sign")
        table = labels[["label"]].assign(move=np.log(prices["close"]).groupby(level=0).diff())
        X, y, index = tsf.make_windows(table, 5, horizon=0, target="label", past=["move"])
        end = labels.loc[index, "label_end"]
        known = (end <= cutoff).to_numpy()
        weight = tsf.uniqueness(labels, among=index[known], prices=prices["close"], oldest=0.5)
        model = tsf.RecurrentClassifier(
            hidden_sizes=(4,),
            training=tsf.Training(max_epochs=3, validation="time"),
            label_horizon=tsf.label_horizon(end[known]),
            random_state=0,
        ).fit(X[known], y[known], sample_weight=weight)
        at = index.get_level_values(1) <= cutoff
        return known.sum(), model.predict_proba(X[at][:50])

    (n, one), (m, two) = forecast(panel), forecast(changed)
    assert n == m > 100
    np.testing.assert_array_equal(one, two)


class WithLabels(TransformerMixin, BaseEstimator):
    """Puts the label, which looks ahead, among the inputs."""

    def fit(self, X, y=None):
        self.columns_ = list(X.columns)
        return self

    def transform(self, X):
        return X.assign(
            label=tsf.triple_barrier(X, horizon=3, volatility=0.01, vertical="sign")["label"]
        )

    def inverse_transform(self, X):
        return X[self.columns_]


def test_a_label_among_the_inputs_is_caught_as_a_leak():
    panel = tsf.make_prices(2, 80, random_state=0)[["close"]]

    class Follows(BaseEstimator):
        target, horizon = "close", 1

        def fit(self, panel):
            return self

        def predict(self, panel):
            return self.forecast_origins(panel, panel.index.get_level_values(1).unique()[-1:])

        def forecast_origins(self, panel, cutoffs):
            table = WithLabels().fit_transform(panel)
            level = (table["close"] * (1 + 0.01 * table["label"].fillna(0))).rename("forecast")
            rows = level[level.index.get_level_values(1).isin(cutoffs)]
            cutoff = rows.index.get_level_values(1)
            return rows.to_frame().assign(target="close", cutoff=cutoff, step=1)

    with pytest.raises(tsf.LookaheadError):
        tsf.check_no_lookahead(Follows(), panel)


def test_a_hundred_stocks_take_no_time():
    import time

    panel = tsf.make_prices(100, 1250, random_state=0)
    begin = time.perf_counter()
    labels = tsf.triple_barrier(panel, horizon=20)
    tsf.uniqueness(labels)
    assert time.perf_counter() - begin < 10  # a busy machine; alone less than one
    assert set(labels["label"].dropna()) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "'horizon': expected a whole number of at least 1"),
        ({"up": 0}, "'up': expected a number above 0, or None, found 0"),
        ({"up": True}, "'up': expected a number above 0, or None, found True"),
        ({"down": -1.0}, "'down': expected a number above 0, or None, found -1.0"),
        ({"up": None, "down": None}, "'vertical': expected 'sign' where there is no upper"),
        ({"vertical": "drop"}, r"'vertical': expected one of \['zero', 'sign'\]"),
        ({"volatility": "gone"}, "'volatility': expected 'ewm', a number, or one of the columns"),
        ({"volatility": 0.0}, "'volatility': expected a number above 0"),
        ({"volatility": "change"}, r"negative volatility \(column 'change'; first rows: "),
        ({"half_life": 0}, "'half_life': expected a number above 0"),
        ({"min_return": -0.1}, "'min_return': expected a number of at least 0"),
        ({"high": "high"}, "'low': expected both high= and low=, or neither"),
        ({"low": "low"}, "'high': expected both high= and low=, or neither"),
        ({"high": "low", "low": "high"}, r"low above high \(column 'high'; first rows: "),
        ({"column": "gone"}, r"column not found \(column 'gone'\)"),
        ({"column": "change"}, r"prices that are not positive \(column 'change'; first rows"),
        ({"side": "close"}, r"sides that are no sides \(column 'close'; first rows"),
        ({"max_gap": "2h"}, "'max_gap': expected a number of steps above 0"),
    ],
)
def test_what_cannot_be_labelled_is_refused(options, message):
    panel = random_prices(0, [20]).assign(change=-1.0)
    with pytest.raises(ValueError, match=message):
        tsf.triple_barrier(panel, **({"horizon": 2} | options))


def test_adjusted_closes_do_not_stand_beside_raw_highs():
    panel = random_prices(0, [20])
    panel.attrs["adjusted"] = "close"
    tsf.triple_barrier(panel, horizon=2)
    with pytest.raises(tsf.DataError, match="adjusted closes beside raw prices"):
        tsf.triple_barrier(panel, horizon=2, high="high", low="low")


def test_rows_of_little_volatility_have_no_label():
    panel = random_prices(0, [50])
    labels = tsf.triple_barrier(panel, horizon=2, volatility="sd", min_return=0.01)
    assert labels["label"][panel["sd"] <= 0.01].isna().all()
    assert labels["label"][panel["sd"] > 0.01].notna().sum() > 15


# ------------------------------------------------------------------------------------- overlaps


def spans(ends, n):
    """Labels of one series of n rows: row to row at which it ends."""
    end = pd.array([ends.get(i) for i in range(n)], dtype="Int64")
    return pd.DataFrame({"label_end": end})


def plain_uniqueness(labels, rows, moves=None):
    """Indicator matrix of label x row, in one series after the other."""
    result = {}
    for name, part in labels.groupby(level=0):
        when = list(part.index.get_level_values(1))
        own = [row for row in rows if row[0] == name]
        shared = np.zeros((len(own), len(when)))
        for k, row in enumerate(own):
            begin, end = when.index(row[1]), when.index(part.loc[row, "label_end"])
            shared[k, begin + 1 : end + 1] = 1
        count = np.maximum(shared.sum(axis=0), 1)
        for k, row in enumerate(own):
            if moves is None:
                result[row] = (shared[k] / count).sum() / shared[k].sum()
            else:
                result[row] = abs((shared[k] / count * moves[name].to_numpy()).sum())
    return np.array([result[row] for row in rows])


def test_the_example_of_the_book():
    """Section 4.5.3: of returns 1 to 3, 3 and 4, 5 and 6; the first has 5/6 of its own."""
    weight = tsf.uniqueness(spans({0: 3, 2: 4, 4: 6}, 7))
    assert weight.dropna().to_dict() == pytest.approx({0: 5 / 6, 2: 3 / 4, 4: 1.0})
    assert weight.name == "weight"


def test_ends_of_labels_may_be_floats_and_of_another_unit():
    frame = spans({0: 3, 2: 4, 4: 6}, 7)
    weight = tsf.uniqueness(frame)
    pd.testing.assert_series_equal(tsf.uniqueness(frame.astype(float)), weight)
    days = pd.date_range("2024-01-01", periods=7, unit="s", tz="UTC")
    rows = [3, NAN, 4, NAN, 6, NAN, NAN]
    ends = pd.DatetimeIndex([pd.NaT if np.isnan(row) else days[int(row)] for row in rows])
    dated = pd.DataFrame({"label_end": ends.as_unit("ns")}, index=days)
    assert tsf.uniqueness(dated).tolist() == pytest.approx(weight.tolist(), nan_ok=True)


def test_labels_apart_are_unique_and_equal_ones_share():
    assert tsf.uniqueness(spans({0: 2, 2: 4, 4: 6}, 7)).dropna().tolist() == [1.0, 1.0, 1.0]
    # a horizon of 4 from every row: in the middle every return has four labels
    weight = tsf.uniqueness(spans({i: i + 4 for i in range(40)}, 44)).dropna()
    assert weight.iloc[5:35].tolist() == pytest.approx([0.25] * 30)


def test_uniqueness_is_that_of_the_indicator_matrix_and_order_does_not_matter():
    panel = random_prices(5, [40, 25, 30], missing=0.05, most_between=2)
    labels = tsf.triple_barrier(panel, horizon=6, volatility=0.02)
    known = labels.index[labels["label"].notna()]
    np.testing.assert_allclose(
        tsf.uniqueness(labels).dropna(), plain_uniqueness(labels, list(known)), rtol=1e-12
    )
    some = known[np.random.default_rng(0).permutation(len(known))[:30]]
    weight = tsf.uniqueness(labels, among=some)
    assert weight.index.equals(some)
    np.testing.assert_allclose(weight, plain_uniqueness(labels, list(some)), rtol=1e-12)
    assert (weight >= tsf.uniqueness(labels)[some] - 1e-12).all()  # fewer share


def test_weights_by_return_are_those_of_the_shared_returns_and_their_mean_is_one():
    panel = random_prices(6, [40, 25], missing=0.1)
    labels = tsf.triple_barrier(panel, horizon=6, volatility=0.02)
    known = labels.index[labels["label"].notna()]
    logs = np.log(panel["close"])
    moves = (logs - logs.groupby(level=0).ffill().groupby(level=0).shift()).fillna(0)
    expected = plain_uniqueness(labels, list(known), moves)
    weight = tsf.uniqueness(labels, prices=panel["close"])
    np.testing.assert_allclose(weight.dropna(), expected / expected.mean(), rtol=1e-9, atol=1e-12)
    assert weight.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("oldest", "factors"),
    [(0.5, [0.625, 0.75, 0.875, 1.0]), (0, [0.25, 0.5, 0.75, 1.0]), (-0.5, [0.0, 0.0, 0.5, 1.0])],
)
def test_old_samples_count_less_in_a_line_over_the_uniqueness_summed(oldest, factors):
    apart = spans({0: 1, 1: 2, 2: 3, 3: 4}, 5)  # all unique
    weight = tsf.uniqueness(apart, oldest=oldest).dropna()
    np.testing.assert_allclose(weight, np.array(factors) / np.mean(factors))
    both = pd.concat({"A": apart, "B": apart}, names=["who", "when"])
    both = tsf.uniqueness(both, oldest=oldest).dropna()  # the same times, the same factors
    np.testing.assert_allclose(both["A"], weight)
    np.testing.assert_allclose(both["B"], weight)


def test_age_is_counted_in_uniqueness_and_multiplies_the_weights():
    shared = spans({0: 2, 1: 3, 2: 4}, 5)  # three quarters, a half, three quarters
    weight = tsf.uniqueness(shared, oldest=0.5).dropna().to_numpy()
    by_hand = np.array([0.75 * 0.6875, 0.5 * 0.8125, 0.75])  # 0.5 + 0.5 * (0.75, 1.25, 2) / 2
    np.testing.assert_allclose(weight, by_hand / by_hand.mean())


def test_weights_fit_a_classifier_and_change_it():
    panel = tsf.make_prices(1, 200, random_state=0)
    labels = tsf.triple_barrier(panel, horizon=5, up=1, down=1, half_life=10, vertical="sign")
    table = labels[["label"]].assign(move=np.log(panel["close"]).groupby(level=0).diff())
    X, y, index = tsf.make_windows(table, 5, horizon=0, target="label", past=["move"])
    assert X.shape[2] == 1  # the label is no input
    pd.testing.assert_series_equal(pd.Series(y, index, name="label"), labels.loc[index, "label"])
    weight = tsf.uniqueness(labels, among=index)
    model = tsf.RecurrentClassifier(
        hidden_sizes=(2,), training=tsf.Training(max_epochs=1, validation=None), random_state=0
    )
    plain = model.fit(X, y).predict_proba(X)
    assert not np.allclose(plain, model.fit(X, y, sample_weight=weight).predict_proba(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="label_end"), "labels without their ends: expected a frame"),
        (lambda f: f["label_end"], "labels without their ends: .* found Series"),
        (lambda f: f.iloc[:0], "empty"),
        (lambda f: f.assign(label_end=f["label_end"] * pd.NA), "no labels: expected rows with"),
        (
            lambda f: f.iloc[[0, 1]],
            r"labels end where they cannot .*first rows: 0, 1.*found 2 of 2",
        ),
        (lambda f: f.assign(label_end=f.index), "time of a later row of the same series, found 6"),
        (lambda f: f.assign(label_end=f["label_end"] + 0.5), "different kinds of time"),
        (
            lambda f: f.assign(label_end=pd.Timestamp("2024-01-01")),
            "different kinds of time .*int64",
        ),
        (lambda f: f.iloc[::-1], "time"),
    ],
)
def test_labels_that_cannot_be_counted_are_refused(change, message):
    frame = spans({i: min(i + 2, 5) for i in range(5)}, 6)
    with pytest.raises(ValueError, match=message):
        tsf.uniqueness(change(frame))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"among": [0, 1]}, "'among': expected an Index of rows of the labels"),
        ({"among": pd.Index([0, 0])}, "'among': expected an Index .* each named once"),
        (
            {"among": pd.Index([0, 5, 9])},
            "samples without a label .*first rows: 5, 9.*found 2 of 3",
        ),
        ({"oldest": -1}, "'oldest': expected a number above -1 and up to 1, found -1"),
        ({"prices": pd.Series([1.0])}, "'prices': expected a Series on the index of the labels"),
        ({"prices": pd.Series([1.0, 2, 3, 4, 5, 0])}, "prices that are not positive"),
    ],
)
def test_what_cannot_be_weighed_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tsf.uniqueness(spans({i: min(i + 2, 5) for i in range(5)}, 6), **options)
