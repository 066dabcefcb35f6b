"""What the catalogue says of itself, read as a plain database, without the lake.

SQLite through DuckDB's copy of it, never Python's: the locks of SQLite are the process's, and where
two copies have one file open, the first to close it lets go of the other's. Commits were refused
and readers turned away.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import duckdb

from annotator.errors import StoreError
from annotator.store.lake import attach_patiently, connect, make_reachable
from annotator.store.place import CATALOG, Place, place_of
from annotator.store.sql import first_line, quoted
from annotator.store.unwritable import for_reading

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Snapshot:
    """A commit of ours: `extra` has `schema`, and `version` where it put data in."""

    snapshot: int
    when: datetime
    message: str
    extra: dict[str, Any]


def snapshots(root: Path) -> list[Snapshot]:
    """All commits that say something of themselves, oldest first."""
    rows = _ask(
        root,
        "SELECT snapshot_id, snapshot_time, commit_message, commit_extra_info "
        "FROM ducklake_snapshot JOIN ducklake_snapshot_changes USING (snapshot_id) "
        "WHERE commit_extra_info IS NOT NULL ORDER BY snapshot_id",
    )
    return [
        Snapshot(number, _time(when), message, json.loads(extra))
        for number, when, message, extra in rows
    ]


def _time(when: str | datetime) -> datetime:
    """SQLite keeps it as text."""
    return datetime.fromisoformat(when) if isinstance(when, str) else when


def is_made(root: Path) -> bool:
    """Whether the catalogue holds tables, of whomever."""
    place = place_of(root)
    if not place.is_shared:
        return (root / CATALOG).is_file()
    query = (
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() "
        f"AND schema_name = {quoted(place.schema)} AND table_name = 'ducklake_snapshot'"
    )
    with _attached(root, place, "READ_ONLY") as server:
        there = server.execute(query).fetchall()
    return bool(there) and bool(snapshots(root))


def made_by(root: Path) -> dict[str, Any]:
    """`schema` and `layout` of the tables; StoreError where they are none of ours."""
    known = [found.extra for found in snapshots(root) if "schema" in found.extra]
    if not known:
        raise StoreError(f"{root}: a DuckLake, but not one that annotator made")
    return {"schema": known[-1]["schema"], "layout": layout_of(known[-1])}


def layout_of(extra: Mapping[str, Any]) -> int:
    """Of the tables at a commit that says `extra` of itself; the first layout had no number."""
    return int(extra.get("layout", 1))


def columns(root: Path) -> dict[str, set[str]]:
    """Table of the lake → its columns."""
    rows = _ask(
        root,
        "SELECT table_name, column_name FROM ducklake_table t JOIN ducklake_column c "
        "USING (table_id) WHERE t.end_snapshot IS NULL AND c.end_snapshot IS NULL "
        "AND parent_column IS NULL",
    )
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found


def tables_at(root: Path, snapshot: int) -> set[str]:
    """Names of the lake's tables as they were then."""
    rows = _ask(
        root,
        "SELECT table_name FROM ducklake_table "
        f"WHERE begin_snapshot <= {snapshot} AND coalesce(end_snapshot > {snapshot}, true)",
    )
    return {name for (name,) in rows}


def folders(root: Path) -> dict[str, str]:
    """Table of the lake → the folder of its files, which keeps the name it was made with."""
    query = "SELECT table_name, path FROM ducklake_table WHERE end_snapshot IS NULL"
    return dict(_ask(root, query))


def knows_its_place(root: Path) -> bool:
    """Whether the catalogue's own path of the files is right: a plain DuckDB client goes by it."""
    query = "SELECT value FROM ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
    return _ask(root, query) == [(place_of(root).data,)]


def record_place(root: Path) -> None:
    """After the folder was moved, so that a plain DuckDB client finds the files again."""
    with _catalog(root) as catalog:
        catalog.execute(
            "UPDATE ducklake_metadata SET value = ? WHERE key = 'data_path' AND scope IS NULL",
            [place_of(root).data],
        )


def _ask(root: Path, query: str) -> Rows:
    with _catalog(root, "READ_ONLY") as catalog:
        return catalog.execute(query).fetchall()


@contextmanager
def _catalog(root: Path, *options: str) -> Iterator[duckdb.DuckDBPyConnection]:
    place = for_reading(place_of(root)) if "READ_ONLY" in options else place_of(root)
    schema = [f"SCHEMA {quoted(place.schema)}"] if place.schema else []
    with _attached(root, place, *schema, *options) as catalog:
        yield catalog


@contextmanager
def _attached(root: Path, place: Place, *options: str) -> Iterator[duckdb.DuckDBPyConnection]:
    name = f"catalog_{next(_numbers)}"
    kind = ["TYPE postgres"] if place.is_shared else ["TYPE sqlite", "BUSY_TIMEOUT 10000"]
    listed = ", ".join([*kind, *options])
    with closing(_databases(os.getpid()).cursor()) as cursor:
        try:
            make_reachable(cursor, Place(place.catalog, ""))
            attach_patiently(cursor, f"ATTACH {quoted(place.database)} AS {name} ({listed})")
            cursor.execute(f"USE {name}")
            yield cursor
        except duckdb.Error as error:
            raise StoreError(
                f"{root}: the catalogue cannot be read: {first_line(error)}"
            ) from error
        finally:
            cursor.execute("USE memory")
            cursor.execute(f"DETACH DATABASE IF EXISTS {name}")


@cache
def _databases(process: int) -> duckdb.DuckDBPyConnection:
    """One for the whole process, as its extension takes long to load; a fork needs its own."""
    return connect(["sqlite_scanner"])


_numbers = count()
