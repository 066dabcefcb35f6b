"""Does a caption say a phrase, token by token, whatever the case and the white space?"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Flags, Numbers, Rows
from stages.language.tokens import split

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Aligned:
    """One entry per phrase."""

    exact: Flags
    """Its span holds its words."""
    near: list[Span | None]
    """Of the others, characters [start, end) of the caption that one token less, more or other
    turns into the phrase; None where there are none."""


def align(captions: pa.Array, phrases: pa.Array, start: Numbers, end: Numbers) -> Aligned:
    """`captions` and `phrases` have one entry per phrase, NULL where there is none; the span is in
    characters of the caption, NaN where none was found."""
    said, told = _Said.of(captions, phrases), ~np.isnan(start) & ~np.isnan(end)
    first = said.place(said.caption, np.where(told, start, 0))
    last = said.place(said.caption, np.where(told, end, 0))
    own, size = said.first[said.phrase], said.size[said.phrase]
    exact = told & (size > 0) & (last - first == size)
    row = np.repeat(np.flatnonzero(exact), size[exact])
    offset = np.arange(len(row)) - np.repeat(np.cumsum(size[exact]) - size[exact], size[exact])
    differs = said.code[first[row] + offset] != said.code[own[row] + offset]
    exact[row[differs]] = False
    return Aligned(exact, _near(said, np.flatnonzero(~exact)))


@dataclass(frozen=True, slots=True)
class _Said:
    """The tokens of all distinct captions and phrases, one after the other."""

    code: Rows
    start: Rows
    end: Rows
    first: Rows
    """First token of each distinct text."""
    size: Rows
    caption: Rows
    """Distinct text of each row's caption, and of its phrase; the last one is empty."""
    phrase: Rows
    key: Rows

    @classmethod
    def of(cls, captions: pa.Array, phrases: pa.Array) -> "_Said":
        texts = pc.fill_null(pa.concat_arrays([captions, phrases]), "").dictionary_encode()
        words = split(texts.dictionary)
        lower = pc.utf8_lower(words.word).dictionary_encode()
        size = np.bincount(words.text, minlength=len(texts.dictionary))
        row = texts.indices.to_numpy().astype(np.int64)
        return cls(
            code=np.append(lower.indices.to_numpy().astype(np.int64), -1),
            start=words.start,
            end=words.end,
            first=np.cumsum(size) - size,
            size=size,
            caption=row[: len(captions)],
            phrase=row[len(captions) :],
            key=words.text * _LONGEST + words.start,
        )

    def place(self, text: Rows, character: Numbers) -> Rows:
        """The first token of each text that starts at the character or later."""
        within = np.clip(character, 0, _LONGEST - 1).astype(np.int64)
        return np.searchsorted(self.key, text * _LONGEST + within)


_LONGEST = 1 << 32


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
    """The first window of the caption that differs by one token at most. The last token must agree,
    since it is mostly the noun, and one more."""
    begin, size = said.first[caption], said.size[caption]
    text = said.code[begin : begin + size].tolist()
    wanted = said.code[said.first[phrase] : said.first[phrase] + said.size[phrase]].tolist()
    if len(wanted) < 2:
        return None
    for stop in (place + 1 for place, code in enumerate(text) if code == wanted[-1]):
        for length in (len(wanted), len(wanted) - 1, len(wanted) + 1):
            if stop >= length > 1 and _one_edit(text[stop - length : stop], wanted):
                start = begin + stop - length
                return int(said.start[start]), int(said.end[begin + stop - 1])
    return None


def _one_edit(window: list[int], wanted: list[int]) -> bool:
    """May one token be changed, added or left out to make them equal?"""
    short, long = sorted((window, wanted), key=len)
    same = 0
    while same < len(short) and short[same] == long[same]:
        same += 1
    return short[same + (len(short) == len(long)) :] == long[same + 1 :]
