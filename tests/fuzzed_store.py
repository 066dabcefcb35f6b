"""Random shards for the fuzz of the store, and what the store has to say of them."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from annotator.parts import write_part
from annotator.store import ShardCommit
from schemas.annotations import table_of
from schemas.tables import LABEL_TABLES, REJECTIONS, SHAPES, TABLES, VERDICTS

SHARDS = ("s0", "it's s=1 [*]", "s2", "s3")
WORDS = ("a dog", "", "čšž 犬", 'it\'s "two"\nlines', None)
JUDGED = ("images", "verdicts")


@dataclass(frozen=True)
class Made:
    """A shard that can be put in, with paths relative to the store's folder."""

    shard: str
    recipe: str
    tables: Mapping[str, pa.Table]
    files: Mapping[str, Path]
    part: Path

    def entry(self, root: Path) -> ShardCommit:
        rows = {name: len(table) for name, table in self.tables.items()}
        files = {name: root / path for name, path in self.files.items()}
        return ShardCommit(self.shard, self.recipe, files, rows, str(root / self.part))

    def has_files(self, root: Path) -> bool:
        """Not after they were swept."""
        return all((root / path).is_file() for path in self.files.values())


def new_shard(root: Path, numbers: random.Random, recipe: str) -> Made:
    """Of zero to three images and random labels of every kind."""
    shard = numbers.choice(SHARDS)
    ids = [f"{shard}/{number}" for number in range(numbers.randint(0, 3))]
    made = {"shard": shard, "recipe": recipe, "round": numbers.randint(0, 2)}
    rows: dict[str, list[dict[str, Any]]] = {
        "images": [{**made, "image_id": i, "key": i[-1], "width": 9, "height": 7} for i in ids],
        "texts": [
            {**key, **made, "text": numbers.choice(WORDS), "score": _score(numbers)}
            for key in _keys(ids, numbers)
        ],
        "regions": [{**key, **made, **_place(numbers)} for key in _keys(ids, numbers)],
        "phrases": [
            {**key, **made, "phrase": numbers.choice(WORDS), "char_start": numbers.randint(0, 9)}
            for key in _keys(ids, numbers)
        ],
        "problems": [
            {"shard": shard, "image_id": i, "kind": "odd", "payload": numbers.choice(WORDS)}
            for i in ids[: numbers.randint(0, 1)]
        ],
    }
    tables = {name: table_of(name, found) for name, found in rows.items()}
    tables["verdicts"] = _verdicts(tables, numbers, shard, recipe)
    return _written(root, shard, recipe, tables, {}, tuple(tables))


def judged_anew(root: Path, numbers: random.Random, recipe: str, before: Made) -> Made:
    """The same labels, from the same files, and other verdicts on them."""
    tables = dict(before.tables)
    tables["verdicts"] = _verdicts(tables, numbers, before.shard, recipe)
    files = {name: path for name, path in before.files.items() if name not in JUDGED}
    return _written(root, before.shard, recipe, tables, files, JUDGED)


def _written(
    root: Path,
    shard: str,
    recipe: str,
    tables: Mapping[str, pa.Table],
    files: Mapping[str, Path],
    names: tuple[str, ...],
) -> Made:
    some = {name: tables[name] for name in names}
    part = write_part(root / "parts", shard, recipe, some, url=shard, fingerprint={})
    folder = part.folder.relative_to(root)
    new = {name: folder / file for name, file in part.manifest.files.items()}
    return Made(shard, recipe, tables, {**files, **new}, folder)


def _keys(ids: list[str], numbers: random.Random) -> Iterator[dict[str, Any]]:
    for image in ids:
        for source in ("model", "human"):
            for label_no in range(numbers.randint(0, 2)):
                yield {"image_id": image, "source": source, "label_no": label_no}


def _score(numbers: random.Random) -> float | None:
    """Any float32, also those that a text of six digits would change."""
    return numbers.choice([None, -0.0, 1e-38, float(np.float32(numbers.random()))])


def _place(numbers: random.Random) -> dict[str, Any]:
    sides = {name: numbers.uniform(-1, 1000) for name in ("x0", "y0", "x1", "y1")}
    points = numbers.choice([None, [], [[0.1, 2.5, 1e-7, 3.0, 9.0, 9.0], [4.0, 4.0]]])
    shape, words = numbers.choice(SHAPES), numbers.choice(WORDS)
    return {**sides, "points": points, "shape": shape, "category": words, "score": _score(numbers)}


def _verdicts(
    tables: Mapping[str, pa.Table], numbers: random.Random, shard: str, recipe: str
) -> pa.Table:
    rows = [
        {
            **{name: label[name] for name in ("image_id", "source", "label_no")},
            "kind": kind,
            "shard": shard,
            "filter": "rule",
            "verdict": numbers.choice(VERDICTS),
            "value": numbers.random(),
            "recipe": recipe,
        }
        for kind, table in LABEL_TABLES.items()
        for label in tables[table].to_pylist()
        if numbers.random() < 0.3
    ]
    return table_of("verdicts", rows)


def expected(state: Mapping[str, Made]) -> dict[str, list[str]]:
    """Table or view → its rows as text, sorted. Of the views of kept labels their ids."""
    rows = {
        name: sorted(
            repr(tuple(row.values()))
            for made in state.values()
            for row in made.tables[name].to_pylist()
        )
        for name in TABLES
    }
    ids = {f"kept {table}": _kept(state, kind) for kind, table in LABEL_TABLES.items()}
    return {**rows, **ids}


def _kept(state: Mapping[str, Made], kind: str) -> list[str]:
    found = []
    for made in state.values():
        verdicts = made.tables["verdicts"].to_pylist()
        gone = {_id(row, kind) for row in verdicts if _rejects(row, kind)}
        labels = made.tables[LABEL_TABLES[kind]].to_pylist()
        found += [repr((_id(row, kind),)) for row in labels if _id(row, kind) not in gone]
    return sorted(found)


def _rejects(verdict: Mapping[str, Any], kind: str) -> bool:
    return verdict["kind"] == kind and verdict["verdict"] in REJECTIONS


def _id(row: Mapping[str, Any], kind: str) -> str:
    return f"{row['image_id']}/{row['source']}/{kind}/{row['label_no']}"


def found_in(connection: Any, alias: str) -> dict[str, list[str]]:
    """What `expected` says, asked of the tables that are attached under that name."""
    queries = {
        name: f"SELECT {', '.join(TABLES[name].names)} FROM {alias}."
        f"{'all_' if name in LABEL_TABLES.values() else ''}{name}"
        for name in TABLES
    } | {
        f"kept {table}": f"SELECT label_id FROM {alias}.{table}" for table in LABEL_TABLES.values()
    }
    return {
        name: sorted(map(repr, connection.execute(query).fetchall()))
        for name, query in queries.items()
    }
