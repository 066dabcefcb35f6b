"""filter_phrases: phrases that are not in their caption, name no thing, or share one box."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations
from schemas.tables import VERDICT_ROWS
from stages.base import Judge
from stages.language import ABSTRACT_NOUNS, SCENE_NOUNS, UNGROUNDABLE


class FilterPhrases(Judge):
    """Phrases."""

    needs: ClassVar[frozenset[str]] = frozenset({"phrases"})
    makes: ClassVar[frozenset[str]] = frozenset({"verdicts"})

    stage: Literal["filter_phrases"] = "filter_phrases"
    banned_phrases: tuple[str, ...] | None = Field(
        UNGROUNDABLE, description="phrases that name no thing; drop"
    )
    banned_heads: tuple[str, ...] | None = Field(
        ABSTRACT_NOUNS, description="main nouns that no box can hold; drop"
    )
    max_area: float | None = Field(
        0.95, ge=0, le=1, description="share of the image; quarantine above"
    )
    scene_nouns: tuple[str, ...] = Field(
        SCENE_NOUNS, description="main nouns that may fill the image"
    )
    collapse_iou: float | None = Field(
        0.95,
        ge=0,
        le=1,
        description="different main nouns of one caption at this overlap or more: keep one",
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        return VERDICT_ROWS.empty_table()
