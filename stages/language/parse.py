"""What a parser of English answers, and the port behind which one can be exchanged."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Column, Flags, Numbers, Rows, flags, is_in

MEASURES = (
    *("group", "pair", "piece", "bunch", "couple", "row", "set", "lot", "number", "variety"),
    *("kind", "type", "sort", "slice", "stack", "pile", "herd", "flock", "line", "part", "series"),
)
"""Nouns that, before `of`, only measure out what the phrase names."""


class Kind(IntEnum):
    """The classes of FLD-5B's Table 3. It publishes no rules; ours: an object is a common noun, an
    attribute an adjective, a numeral or a participle before a noun, an action any other verb that
    is no auxiliary."""

    OTHER = 0
    OBJECT = 1
    ATTRIBUTE = 2
    ACTION = 3
    PROPER_NOUN = 4


@dataclass(frozen=True)
class Tokens:
    """The tokens of some texts, one entry per token, text after text."""

    text: Rows
    """Number of the text that the token is from."""
    start: Rows
    """Characters [start, end) of that text."""
    end: Rows
    lemma: pa.Array
    """Lower case; of a noun its singular."""
    kind: Rows
    plural: Flags
    count: Numbers
    """What a numeral counts, NaN for any other token."""
    tree: Callable[[], Rows]
    """Finds `head`, which few rules ask for."""
    phrase: Rows
    """Number of the noun phrase it stands in, -1: in none."""
    phrase_head: Flags
    """Is it the main noun of its noun phrase?"""

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def head(self) -> Rows:
        """Index of the token above it in the dependency tree; the root of a sentence is its own."""
        return self.tree()

    @property
    def degree(self) -> Rows:
        """Edges of each token in the dependency tree, both ways: a leaf has 1."""
        up = self.head != np.arange(len(self))
        return np.asarray(np.bincount(self.head[up], minlength=len(self)) + up)


class Language(Protocol):
    """A parser. `name` and `version` belong to a recipe, for all numbers depend on them."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def __hash__(self) -> int: ...

    def parse(self, texts: pa.Array) -> Tokens:
        """`texts`: strings without NULL."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A column of strings, each distinct one parsed once."""

    tokens: Tokens
    row: Rows
    """Number of the distinct text of each row, -1 for NULL."""
    texts: int
    """Distinct texts."""

    def count(self, *kinds: Kind) -> Numbers:
        """Tokens of these kinds in each row, of every kind without any; 0 for NULL."""
        counted = np.isin(self.tokens.kind, kinds) if kinds else np.full(len(self.tokens), True)
        return self.of_rows(np.bincount(self.tokens.text[counted], minlength=self.texts), 0)

    def complexity(self, kind: Kind) -> Numbers:
        """The highest degree of any token of the kind in each row, NaN where there is none."""
        highest = np.full(self.texts, np.nan)
        chosen = self.tokens.kind == kind
        degree = self.tokens.degree[chosen].astype(np.float64)
        np.fmax.at(highest, self.tokens.text[chosen], degree)
        return self.of_rows(highest, np.nan)

    def main_tokens(self) -> Rows:
        """Token of each row that is its main noun: the first of `nouns`; -1 where there is none."""
        nouns = self.nouns()
        text = self.tokens.text[nouns]
        first = np.flatnonzero(np.diff(text, prepend=-1))
        found = np.full(self.texts + 1, -1)
        found[text[first]] = nouns[first]
        return np.asarray(found[self.row])

    def heads(self) -> pa.Array:
        """Lemma of the main noun of each row, NULL where there is none."""
        main = self.main_tokens()
        return self.tokens.lemma.take(pa.array(main, mask=main < 0))

    def nouns(self) -> Rows:
        """Tokens that are heads of noun phrases, without those that only measure out the next, as
        `group` in `a group of dogs`."""
        tokens = self.tokens
        heads = np.flatnonzero(tokens.phrase_head)
        begins = np.minimum(heads + 2, max(len(tokens) - 1, 0))
        of = flags(pc.equal(tokens.lemma, "of"))[np.minimum(heads + 1, begins)]
        linked = of & (tokens.phrase[begins] == np.arange(1, len(heads) + 1))
        linked &= tokens.text[begins] == tokens.text[heads]
        measures = linked & is_in(tokens.lemma.take(pa.array(heads)), MEASURES)
        return np.asarray(heads[~measures])

    def per_row(self, tokens: Rows) -> tuple[Rows, Rows]:
        """These tokens, in ascending order, for every row that says them: its number and the
        token."""
        order = np.argsort(self.row, kind="stable")
        order = order[self.row[order] >= 0]
        first = np.searchsorted(self.tokens.text[tokens], self.row[order])
        count = np.searchsorted(self.tokens.text[tokens], self.row[order], side="right") - first
        place = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())
        return np.repeat(order, count), tokens[place]

    def of_rows(self, values: np.ndarray, null: float) -> Numbers:
        """A value per distinct text → one per row."""
        return np.append(values, null).astype(np.float64)[self.row]


class _Strings:
    """An Arrow array that is equal to any other with the same strings."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Strings) and bool(self.array.equals(other.array))

    def __hash__(self) -> int:
        return hash((len(self.array), self.array.nbytes, *self.array[:1].to_pylist()))


def parse(language: Language, strings: Column) -> Parsed:
    """Each distinct string is parsed once, whatever the number of rows."""
    whole = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    encoded = whole.dictionary_encode()
    row = pc.fill_null(pc.cast(encoded.indices, pa.int64()), -1)
    tokens = _tokens(language, _Strings(encoded.dictionary))
    return Parsed(tokens, row.to_numpy(), len(encoded.dictionary))


@lru_cache(maxsize=6)
def _tokens(language: Language, strings: _Strings) -> Tokens:
    """Judges of one shard ask about the same captions, and the same labels, one after the other."""
    return language.parse(strings.array)
