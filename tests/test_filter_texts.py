import json

import pytest
from label_rows import annotations, said, text
from pydantic import ValidationError

from stages.filter_texts import FilterTexts

NO_RULES = {
    "length": None,
    "level_order": False,
    "max_repeated_sentences": None,
    "said_twice": False,
    "max_repeated_words": None,
    "max_objects": None,
    "min_object_complexity": None,
    "min_actions": None,
    "lowest_scores": None,
    "openings": False,
    "max_copies": None,
}


def only(**rules):
    return FilterTexts(**{**NO_RULES, **rules})


@pytest.mark.parametrize(
    ("row", "found"),
    [
        pytest.param(text("a"), [], id="one letter is a text"),
        pytest.param(text(""), [("t1_empty", 0, 1)], id="empty"),
        pytest.param(text(" \n"), [("t1_empty", 0, 1)], id="spaces"),
        pytest.param(text(None), [("t1_empty", 0, 1)], id="null"),
        pytest.param(text("a <b> tag < b >"), [], id="not every bracket is a token"),
        pytest.param(text("dog<loc_3><loc_999>"), [("t1_markup", 2, 0)], id="places"),
        pytest.param(text("a cat.<pad><pad></s>"), [("t1_markup", 3, 0)], id="padding"),
        pytest.param(text("<MORE_DETAILED_CAPTION>"), [("t1_markup", 1, 0)], id="a task"),
        pytest.param(text("</poly> <and>"), [("t1_markup", 2, 0)], id="special words"),
        pytest.param(text(truncated=False, tokens=9), [], id="whole"),
        pytest.param(text(truncated=True, tokens=9), [("t1_truncated", 9, None)], id="cut off"),
    ],
)
def test_a_text_that_is_none_or_not_whole_is_dropped(row, found):
    expected = [(0, f"filter_texts.{rule}", "drop", *rest) for rule, *rest in found]
    assert said(only(), annotations(texts=[row])) == expected


@pytest.mark.parametrize(
    ("level", "words", "found"),
    [
        pytest.param("brief", 2, [(2, 3)], id="just too short"),
        pytest.param("brief", 3, [], id="on the lower limit"),
        pytest.param("brief", 5, [], id="on the upper limit"),
        pytest.param("brief", 6, [(6, 5)], id="just too long"),
        pytest.param("detailed", 6, [], id="a level without a band"),
        pytest.param("ocr", 1, [], id="no caption"),
        pytest.param(None, 1, [], id="no level"),
    ],
)
def test_a_caption_outside_the_band_of_its_level_is_quarantined(level, words, found):
    judged = annotations(texts=[text(" ".join("abcdefgh"[:words]), level=level)])
    expected = [(0, "filter_texts.t2_length", "quarantine", *rest) for rest in found]
    assert said(only(length={"brief": (3, 5)}), judged) == expected


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        pytest.param((3, 4, 5), [], id="in order"),
        pytest.param((3, 3, 5), [(1, 3, 3)], id="equal"),
        pytest.param((3, 2, 5), [(1, 2, 3)], id="shorter"),
        pytest.param(
            (6, 2, 5), [(1, 2, 6), (2, 5, 6)], id="the longest of the lower levels counts"
        ),
        pytest.param((3, 0, 3), [(2, 3, 3)], id="an empty text is no level"),
    ],
)
def test_a_caption_that_is_not_longer_than_a_lower_level_is_flagged(counts, found):
    levels = ("brief", "detailed", "more_detailed")
    rows = [
        text(" ".join("abcdefgh"[:count]), level=level, label_no=i)
        for i, (level, count) in enumerate(zip(levels, counts, strict=True))
    ]
    elsewhere = text("a b c d e f g h", source="opinion")
    flags = said(only(level_order=True), annotations(texts=[*rows, elsewhere]))
    expected = [(no, "filter_texts.t3_level_order", "flag", *rest) for no, *rest in found]
    assert [row for row in flags if row[1] != "filter_texts.t1_empty"] == expected


@pytest.mark.parametrize(
    ("words", "limit", "found"),
    [
        pytest.param("A dog. A cat. A cow. A dog.", 0.26, [], id="just inside"),
        pytest.param("A dog. A cat. A cow. A dog.", 0.25, [], id="on the limit"),
        pytest.param("A dog. A cat. A cow. A dog.", 0.24, [(0.25, 0.24)], id="just outside"),
        pytest.param("A dog! a DOG\nA dog.", 0.3, [(0.6667, 0.3)], id="case and marks aside"),
        pytest.param("A dog at 3.5 m. A cat at 3.5 m.", 0, [], id="a decimal ends no sentence"),
        pytest.param("...", 0, [], id="no sentence"),
    ],
)
def test_a_caption_that_repeats_its_sentences_is_dropped(words, limit, found):
    expected = [(0, "filter_texts.t4_repeated_sentences", "drop", *rest) for rest in found]
    assert said(only(max_repeated_sentences=limit), annotations(texts=[text(words)])) == expected


THRICE = "aa bb cc x aa bb cc y aa bb cc zzzzz"  # 18 of 25 letters


@pytest.mark.parametrize(
    ("words", "limit", "found"),
    [
        pytest.param(THRICE, 0.73, [], id="just inside"),
        pytest.param(THRICE, 0.72, [], id="on the limit"),
        pytest.param(THRICE, 0.71, [(0.72, 0.71)], id="just outside"),
        pytest.param("aa bb cc x aa bb cc", 0, [], id="twice is style"),
        pytest.param("no no no no no", 0.18, [(1, 0.18)], id="runs overlap"),
        pytest.param("one two", 0, [], id="fewer than three words"),
    ],
)
def test_a_caption_that_loops_over_three_words_is_dropped(words, limit, found):
    expected = [(0, "filter_texts.t4_repeated_words", "drop", *rest) for rest in found]
    assert said(only(max_repeated_words=limit), annotations(texts=[text(words)])) == expected


def test_rules_that_rejected_more_right_than_wrong_of_scenes_are_off():
    short_and_still = text("cat", level="more_detailed", score=0.001)
    looping = text(THRICE, level="more_detailed", source="opinion")
    judged = annotations(texts=[short_and_still, looping])
    assert said(FilterTexts(), judged) == []
    assert "scores" not in FilterTexts().measure(judged)


def test_words_are_counted_within_one_text():
    rows = [text("aa bb cc", label_no=i) for i in range(5)]
    strict = only(max_repeated_words=0, max_repeated_sentences=0, said_twice=True)
    assert said(strict, annotations(texts=rows)) == []


def test_a_transcript_may_repeat_itself():
    loop = text("exit exit exit exit exit. exit exit exit exit exit.", level="ocr")
    assert said(FilterTexts(), annotations(texts=[loop])) == []


def test_a_human_text_is_flagged_and_never_rejected():
    strict = only(length={"brief": (3, 24)}, min_object_complexity={"brief": 2})
    found = said(strict, annotations(texts=[text("dog", source="human")]))
    assert found == [
        (0, "filter_texts.t2_length", "flag", 1, 3),
        (0, "filter_texts.t6_object_complexity", "flag", 0, 2),
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("A dog. A cat.", [], id="never"),
        pytest.param("A dog. A cat. a dog!", [(1, 0)], id="once more"),
        pytest.param("A dog. A cat. A dog. A cat. A dog.", [(3, 0)], id="three times more"),
    ],
)
def test_a_caption_that_says_a_sentence_twice_is_flagged(words, found):
    expected = [(0, "filter_texts.t4_said_twice", "flag", *rest) for rest in found]
    assert said(only(said_twice=True), annotations(texts=[text(words)])) == expected


@pytest.mark.parametrize(
    ("words", "level", "found"),
    [
        pytest.param("a dog and a cat", "brief", [], id="just inside"),
        pytest.param("a dog, a cat and a cow", "brief", [], id="on the limit"),
        pytest.param("a dog, a cat, a cow and a hen", "brief", [(4, 3)], id="just outside"),
        pytest.param("Rex, a dog, a cat and a cow", "brief", [], id="a name is no object"),
        pytest.param("a dog, a cat, a cow and a hen", "detailed", [], id="a level without a limit"),
        pytest.param("a dog, a cat, a cow and a hen", "ocr", [], id="no caption"),
    ],
)
def test_a_caption_of_too_many_objects_is_quarantined(words, level, found):
    judged = annotations(texts=[text(words, level=level)])
    expected = [(0, "filter_texts.t5_objects", "quarantine", *rest) for rest in found]
    assert said(only(max_objects={"brief": 3}), judged) == expected


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("a photo", [(1, 2)], id="just outside: an article"),
        pytest.param("a red dog", [], id="on the limit"),
        pytest.param("a red dog runs", [], id="just inside"),
        pytest.param("running", [(0, 2)], id="no object"),
        pytest.param("", [], id="nothing is said already"),
    ],
)
def test_a_caption_whose_objects_stand_alone_is_quarantined(words, found):
    judged = annotations(texts=[text(words)])
    expected = [(0, "filter_texts.t6_object_complexity", "quarantine", *rest) for rest in found]
    verdicts = said(only(min_object_complexity={"brief": 2}), judged)
    assert [row for row in verdicts if row[1] != "filter_texts.t1_empty"] == expected


@pytest.mark.parametrize(
    ("words", "level", "found"),
    [
        pytest.param("a dog on a mat", "detailed", [(0, 1)], id="just outside"),
        pytest.param("a dog lying on a mat", "detailed", [], id="on the limit"),
        pytest.param("a dog lying on a mat chews a bone", "detailed", [], id="just inside"),
        pytest.param("There is a dog", "detailed", [(0, 1)], id="to be is no action"),
        pytest.param("a dog lying on a mat", "more_detailed", [(1, 2)], id="more is asked of more"),
        pytest.param("a dog", "brief", [], id="nothing is asked of the brief"),
    ],
)
def test_a_caption_in_which_nothing_happens_is_quarantined(words, level, found):
    rule = only(min_actions={"brief": 0, "detailed": 1, "more_detailed": 2})
    expected = [(0, "filter_texts.t7_actions", "quarantine", *rest) for rest in found]
    assert said(rule, annotations(texts=[text(words, level=level)])) == expected


def shards(*rows):
    """Each row is a shard of its own; what they measure went through JSON."""
    judge = only(lowest_scores=0.02, max_copies=2)
    measured = [judge.measure(annotations(texts=[row])) for row in rows]
    return judge.settled(json.loads(json.dumps(measured)))


def test_the_texts_a_model_was_least_sure_of_are_quarantined():
    scores = [i / 100 for i in range(1, 101)]
    judge = shards(
        *(text(str(i), score=score) for i, score in enumerate(scores)),
        text("of few nothing can be said", score=0.001, task="ocr"),
        text("a person knows", score=0.001, source="human"),
        text("nobody knows"),
    )
    assert judge.measure(annotations()) is None
    limit = judge.t9_limits["model/caption"]
    assert 0.02 < limit < 0.03
    assert judge.t9_limits["model/ocr"] is None
    rows = [text("x", label_no=i, score=s) for i, s in enumerate([0.02, limit, 0.03, None, 0.001])]
    rows[4]["task"] = "ocr"
    assert said(judge, annotations(texts=rows)) == [
        (0, "filter_texts.t9_confidence", "quarantine", 0.02, limit)
    ]


def test_a_caption_that_the_data_set_says_often_is_flagged():
    judge = shards(
        *(text(words) for words in ("A dog.", "the DOG", "The image shows a dog", "a cat", "Cat!"))
    )
    rows = [text(words, label_no=i) for i, words in enumerate(["dog", "a cat", "a cow", None, "!"])]
    assert said(judge, annotations(texts=rows)) == [
        (3, "filter_texts.t1_empty", "drop", 0, 1),
        (0, "filter_texts.t12_copies", "flag", 3, 2),
    ]


LONG = " ".join(f"word{i}" for i in range(60))


def settled_over(*captions, max_copies=2):
    """Three shards of one data set."""
    judge = only(max_copies=max_copies)
    parts = [captions[i::3] for i in range(3)]
    measured = [judge.measure(annotations(texts=[text(w) for w in part])) for part in parts]
    return judge.settled(json.loads(json.dumps(measured)))


@pytest.mark.parametrize(
    ("times", "found"),
    [
        pytest.param(1, [], id="just inside"),
        pytest.param(2, [], id="on the limit"),
        pytest.param(3, [("t12_near_copies", 3, 2)], id="just outside"),
    ],
)
def test_a_caption_that_the_data_set_says_often_but_for_a_word_is_flagged(times, found):
    captions = [f"{LONG} {ending}" for ending in ("one", "two", "three")[:times]]
    judge = settled_over(*captions, "a dog on a mat", "a cat in a hat")
    expected = [(0, f"filter_texts.{rule}", "flag", *rest) for rule, *rest in found]
    assert said(judge, annotations(texts=[text(captions[0])])) == expected
    assert said(judge, annotations(texts=[text(f"{LONG} four")])) == expected, "a new one too"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(" ".join(reversed(LONG.split())), id="the same words in another order"),
        pytest.param(f"{LONG} {LONG.replace('word', 'other')}", id="half of it"),
        pytest.param("dog", id="one word"),
        pytest.param(None, id="null"),
        pytest.param("!", id="no words"),
    ],
)
def test_other_words_are_no_near_copy(other):
    judge = settled_over(*[f"{LONG} {ending}" for ending in ("one", "two", "three")])
    found = said(judge, annotations(texts=[text(LONG), text(other, label_no=1)]))
    near = [row for row in found if row[1] != "filter_texts.t1_empty"]
    assert near == [(0, "filter_texts.t12_near_copies", "flag", 3, 2)]


def test_an_exact_copy_is_not_called_a_near_one_as_well():
    judge = settled_over(*["The image shows a dog"] * 3)
    assert said(judge, annotations(texts=[text("dog")])) == [
        (0, "filter_texts.t12_copies", "flag", 3, 2)
    ]


def test_what_was_not_measured_is_not_judged():
    rows = [text("dog", label_no=i, score=0.001) for i in range(9)]
    unsettled = only(lowest_scores=0.5, max_copies=1)
    assert said(unsettled, annotations(texts=rows)) == []
    assert only().measure(annotations(texts=rows)) is None


@pytest.mark.parametrize(
    ("words", "bare"),
    [
        ("The image shows a dog", "a dog"),
        ("In this picture, a dog", None),
        ("This photo features two dogs", "two dogs"),
        ("The image is a close-up photo of a dog", "a dog"),
        ("a photograph of a dog", "a dog"),
        ("A dog in the image shows its teeth", None),
        ("The imagery shows a dog", None),
    ],
)
def test_an_opening_about_the_image_is_flagged(words, bare):
    judged = annotations(texts=[text(words)])
    expected = [(0, "filter_texts.t12_opening", "flag", len(words) - len(bare), 0)] if bare else []
    assert said(only(openings=True), judged) == expected
    details = only(openings=True).judge(judged)["detail"].to_pylist()
    assert details == ([bare] if bare else [])


def test_the_recipe_names_the_parser():
    assert FilterTexts().identity({})["parser"]["name"] == "chunker"


@pytest.mark.parametrize(
    ("length", "message"),
    [
        pytest.param({"brief": (9, 3)}, "length of brief: 9 is more than 3", id="inverted"),
        pytest.param({"short": (3, 9)}, "'short' is none of brief, detailed", id="unknown level"),
    ],
)
def test_a_band_that_cannot_be_is_refused(length, message):
    with pytest.raises(ValidationError, match=message):
        FilterTexts(length=length)


def test_a_limit_of_an_unknown_level_is_refused():
    with pytest.raises(ValidationError, match="'short' is none of brief, detailed"):
        FilterTexts(min_actions={"short": 1})
