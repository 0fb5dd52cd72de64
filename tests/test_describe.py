"""A panel is looked over: spans, gaps, missing values, suspicious columns."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsforecast._checks import DataError
from tsforecast.data.asof import align_asof
from tsforecast.data.calendars import calendar_features
from tsforecast.data.datasets import make_prices, make_vitals
from tsforecast.data.describe import describe_panel
from tsforecast.data.panel import as_panel

DAYS = pd.date_range("2024-01-01", periods=40, name="day")


def make_panel(n_series: int = 3, **columns: Any) -> pd.DataFrame:
    """Clean random walks; `columns` are added as they are."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([[f"s{i}" for i in range(n_series)], DAYS])
    steps = rng.normal(size=(n_series, len(DAYS), 2)).cumsum(axis=1).reshape(-1, 2)
    data = {"close": 20 * np.exp(steps[:, 0] / 50), "flow": steps[:, 1]}
    return as_panel(pd.DataFrame(data | columns, index=index.set_names(["bed", "day"])))


def notes(panel: pd.DataFrame, column: str) -> str:
    return str(describe_panel(panel).columns.loc[column, "suspicious"])


def test_each_series_has_its_rows_span_gap_and_missing_share():
    panel = make_panel()
    panel = panel.drop(index=[("s1", day) for day in DAYS[5:9]] + [("s2", DAYS[-1])])
    panel.loc["s0", "flow"] = np.nan
    series = describe_panel(panel).series
    assert list(series.index) == ["s0", "s1", "s2"] and series.index.name == "bed"
    assert series["rows"].tolist() == [40, 36, 39]
    assert series["first"].eq(DAYS[0]).all()
    assert series["last"].tolist() == [DAYS[-1], DAYS[-1], DAYS[-2]]
    assert (series["span"] == series["last"] - series["first"]).all()
    assert series["longest_gap"].tolist() == [pd.Timedelta(days=n) for n in (1, 5, 1)]
    assert series["missing"].tolist() == [0.5, 0.0, 0.0]


def test_each_column_has_the_figures_that_pandas_gives():
    panel = make_panel(count=np.arange(120) % 7 // 3).mask(make_panel(count=0.0) > 21)
    columns = describe_panel(panel).columns
    for figure in ("min", "median", "max"):
        np.testing.assert_allclose(columns[figure], panel.agg(figure))
    np.testing.assert_allclose(columns["missing"], panel.isna().mean())
    np.testing.assert_allclose(columns["zero"], [(panel[c].dropna() == 0).mean() for c in panel])
    same = panel.groupby(level=0).diff()
    np.testing.assert_allclose(
        columns["unchanged"], [(same[c].dropna() == 0).mean() for c in panel]
    )
    assert columns["dtype"].eq("float64").all()


def test_a_clean_panel_whose_columns_have_stamps_draws_no_warning():
    panel = make_panel()
    panel.attrs["available"] = ["close", "flow"]
    description = describe_panel(panel)
    assert description.warnings == []
    assert description.columns["suspicious"].eq("").all()


def test_one_series_without_a_name_steps_and_elapsed_time_are_fine():
    for index in (pd.RangeIndex(40), pd.to_timedelta(np.arange(40), "h"), DAYS):
        panel = make_panel(1).set_axis(index)
        description = describe_panel(panel)
        assert list(description.series.index) == [0]
        assert description.series["longest_gap"].iloc[0] == index[1] - index[0]
        assert not description.columns["static"].any()
        assert "1 series, 40 rows, 2 columns" in repr(description)
        assert "<table" in description._repr_html_()


def test_columns_without_a_stamp_of_availability_are_listed():
    facts = pd.DataFrame({"bed": ["s0"], "out": [DAYS[3]], "lab": [4.0]})
    panel = calendar_features(align_asof(make_panel(), facts, available="out"), ["weekday"])
    description = describe_panel(panel)
    available = description.columns["available"]
    assert available.to_dict() == {
        "close": False, "flow": False, "lab": True, "weekday_sin": True, "weekday_cos": True,
    }  # fmt: skip
    line = "No stamp of availability: 'close', 'flow'. They count as known at the time of their row"
    assert any(warning.startswith(line) for warning in description.warnings)


def test_static_columns_need_no_stamp_and_are_named():
    panel = make_panel(beds=np.repeat([4.5, 2.0, 2.0], 40))
    panel["kind"] = pd.Categorical(np.repeat(["a", "b", None], 40))
    description = describe_panel(panel)
    assert description.columns["static"].tolist() == [False, False, True, True]
    assert "Constant within every series, for static=: 'beds', 'kind'." in description.warnings
    assert "'beds'" not in description.warnings[-1]


def test_categories_have_no_numbers_but_a_missing_share():
    panel = make_panel()
    panel["kind"] = pd.Categorical([None, *["a", "b", "b"] * 40][:120])
    row = describe_panel(panel).columns.loc["kind"]
    assert row["dtype"] == "category" and row["missing"] == pytest.approx(1 / 120)
    assert row[["min", "median", "max", "zero"]].isna().all()
    # every third step, within the series, of those between two known values
    kind = panel["kind"].astype(object)
    before = kind.groupby(level=0).shift()
    assert row["unchanged"] == (kind == before).sum() / (kind.notna() & before.notna()).sum()
    assert not row["static"]


# ------------------------------------------------------------------------------ suspicious columns


@pytest.mark.parametrize(
    "column, values, note",
    [
        ("void", np.nan, "no value at all"),
        ("same", 3.0, "constant"),
        ("row", np.tile(np.arange(40.0), 3), "rises or falls with time"),
        ("left", np.tile(np.arange(40.0)[::-1] ** 2, 3), "rises or falls with time"),
        ("subject_id", np.repeat([7, 7, 9], 40), "names a group, for group="),
        ("patient", np.repeat([7, 7, 9], 40), "names a group, for group="),
        ("PatientID", np.repeat([7, 7, 9], 40), "names a group, for group="),
        ("hadm_id", np.random.default_rng(1).integers(0, 99, 120), "looks like an id"),
        ("bed_number", np.repeat([3, 1, 2], 40), "looks like an id"),
    ],
)
def test_suspicious_columns_are_told(column: str, values: Any, note: str):
    description = describe_panel(make_panel(**{column: values}))
    found = description.columns["suspicious"]
    assert note in found[column]
    assert found.drop(column).eq("").all()
    assert any(w.startswith(f"Column {column!r}: ") and note in w for w in description.warnings)


@pytest.mark.parametrize("name", ["video", "rapid", "patients", "subject_mood", "humidity"])
def test_names_that_only_resemble_those_of_ids_and_groups_are_fine(name: str):
    values = np.random.default_rng(1).normal(size=120)
    assert notes(make_panel(**{name: values}), name) == ""


@pytest.mark.parametrize("factor, shift", [(1.0, 0.0), (1.8, 32.0), (-1.0, 100.0)])
def test_a_column_that_moves_as_another_one_is_told(factor: float, shift: float):
    panel = make_panel()
    rng = np.random.default_rng(2)
    copied = (factor * panel["close"] + shift).mask(rng.random(120) < 0.1)
    panel = panel.assign(copy=copied)
    assert notes(panel, "copy") == "moves as 'close' does"
    assert notes(panel, "close") == notes(panel, "flow") == ""


def test_columns_of_one_level_but_other_moves_are_no_copies():
    panel = make_panel()
    high = panel["close"] + np.random.default_rng(2).uniform(0, 0.5, 120)
    assert np.corrcoef(high, panel["close"])[0, 1] > 0.95
    assert notes(panel.assign(high=high), "high") == ""


@pytest.mark.parametrize(
    "factor, last, count", [(10.0, 21, 2), (0.1, 21, 2), (0.5, 40, 1), (2.0, 40, 1)]
)
def test_lost_decimal_points_and_halved_prices_are_counted(factor: float, last: int, count: int):
    panel = make_panel()
    panel.loc[("s1", DAYS[20]) : ("s1", DAYS[last - 1]), "close"] *= factor
    description = describe_panel(panel)
    assert description.columns["jumps"].to_dict() == {"close": count, "flow": 0}
    assert description.series["jumps"].tolist() == [0, count, 0]
    assert f"Column 'close': {count} huge jump{'s' * (count > 1)}." in description.warnings


def test_columns_that_always_leap_have_no_jumps():
    rng = np.random.default_rng(3)
    panel = make_panel(volume=np.exp(rng.normal(10, 1, 120)))
    assert describe_panel(panel).columns.loc["volume", "jumps"] == 0


def test_a_jump_between_two_series_is_none():
    panel = make_panel()
    panel.loc["s1", "close"] = panel.loc["s1", "close"].to_numpy() * 1000
    assert describe_panel(panel).columns["jumps"].eq(0).all()


# ------------------------------------------------------------------------------- series in warnings


def test_gaps_early_ends_short_and_empty_series_are_counted_without_names():
    panel = make_panel(5)
    drop = [("s1", day) for day in DAYS[5:25]]  # a gap
    drop += [("s2", day) for day in DAYS[30:]]  # an early end
    drop += [("s3", day) for day in DAYS[:35]]  # short
    panel = panel.drop(index=drop)
    panel.loc["s4"] = np.nan
    found = describe_panel(panel).warnings
    assert (
        "1 of 5 series have a gap of more than 10 times the usual step, 1 days 00:00:00; the "
        "longest is 21 days 00:00:00." in found
    )
    assert "1 of 5 series end before the others do." in found
    assert "1 of 5 series have fewer than 10 rows." in found
    assert "1 of 5 series have no value at all." in found
    assert not any("'s" in line for line in found)


def test_columns_of_which_most_is_missing_are_named():
    rare = np.where(np.arange(120) % 5 == 0, np.arange(120) % 3, np.nan)
    assert "More than half is missing in 'rare'." in describe_panel(make_panel(rare=rare)).warnings


# ------------------------------------------------------------------------------------ text and HTML


class Reader(HTMLParser):
    """Checks that tags are closed in order; keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_html_is_well_formed_and_names_are_escaped():
    nasty = "<script>alert(1)</script>"
    panel = make_panel(**{nasty: 1.0, "a & b": 2.0})
    reader = Reader()
    reader.feed(describe_panel(panel)._repr_html_())
    assert reader.open == []
    assert reader.tags <= {
        "div",
        "p",
        "strong",
        "ul",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    for name in (nasty, "a & b"):
        assert name in reader.text


@pytest.mark.parametrize("form", ["__repr__", "_repr_html_"])
def test_no_series_is_named_for_it_may_be_a_patient(form: str):
    panel = make_panel(8)
    panel.loc["s7", "close"] = panel.loc["s7", "close"].to_numpy() * np.where(DAYS.day == 9, 10, 1)
    text = getattr(describe_panel(panel), form)()
    assert not any(f"s{i}" in text for i in range(8))
    assert "8 series, 320 rows, 2 columns" in text


def test_the_text_is_compact_and_holds_every_column_and_warning():
    description = describe_panel(make_panel(void=np.nan))
    text = repr(description)
    assert all(name in text for name in description.columns.index)
    assert all(f"- {line}" in text for line in description.warnings)
    assert max(map(len, text.split("\n"))) < 200


def test_the_panel_is_left_alone():
    panel = make_panel(void=np.nan)
    before = panel.copy()
    describe_panel(panel)
    pd.testing.assert_frame_equal(panel, before)


@pytest.mark.parametrize("make", [make_prices, make_vitals])
def test_made_panels_can_be_described(make: Any):
    description = describe_panel(make())
    assert len(description.series) == make().index.get_level_values(0).nunique()
    assert not (description.columns["suspicious"] == "no value at all").any()


def test_what_is_no_panel_is_refused():
    with pytest.raises(DataError, match="empty frame"):
        describe_panel(pd.DataFrame())
    with pytest.raises(TypeError, match="found int"):
        describe_panel(3)
