"""The store against a model of it in plain Python: random operations, every version after each.

    STORE_CASES=300 STORE_SEED=0 pytest tests/test_store_fuzz.py

Run it long before the version of duckdb is changed: DuckLake has given back other values than it
was given, and rows that had been deleted.
"""

import os
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fuzzed_store import Made, expected, found_in, judged_anew, new_shard

from annotator.errors import StoreError
from annotator.store import Store, lake
from schemas.tables import LABEL_TABLES

CASES = int(os.environ.get("STORE_CASES", "1"))
SEED = int(os.environ.get("STORE_SEED", "0"))
STEPS = 14
TAGS = ("gold", "silver")


class Model:
    """A store, and what it has to be: the state of each version that is there, and the tags."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.random = store, random.Random(seed)
        self.now: dict[str, Made] = {}
        self.versions: dict[int, dict[str, Made]] = {}
        self.tags: dict[str, int] = {}
        self.made: list[Made] = []
        self.last = 0

    def commit(self, entries: Sequence[Made]) -> None:
        number = self.store.commit(
            [made.entry(self.store.root) for made in entries],
            recipes={made.recipe: {"stage": made.recipe} for made in entries},
            message="fuzz",
            extra={"run": "fuzz"},
        )
        self.becomes(number, {**self.now, **{made.shard: made for made in entries}})

    def becomes(self, number: int | None, state: dict[str, Made]) -> None:
        """A new version where the state is another one than now, else none."""
        if recipes(state) == recipes(self.now):
            assert number is None
            return
        self.last += 1
        assert number == self.last
        self.now = self.versions[number] = state

    def some(self, made: Sequence[Made]) -> list[Made]:
        """At most one, of those whose files are there."""
        there = [one for one in made if one.has_files(self.store.root)]
        return [self.random.choice(there)] if there else []

    def recipe(self) -> str:
        return f"r{len(self.made)}"

    def any_version(self) -> list[int]:
        return [self.random.choice(list(self.versions))] if self.versions else []


def recipes(state: dict[str, Made]) -> dict[str, str]:
    return {shard: made.recipe for shard, made in state.items()}


def commit_new(model: Model) -> None:
    """One to three shards, with what is in the tables already among them."""
    entries = dict(list(model.now.items())[: model.random.randint(0, 2)])
    for _ in range(model.random.randint(1, 3)):
        model.made.append(new_shard(model.store.root, model.random, model.recipe()))
        entries[model.made[-1].shard] = model.made[-1]
    model.commit(list(entries.values()))


def commit_again(model: Model) -> None:
    model.commit(list(model.now.values()))


def commit_earlier(model: Model) -> None:
    model.commit(model.some(model.made))


def judge(model: Model) -> None:
    for before in model.some(list(model.now.values())):
        model.made.append(judged_anew(model.store.root, model.random, model.recipe(), before))
        model.commit([model.made[-1]])


def commit_what_is_refused(model: Model) -> None:
    fine = new_shard(model.store.root, model.random, "fine").entry(model.store.root)
    broken = replace(fine, rows={**fine.rows, "images": 99}, files={**fine.files})
    if "images" in broken.files:
        with pytest.raises(StoreError, match="rows, not 99"):
            model.store.commit([broken], recipes={}, message="broken", extra={})


def roll_back(model: Model) -> None:
    for number in model.any_version():
        model.becomes(model.store.roll_back(number), dict(model.versions[number]))


def tag(model: Model) -> None:
    for number in model.any_version():
        name = model.random.choice(TAGS)
        model.store.tag(name, number, move=True)
        model.tags[name] = number


def remove_tag(model: Model) -> None:
    for name in list(model.tags)[:1]:
        model.store.remove_tag(name)
        del model.tags[name]


def compact(model: Model) -> None:
    model.store.compact()


def expire(model: Model) -> None:
    last = model.random.randint(1, 4)
    model.store.expire(keep_last=last)
    kept = {*sorted(model.versions)[-last:], *model.tags.values()}
    model.versions = {n: state for n, state in model.versions.items() if n in kept}


def sweep(model: Model) -> None:
    model.store.sweep(timedelta(0))


def move(model: Model) -> None:
    root = model.store.root
    moved = shutil.move(root, root.with_name(f"{root.name}+"))
    model.store = Store.create_or_open(Path(moved))


OPERATIONS: dict[Callable[[Model], None], int] = {
    commit_new: 8,
    judge: 4,
    roll_back: 3,
    commit_earlier: 3,
    compact: 3,
    expire: 2,
    sweep: 2,
    tag: 2,
    commit_again: 1,
    commit_what_is_refused: 1,
    remove_tag: 1,
    move: 1,
}
"""Operation → how often it is chosen, of the sum."""


def check(model: Model, connection: Any) -> None:
    """Every version that is there, with all its tables and views, and all tags."""
    versions = model.store.versions()
    assert [version.number for version in versions] == sorted(model.versions)
    assert model.store.tags() == model.tags
    for version in versions:
        wanted = expected(model.versions[version.number])
        model.store.attach(connection, "v", version)
        assert found_in(connection, "v") == wanted
        connection.execute("DETACH v")
        kept = {table: len(wanted[f"kept {table}"]) for table in LABEL_TABLES.values()}
        assert version.counts == {"images": len(wanted["images"]), **kept}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + CASES))
def test_every_version_is_what_the_model_says(
    seed: int, tmp_path: Path, empty_tables: Path
) -> None:
    model = Model(Store.create_or_open(Path(shutil.copytree(empty_tables, tmp_path / "t"))), seed)
    with closing(lake.connect()) as connection:
        for _ in range(STEPS):
            [operation] = model.random.choices(list(OPERATIONS), weights=list(OPERATIONS.values()))
            operation(model)
            check(model, connection)
