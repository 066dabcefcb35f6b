"""Figures per task on unseen scenes, by plain greedy generation with a checkpoint.

Example:
    python -m annotator.embedded.exam annotator/embedded/checkpoint --scenes 500
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from shapely import Polygon, make_valid
from transformers import AutoProcessor, Florence2ForConditionalGeneration

from annotator.embedded.lessons import pixels_of
from annotator.scenes.draw import Scene, draw_scene
from annotator.scenes.questions import Question, ask
from annotator.training import batch_of
from schemas.boxes import iou
from stages.florence2.prompts import Task

_BOXES = re.compile(r"([^<]*)((?:<loc_\d+>)+)")
_NUMBER = re.compile(r"<loc_(\d+)>")
_PAIR = re.compile(r"(red|orange|yellow|green|blue|purple|white|black) ([a-z]+)")
_BATCH = 50
EXAMINED: tuple[Task, ...] = (
    "od",
    "caption",
    "dense_region_caption",
    "caption_to_phrase_grounding",
    "region_to_category",
    "ocr",
    "open_vocabulary_detection",
    "referring_expression_segmentation",
    "region_to_segmentation",
)


def examine(
    model: Any,
    tokenizer: Any,
    count: int,
    difficulty: float = 0.5,
    tasks: Sequence[Task] = EXAMINED,
) -> dict[str, float]:
    """Numbers per task, of scenes that training never draws: their seeds are texts."""
    model.eval()
    answers: dict[Task, list[tuple[str, Question]]] = {task: [] for task in tasks}
    for start in range(0, count, _BATCH):
        numbers = range(start, min(start + _BATCH, count))
        some = [draw_scene(f"unseen-{number}", difficulty) for number in numbers]
        with torch.inference_mode():
            pixels = pixels_of([scene.image for scene in some])
            features = model.model.get_image_features(pixels).pooler_output
            for task in tasks:
                answers[task] += _answered(model, tokenizer, features, some, task)
    model.train()
    return {
        f"{task}_{name}": value
        for task in tasks
        for name, value in _MEASURES[task](answers[task]).items()
    }


def _answered(
    model: Any, tokenizer: Any, features: torch.Tensor, some: Sequence[Scene], task: Task
) -> list[tuple[str, Question]]:
    asked = [(i, ask(scene, task, random.Random(i))) for i, scene in enumerate(some)]
    kept = [(i, question) for i, question in asked if question is not None]
    texts = answer(model, tokenizer, features, [(i, question.prompt) for i, question in kept])
    return [(text, question) for text, (_, question) in zip(texts, kept, strict=True)]


def answer(
    model: Any, tokenizer: Any, features: torch.Tensor, prompts: Sequence[tuple[int, str]]
) -> list[str]:
    """Greedy answers to (index of the image's features, prompt)."""
    ids = [tokenizer(prompt)["input_ids"] for _, prompt in prompts]
    batch = batch_of(torch.empty(0), [i for i, _ in prompts], ids, [[0]] * len(ids))
    words = model.get_input_embeddings()(batch.prompts)
    owned = features[batch.owners]
    mask = torch.cat([batch.prompt_mask.new_ones(owned.shape[:2]), batch.prompt_mask], dim=1)
    encoded = model.model.language_model.encoder(
        inputs_embeds=torch.cat([owned, words], dim=1), attention_mask=mask
    )
    tokens = model.generate(
        encoder_outputs=encoded,
        attention_mask=mask,
        max_new_tokens=96,
        num_beams=1,
        no_repeat_ngram_size=0,
        do_sample=False,
    )
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=False)
    return [re.sub(r"</?s>|<pad>", "", text) for text in texts]


_Answers = Sequence[tuple[str, Question]]


def _labelled_boxes(text: str) -> tuple[list[str], np.ndarray]:
    labels: list[str] = []
    boxes: list[list[int]] = []
    for label, locations in _BOXES.findall(text):
        numbers = [int(number) for number in _NUMBER.findall(locations)]
        for start in range(0, len(numbers) - 3, 4):
            labels.append(label.strip().lower())
            boxes.append(numbers[start : start + 4])
    edges = np.array([0, 0, 1, 1])  # of the bins, as a box one bin wide is no empty one
    return labels, np.array(boxes, dtype=np.float64).reshape(-1, 4) + edges


def _matches(found: str, true: str, same_label: bool) -> tuple[int, int, int]:
    """Right, found and true boxes; right at IoU 0.5, each true box once."""
    labels, boxes = _labelled_boxes(found)
    true_labels, true_boxes = _labelled_boxes(true)
    overlaps = iou(boxes, true_boxes)
    free = set(range(len(true_labels)))
    for i, label in enumerate(labels):
        fits = [j for j in free if not same_label or true_labels[j] == label]
        best = max(fits, key=lambda j, i=i: overlaps[i, j], default=None)  # type: ignore[misc]
        if best is not None and overlaps[i, best] >= 0.5:
            free.remove(best)
    return len(true_labels) - len(free), len(labels), len(true_labels)


def _boxes_f1(answers: _Answers) -> dict[str, float]:
    return _f1([_matches(text, question.target, True) for text, question in answers]) | {
        "located": _f1([_matches(t, q.target, False) for t, q in answers])["recall"]
    }


def _f1(counts: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    right, found, true = (sum(count[i] for count in counts) for i in range(3))
    return {
        "precision": right / max(found, 1),
        "recall": right / max(true, 1),
        "f1": 2 * right / max(found + true, 1),
    }


def _pairs_f1(answers: _Answers) -> dict[str, float]:
    counts = []
    for text, question in answers:
        found, true = set(_PAIR.findall(text)), set(_PAIR.findall(question.target))
        counts.append((len(found & true), len(found), len(true)))
    return {"pairs_f1": _f1(counts)["f1"]}


def _equal(answers: _Answers) -> dict[str, float]:
    return {"equal": sum(text == q.target for text, q in answers) / max(len(answers), 1)}


def _words(answers: _Answers) -> dict[str, float]:
    asked = [(text.split(), q.target.split()) for text, q in answers if q.target]
    right = sum(len(set(found) & set(true)) for found, true in asked)
    return {"words": right / max(sum(len(true) for _, true in asked), 1)}


def _absent(answers: _Answers) -> dict[str, float]:
    empty = [text for text, question in answers if not question.target]
    present = [(text, question) for text, question in answers if question.target]
    return {
        "absent": sum("<loc_" not in text for text in empty) / max(len(empty), 1),
        "f1": _boxes_f1(present)["f1"],
    }


def _masks(answers: _Answers) -> dict[str, float]:
    total = 0.0
    for text, question in answers:
        shapes = []
        for written in (text, question.target):
            numbers = [int(number) for number in _NUMBER.findall(written)]
            points = list(zip(numbers[::2], numbers[1::2], strict=False))
            shapes.append(make_valid(Polygon(points)) if len(points) >= 3 else Polygon())
        found, true = shapes
        union = found.union(true).area
        total += found.intersection(true).area / union if union else 0.0
    return {"miou": total / max(len(answers), 1)}


_MEASURES: dict[Task, Callable[[_Answers], dict[str, float]]] = {
    "od": _boxes_f1,
    "caption": _pairs_f1,
    "dense_region_caption": _boxes_f1,
    "caption_to_phrase_grounding": _boxes_f1,
    "region_to_category": _equal,
    "ocr": _words,
    "open_vocabulary_detection": _absent,
    "referring_expression_segmentation": _masks,
    "region_to_segmentation": _masks,
}


def main() -> None:
    """From the command line: the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a folder")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--difficulty", type=float, default=0.5)
    options = parser.parse_args()
    model = Florence2ForConditionalGeneration.from_pretrained(options.checkpoint)
    tokenizer = AutoProcessor.from_pretrained(options.checkpoint).tokenizer
    figures = examine(model, tokenizer, options.scenes, options.difficulty)
    sys.stdout.write(json.dumps({k: round(v, 3) for k, v in figures.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
