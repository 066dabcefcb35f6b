"""Questions whose true answers are known, asked in several ways: what the labels are worth."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from annotator.evaluation.measures import Reply, measure, true_answer
from annotator.evaluation.scenes import LONGEST_ANSWER, ask_unseen, unseen_scene
from annotator.human.sidecars import read_labels
from annotator.scenes.draw import Scene
from annotator.scenes.questions import Question
from annotator.shard_addresses import expand_shards
from annotator.shards import read_shard
from schemas.boxes import iou
from schemas.samples import Sample, decode_image
from stages.florence2.engine import Decoding, Engine
from stages.florence2.grammar import Instance
from stages.florence2.prompts import TASKS, Task
from stages.florence2.requests import Request, Result
from stages.florence2.scores import region_scores, text_scores
from stages.florence2.targets import boxes_target

Results = dict[tuple[int, Task], Result]
Ways = Mapping[str, Callable[[], Engine]]
"""Name → what opens an engine that works in that way; the first is what others are likened to."""
WITHIN = 1
"""Bins by which two coordinates may differ and be alike."""
NEAR = 0.9
"""IoU from which on two boxes of one name are near."""


@dataclass(frozen=True)
class Exam:
    """`questions` about `pictures`, by the number of the picture and the task."""

    pictures: Sequence[Image.Image]
    questions: Mapping[tuple[int, Task], Question]

    @classmethod
    def of_scenes(
        cls,
        count: int,
        difficulty: float,
        wanted: Callable[[Scene], bool] = lambda scene: True,
    ) -> "Exam":
        """The first `count` unseen scenes that are wanted; each task is asked where it can be."""
        scenes: dict[int, Scene] = {}
        number = 0
        while len(scenes) < count:
            if wanted(scene := unseen_scene(number, difficulty)):
                scenes[number] = scene
            number += 1
        questions = {
            (picture, task): question
            for picture, (number, scene) in enumerate(scenes.items())
            for task in TASKS
            if (question := ask_unseen(scene, number, task)) is not None
        }
        return cls([scene.image for scene in scenes.values()], questions)

    @classmethod
    def of_shards(cls, urls: Sequence[str]) -> "Exam":
        """The images that people labelled, and `od` about each: the boxes that people drew."""
        pictures: list[Image.Image] = []
        questions: dict[tuple[int, Task], Question] = {}
        samples = (sample for ref in expand_shards(urls, Path.cwd()) for sample in read_shard(ref))
        for sample in samples:
            if not isinstance(sample, Sample):
                continue
            image = decode_image(sample)
            drawn = read_labels(sample, *image.size)
            if drawn.looked:
                boxes = [(row["x0"], row["y0"], row["x1"], row["y1"]) for row in drawn.regions]
                names = [row["category"] for row in drawn.regions]
                target = boxes_target(names, boxes, image.size)
                questions[len(pictures), "od"] = Question("od", target)
                pictures.append(image)
        return cls(pictures, questions)

    def take(self, ways: Ways) -> dict[str, Any]:
        """Way → its seconds, and task → its figures against the truth, and how like the first."""
        first: Results = {}
        figures: dict[str, Any] = {}
        for name, opened in ways.items():
            engine = opened()
            results, seconds = self._answers(engine)
            first = first or results
            likenesses = {task: self._likeness(task, first, results) for task in self.tasks}
            figures[name] = {
                "seconds": seconds,
                "all": sum(likenesses.values(), Likeness()).figures(),
                "tasks": {
                    task: {**likeness.figures(), "worth": self._worth(task, results, engine)}
                    for task, likeness in likenesses.items()
                },
            }
        return figures

    @property
    def tasks(self) -> list[Task]:
        return list(dict.fromkeys(task for _, task in self.questions))

    def _answers(self, engine: Engine) -> tuple[Results, float]:
        started = time.perf_counter()
        asked = [Request(p, task, question.about) for (p, task), question in self.questions.items()]
        results = engine.run(self.pictures, asked)
        seconds = time.perf_counter() - started
        return {(r.request.image, r.request.task): r for r in results}, seconds

    def _likeness(self, task: Task, first: Results, results: Results) -> "Likeness":
        pairs = ((first[key], results[key]) for key in self.questions if key[1] == task)
        return sum((compare(*pair) for pair in pairs), Likeness())

    def _worth(self, task: Task, results: Results, engine: Engine) -> dict[str, float | None]:
        vocabulary = engine.checkpoint.vocabulary
        return measure(
            task,
            [
                Reply(results[key].answer, true_answer(asked, vocabulary), _scores(results[key]))
                for key, asked in self.questions.items()
                if key[1] == task
            ],
        )


def decoding(
    num_beams: int = 1, no_repeat_ngram_size: int = 0, longest: int = LONGEST_ANSWER
) -> Decoding:
    """Limits that leave room for twice the longest true answer, so that a loop costs little."""
    limits = {task: min(longest, spec.max_new_tokens) for task, spec in TASKS.items()}
    return Decoding(limits, num_beams, no_repeat_ngram_size)


@dataclass(frozen=True)
class Likeness:
    """Of the `first` labels and the others, how many are the same.

    The words are; and the place is `near` (IoU 0.9 of the boxes around), `alike` (each coordinate
    within a bin) or `equal`. A text has no place. Each label counts once. `apart`: how far the
    scores of those that are near lie from each other, in all.
    """

    first: int = 0
    labels: int = 0
    near: int = 0
    alike: int = 0
    equal: int = 0
    cut: int = 0
    apart: float = 0.0

    def __add__(self, other: "Likeness") -> "Likeness":
        return Likeness(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def figures(self) -> dict[str, Any]:
        """Shares of the first way's labels; `cut` counts answers that the limit ended."""
        shares = {
            name: getattr(self, name) / self.first if self.first else None
            for name in ("near", "alike", "equal")
        }
        apart = self.apart / self.near if self.near else None
        return {"labels": self.labels, "cut": self.cut, **shares, "scores_apart": apart}


def compare(first: Result, result: Result) -> Likeness:
    """Two answers to one question."""
    cut = int(result.answer.truncated)
    words, others = first.answer.text, result.answer.text
    if words or others:
        same = int(words == others)
        apart = abs(_text_score(first) - _text_score(result)) if same else 0.0
        return Likeness(bool(words), bool(others), same, same, same, cut, apart)
    ours, theirs = first.answer.instances, result.answer.instances
    pairs = list(_near(ours, theirs))
    scores = _scores(first), _scores(result)
    return Likeness(
        len(ours),
        len(theirs),
        len(pairs),
        sum(_are_alike(ours[i], theirs[j]) for i, j in pairs),
        sum(ours[i].parts == theirs[j].parts for i, j in pairs),
        cut,
        sum(abs(scores[0][i] - scores[1][j]) for i, j in pairs),
    )


def _near(ours: Sequence[Instance], theirs: Sequence[Instance]) -> Iterator[tuple[int, int]]:
    """Each with the one of the same words that it overlaps most, each once."""
    if not ours or not theirs:
        return
    same = np.array([[a.label == b.label for b in theirs] for a in ours])
    overlaps = np.where(same, iou(_bounds(ours), _bounds(theirs)), 0)
    for i, j in zip(*linear_sum_assignment(-overlaps), strict=True):
        if overlaps[i, j] >= NEAR:
            yield int(i), int(j)


def _are_alike(a: Instance, b: Instance) -> bool:
    if list(map(len, a.parts)) != list(map(len, b.parts)):
        return False
    return bool(np.abs(np.subtract(np.hstack(a.parts), np.hstack(b.parts))).max() <= WITHIN)


def _bounds(instances: Sequence[Instance]) -> np.ndarray:
    """In bins; a bin is as wide as it is, so that a thin box overlaps itself."""
    points = [np.hstack(instance.parts).reshape(-1, 2) for instance in instances]
    return np.array([[*each.min(axis=0), *(each.max(axis=0) + 1)] for each in points], dtype=float)


def _scores(result: Result) -> tuple[float, ...]:
    return tuple(region_scores(i, result.scores).joint for i in result.answer.instances)


def _text_score(result: Result) -> float:
    score = text_scores(result.answer.text_tokens, result.scores).score
    return 0.0 if score is None else score


def table(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line for each task and way: how many labels, the shares, and the worth."""
    columns = ("labels", "cut", "near", "alike", "equal", "scores_apart")
    yield f"{'':<22}" + "".join(f"{name:>8}" for name in columns[:-1]) + "   apart"
    tasks = next(iter(figures.values()))["tasks"]
    for task in (*tasks, "all"):
        yield task
        for way, found in figures.items():
            row = found["all"] if task == "all" else found["tasks"][task]
            worth = row.get("worth", {}).items()
            said = " · ".join(f"{name} {_shown(value)}" for name, value in worth)
            yield (
                f"  {way:<20}"
                + "".join(f"{_shown(row[name]):>8}" for name in columns)
                + (said and f"  {said}")
            )
    for way, found in figures.items():
        yield f"{way}: {found['seconds']:.1f} s"


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
