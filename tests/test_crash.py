"""The crash benchmark in short: 100 kills of 40 shards are `python benchmarks/crash.py`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "crash.py"


@pytest.mark.slow
def test_after_each_kill_the_tables_are_whole_and_the_next_run_makes_those_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    options = ["--kills", "3", "--shards", "3", "--versions", "1", "--no-model", "--json"]
    command = [sys.executable, str(BENCHMARK), *options, str(tmp_path / "crash.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "crash.json").read_text())["figures"]
    assert (figures["kills"], sum(figures["killed_in"].values())) == (3, 3)
    found = figures["found"]
    assert found.pop("rows") > 0
    assert set(found.values()) == {0}
