"""What a phrase says: is it in its caption (G1), does it name a thing (G2), has it a noun (G3)?"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import kept_mask
from schemas.columns import Flags, Numbers, is_in
from stages.base import Finding
from stages.language import comparable, language_named, normalised, parse
from stages.language.alignment import align
from stages.triplets import Triplets, missing_attributes

Banned = tuple[str, ...] | None


def orphans(triplets: Triplets) -> Iterator[Finding]:
    phrases = triplets.phrases
    for kind, row in (("text", triplets.text_row), ("region", triplets.region_row)):
        stands = np.append(kept_mask(triplets.annotations, kind), False)[row]
        asked = phrases.select([f"{kind}_source", f"{kind}_no"]).filter(pa.array(~stands))
        number = pc.cast(asked[1], pa.string())
        names = pc.binary_join_element_wise(asked[0], kind, number, "/").combine_chunks()
        of_row = pa.array(np.cumsum(~stands) - 1, mask=stands)
        yield Finding("orphan", "quarantine", ~stands, 0, 1, names.take(of_row))


def misaligned(triplets: Triplets, one_token_off: bool) -> Iterator[Finding]:
    phrase = triplets.phrases["phrase"].combine_chunks()
    aligned = align(triplets.caption, phrase, *triplets.span)
    near = np.zeros(len(phrase), dtype=bool)
    near[~aligned.exact] = [span is not None for span in aligned.near]
    edits, most = np.where(near, 1, 2), int(one_token_off)
    wrong = (triplets.text_row >= 0) & ~aligned.exact
    yield Finding("g1_span", "drop", wrong & (edits > most), edits, most)
    if one_token_off:
        row = np.cumsum(~aligned.exact) - 1
        row = pa.array(row, mask=aligned.exact)
        places = pa.array([_spelt(*span) if span else None for span in aligned.near], pa.string())
        captions = triplets.caption.filter(pa.array(~aligned.exact)).to_pylist()
        told = [
            said[slice(*span)] if span else None
            for said, span in zip(captions, aligned.near, strict=True)
        ]
        instead = pa.array(told, pa.string()).take(row)
        words = parse(language_named(triplets.parser), instead)
        others = missing_attributes(words, triplets.parsed)
        others = np.minimum(others, missing_attributes(triplets.parsed, words))
        untold = wrong & near & (others > 0)
        yield Finding("g1_attributes", "quarantine", untold, others, 0, instead)
        yield Finding("g1_inexact", "flag", wrong & near & ~untold, edits, 0, places.take(row))


def nameless(triplets: Triplets, phrases: Banned, heads: Banned) -> tuple[Flags, list[Finding]]:
    """Which phrases name no thing as a whole, and what is said of these and of abstract ones."""
    plain = triplets.plain
    found, without = [], is_in(pc.fill_null(plain, ""), ("",))
    if phrases is not None:
        without |= is_in(plain, normalised(pa.array(phrases, pa.string())))
        found.append(Finding("g2_banned", "drop", without, 1, 0, plain))
    if heads is not None:
        abstract = is_in(triplets.head, comparable(pa.array(heads, pa.string())))
        found.append(Finding("g2_abstract", "drop", abstract & ~without, 1, 0, triplets.head))
    return without, found


def without_noun(triplets: Triplets, among: Flags) -> Iterator[Finding]:
    """Of those among them: without a noun, or with words before their noun phrase."""
    none = (triplets.parsed.main_tokens() < 0) & among
    yield Finding("g3_noun_phrase", "drop", none, 0, 1, triplets.plain)
    before, trimmed = _trimmed(triplets)
    yield Finding("g3_fragment", "flag", (before > 0) & among, before, 0, trimmed)


def _trimmed(triplets: Triplets) -> tuple[Numbers, pa.Array]:
    """Tokens before the first noun phrase, and the characters of the caption that are left."""
    parsed, tokens = triplets.parsed, triplets.parsed.tokens
    begins = np.flatnonzero((tokens.phrase >= 0) & (np.diff(tokens.phrase, prepend=-2) != 0))
    first = np.searchsorted(tokens.text, parsed.row)
    noun = np.append(begins, -1)[np.searchsorted(begins, first)]
    before = np.where(parsed.main_tokens() >= 0, noun - first, 0)
    start, end = triplets.span
    start = start + np.append(tokens.start, 0)[noun]
    known = (before > 0) & ~np.isnan(start) & ~np.isnan(end)
    places = [_spelt(*span) for span in zip(start[known], end[known], strict=True)]
    of_row = pa.array(np.cumsum(known) - 1, mask=~known)
    return before.astype(np.float64), pa.array(places, pa.string()).take(of_row)


def _spelt(start: float, end: float) -> str:
    return f"[{int(start)}, {int(end)})"
