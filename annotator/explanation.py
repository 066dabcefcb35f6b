"""All that a version knows of one label, and why it is kept or not."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import duckdb

from annotator.errors import QueryError
from annotator.store import Store, Wanted
from annotator.store.transaction import digests
from schemas.ids import local_id
from schemas.tables import LABEL_TABLES, REJECTIONS

Row = dict[str, Any]


@dataclass(frozen=True)
class Explanation:
    """A label as rows of the tables: its own, its image's, and its verdicts, rejections first.

    `stages` and `models` are what its recipe proposed with: names, digests of checkpoints. Both are
    empty for a label that no recipe made, such as a person's.
    """

    label_id: str
    version: int
    kind: str
    label: Row
    image: Row
    verdicts: Sequence[Row]
    stages: Sequence[str]
    models: Sequence[str]

    @property
    def rejecting(self) -> list[str]:
        """The rules for which the label is not kept."""
        return sorted({row["filter"] for row in self.verdicts if row["verdict"] in REJECTIONS})

    @property
    def related(self) -> dict[str, str]:
        """Ids of the labels that this one names: its parent, a phrase's text and region."""
        image, label = self.label["image_id"], self.label
        found = {"parent": label["parent"]} if label.get("parent") else {}
        for kind in ("text", "region"):
            if label.get(f"{kind}_no") is not None:
                found[kind] = local_id(label[f"{kind}_source"], kind, label[f"{kind}_no"])
        return {name: f"{image}/{local}" for name, local in found.items()}


def explain(store: Store, label_id: str, wanted: Wanted | None = None) -> Explanation:
    """Of one version, the latest by default; QueryError where it has no label of that id."""
    image, source, kind, number = _parts(label_id)
    version = store.latest() if wanted is None else store.version(wanted)
    with closing(store.connect(version.number)) as lake:
        label = [image, source, number]
        where = "image_id = ? AND source = ? AND label_no = ?"
        found = _rows(lake, f"FROM all_{LABEL_TABLES[kind]} WHERE {where}", label)
        if not found:
            raise QueryError(
                f"{label_id}: version {version.number} has no such label: "
                f'`annotator query "SELECT label_id FROM all_{LABEL_TABLES[kind]}"` lists them'
            )
        strongest = f"ORDER BY verdict NOT IN {REJECTIONS}, filter"
        verdicts = f"FROM verdicts WHERE {where} AND kind = ? {strongest}"
        recipes = "SELECT stages FROM recipes WHERE recipe = ?"
        recipe = [json.loads(row["stages"]) for row in _rows(lake, recipes, [found[0]["recipe"]])]
        [shown] = _rows(lake, "FROM images WHERE image_id = ?", [image]) or [{}]
        return Explanation(
            label_id=label_id,
            version=version.number,
            kind=kind,
            label=found[0],
            image=shown,
            verdicts=_rows(lake, verdicts, [*label, kind]),
            stages=[stage["stage"] for each in recipe for stage in each.get("propose", [])],
            models=sorted(set(digests(recipe))),
        )


def _parts(label_id: str) -> tuple[str, str, str, int]:
    """Image, source, kind and number; the image's id has slashes of its own."""
    image, *local = label_id.rsplit("/", 3)
    if len(local) == 3 and local[1] in LABEL_TABLES and local[2].isdecimal():
        return image, local[0], local[1], int(local[2])
    raise QueryError(
        f"{label_id!r} is no label's id: they are as shard/key/model/region/0, and stand in the "
        "column label_id of the tables"
    )


def _rows(lake: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object]) -> list[Row]:
    rows: list[Row] = lake.execute(sql, values).to_arrow_table().to_pylist()
    return rows
