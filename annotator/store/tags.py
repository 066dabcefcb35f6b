"""Names for versions. A tag moves only when it is told to."""

from pathlib import Path

import duckdb

from annotator.errors import StoreError
from annotator.store.versions import Version, describe_bookkeeping, may_be_tag
from annotator.store.writing import transaction, write


def set_tag(root: Path, name: str, version: Version, note: str | None, move: bool) -> None:
    """StoreError for a name that could be a number or a time, and for one that is taken."""
    if not may_be_tag(name):
        raise StoreError(
            f"{name!r} cannot be a tag: begin with a letter, go on with letters, digits, "
            "'.', '-', '_' or '+', and let it not look like the version v3"
        )
    write(root, lambda lake: _set(lake, root, name, version, note, move))


def _set(
    lake: duckdb.DuckDBPyConnection,
    root: Path,
    name: str,
    version: Version,
    note: str | None,
    move: bool,
) -> None:
    with transaction(lake):
        found = lake.execute("SELECT version FROM tags WHERE name = ?", [name]).fetchall()
        taken = [number for (number,) in found]
        if taken and taken != [version.number] and not move:
            raise StoreError(
                f"{root}: the tag {name} is version {taken[0]} already: --move makes it "
                f"{version.number}"
            )
        lake.execute("DELETE FROM tags WHERE name = ?", [name])
        lake.execute("INSERT INTO tags VALUES (?, ?, ?, now())", [name, version.number, note])
        describe_bookkeeping(lake, root, f"tag {name}: version {version.number}")


def remove_tag(root: Path, name: str) -> None:
    """StoreError where there is none of that name."""
    write(root, lambda lake: _remove(lake, root, name))


def _remove(lake: duckdb.DuckDBPyConnection, root: Path, name: str) -> None:
    with transaction(lake):
        [(removed,)] = lake.execute("DELETE FROM tags WHERE name = ?", [name]).fetchall()
        if not removed:
            raise StoreError(f"{root}: there is no tag {name}")
        describe_bookkeeping(lake, root, f"tag {name} removed")
