"""Versioned tables of labels: one folder per table, one atomic commit over all its tables.

`catalog.sqlite` is a DuckLake catalogue, `data/` the files that it owns, `parts/` what workers
wrote, `commit.lock` is held by the one committer; `place.json` may put the first two elsewhere.
Version n is the n-th commit of data.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from annotator.errors import StoreError
from annotator.parts import PARTS
from annotator.store import catalog, lake, rollback, tags
from annotator.store.compaction import Compacted, compact
from annotator.store.creation import create_lake, needs_upgrade, upgrade
from annotator.store.diff import MIN_IOU, Diff, DiffRow, diff
from annotator.store.expiry import DAY, Expiry, expire
from annotator.store.garbage import Garbage, find_garbage, sweep
from annotator.store.incoming import ShardCommit
from annotator.store.layout import LAYOUT
from annotator.store.place import CATALOG, DATA, PLACE, place_of
from annotator.store.transaction import Message, commit
from annotator.store.versions import Version, Wanted, all_versions, expired_versions, find_version
from annotator.store.versions import tags as all_tags
from annotator.store.writing import LOCK, committing
from schemas.tables import SCHEMA_VERSION

__all__ = [
    "Compacted",
    "Diff",
    "DiffRow",
    "Expiry",
    "Garbage",
    "ShardCommit",
    "Store",
    "Version",
    "Wanted",
]


class Store:
    """The tables of one folder. Opens the catalogue anew for each question, so it may be shared."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @classmethod
    def create_or_open(cls, root: Path) -> "Store":
        """For writing; older tables are brought up to date. StoreError where that cannot be."""
        store = cls(root)
        try:
            (store.root / PARTS).mkdir(parents=True, exist_ok=True)
            if not place_of(store.root).is_remote:
                Path(place_of(store.root).data).mkdir(parents=True, exist_ok=True)
            _need_write_access(store.root)
            with committing(store.root):
                if not catalog.is_made(store.root):
                    create_lake(store.root)
                shared = place_of(store.root).is_shared
                if not shared and not catalog.knows_its_place(store.root):
                    catalog.record_place(store.root)
                _refuse_newer(store.root)
                if needs_upgrade(store.root):
                    upgrade(store.root)
        except OSError as error:
            raise StoreError(
                f"{root}: cannot write tables here ({error.strerror or error}): "
                "name another folder as the store"
            ) from error
        return store

    @classmethod
    def open(cls, root: Path) -> "Store":
        """For reading; StoreError where there are no tables, or newer ones than we know."""
        store = cls(root)
        if not catalog.is_made(store.root):
            raise StoreError(f"{root}: no tables here: `annotator run` makes them")
        _refuse_newer(store.root)
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
        return all_versions(self.root)

    def expired_versions(self) -> list[Version]:
        """What is still known of versions that `expire` let go of."""
        return expired_versions(self.root)

    def version(self, wanted: Wanted) -> Version:
        """By number, tag or time; StoreError names those that there are."""
        return find_version(self.root, wanted)

    def latest(self) -> Version:
        """StoreError where there is no version yet."""
        versions = self.versions()
        if not versions:
            raise StoreError(f"{self.root}: no version yet: `annotator run` makes the first")
        return versions[-1]

    def tags(self) -> dict[str, int]:
        """Tag → the number of its version."""
        return all_tags(self.root)

    def tag(
        self, name: str, wanted: Wanted, *, note: str | None = None, move: bool = False
    ) -> Version:
        """Name a version; StoreError where the name is another version's, unless it may move."""
        store, version = self.create_or_open(self.root), self.version(wanted)
        tags.set_tag(store.root, name, version, note, move)
        return version

    def remove_tag(self, name: str) -> None:
        """The version stays."""
        tags.remove_tag(self.create_or_open(self.root).root, name)

    def roll_back(self, wanted: Wanted) -> int | None:
        """A new version equal to that one, None where the tables are equal to it already."""
        return rollback.roll_back(self.create_or_open(self.root).root, self.version(wanted))

    def diff(self, before: Wanted, after: Wanted, *, min_iou: float = MIN_IOU) -> Diff:
        """What became of the labels from one version to another.

        Labels at different places are the same one where their boxes overlap by `min_iou`.
        """
        with closing(lake.connect()) as connection:
            for alias, wanted in (("before", before), ("after", after)):
                self.attach(connection, alias, self.version(wanted))
            return diff(connection, min_iou)

    def compact(self) -> list[Compacted]:
        """Write small files together; every version answers as before."""
        return compact(self.create_or_open(self.root).root)

    def expire(
        self, *, keep_last: int = 1, older_than: timedelta = timedelta(), dry_run: bool = False
    ) -> Expiry:
        """Let go of versions that are not among the last, older than that, and not tagged."""
        store = self.create_or_open(self.root)
        return expire(store.root, keep_last, older_than, dry_run=dry_run)

    def find_garbage(self, older_than: timedelta = DAY, *, uncommitted: bool = False) -> Garbage:
        """Files that nothing needs; none that is younger, as a run or a query may be at it."""
        root = self.create_or_open(self.root).root
        return find_garbage(root, older_than, uncommitted=uncommitted)

    def sweep(self, older_than: timedelta = DAY, *, uncommitted: bool = False) -> Garbage:
        """Delete what `find_garbage` finds."""
        root = self.create_or_open(self.root).root
        return sweep(root, older_than, uncommitted=uncommitted)

    def connect(self, wanted: Wanted | None = None) -> duckdb.DuckDBPyConnection:
        """Read-only; tables and views are as they were at that version, the latest by default.

        Later commits stay out of sight.
        """
        known = [self.version(wanted)] if wanted is not None else self.versions()[-1:]
        connection = lake.connect()
        try:
            self.attach(connection, lake.LAKE, known[0] if known else None)
            connection.execute(f"USE {lake.LAKE}")
        except BaseException:
            connection.close()
            raise
        return connection

    def attach(
        self, connection: duckdb.DuckDBPyConnection, alias: str, version: Version | None
    ) -> None:
        """Tables and views of a version under that name; None where there is no version yet."""
        if version is None:
            layout = catalog.made_by(self.root)["layout"]
            lake.attach_at(connection, self.root, alias, None, layout)
        else:
            lake.attach_at(connection, self.root, alias, version.snapshot, version.layout)

    def data_folder(self) -> str:
        """Where all files lie that a query reads, with a slash at its end."""
        return place_of(self.root).data

    def plain_duckdb(self) -> str:
        """The shell command that opens the tables in DuckDB's own client."""
        place = place_of(self.root)
        if catalog.knows_its_place(self.root) and not place.is_shared:
            return f'duckdb "ducklake:{place.catalog}"'
        attach = lake.lake_of(place, lake.LAKE, "OVERRIDE_DATA_PATH true")
        return f'duckdb -cmd "{attach}; USE {lake.LAKE}"'


def is_store(root: Path) -> bool:
    """Whether a folder holds tables, or says where they are."""
    return (root / CATALOG).is_file() or (root / PLACE).is_file()


def _refuse_newer(root: Path) -> None:
    known = {"schema": SCHEMA_VERSION, "layout": LAYOUT}
    for name, number in catalog.made_by(root).items():
        if number > known[name]:
            raise StoreError(
                f"{root}: these tables have {name} {number}, this annotator knows {known[name]}: "
                "install a newer annotator"
            )


def _need_write_access(root: Path) -> None:
    for path in (root, root / PARTS, root / DATA, root / CATALOG, root / LOCK):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
