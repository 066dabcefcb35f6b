"""The plain way, one `generate(pixel_values)` per prompt: slow, and what the engine must equal."""

from typing import Any

import torch
from PIL import Image
from transformers import GenerationConfig

from stages.florence2.checkpoint import Checkpoint
from stages.florence2.engine import Decoding, Request
from stages.florence2.prompts import build_prompt

TIE = 1e-3
"""Logits closer than this may be ordered either way by float32 sums in another order."""


@torch.inference_mode()
def generate_alone(
    checkpoint: Checkpoint, image: Image.Image, request: Request, decoding: Decoding
) -> tuple[int, ...]:
    """Tokens of transformers' own decoding, up to and including `</s>`."""
    ids = checkpoint.vocabulary
    sequences = checkpoint.model.generate(
        **_inputs(checkpoint, image, request),
        generation_config=GenerationConfig(
            do_sample=False,
            num_beams=decoding.num_beams,
            early_stopping=decoding.num_beams > 1,
            length_penalty=1.0,
            no_repeat_ngram_size=decoding.no_repeat_ngram_size,
            max_new_tokens=decoding.max_new_tokens[request.task],
            bos_token_id=ids.bos,
            pad_token_id=ids.pad,
            eos_token_id=ids.eos,
            decoder_start_token_id=ids.eos,
            forced_bos_token_id=ids.bos,
            forced_eos_token_id=ids.eos,
        ),
    )
    tokens: list[int] = sequences[0, 1:].tolist()
    return tuple(tokens[: tokens.index(ids.eos) + 1])


@torch.inference_mode()
def token_logits(
    checkpoint: Checkpoint, image: Image.Image, request: Request, tokens: tuple[int, ...]
) -> torch.Tensor:
    """The model's raw logits in the place of each of these tokens, shape (T, vocabulary)."""
    before = [checkpoint.vocabulary.eos, *tokens[:-1]]
    inputs = _inputs(checkpoint, image, request)
    ids = torch.tensor([before], device=checkpoint.device)
    logits: torch.Tensor = checkpoint.model(**inputs, decoder_input_ids=ids).logits[0]
    return logits


def part_at_a_tie(
    checkpoint: Checkpoint,
    image: Image.Image,
    request: Request,
    answers: tuple[tuple[int, ...], tuple[int, ...]],
) -> bool:
    """Whether two answers are equal up to two tokens that the model finds equally good."""
    pairs = enumerate(zip(*answers, strict=False))
    place = next((at for at, (one, other) in pairs if one != other), None)
    if place is None:
        return len(answers[0]) == len(answers[1])
    one, other = (answer[place] for answer in answers)
    logits = token_logits(checkpoint, image, request, answers[0][: place + 1])[place]
    return abs(float(logits[one] - logits[other])) < TIE


def _inputs(checkpoint: Checkpoint, image: Image.Image, request: Request) -> dict[str, Any]:
    model, device = checkpoint.model, checkpoint.device
    pixels = checkpoint.image_processor(images=image, return_tensors="pt")["pixel_values"]
    pixels = pixels.to(device, model.dtype)
    places = model.get_image_features(pixels).pooler_output.shape[1]
    room = checkpoint.max_positions - places
    prompt = build_prompt(request.task, checkpoint.vocabulary, room, request.about)
    ids = torch.tensor([[model.config.image_token_id] * places + list(prompt.ids)], device=device)
    return {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
