"""Captions against the regions of their image (T10, X9) and against one another (X6)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import Annotations, kept_mask, region_labels
from schemas.columns import Flags, Rows, group_codes, is_in
from stages.base import Finding
from stages.language import (
    ABSTRACT_NOUNS,
    SCENE_NOUNS,
    UNGROUNDABLE,
    Parsed,
    comparable,
    language_named,
    parse,
)
from stages.witnesses import Places

CaptionLevel = Literal["brief", "detailed", "more_detailed"]
_LEVELS = get_args(CaptionLevel)
_SHOWING = ("od", "dense_region_caption")
_NO_THINGS = comparable(pa.array(ABSTRACT_NOUNS + SCENE_NOUNS + UNGROUNDABLE))


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of all texts, and the things they mention: one entry per mention."""

    annotations: Annotations
    parsed: Parsed
    parser: str
    text_row: Rows
    noun: pa.Array

    @classmethod
    def of(cls, annotations: Annotations, parser: str) -> "Captions":
        texts = annotations.texts
        captions = pa.array(is_in(texts["level"], _LEVELS))
        said = pc.if_else(captions, texts["text"], pa.scalar(None, pa.string()))
        parsed = parse(language_named(parser), said)
        row, token = parsed.per_row(parsed.nouns())
        noun = parsed.tokens.lemma.take(pa.array(token))
        thing = ~is_in(noun, _NO_THINGS)
        return cls(annotations, parsed, parser, row[thing], noun.filter(pa.array(thing)))

    @property
    def said(self) -> Flags:
        """Per text: is it a caption?"""
        return self.parsed.row >= 0

    def level(self, *levels: str) -> Flags:
        return is_in(self.annotations.texts["level"], levels)

    def named(self, mentions: Flags) -> pa.Array:
        """Per text the nouns of these mentions of it, each once, NULL where there is none."""
        chosen = pa.table(
            {"row": self.text_row[mentions], "noun": self.noun.filter(pa.array(mentions))}
        )
        distinct = chosen.group_by(["row", "noun"], use_threads=False).aggregate([])
        listed = distinct.group_by("row", use_threads=False).aggregate([("noun", "list")])
        joined = pc.binary_join(listed["noun_list"], ", ").combine_chunks()
        return joined.take(
            pc.index_in(pa.array(np.arange(len(self.said))), value_set=listed["row"])
        )


def unsupported(
    captions: Captions, flagged: bool, limits: Mapping[CaptionLevel, float]
) -> Iterator[Finding]:
    """A thing that no region names in any image does not count: detectors have few categories."""
    mine, theirs = _mentions_and_regions(captions)
    known = mine.known_to(theirs)
    missing = known & ~mine.known_to(theirs, same_image=True)
    texts = len(captions.said)
    named = np.bincount(captions.text_row[known], minlength=texts)
    share = np.bincount(captions.text_row[missing], minlength=texts) / np.maximum(named, 1)
    details = captions.named(missing)
    if flagged:
        yield Finding("x9_support", "flag", share > 0, share, 0, details)
    for level, limit in limits.items():
        rows = captions.level(level) & (share > limit)
        yield Finding("t10_support", "quarantine", rows, share, limit, details)


def dropped_later(captions: Captions) -> Finding:
    """Things of a brief caption that no longer caption of its image and source names."""
    texts = captions.annotations.texts
    origin = group_codes([texts["image_id"], texts["source"]])
    longer = captions.level(*_LEVELS[1:]) & captions.said
    row = captions.text_row
    places = Places.of(pa.array(origin[row]), np.zeros((len(row), 4)), captions.noun)
    brief = captions.level(_LEVELS[0])[row] & np.isin(origin[row], origin[longer])
    told = places.rows(np.flatnonzero(longer[row]))
    missing = brief & ~places.known_to(told, same_image=True)
    count = np.bincount(row[missing], minlength=len(texts))
    return Finding("x6_levels", "flag", count > 0, count, 0, captions.named(missing))


def _mentions_and_regions(captions: Captions) -> tuple[Places, Places]:
    """The mentions, and the kept regions that may show them; boxes play no part."""
    annotations = captions.annotations
    regions = annotations.regions
    heads = parse(language_named(captions.parser), region_labels(regions)).heads()
    showing = pa.array(is_in(regions["task"], _SHOWING) & kept_mask(annotations, "region"))
    regions, heads = regions.filter(showing), heads.filter(showing)
    image_id = annotations.texts["image_id"].combine_chunks().take(pa.array(captions.text_row))
    count = len(image_id)
    places = Places.of(
        pa.concat_arrays([image_id, regions["image_id"].combine_chunks()]),
        np.zeros((count + len(heads), 4)),
        pa.concat_arrays([captions.noun, heads]),
    )
    return places.rows(np.arange(count)), places.rows(np.arange(count, count + len(heads)))
