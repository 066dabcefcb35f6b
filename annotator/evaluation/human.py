"""The model's boxes of a version against those that people drew on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from annotator.errors import AnnotatorError
from annotator.evaluation.detection import COCO_IOUS, Counts, average_precision, count_right
from annotator.evaluation.tables import found_and_true
from schemas.tables import HUMAN, MODEL

_DRAWN = f"SELECT * FROM all_regions WHERE source = '{HUMAN}' AND category IS NOT NULL"
_BOXES = f"""
    SELECT image_id, category, x0, y0, x1, y1, score, crowd FROM all_regions
    WHERE source = $1 AND coalesce(task, 'od') = 'od' AND category IS NOT NULL
        AND image_id IN (SELECT image_id FROM ({_DRAWN}))
        AND (len($2) = 0 OR list_contains($2, lower(trim(category))))
        AND ($1 = '{HUMAN}' OR coalesce(score, 0) >= $3)
    ORDER BY image_id, label_no
"""


@dataclass(frozen=True)
class Agreement:
    """Boxes of one name, or of all.

    `ap_50` and `ap`, which is the mean from IoU 0.50 to 0.95, are None where people drew nothing of
    that name; of all names they are the means.
    """

    name: str
    counts: Counts
    ap_50: float | None
    ap: float | None


@dataclass(frozen=True)
class HumanEvaluation:
    """`images` have human boxes; `categories` are people's, by name.

    `every` counts the model's boxes under other names too.
    """

    images: int
    every: Agreement
    categories: tuple[Agreement, ...]


def evaluate_human(
    connection: duckdb.DuckDBPyConnection, categories: Sequence[str] = (), min_score: float = 0.0
) -> HumanEvaluation:
    """All candidates of task od, whatever the judges said, on images with human boxes only.

    People's boxes count as exhaustive there: what the model found besides is wrong. Names are
    compared whatever their case. AnnotatorError where people drew none, or none of a category.
    """
    wanted = [name.strip().lower() for name in categories]
    _check_categories(connection, wanted)
    model, human = (
        connection.execute(_BOXES, [source, wanted, min_score]).to_arrow_table()
        for source in (MODEL, HUMAN)
    )
    found, true = found_and_true(model, human)
    precision = average_precision(found, true, COCO_IOUS)
    codes, first = np.unique(true.category, return_index=True)
    names = human["category"].take(pa.array(first)).to_pylist()
    rows = [
        Agreement(
            name,
            count_right(found.where(found.category == code), true.where(true.category == code)),
            *_averages([precision[code]] if code in precision else []),
        )
        for code, name in zip(codes.tolist(), names, strict=True)
    ]
    every = Agreement("all", count_right(found, true), *_averages(list(precision.values())))
    images = len(np.unique(true.image))
    return HumanEvaluation(images, every, tuple(sorted(rows, key=lambda row: row.name)))


def _averages(precision: Sequence[np.ndarray]) -> tuple[float | None, float | None]:
    """At IoU 0.5, and over all thresholds."""
    if not precision:
        return None, None
    values = np.stack(precision)
    return float(values[:, 0].mean()), float(values.mean())


def _check_categories(connection: duckdb.DuckDBPyConnection, wanted: Sequence[str]) -> None:
    sql = f"SELECT DISTINCT category FROM ({_DRAWN}) ORDER BY 1"
    drawn = [name for (name,) in connection.execute(sql).fetchall()]
    if not drawn:
        raise AnnotatorError(
            "this version holds no boxes that people drew: run the pipeline on shards with label "
            "files (`annotator shards pack FOLDER --labels …`)"
        )
    known = {name.strip().lower() for name in drawn}
    if unknown := [name for name in wanted if name not in known]:
        raise AnnotatorError(
            f"people drew nothing of category {unknown[0]!r} here: there is {', '.join(drawn)}"
        )
