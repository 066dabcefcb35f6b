"""Texts → words and marks with their places, all texts at once."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Flags, Rows, is_in

_SPACE, _WORD, _MARK = 0, 1, 2
_INNER = [ord(mark) for mark in "'\N{RIGHT SINGLE QUOTATION MARK}-"]
_ENDS = [ord(mark) for mark in ".!?"]
_BETWEEN = "\n"


@dataclass(frozen=True)
class Words:
    """One entry per token, text after text; `sentence` numbers all sentences of all texts."""

    text: Rows
    start: Rows
    end: Rows
    word: pa.Array
    sentence: Rows

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def begins(self) -> Flags:
        """Is it the first token of its sentence?"""
        return np.asarray(np.diff(self.sentence, prepend=-1) != 0)

    @cached_property
    def ends(self) -> Flags:
        """Is it the last token of its sentence?"""
        return np.asarray(np.roll(self.begins, -1))

    @cached_property
    def first(self) -> Rows:
        """The first token of the sentence that each is in."""
        return np.asarray(np.flatnonzero(self.begins)[np.cumsum(self.begins) - 1])

    @cached_property
    def distinct(self) -> pa.DictionaryArray:
        """Each distinct word once, and which of them each token is."""
        return self.word.dictionary_encode()

    def among(self, words: Iterable[str]) -> Flags:
        """Is the token, as written, one of these words?"""
        known = np.append(is_in(self.distinct.dictionary, words), False)
        return np.asarray(known[self.distinct.indices.to_numpy()])


def split(texts: pa.Array) -> Words:
    """`texts`: strings without NULL. Places are characters. A token is a word with its inner
    hyphens and apostrophes, or one mark."""
    strings = texts.to_pylist()
    joined = _BETWEEN.join(strings)
    codes = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32)
    lengths = pc.utf8_length(texts).to_numpy().astype(np.int64)
    place = np.cumsum(lengths + len(_BETWEEN)) - lengths - len(_BETWEEN)
    kind = _kinds(codes)
    told, edge = kind != _SPACE, np.ones(len(kind) + 1, dtype=bool)
    edge[1:-1] = (kind[1:] != kind[:-1]) | (kind[1:] == _MARK)
    start, end = np.flatnonzero(told & edge[:-1]), np.flatnonzero(told & edge[1:]) + 1
    word, stops = _sliced(joined, codes, told, start, end), np.isin(codes[start], _ENDS)
    text = np.repeat(
        np.arange(len(place)), np.diff(np.searchsorted(start, place), append=len(start))
    )
    start, end = start - place[text], end - place[text]
    return Words(text, start, end, word, _sentences(text, start, end, stops))


def _kinds(codes: np.ndarray) -> np.ndarray:
    """Of each character; a hyphen or an apostrophe between two letters belongs to the word."""
    table = np.zeros(codes.max(initial=0) + 1, dtype=np.uint8)
    table[codes] = 1
    distinct = np.flatnonzero(table)
    table[distinct] = [_kind(chr(code)) for code in distinct.tolist()]
    kind = table[codes]
    marks = np.flatnonzero(kind[1:-1] == _MARK) + 1
    inner = marks[(kind[marks - 1] == _WORD) & (kind[marks + 1] == _WORD)]
    kind[inner[np.isin(codes[inner], _INNER)]] = _WORD
    return np.asarray(kind)


def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    word = character == "_" or unicodedata.category(character)[0] in "LMN"
    return _WORD if word else _MARK


def _sliced(joined: str, codes: np.ndarray, told: Flags, start: Rows, end: Rows) -> pa.Array:
    """The pieces [start, end) of the text, which are all that is `told` of it."""
    sizes, written = end - start, told
    if not joined.isascii():
        width = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000).astype(np.int64)
        upto = np.append(0, np.cumsum(width))
        sizes, written = upto[end] - upto[start], np.repeat(told, width)
    content = np.frombuffer(joined.encode(), dtype=np.uint8)[written]
    offsets = np.append(0, np.cumsum(sizes)).astype(np.int32)
    return pa.StringArray.from_buffers(len(start), pa.py_buffer(offsets), pa.py_buffer(content))


def _sentences(text: Rows, start: Rows, end: Rows, stops: Flags) -> Rows:
    """A sentence ends with its mark and the space after it, so not within `3.5`, and with its
    text."""
    if not len(text):
        return np.empty(0, dtype=np.int64)
    closed = stops[:-1] & (start[1:] > end[:-1])
    return np.concatenate([[0], np.cumsum(closed | (text[1:] != text[:-1]))])
