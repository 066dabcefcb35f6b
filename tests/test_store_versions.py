"""Versions by number, tag and time, and going back to one."""

import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from small_tables import commit, entry_of, shard_tables, small_entry

from annotator.errors import StoreError
from annotator.store import Store
from annotator.store.versions import _ranges
from schemas.annotations import table_of

MODEL = {"propose": [{"stage": "florence2", "model": {"digest": "sha256:abc"}}]}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """1: a dog in s0; 2: a red dog there, and s1; 3: s0 judged anew, from the same candidates."""
    store = Store.create_or_open(tmp_path_factory.mktemp("tables") / "three")
    commit(store, small_entry(store.root, "s0", texts=["a dog"]))
    red = small_entry(store.root, "s0", "second", texts=["a red dog"], boxes=[4])
    commit(store, red, small_entry(store.root, "s1"))
    judged = entry_of(
        store.root,
        "s0",
        "third",
        {"verdicts": shard_tables("s0", "third", dropped=[0])["verdicts"]},
    )
    again = {**red.files, "verdicts": judged.files["verdicts"]}
    rows = {**red.rows, "verdicts": judged.rows["verdicts"]}
    store.commit(
        [type(red)("s0", "third-c", again, rows, judged.part)],
        recipes={"third": MODEL},
        message="judged anew",
        extra={"run": "r3"},
    )
    return store


@pytest.fixture
def store(three, tmp_path):
    shutil.copytree(three.root, tmp_path / "tables")
    return Store.create_or_open(tmp_path / "tables")


def ask(store, sql, wanted=None):
    with closing(store.connect(wanted)) as connection:
        return connection.execute(sql).fetchall()


def everything(store, wanted=None):
    """All rows of the tables of `schemas.tables`."""
    with closing(store.connect(wanted)) as connection:
        return [
            connection.execute(f"FROM {table} ORDER BY ALL").fetchall()
            for table in ("images", "all_texts", "all_regions", "all_phrases", "verdicts")
        ]


def test_a_version_knows_its_parent_its_recipe_and_its_models(three):
    first, second, third = three.versions()
    assert [version.extra["parent"] for version in (first, second, third)] == [None, 1, 2]
    assert third.extra["recipes"] == ["third"]
    assert third.extra["models"] == ["sha256:abc"]
    assert second.extra["recipes"] == ["first", "second"]
    assert third.message == "judged anew"
    assert third.counts == {"images": 3, "texts": 3, "regions": 6, "phrases": 0}


def test_labels_of_the_same_file_are_left_alone_when_a_shard_is_judged_anew(three):
    files = "SELECT data_file FROM ducklake_list_files('lake', '{}') ORDER BY 1"
    candidates, verdicts = (files.format(t) for t in ("candidate_regions", "verdict_rows"))
    assert ask(three, candidates, 3) == ask(three, candidates, 2)
    assert ask(three, verdicts, 3) != ask(three, verdicts, 2)
    assert ask(three, "SELECT count(*) FROM regions WHERE shard = 's0'") == [(0,)]
    assert ask(three, "SELECT count(*) FROM regions WHERE shard = 's0'", 2) == [(1,)]


def test_a_version_is_found_by_number_tag_and_time(store):
    store.tag("gold", 2, note="checked by hand")
    second = store.version(2)
    assert store.version("2").number == store.version("v2").number == 2
    assert store.version("gold").number == 2
    assert store.version(second.when).number == 2
    assert store.version(second.when.isoformat()).number == 2
    assert store.version((second.when - timedelta(microseconds=1)).isoformat()).number == 1
    assert store.version(f"{datetime.now(UTC).astimezone():%Y-%m-%d}").number == 3
    assert ask(store, "SELECT text FROM texts WHERE shard = 's0'", "gold") == [("a red dog",)]
    assert ask(store, "SELECT name, version, note FROM tags") == [("gold", 2, "checked by hand")]


@pytest.mark.parametrize("unknown", ["9", "silver", "2001-01-31", "2001-01-31T10:00", "!", "0"])
def test_an_unknown_version_is_told_with_those_there_are(store, unknown):
    with pytest.raises(StoreError, match=f"no version {unknown}: it has 1 to 3"):
        store.version(unknown)


def test_tags_are_named_beside_the_versions(store):
    store.tag("gold", 2)
    with pytest.raises(StoreError, match="it has 1 to 3, and the tags gold"):
        store.version("silver")


def test_ranges_of_numbers_are_short():
    assert _ranges([1, 2, 3, 7, 9, 10]) == "1 to 3, 7, 9 to 10"


def test_a_tag_moves_only_when_it_is_told_to(store):
    store.tag("gold", 2)
    store.tag("gold", 2)
    with pytest.raises(StoreError, match="the tag gold is version 2 already: --move makes it 3"):
        store.tag("gold", 3)
    assert store.tags() == {"gold": 2}
    store.tag("gold", 3, move=True)
    assert store.tags() == {"gold": 3}
    store.remove_tag("gold")
    assert store.tags() == {}
    with pytest.raises(StoreError, match="there is no tag gold"):
        store.remove_tag("gold")
    assert [version.message for version in store.versions()] == ["a run", "a run", "judged anew"]


@pytest.mark.parametrize("name", ["3", "v3", "2026-01-31", "a b", "", "-x", "a/b"])
def test_a_name_that_could_be_something_else_is_no_tag(store, name):
    with pytest.raises(StoreError, match="cannot be a tag"):
        store.tag(name, 1)


@pytest.mark.parametrize("to", [1, 2])
def test_rolling_back_makes_a_new_version_that_is_equal(store, to):
    assert store.roll_back(to) == 4
    assert everything(store) == everything(store, to)
    assert everything(store, 3) != everything(store, to)
    latest = store.versions()[-1]
    assert (latest.message, latest.extra["equals"]) == (f"rolled back to version {to}", to)
    assert latest.counts == store.version(to).counts
    current = "SELECT shard, recipe, part FROM ledger WHERE state = 'current' ORDER BY 1"
    assert ask(store, current) == ask(store, current, to)
    assert store.roll_back(to) is None


def test_after_a_rollback_the_same_run_puts_its_shards_in_again(store):
    store.roll_back(1)
    again = small_entry(store.root, "s0", "second", texts=["a red dog"], boxes=[4])
    assert commit(store, again, small_entry(store.root, "s1")) == 5
    assert everything(store) == everything(store, 2)


def test_a_rollback_needs_no_parts(store):
    shutil.rmtree(store.root / "parts")
    assert store.roll_back(1) == 4
    assert ask(store, "SELECT text FROM texts") == [("a dog",)]


def test_a_table_that_became_empty_is_emptied(store):
    none = shard_tables("s0", "none", texts=["a red dog"], boxes=[])
    none["texts"] = table_of("texts", [])
    commit(store, entry_of(store.root, "s0", "none", none))
    assert ask(store, "SELECT count(*) FROM all_texts WHERE shard = 's0'") == [(0,)]
    assert ask(store, "SELECT count(*) FROM verdicts") == [(0,)]
    store.roll_back(3)
    assert everything(store) == everything(store, 3)
