"""What can be asked of a checkpoint: the options of the florence2 stage."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from stages.base import Stage, normalise_tasks
from stages.florence2.prompts import (
    CAPTION_LEVELS,
    GROUNDING,
    PHRASE_TASKS,
    PLACE_TASKS,
    REGION_TASKS,
    TASKS,
    Task,
)

CaptionTask = Literal["caption", "detailed_caption", "more_detailed_caption"]
Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Options(Stage):
    """As pipelines.yaml gives them, and what follows from them for each kind of task."""

    stage: Literal["florence2"] = Field("florence2", description="name of this stage")
    model: str = Field(description="name of a checkpoint under `models`")
    tasks: Annotated[tuple[Task, ...], BeforeValidator(normalise_tasks)] = Field(
        description="what to ask, in this order; caption_to_phrase_grounding grounds every caption "
        "that the other tasks make",
    )
    regions_from: Annotated[tuple[str, ...], BeforeValidator(normalise_tasks)] = Field(
        ("od",),
        description="whose boxes the region_to_… tasks are asked about: tasks of this stage, "
        "`human`, names of earlier stages",
    )
    max_regions: int = Field(
        16,
        ge=1,
        description="most boxes of an image that the region_to_… tasks are asked about: a "
        "person's, then those with the best scores; of boxes at one place (IoU 0.8) the best",
    )
    phrases_from: Annotated[tuple[CaptionTask, ...], BeforeValidator(normalise_tasks)] = Field(
        (),
        description="captions whose grounded phrases are looked for again, by "
        "referring_expression_segmentation and open_vocabulary_detection",
    )
    max_phrases: int = Field(
        8, ge=1, description="most phrases of an image that are looked for again: the best scores"
    )
    queries: tuple[Query, ...] = Field(
        (),
        description="words that these two tasks look for in every image, there or not: "
        "what the model finds under the same words has them as its category; what it calls "
        "otherwise has its own words as `text`",
    )
    phrases_per_prompt: int = Field(
        1,
        ge=1,
        description="how many phrases one prompt of open_vocabulary_detection looks for at once, "
        "joined by ` <and> `",
    )
    tiling: Literal["never", "auto", "always"] = Field(
        "never",
        description="look at overlapping tiles beside the whole image; auto: where its longer side "
        "is over 1,500 pixels, or an answer about it held 50 places or was cut off",
    )
    tile_size: int = Field(
        768,
        ge=64,
        description="side of a tile in pixels, at most 0.6 of the image's longer side; Florence-2 "
        "sees 768 pixels unreduced (SAHI's tiles have 512)",
    )
    tile_overlap: float = Field(
        0.2, ge=0, le=0.5, description="least share of a tile that its neighbour sees too, as SAHI"
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
    early_stopping: bool = Field(
        True,
        description="whether a search of several beams ends when as many answers have ended, as "
        "Microsoft's checkpoints are published; false searches on while a better one may come",
    )
    max_new_tokens: int | None = Field(
        None,
        ge=4,
        description="longest answer in tokens, for every task; without it each task has its own "
        "limit, from 64 for a caption to 768 for text with regions",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        description="prompts decoded together; changes the speed, not the labels; without it 32 "
        "on a CPU and 256 on a GPU, or as many as a quarter of the memory has room for",
    )

    @property
    def image_tasks(self) -> tuple[Task, ...]:
        """Those that are asked of the image alone."""
        return tuple(task for task in self.tasks if TASKS[task].asks_about == "nothing")

    @property
    def place_tasks(self) -> tuple[Task, ...]:
        return self._of(PLACE_TASKS)

    @property
    def caption_tasks(self) -> tuple[Task, ...]:
        return self._of(CAPTION_LEVELS)

    @property
    def grounds(self) -> bool:
        return GROUNDING in self.tasks

    @property
    def phrase_tasks(self) -> tuple[Task, ...]:
        return self._of(PHRASE_TASKS)

    @property
    def region_tasks(self) -> tuple[Task, ...]:
        return self._of(REGION_TASKS)

    def _of(self, kind: Collection[str]) -> tuple[Task, ...]:
        return tuple(task for task in self.tasks if task in kind)

    def token_limits(self) -> dict[Task, int]:
        """The longest answer of each of the stage's tasks, in tokens."""
        return {task: self.max_new_tokens or TASKS[task].max_new_tokens for task in self.tasks}
