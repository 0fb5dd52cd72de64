"""membership: a series belongs from the start of a spell up to its end, and not a row longer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tsforecast as tsf

DAYS = pd.date_range("2024-01-01", periods=6, name="date")
INDEX = pd.MultiIndex.from_product([["A", "B", "C"], DAYS], names=["ticker", "date"])


def day(number):
    return pd.Timestamp(2024, 1, number)


def spells_of(*rows):
    return pd.DataFrame(rows, columns=["ticker", "start", "end"])


SPELLS = spells_of(
    ("A", day(1), day(3)), ("A", day(5), None), ("B", pd.Timestamp("2023-01-01"), None)
)


def test_the_start_belongs_to_a_spell_and_the_end_does_not():
    member = tsf.membership(SPELLS, INDEX)
    assert member.index.equals(INDEX)
    assert (member.name, member.dtype) == ("member", bool)
    assert member["A"].tolist() == [True, True, False, False, True, True]
    assert member["B"].all()
    assert not member["C"].any()  # no spell at all


def test_spells_that_touch_are_one_and_order_does_not_matter():
    spells = spells_of(("A", day(3), day(5)), ("A", day(1), day(3)), ("B", day(2), day(3)))
    member = tsf.membership(spells, INDEX)
    assert member["A"].tolist() == [True] * 4 + [False] * 2
    assert member["B"].tolist() == [False, True] + [False] * 4


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), known=st.booleans())
def test_members_are_those_of_a_plain_loop(seed, known):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_tuples(
        [(who, t) for who in "ABC" for t in np.sort(rng.choice(20, rng.integers(1, 8), False))],
        names=["ticker", "step"],
    )
    rows = []
    for who in "AB":
        marks = np.sort(rng.choice(24, 4, replace=False)) - 2
        rows += [(who, marks[0], marks[1]), (who, marks[2], rng.choice([marks[3], None]))]
    spells = spells_of(*rows).assign(filed=rng.integers(-5, 25, 4))
    expected = [
        any(
            name == who and start <= t and (pd.isna(end) or t < end) and (not known or filed <= t)
            for name, start, end, filed in spells.itertuples(index=False)
        )
        for who, t in index
    ]
    shuffled = spells.sample(frac=1, random_state=seed)
    found = tsf.membership(shuffled, index, available="filed" if known else None)
    assert found.tolist() == expected


def test_a_spell_counts_from_when_it_was_known():
    spells = SPELLS.assign(announced=[day(2), day(1), None])
    member = tsf.membership(spells, INDEX, available="announced")
    assert member["A"].tolist() == [False, True, False, False, True, True]
    assert member["B"].all()
    late = SPELLS.assign(announced=day(4))  # the first spell is over by then
    assert tsf.membership(late, INDEX, available="announced")["A"].tolist() == [
        *[False] * 4,
        True,
        True,
    ]


def test_where_it_is_not_said_when_a_spell_was_known_it_counts_from_its_start():
    days = pd.to_datetime(["1958-01-02", "1966-01-03", "1981-01-02"])  # before 1970, too
    index = pd.MultiIndex.from_product([["A"], days], names=["ticker", "date"])
    spells = spells_of(
        ("A", pd.Timestamp("1957-03-04"), pd.Timestamp("1965-01-01")),
        ("A", pd.Timestamp("1980-01-01"), None),
    ).assign(announced=[None, pd.Timestamp("1980-02-01")])
    assert tsf.membership(spells, index, available="announced").tolist() == [True, False, True]


def test_firms_that_left_before_the_panel_begins_or_came_after_its_end_are_not_missed():
    others = spells_of(
        ("ENRN", pd.Timestamp("2001-01-01"), day(1)),  # the first row is no more of its spell
        ("COIN", day(7), None),
    )
    member = tsf.membership(pd.concat([SPELLS, others]), INDEX)
    assert member.attrs == {}
    assert member.tolist() == tsf.membership(SPELLS, INDEX).tolist()
    told = pd.concat([SPELLS, spells_of(("LEH", day(2), day(3)))]).assign(announced=day(4))
    assert tsf.membership(told, INDEX, available="announced").attrs == {}  # known when it was over
    late = pd.concat([SPELLS, others, spells_of(("LEH", day(6), None))])
    with pytest.raises(tsf.DataError, match="found 1 others: 'LEH'"):
        tsf.membership(late, INDEX)
    with pytest.raises(tsf.DataError, match="found only 2 others"):
        tsf.membership(others, INDEX)


def test_a_moment_within_the_day_counts_from_the_next_row():
    noon = spells_of(("A", day(2) + pd.Timedelta("12h"), day(4) + pd.Timedelta(1, "ns")))
    member = tsf.membership(noon, INDEX)
    assert member["A"].tolist() == [False, False, True, True, False, False]


def test_the_rows_that_follow_do_not_change_who_belonged():
    before = INDEX[INDEX.get_level_values(1) <= day(3)]
    whole = tsf.membership(SPELLS, INDEX)
    pd.testing.assert_series_equal(tsf.membership(SPELLS, before), whole[before])
    pd.testing.assert_frame_equal(
        tsf.membership(SPELLS, INDEX).unstack("ticker"), whole.unstack("ticker")
    )


def test_zones_may_differ_and_times_may_be_dates_of_another_name():
    index = INDEX.set_levels(DAYS.tz_localize("America/New_York"), level=1)
    spells = SPELLS.rename(columns={"ticker": "symbol", "start": "from", "end": "thru"})
    spells["from"] = spells["from"].dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    spells["thru"] = spells["thru"].dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    member = tsf.membership(spells, index, series="symbol", start="from", end="thru")
    assert member.tolist() == tsf.membership(SPELLS, INDEX).tolist()


def test_firms_that_are_gone_are_an_error_or_a_note():
    spells = pd.concat([SPELLS, spells_of(("ENRN", day(1), day(2)), ("LEH", day(1), day(2)))])
    with pytest.raises(tsf.DataError, match=r"not in the panel .*found 2 others: 'ENRN', 'LEH'"):
        tsf.membership(spells, INDEX)
    member = tsf.membership(spells, INDEX, unknown="note")
    assert member.attrs["survivorship"] == (
        "Survivorship: of 4 members by their spells 2 have no rows: 'ENRN', 'LEH'."
    )
    assert member.tolist() == tsf.membership(SPELLS, INDEX).tolist()


def test_what_is_said_of_survivorship_follows_from_panel_and_spells():
    panel = pd.DataFrame({"close": 1.0}, index=INDEX)
    assert tsf.membership(SPELLS, panel).attrs == {}
    panel.attrs["survivorship"] = "Survivorship: who knows."
    assert tsf.membership(SPELLS, panel).attrs == panel.attrs
    today = spells_of(("A", day(1), None), ("B", day(1), None))
    said = tsf.membership(today, panel).attrs["survivorship"]
    assert said.startswith(
        "Survivorship: who knows. Survivorship: no spell of membership has ended"
    )
    panel.attrs |= tsf.membership(today, INDEX).attrs
    assert "no spell of membership has ended" in str(tsf.describe_panel(panel))


def test_a_strategy_trades_members_alone_and_says_who_is_missing():
    panel = tsf.as_panel(pd.DataFrame({"close": 100.0}, index=INDEX))
    member = tsf.membership(
        pd.concat([SPELLS, spells_of(("LEH", day(1), day(2)))]), panel, unknown="note"
    )
    panel.attrs |= member.attrs
    weights = pd.DataFrame(0.3, index=DAYS, columns=list("ABC"))
    strategy = tsf.backtest_strategy(weights, panel, universe=member, lag="same close")
    held = strategy.weights[["A", "B", "C"]]  # over the session that ends at the time of the row
    as_decided = 0.3 * member.unstack("ticker").shift().loc[held.index].astype(float)
    np.testing.assert_allclose(held, as_decided, atol=1e-12)
    assert any("1 have no rows: 'LEH'" in note for note in strategy.notes)


def test_the_panel_and_the_spells_are_left_alone():
    panel, spells = pd.DataFrame({"close": 1.0}, index=INDEX), SPELLS.copy(deep=True)
    tsf.membership(spells, panel)
    assert list(panel.columns) == ["close"] and panel.attrs == {}
    pd.testing.assert_frame_equal(spells, SPELLS)


@pytest.mark.parametrize(
    ("spells", "message"),
    [
        (
            SPELLS.drop(columns="end"),
            r"columns not found in the spells: expected columns \['ticker",
        ),
        ([("A", 1, 2)], "columns not found in the spells: .* found list"),
        (SPELLS.iloc[:0], "spells without a name or a start .*found 0 of 0"),
        (
            SPELLS.assign(start=[day(1), None, day(1)]),
            r"a name or a start \(column 'start'; first rows: row 1\): .*found 1 of 3",
        ),
        (
            spells_of(("A", day(1), day(3)), ("B", day(3), day(3))),
            r"spells end before they begin \(first rows: row 1 \(B, 2024-01-03 00:00:00, 2024",
        ),
        (
            spells_of(("A", day(3), None), ("B", day(1), None), ("A", day(1), day(4))),
            r"spells overlap \(first rows: row 0 \(A, .*row 2 \(A, .*found 2 of 3",
        ),
        (spells_of(("A", day(1), None), ("A", day(2), None)), "spells overlap"),
        (
            SPELLS.assign(start=SPELLS["start"].dt.tz_localize("UTC")),
            r"different kinds of time \(column 'start'; first rows: .*expected datetime64\[\w+\],",
        ),
        (SPELLS.assign(start=0), "different kinds of time .column 'start'"),
        (SPELLS.assign(start="2024-01-01"), r"time is of the wrong type \(column 'start'"),
        (SPELLS[:2].assign(ticker="Z"), r"some of 'A', 'B', 'C', found only 1 .*: 'Z'.*mind"),
        (SPELLS.replace({"ticker": {"B": "Z"}}), "found 1 others: 'Z'. Give the panel their rows"),
    ],
)
def test_spells_that_cannot_be_read_are_refused(spells, message):
    with pytest.raises(ValueError, match=message):
        tsf.membership(spells, INDEX)


def test_parameters_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match=r"'unknown': expected one of \['raise', 'note'\]"):
        tsf.membership(SPELLS, INDEX, unknown="drop")
    with pytest.raises(ValueError, match=r"'panel': expected a panel of \(series, time\)"):
        tsf.membership(SPELLS, pd.DataFrame({"close": 1.0}, index=DAYS))
