"""One SELECT as DuckDB's syntax tree: whether it may be run, and the versions that it names."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import duckdb

from annotator.errors import QueryError
from annotator.store import Wanted
from annotator.store.sql import explained

# SQLite's table functions open any file, whatever DuckDB's settings say, and DuckLake's include
# some that crash on read-only tables: so what may be called is listed, not what may not.
TABLE_FUNCTIONS = frozenset(
    {
        "changes",
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


def parse_select(sql: str) -> dict[str, Any]:
    """QueryError for anything but one SELECT that calls only the table functions listed."""
    with closing(duckdb.connect()) as parser:
        try:
            statements = parser.extract_statements(sql)
        except duckdb.Error as error:
            raise QueryError(explained(error)) from error
        [(text,)] = parser.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    tree: dict[str, Any] = json.loads(text)
    if len(statements) != 1 or tree["error"]:
        raise QueryError("only one SELECT can be run here, nothing that writes or attaches")
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            _check_function(node["function"]["function_name"])
        if _names_catalogue(node):
            raise QueryError("the catalogue's own tables are not open to queries")
        if node.get("at_clause"):
            raise QueryError("AT counts DuckLake's snapshots: for version 3 write v3.regions")
    return tree


def _names_catalogue(node: dict[str, Any]) -> bool:
    """A team's server may hold more than these tables, all of it behind the catalogue's name."""
    names = f"{node.get('catalog_name')} {node.get('schema_name')}".lower().split()
    return any(name.startswith("__ducklake") for name in names)


def _check_function(name: str) -> None:
    if name.lower() not in TABLE_FUNCTIONS:
        raise QueryError(f"{name}() is not open to queries: they read these tables only")


def versions_named(tree: dict[str, Any]) -> list[int]:
    """Numbers of the versions that the query names, as in v3.regions."""
    names = {
        node.get(place) or ""
        for node in _nodes(tree)
        if node.get("type") == "BASE_TABLE"
        for place in ("schema_name", "catalog_name")
    }
    return sorted({int(found[1]) for name in names if (found := _VERSION_NAME.fullmatch(name))})


def changes_named(tree: dict[str, Any]) -> list[tuple[Wanted, Wanted]]:
    """The two versions of each call of `changes`, which have to be written out."""
    named = []
    for node in _nodes(tree):
        if node.get("type") != "TABLE_FUNCTION":
            continue
        function = node["function"]
        if function["function_name"].lower() != "changes":
            continue
        versions = [child.get("value", {}).get("value") for child in function["children"]]
        if len(versions) != 2 or not all(isinstance(v, int | str) for v in versions):
            raise QueryError(
                "changes() takes two versions, as in changes(1, 2) or changes(1, 'gold')"
            )
        named.append((versions[0], versions[1]))
    return named


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
