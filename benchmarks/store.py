"""Time of one commit of N shards against plain Parquet files with a manifest, in the same run.

python benchmarks/store.py --shards 200 --json store.json
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from figures import write_figures
from made_up_labels import filled

from annotator.parts import write_part
from annotator.store import ShardCommit, Store
from schemas.tables import TABLES

RECIPE = "benchmark"
KEY = ("image_id", "source", "label_no", "shard")


def main() -> None:
    """Print the ratio, and what it is made of."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--images", type=int, default=100, help="images in a shard")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.shards, arguments.images)
    print(
        f"{figures['shards']} shards, {figures['region_rows']:,} regions, one version over all "
        f"tables: {figures['commit_s']:.2f} s\nthe same files linked, with a manifest: "
        f"{figures['plain_s']:.2f} s\nratio: {figures['ratio']:.1f} "
        f"({figures['commit_ms_per_shard']:.1f} ms a shard; nothing to do: "
        f"{figures['nothing_new_s']:.2f} s; count by category: {figures['count_s']:.2f} s, "
        f"plain {figures['plain_count_s']:.2f} s)"
    )
    if arguments.json:
        write_figures(arguments.json, figures)


def measure(folder: Path, shards: int, images: int) -> dict[str, float]:
    """Seconds of both ways; the parts are written before and shared by them."""
    store = Store.create_or_open(folder / "tables")
    entries = [make_shard(store.root, f"shard-{i:05}", images, i) for i in range(shards)]
    commit_s = timed(lambda: commit(store, entries))
    plain_s = timed(lambda: commit_plainly(folder / "plain", entries))
    again_s = timed(lambda: commit(store, entries))
    with store.connect() as lake:
        query = "SELECT category, count(*) FROM {} GROUP BY 1"
        count_s = timed(lambda: lake.execute(query.format("all_regions")).fetchall())
        files = f"read_parquet('{folder}/plain/regions/*.parquet')"
        plain_count_s = timed(lambda: lake.execute(query.format(files)).fetchall())
    return {
        "shards": shards,
        "region_rows": sum(entry.rows["regions"] for entry in entries),
        "commit_s": commit_s,
        "commit_ms_per_shard": 1000 * commit_s / shards,
        "plain_s": plain_s,
        "ratio": commit_s / plain_s,
        "nothing_new_s": again_s,
        "count_s": count_s,
        "plain_count_s": plain_count_s,
        "bytes": sum(path.stat().st_size for path in store.data_folder().rglob("*.parquet")),
        "catalogue_bytes": (store.root / "catalog.sqlite").stat().st_size,
    }


def timed(work: Callable[[], object]) -> float:
    """Seconds by the wall clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def commit(store: Store, entries: Sequence[ShardCommit]) -> None:
    """One version, or none where all is in."""
    store.commit(entries, recipes={RECIPE: {}}, message="benchmark", extra={"run": "benchmark"})


def commit_plainly(root: Path, entries: Sequence[ShardCommit]) -> None:
    """What a manifest by hand does: link each file, then name them all by one rename."""
    named: dict[str, list[str]] = {}
    for entry in entries:
        for table, path in entry.files_with_rows().items():
            target = root / table / f"{entry.shard}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
            named.setdefault(table, []).append(str(target.relative_to(root)))
    temporary = root / "manifest.json.tmp"
    temporary.write_text(json.dumps(named))
    temporary.replace(root / "manifest.json")


def make_shard(root: Path, shard: str, images: int, seed: int) -> ShardCommit:
    """Two captions and ten regions an image, a tenth of the regions rejected."""
    tables = {name: schema.empty_table() for name, schema in TABLES.items()}
    numbers = np.random.default_rng(seed)
    ids = [f"{shard}/{i:06}" for i in range(images)]
    tables["images"] = filled("images", {"image_id": ids, "shard": [shard] * images, "key": ids})
    tables["texts"] = labels("texts", shard, ids, 2, text=["a dog on the grass"] * images * 2)
    count = images * 10
    corners = numbers.uniform(0, 1000, (4, count)).astype(np.float32)
    sides = dict(zip(("x0", "y0", "x1", "y1"), corners, strict=True))
    category = [f"category {c}" for c in numbers.zipf(1.3, count).clip(max=3000)]
    tables["regions"] = labels("regions", shard, ids, 10, **sides, category=category)
    rejected = tables["regions"].slice(0, count // 10)
    keys = {name: rejected[name].combine_chunks() for name in KEY}
    rule = {"kind": ["region"] * len(rejected), "verdict": ["drop"] * len(rejected)}
    tables["verdicts"] = filled("verdicts", {**keys, **rule})
    part = write_part(root / "parts", shard, RECIPE, tables, url=shard, fingerprint={})
    files = {name: part.folder / file for name, file in part.manifest.files.items()}
    return ShardCommit(shard, RECIPE, files, part.manifest.rows, str(part.folder))


def labels(name: str, shard: str, ids: Sequence[str], each: int, **columns: object) -> pa.Table:
    """`each` labels of every image."""
    key = {
        "image_id": [image for image in ids for _ in range(each)],
        "source": ["model"] * len(ids) * each,
        "label_no": list(range(each)) * len(ids),
        "shard": [shard] * len(ids) * each,
    }
    return filled(name, {**key, **columns})


if __name__ == "__main__":
    main()
