"""Labels of a version → what to ask of each image, and the answers to teach.

Which labels teach what: `od` takes regions with a category, `dense_region_caption` those of that
task, a caption task the texts of its level, `caption_to_phrase_grounding` the captions that have
phrases with a place. Crowds teach nothing: they are groups, drawn as one box. An image that a
person looked at and left without any label teaches `od` to answer with nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from schemas.tables import HUMAN
from stages.florence2.prompts import CAPTION_LEVELS, TASKS, Task
from stages.florence2.targets import Size, boxes_target, phrases_target, plain_words, reading_order

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = tuple[Any, ...]

BOX_TASKS = ("od", "dense_region_caption")
GROUNDING = "caption_to_phrase_grounding"
TEACHABLE = (*CAPTION_LEVELS, *BOX_TASKS, GROUNDING)


@dataclass(frozen=True)
class Room:
    """Most tokens of a prompt and of a target, and how many a text has; without `<s>`, `</s>`."""

    prompt: int
    target: int
    tokens_of: Callable[[str], int]

    def count_fitting(self, things: Sequence[str]) -> int:
        """How many of the first things of an answer a target can hold."""
        lengths = itertools.accumulate(map(self.tokens_of, things))
        return sum(length <= self.target for length in lengths)


@dataclass(frozen=True)
class Syllabus:
    """What to teach, from the labels of people or from all that were kept."""

    tasks: Sequence[Task]
    labels: Literal["human", "kept"]
    room: Room


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and its answer; `dropped` things at the end of the answer found no room.

    A lesson that does not fit at all is not `usable`.
    """

    task: Task
    prompt: str
    target: str
    dropped: int = 0
    usable: bool = True


@dataclass(frozen=True, slots=True)
class TaughtImage:
    """An image of the tables with its lessons, at least one, in the order of the tasks."""

    image_id: str
    key: str
    sha256: str
    lessons: tuple[Lesson, ...]


def lessons_of_shard(
    connection: DuckDBPyConnection, shard: str, syllabus: Syllabus
) -> list[TaughtImage]:
    """The images of a shard that teach something, by `image_id`."""
    source = HUMAN if syllabus.labels == "human" else None
    found: dict[str, list[Lesson]] = {}
    images = {row[0]: row for row in _select(connection, IMAGES, shard)}
    sizes = {image_id: (row[3], row[4]) for image_id, row in images.items()}
    for task in syllabus.tasks:
        for image_id, about, things in _answers(connection, task, shard, source, sizes):
            found.setdefault(image_id, []).append(_lesson(task, about, things, syllabus.room))
    if "od" in syllabus.tasks:
        for (image_id,) in _select(connection, LOOKED_AT_IN_VAIN, shard):
            found.setdefault(image_id, []).append(_lesson("od", "", [], syllabus.room))
    return [
        TaughtImage(
            image_id, key=images[image_id][1], sha256=images[image_id][2], lessons=tuple(ls)
        )
        for image_id, ls in sorted(found.items())
    ]


def _lesson(task: Task, about: str, things: Sequence[str], room: Room) -> Lesson:
    prompt = TASKS[task].prompt.replace("{input}", about)
    held = room.count_fitting(things) if room.tokens_of(prompt) <= room.prompt else 0
    usable = held > 0 or not things
    return Lesson(task, prompt, "".join(things[:held]), len(things) - held, usable)


IMAGES = """
    SELECT image_id, key, sha256, width, height FROM images
    WHERE shard = $1 AND width IS NOT NULL
"""
LOOKED_AT_IN_VAIN = f"""
    SELECT image_id FROM images
    WHERE shard = $1 AND state = 'verified'
        AND image_id NOT IN (SELECT image_id FROM regions WHERE shard = $1)
        AND image_id NOT IN (SELECT image_id FROM texts WHERE shard = $1 AND source = '{HUMAN}')
        AND image_id NOT IN (
            SELECT image_id FROM problems WHERE shard = $1 AND image_id IS NOT NULL
        )
"""
OD = """
    SELECT image_id, category, x0, y0, x1, y1 FROM regions
    WHERE shard = $1 AND category IS NOT NULL AND NOT coalesce(crowd, false)
        AND coalesce(task, 'od') = 'od' AND ($2 IS NULL OR source = $2)
    ORDER BY image_id, source, label_no
"""
DENSE = """
    SELECT image_id, text, x0, y0, x1, y1 FROM regions
    WHERE shard = $1 AND task = 'dense_region_caption' AND text IS NOT NULL
        AND ($2 IS NULL OR source = $2)
    ORDER BY image_id, source, label_no
"""
CAPTIONS = """
    SELECT image_id, text FROM texts
    WHERE shard = $1 AND level = $3 AND NOT coalesce(truncated, false)
        AND ($2 IS NULL OR source = $2)
    ORDER BY image_id, source, label_no
"""
PHRASES = """
    SELECT p.image_id, t.source, t.label_no, t.text, p.char_start, p.phrase, r.x0, r.y0, r.x1, r.y1
    FROM phrases p
    JOIN texts t ON t.shard = $1 AND t.image_id = p.image_id
        AND t.source = p.text_source AND t.label_no = p.text_no
    JOIN regions r ON r.shard = $1 AND r.image_id = p.image_id
        AND r.source = p.region_source AND r.label_no = p.region_no
    WHERE p.shard = $1 AND p.char_start IS NOT NULL AND ($2 IS NULL OR p.source = $2)
    ORDER BY p.image_id, t.source, t.label_no, p.char_start, p.char_end, p.label_no
"""


def _answers(
    connection: DuckDBPyConnection,
    task: Task,
    shard: str,
    source: str | None,
    sizes: dict[str, Size],
) -> Iterator[tuple[str, str, list[str]]]:
    """(image_id, what the prompt asks about, the things that the answer is a row of)."""
    if task in CAPTION_LEVELS:
        for image_id, text in _select(connection, CAPTIONS, shard, source, CAPTION_LEVELS[task]):
            yield image_id, "", [plain_words(text)]
    elif task == GROUNDING:
        rows = _select(connection, PHRASES, shard, source)
        for (image_id, *_), caption in itertools.groupby(rows, key=lambda row: row[:3]):
            yield image_id, *_grounded(list(caption), sizes[image_id])
    else:
        rows = _select(connection, OD if task == "od" else DENSE, shard, source)
        for image_id, boxes in itertools.groupby(rows, key=lambda row: row[0]):
            yield image_id, "", _labelled_boxes([row[1:] for row in boxes], sizes[image_id])


def _labelled_boxes(rows: Sequence[Row], size: Size) -> list[str]:
    """From (label, x0, y0, x1, y1): one text per box, from left to right."""
    return [
        boxes_target([rows[i][0]], [rows[i][1:]], size)
        for i in reading_order([row[1:] for row in rows], size)
    ]


def _grounded(rows: Sequence[Row], size: Size) -> tuple[str, list[str]]:
    """One caption's phrase rows → the caption, and one text per phrase with all its boxes."""
    spans: Iterable[tuple[Row, Iterator[Row]]] = itertools.groupby(rows, key=lambda row: row[4:6])
    phrases = [(phrase, [row[6:] for row in boxes]) for (_, phrase), boxes in spans]
    return plain_words(rows[0][3]), [phrases_target([phrase], size) for phrase in phrases]


def _select(connection: DuckDBPyConnection, sql: str, *parameters: str | None) -> list[Row]:
    return connection.execute(sql, parameters).fetchall()
