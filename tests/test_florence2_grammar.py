import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.florence2.grammar import loop_period, parse_answer
from stages.florence2.spans import phrase_spans

OUTPUTS = ["text", "boxes", "proposals", "phrases", "quads", "polygons", "boxes_or_polygons"]


def locations(*bins: int) -> str:
    return "".join(f"<loc_{bin}>" for bin in bins)


BOX, OTHER = locations(1, 2, 3, 4), locations(10, 20, 30, 40)
QUAD = locations(1, 1, 9, 1, 9, 5, 1, 5)
TRIANGLE = locations(0, 0, 10, 0, 10, 10)
ONE, TWO = (1, 2, 3, 4), (10, 20, 30, 40)
CORNERS, THREE = (1, 1, 9, 1, 9, 5, 1, 5), (0, 0, 10, 0, 10, 10)


@pytest.mark.parametrize(
    ("output", "written", "instances", "flags"),
    [
        pytest.param("boxes", f"car{BOX}cat{OTHER}", [("car", ONE), ("cat", TWO)], [], id="two"),
        pytest.param("boxes", f"car{BOX}{OTHER}", [("car", ONE), ("car", TWO)], [], id="shared"),
        pytest.param("boxes", "", [], [], id="nothing there"),
        pytest.param("boxes", f"café{BOX}", [("café", ONE)], [], id="accent"),
        pytest.param("boxes", f"日本{BOX}", [("日本", ONE)], [], id="another script"),
        pytest.param("boxes", f"a < b{BOX}", [("a < b", ONE)], [], id="less than"),
        pytest.param("boxes", f"two\nlines {BOX}", [("two\nlines", ONE)], [], id="newline"),
        pytest.param(
            "boxes", f"car{locations(1, 2)}cat{OTHER}", [("cat", TWO)],
            ["label_without_location", "stray_locations"], id="too few locations",
        ),
        pytest.param(
            "boxes", f"car{BOX}{locations(7)}cat{OTHER}", [("car", ONE), ("cat", TWO)],
            ["stray_locations"], id="fifth location",
        ),
        pytest.param(
            "boxes", f"{BOX}car{OTHER}", [("", ONE), ("car", TWO)],
            ["missing_label"], id="locations first",
        ),
        pytest.param(
            "boxes", f"car{locations(9, 2, 3, 4)}{OTHER}", [("car", TWO)],
            ["inverted_box"], id="inverted",
        ),
        pytest.param("boxes", f"car{locations(5, 5, 5, 5)}", [("car", (5,) * 4)], [], id="a point"),
        pytest.param("boxes", "car", [], ["label_without_location"], id="label alone"),
        pytest.param(
            "boxes", f"ca<sep>r{BOX}<poly>", [("car", ONE)],
            ["stray_tokens", "stray_tokens"], id="marks",
        ),
        pytest.param("boxes", f"<unk>car{BOX}", [("car", ONE)], ["stray_tokens"], id="unknown"),
        pytest.param("boxes", f"car{BOX}</s>cat{OTHER}", [("car", ONE)], [], id="after the end"),
        pytest.param("proposals", f"{BOX}{OTHER}", [("", ONE), ("", TWO)], [], id="proposals"),
        pytest.param("proposals", f"a{BOX}", [("", ONE)], ["unexpected_text"], id="named proposal"),
        pytest.param(
            "phrases", f"a man{BOX}{OTHER}a hat{BOX}",
            [("a man", ONE), ("a man", TWO), ("a hat", ONE)], [], id="phrases",
        ),
        pytest.param("quads", f"STOP{QUAD}", [("STOP", CORNERS)], [], id="quad"),
        pytest.param(
            "quads", f"STOP{locations(1, 2, 3, 4, 5, 6, 7)}GO{QUAD}", [("GO", CORNERS)],
            ["label_without_location", "stray_locations"], id="seven locations",
        ),
        pytest.param("polygons", TRIANGLE, [("", THREE)], [], id="bare polygon"),
        pytest.param(
            "polygons", f"{TRIANGLE}<sep>{QUAD}", [("", THREE, CORNERS)], [], id="two parts"
        ),
        pytest.param(
            "polygons", f"<poly>{TRIANGLE}</poly><poly>{QUAD}</poly>",
            [("", THREE), ("", CORNERS)], [], id="two polygons",
        ),
        pytest.param(
            "polygons", f"{TRIANGLE}{locations(3)}", [("", THREE)],
            ["stray_locations"], id="odd location",
        ),
        pytest.param("polygons", BOX, [], ["short_polygon"], id="two corners"),
        pytest.param(
            "boxes_or_polygons", f"car<poly>{TRIANGLE}</poly><poly>{QUAD}</poly>cat<poly>{QUAD}",
            [("car", THREE), ("car", CORNERS), ("cat", CORNERS)], [], id="named polygons",
        ),
        pytest.param("boxes_or_polygons", f"car{BOX}", [("car", ONE)], [], id="named box"),
        pytest.param(
            "boxes_or_polygons", f"car{BOX}cat<poly>{TRIANGLE}</poly>{OTHER}",
            [("car", ONE), ("cat", THREE), ("cat", TWO)], [], id="box beside polygon",
        ),
        pytest.param(
            "boxes_or_polygons", f"car<poly></poly>cat<poly>{TRIANGLE}</poly>", [("cat", THREE)],
            ["label_without_location"], id="empty polygon",
        ),
        pytest.param(
            "boxes_or_polygons", f"<poly>{TRIANGLE}</poly>", [("", THREE)],
            ["missing_label"], id="polygon without a name",
        ),
        pytest.param(
            "polygons", f"car<poly>{TRIANGLE}</poly><poly>{QUAD}</poly>",
            [("", THREE), ("", CORNERS)], ["unexpected_text"], id="named mask",
        ),
    ],
)  # fmt: skip
def test_what_is_whole_is_kept_and_what_is_cut_is_said(
    output, written, instances, flags, vocabulary, florence_tokenizer
):
    tokens = florence_tokenizer(f"{written}</s>").input_ids[:-1]
    answer = parse_answer(tokens, output, vocabulary, limit=1000)
    assert [(i.label, *i.parts) for i in answer.instances] == instances
    assert [flag.kind for flag in answer.flags] == flags
    assert not answer.truncated


@pytest.mark.parametrize(
    ("written", "text", "flags"),
    [
        pytest.param("A café, 日本 & a < b.", "A café, 日本 & a < b.", [], id="any text"),
        pytest.param("A dog.<pad><pad>", "A dog.", ["stray_tokens"], id="padding"),
        pytest.param(f"A {BOX}dog", "A dog", ["stray_tokens"], id="locations"),
        pytest.param(f"A dog{BOX}", "A dog", [], id="the region asked about"),
        pytest.param("", "", [], id="nothing"),
    ],
)
def test_a_caption_is_its_words(written, text, flags, vocabulary, florence_tokenizer):
    tokens = florence_tokenizer(f"{written}</s>").input_ids[:-1]
    answer = parse_answer(tokens, "text", vocabulary, limit=1000)
    assert (answer.text, [flag.kind for flag in answer.flags]) == (text, flags)
    assert answer.instances == ()


def test_a_character_that_lacks_bytes_is_cut_and_its_neighbours_stay(vocabulary):
    car, bicycle = vocabulary.words_to_ids("car"), vocabulary.words_to_ids("🚲")
    box = [vocabulary.first_loc + bin for bin in ONE]
    tokens = [*bicycle[:-1], *car, *bicycle[:-1], *box, vocabulary.eos]
    answer = parse_answer(tokens, "boxes", vocabulary, limit=100)
    assert [(i.label, *i.parts) for i in answer.instances] == [("car", ONE)]
    assert [flag.kind for flag in answer.flags] == ["broken_character"]


def test_positions_point_at_the_tokens_of_the_label_and_of_the_place(
    vocabulary, florence_tokenizer
):
    tokens = florence_tokenizer(f"red circle{BOX}{OTHER}star{BOX}").input_ids
    first, second, third = parse_answer(tokens, "boxes", vocabulary, limit=100).instances
    words = [tokens[i] for i in first.label_tokens]
    assert vocabulary.ids_to_words(words) == "red circle"
    assert [vocabulary.bin_of(tokens[i]) for i in second.location_tokens] == list(TWO)
    assert first.label_tokens == second.label_tokens
    assert (first.start, second.start, third.start) == (
        1,
        second.location_tokens[0],
        third.label_tokens[0],
    )


@pytest.mark.parametrize(
    ("output", "written", "instances", "flags"),
    [
        pytest.param("boxes", f"car{BOX}", [ONE], ["truncated"], id="at a whole box"),
        pytest.param(
            "boxes", f"car{BOX}{locations(1, 2)}", [ONE],
            ["stray_locations", "truncated"], id="within a box",
        ),
        pytest.param(
            "boxes", f"car{BOX}a", [ONE],
            ["label_without_location", "truncated"], id="within a label",
        ),
        pytest.param("boxes", f"{BOX * 4}", [ONE] * 4, ["missing_label", "loop", "truncated"],
                     id="looping"),
        pytest.param(
            "polygons", f"<poly>{TRIANGLE}</poly><poly>{QUAD}", [THREE],
            ["open_polygon", "truncated"], id="within a polygon",
        ),
        pytest.param(
            "polygons", f"<poly>{TRIANGLE}</poly><poly>{QUAD}<sep>", [THREE],
            ["open_polygon", "truncated"], id="between the parts of a polygon",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["forced", "missing"])
def test_an_answer_that_meets_the_limit_is_truncated(
    output, written, instances, flags, ending, vocabulary, florence_tokenizer
):
    tokens = florence_tokenizer(written).input_ids
    tokens = tokens if ending == "forced" else tokens[:-1]
    answer = parse_answer(tokens, output, vocabulary, limit=len(tokens))
    assert answer.truncated
    assert [i.parts[0] for i in answer.instances] == instances
    assert [flag.kind for flag in answer.flags] == flags


def test_a_loop_is_known_by_its_period():
    assert loop_period([7, 1, 2, 3, 1, 2, 3, 1, 2, 3]) == 3
    assert loop_period([1, 2, 3, 1, 2, 3]) is None
    assert loop_period([]) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_stream_of_tokens_raises(vocabulary, data):
    marks = [vocabulary.poly, vocabulary.end_poly, vocabulary.sep, vocabulary.eos, vocabulary.bos]
    location = st.integers(vocabulary.first_loc, vocabulary.first_loc + 999)
    any_token = st.integers(-2, vocabulary.size + 40)
    tokens = data.draw(st.lists(st.one_of(location, st.sampled_from(marks), any_token)))
    output = data.draw(st.sampled_from(OUTPUTS))
    limit = data.draw(st.integers(1, 60))
    answer = parse_answer(tokens, output, vocabulary, limit)
    for instance in answer.instances:
        written = [vocabulary.bin_of(tokens[i]) for i in instance.location_tokens]
        assert written == [bin for part in instance.parts for bin in part]
        assert all(vocabulary.is_text(tokens[i]) for i in instance.label_tokens)


bins = st.integers(0, 999)
boxes = st.tuples(bins, bins, bins, bins).map(
    lambda b: (*map(min, b[:2], b[2:]), *map(max, b[:2], b[2:]))
)
labels = st.sampled_from(["car", "a man in a hat", "café", "日本", "x < y"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(labels, st.lists(boxes, min_size=1, max_size=3)), max_size=5),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["<unk>", "<od>", "<sep>", "<and>"]))),
)
def test_every_whole_instance_survives_stray_tokens(
    vocabulary, florence_tokenizer, written, strays
):
    expected = [(label, box) for label, places in written for box in places]
    tokens = [0]
    for label, places in written:
        tokens += vocabulary.words_to_ids(label)
        tokens += [vocabulary.first_loc + bin for box in places for bin in box]
    for place, stray in strays:
        tokens.insert(1 + place % len(tokens), florence_tokenizer.convert_tokens_to_ids(stray))
    answer = parse_answer([*tokens, 2], "boxes", vocabulary, limit=1000)
    assert [(i.label, *i.parts) for i in answer.instances] == expected
    assert {flag.kind for flag in answer.flags} <= {"stray_tokens"}


@pytest.mark.parametrize(
    ("caption", "phrases", "spans"),
    [
        pytest.param("A man and a man", ["A man", "a man"], [(0, 5), (10, 15)], id="twice"),
        pytest.param(
            "A man in a hat", ["A man in a hat", "a hat"], [(0, 14), (9, 14)], id="nested"
        ),
        pytest.param("a mantle, a man", ["a man"], [(10, 15)], id="whole words"),
        pytest.param("Two  red\ncars", ["two red cars"], [(0, 13)], id="case and spaces"),
        pytest.param("A dog.", ["a cat", "dog"], [None, (2, 5)], id="absent"),
        pytest.param("C++ (2*3)", ["c++", "(2*3)"], [(0, 3), (4, 9)], id="signs"),
        pytest.param("un café", ["café", ""], [(3, 7), None], id="accent, empty"),
        pytest.param("elephants", ["elephant"], [(0, 8)], id="part of a word"),
    ],
)
def test_phrases_are_found_in_their_caption(caption, phrases, spans):
    assert phrase_spans(caption, phrases) == spans
