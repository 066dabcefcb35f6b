import pytest
from label_rows import annotations, said, text
from pydantic import ValidationError

from stages.filter_texts import FilterTexts

NO_RULES = {
    "length": None,
    "level_order": False,
    "max_repeated_sentences": None,
    "max_repeated_words": None,
}


def only(**rules):
    return FilterTexts(**{**NO_RULES, **rules})


@pytest.mark.parametrize(
    ("row", "found"),
    [
        pytest.param(text("a"), [], id="one letter is a text"),
        pytest.param(text(""), [("empty", 0, 1)], id="empty"),
        pytest.param(text(" \n"), [("empty", 0, 1)], id="spaces"),
        pytest.param(text(None), [("empty", 0, 1)], id="null"),
        pytest.param(text("a <b> tag < b >"), [], id="not every bracket is a token"),
        pytest.param(text("dog<loc_3><loc_999>"), [("markup", 2, 0)], id="places"),
        pytest.param(text("a cat.<pad><pad></s>"), [("markup", 3, 0)], id="padding"),
        pytest.param(text("<MORE_DETAILED_CAPTION>"), [("markup", 1, 0)], id="a task"),
        pytest.param(text("</poly> <and>"), [("markup", 2, 0)], id="special words"),
        pytest.param(text(truncated=False, tokens=9), [], id="whole"),
        pytest.param(text(truncated=True, tokens=9), [("truncated", 9, None)], id="cut off"),
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
    expected = [(0, "filter_texts.length", "quarantine", *rest) for rest in found]
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
    flags = [row for row in said(only(level_order=True), annotations(texts=[*rows, elsewhere]))]
    expected = [(no, "filter_texts.level_order", "flag", *rest) for no, *rest in found]
    assert [row for row in flags if row[1] == "filter_texts.level_order"] == expected


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
    expected = [(0, "filter_texts.max_repeated_sentences", "drop", *rest) for rest in found]
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
    expected = [(0, "filter_texts.max_repeated_words", "drop", *rest) for rest in found]
    assert said(only(max_repeated_words=limit), annotations(texts=[text(words)])) == expected


def test_words_are_counted_within_one_text():
    rows = [text("aa bb cc", label_no=i) for i in range(5)]
    strict = only(max_repeated_words=0, max_repeated_sentences=0)
    assert said(strict, annotations(texts=rows)) == []


def test_a_transcript_may_repeat_itself():
    loop = text("exit exit exit exit exit. exit exit exit exit exit.", level="ocr")
    assert said(FilterTexts(), annotations(texts=[loop])) == []


def test_a_human_text_is_flagged_and_never_rejected():
    found = said(FilterTexts(), annotations(texts=[text("dog", source="human")]))
    assert found == [(0, "filter_texts.length", "flag", 1, 3)]


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
