"""Versioned tables of labels: one folder per table, one atomic commit over all its tables.

`catalog.sqlite` is a DuckLake catalogue, `data/` the files that it owns, `parts/` what workers
wrote, `commit.lock` is held by the one committer. Version n is the n-th commit of data.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from annotator.errors import StoreError
from annotator.parts import PARTS
from annotator.store import catalog, lake
from annotator.store.diff import DiffRow, diff_snapshots
from annotator.store.incoming import ShardCommit
from annotator.store.transaction import LOCK, Message, commit, committing
from schemas.tables import SCHEMA_VERSION

__all__ = ["DiffRow", "ShardCommit", "Store", "Version"]


@dataclass(frozen=True)
class Version:
    """One commit. `counts`: images, and kept texts, regions and phrases, at that version."""

    number: int
    snapshot: int
    when: datetime
    message: str
    counts: Mapping[str, int]
    extra: Mapping[str, Any]


class Store:
    """The tables of one folder. Opens the catalogue anew for each question, so it may be shared."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @classmethod
    def create_or_open(cls, root: Path) -> "Store":
        """For writing; StoreError where that cannot be."""
        store = cls(root)
        try:
            for folder in (lake.DATA, PARTS):
                (store.root / folder).mkdir(parents=True, exist_ok=True)
            _need_write_access(store.root)
            with committing(store.root):
                if not is_store(store.root):
                    lake.create_lake(store.root)
                if not catalog.knows_its_place(store.root):
                    catalog.record_place(store.root)
        except OSError as error:
            raise StoreError(
                f"{root}: cannot write tables here ({error.strerror or error}): "
                "name another folder as the store"
            ) from error
        return cls.open(root)

    @classmethod
    def open(cls, root: Path) -> "Store":
        """For reading; StoreError where there are no tables, or newer ones than we know."""
        store = cls(root)
        if not is_store(store.root):
            raise StoreError(f"{root}: no tables here: `annotator run` makes them")
        schema = catalog.schema_version(store.root)
        if schema > SCHEMA_VERSION:
            raise StoreError(
                f"{root}: these tables have schema {schema}, this annotator knows "
                f"{SCHEMA_VERSION}: install a newer annotator"
            )
        return store

    def commit(
        self,
        entries: Sequence[ShardCommit],
        *,
        recipes: Mapping[str, Mapping[str, Any]],
        message: str,
        extra: Mapping[str, Any],
    ) -> int | None:
        """One version from all entries whose (shard, recipe) is not current yet, None without any.

        Rows that a shard has under another recipe are replaced. All or nothing, whatever happens.
        """
        return commit(self.root, entries, recipes, Message(message, extra))

    def versions(self) -> list[Version]:
        """From the first to the latest."""
        return [
            Version(
                found.extra["version"],
                found.snapshot,
                found.when,
                found.message,
                found.extra["counts"],
                found.extra,
            )
            for found in catalog.snapshots(self.root)
            if "version" in found.extra
        ]

    def version(self, number: int) -> Version:
        """StoreError names those that there are."""
        versions = self.versions()
        for known in versions:
            if known.number == number:
                return known
        there = f"it has 1 to {versions[-1].number}" if versions else "it has none yet"
        raise StoreError(f"{self.root}: no version {number}: {there}")

    def diff(self, before: int, after: int) -> list[DiffRow]:
        """What changed from one version to another, as counts of kept labels."""
        snapshots = (self.version(number).snapshot for number in (before, after))
        return diff_snapshots(self.root, *snapshots)

    def connect(self, version: int | None = None) -> duckdb.DuckDBPyConnection:
        """Read-only; tables and views are as they were at that version, the latest by default.

        Later commits stay out of sight.
        """
        # None before the first commit.
        known = [self.version(version)] if version else self.versions()[-1:]
        return lake.open_lake(self.root, snapshot=known[0].snapshot if known else None)

    def data_folder(self) -> Path:
        """Where all files lie that a query reads."""
        return self.root / lake.DATA

    def plain_duckdb(self) -> str:
        """The shell command that opens the tables in DuckDB's own client."""
        address = f"ducklake:sqlite:{self.root / lake.CATALOG}"
        if catalog.knows_its_place(self.root):
            return f'duckdb "{address}"'
        return (
            f"duckdb -cmd \"ATTACH '{address}' AS lake "
            f"(DATA_PATH '{self.data_folder()}/', OVERRIDE_DATA_PATH true); USE lake\""
        )


def is_store(root: Path) -> bool:
    """Whether a folder holds tables."""
    return (root / lake.CATALOG).is_file()


def _need_write_access(root: Path) -> None:
    for path in (root, root / PARTS, root / lake.DATA, root / lake.CATALOG, root / LOCK):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
