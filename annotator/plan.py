"""What a run will do: its shards, its recipes, and what of them is there already."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from annotator.config import Config, Pipeline, resolved_models
from annotator.errors import AnnotatorError
from annotator.measures import Measures, constants, find_measures, needing_statistics, settle
from annotator.parts import PARTS, find_part
from annotator.profiles import Profile
from annotator.shard_contents import ShardContents
from annotator.shard_tasks import Judging, ShardTask, what_proposes
from annotator.shards import ShardRef, expand_shards
from schemas.ids import recipe_id
from stages.base import Model
from stages.catalogue import AnyJudge
from stages.errors import StageError

Todo = Literal["nothing", "judge", "propose"]


@dataclass(frozen=True)
class PlannedShard:
    """A shard and what is left to do for it; `images` is None where counting would cost a read."""

    task: ShardTask
    todo: Todo
    images: int | None

    @property
    def name(self) -> str:
        return self.task.ref.name


@dataclass(frozen=True)
class Plan:
    """What a run will do; `recipes` maps each recipe hash to the JSON that it is the hash of.

    `judges` are the pipeline's, by `profile` where it names one; `judging` is None while they wait
    for statistics of all shards, and `constants` is what those statistics have set, as
    `stage.option` → value.
    """

    name: str
    table: Path
    shards: tuple[PlannedShard, ...]
    recipes: dict[str, dict[str, Any]]
    judges: tuple[AnyJudge, ...]
    judging: Judging | None
    constants: dict[str, Any]
    profile: Profile | None = None

    @property
    def settled_judges(self) -> tuple[AnyJudge, ...]:
        """With their constants, as far as these are known."""
        return self.judging.judges if self.judging else self.judges

    def count(self, todo: Todo) -> int:
        return sum(shard.todo == todo for shard in self.shards)


def plan_run(config: Config, pipeline: str | None = None, *, limit: int | None = None) -> Plan:
    """Look up what there is and what is left to do; runs no model and writes no table."""
    name, chosen = config.pipeline(pipeline)
    table = config.store_folder(chosen.table or name)
    models = resolved_models(config)
    candidates = _candidates(chosen, models)
    contents = ShardContents(table / PARTS / "contents.json")
    shards = []
    for ref in _reading(_shards(config, chosen.shards, limit)):
        content = contents.of(ref)
        task = ShardTask(
            ref=ref,
            content=content.name,
            fingerprint=content.fingerprint,
            recipe=recipe_id(candidates),
            round=chosen.round,
            propose=tuple(chosen.propose),
            judges=tuple(chosen.judges),
            judging=None,
            models=tuple(models.items()),
            parts=table / PARTS,
        )
        shards.append(PlannedShard(task, _todo(task), content.images))
    contents.save()
    recipes = {recipe_id(candidates): candidates}
    profile = chosen.judge if isinstance(chosen.judge, str) else None
    judges = tuple(chosen.judges)
    plan = Plan(name, table, tuple(shards), recipes, judges, None, {}, profile)
    return plan if unmeasured(plan) else settle_plan(plan)


def _candidates(chosen: Pipeline, models: Mapping[str, Model]) -> dict[str, Any]:
    try:
        return what_proposes(chosen.propose, models, chosen.round)
    except StageError as error:
        raise AnnotatorError(str(error)) from error


def _shards(config: Config, shards: str | Sequence[str], limit: int | None) -> list[ShardRef]:
    if limit is not None and limit < 1:
        raise AnnotatorError(f"limit is the number of shards to take, at least 1, not {limit}")
    patterns = [shards] if isinstance(shards, str) else shards
    return expand_shards(patterns, config.path.parent)[:limit]


def _reading(refs: Sequence[ShardRef]) -> Any:
    """A bar where reading shards to name their content takes long enough to be seen."""
    return tqdm(refs, desc="planning", unit="shard", delay=2, file=sys.stderr, leave=False)


def unmeasured(plan: Plan) -> list[PlannedShard]:
    """Shards whose candidates some judge has yet to measure."""
    if not needing_statistics(plan.judges):
        return []
    return [shard for shard in plan.shards if _measures(shard.task) is None]


def settle_plan(plan: Plan, without: Collection[str] = ()) -> Plan:
    """The plan once all shards but those `without` are measured: its judges have their constants.

    Other shards give other constants, so another recipe: then every shard is judged again.
    """
    measured = (_measures(shard.task) for shard in plan.shards if shard.name not in without)
    judges = settle(plan.judges, [found for found in measured if found is not None])
    [candidates] = plan.recipes
    judged = {"candidates": candidates, "judge": [judge.identity({}) for judge in judges]}
    judging = Judging(recipe_id(judged), tuple(judges))
    tasks = [replace(shard.task, judging=judging) for shard in plan.shards]
    return replace(
        plan,
        shards=tuple(
            replace(shard, task=task, todo=_todo(task))
            for shard, task in zip(plan.shards, tasks, strict=True)
        ),
        recipes={**plan.recipes, judging.recipe: judged},
        judging=judging,
        constants=constants(plan.judges, judges),
    )


def _todo(task: ShardTask) -> Todo:
    if find_part(task.parts, task.ref.name, task.candidates_key) is None:
        return "propose"
    if task.judging and find_part(task.parts, task.ref.name, task.judged_key) is not None:
        return "nothing"
    return "judge"


def _measures(task: ShardTask) -> Measures | None:
    part = find_part(task.parts, task.ref.name, task.candidates_key)
    return find_measures(part, task.judges) if part else None
