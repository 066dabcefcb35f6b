import pytest
from small_tables import commit, entry_of, shard_tables, small_entry

from annotator.evaluation.detection import Counts
from annotator.store import Store
from annotator.summary import LabelCount, RuleCount, Summary, render, summarise
from schemas.annotations import table_of

HUMAN_TEXT = {"image_id": "s0/000", "shard": "s0", "source": "human", "label_no": 0, "text": "a"}
PROBLEM = {"shard": "s0", "image_id": "s0/000", "kind": "malformed_label", "detail": "no name"}


def verdict(label_no: int, rule: str, verdict: str) -> dict[str, object]:
    key = {"image_id": "s0/000", "shard": "s0", "kind": "region", "source": "model"}
    return {**key, "label_no": label_no, "filter": rule, "verdict": verdict}


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Two shards of one image with a text and three regions; of s0/000 two regions are rejected."""
    store = Store.create_or_open(tmp_path_factory.mktemp("tables") / "cells")
    tables = shard_tables("s0", "first", texts=["a dog"])
    tables["texts"] = table_of("texts", [*tables["texts"].to_pylist(), HUMAN_TEXT])
    tables["problems"] = table_of("problems", [PROBLEM] * 2)
    verdicts = [
        verdict(0, "filter_regions.min_side", "drop"),
        verdict(0, "filter_scores.min_score", "quarantine"),
        verdict(1, "filter_scores.min_score", "quarantine"),
        verdict(2, "filter_regions.sub_token", "flag"),
    ]
    tables["verdicts"] = table_of("verdicts", verdicts)
    entries = [entry_of(store.root, "s0", "first", tables), small_entry(store.root, "s1")]
    commit(store, *entries)
    with store.connect() as connection:
        return summarise(connection)


def test_states_labels_verdicts_and_problems_are_counted(summary: Summary) -> None:
    assert summary == Summary(
        shards=2,
        images={"failed": 0, "empty": 0, "filtered": 0, "labelled": 3, "verified": 0},
        labels=(
            LabelCount("text", "human", all=1, kept=1),
            LabelCount("text", "model", all=3, kept=3),
            LabelCount("region", "model", all=9, kept=7),
        ),
        funnel=(
            RuleCount("filter_scores.min_score", flagged=0, quarantined=2, dropped=0, alone=1),
            RuleCount("filter_regions.min_side", flagged=0, quarantined=0, dropped=1, alone=0),
            RuleCount("filter_regions.sub_token", flagged=1, quarantined=0, dropped=0, alone=0),
        ),
        problems={"malformed_label": 2},
    )


def test_the_summary_is_readable(summary: Summary) -> None:
    assert render(summary).splitlines() == [
        "images   0 failed · 0 empty · 0 filtered · 3 labelled · 0 verified",
        "",
        "labels  source  all  kept",
        "text    human     1     1  100%",
        "text    model     3     3  100%",
        "region  model     9     7   78%",
        "",
        "filter                    flag  quarantine  drop  by it alone",
        "filter_scores.min_score      0           2     0            1",
        "filter_regions.min_side      0           0     1            0",
        "filter_regions.sub_token     1           0     0            0",
        "",
        "set aside, with the reason in `problems`: 2 malformed_label",
    ]


def test_large_numbers_are_grouped_and_what_is_not_there_is_not_shown() -> None:
    images = {"failed": 0, "empty": 1_234_567}
    summary = Summary(1, images, (LabelCount("text", "model", 1000, 0),), (), {})
    assert render(summary).splitlines() == [
        "images   0 failed · 1,234,567 empty",
        "",
        "labels  source    all  kept",
        "text    model   1,000     0  0%",
    ]


def test_a_precision_of_no_boxes_is_no_number() -> None:
    truth = (Counts(right=1, found=2, true=4), Counts(right=0, found=0, true=4))
    assert render(Summary(1, {"empty": 1}, (), (), {}, truth=truth)).endswith(
        ": proposed precision 0.50, recall 0.25 → kept precision -, recall 0.00"
    )


def test_remarks_on_answers_are_told_apart_from_what_is_lost() -> None:
    problems = {"malformed_output": 1200, "malformed_label": 2}
    assert render(Summary(1, {"empty": 1}, (), (), problems)).splitlines()[-2:] == [
        "set aside, with the reason in `problems`: 2 malformed_label",
        "answers of the model that were cut or are malformed in part, with the place in "
        "`problems`: 1,200",
    ]
