import pytest
from pydantic import ValidationError

from stages.florence2.stage import Florence2

GROUNDING = "caption_to_phrase_grounding"
DETECTION = "open_vocabulary_detection"


def refusal(**options):
    with pytest.raises(ValidationError) as caught:
        Florence2(model="m", **options)
    [mistake] = caught.value.errors()
    return mistake["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"tasks": []}, "tasks is empty: name at least one, such as caption or od", id="none"
        ),
        pytest.param({"tasks": ["od", "<OD>"]}, "tasks names od more than once", id="a task twice"),
        pytest.param(
            {"tasks": [DETECTION], "queries": ["Traffic  light", "dog", " traffic light"]},
            "queries names traffic light more than once",
            id="a query twice",
        ),
        pytest.param(
            {"tasks": ["od", GROUNDING]},
            "caption_to_phrase_grounding needs a caption to ground: "
            "add one of caption, detailed_caption, more_detailed_caption to tasks",
            id="nothing to ground",
        ),
        pytest.param(
            {"tasks": ["caption", "region_to_ocr"]},
            "region_to_ocr asks about the boxes of od, which is not in tasks: add it, or name "
            "others in regions_from",
            id="no boxes by default",
        ),
        pytest.param(
            {"tasks": ["od", "region_to_ocr"], "regions_from": []},
            "region_to_ocr needs boxes to ask about: name whose in regions_from, such as od or "
            "human",
            id="no boxes",
        ),
        pytest.param(
            {"tasks": ["caption", "region_to_ocr"], "regions_from": ["<CAPTION>"]},
            "regions_from names caption, which finds no boxes: name one of od, "
            "dense_region_caption, region_proposal, ocr_with_region, caption_to_phrase_grounding, "
            "open_vocabulary_detection",
            id="boxes of a caption",
        ),
        pytest.param(
            {"tasks": ["od"], "max_regions": 4},
            "max_regions is set, but no task asks about boxes: add one of region_to_segmentation, "
            "region_to_category, region_to_description, region_to_ocr to tasks",
            id="nobody asks about boxes",
        ),
        pytest.param(
            {"tasks": [DETECTION]},
            "open_vocabulary_detection needs words to look for: give queries, or name captions in "
            "phrases_from",
            id="no words",
        ),
        pytest.param(
            {"tasks": ["od"], "queries": ["dog"]},
            "queries is set, but no task looks for phrases: add one of "
            "referring_expression_segmentation, open_vocabulary_detection to tasks",
            id="nobody looks for words",
        ),
        pytest.param(
            {"tasks": ["caption", GROUNDING, DETECTION], "phrases_from": ["detailed_caption"]},
            "phrases_from names detailed_caption, which is not in tasks: add it",
            id="phrases of no caption",
        ),
        pytest.param(
            {"tasks": ["caption", DETECTION], "phrases_from": ["caption"]},
            "phrases_from needs the phrases of captions: add caption_to_phrase_grounding to tasks",
            id="phrases that nothing finds",
        ),
        pytest.param(
            {"tasks": [DETECTION], "queries": ["dog"], "max_phrases": 3},
            "max_phrases limits the phrases of captions: name captions in phrases_from",
            id="nothing to limit",
        ),
        pytest.param(
            {
                "tasks": ["referring_expression_segmentation"],
                "queries": ["dog", "cat"],
                "phrases_per_prompt": 2,
            },
            "phrases_per_prompt is for open_vocabulary_detection, which is not in tasks: add it",
            id="phrases together",
        ),
        pytest.param(
            {"tasks": [DETECTION], "queries": ["dog <and> cat"]},
            "queries holds 'dog <and> cat': write each phrase as a query of its own",
            id="two queries in one",
        ),
        pytest.param(
            {"tasks": ["od"], "tile_size": 512},
            "tile_size is set, but tiling is never: set it to auto or always",
            id="no tiles",
        ),
        pytest.param(
            {"tasks": ["caption"], "tiling": "auto"},
            "tiling is auto, but no task looks for places: add one of od, dense_region_caption, "
            "region_proposal, ocr_with_region to tasks",
            id="nothing to look for in tiles",
        ),
    ],
)
def test_options_that_make_no_sense_together_are_refused(options, message):
    assert refusal(**options) == message


def test_a_query_without_letters_is_refused():
    assert refusal(tasks=[DETECTION], queries=["  "]) == ("String should have at least 1 character")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tasks": ["region_to_ocr"], "regions_from": ["human"]}, id="human"),
        pytest.param({"tasks": ["od", "<REGION_TO_OCR>"]}, id="objects by default"),
        pytest.param({"tasks": [DETECTION], "queries": ["dog", "<3"]}, id="queries alone"),
        pytest.param(
            {"tasks": ["caption", GROUNDING, DETECTION], "phrases_from": ["<CAPTION>"]},
            id="phrases",
        ),
        pytest.param({"tasks": ["od"], "tiling": "always", "tile_size": 512}, id="tiles"),
    ],
)  # fmt: skip
def test_what_makes_sense_is_taken(options):
    assert Florence2(model="m", **options).tasks
