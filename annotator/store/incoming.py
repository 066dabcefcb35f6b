"""What is about to come in: the files of shards, checked and counted before the transaction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from annotator.errors import StoreError
from annotator.store.layout import LABEL_KEY, rejections
from annotator.store.sql import quoted
from schemas.tables import LABEL_TABLES

KEYS = {"images": ("image_id",)} | dict.fromkeys(
    LABEL_TABLES.values(), ("image_id", "source", "label_no")
)
"""Table → columns in which no two rows of a shard are equal; the lake itself enforces no keys."""
ROWS_AT_ONCE = 1_000_000
"""Rows of all tables that are checked at a time: memory then does not grow with a run."""


@dataclass(frozen=True)
class ShardCommit:
    """A shard to put in: `files` and `rows` by table of `schemas.tables`.

    `part` is the folder that the files come from. Files are linked, never moved.
    """

    shard: str
    recipe: str
    files: Mapping[str, Path]
    rows: Mapping[str, int]
    part: str

    def files_with_rows(self) -> dict[str, Path]:
        """An empty table adds no file."""
        return {t: path.absolute() for t, path in self.files.items() if self.rows[t]}


def check_incoming(connection: duckdb.DuckDBPyConnection, shards: Sequence[ShardCommit]) -> None:
    """StoreError for a file that holds another shard, other rows than promised, or a key twice."""
    for batch in _batches(shards):
        _check_batch(connection, batch)


def _batches(shards: Sequence[ShardCommit]) -> Iterator[list[ShardCommit]]:
    batch: list[ShardCommit] = []
    rows = 0
    for shard in shards:
        batch.append(shard)
        rows += sum(shard.rows.values())
        if rows >= ROWS_AT_ONCE:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _check_batch(connection: duckdb.DuckDBPyConnection, shards: Sequence[ShardCommit]) -> None:
    for table in sorted({table for shard in shards for table in shard.files}):
        owners = {
            str(files[table]): shard
            for shard in shards
            if table in (files := shard.files_with_rows())
        }
        if owners:
            _check_table(connection, table, owners)


def _check_table(
    connection: duckdb.DuckDBPyConnection, table: str, owners: Mapping[str, ShardCommit]
) -> None:
    """One pass over the files: to open one takes longer than to read a small shard."""
    keys = f"count(DISTINCT ({', '.join(KEYS[table])}))" if table in KEYS else "count(*)"
    rows = connection.execute(
        f"SELECT filename, min(shard), max(shard), count(*), {keys} FROM {_parquet(owners)} "
        "GROUP BY filename"
    ).fetchall()
    for path, low, high, count, distinct in rows:
        shard = owners[path]
        if (low, high) != (shard.shard, shard.shard):
            raise _refused(table, shard, f"{path} holds rows of shard {low}")
        if count != shard.rows[table]:
            raise _refused(table, shard, f"{path} has {count} rows, not {shard.rows[table]}")
        if distinct != count:
            raise _refused(table, shard, _key_there_twice(connection, table, path))


def _key_there_twice(connection: duckdb.DuckDBPyConnection, table: str, path: str) -> str:
    [(*values, count)] = connection.execute(
        f"SELECT {', '.join(KEYS[table])}, count(*) FROM {_parquet([path])} "
        "GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
    ).fetchall()
    return f"{'/'.join(map(str, values))} is in {path} {count} times"


def _refused(table: str, shard: ShardCommit, reason: str) -> StoreError:
    return StoreError(f"{table} of shard {shard.shard} cannot be taken in: {reason}")


def count_kept(
    connection: duckdb.DuckDBPyConnection, shards: Sequence[ShardCommit]
) -> dict[str, dict[str, int]]:
    """Shard → label table → labels that no verdict rejects; a table without any is left out."""
    kept: dict[str, dict[str, int]] = {shard.shard: {} for shard in shards}
    for batch in _batches(shards):
        for table, shard, count in _count_batch(connection, batch):
            kept[shard][table] = count
    return kept


def _count_batch(
    connection: duckdb.DuckDBPyConnection, shards: Sequence[ShardCommit]
) -> Iterator[tuple[str, str, int]]:
    """Label table, shard, kept labels."""
    verdicts = _files(shards, "verdicts")
    for kind, table in LABEL_TABLES.items():
        if not (files := _files(shards, table)):
            continue
        query = f"SELECT shard, count(*) FROM {_parquet(files)} "
        if verdicts:
            rejected = rejections(kind, _parquet(verdicts))
            query += f"ANTI JOIN ({rejected}) USING ({LABEL_KEY}) "
        for shard, count in connection.execute(f"{query}GROUP BY shard").fetchall():
            yield table, shard, count


def _files(shards: Sequence[ShardCommit], table: str) -> list[str]:
    return [str(f[table]) for shard in shards if table in (f := shard.files_with_rows())]


def _parquet(paths: Sequence[str] | Mapping[str, ShardCommit]) -> str:
    listed = ", ".join(map(quoted, paths))
    return f"read_parquet([{listed}], filename = true, hive_partitioning = false)"
