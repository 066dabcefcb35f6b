"""Outlines of the kinds of things: polygons around the origin, and clipping to the image."""

import math
from collections.abc import Sequence
from functools import cache

Point = tuple[float, float]
Polygon = list[Point]

RING_HOLE = 0.55
"""Inner radius of a ring as a share of the outer one."""
_CIRCLE_POINTS = 16
_HEART = (
    *((0, -0.55), (0.25, -0.9), (0.6, -1), (0.9, -0.8), (1, -0.4), (0.8, 0.1)),
    *((0, 1), (-0.8, 0.1), (-1, -0.4), (-0.9, -0.8), (-0.6, -1), (-0.25, -0.9)),
)


def _regular(points: int, inner: float = 1.0) -> Polygon:
    """Alternates between radius 1 and `inner`, the first point at the top."""
    return [
        (
            math.sin(2 * math.pi * i / points) * (inner if i % 2 else 1),
            -math.cos(2 * math.pi * i / points) * (inner if i % 2 else 1),
        )
        for i in range(points)
    ]


def _cross(arm: float) -> Polygon:
    corner = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
    return [*corner, *((-x, -y) for x, y in corner)]


_OUTLINES: dict[str, Polygon] = {
    "circle": _regular(_CIRCLE_POINTS),
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -1), (0.95, 0.8), (-0.95, 0.8)],
    "star": _regular(10, 0.42),
    "ring": _regular(_CIRCLE_POINTS),
    "cross": _cross(0.33),
    "diamond": [(0, -1), (0.6, 0), (0, 1), (-0.6, 0)],
    "heart": [(float(x), float(y)) for x, y in _HEART],
}


@cache
def _turned(kind: str, degrees: int) -> tuple[Point, ...]:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return tuple((x * cosine - y * sine, x * sine + y * cosine) for x, y in _OUTLINES[kind])


def outline(kind: str, center: Point, radius: float, degrees: int = 0) -> Polygon:
    """Clockwise on the screen, in pixels; a ring's is its outer edge."""
    return [(center[0] + radius * x, center[1] + radius * y) for x, y in _turned(kind, degrees)]


def clip(polygon: Sequence[Point], width: float, height: float) -> Polygon:
    """The part within [0, width] x [0, height], edge by edge; empty when it lies outside."""
    clipped = list(polygon)
    for axis, limit, sign in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        clipped = _clip_edge(clipped, [sign * (point[axis] - limit) for point in clipped])
    # The cut points are rounded, and may lie a hair outside.
    return [(min(max(x, 0.0), width), min(max(y, 0.0), height)) for x, y in clipped]


def _clip_edge(polygon: Polygon, depths: Sequence[float]) -> Polygon:
    """Keep where `depths`, one per point, how far inside of the edge it lies, is not negative."""
    kept: Polygon = []
    for i, ((x1, y1), here) in enumerate(zip(polygon, depths, strict=True)):
        (x0, y0), there = polygon[i - 1], depths[i - 1]
        if (here < 0) != (there < 0):
            part = there / (there - here)
            kept.append((x0 + part * (x1 - x0), y0 + part * (y1 - y0)))
        if here >= 0:
            kept.append((x1, y1))
    return kept


def bounds(polygon: Sequence[Point]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a polygon that is not empty."""
    xs, ys = [x for x, _ in polygon], [y for _, y in polygon]
    return min(xs), min(ys), max(xs), max(ys)


def from_top(polygon: Sequence[Point]) -> Polygon:
    """The same outline, beginning at its highest point, the leftmost of several."""
    first = min(range(len(polygon)), key=lambda i: (round(polygon[i][1], 2), polygon[i][0]))
    return [*polygon[first:], *polygon[:first]]
