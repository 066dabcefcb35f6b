import json
import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.embedded.batches import grid_truth
from annotator.embedded.build import build_checkpoint
from annotator.embedded.exam import examine
from annotator.embedded.export import CHECKPOINT, export_checkpoint
from annotator.embedded.plan import Plan
from annotator.embedded.train import Trainer
from annotator.scenes.draw import Scene, Thing


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    build_checkpoint(folder)
    return folder


def test_plain_transformers_load_the_checkpoint_and_generate(checkpoint: Path):
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = Florence2ForConditionalGeneration.from_pretrained(checkpoint).eval()
    inputs = processor(images=Image.new("RGB", (320, 200)), text="<OD>", return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=8)
    assert inputs["pixel_values"].shape == (1, 3, 160, 160)
    assert tokens[0, 0] == 2


def test_the_tokenizer_carries_florence_s_tokens_in_microsoft_s_order(checkpoint: Path):
    tokenizer = AutoProcessor.from_pretrained(checkpoint).tokenizer
    named = ["<s>", "<pad>", "</s>", "<unk>"]
    assert tokenizer.convert_tokens_to_ids(named) == [0, 1, 2, 3]
    first = tokenizer.convert_tokens_to_ids("<loc_0>")
    assert tokenizer.convert_tokens_to_ids(["<loc_1>", "<loc_999>"]) == [first + 1, first + 999]
    assert tokenizer.convert_tokens_to_ids("<image>") == len(tokenizer) - 1
    assert tokenizer.image_token_id == len(tokenizer) - 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("circle<loc_5><loc_999>star", id="locations"),
        pytest.param("A café, 10 €, 象", id="any script"),
        pytest.param("two  spaces\nand a line", id="white space"),
    ],
)
def test_the_tokenizer_can_write_any_text(checkpoint: Path, text: str):
    tokenizer = AutoProcessor.from_pretrained(checkpoint).tokenizer
    assert tokenizer.decode(tokenizer(text).input_ids) == f"<s>{text}</s>"


def test_equal_seeds_build_equal_files(checkpoint: Path, tmp_path: Path):
    build_checkpoint(tmp_path / "again")
    build_checkpoint(tmp_path / "other", seed=1)
    for file in checkpoint.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    weights = "model.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (checkpoint / weights).read_bytes()


def test_a_training_teaches_the_eyes_then_the_tongue_and_can_be_resumed(tmp_path: Path):
    plan = Plan(minutes=0.02, output=tmp_path, images=2, vision_minutes=0.01, exam_scenes=1)
    first = Trainer(plan)
    first.run()
    assert first.spent >= 60 * plan.minutes
    notes = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert "od_f1" in notes[-1]
    Florence2ForConditionalGeneration.from_pretrained(tmp_path / "checkpoint")
    resumed = Trainer(plan)
    assert resumed.step == first.step
    assert torch.equal(resumed.heads.center.weight, first.heads.center.weight)


def test_the_eyes_learn_from_one_batch_what_lies_where(tmp_path: Path):
    trainer = Trainer(Plan(minutes=9, output=tmp_path, images=2, warm_up_steps=1))
    losses = []
    for _ in range(6):
        trainer.rng = random.Random(0)
        losses.append(trainer.learn()["heads"])
    assert losses[-1] < 0.9 * losses[0]


def test_visual_tokens_know_the_thing_they_lie_on():
    scene = Scene(
        Image.new("RGB", (320, 320)),
        (Thing("ring", "blue", "dotted", "large", (0.0, 0.0, 96.0, 96.0), (0.0, 0.0) * 3),),
        (),
        "gray",
        "flat",
    )
    truth = grid_truth([scene])
    names = truth.names.reshape(10, 10)
    assert (names[:3, :3] == 4).all()
    assert (names >= 0).sum() == 9
    assert truth.boxes.reshape(10, 10, 4)[1, 1].tolist() == [0, 0, 300, 300]
    assert truth.center.reshape(10, 10).nonzero().tolist() == [[1, 1]]


def test_an_exported_checkpoint_is_half_as_large_and_loads_as_float32(
    checkpoint: Path, tmp_path: Path
):
    export_checkpoint(checkpoint, tmp_path / "small")
    weights = tmp_path / "small" / "model.safetensors"
    assert weights.stat().st_size < 0.51 * (checkpoint / "model.safetensors").stat().st_size
    model = Florence2ForConditionalGeneration.from_pretrained(tmp_path / "small")
    assert model.dtype == torch.float32
    assert model.generation_config.num_beams == 3


def test_the_checkpoint_that_ships_is_small_and_names_what_lies_in_a_plain_scene():
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= 12_000_000
    model = Florence2ForConditionalGeneration.from_pretrained(CHECKPOINT).eval()
    tokenizer = AutoProcessor.from_pretrained(CHECKPOINT).tokenizer
    figures = examine(model, tokenizer, 16, tasks=("od", "caption", "region_to_category"))
    assert figures["od_f1"] >= 0.8
    assert figures["caption_pairs_f1"] >= 0.75
    assert figures["region_to_category_equal"] >= 0.85


def test_training_goes_on_from_a_checkpoint_whose_eyes_stay_while_new_heads_learn(
    checkpoint: Path, tmp_path: Path
):
    trained = Florence2ForConditionalGeneration.from_pretrained(checkpoint)
    plan = Plan(minutes=9, output=tmp_path, further_from=checkpoint, images=2, seed=1)
    trainer = Trainer(plan)
    assert torch.equal(trainer.model.get_input_embeddings().weight, trained.lm_head.weight)
    trainer.learn()
    before, after = (model.model.vision_tower.state_dict() for model in (trained, trainer.model))
    assert all(torch.equal(before[name], after[name]) for name in before)
    fresh = Plan(minutes=9, output=tmp_path, vision_minutes=1)
    further = Plan(minutes=9, output=tmp_path, vision_minutes=1, further_from=checkpoint)
    assert fresh.beginning(61)
    assert not further.beginning(61)
    assert fresh.level(61) < further.level(61) == further.difficulty
