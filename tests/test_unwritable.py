"""A full disk and a store that cannot be written: one sentence, tables as they were, and on."""

import os
import random
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotator.packing import pack_folder
from annotator.store import Store

PIPELINES = """
version: 1
models: {{}}
pipelines:
  cells:
    shards: {shards}/*.tar
    propose: []
    judge: [{{stage: filter_regions}}]
"""
TABLES = ("images", "all_texts", "ledger")
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from annotator.cli import main
main(sys.argv[1:])
"""
FULL = "the disk is full"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of four shards, each with a long caption by a person, after a run."""
    folder = tmp_path_factory.mktemp("full") / "project"
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for number in range(4):
        words = "".join(random.Random(number).choices(string.ascii_letters, k=60_000))
        (photos / f"cell{number}.txt").write_text(words)
        Image.new("RGB", (64, 48), (number, 0, 0)).save(photos / f"cell{number}.png")
    pack_folder(photos, folder / "shards", prefix="cells", samples_per_shard=1)
    (folder / "pipelines.yaml").write_text(PIPELINES.format(shards=folder / "shards"))
    assert annotator(folder, "run", "cells").returncode == 0
    return folder


def annotator(folder: Path, *words: str, most_bytes: int | None = None) -> Any:
    """The command line; `most_bytes` is the size beyond which no file can grow."""
    limited = [] if most_bytes is None else ["-c", LIMITED, str(most_bytes)]
    command = [sys.executable, *(limited or ["-m", "annotator"]), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def rows(folder: Path) -> dict[str, list[Any]]:
    hidden = "EXCLUDE (part, run, rows, committed_at)"
    with Store.open(folder / "tables" / "cells").connect() as lake:
        return {
            name: lake.execute(
                f"SELECT * {hidden if name == 'ledger' else ''} FROM {name} ORDER BY ALL"
            ).fetchall()
            for name in TABLES
        }


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory with these options, or changes the options of that one."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        change = ["remount,"] if folder.is_mount() else []
        command = ["mount", "-t", "tmpfs", "-o", "".join([*change, options]), "tmpfs", str(folder)]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def assert_one_sentence(ended: Any) -> None:
    assert (ended.returncode, ended.stdout) == (1, "")
    [said] = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert FULL in said


@pytest.mark.slow
def test_a_part_that_finds_the_disk_full_ends_the_run_and_the_next_one_goes_on(
    done: Path, tmp_path: Path
) -> None:
    shutil.copy(done / "pipelines.yaml", tmp_path)
    Store.create_or_open(tmp_path / "tables" / "cells")
    assert_one_sentence(annotator(tmp_path, "run", "cells", most_bytes=40_000))
    assert annotator(tmp_path, "run", "cells").returncode == 0
    assert rows(tmp_path) == rows(done)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["160k", "320k", "640k"], ids=["tables", "parts", "commit"])
def test_a_full_disk_leaves_tables_that_work_and_the_next_run_finishes(
    done: Path, mounted: Callable[[str], Path], size: str
) -> None:
    folder = mounted(f"size={size}")
    shutil.copy(done / "pipelines.yaml", folder)
    assert_one_sentence(annotator(folder, "run", "cells"))
    mounted("size=64m")
    assert annotator(folder, "run", "cells").returncode == 0
    assert rows(folder) == rows(done)


@pytest.mark.slow
def test_a_store_on_a_read_only_disk_answers_and_refuses_a_run(
    done: Path, mounted: Callable[[str], Path]
) -> None:
    folder = mounted("size=64m")
    shutil.copytree(done, folder, dirs_exist_ok=True)
    for beside in folder.glob("tables/cells/catalog.sqlite-*"):
        beside.unlink()
    mounted("ro")
    assert rows(folder) == rows(done)
    asked = annotator(folder, "query", "--table", "cells", "SELECT count(*) FROM texts")
    assert (asked.returncode, asked.stdout.split()[-1]) == (0, "4")
    refused = annotator(folder, "run", "cells")
    assert refused.returncode == 1
    assert "error: " in refused.stderr
    assert "cannot write tables here" in refused.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_store_without_permission_to_write_answers(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path / "project")
    folder = tmp_path / "project" / "tables" / "cells"
    for beside in folder.glob("catalog.sqlite-*"):
        beside.unlink()
    folder.chmod(0o555)
    assert rows(tmp_path / "project") == rows(done)
    folder.chmod(0o755)
