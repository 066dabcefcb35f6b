"""Stored candidates of drawn scenes, and which of them are right.

A caption is wrong if it names a thing, by colour and kind, or a printed word that its scene does
not have, or one more often than the scene. A triplet is right if its box has an IoU of 0.5 or more
with a thing, or a printed word, that its phrase names, and its caption names the same, by colour
and kind. An object, a dense caption or a proposal is right if COCO's matching gives it a true
region of its own, of its task and words, at an IoU of 0.5 or more: a second box of one thing is
wrong. A grounded region is right likewise, within its caption, by what its phrase names. All other
labels are not known.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotator import open_tables
from annotator.evaluation.detection import (
    Counts,
    Places,
    box_overlaps,
    count_right,
    match,
    turns_within,
)
from annotator.evaluation.detection import group_codes as groups_of
from annotator.evaluation.tables import found_and_true
from annotator.scenes import language, world
from annotator.scenes.draw import Scene, Thing
from annotator.scenes.source import parse_shard, ref_of, scenes_of
from schemas.annotations import Annotations, local_ids, region_labels, table_of
from schemas.boxes import iou
from schemas.columns import Flags, is_in
from schemas.ids import image_id
from schemas.tables import TABLES

OBJECT_TASKS = ("od", "dense_region_caption", "region_proposal")
GROUNDING = "caption_to_phrase_grounding"
_THING = re.compile(rf"({'|'.join(world.COLOURS)}) ({'|'.join(world.KINDS)})(s|es)?\b")
_WORD = re.compile(r"\bword ([A-Z]+)\b")
_MIN_IOU = 0.5
_CAPTIONS = ("brief", "detailed", "more_detailed")
Box = tuple[float, float, float, float]
NamedBoxes = dict[str, list[Box]]


@dataclass(frozen=True)
class Truth:
    """By kind of label, one entry per row: is it known whether it is right, and is it?"""

    known: dict[str, Flags]
    right: dict[str, Flags]
    objects: "Objects"

    @classmethod
    def of(cls, candidates: Annotations) -> "Truth":
        scenes = dict(drawn(candidates))
        named = {image: named_boxes(scene) for image, scene in scenes.items()}
        objects = Objects.of(candidates, scenes, named)
        texts = [says_the_truth(t["text"], named[t["image_id"]]) for t in rows(candidates.texts)]
        return cls(
            known={
                "text": is_in(candidates.texts["level"], _CAPTIONS),
                "region": is_in(candidates.regions["task"], (*OBJECT_TASKS, GROUNDING)),
                "phrase": np.ones(len(candidates.phrases), dtype=bool),
            },
            right={
                "text": np.array(texts, dtype=bool),
                "region": objects.right,
                "phrase": right_phrases(candidates, named),
            },
            objects=objects,
        )


@dataclass(frozen=True)
class Objects:
    """Found and true regions; an image of `found` and `true` is one answer to a task about one
    image."""

    found: Places
    true: Places
    found_task: pa.ChunkedArray
    true_task: pa.ChunkedArray
    right: Flags

    @classmethod
    def of(
        cls, candidates: Annotations, scenes: dict[str, Scene], named: dict[str, NamedBoxes]
    ) -> "Objects":
        regions = candidates.regions
        things = pa.concat_tables([true_regions(scenes), true_groundings(candidates.texts, named)])
        found, true = found_and_true(asked_apart(regions), asked_apart(things))
        overlaps = box_overlaps(found, true)
        partner = match(overlaps, turns_within(groups_of(found), found.score), true.crowd, _MIN_IOU)
        return cls(found, true, regions["task"], things["task"], partner >= 0)

    def counts(self, kept: Flags, task: str = "") -> Counts:
        """Matched anew: a true region whose partner is gone is free for the next."""
        tasks = (task,) if task else OBJECT_TASKS
        found = self.found.where(kept & is_in(self.found_task, tasks))
        return count_right(found, self.true.where(is_in(self.true_task, tasks)), _MIN_IOU)


def read_candidates(folder: Path) -> Annotations:
    """Of a table folder, whatever was said of them."""
    tables = open_tables(folder)
    views = {"texts": "all_texts", "regions": "all_regions", "phrases": "all_phrases"}
    names = {"images": "images", **views}
    read = {
        name: tables.sql(f"SELECT {', '.join(TABLES[name].names)} FROM {view}").to_arrow()
        for name, view in names.items()
    }
    return Annotations.of().with_tables(
        **{name: table.cast(TABLES[name]) for name, table in read.items()}
    )


def drawn(candidates: Annotations) -> Iterator[tuple[str, Scene]]:
    for url in sorted(set(candidates.images["url"].to_pylist())):
        address = parse_shard(url)
        shard = ref_of(address).name
        for key, scene in scenes_of(address):
            yield image_id(shard, key), scene


def named_boxes(scene: Scene) -> NamedBoxes:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for thing in scene.things:
        boxes[f"{thing.colour} {thing.category}"].append(thing.bbox_xyxy)
    for word in scene.words:
        boxes[word.text].append(word.bbox_xyxy)
    return boxes


def right_phrases(candidates: Annotations, named: dict[str, NamedBoxes]) -> Flags:
    regions = dict(zip(keys_of(candidates.regions), rows(candidates.regions), strict=True))
    texts = zip(keys_of(candidates.texts), rows(candidates.texts), strict=True)
    said = {key: row["text"] for key, row in texts}
    right = [
        shows_it(row, regions, named[row["image_id"]]) and names_it(row, said)
        for row in rows(candidates.phrases)
    ]
    return np.array(right, dtype=bool)


def rows(labels: pa.Table) -> list[dict[str, Any]]:
    return labels.to_pylist()


def names_in(text: str) -> list[str]:
    lower = (text or "").lower()
    things = [f"{colour} {kind}" for colour, kind, _ in _THING.findall(lower)]
    return [*things, *_WORD.findall(text or "")]


def says_the_truth(text: str, truth: NamedBoxes) -> bool:
    return all(times <= len(truth.get(name, ())) for name, times in Counter(names_in(text)).items())


def shows_it(row: dict[str, Any], regions: dict[Any, Any], truth: NamedBoxes) -> bool:
    region = regions.get((row["image_id"], row["region_source"], row["region_no"]))
    true = [box for name in names_in(row["phrase"]) for box in truth.get(name, ())]
    if region is None or not true:
        return False
    found = np.array([[region[side] for side in ("x0", "y0", "x1", "y1")]])
    return bool(iou(found, np.array(true)).max() >= _MIN_IOU)


def names_it(row: dict[str, Any], said: dict[Any, str]) -> bool:
    caption = said.get((row["image_id"], row["text_source"], row["text_no"]), "")
    return set(names_in(row["phrase"])) <= set(names_in(caption))


def keys_of(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = (table[name].to_pylist() for name in ("image_id", "source", "label_no"))
    return list(zip(*columns, strict=True))


def true_regions(scenes: dict[str, Scene]) -> pa.Table:
    return table_of(
        "regions",
        [
            {"image_id": image, "task": task, "category": words, **sides(thing.bbox_xyxy)}
            for image, scene in scenes.items()
            for thing in scene.things
            for task, words in answers(thing)
        ],
    )


def true_groundings(texts: pa.Table, named: dict[str, NamedBoxes]) -> pa.Table:
    """All that is in its image, for every caption."""
    captions = texts.filter(pa.array(is_in(texts["level"], _CAPTIONS)))
    return table_of(
        "regions",
        [
            {
                "image_id": image,
                "task": GROUNDING,
                "parent": parent,
                "category": name,
                **sides(box),
            }
            for image, parent in zip(
                captions["image_id"].to_pylist(),
                local_ids(captions, "text").to_pylist(),
                strict=True,
            )
            for name, boxes in named[image].items()
            for box in boxes
        ],
    )


def sides(box: Box) -> dict[str, float]:
    return dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))


def answers(thing: Thing) -> Iterator[tuple[str, str]]:
    yield from zip(OBJECT_TASKS, (thing.category, language.describe(thing), ""), strict=True)


def asked_apart(regions: pa.Table) -> pa.Table:
    """Each answer about an image as an image of its own; what a region says as its category, of a
    grounded one the thing that its phrase names."""
    answer = (regions["image_id"], regions["task"], regions["parent"])
    image = pc.binary_join_element_wise(*answer, "/", null_handling="replace")
    said = pc.fill_null(region_labels(regions), "")
    named = [next(iter(names_in(words)), words) for words in said.to_pylist()]
    grounded = pc.fill_null(pc.equal(regions["task"], GROUNDING), False)
    return (
        regions.select(["x0", "y0", "x1", "y1", "score", "crowd"])
        .append_column("image_id", image)
        .append_column("category", pc.if_else(grounded, pa.array(named, pa.string()), said))
    )
