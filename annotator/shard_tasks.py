"""What goes to a worker about one shard, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.shards import ShardRef
from schemas.tables import SCHEMA_VERSION
from stages.base import Model
from stages.catalogue import AnyJudge, AnyProposer

SIDECARS_BEHAVIOUR = 1
"""Raised by hand when the same sidecars begin to give other human labels."""


@dataclass(frozen=True)
class Judging:
    """Judges with all their constants; `recipe` is the hash of them and of the candidates'."""

    recipe: str
    judges: tuple[AnyJudge, ...]


def what_proposes(
    stages: Sequence[AnyProposer], models: Mapping[str, Model], round: int
) -> dict[str, Any]:
    """All that makes the candidates; their recipe is its hash. StageError where a checkpoint cannot
    be read."""
    return {
        "schema": SCHEMA_VERSION,
        "sidecars": SIDECARS_BEHAVIOUR,
        "round": round,
        "propose": [stage.identity(models) for stage in stages],
    }


@dataclass(frozen=True)
class ShardTask:
    """Everything that a worker needs; pickles small.

    `content` names the bytes of the shard, `recipe` is the hash of what makes the candidates.
    `judging` is None while the `judges` of the pipeline wait for statistics of all shards.
    """

    ref: ShardRef
    content: str
    fingerprint: Mapping[str, Any]
    recipe: str
    round: int
    propose: tuple[AnyProposer, ...]
    judges: tuple[AnyJudge, ...]
    judging: Judging | None
    models: tuple[tuple[str, Model], ...]
    parts: Path

    @property
    def candidates_key(self) -> str:
        return f"{self.recipe}-{self.content}"

    @property
    def judged_key(self) -> str:
        assert self.judging is not None, "judges that still wait for statistics"
        return f"{self.judging.recipe}-{self.content}"


@dataclass(frozen=True)
class ShardResult:
    """How a shard ended; `error` is the sentence that says why it failed."""

    shard: str
    seconds: Mapping[str, float] | None = None
    error: str | None = None
