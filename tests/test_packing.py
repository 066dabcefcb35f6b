"""Packing a folder of images and labels; what is packed reads back, here and in webdataset."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_expander

from annotator import packing
from annotator.cli.shards import shards as shards_command
from annotator.errors import ShardError
from annotator.packing import pack_folder
from annotator.shards import expand_shards, read_shard
from schemas.samples import Problem, Sample

VOC = "<annotation><object><name>{}</name></object></annotation>"


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), "red").save(path)
    return path


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def samples_of(output: Path) -> dict[str, dict[str, bytes]]:
    found = {}
    for ref in expand_shards(["*.tar"], output):
        for item in read_shard(ref):
            assert isinstance(item, Sample), item
            found[item.key] = dict(item.members)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.png", "sub/c.JPEG"):
        picture(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def test_images_are_packed_recursively_in_the_order_of_their_names(folder: Path, out: Path) -> None:
    summary = pack_folder(folder, out, samples_per_shard=2)
    assert [shard.name for shard in summary.shards] == ["photos-000000.tar", "photos-000001.tar"]
    assert summary.images == 3
    found = samples_of(out)
    assert list(found) == ["a", "b", "sub/c"]
    assert found["sub/c"] == {"jpeg": (folder / "sub/c.JPEG").read_bytes()}


def test_the_same_folder_makes_the_same_bytes(folder: Path, out: Path) -> None:
    (first,) = pack_folder(folder, out).shards
    before = first.read_bytes()
    for image in folder.rglob("*.*"):
        image.touch()
    (again,) = pack_folder(folder, out).shards
    assert (again, again.read_bytes()) == (first, before)


def test_names_with_dots_read_back_under_keys_of_their_own(tmp_path: Path, out: Path) -> None:
    for name in ("a.b.jpg", "a.c.jpg", "a_b.jpg", "v1.0/x.jpg", "z.jpg", "z.png", ".hidden.jpg"):
        picture(tmp_path / "photos" / name)
    pack_folder(tmp_path / "photos", out)
    assert {key: list(members) for key, members in samples_of(out).items()} == {
        "a_b": ["jpg"],
        "a_c": ["jpg"],
        "a_b-2": ["jpg"],
        "v1.0/x": ["jpg"],
        "z": ["jpg"],
        "z-2": ["png"],
    }


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("photos/a.xml", id="beside the image"),
        pytest.param("annotations/a.xml", id="in a folder annotations"),
        pytest.param("photos/labels/a.xml", id="in a folder within"),
    ],
)
def test_pascal_voc_files_are_found_and_go_in_unchanged(
    folder: Path, out: Path, place: str
) -> None:
    path = write(folder.parent / place, VOC.format("cat"))
    summary = pack_folder(folder, out)
    assert samples_of(out)["a"]["xml"] == path.read_bytes()
    assert (summary.labelled, summary.label_files) == (1, (path,))


def test_labels_elsewhere_are_named(folder: Path, out: Path) -> None:
    path = write(folder.parent / "far" / "a.xml", VOC.format("cat"))
    assert pack_folder(folder, out, labels=path.parent).label_files == (path,)
    assert pack_folder(folder, out, labels=path).label_files == (path,)


def test_of_images_with_one_name_the_label_goes_to_that_of_its_folder(
    tmp_path: Path, out: Path
) -> None:
    for split in ("train", "val"):
        picture(tmp_path / "photos" / split / "1.jpg")
        write(tmp_path / "annotations" / split / "1.xml", VOC.format(split))
    write(tmp_path / "annotations" / "1.xml", VOC.format("unclear"))
    summary = pack_folder(tmp_path / "photos", out)
    found = samples_of(out)
    assert b"train" in found["train/1"]["xml"]
    assert b"val" in found["val/1"]["xml"]
    assert [(Path(e.path).name, e.reason) for e in summary.left_out] == [
        ("1.xml", "2 images are named '1': which one is meant?")
    ]


def test_only_the_named_keys_are_packed_with_their_labels(folder: Path, out: Path) -> None:
    for name in ("a", "b"):
        write(folder / f"annotations/{name}.xml", VOC.format(name))
    coco = {
        "images": [{"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "sub/c.JPEG"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 1, 1]} for n in (1, 2)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    coco_path = write(folder / "annotations/all.json", coco)
    summary = pack_folder(folder, out, only=write(out.parent / "split.txt", "sub/c\r\n\n a\na\n"))
    found = samples_of(out)
    assert {key: sorted(members) for key, members in found.items()} == {
        "a": ["png", "xml"],
        "sub/c": ["coco.json", "jpeg"],
    }
    assert (summary.images, summary.labelled, summary.left_out) == (2, 2, ())
    assert summary.label_files == (folder / "annotations/a.xml", coco_path)


def test_a_selected_image_keeps_the_key_that_it_has_among_all(tmp_path: Path, out: Path) -> None:
    for name in ("z.jpg", "z.png"):
        picture(tmp_path / "photos" / name)
    pack_folder(tmp_path / "photos", out, only=write(tmp_path / "split.txt", "z-2"))
    assert {key: list(members) for key, members in samples_of(out).items()} == {"z-2": ["png"]}


def test_text_and_json_of_the_image_are_packed_with_it(folder: Path, out: Path) -> None:
    write(folder / "a.txt", "a red square")
    write(folder / "a.json", {"license": "CC0"})
    write(folder / "notes.txt", "of no image")
    summary = pack_folder(folder, out)
    assert samples_of(out)["a"]["txt"] == b"a red square"
    assert samples_of(out)["a"]["json"] == b'{"license": "CC0"}'
    assert (summary.labelled, summary.left_out) == (0, ())


BOX = {"id": 7, "image_id": 1, "category_id": 18, "bbox": [0, 0, 2, 2], "iscrowd": 0}
INSTANCES = {
    "images": [{"id": 1, "file_name": "b.jpg"}, {"id": 2, "file_name": "sub/c.JPEG"}],
    "annotations": [BOX, {**BOX, "id": 8, "category_id": 3}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 90, "name": "ox"}],
}


def test_coco_documents_are_split_into_one_small_document_per_image(
    folder: Path, out: Path
) -> None:
    write(folder / "instances.json", INSTANCES)
    summary = pack_folder(folder, out)
    found = samples_of(out)
    assert json.loads(found["b"]["coco.json"]) == {
        "images": [{"id": 1, "file_name": "b.jpg"}],
        "annotations": [BOX, {**BOX, "id": 8, "category_id": 3}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    assert json.loads(found["sub/c"]["coco.json"])["annotations"] == []
    assert "coco.json" not in found["a"]
    assert summary.labelled == 2


def test_captions_and_keypoints_join_the_boxes_of_their_image(folder: Path, out: Path) -> None:
    write(folder.parent / "instances.json", INSTANCES)
    caption = {"id": 7, "image_id": 55, "caption": "a dog"}
    write(
        folder.parent / "captions.json",
        {"images": [{"id": 55, "file_name": "b.jpg"}], "annotations": [caption]},
    )
    keypoints = {**BOX, "keypoints": [1, 1, 2]}
    write(
        folder.parent / "keypoints.json",
        {"images": [{"id": 1, "file_name": "b.jpg"}], "annotations": [keypoints]},
    )
    pack_folder(folder, out)
    document = json.loads(samples_of(out)["b"]["coco.json"])
    own = document["images"][0]["id"]
    assert sorted(document["annotations"], key=str) == sorted(
        [
            {"id": 7, "image_id": own, "caption": "a dog"},
            {**keypoints, "image_id": own},
            {**BOX, "id": 8, "category_id": 3, "image_id": own},
        ],
        key=str,
    )


def test_two_documents_may_use_one_category_id_for_two_things(folder: Path, out: Path) -> None:
    write(folder / "1.json", INSTANCES)
    other = {
        "images": [{"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"id": 1, "image_id": 9, "category_id": 18, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 18, "name": "lamp"}],
    }
    write(folder / "2.json", other)
    pack_folder(folder, out)
    document = json.loads(samples_of(out)["b"]["coco.json"])
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    assert [names[entry["category_id"]] for entry in document["annotations"]] == [
        "dog",
        "cat",
        "lamp",
    ]


def test_what_cannot_be_packed_is_left_out_with_the_reason(folder: Path, out: Path) -> None:
    write(folder / "gone.xml", VOC.format("cat"))
    write(folder / "list.json", [])
    write(folder / "broken.json", '{"images": [')
    write(folder / "sub" / "wave.GIF", "GIF89a")
    orphan = {**BOX, "image_id": 77}
    absent = {"id": 3, "file_name": "absent.jpg"}
    write(
        folder / "instances.json",
        {**INSTANCES, "images": [absent], "annotations": [{**BOX, "image_id": 3}, orphan]},
    )
    reasons = {(Path(entry.path).name, entry.reason) for entry in pack_folder(folder, out).left_out}
    assert reasons == {
        ("gone.xml", "no image is named 'gone'"),
        ("wave.GIF", "images are read as jpg, jpeg, png, webp, bmp, tif, tiff: convert it"),
        ("list.json", "no COCO document: it needs lists `images` and `annotations`"),
        ("broken.json", "broken JSON: Expecting value: line 1 column 13 (char 12)"),
        ("instances.json", "no image is named 'absent.jpg'; 1 annotation"),
        ("instances.json", "1 annotation of 1 image ids that it does not list"),
    }


def test_an_image_too_large_to_read_back_is_left_out(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "big.tiff").write_bytes(bytes(5000))
    monkeypatch.setattr(packing, "MAX_MEMBER_BYTES", 4999)
    summary = pack_folder(folder, out)
    assert summary.images == 3
    assert summary.left_out[0].reason == "5000 bytes, at most 4999 are read from a shard"


def _no_folder(folder: Path, out: Path) -> None:
    pack_folder(folder / "gone", out)


def _no_images(folder: Path, out: Path) -> None:
    out.mkdir()
    pack_folder(out, out)


def _no_labels(folder: Path, out: Path) -> None:
    pack_folder(folder, out, labels=folder / "gone")


def _bad_prefix(folder: Path, out: Path) -> None:
    pack_folder(folder, out, prefix="a/b")


def _no_samples(folder: Path, out: Path) -> None:
    pack_folder(folder, out, samples_per_shard=0)


def _output_is_a_file(folder: Path, out: Path) -> None:
    out.write_text("")
    pack_folder(folder, out)


def _longer_packing_before(folder: Path, out: Path) -> None:
    pack_folder(folder, out, samples_per_shard=1)
    pack_folder(folder, out, samples_per_shard=3)


def _only(keys: bytes | None) -> Callable[[Path, Path], None]:
    def pack(folder: Path, out: Path) -> None:
        split = folder / "split.txt"
        if keys is not None:
            split.write_bytes(keys)
        pack_folder(folder, out, only=split)

    return pack


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        pytest.param(_no_folder, "gone is no folder of images", id="no folder"),
        pytest.param(_no_images, r"holds no image \(jpg, jpeg, png", id="no images"),
        pytest.param(_no_labels, "there are no labels at .*gone", id="no labels"),
        pytest.param(_bad_prefix, "the prefix 'a/b' should be letters", id="a prefix with a slash"),
        pytest.param(_no_samples, "must be 1 or more, not 0", id="no samples per shard"),
        pytest.param(_output_is_a_file, "cannot be made: File exists", id="output is a file"),
        pytest.param(
            lambda folder, out: pack_folder(folder, out, labels=picture(folder / "l.jpg")),
            r"l.jpg is no label file: labels are Pascal VOC .xml or COCO .json",
            id="labels that are none",
        ),
        pytest.param(
            _only(b"a\nb.jpg\nc"),
            r"split.txt names 'b.jpg', which is no image of .*photos \(2 of 3 keys are not found\)"
            ": a key is the path below the folder without its extension",
            id="a key that is not there",
        ),
        pytest.param(_only(b"\n"), "split.txt names no key: write one per line", id="no key"),
        pytest.param(_only(None), "keys of .* cannot be read: No such file", id="no file of keys"),
        pytest.param(_only(b"\xff"), "cannot be read: it is no UTF-8 text", id="keys in bytes"),
        pytest.param(
            _longer_packing_before,
            "shards of an earlier packing that would remain, such as photos-000001.tar",
            id="an earlier packing",
        ),
    ],
)
def test_what_stops_packing_is_one_clear_sentence(
    folder: Path, out: Path, pack: Callable[[Path, Path], None], words: str
) -> None:
    with pytest.raises(ShardError, match=words):
        pack(folder, out)


def test_an_interrupted_packing_leaves_no_half_shard(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing.os, "fsync", full)
    with pytest.raises(ShardError, match="No space left on device"):
        pack_folder(folder, out)
    assert list(out.iterdir()) == []


def test_webdataset_reads_the_same_keys_and_bytes(folder: Path, out: Path) -> None:
    write(folder / "a.xml", VOC.format("cat"))
    write(folder / "b.txt", "words")
    write(folder / "instances.json", INSTANCES)
    (shard,) = pack_folder(folder, out).shards
    with shard.open("rb") as stream:
        files = tar_file_expander([{"url": str(shard), "stream": stream}])
        theirs = {
            sample["__key__"]: {s: content for s, content in sample.items() if s[:2] != "__"}
            for sample in group_by_keys(files)
        }
    assert theirs == samples_of(out)
    assert set(theirs["b"]) == {"jpg", "txt", "coco.json"}


NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\0\\"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(names=st.sets(NAME.filter(lambda name: not name.startswith(".")), min_size=1, max_size=4))
def test_any_file_name_reads_back(
    names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any") / "p"
    folder.mkdir()
    for number, name in enumerate(sorted(names)):
        (folder / f"{name}.jpg").write_bytes(bytes([number]))
    count = len(list(folder.iterdir()))
    summary = pack_folder(folder, folder / "out")
    items = [
        item
        for shard in summary.shards
        for item in read_shard(*expand_shards([str(shard)], folder))
    ]
    assert not [item for item in items if isinstance(item, Problem)]
    assert len({item.key for item in items}) == count


# --- the command line ----------------------------------------------------------------------------


def test_the_command_prints_shards_and_says_what_was_left_out(folder: Path, out: Path) -> None:
    write(folder / "gone.xml", VOC.format("cat"))
    result = CliRunner().invoke(shards_command, ["pack", str(folder), "--output", str(out)])
    assert result.exit_code == 0
    assert result.stdout == f"{out}/photos-000000.tar\n"
    assert result.stderr == (
        "3 images in 1 shard, 0 with labels from 0 label files\n"
        "left out: 1 entry\n"
        f"  {folder}/gone.xml: no image is named 'gone'\n"
    )


def test_the_command_packs_only_what_a_file_names(folder: Path, out: Path) -> None:
    split = write(out.parent / "split.txt", "a")
    arguments = ["pack", str(folder), "--only", str(split), "--output", str(out)]
    result = CliRunner().invoke(shards_command, arguments)
    assert result.exit_code == 0
    assert result.stderr == "1 image in 1 shard, 0 with labels from 0 label files\n"
    assert list(samples_of(out)) == ["a"]


def test_inspect_counts_and_names_problems(folder: Path, out: Path) -> None:
    (shard,) = pack_folder(folder, out).shards
    shard.write_bytes(shard.read_bytes()[:3072])
    result = CliRunner().invoke(shards_command, ["inspect", str(shard)])
    assert result.exit_code == 0
    assert f"{shard}: 2 samples, 2 images, 0.0 MB (jpg 1, png 1)\n" in result.stdout
    assert "  truncated: the shard is cut off" in result.stdout


def test_inspect_as_json_has_one_object_per_shard(folder: Path, out: Path) -> None:
    pack_folder(folder, out, samples_per_shard=2)
    result = CliRunner().invoke(shards_command, ["inspect", "--json", f"{out}/*.tar"])
    reports = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["name"], r["samples"], r["problems"]) for r in reports] == [
        ("photos-000000", 2, []),
        ("photos-000001", 1, []),
    ]


def test_inspect_goes_on_after_a_shard_that_is_none(folder: Path, out: Path) -> None:
    pack_folder(folder, out)
    (out / "html.tar").write_text("<html>")
    result = CliRunner().invoke(shards_command, ["inspect", f"{out}/*.tar"])
    assert "3 samples" in result.stdout
    assert isinstance(result.exception, ShardError)
    assert str(result.exception) == "1 of 2 shards cannot be read at all"
