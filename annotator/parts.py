"""Parts: the files that one attempt at a (shard, recipe) wrote. Immutable; the manifest is last.

`<root>/<shard>/<recipe>/<attempt>/`: one Parquet file per table that has rows, `manifest.json`.
"""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.tables import TABLES

logger = logging.getLogger(__name__)

PARTS = "parts"
"""The folder of a table store that holds them."""
MANIFEST = "manifest.json"
SET_ASIDE = "manifest.damaged.json"
"""Name of a damaged part's manifest: without a manifest its files are orphans."""
MAX_NAME = 120
"""Longest folder name in bytes; file systems stop at 255, and other names are made from it."""


class Manifest(BaseModel):
    """What an attempt made. `rows` names every table of the part, `files` those that have rows.

    `files` are names in the part's folder; `url` and `fingerprint` are of the shard.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard: str
    recipe: str
    url: str
    fingerprint: dict[str, Any]
    rows: dict[str, int]
    files: dict[str, str]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A complete part: its manifest is there, and so are its files."""

    folder: Path
    manifest: Manifest


def write_part(
    root: Path,
    shard: str,
    recipe: str,
    tables: Mapping[str, pa.Table],
    *,
    url: str,
    fingerprint: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
) -> Part:
    """Write any subset of the tables, rows in the order given; the part exists once this returns.

    KeyError for a table that `schemas.tables` does not know.
    """
    folder = _attempts(root, shard, recipe) / uuid.uuid4().hex
    folder.mkdir(parents=True)
    tables = {name: table.cast(TABLES[name]) for name, table in tables.items()}
    manifest = Manifest(
        shard=shard,
        recipe=recipe,
        url=url,
        fingerprint=dict(fingerprint),
        rows={name: len(table) for name, table in tables.items()},
        files={name: f"{name}.parquet" for name, table in tables.items() if len(table)},
        facts=dict(facts or {}),
    )
    for name, file in manifest.files.items():
        write_finished(folder / file, partial(_write_table, tables[name]))
    text = json.dumps(manifest.model_dump(mode="json"), indent=1)
    write_finished(folder / MANIFEST, lambda path: path.write_text(text))
    return Part(folder, manifest)


def find_part(root: Path, shard: str, recipe: str) -> Part | None:
    """The complete part of a (shard, recipe); of several the first by attempt name.

    A manifest whose files are missing or broken is passed over, with a warning in the log.
    """
    for manifest in sorted(_attempts(root, shard, recipe).glob(f"*/{MANIFEST}")):
        try:
            return _load_part(manifest)
        except (OSError, ValueError, ValidationError, pa.ArrowException) as error:
            logger.warning("%s: part ignored: %s", manifest.parent, error)
    return None


def read_part(part: Part) -> dict[str, pa.Table]:
    """Every table of the part, those without rows too, in the schemas of `schemas.tables`."""
    return {
        name: pq.read_table(part.folder / part.manifest.files[name], schema=TABLES[name])
        if name in part.manifest.files
        else TABLES[name].empty_table()
        for name in part.manifest.rows
    }


def find_tables(root: Path, shard: str, recipe: str) -> dict[str, pa.Table] | None:
    """What `read_part` gives of the first part that reads; damaged ones are set aside."""
    while (part := find_part(root, shard, recipe)) is not None:
        if (tables := read_or_set_aside(part)) is not None:
            return tables
    return None


def read_or_set_aside(part: Part) -> dict[str, pa.Table] | None:
    """What `read_part` gives; None for damaged data: the part is then one that never finished.

    Its files stay, and the log holds a warning.
    """
    try:
        return read_part(part)
    except (pa.ArrowException, OSError) as error:
        if not _is_damage(error):
            raise
        [reason, *_] = str(error).splitlines() or [type(error).__name__]
        logger.warning("%s: part set aside, its data are damaged: %s", part.folder, reason)
    with suppress(FileNotFoundError):  # another run met the same damage
        (part.folder / MANIFEST).replace(part.folder / SET_ASIDE)
    return None


def orphans(root: Path) -> list[Path]:
    """Files of attempts that never finished, or have not yet: a running worker's are among them."""
    return sorted(_orphans(root))


def folder_name(name: str) -> str:
    """A name as one folder: reversible for short names, a hash in place of a long one's end."""
    quoted = quote(name, safe=" ")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted) <= MAX_NAME:
        return quoted
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{quoted[: MAX_NAME - 17]}-{digest}"


def _attempts(root: Path, shard: str, recipe: str) -> Path:
    return root / folder_name(shard) / folder_name(recipe)


def _write_table(table: pa.Table, path: Path) -> None:
    """A third smaller than pyarrow's defaults: floats are split by byte, words are dictionaries."""
    words = [f.name for f in table.schema if pa.types.is_string(f.type)]
    floats = [f.name for f in table.schema if pa.types.is_floating(f.type)]
    pq.write_table(
        table, path, compression="zstd", use_dictionary=words, use_byte_stream_split=floats
    )


def write_finished(path: Path, write: Callable[[Path], Any]) -> None:
    """Whole or not at all, also when the machine loses power."""
    temporary = path.with_name(f"{path.name}.tmp")
    write(temporary)
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Once this returns, a file or a folder outlives the loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load_part(path: Path) -> Part:
    manifest = Manifest.model_validate_json(path.read_bytes())
    for name, file in manifest.files.items():
        rows = pq.read_metadata(path.parent / file).num_rows
        if rows != manifest.rows[name]:
            raise ValueError(f"{file} has {rows} rows, the manifest says {manifest.rows[name]}")
    return Part(path.parent, manifest)


def _is_damage(error: Exception) -> bool:
    """Arrow's complaints about bytes are OSErrors without a number; the system's have one."""
    if isinstance(error, OSError):
        return error.errno is None
    return not isinstance(error, MemoryError)


def _orphans(root: Path) -> Iterator[Path]:
    for attempt in root.glob("*/*/*/"):
        if not (attempt / MANIFEST).exists():
            yield from (path for path in attempt.iterdir() if path.is_file())
