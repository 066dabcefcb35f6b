"""What the crash benchmark works on: small shards, versions to make, and how they are read."""

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.scenes.source import expand_scenes, read_scenes
from annotator.store import Store
from annotator.store.catalog import snapshots

Rows = dict[str, list[tuple[Any, ...]]]
"""Table → its rows, in the order of their columns."""
NAME = "crash"
HEAD = """\
version: 1
models:
  embedded: {{checkpoint: embedded}}
pipelines:
  crash:
    shards: {}/*.tar
"""
MODEL = "[{{stage: florence2, model: embedded, tasks: [od], max_new_tokens: {}}}]"
RULES = "[{{stage: filter_scores, lowest_share: {}}}, {{stage: filter_regions, min_side: {}}}, {}]"
QUERIES = {
    **{name: f"SELECT * FROM {name} ORDER BY ALL" for name in ("images", "verdicts", "problems")},
    **{name: f"SELECT * FROM {name} ORDER BY ALL" for name in ("texts", "regions", "phrases")},
    **{f"all_{n}": f"SELECT * FROM all_{n} ORDER BY ALL" for n in ("texts", "regions", "phrases")},
    "recipes": "SELECT recipe, stages FROM recipes ORDER BY ALL",
    "ledger": "SELECT shard, recipe, state, json_merge_patch(rows, '{\"files\": null}') "
    "FROM ledger ORDER BY ALL",
}
"""All that two stores have in common that did the same; paths of attempts and times differ."""
KEYS = {"images": 1, "recipes": 1, "ledger": 2, "verdicts": 7, "problems": 6}
"""Table → so many columns say which row it is; a label's id comes first."""


@dataclass(frozen=True)
class Step:
    """A version to make: the verb that makes it, and the pipelines file that it reads."""

    verb: str
    pipelines: str


class Project:
    """A folder with a pipelines file, and the store that its runs make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.root = folder / "tables" / NAME

    def begin(self, step: Step, workers: int) -> subprocess.Popen[str]:
        (self.folder / "pipelines.yaml").write_text(step.pipelines)
        command = [sys.executable, "-m", "annotator", step.verb, NAME, "--json"]
        return subprocess.Popen(
            [*command, "--workers", str(workers)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "words").open("w"),
            text=True,
            start_new_session=True,
        )

    def finish(self, step: Step, workers: int) -> int | None:
        """The version that the step made, if any; RuntimeError where a shard failed, or all."""
        return self.ended(self.begin(step, workers))

    def ended(self, process: subprocess.Popen[str]) -> int | None:
        said, _ = process.communicate()
        if process.returncode:
            raise RuntimeError((self.folder / "words").read_text())
        version: int | None = json.loads(said)["version"]
        return version

    def parts(self) -> int:
        return sum(1 for _ in self.root.glob("parts/*/*/*/manifest.json"))

    def claims(self) -> set[str]:
        """Files of the ledger: a commit begins with one."""
        return {path.name for path in self.root.glob("data/main/ledger/*")}

    def version(self) -> int:
        if not (self.root / "catalog.sqlite").is_file():
            return 0
        return max((found.extra.get("version", 0) for found in snapshots(self.root)), default=0)


def steps(shards: Path, with_model: bool) -> tuple[Step, ...]:
    """The first version, the same candidates by other rules, and candidates of another recipe."""
    people = "{stage: merge_human}" if with_model else "{stage: filter_duplicates}"
    first, second = RULES.format(0.1, 8, people), RULES.format(0.3, 60, people)
    proposers = [MODEL.format(24), MODEL.format(16)] if with_model else ["[]", "[]"]
    return (
        Step("run", _pipelines(shards, proposers[0], first, 0)),
        Step("judge", _pipelines(shards, proposers[0], second, 0)),
        Step("run", _pipelines(shards, proposers[1], second, 1)),
    )


def _pipelines(shards: Path, propose: str, judge: str, turn: int) -> str:
    head = HEAD.format(shards)
    return f"{head}    round: {turn}\n    propose: {propose}\n    judge: {judge}\n"


def make_shards(folder: Path, count: int) -> None:
    """Two scenes each, one of them with labels by a person, and a third that does not decode."""
    [ref] = expand_scenes("scenes://16?human=1")
    scenes = [sample.members for sample in read_scenes(ref)]
    folder.mkdir(parents=True)
    for number in range(count):
        labelled, plain = (dict(scenes[(2 * number + i) % len(scenes)]) for i in range(2))
        members = {f"{number:05}-a.{suffix}": bytes for suffix, bytes in labelled.items()}
        members |= {f"{number:05}-b.png": plain["png"], f"{number:05}-c.png": b"no image"}
        with tarfile.open(folder / f"{NAME}-{number:05}.tar", "w") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def rows_at(root: Path, version: int) -> Rows:
    """Everything in a store at a version."""
    with closing(Store.open(root).connect(version)) as lake:
        return {name: lake.execute(query).fetchall() for name, query in QUERIES.items()}


def told(root: Path) -> list[tuple[Any, ...]]:
    """What each version says of itself, but for its time and the id of its run."""
    return [
        (
            version.number,
            version.message,
            json.dumps(dict(version.counts)),
            json.dumps({**version.extra, "run": None}, sort_keys=True),
        )
        for version in Store.open(root).versions()
    ]


def compare(found: Rows, expected: Rows) -> Counter[str]:
    """Rows that are there twice, missing, not expected, or of an expected key but with others'
    values."""
    counted: Counter[str] = Counter()
    for name, rows in expected.items():
        key = KEYS.get(name, 1)
        by_key, wanted = _by_key(found[name], key), _by_key(rows, key)
        counted["rows"] += len(rows)
        counted["lost"] += len(wanted.keys() - by_key.keys())
        counted["foreign"] += len(by_key.keys() - wanted.keys())
        counted["doubled"] += sum(
            max(0, len(by_key[k]) - len(wanted[k])) for k in _both(by_key, wanted)
        )
        counted["differing"] += sum(by_key[k] != wanted[k] for k in _both(by_key, wanted))
    return counted


def _by_key(rows: Sequence[tuple[Any, ...]], key: int) -> dict[str, list[str]]:
    """Rows as text: each float has one that is no other's."""
    grouped: dict[str, list[str]] = {}
    for row in rows:
        grouped.setdefault(repr(row[:key]), []).append(repr(row))
    return grouped


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> set[str]:
    return set(one.keys() & other.keys())
