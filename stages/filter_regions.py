"""filter_regions: places that are broken, tiny, slivers or whole images, and labels of no thing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from schemas.annotations import Annotations, bbox_xyxy, image_sizes, region_bins
from schemas.boxes import BINS, THOUSANDTHS, Floats, area
from schemas.columns import Flags, Numbers, finite_rows, flags, is_in, numbers
from schemas.outlines import CORNERS, Parts, convexity, text_heights
from schemas.tiles import seen_sizes
from stages.base import Finding, Judge
from stages.language import EMPTY_LABELS, UNGROUNDABLE, normalised, token_counts

OBJECT_TASKS = ("od", "dense_region_caption", "region_proposal")
"""Tasks that look for things: a box around the whole image is no answer to them."""
UNLABELLED_TASKS = (
    "region_proposal",
    "region_to_segmentation",
    "referring_expression_segmentation",
)
"""Tasks whose regions have no words."""
INVERTED = "inverted or empty"
MARKUP = r"\bloc_\d+|</?(?:s|pad|unk|mask|sep|and|poly|od|ocr|grounding|seg|proposal)>"
"""Tokens of Florence-2 that are no words."""
NUMERIC = r"^[\s\pP\pS]*\d[\s\pP\pS\d]*$"
CROSSED = 2
"""Corners that turn one way in a quad whose edges cross."""


class FilterRegions(Judge):
    """Each region by itself. Geometry is measured in bins (1/1000 of the side of what the model
    saw: the image, or a tile of it), to a thousandth of one. Each filter's name begins with its
    rule, R1 to R15.

    R1 has no options. It drops what is no place or no words: coordinates that are not finite,
    inverted or empty, corners missing, a quad's edges crossed, location tokens in the label. It
    flags an answer that was cut off, and a polygon that touches itself: models draw many that a
    repair makes usable. All of it is ours, after what Florence-2's native parser lets pass.
    """

    behaviour: ClassVar[int] = 2
    needs: ClassVar[frozenset[str]] = frozenset({"regions"})

    stage: Literal["filter_regions"] = "filter_regions"
    min_side: float | None = Field(
        8,
        ge=0,
        description="R2: shorter side in bins; drop below. Ours: a box of 8 bins that is one bin "
        "off keeps an IoU of 0.62",
    )
    sub_token: float | None = Field(
        42,
        ge=0,
        description="R2: shorter side in bins; flag below. Ours: one of the 24 visual tokens along "
        "a side",
    )
    max_area: float | None = Field(
        0.95,
        ge=0,
        le=1,
        description="R3: share of the image; above: drop objects, flag other tasks. SA-1B's value",
    )
    max_aspect: float | None = Field(
        20,
        ge=1,
        description="R4: longer side over shorter side, in pixels; quarantine above. Ours",
    )
    banned_labels: tuple[str, ...] | None = Field(
        UNGROUNDABLE + EMPTY_LABELS,
        description="R9: labels that name no thing, whatever their case and article; drop. After "
        "the list of Florence-2's processor, and five more",
    )
    digits_only: bool = Field(True, description="R9: drop a label of digits alone; ours")
    max_label_words: int | None = Field(
        12, ge=0, description="R9: quarantine a label of more tokens; ours"
    )
    max_label_length: int | None = Field(
        200, ge=0, description="R9: quarantine a label of more characters; ours"
    )
    min_text_height: float | None = Field(
        13,
        ge=0,
        description="R15: height in bins of a line of text, along its own sides; quarantine below. "
        "Ours: 10 of the 768 pixels that the model sees",
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        regions = annotations.regions
        boxes, outlines = _measure(annotations), _outlines(annotations)
        findings = [
            *_integrity(boxes, outlines),
            *self._shape(boxes),
            *self._text_places(boxes, outlines),
            *self._label(regions),
        ]
        return self.verdicts(regions, "region", findings)

    def _shape(self, boxes: "_Boxes") -> Iterator[Finding]:
        sound, side = boxes.sound, boxes.side
        if (limit := self.min_side) is not None:
            yield Finding("r2_side", "drop", sound & (side < limit), side, limit)
        if (limit := self.sub_token) is not None:
            thin = sound & (side < limit) & (side >= (self.min_side or 0))
            yield Finding("r2_sub_token", "flag", thin, side, limit)
        if (limit := self.max_area) is not None:
            full = sound & (boxes.share > limit)
            yield Finding("r3_area", "drop", full & boxes.of_object, boxes.share, limit)
            yield Finding("r3_area", "flag", full & ~boxes.of_object, boxes.share, limit)
        if (limit := self.max_aspect) is not None:
            sliver = sound & (boxes.aspect > limit)
            yield Finding("r4_aspect", "quarantine", sliver, boxes.aspect, limit)

    def _text_places(self, boxes: "_Boxes", outlines: "_Outlines") -> Iterator[Finding]:
        quads = boxes.of_text & boxes.sound & (outlines.fault == "")
        dented = quads & (outlines.convexity < CORNERS)
        yield Finding("r15_convex", "quarantine", dented, outlines.convexity, CORNERS)
        if (limit := self.min_text_height) is not None:
            height = np.where(np.isnan(outlines.height), boxes.height, outlines.height)
            yield Finding("r15_height", "quarantine", quads & (height < limit), height, limit)

    def _label(self, regions: pa.Table) -> Iterator[Finding]:
        said = _Labels.of(regions)
        names = ~is_in(regions["shape"], ("quad",))
        silent = said.empty & ~is_in(regions["task"], UNLABELLED_TASKS)
        yield Finding("r9_empty", "drop", silent, 0, 1)
        yield Finding("r1_truncated", "flag", flags(regions["truncated"]))
        markup = said.count(MARKUP)
        yield Finding("r1_markup", "drop", markup > 0, markup, 0)
        yield Finding("r15_printable", "quarantine", ~said.printable)
        if self.digits_only:
            numeric = names & (said.count(NUMERIC) > 0)
            yield Finding("r9_digits", "drop", numeric, details=said.plain)
        if self.banned_labels is not None:
            banned = names & ~said.empty & is_in(said.plain, _normalised(self.banned_labels))
            yield Finding("r9_banned", "drop", banned, details=said.plain)
        if (limit := self.max_label_words) is not None:
            words = said.words
            yield Finding("r9_words", "quarantine", names & (words > limit), words, limit)
        if (limit := self.max_label_length) is not None:
            length = said.length
            yield Finding("r9_length", "quarantine", length > limit, length, limit)


@dataclass(frozen=True, slots=True)
class _Labels:
    """What the regions say, measured once for each distinct label; NULL says nothing."""

    distinct: pa.Array
    of_row: pa.Array

    @classmethod
    def of(cls, regions: pa.Table) -> "_Labels":
        label = pc.coalesce(regions["category"], regions["text"], pa.scalar(""))
        encoded = label.combine_chunks().dictionary_encode()
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


def _normalised(labels: Sequence[str]) -> pa.Array:
    return normalised(pa.array(labels, pa.string()))


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Measures per region; of a region that is not `sound` they mean nothing."""

    seen: Floats  # width and height, in bins of what the model saw: the image or a tile of it
    share: Floats  # of the image
    sound: Flags
    fault: pa.Array  # of a region that is not sound
    aspect: Floats
    of_object: Flags
    of_text: Flags

    def measurable(self, values: Floats) -> Floats:
        """NaN where a region has no finite box, or its image no size."""
        return np.where(is_in(self.fault, (INVERTED,)), values, np.nan)

    @property
    def height(self) -> Floats:
        return np.asarray(self.seen[:, 1])

    @property
    def side(self) -> Floats:
        return np.asarray(self.seen.min(axis=1))


def _measure(annotations: Annotations) -> _Boxes:
    regions = annotations.regions
    pixels, sizes = bbox_xyxy(regions), image_sizes(annotations, regions)
    bins = np.nan_to_num(region_bins(annotations))
    sides = bins[:, 2:] - bins[:, :2]
    sound = np.asarray((sides > 0).all(axis=1))
    in_pixels = np.where(sound[:, None], sides * sizes, 1)
    magnified = np.where(finite_rows(sizes)[:, None], sizes / seen_sizes(regions, sizes), 1)
    return _Boxes(
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


@dataclass(frozen=True, slots=True)
class _Outlines:
    """Of each region's `points`; a region without any has no fault."""

    fault: np.ndarray  # "" where there is none
    convexity: Numbers
    height: Numbers  # of a quad, in bins; NaN for all others
    crossed: Flags
    reason: pa.Array


def _outlines(annotations: Annotations) -> _Outlines:
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
    return _Outlines(fault, turned, height, crossed & ~of_text, reason)


def _integrity(boxes: _Boxes, outlines: _Outlines) -> Iterator[Finding]:
    side = boxes.measurable(boxes.side)
    yield Finding("r1_integrity", "drop", ~boxes.sound, side, 0, boxes.fault)
    broken = boxes.sound & (outlines.fault != "")
    yield Finding("r1_integrity", "drop", broken, details=pa.array(outlines.fault, pa.string()))
    crossed = boxes.sound & outlines.crossed & ~broken
    yield Finding("r1_crossed_outline", "flag", crossed, details=outlines.reason)
