"""Outlines: the column `points` (parts of x,y,x,y… of a quad or polygon) measured as arrays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from schemas.columns import Flags, Numbers, Rows, numbers

CORNERS = 4
LEAST_CORNERS = 3


@dataclass(frozen=True, slots=True)
class Parts:
    """Every part of `count` rows: its row, its count of numbers and where they begin in `flat`."""

    count: int
    row: Rows
    length: Rows
    start: Rows
    flat: Numbers

    @classmethod
    def of(cls, points: pa.ChunkedArray) -> "Parts":
        """A row without points has no part; a number that is NULL becomes NaN."""
        whole = points.combine_chunks()
        row = pc.list_parent_indices(whole).to_numpy()
        parts = pc.list_flatten(whole)
        length = pc.fill_null(pc.list_value_length(parts), 0).to_numpy().astype(np.int64)
        flat = numbers(pc.list_flatten(parts))
        return cls(len(whole), row, length, np.cumsum(length) - length, flat)

    @property
    def given(self) -> Flags:
        """Per row: has it points at all?"""
        return self._any(np.ones(len(self.row), dtype=bool))

    @property
    def not_finite(self) -> Flags:
        """Per row: is a number of it NaN, infinite or NULL?"""
        part = np.repeat(np.arange(len(self.row)), self.length)
        return self._any(np.bincount(part[~np.isfinite(self.flat)], minlength=len(self.row)) > 0)

    @property
    def unfinished(self) -> Flags:
        """Per row: has a part fewer than three corners, or a number too many?"""
        return self._any((self.length < 2 * LEAST_CORNERS) | (self.length % 2 == 1))

    def quads(self) -> tuple[Rows, Numbers]:
        """Rows that are one part of four finite corners, and these, shape (n, 4, 2)."""
        single = np.bincount(self.row, minlength=self.count)[self.row] == 1
        part = np.flatnonzero(single & (self.length == 2 * CORNERS))
        corners = self.flat[self.start[part, None] + np.arange(2 * CORNERS)]
        finite = np.isfinite(corners).all(axis=1)
        return self.row[part[finite]], corners[finite].reshape(-1, CORNERS, 2)

    def crossing(self) -> tuple[Flags, pa.Array]:
        """Per row: does the edge of a part cross or touch itself, and what the first such part is
        said to suffer from. Parts that are unfinished or not finite are passed over."""
        sane = ~(self.unfinished | self.not_finite)[self.row]
        part, corners = self._corners(sane)
        rings = shapely.linearrings(corners, indices=part)
        shapes = np.asarray(shapely.polygons(rings))
        bad = np.flatnonzero(~shapely.is_valid(shapes))
        rows, first = np.unique(self.row[np.flatnonzero(sane)[bad]], return_index=True)
        found = np.zeros(self.count, dtype=bool)
        found[rows] = True
        reasons = np.full(self.count, None, dtype=object)
        reasons[rows] = shapely.is_valid_reason(shapes[bad[first]])
        return found, pa.array(reasons, pa.string())

    def _corners(self, chosen: Flags) -> tuple[Rows, Numbers]:
        """Corners of the chosen parts, and the number of its part, from 0, of each."""
        length = self.length[chosen]
        numbers_of = np.repeat(chosen, self.length)
        return np.repeat(np.arange(len(length)), length // 2), self.flat[numbers_of].reshape(-1, 2)

    def _any(self, part: Flags) -> Flags:
        return np.bincount(self.row[part], minlength=self.count) > 0


def convexity(quads: Numbers) -> Rows:
    """Shape (n,): 4 for a convex quad, 3 for a dent, 2 for crossed edges, 0 for no area; how many
    of its corners turn the way that most of them turn."""
    edges = np.roll(quads, -1, axis=1) - quads
    after = np.roll(edges, -1, axis=1)
    turns = np.sign(edges[..., 0] * after[..., 1] - edges[..., 1] * after[..., 0])
    right, left = (turns > 0).sum(axis=1), (turns < 0).sum(axis=1)
    straight = CORNERS - right - left
    most = np.maximum(right, left)
    return np.where(most == 0, 0, most + straight)


def text_heights(quads: Numbers) -> Numbers:
    """Shape (n,): the shorter of the left and right edge; corners run clockwise from top left."""
    left = np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1)
    right = np.linalg.norm(quads[:, 2] - quads[:, 1], axis=1)
    return np.asarray(np.minimum(left, right))
