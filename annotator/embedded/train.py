"""Train the embedded checkpoint on scenes within a given time, from nothing or further.

Example:
    python -m annotator.embedded.train --minutes 90 --seed 0 --output checkpoints/embedded

First the vision tower alone learns what lies where, through heads that are thrown away; then the
language model learns to answer all tasks, with the heads kept as a part of the loss. Training
that goes on from a checkpoint begins with new heads, which first learn to read what it sees.
"""

import argparse
import json
import logging
import random
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.embedded import batches, teaching
from annotator.embedded.build import build_checkpoint
from annotator.embedded.exam import examine
from annotator.embedded.plan import Plan
from annotator.scenes.draw import Scene
from annotator.training import generation_settings, save_checkpoint

_log = logging.getLogger(__name__)


class Trainer:
    """State of a training; a folder that holds the state of an earlier one resumes it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        plan.output.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(plan.threads)
        torch.manual_seed(plan.seed)
        self.rng = random.Random(plan.seed)
        self.start = plan.output / "start"
        if not self.start.exists():
            build_checkpoint(self.start, seed=plan.seed)
        self.processor = AutoProcessor.from_pretrained(self.start)
        self.tokenizer = self.processor.tokenizer
        self.model: Any = Florence2ForConditionalGeneration.from_pretrained(
            self.start, dtype=torch.float32
        ).train()
        width = self.model.config.text_config.d_model
        self.heads = teaching.VisionHeads(width, self.tokenizer)
        self.first_location = self.heads.first_location
        teaching.order_places(self.model, self.first_location)
        if plan.further_from:
            teaching.take_over(self.model, self.tokenizer, plan.further_from)
        self.weights = self._token_weights()
        self.optimizer = torch.optim.AdamW(
            self._parameters(), lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.step = self.images = self.stage_start = 0
        self.spent = 0.0
        self._resume()

    def run(self) -> None:
        """Until the time is up; figures go to `log.jsonl`, weights to `checkpoint`."""
        limit, next_exam = 60 * self.plan.minutes, self.spent
        seen: dict[str, list[float]] = {}
        while self.spent < limit:
            started = time.monotonic()
            for name, value in self.learn().items():
                seen.setdefault(name, []).append(value)
            if self.step % 50 == 0:
                self._note({name: sum(values) / len(values) for name, values in seen.items()})
                seen = {}
            self.spent += time.monotonic() - started
            if self.spent >= min(next_exam + 60 * self.plan.exam_minutes, limit):
                next_exam = self.spent
                self._take_stock()

    def learn(self) -> dict[str, float]:
        """One step; figures of what the heads read and of the answers."""
        plan, spent = self.plan, self.spent
        if self.stage_start == 0 and not plan.seeing(spent):
            self.stage_start = self.step
        for group in self.optimizer.param_groups:
            group["lr"] = plan.rate_at(spent, self.step - self.stage_start)
        self.optimizer.zero_grad(set_to_none=True)
        loss, figures = self._loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.images += self.plan.images
        return figures

    def _loss(self) -> tuple[Tensor, dict[str, float]]:
        plan, spent = self.plan, self.spent
        smoothing = teaching.neighbours(4.0 if plan.progress(spent) < plan.hard_from else 0.0)
        some = batches.scenes(self.rng, plan.images, plan.level(spent))
        if not plan.seeing(spent):
            some += batches.scenes(self.rng, plan.images_to_see, 1.0)
        pixels = batches.pixels_of([scene.image for scene in some])
        features = self.model.model.get_image_features(pixels).pooler_output
        table = self.model.get_input_embeddings().weight
        figures: dict[str, float]
        seen = features.detach() if plan.seeing(spent) and plan.further_from else features
        loss, figures = self.heads(seen[:, 1:], table, batches.grid_truth(some), smoothing)
        figures["heads"] = loss.item()
        if plan.seeing(spent):
            return loss, figures
        answers = self._answers(features, some[: plan.images], pixels, smoothing)
        figures["answers"] = answers.item()
        return plan.heads_share * loss + answers, figures

    def _answers(
        self, features: Tensor, some: list[Scene], pixels: Tensor, smoothing: Tensor
    ) -> Tensor:
        tasks = batches.WEIGHTS
        if self.plan.beginning(self.spent):
            tasks = {task: tasks[task] for task in batches.FIRST_TASKS}
        asked = [
            batches.questions_of(scene, self.rng, self.plan.questions, tasks) for scene in some
        ]
        total, count = features.new_zeros(()), features.new_zeros(())
        for batch in batches.batches_of(self.tokenizer, pixels, asked, 3):
            loss, weight = teaching.answer_loss(
                self.model, features, batch, smoothing, self.weights, self.first_location
            )
            total, count = total + loss, count + weight
        return total / count

    def _token_weights(self) -> Tensor:
        """Template words count a fifth: the image does not decide them."""
        weights = torch.ones(len(self.tokenizer))
        for text in ("The image shows a", " There is the word at on background. An and, the"):
            weights[self.tokenizer(text, add_special_tokens=False)["input_ids"]] = 0.2
        return weights

    def _parameters(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.heads.parameters()]

    def _take_stock(self) -> None:
        if not self.plan.seeing(self.spent):
            self._note(examine(self.model, self.tokenizer, self.plan.exam_scenes))
        self._keep()

    def _note(self, figures: dict[str, float]) -> None:
        line = {
            "step": self.step,
            "images": self.images,
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
            "images": self.images,
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
        self.step, self.images, self.spent = state["step"], state["images"], state["spent"]
        # Other scenes than before: the generator's state is not kept.
        self.rng = random.Random(f"{self.plan.seed}/{self.step}")


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, required=True, help="of the whole training")
    parser.add_argument("--output", type=Path, required=True, help="resumed where it exists")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--further-from", type=Path, help="a checkpoint of this architecture")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="of AdamW at its highest")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vision-minutes", type=float, default=Plan.vision_minutes)
    parser.add_argument("--exam-minutes", type=float, default=Plan.exam_minutes)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    Trainer(Plan(**vars(options))).run()


if __name__ == "__main__":
    main()
