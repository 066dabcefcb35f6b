"""Where a phrase is shown: its scores (G4), the whole image (G5), the place of another (G6)."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import local_ids, score_ranks
from schemas.boxes import BINS, area, competing_pairs, per_row, suppressing_pairs
from schemas.columns import Flags, Numbers, finite_rows, flags, is_in, numbers
from stages.base import Finding
from stages.language import comparable
from stages.language.senses import compatible
from stages.triplets import Triplets


def unsure(triplets: Triplets, label: float | None, location: float | None) -> Iterator[Finding]:
    for name, score, limit in (
        ("label", numbers(triplets.phrases["label_score"]), label),
        ("location", triplets.of_region("windowed_location_score"), location),
    ):
        if limit is not None:
            low = score < np.float32(limit)
            yield Finding(f"g4_{name}_score", "quarantine", low, score, limit)


def whole_image(
    triplets: Triplets, kept: Flags, limit: float, scene_nouns: tuple[str, ...]
) -> Iterator[Finding]:
    share = np.nan_to_num(area(triplets.bins)) / BINS**2
    full = share > limit
    scene = is_in(triplets.head, comparable(pa.array(scene_nouns, pa.string())))
    yield Finding("g5_max_area", "quarantine", full & ~scene, share, limit, triplets.head)
    rank = _rank_within(triplets, full & scene & kept)
    yield Finding("g5_one_scene", "quarantine", rank > 1, rank, 1, triplets.head)


def collapsed(triplets: Triplets, kept: Flags, limit: float) -> Iterator[Finding]:
    phrases, bins = triplets.phrases, triplets.bins
    among = kept & finite_rows(bins)
    pairs = competing_pairs(bins, triplets.caption_code, score_ranks(phrases), among)
    one, other = (triplets.head.take(pa.array(row)) for row in (pairs.winner, pairs.loser))
    nameless = flags(pc.and_(pc.is_null(one), pc.is_null(other)))
    within = triplets.inside(pairs.winner, pairs.loser)
    within |= triplets.inside(pairs.loser, pairs.winner)
    apart = ~compatible(one, other) & ~nameless & ~within
    by = suppressing_pairs(pairs, len(phrases), apart & (pairs.iou >= limit))
    partner = local_ids(phrases, "phrase").take(pa.array(per_row(pairs.winner, by)))
    yield Finding("g6_collapse", "drop", by >= 0, per_row(pairs.iou, by), limit, partner)


def _rank_within(triplets: Triplets, among: Flags) -> Numbers:
    """1 for the best score of those among one caption, then upwards; 0 for the others."""
    rows = np.flatnonzero(among)
    scored = triplets.phrases.select(["score", "label_no"]).take(pa.array(rows))
    order = rows[np.lexsort((score_ranks(scored), triplets.caption_code[rows]))]
    caption = triplets.caption_code[order]
    first = np.maximum.accumulate(
        np.where(np.diff(caption, prepend=-1) != 0, np.arange(len(order)), 0)
    )
    rank = np.zeros(len(among))
    rank[order] = np.arange(len(order)) - first + 1
    return rank
