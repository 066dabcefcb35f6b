"""Sequences of boxes, in the order in which a model wrote them: where it fell into a loop."""

from dataclasses import dataclass

import numpy as np

from schemas.boxes import Floats, aligned_iou
from schemas.columns import Flags, Numbers, Rows

STEP_TOLERANCE = 0.5
"""Bins by which two steps may differ and be the same: a model writes whole bins."""


@dataclass(frozen=True, slots=True)
class Loops:
    """Per row: is it after the first box of a loop, and how many boxes has that loop (0: none)?"""

    after: Flags
    boxes: Rows


def find_loops(
    bins: Floats, group: Rows, position: Numbers, min_boxes: int, min_iou: float
) -> Loops:
    """The first run in each group of at least `min_boxes` boxes that stay where the last one was,
    or go on by one and the same step.

    `group` (n,) says which sequence each box (n, 4) belongs to, `position` its place therein.
    """
    order = np.lexsort((position, group))
    boxes, groups = bins[order], group[order]
    steps = np.diff(boxes, axis=0)
    together = groups[1:] == groups[:-1]
    stays = together & (aligned_iou(boxes[1:], boxes[:-1]) >= min_iou)
    alike = (np.abs(np.diff(steps, axis=0)) <= STEP_TOLERANCE).all(axis=1)
    paces = together[1:] & together[:-1] & alike
    runs = [_runs(links, extra) for links, extra in ((stays, 1), (paces, 2))]
    start, length = (np.concatenate(column) for column in zip(*runs, strict=True))
    long = length >= min_boxes
    return _first_of_each(start[long], length[long], order, groups)


def _runs(links: Flags, extra: int) -> tuple[Rows, Rows]:
    """Where each stretch of links begins, and how many boxes it holds together."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], links, [0]])))
    return edges[::2], edges[1::2] - edges[::2] + extra


def _first_of_each(start: Rows, length: Rows, order: Rows, groups: Rows) -> Loops:
    begin = np.searchsorted(groups, groups, side="left")
    first = np.lexsort((-length, start))
    held, one = np.unique(begin[start[first]], return_index=True)
    start, length = start[first[one]], length[first[one]]
    loop = np.full(len(order), -1)
    loop[held] = np.arange(len(held))
    mine = loop[begin]
    places = np.arange(len(order))
    after, boxes = np.zeros(len(order), dtype=bool), np.zeros(len(order), dtype=np.int64)
    in_loop = mine >= 0
    after[order[in_loop]] = places[in_loop] > start[mine[in_loop]]
    boxes[order[in_loop]] = length[mine[in_loop]]
    return Loops(after, boxes)
