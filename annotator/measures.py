"""What judges measure of each shard's candidates, kept beside them, and what it settles."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from annotator.parts import Part, write_finished
from schemas.annotations import Annotations
from schemas.ids import recipe_id
from stages.catalogue import AnyJudge

Measures = list[dict[str, Any]]
"""Of one shard: one per judge that needs statistics, in the order of the judges."""


def needing_statistics(judges: Sequence[AnyJudge]) -> list[AnyJudge]:
    """Those that cannot judge a shard before every shard was measured."""
    nothing = Annotations.of()
    return [judge for judge in judges if judge.measure(nothing) is not None]


def write_measures(part: Part, judges: Sequence[AnyJudge], candidates: Annotations) -> None:
    """Into the folder of the part that holds the candidates."""
    measured = json.dumps([judge.measure(candidates) for judge in needing_statistics(judges)])
    write_finished(_file(part, judges), lambda path: path.write_text(measured))


def find_measures(part: Part, judges: Sequence[AnyJudge]) -> Measures | None:
    """What `write_measures` wrote for judges with these options, None where there is nothing."""
    with suppress(OSError, ValueError):
        measured: Measures = json.loads(_file(part, judges).read_text())
        return measured
    return None


def settle(judges: Sequence[AnyJudge], shards: Sequence[Measures]) -> list[AnyJudge]:
    """All judges, with the constants of all shards in those that need any."""
    needing = needing_statistics(judges)
    by_judge = zip(needing, zip(*shards, strict=True), strict=True)
    settled = {id(judge): judge.settled(measured) for judge, measured in by_judge}
    return [settled.get(id(judge), judge) for judge in judges]


def constants(judges: Sequence[AnyJudge], settled: Sequence[AnyJudge]) -> dict[str, Any]:
    """`stage.option` → its value, for what settling has set."""
    return {
        f"{after.stage}.{option}": value
        for before, after in zip(judges, settled, strict=True)
        for option, value in after.model_dump(mode="json").items()
        if value != before.model_dump(mode="json")[option]
    }


def _file(part: Part, judges: Sequence[AnyJudge]) -> Path:
    """Its name says by which judges, so that another option is another file."""
    identity = [judge.identity({}) for judge in needing_statistics(judges)]
    return part.folder / f"measures-{recipe_id(identity)}.json"
