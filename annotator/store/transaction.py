"""The one transaction of a run: claim shards in the ledger, replace their rows, register files."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from annotator.errors import StoreError
from annotator.store import catalog, ledger
from annotator.store.gathering import take_in
from annotator.store.incoming import ShardCommit, check_incoming, count_kept
from annotator.store.lake import LAKE, describe_commit
from annotator.store.layout import STORED
from annotator.store.place import place_of
from annotator.store.sql import quoted
from annotator.store.writing import transaction, write
from schemas.ids import canonical_json

Recipes = Mapping[str, Mapping[str, Any]]
_FORMER = (
    "(SELECT shard, ledger.rows FROM ledger SEMI JOIN wanted USING (shard) WHERE state = 'current')"
)


@dataclass(frozen=True)
class Message:
    """What a commit says of itself: a line to read, and JSON kept beside the version number."""

    text: str
    extra: Mapping[str, Any]


def commit(
    root: Path, shards: Sequence[ShardCommit], recipes: Recipes, message: Message
) -> int | None:
    """The new version's number, None where every shard is in with its recipe already."""
    _check_each_once(shards)
    return write(root, lambda lake: _attempt(lake, root, shards, recipes, message))


def _check_each_once(shards: Sequence[ShardCommit]) -> None:
    seen: set[str] = set()
    for shard in shards:
        if shard.shard in seen:
            raise StoreError(f"two shards of the run are called {shard.shard}: rename one of them")
        seen.add(shard.shard)


def _attempt(
    lake: duckdb.DuckDBPyConnection,
    root: Path,
    shards: Sequence[ShardCommit],
    recipes: Recipes,
    message: Message,
) -> int | None:
    current = ledger.current_recipes(lake)
    todo = [shard for shard in shards if current.get(shard.shard) != shard.recipe]
    if not todo:
        return None
    check_incoming(lake, todo)
    _name_wanted(lake, root, todo)
    ledger.seed(lake)
    with transaction(lake):
        _replace(lake, root, todo, str(message.extra.get("run", "")))
        _keep_recipes(lake, recipes)
        made = {"recipes": _named(recipes, todo), "models": sorted(set(digests(recipes)))}
        return new_version(lake, Message(message.text, {**message.extra, **made}))


def _name_wanted(lake: duckdb.DuckDBPyConnection, root: Path, todo: Sequence[ShardCommit]) -> None:
    """A temporary table `wanted` (shard, recipe, part, rows), so that SQL works on sets."""
    kept = count_kept(lake, todo)
    rows = [
        {
            "shard": shard.shard,
            "recipe": shard.recipe,
            "part": _inside(root, Path(shard.part)),
            "rows": json.dumps(
                {
                    **shard.rows,
                    "kept": kept[shard.shard],
                    "files": {t: _inside(root, p) for t, p in shard.files_with_rows().items()},
                }
            ),
        }
        for shard in todo
    ]
    lake.register("wanted_rows", pa.Table.from_pylist(rows))
    lake.execute("CREATE TEMP TABLE wanted AS FROM wanted_rows")
    lake.unregister("wanted_rows")


def _inside(root: Path, path: Path) -> str:
    """Relative to the table's folder where it lies in it, so that the folder can be moved."""
    path = path.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _replace(
    lake: duckdb.DuckDBPyConnection, root: Path, todo: Sequence[ShardCommit], run: str
) -> None:
    """Only the tables of a shard that come from another file than before are touched."""
    changed = ledger.changed(lake, _FORMER, "wanted")
    former = {shard for (shard,) in lake.execute(f"SELECT shard FROM {_FORMER}").fetchall()}
    ledger.claim(lake, run)
    folders, data = catalog.folders(root), place_of(root).data
    by_name = {shard.shard: shard for shard in todo}
    for table, shards in changed.items():
        remove(lake, table, [shard for shard in shards if shard in former])
        folder = f"{data}main/{folders[STORED[table]]}"
        register(lake, table, take_in(lake, folder, table, [by_name[name] for name in shards]))


def remove(lake: duckdb.DuckDBPyConnection, table: str, shards: Sequence[str]) -> None:
    """The rows of some shards."""
    if shards:
        names = ", ".join(map(quoted, shards))
        lake.execute(f"DELETE FROM {STORED[table]} WHERE shard IN ({names})")


def register(lake: duckdb.DuckDBPyConnection, table: str, paths: Sequence[str]) -> None:
    """Files of the lake's folder as rows of a table; columns that they lack are NULL."""
    if paths:
        listed = ", ".join(map(quoted, paths))
        lake.execute(
            f"CALL ducklake_add_data_files('{LAKE}', '{STORED[table]}', [{listed}], "
            "hive_partitioning => false, allow_missing => true)"
        )


def new_version(lake: duckdb.DuckDBPyConnection, message: Message) -> int:
    """Number what the open transaction makes; last of all, as it counts the ledger's rows."""
    [(version,)] = lake.execute("SELECT version + 1 FROM store_state").fetchall()
    lake.execute("UPDATE store_state SET version = ?", [version])
    numbered = {"version": version, "parent": version - 1 or None, "counts": ledger.counts(lake)}
    describe_commit(lake, message.text, {**message.extra, **numbered})
    return int(version)


def _keep_recipes(lake: duckdb.DuckDBPyConnection, recipes: Recipes) -> None:
    known = {recipe for (recipe,) in lake.execute("SELECT recipe FROM recipes").fetchall()}
    for recipe in sorted(set(recipes) - known):
        lake.execute(
            "INSERT INTO recipes VALUES (?, ?, now())", [recipe, canonical_json(recipes[recipe])]
        )


def _named(recipes: Recipes, shards: Iterable[ShardCommit]) -> list[str]:
    """The recipes by which the shards are known: a ledger's recipe begins with one."""
    begin = {shard.recipe.partition("-")[0] for shard in shards}
    return sorted(begin & set(recipes))


def digests(stages: Any) -> Iterator[str]:
    """The digests of all checkpoints that a recipe names, wherever in it they stand."""
    if isinstance(stages, Mapping):
        if isinstance(digest := stages.get("digest"), str):
            yield digest
        stages = list(stages.values())
    if isinstance(stages, list | tuple):
        for value in stages:
            yield from digests(value)
