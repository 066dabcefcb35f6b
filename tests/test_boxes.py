import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.boxes import (
    BINS,
    aligned_iou,
    area,
    bins_to_pixels,
    competing_pairs,
    intersection,
    iou,
    losing_pairs,
    per_row,
    pixels_to_bins,
    pixels_to_fractional_bins,
    suppressing_pairs,
)

SIZES = [1, 2, 3, 7, 28, 224, 333, 640, 768, 999, 1000, 1001, 1333, 2047, 4096, 8191, 15999, 16000]
EVERY_BIN = np.arange(BINS)


@pytest.mark.parametrize("size", SIZES)
def test_every_bin_comes_back_from_its_pixel(size):
    pixels = bins_to_pixels(EVERY_BIN, size)
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels_to_bins(pixels, size), EVERY_BIN)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 16_000))
def test_every_bin_comes_back_whatever_the_size(size):
    assert np.array_equal(pixels_to_bins(bins_to_pixels(EVERY_BIN, size), size), EVERY_BIN)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 16_000))
def test_the_centre_of_a_bin_is_its_number_and_a_half(size):
    pixels = np.repeat(bins_to_pixels(EVERY_BIN, size)[:, None], 4, axis=1)
    sizes = np.full((BINS, 2), size)
    assert np.array_equal(pixels_to_fractional_bins(pixels, sizes)[:, 0], EVERY_BIN + 0.5)


@pytest.mark.parametrize(
    ("pixel", "size", "expected"),
    [
        pytest.param(0, 640, 0, id="left edge"),
        pytest.param(640, 640, 999, id="right edge"),
        pytest.param(0.64, 640, 1, id="first edge between bins"),
        pytest.param(0.63, 640, 0, id="just before it"),
        pytest.param(-5, 640, 0, id="outside to the left"),
        pytest.param(700, 640, 999, id="outside to the right"),
    ],
)
def test_a_pixel_falls_into_its_bin(pixel, size, expected):
    assert pixels_to_bins(pixel, size) == expected


def test_width_and_height_have_bins_of_their_own():
    box = np.array([[64, 24, 128, 48]])
    assert pixels_to_fractional_bins(box, np.array([[640, 480]])).tolist() == [[100, 50, 200, 100]]


BOXES = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [8, 8, 2, 2]], dtype=np.float64)


def test_area_of_an_inverted_box_is_nothing():
    assert area(BOXES).tolist() == [100, 100, 100, 0]


def test_overlap_of_every_box_with_every_box():
    assert intersection(BOXES[:2], BOXES).tolist() == [[100, 50, 0, 0], [50, 100, 0, 0]]
    third = 50 / 150
    assert iou(BOXES[:2], BOXES).tolist() == [[1, third, 0, 0], [third, 1, 0, 0]]
    assert iou(BOXES[3:], BOXES[3:]).tolist() == [[0]]


def test_overlap_row_by_row():
    assert aligned_iou(BOXES, BOXES[[1, 1, 1, 3]]).tolist() == [50 / 150, 1, 0, 0]


def competing(boxes, groups=None, rank=None, among=None, slack=0.0):
    count = len(boxes)
    return competing_pairs(
        np.array(boxes, dtype=np.float64).reshape(count, 4),
        np.zeros(count, dtype=np.int64) if groups is None else np.array(groups),
        np.arange(count) if rank is None else np.array(rank),
        np.ones(count, dtype=bool) if among is None else np.array(among),
        slack=slack,
    )


def test_pairs_are_the_boxes_that_touch_in_one_group_best_winner_first():
    boxes = [(0, 0, 9, 9), (5, 5, 15, 15), (0, 0, 9, 9), (50, 50, 60, 60), (5, 90, 15, 99)]
    pairs = competing(boxes, groups=[7, 7, 8, 7, 7])
    assert (pairs.winner.tolist(), pairs.loser.tolist()) == ([0], [1])
    assert pairs.iou.tolist() == [16 / (81 + 100 - 16)]
    assert pairs.shift.tolist() == [6]


def test_the_lower_rank_wins():
    pairs = competing([(0, 0, 9, 9)] * 3, rank=[2, 0, 1])
    assert (pairs.winner.tolist(), pairs.loser.tolist()) == ([1, 1, 2], [2, 0, 0])


def test_rows_that_are_left_out_do_not_compete():
    pairs = competing([(0, 0, 9, 9)] * 3, among=[True, False, True])
    assert (pairs.winner.tolist(), pairs.loser.tolist()) == ([0], [2])


def test_slack_lets_boxes_compete_that_do_not_touch():
    thin = [(0, 0, 0.5, 0.5), (2, 1, 2.5, 1.5)]
    assert len(competing(thin)) == 0
    assert competing(thin, slack=2).shift.tolist() == [2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 12)] * 4), max_size=14), st.integers(1, 3))
def test_pairs_are_those_that_a_plain_loop_finds(corners, groups):
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    found = competing(boxes, groups=[i % groups for i in range(len(boxes))])
    expected = [
        (i, j)
        for i, a in enumerate(boxes)
        for j, b in enumerate(boxes)
        if i < j and (j - i) % groups == 0
        if a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
    ]
    assert list(zip(found.winner, found.loser, strict=True)) == expected


def test_suppression_follows_survivors_only():
    chain = [(0, 0, 10, 10), (2, 0, 12, 10), (4, 0, 14, 10), (6, 0, 16, 10)]
    pairs = competing(chain)
    by = suppressing_pairs(pairs, 4, pairs.iou >= 0.6)
    assert (by >= 0).tolist() == [False, True, False, True]
    assert per_row(pairs.winner, by).tolist() == [0, 0, 0, 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=14))
def test_suppression_is_that_of_a_plain_loop(corners):
    boxes = [(x, y, x + 10, y + 10) for x, y in corners]
    pairs = competing(boxes)
    by = suppressing_pairs(pairs, len(boxes), pairs.iou >= 0.4)
    survivors: list[int] = []
    for row in range(len(boxes)):
        one = np.array([boxes[row]], dtype=np.float64)
        better = [s for s in survivors if iou(np.array([boxes[s]], np.float64), one)[0, 0] >= 0.4]
        assert (by[row] >= 0) == bool(better)
        if better:
            assert pairs.winner[by[row]] == better[0]
        else:
            survivors.append(row)


def test_a_row_names_the_best_of_those_it_loses_to():
    pairs = competing([(0, 0, 9, 9)] * 3)
    by = losing_pairs(pairs, 3, np.array([True, True, True]))
    assert per_row(pairs.winner, by).tolist() == [0, 0, 0]
    by = losing_pairs(pairs, 3, pairs.winner == 1)
    assert by.tolist() == [-1, -1, 2]
