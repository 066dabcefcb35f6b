import pytest

from schemas.boxes import bins_to_pixels
from stages.florence2 import targets

SIZE = (1000, 500)


def test_a_box_is_written_as_the_bins_that_its_corners_lie_in():
    assert (
        targets.boxes_target(["cat"], [(10.0, 20.0, 999.9, 499.9)], SIZE)
        == "cat<loc_10><loc_40><loc_999><loc_999>"
    )


def test_bins_that_came_from_the_model_are_written_back_as_they_were():
    bins = (3, 501, 998, 999)
    pixels = [float(v) for v in bins_to_pixels(bins, (640, 480, 640, 480))]
    assert targets.locations(pixels, (640, 480)) == "<loc_3><loc_501><loc_998><loc_999>"


def test_boxes_stand_from_left_to_right_each_with_its_own_label():
    boxes = [(500, 0, 600, 50), (100, 300, 200, 400), (100, 100, 200, 200)]
    assert targets.boxes_target(["cat", "dog", "cat"], boxes, SIZE) == (
        "cat<loc_100><loc_200><loc_200><loc_400>"
        "dog<loc_100><loc_600><loc_200><loc_800>"
        "cat<loc_500><loc_0><loc_600><loc_100>"
    )


def test_proposals_are_boxes_without_words():
    assert (
        targets.proposals_target([(20, 0, 30, 5), (0, 0, 10, 5)], SIZE)
        == "<loc_0><loc_0><loc_10><loc_10><loc_20><loc_0><loc_30><loc_10>"
    )


def test_phrases_keep_the_order_of_the_caption_and_share_their_boxes():
    phrases = [
        ("two cats", [(500, 0, 600, 50), (0, 0, 10, 5)]),
        ("nothing", []),
        ("a dog", [(1, 1, 2, 2)]),
    ]
    assert targets.phrases_target(phrases, SIZE) == (
        "two cats<loc_0><loc_0><loc_10><loc_10><loc_500><loc_0><loc_600><loc_100>"
        "a dog<loc_1><loc_2><loc_2><loc_4>"
    )


def test_words_are_written_with_four_corners():
    quad = (10, 10, 20, 10, 20, 15, 10, 15)
    assert targets.quads_target(["STOP"], [quad], SIZE) == (
        "STOP<loc_10><loc_20><loc_20><loc_20><loc_20><loc_30><loc_10><loc_30>"
    )


def test_one_instance_is_bare_and_several_are_bracketed():
    first, second = (0, 0, 10, 0, 0, 5), (20, 0, 30, 0, 20, 5)
    one, two = (
        "<loc_0><loc_0><loc_10><loc_0><loc_0><loc_10>",
        "<loc_20><loc_0><loc_30><loc_0><loc_20><loc_10>",
    )
    assert targets.polygons_target([[first, second]], SIZE) == f"{one}<sep>{two}"
    assert (
        targets.polygons_target([[first], [second]], SIZE)
        == f"<poly>{one}</poly><poly>{two}</poly>"
    )


@pytest.mark.parametrize(
    ("label", "written"),
    [
        pytest.param("a < b", "a b", id="a bracket would cut the label"),
        pytest.param("<loc_5>car", "loc_5>car", id="no token is smuggled in"),
        pytest.param(" two\nlines ", "two lines", id="a line break would lose the box"),
        pytest.param("café", "café", id="any script"),
    ],
)
def test_labels_hold_nothing_that_the_grammar_would_take_for_its_own(label: str, written: str):
    assert targets.plain_words(label) == written


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda: targets.boxes_target([], [], SIZE), id="boxes"),
        pytest.param(lambda: targets.quads_target([], [], SIZE), id="quads"),
        pytest.param(lambda: targets.phrases_target([], SIZE), id="phrases"),
        pytest.param(lambda: targets.polygons_target([], SIZE), id="polygons"),
    ],
)
def test_nothing_is_answered_with_nothing(write):
    assert write() == ""
