"""A good pipelines file, and what is said of one that was edited."""

from pathlib import Path

import pytest

from annotator.config import Config, load_config
from annotator.errors import ConfigError

GOOD = """\
version: 1
models:
  florence:
    checkpoint: owner/name
pipelines:
  first:
    shards: a.tar
    propose:
      - stage: florence2
        model: florence
        tasks: [caption, od]
    judge:
      - stage: filter_regions
        min_side: 4
  second:
    shards: [b.tar, c.tar]
    table: first
    round: 1
    propose: []
trainings:
  better:
    table: first
    model: florence
    output: out
"""


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "pipelines.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [
        line.removeprefix(f"{tmp_path}/pipelines.yaml:") for line in str(caught.value).split("\n")
    ]


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"{old!r} should be in GOOD once"
    return GOOD.replace(old, new)
