"""Small shards of labels for the tests of parts, store and queries."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from annotator.parts import write_part
from annotator.store import ShardCommit, Store
from schemas.annotations import table_of

RECIPES = {"first": {"stage": "one"}, "second": {"stage": "two"}}


def shard_tables(
    shard: str,
    recipe: str,
    texts: Sequence[str] = ("a dog", "a cat"),
    boxes: Sequence[float] = (0, 1, 2),
    dropped: Sequence[int] = (),
) -> dict[str, pa.Table]:
    """One image per text; each has a region per entry of `boxes`, its x0; `dropped` are numbers."""
    keys = [f"{i:03}" for i in range(len(texts))]
    label = {"source": "model", "shard": shard, "recipe": recipe, "round": 0}
    rows = {
        "images": [
            {
                "image_id": f"{shard}/{key}",
                "shard": shard,
                "key": key,
                "width": 100,
                "height": 50,
                "state": "labelled",
                "recipe": recipe,
            }
            for key in keys
        ],
        "texts": [
            {**label, "image_id": f"{shard}/{key}", "label_no": 0, "level": "brief", "text": text}
            for key, text in zip(keys, texts, strict=True)
        ],
        "regions": [
            {
                **label,
                "image_id": f"{shard}/{key}",
                "label_no": number,
                "task": "od",
                "shape": "box",
                "x0": x0,
                "y0": 0.5,
                "x1": 50.0,
                "y1": 25.0,
                "category": "dog",
            }
            for key in keys
            for number, x0 in enumerate(boxes)
        ],
        "phrases": [],
        "verdicts": [
            {
                "image_id": f"{shard}/{key}",
                "kind": "region",
                "source": "model",
                "label_no": number,
                "shard": shard,
                "filter": "filter_regions",
                "verdict": "drop",
                "value": 1.0,
                "threshold": 8.0,
                "recipe": recipe,
            }
            for key in keys
            for number in dropped
        ],
        "problems": [],
    }
    return {name: table_of(name, made) for name, made in rows.items()}


def entry_of(root: Path, shard: str, recipe: str, tables: dict[str, pa.Table]) -> ShardCommit:
    part = write_part(root / "parts", shard, recipe, tables, url=f"{shard}.tar", fingerprint={})
    return ShardCommit(
        shard=shard,
        recipe=recipe,
        files={name: part.folder / file for name, file in part.manifest.files.items()},
        rows=part.manifest.rows,
        part=str(part.folder),
    )


def small_entry(root: Path, shard: str, recipe: str = "first", **options: object) -> ShardCommit:
    return entry_of(root, shard, recipe, shard_tables(shard, recipe, **options))  # type: ignore[arg-type]  # options of shard_tables


def commit(store: Store, *entries: ShardCommit) -> int | None:
    return store.commit(entries, recipes=RECIPES, message="a run", extra={"run": "r1"})
