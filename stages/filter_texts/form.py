"""The form of a text: integrity (T1), length (T2, T3), repetition (T4), its opening (T12)."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Flags, Numbers, flags, group_codes, is_in, numbers
from stages.base import Finding
from stages.language.repetition import commonest_three_words, repeated_sentences
from stages.language.templates import without_opening

CAPTION_LEVELS = ("brief", "detailed", "more_detailed")
"""From the shortest to the longest."""
MARKUP = (
    r"<loc_\d+>|</?s>|<pad>|<unk>|<mask>|<sep>|<and>"
    r"|</?(?:od|ocr|cap|n_?cap|d_?cap|grounding|seg|region_cap|region_to_desc?iption|proposal|poly)>"
    r"|<[A-Z]+(?:_[A-Z]+)*>"
)
"""Tokens of Florence-2 that are no words: places, tasks, padding."""


def captions(texts: pa.Table) -> pa.ChunkedArray:
    """The text of every caption, NULL for any other text."""
    chosen = pa.array(is_in(texts["level"], CAPTION_LEVELS))
    return pc.if_else(chosen, texts["text"], pa.scalar(None, pa.string()))


def of_level(texts: pa.Table, level: str) -> Flags:
    return is_in(texts["level"], (level,))


def integrity(texts: pa.Table) -> Iterator[Finding]:
    text = pc.fill_null(texts["text"], "")
    characters = numbers(pc.utf8_length(pc.utf8_trim_whitespace(text)))
    yield Finding("t1_empty", "drop", characters < 1, characters, 1)
    markup = numbers(pc.count_substring_regex(text, MARKUP))
    yield Finding("t1_markup", "drop", markup > 0, markup, 0)
    yield Finding("t1_truncated", "drop", flags(texts["truncated"]), numbers(texts["tokens"]))


def lengths(
    texts: pa.Table, tokens: Numbers, bands: Mapping[str, tuple[int, int]]
) -> Iterator[Finding]:
    for level, (fewest, most) in bands.items():
        rows = of_level(texts, level) & (tokens > 0)
        yield Finding("t2_length", "quarantine", rows & (tokens < fewest), tokens, fewest)
        yield Finding("t2_length", "quarantine", rows & (tokens > most), tokens, most)


def level_order(texts: pa.Table, tokens: Numbers) -> Iterator[Finding]:
    group = group_codes([texts["image_id"], texts["source"]])
    lower = np.zeros(group.max(initial=-1) + 1)  # most tokens of any lower level
    for level in CAPTION_LEVELS:
        rows, limit = of_level(texts, level), lower[group]
        short = rows & (tokens > 0) & (tokens <= limit)
        yield Finding("t3_level_order", "flag", short, tokens, limit)
        np.maximum.at(lower, group[rows], tokens[rows])


def repetition(
    captions: pa.ChunkedArray, max_sentences: float | None, twice: bool, max_words: float | None
) -> Iterator[Finding]:
    lower = pc.fill_null(pc.utf8_lower(captions), "").combine_chunks()
    repeated, share = repeated_sentences(lower)
    if max_sentences is not None:
        yield Finding("t4_repeated_sentences", "drop", share > max_sentences, share, max_sentences)
    if twice:
        yield Finding("t4_said_twice", "flag", repeated > 0, repeated, 0)
    if max_words is not None:
        share = commonest_three_words(lower)
        yield Finding("t4_repeated_words", "drop", share > max_words, share, max_words)


def opening(captions: pa.ChunkedArray) -> Finding:
    bare = without_opening(captions)
    cut = numbers(pc.subtract(pc.utf8_length(captions), pc.utf8_length(bare)))
    return Finding("t12_opening", "flag", cut > 0, cut, 0, bare)
