"""Encode once, ask many, against the usual loop: one generate(pixel_values) per prompt.

    python benchmarks/encode_once.py [--checkpoint FOLDER] [--images 4] [--json FILE]

Both decode greedily to the same limits; ours also scores every token. Times are processor seconds
of one thread, the better of interleaved repeats, so images per second are per core. Without
--checkpoint a small one with random weights is built: its vision tower is a smaller share of the
work than a real one's, and so is the gain.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import write_figures
from PIL import Image
from transformers import AutoProcessor, GenerationConfig

from annotator.embedded.build import build_checkpoint
from stages.base import Model
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.engine import Decoding, Engine
from stages.florence2.loading import load_checkpoint
from stages.florence2.prompts import TASKS, Task
from stages.florence2.requests import Request

CAPTION = "A large red circle is at the left of a small blue star on a gray background."
MENU: dict[Task, str | None] = {
    "caption": None,
    "detailed_caption": None,
    "more_detailed_caption": None,
    "od": None,
    "dense_region_caption": None,
    "region_proposal": None,
    "ocr_with_region": None,
    "caption_to_phrase_grounding": CAPTION,
}
Answers = dict[tuple[int, Task], list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="a folder in the native format")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=48, help="longest answer")
    parser.add_argument("--batch", type=int, default=8, help="prompts decoded together")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.checkpoint or Path(scratch) / "tiny"
        if chosen.checkpoint is None:
            build_checkpoint(folder)
        figures = measure(folder, chosen.images, chosen.tokens, chosen.batch, chosen.repeats)
    for name, figure in figures.items():
        print(f"{name:<44} {figure:>10.3f}")
    if chosen.json:
        write_figures(chosen.json, figures)


def measure(folder: Path, images: int, tokens: int, batch: int, repeats: int) -> dict[str, float]:
    torch.set_num_threads(1)
    loaded = load_checkpoint(Model(checkpoint=str(folder), device="cpu"))
    processor = AutoProcessor.from_pretrained(folder)
    pictures = made_up_images(images)
    engine = Engine(loaded, Decoding(dict.fromkeys(TASKS, tokens)), batch)
    ways: dict[str, Callable[[], Answers]] = {
        "loop": lambda: usual_loop(loaded, processor, pictures, tokens),
        "engine": lambda: encode_once(engine, pictures),
    }
    best = dict.fromkeys(ways, float("inf"))
    answers: dict[str, Answers] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.process_time()
            answers[name] = way()
            best[name] = min(best[name], time.process_time() - started)
    equal = [answers["engine"][key] == tokens for key, tokens in answers["loop"].items()]
    return {
        "prompts per image": len(MENU),
        "one generate(pixel_values) each, images/s": images / best["loop"],
        "encoded once, batched, scored, images/s": images / best["engine"],
        "ratio": best["loop"] / best["engine"],
        "share of answers with equal tokens": sum(equal) / len(equal),
    }


@torch.inference_mode()
def usual_loop(
    loaded: Checkpoint, processor: Any, images: Sequence[Image.Image], tokens: int
) -> Answers:
    greedy = GenerationConfig(
        num_beams=1, do_sample=False, max_new_tokens=tokens, bos_token_id=0, pad_token_id=1,
        eos_token_id=2, decoder_start_token_id=2, forced_bos_token_id=0, forced_eos_token_id=2,
    )  # fmt: skip
    answers: Answers = {}
    for index, image in enumerate(images):
        for task, about in MENU.items():
            text = f"<{task.upper()}>{about or ''}"
            inputs = processor(images=image, text=text, return_tensors="pt")
            [sequence] = loaded.model.generate(**inputs, generation_config=greedy).tolist()
            answers[index, task] = sequence[1:]
    return answers


def encode_once(engine: Engine, images: Sequence[Image.Image]) -> Answers:
    requests = [
        Request(index, task, about) for index in range(len(images)) for task, about in MENU.items()
    ]
    results = engine.run(images, requests)
    return {(r.request.image, r.request.task): list(r.tokens) for r in results}


def made_up_images(count: int) -> list[Image.Image]:
    """640 x 480, smooth random colours."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize((640, 480)) for one in colours]


if __name__ == "__main__":
    main()
