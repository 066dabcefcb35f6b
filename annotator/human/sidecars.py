"""Human labels that travel with the image: `xml` (Pascal VOC), `coco.json`, `txt` (alt-text)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from annotator.human.coco import is_coco, read_coco
from annotator.human.labels import (
    UNREADABLE,
    Box,
    Caption,
    Label,
    SetAside,
    UnreadableSidecar,
)
from annotator.human.voc import read_voc
from schemas.samples import Problem, Sample
from schemas.tables import HUMAN

WEB = "web"
"""Source of an alt-text: words found with the image, not written as its label."""
READERS: dict[str, Callable[[bytes, int, int], Iterator[Label]]] = {
    "xml": read_voc,
    "coco.json": read_coco,
    "json": read_coco,
}
"""Suffix → reader of (content, width, height). A `json` that is no COCO document is no label."""

Row = dict[str, Any]
Numbered = TypeVar("Numbered", Box, Caption)


@dataclass(frozen=True)
class HumanLabels:
    """Rows of the tables `regions` and `texts`, without recipe and round.

    `looked`: a readable label file was there, so a person has looked, also when it is empty.
    """

    regions: list[Row]
    texts: list[Row]
    problems: list[Problem]
    looked: bool


def read_labels(sample: Sample, width: int, height: int) -> HumanLabels:
    """Labels of a sample whose decoded image has this size in pixels.

    A malformed label is set aside as a Problem; the others are numbered in the order of the file.
    A box that is partly outside the image is kept as the person drew it.
    """
    looked = False
    labels: list[Label] = []
    for suffix in READERS:
        if suffix in sample.members and _is_label_file(sample, suffix):
            found = _read_sidecar(sample, suffix, width, height)
            looked |= not any(isinstance(f, SetAside) and f.kind == UNREADABLE for f in found)
            labels += found
    alt, alt_problems = _read_alt(sample)
    return HumanLabels(
        [_region_row(sample, no, box) for no, box in _numbered(labels, Box)],
        [_text_row(sample, no, caption) for no, caption in _numbered(labels, Caption)] + alt,
        [_problem(sample, label) for label in labels if isinstance(label, SetAside)] + alt_problems,
        looked,
    )


def _is_label_file(sample: Sample, suffix: str) -> bool:
    """Broken JSON is taken for labels, so that it is named."""
    if suffix != "json":
        return True
    try:
        return is_coco(json.loads(sample.members[suffix]))
    except (ValueError, RecursionError):
        return True


def _read_sidecar(sample: Sample, suffix: str, width: int, height: int) -> list[Label]:
    content = sample.members[suffix]
    try:
        return list(READERS[suffix](content, width, height))
    except (UnreadableSidecar, RecursionError) as error:
        payload = content.decode("utf-8", "replace")
        return [SetAside(f"{sample.key}.{suffix}: {error}", payload, UNREADABLE)]


def _numbered(labels: list[Label], kind: type[Numbered]) -> Iterator[tuple[int, Numbered]]:
    return enumerate(label for label in labels if isinstance(label, kind))


def _region_row(sample: Sample, label_no: int, box: Box) -> Row:
    x0, y0, x1, y1 = box.bbox_xyxy
    return {
        **_key_columns(sample, HUMAN, label_no),
        "task": "od",
        "shape": "box" if box.points is None else "polygon",
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "points": box.points,
        "text": box.category,
        "category": box.category,
        "crowd": box.crowd,
    }


def _text_row(sample: Sample, label_no: int, caption: Caption) -> Row:
    columns = _key_columns(sample, HUMAN, label_no)
    return {**columns, "task": "caption", "level": "brief", "text": caption.text}


def _read_alt(sample: Sample) -> tuple[list[Row], list[Problem]]:
    try:
        text = sample.members.get("txt", b"").decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        payload = sample.members["txt"].decode("utf-8", "replace")
        aside = SetAside(f"{sample.key}.txt: no UTF-8: {error}", payload, UNREADABLE)
        return [], [_problem(sample, aside)]
    return [{**_key_columns(sample, WEB, 0), "level": "alt", "text": text}] if text else [], []


def _key_columns(sample: Sample, source: str, label_no: int) -> Row:
    return {
        "image_id": sample.image_id,
        "source": source,
        "label_no": label_no,
        "shard": sample.shard,
    }


def _problem(sample: Sample, aside: SetAside) -> Problem:
    return Problem(sample.shard, aside.kind, aside.detail, sample.key, aside.payload)
