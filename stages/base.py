"""Stage, and its two kinds: Proposer sees pixels and adds candidates, Judge sees columns only."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.annotations import Annotations
from schemas.columns import Flags
from schemas.samples import Sample
from schemas.tables import VERDICT_ROWS, VERDICTS
from schemas.verdicts import verdict_rows


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
    backend: Literal["torch", "openvino"] = Field(
        "torch", description="what runs the vision tower and the encoder; openvino needs a CPU"
    )

    @model_validator(mode="after")
    def _check_backend(self) -> "Model":
        if self.backend == "openvino" and self.device != "cpu":
            raise ValueError(f"backend openvino runs on the CPU: set device {self.device} to cpu")
        if self.backend == "openvino" and self.dtype == "float16":
            raise ValueError("backend openvino does not compute in float16: set dtype to bfloat16")
        return self


class Stage(BaseModel, ABC):
    """Frozen; its fields are its options in the YAML, its JSON is provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    behaviour: ClassVar[int] = 1
    """Raised by hand when the same input and options begin to give another output."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Tables that must have been made by a stage before this one."""
    makes: ClassVar[frozenset[str]] = frozenset()
    """Tables that this stage adds rows to."""
    per_task: ClassVar[tuple[str, ...]] = ()
    """Options that may be a mapping, whose keys are tasks."""

    stage: str

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """Everything of this stage that can change its output, as JSON: part of the recipe."""
        return {**self.model_dump(mode="json"), "behaviour": self.behaviour}


class Session(Protocol):
    """An opened proposer: holds the loaded model; lives in one worker."""

    @property
    def samples_at_once(self) -> int:
        """How many samples it likes to be given at once."""

    def propose(
        self, samples: Sequence[Sample], so_far: Annotations
    ) -> Generator[int, None, Annotations]:
        """New rows for these samples, whose `image` is decoded; yields how many more are done with.

        `recipe` and `round` are left NULL and `state` is not written: the runner fills them.
        """


Returned = TypeVar("Returned")


def finish(work: Generator[object, None, Returned]) -> Returned:
    """What it returns, whatever it yields on the way."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            returned: Returned = stop.value
            return returned


class Proposer(Stage):
    """A stage that adds candidate rows."""

    @abstractmethod
    def open(self, models: Mapping[str, Model]) -> Session:
        """Load what is needed; StageError says in one sentence why not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of the rows of a table: all but `rule` and `verdict` as `verdict_rows`."""

    rule: str
    verdict: str
    rejected: Flags
    values: np.ndarray | float = np.nan
    threshold: np.ndarray | float | None = None
    details: pa.Array | None = None


class Judge(Stage):
    """A stage that adds verdict rows: vectorised on columns, no Python loop per label.

    A judge that needs constants of the whole data set (a percentile, a quota) has options for them,
    unset by default. It measures each shard's candidates, and `settled` sets the options.
    """

    makes: ClassVar[frozenset[str]] = frozenset({"verdicts"})

    verdict_at_most: Literal["flag", "quarantine", "drop"] = Field(
        "drop", description="every stronger verdict of this stage becomes this one"
    )

    @abstractmethod
    def judge(self, annotations: Annotations) -> pa.Table:
        """Verdict rows (schema VERDICT_ROWS) on these annotations, which stay as they are."""

    def measure(self, annotations: Annotations) -> dict[str, Any] | None:
        """What `settled` wants to know of one shard's candidates, small and JSON-able; candidates
        have no verdicts yet.

        None, whatever the annotations, where these options need no statistics.
        """
        return None

    def settled(self, measured: Sequence[dict[str, Any]]) -> Self:
        """A copy with the constants of the whole data set, from the measure of every shard.

        The order of the shards must make no difference, and `measure` of the copy is None.
        """
        return self

    def verdicts(self, labels: pa.Table, kind: str, findings: Iterable[Finding]) -> pa.Table:
        """Verdict rows of some rules on labels of a kind; the filter is `<stage>.<rule>`, and no
        verdict is stronger than `verdict_at_most`."""
        rows = [
            verdict_rows(
                labels,
                kind,
                finding.rejected,
                filter=f"{self.stage}.{finding.rule}",
                verdict=min(finding.verdict, self.verdict_at_most, key=VERDICTS.index),
                values=finding.values,
                threshold=finding.threshold,
                details=finding.details,
            )
            for finding in findings
            if finding.rejected.any()
        ]
        return pa.concat_tables([VERDICT_ROWS.empty_table(), *rows])


def normalise_task(name: str) -> str:
    """`<OD>`, `OD` and `od` are one task: its token in lower case without brackets."""
    return name.strip().removeprefix("<").removesuffix(">").lower()


def normalise_tasks(value: object) -> object:
    """Of a list of names each; whatever is none stays, for the type to refuse."""
    if not isinstance(value, list | tuple):
        return value
    return [normalise_task(task) if isinstance(task, str) else task for task in value]
