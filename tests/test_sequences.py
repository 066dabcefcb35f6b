import numpy as np
import pytest

from schemas.sequences import find_loops

ONE_PLACE = [(5, 5, 9, 9)] * 5


def found(boxes, group=None, position=None):
    count = len(boxes)
    loops = find_loops(
        np.array(boxes, dtype=float).reshape(count, 4),
        np.zeros(count, dtype=int) if group is None else np.array(group),
        np.arange(count, dtype=float) if position is None else np.array(position, dtype=float),
        min_boxes=5,
        min_iou=0.95,
    )
    return np.flatnonzero(loops.after).tolist(), loops.boxes.tolist()


def test_a_loop_ends_its_sequence_after_the_first_box():
    assert found([(50, 50, 99, 99), *ONE_PLACE, (0, 0, 3, 3)]) == ([2, 3, 4, 5, 6], [5] * 7)


def test_the_first_of_two_loops_counts():
    stairs = [(10 * i, 0, 10 * i + 5, 5) for i in range(6)]
    assert found([*stairs, *ONE_PLACE])[1] == [6] * 11


def test_each_sequence_has_its_own_loop():
    boxes = [*ONE_PLACE, (0, 0, 4, 4), *ONE_PLACE[:4]]
    assert found(boxes, group=[7] * 5 + [3] * 5) == ([1, 2, 3, 4], [5] * 5 + [0] * 5)
    assert found(ONE_PLACE, group=[0, 0, 0, 1, 1]) == ([], [0] * 5)


def test_position_says_what_comes_first_whatever_the_rows_order():
    boxes = [(0, 0, 4, 4), *ONE_PLACE]
    assert found(boxes, position=[9, 4, 3, 2, 1, 0])[0] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_boxes_are_no_loop(count):
    assert found(ONE_PLACE[:count]) == ([], [0] * count)
