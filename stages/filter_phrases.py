"""filter_phrases: phrases that are not in their caption, name no thing, or share one box."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.annotations import (
    Annotations,
    kept_mask,
    local_ids,
    region_bins,
    rows_of,
    score_ranks,
)
from schemas.boxes import (
    BINS,
    Floats,
    Pairs,
    area,
    competing_pairs,
    per_row,
    suppressing_pairs,
)
from schemas.columns import Flags, Rows, finite_rows, group_codes, is_in, numbers
from stages.base import Finding, Judge
from stages.language import (
    ABSTRACT_NOUNS,
    CHUNKER,
    SCENE_NOUNS,
    UNGROUNDABLE,
    comparable,
    language_named,
    normalised,
    parse,
)


class FilterPhrases(Judge):
    """Phrases, each with the text that says it and the region that shows it.

    Where the defaults come from. `banned_phrases` follows Florence-2's own
    processor's list; `max_area` is SA-1B's; `collapse_iou` follows GRIT's suppression across
    phrases, the number is ours; `banned_heads` and `scene_nouns` are ours. A phrase whose text or
    region is missing or not kept ties nothing to nothing (`orphan`), so this stage reads best
    after those that judge texts and regions. Phrases of one thing, or one inside the other, may
    share a box.
    """

    behaviour: ClassVar[int] = 2
    needs: ClassVar[frozenset[str]] = frozenset({"phrases"})

    stage: Literal["filter_phrases"] = "filter_phrases"
    banned_phrases: tuple[str, ...] | None = Field(
        UNGROUNDABLE, description="phrases that name no thing; drop"
    )
    banned_heads: tuple[str, ...] | None = Field(
        ABSTRACT_NOUNS, description="main nouns that no box can hold; drop"
    )
    max_area: float | None = Field(
        0.95, ge=0, le=1, description="share of the image; quarantine above"
    )
    scene_nouns: tuple[str, ...] = Field(
        SCENE_NOUNS, description="main nouns that may fill the image"
    )
    collapse_iou: float | None = Field(
        0.95,
        ge=0,
        le=1,
        description="different main nouns of one caption at this overlap or more: keep one",
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        phrases = annotations.phrases
        words = _Words(
            normalised(phrases["phrase"]), parse(language_named(CHUNKER), phrases["phrase"]).heads()
        )
        bins = _bins(annotations)
        alone = self.verdicts(
            phrases, "phrase", [*_ties(annotations), *self._words(words), *self._area(words, bins)]
        )
        so_far = pa.concat_tables([annotations.verdicts, alone])
        kept = kept_mask(annotations.with_tables(verdicts=so_far), "phrase")
        collapsed = self._collapse(phrases, words, bins, kept)
        return pa.concat_tables([alone, self.verdicts(phrases, "phrase", collapsed)])

    def _words(self, words: "_Words") -> Iterator[Finding]:
        if self.banned_phrases is not None:
            banned = normalised(pa.array(self.banned_phrases, pa.string()))
            empty = is_in(pc.fill_null(words.plain, ""), ("",))
            said = empty | is_in(words.plain, banned)
            yield Finding("banned_phrases", "drop", said, details=words.plain)
        if self.banned_heads is not None:
            abstract = is_in(words.head, comparable(pa.array(self.banned_heads, pa.string())))
            yield Finding("banned_heads", "drop", abstract, details=words.head)

    def _area(self, words: "_Words", bins: Floats) -> Iterator[Finding]:
        if (limit := self.max_area) is not None:
            share = np.nan_to_num(area(bins)) / BINS**2
            scene = is_in(words.head, comparable(pa.array(self.scene_nouns, pa.string())))
            full = (share > limit) & ~scene
            yield Finding("max_area", "quarantine", full, share, limit, words.head)

    def _collapse(
        self, phrases: pa.Table, words: "_Words", bins: Floats, kept: Flags
    ) -> Iterator[Finding]:
        if (limit := self.collapse_iou) is None:
            return
        group = group_codes([phrases[name] for name in ("image_id", "text_source", "text_no")])
        boxed = finite_rows(bins)
        pairs = competing_pairs(bins, group, score_ranks(phrases), among=kept & boxed)
        head = group_codes([words.head])
        apart = (head[pairs.winner] != head[pairs.loser]) & ~_nested(phrases, pairs)
        by = suppressing_pairs(pairs, len(phrases), apart & (pairs.iou >= limit))
        partner = local_ids(phrases, "phrase").take(pa.array(per_row(pairs.winner, by)))
        yield Finding("collapse_iou", "drop", by >= 0, per_row(pairs.iou, by), limit, partner)


@dataclass(frozen=True, slots=True)
class _Words:
    plain: pa.Array
    head: pa.Array


def _ties(annotations: Annotations) -> Iterator[Finding]:
    phrases = annotations.phrases
    start, end = numbers(phrases["char_start"]), numbers(phrases["char_end"])
    yield Finding("span", "drop", ~(end > start))
    for kind in ("text", "region"):
        row = _rows(annotations, kind)
        kept = kept_mask(annotations, kind)
        tied = row >= 0
        tied[tied] = kept[row[tied]]
        number = pc.cast(phrases[f"{kind}_no"], pa.string())
        names = pc.binary_join_element_wise(phrases[f"{kind}_source"], kind, number, "/")
        yield Finding("orphan", "quarantine", ~tied, details=names.combine_chunks())


def _rows(annotations: Annotations, kind: str) -> Rows:
    phrases = annotations.phrases
    key = (phrases["image_id"], phrases[f"{kind}_source"], phrases[f"{kind}_no"])
    return rows_of(annotations.labels(kind), *key)


def _bins(annotations: Annotations) -> Floats:
    """Shape (n, 4): the box of each phrase in bins, NaN where it has none."""
    row = _rows(annotations, "region")
    bins = np.full((len(row), 4), np.nan)
    bins[row >= 0] = region_bins(annotations)[row[row >= 0]]
    return bins


def _nested(phrases: pa.Table, pairs: Pairs) -> Flags:
    start, end = numbers(phrases["char_start"]), numbers(phrases["char_end"])
    a, b = pairs.winner, pairs.loser
    inside = (start[a] <= start[b]) & (end[b] <= end[a])
    return np.asarray(inside | ((start[b] <= start[a]) & (end[a] <= end[b])))
