"""The shapes of FLD-5B's Figure 5 (areas, aspects and centres of boxes), counted in SQL."""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from schemas.columns import Rows

BINS = 20
SMALLEST_AREA = -6.0
"""Decimal logarithm of the share of the image at which the first bin begins; it holds all below."""
WIDEST = 5.0
"""Binary logarithm of width over height, in pixels, at which the last bin ends; it holds all above,
as the first one holds all below its negative."""
CELLS = 32
"""The image is cut into so many columns and rows, in which centres are counted."""
TYPES = ("region-text", "triplets")

_BOXES = """
SELECT type, (x1 - x0)::DOUBLE / width * (y1 - y0) / height AS share,
       log2((x1 - x0)::DOUBLE / (y1 - y0)) AS aspect,
       (x0 + x1)::DOUBLE / 2 / width AS x, (y0 + y1)::DOUBLE / 2 / height AS y
FROM (
    SELECT 'region-text' AS type, image_id, x0, y0, x1, y1 FROM ({region_text})
    UNION ALL
    SELECT 'triplets', image_id, x0, y0, x1, y1 FROM triplets
) JOIN images USING (image_id)
WHERE width > 0 AND height > 0 AND x1 > x0 AND y1 > y0 AND isfinite(x1 - x0) AND isfinite(y1 - y0)
"""
_COUNTS = """
SELECT type, grouping(area, aspect, x) AS said, area, aspect, x, y, count(*)
FROM (
    SELECT type, {area} AS area, {aspect} AS aspect, {x} AS x, {y} AS y FROM ({boxes})
)
GROUP BY GROUPING SETS ((type, area), (type, aspect), (type, x, y))
"""
_AREA, _ASPECT = 0b011, 0b101
"""What `said` is where a row counts areas or aspects, else centres."""
_MEASURES = """
SELECT type, count(*), skewness(aspect),
       avg((abs(x - 0.5) <= 1 / 6.0 AND abs(y - 0.5) <= 1 / 6.0)::INTEGER)
FROM ({boxes}) GROUP BY type
"""


@dataclass(frozen=True)
class Shape:
    """Boxes of region-text or of triplets, each of a triplet counted.

    `area` counts shares of the image by their logarithm, `aspect` width over height by its
    logarithm, `centres` (CELLS, CELLS) rows of columns. None where there is too little to measure.
    """

    type: str
    boxes: int
    area: Rows
    aspect: Rows
    centres: Rows
    aspect_skewness: float | None
    """Near 0 where tall boxes are as many as wide ones, as in the paper."""
    central: float | None
    """Share of the centres in the middle ninth of the image: 0.11 were evenly spread."""

    @property
    def unevenness(self) -> float | None:
        """Kullback-Leibler divergence of `area` from an even spread over its bins, in nats."""
        if not self.boxes:
            return None
        share = self.area[self.area > 0] / self.area.sum()
        return float((share * np.log(share * BINS)).sum())

    def to_json(self) -> dict[str, Any]:
        area = np.linspace(SMALLEST_AREA, 0, BINS + 1)
        aspect = np.linspace(-WIDEST, WIDEST, BINS + 1)
        return {
            "type": self.type,
            "boxes": self.boxes,
            "area": {"log10_edges": area.tolist(), "boxes": self.area.tolist()},
            "aspect": {"log2_edges": aspect.tolist(), "boxes": self.aspect.tolist()},
            "centres": self.centres.tolist(),
            "aspect_skewness": self.aspect_skewness,
            "area_unevenness": self.unevenness,
            "central": self.central,
        }


def shapes_of(lake: duckdb.DuckDBPyConnection, region_text: str) -> tuple[Shape, ...]:
    """`region_text` selects the regions that are no triplets'."""
    boxes = _BOXES.format(region_text=region_text)
    counts = _COUNTS.format(
        boxes=boxes,
        area=_bin("log10(share)", SMALLEST_AREA, 0, BINS),
        aspect=_bin("aspect", -WIDEST, WIDEST, BINS),
        x=_bin("x", 0, 1, CELLS),
        y=_bin("y", 0, 1, CELLS),
    )
    area, aspect = ({name: np.zeros(BINS, np.int64) for name in TYPES} for _ in range(2))
    centres = {name: np.zeros((CELLS, CELLS), np.int64) for name in TYPES}
    for name, said, area_bin, aspect_bin, x, y, count in lake.execute(counts).fetchall():
        if said == _AREA:
            area[name][area_bin] = count
        elif said == _ASPECT:
            aspect[name][aspect_bin] = count
        else:
            centres[name][y, x] = count
    measured = {
        name: rest for name, *rest in lake.execute(_MEASURES.format(boxes=boxes)).fetchall()
    }
    return tuple(_shape(name, area, aspect, centres, measured) for name in TYPES)


def _shape(
    name: str,
    area: dict[str, Rows],
    aspect: dict[str, Rows],
    centres: dict[str, Rows],
    measured: dict[str, list[Any]],
) -> Shape:
    boxes, skewness, central = measured.get(name, (0, None, None))
    skewness = None if skewness is None or np.isnan(skewness) else skewness
    return Shape(name, boxes, area[name], aspect[name], centres[name], skewness, central)


def _bin(value: str, low: float, high: float, bins: int) -> str:
    """Number of the bin in SQL; what lies outside counts in the first or the last."""
    place = f"floor(({value} - {low}) / {high - low} * {bins})"
    return f"greatest(0, least({bins - 1}, {place}))::INTEGER"
