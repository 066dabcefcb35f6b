"""The ledger: which shard is in the tables with which recipe, from which files.

`rows` of a ledger row is JSON: rows by table; `kept` labels by table; `files`, each table's file in
its part, so that a table is left alone where only others of its shard changed.
"""

import duckdb

from annotator.store.sql import quoted
from annotator.store.writing import Overtaken
from schemas.tables import LABEL_TABLES, TABLES

COUNTED = ("images", *LABEL_TABLES.values())


def current_recipes(lake: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Shard → the recipe that it is in with."""
    query = "SELECT shard, recipe FROM ledger WHERE state = 'current'"
    return dict(lake.execute(query).fetchall())


def seed(lake: duckdb.DuckDBPyConnection) -> None:
    """A row to claim for each (shard, recipe) of `wanted`; in a transaction of its own."""
    lake.execute(
        "INSERT INTO ledger (shard, recipe, state) SELECT shard, recipe, 'pending' FROM wanted "
        "ANTI JOIN ledger USING (shard, recipe)"
    )


# Two committers without a common lock may both have seeded a row; it could never be claimed once.
_SEEDED_TWICE = """
DELETE FROM ledger WHERE state = 'pending' AND rowid IN (
    SELECT rowid FROM (
        SELECT rowid, row_number() OVER (
            PARTITION BY shard, recipe ORDER BY state = 'pending', rowid
        ) AS nth FROM ledger
    ) WHERE nth > 1
)
"""


def claim(lake: duckdb.DuckDBPyConnection, run: str) -> None:
    """Make each (shard, recipe) of `wanted` the current one; Overtaken where one is already.

    `wanted` has shard, recipe, part, rows. An UPDATE of seeded rows, inside the transaction of the
    data: looking first and inserting then let two committers take the same shard.
    """
    lake.execute(_SEEDED_TWICE)
    lake.execute(
        "UPDATE ledger SET state = 'replaced' FROM wanted WHERE ledger.shard = wanted.shard "
        "AND ledger.recipe <> wanted.recipe AND ledger.state = 'current'"
    )
    [(wanted,)] = lake.execute("SELECT count(*) FROM wanted").fetchall()
    [(claimed,)] = lake.execute(
        "UPDATE ledger SET state = 'current', part = wanted.part, run = ?, rows = wanted.rows, "
        "committed_at = now() FROM wanted "
        "WHERE ledger.shard = wanted.shard AND ledger.recipe = wanted.recipe "
        "AND ledger.state <> 'current'",
        [run],
    ).fetchall()
    if claimed != wanted:
        raise Overtaken(f"{claimed} of {wanted} shards could be claimed")


def changed(lake: duckdb.DuckDBPyConnection, before: str, after: str) -> dict[str, list[str]]:
    """Table → shards whose rows of it come from other files in two relations (shard, rows).

    A shard that only one of them has is among them, and one whose files the ledger did not note.
    """
    found = {}
    for table in TABLES:
        file = f"rows ->> '$.files.{table}'"
        query = (
            f"SELECT coalesce(b.shard, a.shard) FROM {before} b FULL JOIN {after} a USING (shard) "
            "WHERE (b.rows ->> '$.files') IS NULL OR (a.rows ->> '$.files') IS NULL "
            f"OR (b.{file}) IS DISTINCT FROM (a.{file}) ORDER BY 1"
        )
        found[table] = [shard for (shard,) in lake.execute(query).fetchall()]
    return found


def counts(lake: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Images and kept labels, summed over the ledger: the tables themselves are not read."""
    paths = [f"$.{table}" if table == "images" else f"$.kept.{table}" for table in COUNTED]
    sums = ", ".join(f"coalesce(sum((rows ->> {quoted(path)})::BIGINT), 0)" for path in paths)
    [row] = lake.execute(f"SELECT {sums} FROM ledger WHERE state = 'current'").fetchall()
    return dict(zip(COUNTED, map(int, row), strict=True))
