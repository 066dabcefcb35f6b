"""Found boxes against true ones as COCO's protocol matches them, on columns.

COCO's: each image and category by itself; found boxes in the order of their scores, each takes the
free true box that it overlaps most; average precision is the mean of 101 points of the
interpolated curve. Its area ranges are left out.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.boxes import Floats, aligned_iou, area
from schemas.columns import Flags, Rows

COCO_IOUS = np.linspace(0.5, 0.95, 10)
COCO_MAX_PER_IMAGE = 100
"""Found boxes of one image and category that count, the best first."""
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class Places:
    """n boxes as columns: only those of equal `image` and `category` (codes) can match.

    `score` orders found boxes, NaN comes last. `crowd` marks true boxes that stand for many things:
    any number of found boxes may lie in one, and they count neither as right nor as wrong.
    """

    image: Rows
    category: Rows
    bbox_xyxy: NDArray[np.float64]
    score: NDArray[np.float64]
    crowd: Flags

    @classmethod
    def of(
        cls,
        image: ArrayLike,
        category: ArrayLike,
        bbox_xyxy: ArrayLike,
        score: ArrayLike | None = None,
        crowd: ArrayLike | None = None,
    ) -> "Places":
        """Without scores the boxes stand in their order, the first is the best."""
        images = np.asarray(image, dtype=np.int64)
        count = len(images)
        return cls(
            images,
            np.asarray(category, dtype=np.int64),
            np.asarray(bbox_xyxy, dtype=np.float64).reshape(count, 4),
            np.asarray(-np.arange(count) if score is None else score, dtype=np.float64),
            np.asarray(np.zeros(count) if crowd is None else crowd, dtype=bool),
        )

    def __len__(self) -> int:
        return len(self.image)

    def where(self, rows: Rows | Flags) -> "Places":
        """These rows."""
        return Places(
            self.image[rows],
            self.category[rows],
            self.bbox_xyxy[rows],
            self.score[rows],
            self.crowd[rows],
        )

    def nameless(self) -> "Places":
        """All of one category."""
        return replace(self, category=np.zeros_like(self.category))


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Each found place with each true one of its group: rows of both, and how far they overlap."""

    found: Rows
    true: Rows
    iou: Floats


@dataclass(frozen=True)
class Counts:
    """Counts of labels; `right` ones have a true one to themselves."""

    right: int
    found: int
    true: int

    @property
    def precision(self) -> float | None:
        """None where nothing was found."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """None where nothing is there."""
        return self.right / self.true if self.true else None

    @property
    def f1(self) -> float | None:
        """None where nothing was found and nothing is there."""
        either = self.found + self.true
        return 2 * self.right / either if either else None


def mean_average_precision(found: Places, true: Places, min_ious: ArrayLike) -> float | None:
    """Mean over thresholds and the categories that are there; None where there is none."""
    by_category = average_precision(found, true, min_ious)
    return float(np.mean(list(by_category.values()))) if by_category else None


def average_precision(
    found: Places, true: Places, min_ious: ArrayLike, max_per_image: int = COCO_MAX_PER_IMAGE
) -> dict[int, NDArray[np.float64]]:
    """For each category with a true box that is no crowd: one value per threshold."""
    turns = _turns(found)
    found, turns = found.where(turns < max_per_image), turns[turns < max_per_image]
    overlaps = box_overlaps(found, true)
    order = np.lexsort((turns, found.image, _descending(found.score)))
    categories, totals = np.unique(true.category[~true.crowd], return_counts=True)
    values: dict[int, list[float]] = {int(category): [] for category in categories}
    for min_iou in np.atleast_1d(min_ious):
        partner = match(overlaps, turns, true.crowd, float(min_iou))
        counted = order[~_in_crowd(partner, true)[order]]
        for category, total in zip(categories, totals, strict=True):
            rows = counted[found.category[counted] == category]
            values[int(category)].append(_mean_of_curve(partner[rows] >= 0, int(total)))
    return {category: np.array(each) for category, each in values.items()}


def count_right(
    found: Places, true: Places, min_iou: float = 0.5, overlaps: Overlaps | None = None
) -> Counts:
    """All together; crowds, and what lies in them, are left out. Boxes overlap by default."""
    overlaps = overlaps or box_overlaps(found, true)
    partner = match(overlaps, _turns(found), true.crowd, min_iou)
    in_crowd = _in_crowd(partner, true)
    right = int(np.count_nonzero((partner >= 0) & ~in_crowd))
    return Counts(right, int((~in_crowd).sum()), int((~true.crowd).sum()))


def box_overlaps(found: Places, true: Places) -> Overlaps:
    """IoU of all pairs of one image and category; in a crowd, the share of the found box."""
    f, t = candidate_pairs(found, true)
    a, b = found.bbox_xyxy[f], true.bbox_xyxy[t]
    shared = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    covered = np.prod(shared, axis=1) / np.maximum(area(a), np.finfo(np.float64).tiny)
    return Overlaps(f, t, np.where(true.crowd[t], covered, aligned_iou(a, b)))


def candidate_pairs(found: Places, true: Places) -> tuple[Rows, Rows]:
    """Rows of all pairs of one image and category."""
    groups = group_codes(found, true)
    ours, theirs = groups[: len(found)], groups[len(found) :]
    order = np.argsort(theirs, kind="stable")
    low = np.searchsorted(theirs[order], ours, side="left")
    counts = np.searchsorted(theirs[order], ours, side="right") - low
    first = np.repeat(np.arange(len(ours)), counts)
    within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    return first, order[np.repeat(low, counts) + within]


def match(overlaps: Overlaps, turns: Rows, crowd: Flags, min_iou: float) -> Rows:
    """For each found place the row of its true one, -1 without any.

    Places take turns within their group: each takes the best that is free, a crowd where nothing
    else fits. All groups go at once, so the cost follows the turns, not the images.
    """
    # COCO's own slack, which lets equal boxes match at a threshold of 1.
    fits = overlaps.iou >= min(min_iou, 1 - 1e-10)
    f, t, overlap = overlaps.found[fits], overlaps.true[fits], overlaps.iou[fits]
    order = np.lexsort((-t, -overlap, crowd[t], f, turns[f]))
    f, t = f[order], t[order]
    partner = np.full(len(turns), -1)
    taken = np.zeros(len(crowd), dtype=bool)
    ends = np.searchsorted(turns[f], np.arange(turns.max(initial=-1) + 2))
    for start, end in itertools.pairwise(ends):
        rows = start + np.flatnonzero(~taken[t[start:end]] | crowd[t[start:end]])
        mine, at = np.unique(f[rows], return_index=True)
        partner[mine] = t[rows[at]]
        taken[t[rows[at]]] = True
    return partner


def turns_within(groups: Rows, score: Floats) -> Rows:
    """Each row's place in its group by descending score, from 0; equal ones as they stand."""
    order = np.lexsort((_descending(score), groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups.min(initial=0) - 1))
    lengths = np.diff(np.append(starts, len(order)))
    turns = np.empty(len(order), dtype=np.int64)
    turns[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return turns


def group_codes(*tables: Places) -> Rows:
    """Of the rows of all tables, one after the other: equal where image and category are."""
    image, category = (
        np.concatenate([getattr(table, name) for table in tables]) for name in ("image", "category")
    )
    return np.unique(np.stack([image, category], axis=1), axis=0, return_inverse=True)[1].ravel()


def _turns(found: Places) -> Rows:
    return turns_within(group_codes(found), found.score)


def _descending(score: Floats) -> Floats:
    return np.nan_to_num(-score, nan=np.inf)


def _in_crowd(partner: Rows, true: Places) -> Flags:
    inside = np.zeros(len(partner), dtype=bool)
    inside[partner >= 0] = true.crowd[partner[partner >= 0]]
    return inside


def _mean_of_curve(right: Flags, total: int) -> float:
    """Of the precision at 101 recalls, each the best that is reached there or further on."""
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / total, _RECALLS, side="left")
    return float(np.append(best_from_here, 0.0)[np.minimum(at, len(hits))].mean())
