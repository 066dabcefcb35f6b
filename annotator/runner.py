"""Pipeline and shards → tasks → parts → one commit. Run it again: the same tables."""

import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from tqdm import tqdm

from annotator.config import Config, Pipeline, load_config, resolved_models
from annotator.errors import AnnotatorError, StoreError
from annotator.executors import executor
from annotator.parts import PARTS, Part, find_part, read_or_set_aside
from annotator.shard_contents import ShardContents
from annotator.shards import ShardRef, expand_shards
from annotator.store import ShardCommit, Store
from annotator.worker import CANDIDATES, Recipe, ShardResult, ShardTask, work_on_shard
from schemas.ids import recipe_id
from schemas.tables import SCHEMA_VERSION
from stages.base import StageError

Todo = Literal["nothing", "judge", "propose"]
SIDECARS_BEHAVIOUR = 1
"""Raised by hand when the same sidecars begin to give other human labels."""


@dataclass(frozen=True)
class PlannedShard:
    """A shard and what is left to do for it; `images` is None where counting would cost a read."""

    task: ShardTask
    todo: Todo
    images: int | None


@dataclass(frozen=True)
class Plan:
    """What a run will do; `recipes` maps each recipe hash to the JSON that it is the hash of."""

    name: str
    table: Path
    shards: tuple[PlannedShard, ...]
    recipes: dict[str, dict[str, Any]]

    def count(self, todo: Todo) -> int:
        return sum(shard.todo == todo for shard in self.shards)


@dataclass
class RunResult:
    """How a run ended. `version` is None where nothing was new; then `current` still answers.

    `failed` says why by shard. `seconds` of `propose` and `judge` are summed over the workers.
    """

    plan: Plan
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


def plan_run(config: Config, pipeline: str | None = None, *, limit: int | None = None) -> Plan:
    """Look up what there is and what is left to do; runs no model and writes no table."""
    name, chosen = config.pipeline(pipeline)
    table = config.store_folder(chosen.table or name)
    patterns = [chosen.shards] if isinstance(chosen.shards, str) else chosen.shards
    refs = expand_shards(patterns, config.path.parent)[:limit]
    recipe, recipes = _recipes(config, chosen)
    contents = ShardContents(table / PARTS / "contents.json")
    models = tuple(resolved_models(config).items())
    shards = []
    for ref in _reading(refs):
        content = contents.of(ref)
        task = ShardTask(
            ref=ref,
            content=content.name,
            fingerprint=content.fingerprint,
            recipe=recipe,
            round=chosen.round,
            propose=tuple(chosen.propose),
            judge=tuple(chosen.judge),
            models=models,
            parts=table / PARTS,
        )
        shards.append(PlannedShard(task, _todo(task), content.images))
    contents.save()
    return Plan(name, table, tuple(shards), recipes)


def _recipes(config: Config, pipeline: Pipeline) -> tuple[Recipe, dict[str, dict[str, Any]]]:
    models = resolved_models(config)
    try:
        propose = [stage.identity(models) for stage in pipeline.propose]
        judge = [stage.identity(models) for stage in pipeline.judge]
    except StageError as error:
        raise AnnotatorError(str(error)) from error
    candidates = {
        "schema": SCHEMA_VERSION,
        "sidecars": SIDECARS_BEHAVIOUR,
        "round": pipeline.round,
        "propose": propose,
    }
    judged = {"candidates": recipe_id(candidates), "judge": judge}
    recipe = Recipe(recipe_id(candidates), recipe_id(judged))
    return recipe, {recipe.candidates: candidates, recipe.judged: judged}


def _todo(task: ShardTask) -> Todo:
    if find_part(task.parts, task.ref.name, task.candidates_key) is None:
        return "propose"
    if find_part(task.parts, task.ref.name, task.judged_key) is None:
        return "judge"
    return "nothing"


def _reading(refs: Sequence[ShardRef]) -> Any:
    """A bar where reading shards to name their content takes long enough to be seen."""
    return tqdm(refs, desc="planning", unit="shard", delay=2, file=sys.stderr, leave=False)


def execute(plan: Plan, executor_name: str = "local", workers: int = 1) -> RunResult:
    """Do what the plan says: work on shards, then one commit over all tables."""
    run_shards = executor(executor_name)
    started = perf_counter()
    store = Store.create_or_open(plan.table)
    result = RunResult(plan)
    todo = [shard for shard in plan.shards if shard.todo != "nothing"]
    _work(todo, run_shards, workers, result)
    worked = perf_counter()
    result.version = _commit(store, plan, result.failed)
    ended = perf_counter()
    result.seconds |= {"commit": ended - worked, "all": ended - started}
    versions = store.versions()
    result.current = versions[-1].number if versions else None
    return result


def _work(
    todo: Sequence[PlannedShard],
    run_shards: Callable[..., Any],
    workers: int,
    result: RunResult,
) -> None:
    if not todo:
        return
    counts = [shard.images for shard in todo]
    total = None if None in counts else sum(count or 0 for count in counts)
    with tqdm(
        total=total, desc=result.plan.name, unit="images", file=sys.stderr, dynamic_ncols=True
    ) as bar:
        bar.set_postfix_str(f"0/{len(todo)} shards")
        done = 0
        tasks = [shard.task for shard in todo]
        for event in run_shards(work_on_shard, _lost, tasks, workers):
            if isinstance(event, int):
                bar.update(event)
                continue
            done += 1
            bar.set_postfix_str(f"{done}/{len(todo)} shards")
            _note(event, result)


def _note(ended: ShardResult, result: RunResult) -> None:
    if ended.error is not None:
        result.failed[ended.shard] = ended.error
    for step, seconds in (ended.seconds or {}).items():
        result.seconds[step] = result.seconds.get(step, 0.0) + seconds


def _lost(task: ShardTask, reason: str) -> ShardResult:
    return ShardResult(task.ref.name, error=reason)


def _commit(store: Store, plan: Plan, failed: dict[str, str]) -> int | None:
    tasks = [shard.task for shard in plan.shards if shard.task.ref.name not in failed]
    try:
        return store.commit(
            [_entry(task) for task in tasks],
            recipes=plan.recipes,
            message=f"{plan.name}: {len(tasks)} of {len(plan.shards)} shards",
            extra={"pipeline": plan.name, "run": uuid.uuid4().hex},
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


def _entry(task: ShardTask) -> ShardCommit:
    candidates = _part(task, task.candidates_key)
    judged = _part(task, task.judged_key)
    taken = [(candidates, set(CANDIDATES) - {"images"}), (judged, {"images", "verdicts"})]
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
