import csv
import io
import json
import shutil
import time
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from small_tables import commit, small_entry

from annotator.cli.query import query, shell
from annotator.cli.tables import print_table
from annotator.cli.versions import _log_row, diff, log, rollback, tag
from annotator.errors import AnnotatorError, QueryError, StoreError
from annotator.store import Store, Version

COUNTED = ["images", "texts", "regions", "phrases"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    store = Store.create_or_open(folder / "cells")
    commit(store, small_entry(store.root, "s0", texts=["a dog"]))
    commit(store, small_entry(store.root, "s0", "second", texts=["a, b"], dropped=[0]))
    return folder


def invoke(command, *arguments, **options):
    words = [str(a) for a in arguments]
    return CliRunner().invoke(command, words, catch_exceptions=False, **options)


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


def test_rows_go_to_a_file_in_the_format_of_its_ending(folder, tmp_path):
    sql = "SELECT label_id, x0 FROM regions ORDER BY 1"
    for name in ("a.parquet", "a.csv", "a.json"):
        done = invoke(query, sql, "--store", folder, "--output", tmp_path / name)
        assert done.stdout == ""
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert rows == [{"label_id": f"s0/000/model/region/{n}", "x0": float(n)} for n in (1, 2)]
    assert json.loads((tmp_path / "a.json").read_text()) == rows
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "s0/000/model/region/1,1.0"


def test_a_query_that_fails_leaves_no_file_and_the_old_one_as_it_was(folder, tmp_path):
    output = tmp_path / "a.csv"
    output.write_text("before")
    with pytest.raises(QueryError):
        invoke(query, "SELECT text::INT FROM texts", "--store", folder, "--output", output)
    assert output.read_text() == "before"
    assert list(tmp_path.iterdir()) == [output]


def test_an_output_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path / "none" / "a.csv", tmp_path / "file" / "a.parquet"):
        with pytest.raises(AnnotatorError, match=rf"{output}: cannot be written \(.*--output"):
            invoke(query, "SELECT 1", "--store", folder, "--output", output)


def test_nothing_found_is_an_empty_table_in_every_format(folder):
    sql = ("SELECT text FROM texts WHERE false", "--store", folder, "--format")
    assert json.loads(invoke(query, *sql, "json").stdout) == []
    assert invoke(query, *sql, "csv").stdout == "text\n"
    assert invoke(query, *sql, "table").stdout == "text\n────\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--format", "parquet"], "needs --output FILE"),
        (["--output", "rows.xlsx"], "say its --format"),
        (["--format", "table", "--output", "x.csv"], "table is for reading"),
    ],
)
def test_a_format_that_does_not_fit_is_a_usage_error(folder, options, reason):
    done = invoke(query, "SELECT 1", "--store", folder, *options)
    assert done.exit_code == 2
    assert reason in done.stderr


def test_the_shell_answers_one_select_after_another(folder):
    typed = "SELECT text\nFROM texts;\n\nSELECT count(*) AS n FROM regions;\n.quit\nSELECT 1;"
    done = invoke(shell, "--store", folder, input=typed)
    assert done.stdout == "text\n────\na, b\nn\n─\n2\n"


def test_the_shell_writes_nothing(folder):
    with pytest.raises(QueryError, match="only one SELECT can be run here"):
        invoke(shell, "--store", folder, input="DROP VIEW texts;")


def test_log_lists_the_latest_version_first_and_says_how_duckdb_opens_it(folder):
    done = invoke(log, "--store", folder)
    header, _, second, first = done.stdout.splitlines()
    columns = ["version", "when", *COUNTED, "parent", "tags", "recipe", "model", "message"]
    assert header.split() == columns
    recipes = ["first,", "second"]
    assert second.split()[3:] == ["1", "1", "2", "0", "1", *recipes[1:], "a", "run"]
    assert first.split()[0] == "1"
    assert done.stderr == (
        "in DuckDB's own client: "
        f'duckdb "ducklake:sqlite:{folder.resolve()}/cells/catalog.sqlite"\n'
    )
    rows = json.loads(invoke(log, "--json", "--store", folder).stdout)
    assert [row["version"] for row in rows] == [2, 1]
    assert rows[0]["recipe"] == ["second"]


def test_a_version_is_tagged_and_gone_back_to(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "tables")
    store = ["--store", tmp_path / "tables"]
    assert invoke(tag, "gold", 1, *store).stderr == "gold is version 1\n"
    with pytest.raises(StoreError, match="the tag gold is version 1 already"):
        invoke(tag, "gold", *store)
    assert invoke(query, "SELECT text FROM texts", "--version", "gold", *store).stdout == (
        "text\n─────\na dog\n"
    )
    assert invoke(rollback, "gold", *store).stderr == "version 3 is equal to version gold\n"
    assert invoke(rollback, "gold", *store).stderr.startswith("nothing to do: version 3 is equal")
    assert invoke(tag, "gold", "--delete", *store).stderr == "tag gold removed\n"


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
    shown = [1, "2026-02-01 05:05:06", 2, None, None, None, None, "", "", "", "a run"]
    assert _log_row(version, []) == shown


def test_diff_counts_what_changed(folder):
    done = invoke(diff, 1, 2, "--store", folder)
    header, _, region, text = done.stdout.splitlines()
    assert header.split()[:8] == [
        "kind",
        "source",
        "category",
        "before",
        "after",
        "same",
        "added",
        "removed",
    ]
    assert region.split() == [
        "region",
        "model",
        "dog",
        "3",
        "2",
        "2",
        "0",
        "0",
        "0",
        "0",
        "0",
        "0",
        "1",
        "0",
    ]
    assert text.split() == [
        "text",
        "model",
        "brief",
        "1",
        "1",
        "0",
        "0",
        "0",
        "1",
        "0",
        "1",
        "0",
        "0",
        "0",
    ]
    told = json.loads(invoke(diff, 1, 2, "--json", "--rows", "--store", folder).stdout)
    assert told["counts"][0]["rejected"] == 1
    assert [row["change"] for row in told["rows"]] == ["rejected", "changed"]


def test_diff_shows_the_rows(folder):
    done = invoke(diff, 1, 2, "--rows", "--store", folder)
    rejected, relabelled = done.stdout.splitlines()[-2:]
    assert rejected.split()[:2] == ["rejected", "s0/000/model/region/0"]
    assert "a dog → a, b" in relabelled


def test_an_overlap_that_is_no_number_is_refused(folder):
    done = invoke(diff, 1, 2, "--min-iou", "nan", "--store", folder)
    assert done.exit_code == 2
    assert "nan is not in the range" in done.stderr


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
