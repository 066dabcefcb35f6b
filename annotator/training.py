"""Teach a native Florence-2 checkpoint from images with questions and answers."""

import itertools
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoProcessor,
    Florence2ForConditionalGeneration,
    GenerationConfig,
)
from transformers.utils import logging

from annotator.lessons import Room

IGNORED = -100
"""The label of padding: it has no part in the loss."""


class Question(Protocol):
    """Texts of a prompt and of its answer, location tokens spelled out, without `<s>`, `</s>`."""

    @property
    def prompt(self) -> str: ...

    @property
    def target(self) -> str: ...


@dataclass(frozen=True)
class Example:
    """An image, opened when it is needed, with the questions that share its encoding."""

    load_image: Callable[[], Image.Image]
    questions: Sequence[Question]


class TrainingSettings(BaseModel):
    """Defaults suit a real checkpoint; a small one wants a far higher learning rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(1, gt=0, description="passes over the examples")
    minutes: float | None = Field(None, gt=0, description="stop after so long, done or not")
    images_per_batch: int = Field(8, ge=1, description="images per step, each with its questions")
    learning_rate: float = Field(1e-6, gt=0, description="at the start; falls linearly to zero")
    warm_up: float = Field(0.0, ge=0, lt=1, description="share of the steps with a rising rate")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    freeze_vision: bool = Field(True, description="leave the vision tower as it is")
    max_target_tokens: int = Field(768, ge=8, description="longer answers are cut")
    seed: int = Field(0, description="of the order of the examples and of dropout")


@dataclass(frozen=True)
class TrainingLog:
    """`losses` has the mean loss per token of every step."""

    losses: list[float] = field(repr=False)
    images: int
    questions: int
    seconds: float


class Batch(NamedTuple):
    """`owners` tells for each question (Q) which image (I) it asks about."""

    pixels: Tensor  # I, 3, height, width
    owners: Tensor  # Q
    prompts: Tensor  # Q, P: token ids, padded on the right
    prompt_mask: Tensor  # Q, P
    labels: Tensor  # Q, T: token ids, IGNORED where padded


def fit(
    checkpoint: Path, examples: Sequence[Example], output: Path, settings: TrainingSettings
) -> TrainingLog:
    """Train on all examples and write a complete checkpoint to `output`, replacing it at once."""
    logging.disable_progress_bar()  # of loading and saving, which take no time worth telling
    torch.manual_seed(settings.seed)
    processor = AutoProcessor.from_pretrained(checkpoint)
    model: Any = Florence2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    model.to("cuda" if torch.cuda.is_available() else "cpu").train()
    if settings.freeze_vision:
        # In evaluation mode as well: stochastic depth would blur what it sees for nothing.
        model.model.vision_tower.requires_grad_(False).eval()
    log = _run(model, processor, examples, settings)
    save_checkpoint(model, processor, generation_settings(checkpoint), output)
    return log


def _run(
    model: Any, processor: Any, examples: Sequence[Example], settings: TrainingSettings
) -> TrainingLog:
    clock = _Clock(examples, settings)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_at(clock.progress(step), settings.warm_up)
    )
    losses, images, questions = [], 0, 0
    with tqdm(total=clock.images, unit="image", desc="train", dynamic_ncols=True) as bar:
        for chosen in itertools.islice(_batches(examples, settings), clock.steps):
            batch = _moved(collate(chosen, processor, settings.max_target_tokens), model.device)
            losses.append(_step(token_loss(model, batch), optimizer, schedule))
            images, questions = images + len(chosen), questions + len(batch.owners)
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update(len(chosen))
            if clock.progress(len(losses)) >= 1:
                break
    return TrainingLog(losses, images, questions, clock.seconds())


def _step(loss: Tensor, optimizer: torch.optim.Optimizer, schedule: Any) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()
    schedule.step()
    return loss.item()


class _Clock:
    """How far a training is: by its steps, or by its minutes where those end first."""

    def __init__(self, examples: Sequence[Example], settings: TrainingSettings) -> None:
        batches = math.ceil(len(examples) / settings.images_per_batch)
        self.steps = math.ceil(batches * settings.epochs)
        whole, part = divmod(self.steps, batches)
        self.images = whole * len(examples) + part * settings.images_per_batch
        self._minutes = settings.minutes
        self._started = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def progress(self, step: int) -> float:
        """0 at the start, 1 at the end."""
        spent = self.seconds() / (60 * self._minutes) if self._minutes else 0.0
        return min(1.0, max(step / self.steps, spent))


def _batches(examples: Sequence[Example], settings: TrainingSettings) -> Iterator[list[Example]]:
    """Pass after pass, each in its own order, without end."""
    rng = random.Random(settings.seed)
    while True:
        order = rng.sample(range(len(examples)), len(examples))
        for start in range(0, len(order), settings.images_per_batch):
            yield [examples[i] for i in order[start : start + settings.images_per_batch]]


def rate_at(progress: float, warm_up: float) -> float:
    """Share of the learning rate at `progress` in [0, 1]: up to 1, then linearly down to 0."""
    if progress < warm_up:
        return progress / warm_up
    return (1 - progress) / (1 - warm_up)


def collate(examples: Sequence[Example], processor: Any, max_target_tokens: int = 768) -> Batch:
    """Pixels of the images and padded token ids of all their questions."""
    images = [example.load_image().convert("RGB") for example in examples]
    pixels = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    owners = [i for i, example in enumerate(examples) for _ in example.questions]
    questions = [question for example in examples for question in example.questions]
    prompts = [_ids(processor, question.prompt) for question in questions]
    answers = [_ids(processor, question.target)[:max_target_tokens] for question in questions]
    return batch_of(pixels, owners, prompts, answers)


def _ids(processor: Any, text: str) -> list[int]:
    ids: list[int] = processor.tokenizer(text)["input_ids"]
    return ids


def batch_of(
    pixels: Tensor,
    owners: Sequence[int],
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
) -> Batch:
    """Token ids with `<s>` and `</s>` → tensors, padded on the right."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return Batch(
        pixels,
        torch.tensor(owners),
        pad_sequence([torch.tensor(prompt) for prompt in prompts], batch_first=True),
        (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
        pad_sequence(
            [torch.tensor(answer) for answer in answers], batch_first=True, padding_value=IGNORED
        ),
    )


def room_in(checkpoint: Path, max_target_tokens: int) -> Room:
    """What a prompt and a target of this checkpoint can hold."""
    processor = AutoProcessor.from_pretrained(checkpoint)
    positions = AutoConfig.from_pretrained(checkpoint).text_config.max_position_embeddings
    ends = len(_ids(processor, ""))
    return Room(
        prompt=positions - processor.num_image_tokens - ends,
        target=min(max_target_tokens, positions) - ends,
        tokens_of=lambda text: len(_ids(processor, text)) - ends,
    )


def _moved(batch: Batch, device: torch.device) -> Batch:
    return Batch(*(tensor.to(device) for tensor in batch))


def token_loss(model: Any, batch: Batch) -> Tensor:
    """Mean cross-entropy over the tokens of the answers; each image is encoded once."""
    features = model.model.get_image_features(batch.pixels).pooler_output
    logits = answer_logits(model, features, batch)
    return nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED
    )


def answer_logits(model: Any, features: Tensor, batch: Batch) -> Tensor:
    """Q, T, vocabulary: for each token of the answers, given the true tokens before it.

    `features` are the image tokens (I, N, width) that the projector made of the images.
    """
    words = model.get_input_embeddings()(batch.prompts)
    inputs = torch.cat([features[batch.owners].to(words.dtype), words], dim=1)
    seen = batch.prompt_mask.new_ones(inputs.shape[0], features.shape[1])
    mask = torch.cat([seen, batch.prompt_mask], dim=1)
    language = model.model.language_model
    encoded = language.encoder(inputs_embeds=inputs, attention_mask=mask)[0]
    decoded = language.decoder(
        input_ids=_shifted(batch.labels, model.config.text_config),
        encoder_hidden_states=encoded,
        encoder_attention_mask=mask,
        use_cache=False,
    )[0]
    logits: Tensor = model.lm_head(decoded)
    return logits


def _shifted(labels: Tensor, config: Any) -> Tensor:
    """What the decoder has written before each label."""
    start = labels.new_full((len(labels), 1), config.decoder_start_token_id)
    written = torch.cat([start, labels[:, :-1]], dim=1)
    return written.masked_fill(written == IGNORED, config.pad_token_id)


def generation_settings(checkpoint: Path) -> GenerationConfig:
    """The checkpoint's own; they would be derived from its config, and lose some, if not passed."""
    return GenerationConfig.from_pretrained(checkpoint)


def save_checkpoint(model: Any, processor: Any, generation: GenerationConfig, output: Path) -> None:
    """A whole native checkpoint, under a temporary name until it is complete."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.generation_config = generation
    model.save_pretrained(unfinished)
    processor.save_pretrained(unfinished)
    generation.save_pretrained(unfinished)
    shutil.rmtree(output, ignore_errors=True)
    unfinished.rename(output)
