"""What each rule on texts and phrases says of drawn scenes, and how much of it is truly wrong.

    python benchmarks/rules_phrases.py TABLES

TABLES is the table folder of a pipeline without judges over `scenes://…`: captions of all levels,
`od` and `caption_to_phrase_grounding`. A caption is wrong if it names a thing, by colour and kind,
that its scene does not have, or one more often than the scene. A triplet is right if its box has an
IoU of 0.5 or more with a thing, or a printed word, that its phrase names, and its caption names the
same, by colour and kind; `box wrong` asks only for the first. The rules on texts are measured with
every rule on, those on phrases after the rules on texts that are on by default.
"""

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from annotator import open_tables
from annotator.scenes import world
from annotator.scenes.draw import Scene
from annotator.scenes.source import parse_shard, ref_of, scenes_of
from schemas.annotations import Annotations, kept_mask
from schemas.boxes import iou
from schemas.columns import is_in
from schemas.ids import image_id
from schemas.tables import TABLES
from stages.base import Judge
from stages.filter_phrases import FilterPhrases
from stages.filter_texts import FilterTexts

_THING = re.compile(rf"({'|'.join(world.COLOURS)}) ({'|'.join(world.KINDS)})(s|es)?\b")
_WORD = re.compile(r"\bword ([A-Z]+)\b")
_MIN_IOU = 0.5
_CAPTIONS = ("brief", "detailed", "more_detailed")
_EVERY_RULE = FilterTexts(
    length={"brief": (3, 24), "detailed": (10, 95), "more_detailed": (24, 212)},
    max_repeated_words=0.18,
    min_object_complexity={"brief": 2, "detailed": 3, "more_detailed": 3},
    min_actions={"detailed": 1, "more_detailed": 2},
    lowest_scores=0.02,
)
Box = tuple[float, float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, help="table folder of the scenes' candidates")
    candidates = read_candidates(parser.parse_args().tables)
    right = right_labels(candidates)
    every_rule, by_default = settled((_EVERY_RULE, FilterTexts()), candidates)
    print(f"{'rule':<33} {'verdict':<10} {'labels':>6} {'wrong':>6} {'share':>6} {'box wrong':>9}")
    print_rules(every_rule.judge(candidates), candidates, right)
    texts_judged = judged_by(by_default, candidates)
    print_rules(FilterPhrases().judge(texts_judged), candidates, right)
    for name, judged in (
        ("proposed", candidates),
        ("kept by default", judged_by(FilterPhrases(), texts_judged)),
        ("kept by every rule", judged_by(FilterPhrases(), judged_by(every_rule, candidates))),
    ):
        for kind in ("text", "phrase"):
            print_score(kind, name, right[kind], judged)


def judged_by(judge: Judge, annotations: Annotations) -> Annotations:
    verdicts = [annotations.verdicts, judge.judge(annotations)]
    return annotations.with_tables(verdicts=pa.concat_tables(verdicts))


def read_candidates(folder: Path) -> Annotations:
    tables = open_tables(folder)
    views = {"texts": "all_texts", "regions": "all_regions", "phrases": "all_phrases"}
    names = {"images": "images", **views}
    read = {
        name: tables.sql(f"SELECT {', '.join(TABLES[name].names)} FROM {view}").to_arrow()
        for name, view in names.items()
    }
    return Annotations.of().with_tables(
        **{name: table.cast(TABLES[name]) for name, table in read.items()}
    )


def settled(judges: tuple[Judge, ...], candidates: Annotations) -> list[Judge]:
    measured = [judge.measure(candidates) for judge in judges]
    return [
        judge.settled([part]) if part is not None else judge
        for judge, part in zip(judges, measured, strict=True)
    ]


def right_labels(candidates: Annotations) -> dict[str, np.ndarray]:
    """By kind, and as `box` the phrases whose box alone is right."""
    truths = {image: named_boxes(scene) for image, scene in drawn(candidates)}
    texts, phrases = candidates.texts.to_pylist(), candidates.phrases.to_pylist()
    regions = dict(zip(keys_of(candidates.regions), candidates.regions.to_pylist(), strict=True))
    said = {key: row["text"] for key, row in zip(keys_of(candidates.texts), texts, strict=True)}
    box = np.array([shows_it(row, regions, truths[row["image_id"]]) for row in phrases])
    named = np.array([names_it(row, said) for row in phrases])
    true = np.array([says_the_truth(row["text"], truths[row["image_id"]]) for row in texts])
    return {"text": true, "phrase": box & named, "box": box}


def drawn(candidates: Annotations) -> Iterator[tuple[str, Scene]]:
    for url in sorted(set(candidates.images["url"].to_pylist())):
        address = parse_shard(url)
        shard = ref_of(address).name
        for key, scene in scenes_of(address):
            yield image_id(shard, key), scene


def named_boxes(scene: Scene) -> dict[str, list[Box]]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for thing in scene.things:
        boxes[f"{thing.colour} {thing.category}"].append(thing.bbox_xyxy)
    for word in scene.words:
        boxes[word.text].append(word.bbox_xyxy)
    return boxes


def names_in(text: str) -> list[str]:
    lower = (text or "").lower()
    things = [f"{colour} {kind}" for colour, kind, _ in _THING.findall(lower)]
    return [*things, *_WORD.findall(text or "")]


def says_the_truth(text: str, truth: dict[str, list[Box]]) -> bool:
    return all(times <= len(truth.get(name, ())) for name, times in Counter(names_in(text)).items())


def shows_it(row: dict[str, Any], regions: dict[Any, Any], truth: dict[str, list[Box]]) -> bool:
    region = regions.get((row["image_id"], row["region_source"], row["region_no"]))
    true = [box for name in names_in(row["phrase"]) for box in truth.get(name, ())]
    if region is None or not true:
        return False
    found = np.array([[region[side] for side in ("x0", "y0", "x1", "y1")]])
    return bool(iou(found, np.array(true)).max() >= _MIN_IOU)


def names_it(row: dict[str, Any], said: dict[Any, str]) -> bool:
    caption = said.get((row["image_id"], row["text_source"], row["text_no"]), "")
    return set(names_in(row["phrase"])) <= set(names_in(caption))


def print_rules(verdicts: pa.Table, candidates: Annotations, right: dict[str, np.ndarray]) -> None:
    for (rule, verdict), (labels, wrong, box) in sorted(by_rule(verdicts, candidates, right)):
        of_box = box if rule.startswith("filter_phrases") and not rule.endswith("g12_empty") else ""
        share = wrong / labels
        print(f"{rule:<33} {verdict:<10} {labels:>6} {wrong:>6} {share:>6.2f} {of_box:>9}")


def by_rule(
    verdicts: pa.Table, candidates: Annotations, right: dict[str, np.ndarray]
) -> list[tuple[tuple[str, str], tuple[int, int, int]]]:
    """Labels, wrong ones and, of phrases, wrong boxes, by rule and verdict."""
    places = {
        kind: {key: row for row, key in enumerate(keys_of(candidates.labels(kind)))}
        for kind in ("text", "phrase")
    }
    counted: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(3, dtype=int))
    for row, key in zip(verdicts.to_pylist(), keys_of(verdicts), strict=True):
        kind, place = row["kind"], places[row["kind"]][key]
        box = not right["box"][place] if kind == "phrase" else 0
        counted[row["filter"], row["verdict"]] += (1, not right[kind][place], box)
    return [(rule, tuple(counts.tolist())) for rule, counts in counted.items()]


def keys_of(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = (table[name].to_pylist() for name in ("image_id", "source", "label_no"))
    return list(zip(*columns, strict=True))


def print_score(kind: str, name: str, right: np.ndarray, judged: Annotations) -> None:
    among = np.ones(len(right), dtype=bool)
    if kind == "text":
        among = is_in(judged.texts["level"], _CAPTIONS)
    kept = among & kept_mask(judged, kind)
    true = int((right & kept).sum())
    share, recall = kept.sum() / among.sum(), true / int((right & among).sum())
    print(
        f"{kind:<6} {name:<18} {kept.sum():>5} labels ({share:.1%}), {true:>5} right, "
        f"precision {true / kept.sum():.3f}, right ones kept {recall:.1%}"
    )


if __name__ == "__main__":
    main()
