"""What the rules on regions compute with: places, outlines and labels, measured as arrays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import Annotations, bbox_xyxy, image_sizes, region_bins, region_labels
from schemas.boxes import BINS, THOUSANDTHS, Floats, area
from schemas.columns import Flags, Numbers, finite_rows, flags, is_in, numbers
from schemas.outlines import CORNERS, Parts, convexity, text_heights
from schemas.tiles import seen_sizes
from stages.language import normalised, token_counts

OBJECT_TASKS = ("od", "dense_region_caption", "region_proposal")
"""Tasks that look for things: a box around the whole image is no answer to them."""
INVERTED = "inverted or empty"
CROSSED = 2
"""Corners that turn one way in a quad whose edges cross."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Measures per region; of a region that is not `sound` they mean nothing."""

    seen: Floats  # width and height, in bins of what the model saw: the image or a tile of it
    share: Floats  # of the image
    sound: Flags
    fault: pa.Array  # of a region that is not sound
    aspect: Floats
    of_object: Flags
    of_text: Flags

    @classmethod
    def of(cls, annotations: Annotations) -> "Boxes":
        regions = annotations.regions
        pixels, sizes = bbox_xyxy(regions), image_sizes(annotations, regions)
        bins = np.nan_to_num(region_bins(annotations))
        sides = bins[:, 2:] - bins[:, :2]
        sound = np.asarray((sides > 0).all(axis=1))
        in_pixels = np.where(sound[:, None], sides * sizes, 1)
        magnified = np.where(finite_rows(sizes)[:, None], sizes / seen_sizes(regions, sizes), 1)
        return cls(
            seen=np.round(sides * magnified, THOUSANDTHS),
            share=area(bins) / BINS**2,
            sound=sound,
            fault=pc.if_else(
                pa.array(finite_rows(pixels)),
                pc.if_else(pa.array(finite_rows(sizes)), INVERTED, "image has no size"),
                "not finite",
            ),
            aspect=in_pixels.max(axis=1) / in_pixels.min(axis=1),
            of_object=is_in(regions["task"], OBJECT_TASKS),
            of_text=is_in(regions["shape"], ("quad",)),
        )

    def measurable(self, values: Floats) -> Floats:
        """NaN where a region has no finite box, or its image no size."""
        return np.where(is_in(self.fault, (INVERTED,)), values, np.nan)

    @property
    def height(self) -> Floats:
        return np.asarray(self.seen[:, 1])

    @property
    def side(self) -> Floats:
        return np.asarray(self.seen.min(axis=1))


@dataclass(frozen=True, slots=True)
class Outlines:
    """Of each region's `points`; a region without any has no fault."""

    fault: np.ndarray  # "" where there is none
    convexity: Numbers
    height: Numbers  # of a quad, in bins; NaN for all others
    crossed: Flags
    reason: pa.Array

    @classmethod
    def of(cls, annotations: Annotations) -> "Outlines":
        regions = annotations.regions
        parts, of_text = Parts.of(regions["points"]), is_in(regions["shape"], ("quad",))
        seen = seen_sizes(regions, image_sizes(annotations, regions))
        rows, corners = parts.quads()
        turned, height = np.full(parts.count, float(CORNERS)), np.full(parts.count, np.nan)
        turned[rows] = convexity(corners)
        height[rows] = text_heights(corners / (seen[rows, None] / BINS))
        is_quad = np.zeros(parts.count, dtype=bool)
        is_quad[rows] = True
        broken = [
            (parts.not_finite, "a corner is not finite"),
            (parts.unfinished | (of_text & parts.given & ~is_quad), "corners are missing"),
            (of_text & (turned == 0), "no area"),
            (of_text & (turned == CROSSED), "edges cross"),
        ]
        fault = np.select([at for at, _ in broken], [said for _, said in broken], "")
        crossed, reason = parts.crossing()
        return cls(fault, turned, height, crossed & ~of_text, reason)


@dataclass(frozen=True, slots=True)
class Labels:
    """What the regions say, measured once for each distinct label; NULL says nothing."""

    distinct: pa.Array
    of_row: pa.Array

    @classmethod
    def of(cls, regions: pa.Table) -> "Labels":
        encoded = pc.fill_null(region_labels(regions), "").dictionary_encode()
        return cls(encoded.dictionary, encoded.indices)

    @property
    def plain(self) -> pa.Array:
        return normalised(self.distinct).take(self.of_row)

    @property
    def empty(self) -> Flags:
        return is_in(self.plain, ("",))

    @property
    def words(self) -> Numbers:
        return numbers(token_counts(self.distinct).take(self.of_row))

    @property
    def length(self) -> Numbers:
        return numbers(pc.utf8_length(self.distinct).take(self.of_row))

    @property
    def printable(self) -> Flags:
        """Joiners and every kind of space count as printable, unlike in Unicode's own sense."""
        bare = pc.replace_substring_regex(self.distinct, r"[\p{Z}\p{Cf}\s]+", " ")
        return flags(pc.utf8_is_printable(bare).take(self.of_row))

    def count(self, pattern: str) -> Numbers:
        return numbers(pc.count_substring_regex(self.distinct, pattern).take(self.of_row))
