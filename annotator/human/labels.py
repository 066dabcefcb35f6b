"""What the readers of human label formats give back, and when a box is malformed."""

from dataclasses import dataclass

import numpy as np

MALFORMED = "malformed_label"
UNREADABLE = "unreadable_sidecar"
SIZE_MISMATCH = "size_mismatch"


class UnreadableSidecar(ValueError):
    """The file as a whole cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Box:
    """One thing a person marked; pixels as in the file, neither clipped nor rounded.

    `points` has one list x, y, x, y… per part of a polygon, None for a plain box.
    """

    category: str
    bbox_xyxy: tuple[float, float, float, float]
    points: list[list[float]] | None = None
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class Caption:
    """One sentence a person wrote about the whole image."""

    text: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """A label, or a part of one, that is not used; `payload` is the text of the file."""

    detail: str
    payload: str | None = None
    kind: str = MALFORMED


Label = Box | Caption | SetAside


def why_malformed(
    bbox_xyxy: tuple[float, float, float, float], width: int, height: int
) -> str | None:
    """None for a box with an area that lies at least partly in the image, in float32 as stored."""
    with np.errstate(over="ignore"):
        x0, y0, x1, y1 = (float(side) for side in np.asarray(bbox_xyxy, dtype=np.float32))
    if not np.isfinite((x0, y0, x1, y1)).all():
        return f"a coordinate is no finite number: {_numbers(bbox_xyxy)}"
    if x1 < x0 or y1 < y0:
        return f"negative side: {_numbers(bbox_xyxy)}"
    if x1 == x0 or y1 == y0:
        return f"zero area: {_numbers(bbox_xyxy)}"
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return f"outside the image of {width}x{height} pixels: {_numbers(bbox_xyxy)}"
    return None


def without_surrogates(text: str) -> str:
    """JSON can hold half characters, which no table can."""
    return text.encode("utf-8", "replace").decode()


def _numbers(bbox_xyxy: tuple[float, ...]) -> str:
    return "x0 y0 x1 y1 = " + " ".join(f"{side:g}" for side in bbox_xyxy)
