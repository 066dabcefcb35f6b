from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, Florence2ForConditionalGeneration, GenerationConfig

from annotator.training import (
    IGNORED,
    Example,
    TrainingSettings,
    collate,
    fit,
    rate_at,
    room_in,
    token_loss,
)


@dataclass(frozen=True)
class Asked:
    prompt: str
    target: str


OD = Asked("Locate the objects with category name in the image.", "dog<loc_1><loc_2><loc_3><loc_4>")
CAPTION = Asked("What does the image describe?", "A dog on a mat.")
NOTHING = Asked("Locate the objects with category name in the image.", "")


@pytest.fixture
def examples(pictures) -> list[Example]:
    asked = [[OD, CAPTION], [NOTHING], [CAPTION, OD]]
    return [
        Example(lambda image=image: image, questions)
        for image, questions in zip(pictures, asked, strict=True)
    ]


def test_the_loss_is_the_one_of_transformers_though_each_image_is_encoded_once(
    examples: list[Example], lively_checkpoint: Path
) -> None:
    processor = AutoProcessor.from_pretrained(lively_checkpoint)
    model = Florence2ForConditionalGeneration.from_pretrained(lively_checkpoint).eval()
    pairs = [(example, question) for example in examples for question in example.questions]
    inputs = processor(
        text=[question.prompt for _, question in pairs],
        images=[example.load_image() for example, _ in pairs],
        return_tensors="pt",
        padding=True,
    )
    answers = processor.tokenizer(
        [question.target for _, question in pairs], return_tensors="pt", padding=True
    )
    labels = answers["input_ids"].masked_fill(answers["attention_mask"] == 0, IGNORED)
    with torch.no_grad():
        ours = token_loss(model, collate(examples, processor)).item()
        theirs = model(**inputs, labels=labels).loss.item()
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_part_of_a_pass_and_a_last_small_batch_are_counted(
    examples: list[Example], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    settings = TrainingSettings(epochs=1.5, images_per_batch=2)
    log = fit(tiny_checkpoint, examples, tmp_path / "out", settings)
    assert (len(log.losses), log.images) == (3, 5)


def test_a_frozen_vision_tower_stays_and_the_rest_learns(
    examples: list[Example], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    before = Florence2ForConditionalGeneration.from_pretrained(tiny_checkpoint).state_dict()
    settings = TrainingSettings(images_per_batch=3, learning_rate=1e-3)
    fit(tiny_checkpoint, examples, tmp_path / "out", settings)
    after = Florence2ForConditionalGeneration.from_pretrained(tmp_path / "out").state_dict()
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert "vision_tower" not in moved
    assert "language_model" in moved


def test_generation_settings_survive(
    examples: list[Example], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    fit(tiny_checkpoint, examples[:1], tmp_path / "out", TrainingSettings())
    kept = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (kept.num_beams, kept.no_repeat_ngram_size, kept.forced_bos_token_id) == (3, 3, 0)


@pytest.mark.parametrize(
    ("progress", "warm_up", "rate"),
    [
        pytest.param(0.0, 0.0, 1.0, id="no warm-up: full at once"),
        pytest.param(0.75, 0.0, 0.25, id="falls linearly"),
        pytest.param(1.0, 0.0, 0.0, id="to zero"),
        pytest.param(0.1, 0.2, 0.5, id="half of the warm-up"),
        pytest.param(0.6, 0.2, 0.5, id="half of the fall after a warm-up"),
    ],
)
def test_the_rate_rises_and_falls(progress: float, warm_up: float, rate: float) -> None:
    assert rate_at(progress, warm_up) == pytest.approx(rate)


def test_room_is_counted_in_tokens_of_the_checkpoint(tiny_checkpoint: Path) -> None:
    room = room_in(tiny_checkpoint, max_target_tokens=768)
    assert room.target == 766
    assert room.prompt == 1024 - 101 - 2
    assert room.tokens_of("<loc_1><loc_2><loc_3><loc_4>") == 4
    things = ["<loc_1>" * 400, "<loc_2>" * 366, "<loc_3>"]
    assert room.count_fitting(things) == 2
