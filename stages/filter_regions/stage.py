"""The options of filter_regions, and its rules."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations
from schemas.columns import flags, is_in
from schemas.outlines import CORNERS
from stages.base import Finding, Judge
from stages.filter_regions.measures import Boxes, Labels, Outlines
from stages.language import EMPTY_LABELS, UNGROUNDABLE, normalised

UNLABELLED_TASKS = (
    "region_proposal",
    "region_to_segmentation",
    "referring_expression_segmentation",
)
"""Tasks whose regions have no words."""
MARKUP = r"\bloc_\d+|</?(?:s|pad|unk|mask|sep|and|poly|od|ocr|grounding|seg|proposal)>"
"""Tokens of Florence-2 that are no words."""
NUMERIC = r"^[\s\pP\pS]*\d[\s\pP\pS\d]*$"


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
        boxes, outlines = Boxes.of(annotations), Outlines.of(annotations)
        findings = [
            *_integrity(boxes, outlines),
            *self._shape(boxes),
            *self._text_places(boxes, outlines),
            *self._label(regions),
        ]
        return self.verdicts(regions, "region", findings)

    def _shape(self, boxes: Boxes) -> Iterator[Finding]:
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

    def _text_places(self, boxes: Boxes, outlines: Outlines) -> Iterator[Finding]:
        quads = boxes.of_text & boxes.sound & (outlines.fault == "")
        dented = quads & (outlines.convexity < CORNERS)
        yield Finding("r15_convex", "quarantine", dented, outlines.convexity, CORNERS)
        if (limit := self.min_text_height) is not None:
            height = np.where(np.isnan(outlines.height), boxes.height, outlines.height)
            yield Finding("r15_height", "quarantine", quads & (height < limit), height, limit)

    def _label(self, regions: pa.Table) -> Iterator[Finding]:
        said = Labels.of(regions)
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
            banned = (
                names
                & ~said.empty
                & is_in(said.plain, normalised(pa.array(self.banned_labels, pa.string())))
            )
            yield Finding("r9_banned", "drop", banned, details=said.plain)
        if (limit := self.max_label_words) is not None:
            words = said.words
            yield Finding("r9_words", "quarantine", names & (words > limit), words, limit)
        if (limit := self.max_label_length) is not None:
            length = said.length
            yield Finding("r9_length", "quarantine", length > limit, length, limit)


def _integrity(boxes: Boxes, outlines: Outlines) -> Iterator[Finding]:
    side = boxes.measurable(boxes.side)
    yield Finding("r1_integrity", "drop", ~boxes.sound, side, 0, boxes.fault)
    broken = boxes.sound & (outlines.fault != "")
    yield Finding("r1_integrity", "drop", broken, details=pa.array(outlines.fault, pa.string()))
    crossed = boxes.sound & outlines.crossed & ~broken
    yield Finding("r1_crossed_outline", "flag", crossed, details=outlines.reason)
