"""Pipeline and shards → tasks → parts → one commit. Run it again: the same tables."""

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter

from tqdm import tqdm

from annotator.config import load_config
from annotator.errors import AnnotatorError, StoreError
from annotator.executors import executor
from annotator.parts import Part, find_part, read_or_set_aside
from annotator.plan import Plan, PlannedShard, plan_run, settle_plan, unmeasured
from annotator.shard_tasks import ShardResult, ShardTask
from annotator.store import ShardCommit, Store
from annotator.worker import CANDIDATES, JUDGED, work_on_shard

SCALED = 100_000
"""From so many on the progress bar counts in thousands and millions."""
RunShards = Callable[[Sequence[ShardTask]], Iterator[int | ShardResult]]


@dataclass
class RunResult:
    """How a run ended. `version` is None where nothing was new; then `current` still answers.

    `plan` is as it was carried out, its judges with their constants. `failed` says why by shard.
    `seconds` of `propose` and `judge` are summed over the `workers`.
    """

    plan: Plan
    workers: int = 1
    version: int | None = None
    current: int | None = None
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    pipeline: str | None = None,
    *,
    config: Path | str = "pipelines.yaml",
    executor_name: str = "local",
    workers: int = 1,
    limit: int | None = None,
) -> RunResult:
    """Run a pipeline (the first of the file by default) and commit at most one new version."""
    return execute(
        plan_run(load_config(Path(config)), pipeline, limit=limit), executor_name, workers
    )


def execute(plan: Plan, executor_name: str = "local", workers: int = 1) -> RunResult:
    """Do what the plan says: work on shards, then one commit over all tables."""
    return carry_out(plan, ASK, executor_name, workers)


@dataclass(frozen=True)
class Step:
    """What is done to each shard, the unit of its progress, and how many of them a shard has."""

    work: Callable[[ShardTask], Iterator[int | ShardResult]]
    unit: str
    size: Callable[[PlannedShard], int | None]


ASK = Step(work_on_shard, "images", lambda shard: shard.images)
"""Propose what is missing, then judge."""


def carry_out(plan: Plan, step: Step, executor_name: str = "local", workers: int = 1) -> RunResult:
    """Make the parts that are missing, then one commit."""
    executor(executor_name)  # an unknown name shall write nothing
    started = perf_counter()
    store = Store.create_or_open(plan.table)
    result = make_parts(plan, step, executor_name, workers)
    worked = perf_counter()
    result.version = _commit(store, result)
    ended = perf_counter()
    result.seconds |= {"commit": ended - worked, "all": ended - started}
    versions = store.versions()
    result.current = versions[-1].number if versions else None
    return result


def make_parts(plan: Plan, step: Step, executor_name: str = "local", workers: int = 1) -> RunResult:
    """All but the commit.

    Where judges need statistics there are two phases: every shard is measured, then each is judged
    with the constants of all that could be.
    """
    run_shards = partial(executor(executor_name), step.work, _lost, workers=workers)
    result = RunResult(plan, workers)
    if plan.judging is None:
        _work(unmeasured(plan), step, run_shards, result)
        if len(result.failed) == len(plan.shards):
            return result
        result.plan = settle_plan(plan, without=result.failed)
    left = [shard for shard in result.plan.shards if shard.todo != "nothing"]
    _work([shard for shard in left if shard.name not in result.failed], step, run_shards, result)
    return result


def _work(
    shards: Sequence[PlannedShard], step: Step, run_shards: RunShards, result: RunResult
) -> None:
    if not shards:
        return
    sizes = [step.size(shard) for shard in shards]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    measuring = result.plan.judging is None
    with tqdm(
        total=total,
        desc=f"{result.plan.name}, measuring" if measuring else result.plan.name,
        unit=f" {step.unit}",
        unit_scale=(total or 0) >= SCALED,
        file=sys.stderr,
        dynamic_ncols=True,
    ) as bar:
        bar.set_postfix_str(f"0/{len(shards)} shards")
        done = 0
        for event in run_shards([shard.task for shard in shards]):
            if isinstance(event, int):
                bar.update(event)
                continue
            done += 1
            bar.set_postfix_str(f"{done}/{len(shards)} shards")
            _note(event, result)


def _note(ended: ShardResult, result: RunResult) -> None:
    if ended.error is not None:
        result.failed[ended.shard] = ended.error
    for step, seconds in (ended.seconds or {}).items():
        result.seconds[step] = result.seconds.get(step, 0.0) + seconds


def _lost(task: ShardTask, reason: str) -> ShardResult:
    return ShardResult(task.ref.name, error=reason)


def _commit(store: Store, result: RunResult) -> int | None:
    plan = result.plan
    tasks = [shard.task for shard in plan.shards if shard.name not in result.failed]
    try:
        return store.commit(
            [shard_commit(task) for task in tasks],
            recipes=plan.recipes,
            message=f"{plan.name}: {len(tasks)} of {len(plan.shards)} shards",
            extra={
                "pipeline": plan.name,
                "run": uuid.uuid4().hex,
                "judged": plan.judging.recipe if plan.judging else None,
                "constants": plan.constants,
            },
        )
    except StoreError as error:
        damaged = [task.ref.name for task in tasks if _set_aside_damaged(task)]
        if not damaged:
            raise
        raise StoreError(
            f"{plan.table}: not committed, the stored parts of {', '.join(damaged)} are damaged: "
            "run again to make them anew"
        ) from error


def _set_aside_damaged(task: ShardTask) -> bool:
    """Whether one of the two parts was damaged; reads both whole, so only once a commit failed."""
    parts = [_part(task, key) for key in (task.candidates_key, task.judged_key)]
    return any([read_or_set_aside(part) is None for part in parts])


def shard_commit(task: ShardTask) -> ShardCommit:
    """A shard for the store; AnnotatorError where one of its two parts is gone."""
    candidates = _part(task, task.candidates_key)
    judged = _part(task, task.judged_key)
    taken = [(candidates, set(CANDIDATES) - set(JUDGED)), (judged, set(JUDGED))]
    return ShardCommit(
        shard=task.ref.name,
        recipe=task.judged_key,
        files={
            table: part.folder / file
            for part, tables in taken
            for table, file in part.manifest.files.items()
            if table in tables
        },
        rows={
            table: rows
            for part, tables in taken
            for table, rows in part.manifest.rows.items()
            if table in tables
        },
        part=str(judged.folder),
    )


def _part(task: ShardTask, key: str) -> Part:
    part = find_part(task.parts, task.ref.name, key)
    if part is None:
        raise AnnotatorError(
            f"the part of shard {task.ref.name} is gone from {task.parts}: run again to make it"
        )
    return part
