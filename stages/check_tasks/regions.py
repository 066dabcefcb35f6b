"""Regions against the regions of other tasks (X1 to X3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.annotations import Annotations, kept_mask, region_bins, region_labels
from schemas.boxes import Floats
from schemas.columns import Flags, Rows, is_in
from stages.base import Finding
from stages.language import language_named, parse
from stages.witnesses import Places, best_sighting

_OBJECTS, _DENSE, _GROUNDED = "od", "dense_region_caption", "caption_to_phrase_grounding"
_PROPOSALS = "region_proposal"
_MATCHED = (
    ("x1_dense", (_OBJECTS,), _DENSE, True),
    ("x1_object", (_DENSE,), _OBJECTS, True),
    ("x2_object", (_GROUNDED,), _OBJECTS, True),
    ("x3_proposal", (_OBJECTS, _DENSE, _GROUNDED), _PROPOSALS, False),
)
"""Rule, whose regions it judges, where it looks for a partner, and whether names must agree."""
_EXHAUSTIVE = ((_OBJECTS, _DENSE), (_DENSE, _OBJECTS))
"""Tasks that list all they see, and what else lists it. Captions mention some of it only: what they
show counts for a region, what they leave out not against it."""


@dataclass(frozen=True, slots=True)
class Named:
    """All regions with the nouns that they name."""

    annotations: Annotations
    places: Places
    label: pa.Array
    kept: Flags

    @classmethod
    def of(cls, annotations: Annotations, parser: str) -> "Named":
        regions = annotations.regions
        label = region_labels(regions)
        noun = parse(language_named(parser), label).heads()
        image_id = regions["image_id"].combine_chunks()
        places = Places.of(image_id, region_bins(annotations), noun)
        return cls(annotations, places, label, kept_mask(annotations, "region"))

    def of_tasks(self, tasks: tuple[str, ...]) -> Flags:
        return is_in(self.annotations.regions["task"], tasks)


def unmatched(named: Named, min_iou: float) -> Iterator[Finding]:
    for rule, judged, other, alike in _MATCHED:
        mine = np.flatnonzero(named.of_tasks(judged) & named.kept)
        theirs = np.flatnonzero(named.of_tasks((other,)) & named.kept)
        if not len(theirs):
            continue
        places, witnesses = named.places.rows(mine), named.places.rows(theirs)
        seen = best_sighting(places, witnesses, named=alike)
        missing = seen.iou < min_iou
        if alike:
            missing &= places.known_to(witnesses)
        yield _finding(rule, "flag", named, mine, missing, seen.iou, min_iou)


def unseen(named: Named, min_iou: float) -> Iterator[Finding]:
    """Neither the other task that lists all it sees shows it, nor a grounded phrase."""
    for judged, other in _EXHAUSTIVE:
        mine = np.flatnonzero(named.of_tasks((judged,)) & named.kept)
        listed = np.flatnonzero(named.of_tasks((other,)) & named.kept)
        showing = np.flatnonzero(named.of_tasks((other, _GROUNDED)) & named.kept)
        places = named.places.rows(mine)
        seen = best_sighting(places, named.places.rows(showing))
        alone = (seen.iou < min_iou) & places.known_to(named.places.rows(listed))
        yield _finding("x1_unseen", "quarantine", named, mine, alone, seen.iou, min_iou)


def _finding(
    rule: str,
    verdict: str,
    named: Named,
    judged: Rows,
    rejected: Flags,
    overlap: Floats,
    min_iou: float,
) -> Finding:
    """On the rows that were judged; no other is rejected."""
    said, values = np.zeros(len(named.kept), dtype=bool), np.zeros(len(named.kept))
    said[judged], values[judged] = rejected, overlap
    return Finding(rule, verdict, said, values, min_iou)
