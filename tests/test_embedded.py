from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.embedded.build import build_checkpoint


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
