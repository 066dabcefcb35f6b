"""Florence2: one stage for the whole list of tasks, since they share one vision encoding."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from stages.base import Model, Proposer, Session, normalise_tasks
from stages.florence2.prompts import CAPTION_LEVELS, TASKS, Task

ImageTask = Literal[
    "caption",
    "detailed_caption",
    "more_detailed_caption",
    "od",
    "dense_region_caption",
    "region_proposal",
    "ocr",
    "ocr_with_region",
    "caption_to_phrase_grounding",
]
"""Tasks that can be asked of an image alone, and the grounding of the captions it was given."""


class Florence2(Proposer):
    """Captions, regions and grounded phrases from a Florence-2 checkpoint."""

    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset({"texts", "regions", "phrases"})

    stage: Literal["florence2"] = Field("florence2", description="name of this stage")
    model: str = Field(description="name of a checkpoint under `models`")
    tasks: Annotated[tuple[ImageTask, ...], BeforeValidator(normalise_tasks)] = Field(
        description="what to ask of every image, in this order; caption_to_phrase_grounding "
        "grounds every caption that the other tasks make",
    )
    num_beams: int = Field(
        1,
        ge=1,
        le=16,
        description="width of the beam search; 1 is greedy, the fast path; Microsoft's "
        "checkpoints are published with 3",
    )
    no_repeat_ngram_size: int = Field(
        0,
        ge=0,
        description="ban on repeating any run of so many tokens, 0 is none; Microsoft's "
        "checkpoints are published with 3, which silently starves region tasks: three "
        "coordinates or label words that occur twice are a banned run too",
    )
    max_new_tokens: int | None = Field(
        None,
        ge=4,
        description="longest answer in tokens, for every task; without it each task has its own "
        "limit, from 64 for a caption to 768 for text with regions",
    )
    batch_size: int = Field(
        8, ge=1, description="prompts decoded together; changes the speed, not the labels"
    )

    @model_validator(mode="after")
    def _check_tasks(self) -> "Florence2":
        if not self.tasks:
            raise ValueError("tasks is empty: name at least one, such as caption or od")
        if twice := sorted({task for task in self.tasks if self.tasks.count(task) > 1}):
            raise ValueError(f"tasks names {', '.join(twice)} more than once")
        if self.grounds and not self.caption_tasks:
            raise ValueError(
                "caption_to_phrase_grounding needs a caption to ground: "
                f"add one of {', '.join(CAPTION_LEVELS)} to tasks"
            )
        return self

    @property
    def grounds(self) -> bool:
        return "caption_to_phrase_grounding" in self.tasks

    @property
    def caption_tasks(self) -> tuple[Task, ...]:
        return tuple(task for task in self.tasks if task in CAPTION_LEVELS)

    def token_limits(self) -> dict[Task, int]:
        """The longest answer of each of the stage's tasks, in tokens."""
        return {task: self.max_new_tokens or TASKS[task].max_new_tokens for task in self.tasks}

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """The checkpoint's content in place of its name; not the batch size; limits and prompts."""
        from stages.florence2.checkpoint import identity

        options = super().identity(models)
        del options["batch_size"]
        return {
            **options,
            "model": identity(models[self.model]),
            "max_new_tokens": self.token_limits(),
            "prompts": {task: TASKS[task].prompt for task in self.tasks},
        }

    def open(self, models: Mapping[str, Model]) -> Session:
        from stages.florence2.session import Florence2Session

        return Florence2Session.open(self, models[self.model])
