import pytest
from label_rows import annotations, details, phrase, region, rejection, said, text

from stages.filter_phrases import FilterPhrases

NO_RULES = {
    "banned_phrases": None,
    "banned_heads": None,
    "max_area": None,
    "collapse_iou": None,
}


def only(**rules):
    return FilterPhrases(**{**NO_RULES, **rules})


def tied(*phrases, box=(0, 0, 90, 90), **rows):
    """Phrases of one text, by default all about one region."""
    return annotations(
        **{"texts": [text()], "regions": [region(*box)], "phrases": list(phrases), **rows}
    )


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        pytest.param(0, 5, [], id="found"),
        pytest.param(0, 1, [], id="one letter"),
        pytest.param(None, None, ["span"], id="not found"),
        pytest.param(3, 3, ["span"], id="empty"),
        pytest.param(3, None, ["span"], id="no end"),
    ],
)
def test_a_phrase_that_is_not_in_its_caption_is_dropped(start, end, found):
    judged = tied(phrase(char_start=start, char_end=end))
    assert said(only(), judged) == [
        (0, f"filter_phrases.{rule}", "drop", None, None) for rule in found
    ]


@pytest.mark.parametrize(
    ("row", "rows", "missing"),
    [
        pytest.param(phrase(text_no=7), {}, "model/text/7", id="no such text"),
        pytest.param(phrase(region_no=7), {}, "model/region/7", id="no such region"),
        pytest.param(phrase(region_source="human"), {}, "human/region/0", id="no such source"),
        pytest.param(phrase(region_no=None), {}, None, id="no region"),
        pytest.param(
            phrase(), {"verdicts": [rejection("region", 0)]}, "model/region/0", id="region dropped"
        ),
        pytest.param(
            phrase(),
            {"verdicts": [rejection("text", 0, verdict="quarantine")]},
            "model/text/0",
            id="text in quarantine",
        ),
    ],
)
def test_a_phrase_without_its_text_or_region_is_quarantined(row, rows, missing):
    found = only().judge(tied(row, **rows))
    assert details(found) == [("model", 0, "filter_phrases.orphan", missing)]
    assert found["verdict"].to_pylist() == ["quarantine"]


def test_a_flag_on_its_region_costs_a_phrase_nothing():
    judged = tied(phrase(), verdicts=[rejection("region", 0, verdict="flag")])
    assert said(FilterPhrases(), judged) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("a dog", [], id="a thing"),
        pytest.param("It", [("banned_phrases", "it")], id="a pronoun in any case"),
        pytest.param("the image", [("banned_phrases", "image")], id="the image itself"),
        pytest.param("a group", [("banned_phrases", "group")], id="a bare quantity"),
        pytest.param("a group of dogs", [], id="a quantity of things"),
        pytest.param("", [("banned_phrases", "")], id="nothing"),
        pytest.param(None, [("banned_phrases", None)], id="null"),
        pytest.param("a long time", [("banned_heads", "time")], id="abstract"),
        pytest.param("the sense of freedom", [("banned_heads", "sense")], id="abstract before of"),
        pytest.param("a kind of dog", [], id="a kind of thing"),
        pytest.param("a time machine", [], id="a thing after an abstract word"),
    ],
)
def test_a_phrase_that_names_no_thing_is_dropped(words, found):
    judged = FilterPhrases().judge(tied(phrase(words)))
    expected = [("model", 0, f"filter_phrases.{rule}", detail) for rule, detail in found]
    assert details(judged) == expected
    assert set(judged["verdict"].to_pylist()) <= {"drop"}


@pytest.mark.parametrize(
    ("words", "height", "found"),
    [
        pytest.param("a dog", 949, [], id="just below"),
        pytest.param("a dog", 950, [], id="on the limit"),
        pytest.param("a dog", 951, [("quarantine", 0.951, 0.95)], id="just above"),
        pytest.param("a busy street", 1000, [], id="a scene"),
        pytest.param("mountains in the fog", 1000, [], id="a scene in the plural"),
    ],
)
def test_a_phrase_about_the_whole_image_must_name_a_scene(words, height, found):
    judged = tied(phrase(words), box=(0, 0, 1000, height))
    expected = [(0, "filter_phrases.max_area", *rest) for rest in found]
    assert said(only(max_area=0.95), judged) == expected


def pair(width, **other):
    """A dog and, on nearly its box, something else with a higher score."""
    return tied(
        phrase("a dog", score=0.5),
        phrase(
            **{"words": "a mat", "label_no": 1, "region_no": 1, "score": 0.8}
            | {"char_start": 9, "char_end": 14}
            | other
        ),
        regions=[region(0, 0, 100, 100), region(0, 0, width, 100, label_no=1)],
    )


@pytest.mark.parametrize(
    ("width", "found"),
    [
        pytest.param(94.9, [], id="just below"),
        pytest.param(95, [(0, "filter_phrases.collapse_iou", "drop", 0.95, 0.95)], id="on it"),
        pytest.param(96, [(0, "filter_phrases.collapse_iou", "drop", 0.96, 0.95)], id="above"),
    ],
)
def test_of_two_things_in_one_box_the_better_score_stays(width, found):
    judged = pair(width)
    assert said(only(collapse_iou=0.95), judged) == found
    assert [row[3] for row in details(only(collapse_iou=0.95).judge(judged))] == [
        "model/phrase/1" for _ in found
    ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"words": "two Dogs"}, id="the same thing"),
        pytest.param({"char_start": 0, "char_end": 14}, id="one phrase inside the other"),
        pytest.param({"words": "it"}, id="a phrase that is dropped anyway"),
    ],
)
def test_phrases_that_may_share_a_box(other):
    found = details(FilterPhrases().judge(pair(100, **other)))
    assert [row for row in found if row[2] == "filter_phrases.collapse_iou"] == []


def test_phrases_of_two_captions_may_share_a_box():
    judged = pair(100, text_no=1).with_tables(
        texts=annotations(texts=[text(), text(label_no=1)]).texts
    )
    assert said(FilterPhrases(), judged) == []
