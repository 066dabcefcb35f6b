"""filter_scores: labels that the model itself was unsure of."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from schemas.annotations import Annotations
from schemas.columns import Column, Flags, Numbers, is_in, numbers
from schemas.quantiles import count_scores_by, lowest_shares
from schemas.tables import HUMAN, LABEL_TABLES, VERDICT_ROWS
from stages.base import Finding, Judge, normalise_task
from stages.language import comparable

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
    """Texts, regions and phrases alike (R7), the regions of each category apart (R14), and how
    exact the place of a region is (R8, flags only). Each filter's name begins with its rule. All
    are off by default: no published threshold is on the scale of Florence-2's scores, so a number
    must come from one's own data. What the rules reject of scenes: docs/judgement.md.

    A mapping leaves tasks that it does not name alone. A label of the model or of a second opinion
    that has no score is flagged `unscored`, never rejected. A label at the threshold is kept;
    scores are float32, and so is the comparison.
    """

    behaviour: ClassVar[int] = 4
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

    lowest_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="R7: share of the regions of a task and source, those the model was least sure "
        "of; quarantine. 0.1 is ours, for scores that are not calibrated; off until you give it",
    )
    lowest_class_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="R14: the same share of every category of a task and source, so that the rare "
        "ones do not pay for the frequent; quarantine. After LabelMatch, which keeps each class's "
        "share; off, as no number fits every model",
    )
    min_class_scores: int = Field(
        200, ge=1, description="R14: scores of a category from which on it is judged; ours"
    )
    tight_spread: float | None = Field(
        None,
        ge=0,
        description="R8: spread of a region's coordinates over its mean side; flag `r8_loose` "
        "above. Soft Teacher has 0.02 for another estimate of the same, which flags nearly all",
    )
    usable_spread: float | None = Field(
        None,
        ge=0,
        description="R8: flag `r8_class_only` above: the label may be right, the place is not "
        "known. 0.05 is ours, and flags nearly all",
    )
    r7_limits: dict[str, float | None] | None = Field(
        None, description="R7: score by `source/task`, settled by the statistics pass"
    )
    r14_limits: dict[str, float | None] | None = Field(
        None, description="R14: score by `source/task/category`, settled by the statistics pass"
    )

    def measure(self, annotations: Annotations) -> dict[str, Any] | None:
        """Counts of the scores of regions by source and task, and by source, task and category."""
        wanted: dict[str, Any] = {}
        if self.lowest_share is not None and self.r7_limits is None:
            wanted["r7"] = _count_by(annotations.regions, _maker(annotations.regions))
        if self.lowest_class_share is not None and self.r14_limits is None:
            wanted["r14"] = _count_by(annotations.regions, _class(annotations.regions))
        return wanted or None

    def settled(self, measured: Sequence[dict[str, Any]]) -> Self:
        constants: dict[str, Any] = {}
        if self.lowest_share is not None and self.r7_limits is None:
            constants["r7_limits"] = lowest_shares(
                [part["r7"] for part in measured], self.lowest_share
            )
        if self.lowest_class_share is not None and self.r14_limits is None:
            parts = [part["r14"] for part in measured]
            least = self.min_class_scores
            constants["r14_limits"] = lowest_shares(parts, self.lowest_class_share, least)
        return self.model_copy(update=constants)

    def judge(self, annotations: Annotations) -> pa.Table:
        made = [
            self.verdicts(labels, kind, self._findings(labels))
            for kind in LABEL_TABLES
            if len(labels := annotations.labels(kind))
        ]
        regions = annotations.regions
        made.append(self.verdicts(regions, "region", self._regions(regions)))
        return pa.concat_tables([VERDICT_ROWS.empty_table(), *made])

    def _regions(self, regions: pa.Table) -> Iterator[Finding]:
        scores, spread = numbers(regions["score"]), numbers(regions["location_spread"])
        for rule, settled, key in (
            ("r7_lowest", self.r7_limits, _maker),
            ("r14_class", self.r14_limits, _class),
        ):
            if settled:
                limits = _settled_limits(key(regions), settled)
                low = (scores < limits) & ~_human(regions)
                yield Finding(rule, "quarantine", low, scores, limits)
        usable = np.inf if self.usable_spread is None else np.float32(self.usable_spread)
        if (tight := self.tight_spread) is not None:
            loose = (spread > np.float32(tight)) & ~(spread > usable)
            yield Finding("r8_loose", "flag", loose, spread, tight)
        if self.usable_spread is not None:
            yield Finding("r8_class_only", "flag", spread > usable, spread, self.usable_spread)

    def _findings(self, labels: pa.Table) -> Iterator[Finding]:
        for column in ("score", "label_score", "location_score"):
            threshold: Threshold = getattr(self, f"min_{column}")
            if threshold is None or column not in labels.column_names:
                continue
            limits = _limits(labels, threshold)
            scores = numbers(labels[column])
            low = scores < np.float32(limits)
            yield Finding(f"r7_{column}", "quarantine", low, scores, limits)
            missing = np.isnan(scores) & ~np.isnan(limits) & ~_human(labels)
            said = pa.repeat(column, len(labels))
            yield Finding("r7_unscored", "flag", missing, np.nan, limits, said)


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


def _maker(regions: pa.Table) -> pa.Array:
    """`source/task` of each region."""
    return _joined(regions["source"], regions["task"], null_handling="replace")


def _class(regions: pa.Table) -> pa.Array:
    """`source/task/category`, NULL for a region of free words."""
    return _joined(regions["source"], regions["task"], comparable(regions["category"]))


def _joined(*columns: Column, null_handling: str = "emit_null") -> pa.Array:
    joined = pc.binary_join_element_wise(*columns, "/", null_handling=null_handling)
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _count_by(regions: pa.Table, key: pa.Array) -> dict[str, dict[str, int]]:
    """Counts of scores by key, of the regions that people did not draw."""
    drawn = pa.array(~_human(regions))
    return count_scores_by(key.filter(drawn), numbers(regions["score"].filter(drawn)))


def _settled_limits(key: pa.Array, settled: dict[str, float | None]) -> Numbers:
    """One limit per row, NaN where none is settled."""
    limits = np.array([*settled.values(), None], dtype=np.float64)
    found = pc.index_in(key, value_set=pa.array(list(settled), pa.string()))
    return np.asarray(limits[pc.fill_null(found, len(settled)).to_numpy()])


def _human(labels: pa.Table) -> Flags:
    return is_in(labels["source"], (HUMAN,))
