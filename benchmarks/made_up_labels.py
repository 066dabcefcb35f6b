"""Shards of made-up labels: the columns that the engine writes, with what models get wrong.

Labels per image follow FLD-5B's Table 2: 4, 10 and 10 grounded phrases in captions of some 8, 30
and 70 tokens, 5 boxes of each task that looks for things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.annotations import Annotations
from schemas.boxes import bins_to_pixels
from schemas.tables import HUMAN, MODEL, TABLES

IMAGES = 500  # per shard
WIDTH, HEIGHT = 640, 480
TILES = tuple((x, y, x + 384, y + 384) for y in (0, 96) for x in (0, 256))
TILED = 5
"""One image of so many was looked at in tiles too."""
PER_CAPTION = {"brief": 4, "detailed": 10, "more_detailed": 10}
FILLERS = {"brief": 1, "detailed": 2, "more_detailed": 6}
"""Words between two phrases of a caption."""
TASK_OF_LEVEL = {"brief": "caption", "detailed": "detailed_caption"} | {
    "more_detailed": "more_detailed_caption"
}


def words(text: str) -> list[str]:
    return text.split()


ADJECTIVES = words("red small large old wooden white black blue bright striped")
NOUNS = words(
    "person dog cats car bicycle tree chair table bird cup man woman street bottles window sign "
    "horse boat bench umbrella kite plate wall grass it background bag clock lamp sofa"
)
WORDS = words(
    "on near with beside under next to holding and is standing while the scene looks quiet "
    "walking running behind of very in front parked there are that it has been painted"
)


@dataclass(frozen=True)
class Kind:
    """So many regions of an image, all from one task; `words` is the column of their label."""

    task: str | None
    count: int
    words: str | None = "text"
    shape: str = "box"
    tiled: bool = False
    source: str = MODEL


GROUNDED = sum(PER_CAPTION.values())
KINDS = (
    Kind("od", 5, "category"),
    Kind("od", 4, "category", tiled=True),
    Kind("dense_region_caption", 5),
    Kind("caption_to_phrase_grounding", GROUNDED),
    Kind("ocr_with_region", 2, shape="quad"),
    Kind("region_to_segmentation", 2, None, shape="polygon"),
    Kind(None, 2, "category", source=HUMAN),
)
REGIONS = sum(kind.count for kind in KINDS)
THINGS = 5
"""In each image."""
WRONG = 0.1
"""Share of the regions that are somewhere else, and of those that are named something else."""


def made_up_shard(number: int) -> Annotations:
    """500 images of 640x480, the same ones for the same number."""
    rng = np.random.default_rng(number)
    shard = f"made-up-{number:05}"
    names = np.array([f"{shard}/{image:06}" for image in range(IMAGES)])
    things = made_up_things(rng)
    columns = {"image_id": names, "width": [WIDTH] * IMAGES, "height": [HEIGHT] * IMAGES}
    captions = [made_up_caption(level, own, rng) for own in things.noun for level in PER_CAPTION]
    regions = made_up_regions(names, things, captions, rng)
    return Annotations.of().with_tables(
        images=filled("images", columns, shard),
        texts=made_up_texts(names, captions, rng, shard),
        regions=filled("regions", regions, shard),
        phrases=made_up_phrases(regions, captions, rng, shard),
    )


@dataclass(frozen=True)
class Things:
    """What all images show: nouns (images, THINGS) and bins (images, THINGS, 4)."""

    noun: np.ndarray
    bins: np.ndarray


def made_up_things(rng: np.random.Generator) -> Things:
    """Half of them are another one of what the image shows already."""
    noun = rng.integers(0, len(NOUNS), (IMAGES, THINGS))
    first = np.where(rng.random((IMAGES, THINGS)) < 0.5, 0, np.arange(THINGS))
    noun = np.take_along_axis(noun, np.maximum.accumulate(first, axis=1), axis=1)
    return Things(noun, made_up_bins(IMAGES * THINGS, rng).reshape(IMAGES, THINGS, 4))


@dataclass(frozen=True)
class Caption:
    """A text, its phrases, the characters at which these begin, and the things that they name."""

    level: str
    text: str
    phrases: tuple[str, ...]
    starts: tuple[int, ...]
    things: np.ndarray


def made_up_caption(level: str, nouns: np.ndarray, rng: np.random.Generator) -> Caption:
    count, between = PER_CAPTION[level], FILLERS[level]
    things = rng.integers(0, THINGS, count)
    phrases = spoken(nouns[things], rng)
    fillers = rng.integers(0, len(WORDS), (count, between)).tolist()
    text, starts = "", []
    for phrase, filler in zip(phrases, fillers, strict=True):
        starts.append(len(text))
        stop = "." if filler[0] < 3 else ""
        text += f"{phrase}{stop} {' '.join([WORDS[word] for word in filler])} "
    return Caption(level, f"{text[:-1]}.", tuple(phrases), tuple(starts), things)


def spoken(nouns: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Each noun with an article, half of them with an adjective."""
    adjectives = rng.integers(0, 2 * len(ADJECTIVES), len(nouns)).tolist()
    return [
        f"a {NOUNS[noun]}" if which >= len(ADJECTIVES) else f"the {ADJECTIVES[which]} {NOUNS[noun]}"
        for noun, which in zip(nouns.tolist(), adjectives, strict=True)
    ]


def made_up_texts(
    names: np.ndarray, captions: Sequence[Caption], rng: np.random.Generator, shard: str
) -> pa.Table:
    count = len(captions)
    columns = {
        "image_id": np.repeat(names, len(PER_CAPTION)),
        "source": np.full(count, MODEL),
        "label_no": np.tile(np.arange(len(PER_CAPTION)), len(names)),
        "task": [TASK_OF_LEVEL[caption.level] for caption in captions],
        "level": [caption.level for caption in captions],
        "text": [caption.text for caption in captions],
        "score": rng.random(count),
        "min_token_score": rng.random(count),
        "tokens": [len(caption.text.split()) for caption in captions],
        "truncated": rng.random(count) < 0.01,
    }
    return filled("texts", columns, shard)


def made_up_regions(
    names: np.ndarray, things: Things, captions: Sequence[Caption], rng: np.random.Generator
) -> dict[str, Any]:
    """Columns of all regions, image after image."""
    kind = np.repeat(np.arange(len(KINDS)), [kind.count for kind in KINDS])
    place = np.concatenate([np.arange(kind.count) for kind in KINDS])
    image = np.repeat(np.arange(len(names)), REGIONS)
    kind, place = np.tile(kind, len(names)), np.tile(place, len(names))
    tiled = of_kind(kind, "tiled")
    there = ~tiled | (image % TILED == 0)
    image, kind, place, tiled = (column[there] for column in (image, kind, place, tiled))
    source, shape = of_kind(kind, "source"), of_kind(kind, "shape")
    tile = np.where(tiled, place % len(TILES), -1)
    grounded = of_kind(kind, "task") == "caption_to_phrase_grounding"
    thing = place % THINGS
    thing[grounded] = np.concatenate([caption.things for caption in captions])
    boxes = made_up_boxes(things.bins[image, thing], tile, rng)
    label = made_up_names(things.noun[image, thing], kind, rng)
    label[grounded] = [phrase for caption in captions for phrase in caption.phrases]
    parent, position = made_up_answers(kind, place, grounded)
    boxed = of_kind(kind, "words")
    said = source == MODEL
    return {
        "image_id": names[image],
        "source": source,
        "label_no": counted_within(image * 2 + said),
        "task": of_kind(kind, "task"),
        "shape": shape,
        **dict(zip(("x0", "y0", "x1", "y1"), boxes.T, strict=True)),
        "points": outlines(shape, boxes, rng),
        "text": pa.array(label, pa.string(), mask=boxed != "text"),
        "category": pa.array(label, pa.string(), mask=boxed != "category"),
        **{name: pa.array(rng.random(len(kind)), mask=~said) for name in scores()},
        "location_spread": pa.array(rng.exponential(0.05, len(kind)), mask=~said),
        "position": pa.array(position, mask=~said),
        "truncated": pa.array(rng.random(len(kind)) < 0.01, mask=~said),
        "tile": pa.array([tile_name(number) for number in tile], pa.string()),
        "parent": pa.array(parent, pa.string()),
    }


def scores() -> tuple[str, ...]:
    return ("score", "location_score", "windowed_location_score", "label_score", "end_score")


def tile_name(number: int) -> str | None:
    return ",".join(map(str, TILES[number])) if number >= 0 else None


def of_kind(kind: np.ndarray, name: str) -> np.ndarray:
    return np.array([getattr(each, name) for each in KINDS])[kind]


def counted_within(codes: np.ndarray) -> np.ndarray:
    """0 and up within each code; equal codes stand together."""
    first = np.flatnonzero(np.diff(codes, prepend=-1))
    return np.arange(len(codes)) - np.repeat(first, np.diff(np.append(first, len(codes))))


def made_up_names(noun: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Categories are nouns alone."""
    wrong = rng.random(len(noun)) < WRONG
    noun = np.where(wrong, rng.integers(0, len(NOUNS), len(noun)), noun)
    closed = of_kind(kind, "words") == "category"
    return np.where(closed, np.array(NOUNS, dtype=object)[noun], spoken(noun, rng))


def made_up_answers(
    kind: np.ndarray, place: np.ndarray, grounded: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each region what it was asked about, and its place in the answer."""
    parent = np.full(len(kind), None, dtype=object)
    level = np.repeat(np.arange(len(PER_CAPTION)), list(PER_CAPTION.values()))
    parent[grounded] = np.array([f"{MODEL}/text/{no}" for no in range(3)])[level[place[grounded]]]
    masks = of_kind(kind, "shape") == "polygon"
    parent[masks] = np.array([f"{MODEL}/region/{no}" for no in range(2)])[place[masks]]
    first = np.concatenate([np.arange(count) for count in PER_CAPTION.values()])
    position = np.where(grounded, first[np.minimum(place, GROUNDED - 1)], place)
    position[masks | of_kind(kind, "tiled")] = 0
    return parent, position


def made_up_bins(count: int, rng: np.random.Generator) -> np.ndarray:
    centre = rng.random((count, 2)) * 1000
    sides = np.exp(rng.normal(5, 0.9, (count, 2)))
    return np.clip(np.hstack([centre - sides / 2, centre + sides / 2]), 0, 999).astype(int)


def made_up_boxes(bins: np.ndarray, tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels, shape (n, 4), near `bins` of the image, but for what models get wrong: other places,
    doubles, whole images, boxes the wrong way round."""
    count = len(bins)
    seen = np.array([*TILES, (0, 0, WIDTH, HEIGHT)])[tile]
    corner, size = np.tile(seen[:, :2], 2), np.tile(seen[:, 2:] - seen[:, :2], 2)
    pixels = bins / 1000 * np.tile((WIDTH, HEIGHT), 2)
    bins = np.clip((pixels - corner) / size * 1000 + rng.integers(-1, 2, (count, 4)), 0, 999)
    outside = (bins[:, 2:] <= bins[:, :2]).any(axis=1)
    lost = (outside & (tile >= 0)) | (rng.random(count) < WRONG)
    bins[lost] = made_up_bins(int(lost.sum()), rng)
    double = np.flatnonzero(rng.random(count) < 0.05)
    bins[double] = np.clip(bins[double - 1] + rng.integers(-2, 3, (len(double), 4)), 0, 999)
    bins[rng.random(count) < 0.01] = (0, 0, 999, 999)
    odd = rng.random(count) < 0.01
    bins[odd] = bins[odd][:, [2, 1, 0, 3]]
    found: np.ndarray = bins_to_pixels(np.floor(bins), size) + corner
    return found


def outlines(shape: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> pa.Array:
    """Quads are their boxes a little askew; polygons have 12 corners on an ellipse in the box."""
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + rng.normal(0, 0.02, (4, 2))
    ellipse = 0.5 + 0.5 * np.stack([np.cos(around), np.sin(around)], axis=1)
    corners = {"quad": square, "polygon": ellipse}
    sizes = np.array([2 * len(corners[name]) if name in corners else 0 for name in shape])
    flat = np.concatenate(
        [(corners[name] * (box[2:] - box[:2]) + box[:2]).ravel()
         for name, box in zip(shape, boxes, strict=True) if name in corners]
    )  # fmt: skip
    given = sizes > 0
    parts = pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(sizes[given])), pa.int32()), pa.array(flat, pa.float32())
    )
    of_row = np.append(0, np.cumsum(given))
    return pa.ListArray.from_arrays(pa.array(of_row, pa.int32()), parts, mask=pa.array(~given))


def made_up_phrases(
    regions: dict[str, Any], captions: Sequence[Caption], rng: np.random.Generator, shard: str
) -> pa.Table:
    """One for each grounded region; of some the caption does not say the words."""
    rows = np.flatnonzero(regions["task"] == "caption_to_phrase_grounding")
    count = len(rows)
    lost = rng.random(count) < 0.02
    phrases = [phrase for caption in captions for phrase in caption.phrases]
    start = np.array([start for caption in captions for start in caption.starts])
    level = np.repeat(np.arange(len(PER_CAPTION)), list(PER_CAPTION.values()))
    model = np.full(count, MODEL)
    columns = {
        "image_id": regions["image_id"][rows],
        "source": model,
        "label_no": np.tile(np.arange(GROUNDED), count // GROUNDED),
        "text_source": model,
        "text_no": np.tile(level, count // GROUNDED),
        "char_start": pa.array(start, mask=lost),
        "char_end": pa.array(start + [len(phrase) for phrase in phrases], mask=lost),
        "phrase": phrases,
        "region_source": model,
        "region_no": regions["label_no"][rows],
        "score": rng.random(count),
        "label_score": rng.random(count),
    }
    return filled("phrases", columns, shard)


def filled(name: str, columns: dict[str, Any], shard: str) -> pa.Table:
    """In the schema of that name, NULL where a column is not given."""
    rows = len(columns["image_id"])
    origin = {"shard": pa.repeat(shard, rows), "recipe": pa.repeat("made-up", rows)}
    columns = {"round": pa.repeat(0, rows), **origin, **columns}
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
