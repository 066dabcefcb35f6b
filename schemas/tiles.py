"""Tiles: the column `regions.tile` as boxes, and bins as the model saw them there."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.boxes import BINS, THOUSANDTHS
from schemas.columns import Numbers, finite_rows, numbers

_SIDES = ("x0", "y0", "x1", "y1")
_TILE = "^" + ",".join(rf"(?P<{side}>\d{{1,9}})" for side in _SIDES) + "$"


def tile_boxes(regions: pa.Table) -> Numbers:
    """Shape (n, 4): the tile of each region in pixels of its image, NaN where it has none or one
    that is not written as the schema says."""
    encoded = regions["tile"].combine_chunks().dictionary_encode()
    written = pc.extract_regex(encoded.dictionary, pattern=_TILE)
    boxes = np.stack([numbers(pc.struct_field(written, side)) for side in _SIDES], axis=1)
    boxes[~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)] = np.nan
    last = np.full((1, 4), np.nan)
    of_row = pc.fill_null(encoded.indices, -1).to_numpy()
    return np.asarray(np.concatenate([boxes, last])[of_row])


def seen_sizes(regions: pa.Table, image_sizes: Numbers) -> Numbers:
    """Shape (n, 2): width and height in pixels of what the model saw, the tile or the image;
    its bins are thousandths of these."""
    tiles = tile_boxes(regions)
    return np.where(finite_rows(tiles)[:, None], tiles[:, 2:] - tiles[:, :2], image_sizes)


def inner_edge_distance(bbox_xyxy: Numbers, tiles: Numbers, image_sizes: Numbers) -> Numbers:
    """Shape (n,): bins of the tile between a box and the nearest edge of its tile beyond which the
    image goes on; inf where there is none."""
    bins = np.tile(tiles[:, 2:] - tiles[:, :2], 2) / BINS
    inner = np.concatenate([tiles[:, :2] > 0, tiles[:, 2:] < image_sizes], axis=1)
    away = np.round(np.abs(bbox_xyxy - tiles) / bins, THOUSANDTHS)
    return np.asarray(np.where(inner & np.isfinite(away), away, np.inf).min(axis=1))
