"""Words that a text quotes, and whether another text has them too, letter by letter."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Column, Numbers, Rows

_MARKS = r'["\x{201c}\x{201d}\x{201e}]'
_NAMED = (
    r"\b((?i:words?|texts?|titles?|signs?|letters?|logos?|labels?|names?))((?: (?i:that|which))?"
    r"(?: (?i:says?|saying|reads?|reading))?) ([A-Z0-9]{2,}(?: [A-Z0-9]+)*)\b"
)
"""`the word STOP`, `a sign that reads EXIT ONLY`: capitals are as good as quotation marks."""
LONGEST_QUOTE, LONGEST_TEXT = 64, 2000
"""Characters that are compared; what is longer is cut."""
_MOST_CELLS = 1 << 20


def quotations(texts: Column) -> tuple[Rows, pa.Array]:
    """Row of each quotation and what it says, in the order of the texts."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    marked = pc.replace_substring_regex(whole, _MARKS, '"')
    marked = pc.replace_substring_regex(marked, _NAMED, r'\1\2 "\3"')
    pieces = pc.split_pattern(pc.fill_null(marked, ""), '"')
    row = pc.list_parent_indices(pieces).to_numpy().astype(np.int64)
    first = np.searchsorted(row, row)
    place = np.arange(len(row)) - first
    last = pc.list_value_length(pieces).to_numpy()[row] - 1
    said = pc.utf8_trim_whitespace(pc.list_flatten(pieces))
    quoted = (place % 2 == 1) & (place < last)
    quoted &= np.asarray(pc.not_equal(said, "").to_numpy(zero_copy_only=False), dtype=bool)
    return row[quoted], said.filter(pa.array(quoted))


def found_in(quotes: pa.Array, texts: pa.Array) -> Numbers:
    """Pair by pair: the share of a quote's characters that need no change for it to stand in the
    text; case, marks and line breaks aside."""
    pairs = pa.StructArray.from_arrays(
        [_letters(quotes, LONGEST_QUOTE), _letters(texts, LONGEST_TEXT)], ["quote", "text"]
    )
    size = pc.utf8_length(pairs.field("text")).to_numpy(zero_copy_only=False)
    order = np.argsort(size, kind="stable")
    likeness = np.ones(len(pairs))
    part = np.cumsum((size[order] + 1) * 1.0) // _MOST_CELLS
    for rows in np.split(order, np.flatnonzero(np.diff(part)) + 1):
        chosen = pairs.take(pa.array(rows))
        quote, length = _codes(chosen.field("quote"))
        text, _ = _codes(chosen.field("text"))
        likeness[rows] = 1 - _edits(quote, length, text) / np.maximum(length, 1)
    return likeness


def _letters(strings: pa.Array, longest: int) -> pa.Array:
    lower = pc.replace_substring_regex(pc.utf8_lower(strings), r"[^\p{L}\p{M}\p{N}]+", " ")
    return pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(lower), 0, longest)


def _codes(strings: pa.Array) -> tuple[np.ndarray, Rows]:
    """Characters as numbers, one row per string, filled up with 0; and how many each has."""
    length = pc.utf8_length(strings).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = np.frombuffer("".join(strings.to_pylist()).encode("utf-32-le"), dtype=np.uint32)
    table = np.zeros((len(strings), length.max(initial=0)), dtype=np.uint32)
    table[np.arange(table.shape[1]) < length[:, None]] = flat
    return table, length


def _edits(quote: np.ndarray, length: Rows, text: np.ndarray) -> Rows:
    """The least changes, additions and omissions that turn each quote into a piece of its text.

    Row by row of the table of edits, all pairs at once; a piece may begin and end anywhere.
    """
    column = np.arange(text.shape[1] + 1)
    edits = np.zeros((len(quote), len(column)), dtype=np.int64)
    for place in range(quote.shape[1]):
        changed = edits[:, :-1] + (quote[:, place, None] != text)
        step = edits + 1
        step[:, 1:] = np.minimum(step[:, 1:], changed)
        step = np.minimum.accumulate(step - column, axis=1) + column
        edits = np.where((place < length)[:, None], step, edits)
    return np.asarray(edits.min(axis=1))
