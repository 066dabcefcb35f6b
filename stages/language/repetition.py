"""How much of a text says again what it has said, all texts at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Numbers, Rows, dense, group_codes, numbers

SENTENCE_END = r"[.!?]+(?:\s+|$)|\n+"
LEAST_REPEATS = 3
"""Three words said twice are style; from the third time on they count as a loop."""


def repeated_sentences(texts: pa.Array) -> tuple[Numbers, Numbers]:
    """Sentences of each text that an earlier one of it says too: how many, and what share.

    `texts`: strings in lower case without NULL.
    """
    rows, sentences = _pieces(pc.split_pattern_regex(texts, SENTENCE_END), trim=" ")
    said = np.bincount(rows, minlength=len(texts))
    _, first = np.unique(_paired(rows, group_codes([sentences])), return_index=True)
    repeated = said - np.bincount(rows[first], minlength=len(texts))
    return repeated.astype(np.float64), repeated / np.maximum(said, 1)


def commonest_three_words(texts: pa.Array) -> Numbers:
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
