"""One measure for every Florence-2 task: a model's answers about scenes beside the true ones.

Places are compared in bins: IoU does not change when an image is stretched, and the true answer is
the one that Florence-2's grid of 1000 bins can hold. They are right at IoU 0.5 or more, each true
place once. Words are compared without regard to case, white space and a full stop at the end.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from annotator.evaluation.detection import (
    COCO_IOUS,
    Counts,
    Overlaps,
    Places,
    candidate_pairs,
    count_right,
    group_codes,
    mean_average_precision,
    turns_within,
)
from annotator.scenes import world
from annotator.scenes.questions import Question
from schemas.columns import Rows
from stages.florence2.grammar import Answer, Instance, parse_answer
from stages.florence2.prompts import TASKS, Task
from stages.florence2.vocabulary import Vocabulary

Figures = dict[str, float | None]
"""By name; None where nothing was asked, or where nothing was found to be right or wrong."""
_LOCATION = re.compile(r"<loc_(\d+)>")
_PAIR = re.compile(rf"\b({'|'.join(world.COLOURS)}) ([a-z]+)")


@dataclass(frozen=True)
class Reply:
    """`scores` are of the places in `found`; without them the first place is the surest."""

    found: Answer
    true: Answer
    scores: tuple[float, ...] | None = None


def measure(task: Task, replies: Sequence[Reply]) -> Figures:
    """The figures of one task; average precision only where all replies have scores."""
    return _MEASURES[task](replies)


def true_answer(question: Question, vocabulary: Vocabulary) -> Answer:
    """As it is read from a model that answers with the target."""
    ids: list[int] = []
    for i, piece in enumerate(_LOCATION.split(question.target)):
        ids += [vocabulary.first_loc + int(piece)] if i % 2 else vocabulary.words_to_ids(piece)
    limit = len(ids) + 2
    return parse_answer([*ids, vocabulary.eos], TASKS[question.task].output, vocabulary, limit)


def _boxes(replies: Sequence[Reply]) -> Figures:
    """Place and name right; `located`: true boxes found whatever their name."""
    found, true = _places(replies)
    return {
        **_shares(count_right(found, true)),
        "located": count_right(found.nameless(), true.nameless()).recall,
    }


def _detection(replies: Sequence[Reply]) -> Figures:
    figures = _boxes(replies)
    if all(reply.scores is not None for reply in replies):
        found, true = _places(replies)
        figures["map_50"] = mean_average_precision(found, true, 0.5)
        figures["map"] = mean_average_precision(found, true, COCO_IOUS)
    return figures


def _grounding(replies: Sequence[Reply]) -> Figures:
    """`r_at_1`: phrases whose surest box is right; one of a phrase's true boxes is enough."""
    found, true = _places(replies)
    groups = group_codes(found, true)
    surest = found.where(turns_within(groups[: len(found)], found.score) == 0)
    right, phrases = count_right(surest, true).right, len(np.unique(groups[len(found) :]))
    return {**_boxes(replies), "r_at_1": right / phrases if phrases else None}


def _queries(replies: Sequence[Reply]) -> Figures:
    """`f1` of what is there; `absent`: things not there that were answered with nothing."""
    there = [reply for reply in replies if reply.true.instances]
    silent = [not reply.found.instances for reply in replies if not reply.true.instances]
    return {"absent": _mean(silent), "f1": _boxes(there)["f1"]}


def _quads(replies: Sequence[Reply]) -> Figures:
    """Quad and words right."""
    found, true = _places(replies)
    shapes, true_shapes = _shapes(r.found for r in replies), _shapes(r.true for r in replies)
    f, t = candidate_pairs(found, true)
    overlaps = Overlaps(f, t, _iou_of_shapes(shapes[f], true_shapes[t]))
    return _shares(count_right(found, true, overlaps=overlaps))


def _masks(replies: Sequence[Reply]) -> Figures:
    """`miou`: the mean over all questions, 0 where nothing was marked."""
    found, true = (
        np.array([shapely.union_all(_shapes([answer])) for answer in answers], dtype=object)
        for answers in ([r.found for r in replies], [r.true for r in replies])
    )
    return {"miou": _mean(_iou_of_shapes(found, true))}


def _pairs(replies: Sequence[Reply]) -> Figures:
    """`pairs_f1`: colour and kind together, each pair of a caption once."""
    found, true = (
        [set(_PAIR.findall(_plain(answer.text))) for answer in answers]
        for answers in ([r.found for r in replies], [r.true for r in replies])
    )
    right = sum(len(a & b) for a, b in zip(found, true, strict=True))
    return {"pairs_f1": Counts(right, sum(map(len, found)), sum(map(len, true))).f1}


def _equal(replies: Sequence[Reply]) -> Figures:
    return {"equal": _mean([_plain(r.found.text) == _plain(r.true.text) for r in replies])}


def _words(replies: Sequence[Reply]) -> Figures:
    """`words`: right ones as a share of those printed, or of those read where they are more."""
    right = total = 0
    for reply in replies:
        read, printed = (Counter(_plain(a.text).split()) for a in (reply.found, reply.true))
        right += (read & printed).total()
        total += max(read.total(), printed.total())
    return {"words": right / total if total else None}


_MEASURES: dict[Task, Callable[[Sequence[Reply]], Figures]] = {
    "caption": _pairs,
    "detailed_caption": _pairs,
    "more_detailed_caption": _pairs,
    "od": _detection,
    "dense_region_caption": _boxes,
    "region_proposal": _boxes,
    "ocr": _words,
    "ocr_with_region": _quads,
    "caption_to_phrase_grounding": _grounding,
    "referring_expression_segmentation": _masks,
    "region_to_segmentation": _masks,
    "open_vocabulary_detection": _queries,
    "region_to_category": _equal,
    "region_to_description": _equal,
    "region_to_ocr": _equal,
}


def _places(replies: Sequence[Reply]) -> tuple[Places, Places]:
    """Boxes around the places found and around the true ones; their words are the category."""
    sides = [[r.found.instances for r in replies], [r.true.instances for r in replies]]
    labels = [_plain(instance.label) for side in sides for each in side for instance in each]
    codes = np.unique(np.array(labels, dtype=str), return_inverse=True)[1].ravel()
    count = sum(map(len, sides[0]))
    scores = [score for reply in replies for score in reply.scores or ()]
    return (
        _side(sides[0], codes[:count], scores if len(scores) == count else None),
        _side(sides[1], codes[count:], None),
    )


def _side(
    answers: Sequence[Sequence[Instance]], codes: Rows, scores: Sequence[float] | None
) -> Places:
    images = np.repeat(np.arange(len(answers)), [len(instances) for instances in answers])
    boxes = [_bounds(instance) for instances in answers for instance in instances]
    return Places.of(images, codes, boxes, scores)


def _bounds(instance: Instance) -> tuple[int, int, int, int]:
    xs = [x for part in instance.parts for x in part[0::2]]
    ys = [y for part in instance.parts for y in part[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def _shapes(answers: Iterable[Answer]) -> NDArray[Any]:
    """Of each instance of all answers: the area within its parts, box corners spelled out."""
    instances = [instance for answer in answers for instance in answer.instances]
    return np.array([_shape(instance) for instance in instances], dtype=object)


def _shape(instance: Instance) -> Any:
    if instance.shape == "box":
        x0, y0, x1, y1 = instance.parts[0]
        return shapely.box(x0, y0, x1, y1)
    rings = [shapely.Polygon(np.reshape(part, (-1, 2))) for part in instance.parts]
    return shapely.union_all(shapely.make_valid(rings))


def _iou_of_shapes(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    shared, union = (shapely.area(shapely.intersection(a, b)), shapely.area(shapely.union(a, b)))
    return np.divide(shared, union, out=np.zeros(len(a)), where=union > 0)


def _shares(counts: Counts) -> Figures:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}


def _mean(values: Sequence[float] | NDArray[np.float64]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _plain(words: str) -> str:
    return " ".join(words.casefold().split()).removesuffix(".").rstrip()
