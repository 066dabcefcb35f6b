"""A new version that is equal to an older one; history stays."""

from pathlib import Path

import duckdb
import pyarrow as pa

from annotator.store import ledger
from annotator.store.catalog import tables_at
from annotator.store.layout import STORED, STORED_IN
from annotator.store.transaction import Message, new_version, remove
from annotator.store.versions import Version
from annotator.store.writing import transaction, write

_NOW = "(SELECT shard, rows FROM ledger WHERE state = 'current')"


def roll_back(root: Path, to: Version) -> int | None:
    """The number of the new version, None where the tables are equal to it already.

    Rows come from the lake itself, so parts may be gone. A run after it finds in the ledger which
    shards have another recipe than its own, and puts those in again from their parts.
    """
    return write(root, lambda lake: _attempt(lake, to, tables_at(root, to.snapshot)))


def _attempt(lake: duckdb.DuckDBPyConnection, to: Version, there: set[str]) -> int | None:
    """`there` are the lake's tables at that version."""
    _name_wanted(lake, to)
    with transaction(lake):
        if not _differs(lake):
            return None
        changed = ledger.changed(lake, _NOW, "wanted")
        lake.execute(
            "UPDATE ledger SET state = 'replaced' WHERE state = 'current' "
            "AND (shard, recipe) NOT IN (SELECT (shard, recipe) FROM wanted)"
        )
        lake.execute(
            "UPDATE ledger SET state = 'current', part = wanted.part, rows = wanted.rows, "
            "committed_at = now() FROM wanted "
            "WHERE ledger.shard = wanted.shard AND ledger.recipe = wanted.recipe"
        )
        for table, shards in changed.items():
            remove(lake, table, shards)
            source = STORED_IN[to.layout].get(table)
            if shards and source in there:
                _put_back(lake, table, to, source, shards)
        kept = {key: to.extra[key] for key in ("recipes", "models") if key in to.extra}
        extra = {**kept, "equals": to.number}
        return new_version(lake, Message(f"rolled back to version {to.number}", extra))


def _name_wanted(lake: duckdb.DuckDBPyConnection, to: Version) -> None:
    """A temporary table `wanted` with the current rows of the ledger as they were."""
    lake.execute(
        "CREATE TEMP TABLE wanted AS SELECT shard, recipe, part, rows "
        f"FROM ledger AT (VERSION => {to.snapshot}) WHERE state = 'current'"
    )


def _differs(lake: duckdb.DuckDBPyConnection) -> bool:
    now = "SELECT shard, recipe, part FROM ledger WHERE state = 'current'"
    then = "SELECT shard, recipe, part FROM wanted"
    query = f"SELECT 1 FROM (({now} EXCEPT {then}) UNION ALL ({then} EXCEPT {now})) LIMIT 1"
    return bool(lake.execute(query).fetchall())


def _put_back(
    lake: duckdb.DuckDBPyConnection, table: str, to: Version, source: str, shards: list[str]
) -> None:
    """`source` is the table's name at that version."""
    lake.register("put_back", pa.table({"shard": shards}))
    lake.execute(
        f"INSERT INTO {STORED[table]} BY NAME SELECT * FROM {source} "
        f"AT (VERSION => {to.snapshot}) WHERE shard IN (SELECT shard FROM put_back)"
    )
    lake.unregister("put_back")
