"""Boxes as arrays (n, 4): `bbox_xyxy`, float pixels, x0 y0 x1 y1; and Florence-2's bins."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from schemas.columns import Flags, Rows

BINS = 1000
THOUSANDTHS = 3
"""Decimals of a bin that float32 pixels hold, up to sides of 16,000 pixels."""
Floats = NDArray[np.floating]


def bins_to_pixels(bins: ArrayLike, size: ArrayLike) -> NDArray[np.float32]:
    """Centre of each bin in pixels; `size` is the image side that the bin lies on (broadcasts)."""
    widths = np.asarray(size, dtype=np.float64) / BINS
    return ((np.asarray(bins, dtype=np.float64) + 0.5) * widths).astype(np.float32)


def pixels_to_bins(pixels: ArrayLike, size: ArrayLike) -> NDArray[np.int64]:
    """floor(pixel / (size / 1000)) clamped to 0..999: Florence-2's own quantisation."""
    widths = np.asarray(size, dtype=np.float64) / BINS
    return np.clip(np.floor(np.asarray(pixels, dtype=np.float64) / widths), 0, BINS - 1).astype(
        np.int64
    )


def pixels_to_fractional_bins(bbox_xyxy: Floats, sizes: Floats) -> NDArray[np.float64]:
    """Shape (n, 4): places on the scale of bins, to a thousandth; `sizes` (n, 2) is width, height.

    Rounded so that a limit in bins holds exactly for boxes that came from bins.
    """
    widths = np.tile(np.asarray(sizes, dtype=np.float64), 2) / BINS
    return np.round(np.asarray(bbox_xyxy, dtype=np.float64) / widths, THOUSANDTHS)


def area(bbox_xyxy: Floats) -> Floats:
    """Shape (n,): width times height, 0 for an inverted box, NaN where a side is no number."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity, and times 0
        width = np.maximum(bbox_xyxy[:, 2] - bbox_xyxy[:, 0], 0)
        height = np.maximum(bbox_xyxy[:, 3] - bbox_xyxy[:, 1], 0)
        return np.asarray(width * height)


def intersection(a: Floats, b: Floats) -> Floats:
    """Shape (n, m): area shared by each box of `a` (n, 4) with each of `b` (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(a: Floats, b: Floats) -> Floats:
    """Shape (n, m): intersection over union, 0 where both boxes are empty."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def aligned_intersection(a: Floats, b: Floats) -> Floats:
    """Shape (n,): area shared by each box of `a` with the same row of `b`."""
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def aligned_iou(a: Floats, b: Floats) -> Floats:
    """Shape (n,): intersection over union of each box of `a` with the same row of `b`."""
    shared = aligned_intersection(a, b)
    union = area(a) + area(b) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def aligned_ios(a: Floats, b: Floats) -> Floats:
    """Shape (n,): intersection over the smaller of the two boxes, 0 where that one is empty."""
    shared, smaller = aligned_intersection(a, b), np.minimum(area(a), area(b))
    return np.asarray(np.divide(shared, smaller, out=np.zeros_like(shared), where=smaller > 0))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows that compete: in each the better row wins; best winner first."""

    winner: "Rows"
    loser: "Rows"
    iou: Floats
    shift: Floats  # the largest distance between two edges of one side

    def __len__(self) -> int:
        return len(self.winner)

    def among(self, rows: "Flags") -> "Pairs":
        """Those of which both are among these rows."""
        return self.where(rows[self.winner] & rows[self.loser])

    def where(self, chosen: "Flags") -> "Pairs":
        return Pairs(self.winner[chosen], self.loser[chosen], self.iou[chosen], self.shift[chosen])

    def ranked(self, rank: "Rows") -> "Pairs":
        """The same pairs where another `rank` (distinct numbers) says which row is better."""
        swap = rank[self.winner] > rank[self.loser]
        winner = np.where(swap, self.loser, self.winner)
        loser = np.where(swap, self.winner, self.loser)
        order = np.lexsort((rank[loser], rank[winner]))
        return Pairs(winner[order], loser[order], self.iou[order], self.shift[order])


def competing_pairs(
    bbox_xyxy: Floats, groups: "Rows", rank: "Rows", among: "Flags", slack: float = 0.0
) -> Pairs:
    """Every two rows `among` one group whose boxes touch, or whose edges are at most `slack` apart;
    a lower `rank` (distinct numbers) is better."""
    rows = np.flatnonzero(among)
    first, second = (rows[side] for side in _touching(bbox_xyxy[rows], groups[rows], slack))
    shift = np.abs(bbox_xyxy[first] - bbox_xyxy[second]).max(axis=1, initial=0)
    overlap = aligned_iou(bbox_xyxy[first], bbox_xyxy[second])
    return Pairs(first, second, overlap, shift).ranked(rank)


def suppressing_pairs(pairs: Pairs, count: int, chosen: "Flags") -> "Rows":
    """Greedy suppression by the chosen pairs: which one drops each of `count` rows, -1: it stays.

    A row that is dropped drops nothing itself.
    """
    dropped = np.zeros(count, dtype=bool)
    winner, loser = pairs.winner[chosen], pairs.loser[chosen]
    while len(winner):
        threatened = np.zeros(count, dtype=bool)
        threatened[loser] = True
        dropped[loser[~threatened[winner]]] = True
        undecided = ~dropped[winner] & ~dropped[loser] & threatened[winner]
        winner, loser = winner[undecided], loser[undecided]
    return losing_pairs(pairs, count, chosen & ~dropped[pairs.winner])


def losing_pairs(pairs: Pairs, count: int, chosen: "Flags") -> "Rows":
    """For each of `count` rows the first chosen pair that it loses, -1 where there is none."""
    by = np.full(count, -1)
    last_first = np.flatnonzero(chosen)[::-1]  # of equal rows the last written stays
    by[pairs.loser[last_first]] = last_first
    return by


def per_row(values: NDArray[Any], by: "Rows") -> NDArray[Any]:
    """A pair's value for each row that a pair stands for, 0 for the others."""
    rows = np.zeros(len(by), dtype=values.dtype)
    hit = by >= 0
    rows[hit] = values[by[hit]]
    return rows


def _touching(bbox_xyxy: Floats, groups: "Rows", slack: float) -> "tuple[Rows, Rows]":
    """A sweep along x: its cost follows the pairs that share a column, not the square of rows."""
    order = np.lexsort((bbox_xyxy[:, 0], groups))
    low, group = bbox_xyxy[order, :2], groups[order]
    reach = np.maximum(bbox_xyxy[order, 2:], low + slack)
    first, step = np.arange(len(order)), 0
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    while len(first):
        step += 1
        first = first[first + step < len(order)]
        second = first + step
        met = (group[second] == group[first]) & (low[second, 0] <= reach[first, 0])
        first, second = first[met], second[met]
        meets = (low[second, 1] <= reach[first, 1]) & (low[first, 1] <= reach[second, 1])
        firsts.append(order[first[meets]])
        seconds.append(order[second[meets]])
    return np.concatenate(firsts), np.concatenate(seconds)
