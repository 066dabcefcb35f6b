"""What captions say because models say it: openings about the image itself, and one text again and
again."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Column, Numbers

_IMAGE = r"(?:image|picture|photo|photograph|painting|drawing)"
OPENING = (
    rf"(?i)^\s*(?:in )?(?:(?:the|this|an?) )?{_IMAGE}"
    r"(?: (?:shows|features|depicts|displays|captures|contains|of)"
    rf"| is (?:an? )?(?:close-up |black and white )?{_IMAGE}? ?(?:of|showing))\s+"
)
MOST_COPIED = 1000
"""Texts of one shard, or of the data set, whose copies are counted: templates are few."""
_DIGITS = 16


def without_opening(texts: Column) -> pa.Array:
    """`The image shows a dog` → `a dog`."""
    bare = pc.replace_substring_regex(texts, OPENING, "")
    return bare.combine_chunks() if isinstance(bare, pa.ChunkedArray) else bare


def count_copies(said: pa.Array) -> dict[str, int]:
    """How often each `plain` text is said, the commonest first; they are named by `digests`."""
    counted = pc.value_counts(digests(said).drop_null())
    named = zip(*(counted.field(part).to_pylist() for part in ("values", "counts")), strict=True)
    return dict(sorted(named, key=lambda text: (-text[1], text[0]))[:MOST_COPIED])


def counted_more_than(limit: int, counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """What all shards together counted more often, the commonest first."""
    together: Counter[str] = Counter()
    for part in counts:
        together.update(part)
    often = [(name, times) for name, times in together.items() if times > limit]
    return dict(sorted(often, key=lambda name: (-name[1], name[0]))[:MOST_COPIED])


def copies(said: pa.Array, counted: Mapping[str, int]) -> Numbers:
    """How often each `plain` text is said in the data set, 0 where it was not counted."""
    names = pa.array(list(counted), pa.string())
    times = np.append(np.array(list(counted.values()), dtype=np.float64), 0)
    found = pc.fill_null(pc.index_in(digests(said), value_set=names), len(names))
    return np.asarray(times[found.to_numpy()])


def digests(said: pa.Array) -> pa.Array:
    """Of `plain` texts, equal where these are; NULL for NULL."""
    encoded = said.dictionary_encode()
    named = [_digest(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(named, pa.string()).take(encoded.indices)


def plain(texts: Column) -> pa.Array:
    """Words in lower case with single spaces, without marks, articles or an opening about the
    image; NULL for NULL and for a text without words."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    encoded = whole.dictionary_encode()
    lower = pc.utf8_lower(without_opening(encoded.dictionary))
    spaced = pc.replace_substring_regex(lower, r"[^\p{L}\p{M}\p{N} ]", " ")
    words = pc.replace_substring_regex(spaced, " {2,}", " ")
    bare = pc.replace_substring_regex(words, r"\b(?:a|an|the) ", "")
    trimmed = pc.utf8_trim_whitespace(bare)
    said = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    return said.take(encoded.indices)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
