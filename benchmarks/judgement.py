"""Judging labels on columns, against the same rules as a plain loop over objects.

    python benchmarks/judgement.py [--labels 200000] [--json FILE]

Times are processor seconds, so labels per second are per core, whatever else the machine does.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from figures import write_figures
from made_up_labels import HEIGHT, REGIONS_PER_SHARD, WIDTH, made_up_shard

from schemas.annotations import Annotations
from stages.base import Judge
from stages.filter_duplicates import GROUNDING, FilterDuplicates
from stages.filter_phrases import FilterPhrases
from stages.filter_regions import OBJECT_TASKS, FilterRegions
from stages.filter_scores import FilterScores
from stages.filter_texts import FilterTexts
from stages.merge_human import MergeHuman

Bins = tuple[float, ...]
REGIONS = FilterRegions()
DUPLICATES = FilterDuplicates()
SCORES = FilterScores(min_score=0.2)
EVERY_JUDGE: tuple[Judge, ...] = (
    FilterTexts(),
    REGIONS,
    SCORES,
    DUPLICATES,
    FilterPhrases(),
    MergeHuman(),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=200_000, help="regions to make up")
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    figures = measure(chosen.labels)
    for name, figure in figures.items():
        print(f"{name:<60} {figure:>14,.0f}")
    if chosen.json:
        write_figures(chosen.json, figures)


def measure(labels: int) -> dict[str, float]:
    counted: dict[str, float] = defaultdict(float)
    for number in range(-(-labels // REGIONS_PER_SHARD)):
        shard = made_up_shard(number)
        regions_only = shard.with_tables(texts=shard.texts[:0], phrases=shard.phrases[:0])
        counted["labels"] += len(shard.texts) + len(shard.regions) + len(shard.phrases)
        counted["regions"] += len(shard.regions)
        counted["threshold"] += judging([SCORES], regions_only)[1]
        verdicts, spent = judging(EVERY_JUDGE, shard)
        counted["verdicts"] += len(verdicts)
        counted["every"] += spent
    columns, loop = regions_in_both_ways()
    return {
        "labels": counted["labels"],
        "verdicts": counted["verdicts"],
        "one threshold on columns, labels/s": counted["regions"] / counted["threshold"],
        "every rule on columns, labels/s": counted["labels"] / counted["every"],
        "filter_regions and filter_duplicates on columns, labels/s": columns,
        "the same as a loop over objects, labels/s": loop,
        "columns over loop": columns / loop,
    }


def judging(judges: Sequence[Judge], shard: Annotations) -> tuple[pa.Table, float]:
    """Verdicts of judges one after the other, and the processor seconds that they took."""
    started = time.process_time()
    for judge in judges:
        verdicts = pa.concat_tables([shard.verdicts, judge.judge(shard)])
        shard = shard.with_tables(verdicts=verdicts)
    return shard.verdicts, time.process_time() - started


def regions_in_both_ways() -> tuple[float, float]:
    """Regions per second on columns and in the loop, which must say the same of each region."""
    shard = made_up_shard(0)
    verdicts, on_columns = judging([REGIONS, DUPLICATES], shard)
    rows = shard.regions.to_pylist()
    started = time.process_time()
    said = {
        (
            rows[row]["image_id"],
            rows[row]["source"],
            rows[row]["label_no"],
            rule,
        )
        for image in regions_of_images(rows)
        for row, rule in judged_in_a_loop(rows, image)
    }
    in_loop = time.process_time() - started
    keys = ("image_id", "source", "label_no", "filter")
    assert said == {tuple(row[key] for key in keys) for row in verdicts.to_pylist()}
    return len(rows) / on_columns, len(rows) / in_loop


def regions_of_images(rows: Sequence[dict[str, Any]]) -> Iterator[list[int]]:
    by_image = defaultdict(list)
    for row, region in enumerate(rows):
        by_image[region["image_id"]].append(row)
    yield from by_image.values()


def judged_in_a_loop(rows: Sequence[dict[str, Any]], image: list[int]) -> Iterator[tuple[int, str]]:
    """Both stages as one would write them first: an object, an if, an object, an if."""
    standing: list[tuple[int, Bins]] = []
    for row in image:
        region = rows[row]
        bins = in_bins(region)
        rules = [*rules_on_box(region, bins), *rules_on_label(region)]
        yield from ((row, f"filter_regions.{rule}") for rule, _ in rules)
        if region["source"] == "human" or not any(rejects for _, rejects in rules):
            standing.append((row, bins))
    standing = [(r, b) for r, b in standing if b[2] > b[0] and b[3] > b[1]]
    for row, rule in rules_on_pairs(rows, standing):
        yield row, f"filter_duplicates.{rule}"


def in_bins(region: dict[str, Any]) -> Bins:
    sizes = (WIDTH, HEIGHT, WIDTH, HEIGHT)
    edges = (region[name] for name in ("x0", "y0", "x1", "y1"))
    return tuple(round(edge / (size / 1000), 3) for edge, size in zip(edges, sizes, strict=True))


def rules_on_box(region: dict[str, Any], bins: Bins) -> Iterator[tuple[str, bool]]:
    """Each broken rule, and whether it rejects the region."""
    width, height = bins[2] - bins[0], bins[3] - bins[1]
    side = min(width, height)
    if side <= 0:
        yield "r1_integrity", True
        return
    if side < REGIONS.min_side:
        yield "r2_side", True
    elif side < REGIONS.sub_token:
        yield "r2_sub_token", False
    if width * height / 1e6 > REGIONS.max_area:
        yield "r3_area", region["task"] in OBJECT_TASKS
    short, long = sorted((width * WIDTH, height * HEIGHT))
    if long / short > REGIONS.max_aspect:
        yield "r4_aspect", True


def rules_on_label(region: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    label = region["category"] or region["text"] or ""
    if not label.strip():
        yield "r9_empty", True
    if region["truncated"]:
        yield "r1_truncated", False
    if plain(label) in REGIONS.banned_labels:
        yield "r9_banned", True
    if len(re.findall(r"\w+|[^\w\s]", label)) > REGIONS.max_label_words:
        yield "r9_words", True
    if len(label) > REGIONS.max_label_length:
        yield "r9_length", True


def rules_on_pairs(
    rows: Sequence[dict[str, Any]], standing: list[tuple[int, Bins]]
) -> Iterator[tuple[int, str]]:
    survivors: list[tuple[int, Bins]] = []
    merged: set[int] = set()
    left = []
    for row, bins in sorted(standing, key=lambda one: by_score(rows[one[0]])):
        hits = ((r, rule_on_pair(rows, (r, b), (row, bins))) for r, b in survivors)
        winner, rule = next(((r, rule) for r, rule in hits if rule), (row, None))
        if rule:
            yield row, rule
            if singular(rows[winner]["text"]) != singular(rows[row]["text"]):
                merged.add(winner)
        else:
            survivors.append((row, bins))
        if not rule or rows[row]["source"] == "human":
            left.append((row, bins))
    yield from ((row, "r5_merged") for row in merged)
    yield from rules_on_parts(rows, left)


def rule_on_pair(
    rows: Sequence[dict[str, Any]], better: tuple[int, Bins], worse: tuple[int, Bins]
) -> str | None:
    a, b = rows[better[0]], rows[worse[0]]
    if group(a) != group(b):
        return None
    shared = overlap(better[1], worse[1])
    if singular(a["text"]) == singular(b["text"]) and shared >= DUPLICATES.same_label_iou:
        return "r5_same_label"
    if a["task"] == GROUNDING:
        return None
    if shared >= DUPLICATES.any_label_iou:
        return "r5_any_label"
    shift = max(abs(x - y) for x, y in zip(better[1], worse[1], strict=True))
    return "r5_bins" if shift <= DUPLICATES.any_label_bins else None


def rules_on_parts(
    rows: Sequence[dict[str, Any]], standing: list[tuple[int, Bins]]
) -> Iterator[tuple[int, str]]:
    for row, bins in standing:
        kin = [
            (other, theirs)
            for other, theirs in standing
            if group(rows[other]) == group(rows[row])
            and singular(rows[other]["text"]) == singular(rows[row]["text"])
        ]
        if any(inside(bins, theirs) for _, theirs in kin):
            yield row, "r6_contained"
        if sum(inside(theirs, bins) for _, theirs in kin) >= DUPLICATES.min_group:
            yield row, "r6_group"


def inside(small: Bins, large: Bins) -> bool:
    if size(small) >= DUPLICATES.contained_area * size(large):
        return False
    return intersection(small, large) / size(small) >= DUPLICATES.contained_ios


def by_score(region: dict[str, Any]) -> tuple[float, int]:
    return (np.inf if region["score"] is None else -region["score"], region["label_no"])


def group(region: dict[str, Any]) -> tuple[Any, ...]:
    return region["source"], region["task"], region["parent"]


def plain(label: str) -> str:
    return re.sub(r"^(a|an|the) ", "", label.lower().strip(" .,"))


def singular(label: str) -> str:
    return plain(label).removesuffix("s")


def intersection(a: Bins, b: Bins) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def size(a: Bins) -> float:
    return (a[2] - a[0]) * (a[3] - a[1])


def overlap(a: Bins, b: Bins) -> float:
    shared = intersection(a, b)
    return shared / (size(a) + size(b) - shared)


if __name__ == "__main__":
    main()
