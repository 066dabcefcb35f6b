"""Boxes as arrays (n, 4): `bbox_xyxy`, float pixels, x0 y0 x1 y1; and Florence-2's bins."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 1000
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


def area(bbox_xyxy: Floats) -> Floats:
    """Shape (n,): width times height, 0 for an inverted box."""
    width = np.clip(bbox_xyxy[:, 2] - bbox_xyxy[:, 0], 0, None)
    height = np.clip(bbox_xyxy[:, 3] - bbox_xyxy[:, 1], 0, None)
    return np.asarray(width * height)


def intersection(a: Floats, b: Floats) -> Floats:
    """Shape (n, m): area shared by each box of `a` (n, 4) with each of `b` (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(a: Floats, b: Floats) -> Floats:
    """Shape (n, m): intersection over union, 0 where both boxes are empty."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
