"""filter_regions: boxes that are broken, tiny, slivers, near-duplicates or say nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.annotations import (
    Annotations,
    bbox_xyxy,
    image_sizes,
    kept_mask,
    local_ids,
    region_bins,
    score_ranks,
)
from schemas.boxes import (
    BINS,
    Floats,
    Pairs,
    area,
    competing_pairs,
    losing_pairs,
    per_row,
    suppressing_pairs,
)
from schemas.columns import Flags, Rows, finite_rows, flags, group_codes, is_in, numbers
from stages.base import Finding, Judge
from stages.language import EMPTY_LABELS, UNGROUNDABLE, comparable, normalised, token_counts

OBJECT_TASKS = ("od", "dense_region_caption", "region_proposal")
"""Tasks that look for things: a box around the whole image is no answer to them."""
UNLABELLED_TASKS = ("region_proposal", "region_to_segmentation")
"""Tasks whose regions have no words."""
INVERTED = "inverted or empty"


class FilterRegions(Judge):
    """Regions. Geometry is measured in bins (1/1000 of the image side), to a thousandth of one.

    Where the defaults come from. Ours: `min_side` (a box of 8 bins that is one bin off keeps an IoU
    of 0.62), `sub_token` (one of 24 visual tokens along a side), `max_aspect`, `max_label_length`,
    `min_text_height` (10 of 768 pixels). Published: `max_area` (SA-1B), `same_label_iou` (the best
    fusion threshold on Open Images; SA-1B has 0.7). Published as a rule, the number ours:
    `any_label_iou`, `any_label_bins` (overlap alone misses doubles of small boxes),
    `banned_labels` (after Florence-2's processor, and five more), `max_label_words`.

    Near-duplicates are looked for among the regions that nothing has rejected yet, within one
    source, task and parent: what two captions say about one place are two statements.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"regions"})

    stage: Literal["filter_regions"] = "filter_regions"
    min_side: float | None = Field(8, ge=0, description="shorter side in bins; drop below")
    sub_token: float | None = Field(
        42, ge=0, description="shorter side in bins; flag below: thinner than a visual token"
    )
    max_area: float | None = Field(
        0.95, ge=0, le=1, description="share of the image; above: drop objects, flag other tasks"
    )
    max_aspect: float | None = Field(
        20, ge=1, description="longer side over shorter side, in pixels; quarantine above"
    )
    same_label_iou: float | None = Field(
        0.60, gt=0, le=1, description="same label at this overlap or more: keep the best score"
    )
    any_label_iou: float | None = Field(
        0.90, gt=0, le=1, description="any label at this overlap or more: flag the lower score"
    )
    any_label_bins: float | None = Field(
        2, ge=0, description="any label, every edge within so many bins: flag the lower score"
    )
    across_tasks: bool = Field(False, description="compare boxes of different tasks too")
    banned_labels: tuple[str, ...] | None = Field(
        UNGROUNDABLE + EMPTY_LABELS, description="labels that name no thing; drop"
    )
    max_label_words: int | None = Field(12, ge=0, description="quarantine a longer label")
    max_label_length: int | None = Field(
        200, ge=0, description="in characters; quarantine a longer label"
    )
    min_text_height: float | None = Field(
        13, ge=0, description="height in bins of a place with text; quarantine below"
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        regions = annotations.regions
        boxes = _measure(annotations)
        alone = self.verdicts(regions, "region", [*self._shape(boxes), *self._label(regions)])
        so_far = pa.concat_tables([annotations.verdicts, alone])
        kept = kept_mask(annotations.with_tables(verdicts=so_far), "region")
        duplicates = self._duplicates(regions, boxes, kept & boxes.sound)
        return pa.concat_tables([alone, self.verdicts(regions, "region", duplicates)])

    def _shape(self, boxes: "_Boxes") -> Iterator[Finding]:
        sound, side = boxes.sound, boxes.side
        yield Finding("integrity", "drop", ~sound, boxes.measurable(side), 0, boxes.fault)
        if (limit := self.min_side) is not None:
            yield Finding("min_side", "drop", sound & (side < limit), side, limit)
        if (limit := self.sub_token) is not None:
            thin = sound & (side < limit) & (side >= (self.min_side or 0))
            yield Finding("sub_token", "flag", thin, side, limit)
        if (limit := self.max_area) is not None:
            full = sound & (boxes.share > limit)
            yield Finding("max_area", "drop", full & boxes.of_object, boxes.share, limit)
            yield Finding("max_area", "flag", full & ~boxes.of_object, boxes.share, limit)
        if (limit := self.max_aspect) is not None:
            sliver = sound & (boxes.aspect > limit)
            yield Finding("max_aspect", "quarantine", sliver, boxes.aspect, limit)
        if (limit := self.min_text_height) is not None:
            low = sound & boxes.of_text & (boxes.height < limit)
            yield Finding("min_text_height", "quarantine", low, boxes.height, limit)

    def _label(self, regions: pa.Table) -> Iterator[Finding]:
        label, names = _label_of(regions), ~is_in(regions["shape"], ("quad",))
        plain = normalised(label)
        silent = flags(pc.equal(pc.fill_null(plain, ""), ""))
        expected = ~is_in(regions["task"], UNLABELLED_TASKS)
        yield Finding("empty_label", "drop", silent & expected, 0, 1)
        yield Finding("truncated", "flag", flags(regions["truncated"]))
        if self.banned_labels is not None:
            banned = names & is_in(plain, normalised(pa.array(self.banned_labels, pa.string())))
            yield Finding("banned_labels", "drop", banned, details=plain)
        if (limit := self.max_label_words) is not None:
            words = numbers(token_counts(label))
            yield Finding("max_label_words", "quarantine", names & (words > limit), words, limit)
        if (limit := self.max_label_length) is not None:
            length = numbers(pc.utf8_length(label))
            yield Finding("max_label_length", "quarantine", length > limit, length, limit)

    def _duplicates(self, regions: pa.Table, boxes: "_Boxes", kept: Flags) -> Iterator[Finding]:
        pairs = _pairs(boxes, regions, kept, self.across_tasks, self.any_label_bins or 0)
        names, count = local_ids(regions, "region"), len(regions)

        def finding(rule: str, verdict: str, by: Rows, values: Floats, limit: float) -> Finding:
            partner = names.take(pa.array(per_row(pairs.winner, by)))
            return Finding(rule, verdict, by >= 0, per_row(values, by), limit, partner)

        alike = group_codes([comparable(_label_of(regions))])
        stays = np.ones(len(pairs), dtype=bool)
        if (limit := self.same_label_iou) is not None:
            same = (alike[pairs.winner] == alike[pairs.loser]) & (pairs.iou >= limit)
            by = suppressing_pairs(pairs, count, same)
            yield finding("same_label_iou", "drop", by, pairs.iou, limit)
            stays = (by[pairs.winner] < 0) & (by[pairs.loser] < 0)
        if (limit := self.any_label_iou) is not None:
            near = pairs.iou >= limit
            by, stays = losing_pairs(pairs, count, stays & near), stays & ~near
            yield finding("any_label_iou", "flag", by, pairs.iou, limit)
        if (limit := self.any_label_bins) is not None:
            by = losing_pairs(pairs, count, stays & (pairs.shift <= limit))
            yield finding("any_label_bins", "flag", by, pairs.shift, limit)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Measures per region; of a region that is not `sound` they mean nothing."""

    bins: Floats
    sound: Flags
    fault: pa.Array  # of a region that is not sound
    aspect: Floats
    of_object: Flags
    of_text: Flags

    def measurable(self, values: Floats) -> Floats:
        """NaN where a region has no finite box, or its image no size."""
        return np.where(is_in(self.fault, (INVERTED,)), values, np.nan)

    @property
    def height(self) -> Floats:
        return np.asarray(self.bins[:, 3] - self.bins[:, 1])

    @property
    def side(self) -> Floats:
        return np.minimum(self.bins[:, 2] - self.bins[:, 0], self.height)

    @property
    def share(self) -> Floats:
        return area(self.bins) / BINS**2


def _measure(annotations: Annotations) -> _Boxes:
    regions = annotations.regions
    pixels, sizes = bbox_xyxy(regions), image_sizes(annotations, regions)
    bins = np.nan_to_num(region_bins(annotations))
    sides = bins[:, 2:] - bins[:, :2]
    sound = np.asarray((sides > 0).all(axis=1))
    in_pixels = np.where(sound[:, None], sides * sizes, 1)
    return _Boxes(
        bins=bins,
        sound=sound,
        fault=pc.if_else(
            pa.array(finite_rows(pixels)),
            pc.if_else(pa.array(finite_rows(sizes)), INVERTED, "image has no size"),
            "not finite",
        ),
        aspect=in_pixels.max(axis=1) / in_pixels.min(axis=1),
        of_object=is_in(regions["task"], OBJECT_TASKS),
        of_text=is_in(regions["shape"], ("quad",)),
    )


def _pairs(
    boxes: _Boxes, regions: pa.Table, kept: Flags, across_tasks: bool, slack: float
) -> Pairs:
    columns = ["image_id", "source", *([] if across_tasks else ["task", "parent"])]
    return competing_pairs(
        boxes.bins,
        group_codes([regions[name] for name in columns]),
        score_ranks(regions),
        among=kept,
        slack=slack,
    )


def _label_of(regions: pa.Table) -> pa.Array:
    return pc.coalesce(regions["category"], regions["text"]).combine_chunks()
