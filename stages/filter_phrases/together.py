"""Phrases of one caption: one in another (G9), other numbers of boxes (G10), none left (G12)."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import local_ids
from schemas.boxes import competing_pairs, losing_pairs, per_row
from schemas.columns import Flags, Numbers, finite_rows, flags
from stages.base import Finding
from stages.triplets import Triplets

_SEVERAL = r"\b(?:and|or)\b|,"
_ONE = r"^(?:an?|one|this|that|each|every|another) "


def contained(triplets: Triplets, kept: Flags) -> Finding:
    start, end = triplets.span
    line = np.stack([start, start * 0, end, end * 0 + 1], axis=1)
    length = np.nan_to_num(end - start)
    rank = np.empty(len(length), dtype=np.int64)
    rank[np.argsort(-length, kind="stable")] = np.arange(len(length))
    pairs = competing_pairs(line, triplets.caption_code, rank, kept & finite_rows(line))
    joins = flags(pc.match_substring_regex(triplets.plain, _SEVERAL))
    shorter = length[pairs.loser] < length[pairs.winner]
    within = triplets.inside(pairs.loser, pairs.winner) & shorter & ~joins[pairs.winner]
    by = losing_pairs(pairs, len(length), within)
    partner = local_ids(triplets.phrases, "phrase").take(pa.array(per_row(pairs.winner, by)))
    longer = per_row(length[pairs.winner], by)
    return Finding("g9_contained", "flag", by >= 0, longer, length, partner)


def miscounted(triplets: Triplets, kept: Flags) -> Finding:
    said, exact = _said_number(triplets)
    boxes = np.bincount(triplets.mention, kept)[triplets.mention]
    wrong = np.where(exact, boxes != said, boxes < said) & kept & ~np.isnan(said)
    return Finding("g10_number", "flag", wrong, boxes, said)


def empty(triplets: Triplets, kept: Flags) -> Finding:
    """Of texts: those that had phrases, and none of them is kept."""
    rows = len(triplets.annotations.texts)
    tied = triplets.text_row >= 0
    had = np.bincount(triplets.text_row[tied], minlength=rows)
    left = np.bincount(triplets.text_row[tied & kept], minlength=rows)
    return Finding("g12_empty", "flag", (had > 0) & (left == 0), left, 1)


def _said_number(triplets: Triplets) -> tuple[Numbers, Flags]:
    """How many things a phrase says it names, NaN where it does not say; and whether it says so
    exactly or, by its plural alone, at the least."""
    tokens, main = triplets.parsed.tokens, triplets.parsed.main_tokens()
    numeral = np.flatnonzero((tokens.phrase >= 0) & (tokens.count >= 1))[::-1]
    of_phrase = np.full(tokens.phrase.max(initial=-1) + 2, np.nan)
    of_phrase[tokens.phrase[numeral]] = tokens.count[numeral]
    counted = of_phrase[np.append(tokens.phrase, -1)[main]]
    plural = triplets.of_main_noun(tokens.plural) == 1
    one = flags(pc.match_substring_regex(pc.utf8_lower(triplets.phrases["phrase"]), _ONE))
    one &= (main >= 0) & ~plural
    said = np.select([~np.isnan(counted), plural, one], [counted, 2, 1], np.nan)
    return said, ~np.isnan(counted) | one
