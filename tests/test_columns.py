import numpy as np
import pyarrow as pa
import pytest

from schemas.columns import dense, finite_rows, flags, group_codes, is_in, numbers


def test_null_is_false_or_nan():
    assert flags(pa.array([True, None, False])).tolist() == [True, False, False]
    np.testing.assert_equal(numbers(pa.chunked_array([[1, None], [3]])), [1, np.nan, 3])
    assert is_in(pa.array(["a", None, "b"]), ("a", "z")).tolist() == [True, False, False]
    assert is_in(pa.array(["a", None]), pa.array(["b", None])).tolist() == [False, False]
    assert is_in(pa.array(["a"]), ()).tolist() == [False]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param([["b", "a", "b"]], [0, 1, 0], id="one"),
        pytest.param([["b", None, None]], [0, 1, 1], id="null equals null"),
        pytest.param([["x", "x", "y", "x"], [1, 2, 1, 1]], [0, 1, 2, 0], id="two"),
        pytest.param([[]], [], id="none"),
    ],
)
def test_rows_with_equal_columns_have_one_code(columns, expected):
    arrays = [pa.chunked_array([pa.array(column)]) for column in columns]
    assert group_codes(arrays).tolist() == expected


def test_codes_do_not_overflow():
    many = [pa.array(np.arange(4096)) for _ in range(6)]  # 4096 ** 6 is more than 64 bits hold
    assert group_codes(many).tolist() == list(range(4096))


@pytest.mark.parametrize("large", [7, 10**12], ids=["few places", "many places"])
def test_codes_without_gaps(large):
    assert dense(np.array([large, 3, large])).tolist() == [1, 0, 1]
    assert dense(np.array([], dtype=np.int64)).tolist() == []


def test_one_of_some_words():
    column = pa.array(["a", "b", None, "c"])
    assert is_in(column, ("b",)).tolist() == [False, True, False, False]
    assert is_in(column, ["b", "c"]).tolist() == [False, True, False, True]
    assert is_in(column, ()).tolist() == [False] * 4


def test_a_row_is_finite_when_all_of_it_is():
    table = np.array([[1, 2], [np.nan, 1], [np.inf, 1]])
    assert finite_rows(table).tolist() == [True, False, False]
