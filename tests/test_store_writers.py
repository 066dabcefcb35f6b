"""Readers and writers of one store in several processes.

    WRITERS_ROUNDS=20 pytest tests/test_store_writers.py

begins more pairs of runs, each time at other moments.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_tables import commit, small_entry

from annotator.packing import pack_folder
from annotator.store import Store

ROUNDS = int(os.environ.get("WRITERS_ROUNDS", "1"))
PIPELINES = """
version: 1
models: {}
pipelines:
  loose:
    shards: shards/*.tar
    table: cells
    propose: []
    judge: [{stage: filter_regions}]
  strict:
    round: 1
    shards: shards/*.tar
    table: cells
    propose: []
    judge: [{stage: filter_regions, min_side: 50}]
"""
TABLES = ("images", "all_texts", "texts", "verdicts", "problems")

LOOK = """
import sys
from pathlib import Path
from annotator.store import Store
looks = 0
while not Path(sys.argv[2]).exists():
    numbers = [version.number for version in Store.open(Path(sys.argv[1])).versions()]
    assert numbers == list(range(1, len(numbers) + 1))
    looks += 1
    print(looks, flush=True)
"""


@pytest.fixture
def store(tmp_path, empty_tables):
    shutil.copytree(empty_tables, tmp_path / "cells")
    return Store.create_or_open(tmp_path / "cells")


@pytest.mark.slow
def test_a_reader_that_looks_all_the_time_and_a_writer_do_not_hinder_each_other(store, tmp_path):
    """Two copies of SQLite in the writer's process had let go of each other's locks."""
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", LOOK, str(store.root), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        numbers = []
        for i in range(3):
            assert reader.stdout.readline(), "it looks no more"
            numbers.append(commit(store, small_entry(store.root, f"s{i}")))
        stop.touch()
        assert reader.stdout.readlines(), "it did not look while the last commit was made"
    assert (numbers, reader.returncode) == ([1, 2, 3], 0)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards of people's captions, and two pipelines that judge them for the same tables."""
    folder = tmp_path_factory.mktemp("two") / "project"
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(photos / f"cell{number}.png")
        (photos / f"cell{number}.txt").write_text("cell " * number)
    pack_folder(photos, folder / "shards", prefix="cells", samples_per_shard=1)
    (folder / "pipelines.yaml").write_text(PIPELINES)
    return folder


def begin(folder: Path, pipeline: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "annotator", "run", pipeline, "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, **pipes)


def ended(run: "subprocess.Popen[str]") -> int | None:
    """The version that it made, if any; a run that was refused said one sentence."""
    said, words = run.communicate()
    assert run.returncode == 0, words
    version: int | None = json.loads(said)["version"]
    return version


def rows_at(folder: Path, version: int) -> dict[str, list[Any]]:
    """All but the addresses of the shards, which name the folder."""
    with Store.open(folder / "tables" / "cells").connect(version) as lake:
        return {
            name: lake.execute(
                f"SELECT COLUMNS(c -> c <> 'url') FROM {name} ORDER BY ALL"
            ).fetchall()
            for name in TABLES
        }


@pytest.fixture(scope="module")
def alone(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Pipeline → its rows where nobody else was at it."""
    folder = Path(shutil.copytree(project, tmp_path_factory.mktemp("alone") / "project"))
    versions = {name: ended(begin(folder, name)) for name in ("loose", "strict")}
    assert versions == {"loose": 1, "strict": 2}
    return {name: rows_at(folder, version) for name, version in versions.items() if version}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize("second", ["loose", "strict"], ids=["one recipe", "two recipes"])
def test_two_runs_at_once_both_land_and_no_version_is_mixed(
    project: Path, alone: dict[str, Any], tmp_path: Path, second: str, seed: int
) -> None:
    folder = Path(shutil.copytree(project, tmp_path / "project"))
    runs = [begin(folder, "loose")]
    time.sleep(random.Random(seed).uniform(0, 1) if seed else 0)
    runs.append(begin(folder, second))
    made = {name: ended(run) for name, run in zip(("loose", second), runs, strict=True)}
    if second == "loose":
        numbers = [version.number for version in Store.open(folder / "tables" / "cells").versions()]
        assert numbers == [1]
        assert rows_at(folder, 1) == alone["loose"]
        return
    assert sorted(made.values(), key=str) == [1, 2]
    for name, version in made.items():
        assert version is not None
        assert rows_at(folder, version) == alone[name]
