"""Scenes as training batches, and the truth per visual token that teaches the vision tower."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from annotator.embedded.build import IMAGE_SIDE
from annotator.scenes import world
from annotator.scenes.draw import Scene, Thing, Word, draw_scene
from annotator.scenes.questions import Question, ask
from annotator.training import Batch, batch_of
from schemas.boxes import pixels_to_bins
from stages.florence2.prompts import Task

GRID = IMAGE_SIDE // 16
WEIGHTS: Mapping[Task, float] = {
    "caption": 1.5,
    "detailed_caption": 1,
    "more_detailed_caption": 0.3,
    "od": 2.5,
    "dense_region_caption": 2,
    "region_proposal": 0.5,
    "ocr": 1.5,
    "ocr_with_region": 1,
    "caption_to_phrase_grounding": 2.5,
    "referring_expression_segmentation": 1.5,
    "region_to_segmentation": 1.5,
    "open_vocabulary_detection": 2.5,
    "region_to_category": 0.7,
    "region_to_description": 0.7,
    "region_to_ocr": 0.5,
}
"""How often each task is asked, relative to the others."""
FIRST_TASKS: tuple[Task, ...] = ("od", "caption", "region_proposal", "region_to_category")
NAMES = (*world.KINDS, *world.WORDS)
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32) * 255
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32) * 255


class GridTruth(NamedTuple):
    """For each visual token (I, GRID * GRID): -1 where nothing is.

    `names` counts through NAMES, the others through their tables of `world`; `boxes` (…, 4) are
    bins; `center` is 1 where the middle of a thing or word lies.
    """

    names: Tensor
    colours: Tensor
    materials: Tensor
    sizes: Tensor
    boxes: Tensor
    center: Tensor


def scenes(rng: random.Random, count: int, difficulty: float) -> list[Scene]:
    """Scenes of every difficulty from 0 to this."""
    return [
        draw_scene(rng.getrandbits(60), round(rng.random() * difficulty, 2)) for _ in range(count)
    ]


def pixels_of(images: Sequence[Image.Image]) -> Tensor:
    """As the checkpoint's own image processor makes them, quicker."""
    side = (IMAGE_SIDE, IMAGE_SIDE)
    resized = [np.asarray(image.resize(side, Image.Resampling.BICUBIC)) for image in images]
    normal = (np.stack(resized).astype(np.float32) - _MEAN) / _STD
    return torch.from_numpy(normal).permute(0, 3, 1, 2).contiguous()


def questions_of(
    scene: Scene, rng: random.Random, count: int, tasks: Mapping[Task, float]
) -> list[Question]:
    """Of different tasks where there are as many that the scene can answer."""
    names, weights = list(tasks), list(tasks.values())
    asked: dict[Task, Question] = {}
    for _ in range(3 * count):
        task = rng.choices(names, weights)[0]
        if task not in asked and (question := ask(scene, task, rng)) is not None:
            asked[task] = question
        if len(asked) == count:
            break
    return list(asked.values())


def batches_of(
    tokenizer: Any, pixels: Tensor, questions: Sequence[Sequence[Question]], parts: int
) -> list[Batch]:
    """All questions in batches of like length, so that little is padded; pixels in each."""
    owned = [(i, question) for i, asked in enumerate(questions) for question in asked]
    prompts = tokenizer([question.prompt for _, question in owned])["input_ids"]
    answers = tokenizer([question.target for _, question in owned])["input_ids"]
    order = sorted(range(len(owned)), key=lambda i: len(answers[i]) + len(prompts[i]))
    size = -(-len(order) // parts)
    return [
        batch_of(
            pixels,
            [owned[i][0] for i in order[start : start + size]],
            [prompts[i] for i in order[start : start + size]],
            [answers[i] for i in order[start : start + size]],
        )
        for start in range(0, len(order), size)
    ]


def grid_truth(some: Sequence[Scene]) -> GridTruth:
    """What the visual tokens within each box should know; a smaller box wins over a larger."""
    count = len(some)
    flat = {name: np.full((count, GRID, GRID), -1, dtype=np.int64) for name in GridTruth._fields}
    boxes = np.zeros((count, GRID, GRID, 4), dtype=np.int64)
    flat["center"][:] = 0
    for i, scene in enumerate(some):
        everything: list[Thing | Word] = [*scene.things, *scene.words]
        for one in sorted(everything, key=_area, reverse=True):
            bins = pixels_to_bins(np.reshape(one.bbox_xyxy, (2, 2)), scene.image.size).ravel()
            inside = (i, *_cells(bins))
            boxes[inside] = bins
            for name, value in _values(one).items():
                flat[name][inside] = value
            middle = (bins[:2] + bins[2:]) // 2 * GRID // 1000
            flat["center"][i, middle[1], middle[0]] = 1
    tensors = {name: torch.from_numpy(value).flatten(1) for name, value in flat.items()}
    return GridTruth(**{**tensors, "boxes": torch.from_numpy(boxes).flatten(1, 2)})


def _area(one: Thing | Word) -> float:
    x0, y0, x1, y1 = one.bbox_xyxy
    return (x1 - x0) * (y1 - y0)


def _cells(bins: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the grid whose middle lies in the box, the box's own middle at least."""
    step = 1000 // GRID
    middle = (bins[:2] + bins[2:]) // 2 // step
    low = np.minimum(np.ceil((bins[:2] - step / 2) / step).astype(int), middle)
    high = np.maximum(np.floor((bins[2:] - step / 2) / step).astype(int), middle)
    return slice(low[1], high[1] + 1), slice(low[0], high[0] + 1)


def _values(one: Thing | Word) -> dict[str, int]:
    if isinstance(one, Word):
        return {"names": NAMES.index(one.text), "colours": -1, "materials": -1, "sizes": -1}
    return {
        "names": NAMES.index(one.category),
        "colours": tuple(world.COLOURS).index(one.colour),
        "materials": world.MATERIALS.index(one.material),
        "sizes": world.SIZES.index(one.size),
    }
