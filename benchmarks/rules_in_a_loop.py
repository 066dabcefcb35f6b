"""`filter_regions` and `filter_duplicates` as one would write them first: a loop over objects."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from made_up_labels import HEIGHT, WIDTH

from stages.filter_duplicates import GROUNDING, FilterDuplicates
from stages.filter_regions import OBJECT_TASKS, FilterRegions

Bins = tuple[float, ...]
RULES = (
    *("filter_regions.r1_integrity", "filter_regions.r1_truncated", "filter_regions.r2_side"),
    *("filter_regions.r2_sub_token", "filter_regions.r3_area", "filter_regions.r4_aspect"),
    *("filter_regions.r9_banned", "filter_duplicates.r5_same_label"),
    *("filter_duplicates.r5_any_label", "filter_duplicates.r5_bins", "filter_duplicates.r5_merged"),
    *("filter_duplicates.r6_contained", "filter_duplicates.r6_group"),
)
"""All that speak of the made-up boxes; the loop knows the three on empty and long labels too."""
REGIONS = FilterRegions()
DUPLICATES = FilterDuplicates(min_loop=None, max_boxes=None, tile_ios=None)


def regions_of_images(rows: Sequence[dict[str, Any]]) -> Iterator[list[int]]:
    by_image = defaultdict(list)
    for row, region in enumerate(rows):
        by_image[region["image_id"]].append(row)
    yield from by_image.values()


def judged_in_a_loop(rows: Sequence[dict[str, Any]], image: list[int]) -> Iterator[tuple[int, str]]:
    """Row and rule of every verdict on the boxes of an image."""
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
    label = words_of(region)
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
            if singular(rows[winner]) != singular(rows[row]):
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
    if singular(a) == singular(b) and shared >= DUPLICATES.same_label_iou:
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
            and singular(rows[other]) == singular(rows[row])
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


def words_of(region: dict[str, Any]) -> str:
    return region["category"] or region["text"] or ""


def plain(label: str) -> str:
    return re.sub(r"^(a|an|the) ", "", label.lower().strip(" .,"))


def singular(region: dict[str, Any]) -> str:
    return plain(words_of(region)).removesuffix("s")


def intersection(a: Bins, b: Bins) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def size(a: Bins) -> float:
    return (a[2] - a[0]) * (a[3] - a[1])


def overlap(a: Bins, b: Bins) -> float:
    shared = intersection(a, b)
    return shared / (size(a) + size(b) - shared)
