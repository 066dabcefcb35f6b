"""Answers written as Florence-2 was taught to write them, and damaged; one per seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from stages.florence2.prompts import Output
from stages.florence2.vocabulary import Vocabulary

LABELLED = ("boxes", "phrases", "quads", "boxes_or_polygons")
OUTPUTS: tuple[Output, ...] = (
    "text", "boxes", "proposals", "phrases", "quads", "polygons", "boxes_or_polygons",
)  # fmt: skip
WORDS = (
    "a", "the", "red", "car", "man", "STOP", "&amp;", "don't", "3.50", ",",
    "café", "日本", "🚲", "é", "<", "<loc>", "two\nlines",
)  # fmt: skip
PLAIN_WORDS = WORDS[:10]


@dataclass(frozen=True, slots=True)
class Place:
    """What one instance should read as."""

    label: str
    shape: str
    parts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A label with its places, and the tokens that write it."""

    places: tuple[Place, ...]
    tokens: tuple[int, ...]


class Writer:
    """Writes answers as the model was taught to, from one case's random numbers."""

    def __init__(self, vocabulary: Vocabulary, seed: str, words: Sequence[str] = WORDS) -> None:
        self.known = vocabulary
        self.label_words = words
        self.random = random.Random(seed)
        self.output: Output = self.random.choice(OUTPUTS[1:])

    def answer(self, most: int = 5) -> list[Written]:
        drawn = self.output == "boxes_or_polygons" and self.random.random() < 0.7
        return [self.group(drawn) for _ in range(self.random.randrange(most + 1))]

    def group(self, drawn: bool) -> Written:
        label = self.words() if self.output in LABELLED else ""
        places: list[Place] = []
        tokens = self.known.words_to_ids(label)
        polygons = self.output == "polygons" or (drawn and self.random.random() < 0.8)
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            place = self.polygon(label) if polygons else self.place(label)
            places.append(place)
            tokens += self.polygon_tokens(place) if polygons else self.locations(place.parts[0])
        return Written(tuple(places), tuple(tokens))

    def words(self) -> str:
        return " ".join(self.random.choices(self.label_words, k=self.random.randint(1, 3)))

    def place(self, label: str) -> Place:
        if self.output == "quads":
            return Place(label, "quad", (self.bins(8),))
        x0, y0, x1, y1 = self.bins(4)
        return Place(label, "box", ((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)),))

    def polygon(self, label: str) -> Place:
        parts = self.random.choice((1, 1, 2))
        return Place(
            label,
            "polygon",
            tuple(self.bins(2 * self.random.randint(3, 6)) for _ in range(parts)),
        )

    def bins(self, count: int) -> tuple[int, ...]:
        return tuple(self.random.randrange(1000) for _ in range(count))

    def locations(self, bins: tuple[int, ...]) -> list[int]:
        return [self.known.first_loc + bin for bin in bins]

    def polygon_tokens(self, place: Place) -> list[int]:
        tokens = [self.known.poly]
        for number, part in enumerate(place.parts):
            tokens += [self.known.sep] * (number > 0) + self.locations(part)
        return [*tokens, self.known.end_poly]

    def token(self, end: bool = False) -> int:
        """Any kind of token, `</s>` only where asked for."""
        known, random = self.known, self.random
        marks = [known.poly, known.end_poly, known.sep, known.bos, known.pad]
        token = random.choice(
            (
                known.first_loc + random.randrange(1000),
                known.first_loc + random.randrange(1000),
                random.choice(marks),
                random.randrange(known.size),
                random.choice((-1, known.size + random.randrange(50), 2**40)),
                known.eos,
            )
        )
        return token if end or token != known.eos else known.sep

    def damaged(self, tokens: tuple[int, ...]) -> list[int]:
        """A few tokens deleted, replaced, inserted, doubled or moved."""
        hurt = list(tokens)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(hurt) + 1)
            to = min(len(hurt), at + self.random.randint(1, 3))
            hurt[at:to] = self.random.choice(
                (
                    [],
                    [self.token()],
                    [*hurt[at:to], self.token()],
                    hurt[at:to] * 2,
                    hurt[at:to][::-1],
                )
            )
        return hurt
