import hashlib
import json
import os
from pathlib import Path

import pytest

from annotator import shard_contents
from annotator.errors import ShardError
from annotator.packing import pack_folder
from annotator.shard_contents import Content, ShardContents
from annotator.shards import ShardRef, expand_shards, ref_of


@pytest.fixture
def shard(tmp_path: Path) -> ShardRef:
    """One that holds one image, last changed at a time that is known."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture, but packed as one")
    (path,) = pack_folder(tmp_path / "photos", tmp_path / "shards").shards
    os.utime(path, ns=(5, 5))
    return ref_of(str(path))


def test_a_local_shard_is_named_by_its_bytes_and_counted(shard: ShardRef, tmp_path: Path) -> None:
    found = ShardContents(tmp_path / "contents.json").of(shard)
    sha256 = hashlib.sha256(Path(shard.url).read_bytes()).hexdigest()
    assert found == Content({"size": 10240, "mtime_ns": 5}, sha256[:12], 1)


def test_what_is_known_is_not_read_again(
    shard: ShardRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = ShardContents(tmp_path / "made" / "contents.json")
    known = contents.of(shard)
    contents.save()
    monkeypatch.delattr(shard_contents, "shard_sha256")
    assert ShardContents(tmp_path / "made" / "contents.json").of(shard) == known


def test_a_shard_that_was_touched_is_looked_at_anew(shard: ShardRef, tmp_path: Path) -> None:
    contents = ShardContents(tmp_path / "contents.json")
    before = contents.of(shard)
    os.utime(shard.url, ns=(6, 6))
    assert contents.of(shard) == Content({"size": 10240, "mtime_ns": 6}, before.name, 1)


def test_drawn_scenes_are_counted_without_being_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.scenes.source.draw_scene", None)
    first, second = expand_shards(["scenes://40"], tmp_path)
    contents = ShardContents(tmp_path / "contents.json")
    assert (contents.of(first).images, contents.of(second).images) == (32, 8)
    assert contents.of(first).name != contents.of(second).name


def test_what_is_no_tar_is_left_to_the_worker_and_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("<html>404</html>")
    contents = ShardContents(tmp_path / "contents.json")
    assert contents.of(ref_of(str(tmp_path / "a.tar"))).images == 0
    with pytest.raises(ShardError, match=r"gone\.tar is not readable: No such file"):
        contents.of(ref_of(str(tmp_path / "gone.tar")))


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"size": 3}}'])
def test_a_broken_file_is_no_mishap(shard: ShardRef, tmp_path: Path, text: str) -> None:
    (tmp_path / "contents.json").write_text(text)
    assert ShardContents(tmp_path / "contents.json").of(shard).images == 1


def test_secrets_of_an_address_are_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_contents, "fingerprint", lambda ref: {"etag": "1"})
    contents = ShardContents(tmp_path / "contents.json")
    contents.of(ref_of("https://me:word@host/a-0.tar?signature=secret"))
    contents.save()
    assert list(json.loads((tmp_path / "contents.json").read_text())) == ["https://host/a-0.tar"]
