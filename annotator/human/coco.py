"""A COCO JSON document about one image → boxes, polygons, captions.

Boxes are x, y, width, height in the file and x0, y0, x1, y1 here. Run-length masks are not
decoded: of a crowd the box is kept.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from annotator.human.labels import (
    SIZE_MISMATCH,
    Box,
    Caption,
    Label,
    SetAside,
    UnreadableSidecar,
    why_malformed,
    without_surrogates,
)

Json = Mapping[str, Any]


def parse_coco(content: bytes) -> Json:
    """The document; UnreadableSidecar where it is no JSON or lacks COCO's lists."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableSidecar(f"broken JSON: {error}") from error
    if not is_coco(document):
        raise UnreadableSidecar("no COCO document: it needs lists `images` and `annotations`")
    return document  # type: ignore[no-any-return]  # is_coco has looked


def is_coco(document: object) -> bool:
    """Whether it has COCO's two lists, of objects."""
    if not isinstance(document, dict):
        return False
    lists = [document.get("images"), document.get("annotations"), document.get("categories", [])]
    return all(
        isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
        for entries in lists
    )


def read_coco(content: bytes, width: int, height: int) -> Iterator[Label]:
    """Labels in the order of the file; UnreadableSidecar where it is not about one image."""
    document = parse_coco(content)
    if len(document["images"]) != 1:
        raise UnreadableSidecar(
            f"the document is about {len(document['images'])} images; a sidecar is about its own"
        )
    image = document["images"][0]
    yield from _size_mismatch(image, width, height)
    names = category_names(document)
    for annotation in document["annotations"]:
        if annotation.get("image_id") == image.get("id"):
            yield from _read_annotation(annotation, names, width, height)
        else:
            yield SetAside(
                f"of image {annotation.get('image_id')!r}, not of this one",
                _source_text(annotation),
            )


def category_names(document: Json) -> dict[Any, str]:
    """Category id → name, without entries that lack either."""
    return {
        entry["id"]: without_surrogates(entry["name"]).strip()
        for entry in document.get("categories", [])
        if isinstance(entry.get("id"), int | str) and isinstance(entry.get("name"), str)
    }


def _size_mismatch(image: Json, width: int, height: int) -> Iterator[SetAside]:
    stated = (image.get("width"), image.get("height"))
    if all(stated) and stated != (width, height):
        detail = (
            f"the labels are for {stated[0]}x{stated[1]} pixels, the image has {width}x{height}"
        )
        yield SetAside(detail, kind=SIZE_MISMATCH)


def _read_annotation(
    annotation: Json, names: Mapping[Any, str], width: int, height: int
) -> Iterator[Label]:
    if "caption" in annotation and "bbox" not in annotation:
        yield _read_caption(annotation)
        return
    parts, complaint = _read_polygon(annotation.get("segmentation"))
    found = _read_box(annotation, names, parts, width, height)
    if isinstance(found, str):
        yield SetAside(found, _source_text(annotation))
        return
    yield found
    if complaint:
        detail = f"{found.category}: {complaint}; its box is kept"
        yield SetAside(detail, _source_text(annotation))


def _read_caption(annotation: Json) -> Caption | SetAside:
    caption = annotation["caption"]
    if not isinstance(caption, str) or not caption.strip():
        return SetAside("a caption without words", _source_text(annotation))
    return Caption(without_surrogates(caption).strip())


def _read_box(
    annotation: Json,
    names: Mapping[Any, str],
    parts: list[list[float]] | None,
    width: int,
    height: int,
) -> Box | str:
    """The box, or why it is malformed."""
    category = annotation.get("category_id")
    name = names.get(category) if isinstance(category, int | str) else None
    if not name:
        return f"no name: category_id {category!r} is not among the categories"
    sides = _numbers(annotation.get("bbox"))
    if sides is None or len(sides) != 4:
        return f"{name}: bbox is not four numbers: {annotation.get('bbox')!r}"
    x, y, box_width, box_height = sides
    bbox_xyxy = (x, y, x + box_width, y + box_height)
    if reason := why_malformed(bbox_xyxy, width, height):
        return f"{name}: {reason}"
    return Box(name, bbox_xyxy, parts, crowd=annotation.get("iscrowd") in (1, True))


def _read_polygon(segmentation: object) -> tuple[list[list[float]] | None, str | None]:
    """Parts, and why they cannot be used; neither for a run-length mask and where there is none."""
    if not isinstance(segmentation, list) or not segmentation:
        return None, None
    parts = [_numbers(part) for part in segmentation]
    if any(part is None or len(part) < 6 or len(part) % 2 for part in parts):
        return None, "a part of the polygon is not three or more pairs of numbers"
    return [part for part in parts if part is not None], None


def _numbers(values: object) -> list[float] | None:
    """Finite floats that fit the tables, or None."""
    if not isinstance(values, list):
        return None
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return None
    if not all(abs(value) < 1e30 for value in values):  # also False for NaN
        return None
    return [float(value) for value in values]


def _source_text(annotation: Json) -> str:
    return without_surrogates(json.dumps(annotation, ensure_ascii=False))
