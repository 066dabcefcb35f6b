"""filter_scores: labels that the model itself was unsure of."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field

from schemas.annotations import Annotations
from schemas.columns import Flags, Numbers, is_in, numbers
from schemas.tables import HUMAN, LABEL_TABLES, VERDICT_ROWS
from stages.base import Finding, Judge, normalise_task

Score = Annotated[float, Field(ge=0, le=1)]
Threshold = Score | dict[str, Score] | None
PHRASE_TASK = "caption_to_phrase_grounding"
"""What made the rows of `phrases`, which have no column `task`."""


def _by_plain_task(value: Threshold) -> Threshold:
    """Tasks may be written as in the model's stage: `<OD>` is `od`."""
    if not isinstance(value, dict):
        return value
    named = [normalise_task(task) for task in value]
    if twice := sorted({task for task in named if named.count(task) > 1}):
        raise ValueError(f"names {', '.join(twice)} more than once")
    return dict(zip(named, value.values(), strict=True))


PerTask = Annotated[Threshold, AfterValidator(_by_plain_task)]


class FilterScores(Judge):
    """Texts, regions and phrases alike. Off by default: no published threshold is on the scale of
    Florence-2's scores, so a number must come from one's own data.

    A mapping leaves tasks that it does not name alone. A label of the model or of a second opinion
    that has no score is flagged `unscored`, never rejected. A label at the threshold is kept;
    scores are float32, and so is the comparison.
    """

    per_task: ClassVar = ("min_score", "min_label_score", "min_location_score")

    stage: Literal["filter_scores"] = "filter_scores"
    min_score: PerTask = Field(
        None, description="one number, or one per task; quarantine labels below"
    )
    min_label_score: PerTask = Field(
        None, description="the same for the words of a region or phrase"
    )
    min_location_score: PerTask = Field(
        None, description="the same for the four coordinates of a region"
    )

    def judge(self, annotations: Annotations) -> pa.Table:
        made = [
            self.verdicts(labels, kind, self._findings(labels))
            for kind in LABEL_TABLES
            if len(labels := annotations.labels(kind))
        ]
        return pa.concat_tables([VERDICT_ROWS.empty_table(), *made])

    def _findings(self, labels: pa.Table) -> Iterator[Finding]:
        for column in ("score", "label_score", "location_score"):
            threshold: Threshold = getattr(self, f"min_{column}")
            if threshold is None or column not in labels.column_names:
                continue
            limits = _limits(labels, threshold)
            scores = numbers(labels[column])
            low = scores < np.float32(limits)
            yield Finding(f"min_{column}", "quarantine", low, scores, limits)
            missing = np.isnan(scores) & ~np.isnan(limits) & ~_human(labels)
            said = pa.repeat(column, len(labels))
            yield Finding("unscored", "flag", missing, np.nan, limits, said)


def _limits(labels: pa.Table, threshold: float | dict[str, float]) -> Numbers:
    """One limit per row, NaN where none is asked for."""
    if not isinstance(threshold, dict):
        return np.full(len(labels), threshold)
    if "task" not in labels.column_names:
        return np.full(len(labels), threshold.get(PHRASE_TASK, np.nan))
    task = labels["task"].combine_chunks().dictionary_encode(null_encoding="encode")
    by_task = [threshold.get(name, np.nan) for name in task.dictionary.to_pylist()]
    limits = np.asarray(by_task, dtype=np.float64)
    return np.asarray(limits[task.indices.to_numpy()])


def _human(labels: pa.Table) -> Flags:
    return is_in(labels["source"], (HUMAN,))
