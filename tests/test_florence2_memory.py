"""What the engine holds on to while it works through many scenes: things counted, and bytes:

MEMORY_SCENES=1000 pytest --log-cli-level=INFO tests/test_florence2_memory.py
"""

import logging
import os
import weakref
from pathlib import Path

import pytest
import torch
from PIL import Image

import annotator.embedded
from annotator.scenes.draw import draw_scene
from stages.base import Model
from stages.florence2.engine import Decoding, Engine
from stages.florence2.loading import load_checkpoint
from stages.florence2.prompts import TASKS
from stages.florence2.requests import Request

SCENES, SLOTS, ROOTS = 300, 6, ("caption", "od")
GROUNDING = "caption_to_phrase_grounding"
WARM_UP = 250
"""Scenes after which the process has about all that it will ever hold: torch has loaded what it
loads on first use, and the largest prompts and longest answers have come by."""


class Held:
    """Counts those of the objects it was shown that something still refers to."""

    def __init__(self):
        self.shown, self.most, self._alive = 0, 0, {}

    def show(self, thing):
        number = self.shown
        self._alive[number] = weakref.ref(thing, lambda _: self._alive.pop(number))
        self.shown += 1
        self.most = max(self.most, len(self._alive))
        return thing

    def __len__(self):
        return len(self._alive)


class Plain:
    """Images made as they are asked for."""

    def __init__(self):
        self.held = Held()

    def __getitem__(self, index):
        return self.held.show(Image.new("RGB", (8, 8), (index % 256, index // 256, 0)))


class OneToken:
    """Features of one token for each image, so that encoding costs next to nothing."""

    images_at_once, prompts_at_once = 4, 3

    def __init__(self, width):
        self.width, self.held = width, Held()

    def encode_images(self, images):
        reds = [image.getpixel((0, 0))[0] / 256 for image in images]
        return [self.held.show(torch.full((1, self.width), red)) for red in reds]

    def encode_prompts(self, prompts, features):
        return torch.stack(list(features)), [1] * len(prompts)


def test_what_is_held_does_not_grow_with_the_number_of_scenes(lively):
    asked = ended = most_open = 0
    images, answers = Plain(), Held()
    encoders = OneToken(lively.model.config.text_config.d_model)

    def requests():
        nonlocal asked
        for image in range(SCENES):
            for task in ROOTS:
                asked += 1
                yield Request(image, task)

    def ground(result):
        nonlocal asked
        for about in ("a star", "a circle") if result.request.task == "caption" else ():
            asked += 1
            yield Request(result.request.image, GROUNDING, about, ("caption",))

    engine = Engine(lively, Decoding(dict.fromkeys(TASKS, 2)), SLOTS, encoders)
    for result in engine.stream(images, requests(), ground):
        ended += 1
        answers.show(result.scores.chosen)
        most_open = max(most_open, asked - ended)
    del result
    assert asked == ended == answers.shown == 4 * SCENES
    assert images.held.shown == encoders.held.shown == SCENES
    assert most_open <= 3 * SLOTS
    assert encoders.held.most <= 2 * SLOTS
    assert images.held.most <= encoders.images_at_once
    assert answers.most <= 2 * SLOTS
    assert len(images.held) == len(encoders.held) == len(answers) == 0


class Scenes:
    """Scenes drawn as they are asked for."""

    def __getitem__(self, index):
        return draw_scene(f"memory {index}").image


@pytest.mark.skipif("MEMORY_SCENES" not in os.environ, reason="takes minutes: MEMORY_SCENES=1000")
def test_the_process_does_not_grow_with_the_number_of_scenes():
    count = int(os.environ["MEMORY_SCENES"])
    folder = Path(annotator.embedded.__file__).parent / "checkpoint"
    checkpoint = load_checkpoint(Model(checkpoint=str(folder), device="cpu"))
    limits = {task: spec.max_new_tokens for task, spec in TASKS.items()}
    engine = Engine(checkpoint, Decoding(limits), SLOTS)
    requests = (Request(image, task) for image in range(WARM_UP + count) for task in ROOTS)
    held = []
    for result in engine.stream(Scenes(), requests, ground_or_look_into):
        last = WARM_UP + count * len(held) // 4 - 1
        if result.request.image == last and not result.request.parents:
            held.append(resident_mib())
    logging.info("MiB before and after each quarter of %d scenes: %s", count, held)
    assert len(held) == 5
    assert held[-1] <= held[0] * 1.02


def ground_or_look_into(result):
    """Of a caption its phrases, of the first box that is found a description."""
    about = result.request.image
    if result.request.task == "caption" and (words := result.answer.text):
        yield Request(about, GROUNDING, words, ("caption",))
    if result.request.task == "od" and result.answer.instances:
        [place, *_] = result.answer.instances[0].parts
        yield Request(about, "region_to_description", place, ("box",))


def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
