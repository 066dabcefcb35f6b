"""Files of shards as files of the lake: a large one is linked, small ones are written together.

Each file costs the catalogue some 20 ms and a row for each of its columns, however few labels it
holds: ten thousand small shards are to be some fifty files. On S3 all are written, none linked.
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from annotator.parts import folder_name, sync
from annotator.store.incoming import ShardCommit
from annotator.store.place import S3
from annotator.store.sql import quoted

LARGE = 50_000
"""Rows from which on a file is taken as it is."""
TOGETHER = 250_000
"""Rows at which a file that gathers small ones is full."""


def take_in(
    lake: duckdb.DuckDBPyConnection, folder: str, table: str, shards: Sequence[ShardCommit]
) -> list[str]:
    """New files in a table's own folder with the rows of these shards; the lake owns them.

    A name is never used twice: the lake would delete a file that is put in again after its rows
    were deleted. Only names in a table's own folder are recorded as relative ones.
    """
    local = not folder.startswith(S3)
    if local:
        Path(folder).mkdir(parents=True, exist_ok=True)
    taken = []
    for group in _groups(table, shards):
        target = f"{folder}/{folder_name(group[0].shard)}-{uuid.uuid4().hex}.parquet"
        files = [shard.files_with_rows()[table] for shard in group]
        if local and len(files) == 1:
            _link(files[0], Path(target))
        else:
            _write_together(lake, files, target)
        if local and len(files) > 1:
            sync(Path(target))
        taken.append(target)
    if local and taken:
        sync(Path(folder))
    return taken


def _groups(table: str, shards: Sequence[ShardCommit]) -> Iterator[list[ShardCommit]]:
    group: list[ShardCommit] = []
    rows = 0
    for shard in shards:
        if shard.rows[table] >= LARGE:
            yield [shard]
        elif shard.rows[table]:
            group.append(shard)
            rows += shard.rows[table]
        if rows >= TOGETHER:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
        sync(target)


def _write_together(lake: duckdb.DuckDBPyConnection, files: Sequence[Path], target: str) -> None:
    listed = ", ".join(map(quoted, files))
    lake.execute(
        f"COPY (FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false)) "
        f"TO {quoted(target)} (FORMAT parquet, COMPRESSION zstd)"
    )
