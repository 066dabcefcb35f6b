"""Human labels from sidecars: exact numbers in, malformed ones set aside with the reason."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.human.sidecars import HumanLabels, read_labels
from annotator.packing import pack_folder
from annotator.shards import expand_shards, read_shard
from schemas.annotations import Annotations
from schemas.samples import Sample, decode_image

DATA = Path(__file__).parents[2] / "shared" / "data"

OBJECT = (
    "<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin>"
    "<xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"
)
GOOD_BOX = OBJECT.format(1, 2, 30.5, 40, name="cat")


def labels(width: int = 100, height: int = 80, **members: str | bytes) -> HumanLabels:
    encoded = {
        suffix.replace("_", "."): text.encode() if isinstance(text, str) else text
        for suffix, text in members.items()
    }
    return read_labels(Sample("s", "k", encoded), width, height)


def voc(*objects: str) -> str:
    return "<annotation>" + "".join(objects) + "</annotation>"


def coco(*annotations: object, **image: object) -> str:
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "k.jpg", **image}],
            "annotations": [
                {"image_id": 1, **entry} if isinstance(entry, dict) else entry
                for entry in annotations
            ],
            "categories": [{"id": 18, "name": "dog"}],
        }
    )


def bbox(*sides: object, **more: object) -> dict[str, object]:
    return {"category_id": 18, "bbox": list(sides), **more}


def test_a_voc_box_is_a_region_with_the_numbers_of_the_file() -> None:
    found = labels(xml=voc(GOOD_BOX))
    assert found.regions == [
        {
            "image_id": "s/k",
            "source": "human",
            "label_no": 0,
            "shard": "s",
            "task": "od",
            "shape": "box",
            "x0": 1.0,
            "y0": 2.0,
            "x1": 30.5,
            "y1": 40.0,
            "points": None,
            "text": "cat",
            "category": "cat",
            "crowd": False,
        }
    ]
    assert (found.texts, found.problems, found.looked) == ([], [], True)


def test_rows_fit_the_tables() -> None:
    found = labels(xml=voc(GOOD_BOX), txt="words", coco_json=coco({"caption": "a dog"}))
    tables = Annotations.of(regions=found.regions, texts=found.texts)
    assert tables.regions["score"].to_pylist() == [None]
    assert tables.texts["source"].to_pylist() == ["human", "web"]


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        pytest.param(
            OBJECT.format(5, 6, 5, 6, name="cat"),
            "cat: zero area: x0 y0 x1 y1 = 5 6 5 6",
            id="a point",
        ),
        pytest.param(
            OBJECT.format(9, 6, 5, 8, name="cat"),
            "cat: negative side: x0 y0 x1 y1 = 9 6 5 8",
            id="inverted",
        ),
        pytest.param(
            OBJECT.format("nan", 6, 5, 8, name="cat"),
            "cat: a coordinate is no finite number: x0 y0 x1 y1 = nan 6 5 8",
            id="NaN",
        ),
        pytest.param(
            OBJECT.format(0, 0, "1e300", 8, name="cat"),
            "cat: a coordinate is no finite number: x0 y0 x1 y1 = 0 0 1e+300 8",
            id="too large for float32",
        ),
        pytest.param(
            OBJECT.format("?", "x", 5, 8, name="cat"),
            "cat: a coordinate is no number: xmin='?' ymin='x' xmax='5' ymax='8'",
            id="no numbers",
        ),
        pytest.param(
            OBJECT.format(100, 0, 120, 8, name="cat"),
            "cat: outside the image of 100x80 pixels: x0 y0 x1 y1 = 100 0 120 8",
            id="outside",
        ),
        pytest.param(
            OBJECT.format(-9, 0, 0, 8, name="cat"),
            "cat: outside the image of 100x80 pixels: x0 y0 x1 y1 = -9 0 0 8",
            id="left of the image",
        ),
        pytest.param(OBJECT.format(1, 2, 3, 4, name=" "), "no name", id="no name"),
        pytest.param("<object><name>cat</name></object>", "cat: no bndbox", id="no bndbox"),
    ],
)
def test_a_malformed_voc_box_is_set_aside_with_its_text(element: str, reason: str) -> None:
    found = labels(xml=voc(element, GOOD_BOX))
    assert [(row["label_no"], row["x1"]) for row in found.regions] == [(0, 30.5)]
    (problem,) = found.problems
    assert (problem.kind, problem.detail, problem.key) == ("malformed_label", reason, "k")
    assert problem.payload == element


def test_a_box_partly_outside_stays_as_the_person_drew_it() -> None:
    found = labels(xml=voc(OBJECT.format(-5, -1.5, 200, 300, name="cat")))
    assert [found.regions[0][side] for side in ("x0", "y0", "x1", "y1")] == [-5, -1.5, 200, 300]
    assert found.problems == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        pytest.param({"xml": "<annotation><obj"}, "k.xml: broken XML", id="broken XML"),
        pytest.param({"xml": ""}, "k.xml: broken XML", id="empty XML"),
        pytest.param(
            {"xml": '<?xml version="1.0" encoding="klingon"?><a/>'},
            "k.xml: broken XML",
            id="unknown encoding",
        ),
        pytest.param(
            {"xml": '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'},
            "k.xml: XML with entities or references is refused",
            id="an entity bomb",
        ),
        pytest.param({"xml": "<html/>"}, "no Pascal VOC: the root is <html>", id="other XML"),
        pytest.param({"coco_json": "{"}, "k.coco.json: broken JSON", id="broken JSON"),
        pytest.param({"coco_json": b"\xff\xfe\xff"}, "broken JSON", id="no text"),
        pytest.param({"coco_json": "[" * 100_000}, "broken JSON", id="nested without end"),
        pytest.param({"coco_json": "[]"}, "it needs lists `images`", id="no COCO"),
        pytest.param(
            {"coco_json": '{"images": [], "annotations": []}'},
            "about 0 images; a sidecar is about its own",
            id="COCO without an image",
        ),
        pytest.param({"json": "{"}, "k.json: broken JSON", id="broken metadata"),
        pytest.param({"txt": b"caf\xe9"}, "k.txt: no UTF-8", id="text in another encoding"),
    ],
)
def test_an_unreadable_sidecar_is_named_and_nobody_has_looked(
    members: dict[str, str | bytes], reason: str
) -> None:
    found = labels(**members)
    (problem,) = found.problems
    assert problem.kind == "unreadable_sidecar"
    assert reason in problem.detail
    assert (found.regions, found.texts, found.looked) == ([], [], False)
    assert problem.payload is not None


@pytest.mark.parametrize(
    ("members", "looked"),
    [
        pytest.param({}, False, id="no sidecar"),
        pytest.param({"txt": "words"}, False, id="only an alt-text"),
        pytest.param({"json": '{"licence": "CC0"}'}, False, id="only metadata"),
        pytest.param({"xml": "<annotation/>"}, True, id="an empty VOC file"),
        pytest.param({"coco_json": coco()}, True, id="an empty COCO document"),
        pytest.param({"json": coco()}, True, id="COCO under the suffix json"),
    ],
)
def test_a_label_file_means_that_a_person_has_looked(
    members: dict[str, str | bytes], looked: bool
) -> None:
    assert labels(**members).looked is looked


def test_coco_boxes_become_corners_and_polygons_keep_their_parts() -> None:
    parts = [[1.25, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11.5, 12, 13, 14]]
    found = labels(coco_json=coco(bbox(10.5, 20, 5.25, 6, segmentation=parts, iscrowd=0)))
    (row,) = found.regions
    assert [row[side] for side in ("x0", "y0", "x1", "y1")] == [10.5, 20, 15.75, 26]
    assert (row["shape"], row["points"], row["category"]) == ("polygon", parts, "dog")
    assert found.problems == []


def test_of_a_crowd_the_box_is_kept() -> None:
    mask = {"counts": [1, 2], "size": [80, 100]}
    found = labels(coco_json=coco(bbox(0, 0, 5, 5, segmentation=mask, iscrowd=1)))
    assert [(row["shape"], row["crowd"]) for row in found.regions] == [("box", True)]
    assert found.problems == []


def test_captions_are_brief_texts_and_the_alt_text_is_from_the_web() -> None:
    found = labels(
        coco_json=coco({"caption": " a dog "}, {"caption": "two dogs"}), txt="\ufeffbuy now\n"
    )
    columns = ("source", "label_no", "task", "level", "text")
    assert [tuple(row.get(name) for name in columns) for row in found.texts] == [
        ("human", 0, "caption", "brief", "a dog"),
        ("human", 1, "caption", "brief", "two dogs"),
        ("web", 0, None, "alt", "buy now"),
    ]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        pytest.param(bbox(1, 1, 0, 5), "dog: zero area: x0 y0 x1 y1 = 1 1 1 6", id="no width"),
        pytest.param(bbox(5, 1, -2, 5), "dog: negative side: x0 y0 x1 y1 = 5 1 3 6", id="negative"),
        pytest.param(bbox(1, 1, 5), "dog: bbox is not four numbers: [1, 1, 5]", id="three numbers"),
        pytest.param(bbox(1, 1, "5", 5), "dog: bbox is not four numbers", id="text"),
        pytest.param(bbox(1, 1, float("nan"), 5), "dog: bbox is not four numbers", id="NaN"),
        pytest.param(bbox(1, 1, 10**400, 5), "dog: bbox is not four numbers", id="huge"),
        pytest.param(
            {"bbox": [1, 1, 5, 5], "category_id": 9},
            "no name: category_id 9 is not among the categories",
            id="unknown category",
        ),
        pytest.param({"bbox": [1, 1, 5, 5], "category_id": []}, "no name", id="odd category"),
        pytest.param({"caption": "  "}, "a caption without words", id="no words"),
        pytest.param(
            {**bbox(1, 1, 5, 5), "image_id": 2}, "of image 2, not of this one", id="another image"
        ),
    ],
)
def test_a_malformed_coco_label_is_set_aside_with_its_text(
    annotation: dict[str, object], reason: str
) -> None:
    found = labels(coco_json=coco(annotation, bbox(1, 1, 5, 5)))
    assert [row["label_no"] for row in found.regions] == [0]
    (problem,) = found.problems
    assert problem.kind == "malformed_label"
    assert problem.detail.startswith(reason)
    assert json.loads(problem.payload or "")["image_id"] in (1, 2)


def test_a_broken_polygon_costs_the_polygon_not_the_box() -> None:
    found = labels(coco_json=coco(bbox(1, 1, 5, 5, segmentation=[[1, 2, 3, 4]])))
    assert [row["shape"] for row in found.regions] == ["box"]
    assert found.problems[0].detail.endswith("its box is kept")


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(
            {"xml": voc("<size><width>64</width><height>80</height></size>")}, id="Pascal VOC"
        ),
        pytest.param({"coco_json": coco(width=64, height=80)}, id="COCO"),
    ],
)
def test_labels_for_another_size_of_image_are_remarked(members: dict[str, str | bytes]) -> None:
    found = labels(**members)
    assert [(p.kind, p.detail) for p in found.problems] == [
        ("size_mismatch", "the labels are for 64x80 pixels, the image has 100x80")
    ]
    assert found.looked


def test_half_characters_do_not_reach_the_tables() -> None:
    found = labels(coco_json=coco({"caption": "a \ud800 dog"}))
    assert found.texts[0]["text"] == "a ? dog"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        name: JSON for name in ("image_id", "category_id", "bbox", "segmentation", "caption")
    },
)


@settings(max_examples=100, deadline=None)
@given(entries=st.lists(ENTRY, max_size=3), image=ENTRY, categories=st.lists(ENTRY, max_size=2))
def test_no_coco_document_whatsoever_is_fatal(
    entries: list[object], image: object, categories: list[object]
) -> None:
    document = {"images": [image], "annotations": entries, "categories": categories}
    found = labels(coco_json=json.dumps(document))
    Annotations.of(regions=found.regions, texts=found.texts)
    assert len(found.regions) + len(found.texts) + len(found.problems) >= len(entries)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=60))
def test_no_bytes_whatsoever_are_fatal(content: bytes) -> None:
    found = labels(xml=content, coco_json=content, json=content, txt=content)
    assert found.regions == []


# --- real labels ---------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="the real photographs are not on this machine")
@pytest.mark.parametrize(
    ("name", "images", "boxes", "captions", "aside"),
    [
        pytest.param("bccd", 364, 4886, 0, 2, id="BCCD"),
        pytest.param("coco_ccby", 104, 1041, 415, 0, id="COCO"),
    ],
)
def test_real_labels_are_counted_exactly(
    tmp_path: Path, name: str, images: int, boxes: int, captions: int, aside: int
) -> None:
    pack_folder(DATA / name, tmp_path)
    found = []
    for ref in expand_shards(["*.tar"], tmp_path):
        for sample in read_shard(ref):
            assert isinstance(sample, Sample), sample
            found.append(read_labels(sample, *decode_image(sample).size))
    assert len(found) == images
    assert all(labels.looked for labels in found)
    assert sum(len(labels.regions) for labels in found) == boxes
    assert sum(len(labels.texts) for labels in found) == captions
    problems = [problem for labels in found for problem in labels.problems]
    assert [problem.kind for problem in problems] == ["malformed_label"] * aside
    assert all("zero area" in problem.detail for problem in problems)
