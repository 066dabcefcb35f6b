"""Small files merged, old versions let go of, and what nothing needs deleted: labels stay."""

import multiprocessing
import os
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from small_tables import RECIPES, commit, entry_of, shard_tables, small_entry

from annotator.errors import StoreError
from annotator.parts import MANIFEST, find_part, write_part
from annotator.store import Store, compaction, lake, lake_files
from annotator.store.versions import describe_bookkeeping
from schemas.ids import recipe_id

NOW = timedelta()
EVERYTHING = ("images", "all_texts", "all_regions", "verdicts", "ledger")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Version 1 puts s0 and s1 in, 2 puts s2 in, 3 replaces s0."""
    store = Store.create_or_open(tmp_path_factory.mktemp("tables") / "three")
    commit(store, *(small_entry(store.root, f"s{i}", dropped=[1]) for i in range(2)))
    commit(store, small_entry(store.root, "s2"))
    commit(store, small_entry(store.root, "s0", "second", texts=["a fox"]))
    return store


@pytest.fixture
def store(three, tmp_path):
    """A copy with the links between parts and tables, as `cp -a` makes it."""
    inodes = {}

    def copy(source, target):
        first = inodes.setdefault(Path(source).stat().st_ino, target)
        if first == target:
            shutil.copyfile(source, target)
        else:
            os.link(first, target)

    shutil.copytree(three.root, tmp_path / "tables", copy_function=copy)
    return Store.create_or_open(tmp_path / "tables")


def answers(store):
    """What each version says of itself, and all its rows."""
    with closing(lake.connect()) as connection:
        return {v.number: _answer(store, connection, v) for v in store.versions()}


def _answer(store, connection, version):
    name = f"v{version.number}"
    store.attach(connection, name, version)
    rows = [connection.execute(f"FROM {name}.{t} ORDER BY ALL").fetchall() for t in EVERYTHING]
    return version.when, version.message, version.counts, version.extra["parent"], *rows


def files_of(store):
    found = {path for path in store.root.rglob("*") if path.is_file()}
    return {path for path in found if not path.name.startswith("catalog.sqlite-")}


def is_clean(found):
    return not any(found.by_reason().values())


def regions_of(store):
    with closing(lake.open_lake(store.root)) as connection:
        tables = lake_files.table_files(connection)
    [found] = [found for found in tables if found.table == "candidate_regions"]
    return found


def test_compaction_merges_small_files_and_changes_no_answer(store):
    before = answers(store)
    done = {each.before.table: each for each in store.compact()}
    assert answers(store) == before
    for table in ("images", "candidate_texts", "candidate_regions", "ledger"):
        was, now = done[table].before, done[table].after
        assert (was.files > 1, now.files, now.gone) == (True, 1, 0), table
        assert now.bytes < was.bytes, table
    assert done["candidate_regions"].after == regions_of(store)
    files = files_of(store)
    assert all(each.before == each.after for each in store.compact())
    assert files_of(store) == files, "nothing was left to do"


def test_rows_that_are_gone_leave_a_merged_file(store):
    """It holds many shards; replacing one of them only marks its rows."""
    store.compact()
    commit(store, small_entry(store.root, "s2", "second", texts=["a wolf"]))
    assert regions_of(store).gone == 6
    before = answers(store)
    store.compact()
    assert answers(store) == before
    after = regions_of(store)
    assert (after.files, after.rows, after.gone) == (1, 12, 0)


def test_compaction_that_stops_half_way_is_gone_on_with(store, monkeypatch):
    """Each time in another transaction; one file at a time is merged."""
    monkeypatch.setattr(compaction, "FILES_AT_ONCE", 1)
    before, calls = answers(store), []

    def stops(*arguments):
        calls.append(arguments)
        if len(calls) in (1, 3, 6):
            raise KeyboardInterrupt
        describe_bookkeeping(*arguments)

    monkeypatch.setattr(compaction, "describe_bookkeeping", stops)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            store.compact()
        assert answers(store) == before
    store.compact()
    assert regions_of(store).files == 1
    assert store.sweep(NOW).stray, "files that no transaction took in"
    assert answers(store) == before


def test_an_open_reader_goes_on_through_compaction_and_the_sweep(store):
    query = "FROM regions ORDER BY ALL"
    with closing(store.connect(1)) as old, closing(store.connect()) as latest:
        before = [reader.execute(query).fetchall() for reader in (old, latest)]
        store.compact()
        assert store.sweep(NOW).released
        assert [reader.execute(query).fetchall() for reader in (old, latest)] == before
        store.expire()
        assert latest.execute(query).fetchall() == before[1]
        with pytest.raises(duckdb.Error, match="No snapshot found at version"):
            old.execute(query)


def test_old_versions_go_and_the_others_answer_as_before(store):
    store.tag("gold", 1)
    before, second = answers(store), store.version(2)
    would = store.expire(dry_run=True)
    assert answers(store) == before
    done = store.expire()
    assert would == done
    assert [[v.number for v in each] for each in (done.expired, done.kept)] == [[2], [1, 3]]
    assert answers(store) == {number: before[number] for number in (1, 3)}
    with closing(lake.open_lake(store.root)) as connection:
        assert len(lake_files.scheduled(connection, store.root)) == done.files > 0
    [known] = store.expired_versions()
    assert replace(known, expired=None) == second
    assert known.expired > known.when
    for wanted in (2, "v2", second.when):
        with pytest.raises(StoreError, match=r"version 2 was expired on 20.* it has 1, 3, and"):
            store.connect(wanted)
    with pytest.raises(StoreError, match="no version 9: it has 1, 3"):
        store.version(9)
    store.remove_tag("gold")
    assert [v.number for v in store.expire().expired] == [1]
    assert [v.number for v in store.expired_versions()] == [1, 2]


@pytest.mark.parametrize(
    ("rule", "expired"),
    [
        ({}, [1, 2]),
        ({"keep_last": 2}, [1]),
        ({"keep_last": 9}, []),
        ({"older_than": timedelta(days=30)}, []),
        ({"older_than": "version 2"}, [1, 2]),
        ({"older_than": "version 1"}, [1]),
        ({"keep_last": 2, "older_than": "version 2"}, [1]),
    ],
)
def test_a_rule_says_which_versions_go(three, rule, expired, monkeypatch):
    now = datetime.now(UTC)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return now

    monkeypatch.setattr("annotator.store.expiry.datetime", Stopped)
    if isinstance(rule.get("older_than"), str):
        made = three.version(rule["older_than"][-1]).when
        rule = {**rule, "older_than": now - made - timedelta(microseconds=1)}
    assert [v.number for v in three.expire(**rule, dry_run=True).expired] == expired


def test_expiry_that_stops_half_way_has_not_happened(store, monkeypatch):
    def stops(*arguments):
        raise KeyboardInterrupt

    before = answers(store)
    with monkeypatch.context() as patch:
        patch.setattr("annotator.store.expiry.describe_bookkeeping", stops)
        with pytest.raises(KeyboardInterrupt):
            store.expire()
    assert (answers(store), store.expired_versions()) == (before, [])
    assert len(store.expire().expired) == 2


def test_commit_and_rollback_go_on_after_maintenance(store):
    before = answers(store)
    store.compact()
    store.expire(keep_last=2)
    store.sweep(NOW)
    assert store.roll_back(2) == 4
    assert commit(store, small_entry(store.root, "s1", "second", texts=["a wolf"])) == 5
    after = answers(store)
    assert (after[2], after[3], after[4][4:-1]) == (before[2], before[3], before[2][4:-1])


def disturb(store):
    """One thing for each way in which files are left over; reason → files."""
    link = store.root / "data/main/images/s9-0123.parquet"
    os.link(small_entry(store.root, "s9").files["images"], link)
    catalog = store.root / ".0123.sqlite-wal"
    catalog.write_bytes(b"half")
    unfinished = store.root / "parts/s1/third/0123"
    unfinished.mkdir(parents=True)
    (unfinished / "texts.parquet.tmp").write_bytes(b"half")
    (unfinished / "images.parquet").write_bytes(b"whole")
    measures = Path(small_entry(store.root, "s8").part) / "measures-1.json.tmp"
    measures.write_text("[")
    return {
        "released": set(),
        "stray": {link, catalog},
        "unfinished": {*unfinished.iterdir(), measures},
        "superseded": set(Path(small_entry(store.root, "s1").part).iterdir()),
        "uncommitted": set(),
    }


def test_each_kind_of_garbage_is_found_and_deleted(store):
    assert is_clean(store.find_garbage(NOW))
    before, files = answers(store), files_of(store)
    left = disturb(store)
    found = store.find_garbage(NOW)
    assert {name: set(map(Path, each)) for name, each in found.by_reason().items()} == left
    assert found.waiting == 2, "s8 and s9 are complete, and may be committed yet"
    young = store.sweep()
    assert is_clean(young)
    assert young.young == sum(map(len, left.values()))
    assert store.sweep(NOW) == found
    kept = {path for path in files_of(store) - files if path.parts[-4] in ("s8", "s9")}
    assert files_of(store) == files | kept
    assert not (store.root / "parts/s1/third/0123").exists()
    assert is_clean(store.find_garbage(NOW))
    assert answers(store) == before


def test_a_file_is_as_young_as_its_name(store):
    """A link's mtime is that of the part, which may be a year old."""
    killed = small_entry(store.root, "s9")
    os.utime(killed.files["images"], (1, 1))
    link = store.root / "data/main/images/s9-0123.parquet"
    os.link(killed.files["images"], link)
    assert store.find_garbage(timedelta(minutes=5)).stray == ()
    assert store.find_garbage(NOW).stray == (str(link),)


def test_complete_parts_that_no_version_took_in_go_only_when_one_says_so(store):
    waiting = small_entry(store.root, "s9")
    assert store.sweep(NOW).waiting == 1
    assert find_part(store.root / "parts", "s9", "first") is not None
    swept = store.sweep(NOW, uncommitted=True)
    expected = {*waiting.files.values(), Path(waiting.part) / MANIFEST}
    assert {Path(path) for path in swept.uncommitted} == expected
    assert find_part(store.root / "parts", "s9", "first") is None


def test_what_only_expired_versions_held_goes_with_its_parts(store):
    store.expire()
    found = store.find_garbage(NOW)
    assert {Path(path).parts[-4:-2] for path in found.superseded} == {("s0", "first")}
    gone = {Path(path) for path in (*found.released, *found.superseded)}
    assert found.bytes > 0
    files, before = files_of(store), answers(store)
    assert store.sweep(NOW) == found
    assert files - files_of(store) == gone
    assert answers(store) == before


def test_a_link_and_its_part_are_one_file_on_the_disk(tmp_path):
    first, second, third = (tmp_path / name for name in "abc")
    first.write_bytes(b"12345")
    os.link(first, second)
    third.write_bytes(b"123")
    names = [str(path) for path in (first, second, third, first)]
    assert lake_files.freed([*names, str(tmp_path / "gone")]) == 8
    assert lake_files.freed(names[1:3]) == 3


def test_candidates_stay_as_long_as_a_version_has_a_judgement_of_them(store):
    """Also those without a single row, of which the tables hold no file."""
    candidates = {"propose": "one"}
    judged = {"candidates": candidates, "judge": "two"}
    recipe, source = f"{recipe_id(judged)}-abc", f"{recipe_id(candidates)}-abc"
    nothing = shard_tables("s7", recipe, texts=[])
    write_part(store.root / "parts", "s7", source, nothing, url="", fingerprint={})
    images = shard_tables("s7", recipe, texts=["a dog"])["images"]
    entry = entry_of(store.root, "s7", recipe, {**nothing, "images": images})
    recipes = {recipe_id(judged): judged, recipe_id(candidates): candidates, **RECIPES}
    store.commit([entry], recipes=recipes, message="judged", extra={})
    assert is_clean(store.find_garbage(NOW, uncommitted=True))
    commit(store, small_entry(store.root, "s7", "second"))
    store.expire()
    gone = {Path(path).parts[-4:-2] for path in store.find_garbage(NOW).superseded}
    assert gone == {("s0", "first"), ("s7", recipe), ("s7", source)}


def test_a_sweep_that_is_killed_between_its_steps_is_gone_on_with(store, monkeypatch):
    store.expire()
    disturb(store)
    before, real, calls = answers(store), Path.unlink, []

    def stops(path, **options):
        calls.append(path)
        if len(calls) % 3 == 0:
            raise KeyboardInterrupt
        real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stops)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                store.sweep(NOW)
    for path in store.find_garbage(NOW).released[:2]:
        Path(path).unlink()
    store.sweep(NOW)
    assert is_clean(store.find_garbage(NOW))
    assert answers(store) == before


def test_nothing_is_swept_where_files_of_the_tables_are_missing(store):
    path = next((store.root / "data/main/images").iterdir())
    path.rename(store.root / "elsewhere")
    left = disturb(store)
    with pytest.raises(
        StoreError, match=r"1 of .* files of the tables are not where they should be"
    ):
        store.sweep(NOW)
    assert all(path.exists() for files in left.values() for path in files)


def maintain(root, ready):
    """What the child does that is killed."""
    store = Store.open(root)
    ready.set()
    store.compact()
    store.expire(keep_last=2)
    store.sweep(NOW)


@pytest.mark.slow
def test_maintenance_that_is_killed_leaves_tables_that_work(store):
    """Each time later; what was killed half-way is done by the next."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["annotator.store"])
    before = answers(store)
    for seconds in (0.2, 0.6, 1.2, 2.0, None):
        ready = context.Event()
        child = context.Process(target=maintain, args=(store.root, ready))
        child.start()
        assert ready.wait(60)
        child.join(seconds)
        child.kill()
        child.join()
        after = answers(store)
        assert after == {number: before[number] for number in after}
        assert list(after) in ([1, 2, 3], [2, 3])
    assert (child.exitcode, list(after)) == (0, [2, 3])
    assert regions_of(store).files == 1
    store.sweep(NOW)
    assert is_clean(store.find_garbage(NOW))
