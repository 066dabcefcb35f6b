"""Labels → the answers that Florence-2 would be taught to write: the inverse of the grammar.

Boxes stand from left to right: by the bin of x0, then y0, x1, y1; each with its own label. Phrases
stand in the order of the caption. Geometry is float pixels of an image of `size` (width, height).
"""

import re
from collections.abc import Sequence

import numpy as np

from schemas.boxes import pixels_to_bins

Size = tuple[int, int]
_BRACKET = re.compile("<+")
_SPACE = re.compile(r"\s+")


def locations(points: Sequence[float], size: Size) -> str:
    """x, y, x, y… → one `<loc_n>` each."""
    pixels = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return "".join(f"<loc_{bin}>" for bin in pixels_to_bins(pixels, size).ravel())


def reading_order(bboxes_xyxy: Sequence[Sequence[float]], size: Size) -> list[int]:
    """Positions of the boxes from left to right."""
    bins = pixels_to_bins(np.asarray(bboxes_xyxy, dtype=np.float64).reshape(-1, 2, 2), size)
    keys = bins.reshape(-1, 4).tolist()
    return sorted(range(len(keys)), key=keys.__getitem__)


def plain_words(text: str) -> str:
    """Without `<`, which would begin a token or cut the label, and with single spaces."""
    return _SPACE.sub(" ", _BRACKET.sub(" ", text)).strip()


def boxes_target(labels: Sequence[str], bboxes_xyxy: Sequence[Sequence[float]], size: Size) -> str:
    """`cat<loc…x4>dog<loc…x4>`: od, dense_region_caption, open_vocabulary_detection."""
    return "".join(
        plain_words(labels[i]) + locations(bboxes_xyxy[i], size)
        for i in reading_order(bboxes_xyxy, size)
    )


def proposals_target(bboxes_xyxy: Sequence[Sequence[float]], size: Size) -> str:
    """`<loc…x4><loc…x4>`: region_proposal."""
    return boxes_target([""] * len(bboxes_xyxy), bboxes_xyxy, size)


def quads_target(texts: Sequence[str], quads: Sequence[Sequence[float]], size: Size) -> str:
    """`STOP<loc…x8>`: ocr_with_region, ordered by the boxes around the quads."""
    around = [(*np.min(_points(quad), axis=0), *np.max(_points(quad), axis=0)) for quad in quads]
    return "".join(
        plain_words(texts[i]) + locations(quads[i], size) for i in reading_order(around, size)
    )


def phrases_target(phrases: Sequence[tuple[str, Sequence[Sequence[float]]]], size: Size) -> str:
    """`a cat<loc…x4><loc…x4>the dog<loc…x4>` from (phrase, its boxes), in the order given."""
    return "".join(
        plain_words(phrase) + "".join(locations(boxes[i], size) for i in reading_order(boxes, size))
        for phrase, boxes in phrases
        if len(boxes)
    )


def polygons_target(instances: Sequence[Sequence[Sequence[float]]], size: Size) -> str:
    """Polygons of each instance, as parts of x, y, x, y…

    Parts are joined by `<sep>`; several instances are set in `<poly>…</poly>` each.
    """
    written = ["<sep>".join(locations(part, size) for part in parts) for parts in instances]
    if len(written) == 1:
        return written[0]
    return "".join(f"<poly>{instance}</poly>" for instance in written)


def _points(quad: Sequence[float]) -> np.ndarray:
    return np.asarray(quad, dtype=np.float64).reshape(-1, 2)
