import numpy as np
import pyarrow as pa
import pytest

from stages.language import (
    ABSTRACT_NOUNS,
    CHUNKER,
    EMPTY_LABELS,
    SCENE_NOUNS,
    UNGROUNDABLE,
    Kind,
    Parsed,
    comparable,
    language_named,
    normalised,
    parse,
    parser_identity,
    token_counts,
)


def parsed(*texts: str | None) -> Parsed:
    return parse(language_named(CHUNKER), pa.array(texts, pa.string()))


def words(text: str, found: np.ndarray) -> list[str]:
    """The words of the tokens that are found."""
    tokens = parsed(text).tokens
    return [text[a:b] for a, b in zip(tokens.start[found], tokens.end[found], strict=True)]


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
    ("phrase", "head"),
    [
        ("a small brown dog", "dog"),
        ("The two women", "woman"),
        ("the dog on the mat", "dog"),
        ("a pair of red shoes", "shoe"),
        ("a group of people in a park", "person"),
        ("a group of red squares", "square"),
        ("a stack of a number of old books", "book"),
        ("the sense of freedom", "sense"),
        ("a lot of", "lot"),
        ("a group. Of red squares", "group"),
        ("the word STOP", "word"),
        ("Nike shoes", "shoe"),
        ("a Dalmatian", "dalmatian"),
        ("street lights", "light"),
        ("two men's bikes", "bike"),
        ("an orange", "orange"),
        ("an orange heart", "heart"),
        ("the top left", "left"),
        ("two glass vases", "vase"),
        ("a large striped red circle", "circle"),
        ("日本", "日本"),
        ("it", None),
        ("red", None),
        ("riding", None),
        ("🙂", None),
        ("", None),
        (None, None),
    ],
)
def test_the_head_of_a_phrase(phrase, head):
    assert parsed(phrase).heads().to_pylist() == [head]


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("buses", "bus"),
        ("glasses", "glass"),
        ("leaves", "leaf"),
        ("gloves", "glove"),
        ("horses", "horse"),
        ("cookies", "cookie"),
        ("cherries", "cherry"),
        ("benches", "bench"),
        ("people", "person"),
        ("series", "series"),
        ("tennis", "tennis"),
        ("canvas", "canvas"),
        ("zorbles", "zorble"),
    ],
)
def test_a_noun_in_the_singular(plural, singular):
    assert parsed(f"the {plural}").heads().to_pylist() == [singular]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("A young girl rides a horse.", Kind.OBJECT, ["girl", "horse"]),
        ("A young girl rides a horse.", Kind.ACTION, ["rides"]),
        ("A young girl rides a horse.", Kind.ATTRIBUTE, ["young"]),
        ("a cat stares at a mouse", Kind.ACTION, ["stares"]),
        ("the street lights in the park", Kind.ACTION, []),
        ("A man is wearing a hat", Kind.ACTION, ["wearing"]),
        ("a car parked near two parked cars", Kind.ACTION, ["parked"]),
        ("a car parked near two parked cars", Kind.ATTRIBUTE, ["two", "parked"]),
        ("a running dog", Kind.ATTRIBUTE, ["running"]),
        ("a dog has a ball", Kind.ACTION, ["has"]),
        ("a dog has eaten a ball", Kind.ACTION, ["eaten"]),
        ("people play a play", Kind.ACTION, ["play"]),
        ("The sign says STOP in Paris", Kind.PROPER_NOUN, ["STOP", "Paris"]),
        ("a brown-haired boy in a T-shirt", Kind.OBJECT, ["boy", "T-shirt"]),
        ("a brown-haired boy in a T-shirt", Kind.ATTRIBUTE, ["brown-haired"]),
    ],
)
def test_the_class_of_each_word(text, kind, said):
    assert words(text, parsed(text).tokens.kind == kind) == said


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        pytest.param("dog", [0], id="one word has no edge"),
        pytest.param("a dog", [1, 1], id="a leaf has one"),
        pytest.param("a red dog on a mat", [1, 1, 3, 2, 1, 2], id="nouns"),
        pytest.param("A girl rides a horse.", [1, 2, 3, 1, 2, 1], id="a verb"),
        pytest.param("a cat and a dog", [1, 3, 1, 1, 2], id="joined"),
        pytest.param("a man is standing", [1, 2, 1, 2], id="an auxiliary"),
        pytest.param("Dogs run. Cats sleep.", [1, 2, 1, 1, 2, 1], id="two sentences"),
    ],
)
def test_edges_of_each_word_in_the_tree(text, degrees):
    assert parsed(text).tokens.degree.tolist() == degrees


def test_every_tree_is_one():
    texts = [
        "Riding a horse, a man who wears a very old hat smiles at two dogs and a cat.",
        "is is and and of of very very the the. which, that! running. There was slowly a big",
        "3.5 m of red cloth, blue silk; gone\nare the days? Yes",
    ]
    tokens = parsed(*texts).tokens
    above = tokens.head
    for _ in range(len(tokens)):
        above = tokens.head[above]
    assert (tokens.head[above] == above).all(), "every way up ends at a root"
    assert (tokens.text[above] == tokens.text).all()


def test_the_numbers_of_a_text():
    found = parsed("A girl rides a horse.", None, "A girl rides a horse.", "", "Wow!")
    assert found.count().tolist() == [6, 0, 6, 0, 2]
    assert found.count(Kind.OBJECT, Kind.ACTION).tolist() == [3, 0, 3, 0, 0]
    complexity = found.complexity(Kind.OBJECT)
    assert complexity[[0, 2]].tolist() == [2, 2]
    assert np.isnan(complexity[[1, 3]]).all()


def test_a_text_that_occurs_often_is_parsed_once():
    found = parsed(*["a dog"] * 1000, "a cat")
    assert found.texts == 2
    assert len(found.tokens) == 4


def test_places_are_characters_whatever_the_bytes():
    text = "  café\u200b 日本's 🙂, a\u00a0dog "
    assert words(text, np.full(len(parsed(text).tokens), True)) == [
        *("café", "\u200b", "日本's", "🙂", ",", "a", "dog"),
    ]


@pytest.mark.parametrize(
    ("text", "counts", "plural"),
    [
        ("two dogs", [2, None], [False, True]),
        ("12 men", [12, None], [False, True]),
        ("a dog", [None, None], [False, False]),
        ("3rd base", [None, None], [False, False]),
    ],
)
def test_numerals_and_plurals(text, counts, plural):
    tokens = parsed(text).tokens
    assert [None if np.isnan(count) else count for count in tokens.count] == counts
    assert tokens.plural.tolist() == plural


@pytest.mark.parametrize("text", ["x" * 10_000, "a b " * 5_000, "\x00\ud7ff\u200b", "'-'", "--"])
def test_odd_texts_are_parsed(text):
    found = parsed(text)
    assert found.count().sum() == len(found.tokens)


def test_nothing_is_parsed_to_nothing():
    for found in (parsed(), parsed(None), parsed("", None)):
        assert len(found.tokens) == 0
        assert found.heads().null_count == len(found.row)


def test_a_recipe_names_the_parser_and_its_lexicon():
    identity = parser_identity(CHUNKER)
    assert identity["name"] == "chunker"
    assert identity["version"].startswith("1+0.")


@pytest.mark.parametrize("words", [UNGROUNDABLE, ABSTRACT_NOUNS, EMPTY_LABELS, SCENE_NOUNS])
def test_lists_hold_each_word_once_and_normalised(words):
    assert len(set(words)) == len(words)
    assert normalised(pa.array(words)).to_pylist() == list(words)


def test_columns_in_chunks_are_words_too():
    chunks = pa.chunked_array([["Dogs"], ["a cat", None]])
    assert comparable(chunks).to_pylist() == ["dog", "cat", None]
