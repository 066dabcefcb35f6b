import random

import pytest

from stages.florence2.cascades import Inquiry, KnownRegion
from stages.florence2.prompts import TASKS
from stages.florence2.stage import Florence2
from stages.florence2.tiling import View

GROUNDING = "caption_to_phrase_grounding"
WHOLE = View(0, (1000, 1000))
BOX = "<loc_0><loc_0><loc_499><loc_999>"
OTHER = "<loc_500><loc_0><loc_999><loc_999>"
THIRD = "<loc_0><loc_0><loc_100><loc_100>"
SAID = {
    "caption": "a star and a cat",
    "detailed_caption": "a cat on a mat",
    f"{GROUNDING} a star and a cat": f"a star{BOX}a cat{OTHER}{THIRD}",
    f"{GROUNDING} a cat on a mat": f"A  cat{BOX}a mat{THIRD}",
    "od": f"star{BOX}cat{OTHER}",
}


@pytest.fixture
def converse(answered):
    """Puts every question of an inquiry and answers it as `said` has it: (results in the order of
    the rows, requests in the order they were asked)."""

    def make(options, said, *, views=(WHOLE,), known=(), seed=0, probability=None):
        inquiry = Inquiry(Florence2(model="m", **options), views, 0, known)
        rng, asked = random.Random(seed), []
        waiting = inquiry.first()
        while waiting:
            request = waiting.pop(rng.randrange(len(waiting)))
            asked.append(request)
            words = request.about if isinstance(request.about, str) else ""
            tile = views[request.image].name or ""
            question = f"{tile} {request.task} {words}".strip()
            sure = (probability or {}).get(question, 0.5)
            result = answered(request, said.get(question, ""), probability=sure)
            waiting += inquiry.follow_up(result)
        return inquiry.results(), asked

    return make


def told(results):
    """Task, what was asked about, and the labels that this came from, of each."""
    return [
        (
            result.request.task,
            result.request.about,
            [(p[0].task, p[1]) if isinstance(p, tuple) else p for p in result.request.parents],
        )
        for result in results
    ]


def test_captions_are_grounded_and_their_phrases_looked_for_each_once(converse):
    options = {
        "tasks": [
            *("caption", "open_vocabulary_detection", "detailed_caption", GROUNDING),
            "referring_expression_segmentation",
        ],
        "phrases_from": ["detailed_caption", "caption"],
        "queries": ["Dog", "a mat"],
    }
    results, _ = converse(options, SAID)
    star, cat = (GROUNDING, 0), (GROUNDING, 0)
    phrases = [("Dog", [None]), ("a mat", [None]), ("A  cat", [cat]), ("a star", [star])]
    assert told(results) == [
        ("caption", None, []),
        ("detailed_caption", None, []),
        (GROUNDING, "a star and a cat", [("caption", 0)]),
        (GROUNDING, "a cat on a mat", [("detailed_caption", 0)]),
        *(("open_vocabulary_detection", *phrase) for phrase in phrases),
        *(("referring_expression_segmentation", *phrase) for phrase in phrases),
    ]


def test_several_phrases_share_a_prompt_of_detection_alone(converse):
    options = {
        "tasks": ["open_vocabulary_detection", "referring_expression_segmentation"],
        "queries": ["dog", "cat", "bird"],
        "phrases_per_prompt": 2,
    }
    results, _ = converse(options, {})
    assert [about for _, about, _ in told(results)] == [
        ("dog", "cat"), "bird", "dog", "cat", "bird",
    ]  # fmt: skip


def test_the_surest_phrases_are_looked_for(converse):
    options = {
        "tasks": ["caption", "detailed_caption", GROUNDING, "open_vocabulary_detection"],
        "phrases_from": ["caption", "detailed_caption"],
        "max_phrases": 2,
    }
    sure = {f"{GROUNDING} a cat on a mat": 0.9}
    results, _ = converse(options, SAID, probability=sure)
    assert [about for _, about, _ in told(results)[4:]] == ["a cat", "a mat"]


def test_a_caption_without_words_leads_to_nothing(converse):
    options = {
        "tasks": ["caption", GROUNDING, "open_vocabulary_detection", "region_to_ocr"],
        "phrases_from": ["caption"],
        "regions_from": [GROUNDING, "open_vocabulary_detection"],
    }
    results, _ = converse(options, {})
    assert told(results) == [("caption", None, [])]


def test_boxes_are_asked_about_in_their_order_and_one_at_a_place(converse):
    close = "<loc_0><loc_0><loc_500><loc_999>"
    options = {
        "tasks": ["region_to_category", "od", "dense_region_caption", "region_to_segmentation"],
        "regions_from": ["od", "dense_region_caption"],
    }
    said = {"od": f"star{BOX}cat{OTHER}", "dense_region_caption": f"a red star{close}b{THIRD}"}
    results, _ = converse(options, said, probability={"dense_region_caption": 0.9})
    of_boxes = [
        ((500, 0, 999, 999), [("od", 1)]),
        ((0, 0, 500, 999), [("dense_region_caption", 0)]),
        ((0, 0, 100, 100), [("dense_region_caption", 1)]),
    ]
    assert told(results)[2:] == [
        *(("region_to_category", *box) for box in of_boxes),
        *(("region_to_segmentation", *box) for box in of_boxes),
    ]


def test_a_person_s_boxes_come_first_where_there_is_a_limit(converse):
    options = {
        "tasks": ["od", "region_to_description"],
        "regions_from": ["od", "human", "detector"],
        "max_regions": 2,
    }
    known = [
        KnownRegion("detector/region/0", (0, 0, 100, 100), 0.8),
        KnownRegion("human/region/0", (900, 900, 1000, 1000), None),
    ]
    results, _ = converse(options, SAID, known=known)
    assert told(results)[1:] == [
        ("region_to_description", (0, 0, 100, 100), ["detector/region/0"]),
        ("region_to_description", (900, 900, 999, 999), ["human/region/0"]),
    ]


def test_quads_are_asked_about_by_the_box_around_them(converse):
    options = {"tasks": ["ocr_with_region", "region_to_ocr"], "regions_from": ["ocr_with_region"]}
    corners = "<loc_10><loc_5><loc_90><loc_0><loc_95><loc_40><loc_12><loc_45>"
    results, _ = converse(options, {"ocr_with_region": f"STOP{corners}"})
    assert told(results)[1:] == [("region_to_ocr", (10, 0, 95, 45), [("ocr_with_region", 0)])]


TILES = [View(0, (600, 600), (0, 0, 600, 600)), View(0, (600, 600), (400, 400, 1000, 1000))]


@pytest.mark.parametrize(
    ("said", "size", "tiled"),
    [
        pytest.param({"od": f"star{BOX}"}, (1500, 1000), False, id="an ordinary image"),
        pytest.param({}, (1000, 1501), True, id="a large image"),
        pytest.param({"region_proposal": BOX * 49}, (1000, 1000), False, id="49 places"),
        pytest.param({"region_proposal": BOX * 50}, (1000, 1000), True, id="50 places"),
        pytest.param({"od": f"star{BOX}" * 250}, (1000, 1000), True, id="a cut answer"),
    ],
)
def test_tiles_are_looked_at_where_an_image_is_dense_or_large(said, size, tiled, converse):
    options = {"tasks": ["caption", "region_proposal", "od"], "tiling": "auto"}
    results, _ = converse(options, said, views=[View(0, size), *TILES])
    asked = [(result.request.task, result.request.image) for result in results]
    of_tiles = [("region_proposal", 1), ("region_proposal", 2), ("od", 1), ("od", 2)]
    assert asked == [
        ("caption", 0), ("region_proposal", 0), ("od", 0), *(of_tiles if tiled else ()),
    ]  # fmt: skip


def test_a_box_of_a_tile_is_asked_about_in_the_tile(converse):
    options = {"tasks": ["od", "region_to_category"], "tiling": "always"}
    said = {"od": f"star{BOX}", "400,400,1000,1000 od": f"star{THIRD}"}
    results, _ = converse(options, said, views=[WHOLE, *TILES])
    assert [(r.request.image, r.request.about) for r in results[3:]] == [
        (0, (0, 0, 499, 999)),
        (2, (0, 0, 100, 100)),
    ]


def test_the_tiles_of_other_images_are_left_alone(converse):
    others = View(1, (600, 600), (0, 0, 600, 600))
    results, _ = converse({"tasks": ["od"], "tiling": "always"}, {}, views=[WHOLE, others])
    assert len(results) == 1


def test_rows_do_not_depend_on_the_order_of_the_answers(converse):
    options = {
        "tasks": list(TASKS),
        "regions_from": ["od", GROUNDING, "open_vocabulary_detection", "human"],
        "phrases_from": ["caption", "detailed_caption"],
        "queries": ["dog", "traffic light"],
        "tiling": "auto",
    }
    said = {**SAID, "region_proposal": BOX * 60, "open_vocabulary_detection dog": f"dog{THIRD}"}
    known = [KnownRegion("human/region/0", (900, 0, 1000, 1000), None)]
    runs = [
        converse(options, said, views=[WHOLE, *TILES], known=known, seed=seed) for seed in range(20)
    ]
    assert len({tuple(asked) for _, asked in runs}) == 20
    first = [result.request for result in runs[0][0]]
    assert {request.task for request in first} == set(TASKS)
    assert len(set(first)) == len(first)
    for results, asked in runs:
        assert [result.request for result in results] == first
        assert sorted(map(repr, asked)) == sorted(map(repr, first))
