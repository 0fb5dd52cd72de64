"""Honest subjects pass the check; planted leaks are caught, with the column and the time named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsforecast.backtesting.lookahead import LookaheadError, _altered, _swapped, check_no_lookahead
from tsforecast.backtesting.rolling import backtest
from tsforecast.data.asof import align_asof
from tsforecast.data.panel import as_panel
from tsforecast.data.splits import RollingOrigin
from tsforecast.data.transforms import Clip, Log, LogReturn, SeriesScaler

MODES = ["values", "missing", "truncate", "append"]


def make_panel(seed: int = 0, lengths: tuple[int, ...] = (40, 31, 22)) -> pd.DataFrame:
    """Positive prices, counts and a flag; later rows hold missing values too."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=max(lengths), name="day")
    parts = {}
    for i, n in enumerate(lengths):
        parts[f"s{i}"] = pd.DataFrame(
            {
                "close": np.exp(rng.normal(size=n).cumsum() / 10),
                "volume": rng.integers(1, 100, n).astype(float),
                "flag": (rng.random(n) < 0.3).astype(float),
                "change": rng.normal(size=n),
            },
            index=days[len(days) - n :],
        )
    panel = pd.concat(parts, names=["series"])
    return panel.mask(rng.random(panel.shape) < 0.1)


def cutoff_of(panel: pd.DataFrame) -> pd.Timestamp:
    """The default cutoff."""
    stamps = panel.index.get_level_values(-1).unique().sort_values()
    return stamps[2 * len(stamps) // 3 - 1]


class LastValue(BaseEstimator):
    """An honest forecaster, two rows ahead, with the fast path."""

    target = "close"
    horizon = 2

    def fit(self, panel: pd.DataFrame) -> Any:
        self.mean_ = panel.groupby(level=0).mean(numeric_only=True)
        return self

    def level(self, panel: pd.DataFrame) -> pd.Series:
        """The forecast from every row; here leaks are planted."""
        return panel["close"].groupby(level=0).ffill()

    def predict(self, panel: pd.DataFrame) -> pd.DataFrame:
        return self.forecast_origins(panel, panel.index.get_level_values(1).unique()[-1:])

    def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
        level = self.level(panel)
        frames = []
        for cutoff in cutoffs:
            last = level[level.index.get_level_values(1) <= cutoff].groupby(level=0).tail(1)
            for step in (1, 2):
                frame = last.rename("forecast").to_frame()
                frames.append(frame.assign(target="close", cutoff=cutoff, step=step))
        return pd.concat(frames)


class PredictsOnly(BaseEstimator):
    """An honest forecaster without the fast path."""

    target = "close"
    horizon = 2

    def fit(self, panel: pd.DataFrame) -> Any:
        self.inner_ = LastValue().fit(panel)
        return self

    def predict(self, panel: pd.DataFrame) -> pd.DataFrame:
        return self.inner_.predict(panel)


class ByFunction(TransformerMixin, BaseEstimator):
    def __init__(self, function: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        self.function = function

    def fit(self, panel: pd.DataFrame, y: None = None) -> Any:
        return self

    def transform(self, panel: pd.DataFrame) -> pd.DataFrame:
        return self.function(panel)


def centred(values: pd.DataFrame | pd.Series) -> Any:
    means = values.groupby(level=0).rolling(3, center=True, min_periods=1).mean()
    return means.droplevel(0)


def backfilled(panel: pd.DataFrame) -> pd.DataFrame:
    return panel.groupby(level=0).bfill()


def days_to_next_gap(panel: pd.DataFrame) -> pd.DataFrame:
    """Knows of the missing pattern of the next row only, not of its value."""
    gap = panel["volume"].isna().groupby(level=0).shift(-1, fill_value=False)
    return panel.assign(volume=gap.astype(float))


HONEST = {
    "log": Log(["close", "volume"]),
    "returns": LogReturn(["close"]),
    "scaler": SeriesScaler(),
    "robust scaler": SeriesScaler("robust", by="all"),
    "clip": Clip(0.5, 2.0),
    "chain": make_pipeline(Log(["close"]), SeriesScaler(), Clip(-3, 3)),
    "arrays": StandardScaler(),
    "forecaster": LastValue(),
    "forecaster without origins": PredictsOnly(),
    "features": lambda p: p.groupby(level=0).rolling(5, min_periods=1).mean().droplevel(0),
    "one column": lambda p: p["close"].groupby(level=0).shift(),
}


@pytest.mark.parametrize("subject", HONEST.values(), ids=HONEST.keys())
def test_honest_subjects_pass_in_all_four_modes(subject: Any):
    panel = make_panel()
    before = panel.copy()
    report = check_no_lookahead(subject, panel)
    assert list(report.index) == MODES
    assert (report["compared"] > 0).all()
    assert (report["largest_change"] < 1e-12).all()
    assert (report["note"] == "").all()
    pd.testing.assert_frame_equal(panel, before)


def expect(what: str, mode: str, column: str, days: int, panel: pd.DataFrame) -> str:
    """The message, for a leak from so many days after the default cutoff."""
    cutoff = cutoff_of(panel)
    since = cutoff + pd.Timedelta(days=days)
    return (
        re.escape(f"the {what} looks ahead (mode {mode!r}): expected results at or before {cutoff}")
        + ".* found that "
        + re.escape(f"{column} from {since} on")
    )


def test_a_centred_mean_is_caught_in_a_transformer():
    panel = make_panel()
    with pytest.raises(
        LookaheadError, match=expect("transformer", "values", "column 'close'", 1, panel)
    ):
        check_no_lookahead(ByFunction(centred), panel)


def test_a_centred_mean_is_caught_in_an_estimator():
    class Centred(LastValue):
        def level(self, panel: pd.DataFrame) -> pd.Series:
            return centred(panel["close"])

    panel = make_panel()
    message = expect("estimator", "values", "column 'close'", 1, panel)
    with pytest.raises(
        LookaheadError, match=message + r" moves \d+ of \d+ numbers, most of all 'fo"
    ):
        check_no_lookahead(Centred(), panel)


def test_the_first_time_that_leaks_is_found():
    panel = make_panel()
    cutoff = cutoff_of(panel)

    def five_days_ahead_of_the_cutoff(panel: pd.DataFrame) -> pd.DataFrame:
        return panel.groupby(level=0).shift(-5).xs(cutoff, level=1, drop_level=False)

    message = expect("function", "values", "column 'close'", 5, panel)
    with pytest.raises(LookaheadError, match=message):
        check_no_lookahead(five_days_ahead_of_the_cutoff, panel, cutoff=cutoff)


def test_only_the_columns_that_leak_are_named_and_all_of_them():
    panel = make_panel()
    two = lambda p: p.assign(flag=centred(p["flag"]), change=centred(p["change"]))  # noqa: E731
    with pytest.raises(LookaheadError) as caught:
        check_no_lookahead(two, panel)
    named = re.findall(r"column '(\w+)'", str(caught.value))
    assert named == ["flag", "change"]


def test_a_backfill_is_caught():
    panel = make_panel()
    panel.loc[(slice(None), cutoff_of(panel)), "volume"] = np.nan
    with pytest.raises(LookaheadError, match="mode 'values'.*column 'volume' from"):
        check_no_lookahead(backfilled, panel)


def test_a_leak_through_the_missing_pattern_alone_is_caught():
    panel = make_panel()
    what = "the missing pattern of column 'volume'"
    message = expect("function", "missing", what, 1, panel)
    with pytest.raises(LookaheadError, match=message + ".*how missing values are counted"):
        check_no_lookahead(days_to_next_gap, panel)

    class Warned(LastValue):
        def level(self, panel: pd.DataFrame) -> pd.Series:
            return super().level(panel) + days_to_next_gap(panel)["volume"]

    message = expect("estimator", "missing", what, 1, panel)
    with pytest.raises(LookaheadError, match=message):
        check_no_lookahead(Warned(), panel)


@pytest.mark.parametrize("seed", range(8))
def test_a_leak_from_the_very_next_row_needs_no_luck(seed: int):
    panel = pd.DataFrame({"x": np.ones(12)})
    with pytest.raises(LookaheadError, match="missing pattern of column 'x' from 8 on"):
        check_no_lookahead(lambda p: p.notna().shift(-1, fill_value=True), panel, random_state=seed)


@pytest.mark.parametrize("mode, count", [("truncate", len), ("append", lambda p: max(len(p), 93))])
def test_the_length_of_the_record_is_caught(mode: str, count: Callable[[pd.DataFrame], int]):
    class KnowsTheEnd(LastValue):
        def level(self, panel: pd.DataFrame) -> pd.Series:
            return super().level(panel) * count(panel)

    assert len(make_panel()) == 93
    message = rf"the estimator looks ahead \(mode '{mode}'\).*found that the number of rows moves"
    with pytest.raises(LookaheadError, match=message):
        check_no_lookahead(KnowsTheEnd(), make_panel())


def test_a_scaler_fitted_on_all_rows_before_the_backtest_is_caught():
    splitter = RollingOrigin(4, 2)

    def careful(panel: pd.DataFrame) -> pd.DataFrame:
        return backtest(LastValue(), panel, splitter).frame

    def careless(panel: pd.DataFrame) -> pd.DataFrame:
        return careful(SeriesScaler(columns=["close"]).fit_transform(panel))

    panel = make_panel()
    report = check_no_lookahead(careful, panel)
    assert report.loc[["values", "missing"], "compared"].gt(0).all()
    assert set(report.loc[["truncate", "append"], "note"]) == {
        "the cutoffs move with the length of the panel"
    }
    middle = splitter.splits(panel, horizon=2)[1].cutoffs[1]
    message = f"the function looks ahead.*at or before {middle}.*column 'close' from "
    with pytest.raises(LookaheadError, match=message):
        check_no_lookahead(careless, panel)


def test_outcomes_after_the_cutoff_may_change_but_not_those_before():
    panel = make_panel()

    def frame(panel: pd.DataFrame, late: int) -> pd.DataFrame:
        rows = backtest(LastValue(), panel, RollingOrigin(4, 2)).frame
        return rows.assign(actual=rows.groupby(["model", "series", "step"])["actual"].shift(late))

    check_no_lookahead(lambda p: frame(p, 0), panel)
    with pytest.raises(LookaheadError, match="most of all 'actual'"):
        check_no_lookahead(lambda p: frame(p, -2), panel)


def test_cutoffs_that_stay_are_compared_when_rows_are_cut_off_or_added():
    cutoffs = pd.date_range("2024-01-20", periods=6)

    def forecasts(panel: pd.DataFrame, scale: float) -> pd.DataFrame:
        return (LastValue().forecast_origins(panel, cutoffs)).assign(
            forecast=lambda f: f["forecast"] * scale
        )

    report = check_no_lookahead(lambda p: forecasts(p, 1.0), make_panel())
    assert (report["compared"] > 0).all()
    with pytest.raises(LookaheadError, match="mode 'truncate'.*the number of rows"):
        check_no_lookahead(lambda p: forecasts(p, len(p)), make_panel())


def test_a_series_that_ended_before_the_cutoff_stays_as_it_is():
    panel = make_panel()
    time = panel.index.get_level_values("day")
    ended = (panel.index.get_level_values(0) == "s1") & (
        time > cutoff_of(panel) - pd.Timedelta("3D")
    )
    report = check_no_lookahead(LastValue(), panel[~ended])
    assert (report["largest_change"] == 0).all()


@pytest.mark.parametrize("scale", [1.0, np.nan], ids=["numbers", "nothing but NaN"])
def test_rows_that_vanish_are_a_leak(scale: float):
    def only_of_long_series(panel: pd.DataFrame) -> pd.DataFrame:
        return scale * panel[panel.groupby(level=0)["close"].transform("size") > 25]

    with pytest.raises(LookaheadError, match="mode 'truncate'.*to nan"):
        check_no_lookahead(only_of_long_series, make_panel())


def test_future_columns_are_free_for_the_horizon_and_static_ones_always():
    class Looks(LastValue):
        def __init__(self, ahead: int = 1, future: Any = None, static: Any = None) -> None:
            self.ahead = ahead
            self.future = future
            self.static = static

        def level(self, panel: pd.DataFrame) -> pd.Series:
            known = panel[["flag", "volume"]].groupby(level=0).shift(-self.ahead).fillna(0.0)
            return super().level(panel) + (
                known["flag"] if self.static is None else known.sum(axis=1)
            )

    panel = make_panel()
    check_no_lookahead(Looks(2, future=["flag"]), panel)
    with pytest.raises(LookaheadError, match=r"column 'flag' from"):
        check_no_lookahead(Looks(1), panel)
    with pytest.raises(
        LookaheadError, match=expect("estimator", "values", "column 'flag'", 3, panel)
    ):
        check_no_lookahead(Looks(3, future=["flag"]), panel)
    check_no_lookahead(Looks(1, future=["flag", "volume"], static=[]), panel)
    with pytest.raises(LookaheadError, match="mode 'truncate'"):
        check_no_lookahead(Looks(1, static=["flag", "volume"]), panel)


def test_subjects_that_refuse_missing_values_are_checked_in_the_other_modes():
    def strict(panel: pd.DataFrame) -> pd.DataFrame:
        if panel.isna().any(axis=None):
            raise ValueError("no gaps, please")
        return panel.groupby(level=0).cumsum()

    full = make_panel().ffill().bfill()
    assert full.notna().to_numpy().all()
    report = check_no_lookahead(strict, full)
    assert report["note"].tolist() == ["", "refuses missing values: no gaps, please", "", ""]
    with pytest.raises(ValueError, match="no gaps"):
        check_no_lookahead(strict, make_panel())


def test_results_that_do_not_repeat_are_told_from_leaks():
    rng = np.random.default_rng(0)
    noisy = lambda p: p + rng.normal()  # noqa: E731
    with pytest.raises(ValueError, match=r"same result from the same panel.*Set its random_state"):
        check_no_lookahead(noisy, make_panel())


@pytest.mark.parametrize(
    "subject, error, message",
    [
        (LastValue, TypeError, r"found the class LastValue. Make an instance"),
        (3, TypeError, "found int. Give it the verbs"),
        (lambda p: 1.0, TypeError, "found float. Return the rows, not a summary"),
        (lambda p: p.describe(), TypeError, "indexed by the panel's time.*Keep the index"),
        (lambda p: pd.concat([p, p]), ValueError, r"one row per \['series', 'day'\].*repeated"),
        (lambda p: p.iloc[-1:], ValueError, "a cutoff with numbers in the result at or before"),
    ],
)
def test_subjects_and_results_that_cannot_be_checked(subject: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        check_no_lookahead(subject, make_panel())


def test_a_cutoff_outside_the_panel_is_refused():
    panel = make_panel()
    for cutoff in (pd.Timestamp("2030-01-01"), panel.index[-1][1]):
        with pytest.raises(ValueError, match=r"cutoff.*from 2024-01-01.*to before 2024-02-09"):
            check_no_lookahead(lambda p: p, panel, cutoff=cutoff)


@pytest.mark.parametrize("cutoff", [5, "soon", pd.NaT, pd.Timedelta("3D")])
def test_a_cutoff_that_is_no_time_of_the_panel_is_refused(cutoff: Any):
    for subject in (lambda p: p, LastValue()):
        with pytest.raises(ValueError, match=r"'cutoff': expected times like.*datetime64\[us\]"):
            check_no_lookahead(subject, make_panel(), cutoff=cutoff)


def test_a_window_across_series_is_named_as_a_possible_cause():
    panel = make_panel()
    with pytest.raises(LookaheadError, match="runs across series: group by level 0"):
        check_no_lookahead(lambda p: p.rolling(3, min_periods=1).mean(), panel)
    check_no_lookahead(
        lambda p: p.groupby(level=0).rolling(3, min_periods=1).mean().droplevel(0), panel
    )
    with pytest.raises(LookaheadError) as caught:
        check_no_lookahead(lambda p: p - p.mean(), panel.loc["s0"])
    assert "across series" not in str(caught.value)


def test_one_series_and_whole_steps_will_do():
    panel = pd.DataFrame({"x": np.arange(12.0)})
    check_no_lookahead(Log(), panel + 1)
    with pytest.raises(LookaheadError, match="column 'x' from 8 on.*at time 7, from"):
        check_no_lookahead(lambda p: p.shift(-1), panel)
    with pytest.raises(LookaheadError, match="column 'x' from 3 on"):
        check_no_lookahead(lambda p: p.shift(-1), panel, cutoff=2)


@pytest.mark.parametrize("name", ["close", "volume", "flag", "change"])
def test_altered_values_differ_and_stay_of_their_kind(name: str):
    column = make_panel(5, (300, 200))[name].to_numpy()
    rng = np.random.default_rng(0)
    new = _altered(column, rng)
    known = ~np.isnan(column)
    assert (np.isnan(new) == ~known).all()
    assert (new[known] != column[known]).all()
    assert np.isfinite(new[known]).all()
    if name in ("volume", "flag"):
        assert (new[known] % 1 == 0).all()
    if name == "flag":
        assert set(new[known]) == {0.0, 1.0}
    if name in ("close", "volume"):
        assert (new[known] > 0).all()
    if name == "close":
        ratio = new[known] / column[known]
        assert 0.2 <= ratio.min() < 0.5 < 2 < ratio.max() <= 5
    swapped = _swapped(column, rng)
    assert (np.isnan(swapped) == known).all()
    assert np.isin(swapped[~known], column[known]).all()


TRANSFORMS = {
    "log": Log(),
    "returns": LogReturn(),
    "scaler": SeriesScaler(),
    "scaler over all": SeriesScaler("robust", by="all", columns=["a"]),
    "clip": Clip(0.5, 4.0),
    "chain": make_pipeline(Log(), SeriesScaler("robust"), Clip(-2, 2)),
}


@st.composite
def panels(draw: st.DrawFn) -> pd.DataFrame:
    """One to four series with their own beginning, end and gaps, of which the first is full."""
    parts = {}
    for i in range(draw(st.integers(1, 4))):
        begin, end = (0, 12) if i == 0 else (draw(st.integers(0, 5)), draw(st.integers(6, 14)))
        gone = draw(st.sets(st.integers(begin + 1, 13), max_size=3)) if i else set()
        steps = [t for t in range(begin, end) if t not in gone]
        cells = st.floats(0.125, 8.0) | (st.just(np.nan) if i else st.nothing())
        rows = draw(st.lists(st.tuples(cells, cells), min_size=len(steps), max_size=len(steps)))
        parts[i] = pd.DataFrame(rows, columns=["a", "b"], index=pd.Index(steps, name="time"))
    return as_panel(pd.concat(parts, names=["series"]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(panels(), st.sampled_from(list(TRANSFORMS)), st.integers(0, 2**16), st.integers(4, 8))
def test_transforms_never_look_ahead(panel: pd.DataFrame, name: str, seed: int, cutoff: int):
    report = check_no_lookahead(TRANSFORMS[name], panel, cutoff=cutoff, random_state=seed)
    assert (report["compared"] > 0).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(panels(), st.integers(0, 2**16), st.integers(4, 8))
def test_a_centred_mean_never_passes(panel: pd.DataFrame, seed: int, cutoff: int):
    with pytest.raises(LookaheadError, match=f"column 'a' from {cutoff + 1} on"):
        check_no_lookahead(centred, panel, cutoff=cutoff, random_state=seed)


def test_a_column_without_any_value_is_no_obstacle():
    panel = make_panel().assign(never=np.nan)
    report = check_no_lookahead(lambda p: p.groupby(level=0).ffill(), panel)
    assert (report["largest_change"] == 0).all()


# ------------------------------------------------- categories, groups, several targets


def test_categories_static_columns_and_groups_are_left_as_they_are():
    class Described(LastValue):
        static = ("kind", "beds")
        group = "patient"

        def level(self, panel: pd.DataFrame) -> pd.Series:
            assert panel["kind"].dtype == "category"
            later = panel[["beds", "patient"]].groupby(level=0).transform("last").sum(axis=1)
            return super().level(panel) + later + (panel["kind"] == "b")

    panel = make_panel()
    number = panel.index.get_level_values(0).str[1:].astype(float)
    panel = panel.assign(
        beds=number + 1,
        kind=pd.Categorical(np.where(number > 0, "a", "b")),
        patient=number // 2,
    )
    report = check_no_lookahead(Described(), panel)
    assert (report["compared"] > 0).all()

    class Forgets(Described):
        group = None

    with pytest.raises(LookaheadError, match="column 'patient' from"):
        check_no_lookahead(Forgets(), panel)


def test_a_leak_beside_a_category_is_found_and_named():
    panel = make_panel().assign(kind=pd.Categorical(["a"] * 93))
    leaks = lambda p: p.drop(columns="kind").assign(flag=centred(p["flag"]))  # noqa: E731
    with pytest.raises(LookaheadError, match=r"found that column 'flag' from"):
        check_no_lookahead(leaks, panel)


@pytest.mark.parametrize("leak", [0.0, 1.0], ids=["honest", "leaking"])
def test_frames_of_several_targets_are_compared_target_by_target(leak: float):
    class Two(LastValue):
        def forecast_origins(self, panel: pd.DataFrame, cutoffs: pd.Index) -> pd.DataFrame:
            close = super().forecast_origins(panel, cutoffs)
            peek = leak * panel["volume"].groupby(level=0).shift(-1).groupby(level=0).bfill()
            volume = close.assign(target="volume")
            ahead = peek.reindex(volume.index).fillna(0.0)
            return pd.concat([close, volume.assign(forecast=volume["forecast"] + ahead)])

    panel = make_panel()
    if leak:
        with pytest.raises(LookaheadError, match="column 'volume' from.*target volume"):
            check_no_lookahead(Two(), panel)
    else:
        report = check_no_lookahead(Two(), panel)
        one = check_no_lookahead(LastValue(), panel)
        assert (report["compared"] == 2 * one["compared"]).all()


# ------------------------------------------------------------------- when facts become known


def earnings(seed: int = 0, n_series: int = 3) -> pd.DataFrame:
    """Ends of quarters, filed 20 to 60 days later, in no order, with a missing value."""
    rng = np.random.default_rng(seed)
    quarters = pd.date_range("2023-03-31", periods=8, freq="QE")
    pairs = pd.MultiIndex.from_product([[f"s{i}" for i in range(n_series)], quarters])
    facts = pairs.to_frame(index=False, name=["series", "quarter"])
    facts["filed"] = facts["quarter"] + pd.to_timedelta(rng.integers(20, 60, len(facts)), "D")
    facts["eps"] = rng.normal(size=len(facts)).round(3)
    facts["sales"] = rng.uniform(1, 9, len(facts))
    facts.loc[5, "eps"] = np.nan
    return facts.sample(frac=1, random_state=seed)


def daily(n_series: int = 3) -> pd.DataFrame:
    days = pd.bdate_range("2023-01-02", "2025-03-31")
    index = pd.MultiIndex.from_product(
        [[f"s{i}" for i in range(n_series)], days], names=["series", "day"]
    )
    return as_panel(pd.DataFrame({"close": np.arange(float(len(index)))}, index=index))


def by_quarter(panel: pd.DataFrame, facts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The careless join: a value enters at the end of its quarter."""
    flat = panel.reset_index().sort_values("day")
    stamped = facts[["series", "quarter", *names]].sort_values("quarter")
    merged = pd.merge_asof(flat, stamped, left_on="day", right_on="quarter", by="series").drop(
        columns="quarter"
    )
    return merged.set_index(["series", "day"]).sort_index()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("period", [None, "quarter"])
def test_facts_that_enter_at_their_availability_pass(seed: int, period: str | None):
    panel, facts = daily(), earnings(seed)
    if period is None:
        facts = facts.drop(columns="quarter")
    join = lambda f: align_asof(panel, f, available="filed", period=period)  # noqa: E731
    before = facts.copy()
    report = check_no_lookahead(join, facts, available="filed", random_state=seed)
    assert list(report.index) == MODES
    assert (report["compared"] > 0).all() and (report["largest_change"] == 0).all()
    assert (report["note"] == "").all()
    pd.testing.assert_frame_equal(facts, before)


@pytest.mark.parametrize("n_series", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_join_by_the_stamp_of_the_period_is_caught_with_the_columns_named(
    seed: int, n_series: int
):
    panel, facts = daily(n_series), earnings(seed, n_series)
    with pytest.raises(LookaheadError) as caught:
        check_no_lookahead(
            lambda f: by_quarter(panel, f, ["eps", "sales"]), facts, available="filed"
        )
    message = str(caught.value)
    assert "(mode 'values')" in message and "rows with a later 'filed'" in message
    assert "column 'sales' from 20" in message
    assert "by the time at which they became known, as align_asof does" in message


def test_only_the_column_that_comes_too_early_is_named():
    panel, facts = daily(), earnings()

    def half_careless(facts: pd.DataFrame) -> pd.DataFrame:
        honest = align_asof(panel, facts[["series", "filed", "eps"]], available="filed")
        return by_quarter(honest, facts, ["sales"])

    with pytest.raises(LookaheadError, match="that column 'sales' from") as caught:
        check_no_lookahead(half_careless, facts, available="filed")
    assert "column 'eps'" not in str(caught.value)


@pytest.mark.parametrize("function", [len, lambda f: f["filed"].max().year % 7])
def test_a_later_fact_that_moves_by_being_there_is_caught(function: Any):
    panel = daily()
    with pytest.raises(LookaheadError, match="that the number of rows moves"):
        check_no_lookahead(
            lambda f: panel * function(f), earnings(), available="filed", cutoff="2024-03-01"
        )


def test_added_facts_are_newer_than_all_others():
    panel, facts = daily(), earnings()
    last = facts["filed"].max()
    with pytest.raises(LookaheadError, match="mode 'append'"):
        check_no_lookahead(lambda f: panel + (f["filed"].max() > last), facts, available="filed")


def test_a_backtest_on_facts_is_checked_by_its_cutoffs():
    panel, facts = daily(), earnings()
    splitter = RollingOrigin(2, 30)

    class Added(LastValue):
        def level(self, panel: pd.DataFrame) -> pd.Series:
            return (panel["close"] + panel["sales"].fillna(0.0)).groupby(level=0).ffill()

    def frame(join: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[pd.DataFrame], Any]:
        return lambda f: backtest(Added(), join(f), splitter).frame

    honest = frame(lambda f: align_asof(panel, f, available="filed", period="quarter"))
    # within the stretch of the backtest, before the last filing
    cutoff = facts["filed"].max() - pd.Timedelta(days=1)
    check_no_lookahead(honest, facts, available="filed", cutoff=cutoff)
    careless = frame(lambda f: by_quarter(panel, f, ["sales"]))
    with pytest.raises(LookaheadError, match="column 'sales' from"):
        check_no_lookahead(careless, facts, available="filed", cutoff=cutoff)


def test_whole_numbers_among_facts_stay_as_they_may_be_keys():
    facts = pd.DataFrame({"id": [1, 2, 1, 2], "known": [1, 2, 3, 4], "x": [1.0, 2, 3, 4]})
    seen = []

    def join(facts: pd.DataFrame) -> pd.DataFrame:
        seen.append(set(facts["id"]))
        return pd.DataFrame({"y": np.zeros(5)})

    check_no_lookahead(join, facts, available="known")
    assert set.union(*seen) == {1, 2}


@pytest.mark.parametrize(
    "subject, facts, error, message",
    [
        (LastValue(), earnings(), TypeError, "expected a function from facts.*Wrap it: lambda"),
        (3, earnings(), TypeError, "expected a function from facts.*found int"),
        (len, [1], TypeError, "a table of polars, pyarrow or duckdb, found list"),
        (len, earnings().drop(columns="filed"), ValueError, "'available': expected one of"),
        (len, earnings().astype({"filed": "str"}), ValueError, "wrong type .column 'filed'"),
        (lambda f: 1.0, earnings(), TypeError, "found float. Return the rows"),
        (lambda f: daily().iloc[-3:], earnings(), ValueError, "a result with rows before 20"),
    ],
)
def test_facts_and_functions_that_cannot_be_checked(
    subject: Any, facts: Any, error: Any, message: str
):
    with pytest.raises(error, match=message):
        check_no_lookahead(subject, facts, available="filed")


def test_a_cutoff_before_all_facts_or_after_them_is_refused():
    for cutoff in ("2020-01-01", "2030-01-01"):
        with pytest.raises(ValueError, match="cutoff.*expected a time from 2023"):
            check_no_lookahead(lambda f: daily(), earnings(), available="filed", cutoff=cutoff)


class Tomorrow(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.assign(volume=X["close"].groupby(level=0).shift(-1))

    def inverse_transform(self, X):
        return X


def test_a_network_that_kept_its_baseline_is_checked_with_trained_weights():
    """At epoch 0 no input reaches the forecast, so that a leak would go unseen."""
    import tsforecast as tsf

    panel = tsf.make_prices(2, 120, random_state=0)
    model = tsf.RecurrentForecaster(
        target="close",
        horizon=2,
        lookback=4,
        hidden_sizes=(4,),
        past=["volume"],
        transform=Tomorrow(),
        training=tsf.Training(max_epochs=1, learning_rate=1e-9),
        random_state=0,
    )
    assert model.fit(panel).best_epochs_ == [0]
    with pytest.raises(tsf.LookaheadError, match="'close'"):
        tsf.check_no_lookahead(model, panel)
