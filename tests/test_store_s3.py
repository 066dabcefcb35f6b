"""Shards and tables on S3, against a server that speaks it and fails when it is told to."""

import io
import logging
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from small_tables import commit, small_entry

from annotator.errors import QueryError, ShardError, StoreError
from annotator.query import open_tables, run_query
from annotator.shards import expand_shards, fingerprint, read_shard
from annotator.store import Store
from annotator.store.lake import _packaged

moto = pytest.importorskip("moto.server", reason="the S3 server is not installed: pip install moto")
pytest.importorskip("s3fs", reason="S3 needs s3fs: pip install 'annotator[s3]'")
if _packaged("httpfs") is None:
    pytest.skip("no duckdb-extension-httpfs is installed", allow_module_level=True)


@dataclass
class Server:
    """moto behind a door that can say 500 instead."""

    address: str = ""
    failing: str = ""
    failures: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)

    def fail(self, method: str, times: int) -> None:
        self.failing, self.failures = method, times

    def door(self, app):
        def answer(environ, start_response):
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            self.requests.append((method, path))
            if self.failures and method == self.failing and not path.startswith("/moto-api"):
                self.failures -= 1
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
                return [b"out of order"]
            return app(environ, start_response)

        return answer


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    from werkzeug.serving import make_server

    server = Server()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = server.door(moto.DomainDispatcherApplication(moto.create_backend_app))
    listening = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    server.address = f"http://127.0.0.1:{listening.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.address)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        _filesystem().mkdir("bucket")
        yield server
    listening.shutdown()
    listening.server_close()


def _filesystem():
    import s3fs

    return s3fs.S3FileSystem(skip_instance_cache=True)


@pytest.fixture
def server(running):
    running.requests.clear()
    yield running
    running.fail("", 0)


@pytest.fixture
def store(server, tmp_path):
    """Its catalogue is in a local folder, its files on S3."""
    root = tmp_path / "cells"
    root.mkdir()
    (root / "place.json").write_text(f'{{"data": "s3://bucket/{tmp_path.name}"}}')
    return Store.create_or_open(root)


def regions(store, version=None):
    sql = "SELECT shard, recipe, count(*) AS n FROM all_regions GROUP BY ALL ORDER BY ALL"
    return [tuple(row.values()) for row in run_query(store, sql, version).to_pylist()]


def test_tables_on_s3_do_what_local_ones_do(store):
    assert (
        commit(store, *(small_entry(store.root, f"s{i}", texts=["a dog"]) for i in range(3))) == 1
    )
    second = small_entry(store.root, "s1", "second", texts=["a dog"], boxes=[0, 1], dropped=[1])
    assert commit(store, second) == 2
    assert commit(store, second) is None
    assert regions(store, 1) == [(f"s{i}", "first", 3) for i in range(3)]
    assert regions(store) == [("s0", "first", 3), ("s1", "second", 2), ("s2", "first", 3)]
    changes = store.diff(1, 2).rows.to_pylist()
    assert sorted(row["change"] for row in changes) == ["rejected", "removed"]
    assert store.roll_back(1) == 3
    assert regions(store) == regions(store, 1)
    store.tag("gold", 2)
    assert len(open_tables(store.root).at("gold").regions().to_arrow()) == 7
    assert Store.create_or_open(store.root).tags() == {"gold": 2}


def test_no_label_lies_in_the_local_folder(store, tmp_path):
    commit(store, small_entry(store.root, "s0"))
    assert not (store.root / "data").exists()
    listed = _filesystem().find(f"bucket/{tmp_path.name}/main/candidate_regions")
    assert len(listed) == 1


def test_two_commits_at_once_write_no_object_twice(store, server):
    entries = [small_entry(store.root, f"s{i}") for i in range(4)]
    given = [entries[:2], entries[1:], entries]
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda some: commit(store, *some), given))
    assert sorted(number for number in made if number) == list(range(1, len(store.versions()) + 1))
    assert regions(store) == [(f"s{i}", "first", 6) for i in range(4)]
    written = [path for method, path in server.requests if method == "PUT"]
    assert len(written) == len(set(written)) > 0


def test_a_server_that_stumbles_is_asked_again(store, server):
    server.fail("PUT", 2)
    assert commit(store, small_entry(store.root, "s0")) == 1
    assert server.failures == 0


def test_a_server_that_is_down_leaves_the_version_before(store, server):
    commit(store, small_entry(store.root, "s0"))
    server.fail("PUT", 1000)
    with pytest.raises(StoreError, match=r"not committed: HTTP Error: .* HTTP 500"):
        commit(store, small_entry(store.root, "s0", "second"), small_entry(store.root, "s1"))
    server.fail("", 0)
    assert regions(store) == [("s0", "first", 6)]
    assert (
        commit(store, small_entry(store.root, "s0", "second"), small_entry(store.root, "s1")) == 2
    )
    assert regions(store) == [("s0", "second", 6), ("s1", "first", 6)]


def test_a_query_reaches_no_other_object(store):
    commit(store, small_entry(store.root, "s0"))
    _filesystem().pipe("bucket/other.csv", b"secret\n1\n")
    for address in ("s3://bucket/other.csv", "http://127.0.0.1:1/other.csv"):
        with pytest.raises(QueryError, match="Permission Error"):
            run_query(store, f"FROM '{address}'")
    with pytest.raises(QueryError, match="is not open to queries"):
        run_query(store, "FROM duckdb_secrets()")


def test_missing_credentials_get_one_sentence(store, monkeypatch):
    from annotator.store import s3

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(store.root / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(store.root / "none"))
    s3._session.cache_clear()
    try:
        with pytest.raises(StoreError, match="no credentials for S3: set AWS_ACCESS_KEY_ID"):
            run_query(store, "FROM regions")
    finally:
        s3._session.cache_clear()


def tar_of(names: list[str]) -> bytes:
    out = io.BytesIO()
    image = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(image, "png")
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(image.getvalue())
            tar.addfile(member, io.BytesIO(image.getvalue()))
    return out.getvalue()


@pytest.fixture
def shards(server, tmp_path):
    for number in range(2):
        content = tar_of([f"{number}a", f"{number}b"])
        _filesystem().pipe(f"bucket/{tmp_path.name}/shard-{number}.tar", content)
    return f"s3://bucket/{tmp_path.name}"


@pytest.mark.parametrize("pattern", ["shard-*.tar", "shard-{0..1}.tar"])
def test_shards_are_read_from_s3(shards, pattern):
    refs = expand_shards([f"{shards}/{pattern}"], Path.cwd())
    keys = [sample.key for ref in refs for sample in read_shard(ref)]
    assert keys == ["0a", "0b", "1a", "1b"]
    prints = [fingerprint(ref) for ref in refs]
    assert prints[0] != prints[1]
    assert all("etag" in found for found in prints)


def test_reading_a_shard_outlives_a_server_that_stumbles(shards, server):
    [ref] = expand_shards([f"{shards}/shard-0.tar"], Path.cwd())
    server.fail("GET", 1)
    assert [sample.key for sample in read_shard(ref)] == ["0a", "0b"]
    assert server.failures == 0


def test_a_shard_that_is_not_there_is_named(shards):
    [ref] = expand_shards([f"{shards}/none.tar"], Path.cwd())
    with pytest.raises(ShardError, match=r"none\.tar"):
        list(read_shard(ref))
    with pytest.raises(ShardError, match=r"matches nothing"):
        expand_shards([f"{shards}/none-*.tar"], Path.cwd())


def test_a_shard_on_a_server_that_is_down_is_one_sentence(shards, server):
    [ref] = expand_shards([f"{shards}/shard-0.tar"], Path.cwd())
    server.fail("GET", 1000)
    with pytest.raises(
        ShardError, match=r"shard-0\.tar failed: .*Internal Server Error.*run again"
    ):
        list(read_shard(ref))


def test_maintenance_on_s3(store):
    """What no version needs is deleted there; what is not in the catalogue is left alone."""
    commit(store, small_entry(store.root, "s0"))
    commit(store, small_entry(store.root, "s1"))
    commit(store, small_entry(store.root, "s0", "second", texts=["a fox"]))
    before = run_query(store, "FROM all_regions ORDER BY ALL")
    store.compact()
    assert [version.number for version in store.expire().expired] == [1, 2]
    folder = store.data_folder().removeprefix("s3://")
    stray = f"{folder}main/images/of-others.parquet"
    _filesystem().touch(stray)
    there = set(_filesystem().find(folder))
    swept = store.sweep(timedelta())
    assert swept.released
    assert there - set(_filesystem().find(folder)) == {
        path.removeprefix("s3://") for path in swept.released
    }
    assert _filesystem().exists(stray)
    assert run_query(store, "FROM all_regions ORDER BY ALL") == before
