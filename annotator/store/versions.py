"""Which versions there are, and the one that a number, a tag or a time stands for."""

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb

from annotator.errors import StoreError
from annotator.store import catalog
from annotator.store.lake import describe_commit, open_lake
from annotator.store.layout import LAYOUT

Wanted = int | str | datetime
"""A version's number, its tag, or a time: the version that was the latest then."""
_NUMBER = re.compile(r"v?([1-9]\d*)", re.IGNORECASE)
_TAG = re.compile(r"[^\W\d][\w.+-]*")
EXPIRED = "expired_versions"
"""The table of versions that are no longer there; the first expiry makes it."""


@dataclass(frozen=True)
class Version:
    """One commit. `counts`: images, and kept texts, regions and phrases, at that version.

    `snapshot` is the lake's last one in which the tables are as that version has them; it is gone
    where the version is `expired`.
    """

    number: int
    snapshot: int
    when: datetime
    message: str
    counts: Mapping[str, int]
    extra: Mapping[str, Any]
    expired: datetime | None = None

    @property
    def layout(self) -> int:
        return catalog.layout_of(self.extra)


def all_versions(root: Path) -> list[Version]:
    """From the first to the latest, without those that are expired."""
    latest: dict[int, Version] = {}
    for found in catalog.snapshots(root):
        if "version" not in found.extra:
            continue
        number, told = found.extra["version"], found.extra.get("told", {})
        when = datetime.fromisoformat(told["when"]) if told else found.when
        message = told.get("message", found.message)
        counts = found.extra["counts"]
        latest[number] = Version(number, found.snapshot, when, message, counts, found.extra)
    return list(latest.values())


def describe_bookkeeping(connection: duckdb.DuckDBPyConnection, root: Path, text: str) -> None:
    """Of an open transaction that changes no label: say again which version the tables are."""
    extra: dict[str, Any] = {}
    for version in all_versions(root)[-1:]:
        told = {"when": version.when.isoformat(), "message": version.message}
        extra = {**version.extra, "told": told}
    describe_commit(connection, text, extra)


def expired_versions(root: Path) -> list[Version]:
    """From the first to the latest: what is still known of versions that are no longer there."""
    if EXPIRED not in catalog.columns(root):
        return []
    with closing(open_lake(root)) as lake:
        return [_expired(*row) for row in lake.execute(f"FROM {EXPIRED} ORDER BY 1").fetchall()]


def _expired(
    number: int, snapshot: int, committed: int, message: str, extra: str, expired: int
) -> Version:
    told = json.loads(extra)
    when, until = _time(committed), _time(expired)
    return Version(number, snapshot, when, message, told["counts"], told, until)


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


def find_version(root: Path, wanted: Wanted) -> Version:
    """StoreError names those that there are, and says of an expired one that it is."""
    versions = all_versions(root)
    number = _number(root, wanted, versions)
    for known in versions:
        if known.number == number:
            return known
    for gone in expired_versions(root):
        if gone.number == number and gone.expired is not None:
            raise StoreError(
                f"{root}: version {number} was expired on {gone.expired.astimezone():%Y-%m-%d} and "
                f"can no longer be read: {_those_there(root, versions)}"
            )
    raise StoreError(f"{root}: no version {wanted}: {_those_there(root, versions)}")


def _number(root: Path, wanted: Wanted, versions: list[Version]) -> int | None:
    if isinstance(wanted, int):
        return wanted
    if isinstance(wanted, datetime):
        return _latest_at(root, wanted, versions)
    if number := _NUMBER.fullmatch(wanted):
        return int(number[1])
    if _TAG.fullmatch(wanted):
        return tags(root).get(wanted)
    try:
        return _latest_at(root, _end_of(wanted), versions)
    except ValueError:
        return None


def _end_of(text: str) -> datetime:
    """A time of ISO 8601; a date alone stands for the end of that day, by the local clock."""
    try:
        return datetime.combine(date.fromisoformat(text), time.max)
    except ValueError:
        return datetime.fromisoformat(text)


def _latest_at(root: Path, when: datetime, versions: list[Version]) -> int | None:
    """Of the expired ones too: another version than the latest at that time would be a lie."""
    until = when.astimezone()  # a time without a zone is the local clock's
    known = [*expired_versions(root), *versions]
    return max((v.number for v in known if v.when <= until), default=None)


def _those_there(root: Path, versions: list[Version]) -> str:
    if not versions:
        return "it has none yet"
    names = sorted(tags(root))
    tagged = f", and the tags {', '.join(names)}" if names else ""
    return f"it has {_ranges([version.number for version in versions])}{tagged}"


def _ranges(numbers: list[int]) -> str:
    """`[1, 2, 3, 7]` → `1 to 3, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def tags(root: Path) -> dict[str, int]:
    """Tag → the number of its version."""
    if catalog.made_by(root)["layout"] < LAYOUT:
        return {}
    with closing(open_lake(root)) as lake:
        return dict(lake.execute("SELECT name, version FROM tags ORDER BY 2, 1").fetchall())


def may_be_tag(name: str) -> bool:
    """Whether a name can neither be taken for a number nor for a time."""
    return bool(_TAG.fullmatch(name)) and not _NUMBER.fullmatch(name)
