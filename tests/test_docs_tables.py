"""What docs/tables.md shows is run as it stands there."""

import re
import shlex
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from small_tables import commit, small_entry

from annotator.cli.query import query
from annotator.query import run_query
from annotator.store import Store
from annotator.store.lake import LOCAL, _packaged
from annotator.store.place import place_of

TEXT = (Path(__file__).parent.parent / "docs" / "tables.md").read_text(encoding="utf-8")


COMMANDS = re.findall(r"^    annotator query (.*)$", TEXT, re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_page_shows_something_to_run():
    assert blocks("python")
    assert blocks("sql")
    assert COMMANDS


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """`tables/demo` of a folder, with two versions; the second is tagged gold."""
    folder = tmp_path_factory.mktemp("docs")
    store = Store.create_or_open(folder / "tables" / "demo")
    commit(store, small_entry(store.root, "s0", texts=["a dog"]))
    commit(store, small_entry(store.root, "s0", "second", texts=["a red dog"], dropped=[0]))
    store.tag("gold", 2)
    return store


def with_packaged_extensions(code: str) -> str:
    """Here DuckDB has no network to install from."""
    for name in LOCAL:
        code = re.sub(rf"INSTALL {name}\b", f"LOAD '{_packaged(name)}'", code)
    return code


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split()[1])
def test_python_runs(demo, monkeypatch, code):
    for package in ("pandas", "polars"):
        if f"import {package}\n" in code:
            pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(demo.root.parent.parent)
    *statements, last = with_packaged_extensions(code).strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(statements), names)  # noqa: S102 - our own documentation
    assert len(eval(last, names)) > 0
    if isinstance(connection := names.get("connection"), duckdb.DuckDBPyConnection):
        connection.close()


def test_sql_runs(demo):
    found = [run_query(demo, code).to_pylist() for code in blocks("sql")]
    assert found[0] == [{"before": "a dog", "after": "a red dog"}]
    assert len(found[1]) == 2


def test_a_plain_client_travels(demo):
    [code] = blocks("plain")
    versions, then, changes = code.strip().split(";\n")
    with closing(duckdb.connect()) as plain:
        for name in LOCAL:
            plain.execute(f"LOAD '{_packaged(name)}'")
        plain.execute(f"ATTACH 'ducklake:sqlite:{demo.root}/catalog.sqlite' AS demo (READ_ONLY)")
        snapshots = plain.execute(versions).fetchall()
        first, second = (max(s for s, v in snapshots if v == str(n)) for n in (1, 2))
        assert len(plain.execute(then.replace("5", str(first))).fetchall()) == 3
        told = plain.execute(changes.replace("5, 6", f"{first + 1}, {second}")).fetchall()
    assert len(told) == 6


def test_the_place_that_is_shown_can_be_followed(tmp_path):
    [said] = blocks("json")
    (tmp_path / "place.json").write_text(said)
    assert place_of(tmp_path).is_shared
    assert place_of(tmp_path).is_remote


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(demo, monkeypatch, command):
    monkeypatch.chdir(demo.root.parent.parent)
    done = CliRunner().invoke(query, [*shlex.split(command), "--table", str(demo.root)])
    assert done.exit_code == 0, done.output
