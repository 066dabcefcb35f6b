"""merge_human: where a person labelled a thing, the model's label of that thing steps back."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from schemas.annotations import Annotations, kept_mask, local_ids, region_bins, region_labels
from schemas.boxes import Floats, competing_pairs
from schemas.columns import Flags, Rows, dense, flags, group_codes, is_in
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
        pairs = self._pairs(annotations)
        matched = pairs.where(_one_to_one(pairs))
        names = local_ids(regions, "region").take(pa.array(matched.human))
        findings = [
            Finding(rule, "drop", of_rule, matched.iou, matched.limit, names)
            for rule, of_rule in (("superseded", matched.agree), ("overruled", ~matched.agree))
        ]
        return self.verdicts(regions.take(pa.array(matched.model)), "region", findings)

    def _pairs(self, annotations: Annotations) -> "_Pairs":
        """Of one image each, with the overlap that is asked for."""
        regions, bins = annotations.regions, np.nan_to_num(region_bins(annotations))
        side = np.min(bins[:, 2:] - bins[:, :2], axis=1)
        people, models = self._competing(annotations, side)
        rank = np.empty(len(regions), dtype=np.int64)
        rank[np.argsort(~people, kind="stable")] = np.arange(len(regions))
        image = group_codes([regions["image_id"]])
        touching = competing_pairs(bins, image, rank, people | models)
        human, model = touching.winner, touching.loser
        small = np.minimum(side[human], side[model]) < self.small_side
        limit = np.where(small, self.min_iou_small, self.min_iou)
        label = group_codes([comparable(region_labels(regions))])
        agree = label[human] == label[model]
        source = group_codes([regions["image_id"], regions["source"]])
        pairs = _Pairs(human, model, source[model], touching.iou, limit, agree)
        return pairs.where(people[human] & models[model] & (touching.iou >= limit))

    def _competing(self, annotations: Annotations, side: Floats) -> tuple[Flags, Flags]:
        """Regions of people, and those that compete with them."""
        regions = annotations.regions
        by_people = is_in(regions["source"], (HUMAN,))
        sound = (side > 0) & kept_mask(annotations, "region")
        people = by_people & sound & ~flags(regions["crowd"])
        return people, ~by_people & sound & is_in(regions["task"], self.tasks)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of a human and of another region that may be the same thing."""

    human: Rows
    model: Rows
    group: Rows
    """Equal for one image and one source of model labels."""
    iou: Floats
    limit: Floats
    agree: Flags

    def where(self, chosen: Flags) -> "_Pairs":
        return _Pairs(*(getattr(self, field.name)[chosen] for field in fields(self)))


def _one_to_one(pairs: _Pairs) -> Flags:
    """The pairs of the best matching in each group. A pair whose ends are in no other pair is in
    it whatever else is, so only contested ones are left to assign."""
    human = dense(pairs.human * (pairs.group.max(initial=0) + 1) + pairs.group)
    times = [np.bincount(end)[end] for end in (human, pairs.model)]
    chosen = np.asarray((times[0] == 1) & (times[1] == 1))
    contested = np.flatnonzero(~chosen)
    contested = contested[np.argsort(pairs.group[contested], kind="stable")]
    begins = np.flatnonzero(np.diff(pairs.group[contested], prepend=-1))
    for rows in np.split(contested, begins[1:]):
        _, one = np.unique(pairs.human[rows], return_inverse=True)
        _, other = np.unique(pairs.model[rows], return_inverse=True)
        pair = np.full((one.max(initial=-1) + 1, other.max(initial=-1) + 1), -1)
        pair[one, other] = rows
        worth = np.where(pair < 0, 0, pairs.iou[pair] + pairs.agree[pair])
        picked = pair[linear_sum_assignment(worth, maximize=True)]
        chosen[picked[picked >= 0]] = True
    return chosen
