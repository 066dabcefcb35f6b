import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_tables import commit, entry_of, shard_tables

from annotator.cli.evaluate import evaluate
from annotator.errors import ConfigError
from annotator.store import Store
from schemas.annotations import table_of


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(evaluate, arguments, catch_exceptions=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two images, the model found a dog on each; people drew dogs on the first only."""
    store = Store.create_or_open(tmp_path / "dogs")
    tables = shard_tables("s", "first", boxes=[0])
    found = [{**row, "score": 0.9} for row in tables["regions"].to_pylist()]
    drawn = [{**found[0], "source": "human", "label_no": n, "task": None} for n in (0, 1)]
    drawn[1] |= {"x0": 60.0, "x1": 90.0}
    tables["regions"] = table_of("regions", [*found, *drawn])
    commit(store, entry_of(store.root, "s", "first", tables))
    return store.root


def test_a_version_is_measured_against_people(table: Path):
    done = invoke("--on", "human", "--table", str(table))
    assert done.stdout == (
        "category  people  model  AP@.50  AP@[.50:.95]  precision  recall\n"
        "────────  ──────  ─────  ──────  ────────────  ─────────  ──────\n"
        "dog            2      1  0.505   0.505         1.000      0.500\n"
        "all            2      1  0.505   0.505         1.000      0.500\n"
    )
    assert done.stderr == (
        "1 image with human boxes, which count as exhaustive: what the model found besides is "
        "wrong\n"
    )


@pytest.mark.parametrize("version", [["--version", "1"], ["--version", "gold"], []])
def test_the_same_as_json(table: Path, version: list[str]):
    Store.open(table).tag("gold", 1)
    options = ["--table", str(table), *version, "--category", "dog", "--min-score", "0.95"]
    report = json.loads(invoke("--on", "human", *options, "--json").stdout)
    assert (report["table"], report["version"], report["images"]) == ("dogs", 1, 1)
    assert report["figures"][0] == {
        "category": "dog",
        "ap_50": 0.0,
        "ap": 0.0,
        "right": 0,
        "found": 0,
        "true": 2,
        "precision": None,
        "recall": 0.0,
    }


def test_the_embedded_checkpoint_is_measured_on_scenes(tmp_path: Path):
    somewhere = str(tmp_path / "pipelines.yaml")
    done = invoke("--on", "scenes", "--scenes", "3", "--config", somewhere)
    rows = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert rows[0] == ["task", "measure", "reached", "target", "asked"]
    (found,) = [row for row in rows if row[1] == "mAP@.50"]
    assert 0.3 <= float(found[2]) <= 1
    assert found[3:] == ["0.800", "3"]
    assert re.search(r"embedded \([0-9a-f]{12}\) on 3 unseen scenes of difficulty 0.5", done.stderr)


def test_a_checkpoint_that_has_learnt_nothing_reaches_nothing(tiny_checkpoint: Path):
    options = ["--scenes", "1", "--model", str(tiny_checkpoint), "--difficulty", "0.2", "--json"]
    report = json.loads(invoke("--on", "scenes", *options).stdout)
    assert (report["model"], report["scenes"]) == (str(tiny_checkpoint), 1)
    reached = {(row["task"], row["name"]): row["value"] for row in report["figures"]}
    assert reached["od", "map_50"] == 0
    assert reached["region_to_category", "equal"] == 0


def test_an_unknown_model_is_named_with_those_there_are(tmp_path: Path):
    with pytest.raises(
        ConfigError, match="unknown model 'embeded': name one of embedded, a folder"
    ):
        invoke("--on", "scenes", "--model", "embeded", "--config", str(tmp_path / "none.yaml"))


def test_an_option_of_the_other_kind_is_refused():
    done = invoke("--on", "human", "--difficulty", "0.5")
    assert done.exit_code == 2
    assert "--difficulty goes with --on scenes, not with --on human" in done.stderr


def test_a_share_that_is_no_number_is_refused():
    for option in ("--difficulty", "--min-score"):
        done = invoke("--on", "scenes", option, "nan")
        assert done.exit_code == 2
        assert "nan is not in the range 0<=x<=1" in done.stderr
