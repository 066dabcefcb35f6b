"""merge_human: where a person labelled a thing, the model's label of that thing steps back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from schemas.annotations import Annotations, kept_mask, local_ids, region_bins
from schemas.boxes import Floats, iou
from schemas.columns import Rows, flags, group_codes, is_in
from schemas.tables import HUMAN
from stages.base import Finding, Judge
from stages.language import comparable


class MergeHuman(Judge):
    """Human regions against the regions of every other source, image by image (policy and
    numbers are ours).

    Hungarian matching on IoU, one to one; among matches that are allowed, those whose labels agree
    go first. Labels agree when they are equal without regard to case, article, singular or plural.
    The model's label of a match is dropped: `superseded` where the labels agree, `overruled` where
    they do not; `detail` names the human label. A model label without a match stays, as nothing
    says that people labelled everything. Only tasks that name things compete: a dense caption says
    something else about the place and stays. COCO's crowds match nothing, being no single thing.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"regions"})

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
        regions = annotations.regions
        boxes = _measure(annotations)
        human, model = self._competing(annotations, boxes)
        found = [self._match(boxes, *rows) for rows in _by_image(regions, human, model)]
        if not found:
            return self.verdicts(regions, "region", ())
        partner, rows, overlap, limit = (
            np.concatenate(column) for column in zip(*found, strict=True)
        )
        agree = boxes.label[partner] == boxes.label[rows]
        names = local_ids(regions, "region").take(pa.array(partner))
        matched = regions.take(pa.array(rows))
        findings = [
            Finding("superseded", "drop", agree, overlap, limit, names),
            Finding("overruled", "drop", ~agree, overlap, limit, names),
        ]
        return self.verdicts(matched, "region", findings)

    def _competing(self, annotations: Annotations, boxes: "_Boxes") -> tuple[Rows, Rows]:
        """Rows of human regions, and of those that compete with them."""
        regions = annotations.regions
        by_people = is_in(regions["source"], (HUMAN,))
        sound = (boxes.side > 0) & kept_mask(annotations, "region")
        people = by_people & sound & ~flags(regions["crowd"])
        models = ~by_people & sound & is_in(regions["task"], self.tasks)
        return np.flatnonzero(people), np.flatnonzero(models)

    def _match(
        self, boxes: "_Boxes", human: Rows, model: Rows
    ) -> tuple[Rows, Rows, Floats, Floats]:
        """Matched human rows, their model rows, IoU, and the IoU that was asked for."""
        overlap = iou(boxes.bins[human], boxes.bins[model])
        small = np.minimum.outer(boxes.side[human], boxes.side[model]) < self.small_side
        limit = np.where(small, self.min_iou_small, self.min_iou)
        agree = np.equal.outer(boxes.label[human], boxes.label[model])
        allowed = overlap >= limit
        picked = linear_sum_assignment(np.where(allowed, overlap + agree, 0), maximize=True)
        ends = tuple(end[allowed[picked]] for end in picked)
        return human[ends[0]], model[ends[1]], overlap[ends], limit[ends]


@dataclass(frozen=True, slots=True)
class _Boxes:
    bins: Floats
    side: Floats  # the shorter one, in bins; 0 for a region without a measurable box
    label: Rows  # equal where two labels agree


def _measure(annotations: Annotations) -> _Boxes:
    regions = annotations.regions
    bins = np.nan_to_num(region_bins(annotations))
    side = np.min(bins[:, 2:] - bins[:, :2], axis=1)
    label = pc.coalesce(regions["category"], regions["text"])
    return _Boxes(bins, np.maximum(side, 0), group_codes([comparable(label)]))


def _by_image(regions: pa.Table, human: Rows, model: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Human rows and model rows of each image that has both, one source of model rows at a time."""
    image = group_codes([regions["image_id"]])
    source = group_codes([regions["image_id"], regions["source"]])
    human = human[np.argsort(image[human], kind="stable")]
    model = model[np.argsort(source[model], kind="stable")]
    starts = np.flatnonzero(np.diff(source[model], prepend=-1))
    images = image[model[starts]]
    low = np.searchsorted(image[human], images)
    high = np.searchsorted(image[human], images, side="right")
    for rows, start, end in zip(np.split(model, starts[1:]), low, high, strict=False):
        if end > start:
            yield human[start:end], rows
