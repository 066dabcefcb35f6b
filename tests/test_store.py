import multiprocessing
import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from small_tables import commit, entry_of, shard_tables, small_entry

from annotator.errors import StoreError
from annotator.store import Store, lake, ledger, writing
from annotator.store.sql import quoted
from schemas.annotations import Annotations, kept_mask, table_of


@pytest.fixture
def store(tmp_path, empty_tables):
    shutil.copytree(empty_tables, tmp_path / "cells")
    return Store.create_or_open(tmp_path / "cells")


def ask(store, sql, version=None):
    with closing(store.connect(version)) as connection:
        return connection.execute(sql).fetchall()


def rows_of(store, version=None):
    """shard, recipe, texts, regions as the candidates tables have them."""
    return ask(
        store,
        "SELECT shard, t.recipe, t.n, r.n "
        "FROM (SELECT shard, recipe, count(*) AS n FROM all_texts GROUP BY ALL) t "
        "FULL JOIN (SELECT shard, recipe, count(*) AS n FROM all_regions GROUP BY ALL) r "
        "USING (shard, recipe) ORDER BY ALL",
        version,
    )


def ledger_of(store):
    return ask(store, "SELECT shard, recipe, state FROM ledger ORDER BY ALL")


def test_a_new_store_is_empty_and_has_no_version(store):
    assert store.versions() == []
    assert ask(store, "SELECT count(*) FROM regions") == [(0,)]


def test_a_commit_puts_all_tables_in_at_once(store):
    assert commit(store, small_entry(store.root, "s0"), small_entry(store.root, "s1")) == 1
    assert rows_of(store) == [("s0", "first", 2, 6), ("s1", "first", 2, 6)]
    assert ledger_of(store) == [("s0", "first", "current"), ("s1", "first", "current")]


def test_committing_the_same_again_changes_nothing(store):
    commit(store, small_entry(store.root, "s0"))
    assert commit(store, small_entry(store.root, "s0")) is None
    assert rows_of(store) == [("s0", "first", 2, 6)]
    assert [version.number for version in store.versions()] == [1]


def test_only_new_shards_are_put_in(store):
    commit(store, small_entry(store.root, "s0"))
    assert commit(store, small_entry(store.root, "s0"), small_entry(store.root, "s1")) == 2
    assert rows_of(store) == [("s0", "first", 2, 6), ("s1", "first", 2, 6)]


def test_another_recipe_replaces_the_rows_of_its_shards_only(store):
    commit(store, small_entry(store.root, "s0"), small_entry(store.root, "s1"))
    assert commit(store, small_entry(store.root, "s0", "second", boxes=[7])) == 2
    assert rows_of(store) == [("s0", "second", 2, 2), ("s1", "first", 2, 6)]
    assert ledger_of(store) == [
        ("s0", "first", "replaced"),
        ("s0", "second", "current"),
        ("s1", "first", "current"),
    ]


def test_a_recipe_can_come_back_from_the_same_part(store):
    first = small_entry(store.root, "s0")
    commit(store, first)
    commit(store, small_entry(store.root, "s0", "second", boxes=[7]))
    assert commit(store, first) == 3
    assert rows_of(store) == [("s0", "first", 2, 6)]
    assert ledger_of(store) == [("s0", "first", "current"), ("s0", "second", "replaced")]


def test_the_lake_never_owns_the_files_of_a_part(store):
    entry = small_entry(store.root, "s0")
    commit(store, entry)
    paths = ask(store, "SELECT data_file FROM ducklake_list_files('lake', 'candidate_texts')")
    assert len(paths) == 1
    taken = Path(paths[0][0])
    assert taken != entry.files["texts"]
    assert taken.parent == store.root / "data" / "main" / "candidate_texts"
    taken.unlink()
    assert entry.files["texts"].is_file()


def test_time_travel_shows_labels_as_they_were(store):
    commit(store, small_entry(store.root, "s0", texts=["a dog"]))
    commit(store, small_entry(store.root, "s0", "second", texts=["a red dog"]))
    assert ask(store, "SELECT text FROM texts", 1) == [("a dog",)]
    assert ask(store, "SELECT text FROM texts", 2) == [("a red dog",)]
    assert ask(store, "SELECT text FROM texts") == [("a red dog",)]


def test_views_hold_what_no_verdict_rejects(store):
    commit(store, small_entry(store.root, "s0", texts=["a dog"], dropped=[1]))
    assert ask(store, "SELECT label_id FROM regions ORDER BY 1") == [
        ("s0/000/model/region/0",),
        ("s0/000/model/region/2",),
    ]
    assert ask(store, "SELECT count(*) FROM all_regions") == [(3,)]


def test_views_agree_with_the_rule_in_memory(store):
    tables = shard_tables("s0", "first", dropped=[0, 2])
    commit(store, entry_of(store.root, "s0", "first", tables))
    stays = kept_mask(Annotations(**tables), "region")
    in_memory = tables["regions"].filter(pa.array(stays))
    expected = list(
        zip(in_memory["image_id"].to_pylist(), in_memory["label_no"].to_pylist(), strict=True)
    )
    assert ask(store, "SELECT image_id, label_no FROM regions ORDER BY ALL") == expected
    assert expected == [("s0/000", 1), ("s0/001", 1)]


def test_a_version_says_what_it_holds_and_where_it_is_from(store):
    commit(store, small_entry(store.root, "s0", dropped=[0]))
    commit(store, small_entry(store.root, "s1"))
    first, second = store.versions()
    assert (first.number, first.message, first.extra["run"]) == (1, "a run", "r1")
    assert first.counts == {"images": 2, "texts": 2, "regions": 4, "phrases": 0}
    assert second.counts == {"images": 4, "texts": 4, "regions": 10, "phrases": 0}
    assert first.when < second.when
    assert ask(store, "SELECT recipe, stages FROM recipes ORDER BY 1") == [
        ("first", '{"stage":"one"}'),
        ("second", '{"stage":"two"}'),
    ]


def test_an_unknown_version_is_named_with_those_there_are(store):
    with pytest.raises(StoreError, match="no version 1: it has none yet"):
        store.version(1)
    commit(store, small_entry(store.root, "s0"))
    with pytest.raises(StoreError, match="no version 7: it has 1"):
        store.connect(7)


def twice_the_same_label(root):
    tables = shard_tables("s0", "first", texts=["a dog"])
    doubled = table_of("texts", tables["texts"].to_pylist() * 2)
    return entry_of(root, "s0", "first", {**tables, "texts": doubled})


def a_label_of_another_shard(root):
    return entry_of(root, "s0", "first", shard_tables("s1", "first"))


def other_rows_than_promised(root):
    entry = small_entry(root, "s0")
    return replace(entry, rows={**entry.rows, "texts": 9})


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(twice_the_same_label, "s0/000/model/0 is in .* 2 times", id="a key twice"),
        pytest.param(a_label_of_another_shard, "holds rows of shard s1", id="another shard"),
        pytest.param(other_rows_than_promised, "has 2 rows, not 9", id="other rows"),
    ],
)
def test_a_part_that_is_not_what_it_says_is_refused_whole(store, broken, reason):
    with pytest.raises(StoreError, match=reason):
        commit(store, small_entry(store.root, "fine"), broken(store.root))
    assert store.versions() == []
    assert rows_of(store) == []


def test_two_shards_of_one_name_are_refused(store):
    with pytest.raises(StoreError, match="two shards of the run are called s0"):
        commit(store, small_entry(store.root, "s0"), small_entry(store.root, "s0", "second"))


def test_a_commit_that_fails_half_way_leaves_the_version_before(store, monkeypatch):
    commit(store, small_entry(store.root, "s0"))
    monkeypatch.setattr(ledger, "counts", lambda lake: lake.execute("SELECT nonsense"))
    with pytest.raises(StoreError, match="not committed: Binder Error"):
        commit(store, small_entry(store.root, "s0", "second"), small_entry(store.root, "s1"))
    monkeypatch.undo()
    assert rows_of(store) == [("s0", "first", 2, 6)]
    assert commit(store, small_entry(store.root, "s0", "second")) == 2
    assert rows_of(store) == [("s0", "second", 2, 6)]


def test_a_full_disk_gets_one_sentence_and_leaves_the_version_before(store, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    commit(store, small_entry(store.root, "s0"))
    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StoreError, match=r"not committed, the disk is full"):
        commit(store, small_entry(store.root, "s0", "second"))
    monkeypatch.undo()
    assert rows_of(store) == [("s0", "first", 2, 6)]
    assert commit(store, small_entry(store.root, "s0", "second")) == 2


def test_two_commits_at_once_both_land(store):
    entries = [small_entry(store.root, f"s{i}") for i in range(4)]
    with ThreadPoolExecutor(2) as pool:
        numbers = list(pool.map(lambda pair: commit(store, *pair), (entries[:2], entries[2:])))
    assert sorted(numbers) == [1, 2]
    assert [row[:2] for row in rows_of(store)] == [(f"s{i}", "first") for i in range(4)]


@pytest.mark.parametrize("shards", [("s0", "s0"), ("s0", "s1")], ids=["same", "different"])
def test_even_without_the_lock_no_two_commits_mix(store, monkeypatch, shards):
    """The lock is one defence, the claim in the ledger the other: here it stands alone."""
    monkeypatch.setattr(writing, "committing", lambda root: nullcontext())
    for turn in range(2):
        entries = [small_entry(store.root, f"{shard}-{turn}") for shard in shards]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda entry: commit(store, entry), entries))
    expected = [f"{shard}-{turn}" for shard in sorted(set(shards)) for turn in range(2)]
    assert rows_of(store) == [(shard, "first", 2, 6) for shard in expected]
    assert ledger_of(store) == [(shard, "first", "current") for shard in expected]
    numbers = [version.number for version in store.versions()]
    assert numbers == list(range(1, len(expected) + 1))


@pytest.mark.parametrize("already", [True, False])
def test_a_row_that_two_committers_seeded_is_claimed_once(store, already):
    entry = small_entry(store.root, "s0")
    if already:
        commit(store, small_entry(store.root, "s0"), small_entry(store.root, "s1"))
        entry = small_entry(store.root, "s0", "second")
    with closing(lake.open_lake(store.root, writable=True)) as writing_to:
        for recipe in ("first", "first", "second"):
            writing_to.execute(
                f"INSERT INTO ledger (shard, recipe, state) VALUES ('s0', '{recipe}', 'pending')"
            )
    number = commit(store, entry)
    assert commit(store, entry) is None
    assert commit(store, small_entry(store.root, "s0", "second")) in (number + 1, None)
    assert commit(store, small_entry(store.root, "s0", "first")) == store.latest().number
    seen = [row for row in ledger_of(store) if row[0] == "s0"]
    assert seen == [("s0", "first", "current"), ("s0", "second", "replaced")]


def commit_six(root, recipe, ready):
    """What the child does that is killed."""
    entries = [small_entry(root, f"s{i}", recipe) for i in range(6)]
    ready.set()
    commit(Store.open(root), *entries)


@contextmanager
def committing_child(store, recipe):
    """From a server that has the imports done, as they would take longer than the commit."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["annotator.parts", "annotator.store", "schemas.annotations"])
    ready = context.Event()
    child = context.Process(target=commit_six, args=(store.root, recipe, ready))
    child.start()
    assert ready.wait(60)
    yield child
    child.join()
    child.close()


@pytest.mark.slow
def test_a_killed_commit_leaves_all_of_it_or_nothing(store):
    commit(store, *(small_entry(store.root, f"s{i}", "r0") for i in range(6)))
    with committing_child(store, "r1") as child:
        started = time.perf_counter()
        child.join()
        whole = time.perf_counter() - started
        assert child.exitcode == 0
    landed = "r1"
    for kill in range(1, 9):
        with committing_child(store, f"r1{kill}") as child:
            time.sleep(whole * kill / 9)
            child.kill()
        rows, ledger = rows_of(store), ledger_of(store)
        recipe = rows[0][1]
        assert recipe in (landed, f"r1{kill}")
        assert rows == [(f"s{i}", recipe, 2, 6) for i in range(6)]
        current = [row[:2] for row in ledger if row[2] == "current"]
        assert current == [(f"s{i}", recipe) for i in range(6)]
        landed = recipe
    number = store.versions()[-1].number
    last = [small_entry(store.root, f"s{i}", "last") for i in range(6)]
    assert commit(store, *last) == number + 1
    assert rows_of(store) == [(f"s{i}", "last", 2, 6) for i in range(6)]


@pytest.fixture
def plain():
    """DuckDB's own client as far as it can be had offline: its extensions, and nothing of ours."""
    with closing(duckdb.connect()) as connection:
        for name in lake.LOCAL:
            connection.execute(f"LOAD {quoted(lake._packaged(name))}")
        yield connection


def test_a_plain_duckdb_reads_the_views_at_any_version(store, plain):
    commit(store, small_entry(store.root, "s0", dropped=[0]))
    commit(store, small_entry(store.root, "s1"))
    address = f"ducklake:sqlite:{store.root}/catalog.sqlite"
    assert store.plain_duckdb() == f'duckdb "{address}"'
    plain.execute(f"ATTACH '{address}' AS now")
    assert plain.execute("SELECT count(*) FROM now.regions").fetchall() == [(10,)]
    snapshot = store.version(1).snapshot
    plain.execute(f"ATTACH '{address}' AS old (SNAPSHOT_VERSION {snapshot})")
    plain.execute("USE old")
    assert plain.execute("SELECT count(*) FROM regions").fetchall() == [(4,)]
    assert plain.execute("SELECT min(label_id) FROM regions").fetchall() == [
        ("s0/000/model/region/1",)
    ]


def test_a_moved_folder_still_opens_and_is_mended_for_plain_duckdb(store, tmp_path, plain):
    commit(store, small_entry(store.root, "s0"))
    moved = Path(shutil.move(store.root, tmp_path / "moved"))
    assert rows_of(Store.open(moved)) == [("s0", "first", 2, 6)]
    assert "OVERRIDE_DATA_PATH true" in Store.open(moved).plain_duckdb()
    mended = Store.create_or_open(moved)
    assert mended.plain_duckdb() == f'duckdb "ducklake:sqlite:{moved}/catalog.sqlite"'
    plain.execute(f"ATTACH 'ducklake:sqlite:{moved}/catalog.sqlite' AS now")
    assert plain.execute("SELECT count(*) FROM now.regions").fetchall() == [(6,)]
    assert commit(mended, small_entry(moved, "s1")) == 2


def test_any_folder_name_will_do(tmp_path):
    store = Store.create_or_open(tmp_path / "it's a=b [x] *é")
    commit(store, small_entry(store.root, "it's shard=0 [*]"))
    commit(store, small_entry(store.root, "it's shard=0 [*]", "second", boxes=[3]))
    assert rows_of(store) == [("it's shard=0 [*]", "second", 2, 2)]


def test_rows_are_never_inlined_in_the_catalogue(store):
    commit(store, small_entry(store.root, "s0"))
    with closing(sqlite3.connect(store.root / "catalog.sqlite")) as catalog:
        query = "SELECT value FROM ducklake_metadata WHERE key = 'data_inlining_row_limit'"
        assert catalog.execute(query).fetchall() == [("0",)]
        assert catalog.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
