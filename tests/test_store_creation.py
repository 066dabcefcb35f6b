"""Tables that are not there, that cannot be made, or that cannot be opened: one sentence each."""

import os
import shutil
from pathlib import Path

import pytest

from annotator.errors import MissingDependency, StoreError
from annotator.store import Store, creation, lake


@pytest.fixture
def store(tmp_path, empty_tables):
    return Store(shutil.copytree(empty_tables, tmp_path / "cells"))


def test_a_folder_without_tables_is_named(tmp_path):
    with pytest.raises(StoreError, match="no tables here: `annotator run` makes them"):
        Store.open(tmp_path / "none")


def test_a_place_where_no_folder_can_be_made_gets_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write tables here"):
        Store.create_or_open(tmp_path / "file" / "cells")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("denied", ["", "data", "parts", "catalog.sqlite"])
def test_a_place_without_write_permission_gets_one_sentence(store, monkeypatch, denied):
    real = os.access
    place = store.root / denied
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place and real(path, mode))
    with pytest.raises(StoreError, match=r"cannot write tables here \(Permission denied\)"):
        Store.create_or_open(store.root)


def test_a_catalogue_that_cannot_be_made_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(
        creation, "_definitions", lambda: ["CREATE TABLE a (i INTEGER)", "nonsense"]
    )
    with pytest.raises(StoreError, match="cannot make the tables"):
        Store.create_or_open(tmp_path / "cells")
    left = {path.name for path in (tmp_path / "cells").iterdir()}
    assert left == {"commit.lock", "data", "parts"}
    monkeypatch.undo()
    assert Store.create_or_open(tmp_path / "cells").versions() == []


def test_a_catalogue_that_is_none_gets_one_sentence(store):
    (store.root / "catalog.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="cannot be"):
        Store.open(store.root)
    with pytest.raises(StoreError, match="cannot be"):
        Store.create_or_open(store.root)


def test_a_missing_extension_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr(lake, "_packaged", lambda name: tmp_path / f"{name}.duckdb_extension")
    with pytest.raises(MissingDependency, match="pip install duckdb-extension-ducklake=="):
        lake.connect()
