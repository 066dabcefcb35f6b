"""The lake: a DuckLake catalogue in SQLite and the Parquet files that it owns, as DuckDB sees it.

`all_texts`, `all_regions`, `all_phrases` hold every candidate; the views `texts`, `regions`,
`phrases` show those that are kept, with `label_id` first. The views lie in the lake itself, so any
DuckDB client has them.
"""

import json
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from annotator.errors import MissingDependency, StoreError
from schemas.tables import LABEL_TABLES, REJECTIONS, SCHEMA_VERSION, TABLES

CATALOG = "catalog.sqlite"
DATA = "data"
LAKE = "lake"
"""Name under which the lake is attached."""
EXTENSIONS = {
    "ducklake": "duckdb-extension-ducklake",
    "sqlite_scanner": "duckdb-extension-sqlite-scanner",
}
"""DuckDB extension → the package that carries it, signed by DuckDB."""
STORED = {name: name for name in TABLES} | {t: f"all_{t}" for t in LABEL_TABLES.values()}
"""Table of `schemas.tables` → its name in the lake."""

_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.list_(pa.list_(pa.float32())): "FLOAT[][]",
}
_BOOKKEEPING = (
    "CREATE TABLE recipes (recipe VARCHAR, stages VARCHAR, created TIMESTAMPTZ)",
    "CREATE TABLE ledger (shard VARCHAR, recipe VARCHAR, state VARCHAR, part VARCHAR, "
    "run VARCHAR, rows VARCHAR, committed_at TIMESTAMPTZ)",
    # One row. Each commit updates it, so that two of them can never both be version n.
    "CREATE TABLE store_state (version INTEGER)",
    "INSERT INTO store_state VALUES (0)",
)


def quoted(value: object) -> str:
    """A string literal of SQL, for the statements that take no parameters."""
    return "'" + str(value).replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """What DuckDB says, without its hints and the echo of the statement."""
    return str(error).strip().partition("\n")[0]


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB with the lake's extensions; signatures are checked, nothing is fetched unasked."""
    spill = Path(tempfile.gettempdir()) / f"annotator-{os.getpid()}-{uuid.uuid4().hex}"
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "temp_directory": str(spill),
        }
    )
    try:
        for name in EXTENSIONS:
            _load_extension(connection, name)
    except BaseException:
        connection.close()
        raise
    return connection


def _load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    path = _packaged(name)
    try:
        if path is None:
            connection.execute(f"INSTALL {name}")
        connection.execute(f"LOAD {quoted(path) if path else name}")
    except duckdb.Error as error:
        raise MissingDependency(
            f"DuckDB cannot load its extension {name} ({first_line(error)}): "
            f"pip install {EXTENSIONS[name]}=={duckdb.__version__}"
        ) from error


def _packaged(name: str) -> Path | None:
    """The binary that the extension's package installed for this DuckDB, None without it."""
    spec = find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = f"extensions/v{duckdb.__version__}/{name}.duckdb_extension"
        if (path := Path(folder) / file).is_file():
            return path
    return None


def attach(
    connection: duckdb.DuckDBPyConnection,
    root: Path,
    *,
    alias: str = LAKE,
    snapshot: int | None = None,
    writable: bool = False,
) -> None:
    """Attach the lake of a table's folder, wherever that folder has been moved to."""
    options = [f"DATA_PATH {quoted(f'{root / DATA}/')}", "OVERRIDE_DATA_PATH true"]
    options.append("META_BUSY_TIMEOUT 10000" if writable else "READ_ONLY")
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {snapshot}")
    address = quoted(f"ducklake:sqlite:{root / CATALOG}")
    try:
        connection.execute(f"ATTACH {address} AS {alias} ({', '.join(options)})")
    except duckdb.Error as error:
        raise StoreError(f"{root}: the tables cannot be opened: {first_line(error)}") from error


def open_lake(
    root: Path, *, snapshot: int | None = None, writable: bool = False
) -> duckdb.DuckDBPyConnection:
    """A connection in which the lake's tables and views need no prefix."""
    connection = connect()
    try:
        attach(connection, root, snapshot=snapshot, writable=writable)
        connection.execute(f"USE {LAKE}")
    except BaseException:
        connection.close()
        raise
    return connection


def describe_commit(
    connection: duckdb.DuckDBPyConnection, message: str, extra: Mapping[str, Any]
) -> None:
    """What the open transaction says of itself: a line to read, and JSON with the schema."""
    info = json.dumps({**extra, "schema": SCHEMA_VERSION}, default=str)
    connection.execute(
        f"CALL ducklake_set_commit_message('{LAKE}', 'annotator', {quoted(message)}, "
        f"extra_info => {quoted(info)})"
    )


def create_lake(root: Path) -> None:
    """Make the catalogue under another name, then rename: it is there whole or not at all."""
    temporary = root / f".{uuid.uuid4().hex}.sqlite"
    try:
        with closing(connect()) as connection:
            _create_catalog(connection, temporary, root / DATA)
        with closing(sqlite3.connect(temporary)) as catalog:
            catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        temporary.rename(root / CATALOG)
    except duckdb.Error as error:
        raise StoreError(f"{root}: cannot make the tables: {first_line(error)}") from error
    finally:
        for leftover in root.glob(f"{temporary.name}*"):
            leftover.unlink()


def _create_catalog(connection: duckdb.DuckDBPyConnection, catalog: Path, data: Path) -> None:
    connection.execute(
        f"ATTACH {quoted(f'ducklake:sqlite:{catalog}')} AS {LAKE} "
        f"(DATA_PATH {quoted(f'{data}/')}, META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000)"
    )
    connection.execute(f"USE {LAKE}")
    # Rows inlined in the catalogue have changed and come back in this DuckLake: always in files.
    connection.execute(f"CALL {LAKE}.set_option('data_inlining_row_limit', 0)")
    connection.execute("BEGIN")
    for statement in _definitions():
        connection.execute(statement)
    describe_commit(connection, "tables made", {})
    connection.execute("COMMIT")


def _definitions() -> list[str]:
    tables = []
    for name, schema in TABLES.items():
        columns = ", ".join(f'"{field.name}" {_TYPES[field.type]}' for field in schema)
        tables.append(f"CREATE TABLE {STORED[name]} ({columns})")
    views = [_kept_view(kind, table) for kind, table in LABEL_TABLES.items()]
    return [*tables, *_BOOKKEEPING, *views]


def _kept_view(kind: str, table: str) -> str:
    rejections = ", ".join(map(quoted, REJECTIONS))
    return (
        f"CREATE VIEW {table} AS SELECT "
        f"l.image_id || '/' || l.source || '/{kind}/' || l.label_no AS label_id, l.* "
        f"FROM {STORED[table]} l WHERE NOT EXISTS (SELECT 1 FROM verdicts v "
        f"WHERE v.kind = '{kind}' AND v.verdict IN ({rejections}) "
        "AND v.image_id = l.image_id AND v.source = l.source AND v.label_no = l.label_no)"
    )
