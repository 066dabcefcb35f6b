"""Fine-tuning: images encoded once for all their questions, against each pair encoded by itself.

Both do whole steps (reading pixels, loss, gradients, AdamW) on the same questions in turn, so that
a busy machine slows both. The losses of the first step must agree, or the ratio means nothing.

Example:
    python benchmarks/training.py --questions 4 --json training.json
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from figures import write_figures
from PIL import Image
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.embedded.build import build_checkpoint
from annotator.training import IGNORED, Example, collate, token_loss
from stages.florence2.prompts import TASKS
from stages.florence2.targets import boxes_target

SIDE = 320
ANSWER_BOXES = 8


@dataclass(frozen=True)
class Asked:
    """A question with its answer as text."""

    prompt: str
    target: str


def main() -> None:
    options = _options()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint or Path(folder) / "tiny"
        if options.checkpoint is None:
            build_checkpoint(checkpoint)
        figures = _measure(checkpoint, options)
    print(
        f"{options.images} images with {options.questions} questions each, "
        f"median of {options.rounds} steps\n"
        f"  once per image   {figures['pairs_per_second']:8.1f} questions/s\n"
        f"  once per pair    {figures['plain_pairs_per_second']:8.1f} questions/s\n"
        f"  ratio            {figures['ratio']:8.2f}"
    )
    if options.json:
        write_figures(options.json, figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, help="folder; by default a small random one")
    parser.add_argument("--images", type=int, default=8, help="images in one step")
    parser.add_argument("--questions", type=int, default=4, help="questions about each image")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each kind")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args()


def _measure(checkpoint: Path, options: argparse.Namespace) -> dict[str, Any]:
    processor = AutoProcessor.from_pretrained(checkpoint)
    examples = _examples(options.images, options.questions)
    losses: dict[Callable[..., torch.Tensor], float] = {}
    seconds: dict[Callable[..., torch.Tensor], list[float]] = {_shared: [], _plain: []}
    learners = {way: _Learner(checkpoint) for way in seconds}
    for step in range(options.rounds + 1):
        for way, learner in learners.items():
            started = time.perf_counter()
            loss = learner.step(way(learner.model, examples, processor))
            if step:  # the first is a warm-up
                seconds[way].append(time.perf_counter() - started)
            else:
                losses[way] = loss
    if abs(losses[_shared] - losses[_plain]) > 1e-3:
        raise SystemExit(f"the two ways do not agree: {losses[_shared]} and {losses[_plain]}")
    pairs = options.images * options.questions
    shared, plain = (statistics.median(seconds[way]) for way in (_shared, _plain))
    return {
        "images": options.images,
        "questions": options.questions,
        "pairs_per_second": pairs / shared,
        "plain_pairs_per_second": pairs / plain,
        "ratio": plain / shared,
        "loss_difference": abs(losses[_shared] - losses[_plain]),
    }


def _examples(images: int, questions: int) -> list[Example]:
    rng = random.Random(0)
    prompts = [spec.prompt for spec in TASKS.values() if spec.asks_about == "nothing"]
    made = []
    for _ in range(images):
        colour = tuple(rng.randrange(256) for _ in range(3))
        image = Image.new("RGB", (SIDE, SIDE), colour)
        asked = [Asked(prompts[i % len(prompts)], _answer(rng)) for i in range(questions)]
        made.append(Example(lambda image=image: image, asked))
    return made


def _answer(rng: random.Random) -> str:
    corners = [[rng.randrange(SIDE // 2) for _ in range(2)] for _ in range(ANSWER_BOXES)]
    boxes = [(x, y, x + SIDE // 3, y + SIDE // 3) for x, y in corners]
    return boxes_target(["red circle"] * ANSWER_BOXES, boxes, (SIDE, SIDE))


class _Learner:
    """A model of its own, so that neither way trains the other's."""

    def __init__(self, checkpoint: Path) -> None:
        self.model: Any = Florence2ForConditionalGeneration.from_pretrained(
            checkpoint, dtype=torch.float32
        ).eval()  # without dropout both ways have the same loss
        self.model.model.vision_tower.requires_grad_(False)
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self._optimizer = torch.optim.AdamW(weights, lr=1e-6)

    def step(self, loss: torch.Tensor) -> float:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.item()


def _shared(model: Any, examples: Sequence[Example], processor: Any) -> torch.Tensor:
    return token_loss(model, collate(examples, processor))


def _plain(model: Any, examples: Sequence[Example], processor: Any) -> torch.Tensor:
    """As a tutorial does it: every pair brings its own copy of the image."""
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
    loss: torch.Tensor = model(**inputs, labels=labels).loss
    return loss


if __name__ == "__main__":
    main()
