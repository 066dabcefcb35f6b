"""A new lake, and an older one brought up to date: both whole or not at all."""

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb

from annotator.errors import StoreError
from annotator.store import catalog
from annotator.store.lake import (
    LAKE,
    connect,
    describe_commit,
    lake_of,
    make_reachable,
    open_lake,
)
from annotator.store.layout import (
    BOOKKEEPING,
    LAYOUT,
    STORED,
    STORED_IN,
    TAGS,
    columns_of,
    create_table,
    views,
)
from annotator.store.place import CATALOG, Place, place_of
from annotator.store.sql import first_line
from annotator.store.versions import describe_bookkeeping
from annotator.store.writing import is_disk_full, transaction
from schemas.tables import LABEL_TABLES, TABLES


def create_lake(root: Path) -> None:
    """The catalogue is there whole or not at all."""
    place = place_of(root)
    try:
        if place.is_shared:
            _create_catalog(place)  # what an earlier attempt left without tables is gone on with
        else:
            _create_file(root, place)
    except duckdb.Error as error:
        reason = "the disk is full" if is_disk_full(error) else first_line(error)
        raise StoreError(f"{root}: cannot make the tables: {reason}") from error


def _create_file(root: Path, place: Place) -> None:
    """Under another name, then renamed."""
    temporary = root / f".{uuid.uuid4().hex}.sqlite"
    try:
        _create_catalog(replace(place, catalog=f"sqlite:{temporary}"))
        with closing(sqlite3.connect(temporary)) as made:
            made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        temporary.rename(root / CATALOG)
    finally:
        for leftover in root.glob(f"{temporary.name}*"):
            leftover.unlink()


def _create_catalog(place: Place) -> None:
    options = () if place.is_shared else ("META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 10000")
    with closing(connect()) as connection:
        make_reachable(connection, place)
        connection.execute(lake_of(place, LAKE, *options))
        connection.execute(f"USE {LAKE}")
        # Rows inlined in the catalogue changed and came back in this DuckLake: always in files.
        connection.execute(f"CALL {LAKE}.set_option('data_inlining_row_limit', 0)")
        with transaction(connection):
            for statement in _definitions():
                connection.execute(statement)
            describe_commit(connection, "tables made", {})


def _definitions() -> list[str]:
    tables = [create_table(name) for name in TABLES]
    return [*tables, *BOOKKEEPING, *(f"CREATE VIEW {name} AS {select}" for name, select in views())]


def needs_upgrade(root: Path) -> bool:
    """Whether the lake has an older layout, or lacks tables or columns of `schemas.tables`."""
    return catalog.made_by(root)["layout"] < LAYOUT or any(_missing(root))


def upgrade(root: Path) -> None:
    """Bring an older lake up to date in one transaction; columns that are new are NULL in old rows.

    Versions before it keep the layout that they were made in. StoreError where it cannot be.
    """
    layout = catalog.made_by(root)["layout"]
    try:
        with closing(open_lake(root, writable=True)) as lake, transaction(lake):
            _drop_views(lake)
            if layout < LAYOUT:
                _rename_tables(lake, STORED_IN[layout])
                lake.execute(TAGS)
            for statement in _missing(root):
                lake.execute(statement)
            for name, select in views():
                lake.execute(f"CREATE VIEW {name} AS {select}")
            describe_bookkeeping(lake, root, "tables brought up to date")
    except duckdb.Error as error:
        raise StoreError(
            f"{root}: these tables are of an older annotator and cannot be brought up to date: "
            f"{first_line(error)}"
        ) from error


def _drop_views(lake: duckdb.DuckDBPyConnection) -> None:
    names = lake.execute(
        f"SELECT view_name FROM duckdb_views() WHERE database_name = '{LAKE}' AND NOT internal"
    ).fetchall()
    for (name,) in names:
        lake.execute(f'DROP VIEW "{name}"')


def _rename_tables(lake: duckdb.DuckDBPyConnection, stored: dict[str, str]) -> None:
    for table in [*LABEL_TABLES.values(), "verdicts"]:
        lake.execute(f"ALTER TABLE {stored[table]} RENAME TO {STORED[table]}")


def _missing(root: Path) -> Iterator[str]:
    """Statements that add what the lake lacks, in today's names."""
    stored = STORED_IN[catalog.made_by(root)["layout"]]
    there = catalog.columns(root)
    for table in TABLES:
        if stored.get(table) not in there:
            yield create_table(table)
            continue
        known = there[stored[table]]
        for name, kind in columns_of(table).items():
            if name not in known:
                yield f'ALTER TABLE {STORED[table]} ADD COLUMN "{name}" {kind}'
