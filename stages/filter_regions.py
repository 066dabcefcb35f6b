"""filter_regions: boxes that are broken, tiny, slivers, near-duplicates or say nothing."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations
from schemas.tables import VERDICT_ROWS
from stages.base import Judge
from stages.language import EMPTY_LABELS, UNGROUNDABLE


class FilterRegions(Judge):
    """Regions."""

    needs: ClassVar[frozenset[str]] = frozenset({"regions"})
    makes: ClassVar[frozenset[str]] = frozenset({"verdicts"})

    stage: Literal["filter_regions"] = "filter_regions"
    min_side: float | None = Field(8, ge=0, description="shorter side in bins; drop below")
    sub_token: float | None = Field(
        42, ge=0, description="shorter side in bins; flag below: smaller than one visual token"
    )
    max_area: float | None = Field(
        0.95, ge=0, le=1, description="share of the image; above: drop objects, flag other tasks"
    )
    max_aspect: float | None = Field(
        20, ge=1, description="longer side over shorter side, in pixels; quarantine above"
    )
    same_label_iou: float | None = Field(
        0.60, ge=0, le=1, description="same label at this overlap or more: keep the best score"
    )
    any_label_iou: float | None = Field(
        0.90, ge=0, le=1, description="any label at this overlap or more: flag the lower score"
    )
    any_label_bins: float | None = Field(
        2, ge=0, description="any label, every edge within so many bins: flag the lower score"
    )
    across_tasks: bool = Field(False, description="compare boxes of different tasks too")
    banned_labels: tuple[str, ...] | None = Field(
        UNGROUNDABLE + EMPTY_LABELS, description="labels that name no thing; drop"
    )
    max_label_words: int | None = Field(12, ge=0, description="quarantine a longer label")
    max_label_length: int | None = Field(
        200, ge=0, description="in characters; quarantine a longer label"
    )
    min_text_height: float | None = Field(
        13, ge=0, description="height in bins of a place with text; quarantine below"
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        return VERDICT_ROWS.empty_table()
