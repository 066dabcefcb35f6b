import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from annotator.config import load_config
from annotator.packing import pack_folder
from annotator.runner import RunResult, execute, plan_run, run
from annotator.store import Store
from annotator.summary import summarise

VOC = (
    "<annotation><size><width>64</width><height>48</height></size>"
    "<object><name>cell</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>25</xmax><ymax>30</ymax>"
    "</bndbox></object>"
    "<object><name>dust</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>5</xmax><ymax>6</ymax>"
    "</bndbox></object></annotation>"
)
PIPELINES = """
version: 1
models:
  tiny: {{checkpoint: {checkpoint}}}
pipelines:
  cells:
    shards: shards/cells-*.tar
    propose:
      - stage: florence2
        model: tiny
        tasks: [caption, od]
        max_new_tokens: 24
    judge:
      - stage: filter_scores
        min_score: {min_score}
      - stage: merge_human
"""
TABLES = ("images", "all_texts", "all_regions", "all_phrases", "verdicts", "problems")


@pytest.fixture
def project(tmp_path: Path, lively_checkpoint: Path) -> Path:
    """Six noise images in three shards, the first with a good and a malformed human box."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"cell{number}.png")
    (photos / "cell0.xml").write_text(VOC)
    pack_folder(photos, tmp_path / "shards", labels=None, prefix="cells", samples_per_shard=2)
    write_pipelines(tmp_path, lively_checkpoint, min_score=0.0)
    return tmp_path


def write_pipelines(project: Path, checkpoint: Path, min_score: float) -> None:
    text = PIPELINES.format(checkpoint=checkpoint, min_score=min_score)
    (project / "pipelines.yaml").write_text(text)


def run_in(project: Path, **options: Any) -> RunResult:
    return run("cells", config=project / "pipelines.yaml", **options)


def tables_of(project: Path) -> dict[str, pa.Table]:
    """Every row of every table, in the order of all columns."""
    with Store.open(project / "tables" / "cells").connect() as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").to_arrow_table()
            for name in TABLES
        }


def todo(project: Path) -> list[str]:
    plan = plan_run(load_config(project / "pipelines.yaml"), "cells")
    return [shard.todo for shard in plan.shards]


def test_a_run_commits_every_image_with_a_state_and_the_human_labels(project: Path) -> None:
    result = run_in(project)
    assert (result.version, result.failed) == (1, {})
    with Store.open(project / "tables" / "cells").connect() as connection:
        summary = summarise(connection)
        human = connection.execute(
            "SELECT category, x0, y0, x1, y1, score, recipe FROM all_regions WHERE source = 'human'"
        ).fetchall()
        malformed = connection.execute("SELECT image_id, kind FROM problems").fetchall()
    assert sum(summary.images.values()) == 6
    assert summary.images["verified"] == 1
    assert [row[0] for row in human] == ["cell"]
    assert human[0][5:] == (None, None)
    assert ("cells-000000/cell0", "malformed_label") in malformed


def test_the_same_run_again_does_no_work_and_makes_no_version(project: Path) -> None:
    run_in(project)
    assert todo(project) == ["nothing"] * 3
    again = run_in(project)
    assert (again.version, again.current) == (None, 1)


def test_a_changed_filter_judges_the_stored_candidates_and_keeps_the_old_version(
    project: Path, lively_checkpoint: Path
) -> None:
    run_in(project)
    write_pipelines(project, lively_checkpoint, min_score=1.0)
    assert todo(project) == ["judge"] * 3
    assert run_in(project).version == 2
    assert (kept_captions(project, 1), kept_captions(project, 2)) == (6, 0)


def kept_captions(project: Path, version: int) -> int:
    with Store.open(project / "tables" / "cells").connect(version) as connection:
        (count,) = connection.execute("SELECT count(*) FROM texts").fetchall()[0]
    return int(count)


def test_a_shard_whose_content_changed_is_worked_on_again(project: Path) -> None:
    run_in(project)
    Image.new("RGB", (64, 48), "red").save(project / "photos" / "cell5.png")
    photos, shards = project / "photos", project / "shards"
    pack_folder(photos, shards, labels=None, prefix="cells", samples_per_shard=2)
    assert todo(project) == ["nothing", "nothing", "propose"]


def test_an_image_that_does_not_decode_costs_one_row(project: Path) -> None:
    (project / "photos" / "cell3.png").write_bytes(b"\x89PNG but no more")
    photos, shards = project / "photos", project / "shards"
    pack_folder(photos, shards, labels=None, prefix="cells", samples_per_shard=2)
    assert run_in(project).failed == {}
    with Store.open(project / "tables" / "cells").connect() as connection:
        failed = connection.execute(
            "SELECT image_id, error FROM images WHERE state = 'failed'"
        ).fetchall()
    assert [row[0] for row in failed] == ["cells-000001/cell3"]
    assert "does not decode" in failed[0][1]


def test_a_shard_that_is_no_tar_is_named_and_the_others_are_committed(project: Path) -> None:
    (project / "shards" / "cells-000001.tar").write_text("<html>404</html>")
    result = run_in(project)
    assert list(result.failed) == ["cells-000001"]
    assert result.version == 1
    with Store.open(project / "tables" / "cells").connect() as connection:
        assert connection.execute("SELECT count(*) FROM images").fetchall() == [(4,)]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "dask"])
def test_two_workers_make_the_same_tables_as_one(
    project: Path, tmp_path_factory: pytest.TempPathFactory, executor: str
) -> None:
    run_in(project)
    alone = tables_of(project)
    other = tmp_path_factory.mktemp("other")
    for name in ("shards", "pipelines.yaml"):
        (other / name).symlink_to(project / name)
    run_in(other, executor_name=executor, workers=2)
    assert_same_labels(tables_of(other), alone)


def assert_same_labels(found: dict[str, pa.Table], expected: dict[str, pa.Table]) -> None:
    """Equal but for the address of the shard, which names the folder that it was read from."""
    for name in TABLES:
        columns = [column for column in expected[name].column_names if column != "url"]
        assert found[name].select(columns).equals(expected[name].select(columns)), name


@pytest.mark.slow
def test_a_run_that_is_killed_and_started_again_makes_the_same_tables(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run_in(project)
    undisturbed = tables_of(project)
    other = tmp_path_factory.mktemp("other")
    for name in ("shards", "pipelines.yaml"):
        (other / name).symlink_to(project / name)
    kill_after_the_first_part(other)
    assert "propose" in todo(other)
    assert todo(other) != ["propose"] * 3
    assert run_in(other).version == 1
    assert_same_labels(tables_of(other), undisturbed)


def kill_after_the_first_part(project: Path) -> None:
    command = [sys.executable, "-m", "annotator", "run", "cells"]
    process = subprocess.Popen(command, cwd=project, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if any((project / "tables").rglob("manifest.json")):
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.005)
    assert process.returncode == -signal.SIGKILL


def test_execute_names_an_executor_that_does_not_exist_before_anything_is_written(
    project: Path,
) -> None:
    plan = plan_run(load_config(project / "pipelines.yaml"), "cells")
    with pytest.raises(Exception, match="no executor is called 'slurm'"):
        execute(plan, "slurm")
    assert not (project / "tables" / "cells" / "catalog.sqlite").exists()
