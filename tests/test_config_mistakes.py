"""pipelines.yaml: the words for options, values and names that are wrong."""

from pathlib import Path
from typing import get_args

import pytest
from config_text import edited, load, mistakes

from stages.catalogue import JUDGES
from stages.florence2.prompts import Task

*TASKS, LAST_TASK = (repr(task) for task in get_args(Task))
A_TASK = f"{', '.join(TASKS)} or {LAST_TASK}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "    checkpoint: owner/name",
            "    checkpoint: owner/name\n    revison: main",
            "5: models.florence.revison: unknown option 'revison', did you mean 'revision'?",
            id="a mistyped option of a model",
        ),
        pytest.param(
            "        min_side: 4",
            "        min_aera: 4",
            "14: pipelines.first.judge[0].min_aera: unknown option 'min_aera', "
            "did you mean 'min_side'?",
            id="a mistyped option of a stage",
        ),
        pytest.param(
            "    table: first\n    round: 1",
            "    xyz: 1",
            "17: pipelines.second.xyz: unknown option 'xyz': "
            "there is shards, table, round, propose, judge",
            id="an option like no other",
        ),
        pytest.param(
            "trainings:",
            "training:",
            "20: training: unknown option 'training', did you mean 'trainings'?",
            id="a mistyped section",
        ),
        pytest.param(
            "    shards: a.tar\n",
            "",
            "6: pipelines.first: 'shards' is required",
            id="an option that is missing",
        ),
        pytest.param(
            "        model: florence\n        tasks",
            "        tasks",
            "9: pipelines.first.propose[0]: 'model' is required",
            id="an option of a stage that is missing",
        ),
        pytest.param(
            "version: 1\n", "", "1: 'version' is required", id="a top level option that is missing"
        ),
        pytest.param(
            "version: 1\n", "version: 2\n", "1: version: should be 1, got 2", id="a later format"
        ),
        pytest.param(
            "min_side: 4",
            "max_area: 95",
            "14: pipelines.first.judge[0].max_area: should be at most 1, got 95",
            id="a number too large",
        ),
        pytest.param(
            "round: 1",
            "round: -1",
            "18: pipelines.second.round: should be at least 0, got -1",
            id="a number too small",
        ),
        pytest.param(
            "round: 1",
            "round: one",
            "18: pipelines.second.round: should be a whole number, got 'one'",
            id="text for a number",
        ),
        pytest.param(
            "round: 1",
            "round: 1.5",
            "18: pipelines.second.round: should be a whole number, got 1.5",
            id="half a round",
        ),
        pytest.param(
            "min_side: 4",
            "min_side: [4]",
            "14: pipelines.first.judge[0].min_side: should be a number, got a list",
            id="a list for a number",
        ),
        pytest.param(
            "min_side: 4",
            "digits_only: maybe",
            "14: pipelines.first.judge[0].digits_only: should be true or false, got 'maybe'",
            id="neither true nor false",
        ),
        pytest.param(
            "checkpoint: owner/name",
            "checkpoint: owner/name\n    revision: 3.10",
            "5: models.florence.revision: should be text, got 3.10: put it in quotes",
            id="a revision that reads as a number",
        ),
        pytest.param(
            "checkpoint: owner/name",
            "checkpoint: owner/name\n    device: gpu",
            "5: models.florence.device: should be 'auto', 'cpu' or 'cuda', got 'gpu'",
            id="a value of a short list",
        ),
        pytest.param(
            "[caption, od]",
            "[caption, odd]",
            f"11: pipelines.first.propose[0].tasks[1]: should be {A_TASK}, got 'odd', "
            "did you mean 'od'?",
            id="a value of a long list",
        ),
        pytest.param(
            "[caption, od]",
            "[od, caption_to_phrase_grounding]",
            "9: pipelines.first.propose[0]: caption_to_phrase_grounding needs a caption to ground: "
            "add one of caption, detailed_caption, more_detailed_caption to tasks",
            id="what a stage says of its own options",
        ),
        pytest.param(
            "shards: a.tar",
            "shards: 3",
            "7: pipelines.first.shards: should be text or a list, got 3: put it in quotes",
            id="neither text nor a list",
        ),
        pytest.param(
            "[b.tar, c.tar]",
            "[b.tar, 3]",
            "16: pipelines.second.shards[1]: should be text, got 3: put it in quotes",
            id="the wrong item of a list",
        ),
        pytest.param(
            "[b.tar, c.tar]",
            "[]",
            "16: pipelines.second.shards: should be at least 1 long, got an empty list",
            id="a list of nothing",
        ),
        pytest.param(
            "    propose: []",
            "    propose:",
            "19: pipelines.second.propose: should be a list, got nothing",
            id="a key with nothing under it",
        ),
        pytest.param(
            "    table: first\n    round",
            "    table: ../first\n    round",
            "17: pipelines.second.table: a name begins with a letter and has only a-z, 0-9 and _, "
            "at most 64 of them",
            id="a table that would leave the store",
        ),
        pytest.param(
            "  second:",
            "  Second-One:",
            "15: pipelines.Second-One: a name begins with a letter and has only a-z, 0-9 and _, "
            "at most 64 of them",
            id="a name with a dash",
        ),
        pytest.param(
            "- stage: florence2",
            "- stage: florenc2\n        modle: florence",
            "9: pipelines.first.propose[0]: unknown stage 'florenc2', did you mean 'florence2'?",
            id="a mistyped stage",
        ),
        pytest.param(
            "- stage: filter_regions",
            "- stage: xyz",
            "13: pipelines.first.judge[0]: unknown stage 'xyz': there is filter_texts, "
            "filter_regions, filter_scores, filter_duplicates, find_consensus, check_tasks, "
            "filter_phrases, merge_human",
            id="a stage like no other",
        ),
        pytest.param(
            "- stage: filter_regions",
            "- stage: florence2",
            "13: pipelines.first.judge[0]: 'florence2' belongs under 'propose:', not 'judge:'",
            id="a proposer among the judges",
        ),
        pytest.param(
            "- stage: filter_regions\n        min",
            "- min",
            "13: pipelines.first.judge[0]: this step has no 'stage:' name",
            id="a step without a stage",
        ),
        pytest.param(
            "- stage: filter_regions\n        min_side: 4",
            "- filter_regions",
            "13: pipelines.first.judge[0]: a step is written '- stage: NAME', got 'filter_regions'",
            id="a step that is only a name",
        ),
        pytest.param(
            "    judge:\n      - stage: filter_regions\n        min_side: 4",
            "    judge: strickt",
            "12: pipelines.first.judge: should be 'permissive' or 'strict', got 'strickt'",
            id="a mistyped profile",
        ),
        pytest.param(
            "    propose: []",
            "    propose: []\n    judge:\n    - stage: filter_phrases",
            "21: pipelines.second.judge[0]: needs phrases, and no stage before it makes them",
            id="an impossible order",
        ),
        pytest.param(
            "      - stage: filter_regions\n        min_side: 4",
            "      - stage: filter_scores\n        min_score: {odd: 0.3}",
            "14: pipelines.first.judge[0].min_score.odd: "
            "no stage of this pipeline does the task 'odd', did you mean 'od'?",
            id="a threshold of a misspelt task",
        ),
        pytest.param(
            "      - stage: filter_regions\n        min_side: 4",
            "      - stage: filter_scores\n        min_label_score: {region_proposal: 0.3}",
            "14: pipelines.first.judge[0].min_label_score.region_proposal: "
            "no stage of this pipeline does the task 'region_proposal': there is caption, od",
            id="a threshold of a task that nobody does",
        ),
        pytest.param(
            "      - stage: filter_regions\n        min_side: 4",
            "      - stage: filter_scores\n        min_score: {od: 0.3, <OD>: 0.4}",
            "14: pipelines.first.judge[0].min_score: names od more than once",
            id="two thresholds of one task",
        ),
        pytest.param(
            "      - stage: filter_regions\n        min_side: 4",
            "      - stage: filter_scores\n        min_score: {<OD>: 3}",
            "14: pipelines.first.judge[0].min_score.<OD>: should be at most 1, got 3",
            id="a threshold of a token that is too large",
        ),
        pytest.param(
            "        tasks: [caption, od]",
            "        tasks: [caption]\n      - stage: florence2\n        model: florence\n"
            "        tasks: [od]",
            "12: pipelines.first.propose[1]: florence2 is there already: "
            "give one stage all its tasks",
            id="a proposer twice",
        ),
        pytest.param(
            "    output: out",
            "    output: out\n    tasks: [od, <OD>]",
            "25: trainings.better.tasks: names od more than once",
            id="a task twice",
        ),
        pytest.param(
            "        model: florence\n",
            "        model: florense\n",
            "10: pipelines.first.propose[0].model: unknown model 'florense', "
            "did you mean 'florence'?",
            id="a stage's model that leads nowhere",
        ),
        pytest.param(
            "    model: florence\n    output",
            "    model: xyz\n    output",
            "23: trainings.better.model: unknown model 'xyz': there is florence",
            id="a training's model that leads nowhere",
        ),
        pytest.param(
            "    table: first\n    model",
            "    table: frist\n    model",
            "22: trainings.better.table: unknown table 'frist', did you mean 'first'?",
            id="a training's table that leads nowhere",
        ),
        pytest.param(
            "    output: out",
            "    output: out\n    version: newest",
            "25: trainings.better.version: should be a whole number or 'latest', got 'newest'",
            id="a version that is no number",
        ),
        pytest.param(
            "    output: out",
            "    output: out\n    epochs: .nan",
            "25: trainings.better.epochs: should be a number, got '.nan'",
            id="not a number",
        ),
        pytest.param(
            "    output: out",
            "    output: out\n    epochs: 'nan'",
            "25: trainings.better.epochs: should be a finite number, got 'nan'",
            id="not a number, in quotes",
        ),
        pytest.param(
            "checkpoint: owner/name",
            "checkpoint: embeded",
            "4: models.florence.checkpoint: 'embeded' is no folder, "
            "and no Hub id such as owner/name, did you mean 'embedded'?",
            id="a mistyped checkpoint",
        ),
        pytest.param(
            "checkpoint: owner/name",
            "checkpoint: round-1",
            "4: models.florence.checkpoint: 'round-1' is no folder, "
            "and no Hub id such as owner/name; the path of a folder begins with ./",
            id="a checkpoint that is neither folder nor Hub id",
        ),
        pytest.param(
            "checkpoint: owner/name",
            "checkpoint: embedded\n    revision: main",
            "5: models.florence.revision: only a Hub id has revisions, not 'embedded'",
            id="a revision of what has none",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert mistakes(tmp_path, edited(old, new)) == [expected]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param("[odd]", "'odd', did you mean 'od'?", id="a task"),
        pytest.param("[Humans]", "'Humans', did you mean 'human'?", id="people"),
        pytest.param("[yolo]", "'yolo': there is od, human", id="like no other"),
        pytest.param("[filter_scores]", "'filter_scores': there is od, human", id="a judge"),
    ],
)
def test_a_source_that_finds_no_regions_is_named(
    tmp_path: Path, sources: str, expected: str
) -> None:
    tasks = "tasks: [od, region_to_category]"
    text = edited("tasks: [caption, od]", f"{tasks}\n        regions_from: {sources}")
    place = "pipelines.first.propose[0].regions_from[0]"
    assert mistakes(tmp_path, text) == [f"12: {place}: no regions come from {expected}"]


def test_regions_come_from_tasks_and_people(tmp_path: Path) -> None:
    tasks = "tasks: [<OD>, region_to_category]\n        regions_from: [OD, <human>]"
    [stage] = load(tmp_path, edited("tasks: [caption, od]", tasks)).pipelines["first"].propose
    assert stage.model_dump()["regions_from"] == ("od", "human")


def test_every_mistake_is_reported_at_once_sorted_by_line(tmp_path: Path) -> None:
    text = """\
models:
  florence: {checkpoint: owner/name, checkpont: x}
pipelines:
  first:
    shards: a.tar
    shards: b.tar
    propose:
      - stage: florence2
        model: florense
        tasks: [od, kaption]
        num_beams: 0
    judge:
      - stage: drop_box
        anything: 1
      - stage: filter_scores
        min_score: {od: 3}
version: 3
"""
    assert mistakes(tmp_path, text) == [
        "2: models.florence.checkpont: unknown option 'checkpont', did you mean 'checkpoint'?",
        "6: pipelines.first.shards: 'shards' appears twice, first in line 5",
        "9: pipelines.first.propose[0].model: unknown model 'florense', did you mean 'florence'?",
        f"10: pipelines.first.propose[0].tasks[1]: should be {A_TASK}, got 'kaption', "
        "did you mean 'caption'?",
        "11: pipelines.first.propose[0].num_beams: should be at least 1, got 0",
        f"13: pipelines.first.judge[0]: unknown stage 'drop_box': there is {', '.join(JUDGES)}",
        "16: pipelines.first.judge[1].min_score.od: should be at most 1, got 3",
        "17: version: should be 1, got 3",
    ]


def test_a_long_value_is_cut_in_its_message(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, edited("round: 1", f"round: {'x' * 5000}"))
    assert line == f"18: pipelines.second.round: should be a whole number, got '{'x' * 75}…'"
