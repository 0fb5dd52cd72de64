"""Facts enter a panel when they became known, and not before."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforecast._checks import DataError
from tsforecast.data.asof import align_asof
from tsforecast.data.panel import as_panel

DAYS = pd.date_range("2024-01-01", periods=10, name="day")


def one_series() -> pd.DataFrame:
    return as_panel(pd.DataFrame({"close": np.arange(10.0)}, index=DAYS))


def two_series() -> pd.DataFrame:
    index = pd.MultiIndex.from_product([["A", "B"], DAYS], names=["ticker", "day"])
    return as_panel(pd.DataFrame({"close": np.arange(20.0)}, index=index))


def reports(**columns: Any) -> pd.DataFrame:
    """Facts of one series that became known on the 3rd, 5th and 8th."""
    filed = pd.to_datetime(["2024-01-03", "2024-01-05", "2024-01-08"])
    return pd.DataFrame({"filed": filed, "eps": [1.0, 2.0, 3.0]} | columns)


def eps(panel: pd.DataFrame) -> list[float]:
    return panel["eps"].fillna(-1).tolist()


def test_a_fact_is_known_from_its_availability_on_and_at_that_very_moment():
    panel = align_asof(one_series(), reports(), available="filed")
    assert eps(panel) == [-1, -1, 1, 1, 2, 2, 2, 3, 3, 3]
    late = reports()
    late["filed"] += pd.Timedelta(1, unit="us")
    assert eps(align_asof(one_series(), late, available="filed"))[2:5] == [-1, 1, 1]


def test_a_moment_finer_than_the_panels_unit_is_not_rounded_down():
    panel = one_series()
    panel.index = panel.index.as_unit("s")
    late = reports(filed=reports()["filed"].dt.as_unit("ns") + pd.Timedelta(1, unit="ns"))
    assert eps(align_asof(panel, late, available="filed"))[2:5] == [-1, 1, 1]


def test_the_panel_is_kept_and_the_names_are_noted():
    panel = two_series()
    panel.attrs["available"] = ["close"]
    facts = reports(ticker=["A", "B", "A"], dps=0.5)
    before = panel.copy(), facts.copy()
    result = align_asof(panel, facts, available="filed")
    assert list(result) == ["close", "eps", "dps"]
    pd.testing.assert_frame_equal(result[["close"]], panel)
    assert result.attrs["available"] == ["close", "eps", "dps"]
    assert as_panel(result).attrs["available"] == ["close", "eps", "dps"]
    assert panel.attrs["available"] == ["close"]
    pd.testing.assert_frame_equal(panel, before[0])
    pd.testing.assert_frame_equal(facts, before[1])


def test_facts_reach_their_own_series_only():
    facts = reports(ticker=["A", "B", "A"])
    panel = align_asof(two_series(), facts, available="filed")
    assert eps(panel.loc["A"]) == [-1, -1, 1, 1, 1, 1, 1, 3, 3, 3]
    assert eps(panel.loc["B"]) == [-1, -1, -1, -1, 2, 2, 2, 2, 2, 2]


def test_series_that_the_panel_does_not_hold_are_left_out():
    facts = reports(ticker=["0", "B", "Z"])
    panel = align_asof(two_series(), facts, available="filed")
    assert eps(panel.loc["A"]) == [-1] * 10
    assert eps(panel.loc["B"]) == [-1] * 4 + [2] * 6


@pytest.mark.parametrize("kind", ["category", "level", "levels", "polars"])
def test_series_names_may_be_categories_or_index_levels_and_tables_of_polars(kind: str):
    facts: Any = reports(ticker=["A", "B", "A"])
    expected = align_asof(two_series(), facts, available="filed")
    if kind == "category":
        facts["ticker"] = pd.Categorical(facts["ticker"], categories=["Z", "B", "A"])
    elif kind == "polars":
        facts = pl.from_pandas(facts)
    else:
        facts = facts.set_index(["ticker", "filed"] if kind == "levels" else "ticker")
    pd.testing.assert_frame_equal(align_asof(two_series(), facts, available="filed"), expected)


def test_a_panel_without_a_name_of_its_series_asks_for_series():
    panel = two_series().rename_axis([None, None])
    facts = reports(series=["A", "B", "A"])
    assert eps(align_asof(panel, facts, available="filed").loc["B"]) == [-1] * 4 + [2] * 6
    with pytest.raises(DataError, match=r"columns not found.*Missing: \['series'\].*as that level"):
        align_asof(panel, reports(), available="filed")


def test_of_several_rows_known_at_the_same_time_the_last_one_counts():
    facts = reports(filed=pd.Timestamp("2024-01-03"))
    assert eps(align_asof(one_series(), facts, available="filed")) == [-1] * 2 + [3] * 8
    facts = facts.iloc[::-1]
    assert eps(align_asof(one_series(), facts, available="filed")) == [-1] * 2 + [1] * 8


def test_the_order_of_the_facts_does_not_matter():
    expected = align_asof(one_series(), reports(), available="filed")
    for order in itertools.permutations(range(3)):
        shuffled = reports().iloc[list(order)]
        panel = align_asof(one_series(), shuffled, available="filed")
        pd.testing.assert_frame_equal(panel, expected)


def test_a_restatement_replaces_its_own_period_and_never_a_newer_one():
    quarters = ["2023Q3", "2023Q4", "2023Q3"]
    panel = align_asof(one_series(), reports(quarter=quarters), available="filed", period="quarter")
    assert eps(panel) == [-1, -1, 1, 1, 2, 2, 2, 2, 2, 2]
    restated = reports(quarter=["2023Q3", "2023Q4", "2023Q4"])
    panel = align_asof(one_series(), restated, available="filed", period="quarter")
    assert eps(panel) == [-1, -1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    "periods",
    [
        pd.to_datetime(["2023-09-30", "2023-12-31", "2023-09-30"]),
        pd.PeriodIndex(["2023Q3", "2023Q4", "2023Q3"], freq="Q"),
        [3, 4, 3],
    ],
    ids=["datetimes", "periods", "numbers"],
)
def test_periods_may_be_anything_that_has_an_order(periods: Any):
    facts = reports(quarter=periods)
    panel = align_asof(one_series(), facts, available="filed", period="quarter")
    assert eps(panel) == [-1, -1, 1, 1, 2, 2, 2, 2, 2, 2]


def test_a_missing_value_leaves_its_own_column_as_it_was():
    facts = reports(eps=[1.0, np.nan, 3.0], dps=[np.nan, 0.2, np.nan])
    panel = align_asof(one_series(), facts, available="filed")
    assert eps(panel) == [-1, -1, 1, 1, 1, 1, 1, 3, 3, 3]
    assert panel["dps"].fillna(-1).tolist() == [-1] * 4 + [0.2] * 6


def test_a_column_without_any_value_is_missing_everywhere():
    panel = align_asof(one_series(), reports(dps=np.nan), available="filed")
    assert panel["dps"].isna().all()


@pytest.mark.parametrize("max_age", ["1D", pd.Timedelta("1D"), pd.Timedelta("47h")])
def test_values_older_than_max_age_are_missing(max_age: Any):
    panel = align_asof(one_series(), reports(), available="filed", max_age=max_age)
    assert eps(panel) == [-1, -1, 1, 1, 2, 2, -1, 3, 3, -1]


def test_age_counts_from_the_availability_of_the_value_itself():
    facts = reports(eps=[1.0, np.nan, 3.0])
    panel = align_asof(one_series(), facts, available="filed", max_age="3D")
    assert eps(panel) == [-1, -1, 1, 1, 1, 1, -1, 3, 3, 3]


def test_steps_and_elapsed_time_work_like_dates():
    expected = [-1, -1, 1, 1, 2, 2, -1, 3, 3, -1]
    steps = as_panel(pd.DataFrame({"y": np.arange(10.0)}))
    facts = reports(filed=[2, 4, 7])
    assert eps(align_asof(steps, facts, available="filed", max_age=1)) == expected
    stay = as_panel(pd.DataFrame({"y": np.arange(10.0)}, index=pd.to_timedelta(range(10), "h")))
    facts = reports(filed=pd.to_timedelta([2, 4, 7], "h").as_unit("s"))
    assert eps(align_asof(stay, facts, available="filed", max_age="1h")) == expected


def test_monthly_facts_fill_daily_rows():
    days = pd.bdate_range("2024-01-01", "2024-06-28", name="day")
    panel = as_panel(pd.DataFrame({"close": np.arange(len(days))}, index=days))
    months = pd.date_range("2023-12-01", periods=6, freq="MS")
    facts = pd.DataFrame({"about": months, "out": months + pd.Timedelta(days=45), "cpi": range(6)})
    result = align_asof(panel, facts, available="out", period="about")
    for day, cpi in result["cpi"].items():
        known = facts[facts["out"] <= day]
        assert (len(known) == 0 and np.isnan(cpi)) or cpi == known["cpi"].iloc[-1]


def test_categories_may_be_facts():
    facts = reports(rating=pd.Categorical(["AA", None, "B"]))
    panel = align_asof(one_series(), facts, available="filed")
    assert panel["rating"].dtype == "category"
    assert panel["rating"].astype(object).fillna("-").tolist() == ["-"] * 2 + ["AA"] * 5 + ["B"] * 3


def test_moments_in_another_zone_are_the_same_instants():
    panel = one_series().tz_localize("America/New_York")
    facts = reports()
    facts["filed"] = facts["filed"].dt.tz_localize("America/New_York")
    expected = align_asof(panel, facts, available="filed")
    facts["filed"] = facts["filed"].dt.tz_convert("UTC")
    pd.testing.assert_frame_equal(align_asof(panel, facts, available="filed"), expected)


# ---------------------------------------------------------------------------- against a plain loop


@st.composite
def cases(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, int | None]:
    """A panel of steps of up to three series, and facts of up to four."""
    rows = draw(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=15))
    index = pd.MultiIndex.from_tuples(sorted(rows), names=["id", "t"])
    panel = as_panel(pd.DataFrame({"y": 0.0}, index=index))
    values = st.integers(0, 99).map(float) | st.just(np.nan)
    row = st.tuples(st.integers(0, 3), st.integers(-2, 10), st.integers(0, 3), values, values)
    facts = draw(st.lists(row, min_size=1, max_size=14))
    frame = pd.DataFrame(facts, columns=["id", "known", "about", "a", "b"])
    return panel, frame, draw(st.none() | st.integers(0, 6))


def by_loop(
    panel: pd.DataFrame, facts: pd.DataFrame, *, period: str | None, max_age: int | None
) -> pd.DataFrame:
    """The definition: walk over the facts of the series in the order in which they came."""
    result = panel.copy()
    for name, (series, t) in itertools.product(["a", "b"], panel.index):
        best, value = None, np.nan
        for fact in facts.sort_values("known", kind="stable").itertuples():
            if fact.id != series or fact.known > t or np.isnan(getattr(fact, name)):
                continue
            if period is None or best is None or fact.about >= best.about:
                best, value = fact, getattr(fact, name)
        stale = best is not None and max_age is not None and t - best.known > max_age
        result.loc[(series, t), name] = np.nan if stale else value
    return result


@pytest.mark.filterwarnings("ignore:No fact belongs")
@settings(max_examples=80, deadline=None)
@given(cases(), st.sampled_from([None, "about"]))
def test_the_result_is_that_of_a_plain_loop(case: Any, period: str | None):
    panel, facts, max_age = case
    given_facts = facts if period else facts.drop(columns="about")
    result = align_asof(panel, given_facts, available="known", period=period, max_age=max_age)
    expected = by_loop(panel, facts, period=period, max_age=max_age)
    pd.testing.assert_frame_equal(result, expected)


@pytest.mark.filterwarnings("ignore:No fact belongs")
@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(0, 9))
def test_facts_known_after_a_row_do_not_move_it(case: Any, cutoff: int):
    panel, facts, max_age = case
    changed = facts.copy()
    changed.loc[changed["known"] > cutoff, ["a", "b"]] = -1.0
    changed.loc[changed["known"] > cutoff, "about"] = 9
    results = [
        align_asof(panel, f, available="known", period="about", max_age=max_age)
        for f in (facts, changed)
    ]
    early = [r[r.index.get_level_values("t") <= cutoff] for r in results]
    pd.testing.assert_frame_equal(*early)


# ---------------------------------------------------------------------------------------- bad input


def test_missing_columns_are_named():
    with pytest.raises(DataError, match=r"not found in the facts.*Missing: \['released', 'q'\]"):
        align_asof(one_series(), reports(), available="released", period="q")


def test_columns_that_the_panel_has_already_are_refused():
    message = r"in the panel already \(column 'close'\).*\['close'\] in both.*'new_close'"
    with pytest.raises(DataError, match=message):
        align_asof(one_series(), reports(close=1.0), available="filed")


def test_rows_without_availability_are_named():
    facts = reports()
    facts.loc[1, "filed"] = pd.NaT
    with pytest.raises(DataError, match=r"missing time stamps \(column 'filed'; first rows: row 1"):
        align_asof(one_series(), facts, available="filed")


@pytest.mark.parametrize("name", ["ticker", "quarter"])
def test_rows_without_a_series_or_period_are_named(name: str):
    facts = reports(ticker=["A", "B", "A"], quarter=["Q1", "Q2", "Q3"])
    facts.loc[2, name] = None
    message = rf"missing keys of facts \(column '{name}'; first rows: row 2\).*found 1 rows"
    with pytest.raises(DataError, match=message):
        align_asof(two_series(), facts, available="filed", period="quarter")


@pytest.mark.parametrize(
    "filed, found",
    [
        (reports()["filed"].dt.tz_localize("UTC"), r"datetime64\[us, UTC\]"),
        ([3, 5, 8], "int64"),
        (pd.to_timedelta([3, 5, 8], "D"), "timedelta64"),
    ],
    ids=["zone", "numbers", "elapsed"],
)
def test_another_kind_of_time_than_the_panels_is_refused(filed: Any, found: str):
    message = rf"different kinds of time \(column 'filed'\): expected datetime64.*found {found}"
    with pytest.raises(DataError, match=message):
        align_asof(one_series(), reports(filed=filed), available="filed")


def test_facts_without_a_zone_do_not_fit_a_panel_with_one():
    with pytest.raises(DataError, match="different kinds of time.*tz_localize"):
        align_asof(one_series().tz_localize("UTC"), reports(), available="filed")


@pytest.mark.parametrize(
    "filed, message",
    [
        (["2024-01-03", "2024-01-05", "2024-01-08"], r"wrong type \(column 'filed'.*pd.to_dateti"),
        (
            [pd.Timestamp("2024-01-03", tz=zone) for zone in ("UTC", "Asia/Tokyo", "UTC")],
            r"mixed time zones \(column 'filed'\).*Asia/Tokyo, UTC",
        ),
    ],
    ids=["text", "mixed zones"],
)
def test_availability_must_be_a_time(filed: Any, message: str):
    facts = reports(filed=pd.Series(filed, dtype=object))
    with pytest.raises(DataError, match=message):
        align_asof(one_series(), facts, available="filed")


def test_a_time_among_the_values_is_refused_with_advice():
    facts = reports(quarter=pd.Timestamp("2023-12-31"))
    with pytest.raises(DataError, match=r"is a time \(column 'quarter'\).*pass period='quarter'"):
        align_asof(one_series(), facts, available="filed")


@pytest.mark.parametrize("value, problem", [("x", "not numeric"), (np.inf, "infinite values")])
def test_values_are_checked_as_those_of_a_panel(value: Any, problem: str):
    with pytest.raises(DataError, match=rf"{problem} \(column 'dps'"):
        align_asof(one_series(), reports(dps=value), available="filed")


def test_facts_without_values_are_refused():
    with pytest.raises(DataError, match="empty frame"):
        align_asof(one_series(), reports()[["filed"]], available="filed")


@pytest.mark.parametrize("max_age", [3, -1, "soon", pd.NaT, "-1D", True, 2.5])
def test_max_age_must_be_a_span_of_time(max_age: Any):
    with pytest.raises(ValueError, match="'max_age': expected a span of time, such as '90D'"):
        align_asof(one_series(), reports(), available="filed", max_age=max_age)


@pytest.mark.parametrize("max_age", ["3D", -1, True, 1.5])
def test_max_age_must_be_a_number_of_steps_where_time_is(max_age: Any):
    panel = as_panel(pd.DataFrame({"y": np.arange(10.0)}))
    with pytest.raises(ValueError, match="'max_age': expected a whole number of steps"):
        align_asof(panel, reports(filed=[1, 2, 3]), available="filed", max_age=max_age)


def test_facts_of_no_series_of_the_panel_draw_a_warning():
    facts = reports(ticker=[1, 2, 3])
    with pytest.warns(UserWarning, match="some of 'A', 'B', found 1, 2, 3. Spell them alike"):
        panel = align_asof(two_series(), facts, available="filed")
    assert panel["eps"].isna().all()
