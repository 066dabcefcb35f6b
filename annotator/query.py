"""DuckDB over a version: one SELECT that can read the tables and nothing else.

`regions` is of the version asked for; `v3.regions` is of version 3, so one query can join versions;
`changes(1, 'gold')` has the labels that differ between two, by number, tag or time.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from annotator.errors import MissingDependency, QueryError
from annotator.select_tree import changes_named, parse_select, versions_named
from annotator.store import Store, Version, Wanted
from annotator.store.sql import explained, quoted

ROWS_AT_ONCE = 100_000


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
    tree = parse_select(sql)
    with closing(store.connect(version)) as connection:
        for number in versions_named(tree):
            store.attach(connection, f"v{number}", store.version(number))
        _add_changes(connection, store, changes_named(tree))
        _confine(connection, store.data_folder())
        try:
            yield connection.execute(sql).to_arrow_reader(ROWS_AT_ONCE)
        except (duckdb.Error, pa.ArrowException) as error:
            raise QueryError(explained(error)) from error


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


def _confine(connection: duckdb.DuckDBPyConnection, data: str) -> None:
    connection.execute(f"SET allowed_directories = [{quoted(data)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
