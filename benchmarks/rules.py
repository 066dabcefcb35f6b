"""What each rule on regions says of drawn scenes, and how much of what it rejects is truly wrong.

    python benchmarks/rules.py TABLES

TABLES is the table folder of a pipeline without judges over `scenes://…`: `od`,
`dense_region_caption` and `region_proposal`. A region is right if COCO's matching gives it a true
one of its own, of its task and words, at an IoU of 0.5 or more: a second box of one thing is wrong.
`IoU` is the mean of the right ones that the rule names. Every rule is on; `filter_duplicates` comes
after `filter_regions`. The last columns are of all regions, if that rule alone rejects.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rules_phrases import drawn, judged_by, read_candidates, settled

from annotator.evaluation.detection import (
    Counts,
    Places,
    box_overlaps,
    count_right,
    group_codes,
    match,
    turns_within,
)
from annotator.evaluation.tables import found_and_true
from annotator.scenes import language
from annotator.scenes.draw import Thing
from schemas.annotations import Annotations, kept_mask, rows_of
from schemas.columns import Flags, Numbers, is_in
from schemas.tables import REGIONS, REJECTIONS
from stages.base import Judge
from stages.filter_duplicates import FilterDuplicates
from stages.filter_regions import OBJECT_TASKS, FilterRegions
from stages.filter_scores import FilterScores

_MIN_IOU = 0.5
_UNSURE_NAMES = FilterScores(
    min_score={"od": 0.4, "dense_region_caption": 0.4}, min_label_score=0.5
)
_EVERY_SCORE = _UNSURE_NAMES.model_copy(
    update={
        "min_location_score": 0.05,
        "lowest_share": 0.1,
        "tight_spread": 0.02,
        "usable_spread": 0.05,
    }
)
_CHAINS: dict[str, tuple[Judge, ...]] = {
    "proposed": (),
    "by default": (FilterRegions(), FilterScores(), FilterDuplicates()),
    "and sure names": (FilterRegions(), _UNSURE_NAMES, FilterDuplicates()),
    "by every rule": (FilterRegions(), _EVERY_SCORE, FilterDuplicates()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, help="table folder of the scenes' candidates")
    candidates = read_candidates(parser.parse_args().tables)
    truth = Truth.of(candidates)
    print("| rule | verdict | labels | truly wrong | share | IoU | precision | recall |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for rule, verdict, said in rules(candidates):
        wrong, labels = int((said & ~truth.right).sum()), int(said.sum())
        alone = shares(truth.counts(~said)) if verdict in REJECTIONS else " | "
        name = f"`{rule}` | {verdict}"
        exact = truth.mean_iou(said)
        print(f"| {name} | {labels} | {wrong} | {wrong / labels:.2f} | {exact} | {alone} |")
    print("\n| kept | task | regions | right | precision | recall |\n|---|---|---:|---:|---:|---:|")
    for name, chain in _CHAINS.items():
        kept = kept_mask(after(chain, candidates), "region")
        for task in ("", *OBJECT_TASKS):
            counts = truth.counts(kept, task)
            of = f"{name} | {task or 'all'}"
            print(f"| {of} | {counts.found} | {counts.right} | {shares(counts)} |")


@dataclass(frozen=True)
class Truth:
    """Candidates and true regions of the object tasks; an image of `found` and `true` is one task
    of one image."""

    found: Places
    true: Places
    found_task: pa.ChunkedArray
    true_task: pa.ChunkedArray
    right: Flags
    iou: Numbers  # NaN of wrong ones

    @classmethod
    def of(cls, candidates: Annotations) -> "Truth":
        regions, things = candidates.regions, true_regions(candidates)
        found, true = found_and_true(asked_apart(regions), asked_apart(things))
        turns = turns_within(group_codes(found), found.score)
        overlaps = box_overlaps(found, true)
        partner = match(overlaps, turns, true.crowd, _MIN_IOU)
        matched = partner[overlaps.found] == overlaps.true
        iou = np.full(len(found), np.nan)
        iou[overlaps.found[matched]] = overlaps.iou[matched]
        return cls(found, true, regions["task"], things["task"], partner >= 0, iou)

    def mean_iou(self, rows: Flags) -> str:
        """Of the right ones; empty where there is none."""
        right = self.iou[rows & self.right]
        return f"{right.mean():.2f}" if len(right) else ""

    def counts(self, kept: Flags, task: str = "") -> Counts:
        """Matched anew: a true region whose partner is gone is free for the next."""
        tasks = (task,) if task else OBJECT_TASKS
        found = self.found.where(kept & is_in(self.found_task, tasks))
        return count_right(found, self.true.where(is_in(self.true_task, tasks)), _MIN_IOU)


def true_regions(candidates: Annotations) -> pa.Table:
    rows = [
        {
            "image_id": image,
            "task": task,
            "category": words,
            **dict(zip(("x0", "y0", "x1", "y1"), thing.bbox_xyxy, strict=True)),
        }
        for image, scene in drawn(candidates)
        for thing in scene.things
        for task, words in answers(thing)
    ]
    return pa.Table.from_pylist(rows, schema=REGIONS)


def answers(thing: Thing) -> Iterator[tuple[str, str]]:
    yield from zip(OBJECT_TASKS, (thing.category, language.describe(thing), ""), strict=True)


def asked_apart(regions: pa.Table) -> pa.Table:
    """Each task of an image as an image of its own, and what a region says as its category."""
    image = pc.binary_join_element_wise(regions["image_id"], regions["task"], "/")
    said = pc.coalesce(regions["category"], regions["text"], pa.scalar(""))
    return (
        regions.select(["x0", "y0", "x1", "y1", "score", "crowd"])
        .append_column("image_id", image)
        .append_column("category", said)
    )


def after(judges: tuple[Judge, ...], annotations: Annotations) -> Annotations:
    """With the verdicts of all, one after the other."""
    for judge in settled(judges, annotations):
        annotations = judged_by(judge, annotations)
    return annotations


def rules(candidates: Annotations) -> Iterator[tuple[str, str, Flags]]:
    """Rule, verdict, and of which regions."""
    regions = candidates.regions
    chains = ((FilterRegions(), FilterDuplicates()), (_EVERY_SCORE,))
    said = pa.concat_tables([after(chain, candidates).verdicts for chain in chains])
    said = said.filter(pc.equal(said["kind"], "region"))
    named = pc.binary_join_element_wise(said["filter"], said["verdict"], " ")
    for name in sorted(pc.unique(named).to_pylist()):
        mine = said.filter(pc.equal(named, name))
        rows = np.zeros(len(regions), dtype=bool)
        rows[rows_of(regions, mine["image_id"], mine["source"], mine["label_no"])] = True
        rule, verdict = name.split()
        yield rule, verdict, rows


def shares(counts: Counts) -> str:
    return f"{counts.precision or 0:.3f} | {counts.recall or 0:.3f}"


if __name__ == "__main__":
    main()
