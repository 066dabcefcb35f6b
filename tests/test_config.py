"""pipelines.yaml: what is accepted, and the words for what is not."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from annotator.config import Config, TaughtTask, load_config, resolved_models
from annotator.errors import ConfigError
from annotator.lessons import TEACHABLE
from stages.filter_regions import FilterRegions
from stages.florence2 import Florence2

ROOT = Path(__file__).parent.parent
GOOD = """\
version: 1
models:
  florence:
    checkpoint: owner/name
pipelines:
  first:
    shards: a.tar
    propose:
      - stage: florence2
        model: florence
        tasks: [caption, od]
    judge:
      - stage: filter_regions
        min_side: 4
  second:
    shards: [b.tar, c.tar]
    table: first
    round: 1
    propose: []
trainings:
  better:
    table: first
    model: florence
    output: out
"""


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "pipelines.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [
        line.removeprefix(f"{tmp_path}/pipelines.yaml:") for line in str(caught.value).split("\n")
    ]


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"{old!r} should be in GOOD once"
    return GOOD.replace(old, new)


def test_a_good_file_becomes_a_config(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    name, first = config.pipeline()
    assert (name, first.shards, first.table, first.round) == ("first", "a.tar", None, 0)
    assert first.propose == [Florence2(model="florence", tasks=("caption", "od"))]
    assert first.judge == [FilterRegions(min_side=4)]
    assert config.pipelines["second"].shards == ["b.tar", "c.tar"]
    name, training = config.training()
    assert name == "better"
    assert training.model_dump() == {
        "table": "first",
        "version": "latest",
        "model": "florence",
        "labels": "human",
        "tasks": ["od"],
        "output": "out",
        "epochs": 7,
        "batch_size": 6,
        "learning_rate": 1e-6,
        "freeze_vision": True,
        "seed": 0,
        "minutes": None,
    }


def test_a_config_is_frozen_and_survives_a_pickle(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    with pytest.raises(ValueError, match="frozen"):
        config.store = "elsewhere"  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(config))  # noqa: S301 - our own bytes
    assert again == config
    assert again.path == tmp_path / "pipelines.yaml"


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
            "across_tasks: maybe",
            "14: pipelines.first.judge[0].across_tasks: should be true or false, got 'maybe'",
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
            "11: pipelines.first.propose[0].tasks[1]: should be 'caption', 'detailed_caption', "
            "'more_detailed_caption', 'od', 'dense_region_caption', 'region_proposal', 'ocr', "
            "'ocr_with_region' or 'caption_to_phrase_grounding', got 'odd', did you mean 'od'?",
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
            "filter_regions, filter_phrases, filter_scores, merge_human",
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
        pytest.param(
            "        min_side: 4",
            "        min_side: 4\n        min_side: 5",
            "15: pipelines.first.judge[0].min_side: 'min_side' appears twice, first in line 14",
            id="an option twice",
        ),
        pytest.param(
            "  second:",
            "  first:",
            "15: pipelines.first: 'first' appears twice, first in line 6",
            id="a pipeline twice",
        ),
        pytest.param(
            "shards: a.tar",
            "shards: &a a.tar",
            "7: pipelines.first.shards: anchors (&a) are not used here: write it out",
            id="an anchor",
        ),
        pytest.param(
            "shards: a.tar",
            "shards: *a",
            "7: pipelines.first.shards: aliases (*a) are not used here: write it out",
            id="an alias",
        ),
        pytest.param(
            "    round: 1",
            "    <<: {round: 1}",
            "18: pipelines.second: merge keys (<<) are not used here: write it out",
            id="a merge key",
        ),
        pytest.param(
            "shards: a.tar",
            "shards: !!python/name:os.system a.tar",
            "7: pipelines.first.shards: tags (tag:yaml.org,2002:python/name:os.system) "
            "are not used here",
            id="a tag",
        ),
        pytest.param(
            "    round: 1",
            "    ? [round]\n    : 1",
            "18: pipelines.second: a key must be plain text",
            id="a list for a key",
        ),
        pytest.param(
            "  better:",
            "  better: x:",
            "21: not valid YAML: a ':' that does not belong here: "
            "check the indent, or put the text in quotes",
            id="a colon too many",
        ),
        pytest.param(
            "    output: out",
            "    output: [out",
            "25: not valid YAML: expected ',' or ']', but got '<stream end>', "
            "while parsing a flow sequence that began in line 24",
            id="a bracket that stays open",
        ),
        pytest.param(
            "    output: out",
            "\toutput: out",
            "24: not valid YAML: a tab, where only spaces can indent",
            id="a tab",
        ),
        pytest.param(
            "    output: out",
            "    output: o\x00ut",
            "24: not valid YAML: the character #x0000 is in it",
            id="a control character",
        ),
        pytest.param(
            "    output: out",
            "    output: out\n---\nversion: 1",
            "25: a second YAML document: one file has one",
            id="two documents",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert mistakes(tmp_path, edited(old, new)) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "", "1: the file is empty: it needs version, models and pipelines", id="nothing"
        ),
        pytest.param(
            "# later\n",
            "1: the file is empty: it needs version, models and pipelines",
            id="only a comment",
        ),
        pytest.param(
            "hello", "1: should be a block of 'name: value' lines, got 'hello'", id="a word"
        ),
        pytest.param(
            "- a\n- b", "1: should be a block of 'name: value' lines, got a list", id="a list"
        ),
        pytest.param(
            "version: 1\nmodels: {}\npipelines: {}",
            "3: pipelines: should be at least 1 long, got an empty block",
            id="no pipeline",
        ),
    ],
)
def test_a_file_that_is_no_config_says_so(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


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
        "10: pipelines.first.propose[0].tasks[1]: should be 'caption', 'detailed_caption', "
        "'more_detailed_caption', 'od', 'dense_region_caption', 'region_proposal', 'ocr', "
        "'ocr_with_region' or 'caption_to_phrase_grounding', got 'kaption', "
        "did you mean 'caption'?",
        "11: pipelines.first.propose[0].num_beams: should be at least 1, got 0",
        "13: pipelines.first.judge[0]: unknown stage 'drop_box': there is filter_texts, "
        "filter_regions, filter_phrases, filter_scores, merge_human",
        "16: pipelines.first.judge[1].min_score.od: should be at most 1, got 3",
        "17: version: should be 1, got 3",
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("no", "no", id="no is a word"),
        pytest.param("on", "on", id="on is a word"),
        pytest.param("2024-01-02", "2024-01-02", id="a date is text"),
        pytest.param("1:30", "1:30", id="a time is text"),
        pytest.param("0012345", "0012345", id="leading zeros stay"),
        pytest.param("'3.10'", "3.10", id="quotes make text"),
        pytest.param(
            "1234567890123456789012345678901234567890",
            "1234567890123456789012345678901234567890",
            id="a commit of digits only",
        ),
    ],
)
def test_a_name_is_read_as_it_is_written(tmp_path: Path, written: str, read: str) -> None:
    text = edited("checkpoint: owner/name", f"checkpoint: owner/name\n    revision: {written}")
    assert load(tmp_path, text).models["florence"].revision == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("1e-6", 1e-6, id="without a point"),
        pytest.param("1.0e-6", 1e-6, id="with a point"),
        pytest.param(".5", 0.5, id="without a zero"),
        pytest.param("1", 1.0, id="whole"),
    ],
)
def test_a_number_is_read_as_a_number(tmp_path: Path, written: str, read: float) -> None:
    text = edited("    output: out", f"    output: out\n    learning_rate: {written}")
    assert load(tmp_path, text).trainings["better"].learning_rate == read


def test_tasks_may_be_written_as_microsofts_tokens(tmp_path: Path) -> None:
    text = edited("    output: out", "    output: out\n    tasks: [<OD>, CAPTION]")
    assert load(tmp_path, text).trainings["better"].tasks == ["od", "caption"]


def test_a_threshold_may_name_its_task_by_microsofts_token(tmp_path: Path) -> None:
    text = edited(
        "      - stage: filter_regions\n        min_side: 4",
        "      - stage: filter_scores\n        min_score: {<OD>: 0.3}",
    )
    [judge] = load(tmp_path, text).pipelines["first"].judge
    assert judge.model_dump()["min_score"] == {"od": 0.3}


def test_a_training_takes_the_tasks_that_can_be_taught() -> None:
    assert set(get_args(TaughtTask)) == set(TEACHABLE)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert list(load_config(path).pipelines) == ["first", "second"]


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "pipelines.yaml")
    assert str(caught.value) == (
        f"no pipelines.yaml in {tmp_path}: run it where one is, or name it with --config"
    )


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert str(caught.value) == f"{tmp_path} is a folder: name the file in it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.touch(mode=0o000)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path} cannot be read: Permission denied"


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_bytes(b"version: 1\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}:2: not UTF-8 (byte 0xe9): save the file as UTF-8"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[" * 100_000, "1: nested more than 20 levels deep", id="brackets"),
        pytest.param("{a: " * 100_000, "1: nested more than 20 levels deep", id="braces"),
        pytest.param("- " * 100_000, "1: nested more than 20 levels deep", id="dashes"),
        pytest.param("? " * 100_000, "1: nested more than 20 levels deep", id="complex keys"),
    ],
)
def test_a_file_of_endless_depth_ends_in_a_sentence(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert mistakes(tmp_path, text) == [expected]


def test_depth_is_named_with_its_line(tmp_path: Path) -> None:
    deep = "\n".join(f"{'  ' * level}a:" for level in range(30))
    assert mistakes(tmp_path, deep) == ["21: nested more than 20 levels deep"]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path} is larger than 1,000,000 bytes: is it a pipelines file?"


def test_a_long_value_is_cut_in_its_message(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, edited("round: 1", f"round: {'x' * 5000}"))
    assert line == f"18: pipelines.second.round: should be a whole number, got '{'x' * 75}…'"


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    load(folder, GOOD)
    monkeypatch.chdir(tmp_path)
    config = load_config("project/pipelines.yaml")
    assert config.path == folder / "pipelines.yaml"
    assert config.store_folder("first") == folder / "tables" / "first"
    assert config.store_folder("second") == folder / "tables" / "first"
    assert config.resolve("out") == folder / "out"


def test_a_table_that_is_called_as_another_pipeline_is_its_own_folder(tmp_path: Path) -> None:
    text = edited("    shards: a.tar", "    table: second\n    shards: a.tar")
    config = load(tmp_path, text)
    assert config.store_folder("second") == tmp_path / "tables" / "second"
    assert config.store_folder("first") == tmp_path / "tables" / "first"


def test_a_table_that_no_pipeline_writes_any_more_is_still_found(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    with pytest.raises(ConfigError) as caught:
        config.store_folder("frist")
    assert str(caught.value) == (
        "unknown table or pipeline 'frist', did you mean 'first'? "
        "(pipelines.yaml has first, second)"
    )
    (tmp_path / "tables" / "old").mkdir(parents=True)
    assert config.store_folder("old") == tmp_path / "tables" / "old"
    with pytest.raises(ConfigError):
        config.store_folder("../tables")


def test_a_checkpoint_is_a_folder_where_one_is_and_a_hub_id_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine" / "large").mkdir(parents=True)
    text = edited(
        "    checkpoint: owner/name",
        "    checkpoint: owner/name\n    revision: abc\n"
        "  shipped: {checkpoint: embedded}\n"
        "  later: {checkpoint: ./checkpoints/later}\n"
        "  here: {checkpoint: mine/large, device: cpu}\n"
        "  absolute: {checkpoint: /models/large}",
    )
    models = resolved_models(load(tmp_path, text))
    assert {name: model.checkpoint for name, model in models.items()} == {
        "florence": "owner/name",
        "shipped": str(ROOT / "annotator" / "embedded" / "checkpoint"),
        "later": str(tmp_path / "checkpoints" / "later"),
        "here": str(tmp_path / "mine" / "large"),
        "absolute": "/models/large",
    }
    assert models["florence"].revision == "abc"
    assert models["here"].device == "cpu"


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    with pytest.raises(ConfigError) as caught:
        config.pipeline("secnod")
    assert str(caught.value) == (
        "unknown pipeline 'secnod', did you mean 'second'? (pipelines.yaml has first, second)"
    )
    with pytest.raises(ConfigError) as caught:
        config.training("xyz")
    assert str(caught.value) == "unknown training 'xyz' (pipelines.yaml has better)"


def test_without_trainings_there_is_no_first_one(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD[: GOOD.index("trainings:")])
    with pytest.raises(ConfigError) as caught:
        config.training()
    assert str(caught.value) == (
        f"{tmp_path}/pipelines.yaml has no trainings: write one under 'trainings:'"
    )


def test_our_own_pipelines_file_is_valid() -> None:
    config = load_config(ROOT / "pipelines.yaml")
    assert config.pipeline()[0] == "demo"
    assert config.store_folder("bccd_round_1") == ROOT / "tables" / "bccd"
    for name, training in config.trainings.items():
        after = resolved_models(config)[name].checkpoint
        assert after == str(config.resolve(training.output)), "the next round names what it made"


def test_the_schema_knows_the_stages() -> None:
    schema = Config.model_json_schema()
    assert schema["required"] == ["version", "models", "pipelines"]
    assert schema["additionalProperties"] is False
    assert {"Florence2", "FilterRegions", "MergeHuman"} <= set(schema["$defs"])


def test_reading_a_config_loads_no_heavy_library() -> None:
    heavy = "torch", "transformers", "duckdb", "dask", "distributed", "webdataset"
    code = f"import sys, annotator.config; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
