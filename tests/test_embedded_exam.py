import pytest

from annotator.embedded import exam
from annotator.scenes.questions import Question

BOX = "<loc_100><loc_100><loc_299><loc_299>"
NEAR = "<loc_110><loc_100><loc_309><loc_299>"
FAR = "<loc_500><loc_500><loc_699><loc_699>"


def measured(task: str, *pairs: tuple[str, str]) -> dict[str, float]:
    return exam._MEASURES[task]([(found, Question(task, "", true)) for found, true in pairs])


@pytest.mark.parametrize(
    ("found", "true", "precision", "recall", "located"),
    [
        pytest.param(f"star{NEAR}", f"star{BOX}", 1.0, 1.0, 1.0, id="near enough"),
        pytest.param(f"star{FAR}", f"star{BOX}", 0.0, 0.0, 0.0, id="elsewhere"),
        pytest.param(f"ring{NEAR}", f"star{BOX}", 0.0, 0.0, 1.0, id="right place, wrong name"),
        pytest.param(f"star{BOX}star{BOX}", f"star{BOX}", 0.5, 1.0, 1.0, id="found twice"),
        pytest.param("", f"star{BOX}", 0.0, 0.0, 0.0, id="nothing found"),
        pytest.param("star<loc_1>", f"star{BOX}", 0.0, 0.0, 0.0, id="a torn answer"),
    ],
)
def test_a_box_is_right_once_by_name_and_place(
    found: str, true: str, precision: float, recall: float, located: float
):
    figures = measured("od", (found, true))
    assert (figures["precision"], figures["recall"]) == (precision, recall)
    assert figures["located"] == located


def test_colour_and_kind_are_counted_as_pairs():
    figures = measured("caption", ("A red star and a blue ring.", "A red ring and a blue ring."))
    assert figures == {"pairs_f1": 0.5}


def test_the_absent_must_be_answered_with_nothing():
    figures = measured(
        "open_vocabulary_detection", ("", ""), (f"a{BOX}", ""), (f"a{BOX}", f"a{BOX}")
    )
    assert figures == {"absent": 0.5, "f1": 1.0}


def test_masks_are_compared_by_their_area():
    square = "<loc_0><loc_0><loc_10><loc_0><loc_10><loc_10><loc_0><loc_10>"
    half = "<loc_0><loc_0><loc_10><loc_0><loc_10><loc_5><loc_0><loc_5>"
    assert measured("referring_expression_segmentation", (half, square)) == {"miou": 0.5}
    assert measured("referring_expression_segmentation", ("", square)) == {"miou": 0.0}


def test_words_are_counted_where_there_are_any():
    assert measured("ocr", ("STOP BUS", "STOP TAXI"), ("ZOO", "")) == {"words": 0.5}
