import pytest

from annotator.evaluation.measures import Reply, measure, true_answer
from annotator.scenes.questions import Question
from stages.florence2.prompts import Task
from stages.florence2.vocabulary import Vocabulary

BOX = "<loc_100><loc_100><loc_300><loc_300>"
NEAR = "<loc_110><loc_100><loc_310><loc_300>"
CORNER = "<loc_0><loc_0><loc_9><loc_9>"
FAR = "<loc_500><loc_500><loc_700><loc_700>"
QUAD = "<loc_100><loc_100><loc_300><loc_100><loc_300><loc_200><loc_100><loc_200>"
SQUARE = "<loc_0><loc_0><loc_10><loc_0><loc_10><loc_10><loc_0><loc_10>"
LOWER_HALF = "<loc_0><loc_0><loc_10><loc_0><loc_10><loc_5><loc_0><loc_5>"


@pytest.fixture
def measured(vocabulary: Vocabulary):
    """Figures of (answer, target) pairs, each with the scores of its places if any are given."""

    def figures(task: Task, *pairs: tuple[str, str], scores: list[tuple[float, ...]] | None = None):
        read = [[true_answer(Question(task, text), vocabulary) for text in pair] for pair in pairs]
        return measure(
            task,
            [
                Reply(found, true, scores[i] if scores else None)
                for i, (found, true) in enumerate(read)
            ],
        )

    return figures


def test_a_target_is_read_as_the_answer_it_is(vocabulary: Vocabulary):
    answer = true_answer(Question("od", f"star{BOX}ring{FAR}"), vocabulary)
    assert [(i.label, i.parts) for i in answer.instances] == [
        ("star", ((100, 100, 300, 300),)),
        ("ring", ((500, 500, 700, 700),)),
    ]
    assert (answer.flags, answer.truncated) == ((), False)
    assert true_answer(Question("ocr", ""), vocabulary).text == ""


@pytest.mark.parametrize(
    ("found", "precision", "recall", "located"),
    [
        pytest.param(f"star{NEAR}", 1.0, 1.0, 1.0, id="near enough"),
        pytest.param(f"Star{BOX}", 1.0, 1.0, 1.0, id="whatever its case"),
        pytest.param(f"star{FAR}", 0.0, 0.0, 0.0, id="elsewhere"),
        pytest.param(f"ring{NEAR}", 0.0, 0.0, 1.0, id="right place, wrong name"),
        pytest.param(f"star{BOX}star{BOX}", 0.5, 1.0, 1.0, id="found twice"),
        pytest.param("", None, 0.0, 0.0, id="nothing found"),
        pytest.param("star<loc_1>", None, 0.0, 0.0, id="a torn answer"),
    ],
)
def test_a_box_is_right_once_by_name_and_place(
    measured, found: str, precision: float | None, recall: float, located: float
):
    figures = measured("od", (found, f"star{BOX}"))
    assert "map" not in figures, "average precision needs scores"
    assert (figures["precision"], figures["recall"], figures["located"]) == (
        precision,
        recall,
        located,
    )


def test_boxes_of_other_images_are_other_boxes(measured):
    figures = measured("dense_region_caption", (f"a{BOX}", f"b{BOX}"), (f"b{BOX}", f"a{BOX}"))
    assert figures["f1"] == 0


def test_average_precision_follows_the_scores(measured):
    pair = (f"star{FAR}star{BOX}", f"star{BOX}")
    sure_of_the_wrong = measured("od", pair, scores=[(0.9, 0.1)])
    sure_of_the_right = measured("od", pair, scores=[(0.1, 0.9)])
    assert (sure_of_the_wrong["map_50"], sure_of_the_right["map_50"]) == (0.5, 1.0)
    # NEAR overlaps BOX by 190/210: right up to the threshold 0.9, nine of ten.
    near = measured("od", (f"star{NEAR}", f"star{BOX}"), scores=[(0.9,)])
    assert near["map"] == pytest.approx(0.9)


def test_grounding_counts_the_surest_box_of_each_phrase(measured):
    true = f"a star{BOX}{FAR}a ring{FAR}"
    right = measured("caption_to_phrase_grounding", (f"a star{NEAR}a ring{FAR}", true))
    assert right["r_at_1"] == 1
    assert right["recall"] == pytest.approx(2 / 3)
    misplaced = (f"a star{CORNER}{BOX}", true)
    first = measured("caption_to_phrase_grounding", misplaced)
    surest = measured("caption_to_phrase_grounding", misplaced, scores=[(0.1, 0.9)])
    assert (first["r_at_1"], surest["r_at_1"]) == (0, 0.5)


def test_colour_and_kind_are_counted_as_pairs(measured):
    said = "A large red star and a blue ring."
    assert measured("caption", (said, "A red ring and a blue ring.")) == {"pairs_f1": 0.5}
    assert measured("caption", ("An empty scene.", "An empty scene.")) == {"pairs_f1": None}


def test_the_absent_must_be_answered_with_nothing(measured):
    pairs = ("", ""), (f"a{BOX}", ""), (f"a{BOX}", f"a{BOX}")
    figures = measured("open_vocabulary_detection", *pairs)
    assert figures == {"absent": 0.5, "f1": 1.0}
    assert measured("open_vocabulary_detection", pairs[2])["absent"] is None


@pytest.mark.parametrize("task", ["referring_expression_segmentation", "region_to_segmentation"])
def test_masks_are_compared_by_their_area(measured, task: Task):
    assert measured(task, (LOWER_HALF, SQUARE)) == {"miou": 0.5}
    assert measured(task, ("", SQUARE), (SQUARE, SQUARE)) == {"miou": 0.5}
    bow_tie = "<loc_0><loc_0><loc_10><loc_10><loc_10><loc_0><loc_0><loc_10>"
    assert measured(task, (bow_tie, SQUARE)) == {"miou": 0.5}
    assert measured(task) == {"miou": None}


def test_quads_must_lie_right_and_say_the_same(measured):
    pairs = (f"STOP{QUAD}", f"STOP{QUAD}"), (f"ZOO{QUAD}", f"BUS{QUAD}")
    assert measured("ocr_with_region", *pairs) == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    moved = QUAD.replace("_100>", "_160>", 1).replace("_100><loc_200>", "_160><loc_200>")
    # 140 of 200 wide: a box around would say the same, a triangle of half the area would not.
    assert measured("ocr_with_region", (f"STOP{moved}", f"STOP{QUAD}"))["f1"] == 1
    triangle = "<loc_100><loc_100><loc_300><loc_100><loc_100><loc_200><loc_100><loc_180>"
    assert measured("ocr_with_region", (f"STOP{triangle}", f"STOP{QUAD}"))["f1"] == 1
    sliver = "<loc_100><loc_100><loc_300><loc_100><loc_300><loc_200><loc_290><loc_110>"
    assert measured("ocr_with_region", (f"STOP{sliver}", f"STOP{QUAD}"))["f1"] == 0


def test_words_read_in_vain_cost_as_much_as_words_missed(measured):
    assert measured("ocr", ("STOP BUS", "STOP TAXI")) == {"words": 0.5}
    assert measured("ocr", ("STOP", "STOP STOP")) == {"words": 0.5}
    assert measured("ocr", ("ZOO BUS", "ZOO"), ("", "")) == {"words": 0.5}
    assert measured("ocr", ("", "")) == {"words": None}


@pytest.mark.parametrize("task", ["region_to_category", "region_to_description", "region_to_ocr"])
def test_answers_about_a_region_must_be_equal(measured, task: Task):
    pairs = ("a star", "a star"), ("A  star.", "a star"), ("star", "a star"), ("", "a star")
    assert measured(task, *pairs) == {"equal": 0.5}
    assert measured(task) == {"equal": None}
