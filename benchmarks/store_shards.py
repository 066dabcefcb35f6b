"""Parts of made-up shards for the store's benchmark, and the alternative: files with a manifest."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from annotator.parts import PARTS, write_part
from annotator.store import ShardCommit
from schemas.tables import TABLES

RECIPE, NEXT = "first", "second"
REGIONS, TEXTS = 10, 2
"""Of an image."""
REJECTED = 10
"""One of so many regions."""
EDITED = 1000
"""One of so many regions has another category in the second version, at random."""
KEY = ("image_id", "source", "label_no", "shard")


def make_shards(root: Path, images: int, numbers: Sequence[int]) -> list[ShardCommit]:
    """Their parts are written into the store's folder."""
    return [make_shard(root, images, number) for number in numbers]


def make_shard(root: Path, images: int, number: int) -> ShardCommit:
    """Two captions and ten regions an image, a tenth of the regions rejected."""
    shard = f"shard-{number:05}"
    random = np.random.default_rng(number)
    ids = np.array([f"{shard}/{i:06}" for i in range(images)])
    tables = {name: schema.empty_table() for name, schema in TABLES.items()}
    fixed = {"state": ["labelled"] * images, "recipe": [RECIPE] * images}
    sizes = {"width": [1000] * images, "height": [1000] * images}
    own = {"image_id": ids, "shard": [shard] * images, "key": ids}
    tables["images"] = filled("images", {**own, **sizes, **fixed})
    said = random.choice(SENTENCES, images * TEXTS)
    tables["texts"] = labels("texts", shard, ids, TEXTS, text=said, level=["brief"] * len(said))
    tables["regions"] = regions(shard, ids, random)
    rejected = tables["regions"].slice(0, images * REGIONS // REJECTED)
    keys = {name: rejected[name].combine_chunks() for name in KEY}
    rule = {"kind": ["region"] * len(rejected), "verdict": ["drop"] * len(rejected)}
    tables["verdicts"] = filled("verdicts", {**keys, **rule})
    part = write_part(root / PARTS, shard, RECIPE, tables, url=shard, fingerprint={})
    files = {name: part.folder / file for name, file in part.manifest.files.items()}
    return ShardCommit(shard, RECIPE, files, part.manifest.rows, str(part.folder))


SENTENCES = [f"A {what} stands {where}." for what in ("dog", "red car") for where in ("here", "by")]


def regions(shard: str, ids: np.ndarray, random: np.random.Generator) -> pa.Table:
    """Boxes with three scores; how often a category occurs follows Zipf."""
    count = len(ids) * REGIONS
    x0, y0 = random.uniform(0, 900, (2, count)).astype(np.float32)
    width, height = random.uniform(5, 100, (2, count)).astype(np.float32)
    score, location, label = random.random((3, count)).astype(np.float32)
    category = [f"category {c}" for c in random.zipf(1.3, count).clip(max=3000)]
    columns = {"x0": x0, "y0": y0, "x1": x0 + width, "y1": y0 + height, "category": category}
    scores = {"score": score, "location_score": location, "label_score": label}
    said = {"task": ["od"] * count, "shape": ["box"] * count, "truncated": [False] * count}
    return labels("regions", shard, ids, REGIONS, **columns, **scores, **said)


def labels(name: str, shard: str, ids: np.ndarray, each: int, **columns: object) -> pa.Table:
    """`each` labels of every image."""
    count = len(ids) * each
    key = {
        "image_id": np.repeat(ids, each),
        "source": ["model"] * count,
        "label_no": np.tile(np.arange(each), len(ids)),
        "shard": [shard] * count,
        "recipe": [RECIPE] * count,
    }
    return filled(name, {**key, **columns})


def edit_shards(entries: Sequence[ShardCommit]) -> list[ShardCommit]:
    """The same shards by another recipe: new files of regions, in which a few categories differ."""
    return [edit_shard(entry) for entry in entries]


def edit_shard(entry: ShardCommit) -> ShardCommit:
    """One region in a thousand."""
    table = pq.read_table(entry.files["regions"], schema=TABLES["regions"])
    place = table.schema.get_field_index("category")
    edited = np.random.default_rng(len(table)).random(len(table)) < 1 / EDITED
    category = pc.if_else(pa.array(edited), "another category", table["category"])
    folder = Path(entry.part).parent / NEXT
    folder.mkdir()
    pq.write_table(
        table.set_column(place, table.schema.field(place), category),
        folder / "regions.parquet",
        compression="zstd",
    )
    files = {**entry.files, "regions": folder / "regions.parquet"}
    return replace(entry, recipe=NEXT, files=files, part=str(folder))


def keep_entries(path: Path, *versions: Sequence[ShardCommit]) -> None:
    """As JSON, for `read_entries`."""
    path.write_text(
        json.dumps([[asdict(entry) for entry in each] for each in versions], default=str)
    )


def read_entries(path: Path) -> list[list[ShardCommit]]:
    """One list for each version."""
    return [
        [
            ShardCommit(**{**entry, "files": {t: Path(f) for t, f in entry["files"].items()}})
            for entry in each
        ]
        for each in json.loads(path.read_text())
    ]


def commit_plainly(root: Path, entries: Sequence[ShardCommit]) -> None:
    """What a manifest by hand does: link each file, then name them all by one rename."""
    named: dict[str, list[str]] = {}
    for entry in entries:
        for table, path in entry.files_with_rows().items():
            target = root / table / f"{entry.shard}-{entry.recipe}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
            named.setdefault(table, []).append(str(target.relative_to(root)))
    temporary = root / "manifest.json.tmp"
    temporary.write_text(json.dumps(named))
    temporary.replace(root / "manifest.json")


def filled(name: str, columns: dict[str, Any]) -> pa.Table:
    """In the schema of that name, NULL where a column is not given."""
    rows = len(columns["image_id"])
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in TABLES[name]
    ]
    return pa.table(arrays, schema=TABLES[name])
