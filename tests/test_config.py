"""pipelines.yaml: what is accepted, and what a config answers."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from config_text import GOOD, edited, load

from annotator.config import Config, Pipeline, TaughtTask, load_config, resolved_models
from annotator.errors import ConfigError
from annotator.lessons import TEACHABLE
from stages.catalogue import JUDGES
from stages.filter_regions import FilterRegions
from stages.filter_texts import FilterTexts
from stages.florence2.prompts import TASKS
from stages.florence2.stage import Florence2
from stages.merge_human import MergeHuman

ROOT = Path(__file__).parent.parent


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


def with_judge(tmp_path: Path, profile: str) -> Pipeline:
    stages = "    judge:\n      - stage: filter_regions\n        min_side: 4\n"
    return load(tmp_path, edited(stages, f"    judge: {profile}\n")).pipelines["first"]


def test_the_strict_profile_is_every_judge_with_its_defaults(tmp_path: Path) -> None:
    judges = with_judge(tmp_path, "strict").judges
    assert judges == [judge() for judge in JUDGES.values()]
    assert judges[-1] == MergeHuman(), "human labels are merged last"


def test_the_permissive_profile_only_flags_but_human_labels_win(tmp_path: Path) -> None:
    *filters, last = with_judge(tmp_path, "permissive").judges
    assert [judge.stage for judge in filters] == list(JUDGES)[:-1]
    assert {judge.verdict_at_most for judge in filters} == {"flag"}
    assert last == MergeHuman()


def test_a_pipeline_that_proposes_nothing_may_judge_the_labels_of_people(tmp_path: Path) -> None:
    judged = "    propose: []\n    judge: [{stage: filter_texts}, {stage: filter_regions}]"
    second = load(tmp_path, edited("    propose: []", judged)).pipelines["second"]
    assert second.judges == [FilterTexts(), FilterRegions()]


def test_a_training_takes_the_tasks_that_can_be_taught() -> None:
    assert set(get_args(TaughtTask)) == set(TEACHABLE)


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


@pytest.mark.parametrize("name", ["full", "coco_full"])
def test_our_full_pipelines_ask_every_task(name: str) -> None:
    [florence] = load_config(ROOT / "pipelines.yaml").pipelines[name].propose
    assert isinstance(florence, Florence2)
    assert set(florence.tasks) == set(TASKS)


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
