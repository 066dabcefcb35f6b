"""New rules for stored candidates: what the dry run says is what the next version holds."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from stored_candidates import make_project, write_pipelines

from annotator.cli.judge import judge
from annotator.cli.versions import diff
from annotator.config import load_config
from annotator.errors import AnnotatorError, StoreError
from annotator.plan import plan_run
from annotator.rejudge import judge as rejudge
from annotator.rejudge import plan_judging, preview
from annotator.runner import execute
from annotator.store import Store

LOOSE = "[{stage: filter_scores, min_score: 0.3}, {stage: filter_regions, min_side: 20}]"
OTHER = "[{stage: filter_scores, min_score: 0.5}, {stage: filter_regions, min_side: 5}]"
JUDGE_IN_A_NEW_INTERPRETER = """
import sys
from annotator.cli import main
try:
    main(["judge", "drawn", "--config", sys.argv[1]])
except SystemExit as end:
    assert end.code == 0, end.code
print("heavy:", *{"torch", "transformers"} & set(sys.modules))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judged once by `LOOSE`, which made version 1."""
    folder = tmp_path_factory.mktemp("judged") / "project"
    config = make_project(folder, LOOSE)
    done = invoke(config)
    assert "drawn: version 1 · 5 images in 3 shards" in done.stdout
    return folder


def invoke(config: Path, *options: str) -> Result:
    words = ["drawn", "--config", str(config), *options]
    return CliRunner().invoke(judge, words, catch_exceptions=False)


def store(project: Path) -> Store:
    return Store.open(project / "tables" / "drawn")


def ask(project: Path, sql: str, version: int) -> list[tuple[Any, ...]]:
    with store(project).connect(version) as connection:
        return connection.execute(sql).fetchall()


def changes(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("kind", "source", "category", "rejected", "restored"))


def test_the_next_version_differs_as_the_dry_run_said_and_the_old_one_still_answers(
    project: Path,
) -> None:
    kept = ask(project, "SELECT label_id FROM regions ORDER BY 1", 1)
    config = write_pipelines(project, OTHER)
    said = json.loads(invoke(config, "--dry-run", "--json").stdout)
    shown = invoke(config, "--dry-run").stdout
    assert "3 shards would differ from version 1; nothing was committed" in shown
    assert [version.number for version in store(project).versions()] == [1]

    made = json.loads(invoke(config, "--json").stdout)
    assert (made["version"], made["summary"]) == (2, said["summary"])
    table = ["--table", str(store(project).root), "--json"]
    rows = json.loads(CliRunner().invoke(diff, ["1", "2", *table]).stdout)["counts"]
    assert rows == said["counts"]
    assert sum(row["rejected"] for row in rows) > 0
    assert sum(row["restored"] for row in rows) > 0
    assert ask(project, "SELECT label_id FROM regions ORDER BY 1", 1) == kept
    assert rules_between(project) == {
        rule["filter"]: (rule["rejected"], rule["restored"]) for rule in said["rules"]
    }
    assert "no label would change" in invoke(config, "--dry-run").stdout


def rules_between(project: Path) -> dict[str, tuple[int, int]]:
    """Rule → labels that it newly rejects, and kept ones that it rejected, as sets of ids say."""
    rejecting = "SELECT filter, label_id FROM verdicts WHERE verdict <> 'flag'"
    first, second = (set(ask(project, rejecting, version)) for version in (1, 2))
    out, back = (
        {label for _, label in one} - {label for _, label in other}
        for one, other in ((second, first), (first, second))
    )
    return {
        rule: (
            sum(name == rule and label in out for name, label in second),
            sum(name == rule and label in back for name, label in first),
        )
        for rule in {
            *(name for name, label in second if label in out),
            *(name for name, label in first if label in back),
        }
    }


def test_shards_that_are_not_in_the_tables_yet_count_as_added(tmp_path: Path) -> None:
    config = load_config(make_project(tmp_path / "project", LOOSE))
    assert execute(plan_run(config, limit=2)).version == 1
    said = preview(plan_judging(config))
    assert (said.shards, said.rules) == (1, ())
    assert rejudge(plan_judging(config)).version == 2
    assert store(tmp_path / "project").diff(1, 2).counts == said.diff.counts
    assert sum(row.added for row in said.diff.counts) > 0


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "dask"])
def test_two_workers_of_any_executor_judge_as_one_does(
    project: Path, tmp_path: Path, executor: str
) -> None:
    config = make_project(tmp_path / "project", LOOSE)
    invoke(config, "--executor", executor, "--workers", "2")
    rows = "SELECT * EXCLUDE (shard) FROM verdicts ORDER BY ALL"
    assert ask(tmp_path / "project", rows, 1) == ask(project, rows, 1)


def test_judging_loads_no_model(tmp_path: Path) -> None:
    config = make_project(tmp_path / "project", LOOSE)
    command = [sys.executable, "-c", JUDGE_IN_A_NEW_INTERPRETER, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"
    assert store(tmp_path / "project").latest().number == 1


def test_candidates_that_are_not_there_are_left_to_run(tmp_path: Path) -> None:
    config = write_pipelines(tmp_path / "project", LOOSE)
    with pytest.raises(AnnotatorError, match=r"3 of 3 shards of drawn .* `annotator run drawn`"):
        plan_judging(load_config(config))
    assert not list(tmp_path.rglob("catalog.sqlite"))


def test_a_dry_run_needs_a_version_to_hold_the_verdicts_against(tmp_path: Path) -> None:
    config = make_project(tmp_path / "project", LOOSE)
    with pytest.raises(StoreError, match="no tables here"):
        invoke(config, "--dry-run")
