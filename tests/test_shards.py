"""Shards: names and addresses, and a reader that loses nothing in silence."""

import gzip
import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator import shards
from annotator.errors import ShardError
from annotator.shards import (
    ShardRef,
    expand_shards,
    fingerprint,
    inspect_shard,
    read_shard,
    ref_of,
    shard_sha256,
)
from schemas.samples import Problem, Sample

GOOD = [
    ("a.jpg", b"A" * 600),
    ("a.json", b'{"is":"a"}'),
    ("b.jpg", b"B" * 512),
    ("b.json", b'{"is":"b"}'),
]
A = ("a", {"jpg": b"A" * 600, "json": b'{"is":"a"}'})
B = ("b", {"jpg": b"B" * 512, "json": b'{"is":"b"}'})


def tar_bytes(members: list[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def read(content: bytes, path: Path) -> tuple[list[tuple[str, dict[str, bytes]]], list[Problem]]:
    path.write_bytes(content)
    items = list(read_shard(ref_of(str(path))))
    samples = [(s.key, dict(s.members)) for s in items if isinstance(s, Sample)]
    return samples, [p for p in items if isinstance(p, Problem)]


def kinds(problems: list[Problem]) -> list[str]:
    return [problem.kind for problem in problems]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return tmp_path / "s.tar"


# --- reading -------------------------------------------------------------------------------------


def test_members_with_one_key_are_one_sample(shard: Path) -> None:
    assert read(tar_bytes(GOOD), shard) == ([A, B], [])


def test_a_sample_knows_its_shard_and_its_address(shard: Path) -> None:
    shard.write_bytes(tar_bytes(GOOD))
    first = next(read_shard(ref_of(str(shard))))
    assert isinstance(first, Sample)
    assert (first.shard, first.url, first.image_id) == ("s", str(shard), "s/a")


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_longer_than_a_header_are_read_in_every_tar_format(shard: Path, format: int) -> None:
    name = "folder/" * 12 + "é" * 20
    samples, problems = read(tar_bytes([(f"{name}.jpg", b"x")], format), shard)
    assert (samples, problems) == ([(name, {"jpg": b"x"})], [])


@pytest.mark.parametrize(
    ("name", "key", "suffix"),
    [
        pytest.param("img.v1.JPG", "img", "v1.jpg", id="the key ends at the first dot"),
        pytest.param("./x/a.jpg", "x/a", "jpg", id="dot-slash is dropped"),
        pytest.param("v1.0/a.jpg", "v1.0/a", "jpg", id="a folder may have dots"),
        pytest.param("/abs/a.jpg", "abs/a", "jpg", id="absolute"),
        pytest.param("../../a.jpg", "__/__/a", "jpg", id="climbing"),
        pytest.param("Größe 1.PNG", "Größe 1", "png", id="letters and spaces"),
    ],
)
def test_keys_and_suffixes_are_webdatasets(shard: Path, name: str, key: str, suffix: str) -> None:
    assert read(tar_bytes([(name, b"x")]), shard) == ([(key, {suffix: b"x"})], [])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("README", "unusable_name", id="no dot"),
        pytest.param("x/.hidden", "unusable_name", id="hidden"),
        pytest.param("._a.jpg", "unusable_name", id="a resource fork"),
        pytest.param("a.", "unusable_name", id="nothing after the dot"),
        pytest.param("a.pkl", "pickle", id="pickle"),
        pytest.param("a.features.PTH", "pickle", id="a torch file"),
    ],
)
def test_an_unusable_member_is_named_and_costs_no_sample(shard: Path, name: str, kind: str) -> None:
    members = [*GOOD[:2], (name, b"junk"), *GOOD[2:]]
    samples, problems = read(tar_bytes(members), shard)
    assert samples == [A, B]
    assert kinds(problems) == [kind]
    assert problems[0].detail.startswith(f"{name}: ")


def test_links_are_set_aside_and_folders_are_not_worth_a_word(shard: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, type in [("x", tarfile.DIRTYPE), ("c.jpg", tarfile.SYMTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type, "/etc/passwd"
            archive.addfile(info)
    samples, problems = read(out.getvalue()[:1024] + tar_bytes(GOOD), shard)
    assert samples == [A, B]
    assert [(p.kind, p.key) for p in problems] == [("not_a_file", "c")]


def test_a_too_large_member_is_skipped_and_the_rest_is_read(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_MEMBER_BYTES", 700)
    samples, problems = read(tar_bytes([("a.tif", b"x" * 701), *GOOD]), shard)
    assert samples == [A, B]
    assert problems[0].detail == "a.tif: 701 bytes, at most 700 are read"


def test_a_sample_with_too_much_in_all_loses_only_what_is_over(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_SAMPLE_BYTES", 605)
    samples, problems = read(tar_bytes(GOOD), shard)
    assert samples == [("a", {"jpg": b"A" * 600}), B]
    assert [(p.kind, p.key) for p in problems] == [("too_large", "a")]


def test_of_two_equal_members_the_first_is_kept(shard: Path) -> None:
    members = [*GOOD[:2], ("a.JSON", b"second"), *GOOD[2:]]
    samples, problems = read(tar_bytes(members), shard)
    assert samples == [A, B]
    assert [(p.kind, p.key, p.payload) for p in problems] == [("duplicate_member", "a", "second")]


def test_a_key_that_comes_again_is_set_aside_with_its_text(shard: Path) -> None:
    again = [("a.jpg", b"other"), ("a.json", b"other text")]
    samples, problems = read(tar_bytes([*GOOD, *again]), shard)
    assert samples == [A, B]
    assert [(p.kind, p.key, p.payload) for p in problems] == [
        ("duplicate_key", "a", None),
        ("duplicate_key", "a", "other text"),
    ]


def test_sidecars_before_all_images_find_their_image(shard: Path) -> None:
    members = [GOOD[1], GOOD[3], GOOD[0], GOOD[2]]
    assert read(tar_bytes(members), shard) == ([A, B], [])


def test_images_before_all_sidecars_keep_the_sidecars_as_problems(shard: Path) -> None:
    members = [GOOD[0], GOOD[2], GOOD[1], GOOD[3]]
    samples, problems = read(tar_bytes(members), shard)
    assert samples == [("a", {"jpg": b"A" * 600}), ("b", {"jpg": b"B" * 512})]
    assert [p.payload for p in problems] == ['{"is":"a"}', '{"is":"b"}']
    assert "must stand together" in problems[0].detail


def test_a_sample_without_an_image_is_still_handed_out(shard: Path) -> None:
    assert read(tar_bytes([("c.json", b"{}"), *GOOD]), shard)[0] == [A, B, ("c", {"json": b"{}"})]


# --- damage --------------------------------------------------------------------------------------
# Offsets of tar_bytes(GOOD): a.jpg 0 (data 512..1112, padded to 1536), a.json 1536 (2048..2058, to
# 2560), b.jpg 2560 (3072..3584, no padding), b.json 3584 (4096..4106, to 4608), then zeros.


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param(513, [], id="inside the first member"),
        pytest.param(1200, [("a", {"jpg": b"A" * 600})], id="in the padding: the member is whole"),
        pytest.param(1536, [("a", {"jpg": b"A" * 600})], id="exactly after the first member"),
        pytest.param(1700, [("a", {"jpg": b"A" * 600})], id="inside a header"),
        pytest.param(2050, [("a", {"jpg": b"A" * 600})], id="inside a sidecar"),
        pytest.param(2560, [A], id="exactly between two samples"),
        pytest.param(3100, [A], id="inside the next image"),
        pytest.param(4608, [A, B], id="only the end is missing"),
        pytest.param(4700, [A, B], id="inside the first zero block"),
    ],
)
def test_a_cut_shard_yields_what_is_whole_and_says_so(
    shard: Path, size: int, expected: list[tuple[str, dict[str, bytes]]]
) -> None:
    samples, problems = read(tar_bytes(GOOD)[:size], shard)
    assert samples == expected
    assert kinds(problems) == ["truncated"]
    assert problems[0].detail.startswith("the shard is cut off")


def test_one_zero_block_is_end_enough(shard: Path) -> None:
    assert read(tar_bytes(GOOD)[:5120], shard) == ([A, B], [])


@settings(max_examples=150, deadline=None)
@given(size=st.integers(512, 4608))
def test_wherever_the_cut_is_no_whole_member_is_lost(
    size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    samples, problems = read(tar_bytes(GOOD)[:size], tmp_path_factory.mktemp("cut") / "s.tar")
    whole = [end for end in (1112, 2058, 3584, 4106) if end <= size]
    assert sum(len(members) for _, members in samples) == len(whole)
    assert kinds(problems) == ["truncated"]


@settings(max_examples=150, deadline=None)
@given(place=st.integers(512, 4607), value=st.integers(0, 255))
def test_a_flipped_byte_never_costs_the_samples_it_did_not_hit(
    place: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(tar_bytes(GOOD))
    content[place] = value
    samples, _ = read(bytes(content), tmp_path_factory.mktemp("flip") / "s.tar")
    assert (A if place >= 2560 else B) in samples


def test_a_broken_header_costs_its_member_only(shard: Path) -> None:
    content = bytearray(tar_bytes(GOOD))
    content[1536:1540] = b"????"
    samples, problems = read(bytes(content), shard)
    assert samples == [("a", {"jpg": b"A" * 600}), B]
    assert kinds(problems) == ["damaged"]
    assert "2 blocks of 512 bytes" in problems[0].detail


def test_two_tars_behind_one_another_are_both_read(shard: Path) -> None:
    samples, problems = read(tar_bytes(GOOD[:2]) + tar_bytes(GOOD[2:]), shard)
    assert samples == [A, B]
    assert kinds(problems) == ["data_after_end"]


def test_junk_behind_the_end_is_named(shard: Path) -> None:
    samples, problems = read(tar_bytes(GOOD) + b"j" * 1024, shard)
    assert samples == [A, B]
    assert kinds(problems) == ["damaged"]


def test_a_header_that_claims_a_huge_extension_is_not_read_into_memory(shard: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    samples, problems = read(info.tobuf(tarfile.USTAR_FORMAT) + tar_bytes(GOOD), shard)
    assert (samples, kinds(problems)) == ([A, B], ["damaged"])


def test_a_gzipped_shard_is_read_whatever_its_name(shard: Path) -> None:
    assert read(gzip.compress(tar_bytes(GOOD)), shard) == ([A, B], [])


def test_a_cut_gzip_yields_what_is_whole(shard: Path) -> None:
    zipped = gzip.compress(tar_bytes(GOOD), compresslevel=0)
    samples, problems = read(zipped[:3000], shard)
    assert samples == [A]
    assert kinds(problems) == ["truncated"]
    assert "compression is broken" in problems[0].detail


def test_a_wrong_gzip_checksum_is_named(shard: Path) -> None:
    zipped = bytearray(gzip.compress(tar_bytes(GOOD)))
    zipped[-6] ^= 1
    samples, problems = read(bytes(zipped), shard)
    assert samples == [A, B]
    assert kinds(problems) == ["truncated"]


def test_an_empty_but_valid_tar_is_no_error_and_is_named(shard: Path) -> None:
    samples, problems = read(tar_bytes([]), shard)
    assert (samples, kinds(problems)) == ([], ["no_samples"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty: 0 bytes", id="empty"),
        pytest.param(b"<!doctype html><html>" + b" " * 600, "a web page", id="html"),
        pytest.param(b"\xff\xd8\xff" * 400, "is no tar", id="a picture"),
        pytest.param(tar_bytes(GOOD)[:100], "is no tar", id="less than a header"),
    ],
)
def test_what_is_no_tar_at_all_is_one_clear_sentence(
    shard: Path, content: bytes, words: str
) -> None:
    with pytest.raises(ShardError, match=words):
        read(content, shard)


def test_a_missing_shard_is_a_shard_error(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"there is no shard at .*gone.tar"):
        next(read_shard(ref_of(str(tmp_path / "gone.tar"))))


def test_a_connection_that_breaks_is_no_truncated_shard(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise RuntimeError("connection reset")
            return super().read(1536)

    monkeypatch.setattr(shards, "open_stream", lambda ref: Breaking(tar_bytes(GOOD)))
    with pytest.raises(ShardError, match=r"connection reset.*run again"):
        list(read_shard(ShardRef("s3://b/s.tar", "s")))


# --- addresses -----------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for name in ("t-0.tar", "t-1.tar", "t-2.tar", "u.tar.gz", "v.tgz"):
        (tmp_path / name).write_bytes(tar_bytes(GOOD))
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        pytest.param(["t-{0..2}.tar"], ["t-0", "t-1", "t-2"], id="a brace range"),
        pytest.param(["t-{2,0}.tar"], ["t-2", "t-0"], id="a brace list keeps its order"),
        pytest.param(["t-*.tar"], ["t-0", "t-1", "t-2"], id="a glob is sorted"),
        pytest.param(["u.tar.gz", "v.tgz"], ["u", "v"], id="compressed"),
        pytest.param(["t-1.tar", "t-*.tar"], ["t-1", "t-0", "t-2"], id="each shard once"),
    ],
)
def test_patterns_expand_in_their_order(many: Path, patterns: list[str], names: list[str]) -> None:
    assert [ref.name for ref in expand_shards(patterns, many)] == names


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        pytest.param("gone.tar", "there is no shard at .*gone.tar", id="a missing file"),
        pytest.param("t-{1..3}.tar", "there is no shard at .*t-3.tar", id="one of a range"),
        pytest.param("x-*.tar", r"'x-\*.tar' matches no file", id="a glob"),
        pytest.param("t-{0..2.tar", "a brace without its partner", id="a broken brace"),
        pytest.param("t-{0..999999999999}.tar", "names over 1000000 shards", id="too many"),
        pytest.param("pipe:cat t-0.tar", "never through a shell", id="a shell"),
        pytest.param(".", "is a folder: name its shards", id="a folder"),
        pytest.param("nope://a.tar", "is not understood", id="an unknown scheme"),
        pytest.param("memory://nowhere/*.tar", "matches nothing", id="a remote glob"),
    ],
)
def test_a_pattern_that_finds_nothing_is_named(many: Path, pattern: str, words: str) -> None:
    with pytest.raises(ShardError, match=words):
        expand_shards([pattern], many)


def test_a_server_that_cannot_be_reached_is_named_without_its_password(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(ShardError) as caught:
        expand_shards(["ftp://me:secret@nowhere/a.tar"], many)
    assert str(caught.value) == (
        "the shard ftp://nowhere/a.tar cannot be reached: [Errno -2] Name or service not known"
    )


def test_two_shards_of_one_name_are_refused_by_both_addresses(many: Path) -> None:
    (many / "x").mkdir()
    (many / "x" / "t-0.tar").write_bytes(b"")
    with pytest.raises(ShardError, match=r"'t-0': .*/t-0\.tar and .*/x/t-0\.tar"):
        expand_shards(["t-0.tar", "x/t-0.tar"], many)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1]{b}.tar").write_bytes(tar_bytes(GOOD))
    assert [ref.name for ref in expand_shards(["a[1]{b}.tar"], tmp_path)] == ["a[1]{b}"]


def test_secrets_of_an_address_do_not_reach_the_tables() -> None:
    ref = ref_of("https://me:word@host:1/x/a-0.tar?signature=secret")
    assert (ref.name, ref.address) == ("a-0", "https://host:1/x/a-0.tar")


def test_shards_in_memory_are_found_and_read() -> None:
    with fsspec.open("memory://box/m-0.tar", "wb") as out:
        out.write(tar_bytes(GOOD))
    (ref,) = expand_shards(["memory://box/m-*.tar"], Path())
    assert ref.name == "m-0"
    assert [item.key for item in read_shard(ref)] == ["a", "b"]
    assert fingerprint(ref)["size"] == len(tar_bytes(GOOD))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(many: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(many))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_shards_are_read_over_http(web: str) -> None:
    refs = expand_shards([f"{web}/t-{{0..1}}.tar"], Path())
    assert [ref.name for ref in refs] == ["t-0", "t-1"]
    assert [item.key for item in read_shard(refs[1])] == ["a", "b"]


def test_a_web_server_without_the_shard_is_one_sentence(web: str) -> None:
    with pytest.raises(ShardError, match=r"there is no shard at http://.*/gone.tar"):
        list(read_shard(ref_of(f"{web}/gone.tar")))


def test_the_fingerprint_over_http_is_size_and_date(web: str) -> None:
    identity = fingerprint(ref_of(f"{web}/t-0.tar"))
    assert identity["size"] == len(tar_bytes(GOOD))
    assert identity["changed"].endswith("GMT")


def test_the_fingerprint_changes_with_the_file(many: Path) -> None:
    ref = ref_of(str(many / "t-0.tar"))
    before = fingerprint(ref)
    (many / "t-0.tar").write_bytes(tar_bytes(GOOD) + bytes(512))
    assert before["size"] != fingerprint(ref)["size"]
    assert set(before) == {"size", "mtime_ns"}


def test_the_sha256_is_that_of_the_file(shard: Path) -> None:
    shard.write_bytes(b"abc")
    assert shard_sha256(ref_of(str(shard))) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_inspecting_counts_what_is_there(shard: Path) -> None:
    shard.write_bytes(tar_bytes([*GOOD, ("c.json", b"{}"), ("README", b"")]))
    report = inspect_shard(ref_of(str(shard)))
    assert (report.samples, report.images, report.size) == (3, 2, 600 + 512 + 10 + 10 + 2)
    assert report.suffixes == {"jpg": 2, "json": 3}
    assert kinds(report.problems) == ["unusable_name"]
