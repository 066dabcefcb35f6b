"""Every Florence-2 task asked about a scene, with the answer that the truth gives."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annotator.scenes import language, world
from annotator.scenes.draw import Box, Scene, Thing
from schemas.boxes import pixels_to_bins
from stages.florence2 import targets
from stages.florence2.prompts import TASKS, Bins, Task


@dataclass(frozen=True)
class Question:
    """`target` is the answer as text, with location tokens spelled out.

    `about` is the text or the region that is asked about, None where the task takes neither.
    """

    task: Task
    target: str
    about: str | Bins | None = None

    @property
    def prompt(self) -> str:
        """As text, with location tokens spelled out."""
        about = self.about or ""
        words = about if isinstance(about, str) else "".join(f"<loc_{bin}>" for bin in about)
        return TASKS[self.task].prompt.replace("{input}", words)


def ask(scene: Scene, task: Task, rng: random.Random) -> Question | None:
    """A question that this scene can answer; None where it has no word, or no thing, to ask of."""
    pair = _ASKED[task](scene, rng)
    if pair is None:
        return None
    about, target = pair
    return Question(task, target, about)


_Pair = tuple[str | Bins | None, str]
_Asked = Callable[[Scene, random.Random], _Pair | None]


def _caption(level: Callable[[Scene], language.Caption]) -> _Asked:
    return lambda scene, _: (None, level(scene).text)


def _od(scene: Scene, _: random.Random) -> _Pair:
    return None, _boxes([(thing.category, thing.bbox_xyxy) for thing in scene.things], scene)


def _dense(scene: Scene, _: random.Random) -> _Pair:
    return None, _boxes([(language.describe(t), t.bbox_xyxy) for t in scene.things], scene)


def _proposals(scene: Scene, _: random.Random) -> _Pair:
    boxes = [thing.bbox_xyxy for thing in scene.things]
    return None, targets.proposals_target(boxes, scene.image.size)


def _boxes(labelled: list[tuple[str, Box]], scene: Scene) -> str:
    labels, boxes = [label for label, _ in labelled], [box for _, box in labelled]
    return targets.boxes_target(labels, boxes, scene.image.size)


def _ocr(scene: Scene, _: random.Random) -> _Pair:
    return None, " ".join(word.text for word in scene.words)


def _ocr_with_region(scene: Scene, _: random.Random) -> _Pair:
    texts, quads = [word.text for word in scene.words], [word.quad for word in scene.words]
    return None, targets.quads_target(texts, quads, scene.image.size)


def _grounding(scene: Scene, rng: random.Random) -> _Pair | None:
    caption = rng.choice(language.captions(scene))
    if not caption.phrases:
        return None
    found = [(caption.text[p.start : p.end], p.bboxes_xyxy) for p in caption.phrases]
    return caption.text, targets.phrases_target(found, scene.image.size)


def _referring(scene: Scene, rng: random.Random) -> _Pair | None:
    expressions = language.expressions(scene)
    if not expressions:
        return None
    words, thing = rng.choice(expressions)
    return words, _mask(thing, scene)


def _open_vocabulary(scene: Scene, rng: random.Random) -> _Pair:
    """Half of the time what is asked for is not there, and the answer is empty."""
    if scene.things and rng.random() < 0.5:
        thing = rng.choice(scene.things)
        kind, colour = thing.category, thing.colour
    else:
        kind, colour = rng.choice(world.KINDS), rng.choice(tuple(world.COLOURS))
    query = rng.choice((kind, f"{colour} {kind}"))
    fitting = [
        (query, t.bbox_xyxy)
        for t in scene.things
        if t.category == kind and (query == kind or t.colour == colour)
    ]
    return query, _boxes(fitting, scene)


def _of_region(answer: Callable[[Thing, Scene], str]) -> _Asked:
    def asked(scene: Scene, rng: random.Random) -> _Pair | None:
        if not scene.things:
            return None
        thing = rng.choice(scene.things)
        return _bins(thing.bbox_xyxy, scene), answer(thing, scene)

    return asked


def _region_to_ocr(scene: Scene, rng: random.Random) -> _Pair | None:
    if not scene.words:
        return None
    word = rng.choice(scene.words)
    return _bins(word.bbox_xyxy, scene), word.text


def _bins(bbox_xyxy: Box, scene: Scene) -> Bins:
    x0, y0, x1, y1 = pixels_to_bins(np.reshape(bbox_xyxy, (2, 2)), scene.image.size).ravel()
    return int(x0), int(y0), int(x1), int(y1)


def _mask(thing: Thing, scene: Scene) -> str:
    return targets.polygons_target([[thing.outline]], scene.image.size)


_ASKED: dict[Task, _Asked] = {
    "caption": _caption(language.brief_caption),
    "detailed_caption": _caption(language.detailed_caption),
    "more_detailed_caption": _caption(language.more_detailed_caption),
    "od": _od,
    "dense_region_caption": _dense,
    "region_proposal": _proposals,
    "ocr": _ocr,
    "ocr_with_region": _ocr_with_region,
    "caption_to_phrase_grounding": _grounding,
    "referring_expression_segmentation": _referring,
    "region_to_segmentation": _of_region(_mask),
    "open_vocabulary_detection": _open_vocabulary,
    "region_to_category": _of_region(lambda thing, _: thing.category),
    "region_to_description": _of_region(lambda thing, _: language.describe(thing)),
    "region_to_ocr": _region_to_ocr,
}
