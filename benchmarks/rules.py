"""What each rule says of drawn scenes, how much of it is truly wrong, and what both profiles keep.

    python benchmarks/rules.py TABLES

TABLES is the table folder of a pipeline without judges over `scenes://…`. The first table is of
the profile `strict`, one judge after the other, and of every rule that is off by default, asked of
the candidates alone: what it names, how much of that is truly wrong (`scene_truth`), and what
precision and which share of the right labels that rule leaves if it alone rejects. The second is of
the profiles; recall of `objects` is of all that is there to be found, of the others of what was
proposed.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scene_truth import OBJECT_TASKS, Truth, read_candidates

from annotator.profiles import judges_of
from schemas.annotations import Annotations, kept_mask, rows_of
from schemas.columns import Flags
from schemas.tables import LABEL_TABLES, REJECTIONS
from stages.base import Judge
from stages.filter_phrases import FilterPhrases
from stages.filter_scores import FilterScores
from stages.filter_texts import FilterTexts

_OFF_BY_DEFAULT: tuple[Judge, ...] = (
    FilterTexts(
        length={"brief": (3, 24), "detailed": (10, 95), "more_detailed": (24, 212)},
        max_repeated_words=0.18,
        min_object_complexity={"brief": 2, "detailed": 3, "more_detailed": 3},
        min_actions={"detailed": 1, "more_detailed": 2},
        lowest_scores=0.02,
    ),
    FilterScores(
        min_score={"od": 0.4, "dense_region_caption": 0.4, "caption_to_phrase_grounding": 0.4},
        min_label_score={"od": 0.5, "dense_region_caption": 0.5},
        min_location_score=0.05,
        lowest_share=0.1,
        lowest_class_share=0.02,
        min_class_scores=100,
        tight_spread=0.02,
        usable_spread=0.05,
    ),
    FilterPhrases(min_label_score=0.8, min_location_score=0.2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, help="table folder of the scenes' candidates")
    candidates = read_candidates(parser.parse_args().tables)
    truth = Truth.of(candidates)
    print("| rule | of | verdict | labels | truly wrong | share | precision | right ones kept |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for line in rule_lines(candidates, truth):
        print(line)
    print("\n| kept | of | labels | right | precision | recall |\n|---|---|---:|---:|---:|---:|")
    for name, judges in (
        ("proposed", []),
        ("permissive", judges_of("permissive")),
        ("strict", judges_of("strict")),
    ):
        for line in kept_lines(after(judges, candidates), truth):
            print(f"| {name} | {line}")


def after(judges: Sequence[Judge], annotations: Annotations) -> Annotations:
    """With the verdicts of all, one after the other, and the constants of these candidates."""
    for judge in judges:
        measured = judge.measure(annotations)
        settled = judge if measured is None else judge.settled([measured])
        verdicts = [annotations.verdicts, settled.judge(annotations)]
        annotations = annotations.with_tables(verdicts=pa.concat_tables(verdicts))
    return annotations


def rule_lines(candidates: Annotations, truth: Truth) -> Iterator[str]:
    strict = after(judges_of("strict"), candidates).verdicts
    alone = pa.concat_tables(after([judge], candidates).verdicts for judge in _OFF_BY_DEFAULT)
    on = pc.is_in(alone["filter"], value_set=pc.unique(strict["filter"]))
    for off, verdicts in ((False, strict), (True, alone.filter(pc.invert(on)))):
        for kind, rule, verdict, said in said_of(verdicts, candidates):
            known, right = truth.known[kind], truth.right[kind]
            named = said & known
            if not named.any():
                continue
            wrong = int((named & ~right).sum())
            name = f"| `{rule.partition('.')[2]}`{' (off)' if off else ''} | {kind} | {verdict}"
            share = f"{named.sum()} | {wrong} | {wrong / named.sum():.2f}"
            left = known & ~said
            alone_left = (
                f"{right[left].mean():.3f} | {(right & left).sum() / (right & known).sum():.3f}"
                if verdict in REJECTIONS
                else " | "
            )
            yield f"{name} | {share} | {alone_left} |"


def said_of(verdicts: pa.Table, candidates: Annotations) -> Iterator[tuple[str, str, str, Flags]]:
    """Kind, rule, verdict, and of which labels."""
    columns = ("kind", "filter", "verdict")
    named = pc.binary_join_element_wise(*(verdicts[name] for name in columns), " ")
    for name in sorted(pc.unique(named).to_pylist()):
        kind, rule, verdict = name.split()
        mine, labels = verdicts.filter(pc.equal(named, name)), candidates.labels(kind)
        said = np.zeros(len(labels), dtype=bool)
        said[rows_of(labels, mine["image_id"], mine["source"], mine["label_no"])] = True
        yield kind, rule, verdict, said


def kept_lines(judged: Annotations, truth: Truth) -> Iterator[str]:
    for kind in LABEL_TABLES:
        if kind != "region":
            known, right = truth.known[kind], truth.right[kind]
            kept = kept_mask(judged, kind) & known
            true = int((kept & right).sum())
            recall = true / (right & known).sum()
            yield f"{kind}s | {kept.sum()} | {true} | {true / kept.sum():.3f} | {recall:.3f} |"
            continue
        for task in ("", *OBJECT_TASKS):
            counts = truth.objects.counts(kept_mask(judged, kind), task)
            shares = f"{counts.precision or 0:.3f} | {counts.recall or 0:.3f}"
            yield f"{task or 'objects'} | {counts.found} | {counts.right} | {shares} |"


if __name__ == "__main__":
    main()
