"""Figures per task on unseen scenes while a model is being trained, by plain greedy generation.

`annotator evaluate --on scenes` measures more, on any checkpoint, with the engine's scores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from annotator.embedded.batches import pixels_of
from annotator.evaluation.measures import Reply, measure, true_answer
from annotator.evaluation.scenes import ask_unseen, unseen_scene
from annotator.scenes.questions import Question
from annotator.training import batch_of
from stages.florence2.grammar import parse_answer
from stages.florence2.prompts import TASKS, Task
from stages.florence2.vocabulary import Vocabulary

LONGEST_ANSWER = 96
"""Tokens."""
_AT_ONCE = 50
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
    """`TASK_FIGURE` → its value; 0 where nothing was asked or found."""
    model.eval()
    vocabulary = Vocabulary.of(tokenizer)
    replies: dict[Task, list[Reply]] = {task: [] for task in tasks}
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, count))
        scenes = {number: unseen_scene(number, difficulty) for number in numbers}
        with torch.inference_mode():
            pixels = pixels_of([scene.image for scene in scenes.values()])
            features = model.model.get_image_features(pixels).pooler_output
            for task in tasks:
                questions = [ask_unseen(scene, n, task) for n, scene in scenes.items()]
                asked = {i: question for i, question in enumerate(questions) if question}
                answers = _answer(model, tokenizer, features, asked)
                replies[task] += [
                    _reply(question, tokens, vocabulary)
                    for question, tokens in zip(asked.values(), answers, strict=True)
                ]
    model.train()
    return {
        f"{task}_{name}": value or 0.0
        for task in tasks
        for name, value in measure(task, replies[task]).items()
    }


def _reply(question: Question, tokens: Sequence[int], vocabulary: Vocabulary) -> Reply:
    output = TASKS[question.task].output
    found = parse_answer(tokens, output, vocabulary, LONGEST_ANSWER)
    return Reply(found, true_answer(question, vocabulary))


def _answer(
    model: Any, tokenizer: Any, features: torch.Tensor, asked: Mapping[int, Question]
) -> list[list[int]]:
    """Tokens of the greedy answers to questions, by the index of the image's features."""
    if not asked:
        return []
    ids = [tokenizer(question.prompt)["input_ids"] for question in asked.values()]
    batch = batch_of(torch.empty(0), list(asked), ids, [[0]] * len(ids))
    words = model.get_input_embeddings()(batch.prompts)
    owned = features[batch.owners]
    mask = torch.cat([batch.prompt_mask.new_ones(owned.shape[:2]), batch.prompt_mask], dim=1)
    encoded = model.model.language_model.encoder(
        inputs_embeds=torch.cat([owned, words], dim=1), attention_mask=mask
    )
    tokens = model.generate(
        encoder_outputs=encoded,
        attention_mask=mask,
        max_new_tokens=LONGEST_ANSWER,
        num_beams=1,
        no_repeat_ngram_size=0,
        do_sample=False,
    )
    # The first is the decoder's start token, which is `</s>` too.
    return [row[1:] for row in tokens.tolist()]
