import numpy as np
import pyarrow as pa
import pytest

from schemas.outlines import Parts, convexity, text_heights
from schemas.tables import REGIONS

NAN = float("nan")
SQUARE = [0.0, 0, 10, 0, 10, 10, 0, 10]
BOW_TIE = [0.0, 0, 10, 10, 10, 0, 0, 10]


def parts(*points):
    column = pa.array(points, REGIONS.field("points").type)
    return Parts.of(pa.chunked_array([column.slice(0, 1), column.slice(1)]))


def test_every_part_is_known_by_its_row():
    found = parts(None, [SQUARE, BOW_TIE], [], [[]])
    assert found.row.tolist() == [1, 1, 3]
    assert found.given.tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("points", "finite", "finished"),
    [
        pytest.param([SQUARE], True, True, id="square"),
        pytest.param([[0.0, 0, 10, 0, 10, 10]], True, True, id="three corners"),
        pytest.param([[0.0, 0, 10, 0]], True, False, id="two corners"),
        pytest.param([[0.0, 0, 10, 0, 10, 10, 0]], True, False, id="half a corner"),
        pytest.param([SQUARE, []], True, False, id="an empty part"),
        pytest.param([None, SQUARE], True, False, id="a part that is null"),
        pytest.param([[*SQUARE[:-1], NAN]], False, True, id="nan"),
        pytest.param([[*SQUARE[:-1], None]], False, True, id="null"),
        pytest.param([SQUARE, [*SQUARE[:-1], float("inf")]], False, True, id="infinite"),
    ],
)
def test_what_an_outline_lacks(points, finite, finished):
    found = parts([SQUARE], points)
    assert found.not_finite.tolist() == [False, not finite]
    assert found.unfinished.tolist() == [False, not finished]


def test_quads_are_single_parts_of_four_finite_corners():
    triangle = [0.0, 0, 10, 0, 10, 10]
    found = parts(None, [SQUARE], [triangle], [SQUARE, SQUARE], [[*SQUARE[:-1], NAN]], [BOW_TIE])
    rows, corners = found.quads()
    assert rows.tolist() == [1, 5]
    assert corners[0].tolist() == [[0, 0], [10, 0], [10, 10], [0, 10]]


def test_an_outline_that_crosses_itself_is_found_with_the_place():
    found = parts([SQUARE], [SQUARE, BOW_TIE], [[0.0, 0, 10, 0]], None)
    crossed, reason = found.crossing()
    assert crossed.tolist() == [False, True, False, False]
    assert reason.to_pylist() == [None, "Self-intersection[5 5]", None, None]


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        pytest.param(SQUARE, 4, id="clockwise"),
        pytest.param([0, 0, 0, 10, 10, 10, 10, 0], 4, id="counter-clockwise"),
        pytest.param([0, 0, 5, 0, 10, 0, 5, 10], 4, id="a corner on an edge"),
        pytest.param([0, 0, 10, 0, 4, 4, 0, 10], 3, id="a dent"),
        pytest.param(BOW_TIE, 2, id="crossed edges"),
        pytest.param([0, 0, 5, 5, 10, 10, 15, 15], 0, id="a line"),
        pytest.param([3] * 8, 0, id="a point"),
    ],
)
def test_how_many_corners_turn_one_way(corners, expected):
    assert convexity(np.array(corners, dtype=float).reshape(1, 4, 2)).tolist() == [expected]


def test_a_line_of_text_is_as_high_as_its_shorter_end():
    tilted = np.array([[[0, 0], [40, 30], [34, 38], [-9, 12]]], dtype=float)
    assert text_heights(tilted).tolist() == [10]
