"""Found boxes against the truth of the scenes: precision and recall."""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotator.scenes.truth import scene_truth
from schemas.boxes import iou
from schemas.tables import MODEL

_SIDES = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Score:
    """Counts of boxes; `right` ones have a true box of their category, each true box once."""

    right: int
    found: int
    true: int

    @property
    def precision(self) -> float | None:
        """None where nothing was found."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """None where nothing is there."""
        return self.right / self.true if self.true else None


def score_version(connection: duckdb.DuckDBPyConnection) -> tuple[Score, Score] | None:
    """The model's boxes as proposed and as kept; None where not every image is a scene.

    Only scenes without human labels count: on the others the truth itself stands in the tables.
    """
    images = connection.execute("SELECT image_id, url, state FROM images").fetchall()
    if not images or not all((url or "").startswith("scenes://") for _, url, _ in images):
        return None
    unseen = [image for image, _, state in images if state != "verified"]
    truth = pa.concat_tables([scene_truth(url) for url in {url for _, url, _ in images}])
    truth = truth.filter(pc.is_in(truth["image_id"], pa.array(unseen, pa.string())))
    proposed, kept = (_boxes(connection, table) for table in ("all_regions", "regions"))
    return score_boxes(proposed, truth), score_boxes(kept, truth)


def _boxes(connection: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    return connection.execute(
        f"""SELECT r.* FROM {table} AS r JOIN images AS i USING (image_id)
        WHERE i.state <> 'verified' AND r.source = ? AND r.task = 'od'""",
        [MODEL],
    ).to_arrow_table()


def score_scenes(found: pa.Table, shard_urls: Iterable[str], min_iou: float = 0.5) -> Score:
    """`found`: rows with image_id, category, x0, y0, x1, y1 and score, of any of these shards.

    In each image the box with the highest score takes the best true box of its category that is
    still free; a box without score comes last.
    """
    return score_boxes(found, pa.concat_tables(map(scene_truth, shard_urls)), min_iou)


def score_boxes(found: pa.Table, truth: pa.Table, min_iou: float = 0.5) -> Score:
    """The same against truth in the same columns."""
    true_boxes = _by_image(truth)
    found_boxes = _by_image(found)
    right = sum(
        _right(rows, true_boxes[image], min_iou)
        for image, rows in found_boxes.items()
        if image in true_boxes
    )
    return Score(right, len(found), len(truth))


_Rows = list[tuple[str, list[float], float]]


def _by_image(table: pa.Table) -> dict[str, _Rows]:
    """Category, box and score of each row, the best first."""
    images: dict[str, _Rows] = {}
    for row in table.select(["image_id", "category", *_SIDES, "score"]).to_pylist():
        box = [row[side] for side in _SIDES]
        images.setdefault(row["image_id"], []).append((row["category"], box, row["score"] or 0.0))
    return {image: sorted(rows, key=lambda row: -row[2]) for image, rows in images.items()}


def _right(found: _Rows, true: _Rows, min_iou: float) -> int:
    overlaps = iou(np.array([box for _, box, _ in found]), np.array([box for _, box, _ in true]))
    free = set(range(len(true)))
    for i, (category, _, _) in enumerate(found):
        fits = [j for j in free if true[j][0] == category and overlaps[i, j] >= min_iou]
        if fits:
            free.remove(max(fits, key=lambda j, i=i: overlaps[i, j]))  # type: ignore[misc]
    return len(true) - len(free)
