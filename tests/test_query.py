import sqlite3
from contextlib import closing

import pytest
from small_tables import commit, small_entry

from annotator.errors import MissingDependency, QueryError, StoreError
from annotator.query import open_tables, run_query
from annotator.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Version 1: a dog; version 2: a red dog, and one region of the image rejected."""
    store = Store.create_or_open(tmp_path_factory.mktemp("tables") / "cells")
    commit(store, small_entry(store.root, "s0", texts=["a dog"]))
    commit(store, small_entry(store.root, "s0", "second", texts=["a red dog"], dropped=[0]))
    return store


def rows(store, sql, version=None):
    return run_query(store, sql, version).to_pylist()


def test_a_query_sees_the_latest_version(store):
    assert rows(store, "SELECT text FROM texts") == [{"text": "a red dog"}]


def test_a_query_sees_the_version_that_it_asks_for(store):
    assert rows(store, "SELECT text FROM texts", version=1) == [{"text": "a dog"}]


def test_one_query_joins_two_versions(store):
    sql = (
        "SELECT b.text AS before, a.text AS after FROM v1.texts b JOIN V2.texts a USING (label_id)"
    )
    assert rows(store, sql) == [{"before": "a dog", "after": "a red dog"}]


def test_views_of_a_named_version_use_its_own_verdicts(store):
    sql = "SELECT (SELECT count(*) FROM v1.regions) AS a, (SELECT count(*) FROM v2.regions) AS b"
    assert rows(store, sql) == [{"a": 3, "b": 2}]


def test_a_named_version_that_is_not_there_is_named(store):
    with pytest.raises(StoreError, match="no version 9: it has 1 to 2"):
        rows(store, "FROM v9.texts")


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        pytest.param("FROM regions SELECT count(*) AS n", {"n": 2}, id="from first"),
        pytest.param("WITH a AS (SELECT 1 AS n) FROM a;", {"n": 1}, id="with"),
        pytest.param("VALUES (5)", {"col0": 5}, id="values"),
        pytest.param("SELECT filter FROM verdicts", {"filter": "filter_regions"}, id="verdicts"),
        pytest.param("SELECT sum(i) AS n FROM range(4) t(i)", {"n": 6}, id="range"),
        pytest.param("SELECT unnest([7, 8]) AS n", {"n": 7}, id="unnest"),
        pytest.param(
            "SELECT column_name FROM (DESCRIBE texts) LIMIT 1",
            {"column_name": "label_id"},
            id="describe",
        ),
    ],
)
def test_what_only_reads_is_run(store, sql, first):
    assert rows(store, sql)[0] == first


ONE_SELECT = "only one SELECT can be run here"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        pytest.param("COPY regions TO '{out}/x.csv'", ONE_SELECT, id="copy out"),
        pytest.param("COPY (SELECT 1) TO '/etc/x'", ONE_SELECT, id="copy to the system"),
        pytest.param("COPY regions FROM '/etc/passwd'", ONE_SELECT, id="copy in"),
        pytest.param("COPY regions TO '{data}/x.parquet'", ONE_SELECT, id="copy into the lake"),
        pytest.param("EXPLAIN ANALYZE COPY regions TO '{data}/x.csv'", ONE_SELECT, id="explain"),
        pytest.param("EXPORT DATABASE '{out}'", ONE_SELECT, id="export"),
        pytest.param("ATTACH '{out}/x.db'", ONE_SELECT, id="attach"),
        pytest.param("INSTALL httpfs", ONE_SELECT, id="install"),
        pytest.param("LOAD httpfs", ONE_SELECT, id="load"),
        pytest.param("SET enable_external_access = true", ONE_SELECT, id="set"),
        pytest.param("PRAGMA database_list", ONE_SELECT, id="pragma"),
        pytest.param("DELETE FROM all_texts", ONE_SELECT, id="delete"),
        pytest.param("INSERT INTO ledger (shard) VALUES ('x')", ONE_SELECT, id="insert"),
        pytest.param("CREATE TABLE mine (i INTEGER)", ONE_SELECT, id="create"),
        pytest.param("DROP VIEW texts", ONE_SELECT, id="drop"),
        pytest.param("CALL lake.set_option('x', 1)", ONE_SELECT, id="call"),
        pytest.param("SELECT 1; SELECT 2", ONE_SELECT, id="two"),
        pytest.param("SELECT 1; DROP VIEW texts", ONE_SELECT, id="one hides another"),
        pytest.param("", ONE_SELECT, id="nothing"),
        pytest.param("FROM read_csv('/etc/passwd')", r"read_csv\(\) is not open", id="read csv"),
        pytest.param("FROM READ_TEXT('/etc/passwd')", r"\(\) is not open", id="read text"),
        pytest.param("FROM read_blob('/etc/passwd')", r"\(\) is not open", id="read bytes"),
        pytest.param("FROM read_parquet('/x')", r"\(\) is not open", id="read Parquet"),
        pytest.param("FROM '/etc/passwd'", "does not exist", id="a file as a table"),
        pytest.param("FROM '/etc/passwd.csv'", "Permission Error", id="a CSV as a table"),
        pytest.param("FROM 'http://127.0.0.1/x.parquet'", "Permission Error", id="an address"),
        pytest.param("FROM 's3://bucket/x.parquet'", "Permission Error", id="on S3"),
        pytest.param("FROM duckdb_secrets()", r"\(\) is not open", id="secrets"),
        pytest.param("FROM pragma_database_list()", r"\(\) is not open", id="a pragma's rows"),
        pytest.param(
            "FROM __ducklake_metadata_lake.ducklake_metadata", "not open", id="the catalogue"
        ),
        pytest.param(
            'FROM "__DuckLake_metadata_v1".main.ducklake_metadata, v1.texts',
            "not open",
            id="the catalogue of a version",
        ),
        pytest.param("FROM glob('/etc/*')", r"glob\(\) is not open", id="list files"),
        pytest.param(
            "FROM sqlite_scan('{out}/other.sqlite', 'secrets')", "is not open", id="sqlite"
        ),
        pytest.param(
            "SELECT (SELECT s FROM sqlite_scan('{out}/other.sqlite', 'secrets'))",
            "is not open",
            id="sqlite deep inside",
        ),
        pytest.param("FROM query('FROM glob(''/etc/*'')')", "is not open", id="SQL in a string"),
        pytest.param("FROM lake.set_option('x', 1)", "is not open", id="what crashes DuckLake"),
        pytest.param(
            "FROM ducklake_cleanup_old_files('lake')", "is not open", id="what deletes files"
        ),
        pytest.param("FROM all_texts AT (VERSION => 1)", "write v3.regions", id="snapshot number"),
    ],
)
def test_what_would_write_or_reach_outside_is_refused(store, tmp_path, sql, reason):
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE secrets (s)")
    before = sorted(store.root.rglob("*"))
    with pytest.raises(QueryError, match=reason):
        run_query(store, sql.format(out=tmp_path, data=store.root / "data"))
    assert [path.name for path in tmp_path.iterdir()] == ["other.sqlite"]
    assert sorted(store.root.rglob("*")) == before


def test_variables_of_python_are_no_tables(store):
    texts_of_python = run_query(store, "FROM texts")
    assert len(texts_of_python) == 1
    with pytest.raises(QueryError, match="texts_of_python does not exist"):
        run_query(store, "FROM texts_of_python")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        pytest.param(
            "FROM textz",
            'Catalog Error: Table with name textz does not exist! Did you mean "texts"?',
            id="a table",
        ),
        pytest.param(
            "SELEC 1", 'Parser Error: syntax error at or near "SELEC"', id="a word of SQL"
        ),
        pytest.param(
            "SELECT text::INTEGER FROM texts",
            "Conversion Error: Could not convert string 'a red dog' to INT32 when casting from "
            "source column text",
            id="a value",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(store, sql, message):
    with pytest.raises(QueryError) as caught:
        run_query(store, sql)
    assert str(caught.value) == message


def test_changes_between_two_versions_are_rows(store):
    sql = "SELECT kind, change FROM changes({}) ORDER BY ALL"
    there = [{"kind": "region", "change": "rejected"}, {"kind": "text", "change": "changed"}]
    assert rows(store, sql.format("1, 'v2'")) == there
    back = f"SELECT (SELECT count(*) FROM changes(1, 2)) AS a, ({sql.format('2, 1')} LIMIT 1) AS b"
    back = back.replace("kind, change", "change")
    assert rows(store, back) == [{"a": 2, "b": "changed"}]


@pytest.mark.parametrize("arguments", ["1", "1, x", "1, 2, 3", "1, 1 + 1"])
def test_changes_needs_two_versions_that_are_written_out(store, arguments):
    with pytest.raises(QueryError, match=r"changes\(\) takes two versions"):
        rows(store, f"FROM changes({arguments})")


def test_tables_open_in_python_at_any_version(store):
    tables = open_tables(store.root)
    assert tables.texts().to_arrow()["text"].to_pylist() == ["a red dog"]
    assert tables.at(1).texts().to_arrow()["text"].to_pylist() == ["a dog"]
    assert len(tables.regions().to_arrow()) == 2
    assert len(tables.phrases().to_arrow()) == 0
    assert len(tables.images().to_arrow()) == 1
    assert tables.at(1).sql("SELECT count(*) AS n FROM regions").to_arrow().to_pylist() == [
        {"n": 3}
    ]
    assert [version.number for version in tables.versions()] == [1, 2]
    assert tables.at(tables.versions()[0].when).version == 1
    assert len(tables.captions().to_arrow()) == 1
    assert len(tables.triplets().to_arrow()) == 0
    with pytest.raises(StoreError, match="no version 3"):
        tables.at(3)


def test_a_data_frame_needs_pandas_and_says_so(store):
    rows = open_tables(store.root).texts()
    try:
        import pandas
    except ImportError:
        with pytest.raises(MissingDependency, match="pip install pandas"):
            rows.df()
    else:
        assert isinstance(rows.df(), pandas.DataFrame)
