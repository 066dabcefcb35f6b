"""What a commit would change, without it: the current version, and shards put in beside it."""

import json
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from annotator.store.incoming import ShardCommit
from annotator.store.layout import STORED, views
from annotator.store.ledger import current_recipes
from annotator.store.sql import quoted
from schemas.tables import LABEL_TABLES, TABLES


def attach_preview(connection: duckdb.DuckDBPyConnection, shards: Sequence[ShardCommit]) -> int:
    """Attach as `after` the version that is attached as `before`, with these shards in place.

    In memory, over the shards' own files. Returns how many shards a commit would take in; the
    others are current with their recipe already.
    """
    connection.execute("USE before")
    current = current_recipes(connection)
    new = [shard for shard in shards if current.get(shard.shard) != shard.recipe]
    connection.execute("ATTACH ':memory:' AS after")
    connection.execute("USE after")
    names = ", ".join(quoted(shard.shard) for shard in new) or quoted("")
    for table, stored in STORED.items():
        connection.execute(f"CREATE VIEW {stored} AS {_rows(table, new, names)}")
    for name, select in views():
        if name not in STORED.values():
            connection.execute(f"CREATE VIEW {name} AS {select}")
    _add_ledger(connection, new, names)
    connection.execute("USE memory")
    return len(new)


def _rows(table: str, new: Sequence[ShardCommit], names: str) -> str:
    shown = f"all_{table}" if table in LABEL_TABLES.values() else table
    columns = ", ".join(f'"{column}"' for column in TABLES[table].names)
    others = f"SELECT {columns} FROM before.{shown} WHERE shard NOT IN ({names})"
    files = [f[table] for shard in new if table in (f := shard.files_with_rows())]
    if not files:
        return others
    listed = ", ".join(map(quoted, files))
    read = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    return f"{others} UNION ALL BY NAME SELECT {columns} FROM {read}"


def _add_ledger(
    connection: duckdb.DuckDBPyConnection, new: Sequence[ShardCommit], names: str
) -> None:
    """Without the files of the new shards: a diff then compares all that they hold."""
    rows = {
        "shard": pa.array([shard.shard for shard in new], pa.string()),
        "rows": pa.array([json.dumps(dict(shard.rows)) for shard in new], pa.string()),
    }
    connection.register("new_shards", pa.table(rows))
    connection.execute(
        "CREATE TABLE ledger AS SELECT shard, rows, state FROM before.ledger "
        f"WHERE state = 'current' AND shard NOT IN ({names}) "
        "UNION ALL SELECT shard, rows, 'current' FROM new_shards"
    )
    connection.unregister("new_shards")
