"""What the engine holds on to while it works through many scenes: things counted, not bytes."""

import weakref

import torch
from PIL import Image

from stages.florence2.engine import Decoding, Engine, Request
from stages.florence2.prompts import TASKS

SCENES, SLOTS, ROOTS = 300, 6, ("caption", "od")
GROUNDING = "caption_to_phrase_grounding"


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
