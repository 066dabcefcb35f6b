"""Shards of made-up labels, with what models get wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.annotations import Annotations
from schemas.boxes import bins_to_pixels
from schemas.tables import TABLES

IMAGES = 500  # per shard
OBJECTS, GROUNDED, PEOPLES = 12, 8, 2  # regions per image
WIDTH, HEIGHT = 640, 480
REGIONS_PER_SHARD = IMAGES * (OBJECTS + GROUNDED + PEOPLES)
LEVELS = {"brief": 8, "detailed": 30, "more_detailed": 70}
WORDS = "a the dog cat red car on in grass with two small tree near street man woman holding blue"
THINGS = (
    "a person",
    "Dog",
    "cats",
    "car",
    "bicycle",
    "tree",
    "chair",
    "table",
    "it",
    "bird",
    "cup",
)


def made_up_shard(number: int) -> Annotations:
    """Images of 640x480 with what models get wrong: doubles, slivers, whole images, inversions."""
    rng = np.random.default_rng(number)
    names = np.array([f"made-up-{number:05}/{image:06}" for image in range(IMAGES)])
    images = {"image_id": names, "width": [WIDTH] * IMAGES, "height": [HEIGHT] * IMAGES}
    return Annotations.of().with_tables(
        images=filled("images", images),
        texts=made_up_texts(names, rng),
        regions=made_up_regions(names, rng),
        phrases=made_up_phrases(names, rng),
    )


def made_up_texts(names: np.ndarray, rng: np.random.Generator) -> pa.Table:
    words = WORDS.split()
    said = [" ".join(rng.choice(words, n)) + "." for _ in names for n in LEVELS.values()]
    columns = labels(names, [("model", len(LEVELS))])
    levels = list(LEVELS) * len(names)
    return filled("texts", {**columns, "task": levels, "level": levels, "text": said})


def made_up_regions(names: np.ndarray, rng: np.random.Generator) -> pa.Table:
    columns = labels(names, [("model", OBJECTS + GROUNDED), ("human", PEOPLES)])
    count = len(columns["image_id"])
    grounded = (columns["source"] == "model") & (columns["label_no"] >= OBJECTS)
    text_no = rng.integers(0, len(LEVELS), count)
    parent = np.char.add("model/text/", text_no.astype(str))
    x0, y0, x1, y1 = made_up_boxes(count, rng).T
    return filled(
        "regions",
        {
            **columns,
            "task": np.where(grounded, "caption_to_phrase_grounding", "od"),
            "shape": np.full(count, "box"),
            "x0": x0,
            "y0": y0,
            "x1": x1,
            "y1": y1,
            "text": rng.choice(THINGS, count),
            "score": pa.array(rng.random(count), mask=rng.random(count) < 0.05),
            "truncated": rng.random(count) < 0.01,
            "parent": pa.array(parent, mask=~grounded),
        },
    )


def made_up_boxes(count: int, rng: np.random.Generator) -> np.ndarray:
    centre = rng.random((count, 2)) * 1000
    sides = np.exp(rng.normal(5, 1.2, (count, 2)))
    bins = np.clip(np.hstack([centre - sides / 2, centre + sides / 2]), 0, 999).astype(int)
    double = np.flatnonzero(rng.random(count) < 0.2)
    bins[double] = np.clip(bins[double - 1] + rng.integers(-2, 3, (len(double), 4)), 0, 999)
    bins[rng.random(count) < 0.01] = (0, 0, 999, 999)
    odd = rng.random(count) < 0.01
    bins[odd] = bins[odd][:, [2, 1, 0, 3]]
    return bins_to_pixels(bins, (WIDTH, HEIGHT, WIDTH, HEIGHT))


def made_up_phrases(names: np.ndarray, rng: np.random.Generator) -> pa.Table:
    columns = labels(names, [("model", GROUNDED)])
    count = len(columns["image_id"])
    start = rng.integers(0, 30, count)
    ties = {
        "text_source": columns["source"],
        "text_no": rng.integers(0, len(LEVELS), count),
        "region_source": columns["source"],
        "region_no": columns["label_no"] + OBJECTS,
        "char_start": pa.array(start, mask=rng.random(count) < 0.02),
        "char_end": start + 6,
    }
    words = {"phrase": rng.choice(THINGS, count), "score": rng.random(count)}
    return filled("phrases", {**columns, **ties, **words})


def labels(names: np.ndarray, sources: Sequence[tuple[str, int]]) -> dict[str, np.ndarray]:
    """Key columns of so many labels of each source in every image."""
    source = np.concatenate([np.full(count, name) for name, count in sources])
    number = np.concatenate([np.arange(count) for _, count in sources])
    return {
        "image_id": np.repeat(names, len(number)),
        "source": np.tile(source, len(names)),
        "label_no": np.tile(number, len(names)),
    }


def filled(name: str, columns: dict[str, Any]) -> pa.Table:
    """In the schema of that name, NULL where a column is not given."""
    rows = len(next(iter(columns.values())))
    schema = TABLES[name]
    return pa.table(
        [
            pa.array(columns[field.name]).cast(field.type)
            if field.name in columns
            else pa.nulls(rows, field.type)
            for field in schema
        ],
        schema=schema,
    )
