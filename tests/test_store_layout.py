"""Views for people, and tables that an older or a newer annotator made."""

import shutil
from contextlib import closing

import pyarrow as pa
import pytest
from small_tables import commit, entry_of, shard_tables, small_entry

from annotator.errors import StoreError
from annotator.query import run_query
from annotator.store import Store, catalog, creation, lake, layout
from annotator.store.layout import STORED_IN, columns_of
from schemas import tables
from schemas.annotations import table_of
from schemas.tables import LABEL_TABLES, TABLES


def ask(store, sql, wanted=None):
    with closing(store.connect(wanted)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def store(tmp_path, empty_tables):
    shutil.copytree(empty_tables, tmp_path / "cells")
    return Store.create_or_open(tmp_path / "cells")


def phrase(label_no, text_no, region_no):
    row = {"image_id": "s0/000", "source": "model", "label_no": label_no, "shard": "s0"}
    row |= {"phrase": "a dog", "char_start": 0, "char_end": 5, "score": 0.5}
    row |= {"text_source": "model", "text_no": text_no}
    return {**row, "region_source": "model", "region_no": region_no}


def test_the_three_shapes_and_the_ids(store):
    """Three phrases: one whose region is rejected, one whose text is unknown, one that is whole."""
    made = shard_tables("s0", "first", texts=["a dog"], boxes=[0, 1], dropped=[1])
    alt = {"image_id": "s0/000", "source": "web", "label_no": 0, "shard": "s0", "level": "alt"}
    made["texts"] = table_of("texts", [*made["texts"].to_pylist(), {**alt, "text": "IMG_1"}])
    rows = [phrase(0, 0, 0), phrase(1, 0, 1), phrase(2, 7, 0)]
    made["phrases"] = table_of("phrases", rows)
    commit(store, entry_of(store.root, "s0", "first", made))
    assert ask(store, "SELECT text FROM captions") == [("a dog",)]
    assert ask(store, "SELECT count(*) FROM texts") == [(2,)]
    shown = "label_id, text_id, region_id, text, char_start, char_end, phrase, x0, x1, phrase_score"
    assert ask(store, f"SELECT {shown} FROM triplets") == [
        (
            "s0/000/model/phrase/0",
            "s0/000/model/text/0",
            "s0/000/model/region/0",
            *("a dog", 0, 5, "a dog", 0.0, 50.0, 0.5),
        )
    ]
    for kind, table in LABEL_TABLES.items():
        found = f"SELECT min(label_id) FROM all_{table} WHERE source = 'model'"
        assert ask(store, found) == [(f"s0/000/model/{kind}/0",)]
    assert ask(store, "SELECT label_id FROM verdicts") == [("s0/000/model/region/1",)]


def make_older(root):
    """A lake as the first release made it."""
    (root / "data").mkdir(parents=True)
    (root / "parts").mkdir()
    stored = STORED_IN[1]
    with pytest.MonkeyPatch.context() as patch:
        statements = [
            f"CREATE TABLE {stored[table]} ("
            + ", ".join(f'"{n}" {kind}' for n, kind in columns_of(table).items() if n != "detail")
            + ")"
            for table in TABLES
        ]
        statements += layout.BOOKKEEPING[:4]
        statements += [
            f"CREATE VIEW {t} AS SELECT l.image_id AS label_id, l.* FROM all_{t} l"
            for t in LABEL_TABLES.values()
        ]
        patch.setattr(creation, "_definitions", lambda: statements)
        patch.setattr(lake, "LAYOUT", 1)
        creation.create_lake(root)
        with closing(lake.open_lake(root, writable=True)) as connection:
            connection.execute("BEGIN")
            connection.execute(
                "INSERT INTO all_texts BY NAME SELECT 's0/000' AS image_id, 's0' AS shard, "
                "'model' AS source, 0 AS label_no, 'a dog' AS text, 'brief' AS level"
            )
            connection.execute(
                "INSERT INTO images BY NAME SELECT 's0/000' AS image_id, 's0' AS shard"
            )
            connection.execute(
                "INSERT INTO ledger BY NAME SELECT 's0' AS shard, 'first' AS recipe, 'current' AS "
                'state, \'parts/s0\' AS part, \'{"images":1,"texts":1,"kept":{"texts":1}}\' AS rows'
            )
            connection.execute("UPDATE store_state SET version = 1")
            extra = {"version": 1, "counts": {"images": 1, "texts": 1, "regions": 0, "phrases": 0}}
            lake.describe_commit(connection, "an old run", extra)
            connection.execute("COMMIT")


@pytest.fixture(scope="module")
def made_older(tmp_path_factory):
    root = tmp_path_factory.mktemp("older") / "cells"
    make_older(root)
    return root


@pytest.fixture
def older(made_older, tmp_path):
    shutil.copytree(made_older, tmp_path / "cells")
    return tmp_path / "cells"


def test_older_tables_are_read_with_today_s_views(older):
    store = Store.open(older)
    assert catalog.made_by(older)["layout"] == 1
    ids = "SELECT label_id, text FROM all_texts"
    assert ask(store, ids) == [("s0/000/model/text/0", "a dog")]
    assert run_query(store, "SELECT text FROM v1.captions").to_pylist() == [{"text": "a dog"}]
    assert store.tags() == {}
    with pytest.raises(StoreError, match="no version gold: it has 1"):
        store.version("gold")


def test_older_tables_are_brought_up_to_date_when_they_are_written(older):
    store = Store.create_or_open(older)
    assert catalog.made_by(older) == {"schema": tables.SCHEMA_VERSION, "layout": layout.LAYOUT}
    assert not creation.needs_upgrade(older)
    assert [(v.number, v.message) for v in store.versions()] == [(1, "an old run")]
    assert ask(store, "SELECT label_id, text FROM texts", 1) == [("s0/000/model/text/0", "a dog")]
    assert ask(store, "SELECT detail FROM verdicts") == []
    assert commit(store, small_entry(older, "s0", "second", texts=["a cat"], dropped=[0])) == 2
    assert ask(store, "SELECT text FROM texts") == [("a cat",)]
    assert store.tag("old", 1).number == 1
    assert store.roll_back("old") == 3
    assert ask(store, "SELECT text FROM texts") == [("a dog",)]
    assert commit(store, small_entry(older, "s0", "second", texts=["a cat"])) == 4


def test_a_new_column_or_table_is_added_to_older_tables(store, monkeypatch):
    commit(store, small_entry(store.root, "s0"))
    wider = TABLES["texts"].append(pa.field("style", pa.string()))
    ratings = pa.schema([("shard", pa.string()), ("stars", pa.int32())])
    monkeypatch.setitem(TABLES, "texts", wider)
    monkeypatch.setitem(TABLES, "ratings", ratings)
    monkeypatch.setitem(layout.STORED, "ratings", "ratings")
    assert creation.needs_upgrade(store.root)
    Store.create_or_open(store.root)
    assert ask(store, "SELECT DISTINCT style, text FROM texts ORDER BY 2") == [
        (None, "a cat"),
        (None, "a dog"),
    ]
    assert ask(store, "SELECT count(*) FROM ratings") == [(0,)]
    assert commit(store, small_entry(store.root, "s0", "second", texts=["a fox"])) == 2
    assert store.roll_back(1) == 3
    assert not creation.needs_upgrade(store.root)


@pytest.mark.parametrize("newer", ["schema", "layout"])
def test_newer_tables_are_refused(store, monkeypatch, newer):
    monkeypatch.setattr(lake, {"schema": "SCHEMA_VERSION", "layout": "LAYOUT"}[newer], 99)
    with closing(lake.open_lake(store.root, writable=True)) as connection:
        connection.execute("BEGIN")
        connection.execute("UPDATE store_state SET version = 0")
        lake.describe_commit(connection, "from the future", {})
        connection.execute("COMMIT")
    for opened in (Store.open, Store.create_or_open):
        with pytest.raises(
            StoreError, match=f"{newer} 99, this annotator knows .: install a newer"
        ):
            opened(store.root)


def test_tables_that_cannot_be_brought_up_to_date_are_refused(older, monkeypatch):
    monkeypatch.setattr(creation, "views", lambda: [("texts", "SELECT nonsense")])
    with pytest.raises(StoreError, match="of an older annotator and cannot be brought up to date"):
        Store.create_or_open(older)
    assert ask(Store.open(older), "SELECT text FROM texts") == [("a dog",)]
