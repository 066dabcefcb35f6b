import pyarrow as pa
import pytest

from stages.language import (
    ABSTRACT_NOUNS,
    EMPTY_LABELS,
    SCENE_NOUNS,
    UNGROUNDABLE,
    comparable,
    heads,
    normalised,
    token_counts,
)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("a dog", 2),
        ("A man's T-shirt, red.", 6),
        ("the dog\N{RIGHT SINGLE QUOTATION MARK}s tail", 3),
        ("café naïve", 2),
        ("日本", 1),
        ("", 0),
        (None, None),
    ],
)
def test_tokens_are_words_and_marks(words, count):
    assert token_counts(pa.array([words], pa.string())).to_pylist() == [count]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("The  Dog.", "dog"),
        ("stop_sign", "stop sign"),
        ('"an apple"', "apple"),
        ("the", "the"),
        ("theatre", "theatre"),
        ("", ""),
        (None, None),
    ],
)
def test_normalised_words(words, expected):
    assert normalised(pa.array([words], pa.string())).to_pylist() == [expected]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog", "Dogs"),
        ("woman", "two women"[4:]),
        ("person", "people"),
        ("bus", "buses"),
        ("glass", "glasses"),
        ("box", "boxes"),
        ("horse", "horses"),
        ("cherry", "cherries"),
        ("cookie", "cookies"),
        ("boy", "boys"),
        ("knife", "knives"),
        ("leaf", "leaves"),
        ("traffic light", "The traffic_lights"),
    ],
)
def test_singular_and_plural_compare_as_equal(one, other):
    assert len(set(comparable(pa.array([one, other])).to_pylist())) == 1


@pytest.mark.parametrize(("one", "other"), [("plan", "plane"), ("cap", "cape"), ("dog", "hot dog")])
def test_other_words_compare_as_different(one, other):
    assert len(set(comparable(pa.array([one, other])).to_pylist())) == 2


@pytest.mark.parametrize(
    ("words", "head"),
    [
        ("a small brown dog", "dog"),
        ("The two women", "woman"),
        ("the dog on the mat", "dog"),
        ("a pair of red shoes", "shoe"),
        ("a group of people in a park", "person"),
        ("a lot of", "lot"),
        ("", ""),
        (None, None),
    ],
)
def test_the_head_of_a_phrase(words, head):
    assert heads(pa.array([words], pa.string())).to_pylist() == [head]


@pytest.mark.parametrize("words", [UNGROUNDABLE, ABSTRACT_NOUNS, EMPTY_LABELS, SCENE_NOUNS])
def test_lists_hold_each_word_once_and_normalised(words):
    assert len(set(words)) == len(words)
    assert normalised(pa.array(words)).to_pylist() == list(words)


def test_columns_in_chunks_are_words_too():
    chunks = pa.chunked_array([["Dogs"], ["a cat", None]])
    assert comparable(chunks).to_pylist() == ["dog", "cat", None]
