"""Readers and writers of one store in several processes."""

import shutil
import subprocess
import sys

import pytest
from small_tables import commit, small_entry

from annotator.store import Store

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
        reader.stdout.readline()
        numbers = [commit(store, small_entry(store.root, f"s{i}")) for i in range(3)]
        stop.touch()
        assert len(reader.stdout.readlines()) > 10
    assert (numbers, reader.returncode) == ([1, 2, 3], 0)
