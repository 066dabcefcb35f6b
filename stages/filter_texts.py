"""filter_texts: captions that are empty, cut off, too long or short for their level, or looping."""

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from schemas.annotations import Annotations
from schemas.columns import Numbers, Rows, dense, flags, group_codes, is_in, numbers
from stages.base import Finding, Judge
from stages.language import token_counts

CAPTION_LEVELS = ("brief", "detailed", "more_detailed")
"""From the shortest to the longest."""
MARKUP = (
    r"<loc_\d+>|</?s>|<pad>|<unk>|<mask>|<sep>|<and>"
    r"|</?(?:od|ocr|cap|n_?cap|d_?cap|grounding|seg|region_cap|region_to_desc?iption|proposal|poly)>"
    r"|<[A-Z]+(?:_[A-Z]+)*>"
)
"""Tokens of Florence-2 that are no words: places, tasks, padding."""
SENTENCE_END = r"[.!?]+(?:\s+|$)|\n+"
LEAST_REPEATS = 3
"""Three words said twice are style; from the third time on they count as a loop."""


class FilterTexts(Judge):
    """Texts. `length`, `level_order` and the repetition rules read captions (`brief`, `detailed`,
    `more_detailed`), not OCR or descriptions of regions.

    Where the defaults come from. `length` is a third to three times FLD-5B's
    mean tokens per text (its Table 2: 7.95, 31.65, 70.53); `max_repeated_sentences` and
    `max_repeated_words` are Gopher's values for web pages, quoted from memory; that three words
    must come three times is ours, as captions are short. Tokens are `language.WORD`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"texts"})

    stage: Literal["filter_texts"] = "filter_texts"
    length: dict[str, tuple[int, int]] | None = Field(
        {"brief": (3, 24), "detailed": (10, 95), "more_detailed": (24, 212)},
        description="caption level: fewest and most words, both allowed",
    )
    level_order: bool = Field(
        True, description="flag a caption that is no longer than one of a lower level"
    )
    max_repeated_sentences: float | None = Field(
        0.3, ge=0, le=1, description="share of a caption's sentences that repeat another"
    )
    max_repeated_words: float | None = Field(
        0.18, ge=0, le=1, description="share of a caption's letters in its commonest three words"
    )

    @model_validator(mode="after")
    def _bands_are_in_order(self) -> Self:
        for level, (fewest, most) in (self.length or {}).items():
            if level not in CAPTION_LEVELS:
                raise ValueError(f"length: {level!r} is none of {', '.join(CAPTION_LEVELS)}")
            if fewest > most:
                raise ValueError(f"length of {level}: {fewest} is more than {most}")
        return self

    def judge(self, annotations: Annotations) -> pa.Table:
        texts = annotations.texts
        tokens = numbers(pc.fill_null(token_counts(texts["text"]), 0))
        findings = [
            *_integrity(texts),
            *self._length(texts, tokens),
            *self._order(texts, tokens),
            *self._repetition(texts),
        ]
        return self.verdicts(texts, "text", findings)

    def _length(self, texts: pa.Table, tokens: Numbers) -> Iterator[Finding]:
        for level, (fewest, most) in (self.length or {}).items():
            rows = is_in(texts["level"], (level,)) & (tokens > 0)
            yield Finding("length", "quarantine", rows & (tokens < fewest), tokens, fewest)
            yield Finding("length", "quarantine", rows & (tokens > most), tokens, most)

    def _order(self, texts: pa.Table, tokens: Numbers) -> Iterator[Finding]:
        if not self.level_order or not len(texts):
            return
        group = group_codes([texts["image_id"], texts["source"]])
        lower = np.zeros(group.max() + 1)  # most tokens of any lower level
        for level in CAPTION_LEVELS:
            rows, limit = is_in(texts["level"], (level,)), lower[group]
            short = rows & (tokens > 0) & (tokens <= limit)
            yield Finding("level_order", "flag", short, tokens, limit)
            np.maximum.at(lower, group[rows], tokens[rows])

    def _repetition(self, texts: pa.Table) -> Iterator[Finding]:
        captions = is_in(texts["level"], CAPTION_LEVELS)
        lower = pc.fill_null(pc.utf8_lower(texts["text"]), "").combine_chunks()
        if (limit := self.max_repeated_sentences) is not None:
            share = _repeated_sentences(lower)
            high = captions & (share > limit)
            yield Finding("max_repeated_sentences", "drop", high, share, limit)
        if (limit := self.max_repeated_words) is not None:
            share = _commonest_three_words(lower)
            yield Finding("max_repeated_words", "drop", captions & (share > limit), share, limit)


def _integrity(texts: pa.Table) -> Iterator[Finding]:
    text = pc.fill_null(texts["text"], "")
    characters = numbers(pc.utf8_length(pc.utf8_trim_whitespace(text)))
    yield Finding("empty", "drop", characters < 1, characters, 1)
    markup = numbers(pc.count_substring_regex(text, MARKUP))
    yield Finding("markup", "drop", markup > 0, markup, 0)
    yield Finding("truncated", "drop", flags(texts["truncated"]), numbers(texts["tokens"]))


def _repeated_sentences(texts: pa.Array) -> Numbers:
    """Share of the sentences of each text that an earlier one of it says too."""
    rows, sentences = _pieces(pc.split_pattern_regex(texts, SENTENCE_END), trim=" ")
    said = np.bincount(rows, minlength=len(texts))
    _, first = np.unique(_paired(rows, group_codes([sentences])), return_index=True)
    distinct = np.bincount(rows[first], minlength=len(texts))
    return np.asarray((said - distinct) / np.maximum(said, 1))


def _commonest_three_words(texts: pa.Array) -> Numbers:
    """Share of the letters of each text that lie in the three consecutive words it says most, of
    those that it says at least `LEAST_REPEATS` times."""
    rows, words = _pieces(pc.utf8_split_whitespace(texts), trim=".,;:!?()\"'")
    letters, codes = numbers(pc.utf8_length(words)), group_codes([words])
    starts = np.flatnonzero(rows[2:] == rows[:-2])
    threes = _paired(dense(_paired(codes[starts], codes[starts + 1])), codes[starts + 2])
    _, first, times = np.unique(
        _paired(rows[starts], dense(threes)), return_index=True, return_counts=True
    )
    often = times >= LEAST_REPEATS
    first, times = starts[first[often]], times[often]
    length = letters[first] + letters[first + 1] + letters[first + 2]
    total = np.bincount(rows, letters, minlength=len(texts))
    share = np.zeros(len(texts))
    np.maximum.at(share, rows[first], np.minimum(times * length / total[rows[first]], 1))
    return share


def _pieces(lists: pa.Array, trim: str) -> tuple[Rows, pa.Array]:
    """The pieces that are not empty once trimmed, and the row of the text that each is from."""
    pieces = pc.utf8_trim(pc.list_flatten(lists), characters=trim)
    told = pc.not_equal(pieces, "")
    rows = pc.list_parent_indices(lists).filter(told).to_numpy()
    return rows.astype(np.int64), pieces.filter(told)


def _paired(major: Rows, minor: Rows) -> Rows:
    """One number per pair of codes; both are below the number of pieces, so it fits in 64 bits."""
    return np.asarray(major * (minor.max(initial=0) + 1) + minor, dtype=np.int64)
