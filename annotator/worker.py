"""One shard: propose, measure or judge, and write its parts. Runs in whatever process has room."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter

import pyarrow as pa

from annotator.errors import AnnotatorError, StoreError
from annotator.measures import write_measures
from annotator.parts import find_part, find_tables, write_part
from annotator.proposing import propose_shard, stamp
from annotator.shard_tasks import Judging, ShardResult, ShardTask
from schemas.annotations import Annotations, image_states
from schemas.tables import LABEL_TABLES
from stages.errors import StageError

CANDIDATES = ("images", "texts", "regions", "phrases", "problems")
JUDGED = ("images", "verdicts")
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Work = Iterator[int | ShardResult]


def work_on_shard(task: ShardTask) -> Work:
    """Propose what is not there yet, then judge it, or measure it where judges wait for that.

    Yields how many more images are done with, and the result last. Only a bug raises, and what
    the other shards would meet too: a full disk or GPU, or a model that does not load on this
    machine.
    """
    return _answering(task, _work(task))


def judge_shard(task: ShardTask) -> Work:
    """Judge or measure stored candidates. Yields the number of labels, and the result last."""
    return _answering(task, _judge_stored(task))


def _answering(task: ShardTask, work: Work) -> Work:
    try:
        yield from work
    except StageError as error:
        raise AnnotatorError(str(error)) from error
    except (AnnotatorError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise StoreError(
                f"{task.parts.parent}: the disk is full: finished shards are kept; free some space "
                "and run again"
            ) from error
        yield ShardResult(task.ref.name, error=str(error) or type(error).__name__)


def _work(task: ShardTask) -> Work:
    seconds = {"propose": 0.0, "judge": 0.0}
    started = perf_counter()
    tables = find_tables(task.parts, task.ref.name, task.candidates_key)
    if tables is None:
        annotations = yield from propose_shard(task)
        seconds["propose"] = perf_counter() - started
        _write(task, task.candidates_key, annotations, CANDIDATES, seconds)
    else:
        annotations = Annotations.of().with_tables(**tables)
        yield len(annotations.images)
    _finish(task, annotations, seconds)
    yield ShardResult(task.ref.name, seconds)


def _judge_stored(task: ShardTask) -> Work:
    seconds = {"judge": 0.0}
    tables = find_tables(task.parts, task.ref.name, task.candidates_key)
    if tables is None:
        raise AnnotatorError("its stored candidates are gone or damaged: run the pipeline again")
    annotations = Annotations.of().with_tables(**tables)
    _finish(task, annotations, seconds)
    yield sum(len(annotations.labels(kind)) for kind in LABEL_TABLES)
    yield ShardResult(task.ref.name, seconds)


def _finish(task: ShardTask, annotations: Annotations, seconds: dict[str, float]) -> None:
    started = perf_counter()
    if task.judging is None:
        _write_measures(task, annotations)
        seconds["judge"] = perf_counter() - started
        return
    annotations = judge_annotations(annotations, task.judging)
    seconds["judge"] = perf_counter() - started
    _write(task, task.judged_key, annotations, JUDGED, seconds)


def _write_measures(task: ShardTask, annotations: Annotations) -> None:
    part = find_part(task.parts, task.ref.name, task.candidates_key)
    if part is None:
        raise AnnotatorError("its stored candidates are gone: run the pipeline again")
    write_measures(part, task.judges, annotations)


def judge_annotations(annotations: Annotations, judging: Judging) -> Annotations:
    """All verdicts, each judge seeing those before it, and the final state of each image."""
    for judge in judging.judges:
        verdicts = stamp(judge.judge(annotations), recipe=judging.recipe)
        annotations = annotations.with_tables(
            verdicts=pa.concat_tables([annotations.verdicts, verdicts])
        )
    images = stamp(image_states(annotations), recipe=judging.recipe)
    return annotations.with_tables(images=images)


def _write(
    task: ShardTask,
    key: str,
    annotations: Annotations,
    names: Sequence[str],
    seconds: Mapping[str, float],
) -> None:
    write_part(
        task.parts,
        task.ref.name,
        key,
        {name: getattr(annotations, name) for name in names},
        url=task.ref.address,
        fingerprint=dict(task.fingerprint),
        facts={"seconds": dict(seconds)},
    )
