"""The options of filter_duplicates, and its rules."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations, kept_mask
from schemas.boxes import losing_pairs, per_row, suppressing_pairs
from schemas.columns import Flags
from schemas.sequences import find_loops
from schemas.tables import REJECTIONS
from stages.base import Finding, Judge
from stages.filter_duplicates.places import Places, nested_ranks


class FilterDuplicates(Judge):
    """Regions against the others of their image, source, task and parent, measured in bins: first
    loops (R11), then tiles (R12), then duplicates (R5), then groups (R6), each among what the one
    before left standing. Each filter's name begins with its rule.

    A duplicate is dropped in favour of the better score, and nothing of it is lost: `detail` of the
    verdict names the region that stays, and the labels of both where they differ; the region that
    stays is flagged `r5_merged` with all its labels. Phrases of a caption may share a place under
    different labels: `filter_phrases` judges these.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"regions"})

    stage: Literal["filter_duplicates"] = "filter_duplicates"
    min_loop: int | None = Field(
        5,
        ge=3,
        description="R11: so many boxes in a row in one place, or at one step, are a loop; drop "
        "all that the answer says after its first box. Ours",
    )
    loop_iou: float = Field(
        0.95, gt=0, le=1, description="R11: overlap at which two boxes are in one place; ours"
    )
    max_boxes: int | None = Field(
        100, ge=1, description="R11: boxes of one answer; quarantine all of them above; ours"
    )
    tile_edge: float | None = Field(
        2,
        ge=0,
        description="R12: bins to an inner edge of the tile; drop at that or less, unless another "
        "tile or the whole image shows the thing too. Ours, needs `tile_ios`",
    )
    tile_ios: float | None = Field(
        0.5,
        gt=0,
        le=1,
        description="R12: same label in two tiles, or in a tile and the whole image, and this "
        "share of the smaller box in the other: keep one. SAHI's value",
    )
    full_pass_area: float = Field(
        0.25,
        ge=0,
        description="R12: areas of a tile above which the whole image's box is the better; ours",
    )
    same_label_iou: float | None = Field(
        0.60,
        gt=0,
        le=1,
        description="R5: same label at this overlap or more; keep the best score. The best fusion "
        "threshold on Open Images; SA-1B has 0.7",
    )
    any_label_iou: float | None = Field(
        0.90,
        gt=0,
        le=1,
        description="R5: any label at this overlap or more; keep the best score and all labels. "
        "All-Seeing's rule, the number is ours",
    )
    any_label_bins: float | None = Field(
        2,
        ge=0,
        description="R5: any label, every edge within so many bins; keep the best score and all "
        "labels. Ours: overlap alone misses doubles of small boxes",
    )
    contained_ios: float | None = Field(
        0.9,
        gt=0,
        le=1,
        description="R6: share of a box in a larger one of its label; flag at that or more. After "
        "GRIT, the number is ours",
    )
    contained_area: float = Field(
        0.5, gt=0, le=1, description="R6: share of the larger box that the smaller stays below"
    )
    min_group: int = Field(
        3,
        ge=1,
        description="R6: flag a box that contains so many of its label. Open Images draws such "
        "groups, the number is ours",
    )
    across_tasks: bool = Field(False, description="compare boxes of different tasks too")

    def judge(self, annotations: Annotations) -> pa.Table:
        places = Places.of(annotations, self.across_tasks, self.any_label_bins or 0)
        standing = kept_mask(annotations, "region") & places.sound
        findings: list[Finding] = []
        for rules in (self._loops, self._tiles, self._duplicates, self._groups):
            found = [*rules(places, standing)]
            gone = [each.rejected for each in found if each.verdict in REJECTIONS]
            standing = (
                standing & ~(np.logical_or.reduce(gone) & ~places.human) if gone else standing
            )
            findings += found
        return self.verdicts(annotations.regions, "region", findings)

    def _loops(self, places: Places, standing: Flags) -> Iterator[Finding]:
        listed = np.flatnonzero(~np.isnan(places.position))
        answer, position = places.answer[listed], places.position[listed]
        if (limit := self.min_loop) is not None:
            loops = find_loops(places.bins[listed], answer, position, limit, self.loop_iou)
            after, boxes = np.zeros(len(standing), dtype=bool), np.zeros(len(standing))
            after[listed], boxes[listed] = loops.after, loops.boxes
            yield Finding("r11_loop", "drop", after, boxes, limit)
        if (limit := self.max_boxes) is not None:
            boxes = np.zeros(len(standing))
            boxes[listed] = np.bincount(answer)[answer]
            yield Finding("r11_boxes", "quarantine", boxes > limit, boxes, limit)

    def _tiles(self, places: Places, standing: Flags) -> Iterator[Finding]:
        tiles = places.tiles
        if (limit := self.tile_ios) is None or tiles is None:
            return
        cut = tiles.edge <= (-1 if self.tile_edge is None else self.tile_edge)
        large = ~tiles.tiled & (places.area > self.full_pass_area * tiles.area)
        order = np.select([large, tiles.tiled & ~cut, ~tiles.tiled], [0, 1, 2], 3)
        pairs = places.pairs.among(standing)
        apart = tiles.code[pairs.winner] != tiles.code[pairs.loser]
        pairs = pairs.where(places.alike(pairs) & apart)
        pairs = pairs.where(places.ios(pairs) >= limit).ranked(nested_ranks(order, places.rank))
        shown = np.zeros(len(standing), dtype=bool)
        shown[pairs.winner] = shown[pairs.loser] = True
        yield Finding("r12_tile_edge", "drop", standing & cut & ~shown, tiles.edge, self.tile_edge)
        by = suppressing_pairs(pairs, len(standing), np.ones(len(pairs), dtype=bool))
        yield places.finding("r12_tiles", "drop", by, pairs, places.ios(pairs), limit)

    def _duplicates(self, places: Places, standing: Flags) -> Iterator[Finding]:
        pairs = places.pairs.among(standing)
        alike, free = places.alike(pairs), ~places.grounded[pairs.winner]
        limits = (self.same_label_iou, self.any_label_iou, self.any_label_bins)
        same, near = (np.inf if limit is None else limit for limit in limits[:2])
        hits = (
            alike & (pairs.iou >= same),
            free & (pairs.iou >= near),
            free & (pairs.shift <= (-1 if limits[2] is None else limits[2])),
        )
        by = left = suppressing_pairs(pairs, len(standing), np.logical_or.reduce(hits))
        names = ("r5_same_label", "r5_any_label", "r5_bins")
        values = (pairs.iou, pairs.iou, pairs.shift)
        for name, hit, value, limit in zip(names, hits, values, limits, strict=True):
            mine = np.where(per_row(hit, left), left, -1)
            left = np.where(mine >= 0, -1, left)
            yield places.finding(name, "drop", mine, pairs, value, limit)
        yield places.merged(by, pairs)

    def _groups(self, places: Places, standing: Flags) -> Iterator[Finding]:
        if (limit := self.contained_ios) is None:
            return
        pairs = places.pairs.among(standing)
        pairs = pairs.where(places.alike(pairs))
        pairs = pairs.where(places.ios(pairs) >= limit)
        pairs = pairs.ranked(nested_ranks(-places.area, places.rank))
        chosen = places.area[pairs.loser] < self.contained_area * places.area[pairs.winner]
        by = losing_pairs(pairs, len(standing), chosen)
        yield places.finding("r6_contained", "flag", by, pairs, places.ios(pairs), limit)
        parts = np.bincount(pairs.winner[chosen], minlength=len(standing))
        yield Finding("r6_group", "flag", parts >= self.min_group, parts, self.min_group)
