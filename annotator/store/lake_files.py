"""The files that the lake owns, as its catalogue lists them."""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from annotator.store.lake import LAKE
from annotator.store.place import Place, place_of

_CATALOG = f"__ducklake_metadata_{LAKE}"
"""Under this name DuckLake attaches its own tables."""


@dataclass(frozen=True)
class TableFiles:
    """What the latest version of a table is read from; `gone` are rows of it that are deleted."""

    table: str
    files: int
    bytes: int
    rows: int
    gone: int


def table_files(lake: duckdb.DuckDBPyConnection) -> list[TableFiles]:
    """Of each table that has any, by name."""
    rows = lake.execute(
        "SELECT t.table_name, count(*), sum(f.file_size_bytes + coalesce(d.file_size_bytes, 0)), "
        "sum(f.record_count), sum(coalesce(d.delete_count, 0)) "
        f"FROM {_CATALOG}.ducklake_data_file f JOIN {_CATALOG}.ducklake_table t "
        "ON t.table_id = f.table_id AND t.end_snapshot IS NULL "
        f"LEFT JOIN {_CATALOG}.ducklake_delete_file d "
        "ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL "
        "WHERE f.end_snapshot IS NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return [TableFiles(table, *map(int, numbers)) for table, *numbers in rows]


def needed(lake: duckdb.DuckDBPyConnection, root: Path) -> set[str]:
    """Files that some version is read from, whichever."""
    return _owned(lake, root, "true")


def needed_by_none(
    lake: duckdb.DuckDBPyConnection, root: Path, snapshots: Collection[int]
) -> set[str]:
    """Files of older versions that none of these snapshots, nor the latest, is read from."""
    among = ", ".join(map(str, snapshots))
    return _owned(
        lake,
        root,
        "f.end_snapshot IS NOT NULL AND NOT list_bool_or(list_transform("
        f"[{among}]::BIGINT[], lambda s: s >= f.begin_snapshot AND s < f.end_snapshot))",
    )


def _owned(lake: duckdb.DuckDBPyConnection, root: Path, condition: str) -> set[str]:
    columns = "table_id, path, path_is_relative, begin_snapshot, end_snapshot"
    each = " UNION ALL ".join(
        f"SELECT {columns} FROM {_CATALOG}.{name}"
        for name in ("ducklake_data_file", "ducklake_delete_file")
    )
    rows = lake.execute(
        "SELECT DISTINCT CASE WHEN f.path_is_relative::BOOLEAN THEN s.path || t.path || f.path "
        f"ELSE f.path END FROM ({each}) f JOIN {_CATALOG}.ducklake_table t USING (table_id) "
        f"JOIN {_CATALOG}.ducklake_schema s USING (schema_id) WHERE {condition}"
    ).fetchall()
    place = place_of(root)
    return {_address(place, path) for (path,) in rows}


def snapshot_numbers(lake: duckdb.DuckDBPyConnection) -> list[int]:
    """All that there are, ascending; most are of versions, the others of what led to them."""
    query = f"SELECT snapshot_id FROM {_CATALOG}.ducklake_snapshot ORDER BY 1"
    return [number for (number,) in lake.execute(query).fetchall()]


def scheduled(
    lake: duckdb.DuckDBPyConnection, root: Path, until: datetime | None = None
) -> list[str]:
    """Files that no version is read from any more, or not since then already.

    They are there still, as a query may be reading them.
    """
    limit = (
        f"WHERE schedule_start::TIMESTAMPTZ < '{until.isoformat()}'::TIMESTAMPTZ" if until else ""
    )
    rows = lake.execute(
        f"SELECT path FROM {_CATALOG}.ducklake_files_scheduled_for_deletion {limit} ORDER BY 1"
    ).fetchall()
    place = place_of(root)
    return [_address(place, path) for (path,) in rows]


def _address(place: Place, path: str) -> str:
    """Local ones as `Path` writes them, so that they compare equal to what a folder lists."""
    return f"{place.data}{path}" if place.is_remote else str(Path(place.data, path))


def freed(files: Iterable[str]) -> int:
    """Bytes on the disk once these names are gone: a file with other names stays."""
    names: dict[tuple[int, int], int] = {}
    found: dict[tuple[int, int], os.stat_result] = {}
    for path in set(files):
        with suppress(FileNotFoundError):
            stat = Path(path).stat()
            inode = (stat.st_dev, stat.st_ino)
            names[inode] = names.get(inode, 0) + 1
            found[inode] = stat
    return sum(stat.st_size for inode, stat in found.items() if names[inode] == stat.st_nlink)
