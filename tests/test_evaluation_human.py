from typing import Any

import duckdb
import pytest

from annotator.errors import AnnotatorError
from annotator.evaluation.detection import Counts
from annotator.evaluation.human import Agreement, evaluate_human
from schemas.annotations import table_of

BOX = (0.0, 0.0, 10.0, 10.0)
ELSEWHERE = (50.0, 50.0, 60.0, 60.0)


def region(
    image: str, source: str, category: str | None, box: tuple[float, ...] = BOX, **columns: Any
) -> dict[str, Any]:
    sides = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    row = {"image_id": image, "source": source, "label_no": 0, "category": category, **sides}
    return {**row, "task": "od" if source == "model" else None, **columns}


LABELS = [
    region("a", "human", "RBC"),
    region("a", "human", "WBC", ELSEWHERE),
    region("a", "model", "rbc ", score=0.9),
    region("a", "model", "WBC", score=0.2),
    region("a", "model", "cell", ELSEWHERE, score=0.3),
    region("a", "model", None, ELSEWHERE, task="dense_region_caption", text="a cell", score=0.9),
    region("b", "human", "RBC"),
    region("c", "model", "RBC", score=0.9),
]


def connection(rows: list[dict[str, Any]]) -> duckdb.DuckDBPyConnection:
    connected = duckdb.connect()
    connected.register("all_regions", table_of("regions", rows))
    return connected


def test_only_images_with_human_boxes_count_and_all_that_is_found_there():
    found = evaluate_human(connection(LABELS))
    assert found.images == 2
    assert found.categories == (
        # Half the true boxes are found, without a mistake: 51 of 101 recalls.
        Agreement("RBC", Counts(1, 1, 2), pytest.approx(51 / 101), pytest.approx(51 / 101)),
        Agreement("WBC", Counts(0, 1, 1), 0.0, 0.0),
    )
    assert found.every.counts == Counts(1, 3, 3)
    assert found.every.ap_50 == pytest.approx(51 / 202)


def test_a_category_or_a_score_can_be_asked_for():
    one = evaluate_human(connection(LABELS), categories=["rbc"])
    assert [row.name for row in one.categories] == ["RBC"]
    assert one.every.counts == Counts(1, 1, 2)
    sure = evaluate_human(connection(LABELS), min_score=0.3)
    assert sure.every.counts == Counts(1, 2, 3)


def test_a_crowd_is_no_box_to_be_found():
    rows = [*LABELS[:4], region("a", "human", "crowd", (40.0, 40.0, 70.0, 70.0), crowd=True)]
    rows.append(region("a", "model", "crowd", ELSEWHERE, score=0.8))
    found = evaluate_human(connection(rows))
    crowd = next(row for row in found.categories if row.name == "crowd")
    assert (crowd.counts, crowd.ap) == (Counts(0, 0, 0), None)


def test_what_people_never_drew_is_refused_in_one_sentence():
    with pytest.raises(AnnotatorError, match="nothing of category 'cell' here: there is RBC, WBC"):
        evaluate_human(connection(LABELS), categories=["cell"])
    with pytest.raises(AnnotatorError, match="no boxes that people drew"):
        evaluate_human(connection(LABELS[-1:]))
