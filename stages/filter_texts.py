"""filter_texts: captions that are empty, cut off, too long or short for their level, or looping."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations
from schemas.tables import VERDICT_ROWS
from stages.base import Judge


class FilterTexts(Judge):
    """Texts."""

    needs: ClassVar[frozenset[str]] = frozenset({"texts"})
    makes: ClassVar[frozenset[str]] = frozenset({"verdicts"})

    stage: Literal["filter_texts"] = "filter_texts"
    length: dict[str, tuple[int, int]] | None = Field(
        {"brief": (3, 24), "detailed": (10, 95), "more_detailed": (24, 212)},
        description="caption level: fewest and most words, both allowed",
    )
    level_order: bool = Field(
        True, description="flag a caption that is no longer than one of a lower level"
    )
    max_repeated_sentences: float | None = Field(
        0.3, ge=0, le=1, description="share of a caption's sentences that repeat another"
    )
    max_repeated_words: float | None = Field(
        0.18, ge=0, le=1, description="share of a caption's letters in its commonest three words"
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        return VERDICT_ROWS.empty_table()
