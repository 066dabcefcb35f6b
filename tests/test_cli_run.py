"""`annotator run` and `annotator plan`, on drawn scenes with human labels and no model."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from annotator.cli.run import plan, run

PIPELINES = """
version: 1
models: {}
pipelines:
  drawn:
    shards: ["scenes://3?human=1", "*.tar"]
    propose: []
"""


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A project, and its first run: three scenes, and a shard that is none."""
    folder = tmp_path_factory.mktemp("drawn") / "project"
    folder.mkdir()
    (folder / "pipelines.yaml").write_text(PIPELINES)
    (folder / "page.tar").write_text("<html>404</html>")
    return folder, invoke(run, folder)


def invoke(command, folder: Path, *arguments: str) -> Result:
    config = ["--config", str(folder / "pipelines.yaml")]
    return CliRunner().invoke(command, [*arguments, *config], catch_exceptions=False)


def test_a_run_says_what_it_will_do_and_what_is_there_then(run_once: tuple[Path, Result]) -> None:
    folder, first = run_once
    table = folder / "tables" / "drawn"
    assert first.stderr.startswith(
        f"drawn → {table}: 2 shards, 2 for the model (3 images), 0 to judge again, 0 reused\n"
    )
    head, _, images, *_, times, tables = first.stdout.splitlines()
    assert head == "drawn: version 1 · 3 images in 1 shard"
    assert images == "images   0 failed · 0 empty · 0 filtered · 0 labelled · 3 verified"
    pattern = r"time     propose [\d.]+ s · judge [\d.]+ s · commit [\d.]+ s · all [\d.]+ s"
    assert re.fullmatch(pattern, times)
    assert tables == f'tables   duckdb "ducklake:sqlite:{table.resolve()}/catalog.sqlite"'


def test_the_seconds_of_several_workers_are_told_to_be_sums(
    run_once: tuple[Path, Result], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run_once[0], tmp_path / "project"))
    shutil.rmtree(folder / "tables")
    done = invoke(run, folder, "--workers", "2")
    pattern = r"propose \S+ s over all workers · judge \S+ s over all workers · commit \S+ s · all"
    assert re.search(pattern, done.stdout)
    assert "| 3/3 [" in done.stderr


def test_a_shard_that_failed_is_named_and_exits_1(run_once: tuple[Path, Result]) -> None:
    _, first = run_once
    assert first.exit_code == 1
    assert "\nshard page failed: the shard " in first.stderr
    assert "is no tar (nor .tar.gz) but a web page" in first.stderr


def test_the_same_again_is_nothing_new_and_scripts_can_read_it(
    run_once: tuple[Path, Result], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run_once[0], tmp_path / "project"))
    (folder / "page.tar").unlink()
    pipelines = folder / "pipelines.yaml"
    pipelines.write_text(PIPELINES.replace(', "*.tar"', ""))
    planned = invoke(plan, folder).stdout
    left, rules = planned.splitlines()
    assert left.endswith(": 1 shard, 0 for the model, 0 to judge again, 1 reused")
    assert rules == "judge: no rules"
    again = invoke(run, folder, "--json")
    report = json.loads(again.stdout)
    assert (again.exit_code, report["version"], report["current"]) == (0, None, 1)
    assert report["workers"] == 1
    assert report["summary"]["images"]["verified"] == 3


def test_a_plan_for_scripts_has_one_entry_per_shard(run_once: tuple[Path, Result]) -> None:
    folder, _ = run_once
    assert json.loads(invoke(plan, folder, "--json", "--limit", "1").stdout) == {
        "pipeline": "drawn",
        "shards": [
            {
                "shard": "scenes-0-000000",
                "url": "scenes://0+3/seed=0/difficulty=0.5/human=1.0",
                "todo": "nothing",
                "images": 3,
            }
        ],
        "profile": None,
        "judge": [],
        "constants": {},
    }
