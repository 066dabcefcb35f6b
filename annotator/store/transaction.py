"""The one transaction: claim shards in the ledger, replace their rows, register their files.

A claim is an UPDATE of a ledger row that was seeded before, inside the transaction of the data:
looking first and inserting then let two committers take the same shard.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from annotator.errors import StoreError
from annotator.parts import folder_name
from annotator.store.incoming import ShardCommit, check_incoming, count_kept
from annotator.store.lake import (
    DATA,
    LAKE,
    STORED,
    describe_commit,
    first_line,
    open_lake,
    quoted,
)
from schemas.ids import canonical_json
from schemas.tables import LABEL_TABLES

LOCK = "commit.lock"
ATTEMPTS = 6
COUNTED = ("images", *LABEL_TABLES.values())

Recipes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Message:
    """What a commit says of itself: a line to read, and JSON kept beside the version number."""

    text: str
    extra: Mapping[str, Any]


class _Overtaken(Exception):
    """Another committer was faster: look again at what is left to do."""


@contextmanager
def committing(root: Path) -> Iterator[None]:
    """Held by the one committer of a table; waits for another to finish."""
    with (root / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def commit(
    root: Path, shards: Sequence[ShardCommit], recipes: Recipes, message: Message
) -> int | None:
    """The new version's number, None where every shard is in with its recipe already."""
    _check_each_once(shards)
    with committing(root):
        for attempt in range(ATTEMPTS):
            try:
                return _attempt(root, shards, recipes, message)
            except (duckdb.Error, _Overtaken) as error:
                if not _may_pass(error):
                    raise StoreError(f"{root}: not committed: {first_line(error)}") from error
            except OSError as error:
                raise StoreError(f"{root}: not committed: {error}") from error
            time.sleep(0.05 * 2**attempt)
    raise StoreError(f"{root}: other programs kept writing to these tables: run again")


def _check_each_once(shards: Sequence[ShardCommit]) -> None:
    seen: set[str] = set()
    for shard in shards:
        if shard.shard in seen:
            raise StoreError(f"two shards of the run are called {shard.shard}: rename one of them")
        seen.add(shard.shard)


def _may_pass(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, _Overtaken) or "locked" in text or "conflict" in text


def _attempt(
    root: Path, shards: Sequence[ShardCommit], recipes: Recipes, message: Message
) -> int | None:
    with closing(open_lake(root, writable=True)) as lake:
        todo = _todo(lake, shards)
        if not todo:
            return None
        check_incoming(lake, todo)
        _name_todo(lake, root, todo)
        _seed_ledger(lake)
        files = _take_in(root, todo)
        lake.execute("BEGIN")
        try:
            version = _replace(lake, todo, files, recipes, message)
            lake.execute("COMMIT")
        except BaseException:
            # An error may have ended the transaction, or have left the connection stuck in it.
            with suppress(duckdb.Error):
                lake.execute("ROLLBACK")
            raise
        return version


def _todo(lake: duckdb.DuckDBPyConnection, shards: Sequence[ShardCommit]) -> list[ShardCommit]:
    rows = lake.execute("SELECT shard, recipe FROM ledger WHERE state = 'current'").fetchall()
    current = dict(rows)
    return [shard for shard in shards if current.get(shard.shard) != shard.recipe]


def _name_todo(lake: duckdb.DuckDBPyConnection, root: Path, todo: Sequence[ShardCommit]) -> None:
    """A temporary table `todo` (shard, recipe, part, rows as JSON), so that SQL works on sets."""
    kept = count_kept(lake, todo)
    rows = [
        {
            "shard": shard.shard,
            "recipe": shard.recipe,
            "part": _inside(root, shard.part),
            "rows": json.dumps({**shard.rows, "kept": kept[shard.shard]}),
        }
        for shard in todo
    ]
    lake.register("todo_rows", pa.Table.from_pylist(rows))
    lake.execute("CREATE TEMP TABLE todo AS FROM todo_rows")
    lake.unregister("todo_rows")


def _inside(root: Path, part: str) -> str:
    """Relative to the table's folder where it lies in it, so that the folder can be moved."""
    path = Path(part).resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else part


def _seed_ledger(lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute(
        "INSERT INTO ledger (shard, recipe, state) SELECT shard, recipe, 'pending' FROM todo "
        "ANTI JOIN ledger USING (shard, recipe)"
    )


def _take_in(root: Path, todo: Sequence[ShardCommit]) -> dict[str, list[Path]]:
    """A new name under the lake's folder for each file, by table; the lake owns what it is given.

    A name is never used twice: the lake would delete a file that is put in again after its rows
    were deleted. Only names in a table's own folder are recorded as relative ones.
    """
    taken: dict[str, list[Path]] = {}
    for shard in todo:
        for table, path in shard.files_with_rows().items():
            folder = root / DATA / "main" / STORED[table]
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{folder_name(shard.shard)}-{uuid.uuid4().hex}.parquet"
            try:
                os.link(path, target)
            except OSError:
                shutil.copyfile(path, target)
            taken.setdefault(table, []).append(target)
    return taken


def _replace(
    lake: duckdb.DuckDBPyConnection,
    todo: Sequence[ShardCommit],
    files: Mapping[str, Sequence[Path]],
    recipes: Recipes,
    message: Message,
) -> int:
    """Inside the transaction; returns the number of the version that it makes."""
    version = _next_version(lake)
    replaced = _claim(lake, len(todo), str(message.extra.get("run", "")))
    if replaced:
        names = ", ".join(map(quoted, replaced))
        for table in STORED.values():
            lake.execute(f"DELETE FROM {table} WHERE shard IN ({names})")
    for table, paths in files.items():
        listed = ", ".join(map(quoted, paths))
        lake.execute(
            f"CALL ducklake_add_data_files('{LAKE}', '{STORED[table]}', [{listed}], "
            "hive_partitioning => false)"
        )
    _keep_recipes(lake, recipes)
    extra = {**message.extra, "version": version, "counts": _counts(lake)}
    describe_commit(lake, message.text, extra)
    return version


def _next_version(lake: duckdb.DuckDBPyConnection) -> int:
    [(version,)] = lake.execute("SELECT version + 1 FROM store_state").fetchall()
    lake.execute("UPDATE store_state SET version = ?", [version])
    return int(version)


def _claim(lake: duckdb.DuckDBPyConnection, shards: int, run: str) -> list[str]:
    """Take the ledger rows of all shards to do; returns those whose former rows have to go."""
    replaced = lake.execute(
        "SELECT shard FROM ledger SEMI JOIN todo USING (shard) WHERE state = 'current' ORDER BY 1"
    ).fetchall()
    lake.execute(
        "UPDATE ledger SET state = 'replaced' FROM todo "
        "WHERE ledger.shard = todo.shard AND ledger.recipe <> todo.recipe "
        "AND ledger.state = 'current'"
    )
    [(claimed,)] = lake.execute(
        "UPDATE ledger SET state = 'current', part = todo.part, run = ?, rows = todo.rows, "
        "committed_at = now() FROM todo "
        "WHERE ledger.shard = todo.shard AND ledger.recipe = todo.recipe "
        "AND ledger.state <> 'current'",
        [run],
    ).fetchall()
    if claimed != shards:
        raise _Overtaken(f"{claimed} of {shards} shards could be claimed")
    return [shard for (shard,) in replaced]


def _keep_recipes(lake: duckdb.DuckDBPyConnection, recipes: Recipes) -> None:
    known = {recipe for (recipe,) in lake.execute("SELECT recipe FROM recipes").fetchall()}
    for recipe in sorted(set(recipes) - known):
        lake.execute(
            "INSERT INTO recipes VALUES (?, ?, now())", [recipe, canonical_json(recipes[recipe])]
        )


def _counts(lake: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Images and kept labels, summed over the ledger: the tables themselves are not read."""
    paths = [f"$.{table}" if table == "images" else f"$.kept.{table}" for table in COUNTED]
    sums = ", ".join(f"coalesce(sum((rows ->> '{path}')::BIGINT), 0)" for path in paths)
    [row] = lake.execute(f"SELECT {sums} FROM ledger WHERE state = 'current'").fetchall()
    return dict(zip(COUNTED, map(int, row), strict=True))
