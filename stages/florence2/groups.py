"""The first two steps of reading an answer: tokens → runs of one kind → a label and its places."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from stages.florence2.vocabulary import Vocabulary


class Kind(Enum):
    """What a token is to the grammar."""

    TEXT = "text"
    LOCATION = "location"
    POLY = "<poly>"
    END_POLY = "</poly>"
    SEP = "<sep>"
    STRAY = "stray"


@dataclass(frozen=True, slots=True)
class Run:
    """Positions of tokens of one kind in a row."""

    kind: Kind
    positions: tuple[int, ...]


@dataclass(slots=True)
class Group:
    """Positions of a label and of the locations after it: boxes in a row, or a polygon's parts.

    `labelled_before`: an earlier group has the same label, written once for both. `drawn`:
    `<poly>` stands before the locations, or `</poly>` after them.
    """

    label: list[int] = field(default_factory=list)
    parts: list[list[int]] = field(default_factory=list)
    labelled_before: bool = False
    drawn: bool = False

    @property
    def start(self) -> int:
        label = () if self.labelled_before else self.label
        return next(itertools.chain(label, *self.parts))


def token_runs(
    tokens: Sequence[int], vocabulary: Vocabulary, expected: Iterable[Kind]
) -> Iterator[Run]:
    """All positions but a leading `<s>`; kinds that are not expected are STRAY."""
    allowed = frozenset(expected)
    kinds = [_kind(token, vocabulary) for token in tokens]
    kinds = [kind if kind in allowed else Kind.STRAY for kind in kinds]
    start = 1 if tokens and tokens[0] == vocabulary.bos else 0
    for kind, positions in itertools.groupby(range(start, len(kinds)), key=lambda i: kinds[i]):
        yield Run(kind, tuple(positions))


def _kind(token: int, vocabulary: Vocabulary) -> Kind:
    if vocabulary.is_text(token):
        return Kind.TEXT
    if vocabulary.bin_of(token) is not None:
        return Kind.LOCATION
    marks = {
        vocabulary.poly: Kind.POLY,
        vocabulary.end_poly: Kind.END_POLY,
        vocabulary.sep: Kind.SEP,
    }
    return marks.get(token, Kind.STRAY)


def box_groups(runs: Iterable[Run]) -> Iterator[Group]:
    """Each label with all locations up to the next label."""
    group = Group()
    for run in runs:
        if run.kind is Kind.LOCATION:
            group.parts.append(list(run.positions))
        elif group.parts:
            yield group
            group = Group(list(run.positions))
        else:
            group.label.extend(run.positions)
    if group.label or group.parts:
        yield group


def polygon_groups(runs: Iterable[Run]) -> Iterator[Group]:
    """Each polygon with its label: `<poly>` and `</poly>` end one, `<sep>` ends a part of it.

    Whatever stands between two pieces of text, the second is another label: an empty polygon
    does not join its label to the next.
    """
    group, before = Group(), Kind.POLY
    for run in runs:
        if run.kind is Kind.LOCATION:
            if before is not Kind.LOCATION:
                group.parts.append([])
            group.parts[-1].extend(run.positions)
        elif run.kind is Kind.TEXT and before is Kind.TEXT:
            group.label.extend(run.positions)
        elif run.kind is not Kind.SEP:
            group.drawn |= run.kind is Kind.END_POLY
            if group.parts or run.kind is Kind.TEXT:
                yield group
                group = _after(group, run)
            group.drawn = run.kind is Kind.POLY
        before = run.kind
    yield group


def _after(group: Group, run: Run) -> Group:
    """The group that begins with a run of text, or with a mark that ends a polygon."""
    if run.kind is Kind.TEXT:
        return Group(list(run.positions))
    return Group(group.label, labelled_before=bool(group.label))
