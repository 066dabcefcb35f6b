"""Regions that show what a label names, at its place: what rules ask of other tasks and sources."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.boxes import Floats, aligned_iou
from schemas.columns import Flags, Rows, finite_rows, group_codes
from stages.language.senses import widened

_MOST_PAIRS = 1 << 20
"""Held against each other at once, which bounds the memory."""


@dataclass(frozen=True, slots=True)
class Places:
    """One entry per label: its image, its box in bins, and the noun it names as two codes."""

    image: Rows
    bins: Floats
    noun: Rows
    """-1: none."""
    wider: Rows
    """The code of the wider word (`senses`), its own where there is none."""

    @classmethod
    def of(cls, image_id: pa.Array, bins: Floats, noun: pa.Array) -> "Places":
        """`noun`: lemmas, NULL where there is none. Codes of two calls cannot be compared."""
        both = pa.concat_arrays([noun, widened(noun).cast(noun.type)])
        code = np.where(np.asarray(pc.is_null(both)), -1, group_codes([both]))
        half = len(noun)
        return cls(group_codes([image_id]), bins, code[:half], code[half:])

    def rows(self, rows: Rows) -> "Places":
        """Those of these rows, in their order."""
        return Places(self.image[rows], self.bins[rows], self.noun[rows], self.wider[rows])

    def known_to(self, witnesses: "Places", *, same_image: bool = False) -> Flags:
        """Per label: does any witness name such a thing, in its image or in whatever image?"""
        told = witnesses.rows(np.flatnonzero(witnesses.noun >= 0))
        codes = (self.noun, self.wider, told.noun, told.wider)
        scale = 1 + max(code.max(initial=0) for code in codes)
        mine, theirs = (p.image * (scale if same_image else 0) for p in (self, told))
        names, wider = theirs + told.noun, theirs + told.wider
        known = np.isin(mine + self.noun, names) | np.isin(mine + self.wider, names)
        return np.asarray((self.noun >= 0) & (known | np.isin(mine + self.noun, wider)))

    def agrees(self, rows: Rows, other: "Places", others: Rows) -> Flags:
        """Pair by pair: the same noun, or one the wider word of the other?"""
        noun, wider = self.noun[rows], self.wider[rows]
        told, told_wider = other.noun[others], other.wider[others]
        return np.asarray(
            (noun >= 0) & ((noun == told) | (wider == told) | (noun == told_wider)) & (told >= 0)
        )


@dataclass(frozen=True, slots=True)
class Sighting:
    """Per label the witness whose box fits best: its row, -1 where none touches it, and the IoU."""

    row: Rows
    iou: Floats


def best_sighting(places: Places, witnesses: Places, *, named: bool = True) -> Sighting:
    """Of the witnesses in a label's image; where `named`, only of those that name the same.

    A box that is not finite is seen nowhere.
    """
    row, best = np.full(len(places.image), -1), np.zeros(len(places.image))
    mine = np.flatnonzero(finite_rows(places.bins) & ((places.noun >= 0) | (not named)))
    theirs = np.flatnonzero(finite_rows(witnesses.bins))
    keys = [places.image[mine], witnesses.image[theirs]]
    if named:
        size = max(places.wider.max(initial=0), witnesses.wider.max(initial=0)) + 1
        keys = [
            keys[0] * size + places.wider[mine],
            np.where(witnesses.noun[theirs] >= 0, keys[1] * size + witnesses.wider[theirs], -1),
        ]
    for one, other in _joined(*keys):
        label, witness = mine[one], theirs[other]
        overlap = aligned_iou(places.bins[label], witnesses.bins[witness])
        met = np.flatnonzero(overlap > 0)
        if named:
            met = met[places.agrees(label[met], witnesses, witness[met])]
        label, witness, overlap = label[met], witness[met], overlap[met]
        begins = np.flatnonzero(np.diff(label, prepend=-1))
        most = np.maximum.reduceat(overlap, begins) if len(begins) else overlap
        first = np.flatnonzero(overlap == np.repeat(most, np.diff(begins, append=len(label))))[::-1]
        row[label[first]], best[label[first]] = witness[first], overlap[first]
    return Sighting(row, best)


def _joined(one: Rows, other: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Rows of every two equal keys, in ascending order and in parts; all partners of a row are in
    one part."""
    order = np.argsort(other, kind="stable")
    low = np.searchsorted(other[order], one)
    count = np.searchsorted(other[order], one, side="right") - low
    part = np.cumsum(count) // _MOST_PAIRS
    for rows in np.split(np.arange(len(one)), np.flatnonzero(np.diff(part)) + 1):
        times = count[rows]
        first = np.repeat(low[rows] - (np.cumsum(times) - times), times)
        yield np.repeat(rows, times), order[first + np.arange(times.sum())]
