"""A checkpoint against the truth of scenes that training never draws."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from annotator.evaluation.measures import Figures, Reply, measure, true_answer
from annotator.scenes.draw import Scene, draw_scene
from annotator.scenes.questions import Question, ask
from stages.florence2.checkpoint import Checkpoint
from stages.florence2.engine import Decoding, Engine
from stages.florence2.prompts import TASKS, Task
from stages.florence2.requests import Request, Result
from stages.florence2.scores import region_scores

LONGEST_ANSWER = 160
"""Tokens: twice what the longest true answers have, so that a loop costs little."""
_AT_ONCE = 64
"""Scenes whose image encodings are held at the same time."""


@dataclass(frozen=True)
class Measure:
    """`words` say what the figure `name` of a task is; `target` is the embedded checkpoint's."""

    task: Task
    name: str
    words: str
    target: float | None = None


MEASURES = (
    Measure("od", "map_50", "mAP@.50", 0.80),
    Measure("od", "map", "mAP@[.50:.95]", 0.50),
    Measure("od", "precision", "precision"),
    Measure("od", "recall", "recall"),
    Measure("od", "f1", "F1"),
    Measure("caption", "pairs_f1", "colour and kind pairs: F1", 0.90),
    Measure("dense_region_caption", "f1", "box and text right: F1", 0.75),
    Measure("caption_to_phrase_grounding", "r_at_1", "R@1", 0.85),
    Measure("caption_to_phrase_grounding", "f1", "box and phrase right: F1"),
    Measure("region_to_category", "equal", "equal", 0.95),
    Measure("referring_expression_segmentation", "miou", "masks: mean IoU", 0.70),
    Measure("region_to_segmentation", "miou", "masks: mean IoU", 0.70),
    Measure("ocr", "words", "words right", 0.80),
    Measure("ocr_with_region", "f1", "quad and words right: F1"),
    Measure("region_proposal", "recall", "recall"),
    Measure("region_proposal", "precision", "precision"),
    Measure("region_to_description", "equal", "equal"),
    Measure("region_to_ocr", "equal", "equal"),
    Measure("open_vocabulary_detection", "f1", "boxes of what is there: F1"),
    Measure("open_vocabulary_detection", "absent", "what is absent answered with nothing"),
)
"""The table in its order. Places are right at IoU 0.5."""


@dataclass(frozen=True)
class Reached:
    """`value` is None where nothing was asked or found; `asked` counts the task's questions."""

    measure: Measure
    value: float | None
    asked: int


def evaluate_scenes(
    checkpoint: Checkpoint, count: int, difficulty: float, batch_size: int = 32
) -> list[Reached]:
    """Every measure on `count` unseen scenes, by greedy decoding; a bar on stderr."""
    tasks = tuple(dict.fromkeys(each.task for each in MEASURES))
    replies: dict[Task, list[Reply]] = {task: [] for task in tasks}
    limits = {task: min(LONGEST_ANSWER, TASKS[task].max_new_tokens) for task in tasks}
    engine = Engine(checkpoint, Decoding(limits), batch_size)
    with tqdm(total=count, unit="scene", desc="evaluate", dynamic_ncols=True) as bar:
        for start in range(0, count, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, count))
            for task, reply in _replies(engine, numbers, difficulty, tasks):
                replies[task].append(reply)
            bar.update(len(numbers))
    figures: dict[Task, Figures] = {task: measure(task, found) for task, found in replies.items()}
    return [Reached(m, figures[m.task][m.name], len(replies[m.task])) for m in MEASURES]


def unseen_scene(number: int, difficulty: float) -> Scene:
    """Its seed is a text; training draws numbers."""
    return draw_scene(f"unseen-{number}", difficulty)


def ask_unseen(scene: Scene, number: int, task: Task) -> Question | None:
    """The same question of that scene each time."""
    return ask(scene, task, random.Random(f"{number}/{task}"))


def _replies(
    engine: Engine, numbers: Sequence[int], difficulty: float, tasks: Sequence[Task]
) -> Iterator[tuple[Task, Reply]]:
    scenes = [unseen_scene(number, difficulty) for number in numbers]
    asked: dict[tuple[int, Task], Question] = {}
    for i, (number, scene) in enumerate(zip(numbers, scenes, strict=True)):
        for task in tasks:
            if (question := ask_unseen(scene, number, task)) is not None:
                asked[i, task] = question
    requests = [Request(i, task, question.about) for (i, task), question in asked.items()]
    for result in engine.run([scene.image for scene in scenes], requests):
        task = result.request.task
        question = asked[result.request.image, task]
        true = true_answer(question, engine.checkpoint.vocabulary)
        yield task, Reply(result.answer, true, _scores(result))


def _scores(result: Result) -> tuple[float, ...]:
    return tuple(region_scores(i, result.scores).joint for i in result.answer.instances)
