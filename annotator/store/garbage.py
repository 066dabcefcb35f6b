"""What nothing needs any more: found first, deleted when told to, and never while it is young.

A file is as old as its name (its ctime: a link keeps the mtime of what it links to), or as the
moment in which the last version let go of it. So nothing goes that a run is writing or a query is
reading, unless either takes longer than the age that is asked for.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from tqdm import tqdm

from annotator.errors import StoreError
from annotator.parts import MANIFEST, PARTS
from annotator.store.expiry import DAY
from annotator.store.lake import LAKE
from annotator.store.lake_files import freed, needed, scheduled
from annotator.store.place import DATA, place_of
from annotator.store.sql import quoted
from annotator.store.unused_parts import unused_parts
from annotator.store.versions import all_versions
from annotator.store.writing import write


@dataclass(frozen=True)
class Garbage:
    """Files by why nothing needs them; `bytes` is what the disk gains by the end of all of them.

    `released`: in the tables once, of expired versions or compacted. `stray`: in their folder, but
    of no commit that ended. `unfinished`: of workers that did not end. `superseded`: parts of
    expired versions only, or made twice. `uncommitted`: complete parts that no version took in.
    `young` counts the files that are too young, `waiting` the uncommitted parts that stay.
    """

    released: tuple[str, ...]
    stray: tuple[str, ...]
    unfinished: tuple[str, ...]
    superseded: tuple[str, ...]
    uncommitted: tuple[str, ...]
    bytes: int
    young: int
    waiting: int

    def by_reason(self) -> dict[str, tuple[str, ...]]:
        names = ("released", "stray", "unfinished", "superseded", "uncommitted")
        return {name: getattr(self, name) for name in names}


def find_garbage(root: Path, older_than: timedelta = DAY, *, uncommitted: bool = False) -> Garbage:
    """Deletes nothing. `uncommitted` parts are garbage only where one says so."""
    until = datetime.now(UTC) - older_than
    return write(root, lambda lake: _find(lake, root, until, uncommitted))


def sweep(root: Path, older_than: timedelta = DAY, *, uncommitted: bool = False) -> Garbage:
    """Delete what `find_garbage` finds, while nobody commits. Killed, it may be called again."""
    until = datetime.now(UTC) - older_than
    return write(root, lambda lake: _sweep(lake, root, until, uncommitted))


def _find(
    lake: duckdb.DuckDBPyConnection, root: Path, until: datetime, uncommitted: bool
) -> Garbage:
    parts = unused_parts(lake, root, [version.snapshot for version in all_versions(root)])
    age = _Age(until)
    released = scheduled(lake, root, until)
    found = {
        "released": tuple(released),
        "stray": age.old(_stray(lake, root)),
        "unfinished": age.attempts(parts.unfinished) + age.old(_temporary(root, parts.unfinished)),
        "superseded": age.attempts(parts.superseded),
        "uncommitted": age.attempts(parts.uncommitted) if uncommitted else (),
    }
    return Garbage(
        **found,
        bytes=freed(path for files in found.values() for path in files),
        young=age.young + len(scheduled(lake, root)) - len(released),
        waiting=0 if uncommitted else len(parts.uncommitted),
    )


def _stray(lake: duckdb.DuckDBPyConnection, root: Path) -> list[Path]:
    """StoreError where files of the tables are missing: who knows what the others are then.

    Only in the tables' own folder: others may keep theirs in a place that is shared.
    """
    unfinished = sorted(root.glob(".*.sqlite*"))  # catalogues of tables that were to be made
    if place_of(root).data != f"{root / DATA}/":
        return unfinished
    owned, found = needed(lake, root), _files(root / DATA)
    if missing := sorted(owned.difference(map(str, found))):
        raise StoreError(
            f"{root}: {len(missing)} of {len(owned)} files of the tables are not where they should "
            f"be, so none can be called garbage: {missing[0]}"
        )
    owned.update(scheduled(lake, root))
    return [path for path in found if str(path) not in owned] + unfinished


def _temporary(root: Path, unfinished: Sequence[Path]) -> list[Path]:
    """Beside what is complete."""
    found = (root / PARTS).rglob("*.tmp")
    return sorted(path for path in found if path.parent not in unfinished)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class _Age:
    """Leaves out what is younger, and counts it."""

    def __init__(self, until: datetime) -> None:
        self.until = until.timestamp()
        self.young = 0

    def old(self, files: Iterable[Path]) -> tuple[str, ...]:
        return tuple(str(path) for path in files if self._is_old([path], 1))

    def attempts(self, folders: Iterable[Path]) -> tuple[str, ...]:
        """All files of an attempt or none, its manifest first: without it a part is none."""
        found: list[Path] = []
        for folder in folders:
            files = sorted(folder.iterdir(), key=lambda path: (path.name != MANIFEST, path.name))
            if self._is_old([folder, *files], len(files)):
                found += files
        return tuple(map(str, found))

    def _is_old(self, paths: Sequence[Path], files: int) -> bool:
        with suppress(FileNotFoundError):  # its worker went on at this moment
            if all(path.stat().st_ctime <= self.until for path in paths):
                return True
        self.young += files
        return False


def _sweep(
    lake: duckdb.DuckDBPyConnection, root: Path, until: datetime, uncommitted: bool
) -> Garbage:
    found = _find(lake, root, until, uncommitted)
    parts = (*found.unfinished, *found.superseded, *found.uncommitted)
    files = (*found.stray, *parts)
    for path in tqdm(files, desc="deleting", unit="file", delay=2, file=sys.stderr, leave=False):
        Path(path).unlink(missing_ok=True)
    for folder in {Path(path).parent for path in parts}:
        with suppress(OSError):  # others' files are in it
            folder.rmdir()
    older = f"{quoted(until.isoformat())}::TIMESTAMPTZ"
    lake.execute(f"CALL ducklake_cleanup_old_files('{LAKE}', older_than => {older})")
    return found
