import csv
import io
import json
import shutil
import time
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from small_tables import commit, small_entry

from annotator.cli.tables import _log_row, diff, log, print_table, query
from annotator.errors import StoreError
from annotator.store import Store, Version

COUNTED = ["images", "texts", "regions", "phrases"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    store = Store.create_or_open(folder / "cells")
    commit(store, small_entry(store.root, "s0", texts=["a dog"]))
    commit(store, small_entry(store.root, "s0", "second", texts=["a, b"], dropped=[0]))
    return folder


def invoke(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_the_only_table_is_the_default(folder):
    done = invoke(query, "SELECT text, score FROM texts", "--store", folder)
    assert done.stdout == "text  score\n────  ─────\na, b   NULL\n"


@pytest.mark.parametrize("by", ["name", "path"])
def test_a_table_is_found_by_name_or_by_path(folder, by):
    chosen = (
        ["--table", "cells", "--store", folder] if by == "name" else ["--table", folder / "cells"]
    )
    done = invoke(query, "SELECT text FROM texts", "--version", 1, *chosen)
    assert done.stdout == "text\n─────\na dog\n"


def test_csv_and_json_are_for_programs(folder):
    sql = "SELECT text, score, [1.5, 2] AS box, 'nan'::FLOAT AS bad, 1 AS text FROM texts"
    table = ["--table", folder / "cells"]
    lines = list(csv.reader(io.StringIO(invoke(query, sql, "--format", "csv", *table).stdout)))
    assert lines[1] == ["a, b", "", "[1.5, 2]", "nan", "1"]
    sql = "SELECT text, score, [1.5, 2] AS box, 'nan'::FLOAT AS bad, sum(3) AS total"
    sql += " FROM texts GROUP BY ALL"
    done = invoke(query, sql, "--format", "json", *table)
    assert json.loads(done.stdout) == [
        {"text": "a, b", "score": None, "box": [1.5, 2], "bad": None, "total": 3}
    ]


def test_json_keeps_two_columns_of_one_name(folder):
    done = invoke(query, "SELECT 1 AS a, 2 AS a, 3 AS a_1", "--format", "json", "--store", folder)
    assert json.loads(done.stdout) == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_log_lists_the_latest_version_first_and_says_how_duckdb_opens_it(folder):
    done = invoke(log, "--store", folder)
    header, _, second, first = done.stdout.splitlines()
    assert header.split() == ["version", "when", *COUNTED, "message"]
    assert second.split()[0] == "2"
    assert second.split()[3:] == ["1", "1", "2", "0", "a", "run"]
    assert first.split()[3:] == ["1", "1", "3", "0", "a", "run"]
    assert done.stderr == (
        "in DuckDB's own client: "
        f'duckdb "ducklake:sqlite:{folder.resolve()}/cells/catalog.sqlite"\n'
    )


@pytest.fixture
def in_tokyo(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_log_shows_the_time_of_the_reader_s_clock(in_tokyo):
    when = datetime(2026, 1, 31, 20, 5, 6, 789, tzinfo=UTC)
    version = Version(1, 7, when, "a run", {"images": 2}, {})
    assert _log_row(version) == [1, "2026-02-01 05:05:06", 2, None, None, None, "a run"]


def test_diff_counts_what_changed(folder):
    done = invoke(diff, 1, 2, "--store", folder)
    assert done.stdout.splitlines() == [
        "kind    source  group  in 1  in 2  same  added  removed",
        "──────  ──────  ─────  ────  ────  ────  ─────  ───────",
        "text    model   brief     1     1     0      1        1",
        "region  model   dog       3     2     2      0        1",
    ]
    rows = json.loads(invoke(diff, 1, 2, "--json", "--store", folder).stdout)
    assert rows[1] == {
        "kind": "region",
        "source": "model",
        "group": "dog",
        "before": 3,
        "after": 2,
        "same": 2,
        "added": 0,
        "removed": 1,
    }


def test_without_tables_or_with_several_the_user_is_told(empty_tables, tmp_path):
    with pytest.raises(StoreError, match="no tables here yet: `annotator run` makes them"):
        invoke(log, "--store", tmp_path)
    for name in ("one", "two"):
        shutil.copytree(empty_tables, tmp_path / name)
    with pytest.raises(StoreError, match="choose with --table one of one, two"):
        invoke(log, "--store", tmp_path)
    with pytest.raises(StoreError, match="three: no tables here"):
        invoke(log, "--store", tmp_path, "--table", "three")


def test_the_readable_format_cuts_long_values_and_aligns_numbers(capsys):
    print_table(["name", "n"], [["x" * 80, 5], ["two\nlines", 123.456789], [None, None]])
    assert capsys.readouterr().out.splitlines() == [
        "name" + " " * 58 + "      n",
        "─" * 60 + "  ───────",
        "x" * 59 + "…        5",
        "two lines" + " " * 51 + "  123.457",
        "NULL" + " " * 56 + "     NULL",
    ]


def test_the_readable_format_stops_and_says_how_to_see_the_rest(capsys):
    print_table(["n"], [[i] for i in range(1001)])
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1002
    assert printed.err == "1,000 of 1,001 rows; --format csv prints all\n"
