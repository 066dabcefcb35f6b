"""Judges that need constants of the whole data set: measured, settled, then judged."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import pytest
from stored_candidates import make_project

from annotator.config import Config, load_config
from annotator.parts import find_part
from annotator.plan import plan_run
from annotator.runner import ASK, RunResult, Step, carry_out, execute, make_parts
from annotator.shard_tasks import ShardTask
from annotator.store import Store
from annotator.worker import judge_shard
from schemas.annotations import Annotations
from schemas.columns import numbers
from stages.base import Finding, Judge


class AboveMean(Judge):
    """Flags a region that is wider than the mean of the data set."""

    stage: Literal["above_mean"] = "above_mean"
    mean: float | None = None

    def judge(self, annotations: Annotations):
        assert self.mean is not None
        widths = _widths(annotations)
        wide = Finding("mean", "quarantine", widths > self.mean, widths, self.mean)
        return self.verdicts(annotations.regions, "region", [wide])

    def measure(self, annotations: Annotations) -> dict[str, Any] | None:
        if self.mean is not None:
            return None
        widths = _widths(annotations)
        return {"sum": float(widths.sum()), "count": len(widths)}

    def settled(self, measured):
        total = sum(shard["sum"] for shard in measured)
        count = sum(shard["count"] for shard in measured)
        return self.model_copy(update={"mean": total / count})


def _widths(annotations: Annotations) -> np.ndarray:
    return numbers(pc.subtract(annotations.regions["x1"], annotations.regions["x0"]))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Three shards of 2, 2 and 1 images with twelve regions each, to be judged by their mean."""
    return with_judge(load_config(make_project(tmp_path / "project", "[]")), AboveMean())


def with_judge(config: Config, judge: Judge) -> Config:
    pipeline = config.pipelines["drawn"].model_copy(update={"judge": [judge]})
    changed = config.model_copy(update={"pipelines": {"drawn": pipeline}})
    changed._path = config.path
    return changed


def run(config: Config, limit: int | None = None, **options: Any) -> RunResult:
    return execute(plan_run(config, limit=limit), **options)


def table(config: Config) -> Store:
    return Store.open(config.path.parent / "tables" / "drawn")


def ask(config: Config, sql: str, version: int | None = None) -> list[tuple[Any, ...]]:
    with table(config).connect(version) as connection:
        return connection.execute(sql).fetchall()


def mean_of(config: Config, version: int | None = None) -> float:
    """The mean width, as SQL finds it in the tables."""
    [(mean,)] = ask(config, "SELECT avg(x1::DOUBLE - x0) FROM all_regions", version)
    return float(mean)


def verdicts(config: Config) -> list[tuple[Any, ...]]:
    columns = "image_id, label_no, filter, verdict, value, threshold"
    return ask(config, f"SELECT {columns} FROM verdicts ORDER BY ALL")


def todo(config: Config, **options: Any) -> list[str]:
    return [shard.todo for shard in plan_run(config, **options).shards]


def test_every_shard_is_judged_by_the_constants_of_them_all(config: Config) -> None:
    result = run(config)
    assert (result.version, result.failed) == (1, {})
    mean = mean_of(config)
    wide = "SELECT image_id, label_no, 'above_mean.mean', 'quarantine', (x1 - x0)::DOUBLE, ?"
    with table(config).connect() as connection:
        query = f"{wide} FROM all_regions WHERE x1 - x0 > ? ORDER BY ALL"
        expected = connection.execute(query, [mean, mean]).fetchall()
    assert len(expected) > 5
    assert verdicts(config) == expected


def test_the_constants_are_kept_with_the_recipe_and_with_the_version(config: Config) -> None:
    run(config)
    [(stages,)] = ask(
        config, "SELECT stages FROM recipes SEMI JOIN verdicts USING (recipe) GROUP BY ALL"
    )
    [judge] = json.loads(stages)["judge"]
    assert (judge["stage"], judge["mean"]) == ("above_mean", mean_of(config))
    [version] = table(config).versions()
    assert version.extra["constants"] == {"above_mean.mean": mean_of(config)}


def test_the_same_again_is_nothing_new(config: Config) -> None:
    assert todo(config) == ["judge"] * 3
    run(config)
    assert todo(config) == ["nothing"] * 3
    again = run(config)
    assert (again.version, again.current) == (None, 1)


def test_constants_that_the_user_gives_need_no_measuring(config: Config) -> None:
    config = with_judge(config, AboveMean(mean=50))
    plan = plan_run(config)
    assert plan.judging is not None
    execute(plan)
    assert {threshold for *_, threshold in verdicts(config)} == {50}
    assert plan.constants == {}


def test_more_shards_are_other_constants_and_every_shard_is_judged_again(config: Config) -> None:
    run(config, limit=2)
    of_two = mean_of(config)
    assert todo(config, limit=2) == ["nothing"] * 2
    assert todo(config) == ["judge"] * 3
    assert run(config).version == 2
    assert mean_of(config) != of_two
    assert {threshold for *_, threshold in verdicts(config)} == {mean_of(config)}
    assert todo(config) == ["nothing"] * 3


def test_a_shard_that_fails_is_left_out_of_the_constants(config: Config) -> None:
    run(config)
    page = config.path.parent / "page.tar"
    page.write_text("<html>404</html>")
    pipeline = config.pipelines["drawn"]
    shards = [*pipeline.shards, "page.tar"]
    pipelines = {"drawn": pipeline.model_copy(update={"shards": shards})}
    more = config.model_copy(update={"pipelines": pipelines})
    more._path = config.path
    result = run(more)
    assert (list(result.failed), result.version, result.current) == (["page"], None, 1)
    assert result.plan.constants == {"above_mean.mean": mean_of(config)}


def test_where_every_shard_fails_nothing_is_settled(config: Config) -> None:
    for folder in config.path.parent.glob("tables/drawn/parts/*/*/*/"):
        (folder / "images.parquet").unlink()
    result = carry_out(plan_run(config), Step(judge_shard, "labels", lambda _: None))
    assert len(result.failed) == 3
    assert (result.plan.judging, result.version) == (None, None)


def test_a_run_that_was_killed_after_measuring_goes_on_with_the_same_constants(
    config: Config,
) -> None:
    make_parts(plan_run(config), ASK)
    [*_, last] = plan_run(config).shards
    shutil.rmtree(folder_of(last.task, last.task.judged_key))
    assert todo(config) == ["nothing", "nothing", "judge"]
    assert run(config).version == 1
    assert {threshold for *_, threshold in verdicts(config)} == {mean_of(config)}


def folder_of(task: ShardTask, key: str) -> Path:
    part = find_part(task.parts, task.ref.name, key)
    assert part is not None
    return part.folder


def test_measures_are_kept_beside_the_candidates_for_each_set_of_options(config: Config) -> None:
    [first, *_] = plan_run(config).shards
    run(config)
    [file] = folder_of(first.task, first.task.candidates_key).glob("measures-*.json")
    assert json.loads(file.read_text())[0]["count"] == 24
    file.write_text("spoilt")
    assert plan_run(config).judging is None
    assert run(config).version is None


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "dask"])
def test_two_workers_settle_as_one(config: Config, tmp_path: Path, executor: str) -> None:
    run(config)
    other = with_judge(load_config(make_project(tmp_path / "other", "[]")), AboveMean())
    run(other, executor_name=executor, workers=2)
    assert verdicts(other) == verdicts(config)
