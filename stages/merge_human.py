"""merge_human: where a person labelled a thing, the model's label of that thing steps back."""

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from schemas.annotations import Annotations
from schemas.tables import VERDICT_ROWS
from stages.base import Judge


class MergeHuman(Judge):
    """Human labels."""

    needs: ClassVar[frozenset[str]] = frozenset({"regions"})
    makes: ClassVar[frozenset[str]] = frozenset({"verdicts"})

    stage: Literal["merge_human"] = "merge_human"
    policy: Literal["human_wins"] = Field(
        "human_wins", description="the human label stays, the model's label of the same thing goes"
    )
    tasks: tuple[str, ...] = Field(
        ("od", "open_vocabulary_detection"),
        description="tasks whose labels compete with human labels",
    )
    min_iou: float = Field(
        0.5, gt=0, le=1, description="overlap at which two boxes are the same thing"
    )
    small_side: float = Field(
        42, ge=0, description="shorter side in bins below which a box counts as small"
    )
    min_iou_small: float = Field(
        0.3, gt=0, le=1, description="the overlap asked for where either box is small"
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        return VERDICT_ROWS.empty_table()
