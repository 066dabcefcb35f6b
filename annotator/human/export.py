"""Kept labels as files for other programs: JSON Lines with everything, COCO with the boxes."""

from __future__ import annotations

import itertools
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from annotator.errors import AnnotatorError
from schemas.tables import LABEL_TABLES, TABLES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = tuple[Any, ...]

IMAGE_KEYS = ("image_id", "key", "shard", "url", "width", "height", "state", "error")
NOT_REPEATED = {"image_id", "shard", "recipe", "round"}
"""Columns of a label that its image, or the tables, already tell."""
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Exported:
    """What a file holds."""

    images: int
    labels: int


def export_jsonl(
    connection: DuckDBPyConnection, output: Path, source: str | None = None
) -> Exported:
    """One JSON line per image, in the order of `image_id`: its columns and lists of kept labels.

    The lists are `texts`, `regions` and `phrases`; what is unknown is null. `source` keeps only
    the labels of one source. Rows are streamed: DuckDB sorts on disk where memory is short.
    """
    images = labels = 0
    rows = _rows(connection, _lines_sql(source), source)
    with _whole_file(output) as file:
        for _, group in itertools.groupby(rows, key=lambda row: row[0]):
            line, count = _line(group)
            file.write(line)
            images, labels = images + 1, labels + count
    return Exported(images, labels)


def export_coco(
    connection: DuckDBPyConnection, output: Path, source: str | None = None
) -> Exported:
    """COCO instances: kept regions that have a category, on images whose size is known.

    `bbox` is x, y, width, height in pixels, not rounded; `segmentation` lists the parts of a
    polygon or quad and is empty for a box; `score` is there where the label has one. Ids count
    from 1: images by `image_id`, categories by name, labels by image, source and number.
    """
    where = _of_source(source)
    names = [row[0] for row in _rows(connection, COCO_CATEGORIES.format(where=where), source)]
    ids = {name: number for number, name in enumerate(names, start=1)}
    with _whole_file(output) as file:
        file.write('{"info":{"description":"kept regions, exported by annotator"},"licenses":[]')
        images = _write_array(file, "images", map(_coco_image, _rows(connection, COCO_IMAGES)))
        regions = _rows(connection, COCO_REGIONS.format(where=where), source)
        numbered = enumerate(regions, start=1)
        labels = _write_array(
            file, "annotations", (_coco_label(n, row, ids) for n, row in numbered)
        )
        _write_array(file, "categories", ({"id": ids[name], "name": name} for name in names))
        file.write("}\n")
    return Exported(images, labels)


def _lines_sql(source: str | None) -> str:
    """Rows (image_id, kind, JSON): an image's own row first, then its labels."""
    image = _json_sql(IMAGE_KEYS)
    selects = [
        f"SELECT image_id, '' AS kind, '' AS source, 0 AS label_no, {image} AS json FROM images"
    ]
    for kind, table in LABEL_TABLES.items():
        label = _json_sql(["label_id", *(n for n in TABLES[table].names if n not in NOT_REPEATED)])
        selects.append(
            f"SELECT image_id, '{kind}', source, label_no, {label} FROM {table}"
            f" WHERE {_of_source(source)}"
        )
    rows = " UNION ALL ".join(selects)
    return f"SELECT image_id, kind, json FROM ({rows}) ORDER BY image_id, kind, source, label_no"


def _json_sql(columns: Sequence[str]) -> str:
    return "to_json({" + ", ".join(f"'{name}': {name}" for name in columns) + "})"


def _of_source(source: str | None) -> str:
    return "source = $1" if source else "true"


def _rows(connection: DuckDBPyConnection, sql: str, *parameters: str | None) -> Iterator[Row]:
    """The rows of a query, some at a time."""
    answer = connection.execute(sql, [value for value in parameters if value is not None])
    while batch := answer.fetchmany(ROWS_AT_ONCE):
        yield from batch


def _line(group: Iterable[Row]) -> tuple[str, int]:
    """One image's rows → its JSON line, and how many labels it holds."""
    found: dict[str, list[str]] = {"": [], **{kind: [] for kind in LABEL_TABLES}}
    for _, kind, text in group:
        found[kind].append(text)
    lists = [f'"{table}":[{",".join(found[kind])}]' for kind, table in LABEL_TABLES.items()]
    count = sum(len(found[kind]) for kind in LABEL_TABLES)
    return ",".join([found[""][0][:-1], *lists]) + "}\n", count


COCO_IMAGES = """
    SELECT row_number() OVER (ORDER BY image_id) AS id, image_id, url, width, height
    FROM images WHERE width IS NOT NULL ORDER BY image_id
"""
COCO_CATEGORIES = """
    SELECT DISTINCT category FROM regions
    WHERE category IS NOT NULL AND {where} ORDER BY category
"""
COCO_REGIONS = (
    "WITH numbered AS ("
    + COCO_IMAGES
    + """)
    SELECT numbered.id, category, x0, y0, x1, y1, points, coalesce(crowd, false), score, source,
        label_id
    FROM regions JOIN numbered USING (image_id)
    WHERE category IS NOT NULL AND {where}
    ORDER BY image_id, source, label_no
"""
)


def _coco_image(row: Row) -> dict[str, Any]:
    number, image_id, url, width, height = row
    return {
        "id": number,
        "file_name": image_id,
        "width": width,
        "height": height,
        "shard_url": url,
    }


def _coco_label(number: int, row: Row, ids: Mapping[str, int]) -> dict[str, Any]:
    image, category, x0, y0, x1, y1, points, crowd, score, source, label_id = row
    label = {
        "id": number,
        "image_id": image,
        "category_id": ids[category],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": sum(map(_area, points)) if points else (x1 - x0) * (y1 - y0),
        "segmentation": points or [],
        "iscrowd": int(crowd),
        "source": source,
        "label_id": label_id,
    }
    return label if score is None else {**label, "score": score}


def _area(part: Sequence[float]) -> float:
    """Area of a polygon given as x,y,x,y… (the shoelace formula)."""
    xs, ys = np.asarray(part, dtype=np.float64).reshape(-1, 2).T
    return float(abs(xs @ np.roll(ys, -1) - ys @ np.roll(xs, -1)) / 2)


def _write_array(file: TextIO, name: str, values: Iterable[Mapping[str, Any]]) -> int:
    """A JSON array, one value per line, after what is there; returns its length."""
    count = 0
    file.write(f',\n"{name}":[')
    for count, value in enumerate(values, start=1):
        file.write(",\n" if count > 1 else "\n")
        file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    file.write("]")
    return count


@contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    """A file that appears under its name only when everything has been written."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise AnnotatorError(
            f"{path}: cannot be written ({reason}); choose another --output"
        ) from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
