"""`annotator gc`, `compact` and `expire`: what they say, and what they need to be told."""

import json
import shutil
from datetime import timedelta

import click
import duckdb
import pytest
from click.testing import CliRunner
from small_tables import commit, small_entry

from annotator.cli import _mendable
from annotator.cli.maintenance import Age, compact, expire, gc
from annotator.cli.versions import log
from annotator.cli.words import in_bytes
from annotator.query import run_query
from annotator.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three versions of two shards; what a killed worker left; a part that waits for its commit."""
    store = Store.create_or_open(tmp_path_factory.mktemp("made") / "cells")
    for recipe in ("first", "second"):
        commit(store, *(small_entry(store.root, f"s{i}", recipe) for i in range(2)))
    commit(store, small_entry(store.root, "s2"))
    left = store.root / "parts/s0/third/0123"
    left.mkdir(parents=True)
    (left / "images.parquet").write_bytes(b"whole")
    small_entry(store.root, "s9")
    return store.root


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "tables" / "cells")


def invoke(command, *arguments, **options):
    words = [str(a) for a in arguments]
    return CliRunner().invoke(command, words, catch_exceptions=False, **options)


def test_gc_says_what_it_would_delete_and_deletes_only_when_told_to(folder):
    left = folder / "parts/s0/third/0123/images.parquet"
    young = invoke(gc, folder, "--dry-run")
    assert (young.stdout, young.stderr) == (
        "",
        "0 files would be deleted, 0 B freed; 1 file left as too young (--older-than); "
        "1 complete part left for a run to take in (--uncommitted)\n",
    )
    now = (folder, "--older-than", "0")
    looked = invoke(gc, *now, "--dry-run", "--files")
    assert looked.stdout.splitlines()[2:] == [
        "    1  unfinished  of a worker that did not end",
        str(left),
    ]
    assert looked.stderr.startswith("1 file would be deleted, 5 B freed; 1 complete part left")
    unsure = invoke(gc, *now)
    assert unsure.exit_code == 2
    assert "nothing was deleted: --yes deletes" in unsure.stderr
    assert left.exists()
    told = json.loads(invoke(gc, *now, "--json", "--yes").stdout)
    assert (told["deleted"], told["bytes"], told["files"]["unfinished"]) == (True, 5, [str(left)])
    assert not left.exists()
    assert invoke(gc, *now).stderr.startswith("0 files would be deleted")


def test_gc_asks_at_a_terminal(folder, monkeypatch):
    left = folder / "parts/s0/third/0123/images.parquet"
    terminal = type("Terminal", (), {"isatty": lambda self: True})()
    monkeypatch.setattr("annotator.cli.maintenance.sys", type("sys", (), {"stdin": terminal}))
    asked = invoke(gc, folder, "--older-than", "0", input="n\n")
    assert "delete them? [y/N]" in asked.stderr
    assert left.exists()
    done = invoke(gc, folder, "--older-than", "0", input="y\n")
    assert done.stderr.endswith(
        "1 file deleted, 5 B freed; 1 complete part left for a run to take in (--uncommitted)\n"
    )
    assert not left.exists()


def test_compact_says_what_became_of_each_table(folder):
    done = invoke(compact, "cells", "--store", folder.parent)
    assert done.stdout.split()[:5] == ["table", "files", "files_after", "bytes", "bytes_after"]
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[2:]}
    assert rows["images"][:2] == ["2", "1"]
    assert " files of " in done.stderr.partition(" became ")[2]
    done = invoke(compact, "cells", "--store", folder.parent)
    assert done.stderr.endswith("nothing to write together\n")
    again = json.loads(invoke(compact, "cells", "--store", folder.parent, "--json").stdout)
    assert [row for row in again if row["files"] != row["files_after"]] == []
    assert {row["table"]: row["files_after"] for row in again}["images"] == 1


def test_expire_names_the_versions_that_go_and_log_still_lists_them(folder):
    would = invoke(expire, folder, "--keep-last", 1, "--dry-run")
    assert would.stderr.startswith("2 versions would go, 1 stay; ")
    assert [line.split()[0] for line in would.stdout.splitlines()[2:]] == ["1", "2"]
    told = json.loads(invoke(expire, folder, "--keep-last", 1, "--json").stdout)
    assert (told["expired"], told["kept"], told["dry_run"]) == ([1, 2], [3], False)
    assert told["files"] > 0
    assert invoke(expire, folder, "--older-than", "0").stderr.startswith(
        "0 versions expired, 1 stay"
    )
    *_, third, second, _ = invoke(log, "--table", folder).stdout.splitlines()
    assert "(expired)" not in third
    assert second.endswith("(expired) a run")
    listed = json.loads(invoke(log, "--table", folder, "--json").stdout)
    assert [row["version"] for row in listed] == [3, 2, 1]
    assert [row["expired"] is None for row in listed] == [True, False, False]


def test_expire_needs_a_rule(folder):
    done = invoke(expire, folder)
    assert done.exit_code == 2
    assert "say which versions: --keep-last N, --older-than AGE, or both" in done.stderr


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("20s", timedelta(seconds=20)),
        ("0", timedelta()),
    ],
)
def test_an_age_is_a_number_with_its_unit(text, age):
    assert Age().convert(text, None, None) == age


@pytest.mark.parametrize("text", ["", "30", "-1d", "1w", "d", "1.5d", "999999d"])
def test_what_is_no_age_is_told_with_those_that_are(text):
    with pytest.raises(click.BadParameter, match="write 30d, 12h, 90m or 0"):
        Age().convert(text, None, None)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (35_000_000, "35.0 MB"),
        (5_400_000_000_000, "5.4 TB"),
        (10**19, "10,000.0 PB"),
    ],
)
def test_bytes_are_told_with_one_decimal(count, text):
    assert in_bytes(count) == text


def test_a_reader_whose_files_were_swept_is_told_to_open_the_tables_again(folder):
    """The command line gets DuckDB's own error; a query one of ours."""
    store = Store.open(folder)
    for path in (folder / "data/main/candidate_texts").iterdir():
        path.unlink()
    with store.connect() as connection, pytest.raises(duckdb.Error) as found:
        connection.execute("SELECT text FROM texts")
    sentence = "where `annotator expire` or `annotator gc` ran meanwhile, open the tables again"
    assert sentence in str(_mendable(found.value))
    with pytest.raises(Exception, match=sentence):
        run_query(store, "SELECT text FROM texts")
