import pytest

from stages.florence2.requests import Request
from stages.florence2.rows import answers_to_rows
from stages.florence2.tiling import View

IMAGE = {"image_id": "shard-0/7", "shard": "shard-0"}
BOX = "<loc_0><loc_0><loc_499><loc_999>"
OTHER = "<loc_500><loc_0><loc_999><loc_999>"
GROUNDING = "caption_to_phrase_grounding"


@pytest.fixture
def rows_of(vocabulary):
    def make(results, size=(1000, 1000), *tiles):
        views = [View(0, size), *(View(0, (t[2] - t[0], t[3] - t[1]), t) for t in tiles)]
        return answers_to_rows(IMAGE, results, views, vocabulary)

    return make


def columns(table, *names):
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def test_a_grounded_caption_becomes_a_text_its_regions_and_its_phrases(answered, rows_of):
    caption = Request(0, "caption")
    grounding = Request(0, GROUNDING, "A star and two circles", ((caption, 0),))
    rows = rows_of(
        [
            answered(caption, "A star and two circles"),
            answered(grounding, f"A star{BOX}two circles{BOX}{OTHER}a cat{BOX}"),
        ],
        (100, 200),
    )
    assert columns(rows.texts, "image_id", "shard", "source", "label_no", "level", "text") == [
        ("shard-0/7", "shard-0", "model", 0, "brief", "A star and two circles")
    ]
    assert columns(rows.regions, "label_no", "text", "category", "x0", "x1", "parent") == [
        (0, "A star", None, pytest.approx(0.05), pytest.approx(49.95), "model/text/0"),
        (1, "two circles", None, pytest.approx(0.05), pytest.approx(49.95), "model/text/0"),
        (2, "two circles", None, pytest.approx(50.05), pytest.approx(99.95), "model/text/0"),
        (3, "a cat", None, pytest.approx(0.05), pytest.approx(49.95), "model/text/0"),
    ]
    assert columns(
        rows.phrases, "label_no", "phrase", "char_start", "char_end", "text_no", "region_no"
    ) == [
        (0, "A star", 0, 6, 0, 0),
        (1, "two circles", 11, 22, 0, 1),
        (2, "two circles", 11, 22, 0, 2),
        (3, "a cat", None, None, 0, 3),
    ]
    assert rows.regions["score"].to_pylist() == pytest.approx([0.5] * 4)
    assert rows.texts["score"].to_pylist() == pytest.approx([0.5])
    assert len(rows.problems) == len(rows.images) == len(rows.verdicts) == 0


def test_an_object_has_a_category_a_described_region_has_words_a_proposal_neither(
    answered, rows_of
):
    box = "<loc_1><loc_2><loc_3><loc_4>"
    rows = rows_of(
        [
            answered(Request(0, "od"), f"star{box}"),
            answered(Request(0, "dense_region_caption"), f"a red star{box}"),
            answered(Request(0, "region_proposal"), box),
        ]
    )
    assert columns(rows.regions, "label_no", "task", "category", "text", "shape", "points") == [
        (0, "od", "star", None, "box", None),
        (1, "dense_region_caption", None, "a red star", "box", None),
        (2, "region_proposal", None, None, "box", None),
    ]
    assert columns(rows.regions, "x0", "y0", "x1", "y1")[0] == (1.5, 2.5, 3.5, 4.5)
    assert rows.regions["label_score"].to_pylist() == [pytest.approx(0.5)] * 2 + [None]


def test_a_line_of_text_keeps_its_corners_and_its_bounds(answered, rows_of):
    corners = "<loc_10><loc_5><loc_90><loc_0><loc_95><loc_40><loc_12><loc_45>"
    rows = rows_of([answered(Request(0, "ocr_with_region"), f"STOP{corners}")])
    assert columns(rows.regions, "shape", "text", "x0", "y0", "x1", "y1", "points") == [
        ("quad", "STOP", 10.5, 0.5, 95.5, 45.5, [[10.5, 5.5, 90.5, 0.5, 95.5, 40.5, 12.5, 45.5]])
    ]


def test_a_box_has_its_category_its_description_its_words_and_its_mask(answered, rows_of):
    od, bins = Request(0, "od"), (100, 200, 300, 400)
    written = "<loc_100><loc_200><loc_300><loc_400>"
    asked = [
        (task, Request(0, task, bins, ((od, 1),)))
        for task in (
            "region_to_segmentation",
            "region_to_category",
            "region_to_description",
            "region_to_ocr",
        )
    ]
    said = ["<loc_100><loc_200><loc_300><loc_200><loc_200><loc_400>"]
    said += [f"a star{written}", f"a red star{written}", f"STOP{written}"]
    rows = rows_of(
        [
            answered(od, f"circle{BOX}star{written}"),
            *(answered(request, text) for (_, request), text in zip(asked, said, strict=True)),
        ]
    )
    of_regions = columns(rows.regions, "label_no", "task", "shape", "category", "text", "parent")
    assert of_regions[2:] == [
        (2, "region_to_segmentation", "polygon", None, None, "model/region/1"),
        (3, "region_to_category", "box", "a star", None, "model/region/1"),
    ]
    assert columns(rows.texts, "label_no", "task", "level", "text", "parent") == [
        (0, "region_to_description", "description", "a red star", "model/region/1"),
        (1, "region_to_ocr", "ocr", "STOP", "model/region/1"),
    ]
    corners = columns(rows.regions, "x0", "y0", "x1", "y1")
    assert corners[1] == corners[2] == corners[3] == (100.5, 200.5, 300.5, 400.5)
    points = rows.regions["points"].to_pylist()
    assert points == [None, None, [[100.5, 200.5, 300.5, 200.5, 200.5, 400.5]], None]
    assert columns(rows.regions, "score", "label_score", "location_score")[3] == (0.5, 0.5, None)
    assert len(rows.problems) == 0


def test_a_box_that_was_there_before_keeps_its_name_as_the_parent(answered, rows_of):
    request = Request(0, "region_to_category", (100, 0, 999, 999), ("human/region/4",))
    rows = rows_of([answered(request, "star")], (100, 100))
    assert columns(rows.regions, "label_no", "source", "category", "parent") == [
        (0, "model", "star", "human/region/4")
    ]
    assert columns(rows.regions, "x0", "y0", "x1", "y1") == [
        pytest.approx((10.05, 0.05, 99.95, 99.95))
    ]


def test_a_phrase_is_the_parent_of_its_mask_and_of_its_boxes(answered, rows_of):
    caption = Request(0, "caption")
    grounding = Request(0, GROUNDING, "a star and a cat", ((caption, 0),))
    phrase, parents = "a cat", ((grounding, 1),)
    rows = rows_of(
        [
            answered(caption, "a star and a cat"),
            answered(grounding, f"a star{BOX}a cat{OTHER}"),
            answered(
                Request(0, "referring_expression_segmentation", phrase, parents),
                "<loc_1><loc_1><loc_9><loc_1><loc_5><loc_9>",
            ),
            answered(Request(0, "open_vocabulary_detection", phrase, parents), f"a cat{BOX}"),
        ]
    )
    assert columns(rows.regions, "task", "shape", "category", "text", "parent")[2:] == [
        ("referring_expression_segmentation", "polygon", None, "a cat", "model/phrase/1"),
        ("open_vocabulary_detection", "box", None, "a cat", "model/phrase/1"),
    ]


@pytest.mark.parametrize(
    ("about", "written", "found"),
    [
        pytest.param("dog", f"dog{BOX}", [("dog", None)], id="what was asked for"),
        pytest.param("dog", BOX, [("dog", None)], id="without a label"),
        pytest.param("dog", f"cat{BOX}", [(None, "cat")], id="something else"),
        pytest.param("dog", "", [], id="absent"),
        pytest.param(
            ("dog", "traffic light"),
            f"Traffic  light{BOX}{OTHER}cat{BOX}",
            [("Traffic  light", None)] * 2 + [(None, "cat")],
            id="several",
        ),
    ],
)
def test_a_query_that_is_found_is_a_category(about, written, found, answered, rows_of):
    parents = (None,) * (1 if isinstance(about, str) else len(about))
    request = Request(0, "open_vocabulary_detection", about, parents)
    rows = rows_of([answered(request, written)])
    assert columns(rows.regions, "category", "text") == found
    assert rows.regions["parent"].null_count == len(found)


def test_of_several_phrases_each_box_has_the_parent_that_its_label_names(answered, rows_of):
    caption = Request(0, "caption")
    grounding = Request(0, GROUNDING, "a star and a cat", ((caption, 0),))
    parents = (None, (grounding, 0), (grounding, 1))
    asked = Request(0, "open_vocabulary_detection", ("dog", "a star", "a cat"), parents)
    rows = rows_of(
        [
            answered(caption, "a star and a cat"),
            answered(grounding, f"a star{BOX}a cat{OTHER}"),
            answered(asked, f"a cat{BOX}dog{BOX}A star{OTHER}a bird{BOX}"),
        ]
    )
    assert columns(rows.regions, "category", "text", "parent")[2:] == [
        (None, "a cat", "model/phrase/1"),
        ("dog", None, None),
        (None, "A star", "model/phrase/0"),
        (None, "a bird", None),
    ]


def test_a_region_of_a_tile_lies_in_the_image_and_names_the_tile(answered, rows_of):
    rows = rows_of(
        [
            answered(Request(0, "od"), f"star{BOX}"),
            answered(Request(1, "od"), f"star{OTHER}cat<loc_3>"),
        ],
        (1000, 800),
        (400, 300, 600, 800),
    )
    assert columns(rows.regions, "label_no", "tile", "x0", "y0", "x1", "y1") == [
        (0, None, 0.5, pytest.approx(0.4), 499.5, pytest.approx(799.6)),
        (1, "400,300,600,800", pytest.approx(500.1), 300.25, pytest.approx(599.9), 799.75),
    ]
    [detail] = rows.problems["detail"].to_pylist()
    assert detail.startswith("od of tile 400,300,600,800: ")


def test_what_was_cut_is_a_problem_with_the_whole_answer(answered, rows_of):
    written = "star<loc_9><loc_2><loc_3><loc_4>"
    rows = rows_of([answered(Request(0, "od"), written, limit=7)])
    assert columns(rows.problems, "shard", "image_id", "kind", "detail", "payload") == [
        (
            "shard-0",
            "shard-0/7",
            "malformed_output",
            "od: inverted_box at token 2: star<loc_9><loc_2><loc_3><loc_4>; "
            "truncated at token 6: limit of 7 tokens",
            "<s>star<loc_9><loc_2><loc_3><loc_4></s>",
        )
    ]


@pytest.mark.parametrize("task", ["referring_expression_segmentation", "open_vocabulary_detection"])
def test_words_that_were_too_long_to_ask_about_are_a_problem(task, answered, rows_of):
    rows = rows_of([answered(Request(0, task, "a star", (None,)), "", cut=True)])
    assert rows.problems["detail"].to_pylist() == [
        f"{task}: prompt_cut: the words asked about were too long for the encoder"
    ]


def test_remarks_stay_short_however_long_the_answer(answered, rows_of):
    rows = rows_of([answered(Request(0, "od"), "star<loc_9><loc_2><loc_3><loc_4>" * 40)])
    [problem] = rows.problems.to_pylist()
    assert problem["detail"].endswith("; and 32 more")
    assert len(problem["detail"]) < 1000
