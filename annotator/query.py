"""DuckDB over a version: one SELECT that can read the tables and nothing else.

`regions` is of the version asked for; `v3.regions` is of version 3, so one query can join versions.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from annotator.errors import MissingDependency, QueryError
from annotator.store import Store, Version
from annotator.store.sql import first_line, quoted

# SQLite's table functions open any file, whatever DuckDB's settings say, and DuckLake's include
# some that crash on read-only tables: so what may be called is listed, not what may not.
TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_tables",
        "duckdb_types",
        "duckdb_views",
        "ducklake_snapshots",
        "ducklake_table_changes",
        "ducklake_table_deletions",
        "ducklake_table_insertions",
        "generate_series",
        "json_each",
        "json_tree",
        "range",
        "repeat",
        "snapshots",
        "table_changes",
        "table_deletions",
        "table_insertions",
        "unnest",
    }
)
_VERSION_NAME = re.compile(r"v([1-9]\d*)", re.IGNORECASE)
_HINTS = ("Did you mean", "Candidate bindings")


def run_query(store: Store, sql: str, version: int | None = None) -> pa.Table:
    """The rows of one SELECT over a version, the latest by default.

    QueryError for SQL that is wrong, that would write, or that reaches outside the tables.
    """
    tree = _parse(sql)
    with closing(store.connect(version)) as connection:
        for number in _versions_named(tree):
            store.attach(connection, f"v{number}", store.version(number))
        _confine(connection, store.data_folder())
        try:
            return connection.execute(sql).to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(_reason(error)) from error


@dataclass(frozen=True)
class Rows:
    """The rows of a query, fetched anew whenever they are asked for."""

    store: Store
    sql: str
    version: int | None

    def to_arrow(self) -> pa.Table:
        """As an Arrow table."""
        return run_query(self.store, self.sql, self.version)

    def df(self) -> Any:  # a pandas.DataFrame; pandas is no dependency of ours
        """As a pandas DataFrame."""
        table = self.to_arrow()
        try:
            return table.to_pandas()
        except ImportError as error:
            raise MissingDependency("a DataFrame needs pandas: pip install pandas") from error


@dataclass(frozen=True)
class Tables:
    """The tables of one folder at a version; None stands for the latest at each question."""

    store: Store
    version: int | None = None

    def at(self, version: int) -> "Tables":
        """The same tables at another version; StoreError where there is none of that number."""
        self.store.version(version)
        return Tables(self.store, version)

    def sql(self, sql: str) -> Rows:
        """The rows of one SELECT."""
        return Rows(self.store, sql, self.version)

    def images(self) -> Rows:
        """Every image with its state."""
        return self.sql("FROM images")

    def texts(self) -> Rows:
        """Captions that are kept."""
        return self.sql("FROM texts")

    def regions(self) -> Rows:
        """Regions that are kept."""
        return self.sql("FROM regions")

    def phrases(self) -> Rows:
        """Phrases that are kept."""
        return self.sql("FROM phrases")

    def versions(self) -> list[Version]:
        """All versions, from the first to the latest."""
        return self.store.versions()


def open_tables(path: Path | str) -> Tables:
    """The versioned tables in a folder, read-only; StoreError where there are none."""
    return Tables(Store.open(Path(path)))


def _parse(sql: str) -> dict[str, Any]:
    """The syntax tree of one SELECT that calls no table function but those listed."""
    with closing(duckdb.connect()) as parser:
        try:
            statements = parser.extract_statements(sql)
        except duckdb.Error as error:
            raise QueryError(_reason(error)) from error
        [(text,)] = parser.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    tree: dict[str, Any] = json.loads(text)
    if len(statements) != 1 or tree["error"]:
        raise QueryError("only one SELECT can be run here, nothing that writes or attaches")
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            _check_function(node["function"]["function_name"])
        if node.get("at_clause"):
            raise QueryError("AT counts DuckLake's snapshots: for version 3 write v3.regions")
    return tree


def _check_function(name: str) -> None:
    if name.lower() not in TABLE_FUNCTIONS:
        raise QueryError(f"{name}() is not open to queries: they read these tables only")


def _versions_named(tree: dict[str, Any]) -> list[int]:
    """Numbers of the versions that the query names, as in v3.regions."""
    names = {
        node.get(place) or ""
        for node in _nodes(tree)
        if node.get("type") == "BASE_TABLE"
        for place in ("schema_name", "catalog_name")
    }
    return sorted({int(found[1]) for name in names if (found := _VERSION_NAME.fullmatch(name))})


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree, without recursion: a long query nests deeper than Python may."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _confine(connection: duckdb.DuckDBPyConnection, data: Path) -> None:
    connection.execute(f"SET allowed_directories = [{quoted(f'{data}/')}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _reason(error: duckdb.Error) -> str:
    """DuckDB's first line, with the names that it proposes."""
    hints = [line for line in str(error).splitlines()[1:] if line.startswith(_HINTS)]
    return " ".join([first_line(error), *hints[:1]])
