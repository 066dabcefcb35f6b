"""Old versions that go by rule. What existed stays known: number, time, message and recipe.

Tagged versions stay, and so does the latest. Files that no other version needs are then for
`annotator gc`.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa

from annotator.store import catalog
from annotator.store.lake import LAKE
from annotator.store.lake_files import freed, needed_by_none, snapshot_numbers
from annotator.store.versions import EXPIRED, Version, all_versions, describe_bookkeeping
from annotator.store.writing import transaction, write

DAY = timedelta(days=1)
"""What is not needed any more stays so long for those who are reading it."""
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Expiry:
    """Versions that went, or would go, and those that stay.

    `files` and `bytes`: what no version needs any more, for `annotator gc` to delete.
    """

    expired: tuple[Version, ...]
    kept: tuple[Version, ...]
    files: int
    bytes: int


def expire(root: Path, keep_last: int, older_than: timedelta, *, dry_run: bool = False) -> Expiry:
    """Let go of versions that are not among the last ones, older than that, and not tagged.

    With them go the snapshots in which a kept version lay before it was tagged or compacted, a day
    after that.
    """
    return write(root, lambda lake: _attempt(lake, root, keep_last, older_than, dry_run))


def _attempt(
    lake: duckdb.DuckDBPyConnection,
    root: Path,
    keep_last: int,
    older_than: timedelta,
    dry_run: bool,
) -> Expiry:
    versions = all_versions(root)
    tagged = {number for (number,) in lake.execute("SELECT version FROM tags").fetchall()}
    now = datetime.now(UTC)
    expired = _by_rule(versions, tagged, keep_last, now - older_than)
    kept = [version for version in versions if version not in expired]
    there = snapshot_numbers(lake)
    needed = {there[-1], *(version.snapshot for version in kept), *_being_read(root, kept, now)}
    files = needed_by_none(lake, root, needed)
    freeing = freed(files)
    if not dry_run:
        _let_go(lake, root, expired, sorted(set(there) - needed), now)
    return Expiry(tuple(expired), tuple(kept), len(files), freeing)


def _being_read(root: Path, kept: Sequence[Version], now: datetime) -> set[int]:
    """Where a kept version lay until less than a day ago: who opened it then may read it yet."""
    numbers = {version.number for version in kept}
    return {
        found.snapshot
        for found, following in pairwise(catalog.snapshots(root))
        if found.extra.get("version") in numbers and following.when > now - DAY
    }


def _by_rule(
    versions: Sequence[Version], tagged: Collection[int], keep_last: int, until: datetime
) -> list[Version]:
    older = versions[: -max(keep_last, 1)]
    return [v for v in older if v.number not in tagged and v.when <= until]


def _let_go(
    lake: duckdb.DuckDBPyConnection,
    root: Path,
    expired: Sequence[Version],
    snapshots: Sequence[int],
    now: datetime,
) -> None:
    """One transaction for what is known of the versions and for the snapshots themselves."""
    if not snapshots:
        return
    with transaction(lake):
        if expired:
            _remember(lake, expired, now)
            describe_bookkeeping(lake, root, f"versions expired: {len(expired)}")
        lake.execute(f"CALL ducklake_expire_snapshots('{LAKE}', versions => {list(snapshots)})")


def _remember(lake: duckdb.DuckDBPyConnection, expired: Sequence[Version], now: datetime) -> None:
    """Times are microseconds since 1970."""
    lake.execute(
        f"CREATE TABLE IF NOT EXISTS {EXPIRED} (version INTEGER, snapshot BIGINT, "
        "committed BIGINT, message VARCHAR, extra VARCHAR, expired BIGINT)"
    )
    rows = [
        {
            "version": version.number,
            "snapshot": version.snapshot,
            "committed": _micros(version.when),
            "message": version.message,
            "extra": json.dumps(version.extra),
            "expired": _micros(now),
        }
        for version in expired
    ]
    lake.register("expired_rows", pa.Table.from_pylist(rows))
    lake.execute(f"INSERT INTO {EXPIRED} BY NAME FROM expired_rows")
    lake.unregister("expired_rows")


def _micros(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(microseconds=1)
