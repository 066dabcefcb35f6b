"""Which files the lake gets for the shards of a run."""

import shutil
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_tables import commit, small_entry

from annotator.store import Store, gathering, incoming


@pytest.fixture
def store(tmp_path, empty_tables):
    shutil.copytree(empty_tables, tmp_path / "cells")
    return Store.create_or_open(tmp_path / "cells")


def lake_files(store, table):
    query = f"SELECT data_file FROM ducklake_list_files('lake', 'candidate_{table}') ORDER BY 1"
    with closing(store.connect()) as lake:
        return [Path(path) for (path,) in lake.execute(query).fetchall()]


def test_small_shards_are_written_together_in_their_order(store):
    commit(store, *(small_entry(store.root, f"s{i}", boxes=[i]) for i in range(5)))
    [file] = lake_files(store, "regions")
    table = pq.read_table(file)
    assert table["shard"].to_pylist() == [f"s{i}" for i in range(5) for _ in range(2)]
    assert table["x0"].to_pylist() == [float(i) for i in range(5) for _ in range(2)]


def test_a_file_that_gathers_is_full_at_some_point(store, monkeypatch):
    monkeypatch.setattr(gathering, "TOGETHER", 10)
    commit(store, *(small_entry(store.root, f"s{i}") for i in range(5)))
    assert sorted(pq.read_metadata(f).num_rows for f in lake_files(store, "regions")) == [6, 12, 12]
    assert len(lake_files(store, "texts")) == 1


def test_a_large_shard_is_linked_and_not_written_again(store, monkeypatch):
    monkeypatch.setattr(gathering, "LARGE", 6)
    large = small_entry(store.root, "s1")
    small = [small_entry(store.root, name, boxes=[1]) for name in ("s0", "s2")]
    commit(store, small[0], large, small[1])
    files = lake_files(store, "regions")
    assert sorted(pq.read_metadata(file).num_rows for file in files) == [4, 6]
    assert [file.samefile(large.files["regions"]) for file in files].count(True) == 1


def test_shards_that_were_written_together_are_replaced_one_by_one(store):
    commit(store, *(small_entry(store.root, f"s{i}") for i in range(3)))
    commit(store, small_entry(store.root, "s1", "second", boxes=[7]))
    query = "SELECT shard, count(*) FROM regions GROUP BY 1 ORDER BY 1"
    for version, counts in ((1, [6, 6, 6]), (2, [6, 2, 6])):
        with closing(store.connect(version)) as lake:
            found = lake.execute(query).fetchall()
        assert found == [(f"s{i}", count) for i, count in enumerate(counts)]


def test_shards_are_checked_and_counted_in_batches(store, monkeypatch):
    monkeypatch.setattr(incoming, "ROWS_AT_ONCE", 20)
    dropped = [small_entry(store.root, f"s{i}", dropped=[0]) for i in range(4)]
    commit(store, *dropped)
    [version] = store.versions()
    assert version.counts == {"images": 8, "texts": 8, "regions": 16, "phrases": 0}
