"""Regions as the rules on duplicates see them: comparable places, in tiles or not."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import (
    Annotations,
    bbox_xyxy,
    image_sizes,
    local_ids,
    region_bins,
    region_labels,
    score_ranks,
)
from schemas.boxes import Floats, Pairs, aligned_ios, area, competing_pairs, per_row
from schemas.columns import Flags, Numbers, Rows, finite_rows, group_codes, is_in, numbers
from schemas.tables import HUMAN
from schemas.tiles import inner_edge_distance, tile_boxes
from stages.base import Finding
from stages.language import comparable

ANSWER = ("task", "parent")
LABEL_SEPARATOR = " | "
GROUNDING = "caption_to_phrase_grounding"
"""Two phrases may mean one place: `filter_phrases` judges these."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """Per region: was it seen in a tile, which, how far in bins from an inner edge of it (inf where
    there is none), and how many square pixels a tile of its image has."""

    tiled: Flags
    code: Rows
    edge: Numbers
    area: Numbers

    @classmethod
    def of(cls, annotations: Annotations) -> "Tiles | None":
        """None where no region has one."""
        regions = annotations.regions
        boxes = tile_boxes(regions)
        tiled = finite_rows(boxes)
        if not tiled.any():
            return None
        image = group_codes([regions["image_id"]])
        areas = np.full(image.max() + 1, np.inf)
        areas[image[tiled]] = area(boxes[tiled])
        edge = inner_edge_distance(bbox_xyxy(regions), boxes, image_sizes(annotations, regions))
        return cls(tiled, group_codes([regions["tile"]]), edge, areas[image])


@dataclass(frozen=True, slots=True)
class Places:
    """Measures per region, of which only those that are `sound` mean something; `pairs` are of
    sound regions."""

    names: pa.Array  # local ids
    labels: pa.Array
    label: Rows  # equal where two labels name one thing
    bins: Floats
    area: Floats  # in square pixels
    sound: Flags
    human: Flags
    grounded: Flags
    answer: Rows
    position: Numbers
    rank: Rows
    pairs: Pairs
    tiles: Tiles | None  # where no region has one

    @classmethod
    def of(cls, annotations: Annotations, across_tasks: bool, slack: float) -> "Places":
        regions = annotations.regions
        bins = region_bins(annotations)
        sound = finite_rows(bins)
        bins = np.nan_to_num(bins)
        sound &= (bins[:, 2:] > bins[:, :2]).all(axis=1)
        group = group_codes(
            [regions[name] for name in ("image_id", "source", *(() if across_tasks else ANSWER))]
        )
        labels = pc.fill_null(region_labels(regions), "")
        rank = score_ranks(regions)
        return cls(
            names=local_ids(regions, "region"),
            labels=labels,
            label=group_codes([comparable(labels)]),
            bins=bins,
            area=area(bbox_xyxy(regions)),
            sound=sound,
            human=is_in(regions["source"], (HUMAN,)),
            grounded=is_in(regions["task"], (GROUNDING,)),
            answer=group_codes([regions[name] for name in ("image_id", "source", *ANSWER, "tile")]),
            position=numbers(regions["position"]),
            rank=rank,
            pairs=competing_pairs(bins, group, rank, among=sound, slack=slack),
            tiles=Tiles.of(annotations),
        )

    def alike(self, pairs: Pairs) -> Flags:
        return np.asarray(self.label[pairs.winner] == self.label[pairs.loser])

    def ios(self, pairs: Pairs) -> Floats:
        return aligned_ios(self.bins[pairs.winner], self.bins[pairs.loser])

    def finding(
        self, rule: str, verdict: str, by: Rows, pairs: Pairs, values: Floats, limit: float | None
    ) -> Finding:
        """On the losers of pairs; names the winner, and both labels where they differ."""
        loser = np.flatnonzero(by >= 0)
        winner = pairs.winner[by[loser]]
        names, labels = self.names.take(pa.array(winner)), self.labels.take(pa.array(winner))
        own = self.labels.take(pa.array(loser))
        both = pc.binary_join_element_wise(labels, own, LABEL_SEPARATOR)
        united = pc.binary_join_element_wise(names, both, ": ")
        details = pc.if_else(pa.array(self.label[winner] != self.label[loser]), united, names)
        place = np.full(len(by), -1)
        place[loser] = np.arange(len(loser))
        of_row = details.take(pa.array(place, mask=place < 0))
        return Finding(rule, verdict, by >= 0, per_row(values, by), limit, of_row)

    def merged(self, by: Rows, pairs: Pairs) -> Finding:
        """On the winners over other labels: how many labels they have now, and which."""
        loser = np.flatnonzero(by >= 0)
        winner = pairs.winner[by[loser]]
        other = self.label[winner] != self.label[loser]
        loser, winner = loser[other], winner[other]
        kept = np.unique(winner)
        of, said = np.concatenate([kept, winner]), np.concatenate([kept, loser])
        _, first = np.unique(np.stack([of, self.label[said]]), axis=1, return_index=True)
        first.sort()
        table = pa.table({"of": of[first], "label": self.labels.take(pa.array(said[first]))})
        united = table.group_by("of", use_threads=False).aggregate([("label", "list")])
        rows = united["of"].to_numpy()
        count, details = np.zeros(len(by)), np.full(len(by), None, dtype=object)
        count[rows] = pc.list_value_length(united["label_list"]).to_numpy()
        details[rows] = pc.binary_join(united["label_list"], LABEL_SEPARATOR).to_numpy(
            zero_copy_only=False
        )
        return Finding(
            "r5_merged", "flag", count > 0, count, details=pa.array(details, pa.string())
        )


def nested_ranks(order: Floats | Rows, rank: Rows) -> Rows:
    """Ranks by `order`, lowest first, and by `rank` among equals."""
    best, ranks = np.empty(len(rank), dtype=np.int64), np.empty(len(rank), dtype=np.int64)
    best[rank] = np.arange(len(rank))
    ranks[best[np.argsort(order[best], kind="stable")]] = np.arange(len(rank))
    return ranks
