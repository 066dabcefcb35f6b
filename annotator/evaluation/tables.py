"""Regions of the tables as columns that the measures take."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from annotator.evaluation.detection import Places
from schemas.columns import Rows, flags, group_codes, numbers

_SIDES = ("x0", "y0", "x1", "y1")


def found_and_true(found: pa.Table, true: pa.Table) -> tuple[Places, Places]:
    """From rows of REGIONS: image_id, category (whatever its case), the box, score and crowd."""
    both = pa.concat_tables([_keys(found), _keys(true)])
    images, categories = (group_codes([both[name]]) for name in ("image_id", "category"))
    count = len(found)
    return (
        _places(found, images[:count], categories[:count]),
        _places(true, images[count:], categories[count:]),
    )


def _keys(regions: pa.Table) -> pa.Table:
    category = pc.utf8_lower(pc.utf8_trim_whitespace(regions["category"]))
    return pa.table({"image_id": regions["image_id"], "category": category})


def _places(regions: pa.Table, images: Rows, categories: Rows) -> Places:
    boxes = np.stack([numbers(regions[side]) for side in _SIDES], axis=1)
    return Places(images, categories, boxes, numbers(regions["score"]), flags(regions["crowd"]))
