"""What each rule on texts and phrases rejects of 500 scenes, and how much of it is truly wrong.

    python benchmarks/rules_phrases.py TABLES

TABLES is the table folder of a pipeline without judges over `scenes://…`: captions of all levels,
`od` and `caption_to_phrase_grounding`. A caption is wrong if it names a thing, by colour and kind,
that its scene does not have, or one more often than the scene; a phrase is right if its box has an
IoU of 0.5 or more with a thing, or a printed word, that it names.
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
from schemas.ids import image_id
from schemas.tables import TABLES
from stages.base import Judge
from stages.filter_phrases import FilterPhrases
from stages.filter_texts import FilterTexts

_THING = re.compile(rf"({'|'.join(world.COLOURS)}) ({'|'.join(world.KINDS)})(s|es)?\b")
_WORD = re.compile(r"\bword ([A-Z]+)\b")
_MIN_IOU = 0.5
_CAPTIONS = ("brief", "detailed", "more_detailed")
Box = tuple[float, float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, help="table folder of the scenes' candidates")
    candidates = read_candidates(parser.parse_args().tables)
    right = right_labels(candidates)
    judges = settled((FilterTexts(), FilterPhrases()), candidates)
    print(f"{'rule':<38} {'verdict':<10} {'labels':>7} {'wrong':>7} {'share':>6}")
    judged = candidates
    for judge in judges:
        verdicts = judge.judge(judged)
        for (rule, verdict), (labels, wrong) in sorted(by_rule(verdicts, candidates, right)):
            print(f"{rule:<38} {verdict:<10} {labels:>7} {wrong:>7} {wrong / labels:>6.2f}")
        judged = judged.with_tables(verdicts=pa.concat_tables([judged.verdicts, verdicts]))
    for kind in ("text", "phrase"):
        print_score(kind, "proposed", right[kind], captions_only(candidates, kind))
        print_score(
            kind, "kept", right[kind], captions_only(judged, kind) & kept_mask(judged, kind)
        )


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
    scenes = dict(drawn(candidates))
    texts = candidates.texts.to_pylist()
    truths = {image: named_boxes(scene) for image, scene in scenes.items()}
    regions = {
        (row["image_id"], row["source"], row["label_no"]): row
        for row in candidates.regions.to_pylist()
    }
    return {
        "text": np.array([says_the_truth(row["text"], truths[row["image_id"]]) for row in texts]),
        "phrase": np.array(
            [
                shows_it(row, regions, truths[row["image_id"]])
                for row in candidates.phrases.to_pylist()
            ]
        ),
    }


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
    things = [f"{colour} {kind}" for colour, kind, _ in _THING.findall(text or "")]
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


def by_rule(
    verdicts: pa.Table, candidates: Annotations, right: dict[str, np.ndarray]
) -> list[tuple[tuple[str, str], tuple[int, int]]]:
    places = {
        kind: {key: row for row, key in enumerate(keys_of(candidates.labels(kind)))}
        for kind in right
    }
    counted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row, key in zip(verdicts.to_pylist(), keys_of(verdicts), strict=True):
        count = counted[row["filter"], row["verdict"]]
        count[0] += 1
        count[1] += not right[row["kind"]][places[row["kind"]][key]]
    return [(rule, (labels, wrong)) for rule, (labels, wrong) in counted.items()]


def keys_of(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = (table[name].to_pylist() for name in ("image_id", "source", "label_no"))
    return list(zip(*columns, strict=True))


def captions_only(annotations: Annotations, kind: str) -> np.ndarray:
    if kind != "text":
        return np.ones(len(annotations.phrases), dtype=bool)
    return np.array([level in _CAPTIONS for level in annotations.texts["level"].to_pylist()])


def print_score(kind: str, stage: str, right: np.ndarray, among: np.ndarray) -> None:
    found = int(among.sum())
    true = int((right & among).sum())
    share = true / found if found else 0
    print(f"{kind} {stage}: {found} labels, {true} right, precision {share:.3f}")


if __name__ == "__main__":
    main()
