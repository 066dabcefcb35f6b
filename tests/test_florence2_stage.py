from types import SimpleNamespace

import pyarrow.compute as pc
import pytest
import torch

from schemas.annotations import Annotations
from schemas.samples import Sample
from stages.base import Model, finish
from stages.errors import StageError
from stages.florence2.prompts import GROUNDING, PHRASE_TASKS, TASKS
from stages.florence2.session import Florence2Session
from stages.florence2.stage import Florence2


def columns(table, *names):
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


PLACES = ("od", "dense_region_caption", "region_proposal", "ocr_with_region")


@pytest.fixture(scope="module")
def proposed(lively_checkpoint, pictures):
    """All tasks and cascades on two images, with tiles, and with a person's box in each."""
    stage = Florence2(
        model="m",
        tasks=list(TASKS),
        regions_from=["od", "human"],
        max_regions=3,
        phrases_from=["detailed_caption"],
        queries=["star", "dog"],
        tiling="always",
        tile_size=96,
        max_new_tokens=16,
    )
    session = stage.open({"m": Model(checkpoint=str(lively_checkpoint), device="cpu")})
    samples = [Sample("shard-0", str(i), {}, image=image) for i, image in enumerate(pictures[1:])]
    boxes = [{"x0": 4, "y0": 4, "x1": 40, "y1": 40}, {"x0": 9, "y0": 9, "x1": 9, "y1": 20}]
    human = [
        {"image_id": sample.image_id, "source": "human", "label_no": number, **box}
        for sample in samples
        for number, box in enumerate(boxes)
    ]
    so_far = Annotations.of(regions=human)
    return session, samples, so_far, finish(session.propose(samples, so_far))


@pytest.mark.parametrize(
    ("device", "slots", "tasks", "samples"),
    [
        pytest.param("cpu", 32, ["od"], 32, id="a CPU steps no empty slots"),
        pytest.param("cuda", 256, ["od"], 1024, id="one task"),
        pytest.param("cuda", 256, ["od", "caption", "ocr", "region_proposal"], 256, id="four"),
        pytest.param("cuda", 8, ["od", "caption"], 32, id="few slots"),
    ],
)
def test_samples_are_asked_for_that_fill_a_gpu_s_slots_several_times(device, slots, tasks, samples):
    checkpoint = SimpleNamespace(device=torch.device(device))
    engine = SimpleNamespace(checkpoint=checkpoint, batch_size=slots)
    session = Florence2Session(Florence2(model="m", tasks=tasks), engine)
    assert session.samples_at_once == samples


def test_label_numbers_start_at_zero_in_every_image(proposed):
    *_, rows = proposed
    for table in (rows.texts, rows.regions, rows.phrases):
        numbers = {}
        for image, number in columns(table, "image_id", "label_no"):
            numbers.setdefault(image, []).append(number)
        assert numbers
        assert all(found == list(range(len(found))) for found in numbers.values())


def test_every_row_that_was_asked_about_a_label_names_one_that_is_there(proposed):
    *_, rows = proposed
    there = {(f"shard-0/{i}", "human/region/0") for i in range(2)} | {
        (row["image_id"], f"model/{kind}/{row['label_no']}")
        for kind in ("text", "region", "phrase")
        for row in rows.labels(kind).to_pylist()
    }
    kinds = {}
    for row in [*rows.texts.to_pylist(), *rows.regions.to_pylist()]:
        if row["parent"]:
            assert (row["image_id"], row["parent"]) in there
            kinds.setdefault(row["task"], set()).add(row["parent"].split("/")[1])
    of_boxes = {task: {"region"} for task in TASKS if task.startswith("region_to_")}
    of_phrases = {task: {"phrase"} for task in PHRASE_TASKS}
    assert {"region_to_category", "region_to_description", "region_to_ocr"} <= kinds.keys()
    assert kinds.items() <= {**of_boxes, **of_phrases, GROUNDING: {"text"}}.items()
    described = columns(rows.texts, "image_id", "task", "parent")
    assert ("shard-0/1", "region_to_description", "human/region/0") in described
    assert not any(parent == "human/region/1" for *_, parent in described)


def test_tiles_are_asked_for_places_alone(proposed):
    *_, rows = proposed
    found = {}
    for image, task, tile in columns(rows.regions, "image_id", "task", "tile"):
        found.setdefault((image, tile), set()).add(task)
    tiled = {key: tasks for key, tasks in found.items() if key[1]}
    seen = {tile for image, tile in tiled if image == "shard-0/0"}
    assert seen <= {"0,0,96,96", "64,0,160,96", "0,64,96,160", "64,64,160,160"}
    assert len(seen) > 2
    of_regions = {task for task in TASKS if task.startswith("region_to_")}
    assert set.union(*tiled.values()) <= {*PLACES, *of_regions}


def test_no_region_leaves_its_tile_or_its_image(proposed):
    _, samples, _, rows = proposed
    sizes = {sample.image_id: sample.image.size for sample in samples}
    for row in rows.regions.to_pylist():
        tile = row["tile"].split(",") if row["tile"] else (0, 0, *sizes[row["image_id"]])
        x0, y0, x1, y1 = map(int, tile)
        assert x0 < row["x0"] <= row["x1"] < x1
        assert y0 < row["y0"] <= row["y1"] < y1


def test_texts_follow_the_list_of_tasks_and_then_what_they_are_about(proposed):
    *_, rows = proposed
    tasks = [task for image, task in columns(rows.texts, "image_id", "task") if image[-1] == "0"]
    places = [list(TASKS).index(task) for task in tasks]
    assert places == sorted(places)


def test_the_runner_s_columns_stay_empty_and_scores_lie_in_0_to_1(proposed):
    *_, rows = proposed
    assert rows.texts["recipe"].null_count == rows.texts["round"].null_count == len(rows.texts)
    assert len(rows.images) == len(rows.verdicts) == 0
    for name in ("score", "location_score", "windowed_location_score", "label_score", "end_score"):
        extremes = pc.min_max(rows.regions[name]).as_py()
        assert 0 <= extremes["min"] <= extremes["max"] <= 1


def test_each_sample_is_counted_once_when_it_is_done_with(proposed):
    session, samples, so_far, _ = proposed
    assert [done for done in session.propose(samples, so_far) if done] == [1] * len(samples)


def test_a_sample_about_which_nothing_is_asked_is_done_at_once(lively_checkpoint, pictures):
    stage = Florence2(model="m", tasks=["region_to_category"], regions_from=["human"])
    session = stage.open({"m": Model(checkpoint=str(lively_checkpoint), device="cpu")})
    samples = [Sample("shard-0", str(i), {}, image=image) for i, image in enumerate(pictures[:2])]
    box = {"x0": 4, "y0": 4, "x1": 40, "y1": 40}
    human = {"image_id": samples[1].image_id, "source": "human", "label_no": 0, **box}
    work = session.propose(samples, Annotations.of(regions=[human]))
    assert list(work) == [1, 1]


def test_a_gpu_that_is_full_is_told_in_one_sentence(proposed, monkeypatch):
    session, samples, so_far, _ = proposed

    def full(*_):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB"
            " of which 1.5 GiB is free. See documentation for Memory Management (https://…)"
        )

    monkeypatch.setattr(type(session.engine), "stream", full)
    with pytest.raises(StageError) as caught:
        finish(session.propose(samples, so_far))
    assert str(caught.value) == (
        "the GPU has no room for 2.00 GiB more: set batch_size below 32, use fewer workers, or end "
        "what else uses its memory"
    )
    monkeypatch.setattr("stages.florence2.session.load_checkpoint", full)
    with pytest.raises(StageError, match=r"for 2\.00 GiB more: use fewer workers"):
        Florence2Session.open(session.options, Model(checkpoint="mine"))


def test_a_retry_makes_the_same_rows(proposed):
    session, samples, so_far, rows = proposed
    assert finish(session.propose(samples, so_far)) == rows
