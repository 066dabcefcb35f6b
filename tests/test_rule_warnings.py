"""Rules that reject nearly all or nothing are named, where enough labels were seen."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_tables import commit, entry_of, shard_tables

from annotator.rule_warnings import RuleWarning, rule_warnings, warning_lines
from annotator.store import Store
from annotator.summary import Summary, render
from schemas.annotations import table_of
from stages.filter_regions import FilterRegions
from stages.filter_scores import FilterScores
from stages.merge_human import MergeHuman

JUDGES = [FilterRegions(max_area=None), FilterScores(min_score={"od": 0.5}), MergeHuman()]
RULE = "filter_regions.r2_side"


def verdicts(numbers: range, verdict: str = "drop", rule: str = RULE) -> list[dict[str, Any]]:
    key = {"image_id": "s0/000", "shard": "s0", "kind": "region", "source": "model"}
    return [{**key, "label_no": n, "filter": rule, "verdict": verdict} for n in numbers]


def warnings(
    empty_tables: Path, regions: int, rows: list[dict[str, Any]], judges: list[Any] = JUDGES
) -> tuple[RuleWarning, ...]:
    store = Store.open(empty_tables)
    tables = shard_tables("s0", "first", texts=["a dog"], boxes=range(regions))
    tables["verdicts"] = table_of("verdicts", rows)
    commit(store, entry_of(store.root, "s0", "first", tables))
    with store.connect() as connection:
        return rule_warnings(connection, judges)


@pytest.fixture
def tables(empty_tables: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_tables, tmp_path / "cells"))


@pytest.mark.parametrize(
    ("regions", "rejected", "warned"),
    [
        pytest.param(100, 91, True, id="more than nine of ten"),
        pytest.param(100, 90, False, id="nine of ten"),
        pytest.param(99, 99, False, id="too few to tell"),
    ],
)
def test_a_rule_that_rejects_nearly_all_labels_of_a_task(
    tables: Path, regions: int, rejected: int, warned: bool
) -> None:
    twice = [*verdicts(range(rejected)), *verdicts(range(rejected), "quarantine")]
    remarks = verdicts(range(regions), "flag", "filter_regions.r2_sub_token")
    found = warnings(tables, regions, [*twice, *remarks])
    assert found == ((RuleWarning(RULE, "region", "od", rejected, regions),) if warned else ())


def test_what_to_do_is_said_in_one_line() -> None:
    warning = RuleWarning(RULE, "region", "od", rejected=1900, seen=2000)
    [line] = warning_lines([warning])
    assert line == (
        "warning: filter_regions.r2_side rejects 95% of the 2,000 regions of od: look at some of "
        "them with `annotator why`; if they are right, loosen the rule or leave it out, else the "
        "model is to blame"
    )
    told = warning.to_json()
    assert (told["share"], told["sentence"]) == (0.95, line.removeprefix("warning: "))


@pytest.mark.parametrize("regions", [1000, 999])
def test_filters_that_are_on_and_say_nothing(tables: Path, regions: int) -> None:
    """A flag is a word too; `max_area` is off; `merge_human` is no filter."""
    found = warnings(tables, regions, verdicts(range(1), "flag"))
    silent = {warning.filter for warning in found}
    if regions == 999:
        assert found == ()
        return
    assert {(warning.kind, warning.seen, warning.rejected) for warning in found} == {
        ("region", 1000, 0)
    }
    assert {"filter_regions.r4_aspect", "filter_scores.r7_score"} < silent
    assert not silent & {RULE, "filter_regions.r3_area", "merge_human.superseded"}
    [line] = warning_lines(found)
    assert line.startswith("these rules say nothing of the 1,000 regions, ")
    assert line.count(", filter_") == len(silent) - 1


def test_human_labels_are_not_seen_by_any_rule(tables: Path) -> None:
    store = Store.open(tables)
    made = shard_tables("s0", "first", texts=["a dog"], boxes=range(1000))
    people = [{**row, "source": "human"} for row in made["regions"].to_pylist()]
    made["regions"] = table_of("regions", people)
    commit(store, entry_of(store.root, "s0", "first", made))
    with store.connect() as connection:
        assert rule_warnings(connection, JUDGES) == ()


def test_the_summary_ends_with_the_warnings() -> None:
    warning = RuleWarning(RULE, "region", "od", 95, 100)
    summary = Summary(1, {"empty": 1}, (), (), {}, warnings=(warning,))
    assert render(summary).splitlines()[-1].startswith(f"warning: {RULE} rejects 95% ")
    assert summary.to_json()["warnings"] == [warning.to_json()]
