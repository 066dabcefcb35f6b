"""A catalogue beside which nothing can be written: SQLite, in WAL mode, needs a file there."""

import os
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from annotator.store.place import Place


def for_reading(place: Place) -> Place:
    """The place itself, or one with a copy of its catalogue that goes when the process ends."""
    if place.is_shared:
        return place
    catalog = Path(place.database)
    beside = catalog.with_name(f"{catalog.name}-shm")
    if beside.exists() or not catalog.is_file() or os.access(catalog.parent, os.W_OK):
        return place
    return replace(place, catalog=f"sqlite:{_copy(catalog, catalog.stat().st_mtime_ns)}")


@cache
def _copy(catalog: Path, changed: int) -> Path:
    copy = Path(tempfile.mkdtemp(dir=_folder(os.getpid()).name)) / catalog.name
    for end in ("-wal", ""):
        if (part := catalog.with_name(f"{catalog.name}{end}")).is_file():
            shutil.copyfile(part, copy.with_name(part.name))
    return copy


@cache
def _folder(process: int) -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="annotator-catalogues-")
