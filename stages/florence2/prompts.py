"""Task ↔ Microsoft's prompt, and the token ids of a prompt, whatever its input text says."""

import bisect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from stages.florence2.vocabulary import Vocabulary

Task = Literal[
    "caption",
    "detailed_caption",
    "more_detailed_caption",
    "od",
    "dense_region_caption",
    "region_proposal",
    "ocr",
    "ocr_with_region",
    "caption_to_phrase_grounding",
    "referring_expression_segmentation",
    "region_to_segmentation",
    "open_vocabulary_detection",
    "region_to_category",
    "region_to_description",
    "region_to_ocr",
]
Output = Literal["text", "boxes", "proposals", "phrases", "quads", "polygons", "boxes_or_polygons"]
Bins = tuple[int, int, int, int]
About = str | Bins | None
"""What a prompt asks about: words, a region, or nothing."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """`prompt` holds `{input}` where the task asks about something: words or a region."""

    prompt: str
    output: Output
    max_new_tokens: int
    asks_about: Literal["nothing", "words", "region"] = "nothing"


TASKS: dict[Task, TaskSpec] = {
    "caption": TaskSpec("What does the image describe?", "text", 64),
    "detailed_caption": TaskSpec("Describe in detail what is shown in the image.", "text", 192),
    "more_detailed_caption": TaskSpec(
        "Describe with a paragraph what is shown in the image.", "text", 384
    ),
    "od": TaskSpec("Locate the objects with category name in the image.", "boxes", 512),
    "dense_region_caption": TaskSpec(
        "Locate the objects in the image, with their descriptions.", "boxes", 512
    ),
    "region_proposal": TaskSpec("Locate the region proposals in the image.", "proposals", 512),
    "ocr": TaskSpec("What is the text in the image?", "text", 512),
    "ocr_with_region": TaskSpec("What is the text in the image, with regions?", "quads", 768),
    "caption_to_phrase_grounding": TaskSpec(
        "Locate the phrases in the caption: {input}", "phrases", 512, "words"
    ),
    "referring_expression_segmentation": TaskSpec(
        "Locate {input} in the image with mask", "polygons", 768, "words"
    ),
    "region_to_segmentation": TaskSpec(
        "What is the polygon mask of region {input}", "polygons", 768, "region"
    ),
    "open_vocabulary_detection": TaskSpec(
        "Locate {input} in the image.", "boxes_or_polygons", 768, "words"
    ),
    "region_to_category": TaskSpec("What is the region {input}?", "text", 32, "region"),
    "region_to_description": TaskSpec(
        "What does the region {input} describe?", "text", 96, "region"
    ),
    "region_to_ocr": TaskSpec("What text is in the region {input}?", "text", 96, "region"),
}
"""The prompts are Microsoft's to the byte; the token limits are ours: about four times what the
published label lengths need, so that a sound answer is never cut and a loop ends."""

CAPTION_LEVELS: dict[str, str] = {
    "caption": "brief",
    "detailed_caption": "detailed",
    "more_detailed_caption": "more_detailed",
}
"""Caption task → the level of its text."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """`ids` with `<s>` and `</s>`, without image tokens; `cut`: the input text was too long."""

    ids: tuple[int, ...]
    cut: bool = False


def build_prompt(task: Task, vocabulary: Vocabulary, limit: int, about: About = None) -> Prompt:
    """At most `limit` ids: an over-long input text is cut after a word.

    `about` is the text or the region that a task with an input asks about, None for the others.
    """
    before, _, after = TASKS[task].prompt.partition("{input}")

    def ids(middle: str | Bins) -> list[int]:
        if isinstance(middle, str):
            inner = vocabulary.words_to_ids(before + middle + after)
        else:
            locations = [vocabulary.first_loc + bin for bin in middle]
            inner = [*vocabulary.words_to_ids(before), *locations, *vocabulary.words_to_ids(after)]
        return [vocabulary.bos, *inner, vocabulary.eos]

    _check_input(task, about)
    if about is None or not isinstance(about, str):
        return Prompt(tuple(ids(about or "")))
    text = about.strip()
    if len(whole := ids(text)) <= limit:
        return Prompt(tuple(whole))
    kept = _longest_that_fits(text, lambda part: len(ids(part)) <= limit)
    return Prompt(tuple(ids(kept)), cut=True)


def _check_input(task: Task, about: About) -> None:
    given = "nothing" if about is None else "words" if isinstance(about, str) else "region"
    if given != TASKS[task].asks_about:
        raise ValueError(f"{task} asks about {TASKS[task].asks_about}, not about {given}")


def _longest_that_fits(text: str, fits: Callable[[str], bool]) -> str:
    """The text up to the end of a word; up to a character where not even one word fits."""
    ends: Sequence[int] = [0, *(match.end() for match in re.finditer(r"\S+", text))]
    first_word = ends[1] if len(ends) > 1 else 0
    if not fits(text[:first_word]):
        ends = range(first_word + 1)
    first_too_long = bisect.bisect_left(ends, True, key=lambda end: not fits(text[:end]))
    return text[: ends[max(0, first_too_long - 1)]]
