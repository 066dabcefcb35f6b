"""The engine against plain transformers, one prompt at a time.

Every task on a scene with the checkpoint that ships; on more of them, and with Florence-2-base's
true shapes (random weights):

    EQUALITY_SCENES=0-200 pytest --log-cli-level=INFO tests/test_florence2_equality.py -k scenes
    EQUALITY_BASE=1 PYTHONPATH=benchmarks pytest --log-cli-level=INFO \\
        tests/test_florence2_equality.py -k base
"""

import copy
import logging
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import annotator.embedded
from annotator.scenes.draw import draw_scene
from annotator.scenes.questions import ask
from stages.base import Model
from stages.florence2.engine import Decoding, Engine
from stages.florence2.loading import load_checkpoint
from stages.florence2.prompts import TASKS
from stages.florence2.reference import Reference
from stages.florence2.requests import Request

SCENES = range(*map(int, os.environ.get("EQUALITY_SCENES", "4-5").split("-")))
CHECKPOINT = Path(annotator.embedded.__file__).parent / "checkpoint"
WAYS = [
    pytest.param(
        {"num_beams": beams, "no_repeat_ngram_size": ban, "early_stopping": early},
        id=f"{beams} beams, ban {ban}{'' if early else ', late stopping'}",
    )
    for beams, ban, early in ((1, 0, True), (1, 3, True), (3, 0, True), (3, 3, True), (3, 0, False))
]


@pytest.fixture(scope="module")
def embedded():
    return load_checkpoint(Model(checkpoint=str(CHECKPOINT), device="cpu"))


@pytest.fixture(scope="module")
def asked():
    """Images of scenes, and every task asked of each scene that has something to ask about."""
    scenes = [draw_scene(f"equality {number}") for number in SCENES]
    requests = []
    for i, scene in enumerate(scenes):
        rng = random.Random(SCENES[i])
        questions = [question for task in TASKS if (question := ask(scene, task, rng))]
        requests += [Request(i, question.task, question.about) for question in questions]
    assert {request.task for request in requests} == set(TASKS)
    return [scene.image for scene in scenes], requests


@pytest.mark.parametrize("way", WAYS)
def test_answers_about_scenes_are_those_of_generate(way, embedded, asked):
    decoding = Decoding({task: spec.max_new_tokens for task, spec in TASKS.items()}, **way)
    images, requests = asked
    compare(embedded, decoding, images, requests)


@pytest.mark.parametrize("beams", [1, 3])
def test_half_precision_answers_score_about_as_the_model_in_full(beams, embedded, asked):
    loaded = load_checkpoint(Model(checkpoint=str(CHECKPOINT), device="cpu", dtype="bfloat16"))
    [image, *_], requests = asked
    decoding = Decoding({task: spec.max_new_tokens for task, spec in TASKS.items()}, beams)
    about_it = [request for request in requests if request.image == 0][:4]
    full = Reference(embedded, image)
    for result in Engine(loaded, decoding).run([image], about_it):
        logs = full.logits(result.request, result.tokens).log_softmax(dim=1)
        expected = logs[range(len(result.tokens)), result.tokens].numpy()
        assert np.abs(result.scores.chosen - expected).mean() < 0.1


@pytest.mark.skipif("EQUALITY_BASE" not in os.environ, reason="takes minutes: EQUALITY_BASE=1")
@pytest.mark.parametrize("way", WAYS)
def test_answers_of_base_shapes_are_those_of_generate(way, base):
    checkpoint, images, requests = base
    limits = {request.task: 16 for request in requests}
    compare(checkpoint, Decoding(limits, **way), images, requests)


@pytest.fixture(scope="module")
def base():
    """The benchmarks' checkpoint, as many images as EQUALITY_BASE says, and their menu."""
    import florence2_base

    images = florence2_base.made_up_images(int(os.environ["EQUALITY_BASE"]))
    menu = [(task, about) for task, (_, about) in florence2_base.MENU.items()]
    requests = [Request(i, task, about) for i in range(len(images)) for task, about in menu]
    return florence2_base.make_checkpoint(), images, requests


def compare(checkpoint, decoding, images, requests):
    """Tokens equal up to a near tie, log-probabilities within 1e-4; logs what was counted."""
    found, farthest, engine = Counter(), 0.0, Engine(checkpoint, decoding)
    references = [Reference(checkpoint, image) for image in images]
    for result in engine.stream(images, requests):
        reference, request = references[result.request.image], result.request
        expected = reference.generate(request, decoding)
        if result.tokens != expected:
            tied = reference.part_at_a_tie(request, result.tokens, expected)
            image = images[request.image]
            assert tied or rounding_decides(checkpoint, image, decoding, request), request
        found["equal" if result.tokens == expected else "near ties"] += 1
        logs = reference.logits(request, result.tokens).log_softmax(dim=1).numpy()
        farthest = max(farthest, difference(result, logs, checkpoint.vocabulary))
    assert found.total() == len(requests)
    assert found["near ties"] <= 1 + len(requests) // 500
    assert farthest <= 1e-4
    logging.info("%s, log-probabilities within %.1e", dict(found), farthest)


def rounding_decides(checkpoint, image, decoding, request):
    """Whether beam search, which may drop one of two answers that score alike long after they have
    parted, finds the answer of `generate` where the model computes in float64."""
    if decoding.num_beams == 1:
        return False
    exact = replace(checkpoint, model=copy.deepcopy(checkpoint.model).double())
    request = replace(request, image=0)
    [result] = Engine(exact, decoding).run([image], [request])
    return result.tokens == Reference(exact, image).generate(request, decoding)


def difference(result, logs, known):
    """The largest between the scores of a result and the model's own (T, vocabulary)."""
    tokens, scores = list(result.tokens), result.scores
    places = [at for at, token in enumerate(tokens) if known.bin_of(token) is not None]
    assert scores.location_positions.tolist() == places
    pairs = (
        (scores.chosen, logs[range(len(tokens)), tokens]),
        (scores.end, logs[:, known.eos]),
        (scores.locations, logs[places, known.first_loc : known.first_loc + 1000]),
    )
    return max(float(np.abs(ours - theirs).max(initial=0)) for ours, theirs in pairs)
