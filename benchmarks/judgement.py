"""Judging labels on columns, against the same rules as a plain loop over objects.

    python benchmarks/judgement.py [--labels 500000] [--json FILE]

Shard by shard, as a run does: every shard is measured, then each is judged by the profile `strict`
with the constants of them all, each judge seeing the verdicts before it. Times are processor
seconds of all threads, so labels per second are per core, whatever else the machine does. They
leave out making up the labels, and there are no files.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import TypeVar

import pyarrow as pa
from figures import write_figures
from made_up_labels import made_up_shard
from rules_in_a_loop import DUPLICATES, REGIONS, RULES, judged_in_a_loop, regions_of_images

from annotator.measures import needing_statistics, settle
from annotator.profiles import judges_of
from annotator.shard_tasks import Judging
from annotator.worker import judge_annotations
from schemas.annotations import Annotations
from schemas.columns import flags, is_in
from schemas.tables import LABEL_TABLES
from stages.filter_scores import FilterScores

Result = TypeVar("Result")
THRESHOLD = FilterScores(min_score=0.2)
STRICT = judges_of("strict")
PAGE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=500_000, help="labels to make up")
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    figures = {**judged(chosen.labels), **regions_in_both_ways()}
    for name, figure in figures.items():
        print(f"{name:<60} {figure:>14,.1f}")
    if chosen.json:
        write_figures(chosen.json, figures)


def judged(labels: int) -> dict[str, float]:
    first = made_up_shard(0)
    judge_annotations(first, Judging("warming up", tuple(STRICT)))
    shards = -(-labels // count(first))
    judging, measuring = settled(shards)
    counted: dict[str, float] = defaultdict(float)
    memory = []
    for number in range(shards):
        shard = made_up_shard(number)
        counted["labels"] += count(shard)
        counted["threshold"] += timed(THRESHOLD.judge, shard)[1]
        done, spent = timed(lambda shard: judge_annotations(shard, judging), shard)
        counted["strict"] += spent
        counted["verdicts"] += len(done.verdicts)
        memory.append(resident_megabytes())
    strict = counted["strict"] + measuring
    return {
        "labels": counted["labels"],
        "shards": shards,
        "verdicts": counted["verdicts"],
        "one threshold, labels/s": counted["labels"] / counted["threshold"],
        "profile strict, labels/s": counted["labels"] / strict,
        "of that, measuring the data set, %": 100 * measuring / strict,
        "resident memory after the first shard, MB": memory[0],
        "resident memory after the middle shard, MB": memory[len(memory) // 2],
        "resident memory after the last shard, MB": memory[-1],
        "resident memory at most, MB": max(memory),
    }


def settled(shards: int) -> tuple[Judging, float]:
    """The profile with the constants of all shards, and the processor seconds of finding them."""
    needing = needing_statistics(STRICT)
    measured, seconds = [], 0.0
    for number in range(shards):
        found, spent = timed(lambda s: [j.measure(s) for j in needing], made_up_shard(number))
        measured.append(found)
        seconds += spent
    judges, spent = timed(lambda parts: settle(STRICT, parts), measured)
    return Judging("made up", tuple(judges)), seconds + spent


def timed(work: Callable[..., Result], *given: object) -> tuple[Result, float]:
    """What the work returns, and its processor seconds."""
    started = process_time()
    result = work(*given)
    return result, process_time() - started


def count(shard: Annotations) -> int:
    return sum(len(shard.labels(kind)) for kind in LABEL_TABLES)


def resident_megabytes() -> float:
    """Of this process now; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * PAGE / 1e6 if statm.exists() else 0.0


def regions_in_both_ways() -> dict[str, float]:
    """Whole boxes on columns and in the loop, which must say the same of each by the loop's rules;
    that the columns know more rules counts against them."""
    shard = made_up_shard(0)
    boxes = is_in(shard.regions["shape"], ("box",)) & ~flags(shard.regions["tile"].is_valid())
    shard = shard.with_tables(regions=shard.regions.filter(pa.array(boxes)))
    verdicts, on_columns = timed(on_whole_columns, shard)
    rows = shard.regions.to_pylist()
    said, in_loop = timed(
        lambda: [
            each for image in regions_of_images(rows) for each in judged_in_a_loop(rows, image)
        ]
    )
    keys = ("image_id", "source", "label_no")
    known = verdicts.filter(pa.array(is_in(verdicts["filter"], RULES))).to_pylist()
    assert {(*(rows[row][key] for key in keys), rule) for row, rule in said} == {
        (*(verdict[key] for key in keys), verdict["filter"]) for verdict in known
    }
    assert {rule for _, rule in said} == set(RULES), "a rule that never spoke was not compared"
    return {
        "filter_regions and filter_duplicates on columns, labels/s": len(rows) / on_columns,
        "the same as a loop over objects, labels/s": len(rows) / in_loop,
        "columns over loop": in_loop / on_columns,
    }


def on_whole_columns(shard: Annotations) -> pa.Table:
    for judge in (REGIONS, DUPLICATES):
        found = judge.judge(shard)
        shard = shard.with_tables(verdicts=pa.concat_tables([shard.verdicts, found]))
    return shard.verdicts


if __name__ == "__main__":
    main()
