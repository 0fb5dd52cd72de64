"""Keys find names as an index does, and do not give them away."""

import datetime

import numpy as np
import pandas as pd
import pytest

from tsforecast.data.keys import Keys

INDEXES = {
    "text": pd.Index(["AAA", "BBB", "7", "1.0", ""]),
    "objects": pd.Index(["AAA", "CCC"], dtype=object),
    "categories": pd.CategoricalIndex(["AAA", "BBB"]),
    "whole numbers": pd.Index([7, 8, -1, 0, 2**62]),
    "small numbers": pd.Index(np.array([7, 8, -1], dtype=np.int8)),
    "unsigned": pd.Index(np.array([7, 2**63], dtype=np.uint64)),
    "floats": pd.Index([7.0, 8.5, -1.0, np.inf]),
    "nullable": pd.Index([7, 9], dtype="Int64"),
    "truth": pd.Index([True, False]),
    "mixed": pd.Index([7, "7", "AAA"], dtype=object),
    "dates": pd.DatetimeIndex(["2024-01-01", "2025-01-01"]).as_unit("s"),
    "fine dates": pd.DatetimeIndex(["2024-01-01", "2025-01-01 00:00:00.000001"]),
    "zoned": pd.DatetimeIndex(["2024-01-01"], tz="UTC"),
    "elsewhere": pd.DatetimeIndex(["2024-01-01 01:00"], tz="Europe/Berlin"),
    "spans": pd.TimedeltaIndex(["1h", "2h"]),
    "days": pd.Index([datetime.date(2024, 1, 1)], dtype=object),
    "nothing": pd.Index([], dtype=object),
}


@pytest.mark.parametrize("known", INDEXES)
@pytest.mark.parametrize("asked", INDEXES)
def test_names_are_found_where_an_index_finds_them(known, asked):
    known, asked = INDEXES[known], INDEXES[asked]
    # what is equal is found, of whatever type
    plain = pd.Index(known.tolist(), dtype=object)
    wanted = plain.get_indexer(pd.Index(asked.tolist(), dtype=object))
    np.testing.assert_array_equal(Keys.of(known).find(asked), wanted)


def test_missing_names_beside_others_change_nothing():
    known = Keys.of(pd.Index([1, 2]))
    assert known.find(pd.Index([2, np.nan, 1])).tolist() == [1, -1, 0]
    assert known.find(pd.Index([2, None, 1], dtype=object)).tolist() == [1, -1, 0]
    truth = Keys.of(pd.Index([True, False], dtype=object))
    assert truth.find(pd.Index([None, False, True], dtype=object)).tolist() == [-1, 1, 0]


def test_tuples_are_names_too():
    names = pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)
    other = pd.Index([("b", 2), ("b", 1), ("a", "1")], tupleize_cols=False)
    assert Keys.of(names).find(other).tolist() == [1, -1, -1]


def test_marks_of_numbers_are_no_plain_mixing_of_their_bits():
    """pandas hashes arrays of numbers by a bijection that anybody can turn back."""
    marks = Keys.of(pd.Index([30000153, 7])).marks
    plain = pd.util.hash_array(np.array([30000153, 7]))
    assert not np.isin(marks, plain).any()


def test_joined_keys_find_the_names_of_both():
    both = Keys.of(pd.Index(["a", "b"])).joined(Keys.of(pd.Index(["b", "c"])))
    assert len(both) == 3
    assert (both.find(pd.Index(["a", "b", "c", "d"])) >= 0).tolist() == [True, True, True, False]
