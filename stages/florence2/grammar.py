"""Token ids of an answer → its text or its places; whatever is malformed is cut, and said so."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.florence2.groups import Group, Kind, Run, box_groups, polygon_groups, token_runs
from stages.florence2.prompts import Output
from stages.florence2.vocabulary import Vocabulary

Shape = Literal["box", "quad", "polygon"]
UNLABELLED = ("proposals", "polygons")
REPEATS_OF_A_LOOP = 3
BROKEN = "\ufffd"
"""What bytes that are no whole character decode to."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One place and what is there.

    `parts` are bins: x0 y0 x1 y1 of a box, four corners of a quad, x y x y … of each polygon.
    `label` is "" where none was written. The `…_tokens` are positions in the answer; `start` is
    the position where the model began this place, or could have ended the list.
    """

    label: str
    shape: Shape
    parts: tuple[tuple[int, ...], ...]
    label_tokens: tuple[int, ...]
    location_tokens: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True)
class Flag:
    """Something cut from an answer: its kind, the position of its token, and what it was."""

    kind: str
    position: int
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """All that is whole in one answer; `truncated` where the limit came before its end."""

    text: str
    text_tokens: tuple[int, ...]
    instances: tuple[Instance, ...]
    flags: tuple[Flag, ...]
    truncated: bool


def parse_answer(
    tokens: Sequence[int],
    output: Output,
    vocabulary: Vocabulary,
    limit: int,
    broken: bool = False,
) -> Answer:
    """Never raises. `tokens` are the generated ones, without the decoder's start token.

    An end token at position `limit - 1` was forced there, so that answer is truncated too. So is a
    `broken` one, after whose tokens the model computed numbers that are not finite.
    """
    end = next((i for i, token in enumerate(tokens) if token == vocabulary.eos), len(tokens))
    truncated = end >= min(limit - 1, len(tokens))
    reader = _Reader(tokens[:end], vocabulary)
    if output == "text":
        reader.tokens = _without_region(reader.tokens, vocabulary)
        text, text_tokens = reader.text()
        instances: tuple[Instance, ...] = ()
    else:
        text, text_tokens = "", ()
        instances = tuple(reader.places(output))
    if truncated:
        instances = reader.without_open_polygon(instances)
        if broken:
            reader.flag_not_finite(end)
        else:
            reader.flag_limit(limit)
    return Answer(text, text_tokens, instances, tuple(reader.flags), truncated)


def _without_region(tokens: Sequence[int], vocabulary: Vocabulary) -> Sequence[int]:
    """Florence-2 ends what it says of a region with the region itself, which is no damage."""
    end = len(tokens)
    while end and vocabulary.bin_of(tokens[end - 1]) is not None:
        end -= 1
    return tokens[:end] if len(tokens) - end == 4 else tokens


class _Reader:
    """One answer being read; `flags` grows as things are cut, each once."""

    def __init__(self, tokens: Sequence[int], vocabulary: Vocabulary) -> None:
        self.tokens = tokens
        self.vocabulary = vocabulary
        self.flags: dict[Flag, None] = {}

    def text(self) -> tuple[str, tuple[int, ...]]:
        runs = self._runs(Kind.TEXT)
        positions = tuple(itertools.chain(*(run.positions for run in runs)))
        return self._words(positions), positions

    def places(self, output: Output) -> Iterator[Instance]:
        drawn = output == "boxes_or_polygons" and self.vocabulary.poly in self.tokens
        if output == "polygons" or drawn:
            runs = self._runs(Kind.TEXT, Kind.LOCATION, Kind.POLY, Kind.END_POLY, Kind.SEP)
            for group in polygon_groups(runs):
                if drawn and group.parts and not group.drawn:
                    yield from self._boxes(group, output)
                else:
                    yield from self._polygon(group, output)
        else:
            for group in box_groups(self._runs(Kind.TEXT, Kind.LOCATION)):
                yield from self._boxes(group, output)

    def without_open_polygon(self, instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
        """A polygon that the limit cut lacks corners, or parts, that nothing else shows."""
        if not instances or instances[-1].shape != "polygon":
            return instances
        positions = instances[-1].location_tokens
        marks = (self.vocabulary.poly, self.vocabulary.end_poly)
        after = self.tokens[positions[-1] + 1 :]
        if any(token in marks or self.vocabulary.is_text(token) for token in after):
            return instances
        self._flag("open_polygon", positions[0], self._transcript(positions))
        return instances[:-1]

    def flag_limit(self, limit: int) -> None:
        if period := loop_period(self.tokens):
            repeated = range(len(self.tokens) - period, len(self.tokens))
            self._flag("loop", repeated[0], self._transcript(repeated))
        self._flag("truncated", len(self.tokens), f"limit of {limit} tokens")

    def flag_not_finite(self, position: int) -> None:
        self._flag(
            "not_finite",
            position,
            "the model computed numbers that are not finite, as in too narrow a dtype",
        )

    def _runs(self, *expected: Kind) -> Iterator[Run]:
        """Runs of the expected kinds; the others are cut."""
        for run in token_runs(self.tokens, self.vocabulary, expected):
            if run.kind is Kind.STRAY:
                self._flag("stray_tokens", run.positions[0], self._transcript(run.positions))
            else:
                yield run

    def _boxes(self, group: Group, output: Output) -> Iterator[Instance]:
        unit = 8 if output == "quads" else 4
        label = self._label(group, output)
        positions = list(itertools.chain(*group.parts))
        if label and len(positions) < unit and not group.labelled_before:
            self._flag("label_without_location", group.label[0], label)
        whole = len(positions) - len(positions) % unit
        if rest := positions[whole:]:
            self._flag("stray_locations", rest[0], self._transcript(rest))
        for first in range(0, whole, unit):
            ours = tuple(positions[first : first + unit])
            bins = self._bins(ours)
            if unit == 4 and (bins[0] > bins[2] or bins[1] > bins[3]):
                self._flag("inverted_box", ours[0], f"{label}{self._transcript(ours)}")
                continue
            start = group.start if first == 0 else ours[0]
            shape: Shape = "quad" if unit == 8 else "box"
            yield Instance(label, shape, (bins,), self._scored(group, label), ours, start)

    def _polygon(self, group: Group, output: Output) -> Iterator[Instance]:
        label = self._label(group, output)
        kept: list[list[int]] = []
        for part in group.parts:
            if len(part) < 6:
                self._flag("short_polygon", part[0], self._transcript(part))
                continue
            if len(part) % 2:
                self._flag("stray_locations", part[-1], self._transcript(part[-1:]))
            kept.append(part[: len(part) - len(part) % 2])
        if kept:
            parts = tuple(self._bins(part) for part in kept)
            locations = tuple(itertools.chain(*kept))
            scored = self._scored(group, label)
            yield Instance(label, "polygon", parts, scored, locations, group.start)
        elif label and not group.labelled_before:
            self._flag("label_without_location", group.label[0], label)

    def _label(self, group: Group, output: Output) -> str:
        label = self._words(group.label)
        if output in UNLABELLED:
            if label:
                self._flag("unexpected_text", group.label[0], label)
            return ""
        if group.parts and not label:
            self._flag("missing_label", group.start, "")
        return label

    def _scored(self, group: Group, label: str) -> tuple[int, ...]:
        return tuple(group.label) if label else ()

    def _bins(self, positions: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.tokens[i] - self.vocabulary.first_loc for i in positions)

    def _words(self, positions: Sequence[int]) -> str:
        words = self.vocabulary.ids_to_words([self.tokens[i] for i in positions])
        if BROKEN in words:
            self._flag("broken_character", positions[0], words)
        return words.replace(BROKEN, "").strip()

    def _transcript(self, positions: Sequence[int]) -> str:
        return self.vocabulary.ids_to_transcript([self.tokens[i] for i in positions])

    def _flag(self, kind: str, position: int, detail: str) -> None:
        self.flags[Flag(kind, position, detail)] = None


def loop_period(tokens: Sequence[int]) -> int | None:
    """Length of the run of tokens that the end of the answer repeats at least three times."""
    for period in range(1, len(tokens) // REPEATS_OF_A_LOOP + 1):
        tail = tokens[-period * REPEATS_OF_A_LOOP :]
        if all(tail[i] == tail[i % period] for i in range(len(tail))):
            return period
    return None
