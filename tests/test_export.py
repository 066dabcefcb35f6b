import json
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from annotator.errors import AnnotatorError
from annotator.human.export import Exported, export_coco, export_jsonl
from schemas.annotations import Annotations
from schemas.tables import LABEL_TABLES


def row(image_id: str, label_no: int, source: str = "model", **columns: object) -> dict:
    return {"image_id": image_id, "source": source, "label_no": label_no, **columns}


def corners(x0: float, y0: float, x1: float, y1: float) -> dict[str, float]:
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1}


IMAGES = [
    {"image_id": "b/2", "shard": "b", "key": "2", "url": "b.tar", "width": 50, "height": 40},
    {"image_id": "a/1", "shard": "a", "key": "1", "url": "a.tar", "width": 100, "height": 80},
    {
        "image_id": "c/3",
        "shard": "c",
        "key": "3",
        "url": "c.tar",
        "state": "failed",
        "error": "cut",
    },
]
TEXTS = [row("a/1", 0, level="brief", text="Un café <b>")]
TRIANGLE = [[0, 0, 10, 0, 10, 20]]
REGIONS = [
    row("b/2", 0, category="zebra", score=0.5, points=TRIANGLE, **corners(0, 0, 10, 20)),
    row("a/1", 1, category="ant", crowd=True, **corners(1.25, 2.5, 11.5, 22.5)),
    row("a/1", 0, source="human", category="zebra", **corners(1, 2, 3, 6)),
    row("a/1", 0, text="a grey stone", **corners(5, 5, 9, 9)),
]
PHRASES = [row("a/1", 0, phrase="café", char_start=3, char_end=7)]


def connect(**rows: list[dict]) -> duckdb.DuckDBPyConnection:
    """With views as those of the lake: the public id stands first."""
    made = Annotations.of(**rows)
    connection = duckdb.connect()
    connection.register("images", made.images)
    for kind, name in LABEL_TABLES.items():
        labels = made.labels(kind)
        ids = [label_id(kind, label) for label in labels.to_pylist()]
        connection.register(name, labels.add_column(0, "label_id", pa.array(ids, pa.string())))
    return connection


def label_id(kind: str, label: dict) -> str:
    return f"{label['image_id']}/{label['source']}/{kind}/{label['label_no']}"


@pytest.fixture
def tables() -> duckdb.DuckDBPyConnection:
    return connect(images=IMAGES, texts=TEXTS, regions=REGIONS, phrases=PHRASES)


def test_jsonl_has_one_line_per_image_in_order_with_its_labels(tables, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    assert export_jsonl(tables, output) == Exported(images=3, labels=6)
    first, second, third = [json.loads(line) for line in output.read_text().splitlines()]
    assert [first["image_id"], second["image_id"], third["image_id"]] == ["a/1", "b/2", "c/3"]
    assert [label["label_id"] for label in first["regions"]] == [
        "a/1/human/region/0",
        "a/1/model/region/0",
        "a/1/model/region/1",
    ]
    assert first["texts"][0]["text"] == "Un café <b>"
    assert first["phrases"][0]["char_start"] == 3
    assert (second["regions"][0]["score"], first["regions"][0]["score"]) == (0.5, None)
    assert second["regions"][0]["points"] == [[0, 0, 10, 0, 10, 20]]
    assert (third["error"], third["regions"], third["width"]) == ("cut", [], None)


def test_one_source_can_be_exported_alone(tables, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    assert export_jsonl(tables, output, source="human") == Exported(images=3, labels=1)
    assert export_coco(tables, output, source="human") == Exported(images=2, labels=1)
    assert [category["name"] for category in json.loads(output.read_text())["categories"]] == [
        "zebra"
    ]


def test_coco_holds_boxes_polygons_crowds_and_scores(tables, tmp_path: Path) -> None:
    output = tmp_path / "labels.json"
    assert export_coco(tables, output) == Exported(images=2, labels=3)
    coco = json.loads(output.read_text())
    assert coco["categories"] == [{"id": 1, "name": "ant"}, {"id": 2, "name": "zebra"}]
    assert [(image["id"], image["file_name"]) for image in coco["images"]] == [
        (1, "a/1"),
        (2, "b/2"),
    ]
    human, crowd, polygon = coco["annotations"]
    assert human == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "bbox": [1.0, 2.0, 2.0, 4.0],
        "area": 8.0,
        "segmentation": [],
        "iscrowd": 0,
        "source": "human",
        "label_id": "a/1/human/region/0",
    }
    assert (crowd["id"], crowd["iscrowd"], crowd["bbox"]) == (2, 1, [1.25, 2.5, 10.25, 20.0])
    assert polygon["segmentation"] == [[0, 0, 10, 0, 10, 20]]
    assert (polygon["area"], polygon["bbox"]) == (100.0, [0, 0, 10, 20])
    assert (polygon["score"], polygon["category_id"], polygon["image_id"]) == (0.5, 2, 2)


def test_pycocotools_reads_the_coco_file(tables, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    output = tmp_path / "labels.json"
    export_coco(tables, output)
    loaded = coco.COCO(str(output))
    assert sorted(loaded.getAnnIds(catIds=[2])) == [1, 3]
    assert loaded.annToRLE(loaded.loadAnns([3])[0])["size"] == [40, 50]


def test_an_empty_table_gives_a_valid_empty_file(tmp_path: Path) -> None:
    export_coco(connect(), tmp_path / "empty.json")
    coco = json.loads((tmp_path / "empty.json").read_text())
    assert (coco["images"], coco["annotations"], coco["categories"]) == ([], [], [])


def test_more_rows_than_one_fetch_are_all_written(tmp_path: Path) -> None:
    images = [{"image_id": f"s/{n:05}", "width": 9, "height": 9} for n in range(2_500)]
    regions = [
        row(f"s/{n:05}", k, category="c", **corners(0, 0, 1, 1))
        for n in range(2_500)
        for k in range(2)
    ]
    connection = connect(images=images, regions=regions)
    expected = Exported(images=2_500, labels=5_000)
    assert export_jsonl(connection, tmp_path / "a.jsonl") == expected
    assert export_coco(connection, tmp_path / "a.json") == expected


@pytest.mark.parametrize("export", [export_jsonl, export_coco])
def test_nothing_half_written_is_left_behind(export, tables, tmp_path: Path) -> None:
    tables.unregister("regions")
    with pytest.raises(duckdb.CatalogException, match="regions"):
        export(tables, tmp_path / "labels")
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_an_output_that_cannot_be_written_is_one_sentence(tables, tmp_path: Path) -> None:
    with pytest.raises(AnnotatorError, match=r"No such file or directory.*choose another --output"):
        export_jsonl(tables, tmp_path / "missing" / "labels.jsonl")
