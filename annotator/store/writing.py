"""One committer at a time: the lock, the transaction, and another try where somebody was faster."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb

from annotator.errors import StoreError
from annotator.store.lake import connect, make_reachable, open_lake
from annotator.store.place import Place, place_of
from annotator.store.sql import first_line, quoted

LOCK = "commit.lock"
ATTEMPTS = 6
FULL = ("no space left", "disk is full", "file too large", "disk quota exceeded")
"""What DuckDB, SQLite and the system say of a full disk, anywhere in their message."""
Made = TypeVar("Made")


class Overtaken(Exception):
    """Another committer was faster: look again at what is left to do."""


@contextmanager
def committing(root: Path) -> Iterator[None]:
    """Held by the one committer of a table; waits for another to finish."""
    place = place_of(root)
    if place.is_shared:
        with _locked_server(root, place):
            yield
        return
    with (root / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _locked_server(root: Path, place: Place) -> Iterator[None]:
    """The server lets go of the lock when this connection ends, however it ends."""
    key = f"hashtext('annotator'), hashtext({quoted(place.schema)})"
    take = f"SELECT true AS held FROM (SELECT pg_advisory_xact_lock({key})) AS taken"
    with closing(connect(())) as server:
        try:
            make_reachable(server, Place(place.catalog, ""))
            server.execute(f"ATTACH {quoted(place.database)} AS server (TYPE postgres)")
            server.execute("BEGIN")
            server.execute(f"FROM postgres_query('server', {quoted(take)})").fetchall()
        except duckdb.Error as error:
            raise StoreError(
                f"{root}: the catalogue's server cannot be used: {first_line(error)}"
            ) from error
        yield
        server.execute("ROLLBACK")


def write(root: Path, attempt: Callable[[duckdb.DuckDBPyConnection], Made]) -> Made:
    """What `attempt` gives, called with the lake open for writing; StoreError where it fails.

    Called again where another program wrote to the lake in between.
    """
    try:
        with committing(root):
            return _until_done(root, attempt)
    except OSError as error:
        raise _not_committed(root, error) from error


def _until_done(root: Path, attempt: Callable[[duckdb.DuckDBPyConnection], Made]) -> Made:
    for number in range(ATTEMPTS):
        try:
            with closing(open_lake(root, writable=True)) as lake:
                return attempt(lake)
        except (duckdb.Error, Overtaken) as error:
            if not _may_pass(error):
                raise _not_committed(root, error) from error
        time.sleep(0.05 * 2**number)
    raise StoreError(f"{root}: other programs kept writing to these tables: run again")


def _may_pass(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, Overtaken) or "locked" in text or "conflict" in text


def _not_committed(root: Path, error: Exception) -> StoreError:
    if is_disk_full(error):
        return StoreError(
            f"{root}: not committed, the disk is full: the tables are as they were; free some "
            "space and run again"
        )
    reason = first_line(error) if isinstance(error, duckdb.Error) else str(error)
    return StoreError(f"{root}: not committed: {reason}")


def is_disk_full(error: Exception) -> bool:
    return any(sign in str(error).lower() for sign in FULL)


@contextmanager
def transaction(lake: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of it or nothing."""
    lake.execute("BEGIN")
    try:
        yield
        lake.execute("COMMIT")
    except BaseException:
        # An error may have ended the transaction, or have left the connection stuck in it.
        with suppress(duckdb.Error):
            lake.execute("ROLLBACK")
        raise
