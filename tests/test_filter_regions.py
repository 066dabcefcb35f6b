import pytest
from label_rows import IMAGE, annotations, details, region, said

from stages.filter_regions import FilterRegions

NO_RULES = {
    "min_side": None,
    "sub_token": None,
    "max_area": None,
    "max_aspect": None,
    "banned_labels": None,
    "digits_only": False,
    "max_label_words": None,
    "max_label_length": None,
    "min_text_height": None,
}
NAN, INF = float("nan"), float("inf")
DIGITS = {"digits_only": True}
SQUARE = [0, 0, 90, 0, 90, 90, 0, 90]
BOW_TIE = [0, 0, 90, 90, 90, 0, 0, 90]


def only(**rules: object) -> FilterRegions:
    return FilterRegions(**{**NO_RULES, **rules})


@pytest.mark.parametrize(
    ("box", "value", "reason"),
    [
        pytest.param((NAN, 0, 10, 10), None, "not finite", id="nan"),
        pytest.param((0, 0, INF, 10), None, "not finite", id="inf"),
        pytest.param((-INF, 0, INF, 10), None, "not finite", id="both infinities"),
        pytest.param((None, 0, 10, 10), None, "not finite", id="null"),
        pytest.param((10, 0, 10, 10), 0, "inverted or empty", id="a line"),
        pytest.param((10, 0, 4, 10), -6, "inverted or empty", id="inverted"),
        pytest.param((10, 10, 4, 4), -6, "inverted or empty", id="inverted twice"),
    ],
)
def test_a_box_that_is_none_is_dropped_with_the_reason(box, value, reason):
    judged = annotations(regions=[region(*box)])
    assert said(only(), judged) == [(0, "filter_regions.r1_integrity", "drop", value, 0)]
    assert details(only().judge(judged))[0][3] == reason


@pytest.mark.parametrize(
    "images",
    [
        pytest.param([], id="unknown image"),
        pytest.param([{**IMAGE, "width": 0}], id="zero"),
        pytest.param([{**IMAGE, "width": -5}], id="negative"),
        pytest.param([{**IMAGE, "height": None}], id="null"),
    ],
)
def test_a_region_in_an_image_without_a_size_is_dropped_with_the_reason(images):
    judged = annotations(images=images, regions=[region(0, 0, 10, 10)])
    assert said(FilterRegions(), judged) == [(0, "filter_regions.r1_integrity", "drop", None, 0)]
    assert details(FilterRegions().judge(judged))[0][3] == "image has no size"


@pytest.mark.parametrize(
    ("rules", "box", "found"),
    [
        pytest.param({"min_side": 8}, (0, 0, 9, 8.01), [], id="side just above"),
        pytest.param({"min_side": 8}, (0, 0, 8, 90), [], id="side on the limit"),
        pytest.param(
            {"min_side": 8}, (0, 0, 90, 7.99), [("r2_side", "drop", 7.99, 8)], id="side just below"
        ),
        pytest.param({"sub_token": 42}, (0, 0, 42, 90), [], id="token on the limit"),
        pytest.param(
            {"sub_token": 42},
            (0, 0, 41.9, 90),
            [("r2_sub_token", "flag", 41.9, 42)],
            id="sub token",
        ),
        pytest.param(
            {"sub_token": 42, "min_side": 8},
            (0, 0, 7, 90),
            [("r2_side", "drop", 7, 8)],
            id="a box too small is not also called sub token",
        ),
        pytest.param({"max_area": 0.95}, (0, 0, 1000, 949), [], id="area just below"),
        pytest.param({"max_area": 0.95}, (0, 0, 950, 1000), [], id="area on the limit"),
        pytest.param(
            {"max_area": 0.95}, (0, 0, 951, 1000), [("r3_area", "drop", 0.951, 0.95)], id="area"
        ),
        pytest.param({"max_aspect": 20}, (0, 0, 199, 10), [], id="aspect just below"),
        pytest.param({"max_aspect": 20}, (0, 0, 10, 200), [], id="aspect on the limit"),
        pytest.param(
            {"max_aspect": 20},
            (0, 0, 10, 201),
            [("r4_aspect", "quarantine", 20.1, 20)],
            id="aspect just above",
        ),
    ],
)
def test_size_and_shape_of_a_box(rules, box, found):
    judged = annotations(regions=[region(*box)])
    expected = [(0, f"filter_regions.{rule}", *rest) for rule, *rest in found]
    assert said(only(**rules), judged) == expected


@pytest.mark.parametrize("size", [224, 640, 1333, 4096, 16000])
def test_a_box_of_eight_bins_is_kept_in_an_image_of_any_size(size):
    image = {**IMAGE, "width": size, "height": size}
    low, high = 991.5 * size / 1000, 999.5 * size / 1000
    judged = annotations(images=[image], regions=[region(low, low, high, high)])
    assert said(only(min_side=8), judged) == []
    assert len(said(only(min_side=8.001), judged)) == 1


def test_a_tile_magnifies_what_it_shows():
    rows = [
        region(100, 100, 104, 108, tile="0,0,500,500"),
        region(100, 100, 103.9, 108, tile="0,0,500,500", label_no=1),
    ]
    found = said(only(min_side=8), annotations(regions=rows))
    assert found == [(1, "filter_regions.r2_side", "drop", 7.8, 8)]


@pytest.mark.parametrize(
    ("shape", "points", "found"),
    [
        pytest.param("quad", None, [], id="none, so the box counts"),
        pytest.param("quad", [SQUARE], [], id="a quad"),
        pytest.param("quad", [SQUARE[:6]], ["corners are missing"], id="three corners"),
        pytest.param("quad", [SQUARE, SQUARE], ["corners are missing"], id="two quads"),
        pytest.param("quad", [BOW_TIE], ["edges cross"], id="crossed edges"),
        pytest.param("quad", [[9] * 8], ["no area"], id="a point"),
        pytest.param("quad", [[*SQUARE[:7], NAN]], ["a corner is not finite"], id="nan"),
        pytest.param("polygon", [SQUARE[:6]], [], id="a triangle"),
        pytest.param("polygon", [SQUARE[:4]], ["corners are missing"], id="a line"),
        pytest.param("polygon", [SQUARE[:7]], ["corners are missing"], id="half a corner"),
        pytest.param("polygon", [[*SQUARE[:7], INF]], ["a corner is not finite"], id="infinite"),
    ],
)
def test_an_outline_that_is_none_is_dropped_with_the_reason(shape, points, found):
    judged = annotations(regions=[region(0, 0, 90, 90, shape=shape, points=points)])
    verdicts = only().judge(judged)
    expected = [("model", 0, "filter_regions.r1_integrity", reason) for reason in found]
    assert details(verdicts) == expected
    assert verdicts["verdict"].to_pylist() == ["drop"] * len(found)


def test_a_polygon_that_crosses_itself_is_flagged():
    judged = annotations(regions=[region(0, 0, 90, 90, shape="polygon", points=[SQUARE, BOW_TIE])])
    assert said(only(), judged) == [(0, "filter_regions.r1_crossed_outline", "flag", None, None)]
    assert details(only().judge(judged))[0][3] == "Self-intersection[45 45]"


def test_a_quad_with_a_dent_is_quarantined():
    dent = [0, 0, 90, 0, 40, 40, 0, 90]
    judged = annotations(regions=[region(0, 0, 90, 90, shape="quad", points=[dent])])
    assert said(only(), judged) == [(0, "filter_regions.r15_convex", "quarantine", 3, 4)]


@pytest.mark.parametrize(
    ("height", "found"),
    [
        pytest.param(13.1, [], id="just above"),
        pytest.param(13, [], id="on the limit"),
        pytest.param(12.9, [("quarantine", 12.9, 13)], id="just below"),
    ],
)
def test_a_tilted_line_of_text_is_as_high_as_its_letters(height, found):
    quad = [0, 0, 300, 300, 300, 300 + height, 0, height]
    judged = annotations(
        regions=[region(0, 0, 300, 300 + height, shape="quad", points=[quad], text="EXIT")]
    )
    expected = [(0, "filter_regions.r15_height", *rest) for rest in found]
    assert said(only(min_text_height=13), judged) == expected


@pytest.mark.parametrize(
    ("task", "verdict"),
    [
        ("od", "drop"),
        ("dense_region_caption", "drop"),
        ("region_proposal", "drop"),
        ("caption_to_phrase_grounding", "flag"),
        (None, "flag"),
    ],
)
def test_the_whole_image_is_no_object_but_may_be_a_phrase(task, verdict):
    judged = annotations(regions=[region(0, 0, 1000, 1000, task=task)])
    assert said(only(max_area=0.95), judged) == [(0, "filter_regions.r3_area", verdict, 1, 0.95)]


@pytest.mark.parametrize(
    ("height", "shape", "found"),
    [
        pytest.param(13.1, "quad", [], id="just above"),
        pytest.param(13, "quad", [], id="on the limit"),
        pytest.param(12.9, "quad", [("quarantine", 12.9, 13)], id="just below"),
        pytest.param(12.9, "box", [], id="no text"),
    ],
)
def test_low_text_is_quarantined(height, shape, found):
    judged = annotations(regions=[region(0, 100, 90, 100 + height, shape=shape)])
    expected = [(0, "filter_regions.r15_height", *rest) for rest in found]
    assert said(only(min_text_height=13), judged) == expected


@pytest.mark.parametrize(
    ("rules", "columns", "found"),
    [
        pytest.param({}, {"text": " "}, [("r9_empty", "drop", 0, 1)], id="spaces"),
        pytest.param({}, {"text": None}, [("r9_empty", "drop", 0, 1)], id="null"),
        pytest.param({}, {"text": None, "category": "dog"}, [], id="a category is a label"),
        pytest.param({}, {"text": None, "task": "region_proposal"}, [], id="none expected"),
        pytest.param({}, {"truncated": True}, [("r1_truncated", "flag", None, None)], id="cut off"),
        pytest.param(
            {"banned_labels": ("Image",)},
            {"text": "the IMAGE."},
            [("r9_banned", "drop", None, None)],
            id="banned, whatever its article and case",
        ),
        pytest.param({"banned_labels": ("image",)}, {"text": "image frame"}, [], id="more words"),
        pytest.param(
            {"banned_labels": ("exit",)}, {"text": "exit", "shape": "quad"}, [], id="text may be"
        ),
        pytest.param({}, {"text": "loc_12 dog"}, [("r1_markup", "drop", 1, 0)], id="a place token"),
        pytest.param({}, {"text": "a dog</s><pad>"}, [("r1_markup", "drop", 2, 0)], id="padding"),
        pytest.param({}, {"text": "bloc_2"}, [], id="no place token"),
        pytest.param(
            DIGITS,
            {"text": "12.5"},
            [("r9_digits", "drop", None, None)],
            id="digits",
        ),
        pytest.param(DIGITS, {"text": "No. 12"}, [], id="digits and letters"),
        pytest.param(DIGITS, {"text": "12", "shape": "quad"}, [], id="digits of a text"),
        pytest.param(
            {},
            {"text": "do\ufffeg"},
            [("r15_printable", "quarantine", None, None)],
            id="not printable",
        ),
        pytest.param({}, {"text": "chien à \u65e5\u672c \U0001f44d\u200d"}, [], id="any script"),
        pytest.param({"max_label_words": 3}, {"text": "a red car"}, [], id="words on the limit"),
        pytest.param(
            {"max_label_words": 2},
            {"text": "a red car"},
            [("r9_words", "quarantine", 3, 2)],
            id="a word too many",
        ),
        pytest.param({"max_label_length": 5}, {"text": "zebra"}, [], id="length on the limit"),
        pytest.param(
            {"max_label_length": 5},
            {"text": "zèbras"},
            [("r9_length", "quarantine", 6, 5)],
            id="a letter too many",
        ),
    ],
)
def test_what_a_region_says(rules, columns, found):
    judged = annotations(regions=[region(0, 0, 90, 90, **columns)])
    expected = [(0, f"filter_regions.{rule}", *rest) for rule, *rest in found]
    assert said(only(**rules), judged) == expected


def test_a_human_region_is_flagged_and_never_rejected():
    rows = [region(0, 0, 4, 4, source="human"), region(9, 9, 9, 9, source="human", label_no=1)]
    assert said(FilterRegions(), annotations(regions=rows)) == [
        (1, "filter_regions.r1_integrity", "flag", 0, 0),
        (0, "filter_regions.r2_side", "flag", 4, 8),
    ]
