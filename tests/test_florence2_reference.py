"""The engine against plain transformers, one prompt at a time, on the checkpoint that ships."""

import random
from pathlib import Path

import numpy as np
import pytest

import annotator.embedded
from annotator.scenes.draw import draw_scene
from annotator.scenes.questions import ask
from stages.base import Model
from stages.florence2.checkpoint import load_checkpoint
from stages.florence2.engine import Decoding, Engine, Request
from stages.florence2.prompts import TASKS
from stages.florence2.reference import generate_alone, part_at_a_tie, token_logits

CHECKPOINT = Path(annotator.embedded.__file__).parent / "checkpoint"
LIMITS = dict.fromkeys(TASKS, 40)
WAYS = [
    pytest.param(Decoding(LIMITS, beams, ban), id=f"{beams} beams, ban {ban}")
    for beams in (1, 3)
    for ban in (0, 3)
]


@pytest.fixture(scope="module")
def embedded():
    return load_checkpoint(Model(checkpoint=str(CHECKPOINT), device="cpu"))


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(f"engine {number}").image for number in range(2)]


@pytest.fixture(scope="module")
def requests():
    """Every task once, on one scene or the other."""
    rng = random.Random(0)
    drawn = [draw_scene(f"engine {number}") for number in range(2)]
    asked = [(i % 2, ask(drawn[i % 2], task, rng)) for i, task in enumerate(TASKS)]
    return [Request(image, question.task, question.about) for image, question in asked if question]


@pytest.mark.parametrize("decoding", WAYS)
def test_every_task_has_the_tokens_of_generate(decoding, embedded, scenes, requests):
    results = Engine(embedded, decoding, batch_size=6).run(scenes, requests)
    assert {result.request for result in results} == set(requests)
    assert len({request.task for request in requests}) == len(TASKS)
    for result in results:
        image = scenes[result.request.image]
        expected = generate_alone(embedded, image, result.request, decoding)
        assert part_at_a_tie(embedded, image, result.request, (result.tokens, expected))


@pytest.mark.parametrize("decoding", WAYS)
def test_log_probabilities_are_the_models_own(decoding, embedded, scenes, requests):
    results = Engine(embedded, decoding, batch_size=6).run(scenes, requests)
    first = embedded.vocabulary.first_loc
    for result in results:
        tokens, scores = list(result.tokens), result.scores
        image = scenes[result.request.image]
        logits = token_logits(embedded, image, result.request, result.tokens)
        logs = logits.log_softmax(dim=1).numpy()
        places = [i for i, token in enumerate(tokens) if first <= token < first + 1000]
        np.testing.assert_allclose(scores.chosen, logs[range(len(tokens)), tokens], atol=1e-4)
        np.testing.assert_allclose(scores.end, logs[:, embedded.vocabulary.eos], atol=1e-4)
        assert scores.location_positions.tolist() == places
        np.testing.assert_allclose(
            scores.locations, logs[places, first : first + 1000], atol=1e-4, rtol=1e-5
        )
