"""Transformers' own decoding of the menu, the plain way and as well as it can be driven."""

from collections.abc import Sequence
from typing import Any

import torch
from florence2_base import MENU, PLACES
from PIL import Image
from transformers import GenerationConfig, LogitsProcessor

from stages.florence2.checkpoint import Checkpoint
from stages.florence2.prompts import Prompt, Task, build_prompt

Answers = dict[tuple[int, Task], tuple[int, ...]]
"""By image and task, the tokens up to and including `</s>`."""


@torch.inference_mode()
def naive(
    checkpoint: Checkpoint, images: Sequence[Image.Image], numbers: Sequence[int], beams: int
) -> Answers:
    """One `generate(pixel_values)` per prompt."""
    answers: Answers = {}
    for number in numbers:
        for task, prompt in prompts(checkpoint).items():
            ids, mask = _batch(checkpoint, [prompt])
            sequences = checkpoint.model.generate(
                pixel_values=_pixels(checkpoint, images[number]),
                input_ids=ids,
                attention_mask=mask,
                generation_config=_settings(checkpoint, MENU[task][0], beams),
            )
            answers[number, task] = tuple(sequences[0, 1:].tolist())
    return answers


@torch.inference_mode()
def tuned(checkpoint: Checkpoint, images: Sequence[Image.Image], numbers: Sequence[int]) -> Answers:
    """Features once, all prompts of an image in one batch padded at the right, and masked."""
    answers: Answers = {}
    lengths = torch.tensor([length for length, _ in MENU.values()], device=checkpoint.device)
    asked, model = prompts(checkpoint), checkpoint.model
    ids, mask = _batch(checkpoint, list(asked.values()))
    words = model.get_input_embeddings()(ids[:, PLACES:])
    for number in numbers:
        features = model.get_image_features(_pixels(checkpoint, images[number])).pooler_output
        embedded = torch.cat([features.expand(len(asked), -1, -1), words], dim=1)
        sequences = model.generate(
            encoder_outputs=model.get_encoder()(inputs_embeds=embedded, attention_mask=mask),
            attention_mask=mask,
            generation_config=_settings(checkpoint, max(lengths.tolist()), 1),
            logits_processor=[_EndAt(lengths, checkpoint.vocabulary.eos)],
        )
        for task, row in zip(asked, sequences[:, 1:].tolist(), strict=True):
            answers[number, task] = tuple(row[: MENU[task][0]])
    return answers


def prompts(checkpoint: Checkpoint) -> dict[Task, Prompt]:
    """Of the menu."""
    room = checkpoint.max_positions - PLACES
    return {
        task: build_prompt(task, checkpoint.vocabulary, room, about)
        for task, (_, about) in MENU.items()
    }


class _EndAt(LogitsProcessor):
    """Ends each row at a length of its own."""

    def __init__(self, lengths: torch.Tensor, end: int) -> None:
        self.lengths, self.end = lengths, end

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[self.lengths == input_ids.shape[1], self.end] = torch.inf
        return scores


def _batch(checkpoint: Checkpoint, asked: Sequence[Prompt]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids with a place for each of the image's tokens, and the mask over them."""
    longest = max(len(prompt.ids) for prompt in asked)
    image = [checkpoint.model.config.image_token_id] * PLACES
    pad = checkpoint.vocabulary.pad
    ids = [[*image, *one.ids, *[pad] * (longest - len(one.ids))] for one in asked]
    lengths = torch.tensor([PLACES + len(prompt.ids) for prompt in asked])
    mask = (torch.arange(PLACES + longest) < lengths[:, None]).long()
    return torch.tensor(ids, device=checkpoint.device), mask.to(checkpoint.device)


def _pixels(checkpoint: Checkpoint, image: Image.Image) -> torch.Tensor:
    pixels: Any = checkpoint.image_processor(images=image, return_tensors="pt")["pixel_values"]
    return pixels.to(checkpoint.device, checkpoint.model.dtype)


def _settings(checkpoint: Checkpoint, length: int, beams: int) -> GenerationConfig:
    ids = checkpoint.vocabulary
    return GenerationConfig(
        do_sample=False,
        num_beams=beams,
        early_stopping=beams > 1,
        max_new_tokens=length,
        **ids.generation_ids(),
        forced_eos_token_id=ids.eos,
    )
