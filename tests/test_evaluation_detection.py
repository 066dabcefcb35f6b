import json
import math
from pathlib import Path

import numpy as np
import pytest

from annotator.evaluation.detection import (
    COCO_IOUS,
    Counts,
    Places,
    average_precision,
    count_right,
    mean_average_precision,
    turns_within,
)

REFERENCE = Path(__file__).parents[2] / "shared" / "data" / "cocoapi_eval"
BOX = (0, 0, 10, 10)
HALF = (0, 0, 10, 5)
ELSEWHERE = (50, 50, 60, 60)


def places(*rows: tuple[int, int, tuple[float, ...]], **columns: list[float]) -> Places:
    """From (image, category, box)."""
    images, categories, boxes = zip(*rows, strict=True) if rows else ((), (), ())
    return Places.of(images, categories, boxes, **columns)


@pytest.mark.parametrize(
    ("found", "right"),
    [
        pytest.param([(0, 0, BOX)], 1, id="the box itself"),
        pytest.param([(0, 0, HALF)], 1, id="at the limit"),
        pytest.param([(0, 0, (0, 0, 10, 4.9))], 0, id="below the limit"),
        pytest.param([(0, 1, BOX)], 0, id="another category"),
        pytest.param([(1, 0, BOX)], 0, id="another image"),
        pytest.param([(0, 0, BOX), (0, 0, BOX)], 1, id="found twice"),
        pytest.param([], 0, id="nothing found"),
    ],
)
def test_a_true_box_is_found_once_by_place_and_category(
    found: list[tuple[int, int, tuple[float, ...]]], right: int
):
    assert count_right(places(*found), places((0, 0, BOX))) == Counts(right, len(found), 1)


def test_the_surer_box_chooses_first_and_takes_the_best():
    true = places((0, 0, BOX), (0, 0, (0, 0, 10, 8)))
    greedy = places((0, 0, (0, 0, 10, 8.5)), (0, 0, (0, 0, 10, 12)), score=[0.9, 0.8])
    assert count_right(greedy, true) == Counts(2, 2, 2)
    # The less sure box fits only the one that the surer takes.
    blocked = places((0, 0, (0, 0, 10, 9.5)), (0, 0, (0, 0, 10, 15)), score=[0.1, 0.9])
    assert count_right(blocked, places((0, 0, BOX))) == Counts(1, 2, 1)


def test_a_crowd_takes_any_number_and_none_of_them_counts():
    true = places((0, 0, (0, 0, 40, 40)), (0, 0, BOX), crowd=[True, False])
    found = places((0, 0, BOX), (0, 0, (20, 20, 30, 30)), (0, 0, (25, 20, 35, 30)))
    assert count_right(found, true) == Counts(1, 1, 1)


def test_figures_that_no_label_stands_for_are_none():
    assert (Counts(0, 0, 3).precision, Counts(0, 3, 0).recall) == (None, None)
    assert Counts(0, 0, 0).f1 is None
    assert Counts(1, 2, 4).f1 == pytest.approx(2 / 6)


def test_the_curve_is_averaged_over_101_recalls():
    true = places((0, 0, BOX), (1, 0, BOX))
    found = places((0, 0, BOX), (0, 0, ELSEWHERE), (1, 0, BOX), score=[0.9, 0.8, 0.7])
    # Precision is 1 up to recall 0.5 (51 points), then 2/3.
    by_hand = (51 * 1 + 50 * 2 / 3) / 101
    assert mean_average_precision(found, true, 0.5) == pytest.approx(by_hand)


def test_an_unsure_mistake_costs_nothing_and_a_sure_one_does():
    true = places((0, 0, BOX))
    late = places((0, 0, BOX), (0, 0, ELSEWHERE), score=[0.9, 0.1])
    early = places((0, 0, BOX), (0, 0, ELSEWHERE), score=[0.1, 0.9])
    unknown = places((0, 0, ELSEWHERE), (0, 0, BOX), score=[math.nan, 0.1])
    assert mean_average_precision(late, true, 0.5) == 1
    assert mean_average_precision(early, true, 0.5) == 0.5
    assert mean_average_precision(unknown, true, 0.5) == 1


def test_thresholds_and_categories_count_alike():
    true = places((0, 0, BOX), (0, 1, BOX))
    found = places((0, 0, HALF), (0, 2, BOX))
    by_category = average_precision(found, true, [0.5, 0.75])
    assert {name: list(values) for name, values in by_category.items()} == {
        0: [1, 0],
        1: [0, 0],
    }
    assert mean_average_precision(found, true, [0.5, 0.75]) == 0.25
    assert mean_average_precision(found, places(), 0.5) is None


def test_of_one_image_only_the_best_count():
    true = places((0, 0, BOX))
    found = places((0, 0, ELSEWHERE), (0, 0, BOX), score=[0.9, 0.8])
    assert average_precision(found, true, [0.5], max_per_image=1)[0] == [0]


def test_turns_count_from_the_best_of_each_group():
    groups, score = np.array([7, 3, 7, 7, 3]), np.array([0.1, 0.5, 0.9, math.nan, 0.5])
    assert turns_within(groups, score).tolist() == [1, 0, 0, 2, 1]
    assert turns_within(groups[:0], score[:0]).tolist() == []


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="COCO's reference is not on this machine")
def test_the_official_reference_is_met_exactly():
    truth = json.loads((REFERENCE / "instances_val2014_100.json").read_text())["annotations"]
    results = json.loads((REFERENCE / "instances_val2014_fakebbox100_results.json").read_text())
    expected = json.loads((REFERENCE / "expected_full_precision.json").read_text())["bbox"]
    true = coco_places(truth, crowd=[row["iscrowd"] for row in truth])
    found = coco_places(results, score=[row["score"] for row in results])
    values = np.stack(list(average_precision(found, true, COCO_IOUS).values()))
    reached = [values.mean(), values[:, 0].mean(), values[:, 5].mean()]
    assert reached == pytest.approx(expected[:3], abs=1e-12)


def coco_places(rows: list[dict], **columns: list[float]) -> Places:
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64)
    boxes[:, 2:] += boxes[:, :2]
    images, categories = ([row[name] for row in rows] for name in ("image_id", "category_id"))
    return Places.of(images, categories, boxes, **columns)
