"""Texts → words and marks with their places, all texts at once."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from schemas.columns import Flags, Rows, is_in

_SPACE, _WORD, _MARK = 0, 1, 2
_INNER = [ord(mark) for mark in "'\N{RIGHT SINGLE QUOTATION MARK}-"]
_ENDS = (".", "!", "?")
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
    lengths = np.array([len(text) for text in strings], dtype=np.int64)
    place = np.cumsum(lengths + len(_BETWEEN)) - lengths - len(_BETWEEN)
    kind = _kinds(codes)
    begins = (kind != _SPACE) & ((kind == _MARK) | (np.roll(kind, 1) != kind))
    begins[:1] = kind[:1] != _SPACE
    ends = (kind != _SPACE) & ((kind == _MARK) | (np.roll(kind, -1) != kind))
    ends[-1:] = kind[-1:] != _SPACE
    start, end = np.flatnonzero(begins), np.flatnonzero(ends) + 1
    word = _sliced(joined, codes, kind != _SPACE, start, end)
    text = np.searchsorted(place, start, side="right") - 1
    start, end = start - place[text], end - place[text]
    return Words(text, start, end, word, _sentences(text, start, end, word))


def _kinds(codes: np.ndarray) -> np.ndarray:
    """Of each character; a hyphen or an apostrophe between two letters belongs to the word."""
    table = np.zeros(codes.max(initial=0) + 1, dtype=np.uint8)
    distinct = np.flatnonzero(np.bincount(codes))
    table[distinct] = [_kind(chr(code)) for code in distinct.tolist()]
    kind = table[codes]
    inner = np.isin(codes, _INNER)
    inner[:1] = inner[-1:] = False
    inner &= (np.roll(kind, 1) == _WORD) & (np.roll(kind, -1) == _WORD)
    return np.where(inner, np.uint8(_WORD), kind)


def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    word = character == "_" or unicodedata.category(character)[0] in "LMN"
    return _WORD if word else _MARK


def _sliced(joined: str, codes: np.ndarray, told: Flags, start: Rows, end: Rows) -> pa.Array:
    """The pieces [start, end) of the text, which are all that is `told` of it."""
    if joined.isascii():
        sizes, written = told.astype(np.int64), told
    else:
        width = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000).astype(np.int64)
        sizes, written = width * told, np.repeat(told, width)
    content = np.frombuffer(joined.encode(), dtype=np.uint8)[written]
    upto = np.concatenate([[0], np.cumsum(sizes)])
    offsets = np.concatenate([upto[start], upto[-1:]]).astype(np.int32)
    return pa.StringArray.from_buffers(len(start), pa.py_buffer(offsets), pa.py_buffer(content))


def _sentences(text: Rows, start: Rows, end: Rows, word: pa.Array) -> Rows:
    """A sentence ends with its mark and the space after it, so not within `3.5`, and with its
    text."""
    if not len(text):
        return np.empty(0, dtype=np.int64)
    closed = is_in(word, _ENDS)[:-1] & (start[1:] > end[:-1])
    return np.concatenate([[0], np.cumsum(closed | (text[1:] != text[:-1]))])
