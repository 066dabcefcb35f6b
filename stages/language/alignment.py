"""Does a caption say a phrase, token by token, whatever the case and the white space?"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Flags, Numbers, Rows
from stages.language.comparison import singular
from stages.language.tokens import split

Span = tuple[int, int]
_SPACES = [ord(character) for character in " \n"]
_AFTER = [ord(character) for character in " \n.,"]
"""What may stand after a word without being a part of it."""
_ASCII = 127


@dataclass(frozen=True, slots=True)
class Aligned:
    """One entry per phrase."""

    exact: Flags
    """Its span holds its words."""
    near: list[Span | None]
    """Of the others, characters [start, end) of the caption that one token less, more or other
    turns into the phrase, whose last token may be in the plural; None where there are none."""


def align(captions: pa.Array, phrases: pa.Array, start: Numbers, end: Numbers) -> Aligned:
    """`captions` and `phrases` have one entry per phrase, NULL where there is none; captions may be
    dictionary-encoded. The span is in characters of the caption, NaN where none was found.

    Most spans hold their phrase letter by letter; the captions of the others alone are split."""
    exact = _verbatim(_encoded(captions), _encoded(phrases), start, end)
    left = np.flatnonzero(~exact)
    said, told = (pc.cast(t.take(pa.array(left)), pa.string()) for t in (captions, phrases))
    exact[left], near = _by_tokens(said, told, start[left], end[left])
    return Aligned(exact, near)


def _verbatim(
    captions: pa.DictionaryArray, phrases: pa.DictionaryArray, start: Numbers, end: Numbers
) -> Flags:
    """Does the span begin a word and hold the very characters of the phrase, which end one?"""
    texts = pc.fill_null(pa.concat_arrays([captions.dictionary, phrases.dictionary]), "")
    joined = "\n".join(["", *texts.to_pylist(), "", ""])
    codes = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32)
    size = np.append(pc.utf8_length(texts).to_numpy().astype(np.int64), 0)
    place = np.cumsum(size + 1) - size
    said = _rows(captions, 0, len(texts))
    told = _rows(phrases, len(captions.dictionary), len(texts))
    exact: Flags = (
        (end - start == size[told]) & (start >= 0) & (end <= size[said]) & (size[told] > 0)
    )
    rows = np.flatnonzero(exact)
    first, own, length = (
        place[said[rows]] + start[rows].astype(int),
        place[told[rows]],
        size[told[rows]],
    )
    whole = np.isin(codes[first - 1], _SPACES) & np.isin(codes[first + length], _AFTER)
    whole &= (codes[own] > ord(" ")) & (codes[own] < _ASCII)
    row = np.repeat(np.arange(len(rows)), length)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    whole[row[codes[first[row] + offset] != codes[own[row] + offset]]] = False
    exact[rows] = whole
    return exact


def _by_tokens(
    captions: pa.Array, phrases: pa.Array, start: Numbers, end: Numbers
) -> tuple[Flags, list[Span | None]]:
    said, told = _Said.of(captions, phrases), ~np.isnan(start) & ~np.isnan(end)
    first = said.place(said.caption, np.where(told, start, 0))
    last = said.place(said.caption, np.where(told, end, 0))
    own, size = said.first[said.phrase], said.size[said.phrase]
    exact = told & (size > 0) & (last - first == size)
    row = np.repeat(np.flatnonzero(exact), size[exact])
    offset = np.arange(len(row)) - np.repeat(np.cumsum(size[exact]) - size[exact], size[exact])
    differs = said.code[first[row] + offset] != said.code[own[row] + offset]
    exact[row[differs]] = False
    return exact, _near(said, np.flatnonzero(~exact))


@dataclass(frozen=True, slots=True)
class _Said:
    """The tokens of all captions and phrases, one after the other."""

    code: Rows
    """Equal for equal words in any case."""
    noun: Rows
    """Equal for singular and plural too."""
    start: Rows
    end: Rows
    first: Rows
    """First token of each text."""
    size: Rows
    caption: Rows
    """Text of each row's caption, and of its phrase; the last one is empty."""
    phrase: Rows
    key: Rows

    @classmethod
    def of(cls, captions: pa.Array, phrases: pa.Array) -> "_Said":
        said, told = _encoded(captions), _encoded(phrases)
        texts = [said.dictionary, told.dictionary, pa.array([""])]
        words = split(pc.fill_null(pa.concat_arrays(texts), ""))
        count = len(said.dictionary) + len(told.dictionary) + 1
        lower = pc.utf8_lower(words.distinct.dictionary).dictionary_encode()
        nouns = singular(lower.dictionary).dictionary_encode().indices.take(lower.indices)
        word = words.distinct.indices.to_numpy()
        size = np.bincount(words.text, minlength=count)
        return cls(
            code=np.append(lower.indices.to_numpy().astype(np.int64)[word], -1),
            noun=nouns.to_numpy().astype(np.int64)[word],
            start=words.start,
            end=words.end,
            first=np.cumsum(size) - size,
            size=size,
            caption=_rows(said, 0, count - 1),
            phrase=_rows(told, len(said.dictionary), count - 1),
            key=words.text * _LONGEST + words.start,
        )

    def place(self, text: Rows, character: Numbers) -> Rows:
        """The first token of each text that starts at the character or later."""
        within = np.clip(character, 0, _LONGEST - 1).astype(np.int64)
        return np.searchsorted(self.key, text * _LONGEST + within)


_LONGEST = 1 << 32


def _encoded(texts: pa.Array) -> pa.DictionaryArray:
    return texts if isinstance(texts, pa.DictionaryArray) else texts.dictionary_encode()


def _rows(texts: pa.DictionaryArray, first: int, empty: int) -> Rows:
    """The text of each row, where those of the dictionary are numbered from `first`."""
    row = pc.add(pc.cast(texts.indices, pa.int64()), first)
    return np.asarray(pc.fill_null(row, empty).to_numpy())


def _near(said: _Said, rows: Rows) -> list[Span | None]:
    """Each pair of a caption and a phrase is looked at once."""
    found: dict[tuple[int, int], Span | None] = {}
    spans: list[Span | None] = []
    for pair in zip(said.caption[rows].tolist(), said.phrase[rows].tolist(), strict=True):
        if pair not in found:
            found[pair] = _nearest(said, *pair)
        spans.append(found[pair])
    return spans


def _nearest(said: _Said, caption: int, phrase: int) -> Span | None:
    """The first window of two tokens or more that differs by one at most. The last must agree but
    for its number, since it is mostly the noun: `a red ring` is one of `a group of red rings`."""
    begin, size = said.first[caption], said.size[caption]
    text = said.code[begin : begin + size].tolist()
    own, length = said.first[phrase], said.size[phrase]
    if length < 2:
        return None
    wanted = said.code[own : own + length - 1].tolist()
    noun = said.noun[own + length - 1]
    for last in np.flatnonzero(said.noun[begin : begin + size] == noun).tolist():
        for before in (len(wanted), len(wanted) - 1, len(wanted) + 1):
            if last >= before > 0 and _one_edit(text[last - before : last], wanted):
                return int(said.start[begin + last - before]), int(said.end[begin + last])
    return None


def _one_edit(window: list[int], wanted: list[int]) -> bool:
    """May one token be changed, added or left out to make them equal?"""
    short, long = sorted((window, wanted), key=len)
    same = 0
    while same < len(short) and short[same] == long[same]:
        same += 1
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]
