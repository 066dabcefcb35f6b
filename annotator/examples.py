"""A version of the tables → examples to learn from: lessons of the labels, pixels of the shards."""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, TYPE_CHECKING

from PIL import Image
from tqdm import tqdm

from annotator.lessons import Syllabus, TaughtImage, lessons_of_shard
from annotator.shards import ShardRef, read_shard
from annotator.training import Example
from schemas.samples import IMAGE_SUFFIXES, Sample, decode_image

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Material:
    """Examples in the order of the shards; `lessons` counts them by task.

    `dropped` things were cut from answers longer than a target may be; `lost` images are in the
    tables, but no longer in their shard with the bytes that were labelled.
    """

    examples: list[Example]
    lessons: dict[str, int]
    dropped: int
    lost: int


def examples_of_version(
    connection: DuckDBPyConnection, syllabus: Syllabus, spool: IO[bytes]
) -> Material:
    """One pass over the shards that the version was made from; ShardError where one is missing.

    Encoded images are copied to `spool`, a temporary file that must stay open while the examples
    are used: training then sees them in any order and as often as it likes, memory holds none of
    them, and a remote shard is read once.
    """
    examples: list[Example] = []
    counts: Counter[str] = Counter()
    dropped = lost = 0
    for ref in tqdm(_shards(connection), desc="reading", unit="shard", delay=2, file=sys.stderr):
        taught = lessons_of_shard(connection, ref.name, syllabus)
        dropped += sum(lesson.dropped for image in taught for lesson in image.lessons)
        wanted = {image.key: image for image in map(_usable, taught) if image.lessons}
        for image, encoded in _found(ref, wanted):
            examples.append(Example(partial(_load, spool, *_keep(spool, encoded)), image.lessons))
            counts.update(lesson.task for lesson in image.lessons)
            del wanted[image.key]
        lost += len(wanted)
    return Material(examples, {task: counts[task] for task in syllabus.tasks}, dropped, lost)


def _shards(connection: DuckDBPyConnection) -> list[ShardRef]:
    rows = connection.execute("SELECT shard, min(url) FROM images GROUP BY 1 ORDER BY 1").fetchall()
    return [ShardRef(url, shard) for shard, url in rows]


def _usable(image: TaughtImage) -> TaughtImage:
    return replace(image, lessons=tuple(lesson for lesson in image.lessons if lesson.usable))


def _found(ref: ShardRef, wanted: dict[str, TaughtImage]) -> Iterator[tuple[TaughtImage, bytes]]:
    """Images of the shard that are still the ones that were labelled."""
    if not wanted:
        return
    for sample in read_shard(ref):
        if isinstance(sample, Sample) and (image := wanted.get(sample.key)):
            encoded = sample.image_bytes() or b""
            if hashlib.sha256(encoded).hexdigest() == image.sha256:
                yield image, encoded


def _keep(spool: IO[bytes], encoded: bytes) -> tuple[int, int]:
    start = spool.seek(0, os.SEEK_END)
    spool.write(encoded)
    return start, len(encoded)


def _load(spool: IO[bytes], start: int, length: int) -> Image.Image:
    spool.seek(start)
    return decode_image(Sample("", "", {IMAGE_SUFFIXES[0]: spool.read(length)}))
