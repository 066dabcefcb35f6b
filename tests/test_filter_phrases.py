import pytest
from label_rows import annotations, details, phrase, region, rejection, said, text
from phrase_rules import TOLD, of_phrases, only, tied

from stages.filter_phrases import FilterPhrases


def saying(*words, box=(0, 0, 90, 90), **columns):
    """One caption that says these phrases one after the other, each with a box of its own size."""
    starts = [sum(len(word) + 2 for word in words[:i]) for i in range(len(words))]
    return tied(
        *(
            phrase(word, label_no=i, region_no=i, char_start=at, char_end=at + len(word), **columns)
            for i, (word, at) in enumerate(zip(words, starts, strict=True))
        ),
        texts=[text("  ".join(words))],
        regions=[region(*box[:3], box[3] - 9 * i, label_no=i) for i in range(len(words))],
    )


@pytest.mark.parametrize(
    ("words", "start", "end", "found"),
    [
        pytest.param("a dog", 0, 5, [], id="as the caption says it"),
        pytest.param("A  DOG", 0, 5, [], id="case and spaces aside"),
        pytest.param("dog", 2, 5, [], id="one word"),
        pytest.param("a dog", None, None, [(1, 0)], id="not found"),
        pytest.param("a dog", 3, 3, [(1, 0)], id="an empty span"),
        pytest.param("a dog", 3, None, [(1, 0)], id="no end"),
        pytest.param("a dog", 0, 1, [(1, 0)], id="a span of fewer words"),
        pytest.param("a cat", 0, 5, [(2, 0)], id="a span of other words"),
        pytest.param("a mat", 0, 900, [(1, 0)], id="a span beyond the caption"),
        pytest.param("a dog", -9, 5, [], id="a span before the caption"),
        pytest.param("the dog", None, None, [(1, 0)], id="one token off"),
    ],
)
def test_a_phrase_that_is_not_in_its_caption_is_dropped(words, start, end, found):
    judged = tied(phrase(words, char_start=start, char_end=end))
    expected = [(0, "filter_phrases.g1_span", "drop", *rest) for rest in found]
    assert of_phrases(said(only(), judged)) == expected


@pytest.mark.parametrize(
    ("words", "place"),
    [
        pytest.param("a large red circle", "[0, 26)", id="the caption says one more"),
        pytest.param("a large striped big red circle", "[0, 26)", id="one less"),
        pytest.param("one large striped red circle", "[0, 26)", id="a numeral for the article"),
        pytest.param("a blue dotted circle", None, id="two others"),
        pytest.param("a large striped red square", None, id="the noun is another"),
        pytest.param("the star", "[31, 37)", id="after the first noun"),
        pytest.param("stars", None, id="one token alone"),
        pytest.param("a large red square", "[45, 65)", id="one of several"),
        pytest.param("a small red square", None, id="one of several others"),
    ],
)
def test_a_phrase_but_for_one_token_is_flagged(words, place):
    caption = [text("A large striped red circle and a star, group of large red squares.")]
    judged = tied(phrase(words, char_start=None, char_end=None), texts=caption)
    found = only(one_token_off=True).judge(judged).to_pylist()
    said_so = [(r["filter"], r["verdict"], r["value"], r["threshold"], r["detail"]) for r in found]
    assert said_so[:1] == [
        ("filter_phrases.g1_inexact", "flag", 1, 0, place)
        if place
        else ("filter_phrases.g1_span", "drop", 2, 1, None)
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("a large striped circle", [], id="none in place of the caption's"),
        pytest.param("a large striped dotted red circle", [], id="one more than the caption's"),
        pytest.param("a small striped red circle", [1], id="one in place of the caption's"),
        pytest.param("a large striped blue circle", [1], id="another in place of another"),
    ],
)
def test_a_phrase_with_another_attribute_than_its_caption_is_quarantined(words, found):
    caption = "a large striped red circle"
    judged = tied(phrase(words, char_start=None, char_end=None), texts=[text(caption)])
    verdicts = only(one_token_off=True).judge(judged).to_pylist()
    told = [tuple(row[n] for n in TOLD) for row in verdicts if row["verdict"] == "quarantine"]
    assert told == [
        ("filter_phrases.g1_attributes", "quarantine", count, 0, caption) for count in found
    ]
    assert [row[1] for row in of_phrases(said(only(), judged))] == ["filter_phrases.g1_span"]


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
    judged = tied(row, **rows)
    assert of_phrases(said(only(), judged)) == [(0, "filter_phrases.orphan", "quarantine", 0, 1)]
    assert details(only().judge(judged))[0] == ("model", 0, "filter_phrases.orphan", missing)


def test_a_flag_on_its_region_costs_a_phrase_nothing():
    judged = tied(phrase(), verdicts=[rejection("region", 0, verdict="flag")])
    assert said(FilterPhrases(), judged) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("a dog", [], id="a thing"),
        pytest.param("It", [("g2_banned", "it")], id="a pronoun in any case"),
        pytest.param("the image", [("g2_banned", "image")], id="the image itself"),
        pytest.param("a group", [("g2_banned", "group")], id="a bare quantity"),
        pytest.param("a group of dogs", [], id="a quantity of things"),
        pytest.param("a long time", [("g2_abstract", "time")], id="abstract"),
        pytest.param("the sense of freedom", [("g2_abstract", "sense")], id="abstract before of"),
        pytest.param("a kind of dog", [], id="a kind of thing"),
        pytest.param("a time machine", [], id="a thing after an abstract word"),
    ],
)
def test_a_phrase_that_names_no_thing_is_dropped(words, found):
    rules = {name: FilterPhrases.model_fields[name].default for name in BANNED}
    judged = saying(words)
    expected = [(0, f"filter_phrases.{rule}", "drop", 1, 0) for rule, _ in found]
    assert of_phrases(said(only(**rules), judged)) == expected
    assert [row[3] for row in details(only(**rules).judge(judged))][: len(found)] == [
        detail for _, detail in found
    ]


BANNED = ("banned_phrases", "banned_heads")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("dog", [], id="a noun"),
        pytest.param("the red dog", [], id="its article is part of it"),
        pytest.param("Paris", [], id="a name"),
        pytest.param("very red", [("g3_noun_phrase", "drop", 0, 1, "very red")], id="no noun"),
        pytest.param("🙂", [("g3_noun_phrase", "drop", 0, 1, "🙂")], id="no word"),
        pytest.param("on the mat", [("g3_fragment", "flag", 1, 0, "[3, 10)")], id="a preposition"),
        pytest.param("is holding a cat", [("g3_fragment", "flag", 2, 0, "[11, 16)")], id="verbs"),
    ],
)
def test_a_phrase_has_a_noun_and_begins_with_its_noun_phrase(words, found):
    verdicts = only(noun_phrase=True).judge(saying(words)).to_pylist()
    names = ("filter", "verdict", "value", "threshold", "detail")
    expected = [(f"filter_phrases.{rule}", *rest) for rule, *rest in found]
    assert of_phrases([("", *(row[n] for n in names)) for row in verdicts]) == [
        ("", *row) for row in expected
    ]


@pytest.mark.parametrize(
    ("rule", "columns", "shown"),
    [
        pytest.param("label_score", {"label_score": 0.25}, {}, id="words"),
        pytest.param("location_score", {}, {"windowed_location_score": 0.25}, id="place"),
    ],
)
@pytest.mark.parametrize(
    ("limit", "found"),
    [
        pytest.param(0.24, [], id="just inside"),
        pytest.param(0.25, [], id="on the limit"),
        pytest.param(0.26, [(0.25, 0.26)], id="just outside"),
    ],
)
def test_both_scores_of_a_phrase_have_a_limit(rule, columns, shown, limit, found):
    judged = tied(phrase(**columns), regions=[region(0, 0, 90, 90, **shown)])
    expected = [(0, f"filter_phrases.g4_{rule}", "quarantine", *rest) for rest in found]
    assert of_phrases(said(only(**{f"min_{rule}": limit}), judged)) == expected


def test_a_phrase_without_scores_passes_their_limits():
    strict = only(min_label_score=0.5, min_location_score=0.5)
    assert said(strict, tied(phrase(label_score=float("nan")))) == []


@pytest.mark.parametrize(
    ("words", "height", "found"),
    [
        pytest.param("a dog", 949, [], id="just below"),
        pytest.param("a dog", 950, [], id="on the limit"),
        pytest.param("a dog", 951, [(0.951, 0.95)], id="just above"),
        pytest.param("a busy street", 1000, [], id="a scene"),
        pytest.param("mountains in the fog", 1000, [], id="a scene in the plural"),
    ],
)
def test_a_phrase_about_the_whole_image_must_name_a_scene(words, height, found):
    judged = saying(words, box=(0, 0, 1000, height))
    expected = [(0, "filter_phrases.g5_max_area", "quarantine", *rest) for rest in found]
    assert of_phrases(said(only(max_area=0.95), judged)) == expected


def test_one_scene_of_a_caption_may_fill_the_image():
    words, scores = ("a street", "a city", "a park"), (0.5, 0.7, 0.6)
    rows = [
        phrase(word, label_no=i, char_start=9 * i, char_end=9 * i + len(word), score=score)
        for i, (word, score) in enumerate(zip(words, scores, strict=True))
    ]
    judged = tied(*rows, texts=[text("a street a city   a park")], box=(0, 0, 1000, 1000))
    assert said(only(max_area=0.95), judged) == [
        (0, "filter_phrases.g5_one_scene", "quarantine", 3, 1),
        (2, "filter_phrases.g5_one_scene", "quarantine", 2, 1),
    ]


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
        pytest.param(95, [(0, "filter_phrases.g6_collapse", "drop", 0.95, 0.95)], id="on it"),
        pytest.param(96, [(0, "filter_phrases.g6_collapse", "drop", 0.96, 0.95)], id="above"),
    ],
)
def test_of_two_things_in_one_box_the_better_score_stays(width, found):
    judged = pair(width)
    assert said(only(collapse_iou=0.95), judged) == found
    assert [row[3] for row in details(only(collapse_iou=0.95).judge(judged))] == [
        "model/phrase/1" for _ in found
    ]


@pytest.mark.parametrize(
    ("caption", "other"),
    [
        pytest.param("a dog or two Dogs", {"words": "two Dogs", "char_end": 17}, id="the same"),
        pytest.param("a dog, a puppy", {"words": "puppy", "char_end": 14}, id="a kind of it"),
        pytest.param("a dog mat", {"words": "a dog mat", "char_start": 0}, id="one in the other"),
        pytest.param("a dog on it", {"words": "it", "char_end": 11}, id="dropped anyway"),
    ],
)
def test_phrases_that_may_share_a_box(caption, other):
    judged = pair(100, **other).with_tables(texts=annotations(texts=[text(caption)]).texts)
    found = said(only(collapse_iou=0.95, banned_phrases=("it",)), judged)
    assert [row for row in found if row[1] == "filter_phrases.g6_collapse"] == []


def test_phrases_of_two_captions_may_share_a_box():
    judged = pair(100, text_no=1).with_tables(
        texts=annotations(texts=[text(), text(label_no=1)]).texts
    )
    assert said(only(collapse_iou=0.95), judged) == []


CAPTION = "a dog on a mat and a cat"


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        pytest.param((0, 14), (9, 14), [(1, 14, 5)], id="inside"),
        pytest.param((0, 5), (0, 14), [(0, 14, 5)], id="the longer comes second"),
        pytest.param((0, 5), (0, 5), [], id="the same words"),
        pytest.param((0, 8), (6, 14), [], id="they overlap"),
        pytest.param((0, 24), (19, 24), [], id="one of several that are joined"),
        pytest.param((0, 5), (9, 14), [], id="side by side"),
    ],
)
def test_a_phrase_inside_a_longer_one_is_flagged(one, other, found):
    rows = [
        phrase(CAPTION[start:end], label_no=i, char_start=start, char_end=end)
        for i, (start, end) in enumerate((one, other))
    ]
    verdicts = said(only(contained=True), tied(*rows, texts=[text(CAPTION)]))
    expected = [(no, "filter_phrases.g9_contained", "flag", *rest) for no, *rest in found]
    assert verdicts == expected


@pytest.mark.parametrize(
    ("words", "boxes", "limit"),
    [
        pytest.param("two dogs", 1, 2, id="one too few"),
        pytest.param("two dogs", 2, None, id="as many as it says"),
        pytest.param("two dogs", 3, 2, id="one too many"),
        pytest.param("2 dogs", 1, 2, id="in digits"),
        pytest.param("dogs", 1, 2, id="a plural is two at least"),
        pytest.param("dogs", 3, None, id="a plural may be more"),
        pytest.param("a group of red dogs", 1, 2, id="a group is two at least"),
        pytest.param("a dog", 1, None, id="one"),
        pytest.param("a dog", 2, 1, id="more than one"),
        pytest.param("the dog", 2, None, id="not said"),
        pytest.param("grass", 2, None, id="not said either"),
        pytest.param("two glass doors", 2, None, id="the numeral of the noun"),
    ],
)
def test_a_phrase_with_another_number_of_boxes_is_flagged(words, boxes, limit):
    rows = [phrase(words, label_no=i, char_end=len(words)) for i in range(boxes)]
    found = said(only(number=True), tied(*rows, texts=[text(words)]))
    assert found == [
        (i, "filter_phrases.g10_number", "flag", boxes, limit) for i in range(boxes) if limit
    ]


def test_boxes_that_are_not_kept_are_not_counted():
    rows = [phrase("two dogs", label_no=i, region_no=i, char_end=8) for i in range(2)]
    judged = tied(
        *rows,
        texts=[text("two dogs")],
        regions=[region(0, 0, 9, 9), region(0, 0, 8, 8, label_no=1)],
        verdicts=[rejection("region", 1)],
    )
    assert (0, "filter_phrases.g10_number", "flag", 1, 2) in said(only(number=True), judged)


@pytest.mark.parametrize(
    ("rejected", "found"),
    [
        pytest.param([0, 1], [(0, "filter_phrases.g12_empty", "flag", 0, 1)], id="none left"),
        pytest.param([1], [], id="one left"),
    ],
)
def test_a_text_of_which_no_phrase_is_left_is_flagged(rejected, found):
    judged = tied(
        phrase(),
        phrase(label_no=1),
        texts=[text(), text("nothing was ever asked of it", label_no=1)],
        verdicts=[rejection("phrase", number) for number in rejected],
    )
    assert said(only(), judged) == found
    assert set(only().judge(judged)["kind"].to_pylist()) <= {"text"}


def test_a_human_phrase_is_flagged_and_never_rejected():
    judged = tied(phrase("it", source="human", char_start=None, char_end=None))
    verdicts = of_phrases(said(FilterPhrases(), judged))
    assert [(row[1], row[2]) for row in verdicts] == [
        ("filter_phrases.g1_span", "flag"),
        ("filter_phrases.g2_banned", "flag"),
    ]


def test_the_recipe_names_the_parser():
    assert FilterPhrases().identity({})["parser"]["name"] == "chunker"
