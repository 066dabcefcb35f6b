"""pipelines.yaml: the words for a file that is broken, or none."""

import os
from pathlib import Path

import pytest
from config_text import GOOD, edited, mistakes

from annotator.config import load_config
from annotator.errors import ConfigError


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            "        min_side: 4",
            "        min_side: 4\n        min_side: 5",
            "15: pipelines.first.judge[0].min_side: 'min_side' appears twice, first in line 14",
            id="an option twice",
        ),
        pytest.param(
            "  second:",
            "  first:",
            "15: pipelines.first: 'first' appears twice, first in line 6",
            id="a pipeline twice",
        ),
        pytest.param(
            "shards: a.tar",
            "shards: &a a.tar",
            "7: pipelines.first.shards: anchors (&a) are not used here: write it out",
            id="an anchor",
        ),
        pytest.param(
            "shards: a.tar",
            "shards: *a",
            "7: pipelines.first.shards: aliases (*a) are not used here: write it out",
            id="an alias",
        ),
        pytest.param(
            "    round: 1",
            "    <<: {round: 1}",
            "18: pipelines.second: merge keys (<<) are not used here: write it out",
            id="a merge key",
        ),
        pytest.param(
            "shards: a.tar",
            "shards: !!python/name:os.system a.tar",
            "7: pipelines.first.shards: tags (tag:yaml.org,2002:python/name:os.system) "
            "are not used here",
            id="a tag",
        ),
        pytest.param(
            "    round: 1",
            "    ? [round]\n    : 1",
            "18: pipelines.second: a key must be plain text",
            id="a list for a key",
        ),
        pytest.param(
            "  better:",
            "  better: x:",
            "21: not valid YAML: a ':' that does not belong here: "
            "check the indent, or put the text in quotes",
            id="a colon too many",
        ),
        pytest.param(
            "    output: out",
            "    output: [out",
            "25: not valid YAML: expected ',' or ']', but got '<stream end>', "
            "while parsing a flow sequence that began in line 24",
            id="a bracket that stays open",
        ),
        pytest.param(
            "    output: out",
            "\toutput: out",
            "24: not valid YAML: a tab, where only spaces can indent",
            id="a tab",
        ),
        pytest.param(
            "    output: out",
            "    output: o\x00ut",
            "24: not valid YAML: the character #x0000 is in it",
            id="a control character",
        ),
        pytest.param(
            "    output: out",
            "    output: out\n---\nversion: 1",
            "25: a second YAML document: one file has one",
            id="two documents",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert mistakes(tmp_path, edited(old, new)) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "", "1: the file is empty: it needs version, models and pipelines", id="nothing"
        ),
        pytest.param(
            "# later\n",
            "1: the file is empty: it needs version, models and pipelines",
            id="only a comment",
        ),
        pytest.param(
            "hello", "1: should be a block of 'name: value' lines, got 'hello'", id="a word"
        ),
        pytest.param(
            "- a\n- b", "1: should be a block of 'name: value' lines, got a list", id="a list"
        ),
        pytest.param(
            "version: 1\nmodels: {}\npipelines: {}",
            "3: pipelines: should be at least 1 long, got an empty block",
            id="no pipeline",
        ),
    ],
)
def test_a_file_that_is_no_config_says_so(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert list(load_config(path).pipelines) == ["first", "second"]


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "pipelines.yaml")
    assert str(caught.value) == (
        f"no pipelines.yaml in {tmp_path}: run it where one is, or name it with --config"
    )


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert str(caught.value) == f"{tmp_path} is a folder: name the file in it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.touch(mode=0o000)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path} cannot be read: Permission denied"


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_bytes(b"version: 1\n# caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}:2: not UTF-8 (byte 0xe9): save the file as UTF-8"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[" * 100_000, "1: nested more than 20 levels deep", id="brackets"),
        pytest.param("{a: " * 100_000, "1: nested more than 20 levels deep", id="braces"),
        pytest.param("- " * 100_000, "1: nested more than 20 levels deep", id="dashes"),
        pytest.param("? " * 100_000, "1: nested more than 20 levels deep", id="complex keys"),
    ],
)
def test_a_file_of_endless_depth_ends_in_a_sentence(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert mistakes(tmp_path, text) == [expected]


def test_depth_is_named_with_its_line(tmp_path: Path) -> None:
    deep = "\n".join(f"{'  ' * level}a:" for level in range(30))
    assert mistakes(tmp_path, deep) == ["21: nested more than 20 levels deep"]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path} is larger than 1,000,000 bytes: is it a pipelines file?"
