import errno
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_tables import shard_tables

from annotator.parts import (
    MANIFEST,
    find_part,
    find_tables,
    folder_name,
    orphans,
    read_part,
    write_part,
)
from schemas.annotations import table_of


def write(root, recipe="first", **options):
    tables = shard_tables("s0", recipe, **options)
    return write_part(
        root, "s0", recipe, tables, url="s0.tar", fingerprint={"size": 3}, facts={"seconds": 1.5}
    )


def test_a_part_is_read_back_as_it_was_written(tmp_path):
    written = write(tmp_path)
    found = find_part(tmp_path, "s0", "first")
    assert found == written
    assert read_part(found) == shard_tables("s0", "first")


def test_the_manifest_says_what_was_made_of_what(tmp_path):
    manifest = write(tmp_path).manifest
    assert manifest.model_dump() == {
        "shard": "s0",
        "recipe": "first",
        "url": "s0.tar",
        "fingerprint": {"size": 3},
        "rows": {
            "images": 2,
            "texts": 2,
            "regions": 6,
            "phrases": 0,
            "verdicts": 0,
            "problems": 0,
        },
        "files": {
            "images": "images.parquet",
            "texts": "texts.parquet",
            "regions": "regions.parquet",
        },
        "facts": {"seconds": 1.5},
    }


def test_a_part_may_hold_some_tables_only(tmp_path):
    tables = {"verdicts": table_of("verdicts", [])}
    part = write_part(tmp_path, "s0", "judged", tables, url="s0.tar", fingerprint={})
    assert read_part(part) == tables


def test_polygons_and_scores_keep_every_bit(tmp_path):
    regions = table_of(
        "regions",
        [
            {"image_id": "s/0", "points": [[0.1, 2.5, 3.3, 1e-7], [9.0, 8.0]], "score": 0.1},
            {"image_id": "s/0", "points": None, "score": None},
        ],
    )
    part = write_part(tmp_path, "s", "r", {"regions": regions}, url="s.tar", fingerprint={})
    assert read_part(part)["regions"] == regions


def test_an_unknown_table_is_refused(tmp_path):
    with pytest.raises(KeyError, match="labels"):
        write_part(
            tmp_path, "s0", "r", {"labels": pa.table({"a": [1]})}, url="s.tar", fingerprint={}
        )


def test_an_attempt_that_died_is_no_part_but_an_orphan(tmp_path):
    part = write(tmp_path)
    (part.folder / MANIFEST).unlink()
    assert find_part(tmp_path, "s0", "first") is None
    assert [path.name for path in orphans(tmp_path)] == [
        "images.parquet",
        "regions.parquet",
        "texts.parquet",
    ]


def test_a_complete_part_is_no_orphan(tmp_path):
    write(tmp_path)
    (tmp_path / "contents.json").write_text("{}")
    assert orphans(tmp_path) == []


def test_of_several_attempts_the_same_one_is_picked_again(tmp_path):
    folders = sorted(write(tmp_path).folder for _ in range(3))
    assert find_part(tmp_path, "s0", "first").folder == folders[0]


def test_another_recipe_is_another_part(tmp_path):
    write(tmp_path, "first")
    assert find_part(tmp_path, "s0", "second") is None


def lose_a_file(part):
    (part.folder / "texts.parquet").unlink()


def cut_a_file(part):
    path = part.folder / "texts.parquet"
    path.write_bytes(path.read_bytes()[:-10])


def swap_a_file(part):
    pq.write_table(
        shard_tables("s0", "first", texts=["one"])["texts"], part.folder / "texts.parquet"
    )


def spoil_the_manifest(part):
    (part.folder / MANIFEST).write_text("{")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lose_a_file, "texts.parquet", id="a file is gone"),
        pytest.param(cut_a_file, "Parquet", id="a file is cut"),
        pytest.param(swap_a_file, "has 1 rows, the manifest says 2", id="a file is another"),
        pytest.param(spoil_the_manifest, "JSON", id="the manifest is cut"),
    ],
)
def test_a_broken_part_is_passed_over_and_logged(tmp_path, caplog, spoil, reason):
    part = write(tmp_path)
    spoil(part)
    with caplog.at_level(logging.WARNING):
        assert find_part(tmp_path, "s0", "first") is None
    assert str(part.folder) in caplog.text
    assert reason in caplog.text
    again = write(tmp_path)
    assert find_part(tmp_path, "s0", "first") == again


def damage_the_data(part):
    """The footer stays, so that the part looks whole until it is read."""
    path = part.folder / "regions.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)


def test_a_part_whose_data_are_damaged_is_set_aside_and_its_files_stay(tmp_path, caplog):
    part = write(tmp_path)
    damage_the_data(part)
    assert find_part(tmp_path, "s0", "first") == part
    with caplog.at_level(logging.WARNING):
        assert find_tables(tmp_path, "s0", "first") is None
    assert f"{part.folder}: part set aside, its data are damaged" in caplog.text
    assert find_part(tmp_path, "s0", "first") is None
    assert part.folder / "regions.parquet" in orphans(tmp_path)


def test_of_several_attempts_one_that_reads_is_taken(tmp_path):
    first, second = sorted((write(tmp_path) for _ in range(2)), key=lambda part: part.folder)
    damage_the_data(first)
    assert find_tables(tmp_path, "s0", "first") == shard_tables("s0", "first")
    assert find_part(tmp_path, "s0", "first") == second


def test_a_file_that_the_system_cannot_read_now_is_no_damage(tmp_path, monkeypatch):
    part = write(tmp_path)

    def too_many_files(*_arguments, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(pq, "read_table", too_many_files)
    with pytest.raises(OSError, match="Too many open files"):
        find_tables(tmp_path, "s0", "first")
    assert find_part(tmp_path, "s0", "first") == part


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        pytest.param("train-000001", "train-000001", id="a plain name"),
        pytest.param("a/b", "a%2Fb", id="a slash"),
        pytest.param("..", "%2E.", id="the folder above"),
        pytest.param("ä", "%C3%A4", id="a letter outside ASCII"),
    ],
)
def test_a_shard_of_any_name_has_one_folder(name, folder):
    assert folder_name(name) == folder


def test_long_names_that_differ_at_the_end_have_folders_that_differ():
    names = {folder_name("x" * 300 + end) for end in "ab"}
    assert len(names) == 2
    assert {len(name) for name in names} == {120}
