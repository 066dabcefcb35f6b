"""From a region to its category (R10), and from that back to its place (X4)."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import local_ids
from schemas.columns import Rows
from stages.base import Finding
from stages.check_tasks.regions import Named
from stages.witnesses import best_sighting

_CATEGORY, _SEARCH = "region_to_category", "open_vocabulary_detection"


def recategorised(named: Named, min_iou: float | None) -> Iterator[Finding]:
    """The first category that a region's place was given names another thing than the region; or
    a search for such things found some in the image, and none at the place."""
    rows, answers = _asked_about(named)
    told = np.full(len(named.kept), -1)
    told[rows] = answers
    details = named.label.take(pa.array(told, mask=told < 0))
    places = named.places
    both_named = (places.noun[rows] >= 0) & (places.noun[answers] >= 0)
    differ = np.zeros(len(named.kept), dtype=bool)
    differ[rows] = both_named & ~places.agrees(rows, places, answers)
    yield Finding("r10_category", "flag", differ, 0, 1, details)
    if min_iou is not None:
        found = places.rows(np.flatnonzero(named.of_tasks((_SEARCH,)) & named.kept))
        category = places.rows(answers)
        back = best_sighting(category, found).iou
        lost, overlap = np.zeros(len(named.kept), dtype=bool), np.zeros(len(named.kept))
        lost[rows] = (back < min_iou) & category.known_to(found, same_image=True)
        overlap[rows] = back
        yield Finding("x4_round_trip", "flag", lost, overlap, min_iou, details)


def _asked_about(named: Named) -> tuple[Rows, Rows]:
    """Rows of the regions that were asked about, and of the first category of each."""
    regions = named.annotations.regions
    asked = np.flatnonzero(named.of_tasks((_CATEGORY,)) & named.kept)
    told = regions.select(["image_id", "parent"]).take(pa.array(asked))
    about = pc.binary_join_element_wise(told["image_id"], told["parent"], "\n").combine_chunks()
    asked, about = asked[np.asarray(about.is_valid())], about.drop_null()
    names = local_ids(regions, "region")
    own = pc.binary_join_element_wise(regions["image_id"].combine_chunks(), names, "\n")
    found = pc.fill_null(pc.index_in(own, value_set=about), -1).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(found >= 0)
    return rows, asked[found[rows]]
