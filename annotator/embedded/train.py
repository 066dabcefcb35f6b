"""Train the embedded checkpoint on scenes, from nothing, within a given time.

Example:
    python -m annotator.embedded.train --minutes 90 --seed 0 --output checkpoints/embedded

First the vision tower alone learns what lies where, through heads that are thrown away; then the
language model learns to answer all tasks, with the heads kept as a part of the loss.
"""

import argparse
import json
import logging
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.embedded import lessons, teaching
from annotator.embedded.build import build_checkpoint
from annotator.embedded.exam import examine
from annotator.training import generation_settings, save_checkpoint

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Shares are of the whole time; rates are AdamW's at their highest."""

    minutes: float
    seed: int
    output: Path
    threads: int = 1
    images: int = 16
    questions: int = 4
    vision_minutes: float = 10
    rate: float = 1e-3
    vision_rate: float = 2e-3
    warm_up_steps: int = 50
    difficulty: float = 0.6
    ramp: float = 0.25
    exam_minutes: float = 10
    exam_scenes: int = 48
    hard_from: float = 0.75


class Trainer:
    """State of a run; `resume` continues it from the last state that was written."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        torch.set_num_threads(plan.threads)
        torch.manual_seed(plan.seed)
        self.rng = random.Random(plan.seed)
        start = plan.output / "start"
        if not start.exists():
            build_checkpoint(start, seed=plan.seed)
        self.start = start
        self.processor = AutoProcessor.from_pretrained(start)
        self.model: Any = Florence2ForConditionalGeneration.from_pretrained(
            start, dtype=torch.float32
        ).train()
        self.tokenizer = self.processor.tokenizer
        width = self.model.config.text_config.d_model
        self.heads = teaching.VisionHeads(width, self.tokenizer)
        self.first_location = self.heads.first_location
        teaching.order_places(self.model, self.first_location)
        self.weights = self._token_weights()
        self.step = self.stage_start = 0
        self.spent = 0.0
        self.optimizer = torch.optim.AdamW(
            self._parameters(), lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self._resume()
        self.was_seeing = self._is_seeing()

    def run(self) -> None:
        next_exam = self.spent + 60 * self.plan.exam_minutes
        limit = 60 * self.plan.minutes
        clock = time.monotonic()
        seen: dict[str, list[float]] = {}
        while self.spent < limit:
            for name, value in self._one_step().items():
                seen.setdefault(name, []).append(value)
            self.step += 1
            self.spent, clock = self.spent + time.monotonic() - clock, time.monotonic()
            if self.step % 50 == 0:
                self._note({name: sum(v) / len(v) for name, v in seen.items()})
                seen = {}
            if self.spent >= next_exam or self.spent >= limit:
                next_exam = self.spent + 60 * self.plan.exam_minutes
                if not self._is_seeing():
                    self._note(examine(self.model, self.tokenizer, self.plan.exam_scenes))
                self._keep()
                self.spent, clock = self.spent + time.monotonic() - clock, time.monotonic()

    def _one_step(self) -> dict[str, float]:
        plan = self.plan
        seeing = self._is_seeing()
        if self.was_seeing and not seeing:
            self.was_seeing, self.stage_start = False, self.step
        progress = self.spent / (60 * plan.minutes)
        smoothing = teaching.neighbours(4.0 if progress < plan.hard_from else 0.0)
        some = lessons.scenes(self.rng, plan.images, plan.difficulty if seeing else self._level())
        pixels = lessons.pixels_of([scene.image for scene in some])
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        features = self.model.model.get_image_features(pixels).pooler_output
        table = self.model.get_input_embeddings().weight
        figures: dict[str, float]
        loss, figures = self.heads(features[:, 1:], table, lessons.grid_truth(some), smoothing)
        figures["heads"] = loss.item()
        if not seeing:
            answers = self._answers(features, some, pixels, smoothing)
            figures["answers"] = answers.item()
            loss = 0.3 * loss + answers
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters(), 1.0)
        self.optimizer.step()
        return figures

    def _answers(
        self, features: Tensor, some: list[Any], pixels: Tensor, smoothing: Tensor
    ) -> Tensor:
        tasks = lessons.WEIGHTS
        if self._talking() < 0.1:
            tasks = {task: tasks[task] for task in lessons.FIRST_TASKS}
        asked = [
            lessons.questions_of(scene, self.rng, self.plan.questions, tasks) for scene in some
        ]
        total, count = features.new_zeros(()), features.new_zeros(())
        for batch in lessons.batches_of(self.tokenizer, pixels, asked, 3):
            loss, weight = teaching.answer_loss(
                self.model, features, batch, smoothing, self.weights, self.first_location
            )
            total, count = total + loss, count + weight
        return total / count

    def _is_seeing(self) -> bool:
        return self.spent < 60 * self.plan.vision_minutes

    def _talking(self) -> float:
        """Progress of the second stage in [0, 1]."""
        plan = self.plan
        past = self.spent - 60 * plan.vision_minutes
        return max(0.0, past / (60 * (plan.minutes - plan.vision_minutes)))

    def _level(self) -> float:
        plan = self.plan
        return plan.difficulty * min(1.0, 0.3 + 0.7 * self._talking() / plan.ramp)

    def _rate(self) -> float:
        """AdamW's rate: up over a stage's first steps, and linearly to 0 over the last half."""
        plan = self.plan
        warm = min(1.0, (self.step - self.stage_start + 1) / plan.warm_up_steps)
        if self._is_seeing():
            return plan.vision_rate * warm
        left = 1 - self.spent / (60 * plan.minutes)
        return plan.rate * warm * min(1.0, max(0.01, 2 * left))

    def _token_weights(self) -> Tensor:
        """Template words count a fifth: the image does not decide them."""
        weights = torch.ones(len(self.tokenizer))
        for text in ("The image shows a", " There is the word at on background. An and, the"):
            weights[self.tokenizer(text, add_special_tokens=False)["input_ids"]] = 0.2
        return weights

    def _parameters(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.heads.parameters()]

    def _note(self, figures: dict[str, float]) -> None:
        line = {
            "step": self.step,
            "images": self.step * self.plan.images,
            "minutes": round(self.spent / 60, 1),
            **{name: round(value, 4) for name, value in figures.items()},
        }
        with (self.plan.output / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        _log.info(json.dumps(line))

    def _keep(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent": self.spent,
        }
        unfinished = self.plan.output / "state.unfinished"
        torch.save(state, unfinished)
        unfinished.rename(self.plan.output / "state.pt")
        save_checkpoint(
            self.model,
            self.processor,
            generation_settings(self.start),
            self.plan.output / "checkpoint",
        )

    def _resume(self) -> None:
        path = self.plan.output / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent = state["step"], state["spent"]
        self.stage_start = self.step
        # Other scenes than before: the generator's state is not kept.
        self.rng = random.Random(f"{self.plan.seed}/{self.step}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vision-minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--exam-minutes", type=float, default=10)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.output.mkdir(parents=True, exist_ok=True)
    Trainer(Plan(**vars(options))).run()


if __name__ == "__main__":
    main()
