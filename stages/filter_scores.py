"""filter_scores: labels that the model itself was unsure of."""

from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations
from schemas.tables import VERDICT_ROWS
from stages.base import Judge

Score = Annotated[float, Field(ge=0, le=1)]
Threshold = Score | dict[str, Score] | None


class FilterScores(Judge):
    """Scores."""

    makes: ClassVar[frozenset[str]] = frozenset({"verdicts"})

    stage: Literal["filter_scores"] = "filter_scores"
    min_score: Threshold = Field(
        None, description="one number, or one per task; quarantine labels below"
    )
    min_label_score: Threshold = Field(
        None, description="the same for the words of a region or phrase"
    )
    min_location_score: Threshold = Field(
        None, description="the same for the four coordinates of a region"
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        return VERDICT_ROWS.empty_table()
