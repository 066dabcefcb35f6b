"""Thousands of answers, made up, damaged, cut and random, each known by its number.

A few seconds' worth by default; for more of them:

    GRAMMAR_CASES=100000 pytest tests/test_florence2_grammar_cases.py
"""

import os
import re
from collections import Counter
from collections.abc import Iterator

from written_answers import OUTPUTS, Place, Writer, Written

from stages.florence2.grammar import BROKEN, Answer, Instance, parse_answer
from stages.florence2.spans import phrase_spans
from stages.florence2.vocabulary import Vocabulary

CASES = int(os.environ.get("GRAMMAR_CASES", "6000"))
PROPERTIES = 6
FAR = 10_000


def cases(vocabulary: Vocabulary, name: str) -> Iterator[tuple[Writer, int]]:
    for number in range(CASES // PROPERTIES):
        yield Writer(vocabulary, f"{name} {number}"), number


def tokens_of(groups: list[Written], known: Vocabulary) -> list[int]:
    return [known.bos, *(token for group in groups for token in group.tokens)]


def read(instances: tuple[Instance, ...]) -> list[Place]:
    return [Place(i.label, i.shape, i.parts) for i in instances]


def places_of(groups: list[Written]) -> list[Place]:
    return [place for group in groups for place in group.places]


def assert_sound(answer: Answer, tokens: list[int], known: Vocabulary) -> None:
    """Each instance is made of its own tokens, and whatever is in none has a flag."""
    used: list[int] = []
    for instance in answer.instances:
        bins = [known.bin_of(tokens[i]) for i in instance.location_tokens]
        assert bins == [bin for part in instance.parts for bin in part]
        words = known.ids_to_words([tokens[i] for i in instance.label_tokens])
        assert words.replace(BROKEN, "").strip() == instance.label
        assert instance.start <= instance.location_tokens[0]
        used += instance.location_tokens
    assert used == sorted(set(used))
    end = tokens.index(known.eos) if known.eos in tokens else len(tokens)
    kept = {*used, *(i for place in answer.instances for i in place.label_tokens)}
    assert_all_told(answer, tokens[:end], kept | set(answer.text_tokens), known)


def assert_all_told(answer: Answer, tokens: list[int], kept: set[int], known: Vocabulary) -> None:
    """Every location that is in no instance is in a flag, and none that is."""
    lost = Counter(
        bin
        for position, token in enumerate(tokens)
        if position not in kept and (bin := known.bin_of(token)) is not None
    )
    details = (flag.detail for flag in answer.flags if flag.kind not in ("loop", "truncated"))
    told = Counter(int(bin) for detail in details for bin in re.findall(r"<loc_(\d+)>", detail))
    assert told == lost


def test_answers_as_taught_are_read_whole_and_without_a_flag(vocabulary):
    for writer, number in cases(vocabulary, "whole"):
        groups = writer.answer()
        tokens = [*tokens_of(groups, vocabulary), vocabulary.eos]
        answer = parse_answer(tokens, writer.output, vocabulary, FAR)
        assert read(answer.instances) == places_of(groups), number
        assert (answer.flags, answer.truncated) == ((), False), number
        assert_sound(answer, tokens, vocabulary)


def test_a_cut_answer_yields_what_stands_whole_before_the_cut(vocabulary):
    for writer, number in cases(vocabulary, "cut"):
        groups = writer.answer()
        tokens = tokens_of(groups, vocabulary)
        tokens = tokens[: writer.random.randint(1, len(tokens))]
        answer = parse_answer(tokens, writer.output, vocabulary, len(tokens) + 1)
        assert read(answer.instances) == whole_before(groups, len(tokens), vocabulary), number
        assert answer.truncated, number
        assert answer.flags[-1].kind == "truncated", number
        assert_sound(answer, tokens, vocabulary)


def whole_before(groups: list[Written], length: int, known: Vocabulary) -> list[Place]:
    """The places whose last token is among the first `length`."""
    whole, at = [], 1
    for group in groups:
        at += len(group.tokens) - sum(cost(place) for place in group.places)
        for place in group.places:
            at += cost(place)
            if at <= length:
                whole.append(place)
    return whole


def cost(place: Place) -> int:
    """Tokens of a place: its locations, and of a polygon the marks around and between."""
    marks = len(place.parts) + 1 if place.shape == "polygon" else 0
    return sum(map(len, place.parts)) + marks


def test_damage_to_one_label_leaves_its_neighbours_as_they_are(vocabulary):
    for writer, number in cases(vocabulary, "damage"):
        groups = [*writer.answer(3), writer.group(drawn=False), *writer.answer(3)]
        at = writer.random.randrange(len(groups))
        hurt = writer.damaged(groups[at].tokens)
        # Text at its end would belong to the next label, whoever reads it.
        while hurt and vocabulary.bin_of(hurt[-1]) is None:
            hurt.pop()
        # And where boxes and polygons are mixed, what is at its beginning to the label before.
        while writer.output == "boxes_or_polygons" and hurt and not begins(hurt[0], vocabulary):
            hurt.pop(0)
        before, after = tokens_of(groups[:at], vocabulary), tokens_of(groups[at + 1 :], vocabulary)
        tokens = [*before, *hurt, *after[1:], vocabulary.eos]
        answer = parse_answer(tokens, writer.output, vocabulary, FAR)
        places = read(answer.instances)
        first, last = places_of(groups[:at]), places_of(groups[at + 1 :])
        assert places[: len(first)] == first, number
        # Boxes without labels stand in one row: after a location too few they are all shifted.
        if writer.output != "proposals":
            assert places[len(first) :][-len(last) or len(places) :] == last, number
        assert_sound(answer, tokens, vocabulary)


def begins(token: int, known: Vocabulary) -> bool:
    return token == known.poly or known.is_text(token)


def test_a_loop_yields_what_came_before_it_and_is_told(vocabulary):
    for writer, number in cases(vocabulary, "loop"):
        groups, again = writer.answer(3), writer.group(drawn=False)
        times = writer.random.randint(3, 6)
        tokens = [*tokens_of(groups, vocabulary), *again.tokens * times]
        answer = parse_answer([*tokens, vocabulary.eos], writer.output, vocabulary, len(tokens) + 1)
        places = read(answer.instances)
        assert places == [*places_of(groups), *again.places * times], number
        assert [flag.kind for flag in answer.flags] == ["loop", "truncated"], number


def test_any_tokens_at_all_are_read_without_an_exception(vocabulary):
    for writer, number in cases(vocabulary, "any"):
        tokens = [writer.token(end=number % 5 == 0) for _ in range(writer.random.randrange(60))]
        output = OUTPUTS[number % len(OUTPUTS)]
        limit = writer.random.randint(1, 80)
        answer = parse_answer(tokens, output, vocabulary, limit)
        assert answer.truncated or vocabulary.eos in tokens
        assert all(place.shape == "polygon" or len(place.parts) == 1 for place in answer.instances)
        if output != "text":
            assert_sound(answer, tokens, vocabulary)


def test_phrases_point_at_themselves_in_their_caption(vocabulary):
    for writer, number in cases(vocabulary, "spans"):
        words = [*writer.random.sample(range(100, 1000), 12)]
        caption = " ".join(f"w{word}" for word in words) + "."
        starts = sorted(writer.random.sample(range(12), writer.random.randint(1, 5)))
        ends = [*starts[1:], 12]
        phrases = [" ".join(f"w{w}" for w in words[a:b]) for a, b in zip(starts, ends, strict=True)]
        written = [(phrase, writer.place(phrase)) for phrase in phrases]
        tokens = [vocabulary.bos]
        for phrase, place in written:
            tokens += [*vocabulary.words_to_ids(phrase), *writer.locations(place.parts[0])]
        unit = "quads" if writer.output == "quads" else "phrases"
        answer = parse_answer([*tokens, vocabulary.eos], unit, vocabulary, FAR)
        spans = phrase_spans(caption, (instance.label for instance in answer.instances))
        assert [caption[slice(*span)] if span else None for span in spans] == phrases, number
