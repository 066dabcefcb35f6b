"""What other answers about the image say of a phrase's place: the thing (G7), its looks (G11)."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import kept_mask, local_ids
from schemas.columns import Flags, Rows, is_in
from stages.base import Finding
from stages.language import Kind, Parsed, language_named, parse
from stages.triplets import Triplets, missing_attributes
from stages.witnesses import best_sighting

_DESCRIPTION = "description"


def unseen(
    triplets: Triplets, kept: Flags, tasks: tuple[str, ...], min_iou: float
) -> Iterator[Finding]:
    """A noun that no witness names in any image is not judged: detectors have few categories."""
    witness, (mine, regions) = _witnesses(triplets, tasks), triplets.places
    theirs = regions.rows(witness)
    asked = np.flatnonzero(mine.known_to(theirs) & kept)
    overlap = np.zeros(len(kept))
    overlap[asked] = best_sighting(mine.rows(asked), theirs).iou
    wrong = asked[overlap[asked] < min_iou]
    instead = best_sighting(mine.rows(wrong), theirs, named=False).row
    told = np.full(len(kept), -1)
    told[wrong] = np.append(witness, -1)[instead]
    rejected = np.zeros(len(kept), dtype=bool)
    rejected[wrong] = True
    details = _named(triplets).take(pa.array(told, mask=told < 0))
    yield Finding("g7_existence", "quarantine", rejected, overlap, min_iou, details)


def looking_otherwise(
    triplets: Triplets, kept: Flags, tasks: tuple[str, ...], min_iou: float
) -> Iterator[Finding]:
    """Held against the description of its own region, else against what is seen in its place; a
    name without any attribute describes nothing."""
    witness, (mine, regions) = _witnesses(triplets, tasks), triplets.places
    witness = witness[_describes(triplets.named)[witness]]
    asked = np.flatnonzero(kept & _describes(triplets.parsed))
    seen = best_sighting(mine.rows(asked), regions.rows(witness))
    row = np.full(len(kept), -1)
    row[asked] = np.where(seen.iou >= min_iou, np.append(witness, -1)[seen.row], -1)
    parser, own = language_named(triplets.parser), _descriptions(triplets)
    own = pc.if_else(pa.array(_describes(parse(parser, own))), own, None)
    said = pc.coalesce(own, triplets.labels.take(pa.array(row, mask=row < 0)))
    missing = missing_attributes(triplets.parsed, parse(parser, said))
    yield Finding("g11_attributes", "flag", kept & (missing > 0), missing, 0, said)


def _witnesses(triplets: Triplets, tasks: tuple[str, ...]) -> Rows:
    """Rows of the regions that stand and were found without being asked for the phrase."""
    regions = triplets.annotations.regions
    return np.flatnonzero(is_in(regions["task"], tasks) & kept_mask(triplets.annotations, "region"))


def _named(triplets: Triplets) -> pa.Array:
    """Local id of each region and what it says."""
    names = local_ids(triplets.annotations.regions, "region")
    return pc.binary_join_element_wise(names, triplets.labels, ": ", null_handling="skip")


def _descriptions(triplets: Triplets) -> pa.Array:
    """The first text that describes the region of each phrase, NULL where there is none."""
    texts, phrases = triplets.annotations.texts, triplets.phrases
    texts = texts.filter(pa.array(is_in(texts["level"], (_DESCRIPTION,))))
    number = pc.cast(phrases["region_no"], pa.string())
    region = pc.binary_join_element_wise(phrases["region_source"], "region", number, "/")
    asked = pc.binary_join_element_wise(phrases["image_id"], region, "\n").combine_chunks()
    about = pc.binary_join_element_wise(texts["image_id"], texts["parent"], "\n").combine_chunks()
    found = pc.index_in(asked, value_set=about.drop_null())
    return texts.filter(pc.is_valid(about))["text"].combine_chunks().take(found)


def _describes(said: Parsed) -> Flags:
    return np.asarray(said.count(Kind.ATTRIBUTE) > 0)
