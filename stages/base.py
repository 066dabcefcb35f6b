"""Stage, and its two kinds: Proposer sees pixels and adds candidates, Judge sees columns only."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from schemas.annotations import Annotations
from schemas.samples import Sample


class StageError(Exception):
    """Something the user can mend, in one sentence: an unknown checkpoint, a missing extra."""


class Model(BaseModel):
    """A checkpoint as pipelines.yaml names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(description="a Hub id, a folder, or `embedded`")
    revision: str | None = Field(None, description="branch, tag or commit of a Hub id")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="number format of the weights and the arithmetic"
    )
    attention: Literal["sdpa", "eager"] = Field("sdpa", description="attention implementation")


class Stage(BaseModel, ABC):
    """Frozen; its fields are its options in the YAML, its JSON is provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    behaviour: ClassVar[int] = 1
    """Raised by hand when the same input and options begin to give another output."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Tables that must have been made by a stage before this one."""
    makes: ClassVar[frozenset[str]] = frozenset()
    """Tables that this stage adds rows to."""

    stage: str

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """Everything of this stage that can change its output, as JSON: part of the recipe."""
        return {**self.model_dump(mode="json"), "behaviour": self.behaviour}


class Session(Protocol):
    """An opened proposer: holds the loaded model; lives in one worker."""

    def propose(self, samples: Sequence[Sample], so_far: Annotations) -> Annotations:
        """New rows for these samples, whose `image` is decoded.

        `recipe` and `round` are left NULL and `state` is not written: the runner fills them.
        """


class Proposer(Stage):
    """A stage that adds candidate rows."""

    @abstractmethod
    def open(self, models: Mapping[str, Model]) -> Session:
        """Load what is needed; StageError says in one sentence why not."""


class Judge(Stage):
    """A stage that adds verdict rows: vectorised on columns, no Python loop per label."""

    @abstractmethod
    def judge(self, annotations: Annotations) -> pa.Table:
        """Verdict rows (schema VERDICT_ROWS) on these annotations, which stay as they are."""
