import os
import shutil
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
from safetensors.torch import load_file, save_file

from annotator.config import load_config
from annotator.errors import AnnotatorError, StoreError
from annotator.packing import pack_folder
from annotator.plan import plan_run
from annotator.runner import RunResult, execute, run
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


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory, lively_checkpoint: Path) -> Path:
    """Six noise images in three shards, the first with a good and a malformed human box."""
    folder = tmp_path_factory.mktemp("new")
    (folder / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"cell{number}.png")
    (folder / "photos" / "cell0.xml").write_text(VOC)
    pack(folder)
    write_pipelines(folder, lively_checkpoint, min_score=0.0)
    return folder


@pytest.fixture(scope="module")
def done_once(tmp_path_factory: pytest.TempPathFactory, new_project: Path) -> Path:
    """The project after one run by one worker; for tests that only look."""
    folder = tmp_path_factory.mktemp("done") / "project"
    shutil.copytree(new_project, folder)
    assert run_in(folder).version == 1
    return folder


@pytest.fixture
def project(tmp_path: Path, new_project: Path) -> Path:
    """The project before any run."""
    return Path(shutil.copytree(new_project, tmp_path / "project"))


@pytest.fixture
def done(tmp_path: Path, done_once: Path) -> Path:
    """The project after one run, moved to a place of its own."""
    return Path(shutil.copytree(done_once, tmp_path / "project"))


def pack(project: Path) -> None:
    pack_folder(project / "photos", project / "shards", prefix="cells", samples_per_shard=2)


def write_pipelines(project: Path, checkpoint: Path, min_score: float) -> None:
    text = PIPELINES.format(checkpoint=checkpoint, min_score=min_score)
    (project / "pipelines.yaml").write_text(text)


def checkpoint_of(project: Path) -> Path:
    return Path(load_config(project / "pipelines.yaml").models["tiny"].checkpoint)


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


def test_a_run_commits_every_image_with_a_state_and_the_human_labels(done_once: Path) -> None:
    with Store.open(done_once / "tables" / "cells").connect() as connection:
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


def test_the_same_run_again_does_no_work_and_makes_no_version(done: Path) -> None:
    assert todo(done) == ["nothing"] * 3
    again = run_in(done)
    assert (again.version, again.current, again.failed) == (None, 1, {})


def test_a_changed_filter_judges_the_stored_candidates_and_keeps_the_old_version(
    done: Path, lively_checkpoint: Path
) -> None:
    write_pipelines(done, lively_checkpoint, min_score=1.0)
    assert todo(done) == ["judge"] * 3
    assert run_in(done).version == 2
    made = rows_in(done, "all_texts", version=1)
    assert made > 1
    assert [rows_in(done, "texts", version) for version in (1, 2)] == [made, 0]


def rows_in(project: Path, table: str, version: int | None = None) -> int:
    with Store.open(project / "tables" / "cells").connect(version) as connection:
        [(count,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)


def test_a_shard_whose_content_changed_is_worked_on_again(done: Path) -> None:
    Image.new("RGB", (64, 48), "red").save(done / "photos" / "cell5.png")
    pack(done)
    assert todo(done) == ["nothing", "nothing", "propose"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "does not decode: it is empty", id="empty"),
        pytest.param(
            b"\x89PNG but no more",
            "does not decode: no image begins with b'\\x89PNG but no '",
            id="another thing",
        ),
    ],
)
def test_an_image_that_does_not_decode_costs_one_row(
    project: Path, content: bytes, reason: str
) -> None:
    (project / "photos" / "cell3.png").write_bytes(content)
    pack(project)
    assert run_in(project).failed == {}
    with Store.open(project / "tables" / "cells").connect() as connection:
        failed = connection.execute(
            "SELECT image_id, error FROM images WHERE state = 'failed'"
        ).fetchall()
    assert failed == [("cells-000001/cell3", reason)]


def test_a_shard_that_is_no_tar_is_named_and_the_others_are_committed(project: Path) -> None:
    (project / "shards" / "cells-000001.tar").write_text("<html>404</html>")
    result = run_in(project)
    assert list(result.failed) == ["cells-000001"]
    assert result.version == 1
    assert rows_in(project, "images") == 4


def damage_a_part(project: Path, table: str) -> None:
    """Every part of one shard that has the table; the footer stays, so that a part looks whole
    until it is read."""
    [shard, *_] = sorted((project / "tables" / "cells" / "parts").glob("cells-*"))
    for path in shard.rglob(f"{table}.parquet"):
        content = bytearray(path.read_bytes())
        content[4:200] = bytes(196)
        path.write_bytes(content)


def test_a_damaged_part_is_made_anew_when_its_candidates_are_judged_again(
    done: Path, lively_checkpoint: Path
) -> None:
    before = tables_of(done)["all_regions"]
    damage_a_part(done, "regions")
    write_pipelines(done, lively_checkpoint, min_score=0.5)
    result = run_in(done)
    assert (result.version, result.failed) == (2, {})
    assert tables_of(done)["all_regions"] == before


@pytest.mark.parametrize("table", ["images", "regions"])
def test_a_part_that_was_damaged_before_its_commit_costs_one_more_run(
    done: Path, table: str
) -> None:
    expected = tables_of(done)["all_regions"]
    shutil.rmtree(done / "tables" / "cells" / "data")
    for path in (done / "tables" / "cells").glob("catalog.sqlite*"):
        path.unlink()
    damage_a_part(done, table)
    with pytest.raises(StoreError, match=r"parts of cells-00000\d are damaged: run again"):
        run_in(done)
    assert run_in(done).version == 1
    assert tables_of(done)["all_regions"] == expected


@pytest.mark.parametrize(
    ("executor", "workers"),
    [
        pytest.param("local", 1, id="in this process"),
        pytest.param("local", 2, id="a pool", marks=pytest.mark.slow),
        pytest.param("dask", 2, id="dask", marks=pytest.mark.slow),
    ],
)
def test_a_model_that_does_not_load_ends_the_run_at_once(
    project: Path, executor: str, workers: int
) -> None:
    """It would fail for every shard."""
    shutil.copytree(checkpoint_of(project), project / "broken")
    (project / "broken" / "model.safetensors").write_bytes(b"broken")
    write_pipelines(project, project / "broken", min_score=0.0)
    with pytest.raises(AnnotatorError, match=r"^models\.tiny: checkpoint .*broken does not load"):
        run_in(project, executor_name=executor, workers=workers)
    assert Store.open(project / "tables" / "cells").versions() == []


def test_weights_that_change_do_not_pass_for_those_that_were_planned(project: Path) -> None:
    """Neither between plan and run, nor from one run of a process to the next."""
    mine = Path(shutil.copytree(checkpoint_of(project), project / "mine")) / "model.safetensors"
    write_pipelines(project, project / "mine", min_score=0.0)
    config = load_config(project / "pipelines.yaml")
    plan = plan_run(config, "cells")
    change_weights(mine)
    with pytest.raises(AnnotatorError, match="is not the one that the run was planned with"):
        execute(plan)
    assert Store.open(project / "tables" / "cells").versions() == []
    captions = []
    for _ in range(2):
        assert execute(plan_run(config, "cells")).version == len(captions) + 1
        captions.append(tables_of(project)["all_texts"]["text"].to_pylist())
        change_weights(mine)
    assert captions[0] != captions[1]


def change_weights(file: Path) -> None:
    weights = load_file(file)
    weights["lm_head.weight"] = weights["lm_head.weight"].roll(7, dims=0)
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "dask"])
def test_two_workers_make_the_same_tables_as_one(
    project: Path, done_once: Path, executor: str
) -> None:
    run_in(project, executor_name=executor, workers=2)
    assert_same_labels(tables_of(project), tables_of(done_once))


def assert_same_labels(found: dict[str, pa.Table], expected: dict[str, pa.Table]) -> None:
    """Equal but for the address of the shard, which names the folder that it was read from."""
    for name in TABLES:
        columns = [column for column in expected[name].column_names if column != "url"]
        assert found[name].select(columns).equals(expected[name].select(columns)), name


@pytest.mark.slow
def test_a_run_that_is_killed_and_started_again_makes_the_same_tables(
    project: Path, done_once: Path
) -> None:
    kill_after_the_first_part(project)
    left = todo(project)
    assert "propose" in left
    assert left != ["propose"] * 3
    assert run_in(project).version == 1
    assert_same_labels(tables_of(project), tables_of(done_once))


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
