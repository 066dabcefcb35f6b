"""The lake as DuckDB sees it: a DuckLake catalogue and the Parquet files that it owns."""

import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb

from annotator.errors import MissingDependency, StoreError
from annotator.store.layout import LAYOUT, STORED_IN, views
from annotator.store.place import Place, place_of
from annotator.store.s3 import allow_s3
from annotator.store.sql import first_line, quoted
from annotator.store.unwritable import for_reading
from schemas.tables import SCHEMA_VERSION

LAKE = "lake"
"""Name under which the lake is attached."""
EXTENSIONS = {
    "ducklake": "duckdb-extension-ducklake",
    "sqlite_scanner": "duckdb-extension-sqlite-scanner",
    "postgres_scanner": "duckdb-extension-postgres-scanner",
    "httpfs": "duckdb-extension-httpfs",
}
"""DuckDB extension → the package that carries it, signed by DuckDB."""
LOCAL = ("ducklake", "sqlite_scanner")
"""What tables in a folder need."""


def connect(extensions: Iterable[str] = LOCAL) -> duckdb.DuckDBPyConnection:
    """DuckDB with extensions of the lake; signatures are checked, nothing is fetched unasked."""
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
        connection.execute("SET enable_progress_bar = false")
        for name in extensions:
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
    place = place_of(root) if writable else for_reading(place_of(root))
    make_reachable(connection, place)
    options = ["OVERRIDE_DATA_PATH true", "CREATE_IF_NOT_EXISTS false"]
    options += [] if writable else ["READ_ONLY"]
    options += [] if snapshot is None else [f"SNAPSHOT_VERSION {snapshot}"]
    if writable and not place.is_shared:
        options.append("META_BUSY_TIMEOUT 10000")
    try:
        attach_patiently(connection, lake_of(place, alias, *options))
    except duckdb.Error as error:
        raise StoreError(f"{root}: the tables cannot be opened: {first_line(error)}") from error


def attach_patiently(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """In the moment in which another process closes SQLite its file cannot be opened."""
    for seconds in (0.01, 0.05, 0.25):
        try:
            connection.execute(statement)
            return
        except duckdb.Error as error:
            if "unable to open database file" not in str(error):
                raise
        time.sleep(seconds)
    connection.execute(statement)


def lake_of(place: Place, alias: str, *options: str) -> str:
    """The statement that attaches the lake of a place."""
    schema = [f"METADATA_SCHEMA {quoted(place.schema)}"] if place.schema else []
    listed = ", ".join([f"DATA_PATH {quoted(place.data)}", *schema, *options])
    return f"ATTACH {quoted(f'ducklake:{place.catalog}')} AS {alias} ({listed})"


def make_reachable(connection: duckdb.DuckDBPyConnection, place: Place) -> None:
    """Load what the catalogue's server and S3 need, where there are such."""
    if place.is_shared:
        _load_extension(connection, "postgres_scanner")
    if place.is_remote:
        _load_extension(connection, "httpfs")
        allow_s3(connection)


def attach_at(
    connection: duckdb.DuckDBPyConnection,
    root: Path,
    alias: str,
    snapshot: int | None,
    layout: int = LAYOUT,
) -> None:
    """Attach read-only; where that snapshot has an older layout, with today's views over it."""
    if layout == LAYOUT:
        attach(connection, root, alias=alias, snapshot=snapshot)
        return
    files = f"{alias}_files"
    attach(connection, root, alias=files, snapshot=snapshot)
    connection.execute(f"ATTACH ':memory:' AS {alias}")
    connection.execute(f"USE {alias}")
    for name in ("images", "problems", "recipes", "ledger"):
        connection.execute(f"CREATE VIEW {name} AS FROM {files}.{name}")
    for name, select in views(STORED_IN[layout], f"{files}."):
        connection.execute(f"CREATE VIEW {name} AS {select}")
    connection.execute("USE memory")


def open_lake(root: Path, *, writable: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection to the lake as it is now, in which its tables and views need no prefix."""
    connection = connect()
    try:
        attach(connection, root, writable=writable)
        connection.execute(f"USE {LAKE}")
        if writable:  # a commit reads files once; kept in memory they take 0.4 MB a shard
            connection.execute("SET enable_external_file_cache = false")
    except BaseException:
        connection.close()
        raise
    return connection


def describe_commit(
    connection: duckdb.DuckDBPyConnection, message: str, extra: Mapping[str, Any]
) -> None:
    """What the open transaction says of itself: a line to read, and JSON with the schema."""
    info = json.dumps({**extra, "schema": SCHEMA_VERSION, "layout": LAYOUT}, default=str)
    connection.execute(
        f"CALL ducklake_set_commit_message('{LAKE}', 'annotator', {quoted(message)}, "
        f"extra_info => {quoted(info)})"
    )
