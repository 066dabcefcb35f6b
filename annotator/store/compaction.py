"""Small files written together, and rows that are gone left out. No label changes.

Every version answers as before: of the files that took part, those that an older version needs
stay, the others wait for `annotator gc`, as a query may be reading them.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import duckdb
from tqdm import tqdm

from annotator.store.lake import LAKE
from annotator.store.lake_files import TableFiles, table_files
from annotator.store.layout import STORED
from annotator.store.versions import describe_bookkeeping
from annotator.store.writing import transaction, write

LARGE = 64_000_000
"""Bytes from which on a file is left as it is; two small ones together are at most twice that."""
FILES_AT_ONCE = 8
"""Files that are merged while others wait to commit."""
GONE = 0.1
"""Share of a file's labels that must be deleted for it to be written anew."""


@dataclass(frozen=True)
class Compacted:
    """A table of the latest version before and after."""

    before: TableFiles
    after: TableFiles


def compact(root: Path) -> list[Compacted]:
    """Of every table. Interrupted at any moment, it goes on where it was when called again."""
    with tqdm(desc="compacting", unit="file", delay=2, file=sys.stderr, leave=False) as bar:
        done = write(root, partial(_compact_some, root=root, bar=bar))
        before = done.before
        while done.is_partial:
            done = write(root, partial(_compact_some, root=root, bar=bar))
    after = {found.table: found for found in done.after}
    return [Compacted(found, after[found.table]) for found in before if found.table in after]


@dataclass(frozen=True)
class _Done:
    before: list[TableFiles]
    after: list[TableFiles]
    is_partial: bool


def _compact_some(lake: duckdb.DuckDBPyConnection, root: Path, bar: "tqdm[NoReturn]") -> _Done:
    """All tables, or so many files of them that it is the turn of others to commit."""
    lake.execute(f"CALL {LAKE}.set_option('parquet_compression', 'zstd')")
    lake.execute(f"CALL {LAKE}.set_option('target_file_size', '{2 * LARGE}B')")
    before = table_files(lake)
    bar.total = bar.n + sum(found.files for found in before)
    written = 0
    for found in before:
        if found.files > 1 or found.gone:
            written += _compact(lake, root, found.table)
        bar.update(found.files)
        if written >= FILES_AT_ONCE:
            break
    return _Done(before, table_files(lake), written >= FILES_AT_ONCE)


def _compact(lake: duckdb.DuckDBPyConnection, root: Path, table: str) -> int:
    """How many files were written, each from several in the order in which they came in."""
    with transaction(lake):
        _leave_out_what_is_gone(lake, table)
        describe_bookkeeping(lake, root, f"{table} compacted")
    with transaction(lake):
        written = _merge(lake, table)
        describe_bookkeeping(lake, root, f"{table} compacted")
    return written


def _leave_out_what_is_gone(lake: duckdb.DuckDBPyConnection, table: str) -> None:
    """The ledger and the like always, however little of a file is gone, so that it can merge."""
    share = GONE if table in STORED.values() else 0
    lake.execute(
        f"CALL ducklake_rewrite_data_files('{LAKE}', '{table}', delete_threshold => {share})"
    )


def _merge(lake: duckdb.DuckDBPyConnection, table: str) -> int:
    merged = lake.execute(
        f"CALL ducklake_merge_adjacent_files('{LAKE}', '{table}', "
        f"max_file_size => {LARGE}, max_compacted_files => {FILES_AT_ONCE})"
    ).fetchall()
    return sum(int(written) for *_, written in merged)
