"""The candidates of one shard: its images read, its human labels, and what the proposers say."""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from annotator.human.sidecars import read_labels
from annotator.shard_tasks import ShardTask, what_proposes
from annotator.shards import ShardRef, read_shard
from schemas.annotations import Annotations, table_of
from schemas.columns import Column
from schemas.ids import image_id, recipe_id
from schemas.samples import Problem, Sample, UnreadableImage, decode_image
from schemas.tables import HUMAN, LABEL_TABLES
from stages.base import Model, Session, finish
from stages.catalogue import AnyProposer
from stages.errors import StageError

SAMPLES_AT_ONCE = 32
"""In a batch where there is no proposer to say how many it likes."""
PIXELS_AT_ONCE = 100_000_000
"""A batch ends with as many samples, or with as many pixels, whichever is met first: 100 million
pixels are 400 MB."""
Read = tuple[dict[str, Any], Sample | None]
"""An image's row, and its sample with the pixels decoded; None where they do not decode."""


def propose_shard(task: ShardTask) -> Generator[int, None, Annotations]:
    """Yields how many more images are done with, and returns the candidates with the human labels
    of the sidecars."""
    sessions = _open_sessions(task.propose, task.models, task.round, task.recipe)
    problems: list[Problem] = []
    pieces = []
    most = max((session.samples_at_once for session in sessions), default=SAMPLES_AT_ONCE)
    for batch in _batches(_samples(task.ref, problems), most):
        pieces.append((yield from _propose_batch(batch, sessions, task)))
    left = table_of("problems", [_problem_row(p, task.recipe) for p in problems])
    return Annotations.concat([*pieces, Annotations.of().with_tables(problems=left)])


def _samples(ref: ShardRef, problems: list[Problem]) -> Iterator[Sample]:
    for item in read_shard(ref):
        if isinstance(item, Problem):
            problems.append(item)
        else:
            yield item


def _batches(samples: Iterator[Sample], most: int) -> Iterator[list[Read]]:
    batch: list[Read] = []
    pixels = 0
    for row, sample in map(_image_row, samples):
        batch.append((row, sample))
        pixels += row["width"] * row["height"] if sample else 0
        if len(batch) == most or pixels >= PIXELS_AT_ONCE:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _propose_batch(
    batch: Sequence[Read], sessions: Sequence[Session], task: ShardTask
) -> Generator[int, None, Annotations]:
    rows: dict[str, list[dict[str, Any]]] = {"images": [], "texts": [], "regions": []}
    problems: list[Problem] = []
    decoded = []
    for row, sample in batch:
        if sample is not None:
            decoded.append(sample)
            labels = read_labels(sample, row["width"], row["height"])
            rows["texts"] += labels.texts
            rows["regions"] += labels.regions
            problems += labels.problems
            row["state"] = "verified" if labels.looked else None
        rows["images"].append(row)
    left = [_problem_row(problem, task.recipe) for problem in problems]
    found = Annotations.of(**rows, problems=left)
    for session in sessions if decoded else ():
        work = session.propose(decoded, found)
        made = (yield from work) if session is sessions[-1] else finish(work)
        found = Annotations.concat([found, made])
    yield len(batch) - len(decoded) if sessions else len(batch)
    return _stamp_candidates(found, task)


def _image_row(sample: Sample) -> Read:
    encoded = sample.image_bytes()
    row = {
        "image_id": sample.image_id,
        "shard": sample.shard,
        "key": sample.key,
        "url": sample.url,
        "sha256": hashlib.sha256(encoded).hexdigest() if encoded is not None else None,
    }
    try:
        image = decode_image(sample)
    except UnreadableImage as error:
        return {**row, "state": "failed", "error": str(error)}, None
    return {**row, "width": image.width, "height": image.height}, replace(sample, image=image)


def _problem_row(problem: Problem, recipe: str) -> dict[str, Any]:
    return {
        "shard": problem.shard,
        "image_id": image_id(problem.shard, problem.key) if problem.key is not None else None,
        "kind": problem.kind,
        "detail": problem.detail,
        "payload": problem.payload,
        "recipe": recipe,
    }


def _stamp_candidates(found: Annotations, task: ShardTask) -> Annotations:
    """A human label keeps recipe and round NULL: no recipe made it."""
    recipe, turn = task.recipe, task.round
    labels = {
        table: stamp(rows, pc.not_equal(rows["source"], HUMAN), recipe=recipe, round=turn)
        for kind, table in LABEL_TABLES.items()
        if len(rows := found.labels(kind))
    }
    images = stamp(found.images, recipe=recipe, round=turn)
    return found.with_tables(images=images, problems=stamp(found.problems, recipe=recipe), **labels)


def stamp(table: pa.Table, rows: Column | None = None, **values: str | int) -> pa.Table:
    """A copy with one value in the whole of a column, or in `rows` (bool) of it, else NULL."""
    rows = pa.repeat(True, len(table)) if rows is None else rows
    for name, value in values.items():
        field = table.schema.field(name)
        column = pc.if_else(rows, pa.scalar(value, field.type), pa.scalar(None, field.type))
        table = table.set_column(table.schema.get_field_index(name), field, column)
    return table


@lru_cache(maxsize=1)
def _open_sessions(
    stages: tuple[AnyProposer, ...],
    models: tuple[tuple[str, Model], ...],
    round: int,
    recipe: str,
) -> tuple[Session, ...]:
    """A worker process loads each model once, whatever the number of shards; StageError where what
    is loaded is not what was planned."""
    sessions = tuple(stage.open(dict(models)) for stage in stages)
    if recipe_id(what_proposes(stages, dict(models), round)) != recipe:
        raise StageError(
            "a checkpoint is not the one that the run was planned with: run again once nothing "
            "writes to it, and all workers see the same files"
        )
    return sessions
