"""Which parts the ledger of some version needs, and which were left behind."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from annotator.parts import MANIFEST, PARTS, folder_name
from annotator.store.lake import LAKE
from schemas.ids import recipe_id

VERSIONS_AT_ONCE = 20


@dataclass
class Attempts:
    """Folders of attempts that no version needs.

    `unfinished` ones have no manifest. `superseded`: what expired versions held, and attempts of a
    (shard, recipe) that is in with another one. `uncommitted`: complete, but in no version so far.
    """

    unfinished: list[Path] = field(default_factory=list)
    superseded: list[Path] = field(default_factory=list)
    uncommitted: list[Path] = field(default_factory=list)


@dataclass
class _Known:
    """Folders that rows of the ledger tell of: of each (shard, recipe), and of attempts at it."""

    recipes: set[Path] = field(default_factory=set)
    attempts: set[Path] = field(default_factory=set)


def unused_parts(lake: duckdb.DuckDBPyConnection, root: Path, snapshots: Sequence[int]) -> Attempts:
    """Those that none of these snapshots of the ledger has."""
    at = [f"{LAKE}.ledger AT (VERSION => {snapshot})" for snapshot in snapshots]
    needed = _known(lake, root, at, "current")
    former = _known(lake, root, [f"{LAKE}.ledger"], "replaced")
    unused = Attempts()
    for recipe in sorted((root / PARTS).glob("*/*/")):
        attempts = [attempt for attempt in sorted(recipe.iterdir()) if attempt.is_dir()]
        whole = [attempt for attempt in attempts if (attempt / MANIFEST).is_file()]
        unused.unfinished += [attempt for attempt in attempts if attempt not in whole]
        if recipe in needed.recipes:
            if needed.attempts.intersection(whole):
                unused.superseded += [each for each in whole if each not in needed.attempts]
        elif recipe in former.recipes:
            unused.superseded += whole
        else:
            unused.uncommitted += whole
    return unused


def _known(
    lake: duckdb.DuckDBPyConnection, root: Path, ledgers: Sequence[str], state: str
) -> _Known:
    rows: set[tuple[str, str, str, str | None]] = set()
    for start in range(0, len(ledgers), VERSIONS_AT_ONCE):
        each = " UNION ALL ".join(
            f"SELECT shard, recipe, part, rows ->> '$.files' FROM {ledger} WHERE state = '{state}'"
            for ledger in ledgers[start : start + VERSIONS_AT_ONCE]
        )
        rows.update(lake.execute(f"SELECT DISTINCT * FROM ({each})").fetchall())
    candidates = _candidates(lake)
    known = _Known()
    for shard, recipe, part, files in rows:
        judged, _, content = recipe.partition("-")
        names = [recipe, *([f"{candidates[judged]}-{content}"] if judged in candidates else [])]
        folder = root / PARTS / folder_name(shard)
        known.recipes.update(folder / folder_name(name) for name in names)
        paths = [
            root / part,
            *((root / file).parent for file in json.loads(files or "{}").values()),
        ]
        known.attempts.update(paths)
        known.recipes.update(path.parent for path in paths)
    return known


def _candidates(lake: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Recipe of a judgement → that of the candidates which it judges; a part of no row has none."""
    rows = lake.execute(f"SELECT recipe, stages FROM {LAKE}.recipes").fetchall()
    stages = {recipe: json.loads(text) for recipe, text in rows}
    return {r: recipe_id(told["candidates"]) for r, told in stages.items() if "candidates" in told}
