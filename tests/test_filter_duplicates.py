import pytest
from label_rows import IMAGE, annotations, details, region, rejection, said

from stages.filter_duplicates import FilterDuplicates

NO_RULES = {
    "min_loop": None,
    "max_boxes": None,
    "tile_ios": None,
    "same_label_iou": None,
    "any_label_iou": None,
    "any_label_bins": None,
    "contained_ios": None,
}
LEFT, RIGHT = "0,0,600,1000", "400,0,1000,1000"
"""Two tiles of the image, whose bins are 0.6 pixels wide."""


def only(**rules: object) -> FilterDuplicates:
    return FilterDuplicates(**{**NO_RULES, **rules})


def rules(found):
    """Without the stage's name."""
    return [(number, rule.partition(".")[2], *rest) for number, rule, *rest in found]


@pytest.mark.parametrize(
    ("width", "found"),
    [
        pytest.param(59.9, [], id="just below"),
        pytest.param(
            60, [(1, "filter_duplicates.r5_same_label", "drop", 0.6, 0.6)], id="on the limit"
        ),
        pytest.param(61, [(1, "filter_duplicates.r5_same_label", "drop", 0.61, 0.6)], id="above"),
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
    assert details(found) == [("model", dropped, "filter_duplicates.r5_same_label", survivor)]


def test_a_dropped_duplicate_drops_nothing_itself():
    chain = [
        region(0, 0, 100, 100, label_no=0, score=0.9),
        region(20, 0, 120, 100, label_no=1, score=0.8),  # IoU 0.667 with its neighbours
        region(40, 0, 140, 100, label_no=2, score=0.7),  # IoU 0.429 with the first
        region(60, 0, 160, 100, label_no=3, score=0.6),
    ]
    found = only(same_label_iou=0.6).judge(annotations(regions=chain))
    assert details(found) == [
        ("model", 1, "filter_duplicates.r5_same_label", "model/region/0"),
        ("model", 3, "filter_duplicates.r5_same_label", "model/region/2"),
    ]


@pytest.mark.parametrize(
    ("other", "found"),
    [
        pytest.param((0, 0, 100, 89.9), [], id="just below"),
        pytest.param((0, 0, 100, 90), [("r5_any_label", "drop", 0.9, 0.9)], id="on the limit"),
        pytest.param((0, 0, 100, 91), [("r5_any_label", "drop", 0.91, 0.9)], id="above"),
    ],
)
def test_of_two_labels_on_one_place_the_better_takes_both(other, found):
    judged = annotations(
        regions=[region(0, 0, 100, 100), region(*other, label_no=1, text="cat", score=None)]
    )
    judge = only(any_label_iou=0.9, same_label_iou=0.6)
    merged = [(0, "r5_merged", "flag", 2, None)] if found else []
    assert rules(said(judge, judged)) == [*((1, *one) for one in found), *merged]
    if found:
        assert [detail for *_, detail in details(judge.judge(judged))] == [
            "model/region/0: dog | cat",
            "dog | cat",
        ]


def test_a_merged_region_names_each_label_once_best_first():
    texts = ["dog", "cat", "dogs", "fox", "a cat"]
    rows = [region(0, 0, 90, 90, label_no=i, text=text) for i, text in enumerate(texts)]
    found = only(any_label_iou=0.9).judge(annotations(regions=rows)).to_pylist()
    assert [row["detail"] for row in found] == [
        "model/region/0: dog | cat",
        "model/region/0",
        "model/region/0: dog | fox",
        "model/region/0: dog | a cat",
        "dog | cat | fox",
    ]


@pytest.mark.parametrize(
    ("shift", "found"),
    [
        pytest.param(1.9, [("drop", 1.9, 2)], id="just inside"),
        pytest.param(2, [("drop", 2, 2)], id="on the limit"),
        pytest.param(2.1, [], id="just outside"),
    ],
)
def test_small_boxes_are_compared_by_bins(shift, found):
    judged = annotations(
        regions=[region(50, 50, 60, 60), region(50 + shift, 50, 60, 60, label_no=1)]
    )
    expected = [(1, "r5_bins", *rest) for rest in found]
    assert rules(said(only(any_label_iou=0.99, any_label_bins=2), judged)) == expected


def test_two_phrases_may_mean_one_place():
    rows = [
        region(0, 0, 90, 90, label_no=i, text=text, task="caption_to_phrase_grounding")
        for i, text in enumerate(["a man", "a face", "a man"])
    ]
    judge = only(same_label_iou=0.6, any_label_iou=0.9, any_label_bins=2)
    found = said(judge, annotations(regions=rows))
    assert rules(found) == [(2, "r5_same_label", "drop", 1, 0.6)]


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
    assert found == [(1, "filter_duplicates.r5_same_label", "drop", 1, 0.6)]


def test_a_region_that_was_rejected_before_is_no_survivor():
    rows = [region(0, 0, 90, 90, label_no=0, score=0.9), region(0, 0, 90, 90, label_no=1)]
    judged = annotations(regions=rows, verdicts=[rejection("region", 0)])
    assert said(only(same_label_iou=0.6), judged) == []


def row_of(*boxes, **columns):
    return [region(*box, label_no=i, position=i, **columns) for i, box in enumerate(boxes)]


ONE_PLACE = [(10, 10, 60, 60)] * 4
STAIRS = [(100 * i, 0, 100 * i + 50, 50) for i in range(5)]


@pytest.mark.parametrize(
    ("boxes", "dropped", "length"),
    [
        pytest.param(ONE_PLACE, [], 0, id="four in one place"),
        pytest.param([*ONE_PLACE, (10, 10, 60, 60)], [1, 2, 3, 4], 5, id="five in one place"),
        pytest.param([*ONE_PLACE, (10, 10, 60, 57.5)], [1, 2, 3, 4], 5, id="an overlap of 0.95"),
        pytest.param([*ONE_PLACE, (10, 10, 60, 57.4)], [], 0, id="an overlap just below"),
        pytest.param(STAIRS, [1, 2, 3, 4], 5, id="five at one step"),
        pytest.param(STAIRS[:4], [], 0, id="four at one step"),
        pytest.param([*STAIRS[:4], (400.5, 0, 450, 50)], [1, 2, 3, 4], 5, id="half a bin off"),
        pytest.param([*STAIRS[:4], (400.6, 0, 450, 50)], [], 0, id="more than half a bin off"),
        pytest.param(
            [(500, 500, 900, 900), *ONE_PLACE, ONE_PLACE[0], (0, 0, 9, 9)],
            [2, 3, 4, 5, 6],
            5,
            id="the answer is cut after the first box of the loop",
        ),
    ],
)
def test_an_answer_is_cut_where_it_loops(boxes, dropped, length):
    found = rules(said(only(min_loop=5), annotations(regions=row_of(*boxes))))
    assert found == [(number, "r11_loop", "drop", length, 5) for number in dropped]


def test_boxes_of_two_answers_are_no_loop():
    rows = [*row_of(*ONE_PLACE), region(10, 10, 60, 60, label_no=4, position=0, tile=LEFT)]
    assert said(only(min_loop=5), annotations(regions=rows)) == []
    unlisted = [region(10, 10, 60, 60, label_no=i) for i in range(9)]
    assert said(only(min_loop=5, max_boxes=1), annotations(regions=unlisted)) == []


@pytest.mark.parametrize(("boxes", "quarantined"), [(3, 0), (4, 4)])
def test_an_answer_of_too_many_boxes_is_quarantined(boxes, quarantined):
    found = rules(said(only(max_boxes=3), annotations(regions=row_of(*STAIRS[:boxes]))))
    assert found == [(i, "r11_boxes", "quarantine", boxes, 3) for i in range(quarantined)]


@pytest.mark.parametrize(
    ("box", "tile", "found"),
    [
        pytest.param((500, 0, 598.7, 90), LEFT, [], id="just inside"),
        pytest.param(
            (500, 0, 598.8, 90), LEFT, [("r12_tile_edge", "drop", 2, 2)], id="on the limit"
        ),
        pytest.param(
            (401, 0, 450, 90), RIGHT, [("r12_tile_edge", "drop", 1.667, 2)], id="left edge"
        ),
        pytest.param((901, 0, 999.7, 90), RIGHT, [], id="an edge of the image"),
        pytest.param((500, 0, 599.7, 90), None, [], id="not in a tile"),
    ],
)
def test_a_box_that_a_tile_cuts_is_dropped(box, tile, found):
    rows = [region(*box, tile=tile), region(0, 0, 9, 9, label_no=1, tile=LEFT)]
    expected = [(0, *one) for one in found]
    assert rules(said(only(tile_ios=0.5), annotations(regions=rows))) == expected


@pytest.mark.parametrize(
    ("other", "found"),
    [
        pytest.param((550, 0, 700, 100), [(0, "r12_tiles", "drop", 0.5, 0.5)], id="on the limit"),
        pytest.param((551, 0, 700, 100), [(0, "r12_tile_edge", "drop", 0, 2)], id="just below"),
    ],
)
def test_the_tile_that_shows_all_of_a_thing_wins(other, found):
    rows = [
        region(500, 0, 600, 100, tile=LEFT, score=0.9),
        region(*other, label_no=1, tile=RIGHT, score=0.1),
    ]
    assert rules(said(only(tile_ios=0.5), annotations(regions=rows))) == found


@pytest.mark.parametrize(
    ("width", "loser"),
    [
        pytest.param(250.1, 0, id="large things belong to the whole image"),
        pytest.param(250, 1, id="others to the tile"),
    ],
)
def test_a_tile_or_the_whole_image(width, loser):
    rows = [
        region(0, 0, 200, 600, tile=LEFT, score=0.9),
        region(0, 0, width, 600, label_no=1, score=0.1),
    ]
    found = only(tile_ios=0.5).judge(annotations(regions=rows))
    assert details(found) == [
        ("model", loser, "filter_duplicates.r12_tiles", f"model/region/{1 - loser}")
    ]


@pytest.mark.parametrize(
    ("other", "text", "found"),
    [
        pytest.param((10, 10, 50, 50), "dog", [("r6_contained", "flag", 1, 0.9)], id="inside"),
        pytest.param((-4, 0, 36, 40), "dog", [("r6_contained", "flag", 0.9, 0.9)], id="0.9"),
        pytest.param((-5, 0, 35, 40), "dog", [], id="less than 0.9"),
        pytest.param((0, 0, 100, 49.9), "dog", [("r6_contained", "flag", 1, 0.9)], id="small"),
        pytest.param((0, 0, 100, 50), "dog", [], id="not much smaller"),
        pytest.param((10, 10, 50, 50), "cat", [], id="another label"),
    ],
)
def test_a_part_is_flagged(other, text, found):
    rows = [region(0, 0, 100, 100), region(*other, label_no=1, text=text)]
    expected = [(1, *one) for one in found]
    assert rules(said(only(contained_ios=0.9), annotations(regions=rows))) == expected


@pytest.mark.parametrize(("parts", "group"), [(2, []), (3, [(0, "r6_group", "flag", 3, 3)])])
def test_a_box_with_three_of_its_kind_is_a_group(parts, group):
    inside = [region(30 * i, 0, 30 * i + 20, 20, label_no=i + 1) for i in range(parts)]
    judged = annotations(regions=[region(0, 0, 100, 100, text="Dogs"), *inside])
    found = only(contained_ios=0.9).judge(judged)
    assert rules(said(only(contained_ios=0.9), judged))[parts:] == group
    assert [detail for *_, detail in details(found)][:parts] == ["model/region/0"] * parts


def test_a_group_counts_no_duplicates():
    rows = [region(0, 0, 100, 100), *(region(0, 0, 20, 20, label_no=i) for i in (1, 2, 3))]
    found = rules(said(FilterDuplicates(), annotations(regions=rows)))
    assert [rule for _, rule, *_ in found] == ["r5_same_label", "r5_same_label", "r6_contained"]


def test_human_regions_are_flagged_and_stay_in_the_way():
    rows = [region(0, 0, 90, 90, source="human", label_no=i) for i in range(2)]
    found = said(FilterDuplicates(), annotations(regions=rows))
    assert found == [(1, "filter_duplicates.r5_same_label", "flag", 1, 0.6)]
