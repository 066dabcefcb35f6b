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
from stages.filter_phrases import FilterPhrases
from stages.filter_regions import OBJECT_TASKS, FilterRegions
from stages.filter_scores import FilterScores
from stages.filter_texts import FilterTexts
from stages.merge_human import MergeHuman

REGIONS = FilterRegions()
SCORES = FilterScores(min_score=0.2)
EVERY_JUDGE: tuple[Judge, ...] = (FilterTexts(), REGIONS, FilterPhrases(), SCORES, MergeHuman())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=200_000, help="regions to make up")
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    figures = measure(chosen.labels)
    for name, figure in figures.items():
        print(f"{name:<52} {figure:>14,.0f}")
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
        "filter_regions on columns, labels/s": columns,
        "filter_regions as a loop over objects, labels/s": loop,
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
    verdicts, on_columns = judging([REGIONS], shard)
    rows = shard.regions.to_pylist()
    started = time.process_time()
    said = {
        (
            rows[row]["image_id"],
            rows[row]["source"],
            rows[row]["label_no"],
            f"filter_regions.{rule}",
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
    """`FilterRegions()` as one would write it first: an object, an if, an object, an if."""
    standing: list[tuple[int, tuple[float, ...]]] = []
    for row in image:
        region = rows[row]
        bins = in_bins(region)
        rules = [*rules_on_box(region, bins), *rules_on_label(region)]
        yield from ((row, rule) for rule, _ in rules)
        if region["source"] == "human" or not any(rejects for _, rejects in rules):
            standing.append((row, bins))
    yield from rules_on_pairs(rows, [(r, b) for r, b in standing if b[2] > b[0] and b[3] > b[1]])


def in_bins(region: dict[str, Any]) -> tuple[float, ...]:
    sizes = (WIDTH, HEIGHT, WIDTH, HEIGHT)
    edges = (region[name] for name in ("x0", "y0", "x1", "y1"))
    return tuple(round(edge / (size / 1000), 3) for edge, size in zip(edges, sizes, strict=True))


def rules_on_box(region: dict[str, Any], bins: tuple[float, ...]) -> Iterator[tuple[str, bool]]:
    """Each broken rule, and whether it rejects the region."""
    width, height = bins[2] - bins[0], bins[3] - bins[1]
    side = min(width, height)
    if side <= 0:
        yield "integrity", True
        return
    if side < REGIONS.min_side:
        yield "min_side", True
    elif side < REGIONS.sub_token:
        yield "sub_token", False
    if width * height / 1e6 > REGIONS.max_area:
        yield "max_area", region["task"] in OBJECT_TASKS
    short, long = sorted((width * WIDTH, height * HEIGHT))
    if long / short > REGIONS.max_aspect:
        yield "max_aspect", True


def rules_on_label(region: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    label = region["category"] or region["text"] or ""
    if not label.strip():
        yield "empty_label", True
    if region["truncated"]:
        yield "truncated", False
    if plain(label) in REGIONS.banned_labels:
        yield "banned_labels", True
    if len(re.findall(r"\w+|[^\w\s]", label)) > REGIONS.max_label_words:
        yield "max_label_words", True
    if len(label) > REGIONS.max_label_length:
        yield "max_label_length", True


def rules_on_pairs(
    rows: Sequence[dict[str, Any]], standing: list[tuple[int, tuple[float, ...]]]
) -> Iterator[tuple[int, str]]:
    best_first = sorted(standing, key=lambda one: by_score(rows[one[0]]))
    survivors: list[tuple[int, tuple[float, ...]]] = []
    for row, bins in best_first:
        rivals = [(r, b) for r, b in survivors if group(rows[r]) == group(rows[row])]
        name = singular(rows[row]["text"])
        same = [b for r, b in rivals if singular(rows[r]["text"]) == name]
        if any(overlap(b, bins) >= REGIONS.same_label_iou for b in same):
            yield row, "same_label_iou"
            continue
        survivors.append((row, bins))
        if any(overlap(b, bins) >= REGIONS.any_label_iou for _, b in rivals):
            yield row, "any_label_iou"
        if any(beside(b, bins) for _, b in rivals):
            yield row, "any_label_bins"


def by_score(region: dict[str, Any]) -> tuple[float, int]:
    return (np.inf if region["score"] is None else -region["score"], region["label_no"])


def group(region: dict[str, Any]) -> tuple[Any, ...]:
    return region["source"], region["task"], region["parent"]


def plain(label: str) -> str:
    return re.sub(r"^(a|an|the) ", "", label.lower().strip(" .,"))


def singular(label: str) -> str:
    return plain(label).removesuffix("s")


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def beside(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    near = max(abs(x - y) for x, y in zip(a, b, strict=True)) <= REGIONS.any_label_bins
    return near and overlap(a, b) < REGIONS.any_label_iou


if __name__ == "__main__":
    main()
