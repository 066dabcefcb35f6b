"""DuckDB over a version: one SELECT that can read the tables and nothing else.

`regions` is of the version asked for; `v3.regions` is of version 3, so one query can join versions;
`changes(1, 'gold')` has the labels that differ between two, by number, tag or time.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from annotator.errors import MissingDependency, QueryError
from annotator.store import Store, Version, Wanted
from annotator.store.sql import first_line, quoted, swept_meanwhile

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
ROWS_AT_ONCE = 100_000
_HINTS = ("Did you mean", "Candidate bindings")


def run_query(store: Store, sql: str, version: Wanted | None = None) -> pa.Table:
    """The rows of one SELECT over a version, the latest by default.

    QueryError for SQL that is wrong, that would write, or that reaches outside the tables.
    """
    with stream_query(store, sql, version) as batches:
        return batches.read_all()


@contextmanager
def stream_query(
    store: Store, sql: str, version: Wanted | None = None
) -> Iterator[pa.RecordBatchReader]:
    """As `run_query`, in batches: a result may be larger than memory."""
    tree = _parse(sql)
    with closing(store.connect(version)) as connection:
        for number in _versions_named(tree):
            store.attach(connection, f"v{number}", store.version(number))
        _add_changes(connection, store, _changes_named(tree))
        _confine(connection, store.data_folder())
        try:
            yield connection.execute(sql).to_arrow_reader(ROWS_AT_ONCE)
        except (duckdb.Error, pa.ArrowException) as error:
            raise QueryError(_reason(error)) from error


@dataclass(frozen=True)
class Rows:
    """The rows of a query, fetched anew whenever they are asked for."""

    store: Store
    sql: str
    version: Wanted | None

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

    def at(self, version: Wanted) -> "Tables":
        """The same tables at another version, by number, tag or time; StoreError without one."""
        return Tables(self.store, self.store.version(version).number)

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

    def captions(self) -> Rows:
        """Kept texts of the three caption levels."""
        return self.sql("FROM captions")

    def triplets(self) -> Rows:
        """Caption, phrase and region in one row, where all three are kept."""
        return self.sql("FROM triplets")

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


def _versions_named(tree: dict[str, Any]) -> list[int]:
    """Numbers of the versions that the query names, as in v3.regions."""
    names = {
        node.get(place) or ""
        for node in _nodes(tree)
        if node.get("type") == "BASE_TABLE"
        for place in ("schema_name", "catalog_name")
    }
    return sorted({int(found[1]) for name in names if (found := _VERSION_NAME.fullmatch(name))})


def _changes_named(tree: dict[str, Any]) -> list[tuple[Wanted, Wanted]]:
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


def _add_changes(
    connection: duckdb.DuckDBPyConnection, store: Store, pairs: list[tuple[Wanted, Wanted]]
) -> None:
    """The table macro `changes` over the pairs of versions that the query names."""
    if not pairs:
        return
    tables = []
    for before, after in dict.fromkeys(pairs):
        rows = store.diff(before, after).rows
        for name, version in (("version_before", before), ("version_after", after)):
            rows = rows.append_column(name, pa.repeat(str(version), len(rows)))
        tables.append(rows)
    connection.register("changes_rows", pa.concat_tables(tables))
    connection.execute(
        "CREATE TEMP MACRO changes(b, a) AS TABLE "
        "SELECT * EXCLUDE (version_before, version_after) FROM changes_rows "
        "WHERE version_before = b::VARCHAR AND version_after = a::VARCHAR"
    )


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


def _confine(connection: duckdb.DuckDBPyConnection, data: str) -> None:
    connection.execute(f"SET allowed_directories = [{quoted(data)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _reason(error: Exception) -> str:
    """DuckDB's first line, with the names that it proposes."""
    if advice := swept_meanwhile(error):
        return f"{first_line(error)}: {advice}"
    hints = [line for line in str(error).splitlines()[1:] if line.startswith(_HINTS)]
    return " ".join([first_line(error), *hints[:1]])
