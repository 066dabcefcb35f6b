import pytest
from label_rows import IMAGE, annotations, details, region, rejection, said

from stages.filter_regions import FilterRegions

NO_RULES = {
    "min_side": None,
    "sub_token": None,
    "max_area": None,
    "max_aspect": None,
    "same_label_iou": None,
    "any_label_iou": None,
    "any_label_bins": None,
    "banned_labels": None,
    "max_label_words": None,
    "max_label_length": None,
    "min_text_height": None,
}
NAN, INF = float("nan"), float("inf")


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
    assert said(only(), judged) == [(0, "filter_regions.integrity", "drop", value, 0)]
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
    assert said(FilterRegions(), judged) == [(0, "filter_regions.integrity", "drop", None, 0)]
    assert details(FilterRegions().judge(judged))[0][3] == "image has no size"


@pytest.mark.parametrize(
    ("rules", "box", "found"),
    [
        pytest.param({"min_side": 8}, (0, 0, 9, 8.01), [], id="side just above"),
        pytest.param({"min_side": 8}, (0, 0, 8, 90), [], id="side on the limit"),
        pytest.param(
            {"min_side": 8}, (0, 0, 90, 7.99), [("min_side", "drop", 7.99, 8)], id="side just below"
        ),
        pytest.param({"sub_token": 42}, (0, 0, 42, 90), [], id="token on the limit"),
        pytest.param(
            {"sub_token": 42}, (0, 0, 41.9, 90), [("sub_token", "flag", 41.9, 42)], id="sub token"
        ),
        pytest.param(
            {"sub_token": 42, "min_side": 8},
            (0, 0, 7, 90),
            [("min_side", "drop", 7, 8)],
            id="a box too small is not also called sub token",
        ),
        pytest.param({"max_area": 0.95}, (0, 0, 1000, 949), [], id="area just below"),
        pytest.param({"max_area": 0.95}, (0, 0, 950, 1000), [], id="area on the limit"),
        pytest.param(
            {"max_area": 0.95}, (0, 0, 951, 1000), [("max_area", "drop", 0.951, 0.95)], id="area"
        ),
        pytest.param({"max_aspect": 20}, (0, 0, 199, 10), [], id="aspect just below"),
        pytest.param({"max_aspect": 20}, (0, 0, 10, 200), [], id="aspect on the limit"),
        pytest.param(
            {"max_aspect": 20},
            (0, 0, 10, 201),
            [("max_aspect", "quarantine", 20.1, 20)],
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
    assert said(only(max_area=0.95), judged) == [(0, "filter_regions.max_area", verdict, 1, 0.95)]


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
    expected = [(0, "filter_regions.min_text_height", *rest) for rest in found]
    assert said(only(min_text_height=13), judged) == expected


@pytest.mark.parametrize(
    ("rules", "columns", "found"),
    [
        pytest.param({}, {"text": " "}, [("empty_label", "drop", 0, 1)], id="spaces"),
        pytest.param({}, {"text": None}, [("empty_label", "drop", 0, 1)], id="null"),
        pytest.param({}, {"text": None, "category": "dog"}, [], id="a category is a label"),
        pytest.param({}, {"text": None, "task": "region_proposal"}, [], id="none expected"),
        pytest.param({}, {"truncated": True}, [("truncated", "flag", None, None)], id="cut off"),
        pytest.param(
            {"banned_labels": ("Image",)},
            {"text": "the IMAGE."},
            [("banned_labels", "drop", None, None)],
            id="banned, whatever its article and case",
        ),
        pytest.param({"banned_labels": ("image",)}, {"text": "image frame"}, [], id="more words"),
        pytest.param(
            {"banned_labels": ("exit",)}, {"text": "exit", "shape": "quad"}, [], id="text may be"
        ),
        pytest.param({"max_label_words": 3}, {"text": "a red car"}, [], id="words on the limit"),
        pytest.param(
            {"max_label_words": 2},
            {"text": "a red car"},
            [("max_label_words", "quarantine", 3, 2)],
            id="a word too many",
        ),
        pytest.param({"max_label_length": 5}, {"text": "zebra"}, [], id="length on the limit"),
        pytest.param(
            {"max_label_length": 5},
            {"text": "zèbras"},
            [("max_label_length", "quarantine", 6, 5)],
            id="a letter too many",
        ),
    ],
)
def test_what_a_region_says(rules, columns, found):
    judged = annotations(regions=[region(0, 0, 90, 90, **columns)])
    expected = [(0, f"filter_regions.{rule}", *rest) for rule, *rest in found]
    assert said(only(**rules), judged) == expected


@pytest.mark.parametrize(
    ("width", "found"),
    [
        pytest.param(59.9, [], id="just below"),
        pytest.param(
            60, [(1, "filter_regions.same_label_iou", "drop", 0.6, 0.6)], id="on the limit"
        ),
        pytest.param(61, [(1, "filter_regions.same_label_iou", "drop", 0.61, 0.6)], id="above"),
    ],
)
def test_the_better_of_two_boxes_with_the_same_label_stays(width, found):
    judged = annotations(
        regions=[
            region(0, 0, 100, 100, label_no=0, score=0.9),
            region(0, 0, width, 100, label_no=1, score=0.8, text="Dogs"),
        ]
    )
    assert said(only(same_label_iou=0.6), judged) == found


@pytest.mark.parametrize(
    ("scores", "dropped"),
    [
        pytest.param((0.2, 0.9), 0, id="higher score"),
        pytest.param((None, 0.1), 0, id="any score before none"),
        pytest.param((None, None), 1, id="without scores the earlier"),
        pytest.param((0.5, 0.5), 1, id="of equals the earlier"),
    ],
)
def test_which_of_two_duplicates_stays(scores, dropped):
    rows = [region(0, 0, 90, 90, label_no=i, score=score) for i, score in enumerate(scores)]
    found = only(same_label_iou=0.6).judge(annotations(regions=rows))
    survivor = f"model/region/{1 - dropped}"
    assert details(found) == [("model", dropped, "filter_regions.same_label_iou", survivor)]


def test_a_dropped_duplicate_drops_nothing_itself():
    chain = [
        region(0, 0, 100, 100, label_no=0, score=0.9),
        region(20, 0, 120, 100, label_no=1, score=0.8),  # IoU 0.667 with its neighbours
        region(40, 0, 140, 100, label_no=2, score=0.7),  # IoU 0.429 with the first
        region(60, 0, 160, 100, label_no=3, score=0.6),
    ]
    found = only(same_label_iou=0.6).judge(annotations(regions=chain))
    assert details(found) == [
        ("model", 1, "filter_regions.same_label_iou", "model/region/0"),
        ("model", 3, "filter_regions.same_label_iou", "model/region/2"),
    ]


@pytest.mark.parametrize(
    ("other", "found"),
    [
        pytest.param((0, 0, 100, 89.9), [], id="just below"),
        pytest.param((0, 0, 100, 90), [("any_label_iou", 0.9, 0.9)], id="on the limit"),
        pytest.param((0, 0, 100, 91), [("any_label_iou", 0.91, 0.9)], id="above"),
    ],
)
def test_two_labels_on_one_place_are_flagged(other, found):
    judged = annotations(
        regions=[region(0, 0, 100, 100), region(*other, label_no=1, text="cat", score=None)]
    )
    rules = only(any_label_iou=0.9, same_label_iou=0.6)
    expected = [(1, f"filter_regions.{rule}", "flag", *rest) for rule, *rest in found]
    assert said(rules, judged) == expected


@pytest.mark.parametrize(
    ("shift", "found"),
    [
        pytest.param(1.9, [("flag", 1.9, 2)], id="just inside"),
        pytest.param(2, [("flag", 2, 2)], id="on the limit"),
        pytest.param(2.1, [], id="just outside"),
    ],
)
def test_small_boxes_are_compared_by_bins(shift, found):
    judged = annotations(
        regions=[region(50, 50, 60, 60), region(50 + shift, 50, 60, 60, label_no=1, text="cat")]
    )
    expected = [(1, "filter_regions.any_label_bins", *rest) for rest in found]
    assert said(only(any_label_iou=0.99, any_label_bins=2), judged) == expected


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"image_id": "s/b"}, id="image"),
        pytest.param({"source": "opinion"}, id="source"),
        pytest.param({"task": "dense_region_caption"}, id="task"),
        pytest.param({"parent": "model/text/1"}, id="caption it was asked about"),
    ],
)
def test_boxes_of_another_image_source_task_or_parent_are_no_duplicates(other):
    rows = [region(0, 0, 90, 90), region(0, 0, 90, 90, **{"label_no": 1, **other})]
    judged = annotations(images=[IMAGE, {**IMAGE, "image_id": "s/b"}], regions=rows)
    assert said(only(same_label_iou=0.6, any_label_iou=0.9), judged) == []


def test_boxes_of_two_tasks_are_compared_when_asked():
    rows = [region(0, 0, 90, 90), region(0, 0, 90, 90, label_no=1, task="dense_region_caption")]
    found = said(only(same_label_iou=0.6, across_tasks=True), annotations(regions=rows))
    assert found == [(1, "filter_regions.same_label_iou", "drop", 1, 0.6)]


def test_a_region_that_an_earlier_rule_rejected_is_no_survivor():
    rows = [
        region(0, 0, 90, 90, label_no=0, score=0.9),
        region(0, 0, 90, 90, label_no=1, score=0.8),
        region(0, 0, 90, 90, label_no=2, score=0.7, text="it"),
    ]
    judged = annotations(regions=rows, verdicts=[rejection("region", 0)])
    rules = only(same_label_iou=0.6, any_label_iou=0.9, banned_labels=("it",))
    assert said(rules, judged) == [(2, "filter_regions.banned_labels", "drop", None, None)]


def test_a_human_region_is_flagged_and_never_rejected():
    rows = [region(0, 0, 4, 4, source="human"), region(9, 9, 9, 9, source="human", label_no=1)]
    assert said(FilterRegions(), annotations(regions=rows)) == [
        (1, "filter_regions.integrity", "flag", 0, 0),
        (0, "filter_regions.min_side", "flag", 4, 8),
    ]
